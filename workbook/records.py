"""Records on disk: the items of the reports, and the results of the notebooks. Needs neither torch nor notebooks."""

import difflib
import json
import sys
import tomllib
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from functools import cache
from pathlib import Path

from workbook.paths import DATA, ROOT

# What an entry of each table, and of a list within it, must and may hold: a type, or the words to choose from. The head
# of data/reports.toml explains the keys of an item.
REQUIRED: dict[str, dict[str, type | tuple[str, ...]]] = {
    "report": {"id": str, "title": str, "year": int, "seed": str, "sections": list},
    "item": {
        **dict.fromkeys(("id", "report", "section", "notebook", "title", "shows"), str),
        "kind": ("figure", "table", "number", "question"),
        "class": ("measured", "setting", "picture", "question"),
        "better": ("higher", "lower", "match", "none"),
    },
    "erratum": {
        **dict.fromkeys(("id", "report", "title", "source", "notebook", "reported", "corrected"), str),
        "kind": ("error", "inconsistent", "caption"),
        "items": list,
    },
    "sections": {"n": str, "title": str},
    "says": {"quote": str},
    "rivals": {"value": object, "what": str, "from": str},
}
OPTIONAL: dict[str, dict[str, type | tuple[str, ...]]] = {
    "item": {
        **dict.fromkeys(("reported", "comparable", "corrected"), object),
        **dict.fromkeys(("not_comparable", "data", "note", "row_of", "result", "pool", "as_programmed"), str),
        **dict.fromkeys(("exact", "asserts", "read_off"), bool),
        **dict.fromkeys(("decimals", "draws"), int),
        **dict.fromkeys(("judged", "says", "possible", "rivals"), list),
        "bound": ("at least", "range"),
    },
    "erratum": dict.fromkeys(("quote", "claim", "arithmetic", "reading"), str),
    "says": {"aside": str, "section": str},
}
NAMES = {str: "text", int: "a whole number", bool: "true or false", list: "a list"}


class RecordError(ValueError):
    """A file of records is wrong. The message names the file and the entry, and says what is allowed."""


@cache
def reports() -> dict:
    """``data/reports.toml``: {"report": [...], "item": [...]}. Raises RecordError if it is wrong."""
    content = _read(DATA / "reports.toml", ("report", "item"))
    sections = {report["id"]: [section["n"] for section in report["sections"]] for report in content["report"]}
    items = [item["id"] for item in content["item"]]
    for item in content["item"]:
        _chosen(f"reports.toml, item {item['id']}", "report", item["report"], sections)
        _chosen(f"reports.toml, item {item['id']}", "section", item["section"], sections[item["report"]])
        _chosen(f"reports.toml, item {item['id']}", "row_of", item.get("row_of", item["id"]), items)
    return content


@cache
def errata() -> list[dict]:
    """The errors in the reports, from ``data/errata.toml``, by root cause. Raises RecordError if the file is wrong."""
    found = _read(DATA / "errata.toml", ("erratum",))["erratum"]
    known = {item["id"] for item in reports()["item"]}
    for error in found:
        for item in error["items"]:
            _chosen(f"errata.toml, erratum {error['id']}", "an item", item, known)
    return found


def _read(path: Path, tables: tuple[str, ...]) -> dict[str, list[dict]]:
    """The tables of a TOML file, each entry with the keys that it must and may have, and no two with the same id."""
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise RecordError(f"{path.name} is not valid TOML: {error}") from error
    for table, entries in content.items():
        _chosen(path.name, "a table", table, tables)
        for entry in entries:
            _check(f"{path.name}, {table} {entry.get('id', '(without an id)')}", table, entry)
        for name, count in Counter(entry["id"] for entry in entries).items():
            if count > 1:
                raise RecordError(f"{path.name} has {count} entries [[{table}]] with the id {name}; give each its own")
    return {table: content.get(table, []) for table in tables}


def _check(where: str, table: str, entry: dict) -> None:
    """Raise RecordError unless an entry has the keys that it must have, and values that it may have."""
    if missing := REQUIRED[table].keys() - entry:
        raise RecordError(f"{where} has no {' and no '.join(sorted(missing))}")
    allowed = REQUIRED[table] | OPTIONAL.get(table, {})
    for key, value in entry.items():
        _chosen(where, "a key", key, allowed)
        if isinstance(kind := allowed[key], tuple):
            _chosen(where, key, value, kind)
        elif not isinstance(value, kind):
            raise RecordError(f"{where}: {key} is {value!r}, but must be {NAMES[kind]}")
        for each in value if key in REQUIRED else ():
            if isinstance(each, dict):
                _check(f"{where}, {key}", key, each)


def _chosen(where: str, what: str, word: str, words: Collection[str]) -> None:
    """Raise RecordError unless ``word`` is one of these words."""
    if word not in words:
        near = difflib.get_close_matches(str(word), words, n=1)
        allowed = (
            f"did you mean {near[0]}?" if near else f"it may be {', '.join(list(words)[:20])}{' …' * (len(words) > 20)}"
        )
        raise RecordError(f"{where}: {what} is {word!r}; {allowed}")


def items_of(notebook: str) -> dict[str, dict]:
    """{id: item} of the items that a notebook has to regenerate."""
    return {item["id"]: item for item in reports()["item"] if item["notebook"] == notebook}


def load_results(folder: Path) -> dict | None:
    """results.json of one notebook, merged with the durations in timings.json; None if neither exists.

    Raises ValueError, naming the file, if it is not valid JSON.
    """
    merged = None
    for name in ("results", "timings"):
        path = folder / f"{name}.json"
        if not path.is_file():
            continue
        try:
            content = json.loads(path.read_text("utf-8"))
        except ValueError as error:
            raise ValueError(f"{path} is not valid JSON ({error}): delete it and run `make figures`") from error
        if merged is None:
            merged = content
            continue
        merged["items"] |= content["items"]
        merged["figures"] |= content["figures"]
        for item, tests in content.get("tested", {}).items():
            merged.setdefault("tested", {}).setdefault(item, []).extend(tests)
    return merged


def merge(runs: Sequence[Mapping]) -> dict:
    """The results of one notebook over several seeds as one: measurements of the same seed count once."""
    found: dict[tuple, list] = defaultdict(list)  # (item, its test or None) → [(entry, seed)]
    for run in runs:
        for name, entry in run["items"].items():
            found[name, None].append((entry, run["seed"]))
        for name, tests in run.get("tested", {}).items():
            for test in tests:
                found[name, (test["quote"], test["what"])].append((test, run["seed"]))
    merged: dict = {"items": {}, "tested": defaultdict(list), "figures": {}}
    for (name, test), entries in found.items():
        if test is None:
            merged["items"][name] = _joined(entries)
        else:
            merged["tested"][name].append(_joined(entries))
    for run in reversed(runs):
        merged["figures"] |= run["figures"]
    return merged


def _joined(entries: Sequence[tuple[Mapping, int]]) -> dict:
    """Entries of several runs as one: each (entry, seed of the run), with measurements for seed, seed + 1, …"""
    joined = dict(entries[0][0])
    if len(entries) == 1 or joined.get("exact"):
        return joined
    pools: dict[tuple, dict] = defaultdict(dict)  # where → {seed: measurement}
    for entry, seed in entries:
        lists = {(name,): entry[name] for name in ("runs", "improved", "values", "against") if name in entry}
        lists |= {("otherwise", name): runs for name, runs in entry.get("otherwise", {}).items()}
        if "value" in entry and "runs" not in entry:
            lists["runs",] = [entry["value"]]
        for where, values in lists.items():
            given = entry.get("seeds", ())
            seeds = given if len(given) == len(values) else range(seed, seed + len(values))
            for one, value in zip(seeds, values, strict=True):
                pools[where].setdefault(one, value)
    joined["otherwise"] = {}
    for (name, *key), by_seed in pools.items():
        if key:
            joined["otherwise"][key[0]] = list(by_seed.values())
        else:
            joined[name] = list(by_seed.values())
    return joined


def half_digit(number: float, decimals: int | None = None) -> float:
    """Half a unit of the last printed digit: 0.98 means any value from 0.975 to 0.985."""
    exponent = -decimals if decimals is not None else int(Decimal(str(number)).as_tuple().exponent)
    return 0.5 * 10.0**exponent


def loaded_code() -> list[str]:
    """The files of ``lib`` and ``workbook`` that this process has loaded, which are a notebook's dependencies."""
    modules = [m for name, m in list(sys.modules.items()) if name.split(".")[0] in ("lib", "workbook")]
    files = {Path(m.__file__).resolve() for m in modules if getattr(m, "__file__", None)}
    return sorted(str(file.relative_to(ROOT)) for file in files if file.is_relative_to(ROOT))
