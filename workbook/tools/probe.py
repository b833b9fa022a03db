"""What ``tools.adopt`` runs in front of a notebook, in its kernel, with former code and with the present code alike.

Every request for a kept result is noted, and answered with the former result that it matches, so that nothing is
trained. A request that stands for others is also run in short: the first steps and the first evaluation of each
training in it; what trains nothing runs whole. Uses only what former code has too.
"""

import hashlib
import json
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

CHANGES_NO_RESULT = True
STEPS = 3
LONGEST = 90  # recorded seconds of what trains nothing and runs whole nevertheless
PATIENCE = 900  # seconds after which a short run is given up
TRIES = 2  # of a kind
HOW = ("first steps", "a step an epoch")  # of each training; the second if a function needs all its epochs
CODE = re.compile(r"(lib|workbook|__main__|torch|numpy|builtins|None)\.\S+")
DATA = re.compile(r"torch\.(b?float|int|uint|bool|complex)\d*|numpy \S+|returned by|bytes")  # first of a fingerprint


class Done(Exception):
    """Everything that this notebook was run for has been seen."""


def outline(value: Any, change: Callable[[Any], Any]) -> Any:
    """A fingerprint without its data, and with ``change`` applied to its numbers and texts."""
    if isinstance(value, list):
        data = value and isinstance(value[0], str) and DATA.fullmatch(value[0])
        return "data" if data else [outline(each, change) for each in value]
    return change(value)


def _without_code(value: Any) -> Any:
    return "code" if isinstance(value, str) and CODE.fullmatch(value) else value


def _whether_zero(value: Any) -> Any:
    return bool(value) if isinstance(value, int | float) else value


def fitting(about: dict, former: list[dict]) -> list[dict]:
    """The former results that a request may ask for, in the order in which the notebook asked for them.

    They have its name, and its value of every setting that is a number or a text in both; of these, the ones that agree
    with it in most of the other settings, data and names of functions aside. Results of the present code answer only
    requests for themselves.
    """
    now = {name: (value, outline(value, _without_code)) for name, value in about["settings"].items()}
    fits: dict[int, list[dict]] = {}
    for each in former:
        if each["name"] == about["name"] and not each.get("present"):
            both = [(now[name], (v, outline(v, _without_code))) for name, v in each["settings"].items() if name in now]
            if all(new == old for new, old in both if new[0] == new[1] and old[0] == old[1]):
                fits.setdefault(sum(new[1] == old[1] for new, old in both), []).append(each)
    best = fits[max(fits)] if fits else []
    return sorted(best, key=lambda each: each["order"])


def kind(about: dict) -> str:
    """Equal for requests that run the same code: of numbers counts only whether they are zero, of seeds nothing."""
    code = {name: value for name, value in about["sources"].items() if ": " not in name}
    counted = {name: value for name, value in about["settings"].items() if name not in ("seed", "start")}
    content = [about["name"], about["function"], {k: outline(v, _whether_zero) for k, v in counted.items()}, code]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def digests(state: dict[str, torch.Tensor], history: Any) -> dict[str, str]:
    """A hash of each tensor and of each entry of a result, durations left out."""

    def timeless(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: timeless(each) for key, each in value.items() if not key.endswith("seconds")}
        return [timeless(each) for each in value] if isinstance(value, list) else value

    found = {}
    for name, tensor in state.items():
        about = json.dumps([str(tensor.dtype), list(tensor.shape)]).encode()
        found[f"weights {name}"] = about + tensor.flatten().view(torch.uint8).numpy().tobytes()
    for name, value in timeless(history).items():
        found[f"history {name}"] = json.dumps(value, sort_keys=True).encode()
    return {name: hashlib.sha256(raw).hexdigest()[:16] for name, raw in found.items()}


@contextmanager
def short(how: str) -> Iterator[None]:
    """Within this block every training is short, random numbers start anew, and patience ends."""
    from lib.training import loop

    fit = loop.fit

    def few_steps(step: Callable, n: int, *, epochs: int, batch_size: int, **settings: Any) -> dict:
        few, epochs = (STEPS, 1) if how == HOW[0] else (1, epochs)
        return fit(step, min(n, few * batch_size), epochs=epochs, batch_size=batch_size, **settings)

    # followed no further, where a search looks into its code for the name of its study
    few_steps.__module__, few_steps.__qualname__ = "workbook.cache", "few_steps"

    def give_up(*_: Any) -> None:
        raise TimeoutError(f"it takes more than {PATIENCE} s")

    holders = [module for module in list(sys.modules.values()) if vars(module).get("fit") is fit]
    before = signal.signal(signal.SIGALRM, give_up)
    try:
        for module in holders:
            vars(module)["fit"] = few_steps
        signal.alarm(PATIENCE)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        for module in holders:
            vars(module)["fit"] = fit


def install(notebook: str, former: list[dict], compare: dict[str, str], code: str, log: str) -> None:
    """Take the place of ``cache.trained`` and ``cache.cached`` in this process, and note what is seen in ``log``.

    ``former`` are the results to answer with. ``compare`` {file of a former result: how} says what to run in short. If
    ``code`` is "former" or "present", one of each kind is run too, and whatever its settings alone do not identify, but
    nothing whose key has not changed in the present code. If it is "again", the run ends with the last of ``compare``.
    """
    from workbook import cache

    seen: dict[str, dict | None] = {}
    turns: dict[str, int] = {}
    tried: dict[str, int] = {}
    deep = [False]  # within a short run

    def result(what: str, name: str, function: Callable, keep: tuple | None, settings: dict) -> tuple[dict, dict]:
        found = function(**settings)
        if what == "cached":
            tensors = {key: value for key, value in found.items() if isinstance(value, torch.Tensor)}
            found, keep = (tensors, {key: value for key, value in found.items() if key not in tensors}), None
        state = dict(sorted(cache._wanted(found[0], keep).items()))
        return state, json.loads(json.dumps(cache._plain(found[1], name)))

    def in_short(how: str, *asked: Any) -> tuple[dict, dict]:
        deep[0] = True
        try:
            with short(how):
                return result(*asked)
        finally:
            deep[0] = False

    def compared(note: dict, before: dict, *asked: Any) -> dict:
        if "lib.training.loop.fit" not in note["about"]["sources"] and before["seconds"] > LONGEST:
            return {"why": f"it trains nothing, and took {before['seconds']:.0f} s"}
        why = ""
        for how in [compare[before["file"]]] if before["file"] in compare else HOW:
            try:
                return {"how": how, "digests": digests(*in_short(how, *asked))}
            except Exception as error:  # a function may expect more of a training than its first steps
                why = f"in short: {type(error).__name__}: {error}"
        return {"why": why}

    def noted(about: dict, file: str, keep: tuple | None, asked: tuple) -> dict | None:
        """Note a new request; returns a result to answer it with, a similar one if there is no better."""
        fits = [e for e in former if e["file"] == file] or fitting(about, former)
        turn = turns[group] = turns.get(group := " ".join([about["name"], *(e["file"] for e in fits)]), -1) + 1
        before = fits[turn] if turn < len(fits) else None
        enough = before is not None and cache._enough(({}, before), keep)
        note: dict[str, Any] = {
            "notebook": notebook,
            "file": file,
            "about": about,
            "kind": kind(about),
            "enough": enough,
        }
        others = fitting(about, former)  # one, if the settings alone say which result it is
        sure = len(others) == 1 and about["settings"].keys() <= others[0]["settings"].keys()
        note |= {"former": before and before["file"], "sure": sure}
        tries = tried.get(note["kind"], 0) if sure else 0
        wanted = before and (before["file"] in compare or (enough and code != "again" and tries < TRIES))
        if before and wanted and not (code == "present" and before["file"] == file):
            note |= compared(note, before, *asked)
            tried[note["kind"]] = TRIES if "how" in note else tries + 1
        with open(log, "a", encoding="utf-8") as lines:
            lines.write(json.dumps(note) + "\n")
        if code == "again" and before:
            compare.pop(before["file"], None)
            if not compare:
                raise Done
        similar = [each for each in former if each["name"] == about["name"] and cache._enough(({}, each), keep)]
        return before if enough else next(iter(similar), None)

    def ask(what: str, name: str, function: Callable, keep: tuple | None, settings: dict) -> tuple[dict, dict]:
        asked = what, name, function, keep, settings
        if deep[0]:
            return result(*asked)
        about = cache.describe(function, settings) | {"name": name}
        file = cache.file_name(about)
        if file not in seen:
            seen[file] = noted(about, file, keep, asked)
        if kept := seen[file]:
            state, whole = cache.unpacked(Path(kept["path"]).read_bytes())
            history = whole["history"]
        else:
            state, history = in_short(HOW[1], *asked)  # with as many epochs as the notebook will show
        return tuple(cache._use(file, (state, {"seconds": 0.0, "history": history}), 0.0))

    def trained(name: str, train: Callable, /, keep: tuple | None = None, **settings: Any) -> Any:
        return cache.Trained(*ask("trained", name, train, keep, settings))

    def cached(name: str, measure: Callable, /, **settings: Any) -> dict:
        tensors, others = ask("cached", name, measure, (), settings)
        return others | tensors

    for function in (trained, cached):
        function.__module__, function.__qualname__ = "workbook.cache", function.__name__  # followed no further
        setattr(cache, function.__name__, function)


if "PLAN" in globals():  # in a kernel
    install(**json.loads(Path(globals()["PLAN"]).read_text("utf-8")))
