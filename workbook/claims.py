"""Claims: measurements by seed, held against a threshold.

The rule stands at the head of ``workbook.verdicts``. What a comparison measured is stored as it was handed in, so that
its verdict can be computed again from results.json alone.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from lib.metrics import intervals
from workbook.records import half_digit

FACTORS = (1, 0.5, 2)  # a threshold of ours is tried at its value, at half and at twice


def comparisons(
    what: str,
    values: Any,
    *,
    against: Any = None,
    above: float | None = None,
    below: float | None = None,
    between: Sequence[float] | None = None,
    equals: float | None = None,
    matters: float | None = None,
    ours: bool | None = None,
    of: int | None = None,
    share: bool = False,
    exact: bool = False,
    elsewhere: str = "",
    seed: int = 0,
) -> list[dict]:
    """What a test measured, as it is stored: one comparison, or one for each name in ``against``.

    ``values`` are measurements by seed, for ``seed``, ``seed + 1``, …, or {seed: value}; a single number if ``exact``.
    ``against`` is subtracted seed by seed; a list of another length is an independent group. Exactly one place is
    given: ``above`` or ``below`` a threshold, ``between`` two, or what an exact value ``equals``. ``ours`` says whether
    a threshold other than 0 is our choice. ``matters`` is the smallest difference that would matter. ``of`` says that
    values are counts among so many random draws, ``share`` that they are shares. ``elsewhere`` says in what these runs
    are not at the report's settings.

    Raises TypeError for truth values, ValueError for arguments that do not fit together.
    """
    if isinstance(against, Mapping) and all(isinstance(other, Mapping | list | tuple) for other in against.values()):
        given: dict[str, Any] = {"above": above, "below": below, "between": between, "equals": equals, "ours": ours}
        given |= {"matters": matters, "of": of, "share": share, "exact": exact, "elsewhere": elsewhere, "seed": seed}
        return [
            test
            for name, other in against.items()
            for test in comparisons(f"{what}, against {name}", values, against=other, **given)
        ]
    places: dict[str, Any] = {"above": above, "below": below, "between": between, "equals": equals}
    where = {name: place for name, place in places.items() if place is not None}
    if len(where) != 1:
        raise ValueError(f"{what}: give exactly one of {', '.join(places)}; got {', '.join(where) or 'none'}")
    ((name, place),) = where.items()
    ends = list(place) if name == "between" else [place]
    if name == "between" and (len(ends) != 2 or ends[0] >= ends[1]):
        raise ValueError(f"{what}: between= takes a lower and an upper end, got {ends}")
    if name == "between" and ours and not (share or of) and ends[0] != -ends[1]:
        raise ValueError(
            f"{what}: a band of ours that does not lie around 0 has no half and no double; state two tests"
        )
    if name == "equals" and not exact:
        raise ValueError(f"{what}: equals= is for exact values; with runs, use between=")
    if any(ends) and ours is None and name != "equals":
        raise ValueError(f"{what}: say whether the threshold {place} is the report's (ours=False) or ours (ours=True)")
    if matters is not None and (name not in ("above", "below") or any(ends) or matters <= 0):
        raise ValueError(f"{what}: matters= is a difference above 0 and belongs to above=0 or below=0")
    seeds, measured = _by_seed(what, values, seed, exact)
    test = {"what": what, "values": measured, name: ends if name == "between" else place}
    if against is not None:
        others, theirs = _by_seed(what, against, seed, exact)
        if seeds != others and len(seeds) == len(others):
            raise ValueError(f"{what}: values are for seeds {seeds}, against for {others}")
        test["against"] = theirs
    if seeds != [seed + i for i in range(len(seeds))]:
        test["seeds"] = seeds
    more = {"matters": matters, "ours": ours, "of": of, "share": share, "exact": exact, "elsewhere": elsewhere}
    return [test | {key: value for key, value in more.items() if value}]


def _by_seed(what: str, values: Any, seed: int, exact: bool) -> tuple[list[int], list[float]]:
    """Seeds, and a number for each."""
    if exact and not isinstance(values, Mapping | list | tuple):
        values = [values]
    if not isinstance(values, Mapping):
        values = {seed + i: value for i, value in enumerate(values)}
    if not values or (exact and len(values) > 1):
        raise ValueError(f"{what}: give {'one exact value' if exact else 'a measurement for each seed'}")
    for value in values.values():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TypeError(f"{what}: hand in measurements by seed, not {value!r}: the verdict is computed from them")
    return [int(each) for each in values], list(values.values())


def weigh(test: Mapping) -> dict:
    """The verdict that one comparison gives, with its mean, its 95 % interval, n, and what would settle it."""
    values, others = test["values"], test.get("against", [])
    paired = len(values) == len(others)
    if paired:
        values, others = [a - b for a, b in zip(values, others, strict=True)], []
    draws = test.get("of")
    if draws:
        values, others = [v / draws for v in values], [v / draws for v in others]
    mean = statistics.fmean(values) - (statistics.fmean(others) if others else 0)
    low, high = (mean, mean) if test.get("exact") else intervals.interval(values, others)
    low, high = _as_drawn(test, sum(test["values"]), len(values), low, high)
    if test.get("of") or test.get("share"):  # a share, or the difference of two
        low, high = max(low, 0.0 if _is_share(test) else -1.0), min(high, 1.0)
    words = {_placed(test, low, high, factor) for factor in FACTORS}
    word, why, seeds = words.pop() if len(words) == 1 else "undecided", "", 0
    if word == "undecided":
        why, seeds = _what_would_decide(test, values, others, mean)
    ends = {"low": low, "high": high} if math.isfinite(low) else {}
    n = draws if draws and len(values) == 1 else len(values)
    told = {key: value for key, value in (("why", why), ("seeds", seeds)) if value}
    return {"verdict": word, "mean": mean, "n": n, **ends, **told}


def _as_drawn(test: Mapping, count: int, n: int, low: float, high: float) -> tuple[float, float]:
    """The interval of a share of random draws, no narrower than what the draws of n seeds leave open."""
    if "of" not in test or test.get("against"):
        return low, high
    drawn = intervals.share_interval(count, test["of"] * n)
    return (drawn[0], drawn[1]) if n == 1 else (min(low, drawn[0]), max(high, drawn[1]))


def _placed(test: Mapping, low: float, high: float, factor: float = 1.0) -> str:
    """The verdict if thresholds of ours are ``factor`` times as large."""

    def scaled(threshold: float) -> float:
        if not test.get("ours"):
            return threshold
        if _is_share(test) and 0 <= threshold <= 1:
            return factor * threshold / (1 - threshold + factor * threshold)  # the odds
        return factor * threshold

    if "equals" in test:
        agrees = abs(low - test["equals"]) <= half_digit(test["equals"]) * (1 + 1e-9)
        return "supported" if agrees else "contradicted"
    if "matters" in test and -factor * test["matters"] <= low <= high <= factor * test["matters"]:
        return "contradicted"
    if "between" in test:
        least, most = map(scaled, test["between"])
        inside, outside = least <= low and high <= most, high < least or low > most
    elif "above" in test:
        inside, outside = low > scaled(test["above"]), high <= scaled(test["above"])
    else:
        inside, outside = high < scaled(test["below"]), low >= scaled(test["below"])
    return "supported" if inside else "contradicted" if outside else "undecided"


def _what_would_decide(test: Mapping, values: Sequence, others: Sequence, mean: float) -> tuple[str, int]:
    """Why a comparison is undecided, and about how many seeds would decide if mean and spread stay (0: none)."""
    if len({_placed(test, mean, mean, factor) for factor in FACTORS}) > 1:
        odds = "half or at twice its odds" if _is_share(test) else "half or at twice its value"
        return f"it turns with our threshold at {odds}: no number of seeds would decide", 0
    if min(map(len, filter(None, (values, others)))) < 2:
        return f"one seed{'' if test.get('of') else ' has no interval'}: at least two are needed", 2
    spread = math.sqrt(sum(intervals.deviation(group) ** 2 for group in (values, others) if group))
    for n in range(len(values) + 1, 1001):
        half = intervals.quantile(n - 1) * spread / math.sqrt(n)
        low, high = _as_drawn(test, round(mean * test.get("of", 1) * n), n, mean - half, mean + half)
        words = {_placed(test, low, high, factor) for factor in FACTORS}
        if len(words) == 1 and "undecided" not in words:
            return f"about {n} seeds would decide", n
    return "more than 1,000 seeds would be needed", 0


def _is_share(test: Mapping) -> bool:
    return bool(test.get("of") or test.get("share")) and not test.get("against")
