"""What every notebook costs, and what many seeds would cost on many cores: ``python -m benchmarks.costs``.

It reads the benchmark files of Snakemake, the seconds of trainings in figures/*/timings.json and what benchmarks.ahead
found, measures how long Snakemake plans, simulates a list schedule, and writes docs/costs.md.
"""

import csv
import heapq
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable
from functools import cache

from benchmarks import ahead
from workbook.paths import FIGURES, RELEASED, ROOT, cache_dir, executed_notebook, results_dir
from workbook.tools.run import SCOREBOARD, notebooks

Job = tuple[float, list[str]]  # seconds, and the jobs that must have ended before
COLUMNS = "notebook | run, s | peak, MB | written, MB | models | models, MB | training all, one by one | the longest"
COLUMNS += " | smoke: run, s | peak, MB | written, MB"
LOTS = 6  # draws of which training a core takes, where several were ready at the same time
SEEDS, CORES = (1, 10, 100, 1000), (2, 32, 512)
NESTED = {"gan-latent-unclear": "gan-conv-report"}  # the first trains the second, and its seconds count it again
PLAN = (
    "from workbook.tools.run import due, notebooks; import sys; due('full', list(range(int(sys.argv[1]))), notebooks())"
)


@cache
def measured(notebook: str, profile: str) -> dict[str, float] | None:
    """Seconds, and peak memory in MB, of the last run, as Snakemake measured them; None if it has not run."""
    path = executed_notebook(notebook, profile, 0).with_suffix(".benchmark.tsv")
    if not path.exists():
        return None
    row = next(csv.DictReader(path.read_text("utf-8").splitlines(), delimiter="\t"))
    return {"s": float(row["s"]), "mb": float(row["max_rss"]) if row["max_rss"] not in ("-", "NA") else 0.0}


def written(notebook: str, profile: str) -> float:
    """MB of the results, the figures and the executed copy of a notebook."""
    files = [executed_notebook(notebook, profile, 0), *(results_dir(profile, 0) / notebook).glob("*")]
    return sum(path.stat().st_size for path in files if path.exists()) / 1e6


@cache
def trainings(notebook: str) -> dict[str, float]:
    """{file: seconds} of what the gallery's notebook was trained from, without those of a training inside another."""
    path = FIGURES / notebook / "timings.json"
    found = json.loads(path.read_text("utf-8"))["trainings"] if path.exists() else {}
    for outer, inner in NESTED.items():
        files = [file for file in found if file.rpartition("-")[0] == outer]
        once = sum(seconds for file, seconds in found.items() if file.rpartition("-")[0] == inner)
        own = max(0.0, 1 - once / (sum(found[file] for file in files) or 1))
        found |= {file: found[file] * own for file in files}
    return found


def stored(models: Iterable[str]) -> float:
    """MB of these models, as released or else in the cache."""
    places = [next((at for at in (RELEASED / file, cache_dir() / file) if at.exists()), None) for file in models]
    return sum(place.stat().st_size for place in places if place) / 1e6


@cache
def rounds(notebook: str) -> dict[str, int]:
    """{file: in which round it is met} of a notebook's models, as benchmarks.ahead found in profile smoke.

    Where there are more models of a name here than there, the rounds are spread over them. A notebook that it did not
    run is taken for a chain.
    """
    models = trainings(notebook)
    known = ahead.stored().get(notebook)
    if known is None:
        return {file: place for place, file in enumerate(models)}
    found = {}
    for name in dict.fromkeys(file.rpartition("-")[0] for file in models):
        files = [file for file in models if file.rpartition("-")[0] == name]
        there = known.get(name, [0])
        found |= {file: there[place * len(there) // len(files)] for place, file in enumerate(files)}
    return found


def graph(seeds: int, apart: bool, found: bool = False, only: str = "") -> dict[str, Job]:
    """Jobs that run all notebooks, or ``only`` one, with that many seeds, every model trained from nothing.

    A model that two notebooks share is trained by the first. Trainings are jobs of their own if ``apart``, else a
    notebook trains its own one after the other. With ``found``, a round of ``workbook.beside`` waits for those before.
    """
    jobs: dict[str, Job] = {}
    for seed in range(seeds):
        trained: set[str] = set()
        for name in [only] if only else notebooks():
            run = measured(name, "full") or {"s": 0.0}
            models = trainings(name)
            new = {file: seconds for file, seconds in models.items() if file not in trained}
            trained |= new.keys()
            if apart:
                met = rounds(name) if found else dict.fromkeys(models, 0)
                for file in sorted(new, key=met.__getitem__):
                    before = [f"{seed} {other}" for other in models if met[other] < met[file]]
                    jobs[f"{seed} {file}"] = (new[file], before)
                jobs[f"{seed} {name}"] = (run["s"], [f"{seed} {file}" for file in models])
            else:
                jobs[f"{seed} {name}"] = (run["s"] + sum(new.values()), [])
        if not only:
            before = [f"{seed} {name}" for name in notebooks() if name != SCOREBOARD]
            jobs[f"{seed} {SCOREBOARD}"] = (jobs[f"{seed} {SCOREBOARD}"][0], before)
    return jobs


def tails(jobs: dict[str, Job]) -> dict[str, float]:
    """Seconds from the beginning of each job to the end of all that waits for it. ``jobs`` names needs first."""
    tail: dict[str, float] = defaultdict(float)
    for name, (seconds, needs) in reversed(jobs.items()):
        tail[name] += seconds
        for need in needs:
            tail[need] = max(tail[need], tail[name])
    return tail


def makespan(jobs: dict[str, Job], cores: int, lot: int | None = None) -> float:
    """Seconds until all jobs have ended, if a free core always takes the ready job with the most behind it.

    With a ``lot``, the seed of a draw, it takes the one that was ready first, drawn where several were.
    """
    tail, waiting, followers = tails(jobs), {name: len(needs) for name, (_, needs) in jobs.items()}, defaultdict(list)
    for name, (_, needs) in jobs.items():
        for need in needs:
            followers[need].append(name)
    lots = random.Random(lot)
    running: list[tuple[float, str]] = []
    now = 0.0
    ready: list[tuple[float, float, str]] = []

    def queue(name: str) -> None:
        heapq.heappush(ready, (-tail[name], 0.0, name) if lot is None else (now, lots.random(), name))

    for name in (name for name, left in waiting.items() if not left):
        queue(name)
    while ready or running:
        while ready and len(running) < cores:
            *_, name = heapq.heappop(ready)
            heapq.heappush(running, (now + jobs[name][0], name))
        now, ended = heapq.heappop(running)
        for name in followers[ended]:
            waiting[name] -= 1
            if not waiting[name]:
                queue(name)
    return now


def planned(seeds: int) -> float:
    """Seconds that Snakemake takes to plan the runs of that many seeds in an empty folder."""
    with tempfile.TemporaryDirectory() as home:
        start = time.monotonic()
        environment = {**os.environ, "WORKBOOK_HOME": home, "PYTHONPATH": str(ROOT)}
        subprocess.run([sys.executable, "-c", PLAN, str(seeds)], check=True, cwd=ROOT, env=environment)
        return time.monotonic() - start


def long(seconds: float) -> str:
    """A duration as it is read."""
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def notebook_rows() -> list[list[str]]:
    """One row for each notebook."""
    rows = []
    for name in notebooks():
        full, smoke, models = measured(name, "full"), measured(name, "smoke"), trainings(name)
        row = [f"{full['s']:.0f}", f"{full['mb']:.0f}"] if full else ["", ""]
        row += [f"{written(name, 'full'):.1f}", f"{len(models)}", f"{stored(models):.0f}", long(sum(models.values()))]
        row += [
            long(max(models.values(), default=0)),
            *([f"{smoke['s']:.0f}", f"{smoke['mb']:.0f}"] if smoke else ["", ""]),
        ]
        rows.append([name, *row, f"{written(name, 'smoke'):.1f}" if smoke else ""])
    return rows


def table(head: str, rows: list[list[str]]) -> str:
    """A table in Markdown."""
    names = head.split(" | ")
    rule = ["---", *["---:"] * (len(names) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in [names, rule, *rows])


def predicted(apart: bool, found: bool = False) -> list[list[str]]:
    """One row for each number of seeds: for each number of cores the bound, the wall time, and the share that works."""
    rows = []
    for seeds in SEEDS[:2] if found else SEEDS:
        jobs = graph(seeds, apart, found)
        work = sum(seconds for seconds, _ in jobs.values())
        path = max(tails(jobs).values())
        row = [str(seeds)]
        for cores in CORES:
            walls = sorted(makespan(jobs, cores, lot) for lot in (range(LOTS) if found else [None]))
            shares = [f"{work / wall / cores:.0%}" for wall in (walls[-1], walls[0])]
            share = " to ".join(dict.fromkeys(shares))
            row.append(f"{long(max(work / cores, path))} / {long(walls[-1])} ({share})")
        rows.append(row)
    return rows


def found_rows() -> list[list[str]]:
    """One row for each notebook that trains: how much is found at once, and its wall time alone on 32 cores."""
    rows = []
    for name in filter(trainings, notebooks()):
        seconds, met = trainings(name), rounds(name)
        at_once = sum(spent for file, spent in seconds.items() if not met[file]) / (sum(seconds.values()) or 1)
        alone = [graph(1, True, found, name) for found in (True, False)]
        walls = [sum(spent for spent, _ in alone[0].values()), *(makespan(jobs, 32, 0) for jobs in alone)]
        number = str(max(met.values()) + 1) if name in ahead.stored() else "not run"
        rows.append([name, number, f"{at_once:.0%}", *map(long, walls)])
    return rows


def main() -> None:
    """Write docs/costs.md."""
    one, apart = graph(1, apart=False), graph(1, apart=True)
    longest = {name: max(tails(jobs).values()) for name, jobs in (("one", one), ("apart", apart))}
    first, second = (max(jobs, key=tails(jobs).__getitem__).split()[1] for jobs in (one, apart))
    runs = [run for name in notebooks() if (run := measured(name, "full"))]
    plan = [(seeds, planned(seeds)) for seeds in (1, 16)]
    slope = (plan[1][1] - plan[0][1]) / 15
    letters = len(f"build/full/seed999/{max(notebooks(), key=len)}.ipynb ")
    disk = sum(written(name, "full") for name in notebooks())
    models = {file for name in notebooks() for file in trainings(name)}
    kept = stored(models)
    peak = max(run["mb"] for run in runs)
    mean = sum(run["mb"] for run in runs) / len(runs)
    head = f"seeds | {' | '.join(f'{cores} cores' for cores in CORES)}"
    text = f"""# What it costs

Written by `python -m benchmarks.costs`. Seconds and peak memory are of the last runs, as Snakemake measured them; \
what a model took to train was recorded when it was trained. Both are from a machine with two cores that had other \
work at the time, so a quiet machine is faster. One thread each.

## Notebooks

"Run" is with all models trained. MB written are results, figures and the executed copy; models are as released. \
An empty cell was not measured.

{table(COLUMNS, notebook_rows())}

With everything trained, one seed is {long(sum(run["s"] for run in runs))} of one core. From nothing it is \
{long(sum(seconds for seconds, _ in one.values()))} of one core, {kept:.0f} MB of models and {disk:.0f} MB of results.

## Critical path

Where a notebook trains its models one after the other, one seed from nothing takes at least {
        long(longest["one"])
    }, through {first}. With trainings beside each other it would be at least {long(longest["apart"])}, \
through {second}; which training needs another one first is not known here.

## Predictions

Wall time from nothing, and the share of the cores that works, by a list schedule of the durations above: a free core \
takes the ready job with the most work behind it. Before the stroke stands what no schedule can beat: all work shared \
evenly, or the critical path. Models that notebooks of one seed share are trained once. \
Neighbouring seeds share models as well (a notebook of seed 3 with five seeds trains 3 to 7), which is not counted, so \
many seeds take less than this. Snakemake's own seconds, the queue of a cluster and its disks are not in it. Nothing \
beyond two cores was run.

One job for each notebook and seed:

{table(head, predicted(apart=False))}

One job for each training, and for each notebook and seed:

{table(head, predicted(apart=True))}

## Trainings beside each other

`make figures RETRAIN=1` trains models of one notebook beside each other (`workbook/beside.py`), as far as they are \
met before the notebook asks for them. `python -m benchmarks.ahead` notes in which round each is met, in profile \
smoke. A round begins where the notebook comes to a model that nobody has met, mostly because a choice depended on \
what was trained. \
If each round waits for the whole one before, which is more than it must, and a free core takes what was met first, \
it comes to what follows. The longest wall time and the shares are of {
        LOTS
    } draws. The seconds of a training count those inside it again; only the largest of these, in 14, is \
taken off here.

{table(head, predicted(apart=True, found=True))}

One notebook alone; the last column is without rounds.

{
        table(
            "notebook | rounds | of its training, in the first | one core | 32 cores | 32 cores, all at once",
            found_rows(),
        )
    }

## What breaks first

1. **Memory.** A notebook takes {mean:.0f} MB on average and at most {peak:.0f} MB: 32 at once {
        32 * mean / 1000:.0f} GB, 512 at \
once {512 * mean / 1000:.0f} GB. On one machine `make` starts only as many as fit; that many cores are a cluster's.
2. **Planning.** Snakemake plans 1 seed in {plan[0][1]:.0f} s and 16 in {
        plan[1][1]:.0f} s (measured), so 1,000 would take \
about {long(plan[0][1] + 999 * slope)}, and `make figures` plans twice.
3. **Disk.** 1,000 seeds keep up to {kept:.0f} GB of models and {disk:.0f} GB of results.
4. **The command.** All notebooks are named on it: 1,000 seeds are at most {
        1000 * len(notebooks()) * letters / 1e6:.1f} MB, of the 2 MB \
that Linux allows. Beyond about {2e6 / len(notebooks()) / letters:,.0f} seeds, run them in parts.
"""
    (ROOT / "docs/costs.md").write_text(text, "utf-8")


if __name__ == "__main__":
    main()
