"""The search goes on where it stopped, never repeats a trial, prunes bad ones, and is shared by processes."""

import subprocess
import sys
from pathlib import Path

import pytest
from optuna.trial import TrialState

from lib.paths import ROOT
from lib.search import FINISHED, search

SPACE = {"a": list(range(8)), "b": list(range(8)), "c": [1, 2]}


def loss(report, a, b, c, steps=3):
    """Smallest at a = 2, b = 5."""
    value = (a - 2) ** 2 + (b - 5) ** 2
    for step in range(1, steps + 1):
        report(step, value + 1 / step)
    return value + c / 10


def counted(report, a, b, c, log, stop_at=None):
    with open(log, "a") as file:
        file.write(f"{a} {b} {c}\n")
    if len(lines(log)) == stop_at:
        raise KeyboardInterrupt
    return loss(report, a, b, c)


def lines(log):
    return Path(log).read_text().splitlines()


def finished(study):
    return [(t.params, t.value, t.state) for t in study.trials if t.state in FINISHED]


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_equal_seeds_give_equal_searches(sampler, monkeypatch, tmp_path):
    first = finished(search("a", loss, SPACE, trials=20, sampler=sampler, seed=1))
    monkeypatch.setenv("WORKBOOK_CACHE", str(tmp_path / "another"))
    assert finished(search("a", loss, SPACE, trials=20, sampler=sampler, seed=1)) == first
    assert finished(search("a", loss, SPACE, trials=20, sampler=sampler, seed=2)) != first
    assert len(first) == 20


def test_bad_trials_are_stopped_early():
    trials = search("a", loss, SPACE, trials=30).trials
    pruned = [t for t in trials if t.state == TrialState.PRUNED]
    assert pruned
    assert all(len(t.intermediate_values) < 3 for t in pruned)
    kept = [t.value for t in trials if t.state == TrialState.COMPLETE]
    assert min(t.intermediate_values[1] for t in pruned if t.intermediate_values) > min(kept)
    assert all(t.state == TrialState.COMPLETE for t in search("a", loss, SPACE, trials=30, sampler="random").trials)


def test_more_trials_go_on_from_the_finished_ones(tmp_path):
    log = str(tmp_path / "log")
    part = finished(search("a", counted, SPACE, trials=12, log=log))
    computed = lines(log)
    assert finished(search("a", counted, SPACE, trials=12, log=log)) == part
    assert lines(log) == computed  # nothing is computed for a study that is there
    more = finished(search("a", counted, SPACE, trials=25, log=log))
    assert more[:12] == part
    assert len(lines(log)) == len(set(lines(log)))  # no choice twice


def test_an_interrupted_search_ends_like_one_in_one_go(tmp_path):
    settings = {"trials": 20, "log": str(tmp_path / "log"), "stop_at": 13}
    with pytest.raises(KeyboardInterrupt):
        search("a", counted, SPACE, **settings)
    resumed = search("a", counted, SPACE, **settings)
    assert finished(resumed) == finished(search("b", loss, SPACE, trials=20))
    assert [t.state for t in resumed.trials].count(TrialState.FAIL) == 1


def test_two_processes_share_a_study(tmp_path, monkeypatch):
    monkeypatch.setenv("OPTUNA_STORAGE", f"sqlite:///{tmp_path / 'shared.db'}")
    code = (
        "import sys, time; sys.path.insert(0, 'tests')\n"
        "from lib.search import search\nfrom test_search import counted, SPACE\n"
        f"search('a', counted, SPACE, trials=16, sampler='random', log={str(tmp_path / 'log')!r})"
    )
    both = [subprocess.Popen([sys.executable, "-c", code], cwd=ROOT) for _ in range(2)]
    assert [process.wait(timeout=120) for process in both] == [0, 0]
    study = search("a", counted, SPACE, trials=16, sampler="random", log=str(tmp_path / "log"))
    assert 16 <= len(finished(study)) <= 17  # each may have begun one when the other finished the last


def test_code_and_settings_have_studies_of_their_own(tmp_path):
    first = search("a", loss, SPACE, trials=2)
    assert search("a", loss, SPACE, trials=2).study_name == first.study_name
    for other in (
        search("a", loss, SPACE, trials=2, steps=2),
        search("a", loss, SPACE | {"c": [1, 3]}, trials=2),
        search("a", loss, SPACE, trials=2, sampler="random"),
        search("a", loss, SPACE, trials=2, seed=1),
        search("a", counted, SPACE, trials=2, log=str(tmp_path / "log")),
    ):
        assert other.study_name != first.study_name


def test_unknown_sampler_and_storage_are_named(monkeypatch):
    with pytest.raises(ValueError, match='"tpe" or "random", got \'grid\''):
        search("a", loss, SPACE, trials=1, sampler="grid")
    monkeypatch.setenv("OPTUNA_STORAGE", "nonsense")
    with pytest.raises(ValueError, match=r"OPTUNA_STORAGE.*postgresql://"):
        search("a", loss, SPACE, trials=1)


def test_a_search_begins_with_the_choice_it_is_given(tmp_path):
    start = {"a": 7, "b": 0, "c": 2}
    for sampler in ("tpe", "random"):
        study = search("a", loss, SPACE, trials=3, first=start, sampler=sampler)
        assert study.trials[0].params == start
        assert len(search("a", loss, SPACE, trials=3, first=start, sampler=sampler).trials) == 3
    settings = {"trials": 3, "first": start, "log": str(tmp_path / "log"), "stop_at": 1}
    with pytest.raises(KeyboardInterrupt):
        search("a", counted, SPACE, **settings)
    assert finished(search("a", counted, SPACE, **settings))[0][0] == start
