"""`make figures EXECUTOR=slurm` on a cluster of one node on the loopback address, whose node dies during a job.

Its files are in a temporary folder; a configuration of SLURM in /etc is neither read nor changed.
"""

import getpass
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from workbook.paths import ROOT
from workbook.tools import run

pytestmark = pytest.mark.cluster
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun")
NOTEBOOKS = ("00_start_here", "20_vae_dense", run.SCOREBOARD)  # short ones, and one that waits for the others
SEEDS = ("0", "1")
CONFIGURATION = """
ClusterName=workbook
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
SlurmUser={user}
SlurmdUser={user}
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SlurmdParameters=config_overrides
SlurmdTimeout=5
MinJobAge=86400
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=64000
PartitionName=main Nodes=ALL Default=YES
"""


def until(condition, run=None, seconds=1200):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert run is None or run.poll() is None, f"the run ended too early\n{run.stdout.read()}"
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return found


@pytest.fixture(scope="module")
def cluster():
    """A running cluster: its folder, the environment of its users, and its daemons."""
    path = os.pathsep.join([os.environ["PATH"], "/usr/sbin"])
    if missing := [name for name in PROGRAMS if not shutil.which(name, path=path)]:
        pytest.skip(f"{', '.join(missing)} missing: apt-get install slurm-wlm munge")
    reason = "Snakemake's plugin is missing: make test-cluster installs it"
    pytest.importorskip("snakemake_executor_plugin_slurm", reason=reason)
    folder = Path(tempfile.mkdtemp(prefix="wb-", dir="/tmp"))
    for name in ("bin", "state", "spool"):
        (folder / name).mkdir()
    (folder / "munge.key").write_bytes(os.urandom(128))
    (folder / "munge.key").chmod(0o600)
    folder.chmod(0o755)
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        ports = {"controller": one.getsockname()[1], "node": other.getsockname()[1]}
    names = {"host": socket.gethostname().split(".")[0], "user": getpass.getuser(), "folder": folder}
    (folder / "slurm.conf").write_text(CONFIGURATION.format(**names, **ports), "utf-8")
    # Snakemake's plugin hides SLURM_CONF from the srun in a job
    srun = f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {shutil.which("srun")} "$@"\n'
    (folder / "bin/srun").write_text(srun, "utf-8")
    (folder / "bin/srun").chmod(0o755)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("WORKBOOK_", "SLURM_", "SBATCH_"))}
    environment |= {"SLURM_CONF": f"{folder}/slurm.conf", "PATH": f"{folder}/bin{os.pathsep}{path}"}
    here = SimpleNamespace(folder=folder, environment=environment, daemons={})
    own = {"--key-file": "key", "--socket": "socket", "--pid-file": "pid", "--log-file": "log", "--seed-file": "seed"}
    try:
        start(here, "munged", "--foreground", *(f"{option}={folder}/munge.{name}" for option, name in own.items()))
        until(lambda: (folder / "munge.socket").exists(), seconds=60)
        start(here, "slurmctld", "-D")
        start(here, "slurmd", "-D")
        until(lambda: asked(here, "sinfo", "-h", "-o", "%T") == "idle", seconds=120)
        yield here
    finally:
        for name in ("slurmd", "slurmctld", "munged"):
            if daemon := here.daemons.get(name):
                daemon.terminate()
                daemon.wait()
        for process in processes(here):
            process.kill()
        shutil.rmtree(folder)


def start(cluster, name, *arguments):
    with open(cluster.folder / f"{name}.log", "a", encoding="utf-8") as log:
        command = [shutil.which(name, path=cluster.environment["PATH"]), *arguments]
        cluster.daemons[name] = subprocess.Popen(
            command, cwd=cluster.folder, env=cluster.environment, stdout=log, stderr=log
        )


def asked(cluster, *command):
    return subprocess.run(command, env=cluster.environment, capture_output=True, encoding="utf-8").stdout.strip()


def processes(cluster):
    """All processes of jobs; first those of SLURM that watch them, and would tell of their end."""
    watching, watched = set(), []
    for process in psutil.process_iter():
        try:
            variables, parent = process.environ(), process.parent()
        except psutil.Error:
            continue
        if variables.get("SLURM_CONF") == cluster.environment["SLURM_CONF"] and "SLURM_JOB_ID" in variables:
            watched.append(process)
            watching |= {parent} if parent and parent.name() == "slurmstepd" else set()
    return [*watching, *watched]


def crash(cluster):
    """What a power cut does to the node."""
    for process in [cluster.daemons["slurmd"], *processes(cluster)]:
        process.kill()
    cluster.daemons["slurmd"].wait()


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """This checkout with a few of its notebooks."""
    folder = tmp_path_factory.mktemp("a checkout")
    for name in ("lib", "workbook", "profiles"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("data", "notebooks"):
        (folder / name).mkdir()
    notebooks = [f"notebooks/{name}.ipynb" for name in NOTEBOOKS]
    for name in ("Snakefile", "data/manifest.json", "data/reports.toml", "data/errata.toml", *notebooks):
        shutil.copy(ROOT / name, folder / name)
    (folder / "data/mnist").symlink_to(ROOT / "data/mnist")
    return folder


def figures(checkout, home, environment, *arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "workbook.tools.run", "figures", "--profile", "smoke", *arguments],
        cwd=checkout,
        env=environment | {"PYTHONPATH": str(checkout), "WORKBOOK_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    )


def ended(process):
    output, _ = process.communicate(timeout=1800)
    assert process.returncode == 0, output
    return output


def executed(home):
    """{run: when it wrote its results}; Snakemake touches the executed copy, which comes last, but not these."""
    runs = [(path.parent.name, path.stem) for path in home.glob("build/smoke/seed*/*.ipynb")]
    written = "build/smoke/{}/figures/{}/results.json"
    return {run: (home / written.format(*run)).stat().st_mtime_ns for run in runs}


def results(home):
    """What must be equal: the content of all pages, pictures and results; scoreboards also name durations."""
    files = list(home.glob("build/smoke/seed*/figures/*/*"))
    timings = [path for path in files if path.name == "timings.json"]
    timed = {
        path.with_name(figure["file"])
        for path in timings
        for figure in json.loads(path.read_text("utf-8"))["figures"].values()
    }
    return {str(path.relative_to(home)): path.read_bytes() for path in {*files} - {*timings} - timed}


def test_a_node_that_dies_costs_nothing_and_changes_nothing(cluster, checkout, tmp_path):
    cluster_home, local_home = tmp_path / "on the cluster", tmp_path / "here"
    all_runs = {(f"seed{seed}", name) for seed in SEEDS for name in NOTEBOOKS}
    process = figures(checkout, cluster_home, cluster.environment, "--seeds", *SEEDS, "--executor", "slurm")

    def in_the_middle():  # some jobs are finished, and another one has begun
        completed = asked(cluster, "squeue", "-h", "-t", "completed", "-o", "%i").split()
        found = executed(cluster_home) if any(cluster_home.glob("build/.scratch-*")) else {}
        return (found, completed) if found and len(found) == len(completed) else ()

    finished, completed = until(in_the_middle, process)
    crash(cluster)
    assert finished.keys() < all_runs
    until(lambda: "down" in asked(cluster, "sinfo", "-h", "-o", "%T"), process)
    start(cluster, "slurmd", "-D")
    output = ended(process)  # SLURM starts a requeued job after two minutes; if hurried, version 22.05 can crash
    jobs = asked(cluster, "scontrol", "show", "jobs")
    restarts = {job: int(n) for job, n in re.findall(r"JobId=(\d+) .*?Restarts=(\d+)", jobs, flags=re.S)}
    assert len(restarts) == len(all_runs), "one job for each notebook and seed"
    assert any(restarts.values()), "a job was in the middle"
    assert not any(restarts[job] for job in completed)
    assert "not finished" not in output
    now = executed(cluster_home)
    assert now.keys() == all_runs
    assert finished.items() <= now.items(), "what was finished did not run again"

    assert "nothing to do" in ended(figures(checkout, cluster_home, cluster.environment, "--seeds", *SEEDS))
    ended(figures(checkout, local_home, cluster.environment, "--seeds", *SEEDS))
    on_cluster, here = results(cluster_home), results(local_home)
    assert on_cluster.keys() == here.keys()
    assert len(here) > 10
    assert [name for name in here if on_cluster[name] != here[name]] == []


def test_an_interrupted_run_cancels_its_jobs(cluster, checkout, tmp_path):
    process = figures(checkout, tmp_path, cluster.environment, "--notebook", "00", "--executor", "slurm")
    until(lambda: asked(cluster, "squeue", "-h", "-t", "running", "-o", "%i"), process)
    process.terminate()
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 130, output
    until(lambda: not asked(cluster, "squeue", "-h", "-o", "%i"), seconds=120)
    assert not executed(tmp_path)
