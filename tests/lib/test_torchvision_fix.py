import os
import subprocess
import sys

import pytest
import torch

from lib import torchvision_fix

USE = """
import torch, torchvision
from torchvision.transforms import v2
from torchvision.utils import make_grid
assert make_grid(torch.zeros(4, 1, 8, 8)).shape[0] == 3
assert v2.RandomRotation(10)(torch.zeros(1, 8, 8)).shape == (1, 8, 8)
torchvision.datasets.MNIST
"""
# One process imports torch, which takes seconds, and then runs each case in a fork of its own.
FORKS = """
import os, sys, traceback, torch, torch._dynamo
assert "torchvision" not in sys.modules
for case in sys.argv[1:]:
    pid = os.fork()
    if not pid:
        try:
            exec(case)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)  # without the second that leaving Python takes
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
FIX = "from lib import torchvision_fix; torchvision_fix.apply()\n"
CASES = {
    "after the fix": FIX + USE,
    "after a failed import": "try:\n    import torchvision\nexcept RuntimeError:\n    pass\n" + FIX + USE,
    "without the fix": "import torchvision",
    "declares nothing": "from lib import torchvision_fix\nassert not torchvision_fix.apply()",
    # a build whose library loads is imitated by a load_library that succeeds
    "the library loads": """
torch.ops.load_library = lambda path: None
from lib import torchvision_fix
assert torchvision_fix.apply() is False
assert not hasattr(torch.ops.torchvision, "nms")
""",
}


@pytest.fixture(scope="module")
def exit_status():
    """{name of a case: exit status of a process that ran it}, and under "errors" what they all wrote."""
    threads = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", FORKS, *CASES.values()], capture_output=True, encoding="utf-8", env=threads, check=True
    )
    return dict(zip(CASES, map(int, done.stdout.split()), strict=True)) | {"errors": done.stderr}


def test_torchvision_works_after_the_fix(exit_status):
    assert exit_status["after the fix"] == 0, exit_status["errors"]


def test_fix_mends_a_failed_import(exit_status):
    assert exit_status["after a failed import"] == 0, exit_status["errors"]


def test_fix_is_needed_exactly_where_it_declares_something(exit_status):
    assert exit_status["without the fix"] == exit_status["declares nothing"], exit_status["errors"]


def test_nothing_is_declared_when_the_library_loads(exit_status):
    assert exit_status["the library loads"] == 0, exit_status["errors"]


def test_applying_twice_is_harmless():
    before = torchvision_fix.apply()
    assert torchvision_fix.apply() == before
    assert hasattr(torch.ops.torchvision, "nms")
