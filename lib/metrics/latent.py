"""Latent spaces: how well they preserve neighbours, views in two dimensions, and ways to move through them."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lib.metrics.classification import certainty, confusion_matrix

Points = NDArray[np.float64]
VIEWS = ("PCA", "PHATE", "t-SNE", "UMAP")


@dataclass(frozen=True)
class Labelled:
    """Latent vectors z (N, D), the classes (N,) that a classifier predicts for their images, and its certainty (N,)."""

    z: Tensor
    labels: Tensor
    certainty: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: Tensor | slice) -> "Labelled":
        return Labelled(self.z[index], self.labels[index], self.certainty[index])

    def above(self, threshold: float) -> "Labelled":
        """The vectors whose certainty is above the threshold."""
        return self[self.certainty > threshold]

    def halves(self) -> tuple["Labelled", "Labelled"]:
        """Every other vector, and the rest: fit on one half, test on the other."""
        return self[::2], self[1::2]


def label(
    generator: Callable[[Tensor], Tensor], classifier: Callable[[Tensor], Tensor], z: Tensor, batch_size: int = 250
) -> Labelled:
    """Label the images that ``generator`` produces from z (N, D) with the predictions of ``classifier``.

    The generator's output must be a valid input of the classifier, which returns logits (N, classes).
    """
    with torch.inference_mode():
        logits = torch.cat([classifier(generator(some)) for some in z.split(batch_size)])
        return Labelled(z, logits.argmax(1), certainty(logits))


def class_means(z: Tensor, labels: Tensor, classes: int = 10) -> Tensor:
    """Mean latent vector of each class, as (classes, D). Raises ValueError for a class without vectors."""
    counts = labels.bincount(minlength=classes)
    if (counts == 0).any():
        raise ValueError(f"no vector of class {int(counts.argmin())}: draw more vectors or lower the threshold")
    return z.new_zeros(classes, z.shape[1]).index_add_(0, labels, z) / counts.view(-1, 1)


def nearest_mean(z: Tensor, means: Tensor) -> Tensor:
    """Class (N,) of the nearest of ``means`` (classes, D): minimum distance to mean (MDM) classification."""
    return torch.cdist(z, means).argmin(1)


def orthonormal(vectors: Tensor) -> Tensor:
    """Make each row of ``vectors`` (K, D) orthogonal to the rows before it, and of length 1 (Gram–Schmidt).

    Raises ValueError if a row lies in the span of the rows before it.
    """
    q, r = torch.linalg.qr(vectors.T)
    if (r.diagonal().abs() < 1e-4 * vectors.norm(dim=1)).any():
        raise ValueError("the vectors are linearly dependent, so they do not span a plane: choose others")
    return (q * r.diagonal().sign()).T.contiguous()


def spell(found: Labelled, message: str) -> Tensor:
    """Latent vectors (len(message), D) whose images are classified as the digits of ``message``.

    Each digit gets the vector with the highest certainty; repetitions get the next best. Raises ValueError for anything
    but digits, and for a digit of which ``found`` has too few vectors.
    """
    wrong = sorted(set(message) - set("0123456789"))
    if wrong or not message:
        problem = f"{message!r} contains {', '.join(map(repr, wrong))}" if wrong else "the message is empty"
        raise ValueError(f"{problem}: a message consists of the digits 0 to 9, for example 2718")
    chosen = torch.zeros(len(message), dtype=torch.long)
    for digit in set(message):
        places = [i for i, each in enumerate(message) if each == digit]
        candidates = (found.labels == int(digit)).nonzero().flatten()
        if len(candidates) < len(places):
            raise ValueError(
                f"{digit} occurs {len(places)}× in the message, but only {len(candidates)} vectors read as it"
            )
        chosen[places] = candidates[found.certainty[candidates].topk(len(places)).indices]
    return found.z[chosen]


def normal_fit(codes: Tensor) -> tuple[Tensor, Tensor]:
    """Fit a normal distribution to codes (N, D): the mean (D,) and a square root R (D, D) of the covariance.

    mean + R·ε with ε ~ N(0, I) is a sample. R comes from the eigenvectors, so the covariance may be singular.
    """
    values, vectors = torch.linalg.eigh(codes.double().T.cov())
    return codes.mean(0), (vectors * values.clamp_min(0).sqrt()).to(codes)


def mahalanobis(z: Tensor, mean: Tensor, root: Tensor) -> Tensor:
    """Distance (N,) of z (N, D) from the mean, in standard deviations of the fitted normal distribution."""
    return ((z - mean) @ torch.linalg.pinv(root).T).norm(dim=1)


def interpolate(start: Tensor, end: Tensor, weights: Tensor) -> Tensor:
    """Points (W, D) on the straight line from ``start`` (D,), weight 0, to ``end`` (D,), weight 1."""
    return torch.lerp(start, end, weights.view(-1, 1).to(start))


def views(codes: Points, seed: int = 0, names: Sequence[str] = VIEWS) -> dict[str, Points]:
    """Two-dimensional views {name: (N, 2)} of codes (N, D): PCA, PHATE, t-SNE and UMAP.

    All settings are the defaults, except t-SNE's perplexity below 120 points, PHATE's solver (smacof is faster and
    silent) and its landmarks above 2,000 points, and UMAP's epochs from 10,000 points. Equal seeds give equal views.
    The libraries take seconds to load, so each is imported only when it is needed.
    """
    if unknown := [name for name in names if name not in VIEWS]:
        raise ValueError(f"unknown view {unknown[0]!r}; choose from {', '.join(VIEWS)}")
    return {name: _view(name, codes, seed) for name in names}


def _view(name: str, codes: Points, seed: int) -> Points:
    if name == "PCA":
        from sklearn.decomposition import PCA

        return PCA(2, random_state=seed).fit_transform(codes)
    if name == "t-SNE":
        from sklearn.manifold import TSNE

        return TSNE(random_state=seed, perplexity=min(30, len(codes) / 4)).fit_transform(codes)
    if name == "PHATE":
        import phate

        landmarks = 2000 if len(codes) <= 2000 else 500  # ten times faster for many points, with the same picture
        settings = {"n_landmark": landmarks, "mds_solver": "smacof", "n_jobs": 1, "verbose": 0}
        return phate.PHATE(random_state=seed, **settings).fit_transform(codes)
    import umap

    for module in (umap.layouts, umap.umap_, umap.utils):  # otherwise it compiles for eight seconds in every process
        for compiled in vars(module).values():
            if hasattr(compiled, "enable_caching"):
                compiled.enable_caching()
    with warnings.catch_warnings():  # a warning says that a fixed seed allows only one thread
        warnings.simplefilter("ignore")
        epochs = 200 if len(codes) >= 10_000 else None  # UMAP's own choice, but only for more than 10,000 points
        return umap.UMAP(random_state=seed, n_jobs=1, n_epochs=epochs).fit_transform(codes)


def neighbour_shares(codes: Tensor, labels: Tensor, k: int = 10, classes: int = 10) -> Tensor:
    """How classes overlap (classes, classes): among the k nearest neighbours of class i, the share of class j.

    ``codes`` are (N, D), ``labels`` (N,). The diagonal is the purity of each class. Each row sums to 1, or is 0 for a
    class without points. Raises ValueError unless k < N.
    """
    if k >= len(codes):
        raise ValueError(f"{len(codes)} points do not have {k} neighbours each")
    exact = "donot_use_mm_for_euclid_dist"  # the faster method loses precision for points far from 0
    distance = torch.cdist(codes, codes, compute_mode=exact).fill_diagonal_(torch.inf)
    near = labels[distance.topk(k, largest=False).indices]
    counts = confusion_matrix(predicted=near.flatten(), true=labels.repeat_interleave(k), classes=classes)
    return counts / counts.sum(1, keepdim=True).clamp_min(1)


def knn_accuracy(codes: Tensor, labels: Tensor, test_codes: Tensor, test_labels: Tensor, k: int = 10) -> float:
    """Accuracy of a k-nearest-neighbour classifier, fitted to codes (N, D) and labels (N,), on the test codes."""
    from sklearn.neighbors import KNeighborsClassifier

    model = KNeighborsClassifier(k).fit(codes.numpy(), labels.numpy())
    return float(model.score(test_codes.numpy(), test_labels.numpy()))


def trustworthiness(inputs: Tensor, codes: Tensor, k: int = 10) -> float:
    """1 if the k nearest codes of each point are also near as inputs; 0.5 by chance (Venna & Kaski 2001)."""
    from sklearn import manifold

    return float(manifold.trustworthiness(inputs.flatten(1).numpy(), codes.numpy(), n_neighbors=k))
