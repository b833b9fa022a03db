"""Fingerprints: what a result depends on, as JSON. Equal content gives equal JSON.

A fingerprint covers settings, data, and the source of every function that is called, directly or indirectly. Comments,
docstrings, annotations and formatting do not count. Code whose dependencies cannot be determined raises an error that
says how to write it instead.

A fingerprint is the same on every processor. Numbers computed in floating point differ in their last bits from one
processor to the next, so none is part of it: images are named by their pixels, networks and whatever else a kept
training returned by the key of that training, and other computed numbers are refused.
"""

import ast
import dataclasses
import hashlib
import importlib.util
import inspect
import json
import linecache
import math
import re
import symtable
import sys
import sysconfig
import textwrap
import time
import types
from collections import deque
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.sparse import issparse
from torch import nn

from lib.data.tensors import symmetric, unit

CHANGES_NO_RESULT = True  # a module of the workbook that says this of itself is not followed
STARTED = time.time()  # when this process started: a code file changed later may differ from what was loaded
LARGE = 2**20  # of images with more numbers than this, a copy is kept, to recognise them when they come again
DIGITS = 12  # a number with more significant digits than this was computed, not written down
REFUSED = ("eval", "exec", "globals", "locals", "__import__")  # Python's own, unless the name is redefined
REFUSED_CALLS = ("import_module", "resolve_name", "run_path", "run_module")  # from any module


class Edited(RuntimeError):
    """A code file has changed since it was loaded, so its text is no longer the code that runs."""


class _Kept(NamedTuple):
    """What a kept training returned: its file, {hash: name} of its tensors, its history, and hashes of its parts."""

    file: str
    tensors: dict[str, str]
    history: Any
    parts: dict[int, tuple[str, str]]


kept: list[_Kept] = []  # all results of kept trainings that this process may use
# while ``describe`` runs: its sources, and {id: tensor and fingerprint}, for functions share their data
_asked: tuple[dict[str, str], dict[int, tuple[torch.Tensor, list]]] = {}, {}

# copies of the last large images, how they are scaled, and hashes of their pixels
_images: deque[tuple[torch.Tensor, Callable, str]] = deque(maxlen=2)


def remember(file: str, state: dict[str, torch.Tensor], history: Any) -> None:
    """From now on, name these tensors, and ``history`` and its entries, by the ``file`` of their training."""
    tensors = {_hash(tensor): name for name, tensor in reversed(state.items())}
    entries = {"": history} | (history if isinstance(history, dict) else {})
    parts = {id(each): (name, digest(each)) for name, each in entries.items() if isinstance(each, dict | list | float)}
    kept.append(_Kept(file, tensors, history, parts))


def describe(function: Callable, settings: dict[str, Any]) -> dict[str, Any]:
    """Everything that the result of ``function(**settings)`` depends on, as JSON.

    The result has the settings by name, including defaults, and ``sources`` {qualified name: hash} of all functions,
    classes and globals of the workbook or the user that are used. Of torch's version, only major and minor count.
    Raises TypeError if a dependency cannot be determined, Edited if a code file changed after this process loaded it.
    """
    bound = inspect.signature(function).bind(**settings)
    bound.apply_defaults()
    given = dict(bound.arguments)
    for name, parameter in bound.signature.parameters.items():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:  # by name, in whatever order they were given
            given |= given.pop(name)
    global _asked
    sources: dict[str, str] = {}
    _asked = sources, {}
    try:
        return {
            "function": fingerprint(function, sources),
            "settings": {name: fingerprint(value, sources) for name, value in given.items()},
            "sources": sources,
            "torch": ".".join(torch.__version__.split(".")[:2]),
        }
    except RecursionError:
        raise TypeError("cannot fingerprint an object that contains itself") from None
    finally:
        _asked = {}, {}


def digest(content: Any) -> str:
    """Hash of an object as JSON."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def fingerprint(value: Any, sources: dict[str, str]) -> Any:
    """A value as JSON that is equal for equal content. Adds the sources of functions and classes to ``sources``.

    Raises TypeError for a value that cannot be fingerprinted, and Edited as ``describe`` does.
    """
    if isinstance(value, int | float | str | dict | list | tuple | set | frozenset):
        return _of_builtin(value, sources)
    if value is None:
        return value
    if isinstance(value, torch.Tensor):
        known = _asked[1] if _asked[0] is sources else {}
        if id(value) not in known:
            known[id(value)] = value, _of_tensor(value.detach().cpu(), sources)
        return known[id(value)][1]
    array = isinstance(value, np.ndarray | np.generic) and not isinstance(value, np.ma.MaskedArray)
    if array and value.dtype.kind in "fc":
        return ["numpy", *_of_tensor(torch.from_numpy(np.array(value, value.dtype.newbyteorder("="))), sources)]
    if array and value.dtype.kind in "biuSUmM":
        raw = np.ascontiguousarray(value).reshape(-1).view(np.uint8)
        return [f"numpy {value.dtype}", list(value.shape), hashlib.sha256(raw).hexdigest()]
    if issparse(value) and value.format in ("csr", "csc"):
        parts = (value.data, value.indices, value.indptr)
        return [type(value).__name__, list(value.shape), *(fingerprint(part, sources) for part in parts)]
    if isinstance(value, bytes):
        return ["bytes", hashlib.sha256(value).hexdigest()]
    if isinstance(value, Path | range | slice | torch.dtype | torch.device):
        return [type(value).__name__, str(value)]
    if isinstance(value, partial):
        return [fingerprint(each, sources) for each in (value.func, value.args, value.keywords)]
    if isinstance(value, types.SimpleNamespace):
        return fingerprint(vars(value), sources)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return [fingerprint(type(value), sources), fingerprint(fields, sources)]
    if isinstance(value, nn.Module):
        return _of_module(value, sources)
    if isinstance(value, types.MethodType):
        return [fingerprint(value.__self__, sources), value.__name__]
    if isinstance(value, type | types.FunctionType) or hasattr(value, "__wrapped__"):
        return _of_code(value, sources)
    owner = getattr(value, "__self__", None)  # a builtin belongs to a module, a class or an object
    named = isinstance(value, types.BuiltinFunctionType | np.ufunc | torch.memory_format | torch.layout)
    if named and isinstance(owner, types.ModuleType | type | None):
        return f"{getattr(value, '__module__', None)}.{getattr(value, '__name__', repr(value))}"
    raise TypeError(
        f"cannot fingerprint a {type(value).__name__}: use numbers, text, tensors, arrays, dataclasses, "
        "networks, functions or functools.partial over them"
    )


def _of_builtin(value: Any, sources: dict[str, str]) -> Any:
    """The fingerprint of a number, a text or a collection."""
    if _ours(type(value)) and _a_code(type(value)):
        _follow(type(value), sources)  # a subclass of a builtin type, with its own methods
    if isinstance(value, dict | list | float) and (found := _returned(value)):
        return found
    if isinstance(value, float) and not math.isfinite(value):
        return ["float", repr(float(value))]  # JSON has no infinity or NaN
    digits = re.sub(r"e.*|\D", "", repr(float(value))).strip("0") if isinstance(value, float) else ""
    if len(digits) > DIGITS and not float(value).is_integer():
        raise TypeError(f"the number {value!r} was computed, and {_ELSEWHERE}")
    if isinstance(value, int | float | str):
        return value
    if isinstance(value, dict):
        return ["dict", *([fingerprint(k, sources), fingerprint(v, sources)] for k, v in value.items())]
    each = [fingerprint(one, sources) for one in value]
    if isinstance(value, set | frozenset):
        return ["set", *sorted(each, key=json.dumps)]
    return [type(value).__name__, *each]


_ELSEWHERE = (
    "its last bits differ from one processor to the next: compute it inside the function, from whole numbers, images "
    "and results of other kept trainings"
)


def _returned(value: dict | list | float) -> list[str] | None:
    """The file of the kept training that returned this very history, or an entry of it, and the entry's name."""
    for each in kept:
        if id(value) in each.parts:
            name, content = each.parts[id(value)]
            if digest(value) == content:
                return ["returned by", each.file, name]
    return None


def _hash(tensor: torch.Tensor) -> str:
    raw = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return hashlib.sha256(f"{tensor.dtype} {list(tensor.shape)}".encode() + hashlib.sha256(raw).digest()).hexdigest()


def _of_tensor(tensor: torch.Tensor, sources: dict[str, str]) -> list:
    """The fingerprint of a tensor of whole numbers, of scaled images, or of one that a kept training returned.

    Raises TypeError for any other, which was computed in floating point.
    """
    about = [str(tensor.dtype), list(tensor.shape)]
    if not (tensor.is_floating_point() or tensor.is_complex()) or _are_whole(tensor):
        return [*about, _hash(tensor)]
    for scaled, content in [found for copied, *found in _images if _same(copied, tensor)]:
        return [*about, fingerprint(scaled, sources), content]
    for scaled, back in ((unit, lambda x: x * 255), (symmetric, lambda x: x * 127.5 + 127.5)):
        if (pixels := _pixels(tensor, scaled, back)) is not None:
            content = _hash(pixels)
            if tensor.numel() > LARGE:
                _images.append((tensor.reshape(-1).clone(), scaled, content))
            return [*about, fingerprint(scaled, sources), content]
    content = _hash(tensor)
    for each in kept:
        if content in each.tensors:
            return ["returned by", each.file, each.tensors[content]]
    raise TypeError(f"the numbers in a tensor or array of shape {tuple(tensor.shape)} were computed, and {_ELSEWHERE}")


def _are_whole(tensor: torch.Tensor) -> bool:
    return not tensor.is_complex() and all(part.equal(part.round()) for part in tensor.reshape(-1).split(2**18))


def _same(copied: torch.Tensor, tensor: torch.Tensor) -> bool:
    """Whether the numbers of a tensor are those of a copy (N,), to the bit."""
    if copied.dtype != tensor.dtype or copied.numel() != tensor.numel():
        return False
    parts = zip(copied.split(2**18), tensor.reshape(-1).split(2**18), strict=True)
    return all(np.array_equal(a.numpy().view(np.int32), b.numpy().view(np.int32)) for a, b in parts)


def _pixels(tensor: torch.Tensor, scaled: Callable, back: Callable) -> torch.Tensor | None:
    """The uint8 numbers of which ``scaled`` makes exactly this tensor; None if there are none."""
    if tensor.dtype not in (torch.float32, torch.float64):
        return None
    flat = tensor.reshape(-1)
    pixels = torch.empty(flat.shape, dtype=torch.uint8)
    for part, found in zip(flat.split(2**18), pixels.split(2**18), strict=True):
        found.copy_(back(part).round_().clamp_(0, 255))
        if not scaled(found).flatten().to(part.dtype).equal(part):
            return None
    return pixels


def _of_weights(tensors: dict[str, torch.Tensor], sources: dict[str, str]) -> Any:
    """The fingerprint of a network's tensors: the kept training that returned all of them, and their names there."""
    hashes = {name: _hash(tensor) for name, tensor in tensors.items()}
    for each in kept if tensors else ():
        if each.tensors.keys() >= set(hashes.values()):
            return ["returned by", each.file, {name: each.tensors[content] for name, content in hashes.items()}]
    try:
        return fingerprint(tensors, sources)
    except TypeError:
        raise TypeError(
            "the weights of a network are not those that a kept training returned: pass a function that builds it, "
            "or the training itself"
        ) from None


def _of_module(network: nn.Module, sources: dict[str, str]) -> Any:
    """The fingerprint of a network: its classes, its weights, and the other attributes of its layers."""
    kinds = [fingerprint(kind, sources) for kind in {type(layer): None for layer in network.modules()}]
    stored = network.state_dict()
    tensors = [_of_weights(stored, sources)]
    tensors.append(fingerprint({k: v for k, v in network.named_buffers() if k not in stored}, sources))
    fresh, attributes = vars(nn.Module()), []
    for layer in network.modules():
        others = {name: value for name, value in vars(layer).items() if name not in fresh and _ours(type(layer))}
        hooks = [list(value.values()) for name, value in vars(layer).items() if name.endswith("_hooks") and value]
        attributes.append([layer.training, fingerprint(others, sources), fingerprint(hooks, sources)])
    learns = [weight.requires_grad for weight in network.parameters()]
    return [kinds, repr(network), tensors, attributes, learns]


def _of_code(value: Any, sources: dict[str, str]) -> Any:
    """The name of a function or class. If it is not from a library, everything it uses is added to ``sources``."""
    plain, wrappers = value, []
    while hasattr(plain, "__wrapped__") and not isinstance(plain, type):
        if isinstance(plain, types.FunctionType):
            wrappers.append(_ours_module(plain.__globals__["__name__"]))
        plain = plain.__wrapped__
    code = isinstance(plain, type | types.FunctionType)
    ours = code and _ours(plain)
    decorators = []
    if ours:
        _follow(plain, sources)
        decorators = _parsed(_source(plain))[0].body[0].decorator_list if wrappers else []
    if len(wrappers) > len(decorators) and (ours or any(wrappers)):
        name = getattr(plain, "__qualname__", repr(plain))
        raise TypeError(f"cannot tell what wraps {name}: apply the wrapper as a decorator, with @ above its def")
    if code and not ours and "<locals>" in plain.__qualname__:
        raise TypeError(f"{_name(plain)} is the name of several functions: write your own function that calls it")
    return _name(plain) if code else fingerprint(plain, sources)


def _follow(thing: type | types.FunctionType, sources: dict[str, str]) -> None:
    """Add the sources of ``thing``, and of everything it uses that is not from a library, to ``sources``."""
    name = _name(thing)
    if "<lambda>" in name:
        raise TypeError(f"{name} is a lambda, and two lambdas on one line look alike: define a function with def")
    if "<locals>" in name or (getattr(thing, "__closure__", None) and not isinstance(thing, type)):
        raise TypeError(
            f"{name} is defined inside another function and may read its variables: define it at the top of a cell or "
            "module, and pass what it needs with functools.partial"
        )
    source = _source(thing)
    if source is None:
        return _follow_live(thing, sources)  # pyrefly: ignore
    tree, names, found = _parsed(source)
    if name in sources:
        if sources[name] != found:
            raise TypeError(f"there are two versions of {name}: run the cells that use the old version again")
        return None
    sources[name] = found
    scope = vars(sys.modules[thing.__module__]) if isinstance(thing, type) else thing.__globals__
    for node in ast.walk(tree):
        _refuse(node, name)
    for label in _labels(tree):
        if label.split(".")[0] not in names:
            continue
        used, at = _resolve(label, scope)
        if used is _NOTHING:
            if label in REFUSED:
                raise TypeError(
                    f"{name} uses {label}, which hides the code that runs: choose from a dict of functions instead"
                )
        elif isinstance(used, types.ModuleType):
            if _ours_module(used.__name__):
                raise TypeError(f"{name} uses the module {at} as a value: pass the function that you need from it")
        elif isinstance(used, type | types.FunctionType) or hasattr(used, "__wrapped__"):
            fingerprint(used, sources)
        else:
            try:
                sources[f"{thing.__module__}: {at}"] = digest(fingerprint(used, sources))
            except TypeError as error:
                raise TypeError(
                    f"{name} reads the global {at}: {error}. Or pass what {thing.__name__} needs from it as an argument"
                ) from error
    _compare(thing, tree.body[0], scope)
    return None


def _follow_live(thing: type, sources: dict[str, str]) -> None:
    """Add a class by its bases and attributes, if it has no methods: its text cannot be found in a notebook's cells."""
    made_of = {name: value for name, value in vars(thing).items() if not name.startswith("__")}
    fields = [[field.name, field.default_factory] for field in getattr(thing, "__dataclass_fields__", {}).values()]
    fields = [[name, None if make is dataclasses.MISSING else make] for name, make in fields]
    sources[_name(thing)] = digest([fingerprint(each, sources) for each in (thing.__bases__, made_of, fields)])


def _compare(thing: type | types.FunctionType, node: Any, scope: dict) -> None:
    """Raise TypeError if ``thing`` differs from what its source text would now define.

    In a notebook, a default, a base class or a class attribute keeps its value from when the ``def`` or ``class`` ran.
    """
    name = _name(thing)
    stated = _of_class(thing, node, name) if isinstance(thing, type) else _defaults(thing, node)
    for base in getattr(node, "bases", []):
        used, _ = _resolve(_dotted(base), scope)
        if isinstance(used, type) and used not in thing.__bases__:  # pyrefly: ignore
            raise TypeError(f"{name} has an old version of {ast.unparse(base)} as its base: run its cell again")
    for what, written, there in stated:
        label = _dotted(written)
        used, at = _resolve(label, scope)
        if isinstance(written, ast.Constant):
            used, at = written.value, label
        if used is not _NOTHING and at == label and used is not there and _differ(used, there):
            raise TypeError(f"{what} of {name} no longer equals {ast.unparse(written)}: run its cell again")


def _differ(a: Any, b: Any) -> bool:
    """Whether two objects differ; False if they cannot be fingerprinted."""
    reached_a: dict[str, str] = {}
    reached_b: dict[str, str] = {}
    try:
        return (fingerprint(a, reached_a), reached_a) != (fingerprint(b, reached_b), reached_b)
    except TypeError:
        return False


def _of_class(thing: type, node: ast.ClassDef, name: str) -> list[tuple[str, Any, Any]]:
    """(name, expression in the source, current value) of a class's attributes and of its methods' defaults."""
    found, members = [], vars(thing)
    for part in node.body:
        if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef):
            if function := _function(members.get(part.name)):
                if function.__qualname__ != f"{thing.__qualname__}.{part.name}":
                    raise TypeError(f"{name}.{part.name} was replaced outside the class: define it in the class")
                found += _defaults(function, part)  # pyrefly: ignore
        elif isinstance(part, ast.Assign | ast.AnnAssign) and part.value:
            targets = part.targets if isinstance(part, ast.Assign) else [part.target]
            labels = [_dotted(target) for target in targets]
            found += [(label, part.value, members[label]) for label in labels if label in members]
    known = {_dotted(each) or getattr(each, "name", "") for each in ast.walk(node)}
    for member in members if not node.decorator_list else ():
        if member not in known and not member.startswith("_"):
            raise TypeError(f"{name}.{member} was set outside the class: define it in the class")
    return found


def _defaults(function: types.FunctionType, node: ast.FunctionDef) -> list[tuple[str, Any, Any]]:
    """(argument, expression of its default in the source, current default) of a function."""
    last = [*node.args.posonlyargs, *node.args.args][::-1]
    found = list(zip(last, node.args.defaults[::-1], (function.__defaults__ or ())[::-1], strict=False))
    named = function.__kwdefaults__ or {}
    pairs = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
    found += [(argument, written, named[argument.arg]) for argument, written in pairs if argument.arg in named]
    return [(argument.arg, written, there) for argument, written, there in found]


_NOTHING = object()


def _resolve(label: str, scope: dict) -> tuple[Any, str]:
    """The object that a dotted name refers to, and the part of the name that was resolved.

    Only modules of the workbook or the user, and simple namespaces, are followed.
    """
    first, *rest = label.split(".")
    thing, at = scope.get(first, _NOTHING), first
    for name in rest:
        ours = isinstance(thing, types.ModuleType) and _ours_module(thing.__name__)
        if not ours and not isinstance(thing, types.SimpleNamespace):
            return (_NOTHING if isinstance(thing, types.ModuleType) else thing), at
        thing, at = getattr(thing, name, _NOTHING), f"{at}.{name}"
    return thing, at


def _refuse(node: Any, name: str) -> None:
    """Raise TypeError for code that hides which functions it calls."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
        for module in modules:
            if getattr(node, "level", 0) or _ours_to_import(module.split(".")[0]):
                what = module or "a module"
                raise TypeError(f"{name} imports {what} in its body: move the import to the top of the file or cell")
    if isinstance(node, ast.Call):
        called = _dotted(node.func)
        constant = len(node.args) > 1 and isinstance(node.args[1], ast.Constant)
        if called.split(".")[-1] in REFUSED_CALLS or (called == "getattr" and not constant):
            raise TypeError(
                f"{name} calls {called}(…), which hides the code that runs: choose from a dict of functions instead"
            )


def _ours_to_import(root: str) -> bool:
    """Whether ``import root`` would load a module of the workbook or the user."""
    if root in sys.modules:
        return _ours_module(root)
    spec = importlib.util.find_spec(root)
    places = [spec.origin] if spec and spec.has_location else (spec and spec.submodule_search_locations) or []
    return any(_outside(place) for place in places)  # pyrefly: ignore


def _labels(tree: Any) -> list[str]:
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


def _dotted(node: Any) -> str:
    """``a.b.c`` for a name or a chain of attributes, otherwise an empty string."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (owner := _dotted(node.value)):
        return f"{owner}.{node.attr}"
    return ""


def _source(thing: type | types.FunctionType) -> str | None:
    """The source of a function or class from a file or a cell; None for a class without methods from a cell.

    Raises Edited if its file has changed since this process started.
    """
    code = _a_code(thing)
    place = code.co_filename if code else getattr(sys.modules.get(thing.__module__), "__file__", None)
    file = Path(place) if place else None
    if file and file.exists() and file.stat().st_mtime > STARTED:
        raise Edited(f"{file.name} was edited after this process loaded it (restart the kernel to use the new code)")
    try:
        return _text(thing, code)
    except (SyntaxError, OSError, TypeError) as error:
        if isinstance(thing, type) and not code:
            return None
        raise TypeError(f"cannot read the source of {_name(thing)}: define it in a cell or a file") from error


@cache
def _text(thing: type | types.FunctionType, code: types.CodeType | None) -> str:
    """The source of a function or class, as it was when first requested."""
    return _class_source(thing, code) if isinstance(thing, type) and code else inspect.getsource(thing)


def _a_code(thing: type | types.FunctionType) -> types.CodeType | None:
    """The code object of a function, or of one method that is written in the class."""
    if isinstance(thing, types.FunctionType):
        return thing.__code__
    for member in vars(thing).values():
        function = _function(member)
        if function and function.__qualname__ == f"{thing.__qualname__}.{function.__name__}":
            code = function.__code__
            if code.co_filename in linecache.cache or Path(code.co_filename).exists():  # dataclass makes the others
                return code
    return None


def _function(member: Any) -> types.FunctionType | None:
    """The plain function behind a member of a class: a method (also static or decorated) or a property."""
    function = getattr(member, "fget", None) or getattr(member, "__func__", None) or member
    function = inspect.unwrap(function) if callable(function) else function
    return function if isinstance(function, types.FunctionType) else None


def _class_source(thing: type, code: types.CodeType) -> str:
    """The source of the class around one of its methods; inspect finds no classes in the cells of a notebook."""
    lines = linecache.getlines(code.co_filename)
    for node in ast.walk(ast.parse("".join(lines))):
        if not isinstance(node, ast.ClassDef) or node.name != thing.__name__:
            continue
        if node.lineno <= code.co_firstlineno <= (node.end_lineno or 0):
            start = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            return "".join(lines[start - 1 : node.end_lineno])
    raise OSError("the class is not where its method is")


@cache
def _parsed(source: str) -> tuple[Any, frozenset[str], str]:
    """Syntax tree of a source without docstrings and annotations, the global names that it reads, and the tree's hash.

    Cached, because many training runs use the same functions.
    """
    try:
        tree = ast.parse(textwrap.dedent(source))
    except IndentationError:  # a string or a comment in it begins further left
        tree = ast.parse("if True:\n" + source)
        tree.body = tree.body[0].body  # pyrefly: ignore
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
                node.body = body[1:] or [ast.Pass()]  # pyrefly: ignore
    tables = [symtable.symtable(ast.unparse(tree), "", "exec")]
    names = {s.get_name() for s in tables[0].get_symbols() if s.is_referenced()}
    while tables:
        table = tables.pop()
        tables += table.get_children()
        names |= {symbol.get_name() for symbol in table.get_symbols() if symbol.is_global()}
    return tree, frozenset(names), digest(_shape(tree))


def _shape(node: Any) -> Any:
    """A syntax tree as JSON that is the same for every version of Python, without empty and purely formal fields."""
    if isinstance(node, ast.AST):
        fields = [[name, _shape(value)] for name, value in ast.iter_fields(node) if name not in ("ctx", "kind")]
        return [type(node).__name__, *(field for field in fields if field[1] not in (None, []))]
    if isinstance(node, list):
        return [_shape(each) for each in node]
    return node if node is None or isinstance(node, bool | int | float | str) else repr(node)


def _name(thing: Any) -> str:
    return f"{thing.__module__}.{thing.__qualname__}"


def _ours(thing: Any) -> bool:
    return _ours_module(getattr(thing, "__module__", None) or "")


def _ours_module(name: str) -> bool:
    """Whether a module is part of the workbook, a notebook or a user's file, and may change a result."""
    module = sys.modules.get(name)
    if getattr(module, "CHANGES_NO_RESULT", False) or name.split(".")[0] in ("builtins", ""):
        return False
    if name.split(".")[0] in ("lib", "workbook", "__main__"):
        return True
    file = getattr(module, "__file__", None)
    return file is not None and _outside(file)


def _outside(file: str) -> bool:
    """Whether a file belongs neither to Python nor to an installed package."""
    return not any(Path(file).is_relative_to(folder) for folder in _installed())


@cache
def _installed() -> tuple[Path, ...]:
    """The folders of Python and of installed packages."""
    found = {sysconfig.get_path(kind) for kind in ("stdlib", "platstdlib", "purelib", "platlib")}
    found.add(str(Path(torch.__file__).parent.parent))
    return tuple(Path(folder) for folder in found)
