"""What cannot be read in a figure on a page, measured from what is drawn."""

import re
from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import Collection, LineCollection, PathCollection
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text
from matplotlib.transforms import Bbox

INCHES, PAGE, PIXELS = 9, 800, 11  # the widest figure; the width of a page and the smallest text on it, in pixels
RULES = ("width", "small text", "overlap", "legend", "text on data", "axis names")
NUMBER = re.compile(r"[−-]?[\d.,]+\s?%?|\$\\mathdefault.*")


def findings(fig: Figure, png: bytes) -> dict[str, str]:
    """{rule: what is wrong} of a figure that was saved as ``png``, in the resolution of the style, for a page.

    Rules: the figure is at most 9 inches wide; no text is smaller than 11 pixels; no texts overlap; no legend lies
    over points, lines, bars or images; no text of the axes lies on a line or a point; axes with numbers have names.
    """
    dpi = fig.dpi if plt.rcParams["savefig.dpi"] == "figure" else plt.rcParams["savefig.dpi"]
    pixels = int.from_bytes(png[16:20])  # as the head of the file says
    width, scale = pixels / dpi, min(1, PAGE / pixels) * dpi / 72  # inches; pixels on the page for each point
    fig.draw_without_rendering()  # saving leaves places behind that hold for the size of the file
    texts = list(_texts(fig))
    boxes = {text: _box(text) for text in texts}
    legends = [legend for legend in fig.findobj(Legend) if legend.get_visible()]
    sizes = {text: text.get_fontsize() * scale for text in texts}
    found = {
        "width": [f"{width:.1f} inches, more than {INCHES}"] if width > INCHES + 0.15 else [],
        "small text": sorted(f"{_name(t)} ({size:.1f} pixels)" for t, size in sizes.items() if size < PIXELS - 0.05),
        "overlap": _overlaps(boxes, legends),
        "legend": [
            f"over data of {ax.get_title()!r}" for ax in _shown(fig) for legend in legends if _hides(legend, ax)
        ],
        "text on data": [_name(text) for text, box in boxes.items() if _is_crossed(text, box)],
        "axis names": [name for ax in _shown(fig) for name in _without_name(fig, ax)],
    }
    return {rule: _few(wrong) for rule, wrong in found.items() if wrong}


def _shown(fig: Figure) -> list[Axes]:
    return [ax for ax in fig.axes if ax.get_visible()]


def _few(wrong: list[str]) -> str:
    wrong = list(dict.fromkeys(wrong))  # each once
    return "; ".join(wrong[:3]) + (f"; and {len(wrong) - 3} more" if len(wrong) > 3 else "")


def _name(text: Text) -> str:
    words = " ".join(text.get_text().split())
    return repr(words if len(words) < 30 else words[:28] + "…")


# --- texts -----------------------------------------------------------------------------------------------------------


def _texts(fig: Figure) -> Iterator[Text]:
    """All texts that are seen; ticks outside of the view keep theirs, which are not."""
    unseen = set()
    for ax in fig.axes:
        if not ax.get_visible():
            unseen |= set(ax.findobj(Text))
        for axis in (ax.xaxis, ax.yaxis):
            seen = set(_labels(axis)) | {axis.label, axis.offsetText} if ax.axison and axis.get_visible() else set()
            unseen |= set(axis.findobj(Text)) - seen
    return (t for t in fig.findobj(Text) if t not in unseen and t.get_visible() and t.get_text().strip())


def _labels(axis: Axis) -> list[Text]:
    """The labels of the ticks in view."""
    low, high = sorted(axis.get_view_interval())
    slack = 1e-6 * (high - low)
    ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
    inside = [tick for tick in ticks if low - slack <= tick.get_loc() <= high + slack]
    labels = [label for tick in inside for label in (tick.label1, tick.label2)]
    return [label for label in labels if label.get_visible() and label.get_text().strip()]


def _box(text: Text) -> Bbox:
    """Where the letters are, in pixels of the figure, without the room for those that go deep or high."""
    box = Text.get_window_extent(text)  # of an annotation, not its arrow
    trim = 0.14 * text.get_fontsize() * text.get_figure(root=True).dpi / 72
    lying = text.get_rotation() % 180 == 0
    return box.padded(0 if lying else -trim, -trim if lying else 0)


def _overlaps(boxes: dict[Text, Bbox], legends: list[Legend]) -> list[str]:
    """Pairs of texts one of which lies over the other, and texts under legends; oblique texts are left out."""
    once = {(text.get_text(), *box.extents.round()): text for text, box in boxes.items()}  # ticks may be drawn twice
    upright = {text: boxes[text] for text in once.values() if text.get_rotation() % 90 == 0}
    texts = list(upright)
    x0, y0, x1, y1 = np.array([box.extents for box in upright.values()]).reshape(-1, 4).T
    meet = (x0[:, None] < x1) & (x0 < x1[:, None]) & (y0[:, None] < y1) & (y0 < y1[:, None])
    found = [f"{_name(texts[i])} and {_name(texts[j])}" for i, j in np.argwhere(np.triu(meet, 1))]
    for legend in legends:
        inside, frame = set(legend.findobj(Text)), legend.get_window_extent().padded(-2)
        found += [f"{_name(t)} under a legend" for t, box in upright.items() if t not in inside and frame.overlaps(box)]
    return found


# --- data ------------------------------------------------------------------------------------------------------------


def _hides(legend: Legend, ax: Axes) -> bool:
    """Whether a legend lies over points, lines, bars or images, but not lines or bands across the whole panel."""
    part = Bbox.intersection(legend.get_window_extent().padded(-2), ax.bbox)
    drawn = [*ax.lines, *ax.collections, *ax.patches, *ax.images]
    return part is not None and any(_meets(artist, ax, part) for artist in drawn)


def _is_crossed(text: Text, box: Bbox) -> bool:
    """Whether a text that was put into a panel lies on a line or a point, and has no ground of its own."""
    ax = text.axes
    if ax is None or text not in ax.texts or text.get_bbox_patch() is not None or text.get_rotation() % 90:
        return False
    drawn = [*ax.lines, *(c for c in ax.collections if isinstance(c, PathCollection | LineCollection))]
    return any(_meets(artist, ax, box.padded(-1)) for artist in drawn)


def _meets(artist: Artist, ax: Axes, box: Bbox) -> bool:
    """Whether an artist that is drawn in the coordinates of the data meets ``box``."""
    if not artist.get_visible() or box.width <= 0 or box.height <= 0:
        return False
    point = ax.get_figure(root=True).dpi / 72  # in pixels
    if isinstance(artist, AxesImage):
        return box.overlaps(artist.get_window_extent())
    if isinstance(artist, PathCollection):
        offsets, across = np.ma.filled(artist.get_offsets(), np.nan), max(artist.get_sizes(), default=0) ** 0.5
        at = ax.transData.transform(offsets)
        return artist.get_offset_transform() is ax.transData and _inside(at, box.padded(across / 2 * point))
    if isinstance(artist, Line2D) and artist.get_transform() is ax.transData and len(artist.get_xydata()):
        path = ax.transData.transform_path(artist.get_path())
        around = box.padded(artist.get_markersize() / 2 * point)
        marked = artist.get_marker() not in ("None", None, "", " ") and _inside(path.vertices, around)
        return marked or (artist.get_linestyle() != "None" and path.intersects_bbox(box, filled=False))
    if isinstance(artist, Patch) and artist.get_data_transform() is ax.transData:
        return artist.get_transform().transform_path(artist.get_path()).intersects_bbox(box, filled=artist.get_fill())
    if isinstance(artist, Collection) and artist.get_transform() is ax.transData:
        return any(ax.transData.transform_path(p).intersects_bbox(box, filled=True) for p in artist.get_paths())
    return False


def _inside(points: np.ndarray, box: Bbox) -> bool:
    x, y = np.asarray(points).T
    return bool(((x > box.x0) & (x < box.x1) & (y > box.y0) & (y < box.y1)).any())


# --- axes ------------------------------------------------------------------------------------------------------------


def _without_name(fig: Figure, ax: Axes) -> Iterator[str]:
    """The axes of a panel that show numbers and have no name, nor has one of the same numbers beside or below."""
    for which, common in (("x", fig.get_supxlabel()), ("y", fig.get_supylabel())):
        axis, others = getattr(ax, f"{which}axis"), [getattr(other, f"{which}axis") for other in _shown(fig)]
        strip = ax.images and not (_labels(ax.xaxis) and _labels(ax.yaxis))  # of images, with texts below them
        if not ax.axison or common or strip or not any(NUMBER.fullmatch(label.get_text()) for label in _labels(axis)):
            continue
        span = tuple(axis.get_view_interval())
        if not any(other.get_label_text() for other in others if tuple(other.get_view_interval()) == span):
            yield f"{which} of {ax.get_title() or 'a panel'!r}"
