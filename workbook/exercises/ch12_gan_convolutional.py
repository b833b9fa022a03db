"""Exercises of chapter 12: overlaps of a transposed convolution, cross-entropy from logits, feature matching."""

from collections.abc import Callable

import torch
import torch.nn.functional as F

from workbook.exercises.ch05_gan import look_game
from workbook.exercises.engine import Exercise


def _overlaps(n, k, s):
    """How many of n inputs reach each output of a transposed convolution with kernel k and stride s."""
    counts = torch.zeros((n - 1) * s + k, dtype=torch.int64)
    for i in range(n):
        counts[i * s : i * s + k] += 1
    return counts


def _stable_bce(x, y):
    """The cross-entropy of logits x with labels y, for any logit."""
    return x.clamp_min(0) - x * y + torch.log1p(torch.exp(-x.abs()))


def _matching_step(G, D, real, z, g, d):
    """{"d_loss": …, "g_loss": …}, after one step of D on its cross-entropy, and one of G on the mean features."""
    fake = G(z)
    on_real, on_fake = D(real), D(fake.detach())
    d_loss = F.softplus(-on_real).mean() + F.softplus(on_fake).mean()
    d.descend(d_loss)
    gap = D[:-1](fake).mean(0) - D[:-1](real).detach().mean(0)
    g_loss = gap.square().sum()
    g.descend(g_loss)
    return {"d_loss": d_loss, "g_loss": g_loss}


def _look_matching(call: Callable) -> dict[str, object]:
    """The game of chapter 05, with noise that is drawn for the step."""
    return look_game(lambda G, D, real, draw, g, d: call(G, D, real, draw(), g, d), both=(0.002, 0.01))


EXERCISES = {
    "12.1": Exercise(
        _overlaps,
        cases={
            f"For {n} inputs, kernel {k} and stride {s}, the counts": (n, k, s)
            for n, k, s in ((3, 3, 2), (4, 4, 2), (5, 2, 3), (3, 5, 1))
        },
        mistakes={
            "The copies lie s places apart, not one.": (
                "counts[i * s : i * s + k]",
                "counts[i : i + k]",
            ),
            "An input writes k outputs, not s.": ("i * s + k] += 1", "i * s + s] += 1"),
            "There are (n − 1) s + k outputs.": ("(n - 1) * s + k,", "n * s + k,"),
            "Count contributions, and do not only mark them.": ("+= 1", "= 1"),
        },
        notice="With kernel 4 and stride 2 the inside is even: all counts are 2. With kernel 3 they alternate; in two "
        "dimensions they multiply to the 1, 2 and 4 of a checkerboard.",
    ),
    "12.2": Exercise(
        _stable_bce,
        cases={
            f"For the label {y:g} and logits from −200 to 200, the loss": (
                torch.tensor([-200.0, -20.0, -1.0, 0.0, 1.0, 20.0, 200.0]),
                torch.full((7,), y),
            )
            for y in (0.0, 1.0, 0.9)
        },
        mistakes={
            "The sign is wrong: a cross-entropy is not below 0.": (
                "return x.clamp_min(0) - x * y +",
                "return x * y - x.clamp_min(0) -",
            ),
            "That overflows: exp(200) is infinite in float32.": (
                "x.clamp_min(0) - x * y + torch.log1p(torch.exp(-x.abs()))",
                "(1 + x.exp()).log() - x * y",
            ),
            "After a sigmoid the logit is lost where it is large.": (
                "x.clamp_min(0) - x * y + torch.log1p(torch.exp(-x.abs()))",
                "F.binary_cross_entropy(x.sigmoid(), y, reduction='none')",
            ),
            "The labels are swapped.": ("x * y", "x * (1 - y)"),
            "The exponent must never be above 0: use −|x|.": ("-x.abs()", "x.abs()"),
            "Give the loss of each logit, not the mean.": (
                "torch.log1p(torch.exp(-x.abs()))",
                "torch.log1p(torch.exp(-x.abs())).mean()",
            ),
        },
        notice="log1p(t) is log(1 + t) without losing a small t. So the loss of a logit of −20 with label 0 is 2e-9, "
        "where 1 + exp(−20), rounded to float32, would leave 0.",
    ),
    "12.3": Exercise(
        _matching_step,
        cases={"For points around 2 on a line,": ()},
        mistakes={
            "D has a cross-entropy of two terms, without a factor of one half.": (
                "d_loss = F.softplus(-on_real).mean() + F.softplus(on_fake).mean()",
                "d_loss = (F.softplus(-on_real).mean() + F.softplus(on_fake).mean()) / 2",
            ),
            "You swapped real and generated points in the loss of D.": ("on_real, on_fake =", "on_fake, on_real ="),
            "Compare the means over the batch, not point with point.": (
                "D[:-1](fake).mean(0) - D[:-1](real).detach().mean(0)",
                "(D[:-1](fake) - D[:-1](real).detach()) / 16",
            ),
            "Features are the outputs of D without its last layer, not its logit.": (
                "D[:-1](fake).mean(0) - D[:-1](real).detach().mean(0)",
                "D(fake).mean(0) - D(real).detach().mean(0)",
            ),
            "Add the squares over the features, and do not average them.": (".square().sum()", ".square().mean()"),
            "That is still the non-saturating loss of G.": ("gap.square().sum()", "F.softplus(-D(fake)).mean()"),
            "G learned nothing: call g.descend(g_loss).": ("g.descend(g_loss)", "pass"),
            "D learned nothing: call d.descend(d_loss).": ("d.descend(d_loss)", "pass"),
        },
        notice="G has a goal that D cannot move away from it as fast as a logit. But means can agree while the images "
        "do not: a generator may match them with a few kinds of images.",
        look=_look_matching,
        tolerance=0.05,
    ),
}
