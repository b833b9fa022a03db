"""How good generated digits are: do they look real (fidelity), and is every kind among them (diversity)?

All images are float (N, 784) or (N, 1, 28, 28) in [0, 1]. Features are the hidden units of notebook 01's classifier:
they see strokes rather than pixels, and so every notebook measures with the same ruler.
"""

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from lib.models.feedforward import ACTIVATIONS, FeedForward

MEASURES = {  # what notebooks show of ``assess``, in this order
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
    """What a generator with images in [-1, 1] makes of noise z (N, latent): its images (N, …), scaled to [0, 1]."""
    with torch.inference_mode():
        return torch.cat([(generator(some) + 1) / 2 for some in z.split(batch_size)])


def features(network: FeedForward, images: Tensor) -> Tensor:
    """Values (N, hidden) of the hidden layer of a classifier."""
    with torch.inference_mode():
        return ACTIVATIONS[network.activation](torch.addmm(network.b1, images.flatten(1), network.W1))


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """Squared Wasserstein-2 distance of the Gaussians fitted to features a (N, D) and b (M, D).

    ‖μa − μb‖² + tr(Σa + Σb − 2 (Σa Σb)^½), Heusel et al. 2017, eq. 6. Its value depends on the features and falls
    with the sample size, so compare only within one set of features and equal sizes.
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
    generated images that lie in the ball of a real one; recall: the share of real images that lie in the ball of a
    generated one; density: how many real balls a generated image lies in on average, divided by k; coverage: the share
    of real balls with a generated image in them. Raises ValueError for fewer than k + 1 images.
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
    """Distance (N,) from each point to its k-th neighbour, not counting itself."""
    return torch.cat([torch.cdist(chunk, x).kthvalue(k + 1, dim=1).values for chunk in x.split(1000)])


def class_entropy(shares: Tensor) -> float:
    """Entropy in bits of class shares (C,) that sum to 1; log2 C if all classes are equally common."""
    return torch.special.entr(shares.double()).sum().item() / math.log(2)


def assess(network: FeedForward, images: Tensor, real_features: Tensor) -> dict[str, float | list[float]]:
    """Everything at once for generated ``images``: class shares, their entropy, confidence, and how near to reality.

    ``real_features`` are the features of equally many real images, on which no model was trained.
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
    """(headers, rows) of a table with a row for each name of ``judged``, {name: what ``assess`` found}.

    ``first`` heads the column of names; ``measures`` {key: header} says which measures follow.
    """
    rows = [[name, *(f"{scores[key]:.3f}" for key in measures)] for name, scores in judged.items()]
    return [first, *measures.values()], rows


def psnr(squared_error: float) -> float:
    """Peak signal-to-noise ratio in dB of a mean squared error of pixels in [0, 1]: −10 log10 MSE; infinite for 0."""
    return math.inf if squared_error == 0 else -10 * math.log10(squared_error)


def ssim(a: Tensor, b: Tensor, window: int = 7) -> Tensor:
    """Structural similarity (N,) of images (N, 784) or (N, 1, 28, 28) in [0, 1]; 1 for equal ones (Wang et al. 2004).

    It compares means, variances and covariance, equally weighted, in every ``window`` × ``window`` square inside the
    image, and averages over the squares. Variances are unbiased, as in scikit-image.
    """
    unbiased = window**2 / (window**2 - 1)
    c1, c2 = 0.01**2, 0.03**2  # keep the ratios finite where both images are flat
    first = torch.arange(28 - window + 1, device=a.device).view(-1, 1)
    offset = torch.arange(28, device=a.device) - first
    band = ((offset >= 0) & (offset < window)).to(a.dtype) / window  # (22, 28): one row for each place of the window
    found = []
    for x, y in zip(a.view(-1, 28, 28).split(500), b.view(-1, 28, 28).split(500), strict=True):
        # two products with the band give the mean of every square, several times faster than pooling
        mean_x, mean_y, squares, product = band @ torch.stack([x, y, x * x + y * y, x * y]) @ band.T
        variances = squares - mean_x**2 - mean_y**2
        covariance = product - mean_x * mean_y
        luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
        structure = (2 * unbiased * covariance + c2) / (unbiased * variances + c2)
        found.append((luminance * structure).mean((1, 2)))
    return torch.cat(found)
