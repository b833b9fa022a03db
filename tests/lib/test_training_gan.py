"""Training generative adversarial networks."""

import copy
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lib import data
from lib.models.gan import ConvDiscriminator, ConvGenerator, DCDiscriminator, DCGenerator, Discriminator, Generator
from lib.training.gan import (
    Average,
    adversarial_gradients,
    measure_batch_norm,
    real_share,
    train_gan,
    update_at_once,
    update_generator,
    update_in_turn,
    update_on_same_noise,
    update_two_rates,
)
from lib.training.loop import NOISE, ORDER, PROBE, Diverged, Learner, outputs, part, seeded, stream, weights


def small_generator(latent=8):
    return nn.Sequential(nn.Linear(latent, 32), nn.LeakyReLU(0.2), nn.Linear(32, 784), nn.Tanh())


def small_square_generator():
    return small_generator().append(nn.Unflatten(1, (1, 28, 28)))


def with_batch_norm(latent=8):
    return nn.Sequential(nn.Linear(latent, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 784), nn.Tanh())


def small_discriminator(dropout=0.3):
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 32), nn.LeakyReLU(0.2), nn.Dropout(dropout), nn.Linear(32, 1))


GAN = {
    "build_generator": small_generator,
    "build_discriminator": small_discriminator,
    "latent": 8,
    "batch_size": 50,
    "lr": 1e-3,
}
CONVOLUTIONAL = GAN | {"build_generator": ConvGenerator, "build_discriminator": ConvDiscriminator, "latent": 100}
UPDATES = [update_in_turn, update_at_once]
NAMES = ("d_loss", "g_loss", "d_real", "d_fake", "real_accuracy", "fake_accuracy")


@pytest.fixture(scope="module")
def real(small):
    """2,000 images (N, 784) in [−1, 1]."""
    return data.symmetric(small[0].images).flatten(1)


def same(a, b):
    return a.keys() == b.keys() and all(a[name].equal(b[name]) for name in a)


def noting(update, note):
    """``update``, which also gives ``note`` the two networks and the two learners after each step."""

    def noted(G, D, real, draw, g, d):
        log = update(G, D, real, draw, g, d)
        note(G, D, g, d)
        return log

    return noted


class Constant(nn.Module):
    """A discriminator that always gives one logit."""

    def __init__(self, logit):
        super().__init__()
        self.logit = nn.Parameter(torch.tensor(logit))

    def forward(self, x):
        return self.logit + 0 * x.flatten(1).sum(1, keepdim=True)


class Descent:
    """A learner of plain gradient descent; its loss is noted."""

    def __init__(self, network, lr):
        self.network, self.lr, self.losses = network, lr, []

    def descend(self, loss):
        self.losses.append(loss.item())
        self.network.zero_grad()
        loss.backward(inputs=list(self.network.parameters()))
        self.step()

    def step(self):
        with torch.no_grad():
            for weight in self.network.parameters():
                weight -= self.lr * weight.grad


# --- one update --------------------------------------------------------------------------------------------------


def textbook_losses(G, D, real, z, real_target=1.0, guide=None):
    """(L(D), L(G)) as the textbook prints them."""
    bce, fake = F.binary_cross_entropy_with_logits, G(z)
    d_loss = bce(D(real), torch.full((len(real), 1), real_target)) / 2
    d_loss += bce(D(fake.detach()), torch.zeros(len(z), 1)) / 2
    g_loss = bce(D(fake), torch.ones(len(z), 1))
    return d_loss, g_loss, g_loss + guide(fake).mean() if guide else g_loss


def brightness(images):
    return images.flatten(1).mean(1)


@pytest.mark.parametrize("extra", [{}, {"real_target": 0.7}, {"guide": brightness}])
def test_an_update_in_turn_is_the_textbooks(extra):
    """The discriminator's step on one noise, then the generator's on another against the new discriminator."""
    torch.manual_seed(0)
    G, D, x = small_generator(), small_discriminator(0.0), torch.rand(6, 784) * 2 - 1
    G_, D_ = copy.deepcopy(G), copy.deepcopy(D)
    noise = [torch.randn(6, 8), torch.randn(6, 8)]
    log = update_in_turn(G, D, x, iter(noise).__next__, Descent(G, 0.5), Descent(D, 0.5), **extra)

    d, g = Descent(D_, 0.5), Descent(G_, 0.5)
    d_loss, _, _ = textbook_losses(G_, D_, x, noise[0], **extra)
    with torch.no_grad():
        sure = D_(x).sigmoid().mean().item(), D_(G_(noise[0])).sigmoid().mean().item()
    d.descend(d_loss)
    _, g_loss, guided = textbook_losses(G_, D_, x, noise[1], **extra)
    g.descend(guided)
    torch.testing.assert_close(dict(D.state_dict()), dict(D_.state_dict()))
    torch.testing.assert_close(dict(G.state_dict()), dict(G_.state_dict()))
    assert log["d_loss"].item() == pytest.approx(d_loss.item())
    assert log["g_loss"].item() == pytest.approx(g_loss.item())
    assert (log["d_real"].item(), log["d_fake"].item()) == pytest.approx(sure)


def test_an_update_on_the_same_noise_is_one_in_turn_whose_two_draws_are_equal():
    torch.manual_seed(0)
    G, D, x = small_generator(), small_discriminator(0.0), torch.rand(6, 784) * 2 - 1
    G_, D_ = copy.deepcopy(G), copy.deepcopy(D)
    noise = torch.randn(6, 8)
    drawn = iter([noise])  # a second draw would fail
    log = update_on_same_noise(G, D, x, drawn.__next__, Descent(G, 0.5), Descent(D, 0.5))
    twice = update_in_turn(G_, D_, x, lambda: noise, Descent(G_, 0.5), Descent(D_, 0.5))
    torch.testing.assert_close(dict(D.state_dict()), dict(D_.state_dict()))
    torch.testing.assert_close(dict(G.state_dict()), dict(G_.state_dict()))
    assert log["g_loss"].item() == pytest.approx(twice["g_loss"].item())


def test_the_discriminators_rate_stays_the_same_multiple_of_the_generators(real):
    rates = []

    def update(G, D, real, draw, g, d):
        log = update_two_rates(G, D, real, draw, g, d, ratio=3.0)
        rates.append([learner.optimiser.param_groups[0]["lr"] for learner in (g, d)])
        return log

    networks = {"build_generator": small_generator, "build_discriminator": small_discriminator, "latent": 8}
    train_gan(real=real[:100], epochs=2, batch_size=20, lr=1e-3, update=update, **networks)
    assert rates == [pytest.approx([1e-3, 3e-3])] * 10


@pytest.mark.parametrize("seed", [0, 5])
def test_a_gan_draws_its_noise_from_a_stream_of_its_own(real, seed):
    def update(G, D, real, draw, g, d):
        seen.append(draw())
        return {"g_loss": torch.zeros(())}

    seen, networks = [], {"build_generator": small_generator, "build_discriminator": small_discriminator}
    train_gan(real=real[:20], latent=8, epochs=1, batch_size=20, lr=1e-3, update=update, seed=seed, **networks)
    expected = torch.randn(20, 8, generator=stream(seed, NOISE))
    assert seen[0].equal(expected)
    assert not expected.equal(torch.randn(20, 8, generator=stream(seed, ORDER)))


def test_the_generators_step_takes_noise_that_the_discriminators_step_has_not_seen():
    torch.manual_seed(0)
    G, D, seen = small_generator(), small_discriminator(), []
    G.register_forward_pre_hook(lambda network, given: seen.append(given[0].clone()))
    for _ in range(2):
        update_in_turn(G, D, torch.zeros(6, 784), lambda: torch.randn(6, 8), Descent(G, 0.1), Descent(D, 0.1))
    assert len(seen) == 4
    assert len(torch.cat(seen).unique()) == 4 * 6 * 8


def test_the_generators_step_leaves_the_discriminator_as_it_is():
    torch.manual_seed(0)
    G, D = small_generator(), small_discriminator()
    before, start = copy.deepcopy(D.state_dict()), copy.deepcopy(G.state_dict())
    update_generator(D, G(torch.randn(6, 8)), Learner(G, 0.1))
    assert same(D.state_dict(), before)
    assert all(weight.grad is None for weight in D.parameters())
    assert not same(G.state_dict(), start)


@pytest.mark.parametrize("update", UPDATES)
@pytest.mark.parametrize("target", [1.0, 0.7])
@pytest.mark.parametrize("logit", [3.0, -1.0])
def test_recorded_losses_are_half_of_both_cross_entropies_and_the_non_saturating_one(update, target, logit):
    """−log σ(l) is the cross-entropy of a logit l with the label 1, −log σ(−l) that with 0."""
    G, D = small_generator(), Constant(logit)
    update = partial(update, real_target=target)
    log = update(G, D, torch.zeros(6, 784), lambda: torch.randn(6, 8), Learner(G, 0.0), Learner(D, 0.0))
    yes, no = -F.logsigmoid(torch.tensor([logit, -logit]))
    d_loss = (target * yes + (1 - target) * no + no) / 2
    assert log["d_loss"].item() == pytest.approx(d_loss.item())
    assert log["g_loss"].item() == pytest.approx(yes.item())
    assert log["d_real"].item() == log["d_fake"].item() == pytest.approx(torch.tensor(logit).sigmoid().item())
    assert log["real_accuracy"].item() == 1 - log["fake_accuracy"].item() == (logit > 0)


def test_one_pass_gives_the_textbooks_gradients():
    torch.manual_seed(0)
    generator, discriminator = ConvGenerator(8), ConvDiscriminator(dropout=0.0)
    real, z = torch.rand(6, 1, 28, 28) * 2 - 1, torch.randn(6, 8)
    discriminator[-1].bias.data += 3  # sure of itself
    logits = adversarial_gradients(generator, discriminator, real, z, real_target=0.9, guide=brightness)
    for found, images in zip(logits, (real, generator(z)), strict=True):
        torch.testing.assert_close(found, discriminator(images).flatten())
    d_loss, _, g_loss = textbook_losses(generator, discriminator, real, z, 0.9, brightness)
    for network, loss in ((discriminator, d_loss), (generator, g_loss)):
        parameters = list(network.parameters())
        gradients = torch.autograd.grad(loss, parameters, retain_graph=True)
        for weight, gradient in zip(parameters, gradients, strict=True):
            torch.testing.assert_close(weight.grad, gradient, rtol=1e-3, atol=1e-6)


def test_an_update_at_once_moves_both_networks_down_their_gradients_at_the_same_weights():
    torch.manual_seed(0)
    G, D, x, z = small_generator(), small_discriminator(0.0), torch.rand(6, 784) * 2 - 1, torch.randn(6, 8)
    G_, D_ = copy.deepcopy(G), copy.deepcopy(D)
    for weight in (*G.parameters(), *D.parameters()):
        weight.grad = torch.ones_like(weight)  # of an earlier step, to be forgotten
    update_at_once(G, D, x, lambda: z, Descent(G, 0.5), Descent(D, 0.5))
    d_loss, g_loss, _ = textbook_losses(G_, D_, x, z)
    for network, loss in ((D_, d_loss), (G_, g_loss)):
        network.zero_grad()
        loss.backward(inputs=list(network.parameters()), retain_graph=True)
    for network in (D_, G_):
        Descent(network, 0.5).step()
    torch.testing.assert_close(dict(D.state_dict()), dict(D_.state_dict()))
    torch.testing.assert_close(dict(G.state_dict()), dict(G_.state_dict()))


def test_generators_gradient_survives_a_very_sure_discriminator():
    torch.manual_seed(0)
    generator, discriminator = Generator(8), Discriminator(0.0)
    discriminator[-1].bias.data -= 50  # σ(−50) is 2e-22
    z = torch.randn(6, 8)
    adversarial_gradients(generator, discriminator, torch.zeros(6, 784), z)
    loss = F.softplus(-discriminator(generator(z))).mean()
    parameters = list(generator.parameters())
    for weight, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
        torch.testing.assert_close(weight.grad, gradient, rtol=1e-3, atol=1e-7)


def test_batch_norm_in_the_discriminator_sees_each_kind_alone():
    torch.manual_seed(0)
    generator, discriminator = DCGenerator(2, latent=5), DCDiscriminator(2)
    real, noise = torch.rand(6, 1, 64, 64), [torch.randn(6, 5), torch.randn(6, 5)]
    before, learners = (
        copy.deepcopy((generator, discriminator)),
        (Descent(generator, 1e-3), Descent(discriminator, 1e-3)),
    )
    log = update_in_turn(generator, discriminator, real, iter(noise).__next__, *learners)
    with torch.no_grad():
        alone = [before[1](x) for x in (real, before[0](noise[0]))]
        together = before[1](torch.cat([real, before[0](noise[0])])).chunk(2)
    for name, each, other in zip(("d_real", "d_fake"), alone, together, strict=True):
        assert log[name].item() == pytest.approx(each.sigmoid().mean().item(), rel=1e-5)
        assert abs(log[name].item() - other.sigmoid().mean().item()) > 1e-4


# --- the average of the generator's weights ----------------------------------------------------------------------


@pytest.mark.parametrize("decay", [0.0, 0.3, 0.9])
def test_the_moving_average_keeps_its_decay_of_what_it_was_and_less_in_the_first_steps(decay):
    network = nn.Linear(1, 1)
    network.weight.data.fill_(1.0)
    average, expected = Average(network, decay), 1.0
    for step in range(30):
        network.weight.data.fill_(float(step % 7))
        average.update(network)
        keep = min(decay, (1 + step) / (10 + step))
        expected = keep * expected + (1 - keep) * (step % 7)
        assert average.network.weight.item() == pytest.approx(expected, abs=1e-5)
    assert not average.network.weight.requires_grad
    assert network.weight.requires_grad


@pytest.mark.parametrize("decay", [0.0, 0.12, 0.9])
def test_the_generator_that_is_returned_is_the_average_with_the_asked_decay(real, decay):
    seen = []
    update = noting(update_in_turn, lambda G, *_: seen.append(G[0].weight.detach().clone()))
    state, _ = train_gan(real=real[:300], epochs=1, average=decay, update=update, **GAN)
    expected = seeded(small_generator, 0)[0].weight.detach()
    for step, weight in enumerate(seen):
        keep = min(decay, (1 + step) / (10 + step))
        expected = keep * expected + (1 - keep) * weight
    assert len(seen) == 6
    torch.testing.assert_close(state["generator.0.weight"], expected)


def test_gan_average_lags_behind_the_weights(real):
    first = seeded(small_generator, 0).state_dict()["0.weight"]
    (plain, _), (averaged, _) = (train_gan(real=real[:100], epochs=1, average=a, **GAN) for a in (0.0, 0.9))
    moved, lagging = (state["generator.0.weight"] - first for state in (plain, averaged))
    assert 0 < lagging.norm() < moved.norm()
    assert same(part(plain, "discriminator"), part(averaged, "discriminator"))


def test_batch_norm_has_the_statistics_of_the_averaged_weights(real):
    settings = GAN | {"build_generator": with_batch_norm, "lr": 1e-2}
    state, _ = train_gan(real=real[:1000], epochs=2, average=0.9, **settings)
    generator = with_batch_norm()
    generator.load_state_dict(part(state, "generator"))
    with torch.no_grad():
        inputs = generator[0](torch.randn(5000, 8, generator=stream(9, 0)))
    torch.testing.assert_close(generator[1].running_var, inputs.var(0), rtol=0.15, atol=0)
    torch.testing.assert_close(generator[1].running_mean, inputs.mean(0), rtol=0, atol=0.15)


def test_batch_norm_is_measured_without_regard_to_what_it_held_before():
    torch.manual_seed(0)
    generator = with_batch_norm()
    generator[1].running_mean += 100
    assert measure_batch_norm(generator, 8, stream(0, 0)) is generator
    assert not generator.training
    with torch.no_grad():
        batches = torch.randn(10, 200, 8, generator=stream(1, 0))
        inputs = generator[0](batches.view(2000, 8))
    torch.testing.assert_close(generator[1].running_mean, inputs.mean(0), rtol=0, atol=0.1)


# --- a training --------------------------------------------------------------------------------------------------


def test_gan_training_repeats_whatever_was_drawn_before(real):
    runs = []
    for noise in (1, 2):
        torch.manual_seed(noise)
        expected = torch.rand(3)
        torch.manual_seed(noise)
        runs.append(train_gan(real=real[:300], epochs=2, **GAN))
        assert torch.rand(3).equal(expected), "the global generator is left alone"
    assert same(runs[0][0], runs[1][0])
    assert all(runs[0][1][name] == runs[1][1][name] for name in NAMES)
    assert not same(runs[0][0], train_gan(real=real[:300], epochs=2, seed=1, **GAN)[0])


class Stop(Exception):
    """Ends a training of which a test has seen enough."""


def start_of(real, seed):
    """What the first update finds."""

    def update(G, D, x, draw, g, d):
        raise Stop(weights(copy.deepcopy(G)), weights(copy.deepcopy(D)), x, draw())

    with pytest.raises(Stop) as stopped:
        train_gan(real=real[:200], epochs=1, seed=seed, update=update, **GAN)
    return dict(zip(("generator", "discriminator", "batch", "noise"), stopped.value.args, strict=True))


def test_initial_weights_depend_on_the_seed(real):
    first, again, other = (start_of(real, seed) for seed in (0, 0, 1))
    for network in ("generator", "discriminator"):
        assert same(first[network], again[network])
        assert not any(first[network][name].equal(other[network][name]) for name in first[network])


@pytest.mark.parametrize("what", ["batch", "noise"])
def test_the_order_of_the_batches_and_the_noise_depend_on_the_seed(real, what):
    first, again, other = (start_of(real, seed)[what] for seed in (0, 0, 1))
    assert first.equal(again)
    assert not first.equal(other)


def test_noise_is_normal_and_anew_at_every_draw(real):
    def update(G, D, x, draw, g, d):
        drawn.extend([draw(), draw()])
        return {"mine": x.mean()}

    drawn = []
    train_gan(real=real[:200], epochs=3, update=update, **GAN)
    drawn = torch.cat(drawn)
    assert drawn.shape == (3 * 4 * 2 * 50, 8)
    assert len(drawn.unique()) > 0.99 * drawn.numel()
    assert drawn.mean().abs() < 0.05
    assert drawn.std().item() == pytest.approx(1, abs=0.04)


def test_an_update_that_is_passed_in_is_what_runs(real):
    """A student's update that never learns."""

    def idle(G, D, x, draw, g, d):
        sizes.append(len(x))
        return {"mine": torch.tensor(3.0)}

    sizes = []
    state, history = train_gan(real=real[:230], epochs=2, update=idle, **GAN)
    assert sizes == [50] * 8, "whole batches only"
    assert history["mine"] == [3.0, 3.0]
    assert "d_loss" not in history
    start = start_of(real, 0)
    assert same(part(state, "generator"), start["generator"])
    assert same(part(state, "discriminator"), start["discriminator"])


@pytest.mark.parametrize("betas", [(0.5, 0.999), (0.9, 0.8)])
def test_both_networks_learn_with_adam_at_the_asked_betas(real, betas):
    """Four steps of torch's Adam on the gradients that our Learners get."""
    settings = GAN | {"build_discriminator": partial(small_discriminator, 0.0), "batch_size": 25}
    twins, found = {}, set()

    def update(G, D, x, draw, g, d):
        found.update((type(each.optimiser).__name__, each.optimiser.param_groups[0]["betas"]) for each in (g, d))
        if not twins:
            for name, network in (("g", G), ("d", D)):
                twin = copy.deepcopy(network)
                twins[name] = twin, torch.optim.Adam(twin.parameters(), 1e-3, betas, foreach=False)
        z = draw()
        log = update_at_once(G, D, x, lambda: z, g, d)
        for name, network in (("g", G), ("d", D)):
            twin, usual = twins[name]
            for mine, theirs in zip(twin.parameters(), network.parameters(), strict=True):
                mine.grad = theirs.grad.clone()
            usual.step()
            torch.testing.assert_close(dict(network.state_dict()), dict(twin.state_dict()))
        return log

    train_gan(real=real[:100], epochs=1, update=update, optimiser_settings={"betas": betas}, **settings)
    assert found == {("Adam", betas)}


def test_the_rate_of_both_networks_is_a_tenth_after_every_so_many_epochs(real):
    rates, constant = [], []

    def note(into, G, D, g, d):
        into.append(tuple(round(each.optimiser.param_groups[0]["lr"], 9) for each in (g, d)))

    settings = {"real": real[:130], "epochs": 4} | GAN  # two whole batches an epoch
    train_gan(update=noting(update_in_turn, partial(note, rates)), decay_every=1.5, **settings)
    train_gan(update=noting(update_at_once, partial(note, constant)), **settings)
    after = [1e-3, 1e-3, 1e-4, 1e-4, 1e-4, 1e-5, 1e-5, 1e-5]  # the step has moved the rate on already
    assert rates == [(rate, rate) for rate in after]
    assert constant == [(1e-3, 1e-3)] * 8


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_gan_updates_and_history_and_what_is_watched_is_what_is_returned(real, average):
    noise = torch.randn(4, 8)
    settings = GAN | {"watch": partial(outputs, inputs=noise), "average": average}
    state, history = train_gan(real=real[:230], epochs=2, **settings)
    assert state["watched"].shape == (2, 4, 784)
    assert not state["watched"][0].equal(state["watched"][1])
    assert set(history) == {*NAMES, "seconds"}
    assert {len(values) for values in history.values()} == {2}
    assert all(0 < p < 1 for p in history["d_real"] + history["d_fake"])
    generator = small_generator()
    generator.load_state_dict(part(state, "generator"))
    small_discriminator().load_state_dict(part(state, "discriminator"))
    with torch.no_grad():
        torch.testing.assert_close(generator(noise), state["watched"][-1])


def test_gan_learns_which_images_are_real(real):
    _, history = train_gan(real=real[:1000], epochs=2, **GAN)
    assert history["d_real"][-1] > history["d_fake"][-1] + 0.1


@pytest.mark.parametrize("update", UPDATES)
def test_generator_learns_to_be_called_real(real, update):
    """One step: the new discriminator finds the new generator's images more real than those of the old one."""
    settings = GAN | {"build_discriminator": partial(small_discriminator, 0.0), "lr": 1e-4, "update": update}
    state, _ = train_gan(real=real[:50], epochs=1, **settings)
    before, after, judge = seeded(small_generator, 0), small_generator(), small_discriminator(0.0)
    after.load_state_dict(part(state, "generator"))
    judge.load_state_dict(part(state, "discriminator"))
    with torch.no_grad():
        noise = torch.randn(500, 8, generator=stream(1, 0))
        assert judge(after(noise)).mean() > judge(before(noise)).mean()


def heavy_brightness(images):
    return 100 * brightness(images)


@pytest.mark.parametrize("update", UPDATES)
def test_a_guide_moves_what_is_generated(real, update):
    watch = partial(outputs, inputs=torch.randn(50, 8))
    plain, guided = (
        train_gan(real=real[:500], epochs=2, update=partial(update, guide=guide), watch=watch, **GAN)[0]["watched"][-1]
        for guide in (None, heavy_brightness)
    )
    assert guided.mean() < plain.mean()


@pytest.mark.parametrize("update", UPDATES)
def test_smoothed_labels_keep_the_discriminator_less_sure(real, update):
    sure, smooth = (
        train_gan(real=real[:1000], epochs=3, update=partial(update, real_target=target), **GAN)[1]["d_real"][-1]
        for target in (1.0, 0.7)
    )
    assert smooth < sure


def test_gan_traces_and_evaluates(real, small):
    held_out = data.symmetric(small[1].images[:20])
    settings = GAN | {"batch_size": 20, "real": real[:70].view(70, 1, 28, 28), "evaluate_on": {"test": held_out}}
    settings["build_generator"] = small_square_generator
    state, history = train_gan(epochs=2, trace_every=2, **settings)
    assert len(history["trace_d_loss"]) == len(history["trace_seconds"]) == 4  # steps 1 and 2, and 3, of each epoch
    for name in NAMES:
        two, one = history[f"trace_{name}"][:2]
        assert (2 * two + one) / 3 == pytest.approx(history[name][0], rel=1e-4)
    discriminator = small_discriminator()
    discriminator.load_state_dict(part(state, "discriminator"))
    assert history["test_accuracy"][-1] == real_share(discriminator, held_out)
    assert discriminator.training  # as it was


def test_generated_accuracy_is_that_of_images_of_the_generator_that_is_returned(real):
    settings = GAN | {"real": real[:400], "evaluate_on": {"seen": real[:9]}, "average": 0.9, "lr": 1e-2}
    state, history = train_gan(epochs=1, **settings)
    generator, discriminator = small_generator(), small_discriminator()
    generator.load_state_dict(part(state, "generator"))
    discriminator.load_state_dict(part(state, "discriminator"))
    probe = stream(0, PROBE)
    measure_batch_norm(generator, 8, probe)
    with torch.no_grad():
        generated = generator(torch.randn(2000, 8, generator=probe))
    assert 0.02 < history["generated_accuracy"][0] < 0.98, "an accuracy that tells networks apart"
    assert history["generated_accuracy"] == pytest.approx([1 - real_share(discriminator, generated)])


def test_share_called_real_is_counted_over_all_images():
    """More images than are judged at a time; the first 100 of 600 are bright."""
    images = torch.cat([torch.ones(100, 4), -torch.ones(500, 4)])
    judge = nn.Sequential(nn.Linear(4, 1), nn.Dropout(0.5))
    nn.init.ones_(judge[0].weight)
    nn.init.zeros_(judge[0].bias)
    assert real_share(judge, images) == pytest.approx(1 / 6)
    assert judge.training


@pytest.mark.parametrize(("logit", "called_real"), [(3.0, 1.0), (-3.0, 0.0)])
def test_accuracies_of_a_discriminator_that_always_says_the_same(real, logit, called_real):
    settings = GAN | {"build_discriminator": partial(Constant, logit), "lr": 1e-6}
    _, history = train_gan(real=real[:50], evaluate_on={"test": real[:50]}, epochs=1, **settings)
    assert history["real_accuracy"] == history["test_accuracy"] == [called_real]
    assert history["fake_accuracy"] == history["generated_accuracy"] == [1 - called_real]


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_watching_a_gan_does_not_change_it(real, average):
    watch = partial(outputs, inputs=torch.randn(2, 8))
    settings = GAN | {"build_generator": with_batch_norm, "real": real[:100], "epochs": 2, "average": average}
    plain, *others = (
        train_gan(**settings, **extra)[0]
        for extra in ({}, {"watch": watch}, {"evaluate_on": {"test": real[:20]}}, {"trace_every": 1})
    )
    for state in others:
        state.pop("watched", None)
        assert same(plain, state)


def test_gan_in_bfloat16_trains_nearly_alike(real):
    settings = CONVOLUTIONAL | {"real": real[:40].view(40, 1, 28, 28), "batch_size": 20, "epochs": 1}
    full, half = (train_gan(precision=p, **settings) for p in ("float32", "bfloat16"))
    assert not same(full[0], half[0])
    assert half[1]["d_loss"] == pytest.approx(full[1]["d_loss"], rel=0.05)
    assert {weight.dtype for name, weight in half[0].items() if "tracked" not in name} == {torch.float32}
    with pytest.raises(ValueError, match="precision must be"):
        train_gan(precision="half", **settings)


@pytest.mark.parametrize("update", UPDATES)
def test_divergence_of_a_gan_is_an_error(real, update):
    wrong = real[:100] * float("nan")
    with pytest.raises(Diverged, match="d_loss became nan in epoch 1"):
        train_gan(real=wrong, epochs=2, update=update, **GAN)


@pytest.mark.parametrize("name", ["real", "fake", "generated", "empty"])
def test_gan_refuses_sets_that_it_cannot_name(name):
    images = torch.zeros(50, 784)
    with pytest.raises(ValueError, match=name):
        train_gan(real=images, evaluate_on={name: images[: 0 if name == "empty" else 5]}, epochs=1, **GAN)


def test_an_update_at_once_refuses_batch_norm_in_the_discriminator():
    settings = GAN | {"build_discriminator": partial(nn.BatchNorm1d, 784), "update": update_at_once}
    with pytest.raises(ValueError, match="batch norm in the discriminator"):
        train_gan(real=torch.zeros(50, 784), epochs=1, **settings)


def test_gan_needs_a_whole_batch():
    with pytest.raises(ValueError, match="10 examples are less than one batch of 50"):
        train_gan(real=torch.zeros(10, 784), epochs=1, **GAN)
