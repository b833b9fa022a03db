"""Trainings beside each other: while a notebook trains a model, free cores train those that it will ask for next.

With RETRAIN=1, a run by the runner that begins a training forks a process that looks ahead. It executes the running
cell from its start, and the cells that follow, silently and unable to write a file. For each model that is missing it
forks a worker, which trains it, and goes on with UNKNOWN in its place; what needs that result fails, and is skipped.
The notebook then finds its models trained, or waits for their locks. It depends on no worker: what none has trained, it
trains itself, so that an error is its own. All of them end with the notebook.

A process that trains holds a lock on one of the files in the folder WORKBOOK_SLOTS, which its end releases. Workers
start only in a free slot. Notebooks take one if they can, and wait for none.
"""

import ast
import json
import linecache
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

from filelock import FileLock, Timeout

from lib import compute

CHANGES_NO_RESULT = True  # for ``workbook.fingerprint``
GRACE = 0.5  # seconds after the end of the notebook's process; an interrupted worker writes its checkpoint in them
looks_ahead = False  # whether this process does
_scout = 0  # the last process that this one let look ahead
_alive: tuple[int, int] | None = None  # a pipe whose second end only the notebook's process holds
_slot: int | None = None  # of the process that looks ahead, for its next worker
_asked: set[str] = set()  # the models that it has met
_terminal = 2  # the file descriptor of the standard error of the notebook's process
_limits: tuple[int, int] = (0, 0)  # of the size of files that the notebook's process may write


class _Unknown:
    """Stands for a result that is not there yet. It has every part, which is as unknown, and no value."""

    __hash__ = __iter__ = __eq__ = __bool__ = None  # pyrefly: ignore

    def __getattr__(self, name: str) -> "_Unknown":
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __getitem__(self, _: Any) -> "_Unknown":
        return self

    def __call__(self, *_: Any, **__: Any) -> "_Unknown":
        return self


UNKNOWN: Any = _Unknown()


@contextmanager
def helped(wanted: bool) -> Iterator[None]:
    """Within this block, where a notebook's process trains, others train what comes next, if a slot is free."""
    if not wanted or "WORKBOOK_SLOTS" not in os.environ or compute.device().type != "cpu":  # a GPU stands no fork
        yield
        return
    own = None
    with suppress(OSError):  # no memory for a fork, for example: then without help
        own = _free_slot()
        _look_ahead(own)
    try:
        yield
    finally:
        if own is not None:
            os.close(own)


def ask(path: Path, train: Callable[[], Any]) -> Any:
    """In the process that looks ahead, have the model at ``path`` trained, as soon as a slot is free."""
    global _slot
    if path.name not in _asked:
        _asked.add(path.name)
        while _slot is None and (_slot := _free_slot()) is None:
            time.sleep(0.2)
        with suppress(Timeout):  # raised where somebody trains it already
            with FileLock(path.with_suffix(".lock"), timeout=0, mode=0o666):
                pass
            if not os.fork():
                _work(train)
            os.close(_slot)
            _slot = None
    return UNKNOWN


def _free_slot() -> int | None:
    """A file descriptor that holds the lock of a slot until it is closed, also by a child; None if all are taken."""
    import fcntl

    for file in sorted(Path(os.environ["WORKBOOK_SLOTS"]).iterdir()):
        slot = os.open(file, os.O_RDWR)
        with suppress(BlockingIOError):
            fcntl.flock(slot, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return slot
        os.close(slot)
    return None


def _look_ahead(own: int | None) -> None:
    """Fork a process that looks ahead, unless one still does or no slot is free. ``own`` is the slot of this one."""
    global _scout, _alive, _slot, _limits, _terminal, looks_ahead
    if (_scout and os.waitpid(_scout, os.WNOHANG) == (0, 0)) or (slot := _free_slot()) is None:
        return
    _alive = _alive or os.pipe()
    if _scout := os.fork():
        os.close(slot)
        return
    try:
        import resource

        os.close(_alive[1])
        if own is not None:
            os.close(own)
        _end_with_the_notebook()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        _limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, _limits[1]))
        looks_ahead, _slot = True, slot
        _terminal = getattr(sys.stderr, "_original_stdstream_copy", 2)  # where ipykernel keeps it
        sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
        scope = vars(sys.modules["__main__"])
        if "get_ipython" in scope:
            scope["get_ipython"]().display_pub.publish = lambda *_, **__: None
        for number, cell in enumerate(_cells(scope["In"][-1])):
            execute(cell, f"<cell {number} ahead>", scope)
    finally:
        os._exit(0)  # without a word, whatever it could not execute


def _work(train: Callable[[], Any]) -> NoReturn:
    """What a worker does: train, show progress where the run does, and end."""
    global looks_ahead
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, _limits)
        looks_ahead = False
        del os.environ["WORKBOOK_SLOTS"]  # no further help
        sys.stderr = open(_terminal, "w", buffering=1, encoding="utf-8", closefd=False)  # noqa: SIM115
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _end_with_the_notebook()
        train()
    finally:
        os._exit(0)


def _end_with_the_notebook() -> None:
    """Let this process end soon after the one that runs the notebook, however that one ends."""

    def wait() -> None:
        os.read(_alive[0], 1)  # pyrefly: ignore
        time.sleep(GRACE)
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _cells(running: str) -> list[str]:
    """The source of the running cell, and of the code cells that follow."""
    cells = json.loads(Path(os.environ["WORKBOOK_NOTEBOOK"]).read_text("utf-8"))["cells"]
    code = ["".join(cell["source"]).strip() for cell in cells if cell["cell_type"] == "code"]
    return code[code.index(running.strip()) :]


def execute(cell: str, name: str, scope: dict[str, Any]) -> None:
    """Execute a cell in which every statement, and every element of a comprehension, may fail without the others."""
    linecache.cache[name] = (len(cell), None, cell.splitlines(keepends=True), name)  # for the keys of its functions
    scope |= {"__unknown__": UNKNOWN, "__alone__": _alone}
    with suppress(SyntaxError):  # of a cell magic
        exec(compile(ast.fix_missing_locations(_EachAlone().visit(ast.parse(cell))), name, "exec"), scope)


def _alone(compute: Callable[[], Any]) -> Any:
    try:
        return compute()
    except Exception:
        return UNKNOWN


class _EachAlone(ast.NodeTransformer):
    """Where a statement fails, all names that it would set become unknown; an element of a comprehension likewise."""

    def generic_visit(self, node: Any) -> Any:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            return node  # a function runs as it is written
        super().generic_visit(node)
        for part in {ast.ListComp: ["elt"], ast.SetComp: ["elt"], ast.DictComp: ["value"]}.get(type(node), []):
            lonely = ast.parse("__alone__(lambda: 0)", mode="eval").body
            lonely.args[0].body = getattr(node, part)  # pyrefly: ignore
            setattr(node, part, lonely)
        if isinstance(node, ast.Module | ast.For | ast.While | ast.If | ast.With):
            node.body = [self._tried(statement) for statement in node.body]
        return node

    def _tried(self, statement: ast.stmt) -> ast.stmt:
        named = [n.id for n in ast.walk(statement) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
        unknown = "; ".join(f"{name} = __unknown__" for name in sorted(set(named))) or "pass"
        tried: Any = ast.parse(f"try:\n    pass\nexcept Exception:\n    {unknown}").body[0]
        tried.body = [statement]
        return tried
