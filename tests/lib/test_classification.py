"""Loss, accuracy and confusion of classifiers whose answers are known."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lib import data
from lib.metrics import classification as metrics

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


def test_predict_takes_every_image_once_and_in_order():
    images = torch.arange(7, dtype=torch.uint8).view(7, 1, 1).expand(7, 28, 28)
    brightness = nn.Sequential(nn.Flatten(), nn.AvgPool1d(784))
    assert metrics.predict(brightness, images, lambda x: x.float()[:, None], batch_size=3).flatten().tolist() == [
        *range(7)
    ]


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


def test_wilson_interval():
    low, high = metrics.wilson_interval(0.5, 100)
    assert (low, high) == pytest.approx((0.4038, 0.5962), abs=1e-4)
    low, high = metrics.wilson_interval(1.0, 10)
    assert (low, high) == pytest.approx((0.7225, 1.0), abs=1e-4)


@given(st.data())
def test_wilson_interval_is_wilsons_formula(draw):
    """(p + z²/2n ± z √(p(1 − p)/n + z²/4n²)) / (1 + z²/n)."""
    n = draw.draw(st.integers(1, 20_000))
    p, z = draw.draw(st.integers(0, n)) / n, 1.959964
    low, high = metrics.wilson_interval(p, n)
    middle, half = p + z**2 / (2 * n), z * (p * (1 - p) / n + z**2 / (4 * n**2)) ** 0.5
    assert low == pytest.approx((middle - half) / (1 + z**2 / n), abs=1e-6)
    assert high == pytest.approx((middle + half) / (1 + z**2 / n), abs=1e-6)
    assert type(low) is type(high) is float


def test_wilson_interval_takes_a_share_for_the_nearest_that_n_cases_can_have():
    assert metrics.wilson_interval(0.97871, 1000) == metrics.wilson_interval(0.979, 1000)


def test_certainty_ignores_scale_and_is_large_for_clear_cases():
    logits = torch.tensor([[9.0] + [0.0] * 9, [0.01 * i for i in range(10)]])
    torch.testing.assert_close(metrics.certainty(logits), metrics.certainty(10 * logits))
    deviation = (9**2 * 0.1 - 0.9**2) ** 0.5 * (10 / 9) ** 0.5
    clear = torch.tensor([27 / deviation] + [0.0] * 9).softmax(0)[0]
    assert metrics.certainty(logits)[0].item() == pytest.approx(clear.item(), rel=1e-5)
    assert metrics.certainty(logits)[0] > metrics.certainty(logits)[1]


def test_parameters_are_counted_with_biases():
    assert metrics.parameters(torch.nn.Linear(3, 5)) == 20


@pytest.mark.parametrize("training", [True, False])
def test_prediction_leaves_the_network_in_the_mode_that_it_had(training):
    network = nn.Sequential(nn.Flatten(), nn.Linear(784, 10)).train(training)
    metrics.predict(network, torch.zeros(2, 28, 28, dtype=torch.uint8), data.unit)
    assert network.training is training
