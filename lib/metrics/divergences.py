"""Distances between two samples: KL and Jensen-Shannon divergence, earth mover's distance, maximum mean discrepancy.

Throughout, a (n, d) and b (m, d) are float arrays of independent points, drawn from p and q. The functions named
``report_…`` do what the author of CPSC 453 did under these names; notebook 06 shows what they actually measure.
"""

import os

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist
from scipy.special import logsumexp, rel_entr

os.environ.setdefault("POT_BACKEND_DISABLE_PYTORCH", "1")  # otherwise the import of ot takes seconds
import ot

Points = NDArray[np.float64]


# --- correct estimators ------------------------------------------------------------------------------------------


def kl_neighbours(a: Points, b: Points, k: int = 5) -> float:
    """KL(p ‖ q) in nats, estimated from nearest neighbours (Wang, Kulkarni & Verdú 2009, eq. 5).

    d/n Σ log(ν_k / ρ_k) + log(m / (n − 1)), where ρ_k and ν_k are the distances from a point of a to its k-th neighbour
    in a and in b. The estimate is consistent, but can be negative. Raises ValueError for repeated points, whose
    neighbours are at distance 0.
    """
    _check(a, b, at_least=k + 1)
    within = cKDTree(a).query(a, k + 1)[0][:, k]  # the nearest neighbour in a is the point itself
    across = cKDTree(b).query(a, k)[0].reshape(len(a), -1)[:, k - 1]
    if within.min() == 0 or across.min() == 0:
        raise ValueError(
            "some points occur more than once, and a distance of 0 says nothing about a density; remove duplicates"
        )
    return float(a.shape[1] * np.log(across / within).mean() + np.log(len(b) / (len(a) - 1)))


def kl_kernel(a: Points, b: Points, bandwidth: float | None = None) -> float:
    """KL(p ‖ q) in nats, from Gaussian kernel density estimates at the points of a.

    The estimate of p at a point leaves out the point itself. ``bandwidth`` is the kernel's standard deviation; by
    default it follows Scott's rule for each sample: spread · n^(−1/(d+4)).
    """
    _check(a, b, at_least=2)
    return float((_log_density(a, a, bandwidth, leave_out=True) - _log_density(a, b, bandwidth)).mean())


def js_kernel(a: Points, b: Points, bandwidth: float | None = None) -> float:
    """Jensen-Shannon divergence of p and q in nats, from the same kernel densities as ``kl_kernel``.

    Half the mean of log p/m at the points of a plus half that of log q/m at the points of b, where m = (p + q) / 2
    (Lin 1991). It never exceeds log 2, but an estimate can be slightly negative.
    """
    _check(a, b, at_least=2)
    halves = []
    for own, other in ((a, b), (b, a)):
        log_own = _log_density(own, own, bandwidth, leave_out=True)
        log_other = _log_density(own, other, bandwidth)
        halves.append(np.log(2) + (log_own - np.logaddexp(log_own, log_other)).mean())
    return float(np.mean(halves))


def _log_density(at: Points, sample: Points, bandwidth: float | None = None, leave_out: bool = False) -> Points:
    n, d = sample.shape
    h = bandwidth if bandwidth is not None else sample.std(axis=0, ddof=1).mean() * n ** (-1 / (d + 4))
    exponents = _squared_distances(at, sample) / (-2 * h**2)
    if leave_out:
        np.fill_diagonal(exponents, -np.inf)
    return logsumexp(exponents, axis=1) - np.log(n - leave_out) - d / 2 * np.log(2 * np.pi * h**2)


def emd(a: Points, b: Points) -> float:
    """Exact earth mover's distance (Wasserstein-1) with Euclidean ground distance, in the units of the data."""
    _check(a, b)
    return float(ot.emd2([], [], cdist(a, b), numItermax=10_000_000))


def sliced_emd(a: Points, b: Points, projections: int = 200, seed: int = 0) -> float:
    """Mean earth mover's distance of one-dimensional projections onto random directions (Bonneel et al. 2015)."""
    _check(a, b)
    return float(ot.sliced_wasserstein_distance(a, b, n_projections=projections, p=1, seed=seed))


def mmd(a: Points, b: Points, width: float | None = None) -> float:
    """Unbiased squared maximum mean discrepancy: 0 on average for equal distributions, so it can be negative.

    Gretton et al. 2012, eq. 3, with the Gaussian kernel exp(−‖x − y‖² / 2w²). By default, ``width`` w is the median
    distance between two points of the pooled sample.
    """
    _check(a, b, at_least=2)
    n, m = len(a), len(b)
    aa, bb, ab = (_squared_distances(x, y) for x, y in ((a, a), (b, b), (a, b)))
    if width is None:
        below = [squares[np.tri(len(squares), k=-1, dtype=bool)] for squares in (aa, bb)]  # each pair once
        width = _median_distance(np.concatenate([*below, ab.ravel()]))
    aa, bb, ab = (_sum_of_kernels(squares, width) for squares in (aa, bb, ab))
    aa, bb = aa - n, bb - m  # without the pairs of a point with itself, whose kernel is 1
    return float(aa / (n * (n - 1)) + bb / (m * (m - 1)) - 2 * ab / (n * m))


def mmd_test(
    a: Points, b: Points, permutations: int = 500, seed: int = 0, width: float | None = None
) -> tuple[float, float]:
    """(unbiased squared MMD, p-value); p is the share of random relabellings with at least as large an MMD.

    ``width`` as for ``mmd``; it is the same for every relabelling.
    """
    _check(a, b, at_least=2)
    n, m = len(a), len(b)
    pooled = np.concatenate([a, b])
    squares = _squared_distances(pooled, pooled)
    if width is None:
        width = _median_distance(squares[np.tri(n + m, k=-1, dtype=bool)])
    kernel = np.exp(squares * (-0.5 / width**2))
    np.fill_diagonal(kernel, 0)
    rng = np.random.default_rng(seed)
    chosen = np.zeros((n + m, permutations + 1))  # column 0: the true labels
    chosen[:n, 0] = 1
    for column in range(1, permutations + 1):
        chosen[rng.permutation(n + m)[:n], column] = 1
    to_chosen = kernel @ chosen
    aa, row_sums = (chosen * to_chosen).sum(0), to_chosen.sum(0)  # sums over pairs within a, and between a and all
    ab, total = row_sums - aa, kernel.sum()
    bb = total - aa - 2 * ab
    values = aa / (n * (n - 1)) + bb / (m * (m - 1)) - 2 * ab / (n * m)
    return float(values[0]), float((values >= values[0] - 1e-12).sum() / (permutations + 1))


# --- what the report computed ------------------------------------------------------------------------------------


def report_kl(a: Points, b: Points) -> float:
    """Not a divergence: compares p at the points of a with q at the points of b, paired by their position in the file.

    Each density is a Gaussian kernel estimate of bandwidth 1, evaluated at its own points and scaled to sum to 1.
    """
    p, q = (np.exp(_log_density(x, x, bandwidth=1.0)) for x in (a, b))
    return float(rel_entr(p / p.sum(), q / q.sum()).sum())


def report_emd(a: Points, b: Points) -> float:
    """One-dimensional earth mover's distance between histograms that pool all coordinates."""
    edges = np.histogram_bin_edges(np.concatenate([a.ravel(), b.ravel()]), bins="auto")
    p, q = (np.histogram(x, edges)[0] / x.size for x in (a, b))
    return float(np.abs(np.cumsum(p - q)).sum() * (edges[1] - edges[0]))


def report_mmd(a: Points, b: Points, width: float = 1.0) -> float:
    """Squared MMD with kernel width 1 that also pairs each point with itself (biased by about 1/n + 1/m)."""
    aa, bb, ab = (_sum_of_kernels(_squared_distances(x, y), width) for x, y in ((a, a), (b, b), (a, b)))
    return float(aa / len(a) ** 2 + bb / len(b) ** 2 - 2 * ab / (len(a) * len(b)))


def report_mmd_loops(a: Points, b: Points, width: float = 1.0) -> float:
    """``report_mmd`` as the report wrote it, one pair of points at a time."""

    def mean_kernel(x: Points, y: Points) -> float:
        total = 0.0
        for u in x:
            for v in y:
                total += np.exp(-0.5 * np.sum((u - v) ** 2) / width**2)
        return total / (len(x) * len(y))

    return float(mean_kernel(a, a) + mean_kernel(b, b) - 2 * mean_kernel(a, b))


# --- shared ------------------------------------------------------------------------------------------------------


def _squared_distances(a: Points, b: Points) -> Points:
    """‖x − y‖² (n, m) from one matrix product, clipped at 0."""
    squares = a @ (-2 * b.T)
    squares += np.square(a).sum(1)[:, None]
    squares += np.square(b).sum(1)
    return np.maximum(squares, 0, out=squares)


def _sum_of_kernels(squares: Points, width: float) -> float:
    """Σ exp(−squares / 2w²); overwrites ``squares``."""
    squares *= -0.5 / width**2
    return np.exp(squares, out=squares).sum()


def _median_distance(squares: Points) -> float:
    middle = len(squares) // 2
    median = float(np.partition(squares, middle)[middle]) ** 0.5  # half the time of np.median
    if not median:
        raise ValueError(
            "more than half of all pairs of points coincide, so their median distance, 0, is no kernel width"
        )
    return median


def _check(a: Points, b: Points, at_least: int = 1) -> None:
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise ValueError(f"need points (n, d) and (m, d) of the same dimension d; got {a.shape} and {b.shape}")
    if min(len(a), len(b)) < at_least:
        raise ValueError(f"need at least {at_least} points in each sample; got {len(a)} and {len(b)}")
