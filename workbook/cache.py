"""Trained models, kept by content: the same code on the same settings is trained once.

The key of a training is a hash of its settings, its data, torch's version, the device and thread count, and the
source of every function of ``lib`` or of the notebook that the training can reach. Comments, docstrings and
formatting do not count. So editing prose or a plot retrains nothing, and editing a layer retrains exactly the
models that have it. Weights are safetensors and everything else is JSON: loading cannot execute code.
"""

import ast
import dataclasses
import hashlib
import inspect
import json
import os
import shutil
import sys
import textwrap
import time
import types
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import torch
from filelock import FileLock
from safetensors.torch import load, save

from lib import compute
from lib.paths import cache_dir

STARTED = time.time()  # of this process, nearly: code files that are younger were not what it loaded
# modules that cannot change a result (the values of compute are in the key; fast_precision must be passed as a setting)
NEUTRAL = ("lib.progress", "lib.paths", "lib.compute")
# constants of a module whose content goes into the key of what reads them
CONSTANTS = (dict, list, tuple, int, float, str, partial, torch.Tensor)


class Edited(RuntimeError):
    """A code file has changed since it was loaded, so that its text no longer tells what runs."""


class Trained(NamedTuple):
    """Weights and history of a finished training, the same whether trained now or before."""

    state: dict[str, torch.Tensor]
    history: dict[str, list]


def trained(name: str, train: Callable[..., tuple[dict, dict]], /, **settings: object) -> Trained:
    """``train(**settings)``, from the cache if this code ran on these settings before.

    ``name`` only labels the folder. Another process that trains the same model is waited for. A damaged
    artifact is trained again. If its code was edited after it was loaded, the training runs as loaded, and is not
    kept. Raises TypeError for a setting whose content cannot be hashed.
    """
    try:
        key = training_key(train, settings)
        described = fingerprint(settings)  # now, because the code may be edited while the training runs
    except Edited as edited:
        print(f"{name}: {edited}; training with the code as it was loaded, without keeping it", file=sys.stderr)
        return Trained(*train(**settings))
    folder = cache_dir() / f"{name}-{key[:16]}"
    if found := _load(folder):
        return found
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):  # the system frees it when its holder dies
        if found := _load(folder):
            return found
        for stale in folder.parent.glob(f".{folder.name}.*.part"):
            shutil.rmtree(stale)
        if folder.exists():
            print(f"{folder.name} is damaged; training it again", file=sys.stderr)
            shutil.rmtree(folder)
        state, history = train(**settings)
        weights = save(state)
        about = {
            "name": name,
            "key": key,
            "weights_sha256": hashlib.sha256(weights).hexdigest(),
            "environment": compute.environment(),
            "settings": described,
            "history": history,
        }
        part = folder.with_name(f".{folder.name}.{os.getpid()}.part")
        part.mkdir()
        (part / "weights.safetensors").write_bytes(weights)
        (part / "artifact.json").write_text(json.dumps(about, indent=1, allow_nan=False))
        part.rename(folder)
    return _load(folder)


def _load(folder: Path) -> Trained | None:
    try:
        about = json.loads((folder / "artifact.json").read_text())
        weights = (folder / "weights.safetensors").read_bytes()
        if hashlib.sha256(weights).hexdigest() != about["weights_sha256"]:
            return None
        return Trained(load(weights), about["history"])
    except (OSError, ValueError, KeyError):
        return None


def training_key(train: Callable, settings: dict[str, object]) -> str:
    """Hash of everything that the result of ``train(**settings)`` depends on."""
    bound = inspect.signature(train).bind(**settings)
    bound.apply_defaults()
    content = {
        "train": fingerprint(train),
        "settings": fingerprint(bound.arguments),
        **compute.environment(),
    }
    return digest(content)


def digest(content: object) -> str:
    """Hash of JSON."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def fingerprint(value: object) -> object:
    """JSON that is equal for equal content. Raises TypeError for what has none, and Edited as ``sources`` does."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, torch.Tensor):
        content = value.detach().cpu().contiguous()
        sha = hashlib.sha256(content.view(torch.uint8).numpy() if content.dim() else content.numpy())
        return [str(value.dtype), list(value.shape), sha.hexdigest()]
    if isinstance(value, partial):
        return [fingerprint(value.func), fingerprint(value.args), fingerprint(value.keywords)]
    if isinstance(value, dict):
        return {str(k): fingerprint(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [fingerprint(v) for v in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: fingerprint(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, type | types.FunctionType) and _ours(value):
        return digest(sources(value))
    if callable(value) and hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    raise TypeError(f"cannot tell the content of {value!r}: pass numbers, text, tensors, functions or partial(…)")


def _ours(thing: object) -> bool:
    module = getattr(thing, "__module__", None) or ""
    return module.split(".")[0] in ("lib", "__main__") and module not in NEUTRAL


def sources(function: type | types.FunctionType) -> dict[str, object]:
    """{qualified name: its source without comments and docstrings} of ``function`` and of all of ours it reaches.

    Raises TypeError for what cannot be followed (closures, lambdas, classes of a notebook, local imports of lib) and
    Edited if a file is younger than this process.
    """
    found: dict[str, object] = {}
    waiting = [function]
    while waiting:
        thing = inspect.unwrap(waiting.pop())
        name = f"{thing.__module__}.{thing.__qualname__}"
        if name in found:
            continue
        if getattr(thing, "__closure__", None):
            raise TypeError(f"{name} reads variables of an enclosing function; pass them with functools.partial")
        file = Path(inspect.getfile(thing))
        if file.exists() and file.stat().st_mtime > STARTED:
            raise Edited(
                f"{file.name} was edited after this process loaded it (restart the kernel to use the new code)"
            )
        try:
            tree, found[name] = _bare(inspect.getsource(thing))
        except (SyntaxError, OSError) as error:
            raise TypeError(f"cannot read the source of {name}: use a named function, or a class of lib") from error
        scope = vars(sys.modules[thing.__module__])
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom) and "lib" in ast.unparse(node).replace(".", " ").split():
                raise TypeError(f"{name} imports lib inside: do it at the top of the module, where it can be followed")
            label = _dotted(node)
            used = _resolve(label, scope) if label else None
            if callable(used) and _ours(inspect.unwrap(used)):
                waiting.append(used)
            elif isinstance(used, CONSTANTS):
                found[f"{thing.__module__}: {label}"] = fingerprint(used)
    return found


def _dotted(node: ast.AST) -> str:
    """``a.b.c`` of a name or a chain of attributes, else an empty text."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (owner := _dotted(node.value)):
        return f"{owner}.{node.attr}"
    return ""


def _resolve(label: str, scope: dict) -> object:
    """What a dotted name stands for, followed through our modules only."""
    first, *rest = label.split(".")
    thing = scope.get(first)
    for name in rest:
        ours = isinstance(thing, types.ModuleType) and thing.__name__.split(".")[0] == "lib"
        if not ours or thing.__name__ in NEUTRAL:
            return None
        thing = getattr(thing, name, None)
    return thing


@cache
def _bare(source: str) -> tuple[ast.AST, str]:
    """Tree and text of a source without comments and docstrings; kept, because many trainings reach the same."""
    tree = ast.parse(textwrap.dedent(source))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            first = body[0].value
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                node.body = body[1:] or [ast.Pass()]
    return tree, ast.unparse(tree)
