"""Explorers in the book's pages: released networks as JavaScript files with 16-bit weights, which load from the disk.

``docs/site/explore`` holds the pages, and ``nets.js``, which runs the networks. Nothing is trained here.
"""

import base64
import json
import re
import shutil
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from lib import data
from lib.metrics import latent
from lib.models import loaded
from lib.models.autoencoder import ConvAutoencoder
from lib.models.cnn import CNN
from lib.models.gan import ConvGenerator
from lib.models.vae import VAE
from workbook.cache import read_manifest, unpacked
from workbook.paths import DATA, RELEASED, ROOT

PAGES = ROOT / "docs" / "site" / "explore"
CODES = 2000  # test images on the map
SAMPLES = 30  # test images to begin a drawing with
DRAWN, LETTERS = 4000, 12  # latent vectors that are drawn and named; those of each digit that the pages get
AUTOENCODER = ("16_conv_autoencoder", "conv-autoencoder")
DENOISER = ("18_denoising_autoencoder", "denoiser", '["lowest", 0.0], ["highest", 1.0], ["clip", true]')
TRAININGS = {  # chapter, name, losses in its history and what the page calls them
    "gan": ("05_gan", {"d_loss": "discriminator", "g_loss": "generator"}),
    "conv-autoencoder": ("16_conv_autoencoder", {"train_loss": "training", "validation_loss": "validation"}),
}
Layers = list[tuple]  # (name of a layer in nets.js, its weights and settings)
Network = TypeVar("Network", bound=nn.Module)


def released(chapter: str, name: str, told: str = "") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights and history of the first released training of this name that the chapter needs, with these settings.

    ``told`` is a part of its settings as JSON. Raises LookupError if none is released.
    """
    for file, entry in sorted(read_manifest(RELEASED / "manifest.json").items()):
        if chapter in entry["notebooks"] and re.fullmatch(rf"{name}-[0-9a-f]{{16}}\.safetensors", file):
            state, about = unpacked((RELEASED / entry.get("file", file)).read_bytes())
            if any("weight" in key or key == "W1" for key in state) and told in json.dumps(about["settings"]):
                return state, about["history"]
    raise LookupError(f"no weights of {name} are released for {chapter}: make figures, then make release")


def of(network: Network, state: dict[str, Tensor], prefix: str = "") -> Network:
    """The network with those released weights that begin with ``prefix``."""
    loaded(network, {name: state[prefix + name] for name in network.state_dict()})
    return network


def sequential(network: nn.Module) -> Layers:
    """The layers of a network that runs its modules one after the other."""
    made, channels = Layers(), 1
    for layer in (each for each in network.modules() if not list(each.children())):
        if isinstance(layer, nn.Linear):
            made.append(("dense", layer.weight, layer.bias))
        elif isinstance(layer, nn.Conv2d):
            how = layer.kernel_size[0], layer.stride[0], layer.padding[0]
            made.append(("convolution", layer.weight, layer.bias, *how))
            channels = layer.out_channels
        elif isinstance(layer, nn.ConvTranspose2d):
            how = layer.kernel_size[0], layer.stride[0], layer.padding[0], layer.output_padding[0]
            made.append(("transposed", layer.weight, layer.bias, *how))
        elif isinstance(layer, nn.BatchNorm2d) and made[-1][0] == "transposed":  # in evaluation: one factor a channel
            kind, weight, bias, *how = made[-1]
            factor = layer.weight / (layer.running_var + layer.eps).sqrt()  # pyrefly: ignore
            made[-1] = (kind, weight * factor[:, None, None], (bias - layer.running_mean) * factor + layer.bias, *how)
        elif isinstance(layer, nn.MaxPool2d):
            made.append(("pool", channels))
        elif isinstance(layer, nn.ReLU | nn.Sigmoid | nn.Tanh):
            made.append((type(layer).__name__.lower(),))
        elif not isinstance(layer, nn.Flatten | nn.Unflatten | nn.Dropout):
            raise TypeError(f"nets.js has no {type(layer).__name__}")
    return made


def decoder() -> tuple[Layers, Tensor]:
    """The decoder of chapter 11, as layers; and the codes (N, 2) of the first test images."""
    state, _ = released("11_vae_latent2", "vae-2-measured")
    vae = of(VAE(sizes=(784, 512, 256, 2)), state)
    return [*sequential(vae.decoder), ("sigmoid",)], state["codes"][:CODES, :2]


def cnn() -> Layers:
    """The CNN of chapter 13; takes pixels in [0, 1]."""
    return [("scale", 2, -1), *sequential(of(CNN(), released("13_cnn", "cnn")[0])), ("softmax",)]


def feedforward() -> Layers:
    """The feed-forward network of chapter 01; takes pixels in [0, 1]."""
    state, _ = released("01_feedforward", "feedforward")
    hidden, out = (("dense", state[f"W{i}"].T, state[f"b{i}"]) for i in (1, 2))
    return [hidden, ("relu",), out, ("softmax",)]


def autoencoder(chapter: str, name: str, told: str = "") -> ConvAutoencoder:
    """A convolutional autoencoder."""
    return of(ConvAutoencoder(), released(chapter, name, told)[0])


def generator() -> ConvGenerator:
    """The convolutional generator of chapters 12 and 15."""
    return of(ConvGenerator(), released("15_create_what_you_want", "gan-conv")[0], "generator.")


def alphabet(generator: nn.Module) -> tuple[Tensor, Tensor]:
    """Mean latent vectors (10, D) of the digits, and some vectors of each digit (10, LETTERS, D).

    The CNN names the images of random vectors. The first are taken; nothing looks whether their images are good.
    """
    z = torch.randn(DRAWN, 100, generator=torch.Generator().manual_seed(0))
    named = latent.label(generator, of(CNN(), released("13_cnn", "cnn")[0]), z).labels
    return latent.class_means(z, named), torch.stack([z[named == digit][:LETTERS] for digit in range(10)])


def script(name: str, layers: Layers) -> str:
    """The JavaScript file of a network."""
    written = [[_numbers(part) if isinstance(part, Tensor) else part for part in layer] for layer in layers]
    return f"nets.load({json.dumps(name)}, {json.dumps(written)});\n"


def _numbers(tensor: Tensor) -> dict[str, list[float] | str]:
    """The elements as little-endian 16-bit integers in base64, and what a step of them stands for in each row.

    On rows of weights, whose largest are a few times their spread, this errs a sixth as much as 16-bit floats.
    """
    rows = tensor.detach().flatten(1) if tensor.dim() > 1 else tensor.detach()[None]
    steps = [float(f"{largest / 32767 or 1:.6g}") for largest in rows.abs().amax(1).tolist()]
    return {"steps": steps, "values": _base64((rows / torch.tensor(steps)[:, None]).round().numpy().astype("<i2"))}


def _base64(array: np.ndarray) -> str:
    return base64.b64encode(array.tobytes()).decode()


def constant(name: str, value: Any) -> str:
    """The JavaScript file of a constant."""
    return f"const {name} = {json.dumps(value)};\n"


def trainings(test: data.Split) -> dict[str, dict]:
    """Losses and images after every epoch of some trainings; of an autoencoder also the images that it rebuilds."""
    made = {}
    for name, (chapter, losses) in TRAININGS.items():
        state, history = released(chapter, name)
        images, known = state["watched"], test.images[: state["watched"].shape[1]]
        rebuilds = name == "conv-autoencoder"
        pixels = data.to_uint8((images if rebuilds else (images + 1) / 2).flatten(0, 1))
        made[name] = {
            "images": _base64(pixels.numpy()),
            "known": _base64(known.numpy()) if rebuilds else "",
            "losses": {said: [round(loss, 5) for loss in history[key]] for key, said in losses.items()},
        }
    return made


def write(target: Path) -> None:
    """Write the networks and their scripts into a folder."""
    target.mkdir(parents=True)
    for source in PAGES.glob("*.js"):
        shutil.copyfile(source, target / source.name)
    _, test = data.mnist(DATA)
    layers, plane = decoder()
    plain, denoiser, gan = autoencoder(*AUTOENCODER), autoencoder(*DENOISER), generator()
    means, letters = alphabet(gan)
    made = {
        "decoder": script("decoder", layers),
        "cnn": script("cnn", cnn()),
        "feedforward": script("feedforward", feedforward()),
        "autoencoder": script("encode", sequential(plain.encoder)) + script("decode", sequential(plain.decoder)),
        "denoiser": script("denoise", sequential(denoiser)),
        "generator": script("generator", [*sequential(gan), ("scale", 0.5, 0.5)]),
        "codes": constant("codes", {"values": _numbers(plane.flatten()), "digits": test.labels[:CODES].tolist()}),
        "samples": constant("samples", _base64(test.images[:SAMPLES].numpy())),
        "alphabet": constant("alphabet", {"means": _numbers(means), "letters": _numbers(letters)}),
        "trainings": constant("trainings", trainings(test)),
    }
    for name, text in made.items():
        (target / f"{name}.js").write_text(text, "utf-8")
