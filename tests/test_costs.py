"""The simulation behind docs/costs.md, on graphs whose schedule is known."""

import re

import pytest

from benchmarks import costs
from workbook.paths import ROOT
from workbook.tools.run import notebooks


@pytest.mark.parametrize(("cores", "seconds"), [(1, 10), (2, 6), (3, 6)])
def test_a_free_core_takes_the_ready_job_with_the_most_behind_it(cores, seconds):
    jobs = {"short": (1.0, []), "other": (3.0, []), "long": (4.0, []), "after": (2.0, ["short", "long"])}
    assert costs.tails(jobs) == {"short": 3, "other": 3, "long": 6, "after": 2}
    assert costs.makespan(jobs, cores) == seconds


def test_a_job_waits_for_all_that_it_needs_whichever_ends_last():
    jobs = {"a": (5.0, []), "b": (1.0, []), "c": (1.0, ["a", "b"]), "d": (1.0, ["b"])}
    assert costs.makespan(jobs, 8) == 6


def test_a_shared_model_is_trained_once_and_the_scoreboard_comes_last(monkeypatch):
    models = {"01_a": {"m": 10.0, "n": 2.0}, "02_b": {"m": 10.0}, costs.SCOREBOARD: {}}
    monkeypatch.setattr(costs, "notebooks", lambda: list(models))
    monkeypatch.setattr(costs, "trainings", models.__getitem__)
    monkeypatch.setattr(costs, "measured", lambda name, profile: {"s": 1.0, "mb": 1.0})
    for apart, at_least in ((False, 14), (True, 12)):
        jobs = costs.graph(1, apart)
        assert sum(seconds for seconds, _ in jobs.values()) == 15
        assert costs.makespan(jobs, 8) == at_least
        assert list(jobs)[-1] == f"0 {costs.SCOREBOARD}"


def test_a_round_waits_for_those_before_and_what_was_not_run_is_a_chain(monkeypatch, tmp_path):
    models = {"m-1": 4.0, "m-2": 2.0, "m-3": 2.0, "n-1": 3.0, "new-1": 1.0}
    (tmp_path / "ahead.json").write_text('{"01_a": {"m": [0, 1], "n": [2], "in vain": []}}', "utf-8")
    monkeypatch.setattr(costs.ahead, "FILE", tmp_path / "ahead.json")
    monkeypatch.setattr(costs, "trainings", lambda name: models)
    monkeypatch.setattr(costs, "measured", lambda name, profile: {"s": 1.0, "mb": 1.0})
    costs.rounds.cache_clear()
    assert costs.rounds("01_a") == {"m-1": 0, "m-2": 0, "m-3": 1, "n-1": 2, "new-1": 0}
    assert costs.makespan(costs.graph(1, True, True, "01_a"), 8) == 4 + 2 + 3 + 1
    assert costs.makespan(costs.graph(1, True, True, "02_b"), 8) == sum(models.values()) + 1
    costs.rounds.cache_clear()


def test_as_asked_a_core_takes_what_was_ready_first():
    jobs = {"a": (1.0, []), "b": (1.0, []), "c": (9.0, ["a"]), "d": (1.0, [])}
    assert costs.makespan(jobs, 1, lot=0) == 12
    assert costs.makespan(jobs, 2) == 10
    assert costs.makespan(jobs, 2, lot=0) in (10, 11)


def test_a_training_inside_another_counts_once(monkeypatch, tmp_path):
    monkeypatch.setattr(costs, "FIGURES", tmp_path)
    monkeypatch.setattr(costs, "NESTED", {"outer": "inner"})
    (tmp_path / "01_a").mkdir()
    spent = '{"trainings": {"inner-1": 3, "outer-1": 4, "outer-2": 0, "other-1": 5}}'
    (tmp_path / "01_a/timings.json").write_text(spent, "utf-8")
    assert costs.trainings.__wrapped__("01_a") == {"inner-1": 3, "outer-1": 1.0, "outer-2": 0.0, "other-1": 5}


def test_the_document_has_a_row_for_every_notebook():
    text = (ROOT / "docs/costs.md").read_text("utf-8")
    table = text.partition("## Critical path")[0]
    assert re.findall(r"^\| (\d\d_\w+) \|", table, flags=re.M) == notebooks()
