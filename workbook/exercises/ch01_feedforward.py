"""Exercises of chapter 01: derivatives by hand, a loss that is tried, and how many images a comparison needs."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.training.loop import Learner
from workbook.exercises.engine import Exercise, learn, several

LOGITS = {3: torch.zeros(10), 7: torch.arange(10.0) - 4, 0: torch.tensor([1000.0, 0.0, -1000.0, 5.0])}  # by label


def _normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# eight images of six pixels, and the weights of 6 → 5 → 4 → 3
IMAGES, LABELS = _normal(8, 6, seed=7), torch.tensor([0, 2, 1, 1, 0, 2, 2, 0])
WEIGHTS = [_normal(*shape, seed=i) for i in range(3) for shape in ((6 - i, 5 - i), (5 - i,))]


def _loss_and_gradient(logits, label):
    """The cross-entropy of the logits (K,) in nats, and its derivative (K,) with respect to them."""
    right = F.one_hot(torch.tensor(label), len(logits))
    loss = logits.logsumexp(0) - logits[label]
    return loss, logits.softmax(0) - right


def _deep_by_hand(x, y, W1, b1, W2, b2, W3, b3):
    """The mean loss of a batch, and a list of its derivatives with respect to W1, b1, W2, b2, W3 and b3."""
    h1 = torch.tanh(x @ W1 + b1)
    h2 = torch.tanh(h1 @ W2 + b2)
    p = torch.softmax(h2 @ W3 + b3, 1)
    d3 = (p - F.one_hot(y)) / len(y)
    slope2, slope1 = 1 - h2**2, 1 - h1**2
    d2 = (d3 @ W3.T) * slope2
    d1 = (d2 @ W2.T) * slope1
    return -p[range(len(y)), y].log().mean(), [x.T @ d1, d1.sum(0), h1.T @ d2, d2.sum(0), h2.T @ d3, d3.sum(0)]


def _look_deep(call: Callable, *arguments: Tensor) -> dict[str, object]:
    loss, derivatives = several("loss", "derivatives")(call, *arguments).values()
    names = [f"the derivative with respect to {kind}{layer}" for layer in (1, 2, 3) for kind in "Wb"]
    return {"the loss": loss} | several(*names)(lambda: derivatives)


def _smoothed_step(network, x, y, learner, share=0.1):
    """{"loss": the mean cross-entropy with smoothed labels}, after one step down its gradient."""
    log_p = network(x).log_softmax(1)
    right, k = F.one_hot(y, log_p.shape[1]), log_p.shape[1]
    target = (1 - share) * right + share / k
    loss = -(target * log_p).sum(1).mean()
    learner.descend(loss)
    return {"loss": loss}


def _look_smoothed(call: Callable, **options: float) -> dict[str, object]:
    """Train a linear classifier of five well separated classes."""
    y = torch.arange(200) % 5
    x, model = 3 * F.one_hot(y, 8) + 0.3 * _normal(200, 8), nn.Linear(8, 5).double()
    learner = Learner(model, 4.0, "sgd")
    losses = learn(lambda: call(model, x, y, learner, **options), [()] * 100, "loss")["loss"]
    sure = model(x).softmax(1).gather(1, y[:, None]).mean()
    return {"the loss of the first step": losses[0], "the mean probability of the label after 100 steps": sure}


def _images_needed(accuracy, gap):
    """The number of images that makes the standard error of this accuracy half of the gap."""
    return 4 * accuracy * (1 - accuracy) / gap**2


EXERCISES = {
    "01.1": Exercise(
        _loss_and_gradient,
        cases={f"For logits {min(z):g} to {max(z):g} and label {y},": (z, y) for y, z in LOGITS.items()},
        mistakes={
            "The sign is wrong: the loss is −log p.": ("return loss", "return -loss"),
            "That is in bits: use the natural logarithm.": ("return loss", "return loss / 0.693147"),
            "exp(1000) overflows: use torch.logsumexp.": ("logits.logsumexp(0)", "logits.exp().sum().log()"),
            "exp(1000) overflows: use torch.softmax.": ("logits.softmax(0)", "logits.exp() / logits.exp().sum()"),
            "Those are the probabilities: subtract 1 at the label.": (" - right", ""),
            "The loss falls if the logit of the label rises.": (
                "logits.softmax(0) - right",
                "right - logits.softmax(0)",
            ),
        },
        notice="The derivatives of an image add up to 0: what the label gains, the other digits lose together.",
        look=several("the loss", "its derivative"),
    ),
    "01.2": Exercise(
        _deep_by_hand,
        cases={"For eight images of six pixels,": (IMAGES, LABELS, *WEIGHTS)},
        mistakes={
            "Divide by the number of images: the loss is a mean.": (" / len(y)", ""),
            "The derivatives have the wrong sign.": ("p - F.one_hot(y)", "F.one_hot(y) - p"),
            "That is the slope of the ReLU. That of tanh is 1 − tanh².": ("1 - h2**2, 1 - h1**2", "h2 > 0, h1 > 0"),
            "Multiply by the slope of tanh, not by tanh.": ("1 - h2**2, 1 - h1**2", "h2, h1"),
            "The square is missing: the slope of tanh is 1 − tanh².": ("1 - h2**2, 1 - h1**2", "1 - h2, 1 - h1"),
            "The slope of the first layer is missing.": (" * slope1", ""),
            "The slope of the second layer is missing.": (" * slope2", ""),
            "The derivative with respect to a bias is a sum over the images.": ("d1.sum(0)", "d1.mean(0)"),
        },
        notice="Each further layer adds the same two lines: times the transposed weights, times the slope. Where tanh "
        "is flat, its slope is almost 0, and so is every derivative before it: such a unit is called saturated.",
        look=_look_deep,
    ),
    "01.3": Exercise(
        _smoothed_step,
        cases={"With the usual share,": ({},), "With a share of 0.3,": ({"share": 0.3},)},
        mistakes={
            "That is the loss without smoothing.": ("target * log_p", "right * log_p"),
            "Use the argument share.": ("(1 - share) * right + share / k", "0.9 * right + 0.1 / k"),
            "The share goes to all K classes, the label too: share / K each.": ("/ k", "/ (k - 1) * (1 - right)"),
            "The targets must add up to 1: take the share away from the label.": ("(1 - share) * ", ""),
            "Sum over the classes, and take the mean over the images only.": (".sum(1).mean()", ".mean()"),
            "That is the sum over the images. Take their mean.": (".sum(1).mean()", ".sum()"),
            "The sign is wrong, and the loss rises.": ("-(target", "(target"),
            "Nothing was learned: call learner.descend(loss).": ("learner.descend(loss)", "pass"),
        },
        notice="The network becomes 92 % sure where it would have become 100 % sure: the best logits are finite now. "
        "The loss has a floor again, and this time it is on purpose (Szegedy et al. 2016).",
        look=lambda call, options: _look_smoothed(call, **options),
        tolerance=1e-3,
    ),
    "01.4": Exercise(
        _images_needed,
        cases={
            f"For an accuracy of {p:g} and a gap of {gap:g}, the number of images": (p, gap)
            for p, gap in ((0.98, 0.001), (0.5, 0.01), (0.99, 0.002))
        },
        mistakes={
            "That makes the standard error equal to the gap. It should be half of it.": ("4 * ", ""),
            "Half of the gap, squared, is a quarter of its square.": ("4 *", "2 *"),
            "The gap enters squared.": ("gap**2", "gap"),
            "The variance of a share is p (1 − p).": (" * (1 - accuracy)", ""),
        },
        notice="The 10,000 test images of MNIST cannot tell 98.0 from 98.1 percent. For two networks judged on the "
        "*same* images fewer are enough, since only the images count on which they differ (McNemar's test).",
    ),
}
