import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lib.metrics.classification import certainty
from lib.models import vae as vaes
from lib.models.autoencoder import Autoencoder, ConvAutoencoder, narrow_autoencoder
from lib.models.cnn import CNN
from lib.models.feedforward import ACTIVATIONS, FeedForward, FeedForwardStack
from lib.models.gan import (
    ConvDiscriminator,
    ConvGenerator,
    DCDiscriminator,
    DCGenerator,
    Discriminator,
    Dropout,
    Generator,
)


def count(model):
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("hidden", "parameters"), [(32, 25450), (64, 50890), (128, 101770), (256, 203530), (512, 407050)]
)
def test_feedforward_parameters(hidden, parameters):
    assert count(FeedForward(hidden)) == parameters


def test_feedforward_is_two_matrix_products():
    torch.manual_seed(0)
    model, x = FeedForward(16, "tanh"), torch.rand(5, 1, 28, 28)
    by_hand = torch.tanh(x.view(5, 784) @ model.W1 + model.b1) @ model.W2 + model.b2
    torch.testing.assert_close(model(x), by_hand)


def test_initial_weights_fill_the_prescribed_range():
    torch.manual_seed(0)
    model = FeedForward(400)
    for parameter, bound in ((model.W1, 400**-0.5), (model.b1, 400**-0.5), (model.W2, 10**-0.5)):
        assert parameter.abs().max() <= bound
        assert parameter.abs().max() > 0.97 * bound
        assert parameter.std().item() == pytest.approx(bound / 3**0.5, rel=0.1)


def test_sigmoid_squashes_the_logits_and_others_do_not():
    torch.manual_seed(0)
    x = torch.rand(20, 784)
    for name in ACTIVATIONS:
        logits = FeedForward(64, name)(x)
        assert (logits.min() > 0 and logits.max() < 1) == (name == "sigmoid"), name


def test_unknown_activation():
    with pytest.raises(ValueError, match="unknown activation 'rleu'; choose one of linear, relu"):
        FeedForward(8, "rleu")


def test_stack_computes_what_its_networks_compute():
    torch.manual_seed(0)
    networks = [FeedForward(8, name) for name in ACTIVATIONS]
    stack, x = FeedForwardStack(networks), torch.rand(3, 784)
    for i, network in enumerate(networks):
        torch.testing.assert_close(stack(x)[i], network(x))
        torch.testing.assert_close(stack.network(i)(x), network(x))


def test_cnn_shapes_and_parameters():
    model = CNN()
    assert model(torch.zeros(2, 1, 28, 28)).shape == (2, 10)
    assert [count(layer) for layer in model] == [416, 0, 0, 12832, 0, 0, 0, 15690]


def test_pooling_before_relu_is_the_reports_network():
    torch.manual_seed(0)
    model, x = CNN(), torch.randn(4, 1, 28, 28)
    h = F.max_pool2d(F.relu(model[0](x)), 2)
    h = F.max_pool2d(F.relu(model[3](h)), 2)
    assert model(x).equal(model[7](h.flatten(1)))


def test_certainty_ignores_scale_and_is_large_for_clear_cases():
    logits = torch.tensor([[9.0] + [0.0] * 9, [0.01 * i for i in range(10)]])
    torch.testing.assert_close(certainty(logits), certainty(10 * logits))
    deviation = (9**2 * 0.1 - 0.9**2) ** 0.5 * (10 / 9) ** 0.5
    clear = torch.tensor([27 / deviation] + [0.0] * 9).softmax(0)[0]
    assert certainty(logits)[0].item() == pytest.approx(clear.item(), rel=1e-5)
    assert certainty(logits)[0] > certainty(logits)[1]


def test_no_module_has_hidden_state():
    assert not [name for model in (FeedForward(), CNN()) for name, _ in model.named_buffers()]
    assert all(isinstance(p, nn.Parameter) for p in FeedForward().parameters())


def test_parameters_of_the_generative_models():
    assert count(Autoencoder()) == 2_823_286
    assert count(vaes.VAE()) == 652_824
    assert count(Generator()) == 1_467_152
    assert count(Discriminator()) == 1_460_225
    assert count(Autoencoder((784, 512, 10), activation="relu")) == 814_874  # adl2024's
    assert count(vaes.VAE((784, 512, 256, 2))) == 1_068_820  # statsm231a's and nndl2020's
    assert count(Generator(latent=2)) == 1_461_264  # statsm231a's


def test_autoencoder_shapes_and_ranges():
    torch.manual_seed(0)
    x = torch.rand(5, 1, 28, 28)
    model = Autoencoder()
    assert model.encode(x).shape == (5, 2)
    assert model(x).shape == (5, 784)
    far = model.decode(torch.tensor([[1e4, -1e4]]))
    assert far.min() >= 0
    assert far.max() <= 1
    assert [type(layer).__name__ for layer in model.encoder] == ["Linear", "Tanh"] * 3 + ["Linear"], "a linear code"
    linear = Autoencoder((20, 8, 2), output="linear")
    assert [type(layer).__name__ for layer in linear.decoder] == ["Linear", "Tanh", "Linear", "Identity"]


@pytest.mark.parametrize("wrong", [{"activation": "tanhh"}, {"output": "softmax"}])
def test_autoencoder_names_what_it_does_not_know(wrong):
    with pytest.raises(ValueError, match=r"tanh, relu; output one of sigmoid, linear"):
        Autoencoder(**wrong)


def test_kl_to_prior_is_that_of_torch():
    torch.manual_seed(0)
    mean, log_variance = torch.randn(2, 7, 20)
    posterior = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    expected = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0))
    torch.testing.assert_close(vaes.kl_to_prior(mean, log_variance), expected)
    assert vaes.kl_to_prior(torch.zeros(1, 2), torch.zeros(1, 2)).sum() == 0


def test_reconstruction_loss_is_a_sum_over_pixels():
    logits, x = torch.zeros(3, 784), torch.rand(3, 1, 28, 28)
    torch.testing.assert_close(vaes.reconstruction_loss(logits, x), torch.full((3,), 784 * torch.tensor(2.0).log()))
    p, x = torch.tensor([[0.9, 0.2]]), torch.tensor([[1.0, 0.5]])
    by_hand = -(torch.tensor(0.9).log() + 0.5 * torch.tensor(0.2).log() + 0.5 * torch.tensor(0.8).log())
    torch.testing.assert_close(vaes.reconstruction_loss(p.logit(), x), by_hand.view(1))


def test_reparameterize_has_the_asked_moments_and_a_gradient():
    mean, log_variance = torch.tensor([[1.0, -2.0]], requires_grad=True), torch.tensor([[0.0, 1.2]], requires_grad=True)
    noise = torch.randn(100_000, 2, generator=torch.Generator().manual_seed(0))
    z = vaes.reparameterize(mean, log_variance, noise)
    torch.testing.assert_close(z.mean(0), mean[0], atol=0.02, rtol=0)
    torch.testing.assert_close(z.var(0), log_variance[0].exp(), atol=0.05, rtol=0)
    z.mean().backward()
    torch.testing.assert_close(mean.grad, torch.full((1, 2), 0.5))
    assert log_variance.grad.abs().max() < 0.01


def test_log_likelihood_is_the_integral_over_the_prior():
    """One latent dimension, so that p(x) = ∫ p(x|z) p(z) dz can be summed up on a grid; q is far from the prior."""
    torch.manual_seed(0)
    model = vaes.VAE((6, 8, 1))
    with torch.no_grad():
        model.mean.bias.fill_(0.5)
        model.log_variance.bias.fill_(0.4)
        model.decoder[0].weight.mul_(3)
        x, z = torch.rand(4, 6), torch.linspace(-8, 8, 4001)
        given_z = torch.stack([-vaes.reconstruction_loss(model.decode(z[:, None]), one.expand(4001, 6)) for one in x])
        log_prior = -z.square() / 2 - 0.5 * math.log(2 * math.pi)
        truth = (given_z + log_prior).logsumexp(1) + (z[1] - z[0]).log()
    estimate = vaes.log_likelihood(model, x, 5000, torch.Generator().manual_seed(0))
    torch.testing.assert_close(estimate, truth, atol=0.03, rtol=0)


def test_gan_shapes_and_ranges():
    torch.manual_seed(0)
    generator, discriminator = Generator(), Discriminator()
    images = generator(100 * torch.randn(4, 25))
    assert images.shape == (4, 784)
    assert images.min() >= -1
    assert images.max() <= 1
    assert generator.latent == 25
    assert discriminator(images).shape == (4, 1)
    assert discriminator.eval()(images.view(4, 1, 28, 28)).shape == (4, 1)


def test_convolutional_gan_has_the_reports_layers():
    generator, discriminator = ConvGenerator(), ConvDiscriminator()
    assert count(generator) == 377_121
    assert count(discriminator) == 246_529
    assert generator.latent == 100
    images = generator(torch.randn(3, 100))
    assert images.shape == (3, 1, 28, 28)
    assert -1 <= images.min() < images.max() <= 1
    assert discriminator(images).shape == (3, 1)


def test_spectral_normalisation_bounds_every_layer():
    torch.manual_seed(0)
    discriminator = ConvDiscriminator(spectral=True)
    for _ in range(30):  # power iteration, one step each time
        discriminator(torch.randn(2, 1, 28, 28))
    weights = [m.weight for m in discriminator.eval() if hasattr(m, "weight")]
    assert len(weights) == 5
    for weight in weights:
        assert torch.linalg.matrix_norm(weight.flatten(1), 2).item() == pytest.approx(1, rel=0.05)


def test_conv_autoencoder_shapes_and_parameters():
    model, x = ConvAutoencoder(), torch.rand(3, 1, 28, 28)
    assert [count(part) for part in (model.encoder, model.decoder)] == [25034, 25281]
    code = model.encode(x)
    assert code.shape == (3, 10)
    assert model(x).shape == (3, 784)
    assert ((model(x) > 0) & (model(x) < 1)).all()
    torch.testing.assert_close(model.encode(x.flatten(1)), code)  # flat images as well
    assert (code < 0).any()  # no activation after the code
    wide = ConvAutoencoder(channels=(16, 8, 64), hidden=32, code=4)
    assert wide(x).shape == (3, 784)
    shapes = [tuple(m.weight.shape) for m in wide.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    assert shapes == [(16, 1, 3, 3), (8, 16, 3, 3), (64, 8, 3, 3), (64, 8, 3, 3), (8, 16, 3, 3), (16, 1, 3, 3)]


def test_dropout_acts_in_both_halves_of_the_conv_autoencoder():
    torch.manual_seed(0)
    model, x = ConvAutoencoder(dropout=0.5), torch.rand(3, 784)
    assert not model.encode(x).equal(model.encode(x))
    code = model.encode(x).detach()
    assert not model.decode(code).equal(model.decode(code))


def test_dropout_of_the_conv_autoencoder_acts_only_in_training():
    torch.manual_seed(0)
    model, x = ConvAutoencoder(dropout=0.5), torch.rand(3, 784)
    assert not model(x).equal(model(x))
    model.eval()
    assert model(x).equal(model(x))


@pytest.mark.parametrize("probability", [0.25, 0.3])
def test_dropout_by_bytes_drops_its_share_and_keeps_the_mean(probability):
    torch.manual_seed(0)
    layer, x = Dropout(probability), torch.full((999, 101), 2.0, requires_grad=True)
    y = layer(x)
    rounded = round(256 * probability) / 256
    assert rounded == pytest.approx(probability, abs=1 / 512)
    assert (y == 0).float().mean().item() == pytest.approx(rounded, abs=0.006)  # four standard deviations
    assert sorted(y.unique().tolist()) == pytest.approx([0, 2 / (1 - rounded)])
    assert not layer(x).equal(y)
    y.sum().backward()
    torch.testing.assert_close(x.grad, y.detach() / 2)
    neighbours = ((y == 0)[:, 1:] & (y == 0)[:, :-1]).float().mean().item()
    assert neighbours == pytest.approx(rounded**2, abs=0.006), "the bytes of one draw are independent"
    assert layer.eval()(x) is x
    assert Dropout(0.0)(x) is x


def test_conv_vae_has_the_interface_of_the_dense_one():
    model, x = vaes.ConvVAE(), torch.rand(3, 784)
    mean, log_variance = model.encode(x)
    assert mean.shape == log_variance.shape == (3, 2)
    logits = model.decode(mean)
    assert logits.shape == (3, 784)
    assert (logits < 0).any()
    plain = ConvAutoencoder(code=2)
    extra = count(model) - count(plain)
    assert extra == 64 * 2 + 2  # the second head
    large = count(vaes.ConvVAE(hidden=1810))
    assert large == pytest.approx(count(vaes.VAE((784, 512, 256, 2))), rel=0.02)


def test_dcgan_has_the_parameters_of_the_report():
    with torch.device("meta"):  # shapes without numbers
        generator, discriminator = DCGenerator(), DCDiscriminator()
    assert count(generator) == 12_654_336
    assert count(discriminator) == 11_032_064


def test_dcgan_shapes_at_any_width():
    for width in (2, 6):
        generator, discriminator = DCGenerator(width, latent=7), DCDiscriminator(width)
        assert generator.latent == 7
        images = generator(torch.randn(3, 7))
        assert images.shape == (3, 1, 64, 64)
        assert images.abs().max() <= 1
        assert discriminator(images).shape == (3, 1)
        kept, x = [], torch.randn(3, 7)
        for layer in generator:
            x = layer(x)
            kept += [tuple(x.shape[1:])] if isinstance(layer, nn.ConvTranspose2d) else []
        assert kept == [(8 * width, 4, 4), (4 * width, 8, 8), (2 * width, 16, 16), (width, 32, 32), (1, 64, 64)]


def test_dcgan_starts_as_prescribed():
    torch.manual_seed(0)
    for network in (DCGenerator(32), DCDiscriminator(32)):
        weights = torch.cat([m.weight.flatten() for m in network if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)])
        scales = torch.cat([m.weight for m in network if isinstance(m, nn.BatchNorm2d)])
        assert weights.std().item() == pytest.approx(0.02, rel=0.02)
        assert abs(weights.mean().item()) < 1e-3
        assert scales.mean().item() == pytest.approx(1, abs=0.01)
        assert scales.std().item() == pytest.approx(0.02, rel=0.2)


@pytest.mark.parametrize(("dimension", "parameters"), [(2, 806_674), (10, 814_874), (20, 825_124)])
def test_narrow_autoencoder_parameters(dimension, parameters):
    assert count(narrow_autoencoder(dimension)) == parameters
    assert narrow_autoencoder(dimension).encode(torch.zeros(1, 784)).shape == (1, dimension)


# --- what the layers compute, written down once more -------------------------------------------------------------


def random_weights(model):
    """A model in evaluation mode whose biases and batch-norm statistics are not zeros and ones."""
    torch.manual_seed(0)
    for tensor in [*model.parameters(), *model.buffers()]:
        if tensor.is_floating_point() and tensor.dim() == 1:
            tensor.data.uniform_(0.1, 0.5)
    return model.eval()


def leaky(x):
    return torch.where(x > 0, x, 0.2 * x)


def normed(layer, x):
    """What batch norm does in evaluation mode."""
    mean, var, weight, bias = (
        t.view(1, -1, 1, 1) for t in (layer.running_mean, layer.running_var, *layer.parameters())
    )
    return (x - mean) / (var + layer.eps).sqrt() * weight + bias


@torch.no_grad()
def test_linear_generator_and_discriminator_layer_by_layer():
    generator, discriminator = random_weights(Generator(5)), random_weights(Discriminator())
    z = torch.randn(4, 5)
    h = z
    for i in (0, 2, 4):
        h = leaky(h @ generator[i].weight.T + generator[i].bias)
    images = torch.tanh(h @ generator[6].weight.T + generator[6].bias)
    torch.testing.assert_close(generator(z), images)
    h = images
    for i in (0, 3, 6):
        h = leaky(h @ discriminator[i].weight.T + discriminator[i].bias)
    torch.testing.assert_close(discriminator(images), h @ discriminator[9].weight.T + discriminator[9].bias)


@torch.no_grad()
def test_convolutional_generator_layer_by_layer():
    generator = random_weights(ConvGenerator(5))
    linear, _, first, n1, _, second, n2, _, third, n3, _, last, _ = generator
    z = torch.randn(3, 5)
    h = (z @ linear.weight.T + linear.bias).view(3, 64, 7, 7)
    h = normed(n1, F.conv_transpose2d(h, first.weight, first.bias, 2, 1, 1)).relu()
    h = normed(n2, F.conv_transpose2d(h, second.weight, second.bias, 1, 1)).relu()
    h = normed(n3, F.conv_transpose2d(h, third.weight, third.bias, 1, 1)).relu()
    images = F.conv_transpose2d(h, last.weight, last.bias, 2, 1, 1).tanh()
    torch.testing.assert_close(generator(z), images, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_convolutional_discriminator_layer_by_layer():
    discriminator, x = random_weights(ConvDiscriminator()), torch.rand(3, 1, 28, 28) * 2 - 1
    h = x
    for i, stride in ((0, 2), (3, 1), (6, 1), (9, 2)):
        h = leaky(F.conv2d(h, discriminator[i].weight, discriminator[i].bias, stride, 1))
    last = discriminator[13]
    torch.testing.assert_close(discriminator(x), h.flatten(1) @ last.weight.T + last.bias, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_dcgan_layer_by_layer():
    generator, discriminator = random_weights(DCGenerator(2, latent=3)), random_weights(DCDiscriminator(2))
    z = torch.randn(3, 3)
    h = z.view(3, 3, 1, 1)
    for i, stride, padding in ((1, 1, 0), (4, 2, 1), (7, 2, 1), (10, 2, 1)):
        h = normed(generator[i + 1], F.conv_transpose2d(h, generator[i].weight, None, stride, padding)).relu()
    images = F.conv_transpose2d(h, generator[13].weight, None, 2, 1).tanh()
    torch.testing.assert_close(generator(z), images, rtol=1e-4, atol=1e-5)
    h = leaky(F.conv2d(images, discriminator[0].weight, None, 2, 1))
    for i in (2, 5, 8):
        h = leaky(normed(discriminator[i + 1], F.conv2d(h, discriminator[i].weight, None, 2, 1)))
    logits = F.conv2d(h, discriminator[11].weight, None, 1, 0).flatten(1)
    torch.testing.assert_close(discriminator(images), logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("build", [Discriminator, ConvDiscriminator, lambda: DCDiscriminator(2)])
@torch.no_grad()
def test_no_discriminator_is_linear(build):
    """For a network that is linear up to a constant, D(x) + D(−x) would be 2 D(0) at any x."""
    discriminator = random_weights(build())
    side = 64 if isinstance(discriminator, DCDiscriminator) else 28
    x = torch.randn(50, 1, side, side)
    bend = discriminator(x) + discriminator(-x) - 2 * discriminator(torch.zeros_like(x))
    assert bend.abs().mean() > 0.1 * discriminator(x).std()


@torch.no_grad()
def test_dense_vae_layer_by_layer():
    model, x = random_weights(vaes.VAE((784, 30, 20, 3))), torch.rand(4, 1, 28, 28)
    first, second = (layer for layer in model.encoder.modules() if isinstance(layer, nn.Linear))
    h = (x.flatten(1) @ first.weight.T + first.bias).relu()
    h = h @ second.weight.T + second.bias
    assert (h < 0).any()
    h = h.relu()
    mean, log_variance = model.encode(x)
    torch.testing.assert_close(mean, h @ model.mean.weight.T + model.mean.bias)
    torch.testing.assert_close(log_variance, h @ model.log_variance.weight.T + model.log_variance.bias)
    h = mean
    for i in (0, 2, 4):
        h = h @ model.decoder[i].weight.T + model.decoder[i].bias
        h = h.relu() if i < 4 else h
    torch.testing.assert_close(model.decode(mean), h)
    assert (h < 0).any(), "logits, not probabilities"


@torch.no_grad()
def test_convolutional_autoencoder_and_vae_layer_by_layer():
    plain, model, x = random_weights(ConvAutoencoder()), random_weights(vaes.ConvVAE()), torch.rand(4, 784)

    def encoded(network):
        a, b, c = (layer for layer in network.modules() if isinstance(layer, nn.Conv2d))
        h = F.conv2d(x.view(4, 1, 28, 28), a.weight, a.bias, 2, 1).relu()
        h = F.conv2d(h, b.weight, b.bias, 2, 1).relu()
        h = F.conv2d(h, c.weight, c.bias, 2).relu()
        return network[0][-1](h.flatten(1)).relu()

    def decoded(network, code):
        a, b, c = (layer for layer in network.modules() if isinstance(layer, nn.ConvTranspose2d))
        first, second = (layer for layer in network.modules() if isinstance(layer, nn.Linear))
        h = second(first(code).relu()).relu().view(4, 32, 3, 3)
        h = F.conv_transpose2d(h, a.weight, a.bias, 2).relu()
        h = F.conv_transpose2d(h, b.weight, b.bias, 2, 1, 1).relu()
        return F.conv_transpose2d(h, c.weight, c.bias, 2, 1, 1).flatten(1)

    code = plain.encoder[-1](encoded(plain.encoder))
    torch.testing.assert_close(plain.encode(x), code)
    torch.testing.assert_close(plain(x), decoded(plain.decoder, code).sigmoid())
    mean, log_variance = model.encode(x)
    torch.testing.assert_close(mean, model.mean(encoded(model.encoder)))
    torch.testing.assert_close(log_variance, model.log_variance(encoded(model.encoder)))
    torch.testing.assert_close(model.decode(mean), decoded(model.decoder, mean))


@torch.no_grad()
def test_dense_autoencoder_layer_by_layer():
    for activation, act in (("tanh", torch.tanh), ("relu", torch.relu)):
        model, x = random_weights(Autoencoder((784, 30, 20, 3), activation)), torch.rand(4, 784)
        h = x
        for coder in (model.encoder, model.decoder):
            for i in (0, 2, 4):
                h = h @ coder[i].weight.T + coder[i].bias
                h = act(h) if i < 4 else h
            if coder is model.encoder:
                torch.testing.assert_close(model.encode(x), h)
        torch.testing.assert_close(model(x), h.sigmoid())
