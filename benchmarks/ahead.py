"""How far ahead ``workbook.beside`` looks, in all notebooks or in those that are named: ``python -m benchmarks.ahead``.

Every notebook runs in profile smoke, in which it asks for the same models in the same order, of fewer seeds, as if each
were trained on the spot. Whenever it comes to one that nobody has met, a new round begins: a process looks ahead, to
which all that the notebook has not asked for is unknown. FILE then has, for each name of its models, in which round
each of them was met, and "in vain" the models that nobody asks for in the end.
"""

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from workbook.paths import NOTEBOOKS, ROOT

FILE = ROOT / "benchmarks/ahead.json"


def stored() -> dict[str, Any]:
    """What FILE has."""
    return json.loads(FILE.read_text("utf-8")) if FILE.exists() else {}


def found(notebook: str) -> dict[str, Any]:
    """What FILE has of this notebook. Runs it in this process."""
    from IPython.core.interactiveshell import InteractiveShell
    from matplotlib import pyplot as plt

    from workbook import beside, cache
    from workbook.book import Book

    order: dict[str, int] = {}
    met: dict[str, int] = {}
    rounds = 0
    use, read, released = cache._use, cache._read, cache._released
    sink, source = os.pipe()

    def asked(file: str, *rest: Any) -> Any:
        nonlocal rounds
        if not beside.looks_ahead and not cache._within and file not in order:
            if file not in met:
                beside._look_ahead(None)
                os.waitpid(beside._scout, 0)
                beside._scout = 0
                os.write(source, b"\n")
                for name in [file, *_lines(sink)]:
                    met.setdefault(name, rounds)
                rounds += 1
            order[file] = met[file]
        return use(file, *rest)

    def log(path: Path, _: Any) -> Any:
        os.write(source, f"{path.name}\n".encode())
        return beside.UNKNOWN

    def known(file: str) -> bool:
        return not beside.looks_ahead or file in order

    cache._use, beside.ask, beside._free_slot = asked, log, lambda: os.open(os.devnull, os.O_RDWR)
    cache._read = lambda path, *a, **k: read(path, *a, **k) if known(path.name) else None
    cache._released = lambda file: released(file) if known(file) else None
    Book.figure = Book.check = Book._verdict_table = lambda *_, **__: plt.close("all")  # which takes half of the time
    os.environ["WORKBOOK_NOTEBOOK"] = str(NOTEBOOKS / f"{notebook}.ipynb")
    shell = InteractiveShell.instance()
    for cell in json.loads((NOTEBOOKS / f"{notebook}.ipynb").read_text("utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            shell.run_cell("".join(cell["source"]), store_history=True).raise_error()
    by_name: dict[str, Any] = {}
    for file, number in order.items():
        by_name.setdefault(file.rpartition("-")[0], []).append(number)
    return by_name | {"in vain": sorted(met.keys() - order)}


def _lines(sink: int) -> list[str]:
    """The lines that were written to a pipe before an empty one."""
    text = b""
    while text != b"\n" and not text.endswith(b"\n\n"):
        text += os.read(sink, 65536)
    return text.decode().split()


def main() -> None:
    """Bring FILE up to date; a notebook runs in a process of its own."""
    from workbook.tools.run import notebooks

    kept = stored()
    for notebook in sys.argv[1:] or notebooks():
        sink, source = os.pipe()
        if not os.fork():
            with tempfile.TemporaryDirectory() as out:
                os.environ |= {"WORKBOOK_OUT": out, "WORKBOOK_PROGRESS": "lines", "WORKBOOK_WIDGETS": "off"}
                os.environ |= {"MPLBACKEND": "agg", "WORKBOOK_PROFILE": "smoke"}
                os.write(source, json.dumps(found(notebook)).encode())
            os._exit(0)
        os.close(source)
        with open(sink, "rb") as pipe:
            kept[notebook] = json.loads(pipe.read())
        os.wait()
        lines = [f"{json.dumps(name)}: {json.dumps(of)}" for name, of in sorted(kept.items())]
        FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")


if __name__ == "__main__":
    main()
