"""Exercises of chapter 11: KL of a log σ, the evidence over a plane, and free bits."""

import math
from collections.abc import Callable

import torch

from lib.models.vae import VAE, kl_to_prior, reconstruction_loss, reparameterize
from lib.training.loop import Learner, normal_draws, stream
from workbook.exercises.engine import Exercise, learn


def _kl_of_log_sd(mean, log_sd):
    """The KL of N(mean, sd²) from the standard normal prior in nats (B,), from means and log sd (B, D)."""
    return (mean.square() + (2 * log_sd).exp() - 1 - 2 * log_sd).sum(1) / 2


def _evidence(log_likelihoods, axis):
    """log p(x) in nats, one number, from log p(x|z) (N, N) at the points z whose coordinates are both in axis (N,)."""
    squares = axis.square()[:, None] + axis.square()
    log_prior = -squares / 2 - math.log(2 * math.pi)
    return (log_likelihoods + log_prior).flatten().logsumexp(0) + 2 * (axis[1] - axis[0]).log()


def _free_bits_step(vae, x, draw, learner, free=0.5):
    """{"reconstruction": …, "kl": …}, means over the images, after one step in which free nats for each number cost
    nothing."""
    mean, log_variance = vae.encode(x)
    reconstruction = reconstruction_loss(vae.decode(reparameterize(mean, log_variance, draw(*mean.shape))), x).mean()
    kl = kl_to_prior(mean, log_variance).mean(0)
    learner.descend(reconstruction + kl.clamp_min(free).sum())
    return {"reconstruction": reconstruction, "kl": kl.sum()}


def _normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _look_free(call: Callable, free: float) -> dict[str, object]:
    """Train a small VAE on binary images of twelve pixels that one number describes, and look at its last steps."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        vae = VAE((12, 16, 2))
    pixels = (1.5 * _normal(200, 1, seed=1) @ _normal(1, 12, seed=2) > 0).float()
    draw, learner = normal_draws(stream(0, 0)), Learner(vae, 0.02, cycle=150)
    losses = learn(lambda: call(vae, pixels, draw, learner, free), [()] * 150, "reconstruction", "kl")
    ends = {name: sum(values[-20:]) / 20 for name, values in losses.items()}
    first: dict[str, object] = {f"the {name} of the first step": values[0] for name, values in losses.items()}
    return first | {f"the mean {name} of the last 20 of 150 steps": value for name, value in ends.items()}


def _log_likelihoods(axis, low):
    """log p(x|z) of some x on a grid: a ridge between the two coordinates, and nowhere above ``low``."""
    return low - 20 * (axis[:, None] - 0.5 * axis - 0.3).square()


FINE, COARSE = torch.linspace(-4, 4, 81), torch.linspace(-5, 5, 51)

EXERCISES = {
    "11.1": Exercise(
        _kl_of_log_sd,
        cases={
            "For three images and two numbers, the KL": (_normal(3, 2), 0.5 * _normal(3, 2, seed=1) - 1),
            "For an image of ten numbers with sd = 1, the KL": (_normal(1, 10), torch.zeros(1, 10)),
        },
        mistakes={
            "That takes log sd for a log variance: double it first.": (
                "(2 * log_sd).exp() - 1 - 2 * log_sd",
                "log_sd.exp() - 1 - log_sd",
            ),
            "The square of sd is exp(2 log sd), not exp(log sd).": ("(2 * log_sd).exp()", "log_sd.exp()"),
            "The last term is the logarithm of the variance, 2 log sd.": ("- 1 - 2 * log_sd", "- 1 - log_sd"),
            "Half of the sum: ½ (μ² + σ² − 1 − log σ²).": (".sum(1) / 2", ".sum(1)"),
            "Add up the numbers of an image; do not average them.": (".sum(1) / 2", ".mean(1) / 2"),
            "Return one KL for each image.": (".sum(1) / 2", ".sum() / 2"),
            "The sign is wrong: a divergence is never negative.": ("return (", "return -("),
        },
        notice="Whether the head returns log σ or log σ² is a convention: the same network can learn either. But the "
        "sample and the KL must agree on it.",
    ),
    "11.2": Exercise(
        _evidence,
        cases={
            "On a fine grid, log p(x)": (_log_likelihoods(FINE, -3.0), FINE),
            "On a coarse grid, log p(x)": (_log_likelihoods(COARSE, -3.0), COARSE),
            "Of an image with likelihoods below e⁻¹⁴⁰, log p(x)": (_log_likelihoods(FINE, -140.0), FINE),
        },
        mistakes={
            "exp(−140) is 0 in single precision: use logsumexp.": ("logsumexp(0)", "exp().sum().log()"),
            "The prior is missing: points far from 0 are rare.": ("(log_likelihoods + log_prior)", "log_likelihoods"),
            "In two dimensions the normal density has the factor 1 / 2π.": (" - math.log(2 * math.pi)", ""),
            "Each point stands for a cell: add the logarithm of its area.": (" + 2 * (axis[1] - axis[0]).log()", ""),
            "A cell is a square: its area is the square of the step.": (
                "2 * (axis[1] - axis[0])",
                "(axis[1] - axis[0])",
            ),
            "That is the largest term. Integrate over all points.": ("logsumexp(0)", "max()"),
            "That is the mean over the points: an integral is a sum times the area of a cell.": (
                "logsumexp(0) + 2 * (axis[1] - axis[0]).log()",
                "logsumexp(0) - math.log(log_likelihoods.numel())",
            ),
        },
        notice="The coarse grid gives nearly the same: for smooth functions that vanish at the edge, such a sum "
        "converges very fast. In twenty dimensions a grid of 81 points each would have 81²⁰ points.",
    ),
    "11.3": Exercise(
        _free_bits_step,
        cases={"With one nat free,": (1.0,), "With two nats free,": (2.0,)},
        mistakes={
            "That is the ordinary VAE: nothing is free.": ("kl.clamp_min(free).sum()", "kl.sum()"),
            "Clamp each number's KL, then add: yours is free for all of them together.": (
                "kl.clamp_min(free).sum()",
                "kl.sum().clamp_min(free)",
            ),
            "Average over the images before you clamp.": (
                "kl.clamp_min(free).sum()",
                "kl_to_prior(mean, log_variance).clamp_min(free).sum(1).mean()",
            ),
            "Below the floor the loss must not reward a larger KL: use the maximum of both.": (
                "kl.clamp_min(free).sum()",
                "(kl - free).abs().sum()",
            ),
            "That clamps from above.": ("clamp_min(free)", "clamp_max(free)"),
            "Nothing was learned: call learner.descend.": ("learner.descend(", "("),
            "Return the KL itself, not what the loss makes of it.": (
                '"kl": kl.sum()',
                '"kl": kl.clamp_min(free).sum()',
            ),
        },
        notice="What is free is used: the KL ends higher than without it, and the reconstruction loss lower. Free bits "
        "keep a number from falling silent early in training (Kingma et al. 2016).",
        look=_look_free,
        tolerance=0.03,
    ),
}
