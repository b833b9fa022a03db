"""Four processes search together in a PostgreSQL database on the loopback address, and two of them are killed."""

import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
from filelock import FileLock
from optuna.trial import TrialState

from workbook.paths import ROOT
from workbook.search import FINISHED, search

pytestmark = pytest.mark.cluster
PROGRAMS = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)
SPACE = {"a": list(range(40)), "b": list(range(40))}
TRIALS = 16


def smooth(report, a, b):
    """Smallest at a = 7, b = 21; two steps, after which a trial can be pruned."""
    value = (a - 7) ** 2 + (b - 21) ** 2
    for step in (1, 2):
        report(step, value + 1 / step)
    return float(value)


def watched(report, a, b, folder):
    """The same, with a line in ``folder``/log when it begins and ends; it waits while ``folder``/wait is there."""
    note(folder, "begins", a, b)
    turn(folder).release()
    while Path(folder, "wait").exists():
        time.sleep(0.05)
    value = smooth(report, a, b)
    time.sleep(0.2 + (a + b) % 7 / 10)
    turn(folder).acquire()
    note(folder, "ends", a, b)
    return value


@cache
def turn(folder):
    """Held by a process from the end of one trial to the begin of its next.

    Two processes that draw at the same moment draw the same choice. Here they draw one after another.
    """
    return FileLock(Path(folder, "turn"))


def note(folder, what, a, b):
    with open(Path(folder, "log"), "a", encoding="utf-8") as file:
        file.write(json.dumps([what, os.getpid(), a, b]) + "\n")


def notes(folder):
    log = folder / "log"
    return [json.loads(line) for line in log.read_text("utf-8").splitlines()] if log.exists() else []


@pytest.fixture(scope="module")
def database():
    """The address of an empty PostgreSQL server, which is stopped and deleted afterwards."""
    if not PROGRAMS:
        pytest.skip("PostgreSQL is missing: apt-get install postgresql")
    pytest.importorskip("psycopg2", reason="psycopg2 is missing: make test-cluster installs it")
    account = "postgres" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name  # it refuses to run as root
    folder = Path(tempfile.mkdtemp(prefix="wb-", dir="/tmp"))
    shutil.chown(folder, account)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    def call(program, *arguments):
        command = [PROGRAMS / program, "-D", folder / "data", *arguments]
        done = subprocess.run(command, user=account, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert done.returncode == 0, done.stdout.decode()

    try:
        call("initdb", "-U", "workbook", "-A", "trust", "--no-sync")
        options = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories='' -c fsync=off"
        call("pg_ctl", "start", "-w", "-l", folder / "server.log", "-o", options)
        yield f"postgresql://workbook@127.0.0.1:{port}/postgres"
        call("pg_ctl", "stop", "-m", "immediate")
    finally:
        shutil.rmtree(folder)


def worker(database, folder):
    settings = f"trials={TRIALS}, sampler='random', folder={str(folder)!r}"
    code = f"turn({str(folder)!r}).acquire()\nsearch('shared', watched, SPACE, {settings})"
    path = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
    return subprocess.Popen(
        [sys.executable, "-c", f"from test_postgresql import *\n{code}"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path, "OPTUNA_STORAGE": database},
    )


def until(condition, *processes):
    deadline = time.monotonic() + 900
    while not condition():
        assert all(process.poll() is None for process in processes), "a worker ended too early"
        assert time.monotonic() < deadline
        time.sleep(0.05)


def finished(study):
    return [(t.params, t.value, t.state) for t in study.trials if t.state in FINISHED]


def values(trials):
    return sorted((*sorted(params.items()), value) for params, value, _ in trials)


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_one_process_finds_the_same_in_postgresql_as_in_sqlite(database, sampler, monkeypatch):
    alone = search("alone", smooth, SPACE, trials=20, sampler=sampler, seed=3)
    monkeypatch.setenv("OPTUNA_STORAGE", database)
    shared = search("alone", smooth, SPACE, trials=20, sampler=sampler, seed=3)
    assert finished(shared) == finished(alone)
    assert [t.intermediate_values for t in shared.trials] == [t.intermediate_values for t in alone.trials]
    assert shared.best_params == alone.best_params


def test_four_workers_lose_nothing_and_repeat_nothing_when_two_are_killed(database, tmp_path, monkeypatch):
    workers = [worker(database, tmp_path) for _ in range(4)]

    def all_have_begun():
        return [{pid: what for what, pid, *_ in notes(tmp_path)}.get(p.pid) for p in workers] == ["begins"] * 4

    (tmp_path / "wait").touch()
    until(all_have_begun, *workers)
    (tmp_path / "wait").unlink()
    until(lambda: sum(what == "ends" for what, *_ in notes(tmp_path)) >= 4, *workers)
    (tmp_path / "wait").touch()
    until(all_have_begun, *workers)
    monkeypatch.setenv("OPTUNA_STORAGE", database)
    before = search("shared", watched, SPACE, trials=0, sampler="random", folder=str(tmp_path))
    killed = workers[:2]
    for process in killed:
        process.send_signal(signal.SIGKILL)
        process.wait()
    began = {pid: (a, b) for what, pid, a, b in notes(tmp_path) if what == "begins"}
    doomed = sorted(began[process.pid] for process in killed)
    (tmp_path / "wait").unlink()
    assert [process.wait(timeout=900) for process in workers[2:]] == [0, 0]
    after = search("shared", watched, SPACE, trials=0, sampler="random", folder=str(tmp_path))

    kept = {t.number: (t.params, t.value, t.datetime_complete) for t in before.trials if t.state in FINISHED}
    now = {t.number: (t.params, t.value, t.datetime_complete) for t in after.trials if t.state in FINISHED}
    assert len(kept) >= 4
    assert kept.items() <= now.items(), "what was finished stays as it was"
    assert TRIALS <= len(now) <= TRIALS + 1, "of two workers, one may have begun a trial when the other ended the last"

    dead = [t for t in after.trials if t.state == TrialState.FAIL]
    assert sorted((t.params["a"], t.params["b"]) for t in dead) == doomed
    retried = [t for t in after.trials if "failed_trial" in t.system_attrs]
    assert sorted(t.system_attrs["failed_trial"] for t in retried) == sorted(t.number for t in dead)
    assert {t.state for t in retried} == {TrialState.COMPLETE}

    ends = Counter((a, b) for what, _, a, b in notes(tmp_path) if what == "ends")
    assert set(ends.values()) == {1}, "no choice is computed twice"
    begins = Counter((a, b) for what, _, a, b in notes(tmp_path) if what == "begins")
    assert begins == ends + Counter(doomed)

    monkeypatch.delenv("OPTUNA_STORAGE")
    alone = search("alone", smooth, SPACE, trials=len(now), sampler="random")
    assert values(finished(after)) == values(finished(alone)), "the same choices and values as one process finds"
    assert after.best_params == alone.best_params
