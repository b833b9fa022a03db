"""pytest plugin of ``make test``: all notebooks in profile smoke, in forked kernels, and all tests in a good order.

nbval executes each notebook and compares its checked cells with the stored outputs; then test_determinism.py executes
it again and compares what the two runs wrote, and test_processors.py executes it as on another processor, with what
the first run trained. A notebook and its comparisons, and a file of tests, each stay together in one worker of
pytest-xdist, the longest first. Without xdist everything runs in this process. With ``--changed`` the notebooks that
did not change are left out.
"""

import os
import re
import subprocess
from functools import cache, partial
from pathlib import Path

import nbval.kernel
import numpy as np  # noqa: F401, threadpool_info lists what is loaded
import pytest
from jupyter_client import KernelManager
from nbval.plugin import IPyNbCell
from threadpoolctl import threadpool_info
from xdist.scheduler import LoadScopeScheduling

from tests import forked_kernel
from workbook.paths import NOTEBOOKS, ROOT
from workbook.tools import kernel

SCRATCH = "WORKBOOK_SMOKE"  # environment variable: the folder of this test session
LONGEST = (
    "tests/workbook/test_runner.py",
    "04_vae_latent20",
    "14_gan_latent_space",
    "tests/workbook/test_exercises.py",
    "12_gan_convolutional",
    "tests/workbook/test_reruns.py",
)


def settings(notebook: str, run: str) -> dict[str, str]:
    """Environment variables of a notebook's ``first``, ``second`` or ``other`` run, which is as on another processor.

    The first two kinds have a cache each, which all notebooks share; the third takes what the first trained.
    """
    scratch = Path(os.environ[SCRATCH])
    return kernel.environment(scratch / run / notebook, scratch / "jupyter") | {
        "WORKBOOK_PROFILE": "smoke",
        "WORKBOOK_CACHE": str(scratch / ("second" if run == "second" else "first") / "models"),
        forked_kernel.ADDRESS: str(scratch / f"{run}.socket"),
        forked_kernel.CLOCK: {"first": "1", "second": "-1", "other": ""}[run],
        **(other_processor() if run == "other" else {}),
    }


@cache
def other_processor() -> dict[str, str]:
    """Environment variables with which OpenBLAS and torch compute as on another processor than this one."""
    here = {library.get("architecture") for library in threadpool_info()}
    return {"OPENBLAS_CORETYPE": "Haswell" if "Nehalem" in here else "Nehalem", "ATEN_CPU_CAPABILITY": "default"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--changed", action="store_true", help="of the notebooks, the first and those that changed")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # workers of xdist inherit the environment
        scratch = kernel.scratch()
        (Path(scratch.name) / "jupyter").mkdir()
        config.add_cleanup(scratch.cleanup)
        one = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "NUMBA")}  # numba sets OpenMP's threads for all others
        os.environ |= {SCRATCH: scratch.name, **one, **kernel.caches()}
        os.environ[forked_kernel.ADDRESS] = f"{scratch.name}/first.socket"  # of tests that come before any notebook
        for seed, run in enumerate(("first", "second", "other")):
            there = other_processor() if run == "other" else {}
            server = forked_kernel.start(f"{scratch.name}/{run}.socket", hash_seed=seed, **there)
            config.add_cleanup(lambda server=server: server.communicate())
    forked_kernel.use()


def group(test: str) -> str:
    """What must stay together in one worker: a notebook's cells and comparison, or a file of tests."""
    notebook = re.search(r"\b\d\d_\w+", test)
    return notebook[0] if notebook else test.split("::")[0]


class InGroups(LoadScopeScheduling):
    """xdist's distribution to workers, group by group in the order in which they were collected."""

    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> InGroups:
    config.option.loadscopereorder = False
    return InGroups(config, log)


def changed() -> set[str]:
    """The first notebook, and those that differ from the branch that this one began from; all, if git knows nothing."""

    def git(*command: str) -> list[str]:
        return subprocess.check_output(["git", *command], cwd=ROOT, stderr=subprocess.DEVNULL, encoding="utf-8").split()

    names = sorted(path.stem for path in NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))
    try:
        base = git("for-each-ref", "refs/remotes/origin/HEAD") and git("merge-base", "HEAD", "origin/HEAD")
        files = git("diff", "--name-only", *(base or ["HEAD"]), "--", "notebooks")
        files += git("ls-files", "--others", "--exclude-standard", "notebooks")
    except (OSError, subprocess.CalledProcessError):
        return set(names)
    return {names[0], *(Path(file).stem for file in files)}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if config.option.changed:
        terminalreporter.write_line(f"notebooks that were run: {', '.join(sorted(changed()))}; all: make test-all")


def is_run(item: pytest.Item) -> bool:
    """Whether this is a cell of a notebook, or a test that runs it."""
    return isinstance(item, IPyNbCell) or item.get_closest_marker("smoke") is not None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.option.changed:
        kept = changed()
        left_out = {item for item in items if is_run(item) and group(item.nodeid) not in kept}
        config.hook.pytest_deselected(items=list(left_out))
        items[:] = [item for item in items if item not in left_out]

    def order(item: pytest.Item) -> tuple:
        name = group(item.nodeid)
        return LONGEST.index(name) if name in LONGEST else len(LONGEST), name, not isinstance(item, IPyNbCell)

    items.sort(key=order)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if isinstance(item, IPyNbCell):  # the first cell's setup starts the kernel
        os.environ |= settings(item.path.stem, "first")
        folder = Path(os.environ[SCRATCH]) / item.path.stem[:2]
        folder.mkdir(exist_ok=True)
        nbval.kernel.KernelManager = partial(kernel.own_kernel(KernelManager), **kernel.sockets(folder))
