"""Exercises of chapter 19: freezing, two linear layers as one, fine-tuning near the start, axes of a matrix."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from lib.training.loop import Learner
from workbook.exercises.engine import Exercise, as_module, learn, several


def _freeze_all_but(network, layers):
    """The network, in which only the last so many linear and convolutional layers are trained."""
    found = [layer for layer in network.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    for layer in found[: len(found) - layers]:
        layer.requires_grad_(False)
    return network


def _merged(first, second):
    """(weight, bias) of the one linear layer that equals the two layers in a row."""
    return second.weight @ first.weight, second.weight @ first.bias + second.bias


def _near_step(network, x, y, learner, start, strength):
    """{"loss": the cross-entropy}, after a step on it plus strength times the squared distance from start."""
    loss = F.cross_entropy(network(x), y)
    far = sum((weight - start[name]).square().sum() for name, weight in network.named_parameters() if name in start)
    learner.descend(loss + strength * far)
    return {"loss": loss}


def _true_axis(matrix, counts):
    """0 if the rows are the true classes, 1 if the columns are, and -1 if neither or both fit."""
    rows, columns = torch.equal(matrix.sum(1), counts), torch.equal(matrix.sum(0), counts)
    return -1 if rows == columns else int(columns)


def _small() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        body = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 4))
        return nn.Sequential(body, nn.Linear(4, 3))


def _look_frozen(call: Callable, layers: int) -> dict[str, object]:
    """Which weights and biases of a small network are trained: convolution, three linear layers."""
    frozen = as_module(call(_small(), layers))
    trained = [weight.requires_grad for weight in frozen.parameters()]
    return {
        "for each weight and bias from below, whether it is trained (1) or not (0)": [float(each) for each in trained]
    }


def _look_near(call: Callable, strength: float) -> dict[str, object]:
    """Train a small network on three classes, in which the lower layer has a start, and look how far it moved."""
    draw = torch.Generator().manual_seed(3)
    y = torch.arange(3).repeat(20)
    x = torch.eye(3)[y].repeat(1, 2) + 0.5 * torch.randn(60, 6, generator=draw)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        small = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    start = {name: weight.detach().clone() for name, weight in small.named_parameters() if name.startswith("0.")}
    learner = Learner(small, 0.01)
    losses = learn(lambda: call(small, x, y, learner, start, strength), [()] * 60, "loss")["loss"]
    moved = sum((weight - start[name]).square().sum() for name, weight in small.named_parameters() if name in start)
    return {
        "the loss of the first step": losses[0],
        "the loss of the last of 60 steps": losses[-1],
        "in the end, the squared distance of the lower layer from its start": moved,
    }


def _layers(inputs: int, between: int, outputs: int) -> tuple[nn.Linear, nn.Linear]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(inputs)
        return nn.Linear(inputs, between), nn.Linear(between, outputs)


ROWS = torch.tensor([[8, 1, 1], [0, 5, 2], [3, 0, 9]])
EXERCISES = {
    "19.1": Exercise(
        _freeze_all_but,
        cases={"With two layers left,": (2,), "With one layer left,": (1,), "With all four left,": (4,)},
        mistakes={
            "A layer has a weight and a bias; yours are still trained in part.": (
                "layer.requires_grad_(False)",
                "layer.weight.requires_grad_(False)",
            ),
            "That freezes the last layers instead of the first ones.": (
                "found[: len(found) - layers]",
                "found[len(found) - layers :]",
            ),
            "That leaves one layer too few.": ("len(found) - layers]", "len(found) - layers + 1]"),
            "That leaves one layer too many.": ("len(found) - layers]", "max(0, len(found) - layers - 1)]"),
            "Convolutions have to be frozen too.": ("nn.Linear | nn.Conv2d", "nn.Linear"),
            "That freezes everything.": ("found[: len(found) - layers]", "found"),
            "Nothing was frozen: call requires_grad_(False).": ("layer.requires_grad_(False)", "layer.eval()"),
        },
        notice="Gradients are then computed only down to the last trained layer. Freezing the top instead of the "
        "bottom would save memory for weights, but not that time.",
        look=_look_frozen,
    ),
    "19.2": Exercise(
        _merged,
        cases={"For layers 4 → 3 → 2,": _layers(4, 3, 2), "For layers 5 → 2 → 3,": _layers(5, 2, 3)},
        mistakes={
            "The first layer's bias passes through the second layer as well.": ("second.weight @ first.bias + ", ""),
            "The second layer's bias is missing.": (" + second.bias", ""),
            "The first layer acts first, so its weight stands on the right.": (
                "second.weight @ first.weight,",
                "first.weight.T @ second.weight.T,",
            ),
        },
        notice="In 5 → 2 → 3 the one matrix has rank 2 at most: a narrow layer in between limits what the pair can do, "
        "even without an activation. In this chapter, with 10 units for 10 classes, it limits nothing.",
        look=several("the weight", "the bias"),
    ),
    "19.3": Exercise(
        _near_step,
        cases={"With a strength of 0.1,": (0.1,), "With a strength of 10,": (10.0,), "With a strength of 0,": (0.0,)},
        mistakes={
            "The weights are not held: add the penalty to what the learner descends.": (
                "loss + strength * far",
                "loss",
            ),
            "Return the cross-entropy alone, without the penalty.": (
                '{"loss": loss}',
                '{"loss": loss + strength * far}',
            ),
            "The distance is from start, not from zero: that would be weight decay.": (
                "weight - start[name]",
                "weight",
            ),
            "Take squares: absolute differences pull just as hard close to the start.": (".square()", ".abs()"),
            "Sum the squares, do not average them.": (".square().sum()", ".square().mean()"),
            "The penalty has the wrong sign: it drives the weights away.": ("loss + strength", "loss - strength"),
            "Nothing was learned: call learner.descend.": ("learner.descend(loss + strength * far)", "pass"),
        },
        notice="Strength 0 is fine-tuning, and infinite strength is freezing. In between, the start is a prior: the "
        "penalty is the negative log density of a normal distribution around the pre-trained weights.",
        look=_look_near,
        tolerance=0.02,
    ),
    "19.4": Exercise(
        _true_axis,
        cases={
            "If the rows fit, the axis": (ROWS, ROWS.sum(1)),
            "If the columns fit, the axis": (ROWS, ROWS.sum(0)),
            "If neither fits, the answer": (ROWS, torch.tensor([10, 10, 9])),
            "If both fit, the answer": (torch.eye(3).long() * 7, torch.tensor([7, 7, 7])),
        },
        mistakes={
            "A sum over axis 0 adds the rows together, and gives one number for each column.": (
                "matrix.sum(1), counts), torch.equal(matrix.sum(0)",
                "matrix.sum(0), counts), torch.equal(matrix.sum(1)",
            ),
            "If both fit, nothing is decided.": ("rows == columns", "not rows and not columns"),
            "If neither fits, nothing is decided.": ("rows == columns", "rows and columns"),
        },
        notice="The check needs no network, only the numbers of images. Predicted digits hardly ever add up to exactly "
        "those, true ones always do.",
    ),
}
