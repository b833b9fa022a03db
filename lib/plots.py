"""Figures: one function for each kind of plot. Functions that draw a whole figure return it.

How to make a figure that passes (``lib.legibility`` measures it when it is saved):

- At most 9 inches wide (``WIDTH``). Wrap panels into rows of two or three rather than widen the figure.
- No font size below "small", which is 9.2 points. Shorten labels, break lines, turn bars so that names stand in rows.
- Legends beside the data: below the axes, or ``loc`` where nothing is drawn; better, name curves at their ends.
- ``OURS`` and ``REPORT`` are the colours of these two, whatever else is drawn, and nothing else has them.
- One scale where things are compared (``sharex``, ``sharey``), an axis name wherever there are numbers.
- Draw each seed (``seeds``, ``runs``) rather than a bar of means; explain structure with ``schematic`` or ``diagram``.
"""

import textwrap
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from types import MappingProxyType
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from torch import Tensor, nn

from lib.data.tensors import to_uint8

DASHES = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))
MARKERS = "osD^vPX*<>"
OURS, REPORT = "#0173b2", "#c44e00"
WIDTH = 9  # inches; the widest figure that a page shows with readable text
STYLE = ("seaborn-v0_8-whitegrid", Path(__file__).with_name("workbook.mplstyle"))


def set_style() -> None:
    """Use the workbook's style sheet, which fixes fonts, sizes and a colour-blind-safe palette.

    What else a user's own settings change returns to matplotlib's defaults.
    """
    matplotlib.rcdefaults()
    plt.style.use(STYLE)


# --- curves ----------------------------------------------------------------------------------------------------------


def line(
    curves: Mapping[str, Sequence[float]],
    *,
    title: str,
    xlabel: str,
    ylabel: str,
    reference: Mapping[str, float] | None = None,
    log: bool = False,
    ax: plt.Axes | None = None,
) -> Figure:
    """Curves over the epochs 1, 2, …, which differ in dash and marker as well as in colour.

    ``reference`` {name: value} adds known values as horizontal lines.
    """
    if ax is None:
        _, ax = plt.subplots()
    for i, (name, values) in enumerate(curves.items()):
        style = {"ls": DASHES[i % len(DASHES)], "marker": MARKERS[i % len(MARKERS)], "ms": 4, "lw": 1.6}
        ax.plot(range(1, len(values) + 1), values, **style, markevery=max(1, len(values) // 10), label=name)
    for name, value in (reference or {}).items():
        level(ax, value, name)
    ax.set(title=title, xlabel=xlabel, ylabel=ylabel)
    whole_epochs(ax)
    if log:
        log_axis(ax)
    if len(curves) > 1:
        ax.legend()
    return ax.figure


def runs(
    ax: plt.Axes, groups: Mapping[str, Sequence[Sequence[float]]], colours: Mapping[str, str] = MappingProxyType({})
) -> None:
    """One curve over the epochs 1, 2, … for each seed of each group {name: curves}; groups differ in colour and dash.

    ``colours`` {name: colour}, such as ``OURS`` and ``REPORT``; by default those of the style.
    """
    for i, (name, curves) in enumerate(groups.items()):
        style = {"color": colours.get(name, f"C{i}"), "ls": DASHES[i % len(DASHES)], "lw": 1.2}
        for j, values in enumerate(curves):
            ax.plot(range(1, len(values) + 1), values, **style, label=None if j else name)
    whole_epochs(ax)


def level(ax: plt.Axes, value: float, name: str, *, side: str = "right", color: str = "0.25") -> None:
    """A dashed horizontal line across ``ax`` at a known value, with its name.

    The name stands above the line at its "left" or "right" end, or "beyond" its right end, where no curve can cross it.
    """
    ax.axhline(value, color=color, lw=1, ls=(0, (6, 3)))
    places = {"left": (0.02, "left", "bottom"), "right": (1, "right", "bottom"), "beyond": (1.02, "left", "center")}
    x, ha, va = places[side]
    style = {"ha": ha, "va": va, "annotation_clip": False, "fontsize": "small", "color": color}
    ax.annotate(name, (x, value), xycoords=("axes fraction", "data"), **style)


def whole_epochs(*axes: plt.Axes) -> None:
    """Only whole numbers as ticks on the x axes: there is no epoch 1.5."""
    for ax in axes:
        ax.xaxis.get_major_locator().set_params(integer=True)


def log_axis(ax: plt.Axes) -> None:
    """Logarithmic y axis with plain numbers at 1, 2, 3 and 5 of each decade, so that even half a decade has labels."""
    ax.set_yscale("log")
    ax.yaxis.set_minor_locator(LogLocator(subs=(2, 3, 5)))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_formatter("{x:g}")
    ax.tick_params(axis="y", which="minor", labelsize="small")


# --- numbers with names ----------------------------------------------------------------------------------------------


def seeds(
    ax: plt.Axes,
    rows: Mapping[str, Sequence[float]],
    *,
    reported: Mapping[str, float] = MappingProxyType({}),
    color: str = OURS,
    marker: str = "o",
    label: str | None = None,
    shift: float = 0,
) -> None:
    """A hollow mark for each seed and a line at their mean, in a row for each name; the first row is at the top.

    ``reported`` {name: value} adds the report's values as stars. ``shift`` moves the marks down, by a part of a row,
    for a second call with others.
    """
    for i, values in enumerate(rows.values()):
        at = [i + shift] * len(values)
        ax.plot(values, at, marker, ms=8, mfc="none", mew=1.5, color=color, label=None if i else label)
        ax.plot(np.mean(values), i + shift, "|", ms=16, mew=2, color=color)
    places = [list(rows).index(name) for name in reported]
    if reported:
        ax.plot(list(reported.values()), places, "*", ms=11, color=REPORT, label="report")
    ax.set_yticks(range(len(rows)), list(rows))
    ax.set_ylim(len(rows) - 0.5, -0.5)


def error_bars(
    ax: plt.Axes,
    x: Sequence[float] | Tensor,
    values: Sequence[float] | Tensor,
    bounds: Sequence[tuple[float, float]] | Tensor,
    **style: Any,
) -> None:
    """Values (N,) with their intervals: ``bounds`` holds a pair (low, high) for each value."""
    values, (low, high) = np.asarray(values), np.asarray(bounds).T
    lengths = np.stack([values - low, high - values])
    ax.errorbar(x, values, yerr=lengths.clip(min=0), **style)  # rounding can leave a length just below 0


def measures(judged: Mapping[str, Mapping[str, float]], labels: Mapping[str, str], *, title: str = "") -> Figure:
    """Measured values {name: {key: value}}, with one small panel for each measure {key: label}, three in a row."""
    columns = min(3, len(labels))
    rows = -(-len(labels) // columns)
    size = (WIDTH * columns / 3, rows * (0.35 * len(judged) + 1.4))
    fig, axes = plt.subplots(rows, columns, figsize=size, sharey=True, squeeze=False)
    for ax, (key, label) in zip(axes.flat, labels.items(), strict=False):
        for i, (scores, marker) in enumerate(zip(judged.values(), cycle(MARKERS), strict=False)):
            ax.plot(scores[key], i, marker, ms=8)
            here = (scores[key], i)
            above = {"xytext": (0, 7), "textcoords": "offset points", "ha": "center", "fontsize": "small"}
            ax.annotate(f"{scores[key]:.3g}", here, **above)
        ax.set(xlabel=label, ylim=(len(judged) - 0.4, -0.7))
        ax.set_yticks(range(len(judged)), list(judged))
        ax.xaxis.get_major_locator().set_params(nbins=4)
        ax.margins(x=0.3)
    for ax in axes.flat[len(labels) :]:
        ax.set_visible(False)
    fig.suptitle(title)
    fig.tight_layout()
    return fig


def boxes(panels: Mapping[str, Mapping[str, Tensor]], *, title: str) -> Figure:
    """One panel of box plots for each quantity {xlabel: {name: values (N,)}}, with the same names in every panel.

    The box holds the middle half of the values, and the line in it is the median. Whiskers end at the last value
    within 1.5 box lengths.
    """
    fig, axes = plt.subplots(1, len(panels), figsize=(WIDTH, 4), sharey=True)
    for ax, (xlabel, values) in zip(axes, panels.items(), strict=True):
        heights = [v.numpy() for v in values.values()]
        ax.boxplot(heights, tick_labels=list(values), orientation="horizontal", showfliers=False, widths=0.6)
        ax.set(xlabel=textwrap.fill(xlabel, 24))
    axes[0].invert_yaxis()  # the panels share it
    fig.suptitle(title)
    fig.tight_layout()
    return fig


# --- matrices --------------------------------------------------------------------------------------------------------


def confusion(matrix: Tensor, *, title: str, ax: plt.Axes | None = None, darkest: int | None = None) -> Figure:
    """Heat map of a confusion matrix (10, 10) with its counts; the diagonal stays pale so that errors stand out.

    ``darkest`` is the count with the darkest colour, for several matrices on one scale; by default the largest one.
    """
    counts = matrix.numpy()
    errors = np.where(np.eye(len(counts), dtype=bool), 0, counts)
    names = {"title": title, "xlabel": "predicted digit", "ylabel": "true digit"}
    return _cells(errors, counts, names, ax, vmax=darkest, square=True)


def heat(
    matrix: Tensor | np.ndarray, *, title: str, xlabel: str, ylabel: str, ax: plt.Axes | None = None, **ticks: Any
) -> Figure:
    """Heat map of shares in 0..1, with the values in the cells; ``ticks``: xticklabels and yticklabels."""
    values = np.asarray(matrix)
    texts = np.array([[f"{v:.2f}".lstrip("0") if v >= 0.005 else "" for v in row] for row in values])
    return _cells(values, texts, {"title": title, "xlabel": xlabel, "ylabel": ylabel}, ax, vmax=1, **ticks)


def _cells(values: np.ndarray, texts: np.ndarray, names: dict, ax: plt.Axes | None, **options: Any) -> Figure:
    """``values`` from 0 upwards as shades of blue, with ``texts`` in the cells."""
    import seaborn as sns

    ax = ax or plt.subplots(figsize=(6.4, 5.4))[1]
    style = {"cmap": "Blues", "vmin": 0, "cbar": False, "linewidths": 0.5, "annot_kws": {"size": "small"}}
    sns.heatmap(values, annot=texts, fmt="", ax=ax, **style, **options)
    ax.set(**names)
    ax.tick_params(axis="y", rotation=0)
    return ax.figure


# --- points ----------------------------------------------------------------------------------------------------------


def classes(
    points: np.ndarray | Tensor,
    labels: Sequence[Any] | Tensor,
    *,
    title: str,
    xlabel: str,
    ylabel: str,
    ax: plt.Axes | None = None,
    legend: bool = True,
    faint: bool = False,
    marker_area: float = 24,
) -> Figure:
    """Points (N, 2) coloured by class. Digits are drawn as digits; every other class has its own marker.

    ``faint`` draws the points as a pale background; ``marker_area`` is in square points.
    """
    if ax is None:
        _, ax = plt.subplots(figsize=(7, 5.4))
    points, labels = np.asarray(points), np.asarray(labels)
    names = sorted(set(labels.tolist()))
    for i, name in enumerate(names):
        shape = MARKERS[(i + i // len(MARKERS)) % len(MARKERS)]  # colours repeat after ten, so shapes must not
        marker = f"${name}$" if isinstance(name, int) else shape
        x, y = points[labels == name].T
        style = {"color": f"C{i}", "linewidths": 0.3, "alpha": 0.35 if faint else 0.85}
        ax.scatter(x, y, s=marker_area, marker=marker, label=None if faint else name, **style)
    ax.set(title=title, xlabel=xlabel, ylabel=ylabel)
    if legend:
        ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), markerscale=1.3 * (24 / marker_area) ** 0.5)
    return ax.figure


# --- images: uint8 (N, H, W), or floats in [0, 1] of shape (N, H·H), (N, H, H) or (N, 1, H, H) -----------------------


def digits(images: Tensor, titles: Sequence[str] | None = None, *, title: str = "", columns: int = 8) -> Figure:
    """Images side by side in rows, each with its own title."""
    images = _grey(images)
    rows = -(-len(images) // columns)
    extra, inches = 0.28 if titles else 0, min(0.95, WIDTH / columns)
    fig, axes = plt.subplots(rows, columns, figsize=(columns * inches, rows * (inches + extra) + 0.4), squeeze=False)
    for i, ax in enumerate(axes.flat):
        ax.set(xticks=[], yticks=[])
        if i >= len(images):
            ax.set_visible(False)
            continue
        _show(images[i], ax)
        if titles:
            ax.set_title(titles[i], fontsize="small", fontweight="normal", pad=3)
    fig.suptitle(title)
    fig.tight_layout(pad=0.4)
    return fig


def image_row(images: Tensor, captions: Sequence[str] = (), *, title: str = "", ax: plt.Axes | None = None) -> Figure:
    """Images side by side in one axes, with optional captions under them."""
    if ax is None:
        _, ax = plt.subplots(figsize=(8, 8 / len(images) + 0.5))
    images = torch.nn.functional.pad(_grey(images), (1, 1, 1, 1))
    _, height, width = images.shape
    _show(images.permute(1, 0, 2).reshape(height, -1), ax)
    ax.set(xticks=[width * (i + 0.5) for i in range(len(captions))], yticks=[], title=title)
    ax.set_xticklabels(captions, fontsize="small")
    return ax.figure


def image_rows(
    rows: Mapping[str, Tensor],
    captions: Mapping[str, Sequence[str]] | None = None,
    *,
    title: str = "",
    names: str = "left",
) -> Figure:
    """Rows of images {name: images}, one below the other, with ``names`` "left" of the rows or "above" them.

    ``captions`` {name: captions} puts captions under the images of some rows.
    """
    longest = max(map(len, rows.values()))
    lines = max((text.count("\n") + 1 for texts in (captions or {}).values() for text in texts), default=0)
    fig, axes = plt.subplots(len(rows), 1, figsize=(9, 9), squeeze=False)
    for ax, (name, images) in zip(axes.flat, rows.items(), strict=True):
        image_row(images, (captions or {}).get(name, ()), ax=ax)
        if names == "above":
            ax.set_title(name, fontsize="small", pad=2)
        else:
            ax.set_ylabel(name, fontsize="small", rotation=0, ha="right", va="center")
    fig.suptitle(title, y=1, va="top")
    fig.tight_layout(pad=0.4)  # finds the width beside the names; the heights follow from that
    place = axes[0, 0].get_position(original=True)
    image, below, above = 9 * place.width / longest, 0.1 + (0.08 + 0.16 * lines) * bool(lines), 0.2 * (names == "above")
    step = above + image + below
    height = len(rows) * step + 0.3 * bool(title)
    fig.set_size_inches(9, height)
    for i, (ax, images) in enumerate(zip(axes.flat, rows.values(), strict=True)):
        bottom = (len(rows) - 1 - i) * step + below
        ax.set_position([place.x0, bottom / height, len(images) * image / 9, image / height])
    return fig


def image_grid(images: Tensor, columns: int, *, title: str = "", gap: int = 0, ax: plt.Axes | None = None) -> Figure:
    """Images in one axes, ``columns`` in each row, with ``gap`` pixels around each image."""
    if ax is None:
        rows = -(-len(images) // columns)
        _, ax = plt.subplots(figsize=(5, 5 * rows / columns + 0.4))
    _show(mosaic(_grey(images), columns, gap), ax)
    ax.set(xticks=[], yticks=[], title=title)
    ax.spines[:].set_visible(False)
    return ax.figure


def image_grids(
    panels: Mapping[str, Tensor], columns: int, *, rows: int = 1, title: str = "", gap: int = 0, inches: float = 2.4
) -> Figure:
    """Panels {name: images} in ``rows``, each an ``image_grid`` with ``columns`` and a width of ``inches``.

    There are more rows if they would be too wide.
    """
    across = min(-(-len(panels) // rows), int(WIDTH / inches))
    rows = -(-len(panels) // across)
    fig, axes = plt.subplots(rows, across, figsize=(inches * across, (inches + 0.35) * rows + 0.3), squeeze=False)
    for ax, (name, images) in zip(axes.flat, panels.items(), strict=False):
        image_grid(images, columns, gap=gap, ax=ax)
        ax.set_title(name, fontsize="small")
    for ax in axes.flat[len(panels) :]:
        ax.set_visible(False)
    fig.suptitle(title)
    fig.tight_layout(pad=0.5, w_pad=1.5)
    return fig


def mosaic(images: Tensor, columns: int, gap: int = 0) -> Tensor:
    """uint8 images (N, H, W) as one large image, in rows of ``columns``, with ``gap`` pixels of 0 around each image.

    Pixels of 0 also complete the last row.
    """
    rows = -(-len(images) // columns)
    filled = torch.cat([images, images.new_zeros(rows * columns - len(images), *images.shape[1:])])
    padded = torch.nn.functional.pad(filled, (gap,) * 4)
    _, height, width = padded.shape
    return padded.view(rows, columns, height, width).permute(0, 2, 1, 3).reshape(rows * height, columns * width)


def plane(
    decode: Callable[[Tensor], Tensor],
    xs: Tensor,
    ys: Tensor,
    *,
    title: str,
    xlabel: str = "latent coordinate 1",
    ylabel: str = "latent coordinate 2",
    ax: plt.Axes | None = None,
) -> Figure:
    """A grid of points in a latent plane, each shown as its decoded image.

    ``decode`` maps points (N, 2) to images (N, 784) in [0, 1]. There is one image for each pair of ``xs`` (W,) and
    ``ys`` (H,), which increase to the right and upwards. Ticks give the coordinates of the image centres.
    """
    if ax is None:
        _, ax = plt.subplots(figsize=(7, 7 * len(ys) / len(xs)))
    points = torch.cartesian_prod(ys.flip(0), xs).flip(1)  # rows from the top, each from the left
    with torch.inference_mode():
        images = to_uint8(decode(points)).view(len(ys), len(xs), 28, 28)
    _show(images.permute(0, 2, 1, 3).reshape(28 * len(ys), -1), ax)
    for axis, values in ((ax.xaxis, xs), (ax.yaxis, ys.flip(0))):
        every = max(1, len(values) // 6)
        axis.set_ticks([28 * i + 14 for i in range(0, len(values), every)], [f"{v:.2g}" for v in values[::every]])
    ax.set(title=title, xlabel=xlabel, ylabel=ylabel)
    return ax.figure


def _grey(images: Tensor) -> Tensor:
    """uint8 images (N, H, W), unchanged or converted from floats in [0, 1]."""
    return images if images.dtype == torch.uint8 else to_uint8(images)


def _show(image: Tensor, ax: plt.Axes) -> None:
    """One image (H, W), drawn like ink: 0 is always white and 255 always black."""
    ax.imshow(image.numpy(), cmap="gray_r", vmin=0, vmax=255)
    ax.grid(False)


# --- networks and other diagrams -------------------------------------------------------------------------------------


def diagram(boxes: Mapping[str, tuple[float, float]], arrows: Sequence[tuple[str, str]], *, title: str) -> Figure:
    """A diagram of boxes {text: (x, y)} joined by arrows (from, to)."""
    xs, ys = zip(*boxes.values(), strict=True)
    fig, ax = plt.subplots(figsize=(min(WIDTH, 1.9 * (max(xs) - min(xs)) + 2), 1.5 * (max(ys) - min(ys)) + 1.6))
    drawn = {
        text: ax.text(
            x, y, text, ha="center", va="center", fontsize="small",
            bbox={"boxstyle": "round,pad=0.5", "facecolor": "#d9e8f5", "edgecolor": "0.3"},
        )
        for text, (x, y) in boxes.items()
    }  # fmt: skip
    for start, end in arrows:
        style = {"arrowstyle": "-|>", "color": "0.3", "shrinkA": 4, "shrinkB": 4}
        style |= {"patchA": drawn[start].get_bbox_patch(), "patchB": drawn[end].get_bbox_patch()}
        ax.annotate("", boxes[end], boxes[start], arrowprops=style)
    ax.set(xlim=(min(xs) - 0.6, max(xs) + 0.6), ylim=(min(ys) - 0.5, max(ys) + 0.5), title=title)
    ax.axis("off")
    return fig


def schematic(layers: Sequence[tuple[str, int]], arrows: Sequence[str] = (), *, title: str = "") -> Figure:
    """A network from left to right: a box for each layer (name, number of units), higher for more units.

    ``arrows`` says what happens between two layers, one text for each arrow. Texts may have several lines.
    """
    fig, ax = plt.subplots(figsize=(min(WIDTH, 1.6 * len(layers)), 2.6))
    heights = [0.6 + 0.4 * np.log10(units) for _, units in layers]
    for i, ((name, units), height) in enumerate(zip(layers, heights, strict=True)):
        ax.add_patch(plt.Rectangle((i - 0.2, -height / 2), 0.4, height, fc="#d9e8f5", ec="0.3"))
        ax.text(i, 0, f"{units:,}", ha="center", va="center")
        ax.text(i, -max(heights) / 2 - 0.1, name, ha="center", va="top", fontsize="small")
        if i:
            ax.annotate("", (i - 0.22, 0), (i - 0.78, 0), arrowprops={"arrowstyle": "-|>", "color": "0.3"})
    for i, text in enumerate(arrows):
        ax.text(i + 0.5, 0.08, text, ha="center", va="bottom", fontsize="small")
    ax.set(xlim=(-0.5, len(layers) - 0.5), ylim=(-max(heights) / 2 - 0.1, max(heights) / 2 + 0.1), title=title)
    ax.axis("off")
    return fig


def layer_shapes(model: nn.Module, x: Tensor) -> list[tuple[str, tuple[int, ...], int]]:
    """(layer, output shape, parameters) of each leaf module, in the order in which ``model(x)`` calls them."""
    found: list[tuple[str, tuple[int, ...], int]] = []

    def note(module: nn.Module, _: Any, output: Tensor) -> None:
        found.append((_describe(module), tuple(output.shape), sum(p.numel() for p in module.parameters())))

    hooks = [m.register_forward_hook(note) for m in model.modules() if not list(m.children())]
    try:
        with torch.inference_mode():
            model(x)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _describe(module: nn.Module) -> str:
    name = type(module).__name__
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        k = module.kernel_size
        return f"{name} {k[0]}×{k[1]}, stride {module.stride[0]}, padding {module.padding[0]}"
    if isinstance(module, nn.MaxPool2d):
        return f"{name} {module.kernel_size}×{module.kernel_size}"
    if isinstance(module, nn.Linear):
        return f"{name} {module.in_features} → {module.out_features}"
    return name


def architecture(model: nn.Module, x: Tensor, *, title: str) -> Figure:
    """Layer diagram drawn from the module itself: one box per layer, with output shape and number of parameters."""
    layers = [("input", tuple(x.shape), 0), *layer_shapes(model, x)]
    fig, ax = plt.subplots(figsize=(6.4, 0.62 * len(layers) + 0.6))
    for i, (name, shape, parameters) in enumerate(layers):
        y = -i
        face = "#d9e8f5" if parameters else ("#f3e3c3" if i else "#e4e4e4")
        box = {"boxstyle": "round,pad=0.35", "facecolor": face, "edgecolor": "0.3"}
        count = f"\n{parameters:,} parameters" if parameters else ""
        ax.text(0, y, name + count, ha="center", va="center", fontsize=8, bbox=box)
        ax.text(0.62, y, " × ".join(map(str, shape)), ha="left", va="center", fontsize=8, family="monospace")
        if i:
            ax.annotate("", (0, y + 0.34), (0, y + 0.66), arrowprops={"arrowstyle": "-|>", "color": "0.3", "lw": 1})
    ax.text(0.62, 0.62, "output shape", fontsize=8, fontweight="bold")
    total = sum(p.numel() for p in model.parameters())
    ax.set_title(f"{title} – {total:,} parameters")
    ax.set(xlim=(-0.75, 1.25), ylim=(-len(layers) + 0.4, 0.9))
    ax.axis("off")
    return fig
