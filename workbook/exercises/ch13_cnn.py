"""Exercises of chapter 13: the size of a convolution's output, receptive fields, ensembles, and label smoothing."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from lib.training.loop import Learner
from workbook.exercises.engine import Exercise, learn


def _output_size(rows, kernel, stride, padding):
    """The number of rows of a convolution's output, a whole number."""
    return (rows + 2 * padding - kernel) // stride + 1


def _receptive_field(layers):
    """The number of pixels that a unit sees in each direction, after layers given as a list of (kernel, stride)."""
    width, distance = 1, 1
    for kernel, stride in layers:
        width = width + (kernel - 1) * distance
        distance = distance * stride
    return width


def _ensemble(logits):
    """The mean probabilities (N, 10) of M networks, from their logits (M, N, 10)."""
    return logits.softmax(2).mean(0)


def _smoothing_step(network, x, y, learner, share=0.1):
    """{"loss": …, "accuracy": …}, means over the images, after one step on smoothed labels."""
    log_q = network(x).log_softmax(1)
    right = log_q.gather(1, y[:, None]).squeeze(1)
    loss = -((1 - share) * right + share * log_q.mean(1)).mean()
    learner.descend(loss)
    return {"loss": loss, "accuracy": (log_q.argmax(1) == y).float().mean()}


def _normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _look_smoothed(call: Callable, share: float) -> dict[str, object]:
    """Train a small network on ten well separated classes, and look at its losses and its certainty."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network = nn.Linear(12, 10)
    y = torch.arange(200) % 10
    x = 2 * _normal(10, 12, seed=1)[y] + 0.3 * _normal(200, 12, seed=2)
    learner = Learner(network, 0.05)
    losses = learn(lambda: call(network, x, y, learner, share), [()] * 120, "loss", "accuracy")
    first: dict[str, object] = {f"the {name} of the first step": values[0] for name, values in losses.items()}
    with torch.inference_mode():
        certainty = F.softmax(network(x), 1).amax(1).mean()
    return first | {"the last loss of 120 steps": losses["loss"][-1], "the mean certainty after them": certainty}


EXERCISES = {
    "13.1": Exercise(
        _output_size,
        cases={
            "For 28 rows, a kernel of 5, stride 1 and padding 2, the number of rows": (28, 5, 1, 2),
            "For 28 rows, a kernel of 3, stride 2 and padding 1, the number of rows": (28, 3, 2, 1),
            "For 14 rows, a kernel of 4, stride 3 and no padding, the number of rows": (14, 4, 3, 0),
        },
        mistakes={
            "There is a border on both sides: count the padding twice.": ("2 * padding", "padding"),
            "The first window counts too: add 1.": (" // stride + 1", " // stride"),
            "A window that does not fit is left out: round down.": ("// stride", "/ stride"),
            "Add 1 after the division by the stride.": (
                "(rows + 2 * padding - kernel) // stride + 1",
                "(rows + 2 * padding - kernel + 1) // stride",
            ),
            "The window itself needs room: subtract the kernel.": (" - kernel", ""),
        },
        notice="With an odd kernel K, stride 1 and padding (K − 1)/2, the size stays the same.",
    ),
    "13.2": Exercise(
        _receptive_field,
        cases={
            "For one convolution of 5, the width": ([(5, 1)],),
            "For two convolutions of 5 with a pooling between, the width": ([(5, 1), (2, 2), (5, 1)],),
            "For the four layers of this chapter, the width": ([(5, 1), (2, 2), (5, 1), (2, 2)],),
        },
        mistakes={
            "After a stride of 2, neighbouring units are two pixels apart: multiply by the distance.": (
                "(kernel - 1) * distance",
                "(kernel - 1)",
            ),
            "A kernel of K adds K − 1 steps, not K.": ("(kernel - 1)", "kernel"),
            "A layer's own stride widens only the layers after it: update the distance last.": (
                "width = width + (kernel - 1) * distance\n        distance = distance * stride",
                "distance = distance * stride\n        width = width + (kernel - 1) * distance",
            ),
            "Strides multiply.": ("distance * stride", "distance + stride"),
            "A unit of no layer at all sees one pixel: begin with 1.": ("width, distance = 1", "width, distance = 0"),
        },
        notice="Two 3 × 3 convolutions see as much as one of 5 × 5, with 18 weights instead of 25 and a ReLU between.",
    ),
    "13.3": Exercise(
        _ensemble,
        cases={
            "For three networks and four images, the probabilities": (3 * _normal(3, 4, 10),),
            "For two networks, one much surer than the other, the probabilities": (
                torch.stack([30 * _normal(2, 10, seed=1), _normal(2, 10, seed=2)]),
            ),
        },
        mistakes={
            "That averages the logits: a network that is very sure then outvotes all others.": (
                "logits.softmax(2).mean(0)",
                "logits.mean(0).softmax(1)",
            ),
            "The softmax belongs over the digits, the last axis.": ("softmax(2)", "softmax(1)"),
            "Average over the networks, the first axis.": ("mean(0)", "mean(1)"),
            "The sum over the networks is no probability: take the mean.": ("mean(0)", "sum(0)"),
            "Return probabilities, not their logarithms.": ("softmax(2)", "log_softmax(2)"),
        },
        notice="The mean of the probabilities is never surer than the surest member. The mean of the logits is another "
        "rule, the normalised geometric mean.",
    ),
    "13.4": Exercise(
        _smoothing_step,
        cases={"With a share of 0.1,": (0.1,), "With a share of 0.4,": (0.4,)},
        mistakes={
            "That is the ordinary cross-entropy: nothing is smoothed.": (
                "(1 - share) * right + share * log_q.mean(1)",
                "right",
            ),
            "The share is spread over the ten digits: take the mean of log q, not the sum.": (
                "log_q.mean(1)",
                "log_q.sum(1)",
            ),
            "The label loses what the others gain: weigh it with 1 − share.": ("(1 - share) * right", "right"),
            "The two weights are exchanged.": (
                "(1 - share) * right + share * log_q.mean(1)",
                "share * right + (1 - share) * log_q.mean(1)",
            ),
            "The sign is wrong: the loss falls when log q rises.": ("loss = -(", "loss = ("),
            "Nothing was learned: call learner.descend.": ("learner.descend(loss)", "loss.detach()"),
            "Average over the images.": ("log_q.mean(1)).mean()", "log_q.mean(1)).sum()"),
        },
        notice="The loss cannot reach 0 any more, and the network is never wholly sure: at best its certainty is "
        "1 − share + share/10. Whether it is better calibrated depends on how sure it was before.",
        look=_look_smoothed,
        tolerance=0.02,
    ),
}
