"""Training loops. Each seeds itself, keeps its data in memory and returns (weights, history).

History is a dict of plain lists, so that a figure drawn from a stored model equals one drawn after training.
Separate generators for initial weights, batch order and augmentation keep one from shifting another.
"""

import copy
import math
import time
from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from lib import progress
from lib.compute import device
from lib.data import Prepare, Split, batches
from lib.metrics import evaluate
from lib.models.feedforward import FeedForward, FeedForwardStack
from lib.models.vae import VAE, kl_to_prior, reconstruction_loss, reparameterize

History = dict[str, list]
State = dict[str, Tensor]

OPTIMISERS = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "rmsprop": torch.optim.RMSprop,
}
ORDER = 1_000_003  # offset of the seed of the batch order
AUGMENT = 2_000_003  # offset of the seed of the augmentation
NOISE = 3_000_017  # offset of the seed of what is sampled while training
DROPOUT = 5_000_011  # offset of the seed of dropout
PROBE = 7_000_003  # offset of the seed of what only measures, so that measuring changes no training


class Diverged(FloatingPointError):
    """The training loss is no longer a finite number."""


def train_classifier(
    build: Callable[[], nn.Module],
    train: Split,
    evaluate_on: dict[str, Split],
    *,
    prepare: Prepare,
    epochs: int,
    batch_size: int,
    lr: float,
    optimiser: str = "adamw",
    optimiser_settings: dict | None = None,
    one_cycle: bool = True,
    augment: Callable[[Tensor, torch.Generator], Tensor] | None = None,
    trace_every: int | None = None,
    evaluate_every: int = 1,
    seed: int = 0,
) -> tuple[State, History]:
    """Minimise cross-entropy with mini-batches.

    ``one_cycle`` warms the learning rate up to ``lr`` and anneals it (Smith & Topin 2019), else it is constant.
    ``augment`` maps uint8 images and a generator to uint8 images. History, one entry an epoch: ``train_loss``
    (mean over the epoch's batches, while training), ``train_seconds`` (without evaluation), and
    ``<name>_loss``, ``<name>_accuracy`` for each split of ``evaluate_on`` (after every ``evaluate_every``-th epoch
    and the last). With ``trace_every`` also means over that many iterations: ``trace_loss``, ``trace_accuracy``,
    ``trace_seconds`` (their sum).
    Raises Diverged when the loss is not finite, ValueError for an unknown optimiser.
    """
    on = device()
    model = _build(build, seed).to(on, memory_format=torch.channels_last)
    opt = _optimiser(model, optimiser, lr, optimiser_settings)
    steps = -(-len(train) // batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(opt, lr, total_steps=epochs * steps) if one_cycle else None
    order, shifts = torch.Generator().manual_seed(seed + ORDER), torch.Generator().manual_seed(seed + AUGMENT)
    images = train.images if augment else prepare(train.images).to(on)  # what is the same in every epoch, once
    labels = train.labels.to(on)
    history: History = {"train_loss": [], "train_seconds": []}
    trace = {"loss": [], "accuracy": [], "seconds": []}

    for epoch in progress.epochs(epochs, f"{optimiser} lr {lr:g}"):
        losses, correct = torch.zeros(steps, device=on), torch.zeros(steps, device=on)
        stamps = [time.perf_counter()]
        for step, index in enumerate(batches(len(train), batch_size, order)):
            x, y = images[index], labels[index]
            if augment:
                x = prepare(augment(x, shifts)).to(on)
            logits = model(x)
            loss = F.cross_entropy(logits, y)
            opt.zero_grad(set_to_none=True)
            loss.backward()
            opt.step()
            if schedule:
                schedule.step()
            losses[step] = loss.detach()
            if trace_every:
                correct[step] = (logits.detach().argmax(1) == y).float().mean()
                stamps.append(time.perf_counter())
        history["train_loss"].append(_finite(losses.mean().item(), epoch, lr))
        history["train_seconds"].append(time.perf_counter() - stamps[0])
        if trace_every:
            for start in range(0, steps, trace_every):
                stop = min(start + trace_every, steps)
                trace["loss"].append(losses[start:stop].mean().item())
                trace["accuracy"].append(correct[start:stop].mean().item())
                trace["seconds"].append(stamps[stop] - stamps[start])
        if (epoch + 1) % evaluate_every and epoch + 1 < epochs:
            continue
        for name, split in evaluate_on.items():
            loss_, accuracy_ = evaluate(model, split, prepare)
            history.setdefault(f"{name}_loss", []).append(loss_)
            history.setdefault(f"{name}_accuracy", []).append(accuracy_)
    if trace_every:
        history |= {f"trace_{name}": values for name, values in trace.items()}
    return _state(model), history


def train_stack(
    networks: Sequence[tuple[str, float]],
    hidden: int,
    train: Split,
    evaluate_on: dict[str, Split],
    *,
    prepare: Prepare,
    epochs: int,
    batch_size: int = 128,
    seed: int = 0,
) -> tuple[State, History]:
    """Train one FeedForward per (activation, learning rate) with plain SGD, all in one pass over the batches.

    Every network starts from the same seed and sees the same batches, as if it were trained alone (a test
    compares the two). Returns the weights of the FeedForwardStack and, one list of K numbers an epoch,
    ``train_loss`` and ``<name>_loss``, ``<name>_accuracy`` for each split of ``evaluate_on``.
    """
    on = device()
    stack = FeedForwardStack([_build(partial(FeedForward, hidden, a), seed) for a, _ in networks]).to(on)
    lr = torch.tensor([rate for _, rate in networks], device=on)
    wide_lr = lr.repeat_interleave(hidden)  # one per column of W1
    rates = [wide_lr, wide_lr, lr.view(-1, 1, 1), lr.view(-1, 1)]
    parameters = [stack.W1, stack.b1, stack.W2, stack.b2]
    order = torch.Generator().manual_seed(seed + ORDER)
    inputs, labels = prepare(train.images).to(on), train.labels.to(on)
    history: History = {"train_loss": []}

    for epoch in progress.epochs(epochs, f"{len(networks)} networks of width {hidden}"):
        total = torch.zeros(len(networks), device=on)
        for index in batches(len(train), batch_size, order):
            x, y = inputs[index], labels[index]
            loss = _losses(stack(x), y)
            gradients = torch.autograd.grad(loss.sum(), parameters)
            with torch.no_grad():
                for parameter, rate, gradient in zip(parameters, rates, gradients, strict=True):
                    parameter.addcmul_(rate, gradient, value=-1)
                total += loss * len(y)
        means = (total / len(train)).tolist()
        history["train_loss"].append([_finite(m, epoch, rate) for m, (_, rate) in zip(means, networks, strict=True)])
        for name, split in evaluate_on.items():
            losses, hits = torch.zeros_like(total), torch.zeros_like(total)
            with torch.inference_mode():
                for x, y in zip(split.images.split(1000), split.labels.split(1000), strict=True):
                    y = y.to(on)
                    logits = stack(prepare(x).to(on))
                    losses += _losses(logits, y) * len(y)
                    hits += (logits.argmax(2) == y).sum(1)
            history.setdefault(f"{name}_loss", []).append((losses / len(split)).tolist())
            history.setdefault(f"{name}_accuracy", []).append((hits / len(split)).tolist())
    return _state(stack), history


def train_autoencoder(
    build: Callable[[], nn.Module],
    train: Tensor,
    evaluate_on: dict[str, Tensor],
    *,
    epochs: int,
    batch_size: int,
    lr: float,
    optimiser: str = "adam",
    optimiser_settings: dict | None = None,
    one_cycle: bool = True,
    decay_every: float | None = None,
    corrupt: Callable[[Tensor, torch.Generator], Tensor] | None = None,
    watch: Callable[[nn.Module], Tensor] | None = None,
    after_epoch: Callable[[int, History], None] | None = None,
    evaluate_every: int = 1,
    precision: str = "float32",
    seed: int = 0,
) -> tuple[State, History]:
    """Minimise the mean squared error between inputs (N, …) and their reconstructions (N, D).

    The learning rate follows one cycle, or with ``decay_every`` is divided by ten every so many epochs instead, or is
    constant. ``corrupt`` maps a batch and a generator to what the model is given instead; what it has to return stays
    the clean batch (Vincent et al. 2008). ``after_epoch`` gets the number of epochs done and the history so far, and
    may raise to end a training that is not worth going on with.

    ``precision`` "bfloat16" multiplies in it while training; what is evaluated is computed in float32.

    History, one entry an epoch: ``train_loss`` (mean over the epoch, while training), ``train_seconds``, and
    ``<name>_loss`` for each set of ``evaluate_on`` (after every ``evaluate_every``-th epoch and the last). All losses
    are squared errors per element, and what is evaluated is not corrupted. With ``watch``, the weights come with
    ``watched`` (epochs, …), what it returned for the model after each epoch. Raises Diverged when the loss is not
    finite, ValueError for an unknown optimiser or precision.
    """
    on = device()
    half = _multiplying_in(precision, on)
    model = _build(build, seed).to(on, memory_format=torch.channels_last)
    steps = -(-len(train) // batch_size)
    opt = _optimiser(model, optimiser, lr, optimiser_settings)
    schedule = _schedule(opt, lr, epochs, steps, one_cycle, decay_every)
    order, noise = torch.Generator().manual_seed(seed + ORDER), torch.Generator().manual_seed(seed + NOISE)
    inputs = train.flatten(1).to(on)
    history: History = {"train_loss": [], "train_seconds": []}
    watched = []
    with torch.random.fork_rng():
        torch.manual_seed(seed + DROPOUT)
        for epoch in progress.epochs(epochs, "autoencoder"):
            total, start = torch.zeros((), device=on), time.perf_counter()
            for index in batches(len(inputs), batch_size, order):
                x = inputs[index]
                with half():
                    rebuilt = model(corrupt(x, noise) if corrupt else x)
                loss = F.mse_loss(rebuilt.float(), x)
                opt.zero_grad(set_to_none=True)
                loss.backward()
                opt.step()
                schedule.step()
                total += loss.detach() * len(x)
            history["train_loss"].append(_finite(total.item() / len(inputs), epoch, lr))
            history["train_seconds"].append(time.perf_counter() - start)
            if (epoch + 1) % evaluate_every == 0 or epoch + 1 == epochs:
                for name, held_out in evaluate_on.items():
                    history.setdefault(f"{name}_loss", []).append(reconstruction_error(model, held_out))
            if watch:
                watched.append(_watched(watch, model))
            if after_epoch:
                after_epoch(epoch + 1, history)
    return _state(model) | ({"watched": torch.stack(watched)} if watch else {}), history


def reconstruction_error(model: nn.Module, inputs: Tensor) -> float:
    """Mean squared error per element between inputs (N, …) and their reconstructions, where the model lies.

    Dropout is off.
    """
    on, training, total = next(model.parameters()).device, model.training, 0.0
    model.eval()
    with torch.inference_mode():
        for x in inputs.flatten(1).split(1000):
            total += F.mse_loss(model(x.to(on)), x.to(on), reduction="sum").item()
    model.train(training)
    return total / inputs.numel()


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
    seed: int = 0,
) -> tuple[State, History]:
    """Maximise the evidence lower bound (ELBO) of images (N, …) in [0, 1] with Adam and one sample of q(z|x) each.

    History, one entry an epoch, in nats per image: ``train_reconstruction`` and ``train_kl`` (means over the epoch,
    while training), the same for each set of ``evaluate_on`` after the epoch, and ``train_seconds``.
    −ELBO is their sum. With ``watch``, the weights come with ``watched`` (epochs, …), what it returned for the model
    after each epoch. ``precision`` "bfloat16" multiplies in it while training; what is evaluated is computed in
    float32. Raises Diverged when the loss is not finite, ValueError for an unknown precision.
    """
    on = device()
    half = _multiplying_in(precision, on)
    vae = _build(build, seed).to(on, memory_format=torch.channels_last)
    steps = -(-len(train) // batch_size)
    opt = torch.optim.Adam(vae.parameters(), lr, fused=True)
    schedule = _schedule(opt, lr, epochs, steps, one_cycle)
    order, noise = torch.Generator().manual_seed(seed + ORDER), torch.Generator().manual_seed(seed + NOISE)
    inputs = train.flatten(1).to(on)
    history: History = {"train_reconstruction": [], "train_kl": [], "train_seconds": []}
    watched = []
    for epoch in progress.epochs(epochs, "VAE"):
        totals, start = torch.zeros(2, device=on), time.perf_counter()
        for index in batches(len(inputs), batch_size, order):
            with half():
                terms = elbo_terms(vae, inputs[index], noise)
            opt.zero_grad(set_to_none=True)
            (terms.sum() / len(index)).backward()
            opt.step()
            schedule.step()
            totals += terms.detach()
        reconstruction, kl = (totals / len(inputs)).tolist()
        _finite(reconstruction + kl, epoch, lr)
        history["train_seconds"].append(time.perf_counter() - start)
        history["train_reconstruction"].append(reconstruction)
        history["train_kl"].append(kl)
        for name, held_out in evaluate_on.items():
            reconstruction, kl = negative_elbo(vae, held_out, seed)
            history.setdefault(f"{name}_reconstruction", []).append(reconstruction)
            history.setdefault(f"{name}_kl", []).append(kl)
        if watch:
            watched.append(_watched(watch, vae))
    return _state(vae) | ({"watched": torch.stack(watched)} if watch else {}), history


def elbo_terms(vae: VAE, x: Tensor, noise: torch.Generator) -> Tensor:
    """The two terms of −ELBO (2,), reconstruction and KL, in nats, summed over a batch of images (B, …)."""
    mean, log_variance = (output.float() for output in vae.encode(x))  # of whatever precision its layers have
    z = reparameterize(mean, log_variance, torch.randn(mean.shape, generator=noise).to(x.device))
    return torch.stack([reconstruction_loss(vae.decode(z).float(), x).sum(), kl_to_prior(mean, log_variance).sum()])


def negative_elbo(vae: VAE, images: Tensor, seed: int = 0) -> tuple[float, float]:
    """Reconstruction and KL in nats per image (N, …), with one sample of q(z|x) each, the same for equal seeds."""
    on, noise = next(vae.parameters()).device, torch.Generator().manual_seed(seed + NOISE)
    with torch.inference_mode():
        totals = sum(elbo_terms(vae, x.to(on), noise).double() for x in images.flatten(1).split(1000))
    return tuple((totals / len(images)).tolist())


# history of a GAN: losses, mean verdicts D(x) and D(G(z)), and the shares that the discriminator gets right
GAN_TRACES = ("d_loss", "g_loss", "d_real", "d_fake", "real_accuracy", "fake_accuracy")


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
    average: float | None = None,
    real_target: float = 1.0,
    guide: Callable[[Tensor], Tensor] | None = None,
    one_pass: bool = False,
    precision: str = "float32",
    trace_every: int | None = None,
    watch: Callable[[nn.Module], Tensor] | None = None,
    seed: int = 0,
) -> tuple[State, History]:
    """Train generator and discriminator against each other on images (N, …), with Adam and the non-saturating loss.

    ``real`` has the range and shape of the generator's images. The networks are updated in turn (``update_in_turn``),
    or with ``one_pass`` at once, from one pass through both (``adversarial_gradients``). ``average`` is the decay of an
    exponential moving average of the generator's weights (shorter in the first steps), which is then what is returned,
    shown and evaluated (Yazıcı et al. 2019). The learning rate is constant, or divided by ten every ``decay_every``
    epochs. ``real_target`` below 1 smooths the labels of real images (Salimans et al. 2016), ``guide`` maps generated
    images to a loss (B,) that the generator minimises as well. ``precision`` "bfloat16" computes layers with eight
    bits of mantissa; the weights and losses stay float32.

    History, means of an epoch: ``d_loss``, ``g_loss`` (without the guide), ``d_real`` = D(x), ``d_fake`` = D(G(z)),
    ``real_accuracy``, ``fake_accuracy`` (the shares that the discriminator gets right), and ``seconds``; with
    ``trace_every`` also ``trace_…``, the same over that many steps (fewer in the last bin of an epoch).
    ``<name>_accuracy`` is, after each epoch and without dropout, the share of a set of ``evaluate_on`` that is called
    real, and ``generated_accuracy`` the share of 2,000 generated images that is called generated. The weights are
    named ``generator.…`` and ``discriminator.…``; with ``watch``, ``watched`` (epochs, …) is what it returned for the
    generator after each epoch. Raises Diverged when a loss is not finite, and ValueError for fewer images than one
    batch, an unknown precision, one pass through a discriminator with batch norm, or a set that is empty or has a
    reserved name.
    """
    if len(real) < batch_size:
        raise ValueError(f"{len(real)} images are less than one batch of {batch_size}")
    evaluate_on = evaluate_on or {}
    if unfit := [name for name, x in evaluate_on.items() if name in ("real", "fake", "generated") or not len(x)]:
        raise ValueError(f"evaluate_on[{unfit[0]!r}] is empty, or has a name that the history uses itself")
    on = device()
    generator, discriminator = (
        _build(b, seed).to(on, memory_format=torch.channels_last) for b in (build_generator, build_discriminator)
    )
    if one_pass and _has_batch_norm(discriminator):
        raise ValueError("batch norm in the discriminator mixes images, so that one pass cannot give both gradients")
    shown = copy.deepcopy(generator).requires_grad_(False).eval()
    settings = {"lr": lr, "betas": tuple(betas), "fused": True}
    g_opt = torch.optim.Adam(generator.parameters(), **settings)
    d_opt = torch.optim.Adam(discriminator.parameters(), **settings)
    steps = len(real) // batch_size  # whole batches only
    schedules = [_schedule(opt, lr, epochs, steps, False, decay_every) for opt in (g_opt, d_opt)]
    order, noise = torch.Generator().manual_seed(seed + ORDER), torch.Generator().manual_seed(seed + NOISE)
    real = real.to(on)
    history: History = {name: [] for name in (*GAN_TRACES, "seconds")}
    trace: History = {name: [] for name in history}
    watched = []
    with torch.random.fork_rng():
        torch.manual_seed(seed + DROPOUT)
        for epoch in progress.epochs(epochs, f"GAN lr {lr:g}"):
            log, stamps = torch.zeros(steps, len(GAN_TRACES), device=on), [time.perf_counter()]
            for step, index in enumerate(list(batches(len(real), batch_size, order))[:steps]):
                z = torch.randn(batch_size, latent, generator=noise).to(on)
                terms = {"real_target": real_target, "guide": guide, "precision": precision}
                if one_pass:
                    logits = adversarial_gradients(generator, discriminator, real[index], z, **terms)
                    fooled = logits[1]
                    d_opt.step()
                    g_opt.step()
                else:
                    fresh = torch.randn(batch_size, latent, generator=noise).to(on)
                    players = (generator, discriminator, g_opt, d_opt)
                    logits, fooled = update_in_turn(*players, real[index], z, fresh, **terms)
                log[step] = _verdicts(logits, fooled, real_target)
                for schedule in schedules:
                    schedule.step()
                done = epoch * steps + step
                with torch.no_grad():
                    keep = min(average or 0.0, (1 + done) / (10 + done))
                    torch._foreach_lerp_(list(shown.parameters()), list(generator.parameters()), 1 - keep)
                if trace_every:
                    stamps.append(time.perf_counter())
            for name, value in zip(GAN_TRACES, log.mean(0).tolist(), strict=True):
                history[name].append(_finite(value, epoch, lr))
            history["seconds"].append(time.perf_counter() - stamps[0])
            for begin in range(0, steps, trace_every) if trace_every else ():
                end = min(begin + trace_every, steps)
                for name, value in zip(GAN_TRACES, log[begin:end].mean(0).tolist(), strict=True):
                    trace[name].append(value)
                trace["seconds"].append(stamps[end] - stamps[begin])
            probe = torch.Generator().manual_seed(seed + PROBE)
            if watch or evaluate_on or epoch + 1 == epochs:
                settle(shown, latent, probe)
            if watch:
                watched.append(_watched(watch, shown))
            if evaluate_on:
                with torch.inference_mode():
                    z = torch.randn(2000, latent, generator=probe)
                    generated = torch.cat([shown(some.to(on)) for some in z.split(250)])
                accuracies = {name: real_share(discriminator, images) for name, images in evaluate_on.items()}
                for name, value in {**accuracies, "generated": 1 - real_share(discriminator, generated)}.items():
                    history.setdefault(f"{name}_accuracy", []).append(value)
    if trace_every:
        history |= {f"trace_{name}": values for name, values in trace.items()}
    state = {f"generator.{k}": v for k, v in _state(shown).items()}
    state |= {f"discriminator.{k}": v for k, v in _state(discriminator).items()}
    return state | ({"watched": torch.stack(watched)} if watch else {}), history


def update_in_turn(
    generator: nn.Module,
    discriminator: nn.Module,
    g_opt: torch.optim.Optimizer,
    d_opt: torch.optim.Optimizer,
    real: Tensor,
    z: Tensor,
    fresh: Tensor,
    real_target: float = 1.0,
    guide: Callable[[Tensor], Tensor] | None = None,
    precision: str = "float32",
) -> tuple[Tensor, Tensor]:
    """One step of the discriminator, then one of the generator against it (Goodfellow et al. 2014).

    L(D) = ½ BCE(D(x), ``real_target``) + ½ BCE(D(G(z)), 0); L(G) = BCE(D(G(z')), 1), plus the mean of
    ``guide(G(z'))`` (B,) if there is a guide, with ``fresh`` noise z'. Both kinds of images pass the discriminator as
    one batch; with batch norm in it each kind on its own, because generated images alone is what it meets in the
    generator's step. Returns its logits (2, B), real first, and those (B,) of the generator's step.
    """
    half = _multiplying_in(precision, real.device)
    with half():
        with torch.no_grad():
            fake = generator(z).float()
        kinds = [real, fake] if _has_batch_norm(discriminator) else [torch.cat([real, fake])]
        logits = torch.cat([discriminator(x) for x in kinds]).float().view(2, -1)
    targets = torch.tensor([[real_target], [0.0]], device=logits.device).expand_as(logits)
    d_opt.zero_grad()
    F.binary_cross_entropy_with_logits(logits, targets).backward()
    d_opt.step()

    with half():
        made = generator(fresh)
        fooled = discriminator(made).float().flatten()
    g_loss = F.binary_cross_entropy_with_logits(fooled, torch.ones_like(fooled))
    if guide:
        g_loss = g_loss + guide(made.float()).mean()
    # only the generator's gradients: the discriminator's weights stay as they are
    weights = list(generator.parameters())
    for weight, gradient in zip(weights, torch.autograd.grad(g_loss, weights), strict=True):
        weight.grad = gradient
    g_opt.step()
    return logits.detach(), fooled.detach()


def _has_batch_norm(network: nn.Module) -> bool:
    """Does it mix the images of a batch?"""
    return any(isinstance(layer, nn.modules.batchnorm._BatchNorm) for layer in network.modules())


def adversarial_gradients(
    generator: nn.Module,
    discriminator: nn.Module,
    real: Tensor,
    z: Tensor,
    real_target: float = 1.0,
    guide: Callable[[Tensor], Tensor] | None = None,
    precision: str = "float32",
) -> Tensor:
    """Put the gradients of both losses into ``.grad`` of both networks' weights, from one pass through each.

    L(D) = ½ BCE(D(x), ``real_target``) + ½ BCE(D(G(z)), 0); L(G) = BCE(D(G(z)), 1), plus the mean of
    ``guide(G(z))`` (B,) if there is a guide. Real images (B, …) and noise (B, latent) → logits (2, B), real first.

    Both are gradients at the present weights, of the same noise and the same dropout: simultaneous updates, where
    ``update_in_turn`` passes generated images through the discriminator twice. But both gradients take the same way,
    from the logit l of an image back through the discriminator, and differ only in where they start:
    dL(D)/dl = σ(l) / 2B and dL(G)/dl = (σ(l) − 1) / B. Their ratio, −2 exp(−l), turns the one into the other, image by
    image, as long as the discriminator treats each image on its own (no batch norm in it). Below l = −60 the ratio is
    kept constant, to stay finite.
    """
    half = _multiplying_in(precision, real.device)
    generator.zero_grad()
    discriminator.zero_grad()
    with half():
        fake = generator(z)
    seen = fake.detach().float().requires_grad_()
    with half():
        logits = discriminator(torch.cat([real, seen])).float().view(2, -1)
    targets = torch.tensor([[real_target], [0.0]], device=logits.device).expand_as(logits)
    F.binary_cross_entropy_with_logits(logits, targets).backward()
    logits = logits.detach()
    ratio = -2 * torch.exp(-logits[1].clamp_min(-60))
    gradient = seen.grad * ratio.view(-1, *[1] * (seen.dim() - 1))
    if guide:
        gradient += torch.autograd.grad(guide(seen).mean(), seen)[0]
    fake.backward(gradient.to(fake.dtype))
    return logits


def settle(generator: nn.Module, latent: int, noise: torch.Generator) -> nn.Module:
    """Measure the batch-norm statistics of a generator anew, on 2,000 noise vectors; returns it, in evaluation mode.

    An average of weights needs statistics of its own; those met in training belong to other weights.
    """
    on = next(generator.parameters()).device
    update_bn([torch.randn(200, latent, generator=noise).to(on) for _ in range(10)], generator)
    return generator.eval()


def _verdicts(logits: Tensor, fooled: Tensor, real_target: float) -> Tensor:
    """What GAN_TRACES names, of logits (2, B) in the discriminator's step and (B,) in the generator's."""
    real, fake = logits
    d_real = F.binary_cross_entropy_with_logits(real, torch.full_like(real, real_target))
    certain = logits.sigmoid().mean(1)
    right = torch.stack([(real > 0).float().mean(), (fake < 0).float().mean()])
    return torch.cat(
        [torch.stack([(d_real + F.softplus(fake).mean()) / 2, F.softplus(-fooled).mean()]), certain, right]
    )


def real_share(discriminator: nn.Module, images: Tensor) -> float:
    """Share of the images (N, …) that a discriminator calls real, where it lies; dropout is off."""
    on, training = next(discriminator.parameters()).device, discriminator.training
    discriminator.eval()
    with torch.inference_mode():
        real = sum((discriminator(x.to(on)) > 0).sum().item() for x in images.split(250))
    discriminator.train(training)
    return real / len(images)


def outputs(model: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    """``model(inputs)``; with ``functools.partial`` over ``inputs`` something to ``watch``."""
    return model(inputs)


def _watched(watch: Callable[[nn.Module], Tensor], model: nn.Module) -> Tensor:
    training = model.training
    model.eval()
    with torch.inference_mode():
        seen = watch(model).cpu()
    model.train(training)
    return seen


def part(state: State, name: str) -> State:
    """The weights of one network, ``name``, out of those of several: {"name.x": …} → {"x": …}."""
    return {key.removeprefix(f"{name}."): value for key, value in state.items() if key.startswith(f"{name}.")}


def _multiplying_in(precision: str, on: torch.device) -> Callable[[], torch.autocast]:
    """Makes the context in which matrix products have this precision."""
    if precision not in ("float32", "bfloat16"):
        raise ValueError(f'precision must be "float32" or "bfloat16", got {precision!r}')
    return partial(torch.autocast, on.type, torch.bfloat16, enabled=precision == "bfloat16")


def _optimiser(model: nn.Module, name: str, lr: float, settings: dict | None) -> torch.optim.Optimizer:
    """One of OPTIMISERS for the weights of a model that are not frozen."""
    if name not in OPTIMISERS:
        raise ValueError(f"unknown optimiser {name!r}; choose one of {', '.join(OPTIMISERS)}")
    fused = {} if name == "rmsprop" else {"fused": True}  # the one without a fused kernel
    return OPTIMISERS[name]([p for p in model.parameters() if p.requires_grad], lr, **fused, **(settings or {}))


def _schedule(
    opt: torch.optim.Optimizer, lr: float, epochs: int, steps: int, one_cycle: bool, decay_every: float | None = None
) -> torch.optim.lr_scheduler.LRScheduler:
    """One cycle, a tenth every so many epochs, or constant; to be stepped after every batch."""
    if decay_every:
        return torch.optim.lr_scheduler.StepLR(opt, max(1, round(decay_every * steps)), 0.1)
    if one_cycle:
        return torch.optim.lr_scheduler.OneCycleLR(opt, lr, total_steps=epochs * steps)
    return torch.optim.lr_scheduler.ConstantLR(opt, 1.0)


def _losses(logits: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy (K,) of logits (K, B, 10) with the same labels (B,)."""
    k, b, classes = logits.shape
    return F.cross_entropy(logits.reshape(-1, classes), y.repeat(k), reduction="none").view(k, b).mean(1)


def _build(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    """Build on the CPU from the seed, whatever was drawn before and wherever training will run."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def _finite(loss: float, epoch: int, lr: float) -> float:
    if not math.isfinite(loss):
        raise Diverged(f"the training loss became {loss} in epoch {epoch} at learning rate {lr}; try a smaller one")
    return loss


def _state(model: nn.Module) -> State:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
