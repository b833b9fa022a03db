"""Single-cell expression data: read the public file formats, normalise, reduce to principal component scores.

``load`` looks for files in a folder. For the report's data (Shekhar et al. 2016, retinal bipolar cells, 26 clusters)
these are GSE81904_BipolarUMICounts_Cell2016.txt.gz from GEO, and clust_retinal_bipolar.txt from the Single Cell Portal.
A ``.h5ad`` or ``.loom`` file also works. If the folder is empty, ``load`` returns real data that come with scanpy.
"""

from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

RETINA = "retinal bipolar cells (Shekhar et al. 2016)"
SUBSTITUTE = "blood cells (pbmc68k_reduced, bundled with scanpy), not the report's retinal cells"
LABEL_COLUMNS = ("label", "CLUSTER", "cluster", "cell_type", "celltype", "bulk_labels", "clusters")
QUALITY = {"min_genes": 500, "min_cells": 30}  # two of the thresholds of Shekhar et al. 2016


class CellsError(ValueError):
    """A file of cells cannot be used. The message names the file and says what was expected."""


def load(folder: Path) -> anndata.AnnData:
    """The cells in ``folder``, or scanpy's bundled cells if the folder has none; ``uns["name"]`` says which.

    ``X`` (cells, genes) is sparse; ``obs["label"]`` is the known cell type. Raises CellsError for files that cannot be
    used.
    """
    files = sorted(p for p in folder.glob("*") if p.is_file() and not p.name.startswith("."))
    if counts := [p for p in files if p.name.endswith(".txt.gz")]:
        clusters = [p for p in files if p.suffix == ".txt"]
        if len(counts) != 1 or len(clusters) != 1:
            raise CellsError(f"{folder}: expected one .txt.gz of counts and one .txt of clusters beside it")
        cells = read_umi(counts[0], clusters[0])
        cells.uns["name"] = RETINA if "GSE81904" in counts[0].name else counts[0].name
        return cells
    if len(files) > 1:
        raise CellsError(f"{folder} holds {', '.join(p.name for p in files)}; leave one .h5ad or .loom file there")
    if files:
        cells = read(files[0])
        cells.uns["name"] = files[0].name
        return cells
    import scanpy

    bundled = scanpy.datasets.pbmc68k_reduced()
    cells = _annotated(bundled.raw.X, bundled.obs_names, bundled.raw.var_names, bundled.obs["bulk_labels"])
    cells.uns["name"] = SUBSTITUTE
    return cells


def read(path: Path, label: str | None = None) -> anndata.AnnData:
    """Cells of an ``.h5ad`` or ``.loom`` file, with the known types from column ``label``.

    By default, the first of LABEL_COLUMNS that the file has. Raises CellsError for another format, a missing column, or
    cells without a label.
    """
    if path.suffix in (".pkl", ".pickle", ".p"):
        raise CellsError(
            f"{path.name} is a pickle, and opening a pickle runs whatever code is in it. Convert it where it was made: "
            "anndata.AnnData(X, obs={'label': labels}).write_h5ad('cells.h5ad')"
        )
    if path.suffix == ".h5ad":
        found = _opened(path, anndata.read_h5ad)
        column = _label_column(path, found.obs.columns, label)
        return _annotated(found.X, found.obs_names, found.var_names, found.obs[column], path)
    if path.suffix == ".loom":
        return _opened(path, lambda p: _read_loom(p, label))
    raise CellsError(
        f"{path.name}: expected .h5ad, .loom, or a .txt.gz of UMI counts with a .txt of clusters beside it"
    )


def read_umi(counts: Path, clusters: Path) -> anndata.AnnData:
    """Cells from UMI counts (tab-separated, genes as rows, cells as columns) and a table of their clusters.

    The cluster table has two header lines, NAME CLUSTER … and TYPE group …, as the Single Cell Portal prescribes.
    Cells that are missing from it are left out: the authors clustered only the cells that passed their quality checks.
    Raises CellsError if the files have another format, or if no cell has a cluster.
    """
    try:
        table = pd.read_csv(clusters, sep="\t", dtype=str, keep_default_na=False)
    except (OSError, pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise CellsError(f"{clusters.name} cannot be read as tab-separated text ({error})") from error
    if list(table.columns[:2]) != ["NAME", "CLUSTER"] or table.empty or table.iloc[0, 0] != "TYPE":
        expected = "two header lines, 'NAME<tab>CLUSTER…' and 'TYPE<tab>group…'"
        raise CellsError(f"{clusters.name}: expected {expected}; found columns {', '.join(table.columns[:4])}")
    label_of = dict(zip(table["NAME"][1:], table["CLUSTER"][1:], strict=True))
    if unnamed := [cell for cell, cluster in label_of.items() if not cluster.strip()]:
        raise CellsError(f"{clusters.name}: {len(unnamed)} cells have an empty CLUSTER, the first is {unnamed[0]}")

    genes, blocks, labelled = [], [], None
    try:
        # read a thousand genes at a time; NA is a valid gene name
        whole = {"sep": "\t", "index_col": 0, "keep_default_na": False, "na_values": [""]}
        for block in pd.read_csv(counts, chunksize=1000, **whole):
            if labelled is None:
                labelled = [cell for cell in block.columns if cell in label_of]
            if not all(np.issubdtype(kind, np.number) for kind in block.dtypes):
                raise CellsError(
                    f"{counts.name}: the columns hold text where counts were expected. The first column must be the "
                    "gene names, and every other column one cell"
                )
            if not isinstance(block.index[0], str):
                raise CellsError(f"{counts.name}: no column of gene names; the first column holds {block.index[0]!r}")
            if block[labelled].isna().to_numpy().any():
                raise CellsError(f"{counts.name}: a row has fewer fields than the header, or empty ones")
            genes += list(block.index)
            blocks.append(sparse.csr_matrix(block[labelled].to_numpy(np.float32)))
    except (OSError, EOFError, pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise CellsError(f"{counts.name} cannot be read as gzipped, tab-separated text ({error})") from error
    if not labelled:
        raise CellsError(
            f"no cell of {counts.name} has a cluster in {clusters.name}: do the two files belong together?"
        )
    matrix = sparse.vstack(blocks).T.tocsr()
    return _annotated(matrix, labelled, genes, [label_of[cell] for cell in labelled], counts)


def _read_loom(path: Path, label: str | None) -> anndata.AnnData:
    """A loom file is HDF5: /matrix (genes, cells), /row_attrs for genes, /col_attrs for cells."""
    with h5py.File(path) as file:
        if missing := [name for name in ("matrix", "row_attrs", "col_attrs") if name not in file]:
            raise CellsError(f"{path.name} is not a loom file: it has no /{missing[0]}")
        rows, columns = file["row_attrs"], file["col_attrs"]
        gene = next((name for name in ("Gene", "gene", "var_names", "Accession") if name in rows), None)
        if gene is None:
            raise CellsError(
                f"{path.name}: no gene names; expected row attribute Gene, found {', '.join(rows) or 'none'}"
            )
        column = _label_column(path, list(columns), label)
        cell = next((name for name in ("CellID", "obs_names") if name in columns), None)
        labels = _text(columns[column])
        names = _text(columns[cell]) if cell else [f"cell {i}" for i in range(len(labels))]
        matrix = sparse.csr_matrix(file["matrix"][:].T)
        return _annotated(matrix, names, _text(rows[gene]), labels, path)


def _text(values: h5py.Dataset) -> list[str]:
    return [v.decode() if isinstance(v, bytes) else str(v) for v in values[:]]


def _opened(path: Path, reader) -> anndata.AnnData:
    if not path.is_file():
        raise CellsError(f"{path} does not exist")
    try:
        return reader(path)
    except CellsError:
        raise
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise CellsError(f"{path.name} cannot be read as {path.suffix} ({error})") from error


def _label_column(path: Path, columns: list[str], label: str | None) -> str:
    column = label or next((name for name in LABEL_COLUMNS if name in columns), None)
    if column is None or column not in columns:
        wanted = repr(label) if label else f"one of {', '.join(LABEL_COLUMNS)}"
        raise CellsError(f"{path.name}: no column of labels; expected {wanted}, found {', '.join(columns) or 'none'}")
    return column


def _annotated(matrix, names, genes, labels, path: Path | None = None) -> anndata.AnnData:
    labels = pd.Series(np.asarray(labels, dtype=object), dtype=object)
    absent = labels.isna() | labels.astype(str).str.strip().isin(["", "nan"])
    if absent.any():
        first = list(names)[int(absent.to_numpy().argmax())]
        raise CellsError(
            f"{path.name}: {absent.sum()} of {len(labels)} cells have no label, the first is {first}; "
            "give them one or leave them out"
        )
    cells = anndata.AnnData(sparse.csr_matrix(matrix), obs=pd.DataFrame(index=pd.Index(list(names), dtype=str)))
    cells.var_names = pd.Index(list(genes), dtype=str)
    cells.obs["label"] = pd.Categorical(labels.astype(str).to_numpy())
    return cells


def normalise(cells: anndata.AnnData) -> anndata.AnnData:
    """Scale each cell's counts to the median total, take log(1 + x), and drop cells and genes with too few counts.

    Only whole numbers are treated as counts; data that are already normalised are returned unchanged.
    """
    import scanpy

    values = cells.X.data[:100_000]
    if (values != np.round(values)).any():
        return cells
    cells = cells.copy()
    scanpy.pp.filter_cells(cells, min_genes=QUALITY["min_genes"])
    scanpy.pp.filter_genes(cells, min_cells=QUALITY["min_cells"])
    if not cells.n_obs or not cells.n_vars:
        rule = f"{QUALITY['min_genes']} genes in a cell, {QUALITY['min_cells']} cells with a gene"
        raise CellsError(f"no cell passes the checks ({rule}): is this a matrix of counts, cells by genes?")
    scanpy.pp.normalize_total(cells)
    scanpy.pp.log1p(cells)
    return cells


def pca_scores(
    cells: anndata.AnnData, train: NDArray[np.int64], test: NDArray[np.int64], components: int = 784
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Scores (n, C) of training and test cells on the principal components of the training cells.

    C is ``components``, or fewer if the training cells have fewer.
    """
    from sklearn.decomposition import PCA

    count = min(components, len(train) - 1, cells.n_vars)
    pca = PCA(count, random_state=0).fit(cells.X[train].toarray())
    return tuple(pca.transform(cells.X[index].toarray()).astype(np.float32) for index in (train, test))
