"""Statistics over several seeds: the mean over runs, and its uncertainty."""

import math
import statistics
from collections.abc import Sequence


def interval(values: Sequence[float]) -> tuple[float, float]:
    """95 % confidence interval (low, high) of the mean over independent runs, by Student's t.

    One run says nothing about the spread: its interval is (−∞, ∞). Raises ValueError if there are no runs.
    """
    if not values:
        raise ValueError("an interval needs the value of at least one run")
    if len(values) == 1:
        return -math.inf, math.inf
    from scipy.stats import t  # the import takes most of a second

    half = float(t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / math.sqrt(len(values))
    mean = statistics.fmean(values)
    return mean - half, mean + half


def low(values: Sequence[float]) -> float:
    """Lower end of the 95 % confidence interval of the mean."""
    return interval(values)[0]


def high(values: Sequence[float]) -> float:
    """Upper end of the 95 % confidence interval of the mean."""
    return interval(values)[1]


def spread(values: Sequence[float], digits: int = 4) -> str:
    """Mean ± standard deviation and number of runs, as text: "0.0315 ± 0.0002 (n = 5)"."""
    if len(values) == 1:
        return f"{values[0]:.{digits}f} (n = 1)"
    return f"{statistics.fmean(values):.{digits}f} ± {statistics.stdev(values):.{digits}f} (n = {len(values)})"


def interval_text(values: Sequence[float], digits: int = 2) -> str:
    """The 95 % confidence interval of the mean as text: "−0.16 to 0.78"."""
    if len(values) == 1:
        return "unknown from one run"
    return " to ".join(f"{end:.{digits}f}" for end in interval(values)).replace("-", "−")
