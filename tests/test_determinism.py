"""The real notebooks, twice from nothing with one seed: the same results and the same figures, byte for byte."""

import json

import pytest

from lib.paths import NOTEBOOKS
from lib.runner import execute, notebooks


def produce(notebook, folder, monkeypatch):
    """{file name: content} of a smoke run with an empty cache, without what is measured in seconds."""
    monkeypatch.setenv("WORKBOOK_CACHE", str(folder / "models"))
    monkeypatch.setenv("WORKBOOK_OUT", str(folder / "out"))
    folder.mkdir()
    execute(NOTEBOOKS / f"{notebook}.ipynb", folder / "executed.ipynb", {"profile": "smoke", "seed": 3})
    timed = {f["file"] for f in json.loads((folder / "out" / "timings.json").read_text())["figures"].values()}
    return {p.name: p.read_bytes() for p in (folder / "out").iterdir() if p.name not in timed | {"timings.json"}}


@pytest.mark.parametrize("notebook", [n for n in notebooks() if n != "21_scoreboard"])
def test_same_seed_same_bytes(notebook, tmp_path, monkeypatch):
    first, second = (produce(notebook, tmp_path / run, monkeypatch) for run in ("first", "second"))
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []
    assert json.loads(first["results.json"])["seed"] == 3
