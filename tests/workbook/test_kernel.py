"""Kernels of batch runs: this Python, and nothing of the user's settings."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.workbook.test_runner import write_notebook
from workbook.tools import kernel

SEE = """
import builtins, json, os, pathlib, sys
import matplotlib
seen = {
    "python": sys.executable,
    "startup": vars(builtins).get("hostile", []),
    "encoding": open(os.devnull).encoding,
    "lines": matplotlib.rcParams["lines.linewidth"],
    "out": os.environ["WORKBOOK_OUT"],
}
pathlib.Path(os.environ["WORKBOOK_OUT"], "seen.json").write_text(json.dumps(seen), "utf-8")
"""
STARTUP = "import builtins\nbuiltins.hostile = [*vars(builtins).get('hostile', []), __file__]\n"


@pytest.fixture
def hostile(tmp_path, monkeypatch):
    """A user whose settings change what they can."""
    home = tmp_path / "home"
    files = {
        ".ipython/profile_default/startup/00.py": STARTUP,
        ".ipython/profile_default/ipython_kernel_config.py": "c.InteractiveShellApp.exec_lines = ['1 / 0', 'exit()']",
        ".pythonrc.py": STARTUP,
        ".config/matplotlib/matplotlibrc": "lines.linewidth: 6\n",
        ".local/share/jupyter/kernels/python3/kernel.json": json.dumps(
            {"argv": ["/bin/false", "{connection_file}"], "display_name": "another", "language": "python"}
        ),
    }
    for name, content in files.items():
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, "utf-8")
    for name in ("MPLCONFIGDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "IPYTHONDIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("PYTHONSTARTUP", str(home / ".pythonrc.py"))
    monkeypatch.setenv("MATPLOTLIBRC", str(home / ".config/matplotlib/matplotlibrc"))
    monkeypatch.setenv("MPLBACKEND", "no-such-backend")
    monkeypatch.setenv("JUPYTER_PATH", str(home / ".local/share/jupyter"))
    monkeypatch.setenv("PYTHONUTF8", "0")
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    monkeypatch.setenv("LC_ALL", "C")
    return home


def seen(tmp_path, code=SEE):
    """What a notebook sees that a batch run executes."""
    (tmp_path / "notebooks").mkdir()
    write_notebook(tmp_path, "30_sees", code)
    before = dict(os.environ)
    kernel.execute(tmp_path / "notebooks/30_sees.ipynb", tmp_path / "copy.ipynb", {"seed": 1}, tmp_path)
    assert dict(os.environ) == before
    return json.loads((tmp_path / "seen.json").read_text("utf-8"))


def test_nothing_of_the_users_settings_reaches_a_kernel(hostile, tmp_path):
    found = seen(tmp_path)
    assert found == {
        "python": sys.executable,
        "startup": [],
        "encoding": "utf-8",
        "lines": 1.5,
        "out": str(tmp_path),
    }


def test_these_settings_do_change_a_kernel_that_is_started_without_care(hostile):
    """Otherwise the test above would hold for whatever reason."""
    changed = "import matplotlib; print(matplotlib.rcParams['lines.linewidth'], open('/dev/null').encoding)"
    environment = {**os.environ, "MPLBACKEND": "agg"}
    done = subprocess.run([sys.executable, "-c", changed], env=environment, capture_output=True, encoding="utf-8")
    assert done.stdout.split()[0] == "6.0"
    assert done.stdout.split()[1].lower() != "utf-8"


def test_a_long_path_of_temporary_files_does_not_stop_a_run(tmp_path, monkeypatch):
    long = tmp_path / ("t" * 100)
    long.mkdir()
    monkeypatch.setenv("TMPDIR", str(long))
    monkeypatch.setattr("tempfile.tempdir", None)
    with kernel.scratch() as short:
        assert kernel.sockets(Path(short))["transport"] == "ipc", "another place is found"
    assert seen(tmp_path)["out"] == str(tmp_path)


def test_sockets_are_files_where_their_path_is_short_enough_and_ports_elsewhere():
    assert kernel.sockets(Path("/tmp/wb-1")) == {"transport": "ipc", "ip": "/tmp/wb-1/kernel"}
    assert kernel.sockets(Path("/tmp") / ("t" * 100)) == {}


def test_a_kernel_is_reached_where_only_long_paths_can_be_written(tmp_path, monkeypatch):
    monkeypatch.setattr(kernel, "LONGEST_SOCKET", 10)
    assert seen(tmp_path)["python"] == sys.executable
