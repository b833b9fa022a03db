"""Reported against reproduced: a verdict for every item of ``data/reports.toml``."""

import html
import json
import math
import statistics
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from lib.atomic import write_atomic
from workbook.paths import BUILD, results_dir
from workbook.records import load_results, reports

# verdict → mark that reads without colour
VERDICTS = {
    "better": "▲",
    "equal": "＝",
    "worse": "🟥 ▼",
    "report wrong": "✗",
    "shown": "●",
    "not yet": "…",
}
RELATIVE_TOLERANCE = 0.02
LARGEST_OF_SHARES = 0.005  # values up to 1 are mostly accuracies: half a percent point at most


class Row(NamedTuple):
    """One line of the scoreboard."""

    item: dict
    verdict: str
    reported: str
    ours: str
    difference: str
    reason: str
    figure: str | None
    alt: str
    origin: str


def judge(item: dict, entry: dict | None, drawn: bool = False) -> tuple[str, str, str]:
    """(verdict, difference, reason) of a recorded entry against its item.

    better / worse: beyond the tolerance in the direction that the item wants; for ``match``, any difference
    beyond it is worse. shown: regenerated, and the report gives nothing to compare with. report wrong: the
    notebook shows that the reported value is not what it claims to be.
    """
    if entry is None:
        return ("shown", "", "") if drawn and "reported" not in item else ("not yet", "", "")
    target = item.get("comparable", item.get("reported"))
    pairs = _pairs(target, entry.get("value"), entry.get("compare"))
    differences = [f"{name + ' ' if name else ''}{_signed(ours, theirs)}" for name, theirs, ours in pairs]
    if len(differences) > 8:
        off = [d for d in differences if not d.endswith((" 0", "same"))]
        differences = [*off[:8], f"{len(differences)} compared, {len(off)} differ"]
    difference = ", ".join(differences)
    if "report_wrong" in entry:
        return "report wrong", difference, entry["report_wrong"]
    note = entry.get("note", "")
    if not pairs or item["better"] == "none":
        return "shown", difference, note
    tolerance = entry.get("tolerance")
    if isinstance(tolerance, dict) and (unknown := set(tolerance) - {name for name, *_ in pairs}):
        raise KeyError(f"tolerance for {sorted(unknown)}, but only {sorted({name for name, *_ in pairs})} are compared")
    scores = [
        _score(item["better"], theirs, ours, tolerance.get(name) if isinstance(tolerance, dict) else tolerance)
        for name, theirs, ours in pairs
    ]
    verdict = "worse" if min(scores) < 0 else "better" if max(scores) > 0 else "equal"
    return verdict, difference, note


def _pairs(target: object, value: object, compare: str | list[str] | None, name: str = "") -> list[tuple]:
    """(name, reported, ours) for every comparable leaf that both have."""
    if isinstance(target, dict) and isinstance(value, dict):
        if "rows" in target and "rows" in value and isinstance(compare, str):  # a table: compare one column
            at = target["columns"].index(compare)
            ours = {row[0]: row[at] for row in value["rows"]}
            return [(str(row[0]), row[at], ours.get(row[0], "missing")) for row in target["rows"]]
        if compare:
            keys = [compare] if isinstance(compare, str) else compare
            if unknown := [k for k in keys if k not in target or k not in value]:
                raise KeyError(f"cannot compare {unknown}: reported {list(target)}, recorded {list(value)}")
        else:
            keys = [k for k in target if k in value]
        return [p for k in keys for p in _pairs(target[k], value[k], None, k)]
    if isinstance(target, list) and isinstance(value, list):
        if len(target) != len(value):
            return [(name, f"{len(target)} entries", f"{len(value)} entries")]
        return [p for t, v in zip(target, value, strict=True) for p in _pairs(t, v, None, name)]
    leaf = int | float | str
    return [(name, target, value)] if isinstance(target, leaf) and isinstance(value, leaf) else []


def _score(better: str, theirs: float | str, ours: float | str, tolerance: float | None) -> int:
    """1 better, 0 equal within tolerance, -1 worse."""
    if isinstance(theirs, str) or isinstance(ours, str):
        return 0 if theirs == ours else -1
    if tolerance is None:
        whole = isinstance(theirs, int) and better == "match"
        largest = LARGEST_OF_SHARES if abs(theirs) <= 1 else math.inf
        tolerance = 0 if whole else min(RELATIVE_TOLERANCE * abs(theirs), largest)
    gain = ours - theirs if better != "lower" else theirs - ours
    if abs(gain) <= tolerance + 1e-12:
        return 0
    return -1 if better == "match" or gain < 0 else 1


def _signed(ours: float | str, theirs: float | str) -> str:
    if isinstance(ours, str) or isinstance(theirs, str):
        return "same" if ours == theirs else "differs"
    return f"{ours - theirs:+.3g}" if ours != theirs else "0"


def rows(profile: str = "full", seeds: Sequence[int] = (0,)) -> list[Row]:
    """A row for every item. With several seeds, values are means with standard deviation and 95 % interval."""
    found: dict[tuple[str, int], dict | None] = {}
    table = []
    for item in reports()["item"]:
        runs = []
        for seed in seeds:
            key = (item["notebook"], seed)
            if key not in found:
                found[key] = load_results(results_dir(profile, seed) / item["notebook"])
            if found[key] is not None:
                runs.append(found[key])
        entries = [run["items"][item["id"]] for run in runs if item["id"] in run["items"]]
        figures = [run["figures"][item["id"]] for run in runs if item["id"] in run["figures"]]
        entry = dict(entries[0]) if entries else None
        if entry and "value" in entry:
            entry["value"] = _mean([e["value"] for e in entries])
        verdict, difference, reason = judge(item, entry, bool(figures))
        table.append(
            Row(
                item=item,
                verdict=verdict,
                reported=_reported(item),
                ours=_our_text(entry, entries),
                difference=difference,
                reason=reason,
                figure=f"{item['notebook']}/{figures[0]['file']}" if figures else None,
                alt=figures[0]["alt"] if figures else "",
                origin=f"{profile}, seed {' '.join(str(run['seed']) for run in runs)}" if runs else "",
            )
        )
    return table


def _mean(values: list) -> object:
    """Mean of equal structures; text and anything of different shape is taken from the first."""
    first = values[0]
    if len(values) == 1 or any(type(v) is not type(first) for v in values):
        return first
    if isinstance(first, dict):
        return {k: _mean([v[k] for v in values]) if all(k in v for v in values) else first[k] for k in first}
    if isinstance(first, list) and len({len(v) for v in values}) == 1:
        return [_mean(list(column)) for column in zip(*values, strict=True)]
    if isinstance(first, int | float) and not isinstance(first, bool) and len(set(values)) > 1:
        return statistics.fmean(values)
    return first


def _spread(values: list[float]) -> str:
    """Standard deviation, and 95 % interval of the mean (Student's t)."""
    from scipy.stats import t

    n, sd = len(values), statistics.stdev(values)
    half = t.ppf(0.975, n - 1) * sd / math.sqrt(n)
    return f" (sd {sd:.2g}, 95 % ± {half:.2g}, n = {n})"


def _our_text(entry: dict | None, entries: list[dict]) -> str:
    if entry is None:
        return ""
    if "answer" in entry:
        return entry["answer"]
    numbers = [e["value"] for e in entries if isinstance(e["value"], int | float)]
    return _short(entry["value"]) + (_spread(numbers) if len(numbers) > 1 else "")


def _reported(item: dict) -> str:
    if "comparable" in item:
        return f"{_short(item.get('reported'))} (comparable: {_short(item['comparable'])})"
    return _short(item.get("reported"))


def _short(value: object, limit: int = 160) -> str:
    if value is None:
        return ""
    if isinstance(value, dict):
        text = ", ".join(f"{k} {_short(v, 40)}" for k, v in value.items())
    elif isinstance(value, list):
        text = "[" + ", ".join(_short(v, 40) for v in value) + "]"
    else:
        text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def coverage(table: list[Row]) -> dict[str, Counter]:
    """{report id: count of each verdict}."""
    counts = {report["id"]: Counter() for report in reports()["report"]}
    for row in table:
        counts[row.item["report"]][row.verdict] += 1
    return counts


def markdown(table: list[Row]) -> str:
    """The scoreboard as Markdown: coverage first, then every item of every report."""
    titles = {report["id"]: report["title"] for report in reports()["report"]}
    head = " | ".join(f"{mark} {name}" for name, mark in VERDICTS.items())
    lines = [
        "# Scoreboard",
        "",
        "Reported against reproduced, written by `make figures` from the results of the notebooks; do not edit.",
        "A value is *equal* within its tolerance, *shown* when the report gives nothing to judge it by, and the",
        "*report wrong* when a notebook demonstrates it.",
        "",
        "**Read with care:** most notebooks still train for fewer epochs, or on fewer images, than the reports did.",
        "The table of settings at the start of each says how many. They will be brought to full size one by one.",
        "",
        *_stale(),
        f"| report | items | regenerated | {head} |",
        "|---|---:|---:|" + "---:|" * len(VERDICTS),
    ]
    for report, counts in coverage(table).items():
        total = counts.total()
        cells = " | ".join(str(counts[name]) for name in VERDICTS)
        lines.append(f"| [{report}](#{report}) | {total} | {1 - counts['not yet'] / total:.0%} | {cells} |")
    for report, title in titles.items():
        lines += [
            "",
            f"## {report}",
            "",
            title,
            "",
            "| item | reported | ours | difference | verdict | figure | run |",
        ]
        lines.append("|---|---|---|---|---|---|---|")
        for row in table:
            if row.item["report"] == report:
                lines.append("| " + " | ".join(_cells(row)) + " |")
    return "\n".join(lines) + "\n"


def _stale() -> list[str]:
    """A paragraph on released trainings whose code has changed since, as the notebooks met them."""
    found: dict[str, str] = {}
    for path in sorted(results_dir("full", 0).glob("*/timings.json")):
        found |= json.loads(path.read_text()).get("stale", {})
    if not found:
        return []
    listed = "; ".join(f"`{file}`: {why}" for file, why in sorted(found.items()))
    return [f"**Stale:** {len(found)} released trainings were run again, because their code has changed. {listed}", ""]


def _cells(row: Row) -> list[str]:
    def cell(text: str) -> str:
        return text.replace("|", "\\|").replace("\n", " ")

    verdict = f"{VERDICTS[row.verdict]} {row.verdict}" + (f": {row.reason}" if row.reason else "")
    picture = ""
    if row.figure:
        alt = html.escape(row.alt, quote=True)
        picture = f'<a href="{row.figure}"><img src="{row.figure}" width="140" alt="{alt}"></a>'
    item = f"`{row.item['id']}` {row.item['title']}"
    return [cell(c) for c in (item, row.reported, row.ours, row.difference, verdict, picture, row.origin)]


def write(profile: str = "full", seeds: Sequence[int] = (0,)) -> Path:
    """Write scoreboard.md beside the results of a seed, or that of several seeds above them; returns its path."""
    folder = results_dir(profile, seeds[0])
    path = folder / "scoreboard.md" if len(seeds) == 1 else BUILD / profile / "scoreboard-seeds.md"
    write_atomic(path, markdown(rows(profile, seeds)))
    return path
