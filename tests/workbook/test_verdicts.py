"""Verdicts on invented items, branch by branch, and on cases that former rules let pass."""

import math
import statistics

import pytest
from scipy.stats import t

from lib.metrics import intervals
from workbook import verdicts
from workbook.claims import comparisons
from workbook.records import errata, half_digit, reports
from workbook.verdicts import beaten, judge_all

ITEMS = {item["id"]: item for item in reports()["item"]}
PAIR = {"a": 1.0, "b": 2.0}
FAR = [{"value": 0.5, "what": "half", "from": "algebra"}]  # a rival that no run below comes near
CLASSES = {  # which verdicts an item of a class can get, besides "not yet"
    "measured": {"reproduced", "compatible", "not reproduced", "undecided", "not comparable"},
    "setting": {"used as stated", "changed", "inconsistent"},
    "picture": {"drawn", "supported", "contradicted", "undecided", "untested", "not comparable", "left aside"},
    "question": {"answered", "supported", "contradicted", "undecided", "untested", "not comparable", "left aside"},
}


def judge(item, entry, tests=(), **more):
    item = {"title": "an item", "kind": "number", **item}
    records = {} if entry is None else {"x": entry}
    return judge_all({"x": item}, records, {"x": tests} if tests else {}, **more)["x"]


def measured(reported, entry, **more):
    return judge({"class": "measured", "better": "match", "reported": reported, **more}, entry)


def runs(*values, **more):
    return {"value": values[0], "runs": list(values), **more}


# --- numbers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reported", "entry", "more", "word", "why"),
    [
        (0.980, runs(0.97, 0.98, 0.99), {"rivals": FAR}, "reproduced", ""),
        (0.980, runs(0.97, 0.98, 0.99), {}, "compatible", "no rival is named"),
        (0.980, runs(0.960, 0.961, 0.962), {"rivals": FAR}, "not reproduced", "ours is lower"),
        (0.980, runs(0.990, 0.991, 0.992), {}, "not reproduced", "ours is higher"),
        (0.980, {"value": 0.98}, {}, "undecided", "one run has no interval: at least two seeds are needed"),
        (0.980, None, {}, "not yet", ""),
        (0.980, {"answer": "text"}, {}, "not yet", "no value was recorded"),
        (0.980, {"value": 0.5}, {"not_comparable": "other data"}, "not comparable", "other data"),
        (28938, {"value": 28938}, {"exact": True}, "compatible", "no rival is named"),
        (28938, {"value": 28938}, {"exact": True, "rivals": FAR}, "reproduced", ""),
        (28938, {"value": 28939}, {"exact": True}, "not reproduced", "ours is higher"),
        (0.056, {"value": 0.055953}, {"exact": True, "rivals": FAR}, "reproduced", ""),  # to the printed digit
        (0.056, {"value": 0.055953}, {"exact": True, "decimals": 5}, "not reproduced", "ours is lower"),
        (PAIR, runs({"a": 1.0, "b": 9.0}, {"a": 1.1, "b": 9.1}), {},
         "not reproduced", "1 of 2 miss; ours is higher: b"),
        (PAIR, runs({"a": 1.0, "b": 9}, {"a": 1.01, "b": 9}), {"judged": ["a"], "rivals": FAR}, "reproduced", ""),
        ([1.0, [2.0]], runs([1.0, [9.0]], [1.1, [9.1]]), {}, "not reproduced", "1 of 2 miss; ours is higher: 1 0"),
        ([1.0, 2.0], runs([1.0], [1.1]), {}, "not yet", "the chapter recorded nothing for 1"),
        ("MMD", runs("MMD", "MMD"), {"rivals": [{"value": "KL", "what": "KL", "from": "it"}]}, "reproduced", ""),
        ("MMD", runs("MMD", "EMD"), {}, "not reproduced", "ours is different"),
        (True, runs(True, True), {"rivals": [{"value": False, "what": "not", "from": "it"}]}, "reproduced", ""),
    ],
)  # fmt: skip
def test_a_reported_number_is_held_against_the_interval_of_our_runs_and_its_rivals(reported, entry, more, word, why):
    verdict = measured(reported, entry, **more)
    assert (verdict.word, verdict.why) == (word, why)


def test_the_interval_is_that_of_one_more_run_and_stands_beside_the_verdict():
    values = [0.97, 0.98, 0.99]
    half = t.ppf(0.975, 2) * statistics.stdev(values) * math.sqrt(1 + 1 / 3)
    band = measured(0.9, runs(*values)).numbers["value"]
    assert (band["low"], band["high"]) == pytest.approx((0.98 - half, 0.98 + half))
    assert (band["mean"], band["n"], band["degrees"]) == pytest.approx((0.98, 3, 2))
    assert measured(0.9, runs(*values), possible=[0, 1]).numbers["value"]["high"] == 1


def test_the_shared_test_set_adds_no_error_of_sampling():
    assert measured(0.85, runs(0.9, 0.9, images=100), rivals=FAR).word == "not reproduced"


def test_a_printed_number_stands_for_all_that_round_to_it():
    ours = runs(0.9740, 0.9741, 0.9740, 0.9741)
    assert measured(0.97, ours, rivals=FAR).word == "reproduced"
    assert measured(0.97, ours, decimals=3).word == "not reproduced"
    assert half_digit(1e-05) == pytest.approx(5e-6)
    assert half_digit(193) == 0.5


def test_equal_runs_have_an_interval_all_the_same_unless_the_value_is_exact():
    band = measured(0.98, runs(0.98, 0.98), decimals=2).numbers["value"]
    assert band["high"] - band["low"] > 0.01
    counted = measured(20, runs(20, 20, 20)).numbers["value"]
    assert counted["high"] - counted["low"] > 1
    exact = measured(20, runs(20, 20, 20), exact=True).numbers["value"]
    assert exact["high"] == exact["low"]


def test_rows_of_one_kind_share_their_spread_and_a_training_counts_once():
    rows = {
        name: {"class": "measured", "better": "match", "kind": "number", "title": name, "reported": 0.98, "pool": "p"}
        for name in "abc"
    }
    records = {"a": runs(0.979, 0.980, 0.981), "b": runs(0.969, 0.971, 0.970), "c": runs(0.979, 0.980, 0.981)}
    found = judge_all(rows, records)["a"].numbers["value"]
    assert (found["spread"], found["degrees"]) == pytest.approx((0.001, 4)), "c repeats a"
    records["b"]["otherwise"] = {"E03": [0.959, 0.961, 0.960]}
    assert judge_all(rows, records)["a"].numbers["value"]["degrees"] == 6, "trainings at other settings are of one kind"
    records["d"], rows["d"] = runs(0.9, 0.95, 0.99), rows["a"]
    alone = judge_all(rows, records)["a"].numbers["value"]
    assert alone["degrees"] == 2, "spreads that differ are not pooled"


def test_a_single_run_is_judged_by_the_spread_of_its_kind():
    row = {"class": "measured", "better": "match", "kind": "number", "title": "", "reported": 0.98, "pool": "p"}
    records = {"a": runs(0.979, 0.980, 0.981), "b": runs(0.969, 0.971, 0.970), "c": {"value": 0.95}}
    assert judge_all(dict.fromkeys(records, row), records)["c"].word == "not reproduced"
    assert judge_all(dict.fromkeys("c", row), {"c": records["c"]})["c"].word == "undecided"


def test_a_rival_inside_makes_the_best_verdict_compatible_and_is_named():
    near = [{"value": 0.975, "what": "linear", "from": "table 1"}]
    verdict = measured(0.98, runs(0.97, 0.98, 0.99), rivals=[*FAR, *near])
    assert (verdict.word, verdict.rival) == ("compatible", "linear (table 1) 0.975, inside")
    assert verdict.why.startswith("a rival lies inside")
    told = measured(0.98, runs(0.97, 0.98, 0.99), rivals=FAR)
    assert told.rival == "half (algebra) 0.5, outside"


def test_a_rival_may_be_measured_by_the_notebook():
    entry = runs(0.97, 0.98, 0.99, rivals={"two principal components": 0.3})
    verdict = measured(0.98, entry)
    assert (verdict.word, verdict.rival) == ("reproduced", "two principal components (measured) 0.3, outside")
    with pytest.raises(ValueError, match=r"rival 'b .measured.' has none of the numbers a"):
        measured({"a": 1.0}, runs({"a": 1.0}, {"a": 1.1}, rivals={"b": {"b": 3}}))


def test_a_compatible_number_says_how_many_seeds_would_tell_its_rival_apart():
    ours = runs(1.00, 1.02, 0.98)
    close = measured(1.00, ours, decimals=2, rivals=[{"value": 1.06, "what": "other", "from": "it"}])
    assert close.why.endswith("about 7 seeds would tell it apart")
    closer = measured(1.00, ours, rivals=[{"value": 1.01, "what": "other", "from": "it"}])
    assert closer.why.endswith("no number of seeds tells it apart")


def test_seeds_are_counted_from_the_mean_not_from_an_interval_cut_at_what_is_possible():
    last = [{"value": 199, "what": "the last epoch", "from": "it"}]
    cut = measured(190, runs(187, 192, 193), rivals=last, possible=[0, 199])
    assert cut.why.endswith("about 9 seeds would tell it apart")


def test_a_bound_lets_no_rival_in_that_lies_below_our_runs():
    guess = [{"value": 0.1, "what": "a guess", "from": "one tenth"}]
    assert measured(0.95, runs(0.98, 0.981, 0.979), rivals=guess, bound="at least").word == "reproduced"


@pytest.mark.parametrize(("misses", "word"), [(0, "reproduced"), (1, "reproduced"), (2, "not reproduced")])
def test_of_many_numbers_as_many_may_miss_as_chance_explains(misses, word):
    ours = runs(*({f"{i}": 1.0 + e for i in range(6)} for e in (-0.1, 0.0, 0.1)))
    half = intervals.quantile(2) * 0.1 * math.sqrt(4 / 3)
    theirs = {f"{i}": round(1.0 + (1.3 * half if i < misses else 0.1), 4) for i in range(6)}
    far = [{"value": dict.fromkeys(theirs, 9.0), "what": "nine", "from": "it"}]
    assert measured(theirs, ours, rivals=far).word == word
    theirs["0"] = 99.0
    assert measured(theirs, ours, rivals=far).word == "not reproduced", "nor may one lie far outside"


def test_the_rival_that_is_named_is_the_one_inside():
    ours = runs(*({f"{i}": 1.0 + e for i in range(6)} for e in (-0.1, 0.0, 0.1)))
    half = intervals.quantile(2) * 0.1 * math.sqrt(4 / 3)
    same = dict.fromkeys("012345", 1.0)
    passes, fails = same | {"0": 1 + 1.5 * half}, same | {"0": 1 + 1.3 * half, "1": 1 + 1.3 * half}
    named = [{"value": value, "what": what, "from": "it"} for what, value in (("b", fails), ("a", passes))]
    assert measured(same, ours, rivals=named).rival == "a (it), inside"


def table(*reported, rival=0.5, kind="table"):
    """A table, its rows, and what was recorded for them."""
    rows = {
        f"t.{i}": {
            "class": "measured",
            "better": "match",
            "kind": "number",
            "title": f"Row: {i}",
            "reported": theirs,
            "row_of": "t",
            "rivals": [{"value": rival, "what": "rival", "from": "it"}],
        }
        for i, theirs in enumerate(reported)
    }
    rows["t"] = {"class": "measured", "better": "match", "kind": kind, "title": "t", "reported": list(reported)}
    records = {name: runs(0.97, 0.98, 0.99) for name in rows}
    records["t"] = runs(*([v] * len(reported) for v in (0.97, 0.98, 0.99)))
    return judge_all(rows, records)


def test_a_table_counts_its_rows_and_says_how_many_chance_would_miss():
    whole = table(*[0.98] * 6)["t"]
    assert (whole.word, whole.why) == ("reproduced", "6 of 6 rows; 0.3 expected to miss by chance")
    one = table(*[0.98] * 5, 0.92)
    assert one["t.5"].word == "not reproduced", "each row is judged singly"
    assert (one["t"].word, one["t"].why) == (
        "reproduced",
        "5 of 6 rows; 0.3 expected to miss by chance; missed: 5",
    )
    assert table(*[0.98] * 4, 0.92, 0.92)["t"].word == "not reproduced"
    assert table(*[0.98] * 5, 0.3)["t"].word == "not reproduced", "a row lies far outside"
    assert table(0.98, 0.92)["t"].word == "not reproduced", "chance explains nothing in a table of two"
    assert table(*[0.98] * 6, rival=0.985)["t"].word == "compatible"


def test_only_runs_at_the_stated_settings_reproduce_and_others_explain():
    entry = runs(0.90, 0.91, 0.92, otherwise={"E03: at rate 0.5": [0.97, 0.98, 0.99]})
    verdict = measured(0.98, entry, rivals=FAR)
    assert (verdict.word, verdict.marks) == ("not reproduced", ("explained by E03: fits at rate 0.5",))
    assert not measured(0.70, entry).marks, "it does not fit there either"
    item = {"class": "measured", "better": "match", "reported": 0.98}
    assert not judge(item, entry, undemonstrated=["E03"]).marks, "an erratum that is not demonstrated explains nothing"


def test_marks_stand_beside_the_word():
    more = {"read_off": True, "as_programmed": "E11", "rivals": FAR}
    assert measured(0.98, runs(0.97, 0.98, 0.99), **more).marks == ("read off a plot", "as programmed (E11)")
    assert measured(0.50, runs(0.97, 0.98, 0.99), **more).marks == ("read off a plot",)


def test_counts_of_random_draws_stay_possible_and_zeros_leave_room():
    more = {"draws": 1000, "possible": [0, 1000]}
    zero = measured(3, runs(0, 0, 0), **more)
    assert zero.numbers["value"]["low"] == 0 < zero.numbers["value"]["high"] < 5
    assert measured(0.010, runs(0.011, 0.009), draws=1000, possible=[0, 1]).word == "compatible"
    assert (
        measured(100, runs(98, 103, 99), **more, rivals=[{"value": 300, "what": "r", "from": "it"}]).word
        == "reproduced"
    )


def test_runs_that_scatter_more_than_their_draws_widen_the_interval():
    more = {"draws": 1000, "possible": [0, 1000]}
    even, uneven = (
        measured(193, runs(*counts), **more).numbers["value"] for counts in ((430, 440, 450), (300, 440, 580))
    )
    assert uneven["excess"] > 1
    assert uneven["high"] - uneven["low"] > 3 * (even["high"] - even["low"])
    assert "excess" not in even


def test_a_table_is_named_by_its_first_column():
    reported = {"columns": ["lr", "accuracy", "epoch"], "rows": [[0.1, 0.98, 3], [0.5, 0.97, 4]]}
    ours = [{"columns": ["lr", "accuracy"], "rows": [[0.5, 0.90 + e], [0.1, 0.98 + e]]} for e in (0, 0.001)]
    verdict = measured(reported, runs(*ours), judged=["accuracy"])
    assert verdict[:2] == ("not reproduced", "1 of 2 miss; ours is lower: lr 0.5 accuracy")


@pytest.mark.parametrize(
    ("reported", "ours", "bound", "word"),
    [
        ([0.65, 0.75], ([0.68, 0.70], [0.681, 0.701]), "range", "compatible"),  # inside: not a miss
        ([0.65, 0.75], ([0.50, 0.70], [0.501, 0.701]), "range", "not reproduced"),
        ([0.65, 0.75], ([0.68, 0.90], [0.681, 0.901]), "range", "not reproduced"),
        ([0.65, 0.75], ([0.68, 0.70], [0.681, 0.701]), None, "not reproduced"),  # two numbers
        (0.95, (0.98, 0.981), "at least", "compatible"),
        (0.95, (0.90, 0.901), "at least", "not reproduced"),
    ],
)
def test_a_bound_is_missed_on_its_own_side_only(reported, ours, bound, word):
    more = {"bound": bound} if bound else {}
    assert measured(reported, runs(*ours), decimals=3, **more).word == word


def test_what_a_chapter_that_trains_too_little_measured_is_not_comparable_unless_it_is_exact():
    item = {"class": "measured", "better": "match", "reported": 5, "rivals": FAR}
    assert judge(item, runs(5.0, 5.0), behind="2 epochs")[:2] == ("not comparable", "2 epochs")
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
    assert (expected in measured(0.98, runs(0.9, 0.91, improved=improved), better=better, decimals=3).marks) == bool(
        expected
    )


def test_every_compared_number_has_to_be_beaten():
    item = {"class": "measured", "better": "lower", "reported": {"a": 1.0, "b": 2.0}}
    assert beaten(item, {"improved": [{"a": 0.5, "b": 1.5}, {"a": 0.5, "b": 1.5}]}) == "beaten by 0.5"
    assert beaten(item, {"improved": [{"a": 0.5, "b": 1.8}, {"a": 0.5, "b": 1.8}]}) == "beaten by 0.2", "the smallest"
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
    assert judge(item, {"value": value})[:2] == (word, why)
    assert judge(item, {"value": value}, inconsistent={"x": ["two rates"]})[:2] == ("inconsistent", "two rates")


def test_a_literal_cannot_be_a_success():
    for name, item in ITEMS.items():
        if item["class"] == "setting":
            copied = judge_all(
                {name: item}, {name: {"value": item.get("reported"), "runs": [item.get("reported")] * 5}}
            )
            assert copied[name].word == "used as stated", name


def a_claim(values, words="it falls", what="slope", **more):
    return {"quote": words, **comparisons(what, values, **more)[0]}


ABOVE, BELOW, AROUND = [1.0, 1.1, 0.9], [-1.0, -1.1, -0.9], [-1.0, 1.0, 0.1]


@pytest.mark.parametrize("kind", ["picture", "question"])
@pytest.mark.parametrize(
    ("says", "tests", "word"),
    [
        (["it falls"], [a_claim(ABOVE, above=0)], "supported"),
        (["it falls"], [a_claim(BELOW, above=0)], "contradicted"),
        (["it falls"], [a_claim(AROUND, above=0)], "undecided"),
        (["it falls"], [a_claim([1.0], above=0)], "undecided"),
        (["it falls"], [], "untested"),
        (["it falls"], [a_claim(ABOVE, above=0), a_claim(AROUND, what="b", above=0)], "undecided"),
        (["it falls"], [a_claim(ABOVE, above=0), a_claim(BELOW, what="b", above=0)], "contradicted"),
        (["it falls"], [a_claim(AROUND, above=0), a_claim(BELOW, what="b", above=0)], "contradicted"),
        (["it falls", "it is red"], [a_claim(ABOVE, above=0)], "untested"),
        ([{"quote": "it is nice", "aside": "taste"}], [], "drawn or answered"),
        (["it falls", {"quote": "it is nice", "aside": "taste"}], [a_claim(ABOVE, above=0)], "supported"),
        ([], [], "drawn or answered"),
    ],
)
def test_every_sentence_of_a_picture_or_an_answer_has_a_verdict_of_its_own(kind, says, tests, word):
    verdict = judge({"class": kind, "says": says, "asserts": bool(says)}, {"answer": "text"}, tests, drawn=["x"])
    idle = "drawn" if kind == "picture" else "answered"
    assert verdict.word == (idle if word == "drawn or answered" else word)
    assert len(verdict.statements) == len(says)


def test_an_item_with_several_sentences_shows_how_many_of_each():
    item = {"class": "question", "says": ["it falls", "it is red", "it is round"]}
    verdict = judge(item, {"answer": "text"}, [a_claim(ABOVE, above=0), a_claim(BELOW, "it is red", above=0)])
    assert verdict.why == "1 supported, 1 contradicted, 1 untested"
    assert [statement.word for statement in verdict.statements] == ["supported", "contradicted", "untested"]
    assert verdict.word == "contradicted"


def test_claims_are_not_comparable_either_where_the_runs_are_not():
    item, tests = {"class": "question", "says": ["it falls"]}, [a_claim(ABOVE, above=0)]
    exact = [a_claim(9356, equals=9810, exact=True)]
    assert judge(item, {}, tests, behind="2 epochs")[:2] == ("not comparable", "2 epochs")
    assert judge(item | {"not_comparable": "other data"}, {}, tests)[:2] == ("not comparable", "other data")
    assert judge(item, {}, [a_claim(ABOVE, above=0, elsewhere="on our recipe")])[:2] == (
        "not comparable",
        "on our recipe",
    )
    assert judge(item, {}, exact, behind="2 epochs").word == "contradicted", "algebra needs no training"


def test_a_substitute_is_not_comparable_and_the_data_of_the_report_are():
    item = {
        "class": "measured",
        "better": "lower",
        "reported": {"mse": 3.28},
        "data": "retina",
        "not_comparable": "blood",
    }
    for kind, after in (("measured", "compatible"), ("picture", "supported"), ("question", "supported")):
        for source, word in (("blood", "not comparable"), ("retina", after)):
            entry = runs(*({"mse": 3.28 + e, "data": source} for e in (0.1, 0, -0.1)))
            about = item | {"class": kind, "says": ["it falls"]}
            tests = [] if kind == "measured" else [a_claim(ABOVE, above=0)]
            assert judge(about, entry, tests, drawn=["x"]).word == word
    assert judge(item, {"value": 3.28}).word == "not comparable"


# --- cases that former rules let pass --------------------------------------------------------------------------------


def test_the_same_numbers_cannot_get_two_verdicts():
    """0.6111 against 0.60 was worse in one row and better in another, by their notes and tolerances."""
    excuses = ({}, {"tolerance": 0.5}, {"report_wrong": "it is"}, {"compare": "a"}, {"note": "a word"}, {"images": 10})
    for entry in ({"value": 0.6111}, runs(0.6111, 0.6111, 0.6112), runs(0.59, 0.60, 0.61)):
        found = {
            measured(0.60, entry | excuse, better=better).word
            for excuse in excuses
            for better in ("match", "higher", "lower")
        }
        assert len(found) == 1


@pytest.mark.parametrize(
    ("item", "value"),
    [("linma2472.num-generator-params", 377121), ("linma2472.num-norm-random", 9.97507)],
)
def test_an_erratum_cannot_hide_a_miss(item, value):
    entry = {"value": value, "report_wrong": "it is"}
    assert judge(ITEMS[item], entry, inconsistent={"x": ["anything"]}).word == "not reproduced"


def test_the_loss_of_two_principal_components_does_not_reproduce_an_autoencoder():
    """Three runs, one of which got stuck: .017 to .057 held everything."""
    entry = runs(*({"min_test_mse": v} for v in (0.0347562, 0.0345383, 0.0415511)), rivals={"two components": 0.0557})
    item = ITEMS["cpsc453.num-ae-loss"]
    assert judge(item, entry).word == "compatible"
    assert "two components (measured) 0.0557, inside" in judge(item, entry).rival


def test_half_a_point_at_98_percent_is_not_equal():
    entry = runs(*({"test_accuracy": 0.975 + e} for e in (0, 1e-4, 2e-4)))
    assert judge(ITEMS["cpsc453.table-1.tanh"], entry).word == "not reproduced"


def test_counts_of_a_gan_are_no_error_of_the_report():
    assert not [error["id"] for error in errata() if "cpsc453.num-gan-counts" in error["items"]]


# --- the classes of all items ----------------------------------------------------------------------------------------


ONLY_MEASURED = {
    "exact",
    "bound",
    "decimals",
    "pool",
    "row_of",
    "draws",
    "possible",
    "rivals",
    "read_off",
    "as_programmed",
}


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
            assert not ONLY_MEASURED & set(item), f"{name}: only a measurement has these"
        assert "asserts" not in item or kind in ("picture", "question"), name
        assert "not_comparable" not in item or kind != "setting", name
        assert "data" not in item or "not_comparable" in item, name
        assert item.get("bound") in (None, "at least", "range"), name
        assert item.get("bound") != "range" or len(item["reported"]) == 2, name


def test_rows_results_rivals_and_draws_fit_their_items():
    known = {error["id"] for error in errata()}
    for name, item in ITEMS.items():
        if "row_of" in item:
            table = ITEMS[item["row_of"]]
            assert (table["class"], table["notebook"]) == ("measured", item["notebook"]), name
            assert "row_of" not in table, name
        assert item.get("as_programmed") in {None, *known}, name
        assert "draws" not in item or item["possible"] in ([0, item["draws"]], [0, 1]), name
        for what, numbers in verdicts.rivals(item, {}).items():
            theirs = verdicts.targets(item)
            assert any(numbers[path] != theirs[path] for path in numbers), f"{name}: {what} is the report's number"


def test_every_verdict_of_a_class_is_known():
    assert set().union(*CLASSES.values()) | {"not yet"} == set(verdicts.VERDICTS)
    marks = [mark for mark, _ in verdicts.VERDICTS.values()]
    assert len(set(marks)) == len(marks), "marks read without colour"


def test_only_an_erratum_of_kind_inconsistent_that_holds_makes_a_setting_inconsistent(monkeypatch):
    item = {"id": "s", "class": "setting", "kind": "number", "title": "rate", "reported": 0.1, "better": "none"}
    monkeypatch.setattr(verdicts, "items_of", lambda notebook: {"s": item})
    for kind, holds, word in (
        ("inconsistent", True, "inconsistent"),
        ("inconsistent", None, "inconsistent"),
        ("inconsistent", False, "used as stated"),
        ("error", True, "used as stated"),
    ):
        monkeypatch.setattr(verdicts, "errata", lambda k=kind: [{"id": "E01", "kind": k, "title": "t", "items": ["s"]}])
        results = {"seed": 0, "items": {"s": {"value": 0.1}}, "figures": {}, "errata": {"E01": holds}}
        assert verdicts.judge_runs("01_a", [results], "full")["s"].word == word


@pytest.mark.parametrize(
    ("mean", "low", "high", "text"),
    [
        (0.98113, 0.97853, 0.98364, "0.9811 (0.9785 to 0.9836; n = 3)"),
        (-1.0, -1.025, -0.9752, "−1.000 (−1.025 to −0.975; n = 3)"),
        (190.7, 174.7, 199.0, "191 (175 to 199; n = 3)"),
    ],
)
def test_a_mean_is_as_precise_as_its_interval(mean, low, high, text):
    band = {"mean": mean, "low": low, "high": high, "n": 3}
    assert verdicts.numbers_text(verdicts.Verdict("reproduced", numbers={"value": band})) == text


def test_a_long_cell_is_cut_between_two_words():
    assert verdicts.cut("one two  three", 20) == "one two three"
    assert verdicts.cut("one two; three four", 12) == "one two …"
