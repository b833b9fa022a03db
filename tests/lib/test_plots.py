"""What figures show, read back from what is drawn."""

import subprocess
import sys
from itertools import combinations, pairwise

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib import rc_params_from_file
from matplotlib.colors import to_hex, to_rgb
from matplotlib.markers import MarkerStyle
from torch import nn

from lib import plots


@pytest.fixture(autouse=True)
def _figures():
    """In the workbook's style; whatever a test sets or draws is gone after it."""
    with plt.rc_context():
        plots.set_style()
        yield
    plt.close("all")


def ink(ax):
    """How dark each pixel of the one image in ``ax`` is drawn, 0 (white) to 255 (black), from the top left."""
    (image,) = ax.images
    colours = image.to_rgba(np.asarray(image.get_array()), norm=True)
    assert (colours[..., :3].std(-1) < 1e-9).all(), "grey"
    drawn = (255 * (1 - colours[..., 0])).round().astype(int)
    return drawn if image.origin == "upper" else drawn[::-1]


def flat_images(*values):
    """One image of a single grey for each value."""
    return torch.stack([torch.full((28, 28), value, dtype=torch.uint8) for value in values])


def labels(axis, which):
    """{place: text} of the ticks that an axis shows."""
    low, high = sorted(axis.get_view_interval())
    ticks = axis.get_major_ticks() if which == "major" else axis.get_minor_ticks()
    at = axis.get_majorticklocs() if which == "major" else axis.get_minorticklocs()
    texts = [tick.label1.get_text() for tick in ticks]
    return {round(float(x), 9): text for x, text in zip(at, texts, strict=True) if low <= x <= high}


# --- style -------------------------------------------------------------------------------------------------------


CHANGED = {
    *("figure.figsize", "figure.dpi", "savefig.dpi", "savefig.bbox", "savefig.pad_inches", "image.cmap"),
    *("figure.titlesize", "figure.titleweight", "axes.titlesize", "axes.titleweight", "axes.prop_cycle"),
    *("font.size", "axes.labelsize", "xtick.labelsize", "ytick.labelsize", "legend.fontsize", "legend.title_fontsize"),
    "font.sans-serif",  # never used, because the font has a name
}


def test_style_is_seaborns_whitegrid_but_for_what_is_ours():
    import seaborn as sns

    plt.rcdefaults()
    sns.set_theme(style="whitegrid", rc={"font.family": "DejaVu Sans"})
    theirs = dict(plt.rcParams)
    plt.rcdefaults()
    plots.set_style()
    ours = dict(plt.rcParams)
    assert {name for name in theirs if theirs[name] != ours[name]} <= CHANGED


NOT_OF_FIGURES = {"backend_fallback", "docstring.hardcopy", "figure.raise_window"}


def test_no_setting_of_a_users_own_changes_a_figure():
    usual = {name: value for name, value in plt.rcParams.items() if name != "backend"}
    for name, value in usual.items():
        if isinstance(value, float | bool) and name.split(".")[0] not in ("interactive", "webagg", "tk"):
            plt.rcParams[name] = not value if isinstance(value, bool) else value + 0.25
    plots.set_style()
    assert {name for name, value in usual.items() if plt.rcParams[name] != value} <= NOT_OF_FIGURES


SEEN = {  # linear red, green and blue as they are seen with and without cones for green and red (Machado 2009)
    "all": np.eye(3),
    "no green": np.array([[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]]),
    "no red": np.array([[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]]),
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear(colour):
    parts = np.array(to_rgb(colour))
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    x, y, z = np.cbrt((TO_XYZ @ rgb.clip(0, 1) / (0.9505, 1, 1.089)).clip(0.001))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_ten_colours_stand_out_from_white_and_from_each_other_for_everybody():
    colours = plt.rcParams["axes.prop_cycle"].by_key()["color"]
    assert len(colours) == 10
    assert all(1.05 / (TO_XYZ[1] @ linear(colour) + 0.05) > 2.9 for colour in colours), "contrast with white"
    for view in SEEN.values():
        seen = [lab(view @ linear(colour)) for colour in colours]
        assert min(np.linalg.norm(a - b) for a, b in combinations(seen, 2)) > 14


def test_ours_and_the_reports_colour_are_the_first_and_the_last_and_dark_enough_for_text():
    colours = [to_hex(colour) for colour in plt.rcParams["axes.prop_cycle"].by_key()["color"]]
    assert (colours[0], colours[-1]) == (plots.OURS, plots.REPORT)
    for colour in (plots.OURS, plots.REPORT):
        assert 1.05 / (TO_XYZ[1] @ linear(colour) + 0.05) > 4.5


def test_figures_are_saved_sharp():
    assert plt.rcParams["savefig.dpi"] >= 110


def test_style_sheet_says_nothing_that_matplotlibs_whitegrid_says_too():
    base, sheet = plots.STYLE
    changed = dict(rc_params_from_file(sheet, use_default_template=False))
    plt.rcdefaults()
    plt.style.use(base)
    assert {name for name, value in changed.items() if plt.rcParams[name] == value} <= {"figure.dpi"}
    plots.set_style()
    assert {name: plt.rcParams[name] for name in changed} == changed


def test_slow_libraries_are_imported_only_when_they_are_needed():
    code = (
        "import sys; from lib import plots; from lib.metrics import classification, latent, quality; "
        "print(sorted({'seaborn', 'scipy.stats', 'sklearn', 'umap', 'phate'} & set(sys.modules)))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], encoding="utf-8").strip() == "[]"


# --- curves ------------------------------------------------------------------------------------------------------


def test_curves_begin_at_epoch_1_and_keep_their_names():
    fig = plots.line({"a": [3.0, 2.0, 1.0], "b": [5.0, 4.0]}, title="Loss", xlabel="epoch", ylabel="nats")
    (ax,) = fig.axes
    assert [curve.get_xydata().tolist() for curve in ax.lines] == [[[1, 3], [2, 2], [3, 1]], [[1, 5], [2, 4]]]
    legend = ax.get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["a", "b"]
    for curve, handle in zip(ax.lines, legend.get_lines(), strict=True):
        assert (curve.get_color(), curve.get_marker()) == (handle.get_color(), handle.get_marker())
    assert (ax.get_title(), ax.get_xlabel(), ax.get_ylabel()) == ("Loss", "epoch", "nats")


def test_curves_differ_without_colour():
    fig = plots.line({str(i): [1.0, 2.0] for i in range(6)}, title="", xlabel="", ylabel="")
    assert len({curve.get_marker() for curve in fig.axes[0].lines}) == 6
    assert len({curve.get_linestyle() for curve in fig.axes[0].lines}) == 4, "the two longest patterns count as dashed"


def test_references_are_lines_at_their_value_with_their_name():
    fig = plots.line({"a": [3.0, 2.0]}, title="", xlabel="", ylabel="", reference={"report": 2.5, "guessing": 2.9})
    (ax,) = fig.axes
    assert [set(level.get_ydata()) for level in ax.lines[1:]] == [{2.5}, {2.9}]
    assert {text.get_text(): text.xy for text in ax.texts} == {"report": (1, 2.5), "guessing": (1, 2.9)}
    assert ax.get_legend() is None, "one curve needs no legend"


@pytest.mark.parametrize(("side", "inside"), [("left", 1), ("right", -1)])
def test_name_of_a_level_is_above_it_and_inside_the_axes(side, inside):
    fig, ax = plt.subplots()
    ax.set(ylim=(0, 1))
    plots.level(ax, 0.5, "report", side=side)
    fig.canvas.draw()
    text, frame = ax.texts[0].get_window_extent(), ax.get_window_extent()
    at = ax.transData.transform((0, 0.5))[1]
    assert at - 1 <= text.y0 < at + 10
    assert frame.x0 <= text.x0 < text.x1 <= frame.x1 + 1
    assert inside * ((text.x0 + text.x1) - (frame.x0 + frame.x1)) < 0, "at its side"


def test_there_is_no_epoch_between_two_epochs():
    fig = plots.line({"a": [3.0, 2.0]}, title="", xlabel="", ylabel="")
    other, axes = plt.subplots(1, 2)
    for ax in axes:
        ax.plot([1, 2], [0, 1])
    ax.set_xlim(0.9, 3.2)
    plots.whole_epochs(*axes)
    for figure in (fig, other):
        figure.canvas.draw()
    for ax in (*fig.axes, *axes):
        assert labels(ax.xaxis, "major")
        assert all(x == int(x) for x in labels(ax.xaxis, "major"))


def test_log_axis_has_plain_numbers_within_a_decade_and_over_several():
    fig, (narrow, wide) = plt.subplots(1, 2)
    narrow.plot([0.012, 0.06])
    wide.plot([0.1, 10])
    for ax in (narrow, wide):
        plots.log_axis(ax)
    fig.canvas.draw()
    assert narrow.get_yscale() == "log"
    assert labels(narrow.yaxis, "minor") == {0.02: "0.02", 0.03: "0.03", 0.05: "0.05"}
    assert labels(narrow.yaxis, "major") == {}
    assert labels(wide.yaxis, "major") == {0.1: "0.1", 1: "1", 10: "10"}
    assert labels(wide.yaxis, "minor") == {x: f"{x:g}" for x in (0.2, 0.3, 0.5, 2, 3, 5)}


def test_log_curves_are_on_a_log_axis():
    fig = plots.line({"a": [3.0, 0.2]}, title="", xlabel="", ylabel="", log=True)
    assert (fig.axes[0].get_yscale(), fig.axes[0].get_xscale()) == ("log", "linear")


# --- numbers with names ------------------------------------------------------------------------------------------


def bars_of(ax):
    """[(x, low, high)] of the error bars that are drawn."""
    (container,) = ax.containers
    (bars,) = container.lines[2]
    return [(*start, end[1]) for start, end in bars.get_segments()]


def test_error_bars_begin_and_end_at_their_bounds():
    _, ax = plt.subplots()
    plots.error_bars(ax, [1, 2], [0.5, 0.9], [(0.4, 0.7), (0.6, 1.0)], fmt="o")
    np.testing.assert_allclose(bars_of(ax), [(1, 0.4, 0.7), (2, 0.6, 1.0)])
    np.testing.assert_allclose(ax.containers[0].lines[0].get_xydata(), [(1, 0.5), (2, 0.9)])


def test_each_seed_has_a_mark_in_the_row_of_its_name_and_the_report_a_star():
    _, ax = plt.subplots()
    plots.seeds(ax, {"a": [1.0, 3.0], "b": [5.0]}, reported={"b": 4.0}, label="ours", shift=0.1)
    marks, mean, other, _, star = ax.lines
    assert marks.get_xydata().tolist() == [[1, 0.1], [3, 0.1]]
    assert mean.get_xydata().tolist() == [[2, 0.1]]
    assert other.get_xydata().tolist() == [[5, 1.1]]
    assert star.get_xydata().tolist() == [[4, 1]]
    assert (marks.get_color(), star.get_color(), marks.get_markerfacecolor()) == (plots.OURS, plots.REPORT, "none")
    assert labels(ax.yaxis, "major") == {0: "a", 1: "b"}
    assert ax.get_ylim()[0] > ax.get_ylim()[1], "the first at the top"
    assert ax.get_legend_handles_labels()[1] == ["ours", "report"]


def test_runs_of_a_group_look_alike_and_are_named_once():
    _, ax = plt.subplots()
    plots.runs(ax, {"report": [[3.0, 2.0], [4.0, 2.5]], "ours": [[1.0, 0.5]]}, {"ours": plots.OURS})
    drawn = [list(line.get_ydata()) for line in ax.lines]
    assert drawn == [[3.0, 2.0], [4.0, 2.5], [1.0, 0.5]]
    assert all(list(line.get_xdata()) == [1, 2] for line in ax.lines)
    first, second, third = ((line.get_color(), line.get_linestyle()) for line in ax.lines)
    assert first == second
    assert third[0] == plots.OURS
    assert third[1] != first[1]
    assert ax.get_legend_handles_labels()[1] == ["report", "ours"]


def test_error_bars_forgive_a_bound_that_is_rounded_past_its_value():
    _, ax = plt.subplots()
    plots.error_bars(ax, torch.arange(1), torch.ones(1), torch.tensor([[0.8, 1 - 1e-7]]))
    np.testing.assert_allclose(bars_of(ax), [(0, 0.8, 1)], atol=1e-6)


def test_measures_are_drawn_in_the_panel_of_their_name_beside_whom_they_measure():
    judged = {"real": {"f": 1.0, "r": 0.9, "x": 0.0, "y": 1.0}, "GAN": {"f": 33.0, "r": 0.25, "x": 0.0, "y": 1.0}}
    fig = plots.measures(judged, {"r": "recall", "f": "Fréchet", "x": "third", "y": "fourth"}, title="all")
    recall, frechet, third, _, spare, _ = fig.axes
    assert (recall.get_xlabel(), frechet.get_xlabel(), third.get_xlabel()) == ("recall", "Fréchet", "third")
    assert [line.get_xydata().tolist() for line in recall.lines] == [[[0.9, 0]], [[0.25, 1]]]
    assert [line.get_xydata().tolist() for line in frechet.lines] == [[[1, 0]], [[33, 1]]]
    assert {text.get_text(): text.xy for text in recall.texts} == {"0.9": (0.9, 0), "0.25": (0.25, 1)}
    assert labels(recall.yaxis, "major") == {0: "real", 1: "GAN"}
    assert recall.get_ylim()[0] > recall.get_ylim()[1], "the first at the top"
    assert not spare.get_visible()
    assert fig.get_suptitle() == "all"


def test_boxes_hold_the_middle_half_of_what_they_are_named_after():
    low, high = torch.arange(11.0), torch.arange(11.0) + 100
    fig = plots.boxes({"error": {"a": low, "b": high}, "time": {"a": high, "b": low}}, title="t")
    error, time = fig.axes
    assert (error.get_xlabel(), time.get_xlabel()) == ("error", "time")
    medians = [line.get_xdata()[0] for line in error.lines if set(line.get_xdata()) <= {5.0, 105.0}]
    assert medians == [5, 105]
    box = next(line for line in error.lines if len(line.get_xdata()) == 5)
    assert (min(box.get_xdata()), max(box.get_xdata())) == (2.5, 7.5)
    assert labels(error.yaxis, "major") == {1: "a", 2: "b"}
    assert error.get_ylim()[0] > error.get_ylim()[1], "the first at the top"


# --- matrices ----------------------------------------------------------------------------------------------------


def test_confusion_matrices_can_share_a_colour_scale():
    matrix = torch.diag(torch.full((10,), 90))
    matrix[7, 1] = 5
    limits = [plots.confusion(matrix, title="t", darkest=d).axes[0].collections[0].get_clim() for d in (None, 49)]
    assert limits == [(0, 5), (0, 49)]


def test_confusion_counts_stand_in_the_row_of_the_true_and_the_column_of_the_read_digit():
    matrix = torch.diag(torch.full((10,), 90))
    matrix[7, 1] = 5  # sevens that are read as ones
    fig = plots.confusion(matrix, title="t")
    (ax,) = fig.axes
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted digit", "true digit")
    texts = {text.get_position(): text.get_text() for text in ax.texts}
    assert texts[1.5, 7.5] == "5"
    assert texts[7.5, 1.5] == "0"
    assert texts[4.5, 4.5] == "90"
    assert ax.get_ylim() == (10, 0), "0 at the top"
    assert labels(ax.yaxis, "major") == {i + 0.5: str(i) for i in range(10)}
    colours = np.asarray(ax.collections[0].get_array()).reshape(10, 10)
    assert np.argwhere(colours).tolist() == [[7, 1]], "the diagonal is as pale as no errors at all"
    fig.canvas.draw()
    painted = ax.collections[0].get_facecolor().reshape(10, 10, 4)
    assert painted[7, 1, 0] < 0.2 < 0.9 < painted[4, 4, 0], "dark blue, and nearly white"


def test_heat_writes_its_values():
    fig = plots.heat(torch.tensor([[1.0, 0.0], [0.25, 0.75]]), title="", xlabel="", ylabel="")
    assert [t.get_text() for t in fig.axes[0].texts] == ["1.00", "", ".25", ".75"]


def test_heat_is_read_like_a_matrix_and_the_same_colour_always_means_the_same_share():
    fig = plots.heat(torch.tensor([[0.5, 0.1]]), title="", xlabel="x", ylabel="y", xticklabels=["a", "b"])
    (ax,) = fig.axes
    assert {t.get_position(): t.get_text() for t in ax.texts} == {(0.5, 0.5): ".50", (1.5, 0.5): ".10"}
    assert ax.collections[0].get_clim() == (0, 1)
    assert labels(ax.xaxis, "major") == {0.5: "a", 1.5: "b"}


# --- points ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [list(range(10)), [f"type {i}" for i in range(26)]])
def test_every_class_looks_different(names):
    points = torch.rand(len(names), 2)
    fig = plots.classes(points, names, title="", xlabel="", ylabel="")
    looks = {(tuple(c.get_facecolor()[0]), c.get_paths()[0].vertices.tobytes()) for c in fig.axes[0].collections}
    assert len(looks) == len(names)
    for i, collection in enumerate(fig.axes[0].collections):
        where = sorted(names).index(names[i])
        assert np.allclose(collection.get_offsets(), points[names.index(sorted(names)[i])]), where


def test_digits_are_drawn_as_digits_in_colours_that_show():
    fig = plots.classes(torch.rand(30, 2), torch.arange(30) % 3 + 5, title="", xlabel="", ylabel="")
    (ax,) = fig.axes
    for digit, drawn in zip((5, 6, 7), ax.collections, strict=True):
        shape = MarkerStyle(f"${digit}$")
        np.testing.assert_allclose(
            drawn.get_paths()[0].vertices, shape.get_transform().transform(shape.get_path().vertices)
        )
        assert drawn.get_label() == str(digit)
        assert len(drawn.get_offsets()) == 10
        assert min(drawn.get_facecolor()[0][:3]) < 0.6, "not white"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["5", "6", "7"]
    assert to_hex(ax.collections[0].get_facecolor()[0]) == plt.rcParams["axes.prop_cycle"].by_key()["color"][0].lower()


def test_a_background_is_fainter_and_not_in_the_legend():
    faint, plain = (
        plots.classes(
            torch.rand(4, 2), [1, 1, 2, 2], title="", xlabel="", ylabel="", legend=False, faint=is_faint
        ).axes[0]
        for is_faint in (True, False)
    )
    assert faint.collections[0].get_alpha() < plain.collections[0].get_alpha()
    assert faint.get_legend_handles_labels()[1] == []
    assert plain.get_legend() is None


# --- images ------------------------------------------------------------------------------------------------------


def test_digits_are_drawn_in_black_ink_row_by_row_with_their_titles():
    fig = plots.digits(flat_images(0, 255, 100), ["a", "b", "c"], title="t", columns=2)
    first, second, third, spare = fig.axes
    assert [ax.get_title() for ax in (first, second, third)] == ["a", "b", "c"]
    assert [set(ink(ax).ravel()) for ax in (first, second, third)] == [{0}, {255}, {100}]
    places = [ax.get_subplotspec() for ax in (first, second, third)]
    assert [(p.rowspan.start, p.colspan.start) for p in places] == [(0, 0), (0, 1), (1, 0)]
    assert not spare.get_visible()
    assert fig.get_suptitle() == "t"


def test_images_are_drawn_upright():
    image = torch.zeros(1, 28, 28, dtype=torch.uint8)
    image[0, 2, 5] = 255
    assert np.argwhere(ink(plots.digits(image, columns=1).axes[0])).tolist() == [[2, 5]]
    assert np.argwhere(ink(plots.image_row(image).axes[0])).tolist() == [[3, 6]], "within a margin of one pixel"
    assert np.argwhere(ink(plots.image_grid(image, 1).axes[0])).tolist() == [[2, 5]]


def test_images_may_be_numbers_from_0_to_1():
    for images in (torch.rand(3, 784), torch.rand(3, 1, 28, 28), torch.rand(3, 28, 28)):
        expected = (images.view(3, 28, 28) * 255).round().int().numpy()
        assert (ink(plots.digits(images, columns=3).axes[1]) == expected[1]).all()
        assert (ink(plots.image_row(images).axes[0])[1:29, 31:59] == expected[1]).all()
        assert (ink(plots.image_grid(images, 3).axes[0])[:, 28:56] == expected[1]).all()


def test_image_row_keeps_order_and_titles():
    fig = plots.image_row(flat_images(10, 200), ["a", "b"], title="two")
    (ax,) = fig.axes
    shown = ink(ax)
    assert shown.shape == (30, 60)
    assert (shown[15, 15], shown[15, 45], shown[0, 0]) == (10, 200, 0)
    assert [t.get_text() for t in ax.get_xticklabels()] == ["a", "b"]
    assert ax.get_xticks().tolist() == [15, 45], "each under the middle of its image"
    assert ax.get_title() == "two"
    assert plots.image_row(flat_images(1, 2)).axes[0].get_xticks().tolist() == []


@pytest.mark.parametrize("names", ["left", "above"])
def test_image_rows_are_below_each_other_with_names_and_captions(names):
    rows = {"before": flat_images(10, 20, 30), "after": flat_images(40, 50, 60)}
    fig = plots.image_rows(rows, {"after": ["x", "y", "z"]}, title="t", names=names)
    upper, lower = fig.axes
    assert upper.get_position().y0 > lower.get_position().y1
    assert ink(upper)[15, [15, 45, 75]].tolist() == [10, 20, 30]
    assert ink(lower)[15, [15, 45, 75]].tolist() == [40, 50, 60]
    named = {"left": lambda ax: ax.get_ylabel(), "above": lambda ax: ax.get_title()}[names]
    assert (named(upper), named(lower)) == ("before", "after")
    assert [t.get_text() for t in lower.get_xticklabels()] == ["x", "y", "z"]
    assert len(upper.get_xticks()) == 0
    assert fig.get_suptitle() == "t"


@pytest.mark.parametrize("names", ["left", "above"])
@pytest.mark.parametrize("across", [6, 10, 16])
@pytest.mark.parametrize("caption", ["0.03", "two\nlines"])
def test_captions_of_image_rows_lie_between_the_rows(names, across, caption):
    rows = {name: flat_images(*[100] * across) for name in ("a", "b", "c")}
    fig = plots.image_rows(rows, {name: [caption] * across for name in rows}, title="t", names=names)
    fig.canvas.draw()
    for upper, lower in pairwise(fig.axes):
        lowest = min(text.get_window_extent().y0 for text in upper.get_xticklabels())
        next_row = lower.title if names == "above" else lower
        assert lowest > next_row.get_window_extent().y1
        assert upper.get_window_extent().y0 > max(text.get_window_extent().y1 for text in upper.get_xticklabels())


def test_images_of_a_shorter_row_are_as_large_as_the_others():
    fig = plots.image_rows({"long": flat_images(*[9] * 8), "short": flat_images(9, 9)})
    fig.canvas.draw()
    long, short = (ax.get_window_extent() for ax in fig.axes)
    assert long.width == pytest.approx(4 * short.width)
    assert (long.x0, long.height) == pytest.approx((short.x0, short.height))


def test_mosaic_fills_rows_from_the_left_and_the_last_one_up():
    images = torch.arange(1, 13, dtype=torch.uint8).view(3, 2, 2)
    assert plots.mosaic(images, 2).tolist() == [[1, 2, 5, 6], [3, 4, 7, 8], [9, 10, 0, 0], [11, 12, 0, 0]]
    assert plots.mosaic(images[:2, :1, :], 2, gap=1).tolist() == [[0] * 8, [0, 1, 2, 0, 0, 5, 6, 0], [0] * 8]


def test_image_grid_is_a_mosaic_in_ink():
    images = torch.arange(5, dtype=torch.uint8).mul(50).view(5, 1, 1).expand(5, 28, 28)
    (ax,) = plots.image_grid(images, 3, title="five", gap=1).axes
    assert (ink(ax) == plots.mosaic(images, 3, gap=1).numpy()).all()
    assert ax.get_title() == "five"


def test_image_grids_are_titled_and_in_order():
    panels = {name: flat_images(*values) for name, values in (("a", (1, 2)), ("b", (3, 4)), ("c", (5, 6)))}
    fig = plots.image_grids(panels, 1, rows=2, title="t")
    a, b, c, spare = fig.axes
    assert [ax.get_title() for ax in (a, b, c)] == ["a", "b", "c"]
    assert [ink(ax)[::28, 0].tolist() for ax in (a, b, c)] == [[1, 2], [3, 4], [5, 6]]
    framed = plots.image_grids(panels, 2, gap=3).axes
    assert (ink(framed[1]) == plots.mosaic(panels["b"], 2, gap=3).numpy()).all()
    assert a.get_position().x1 < b.get_position().x0
    assert a.get_position().y0 > c.get_position().y1
    assert not spare.get_visible()
    assert fig.get_suptitle() == "t"


def test_plane_rises_to_the_right_and_upwards():
    def decode(points):
        return (0.1 * points[:, :1] + 0.3 * points[:, 1:]).expand(-1, 784)

    fig = plots.plane(decode, torch.tensor([0.0, 1.0]), torch.tensor([1.0, 2.0, 3.0]), title="")
    shown = ink(fig.axes[0])
    assert shown.shape == (3 * 28, 2 * 28)
    corners = {(x, y): round((0.1 * x + 0.3 * y) * 255) for x in (0, 1) for y in (1, 3)}
    assert shown[0, 0] == pytest.approx(corners[0, 3], abs=1)
    assert shown[0, -1] == pytest.approx(min(255, corners[1, 3]), abs=1)
    assert shown[-1, 0] == pytest.approx(corners[0, 1], abs=1)
    assert shown[-1, -1] == pytest.approx(corners[1, 1], abs=1)


def test_ticks_of_a_plane_name_the_coordinates_of_the_images_they_are_at():
    fig = plots.plane(
        lambda z: torch.zeros(len(z), 784), torch.tensor([0.5, 1.5]), torch.tensor([1.0, 2.0, 3.0]), title=""
    )
    (ax,) = fig.axes
    assert labels(ax.xaxis, "major") == {14: "0.5", 42: "1.5"}
    assert labels(ax.yaxis, "major") == {14: "3", 42: "2", 70: "1"}, "pixels count from the top"


def test_grids_wrap_into_rows_that_fit_the_page():
    panels = {str(i): flat_images(i) for i in range(7)}
    axes = plots.image_grids(panels, 1, inches=3).axes
    places = [(ax.get_subplotspec().rowspan.start, ax.get_subplotspec().colspan.start) for ax in axes[:7]]
    assert places == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (2, 0)]
    assert [ax.get_visible() for ax in axes[7:]] == [False, False]


# --- networks ----------------------------------------------------------------------------------------------------


def test_arrows_of_a_diagram_point_from_the_first_to_the_second():
    fig = plots.diagram({"image": (0, 0), "code": (2, 1)}, [("image", "code")], title="t")
    image, code, arrow = fig.axes[0].texts
    assert (image.get_position(), code.get_position()) == ((0, 0), (2, 1))
    assert (arrow.xyann, arrow.xy) == ((0, 0), (2, 1))
    assert arrow.arrow_patch.get_arrowstyle().arrow == "-|>", "its head is at its end"


def test_a_schematic_shows_each_layer_with_its_size_and_what_happens_between_them():
    (ax,) = plots.schematic([("image", 784), ("latent", 2)], ["ReLU"], title="Encoder").axes
    big, small = ax.patches
    assert big.get_height() > small.get_height()
    assert big.get_x() < small.get_x()
    at = {text.get_text(): text.get_position()[0] for text in ax.texts if text.get_text()}
    assert at == {"784": 0, "image": 0, "2": 1, "latent": 1, "ReLU": 0.5}
    (arrow,) = (text for text in ax.texts if not text.get_text())
    assert arrow.xyann[0] < arrow.xy[0], "from left to right"


def network():
    return nn.Sequential(nn.Conv2d(1, 4, 3, stride=2, padding=1), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(196, 10))


LAYERS = [
    ("Conv2d 3×3, stride 2, padding 1", (2, 4, 14, 14), 40),
    ("MaxPool2d 2×2", (2, 4, 7, 7), 0),
    ("Flatten", (2, 196), 0),
    ("Linear 196 → 10", (2, 10), 1970),
]


def test_layer_shapes_are_those_of_the_running_network_and_nothing_stays_hooked():
    model = network()
    assert plots.layer_shapes(model, torch.zeros(2, 1, 28, 28)) == LAYERS
    assert not any(module._forward_hooks for module in model.modules())


def test_architecture_lists_the_layers_from_the_top_with_shapes_and_parameters():
    fig = plots.architecture(network(), torch.zeros(2, 1, 28, 28), title="Net")
    (ax,) = fig.axes
    assert ax.get_title() == "Net – 2,010 parameters"
    at = {text.get_text(): text.get_position() for text in ax.texts if text.get_text()}
    for i, (name, shape, parameters) in enumerate(LAYERS, 1):
        assert at[f"{name}\n{parameters:,} parameters" if parameters else name] == (0, -i)
        assert at[" × ".join(map(str, shape))][1] == -i
    assert at["2 × 1 × 28 × 28"][1] == 0
    assert ax.get_ylim()[0] < ax.get_ylim()[1], "the input at the top"
