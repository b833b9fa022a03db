"""Keep the committed notebooks clean: ``python -m workbook.tools.clean clean | refresh | verify``.

Only cells tagged ``check`` keep their outputs: short texts from profile smoke, which ``make test`` compares. Your
own notebooks belong in ``notebooks/mine/``, where neither git nor any check looks.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from lib.atomic import write_atomic
from workbook.paths import NOTEBOOKS
from workbook.tools.kernel import RunError, execute, papermill

METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
COLLAPSED = {"figure", "record", "solution"}  # tags of cells whose source JupyterLab collapses
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:home|root|Users|tmp|work|opt|mnt)/\w|[A-Z]:\\\\")


def clean(notebook: dict) -> dict:
    """A copy without outputs (except text of cells tagged ``check``), execution data and machine metadata."""
    cells = []
    for i, cell in enumerate(notebook["cells"]):
        tags = _tags(cell)
        metadata: dict[str, Any] = {"tags": tags} if tags else {}
        kept = {"cell_type": cell["cell_type"], "id": cell.get("id", f"cell-{i}"), "metadata": metadata}
        if cell["cell_type"] == "code":
            if COLLAPSED & set(tags):
                metadata["jupyter"] = {"source_hidden": True}
            checked = "check" in tags and cell["outputs"]
            kept["execution_count"] = i if checked else None
            kept["outputs"] = [o for o in cell["outputs"] if _is_text(o)] if checked else []
        source = "".join(cell["source"]).rstrip()
        kept["source"] = source.splitlines(keepends=True)
        cells.append(kept)
    return {"cells": cells, "metadata": METADATA, "nbformat": 4, "nbformat_minor": 5}


def _is_text(output: dict) -> bool:
    return output["output_type"] == "stream" and output["name"] == "stdout"


def restore(notebook: dict, committed: dict) -> None:
    """Take the outputs of cells tagged ``check`` from the last commit, if the notebook was run by hand since.

    JupyterLab numbers what it runs; ``refresh`` numbers only the checked cells, by their place. A checked cell whose
    code has changed loses its outputs, since those of another profile must not be compared.
    """
    code = {i: c for i, c in enumerate(notebook["cells"]) if c["cell_type"] == "code"}
    if all(c["execution_count"] in (None, i if "check" in _tags(c) else None) for i, c in code.items()):
        return
    kept = {c["id"]: c for c in committed["cells"] if "check" in _tags(c)}
    for cell in (cell for cell in code.values() if "check" in _tags(cell)):
        before = kept.get(cell.get("id"), {"source": None, "outputs": []})
        same = before["source"] is not None and "".join(before["source"]) == "".join(cell["source"]).rstrip()
        cell["outputs"] = before["outputs"] if same else []


def _committed(path: Path) -> dict:
    """The notebook as last committed; without cells if it never was."""
    command = ["git", "show", f"HEAD:./{path.name}"]
    done = subprocess.run(command, cwd=path.parent, capture_output=True)
    return json.loads(done.stdout.decode("utf-8")) if done.returncode == 0 else {"cells": []}


def _tags(cell: dict) -> list[str]:
    return cell["metadata"].get("tags", [])


def dump(notebook: dict) -> str:
    """The notebook as text, in the format in which it is committed."""
    return json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def faults(path: Path) -> list[str]:
    """What is wrong with a committed notebook, and how to fix it."""
    text = path.read_text("utf-8")
    notebook = json.loads(text)
    found = []
    if text != dump(clean(notebook)):
        found.append("has outputs, execution data or metadata that must not be committed: run make clean-notebooks")
    if not path.stem[:2].isdecimal():
        found.append("is no numbered chapter: a notebook of your own belongs in notebooks/mine/")
    if match := MACHINE_PATH.search(text):
        shown = text[match.start() : match.start() + 40]
        found.append(f"contains a path of one machine; remove it: …{shown!r}")
    checks = [c for c in notebook["cells"] if "check" in _tags(c)]
    if not any(c["outputs"] and c["execution_count"] for c in checks):
        found.append("has no stored output to compare: tag a cell with a short output as 'check' and run make refresh")
    if empty := [c["id"] for c in checks if not c["outputs"]]:
        found.append(f"has cells tagged 'check' without a stored output ({', '.join(empty)}): run make refresh")
    parameters = [c for c in notebook["cells"] if "parameters" in _tags(c)]
    if len(parameters) != 1:
        found.append(f"needs exactly one cell tagged 'parameters', but has {len(parameters)}")
    return found


def refresh(path: Path) -> None:
    """Execute a notebook in profile smoke and store the outputs of its cells tagged ``check``.

    If a cell fails, raises RunError and changes nothing.
    """
    with tempfile.TemporaryDirectory() as scratch:
        executed = Path(scratch) / path.name
        try:
            execute(path, executed, {"profile": "smoke"}, Path(scratch))
        except papermill().PapermillExecutionError as error:
            raise RunError(f"cell [{error.exec_count}] stopped with {error.ename}: {error.evalue}") from error
        ran = {c["id"]: c for c in json.loads(executed.read_text("utf-8"))["cells"]}
    notebook = clean(json.loads(path.read_text("utf-8")))
    for i, cell in enumerate(notebook["cells"]):
        if "check" in _tags(cell):
            cell["outputs"] = [o for o in ran[cell["id"]]["outputs"] if _is_text(o)]
            cell["execution_count"] = i
    write_atomic(path, dump(clean(notebook)))


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m workbook.tools.clean", description=__doc__)
    parser.add_argument("command", choices=["clean", "refresh", "verify"])
    parser.add_argument("notebook", nargs="*", type=Path, help="default: all")
    arguments = parser.parse_args()
    bad = 0
    for path in arguments.notebook or sorted(NOTEBOOKS.glob("*.ipynb")):
        if arguments.command == "clean":
            notebook = json.loads(path.read_text("utf-8"))
            restore(notebook, _committed(path))
            write_atomic(path, dump(clean(notebook)))
        elif arguments.command == "refresh":
            try:
                refresh(path)
                print(f"{path.name}: outputs stored")
            except RuntimeError as error:  # also a kernel that died
                bad += 1
                print(f"{path.name}: {error}; its outputs are unchanged", file=sys.stderr)
                continue
        for fault in faults(path):
            bad += 1
            print(f"{path.name} {fault}", file=sys.stderr)
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
