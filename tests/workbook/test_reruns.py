"""What a change makes run again: the jobs of dry runs in a copy of the checkout, after one real run.

``python -m tests.workbook.test_reruns`` prints the same for the real notebooks, from what their last run in profile
full left in build/ (nothing in this checkout is changed).
"""

import ast
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.workbook.test_runner import RECORD, environment_of, make_checkout, write_notebook
from workbook.paths import ROOT
from workbook.tools import run

PLAIN = RECORD + "{more}\nrecord()"
NOTEBOOKS = {
    "n30_neither": PLAIN.replace("{more}", ""),
    "n31_draws": """
from lib import plots
from workbook.book import open_book
book = open_book("31_draws", profile, seed)
import matplotlib.pyplot as plt
book.figure(plt.figure(figsize=(1, 1)), "extra-empty", alt="An empty figure, which is enough here.")
book.check()
""",
    "n32_vae": PLAIN.replace("{more}", "from lib.training.vae import train_vae"),
    f"n{run.SCOREBOARD}": PLAIN.replace("{more}", "from workbook import scoreboard"),
}


def due(folder, targets=None, profile="full"):
    """Names of the notebooks that a run of these, or of all, would run; the scoreboard is the last."""
    targets = targets or sorted(path.stem for path in (folder / "notebooks").iterdir())
    program = f"from workbook.tools import run; print([n for _, n in run.due({profile!r}, [0], {targets})])"
    names = ast.literal_eval(python(folder, "-c", program))
    return sorted(names, key=lambda name: (name == run.SCOREBOARD, name))


def python(folder, *arguments):
    """What Python prints in this checkout."""
    where = {"cwd": folder, "env": environment_of(folder)}
    done = subprocess.run([sys.executable, *arguments], **where, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the checkout in which all notebooks are up to date."""
    folder = make_checkout(tmp_path_factory.mktemp("checkout"), **NOTEBOOKS)
    python(folder, "-m", "workbook.tools.run", "figures")
    return folder


class Edited:
    """Change a file for the length of a with, and put it and its time back."""

    def __init__(self, path, old="", new=""):
        self.path, self.old, self.new = path, old, new

    def __enter__(self):
        self.content, self.times = self.path.read_bytes(), self.path.stat()
        text = self.content.decode()
        assert self.old in text, f"{self.path.name} has no {self.old!r}"
        self.path.write_text(text.replace(self.old, self.new, 1), "utf-8")

    def __exit__(self, *_):
        self.path.write_bytes(self.content)
        os.utime(self.path, ns=(self.times.st_atime_ns, self.times.st_mtime_ns))


def test_nothing_runs_if_nothing_has_changed_that_a_notebook_loads(checkout):
    """A message of a tool, a module that none of them imports, prose beside the code, a file that was only touched."""
    (checkout / "README.md").write_text("# A title", "utf-8")
    with (
        Edited(checkout / "workbook/tools/check.py", "everything is as tested", "all is as tested"),
        Edited(checkout / "workbook/search.py", "sampler must be", "a sampler must be"),
        Edited(checkout / "lib/models/vae.py"),
        Edited(checkout / "notebooks/30_neither.ipynb"),
    ):
        assert due(checkout) == []


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        ("notebooks/31_draws.ipynb", "The section", "A section", ["31_draws", "21_scoreboard"]),
        ("lib/models/vae.py", "nn.Linear(", "nn.LazyLinear(", ["32_vae", "21_scoreboard"]),
        ("lib/plots.py", '"-", "--"', '"--", "-"', ["31_draws", "21_scoreboard"]),
        ("lib/workbook.mplstyle", "\n", "\n# a comment\n", ["31_draws", "21_scoreboard"]),
        ("workbook/scoreboard.py", 'NONE = "none known"', 'NONE = "none"', ["21_scoreboard"]),
    ],
    ids=["prose", "layer", "plots", "style", "scoreboard"],
)
def test_a_change_runs_the_notebooks_that_load_what_changed_and_the_scoreboard(checkout, file, old, new, expected):
    with Edited(checkout / file, old, new):
        assert due(checkout) == expected


def test_what_is_gone_is_noticed(checkout):
    """A figure that was deleted runs its notebook again, and so does a module that was moved away."""
    kept = {path: path.read_bytes() for path in (checkout / "build/full/seed0").glob("3*.ipynb")}
    times = {path: path.stat() for path in kept}
    figure, module = checkout / "figures/31_draws/extra-empty.png", checkout / "lib/training/vae.py"
    try:
        figure.rename(figure.with_suffix(".away"))
        module.rename(module.with_suffix(".away"))
        assert due(checkout) == ["31_draws", "32_vae", "21_scoreboard"]
    finally:
        for path in (figure, module):
            path.with_suffix(".away").rename(path)
        for path, content in kept.items():  # ``due`` has deleted those that are out of date
            path.write_bytes(content)
            os.utime(path, ns=(times[path].st_atime_ns, times[path].st_mtime_ns))


def test_cells_that_are_put_into_their_folder_are_noticed_by_the_notebooks_that_read_cells(checkout):
    recorded = checkout / "build/full/seed0/30_neither.inputs.json"
    with Edited(recorded, "[", '[\n "lib/data/single_cell.py",'):
        (checkout / "data/cells").mkdir()
        shutil.copy2(ROOT / "LICENSE", checkout / "data/cells/mine.h5ad")
        assert due(checkout) == ["30_neither", "21_scoreboard"]
        shutil.rmtree(checkout / "data/cells")


def test_a_module_that_a_notebook_loads_for_the_first_time_counts_from_then_on(checkout):
    (checkout / "lib/new.py").write_text("X = 1", "utf-8")
    assert due(checkout) == [], "nobody loads it yet"
    write_notebook(checkout, "30_neither", PLAIN.replace("{more}", "from lib import new"))
    python(checkout, "-m", "workbook.tools.run", "figures", "--notebook", "30")
    assert "lib/new.py" in json.loads((checkout / "build/full/seed0/30_neither.inputs.json").read_text("utf-8"))
    with Edited(checkout / "lib/new.py", "X = 1", "X = 2"):
        assert due(checkout, ["30_neither", "31_draws", "32_vae"]) == ["30_neither"]


# --- the real notebooks ----------------------------------------------------------------------------------------------


def real_changes():
    """(what is changed, file, old, new)."""
    first = next(iter(run.notebooks()))
    return [
        ("nothing", "README.md", "", ""),
        (f"one word of prose in {first}", f"notebooks/{first}.ipynb", "You will learn", "You learn"),
        ("a message of workbook/tools/check.py", "workbook/tools/check.py", "everything is", "all is"),
        ("a layer of lib/models/vae.py", "lib/models/vae.py", "nn.Linear(", "nn.LazyLinear("),
        ("a layer of lib/models/cnn.py", "lib/models/cnn.py", "nn.Linear(", "nn.LazyLinear("),
        ("lib/metrics/quality.py", "lib/metrics/quality.py", '"""', '"""A word. '),
        ("lib/metrics/divergences.py", "lib/metrics/divergences.py", '"""', '"""A word. '),
        ("lib/training/gan.py", "lib/training/gan.py", '"""', '"""A word. '),
        ("lib/training/loop.py", "lib/training/loop.py", '"""', '"""A word. '),
        ("lib/plots.py", "lib/plots.py", '"-", "--"', '"--", "-"'),
        ("workbook/search.py", "workbook/search.py", '"""', '"""A word. '),
        ("workbook/scoreboard.py", "workbook/scoreboard.py", '"""', '"""A word. '),
        ("workbook/book.py", "workbook/book.py", "DIGITS = 6", "DIGITS = 7"),
        ("lib/models/vae.py touched", "lib/models/vae.py", "", ""),
    ]


def main(profile: str = "full") -> int:
    """Print how many of the real notebooks each change would run again."""
    names = run.notebooks()
    missing = [n for n in names if not run.executed_notebook(n, profile, 0).with_suffix(".inputs.json").exists()]
    if missing:
        print(f"first run `make figures PROFILE={profile}`: nothing is known of {', '.join(missing)}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "checkout"
        ignored = shutil.ignore_patterns("__pycache__", ".scratch-*", "*.failed.ipynb", "mnist", "trained")
        parts = ("lib", "workbook", "notebooks", "data", "figures", f"build/{profile}/seed0", ".snakemake/metadata")
        for part in parts:
            shutil.copytree(ROOT / part, copy / part, ignore=ignored)
        for file in ("Snakefile", "README.md"):
            shutil.copy2(ROOT / file, copy / file)
        kept = {path: (path.read_bytes(), path.stat()) for path in (copy / f"build/{profile}/seed0").glob("*.ipynb")}
        for change, file, old, new in real_changes():
            start = time.monotonic()
            with Edited(copy / file, old, new):
                found = due(copy, profile=profile)
            listed = f": {', '.join(found)}" if 0 < len(found) < len(names) else ""
            print(f"{change}: {len(found)} of {len(names)}{listed} ({time.monotonic() - start:.1f} s)", flush=True)
            for path, (content, times) in kept.items():
                path.write_bytes(content)
                os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
