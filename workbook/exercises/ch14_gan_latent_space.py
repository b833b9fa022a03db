"""Exercises of chapter 14: spherical interpolation, what vectors have in common, a discriminator of packs."""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from workbook.exercises.ch05_gan import games, two_linear
from workbook.exercises.engine import Exercise


def _slerp(start, end, t):
    """The point (d,) at weight t on the arc from start to end, two vectors (d,)."""
    angle = F.cosine_similarity(start, end, dim=0).acos()
    return (torch.sin((1 - t) * angle) * start + torch.sin(t * angle) * end) / torch.sin(angle)


def _shared(z):
    """One number, the squared length of the true mean of the vectors z (n, d), estimated without bias."""
    return z.mean(0).square().sum() - z.var(0).sum() / len(z)


def _packed_step(G, D, real, z, g, d):
    """{"d_loss": …, "g_loss": …}, after one step of D on packs of two images, and then one of G against it."""
    fake = G(z)
    on_real = D(real.view(len(real) // 2, -1))
    on_fake = D(fake.detach().view(len(fake) // 2, -1))
    d_loss = F.softplus(-on_real).mean() + F.softplus(on_fake).mean()
    d.descend(d_loss)
    g_loss = F.softplus(-D(fake.view(len(fake) // 2, -1))).mean()
    g.descend(g_loss)
    return {"d_loss": d_loss, "g_loss": g_loss}


def _mixed_packs(G, D, real, z, g, d):
    fake = G(z)
    on_real, on_fake = D(torch.cat([real, fake.detach()], 1)[: len(real) // 2]).view(2, -1)
    d_loss = F.softplus(-on_real).mean() + F.softplus(on_fake).mean()
    d.descend(d_loss)
    g_loss = F.softplus(-D(torch.cat([real, fake], 1)[: len(real) // 2])).mean()
    g.descend(g_loss)
    return {"d_loss": d_loss, "g_loss": g_loss}


def _look_packed(call: Callable) -> dict[str, object]:
    """Let only D learn, only G, and both, where real points lie around −2 and 2 on a line."""
    losses, gaps, spreads, real = {}, {}, {}, torch.tensor([[-2.0, -2.0], [-2.0, 2.0], [2.0, -2.0], [2.0, 2.0]])

    def batches(who: str) -> list[tuple]:
        steps = 300 if who == "both" else 60
        points = 4 * torch.randint(2, (steps, 128, 1)) - 2 + 0.2 * torch.randn(steps, 128, 1)
        return list(zip(points, torch.randn(steps, 128, 2), strict=True))

    build = partial(map, partial(two_linear, 2, 32), (nn.LeakyReLU(0.2), nn.LeakyReLU(0.2)))
    for who, lost, G, D in games(call, build, batches, (0.005, 0.005)):
        fake = G(torch.randn(1000, 2))
        losses[who], spreads[who] = lost, fake.std()
        gaps[who] = D(real).mean() - D(fake.view(500, 2)).mean()
    return {
        "the loss of D in the first step": losses["G"]["d_loss"][0],
        "the loss of G in the first step": losses["D"]["g_loss"][0],
        "the logit of real packs minus that of generated ones, after 60 steps in which only D can learn,": gaps["D"],
        "the same, after 60 steps in which only G can learn,": gaps["G"],
        "the standard deviation of generated points, after 300 steps of both,": spreads["both"],
    }


def _normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


EXERCISES = {
    "14.1": Exercise(
        _slerp,
        cases={
            f"At t = {t:g}, between vectors {named}, the point": (start, end, t)
            for t in (0.0, 0.3, 0.5)
            for named, start, end in (
                ("of length 10", 10 * F.normalize(_normal(6), dim=0), 10 * F.normalize(_normal(6, seed=1), dim=0)),
                ("of different lengths", 2 * _normal(4, seed=2), _normal(4, seed=3)),
            )
        },
        mistakes={
            "That is the straight line, which leaves the shell.": (
                "(torch.sin((1 - t) * angle) * start + torch.sin(t * angle) * end) / torch.sin(angle)",
                "(1 - t) * start + t * end",
            ),
            "The arc cosine needs a cosine: divide the product by both lengths.": (
                "F.cosine_similarity(start, end, dim=0).acos()",
                "torch.dot(start, end).clamp(-1, 1).acos()",
            ),
            "That is the cosine of the angle, not the angle.": ("dim=0).acos()", "dim=0)"),
            "You swapped the two weights: at t = 0 the point is `start`.": (
                "* start + torch.sin(t * angle) * end",
                "* end + torch.sin(t * angle) * start",
            ),
            "Divide by the sine of the angle.": (" / torch.sin(angle)", ""),
            "The angle is divided in parts, not the sine: sin(tω), not t·sin ω.": (
                "(torch.sin((1 - t) * angle) * start + torch.sin(t * angle) * end)",
                "((1 - t) * torch.sin(angle) * start + t * torch.sin(angle) * end) * torch.sin(angle)",
            ),
        },
        notice="The length goes smoothly from that of `start` to that of `end`. For two vectors that point the same "
        "way the sine is 0 and the formula fails; the straight line is then right.",
    ),
    "14.2": Exercise(
        _shared,
        cases={
            "For 5 vectors around 0, the estimate": (_normal(5, 3).double(),),
            "For 40 vectors with a mean of length 2, the estimate": (
                _normal(40, 4, seed=1).double() + torch.tensor([0, 0, 2.0, 0]),
            ),
            "For 8 vectors of other variances, the estimate": (
                3 * _normal(8, 6, seed=2).double() * torch.arange(1, 7) + 1,
            ),
        },
        mistakes={
            "That is biased: it counts what chance leaves in the mean.": (" - z.var(0).sum() / len(z)", ""),
            "d/n is right only for a variance of 1: use the variances of these vectors.": (
                "z.var(0).sum()",
                "z.shape[1]",
            ),
            "The variance of a mean is the variance divided by n.": ("z.var(0).sum() / len(z)", "z.var(0).sum()"),
            "Subtract variances, not standard deviations.": ("z.var(0)", "z.std(0)"),
            "Without n − 1 in the variance, a little bias is left.": ("z.var(0)", "z.var(0, unbiased=False)"),
            "Estimate the square: its root would be biased again, and could not be below 0.": (
                "z.mean(0).square().sum() - z.var(0).sum() / len(z)",
                "(z.mean(0).square().sum() - z.var(0).sum() / len(z)).clamp_min(0).sqrt()",
            ),
            "First the mean of the vectors, then its squared length.": (
                "z.mean(0).square().sum() -",
                "z.square().sum(1).mean() -",
            ),
        },
        notice="An estimate of something that is never negative may be negative itself. Cutting it off at 0 would make "
        "it too large on average.",
    ),
    "14.3": Exercise(
        _packed_step,
        cases={"For points around −2 and 2 on a line,": ()},
        mistakes={
            "A pack holds two real images or two generated ones, never one of each.": _mixed_packs,
            "D has a cross-entropy of two terms, without a factor of one half.": (
                "d_loss = F.softplus(-on_real).mean() + F.softplus(on_fake).mean()",
                "d_loss = (F.softplus(-on_real).mean() + F.softplus(on_fake).mean()) / 2",
            ),
            "You swapped real and generated packs in the loss of D.": (
                "F.softplus(-on_real).mean() + F.softplus(on_fake).mean()",
                "F.softplus(on_real).mean() + F.softplus(-on_fake).mean()",
            ),
            "G wants its packs to be called real.": (
                "F.softplus(-D(fake.view(len(fake) // 2, -1)))",
                "F.softplus(D(fake.view(len(fake) // 2, -1)))",
            ),
            "That is the minimax loss; G minimises the non-saturating one.": (
                "F.softplus(-D(fake.view(len(fake) // 2, -1))).mean()",
                "-F.softplus(D(fake.view(len(fake) // 2, -1))).mean()",
            ),
            "Joining each image with itself shows D no variety.": (
                "D(fake.detach().view(len(fake) // 2, -1))",
                "D(fake.detach().repeat(1, 2))",
            ),
            "G learned nothing: call g.descend(g_loss).": ("g.descend(g_loss)", "pass"),
            "D learned nothing: call d.descend(d_loss).": ("d.descend(d_loss)", "pass"),
        },
        notice="If all generated images are alike, so are the two of every pack, and real packs are not: D sees it at "
        "once. Now the slope for one image does depend on another.",
        look=_look_packed,
        tolerance=0.05,
    ),
}
