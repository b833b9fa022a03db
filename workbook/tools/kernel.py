"""Execute a notebook in a kernel that is this Python, whatever is registered as one, with no settings of the user's.

The kernel reads no startup file or configuration of IPython and no matplotlibrc. What packages store for later goes to
``paths.HOME``, because a home folder may not be writable.
"""

import difflib
import logging
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from workbook.paths import HOME, ROOT
from workbook.tools import machine

LONGEST_SOCKET = 100  # letters in the path of a socket; the system allows 107
GRACE = 1.5  # seconds that an interrupted cell has to write a checkpoint


class RunError(RuntimeError):
    """A run could not start, or it failed. The message is for the user."""


def papermill() -> ModuleType:
    """papermill, imported in half the time, by hiding a package for international addresses.

    The package takes a second to import. jsonschema, which nbformat uses, works without it.
    """
    sys.modules.setdefault("rfc3987_syntax", None)
    import papermill

    return papermill


def check_parameters(path: Path, parameters: dict[str, Any]) -> None:
    """Raise RunError if the notebook's parameters cell lacks one of these names, or lacks profile or seed.

    papermill itself only warns about an unknown name, and runs the notebook with its defaults.
    """
    known = papermill().inspect_notebook(str(path))
    if unknown := [name for name in parameters if name not in known]:
        near = difflib.get_close_matches(unknown[0], known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise RunError(f"{path.name} has no parameter {unknown[0]!r}{hint} (it has {', '.join(known) or 'none'})")
    if missing := [name for name in ("profile", "seed") if name not in known]:
        raise RunError(f"{path.name}: the cell tagged 'parameters' must define {' and '.join(missing)}")


def caches() -> dict[str, str]:
    """Environment variables that say where packages store what they compute once."""
    places = {"XDG_CACHE_HOME": "", "MPLCONFIGDIR": "matplotlib", "NUMBA_CACHE_DIR": "numba"}
    return {name: str(HOME / ".cache" / folder) for name, folder in places.items()}


def environment(out: Path, scratch: Path) -> dict[str, str]:
    """Environment variables of a kernel that writes its results to ``out``, and all that is its own to ``scratch``."""
    batch = {"WORKBOOK_OUT": str(out), "WORKBOOK_PROGRESS": "lines", "WORKBOOK_WIDGETS": "off"}
    jupyter = {f"JUPYTER_{name}_DIR": str(scratch / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")}
    python = {"PYTHONSTARTUP": "", "PYTHONUTF8": "1", "IPYTHONDIR": str(scratch / "ipython")}
    plots = {"MATPLOTLIBRC": "", "MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    return {**batch, **jupyter, **python, **plots, **caches()}


def scratch() -> tempfile.TemporaryDirectory:
    """A temporary folder with a path short enough for sockets, if there is a place for one."""
    places = [place for place in (tempfile.gettempdir(), "/tmp") if os.access(place, os.W_OK)]
    short = [place for place in places if len(place) <= LONGEST_SOCKET - 30]
    return tempfile.TemporaryDirectory(prefix="wb-", dir=next(iter(short), None))


def slots(folder: Path, jobs: int, threads: int) -> dict[str, str]:
    """Environment variables with which about so many processes train at a time (``workbook.beside``).

    There are none unless everything is trained again (RETRAIN=1), with several threads, which a fork would not stand,
    or if it would take part in a shared search.
    """
    if not os.environ.get("WORKBOOK_RETRAIN") or threads > 1 or os.environ.get("OPTUNA_STORAGE"):
        return {}
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for number in range(jobs):
        (folder / str(number)).touch()
    return {"WORKBOOK_SLOTS": str(folder)}


def sockets(folder: Path) -> dict[str, str]:
    """How to reach a kernel: files in ``folder`` or, where that path is too long for sockets, TCP ports.

    No other user can connect to files, and parallel runs cannot collide.
    """
    fits = len(str(folder / "kernel-1")) <= LONGEST_SOCKET
    return {"transport": "ipc", "ip": str(folder / "kernel")} if fits else {}


def own_kernel(manager: type) -> type:
    """A kind of ``manager`` (KernelManager of jupyter_client, or AsyncKernelManager) that starts this interpreter."""
    from ipykernel.kernelspec import get_kernel_dict
    from jupyter_client.kernelspec import KernelSpec

    return type("Own", (manager,), {"kernel_spec": KernelSpec(**get_kernel_dict())})


def execute(path: Path, copy: Path, parameters: dict[str, Any], out: Path) -> None:
    """Execute a notebook that writes its results to ``out``; write the executed copy even if a cell fails.

    Raises papermill's PapermillExecutionError for a cell that failed, RunError if the kernel died.
    """
    from jupyter_client import AsyncKernelManager
    from traitlets.config import Config

    kernels, begun = [], []

    class Kernel(own_kernel(AsyncKernelManager)):
        def __init__(self, **settings: Any):
            super().__init__(**settings)
            kernels.append(self)

    with scratch() as name, _set(environment(out, Path(name))), _interrupting(kernels, begun):
        os.environ["WORKBOOK_NOTEBOOK"] = str(path)
        if "WORKBOOK_SLOTS" not in os.environ:
            threads = int(os.environ.get("WORKBOOK_THREADS", "1"))
            os.environ |= slots(Path(name) / "slots", machine.whole_machine(1), threads)
        try:
            papermill().execute_notebook(
                str(path),
                str(copy),
                parameters=parameters,
                kernel_name="python3",
                kernel_manager_class=Kernel,
                shutdown_kernel="immediate",
                request_save_on_cell_execute=False,  # twice a cell, with all figures so far, takes seconds
                on_cell_start=lambda cell, cell_index: begun.append(cell_index),
                cwd=str(ROOT),
                progress_bar=False,
                stderr_file=sys.stderr,
                config=Config(KernelManager=sockets(Path(name))),
            )
        except RuntimeError as error:  # nbclient's DeadKernelError, or a kernel that never answered
            why = f"its kernel died ({error}); the machine may have run out of memory"
            raise RunError(f"{path.stem}: {why}") from error


@contextmanager
def _set(variables: dict[str, str]) -> Iterator[None]:
    """Environment variables for the processes that are started in this block."""
    before = dict(os.environ)
    os.environ |= variables
    try:
        yield
    finally:
        os.environ.clear()
        os.environ |= before


@contextmanager
def _interrupting(kernels: list, begun: list) -> Iterator[None]:
    """Within this block, Ctrl-C interrupts the running cell, and KeyboardInterrupt is raised when it has ended.

    A kernel is in a process group of its own, which Ctrl-C does not reach. One that has not ``begun`` a cell, or goes
    on after GRACE, is killed. SIGTERM, with which a scheduler ends a run, does the same, and raises SystemExit.
    """
    received = []

    def send(number: int) -> None:
        with suppress(ProcessLookupError):
            os.killpg(kernels[0].provisioner.pid, number)  # with its workers

    def end() -> BaseException:
        return KeyboardInterrupt() if received[0] == signal.SIGINT else SystemExit(128 + received[0])

    def interrupt(number: int, _: Any) -> None:
        received.append(number)
        if not kernels or not kernels[0].has_kernel:
            raise end()
        if len(received) == 1:
            logging.getLogger("papermill").setLevel(logging.CRITICAL)  # it would report the end of the kernel
            send(signal.SIGINT if begun else signal.SIGKILL)
            killer.start()

    killer = threading.Timer(GRACE, send, [signal.SIGKILL])
    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except Exception as error:
        if received:
            raise end() from error
        raise
    finally:
        killer.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)
