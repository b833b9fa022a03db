"""A cache of trained models and of measurements: the same code with the same settings runs only once.

``trained`` looks for a model in this checkout's cache, then among those released with the repository
(``data/trained``), and trains it if neither has it; ``cached`` does the same for what a function measures. The key is a
hash of ``fingerprint.describe``. So editing prose or
a plot retrains nothing, and editing a layer retrains exactly the models that contain it. Where a model was trained
(processor, threads, precision) is recorded, but is not part of the key.

The files are safetensors with a JSON header: loading one cannot execute code.
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
from typing import Any, NamedTuple, TypeGuard

import torch
from filelock import FileLock
from safetensors import SafetensorError
from safetensors.torch import load, save

from lib import compute
from lib.atomic import write_atomic
from lib.training import checkpoint
from workbook import beside, fingerprint
from workbook.fingerprint import Edited, describe, digest
from workbook.paths import RELEASED, cache_dir

CHANGES_NO_RESULT = True  # for ``fingerprint``
used: dict[str, float] = {}  # {file: seconds of training} of all models that this process requested
asked: dict[str, tuple[str, ...] | None] = {}  # {file: networks that were asked for by name, or None for all} of these
_within: list[float] = []  # for each running training: seconds saved by cached results inside it
some_released = True  # False in profile smoke, whose models are not released, so that none of them can be out of date
_surprised = False  # whether this process has said that it trains what was not announced
stale: dict[str, str] = {}  # {released file: what changed since its release} of all that this process found stale


class Trained(NamedTuple):
    """Weights and history of a finished training run, whether it ran now or earlier."""

    state: dict[str, torch.Tensor]
    history: dict[str, list]


def trained(
    name: str, train: Callable[..., tuple[dict, dict]], /, keep: tuple[str, ...] | None = None, **settings: Any
) -> Trained:
    """The result of ``train(**settings)``: cached or released if this code ran with these settings before.

    ``name`` only labels the file. ``keep`` names the networks whose weights are needed (``("generator",)`` keeps
    ``generator.…``); by default all are kept, and ``()`` keeps only the history. If another process is training the
    same model, this call waits for it. An interrupted run resumes from its last checkpoint; a damaged file is replaced.
    If code was edited after this process loaded it, the loaded code runs, and the result is not cached. Raises
    TypeError for a setting that cannot be fingerprinted, and if ``train`` does not return weights and a history.
    """
    return Trained(*_kept(name, train, _training, keep, settings))


def cached(name: str, measure: Callable[..., dict[str, Any]], /, **settings: Any) -> dict[str, Any]:
    """What ``measure(**settings)`` returned, {name: number, text, list, dict or tensor}, kept as ``trained`` keeps it.

    Raises TypeError if ``measure`` returns no dict, and for a setting that cannot be fingerprinted.
    """
    tensors, others = _kept(name, measure, _measurement, (), settings)
    return others | tensors if tensors else others


def _kept(
    name: str, function: Callable, parts: Callable, keep: tuple[str, ...] | None, settings: dict[str, Any]
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Tensors and history of a kept function. ``parts`` takes them from what it returns."""
    try:
        about = describe(function, settings)
    except Edited as edited:
        print(f"{name}: {edited}; training with the loaded code, without caching the result", file=sys.stderr)
        state, history = parts(function(**settings), name)
        fingerprint.remember(f"{name}-edited-{_hash(state, json.dumps(history))}", state, history)
        return state, history
    path = cache_dir() / f"{name}-{digest(about)[:16]}.safetensors"
    if not _within:
        before = asked.get(path.name, ())
        whole = parts is _measurement or keep is None or before is None
        asked[path.name] = None if whole else tuple(sorted({*before, *keep}))  # pyrefly: ignore
    changed = _changed_since_release(name, path.name, about) if some_released else {}
    stale.update(changed)
    if not _enough(found := _read(path), keep):
        found = _released(path.name)
    if _enough(found, keep):
        return _use(path.name, found, found[1]["seconds"])
    if beside.looks_ahead:
        unknown = beside.ask(path, lambda: _kept(name, function, parts, keep, settings))
        return ({} if parts is _measurement else unknown), unknown
    _say_if_unannounced(path.name)
    for file, what in changed.items():
        print(f"{file} is out of date: {what}; training it again", file=sys.stderr)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock"), mode=0o666):  # for all users; released when the process ends
        found = _read(path, say=True)
        if _enough(found, keep):
            return _use(path.name, found, found[1]["seconds"])
        if found:
            print(f"{path.name} lacks weights that this notebook needs; training it again", file=sys.stderr)
            keep = keep and tuple(sorted({*keep, *found[1]["kept"]}))  # keep what others asked for
        halfway = path.with_suffix(".checkpoints")
        if halfway.exists():
            print(f"{name}: resuming from a checkpoint", file=sys.stderr)
        start, known = time.perf_counter(), len(fingerprint.kept)
        with beside.helped(not _within):
            _within.append(0.0)
            try:
                # the caller draws the same random numbers after it, whether this was found or computed
                with checkpoint.checkpoints(halfway, checkpoint.EVERY), torch.random.fork_rng(devices=[]):
                    state, history = parts(function(**settings), name)
            finally:
                saved = _within.pop()
                del fingerprint.kept[known:]  # the results inside it, which nobody asks for if this one is found
        keep = None if parts is _measurement else keep  # of a measurement, everything
        about |= {
            "name": name,
            "kept": keep,
            "seconds": round(time.perf_counter() - start + saved, 1),
            "environment": compute.environment(),
            "history": history,
        }
        content = packed(_wanted(state, keep), about)
        write_atomic(path, content)
        shutil.rmtree(halfway, ignore_errors=True)
    return _use(path.name, unpacked(content), 0.0)


def _say_if_unannounced(file: str) -> None:
    """Say once, before it is trained, that a batch run did not announce this model (or any: ``*``)."""
    global _surprised
    announced = os.environ.get("WORKBOOK_ANNOUNCED", "*").split()
    if not _surprised and not _within and file not in announced and "*" not in announced:
        _surprised = True
        print(f"{file} must be trained, which was not announced: code, data or settings changed", file=sys.stderr)


def _enough(found: tuple[dict, dict] | None, keep: tuple[str, ...] | None) -> TypeGuard[tuple[dict, dict]]:
    """Whether a training run was found with all the weights that ``keep`` names."""
    kept = found[1]["kept"] if found else ()
    return found is not None and (kept is None or (keep is not None and set(keep) <= set(kept)))


def _use(file: str, found: tuple[dict, dict], saved: float) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Note that a result was used, or, inside another training run, how many seconds it saved."""
    state, about = found
    if _within:
        _within[-1] += saved
    else:
        used[file] = about["seconds"]
    fingerprint.remember(file.removesuffix(".safetensors"), state, about["history"])
    return state, about["history"]


def _wanted(state: dict[str, torch.Tensor], keep: tuple[str, ...] | None) -> dict[str, torch.Tensor]:
    """The tensors that ``keep`` names, each copied to its own memory (tied weights share theirs)."""
    return {
        name: tensor.detach().cpu().contiguous().clone()
        for name, tensor in state.items()
        if keep is None or name.split(".")[0] in keep
    }


def _training(result: Any, name: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Weights by name and history, as ``train`` returned them."""
    match result:
        case dict() as state, dict() as history if all(isinstance(each, torch.Tensor) for each in state.values()):
            return state, _plain(history, name)
    raise TypeError(f"{name}: a training function must return ({{name: tensor}}, {{name: list of numbers}})")


def _measurement(result: Any, name: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The tensors of a measurement, and everything else in it."""
    if not isinstance(result, dict):
        raise TypeError(f"{name}: a measurement must return a dict {{name: value}}, got a {type(result).__name__}")
    tensors = {key: value for key, value in result.items() if isinstance(value, torch.Tensor)}
    return tensors, _plain({key: value for key, value in result.items() if key not in tensors}, name)


def _plain(history: Any, name: str) -> Any:
    """A history as JSON. Numbers that are not finite become null: an error here would lose hours of training."""
    if hasattr(history, "tolist"):
        history = history.tolist()
    if isinstance(history, dict):
        return {str(key): _plain(value, f"{name}: {key}") for key, value in history.items()}
    if isinstance(history, list | tuple):
        return [_plain(value, name) for value in history]
    if isinstance(history, float) and not math.isfinite(history):
        print(f"{name} is {history}, stored as null", file=sys.stderr)
        return None
    if history is None or isinstance(history, bool | int | float | str):
        return history
    print(f"{name} is a {type(history).__name__}, stored as text", file=sys.stderr)
    return str(history)


def packed(state: dict[str, torch.Tensor], about: dict[str, Any]) -> bytes:
    """A finished training run as the bytes of a safetensors file, which includes a hash of its content."""
    text = json.dumps(about, allow_nan=False)
    return save(state, {"about": text, "sha256": _hash(state, text)})


def unpacked(content: bytes) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Weights and metadata of a training run from ``packed`` bytes. Raises ValueError if they are damaged."""
    try:
        size = int.from_bytes(content[:8], "little")
        head = json.loads(content[8 : 8 + size])["__metadata__"]
        state = dict(sorted(load(content).items()))  # safetensors' own order differs from process to process
        if head["sha256"] != _hash(state, head["about"]):
            raise ValueError("its hash does not match its content")
        return state, json.loads(head["about"])
    except (SafetensorError, KeyError, TypeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"it is not a model file of this workbook ({error})") from error


def _hash(state: dict[str, torch.Tensor], text: str) -> str:
    sha = hashlib.sha256(text.encode())
    for name in sorted(state):
        tensor = state[name].contiguous()
        sha.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        sha.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return sha.hexdigest()


def _read(path: Path, sha256: str = "", say: bool = False) -> tuple[dict, dict] | None:
    """Weights and metadata from a file; None if there is no such file, or if it is damaged."""
    try:
        content = path.read_bytes()
        is_now = hashlib.sha256(content).hexdigest()
        if sha256 not in ("", is_now):
            raise ValueError(f"it has sha256 {is_now[:16]}…, expected {sha256[:16]}…")
        state, about = unpacked(content)
        if file_name(about) != path.name:
            raise ValueError(f"it holds {file_name(about)}")
    except (OSError, ValueError, KeyError) as error:
        if say and path.exists():
            print(f"{path.parent.name}/{path.name} is damaged and ignored: {error}", file=sys.stderr)
        return None
    return state, about


def file_name(about: dict[str, Any]) -> str:
    """The file name of a training run: its name, and a hash of everything it depends on."""
    described = {key: about[key] for key in ("function", "settings", "sources", "torch")}
    return f"{about['name']}-{digest(described)[:16]}.safetensors"


@cache
def released() -> dict[str, dict]:
    """``read_manifest`` of the models released with the repository; files that are not listed are ignored."""
    return read_manifest(RELEASED / "manifest.json")


def read_manifest(path: Path) -> dict[str, dict]:
    """{file: metadata} of released models; empty if there is no manifest.

    An adopted model also has ``file``, the file in which it lies under its former key, and the commit of the code that
    made it, ``adopted``. Raises ValueError if the manifest is not valid.
    """
    try:
        manifest = json.loads(path.read_text("utf-8"))
        tables = ("sources", "environment")  # stored once, because many files share them
        return {
            file: entry | {table: manifest[table][entry[table]] for table in tables}
            for file, entry in manifest["trainings"].items()
        }
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is not a valid manifest ({error}): `git checkout {path}`") from error


def _released(file: str) -> tuple[dict, dict] | None:
    if os.environ.get("WORKBOOK_RETRAIN") or file not in released():
        return None
    return _read(RELEASED / released()[file].get("file", file), released()[file]["sha256"], say=True)


def _changed_since_release(name: str, file: str, about: dict[str, Any]) -> dict[str, str]:
    """{file: which code has changed} of the models released under this name with the same settings."""
    found = {}
    for former, entry in released().items() if file not in released() else ():
        if former.rsplit("-", 1)[0] == name and entry["settings"] == digest(about["settings"])[:16]:
            before, now = entry["sources"], {key: value[:8] for key, value in about["sources"].items()}
            changed = sorted(key for key in before.keys() | now if before.get(key) != now.get(key))
            found[former] = f"{', '.join(changed) or 'torch'} changed since it was released"
    return found
