"""Hyperparameter search: Optuna studies that are stored, resume after an interruption, and can be shared.

Studies are stored in a SQLite file beside the trained models, or in the database that OPTUNA_STORAGE names. With a
database, several processes and machines can share a study.
"""

import math
import os
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import optuna
from optuna.study import MaxTrialsCallback
from optuna.trial import TrialState
from sqlalchemy.exc import ArgumentError

from lib import progress
from lib.training.checkpoint import checkpoints
from workbook.cache import cached
from workbook.fingerprint import Edited, digest, fingerprint
from workbook.paths import cache_dir

Report = Callable[[int, float], None]
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
WARM_UP = 8  # random trials before TPE starts to model; the pruner waits for half as many
HEARTBEAT = 5  # seconds; after three missed heartbeats, another process takes over the trial


def search(
    name: str,
    evaluate: Callable[..., float],
    space: dict[str, list],
    *,
    trials: int,
    first: dict | None = None,
    sampler: str = "tpe",
    seed: int = 0,
    **settings: Any,
) -> optuna.Study:
    """Search ``space`` {parameter: candidates} for the choice with the lowest value.

    The value of a choice is ``evaluate(report, **choice, **settings)``. While it runs, ``evaluate`` calls
    ``report(step, value)``, which also ends a pruned trial.

    ``sampler`` is "tpe" or "random". "tpe" models what good trials have in common (Bergstra et al. 2011), and a pruner
    stops each trial that is not among the best quarter of the others at the same step. "random" does neither. ``first``
    is the choice of the first trial, for example what one would take without a search.

    Like a trained model, a study is identified by its code, settings and seed. The same search resumes where it
    stopped, until ``trials`` are finished; a choice that was finished before is not evaluated again. A finished study
    is cached and released like a trained model, unless it is shared through OPTUNA_STORAGE. Raises ValueError for an
    unknown sampler or an OPTUNA_STORAGE that cannot be opened.
    """
    if sampler not in ("tpe", "random"):
        raise ValueError(f'sampler must be "tpe" or "random", got {sampler!r}')
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    asked = dict(name=name, evaluate=evaluate, space=space, trials=trials, first=first, sampler=sampler, seed=seed)
    if os.environ.get("OPTUNA_STORAGE"):
        return _searched(**asked, settings=settings)
    found = cached(f"search-{name}", _kept, **asked, settings=settings)
    study = optuna.create_study(study_name=found["study"])
    kinds = {parameter: optuna.distributions.CategoricalDistribution(values) for parameter, values in space.items()}
    for trial in found["trials"]:
        trial["state"] = TrialState[trial["state"]]
        trial["intermediate_values"] = dict(trial["intermediate_values"])
        of = {parameter: kinds[parameter] for parameter in trial["params"]}
        study.add_trial(optuna.trial.create_trial(**trial, distributions=of))
    return study


def _kept(**asked: Any) -> dict[str, Any]:
    """A search as a measurement: the name of the study, and its trials."""
    study = _searched(**asked)
    trials = [
        {
            "state": trial.state.name,
            "params": trial.params,
            "value": trial.value,
            "intermediate_values": list(trial.intermediate_values.items()),
        }
        for trial in study.get_trials(deepcopy=False)
        if trial.state.is_finished()
    ]
    return {"study": study.study_name, "trials": trials}


def _searched(
    name: str,
    evaluate: Callable[..., float],
    space: dict[str, list],
    trials: int,
    first: dict | None,
    sampler: str,
    seed: int,
    settings: dict[str, Any],
) -> optuna.Study:
    """The study of a search after ``trials`` are finished."""
    study = _open(name, evaluate, [space, first, sampler, seed, settings])
    if first and all(t.state == TrialState.FAIL for t in study.get_trials(deepcopy=False)):
        study.enqueue_trial(first)

    def objective(trial: optuna.Trial) -> float:
        choice = {parameter: trial.suggest_categorical(parameter, values) for parameter, values in space.items()}
        for before in study.get_trials(deepcopy=False, states=FINISHED):
            if before.params == trial.params:
                if before.state == TrialState.PRUNED:
                    raise optuna.TrialPruned
                return before.value

        def report(step: int, value: float) -> None:
            trial.report(value, step)
            if trial.should_prune():
                raise optuna.TrialPruned

        # an interrupted trial starts again: the checkpoints of the whole search do not belong to one trial
        with checkpoints(cache_dir() / "none", every=math.inf):
            return evaluate(report, **choice, **settings)

    def prepare(study: optuna.Study, _: Any = None) -> None:
        taken = sum(t.state != TrialState.FAIL for t in study.get_trials(deepcopy=False))
        draw = seed * 1_000_003 + taken  # does not depend on which process drew the earlier trials
        if sampler == "tpe":
            study.sampler = optuna.samplers.TPESampler(seed=draw, n_startup_trials=WARM_UP)
            study.pruner = optuna.pruners.PercentilePruner(25.0, n_startup_trials=WARM_UP // 2)
        else:
            study.sampler, study.pruner = optuna.samplers.RandomSampler(seed=draw), optuna.pruners.NopPruner()

    def finished() -> int:
        return len(study.get_trials(deepcopy=False, states=FINISHED))

    if (done := finished()) < trials:
        enough = MaxTrialsCallback(trials, states=FINISHED)  # also counts the trials of other processes
        with progress.shown(f"search, {sampler}", trials, done, "trial") as advance:
            prepare(study)
            study.optimize(objective, callbacks=[enough, prepare, lambda *_: advance(finished())])
    return study


def _open(name: str, evaluate: Callable, about: list) -> optuna.Study:
    """The study for this code and these settings; a new one if there is none."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        sources: dict[str, str] = {}
        key = digest([fingerprint(evaluate, sources), fingerprint(about, sources), sources])
    except Edited as edited:
        print(f"{name}: {edited}; searching with the code as it was loaded, without keeping it", file=sys.stderr)
        return optuna.create_study()
    url = os.environ.get("OPTUNA_STORAGE")
    if not url:
        cache_dir().mkdir(parents=True, exist_ok=True)
        url = f"sqlite:///{cache_dir() / 'studies.sqlite3'}"
    for left in (4, 3, 2, 1, 0):
        try:
            storage = _storage(url)
            break
        except (ArgumentError, ImportError) as error:  # not an address, or the database's Python module is missing
            raise _unusable(error) from error
        except Exception as error:  # another process may be creating the tables right now
            if not left:
                raise _unusable(error) from error
            time.sleep(0.1 + os.getpid() % 10 / 20)  # different waits for different processes
    return optuna.create_study(storage=storage, study_name=f"{name}-{key[:16]}", load_if_exists=True)  # pyrefly: ignore


def _unusable(error: Exception) -> ValueError:
    reason = str(error).splitlines()[0]
    return ValueError(
        f"cannot open the study in OPTUNA_STORAGE ({reason}); expected a database address such as "
        "postgresql://user@host/name, or unset it to use a file here"
    )


def _storage(url: str) -> optuna.storages.RDBStorage:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.storages.RDBStorage(
            url,
            heartbeat_interval=HEARTBEAT,
            grace_period=3 * HEARTBEAT,
            heartbeat_stale_trial_callback=optuna.storages.RetryHeartbeatStaleTrialCallback(),
        )
