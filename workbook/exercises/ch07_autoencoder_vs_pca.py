"""Exercises of chapter 07: how many components, the angle between two planes, and components found one by one."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from lib.training.loop import Learner
from workbook.exercises.engine import Exercise, learn

VARIANCES = torch.tensor([3.0, 2.0, 1.0, 0.5, 0.25, 0.25])


def _normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _plane(seed):
    return torch.linalg.qr(_normal(6, 2, seed=seed)).Q


AXES = torch.linalg.qr(_normal(12, 12, seed=3)).Q
ROWS = _normal(400, 12, seed=4) * torch.tensor([3.0, 2.0] + 10 * [0.3]) @ AXES.T


class _Linear(nn.Module):
    """A linear autoencoder with two latent variables."""

    def __init__(self):
        super().__init__()
        self.encode, self.decode = nn.Linear(12, 2), nn.Linear(2, 12)

    def forward(self, x):
        return self.decode(self.encode(x))


def _components_for(variances, share):
    """The number of components that explain at least this share of the variance."""
    explained = variances.cumsum(0) / variances.sum()
    return int((explained < share - 1e-9).sum()) + 1


def _plane_angle(a, b):
    """The largest angle in degrees between the planes spanned by the orthonormal columns of a and of b (D, 2)."""
    return torch.linalg.svdvals(a.T @ b).clamp(max=1).acos().rad2deg().max()


def _nested_step(network, x, given, learner):
    """{"loss": the error with both latent variables plus that with the first alone}, after one step down it."""
    z = network.encode(given)
    alone = network.decode(z * torch.tensor([1.0, 0.0]))
    loss = F.mse_loss(network.decode(z), x) + F.mse_loss(alone, x)
    learner.descend(loss)
    return {"loss": loss}


def _look_nested(call: Callable) -> dict[str, object]:
    """Train a linear autoencoder with this step, and look at its decoder."""
    model = _Linear()
    learner = Learner(model, 0.05, cycle=400)
    losses = learn(lambda: call(model, ROWS, ROWS, learner), [()] * 400, "loss")["loss"]
    first = F.normalize(model.decode.weight.detach()[:, 0], dim=0)
    return {
        "the mean loss of the last 20 of 400 steps": sum(losses[-20:]) / 20,
        "the cosine between the decoder's first column and the first component": (first @ AXES[:, 0]).abs(),
    }


EXERCISES = {
    "07.1": Exercise(
        _components_for,
        cases={f"For a share of {share}, the number": (VARIANCES, share) for share in (0.5, 0.8, 0.9, 1.0)},
        mistakes={
            "That is one too few: the first component that reaches the share counts too.": (".sum()) + 1", ".sum())"),
            "Divide by the sum of all variances, not by the largest.": ("variances.sum()", "variances[0]"),
            "Add the variances up from the largest; you compare single ones.": (
                "variances.cumsum(0)",
                "variances",
            ),
            "The variances are already squared standard deviations.": (
                "variances.cumsum(0) / variances.sum()",
                "(variances**2).cumsum(0) / (variances**2).sum()",
            ),
        },
        notice="The share explained depends on the data, not on a corner in a curve: 90 percent is a rule that can be "
        "stated before looking.",
    ),
    "07.2": Exercise(
        _plane_angle,
        cases={f"For planes {i} and {j}, the angle": (_plane(i), _plane(j)) for i, j in ((1, 2), (2, 5), (1, 7))},
        mistakes={
            "That is the smallest angle. Take the largest.": (".max()", ".min()"),
            "That is in radians.": (".rad2deg()", ""),
            "The singular values are cosines: take acos.": (".acos()", ".asin()"),
            "Columns that face each other need not be the ones that belong together; use the singular values.": (
                "torch.linalg.svdvals(a.T @ b)",
                "(a * b).sum(0)",
            ),
        },
        notice="Two fits can have the same plane and other axes in it: for the error, only the plane counts.",
        tolerance=1e-3,
    ),
    "07.3": Exercise(
        _nested_step,
        cases={"After training": ()},
        mistakes={
            "With the whole error alone, any axes of the plane will do. Add the error of the first variable alone.": (
                "F.mse_loss(network.decode(z), x) + F.mse_loss(alone, x)",
                "F.mse_loss(network.decode(z), x)",
            ),
            "With the first variable alone the second learns nothing: add the error of both.": (
                "F.mse_loss(network.decode(z), x) + F.mse_loss(alone, x)",
                "F.mse_loss(alone, x)",
            ),
            "Keep the first latent variable, not the second.": ("[1.0, 0.0]", "[0.0, 1.0]"),
            "Nothing was learned: call learner.descend(loss).": ("learner.descend(loss)", "pass"),
        },
        notice="Now the axes have an order, as in PCA: the first alone must do as well as it can. Nested dropout "
        "(Rippel et al. 2014) does the same in deep autoencoders.",
        look=lambda call: _look_nested(call),
        tolerance=0.03,
    ),
}
