"""Measurements by seed against a threshold: what is supported, contradicted or undecided, and what is refused."""

import pytest

from workbook.claims import comparisons, weigh
from workbook.verdicts import judge_all


def a_claim(values, **more):
    return comparisons("slope", values, **more)[0]


@pytest.mark.parametrize(
    ("values", "more", "word"),
    [
        ([3, 4, 5], {"against": [1, 1, 2], "above": 0}, "supported"),
        ([3, 4, 5], {"against": [1, 1, 2], "below": 0}, "contradicted"),
        ([3.0, 4.0, 5.0], {"against": [2.9, 4.2, 4.9], "above": 0}, "undecided"),
        ([0.001, 0.002, 0.0015], {"above": 0, "matters": 0.1}, "contradicted"),  # a difference that does not matter
        ([0.10, 0.12, 0.11], {"above": 0, "matters": 0.001}, "supported"),
        ([0.0060, 0.0070, 0.0065], {"above": 0, "matters": 0.01}, "undecided"),  # turns at half of what matters
        ([0.98, 0.981, 0.979], {"between": (0.975, 0.985), "ours": False, "share": True}, "supported"),
        ([0.95, 0.951, 0.949], {"between": (0.975, 0.985), "ours": False, "share": True}, "contradicted"),
        ([0.001, -0.001, 0.0], {"between": (-0.1, 0.1), "ours": True}, "supported"),
        ([0.11, 0.12, 0.115], {"above": 0.1, "ours": False}, "supported"),
        ([0.11, 0.12, 0.115], {"above": 0.1, "ours": True}, "undecided"),  # turns at twice the threshold
        ([0.31, 0.32, 0.315], {"above": 0.1, "ours": True}, "supported"),
        ([0.85, 0.86, 0.85], {"above": 0.8, "ours": True, "share": True}, "undecided"),  # odds of 8 to 1
        ([0.95, 0.96, 0.95], {"above": 0.8, "ours": True, "share": True}, "supported"),
        ([1, 0, 0], {"of": 1000, "below": 0.02, "ours": True}, "supported"),
        (
            [0, 0, 0],
            {"of": 10, "below": 0.02, "ours": False},
            "undecided",
        ),  # thirty draws leave room for a share of .08
        ([1.0, 2.0, 3.0], {"against": [0.9, 1.89, 2.9], "above": 0}, "supported"),  # seed by seed; the groups overlap
        ([45], {"of": 100, "above": 0.5, "ours": False}, "undecided"),
        ([30], {"of": 100, "above": 0.5, "ours": False}, "contradicted"),
        (9356, {"equals": 9356, "exact": True}, "supported"),
        (9356, {"equals": 9810, "exact": True}, "contradicted"),
        (0.23, {"above": 0, "exact": True}, "supported"),
        (0.0, {"above": 0, "exact": True}, "contradicted"),
    ],
)
def test_a_comparison_is_decided_by_its_interval(values, more, word):
    assert weigh(comparisons("it", values, **more)[0])["verdict"] == word


def test_values_of_other_length_are_an_independent_group():
    apart = weigh(comparisons("it", [3.0, 3.1, 2.9], against=[1.0, 1.1], above=0)[0])
    assert apart["verdict"] == "supported"
    assert apart["mean"] == pytest.approx(1.95)


def test_against_several_each_has_to_be_beaten():
    tests = comparisons("5 as 3", [40, 41, 42], against={"9 as 4": [30, 31, 33], "2 as 8": [41, 39, 44]}, above=0)
    assert [one["what"] for one in tests] == ["5 as 3, against 9 as 4", "5 as 3, against 2 as 8"]
    assert [weigh(one)["verdict"] for one in tests] == ["supported", "undecided"]


def test_the_interval_of_a_difference_of_shares_ends_at_one():
    apart = weigh(a_claim([0.1, 0.9, 0.5], against=[0.9, 0.1, 0.4], above=0, share=True))
    assert (apart["low"], apart["high"]) == (-1, 1)


def test_undecided_says_how_many_seeds_would_decide():
    assert weigh(a_claim([1.0, -0.4, 0.5, 0.6], above=0))["why"] == "about 10 seeds would decide"
    assert weigh(a_claim([1.0], above=0))["why"] == "one seed has no interval: at least two are needed"
    assert weigh(a_claim([1.0, -1.0, 0.001], above=0))["why"] == "more than 1,000 seeds would be needed"
    assert "half or at twice its value: no number" in weigh(a_claim([0.11, 0.12, 0.115], above=0.1, ours=True))["why"]
    assert "twice its odds" in weigh(a_claim([0.11, 0.12, 0.115], above=0.1, ours=True, share=True))["why"]


def test_a_threshold_of_ours_turns_a_verdict_only_if_more_seeds_would_leave_it_so():
    wide = weigh(a_claim([3.0, 1.0, 5.0], above=0.1, ours=True))
    assert (wide["verdict"], wide["why"]) == ("undecided", "about 5 seeds would decide")


def test_so_many_seeds_would_decide_as_random_draws_need():
    assert (
        weigh(comparisons("none of three", [0, 0, 0], of=1, above=0.5, ours=True)[0])["why"]
        == "about 6 seeds would decide"
    )


def test_the_hardest_comparison_says_what_would_decide_a_sentence():
    easy, hard = a_claim([1.0, -0.4, 0.5, 0.6], above=0), a_claim([1.0, -0.8, 0.5, 0.6], above=0)
    items = {"q": {"class": "question", "says": ["so it is"], "kind": "question", "title": ""}}
    tests = {"q": [{**one, "what": what, "quote": "so it is"} for what, one in (("easy", easy), ("hard", hard))]}
    (said,) = judge_all(items, {}, tests)["q"].statements
    assert said.why == weigh(hard)["why"] != weigh(easy)["why"]


def test_a_band_of_ours_beside_zero_is_refused():
    with pytest.raises(ValueError, match="no half and no double"):
        comparisons("ratio", [1.0, 1.1], between=(0.8, 1.25), ours=True)
    assert comparisons("difference", [0.1, -0.1], between=(-0.3, 0.3), ours=True)


def test_a_test_is_recomputed_from_what_is_stored():
    one = comparisons("it", {3: 1.0, 5: 1.5}, against={3: 0.5, 5: 0.6}, above=0, matters=0.1)[0]
    assert one == {
        "what": "it",
        "values": [1.0, 1.5],
        "against": [0.5, 0.6],
        "seeds": [3, 5],
        "above": 0,
        "matters": 0.1,
    }


@pytest.mark.parametrize(
    ("values", "more", "error", "message"),
    [
        ([True, False], {"above": 0}, TypeError, "hand in measurements by seed, not True"),
        ([], {"above": 0}, ValueError, "a measurement for each seed"),
        ([1.0], {}, ValueError, "exactly one of above, below, between, equals; got none"),
        ([1.0], {"above": 0, "below": 1}, ValueError, "got above, below"),
        ([1.0], {"above": 0.5}, ValueError, "say whether the threshold 0.5 is the report's"),
        ([1.0], {"between": (2, 1), "ours": True}, ValueError, "a lower and an upper end"),
        ([1.0], {"equals": 1}, ValueError, "equals= is for exact values"),
        ([1.0], {"above": 0.5, "ours": True, "matters": 1}, ValueError, "matters= is a difference above 0"),
        ([1.0, 2.0], {"equals": 1, "exact": True}, ValueError, "give one exact value"),
        ({0: 1.0}, {"against": {1: 2.0}, "above": 0}, ValueError, r"values are for seeds \[0\], against for \[1\]"),
    ],
)
def test_arguments_that_do_not_fit_are_named(values, more, error, message):
    with pytest.raises(error, match=message):
        comparisons("it", values, **more)
