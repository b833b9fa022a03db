"""Where runs and caches go: the checkout, or a folder of the user's where the checkout belongs to others."""

import os
from pathlib import Path

import pytest

from workbook import paths


@pytest.fixture
def user(monkeypatch, tmp_path):
    """A user with a home, and a checkout; ``deny`` names what they may not write."""
    checkout, home = tmp_path / "checkout", tmp_path / "home"
    for folder in (checkout / "build", home):
        folder.mkdir(parents=True)
    denied = set()
    monkeypatch.setattr(paths, "ROOT", checkout)
    monkeypatch.setattr(Path, "home", lambda: home)
    monkeypatch.setattr(os, "access", lambda place, _: Path(place) not in denied and Path(place).exists())
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.delenv("WORKBOOK_HOME", raising=False)
    return checkout, home, lambda *places: denied.update(places)


def test_a_checkout_that_can_be_written_holds_its_runs(user):
    checkout, _, _ = user
    assert paths.home() == checkout


@pytest.mark.parametrize("part", ["", "build"])
def test_in_a_checkout_of_another_user_runs_go_to_ones_own_folder(user, part):
    checkout, home, deny = user
    deny(checkout / part)
    assert paths.home() == home / "generative-models-workbook"


def test_without_a_home_that_can_be_written_runs_go_to_the_temporary_files(user, tmp_path):
    checkout, home, deny = user
    deny(checkout, home)
    assert paths.home() == tmp_path / f"generative-models-workbook-{os.getuid()}"


def test_for_a_user_whom_the_system_does_not_know_runs_go_to_the_temporary_files(user, tmp_path, monkeypatch):
    def unknown():
        raise RuntimeError("Could not determine home directory.")

    checkout, _, deny = user
    deny(checkout)
    monkeypatch.setattr(Path, "home", unknown)
    assert paths.home() == tmp_path / f"generative-models-workbook-{os.getuid()}"


def test_a_user_may_say_where(user, monkeypatch, tmp_path):
    monkeypatch.setenv("WORKBOOK_HOME", str(tmp_path / "mine"))
    assert paths.home() == tmp_path / "mine"


def test_paths_are_shown_as_seen_from_the_checkout(user, tmp_path):
    checkout, _, _ = user
    assert paths.shown(checkout / "build/x.ipynb") == "build/x.ipynb"
    assert paths.shown(tmp_path / "mine/x.ipynb") == str(tmp_path / "mine/x.ipynb")
