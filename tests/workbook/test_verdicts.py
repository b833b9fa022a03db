"""Verdicts on invented items, branch by branch, and on rows that former scoreboards flattered."""

import math
import statistics

import pytest
from scipy.stats import norm, t

from workbook import verdicts
from workbook.paths import NOTEBOOKS
from workbook.records import errata, reports
from workbook.verdicts import beaten, judge

ITEMS = {item["id"]: item for item in reports()["item"]}
PAIR = {"a": 1.0, "b": 2.0}
CLASSES = {  # which verdicts an item of a class can get, besides "not yet"
    "measured": {"reproduced", "not reproduced", "undecided", "not comparable"},
    "setting": {"used as stated", "changed", "inconsistent"},
    "picture": {"drawn", "supported", "contradicted", "undecided", "not comparable"},
    "question": {"answered", "supported", "contradicted", "undecided"},
}


def measured(reported, entry, **more):
    return judge({"class": "measured", "better": "match", "reported": reported, **more}, entry)


def runs(*values, **more):
    return {
        "value": statistics.fmean(values) if isinstance(values[0], float) else values[0],
        "runs": list(values),
        **more,
    }


# --- measured --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reported", "entry", "more", "word", "why"),
    [
        (0.9800, runs(0.97, 0.98, 0.99), {}, "reproduced", "in the 95 % interval of 3 runs"),
        (0.9800, runs(0.960, 0.961, 0.962), {}, "not reproduced", "ours is lower"),
        (0.9800, runs(0.990, 0.991, 0.992), {}, "not reproduced", "ours is higher"),
        (0.9800, {"value": 0.98}, {}, "undecided", "one run has no interval"),
        (0.9800, runs(0.98), {}, "undecided", "one run has no interval"),
        (0.9800, None, {}, "not yet", ""),
        (0.9800, {"answer": "text"}, {}, "not yet", "no value was recorded"),
        (0.9800, {"value": 0.5}, {"not_comparable": "other data"}, "not comparable", "other data"),
        (28938, {"value": 28938}, {"exact": True}, "reproduced", "equal"),
        (28938, {"value": 28939}, {"exact": True}, "not reproduced", "ours is higher"),
        (0.0560, {"value": 0.055953}, {"exact": True}, "reproduced", "equal"),  # to the printed digit
        (0.0560, {"value": 0.055953}, {"exact": True, "decimals": 5}, "not reproduced", "ours is lower"),
        (PAIR, runs({"a": 1.0, "b": 9.0}, {"a": 1.1, "b": 9.1}), {}, "not reproduced", "1 of 2; ours is higher: b"),
        (PAIR, runs({"a": 1.0, "b": 9.0}, {"a": 1.1, "b": 9.1}), {"judged": ["a"]}, "reproduced", None),
        (PAIR, runs(*2 * [{"a": 0.5, "b": 9.0}]), {}, "not reproduced", "2 of 2; ours is lower: a; higher: b"),
        ([1.0, [2.0]], runs([1.0, [9.0]], [1.1, [9.1]]), {}, "not reproduced", "1 of 2; ours is higher: 1 0"),
        ([1.0, 2.0], runs([1.0], [1.1]), {}, "not yet", "the chapter recorded nothing for 1"),
        ({"a": 1.0}, runs({"b": 1.0}, {"b": 1.1}), {}, "not yet", "the chapter recorded nothing for a"),
        ("MMD", runs("MMD", "MMD"), {}, "reproduced", None),
        ("MMD", runs("MMD", "EMD"), {}, "not reproduced", "ours is different"),
        (True, runs(True, True), {}, "reproduced", None),
        (True, runs(1.0, 1.0), {}, "reproduced", None),
    ],
)  # fmt: skip
def test_a_reported_number_is_held_against_the_interval_of_our_runs(reported, entry, more, word, why):
    verdict = measured(reported, entry, **more)
    assert verdict.word == word
    assert why is None or verdict.why == why


def test_the_interval_is_that_of_one_more_run():
    values = [0.97, 0.98, 0.99]
    low, high = verdicts.prediction(values)
    half = t.ppf(0.975, 2) * statistics.stdev(values) * math.sqrt(1 + 1 / 3)
    assert (low, high) == pytest.approx((0.98 - half, 0.98 + half))
    with pytest.raises(ValueError, match="needs two runs or more, got 1"):
        verdicts.prediction([0.98])


def test_a_share_of_test_images_is_uncertain_by_sampling_too():
    low, high = verdicts.prediction([0.9, 0.9], images=100)
    assert high - 0.9 == pytest.approx(norm.ppf(0.975) * 0.03)
    assert 0.9 - low == pytest.approx(high - 0.9)
    assert measured(0.8500, runs(0.9, 0.9, images=100)).word == "reproduced"
    assert measured(0.8500, runs(0.9, 0.9)).word == "not reproduced"
    assert measured(0.8500, runs(0.9, 0.9, images=10_000)).word == "not reproduced"


def test_a_printed_number_stands_for_all_that_round_to_it():
    ours = runs(0.9740, 0.9741, 0.9740, 0.9741)
    assert measured(0.98, runs(0.975, 0.975)).word == "reproduced"
    assert measured(0.98, ours).word == "not reproduced"
    assert measured(0.98, runs(0.975, 0.975), decimals=3).word == "not reproduced"
    assert verdicts.half_digit(1e-05) == pytest.approx(5e-6)
    assert verdicts.half_digit(193) == 0.5


def test_several_numbers_share_the_error_of_one():
    values = [1.0, 1.1, 1.2, 1.3]
    low, _ = verdicts.prediction(values)
    theirs = round(low - 0.01, 3)
    assert measured(theirs, runs(*values)).word == "not reproduced"
    twelve = dict.fromkeys("abcdefghijkl", theirs)
    assert measured(twelve, runs(*(dict.fromkeys(twelve, v) for v in values))).word == "reproduced"
    assert measured(theirs, runs(*values), family=12).word == "reproduced", "a cell is judged like its table"


def test_a_table_is_named_by_its_first_column():
    table = {"columns": ["lr", "accuracy", "epoch"], "rows": [[0.1, 0.98, 3], [0.5, 0.97, 4]]}
    ours = [{"columns": ["lr", "accuracy"], "rows": [[0.5, 0.90 + e], [0.1, 0.98 + e]]} for e in (0, 0.001)]
    verdict = measured(table, runs(*ours), judged=["accuracy"])
    assert verdict == ("not reproduced", "1 of 2; ours is lower: lr 0.5 accuracy")


@pytest.mark.parametrize(
    ("reported", "ours", "bound", "word"),
    [
        ([0.65, 0.75], ([0.68, 0.70], [0.681, 0.701]), "range", "reproduced"),  # inside: not a miss
        ([0.65, 0.75], ([0.50, 0.70], [0.501, 0.701]), "range", "not reproduced"),
        ([0.65, 0.75], ([0.68, 0.90], [0.681, 0.901]), "range", "not reproduced"),
        ([0.65, 0.75], ([0.68, 0.70], [0.681, 0.701]), None, "not reproduced"),  # two numbers
        (0.95, (0.98, 0.981), "at least", "reproduced"),
        (0.95, (0.90, 0.901), "at least", "not reproduced"),
    ],
)
def test_a_bound_is_missed_on_its_own_side_only(reported, ours, bound, word):
    more = {"bound": bound} if bound else {}
    assert measured(reported, runs(*ours), decimals=3, **more).word == word


def test_what_a_chapter_that_trains_too_little_measured_is_not_comparable_unless_it_is_exact():
    item = {"class": "measured", "better": "match", "reported": 5}
    assert judge(item, runs(5.0, 5.0), behind="2 epochs") == ("not comparable", "2 epochs")
    assert judge(item | {"exact": True}, {"value": 5}, behind="2 epochs").word == "reproduced"
    assert judge({"class": "setting", "reported": 5}, {"value": 5}, behind="2 epochs").word == "used as stated"


@pytest.mark.parametrize(
    ("better", "improved", "expected"),
    [
        ("higher", [0.990, 0.991, 0.992], "beaten by 0.011"),
        ("higher", [0.97, 0.99, 1.0], ""),  # too wide
        ("higher", [0.96, 0.961, 0.962], ""),
        ("higher", [0.99], ""),  # one seed has no interval
        ("higher", [0.9804, 0.9804, 0.9804], ""),  # rounds to the reported number
        ("lower", [0.96, 0.961, 0.962], "beaten by 0.019"),
        ("match", [0.990, 0.991, 0.992], ""),
        ("none", [0.990, 0.991, 0.992], ""),
    ],
)
def test_improved_runs_beat_a_number_if_all_of_their_interval_does(better, improved, expected):
    item = {"class": "measured", "better": better, "reported": 0.98, "decimals": 3}
    assert beaten(item, {"value": 0.98, "improved": improved}) == expected
    assert beaten(item | {"not_comparable": "other data"}, {"value": 0.98, "improved": improved}) == ""
    assert beaten(item | {"class": "setting"}, {"value": 0.98, "improved": improved}) == ""


def test_every_compared_number_has_to_be_beaten():
    item = {"class": "measured", "better": "lower", "reported": {"a": 1.0, "b": 2.0}}
    assert beaten(item, {"improved": [{"a": 0.5, "b": 1.5}, {"a": 0.5, "b": 1.5}]}) == "beaten by 0.5"
    assert beaten(item, {"improved": [{"a": 0.5, "b": 2.5}, {"a": 0.5, "b": 2.5}]}) == ""
    assert beaten(item, {"improved": [{"a": 0.5}, {"a": 0.5}]}) == ""
    assert beaten(item, None) == ""


# --- settings, pictures, questions -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reported", "value", "word", "why"),
    [
        (0.001, 0.001, "used as stated", ""),
        (128, 16, "changed", "16 here"),
        ({"lr": 0.1, "epochs": 20}, {"lr": 0.1, "epochs": 3, "more": 1}, "changed", "epochs 3 here"),
        ({"lr": 0.1, "epochs": 20}, {"lr": 0.1}, "used as stated", ""),
        ([2, 4], [2, 4, 8], "changed", "[2, 4, 8] here"),
    ],
)
def test_a_setting_is_used_or_changed(reported, value, word, why):
    item = {"class": "setting", "reported": reported, "better": "match"}
    assert judge(item, {"value": value}) == (word, why)
    assert judge(item, {"value": value}, inconsistent=["two rates"]) == ("inconsistent", "two rates")


def test_a_literal_cannot_be_a_success():
    for item in ITEMS.values():
        if item["class"] == "setting":
            copied = judge(item, {"value": item.get("reported"), "runs": [item.get("reported")] * 5})
            assert copied.word == "used as stated", item["id"]


def claim(supported, contradicted, statement="it is so"):
    return {"statement": statement, "supported": supported, "contradicted": contradicted}


@pytest.mark.parametrize("kind", ["picture", "question"])
@pytest.mark.parametrize(
    ("claims", "word"),
    [
        ([claim(True, False)], "supported"),
        ([claim(True, False), claim(False, False)], "undecided"),
        ([claim(True, False), claim(False, False), claim(False, True)], "contradicted"),
        ([claim(None, None)], "undecided"),
    ],
)
def test_claims_of_the_report_decide_on_a_picture_or_an_answer(kind, claims, word):
    assert judge({"class": kind}, {"answer": "text"}, drawn=True, claims=claims).word == word


def test_without_a_claim_a_picture_is_drawn_a_question_undecided_and_a_task_answered():
    assert judge({"class": "picture"}, None, drawn=True).word == "drawn"
    assert judge({"class": "picture"}, {"value": [1, 2]}).word == "drawn"
    assert judge({"class": "picture", "not_comparable": "other data"}, None, drawn=True).word == "not comparable"
    assert judge({"class": "question"}, {"answer": "text"}).word == "undecided"
    assert judge({"class": "question", "asserts": False}, {"answer": "text"}).word == "answered"
    assert {judge({"class": kind}, None).word for kind in CLASSES} == {"not yet"}


def test_a_substitute_is_not_comparable_and_the_data_of_the_report_are():
    item = {
        "class": "measured",
        "better": "lower",
        "reported": {"mse": 3.28},
        "data": "retina",
        "not_comparable": "blood",
    }
    for kind, after in (("measured", "reproduced"), ("picture", "drawn"), ("question", "undecided")):
        for source, word in (("blood", "not comparable"), ("retina", after)):
            measured_there = runs(*({"mse": 3.28 + e, "data": source} for e in (0.1, 0, -0.1)))
            measured_there["value"] = measured_there["runs"][0]
            assert judge(item | {"class": kind}, measured_there, drawn=True).word == word
    assert judge(item, {"value": 3.28}).word == "not comparable"


# --- the rows that flattered -----------------------------------------------------------------------------------------


def test_the_same_numbers_cannot_get_two_verdicts():
    """0.6111 against 0.60 was worse in one row and better in another, by their notes and tolerances."""
    excuses = ({}, {"tolerance": 0.5}, {"report_wrong": "it is"}, {"compare": "a"}, {"note": "a word"})
    for entry in ({"value": 0.6111}, runs(0.6111, 0.6111, 0.6112), runs(0.59, 0.60, 0.61)):
        found = {
            measured(0.60, entry | excuse, better=better).word
            for excuse in excuses
            for better in ("match", "higher", "lower")
        }
        assert len(found) == 1


@pytest.mark.parametrize("item", ["cpsc453.num-accuracy", "cpsc453.num-vae-loss", "linma2472.num-cnn-accuracy-test"])
def test_zero_tolerance_of_one_seed_cannot_be_better(item):
    """−1.1 nats of one seed were better, with a tolerance of zero."""
    item = ITEMS[item]
    name = (item.get("judged") or [None])[0]
    value = item["reported"][name] if name else item["reported"]
    best = value + 0.01 if item["better"] == "higher" else value - 1.1
    best = {name: best} if name else best
    entry = {"value": best, "tolerance": 0.0}
    assert judge(item, entry).word == "undecided"
    assert beaten(item, entry | {"improved": [best]}) == ""


def test_an_interval_inside_the_reported_one_is_not_a_miss():
    item = ITEMS["linma2472.num-accuracy-range"]
    assert judge(item, runs([0.657344, 0.715039], [0.66, 0.72])).word == "reproduced"
    assert judge(item, {"value": [0.657344, 0.715039]}).word == "undecided"


@pytest.mark.parametrize(
    ("item", "value"),
    [("linma2472.num-generator-params", 377121), ("linma2472.num-norm-random", 9.97507)],
)
def test_an_erratum_cannot_hide_a_miss(item, value):
    assert any(item in error["items"] for error in errata())
    entry = {"value": value, "report_wrong": "it is"}
    assert judge(ITEMS[item], entry, inconsistent=["anything"]).word == "not reproduced"


@pytest.mark.parametrize(
    "table", ["cpsc453.table-1", "cpsc453.table-2", "cpsc453.table-3", "cpsc453.table-5.1", "cpsc453.table-5.2"]
)
def test_a_table_and_its_cells_are_judged_at_one_level(table):
    """Table 5.1 was equal while nine of its twelve cells were wrong."""
    cells = len(verdicts.targets(ITEMS[table]))
    prefix = {"cpsc453.table-5.1": "cpsc453.sigma-", "cpsc453.table-5.2": "cpsc453.trial-"}.get(table, table + ".")
    families = [item["family"] for name, item in ITEMS.items() if name.startswith(prefix)]
    assert families == [cells] * cells


def test_half_a_point_at_98_percent_is_not_equal():
    assert judge(
        ITEMS["cpsc453.table-1.tanh"], runs(*({"test_accuracy": 0.975 + e} for e in (0, 1e-4, 2e-4)))
    ).word == ("not reproduced")


def test_counts_of_a_gan_are_no_error_of_the_report():
    assert not [error["id"] for error in errata() if "cpsc453.num-gan-counts" in error["items"]]


# --- the classes of all items ----------------------------------------------------------------------------------------


def test_every_item_has_a_class_that_fits():
    for name, item in ITEMS.items():
        kind = item["class"]
        assert kind in CLASSES, name
        assert (kind == "question") == (item["kind"] == "question"), name
        assert item["kind"] != "figure" or kind in ("picture", "measured"), name
        if kind == "measured":
            assert verdicts.targets(item), f"{name}: nothing is compared"
            assert not {"asserts"} & set(item), name
        else:
            assert not {"exact", "bound", "family", "decimals"} & set(item), f"{name}: only a measurement has these"
        assert "asserts" not in item or kind in ("picture", "question"), name
        assert "not_comparable" not in item or kind != "setting", name
        assert "data" not in item or "not_comparable" in item, name
        assert item.get("bound") in (None, "at least", "range"), name
        assert item.get("bound") != "range" or len(item["reported"]) == 2, name


def test_every_verdict_of_a_class_is_known():
    assert set().union(*CLASSES.values()) | {"not yet"} == set(verdicts.VERDICTS)
    marks = [mark for mark, _ in verdicts.VERDICTS.values()]
    assert len(set(marks)) == len(marks), "marks read without colour"


def test_chapters_that_train_too_little_are_listed_once_with_a_reason():
    listed = [notebook["id"] for notebook in reports().get("notebook", [])]
    assert len(set(listed)) == len(listed)
    for notebook in reports().get("notebook", []):
        assert (NOTEBOOKS / f"{notebook['id']}.ipynb").exists()
        assert notebook["at_report_settings"] is False
        assert notebook["why"]
