"""Every verdict of the gallery, computed a second time from results.json, reports.toml and errata.toml.

A plain script that shares no code with ``workbook`` and follows, in its own way, the rule that stands at the head of
``workbook/verdicts.py``.
``python tests/gallery/recompute.py`` prints item, sentence and verdict; a test compares them with the scoreboard.
"""

import json
import sys
import tomllib
from math import inf, sqrt
from pathlib import Path

import numpy as np
from scipy import stats

ROOT = Path(__file__).resolve().parents[2]


def read(name):
    return tomllib.loads((ROOT / "data" / name).read_text("utf-8"))


def results(notebook):
    folder = ROOT / "figures" / notebook
    if not (folder / "results.json").exists():
        return {"items": {}, "tested": {}, "figures": {}, "errata": {}}
    kept, timed = (json.loads((folder / f"{name}.json").read_text("utf-8")) for name in ("results", "timings"))
    kept["items"].update(timed["items"])
    tested = kept.setdefault("tested", {})
    for item, tests in timed.get("tested", {}).items():
        tested[item] = tested.get(item, []) + tests
    kept["figures"].update(timed["figures"])
    return kept


# --- numbers ---------------------------------------------------------------------------------------------------------


def flat(value, name=""):
    """{"row column": number} of whatever was reported or recorded."""
    if isinstance(value, dict) and {"columns", "rows"} <= value.keys() and isinstance(value["rows"], list):
        head = value["columns"]
        value = {f"{head[0]} {row[0]}": dict(zip(head[1:], row[1:], strict=True)) for row in value["rows"]}
    if isinstance(value, list):
        value = dict(enumerate(value))
    if isinstance(value, dict):
        return {k: v for key, part in value.items() for k, v in flat(part, f"{name}/{key}").items()}
    return {} if value is None else {name: value}


def stated(item):
    numbers = flat(item.get("comparable", item.get("reported")))
    wanted = item.get("judged")
    return {k: v for k, v in numbers.items() if wanted is None or set(wanted) & set(k.split("/"))}


def digit(item, number):
    """Half of the last printed digit."""
    if "decimals" in item:
        return 0.5 * 10 ** -item["decimals"]
    text = repr(number)
    if "e" in text:
        mantissa, exponent = text.split("e")
        return 0.5 * 10 ** (int(exponent) - len(mantissa.partition(".")[2]))
    return 0.5 * 10 ** -len(text.partition(".")[2])


def sd(values):
    """Standard deviation; of whole numbers that do not differ, that of rounding."""
    return np.std(values, ddof=1) or (1 / sqrt(12) if all(type(v) is int for v in values) else 0)


class Pools(dict):
    """{(pool, column): (s, degrees of freedom)}"""

    def __init__(self, items, found):
        members = {}
        for item in items:
            entry = found.get(item["id"], {})
            for runs in [entry.get("runs", []), *entry.get("otherwise", {}).values()] if "pool" in item else []:
                for name in stated(item):
                    values = [flat(run).get(name) for run in runs]
                    if len(values) > 1 and None not in values:
                        members.setdefault(self.key(item, name), set()).add(tuple(values))
        for key, groups in members.items():
            groups = [[float(v) for v in group] for group in sorted(groups)]
            if len(groups) > 1 and all(len(set(g)) > 1 for g in groups) and stats.bartlett(*groups).pvalue >= 0.05:
                free = [len(g) - 1 for g in groups]
                self[key] = sqrt(np.dot(free, [np.var(g, ddof=1) for g in groups]) / sum(free)), sum(free)

    @staticmethod
    def key(item, name):
        return item.get("pool"), name.rpartition("/")[2] if len(stated(item)) > 1 else ""


def ends(item, entry, runs, name, pools, level):
    """The interval of one further run at a level."""
    values = [flat(run)[name] for run in runs]
    n = len(values)
    if item.get("exact"):
        return min(values), max(values)
    if "draws" in item:
        mine, theirs = entry.get("draws", item["draws"]), item["draws"]
        share = item["possible"] != [0, theirs]
        counts = np.array([[round(flat(r)[k] * (mine if share else 1)) for r in runs] for k in stated(item)])
        p = counts.sum(1) / (n * mine)
        vary = (p > 0) & (p < 1)
        square = ((counts - mine * p[:, None]) ** 2).sum(1)[vary] / (mine * p * (1 - p))[vary]
        free = vary.sum() * (n - 1)
        excess = 1.0
        if free and stats.chi2.sf(square.sum(), free) < 0.05:
            excess = max(1.0, square.sum() / free * (stats.t.ppf(0.975, free) / stats.norm.ppf(0.975)) ** 2)
        k, m = counts[list(stated(item)).index(name)].sum() / excess, n * mine / excess
        size = max(1, round(theirs / excess))
        low, high = stats.betabinom(size, k + 0.5, m - k + 0.5).ppf([level / 2, 1 - level / 2])
        low, high = (low - 0.5, high + 0.5) if excess > 1 else (low, high)
        return max(0, low / size) * (1 if share else theirs), min(1, high / size) * (1 if share else theirs)
    s, free = pools.get(Pools.key(item, name)) or (sd(values) or digit(item, stated(item)[name]) / sqrt(3), n - 1)
    half = stats.t.ppf(1 - level / 2, free) * s * sqrt(1 + 1 / n)
    low, high = [*item.get("possible", []), inf][:2] if item.get("possible") else (-inf, inf)
    return max(np.mean(values) - half, low), min(np.mean(values) + half, high)


def inside(item, entry, runs, name, number, pools, level=0.05):
    ours = [flat(run)[name] for run in runs]
    if isinstance(number, str | bool):
        return all(str(one) == str(number) for one in ours)
    if any(isinstance(one, str | bool) for one in ours):
        return False
    low, high = ends(item, entry, runs, name, pools, level)
    bound = item.get("bound")
    if bound == "range":
        bound = "at most" if name.endswith("/1") else "at least"
    slack = digit(item, stated(item)[name]) * (1 + 1e-9)
    return (high >= number - slack or bound == "at most") and (low <= number + slack or bound == "at least")


def refuted(item, entry, runs, numbers, pools, family):
    """Whether numbers that are claimed together cannot be those of our runs."""
    missed = [k for k, v in numbers.items() if not inside(item, entry, runs, k, v, pools)]
    if len(numbers) < 5:
        return bool(missed)
    far = [
        k for k in missed if not inside(item, entry, runs, k, numbers[k], pools, 0.05 / (family or len(stated(item))))
    ]
    return bool(far) or (bool(missed) and stats.binom.sf(len(missed) - 1, len(numbers), 0.05) < 0.05)


def judge_number(item, entry, pools, family):
    numbers = stated(item)
    runs = entry.get("runs") or [entry["value"]]
    if any(k not in flat(run) for k in numbers for run in runs):
        return "not yet"
    pooled = all(Pools.key(item, name) in pools for name in numbers)
    if len(runs) == 1 and not (item.get("exact") or "draws" in item or pooled):
        return "undecided"
    if refuted(item, entry, runs, numbers, pools, family):
        return "not reproduced"
    rivals = [rival["value"] for rival in item.get("rivals", [])] + list(entry.get("rivals", {}).values())
    if not rivals:
        return "compatible"
    item = {key: value for key, value in item.items() if key != "bound"}  # a rival is a number, not a bound
    for rival in rivals:
        claimed = flat(rival) if isinstance(rival, dict | list) else {next(iter(numbers)): rival}
        if not refuted(item, entry, runs, {k: v for k, v in claimed.items() if k in numbers}, pools, family):
            return "compatible"
    return "reproduced"


def explained(item, entry, pools, family, failed):
    """Names of the runs at other settings that fit, though those at the stated ones do not."""
    return {
        name.partition(":")[0]
        for name, runs in entry.get("otherwise", {}).items()
        if name.partition(":")[0] not in failed and not refuted(item, entry, runs, stated(item), pools, family)
    }


def judge_table(rows, found, words, pools):
    """``rows`` are items; ``words`` their verdicts."""
    n = len(rows)
    missed = [row for row in rows if words[row["id"]] == "not reproduced"]

    def far(row):
        entry = found[row["id"]]
        runs = entry.get("runs") or [entry["value"]]
        return any(not inside(row, entry, runs, k, v, pools, 0.05 / n) for k, v in stated(row).items())

    if missed and (n < 5 or any(map(far, missed)) or stats.binom.sf(len(missed) - 1, n, 0.05) < 0.05):
        return "not reproduced"
    rest = {words[row["id"]] for row in rows} - {"not reproduced"}
    return (
        "undecided" if rest - {"reproduced", "compatible"} else "compatible" if "compatible" in rest else "reproduced"
    )


# --- sentences -------------------------------------------------------------------------------------------------------


def judge_test(test):
    a, b, draws = np.array(test["values"], object), test.get("against"), test.get("of", 1)
    if b is not None and len(b) == len(a):
        a, b = [x - y for x, y in zip(a, b, strict=True)], None
    if draws > 1:
        a, b = [x / draws for x in a], b and [x / draws for x in b]
    share = ("of" in test or test.get("share")) and "against" not in test
    low = high = mean = np.mean([float(x) for x in a]) - (np.mean(b) if b else 0)
    if not test.get("exact"):
        errors = [(sd(g) ** 2 / len(g) if len(g) > 1 else inf, len(g) - 1) for g in (list(a), b) if g]
        total = sum(e for e, _ in errors)
        if total == inf:
            low, high = -inf, inf
        elif total:
            half = stats.t.ppf(0.975, total**2 / sum(e * e / f for e, f in errors)) * sqrt(total)
            low, high = mean - half, mean + half
        if "of" in test and "against" not in test:
            k, m = sum(test["values"]), draws * len(a)
            law = stats.beta(k + 0.5, m - k + 0.5)
            drawn = (law.ppf(0.025) if k else 0, law.ppf(0.975) if k < m else 1)
            low, high = drawn if len(a) == 1 else (min(low, drawn[0]), max(high, drawn[1]))
        if "of" in test or test.get("share"):
            low, high = max(low, 0 if share else -1), min(high, 1)
    found = {place(test, low, high, share, factor) for factor in (1, 0.5, 2)}
    return found.pop() if len(found) == 1 else "undecided"


def place(test, low, high, share, factor):
    def moved(x):
        if not test.get("ours"):
            return x
        return factor * x / (1 + (factor - 1) * x) if share and 0 <= x <= 1 else factor * x

    if "equals" in test:
        return "supported" if abs(low - test["equals"]) <= digit({}, test["equals"]) * (1 + 1e-9) else "contradicted"
    if max(abs(low), abs(high)) <= factor * test.get("matters", -1):
        return "contradicted"
    if "between" in test:
        left, right = map(moved, test["between"])
        return (
            "supported"
            if left <= low and high <= right
            else "contradicted"
            if high < left or low > right
            else "undecided"
        )
    sign = 1 if "above" in test else -1
    edge = sign * moved(test["above" if sign == 1 else "below"])
    low, high = sorted((sign * low, sign * high))
    return "supported" if low > edge else "contradicted" if high <= edge else "undecided"


def judge_sentence(tests, closed):
    if not tests:
        return "not comparable" if closed else "untested"
    if (closed and not all(t.get("exact") for t in tests)) or any(t.get("elsewhere") for t in tests):
        return "not comparable"
    words = {judge_test(test) for test in tests}
    return next(word for word in ("contradicted", "undecided", "supported") if word in words)


# --- all -------------------------------------------------------------------------------------------------------------


def verdicts(reports, errata, results, causes=None):
    """{(item, sentence or ""): verdict}. A picture or a question has only the verdicts of its sentences, if any.

    ``causes`` collects {item: errata that explain it}.
    """
    every, causes = {}, {} if causes is None else causes
    for notebook in dict.fromkeys(item["notebook"] for item in reports["item"]):
        items, kept = [item for item in reports["item"] if item["notebook"] == notebook], results(notebook)
        failed = {
            e for e, shown in kept["errata"].items() if (shown["holds"] if isinstance(shown, dict) else shown) is False
        }
        unsure = {i for e in errata if e["kind"] == "inconsistent" and e["id"] not in failed for i in e["items"]}
        pools, words = Pools(items, kept["items"]), {}
        for item in items:
            name, entry = item["id"], kept["items"].get(item["id"])
            value = (entry or {}).get("value")
            own = "data" in item and isinstance(value, dict) and value.get("data") == item["data"]
            closed = "not_comparable" in item and not own
            said = {}
            for quote in [one if isinstance(one, dict) else {"quote": one} for one in item.get("says", [])]:
                tests = [test for test in kept["tested"].get(name, []) if test["quote"] == quote["quote"]]
                if "aside" in quote:
                    said[quote["quote"]] = "left aside"
                elif tests or item["class"] in ("picture", "question"):
                    said[quote["quote"]] = judge_sentence(tests, closed)
            every.update({(name, quote): word for quote, word in said.items()})
            if entry is None and name not in kept["figures"] and not said:
                words[name] = "not yet"
            elif item["class"] == "setting":
                used, theirs = (entry or {}).get("value"), item.get("reported")
                if isinstance(used, dict) and isinstance(theirs, dict):
                    same = all(used[k] == theirs[k] for k in item.get("judged", theirs) if k in used)
                else:
                    same = used is None or theirs is None or used == theirs
                words[name] = "inconsistent" if name in unsure else "used as stated" if same else "changed"
            elif item["class"] == "measured":
                family = sum(
                    item.get("row_of") is not None and row.get("row_of") == item.get("row_of") for row in items
                )
                if entry is None or not {"value", "runs"} & entry.keys():
                    words[name] = "not yet"
                else:
                    words[name] = "not comparable" if closed else judge_number(item, entry, pools, family)
                if words[name] == "not reproduced":
                    causes[name] = explained(item, entry, pools, family, failed)
            elif not said:
                idle = "drawn" if item["class"] == "picture" else "answered"
                words[name] = "not comparable" if closed else idle if item.get("asserts") is False else "untested"
        for name in {item["row_of"] for item in items if "row_of" in item}:
            if words[name] not in ("not yet", "not comparable"):
                rows = [item for item in items if item.get("row_of") == name]
                words[name] = judge_table(rows, kept["items"], words, pools)
                named = [causes[row["id"]] for row in rows if words[row["id"]] == "not reproduced"]
                causes[name] = set().union(*named) if all(named) and words[name] == "not reproduced" else set()
        every.update({(name, ""): word for name, word in words.items()})
    return every


HEAPS = {
    "holds": "reproduced, supported",
    "fails": "not reproduced, contradicted",
    "cannot tell": "compatible, undecided, untested",
}
ORDER = "not yet, not reproduced, contradicted, undecided, untested, compatible, not comparable, reproduced, supported"


def counts(reports, every, causes):
    """({report: {heap: how many}}, how many failures an erratum explains), over results and distinct sentences.

    Of rows that are one result the table counts, or else the worst; of a sentence that is quoted twice the worst.
    """
    groups, worst = {}, ORDER.split(", ")
    for item in reports["item"]:
        name = item["id"]
        quotes = [quote for one, quote in every if one == name and quote]
        for quote in quotes if item["class"] in ("picture", "question") and quotes else ["", *quotes]:
            one = quote.casefold() or item.get("row_of", item.get("result", name))
            groups.setdefault((item["report"], bool(quote), one), []).append((name, quote))
    heaps, why = {report["id"]: dict.fromkeys([*HEAPS, "not judged"], 0) for report in reports["report"]}, 0
    for (report, said, one), members in groups.items():
        place = {key: worst.index(every[key]) if every[key] in worst else len(worst) for key in members}
        chosen = (one, "") if not said and (one, "") in members else min(members, key=place.get)
        word = every[chosen]
        heaps[report][next((heap for heap, words in HEAPS.items() if word in words.split(", ")), "not judged")] += 1
        why += word == "not reproduced" and bool(causes.get(chosen[0]))
    return heaps, why


if __name__ == "__main__":
    for (name, quote), word in verdicts(read("reports.toml"), read("errata.toml")["erratum"], results).items():
        print(f"{name}\t{quote}\t{word}")
    sys.exit(0)
