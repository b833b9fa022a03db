"""Exercises of chapter 07: how many components are enough, the elbow of a curve, and a step that finds the axes."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lib.models.autoencoder import Autoencoder
from lib.training.loop import Learner
from workbook.exercises.engine import Exercise, learn

_random = torch.Generator().manual_seed(0)
ROWS = torch.randn(40, 5, generator=_random) * torch.tensor([4.0, 2.0, 1.0, 0.5, 0.25]) + 3
STRETCHED = torch.randn(512, 6, generator=_random) * torch.tensor([3.0, 2.0, 1.2, 0.2, 0.2, 0.2])  # axes = components
DIMENSIONS = list(range(2, 21))
CURVES = {
    "For 10 / d from 2 to 20, the elbow": (DIMENSIONS, [10 / d for d in DIMENSIONS]),
    "For 10 / d from 2 to 12, the elbow": (DIMENSIONS[:11], [10 / d for d in DIMENSIONS[:11]]),
    "For errors 9, 5, 4.5, 1.2, 1 at 1, 2, 4, 8, 16, the elbow": ([1, 2, 4, 8, 16], [9.0, 5.0, 4.5, 1.2, 1.0]),
}


def _components_needed(x, error):
    """The smallest number of components with which the mean squared error per element of x (N, D) is at most error."""
    x = x - x.mean(0)
    variances = torch.linalg.svdvals(x.double()) ** 2 / len(x)
    lost = torch.stack([variances[k:].sum() / x.shape[1] for k in range(len(variances) + 1)])
    return int((lost > error).sum())


def _elbow(xs, ys):
    """The x whose y lies furthest below the straight line from the first point to the last."""
    line = np.interp(xs, [xs[0], xs[-1]], [ys[0], ys[-1]])
    return xs[int(np.argmax(line - np.array(ys)))]


def _nested_step(network, x, given, learner):
    """{"loss": the mean of the errors with the first 1, 2, …, d latent numbers kept}, after one step down."""
    code = network.encode(given)
    kept = [torch.cat([code[:, :k], 0 * code[:, k:]], 1) for k in range(1, code.shape[1] + 1)]
    loss = sum(F.mse_loss(network.decode(z), x) for z in kept) / len(kept)
    learner.descend(loss)
    return {"loss": loss}


def _look_nested(call: Callable, size: int) -> dict[str, Any]:
    """Train a linear autoencoder whose data have their principal components along the axes, and look at its decoder."""
    network = Autoencoder((6, size), output="linear")
    learner = Learner(network, 0.02)
    losses = learn(lambda: call(network, STRETCHED, STRETCHED, learner), [()] * 400, "loss")["loss"]
    weight: Tensor = network.decoder[0].weight.detach()  # (6, size): a column for each latent number
    columns = F.normalize(weight, dim=0)
    return {
        "the loss after 400 steps": losses[-1],
        "the share of its length that each decoder column has along its own component": columns[:size].diagonal().abs(),
    }


EXERCISES = {
    "07.1": Exercise(
        _components_needed,
        cases={
            f"For 40 rows of 5 elements and an error of {error}, the number of components": (ROWS, error)
            for error in (10.0, 2.0, 1.2, 0.3, 0.1, 0.03)
        },
        mistakes={
            "That is one too few: count until the error is at most the given one.": (
                "(lost > error).sum()",
                "(lost > error).sum() - 1",
            ),
            "Begin with no component at all: the error is then the variance, which may be small enough.": (
                "range(len(variances) + 1)",
                "range(1, len(variances) + 1)",
            ),
            "Subtract the mean of x before the decomposition.": ("x - x.mean(0)", "x"),
            "Divide by the number D of elements: the error is one per element.": (" / x.shape[1]", ""),
            "Those are singular values. Square them, and divide by N.": (" ** 2 / len(x)", ""),
            "That is what the first k components keep. The error is what they drop.": (
                "variances[k:]",
                "variances[:k]",
            ),
        },
        notice="For the test images of this chapter, this is how many components PCA needs to equal an autoencoder.",
    ),
    "07.2": Exercise(
        _elbow,
        cases=CURVES,
        mistakes={
            "That is the index of the elbow. Return the x there.": (
                "return xs[int(np.argmax(line - np.array(ys)))]",
                "return int(np.argmax(line - np.array(ys)))",
            ),
            "That is the point furthest above the line.": ("line - np.array(ys)", "np.array(ys) - line"),
            "The line goes from the first point to the last, at their x; the x need not be evenly spaced.": (
                "np.interp(xs, [xs[0], xs[-1]], [ys[0], ys[-1]])",
                "np.linspace(ys[0], ys[-1], len(ys))",
            ),
            "That is the point with the largest fall from the one before.": (
                "line - np.array(ys)",
                "-np.diff(ys, prepend=ys[0])",
            ),
        },
        notice="The second curve is the first one, cut off earlier, and its elbow comes earlier too.",
    ),
    "07.3": Exercise(
        _nested_step,
        cases={"With a code of 3,": (3,), "With a code of 2,": (2,)},
        mistakes={
            "The whole code is kept every time, so nothing tells the numbers apart.": (
                "0 * code[:, k:]",
                "code[:, k:]",
            ),
            "You keep the last numbers and drop the first.": (
                "torch.cat([code[:, :k], 0 * code[:, k:]], 1)",
                "torch.cat([0 * code[:, :-k], code[:, -k:]], 1)",
            ),
            "Keep all d numbers too, in the last of the errors.": (
                "range(1, code.shape[1] + 1)",
                "range(1, code.shape[1])",
            ),
            "Take the mean of the errors, not their sum.": (" / len(kept)", ""),
            "Nothing was learned: call learner.descend(loss).": ("learner.descend(loss)", "pass"),
        },
        notice="Every column of the decoder now points along one principal component, in their order: the first number "
        "must do alone what it can, and then the second. PCA's axes come from this order, its plane from the error.",
        look=_look_nested,
        tolerance=0.03,
    ),
}
