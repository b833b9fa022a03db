"""Which notebooks ``make test`` runs."""

import subprocess

import pytest

from tests import smoke


@pytest.fixture
def git(tmp_path, monkeypatch):
    """Git in a folder of three notebooks, with one commit."""

    def git(*arguments):
        name = ("-c", "user.name=a", "-c", "user.email=a@b.c")
        subprocess.run(["git", *name, *arguments], cwd=tmp_path, check=True, capture_output=True)

    (tmp_path / "notebooks").mkdir()
    for name in ("00_a", "01_b", "02_c"):
        (tmp_path / f"notebooks/{name}.ipynb").write_text("{}", "utf-8")
    monkeypatch.setattr(smoke, "ROOT", tmp_path)
    monkeypatch.setattr(smoke, "NOTEBOOKS", tmp_path / "notebooks")
    git("init", "-b", "main")
    git("add", ".")
    git("commit", "-m", "a")
    return git


def test_the_first_notebook_and_those_that_were_edited_or_added_are_run(git, tmp_path):
    assert smoke.changed() == {"00_a"}
    (tmp_path / "notebooks/02_c.ipynb").write_text("{ }", "utf-8")
    (tmp_path / "notebooks/03_d.ipynb").write_text("{}", "utf-8")
    assert smoke.changed() == {"00_a", "02_c", "03_d"}


def test_what_was_committed_since_the_clone_has_changed(git, tmp_path):
    git("update-ref", "refs/remotes/origin/main", "main")
    git("symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/main")
    (tmp_path / "notebooks/01_b.ipynb").write_text("{ }", "utf-8")
    git("commit", "-am", "b")
    assert smoke.changed() == {"00_a", "01_b"}


def test_without_git_all_notebooks_are_run(git, tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "none"))
    assert smoke.changed() == {"00_a", "01_b", "02_c"}
