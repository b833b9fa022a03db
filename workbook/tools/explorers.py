"""Explorers in the book's pages: released networks as JavaScript files with 16-bit weights, which load from the disk.

``docs/site/explore`` holds the pages, and ``nets.js``, which runs the networks. Nothing is trained here.
"""

import base64
import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from workbook.cache import read_manifest
from workbook.paths import DATA, RELEASED, ROOT

PAGES = ROOT / "docs" / "site" / "explore"
CODES = 2000  # test images on the map
Layers = list[tuple]  # (name of a layer in nets.js, its weights and settings)


def released(chapter: str, name: str) -> dict[str, Tensor]:
    """The weights of the first released training of this name that the chapter needs. Raises LookupError if none is."""
    for file, about in sorted(read_manifest(RELEASED / "manifest.json").items()):
        if chapter in about["notebooks"] and re.fullmatch(rf"{name}-[0-9a-f]{{16}}\.safetensors", file):
            state = load_file(RELEASED / about.get("file", file))
            if any("weight" in key or key == "W1" for key in state):
                return state
    raise LookupError(f"no weights of {name} are released for {chapter}: make figures, then make release")


def sequential(network: nn.Sequential) -> Layers:
    """The layers of a network of linear layers, convolutions, pools and ReLU."""
    made, channels = Layers(), 1
    for layer in network:
        if isinstance(layer, nn.Linear):
            made.append(("dense", layer.weight, layer.bias))
        elif isinstance(layer, nn.Conv2d):
            made.append(("convolution", layer.weight, layer.bias, layer.kernel_size[0]))
            channels = layer.out_channels
        elif isinstance(layer, nn.MaxPool2d):
            made.append(("pool", channels))
        elif isinstance(layer, nn.ReLU):
            made.append(("relu",))
        elif not isinstance(layer, nn.Flatten):
            raise TypeError(f"nets.js has no {type(layer).__name__}")
    return made


def decoder() -> tuple[Layers, Tensor]:
    """The decoder of chapter 11, as layers; and the codes (N, 2) of the first test images."""
    from lib.models.vae import VAE

    state = released("11_vae_latent2", "vae-2-measured")
    vae = VAE(sizes=(784, 512, 256, 2))
    vae.load_state_dict({name: state[name] for name in vae.state_dict()})
    return [*sequential(vae.decoder), ("sigmoid",)], state["codes"][:CODES, :2]


def cnn() -> Layers:
    """The CNN of chapter 13; takes pixels in [0, 1]."""
    from lib.models.cnn import CNN

    network = CNN()
    network.load_state_dict(released("13_cnn", "cnn"))
    return [("scale", 2, -1), *sequential(network), ("softmax",)]


def feedforward() -> Layers:
    """The feed-forward network of chapter 01; takes pixels in [0, 1]."""
    state = released("01_feedforward", "feedforward")
    hidden, out = (("dense", state[f"W{i}"].T, state[f"b{i}"]) for i in (1, 2))
    return [hidden, ("relu",), out, ("softmax",)]


def script(name: str, layers: Layers) -> str:
    """The JavaScript file of a network."""
    written = [[_half(part) if isinstance(part, Tensor) else part for part in layer] for layer in layers]
    return f"nets.load({json.dumps(name)}, {json.dumps(written)});\n"


def _half(tensor: Tensor) -> str:
    """Base64 of the elements as little-endian 16-bit floats."""
    return base64.b64encode(tensor.detach().contiguous().to(torch.float16).numpy().astype("<f2").tobytes()).decode()


def codes(values: Tensor, digits: Sequence[int]) -> str:
    """The JavaScript file of the map."""
    return (
        f"const codes = {{ values: nets.floats({json.dumps(_half(values))}), digits: {json.dumps(list(digits))} }};\n"
    )


def write(target: Path) -> None:
    """Write the networks and their scripts into a folder."""
    from lib import data

    target.mkdir(parents=True)
    for source in PAGES.glob("*.js"):
        shutil.copyfile(source, target / source.name)
    layers, values = decoder()
    _, test = data.mnist(DATA)
    made = {"decoder": script("decoder", layers), "codes": codes(values, test.labels[:CODES].tolist())}
    made |= {"cnn": script("cnn", cnn()), "feedforward": script("feedforward", feedforward())}
    for name, text in made.items():
        (target / f"{name}.js").write_text(text, "utf-8")
