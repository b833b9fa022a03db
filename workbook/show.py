"""What a notebook shows besides figures: tables, and the source of what it uses."""

import inspect
from collections.abc import Sequence

from IPython.display import Code, Markdown, display


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Show rows under column names; floats are rounded to four decimals."""
    cells = [[f"{c:.4f}" if isinstance(c, float) else str(c) for c in row] for row in (columns, *rows)]
    cells = [[c.replace("|", "\\|").replace("\n", " ") for c in row] for row in cells]
    lines = ["| " + " | ".join(row) + " |" for row in cells]
    display(Markdown("\n".join([lines[0], "|" + "---|" * len(columns), *lines[1:]])))


def text(markdown: str) -> None:
    """Show a text that was written from the values of this run, as Markdown."""
    display(Markdown(markdown))


def source(*things: object) -> None:
    """Show the source of functions or classes of ``lib``, so that what is shown is what runs."""
    for thing in things:
        display(Code(inspect.getsource(thing), language="python"))
