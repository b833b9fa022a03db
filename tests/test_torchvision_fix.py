import subprocess
import sys

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


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def test_torchvision_works_after_the_fix():
    done = run("from lib import torchvision_fix; torchvision_fix.apply()" + USE)
    assert done.returncode == 0, done.stderr


def test_fix_mends_a_failed_import():
    attempt = "try:\n    import torchvision\nexcept RuntimeError:\n    pass\n"
    done = run(attempt + "from lib import torchvision_fix; torchvision_fix.apply()" + USE)
    assert done.returncode == 0, done.stderr


def test_fix_is_needed_exactly_where_it_declares_something():
    fails = run("import torchvision").returncode != 0
    declares = run("import sys; from lib import torchvision_fix; sys.exit(torchvision_fix.apply())").returncode == 1
    assert fails == declares


def test_nothing_is_declared_when_the_library_loads():
    # a build whose library loads is imitated by a load_library that succeeds
    code = """
import torch
torch.ops.load_library = lambda path: None
from lib import torchvision_fix
assert torchvision_fix.apply() is False
assert not hasattr(torch.ops.torchvision, "nms")
"""
    done = run(code)
    assert done.returncode == 0, done.stderr


def test_applying_twice_is_harmless():
    before = torchvision_fix.apply()
    assert torchvision_fix.apply() == before
    assert hasattr(torch.ops.torchvision, "nms")
