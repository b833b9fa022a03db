"""Training classifiers: one network with any optimiser, or several small ones at once."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.compute import device
from lib.data.tensors import Prepare, Split
from lib.metrics.classification import evaluate
from lib.models.feedforward import FeedForward, FeedForwardStack
from lib.training.loop import AUGMENT, History, Learner, State, fit, seeded, stream, weights
from lib.training.train import train_networks


def classifier_step(network: nn.Module, x: Tensor, y: Tensor, learner: Learner) -> dict[str, Tensor]:
    """One gradient step on the cross-entropy of a batch: inputs (B, …), labels (B,)."""
    logits = network(x)
    loss = F.cross_entropy(logits, y)
    learner.descend(loss)
    return {"loss": loss, "accuracy": (logits.argmax(1) == y).float().mean()}


def train_classifier(
    build: Callable[[], nn.Module],
    train: Split,
    evaluate_on: dict[str, Split],
    *,
    prepare: Prepare,
    augment: Callable[[Tensor, torch.Generator], Tensor] | None = None,
    step: Callable[..., dict[str, Tensor]] = classifier_step,
    seed: int = 0,
    **options: Any,
) -> tuple[State, History]:
    """Minimise cross-entropy with mini-batches.

    ``options`` are those of ``train_networks``: epochs, batch_size, lr and others; the optimiser is AdamW if none is
    named. ``augment`` maps uint8 images and a random generator to uint8 images. ``step`` learns from one batch.

    The history has one entry per epoch: ``train_loss`` and ``train_accuracy`` (means over the epoch, during training),
    ``train_seconds`` (without evaluation), and ``<name>_loss``, ``<name>_accuracy`` for each split of ``evaluate_on``.
    With ``watch``, the weights include ``watched`` (epochs, …). Raises what ``train_networks`` raises.
    """
    on = device()
    network = seeded(build, seed)
    shifts = stream(seed, AUGMENT)
    images = train.images if augment else prepare(train.images).to(on)  # prepare once if it is the same in every epoch
    labels = train.labels.to(on)

    def learn(index: Tensor, learner: Learner) -> dict[str, Tensor]:
        x = prepare(augment(images[index], shifts)).to(on) if augment else images[index]
        return step(network, x, labels[index], learner)

    def measure(split: Split) -> dict[str, float]:
        return dict(zip(("loss", "accuracy"), evaluate(network, split, prepare), strict=True))

    own = {"parts": {"shifts": shifts}, "title": "classifier", "seed": seed}
    options = {"optimiser": "adamw"} | options
    seen, history = train_networks({"network": network}, learn, len(train), measure, evaluate_on, **own, **options)  # pyrefly: ignore
    return weights(network) | seen, history


def stack_step(stack: FeedForwardStack, x: Tensor, y: Tensor, rates: Tensor) -> dict[str, Tensor]:
    """One step of gradient descent for K networks at once, each with its own learning rate (K,)."""
    losses = _losses(stack(x), y)
    wide = rates.repeat_interleave(stack.W2.shape[1])  # one rate for each column of W1
    steps = {stack.W1: wide, stack.b1: wide, stack.W2: rates.view(-1, 1, 1), stack.b2: rates.view(-1, 1)}
    gradients = torch.autograd.grad(losses.sum(), list(steps))
    with torch.no_grad():
        for (weight, rate), gradient in zip(steps.items(), gradients, strict=True):
            weight.addcmul_(rate, gradient, value=-1)
    return {"loss": losses}


def train_stack(
    networks: Sequence[tuple[str, float]],
    hidden: int,
    train: Split,
    evaluate_on: dict[str, Split],
    *,
    prepare: Prepare,
    epochs: int,
    batch_size: int = 128,
    precision: str = "float32",
    seed: int = 0,
) -> tuple[State, History]:
    """Train one FeedForward per (activation, learning rate) with plain SGD, all in one pass over the batches.

    Every network starts from the same seed and sees the same batches, as if it were trained alone (a test compares the
    two). Returns the weights of the FeedForwardStack and a history with a list of K numbers per epoch: ``train_loss``,
    and ``<name>_loss``, ``<name>_accuracy`` for each split of ``evaluate_on``. ``precision`` is that of the matrix
    products during training; evaluation always uses float32.
    """
    on = device()
    stack = FeedForwardStack([seeded(partial(FeedForward, hidden, a), seed) for a, _ in networks]).to(on)  # pyrefly: ignore
    rates = torch.tensor([rate for _, rate in networks], device=on)
    inputs, labels = prepare(train.images).to(on), train.labels.to(on)

    def learn(index: Tensor) -> dict[str, Tensor]:
        return stack_step(stack, inputs[index], labels[index], rates)

    def measure(_: int) -> dict[str, list[float]]:
        found = {}
        for name, split in evaluate_on.items():
            found[f"{name}_loss"], found[f"{name}_accuracy"] = evaluate_stack(stack, split, prepare)
        return found

    history = fit(
        learn,
        len(train),
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
        parts={"stack": stack},
        title=f"{len(networks)} networks of width {hidden}",
        prefix="train_",
        evaluate=measure,
        precision=precision,
    )
    return weights(stack), history


def evaluate_stack(stack: FeedForwardStack, split: Split, prepare: Prepare) -> tuple[list[float], list[float]]:
    """Mean cross-entropy in nats and accuracy in 0..1 of each network over a split."""
    on, losses, hits = device(), 0.0, 0.0
    with torch.inference_mode():
        for x, y in zip(split.images.split(1000), split.labels.to(on).split(1000), strict=True):
            logits = stack(prepare(x).to(on))
            losses = losses + _losses(logits, y) * len(y)
            hits = hits + (logits.argmax(2) == y).sum(1)
    return (losses / len(split)).tolist(), (hits / len(split)).tolist()  # pyrefly: ignore


def _losses(logits: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy (K,) of logits (K, B, 10); all K share the labels (B,)."""
    k, b, classes = logits.shape
    return F.cross_entropy(logits.reshape(-1, classes), y.repeat(k), reduction="none").view(k, b).mean(1)
