"""One flipped byte in what a smoke run of two real chapters left: it is detected, named and made again, the same.

Flips in checkpoints, released models and data files are tested beside their modules.
"""

import os
import random
import shutil

import pytest

from tests.faults.conftest import CHAPTERS, finished, models, published, smoke

RESULTS = "build/smoke/seed0/figures"


def flipped(path, seed):
    """Flip one bit of a file, and keep its time, as a failing disk does."""
    times, content = path.stat(), bytearray(path.read_bytes())
    draw = random.Random(seed)
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


@pytest.fixture
def home(undisturbed, tmp_path):
    """A copy of what an undisturbed run left, in which everything is up to date."""
    shutil.copytree(undisturbed.home, tmp_path / "home", symlinks=True)
    return tmp_path / "home"


def test_damaged_results_and_pictures_are_named_and_made_again(home, chapters, undisturbed):
    damaged = [f"{RESULTS}/{CHAPTERS[0]}/results.json", f"{RESULTS}/{CHAPTERS[0]}/extra-first-digits.png"]
    for seed, file in enumerate(damaged):
        flipped(home / file, seed)
    done = finished(smoke(chapters, home))
    assert done.code == 0, done.output
    assert all(file in done.output for file in damaged)
    assert f"1 of 2 notebooks to run, 2 at a time: {CHAPTERS[0]}\n" in done.output
    assert published(home) == undisturbed.published
    assert "nothing to do: all notebooks are up to date" in finished(smoke(chapters, home)).output


def test_a_damaged_model_and_its_history_are_named_and_trained_again(home, chapters, undisturbed):
    """A bit of the file may belong to a weight, to the history in its head, or to its hash."""
    damaged = sorted((home / ".cache/models").glob("*.safetensors"))
    for seed, path in enumerate(damaged):
        flipped(path, seed)
    for name in CHAPTERS:
        (home / f"build/smoke/seed0/{name}.ipynb").unlink()
    done = finished(smoke(chapters, home))
    assert done.code == 0, done.output
    assert [path.name for path in damaged if f"{path.name} is damaged and ignored" not in done.output] == []
    assert models(home).keys() == undisturbed.models.keys()
    assert published(home) == undisturbed.published
