"""Training variational autoencoders."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from lib.compute import device
from lib.models.vae import VAE, kl_to_prior, reconstruction_loss, reparameterize
from lib.training.loop import (
    NOISE,
    History,
    Learner,
    State,
    fit,
    normal_draws,
    rate_steps,
    seeded,
    stream,
    watched,
    weights,
    with_watched,
)


def vae_step(vae: VAE, x: Tensor, draw: Callable[..., Tensor], learner: Learner) -> dict[str, Tensor]:
    """One gradient step on the negative ELBO of a batch (B, D), with one sample of q(z|x) for each image."""
    mean, log_variance = vae.encode(x)
    z = reparameterize(mean, log_variance, draw(*mean.shape))
    reconstruction = reconstruction_loss(vae.decode(z), x).mean()
    kl = kl_to_prior(mean, log_variance).sum(1).mean()
    learner.descend(reconstruction + kl)
    return {"reconstruction": reconstruction, "kl": kl}


def beta_vae_step(
    vae: VAE,
    x: Tensor,
    draw: Callable[..., Tensor],
    learner: Learner,
    beta: float = 1.0,
    masked: float = 0.0,
    mirrored: bool = False,
) -> dict[str, Tensor]:
    """One step on the loss of a β-VAE, in which the KL counts β times (Higgins et al. 2017): batch (B, D).

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
    return {"reconstruction": reconstruction, "kl": kl}


def train_vae(
    build: Callable[[], VAE],
    train: Tensor,
    evaluate_on: dict[str, Tensor],
    *,
    epochs: int,
    batch_size: int,
    lr: float,
    one_cycle: bool = True,
    watch: Callable[[VAE], Tensor] | None = None,
    precision: str = "float32",
    step: Callable[..., dict[str, Tensor]] = vae_step,
    seed: int = 0,
) -> tuple[State, History]:
    """Maximise the evidence lower bound (ELBO) of images (N, …) in [0, 1] with Adam and one sample of q(z|x) each.

    The history has one entry per epoch, in nats per image: ``train_reconstruction`` and ``train_kl`` (means over the
    epoch, during training), whose sum is −ELBO; ``<name>_reconstruction`` and ``<name>_kl`` for each set of
    ``evaluate_on``, after the epoch; and ``train_seconds``.

    ``step`` learns from one batch. With ``watch``, the returned weights include ``watched`` (epochs, …), the output of
    ``watch`` for the model after each epoch. ``precision`` is that of the matrix products during training; evaluation
    always uses float32. Raises Diverged if the loss is not finite, ValueError for an unknown precision.
    """
    vae = seeded(build, seed)
    inputs = train.flatten(1).to(device())
    learner = Learner(vae, lr, **rate_steps(len(inputs), epochs, batch_size, one_cycle, None))
    noise = stream(seed, NOISE)
    draw = normal_draws(noise)

    def learn(index: Tensor) -> dict[str, Tensor]:
        return step(vae, inputs[index], draw, learner)

    def measure(_: int) -> dict[str, object]:
        found = {}
        for name, images in evaluate_on.items():
            found[f"{name}_reconstruction"], found[f"{name}_kl"] = negative_elbo(vae, images, seed)
        return found | ({"watched": watched(watch, vae)} if watch else {})

    history = fit(
        learn,
        len(inputs),
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
        parts={"vae": vae, "learner": learner, "noise": noise},
        title="VAE",
        prefix="train_",
        evaluate=measure,
        precision=precision,
    )
    return with_watched(weights(vae), history)


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
