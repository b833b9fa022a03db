"""Exercises of chapter 06: a divergence in closed form, transport on the line, an unbiased MMD, and Sinkhorn's plan."""

import math

import torch

from workbook.exercises.engine import Exercise


def _kl_gaussians(mean_p, sd_p, mean_q, sd_q):
    """KL(p ‖ q) in nats of two normal distributions on the line."""
    square = sd_p**2 + (mean_p - mean_q) ** 2
    return math.log(sd_q / sd_p) + square / (2 * sd_q**2) - 1 / 2


def _emd_1d(a, b):
    """The earth mover's distance of two samples (n,) of equal size."""
    ways = a.msort() - b.msort()
    return ways.abs().mean()


def _mmd_unbiased(aa, bb, ab):
    """The unbiased squared MMD, from kernel matrices (n, n), (m, m) and (n, m)."""
    inside = [(k.sum() - k.trace()) / (len(k) * (len(k) - 1)) for k in (aa, bb)]
    return sum(inside) - 2 * ab.mean()


def _sinkhorn(cost, p, q, epsilon, rounds=500):
    """The plan (n, m): what goes from each of n heaps with the masses p to each of m places with the masses q."""
    log_k, log_v = -cost / epsilon, torch.zeros_like(q)
    log_u = torch.zeros_like(p)
    for _ in range(rounds):
        log_u = p.log() - (log_k + log_v).logsumexp(1)
        log_v = q.log() - (log_k.T + log_u).logsumexp(1)
    return (log_u[:, None] + log_k + log_v).exp()


PAIRS = (0.0, 1.0, 2.0, 3.0), (1.0, 2.0, 0.0, 0.5), (0.0, 1.0, 3.0, 1.0), (1.0, 2.0, 1.0, 2.0)
SAMPLES = (
    ([3.0, 0.0, 1.0, 7.0], [2.0, 9.0, 1.5, 0.5]),
    ([-1.0, 1.0], [-2.0, 2.0]),
    ([3.0, 0.0, 1.0, 7.0], [6.0, 3.0, 4.0, 10.0]),
)
A, B = torch.tensor([0.0, 1.0, 1.5]), torch.tensor([0.5, 3.0, 3.5, 4.0])
AA, BB, AB = (torch.exp(-((x[:, None] - y) ** 2) / 2) for x, y in ((A, A), (B, B), (A, B)))
HEAPS, PLACES, COST = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.1, 0.2, 0.3, 0.4]), (A[:, None] - B).abs()

EXERCISES = {
    "06.1": Exercise(
        _kl_gaussians,
        cases={
            f"From p with mean {m:g} and sd {s:g} to q with mean {n:g} and sd {t:g}, the divergence": (m, s, n, t)
            for m, s, n, t in PAIRS
        },
        mistakes={
            "That is KL(q ‖ p): the mean is taken under p.": (
                "(mean_p, sd_p, mean_q, sd_q):",
                "(mean_q, sd_q, mean_p, sd_p):",
            ),
            "That is in bits. Take natural logarithms.": lambda *given: _kl_gaussians(*given) / math.log(2),
            "The sign is wrong.": lambda *given: -_kl_gaussians(*given),
            "The term −1/2 is missing.": (" - 1 / 2", ""),
            "The means differ as well: add (mean_p − mean_q)² to the variance of p.": (" + (mean_p - mean_q) ** 2", ""),
            "Those are standard deviations. Above the line stand their squares.": ("sd_p**2", "sd_p"),
            "Those are standard deviations. Below the line stands 2 sd_q².": ("sd_q**2", "sd_q"),
        },
        notice="With equal standard deviations it is the squared shift over twice the variance, as in the chapter. For "
        "equal means, a wide p and a narrow q give the larger of the two directions.",
    ),
    "06.2": Exercise(
        _emd_1d,
        cases={f"For the samples {a} and {b}, the distance": (torch.tensor(a), torch.tensor(b)) for a, b in SAMPLES},
        mistakes={
            "You pair the points as they stand. Sort both samples first.": ("a.msort() - b.msort()", "a - b"),
            "That is the sum of the ways. Take their mean: each point carries 1/n of the mass.": ("mean()", "sum()"),
            "That is the mean of the squared ways. Wasserstein-1 takes their length.": ("abs()", "square()"),
            "That is the root of the mean square: Wasserstein-2.": ("abs().mean()", "square().mean().sqrt()"),
            "That is the difference of the means. Opposite ways do not cancel.": ("abs().mean()", "mean().abs()"),
            "That is the mean of all pairs. Each point goes to one other.": lambda a, b: (a[:, None] - b).abs().mean(),
        },
        notice="Sorting solves the assignment problem on the line, in n log n steps instead of n³. The sliced distance "
        "sorts along random directions.",
    ),
    "06.3": Exercise(
        _mmd_unbiased,
        cases={
            "For three and four points the squared MMD": (AA, BB, AB),
            "For a sample and itself the squared MMD": (AA, AA, AA),
        },
        mistakes={
            "That is the biased form: leave out the pairs of a point with itself.": lambda aa, bb, ab: (
                aa.mean() + bb.mean() - 2 * ab.mean()
            ),
            "Without the diagonal there are n(n − 1) pairs left, not n².": ("(len(k) - 1)", "len(k)"),
            "The pairs of a with b count twice: subtract 2 times their mean.": ("- 2 *", "-"),
            "All pairs of a with b count.": ("ab.mean()", "(ab.sum() - ab.trace()) / (ab.numel() - len(ab))"),
            "The sign is wrong.": ("sum(inside) - 2 * ab.mean()", "2 * ab.mean() - sum(inside)"),
            "That is its root. Keep the square, which is unbiased.": lambda *given: _mmd_unbiased(*given).sqrt(),
        },
        notice="For a sample and itself it is below 0. An estimate that is right on average must err on both sides, "
        "and here the truth is 0, so some estimates are negative.",
    ),
    "06.4": Exercise(
        _sinkhorn,
        cases={
            "From three heaps to four places with epsilon = 1, the plan": (COST, HEAPS, PLACES, 1.0),
            "From four heaps to three places with epsilon = 0.5, the plan": (COST.T, PLACES, HEAPS, 0.5),
            "From three heaps to four places with epsilon = 0.03, the plan": (COST, HEAPS, PLACES, 0.03),
        },
        mistakes={
            "exp(−cost / epsilon) is 0 in single precision: use logsumexp.": (
                "-cost / epsilon",
                "(-cost / epsilon).exp().log()",
            ),
            "The columns do not add up to q: scale them too, in every round.": ("log_v = q", "unused = q"),
            "One round is not enough.": ("range(rounds)", "range(1)"),
            "The masses are not equal: use p and q.": (
                "log_u = torch.zeros_like(p)",
                "log_u, p, q = 0 * p, 0 * p + 1 / len(p), 0 * q + 1 / len(q)",
            ),
            "The plan prefers long ways: the exponent is −cost / epsilon.": ("-cost", "cost"),
            "Divide the cost by epsilon.": ("-cost / epsilon", "-cost * epsilon"),
            "That is p qᵀ, whatever the cost.": ("-cost / epsilon", "0 * cost"),
            "That is the kernel. Scale its rows and columns to p and q.": ("range(rounds)", "range(0)"),
        },
        notice="With a small epsilon the plan has hardly more than n + m − 1 ways, like the exact one; with a large "
        "one it spreads towards p qᵀ. It is smooth in the cost, so that a network can learn from it (Cuturi 2013).",
        tolerance=1e-3,
    ),
}
