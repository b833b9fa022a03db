"""The quality of generated digits: do they look real (fidelity), and are all kinds among them (diversity)?

All images are float (N, 784) or (N, 1, 28, 28) in [0, 1]. Features are the hidden units of notebook 01's classifier.
They respond to strokes rather than pixels. All notebooks use the same features, so their values can be compared.
"""

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from lib.models.feedforward import ACTIVATIONS, FeedForward

MEASURES = {  # the results of ``assess`` that notebooks show, in this order
    "frechet": "Fréchet distance",
    "precision": "precision",
    "recall": "recall",
    "density": "density",
    "coverage": "coverage",
    "class_entropy": "class entropy (bits)",
    "smallest_share": "rarest digit",
    "confidence": "confidence",
}


def generated(generator: Callable[[Tensor], Tensor], z: Tensor, batch_size: int = 250) -> Tensor:
    """Images (N, …) from noise z (N, latent), scaled from the generator's range [-1, 1] to [0, 1]."""
    with torch.inference_mode():
        return torch.cat([(generator(some) + 1) / 2 for some in z.split(batch_size)])


def features(network: FeedForward, images: Tensor) -> Tensor:
    """Activations (N, hidden) of the hidden layer of a classifier."""
    with torch.inference_mode():
        return ACTIVATIONS[network.activation](torch.addmm(network.b1, images.flatten(1), network.W1))


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """Squared Wasserstein-2 distance between the Gaussians fitted to features a (N, D) and b (M, D).

    ‖μa − μb‖² + tr(Σa + Σb − 2 (Σa Σb)^½), Heusel et al. 2017, eq. 6. The value depends on the features, and decreases
    with the sample size. Compare only values from the same features and equal sample sizes.
    """
    a, b = a.double(), b.double()
    cov_a, cov_b = a.T.cov(), b.T.cov()
    # (Σa Σb)^½ has the trace of (Σa^½ Σb Σa^½)^½, which is symmetric
    values, vectors = torch.linalg.eigh(cov_a)
    root = vectors * values.clamp_min(0).sqrt() @ vectors.T
    cross = torch.linalg.eigvalsh(root @ cov_b @ root).clamp_min(0).sqrt().sum()
    return ((a.mean(0) - b.mean(0)).square().sum() + cov_a.trace() + cov_b.trace() - 2 * cross).item()


def manifold_metrics(real: Tensor, fake: Tensor, k: int = 5) -> dict[str, float]:
    """Precision, recall (Kynkäänniemi et al. 2019), density and coverage (Naeem et al. 2020) of features.

    Each image is the centre of a ball that reaches to its k-th neighbour in the same set. Precision: the share of
    generated images inside the ball of a real one. Recall: the share of real images inside the ball of a generated one.
    Density: the mean number of real balls around a generated image, divided by k. Coverage: the share of real balls
    that contain a generated image. Raises ValueError for fewer than k + 1 images.
    """
    if min(len(real), len(fake)) <= k:
        raise ValueError(f"need more than {k} images of each kind, got {len(real)} real and {len(fake)} generated")
    real_radius, fake_radius = _radii(real, k), _radii(fake, k)
    in_real, nearest, recalled = [], [], []
    for chunk, radius in zip(fake.split(1000), fake_radius.split(1000), strict=True):
        distance = torch.cdist(chunk, real)
        in_real.append((distance < real_radius).sum(1))
        recalled.append((distance < radius[:, None]).any(0))
        nearest.append(distance.amin(0))
    covered = torch.stack(nearest).amin(0) < real_radius
    hits = torch.cat(in_real)
    return {
        "precision": (hits > 0).float().mean().item(),
        "recall": torch.stack(recalled).any(0).float().mean().item(),
        "density": hits.float().mean().item() / k,
        "coverage": covered.float().mean().item(),
    }


def _radii(x: Tensor, k: int) -> Tensor:
    """Distance (N,) from each point to its k-th neighbour, the point itself not counted."""
    return torch.cat([torch.cdist(chunk, x).kthvalue(k + 1, dim=1).values for chunk in x.split(1000)])


def class_entropy(shares: Tensor) -> float:
    """Entropy in bits of class shares (C,) that sum to 1. The maximum, log2 C, means equally common classes."""
    return torch.special.entr(shares.double()).sum().item() / math.log(2)


def assess(network: FeedForward, images: Tensor, real_features: Tensor) -> dict[str, float | list[float]]:
    """All measures of generated ``images``: class shares, their entropy, confidence, and distance from real images.

    ``real_features`` are the features of as many real images, on which no model was trained.
    """
    with torch.inference_mode():
        probabilities = network(images.flatten(1)).softmax(1)
    found = features(network, images)
    shares = probabilities.argmax(1).bincount(minlength=probabilities.shape[1]) / len(images)
    return {
        "n": len(images),
        "class_shares": shares.tolist(),
        "smallest_share": shares.min().item(),
        "class_entropy": class_entropy(shares),
        "confidence": probabilities.amax(1).mean().item(),
        "frechet": frechet_distance(real_features, found),
        **manifold_metrics(real_features, found),
    }


def table(
    first: str, judged: Mapping[str, Mapping[str, float]], measures: Mapping[str, str] = MEASURES
) -> tuple[list[str], list[list[str]]]:
    """(headers, rows) of a table with a row for each entry of ``judged`` {name: result of ``assess``}.

    ``first`` is the header of the column of names; ``measures`` {key: header} selects the other columns.
    """
    rows = [[name, *(f"{scores[key]:.3f}" for key in measures)] for name, scores in judged.items()]
    return [first, *measures.values()], rows


def ssim(a: Tensor, b: Tensor, window: int = 7) -> Tensor:
    """Structural similarity (N,) of images (N, 784) or (N, 1, 28, 28) in [0, 1] (Wang et al. 2004); 1 for equal images.

    It compares means, variances and covariances of every ``window`` × ``window`` square inside the image, with equal
    weights for all pixels, and averages over the squares. Variances are unbiased, as in scikit-image.
    """
    unbiased = window**2 / (window**2 - 1)
    c1, c2 = 0.01**2, 0.03**2  # keep the ratios finite where both images are flat
    first = torch.arange(28 - window + 1, device=a.device).view(-1, 1)
    offset = torch.arange(28, device=a.device) - first
    band = ((offset >= 0) & (offset < window)).to(a.dtype) / window  # (22, 28): one row for each position of the window
    found = []
    for x, y in zip(a.view(-1, 28, 28).split(500), b.view(-1, 28, 28).split(500), strict=True):
        # two products with the band matrix give the mean of every square, several times faster than pooling
        mean_x, mean_y, squares, product = band @ torch.stack([x, y, x * x + y * y, x * y]) @ band.T
        variances = squares - mean_x**2 - mean_y**2
        covariance = product - mean_x * mean_y
        luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
        structure = (2 * unbiased * covariance + c2) / (unbiased * variances + c2)
        found.append((luminance * structure).mean((1, 2)))
    return torch.cat(found)
