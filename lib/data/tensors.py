"""Images and labels as tensors in memory: scaling, splitting, shifting, batching."""

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

Prepare = Callable[[Tensor], Tensor]  # uint8 images (N, 28, 28) → inputs of a model
# the training images of MNIST held out for validation: the last ones of this permutation
VALIDATION = {
    "seed": 0,
    "images": 60000,
    "held_out": 10000,
    "sha256": "dada230fd6d31362a70d33ee913031fe17b7ac69e5c05156d2ba8d672a811e3f",
}


@dataclass(frozen=True)
class Split:
    """Images (N, 28, 28) uint8 in 0..255 and their labels (N,) int64."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: Tensor | slice) -> "Split":
        return Split(self.images[index], self.labels[index])


def hold_out(train: Split) -> tuple[Split, Split]:
    """(training, validation): holds out the last sixth of a seeded permutation of ``train``.

    For the full training set these are always the same 10,000 images; a checksum of their indices is verified.
    """
    kept, held_out = validation_indices(len(train))
    return train[kept], train[held_out]


def validation_indices(n: int) -> tuple[Tensor, Tensor]:
    """Sorted indices (5n/6,) for training and (n/6,) for validation.

    Uses numpy's legacy RandomState, whose random stream is frozen, so library upgrades do not change the split.
    """
    pinned = VALIDATION
    order = np.random.RandomState(pinned["seed"]).permutation(n)
    n_held_out = n * pinned["held_out"] // pinned["images"]
    kept, held_out = np.sort(order[: n - n_held_out]), np.sort(order[n - n_held_out :])
    if n == pinned["images"] and hashlib.sha256(held_out.astype("<i8").tobytes()).hexdigest() != pinned["sha256"]:
        raise RuntimeError(
            "the validation split differs from the one that the workbook is about: numpy's RandomState has changed"
        )
    return torch.from_numpy(kept), torch.from_numpy(held_out)


def unit(images: Tensor) -> Tensor:
    """uint8 (N, 28, 28) → float32 (N, 1, 28, 28) in [0, 1], like ToTensor."""
    return images.unsqueeze(1).float().div_(255)


def symmetric(images: Tensor) -> Tensor:
    """uint8 (N, 28, 28) → float32 (N, 1, 28, 28) in [-1, 1], like ToTensor followed by Normalize(0.5, 0.5)."""
    return images.unsqueeze(1).float().div_(127.5).sub_(1)


def to_uint8(images: Tensor) -> Tensor:
    """Square float images (N, H·H) or (N, 1, H, H) in [0, 1] → uint8 (N, H, H), for display."""
    side = math.isqrt(images[0].numel())
    return images.detach().clamp(0, 1).mul(255).round().to(torch.uint8).reshape(-1, side, side)


def random_shift(images: Tensor, generator: torch.Generator, pixels: int = 2) -> Tensor:
    """Shift each uint8 image (N, 28, 28) by up to ``pixels`` in both directions, filling with black."""
    n, height, width = images.shape
    padded = torch.nn.functional.pad(images, (pixels,) * 4)
    shift = torch.randint(0, 2 * pixels + 1, (2, n, 1, 1), generator=generator)
    rows = shift[0] + torch.arange(height).view(1, -1, 1)
    columns = shift[1] + torch.arange(width).view(1, 1, -1)
    return padded[torch.arange(n).view(-1, 1, 1), rows, columns]


def batches(n: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Indices (B,) of shuffled mini-batches; the last one may be smaller.

    They are always drawn on the CPU, so that the order of the data does not depend on the device.
    """
    yield from torch.randperm(n, generator=generator).split(batch_size)
