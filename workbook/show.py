"""What a notebook shows besides figures: tables, and the source of what it uses."""

import inspect
from collections.abc import Sequence

from IPython.display import Code, Markdown, display


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Show rows under column names; floats get four digits after the point."""
    cells = [[f"{c:.4f}" if isinstance(c, float) else str(c) for c in row] for row in rows]
    lines = ["| " + " | ".join(line) + " |" for line in ([str(c) for c in columns], *cells)]
    display(Markdown("\n".join([lines[0], "|" + "---|" * len(columns), *lines[1:]])))


def text(markdown: str) -> None:
    """Show a sentence written from the values of this run."""
    display(Markdown(markdown))


def source(*things: object) -> None:
    """Show the source of functions or classes of ``lib``, so that the text and the code cannot differ."""
    for thing in things:
        display(Code(inspect.getsource(thing), language="python"))
