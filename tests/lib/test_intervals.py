"""Intervals over seeds against closed forms and simulation."""

import math
import random
import statistics

import numpy as np
import pytest
from scipy.stats import beta, betabinom, t, ttest_ind

from lib.metrics.intervals import (
    count_prediction,
    dispersion,
    high,
    interval,
    interval_text,
    low,
    pool,
    prediction,
    share_interval,
    spread,
)


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


def test_equal_runs_have_no_width_unless_they_are_whole_numbers():
    assert interval([2.0, 2.0, 2.0]) == (2.0, 2.0)
    assert interval([2, 2, 2]) == pytest.approx((2 - 0.717109, 2 + 0.717109), abs=1e-6)  # s = 1/√12


def test_the_difference_of_two_groups_is_that_of_welch():
    a, b = [1.0, 1.2, 0.9, 1.4], [0.3, 0.1, 0.8]
    expected = ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    assert interval(a, b) == pytest.approx((expected.low, expected.high))
    assert interval(a, [0.5]) == (-math.inf, math.inf)


def test_a_prediction_holds_one_further_run_in_19_of_20_cases():
    draw = random.Random(0)
    inside = []
    for _ in range(4000):
        ends = prediction([draw.gauss(3, 2) for _ in range(4)])
        inside.append(ends[0] < draw.gauss(3, 2) < ends[1])
    assert statistics.fmean(inside) == pytest.approx(0.95, abs=0.012)


def test_a_prediction_takes_a_pooled_spread_and_stays_possible():
    half = t.ppf(0.975, 28) * 0.001 * math.sqrt(1 + 1 / 3)
    assert prediction([0.97, 0.98, 0.99], pooled=(0.001, 28)) == pytest.approx((0.98 - half, 0.98 + half))
    assert prediction([0.98], pooled=(0.001, 28))[0] == pytest.approx(0.98 - t.ppf(0.975, 28) * 0.001 * math.sqrt(2))
    assert prediction([0.99, 1.0], possible=[0, 1])[1] == 1
    assert prediction([0.01, 0.0], possible=[0])[0] == 0
    with pytest.raises(ValueError, match="needs two runs or more, got 1"):
        prediction([0.98])


def test_spreads_are_pooled_over_groups_where_they_are_alike():
    s, degrees = pool([[1.0, 2.0, 3.0], [5.0, 7.0, 9.0, 7.0]])
    assert (s, degrees) == pytest.approx((math.sqrt((2 * 1 + 3 * 8 / 3) / 5), 5))
    assert pool([[1.0, 1.001, 0.999], [1.0, 90.0, -90.0]]) is None, "Bartlett's test"
    assert pool([[1.0, 1.0], [1.0, 2.0]]) is None, "no spread at all is not alike"
    assert pool([[1.0, 2.0]]) is None, "one group is no pool"
    assert pool([[16, 21, 17], [24, 21, 29]])[1] == 4, "counts, too"


def test_counts_of_a_further_run_are_inside_in_at_least_19_of_20_cases():
    draw = np.random.default_rng(0)
    for share in (0.002, 0.2):
        inside = []
        for _ in range(200):
            *counts, further = draw.binomial(1000, share, 4).tolist()
            ends = count_prediction(counts, 1000, 1000)
            inside.append(ends[0] <= further <= ends[1])
        assert statistics.fmean(inside) > 0.93


def test_no_count_among_all_draws_leaves_room_for_one():
    ends = count_prediction([0, 0, 0], 1000, 1000)
    assert ends[0] == 0
    assert 1 <= ends[1] < 5
    assert count_prediction([1000, 1000], 1000, 500)[1] == 500


def test_runs_that_scatter_more_than_their_draws_count_as_fewer_draws():
    assert dispersion([[430, 440, 450]], 1000) == 1
    assert dispersion([[0, 0, 0]], 1000) == 1
    assert dispersion([[475, 500, 525]], 1000) == 1 < dispersion([[470, 500, 530]], 1000), "p = 0.08 and 0.03"
    counts = [300, 440, 580]
    share = sum(counts) / 3000
    square = sum((k - 1000 * share) ** 2 for k in counts) / (1000 * share * (1 - share))
    expected = square / 2 * (t.ppf(0.975, 2) / 1.959964) ** 2
    assert dispersion([counts], 1000) == pytest.approx(expected, rel=1e-5)
    ends = count_prediction([500, 500], 1000, 1000, excess=100)  # as if 10 of 20 draws, and 10 further ones
    law = betabinom(10, 10.5, 10.5)
    assert ends == pytest.approx((100 * law.ppf(0.025) - 50, 100 * law.ppf(0.975) + 50)), "one draw stands for 100"
    wide, narrow = (count_prediction(counts, 1000, 1000, excess=e) for e in (expected, 1))
    assert wide[1] - wide[0] > 3 * (narrow[1] - narrow[0])


def test_seeds_that_scatter_hold_one_further_seed_in_about_19_of_20_cases():
    draw = np.random.default_rng(0)
    inside = []
    for _ in range(200):
        *counts, further = draw.binomial(1000, draw.beta(8, 32, 6)).tolist()
        ends = count_prediction(counts, 1000, 1000, excess=dispersion([counts], 1000))
        inside.append(ends[0] <= further <= ends[1])
    assert 0.91 < statistics.fmean(inside) < 0.995


def test_the_interval_of_a_share_is_that_of_jeffreys():
    assert share_interval(3, 10) == pytest.approx((beta.ppf(0.025, 3.5, 7.5), beta.ppf(0.975, 3.5, 7.5)))
    assert share_interval(0, 10)[0] == 0
    assert share_interval(10, 10)[1] == 1


def test_the_text_says_mean_spread_and_how_many():
    assert spread([1.0, 2.0, 3.0], digits=1) == "2.0 ± 1.0 (n = 3)"
    assert spread([0.25], digits=2) == "0.25 (n = 1)"
    assert interval_text([1.0, 2.0, 3.0], digits=1) == "−0.5 to 4.5"
    assert interval_text([0.25]) == "unknown from one run"


def test_spreads_are_pooled_unless_bartletts_test_rejects_at_5_percent():
    alike, apart = ([[0.0, 1.0, 2.0, 3.0], [0.0, k, 2 * k, 3 * k]] for k in (3.0, 5.0))  # p = 0.11 and 0.03
    assert pool(alike) == pytest.approx((math.sqrt((5 / 3 + 15) / 2), 6))
    assert pool(apart) is None
