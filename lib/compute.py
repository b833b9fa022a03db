"""Device, threads and versions: what a result depends on besides code, settings and seed."""

import os
import platform

import torch

DEFAULT_THREADS = 2  # the same on every machine, because the last digits of a result depend on it


def configure() -> None:
    """Set torch's thread count (``WORKBOOK_THREADS``, default 2) and flush denormals, which slow CPUs down."""
    text = os.environ.get("WORKBOOK_THREADS", str(DEFAULT_THREADS))
    if not text.isdigit() or int(text) < 1:
        raise ValueError(f"WORKBOOK_THREADS must be a whole number from 1, got {text!r}")
    torch.set_num_threads(int(text))
    torch.set_flush_denormal(True)


def device() -> torch.device:
    """The GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def fast_precision() -> str:
    """ "bfloat16" where the GPU or CPU multiplies it natively, and twice as fast as "float32"; else "float32".

    For trainings whose noise is far larger than the rounding. Pass it as a setting: it changes the result.
    """
    if device().type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    able = torch.cpu.get_capabilities()
    return "bfloat16" if able.get("avx512_bf16") or able.get("amx_bf16") else "float32"


def environment() -> dict[str, str | int]:
    """What to record beside a result."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__.split("+")[0],
        "device": device().type,
        "threads": torch.get_num_threads(),
    }
