"""A checkout with two real chapters, a short one and one that trains, and an undisturbed smoke run of it."""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.workbook.test_runner import environment_of, make_checkout
from workbook import cache
from workbook.paths import DATA, ROOT

CHAPTERS = ("00_start_here", "18_denoising_autoencoder")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.faults)


@pytest.fixture(scope="session")
def chapters(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chapters") / "copy"
    folder.mkdir()
    make_checkout(folder)
    for name in CHAPTERS:
        shutil.copy(ROOT / f"notebooks/{name}.ipynb", folder / "notebooks")
    (folder / "data/mnist").symlink_to(DATA / "mnist")
    return folder


def smoke(folder, home, *, prefix=(), **environment):
    """Start a smoke run of this checkout, whose files go to ``home``; what it says goes to a file, for ``finished``.

    With a pipe, the end of a killed run could not be told from the end of what it leaves behind.
    """
    said = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115, it is read when the run has ended
    command = [*prefix, sys.executable, "-m", "workbook.tools.run", "figures", "--profile", "smoke", "--jobs", "2"]
    settings = environment_of(folder) | {"WORKBOOK_HOME": str(home)} | environment
    process = subprocess.Popen(
        command, cwd=folder, env=settings, stdout=said, stderr=subprocess.STDOUT, start_new_session=True
    )
    process.said = said
    return process


def finished(process):
    """Exit code and output of a run, which is not waited for longer than five minutes."""
    code = process.wait(timeout=300)
    process.said.seek(0)
    return SimpleNamespace(code=code, output=process.said.read())


def published(home):
    """{path: content} of the results and pictures of a run, which durations do not change."""
    folder = home / "build/smoke/seed0/figures"
    found = [path for ending in ("results.json", "*.png") for path in folder.glob(f"*/{ending}")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(found)}


def models(home):
    """{file: time} of the kept trainings, each of which is whole."""
    found = {path.name: path.stat().st_mtime_ns for path in (home / ".cache/models").glob("*.safetensors")}
    for name in found:
        cache.unpacked((home / ".cache/models" / name).read_bytes())
    return found


@pytest.fixture(scope="session")
def undisturbed(chapters, tmp_path_factory):
    """What a run that nothing disturbs publishes, its trainings, and its seconds."""
    home, start = tmp_path_factory.mktemp("undisturbed"), time.monotonic()
    done = finished(smoke(chapters, home))
    assert done.code == 0, done.output
    found = published(home)
    assert {path.split("/")[0] for path in found} == set(CHAPTERS)
    assert all(json.loads(found[f"{name}/results.json"])["figures"] for name in CHAPTERS)
    return SimpleNamespace(published=found, models=models(home), seconds=time.monotonic() - start, home=home)
