"""Fixtures of all tests. Nothing reads or writes the cache and the results of this checkout."""

import os
import signal
import sys
from contextlib import suppress

import matplotlib
import pytest

from lib import progress
from workbook.paths import DATA

matplotlib.use("agg")
with suppress(ValueError):  # not in the main thread
    signal.signal(signal.SIGINT, signal.default_int_handler)  # nohup ignores it, and what it starts would as well
os.environ.setdefault("OMP_NUM_THREADS", "1")  # also while fixtures of a module train, before ``isolated`` runs


@pytest.fixture(autouse=True)
def isolated(monkeypatch, tmp_path):
    """One thread, plain lines as progress, and a cache and results folder for each test."""
    if "torch" in sys.modules:  # tests that do without it start faster
        from lib import compute

        compute.configure(1)
    monkeypatch.setattr(progress, "plain", True)
    if cache := sys.modules.get("workbook.cache"):
        monkeypatch.setattr(cache, "some_released", True)
    monkeypatch.setenv("WORKBOOK_CACHE", str(tmp_path / "models"))
    monkeypatch.setenv("WORKBOOK_OUT", str(tmp_path / "out"))
    monkeypatch.setenv("WORKBOOK_PROGRESS", "lines")
    monkeypatch.setenv("WORKBOOK_WIDGETS", "off")
    for name in ("WORKBOOK_PROFILE", "WORKBOOK_RETRAIN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def small():
    """2,000 training and 1,000 test images of real MNIST."""
    from lib import data

    return data.mnist(DATA, n_train=2000, n_test=1000)
