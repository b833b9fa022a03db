"""Device and threads: where results are computed. It is recorded with them, and makes no model stale."""

import os
import platform

import torch

from lib.precision import fast_precision

CHANGES_NO_RESULT = True  # for ``workbook.fingerprint``


def configure(threads: int = 1) -> None:
    """Set torch's thread count, its usual precision, and flush denormals, which slow processors down.

    The default is one thread. Torch's threads spin at every barrier while another process holds their core, so several
    processes with one thread each get more done than one process with several threads.
    """
    if threads < 1:
        raise ValueError(f"threads must be a whole number from 1, got {threads!r}")
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    torch.set_default_dtype(torch.float32)  # a user's startup file may have changed it
    torch.set_float32_matmul_precision("highest")


def device() -> torch.device:
    """The GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def environment() -> dict[str, str | int]:
    """Where results are computed: versions, processor, threads, and what "fast" precision means here."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__.split("+")[0],
        "device": device().type,
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "fast_precision": fast_precision(),
    }


def _processor() -> str:
    """The name of the GPU or CPU, as reported by the system."""
    if device().type == "cuda":
        return torch.cuda.get_device_name()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
