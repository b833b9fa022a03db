"""The scoreboard: what is reproduced, what is not and why, a page for each report, and the errors in the reports.

Verdicts come from ``workbook.verdicts``; this module reads the records and writes Markdown that a code host can show.
"""

import html
import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from lib.atomic import write_atomic
from workbook.paths import BUILD, FIGURES, results_dir
from workbook.records import errata, load_results, reports
from workbook.verdicts import HEAPS, VERDICTS, WORST_FIRST, Verdict, cut, demonstrates, judge_runs, lines, wording

HEADING = "## How much reproduces"  # a heading of the README; this module writes the section below it
NONE = "none known"  # in the column of errata


class Row(NamedTuple):
    """One number, table, setting, or sentence of an item, its verdict, and the evidence for it."""

    item: dict
    reported: str  # the report's number, or its words in quotation marks
    ours: str
    verdict: Verdict
    errors: str
    figure: str | None  # of the item, in its first row
    alt: str

    @property
    def result(self) -> tuple[str, str]:
        """What the row is counted as: a table and its rows are one result, a sentence quoted twice is one statement."""
        if self.verdict.quote:
            return self.item["report"], " ".join(self.verdict.quote.casefold().split())
        return self.item["report"], self.item.get("row_of", self.item.get("result", self.item["id"]))


def rows(profile: str = "full", seeds: Sequence[int] = (0,)) -> list[Row]:
    """The rows of every item, in the order of ``data/reports.toml``. Several seeds are merged."""
    found, shown = _found(profile, seeds), demonstrated(profile, seeds)
    verdicts = {notebook: judge_runs(notebook, runs, profile) for notebook, runs in found.items()}
    table = []
    for item in reports()["item"]:
        name, notebook = item["id"], item["notebook"]
        verdict = verdicts.get(notebook, {}).get(name, Verdict("not yet"))
        figure = next((run["figures"][name] for run in found.get(notebook, []) if name in run["figures"]), None)
        named = [error["id"] for error in errata() if name in error["items"]]
        errors = ", ".join(e + " (not demonstrated)" * (shown[e] is False) for e in named) or NONE
        path, alt = (f"{notebook}/{figure['file']}", figure["alt"]) if figure else (None, "")
        for reported, ours, judged in lines(item, verdict):
            table.append(Row(item, reported, ours, judged, errors, path, alt))
            path, alt = None, ""
    return table


def counted(table: list[Row]) -> list[Row]:
    """One row for each result and each statement: a table for its rows, else the worst of those that are one."""
    groups: dict[tuple, list[Row]] = {}
    for row in table:
        groups.setdefault(row.result, []).append(row)
    order = [*WORST_FIRST, *VERDICTS]

    def first(row: Row) -> tuple:
        return row.item["id"] != row.result[1], order.index(row.verdict.word)

    return [min(group, key=first) for group in groups.values()]


def _found(profile: str, seeds: Sequence[int]) -> dict[str, list[dict]]:
    """{notebook: its results, for each seed that has run}."""
    names = dict.fromkeys(item["notebook"] for item in reports()["item"])
    every = {name: [load_results(results_dir(profile, seed) / name) for seed in seeds] for name in names}
    return {name: kept for name, runs in every.items() if (kept := [run for run in runs if run])}


def demonstrated(profile: str = "full", seeds: Sequence[int] = (0,)) -> dict[str, bool | None]:
    """{erratum: whether its chapter demonstrates it}; None where no chapter has tested it yet."""
    tested: dict[str, bool | None] = {error["id"]: None for error in errata()}
    for run in (run for runs in _found(profile, seeds).values() for run in runs):
        for name, shown in run.get("errata", {}).items():
            if name in tested and (holds := demonstrates(shown)) is not None:
                tested[name] = holds and tested[name] is not False
    return tested


def coverage(table: list[Row]) -> dict[str, Counter]:
    """{report: count of each verdict}, over results and statements."""
    counts = {report["id"]: Counter() for report in reports()["report"]}
    for row in counted(table):
        counts[row.item["report"]][row.verdict.word] += 1
    return counts


def summary(table: list[Row], link: str = "", stem: str = "scoreboard") -> str:
    """The headline in sentences, and the four heaps by report; ``link`` leads to the folder of the scoreboard."""
    counts = coverage(table)
    total = sum(counts.values(), Counter())
    heaps = {name: sum(total[word] for word in words) for name, words in HEAPS.items()}
    missed = [row for row in counted(table) if row.verdict.word == "not reproduced"]
    explained = sum("explained" in wording(row.verdict) for row in missed)
    wrong = sum(row.verdict.word == "reproduced" and "as programmed" in wording(row.verdict) for row in counted(table))
    untested = f", and {total['untested']} statements are untested" if total["untested"] else ""
    errors = Counter(error["report"] for error in errata())
    judged = heaps["holds"] + heaps["fails"]
    paragraph = (
        f"**{heaps['fails']} of the {judged} results and statements that we could decide do not hold**: "
        f"{total['not reproduced']} results are not reproduced ({explained} of them explained by an error of the "
        f"report that we name), and {total['contradicted']} statements are contradicted by our runs. "
        f"**{heaps['holds']} hold**: {total['reproduced']} results are reproduced, {wrong} of them by repeating "
        f"an estimator that is wrong, and {total['supported']} statements are supported. For "
        f"{heaps['cannot tell']} we cannot tell: {total['compatible']} results agree with the report, but would "
        f"agree as well if what they stand for were not so, or nothing is named that could tell; "
        f"{total['undecided']} are undecided{untested}. "
        f"{heaps['not judged']} are not judged: {total['not comparable']} because the data, the machine or the "
        f"training are not the report's yet; the others are settings, pictures, tasks, and {total['left aside']} "
        f"statements that nothing could settle or that hold by definition. A table is one result, and so is a number "
        f"printed five times. We know of {errors.total()} [errors in the reports]({link}errata.md). One right number "
        f"in twenty lies outside its interval by chance; [chapter 01]({link}01_feedforward/README.md) simulates how "
        f"often this rule errs.\n"
    )
    page = [paragraph, "| | " + " | ".join(f"[{name}]({link}{stem}-{name}.md)" for name in counts) + " | all |"]
    page.append("|---|" + "---:|" * (len(counts) + 1))
    for name, words in HEAPS.items():
        parts = {f"**{name}**": words} | {f"{VERDICTS[word][0]} {word}": (word,) for word in words if total[word]}
        for label, of in parts.items():
            cells = [sum(c[word] for word in of) for c in (*counts.values(), total)]
            page.append(f"| {label} | " + " | ".join(map(str, cells)) + " |")
    page.append("| errata | " + " | ".join(str(errors[report]) for report in counts) + f" | {errors.total()} |")
    return "\n".join(page) + "\n"


def listed(table: list[Row], words: Sequence[str], stem: str = "scoreboard") -> str:
    """The results and statements with one of these verdicts, and why, in short rows."""
    page = ["| item | the report | ours | verdict | nearest rival | errata |", "|---|---|---|---|---|---|"]
    for row in (row for row in counted(table) if row.verdict.word in words):
        where = f"[{_cell(row.item['title'], 80)}]({stem}-{row.item['report']}.md)"
        texts = (row.reported, row.ours, wording(row.verdict), row.verdict.rival, row.errors)
        page.append(f"| {where} | " + " | ".join(map(_cell, texts)) + " |")
    return "\n".join(page if len(page) > 2 else ["None."]) + "\n"


def _cell(words: str, limit: int = 160) -> str:
    """Text for a table cell."""
    return cut(words, limit).replace("|", "\\|")


def markdown(table: list[Row], profile: str = "full", seeds: Sequence[int] = (0,), stem: str = "scoreboard") -> str:
    """The first page: the summary, what does not hold, what would settle the rest, and what the verdicts mean."""
    claims = [
        c | {"of": n} for n, runs in _found(profile, seeds).items() for run in runs for c in run.get("claims", [])
    ]
    failed = [f"- {claim['of']}: {claim['statement']}\n" for claim in claims if claim["holds"] is False]
    pages = " · ".join(f"[{report['id']}]({stem}-{report['id']}.md)" for report in reports()["report"])
    untested = Counter(row.item["notebook"] for row in counted(table) if row.verdict.word == "untested")
    parts = [
        f"# Scoreboard\n\nWritten by `make figures`: profile {profile}, seed {' '.join(map(str, seeds))}.\n",
        *_stale(profile, seeds),
        summary(table, stem=stem),
        "## What does not hold, and why\n",
        "Results, statements, and settings on which a report contradicts itself. Errata change no verdict.\n",
        listed(table, (*HEAPS["fails"], "inconsistent"), stem),
        "## What we cannot tell, and what would settle it\n",
        listed(table, ("compatible", "undecided"), stem),
        "Untested statements, by chapter: " + (", ".join(f"{k} {n}" for k, n in untested.items()) or "none") + ".\n",
        *(["## Our own claims that failed in this run\n", *failed] if failed else []),
        f"## Every item\n\n{pages} · [errors in the reports](errata.md)\n",
        "## What the verdicts mean\n",
        "\n".join(f"- {mark} **{name}**: {meaning}." for name, (mark, meaning) in VERDICTS.items()) + "\n",
        "Beside the word: *explained by* an erratum, if runs at other settings fit; *as programmed*, if our runs "
        "repeat a wrong estimator; *read off a plot*; *beaten by*, if the interval of our improved runs lies beyond.\n",
    ]
    return "\n".join(parts)


def report_page(table: list[Row], report: dict, folder: str = "", stem: str = "scoreboard") -> str:
    """One report: its items in the report's order, with thumbnails, and links to the chapters in ``folder``."""
    page = [f"# {report['id']}\n\n{report['title']}\n\n[Summary]({stem}.md) · [errors in the reports](errata.md)"]
    head = "| item | the report | ours (95 % interval) | verdict | nearest rival | errata |\n|---|---|---|---|---|---|"
    for section in report["sections"]:
        there = [r for r in table if (r.item["report"], r.item["section"]) == (report["id"], section["n"])]
        if there:
            page.append(f"\n## {section['n']} {section['title']}\n\n{head}")
            above = [None, *there[:-1]]
            again = [up is not None and row.item is up.item for row, up in zip(there, above, strict=True)]
            cells = [_cells(row, folder, known) for row, known in zip(there, again, strict=True)]
            page += ["| " + " | ".join(row) + " |" for row in cells]
    return "\n".join(page) + "\n"


def _cells(row: Row, folder: str, again: bool) -> list[str]:
    """The cells of a row; ``again`` for a further sentence of the item above."""
    chapter = f"{folder}{row.item['notebook']}/README.md"
    item = "" if again else f"[{_cell(row.item['title'])}]({chapter})"
    if row.figure:
        alt = html.escape(_cell(row.alt), quote=True)
        item += f' <img src="{folder}{row.figure}" width="120" alt="{alt}">'
    asked = row.item["class"] == "question" and not row.ours and row.verdict.word != "not yet"
    ours = f"[answer]({chapter})" if asked else _cell(row.ours)
    return [item, _cell(row.reported), ours, _cell(wording(row.verdict)), _cell(row.verdict.rival), _cell(row.errors)]


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
    file = "figures/scoreboard.md"
    more = f"What does not hold and why, what would settle the rest, and every item: **[{file}]({file})**."
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
    page = FIGURES.parent / "README.md"
    if target == FIGURES and page.exists() and HEADING in page.read_text("utf-8"):  # a test sees that ours has it
        write_atomic(page, readme(page.read_text("utf-8"), table))
    return target / f"{stem}.md"
