"""Widgets in JupyterLab, and the still figures that a batch run gets instead."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from workbook import explore


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def test_explorer_is_a_still_figure_in_a_batch_run():
    codes = torch.rand(50, 2)
    images = torch.zeros(50, 28, 28, dtype=torch.uint8)
    labels = torch.arange(50) % 10
    fig = explore.latent_plane(lambda z: z[:, :1].expand(-1, 784), codes, labels, images, title="plane")
    assert fig.axes[0].get_title() == "plane"


def test_explorer_moves_in_jupyterlab(monkeypatch):
    from IPython import display

    shown = []
    monkeypatch.delenv("WORKBOOK_WIDGETS")
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


def test_typing_in_a_batch_run():
    assert explore.typed(title_figure, "27").axes[0].get_title() == "27"


def test_typing_in_jupyterlab(monkeypatch, capsys):
    from IPython import display

    shown = []
    monkeypatch.delenv("WORKBOOK_WIDGETS")
    monkeypatch.setattr(display, "display", lambda *things, **_: shown.extend(things))
    assert explore.typed(title_figure, "27").axes[0].get_title() == "27"
    (field,) = shown[-1].children[0].children
    field.value = "13"
    assert "not thirteen" in capsys.readouterr().out
    field.value = "14"
    assert shown[-1].axes[0].get_title() == "14"
    with pytest.raises(ValueError, match="not thirteen"):
        explore.typed(title_figure, "13")


def test_a_figure_that_is_drawn_again_does_not_stay_open(monkeypatch):
    from IPython import display
    from matplotlib import pyplot

    shown = []
    monkeypatch.delenv("WORKBOOK_WIDGETS")
    monkeypatch.setattr(display, "display", lambda *things, **_: shown.extend(things))
    before = len(pyplot.get_fignums())
    explore.typed(title_figure, "27")
    for text in "abcde":
        shown[0].children[0].children[0].value = text
    assert len(pyplot.get_fignums()) == before


def test_sliders_in_a_batch_run():
    assert explore.with_sliders(title_figure, digit=(3, 0, 9), level=(0.5, 0.0, 1.0)).axes[0].get_title() == "3 0.5"


def test_sliders_in_jupyterlab(monkeypatch):
    from IPython import display

    shown = []
    monkeypatch.delenv("WORKBOOK_WIDGETS")
    monkeypatch.setattr(display, "display", lambda *things, **_: shown.extend(things))
    explore.with_sliders(title_figure, digit=(3, 0, 9), level=(0.5, 0.0, 1.0))
    digit, level = shown[-1].children[0].children
    digit.value, level.value = 99, 0.52
    assert shown[-1].axes[0].get_title() == "9 0.52", "whole numbers, and never beyond the range"
