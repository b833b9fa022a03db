"""What a notebook shows besides figures: tables, text, and the source of functions and classes."""

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from IPython.display import Markdown, display

from workbook.paths import ROOT


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Show a table with these columns; floats are rounded to four decimals."""
    cells = [[f"{c:.4f}" if isinstance(c, float) else str(c) for c in row] for row in (columns, *rows)]
    cells = [[c.replace("|", "\\|").replace("\n", " ") for c in row] for row in cells]
    lines = ["| " + " | ".join(row) + " |" for row in cells]
    display(Markdown("\n".join([lines[0], "|" + "---|" * len(columns), *lines[1:]])))


def text(markdown: str) -> None:
    """Show a Markdown text that contains values of this run."""
    display(Markdown(markdown))


def source(*things: Any) -> None:
    """Show the source of functions or classes of ``lib``, exactly as it runs, as a quotation headed by its file."""
    for thing in things:
        file = Path(inspect.getsourcefile(thing) or "").relative_to(ROOT).as_posix()
        head = f"Code of the library, from [`{file}`](../{file}):"
        lines = [head, "", "```python", *inspect.getsource(thing).rstrip().splitlines(), "```"]
        display(Markdown("\n".join(f"> {line}".rstrip() for line in lines)), metadata={"source": file})
