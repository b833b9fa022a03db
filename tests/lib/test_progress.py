"""Progress: lines in a batch run; in a notebook one line of plain text, which is updated and then vanishes."""

from types import SimpleNamespace

import pytest

from lib import progress


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until a test moves it: ``clock[0] += 1``."""
    now = [100.0]
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


@pytest.fixture
def page(monkeypatch):
    """What the output of a cell holds after each display and update."""
    shown = []

    class Handle:
        def update(self, content, raw):
            shown.append(content)

    def display(content, raw, display_id):
        shown.append(content)
        return Handle()

    monkeypatch.setattr("IPython.display.display", display)
    monkeypatch.setattr(progress, "plain", False)
    monkeypatch.setattr(progress, "_in_notebook", lambda: True)
    return shown


def test_a_batch_run_prints_a_line_every_fifteen_seconds_and_none_at_the_end(clock, capsys):
    with progress.shown("vae", 4) as advance:
        for epoch in range(1, 5):
            clock[0] += 10
            advance(epoch, "loss 0.5")
    assert capsys.readouterr().err == "vae: epoch 2 of 4, loss 0.5, about 20 s left\n"


def test_the_time_left_after_a_resume_counts_only_what_this_process_did(clock, capsys):
    with progress.shown("vae", 100, done=90) as advance:
        clock[0] += 100
        advance(91)
    assert "epoch 91 of 100, about 15 min left" in capsys.readouterr().err


def test_a_notebook_updates_one_line_of_plain_text_which_vanishes(clock, page, capsys):
    with progress.shown("vae", 4, unit="trial") as advance:
        clock[0] += 1
        advance(1)
        advance(1.1)
        clock[0] += 1
        advance(2)
    assert [content["text/plain"] for content in page] == [
        "█████░░░░░░░░░░░░░░░ vae: trial 1 of 4, about 3 s left",
        "██████████░░░░░░░░░░ vae: trial 2 of 4, about 2 s left",
        "",
    ]
    assert not any("widget" in kind for content in page for kind in content)
    assert capsys.readouterr().err == ""


def test_the_line_vanishes_also_when_the_training_fails(clock, page):
    def diverges():
        with progress.shown("vae", 4) as advance:
            clock[0] += 1
            advance(1)
            raise ValueError("diverged")

    with pytest.raises(ValueError, match="diverged"):
        diverges()
    assert page[-1]["text/plain"] == ""


def test_a_short_training_shows_nothing(clock, page):
    with progress.shown("vae", 1) as advance:
        clock[0] += 0.1
        advance(0.5)
        clock[0] += 1
        advance(1)
    assert page == []


def test_a_terminal_gets_lines(monkeypatch, clock, capsys):
    monkeypatch.setattr(progress, "plain", False)
    with progress.shown("vae", 4) as advance:
        clock[0] += 16
        advance(1)
    assert capsys.readouterr().err == "vae: epoch 1 of 4, about 48 s left\n"


def test_the_note_is_the_first_loss_of_the_last_epoch_and_the_mean_over_networks():
    assert progress.note({}) == ""
    assert progress.note({"seconds": [], "loss": [0.25, 0.125], "other": [3.0]}) == "loss 0.125"
    assert progress.note({"loss": [[9.0, 9.0], [1.0, 2.0]]}) == "loss 1.5"


def test_time_is_written_in_the_unit_that_a_person_would_use():
    assert [progress._time(s) for s in (89, 600, 7200)] == ["89 s", "10 min", "2.0 h"]
