"""Training generative adversarial networks: generator G and discriminator D against each other."""

import copy
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from lib.compute import device, exactly
from lib.training.loop import (
    NOISE,
    PROBE,
    History,
    Learner,
    State,
    fit,
    normal_draws,
    seeded,
    stream,
    watched,
    weights,
    with_watched,
)

Draw = Callable[[], Tensor]  # fresh noise (B, latent)
Guide = Callable[[Tensor], Tensor]  # generated images (B, …) → a loss (B,) that the generator minimises as well


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


def update_discriminator(
    D: nn.Module, real: Tensor, fake: Tensor, learner: Learner, real_target: float = 1.0
) -> dict[str, Tensor]:
    """One step down L(D) = ½ BCE(D(x), ``real_target``) + ½ BCE(D(G(z)), 0)."""
    on_real, on_fake = logits_of_both(D, real, fake)
    loss = (bce(on_real, real_target) + bce(on_fake, 0.0)) / 2
    learner.descend(loss)
    return {"d_loss": loss, **verdicts(on_real, on_fake)}


def update_generator(D: nn.Module, fake: Tensor, learner: Learner, guide: Guide | None = None) -> dict[str, Tensor]:
    """One step down L(G) = BCE(D(G(z)), 1), the non-saturating loss, plus the mean of ``guide(G(z))``."""
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
    """One step of both networks from one pass through both: ``adversarial_gradients``, which is faster."""
    on_real, on_fake = adversarial_gradients(G, D, real, draw(), real_target, guide)
    d.step()
    g.step()
    loss = (bce(on_real, real_target) + bce(on_fake, 0.0)) / 2
    return {"d_loss": loss, **verdicts(on_real, on_fake), "g_loss": bce(on_fake, 1.0)}


def adversarial_gradients(
    G: nn.Module, D: nn.Module, real: Tensor, z: Tensor, real_target: float = 1.0, guide: Guide | None = None
) -> tuple[Tensor, Tensor]:
    """Put the gradients of both losses into ``.grad`` of both networks' weights, from one pass through each.

    L(D) = ½ BCE(D(x), ``real_target``) + ½ BCE(D(G(z)), 0); L(G) = BCE(D(G(z)), 1), plus the mean of
    ``guide(G(z))`` (B,) if there is a guide. Real images (B, …) and noise (B, latent) → logits (B,) and (B,), real
    first.

    Both are gradients at the present weights, of the same noise and the same dropout: simultaneous updates, where
    ``update_in_turn`` passes generated images through the discriminator twice. But both gradients take the same way,
    from the logit l of an image back through the discriminator, and differ only in where they start:
    dL(D)/dl = σ(l) / 2B and dL(G)/dl = (σ(l) − 1) / B. Their ratio, −2 exp(−l), turns the one into the other, image by
    image, as long as the discriminator treats each image on its own (no batch norm in it). Below l = −60 the ratio is
    kept constant, to stay finite.
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
    """Cross-entropy of logits with one target for all: 1 for "real", 0 for "generated", less than 1 to smooth it."""
    logits = logits.float()
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))


def logits_of_both(D: nn.Module, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """D's logits (B,) of real and of generated images (B, …), which pass it as one batch.

    With batch norm in it each kind passes on its own, because generated images alone is what it meets in the
    generator's step.
    """
    kinds = [real, fake] if has_batch_norm(D) else [torch.cat([real, fake])]
    on_real, on_fake = torch.cat([D(x) for x in kinds]).float().view(2, -1)
    return on_real, on_fake


def verdicts(on_real: Tensor, on_fake: Tensor) -> dict[str, Tensor]:
    """How sure the discriminator is, D(x) and D(G(z)), and the shares of real and generated images it gets right."""
    return {
        "d_real": on_real.sigmoid().mean(),
        "d_fake": on_fake.sigmoid().mean(),
        "real_accuracy": (on_real > 0).float().mean(),
        "fake_accuracy": (on_fake < 0).float().mean(),
    }


class Average:
    """The exponential moving average of a network's weights (Yazıcı et al. 2019), shorter in the first steps."""

    def __init__(self, network: nn.Module, decay: float):
        self.network, self.decay, self.steps = copy.deepcopy(network).requires_grad_(False).eval(), decay, 0

    def update(self, network: nn.Module) -> None:
        """Move a little towards ``network``; with a decay of 0, all the way."""
        keep = min(self.decay, (1 + self.steps) / (10 + self.steps))
        self.steps += 1
        with torch.no_grad():
            torch._foreach_lerp_(list(self.network.parameters()), list(network.parameters()), 1 - keep)

    def state_dict(self) -> dict[str, object]:
        return {"network": self.network.state_dict(), "steps": self.steps}

    def load_state_dict(self, state: dict[str, object]) -> None:
        self.network.load_state_dict(state["network"])
        self.steps = state["steps"]


def train_gan(
    build_generator: Callable[[], nn.Module],
    build_discriminator: Callable[[], nn.Module],
    real: Tensor,
    evaluate_on: dict[str, Tensor] | None = None,
    *,
    latent: int,
    epochs: int,
    batch_size: int,
    lr: float,
    betas: Sequence[float] = (0.5, 0.999),
    decay_every: float | None = None,
    average: float = 0.0,
    update: Callable[..., dict[str, Tensor]] = update_in_turn,
    precision: str = "float32",
    trace_every: int | None = None,
    watch: Callable[[nn.Module], Tensor] | None = None,
    seed: int = 0,
) -> tuple[State, History]:
    """Train generator and discriminator against each other on images (N, …), with Adam and the non-saturating loss.

    ``real`` has the range and shape of the generator's images. ``update`` is what happens with a batch: the networks
    learn in turn (``update_in_turn``) or at once (``update_at_once``); ``functools.partial`` over either may smooth the
    labels of real images with a ``real_target`` below 1 (Salimans et al. 2016), or add a ``guide``, which maps
    generated images to a loss (B,) that the generator minimises as well. ``average`` is the decay of an exponential
    moving average of the generator's weights, which is then what is returned, shown and evaluated. The learning rate
    is constant, or divided by ten every ``decay_every`` epochs. ``precision`` is that of the products; the weights and
    losses are float32.

    History, means of an epoch: ``d_loss``, ``g_loss`` (without a guide), ``d_real`` = D(x), ``d_fake`` = D(G(z)),
    ``real_accuracy``, ``fake_accuracy`` (the shares that the discriminator gets right), and ``seconds``; with
    ``trace_every`` also ``trace_…``, the same over that many steps (fewer in the last bin of an epoch).
    ``<name>_accuracy`` is, after each epoch and without dropout, the share of a set of ``evaluate_on`` that is called
    real, and ``generated_accuracy`` the share of 2,000 generated images that is called generated. The weights are
    named ``generator.…`` and ``discriminator.…``; with ``watch``, ``watched`` (epochs, …) is what it returned for the
    generator after each epoch. Raises Diverged when a loss is not finite, and ValueError for fewer images than one
    batch, an unknown precision, an update at once of a discriminator with batch norm, or a set that is empty or has a
    name that the history uses itself.
    """
    evaluate_on = evaluate_on or {}
    if unfit := [name for name, x in evaluate_on.items() if name in ("real", "fake", "generated") or not len(x)]:
        raise ValueError(f"evaluate_on[{unfit[0]!r}] is empty, or has a name that the history uses itself")
    G, D = seeded(build_generator, seed), seeded(build_discriminator, seed)
    decay = max(1, round(decay_every * (len(real) // batch_size))) if decay_every else None
    g, d = (Learner(network, lr, "adam", {"betas": tuple(betas)}, decay=decay) for network in (G, D))
    shown, noise, real = Average(G, average), stream(seed, NOISE), real.to(device())
    normal = normal_draws(noise)

    def draw() -> Tensor:
        return normal(batch_size, latent)

    def learn(index: Tensor) -> dict[str, Tensor]:
        log = update(G, D, real[index], draw, g, d)
        shown.update(G)
        return log

    def measure(epoch: int) -> dict[str, object]:
        found, probe = {}, stream(seed, PROBE)
        if watch or evaluate_on or epoch == epochs:
            measure_batch_norm(shown.network, latent, probe)
        if watch:
            found["watched"] = watched(watch, shown.network)
        if evaluate_on:
            with torch.inference_mode():
                z = torch.randn(2000, latent, generator=probe).to(device())
                generated = torch.cat([shown.network(some) for some in z.split(250)])
            found |= {f"{name}_accuracy": real_share(D, images) for name, images in evaluate_on.items()}
            found["generated_accuracy"] = 1 - real_share(D, generated)
        return found

    history = fit(
        learn,
        len(real),
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
        parts={"G": G, "D": D, "g": g, "d": d, "shown": shown, "noise": noise},
        title=f"GAN lr {lr:g}",
        evaluate=measure,
        whole_batches=True,
        trace_every=trace_every,
        precision=precision,
    )
    state = {f"generator.{name}": tensor for name, tensor in weights(shown.network).items()}
    state |= {f"discriminator.{name}": tensor for name, tensor in weights(D).items()}
    return with_watched(state, history)


def has_batch_norm(network: nn.Module) -> bool:
    """Does a network mix the images of a batch?"""
    return any(isinstance(layer, nn.modules.batchnorm._BatchNorm) for layer in network.modules())


def measure_batch_norm(generator: nn.Module, latent: int, noise: torch.Generator) -> nn.Module:
    """Measure the batch-norm statistics of a generator again, on 2,000 noise vectors; returns it, in evaluation mode.

    An average of weights needs statistics of its own; those met in training belong to other weights.
    """
    on = next(generator.parameters()).device
    update_bn([torch.randn(200, latent, generator=noise).to(on) for _ in range(10)], generator)
    return generator.eval()


def real_share(discriminator: nn.Module, images: Tensor) -> float:
    """Share of the images (N, …) that a discriminator calls real, where it lies; dropout is off."""
    on, training = next(discriminator.parameters()).device, discriminator.training
    discriminator.eval()
    with torch.inference_mode():
        real = sum((discriminator(x.to(on)) > 0).sum().item() for x in images.split(250))
    discriminator.train(training)
    return real / len(images)
