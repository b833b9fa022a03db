"""Trained models, kept by content: the same code on the same settings is trained once.

A training is looked for in this checkout's cache, then among those that are released with the repository
(``data/trained``), and is run if it is in neither. Its key is a hash of ``fingerprint.describe``. So editing prose or a
plot retrains nothing, and editing a layer retrains exactly the models that have it. Where a training ran (processor,
threads, precision) is recorded, and no part of the question which training it is.

A file holds weights as safetensors with JSON in its head: loading cannot execute code.
"""

import hashlib
import json
import math
import os
import shutil
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
from filelock import FileLock
from safetensors import SafetensorError
from safetensors.torch import load, save

from lib import compute
from lib.atomic import write_atomic
from lib.training.checkpoint import checkpoints
from workbook.fingerprint import Edited, describe, digest
from workbook.paths import RELEASED, cache_dir

used: dict[str, float] = {}  # {file: seconds that the training took} of what this process asked for
stale: dict[str, str] = {}  # {name of a training: what changed since it was released} of what it found stale


class Trained(NamedTuple):
    """Weights and history of a finished training, the same whether trained now or before."""

    state: dict[str, torch.Tensor]
    history: dict[str, list]


def trained(
    name: str, train: Callable[..., tuple[dict, dict]], /, keep: tuple[str, ...] | None = None, **settings: object
) -> Trained:
    """``train(**settings)``, from the cache or the released trainings if this code ran on these settings before.

    ``name`` only labels the file. ``keep`` names the networks whose weights are needed (``("generator",)`` keeps
    ``generator.…``); by default all are, and ``()`` keeps the history alone. Another process that trains the same
    model is waited for. A training that was killed goes on from its last checkpoint, a damaged file is trained again.
    If its code was edited after it was loaded, the training runs as loaded, and is not kept. Raises TypeError for a
    setting whose content cannot be told.
    """
    try:
        about = describe(train, settings)
    except Edited as edited:
        print(f"{name}: {edited}; training with the code as it was loaded, without keeping it", file=sys.stderr)
        return Trained(*train(**settings))
    path = cache_dir() / f"{name}-{digest(about)[:16]}.safetensors"
    if found := _read(path, keep) or _released(path.name, keep):
        return _use(path.name, found)
    _say_stale(name, about)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):  # the system frees it when its holder dies
        if found := _read(path, keep):
            return _use(path.name, found)
        if path.exists():
            print(f"{path.name} is damaged, or lacks weights that are needed now; training it again", file=sys.stderr)
        halfway = path.with_suffix(".checkpoints")
        if halfway.exists():
            print(f"{name}: going on from a checkpoint", file=sys.stderr)
        start = time.perf_counter()
        with checkpoints(halfway):
            state, history = train(**settings)
        about |= {
            "name": name,
            "kept": keep,
            "seconds": round(time.perf_counter() - start, 1),
            "environment": compute.environment(),
            "history": _finite(history, name),
        }
        write_atomic(path, packed(_wanted(state, keep), about))
        shutil.rmtree(halfway, ignore_errors=True)
    return _use(path.name, _read(path, keep))


def _use(file: str, found: tuple[dict, dict]) -> Trained:
    state, about = found
    used[file] = about["seconds"]
    return Trained(state, about["history"])


def _wanted(state: dict[str, torch.Tensor], keep: tuple[str, ...] | None) -> dict[str, torch.Tensor]:
    """The tensors that ``keep`` names, each with memory of its own (weights that are tied share theirs)."""
    return {
        name: tensor.detach().cpu().contiguous().clone()
        for name, tensor in state.items()
        if keep is None or name.split(".")[0] in keep
    }


def _finite(history: object, name: str) -> object:
    """A history with null in the place of numbers that are not finite, rather than none at all after hours."""
    if isinstance(history, dict):
        return {key: _finite(value, f"{name}: {key}") for key, value in history.items()}
    if isinstance(history, list | tuple):
        return [_finite(value, name) for value in history]
    if isinstance(history, float) and not math.isfinite(history):
        print(f"{name} is {history}, kept as null", file=sys.stderr)
        return None
    return history.tolist() if hasattr(history, "tolist") else history


def packed(state: dict[str, torch.Tensor], about: dict[str, object]) -> bytes:
    """A training as the bytes of one safetensors file, which carries a hash of itself."""
    text = json.dumps(about, allow_nan=False)
    return save(state, {"about": text, "sha256": _hash(state, text)})


def unpacked(content: bytes) -> tuple[dict[str, torch.Tensor], dict[str, object]]:
    """Weights, and all else about a training, of ``packed`` bytes. Raises ValueError if they are damaged."""
    try:
        size = int.from_bytes(content[:8], "little")
        head = json.loads(content[8 : 8 + size])["__metadata__"]
        state = load(content)
        if head["sha256"] != _hash(state, head["about"]):
            raise ValueError("its hash is not that of its content")
        return state, json.loads(head["about"])
    except (SafetensorError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise ValueError(f"it is no training of this workbook ({error})") from error


def _hash(state: dict[str, torch.Tensor], text: str) -> str:
    sha = hashlib.sha256(text.encode())
    for name in sorted(state):
        tensor = state[name].contiguous()
        sha.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        sha.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return sha.hexdigest()


def _read(path: Path, keep: tuple[str, ...] | None, sha256: str | None = None) -> tuple[dict, dict] | None:
    """A file of the cache; None if there is none, it is damaged, or lacks weights that ``keep`` asks for."""
    try:
        content = path.read_bytes()
        if sha256 and (is_now := hashlib.sha256(content).hexdigest()) != sha256:
            where = path.relative_to(RELEASED.parent.parent)
            print(f"{where} has sha256 {is_now[:16]}…, expected {sha256[:16]}…: not used", file=sys.stderr)
            return None
        state, about = unpacked(content)
    except (OSError, ValueError):
        return None
    kept = about["kept"]
    enough = kept is None or (keep is not None and set(keep) <= set(kept))
    return (state, about) if enough else None


@cache
def released() -> dict[str, dict]:
    """{file: about it} of the trainings that come with the repository; only these are looked at."""
    try:
        return json.loads((RELEASED / "manifest.json").read_text())
    except FileNotFoundError:
        return {}


def _released(file: str, keep: tuple[str, ...] | None) -> tuple[dict, dict] | None:
    if os.environ.get("WORKBOOK_RETRAIN") or file not in released():
        return None
    return _read(RELEASED / file, keep, released()[file]["sha256"])


def _say_stale(name: str, about: dict[str, object]) -> None:
    """Say so if a training was released for these settings, and which code has changed since."""
    for file, entry in released().items():
        if file.rsplit("-", 1)[0] == name and entry["settings"] == digest(about["settings"])[:16]:
            before = entry["sources"]
            now = {key: value[:8] for key, value in about["sources"].items()}
            changed = sorted(key for key in before.keys() | now if before.get(key) != now.get(key))
            stale[file] = f"{', '.join(changed) or 'torch'} changed since it was released"
            print(f"{file} is stale: {stale[file]}; training it again", file=sys.stderr)
