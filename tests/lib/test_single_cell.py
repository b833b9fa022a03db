"""Readers of single-cell data, on small files in the public formats."""

import gzip
import pickle

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from lib.data import single_cell

GENES = ["Rho", "Vsx2", "Prkca"]
COUNTS = np.array([[0, 3, 1], [5, 0, 2], [0, 0, 7], [1, 1, 1]])  # cells by genes
NAMES = ["Bipolar1_AAAC", "Bipolar1_CCGT", "Bipolar2_GGTA", "Bipolar2_TTAC"]
CLUSTERS = ["1", "5", "1"]  # of the first three; the fourth failed the authors' checks


def write_umi(folder, header=("", *NAMES), genes=GENES, counts=COUNTS):
    lines = ["\t".join(header)]
    lines += ["\t".join([gene, *map(str, row)]) for gene, row in zip(genes, np.asarray(counts).T, strict=True)]
    (folder / "GSE81904_BipolarUMICounts_Cell2016.txt.gz").write_bytes(gzip.compress("\n".join(lines).encode()))


def write_clusters(folder, clusters=CLUSTERS, head="NAME\tCLUSTER\tSUB-CLUSTER\nTYPE\tgroup\tgroup\n"):
    rows = [f"{name}\t{cluster}\t{cluster}" for name, cluster in zip(NAMES, clusters, strict=False)]
    (folder / "clust_retinal_bipolar.txt").write_text(head + "\n".join(rows) + "\n", "utf-8")


def expect(found, n=3):
    assert np.array_equal(found.X.toarray(), COUNTS[:n])
    assert list(found.obs_names) == NAMES[:n]
    assert list(found.var_names) == GENES
    assert list(found.obs["label"])[:3] == CLUSTERS


def test_retinal_files_as_published(tmp_path):
    write_umi(tmp_path)
    write_clusters(tmp_path)
    found = single_cell.load(tmp_path)
    expect(found)
    assert found.uns["name"] == single_cell.RETINA
    assert sparse.issparse(found.X)


def test_more_genes_than_one_block(tmp_path):
    write_umi(tmp_path, genes=[f"g{i}" for i in range(2500)], counts=np.tile(np.arange(2500), (4, 1)))
    write_clusters(tmp_path)
    assert np.array_equal(single_cell.load(tmp_path).X.toarray(), np.tile(np.arange(2500), (3, 1)))


def test_cluster_table_needs_its_two_header_lines(tmp_path):
    write_umi(tmp_path)
    write_clusters(tmp_path, head="NAME\tCLUSTER\tSUB-CLUSTER\n")
    with pytest.raises(single_cell.CellsError, match=r"clust_retinal_bipolar\.txt: expected two header lines"):
        single_cell.load(tmp_path)


def test_cells_without_a_cluster(tmp_path):
    write_umi(tmp_path)
    write_clusters(tmp_path, clusters=["1", " ", "1"])
    with pytest.raises(single_cell.CellsError, match="1 cells have an empty CLUSTER, the first is Bipolar1_CCGT"):
        single_cell.load(tmp_path)


def test_each_cell_has_its_own_cluster_whatever_the_order_of_the_table(tmp_path):
    write_umi(tmp_path)
    rows = [f"{NAMES[i]}\tcluster {i}" for i in (2, 0, 1)]
    (tmp_path / "clust.txt").write_text("NAME\tCLUSTER\nTYPE\tgroup\n" + "\n".join(rows) + "\n", "utf-8")
    found = single_cell.load(tmp_path)
    assert list(found.obs_names) == NAMES[:3]
    assert list(found.obs["label"]) == ["cluster 0", "cluster 1", "cluster 2"]


def test_files_that_do_not_belong_together(tmp_path):
    write_umi(tmp_path, header=("", "a", "b", "c", "d"))
    write_clusters(tmp_path)
    with pytest.raises(single_cell.CellsError, match="belong together"):
        single_cell.load(tmp_path)


@pytest.mark.parametrize("corner", [[], [""], ["GENE"]])
def test_header_with_and_without_a_name_for_the_genes(tmp_path, corner):
    write_umi(tmp_path, header=(*corner, *(f'"{name}"' for name in NAMES)), genes=[f'"{gene}"' for gene in GENES])
    write_clusters(tmp_path)
    expect(single_cell.load(tmp_path))


def test_counts_of_more_than_one_digit_and_not_whole(tmp_path):
    odd = np.array([[0, 12, 1.5], [10234, 0, 2], [0, 0, 7], [1, 1, 1]])
    write_umi(tmp_path, counts=odd)
    write_clusters(tmp_path)
    assert np.array_equal(single_cell.load(tmp_path).X.toarray(), odd[:3].astype(np.float32))


@pytest.mark.parametrize(
    ("row", "said"), [("1\t2\t3\t4\t5", "more or fewer"), ("1\t\t3\t4", "empty"), ("1\tnan\t3\t4", "finite")]
)
def test_rows_that_do_not_fit(tmp_path, row, said):
    text = "\t" + "\t".join(NAMES) + "\nRho\t0\t0\t0\t0\nVsx2\t" + row + "\n"
    (tmp_path / "counts.txt.gz").write_bytes(gzip.compress(text.encode()))
    write_clusters(tmp_path)
    with pytest.raises(single_cell.CellsError, match=said):
        single_cell.load(tmp_path)


def test_missing_gene_column(tmp_path):
    lines = ["\t".join(NAMES), *("\t".join(map(str, row)) for row in COUNTS.T)]
    (tmp_path / "counts.txt.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    write_clusters(tmp_path)
    with pytest.raises(single_cell.CellsError, match="no column of gene names"):
        single_cell.load(tmp_path)


def test_text_where_counts_should_be(tmp_path):
    write_umi(tmp_path, counts=[["x", 3, 1], [5, 0, 2], [0, 0, 7], [1, 1, 1]])
    write_clusters(tmp_path)
    with pytest.raises(single_cell.CellsError, match="hold text where counts"):
        single_cell.load(tmp_path)


def test_file_that_is_not_gzip(tmp_path):
    (tmp_path / "counts.txt.gz").write_text("Rho\t1\n", "utf-8")
    write_clusters(tmp_path)
    with pytest.raises(single_cell.CellsError, match="cannot be read as gzipped"):
        single_cell.load(tmp_path)


def test_short_row_is_not_filled_with_nan(tmp_path):
    text = "\tBipolar1_AAAC\tBipolar1_CCGT\tBipolar2_GGTA\nRho\t1\t2\t3\nVsx2\t1\t2\n"
    (tmp_path / "counts.txt.gz").write_bytes(gzip.compress(text.encode()))
    write_clusters(tmp_path)
    with pytest.raises(single_cell.CellsError, match="fewer fields than the header"):
        single_cell.load(tmp_path)


def test_gene_called_na(tmp_path):
    write_umi(tmp_path, genes=["NA", "nan", "Rho"])
    write_clusters(tmp_path)
    assert list(single_cell.load(tmp_path).var_names) == ["NA", "nan", "Rho"]


@pytest.mark.parametrize("text", ["", "NAME\tCLUSTER\nTYPE\tgroup\na\t1\t2\t3\t4\n"])
def test_unreadable_cluster_table(tmp_path, text):
    write_umi(tmp_path)
    (tmp_path / "clust.txt").write_text(text, "utf-8")
    with pytest.raises(single_cell.CellsError, match=r"clust\.txt cannot be read"):
        single_cell.load(tmp_path)


def write_h5ad(path, labels=(*CLUSTERS, "2"), column="CLUSTER"):
    obs = pd.DataFrame({column: pd.Categorical(labels)}, index=NAMES)
    anndata.AnnData(sparse.csr_matrix(COUNTS), obs=obs, var=pd.DataFrame(index=GENES)).write_h5ad(path)


def test_h5ad(tmp_path):
    write_h5ad(tmp_path / "mine.h5ad")
    found = single_cell.load(tmp_path)
    expect(found, 4)
    assert found.uns["name"] == "mine.h5ad"


def test_h5ad_without_labels(tmp_path):
    write_h5ad(tmp_path / "mine.h5ad", column="colour")
    with pytest.raises(
        single_cell.CellsError, match=r"no column of labels; expected one of label, CLUSTER.*found colour"
    ):
        single_cell.load(tmp_path)
    assert list(single_cell.read(tmp_path / "mine.h5ad", label="colour").obs["label"]) == [*CLUSTERS, "2"]


def test_h5ad_with_a_cell_without_label(tmp_path):
    write_h5ad(tmp_path / "mine.h5ad", labels=["1", None, "2", "2"])
    with pytest.raises(single_cell.CellsError, match="1 of 4 cells have no label, the first is Bipolar1_CCGT"):
        single_cell.load(tmp_path)


def write_loom(path, rows=("Gene",), columns=("CellID", "CLUSTER")):
    with h5py.File(path, "w") as file:
        file["matrix"] = COUNTS.T
        file.create_group("row_attrs")
        file.create_group("col_attrs")
        for name in rows:
            file[f"row_attrs/{name}"] = np.array(GENES, dtype="S")
        values = {"CellID": NAMES, "CLUSTER": [*CLUSTERS, "2"]}
        for name in columns:
            file[f"col_attrs/{name}"] = np.array(values[name], dtype="S")


def test_loom(tmp_path):
    write_loom(tmp_path / "mine.loom")
    expect(single_cell.load(tmp_path), 4)


def test_loom_without_genes_or_labels(tmp_path):
    write_loom(tmp_path / "mine.loom", rows=())
    with pytest.raises(single_cell.CellsError, match="no gene names"):
        single_cell.load(tmp_path)
    write_loom(tmp_path / "mine.loom", columns=("CellID",))
    with pytest.raises(single_cell.CellsError, match="no column of labels"):
        single_cell.load(tmp_path)


@pytest.mark.parametrize("name", ["mine.h5ad", "mine.loom"])
def test_wrong_content(tmp_path, name):
    (tmp_path / name).write_text("not HDF5", "utf-8")
    with pytest.raises(single_cell.CellsError, match="cannot be read"):
        single_cell.load(tmp_path)


@pytest.mark.filterwarnings("ignore:Element '/temperature' was written without encoding")
def test_hdf5_of_something_else(tmp_path):
    with h5py.File(tmp_path / "mine.h5ad", "w") as file:
        file["temperature"] = [1.0]
    with pytest.raises(single_cell.CellsError, match=r"mine\.h5ad cannot be read"):
        single_cell.load(tmp_path)


def test_loom_whose_labels_do_not_fit(tmp_path):
    write_loom(tmp_path / "mine.loom")
    with h5py.File(tmp_path / "mine.loom", "a") as file:
        del file["matrix"]
        file["matrix"] = COUNTS.T[:, :2]
    with pytest.raises(single_cell.CellsError, match=r"mine\.loom cannot be read"):
        single_cell.load(tmp_path)


def test_wrong_file(tmp_path):
    (tmp_path / "notes.docx").write_text("", "utf-8")
    with pytest.raises(single_cell.CellsError, match=r"notes.docx: expected \.h5ad, \.loom, or"):
        single_cell.load(tmp_path)
    with pytest.raises(single_cell.CellsError, match=r"absent\.h5ad does not exist"):
        single_cell.read(tmp_path / "absent.h5ad")
    (tmp_path / "b.h5ad").write_text("", "utf-8")
    with pytest.raises(single_cell.CellsError, match="leave one"):
        single_cell.load(tmp_path)


def test_pickle_is_refused_unopened(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "opened"), "w"))

    (tmp_path / "merged.pickle").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(single_cell.CellsError, match="write_h5ad"):
        single_cell.load(tmp_path)
    assert not (tmp_path / "opened").exists()


def test_substitute_when_there_is_no_file(tmp_path):
    found = single_cell.load(tmp_path)
    assert found.shape == (700, 765)
    assert found.obs["label"].nunique() == 10
    assert found.uns["name"] == single_cell.SUBSTITUTE
    assert single_cell.normalise(found) is found, "it is normalised already"


def counts(n=60, genes=800, seed=0):
    drawn = np.random.default_rng(seed).poisson(2, (n, genes)).astype(np.float32)
    found = anndata.AnnData(sparse.csr_matrix(drawn))
    found.obs["label"] = pd.Categorical(["a"] * n)
    return found


def test_normalise_counts():
    raw = counts()
    raw.X = sparse.csr_matrix(raw.X.toarray() * (np.arange(60) > 0)[:, None])
    found = single_cell.normalise(raw)
    assert found.shape == (59, 800), "the empty cell is left out"
    totals = np.expm1(found.X.toarray()).sum(1)
    assert np.allclose(totals, 10_000, rtol=1e-3), "every cell has the same depth"
    kept, total = single_cell.counts_of(found)
    assert np.array_equal(kept.toarray(), raw.X.toarray()[1:])
    assert np.array_equal(total, raw.X.toarray()[1:].sum(1))


def test_counts_are_found_again_behind_normalised_values(tmp_path):
    raw = counts()
    found = single_cell.normalise(raw)
    del found.layers["counts"]
    assert np.array_equal(single_cell.counts_of(found)[0].toarray(), raw.X.toarray())
    substitute = single_cell.load(tmp_path)
    again, total = single_cell.counts_of(substitute)
    assert np.abs((single_cell.log_normalised(again, total) - substitute.X).toarray()).max() < 0.001, (
        "it has three decimals"
    )
    substitute.X = substitute.X.multiply(substitute.X).tocsr()
    with pytest.raises(single_cell.CellsError, match="not log"):
        single_cell.counts_of(substitute)


def test_normalise_refuses_what_are_no_counts_of_cells():
    with pytest.raises(single_cell.CellsError, match="no cell passes"):
        single_cell.normalise(counts(genes=40))


def test_scores_are_fitted_on_the_training_cells():
    found = counts()
    train, test = np.arange(50), np.arange(50, 60)
    a, b = single_cell.pca_scores(found.X, train, test)
    assert a.shape == (50, 49)
    assert b.shape == (10, 49)
    assert np.allclose(a.mean(0), 0, atol=1e-4)
    assert not np.allclose(b.mean(0), 0, atol=1e-2)
    found.X = sparse.csr_matrix(found.X.toarray() * (np.arange(60) < 50)[:, None])
    assert np.allclose(single_cell.pca_scores(found.X, train, test)[0], a), "test cells change nothing"


def h5ad(folder, matrix, **more):
    cells = anndata.AnnData(matrix, obs=pd.DataFrame({"label": list("aab")}, index=NAMES[:3]), **more)
    cells.write_h5ad(folder / "cells.h5ad")


def test_a_file_without_a_matrix_says_which_matrices_it_has(tmp_path):
    h5ad(tmp_path, None, layers={"counts": COUNTS[:3].astype(float)})
    with pytest.raises(single_cell.CellsError, match=r"cells\.h5ad has no matrix X\. It has layers\['counts'\]; write"):
        single_cell.load(tmp_path)
    h5ad(tmp_path, None, var=pd.DataFrame(index=GENES))
    with pytest.raises(single_cell.CellsError, match="It has no other matrix either"):
        single_cell.load(tmp_path)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_matrix, sparse.csc_matrix])
def test_counts_that_are_not_finite_do_not_pass(tmp_path, wrong, kind):
    counts = COUNTS[:3].astype(np.float32)
    counts[1, 2] = wrong
    h5ad(tmp_path, kind(counts))
    with pytest.raises(single_cell.CellsError, match=r"cells\.h5ad: 1 values of its matrix are not finite"):
        single_cell.load(tmp_path)


@pytest.mark.parametrize("name", ["cells.zarr", "cells.zarr.zip"])
def test_a_zarr_store_is_not_skipped_in_silence(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(single_cell.CellsError, match=rf"anndata\.read_zarr\('{name}'\)\.write_h5ad"):
        single_cell.load(tmp_path)


def test_scores_do_not_depend_on_the_last_bits_of_their_values():
    """Else components that explain nearly the same would turn or swap from one processor to the next."""
    values = single_cell.normalise(counts()).X.astype(np.float64)
    train, test = np.arange(50), np.arange(50, 60)
    other = values.copy()
    other.data *= 1 + 1e-16 * np.random.default_rng(0).integers(-2, 3, len(other.data))
    assert (other != values).nnz > 0
    for a, b in zip(
        single_cell.pca_scores(values, train, test), single_cell.pca_scores(other, train, test), strict=True
    ):
        assert (a == b).mean() > 0.999
        assert np.allclose(a, b, rtol=1e-6, atol=1e-6)


def test_a_cell_is_scaled_by_all_its_counts_also_of_genes_that_are_left_out(monkeypatch):
    """And exactly as many genes, or cells, as the rule says are enough."""
    monkeypatch.setattr(single_cell, "QUALITY", {"min_genes": 2, "min_cells": 3})
    matrix = sparse.csr_matrix(np.array([[1, 1, 0, 8], [2, 1, 0, 0], [1, 3, 0, 0], [0, 0, 1, 0]], np.float32))
    found = single_cell.normalise(anndata.AnnData(matrix))
    assert found.obs["total"].tolist() == [10, 3, 4]
    assert found.layers["counts"].toarray().tolist() == [[1, 1], [2, 1], [1, 3]]
    assert found.X.toarray()[0] == pytest.approx(np.log1p(single_cell.DEPTH * np.array([0.1, 0.1])))
