"""The search goes on where it stopped, never computes a choice twice, stops bad trials, and is shared by processes."""

import os
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
import sqlalchemy
import torch
from optuna.trial import TrialState

from lib.training import checkpoint
from lib.training.loop import Learner, fit
from workbook.paths import ROOT, cache_dir
from workbook.search import FINISHED, WARM_UP, search


@sqlalchemy.event.listens_for(sqlalchemy.Engine, "connect")
def _without_waiting_for_the_disk(connection, _):
    connection.execute("PRAGMA synchronous=OFF")


SPACE = {"a": list(range(8)), "b": list(range(8)), "c": [1, 2]}


def loss(report, a, b, c, steps=3):
    """Smallest at a = 2, b = 5."""
    value = (a - 2) ** 2 + (b - 5) ** 2
    for step in range(1, steps + 1):
        report(step, value + 1 / step)
    return value + c / 10


def counted(report, a, b, c, log, stop_at=None):
    with open(log, "a", encoding="utf-8") as file:
        file.write(f"{a} {b} {c}\n")
    if len(lines(log)) == stop_at:
        raise KeyboardInterrupt
    return loss(report, a, b, c)


def lines(log):
    return Path(log).read_text("utf-8").splitlines()


def finished(study):
    return [(t.params, t.value, t.state) for t in study.trials if t.state in FINISHED]


def test_searches_of_neighbouring_seeds_share_no_draws():
    """The draw of a trial is not told by the sum of the seed and the number of the trial."""
    first, second = (
        [trial.params for trial in search("a", loss, SPACE, trials=6, sampler="random", seed=seed).trials]
        for seed in (0, 1)
    )
    assert len([one for one in first if one in second]) < 2


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_equal_seeds_give_equal_searches(sampler, monkeypatch, tmp_path):
    first = finished(search("a", loss, SPACE, trials=9, sampler=sampler, seed=1))
    monkeypatch.setenv("WORKBOOK_CACHE", str(tmp_path / "another"))
    assert finished(search("a", loss, SPACE, trials=9, sampler=sampler, seed=1)) == first
    assert finished(search("a", loss, SPACE, trials=9, sampler=sampler, seed=2)) != first
    assert len(first) == 9


def test_bad_trials_are_stopped_early():
    trials = search("a", loss, SPACE, trials=16).trials
    pruned = [t for t in trials if t.state == TrialState.PRUNED]
    assert pruned
    assert all(len(t.intermediate_values) < 3 for t in pruned)
    kept = [t.value for t in trials if t.state == TrialState.COMPLETE]
    assert min(t.intermediate_values[1] for t in pruned if t.intermediate_values) > min(kept)


def test_a_random_search_stops_no_trial():
    trials = search("a", loss, SPACE, trials=12, sampler="random").trials
    assert all(t.state == TrialState.COMPLETE for t in trials)


def test_after_a_warm_up_a_model_chooses():
    drawn, modelled = (
        [params for params, *_ in finished(search("a", loss, SPACE, trials=11, sampler=sampler))]
        for sampler in ("random", "tpe")
    )
    assert modelled[:WARM_UP] == drawn[:WARM_UP]
    assert modelled[WARM_UP:] != drawn[WARM_UP:]


def test_more_trials_go_on_from_the_finished_ones(tmp_path):
    log = str(tmp_path / "log")
    part = finished(search("a", counted, SPACE, trials=9, log=log))
    computed = lines(log)
    assert finished(search("a", counted, SPACE, trials=9, log=log)) == part
    assert lines(log) == computed  # nothing is computed for a study that is there
    more = finished(search("a", counted, SPACE, trials=14, log=log))
    assert more[:9] == part
    assert len(more) == 14
    assert len(search("a", counted, SPACE, trials=5, log=log).trials) == 14


def test_no_choice_is_computed_twice(tmp_path):
    log, few = str(tmp_path / "log"), {"a": [1, 2], "b": [5], "c": [1, 2]}
    study = search("a", counted, few, trials=10, log=log, sampler="random")
    assert len(finished(study)) == 10
    assert len(lines(log)) == len(set(lines(log))) <= 4


def test_an_interrupted_search_ends_like_one_in_one_go(tmp_path):
    settings = {"trials": 11, "log": str(tmp_path / "log"), "stop_at": 8}
    with pytest.raises(KeyboardInterrupt):
        search("a", counted, SPACE, **settings)
    resumed = search("a", counted, SPACE, **settings)
    assert finished(resumed) == finished(search("b", loss, SPACE, trials=11))
    assert [t.state for t in resumed.trials].count(TrialState.FAIL) == 1


def test_processes_share_a_study(tmp_path, monkeypatch):
    """Both make its tables at the same moment."""
    monkeypatch.setenv("OPTUNA_STORAGE", f"sqlite:///{tmp_path / 'shared.db'}")
    log = str(tmp_path / "log")
    code = (
        "from workbook.search import search\nfrom test_search import counted, SPACE\n"
        f"search('a', counted, SPACE, trials=8, sampler='random', log={log!r})"
    )
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests/workbook'}"}
    running = [subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=environment) for _ in range(2)]
    assert [process.wait(timeout=240) for process in running] == [0, 0]
    study = search("a", counted, SPACE, trials=8, sampler="random", log=log)
    assert 8 <= len(finished(study)) <= 9  # each may have begun one when another finished the last


def fitted(report, a, b, c, log, stop_at=None):
    """Two steps of a training, after each of which a checkpoint may be written."""
    network = torch.nn.Linear(1, 1)
    learner = Learner(network, 0.1)

    def step(index):
        with open(log, "a", encoding="utf-8") as file:
            file.write(f"{a} {b} {c}\n")
        if len(lines(log)) == stop_at:
            raise KeyboardInterrupt
        error = network(torch.ones(len(index), 1)).square().mean()
        learner.descend(error)
        return {"error": error}

    fit(step, 2, epochs=1, batch_size=1, parts={"network": network, "learner": learner})
    return float(a + b + c)


def test_an_interrupted_trial_begins_anew(tmp_path, monkeypatch):
    """It does not go on from the checkpoint of another one."""
    monkeypatch.setattr(checkpoint, "EVERY", 0.0)
    settings = {"trials": 3, "log": str(tmp_path / "log"), "stop_at": 4, "sampler": "random"}
    with pytest.raises(KeyboardInterrupt):
        search("a", fitted, SPACE, **settings)
    search("a", fitted, SPACE, **settings)
    first, second, third, *_ = dict.fromkeys(lines(settings["log"]))
    assert lines(settings["log"]) == [first] * 2 + [second] * 2 + [second] * 2 + [third] * 2


def test_a_finished_search_is_kept_like_a_training(tmp_path):
    log = str(tmp_path / "log")
    first = search("a", counted, SPACE, trials=9, log=log, seed=4)
    computed = lines(log)
    (cache_dir() / "studies.sqlite3").unlink()
    found = search("a", counted, SPACE, trials=9, log=log, seed=4)
    assert lines(log) == computed
    assert len(list(cache_dir().glob("search-a-*.safetensors"))) == 1
    assert not (cache_dir() / "studies.sqlite3").exists()
    assert found.study_name == first.study_name
    assert found.best_params == first.best_params
    assert [(*t, s.intermediate_values) for t, s in zip(finished(found), found.trials, strict=True)] == [
        (*t, s.intermediate_values) for t, s in zip(finished(first), first.trials, strict=True)
    ]
    assert TrialState.PRUNED in {trial.state for trial in found.trials}


def test_a_search_in_a_shared_database_is_not_kept_elsewhere(tmp_path, monkeypatch):
    monkeypatch.setenv("OPTUNA_STORAGE", f"sqlite:///{tmp_path / 'shared.db'}")
    assert len(search("a", loss, SPACE, trials=1).trials) == 1
    assert not list(cache_dir().glob("*"))


def test_code_and_settings_have_studies_of_their_own(tmp_path):
    first = search("a", loss, SPACE, trials=0)
    assert search("a", loss, SPACE, trials=0).study_name == first.study_name
    for other in (
        search("a", loss, SPACE, trials=0, steps=2),
        search("a", loss, SPACE | {"c": [1, 3]}, trials=0),
        search("a", loss, SPACE, trials=0, sampler="random"),
        search("a", loss, SPACE, trials=0, seed=1),
        search("a", loss, SPACE, trials=0, first={"a": 1, "b": 1, "c": 1}),
        search("a", counted, SPACE, trials=0, log=str(tmp_path / "log")),
    ):
        assert other.study_name != first.study_name


def test_unknown_sampler_and_storage_are_named(monkeypatch):
    with pytest.raises(ValueError, match='"tpe" or "random", got \'grid\''):
        search("a", loss, SPACE, trials=1, sampler="grid")
    monkeypatch.setenv("OPTUNA_STORAGE", "nonsense")
    with pytest.raises(ValueError, match=r"OPTUNA_STORAGE.*postgresql://"):
        search("a", loss, SPACE, trials=1)


def test_a_database_that_stays_closed_is_named_after_some_attempts(monkeypatch):
    waits = []
    monkeypatch.setattr("workbook.search.time.sleep", waits.append)
    monkeypatch.setenv("OPTUNA_STORAGE", "sqlite:////no/such/folder/studies.db")
    with pytest.raises(ValueError, match=r"cannot open the study in OPTUNA_STORAGE .*unable to open database file"):
        search("a", loss, SPACE, trials=1)
    assert len(waits) == 4


def test_a_search_begins_with_the_choice_it_is_given(tmp_path):
    start = {"a": 6, "b": 1, "c": 1}
    assert search("a", loss, SPACE, trials=1).trials[0].params != start
    for sampler in ("tpe", "random"):
        study = search("a", loss, SPACE, trials=2, first=start, sampler=sampler)
        assert study.trials[0].params == start
        assert len(search("a", loss, SPACE, trials=2, first=start, sampler=sampler).trials) == 2
    settings = {"trials": 2, "first": start, "log": str(tmp_path / "log"), "stop_at": 1}
    with pytest.raises(KeyboardInterrupt):
        search("a", counted, SPACE, **settings)
    assert finished(search("a", counted, SPACE, **settings))[0][0] == start


def test_code_edited_after_loading_is_searched_with_but_not_kept(monkeypatch, capsys):
    monkeypatch.setattr("workbook.fingerprint.STARTED", 0.0)  # every file is younger than this
    study = search("a", loss, SPACE, trials=2)
    assert len(study.trials) == 2
    assert isinstance(study._storage, optuna.storages.InMemoryStorage)
    assert not (cache_dir() / "studies.sqlite3").exists()
    assert "test_search.py was edited after this process loaded it" in capsys.readouterr().err


def test_a_process_is_taken_for_dead_only_after_it_missed_several_heartbeats(tmp_path):
    from workbook.search import _storage

    storage = _storage(f"sqlite:///{tmp_path / 'a.db'}")
    assert storage.heartbeat_interval < storage.grace_period / 2
