"""Exercises of chapter 09: losses of a zero-sum game, variety, algorithm 1 as printed, judging images together."""

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


def _together_loss(judge, real, fake, m):
    """The loss of D (a sum) for images (B, P); ``judge`` gives one logit to m images in a row, (N, m · P) → (N, 1)."""

    def groups(x):
        whole = x[: len(x) // m * m]
        return whole.reshape(-1, m * x.shape[1])

    on_real, on_fake = judge(groups(real)), judge(groups(fake))
    return -F.logsigmoid(on_real).mean() - F.logsigmoid(-on_fake).mean()


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


def _judge(x):
    """A logit for each row (N, 1), from weights that differ in every column."""
    return (x @ _normal(x.shape[1], seed=2)).tanh()[:, None]


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
        _together_loss,
        cases={
            "For two images at once,": (_judge, _normal(8, 5), _normal(8, 5, seed=1), 2),
            "For four at once, of ten,": (_judge, _normal(10, 3), _normal(10, 3, seed=1), 4),
            "For one at a time,": (_judge, _normal(6, 4), _normal(6, 4, seed=1), 1),
        },
        mistakes={
            "A row holds the first image, then the second, and so on: reshape, without transposing.": (
                "return whole.reshape(-1, m * x.shape[1])",
                "return whole.reshape(-1, m, x.shape[1]).transpose(1, 2).reshape(-1, m * x.shape[1])",
            ),
            "A group is m images that follow each other: 0 to m − 1 make the first.": (
                "return whole.reshape(-1, m * x.shape[1])",
                "return whole.reshape(m, -1, x.shape[1]).transpose(0, 1).reshape(-1, m * x.shape[1])",
            ),
            "The images that fill no group are left out at the end, not at the beginning.": (
                "whole = x[: len(x) // m * m]",
                "whole = x[len(x) % m :]",
            ),
            "You swapped real and generated images.": ("on_real, on_fake =", "on_fake, on_real ="),
            "The two means are added, without a factor of one half.": (
                "-F.logsigmoid(on_real).mean() - F.logsigmoid(-on_fake).mean()",
                "(-F.logsigmoid(on_real).mean() - F.logsigmoid(-on_fake).mean()) / 2",
            ),
        },
        notice="Nothing else of the game changes, and each image still gets its gradient. But now D can see what no "
        "single image shows: that four ones in a row are unlikely.",
    ),
}
