"""Training generative adversarial networks: a generator G against a discriminator D."""

import copy
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from lib.compute import device
from lib.precision import exactly
from lib.training.loop import NOISE, PROBE, History, Learner, State, normal_draws, seeded, stream, weights
from lib.training.train import train_networks

Draw = Callable[[], Tensor]  # fresh noise (B, latent)
Guide = Callable[[Tensor], Tensor]  # generated images (B, …) → an additional loss (B,) for the generator


def update_in_turn(
    G: nn.Module,
    D: nn.Module,
    real: Tensor,
    draw: Draw,
    g: Learner,
    d: Learner,
    real_target: float = 1.0,
    guide: Guide | None = None,
) -> dict[str, Tensor]:
    """One step of the discriminator, then one of the generator against it (Goodfellow et al. 2014)."""
    with torch.no_grad():
        fake = G(draw())
    log = update_discriminator(D, real, fake, d, real_target)
    return log | update_generator(D, G(draw()), g, guide)


def update_on_same_noise(
    G: nn.Module, D: nn.Module, real: Tensor, draw: Draw, g: Learner, d: Learner
) -> dict[str, Tensor]:
    """Like ``update_in_turn``, but both networks learn from the same generated images."""
    fake = G(draw())
    return update_discriminator(D, real, fake.detach(), d) | update_generator(D, fake, g)


def update_discriminator(
    D: nn.Module, real: Tensor, fake: Tensor, learner: Learner, real_target: float = 1.0
) -> dict[str, Tensor]:
    """One gradient step of the discriminator on L(D) = ½ BCE(D(x), ``real_target``) + ½ BCE(D(G(z)), 0)."""
    on_real, on_fake = logits_of_both(D, real, fake)
    loss = (bce(on_real, real_target) + bce(on_fake, 0.0)) / 2
    learner.descend(loss)
    return {"d_loss": loss, **discriminator_scores(on_real, on_fake)}


def update_generator(D: nn.Module, fake: Tensor, learner: Learner, guide: Guide | None = None) -> dict[str, Tensor]:
    """One gradient step of the generator on the non-saturating BCE(D(G(z)), 1), plus the mean of ``guide(G(z))``."""
    loss = bce(D(fake), 1.0)
    learner.descend(loss + guide(fake.float()).mean() if guide else loss)
    return {"g_loss": loss}


def update_at_once(
    G: nn.Module,
    D: nn.Module,
    real: Tensor,
    draw: Draw,
    g: Learner,
    d: Learner,
    real_target: float = 1.0,
    guide: Guide | None = None,
) -> dict[str, Tensor]:
    """One step of both networks from a single pass through each (``adversarial_gradients``), which is faster."""
    on_real, on_fake = adversarial_gradients(G, D, real, draw(), real_target, guide)
    d.step()
    g.step()
    loss = (bce(on_real, real_target) + bce(on_fake, 0.0)) / 2
    return {"d_loss": loss, **discriminator_scores(on_real, on_fake), "g_loss": bce(on_fake, 1.0)}


def update_two_rates(
    G: nn.Module, D: nn.Module, real: Tensor, draw: Draw, g: Learner, d: Learner, ratio: float = 2.0
) -> dict[str, Tensor]:
    """``update_in_turn`` with a discriminator whose rate is ``ratio`` times the generator's (Heusel et al. 2017)."""
    for faster, slower in zip(d.optimiser.param_groups, g.optimiser.param_groups, strict=True):
        faster["lr"] = ratio * slower["lr"]
    return update_in_turn(G, D, real, draw, g, d)


def adversarial_gradients(
    G: nn.Module, D: nn.Module, real: Tensor, z: Tensor, real_target: float = 1.0, guide: Guide | None = None
) -> tuple[Tensor, Tensor]:
    """Compute the gradients of both losses from one pass through each network, and store them in ``.grad``.

    L(D) = ½ BCE(D(x), ``real_target``) + ½ BCE(D(G(z)), 0). L(G) = BCE(D(G(z)), 1), plus the mean of ``guide(G(z))``
    (B,) if there is a guide. Takes real images (B, …) and noise z (B, latent); returns the logits (B,) of the real and
    of the generated images.

    Both gradients belong to the current weights, the same noise and the same dropout, so the updates are simultaneous.
    (``update_in_turn`` passes generated images through the discriminator twice.) Both are backpropagated from the logit
    l of an image through the same discriminator, and differ only in their starting values: dL(D)/dl = σ(l) / 2B and
    dL(G)/dl = (σ(l) − 1) / B. Multiplying by the ratio −2 exp(−l) turns the first into the second, image by image. This
    requires a discriminator that treats each image separately, without batch norm. Below l = −60 the ratio is kept
    constant, so that it stays finite.
    """
    if has_batch_norm(D):
        raise ValueError("batch norm in the discriminator mixes images, so that one pass cannot give both gradients")
    G.zero_grad()
    D.zero_grad()
    fake = G(z)
    seen = fake.detach().float().requires_grad_()
    on_real, on_fake = D(torch.cat([real, seen])).float().view(2, -1)
    with exactly():
        ((bce(on_real, real_target) + bce(on_fake, 0.0)) / 2).backward()
        ratio = -2 * torch.exp(-on_fake.detach().clamp_min(-60))
        gradient = seen.grad * ratio.view(-1, *[1] * (seen.dim() - 1))
        if guide:
            gradient += torch.autograd.grad(guide(seen).mean(), seen)[0]
        fake.backward(gradient.to(fake.dtype))
    return on_real.detach(), on_fake.detach()


def bce(logits: Tensor, target: float) -> Tensor:
    """Cross-entropy of logits with one common target: 1 for "real", 0 for "generated", below 1 for smoothed labels."""
    logits = logits.float()
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))


def logits_of_both(D: nn.Module, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """The discriminator's logits (B,) for real and for generated images (B, …), from one common batch.

    A discriminator with batch norm gets real and generated images in separate batches, because in the generator's step
    it sees generated images only.
    """
    kinds = [real, fake] if has_batch_norm(D) else [torch.cat([real, fake])]
    on_real, on_fake = torch.cat([D(x) for x in kinds]).float().view(2, -1)
    return on_real, on_fake


def discriminator_scores(on_real: Tensor, on_fake: Tensor) -> dict[str, Tensor]:
    """The discriminator's mean outputs D(x) and D(G(z)), and its accuracy on real and on generated images."""
    return {
        "d_real": on_real.sigmoid().mean(),
        "d_fake": on_fake.sigmoid().mean(),
        "real_accuracy": (on_real > 0).float().mean(),
        "fake_accuracy": (on_fake < 0).float().mean(),
    }


class Average:
    """Exponential moving average of a network's weights (Yazıcı et al. 2019), over fewer steps at first."""

    def __init__(self, network: nn.Module, decay: float):
        self.network, self.decay, self.steps = copy.deepcopy(network).requires_grad_(False).eval(), decay, 0

    def update(self, network: nn.Module) -> None:
        """Move the average towards the weights of ``network``; with a decay of 0, copy them."""
        keep = min(self.decay, (1 + self.steps) / (10 + self.steps))
        self.steps += 1
        with torch.no_grad():
            torch._foreach_lerp_(list(self.network.parameters()), list(network.parameters()), 1 - keep)

    def state_dict(self) -> dict[str, Any]:
        return {"network": self.network.state_dict(), "steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.steps = state["steps"]


def train_gan(
    build_generator: Callable[[], nn.Module],
    build_discriminator: Callable[[], nn.Module],
    real: Tensor,
    evaluate_on: dict[str, Tensor] | None = None,
    *,
    latent: int,
    batch_size: int,
    average: float = 0.0,
    update: Callable[..., dict[str, Tensor]] = update_in_turn,
    seed: int = 0,
    **options: Any,
) -> tuple[State, History]:
    """Train generator and discriminator against each other on images (N, …), with the non-saturating loss.

    ``real`` has the range and shape of the generator's images. ``options`` are those of ``train_networks``; by default,
    both networks have Adam with betas of 0.5 and 0.999 and a constant rate. ``update`` learns from one batch:
    ``update_in_turn`` trains the networks one after the other, ``update_at_once`` both at once. Use
    ``functools.partial`` over either to smooth the labels of real images with a ``real_target`` below 1 (Salimans et
    al. 2016), or to add a ``guide``, which maps generated images to an additional loss (B,) for the generator.
    ``average`` is the decay of an exponential moving average of the generator's weights; if it is not 0, the average is
    returned, shown and evaluated.

    The history has epoch means of ``d_loss``, ``g_loss`` (without the guide), ``d_real`` = D(x), ``d_fake`` = D(G(z)),
    ``real_accuracy`` and ``fake_accuracy`` (of the discriminator), and the ``seconds`` of each epoch. After an epoch,
    without dropout, ``<name>_accuracy`` is the share of a set of ``evaluate_on`` that the discriminator classifies as
    real, and ``generated_accuracy`` the share of 2,000 generated images that it classifies as generated.

    The weights are named ``generator.…`` and ``discriminator.…``. With ``watch``, ``watched`` (epochs, …) is its output
    for the generator. Raises what ``train_networks`` raises, and ValueError for fewer images than one batch, for
    ``update_at_once`` with batch norm in the discriminator, and for an empty set in ``evaluate_on`` or one with a name
    that the history uses itself.
    """
    evaluate_on = evaluate_on or {}
    if unfit := [name for name, x in evaluate_on.items() if name in ("real", "fake", "generated") or not len(x)]:
        raise ValueError(f"evaluate_on[{unfit[0]!r}] is empty, or has a name that the history uses itself")
    G, D = seeded(build_generator, seed), seeded(build_discriminator, seed)
    shown, noise, real = Average(G, average), stream(seed, NOISE), real.to(device())
    normal = normal_draws(noise)

    def learn(index: Tensor, g: Learner, d: Learner) -> dict[str, Tensor]:
        log = update(G, D, real[index], lambda: normal(batch_size, latent), g, d)
        shown.update(G)
        return log

    def measured(probe: torch.Generator) -> nn.Module:
        return measure_batch_norm(shown.network, latent, probe)

    def generated() -> Tensor:
        probe = stream(seed, PROBE)
        generator = measured(probe)
        with torch.inference_mode():
            z = torch.randn(2000, latent, generator=probe).to(device())
            return torch.cat([generator(some) for some in z.split(250)])

    def measure(images: Tensor | None) -> dict[str, float]:
        accuracy = 1 - real_share(D, generated()) if images is None else real_share(D, images)
        return {"accuracy": accuracy}

    options = {"one_cycle": False, "optimiser_settings": {"betas": (0.5, 0.999)}, "batch_size": batch_size} | options
    seen, history = train_networks(
        {"G": G, "D": D},
        learn,
        len(real),
        measure,
        evaluate_on | ({"generated": None} if evaluate_on else {}),
        parts={"shown": shown, "noise": noise},
        shown=lambda: measured(stream(seed, PROBE)),
        title="GAN",
        prefix="",
        whole_batches=True,
        seed=seed,
        **options,  # pyrefly: ignore
    )
    state = {f"generator.{name}": tensor for name, tensor in weights(measured(stream(seed, PROBE))).items()}
    state |= {f"discriminator.{name}": tensor for name, tensor in weights(D).items()}
    return state | seen, history


def has_batch_norm(network: nn.Module) -> bool:
    """Whether a network has batch norm, which mixes the images of a batch."""
    return any(isinstance(layer, nn.modules.batchnorm._BatchNorm) for layer in network.modules())


def measure_batch_norm(generator: nn.Module, latent: int, noise: torch.Generator) -> nn.Module:
    """Recompute the batch-norm statistics of a generator on 2,000 noise vectors; returns it in evaluation mode.

    Averaged weights need their own statistics: those from training belong to other weights.
    """
    on = next(generator.parameters()).device
    update_bn([torch.randn(200, latent, generator=noise).to(on) for _ in range(10)], generator)
    return generator.eval()


def real_share(discriminator: nn.Module, images: Tensor) -> float:
    """Share of the images (N, …) that a discriminator classifies as real, without dropout, on its own device."""
    on, training = next(discriminator.parameters()).device, discriminator.training
    discriminator.eval()
    with torch.inference_mode():
        real = sum((discriminator(x.to(on)) > 0).sum().item() for x in images.split(250))
    discriminator.train(training)
    return real / len(images)
