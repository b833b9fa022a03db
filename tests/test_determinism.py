"""Every real notebook twice with one seed: the same results and the same figures, byte for byte.

The first run is nbval's. The second one starts from an empty cache, hashes differently, and its clock is inverted: by
it, the longer of two steps is the shorter. So nothing that is measured in seconds can be in the results, as a number or
as the words that depend on it.
"""

import json
from pathlib import Path

import pytest
from jupyter_client import launcher
from jupyter_client.provisioning import local_provisioner

from tests import forked_kernel, smoke
from workbook.paths import NOTEBOOKS
from workbook.tools.run import execute, notebooks


@pytest.fixture
def first(request, notebook) -> dict[str, bytes]:
    """What nbval's run wrote."""
    if not request.config.getoption("nbval"):
        pytest.skip("compares with the run of nbval: make test")
    folder = Path(smoke.settings(notebook, "first")["WORKBOOK_OUT"])
    assert (folder / "inputs.json").exists(), "nbval has not run this notebook to its end"
    return content(folder)


def content(folder: Path) -> dict[str, bytes]:
    """{file name: content} without what is measured in seconds."""
    timed = {f["file"] for f in json.loads((folder / "timings.json").read_text())["figures"].values()}
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.name not in timed | {"timings.json"}}


def run_again(notebook: str, folder: Path, monkeypatch, **environment: str) -> dict[str, bytes]:
    settings = smoke.settings(notebook, "second") | environment | {"WORKBOOK_OUT": str(folder)}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    execute(NOTEBOOKS / f"{notebook}.ipynb", folder.with_suffix(".ipynb"), {"profile": "smoke", "seed": 0})
    return content(folder)


def differences(first: dict[str, bytes], second: dict[str, bytes]) -> list[str]:
    """Names of files that are not the same, and of entries of results.json."""
    ...


@pytest.mark.parametrize("notebook", notebooks())
def test_same_seed_same_bytes(notebook, first, tmp_path, monkeypatch):
    second = run_again(notebook, tmp_path / "second", monkeypatch, **{forked_kernel.CLOCK: "1"})
    assert first.keys() == second.keys()
    assert json.loads(first["results.json"]) == json.loads(second["results.json"])
    assert [name for name in first if first[name] != second[name]] == []


@pytest.mark.parametrize("notebook", ["15_create_what_you_want"])
def test_a_forked_kernel_gives_what_jupyters_own_gives(notebook, first, tmp_path, monkeypatch):
    monkeypatch.setattr(local_provisioner, "launch_kernel", launcher.launch_kernel)
    cache = {"WORKBOOK_CACHE": str(tmp_path / "models")}
    assert run_again(notebook, tmp_path / "unforked", monkeypatch, **cache) == first
