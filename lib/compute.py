"""Device, threads and precision: where and how results are computed."""

import os
import platform

import torch

CHANGES_NO_RESULT = True  # for ``workbook.fingerprint``


def configure(threads: int = 1) -> None:
    """Set torch's thread count and flush denormals, which slow processors down.

    The default is one thread. Torch's threads spin at every barrier while another process holds their core, so several
    processes with one thread each get more done than one process with several threads.
    """
    if threads < 1:
        raise ValueError(f"threads must be a whole number from 1, got {threads!r}")
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)


def device() -> torch.device:
    """The GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def fast_precision() -> str:
    """ "bfloat16" where the GPU or CPU multiplies it natively (twice as fast as "float32"), otherwise "float32"."""
    if device().type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    able = torch.cpu.get_capabilities()
    return "bfloat16" if able.get("avx512_bf16") or able.get("amx_bf16") else "float32"


def multiplying_in(precision: str) -> torch.autocast:
    """A context that computes matrix products in "float32", "bfloat16" or "fast" (``fast_precision`` of this machine).

    It suits training whose noise is far larger than the rounding error. Weights are cast at every use, because an
    optimiser may change them between two uses. Raises ValueError for any other precision.
    """
    if precision not in ("float32", "bfloat16", "fast"):
        raise ValueError(f'precision must be "float32", "bfloat16" or "fast", got {precision!r}')
    chosen = fast_precision() if precision == "fast" else precision
    return torch.autocast(device().type, torch.bfloat16, enabled=chosen == "bfloat16", cache_enabled=False)


def exactly() -> torch.autocast:
    """A context inside ``multiplying_in`` that computes products in float32 again."""
    return torch.autocast(device().type, enabled=False)


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
