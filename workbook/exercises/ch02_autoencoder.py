"""Exercises of chapter 02: tied weights, the error of a PCA, purity, a schedule, and a step that fills in pixels."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.metrics.classification import parameters
from lib.models.autoencoder import Autoencoder
from lib.training.autoencoder import autoencoder_step
from lib.training.loop import Learner
from workbook.exercises.engine import Exercise, as_module, learn


def _normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


ROWS = _normal(40, 5) * torch.tensor([4.0, 2.0, 1.0, 0.5, 0.25]) + 3
IMAGES = (_normal(256, 3) @ _normal(3, 20, seed=1)).sigmoid()  # twenty pixels that depend on three numbers
LINE, NAMES = torch.tensor([[0.0, 0], [1, 0], [3, 0], [10, 0], [11, 0]]), torch.tensor([0, 0, 1, 1, 1])


class _tied(nn.Module):
    """A network with the methods encode and decode: linear, and the decoder's matrix is the encoder's, transposed."""

    def __init__(self, pixels, code):
        super().__init__()
        self.weight = nn.Parameter(0.1 * torch.randn(code, pixels))
        self.bias, self.back = (nn.Parameter(torch.zeros(n)) for n in (code, pixels))

    def encode(self, x):
        return x @ self.weight.T + self.bias

    def decode(self, c):
        return c @ self.weight + self.back

    def forward(self, x):
        return self.decode(self.encode(x))


def _largest(difference: Tensor) -> float:
    """The largest element, without rounding errors."""
    return round(difference.abs().max().item(), 4)


def _look_tied(call: Callable, pixels: int, code: int) -> dict[str, Any]:
    model: Any = as_module(call(pixels, code), "encode", "decode")
    x = torch.rand(7, pixels)
    codes, half, zero = model.encode(x), model.encode(x / 2), model.encode(0 * x)
    encoder = torch.autograd.functional.jacobian(model.encode, x[:1]).squeeze()
    decoder = torch.autograd.functional.jacobian(model.decode, codes[:1]).squeeze()
    found = {
        "the shape of the codes of seven images": list(codes.shape),
        "the shape of their reconstructions": list(model(x).shape),
        "the number of parameters": parameters(model),
        "the largest difference between the codes of x / 2 and the mean of those of x and 0": _largest(
            half - (codes + zero) / 2
        ),
        "the largest difference between the two matrices": _largest(decoder - encoder.T),
    }
    learner = Learner(model, 0.1, cycle=150)
    errors = learn(lambda: autoencoder_step(model, IMAGES, IMAGES, learner), [()] * 150, "loss")["loss"]
    return found | {"the share of the variance that it explains after 150 steps": 1 - errors[-1] / IMAGES.var(0).mean()}


def _pca_error(x, k):
    """The mean squared error per element of x (N, D) after a PCA with k components."""
    x = x - x.mean(0)
    variances = torch.linalg.svdvals(x.double()) ** 2 / len(x)
    return variances[k:].sum() / x.shape[1]


def _purity(codes, labels, k):
    """The share of the k nearest other codes with the same label, averaged over all codes: a number from 0 to 1."""
    distance = torch.cdist(codes, codes) + torch.diag(torch.full((len(codes),), torch.inf))
    near = distance.argsort(1)[:, :k]
    return (labels[near] == labels[:, None]).double().mean()


def _rate_at(epoch, start=3e-3, every=5):
    """The learning rate in that epoch, counted from 1. It falls to a tenth after every 5 epochs."""
    return start * 0.1 ** ((epoch - 1) // every)


def _masked_step(network, x, given, learner, share=0.5):
    """{"loss": the error against x}, after one step in which a random share of the pixels of given is set to 0."""
    seen = given * (torch.rand(given.shape) > share)
    loss = F.mse_loss(network(seen), x)
    learner.descend(loss)
    return {"loss": loss}


def _look_masked(call: Callable, **options: float) -> dict[str, object]:
    """Train one layer to fill in pixels, and look at what it explains of images with others masked."""
    model = nn.Linear(20, 20)
    learner = Learner(model, 0.1, cycle=120)
    losses = learn(lambda: call(model, IMAGES, IMAGES, learner, **options), [()] * 120, "loss")["loss"]
    keep = torch.rand(IMAGES.shape, generator=torch.Generator().manual_seed(5)) > options.get("share", 0.5)
    error = (model(IMAGES * keep) - IMAGES).square().mean()
    return {
        "the mean loss of the last 20 of 120 steps": sum(losses[-20:]) / 20,
        "the share of the variance that it then explains": 1 - error / IMAGES.var(0).mean(),
    }


EXERCISES = {
    "02.1": Exercise(
        _tied,
        cases={"With 20 pixels and a code of 3,": (20, 3)},
        mistakes={
            "These are two matrices, each with weights of its own. Use one twice.": lambda pixels, code: Autoencoder(
                (pixels, code), output="linear"
            ),
            "The biases are missing, that of the code and that of the pixels.": ("nn.Parameter(torch.zeros(n))", "0.0"),
            "The code is linear: no activation follows it.": ("x @ self.weight.T", "(x @ self.weight.T).tanh()"),
            "The matrix is no nn.Parameter, so nothing can train it.": ("nn.Parameter(0.1 *", "(0.1 *"),
            "The weights start too large. Divide random normal numbers by √pixels.": ("0.1 *", "1.0 *"),
            "The decoder's matrix is a copy without a gradient.": ("c @ self.weight", "c @ self.weight.detach()"),
        },
        notice="It has half of the weights, and reaches the same error: the axes of a PCA are at right angles, so the "
        "best decoder *is* the encoder transposed.",
        look=_look_tied,
        tolerance=0.02,
    ),
    "02.2": Exercise(
        _pca_error,
        cases={f"For 40 rows of 5 elements and k = {k}, the error": (ROWS, k) for k in (2, 1, 4)},
        mistakes={
            "Subtract the mean of x before the decomposition, and add it back.": ("x - x.mean(0)", "x"),
            "Divide by N; N − 1 estimates the variance of a larger population.": ("/ len(x)", "/ (len(x) - 1)"),
            "That is the error of a whole row. Divide by the number D of its elements.": (" / x.shape[1]", ""),
            "That is the sum over all elements. Take their mean.": (" / x.shape[1]", " * len(x)"),
            "That is the square root of the error.": (" / x.shape[1]", " ** 0.5 / x.shape[1] ** 0.5"),
            "That is the variance that PCA keeps. The error is the variance that it drops.": ("[k:]", "[:k]"),
        },
        notice="The error equals the sum of the variances of the dropped directions, divided by D. No linear "
        "autoencoder with k code dimensions can do better, so PCA is the baseline that a deep autoencoder has to beat.",
    ),
    "02.3": Exercise(
        _purity,
        cases={
            f"For five codes at {(LINE[:, 0] + at).tolist()} on a line, labels 0, 0, 1, 1, 1 and k = {k}, the purity": (
                LINE + at,
                NAMES,
                k,
            )
            for k, at in ((1, 0.0), (2, 0.0), (3, 5.0))
        },
        mistakes={
            "A point is not its own neighbour: leave out the distance 0 to itself.": ("torch.inf", "0.0"),
            "Count k neighbours besides the point itself; you take one too few.": ("[:, :k]", "[:, : k - 1]"),
            "Count k neighbours besides the point itself; you take one too many.": ("[:, :k]", "[:, : k + 1]"),
            "Those are the codes farthest away.": ("distance.argsort", "(-distance.nan_to_num(posinf=0)).argsort"),
            "That is the share of other labels.": ("==", "!="),
            "That is the number of neighbours with the same label. Divide it by k.": (".mean()", ".sum(1).mean()"),
        },
        notice="Purity needs no picture and no clusters, and does not change if all codes are shifted or scaled. For "
        "ten equal classes, it is about a tenth by chance.",
    ),
    "02.4": Exercise(
        _rate_at,
        cases={f"In epoch {epoch}, the rate": (epoch,) for epoch in range(1, 17)}
        | {"With start 1 and every 2, the rate of epoch 3": (3, 1.0, 2)},
        mistakes={
            "The first epoch is 1, so five of them are over when epoch 6 begins.": ("(epoch - 1)", "epoch"),
            "The rate falls every five epochs, not in each one.": (" // every", ""),
            "The rate stays the same within five epochs.": ("//", "/"),
            "It is not divided by the epoch.": ("* 0.1 ** ((epoch - 1) // every)", "/ epoch"),
            "It falls to a tenth, not by a tenth.": ("* 0.1", "* 0.9"),
            "Use the argument start.": ("return start", "return 3e-3"),
            "Use the argument every.": ("// every", "// 5"),
        },
        notice="From epoch 16 on, the rate is at most a thousandth of the first. Of a hundred epochs, the last eighty "
        "change nothing that a curve could show.",
    ),
    "02.5": Exercise(
        _masked_step,
        cases={"With half of the pixels masked,": ({},), "With a fifth of the pixels masked,": ({"share": 0.2},)},
        mistakes={
            "The network sees all pixels: mask some of given.": ("network(seen)", "network(given)"),
            "The target is the whole image x, not the masked one.": ("network(seen), x", "network(seen), seen"),
            "Draw a new mask in every step; yours is always the same.": (
                "torch.rand(given.shape)",
                "torch.rand(given.shape, generator=torch.Generator().manual_seed(0))",
            ),
            "Use the argument share.": ("> share", "> 0.5"),
            "That mask hides whole images. Draw one number for each pixel.": ("given.shape", "len(given), 1"),
            "share is the share that is masked, not the share that is kept.": ("> share", "< share"),
            "F.dropout also divides what it keeps by 1 − share.": (
                "given * (torch.rand(given.shape) > share)",
                "F.dropout(given, share)",
            ),
            "Take the mean over all pixels.": ("F.mse_loss(network(seen), x)", "20 * F.mse_loss(network(seen), x)"),
            "Nothing was learned: call learner.descend(loss).": ("learner.descend(loss)", "pass"),
        },
        notice="The network fills in pixels that it does not see, because the others tell what they must be. For whole "
        "images it is worse than a network that always saw them.",
        look=lambda call, options: _look_masked(call, **options),
        tolerance=0.04,
    ),
}
