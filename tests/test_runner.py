"""The runner on a small copy of the checkout with two tiny notebooks of its own."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from lib import notebooks as tool
from lib import runner
from lib.paths import ROOT

GOOD = """
import matplotlib.pyplot as plt
from lib.results import open_book
book = open_book("30_good", profile, seed)
fig, ax = plt.subplots()
ax.plot([seed, 1])
book.figure(fig, "extra-line", alt="A line that starts at the value of the seed.")
"""
TRAINS = """
import pathlib, time, torch
from lib.artifacts import trained
from lib.results import open_book
book = open_book("31_trains", profile, seed)

def train(n):
    with open("log.txt", "a") as file:
        print(n, file=file)
    if n == 2 and pathlib.Path("slow").exists():
        time.sleep(600)
    return {"w": torch.zeros(n)}, {"loss": [0.0]}

for n in (1, 2):
    trained("probe", train, n=n)
book.record  # the book exists
import matplotlib.pyplot as plt
book.figure(plt.figure(), "extra-empty", alt="An empty figure, which is enough here.")
"""


def write_notebook(folder, name, code):
    cells = [
        {"cell_type": "markdown", "id": "a", "metadata": {}, "source": "# The title"},
        {"cell_type": "code", "id": "b", "metadata": {"tags": ["parameters"]}, "source": 'profile = "auto"\nseed = 0'},
        {"cell_type": "markdown", "id": "c", "metadata": {}, "source": "## The section"},
        {"cell_type": "code", "id": "d", "metadata": {}, "source": code},
    ]
    for cell in cells:
        if cell["cell_type"] == "code":
            cell |= {"outputs": [], "execution_count": None}
    (folder / "notebooks" / f"{name}.ipynb").write_text(tool.dump(tool.clean({"cells": cells})))


@pytest.fixture
def copy(tmp_path):
    """A checkout with notebook 30_good."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "lib", tmp_path / "lib", ignore=ignored)
    (tmp_path / "data").mkdir()
    (tmp_path / "notebooks").mkdir()
    for name in ("Snakefile", "data/manifest.json", "data/reports.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    write_notebook(tmp_path, "30_good", GOOD)
    return tmp_path


def start(folder, *arguments):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("WORKBOOK_")}
    return subprocess.Popen(
        [sys.executable, "-m", "lib.runner", *arguments],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def run(folder, *arguments):
    process = start(folder, *arguments)
    output, _ = process.communicate(timeout=120)
    return process.returncode, output


def files(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_a_run_publishes_and_a_second_does_nothing(copy):
    code, output = run(copy, "figures", "--notebook", "all")
    assert code == 0, output
    assert files(copy / "figures") == [
        "30_good/extra-line.png",
        "30_good/results.json",
        "30_good/timings.json",
        "scoreboard.md",
    ]
    assert (copy / "build/standard/seed0/30_good.ipynb").exists()
    png = copy / "figures/30_good/extra-line.png"
    first, when = png.read_bytes(), png.stat().st_mtime_ns
    code, output = run(copy, "figures")
    assert code == 0, output
    assert png.stat().st_mtime_ns == when, "nothing changed, so nothing may run"
    png.unlink()
    code, output = run(copy, "figures")
    assert png.read_bytes() == first, "a deleted figure comes back, the same byte for byte"


def test_other_profiles_and_seeds_leave_the_gallery_alone(copy):
    code, output = run(copy, "figures", "--profile", "smoke", "--seeds", "1", "2", "--jobs", "2", "--threads", "1")
    assert code == 0, output
    assert not (copy / "figures").exists()
    for seed in (1, 2):
        assert (copy / f"build/smoke/seed{seed}/figures/30_good/extra-line.png").exists()
    assert (copy / "build/smoke/scoreboard-seeds.md").exists()


def test_failing_notebook_is_named_the_others_finish_and_old_figures_stay(copy):
    write_notebook(copy, "31_bad", GOOD.replace("30_good", "31_bad"))
    assert run(copy, "figures")[0] == 0
    before = (copy / "figures/31_bad/extra-line.png").read_bytes()
    write_notebook(copy, "31_bad", GOOD.replace("30_good", "31_bad") + "\nraise RuntimeError('out of ideas')")
    write_notebook(copy, "30_good", GOOD + "\n# edited")
    when = (copy / "build/standard/seed0/30_good.ipynb").stat().st_mtime_ns
    code, output = run(copy, "figures")
    assert code != 0
    assert "31_bad: cell [" in output
    assert "“The section” stopped with RuntimeError: out of ideas" in output
    assert (copy / "build/standard/seed0/30_good.ipynb").stat().st_mtime_ns > when
    assert (copy / "figures/31_bad/extra-line.png").read_bytes() == before
    assert (copy / "build/standard/seed0/31_bad.failed.ipynb").exists()
    assert not (copy / "build/standard/seed0/31_bad.ipynb").exists()


def test_killed_run_resumes_and_leaves_nothing_half_written(copy):
    write_notebook(copy, "31_trains", TRAINS)
    (copy / "slow").touch()
    process = start(copy, "figures", "--notebook", "31")
    log = copy / "log.txt"
    deadline = time.monotonic() + 90
    while not (log.exists() and log.read_text() == "1\n2\n"):
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.2)
    kill_tree(process.pid)
    process.wait()
    assert not (copy / "figures").exists()
    assert not list((copy / "build").rglob("31_trains.ipynb.part"))
    assert not (copy / "build/standard/seed0/31_trains.ipynb").exists()
    (copy / "slow").unlink()
    code, output = run(copy, "figures")
    assert code == 0, output
    assert log.read_text() == "1\n2\n2\n", "the finished training is kept, the killed one is repeated"
    assert (copy / "figures/31_trains/extra-empty.png").exists()
    assert not list((copy / "build").glob(".scratch-*")), "leftovers are removed"


def kill_tree(pid):
    """kill -9 of a process and of everything it started, as a crash of the machine would."""
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as file:
                    parent = int(file.read().rsplit(")", 1)[1].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(entry))
    doomed = [pid]
    for p in doomed:
        doomed += children.get(p, [])
    for p in doomed:
        os.kill(p, signal.SIGKILL)


def test_second_run_at_the_same_time_is_refused(copy):
    write_notebook(copy, "31_trains", TRAINS)
    (copy / "slow").touch()
    process = start(copy, "figures", "--notebook", "31")
    try:
        while not (copy / "build/.run.lock").exists():
            time.sleep(0.1)
        code, output = run(copy, "figures")
        assert code == 1
        assert "another run is at work in this checkout" in output
    finally:
        kill_tree(process.pid)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["figures", "--notebook", "30_god"], "there is no notebook '30_god'. Did you mean 30_good?"),
        (["figures", "--profile", "smok"], "invalid choice: 'smok'"),
        (["figures", "--seeds", "-1"], "error"),
        (["figures", "--jobs", "0"], "expected a whole number from 1, not '0'"),
    ],
)
def test_mistakes_are_clear_errors(copy, arguments, message):
    code, output = run(copy, *arguments)
    assert code != 0
    assert message in output
    assert not (copy / "figures").exists()


def test_mistyped_parameter_is_an_error(copy):
    with pytest.raises(runner.RunError, match=r"has no parameter 'sede'; did you mean 'seed'"):
        runner.check_parameters(copy / "notebooks/30_good.ipynb", {"profile": "smoke", "sede": 1})


def test_dead_kernel_is_named(copy):
    write_notebook(copy, "31_dies", "import os\nos.kill(os.getpid(), 9)")
    code, output = run(copy, "notebook", "31", "--profile", "smoke")
    assert code == 1
    assert "error: 31_dies: its kernel died" in output


def test_missing_parameter_is_an_error(copy):
    path = copy / "notebooks/30_good.ipynb"
    notebook = json.loads(path.read_text())
    notebook["cells"][1]["source"] = ['profile = "auto"']
    path.write_text(json.dumps(notebook))
    code, output = run(copy, "notebook", "30", "--profile", "smoke")
    assert code == 1
    assert "has no parameter 'seed'" in output


def test_mistyped_make_variable_is_an_error():
    done = subprocess.run(["make", "-n", "help", "PROFLE=smoke"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode != 0
    assert "unknown variable PROFLE; there are: PROFILE SEED" in done.stderr
    assert subprocess.run(["make", "-n", "help", "PROFILE=smoke"], cwd=ROOT, capture_output=True).returncode == 0
