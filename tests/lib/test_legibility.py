"""What is measured of a figure when it is saved: each fault is found, and what only looks like one is not."""

import io

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from lib import plots
from lib.legibility import RULES, findings


@pytest.fixture(autouse=True)
def _figures():
    with plt.rc_context():
        plots.set_style()
        yield
    plt.close("all")


def found(fig):
    png = io.BytesIO()
    fig.savefig(png, format="png")
    return findings(fig, png.getvalue())


@pytest.fixture
def ax():
    """A panel without a fault, with a line from (0, 0) to (1, 1)."""
    ax = plt.subplots()[1]
    ax.plot([0, 1], [0, 1], label="a")
    ax.set(xlabel="epoch", ylabel="error", title="A line")
    assert found(ax.figure) == {}
    return ax


# --- width and size of text ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("inches", "fault"), [(9, False), (9.3, True)])
def test_a_figure_is_at_most_nine_inches_wide(inches, fault):
    fig = plt.figure(figsize=(inches, 2))
    fig.text(0, 0.5, "from one side to the other").set_in_layout(True)
    fig.add_artist(plt.Line2D([0, 1], [0, 0]))
    assert ("width" in found(fig)) == fault


@pytest.mark.parametrize(
    ("inches", "points", "pixels"),
    [(9, 8, 9.8), (9, 9, None), (6, 7.3, None), (6, 7, 10.7), (18, 17, 10.4), (18, 18, None)],
)
def test_text_has_at_least_eleven_pixels_on_a_page_of_800(inches, points, pixels):
    fig, ax = plt.subplots(figsize=(inches, 4))
    ax.set_position([0, 0, 1, 1])
    ax.set(xticks=[], yticks=[])
    ax.text(0.5, 0.5, "small", fontsize=points)
    assert found(fig).get("small text") == (f"'small' ({pixels} pixels)" if pixels else None)


def test_text_that_is_not_seen_has_no_size(ax):
    ax.text(0.2, 0.8, "", fontsize=2)
    ax.text(0.2, 0.8, "unseen", fontsize=2, visible=False)
    beside = ax.figure.add_subplot(1, 9, 9, visible=False)
    beside.set_title("unseen", fontsize=2)
    ax.set(xticks=[0, 1, 7], xlim=(0, 1))
    ax.xaxis.get_major_ticks()[2].label1.set_fontsize(2)  # out of view
    assert found(ax.figure) == {}


# --- texts over each other -------------------------------------------------------------------------------------------


def test_tick_labels_that_touch_are_named():
    fig, ax = plt.subplots(figsize=(3, 2))
    ax.set(xticks=[0, 0.1, 1], xlabel="x", ylabel="y", xlim=(0, 1))
    ax.set_xticklabels(["100", "1000", "10000"])
    assert found(fig) == {"overlap": "'100' and '1000'"}


def test_a_title_over_that_of_the_next_panel_is_named():
    fig, axes = plt.subplots(1, 2, figsize=(6, 2), sharex=True, sharey=True)
    for panel, words in zip(axes, ("first", "second"), strict=True):
        panel.set(title=f"the {words} panel with a title that is too long", xlabel="x", ylabel="y")
    assert found(fig)["overlap"].startswith("'the first panel with a title")


def test_annotations_over_each_other_and_under_a_legend_are_named(ax):
    ax.annotate("one", (0.1, 0.8))
    ax.annotate("another", (0.12, 0.81))
    assert found(ax.figure) == {"overlap": "'one' and 'another'"}
    ax.texts[1].remove()
    ax.legend(loc="upper left")
    ax.texts[0].set_position((0.03, 0.92))
    ax.texts[0].xy = (0.03, 0.92)
    assert found(ax.figure) == {"overlap": "'one' under a legend"}


def test_lines_of_text_that_stand_close_do_not_overlap(ax):
    ax.set_title("A title\nof two lines")
    ax.annotate("one\ntwo", (0.1, 0.6))
    ax.annotate("three", (0.1, 0.6), xytext=(0, -13), textcoords="offset points")
    assert found(ax.figure) == {}


def test_oblique_texts_are_not_compared(ax):
    for i in range(5):
        ax.text(0.1 + 0.02 * i, 0.6, "a long name", rotation=45)
    assert "overlap" not in found(ax.figure)


# --- legends and texts over data -------------------------------------------------------------------------------------


def draw_line(ax):
    ax.plot([0.0, 1.0], [0.5, 0.5])


def draw_line_on_a_log_axis(ax):
    ax.set(xscale="log", xlim=(0.01, 1))
    ax.plot([0.01, 1.0], [0.5, 0.5])


def draw_points(ax):
    ax.plot([0.5], [0.5], "o")


def draw_scatter(ax):
    ax.scatter([0.5], [0.5])


def draw_bars(ax):
    ax.bar([0.5], [0.6])


def draw_histogram(ax):
    ax.hist(np.full(9, 0.5), bins=5, histtype="stepfilled", density=True)
    ax.set_ylim(0, 1)


def draw_band(ax):
    ax.fill_between([0, 1], [0.3, 0.3], [0.6, 0.6])


def draw_error_bar(ax):
    ax.errorbar([0.5], [0.9], [0.6], fmt="none")


def draw_image(ax):
    ax.imshow(np.zeros((2, 2)), extent=(0, 1, 0, 1))


def draw_cells(ax):
    ax.pcolormesh(np.linspace(0, 1, 3), np.linspace(0, 1, 3), np.zeros((2, 2)))


DATA = [value for name, value in list(globals().items()) if name.startswith("draw_")]


@pytest.mark.parametrize("draw", DATA)
def test_a_legend_over_data_is_found_and_one_beside_it_is_not(draw):
    _, ax = plt.subplots()
    draw(ax)
    ax.set(xlabel="x", ylabel="y", ylim=(0, 1))
    handle = [plt.Line2D([], [], label="a")]
    ax.legend(handles=handle, loc="center")
    assert "legend" in found(ax.figure)
    ax.legend(handles=handle, loc="center left", bbox_to_anchor=(1, 0.5))
    assert found(ax.figure) == {}


def test_a_legend_over_another_panel_is_found():
    fig, (left, right) = plt.subplots(1, 2, sharex=True, sharey=True)
    right.plot([0, 1], [0.5, 0.5])
    left.plot([], [], label="a long name of a curve that is not there")
    left.set(xlabel="x", ylabel="y", ylim=(0, 1))
    left.legend(loc="center left", bbox_to_anchor=(0.9, 0.5))
    right.set_title("right")
    assert found(fig)["legend"] == "over data of 'right'"


def test_levels_and_shaded_parts_of_a_panel_are_no_data(ax):
    ax.axhline(0.9)
    ax.axvspan(0, 0.4)
    ax.legend(loc="upper left")
    assert found(ax.figure) == {}


@pytest.mark.parametrize("draw", [draw_line, draw_line_on_a_log_axis, draw_points, draw_scatter, draw_error_bar])
def test_a_text_on_a_line_or_a_point_is_found(draw):
    _, ax = plt.subplots()
    draw(ax)
    ax.set(xlabel="x", ylabel="y", ylim=(0, 1))
    text = ax.text(0.5, 0.5, "here", ha="center", va="center")
    assert found(ax.figure) == {"text on data": "'here'"}
    text.set_bbox({"facecolor": "white"})
    assert found(ax.figure) == {}, "it has a ground of its own"


@pytest.mark.parametrize("draw", [draw_points, draw_scatter])
def test_a_text_that_only_touches_a_mark_is_found(draw):
    _, ax = plt.subplots()
    draw(ax)
    ax.set(xlabel="x", ylabel="y", ylim=(0, 1))
    for apart, fault in ((1, True), (6, False)):
        text = ax.annotate("here", (0.5, 0.5), xytext=(apart, 0), textcoords="offset points", va="center")
        assert ("text on data" in found(ax.figure)) == fault
        text.remove()


def test_a_text_beside_its_point_or_on_a_bar_is_no_fault(ax):
    ax.plot([0.2], [0.8], "o")
    ax.annotate("0.8", (0.2, 0.8), xytext=(8, 0), textcoords="offset points", va="center")
    ax.bar([0.8], [0.4])
    ax.text(0.8, 0.2, "0.4", ha="center")
    plots.level(ax, 0.9, "the mean image", side="left")
    assert found(ax.figure) == {}


# --- names of axes ---------------------------------------------------------------------------------------------------


def test_an_axis_with_numbers_needs_a_name(ax):
    ax.set_ylabel("")
    assert found(ax.figure) == {"axis names": "y of 'A line'"}
    ax.figure.supylabel("error")
    assert found(ax.figure) == {}


def test_axes_with_words_or_without_ticks_need_no_name():
    fig, (left, right) = plt.subplots(1, 2)
    plots.image_grid(torch.zeros(4, 28, 28), 2, title="four", ax=left)
    right.set_yticks([0, 1], ["VAE", "GAN"])
    right.set_xlabel("Fréchet distance")
    assert found(fig) == {}


def test_numbers_below_images_need_no_name_and_those_of_a_plane_do():
    assert found(plots.image_row(torch.zeros(3, 28, 28), ["3", "8", "1"], title="t")) == {}
    grid = torch.linspace(-1, 1, 4)
    fig = plots.plane(lambda z: torch.zeros(len(z), 784), grid, grid, title="t", xlabel="")
    assert found(fig) == {"axis names": "x of 't'"}


def test_panels_that_share_an_axis_share_its_name_and_others_do_not():
    fig, axes = plt.subplots(2, 2, sharex=True, sharey="row")
    axes[0, 0].set(ylabel="loss", ylim=(0, 3))
    axes[1, 0].set(xlabel="epoch", title="Below")
    assert found(fig) == {"axis names": "y of 'Below'"}


# --- the workbook's own plots ----------------------------------------------------------------------------------------


def test_rules_are_those_that_are_found():
    fig, ax = plt.subplots(figsize=(12, 3))
    ax.plot([0, 1], [0, 1], label="a")
    ax.text(0.5, 0.5, "one", fontsize=5, ha="center", va="center")
    ax.text(0.5, 0.5, "two", ha="center", va="center")
    ax.legend(loc="center")
    assert set(found(fig)) == set(RULES)


IMAGES = torch.rand(24, 28, 28, generator=torch.Generator().manual_seed(0))
JUDGED = {name: {f"m{i}": 1.0 + i for i in range(8)} for name in ("real digits", "GAN, report's settings", "VAE")}
OWN = {
    "line": lambda: plots.line(
        {"training": [3, 2, 1.5], "test": [3.5, 2.5, 2]}, title="Loss", xlabel="epoch", ylabel="nats", log=True
    ),
    "measures": lambda: plots.measures(JUDGED, {f"m{i}": "share of the rarest digit" for i in range(8)}, title="All"),
    "boxes": lambda: plots.boxes({q: {"a": torch.rand(9), "b": torch.rand(9)} for q in "pqr"}, title="t"),
    "confusion": lambda: plots.confusion(torch.full((10, 10), 1000), title="t"),
    "heat": lambda: plots.heat(torch.rand(10, 10), title="t", xlabel="x", ylabel="y"),
    "classes": lambda: plots.classes(torch.rand(50, 2), torch.arange(50) % 10, title="t", xlabel="x", ylabel="y"),
    "digits": lambda: plots.digits(IMAGES[:20], ["8→9 98%"] * 20, title="t", columns=10),
    "image_row": lambda: plots.image_row(IMAGES[:8], ["3 (98%)"] * 8, title="t"),
    "image_rows": lambda: plots.image_rows(
        {"test images": IMAGES[:12], "a name": IMAGES[12:]}, {"a name": ["3 (98%)"] * 12}, title="t"
    ),
    "image_grids": lambda: plots.image_grids({f"epoch {i}": IMAGES[:4] for i in range(10)}, 2, title="t"),
    "plane": lambda: plots.plane(
        lambda z: torch.zeros(len(z), 784), torch.linspace(-2, 2, 12), torch.linspace(-2, 2, 12), title="t"
    ),
    "diagram": lambda: plots.diagram(
        {f"a box\nof words {i}": (i, i % 2) for i in range(5)},
        [(f"a box\nof words {i}", f"a box\nof words {i + 1}") for i in range(4)],
        title="t",
    ),
    "schematic": lambda: plots.schematic(
        [("image", 784), ("hidden", 512), ("latent", 2), ("hidden", 512), ("image", 784)],
        ["linear,\nReLU", "linear", "linear,\nReLU", "linear,\nsigmoid"],
        title="t",
    ),
    "seeds": lambda: seeds_figure(),
    "runs": lambda: runs_figure(),
}  # fmt: skip


def seeds_figure():
    fig, ax = plt.subplots()
    plots.seeds(ax, {"a": [1, 2, 3.0], "b": [2, 3.0]}, reported={"b": 2.2}, label="ours")
    ax.set_xlabel("accuracy")
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return fig


def runs_figure():
    fig, ax = plt.subplots()
    plots.runs(ax, {"report": [[3, 2, 2], [3, 2.2, 2.1]], "ours": [[3, 1, 0.5]]})
    ax.set(xlabel="epoch", ylabel="loss")
    ax.legend()
    return fig


@pytest.mark.parametrize("name", OWN)
def test_figures_of_the_workbooks_own_functions_can_be_read(name):
    torch.manual_seed(0)
    assert found(OWN[name]()) == {}
