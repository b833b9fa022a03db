"""Verdicts: our measurements compared with the values in the reports. They are computed only here.

A verdict is a pure function of an item of ``data/reports.toml`` and of what was recorded for it. A notebook cannot set
a verdict or a tolerance, and an error in the report never changes the verdict on our runs.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

LEVEL = 0.05  # the prediction interval holds 95 %

# verdict → (mark that reads without colour, meaning), in the order of the summary
VERDICTS = {
    "reproduced": (
        "✔",
        "the reported value lies in the 95 % prediction interval of our runs at its settings, or equals our value",
    ),
    "not reproduced": ("✘", "it does not"),
    "supported": ("◆", "a claim of the report about a picture or in an answer holds in our runs"),
    "contradicted": ("◇", "the opposite of the claim holds"),
    "undecided": ("?", "only one run, or a claim that was not tested or that our runs cannot settle"),
    "not comparable": ("≠", "other data, another machine, or a chapter not yet trained at the report's settings"),
    "drawn": ("▦", "a picture without a testable claim"),
    "answered": ("✎", "a task without a claim"),
    "used as stated": ("=", "our run uses the reported setting; this does not count as reproduced"),
    "changed": ("Δ", "our run uses another setting"),
    "inconsistent": ("!", "the report contradicts itself on this setting"),
    "not yet": ("…", "no notebook has recorded this item"),
}


class Verdict(NamedTuple):
    """One of VERDICTS, and a short reason."""

    word: str
    why: str = ""


def judge(
    item: Mapping,
    entry: Mapping | None,
    *,
    drawn: bool = False,
    claims: Sequence[Mapping] = (),
    inconsistent: Sequence[str] = (),
    behind: str = "",
) -> Verdict:
    """The verdict on an item.

    ``entry`` is what was recorded for it. ``drawn`` says whether its figure exists. ``claims`` are the report's claims,
    as tested by the notebook. ``inconsistent`` lists how the report contradicts itself on a setting. ``behind`` says
    why this run does not use the report's settings.
    """
    if entry is None and not drawn:
        return Verdict("not yet")
    elsewhere = _not_comparable(item, entry)
    if item["class"] == "setting":
        return _setting(item, entry or {}, inconsistent)
    if item["class"] == "measured":
        if entry is None or not ({"value", "runs"} & set(entry)):
            return Verdict("not yet", "no value was recorded")
        if elsewhere or (behind and not item.get("exact")):
            return Verdict("not comparable", elsewhere or behind)
        return _measured(item, entry)
    if claims:
        return _claimed(claims)
    if elsewhere:
        return Verdict("not comparable", elsewhere)
    if item["class"] == "picture":
        return Verdict("drawn")
    asserts = item.get("asserts", True)
    return Verdict("undecided", "none of its claims was tested") if asserts else Verdict("answered")


def _not_comparable(item: Mapping, entry: Mapping | None) -> str:
    """Why nothing can be held against the reported value; empty if ``data`` says that it was measured on its data."""
    value = (entry or {}).get("value")
    its_own = "data" in item and isinstance(value, Mapping) and value.get("data") == item["data"]
    return "" if its_own else item.get("not_comparable", "")


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
    return Verdict("changed", f"{other} here") if other else Verdict("used as stated")


def _claimed(claims: Sequence[Mapping]) -> Verdict:
    """Contradicted if any claim is; otherwise undecided if any claim is; otherwise supported."""
    if against := [c["statement"] for c in claims if c["contradicted"]]:
        return Verdict("contradicted", "; ".join(against))
    if not_shown := [c["statement"] for c in claims if not c["supported"]]:
        return Verdict("undecided", "; ".join(not_shown))
    return Verdict("supported", "; ".join(c["statement"] for c in claims))


# --- numbers ---------------------------------------------------------------------------------------------------------


def _measured(item: Mapping, entry: Mapping) -> Verdict:
    """Reproduced if every reported number lies in the prediction interval of our runs at the report's settings."""
    target, runs = targets(item), [leaves(run) for run in entry.get("runs") or [entry["value"]]]
    if absent := [name for name in target if any(name not in run for run in runs)]:
        return Verdict("not yet", f"the chapter recorded nothing for {_names(absent)}")
    exact = item.get("exact", False)
    if len(runs) == 1 and not exact:
        return Verdict("undecided", "one run has no interval")
    misses = {name: _miss(item, name, theirs, [run[name] for run in runs], entry) for name, theirs in target.items()}
    misses = {name: side for name, side in misses.items() if side}
    if not misses:
        return Verdict("reproduced", "equal" if exact else f"in the 95 % interval of {len(runs)} runs")
    if len(target) == 1:
        return Verdict("not reproduced", f"ours is {misses.popitem()[1]}")
    grouped = {side: _names([name for name in misses if misses[name] == side]) for side in misses.values()}
    listed = "; ".join(f"{side}: {names}" for side, names in grouped.items())
    return Verdict("not reproduced", f"{len(misses)} of {len(target)}; ours is {listed}")


def beaten(item: Mapping, entry: Mapping | None) -> str:
    """By how much our improved runs beat the report; empty if they do not, or if that cannot be decided.

    The whole interval of our runs must be better than the reported value, for every number that is compared.
    """
    if item["class"] != "measured" or item["better"] not in ("higher", "lower") or _not_comparable(item, entry):
        return ""
    runs = [leaves(run) for run in (entry or {}).get("improved", [])]
    target, gains = targets(item), []
    if len(runs) < 2 or any(name not in run for name in target for run in runs):
        return ""
    want = "higher" if item["better"] == "higher" else "lower"
    for name, theirs in target.items():
        ours = [run[name] for run in runs]
        if _miss({**item, "exact": False, "bound": ""}, name, theirs, ours, entry) != want:
            return ""
        gains.append(abs(statistics.fmean(ours) - theirs))
    return f"beaten by {min(gains):.3g}" if gains else ""


def _miss(item: Mapping, name: tuple, theirs: object, ours: list, entry: Mapping) -> str:
    """ "" if a reported number agrees with our runs; otherwise how ours are: lower, higher or different."""
    if isinstance(theirs, bool | str) or any(isinstance(value, bool | str) for value in ours):
        return "" if all(value == theirs for value in ours) else "different"
    if item.get("exact"):
        low, high = min(ours), max(ours)
    else:
        level = LEVEL / item.get("family", len(targets(item)))
        low, high = prediction(ours, entry.get("images"), level)
    slack = half_digit(theirs, item.get("decimals")) * (1 + 1e-9)
    bound = {"range": ("at least", "at most")[name[-1:] == ("1",)]}.get(item.get("bound"), item.get("bound"))
    if high < theirs - slack and bound != "at most":
        return "lower"
    return "higher" if low > theirs + slack and bound != "at least" else ""


def prediction(values: Sequence[float], images: int | None = None, level: float = LEVEL) -> tuple[float, float]:
    """Interval that contains one further run with probability 1 − ``level``, by Student's t over two or more runs.

    For a share of ``images`` test images, the sampling error is added.
    """
    from scipy.stats import norm, t  # takes a second to import

    n, mean = len(values), statistics.fmean(values)
    if n < 2:
        raise ValueError(f"an interval needs two runs or more, got {n}: record one value per seed with runs=")
    half = t.ppf(1 - level / 2, n - 1) * statistics.stdev(values) * math.sqrt(1 + 1 / n)
    if images and 0 <= mean <= 1:
        half = math.hypot(half, norm.ppf(1 - level / 2) * math.sqrt(mean * (1 - mean) / images))
    return mean - half, mean + half


def half_digit(number: float, decimals: int | None = None) -> float:
    """Half a unit of the last printed digit: 0.98 means any value from 0.975 to 0.985."""
    exponent = -decimals if decimals is not None else Decimal(str(number)).as_tuple().exponent
    return 0.5 * 10.0**exponent


def leaves(value: object, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], object]:
    """{path: number or text} of nested lists and dicts. A table {columns, rows} is named by its first column."""
    if isinstance(value, Mapping) and {"columns", "rows"} <= set(value) and isinstance(value["rows"], list):
        head, *columns = value["columns"]
        value = {f"{head} {row[0]}": dict(zip(columns, row[1:], strict=True)) for row in value["rows"]}
    if isinstance(value, Mapping):
        return {k: v for name, part in value.items() for k, v in leaves(part, (*path, str(name))).items()}
    if isinstance(value, list):
        return {k: v for i, part in enumerate(value) for k, v in leaves(part, (*path, str(i))).items()}
    return {} if value is None else {path: value}


def targets(item: Mapping) -> dict[tuple[str, ...], object]:
    """The reported numbers with which ours are compared."""
    target = leaves(item.get("comparable", item.get("reported")))
    judged = item.get("judged")
    return {name: value for name, value in target.items() if judged is None or set(judged) & set(name)}


def _names(paths: list[tuple[str, ...]]) -> str:
    return ", ".join(" ".join(path) or "the value" for path in paths)
