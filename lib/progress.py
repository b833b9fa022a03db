"""Progress of long computations: one line that is updated in a notebook, an occasional line in a batch run.

Nothing here can change a result, so an edit to this module does not make a trained model stale.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

CHANGES_NO_RESULT = True  # for ``workbook.fingerprint``
LINE_EVERY = 15.0  # seconds between two lines
UPDATE_EVERY = 0.2  # seconds between two updates of one line
plain = False  # print lines even in a notebook; batch runs set this


@contextmanager
def shown(title: str, total: int, done: float = 0, unit: str = "epoch") -> Iterator[Callable[..., None]]:
    """Yield ``advance(done, note)``, which reports how many of ``total`` units are done and shows a note.

    In a notebook, the line vanishes at the end. It is plain text and no widget: a page that is opened again would miss
    the widget's model.
    """
    start = last = time.monotonic()
    first, handle = done, None
    every = LINE_EVERY if plain or not _in_notebook() else UPDATE_EVERY

    def advance(done: float, note: str = "") -> None:
        nonlocal last, handle
        now = time.monotonic()
        if now - last <= every or done >= total:
            return
        last, left = now, (now - start) / (done - first) * (total - done)
        said = f", {note}" if note else ""
        line = f"{title}: {unit} {int(done)} of {total}{said}, about {_time(left)} left"
        if every == LINE_EVERY:
            print(line, file=sys.stderr, flush=True)
        else:
            handle = _display(f"{_bar(done / total)} {line}", handle)

    try:
        yield advance
    finally:
        if handle is not None:
            _display("", handle)


def _in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")


def _display(text: str, handle: Any) -> Any:
    """Show a text in the output of the cell, or replace that of ``handle``; returns the handle."""
    from IPython.display import display

    content = {"text/plain": text} if text else {"text/plain": "", "text/html": ""}
    if handle is None:
        return display(content, raw=True, display_id=True)
    handle.update(content, raw=True)
    return handle


def _bar(share: float, width: int = 20) -> str:
    full = int(width * share)
    return "█" * full + "░" * (width - full)


def note(history: dict[str, list]) -> str:
    """The first loss of the last epoch as text; for several networks, their mean."""
    for name, values in history.items():
        if values and isinstance(values[-1], float | list):
            last = values[-1] if isinstance(values[-1], list) else [values[-1]]
            return f"{name} {sum(last) / len(last):.4g}"
    return ""


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
