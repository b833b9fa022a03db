"""Dense autoencoders: CPSC 453, sections 3.1 and 3.2 (taught in notebooks 02 and 03)."""

import itertools
from collections.abc import Sequence

from torch import Tensor, nn

ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU}
OUTPUTS = {"sigmoid": nn.Sigmoid, "linear": nn.Identity}


class Autoencoder(nn.Module):
    """A stack of linear layers down to a code and its mirror image back up; (B, …) → (B, sizes[0]).

    An activation follows every layer except the code, which is linear, and the last one, which has ``output``:
    a sigmoid for pixels in [0, 1], linear for scores that may be any number.
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


def dense(sizes: Sequence[int], activation: type[nn.Module]) -> nn.Sequential:
    """Linear layers through ``sizes`` with an activation between them, none after the last."""
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), activation()]
    return nn.Sequential(*layers[:-1])
