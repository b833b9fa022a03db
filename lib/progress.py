"""Progress of long computations: a bar in an interactive session, an occasional line in a batch run.

Nothing here can change a result, so an edit to this module does not make a trained model stale.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

CHANGES_NO_RESULT = True  # for ``workbook.fingerprint``
LINE_EVERY = 15  # seconds
plain = False  # print lines instead of a bar; batch runs set this


@contextmanager
def shown(title: str, total: int, done: float = 0, unit: str = "epoch") -> Iterator[Callable[..., None]]:
    """Yield ``advance(done, note)``, which reports how many of ``total`` units are done and shows a note."""
    start = last = time.monotonic()
    first = done
    bar = None
    if not plain:
        from tqdm.auto import tqdm

        form = "{desc}: {percentage:3.0f}%|{bar}| {n:.3g}/{total} " + unit + "s [{elapsed}<{remaining}{postfix}]"
        bar = tqdm(total=total, initial=done, desc=title, leave=False, bar_format=form)

    def advance(done: float, note: str = "") -> None:
        nonlocal last
        now = time.monotonic()
        if bar is not None:
            if now - last > 0.1 or done == total:
                bar.set_postfix_str(note, refresh=False)
                bar.update(done - bar.n)
                last = now
        elif now - last > LINE_EVERY and done < total:
            left = (now - start) / (done - first) * (total - done)
            said = f", {note}" if note else ""
            print(
                f"{title}: {unit} {int(done)} of {total}{said}, about {_time(left)} left", file=sys.stderr, flush=True
            )
            last = now

    try:
        yield advance
    finally:
        if bar is not None:
            bar.close()


def note(history: dict[str, list]) -> str:
    """The first loss of the last epoch as text; for several networks, their mean."""
    for name, values in history.items():
        if values and isinstance(values[-1], float | list):
            last = values[-1] if isinstance(values[-1], list) else [values[-1]]
            return f"{name} {sum(last) / len(last):.4g}"
    return ""


def counted(n: int, title: str, unit: str) -> Iterator[int]:
    """Count 0 … n-1 and show the progress."""
    with shown(title, n, unit=unit) as advance:
        for i in range(n):
            yield i
            advance(i + 1)


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
