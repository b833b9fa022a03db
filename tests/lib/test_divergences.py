"""Estimators against closed forms, and properties that hold for any two samples."""

import numpy as np
import ot
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist, pdist
from sklearn.neighbors import KernelDensity

from lib.metrics import divergences as dv


def normal(n=1000, d=3, seed=0, sd=1.0, shift=0.0):
    return np.random.default_rng(seed).normal(size=(n, d)) * sd + shift


def samples(seed, n=40, m=40, d=3):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), rng.normal(1, 2, (m, d))


seeds = st.integers(0, 10_000)


# --- KL ----------------------------------------------------------------------------------------------------------


def kl_of_gaussians(sd_p, sd_q, shift, d):
    """KL(N(0, sd_p²) ‖ N(shift, sd_q²)) with the shift in every one of d coordinates."""
    return d * (np.log(sd_q / sd_p) + (sd_p**2 + shift**2) / (2 * sd_q**2) - 0.5)


ENOUGH = {dv.kl_neighbours: 3000, dv.kl_kernel: 1500}  # points; a kernel density takes time for every pair of them


@pytest.mark.parametrize("estimate", ENOUGH)
@pytest.mark.parametrize(("sd_q", "shift", "tolerance"), [(1, 0, 0.08), (1, 0.6, 0.12), (2, 0, 0.2), (1.5, 0.5, 0.15)])
def test_kl_of_gaussians(estimate, sd_q, shift, tolerance):
    n = ENOUGH[estimate]
    p, q = normal(n, 2), normal(n, 2, seed=1, sd=sd_q, shift=shift)
    assert estimate(p, q) == pytest.approx(kl_of_gaussians(1, sd_q, shift, 2), abs=tolerance)


@pytest.mark.parametrize("estimate", ENOUGH)
def test_kl_is_not_symmetric_and_its_direction_is_right(estimate):
    narrow, wide = normal(ENOUGH[estimate], 2), normal(ENOUGH[estimate], 2, seed=1, sd=1.5)
    assert estimate(narrow, wide) == pytest.approx(kl_of_gaussians(1, 1.5, 0, 2), abs=0.06)  # 0.26
    assert estimate(wide, narrow) > estimate(narrow, wide)  # 0.44, hard to reach from samples


def test_kl_of_uniform_and_normal_as_in_notebook_06():
    rng = np.random.default_rng(0)
    truth = 0.5 + 1.5 * np.log(np.pi / 2)
    for sigma in (1, 3):
        cube, gauss = rng.uniform(-sigma, sigma, (3000, 3)), rng.normal(0, sigma, (3000, 3))
        assert dv.kl_neighbours(cube, gauss) == pytest.approx(truth, abs=0.2)


def test_kl_scales_with_the_dimension():
    assert dv.kl_neighbours(normal(3000, 1), normal(3000, 1, seed=1, sd=2)) == pytest.approx(0.318, abs=0.1)
    assert dv.kl_neighbours(normal(3000, 4), normal(3000, 4, seed=1, sd=2)) == pytest.approx(4 * 0.318, abs=0.25)


@pytest.mark.parametrize(("n", "m"), [(40, 150), (150, 40)])
@pytest.mark.parametrize("k", [1, 5])
def test_kl_by_neighbours_is_its_formula_for_samples_of_any_two_sizes(n, m, k):
    """Wang, Kulkarni & Verdú 2009, eq. 5."""
    a, b = samples(4, n=n, m=m, d=2)
    within = np.sort(cdist(a, a), axis=1)[:, k]  # column 0 is the point itself
    across = np.sort(cdist(a, b), axis=1)[:, k - 1]
    expected = 2 / n * np.log(across / within).sum() + np.log(m / (n - 1))
    assert dv.kl_neighbours(a, b, k) == pytest.approx(expected)


def test_kl_by_neighbours_does_not_depend_on_how_many_points_each_sample_has():
    few, many = normal(300, 2), normal(3000, 2, seed=1)
    assert dv.kl_neighbours(few, many) == pytest.approx(0, abs=0.2)
    assert dv.kl_neighbours(many, few) == pytest.approx(0, abs=0.2)


def test_each_kernel_density_integrates_to_1_whatever_its_bandwidth():
    """By Scott's rule the two samples have different bandwidths, so the constants before the kernels do not cancel."""
    a, b = samples(3, n=40, m=60)
    assert dv.kl_kernel(a, b) == pytest.approx(kl_of_densities(a, b, *map(scott, (a, b))))
    x = np.linspace(-8, 8, 4001)[:, None]
    for bandwidth in (None, 0.2, 2.0):
        assert np.exp(dv._log_density(x, normal(50, 1), bandwidth)).sum() * 16 / 4000 == pytest.approx(1, abs=1e-3)


def scott(x):
    return x.std(axis=0, ddof=1).mean() * len(x) ** (-1 / (x.shape[1] + 4))


def kl_of_densities(a, b, bandwidth_a, bandwidth_b):
    """As ``kl_kernel``, with scikit-learn's densities."""
    log_q = KernelDensity(bandwidth=bandwidth_b).fit(b).score_samples(a)
    rest = [KernelDensity(bandwidth=bandwidth_a).fit(np.delete(a, i, 0)) for i in range(len(a))]
    return np.mean([p.score_samples(a[[i]])[0] for i, p in enumerate(rest)] - log_q)


def test_kernel_density_is_that_of_scikit_learn():
    a, b = samples(3)
    assert dv.kl_kernel(a, b, bandwidth=0.7) == pytest.approx(kl_of_densities(a, b, 0.7, 0.7))


def test_repeated_points_are_refused():
    a = np.repeat(normal(20), 6, axis=0)
    with pytest.raises(ValueError, match="occur more than once"):
        dv.kl_neighbours(a, normal(50))


# --- Jensen-Shannon ----------------------------------------------------------------------------------------------


def js_of_gaussians(shift):
    """JS of N(0, 1) and N(shift, 1); in more dimensions it is the same, because only the shifted one matters."""
    x = np.linspace(-12, 12 + shift, 20_001)
    p, q = (np.exp(-((x - mean) ** 2) / 2) / np.sqrt(2 * np.pi) for mean in (0, shift))
    integrand = (p * np.log(2 * p / (p + q)) + q * np.log(2 * q / (p + q))) / 2
    return np.nansum(integrand) * (x[1] - x[0])


@pytest.mark.parametrize(("shift", "d"), [(0, 1), (1, 1), (1, 2), (3, 1)])
def test_js_of_gaussians(shift, d):
    b = normal(1500, d, seed=1)
    b[:, 0] += shift
    assert dv.js_kernel(normal(1500, d), b) == pytest.approx(js_of_gaussians(shift), abs=0.03)


@given(seeds, st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_js_is_at_most_log_2(seed, shift):
    a, b = samples(seed)
    assert dv.js_kernel(a, b + shift) <= np.log(2) + 1e-12


def test_js_of_samples_far_apart_is_log_2():
    a, b = samples(0)
    assert dv.js_kernel(a, b + 1000) == pytest.approx(np.log(2))


# --- EMD ---------------------------------------------------------------------------------------------------------


def test_emd_of_point_masses():
    assert dv.emd(np.array([[0.0, 0.0]]), np.array([[3.0, 4.0]])) == pytest.approx(5)
    a, b = np.array([[0.0], [10.0]]), np.array([[1.0], [13.0]])
    assert dv.emd(a, b) == pytest.approx((1 + 3) / 2)
    assert dv.emd(np.array([[0.0]]), np.array([[1.0], [3.0]])) == pytest.approx(2), "half of the mass each way"


def test_emd_of_a_shifted_sample_is_the_shift():
    a = normal(200)
    assert dv.emd(a, a + np.array([1.0, 2.0, 2.0])) == pytest.approx(3)


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_emd_is_the_best_assignment(seed):
    a, b = samples(seed)
    cost = cdist(a, b)
    rows, columns = linear_sum_assignment(cost)
    assert dv.emd(a, b) == pytest.approx(cost[rows, columns].mean())


@given(seeds, st.floats(0.1, 10))
@settings(max_examples=20, deadline=None)
def test_emd_is_a_metric_with_the_unit_of_the_data(seed, scale):
    a, b = samples(seed, m=25)
    c = samples(seed + 1)[0]
    assert dv.emd(a, a) == pytest.approx(0, abs=1e-12)
    assert dv.emd(a, b) == pytest.approx(dv.emd(b, a))
    assert dv.emd(a, b) <= dv.emd(a, c) + dv.emd(c, b) + 1e-9
    assert dv.emd(scale * a, scale * b) == pytest.approx(scale * dv.emd(a, b))


def test_sliced_emd():
    a = normal(300)
    shift = np.array([0.0, 0.0, 2.0])
    # a projection on a random direction of three-dimensional space keeps half of a shift on average
    assert dv.sliced_emd(a, a + shift, projections=4000) == pytest.approx(1, abs=0.05)
    assert dv.sliced_emd(a[:, :1], a[:, :1] + 2) == pytest.approx(2)
    assert dv.sliced_emd(a, a + shift, seed=1) == dv.sliced_emd(a, a + shift, seed=1)
    assert dv.sliced_emd(a, a + shift, seed=1) != dv.sliced_emd(a, a + shift, seed=2)


# --- MMD ---------------------------------------------------------------------------------------------------------


def mmd_by_hand(a, b, width, biased):
    def k(x, y):
        return np.exp(-sum((u - v) ** 2 for u, v in zip(x, y, strict=True)) / (2 * width**2))

    def mean(x, y, same):
        pairs = [(i, j) for i in range(len(x)) for j in range(len(y)) if biased or not same or i != j]
        return sum(k(x[i], y[j]) for i, j in pairs) / len(pairs)

    return mean(a, a, True) + mean(b, b, True) - 2 * mean(a, b, False)


@given(seeds, st.floats(0.3, 5))
@settings(max_examples=15, deadline=None)
def test_mmd_by_its_definition(seed, width):
    a, b = samples(seed, n=12, m=9)
    assert dv.mmd(a, b, width) == pytest.approx(mmd_by_hand(a, b, width, biased=False), abs=1e-10)
    assert dv.report_mmd(a, b, width) == pytest.approx(mmd_by_hand(a, b, width, biased=True), abs=1e-10)
    assert dv.report_mmd_loops(a, b, width) == pytest.approx(dv.report_mmd(a, b, width), abs=1e-10)


def test_default_width_is_the_median_distance():
    a, b = samples(5, m=30)
    assert dv.mmd(a, b) == pytest.approx(dv.mmd(a, b, np.median(pdist(np.concatenate([a, b])))))


def test_mmd_of_equal_samples():
    a = normal(100)
    assert dv.report_mmd(a, a) == pytest.approx(0, abs=1e-12)
    assert dv.mmd(a, a) < 0, "without the pairs of a point with itself it errs below zero here"


def test_mmd_of_gaussians():
    width, shift, d = 1.5, 1.0, 3
    truth = 2 * (width**2 / (width**2 + 2)) ** (d / 2) * (1 - np.exp(-d * shift**2 / (2 * width**2 + 4)))
    values = [dv.mmd(normal(500, d, seed), normal(500, d, seed + 99, shift=shift), width) for seed in range(10)]
    assert np.mean(values) == pytest.approx(truth, abs=0.01)


def test_mmd_is_unbiased():
    values = [dv.mmd(normal(50, 3, seed), normal(50, 3, seed + 1000), width=1) for seed in range(200)]
    biased = [dv.report_mmd(normal(50, 3, seed), normal(50, 3, seed + 1000)) for seed in range(200)]
    assert abs(np.mean(values)) < 4 * np.std(values) / 200**0.5
    assert np.mean(biased) > 0.02, "the biased one is about 1/n + 1/m too large"


def test_permutation_test():
    value, p = dv.mmd_test(*samples(0), permutations=300)
    assert dv.mmd_test(*samples(0), 9, width=1.3)[0] == pytest.approx(dv.mmd(*samples(0), width=1.3))
    assert value == pytest.approx(dv.mmd(*samples(0)))
    assert p == pytest.approx(1 / 301)
    close = normal(40, 2), normal(30, 2, seed=1, shift=0.3)
    assert dv.mmd_test(*close, permutations=99) == dv.mmd_test(*close, permutations=99)
    assert len({dv.mmd_test(*close, permutations=99, seed=seed)[1] for seed in range(5)}) > 1
    same = [dv.mmd_test(normal(40, 2, s), normal(30, 2, s + 500), permutations=99)[1] for s in range(60)]
    assert 0.3 < np.mean(same) < 0.7, "p is uniform for equal distributions"
    assert np.mean([p <= 0.1 for p in same]) < 0.3


# --- for all -----------------------------------------------------------------------------------------------------

SYMMETRIC = [dv.js_kernel, dv.emd, dv.mmd, dv.report_mmd, dv.report_emd]
EVERY = [*SYMMETRIC, dv.kl_neighbours, dv.kl_kernel]


@pytest.mark.parametrize("measure", SYMMETRIC)
@given(seeds)
@settings(max_examples=10, deadline=None)
def test_symmetry(measure, seed):
    a, b = samples(seed)
    assert measure(a, b) == pytest.approx(measure(b, a), abs=1e-10)


@pytest.mark.parametrize("measure", EVERY)
@given(seeds)
@settings(max_examples=10, deadline=None)
def test_order_place_and_direction_do_not_matter(measure, seed):
    a, b = samples(seed)
    rng = np.random.default_rng(seed)
    assert measure(rng.permutation(a), rng.permutation(b)) == pytest.approx(measure(a, b), abs=1e-9)
    moved = measure(a + 2.0, b + 2.0)
    assert moved == pytest.approx(measure(a, b), abs=1e-6 if measure is not dv.report_emd else 0.2)
    if measure is not dv.report_emd:  # which looks at coordinates, not at points
        turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        loose = 0.2 if measure in (dv.kl_kernel, dv.js_kernel) else 1e-6  # its bandwidth comes from the coordinates
        assert measure(a @ turn, b @ turn) == pytest.approx(measure(a, b), abs=loose)


@pytest.mark.parametrize("measure", [dv.emd, dv.sliced_emd, dv.report_mmd, dv.report_emd, dv.report_kl])
@given(seeds)
@settings(max_examples=10, deadline=None)
def test_not_negative(measure, seed):
    assert measure(*samples(seed)) >= 0


CHECKED = [dv.emd, dv.sliced_emd, dv.mmd, dv.mmd_test, dv.kl_neighbours, dv.kl_kernel, dv.js_kernel]


@pytest.mark.parametrize("measure", CHECKED)
def test_shapes_are_checked(measure):
    with pytest.raises(ValueError, match=r"the same dimension d; got \(5, 2\) and \(5, 3\)"):
        measure(normal(5, 2), normal(5, 3))
    with pytest.raises(ValueError, match="the same dimension d"):
        measure(np.zeros(5), np.zeros(5))


@pytest.mark.parametrize("measure", [dv.mmd, dv.mmd_test])
def test_points_that_coincide_have_no_median_distance(measure):
    with pytest.raises(ValueError, match="no kernel width"):
        measure(np.zeros((5, 2)), np.zeros((5, 2)))


# --- the report's ------------------------------------------------------------------------------------------------


def test_report_kl_pairs_points_by_their_order():
    a, b = normal(200), normal(200, seed=1)
    assert dv.report_kl(a, a) == pytest.approx(0)
    assert dv.report_kl(a, b) > 0.05, "two samples of one distribution"
    assert dv.report_kl(a, b[::-1]) != pytest.approx(dv.report_kl(a, b), abs=1e-3)
    far = 1000 * a, 1000 * b  # every point alone: all densities equal
    assert dv.report_kl(*far) == pytest.approx(0, abs=1e-6)
    assert dv.report_mmd(*far) == pytest.approx(2 / 200)


def test_report_kl_is_scipy_entropy_of_kernel_densities():
    from scipy.stats import entropy

    a, b = samples(1)
    p, q = (np.exp(KernelDensity(bandwidth=1.0).fit(x).score_samples(x)) for x in (a, b))
    assert dv.report_kl(a, b) == pytest.approx(entropy(p, q))


def test_report_emd_is_one_dimensional():
    a, b = normal(2000), np.random.default_rng(1).uniform(-1, 1, (2000, 3))
    assert dv.report_emd(a, b) == pytest.approx((2 / np.pi) ** 0.5 - 0.5, abs=0.03)
    pooled = ot.emd2_1d(a.ravel(), b.ravel(), metric="euclidean")
    assert dv.report_emd(a, b) == pytest.approx(pooled, abs=0.03)
    assert dv.report_emd(a, a[:, [2, 0, 1]]) == 0, "blind to which coordinate is which"
