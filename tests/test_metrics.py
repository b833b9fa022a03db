import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lib import data, metrics

labels = st.lists(st.integers(0, 9), min_size=1, max_size=50)


class Constant(nn.Module):
    """Logits that do not depend on the image."""

    def __init__(self, logits):
        super().__init__()
        self.logits = torch.tensor(logits)

    def forward(self, x):
        return self.logits.expand(len(x), -1)


def test_evaluate_of_known_logits():
    split = data.Split(torch.zeros(4, 28, 28, dtype=torch.uint8), torch.tensor([0, 0, 0, 1]))
    loss, accuracy = metrics.evaluate(Constant([math.log(9.0)] + [0.0] * 9), split, data.unit)
    assert accuracy == 0.75
    assert loss == pytest.approx(0.75 * math.log(2) + 0.25 * math.log(18))  # p(0) = 9/18, p(1) = 1/18


def test_predict_switches_off_dropout_and_back_on():
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(784, 10))
    images = torch.full((3, 28, 28), 99, dtype=torch.uint8)
    assert metrics.predict(model, images, data.unit).equal(metrics.predict(model, images, data.unit))
    assert model.training


def test_confusion_matrix_orientation():
    matrix = metrics.confusion_matrix(predicted=torch.tensor([3, 3, 5]), true=torch.tensor([5, 5, 5]))
    assert matrix[5, 3] == 2
    assert matrix[3, 5] == 0


@given(labels, st.data())
def test_confusion_matrix_sums(true, draw):
    predicted = draw.draw(st.lists(st.integers(0, 9), min_size=len(true), max_size=len(true)))
    t, p = torch.tensor(true), torch.tensor(predicted)
    matrix = metrics.confusion_matrix(p, t)
    assert matrix.sum(1).equal(t.bincount(minlength=10))
    assert matrix.sum(0).equal(p.bincount(minlength=10))
    assert matrix.trace().item() / len(true) == pytest.approx(metrics.accuracy(p, t))


def test_accuracy_refuses_nonsense():
    with pytest.raises(ValueError, match="got 2 and 3"):
        metrics.accuracy(torch.zeros(2), torch.zeros(3))
    with pytest.raises(ValueError, match="non-empty"):
        metrics.accuracy(torch.zeros(0), torch.zeros(0))


def test_most_confused():
    matrix = torch.tensor([[90, 3, 0], [7, 80, 1], [0, 5, 70]])
    assert metrics.most_confused(matrix, 2) == [{"true": 1, "pred": 0, "count": 7}, {"true": 2, "pred": 1, "count": 5}]
    assert matrix[0, 0] == 90


def test_mcnemar_counts_only_the_differences():
    a = torch.tensor([True] * 50 + [True] * 13 + [False] * 3 + [False] * 40)
    b = torch.tensor([True] * 50 + [False] * 13 + [True] * 3 + [False] * 40)
    assert metrics.mcnemar_z(a, b) == pytest.approx(10 / 4)
    assert metrics.mcnemar_z(b, a) == pytest.approx(-10 / 4)
    assert metrics.mcnemar_z(a, a) == 0


def test_wilson_interval():
    low, high = metrics.wilson_interval(0.5, 100)
    assert (low, high) == pytest.approx((0.4038, 0.5962), abs=1e-4)
    low, high = metrics.wilson_interval(1.0, 10)
    assert (low, high) == pytest.approx((0.7225, 1.0), abs=1e-4)


def test_parameters_are_counted_with_biases():
    assert metrics.parameters(torch.nn.Linear(3, 5)) == 20
