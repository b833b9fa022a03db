"""The explorers compute what torch computes: their JavaScript runs in Node, on the released weights."""

import base64
import itertools
import json
import shutil
import subprocess

import pytest
import torch
from torch import nn

from lib import data
from lib.models import loaded
from lib.models.cnn import CNN
from lib.models.feedforward import FeedForward
from lib.models.vae import VAE
from workbook.tools import explorers

pytestmark = pytest.mark.skipif(not shutil.which("node"), reason="Node is not installed")


def in_node(tmp_path, code, **given):
    """What ``code`` returns, with nets.js, the files written to ``tmp_path`` and these values."""
    scripts = [explorers.PAGES / "nets.js", *sorted(tmp_path.glob("*.js"))]
    main = "".join(f"require({json.dumps(str(path))});\n" for path in scripts)
    main += "".join(f"const {name} = {json.dumps(value)};\n" for name, value in given.items())
    main += f"process.stdout.write(JSON.stringify((() => {{ {code} }})()));\n"
    done = subprocess.run(["node", "-"], input=main, capture_output=True, encoding="utf-8", timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def of_networks(tmp_path, name, layers, inputs):
    """The outputs of a network of the explorers."""
    (tmp_path / f"{name}.js").write_text(explorers.script(name, layers), "utf-8")
    code = f"return inputs.map(x => Array.from(nets.run({name!r}, x)));"
    return torch.tensor(in_node(tmp_path, code, inputs=inputs.flatten(1).tolist()))


def test_the_decoder_equals_torch_on_100_points(tmp_path):
    layers, codes = explorers.decoder()
    vae = explorers.of(VAE(sizes=(784, 512, 256, 2)), explorers.released("11_vae_latent2", "vae-2-measured")[0])
    made = of_networks(tmp_path, "decoder", layers, codes[:100])
    assert (made - vae.decode(codes[:100]).sigmoid()).abs().max() < 5e-4
    assert made.std() > 0.1


@pytest.mark.parametrize("name", ["cnn", "feedforward"])
def test_a_classifier_equals_torch_on_100_images(name, tmp_path, small):
    pixels = small[1].images[:100].float() / 255
    if name == "cnn":
        expected = explorers.of(CNN(), explorers.released("13_cnn", "cnn")[0])(2 * pixels.unsqueeze(1) - 1)
        made = of_networks(tmp_path, name, explorers.cnn(), pixels)
    else:
        expected = loaded(FeedForward(512), explorers.released("01_feedforward", "feedforward")[0])(pixels)
        made = of_networks(tmp_path, name, explorers.feedforward(), pixels)
    assert (made - expected.softmax(1)).abs().max() < 5e-4
    assert (made.argmax(1) == small[1].labels[:100]).float().mean() > 0.9


@pytest.mark.parametrize("which", [explorers.AUTOENCODER, explorers.DENOISER], ids=lambda which: which[1])
def test_an_autoencoder_equals_torch_on_100_noisy_images(which, tmp_path, small):
    clean = data.unit(small[1].images[:100])
    noisy = (clean + 0.3 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    network = explorers.autoencoder(*which)
    code = of_networks(tmp_path, "encode", explorers.sequential(network.encoder), noisy)
    made = of_networks(tmp_path, "whole", explorers.sequential(network), noisy)
    assert (code - network.encode(noisy)).abs().max() < 1e-3
    assert (made - network(noisy)).abs().max() < 1e-3
    assert (made - clean.flatten(1)).square().mean() < (0.025 if which == explorers.DENOISER else 0.1)


def test_the_generator_equals_torch_on_100_latent_vectors_and_its_letters_are_the_digits(tmp_path):
    network, cnn = explorers.generator(), explorers.of(CNN(), explorers.released("13_cnn", "cnn")[0])
    means, letters = explorers.alphabet(network)
    z = letters.flatten(0, 1)[:100]
    made = of_networks(tmp_path, "generator", explorers.sequential(network), z)
    assert (made - network(z).flatten(1)).abs().max() < 1e-3
    assert cnn(made.view(-1, 1, 28, 28)).argmax(1).tolist() == [i // explorers.LETTERS for i in range(100)]
    far = 10 * means / means.norm(dim=1, keepdim=True)
    assert cnn(network(far)).argmax(1).tolist() == list(range(10))


def test_a_pull_equals_that_of_chapter_15(tmp_path):
    z, mean = torch.randn(2, 100, generator=torch.Generator().manual_seed(0))
    code = (
        "return [0, 0.3, 1].map(share => Array.from(nets.pull(Float32Array.from(z), Float32Array.from(mean), share)));"
    )
    for share, made in zip((0, 0.3, 1), in_node(tmp_path, code, z=z.tolist(), mean=mean.tolist()), strict=True):
        mixed = (1 - share) * z + share * z.norm() * mean / mean.norm()
        assert torch.allclose(torch.tensor(made), z.norm() * mixed / mixed.norm(), atol=1e-5)


def test_every_kernel_stride_and_padding_equals_that_of_torch(tmp_path):
    torch.manual_seed(0)
    network = nn.Sequential(
        *(nn.Conv2d(1, 3, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(3, 4, 5, padding=2), nn.Tanh()),
        *(nn.Conv2d(4, 2, 3, stride=2), nn.ConvTranspose2d(2, 3, 4, stride=2, padding=1), nn.BatchNorm2d(3)),
        *(nn.ReLU(), nn.ConvTranspose2d(3, 1, 3, stride=2, padding=1, output_padding=1)),
    )
    x = torch.randn(8, 1, 17, 17)
    for _ in range(20):  # so that batch norm has something to do
        network(x)
    made = of_networks(tmp_path, "all", explorers.sequential(network.eval()), x)
    assert (made - network(x).flatten(1)).abs().max() < 0.01 * made.std(0).mean()


def test_the_trainings_have_images_and_losses_of_every_epoch(small):
    for name, each in explorers.trainings(small[1]).items():
        history = explorers.released(explorers.TRAININGS[name][0], name)[1]
        lengths = {len(losses) for losses in each["losses"].values()}
        assert lengths == {len(next(iter(history.values())))}, name
        assert len(base64.b64decode(each["images"])) % (784 * lengths.pop()) == 0, name


def test_a_network_with_a_layer_that_javascript_lacks_is_refused():
    with pytest.raises(TypeError, match=r"nets\.js has no Softplus"):
        explorers.sequential(nn.Sequential(nn.Linear(2, 2), nn.Softplus()))


def test_ten_steps_of_the_gan_in_the_page_equal_those_of_torch(tmp_path):
    draw = torch.Generator().manual_seed(0)
    batches = torch.randn(10, 3, 32, 2, generator=draw)
    code = """
        const draw = nets.generator(0), [G, D] = [2, 1].map(ends => new nets.Learner([2, 16, 16, ends], draw, 0.001));
        const weights = network => network.layers.map(({ values }) => values.map(v => Array.from(v)));
        const start = [weights(G), weights(D)];
        const losses = batches.map(batch => nets.playGan(G, D, ...batch.map(part => Float32Array.from(part.flat()))));
        return { start, losses, end: [weights(G), weights(D)] };"""
    ran = in_node(tmp_path, code, batches=batches.tolist())
    networks, optimisers = [], []
    for ends, weights in zip((2, 1), ran["start"], strict=True):
        widths = [2, 16, 16, ends]
        layers = [nn.Linear(*pair) for pair in itertools.pairwise(widths)]
        for layer, (W, b) in zip(layers, weights, strict=True):
            layer.weight.data, layer.bias.data = torch.tensor(W).view_as(layer.weight), torch.tensor(b)
        networks.append(nn.Sequential(layers[0], nn.LeakyReLU(0.2), layers[1], nn.LeakyReLU(0.2), layers[2]))
        optimisers.append(torch.optim.Adam(networks[-1].parameters(), 1e-3, (0.5, 0.999)))
    G, D = networks
    losses = []
    for real, noise, again in batches:
        losses.append([(bce(D(real), 1.0) + bce(D(G(noise).detach()), 0.0)) / 2, None])
        optimisers[1].zero_grad()
        losses[-1][0].backward()
        optimisers[1].step()
        losses[-1][1] = bce(D(G(again)), 1.0)
        optimisers[0].zero_grad()
        losses[-1][1].backward()
        optimisers[0].step()
    assert torch.allclose(
        torch.tensor(ran["losses"]), torch.tensor([[loss.item() for loss in pair] for pair in losses]), atol=1e-5
    )
    for network, weights in zip(networks, ran["end"], strict=True):
        flat = torch.cat([torch.tensor(values) for layer in weights for values in layer])
        assert (flat - nn.utils.parameters_to_vector(network.parameters())).abs().max() < 1e-4


def bce(logits, target):
    return nn.functional.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))


def test_each_page_of_an_explorer_has_less_than_two_megabytes_of_weights(tmp_path):
    explorers.write(tmp_path / "explore")
    for page in explorers.PAGES.glob("*.md"):
        named = [part.partition('"')[0] for part in page.read_text("utf-8").split("_static/explore/")[1:]]
        assert sum((tmp_path / "explore" / name).stat().st_size for name in named) < 2e6, page.name
