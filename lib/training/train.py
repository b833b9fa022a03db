"""What all trainings have in common: optimiser, learning rate, precision, evaluation, and outputs that are watched."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from lib.training.loop import History, Learner, State, fit


def train_networks(
    networks: dict[str, nn.Module],
    learn: Callable[..., dict[str, Tensor]],
    n: int,
    measure: Callable[[Any], dict[str, float]],
    evaluate_on: dict[str, Any],
    *,
    parts: dict[str, Any],
    seed: int,
    epochs: int,
    batch_size: int,
    lr: float,
    optimiser: str = "adam",
    optimiser_settings: dict | None = None,
    one_cycle: bool = True,
    decay_every: float | None = None,
    precision: str = "float32",
    evaluate_every: int = 1,
    trace_every: int | None = None,
    watch: Callable[[nn.Module], Tensor] | None = None,
    after_epoch: Callable[[int, History], None] | None = None,
    shown: Callable[[], nn.Module] | None = None,
    title: str = "training",
    prefix: str = "train_",
    whole_batches: bool = False,
) -> tuple[State, History]:
    """Train networks on ``n`` examples. A trainer of this package gives the rest, and its caller chooses the options.

    The options: ``optimiser`` is a key of ``loop.OPTIMISERS``, ``optimiser_settings`` are passed to it. The learning
    rate follows one cycle up to ``lr`` and down (``one_cycle``, Smith & Topin 2019), or is divided by ten every
    ``decay_every`` epochs, or is constant. ``precision`` is that of the matrix products in a step; weights, losses and
    evaluation are float32. After every ``evaluate_every``-th epoch and the last, each set of ``evaluate_on`` is
    measured. ``trace_every`` adds means over that many steps to the history. ``watch`` maps the network, in evaluation
    mode, to a tensor after each epoch. ``after_epoch`` receives the number of finished epochs and the history so far,
    and may raise an exception to stop early. Random numbers depend on ``seed`` only.

    A trainer's own: ``learn(index, *learners)`` is one step of ``loop.fit``, with a Learner for each network;
    ``measure`` returns {measure: value} of one set, which the history names ``<set>_<measure>``; ``parts`` are the
    random generators and averages that a step changes; ``shown`` returns the network to watch, by default the first;
    ``title``, ``prefix`` and ``whole_batches`` are those of ``fit``.

    Returns {"watched": (epochs, …)}, empty without ``watch``, and the history. Raises Diverged if a loss is not finite,
    ValueError for an unknown optimiser or precision.
    """
    steps = n // batch_size if whole_batches else -(-n // batch_size)
    decay = max(1, round(decay_every * steps)) if decay_every else None
    cycle = epochs * steps if one_cycle else None
    learners = {
        f"{name} learner": Learner(network, lr, optimiser, optimiser_settings, cycle, decay)
        for name, network in networks.items()
    }
    first = next(iter(networks.values()))

    def evaluate(epoch: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, given in evaluate_on.items() if epoch % evaluate_every == 0 or epoch == epochs else ():
            found |= {f"{name}_{key}": value for key, value in measure(given).items()}
        return found | ({"watched": watched(watch, shown() if shown else first)} if watch else {})

    history = fit(
        lambda index: learn(index, *learners.values()),
        n,
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
        parts=networks | learners | parts,
        title=f"{title} lr {lr:g}",
        prefix=prefix,
        evaluate=evaluate,
        after_epoch=after_epoch,
        whole_batches=whole_batches,
        trace_every=trace_every,
        precision=precision,
    )
    seen = history.pop("watched", None)
    return ({"watched": torch.stack(seen)} if seen else {}), history


def watched(watch: Callable[[nn.Module], Tensor], network: nn.Module) -> Tensor:
    """The output of ``watch`` for a network in evaluation mode, on the CPU."""
    training = network.training
    network.eval()
    with torch.inference_mode():
        seen = watch(network).cpu()
    network.train(training)
    return seen
