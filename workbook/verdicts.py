"""Verdicts: what we measured, held against what the reports say. They are computed only here.

A verdict is a function of an item of ``data/reports.toml``, of the numbers that a notebook recorded for it seed by
seed, and of nothing else: a notebook hands in no verdict, no tolerance and no excuse.

**Numbers** (``Book.record``; items of class measured). The 95 % interval of one further run is mean ± t·s·√(1 + 1/n),
with s from all distinct trainings of the item's ``pool`` where their spreads are alike (Bartlett's test at 5 %); counts
and shares among random ``draws`` by a binomial with Jeffreys' prior. *Reproduced*: the reported number lies inside, and
would not if it were one of its ``rivals``. *Compatible*: inside, but so is a rival, or none is named. Several numbers
of one item are judged one by one; from five on, as many may miss as chance explains (``_rejected``). A table counts its
rows. ``runs`` are at the stated settings; those at others (``otherwise``) can only explain a miss.

**Sentences** (``Book.tested``; the quotations in ``says``). A test compares measurements with a threshold: *supported*
if the whole 95 % interval of their mean lies where the sentence says, *contradicted* if it lies wholly elsewhere, or
within ± the smallest difference that would ``matter`` though the sentence says that two things differ; otherwise
*undecided*. A threshold of ours is tried at half and at twice its value (of a share: its odds); if the verdict turns,
it is undecided. Of several tests of one sentence all must support it, and one can contradict it.

Keys of an item for this: ``pool``, ``row_of``, ``result``, ``draws``, ``possible``, ``rivals``, ``read_off``,
``as_programmed``, and those at the head of ``data/reports.toml``.
"""

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Collection, Container, Mapping, Sequence
from typing import Any, NamedTuple

from lib.metrics import intervals
from workbook.claims import weigh
from workbook.records import errata, half_digit, items_of, merge

LEVEL = 0.05  # intervals hold 95 %
MANY = 5  # from so many numbers on, chance may explain a miss

# verdict → (mark that reads without colour, meaning), in the order of the summary
VERDICTS = {
    "reproduced": (
        "✔",
        "the reported number lies in the 95 % interval of one further run, and every rival outside",
    ),
    "supported": ("◆", "our runs show what the sentence says: the whole 95 % interval lies on its side"),
    "not reproduced": ("✘", "the reported number lies outside the interval, at the settings that the report states"),
    "contradicted": ("◇", "the whole interval lies elsewhere, or what is said to differ does not by what would matter"),
    "compatible": (
        "≈",
        "the reported number lies inside, but so does a rival, or none is named: no success",
    ),
    "undecided": ("?", "both remain possible, or the verdict turns with a threshold of ours"),
    "untested": ("–", "no chapter has tested this sentence yet"),
    "not comparable": ("≠", "other data, another machine, or not at the report's settings"),
    "left aside": ("○", "words that nothing could settle, or that hold by definition"),
    "drawn": ("▦", "a picture of which the report states nothing"),
    "answered": ("✎", "a task that states nothing"),
    "used as stated": ("=", "our run uses the reported setting, which is no success"),
    "changed": ("Δ", "our run uses another setting"),
    "inconsistent": ("!", "the report contradicts itself on this setting"),
    "not yet": ("…", "no notebook has recorded this item"),
}
HEAPS = {
    "holds": ("reproduced", "supported"),
    "fails": ("not reproduced", "contradicted"),
    "cannot tell": ("compatible", "undecided", "untested"),
    "not judged": tuple(VERDICTS)[7:],
}
WORST_FIRST = ("not yet", "not reproduced", "contradicted", "undecided", "untested", "compatible", "not comparable")


class Verdict(NamedTuple):
    """One of VERDICTS, why, and what it rests on."""

    word: str
    why: str = ""
    marks: tuple[str, ...] = ()  # such as "explained by E03: fits at rate 0.5"
    numbers: dict[str, dict] = {}  # name of a number, or what a test measured → its interval, mean and n
    rival: str = ""  # the nearest one, and whether it lies inside
    statements: tuple["Verdict", ...] = ()  # of the sentences of this item
    quote: str = ""  # the sentence that this verdict is on

    def without_numbers(self, said: Container[str] | None = None) -> "Verdict":
        """For measured seconds, which differ from run to run; of the statements only those on these quotations."""
        bare = tuple(each.without_numbers() if said is None or each.quote in said else each for each in self.statements)
        return self._replace(numbers={}, rival="", statements=bare)

    def stored(self) -> dict:
        """As JSON, without what is empty."""
        content = {k: v for k, v in self._asdict().items() if v and k != "statements"}
        return content | ({"statements": [s.stored() for s in self.statements]} if self.statements else {})


def judge_runs(notebook: str, runs: Sequence[Mapping], profile: str) -> dict[str, Verdict]:
    """{item: its verdict} from the results of one notebook, run with one or several seeds, merged by seed."""
    merged = merge(runs)
    behind = "" if profile == "full" else f"profile {profile} trains on few images"
    failed = {name for run in runs for name, shown in run.get("errata", {}).items() if demonstrates(shown) is False}
    inconsistent = defaultdict(list)
    for error in errata():
        for item in error["items"] if error["kind"] == "inconsistent" and error["id"] not in failed else ():
            inconsistent[item].append(error["title"])
    given = {"behind": behind, "inconsistent": inconsistent, "undemonstrated": failed}
    return judge_all(items_of(notebook), merged["items"], merged["tested"], drawn=merged["figures"], **given)


def demonstrates(shown: bool | Mapping | None) -> bool | None:
    """Whether a stored demonstration of an erratum holds; None in smoke."""
    return shown["holds"] if isinstance(shown, Mapping) else shown


def judge_all(
    items: Mapping[str, Mapping],
    records: Mapping[str, Mapping],
    tests: Mapping[str, Sequence[Mapping]] = {},
    *,
    drawn: Collection[str] = (),
    behind: str = "",
    inconsistent: Mapping[str, Sequence[str]] = {},
    undemonstrated: Collection[str] = (),
) -> dict[str, Verdict]:
    """{item: its verdict} for the ``items`` of one notebook.

    ``records`` and ``tests`` are what it recorded and tested. ``drawn`` names the items with a figure. ``behind`` says
    why its runs are not at the report's settings. ``inconsistent`` lists how a report contradicts itself on a setting.
    Errata that are ``undemonstrated`` explain nothing.
    """
    rows = defaultdict(list)
    for name, item in items.items():
        rows[item.get("row_of")].append(name)
    pools, found = _pools(items, records), {}
    for name, item in items.items():
        entry = records.get(name)
        statements = _statements(item, tests.get(name, ()), _closed(item, entry, behind))
        if entry is None and name not in drawn and not statements:
            verdict = Verdict("not yet")
        elif item["class"] == "setting":
            verdict = _setting(item, entry or {}, inconsistent.get(name, ()))
        elif item["class"] != "measured":
            verdict = _said(item, statements, _closed(item, entry, behind))
        else:
            family = len(rows[item["row_of"]]) if "row_of" in item else 0
            verdict = _measured(item, entry, _closed(item, entry, behind), pools, family, undemonstrated)
        found[name] = verdict._replace(statements=statements)
    for name in rows.keys() & items.keys():
        if found[name].word not in ("not yet", "not comparable"):
            table = _table({row: found[row] for row in rows[name]}, items)
            found[name] = table._replace(statements=found[name].statements)
    return found


def _closed(item: Mapping, entry: Mapping | None, behind: str) -> str:
    """Why nothing can be held against the report here; empty if our runs are comparable."""
    if item["class"] == "setting" or item.get("exact"):
        behind = ""
    value = (entry or {}).get("value")
    its_own = "data" in item and isinstance(value, Mapping) and value.get("data") == item["data"]
    return ("" if its_own else item.get("not_comparable", "")) or behind


def _setting(item: Mapping, entry: Mapping, inconsistent: Sequence[str]) -> Verdict:
    """Whether our run uses the reported setting. Keys that were not recorded, or are not judged, do not count."""
    if inconsistent:
        return Verdict("inconsistent", "; ".join(inconsistent))
    stated, used = item.get("reported"), entry.get("value")
    if isinstance(stated, Mapping) and isinstance(used, Mapping):
        keys = [key for key in item.get("judged", stated) if key in used and used[key] != stated[key]]
        other = ", ".join(f"{key} {used[key]}" for key in keys)
    else:
        other = "" if stated is None or used is None or stated == used else str(used)
    shown = {} if used is None else {"used": {"values": [_short(used)], "n": 1}}
    return Verdict("changed", f"{other} here", (), shown) if other else Verdict("used as stated", numbers=shown)


# --- numbers ---------------------------------------------------------------------------------------------------------


def _pools(items: Mapping, records: Mapping) -> dict[tuple, tuple[float, int]]:
    """{(pool, column): (s, degrees of freedom)} over distinct trainings; without those whose spreads differ.

    Runs that two items share count once. An item with one number has no column.
    """
    members = defaultdict(set)
    for name, item in items.items():
        entry = records.get(name, {})
        for runs in (entry.get("runs") or [], *entry.get("otherwise", {}).values()) if "pool" in item else ():
            for path in targets(item):
                values = tuple(leaves(run).get(path) for run in runs)
                if len(values) > 1 and all(isinstance(value, int | float) for value in values):
                    members[_pool(item, path)].add(values)
    found = {key: intervals.pool(sorted(groups)) for key, groups in members.items()}
    return {key: pooled for key, pooled in found.items() if pooled}


def _pool(item: Mapping, path: tuple[str, ...]) -> tuple:
    return item.get("pool"), path[-1:] if len(targets(item)) > 1 else ()


def _measured(
    item: Mapping, entry: Mapping | None, closed: str, pools: Mapping, family: int, undemonstrated: Collection
) -> Verdict:
    """The verdict on the numbers of an item; ``family`` is the number of rows of the table that it is one row of."""
    if entry is None or not {"value", "runs"} & set(entry):
        return Verdict("not yet", "no value was recorded")
    target, runs = targets(item), entry.get("runs") or [entry["value"]]
    marks = ["read off a plot"] if item.get("read_off") else []
    plainly = {_label(name): _mean([leaves(run).get(name) for run in runs]) for name in target}
    if closed:
        return Verdict("not comparable", closed, tuple(marks), plainly)
    if absent := [name for name in target if any(name not in leaves(run) for run in runs)]:
        return Verdict("not yet", f"the chapter recorded nothing for {_names(absent)}")
    needs_spread = not (item.get("exact") or "draws" in item or all(_pool(item, name) in pools for name in target))
    if len(runs) < 2 and needs_spread:
        return Verdict("undecided", "one run has no interval: at least two seeds are needed", tuple(marks), plainly)
    bands = _bands(item, entry, runs, pools, family)
    missed, rejected = _rejected(item, target, bands)
    numbers = {_label(name): {**band, "missed": missed.get(name, "")} for name, band in bands.items()}
    rival, inside, gap = _nearest_rival(item, entry, target, bands)
    if "as_programmed" in item and not rejected:
        marks.append(f"as programmed ({item['as_programmed']})")
    if better := beaten(item, entry):
        marks.append(better)
    if rejected:
        why = _missing_text(missed, len(target))
        for name, others in entry.get("otherwise", {}).items():
            erratum, _, there = name.partition(": ")
            fits = not _rejected(item, target, _bands(item, entry, others, pools, family))[1]
            if fits and erratum not in undemonstrated:
                marks.append(f"explained by {erratum}: fits {there or 'there'}")
        return Verdict("not reproduced", why, tuple(marks), numbers, rival)
    few = f"{_missing_text(missed, len(target))}, as chance explains" if missed else ""
    if not rival:
        return Verdict("compatible", "; ".join(filter(None, ("no rival is named", few))), tuple(marks), numbers)
    if inside:
        settled = _sharper(bands, gap)
        return Verdict("compatible", "; ".join(filter(None, (settled, few))), tuple(marks), numbers, rival)
    return Verdict("reproduced", few, tuple(marks), numbers, rival)


def _mean(values: Sequence) -> dict:
    """Mean and n, or the different words."""
    if any(value is None or isinstance(value, bool | str) for value in values):
        return {"values": sorted({"–" if value is None else str(value) for value in values}), "n": len(values)}
    return {"mean": statistics.fmean(values), "n": len(values)}


def _bands(item: Mapping, entry: Mapping, runs: Sequence, pools: Mapping, family: int) -> dict[tuple, dict]:
    """{name of a number: low, high, the wider ends "far", mean, n, and s where there is one}."""
    target, found = targets(item), [leaves(run) for run in runs]
    ours = {name: [run[name] for run in found] for name in target}
    possible = item.get("possible", (-math.inf, math.inf))
    further = item.get("draws", 0)
    draws, unit = entry.get("draws", further), 1 if possible[-1] == further else further  # a count, or a share
    counts = {name: [round(v * (draws if unit > 1 else 1)) for v in values] for name, values in ours.items() if further}
    excess = intervals.dispersion(list(counts.values()), draws) if further else 1.0
    bands = {}
    for name, values in ours.items():
        band, ends = _mean([str(v) for v in values] if isinstance(target[name], bool | str) else values), []
        if "values" in band:
            bands[name] = band
            continue
        for level in (LEVEL, LEVEL / (family or len(target))):
            if item.get("exact"):
                ends.append((min(values), max(values)))
            elif further:
                low, high = intervals.count_prediction(counts[name], draws, further, level, excess=excess)
                ends.append((low / unit, high / unit))
            else:
                pooled = pools.get(_pool(item, name))
                if not pooled and not intervals.deviation(values):  # all equal: known no better than as printed
                    pooled = (2 * half_digit(target[name], item.get("decimals")) * intervals.WHOLE, len(values) - 1)
                ends.append(intervals.prediction(values, level, pooled=pooled, possible=possible))
                s, degrees = pooled or (intervals.deviation(values), len(values) - 1)
                band |= {"spread": s, "degrees": degrees}
        (low, high), far = ends
        bands[name] = band | {"low": low, "high": high, "far": list(far)} | ({"excess": excess} if excess > 1 else {})
    return bands


def _rejected(item: Mapping, values: Mapping, bands: Mapping) -> tuple[dict[tuple, str], bool]:
    """({name: how ours are, lower, higher or different, for the ``values`` outside}, whether that refutes them).

    Of fewer than five numbers none may miss. Of five or more, chance explains misses unless so many would come in fewer
    than 5 % of cases, or one of them lies outside the interval at 5 % over their number.
    """
    missed = {name: side for name, value in values.items() if (side := _side(item, name, value, bands[name]))}
    if len(values) < MANY or not missed:
        return missed, bool(missed)
    far = any(_side(item, name, values[name], bands[name], far=True) for name in missed)
    return missed, far or by_chance(len(missed), len(values)) < LEVEL


def by_chance(misses: int, of: int) -> float:
    """The probability that as many of ``of`` right numbers, or more, lie outside their 95 % intervals."""
    from scipy.stats import binom

    return float(binom.sf(misses - 1, of, LEVEL))


def _side(item: Mapping, name: tuple, value: Any, band: Mapping, far: bool = False) -> str:
    """ "" if a number agrees with our runs; otherwise how ours are: lower, higher or different."""
    if "values" in band:
        return "" if band["values"] == [str(value)] else "different"
    low, high = band["far"] if far else (band["low"], band["high"])
    slack = half_digit(value if name not in (t := targets(item)) else t[name], item.get("decimals")) * (1 + 1e-9)
    bound = {"range": ("at least", "at most")[name[-1:] == ("1",)]}.get(item.get("bound"), item.get("bound"))
    if high < value - slack and bound != "at most":
        return "lower"
    return "higher" if low > value + slack and bound != "at least" else ""


def rivals(item: Mapping, entry: Mapping) -> dict[str, dict[tuple, float]]:
    """{what it is: its numbers, by name} for the rivals of the item and those that the notebook measured.

    Raises ValueError for one that is not built like the item's numbers.
    """
    target, found = targets(item), {}
    for named in item.get("rivals", ()):
        found[f"{named['what']} ({named['from']})"] = named["value"]
    for what, value in (found | {f"{k} (measured)": v for k, v in entry.get("rivals", {}).items()}).items():
        numbers = leaves(value)
        if set(numbers) == {()} and len(target) == 1:
            numbers = {next(iter(target)): value}
        found[what] = {name: number for name, number in numbers.items() if name in target}
        if not found[what]:
            raise ValueError(f"{item.get('id')}: rival {what!r} has none of the numbers {_names(list(target))}")
    return found


def _nearest_rival(item: Mapping, entry: Mapping, target: Mapping, bands: Mapping) -> tuple[str, bool, float]:
    """(the nearest rival with its place, whether one lies inside, how far off our mean a single number lies)."""
    placed, two_sided = [], {key: value for key, value in item.items() if key != "bound"}
    for what, numbers in rivals(item, entry).items():
        away = max(_distance(number, bands[name]) for name, number in numbers.items())
        placed.append((away, what, numbers, not _rejected(two_sided, numbers, bands)[1]))
    if not placed:
        return "", False, math.inf
    _, what, numbers, _ = min(placed, key=lambda rival: (not rival[3], rival[0]))
    shown = f" {_short(next(iter(numbers.values())))}" if len(numbers) == 1 else ""
    inside = any(rival[3] for rival in placed)
    gap = 0.0
    if shown and "mean" in (band := bands[name := next(iter(numbers))]):
        gap = abs(numbers[name] - band["mean"]) - half_digit(target[name], item.get("decimals"))
    return f"{what}{shown}, {'inside' if inside else 'outside'}", inside, gap


def _distance(number: Any, band: Mapping) -> float:
    if "values" in band:
        return 0.0 if band["values"] == [str(number)] else math.inf
    half = (band["high"] - band["low"]) / 2
    gap = abs(number - (band["high"] + band["low"]) / 2)
    return gap / half if half else (math.inf if gap else 0.0)


def _sharper(bands: Mapping, gap: float) -> str:
    """How many seeds would tell the nearest rival apart, if mean and spread stay as they are."""
    (band,) = bands.values() if len(bands) == 1 else ({},)
    if not band.get("spread"):
        return "a rival lies inside"
    pooled = band["degrees"] - band["n"] + 1
    for n in range(band["n"] + 1, 101):
        if intervals.quantile(n - 1 + pooled) * band["spread"] * math.sqrt(1 + 1 / n) < gap:
            return f"a rival lies inside: about {n} seeds would tell it apart"
    return "a rival lies inside, within the spread of single runs: no number of seeds tells it apart"


def _missing_text(missed: Mapping[tuple, str], of: int) -> str:
    if of == 1:
        return f"ours is {next(iter(missed.values()))}"
    grouped = {side: _names([name for name in missed if missed[name] == side]) for side in missed.values()}
    return f"{len(missed)} of {of} miss; ours is " + "; ".join(f"{side}: {names}" for side, names in grouped.items())


def _table(rows: Mapping[str, Verdict], items: Mapping) -> Verdict:
    """A table counts its rows. It reproduces if all do, or all but as many as chance explains."""
    counts = Counter(row.word for row in rows.values())
    judged = sum(counts[word] for word in ("reproduced", "compatible", "not reproduced"))
    missed = [name for name, row in rows.items() if row.word == "not reproduced"]
    inside = counts["reproduced"] + counts["compatible"]
    why = f"{inside} of {len(rows)} rows; {LEVEL * len(rows):.1f} expected to miss by chance"
    if missed:
        why += f"; missed: {', '.join(items[name]['title'].rpartition(': ')[2] for name in missed)}"
    explained = [[mark for mark in rows[name].marks if mark.startswith("explained")] for name in missed]
    marks = tuple({mark: None for named in explained for mark in named}) if all(explained) else ()
    far = any(
        _side(items[name], path, value, band, far=True)
        for name in missed
        for path, value in targets(items[name]).items()
        if (band := rows[name].numbers[_label(path)])
    )
    if missed and (len(rows) < MANY or far or by_chance(len(missed), len(rows)) < LEVEL):
        return Verdict("not reproduced", why, marks)
    if judged < len(rows):
        return Verdict("undecided", f"{why}; {len(rows) - judged} without an interval")
    weak = f"; a rival inside, or none named, in {counts['compatible']}" if counts["compatible"] else ""
    return Verdict("compatible" if weak else "reproduced", why + weak)


def beaten(item: Mapping, entry: Mapping | None) -> str:
    """By how much our improved runs beat the report; empty if they do not, or if that cannot be decided.

    The whole interval of our runs must be better than the reported value, for every number that is compared.
    """
    runs = [leaves(run) for run in (entry or {}).get("improved", [])]
    target, gains = targets(item), []
    if item["better"] not in ("higher", "lower") or len(runs) < 2 or _closed(item, entry, ""):
        return ""
    if any(name not in run for name in target for run in runs):
        return ""
    for name, theirs in target.items():
        ours = [run[name] for run in runs]
        low, high = intervals.prediction(ours)
        slack = half_digit(theirs, item.get("decimals"))
        if (low <= theirs + slack) if item["better"] == "higher" else (high >= theirs - slack):
            return ""
        gains.append(abs(statistics.fmean(ours) - theirs))
    return f"beaten by {min(gains):.3g}" if gains else ""


def leaves(value: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """{path: number or text} of nested lists and dicts. A table {columns, rows} is named by its first column."""
    if isinstance(value, Mapping) and {"columns", "rows"} <= set(value) and isinstance(value["rows"], list):
        head, *columns = value["columns"]
        value = {f"{head} {row[0]}": dict(zip(columns, row[1:], strict=True)) for row in value["rows"]}
    if isinstance(value, Mapping):
        return {k: v for name, part in value.items() for k, v in leaves(part, (*path, str(name))).items()}
    if isinstance(value, list):
        return {k: v for i, part in enumerate(value) for k, v in leaves(part, (*path, str(i))).items()}
    return {} if value is None else {path: value}


def targets(item: Mapping) -> dict[tuple[str, ...], Any]:
    """The reported numbers with which ours are compared."""
    target = leaves(item.get("comparable", item.get("reported")))
    judged = item.get("judged")
    return {name: value for name, value in target.items() if judged is None or set(judged) & set(name)}


def _names(paths: list[tuple[str, ...]]) -> str:
    return ", ".join(map(_label, paths))


def _label(path: tuple[str, ...]) -> str:
    return " ".join(path) or "value"


# --- sentences -------------------------------------------------------------------------------------------------------


def quotations(item: Mapping) -> dict[str, str]:
    """{words of the report: why they are left aside, or ""} of an item."""
    entries = [{"quote": entry} if isinstance(entry, str) else entry for entry in item.get("says", ())]
    return {entry["quote"]: entry.get("aside", "") for entry in entries}


def _statements(item: Mapping, tests: Sequence[Mapping], closed: str) -> tuple[Verdict, ...]:
    """A verdict on each sentence; of a number or a setting, only on those that were tested."""
    found = []
    for quote, aside in quotations(item).items():
        named = [test for test in tests if test["quote"] == quote]
        if aside:
            found.append(Verdict("left aside", aside, quote=quote))
        elif named:
            found.append(_sentence(named, closed)._replace(quote=quote))
        elif item["class"] in ("picture", "question"):
            found.append(Verdict("not comparable", closed, quote=quote) if closed else Verdict("untested", quote=quote))
    return tuple(found)


def _sentence(tests: Sequence[Mapping], closed: str) -> Verdict:
    """Contradicted if one comparison contradicts it, supported if all support it, else undecided."""
    weighed = {test["what"]: weigh(test) for test in tests}
    if closed and not all(test.get("exact") for test in tests):
        return Verdict("not comparable", closed, numbers=weighed)
    if elsewhere := [test["elsewhere"] for test in tests if test.get("elsewhere")]:
        return Verdict("not comparable", "; ".join(dict.fromkeys(elsewhere)), numbers=weighed)
    words = {what: found["verdict"] for what, found in weighed.items()}
    for word in ("contradicted", "undecided"):
        if word in words.values():
            named = [what for what in words if words[what] == word]
            why = [", ".join(named)] if len(named) < len(words) else []
            hardest = max(named, key=lambda what: weighed[what].get("seeds", math.inf))
            why += [weighed[hardest]["why"]] if "why" in weighed[hardest] else []
            return Verdict(word, "; ".join(why), numbers=weighed)
    return Verdict("supported", numbers=weighed)


def _said(item: Mapping, statements: Sequence[Verdict], closed: str) -> Verdict:
    """A picture or a question: the worst verdict on its sentences, and how many there are of each."""
    judged = [statement for statement in statements if statement.word != "left aside"]
    if not judged:
        if closed:
            return Verdict("not comparable", closed)
        if statements or not item.get("asserts", True):
            return Verdict("drawn" if item["class"] == "picture" else "answered")
        return Verdict("untested", "its words are not quoted yet")
    counts = Counter(statement.word for statement in judged)
    word = next((word for word in WORST_FIRST if counts[word]), "supported")
    if len(judged) == 1:
        return judged[0]._replace(quote="")
    return Verdict(word, ", ".join(f"{n} {each}" for each, n in counts.most_common()))


# --- in words --------------------------------------------------------------------------------------------------------


def lines(item: Mapping, verdict: Verdict) -> list[tuple[str, str, Verdict]]:
    """(the report's words or number, ours with its interval, the verdict): one line for a number, one a sentence."""
    found = []
    if item["class"] in ("measured", "setting") or not verdict.statements:
        stated = item.get("comparable", item.get("reported")) if item["class"] == "measured" else item.get("reported")
        target = targets(item) if item["class"] == "measured" else {}
        theirs = _short(next(iter(target.values())) if len(target) == 1 else stated)
        theirs = f"{len(target)} numbers" if item["kind"] == "table" and len(target) > 1 else theirs
        found.append((theirs, numbers_text(verdict), verdict))
    return found + [(f"“{each.quote}”", numbers_text(each), each) for each in verdict.statements]


def numbers_text(verdict: Verdict, most: int = 3, between: str = "; ", ours: Mapping[str, str] = {}) -> str:
    """Means with their 95 % intervals and n, as precise as the interval allows; ``ours`` are thresholds of ours."""
    named = len(verdict.numbers) > 1 or verdict.quote
    texts = []
    for name, band in list(verdict.numbers.items())[:most]:
        text = ", ".join(band["values"]) if "values" in band else _short(band["mean"]).replace("-", "−")
        if "low" in band and band["low"] < band["high"]:
            mean, low, high = _rounded(band["mean"], band["low"], band["high"])
            text = f"{mean} ({low} to {high}; n = {band['n']})"
        elif band["n"] == 1 and "low" not in band:
            text += " (n = 1)"
        texts.append(f"{name}{ours.get(name, '')}: {text}" if named else text)
    more = len(verdict.numbers) - most
    return between.join(texts) + (f"{between}and {more} more" if more > 0 else "")


def _rounded(mean: float, low: float, high: float) -> list[str]:
    """The three numbers with two significant digits of the half-width of the interval."""
    digits = max(0, 1 - math.floor(math.log10((high - low) / 2)))
    return [f"{value + 0.0:.{digits}f}".replace("-", "−") for value in (mean, low, high)]


def wording(verdict: Verdict) -> str:
    """The mark and the word, what stands beside it, and why."""
    texts = (f"{VERDICTS[verdict.word][0]} {verdict.word}", *verdict.marks, verdict.why)
    return "; ".join(text for text in texts if text)


def heap(word: str) -> str:
    """Which of the four heaps a verdict belongs to."""
    return next(name for name, words in HEAPS.items() if word in words)


def cut(text: str, limit: int = 320) -> str:
    """One line, cut between two words to a width that a page can show."""
    text = " ".join(text.split())
    return text if len(text) <= limit else text[:limit].rpartition(" ")[0].rstrip(";:,") + " …"


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {_short(v)}" for k, v in value.items())
    if isinstance(value, list):
        return "[" + ", ".join(map(_short, value)) + "]"
    if isinstance(value, float):
        value = 0.0 if abs(value) < 1e-12 else value  # what rounding leaves of 0, otherwise on each processor
        return f"{value + 0.0:.0f}" if value.is_integer() or abs(value) >= 1000 else f"{value:.4g}"
    return "" if value is None else str(value)
