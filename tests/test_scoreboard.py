import json

import pytest

from workbook import scoreboard
from workbook.records import reports


def verdict(item, entry):
    return scoreboard.judge({"better": "match", **item}, entry)[0]


@pytest.mark.parametrize(
    ("item", "entry", "expected"),
    [
        ({"reported": 0.98, "better": "higher"}, {"value": 0.99}, "better"),
        ({"reported": 0.98, "better": "higher"}, {"value": 0.976}, "equal"),
        ({"reported": 0.98, "better": "higher"}, {"value": 0.97}, "worse"),
        ({"reported": 100.0, "better": "lower"}, {"value": 97.0}, "better"),
        ({"reported": 100.0, "better": "lower"}, {"value": 101.0}, "equal"),
        ({"reported": 100.0, "better": "lower"}, {"value": 103.0}, "worse"),
        ({"reported": 28938}, {"value": 28938}, "equal"),
        ({"reported": 28938}, {"value": 28939}, "worse"),
        ({"reported": 100.0}, {"value": 103.0}, "worse"),  # for match, both directions miss
        ({"reported": 100.0}, {"value": 97.0}, "worse"),
        ({"reported": 100.0}, {"value": 97.0, "tolerance": 3}, "equal"),
        ({"reported": {"a": 1.0, "b": 9.0}}, {"value": {"a": 1.4, "b": 8.0}, "tolerance": {"a": 0.5, "b": 1}}, "equal"),
        ({"reported": {"a": 1.0, "b": 9.0}}, {"value": {"a": 1.4, "b": 7.0}, "tolerance": {"a": 0.5, "b": 1}}, "worse"),
        ({"reported": "Adam"}, {"value": "Adam"}, "equal"),
        ({"reported": "Adam"}, {"value": "SGD"}, "worse"),
        ({"reported": 5, "better": "none"}, {"value": 9}, "shown"),
        ({}, {"answer": "text"}, "shown"),
        ({"reported": 0.98}, None, "not yet"),
        ({"reported": 0.98}, {"value": 0.5, "report_wrong": "evidence"}, "report wrong"),
        ({"reported": 0.000279, "comparable": 0.0353, "better": "lower"}, {"value": 0.034}, "better"),
        ({"reported": {"a": 0.9, "e": 7}, "better": "higher"}, {"value": {"a": 1, "e": 2}, "compare": "a"}, "better"),
        ({"reported": {"a": 0.9, "b": 0.9}, "better": "higher"}, {"value": {"a": 0.99, "b": 0.8}}, "worse"),
        ({"reported": [1, [2, 3]]}, {"value": [1, [2, 3]]}, "equal"),
        ({"reported": [1, [2, 3]]}, {"value": [1, [2, 4]]}, "worse"),
        ({"reported": [1, 2]}, {"value": [1]}, "worse"),
        ({"reported": 0.001}, {"value": 0.0002}, "worse"),  # a learning rate is not within half a percent point
        ({"reported": 1.0}, {"value": [1.0]}, "shown"),  # not comparable
    ],
)  # fmt: skip
def test_verdicts(item, entry, expected):
    assert verdict(item, entry) == expected


def test_mistyped_tolerance_is_an_error():
    with pytest.raises(KeyError, match=r"tolerance for \['A'\], but only \['a'\] are compared"):
        verdict({"reported": {"a": 1.0}}, {"value": {"a": 1.4}, "tolerance": {"A": 0.5}})


def test_a_table_is_compared_by_its_named_column():
    item = {"reported": {"columns": ["lr", "accuracy", "epoch"], "rows": [[0.1, 0.98, 3], [0.5, 0.97, 4]]}}
    good = {"value": {"rows": [[0.1, 0.981, 99], [0.5, 0.969, 99]]}, "compare": "accuracy"}
    bad = {"value": {"rows": [[0.1, 0.981, 99], [0.5, 0.9, 99]]}, "compare": "accuracy"}
    assert verdict(item, good) == "equal"
    assert verdict(item, {"value": {"rows": [[0.1, 0.981, 99]]}, "compare": "accuracy"}) == "worse"
    with pytest.raises(KeyError, match="cannot compare"):
        verdict({"reported": {"accuracy": 0.9}}, {"value": {"accuracy": 0.9}, "compare": "acuracy"})
    assert scoreboard.judge({"better": "match", **item}, bad)[:2] == ("worse", "0.1 +0.001, 0.5 -0.07")


def test_difference_is_ours_minus_theirs():
    assert scoreboard.judge({"reported": 0.98, "better": "higher"}, {"value": 0.99})[1] == "+0.01"


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Write results of notebook 13 for some seeds; {seed: accuracy}."""
    monkeypatch.setattr(scoreboard, "results_dir", lambda profile, seed: tmp_path / f"seed{seed}")

    def write(**accuracies):
        for seed, accuracy in accuracies.items():
            folder = tmp_path / seed / "13_cnn"
            folder.mkdir(parents=True)
            content = {
                "seed": int(seed[4:]),
                "items": {"linma2472.num-cnn-accuracy-test": {"value": accuracy}},
                "figures": {
                    "linma2472.fig-07": {"file": "linma2472.fig-07.png", "alt": 'A "quoted" diagram | of layers'}
                },
            }
            (folder / "results.json").write_text(json.dumps(content))

    return write


def linma2472(table):
    """The line of this report in the table of coverage."""
    return next(line for line in scoreboard.markdown(table).splitlines() if line.startswith("| [linma2472]"))


def test_regenerated_is_the_share_of_items_that_a_notebook_has_recorded(runs):
    items = [item for item in reports()["item"] if item["report"] == "linma2472"]
    assert f"| {len(items)} | 0% |" in linma2472(scoreboard.rows())
    runs(seed0=0.99)
    assert f"| {len(items)} | {2 / len(items):.0%} | 1 | 0 | 0 | 0 | 1 | {len(items) - 2} |" in linma2472(
        scoreboard.rows()
    )
    everything = [row._replace(verdict="shown") for row in scoreboard.rows()]
    assert f"| {len(items)} | 100% |" in linma2472(everything)


def test_every_item_has_a_row_and_coverage_counts_them(runs):
    runs(seed0=0.99)
    table = scoreboard.rows()
    assert [row.item["id"] for row in table] == [item["id"] for item in reports()["item"]]
    counts = scoreboard.coverage(table)
    assert sum(c.total() for c in counts.values()) == len(table)
    assert counts["linma2472"]["better"] == 1
    assert counts["linma2472"]["shown"] == 1
    assert counts["cpsc453"] == {"not yet": counts["cpsc453"].total()}


def test_markdown(runs, tmp_path):
    runs(seed0=0.99)
    path = scoreboard.write()
    text = path.read_text()
    assert path == tmp_path / "seed0" / "scoreboard.md"
    assert 'alt="A &quot;quoted&quot; diagram \\| of layers"' in text
    assert 'src="13_cnn/linma2472.fig-07.png"' in text
    row = next(line for line in text.splitlines() if "`linma2472.num-cnn-accuracy-test`" in line)
    assert "0.9783 | 0.99 | +0.0117 | ▲ better" in row
    assert row.endswith("| full, seed 0 |")
    widths = {line.replace("\\|", "").count("|") for line in text.splitlines() if line.startswith("| `")}
    assert widths == {8}


def test_several_seeds_give_mean_and_interval(runs):
    runs(seed0=0.990, seed1=0.992, seed2=0.994)
    row = next(r for r in scoreboard.rows(seeds=[0, 1, 2]) if r.item["id"] == "linma2472.num-cnn-accuracy-test")
    assert row.ours == "0.992 (sd 0.002, 95 % ± 0.005, n = 3)"  # 4.30 · 0.002 / √3
    assert row.difference == "+0.0137"
    assert row.origin == "full, seed 0 1 2"


def test_a_seed_that_has_not_run_does_not_count(runs):
    runs(seed0=0.990, seed2=0.994)
    row = next(r for r in scoreboard.rows(seeds=[0, 1, 2]) if r.item["id"] == "linma2472.num-cnn-accuracy-test")
    assert row.ours.startswith("0.992 (sd")
    assert row.ours.endswith("n = 2)")
    assert row.origin == "full, seed 0 2"


def test_means_go_item_by_item_and_leave_what_differs_in_kind_as_in_the_first_seed():
    values = [
        {"a": 1.0, "rows": [["relu", 0.9], ["tanh", 0.7]], "best": "relu", "n": 3, "epochs": [1, 2], "ok": True},
        {"a": 2.0, "rows": [["relu", 0.8], ["tanh", 0.6]], "best": "tanh", "n": 3, "epochs": [1], "ok": False},
    ]
    mean = scoreboard._mean(values)
    assert mean["a"] == 1.5
    assert [row[1] for row in mean["rows"]] == pytest.approx([0.85, 0.65])
    assert [row[0] for row in mean["rows"]] == ["relu", "tanh"]
    assert (mean["best"], mean["n"], mean["epochs"], mean["ok"]) == ("relu", 3, [1, 2], True)
    assert isinstance(mean["n"], int), "a count that all seeds share stays a whole number"


def test_several_seeds_are_written_above_the_folders_of_the_seeds(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(scoreboard, "BUILD", tmp_path / "build")
    runs(seed0=0.990, seed1=0.992)
    path = scoreboard.write("full", [0, 1])
    assert path == tmp_path / "build/full/scoreboard-seeds.md"
    assert "n = 2)" in path.read_text()
    assert not (tmp_path / "seed0/scoreboard.md").exists()


def test_an_answer_is_shown_with_the_difference_of_its_value(runs, tmp_path):
    runs(seed0=0.99)
    path = tmp_path / "seed0/13_cnn/results.json"
    content = json.loads(path.read_text())
    content["items"]["linma2472.q-2.1"] = {"answer": "Two | convolutions", "note": "and a\nnote"}
    path.write_text(json.dumps(content))
    row = next(line for line in scoreboard.markdown(scoreboard.rows()).splitlines() if "`linma2472.q-2.1`" in line)
    assert "| Two \\| convolutions |" in row
    assert "● shown: and a note" in row


def test_a_long_list_of_differences_is_cut_to_those_that_differ():
    reported = {f"k{i}": 1.0 for i in range(20)}
    value = reported | {f"k{i}": 1.5 for i in range(10)}
    verdict, difference, _ = scoreboard.judge({"reported": reported, "better": "match"}, {"value": value})
    assert verdict == "worse"
    assert difference.split(", ")[0] == "k0 +0.5"
    assert difference.endswith("k7 +0.5, 20 compared, 10 differ")


def test_released_trainings_that_are_stale_are_named_with_what_changed(runs, tmp_path):
    runs(seed0=0.99)
    assert "Stale" not in scoreboard.markdown(scoreboard.rows())
    content = {"items": {}, "figures": {}, "stale": {"cnn-1.safetensors": "lib.models.cnn.CNN changed"}}
    (tmp_path / "seed0/13_cnn/timings.json").write_text(json.dumps(content))
    text = scoreboard.markdown(scoreboard.rows())
    assert "**Stale:** 1 released" in text
    assert "`cnn-1.safetensors`: lib.models.cnn.CNN changed" in text
