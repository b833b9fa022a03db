"""The generator and discriminator made of linear layers: CPSC 453, section 4.2 (taught in notebook 05)."""

from torch import Tensor, nn


class Generator(nn.Sequential):
    """latent → 256 → 512 → 1024 → 784, LeakyReLU(0.2), tanh; noise (B, latent) → images (B, 784) in [-1, 1]."""

    def __init__(self, latent: int = 25):
        super().__init__(
            *(nn.Linear(latent, 256), nn.LeakyReLU(0.2, inplace=True)),
            *(nn.Linear(256, 512), nn.LeakyReLU(0.2, inplace=True)),
            *(nn.Linear(512, 1024), nn.LeakyReLU(0.2, inplace=True)),
            *(nn.Linear(1024, 784), nn.Tanh()),
        )

    @property
    def latent(self) -> int:
        """Length of the noise."""
        return self[0].in_features


class Discriminator(nn.Sequential):
    """784 → 1024 → 512 → 256 → 1, LeakyReLU(0.2) and dropout; images (B, 784) → logit of "real" (B, 1).

    The report ends in a sigmoid; the loss here takes the logit, which is the same and stays exact for sure logits.
    """

    def __init__(self, dropout: float = 0.3):
        super().__init__(
            *(nn.Linear(784, 1024), nn.LeakyReLU(0.2, inplace=True), nn.Dropout(dropout)),
            *(nn.Linear(1024, 512), nn.LeakyReLU(0.2, inplace=True), nn.Dropout(dropout)),
            *(nn.Linear(512, 256), nn.LeakyReLU(0.2, inplace=True), nn.Dropout(dropout)),
            nn.Linear(256, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(1))
