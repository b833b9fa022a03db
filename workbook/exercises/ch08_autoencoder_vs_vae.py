"""Exercises of chapter 08: even steps along a path, samples of ten classes, and compact codes without noise."""

from collections.abc import Callable
from typing import Any

import torch

from lib.models.vae import VAE, reconstruction_loss
from lib.training.loop import Learner, normal_draws, stream
from workbook.exercises.engine import Exercise, learn


def _normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


LABELS = torch.arange(60) % 10
CODES = _normal(60, 2, seed=1) * torch.tensor([1.0, 3.0]) * (1 + LABELS[:, None]) + 2 * LABELS[:, None]


def _largest_step(points):
    """The largest step over the mean step, one number, of points (N, D) along a path."""
    steps = points.diff(dim=0).norm(dim=1)
    return steps.max() / steps.mean()


def _class_samples(codes, labels, noise):
    """Points (M, 2): row i is the mean of class i mod 10 plus its sd of each coordinate times row i of the noise."""
    z = torch.empty_like(noise)
    for digit in range(10):
        own = codes[labels == digit]
        z[digit::10] = own.mean(0) + own.std(0) * noise[digit::10]
    return z


def _penalty_step(vae, x, draw, learner, beta=0.1):
    """{"reconstruction": …, "kl": half the squared length of the means}, averages over the images, after one step
    without noise on the former plus beta times the latter."""
    mean, _ = vae.encode(x)
    reconstruction = reconstruction_loss(vae.decode(mean), x).mean()
    penalty = mean.square().sum(1).mean() / 2
    learner.descend(reconstruction + beta * penalty)
    return {"reconstruction": reconstruction, "kl": penalty}


def _look_penalty(call: Callable, beta: float) -> dict[str, Any]:
    """Train a small network on binary images of twelve pixels, and look at its losses and codes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        vae = VAE((12, 16, 2))
    pixels = (1.5 * _normal(200, 2, seed=1) @ _normal(2, 12, seed=2) > 0).float()
    draw, learner = normal_draws(stream(0, 0)), Learner(vae, 0.02, cycle=150)
    losses = learn(lambda: call(vae, pixels, draw, learner, beta), [()] * 150, "reconstruction", "kl")
    first = {f"the {name} of the first step": values[0] for name, values in losses.items()}
    return first | {f"the {name} of the last of 150 steps": values[-1] for name, values in losses.items()}


EXERCISES = {
    "08.1": Exercise(
        _largest_step,
        cases={
            "For four points on a line, the result": (torch.tensor([[0.0, 0], [1, 0], [2, 0], [5, 0]]),),
            "For a random walk in three dimensions, the result": (_normal(12, 3).cumsum(0),),
        },
        mistakes={
            "Divide by the mean step, not by the sum: the result must not depend on the number of steps.": (
                "steps.mean()",
                "steps.sum()",
            ),
            "Divide by the mean step.": (" / steps.mean()", ""),
            "Those are distances from the origin. A step is the difference of two points.": (
                "points.diff(dim=0).norm(dim=1)",
                "points.norm(dim=1)",
            ),
            "Take the length of each step, over its coordinates (dim=1).": (".norm(dim=1)", ".norm(dim=0)"),
            "That is the mean over the largest.": ("steps.max() / steps.mean()", "steps.mean() / steps.max()"),
            "Take the square root: a length, not its square.": (".norm(dim=1)", ".square().sum(1)"),
        },
        notice="In pixels a cross-fade has 1, though nobody would call it a path through digits: what counts as a step "
        "depends on the space in which it is measured.",
    ),
    "08.2": Exercise(
        _class_samples,
        cases={
            "For twenty rows, the points": (CODES, LABELS, _normal(20, 2, seed=2)),
            "Without noise, the points": (CODES, LABELS, torch.zeros(10, 2)),
        },
        mistakes={
            "Those are all codes' mean and sd. Use those of the class.": (
                "codes[labels == digit]",
                "codes",
            ),
            "The mean of the class is missing.": ("own.mean(0) + ", ""),
            "Multiply by the sd, not by the variance.": ("own.std(0)", "own.var(0)"),
            "Each coordinate has its own sd: std(0).": ("own.std(0)", "own.std()"),
            "The noise is not scaled by the class's sd.": ("own.std(0) * ", ""),
        },
        notice="An autoencoder with such a mixture is a generative model too, one that was told the labels.",
    ),
    "08.3": Exercise(
        _penalty_step,
        cases={"With β = 0.1,": (0.1,), "With β = 2,": (2.0,)},
        mistakes={
            "The penalty does not reach the loss.": ("reconstruction + beta * penalty", "reconstruction"),
            "β is not used.": ("beta * penalty", "penalty"),
            "Add up the coordinates of an image, then average over the images.": (
                "mean.square().sum(1).mean()",
                "mean.square().mean()",
            ),
            "Half of the squared length.": (" / 2", ""),
            "Nothing was learned: call learner.descend.": ("learner.descend(", "("),
            "Square the means: their length counts, not their sign.": ("mean.square()", "mean"),
        },
        notice="The codes stay near 0 without any noise. What did the noise do beyond that? Measure it.",
        look=_look_penalty,
        tolerance=0.02,
    ),
}
