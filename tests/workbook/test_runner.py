"""The runner on small copies of the checkout with tiny notebooks of their own, which do without torch if they can.

Starting Snakemake and a kernel costs seconds, so several tests look at one run.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from workbook import paths, scoreboard
from workbook.paths import ROOT
from workbook.tools import clean, kernel, run

# what a notebook leaves behind, written without ``Book``, because that imports torch
RECORD = """
import json, os, pathlib
from workbook.records import loaded_code
out = pathlib.Path(os.environ["WORKBOOK_OUT"])

def record(*figures, **timings):
    for figure in figures:
        (out / f"{figure}.png").write_text(f"{figure} of {profile} {seed}")
    head = {"profile": profile, "seed": seed, "items": {}, "figures": {}}
    drawn = {figure: {"file": f"{figure}.png", "alt": ""} for figure in figures}
    (out / "results.json").write_text(json.dumps(head | {"figures": drawn}))
    (out / "timings.json").write_text(json.dumps(head | timings))
    (out / "inputs.json").write_text(json.dumps(loaded_code()))
"""
SLOW = """
import pathlib, time
pathlib.Path(f"begun-{time.time_ns()}").touch()
try:
    while True:
        time.sleep(0.05)
except KeyboardInterrupt:
    pathlib.Path(f"kept-{time.time_ns()}").touch()
    raise
"""
GOOD = RECORD + 'record("extra-line")'
SCOREBOARD = (
    RECORD
    + """
from workbook.paths import results_dir
found = sorted(path.parent.name for path in results_dir(profile, seed).glob("*/results.json"))
(out / "found.txt").write_text(" ".join(found))
record()
"""
)
TRAINS = (
    RECORD
    + """
import time
import torch
from workbook.cache import trained

def train(n):
    with open("log.txt", "a") as file:
        print(n, file=file)
    if n == 2 and pathlib.Path("slow").exists():
        time.sleep(600)
    return {"w": torch.zeros(n)}, {"loss": [0.0]}

for n in (1, 2):
    trained("probe", train, n=n)
record("extra-empty")
"""
)


def write_notebook(folder, name, code):
    cells = [
        {"cell_type": "markdown", "id": "a", "metadata": {}, "source": "# The title"},
        {"cell_type": "code", "id": "b", "metadata": {"tags": ["parameters"]}, "source": 'profile = "auto"\nseed = 0'},
        {"cell_type": "markdown", "id": "c", "metadata": {}, "source": "## The section"},
        {"cell_type": "code", "id": "d", "metadata": {}, "source": code},
    ]
    for cell in cells:
        if cell["cell_type"] == "code":
            cell |= {"outputs": [], "execution_count": None}
    (folder / "notebooks" / f"{name}.ipynb").write_text(clean.dump(clean.clean({"cells": cells})), "utf-8")


def make_checkout(folder, **notebooks):
    """A copy of this checkout with other notebooks; ``n30_good=code`` makes notebooks/30_good.ipynb."""
    for name in ("lib", "workbook"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("data", "notebooks"):
        (folder / name).mkdir()
    for name in ("Snakefile", "data/manifest.json", "data/reports.toml", "data/errata.toml"):
        shutil.copy(ROOT / name, folder / name)
    for name, code in notebooks.items():
        write_notebook(folder, name[1:], code)
    return folder


def environment_of(folder):
    """Environment variables of a process that works in this checkout, none of them a setting of ours."""
    return {k: v for k, v in os.environ.items() if not k.startswith("WORKBOOK_")} | {"PYTHONPATH": str(folder)}


def start(folder, *arguments, environment=None, prefix=(), umask=-1):
    return subprocess.Popen(
        [*prefix, sys.executable, "-m", "workbook.tools.run", *arguments],
        cwd=folder,
        env=environment_of(folder) | (environment or {}),
        umask=umask,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        start_new_session=True,
    )


def figures(folder, *arguments, **settings):
    """Exit code and output of a run, and all that is in the checkout after it: {path: (content, time)}."""
    process = start(folder, "figures", *arguments, **settings)
    try:
        output, _ = process.communicate(timeout=300)
    except subprocess.TimeoutExpired:
        kill_tree(process.pid)
        raise
    return SimpleNamespace(code=process.returncode, output=output, files=files(folder))


def files(folder):
    found = (path for part in ("figures", "build") for path in (folder / part).rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns) for path in found}


def gallery(files):
    return {name: content for name, content in files.items() if name.startswith("figures/")}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    return make_checkout(
        tmp_path_factory.mktemp("checkout"), n30_good=GOOD, n31_other=GOOD, **{f"n{run.SCOREBOARD}": SCOREBOARD}
    )


@pytest.fixture(scope="module")
def first(checkout):
    """A first run, of the scoreboard alone."""
    return figures(checkout, "--notebook", "21", "--jobs", "1")


@pytest.fixture(scope="module")
def second(checkout, first):
    """A run after one notebook was edited to fail once it has drawn, and the next to draw another figure."""
    write_notebook(checkout, "30_good", GOOD.replace("extra-line", "extra-new") + "\nraise RuntimeError('no ideas')")
    write_notebook(checkout, "31_other", RECORD + 'record("extra-curve")')
    return figures(checkout, "--jobs", "1")


# --- the graph -------------------------------------------------------------------------------------------------------


def test_a_run_of_the_gallery_publishes_figures_results_and_scoreboard(first):
    assert first.code == 0, first.output
    published = sorted(gallery(first.files))
    assert "figures/scoreboard.md" in published
    assert [name for name in published if name.count("/") == 2] == [
        "figures/21_scoreboard/README.md",
        "figures/21_scoreboard/found.txt",
        "figures/21_scoreboard/results.json",
        "figures/21_scoreboard/timings.json",
        "figures/30_good/README.md",
        "figures/30_good/extra-line.png",
        "figures/30_good/results.json",
        "figures/30_good/timings.json",
        "figures/31_other/README.md",
        "figures/31_other/extra-line.png",
        "figures/31_other/results.json",
        "figures/31_other/timings.json",
    ]
    assert {"build/full/seed0/30_good.ipynb", "build/full/seed0/30_good.inputs.json"} <= first.files.keys()
    assert "3 of 3 notebooks to run, 1 at a time: 21_scoreboard, 30_good, 31_other" in first.output
    assert "according to the last results, no model has to be trained" in first.output


def test_without_being_told_a_run_is_of_profile_full_and_seed_0(first):
    assert first.files["figures/30_good/extra-line.png"][0] == b"extra-line of full 0"


def test_the_scoreboard_runs_after_the_notebooks_that_it_reads(first):
    assert first.files["figures/21_scoreboard/found.txt"][0] == b"30_good 31_other"


def test_what_a_run_of_snakemake_itself_says_is_not_shown(first):
    assert "SNAKEMAKE" not in first.output
    assert "DAG" not in first.output


def test_a_failing_notebook_is_named_and_the_others_finish(second):
    assert second.code != 0
    assert "error: 30_good: cell [3] under “The section” stopped with RuntimeError: no ideas" in second.output
    assert "the outputs up to that cell: build/full/seed0/30_good.failed.ipynb" in second.output
    assert "not finished: 21_scoreboard, 30_good; their old figures are kept\n" in second.output
    assert "build/full/seed0/30_good.failed.ipynb" in second.files
    assert "build/full/seed0/30_good.ipynb" not in second.files, "so that it runs again"
    assert "figures/31_other/extra-curve.png" in second.files


def test_a_failed_run_publishes_nothing(first, second):
    def published(files):
        return {name: content for name, content in files.items() if name.startswith("figures/30_good/")}

    assert published(second.files) == published(first.files)


def test_figures_that_are_no_longer_made_are_removed(second):
    assert sorted(name for name in second.files if name.startswith("figures/31_other/")) == [
        "figures/31_other/README.md",
        "figures/31_other/extra-curve.png",
        "figures/31_other/results.json",
        "figures/31_other/timings.json",
    ]


def test_a_scoreboard_whose_notebooks_failed_waits_for_them(first, second):
    seen = "figures/21_scoreboard/found.txt"
    assert second.files[seen] == first.files[seen]


def test_every_seed_and_profile_is_run_as_such_and_leaves_the_gallery_alone(checkout, first):
    write_notebook(checkout, "30_good", GOOD)
    before = gallery(files(checkout))
    done = figures(checkout, "--profile", "smoke", "--seeds", "2", "1", "2", "--notebook", "30", "--jobs", "2")
    assert done.code == 0, done.output
    assert "2 of 6 runs to do, 2 at a time: 30_good (seed 1), 30_good (seed 2)" in done.output
    assert gallery(done.files) == before
    pictures = [f"build/smoke/seed{seed}/figures/30_good/extra-line.png" for seed in (1, 2)]
    for seed, picture in zip((1, 2), pictures, strict=True):
        assert done.files[picture][0] == f"extra-line of smoke {seed}".encode()
        assert f"build/smoke/seed{seed}/figures/scoreboard.md" in done.files
    assert "build/smoke/scoreboard-seeds.md" in done.files
    assert "build/smoke/scoreboard.md" not in done.files

    for gone in (pictures[0], "build/smoke/scoreboard-seeds.md"):
        (checkout / gone).unlink()
    again = figures(checkout, "--profile", "smoke", "--seeds", "1", "2", "--notebook", "30")
    assert "1 of 6 runs to do" in again.output
    assert again.files[pictures[0]][0] == done.files[pictures[0]][0], "a deleted figure comes back, the same"
    assert again.files[pictures[1]] == done.files[pictures[1]], "and nothing else runs"

    (checkout / "build/smoke/scoreboard-seeds.md").unlink()
    idle = figures(checkout, "--profile", "smoke", "--seeds", "1", "2", "--notebook", "30")
    assert "nothing to do: all notebooks are up to date" in idle.output
    assert [idle.files[picture] for picture in pictures] == [again.files[picture] for picture in pictures]
    assert "build/smoke/scoreboard-seeds.md" in idle.files, "seeds that ran one by one get their means"


def test_a_killed_run_keeps_others_out_resumes_and_leaves_nothing_half_written(tmp_path):
    copy = make_checkout(tmp_path / "copy", n31_trains=TRAINS)
    (copy / "slow").touch()
    process = start(copy, "figures", "--notebook", "31")
    log = copy / "log.txt"
    try:
        deadline = time.monotonic() + 180
        while not (log.exists() and log.read_text("utf-8") == "1\n2\n"):
            assert process.poll() is None, process.stdout.read()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        other = figures(copy)
        assert other.code == 1
        assert "error: another run is in progress in this checkout" in other.output
    finally:
        kill_tree(process.pid)
    process.wait()
    assert not (copy / "figures").exists()
    assert not list((copy / "build").rglob("*.part"))
    assert not (copy / "build/full/seed0/31_trains.ipynb").exists()
    assert list((copy / "build").glob(".scratch-*"))
    (copy / "slow").unlink()
    done = figures(copy)
    assert done.code == 0, done.output
    assert log.read_text("utf-8") == "1\n2\n2\n", "the finished training is kept, the killed one is repeated"
    assert (copy / "figures/31_trains/extra-empty.png").exists()
    assert not list((copy / "build").glob(".scratch-*")), "leftovers are removed"


def kill_tree(pid):
    """kill -9 of a process and of everything it started, as a crash of the machine would."""
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", encoding="utf-8") as file:
                    parent = int(file.read().rsplit(")", 1)[1].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(entry))
    doomed = [pid]
    for p in doomed:
        doomed += children.get(p, [])
    for p in doomed:
        os.kill(p, signal.SIGKILL)


# --- one notebook, in this process -----------------------------------------------------------------------------------


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A checkout of little more than notebooks, in which this process's runner works."""
    (tmp_path / "notebooks").mkdir()
    for name in ("data/reports.toml", "workbook/__init__.py", "workbook/paths.py", "workbook/records.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy2(ROOT / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.setenv("WORKBOOK_CACHE", str(tmp_path / "cache"))
    names = ("BUILD", "FIGURES", "HOME", "NOTEBOOKS", "RELEASED", "ROOT")
    places = {name: tmp_path / getattr(paths, name).relative_to(ROOT) for name in names}
    for module in (run, kernel, paths, scoreboard):
        for name, place in places.items():
            if hasattr(module, name):
                monkeypatch.setattr(module, name, place)
    return tmp_path


def test_one_notebook_is_run_with_its_profile_and_seed_and_its_old_files_go(here, monkeypatch, capsys):
    write_notebook(here, "30_good", GOOD)
    folder = here / "build/smoke/seed7/figures/30_good"
    folder.mkdir(parents=True)
    (folder / "extra-old.png").touch()
    arguments = ["notebook", "notebooks/30_good.ipynb", "--profile", "smoke", "--seed", "7"]
    monkeypatch.setattr(sys, "argv", ["run", *arguments])
    assert run.main() == 0
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "extra-line.png",
        "results.json",
        "timings.json",
    ]
    assert (folder / "extra-line.png").read_text("utf-8") == "extra-line of smoke 7"
    executed = json.loads((here / "build/smoke/seed7/30_good.ipynb").read_text("utf-8"))
    assert any("seed = 7" in "".join(cell["source"]) for cell in executed["cells"])
    loaded = json.loads((here / "build/smoke/seed7/30_good.inputs.json").read_text("utf-8"))
    assert loaded == ["workbook/__init__.py", "workbook/paths.py", "workbook/records.py"]
    assert capsys.readouterr().out.startswith("30_good (smoke, seed 7): ")
    assert not list((here / "build").glob(".scratch-*"))


def test_many_models_to_train_do_not_keep_processes_from_starting(here, monkeypatch):
    """Linux refuses to start a process with a variable of 128 KiB; four seeds that never ran have more models."""

    def started(command, *_):
        return subprocess.run(["true"], env=dict(os.environ)).returncode

    monkeypatch.setenv("WORKBOOK_ANNOUNCED", "")  # is set back afterwards
    monkeypatch.setattr(run, "due", lambda *_: [(1, "20_a")])
    monkeypatch.setattr(run, "missing_trainings", lambda _: {"20_a": {f"* seed 1: {n:030}": 1.0 for n in range(4000)}})
    monkeypatch.setattr(run, "_until_it_ends", started)
    monkeypatch.setattr(scoreboard, "write", lambda profile, seeds: paths.FIGURES / "scoreboard.md")
    monkeypatch.setattr(run, "notebooks", lambda: ["20_a"])
    assert run.run_figures("full", [1], "all", 1, 1, False) == 0


def test_a_run_during_which_its_code_changed_is_due_again(here, capsys):
    edit = "\nimport time\ntime.sleep(0.05)\npathlib.Path('workbook/records.py').touch()"
    write_notebook(here, "30_good", GOOD + edit)
    run.run_notebook("30_good", "smoke", 0)
    assert (here / "build/smoke/seed0/figures/30_good/extra-line.png").exists()
    told = "30_good: workbook/records.py changed during the run, so it will run again next time"
    assert told in capsys.readouterr().out
    assert run._loaded("30_good", "smoke", 0) is None


def test_a_notebook_that_records_nothing_is_an_error(here):
    write_notebook(here, "31_idle", "x = 1")
    with pytest.raises(run.RunError, match="31_idle recorded no results: it must call open_book, record and check"):
        run.run_notebook("31_idle", "smoke", 0)


def test_dead_kernel_is_named(here, monkeypatch, capsys):
    write_notebook(here, "31_dies", "import os\nos.kill(os.getpid(), 9)")
    monkeypatch.setattr(sys, "argv", ["run", "notebook", "31", "--profile", "smoke"])
    assert run.main() == 1
    assert "error: 31_dies: its kernel died" in capsys.readouterr().err
    assert not (here / "build/smoke/seed0").exists()


@pytest.mark.parametrize("missing", ["profile", "seed"])
def test_missing_parameter_is_an_error(here, missing):
    write_notebook(here, "30_good", GOOD)
    path = here / "notebooks/30_good.ipynb"
    notebook = json.loads(path.read_text("utf-8"))
    notebook["cells"][1]["source"] = ['profile = "auto"'] if missing == "seed" else ["seed = 0"]
    path.write_text(json.dumps(notebook), "utf-8")
    with pytest.raises(run.RunError, match=f"30_good.ipynb has no parameter '{missing}'"):
        run.run_notebook("30_good", "smoke", 0)
    with pytest.raises(run.RunError, match=f"the cell tagged 'parameters' must define {missing}"):
        kernel.check_parameters(path, {})


def test_mistyped_parameter_is_an_error(here):
    write_notebook(here, "30_good", GOOD)
    with pytest.raises(run.RunError, match=r"has no parameter 'sede'; did you mean 'seed'\? \(it has profile, seed\)"):
        kernel.check_parameters(here / "notebooks/30_good.ipynb", {"profile": "smoke", "sede": 1})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["figures", "--notebook", "30_god"],
            "there is no notebook '30_god'. Did you mean 30_good? The notebooks are: ",
        ),
        (["figures", "--profile", "smok"], "invalid choice: 'smok'"),
        (["figures", "--profile", "standard"], "invalid choice: 'standard'"),
        (["figures", "--seeds", "-1"], "error"),
        (["figures", "--seeds", "one"], "a seed is a whole number, 0 or more, not 'one'"),
        (["figures", "--executor", "slrum"], "invalid choice: 'slrum'"),
        (["figures", "--jobs", "0"], "expected a whole number, 1 or more, not '0'"),
        (["figures", "--threads", "²"], "expected a whole number, 1 or more, not '²'"),
    ],
)
def test_mistakes_are_clear_errors(here, arguments, message, monkeypatch, capsys):
    write_notebook(here, "30_good", GOOD)
    monkeypatch.setattr(sys, "argv", ["run", *arguments])
    try:
        code = run.main()
    except SystemExit as stopped:  # argparse
        code = stopped.code
    assert code != 0
    assert message in capsys.readouterr().err
    assert not (here / "figures").exists()


def test_ctrl_c_says_once_what_is_kept_and_lets_a_training_write_its_checkpoint(tmp_path):
    copy = make_checkout(tmp_path / "copy", n30_slow=SLOW, n31_slow=SLOW)
    process = start(copy, "figures", "--profile", "smoke", "--jobs", "2")
    try:
        deadline = time.monotonic() + 180
        while len(list(copy.glob("begun-*"))) < 2:
            assert process.poll() is None, process.stdout.read()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to all processes of the group
        output, _ = process.communicate(timeout=60)
    except BaseException:
        kill_tree(process.pid)
        raise
    assert process.returncode == 130
    assert output.splitlines()[1:] == ["interrupted; finished notebooks and models are kept"]
    assert len(list(copy.glob("kept-*"))) == 2
    assert not list((copy / "build").glob(".scratch-*"))


def test_ctrl_c_while_processes_start_is_no_traceback(tmp_path):
    process = start(make_checkout(tmp_path / "copy", n30_slow=SLOW), "figures", "--profile", "smoke")
    assert process.stdout.readline().startswith("1 of 1 notebooks to run")
    time.sleep(0.3)  # Snakemake imports
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert output.splitlines() == ["interrupted; finished notebooks and models are kept"]


def test_a_kernel_that_does_not_heed_ctrl_c_is_killed(here, monkeypatch):
    deaf = "import os, signal, time\nsignal.signal(signal.SIGINT, lambda *_: None)\n"
    ctrl_c = f"os.kill({os.getpid()}, signal.SIGINT)\n"
    write_notebook(here, "30_deaf", deaf + ctrl_c + "while True:\n    time.sleep(0.1)")
    monkeypatch.setattr(kernel, "GRACE", 0.3)
    with pytest.raises(KeyboardInterrupt):
        run.run_notebook("30_deaf", "smoke", 0)


@pytest.mark.parametrize("name", ["30", "30_good", "30_good.ipynb", "notebooks/30_good.ipynb"])
def test_a_notebook_is_known_by_number_name_and_file(here, name):
    write_notebook(here, "30_good", GOOD)
    assert run._named(name) == "30_good"


def test_leftovers_of_a_run_that_is_still_alive_stay(here):
    from filelock import FileLock

    for name in (".scratch-alive", ".scratch-dead"):
        (here / "build" / name).mkdir(parents=True)
    with FileLock(here / "build/.scratch-alive/.lock"):
        run._remove_leftovers()
        assert [path.name for path in (here / "build").iterdir()] == [".scratch-alive"]


# --- what a run will take --------------------------------------------------------------------------------------------


def test_processes_of_notebooks_get_their_threads(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    one, three = run._environment(1), run._environment(3)
    assert one["OMP_NUM_THREADS"] == one["WORKBOOK_THREADS"] == one["MKL_NUM_THREADS"] == "1"
    assert three["OMP_NUM_THREADS"] == three["WORKBOOK_THREADS"] == "3"
    assert "GOMP_SPINCOUNT" in three.keys() - one.keys()


def test_jobs_and_threads_reach_snakemake():
    command = run._snakemake("full", [0, 1], ["30_good"], False, jobs=3, threads=2)
    assert command[command.index("--cores") + 1] == "6"
    assert "threads=2" in command
    assert "--forceall" not in command
    assert "--keep-going" in command, "a notebook that fails does not stop those that come after it"
    assert {"build/full/seed0/30_good.ipynb", "build/full/seed1/30_good.ipynb"} <= set(command)
    assert "--forceall" in run._snakemake("full", [0], ["30_good"], True)


def test_an_executor_brings_its_profile_and_its_number_of_jobs():
    command = run._snakemake("full", [0], ["30_good"], False, jobs=0, threads=2, executor="slurm")
    assert command[command.index("--profile") + 1] == str(ROOT / "profiles/slurm")
    assert "executor: slurm" in (ROOT / "profiles/slurm/config.yaml").read_text("utf-8")
    assert "threads=2" in command
    assert not {"--cores", "--jobs"} & set(command)
    command = run._snakemake("full", [0], ["30_good"], False, jobs=7, executor="slurm")
    assert command[command.index("--jobs") + 1] == "7"


def test_a_missing_plugin_is_named_with_what_installs_it(monkeypatch):
    monkeypatch.setattr(run, "find_spec", lambda name: None)
    with pytest.raises(run.RunError, match=r"no plugin for the executor slurm; to install it: .*profiles/requirements"):
        run.run_figures("smoke", [0], "all", 0, 1, False, "slurm")


@pytest.fixture
def used(here):
    """Say which trainings the results of a seed used, and which of them are here."""

    def say(seed, notebook, trainings, cached=(), released=()):
        folder = paths.results_dir("full", seed) / notebook
        folder.mkdir(parents=True)
        (folder / "timings.json").write_text(json.dumps({"trainings": trainings}), "utf-8")
        for place, names in ((here / "cache", cached), (here / "data/trained", released)):
            place.mkdir(parents=True, exist_ok=True)
            for name in names:
                (place / name).touch()

    return say


def test_trainings_that_are_missing_are_announced_with_their_minutes(used, monkeypatch):
    minutes = {"a.safetensors": 60.0, "b.safetensors": 120.0, "c.safetensors": 240.0, "d.safetensors": 480.0}
    used(0, "30_good", minutes, cached=["a.safetensors"], released=["b.safetensors"])
    used(0, "31_other", {"c.safetensors": 240.0})
    told = "2 models to train, about 12 min on one core: 30_good 2, 31_other 1"
    assert run.announcement(run.missing_trainings([(0, "30_good"), (0, "31_other")])) == told
    told = "1 model to train, about 4 min on one core: 31_other 1"
    assert run.announcement(run.missing_trainings([(0, "31_other"), (0, "32_new")])) == told
    assert run.announcement(run.missing_trainings([(0, "32_new")])).startswith(
        "according to the last results, no model"
    )
    monkeypatch.setenv("WORKBOOK_RETRAIN", "1")  # then released ones do not count
    told = "3 models to train, about 14 min on one core: 30_good 3"
    assert run.announcement(run.missing_trainings([(0, "30_good")])) == told


def test_adopted_trainings_are_not_missing(here, used):
    used(0, "30_good", {"new.safetensors": 60.0, "lost.safetensors": 120.0}, released=["old.safetensors"])
    entries = {"new.safetensors": {"file": "old.safetensors"}, "lost.safetensors": {"file": "gone.safetensors"}}
    (here / "data/trained/manifest.json").write_text(json.dumps({"trainings": entries}), "utf-8")
    assert run.missing_trainings([(0, "30_good")]) == {"30_good": {"lost.safetensors": 120.0}}


def test_a_seed_that_never_ran_will_train_all_that_the_gallery_did(used):
    used(0, "30_good", {"a.safetensors": 60.0, "b.safetensors": 120.0}, released=["a.safetensors", "b.safetensors"])
    told = "4 models to train, about 6 min on one core: 30_good (seed 1) 2, 30_good (seed 2) 2"
    assert run.announcement(run.missing_trainings([(0, "30_good"), (1, "30_good"), (2, "30_good")])) == told
    used(1, "30_good", {"a1.safetensors": 60.0, "b1.safetensors": 120.0}, cached=["a1.safetensors"])
    told = "1 model to train, about 2 min on one core: 30_good (seed 1) 1"
    assert run.announcement(run.missing_trainings([(1, "30_good")])) == told


def test_mistyped_make_variable_is_an_error():
    done = subprocess.run(["make", "-n", "help", "PROFLE=smoke"], cwd=ROOT, capture_output=True, encoding="utf-8")
    assert done.returncode != 0
    assert "unknown variable PROFLE; the variables are: PROFILE SEED" in done.stderr
    assert subprocess.run(["make", "-n", "help", "PROFILE=smoke"], cwd=ROOT, capture_output=True).returncode == 0


# --- checkouts that are shared ---------------------------------------------------------------------------------------

CACHES = (
    RECORD
    + """
import matplotlib.font_manager
import numba
numba.njit(cache=True)(lambda x: x)  # "no locator available" where nothing can be written
pathlib.Path(matplotlib.get_configdir(), "probe").touch()
record("extra-line")
"""
)


# root may write what it must not, until it gives up these powers
POWERS = ",".join(f"-{power}" for power in ("dac_override", "dac_read_search", "fowner", "chown"))
PLAIN = ["setpriv", f"--bounding-set={POWERS}", f"--inh-caps={POWERS}"] if os.getuid() == 0 else []


@pytest.fixture
def shared(tmp_path):
    """A folder for a checkout that is not, or not only, ours."""
    if PLAIN and not shutil.which(PLAIN[0]):
        pytest.skip("root may write everywhere, and there is no setpriv to prevent it")
    yield tmp_path
    subprocess.run(["chmod", "-R", "u+w", tmp_path], check=True)


def test_a_checkout_that_cannot_be_written_is_run_from_a_folder_of_the_users(shared):
    folder = shared
    copy = make_checkout(folder / "copy", n30_good=CACHES)
    (copy / "figures/31_other").mkdir(parents=True)
    (copy / "figures/31_other/results.json").write_text("{}", "utf-8")
    subprocess.run(["chmod", "-R", "a-w,a+rX", copy], check=True)
    mine = folder / "mine"
    home = {"HOME": "/nonexistent", "WORKBOOK_HOME": str(mine)}
    before = {path: path.stat().st_mtime_ns for path in copy.rglob("*")}
    done = figures(copy, "--notebook", "30", "--jobs", "1", environment=home, prefix=PLAIN)
    assert done.code == 0, done.output
    assert f"runs and caches are in {mine}\n" in done.output
    assert f"figures and scoreboard: {mine}/figures/" in done.output
    assert (mine / "figures/30_good/extra-line.png").exists()
    assert (mine / "figures/31_other/results.json").exists(), "what does not run stays as in the gallery"
    assert (mine / "build/full/seed0/30_good.ipynb").exists()
    assert {path: path.stat().st_mtime_ns for path in copy.rglob("*")} == before
    again = figures(copy, "--notebook", "30", "--jobs", "1", environment=home, prefix=PLAIN)
    assert "nothing to do: all notebooks are up to date" in again.output


def test_what_cannot_be_written_is_named_with_what_to_do(shared):
    folder = shared
    copy = make_checkout(folder / "copy", n30_good=GOOD)
    closed = folder / "closed"
    closed.mkdir(mode=0o555)
    done = figures(copy, "--notebook", "30", environment={"WORKBOOK_HOME": str(closed)}, prefix=PLAIN)
    assert done.code == 1
    assert f"error: {closed}/build cannot be written" in done.output
    assert "export WORKBOOK_HOME=" in done.output
    assert "Traceback" not in done.output


@pytest.mark.skipif("os.getuid() != 0", reason="only root can give a file to another user")
def test_two_users_of_a_group_share_its_checkout(shared):
    copy = make_checkout(shared / "copy", n30_good=GOOD)
    assert figures(copy, "--notebook", "30", umask=0o002).code == 0
    subprocess.run(["chown", "-R", "65534", copy], check=True)  # all that is there belongs to another of the group
    subprocess.run(["chmod", "-R", "g+w", copy], check=True)
    assert (copy / "build/.run.lock").stat().st_uid == 65534
    write_notebook(copy, "30_good", GOOD.replace("extra-line", "extra-new"))
    done = figures(copy, "--notebook", "30", umask=0o002, prefix=PLAIN)
    assert done.code == 0, done.output
    assert "runs and caches are in" not in done.output
    assert (copy / "figures/30_good/extra-new.png").stat().st_uid == os.getuid()
    assert not (copy / "figures/30_good/extra-line.png").exists(), "what the other user made is replaced"


def test_the_lock_of_a_checkout_is_for_all_its_users(here):
    with run._exclusive():
        assert (here / "build/.run.lock").stat().st_mode & 0o777 == 0o666
