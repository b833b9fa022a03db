"""Move through a latent plane: sliders in JupyterLab, a still grid in a batch run."""

import os
from collections.abc import Callable

import torch
from matplotlib.figure import Figure
from torch import Tensor

from lib import plots
from lib.data import to_uint8


def latent_plane(
    decode: Callable[[Tensor], Tensor], codes: Tensor, labels: Tensor, images: Tensor, *, title: str
) -> Figure:
    """Show what lies where in a plane of latent codes; returns the still figure for ``Book.figure``.

    ``decode`` turns points (N, 2) into images (N, 784) in [0, 1]; ``codes`` (N, 2), ``labels`` (N,) and uint8
    ``images`` (N, 28, 28) belong to known digits. In JupyterLab, sliders move a point: the decoded digit and the known
    digits whose codes are nearest follow it.
    """
    low, high = codes.quantile(0.01, 0), codes.quantile(0.99, 0)
    if "WORKBOOK_OUT" not in os.environ:
        _sliders(decode, codes, labels, images, low, high)
    axes = [torch.linspace(a, b, 15) for a, b in zip(low.tolist(), high.tolist(), strict=True)]
    return plots.plane(decode, *axes, title=title)


def _sliders(decode: Callable, codes: Tensor, labels: Tensor, images: Tensor, low: Tensor, high: Tensor) -> None:
    import ipywidgets
    import matplotlib.pyplot as plt
    from IPython.display import display

    def show(x: float, y: float) -> None:
        point = torch.tensor([[x, y]])
        near = (codes - point).norm(dim=1).topk(5, largest=False).indices
        _fig, (where, row) = plt.subplots(1, 2, figsize=(10, 3.6), gridspec_kw={"width_ratios": [1, 1.6]})
        plots.classes(codes[:500], labels[:500], title="", xlabel="", ylabel="", ax=where, legend=False, faint=True)
        where.plot(x, y, "X", ms=12, color="k")
        with torch.inference_mode():
            decoded = to_uint8(decode(point))
        names = ["decoded", *(f"near: {label}" for label in labels[near].tolist())]
        plots.image_row(torch.cat([decoded, images[near]]), names, ax=row)
        plt.show()

    middle = (low + high) / 2
    sliders = {
        name: ipywidgets.FloatSlider(
            middle[i].item(), min=low[i].item(), max=high[i].item(), step=(high - low)[i].item() / 100, description=name
        )
        for i, name in enumerate(("x", "y"))
    }
    display(ipywidgets.VBox([*sliders.values(), ipywidgets.interactive_output(show, sliders)]))
