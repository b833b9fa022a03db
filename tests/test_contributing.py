"""CONTRIBUTING.md, followed as a new contributor would: its commands, in a checkout of a few files."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from workbook.paths import ROOT

TEXT = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
STEPS = re.findall(r"^ *```sh\n(.*?)^ *```$", TEXT, flags=re.M | re.S)  # other fences hold what is not run here


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the code, with the records and the scoreboard but no chapter."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("lib", "workbook", "docs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("data", "notebooks"):
        (folder / name).mkdir()
    shutil.copytree(ROOT / "data/mnist", folder / "data/mnist")
    for name in ("Snakefile", "data/manifest.json", "data/reports.toml", "data/errata.toml"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def follow(checkout, step):
    """Run the commands of a step; ``make`` is what the Makefile would call."""
    for target, command in {
        r"make figures (.*)": r"python -m workbook.tools.run figures \1",
        r"make refresh NOTEBOOK=(\w+)": r"python -m workbook.tools.clean refresh notebooks/\1.ipynb",
        r"PROFILE=(\w+)": r"--profile \1",
        r"NOTEBOOK=(\w+)": r"--notebook \1",
    }.items():
        step = re.sub(target, command, step)
    settings = {k: v for k, v in os.environ.items() if not k.startswith("WORKBOOK_")}
    path = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
    environment = settings | {"PYTHONPATH": str(checkout), "PATH": path}
    command = ["bash", "-euc", step]
    return subprocess.run(command, cwd=checkout, env=environment, capture_output=True, encoding="utf-8", timeout=300)


@pytest.fixture(scope="module")
def followed(checkout):
    """All steps of the section that adds a chapter, one after the other."""
    assert len(STEPS) >= 4
    for step in STEPS:
        done = follow(checkout, step)
        assert done.returncode == 0, f"{step}\n{done.stdout}{done.stderr}"
    return checkout


def test_its_steps_add_a_report_a_chapter_and_a_run(followed):
    results = json.loads((followed / "build/smoke/seed0/figures/22_my_chapter/results.json").read_text("utf-8"))
    assert set(results["items"]) == {"my2025.num-accuracy", "my2025.q-1"}
    assert 0.5 < results["items"]["my2025.num-accuracy"]["value"] < 1
    assert "extra-weights" in results["figures"]
    assert [test["quote"] for test in results["tested"]["my2025.q-1"]] == ["far better than guessing"]


def test_the_new_items_stand_on_the_scoreboard_and_the_page(followed):
    folder = followed / "build/smoke/seed0/figures"
    board = (folder / "scoreboard-my2025.md").read_text("utf-8")
    for title in ("Accuracy of softmax regression", "What does one layer of weights see?"):
        assert f"[{title}](22_my_chapter/README.md)" in board
    assert "my2025" in (folder / "scoreboard.md").read_text("utf-8")
    page = (folder / "22_my_chapter/README.md").read_text("utf-8")
    assert "One template for each digit" in page
    assert "extra-weights.png" in page


def test_the_new_notebook_is_ready_to_be_committed(followed):
    command = [sys.executable, "-m", "workbook.tools.clean", "verify"]
    environment = os.environ | {"PYTHONPATH": str(followed)}
    done = subprocess.run(command, cwd=followed, env=environment, capture_output=True, encoding="utf-8")
    assert done.stderr == ""
    assert done.returncode == 0
