"""Checkpoints: a long training run saves its state every few minutes, so that it survives a crash.

Nothing here can change a result, so an edit to this module does not make a trained model stale.
"""

import hashlib
import io
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from lib.atomic import write_atomic
from lib.compute import device

CHANGES_NO_RESULT = True  # for ``workbook.fingerprint``
EVERY = 120.0  # seconds between two checkpoints
_open: "Checkpoints | None" = None  # where training in this process writes its checkpoints


class Interrupted(KeyboardInterrupt):
    """A training run was interrupted, after its state was written. A notebook shows this as one line."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


class Checkpoints:
    """A folder with one file for each call of ``fit`` in a training run, numbered in their order."""

    def __init__(self, folder: Path, every: float):
        self.folder, self.every, self.begun = folder, every, 0


@contextmanager
def checkpoints(folder: Path, every: float = EVERY) -> Iterator[None]:
    """Within this block, each ``fit`` writes its state to ``folder`` and resumes from a state that it finds there.

    Use a folder for one training run only: the state in it is not checked against the run.
    """
    global _open
    before, _open = _open, Checkpoints(folder, every)
    try:
        yield
    finally:
        _open = before


class Checkpoint:
    """The checkpoint of one ``fit`` on disk. Without ``checkpoints`` around the call, nothing is written."""

    def __init__(self):
        self.path, self.every, self.last = None, 0.0, time.monotonic()
        self.interrupted = False
        if _open is not None:  # tensors return to the kind of device that they were saved from
            self.path, self.every = _open.folder / f"{_open.begun}.{device().type}.pt", _open.every
            _open.begun += 1

    def due(self) -> bool:
        """Whether it is time to write a checkpoint: every few minutes, and after an interrupt."""
        return self.path is not None and (self.interrupted or time.monotonic() - self.last >= self.every)

    @contextmanager
    def interruptible(self, title: str) -> Iterator[None]:
        """Within this block, the first interrupt waits for the end of the step, because half a step cannot be kept.

        ``write`` then raises Interrupted. A second interrupt acts at once, and so does one that no step follows.
        """
        if self.path is None or threading.current_thread() is not threading.main_thread():
            yield
            return

        def note(*_: Any) -> None:
            self.interrupted = True
            signal.signal(signal.SIGINT, before)

        before, self.title = signal.signal(signal.SIGINT, note), title
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
        if self.interrupted:
            signal.raise_signal(signal.SIGINT)

    def write(self, state: dict) -> None:
        """Write nested dicts and lists of numbers, text and tensors, after a hash of them.

        Raises Interrupted afterwards, if somebody has interrupted the training.
        """
        assert self.path is not None, "write only when due"
        buffer = io.BytesIO()
        torch.save(state, buffer)  # keeps the memory layout of tensors, on which torch's fused optimisers depend
        write_atomic(self.path, hashlib.sha256(buffer.getvalue()).digest() + buffer.getvalue())
        self.last = time.monotonic()
        if self.interrupted:
            raise Interrupted(f"{self.title}: interrupted. What it has learned is kept: run the cell again to go on.")

    def read(self) -> dict | None:
        """The saved state; None if there is none, or if it is damaged. Loading it cannot execute code."""
        if self.path is None or not self.path.is_file():
            return None
        written, content = (found := self.path.read_bytes())[:32], found[32:]
        if written != hashlib.sha256(content).digest():
            return None
        return torch.load(io.BytesIO(content), weights_only=True)


def captured(parts: dict[str, Any]) -> dict[str, Any]:
    """The states of networks, learners (anything with a ``state_dict``) and random generators, by name."""
    return {
        name: part.get_state() if isinstance(part, torch.Generator) else part.state_dict()
        for name, part in parts.items()
    }


def restored(parts: dict[str, Any], states: dict[str, Any]) -> None:
    """Load ``states``, as returned by ``captured``, into the parts."""
    for name, part in parts.items():
        if isinstance(part, torch.Generator):
            part.set_state(states[name])
        else:
            part.load_state_dict(states[name])
