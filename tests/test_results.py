import json

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from lib import profiles, results

ALT = "A straight line that rises from zero to one."


@pytest.fixture
def book():
    return results.open_book("13_cnn", "smoke", 0)


def line():
    fig, ax = plt.subplots()
    ax.plot([0, 1], [0, 1])
    return fig


def stored(book, file="results"):
    return json.loads((book.folder / f"{file}.json").read_text())


def test_record_and_answer_are_written_at_once(book):
    book.record("linma2472.num-cnn-params", torch.tensor(28938), note="counted")
    book.answer("linma2472.q-2.1", "Two   convolutions\nand more.", value=3)
    items = stored(book)["items"]
    assert items["linma2472.num-cnn-params"] == {"value": 28938, "note": "counted"}
    assert items["linma2472.q-2.1"] == {"answer": "Two convolutions and more.", "value": 3}
    assert stored(book)["profile"] == "smoke"
    assert stored(book)["environment"]["threads"] == torch.get_num_threads()


def test_durations_of_a_value_are_kept_apart_and_joined_when_read(book):
    book.record("linma2472.table-cnn", {"input": [1]}, durations={"time_s": 0.25}, tolerance={"input": 0.5})
    assert stored(book)["items"]["linma2472.table-cnn"] == {"value": {"input": [1]}, "tolerance": {"input": 0.5}}
    assert stored(book, "timings")["items"]["linma2472.table-cnn"] == {"durations": {"time_s": 0.25}}
    joined = results.load_results(book.folder)["items"]["linma2472.table-cnn"]
    assert joined["value"] == {"input": [1], "time_s": 0.25}


def test_durations_need_a_value_to_belong_to(book):
    for wrong in ({"value": 3}, {"value": {"a": 1}, "seconds": True}):
        with pytest.raises(ValueError, match="durations belong to a value that is a dict"):
            book.record("linma2472.table-cnn", wrong.pop("value"), durations={"time_s": 1.0}, **wrong)


def test_recording_again_forgets_old_durations(book):
    book.record("linma2472.table-cnn", {"input": [1]}, durations={"time_s": 0.25})
    book.record("linma2472.table-cnn", {"input": [2]})
    assert results.load_results(book.folder)["items"]["linma2472.table-cnn"]["value"] == {"input": [2]}


def test_unknown_item_is_refused_with_a_hint(book):
    with pytest.raises(KeyError, match=r"no item 'linma2472.num-cnn-parms'; did you mean linma2472.num-cnn-params"):
        book.record("linma2472.num-cnn-parms", 1)


def test_item_of_another_notebook_is_refused(book):
    with pytest.raises(KeyError, match="belongs to notebook 01_feedforward, not to 13_cnn"):
        book.record("cpsc453.num-accuracy", 0.98)
    with pytest.raises(KeyError, match="belongs to notebook 01_feedforward"):
        book.figure(line(), "cpsc453.fig-01", alt=ALT)
    assert not (book.folder / "results.json").exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), np.array([1.0, np.nan]), {"a": [float("inf")]}])
def test_numbers_that_are_not_finite_are_refused(book, value):
    with pytest.raises(ValueError, match="not a finite number"):
        book.record("linma2472.num-cnn-params", value)


def test_what_json_cannot_hold_is_refused(book):
    with pytest.raises(TypeError, match="cannot record a object"):
        book.record("linma2472.num-cnn-params", object())


def test_answers_are_for_questions_and_not_empty(book):
    with pytest.raises(ValueError, match="is a number: use record"):
        book.answer("linma2472.num-cnn-params", "28938")
    with pytest.raises(ValueError, match="is empty"):
        book.answer("linma2472.q-2.1", " ")


def test_figures_need_alt_text(book):
    with pytest.raises(ValueError, match="needs alt text"):
        book.figure(line(), "linma2472.fig-07", alt="plot")


def test_figures_repeat_byte_for_byte_and_carry_their_alt_text(book):
    plt.close("all")
    book.figure(line(), "linma2472.fig-07", alt=ALT)
    first = (book.folder / "linma2472.fig-07.png").read_bytes()
    book.figure(line(), "linma2472.fig-07", alt=ALT)
    assert (book.folder / "linma2472.fig-07.png").read_bytes() == first
    assert ALT.encode() in first
    assert stored(book)["figures"]["linma2472.fig-07"] == {"file": "linma2472.fig-07.png", "alt": ALT}
    assert not plt.get_fignums()


def test_seconds_are_kept_apart(book):
    book.record("linma2472.num-cnn-duration", [0.1, 0.2], seconds=True)
    book.figure(line(), "linma2472.fig-11", alt=ALT, seconds=True)
    assert stored(book)["items"] == {"linma2472.num-cnn-duration": {"in": "timings.json"}}
    assert stored(book)["figures"] == {}
    assert stored(book, "timings")["items"].keys() == {"linma2472.num-cnn-duration"}
    assert results.load_results(book.folder)["items"] == {"linma2472.num-cnn-duration": {"value": [0.1, 0.2]}}


def test_missing_items_are_named(book):
    assert len(book.missing()) == 20
    book.record("linma2472.num-cnn-params", 28938)
    book.record("linma2472.fig-09", {"start": 1.0})  # a figure with numbers needs its picture too
    assert "linma2472.fig-09" in book.missing()
    book.figure(line(), "linma2472.fig-09", alt=ALT)
    book.figure(line(), "linma2472.fig-10", alt=ALT)  # and a picture its numbers
    assert len(book.missing()) == 18
    assert "linma2472.fig-10" in book.missing()
    with pytest.raises(ValueError, match=r"has not recorded linma2472\.q-2\.1"):
        book.check()


def test_damaged_results_are_named(tmp_path):
    (tmp_path / "results.json").write_text('{"items"')
    with pytest.raises(ValueError, match=r"results\.json is not valid JSON"):
        results.load_results(tmp_path)
    assert results.load_results(tmp_path / "nowhere") is None


def test_plain_rounds_to_six_digits():
    assert results.plain({1: (np.float64(0.123456789), True, None, "x")}) == {"1": [0.123457, True, None, "x"]}


@pytest.mark.parametrize("seed", [-1, 1.5, True, "0"])
def test_bad_seed(seed):
    with pytest.raises(ValueError, match="seed must be a whole number"):
        results.open_book("13_cnn", "smoke", seed)


def test_profiles(monkeypatch):
    assert profiles.resolve("auto") == "standard"
    monkeypatch.setenv("WORKBOOK_PROFILE", "smoke")
    assert profiles.resolve("auto") == "smoke"
    with pytest.raises(ValueError, match="unknown profile 'smok'; choose one of smoke, standard, report"):
        profiles.resolve("smok")
    chosen = profiles.choose("report", epochs={"smoke": 1, "standard": 2, "report": 3})
    assert chosen.epochs == 3
    with pytest.raises(ValueError, match="'epochs' needs a value for each"):
        profiles.choose("report", epochs={"smoke": 1})


def test_threads_must_be_a_number(monkeypatch):
    monkeypatch.setenv("WORKBOOK_THREADS", "two")
    with pytest.raises(ValueError, match="WORKBOOK_THREADS must be a whole number"):
        results.open_book("13_cnn", "smoke", 0)
