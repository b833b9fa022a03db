"""The training loop. A *step* is what a textbook prints: it takes a batch, learns from it, and returns its losses.

``fit`` does everything else: batch order, means, progress, checkpoints, and an error if a loss is not finite. Initial
weights, batch order, augmentation and noise have separate random streams, so that a change in one does not shift the
others.
"""

import math
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from lib import progress
from lib.compute import device
from lib.data.tensors import batches
from lib.precision import exactly, multiplying_in
from lib.training.checkpoint import Checkpoint, captured, restored

History = dict[str, list]
State = dict[str, Tensor]

OPTIMISERS = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "rmsprop": torch.optim.RMSprop,
}
# offsets that are added to the training seed, one for each random stream
ORDER = 1_000_003  # order of the batches
AUGMENT = 2_000_003
NOISE = 3_000_017  # samples drawn during training
DROPOUT = 5_000_011
PROBE = 7_000_003  # samples drawn only for measurements, which must not change the training


class Diverged(FloatingPointError):
    """A loss is no longer a finite number."""


class Learner:
    """The trainable weights of a network, and the optimiser that updates them.

    ``optimiser`` is a key of OPTIMISERS; ``settings`` are passed to it. The learning rate rises to ``lr`` and falls in
    one cycle of ``cycle`` steps (Smith & Topin 2019), or is divided by ten every ``decay`` steps, or is constant.
    Raises ValueError for an unknown optimiser.
    """

    def __init__(
        self,
        network: nn.Module,
        lr: float,
        optimiser: str = "adam",
        settings: dict | None = None,
        cycle: int | None = None,
        decay: int | None = None,
    ):
        if optimiser not in OPTIMISERS:
            raise ValueError(f"unknown optimiser {optimiser!r}; choose one of {', '.join(OPTIMISERS)}")
        fused = {} if optimiser == "rmsprop" else {"fused": True}  # RMSprop has no fused kernel
        self.weights = [weight for weight in network.parameters() if weight.requires_grad]
        self.optimiser = OPTIMISERS[optimiser](self.weights, lr, **fused, **(settings or {}))  # pyrefly: ignore
        self.schedule = None
        if decay:
            self.schedule = torch.optim.lr_scheduler.StepLR(self.optimiser, decay, 0.1)
        elif cycle:
            self.schedule = torch.optim.lr_scheduler.OneCycleLR(self.optimiser, lr, total_steps=cycle)

    def descend(self, loss: Tensor) -> None:
        """One step of the optimiser down the gradient of ``loss``."""
        with exactly():
            gradients = torch.autograd.grad(loss, self.weights, allow_unused=True)
        for weight, gradient in zip(self.weights, gradients, strict=True):
            if gradient is not None and gradient.stride() != weight.stride():
                # a fused optimiser reads both in memory order
                gradient = torch.empty_like(weight).copy_(gradient)
            weight.grad = gradient
        self.step()

    def step(self) -> None:
        """One step of the optimiser along the gradients stored in ``.grad``."""
        self.optimiser.step()
        if self.schedule:
            self.schedule.step()

    def state_dict(self) -> dict[str, Any]:
        """The states of the optimiser and its schedule."""
        schedule = self.schedule.state_dict() if self.schedule else {}
        return {"optimiser": self.optimiser.state_dict(), "schedule": schedule}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the states that ``state_dict`` returned."""
        self.optimiser.load_state_dict(state["optimiser"])
        if self.schedule:
            self.schedule.load_state_dict(state["schedule"])


def fit(
    step: Callable[[Tensor], dict[str, Tensor]],
    n: int,
    *,
    epochs: int,
    batch_size: int,
    parts: dict[str, Any],
    seed: int = 0,
    title: str = "training",
    prefix: str = "",
    evaluate: Callable[[int], dict[str, Any]] | None = None,
    after_epoch: Callable[[int, History], None] | None = None,
    whole_batches: bool = False,
    trace_every: int | None = None,
    precision: str = "float32",
) -> History:
    """Call ``step(index)`` for every shuffled batch of ``n`` examples, epoch after epoch.

    A step learns from the examples with these indices (B,) and returns {name: mean over the batch}, where a mean has
    shape () or (K,). ``parts`` {name: network, Learner or random generator} must list everything that a step changes.
    Inside ``checkpoint.checkpoints``, an interrupted run then resumes and ends with the same bytes.

    ``evaluate`` receives the number of finished epochs and returns further values or tensors for the history.
    ``after_epoch`` receives the number of finished epochs and the history so far, and may raise an exception to stop
    early. ``whole_batches`` drops the last batch of an epoch if it is smaller. ``precision`` is that of the matrix
    products in a step (``precision.multiplying_in``).

    The history has one entry per epoch for each name. The means of the step, and ``seconds`` (the duration of the
    steps), get ``prefix`` before their names. ``trace_every`` adds ``trace_…``, the same over that many steps (fewer in
    the last bin of an epoch). Raises Diverged if an entry is not finite, ValueError if ``whole_batches`` leaves none.
    """
    if whole_batches and n < batch_size:
        raise ValueError(f"{n} examples are less than one batch of {batch_size}")
    steps = n // batch_size if whole_batches else -(-n // batch_size)
    order, history, begin, logs, spent = stream(seed, ORDER), defaultdict(list), 0, [], 0.0
    checkpoint = Checkpoint()
    with torch.random.fork_rng():
        torch.manual_seed(seed + DROPOUT)
        if found := checkpoint.read():
            restored(parts, found["parts"])
            order.set_state(found["order"])
            _set_rng(found["rng"])
            history.update(found["history"])
            begin, logs, spent = found["epoch"], found["logs"], found["seconds"]

        shown = progress.shown(title, epochs, begin + len(logs) / steps)
        with checkpoint.interruptible(title), shown as advance:
            for epoch in range(begin, epochs):
                before = order.get_state()
                chosen = list(batches(n, batch_size, order))[:steps]
                now = time.perf_counter()
                stamps = [now - spent, *[now] * len(logs)]
                for index in chosen[len(logs) :]:
                    with multiplying_in(precision):
                        logs.append(_losses(step(index)))
                    stamps.append(time.perf_counter())
                    advance(epoch + len(logs) / steps, progress.note(history))
                    if checkpoint.due():
                        state = {"parts": captured(parts), "order": before, "rng": _rng(), "history": dict(history)}
                        checkpoint.write(state | {"epoch": epoch, "logs": logs, "seconds": stamps[-1] - stamps[0]})
                sizes = torch.tensor([float(len(index)) for index in chosen])
                for name, value in _means(logs, sizes).items():
                    history[prefix + name].append(_finite(value, prefix + name, epoch))
                history[f"{prefix}seconds"].append(stamps[-1] - stamps[0])
                for start in range(0, steps, trace_every) if trace_every else ():
                    end = min(start + trace_every, steps)  # pyrefly: ignore
                    for name, value in _means(logs[start:end], sizes[start:end]).items():
                        history[f"trace_{name}"].append(value)
                    history["trace_seconds"].append(stamps[end] - stamps[start])
                logs, spent = [], 0.0
                for name, value in (evaluate(epoch + 1) if evaluate else {}).items():
                    history[name].append(_finite(value, name, epoch))
                if after_epoch:
                    after_epoch(epoch + 1, history)
    return dict(history)


def _losses(returned: object) -> dict[str, Tensor]:
    """What a step returned, cut off from its gradients. Raises TypeError unless these are tensors, means, by name."""
    if not isinstance(returned, dict) or not returned:
        raise TypeError(f'a step must return its losses by name, as {{"loss": loss}}; this one returned {returned!r}')
    for name, value in returned.items():
        said = f"the step returned {name!r}"
        if not isinstance(value, Tensor):
            kind = type(value).__name__
            raise TypeError(f"{said} as a {kind}: return the tensor itself, without item() or float()")
        if value.dim() > 1:
            raise TypeError(f"{said} with shape {tuple(value.shape)}: return its mean over the batch")
    return {name: value.detach() for name, value in returned.items()}


def _means(logs: list[dict[str, Tensor]], sizes: Tensor) -> dict[str, float | list[float]]:
    """Means over the examples of several batches."""
    share = sizes / sizes.sum()
    return {name: (share @ torch.stack([log[name] for log in logs]).float().cpu()).tolist() for name in logs[0]}


def _finite(value: Any, name: str, epoch: int) -> Any:
    numbers = value if isinstance(value, list) else [value]
    for number in numbers:
        if isinstance(number, float) and not math.isfinite(number):
            raise Diverged(f"{name} became {number} in epoch {epoch + 1}; try a smaller learning rate")
    return value


def _rng() -> list[Tensor]:
    """State of the random generators used by dropout."""
    on_gpu = [torch.cuda.get_rng_state()] if device().type == "cuda" else []
    return [torch.get_rng_state(), *on_gpu]


def _set_rng(states: list[Tensor]) -> None:
    torch.set_rng_state(states[0])
    if device().type == "cuda" and len(states) > 1:
        torch.cuda.set_rng_state(states[1])


def stream(seed: int, offset: int) -> torch.Generator:
    """A separate random stream, on the CPU, so that the numbers do not depend on the device."""
    return torch.Generator().manual_seed(seed + offset)


def normal_draws(source: torch.Generator) -> Callable[..., Tensor]:
    """``draw(*shape)`` returns standard normal numbers from this stream, on the training device."""

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=source).to(device())

    return draw


def seeded(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    """A network on the training device, with initial weights that depend only on the seed.

    Raises TypeError if ``build`` is not a class or function that makes a network.
    """
    if isinstance(build, nn.Module):
        kind = type(build).__name__
        raise TypeError(f"build must make a new network, and this is one: give {kind}, or a function that returns it")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build()
        if not isinstance(network, nn.Module):
            raise TypeError(f"build must return a network (torch.nn.Module), not a {type(network).__name__}")
        return network.to(device(), memory_format=torch.channels_last)


def weights(network: nn.Module) -> State:
    """The ``state_dict`` of a network, on the CPU."""
    return {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}


def part(state: State, name: str) -> State:
    """The weights of the network ``name`` from a state of several networks: {"name.x": …} → {"x": …}."""
    return {key.removeprefix(f"{name}."): value for key, value in state.items() if key.startswith(f"{name}.")}


def outputs(model: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    """``model(inputs)``; use it with ``functools.partial`` over ``inputs`` as a ``watch`` function."""
    return model(inputs.to(device()))


def from_noise(model: Callable[[Tensor], Tensor], n: int, latent: int, seed: int) -> Tensor:
    """``model(noise)`` for ``n`` fixed draws of noise; use it with ``functools.partial`` as a ``watch`` function."""
    return outputs(model, torch.randn(n, latent, generator=torch.Generator().manual_seed(seed)))
