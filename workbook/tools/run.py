"""Run notebooks without a browser: ``figures`` runs all that are out of date, with Snakemake; ``notebook`` runs one.

python -m workbook.tools.run figures --profile full --seeds 0 --notebook all
python -m workbook.tools.run notebook 01_feedforward --profile smoke --seed 0
"""

import argparse
import difflib
import errno
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from lib.atomic import write_atomic
from workbook.paths import (
    BUILD,
    FIGURES,
    GALLERY,
    HOME,
    NOTEBOOKS,
    RELEASED,
    ROOT,
    cache_dir,
    executed_notebook,
    results_dir,
    shown,
)
from workbook.profiles import PROFILES
from workbook.records import RecordError, errata
from workbook.tools import chapter, kernel, machine
from workbook.tools.kernel import RunError

SCOREBOARD = "21_scoreboard"
NOT_OURS, FULL = (errno.EACCES, errno.EPERM, errno.EROFS), (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def notebooks() -> list[str]:
    """The names of all notebooks, in reading order."""
    return sorted(path.stem for path in NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))


def inputs(notebook: str, profile: str, seed: int) -> list[str]:
    """The files that a notebook's results depend on, as seen from HOME.

    The last run recorded which modules it loaded. Before the first run, all modules count.
    """
    code = _loaded(notebook, profile, seed)
    if code is None:
        code = [str(p.relative_to(ROOT)) for part in ("lib", "workbook") for p in (ROOT / part).rglob("*.py")]
        code = [file for file in code if not file.startswith("workbook/tools/")]
    others = [n for n in notebooks() if n != SCOREBOARD] if notebook == SCOREBOARD else []
    files = [ROOT / file for file in _with_files(notebook, code)]
    return [_from_home(file) for file in [*files, *(executed_notebook(n, profile, seed) for n in others)]]


def _from_home(path: Path) -> str:
    return str(path.relative_to(HOME) if path.is_relative_to(HOME) else path)


def _loaded(notebook: str, profile: str, seed: int) -> list[str] | None:
    """The modules that the last run loaded; None if they are not known, or if one of them no longer exists."""
    try:
        code = json.loads(executed_notebook(notebook, profile, seed).with_suffix(".inputs.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return code if all((ROOT / file).exists() for file in code) else None


def _with_files(notebook: str, code: list[str]) -> list[str]:
    """``code``, the notebook itself, and the files that they read."""
    files = [f"notebooks/{notebook}.ipynb", "data/reports.toml", *sorted(code)]
    if "workbook/scoreboard.py" in code:
        files.append("data/errata.toml")
    if "lib/plots.py" in code:
        files.append("lib/workbook.mplstyle")
    if "lib/data/single_cell.py" in code and (ROOT / "data/cells").is_dir():
        files.append("data/cells")  # the folder itself, because a file moved into it may have an old date
    return files


def _hashes(files: Iterable[str]) -> dict[str, str]:
    """{file: start of its sha256} of files as seen from HOME; folders, and what is missing, are left out."""
    paths = {file: HOME / file for file in files}
    return {name: hashlib.sha256(path.read_bytes()).hexdigest()[:16] for name, path in paths.items() if path.is_file()}


def _altered(notebook: str, profile: str, seed: int) -> list[str]:
    """Results that are no longer as the last run wrote them, and inputs that changed without a newer time.

    The times say too little after the clock was set, or when an older file was copied here. Results in the gallery are
    left to git, which knows whether they have changed.
    """
    executed, results = executed_notebook(notebook, profile, seed), results_dir(profile, seed) / notebook
    try:
        known = json.loads(executed.with_suffix(".hashes.json").read_text("utf-8"))
    except (OSError, ValueError):
        return []
    stamp = _stamp(profile, seed, notebook)

    def counts(path: Path) -> bool:
        return results != FIGURES / notebook if path.parent == results else path.stat().st_mtime_ns <= stamp

    files = [file for file in known if (HOME / file).is_file() and counts(HOME / file)]
    return [file for file, value in _hashes(files).items() if value != known[file]]


# --- one notebook ------------------------------------------------------------------------------------------------


def run_notebook(notebook: str, profile: str, seed: int) -> Path:
    """Execute one notebook and, only if it succeeds, replace its figures and results. Returns its executed copy.

    All files are written to a temporary folder first, and then moved into place. If the notebook fails, raises
    RunError, which names the notebook and the cell.
    """
    path = NOTEBOOKS / f"{notebook}.ipynb"
    parameters = {"profile": profile, "seed": seed}
    kernel.check_parameters(path, parameters)
    target, executed = results_dir(profile, seed) / notebook, executed_notebook(notebook, profile, seed)
    failed = executed.with_suffix(".failed.ipynb")
    start, began = time.monotonic(), time.time()
    BUILD.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".scratch-", dir=BUILD) as scratch, FileLock(Path(scratch) / ".lock"):
        out, copy = Path(scratch) / "figures", Path(scratch) / path.name
        out.mkdir()
        try:
            kernel.execute(path, copy, parameters, out)
        except kernel.papermill().PapermillExecutionError as error:
            write_atomic(failed, copy.read_bytes())
            raise RunError(
                f"{notebook}: cell [{error.exec_count}] under “{_heading(copy, error.exec_count)}” stopped with "
                f"{error.ename}: {error.evalue}\n  the outputs up to that cell: {shown(failed)}"
            ) from error
        if not all((out / f"{name}.json").exists() for name in ("results", "timings", "inputs")):
            raise RunError(f"{notebook} recorded no results: it must call open_book, record and check")
        chapter.write(copy, notebook, profile, seed, out, target)
        target.mkdir(parents=True, exist_ok=True)
        loaded = (out / "inputs.json").read_text("utf-8")
        (out / "inputs.json").unlink()
        produced = sorted(out.iterdir(), key=lambda file: file.suffix == ".json")  # the records last
        for file in produced:
            write_atomic(target / file.name, file.read_bytes())
        for old in target.iterdir():
            if old.name not in {file.name for file in produced}:
                old.unlink()
        edited = [file for file in _with_files(notebook, json.loads(loaded)) if _younger(ROOT / file, began)]
        if edited:  # without this file, ``due`` considers the run out of date
            executed.with_suffix(".inputs.json").unlink(missing_ok=True)
            print(f"{notebook}: {', '.join(edited)} changed during the run, so it will run again next time", flush=True)
        else:
            write_atomic(executed.with_suffix(".inputs.json"), loaded)
        files = [
            *(ROOT / file for file in _with_files(notebook, json.loads(loaded))),
            *(target / f.name for f in produced),
        ]
        write_atomic(executed.with_suffix(".hashes.json"), json.dumps(_hashes(map(_from_home, files))))
        write_atomic(executed, copy.read_bytes())
        failed.unlink(missing_ok=True)
    print(f"{notebook} ({profile}, seed {seed}): {time.monotonic() - start:.0f} s", flush=True)
    return executed


def _younger(path: Path, began: float) -> bool:
    try:
        return path.stat().st_mtime > began
    except OSError:  # the file was deleted
        return True


def _heading(path: Path, exec_count: int) -> str:
    """The last heading above the cell with this execution count."""
    heading = path.stem
    for cell in json.loads(path.read_text("utf-8"))["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown" and text.startswith("#") and "papermill-error" not in text:
            heading = text.splitlines()[0].lstrip("# ")
        if cell.get("execution_count") == exec_count:
            break
    return heading


# --- the graph ---------------------------------------------------------------------------------------------------


def run_figures(
    profile: str, seeds: list[int], notebook: str, jobs: int, threads: int, retrain: bool, executor: str = ""
) -> int:
    """Bring all notebooks, or one, up to date, and write the scoreboards; returns Snakemake's exit code.

    With an ``executor``, notebooks run as jobs of a cluster, as ``profiles/<executor>`` says, which also says how many
    at a time if ``jobs`` is 0. Raises RunError if Snakemake lacks its plugin.
    """
    from workbook import scoreboard

    if executor and not find_spec(f"snakemake_executor_plugin_{executor}"):
        install = f"{sys.executable} -m pip install -r profiles/requirements.txt"
        raise RunError(f"Snakemake has no plugin for the executor {executor}; to install it: {install}")

    errata()  # a mistake in data/*.toml is reported before anything runs
    if HOME != ROOT:
        print(f"runs and caches are in {HOME}", flush=True)
        if not FIGURES.exists():  # notebooks that do not run keep the results of the gallery
            for file in filter(Path.is_file, GALLERY.rglob("*")):
                write_atomic(FIGURES / file.relative_to(GALLERY), file.read_bytes())
    targets = notebooks() if notebook == "all" else [_named(notebook)]
    if retrain:
        os.environ["WORKBOOK_RETRAIN"] = "1"
    code = 0
    with _exclusive():
        _remove_leftovers()
        runs = due(profile, seeds, targets, retrain)
        before = [_stamp(profile, *run) for run in runs]
        if runs:
            total = len(seeds) * len(notebooks())
            work = f"{len(runs)} of {total} {'notebooks to run' if len(seeds) == 1 else 'runs to do'}"
            print(f"{work}, {executor or f'{jobs} at a time'}: {', '.join(_label(*run) for run in runs)}")
            if profile == "full":
                missing = missing_trainings(runs)
                print(announcement(missing))
                announced = " ".join(file for files in missing.values() for file in files)
                os.environ["WORKBOOK_ANNOUNCED"] = (
                    announced if len(announced) < 100_000 else "*"
                )  # Linux allows 128 KiB
            sys.stdout.flush()
            if not executor:  # a job of a cluster has its own
                os.environ |= kernel.slots(BUILD / ".slots", jobs, threads)
            command = [*_snakemake(profile, seeds, targets, retrain, jobs, threads, executor), "--quiet", "all"]
            code = _until_it_ends(command, threads, signal.SIGINT if executor else signal.SIGTERM)
        else:
            print("nothing to do: all notebooks are up to date")
        for seed in seeds:
            print(f"figures and scoreboard: {shown(scoreboard.write(profile, [seed]).parent)}/")
        if len(seeds) > 1:
            print(f"means over {len(seeds)} seeds: {shown(scoreboard.write(profile, seeds))}")
    if code:
        left = [_label(*run) for run, stamp in zip(runs, before, strict=True) if _stamp(profile, *run) in (0, stamp)]
        print(f"not finished: {', '.join(left) or 'Snakemake itself'}; their old figures are kept", file=sys.stderr)
        logs = ".snakemake/slurm_logs/" if executor == "slurm" else ".snakemake/log/"
        print(f"The reason is shown above, or in the newest file in {logs}.", file=sys.stderr)
    return code


def _until_it_ends(command: list[str], threads: int, stop: int = signal.SIGTERM) -> int:
    """Run Snakemake and all that it starts in a process group of their own; returns its exit code.

    Ctrl-C then reaches only this process, which ends the others in order, and raises KeyboardInterrupt. ``stop`` is the
    signal for that: at SIGTERM Snakemake waits for its jobs, at SIGINT it cancels those of a cluster.
    """
    group: list[int] = []
    received: list[int] = []

    def end(number: int, _: Any) -> None:
        if group and not received:
            received.append(number)
            os.killpg(group[0], stop)

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, end) for number in numbers if signal.getsignal(number) != signal.SIG_IGN}
    try:
        process = subprocess.Popen(
            command, cwd=ROOT, env=_environment(threads), process_group=0, preexec_fn=_heed_interrupts
        )
        group.append(process.pid)
        code = process.wait()
        if received:
            _wait_for_group(process.pid)
            raise KeyboardInterrupt
        return code
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _heed_interrupts() -> None:
    """Not every process does: what a shell script starts in the background ignores SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _wait_for_group(group: int, seconds: float = 2 * kernel.GRACE) -> None:
    """Wait until no process of this group is left, but not for long."""
    deadline = time.monotonic() + seconds
    with suppress(ProcessLookupError):
        while time.monotonic() < deadline:
            os.killpg(group, 0)
            time.sleep(0.05)


def _stamp(profile: str, seed: int, notebook: str) -> int:
    """The time when a notebook's executed copy was written; 0 if there is none."""
    path = executed_notebook(notebook, profile, seed)
    return path.stat().st_mtime_ns if path.exists() else 0


def due(profile: str, seeds: list[int], targets: list[str], retrain: bool = False) -> list[tuple[int, str]]:
    """(seed, notebook) of all runs that bring these notebooks up to date, in reading order.

    Snakemake compares times of files, but does not notice a missing figure or module, or a change that has no newer
    time. This function therefore deletes the executed copy of such a notebook first. Raises RunError if Snakemake
    cannot read the graph.
    """
    for seed in seeds:
        for name in notebooks():
            altered = _altered(name, profile, seed)
            if altered or not _published(results_dir(profile, seed) / name) or _loaded(name, profile, seed) is None:
                executed_notebook(name, profile, seed).unlink(missing_ok=True)
            if altered and name in targets:
                print(
                    f"{', '.join(altered)}: not as the last run of {_label(seed, name)} had it, so that it runs again"
                )
    _take_out_of_the_future({file for seed in seeds for name in targets for file in inputs(name, profile, seed)})
    command = [*_snakemake(profile, seeds, targets, retrain), "--dry-run"]
    done = subprocess.run(command, cwd=ROOT, env=_environment(), capture_output=True, encoding="utf-8")
    if done.returncode:
        for number in FULL:  # then Snakemake cannot store the graph either
            if f"[Errno {number}]" in done.stdout + done.stderr:
                raise OSError(number, os.strerror(number), str(HOME))
        raise RunError(f"Snakemake cannot read the graph of notebooks\n{done.stdout}{done.stderr}")
    found = re.findall(rf"output: build/{profile}/seed(\d+)/(\w+)\.ipynb", done.stdout)
    return sorted({(int(seed), name) for seed, name in found})


def _take_out_of_the_future(files: Iterable[str]) -> None:
    """Give files that were written while the clock was ahead the time of now: no output could be younger than they."""
    now = time.time()
    ahead = [path for path in (HOME / file for file in files) if path.exists() and path.stat().st_mtime > now]
    for path in ahead:
        os.utime(path)
    if ahead:
        print(f"{len(ahead)} files were from the future, as {shown(ahead[0])}; they have the time of now")


def _snakemake(
    profile: str,
    seeds: list[int],
    targets: list[str],
    retrain: bool,
    jobs: int = 1,
    threads: int = 1,
    executor: str = "",
) -> list[str]:
    """The command that brings these notebooks up to date."""
    wanted = [executed_notebook(name, profile, seed) for seed in seeds for name in targets]
    command = [sys.executable, "-m", "snakemake", *map(_from_home, wanted)]
    command += ["--snakefile", str(ROOT / "Snakefile"), "--directory", str(HOME)]
    command += ["--nolock", "--rerun-incomplete", "--rerun-triggers", "mtime", "--keep-going"]
    if executor:
        command += ["--profile", str(ROOT / "profiles" / executor), *(["--jobs", str(jobs)] if jobs else [])]
    else:
        command += ["--cores", str(jobs * threads)]
    command += ["--config", f"threads={threads}"]
    return [*command, "--forceall"] if retrain else command


def _environment(threads: int = 1) -> dict[str, str]:
    """The environment variables of the notebooks' processes."""
    first = {"PATH": Path(sys.executable).parent, "PYTHONPATH": ROOT}
    paths = {name: os.pathsep.join(filter(None, [str(own), os.environ.get(name)])) for name, own in first.items()}
    python = {"PYTHONHASHSEED": "0", "PYTHONUTF8": "1"}
    environment = {**os.environ, **kernel.caches(), **paths, **python, "WORKBOOK_THREADS": str(threads)}
    for name in ("OMP", "OPENBLAS", "MKL", "NUMBA"):
        environment[f"{name}_NUM_THREADS"] = str(threads)
    if threads > 1:
        environment["GOMP_SPINCOUNT"] = "10000"  # otherwise threads spin while another process holds their core
    return environment


def _label(seed: int, notebook: str) -> str:
    return f"{notebook} (seed {seed})" if seed else notebook


def missing_trainings(runs: list[tuple[int, str]]) -> dict[str, dict[str, float]]:
    """{run: {file: seconds}} of the models that these runs of profile full will train.

    These are the models that the notebooks used last time and that are missing now. What a changed notebook will
    request is not known before it runs; ``cache`` says so when it trains a model that is not among these.
    """
    here = {file.name for file in cache_dir().glob("*.safetensors")}
    if RELEASED.exists() and not os.environ.get("WORKBOOK_RETRAIN"):
        here |= {file.name for file in RELEASED.iterdir()}
        manifest = RELEASED / "manifest.json"
        entries = json.loads(manifest.read_text("utf-8"))["trainings"] if manifest.exists() else {}
        here |= {file for file, entry in entries.items() if entry.get("file") in here}  # the adopted ones
    found = {}
    for seed, name in runs:
        used = _used(results_dir("full", seed) / name)
        if used is None and seed:  # never run with this seed: all models of the gallery, under names that are not known
            used = {f"* seed {seed}: {file}": spent for file, spent in (_used(FIGURES / name) or {}).items()}
        absent = {file: spent for file, spent in (used or {}).items() if file not in here}
        found |= {_label(seed, name): absent} if absent else {}
    return found


def announcement(missing: dict[str, dict[str, float]]) -> str:
    """A sentence on the models that will be trained, and about how long that takes."""
    seconds = {file: spent for files in missing.values() for file, spent in files.items()}
    if not seconds:
        return "according to the last results, no model has to be trained"
    listed = ", ".join(f"{name} {len(files)}" for name, files in missing.items())
    models = f"{len(seconds)} models" if len(seconds) > 1 else "1 model"
    return f"{models} to train, about {sum(seconds.values()) / 60:.0f} min on one core: {listed}"


def _used(folder: Path) -> dict[str, float] | None:
    """{file: seconds} of the models behind these results; None if there are no results."""
    try:
        return json.loads((folder / "timings.json").read_text("utf-8")).get("trainings", {})
    except (OSError, ValueError):
        return None


def _remove_leftovers() -> None:
    """Delete the scratch folders of killed runs, whose locks nobody holds."""
    for folder in BUILD.glob(".scratch-*"):
        try:
            with FileLock(folder / ".lock", timeout=0):
                shutil.rmtree(folder, ignore_errors=True)
        except (Timeout, PermissionError):  # still running, or another user's
            pass


def _named(notebook: str) -> str:
    """The full name of a notebook, given its name, its number or its file."""
    name = Path(notebook).name.removesuffix(".ipynb")
    there = notebooks()
    for candidate in there:
        if name in (candidate, candidate[:2]):
            return candidate
    near = difflib.get_close_matches(name, there, n=1, cutoff=0.4)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise RunError(f"there is no notebook {notebook!r}.{hint} The notebooks are: {', '.join(there)}")


def _published(folder: Path) -> bool:
    """Whether a folder has its chapter, its records, and all the figures that the records name."""
    try:
        records = [json.loads((folder / f"{name}.json").read_text("utf-8")) for name in ("results", "timings")]
    except (OSError, ValueError):
        return False
    figures = [figure["file"] for record in records for figure in record["figures"].values()]
    return all((folder / file).exists() for file in ["README.md", *figures])


@contextmanager
def _exclusive() -> Iterator[None]:
    """Hold the run lock of this checkout, which the system releases when the process ends."""
    BUILD.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(BUILD / ".run.lock", timeout=0, mode=0o666):  # users who share a checkout share its lock
            yield
    except Timeout:
        raise RunError("another run is in progress in this checkout; wait until it has finished") from None


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"a seed is a whole number, 0 or more, not {text!r}")
    return int(text)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number, 1 or more, not {text!r}")
    return int(text)


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m workbook.tools.run", description="Run notebooks without a browser."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    figures = commands.add_parser("figures", help="all notebooks, or one")
    figures.add_argument("--seeds", type=_seed, nargs="+", default=[0])
    figures.add_argument("--notebook", default="all", help="name or number, or all")
    figures.add_argument("--jobs", type=_positive, help="notebooks at a time (default: as many as fit)")
    figures.add_argument("--threads", type=_positive, default=1, help="threads per notebook; changes the last digits")
    figures.add_argument("--retrain", action="store_true", help="ignore released models; train into a separate cache")
    clusters = sorted(path.parent.name for path in ROOT.glob("profiles/*/config.yaml"))
    figures.add_argument("--executor", choices=clusters, default="", help="run the notebooks as jobs of this cluster")
    single = commands.add_parser("notebook", help="one notebook, even if it is up to date")
    single.add_argument("notebook")
    single.add_argument("--seed", type=_seed, default=0)
    for command in (figures, single):
        command.add_argument("--profile", choices=PROFILES, default="full")
    arguments = parser.parse_args()
    try:
        if arguments.command == "figures":
            threads, executor = arguments.threads, arguments.executor
            jobs = arguments.jobs or (0 if executor else machine.whole_machine(threads))
            asked = sorted(set(arguments.seeds)), arguments.notebook, jobs, threads, arguments.retrain, executor
            return run_figures(arguments.profile, *asked)
        run_notebook(_named(arguments.notebook), arguments.profile, arguments.seed)
        return 0
    except (RunError, RecordError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        if error.errno not in (*NOT_OURS, *FULL):
            raise
        what = "for a folder of your own" if error.errno in NOT_OURS else "free some space, or for a folder elsewhere"
        place = f"{error.filename or HOME} cannot be written ({error.strerror})"
        print(f"error: {place}; {what}: export WORKBOOK_HOME=~/workbook", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; finished notebooks and models are kept", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
