"""Say, before anything is installed, whether the locked packages exist for this Python and this machine.

``python workbook/tools/supported.py`` works in Python 3.6 too, so that an old one is told more than a syntax error.
"""

import os
import platform
import re
import sys


def refusal(version: tuple, system: str, machine: str) -> str:
    """Why the packages cannot be installed, and what to do; empty if they can."""
    project = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "pyproject.toml")
    with open(project, encoding="utf-8") as file:
        first, beyond = re.search(r'requires-python = ">=(3[.\d]+),<3\.(\d+)"', file.read()).groups()  # pyrefly: ignore
    if system == "Darwin" and machine == "x86_64":
        return (
            "PyTorch is no longer published for Intel Macs. A Linux container works there: "
            'docker run -it -v "$PWD":/workbook -w /workbook python:3.13 make figures'
        )
    if not tuple(map(int, first.split("."))) <= version < (3, int(beyond)):
        return (
            f"this is Python {'.'.join(map(str, version))}, and the packages of requirements.lock are published for "
            f"{first} to 3.{int(beyond) - 1}. Install one of these, and name it: make env PYTHON=python3.13"
        )
    return ""


if __name__ == "__main__":
    sys.exit(refusal(sys.version_info[:3], platform.system(), platform.machine()) or 0)
