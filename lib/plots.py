"""The figure vocabulary of the reports. Every function returns a matplotlib Figure for ``Book.figure``."""

from collections.abc import Callable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from cycler import cycler
from matplotlib.colors import colorConverter
from matplotlib.figure import Figure
from torch import Tensor, nn

from lib.data.tensors import to_uint8

DASHES = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))
MARKERS = "osD^vPX*<>"
# seaborn's "colorblind"
PALETTE = ["#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc", "#ca9161", "#fbafe4", "#949494", "#ece133", "#56b4e9"]
# seaborn's "whitegrid", then our own; written out, because importing seaborn would cost every notebook over a second
STYLE = {
    "axes.prop_cycle": cycler(color=PALETTE),
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.edgecolor": ".8",
    "grid.color": ".8",
    **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), ".15"),
    "patch.edgecolor": "w",
    "patch.force_edgecolor": True,
    "lines.solid_capstyle": "round",
    **dict.fromkeys(("xtick.bottom", "ytick.left"), False),
    **dict.fromkeys(("axes.linewidth", "xtick.major.width", "ytick.major.width"), 1.25),
    **dict.fromkeys(("grid.linewidth", "xtick.minor.width", "ytick.minor.width"), 1),
    **dict.fromkeys(("xtick.major.size", "ytick.major.size"), 6),
    **dict.fromkeys(("xtick.minor.size", "ytick.minor.size"), 4),
    **dict.fromkeys(("font.size", "axes.labelsize", "legend.title_fontsize"), 12),
    **dict.fromkeys(("xtick.labelsize", "ytick.labelsize", "legend.fontsize"), 11),
    "font.family": "DejaVu Sans",
    "figure.figsize": (7, 4),
    "figure.dpi": 100,
    "savefig.dpi": 110,
    "savefig.bbox": "tight",
    "axes.titlesize": "medium",
    "axes.titleweight": "bold",
    "image.cmap": "gray",
}


def set_style() -> None:
    """Fonts, sizes and a colour-blind-safe palette; fixed, so that figures repeat byte for byte."""
    plt.rcParams.update(STYLE)
    colorConverter.colors["k"] = (0.1, 0.1, 0.1)  # black as soft as seaborn's


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
    """Curves over 1, 2, …, told apart by dash and marker as well as colour; ``reference``: level lines."""
    if ax is None:
        _, ax = plt.subplots()
    for i, (name, values) in enumerate(curves.items()):
        style = {"ls": DASHES[i % len(DASHES)], "marker": MARKERS[i % len(MARKERS)], "ms": 4, "lw": 1.6}
        ax.plot(range(1, len(values) + 1), values, **style, markevery=max(1, len(values) // 10), label=name)
    for name, level in (reference or {}).items():
        ax.axhline(level, color="0.35", lw=1, ls=(0, (6, 3)))
        ax.annotate(
            name,
            (1, level),
            xycoords=("axes fraction", "data"),
            ha="right",
            va="bottom",
            fontsize=8,
            color="0.25",
        )
    ax.set(title=title, xlabel=xlabel, ylabel=ylabel)
    if log:
        log_axis(ax)
    if len(curves) > 1:
        ax.legend(fontsize=8)
    return ax.figure


def loss_over_iterations(
    iterations: Sequence[float], values: Sequence[float], *, title: str, level: float, level_name: str
) -> Figure:
    """One loss in nats over the iterations of a training, from 0, with a level line."""
    fig, ax = plt.subplots(figsize=(8, 3.4))
    ax.plot(iterations, values, lw=1.2)
    ax.axhline(level, color="0.4", lw=1, ls="--", label=level_name)
    ax.set(title=title, xlabel="iteration", ylabel="nats", ylim=(0, None))
    ax.legend()
    return fig


def log_axis(ax: plt.Axes) -> None:
    """Logarithmic y axis with plain numbers, also where it spans less than a decade."""
    ax.set_yscale("log")
    for axis_labels in (ax.yaxis.set_major_formatter, ax.yaxis.set_minor_formatter):
        axis_labels(lambda value, _: f"{value:g}" if f"{value:e}"[0] in "1235" else "")
    ax.tick_params(axis="y", which="minor", labelsize="small")


def confusion(matrix: Tensor, *, title: str, ax: plt.Axes | None = None) -> Figure:
    """Heat map of a confusion matrix (10, 10) with counts; the diagonal is left pale so that errors stand out."""
    if ax is None:
        _, ax = plt.subplots(figsize=(6.4, 5.4))
    import seaborn as sns

    counts = matrix.numpy()
    errors = np.where(np.eye(len(counts), dtype=bool), 0, counts)
    sns.heatmap(
        errors,
        annot=counts,
        fmt="d",
        cmap="Blues",
        cbar=False,
        square=True,
        linewidths=0.5,
        ax=ax,
        annot_kws={"size": 8},
        vmin=0,
    )
    ax.set(title=title, xlabel="predicted digit", ylabel="true digit")
    ax.tick_params(axis="y", rotation=0)
    return ax.figure


def digits(
    images: Tensor,
    titles: Sequence[str] | None = None,
    *,
    title: str = "",
    columns: int = 8,
) -> Figure:
    """Grid of uint8 images (N, H, W) on one grey scale, 0 to 255."""
    rows = -(-len(images) // columns)
    extra = 0.28 if titles else 0
    fig, axes = plt.subplots(rows, columns, figsize=(columns * 0.95, rows * (0.95 + extra) + 0.4), squeeze=False)
    for i, ax in enumerate(axes.flat):
        ax.set(xticks=[], yticks=[])
        if i >= len(images):
            ax.set_visible(False)
            continue
        ax.imshow(images[i], vmin=0, vmax=255, cmap="gray_r")
        ax.grid(False)
        if titles:
            ax.set_title(titles[i], fontsize=8, fontweight="normal", pad=3)
    fig.suptitle(title, fontsize="medium", fontweight="bold")
    fig.tight_layout(pad=0.4)
    return fig


def classes(
    points: np.ndarray | Tensor,
    labels: Sequence[object] | Tensor,
    *,
    title: str,
    xlabel: str,
    ylabel: str,
    ax: plt.Axes | None = None,
    legend: bool = True,
    faint: bool = False,
    marker_area: float = 24,
) -> Figure:
    """Points (N, 2) coloured by class; digits are drawn as digits, other classes have a marker each.

    ``faint`` makes them a background for something else; ``marker_area`` is in square points.
    """
    if ax is None:
        _, ax = plt.subplots(figsize=(7, 5.4))
    points, labels = np.asarray(points), np.asarray(labels)
    names = sorted(set(labels.tolist()))
    for i, name in enumerate(names):
        shape = MARKERS[(i + i // len(MARKERS)) % len(MARKERS)]  # colours repeat after ten, so shapes must not
        marker = f"${name}$" if isinstance(name, int) else shape
        x, y = points[labels == name].T
        ax.scatter(
            x,
            y,
            s=marker_area,
            marker=marker,
            color=PALETTE[i % len(PALETTE)],
            linewidths=0.3,
            alpha=0.35 if faint else 0.85,
            label=None if faint else name,
        )
    ax.set(title=title, xlabel=xlabel, ylabel=ylabel)
    if legend:
        ax.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5), markerscale=1.3 * (24 / marker_area) ** 0.5)
    return ax.figure


def image_row(images: Tensor, titles: Sequence[str], *, ax: plt.Axes) -> None:
    """uint8 images (N, 28, 28) side by side in one axes, a title under each."""
    n, height, width = images.shape
    row = torch.nn.functional.pad(images, (1, 1, 1, 1)).permute(1, 0, 2).reshape(height + 2, -1)
    ax.imshow(row, cmap="gray_r", vmin=0, vmax=255)
    ax.set(xticks=[(width + 2) * (i + 0.5) for i in range(n)], yticks=[])
    ax.set_xticklabels(titles, fontsize=8)
    ax.grid(False)


def mosaic(images: Tensor, columns: int, gap: int = 0) -> Tensor:
    """uint8 images (N, H, W) side by side in rows of ``columns``, ``gap`` black pixels around each; the last row is
    filled up with black. Returns one image."""
    rows = -(-len(images) // columns)
    filled = torch.cat([images, images.new_zeros(rows * columns - len(images), *images.shape[1:])])
    padded = torch.nn.functional.pad(filled, (gap,) * 4)
    _, height, width = padded.shape
    return padded.view(rows, columns, height, width).permute(0, 2, 1, 3).reshape(rows * height, columns * width)


def boxes(panels: Mapping[str, Mapping[str, Tensor]], *, title: str) -> Figure:
    """One panel of box plots for each quantity {xlabel: {name: values (N,)}}, the same names in all.

    Box: middle half, line: median, whiskers: the last value within one and a half box lengths.
    """
    fig, axes = plt.subplots(1, len(panels), figsize=(5.6 * len(panels), 4), sharey=True)
    for ax, (xlabel, values) in zip(axes, panels.items(), strict=True):
        heights = [v.numpy() for v in values.values()]
        ax.boxplot(heights, tick_labels=list(values), orientation="horizontal", showfliers=False, widths=0.6)
        ax.set(xlabel=xlabel)
    axes[0].invert_yaxis()  # of all, they share it
    axes[0].tick_params(axis="y", labelsize=8)
    fig.suptitle(title, fontsize="medium", fontweight="bold")
    fig.tight_layout()
    return fig


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
    """What ``decode`` makes of every point of a grid: points (N, 2) → images (N, 784) in [0, 1].

    One image for each pair of ``xs`` (W,) and ``ys`` (H,), rising to the right and upwards; the ticks name the
    coordinates of the middles of the images.
    """
    if ax is None:
        _, ax = plt.subplots(figsize=(7, 7 * len(ys) / len(xs)))
    points = torch.cartesian_prod(ys.flip(0), xs).flip(1)  # rows from the top, each from the left
    with torch.inference_mode():
        images = to_uint8(decode(points)).view(len(ys), len(xs), 28, 28)
    ax.imshow(images.permute(0, 2, 1, 3).reshape(28 * len(ys), -1), cmap="gray_r", vmin=0, vmax=255)
    for axis, values in ((ax.xaxis, xs), (ax.yaxis, ys.flip(0))):
        every = max(1, len(values) // 6)
        axis.set_ticks([28 * i + 14 for i in range(0, len(values), every)], [f"{v:.2g}" for v in values[::every]])
    ax.grid(False)
    ax.set(title=title, xlabel=xlabel, ylabel=ylabel)
    return ax.figure


def heat(
    matrix: Tensor | np.ndarray, *, title: str, xlabel: str, ylabel: str, ax: plt.Axes | None = None, **ticks: object
) -> Figure:
    """Heat map of shares in 0..1 with the values written in; ``ticks`` are xticklabels and yticklabels."""
    if ax is None:
        _, ax = plt.subplots(figsize=(6.4, 5.4))
    import seaborn as sns

    values = np.asarray(matrix)
    texts = np.array([[f"{v:.2f}".lstrip("0") if v >= 0.005 else "" for v in row] for row in values])
    sns.heatmap(
        values,
        annot=texts,
        fmt="",
        cmap="Blues",
        vmin=0,
        vmax=1,
        cbar=False,
        linewidths=0.5,
        ax=ax,
        annot_kws={"size": 8},
        **ticks,
    )
    ax.set(title=title, xlabel=xlabel, ylabel=ylabel)
    ax.tick_params(axis="y", rotation=0)
    return ax.figure


def intervals(values: Mapping[str, float], errors: Sequence[tuple[float, float]], *, title: str, ylabel: str) -> Figure:
    """A point and its interval (low, high) for each name; no bars, so the axis need not start at zero."""
    fig, ax = plt.subplots()
    names, heights = list(values), np.array(list(values.values()))
    spread = np.abs(np.array(errors).T - heights)
    ax.errorbar(range(len(names)), heights, yerr=spread, fmt="o", ms=7, capsize=4)
    for i, height in enumerate(heights):
        ax.annotate(
            f"{height:.3f}",
            (i, height),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    ax.set_xticks(range(len(names)), names, fontsize=8)
    ax.set(title=title, ylabel=ylabel, xlim=(-0.5, len(names) - 0.2))
    return fig


def diagram(boxes: Mapping[str, tuple[float, float]], arrows: Sequence[tuple[str, str]], *, title: str) -> Figure:
    """Boxes {text: (x, y)} joined by arrows (from, to), for a drawing of how parts work together."""
    xs, ys = zip(*boxes.values(), strict=True)
    fig, ax = plt.subplots(figsize=(1.9 * (max(xs) - min(xs)) + 2, 1.5 * (max(ys) - min(ys)) + 1.6))
    drawn = {
        text: ax.text(
            x, y, text, ha="center", va="center", fontsize=9,
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


def layer_shapes(model: nn.Module, x: Tensor) -> list[tuple[str, tuple[int, ...], int]]:
    """(layer, output shape, parameters) of each leaf module in the order in which ``model(x)`` runs them."""
    found: list[tuple[str, tuple[int, ...], int]] = []

    def note(module: nn.Module, _: object, output: Tensor) -> None:
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
    """Layer diagram drawn from the module itself: one box a layer, with its output shape and parameters."""
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
