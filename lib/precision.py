"""Precision of matrix products, which changes results: an edit here makes the models that used it stale."""

import torch


def fast_precision() -> str:
    """ "bfloat16" where the GPU or CPU multiplies it natively (twice as fast as "float32"), otherwise "float32"."""
    if _kind() == "cuda":
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
    return torch.autocast(_kind(), torch.bfloat16, enabled=chosen == "bfloat16", cache_enabled=False)


def exactly() -> torch.autocast:
    """A context inside ``multiplying_in`` that computes products in float32 again."""
    return torch.autocast(_kind(), enabled=False)


def _kind() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"
