"""Run notebooks headless: ``figures`` for the whole graph through Snakemake, ``notebook`` for a single one.

python -m workbook.tools.run figures --profile full --seeds 0 --notebook all
python -m workbook.tools.run notebook 01_feedforward --profile smoke --seed 0
"""

import argparse
import difflib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lib.atomic import write_atomic
from workbook.paths import BUILD, FIGURES, NOTEBOOKS, RELEASED, ROOT, cache_dir, executed_notebook, results_dir
from workbook.profiles import PROFILES

SCOREBOARD = "21_scoreboard"
MEMORY_PER_JOB = 3 * 2**30  # bytes; what the largest notebooks need


class RunError(RuntimeError):
    """A run that cannot start, or failed; the message is for the user."""


def notebooks() -> list[str]:
    """Names of all notebooks in reading order."""
    return sorted(path.stem for path in NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))


def inputs(notebook: str, profile: str, seed: int) -> list[str]:
    """Files on which a notebook's results depend, relative to the checkout.

    After a run they are known: itself, and the modules that it loaded. Before the first, it is all of them.
    """
    code = _known_inputs(notebook, profile, seed)
    if code is None:
        code = [str(p.relative_to(ROOT)) for part in ("lib", "workbook") for p in (ROOT / part).rglob("*.py")]
        code = [file for file in code if not file.startswith("workbook/tools/")]
    if "lib/plots.py" in code:
        code.append("lib/workbook.mplstyle")
    own = [f"notebooks/{notebook}.ipynb", "data/reports.toml"]
    results = [n for n in notebooks() if n != SCOREBOARD] if notebook == SCOREBOARD else []
    return [*own, *sorted(code), *(str(executed_notebook(n, profile, seed).relative_to(ROOT)) for n in results)]


def _known_inputs(notebook: str, profile: str, seed: int) -> list[str] | None:
    """The modules that the last run loaded; None if there was none, or one of them has gone."""
    try:
        code = json.loads(executed_notebook(notebook, profile, seed).with_suffix(".inputs.json").read_text())
    except (OSError, ValueError):
        return None
    return code if all((ROOT / file).exists() for file in code) else None


# --- one notebook ------------------------------------------------------------------------------------------------


def check_parameters(path: Path, parameters: dict[str, object]) -> None:
    """Raise RunError unless the notebook's parameters cell defines exactly these names.

    papermill itself only warns about unknown names, and runs with the defaults.
    """
    import papermill

    known = papermill.inspect_notebook(str(path))
    if unknown := [name for name in parameters if name not in known]:
        near = difflib.get_close_matches(unknown[0], known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise RunError(f"{path.name} has no parameter {unknown[0]!r}{hint} (it has {', '.join(known) or 'none'})")
    if missing := [name for name in ("profile", "seed") if name not in known]:
        raise RunError(f"{path.name}: the cell tagged 'parameters' must define {' and '.join(missing)}")


def execute(path: Path, copy: Path, parameters: dict[str, object]) -> None:
    """Execute a notebook with papermill and write the executed copy, however far it came."""
    import papermill
    from traitlets.config import Config

    with tempfile.TemporaryDirectory(prefix="wb-") as sockets:  # paths of sockets must be short
        papermill.execute_notebook(
            str(path),
            str(copy),
            parameters=parameters,
            kernel_name="python3",
            cwd=str(ROOT),
            progress_bar=False,
            stderr_file=sys.stderr,
            # files instead of TCP ports: no other user can connect, and parallel runs cannot collide
            config=Config(KernelManager={"transport": "ipc", "ip": f"{sockets}/kernel"}),
        )


def run_notebook(notebook: str, profile: str, seed: int) -> Path:
    """Execute one notebook and, only if it succeeds, replace its figures and results. Returns its executed copy.

    Everything is written to a temporary folder first, and each file is renamed into place.
    Raises RunError that names the notebook and the cell.
    """
    import papermill
    from filelock import FileLock

    path = NOTEBOOKS / f"{notebook}.ipynb"
    parameters = {"profile": profile, "seed": seed}
    check_parameters(path, parameters)
    target, executed = results_dir(profile, seed) / notebook, executed_notebook(notebook, profile, seed)
    failed = executed.with_suffix(".failed.ipynb")
    start = time.monotonic()
    BUILD.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".scratch-", dir=BUILD) as scratch, FileLock(Path(scratch) / ".lock"):
        out, copy = Path(scratch) / "figures", Path(scratch) / path.name
        out.mkdir()
        os.environ["WORKBOOK_OUT"] = str(out)
        try:
            execute(path, copy, parameters)
        except papermill.PapermillExecutionError as error:
            write_atomic(failed, copy.read_bytes())
            raise RunError(
                f"{notebook}: cell [{error.exec_count}] under “{_heading(copy, error.exec_count)}” stopped with "
                f"{error.ename}: {error.evalue}\n  the notebook as far as it came: {failed.relative_to(ROOT)}"
            ) from error
        except RuntimeError as error:  # nbclient's DeadKernelError, or a kernel that never answered
            raise RunError(f"{notebook}: its kernel died ({error}); the machine may be short of memory") from error
        finally:
            del os.environ["WORKBOOK_OUT"]
        if not (out / "results.json").exists():
            raise RunError(f"{notebook} recorded no results: it must call open_book, record and check")
        target.mkdir(parents=True, exist_ok=True)
        loaded = (out / "inputs.json").read_text()
        (out / "inputs.json").unlink()
        produced = sorted(out.iterdir(), key=lambda file: file.suffix == ".json")  # the records last
        for file in produced:
            write_atomic(target / file.name, file.read_bytes())
        for old in target.iterdir():
            if old.name not in {file.name for file in produced}:
                old.unlink()
        write_atomic(executed.with_suffix(".inputs.json"), loaded)
        write_atomic(executed, copy.read_bytes())
        failed.unlink(missing_ok=True)
    print(f"{notebook} ({profile}, seed {seed}): {time.monotonic() - start:.0f} s", flush=True)
    return executed


def _heading(path: Path, exec_count: int) -> str:
    """The last heading above the cell with this execution count."""
    heading = path.stem
    for cell in json.loads(path.read_text())["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown" and text.startswith("#") and "papermill-error" not in text:
            heading = text.splitlines()[0].lstrip("# ")
        if cell.get("execution_count") == exec_count:
            break
    return heading


# --- the graph ---------------------------------------------------------------------------------------------------


def run_figures(profile: str, seeds: list[int], notebook: str, jobs: int, threads: int, retrain: bool) -> int:
    """Bring every notebook, or one, up to date; returns Snakemake's exit code."""
    targets = notebooks() if notebook == "all" else [_named(notebook)]
    wanted = [executed_notebook(n, profile, seed) for seed in seeds for n in targets]
    environment = _environment(threads, retrain)
    with _exclusive():
        for name, seed in [(n, seed) for seed in seeds for n in notebooks()]:
            if not _published(results_dir(profile, seed) / name):
                executed_notebook(name, profile, seed).unlink(missing_ok=True)  # a figure was deleted: run again
        _remove_leftovers()
        command = [sys.executable, "-m", "snakemake", "--nolock", "--rerun-incomplete", "--rerun-triggers", "mtime"]
        command += ["--keep-going", "--cores", str(jobs * threads), "--config", f"threads={threads}"]
        command += ["--forceall"] if retrain else []
        paths = ["--", *(str(path.relative_to(ROOT)) for path in wanted)]
        where = {"cwd": ROOT, "env": environment}
        done = subprocess.run([*command, "--dry-run", *paths], **where, capture_output=True, text=True)
        if done.returncode:
            print(done.stdout, done.stderr, file=sys.stderr)
            return done.returncode
        due = sorted(set(re.findall(r"output: build/\S+/(\w+)\.ipynb", done.stdout)))
        if not due:
            print("nothing has changed")
            return 0
        print(f"{len(due)} of {len(notebooks())} notebooks to run, {jobs} at a time: {', '.join(due)}")
        if profile == "full":
            print(missing_trainings(due, retrain))
        sys.stdout.flush()
        done = subprocess.run([*command, "--quiet", "progress", "rules", *paths], **where)
        from workbook import scoreboard

        for seed in seeds:
            print(f"figures and scoreboard: {scoreboard.write(profile, [seed]).parent.relative_to(ROOT)}/")
        if len(seeds) > 1:
            print(f"mean over {len(seeds)} seeds: {scoreboard.write(profile, seeds).relative_to(ROOT)}")
    if done.returncode:
        print("some notebooks failed, see above; the others are finished, old figures are kept", file=sys.stderr)
    return done.returncode


def _environment(threads: int, retrain: bool) -> dict[str, str]:
    """Environment of the notebooks' processes."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    environment = {**os.environ, "PYTHONHASHSEED": "0", "PATH": path, "WORKBOOK_THREADS": str(threads)}
    for name in ("OMP", "OPENBLAS", "MKL", "NUMBA"):
        environment[f"{name}_NUM_THREADS"] = str(threads)
    if threads > 1:
        environment["GOMP_SPINCOUNT"] = "10000"  # else threads spin while another process holds their core
    if retrain:
        environment["WORKBOOK_RETRAIN"] = "1"
    return environment


def missing_trainings(due: list[str], retrain: bool) -> str:
    """Which trainings these notebooks used when the gallery was made that are not here now, and about how long they
    took then. What a changed notebook will ask for is not known before it runs.
    """
    if retrain:
        os.environ["WORKBOOK_RETRAIN"] = "1"
    here = set() if retrain or not RELEASED.exists() else {file.name for file in RELEASED.iterdir()}
    here |= {file.name for file in cache_dir().glob("*.safetensors")}
    seconds: dict[str, float] = {}
    of: dict[str, int] = {}
    for name in due:
        try:
            used = json.loads((FIGURES / name / "timings.json").read_text()).get("trainings", {})
        except (OSError, ValueError):
            continue
        absent = {file: spent for file, spent in used.items() if file not in here}
        seconds |= absent
        if absent:
            of[name] = len(absent)
    if not seconds:
        return "all trainings are here, as far as the gallery tells"
    listed = ", ".join(f"{name} {count}" for name, count in of.items())
    minutes = sum(seconds.values()) / 60
    return f"{len(seconds)} trainings to run first, about {minutes:.0f} minutes of one core: {listed}"


def whole_machine(threads: int) -> int:
    """How many notebooks at a time use this machine's cores, as far as its memory carries them."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        memory = cores * MEMORY_PER_JOB
    return max(1, min(cores // threads, memory // MEMORY_PER_JOB))


def _remove_leftovers() -> None:
    """Delete the scratch folders of runs that were killed: those whose lock nobody holds."""
    from filelock import FileLock, Timeout

    for folder in BUILD.glob(".scratch-*"):
        try:
            with FileLock(folder / ".lock", timeout=0):
                shutil.rmtree(folder, ignore_errors=True)
        except Timeout:
            pass


def _named(notebook: str) -> str:
    """The notebook's full name from its name, number or file name."""
    name = Path(notebook).name.removesuffix(".ipynb")
    there = notebooks()
    for candidate in there:
        if name in (candidate, candidate[:2]):
            return candidate
    near = difflib.get_close_matches(name, there, n=1, cutoff=0.4)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise RunError(f"there is no notebook {notebook!r}.{hint} There are: {', '.join(there)}")


def _published(folder: Path) -> bool:
    """Whether all figures that the records of a folder name are there."""
    try:
        records = [json.loads((folder / f"{name}.json").read_text()) for name in ("results", "timings")]
    except (OSError, ValueError):
        return False
    return all((folder / figure["file"]).exists() for record in records for figure in record["figures"].values())


@contextmanager
def _exclusive() -> Iterator[None]:
    """Hold this checkout's run lock, which the system frees when its holder dies."""
    from filelock import FileLock, Timeout

    BUILD.mkdir(exist_ok=True)
    try:
        with FileLock(BUILD / ".run.lock", timeout=0):
            yield
    except Timeout:
        raise RunError("another run is at work in this checkout; wait for it to end") from None


def _seed(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"a seed is a whole number from 0, not {text!r}")
    return int(text)


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, not {text!r}")
    return int(text)


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m workbook.tools.run", description="Run notebooks headless.")
    commands = parser.add_subparsers(dest="command", required=True)
    figures = commands.add_parser("figures", help="the whole graph, or one notebook")
    figures.add_argument("--seeds", type=_seed, nargs="+", default=[0])
    figures.add_argument("--notebook", default="all", help="name or number, or all")
    figures.add_argument("--jobs", type=_positive, help="notebooks at a time (default: as many as the machine carries)")
    figures.add_argument("--threads", type=_positive, default=1, help="threads of each; changes the last digits")
    figures.add_argument("--retrain", action="store_true", help="use no released training, and train in a cache apart")
    single = commands.add_parser("notebook", help="one notebook, now")
    single.add_argument("notebook")
    single.add_argument("--seed", type=_seed, default=0)
    for command in (figures, single):
        command.add_argument("--profile", choices=PROFILES, default="full")
    arguments = parser.parse_args()
    try:
        if arguments.command == "figures":
            jobs, seeds = arguments.jobs or whole_machine(arguments.threads), sorted(set(arguments.seeds))
            return run_figures(arguments.profile, seeds, arguments.notebook, jobs, arguments.threads, arguments.retrain)
        run_notebook(_named(arguments.notebook), arguments.profile, arguments.seed)
        return 0
    except RunError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
