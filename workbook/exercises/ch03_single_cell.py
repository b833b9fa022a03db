"""Exercises of chapter 03: a step that counts molecules, two measures of agreement, and early stopping."""

from collections.abc import Callable

import torch

from lib.models.autoencoder import Autoencoder
from lib.training.loop import Learner
from workbook.exercises.engine import Exercise, learn


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


def _auc(inside, outside):
    """The share of pairs in which the value inside is larger, with ties as one half: a number from 0 to 1."""
    larger, equal = inside[:, None] > outside, inside[:, None] == outside
    return (larger + 0.5 * equal).mean()


def _kept_epoch(errors, patience):
    """The epoch, counted from 1, with the lowest error seen before early stopping stops."""
    best = 0
    for epoch, error in enumerate(errors):
        best = epoch if error < errors[best] else best
        if epoch - best == patience:
            break
    return best + 1


CELLS = (
    ([0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 1, 1]),
    ([0, 0, 1, 1, 2, 2], [0, 1, 0, 1, 0, 1]),
    ([2, 2, 0, 0, 1], [0, 0, 1, 1, 2]),
)
GENES = (([3, 4, 5], [1, 2, 3, 6]), ([0, 0, 2], [0, 0, 0, 1]), ([1, 2], [3, 4]))
CURVES = (
    ([5, 4, 3, 3.5, 3.2, 2], 2),
    ([5, 4, 3, 3.5, 3.2, 2], 3),
    ([2, 3, 4, 5], 3),
    ([4, 3, 2, 1], 1),
    ([5, 4, 3, 3.5, 3.2, 2, 2.5, 2.4, 2.3, 1], 2),
)

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
        _auc,
        cases={
            f"For the values {a} inside and {b} outside, the AUC": (torch.tensor(a), torch.tensor(b)) for a, b in GENES
        },
        mistakes={
            "Ties count half; you left them out.": (" + 0.5 * equal", " + 0.0"),
            "Ties count half; you counted them in full.": ("0.5 * equal", "1.0 * equal"),
            "That is the other direction: how often a value outside is larger.": ("> outside", "< outside"),
            "That is U. Divide it by the number of pairs.": (".mean()", ".sum()"),
        },
        notice="It depends on the order of the values alone: taking their logarithm changes nothing. In single cells "
        "most values are 0, so most pairs are ties, and a gene that few cells show cannot get far from 0.5.",
    ),
    "03.4": Exercise(
        _kept_epoch,
        cases={
            f"For the errors {errors} and a patience of {patience}, the epoch that is kept": (errors, patience)
            for errors, patience in CURVES
        },
        mistakes={
            "Count epochs from 1.": ("best + 1", "best"),
            "That is the lowest of all errors, but training had stopped before it was seen.": ("break", "pass"),
            "That is the epoch in which training stops. Its weights are not the best.": ("best + 1", "epoch + 1"),
            "That is the lowest error. Return its epoch.": ("best + 1", "errors[best]"),
            "It stops `patience` epochs after the best one, not one more.": ("== patience", "> patience"),
        },
        notice="A longer patience costs epochs, and finds the second minimum of the first example. The kept error is "
        "the lowest of many, so it is a little too low: report the error of test cells instead.",
    ),
}
