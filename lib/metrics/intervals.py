"""Statistics over several seeds: the mean over runs, one further run, and counts among random draws.

Intervals hold 95 % unless ``level``, the share outside, says otherwise. scipy is imported where it is used: that takes
most of a second.
"""

import math
import statistics
from collections.abc import Iterable, Sequence
from functools import cache

WHOLE = 1 / math.sqrt(12)  # standard deviation of what rounding to whole numbers hides


def interval(values: Sequence[float], others: Sequence[float] = ()) -> tuple[float, float]:
    """Confidence interval (low, high) of the mean over independent runs, by Student's t.

    With ``others``, of the difference of the two means, by Welch's t. Whole numbers that are all equal scatter by less
    than one. One run says nothing about the spread: its interval is (−∞, ∞). Raises ValueError if there are no runs.
    """
    if not values:
        raise ValueError("an interval needs the value of at least one run")
    groups = [group for group in (values, others) if group]
    if min(map(len, groups)) == 1:
        return -math.inf, math.inf
    mean = statistics.fmean(values) - (statistics.fmean(others) if others else 0)
    errors = [deviation(group) ** 2 / len(group) for group in groups]
    if not (error := sum(errors)):
        return mean, mean
    degrees = error**2 / sum(e**2 / (len(group) - 1) for e, group in zip(errors, groups, strict=True))
    half = quantile(degrees) * math.sqrt(error)
    return mean - half, mean + half


def prediction(
    values: Sequence[float],
    level: float = 0.05,
    *,
    pooled: tuple[float, int] | None = None,
    possible: Sequence[float] = (-math.inf, math.inf),
) -> tuple[float, float]:
    """Interval that holds one further run with probability 1 − ``level``: mean ± t · s · √(1 + 1/n).

    ``pooled`` is (s, its degrees of freedom) from runs of the same kind; without it two runs or more are needed, or
    ValueError is raised. Values lie between the ends of ``possible``, of which the upper one may be left out.
    """
    n = len(values)
    if not n or (n < 2 and pooled is None):
        raise ValueError(f"an interval needs two runs or more, got {n}: record one value per seed with runs=")
    s, degrees = pooled or (deviation(values), n - 1)
    mean, half = statistics.fmean(values), quantile(degrees, level) * s * math.sqrt(1 + 1 / n)
    return max(mean - half, possible[0]), min(mean + half, *possible[1:], math.inf)


def deviation(values: Sequence[float]) -> float:
    """Standard deviation of two or more values; of whole numbers (int) that are all equal, 1/√12.

    Raises ValueError for fewer values, and for values that are not finite.
    """
    if len(values) < 2 or not all(map(math.isfinite, values)):
        raise ValueError(f"values must be two or more finite numbers, got {list(values)}")
    return statistics.stdev(values) or (WHOLE if all(isinstance(value, int) for value in values) else 0.0)


@cache
def quantile(degrees: float, level: float = 0.05) -> float:
    """Student's t: how many standard errors hold 1 − ``level``. Raises ValueError where there is no such number."""
    if not (degrees > 0 and 0 <= level <= 1):
        raise ValueError(f"degrees must be above 0, and level between 0 and 1; got {degrees} and {level}")
    from scipy.stats import t

    return float(t.ppf(1 - level / 2, degrees))


def pool(groups: Iterable[Sequence[float]]) -> tuple[float, int] | None:
    """(standard deviation, degrees of freedom) of groups whose spreads are alike; None where that cannot be said.

    Spreads are alike if Bartlett's test does not reject it at 5 %. A group of one, or one without spread, forbids it.
    """
    groups = [list(map(float, group)) for group in groups]
    if len(groups) < 2 or any(len(g) < 2 or len(set(g)) < 2 for g in groups):
        return None
    from scipy.stats import bartlett

    if bartlett(*groups).pvalue < 0.05:
        return None
    degrees = sum(len(g) - 1 for g in groups)
    return math.sqrt(sum((len(g) - 1) * statistics.variance(g) for g in groups) / degrees), degrees


def dispersion(counts: Sequence[Sequence[int]], draws: int) -> float:
    """By how much runs scatter more than binomially: as if every run had that many times fewer draws.

    ``counts`` holds, for each quantity, its count in every run, among ``draws`` draws a run. 1 if a χ² test finds no
    more scatter than the draws explain, at 5 %; else χ² over its degrees of freedom, times what Student's t demands
    beyond the normal distribution because so few runs tell the scatter.
    """
    square, degrees = 0.0, 0
    for runs in counts:
        _check_counts(runs, draws)
        share = sum(runs) / (len(runs) * draws)
        if 0 < share < 1:
            square += sum((k - share * draws) ** 2 for k in runs) / (draws * share * (1 - share))
            degrees += len(runs) - 1
    from scipy.stats import chi2

    if not degrees or chi2.sf(square, degrees) >= 0.05:
        return 1.0
    return max(1.0, square / degrees * (quantile(degrees) / quantile(math.inf)) ** 2)


def count_prediction(
    counts: Sequence[int], draws: int, further: int, level: float = 0.05, *, excess: float = 1.0
) -> tuple[float, float]:
    """Interval for the count in one further run of ``further`` draws, after ``counts`` in runs of ``draws`` each.

    A binomial with Jeffreys' prior (Beta(½, ½)) for its share. ``excess`` is the ``dispersion`` of the runs.
    """
    _check_counts(counts, draws)
    from scipy.stats import betabinom

    hits, size = sum(counts) / excess, max(1, round(further / excess))
    law = betabinom(size, hits + 0.5, len(counts) * draws / excess - hits + 0.5)
    step = 0.5 if excess > 1 else 0.0  # one of fewer draws stands for several
    low, high = law.ppf(level / 2) - step, law.ppf(1 - level / 2) + step
    return max(0.0, low * further / size), min(float(further), high * further / size)


def share_interval(count: float, draws: int) -> tuple[float, float]:
    """95 % interval of a share, from ``count`` among random ``draws``, by Jeffreys' prior."""
    _check_counts([count], draws)
    from scipy.stats import beta

    law = beta(count + 0.5, draws - count + 0.5)
    return (float(law.ppf(0.025)) if count else 0.0, float(law.ppf(0.975)) if count < draws else 1.0)


def _check_counts(counts: Sequence[float], draws: int) -> None:
    if not (draws >= 1 and all(0 <= count <= draws for count in counts)):
        raise ValueError(f"counts must lie between 0 and draws, which is 1 or more; got {list(counts)} among {draws}")


def low(values: Sequence[float]) -> float:
    """Lower end of the 95 % confidence interval of the mean."""
    return interval(values)[0]


def high(values: Sequence[float]) -> float:
    """Upper end of the 95 % confidence interval of the mean."""
    return interval(values)[1]


def spread(values: Sequence[float], digits: int = 4) -> str:
    """Mean ± standard deviation and number of runs, as text: "0.0315 ± 0.0002 (n = 5)"."""
    if not all(map(math.isfinite, values)):
        raise ValueError(f"values must be finite numbers, got {list(values)}")
    if len(values) == 1:
        return f"{values[0]:.{digits}f} (n = 1)"
    return f"{statistics.fmean(values):.{digits}f} ± {statistics.stdev(values):.{digits}f} (n = {len(values)})"


def interval_text(values: Sequence[float], digits: int = 2) -> str:
    """The 95 % confidence interval of the mean as text: "−0.16 to 0.78"."""
    if len(values) == 1:
        return "unknown from one run"
    return " to ".join(f"{end:.{digits}f}" for end in interval(values)).replace("-", "−")
