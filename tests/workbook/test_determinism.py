"""Every notebook twice with one seed: the same results and the same figures, byte for byte.

The first run is nbval's. The second one starts from nothing, with other hashes, and with a clock that is distorted the
other way round: nothing that is measured in seconds is in the results, be it a number or the words that depend on it.
"""

import json
from pathlib import Path

import pytest
from jupyter_client import launcher
from jupyter_client.provisioning import local_provisioner

from tests import smoke
from tests.forked_kernel import distorted
from workbook.paths import NOTEBOOKS
from workbook.tools.kernel import execute
from workbook.tools.run import notebooks


@pytest.fixture
def first(request, notebook) -> dict[str, bytes]:
    """What nbval's run wrote."""
    if not request.config.getoption("nbval"):
        pytest.skip("there is no run by nbval to compare with: make test")
    folder = Path(smoke.settings(notebook, "first")["WORKBOOK_OUT"])
    assert (folder / "inputs.json").exists(), "nbval did not run this notebook to its end"
    return written(folder)


def written(folder: Path) -> dict[str, bytes]:
    """{file name: content} without what is measured in seconds."""
    timed = {f["file"] for f in json.loads((folder / "timings.json").read_text("utf-8"))["figures"].values()}
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.name not in timed | {"timings.json"}}


def run(notebook: str, folder: Path, environment: dict[str, str], monkeypatch) -> dict[str, bytes]:
    """What a run by papermill writes to ``folder``."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    execute(NOTEBOOKS / f"{notebook}.ipynb", folder.with_suffix(".ipynb"), {"profile": "smoke", "seed": 0}, folder)
    return written(folder)


def entries(results: bytes) -> dict[str, object]:
    """{place in results.json: content}, so that a failure names the items."""
    content = json.loads(results)
    return content | {
        f"{part} {name}": entry for part in ("items", "figures") for name, entry in content.pop(part).items()
    }


@pytest.mark.smoke
@pytest.mark.parametrize("notebook", notebooks())
def test_same_seed_same_bytes(notebook, first, tmp_path, monkeypatch):
    second = run(notebook, tmp_path / "second", smoke.settings(notebook, "second"), monkeypatch)
    one, other = entries(first["results.json"]), entries(second["results.json"])
    assert {name: (one.get(name), other.get(name)) for name in one | other if one.get(name) != other.get(name)} == {}
    assert [name for name in first | second if first.get(name) != second.get(name)] == []


@pytest.mark.smoke
@pytest.mark.parametrize("notebook", ["00_start_here"])
def test_forked_kernels_give_what_jupyters_own_give(notebook, first, tmp_path, monkeypatch):
    monkeypatch.setattr(local_provisioner, "launch_kernel", launcher.launch_kernel)
    settings = smoke.settings(notebook, "second") | {"WORKBOOK_CACHE": str(tmp_path / "models")}
    assert run(notebook, tmp_path / "unforked", settings, monkeypatch) == first


@pytest.mark.parametrize("notebook", notebooks())
def test_durations_are_measured_with_the_clock_that_is_distorted(notebook):
    text = (NOTEBOOKS / f"{notebook}.ipynb").read_text("utf-8")
    assert [
        clock for clock in ("time.time(", "monotonic", "process_time", "timeit", "from time ") if clock in text
    ] == []


def test_a_distorted_clock_takes_the_longer_for_the_shorter():
    right = iter([0.0, 0.0, 1.0, 1.0, 4.0] * 2)  # a second, and then three

    def measure(power: float) -> bool:
        notebook = {"__name__": "__main__", "clock": distorted(lambda: next(right), power)}
        exec("a = -clock() + clock(); b = -clock() + clock()", notebook)
        return notebook["a"] < notebook["b"]

    assert measure(1) != measure(-1)
