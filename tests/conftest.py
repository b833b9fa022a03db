"""Shared fixtures. Trained models of the tests go to a temporary cache, never to the one of this checkout."""

import matplotlib
import pytest

from lib import compute, data

matplotlib.use("agg")


@pytest.fixture(autouse=True)
def isolated(monkeypatch, tmp_path):
    """Fixed threads, and no test reads or writes the cache or results of this checkout."""
    compute.configure()
    monkeypatch.setenv("WORKBOOK_CACHE", str(tmp_path / "models"))
    monkeypatch.setenv("WORKBOOK_OUT", str(tmp_path / "out"))
    monkeypatch.delenv("WORKBOOK_PROFILE", raising=False)


@pytest.fixture(scope="session")
def small():
    """2,000 training and 1,000 test images of real MNIST."""
    return data.mnist(n_train=2000, n_test=1000)
