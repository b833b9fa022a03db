"""What a result depends on, as JSON that is equal for equal content: settings, data, and the source of every function
that is reached. Comments, docstrings, annotations and formatting do not count.

What cannot be followed is refused with an error that says how to write it instead.
"""

import ast
import builtins
import dataclasses
import hashlib
import inspect
import json
import linecache
import symtable
import sys
import sysconfig
import textwrap
import time
import types
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

STARTED = time.time()  # of this process, nearly: code files that are younger were not what it loaded
# modules of ours that cannot change a result
NEUTRAL = ("lib.progress", "lib.compute", "lib.atomic", "lib.training.checkpoint")
REFUSED = ("eval", "exec", "globals", "locals", "__import__")


class Edited(RuntimeError):
    """A code file has changed since it was loaded, so that its text no longer tells what runs."""


def describe(function: Callable, settings: dict[str, object]) -> dict[str, object]:
    """Everything that the result of ``function(**settings)`` depends on, as JSON.

    ``settings`` by name, with defaults; ``sources`` {qualified name: hash} of all functions, classes and globals of
    ours that are reached. Of torch only the major and minor version count. Raises TypeError for what cannot be
    followed, Edited if a code file was changed after this process loaded it.
    """
    bound = inspect.signature(function).bind(**settings)
    bound.apply_defaults()
    sources: dict[str, str] = {}
    return {
        "function": fingerprint(function, sources),
        "settings": {name: fingerprint(value, sources) for name, value in bound.arguments.items()},
        "sources": sources,
        "torch": ".".join(torch.__version__.split(".")[:2]),
    }


def digest(content: object) -> str:
    """Hash of JSON."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def fingerprint(value: object, sources: dict[str, str]) -> object:
    """JSON that is equal for equal content; what functions and classes in it reach is added to ``sources``.

    Raises TypeError for what has no content that can be told, and Edited as ``describe`` does.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, torch.Tensor):
        content = value.detach().cpu().contiguous()
        raw = content.view(torch.uint8).numpy() if content.dim() else content.numpy().tobytes()
        return [str(value.dtype), list(value.shape), hashlib.sha256(raw).hexdigest()]
    if isinstance(value, np.ndarray | np.generic) and value.dtype != object:
        return [f"numpy {value.dtype}", list(value.shape), hashlib.sha256(np.ascontiguousarray(value)).hexdigest()]
    if isinstance(value, bytes):
        return ["bytes", hashlib.sha256(value).hexdigest()]
    if isinstance(value, Path | range | slice | torch.dtype | torch.device):
        return [type(value).__name__, str(value)]
    if isinstance(value, partial):
        return [fingerprint(each, sources) for each in (value.func, value.args, value.keywords)]
    if isinstance(value, types.SimpleNamespace):
        return fingerprint(vars(value), sources)
    if isinstance(value, dict):
        return ["dict", *([fingerprint(k, sources), fingerprint(v, sources)] for k, v in value.items())]
    if isinstance(value, list | tuple):
        return [type(value).__name__, *(fingerprint(each, sources) for each in value)]
    if isinstance(value, set | frozenset):
        return ["set", *sorted((fingerprint(each, sources) for each in value), key=json.dumps)]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return [fingerprint(type(value), sources), fingerprint(fields, sources)]
    if isinstance(value, nn.Module):
        kinds = [fingerprint(kind, sources) for kind in {type(layer): None for layer in value.modules()}]
        return [kinds, repr(value), fingerprint(dict(value.state_dict()), sources)]
    if isinstance(value, types.MethodType):
        return [fingerprint(value.__self__, sources), value.__name__]
    if isinstance(value, type | types.FunctionType) or hasattr(value, "__wrapped__"):
        plain = inspect.unwrap(value)
        if _ours(plain):
            _follow(plain, sources)
        return _name(plain)
    if isinstance(value, types.BuiltinFunctionType | np.ufunc) or type(value).__module__.split(".")[0] == "torch":
        return f"{getattr(value, '__module__', None)}.{getattr(value, '__name__', repr(value))}"
    raise TypeError(
        f"cannot tell the content of a {type(value).__name__}: use numbers, text, tensors, arrays, networks, functions "
        "or functools.partial over them"
    )


def _follow(thing: type | types.FunctionType, sources: dict[str, str]) -> None:
    """Add the source of ``thing`` and of all of ours that it reaches to ``sources``."""
    name = _name(thing)
    if name in sources:
        return
    if "<lambda>" in name:
        raise TypeError(f"{name} is a lambda, and two on one line look alike: give it a name with def")
    if "<locals>" in name or (getattr(thing, "__closure__", None) and not isinstance(thing, type)):
        raise TypeError(
            f"{name} is defined inside another function and may read its variables: define it at the top of a cell or "
            "module, and pass what it needs with functools.partial"
        )
    tree, names, sources[name] = _parsed(_source(thing))
    scope = vars(sys.modules[thing.__module__]) if isinstance(thing, type) else thing.__globals__
    for node in ast.walk(tree):
        _refuse(node, name)
    for label in _labels(tree):
        if label.split(".")[0] not in names:
            continue
        used, at = _resolve(label, scope)
        if isinstance(used, types.ModuleType):
            if _ours_module(used.__name__):
                raise TypeError(f"{name} passes the module {at} around: name the function of it that is meant")
        elif isinstance(used, type | types.FunctionType) or hasattr(used, "__wrapped__"):
            if _ours(inspect.unwrap(used)):
                _follow(inspect.unwrap(used), sources)
        elif used is not _NOTHING:
            try:
                sources[f"{thing.__module__}: {at}"] = digest(fingerprint(used, sources))
            except TypeError as error:
                raise TypeError(
                    f"{name} reads the global {at}, and {error}. Or let {thing.__name__} take it as an argument"
                ) from error


_NOTHING = object()


def _resolve(label: str, scope: dict) -> tuple[object, str]:
    """What a dotted name stands for, and how much of it: followed through modules of ours and simple namespaces."""
    first, *rest = label.split(".")
    thing, at = scope.get(first, _NOTHING), first
    for name in rest:
        ours = isinstance(thing, types.ModuleType) and _ours_module(thing.__name__)
        if not ours and not isinstance(thing, types.SimpleNamespace):
            return (_NOTHING if isinstance(thing, types.ModuleType) else thing), at
        thing, at = getattr(thing, name, _NOTHING), f"{at}.{name}"
    return thing, at


def _refuse(node: ast.AST, name: str) -> None:
    """Raise TypeError for what hides which code runs."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
        if any(module.split(".")[0] in ("lib", "workbook") for module in modules):
            raise TypeError(f"{name} imports lib inside: do it at the top of the module, where it can be followed")
    if isinstance(node, ast.Call):
        called = ast.unparse(node.func)
        constant = len(node.args) > 1 and isinstance(node.args[1], ast.Constant)
        if called in REFUSED or called == "importlib.import_module" or (called == "getattr" and not constant):
            raise TypeError(f"{name} calls {called}(…), which hides what runs: choose from a dict of functions instead")


def _labels(tree: ast.AST) -> list[str]:
    """The longest dotted names ``a.b.c`` in a tree."""
    found, waiting = [], [tree]
    while waiting:
        node = waiting.pop()
        label = _dotted(node)
        if label:
            found.append(label)
        else:
            waiting += ast.iter_child_nodes(node)
    return sorted(set(found))


def _dotted(node: ast.AST) -> str:
    """``a.b.c`` of a name or a chain of attributes, else an empty text."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (owner := _dotted(node.value)):
        return f"{owner}.{node.attr}"
    return ""


def _source(thing: type | types.FunctionType) -> str:
    """The text of a function or class, of a file or of a notebook's cell."""
    code = _a_code(thing)
    file = Path(code.co_filename) if code else None
    if file and file.exists() and file.stat().st_mtime > STARTED:
        raise Edited(f"{file.name} was edited after this process loaded it (restart the kernel to use the new code)")
    try:
        if isinstance(thing, type) and code:
            return _class_source(thing, code)
        return inspect.getsource(thing)
    except (SyntaxError, OSError, TypeError) as error:
        hint = " that has at least one method" if isinstance(thing, type) else ""
        raise TypeError(f"cannot read the source of {_name(thing)}: define it in a cell or a file{hint}") from error


def _a_code(thing: type | types.FunctionType) -> types.CodeType | None:
    """The code of a function, or of one method of a class."""
    if isinstance(thing, types.FunctionType):
        return thing.__code__
    for member in vars(thing).values():
        function = getattr(member, "fget", None) or getattr(member, "__func__", None) or member
        function = inspect.unwrap(function) if callable(function) else function
        own = f"{thing.__qualname__}.{getattr(function, '__name__', '')}"
        if isinstance(function, types.FunctionType) and function.__qualname__ == own:
            return function.__code__
    return None


def _class_source(thing: type, code: types.CodeType) -> str:
    """The text of the class around one of its methods; inspect finds no classes in the cells of a notebook."""
    lines = linecache.getlines(code.co_filename)
    for node in ast.walk(ast.parse("".join(lines))):
        around = isinstance(node, ast.ClassDef) and node.name == thing.__name__
        if around and node.lineno <= code.co_firstlineno <= node.end_lineno:
            start = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            return "".join(lines[start - 1 : node.end_lineno])
    raise OSError("the class is not where its method is")


@cache
def _parsed(source: str) -> tuple[ast.AST, frozenset[str], str]:
    """Tree of a source without docstrings and annotations, the global names that it reads, and the tree's hash.

    Kept, because many trainings reach the same.
    """
    tree = ast.parse(textwrap.dedent(source))
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            node.annotation = None
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
        if isinstance(node, ast.AnnAssign):
            node.annotation = ast.Constant(None)
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            first = body[0].value
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                node.body = body[1:] or [ast.Pass()]
    tables = [symtable.symtable(ast.unparse(tree), "", "exec")]
    names = {s.get_name() for s in tables[0].get_symbols() if s.is_referenced()}
    while tables:
        table = tables.pop()
        tables += table.get_children()
        names |= {symbol.get_name() for symbol in table.get_symbols() if symbol.is_global()}
    return tree, frozenset(names - vars(builtins).keys()), digest(_shape(tree))


def _shape(node: object) -> object:
    """A tree as JSON that is the same for every version of Python: fields that are empty, or only say how, left out."""
    if isinstance(node, ast.AST):
        fields = [[name, _shape(value)] for name, value in ast.iter_fields(node) if name not in ("ctx", "kind")]
        return [type(node).__name__, *(field for field in fields if field[1] not in (None, []))]
    if isinstance(node, list):
        return [_shape(each) for each in node]
    return node if node is None or isinstance(node, bool | int | float | str) else repr(node)


def _name(thing: object) -> str:
    return f"{thing.__module__}.{thing.__qualname__}"


def _ours(thing: object) -> bool:
    return _ours_module(getattr(thing, "__module__", None) or "")


def _ours_module(name: str) -> bool:
    """Is a module part of lib, a notebook, or a file of the user's, and not of Python or an installed package?"""
    root = name.split(".")[0]
    if name in NEUTRAL or root in ("builtins", ""):
        return False
    if root in ("lib", "workbook", "__main__"):
        return True
    file = getattr(sys.modules.get(name), "__file__", None)
    return file is not None and not any(Path(file).is_relative_to(folder) for folder in _installed())


@cache
def _installed() -> tuple[Path, ...]:
    """Folders of Python and of installed packages."""
    found = {sysconfig.get_path(kind) for kind in ("stdlib", "platstdlib", "purelib", "platlib")}
    found.add(str(Path(torch.__file__).parent.parent))
    return tuple(Path(folder) for folder in found)
