"""The scoreboard: what is reproduced, what is not and why, a page for each report, and the errors in the reports.

Verdicts come from ``workbook.verdicts``; this module reads the records and writes Markdown that a code host can show.
"""

import html
import json
import os
import statistics
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from lib.atomic import write_atomic
from workbook.paths import BUILD, FIGURES, ROOT, results_dir
from workbook.records import errata, load_results, reports
from workbook.verdicts import VERDICTS, beaten, judge, leaves, targets

WIDEST_CELL = 160
HEADING = "## How much reproduces"  # a heading of the README; this module writes the section below it
MISSES = ("not reproduced", "contradicted", "inconsistent")


class Row(NamedTuple):
    """One item, its verdict, and the evidence for it."""

    item: dict
    verdict: str
    why: str
    beaten: str
    reported: str
    ours: str
    errors: str  # "sound", or the errata that name the item
    figure: str | None
    alt: str


def rows(profile: str = "full", seeds: Sequence[int] = (0,)) -> list[Row]:
    """A row for every item, in the order of ``data/reports.toml``. With several seeds, their runs are pooled."""
    found, shown = _found(profile, seeds), demonstrated(profile, seeds)
    why = {n["id"]: f"not at the report's settings yet: {n['why']}" for n in reports().get("notebook", [])}
    table = []
    for item in reports()["item"]:
        name, notebook = item["id"], item["notebook"]
        runs = found.get(notebook, [])
        entry = _pooled([run["items"][name] for run in runs if name in run["items"]])
        figure = next((run["figures"][name] for run in runs if name in run["figures"]), None)
        named = [error for error in errata() if name in error["items"]]
        verdict = judge(
            item,
            entry,
            drawn=figure is not None,
            claims=[claim for run in runs[:1] for claim in run.get("reported_claims", {}).get(name, [])],
            inconsistent=[e["title"] for e in named if e["kind"] == "inconsistent" and shown[e["id"]] is not False],
            behind=why.get(notebook, "") if profile == "full" else f"profile {profile} trains on few images",
        )
        errors = ", ".join(e["id"] + " (not demonstrated)" * (shown[e["id"]] is False) for e in named)
        path, alt = (f"{notebook}/{figure['file']}", figure["alt"]) if figure else (None, "")
        stated = item.get("comparable", item.get("reported")) if item["class"] == "measured" else item.get("reported")
        recorded = entry or {}
        ours = _numbers(item, recorded.get("runs") or [recorded.get("value")])
        ours += f"; improved: {_numbers(item, recorded['improved'])}" if recorded.get("improved") else ""
        texts = (beaten(item, entry), _numbers(item, [stated]), ours, errors or "sound")
        table.append(Row(item, *verdict, *texts, path, alt))
    return table


def _found(profile: str, seeds: Sequence[int]) -> dict[str, list[dict]]:
    """{notebook: its results, for each seed that has run}."""
    names = dict.fromkeys(item["notebook"] for item in reports()["item"])
    every = {name: [load_results(results_dir(profile, seed) / name) for seed in seeds] for name in names}
    return {name: kept for name, runs in every.items() if (kept := [run for run in runs if run])}


def demonstrated(profile: str = "full", seeds: Sequence[int] = (0,)) -> dict[str, bool | None]:
    """{erratum: whether its chapter demonstrates it}; None where no chapter has tested it yet."""
    tested: dict[str, bool | None] = {error["id"]: None for error in errata()}
    for run in (run for runs in _found(profile, seeds).values() for run in runs):
        for name, holds in run.get("errata", {}).items():
            if name in tested and holds is not None:
                tested[name] = holds and tested[name] is not False
    return tested


def _pooled(entries: list[dict]) -> dict | None:
    """The entries of several seeds as one; a run that two seeds share counts once."""
    if len(entries) < 2:
        return entries[0] if entries else None
    runs = [run for e in entries for run in e.get("runs") or ([e["value"]] if "value" in e else [])]
    pooled = {"runs": runs, "improved": [run for e in entries for run in e.get("improved", [])]}
    return entries[0] | {k: list({json.dumps(run): run for run in every}.values()) for k, every in pooled.items()}


def coverage(table: list[Row]) -> dict[str, Counter]:
    """{report: count of each verdict}."""
    counts = {report["id"]: Counter() for report in reports()["report"]}
    for row in table:
        counts[row.item["report"]][row.verdict] += 1
    return counts


def _numbers(item: dict, runs: list) -> str:
    """Mean ± standard deviation over runs; for a measured item, only of the numbers that are compared."""
    names = list(targets(item)) if item["class"] == "measured" else [()]
    texts = []
    for name in names:
        found = [leaves(run).get(name, "–" if name else run) for run in runs]
        text = _short(found[0])
        if len(found) > 1 and all(isinstance(value, int | float) for value in found):
            text = f"{statistics.fmean(found):.5g} ± {statistics.stdev(found):.2g} ({len(found)} runs)"
        texts.append(text if len(names) == 1 else f"{' '.join(name)} {text}")
    return _cut(", ".join(texts), 110)


def _short(value: object, limit: int = 90) -> str:
    if isinstance(value, dict):
        text = ", ".join(f"{k} {_short(v, 40)}" for k, v in value.items())
    elif isinstance(value, list):
        text = "[" + ", ".join(_short(v, 40) for v in value) + "]"
    else:
        text = "" if value is None else f"{value + 0.0:.5g}" if isinstance(value, float) else str(value)
    return _cut(text, limit)


def table_cell(text: str, limit: int = WIDEST_CELL) -> str:
    """Text for a table cell: one line, cut to a width that a page can show, with escaped pipes."""
    return _cut(" ".join(text.split()), limit).replace("|", "\\|")


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def summary(table: list[Row], link: str = "", stem: str = "scoreboard") -> str:
    """The headline numbers, and a table by report; ``link`` leads from the page to the folder of the scoreboard."""
    counts = coverage(table)
    total = sum(counts.values(), Counter())
    better = Counter(row.item["report"] for row in table if row.beaten)
    errors = Counter(error["report"] for error in errata())
    wrong = sum(row.verdict == "reproduced" and row.errors != "sound" for row in table)
    lines = [
        f"Of {len(table)} items, **{total['reproduced']} numbers reproduce and {total['not reproduced']} do not**; "
        f"{wrong} of the reproduced numbers are affected by an error in the report. Our improved runs beat "
        f"{better.total()} of the reported numbers. {total['supported']} claims of the reports are supported, "
        f"{total['contradicted']} contradicted. {total['undecided']} items are undecided and "
        f"{total['not comparable']} not comparable, mostly because their chapters have too few runs or do not train at "
        f"the report's settings yet. We know of {errors.total()} [errors]({link}errata.md) in the reports.\n",
        "| | " + " | ".join(f"[{name}]({link}{stem}-{name}.md)" for name in counts) + " | all |",
        "|---|" + "---:|" * (len(counts) + 1),
    ]
    numbers = {f"{VERDICTS[v][0]} {v}": {r: c[v] for r, c in counts.items()} for v in VERDICTS if total[v]}
    numbers |= {"**items**": {r: c.total() for r, c in counts.items()}, "beaten by our runs": better, "errata": errors}
    for name, of in numbers.items():
        lines.append(f"| {name} | " + " | ".join(str(of[r]) for r in counts) + f" | {sum(of[r] for r in counts)} |")
    return "\n".join(lines) + "\n"


def misses(table: list[Row], stem: str = "scoreboard") -> str:
    """What did not reproduce or is contradicted, and why, in short rows."""
    lines = ["| item | reported | ours | why | errata |", "|---|---|---|---|---|"]
    for row in (row for row in table if row.verdict in MISSES):
        where = f"[{table_cell(row.item['title'], 80)}]({stem}-{row.item['report']}.md)"
        cells = (row.reported, row.ours, f"{row.verdict}; {row.why}", row.errors)
        lines.append(f"| {where} | " + " | ".join(table_cell(text) for text in cells) + " |")
    return "\n".join(lines if len(lines) > 2 else ["Nothing."]) + "\n"


def markdown(table: list[Row], profile: str = "full", seeds: Sequence[int] = (0,), stem: str = "scoreboard") -> str:
    """The first page: the summary, what the verdicts mean, and what did not reproduce."""
    claims = [
        c | {"of": n} for n, runs in _found(profile, seeds).items() for run in runs for c in run.get("claims", [])
    ]
    failed = [f"- {claim['of']}: {claim['statement']}\n" for claim in claims if claim["holds"] is False]
    pages = " · ".join(f"[{report['id']}]({stem}-{report['id']}.md)" for report in reports()["report"])
    parts = [
        f"# Scoreboard\n\nWritten by `make figures`: profile {profile}, seed {' '.join(map(str, seeds))}.\n",
        *_stale(profile, seeds),
        summary(table, stem=stem),
        "## What did not reproduce, and why\n",
        "Numbers, claims, and settings on which a report contradicts itself. Errata change no verdict on a number.\n",
        misses(table, stem),
        *(["## Our own claims that failed in this run\n", *failed] if failed else []),
        f"## Every item\n\n{pages} · [errors in the reports](errata.md)\n",
        "## What the verdicts mean\n",
        "\n".join(f"- {mark} **{name}**: {meaning}." for name, (mark, meaning) in VERDICTS.items()) + "\n",
    ]
    return "\n".join(parts)


def report_page(table: list[Row], report: dict, folder: str = "", stem: str = "scoreboard") -> str:
    """One report: its items in the report's order, with thumbnails, and links to the chapters in ``folder``."""
    lines = [f"# {report['id']}\n\n{report['title']}\n\n[Summary]({stem}.md) · [errors in the reports](errata.md)"]
    for section in report["sections"]:
        there = [r for r in table if (r.item["report"], r.item["section"]) == (report["id"], section["n"])]
        if there:
            lines.append(f"\n## {section['n']} {section['title']}\n\n| item | reported | ours | verdict | errata |")
            lines += ["|---|---|---|---|---|", *("| " + " | ".join(_cells(row, folder)) + " |" for row in there)]
    return "\n".join(lines) + "\n"


def _cells(row: Row, folder: str) -> list[str]:
    chapter = f"{folder}{row.item['notebook']}/README.md"
    item = f"[{table_cell(row.item['title'])}]({chapter})"
    if row.figure:
        alt = html.escape(table_cell(row.alt), quote=True)
        item += f' <img src="{folder}{row.figure}" width="120" alt="{alt}">'
    verdict = "; ".join(text for text in (f"{VERDICTS[row.verdict][0]} {row.verdict}", row.beaten, row.why) if text)
    ours = f"[answer]({chapter})" if row.item["class"] == "question" else table_cell(row.ours)
    return [item, table_cell(row.reported), ours, table_cell(verdict), table_cell(row.errors)]


def errata_page(profile: str = "full", seeds: Sequence[int] = (0,), folder: str = "", stem: str = "scoreboard") -> str:
    """The errors in the reports: root causes with source, the wrong words, what shows them, and a correction."""
    said = {
        True: " demonstrates the claim",
        False: " **did not demonstrate the claim in this run**",
        None: " does not test the claim yet",
    }
    shown = demonstrated(profile, seeds)
    lines = [f"# Errors in the reports\n\nRoot causes, from `data/errata.toml`. [Scoreboard]({stem}.md)"]
    for error in errata():
        chapter = f"[{error['notebook']}]({folder}{error['notebook']}/README.md)"
        shown_by = ("source", "quote", "claim", "arithmetic", "reading")
        about = {key.capitalize(): error[key] for key in ("report", "reported", "corrected", *shown_by) if key in error}
        about |= {"Quote": f"“{error['quote']}”"} if "quote" in error else {}
        about["Items"] = ", ".join(f"`{item}`" for item in error["items"])
        about["Chapter"] = f"{chapter}{said[shown[error['id']]] if 'claim' in error else ''}."
        lines.append(f"\n## {error['id']}\n\n**{error['title']}** ({error['kind']})\n")
        lines += [f"- {key}: {text}" for key, text in about.items()]
    return "\n".join(lines) + "\n"


def _stale(profile: str, seeds: Sequence[int]) -> list[str]:
    """A paragraph on released models that these runs trained again because their code has changed."""
    found: dict[str, str] = {}
    for path in sorted(path for seed in seeds for path in results_dir(profile, seed).glob("*/timings.json")):
        found |= json.loads(path.read_text("utf-8")).get("stale", {})
    listed = "".join(f"\n- `{file}`: {why}" for file, why in sorted(found.items()))
    return (
        [f"**Out of date:** {len(found)} released models were trained again: their code changed.\n{listed}\n"]
        if found
        else []
    )


def readme(text: str, table: list[Row]) -> str:
    """The README with a new summary under its heading."""
    if HEADING not in text:
        raise ValueError(f"README.md has no line {HEADING!r}: put it where the summary belongs")
    before, _, after = text.partition(HEADING)
    _, following, rest = after.partition("\n## ")
    more = "What did not reproduce and why, and every item: **[figures/scoreboard.md](figures/scoreboard.md)**."
    return f"{before}{HEADING}\n\n{summary(table, 'figures/')}\n{more}\n{following}{rest}"


def write(profile: str = "full", seeds: Sequence[int] = (0,)) -> Path:
    """Write all pages, and the summary of the gallery into the README; returns the path of the first page."""
    alone, results = len(seeds) == 1, results_dir(profile, seeds[0])
    target, stem = (results, "scoreboard") if alone else (BUILD / profile, "scoreboard-seeds")
    folder = "" if alone else os.path.relpath(results, target) + "/"
    table = rows(profile, seeds)
    for report in reports()["report"]:
        write_atomic(target / f"{stem}-{report['id']}.md", report_page(table, report, folder, stem))
    write_atomic(target / "errata.md", errata_page(profile, seeds, folder, stem))
    write_atomic(target / f"{stem}.md", markdown(table, profile, seeds, stem))
    page = ROOT / "README.md"
    if target == FIGURES and page.exists() and HEADING in page.read_text("utf-8"):  # a test sees that ours has it
        write_atomic(page, readme(page.read_text("utf-8"), table))
    return target / f"{stem}.md"
