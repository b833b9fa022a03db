"""The training loop, and what trains classifiers, autoencoders and variational autoencoders with it."""

import copy
import re
from functools import partial
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lib import data
from lib.models.autoencoder import Autoencoder, ConvAutoencoder
from lib.models.cnn import CNN
from lib.models.feedforward import FeedForward
from lib.models.vae import VAE, kl_to_prior, reconstruction_loss, reparameterize
from lib.training.autoencoder import autoencoder_step, reconstruction_error, train_autoencoder
from lib.training.classifier import classifier_step, train_classifier, train_stack
from lib.training.loop import (
    AUGMENT,
    NOISE,
    OPTIMISERS,
    ORDER,
    PROBE,
    Diverged,
    Learner,
    fit,
    outputs,
    part,
    seeded,
    stream,
    weights,
)
from lib.training.vae import negative_elbo, train_vae, vae_step

FF = {
    "build": partial(FeedForward, 32),
    "prepare": data.unit,
    "batch_size": 128,
    "optimiser": "sgd",
    "one_cycle": False,
}
# Small batches and a low rate, because the start on so few images hangs on the last digit of the arithmetic otherwise.
CONV_AE = {"build": ConvAutoencoder, "batch_size": 16, "lr": 3e-3}
DENSE_AE = {"build": partial(Autoencoder, (784, 32, 8), activation="relu"), "batch_size": 50, "lr": 3e-3}
DENSE_VAE = {"build": partial(VAE, (784, 32, 8)), "batch_size": 50, "lr": 3e-3}


def same(a, b):
    return a.keys() == b.keys() and all(a[name].equal(b[name]) for name in a)


def without_seconds(history):
    return {name: values for name, values in history.items() if "seconds" not in name}


class Stop(Exception):
    """Ends a training of which a test has seen enough."""


# --- the loop ----------------------------------------------------------------------------------------------------


def mean_of_indices(index):
    return {"value": index.float().mean()}


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (None, 'a step must return its losses by name, as {"loss": loss}; this one returned None'),
        (torch.tensor(1.0), "this one returned tensor(1.)"),
        ({}, "this one returned {}"),
        ({"loss": 0.5}, "the step returned 'loss' as a float: return the tensor itself, without item() or float()"),
        ({"loss": torch.ones(5, 784)}, "the step returned 'loss' with shape (5, 784): return its mean over the batch"),
    ],
)
def test_a_step_that_returns_something_else_is_told_what_to_return(returned, said):
    with pytest.raises(TypeError, match=re.escape(said)):
        fit(lambda index: returned, 10, epochs=1, batch_size=5, parts={})


def test_a_network_in_place_of_its_class_is_told_so():
    with pytest.raises(TypeError, match="build must make a new network, and this is one: give VAE, or a function"):
        seeded(VAE(), 0)
    with pytest.raises(TypeError, match=r"build must return a network .*, not a Tensor"):
        seeded(lambda: torch.ones(2), 0)


def test_means_are_over_examples_and_the_smaller_last_batch_counts_less():
    for n, batch_size in ((10, 4), (9, 8), (5, 5), (3, 7)):
        history = fit(mean_of_indices, n, epochs=3, batch_size=batch_size, parts={})
        assert history["value"] == pytest.approx([(n - 1) / 2] * 3), "the mean of 0 … n − 1 in any order"


def test_every_example_is_seen_once_an_epoch_in_an_order_that_changes():
    seen = []
    fit(lambda index: seen.append(index) or mean_of_indices(index), 10, epochs=4, batch_size=4, parts={})
    assert [len(index) for index in seen] == [4, 4, 2] * 4
    epochs = [torch.cat(seen[i : i + 3]).tolist() for i in range(0, 12, 3)]
    assert [sorted(epoch) for epoch in epochs] == [list(range(10))] * 4
    assert len({tuple(epoch) for epoch in epochs}) == 4


def test_whole_batches_leave_out_the_smaller_last_batch():
    seen = []
    settings = {"epochs": 20, "batch_size": 4, "parts": {}, "whole_batches": True}
    fit(lambda index: seen.append(index) or mean_of_indices(index), 10, **settings)
    assert [len(index) for index in seen] == [4] * 40
    assert torch.cat(seen).unique().tolist() == list(range(10)), "others are left out in another epoch"
    with pytest.raises(ValueError, match="3 examples are less than one batch of 4"):
        fit(mean_of_indices, 3, **settings)


def test_a_bin_of_the_trace_weighs_each_batch_by_its_own_size():
    seen = []

    def step(index):
        seen.append(index.float())
        return {"value": seen[-1].mean()}

    history = fit(step, 7, epochs=1, batch_size=2, parts={}, trace_every=2)
    assert history["trace_value"] == pytest.approx([torch.cat(seen[i : i + 2]).mean().item() for i in (0, 2)])


def test_what_a_step_draws_comes_from_a_stream_of_its_own():
    """Not from that of the initial weights, the order of batches, the augmentation, the noise or a measurement."""
    drawn = []

    def step(_):
        drawn.append(torch.rand(4))
        return {"value": drawn[-1].mean()}

    fit(step, 2, epochs=1, batch_size=2, parts={}, seed=3)
    others = [torch.rand(4, generator=stream(3, offset)) for offset in (0, ORDER, AUGMENT, NOISE, PROBE)]
    assert not any(torch.equal(drawn[0], other) for other in others)


def test_bins_of_the_trace_are_means_over_their_own_steps(monkeypatch):
    """Ten examples make steps of 4, 4 and 2, which make bins of 4 + 4 and of 2; the clock ticks once a step."""
    ticks = iter(range(1000))
    monkeypatch.setattr("lib.training.loop.time", SimpleNamespace(perf_counter=lambda: float(next(ticks))))
    seen = []
    history = fit(
        lambda index: seen.append(index) or mean_of_indices(index),
        10,
        epochs=2,
        batch_size=4,
        parts={},
        trace_every=2,
        prefix="train_",
    )
    bins = [torch.cat(seen[i:j]).float().mean().item() for i, j in ((0, 2), (2, 3), (3, 5), (5, 6))]
    assert history["trace_value"] == pytest.approx(bins)
    assert history["trace_seconds"] == [2, 1, 2, 1]
    assert history["train_seconds"] == [3, 3]
    assert set(history) == {"train_value", "train_seconds", "trace_value", "trace_seconds"}


def test_a_step_may_measure_several_networks_at_once():
    several = fit(
        lambda index: {"value": index.float().mean() * torch.tensor([1.0, 2.0])}, 10, epochs=2, batch_size=4, parts={}
    )
    assert several["value"] == [pytest.approx([4.5, 9.0])] * 2


def test_what_is_evaluated_comes_after_the_steps_of_the_epoch_and_before_after_epoch():
    calls = []

    def step(index):
        calls.append("step")
        return mean_of_indices(index)

    def evaluate(epoch):
        calls.append(f"evaluate {epoch}")
        return {"found": float(epoch)}

    def after_epoch(epoch, history):
        calls.append(f"after {epoch} {history['found']} {len(history['value'])}")

    history = fit(step, 2, epochs=2, batch_size=1, parts={}, evaluate=evaluate, after_epoch=after_epoch)
    assert history["found"] == [1.0, 2.0]
    assert calls == [
        *("step", "step", "evaluate 1", "after 1 [1.0] 1"),
        *("step", "step", "evaluate 2", "after 2 [1.0, 2.0] 2"),
    ]


def draws_of(seed, noise):
    """What a step draws from the global generator, and the order of its batches."""
    torch.manual_seed(noise)
    before = torch.get_rng_state()
    seen = []
    fit(
        lambda index: seen.append((index, torch.rand(3))) or mean_of_indices(index),
        8,
        epochs=2,
        batch_size=4,
        parts={},
        seed=seed,
    )
    assert torch.get_rng_state().equal(before), "the global generator is left alone"
    return [torch.cat(each) for each in zip(*seen, strict=True)]


def test_order_and_dropout_depend_on_the_seed_and_on_nothing_drawn_before():
    order, dropped = draws_of(seed=0, noise=1)
    order_again, dropped_again = draws_of(seed=0, noise=2)
    order_other, dropped_other = draws_of(seed=1, noise=1)
    assert order.equal(order_again)
    assert dropped.equal(dropped_again)
    assert not order.equal(order_other)
    assert not dropped.equal(dropped_other)
    assert len(dropped.unique()) == len(dropped)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_products_have_the_asked_precision_in_the_step_and_not_in_the_evaluation(precision):
    def product():
        return (torch.ones(2, 2) @ torch.ones(2, 2)).dtype

    def step(index):
        found.append(product())
        return mean_of_indices(index)

    def evaluate(epoch):
        found.append(product())
        return {}

    found = []
    fit(step, 2, epochs=1, batch_size=2, parts={}, evaluate=evaluate, precision=precision)
    assert found == [getattr(torch, precision), torch.float32]


def test_an_unknown_precision_is_an_error():
    with pytest.raises(ValueError, match="precision must be"):
        fit(mean_of_indices, 2, epochs=1, batch_size=2, parts={}, precision="half")


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", ["train_value", "train_several", "test_value", "test_several"])
def test_divergence_is_raised_in_the_epoch_in_which_a_value_is_not_finite_and_names_it(name, bad):
    """Three steps an epoch; of the second epoch one entry is bad, in the history of the steps that of one step."""
    done = []

    def entry(of, now):
        return bad if name == of and now else 1.0

    def step(index):
        done.append(index)
        fifth = len(done) == 5
        return {
            "value": torch.tensor(entry("train_value", fifth)),
            "several": torch.tensor([1.0, entry("train_several", fifth)]),
        }

    def evaluate(epoch):
        second = epoch == 2
        return {"test_value": entry("test_value", second), "test_several": [entry("test_several", second), 1.0]}

    with pytest.raises(Diverged, match=f"^{name} became .* in epoch 2; try a smaller learning rate"):
        fit(step, 6, epochs=4, batch_size=2, parts={}, prefix="train_", evaluate=evaluate)
    assert len(done) == 6


# --- the learner -------------------------------------------------------------------------------------------------


def rates_of(steps, **settings):
    network = nn.Linear(1, 1)
    learner, rates = Learner(network, 0.5, **settings), []
    for _ in range(steps):
        rates.append(learner.optimiser.param_groups[0]["lr"])
        learner.descend(network(torch.ones(1, 1)).sum())
    return rates


def test_the_rate_of_one_cycle_warms_up_to_its_peak_and_anneals_to_nothing():
    rates = rates_of(20, cycle=20)
    assert rates[0] == pytest.approx(0.5 / 25)
    assert max(rates) == rates[5] == pytest.approx(0.5), "after three tenths of the steps"
    assert all(a < b for a, b in pairwise(rates[:6]))
    assert all(a > b for a, b in pairwise(rates[5:]))
    assert rates[-1] == pytest.approx(0.5 / 25 / 1e4)


def test_the_rate_is_a_tenth_after_each_decay_and_constant_without():
    assert rates_of(7, decay=3) == pytest.approx([0.5] * 3 + [0.05] * 3 + [0.005])
    assert rates_of(3) == [0.5] * 3


@pytest.mark.parametrize(
    ("optimiser", "settings", "usual"),
    [
        ("sgd", {"momentum": 0.9, "weight_decay": 0.1}, torch.optim.SGD),
        ("adam", {"betas": (0.3, 0.9), "weight_decay": 0.1}, torch.optim.Adam),
        ("adamw", {"weight_decay": 0.5}, torch.optim.AdamW),
        ("rmsprop", {"alpha": 0.5, "momentum": 0.9}, torch.optim.RMSprop),
    ],
)
def test_a_learner_steps_as_torchs_optimiser_with_these_settings(optimiser, settings, usual):
    torch.manual_seed(0)
    ours, without = nn.Linear(5, 3), nn.Linear(5, 3)
    theirs = copy.deepcopy(ours)
    without.load_state_dict(ours.state_dict())
    learner, plain = Learner(ours, 0.01, optimiser, settings), Learner(without, 0.01, optimiser)
    reference = usual(theirs.parameters(), 0.01, foreach=False, **settings)
    for _ in range(4):
        x = torch.randn(6, 5)
        learner.descend(ours(x).square().mean())
        plain.descend(without(x).square().mean())
        reference.zero_grad()
        theirs(x).square().mean().backward()
        reference.step()
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict())
    assert not torch.allclose(ours.weight, without.weight, atol=1e-4), "the settings make a difference"


def test_a_learner_moves_the_weights_of_its_network_and_no_others():
    torch.manual_seed(0)
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    first.bias.requires_grad_(False)
    before = copy.deepcopy((first.state_dict(), second.state_dict()))
    learner = Learner(first, 0.1, "sgd", {"weight_decay": 0.1})
    learner.descend(second(first(torch.ones(2, 4))).sum())
    assert not first.weight.equal(before[0]["weight"])
    assert first.bias.equal(before[0]["bias"]), "frozen"
    assert same(second.state_dict(), before[1])
    assert second.weight.grad is None


@pytest.mark.parametrize("optimiser", list(OPTIMISERS))
def test_a_learner_steps_alike_in_every_memory_layout(optimiser):
    """torch's fused optimisers take numbers as they lie in memory, whatever the layout says."""
    torch.manual_seed(0)
    usual = nn.Conv2d(3, 4, 3)
    last = copy.deepcopy(usual).to(memory_format=torch.channels_last)
    for network in (usual, last):
        learner = Learner(network, 0.01, optimiser)
        for i in range(3):
            learner.descend(network(torch.randn(2, 3, 6, 6, generator=stream(i, 0))).square().mean())
    torch.testing.assert_close(usual.weight, last.weight.contiguous())


@pytest.mark.parametrize("optimiser", list(OPTIMISERS))
def test_a_gradient_that_lies_differently_in_memory_than_its_weight_is_followed(optimiser):
    """The gradient of the transposed weight is transposed in memory, as in an autoencoder with tied weights."""
    network, signs = nn.Linear(3, 5, bias=False), torch.tensor([[1.0, -1.0, 1.0, 1.0, -1.0]] * 2 + [[-1.0] * 5])
    nn.init.zeros_(network.weight)
    loss = (network.weight.t() * signs).sum()
    assert torch.autograd.grad(loss, network.weight, retain_graph=True)[0].stride() != network.weight.stride()
    Learner(network, 0.1, optimiser).descend(loss)
    assert network.weight.sign().equal(-signs.t())


# --- classifiers -------------------------------------------------------------------------------------------------


def test_feedforward_reaches_its_band(small):
    train, test = small
    settings = FF | {"build": partial(FeedForward, 128), "optimiser": "adamw", "one_cycle": True}
    _, history = train_classifier(train=train, evaluate_on={"test": test}, epochs=8, lr=4e-3, **settings)
    assert 0.86 < history["test_accuracy"][-1] < 0.93
    assert history["train_loss"][-1] < 0.3 < history["train_loss"][0]
    assert history["train_accuracy"][0] < 0.8 < history["test_accuracy"][-1] < history["train_accuracy"][-1] <= 1
    assert len(history["test_loss"]) == len(history["train_seconds"]) == 8


def test_cnn_reaches_its_band(small):
    train, test = small
    settings = {"prepare": data.symmetric, "epochs": 3, "batch_size": 64, "lr": 5e-3}
    _, history = train_classifier(CNN, train, {"test": test}, **settings)
    assert 0.92 < history["test_accuracy"][-1] < 0.98


@pytest.mark.parametrize("augment", [None, data.random_shift])
def test_same_seed_same_bits_whatever_was_drawn_before(small, augment):
    train = small[0][:500]
    runs = []
    for noise in (1, 2):
        torch.manual_seed(noise)
        runs.append(train_classifier(train=train, evaluate_on={}, epochs=2, lr=0.1, augment=augment, **FF))
    assert same(runs[0][0], runs[1][0])
    assert runs[0][1]["train_loss"] == runs[1][1]["train_loss"]
    other, _ = train_classifier(train=train, evaluate_on={}, epochs=2, lr=0.1, augment=augment, seed=1, **FF)
    assert not same(runs[0][0], other)


def test_training_leaves_the_global_generator_alone(small):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    train_classifier(train=small[0][:200], evaluate_on={}, epochs=1, lr=0.1, **FF)
    assert torch.rand(3).equal(expected)


def test_evaluation_does_not_change_training(small):
    train, test = small[0][:500], small[1]
    plain, _ = train_classifier(train=train, evaluate_on={}, epochs=2, lr=0.1, **FF)
    watched, _ = train_classifier(train=train, evaluate_on={"t": test}, epochs=2, lr=0.1, trace_every=2, **FF)
    assert same(plain, watched)


def test_trace_means_are_the_epochs_means(small):
    train = small[0][:1000]  # 8 steps of 125
    settings = FF | {"batch_size": 125}
    _, history = train_classifier(train=train, evaluate_on={}, epochs=2, lr=0.1, trace_every=4, **settings)
    assert len(history["trace_loss"]) == len(history["trace_seconds"]) == 4
    assert sum(history["trace_loss"][:2]) / 2 == pytest.approx(history["train_loss"][0], rel=1e-5)
    assert sum(history["trace_accuracy"][2:]) / 2 == pytest.approx(history["train_accuracy"][1], rel=1e-5)
    assert all(0 <= value <= 1 for value in history["trace_accuracy"])


def test_first_step_is_gradient_descent(small):
    train = small[0][:100]
    state, _ = train_classifier(train=train, evaluate_on={}, epochs=1, lr=0.1, **FF)
    torch.manual_seed(0)
    model = FeedForward(32)
    F.cross_entropy(model(data.unit(train.images)), train.labels).backward()
    torch.testing.assert_close(state["W1"], (model.W1 - 0.1 * model.W1.grad).detach())
    torch.testing.assert_close(state["b2"], (model.b2 - 0.1 * model.b2.grad).detach())


def test_losses_and_accuracies_of_a_classifier_are_what_they_are_called(small):
    """At a rate of nothing the network stays the same, so that each can be computed afterwards."""
    train, test = small[0][:300], small[1][:200]
    state, history = train_classifier(train=train, evaluate_on={"test": test}, epochs=2, lr=0.0, **FF)
    model = FeedForward(32)
    model.load_state_dict(state)
    for name, split in (("train", train), ("test", test)):
        logits = model(data.unit(split.images)).detach()
        assert history[f"{name}_loss"] == pytest.approx([F.cross_entropy(logits, split.labels).item()] * 2, rel=1e-5)
        right = (logits.argmax(1) == split.labels).float().mean().item()
        assert history[f"{name}_accuracy"] == pytest.approx([right] * 2)


def black(images, generator):
    return torch.zeros_like(images)


def test_a_classifier_learns_from_what_augmentation_returns(small):
    """No gradient reaches the weights of pixels that are black in every image."""
    state, _ = train_classifier(train=small[0][:300], evaluate_on={}, epochs=1, lr=0.1, augment=black, **FF)
    start = seeded(FF["build"], 0)
    assert state["W1"].equal(start.W1)
    assert not state["b1"].equal(start.b1)


def test_augmentation_is_drawn_anew_for_every_batch_from_a_stream_of_its_own(small):
    def noting(images, generator):
        assert images.dtype == torch.uint8
        drawn.append(torch.rand(1, generator=generator).item())
        return images

    runs = []
    for seed in (0, 0, 1):
        drawn = []
        state, _ = train_classifier(
            train=small[0][:300], evaluate_on={}, epochs=2, lr=0.1, augment=noting, seed=seed, **FF
        )
        runs.append((drawn, state))
    assert runs[0][0] == runs[1][0] != runs[2][0]
    assert len(set(runs[0][0])) == 6
    plain, _ = train_classifier(train=small[0][:300], evaluate_on={}, epochs=2, lr=0.1, **FF)
    assert same(runs[0][1], plain), "its draws change neither the start nor the order of the batches"


@pytest.mark.parametrize("settings", [{"momentum": 0.9}, {"weight_decay": 0.5}])
def test_a_classifier_is_trained_with_the_settings_of_its_optimiser(small, settings):
    """Three epochs of one batch are three steps of torch's SGD with the same settings."""
    train = small[0][:100]
    state, _ = train_classifier(train=train, evaluate_on={}, epochs=3, lr=0.1, optimiser_settings=settings, **FF)
    model = seeded(FF["build"], 0)
    usual = torch.optim.SGD(model.parameters(), 0.1, foreach=False, **settings)
    for _ in range(3):
        usual.zero_grad()
        F.cross_entropy(model(data.unit(train.images)), train.labels).backward()
        usual.step()
    torch.testing.assert_close(state, dict(model.state_dict()))


def test_a_classifier_is_evaluated_after_every_so_many_epochs_and_at_the_end(small):
    train, test = small[0][:200], small[1][:100]
    settings = FF | {"train": train, "evaluate_on": {"test": test}, "epochs": 5, "lr": 0.1}
    always, sometimes = (train_classifier(evaluate_every=n, **settings)[1] for n in (1, 2))
    assert len(set(always["test_loss"])) == 5
    for name in ("test_loss", "test_accuracy"):
        assert sometimes[name] == [always[name][i] for i in (1, 3, 4)], "after the second, fourth and fifth epoch"
    assert len(sometimes["train_loss"]) == 5


def noting_rates(step, rates):
    """``step``, which also notes the learning rate; the learner is its last argument."""

    def noted(*given):
        rates.append(given[-1].optimiser.param_groups[0]["lr"])
        return step(*given)

    return noted


def test_the_rate_of_a_classifier_goes_through_one_cycle_over_all_epochs(small):
    settings = FF | {"train": small[0][:250], "evaluate_on": {}, "epochs": 5, "lr": 0.1}
    rates, constant = [], []
    train_classifier(step=noting_rates(classifier_step, rates), **settings | {"one_cycle": True})
    train_classifier(step=noting_rates(classifier_step, constant), **settings)
    assert len(rates) == 10
    assert rates[0] == pytest.approx(0.1 / 25)
    assert max(rates) == rates[2] == pytest.approx(0.1)
    assert rates[-1] == pytest.approx(0.1 / 25 / 1e4)
    assert constant == [0.1] * 10


@pytest.mark.parametrize("seed", [0, 1])
def test_stack_equals_training_one_by_one(small, seed):
    train, test = small[0][:1000], small[1]
    networks = [("relu", 0.1), ("sigmoid", 0.5), ("tanh", 0.05), ("softplus", 0.02)]
    settings = {"epochs": 3, "prepare": data.unit, "seed": seed}
    state, history = train_stack(networks, 16, train, {"test": test}, **settings)
    for i, (activation, lr) in enumerate(networks):
        build = partial(FeedForward, 16, activation)
        alone, curves = train_classifier(
            train=train, evaluate_on={"test": test}, lr=lr, **FF | settings | {"build": build}
        )
        torch.testing.assert_close(state["W1"][:, 16 * i : 16 * (i + 1)], alone["W1"], atol=2e-5, rtol=1e-4)
        torch.testing.assert_close(state["W2"][i], alone["W2"], atol=2e-5, rtol=1e-4)
        assert [row[i] for row in history["test_accuracy"]] == pytest.approx(curves["test_accuracy"], abs=0.002)
        for name in ("train_loss", "test_loss"):
            assert [row[i] for row in history[name]] == pytest.approx(curves[name], abs=1e-4)


def test_stack_multiplies_in_the_given_precision(small):
    networks, settings = [("relu", 0.1), ("tanh", 0.05)], {"epochs": 2, "prepare": data.unit}
    exact, curves = train_stack(networks, 16, small[0][:500], {}, **settings)
    rounded, others = train_stack(networks, 16, small[0][:500], {}, **settings, precision="bfloat16")
    assert not exact["W1"].equal(rounded["W1"])
    torch.testing.assert_close(exact["W1"], rounded["W1"], atol=5e-3, rtol=0)
    assert others["train_loss"][-1] == pytest.approx(curves["train_loss"][-1], rel=0.02)


def test_divergence_is_an_error(small):
    with pytest.raises(Diverged, match=r"train_loss became \w+ in epoch 1; try a smaller learning rate"):
        train_classifier(train=small[0][:500], evaluate_on={}, epochs=3, lr=1e30, **FF)


def test_divergence_of_one_network_of_a_stack_is_an_error(small):
    networks = [("relu", 0.1), ("relu", 1e30)]
    with pytest.raises(Diverged, match="train_loss became"):
        train_stack(networks, 8, small[0][:500], {}, prepare=data.unit, epochs=3)


def test_unknown_optimiser(small):
    with pytest.raises(ValueError, match="unknown optimiser 'sdg'; choose one of sgd"):
        train_classifier(train=small[0], evaluate_on={}, epochs=1, lr=0.1, **FF | {"optimiser": "sdg"})


# --- what holds for every kind of training -----------------------------------------------------------------------


def run_of(kind, small, **settings):
    """A short training of some kind of network with one set to evaluate on."""
    train, images = small[0][:200], data.unit(small[0].images[:200]).flatten(1)
    if kind == "classifier":
        return train_classifier(train=train, evaluate_on={"test": train[:50]}, lr=0.1, **FF | settings)
    if kind == "autoencoder":
        return train_autoencoder(train=images, evaluate_on={"test": images[:50]}, **DENSE_AE | settings)
    return train_vae(train=images, evaluate_on={"test": images[:50]}, **DENSE_VAE | settings)


@pytest.mark.parametrize("kind", ["autoencoder", "vae"])
def test_generative_training_repeats_whatever_was_drawn_before(small, kind):
    runs = []
    for noise in (1, 2):
        torch.manual_seed(noise)
        expected = torch.rand(3)
        torch.manual_seed(noise)
        runs.append(run_of(kind, small, epochs=2))
        assert torch.rand(3).equal(expected), "the global generator is left alone"
    assert same(runs[0][0], runs[1][0])
    assert without_seconds(runs[0][1]) == without_seconds(runs[1][1])
    assert not same(runs[0][0], run_of(kind, small, epochs=2, seed=1)[0])


def start_of(kind, small, seed):
    """(weights, batch) as the first step finds them."""

    def step(network, x, *_):
        raise Stop(weights(copy.deepcopy(network)), x.clone())

    with pytest.raises(Stop) as stopped:
        run_of(kind, small, epochs=1, seed=seed, step=step)
    return stopped.value.args


@pytest.mark.parametrize("kind", ["classifier", "autoencoder", "vae"])
def test_initial_weights_depend_on_the_seed(small, kind):
    first, again, other = (start_of(kind, small, seed)[0] for seed in (0, 0, 1))
    assert same(first, again)
    assert not any(first[name].equal(other[name]) for name in first)


@pytest.mark.parametrize("kind", ["classifier", "autoencoder", "vae"])
def test_the_order_of_the_batches_depends_on_the_seed(small, kind):
    first, again, other = (start_of(kind, small, seed)[1] for seed in (0, 0, 1))
    assert first.equal(again)
    assert not first.equal(other)


def test_initial_weights_of_a_stack_depend_on_the_seed(small):
    """At a rate of nothing a network stays as it began."""
    one = partial(train_stack, [("relu", 0.0)], 8, small[0][:128], {}, prepare=data.unit, epochs=1)
    (first, _), (other, _) = one(seed=0), one(seed=1)
    assert first["W1"].equal(seeded(partial(FeedForward, 8), 0).W1)
    assert not first["W1"].equal(other["W1"])


@pytest.mark.parametrize("kind", ["classifier", "autoencoder", "vae"])
def test_a_step_that_is_passed_in_is_what_runs(small, kind):
    """A student's step that never learns: the weights stay, and what it returns is in the history."""

    def idle(network, x, *_):
        calls.append(len(x))
        return {"mine": torch.tensor(3.0)}

    calls = []
    state, history = run_of(kind, small, epochs=2, step=idle)
    assert sum(calls) == 400, "each of 200 images in each of two epochs"
    assert history["train_mine"] == [3.0, 3.0]
    assert "train_loss" not in history
    assert same(state, start_of(kind, small, 0)[0])


@pytest.mark.parametrize("kind", ["autoencoder", "vae"])
def test_generative_training_stops_when_it_diverges(small, kind):
    wrong = [(split.images[:100] * 1.0 * float("inf")) for split in small]
    train = {"autoencoder": train_autoencoder, "vae": train_vae}[kind]
    with pytest.raises(Diverged, match=r"train_\w+ became nan in epoch 1"):
        train(train=wrong[0], evaluate_on={}, epochs=2, **DENSE_AE if kind == "autoencoder" else DENSE_VAE)


@pytest.mark.parametrize("kind", ["autoencoder", "vae"])
def test_generative_training_stops_when_what_is_evaluated_is_no_number(small, kind):
    images = data.unit(small[0].images[:100]).flatten(1)
    train = {"autoencoder": train_autoencoder, "vae": train_vae}[kind]
    settings = DENSE_AE if kind == "autoencoder" else DENSE_VAE
    with pytest.raises(Diverged, match=r"odd_\w+ became nan in epoch 1"):
        train(train=images, evaluate_on={"odd": images * float("nan")}, epochs=2, **settings)


@pytest.mark.parametrize("kind", ["autoencoder", "vae"])
def test_bfloat16_trains_nearly_alike(small, kind):
    images = data.unit(small[0].images)
    train = {"autoencoder": train_autoencoder, "vae": train_vae}[kind]
    settings = {"train": images, "evaluate_on": {}, "epochs": 2} | (DENSE_AE if kind == "autoencoder" else DENSE_VAE)
    full, half = (train(precision=p, **settings) for p in ("float32", "bfloat16"))
    assert not same(full[0], half[0])
    for name in ("train_loss",) if kind == "autoencoder" else ("train_reconstruction", "train_kl"):
        assert half[1][name] == pytest.approx(full[1][name], rel=0.05 if name == "train_kl" else 0.03)
    assert {weight.dtype for weight in half[0].values()} == {torch.float32}
    with pytest.raises(ValueError, match="precision must be"):
        train(precision="half", **settings)


def test_the_weights_of_one_of_several_networks_are_found_by_its_name():
    state = {"a.x": torch.ones(1), "a.a.y": torch.ones(2), "ab.x": torch.ones(3)}
    assert {name: len(tensor) for name, tensor in part(state, "a").items()} == {"x": 1, "a.y": 2}
    assert outputs(torch.neg, torch.ones(2)).tolist() == [-1, -1]


# --- autoencoders ------------------------------------------------------------------------------------------------


def test_autoencoder_reaches_its_band(small):
    images, held_out = (data.unit(split.images) for split in small)
    build = partial(Autoencoder, (784, 128, 20), activation="relu")
    settings = {"epochs": 15, "batch_size": 64, "lr": 4e-3}
    _, history = train_autoencoder(build, images, {"test": held_out}, **settings)
    assert history["test_loss"][0] > 0.04 > 0.027 > history["test_loss"][-1] > 0.01
    assert history["train_loss"][-1] == pytest.approx(history["test_loss"][-1], rel=0.3)


def test_conv_autoencoder_reaches_its_band(small):
    train, test = small
    images, held_out = data.unit(train.images), data.unit(test.images)
    _, history = train_autoencoder(train=images, evaluate_on={"test": held_out}, epochs=3, **CONV_AE)
    mean_image = (held_out - images.mean(0)).square().mean().item()
    assert 0.02 < history["test_loss"][-1] < mean_image
    assert history["test_loss"][-1] < history["test_loss"][0]


def test_autoencoder_loss_is_per_element_over_all_images(small):
    images = data.unit(small[1].images[:333])
    settings = DENSE_AE | {"train": images, "evaluate_on": {"test": images}}
    state, history = train_autoencoder(epochs=1, **settings)
    model = DENSE_AE["build"]()
    model.load_state_dict(state)
    with torch.no_grad():
        expected = (model(images) - images.flatten(1)).square().mean().item()
    assert history["test_loss"][0] == pytest.approx(expected, rel=1e-5)
    many = images.repeat(4, 1, 1, 1)[:1100]
    with torch.no_grad():
        expected = (model(many) - many.flatten(1)).square().mean().item()
    assert reconstruction_error(model, many) == pytest.approx(expected, rel=1e-5), "more than one batch of 1000"


def test_first_step_of_an_autoencoder_is_gradient_descent(small):
    images = data.unit(small[0].images[:50])
    settings = DENSE_AE | {"optimiser": "sgd", "lr": 0.1, "one_cycle": False}
    state, history = train_autoencoder(train=images, evaluate_on={}, epochs=1, **settings)
    model = seeded(DENSE_AE["build"], 0)
    loss = (model(images) - images.flatten(1)).square().mean()
    loss.backward()
    assert history["train_loss"] == pytest.approx([loss.item()])
    for name, weight in model.named_parameters():
        torch.testing.assert_close(state[name], (weight - 0.1 * weight.grad).detach())


@pytest.mark.parametrize("settings", [{"momentum": 0.9}, {"weight_decay": 0.5}])
def test_an_autoencoder_is_trained_with_the_settings_of_its_optimiser(small, settings):
    images = data.unit(small[0].images[:50])
    training = DENSE_AE | {"optimiser": "sgd", "lr": 0.1, "one_cycle": False, "optimiser_settings": settings}
    state, _ = train_autoencoder(train=images, evaluate_on={}, epochs=3, **training)
    model = seeded(DENSE_AE["build"], 0)
    usual = torch.optim.SGD(model.parameters(), 0.1, foreach=False, **settings)
    for _ in range(3):
        usual.zero_grad()
        F.mse_loss(model(images), images.flatten(1)).backward()
        usual.step()
    torch.testing.assert_close(state, dict(model.state_dict()))


def test_rate_that_has_decayed_freezes_the_network(small):
    images = data.unit(small[0].images[:300])
    settings = DENSE_AE | {"train": images, "evaluate_on": {"test": images}, "epochs": 9, "lr": 1e-3, "decay_every": 1}
    _, history = train_autoencoder(**settings)
    moves = [abs(b - a) for a, b in pairwise(history["test_loss"])]
    assert moves[-1] < moves[0] / 1000


def test_the_rate_of_an_autoencoder_is_what_was_asked_for(small):
    """Four steps an epoch: 50 images each, and 30 in the last."""
    settings = DENSE_AE | {"train": data.unit(small[0].images[:180]), "evaluate_on": {}, "epochs": 5, "lr": 0.1}
    found = {}
    for name, wish in (("cycle", {}), ("decay", {"decay_every": 1.5}), ("constant", {"one_cycle": False})):
        found[name] = []
        train_autoencoder(step=noting_rates(autoencoder_step, found[name]), **settings | wish)
    assert max(found["cycle"]) == found["cycle"][5] == pytest.approx(0.1)
    assert found["cycle"][-1] == pytest.approx(0.1 / 25 / 1e4)
    assert found["decay"] == pytest.approx([0.1] * 6 + [0.01] * 6 + [0.001] * 6 + [0.0001] * 2)
    assert found["constant"] == [0.1] * 20


def test_autoencoder_is_evaluated_every_so_many_epochs_and_at_the_end(small):
    images = data.unit(small[0].images[:100])
    settings = CONV_AE | {"train": images, "evaluate_on": {"seen": images}, "epochs": 5}
    always, sometimes = (train_autoencoder(evaluate_every=n, **settings)[1] for n in (1, 3))
    assert len(set(always["seen_loss"])) == 5
    assert sometimes["seen_loss"] == [always["seen_loss"][i] for i in (2, 4)]


def watched_codes(model, images):
    return model.encode(images)


def test_autoencoder_is_watched_without_dropout_and_without_changing_the_training(small):
    images = data.unit(small[0].images[:200])
    settings = CONV_AE | {"build": partial(ConvAutoencoder, dropout=0.5), "train": images, "epochs": 3}
    plain, _ = train_autoencoder(evaluate_on={}, **settings)
    watch = partial(watched_codes, images=images[:5])
    state, history = train_autoencoder(evaluate_on={"train": images}, watch=watch, **settings)
    watched = state.pop("watched")
    assert watched.shape == (3, 5, 10)
    assert same(state, plain)
    model = ConvAutoencoder(dropout=0.5)
    model.load_state_dict(state)
    torch.testing.assert_close(watched[-1], model.eval().encode(images[:5]))
    assert history["train_loss"][-1] == pytest.approx(reconstruction_error(model.train(), images), rel=0.3)
    assert model.training  # as it was given


def lower_half_erased(x, generator):
    x = x.flatten(1).clone()
    x[:, 14 * 28 :] = 0
    return x


def test_corrupted_inputs_have_clean_targets(small):
    images = data.unit(small[0].images)
    build = partial(Autoencoder, (784, 128, 32), activation="relu")
    settings = {"train": images, "evaluate_on": {}, "batch_size": 50, "lr": 1e-3}
    early, late = (train_autoencoder(build, corrupt=lower_half_erased, epochs=n, **settings)[0] for n in (1, 5))
    # No gradient reaches the weights of pixels that are never seen ...
    first = "encoder.0.weight"
    lower, upper = slice(14 * 28, None), slice(14 * 28)
    assert torch.equal(early[first][:, lower], late[first][:, lower])
    assert not torch.equal(early[first][:, upper], late[first][:, upper])
    # ... and yet they are drawn, because what is asked for is the clean image; erased targets would be drawn as zeros.
    model = build()
    model.load_state_dict(late)
    with torch.inference_mode():
        drawn = model(lower_half_erased(images, None))[:, lower]
    clean = images.flatten(1)[:, lower]
    assert (drawn - clean).square().mean() < 0.8 * clean.square().mean()


def test_corruption_has_draws_of_its_own(small):
    """Switching it on changes neither the start nor the order of the batches."""
    settings = CONV_AE | {"train": data.unit(small[0].images[:300]), "evaluate_on": {}, "epochs": 2}
    corrupts = (None, lambda x, generator: x + 0 * torch.randn(x.shape, generator=generator))
    assert same(*(train_autoencoder(corrupt=corrupt, **settings)[0] for corrupt in corrupts))


def test_corruption_depends_on_the_seed_and_is_drawn_anew_for_every_batch(small):
    def noting(x, generator):
        drawn.append(torch.rand(1, generator=generator).item())
        return x

    runs = []
    for seed in (0, 0, 1):
        drawn = []
        run_of("autoencoder", small, epochs=2, corrupt=noting, seed=seed)
        runs.append(drawn)
    assert runs[0] == runs[1] != runs[2]
    assert len(set(runs[0])) == 8


def test_after_epoch_sees_the_history_and_may_end_the_training(small):
    images, seen = data.unit(small[0].images[:100]), []

    def stop(epoch, history):
        seen.append((epoch, history["test_loss"][-1]))
        if epoch == 2:
            raise Stop

    with pytest.raises(Stop):
        train_autoencoder(train=images, evaluate_on={"test": images}, epochs=5, after_epoch=stop, **CONV_AE)
    assert [epoch for epoch, _ in seen] == [1, 2]


@pytest.mark.parametrize("optimiser", list(OPTIMISERS))
def test_every_optimiser_trains_an_autoencoder_and_leaves_frozen_weights(optimiser, small):
    images = data.unit(small[0].images[:256])

    def frozen():
        model = ConvAutoencoder()
        model.encoder.requires_grad_(False)
        return model

    settings = CONV_AE | {"build": frozen, "lr": 1.0 if optimiser == "sgd" else 1e-3, "optimiser": optimiser}
    state, history = train_autoencoder(train=images, evaluate_on={}, epochs=3, one_cycle=False, **settings)
    assert history["train_loss"][-1] < history["train_loss"][0]
    torch.manual_seed(0)
    start = ConvAutoencoder().state_dict()
    for name, tensor in state.items():
        assert tensor.equal(start[name]) == name.startswith("encoder"), name


def test_unknown_optimiser_of_an_autoencoder_is_named(small):
    images = data.unit(small[0].images[:100])
    with pytest.raises(ValueError, match="unknown optimiser 'adma'; choose one of sgd"):
        train_autoencoder(train=images, evaluate_on={}, epochs=1, optimiser="adma", **CONV_AE)


# --- variational autoencoders ------------------------------------------------------------------------------------


def test_vae_reaches_its_band(small):
    images, held_out = (data.unit(split.images) for split in small)
    build = partial(VAE, (784, 200, 20))
    state, history = train_vae(build, images, {"test": held_out}, epochs=12, batch_size=64, lr=4e-3)
    bound = [r + k for r, k in zip(history["test_reconstruction"], history["test_kl"], strict=True)]
    assert bound[0] > 190 > 145 > bound[-1] > 110
    assert 10 < history["test_kl"][-1] < 30
    vae = build()
    vae.load_state_dict(state)
    assert negative_elbo(vae, held_out) == pytest.approx((history["test_reconstruction"][-1], history["test_kl"][-1]))


class Noted:
    """A learner that only notes what it should descend."""

    def __init__(self):
        self.losses = []

    def descend(self, loss):
        self.losses.append(loss.item())


def test_a_vae_descends_exactly_the_negative_evidence_lower_bound(small):
    """Reconstruction and KL weigh the same, and both are sums over an image and means over the batch."""
    x, vae, noted = data.unit(small[0].images[:30]).flatten(1), seeded(DENSE_VAE["build"], 0), Noted()
    noise = torch.randn(30, 8, generator=stream(0, 0))
    vae.mean.weight.data *= 20  # for a KL that is not small beside the reconstruction
    log = vae_step(vae, x, lambda *shape: noise.view(shape), noted)
    mean, log_variance = vae.encode(x)
    logits = vae.decode(mean + (log_variance / 2).exp() * noise)
    reconstruction = F.binary_cross_entropy_with_logits(logits, x, reduction="sum").item() / 30
    kl = kl_to_prior(mean, log_variance).sum().item() / 30
    assert kl > 1
    assert noted.losses == pytest.approx([reconstruction + kl])
    assert log["reconstruction"].item() == pytest.approx(reconstruction)
    assert log["kl"].item() == pytest.approx(kl)


@pytest.mark.parametrize("seed", [0, 5])
def test_noise_of_a_training_comes_from_a_stream_of_its_own(small, seed):
    """Not from that of the batches' order, so that a change in one does not shift the other."""
    seen = []

    def noting(vae, x, draw, learner):
        seen.append(draw(2, 3))
        return vae_step(vae, x, draw, learner)

    def corrupt(x, generator):
        seen.append(torch.randn(2, 3, generator=generator))
        return x

    for settings in ({"kind": "vae", "step": noting}, {"kind": "autoencoder", "corrupt": corrupt}):
        seen.clear()
        run_of(small=small, epochs=1, seed=seed, **settings)
        assert seen[0].equal(torch.randn(2, 3, generator=stream(seed, NOISE)))
    assert not seen[0].equal(torch.randn(2, 3, generator=stream(seed, ORDER)))


def test_the_evidence_lower_bound_is_measured_with_noise_of_the_given_seed(small):
    vae, images = seeded(DENSE_VAE["build"], 0), data.unit(small[1].images[:50])
    found = [negative_elbo(vae, images, seed) for seed in (0, 0, 1)]
    assert found[0] == found[1]
    assert found[0][0] != found[2][0], "another seed draws other samples of q(z|x)"
    assert found[0][1] == found[2][1], "the KL needs no samples"
    unchanged = {"reconstruction": torch.zeros(()), "kl": torch.zeros(())}
    _, history = run_of("vae", small, epochs=1, seed=3, step=lambda *_: unchanged)
    test = data.unit(small[0].images[:50])
    of_training = history["test_reconstruction"][0], history["test_kl"][0]
    assert of_training == negative_elbo(seeded(DENSE_VAE["build"], 3), test, 3), "the seed is that of the training"


def test_first_step_of_a_vae_is_adams_on_the_negative_evidence_lower_bound(small):
    x = data.unit(small[0].images[:50]).flatten(1)
    state, _ = train_vae(train=x, evaluate_on={}, epochs=1, one_cycle=False, **DENSE_VAE)
    seen = []
    with pytest.raises(Stop):
        train_vae(train=x, evaluate_on={}, epochs=1, step=partial(noting_noise, seen), **DENSE_VAE)
    (vae, x, noise) = seen[0]
    mean, log_variance = vae.encode(x)
    loss = reconstruction_loss(vae.decode(reparameterize(mean, log_variance, noise)), x).mean()
    loss += kl_to_prior(mean, log_variance).sum(1).mean()
    usual = torch.optim.Adam(vae.parameters(), 3e-3, foreach=False)
    loss.backward()
    usual.step()
    torch.testing.assert_close(state, dict(vae.state_dict()))


def noting_noise(seen, vae, x, draw, learner):
    seen.append((copy.deepcopy(vae), x, draw(len(x), 8)))
    raise Stop


def test_noise_of_a_vae_is_normal_and_anew_for_every_batch(small):
    def step(vae, x, draw, learner):
        drawn.append(draw(len(x), 8))
        return vae_step(vae, x, draw, learner)

    runs = []
    for seed in (0, 0, 1):
        drawn = []
        run_of("vae", small, epochs=2, seed=seed, step=step)
        runs.append(torch.cat(drawn))
    assert runs[0].equal(runs[1])
    assert not runs[0].equal(runs[2])
    assert len(runs[0].unique()) == runs[0].numel()
    assert runs[0].mean().abs() < 0.1
    assert runs[0].std().item() == pytest.approx(1, abs=0.08)


def test_evaluating_a_vae_does_not_change_its_training(small):
    plain, _ = run_of("vae", small, epochs=3)
    watched, _ = run_of("vae", small, epochs=3, watch=partial(decode_point, point=torch.ones(1, 8)))
    without, _ = train_vae(train=data.unit(small[0].images[:200]), evaluate_on={}, epochs=3, **DENSE_VAE)
    watched.pop("watched")
    assert same(plain, watched)
    assert same(plain, without)


def test_a_beta_vae_with_beta_one_is_a_vae(small):
    plain, history = run_of("vae", small, epochs=3)
    same_step, same_history = run_of("vae", small, epochs=3, step=vae_step)
    assert same(plain, same_step)
    assert history["test_kl"] == same_history["test_kl"]


def test_a_large_beta_lowers_the_kl_and_costs_reconstruction(small):
    runs = [run_of("vae", small, epochs=20, step=partial(vae_step, beta=beta))[1] for beta in (0.0, 1.0, 8.0)]
    kl, reconstruction = ([run[f"train_{name}"][-1] for run in runs] for name in ("kl", "reconstruction"))
    assert kl[0] > kl[1] > kl[2]
    assert reconstruction[0] < reconstruction[1] < reconstruction[2]


def test_masked_pixels_are_hidden_from_the_encoder_but_not_from_the_loss(small, monkeypatch):
    seen, asked = [], []

    def step(vae, x, draw, learner):
        monkeypatch.setattr(vae, "encode", lambda x: (seen.append(x), type(vae).encode(vae, x))[1])
        return vae_step(vae, x, draw, learner, masked=0.25)

    def loss(logits, x):
        asked.append(x)
        return reconstruction_loss(logits, x)

    monkeypatch.setattr("lib.training.vae.reconstruction_loss", loss)
    train_vae(train=torch.ones(200, 784), evaluate_on={}, epochs=1, **DENSE_VAE | {"step": step})
    hidden = torch.cat(seen) == 0
    assert hidden.float().mean().item() == pytest.approx(0.25, abs=0.01)
    assert not hidden[0].equal(hidden[1])
    assert torch.cat(asked).eq(1).all()


def test_mirrored_noise_decodes_two_samples_on_either_side_of_the_mean(small, monkeypatch):
    decoded, means = [], []

    def step(vae, x, draw, learner):
        means.append(vae.encode(x)[0].detach())
        monkeypatch.setattr(vae, "decode", lambda z: (decoded.append(z.detach()), type(vae).decode(vae, z))[1])
        return vae_step(vae, x, draw, learner, mirrored=True)

    run_of("vae", small, epochs=1, step=step)
    torch.testing.assert_close((decoded[0] + decoded[1]) / 2, means[0])
    assert (decoded[0] - decoded[1]).abs().min() > 0


def test_the_rate_of_a_vae_goes_through_one_cycle_over_all_epochs(small):
    rates, constant = [], []
    run_of("vae", small, epochs=5, step=noting_rates(vae_step, rates))
    run_of("vae", small, epochs=5, step=noting_rates(vae_step, constant), one_cycle=False)
    assert max(rates) == rates[5] == pytest.approx(3e-3)
    assert rates[-1] == pytest.approx(3e-3 / 25 / 1e4)
    assert constant == [3e-3] * 20


def test_vae_is_watched_after_every_epoch(small):
    images = data.unit(small[0].images[:200]).flatten(1)
    watch = partial(decode_point, point=torch.ones(1, 8))
    state, _ = train_vae(train=images, evaluate_on={}, epochs=3, watch=watch, **DENSE_VAE)
    watched = state.pop("watched")
    assert watched.shape == (3, 1, 784)
    vae = DENSE_VAE["build"]()
    vae.load_state_dict(state)
    torch.testing.assert_close(decode_point(vae, torch.ones(1, 8)).detach(), watched[-1])


def decode_point(vae, point):
    return vae.decode(point)
