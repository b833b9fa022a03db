"""Interactive figures: move through a latent plane, type a message, draw a figure again for other numbers.

JupyterLab shows widgets; a batch run shows a still figure.
"""

import os
from collections.abc import Callable
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from lib import plots
from lib.data.tensors import to_uint8


def interactive() -> bool:
    """Whether to show widgets, which a batch run cannot."""
    return os.environ.get("WORKBOOK_WIDGETS") != "off"


def typed(show: Callable[[str], Figure], message: str) -> Figure:
    """The figure ``show(message)``. In JupyterLab, a text field takes another message; errors appear as text."""
    if not interactive():
        return show(message)
    import ipywidgets

    return _live(show, {"message": ipywidgets.Text(message, description="message", continuous_update=False)})


def with_sliders(show: Callable[..., Figure], **ranges: tuple[float, float, float]) -> Figure:
    """The figure ``show(…)`` at the first of each (value, lowest, highest). In JupyterLab, sliders move them.

    ``ranges`` names the arguments of ``show`` in their order; one of whole numbers moves in steps of one.
    """
    if not interactive():
        return show(*(value for value, _, _ in ranges.values()))
    import ipywidgets

    controls: dict[str, ipywidgets.Widget] = {}
    for name, (value, low, high) in ranges.items():
        whole = all(isinstance(number, int) for number in (value, low, high))
        kind, step = (ipywidgets.IntSlider, 1) if whole else (ipywidgets.FloatSlider, (high - low) / 50)
        controls[name] = kind(value, min=low, max=high, step=step, description=name, continuous_update=False)
    return _live(show, controls)


def _live(show: Callable[..., Figure], controls: dict) -> Figure:
    """Call ``show`` with the values of the controls, now and after every change. Returns the first figure."""
    import ipywidgets
    import matplotlib.pyplot as plt
    from IPython.display import display

    first: list[Figure] = []

    def redraw(**values: Any) -> None:
        try:
            fig = show(*values.values())
        except ValueError as error:
            print(error)
            return
        if first:
            display(fig)
        else:  # the caller shows the first figure
            first.append(fig)
        plt.close(fig)

    shown = ipywidgets.interactive_output(redraw, controls)
    display(ipywidgets.VBox([ipywidgets.HBox(list(controls.values())), shown]))
    # the widget hides an error of the first call, so call again to show it
    return first[0] if first else show(*(control.value for control in controls.values()))


def latent_plane(
    decode: Callable[[Tensor], Tensor], codes: Tensor, labels: Tensor, images: Tensor, *, title: str
) -> Figure:
    """A latent plane, drawn as a grid of decoded images. Returns the still figure for ``Book.figure``.

    ``decode`` maps points (N, 2) to images (N, 784) in [0, 1]. ``codes`` (N, 2), ``labels`` (N,) and uint8 ``images``
    (N, 28, 28) describe known digits. In JupyterLab, sliders move a point in the plane. Beside it are the digit decoded
    at that point and the five known digits with the nearest codes.
    """
    low, high = codes.quantile(0.01, 0), codes.quantile(0.99, 0)
    if interactive():
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
