"""Single-cell expression data: read the public file formats, normalise, reduce to principal component scores.

``load`` looks for files in a folder. For the report's data (Shekhar et al. 2016, retinal bipolar cells, 26 clusters)
these are GSE81904_BipolarUMICounts_Cell2016.txt.gz from GEO, and clust_retinal_bipolar.txt from the Single Cell Portal.
A ``.h5ad`` or ``.loom`` file also works. If the folder is empty, ``load`` returns real data that come with scanpy.
"""

import gzip
import zlib
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
DEPTH = 1e4  # counts that every cell is scaled to: the factor of the bundled cells, and of scanpy and Seurat
QUALITY = {"min_genes": 500, "min_cells": 30}  # two of the thresholds of Shekhar et al. 2016


class CellsError(ValueError):
    """A file of cells cannot be used. The message names the file and says what was expected."""


def load(folder: Path) -> anndata.AnnData:
    """The cells in ``folder``, or scanpy's bundled cells if the folder has none; ``uns["name"]`` says which.

    ``X`` (cells, genes) is sparse; ``obs["label"]`` is the known cell type. scanpy's cells come with 765 genes, chosen
    because they vary much, so ``obs["total"]`` holds the counts of all genes. Raises CellsError for files that cannot
    be used.
    """
    files = sorted(p for p in folder.glob("*") if not p.name.startswith("."))
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
    cells.obs["total"] = bundled.obs["n_counts"].to_numpy()
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
    if ".zarr" in path.suffixes:
        raise CellsError(
            f"{path.name} is a zarr store, which is not read here. Convert it: "
            f"anndata.read_zarr({path.name!r}).write_h5ad('cells.h5ad')"
        )
    if path.suffix == ".h5ad":
        found = _opened(path, anndata.read_h5ad)
        if found.X is None:
            others = [f"layers[{name!r}]" for name in found.layers] + ["raw.X"] * (found.raw is not None)
            raise CellsError(
                f"{path.name} has no matrix X. It has {' and '.join(others) or 'no other matrix either'}; write the "
                "file again with X set to the counts, cells by genes"
            )
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

    try:
        with gzip.open(counts, "rb") as file:
            return _read_rows(file, counts, label_of, clusters.name)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise CellsError(f"{counts.name} cannot be read as gzipped, tab-separated text ({error})") from error


def _read_rows(file: gzip.GzipFile, path: Path, label_of: dict[str, str], clusters: str) -> anndata.AnnData:
    """The labelled cells of a table of counts. One row is in memory at a time, and only counts above 0 are kept."""
    names = [_name(field) for field in file.readline().rstrip(b"\r\n").split(b"\t")]
    genes, columns, values, kept = [], [], [], None
    for line in file:
        gene, _, rest = line.rstrip(b"\r\n").partition(b"\t")
        if not gene and not rest:
            continue
        if not genes:
            if _is_number(gene):
                raise CellsError(f"{path.name}: no column of gene names; the first column holds {gene.decode()}")
            if rest.count(b"\t") + 1 < len(names):
                names = names[1:]  # the header names the column of genes as well, or leaves it empty
            kept = np.array([i for i, name in enumerate(names) if name in label_of], dtype=np.int64)
            if not len(kept):
                raise CellsError(
                    f"no cell of {path.name} has a cluster in {clusters}: do the two files belong together?"
                )
        counts = _row_of_counts(rest, path, _name(gene), len(names))[kept]
        above = np.flatnonzero(counts)
        genes.append(_name(gene))
        columns.append(above.astype(np.int32))
        values.append(counts[above])
    if not genes:
        raise CellsError(f"{path.name} has no genes below its header")
    ends = np.cumsum([0, *map(len, columns)])
    by_gene = sparse.csr_matrix((np.concatenate(values), np.concatenate(columns), ends), (len(genes), len(kept)))  # pyrefly: ignore
    labelled = [names[i] for i in kept]  # pyrefly: ignore
    return _annotated(by_gene.T.tocsr(), labelled, genes, [label_of[cell] for cell in labelled], path)


def _row_of_counts(text: bytes, path: Path, gene: str, n: int) -> NDArray[np.float32]:
    """The ``n`` numbers of a row. Nearly all are one digit, which numpy reads from the letters, all at once."""
    letters = np.frombuffer(text, np.uint8)
    ends = np.append(np.flatnonzero(letters == ord("\t")), len(letters))
    begins = np.append(0, ends[:-1] + 1)
    length = ends - begins
    if len(ends) != n or not length.all():
        raise CellsError(f"{path.name}: the row of {gene} has more or fewer fields than the header, or empty ones")
    counts = (letters[begins] - np.float32(ord("0"))).astype(np.float32)
    others = np.flatnonzero((length > 1) | (counts < 0) | (counts > 9))
    try:
        counts[others] = [float(text[begins[i] : ends[i]]) for i in others]
    except ValueError:
        raise CellsError(
            f"{path.name}: the columns hold text where counts were expected. The first column must be the "
            "gene names, and every other column one cell"
        ) from None
    if not np.isfinite(counts).all():
        raise CellsError(f"{path.name}: the row of {gene} holds numbers that are not finite")
    return counts


def _name(field: bytes) -> str:
    """A name without the quotes that some programs write around it."""
    return field.decode().strip('"')


def _is_number(field: bytes) -> bool:
    return field.strip(b'"').replace(b".", b"", 1).isdigit()


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
            f"{path.name}: {absent.sum()} of {len(labels)} cells have no label, the first is {first}; "  # pyrefly: ignore
            "give them one or leave them out"
        )
    matrix = sparse.csr_matrix(matrix)
    if wrong := np.count_nonzero(~np.isfinite(matrix.data)):
        raise CellsError(f"{path.name}: {wrong} values of its matrix are not finite numbers")  # pyrefly: ignore
    cells = anndata.AnnData(matrix, obs=pd.DataFrame(index=pd.Index(list(names), dtype=str)))
    cells.var_names = pd.Index(list(genes), dtype=str)
    cells.obs["label"] = pd.Categorical(labels.astype(str).to_numpy())
    return cells


def normalise(cells: anndata.AnnData) -> anndata.AnnData:
    """Values log(1 + DEPTH · count / total of the cell), without cells and genes that have too few counts.

    Only whole numbers are treated as counts, and are kept in ``layers["counts"]``, their totals in ``obs["total"]``.
    Data that are already normalised are returned unchanged.
    """
    import scanpy

    values = cells.X.data[:100_000]
    if (values != np.round(values)).any():
        return cells
    enough = np.diff(cells.X.tocsr().indptr) >= QUALITY["min_genes"]
    cells = cells[enough].copy()
    cells.obs["total"] = np.asarray(cells.X.sum(1)).ravel()
    scanpy.pp.filter_genes(cells, min_cells=QUALITY["min_cells"])
    if not cells.n_obs or not cells.n_vars:
        rule = f"{QUALITY['min_genes']} genes in a cell, {QUALITY['min_cells']} cells with a gene"
        raise CellsError(f"no cell passes the checks ({rule}): is this a matrix of counts, cells by genes?")
    cells.layers["counts"] = cells.X.copy()
    cells.X = log_normalised(cells.X, cells.obs["total"].to_numpy())
    return cells


def log_normalised(counts: sparse.csr_matrix, totals: NDArray[np.float32], depth: float = DEPTH) -> sparse.csr_matrix:
    """log(1 + depth · count / total) of counts (n, genes) of cells with these totals (n,)."""
    scaled = counts.multiply((depth / totals.astype(np.float64))[:, None])  # single precision differs by processor
    return sparse.csr_matrix(scaled).log1p().astype(np.float32)


def counts_of(cells: anndata.AnnData) -> tuple[sparse.csr_matrix, NDArray[np.float64]]:
    """Counts (n, genes) behind normalised cells, and the total of each cell (n,).

    Where no counts are kept, they are found again: behind values log(1 + factor · count), the smallest of a cell is
    that of a single molecule, which gives the factor. Raises CellsError if the values have another form.
    """
    if "counts" in cells.layers:
        return cells.layers["counts"], cells.obs["total"].to_numpy(np.float64)
    counts = sparse.csr_matrix(cells.X).expm1()
    one = np.array([row.data.min() if row.nnz else 1.0 for row in counts])
    counts = sparse.csr_matrix(counts.multiply(1 / one[:, None]))
    away = np.abs(counts.data - np.round(counts.data))
    if np.quantile(away, 0.99) > 0.1:
        raise CellsError("these values are not log(1 + factor · count), with one factor for each cell")
    counts.data = np.round(counts.data).astype(np.float32)
    given = cells.obs["total"].to_numpy() if "total" in cells.obs else np.asarray(counts.sum(1)).ravel()
    return counts, given.astype(np.float64)


def pca_scores(
    values: sparse.csr_matrix, fitted: NDArray[np.int64], *others: NDArray[np.int64], components: int = 784
) -> tuple[NDArray[np.float32], ...]:
    """Scores (n, C) of the cells ``fitted``, and of ``others``, on the principal components of the former.

    ``values`` (n, genes) are normalised. C is ``components``, or fewer if there are fewer. Components that explain
    nearly the same would turn or swap with the last bits of single precision, so all is computed in double precision,
    without making the matrix dense; the largest loading of each component is positive.
    """
    from sklearn.decomposition import PCA

    values = values.astype(np.float64)
    count = min(components, len(fitted) - 1, values.shape[1] - 1)
    pca = PCA(count, svd_solver="arpack", random_state=0).fit(values[fitted])
    return tuple(pca.transform(values[index]).astype(np.float32) for index in (fitted, *others))
