"""Intervals over seeds against closed forms and simulation."""

import math
import random
import statistics

import pytest

from lib.metrics.intervals import high, interval, interval_text, low, spread


def test_the_interval_of_two_runs_is_that_of_students_t_with_one_degree_of_freedom():
    # t(0.975, 1) = tan(0.475 π) = 12.7062; the standard error of (0, 2) is 1
    assert interval([0.0, 2.0]) == pytest.approx((1 - math.tan(0.475 * math.pi), 1 + math.tan(0.475 * math.pi)))


def test_the_interval_covers_the_true_mean_in_19_of_20_cases():
    draw = random.Random(0)
    hits = [low(x) < 3 < high(x) for x in ([draw.gauss(3, 2) for _ in range(5)] for _ in range(4000))]
    assert statistics.fmean(hits) == pytest.approx(0.95, abs=0.012)


def test_one_run_claims_nothing():
    assert interval([0.5]) == (-math.inf, math.inf)


def test_no_run_is_an_error():
    with pytest.raises(ValueError, match="at least one run"):
        interval([])


def test_equal_runs_have_no_width():
    assert interval([2.0, 2.0, 2.0]) == (2.0, 2.0)


def test_the_text_says_mean_spread_and_how_many():
    assert spread([1.0, 2.0, 3.0], digits=1) == "2.0 ± 1.0 (n = 3)"
    assert spread([0.25], digits=2) == "0.25 (n = 1)"
    assert interval_text([1.0, 2.0, 3.0], digits=1) == "−0.5 to 4.5"
    assert interval_text([0.25]) == "unknown from one run"
