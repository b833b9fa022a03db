"""kill -9 and Ctrl-C at random moments of a smoke run of two real chapters; then it is run again.

The moments are drawn from a seed, over the time that an undisturbed run takes.
"""

import random
import shutil
import signal
import time
from contextlib import suppress

import psutil
import pytest

from tests.faults.conftest import finished, models, published, smoke

COMMANDS = {"papermill": "workbook.tools.run notebook", "kernel": "ipykernel_launcher"}
PARTS = ("build", "figures", ".cache/models", ".snakemake")


def victims(runner, kind):
    """Processes of this kind that a run has started; Snakemake's shell is none of them."""
    if kind == "runner":
        return [runner]
    found = []
    for process in runner.children(recursive=True):
        with suppress(psutil.Error):
            command = process.cmdline()
            if "python" in "".join(command[:1]) and COMMANDS[kind] in " ".join(command):
                found.append(process)
    return found


def killed(process, kind, moment, number):
    """Send a signal to one process of this kind at this moment, or later when there is one; whether it was there."""
    runner, begun = psutil.Process(process.pid), time.monotonic()
    while process.poll() is None:
        if time.monotonic() - begun >= moment and (found := victims(runner, kind)):
            started = {each for each in runner.children(recursive=True)}
            with suppress(psutil.NoSuchProcess):
                found[0].send_signal(number)
                return started
        time.sleep(0.02)
    return None


def is_whole(home, undisturbed):
    """What is there after a fault is what an undisturbed run makes, and nothing else."""
    assert published(home).items() <= undisturbed.published.items()
    assert models(home).keys() <= undisturbed.models.keys()


def ended(processes):
    """End what a killed run left behind."""
    for each in processes:
        with suppress(psutil.NoSuchProcess):
            each.kill()


@pytest.mark.parametrize(
    ("faults", "seed"),
    [
        pytest.param([("runner", signal.SIGKILL), ("papermill", signal.SIGKILL), ("kernel", signal.SIGKILL)] * 3
                     + [("runner", signal.SIGKILL)], 27, id="killed"),
        pytest.param([("runner", signal.SIGINT)] * 3, 28, id="interrupted"),
    ],
)  # fmt: skip
def test_a_disturbed_run_ends_with_the_bytes_of_an_undisturbed_one(faults, seed, chapters, undisturbed, tmp_path):
    draw, orphans, waiting = random.Random(seed), [], []
    moments = [draw.uniform(0, undisturbed.seconds) for _ in faults]
    left = [(kind, number, moment) for (kind, number), moment in zip(faults, moments, strict=True)]
    kept: dict[str, int] = {}
    try:
        while True:
            process = smoke(chapters, tmp_path)
            started = killed(process, *[left[0][0], left[0][2], left[0][1]]) if left else None
            begun = time.monotonic()
            done = finished(process)
            is_whole(tmp_path, undisturbed)
            assert kept.items() <= models(tmp_path).items(), "a finished training is not repeated"
            kept = models(tmp_path)
            assert "Traceback" not in done.output, done.output
            if started is not None:
                kind, _, moment = left.pop(0)
                orphans += started
                assert done.code != 0, f"{kind} was killed: {done.output}"
                waiting.append(f"{kind} at {moment:.1f} s ended after {time.monotonic() - begun:.1f} s")
                continue
            assert done.code == 0, done.output
            assert published(tmp_path) == undisturbed.published
            if not left:
                break
            for part in PARTS:  # it ended before the moment: the next fault meets a run from nothing
                shutil.rmtree(tmp_path / part, ignore_errors=True)
            kept = {}
    finally:
        ended(orphans)
    print("", *waiting, sep="\n")
