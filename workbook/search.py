"""Hyperparameter search: an Optuna study that is kept, goes on after an interruption, and can be shared.

Studies lie in a SQLite file beside the trained models, or in the database that OPTUNA_STORAGE names: then several
processes and machines work on the same one.
"""

import os
import sys
import warnings
from collections.abc import Callable

import optuna
from optuna.trial import TrialState

from lib import progress
from workbook.fingerprint import Edited, digest, fingerprint
from workbook.paths import cache_dir

Report = Callable[[int, float], None]
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
WARM_UP = 8  # trials that are drawn at random before TPE models them; the pruner waits for half as many
HEARTBEAT = 5  # seconds; a trial whose process has been silent for three times as long is given to another


def search(
    name: str,
    evaluate: Callable[..., float],
    space: dict[str, list],
    *,
    trials: int,
    first: dict | None = None,
    sampler: str = "tpe",
    seed: int = 0,
    **settings: object,
) -> optuna.Study:
    """Look for the choice from ``space`` {parameter: candidates} with the lowest value.

    The value of a choice is ``evaluate(report, **choice, **settings)``, which calls ``report(step, value)`` as it goes
    on; that call ends a pruned trial.

    ``sampler`` is "tpe", a model of what good trials have in common (Bergstra et al. 2011), with a pruner that stops a
    trial when it is not among the best quarter of the others at the same step; or "random", which does neither.
    ``first`` is a choice to begin with, what one would take without a search.

    A study belongs to its code, settings and seed, as a trained model does: the same search is taken from where it was
    left, until ``trials`` are finished, and a choice that was finished before is not computed again. Raises ValueError
    for an unknown sampler or an OPTUNA_STORAGE that cannot be opened.
    """
    if sampler not in ("tpe", "random"):
        raise ValueError(f'sampler must be "tpe" or "random", got {sampler!r}')
    study = _open(name, evaluate, [space, first, sampler, seed, settings])
    if first and all(t.state == TrialState.FAIL for t in study.get_trials(deepcopy=False)):
        study.enqueue_trial(first)
    left = trials - len(study.get_trials(deepcopy=False, states=FINISHED))

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

        return evaluate(report, **choice, **settings)

    for _ in progress.counted(max(left, 0), f"search, {sampler}", "trial"):
        taken = [t for t in study.get_trials(deepcopy=False) if t.state != TrialState.FAIL]
        if sum(t.state in FINISHED for t in taken) >= trials:
            break  # others have finished the rest
        draw = seed * 1_000_003 + len(taken)  # the same whether the trials before were drawn now or in another process
        if sampler == "tpe":
            study.sampler = optuna.samplers.TPESampler(seed=draw, n_startup_trials=WARM_UP)
            study.pruner = optuna.pruners.PercentilePruner(25.0, n_startup_trials=WARM_UP // 2)
        else:
            study.sampler, study.pruner = optuna.samplers.RandomSampler(seed=draw), optuna.pruners.NopPruner()
        study.optimize(objective, n_trials=1)
    return study


def _open(name: str, evaluate: Callable, about: list) -> optuna.Study:
    """The study of this code on these settings, empty if there is none."""
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
    try:
        storage = _storage(url)
    except Exception:  # of SQLAlchemy, of a database's own module, or of a missing one
        try:
            storage = _storage(url)  # another process may have made the tables at the same moment
        except Exception as error:
            reason = str(error).splitlines()[0]
            raise ValueError(
                f"cannot open the study in OPTUNA_STORAGE ({reason}); expected a database address such as "
                "postgresql://user@host/name, or unset it to use a file here"
            ) from error
    return optuna.create_study(storage=storage, study_name=f"{name}-{key[:16]}", load_if_exists=True)


def _storage(url: str) -> optuna.storages.RDBStorage:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.storages.RDBStorage(
            url,
            heartbeat_interval=HEARTBEAT,
            grace_period=3 * HEARTBEAT,
            heartbeat_stale_trial_callback=optuna.storages.RetryHeartbeatStaleTrialCallback(),
        )
