"""Training variational autoencoders."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lib.compute import device
from lib.models.vae import VAE, kl_to_prior, reconstruction_loss, reparameterize
from lib.training.loop import NOISE, History, Learner, State, normal_draws, seeded, stream, weights
from lib.training.train import train_networks


def vae_step(
    vae: VAE,
    x: Tensor,
    draw: Callable[..., Tensor],
    learner: Learner,
    beta: float = 1.0,
    masked: float = 0.0,
    mirrored: bool = False,
) -> dict[str, Tensor]:
    """One gradient step on the negative ELBO of a batch (B, D), in which the KL counts β times (Higgins et al. 2017).

    ``masked`` is the share of pixels that the encoder does not see, new ones in every step, so that it cannot learn
    the training images by heart. The decoder has to return all of them. With ``mirrored``, the reconstruction loss is
    the mean for two samples μ ± σε, so that errors of the gradient that are odd in the noise cancel (antithetic
    sampling).
    """
    mean, log_variance = vae.encode(F.dropout(x, masked))
    noise = draw(*mean.shape)
    samples = [reparameterize(mean, log_variance, e) for e in ((noise, -noise) if mirrored else (noise,))]
    reconstruction = sum(reconstruction_loss(vae.decode(z), x).mean() for z in samples) / len(samples)
    kl = kl_to_prior(mean, log_variance).sum(1).mean()
    learner.descend(reconstruction + beta * kl)
    return {"reconstruction": reconstruction, "kl": kl}  # pyrefly: ignore


def train_vae(
    build: Callable[[], VAE],
    train: Tensor,
    evaluate_on: dict[str, Tensor],
    *,
    step: Callable[..., dict[str, Tensor]] = vae_step,
    seed: int = 0,
    **options: Any,
) -> tuple[State, History]:
    """Maximise the evidence lower bound (ELBO) of images (N, …) in [0, 1] with one sample of q(z|x) for each image.

    ``options`` are those of ``train_networks``: epochs, batch_size, lr and others. ``step`` learns from one batch.

    The history has one entry per epoch, in nats per image: ``train_reconstruction`` and ``train_kl`` (means over the
    epoch, during training), whose sum is −ELBO; ``<name>_reconstruction`` and ``<name>_kl`` for each set of
    ``evaluate_on``, after the epoch; and ``train_seconds``. With ``watch``, the weights include ``watched``
    (epochs, …). Raises what ``train_networks`` raises.
    """
    vae = seeded(build, seed)
    inputs = train.flatten(1).to(device())
    noise = stream(seed, NOISE)
    draw = normal_draws(noise)

    def learn(index: Tensor, learner: Learner) -> dict[str, Tensor]:
        return step(vae, inputs[index], draw, learner)

    def measure(images: Tensor) -> dict[str, float]:
        return dict(zip(("reconstruction", "kl"), negative_elbo(vae, images, seed), strict=True))  # pyrefly: ignore

    own = {"parts": {"noise": noise}, "title": "VAE", "seed": seed}
    seen, history = train_networks({"vae": vae}, learn, len(inputs), measure, evaluate_on, **own, **options)
    return weights(vae) | seen, history


def negative_elbo(vae: VAE, images: Tensor, seed: int = 0) -> tuple[float, float]:
    """Reconstruction loss and KL in nats per image (N, …), with one sample of q(z|x) each, drawn from ``seed``."""
    noise, totals = stream(seed, NOISE), torch.zeros(2, dtype=torch.double)
    with torch.inference_mode():
        for x in images.flatten(1).to(next(vae.parameters()).device).split(1000):
            mean, log_variance = vae.encode(x)
            z = reparameterize(mean, log_variance, torch.randn(mean.shape, generator=noise).to(x.device))
            totals[0] += reconstruction_loss(vae.decode(z), x).sum().cpu()
            totals[1] += kl_to_prior(mean, log_variance).sum().cpu()
    return tuple((totals / len(images)).tolist())
