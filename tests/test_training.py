from functools import partial

import pytest
import torch

from lib import data, training
from lib.models.cnn import CNN
from lib.models.feedforward import FeedForward

FF = {
    "build": partial(FeedForward, 32),
    "prepare": data.unit,
    "batch_size": 128,
    "optimiser": "sgd",
    "one_cycle": False,
}


def same(a, b):
    return all(a[name].equal(b[name]) for name in a) and a.keys() == b.keys()


def test_feedforward_reaches_its_band(small):
    train, test = small
    settings = FF | {"build": partial(FeedForward, 128), "optimiser": "adamw", "one_cycle": True}
    _, history = training.train_classifier(train=train, evaluate_on={"test": test}, epochs=8, lr=4e-3, **settings)
    assert 0.86 < history["test_accuracy"][-1] < 0.93
    assert history["train_loss"][-1] < 0.3 < history["train_loss"][0]
    assert len(history["test_loss"]) == len(history["train_seconds"]) == 8


def test_cnn_reaches_its_band(small):
    train, test = small
    _, history = training.train_classifier(
        CNN, train, {"test": test}, prepare=data.symmetric, epochs=4, batch_size=64, lr=5e-3
    )
    assert 0.92 < history["test_accuracy"][-1] < 0.98


@pytest.mark.parametrize("augment", [None, data.random_shift])
def test_same_seed_same_bits_whatever_was_drawn_before(small, augment):
    train = small[0][:500]
    runs = []
    for noise in (1, 2):
        torch.manual_seed(noise)
        runs.append(training.train_classifier(train=train, evaluate_on={}, epochs=2, lr=0.1, augment=augment, **FF))
    assert same(runs[0][0], runs[1][0])
    assert runs[0][1]["train_loss"] == runs[1][1]["train_loss"]
    other, _ = training.train_classifier(train=train, evaluate_on={}, epochs=2, lr=0.1, augment=augment, seed=1, **FF)
    assert not same(runs[0][0], other)


def test_training_leaves_the_global_generator_alone(small):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    training.train_classifier(train=small[0][:200], evaluate_on={}, epochs=1, lr=0.1, **FF)
    assert torch.rand(3).equal(expected)


def test_evaluation_does_not_change_training(small):
    train, test = small[0][:500], small[1]
    plain, _ = training.train_classifier(train=train, evaluate_on={}, epochs=2, lr=0.1, **FF)
    watched, _ = training.train_classifier(train=train, evaluate_on={"t": test}, epochs=2, lr=0.1, trace_every=2, **FF)
    assert same(plain, watched)


def test_trace_means_are_the_epochs_means(small):
    train = small[0][:1000]  # 8 steps of 125
    settings = FF | {"batch_size": 125}
    _, history = training.train_classifier(train=train, evaluate_on={}, epochs=2, lr=0.1, trace_every=4, **settings)
    assert len(history["trace_loss"]) == len(history["trace_seconds"]) == 4
    assert sum(history["trace_loss"][:2]) / 2 == pytest.approx(history["train_loss"][0], rel=1e-5)
    assert all(0 <= value <= 1 for value in history["trace_accuracy"])


def test_first_step_is_gradient_descent(small):
    train = small[0][:100]
    state, _ = training.train_classifier(train=train, evaluate_on={}, epochs=1, lr=0.1, **FF)
    torch.manual_seed(0)
    model = FeedForward(32)
    torch.nn.functional.cross_entropy(model(data.unit(train.images)), train.labels).backward()
    torch.testing.assert_close(state["W1"], (model.W1 - 0.1 * model.W1.grad).detach())
    torch.testing.assert_close(state["b2"], (model.b2 - 0.1 * model.b2.grad).detach())


def test_stack_equals_training_one_by_one(small):
    train, test = small
    networks = [("relu", 0.1), ("sigmoid", 0.5), ("tanh", 0.05), ("softplus", 0.02)]
    state, history = training.train_stack(networks, 32, train, {"test": test}, prepare=data.unit, epochs=3)
    for i, (activation, lr) in enumerate(networks):
        alone, curves = training.train_classifier(
            train=train,
            evaluate_on={"test": test},
            epochs=3,
            lr=lr,
            **FF | {"build": partial(FeedForward, 32, activation)},
        )
        torch.testing.assert_close(state["W1"][:, 32 * i : 32 * (i + 1)], alone["W1"], atol=2e-5, rtol=1e-4)
        torch.testing.assert_close(state["W2"][i], alone["W2"], atol=2e-5, rtol=1e-4)
        ours = [row[i] for row in history["test_accuracy"]]
        assert ours == pytest.approx(curves["test_accuracy"], abs=0.002)
        assert [row[i] for row in history["test_loss"]] == pytest.approx(curves["test_loss"], abs=1e-4)


def test_divergence_is_an_error(small):
    with pytest.raises(training.Diverged, match="epoch 0 at learning rate 1e\\+30"):
        training.train_classifier(train=small[0][:500], evaluate_on={}, epochs=3, lr=1e30, **FF)


def test_unknown_optimiser(small):
    with pytest.raises(ValueError, match="unknown optimiser 'sdg'; choose one of sgd"):
        training.train_classifier(train=small[0], evaluate_on={}, epochs=1, lr=0.1, **FF | {"optimiser": "sdg"})
