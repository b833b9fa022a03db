"""Exercises of chapter 10: the small kernels of a transposed convolution, batch norm, a layer that resizes."""

from collections.abc import Callable

import torch
from torch import nn

from workbook.exercises.engine import Exercise, as_module, numbers


def _kernel_sums(kernel, s):
    """The sums (s, s) of the weights in rows a, a + s, … and columns b, b + s, … of a square kernel."""
    parts = [[kernel[a::s, b::s] for b in range(s)] for a in range(s)]
    return torch.stack([torch.stack([part.sum() for part in row]) for row in parts])


def _batch_norm(h, gamma, beta):
    """h (B, C, H, W), each channel normalised over the batch and all positions, times gamma, plus beta."""
    m = h.mean((0, 2, 3), keepdim=True)
    v = (h - m).square().mean((0, 2, 3), keepdim=True)
    return gamma.view(1, -1, 1, 1) * (h - m) / (v + 1e-5).sqrt() + beta.view(1, -1, 1, 1)


def _resize_layer(inputs, outputs):
    """A network that repeats every place of maps (B, inputs, H, H) twice along both axes, and then convolves."""
    return nn.Sequential(
        nn.Upsample(scale_factor=2),
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
    )


def _look_layer(call: Callable, inputs: int, outputs: int) -> dict[str, object]:
    """What a layer makes of random maps and of flat ones, with weights that we set."""
    layer, x = as_module(call(inputs, outputs)), _normal(2, inputs, 6, 6)
    shape, weights = numbers(layer(x)).shape, list(layer.parameters())
    with torch.no_grad():
        for i, weight in enumerate(weights):
            weight.copy_(_normal(*weight.shape, seed=i + 1))
    flat = numbers(layer(torch.ones(1, inputs, 6, 6))).flatten(0, -3)[:, 2:-2, 2:-2]
    return {
        "the shape of its output": tuple(shape),
        "the largest minus the smallest value that a flat input gives, away from the border,": flat.amax()
        - flat.amin(),
        "the number of its weights": sum(weight.numel() for weight in weights),
        "its output, with weights that were set,": layer(x),
    }


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
        _resize_layer,
        cases={
            f"For maps of {inputs} channels that become {outputs},": (inputs, outputs)
            for inputs, outputs in ((3, 2), (2, 4))
        },
        mistakes={
            "That is the layer of a DCGAN, whose four small kernels need not agree.": (
                "nn.Upsample(scale_factor=2),\n        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),",
                "nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False),",
            ),
            "Enlarge first: a convolution of the small maps, repeated, gives blocks of equal values.": (
                "nn.Upsample(scale_factor=2),\n        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),",
                "nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),\n        nn.Upsample(scale_factor=2),",
            ),
            "Without padding the convolution loses a place at every side.": (", padding=1", ""),
            "The bias is left out, because batch norm follows.": (", bias=False", ""),
            "Repeat every place, and do not interpolate between them.": (
                "scale_factor=2",
                "scale_factor=2, mode='bilinear'",
            ),
            "A stride of 2 halves the maps again.": ("3, padding=1", "3, stride=2, padding=1"),
            "The kernel has a size of 3.": ("3, padding=1", "5, padding=2"),
            "The convolution is missing: nothing can be learned here.": (
                "nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)",
                "nn.Identity()",
            ),
        },
        notice="Whatever the weights are, the strides leave no pattern of their own. The price: 36 products for each "
        "place of the input and each pair of channels, where kernel 4 with stride 2 has 16.",
        look=_look_layer,
    ),
}
