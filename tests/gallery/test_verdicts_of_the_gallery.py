"""The verdicts of the committed gallery: found again by other code, consistent, and complete in finished chapters."""

import importlib.util
import json
import math
import random
import re
from collections import Counter

import pytest

from tests.gallery.pattern import FINISHED
from workbook import claims, scoreboard, verdicts
from workbook.paths import FIGURES, ROOT
from workbook.records import errata, items_of


@pytest.fixture(scope="module")
def table():
    return scoreboard.rows()


@pytest.fixture(scope="module")
def recompute():
    source = ROOT / "tests/gallery/recompute.py"
    assert not re.search(r"^\s*(?:from|import) (?:workbook|lib)", source.read_text("utf-8"), re.MULTILINE)
    spec = importlib.util.spec_from_file_location("recompute", source)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def computed(recompute):
    """(verdicts, {item: errata that explain it}), without our code."""
    causes = {}
    errors, reports = recompute.read("errata.toml")["erratum"], recompute.read("reports.toml")
    return recompute.verdicts(reports, errors, recompute.results, causes), causes


def explains(verdict):
    return {mark.split()[2].rstrip(":") for mark in verdict.marks if mark.startswith("explained by")}


def test_every_verdict_is_found_again_by_code_that_shares_nothing_with_ours(table, computed):
    again, _ = computed
    ours = {(row.item["id"], row.verdict.quote): row.verdict.word for row in table}
    assert {name: (word, again.get(name)) for name, word in ours.items() if again.get(name) != word} == {}
    assert again.keys() == ours.keys()


def test_every_cause_of_a_failure_is_found_again(table, computed):
    _, causes = computed
    ours = {row.item["id"]: explains(row.verdict) for row in table if row.verdict.word == "not reproduced"}
    assert {name: (found, causes[name]) for name, found in ours.items() if causes[name] != found} == {}
    assert sum(map(bool, ours.values())) > 5


def test_the_heaps_of_the_scoreboard_are_those_that_are_counted_again(table, recompute, computed):
    heaps, why = recompute.counts(recompute.read("reports.toml"), *computed)
    coverage = scoreboard.coverage(table)
    ours = {
        report: {heap: sum(found[word] for word in words) for heap, words in verdicts.HEAPS.items()}
        for report, found in coverage.items()
    }
    assert heaps == ours
    assert f"({why} of them explained" in scoreboard.summary(table)


def invented(draw):
    """A notebook with items of every kind, close to where verdicts turn: (items, records, tests)."""
    items, records, tests = [], {}, {}

    def runs(n=None, scale=0.01):
        return [round(draw.gauss(0.5, scale), 4) for _ in range(n or draw.choice([1, 2, 3, 5]))]

    for i in range(8):
        item = {"id": f"n{i}", "class": "measured", "better": "match", "kind": "number", "title": f"row: {i}"}
        item |= {"reported": round(draw.gauss(0.5, 0.02), draw.choice([1, 2, 3])), "possible": [0, 1]}
        item |= draw.choice([{}, {"pool": "p"}, {"exact": True}, {"bound": "at least"}, {"decimals": 3}])
        item |= draw.choice([{}, {"rivals": [{"value": round(draw.gauss(0.5, 0.05), 3), "what": "r", "from": "it"}]}])
        item |= {"row_of": "t"} if i < 5 else {}
        items.append(item)
        records[item["id"]] = {"runs": runs(), "value": 0.5} | draw.choice([{}, {"rivals": {"m": 0.55}}])
    values = [draw.randrange(500) for _ in range(6)]
    counts = {"id": "c", "class": "measured", "better": "match", "kind": "number", "title": "c", "draws": 500}
    counts |= {"reported": {str(i): v for i, v in enumerate(values)}, "possible": [0, 500]}
    counts |= draw.choice([{}, {"rivals": [{"value": {"0": 0}, "what": "none", "from": "it"}]}])
    spread = draw.choice([0, 5, 60])
    near = [
        {str(i): min(500, max(0, v + draw.randint(-spread, spread))) for i, v in enumerate(values)} for _ in range(3)
    ]
    table = {"id": "t", "class": "measured", "better": "match", "kind": "table", "title": "t", "reported": [0.5] * 5}
    items += [counts, table]
    records |= {"c": {"runs": near, "value": near[0]}, "t": {"runs": [[0.5] * 5] * 2, "value": [0.5] * 5}}
    says = [f"sentence {i}" for i in range(12)]
    items.append({"id": "q", "class": "question", "better": "none", "kind": "question", "title": "q", "says": says})
    records["q"] = {"answer": "text"}
    for quote in says:
        size = draw.choice([1, 2, 4, 8])
        mean, place = draw.choice([0, 0.1, 0.3]), draw.choice(["above", "below", "between", "of", "exact", "apart"])
        measured = [round(draw.gauss(mean, 0.1), 4) for _ in range(size)]
        more = {"above": 0, "matters": draw.choice([0.05, 0.2])} if place == "above" else {"below": 0.2, "ours": True}
        if place == "between":
            more = {"between": (-0.2, 0.2), "ours": draw.choice([True, False])}
        if place == "of":
            measured = [draw.randrange(40) for _ in range(size)]
            more = {"of": 40, "above": draw.choice([0.25, 0.5]), "ours": draw.choice([True, False])}
        if place == "exact":
            measured, more = draw.choice([1, 2]), {"equals": 1, "exact": True}
        if place == "apart":
            more |= {"against": [round(draw.gauss(0, 0.1), 4) for _ in range(draw.choice([size, 3]))]}
        tests.setdefault("q", []).extend({"quote": quote, **one} for one in claims.comparisons("it", measured, **more))
    return items, records, tests


def test_both_ways_agree_on_hundreds_of_invented_verdicts_too(recompute):
    draw, words = random.Random(0), Counter()
    for _ in range(30):
        items, records, tests = invented(draw)
        named = {item["id"]: {**item, "notebook": "n"} for item in items}
        kept = {"items": records, "tested": tests, "figures": {}, "errata": {}}
        again = recompute.verdicts({"item": list(named.values())}, [], lambda _, kept=kept: kept)
        for name, verdict in verdicts.judge_all(named, records, tests).items():
            if not verdict.statements:
                assert again[name, ""] == verdict.word, (named[name], records[name])
            for one in verdict.statements:
                assert again[name, one.quote] == one.word, [t for t in tests[name] if t["quote"] == one.quote]
            words.update([verdict.word, *(one.word for one in verdict.statements)])
    decided = ("reproduced", "compatible", "not reproduced", "supported", "contradicted", "undecided")
    assert min(words[word] for word in decided) > 10, words


@pytest.mark.parametrize("notebook", sorted({item.parent.name for item in FIGURES.glob("*/results.json")}))
def test_the_stored_verdicts_are_those_of_the_scoreboard(table, notebook):
    stored = json.loads((FIGURES / notebook / "results.json").read_text("utf-8")).get("verdicts", {})
    for row in (row for row in table if row.item["id"] in stored and not row.verdict.quote):
        kept = stored[row.item["id"]]
        assert kept["word"] == row.verdict.word, row.item["id"]
        for name, band in kept.get("numbers", {}).items():
            for end in {"low", "high"} & band.keys():
                assert math.isclose(band[end], row.verdict.numbers[name][end], rel_tol=1e-5, abs_tol=1e-15)


def test_no_number_of_the_gallery_is_judged_by_an_interval_of_no_width(table):
    for row in table:
        for name, band in row.verdict.numbers.items():
            if row.item["class"] == "measured" and not row.verdict.quote and "low" in band:
                assert band["low"] < band["high"] or row.item.get("exact"), f"{row.item['id']} {name}"
                least, most = (
                    [*row.item.get("possible", ()), -math.inf][:1],
                    [*row.item.get("possible", (0,)), math.inf][1],
                )
                assert least[0] <= band["low"] <= band["high"] <= most, f"{row.item['id']} {name}"


def words(text):
    return re.findall(r"\w+", text.casefold())


def overlap(one, other):
    """Whether two quotations share four words in a row, or one holds the other."""
    (a, b) = sorted((words(one), words(other)), key=len)
    size = min(4, len(a))
    runs = {tuple(b[i : i + size]) for i in range(len(b) - size + 1)}
    return any(tuple(a[i : i + size]) in runs for i in range(len(a) - size + 1))


def test_no_sentence_that_an_erratum_calls_wrong_is_supported(table):
    assert overlap("VAE takes much longer to converge", "takes much longer to converge than vanilla autoencoder")
    assert not overlap("the loss falls in every epoch", "the loss rises")
    wrong = [
        (row.item["id"], row.verdict.quote, error["id"])
        for row in table
        for error in errata()
        if row.verdict.word == "supported" and row.item["id"] in error["items"]
        if "quote" in error and overlap(row.verdict.quote, error["quote"])
    ]
    assert wrong == []


@pytest.mark.parametrize("notebook", FINISHED)
def test_no_sentence_of_a_finished_chapter_is_untested(table, notebook):
    assert items_of(notebook)
    untested = [
        f"{row.item['id']}: {row.verdict.quote}"
        for row in table
        if row.item["notebook"] == notebook and row.verdict.word == "untested"
    ]
    assert untested == []
