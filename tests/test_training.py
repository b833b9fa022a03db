import copy
from functools import partial

import pytest
import torch
from torch import nn

from lib import data, training
from lib.models.autoencoder import Autoencoder, ConvAutoencoder
from lib.models.cnn import CNN
from lib.models.feedforward import FeedForward
from lib.models.gan import ConvDiscriminator, ConvGenerator, DCDiscriminator, DCGenerator, Discriminator, Generator
from lib.models.vae import VAE

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


# --- generative models -------------------------------------------------------------------------------------------

GAN = {
    "build_generator": partial(Generator, 8),
    "build_discriminator": Discriminator,
    "latent": 8,
    "batch_size": 50,
    "lr": 3e-4,
}


def runs_of(kind, images, **settings):
    """One of the three trainings on floats (N, 784)."""
    if kind == "autoencoder":
        small = partial(Autoencoder, (784, 64, 8))
        return training.train_autoencoder(small, images, {"test": images[:50]}, batch_size=50, lr=1e-3, **settings)
    if kind == "vae":
        small = partial(VAE, (784, 64, 8))
        return training.train_vae(small, images, {"test": images[:50]}, batch_size=50, lr=1e-3, **settings)
    return training.train_gan(real=2 * images - 1, **GAN, **settings)


@pytest.mark.parametrize("kind", ["autoencoder", "vae", "gan"])
def test_generative_training_repeats_whatever_was_drawn_before(small, kind):
    images = data.unit(small[0].images[:300]).flatten(1)
    runs = []
    for noise in (1, 2):
        torch.manual_seed(noise)
        expected = torch.rand(3)
        torch.manual_seed(noise)
        runs.append(runs_of(kind, images, epochs=2))
        assert torch.rand(3).equal(expected), "the global generator is left alone"
    assert same(runs[0][0], runs[1][0])
    clocks = ("seconds", "train_seconds")
    assert [v for k, v in runs[0][1].items() if k not in clocks] == [
        v for k, v in runs[1][1].items() if k not in clocks
    ]
    assert not same(runs[0][0], runs_of(kind, images, epochs=2, seed=1)[0])


def test_autoencoder_reaches_its_band(small):
    images, held_out = (data.unit(split.images) for split in small)
    _, history = training.train_autoencoder(
        partial(Autoencoder, (784, 128, 20), activation="relu"),
        images,
        {"test": held_out},
        epochs=15,
        batch_size=64,
        lr=4e-3,
    )
    assert history["test_loss"][0] > 0.04 > 0.027 > history["test_loss"][-1] > 0.01
    assert history["train_loss"][-1] == pytest.approx(history["test_loss"][-1], rel=0.3)


def test_autoencoder_loss_is_per_element_over_all_images(small):
    images = data.unit(small[1].images[:333])
    state, history = training.train_autoencoder(
        Autoencoder, images, {"test": images}, epochs=1, batch_size=128, lr=1e-3
    )
    model = Autoencoder()
    model.load_state_dict(state)
    with torch.no_grad():
        expected = (model(images) - images.flatten(1)).square().mean().item()
    assert history["test_loss"][0] == pytest.approx(expected, rel=1e-5)


def test_rate_that_has_decayed_freezes_the_network(small):
    images = data.unit(small[0].images[:300])
    _, history = training.train_autoencoder(
        partial(Autoencoder, (784, 32, 2)), images, {"test": images}, epochs=9, batch_size=50, lr=1e-3, decay_every=1
    )
    moves = [abs(b - a) for a, b in zip(history["test_loss"], history["test_loss"][1:], strict=False)]
    assert moves[-1] < moves[0] / 1000


def test_vae_reaches_its_band(small):
    images, held_out = (data.unit(split.images) for split in small)
    state, history = training.train_vae(VAE, images, {"test": held_out}, epochs=15, batch_size=64, lr=4e-3)
    bound = [r + k for r, k in zip(history["test_reconstruction"], history["test_kl"], strict=True)]
    assert bound[0] > 190 > 145 > bound[-1] > 110
    assert 10 < history["test_kl"][-1] < 30
    vae = VAE()
    vae.load_state_dict(state)
    assert training.negative_elbo(vae, held_out) == pytest.approx(
        (history["test_reconstruction"][-1], history["test_kl"][-1])
    )


def test_gan_updates_and_history(small):
    images = data.symmetric(small[0].images[:230]).flatten(1)
    noise = torch.randn(4, 8)
    watch = partial(training.outputs, inputs=noise)
    state, history = training.train_gan(real=images, epochs=2, watch=watch, **GAN)
    assert state["watched"].shape == (2, 4, 784)
    assert not state["watched"][0].equal(state["watched"][1])
    assert {len(values) for values in history.values()} == {2}
    assert all(0 < p < 1 for p in history["d_real"] + history["d_fake"])
    generator = Generator(8)
    generator.load_state_dict(training.part(state, "generator"))
    Discriminator().load_state_dict(training.part(state, "discriminator"))
    with torch.no_grad():
        torch.testing.assert_close(generator(noise), state["watched"][-1])


def test_gan_average_lags_behind_the_weights(small):
    images = data.symmetric(small[0].images[:100]).flatten(1)
    first = training._build(GAN["build_generator"], 0).state_dict()["0.weight"]
    (plain, _), (averaged, _) = (
        training.train_gan(real=images, epochs=1, average=average, **GAN) for average in (None, 0.9)
    )
    moved, lagging = (state["generator.0.weight"] - first for state in (plain, averaged))
    assert 0 < lagging.norm() < moved.norm()
    assert same(training.part(plain, "discriminator"), training.part(averaged, "discriminator"))


def test_gan_learns_which_images_are_real(small):
    images = data.symmetric(small[0].images[:1000]).flatten(1)
    _, history = training.train_gan(real=images, epochs=2, **GAN)
    assert history["d_real"][-1] > history["d_fake"][-1] + 0.1


@pytest.mark.parametrize("kind", ["autoencoder", "vae"])
def test_generative_training_stops_when_it_diverges(small, kind):
    images = data.unit(small[0].images[:100]).flatten(1) * float("inf")
    with pytest.raises(training.Diverged, match="epoch 0"):
        runs_of(kind, images, epochs=1)


def test_generator_learns_to_be_called_real(small):
    """One step: the new discriminator finds the new generator's images more real than those of the old one."""
    images = data.symmetric(small[0].images[:50]).flatten(1)
    settings = GAN | {"build_discriminator": partial(Discriminator, 0.0), "lr": 1e-4}
    state, _ = training.train_gan(real=images, epochs=1, **settings)
    before, after, judge = Generator(8), Generator(8), Discriminator(0.0)
    before.load_state_dict(training._build(GAN["build_generator"], 0).state_dict())
    after.load_state_dict(training.part(state, "generator"))
    judge.load_state_dict(training.part(state, "discriminator"))
    with torch.no_grad():
        noise = torch.randn(500, 8, generator=torch.Generator().manual_seed(1))
        assert judge(after(noise)).mean() > judge(before(noise)).mean()


def test_batch_norm_has_the_statistics_of_the_averaged_weights(small):
    images = data.symmetric(small[0].images[:1000]).flatten(1)
    build = partial(with_batch_norm, 8)
    settings = GAN | {"build_generator": build, "lr": 1e-2}
    state, _ = training.train_gan(real=images, epochs=2, average=0.9, **settings)
    generator = build()
    generator.load_state_dict(training.part(state, "generator"))
    with torch.no_grad():
        inputs = generator[0](torch.randn(5000, 8, generator=torch.Generator().manual_seed(9)))
    torch.testing.assert_close(generator[1].running_var, inputs.var(0), rtol=0.15, atol=0)
    torch.testing.assert_close(generator[1].running_mean, inputs.mean(0), rtol=0, atol=0.15)


def test_one_pass_gives_the_textbooks_gradients():
    torch.manual_seed(0)
    generator, discriminator = ConvGenerator(8), ConvDiscriminator(dropout=0.0)
    real, z = torch.rand(6, 1, 28, 28) * 2 - 1, torch.randn(6, 8)
    discriminator[-1].bias.data += 3  # sure of itself
    logits = training.adversarial_gradients(generator, discriminator, real, z, real_target=0.9, guide=brightness)
    generated = generator(z)
    torch.testing.assert_close(logits, torch.stack([discriminator(x).flatten() for x in (real, generated)]))
    bce = torch.nn.functional.binary_cross_entropy_with_logits
    d_loss = bce(discriminator(real), torch.full((6, 1), 0.9)) / 2
    d_loss += bce(discriminator(generated.detach()), torch.zeros(6, 1)) / 2
    g_loss = bce(discriminator(generated), torch.ones(6, 1)) + brightness(generated).mean()
    for network, loss in ((discriminator, d_loss), (generator, g_loss)):
        weights = list(network.parameters())
        for weight, gradient in zip(weights, torch.autograd.grad(loss, weights, retain_graph=True), strict=True):
            torch.testing.assert_close(weight.grad, gradient, rtol=1e-3, atol=1e-6)


def test_generators_gradient_survives_a_very_sure_discriminator():
    torch.manual_seed(0)
    generator, discriminator = Generator(8), Discriminator(0.0)
    discriminator[-1].bias.data -= 50  # σ(−50) is 2e-22
    z = torch.randn(6, 8)
    training.adversarial_gradients(generator, discriminator, torch.zeros(6, 784), z)
    loss = torch.nn.functional.softplus(-discriminator(generator(z))).mean()
    weights = list(generator.parameters())
    for weight, gradient in zip(weights, torch.autograd.grad(loss, weights), strict=True):
        torch.testing.assert_close(weight.grad, gradient, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("one_pass", [False, True])
def test_a_guide_moves_what_is_generated(small, one_pass):
    real = data.symmetric(small[0].images[:500]).flatten(1)
    noise = torch.randn(50, 8)
    watch = partial(training.outputs, inputs=noise)
    plain, guided = (
        training.train_gan(real=real, epochs=2, one_pass=one_pass, guide=guide, watch=watch, **GAN)[0]["watched"][-1]
        for guide in (None, heavy_brightness)
    )
    assert guided.mean() < plain.mean()


def heavy_brightness(images):
    return 100 * images.flatten(1).mean(1)


def brightness(images):
    return images.flatten(1).mean(1)


CONVOLUTIONAL = GAN | {"build_generator": ConvGenerator, "build_discriminator": ConvDiscriminator, "latent": 100}


def test_gan_traces_and_evaluates(small):
    real, held_out = data.symmetric(small[0].images[:160]), data.symmetric(small[1].images[:20])
    state, history = training.train_gan(
        real=real, evaluate_on={"test": held_out}, epochs=2, trace_every=2, **CONVOLUTIONAL
    )
    assert len(history["trace_d_loss"]) == len(history["trace_seconds"]) == 4  # steps 1 and 2, and 3, of each epoch
    for name in training.GAN_TRACES:
        two, one = history[f"trace_{name}"][:2]
        assert (2 * two + one) / 3 == pytest.approx(history[name][0], rel=1e-4)
    discriminator = ConvDiscriminator()
    discriminator.load_state_dict(training.part(state, "discriminator"))
    assert history["test_accuracy"][-1] == training.real_share(discriminator, held_out)
    assert discriminator.training  # as it was


class Constant(torch.nn.Module):
    """A discriminator that always gives one logit."""

    def __init__(self, logit):
        super().__init__()
        self.logit = torch.nn.Parameter(torch.tensor(logit))

    def forward(self, x):
        return self.logit + 0 * x.flatten(1).sum(1, keepdim=True)


@pytest.mark.parametrize(("logit", "called_real"), [(3.0, 1.0), (-3.0, 0.0)])
def test_accuracies_of_a_discriminator_that_always_says_the_same(small, logit, called_real):
    real = data.symmetric(small[0].images[:50]).flatten(1)
    settings = GAN | {"build_discriminator": partial(Constant, logit), "lr": 1e-6}
    _, history = training.train_gan(real=real, evaluate_on={"test": real}, epochs=1, **settings)
    assert history["real_accuracy"] == history["test_accuracy"] == [called_real]
    assert history["fake_accuracy"] == history["generated_accuracy"] == [1 - called_real]


def test_watching_a_gan_does_not_change_it(small):
    real = data.symmetric(small[0].images[:100]).flatten(1)
    watch = partial(training.outputs, inputs=torch.randn(2, 8))
    plain, *others = (
        training.train_gan(real=real, epochs=2, **GAN, **extra)[0]
        for extra in ({}, {"watch": watch}, {"evaluate_on": {"test": real}}, {"trace_every": 1})
    )
    for state in others:
        state.pop("watched", None)
        assert same(plain, state)


@pytest.mark.parametrize("name", ["real", "fake", "generated", "empty"])
def test_gan_refuses_sets_that_it_cannot_name(name):
    images = torch.zeros(50, 784)
    with pytest.raises(ValueError, match=name):
        training.train_gan(real=images, evaluate_on={name: images[: 0 if name == "empty" else 5]}, epochs=1, **GAN)


def test_gan_refuses_batch_norm_in_the_discriminator():
    build = partial(torch.nn.BatchNorm1d, 784)
    with pytest.raises(ValueError, match="batch norm in the discriminator"):
        training.train_gan(real=torch.zeros(50, 784), epochs=1, one_pass=True, **GAN | {"build_discriminator": build})


def test_batch_norm_in_the_discriminator_sees_each_kind_alone():
    torch.manual_seed(0)
    generator, discriminator = DCGenerator(2, latent=5), DCDiscriminator(2)
    real, z, fresh = torch.rand(6, 1, 64, 64), torch.randn(6, 5), torch.randn(6, 5)
    before = copy.deepcopy(generator), copy.deepcopy(discriminator)
    optimisers = [torch.optim.SGD(network.parameters(), 1e-3) for network in (generator, discriminator)]
    logits, _ = training.update_in_turn(generator, discriminator, *optimisers, real, z, fresh)
    with torch.no_grad():
        alone = [before[1](x).flatten() for x in (real, before[0](z))]
        together = before[1](torch.cat([real, before[0](z)])).view(2, -1)
    torch.testing.assert_close(logits, torch.stack(alone))
    assert (logits - together).abs().max() > 1e-3


def test_smoothed_labels_keep_the_discriminator_less_sure(small):
    real = data.symmetric(small[0].images[:500]).flatten(1)
    sure, smooth = (
        training.train_gan(real=real, epochs=2, real_target=target, **GAN)[1]["d_real"][-1] for target in (1.0, 0.7)
    )
    assert smooth < sure


def test_bfloat16_trains_nearly_alike(small):
    real = data.symmetric(small[0].images[:200])
    full, half = (
        training.train_gan(real=real, epochs=1, precision=p, **CONVOLUTIONAL) for p in ("float32", "bfloat16")
    )
    assert not same(full[0], half[0])
    assert half[1]["d_loss"] == pytest.approx(full[1]["d_loss"], rel=0.05)
    assert {weight.dtype for name, weight in half[0].items() if "tracked" not in name} == {torch.float32}
    with pytest.raises(ValueError, match="precision must be"):
        training.train_gan(real=real, epochs=1, precision="half", **CONVOLUTIONAL)


def test_autoencoder_in_bfloat16_trains_nearly_alike(small):
    images = data.unit(small[0].images)
    build = partial(Autoencoder, (784, 128, 20), activation="relu")
    settings = {"build": build, "train": images, "evaluate_on": {}, "epochs": 3, "batch_size": 50}
    full, half = (training.train_autoencoder(lr=3e-3, precision=p, **settings) for p in ("float32", "bfloat16"))
    assert not same(full[0], half[0])
    assert half[1]["train_loss"] == pytest.approx(full[1]["train_loss"], rel=0.03)
    assert {weight.dtype for weight in half[0].values()} == {torch.float32}
    with pytest.raises(ValueError, match="precision must be"):
        training.train_autoencoder(lr=3e-3, precision="half", **settings)


def test_vae_in_bfloat16_trains_nearly_alike(small):
    images = data.unit(small[0].images)
    settings = {"build": VAE, "train": images, "evaluate_on": {}, "epochs": 2, "batch_size": 50, "lr": 2e-3}
    full, half = (training.train_vae(precision=p, **settings) for p in ("float32", "bfloat16"))
    assert not same(full[0], half[0])
    assert half[1]["train_reconstruction"] == pytest.approx(full[1]["train_reconstruction"], rel=0.01)
    assert half[1]["train_kl"] == pytest.approx(full[1]["train_kl"], rel=0.05)
    assert {weight.dtype for weight in half[0].values()} == {torch.float32}
    with pytest.raises(ValueError, match="precision must be"):
        training.train_vae(precision="half", **settings)


def test_autoencoder_is_evaluated_every_so_many_epochs_and_at_the_end(small):
    images = data.unit(small[0].images[:100])
    settings = CONV_AE | {"train": images, "evaluate_on": {"seen": images}, "epochs": 5}
    always, sometimes = (training.train_autoencoder(evaluate_every=n, **settings)[1] for n in (1, 3))
    assert sometimes["seen_loss"] == [always["seen_loss"][i] for i in (2, 4)]


def with_batch_norm(latent):
    return nn.Sequential(nn.Linear(latent, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 784), nn.Tanh())


def test_gan_needs_a_whole_batch():
    with pytest.raises(ValueError, match="10 images are less than one batch of 50"):
        training.train_gan(real=torch.zeros(10, 784), epochs=1, **GAN)


def test_vae_is_watched_after_every_epoch(small):
    images = data.unit(small[0].images[:200]).flatten(1)
    state, _ = training.train_vae(
        VAE, images, {}, epochs=3, batch_size=50, lr=1e-3, watch=partial(decode_point, point=torch.ones(1, 20))
    )
    watched = state.pop("watched")
    assert watched.shape == (3, 1, 784)
    vae = VAE()
    vae.load_state_dict(state)
    torch.testing.assert_close(decode_point(vae, torch.ones(1, 20)).detach(), watched[-1])


def decode_point(vae, point):
    return vae.decode(point)


# Small batches and a low rate, because the start on so few images hangs on the last digit of the arithmetic otherwise.
CONV_AE = {"build": ConvAutoencoder, "batch_size": 16, "lr": 3e-3}


def test_conv_autoencoder_reaches_its_band(small):
    train, test = small
    images, held_out = data.unit(train.images), data.unit(test.images)
    _, history = training.train_autoencoder(train=images, evaluate_on={"test": held_out}, epochs=6, **CONV_AE)
    mean_image = (held_out - images.mean(0)).square().mean().item()
    assert 0.02 < history["test_loss"][-1] < mean_image
    assert history["test_loss"][-1] < history["test_loss"][0]


def watched_codes(model, images):
    return model.encode(images)


def test_autoencoder_is_watched_without_dropout_and_without_changing_the_training(small):
    images = data.unit(small[0].images[:200])
    settings = CONV_AE | {"build": partial(ConvAutoencoder, dropout=0.5), "train": images, "epochs": 3}
    plain, _ = training.train_autoencoder(evaluate_on={}, **settings)
    watch = partial(watched_codes, images=images[:5])
    state, history = training.train_autoencoder(evaluate_on={"train": images}, watch=watch, **settings)
    watched = state.pop("watched")
    assert watched.shape == (3, 5, 10)
    assert same(state, plain)
    model = ConvAutoencoder(dropout=0.5)
    model.load_state_dict(state)
    torch.testing.assert_close(watched[-1], model.eval().encode(images[:5]))
    assert history["train_loss"][-1] == pytest.approx(training.reconstruction_error(model.train(), images), rel=0.3)
    assert model.training  # as it was given


def lower_half_erased(x, generator):
    x = x.flatten(1).clone()
    x[:, 14 * 28 :] = 0
    return x


def test_corrupted_inputs_have_clean_targets(small):
    images = data.unit(small[0].images)
    build = partial(Autoencoder, (784, 128, 32), activation="relu")
    settings = {"train": images, "evaluate_on": {}, "batch_size": 50, "lr": 1e-3}
    early, late = (
        training.train_autoencoder(build, corrupt=lower_half_erased, epochs=epochs, **settings)[0] for epochs in (1, 5)
    )
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
    assert same(*(training.train_autoencoder(corrupt=corrupt, **settings)[0] for corrupt in corrupts))


def test_after_epoch_sees_the_history_and_may_end_the_training(small):
    images, seen = data.unit(small[0].images[:100]), []

    class Enough(Exception):
        pass

    def stop(epoch, history):
        seen.append((epoch, history["test_loss"][-1]))
        if epoch == 2:
            raise Enough

    with pytest.raises(Enough):
        training.train_autoencoder(train=images, evaluate_on={"test": images}, epochs=5, after_epoch=stop, **CONV_AE)
    assert [epoch for epoch, _ in seen] == [1, 2]


@pytest.mark.parametrize("optimiser", list(training.OPTIMISERS))
def test_every_optimiser_trains_an_autoencoder_and_leaves_frozen_weights(optimiser, small):
    images = data.unit(small[0].images[:256])

    def frozen():
        model = ConvAutoencoder()
        model.encoder.requires_grad_(False)
        return model

    settings = CONV_AE | {"build": frozen, "lr": 1.0 if optimiser == "sgd" else 1e-3, "optimiser": optimiser}
    state, history = training.train_autoencoder(train=images, evaluate_on={}, epochs=3, one_cycle=False, **settings)
    assert history["train_loss"][-1] < history["train_loss"][0]
    torch.manual_seed(0)
    start = ConvAutoencoder().state_dict()
    for name, tensor in state.items():
        assert tensor.equal(start[name]) == name.startswith("encoder"), name


def test_unknown_optimiser_of_an_autoencoder_is_named(small):
    images = data.unit(small[0].images[:100])
    with pytest.raises(ValueError, match="unknown optimiser 'adma'; choose one of sgd"):
        training.train_autoencoder(train=images, evaluate_on={}, epochs=1, optimiser="adma", **CONV_AE)
