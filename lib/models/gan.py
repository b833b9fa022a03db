"""Generators and discriminators: linear (CPSC 453, section 4.2, taught in notebook 05), convolutional (LINMA2472,
section 1, taught in notebook 12), and the DCGAN (STATS M231A, section 1.4.2, taught in notebook 10)."""

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm


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
        return self[0].in_features  # pyrefly: ignore


class Dropout(nn.Dropout):
    """nn.Dropout with one random byte per value: ten times faster on a CPU.

    nn.Dropout draws its mask value by value, which took a fifth of the time of a GAN of linear layers. Here the
    probability is rounded to a multiple of 1/256 (0.3 to 0.3008), and the scale of the kept values is adjusted to it.
    """

    def forward(self, x: Tensor) -> Tensor:
        dropped = round(256 * self.p)
        if not self.training or not dropped:
            return x
        eights = torch.empty(-(-x.numel() // 8), dtype=torch.int64, device=x.device).random_(-(2**63), None)
        keep = eights.view(torch.uint8)[: x.numel()].view(x.shape) >= dropped
        return x * keep * (256 / (256 - dropped))


class Discriminator(nn.Sequential):
    """784 → 1024 → 512 → 256 → 1, LeakyReLU(0.2) and dropout; images (B, 784) → logit of "real" (B, 1).

    The report ends in a sigmoid. Here the loss takes the logit: mathematically the same, but accurate for large logits.
    """

    def __init__(self, dropout: float = 0.3):
        super().__init__(
            *(nn.Linear(784, 1024), nn.LeakyReLU(0.2, inplace=True), Dropout(dropout)),
            *(nn.Linear(1024, 512), nn.LeakyReLU(0.2, inplace=True), Dropout(dropout)),
            *(nn.Linear(512, 256), nn.LeakyReLU(0.2, inplace=True), Dropout(dropout)),
            nn.Linear(256, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(1))


class ConvGenerator(nn.Sequential):
    """One linear layer and four transposed convolutions: 377,121 parameters at 100 latent dimensions.

    Noise (B, latent) → images (B, 1, 28, 28) in [-1, 1]. Batch norm and ReLU follow every layer but the first and last.
    """

    def __init__(self, latent: int = 100):
        up = {"kernel_size": 3, "stride": 2, "padding": 1, "output_padding": 1}
        same = {"kernel_size": 3, "padding": 1}
        super().__init__(
            *(nn.Linear(latent, 64 * 7 * 7), nn.Unflatten(1, (64, 7, 7))),
            *(nn.ConvTranspose2d(64, 64, **up), nn.BatchNorm2d(64), nn.ReLU(inplace=True)),  # → 64×14×14
            *(nn.ConvTranspose2d(64, 32, **same), nn.BatchNorm2d(32), nn.ReLU(inplace=True)),  # → 32×14×14
            *(nn.ConvTranspose2d(32, 16, **same), nn.BatchNorm2d(16), nn.ReLU(inplace=True)),  # → 16×14×14
            *(nn.ConvTranspose2d(16, 1, **up), nn.Tanh()),  # → 1×28×28
        )

    @property
    def latent(self) -> int:
        """Length of the noise."""
        return self[0].in_features  # pyrefly: ignore


class ConvDiscriminator(nn.Sequential):
    """Four convolutions with LeakyReLU(0.2) and dropout of whole channels, one linear layer: 246,529 parameters.

    Images (B, 1, 28, 28) in [-1, 1] → logit of "real" (B, 1). ``spectral`` divides the weights of each layer by their
    largest singular value, which limits the slope of the logit (Miyato et al. 2018).
    """

    def __init__(self, dropout: float = 0.25, spectral: bool = False):
        def wrap(layer: nn.Module) -> nn.Module:
            return spectral_norm(layer) if spectral else layer

        def block(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
            convolution = wrap(nn.Conv2d(inputs, outputs, 3, stride, padding=1))
            return [convolution, nn.LeakyReLU(0.2, inplace=True), nn.Dropout2d(dropout)]

        super().__init__(
            *block(1, 32, stride=2),  # → 32×14×14
            *block(32, 64, stride=1),  # → 64×14×14
            *block(64, 128, stride=1),  # → 128×14×14
            *block(128, 128, stride=2),  # → 128×7×7
            *(nn.Flatten(), wrap(nn.Linear(128 * 7 * 7, 1))),
        )


class DCGenerator(nn.Sequential):
    """Five transposed convolutions: noise (B, latent) → images (B, 1, 64, 64) in [-1, 1].

    Batch norm and ReLU follow all but the last. The hidden layers have 8, 4, 2 and 1 times ``width`` channels, which
    gives 12,654,336 parameters at a width of 128. The weights are initialised as in Radford et al. 2016.
    """

    def __init__(self, width: int = 128, latent: int = 100):
        def block(inputs: int, outputs: int, stride: int = 2, padding: int = 1) -> list[nn.Module]:
            up = nn.ConvTranspose2d(inputs, outputs, 4, stride, padding, bias=False)
            return [up, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]

        super().__init__(
            nn.Unflatten(1, (latent, 1, 1)),
            *block(latent, 8 * width, stride=1, padding=0),  # → 1024×4×4 at a width of 128
            *block(8 * width, 4 * width),  # → 512×8×8
            *block(4 * width, 2 * width),  # → 256×16×16
            *block(2 * width, width),  # → 128×32×32
            *(nn.ConvTranspose2d(width, 1, 4, 2, 1, bias=False), nn.Tanh()),  # → 1×64×64
        )
        self.apply(_dcgan_start)

    @property
    def latent(self) -> int:
        """Length of the noise."""
        return self[1].in_channels  # pyrefly: ignore


class DCDiscriminator(nn.Sequential):
    """The mirror image of ``DCGenerator``: images (B, 1, 64, 64) in [-1, 1] → logit of "real" (B, 1).

    LeakyReLU(0.2) follows all but the last of five convolutions; the middle three also have batch norm. 11,032,064
    parameters at a width of 128.
    """

    def __init__(self, width: int = 128):
        def block(inputs: int, outputs: int) -> list[nn.Module]:
            down = nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False)
            return [down, nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2, inplace=True)]

        super().__init__(
            *(nn.Conv2d(1, width, 4, 2, 1, bias=False), nn.LeakyReLU(0.2, inplace=True)),  # → 128×32×32
            *block(width, 2 * width),  # → 256×16×16
            *block(2 * width, 4 * width),  # → 512×8×8
            *block(4 * width, 8 * width),  # → 1024×4×4
            *(nn.Conv2d(8 * width, 1, 4, 1, 0, bias=False), nn.Flatten()),
        )
        self.apply(_dcgan_start)


def _dcgan_start(layer: nn.Module) -> None:
    """Initialise weights of convolutions from N(0, 0.02²), and scales of batch norm from N(1, 0.02²)."""
    if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(layer.weight, 0, 0.02)
    if isinstance(layer, nn.BatchNorm2d):
        nn.init.normal_(layer.weight, 1, 0.02)
