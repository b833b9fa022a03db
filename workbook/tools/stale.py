"""Which released results are out of date, and what has changed since: ``make stale``.

Compares every function, class and global of the package, and every function and class of the notebooks, that a result
depends on with what is there now, and runs nothing. Changed settings and globals of a notebook show when it runs.
"""

import ast
import json
import sys
from collections import defaultdict
from pathlib import Path
from pkgutil import resolve_name

from workbook.cache import read_manifest
from workbook.fingerprint import _parsed, fingerprint
from workbook.paths import NOTEBOOKS, RELEASED


def in_package(names: set[str]) -> dict[str, str]:
    """{name: hash} of those of these functions and classes that are still there, and of all that they use."""
    found: dict[str, str] = {}
    for name in sorted(name for name in names if ": " not in name and not name.startswith("__main__")):
        try:
            if name not in found:
                fingerprint(resolve_name(name), found)
        except (ImportError, AttributeError, TypeError):  # it is gone, or refused now
            continue
    return found


def in_notebook(path: Path) -> dict[str, str]:
    """{name: hash} of the functions and classes that the cells of a notebook define."""
    found = {}
    for cell in json.loads(path.read_text("utf-8"))["cells"] if path.exists() else ():
        source = "".join(cell["source"])
        if cell["cell_type"] == "code" and not source.startswith("%"):
            for node in ast.parse(source).body:
                if isinstance(node, ast.FunctionDef | ast.ClassDef):
                    found[f"__main__.{node.name}"] = _parsed(ast.unparse(node))[2]
    return found


def changes(entries: dict[str, dict], notebooks: Path) -> dict[str, list[str]]:
    """{released file: names of what has changed} of those that are out of date."""
    package = in_package({name for entry in entries.values() for name in entry["sources"]})
    cells = {
        name: in_notebook(notebooks / f"{name}.ipynb") for entry in entries.values() for name in entry["notebooks"]
    }
    found = {}
    for file, entry in entries.items():
        now = package | cells[entry["notebooks"][0]]
        known = {name: value for name, value in entry["sources"].items() if not name.startswith("__main__: ")}
        if apart := sorted(name for name, value in known.items() if now.get(name, "")[:8] != value):
            found[file] = apart
    return found


def main() -> int:
    """Command line."""
    entries = read_manifest(RELEASED / "manifest.json")
    found = changes(entries, NOTEBOOKS)
    groups = defaultdict(list)
    for file, apart in found.items():
        groups[entries[file]["notebooks"][0], file.rsplit("-", 1)[0], ", ".join(apart)].append(entries[file]["seconds"])
    for (notebook, name, apart), seconds in sorted(groups.items()):
        print(f"{notebook}: {name}, {len(seconds)} of {sum(seconds) / 60:.0f} min: {apart}")
    hours = sum(entries[file]["seconds"] for file in found) / 3600
    print(f"{len(found)} of {len(entries)} released results are out of date, {hours:.1f} hours of training")
    if found:
        print("`make adopt` keeps those that the changed code would only compute again")
    return 0


if __name__ == "__main__":
    sys.exit(main())
