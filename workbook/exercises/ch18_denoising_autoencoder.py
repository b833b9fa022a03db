"""Exercises of chapter 18: the mean of clipped noise, a random step of a walk, a network that predicts noise."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from lib.training.loop import Learner
from workbook.exercises.engine import Exercise, learn


def _clipped_mean(sigma):
    """The means, as a tensor, of a black pixel with noise of factors sigma that is clipped to [0, 1]."""
    inside = sigma * (1 - (-1 / (2 * sigma**2)).exp()) / math.sqrt(2 * math.pi)
    return inside + torch.special.ndtr(-1 / sigma)


def _random_step(x, denoised, level, lower, noise):
    """The images (N, 784) after one step from level to lower, by way of the level lower**2 / level."""
    down = lower**2 / level
    added = math.sqrt(lower**2 - down**2)
    return x + (1 - down / level) * (denoised - x) + added * noise


def _noise_step(network, x, given, learner):
    """{"loss": the mean squared difference of the network's output and the noise in given}, after one step on it."""
    loss = F.mse_loss(network(given), given - x)
    learner.descend(loss)
    return {"loss": loss}


def _normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _look_noise(call: Callable, sigma: float) -> dict[str, object]:
    """Train a small network on images of twelve pixels that one number describes, and look at it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 12))
    x = (_normal(200, 1, seed=1) @ _normal(1, 12, seed=2) > 0).float()
    given, learner = x + sigma * _normal(200, 12, seed=3), Learner(network, 0.02, cycle=150)
    losses = learn(lambda: call(network, x, given, learner), [()] * 150, "loss")["loss"]
    with torch.inference_mode():
        left = (given - network(given) - x).square().mean()
    return {
        "the loss of the first step": losses[0],
        "the mean loss of the last 20 of 150 steps": sum(losses[-20:]) / 20,
        "in the end, the squared error of input minus output": left,
    }


EXERCISES = {
    "18.1": Exercise(
        _clipped_mean,
        cases={
            "For weak noise, the mean": (torch.tensor([0.1, 0.2]),),
            "For strong noise, the mean": (torch.tensor([0.5, 1.0, 3.0]),),
        },
        mistakes={
            "The upper end is missing: values above 1 become 1.": (" + torch.special.ndtr(-1 / sigma)", ""),
            "That is right for weak noise only: here some values are above 1.": (
                "inside + torch.special.ndtr(-1 / sigma)",
                "sigma / math.sqrt(2 * math.pi)",
            ),
            "The mean of σε is 0 only if nothing is clipped.": (
                "inside + torch.special.ndtr(-1 / sigma)",
                "0 * sigma",
            ),
            "Take the probability above 1, Φ(−1/σ), not that below.": ("ndtr(-1 / sigma)", "ndtr(1 / sigma)"),
            "The integral ends at 1: take off the part of the density above it.": (
                " * (1 - (-1 / (2 * sigma**2)).exp())",
                "",
            ),
            "Half of the draws are negative, and become 0: they count too.": (
                "inside + torch.special.ndtr(-1 / sigma)",
                "2 * (inside + torch.special.ndtr(-1 / sigma))",
            ),
        },
        notice="At factor 1 the black background has a mean of about 0.32. A network that was trained on noise with a "
        "mean of 0 takes that for grey.",
    ),
    "18.2": Exercise(
        _random_step,
        cases={
            "From level 2 to 1, the images": (2 * _normal(3, 6), torch.zeros(3, 6), 2.0, 1.0, _normal(3, 6, seed=1)),
            "Without fresh noise, the images": (_normal(2, 4), _normal(2, 4, seed=2), 1.0, 0.5, torch.zeros(2, 4)),
            "In a small step, the images": (_normal(2, 4), _normal(2, 4, seed=2), 0.5, 0.45, _normal(2, 4, seed=1)),
        },
        mistakes={
            "Variances add, not levels: take the root of the difference of the squares.": (
                "math.sqrt(lower**2 - down**2)",
                "(lower - down)",
            ),
            "That is a variance: take its root.": ("math.sqrt(lower**2 - down**2)", "(lower**2 - down**2)"),
            "No fresh noise was added.": (" + added * noise", ""),
            "You went down to lower only, and then added noise: that ends above it.": (
                "(1 - down / level)",
                "(1 - lower / level)",
            ),
            "Add noise up to the level lower, not level.": (
                "math.sqrt(lower**2 - down**2)",
                "math.sqrt(level**2 - down**2)",
            ),
            "The part of the way is 1 − σ′/σ, not σ′/σ.": ("(1 - down / level)", "(down / level)"),
            "That goes away from the answer: the difference is denoised − x.": ("(denoised - x)", "(x - denoised)"),
        },
        notice="The fresh noise corrects errors of earlier steps: what the walk did wrong is partly forgotten. The "
        "first diffusion models walked like this.",
    ),
    "18.3": Exercise(
        _noise_step,
        cases={"With noise of 0.3,": (0.3,), "With noise of 1,": (1.0,)},
        mistakes={
            "That is the denoiser of this chapter: its target is the image, not the noise.": ("given - x)", "x)"),
            "The noise is given − x; yours has the other sign.": ("given - x)", "x - given)"),
            "The network must see the noisy images, not the clean ones.": ("network(given)", "network(x)"),
            "The target is the noise alone; yours still holds the image.": ("given - x)", "given)"),
            "Nothing was learned: call learner.descend.": ("learner.descend(", "("),
        },
        notice="By Tweedie's formula the noise is −σ² times the score. Predicting noise, image or score is one task in "
        "three units; they differ in which levels count most in the loss.",
        look=_look_noise,
        tolerance=0.03,
    ),
}
