"""Exercises of chapter 09: losses of a zero-sum game, variety, algorithm 1 as printed, the spread of a batch."""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from lib.training.loop import Learner, normal_draws, stream
from workbook.exercises.engine import Exercise, learn, several


def _losses(on_real, on_fake):
    """Three numbers: the loss of D (a sum), the minimax loss of G, and their sum, from logits (B,)."""
    d_loss = -F.logsigmoid(on_real).mean() - F.logsigmoid(-on_fake).mean()
    g_loss = F.logsigmoid(-on_fake).mean()
    return d_loss, g_loss, -F.logsigmoid(on_real).mean()


def _variety(fake, real):
    """The spread of generated images (N, P) around their mean, over that of real images (N, P)."""
    return (fake.var(0).sum() / real.var(0).sum()).sqrt()


def _printed_step(G, D, real, draw, g, d):
    """{"d_loss": …, "g_loss": …}, after one step of D, and one of G down log(1 − D(G(z))) with the same noise."""
    z = draw()
    on_real, on_fake = D(real), D(G(z).detach())
    d_loss = -F.logsigmoid(on_real).mean() - F.logsigmoid(-on_fake).mean()
    d.descend(d_loss)
    logits = D(G(z))
    g_loss = F.logsigmoid(-logits).mean()
    g.descend(g_loss)
    return {"d_loss": d_loss, "g_loss": g_loss}


def _with_spread(x):
    """Images (B, P + 1): those of x (B, P), and behind each their standard deviation, mean over the pixels."""
    spread = x.std(0, unbiased=False).mean()
    return torch.cat([x, spread.expand(len(x), 1)], 1)


def _look_printed(call: Callable) -> dict[str, object]:
    """Let only D learn, only G, and both, to imitate points around 2 on a line."""
    points, found = normal_draws(stream(0, 1)), {}
    for who, d_rate, g_rate in (("D", 0.01, 0.0), ("G", 0.0, 0.01), ("both", 0.005, 0.005)):
        noise = stream(0, 0)
        draw = partial(normal_draws(noise), 256, 2)
        torch.manual_seed(0)
        G = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 1))
        D = nn.Sequential(nn.Linear(1, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))
        g, d = (Learner(model, lr, settings={"betas": (0.5, 0.99)}) for model, lr in ((G, g_rate), (D, d_rate)))
        batches = [(G, D, 2 + 0.5 * points(256, 1), draw, g, d) for _ in range(100)]
        losses = learn(call, batches, "d_loss", "g_loss")
        fake = G(torch.randn(2000, 2))
        found[who] = losses, D(batches[0][2]).mean() - D(fake).mean(), fake.mean()
    return {
        "the loss of D in the first step": found["G"][0]["d_loss"][0],
        "the loss of G in the first step": found["G"][0]["g_loss"][0],
        "the logit of real points minus that of generated ones, after 100 steps of D alone,": found["D"][1],
        "the mean of generated points, after 100 steps of G alone,": found["G"][2],
        "the mean of generated points, after 100 steps of both,": found["both"][2],
        "the next random number of the noise, after 100 steps,": torch.rand(1, generator=noise).item(),
    }


def _normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


EXERCISES = {
    "09.1": Exercise(
        _losses,
        cases={
            "For logits around 0,": (_normal(8), _normal(8, seed=1)),
            "If D is sure,": (9 + _normal(8), _normal(8, seed=1) - 200),
            "If D is wrong about generated images,": (_normal(8), 60 + _normal(8, seed=1)),
        },
        mistakes={
            "The two means are added, without a factor of one half.": (
                "d_loss = -F.logsigmoid(on_real).mean() - F.logsigmoid(-on_fake).mean()",
                "d_loss = (-F.logsigmoid(on_real).mean() - F.logsigmoid(-on_fake).mean()) / 2",
            ),
            "That is the non-saturating loss. Here G descends log(1 − σ(l)).": (
                "g_loss = F.logsigmoid(-on_fake).mean()",
                "g_loss = -F.logsigmoid(on_fake).mean()",
            ),
            "The sign is wrong: G wants log(1 − σ(l)) to fall.": (
                "g_loss = F.logsigmoid(-on_fake).mean()",
                "g_loss = -F.logsigmoid(-on_fake).mean()",
            ),
            "You swapped real and generated images in the loss of D.": (
                "-F.logsigmoid(on_real).mean() - F.logsigmoid(-on_fake).mean()\n",
                "-F.logsigmoid(-on_real).mean() - F.logsigmoid(on_fake).mean()\n",
            ),
            "1 − σ(l) loses all digits: write logsigmoid(−l).": (
                "g_loss = F.logsigmoid(-on_fake).mean()",
                "g_loss = (1 - on_fake.sigmoid()).log().mean()",
            ),
            "What remains is −log D(x), a positive number.": (
                "g_loss, -F.logsigmoid(on_real).mean()",
                "g_loss, F.logsigmoid(on_real).mean()",
            ),
        },
        notice="The sum of the two losses of the zero-sum game is −log D(x), which falls as D improves. So even this "
        "sum is not constant: only D's *share* that concerns generated images is the opposite of G's loss.",
        look=several("the loss of D", "the minimax loss of G", "their sum"),
    ),
    "09.2": Exercise(
        _variety,
        cases={
            "For images with half the spread, the variety": (0.5 * _normal(40, 6), _normal(40, 6, seed=1)),
            "For images far from the real ones, the variety": (5 + _normal(40, 6), _normal(40, 6, seed=1)),
            "If some pixels never change, the variety": (
                _normal(40, 6) * torch.tensor([0, 0, 3.0, 1, 1, 1]),
                _normal(40, 6, seed=1) * torch.tensor([0, 1.0, 1, 1, 1, 1]),
            ),
        },
        mistakes={
            "Take the root: a spread has the unit of a pixel.": (".sqrt()", ""),
            "Add the variances of all pixels before you divide: some pixels never change.": (
                "(fake.var(0).sum() / real.var(0).sum()).sqrt()",
                "(fake.var(0) / real.var(0)).mean().sqrt()",
            ),
            "Spread around the mean image of each set, not around the mean of all pixels.": (
                "fake.var(0).sum() / real.var(0).sum()",
                "fake.var() / real.var()",
            ),
            "Divide by the spread of real images.": ("fake.var(0).sum() / real.var(0).sum()", "fake.var(0).sum()"),
            "You swapped generated and real images.": (
                "fake.var(0).sum() / real.var(0).sum()",
                "real.var(0).sum() / fake.var(0).sum()",
            ),
            "That is the spread of the pixels of an image. Compare the images with each other.": (
                "fake.var(0).sum() / real.var(0).sum()",
                "fake.var(1).sum() / real.var(1).sum()",
            ),
        },
        notice="It says nothing about quality: images of pure noise have much variety. A measure of collapse needs one "
        "of fidelity beside it.",
    ),
    "09.3": Exercise(
        _printed_step,
        cases={"For points around 2 on a line,": ()},
        mistakes={
            "That is the non-saturating loss of the public code. The report prints log(1 − D(G(z))).": (
                "g_loss = F.logsigmoid(-logits).mean()",
                "g_loss = -F.logsigmoid(logits).mean()",
            ),
            "The sign is wrong: G descends log(1 − D(G(z))).": (
                "g_loss = F.logsigmoid(-logits).mean()",
                "g_loss = -F.logsigmoid(-logits).mean()",
            ),
            "Algorithm 1 draws the noise once, for both steps.": ("logits = D(G(z))", "logits = D(G(draw()))"),
            "The loss of D is a sum, without a factor of one half.": (
                "d.descend(d_loss)",
                "d_loss = d_loss / 2\n    d.descend(d_loss)",
            ),
            "You swapped real and generated points in the loss of D.": ("on_real, on_fake =", "on_fake, on_real ="),
            "G learned nothing: call g.descend(g_loss).": ("g.descend(g_loss)", "pass"),
            "D learned nothing: call d.descend(d_loss).": ("d.descend(d_loss)", "pass"),
        },
        notice="On this line D never gets far ahead, so the printed loss works. With the networks of the chapter it "
        "may not: look at the gradient when D wins.",
        look=_look_printed,
        tolerance=0.03,
    ),
    "09.4": Exercise(
        _with_spread,
        cases={
            "For four images,": (_normal(4, 3),),
            "For images whose pixels differ in brightness and spread,": (
                torch.arange(5.0) + _normal(3, 5, seed=1) * torch.tensor([0, 0.2, 1, 2, 3]),
            ),
            "For one image, repeated,": (_normal(1, 4, seed=2).repeat(6, 1),),
        },
        mistakes={
            "That is the spread of the pixels of an image. Compare the images of the batch with each other.": (
                "x.std(0, unbiased=False).mean()",
                "x.std(1, unbiased=False).mean()",
            ),
            "Take the spread of each pixel first, then the mean: pixels may differ in brightness.": (
                "x.std(0, unbiased=False).mean()",
                "x.std(unbiased=False)",
            ),
            "Divide by B, not by B − 1: `unbiased=False`.": ("unbiased=False", "unbiased=True"),
            "The standard deviation, not the variance.": ("x.std(", "x.var("),
            "The mean of the standard deviations, not the root of the mean variance.": (
                "x.std(0, unbiased=False).mean()",
                "x.var(0, unbiased=False).mean().sqrt()",
            ),
            "The new column comes behind the pixels.": (
                "[x, spread.expand(len(x), 1)]",
                "[spread.expand(len(x), 1), x]",
            ),
            "Keep the images themselves.": ("torch.cat([x, spread.expand(len(x), 1)], 1)", "spread.expand(len(x), 1)"),
        },
        notice="A generator that repeats itself is now found out by a single number. And as that number has a slope in "
        "every pixel, it tells G how to differ.",
    ),
}
