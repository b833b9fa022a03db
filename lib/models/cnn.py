"""The convolutional classifier of LINMA2472, section 2 (taught in notebook 13)."""

from torch import nn


class CNN(nn.Sequential):
    """Two 5 × 5 convolutions, two max-pools, one linear layer: 28,938 parameters; (B, 1, 28, 28) → logits (B, 10).

    The report applies ReLU, then pools. ReLU is monotonic, so pooling first gives the same output with a quarter of
    the ReLU evaluations.
    """

    def __init__(self):
        super().__init__(
            nn.Conv2d(1, 16, 5, padding=2),  # 1×28×28 → 16×28×28
            nn.MaxPool2d(2),  # → 16×14×14
            nn.ReLU(),
            nn.Conv2d(16, 32, 5, padding=2),  # → 32×14×14
            nn.MaxPool2d(2),  # → 32×7×7
            nn.ReLU(),
            nn.Flatten(),  # → 1568
            nn.Linear(1568, 10),
        )
