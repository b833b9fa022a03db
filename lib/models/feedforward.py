"""The one-hidden-layer classifier of CPSC 453, section 2.2 (taught in notebook 01)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def _identity(x: Tensor) -> Tensor:
    return x


ACTIVATIONS = {
    "linear": _identity,
    "relu": F.relu,
    "softplus": F.softplus,
    "elu": F.elu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
}


def _uniform(*shape: int) -> nn.Parameter:
    """Uniform between ±1/√(output size), for weights and biases, as the assignment prescribes."""
    bound = shape[-1] ** -0.5
    return nn.Parameter(torch.empty(shape).uniform_(-bound, bound))


class FeedForward(nn.Module):
    """784 → hidden → 10 with explicit weight matrices; returns logits (B, 10).

    ``activation`` is a key of ACTIVATIONS. ``"sigmoid"`` is also applied to the output, as the handout asks
    ("before and after the hidden layer"); this restricts the logits to (0, 1).
    """

    def __init__(self, hidden: int = 128, activation: str = "relu"):
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"unknown activation {activation!r}; choose one of {', '.join(ACTIVATIONS)}")
        self.activation = activation
        self.W1, self.b1 = _uniform(784, hidden), _uniform(hidden)
        self.W2, self.b2 = _uniform(hidden, 10), _uniform(10)

    def forward(self, x: Tensor) -> Tensor:
        act = ACTIVATIONS[self.activation]
        h = act(torch.addmm(self.b1, x.flatten(1), self.W1))  # (B, 784) → (B, hidden)
        logits = torch.addmm(self.b2, h, self.W2)  # (B, hidden) → (B, 10)
        return act(logits) if self.activation == "sigmoid" else logits


class FeedForwardStack(nn.Module):
    """K networks of equal width, computed together; returns logits (K, B, 10).

    Their first layers are columns of one matrix (784, K·hidden), so that one large product replaces K small ones. The
    networks are independent: each has the same gradients as if it were alone.
    """

    def __init__(self, networks: list[FeedForward]):
        super().__init__()
        self.activations = [network.activation for network in networks]
        self.W1 = nn.Parameter(torch.cat([n.W1.detach() for n in networks], dim=1))
        self.b1 = nn.Parameter(torch.cat([n.b1.detach() for n in networks]))
        self.W2 = nn.Parameter(torch.stack([n.W2.detach() for n in networks]))
        self.b2 = nn.Parameter(torch.stack([n.b2.detach() for n in networks]))

    def forward(self, x: Tensor) -> Tensor:
        k, hidden, _ = self.W2.shape
        z = torch.addmm(self.b1, x.flatten(1), self.W1).view(-1, k, hidden)  # (B, 784) → (B, K, hidden)
        h = torch.stack([ACTIVATIONS[a](z[:, i]) for i, a in enumerate(self.activations)])  # (K, B, hidden)
        logits = torch.baddbmm(self.b2.unsqueeze(1), h, self.W2)  # (K, B, 10)
        if "sigmoid" in self.activations:
            squashed = [a == "sigmoid" for a in self.activations]
            mask = torch.tensor(squashed, device=x.device).view(-1, 1, 1)
            logits = torch.where(mask, torch.sigmoid(logits), logits)
        return logits

    def network(self, i: int) -> FeedForward:
        """The i-th network as a FeedForward."""
        hidden = self.W2.shape[1]
        network = FeedForward(hidden, self.activations[i])
        columns = slice(i * hidden, (i + 1) * hidden)
        state = {"W1": self.W1[:, columns], "b1": self.b1[columns], "W2": self.W2[i], "b2": self.b2[i]}
        network.load_state_dict({name: tensor.detach() for name, tensor in state.items()})
        return network
