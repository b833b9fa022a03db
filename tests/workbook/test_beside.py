"""Trainings beside each other, in tiny notebooks that say in log.txt which process trained what."""

import json
import os
import signal
import time

import pytest

from tests.workbook.test_runner import RECORD, figures, kill_tree, make_checkout, start
from workbook import beside, cache

TRAINS = (
    RECORD
    + """
import sys, time
import torch
from workbook.cache import cached, trained

def log(*what):
    with open("log.txt", "a") as file:
        print(os.getpid(), "WORKBOOK_SLOTS" in os.environ, *what, file=file, flush=True)
    print("at", *what, file=sys.stderr)

def measure(n, by=0):
    HOOK
    log("measure", n, by)
    time.sleep(0.3)
    return {"value": n + by, "drawn": torch.rand(2, generator=torch.Generator().manual_seed(n))}

def train(n):
    log("train", n)
    time.sleep(0.3)
    return {"w": torch.full((3,), float(n))}, {"loss": [n / 2]}

found = [cached("probe", measure, n=n)["value"] for n in range(4)]
best = max(found)
with open("written.txt", "a") as file:
    file.write(f"{best} ")
print(f"the best is {best}")
after = cached("probe", measure, n=9, by=best)
nets = {n: trained("net", train, n=n) for n in (5, 6)}
weights = [net.state["w"].tolist() for net in nets.values()]
record("extra-line", values=found, after=after["drawn"].tolist(), weights=weights)
"""
)

TRAININGS = [*(f"measure {n} 0" for n in range(4)), "measure 9 3", "train 5", "train 6"]


def code(hook="pass"):
    return TRAINS.replace("HOOK", hook)


def logged(folder):
    """(process, whether it is the notebook's, what) of each training."""
    lines = [line.split(" ", 2) for line in (folder / "log.txt").read_text("utf-8").splitlines()]
    return [(int(pid), own == "True", what) for pid, own, what in lines]


def models(folder):
    """{file: all of it but the seconds} of the trained models."""
    found = {
        path.name: cache.unpacked(path.read_bytes()) for path in (folder / ".cache/retrained").glob("*.safetensors")
    }
    return {
        name: [{key: tensor.tolist() for key, tensor in state.items()}, about | {"seconds": 0}]
        for name, (state, about) in found.items()
    }


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A checkout in which one notebook ran in one slot."""
    folder = make_checkout(tmp_path_factory.mktemp("alone"), n30_one=code())
    done = figures(folder, "--profile", "smoke", "--retrain", "--jobs", "1")
    assert not done.code, done.output
    return folder


@pytest.fixture(scope="module")
def beside_another(tmp_path_factory):
    """A checkout in which two notebooks ran at once, in four slots, with the same models."""
    folder = make_checkout(tmp_path_factory.mktemp("beside"), n30_one=code(), n31_other=code())
    done = figures(folder, "--profile", "smoke", "--retrain", "--jobs", "4")
    assert not done.code, done.output
    return folder


def results(folder, notebook="30_one"):
    return {
        path.name: path.read_bytes() for path in (folder / "build/smoke/seed0/figures" / notebook).glob("results.json")
    }


def test_trainings_beside_each_other_make_the_same_bytes(alone, beside_another):
    assert models(alone) == models(beside_another)
    assert results(alone)
    assert results(alone) == results(beside_another)


def test_every_model_is_trained_once_also_where_two_notebooks_share_it(alone, beside_another):
    for folder in (alone, beside_another):
        assert sorted(what for *_, what in logged(folder)) == sorted(TRAININGS)


def test_without_retrain_a_notebook_trains_one_after_the_other(tmp_path):
    folder = make_checkout(tmp_path / "copy", n30_one=code())
    assert not figures(folder, "--profile", "smoke", "--jobs", "4").code
    assert [what for *_, what in logged(folder)] == TRAININGS


def test_only_free_slots_are_used(alone, beside_another):
    assert not [what for _, own, what in logged(alone) if not own]
    assert len([what for _, own, what in logged(beside_another) if not own]) > 1


def test_who_looks_ahead_prints_and_writes_nothing(beside_another):
    assert (beside_another / "written.txt").read_text("utf-8") == "3 3 "
    executed = json.loads((beside_another / "build/smoke/seed0/30_one.ipynb").read_text("utf-8"))
    outputs = [output for cell in executed["cells"] for output in cell.get("outputs", [])]
    printed = ["".join(output["text"]) for output in outputs if output.get("name") == "stdout"]
    assert "".join(printed) == "the best is 3\n"


def test_what_workers_say_is_shown_once(tmp_path, monkeypatch):
    monkeypatch.delenv("PYTEST_CURRENT_TEST")  # with it, ipykernel leaves the standard error as it is
    folder = make_checkout(tmp_path / "copy", n30_one=code())
    done = figures(folder, "--profile", "smoke", "--retrain", "--jobs", "4")
    assert sum(not own for _, own, _ in logged(folder)) > 1
    assert [done.output.count(f"at {what}\n") for what in TRAININGS] == [1] * len(TRAININGS)


def test_a_training_that_fails_beside_fails_its_notebook_alone_with_its_own_message(tmp_path):
    failing = code("n or time.sleep(3); n != 2 or log('fails'); assert n != 2, 'two is too much'")
    folder = make_checkout(tmp_path / "copy", n30_one=failing, n31_other=RECORD + "\nrecord('extra-line', values=[1])")
    done = figures(folder, "--profile", "smoke", "--retrain", "--jobs", "4")
    assert done.code == 1
    assert "30_one: cell [3] under “The section” stopped with AssertionError: two is too much" in done.output
    assert done.output.count("AssertionError") == 1
    assert [own for _, own, what in logged(folder) if what == "fails"][:2] == [False, True]
    assert results(folder, "31_other")
    assert not results(folder)


def test_what_a_killed_worker_left_is_trained_by_the_notebook(tmp_path, alone):
    hook = "n or time.sleep(3); 'WORKBOOK_SLOTS' in os.environ or n != 1 or log('killed') or os.kill(os.getpid(), 9)"
    folder = make_checkout(tmp_path / "copy", n30_one=code(hook))
    done = figures(folder, "--profile", "smoke", "--retrain", "--jobs", "4")
    assert not done.code, done.output
    assert results(folder) == results(alone)
    assert [own for _, own, what in logged(folder) if what in ("killed", "measure 1 0")] == [False, True]


def test_ctrl_c_reaches_workers_and_none_outlives_its_notebook(tmp_path):
    slow = """log("begun", n)
    try:
        time.sleep(100 if n < 3 else 0)
    except KeyboardInterrupt:
        log("kept", n)
        raise"""
    folder = make_checkout(tmp_path / "copy", n30_one=code(slow))
    process = start(folder, "figures", "--profile", "smoke", "--retrain", "--jobs", "4")
    try:
        begun, deadline = [], time.monotonic() + 120
        while len(begun) < 3:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
            lines = logged(folder) if (folder / "log.txt").exists() else []
            begun = [pid for pid, _, what in lines if what in ("begun 0", "begun 1", "begun 2")]
        os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=60)
    except BaseException:
        kill_tree(process.pid)
        raise
    while any(map(running, begun)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert sorted(what for *_, what in logged(folder) if "kept" in what) == ["kept 0", "kept 1", "kept 2"]


def running(pid):
    """Whether a process still runs; a zombie does not."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_statements_and_elements_fail_alone_and_leave_unknown_what_they_would_have_set():
    scope = {"results": beside.UNKNOWN, "asked": [], "kept": 1, "lost": 2}
    cell = """
found = [asked.append(n) or results[n]["loss"][-1] + 1 for n in range(3)]
lost = max(found)
for n in range(2):
    asked.append(("loop", n))
    kept_too = float(results)
if results > 1:
    lost_too = 3
def function():
    return [1 / 0 for _ in range(2)]
"""
    beside.execute(cell, "<cell of a test>", scope)
    assert scope["asked"] == [0, 1, 2, ("loop", 0), ("loop", 1)]
    assert all(each is beside.UNKNOWN for each in scope["found"])
    assert scope["lost"] is scope["kept_too"] is scope["lost_too"] is beside.UNKNOWN
    assert scope["kept"] == 1
    with pytest.raises(ZeroDivisionError):
        scope["function"]()


@pytest.mark.parametrize("use", [bool, len, float, list, hash, lambda x: x == 1, lambda x: x < 1, lambda x: x + 1])
def test_nothing_is_decided_by_what_is_unknown(use):
    with pytest.raises(TypeError):
        use(beside.UNKNOWN.history["loss"][-1])
