"""Exercises of chapter 10: the small kernels of a transposed convolution, batch normalisation, the hinge loss."""

from collections.abc import Callable

import torch
import torch.nn.functional as F

from workbook.exercises.ch05_gan import look_game
from workbook.exercises.engine import Exercise


def _kernel_sums(kernel, s):
    """The sums (s, s) of the weights in rows a, a + s, … and columns b, b + s, … of a square kernel."""
    parts = [[kernel[a::s, b::s] for b in range(s)] for a in range(s)]
    return torch.stack([torch.stack([part.sum() for part in row]) for row in parts])


def _batch_norm(h, gamma, beta):
    """h (B, C, H, W), each channel normalised over the batch and all positions, times gamma, plus beta."""
    m = h.mean((0, 2, 3), keepdim=True)
    v = (h - m).square().mean((0, 2, 3), keepdim=True)
    return gamma.view(1, -1, 1, 1) * (h - m) / (v + 1e-5).sqrt() + beta.view(1, -1, 1, 1)


def _hinge_step(G, D, real, draw, g, d):
    """{"d_loss": …, "g_loss": …}, after a step of D on its hinge loss, and one of G, on the same generated images."""
    fake = G(draw())
    on_real, on_fake = D(real), D(fake.detach())
    d_loss = F.relu(1 - on_real).mean() + F.relu(1 + on_fake).mean()
    d.descend(d_loss)
    g_loss = -D(fake).mean()
    g.descend(g_loss)
    return {"d_loss": d_loss, "g_loss": g_loss}


def _look_hinge(call: Callable) -> dict[str, object]:
    """The game of chapter 05, with a slow D: a logit without bound pushes G without end."""
    return look_game(call, both=(0.002, 0.01))


def _normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


EXERCISES = {
    "10.1": Exercise(
        _kernel_sums,
        cases={
            "For a kernel of 4 × 4 ones and stride 2, the sums": (torch.ones(4, 4), 2),
            "For the numbers 0 to 15 in a kernel of 4 × 4 and stride 2, the sums": (torch.arange(16.0).view(4, 4), 2),
            "For a kernel of 3 × 3 ones and stride 2, the sums": (torch.ones(3, 3), 2),
            "For the numbers 0 to 35 in a kernel of 6 × 6 and stride 3, the sums": (torch.arange(36.0).view(6, 6), 3),
        },
        mistakes={
            "Those are blocks of neighbours. Weights of one small kernel lie s apart.": (
                "kernel[a::s, b::s]",
                "kernel.chunk(s)[a].chunk(s, 1)[b]",
            ),
            "You swapped rows and columns.": ("kernel[a::s, b::s]", "kernel[b::s, a::s]"),
            "Add the weights, and do not average them.": ("part.sum()", "part.mean()"),
            "Only every s-th row belongs to a small kernel, and of that every s-th column.": (
                "kernel[a::s, b::s]",
                "kernel[a::s]",
            ),
            "Add the weights; their number would say only how many contributions there are.": (
                "part.sum()",
                "torch.tensor(float(part.numel()))",
            ),
        },
        notice="If the sums are equal, a flat input becomes a flat output. A kernel of 3 × 3 ones has 4, 2, 2 and 1: "
        "the checkerboard of chapter 12. With kernel 4 equal numbers of weights add up, but the sums may still differ.",
    ),
    "10.2": Exercise(
        _batch_norm,
        cases={
            f"For {name}, the result": (h, gamma, beta)
            for name, h, gamma, beta in (
                (
                    "two channels far apart",
                    5 * _normal(4, 2, 3, 3) + torch.tensor([0.0, 50.0]).view(1, 2, 1, 1),
                    torch.ones(2),
                    torch.zeros(2),
                ),
                (
                    "gamma (2, 0.5) and beta (1, −3)",
                    _normal(4, 2, 3, 3, seed=1),
                    torch.tensor([2.0, 0.5]),
                    torch.tensor([1.0, -3.0]),
                ),
                ("a channel that hardly varies", 1e-3 * _normal(4, 2, 3, 3, seed=2), torch.ones(2), torch.zeros(2)),
            )
        },
        mistakes={
            "That normalises every position on its own: take the statistics over height and width too.": (
                "    m = h.mean((0, 2, 3), keepdim=True)\n    v = (h - m).square().mean((0, 2, 3), keepdim=True)",
                "    m = h.mean(0, keepdim=True)\n    v = (h - m).square().mean(0, keepdim=True)",
            ),
            "That normalises every image on its own: take the statistics over the batch too.": (
                "    m = h.mean((0, 2, 3), keepdim=True)\n    v = (h - m).square().mean((0, 2, 3), keepdim=True)",
                "    m = h.mean((2, 3), keepdim=True)\n    v = (h - m).square().mean((2, 3), keepdim=True)",
            ),
            "Each channel has its own statistics.": (
                "    m = h.mean((0, 2, 3), keepdim=True)\n    v = (h - m).square().mean((0, 2, 3), keepdim=True)",
                "    m = h.mean()\n    v = (h - m).square().mean()",
            ),
            "Divide by the standard deviation: the root of the variance.": ("(v + 1e-5).sqrt()", "(v + 1e-5)"),
            "ε belongs under the root; without it a channel that hardly varies explodes.": (
                "(v + 1e-5).sqrt()",
                "v.sqrt()",
            ),
            "ε is added to the variance, not to its root.": ("(v + 1e-5).sqrt()", "(v.sqrt() + 1e-5)"),
            "The variance here divides by the number of values, not by one less.": (
                "(h - m).square().mean((0, 2, 3), keepdim=True)",
                "h.var((0, 2, 3), keepdim=True)",
            ),
            "gamma multiplies and beta is added.": (
                "gamma.view(1, -1, 1, 1) * (h - m) / (v + 1e-5).sqrt() + beta.view(1, -1, 1, 1)",
                "beta.view(1, -1, 1, 1) * (h - m) / (v + 1e-5).sqrt() + gamma.view(1, -1, 1, 1)",
            ),
            "Subtract the mean first.": ("* (h - m) /", "* h /"),
        },
        notice="The scale of the input is gone, so the layer before cannot let the signal die or explode; γ and β give "
        "the network a scale back that it can learn. And each image now depends on its batch.",
    ),
    "10.3": Exercise(
        _hinge_step,
        cases={"For points around 2 on a line,": ()},
        mistakes={
            "That is the cross-entropy: the hinge is max(0, 1 − l).": (
                "F.relu(1 - on_real).mean() + F.relu(1 + on_fake).mean()",
                "F.softplus(-on_real).mean() + F.softplus(on_fake).mean()",
            ),
            "Without max(0, …) D is paid for logits without bound.": (
                "F.relu(1 - on_real).mean() + F.relu(1 + on_fake).mean()",
                "(1 - on_real).mean() + (1 + on_fake).mean()",
            ),
            "The signs are swapped: real logits should be above 1, generated ones below −1.": (
                "F.relu(1 - on_real).mean() + F.relu(1 + on_fake).mean()",
                "F.relu(1 + on_real).mean() + F.relu(1 - on_fake).mean()",
            ),
            "The hinge ends at a logit of 1, not of 0.": (
                "F.relu(1 - on_real).mean() + F.relu(1 + on_fake).mean()",
                "F.relu(-on_real).mean() + F.relu(on_fake).mean()",
            ),
            "G descends the negative mean logit.": ("g_loss = -D(fake).mean()", "g_loss = D(fake).mean()"),
            "G has no hinge: its loss is −l, which has a slope everywhere.": (
                "g_loss = -D(fake).mean()",
                "g_loss = F.relu(1 - D(fake)).mean()",
            ),
            "That is the non-saturating loss of G.": (
                "g_loss = -D(fake).mean()",
                "g_loss = F.softplus(-D(fake)).mean()",
            ),
            "G learned nothing: call g.descend(g_loss).": ("g.descend(g_loss)", "pass"),
            "D learned nothing: call d.descend(d_loss).": ("d.descend(d_loss)", "pass"),
        },
        notice="D stops learning from images that it has decided clearly, beyond ±1, and G always gets a slope of the "
        "same size. No logarithm, no probability: l is only a score.",
        look=_look_hinge,
        tolerance=0.03,
    ),
}
