"""Progress of long work: a bar in JupyterLab, a plain line now and then in a batch run.

Nothing here can change a result, so edits to this module do not invalidate trained models.
"""

import os
import sys
import time
from collections.abc import Iterator

LINE_EVERY = 15  # seconds


def epochs(n: int, title: str, unit: str = "epoch") -> Iterator[int]:
    """Count 0 … n-1, showing how far the work is and how long it will take."""
    if "WORKBOOK_OUT" not in os.environ:
        from tqdm.auto import tqdm

        yield from tqdm(range(n), desc=title, unit=unit, leave=False)
        return
    start = last = time.monotonic()
    for epoch in range(n):
        yield epoch
        now = time.monotonic()
        if now - last > LINE_EVERY and epoch + 1 < n:
            left = (now - start) / (epoch + 1) * (n - epoch - 1)
            print(f"{title}: {unit} {epoch + 1} of {n}, about {left:.0f} s left", file=sys.stderr, flush=True)
            last = now
