"""Chapter 03 on small files like the retinal ones; and the reader at the size of the public ones, not by default.

    WORKBOOK_LARGE=1 python -m pytest -s tests/lib/test_single_cell_at_size.py  # minutes, and 100 MB of disk

The files are made up, in the public format: tab-separated counts, genes in rows, cells in columns, compressed by gzip,
and a table of clusters with two header lines that lists some of the cells.
"""

import gzip
import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from lib.data.single_cell import RETINA
from workbook.paths import NOTEBOOKS
from workbook.tools.kernel import execute

GENES, CELLS, CLUSTERED = 24_904, 44_994, 27_499  # as published (GEO series GSE81904, Single Cell Portal SCP3)
LIMIT = 4 * 2**30  # bytes
STEPS = """
import json, resource, sys, time
from pathlib import Path

import numpy as np

from lib.data import single_cell

def told(name, start, **more):
    seconds, peak = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"step": name, "seconds": round(seconds, 1), "peak": peak} | more), flush=True)
    return time.perf_counter()

start = time.perf_counter()
found = single_cell.load(Path(sys.argv[1]))
sums = {"genes": np.asarray(found.X.sum(0)).ravel().tolist(), "cells": np.asarray(found.X.sum(1)).ravel().tolist()}
about = {"source": found.uns["name"], "labels": found.obs["label"].astype(str).tolist(), "shape": found.shape}
start = told("read", start, sums=sums, **about)
found = single_cell.normalise(found)
start = told("normalise", start, shape=found.shape)
order = np.random.RandomState(0).permutation(found.n_obs)[:21_552]
scores = single_cell.pca_scores(found.X, np.sort(order[4_311:]), np.sort(order[:4_311]), components=784)
told("784 principal components", start, shapes=[each.shape for each in scores])
"""


def write_row(name, counts):
    """One line of the file; nearly all counts have one digit, so the line is filled as an array of letters."""
    line = np.empty((len(counts), 2), np.uint8)
    line[:, 0], line[:, 1] = ord("\t"), ord("0") + np.minimum(counts, 9)
    pieces, last = [name.encode()], 0
    for i in np.flatnonzero(counts > 9):
        pieces += [line[last:i].tobytes(), b"\t%d" % counts[i]]
        last = i + 1
    return b"".join([*pieces, line[last:].tobytes(), b"\n"])


def write_files(folder, genes, cells, clustered, seed=0):
    """Files like the public ones; returns the labels of the clustered cells and the sums of their counts."""
    random = np.random.default_rng(seed)
    letters = np.array(list("ACGT"))[random.integers(4, size=(cells, 12))]
    names = [f"Bipolar{1 + 6 * i // cells}_{''.join(row)}_{i}" for i, row in enumerate(letters)]
    listed = np.sort(random.permutation(cells)[:clustered])
    labels = [f"cluster {i}" for i in random.integers(1, 27, clustered)]
    rows = [f"{names[i]}\t{label}\t{label}" for i, label in zip(listed, labels, strict=True)]
    random.shuffle(rows)  # the table has an order of its own
    head = "NAME\tCLUSTER\tSUB-CLUSTER\nTYPE\tgroup\tgroup\n"
    (folder / "clust_retinal_bipolar.txt").write_text(head + "\n".join(rows) + "\n", "utf-8")

    depth = random.lognormal(7.2, 0.4, cells)  # molecules in a cell: median about 1,300
    share = random.lognormal(0, 2, genes)
    share /= share.sum()
    sums, totals = np.zeros(genes), np.zeros(clustered)
    with gzip.open(folder / "GSE81904_BipolarUMICounts_Cell2016.txt.gz", "wb", compresslevel=1) as file:
        file.write(("\t".join(["", *names]) + "\n").encode())
        for gene in range(genes):
            counts = random.poisson(depth * share[gene])
            file.write(write_row(f"Gene{gene}", counts))
            sums[gene] = counts[listed].sum()
            totals += counts[listed]
    return labels, sums, totals


@pytest.mark.smoke
@pytest.mark.parametrize("notebook", ["03_autoencoder_single_cell"])
def test_the_chapter_runs_on_files_of_the_public_format(notebook, tmp_path, monkeypatch):
    write_files(tmp_path, genes=1500, cells=900, clustered=700)
    chapter, there = (NOTEBOOKS / f"{notebook}.ipynb").read_text("utf-8"), r"DATA / \"cells\""
    assert there in chapter
    (tmp_path / "03.ipynb").write_text(chapter.replace(there, rf"DATA / \"{tmp_path}\""), "utf-8")
    monkeypatch.setenv("WORKBOOK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    execute(tmp_path / "03.ipynb", tmp_path / "executed.ipynb", {"profile": "smoke"}, tmp_path / "out")
    found = json.loads((tmp_path / "out" / "results.json").read_text("utf-8"))
    assert found["items"]["cpsc453.fig-10"]["value"]["data"] == RETINA
    assert all("clusters" in run for run in found["items"]["cpsc453.num-clusters"]["runs"])
    assert {"cpsc453.num-clusters", "cpsc453.q-3.2.1"} <= found["tested"].keys()


@pytest.mark.skipif("WORKBOOK_LARGE" not in os.environ, reason="minutes; run with WORKBOOK_LARGE=1")
def test_files_of_the_published_size_are_read_in_less_than_four_gigabytes(tmp_path):
    start = time.perf_counter()
    labels, sums, totals = write_files(tmp_path, GENES, CELLS, CLUSTERED)
    size = (tmp_path / "GSE81904_BipolarUMICounts_Cell2016.txt.gz").stat().st_size
    print(f"\n{GENES:,} genes × {CELLS:,} cells, {size / 1e6:.0f} MB, made in {time.perf_counter() - start:.0f} s")
    run = subprocess.run([sys.executable, "-c", STEPS, tmp_path], capture_output=True, encoding="utf-8", check=False)
    steps = [json.loads(line) for line in run.stdout.splitlines() if line.startswith("{")]
    for step in steps:
        print(f"{step['step']}: {step['seconds']:.0f} s, peak memory so far {step['peak'] / 2**30:.2f} GB")
    assert run.returncode == 0, run.stderr
    read, _, components = steps
    assert read["source"].startswith("retinal bipolar cells")
    assert read["shape"] == [CLUSTERED, GENES]
    assert read["labels"] == labels
    assert read["sums"] == {"genes": sums.tolist(), "cells": totals.tolist()}
    assert components["shapes"] == [[17_241, 784], [4_311, 784]]
    assert max(step["peak"] for step in steps) < LIMIT
