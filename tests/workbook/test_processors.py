"""Every notebook as on another processor: it asks for the same trainings, by the same keys.

Another processor has other kernels for products of matrices (OpenBLAS) and for random numbers (torch), so that whatever
is computed in floating point has other last bits. Environment variables choose kernels on any machine.
"""

import ast
import json
import os
import subprocess
import symtable
import sys
from functools import partial
from pathlib import Path

import nbformat
import pytest
from papermill.exceptions import PapermillExecutionError

from tests import smoke
from workbook.paths import FIGURES, NOTEBOOKS
from workbook.tools.kernel import execute
from workbook.tools.run import SCOREBOARD, notebooks

COMPUTED = """
import hashlib
import numpy as np
import torch
from sklearn.decomposition import PCA

torch.set_num_threads(1)
points = np.random.default_rng(0).integers(0, 256, (10_000, 784)).astype(np.float64)
draw = torch.randn(1000, generator=torch.Generator().manual_seed(0)).numpy()
for each in (points, PCA(8, random_state=0).fit(points).components_, draw):
    print(hashlib.sha256(each.tobytes()).hexdigest())
"""
FIRST = """
import workbook.book
import workbook.cache
from matplotlib import pyplot

def refuse(file):
    raise AssertionError(f"{file} is not among the trainings of the first run")

workbook.cache._say_if_unannounced = refuse
workbook.book.Book.figure = lambda self, figure, *_, **__: pyplot.close(figure)
workbook.book.Book.check = workbook.book.Book._write
"""
SHOWING = {"book", "exercises", "plots", "plt", "show"}  # what is called to record or draw
ASKING = {"trained", "cached", "recipes", "search"}  # names by which a chapter asks for kept results
PYTHON = {"kernelspec": {"name": "python3", "language": "python", "display_name": "Python"}}


def test_the_settings_of_another_processor_change_what_is_computed_here():
    def computed(environment: dict[str, str]) -> list[str]:
        there = {**os.environ, "OPENBLAS_NUM_THREADS": "1", **environment}
        return subprocess.check_output([sys.executable, "-c", COMPUTED], env=there, encoding="utf-8").split()

    (points, axes, draw), (same, other_axes, other_draw) = computed({}), computed(smoke.other_processor())
    assert points == same
    assert axes != other_axes
    assert draw != other_draw


CHAPTERS = [name for name in notebooks() if name != SCOREBOARD]  # which trains nothing


def settings(notebook: str, kind: str, cache: Path) -> dict[str, str]:
    """Environment variables of a ``first`` or ``other`` run, also where the plugin ``tests.smoke`` is not used."""
    if smoke.SCRATCH in os.environ:
        return smoke.settings(notebook, kind) | {"WORKBOOK_CACHE": str(cache)}
    return {"WORKBOOK_CACHE": str(cache)} | (smoke.other_processor() if kind == "other" else {})


def run(path: Path, folder: Path, cache: Path, monkeypatch, profile: str = "smoke", brief: bool = False) -> list[str]:
    """The trainings that a run on another processor asks for. It fails if one of them is not there.

    A ``brief`` run leaves out what draws, records, and trains by hand.
    """
    chosen = settings(path.stem, "other", cache) | {"WORKBOOK_PROFILE": profile}
    for name, value in chosen.items():
        monkeypatch.setenv(name, value)
    notebook = nbformat.read(path, 4)
    if brief:
        notebook.cells = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source[:2] != "%%"]
        for cell, source in zip(notebook.cells, what_asks([cell.source for cell in notebook.cells]), strict=True):
            cell.source = source
    notebook.cells.insert(0, nbformat.v4.new_code_cell(FIRST))
    nbformat.write(notebook, folder / "other.ipynb")
    execute(folder / "other.ipynb", folder / "executed.ipynb", {"profile": profile, "seed": 0}, folder / "out")
    return trainings(folder / "out")


def what_asks(cells: list[str]) -> list[str]:
    """Of each cell, the statements that ask for kept results, and those that give these what they read.

    It may miss one, such as one that changes an object under another name; the run then asks for something else.
    """
    statements = [(place, node, *names(node)) for place, cell in enumerate(cells) for node in ast.parse(cell).body]
    within: dict[str, set[str]] = {}  # what functions read when they are called
    for _, node, reads, changes in statements:
        if isinstance(node, DEFINITION) or "= partial(" in ast.unparse(node):
            for name in changes:
                within.setdefault(name, set()).update(reads)
    imported = set().union(*(changes for _, node, _, changes in statements if isinstance(node, IMPORT)))
    needed, kept = {"profile", "seed"}, [[] for _ in cells]
    for place, node, reads, changes in reversed(statements):
        reads, before = set(reads), None
        while reads != before:
            before = set(reads)
            reads |= set().union(*(within[name] for name in before & within.keys()))
        asks = reads & ASKING and not isinstance(node, DEFINITION)
        prepares = isinstance(node, ast.Expr) and changes & imported
        if asks or prepares or changes & needed or ast.unparse(node) == "book.check()":
            if isinstance(node, BINDING) and not any(map(is_part, ast.walk(node))):
                needed -= changes
            needed |= reads
            kept[place].insert(0, ast.unparse(node))
    return ["\n".join(found) for found in kept]


DEFINITION = (ast.FunctionDef, ast.ClassDef)
IMPORT = (ast.Import, ast.ImportFrom)
BINDING = (*DEFINITION, *IMPORT, ast.Assign)


def is_part(node: ast.AST) -> bool:
    """Whether a part of an object is assigned to."""
    return isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store)


def names(node: ast.stmt) -> tuple[set[str], set[str]]:
    """The global names that a statement reads, and those that it binds or whose objects it may change."""
    tables = [symtable.symtable(ast.unparse(node), "", "exec")]
    reads = {symbol.get_name() for symbol in tables[0].get_symbols() if symbol.is_referenced()}
    changes = {each.get_name() for each in tables[0].get_symbols() if each.is_assigned() or each.is_imported()}
    while tables:
        table = tables.pop()
        tables += table.get_children()
        reads |= {symbol.get_name() for symbol in table.get_symbols() if symbol.is_global()}
    for part in [] if isinstance(node, DEFINITION) else ast.walk(node):
        if is_part(part) or (isinstance(part, ast.Expr) and isinstance(part.value, ast.Call)):
            root = part if is_part(part) else part.value.func
            while isinstance(root, ast.Attribute | ast.Subscript):
                root = root.value
            changes |= {root.id} - SHOWING if isinstance(root, ast.Name) else set()
    return reads, changes


def trainings(folder: Path) -> list[str]:
    return json.loads((folder / "results.json").read_text("utf-8"))["trainings"]


@pytest.mark.smoke
@pytest.mark.parametrize("notebook", CHAPTERS)
def test_a_notebook_asks_for_the_same_trainings_on_another_processor(notebook, request, tmp_path, monkeypatch):
    """In brief; if that does not come to the same trainings, the whole notebook decides."""
    if not request.config.getoption("nbval"):
        pytest.skip("there is no run by nbval to compare with: make test")
    first = smoke.settings(notebook, "first")
    expected = trainings(Path(first["WORKBOOK_OUT"]))
    asked = partial(run, NOTEBOOKS / f"{notebook}.ipynb", tmp_path, Path(first["WORKBOOK_CACHE"]), monkeypatch)
    try:
        found = asked(brief=True)
    except PapermillExecutionError:  # something is missing
        found = None
    assert found == expected or asked() == expected


@pytest.mark.skipif("WORKBOOK_FULL" not in os.environ, reason="minutes; with WORKBOOK_FULL=1 and everything released")
@pytest.mark.parametrize("notebook", CHAPTERS)
def test_the_gallery_asks_for_the_same_trainings_on_another_processor(notebook, tmp_path, monkeypatch):
    found = run(NOTEBOOKS / f"{notebook}.ipynb", tmp_path, tmp_path / "models", monkeypatch, "full")
    assert found == trainings(FIGURES / notebook)


def test_a_brief_run_has_what_asks_and_all_that_this_reads():
    cells = [
        "import numpy as np\nfrom workbook.cache import cached\nwidth, names = 3, {}",
        "def area(): return {'area': width * SIDE}\ndef drawn(): return np.ones(width)",
        "fig = drawn()\nSIDE = 2\nnames['a'] = 1\nnp.seterr()",
        "for name in 'ab':\n    width += 1\nwidth = width * len(names)",
        "found = cached('area', area)\nwidth = 'of the figure'\nfig.show(found)",
    ]
    assert what_asks(cells) == [
        "import numpy as np\nfrom workbook.cache import cached\nwidth, names = (3, {})",
        "def area():\n    return {'area': width * SIDE}",
        "SIDE = 2\nnames['a'] = 1\nnp.seterr()",
        "for name in 'ab':\n    width += 1\nwidth = width * len(names)",
        "found = cached('area', area)",
    ]


CELLS = """
import numpy as np
from sklearn.decomposition import PCA

from workbook.cache import cached

points = np.random.default_rng(0).integers(0, 256, (1000, 784)).astype(np.float64)
axes = PCA(8, random_state=0).fit(points).components_
bits = axes.view(np.int64)


def measured() -> dict[str, float]:
    return {"mean": float(NAME.mean())}


cached("probe", measured)
"""


def test_a_global_that_is_computed_in_floating_point_is_refused(tmp_path, monkeypatch):
    with pytest.raises(PapermillExecutionError, match="the global axes: the numbers in a tensor or array of shape"):
        run(written(tmp_path, "axes"), tmp_path, tmp_path / "models", monkeypatch)


def test_a_global_that_is_computed_and_hidden_in_whole_numbers_is_found(tmp_path, monkeypatch):
    """This shows that the tests above could fail: two processors give two keys."""
    path = written(tmp_path, "bits")
    for name, value in settings("probe", "first", tmp_path / "models").items():
        monkeypatch.setenv(name, value)
    execute(path, tmp_path / "first.ipynb", {"profile": "smoke", "seed": 0}, tmp_path / "first")
    with pytest.raises(PapermillExecutionError, match="is not among the trainings of the first run"):
        run(path, tmp_path, tmp_path / "models", monkeypatch)


def written(folder: Path, name: str) -> Path:
    """A notebook whose measurement reads this global."""
    parameters = nbformat.v4.new_code_cell('profile, seed = "smoke", 0', metadata={"tags": ["parameters"]})
    cell = nbformat.v4.new_code_cell(CELLS.replace("NAME", name))
    nbformat.write(nbformat.v4.new_notebook(cells=[parameters, cell], metadata=PYTHON), folder / "probe.ipynb")
    return folder / "probe.ipynb"
