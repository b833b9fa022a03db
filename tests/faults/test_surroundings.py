"""What a run must bear: odd paths, no home, a narrow terminal, no npm and no network, a clock that jumps."""

import os
import pty
import shutil
import subprocess
import sys
import termios
import time

import pytest

from tests.workbook.test_runner import GOOD, environment_of, figures, make_checkout, write_notebook

DAY = 24 * 3600 * 10**9  # nanoseconds
offline = ["unshare", "-rn"]
may_be_offline = shutil.which("unshare") and not subprocess.run([*offline, "true"], capture_output=True).returncode


def test_a_path_with_spaces_and_letters_of_other_alphabets_in_a_terminal_of_40_columns_without_home(tmp_path):
    copy = make_checkout(tmp_path / "a folder, with späces & 'quotes' $(touch bad) 漢字", n30_good=GOOD)
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, 40))
    environment = {name: value for name, value in environment_of(copy).items() if name not in ("HOME", "COLUMNS")}
    command = [sys.executable, "-m", "workbook.tools.run", "figures", "--profile", "smoke"]
    process = subprocess.Popen(command, cwd=copy, env=environment, stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    said = b""
    while process.poll() is None or said[-1:] != b"\n":
        try:
            said += os.read(master, 10_000)
        except OSError:  # the other end is closed
            break
    output = said.decode().replace("\r\n", "\n")
    assert process.wait() == 0, output
    assert "1 of 1 notebooks to run" in output
    assert "figures and scoreboard: build/smoke/seed0/figures/\n" in output
    assert (copy / "build/smoke/seed0/figures/30_good/extra-line.png").exists()
    assert not list(tmp_path.rglob("bad"))


@pytest.mark.skipif(not may_be_offline, reason="the network cannot be taken away here")
def test_without_npm_and_network_the_message_says_what_to_do(tmp_path):
    copy = make_checkout(tmp_path / "copy")
    environment = environment_of(copy) | {"PATH": "/nowhere"}
    command = [shutil.which("unshare"), "-rn", sys.executable, "-m", "workbook.tools.fetch"]
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, encoding="utf-8", timeout=300)
    assert done.returncode == 1
    assert done.stderr.startswith("error: could not get train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k")
    assert "from npm: the npm command is not installed" in done.stderr
    assert "To help yourself, copy train-images-idx3-ubyte" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A checkout in which all is up to date."""
    copy = make_checkout(tmp_path_factory.mktemp("clock"), n30_good=GOOD)
    assert figures(copy, "--profile", "smoke").code == 0
    return copy


@pytest.mark.parametrize("jump", [-DAY, 0, DAY], ids=["back", "none", "ahead"])
def test_a_change_is_noticed_although_the_clock_was_set(jump, checkout):
    """What the last run wrote has times ``jump`` from now; then a notebook is edited."""
    now = time.time_ns()
    for path in checkout.rglob("*"):
        os.utime(path, ns=(now + jump,) * 2)
    assert "nothing to do: all notebooks are up to date" in figures(checkout, "--profile", "smoke").output
    word = f"extra-{abs(jump)}-{jump > 0}".lower()
    write_notebook(checkout, "30_good", GOOD.replace("extra-line", word))
    done = figures(checkout, "--profile", "smoke")
    assert done.code == 0, done.output
    assert (checkout / f"build/smoke/seed0/figures/30_good/{word}.png").exists(), done.output


def test_an_older_file_that_is_copied_here_is_noticed(checkout):
    write_notebook(checkout, "30_good", GOOD.replace("extra-line", "extra-former"))
    os.utime(checkout / "notebooks/30_good.ipynb", ns=(0, 10**9))
    done = figures(checkout, "--profile", "smoke")
    assert (checkout / "build/smoke/seed0/figures/30_good/extra-former.png").exists(), done.output
