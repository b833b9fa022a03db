"""What figures show, where it can be read back from them."""

import subprocess
import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest
import seaborn as sns
import torch
from matplotlib.colors import colorConverter, to_rgb

from lib import explore, plots


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def test_style_is_seaborns_whitegrid_but_for_what_is_ours():
    with plt.rc_context():
        plt.rcdefaults()
        sns.set_theme(style="whitegrid", palette="colorblind", rc={"font.family": "DejaVu Sans"})
        theirs, their_black = dict(plt.rcParams), to_rgb("k")
        plt.rcdefaults()
        colorConverter.colors["k"] = (0, 0, 0)
        plots.set_style()
        ours, our_black = dict(plt.rcParams), to_rgb("k")
    cycles = ([to_rgb(colour) for colour in rc.pop("axes.prop_cycle").by_key()["color"]] for rc in (theirs, ours))
    assert next(cycles) == next(cycles)
    assert our_black == their_black
    own = set(list(plots.STYLE)[list(plots.STYLE).index("font.family") + 1 :])
    assert {name for name in theirs if theirs[name] != ours[name]} - {"font.sans-serif"} <= own


def test_seaborn_is_imported_only_for_heat_maps():
    code = "import sys; from lib import plots; print('seaborn' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"


def test_plane_rises_to_the_right_and_upwards():
    def decode(points):
        return (0.1 * points[:, :1] + 0.3 * points[:, 1:]).expand(-1, 784)

    fig = plots.plane(decode, torch.tensor([0.0, 1.0]), torch.tensor([1.0, 2.0, 3.0]), title="")
    shown = fig.axes[0].images[0].get_array().astype(int)
    assert shown.shape == (3 * 28, 2 * 28)
    corners = {(x, y): round((0.1 * x + 0.3 * y) * 255) for x in (0, 1) for y in (1, 3)}
    assert shown[0, 0] == pytest.approx(corners[0, 3], abs=1)
    assert shown[0, -1] == pytest.approx(min(255, corners[1, 3]), abs=1)
    assert shown[-1, 0] == pytest.approx(corners[0, 1], abs=1)
    assert shown[-1, -1] == pytest.approx(corners[1, 1], abs=1)


@pytest.mark.parametrize("names", [list(range(10)), [f"type {i}" for i in range(26)]])
def test_every_class_looks_different(names):
    points = torch.rand(len(names), 2)
    fig = plots.classes(points, names, title="", xlabel="", ylabel="")
    looks = {(tuple(c.get_facecolor()[0]), c.get_paths()[0].vertices.tobytes()) for c in fig.axes[0].collections}
    assert len(looks) == len(names)
    for i, collection in enumerate(fig.axes[0].collections):
        where = sorted(names).index(names[i])
        assert np.allclose(collection.get_offsets(), points[names.index(sorted(names)[i])]), where


def test_image_row_keeps_order_and_titles():
    _, ax = plt.subplots()
    images = torch.stack([torch.full((28, 28), v, dtype=torch.uint8) for v in (10, 200)])
    plots.image_row(images, ["a", "b"], ax=ax)
    shown = np.asarray(ax.images[0].get_array())
    assert shown.shape == (30, 60)
    assert (shown[15, 15], shown[15, 45], shown[0, 0]) == (10, 200, 0)
    assert [t.get_text() for t in ax.get_xticklabels()] == ["a", "b"]


def test_heat_writes_its_values():
    fig = plots.heat(torch.tensor([[1.0, 0.0], [0.25, 0.75]]), title="", xlabel="", ylabel="")
    assert [t.get_text() for t in fig.axes[0].texts] == ["1.00", "", ".25", ".75"]


def test_explorer_is_a_still_figure_in_a_batch_run():
    codes = torch.rand(50, 2)
    images = torch.zeros(50, 28, 28, dtype=torch.uint8)
    labels = torch.arange(50) % 10
    fig = explore.latent_plane(lambda z: z[:, :1].expand(-1, 784), codes, labels, images, title="plane")
    assert fig.axes[0].get_title() == "plane"


def test_explorer_moves_in_jupyterlab(monkeypatch):
    from IPython import display

    shown = []
    monkeypatch.delenv("WORKBOOK_OUT")
    monkeypatch.setattr(display, "display", lambda *things, **_: shown.extend(things))
    monkeypatch.setattr(plt, "show", lambda: shown.append(plt.gcf()))
    codes = torch.rand(50, 2)
    images = torch.arange(50, dtype=torch.uint8).view(50, 1, 1).expand(50, 28, 28)
    explore.latent_plane(lambda z: z[:, :1].expand(-1, 784), codes, torch.arange(50) % 10, images, title="plane")
    box = next(thing for thing in shown if hasattr(thing, "children"))
    x, y = box.children[:2]
    x.value, y.value = x.max, y.min
    row = np.asarray(shown[-1].axes[1].images[0].get_array())
    nearest = int((codes - torch.tensor([[x.value, y.value]])).norm(dim=1).argmin())
    assert row[15, 45] == nearest, "beside the decoded image lies the known digit that is nearest"


def title_figure(*values):
    """A figure titled with what it was asked for; 13 is an error."""
    if "13" in values:
        raise ValueError("not thirteen")
    fig, ax = plt.subplots()
    ax.set_title(" ".join(map(str, values)))
    return fig


def test_choosing_and_typing_in_a_batch_run():
    assert explore.two_digits(title_figure, 3, 8).axes[0].get_title() == "3 8"
    assert explore.typed(title_figure, "27").axes[0].get_title() == "27"


def test_choosing_and_typing_in_jupyterlab(monkeypatch, capsys):
    from IPython import display

    shown = []
    monkeypatch.delenv("WORKBOOK_OUT")
    monkeypatch.setattr(display, "display", lambda *things, **_: shown.extend(things))
    assert explore.two_digits(title_figure, 3, 8).axes[0].get_title() == "3 8"
    start, end = shown[-1].children[0].children
    assert (start.description, end.description) == ("from", "to")
    end.value = 5
    assert shown[-1].axes[0].get_title() == "3 5"
    assert explore.typed(title_figure, "27").axes[0].get_title() == "27"
    (field,) = shown[-1].children[0].children
    field.value = "13"
    assert "not thirteen" in capsys.readouterr().out
    field.value = "14"
    assert shown[-1].axes[0].get_title() == "14"
    with pytest.raises(ValueError, match="not thirteen"):
        explore.typed(title_figure, "13")


def test_loss_over_iterations_starts_at_zero_and_names_its_level():
    fig = plots.loss_over_iterations([10, 30], [2.0, 1.0], title="Loss", level=0.7, level_name="cannot tell")
    (ax,) = fig.axes
    assert ax.get_ylim()[0] == 0
    assert ax.lines[0].get_xydata().tolist() == [[10, 2], [30, 1]]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["cannot tell"]
    plt.close(fig)
