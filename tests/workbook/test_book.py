import json
import sys
import types

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from lib import compute, progress
from workbook import book as books
from workbook import cache, records, show, verdicts
from workbook.paths import BUILD, DATA, HOME, ROOT
from workbook.records import items_of, load_results

ALT = "A straight line that rises from zero to one."


@pytest.fixture
def book():
    return books.open_book("13_cnn", "smoke", 0)


def line():
    fig, ax = plt.subplots()
    ax.plot([0, 1], [0, 1])
    return fig


def stored(book, file="results"):
    return json.loads((book.folder / f"{file}.json").read_text("utf-8"))


def test_record_and_answer_are_written_at_once(book):
    book.record("linma2472.num-cnn-params", torch.tensor(28938), note="counted")
    book.answer("linma2472.q-2.1", "Two   convolutions\nand more.", value=3)
    items = stored(book)["items"]
    assert items["linma2472.num-cnn-params"] == {"value": 28938, "note": "counted"}
    assert items["linma2472.q-2.1"] == {"answer": "Two convolutions and more.", "value": 3}
    assert stored(book)["claims"] == []
    assert stored(book)["profile"] == "smoke"
    assert stored(book)["environment"]["threads"] == torch.get_num_threads()


def test_recording_again_moves_a_value_or_a_figure_that_is_no_longer_a_duration(book):
    for seconds in (True, False):
        book.record("linma2472.num-cnn-duration", 0.1, seconds=seconds)
        book.figure(line(), "linma2472.fig-11", alt=ALT, seconds=seconds)
    assert stored(book)["items"] == {"linma2472.num-cnn-duration": {"value": 0.1}}
    assert stored(book)["figures"].keys() == {"linma2472.fig-11"}
    assert stored(book, "timings")["items"] == stored(book, "timings")["figures"] == {}


def test_of_several_runs_the_value_is_their_mean_in_every_part(book):
    book.record("linma2472.num-cnn-params", runs=[1, 2, 4.5], improved=[3, 5], draws=1000)
    entry = stored(book)["items"]["linma2472.num-cnn-params"]
    assert entry == {"value": 2.5, "runs": [1, 2, 4.5], "improved": [3, 5], "draws": 1000}
    book.record("linma2472.table-cnn", runs=[{"name": "a", "loss": [1, 4]}, {"name": "a", "loss": [2, 6]}])
    assert stored(book)["items"]["linma2472.table-cnn"]["value"] == {"name": "a", "loss": [1.5, 5]}
    book.record("linma2472.table-cnn", {"name": "best"}, runs=[{"name": "a"}, {"name": "b"}])
    assert stored(book)["items"]["linma2472.table-cnn"]["value"] == {"name": "best"}


@pytest.mark.parametrize(
    ("value", "improved", "kept"),
    [
        (1.5, 2, [2]),
        (1.5, [2, 3], [2, 3]),
        ([1, 2], [3, 4], [[3, 4]]),
        ([1, 2], [[3, 4], [5, 6]], [[3, 4], [5, 6]]),
        ({"a": 1}, {"a": 2}, [{"a": 2}]),
        ({"a": [1]}, [{"a": [2]}, {"a": [3]}], [{"a": [2]}, {"a": [3]}]),
    ],
)
def test_a_single_improved_value_is_told_from_one_for_each_seed(book, value, improved, kept):
    book.record("linma2472.num-cnn-params", value, improved=improved)
    assert stored(book)["items"]["linma2472.num-cnn-params"] == {"value": value, "improved": kept}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"runs": 3}, "runs must be a list of values, one per seed, got 3"),
        ({"runs": []}, "runs must be a list of values"),
        ({"runs": [1, "two"]}, "each of runs must be a number, like the value; got 'two'"),
        ({"runs": [{"a": 1}, {"b": 1}]}, r"each of runs must have the keys \['a'\]; got \['b'\]"),
        ({"runs": [[1, 2], [1]]}, "each of runs must have 2 entries; got 1"),
        ({"runs": ["a", "b"]}, "the runs differ in a text .*: give a value as well"),
        ({"value": 1, "improved": [[2]]}, r"each of improved must be a number, like the value; got \[2\]"),
        ({"value": 1, "draws": 0}, "draws must be the number of random draws in a run, got 0"),
        ({"runs": {}}, "runs must be a list of values"),
        ({"improved": 2}, "cannot record None as the value"),
    ],
)
def test_runs_that_do_not_fit_are_named(book, arguments, message):
    with pytest.raises(ValueError, match=rf"linma2472\.num-cnn-params.*{message}|{message}"):
        book.record("linma2472.num-cnn-params", **arguments)
    assert not (book.folder / "results.json").exists()


@pytest.mark.parametrize("former", ["tolerance", "report_wrong", "compare"])
def test_a_notebook_hands_in_no_verdict_of_its_own(book, former):
    with pytest.raises(TypeError, match=former):
        book.record("linma2472.num-cnn-params", 1, **{former: 0.1})
    with pytest.raises(TypeError, match=former):
        book.answer("linma2472.q-2.1", "Two.", value=1, **{former: 0.1})
    assert not (book.folder / "results.json").exists()


def test_a_question_keeps_its_answer_and_its_value_in_any_order(book):
    question = "linma2472.q-2.1"
    book.record(question, runs=[1, 3])
    assert question in book.missing(), "a value alone answers nothing"
    book._answer(question, "Two.\n\nOr three.")
    assert question not in book.missing()
    assert stored(book)["items"][question] == {"value": 2, "runs": [1, 3], "answer": "Two.\n\nOr three."}
    book.record(question, 5)
    assert stored(book)["items"][question] == {"value": 5, "answer": "Two.\n\nOr three."}


def test_an_answer_that_speaks_of_durations_is_kept_apart_with_its_value(book):
    question = "linma2472.q-2.1"
    book.record(question, {"layers": 2})
    book._answer(question, "Half a second.", "… a second.")
    book.record(question, {"layers": 3})
    assert stored(book)["items"] == {question: {"in": "timings.json"}}
    assert stored(book, "timings")["items"] == {question: {"value": {"layers": 3}, "answer": "Half a second."}}
    book._answer(question, "Fast.")
    assert stored(book)["items"] == {question: {"value": {"layers": 3}, "answer": "Fast."}}
    assert stored(book, "timings")["items"] == {}


# --- claims ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def full():
    return books.open_book("13_cnn", "full", 0)


@pytest.fixture
def shown(monkeypatch):
    """The Markdown that was shown."""
    texts = []
    for display in ("IPython.display.display", "workbook.show.display"):
        monkeypatch.setattr(display, lambda shown, **_: texts.append(shown.data))
    return texts


def test_claims_are_kept_in_order_and_replaced_when_run_again(full, shown):
    full.claim("two is more", np.bool_(2 > 1))
    full.claim("three is more", torch.tensor(3) > 1, "linma2472.q-2.1")
    full.claim("two  is more", True)
    assert shown == []
    assert stored(full)["claims"] == [
        {"statement": "two is more", "holds": True, "item": None},
        {"statement": "three is more", "holds": True, "item": "linma2472.q-2.1"},
    ]


def test_a_claim_that_fails_is_shown_marks_its_answer_and_stops_nothing(full, shown):
    full.claim("one is more", 1 > 2, "linma2472.q-2.1")
    assert stored(full)["claims"] == [{"statement": "one is more", "holds": False, "item": "linma2472.q-2.1"}]
    assert shown == [
        "> ⚠ **In this run, a claim of this chapter does not hold:** one is more. "
        "It supports the answer to linma2472.q-2.1."
    ]
    full.answer("linma2472.q-2.1", "One.")
    assert shown[1].splitlines()[2:] == [
        "> One.",
        ">",
        "> ⚠ In this run, a claim that supports this answer does not hold: one is more",
    ]
    assert "⚠" not in stored(full)["items"]["linma2472.q-2.1"]["answer"]
    full.claim("one is more", True, "linma2472.q-2.1")
    full.answer("linma2472.q-2.1", "One.")
    assert "⚠" not in shown[-1]


def test_above_each_answer_of_a_smoke_run_a_line_says_that_it_judges_nothing(full, book, shown):
    book.answer("linma2472.q-2.1", "One.")
    assert shown[-1].splitlines()[0] == f"> {books.SMOKE}"
    full.answer("linma2472.q-2.1", "One.")
    assert "smoke" not in shown[-1]
    assert "smoke" not in stored(book)["items"]["linma2472.q-2.1"]["answer"]


def test_only_profile_full_compares_with_what_was_released():
    for profile, released in (("smoke", False), ("full", True)):
        books.open_book("13_cnn", profile, 0)
        assert books.trainings.some_released is released


def test_a_book_has_the_profile_and_the_seed_that_it_was_opened_with():
    book = books.open_book("13_cnn", "smoke", 3)
    book.record("linma2472.num-cnn-params", 28938)
    assert (book.profile, book.seed) == ("smoke", 3)
    assert list(book.seeds(2)) == [3, 4], "its trainings begin with its seed"
    assert (stored(book)["profile"], stored(book)["seed"]) == ("smoke", 3)


def test_runs_at_other_settings_rivals_and_seeds_are_stored_beside_the_runs(full, monkeypatch):
    monkeypatch.setattr(books, "errata", lambda: [{"id": "E34", "notebook": "13_cnn"}])
    item = "linma2472.num-cnn-accuracy-test"
    full.record(item, runs={3: 0.97, 5: 0.98}, otherwise={"E34: at rate 0.1": [0.99]}, rivals={"linear": 0.92})
    entry = stored(full)["items"][item]
    assert (entry["runs"], entry["seeds"], entry["value"]) == ([0.97, 0.98], [3, 5], 0.975)
    assert (entry["otherwise"], entry["rivals"]) == ({"E34: at rate 0.1": [0.99]}, {"linear": 0.92})
    with pytest.raises(KeyError, match=r"erratum 'E99' is not in data/errata\.toml"):
        full.record(item, 0.9, otherwise={"E99": [0.99]})
    with pytest.raises(ValueError, match="otherwise, E34, must be a number"):
        full.record(item, 0.9, otherwise={"E34": [[0.99]]})


def test_in_smoke_nothing_is_judged(book, shown, capsys, monkeypatch):
    monkeypatch.setattr(books, "errata", lambda: [{"id": "E01", "notebook": "13_cnn"}])
    monkeypatch.setitem(book.items, QUESTION, book.items[QUESTION] | {"says": SAYS})
    book.claim("one is more", False)
    book.demonstrates("E01", False)
    book.tested(QUESTION, "it falls", "slope", [-1.0, -2.0], below=0)
    assert shown == []
    assert stored(book)["claims"][0]["holds"] is None
    assert stored(book)["errata"] == {"E01": {"holds": None}}
    assert "verdict" not in stored(book)["tested"][QUESTION][0]
    book.answer(QUESTION, "It falls.")
    assert len(shown) == 1
    assert capsys.readouterr().out == ""


QUESTION, SAYS = "linma2472.q-2.1", ["it falls", {"quote": "it is nice", "aside": "taste"}]


@pytest.fixture
def asked(full, monkeypatch):
    """A book whose question quotes two sentences, one of them left aside."""
    item = full.items[QUESTION] | {"says": SAYS}
    monkeypatch.setattr(full, "items", {QUESTION: item})
    monkeypatch.setattr(books.verdicts, "items_of", lambda _: full.items)
    return full


def test_a_test_of_the_reports_words_stores_all_that_its_verdict_needs(asked):
    asked.tested(QUESTION, "it falls", "slope", np.array([-1.0, -1.2]), against=[0, 0], below=0, matters=0.1)
    (one,) = stored(asked)["tested"][QUESTION]
    given = {
        "quote": "it falls",
        "what": "slope",
        "values": [-1.0, -1.2],
        "against": [0, 0],
        "below": 0,
        "matters": 0.1,
    }
    assert {name: one[name] for name in given} == given
    assert (one["verdict"], one["n"], one["mean"]) == ("undecided", 2, -1.1)
    assert one["low"] < -2 < 0 < one["high"]
    asked.tested(QUESTION, "it falls", "slope", [-1.0, -1.01], below=0)
    assert [one["verdict"] for one in stored(asked)["tested"][QUESTION]] == ["supported"], "run again, it replaces"


def test_only_words_that_the_item_quotes_are_tested_and_only_with_measurements(asked):
    with pytest.raises(ValueError, match=r"q-2\.1: 'it fall' is no quotation of it; says .* \['it falls'\]"):
        asked.tested(QUESTION, "it fall", "slope", [1.0], below=0)
    with pytest.raises(ValueError, match=r"'it is nice' is left aside \(taste\)"):
        asked.tested(QUESTION, "it is nice", "niceness", [1.0], below=0)
    with pytest.raises(TypeError, match="hand in measurements by seed, not True"):
        asked.tested(QUESTION, "it falls", "slope", [True, True], above=0)
    with pytest.raises(TypeError, match="verdict"):
        asked.tested(QUESTION, "it falls", "slope", [1.0], above=0, verdict="supported")
    with pytest.raises(KeyError, match="belongs to notebook 01_feedforward"):
        asked.tested("cpsc453.num-accuracy", "it falls", "slope", [1.0], above=0)
    assert not stored(asked)["tested"] if (asked.folder / "results.json").exists() else True


def test_a_test_of_durations_is_kept_apart_and_joined_when_read(asked, shown):
    asked.tested(QUESTION, "it falls", "seconds", [1.0, 1.1, 1.2], above=0, seconds=True)
    assert stored(asked)["tested"] == {}
    assert load_results(asked.folder)["tested"][QUESTION][0]["verdict"] == "supported"
    asked.answer(QUESTION, "Yes.")
    assert "| “it falls” |  | ◆ supported |" in shown[-1], "its seconds differ from run to run"
    assert "1.1" not in shown[-1]


def test_seconds_hide_the_numbers_of_their_own_statement_only():
    band = {"slope": {"mean": 1.0, "n": 3}}
    both = verdicts.Verdict(
        "supported",
        numbers=band,
        statements=tuple(
            verdicts.Verdict("supported", numbers=band, quote=quote) for quote in ("it falls", "it is fast")
        ),
    )
    assert [bool(each.numbers) for each in both.without_numbers({"it is fast"}).statements] == [True, False]
    assert not both.without_numbers({"it is fast"}).numbers, "they may be of all statements"
    assert not any(each.numbers for each in both.without_numbers().statements)


def test_durations_in_an_answer_hide_no_number_of_its_verdicts(asked, shown):
    asked.tested(QUESTION, "it falls", "slope", [1.0, 1.1, 1.2], above=0)
    asked._answer(QUESTION, "Yes, in 3 s.", "Yes, in … s.")
    assert "slope: 1.10 (" in shown[-1]


def test_an_answer_is_followed_by_its_verdicts_and_the_chapter_by_all(asked, shown, monkeypatch):
    asked.tested(QUESTION, "it falls", "slope", [-1.0, -1.01, -0.99], below=0)
    asked.answer(QUESTION, "It falls.")
    assert shown[-1].splitlines() == [
        "| the report | ours, with its 95 % interval | verdict |",
        "|---|---|---|",
        "| “it falls” | slope: −1.000 (−1.025 to −0.975; n = 3) | ◆ supported |",
    ]
    asked.check()
    assert shown[-1] == shown[-2]
    kept = stored(asked)["verdicts"][QUESTION]
    assert kept["word"] == "supported"
    assert [one["word"] for one in kept["statements"]] == ["supported", "left aside"]
    assert kept["statements"][0]["numbers"]["slope"]["high"] == -0.975159


def test_a_number_in_a_table_of_verdicts_is_named(full, shown):
    full.record("linma2472.num-cnn-accuracy-test", runs=[0.97, 0.98, 0.99])
    full.verdicts_on("linma2472.num-cnn-accuracy-test")
    assert shown[-1].splitlines()[2].startswith("| CNN accuracy on the testing set: 0.9783 | 0.980 (")


def test_a_verdict_that_changes_after_the_answer_that_shows_it_is_refused(asked, shown):
    asked.tested(QUESTION, "it falls", "slope", [-1.0, -1.01, -0.99], below=0)
    asked.answer(QUESTION, "It falls.")
    asked.tested(QUESTION, "it falls", "another slope", [1.0, 1.01, 0.99], below=0)
    with pytest.raises(ValueError, match=r"verdicts changed after the answer that shows them: .*q-2\.1"):
        asked.check()


def test_of_more_verdicts_than_a_table_holds_those_that_fail_are_shown(asked, shown):
    says = [f"it is {i}" for i in range(8)]
    asked.items[QUESTION]["says"] = says
    for i, words in enumerate(says):
        asked.tested(QUESTION, words, "slope", [-1.0, -1.01, -0.99], **({"above": 0} if i == 7 else {"below": 0}))
    asked.answer(QUESTION, "It falls.")
    table, more = shown[-2:]
    assert [line[2:9] for line in table.splitlines()[2:]] == [*("“it is " for _ in range(6))]
    assert "“it is 7”" in table
    assert "“it is 6”" not in table
    assert more == "On the scoreboard: 2 more."


def test_a_claim_needs_a_truth_or_a_comparison_a_statement_and_an_item_of_its_notebook(full):
    for number in (0.3, 1, [True], "yes"):
        with pytest.raises(TypeError, match=r"holds must be True or False, got .*: write a comparison"):
            full.claim("it is true", number)
    for wrong in ({}, {"holds": True, "values": [1], "above": 0}):
        with pytest.raises(ValueError, match="'it is true': state a sentence, and give either holds or values="):
            full.claim("it is true", **wrong)
    with pytest.raises(ValueError, match="state a sentence"):
        full.claim(" ", True)
    with pytest.raises(KeyError, match="belongs to notebook 01_feedforward"):
        full.claim("it is true", True, "cpsc453.num-accuracy")


def test_a_claim_keeps_the_numbers_behind_it(full, shown):
    full.claim("two is more", True, numbers={"two": 2, "one": torch.tensor(1)})
    full.claim("it rises", values=[1.0, 1.1, 0.9], above=0)
    full.claim("it falls", values=[1.0, 1.1, 0.9], below=0)
    counted, rises, falls = stored(full)["claims"]
    assert counted["numbers"] == {"two": 2, "one": 1}
    assert (rises["holds"], falls["holds"]) == (True, False)
    assert rises["comparisons"][0]["values"] == [1.0, 1.1, 0.9]
    assert "a claim of this chapter does not hold:** it falls" in shown[0]


def test_an_erratum_is_demonstrated_by_its_own_notebook_with_numbers(full, shown, monkeypatch):
    entries = [{"id": "E01", "notebook": "13_cnn"}, {"id": "E02", "notebook": "02_autoencoder"}]
    monkeypatch.setattr(books, "errata", lambda: entries)
    full.demonstrates("E01", False)
    assert shown == ["> ⚠ **In this run, erratum E01 is not demonstrated.**"]
    full.demonstrates("E01", np.bool_(True), numbers=[9356, 9810])
    assert stored(full)["errata"] == {"E01": {"holds": True, "numbers": [9356, 9810]}}
    full.demonstrates("E01", values=9356, equals=9356, exact=True)
    assert stored(full)["errata"]["E01"]["comparisons"][0]["verdict"] == "supported"
    with pytest.raises(KeyError, match="erratum 'E02' belongs to notebook 02_autoencoder, not to 13_cnn"):
        full.demonstrates("E02", True)
    with pytest.raises(KeyError, match=r"erratum 'E09' is not in data/errata\.toml"):
        full.demonstrates("E09", True)


# --- values that are refused -----------------------------------------------------------------------------------------


def test_none_is_no_value(book):
    with pytest.raises(ValueError, match=r"cannot record None as the value of linma2472\.num-cnn-params"):
        book.record("linma2472.num-cnn-params", None)
    assert not (book.folder / "results.json").exists()


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
    about = stored(book)["figures"]["linma2472.fig-07"]
    assert (about["file"], about["alt"]) == ("linma2472.fig-07.png", ALT)
    assert not plt.get_fignums()


def test_a_caption_is_shown_under_its_figure_and_stored_beside_the_alt_text(book, monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda content, **_: shown.append(content))
    book.figure(line(), "linma2472.fig-07", alt=ALT, caption="The line  rises\nfor $x > 0$.")
    assert stored(book)["figures"]["linma2472.fig-07"]["caption"] == "The line rises for $x > 0$."
    image, caption = shown
    assert "image/png" in image
    assert caption.data == "*The line rises for $x > 0$.*"
    book.figure(line(), "linma2472.fig-07", alt="A line from 0.5 up to one. Nothing else is there.")
    assert shown[-1].data == "*A line from 0.5 up to one.*"
    assert "caption" not in stored(book)["figures"]["linma2472.fig-07"]


def test_figures_are_saved_sharp(book):
    fig = plt.figure(figsize=(5, 3))
    fig.add_axes((0, 0, 1, 1), xticks=[], yticks=[])
    book.figure(fig, "linma2472.fig-07", alt=ALT)
    png = (book.folder / "linma2472.fig-07.png").read_bytes()
    assert int.from_bytes(png[16:20]) > 5 * 100, "pixels across"


def test_what_cannot_be_read_is_stored_with_its_figure_unless_there_is_a_reason(book):
    def small(**options):
        fig, ax = plt.subplots(figsize=(9, 3))
        ax.set(xticks=[], yticks=[])
        ax.set_title("tiny", fontsize=4)
        book.figure(fig, "linma2472.fig-07", alt=ALT, **options)
        return stored(book)["figures"]["linma2472.fig-07"]

    assert small()["findings"] == {"small text": "'tiny' (6.1 pixels)"}
    allowed = small(allow={"small text": "A microprint is the point here."})
    assert (allowed["findings"], allowed["allow"]) == ({}, {"small text": "A microprint is the point here."})
    with pytest.raises(ValueError, match="allows 'tiny'; the rules are: width, small text"):
        small(allow={"tiny": "It is."})


def test_seconds_are_kept_apart(book):
    book.record("linma2472.num-cnn-duration", [0.1, 0.2], seconds=True)
    book.figure(line(), "linma2472.fig-11", alt=ALT, seconds=True)
    assert stored(book)["items"] == {"linma2472.num-cnn-duration": {"in": "timings.json"}}
    assert stored(book)["figures"] == {}
    assert stored(book, "timings")["items"].keys() == {"linma2472.num-cnn-duration"}
    assert load_results(book.folder)["items"] == {"linma2472.num-cnn-duration": {"value": [0.1, 0.2]}}


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


def test_a_complete_book_says_how_many_items_it_has(capsys):
    book = books.open_book("15_create_what_you_want", "smoke", 0)
    for item, about in items_of(book.notebook).items():
        if about["kind"] == "question":
            book.answer(item, "Yes.", value=about.get("reported"))
        elif about["kind"] == "figure":
            book.figure(line(), item, alt=ALT)
        if about["kind"] != "question" and "reported" in about:
            book.record(item, about["reported"])
    capsys.readouterr()
    book.check()
    said = "3 of 3 items recorded; profile smoke trains too briefly for verdicts\n"
    assert capsys.readouterr().out == said


def test_damaged_results_are_named(tmp_path):
    (tmp_path / "results.json").write_text('{"items"', "utf-8")
    with pytest.raises(ValueError, match=r"results\.json is not valid JSON"):
        load_results(tmp_path)
    assert load_results(tmp_path / "nowhere") is None


def test_plain_rounds_to_six_digits():
    assert books.plain({1: (np.float64(0.123456789), True, None, "x")}) == {"1": [0.123457, True, None, "x"]}


@pytest.mark.parametrize("seed", [-1, 1.5, True, "0"])
def test_bad_seed(seed):
    with pytest.raises(ValueError, match="seed must be a whole number"):
        books.open_book("13_cnn", "smoke", seed)


@pytest.mark.parametrize("text", ["two", "0", "-1", "1.5", "", "²"])
def test_threads_must_be_a_number(monkeypatch, text):
    monkeypatch.setenv("WORKBOOK_THREADS", text)
    with pytest.raises(ValueError, match="WORKBOOK_THREADS must be a whole number, 1 or more, got"):
        books.open_book("13_cnn", "smoke", 0)


def test_threads_are_those_of_the_environment_by_default_one(monkeypatch):
    asked = []
    monkeypatch.setattr(compute, "configure", asked.append)
    monkeypatch.delenv("WORKBOOK_THREADS", raising=False)
    books.open_book("13_cnn", "smoke", 0)
    monkeypatch.setenv("WORKBOOK_THREADS", "3")
    books.open_book("13_cnn", "smoke", 0)
    assert asked == [1, 3]


def test_a_students_own_run_leaves_the_gallery_alone(monkeypatch, tmp_path):
    monkeypatch.setattr(progress, "plain", None)
    books.open_book("13_cnn", "smoke", 0)
    assert progress.plain is True, "a batch run prints lines"
    monkeypatch.delenv("WORKBOOK_PROGRESS")
    assert books.open_book("13_cnn", "full", 0).folder == tmp_path / "out", "where results go is another matter"
    monkeypatch.delenv("WORKBOOK_OUT")
    assert books.open_book("13_cnn", "full", 0).folder == BUILD / "lab/full/seed0/13_cnn"
    assert progress.plain is False, "and somebody who watches gets a bar"


def test_mnist_has_the_size_of_the_profile(monkeypatch):
    asked = []
    monkeypatch.setattr(books.data, "mnist", lambda *arguments, store: asked.append((*arguments, store)))
    books.open_book("13_cnn", "smoke", 0).mnist()
    books.open_book("13_cnn", "full", 0).mnist("fashion-mnist")
    data = HOME / "data"
    assert asked == [(DATA, "mnist", 2000, 1000, data), (DATA, "fashion-mnist", 60_000, 10_000, data)]


def test_smoke_reads_the_first_images():
    train, test = books.open_book("13_cnn", "smoke", 0).mnist()
    assert (len(train), len(test)) == (2000, 1000)
    assert train.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]


def test_trainings_are_named_in_the_results_and_their_seconds_kept_apart(book, monkeypatch):
    monkeypatch.setattr(cache, "used", {"vae-2.safetensors": 61.5, "cnn-1.safetensors": 3.25})
    monkeypatch.setattr(cache, "stale", {"vae-0.safetensors": "lib.models.vae.VAE changed"})
    monkeypatch.setattr(cache, "asked", {"vae-2.safetensors": ("decoder",), "cnn-1.safetensors": None})
    book.record("linma2472.num-cnn-params", 28938)
    assert stored(book)["trainings"] == ["cnn-1.safetensors", "vae-2.safetensors"]
    assert stored(book)["weights"] == {"vae-2.safetensors": ["decoder"]}
    assert stored(book, "timings")["trainings"] == {"vae-2.safetensors": 61.5, "cnn-1.safetensors": 3.25}
    assert stored(book, "timings")["stale"] == {"vae-0.safetensors": "lib.models.vae.VAE changed"}
    assert "61.5" not in (book.folder / "results.json").read_text("utf-8")


def test_a_training_after_the_last_record_is_named_too(book, monkeypatch):
    monkeypatch.setattr(cache, "used", {})
    monkeypatch.setattr(book, "missing", list)
    book.record("linma2472.num-cnn-params", 28938)
    cache.used["cnn-1.safetensors"] = 3.25
    book.check()
    assert stored(book)["trainings"] == ["cnn-1.safetensors"]


def test_inputs_are_exactly_the_modules_that_are_loaded(book, monkeypatch):
    def module(path):
        return types.SimpleNamespace(__file__=path and str(path))

    loaded = {
        "lib": module(ROOT / "lib/__init__.py"),
        "lib.models.vae": module(ROOT / "lib/models/vae.py"),
        "workbook.book": module(ROOT / "workbook/book.py"),
        "library": module(ROOT / "library.py"),  # only begins like lib
        "tests.conftest": module(ROOT / "tests/conftest.py"),
        "workbook.elsewhere": module("/elsewhere/workbook/elsewhere.py"),
        "lib.of_a_test": module(None),
        "json": json,
    }
    monkeypatch.setattr(records, "sys", types.SimpleNamespace(modules=loaded))
    assert records.loaded_code() == ["lib/__init__.py", "lib/models/vae.py", "workbook/book.py"]
    book.record("linma2472.num-cnn-params", 28938)
    assert json.loads((book.folder / "inputs.json").read_text("utf-8")) == records.loaded_code()


def test_inputs_of_this_process_are_files_of_this_checkout():
    code = records.loaded_code()
    assert {"lib/compute.py", "workbook/book.py", "workbook/cache.py"} <= set(code)
    assert all((ROOT / file).is_file() for file in code)
    ours = [name for name, m in sys.modules.items() if name.split(".")[0] in ("lib", "workbook") and m.__spec__.origin]
    assert len(code) == len(ours)


def test_tables_show_rounded_numbers_and_survive_bars_in_their_cells(monkeypatch):
    shown = []
    monkeypatch.setattr(show, "display", lambda markdown: shown.append(markdown.data))
    show.table(["model", "p(x|z)"], [["CNN", 0.99456], ["a|b\nc", 3]])
    assert shown == ["| model | p(x\\|z) |\n|---|---|\n| CNN | 0.9946 |\n| a\\|b c | 3 |"]
