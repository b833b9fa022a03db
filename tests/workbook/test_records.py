"""Mistakes in data/reports.toml and data/errata.toml are named, with the file, the entry and what is allowed."""

import pytest

from workbook import records
from workbook.tools import run

REPORTS = """
[[report]]
id = "r2025"
title = "A report"
year = 2025
seed = "005.txt"
sections = [{ n = "1", title = "One" }]

[[item]]
id = "r2025.num-a"
report = "r2025"
section = "1"
notebook = "22_mine"
kind = "number"
class = "measured"
title = "Accuracy"
shows = "share of digits that the network reads"
reported = 0.98
better = "higher"
"""
ERRATA = """
[[erratum]]
id = "E01"
report = "r2025"
title = "A slip"
source = "Section 1"
kind = "error"
claim = "It is wrong."
notebook = "22_mine"
reported = "0.98"
corrected = "0.97"
items = ["r2025.num-a"]
"""


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Items and errata from these two texts."""

    def read(reports=REPORTS, errata=ERRATA):
        monkeypatch.setattr(records, "DATA", tmp_path)
        (tmp_path / "reports.toml").write_text(reports, "utf-8")
        (tmp_path / "errata.toml").write_text(errata, "utf-8")
        records.reports.cache_clear()
        records.errata.cache_clear()
        return records.reports()["item"], records.errata()

    yield read
    records.reports.cache_clear()
    records.errata.cache_clear()


def test_a_report_with_one_item_and_one_erratum_is_read(read):
    items, errata = read()
    assert [item["id"] for item in items] == ["r2025.num-a"]
    assert [error["id"] for error in errata] == ["E01"]


@pytest.mark.parametrize(
    ("wrong", "right", "message"),
    [
        ("mesured", "measured", r"reports.toml, item r2025.num-a: class is 'mesured'; did you mean measured\?"),
        ('"box"', '"number"', "item r2025.num-a: kind is 'box'; it may be figure, table, number, question"),
        ("sort =", "kind =", "reports.toml, item r2025.num-a has no kind"),
        ("exakt = true\nid =", "id =", r"report r2025: a key is 'exakt'"),
        ("exakt = true\nbetter", "better", r"item r2025.num-a: a key is 'exakt'; did you mean exact\?"),
        ('judged = "a"\nbetter', "better", "item r2025.num-a: judged is 'a', but must be a list"),
        ('section = "2"', 'section = "1"', "item r2025.num-a: section is '2'; it may be 1"),
        ('report = "r2024"', 'report = "r2025"', r"item r2025.num-a: report is 'r2024'; did you mean r2025\?"),
        ('says = [{ quot = "much" }]\nbetter', "better", r"item r2025.num-a, says has no quote"),
        (
            'says = [{ quote = "much", asside = "vague" }]\nbetter',
            "better",
            r"says: a key is 'asside'; did you",
        ),
        ('rivals = [{ value = 0.1, what = "chance" }]\nbetter', "better", r"item r2025.num-a, rivals has no from"),
        ('row_of = "r2025.table"\nbetter', "better", r"item r2025.num-a: row_of is 'r2025.table'; "),
        ("{ number =", "{ n =", "report r2025, sections has no n"),
        ("[[items]]", "[[item]]", r"reports.toml: a table is 'items'; did you mean item\?"),
        ("year = ", "year = 2025", "reports.toml is not valid TOML: Invalid value"),
        ('title = "Accuracy', 'title = "Accuracy"', "reports.toml is not valid TOML: .*line 16"),
        ("[[item]]\nlabel", "[[item]]\nid", r"reports.toml, item \(without an id\) has no id"),
    ],
)
def test_a_mistake_in_the_items_is_named_with_its_place_and_what_is_allowed(read, wrong, right, message):
    assert right in REPORTS
    with pytest.raises(records.RecordError, match=message):
        read(REPORTS.replace(right, wrong, 1))


def test_no_two_items_have_the_same_id(read):
    twice = REPORTS + REPORTS[REPORTS.index("[[item]]") :]
    with pytest.raises(records.RecordError, match=r"2 entries \[\[item\]\] with the id r2025.num-a"):
        read(twice)


def test_an_erratum_names_items_that_exist_and_a_kind_that_exists(read):
    with pytest.raises(records.RecordError, match=r"errata.toml, erratum E01: an item is 'r2025.num-b'; did you mean"):
        read(errata=ERRATA.replace("num-a", "num-b"))
    with pytest.raises(records.RecordError, match=r"erratum E01: kind is 'slip'; it may be error, inconsistent"):
        read(errata=ERRATA.replace('kind = "error"', 'kind = "slip"'))
    with pytest.raises(records.RecordError, match=r"errata\.toml is not valid TOML"):
        read(errata="[[erratum]\n")


def test_a_run_names_the_mistake_before_it_starts_anything(read, monkeypatch, capsys):
    with pytest.raises(records.RecordError):
        read(REPORTS.replace("measured", "mesured"))
    monkeypatch.setattr("sys.argv", ["run", "figures"])
    assert run.main() == 1
    assert capsys.readouterr().err.startswith("error: reports.toml, item r2025.num-a: class is 'mesured'; did you mean")


# --- several seeds --------------------------------------------------------------------------------------------------


def result(seed, **entries):
    return {"seed": seed, "items": entries, "figures": {}}


def test_runs_of_several_seeds_add_up_and_a_shared_training_counts_once_even_among_equal_values():
    found = records.merge([result(0, x={"runs": [0.98, 0.97]}), result(1, x={"runs": [0.97, 0.98]})])["items"]["x"]
    assert found["runs"] == [0.98, 0.97, 0.98], "seeds 0, 1 and 2; seed 1 was trained once"
    named = records.merge(
        [result(0, x={"runs": [1, 2], "seeds": [5, 9]}), result(1, x={"runs": [3, 4], "seeds": [9, 7]})]
    )
    assert named["items"]["x"]["runs"] == [1, 2, 4]
    single = records.merge([result(0, x={"value": 1.0}), result(1, x={"value": 1.0})])
    assert single["items"]["x"]["runs"] == [1.0, 1.0]
    other = records.merge([result(s, x={"runs": [s, s + 1], "otherwise": {"E03": [s, s + 1]}}) for s in (0, 1)])
    assert other["items"]["x"]["otherwise"] == {"E03": [0, 1, 2]}


def test_of_several_seeds_the_figures_of_the_first_are_shown():
    drawn = [result(seed) | {"figures": {"fig": {"file": f"{seed}.png"}}} for seed in (0, 1)]
    assert records.merge(drawn)["figures"]["fig"]["file"] == "0.png"


def test_tests_of_several_seeds_add_up_by_seed():
    def of_seed(seed, values, **more):
        test = {"quote": "it falls", "what": "a", "values": values, "above": 0, **more}
        return {"seed": seed, "items": {}, "figures": {}, "tested": {"x": [test]}}

    paired = records.merge([of_seed(0, [1, 2], against=[0, 1]), of_seed(1, [2, 3], against=[1, 2])])["tested"]["x"]
    assert (paired[0]["values"], paired[0]["against"]) == ([1, 2, 3], [0, 1, 2])
    exact = records.merge([of_seed(0, [1], exact=True), of_seed(1, [1], exact=True)])["tested"]["x"]
    assert exact[0]["values"] == [1]
