"""Variational autoencoders: dense (CPSC 453, section 4.1; notebook 04), convolutional (NNDL 2020/21; notebook 20)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.models.autoencoder import conv_decoder, conv_encoder, dense


class VAE(nn.Module):
    """q(z|x) is a Gaussian with diagonal covariance, p(x|z) one Bernoulli per pixel, p(z) the standard normal.

    ``sizes`` lists the layers of the encoder, from pixels to latent dimensions, for example 784, 400, 20, with ReLU in
    between. The decoder mirrors them.
    """

    def __init__(self, sizes: Sequence[int] = (784, 400, 20)):
        super().__init__()
        *hidden, latent = sizes
        self.encoder = nn.Sequential(dense(hidden, nn.ReLU), nn.ReLU())  # 784 → 400
        self.mean, self.log_variance = nn.Linear(hidden[-1], latent), nn.Linear(hidden[-1], latent)  # 400 → 20, twice
        self.decoder = dense(sizes[::-1], nn.ReLU)  # 20 → 400 → 784

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of q(z|x), both (B, latent)."""
        h = self.encoder(x.flatten(1))
        return self.mean(h).float(), self.log_variance(h).float()

    def decode(self, z: Tensor) -> Tensor:
        """Logits (B, pixels) of p(x|z)."""
        return self.decoder(z).float()


class ConvVAE(nn.Module):
    """The convolutional autoencoder as a VAE: the same layers, but the encoder returns a mean and a log variance."""

    def __init__(self, channels: Sequence[int] = (8, 16, 32), hidden: int = 64, latent: int = 2):
        super().__init__()
        self.encoder = nn.Sequential(conv_encoder(channels, hidden), nn.ReLU())
        self.mean, self.log_variance = nn.Linear(hidden, latent), nn.Linear(hidden, latent)
        self.decoder = nn.Sequential(nn.Linear(latent, hidden), nn.ReLU(), conv_decoder(channels, hidden))

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of q(z|x), both (B, latent)."""
        h = self.encoder(x)
        return self.mean(h).float(), self.log_variance(h).float()

    def decode(self, z: Tensor) -> Tensor:
        """Logits (B, 784) of p(x|z)."""
        return self.decoder(z).float()


def reparameterize(mean: Tensor, log_variance: Tensor, noise: Tensor) -> Tensor:
    """A sample of q(z|x) as a differentiable function of mean and variance: z = μ + σ·ε with ε ~ N(0, I)."""
    return mean + (0.5 * log_variance).exp() * noise


def reconstruction_loss(logits: Tensor, x: Tensor) -> Tensor:
    """−log p(x|z) in nats (B,): cross-entropy of each pixel, summed over the pixels. x (B, …) in [0, 1].

    For grey pixels, p(x|z) is not normalised (Loaiza-Ganem & Cunningham 2019). This is common on MNIST, but the values
    can only be compared with those of other models with the same likelihood.
    """
    return F.binary_cross_entropy_with_logits(logits, x.flatten(1), reduction="none").sum(1)


def kl_to_prior(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(q(z|x) ‖ N(0, I)) in nats for each latent dimension (B, latent): −½ (1 + log σ² − μ² − σ²).

    Kingma & Welling 2014, appendix B. The leading minus is missing from the handout's formula.
    """
    return -0.5 * (1 + log_variance - mean.square() - log_variance.exp())


def log_likelihood(vae: VAE, x: Tensor, samples: int, generator: torch.Generator) -> Tensor:
    """Importance-weighted estimate of log p(x) in nats (B,): log 1/K Σ p(x|z) p(z) / q(z|x) with z ~ q(z|x).

    Its expectation is a lower bound that approaches log p(x) as the number of samples K grows (Burda et al. 2016,
    eq. 8).
    """
    with torch.inference_mode():
        mean, log_variance = vae.encode(x)
        weights = []
        for _ in range(samples):
            noise = torch.randn(mean.shape, generator=generator).to(mean.device)
            z = reparameterize(mean, log_variance, noise)
            log_prior_over_posterior = 0.5 * (noise.square() + log_variance - z.square()).sum(1)
            weights.append(log_prior_over_posterior - reconstruction_loss(vae.decode(z), x))
        return torch.stack(weights).logsumexp(0) - torch.tensor(samples).log()
