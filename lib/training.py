"""Training loops. Each seeds itself, keeps its data in memory and returns (weights, history).

History is a dict of plain lists, so that a figure drawn from a stored model equals one drawn after training.
Separate generators for initial weights, batch order and augmentation keep one from shifting another.
"""

import math
import time
from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib import progress
from lib.compute import device
from lib.data import Prepare, Split, batches
from lib.metrics import evaluate
from lib.models.feedforward import FeedForward, FeedForwardStack

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
    if optimiser not in OPTIMISERS:
        raise ValueError(f"unknown optimiser {optimiser!r}; choose one of {', '.join(OPTIMISERS)}")
    on = device()
    model = _build(build, seed).to(on, memory_format=torch.channels_last)
    settings = dict(optimiser_settings or {})
    if optimiser != "rmsprop":  # the one without a fused kernel
        settings["fused"] = True
    opt = OPTIMISERS[optimiser](model.parameters(), lr, **settings)
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
