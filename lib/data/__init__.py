"""Data sets in memory: ``mnist`` reads them, ``Split`` holds them, the other functions prepare them for a network."""

from lib.data.files import DataError, fetch, mnist
from lib.data.tensors import (
    Prepare,
    Split,
    batches,
    hold_out,
    random_shift,
    symmetric,
    to_uint8,
    unit,
    validation_indices,
)

__all__ = [
    "DataError",
    "Prepare",
    "Split",
    "batches",
    "fetch",
    "hold_out",
    "mnist",
    "random_shift",
    "symmetric",
    "to_uint8",
    "unit",
    "validation_indices",
]
