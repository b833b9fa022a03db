"""Exercises of chapter 16: receptive fields, the price of a number, a code that pays for what it uses."""

from collections.abc import Callable

import torch
import torch.nn.functional as F

from lib.models.autoencoder import Autoencoder
from lib.training.loop import Learner
from workbook.exercises.engine import Exercise, learn, several


def _field(layers):
    """The number of rows that a unit of the last layer sees, after layers (kernel size, stride) in their order."""
    seen, apart = 1, 1
    for kernel, stride in layers:
        seen += (kernel - 1) * apart
        apart *= stride
    return seen


def _prices(errors, size):
    """The lowest and the highest price of a number at which, of errors {size: error}, this size costs least in all."""
    lowest, highest = 0.0, float("inf")
    for other, error in errors.items():
        if other > size:
            lowest = max(lowest, (errors[size] - error) / (other - size))
        if other < size:
            highest = min(highest, (error - errors[size]) / (size - other))
    return lowest, highest


def _prices_of_others(errors, size, choose_lowest, choose_highest):
    """As _prices, with other ways to choose among the gains for each number of larger and of smaller sizes."""
    gains = {other: (error - errors[size]) / (size - other) for other, error in errors.items() if other != size}
    larger, smaller = ([g for other, g in gains.items() if (other > size) == above] for above in (True, False))
    return choose_lowest([0.0, *larger]), choose_highest(smaller or [float("inf")])


def _priced_step(network, x, given, learner, price):
    """{"loss": squared error plus price times the mean absolute number of the code}, after one step on it."""
    code = network.encode(given)
    loss = F.mse_loss(network.decode(code), x) + price * code.abs().mean()
    learner.descend(loss)
    return {"loss": loss}


def _look_priced(call: Callable, price: float) -> dict[str, object]:
    """Train a small autoencoder on patterns of two causes with a code of six, and look at it."""
    draw = torch.Generator().manual_seed(1)
    causes, patterns = torch.rand(120, 2, generator=draw), torch.rand(2, 12, generator=draw)
    x = causes @ patterns / 2
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        network = Autoencoder((12, 16, 6))
    learner = Learner(network, 0.01, cycle=200)
    losses = learn(lambda: call(network, x, x, learner, price), [()] * 200, "loss")["loss"]
    with torch.inference_mode():
        code = network.encode(x)
        error = F.mse_loss(network.decode(code), x)
    return {
        "the loss of the first step": losses[0],
        "the loss of the last of 200 steps": losses[-1],
        "in the end, the squared error": error,
        "in the end, the mean absolute number of the code": code.abs().mean(),
    }


EXERCISES = {
    "16.1": Exercise(
        _field,
        cases={
            "One convolution of 3 sees a number of rows that": ([(3, 1)],),
            "Two of 3 with stride 2 see a number of rows that": ([(3, 2), (3, 2)],),
            "For kernels 5, 3 and 2 with strides 1, 2 and 3 it": ([(5, 1), (3, 2), (2, 3)],),
            "The encoder of this chapter sees a number of rows that": ([(3, 2), (3, 2), (3, 2)],),
        },
        mistakes={
            "A step in a deep layer is several steps in the image: multiply by the strides of the layers before it.": (
                "(kernel - 1) * apart",
                "(kernel - 1)",
            ),
            "A window of k rows adds k − 1 rows to the one in its middle.": ("(kernel - 1) * apart", "kernel * apart"),
            "The stride of a layer moves the windows of the layers after it, not its own.": (
                "seen += (kernel - 1) * apart\n        apart *= stride",
                "apart *= stride\n        seen += (kernel - 1) * apart",
            ),
            "Strides multiply.": ("apart *= stride", "apart += stride - 1"),
            "The windows overlap: fields add up, and do not multiply.": (
                "seen += (kernel - 1) * apart",
                "seen *= kernel",
            ),
        },
        notice="A unit of the last map sees 15 of 28 rows, about half of the image. Only linear layers see all of it.",
    ),
    "16.2": Exercise(
        _prices,
        cases={
            "For four sizes and the second one,": ({2: 0.05, 4: 0.03, 8: 0.02, 16: 0.018}, 4),
            "For four sizes and the third one,": ({2: 0.05, 4: 0.03, 8: 0.02, 16: 0.018}, 8),
            "For a curve that rises again,": ({2: 0.05, 4: 0.03, 8: 0.031, 16: 0.028}, 4),
            "For the smallest size,": ({2: 0.05, 4: 0.03, 8: 0.02}, 2),
        },
        mistakes={
            "Every larger size must cost more: the price must lie above the gains of all of them.": (
                lambda errors, size: _prices_of_others(errors, size, lambda gains: min(gains[1:], default=0.0), min)
            ),
            "Every smaller size must cost more: the price must lie below the gains of all of them.": (
                lambda errors, size: _prices_of_others(errors, size, max, max)
            ),
            "That is a gain in error. A price is the gain for each number: divide by the difference of the sizes.": (
                "(errors[size] - error) / (other - size))",
                "(errors[size] - error))",
            ),
            "Divide by the difference of the sizes, not by a size.": ("/ (size - other))", "/ size)"),
            "Smaller sizes set the highest price, and larger ones the lowest.": (
                "return lowest, highest",
                "return highest, lowest",
            ),
        },
        notice="If the lowest price lies above the highest, no price makes this size the best: its error lies above a "
        "line between two others.",
        look=several("the lowest price", "the highest price"),
    ),
    "16.3": Exercise(
        _priced_step,
        cases={"At a price of 0.01,": (0.01,), "At a price of 0.1,": (0.1,), "At no price,": (0.0,)},
        mistakes={
            "The price counts what the code uses: take its absolute values, or minus signs are paid back.": (
                "code.abs().mean()",
                "code.mean()",
            ),
            "That prices the squares of the code; the exercise asks for absolute values.": (
                "code.abs().mean()",
                "code.square().mean()",
            ),
            "Price the code, not the image that comes out.": (
                "price * code.abs().mean()",
                "price * network.decode(code).abs().mean()",
            ),
            "The price is paid, so it is added to the error.": ("+ price *", "- price *"),
            "Take the mean over the numbers of the code, not their sum.": (
                "code.abs().mean()",
                "code.abs().sum(1).mean()",
            ),
            "Nothing was learned: call learner.descend.": ("learner.descend(", "("),
            "No slope reaches the encoder if the code is detached.": ("encode(given)", "encode(given).detach()"),
        },
        notice="At a price the code shrinks, and where numbers can be spared some of them fall silent. That is a "
        "sparse autoencoder: training decides how many numbers an image needs.",
        look=_look_priced,
        tolerance=0.03,
    ),
}
