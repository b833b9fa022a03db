"""Training classifiers: one network with any optimiser, or several small ones at once."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.compute import device
from lib.data.tensors import Prepare, Split
from lib.metrics.classification import evaluate
from lib.models.feedforward import FeedForward, FeedForwardStack
from lib.training.loop import AUGMENT, History, Learner, State, fit, rate_steps, seeded, stream, weights


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
    epochs: int,
    batch_size: int,
    lr: float,
    optimiser: str = "adamw",
    optimiser_settings: dict | None = None,
    one_cycle: bool = True,
    augment: Callable[[Tensor, torch.Generator], Tensor] | None = None,
    trace_every: int | None = None,
    evaluate_every: int = 1,
    step: Callable[..., dict[str, Tensor]] = classifier_step,
    seed: int = 0,
) -> tuple[State, History]:
    """Minimise cross-entropy with mini-batches.

    ``one_cycle`` warms the learning rate up to ``lr`` and anneals it (Smith & Topin 2019); otherwise it is constant.
    ``augment`` maps uint8 images and a random generator to uint8 images. ``step`` learns from one batch.

    The history has one entry per epoch: ``train_loss`` and ``train_accuracy`` (means over the epoch, during training),
    ``train_seconds`` (without evaluation), and ``<name>_loss``, ``<name>_accuracy`` for each split of ``evaluate_on``
    (after every ``evaluate_every``-th epoch and the last). ``trace_every`` adds means over that many steps,
    ``trace_loss`` and ``trace_accuracy``, and their duration ``trace_seconds``. Raises Diverged if the loss is not
    finite, ValueError for an unknown optimiser.
    """
    on = device()
    network = seeded(build, seed)
    rate = rate_steps(len(train), epochs, batch_size, one_cycle, None)
    learner = Learner(network, lr, optimiser, optimiser_settings, **rate)
    shifts = stream(seed, AUGMENT)
    images = train.images if augment else prepare(train.images).to(on)  # prepare once if it is the same in every epoch
    labels = train.labels.to(on)

    def learn(index: Tensor) -> dict[str, Tensor]:
        x = prepare(augment(images[index], shifts)).to(on) if augment else images[index]
        return step(network, x, labels[index], learner)

    def measure(epoch: int) -> dict[str, float]:
        found = {}
        for name, split in evaluate_on.items() if due(epoch, evaluate_every, epochs) else ():
            found[f"{name}_loss"], found[f"{name}_accuracy"] = evaluate(network, split, prepare)
        return found

    history = fit(
        learn,
        len(train),
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
        parts={"network": network, "learner": learner, "shifts": shifts},
        title=f"{optimiser} lr {lr:g}",
        prefix="train_",
        evaluate=measure,
        trace_every=trace_every,
    )
    return weights(network), history


def due(epoch: int, every: int, epochs: int) -> bool:
    """Whether to evaluate after this epoch: after each ``every``-th, and after the last."""
    return epoch % every == 0 or epoch == epochs


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
    stack = FeedForwardStack([seeded(partial(FeedForward, hidden, a), seed) for a, _ in networks]).to(on)
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
    return (losses / len(split)).tolist(), (hits / len(split)).tolist()


def _losses(logits: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy (K,) of logits (K, B, 10); all K share the labels (B,)."""
    k, b, classes = logits.shape
    return F.cross_entropy(logits.reshape(-1, classes), y.repeat(k), reduction="none").view(k, b).mean(1)
