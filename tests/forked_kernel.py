"""Jupyter kernels that start at once: forks of a process that has already imported what notebooks import.

Importing torch and the rest takes seconds, which is more than many notebooks need to run in profile smoke. Here one
process imports it, nothing of ``lib`` or ``workbook`` among it, and waits at a socket. For each kernel it forks a child
that becomes the kernel; only how a kernel starts is different from Jupyter's own way, and ``use`` is all that tests
call. What a process draws at random when it starts is shared by all forks, which is why there can be several such
processes, each with its own PYTHONHASHSEED.
"""

import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress

from jupyter_client.provisioning import local_provisioner

ADDRESS = "FORKED_KERNELS"  # environment variable: at which socket to ask for a kernel
CLOCK = "DISTORTED_CLOCK"  # environment variable: the power with which a kernel's clock is distorted
# the first optimiser imports torch._dynamo; what a single notebook imports is not worth a place here
IMPORTS = (
    "ipykernel.kernelapp",
    "IPython.core.completer",
    "matplotlib_inline.backend_inline",
    "matplotlib.pyplot",
    "torch._dynamo",
    "safetensors.torch",
    "filelock",
    "scipy.stats",
    "scipy.optimize",
    "scipy.ndimage",
    "sklearn.cluster",
    "sklearn.manifold",
    "sklearn.mixture",
    "sklearn.neighbors",
    "sklearn.model_selection",
    "seaborn",
    "pandas",
    "optuna",
    "sqlalchemy",
    "ipywidgets",
)


class Kernel:
    """What Jupyter needs of subprocess.Popen, for a process that is not our child."""

    stdin = stdout = stderr = None

    def __init__(self, arguments: list[str], env: dict[str, str], cwd: str):
        self.life = socket.socket(socket.AF_UNIX)  # the kernel holds the other end until it dies
        self.life.connect(os.environ[ADDRESS])
        self.life.sendall(json.dumps([arguments, env, cwd]).encode() + b"\n")
        answer = self.life.makefile().readline()
        if not answer:
            raise RuntimeError("the process that kernels are forked from has died")
        self.pid = int(answer)

    def poll(self) -> int | None:
        """None while the kernel lives."""
        return 0 if select.select([self.life], [], [], 0)[0] else None

    def wait(self) -> int:
        """Wait until it is dead."""
        self.life.recv(1)
        self.life.close()
        return 0

    def send_signal(self, number: int) -> None:
        """Send a signal, if it still lives."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)


def use() -> None:
    """From now on this process's kernels are forked."""

    def launch(cmd: list[str], *, env: dict[str, str] | None = None, cwd: str | None = None, **_: object) -> Kernel:
        return Kernel(cmd[cmd.index("ipykernel_launcher") + 1 :], dict(env or os.environ), str(cwd or os.getcwd()))

    local_provisioner.launch_kernel = launch


def serve(server: socket.socket) -> None:
    """Import, then fork a kernel for each request, until standard input is closed."""
    for name in IMPORTS:
        importlib.import_module(name)
    gc.freeze()  # no child looks through all that for garbage
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the children
    while server in select.select([server, sys.stdin], [], [])[0]:
        life, _ = server.accept()
        arguments, env, cwd = json.loads(life.makefile().readline())
        if not os.fork():
            server.close()
            become_kernel(life, arguments, env, cwd)
        life.close()


def become_kernel(life: socket.socket, arguments: list[str], env: dict[str, str], cwd: str) -> None:
    """Turn this process into the kernel that ``python -m ipykernel_launcher`` would have been."""
    import numpy
    from ipykernel.kernelapp import IPKernelApp
    from matplotlib import rcParams

    os.setsid()  # a group of its own, which Jupyter kills as a whole
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    del sys.path[0]  # the folder of this file
    life.sendall(f"{os.getpid()}\n".encode())
    numpy.random.seed()  # noqa: NPY002, else the legacy stream would be the same in all kernels
    rcParams["backend"] = os.environ.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    if env.get(CLOCK):
        time.perf_counter = distorted(time.perf_counter, float(env[CLOCK]))
    IPKernelApp.launch_instance([*arguments, f"--IPKernelApp.parent_handle={os.getppid()}"])
    sys.exit()


def distorted(clock: Callable[[], float], power: float) -> Callable[[], float]:
    """A clock that goes a thousand times too slow or too fast, and at another rate for everything that is measured.

    Of two durations the longer one comes out as the shorter one with ``power`` 1 or with -1, unless they differ by far.
    Something is measured anew at each reading by a notebook, and when a function of ``lib`` or ``workbook`` reads the
    clock after another one did. All others get the right time.
    """
    last = shown = clock()
    reader, readings, rate = None, 0, 1.0

    def read() -> float:
        nonlocal last, shown, reader, readings, rate
        now, caller = clock(), sys._getframe(1)
        module = caller.f_globals["__name__"].split(".")[0]
        if module not in ("__main__", "lib", "workbook"):
            return now
        shown += (now - last) * rate
        last = now
        if module == "__main__" or caller.f_code is not reader:
            reader, readings = caller.f_code, readings + 1
            rate = 1000 ** (power * (0.618 * readings % 2 - 1))
        return shown

    return read


def start(address: str, hash_seed: int, **environment: str) -> subprocess.Popen:
    """Start a process that forks kernels, with these environment variables, which libraries read when they load.

    It ends when its ``stdin`` is closed, at the latest with this process.
    """
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(address)
        server.listen(64)
        return subprocess.Popen(
            [sys.executable, __file__, str(server.fileno())],
            stdin=subprocess.PIPE,
            pass_fds=[server.fileno()],
            env=os.environ | {"PYTHONHASHSEED": str(hash_seed)} | environment,
            start_new_session=True,  # Ctrl-C reaches only pytest
        )


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
