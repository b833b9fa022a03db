"""Files that were crafted to run code, to write elsewhere, or to fill the memory: they are refused by name.

Pickles in place of released models, checkpoints and cells are tested beside their modules, as is that no module of ours
loads a pickle or unpacks an archive to the disk.
"""

import gzip
import hashlib
import io
import json
import os
import pickle
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from lib.data import files, single_cell
from tests.workbook.test_runner import GOOD, figures, make_checkout, write_notebook
from workbook import cache
from workbook.paths import cache_dir
from workbook.tools import kernel


class Trap:
    """Runs code when it is unpickled."""

    def __init__(self, place: Path):
        self.place = place

    def __reduce__(self):
        return Path.touch, (self.place,)


def a_pickle(trap):
    return pickle.dumps({"w": trap})


def saved_by_torch(trap):
    buffer = io.BytesIO()
    torch.save({"w": trap}, buffer)
    return buffer.getvalue()


def saved_by_numpy(trap):
    buffer = io.BytesIO()
    np.savez(buffer, w=np.array([trap], dtype=object))
    return buffer.getvalue()


def a_zip_bomb(trap):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("w.npy", bytes(50_000_000))
    return buffer.getvalue()


def a_head_longer_than_the_file(trap):
    return (2**62).to_bytes(8, "little") + b"{}"


def a_head_of_brackets(trap):
    return (10**6).to_bytes(8, "little") + b"[" * 10**6


HOSTILE = [a_pickle, saved_by_torch, saved_by_numpy, a_zip_bomb, a_head_longer_than_the_file, a_head_of_brackets]


def train(n):
    return {"w": torch.ones(n)}, {"loss": [0.5]}


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda hostile: hostile.__name__)
def test_in_place_of_a_kept_model_it_is_named_and_trained_again(hostile, tmp_path, capsys):
    first = cache.trained("probe", train, n=2)
    (path,) = cache_dir().glob("*.safetensors")
    path.write_bytes(hostile(Trap(tmp_path / "executed")))
    again = cache.trained("probe", train, n=2)
    assert again.state["w"].equal(first.state["w"])
    assert f"models/{path.name} is damaged and ignored" in capsys.readouterr().err
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("name", ["cells.npz", "cells.pkl", "cells.h5ad", "cells.loom"])
@pytest.mark.parametrize("hostile", [a_pickle, saved_by_numpy, a_zip_bomb], ids=lambda hostile: hostile.__name__)
def test_in_place_of_cells_it_is_refused_by_name(hostile, name, tmp_path):
    (tmp_path / "cells").mkdir()
    (tmp_path / "cells" / name).write_bytes(hostile(Trap(tmp_path / "executed")))
    with pytest.raises(single_cell.CellsError, match=name):
        single_cell.load(tmp_path / "cells")
    assert not (tmp_path / "executed").exists()


# --- archives of data ------------------------------------------------------------------------------------------------

ABOUT = {"torchvision": "MNIST", "npm": "tiny@1", "npm_folder": "package/data"}


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A folder that lacks its only data file, without any other source than the test's."""
    about = ABOUT | {"files": {"train-a-ubyte": {"bytes": 5, "sha256": hashlib.sha256(b"right").hexdigest()}}}
    (tmp_path / "data").mkdir()
    (tmp_path / "data/manifest.json").write_text(json.dumps({"tiny": about}), "utf-8")

    def offline(*_):
        raise OSError("offline")

    monkeypatch.setattr(files, "_from_mirrors", offline)
    monkeypatch.setattr(files, "_from_debian", offline)
    return tmp_path / "data"


def packed(**members):
    """An npm package; a member that begins with → is a link."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            if content.startswith(b"->"):
                info.type, info.linkname = tarfile.SYMTYPE, content[2:].decode()
            elif content == b"folder":
                info.type = tarfile.DIRTYPE
            else:
                info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@pytest.mark.parametrize("member", [b"wrong", b"->../../../outside", b"->/etc/passwd", b"folder"])
def test_an_archive_writes_nothing_outside_and_its_file_is_compared_before_it_is_used(
    member, root, tmp_path, monkeypatch
):
    (tmp_path / "outside").write_bytes(b"right")
    around = {"../escaped": b"x", "../../../escaped": b"x", str(tmp_path / "escaped"): b"x", "package/pre.sh": b"x"}
    (tmp_path / "hostile.tgz").write_bytes(packed(**around, **{"package/data/train-a-ubyte": member}))
    npm = tmp_path / "bin/npm"
    npm.parent.mkdir()
    npm.write_text(f'#!/bin/sh\nfor folder; do :; done\ncp "{tmp_path}/hostile.tgz" "$folder/p.tgz"\n', "utf-8")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{npm.parent}:{os.environ['PATH']}")
    before = set(tmp_path.rglob("*"))
    with pytest.raises(files.DataError, match="could not get train-a-ubyte"):
        files.fetch(root, "tiny")
    assert {path for path in tmp_path.rglob("*") if path.name != "tiny"} == before


def test_a_small_file_that_unpacks_to_more_than_the_memory_is_refused(root, tmp_path):
    """Four megabytes of it would be four gigabytes."""
    block, parts = gzip.compress(bytes(2**26)), 64
    (root / "train-a-ubyte.gz").write_bytes(block * parts)
    program = (
        "import resource, sys, pathlib; from lib.data import files\n"
        "files._from_mirrors = files._from_npm = files._from_debian = lambda *_: []\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + 2**30,) * 2)\n"
        "try: files.fetch(pathlib.Path(sys.argv[1]), 'tiny')\n"
        "except files.DataError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(root)], capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    assert "train-a-ubyte.gz holds other data (wrong sha256)" in done.stdout


# --- notebooks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ['"; open("bad", "w")  #', "!touch bad", "$(touch bad)", "'''\nopen('bad', 'w')\n'''"])
def test_a_parameter_reaches_a_notebook_as_the_text_that_it_is(text, tmp_path):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "out").mkdir()
    seen = "import os, pathlib\n(pathlib.Path(os.environ['WORKBOOK_OUT']) / 'seen').write_text(profile + str(seed))"
    write_notebook(tmp_path, "30_reads", f"import os\nos.chdir({str(tmp_path)!r})\n{seen}")
    path = tmp_path / "notebooks/30_reads.ipynb"
    kernel.execute(path, tmp_path / "copy.ipynb", {"profile": text, "seed": 0}, tmp_path / "out")
    assert (tmp_path / "out/seen").read_text("utf-8") == f"{text}0"
    assert not list(tmp_path.rglob("bad"))


def test_looking_for_the_parameters_of_a_notebook_runs_none_of_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notebooks").mkdir()
    write_notebook(tmp_path, "30_good", GOOD)
    path = tmp_path / "notebooks/30_good.ipynb"
    text = path.read_text("utf-8")
    path.write_text(text.replace("seed = 0", "seed = 0\\n!touch bad\\nopen('bad', 'w')"), "utf-8")
    assert path.read_text("utf-8") != text
    kernel.check_parameters(path, {"profile": "smoke", "seed": 0})
    assert not list(tmp_path.rglob("bad"))


def test_the_name_of_a_notebook_is_no_command(tmp_path):
    copy = make_checkout(tmp_path / "copy", n30_good=GOOD, **{"n31_x;touch bad;": GOOD})
    done = figures(copy, "--profile", "smoke", "--jobs", "1")
    assert not list(tmp_path.rglob("bad")), done.output
