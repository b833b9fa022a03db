"""The real notebooks, twice from nothing with one seed: the same results and the same figures, byte for byte."""

import json

import pytest

from lib.paths import NOTEBOOKS
from lib.runner import execute, notebooks


@pytest.fixture(scope="module")
def caches(tmp_path_factory):
    """One for the first runs and one for the second, so that shared models are trained once in each."""
    return {run: tmp_path_factory.mktemp(f"models-{run}") for run in ("first", "second")}


def produce(notebook, folder, cache, monkeypatch):
    """{file name: content} of a smoke run, without what is measured in seconds."""
    monkeypatch.setenv("WORKBOOK_CACHE", str(cache))
    monkeypatch.setenv("WORKBOOK_OUT", str(folder / "out"))
    folder.mkdir()
    execute(NOTEBOOKS / f"{notebook}.ipynb", folder / "executed.ipynb", {"profile": "smoke", "seed": 3})
    timed = {f["file"] for f in json.loads((folder / "out" / "timings.json").read_text())["figures"].values()}
    return {p.name: p.read_bytes() for p in (folder / "out").iterdir() if p.name not in timed | {"timings.json"}}


@pytest.mark.parametrize("notebook", [n for n in notebooks() if n != "21_scoreboard"])
def test_same_seed_same_bytes(notebook, tmp_path, caches, monkeypatch):
    first, second = (produce(notebook, tmp_path / run, cache, monkeypatch) for run, cache in caches.items())
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []
    assert json.loads(first["results.json"])["seed"] == 3
