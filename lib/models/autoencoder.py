"""Autoencoders: dense (CPSC 453, sections 3.1 and 3.2; notebooks 02 and 03) and convolutional (NNDL 2020/21; 16)."""

import itertools
from collections.abc import Sequence

from torch import Tensor, nn

ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU}
OUTPUTS = {"sigmoid": nn.Sigmoid, "linear": nn.Identity}


class Autoencoder(nn.Module):
    """Encoder of linear layers, and a decoder that is its mirror image; (B, …) → (B, sizes[0]).

    An activation follows every layer but two: the code is linear, and the last layer has ``output``, a sigmoid for
    pixels in [0, 1], or linear for unbounded scores.
    """

    def __init__(
        self, sizes: Sequence[int] = (784, 1000, 500, 250, 2), activation: str = "tanh", output: str = "sigmoid"
    ):
        super().__init__()
        if activation not in ACTIVATIONS or output not in OUTPUTS:
            known = f"activation one of {', '.join(ACTIVATIONS)}; output one of {', '.join(OUTPUTS)}"
            raise ValueError(f"got activation {activation!r} and output {output!r}; {known}")
        act = ACTIVATIONS[activation]
        self.encoder = dense(sizes, act)  # 784 → 1000 → 500 → 250 → 2
        self.decoder = dense(sizes[::-1], act)  # 2 → 250 → 500 → 1000 → 784
        self.decoder.append(OUTPUTS[output]())

    def encode(self, x: Tensor) -> Tensor:
        """Codes (B, sizes[-1])."""
        return self.encoder(x.flatten(1))

    def decode(self, code: Tensor) -> Tensor:
        """Reconstructions (B, sizes[0])."""
        return self.decoder(code)

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(self.encode(x))


def narrow_autoencoder(dimension: int) -> Autoencoder:
    """784-512-``dimension``-512-784 with ReLU, as in Advanced Deep Learning 2024 (notebook 07)."""
    return Autoencoder((784, 512, dimension), activation="relu")


def dense(sizes: Sequence[int], activation: type[nn.Module]) -> nn.Sequential:
    """Linear layers through ``sizes``, with an activation between them but none after the last."""
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), activation()]
    return nn.Sequential(*layers[:-1])


class ConvAutoencoder(nn.Module):
    """Encoder of three convolutions and two linear layers, and a decoder that mirrors it; (B, …) → (B, 784).

    NNDL 2020/21, section 2. ReLU follows every layer but the code and the last layer, which has a sigmoid. ``dropout``
    follows the two hidden linear layers, one in the encoder and one in the decoder.
    """

    def __init__(self, channels: Sequence[int] = (8, 16, 32), hidden: int = 64, code: int = 10, dropout: float = 0.0):
        super().__init__()
        self.encoder = nn.Sequential(
            conv_encoder(channels, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, code)
        )
        self.decoder = nn.Sequential(
            nn.Linear(code, hidden), nn.ReLU(), nn.Dropout(dropout), conv_decoder(channels, hidden), nn.Sigmoid()
        )

    def encode(self, x: Tensor) -> Tensor:
        """Codes (B, code)."""
        return self.encoder(x)

    def decode(self, code: Tensor) -> Tensor:
        """Reconstructions (B, 784) in [0, 1]."""
        return self.decoder(code)

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(self.encode(x))


def conv_encoder(channels: Sequence[int], hidden: int) -> nn.Sequential:
    """Images (B, 784) or (B, 1, 28, 28) → (B, hidden): three 3 × 3 convolutions of stride 2, then a linear layer."""
    a, b, c = channels
    return nn.Sequential(
        nn.Flatten(),
        nn.Unflatten(1, (1, 28, 28)),
        nn.Conv2d(1, a, 3, stride=2, padding=1),  # (B, 8, 14, 14)
        nn.ReLU(),
        nn.Conv2d(a, b, 3, stride=2, padding=1),  # (B, 16, 7, 7)
        nn.ReLU(),
        nn.Conv2d(b, c, 3, stride=2),  # (B, 32, 3, 3)
        nn.ReLU(),
        nn.Flatten(),  # (B, 288)
        nn.Linear(9 * c, hidden),
    )


def conv_decoder(channels: Sequence[int], hidden: int) -> nn.Sequential:
    """The mirror image of ``conv_encoder``: (B, hidden) → logits (B, 784)."""
    a, b, c = channels
    return nn.Sequential(
        nn.Linear(hidden, 9 * c),
        nn.ReLU(),
        nn.Unflatten(1, (c, 3, 3)),
        nn.ConvTranspose2d(c, b, 3, stride=2),  # (B, 16, 7, 7)
        nn.ReLU(),
        nn.ConvTranspose2d(b, a, 3, stride=2, padding=1, output_padding=1),  # (B, 8, 14, 14)
        nn.ReLU(),
        nn.ConvTranspose2d(a, 1, 3, stride=2, padding=1, output_padding=1),  # (B, 1, 28, 28)
        nn.Flatten(),
    )
