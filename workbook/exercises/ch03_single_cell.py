"""Exercises of chapter 03: a step that counts molecules, agreement, a split of the molecules, and false discoveries."""

from collections.abc import Callable

import torch

from lib.models.autoencoder import Autoencoder
from lib.training.loop import Learner
from workbook.exercises.engine import Exercise, learn, numbers


def _count_step(network, x, given, learner):
    """{"loss": the mean over the cells of −log Poisson(x | library size · share)}, after one step.

    network(given) are the logits of the shares.
    """
    share = network(given).softmax(1)
    rate = x.sum(1, keepdim=True) * share
    nll = rate - x * rate.log()
    loss = nll.sum(1).mean()
    learner.descend(loss)
    return {"loss": loss}


def _look_counts(call: Callable) -> dict[str, object]:
    """Train on cells of three types with very different library sizes; how far are the shares from the true ones?"""
    source = torch.Generator().manual_seed(0)
    shares = torch.randn(3, 12, generator=source).mul(1.2).softmax(1)[torch.arange(150) % 3]
    library = torch.tensor([20.0, 60.0, 400.0])[torch.randint(3, (150, 1), generator=source)]
    counts = torch.poisson(library * shares, generator=source)
    given = torch.log1p(1000 * counts / counts.sum(1, keepdim=True))
    model = Autoencoder((12, 16, 2), output="linear")
    learner = Learner(model, 0.02, cycle=150)
    learn(lambda: call(model, counts, given, learner), [()] * 150, "loss")
    divergence = (shares * (shares.log() - model(given).log_softmax(1))).sum(1).mean()
    return {"the divergence of the network's shares from the true ones": divergence}


def _adjusted_rand(clusters, types):
    """The adjusted Rand index of two tensors of whole numbers."""
    i, j = torch.tril_indices(len(types), len(types), -1)
    rows, columns = clusters[i] == clusters[j], types[i] == types[j]
    both, a, b = (pairs.double().mean() for pairs in (rows & columns, rows, columns))
    e = a * b
    return (both - e) / ((a + b) / 2 - e)


def _split_counts(counts, share):
    """Two matrices of whole counts: a random `share` of the molecules, each drawn by itself, and the rest."""
    first = torch.binomial(counts, torch.full_like(counts, share))
    second = counts - first
    return first, second


def _look_split(call: Callable, share: float) -> dict[str, object]:
    """Split the counts of cells that are all alike, cluster by the first part, and test in the second."""
    source = torch.Generator().manual_seed(0)
    rate = 1 + 7 * torch.rand(40, generator=source, dtype=torch.float64)
    counts = torch.poisson(rate.expand(400, 40), generator=source)
    parts = [numbers(part) for part in call(counts, share)]
    shapes: dict[str, object] = {"the number of matrices": len(parts)}
    shapes |= {f"the shape of matrix {i}": tuple(part.shape) for i, part in enumerate(parts, 1)}
    if [tuple(part.shape) for part in parts] != [(400, 40)] * 2:
        return shapes
    first, second = parts
    a, b = (part - part.mean(0) for part in parts)
    together = (a * b).mean(0) / (a.square().mean(0) * b.square().mean(0)).sqrt().clamp_min(1e-9)
    cluster = torch.linalg.svd(a, full_matrices=False)[0][:, 0] > 0
    error = (second[cluster].var(0) / cluster.sum() + second[~cluster].var(0) / (~cluster).sum()).sqrt()
    apart = (second[cluster].mean(0) - second[~cluster].mean(0)).abs() > 4 * error.clamp_min(1e-9)
    return shapes | {
        "the sum of the parts, less the counts, at its farthest from 0,": (first + second - counts).abs().max(),
        "the farthest distance from a whole number": (first - first.round()).abs().max(),
        "the share of the molecules in the first part": round((first.sum() / counts.sum()).item(), 2),
        "a gene's mean correlation of the two parts, over the cells,": round(together.mean().item(), 1),
        "the number of genes that differ in the second part, between clusters of the first,": apart.sum(),
    }


def _adjusted(p):
    """The p-values (n,), adjusted by Benjamini and Hochberg, in their order."""
    order = p.argsort()
    scaled = p[order] * len(p) / torch.arange(1, len(p) + 1)
    least = scaled.flip(0).cummin(0).values.flip(0)
    result = torch.empty_like(p)
    result[order] = least
    return result


CELLS = (
    ([0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 1, 1]),
    ([0, 0, 1, 1, 2, 2], [0, 1, 0, 1, 0, 1]),
    ([2, 2, 0, 0, 1], [0, 0, 1, 1, 2]),
)
VALUES = ([0.01, 0.04, 0.03], [0.2, 0.001, 0.9, 0.012, 0.011], [0.5, 0.9, 0.6, 0.7])

EXERCISES = {
    "03.1": Exercise(
        _count_step,
        cases={"After 150 steps on 150 cells,": ()},
        mistakes={
            "In the squared error, the cells with most molecules decide.": ("rate - x * rate.log()", "(rate - x) ** 2"),
            "That is the squared error of logits.": ("rate - x * rate.log()", "(network(given) - x) ** 2"),
            "The shares add up to 1 over the genes, which are dimension 1.": ("softmax(1)", "softmax(0)"),
            "Shares are positive and add up to 1: take the softmax of the logits.": (".softmax(1)", ".exp()"),
            "The library size is missing in the rate.": (
                "rate - x * rate.log()",
                "-x / x.sum(1, keepdim=True) * share.log()",
            ),
            "The counts are x. You took the normalised values.": ("- x * rate", "- given * rate"),
            "The sign is wrong: minimise −log p.": ("rate - x * rate.log()", "x * rate.log() - rate"),
            "−log p is rate − x · log(rate): the logarithm is missing.": ("rate.log()", "rate"),
            "Nothing was learned: call learner.descend(loss).": ("learner.descend(loss)", "pass"),
        },
        notice="A cell with few molecules says little about its shares, and this loss knows it: its weight is its "
        "library size. The squared error of normalised values takes every cell, and every zero, equally seriously.",
        look=_look_counts,
        tolerance=0.02,
    ),
    "03.2": Exercise(
        _adjusted_rand,
        cases={
            f"For the clusters {u} and the types {v}, the adjusted Rand index": (torch.tensor(u), torch.tensor(v))
            for u, v in CELLS
        },
        mistakes={
            "That is the plain Rand index. Subtract E twice.": (
                "(both - e) / ((a + b) / 2 - e)",
                "1 - a - b + 2 * both",
            ),
            "That is the number of pairs in both.": ("(both - e) / ((a + b) / 2 - e)", "both * len(i)"),
            "Subtract E below the line as well.": ("/ 2 - e", "/ 2"),
            "Subtract E above the line as well.": ("both - e", "both"),
            "That is the share of equal names, and names of clusters mean nothing.": lambda u, v: (
                (u == v).double().mean()
            ),
        },
        notice="It can be negative: in the second example the groups agree less than by chance. It does not say which "
        "types were mixed up, so look at the table as well.",
    ),
    "03.3": Exercise(
        _split_counts,
        cases={f"With a share of {share},": (share,) for share in (0.5, 0.3)},
        mistakes={
            "There is no half of a molecule, and such parts tell the same: draw the molecules at random.": (
                "torch.binomial(counts, torch.full_like(counts, share))",
                "counts * share",
            ),
            "Rounding draws nothing: both parts still tell the same.": (
                "torch.binomial(counts, torch.full_like(counts, share))",
                "(counts * share).round()",
            ),
            "Every molecule is drawn by itself. You moved all molecules of an entry together.": (
                "torch.binomial(counts, torch.full_like(counts, share))",
                "counts * (torch.rand_like(counts) < share)",
            ),
            "Every molecule is drawn by itself. You moved whole cells.": (
                "torch.binomial(counts, torch.full_like(counts, share))",
                "counts * (torch.rand(len(counts), 1) < share)",
            ),
            "The second part is what the first leaves. You drew it anew.": (
                "counts - first",
                "torch.binomial(counts, torch.full_like(counts, 1 - share))",
            ),
            "The first part receives the share, not the second.": (
                "full_like(counts, share)",
                "full_like(counts, 1 - share)",
            ),
            "Both parts are the counts themselves: split them.": lambda counts, share: (counts, counts),
        },
        notice="No gene differs, for these cells have no types: what chance made of the first part is not in the "
        "second. That holds for Poisson counts. Genes that vary more, as real ones do, keep parts that go together.",
        look=_look_split,
    ),
    "03.4": Exercise(
        _adjusted,
        cases={f"For the p-values {p}, the adjusted one": (torch.tensor(p, dtype=torch.float64),) for p in VALUES},
        mistakes={
            "That is Bonferroni's correction: divide by the rank.": lambda p: (len(p) * p).clamp(max=1),
            "A larger p-value must not become smaller than one before it: take the least of those that follow.": (
                "scaled.flip(0).cummin(0).values.flip(0)",
                "scaled",
            ),
            "Take the least of those that follow, not of those before.": (
                "scaled.flip(0).cummin(0).values.flip(0)",
                "scaled.cummin(0).values",
            ),
            "Return them in the order in which they came.": ("result[order] = least", "result[:] = least"),
            "Ranks count from 1.": ("torch.arange(1, len(p) + 1)", "torch.arange(len(p))"),
            "The smallest has rank 1.": ("p.argsort()", "p.argsort(descending=True)"),
        },
        notice="Of the genes below 0.05, one in twenty is expected to be false, not one in a whole list of genes. "
        "It corrects for how many genes were tested, not for clusters that were found in the same genes.",
    ),
}
