"""How good generated digits are: are they like real ones (fidelity), and are all kinds there (diversity).

All images are float (N, 784) or (N, 1, 28, 28) in [0, 1]. Features are the hidden units of notebook 01's classifier:
they see strokes rather than pixels, and every notebook measures with the same ruler.
"""

import math

import torch
from torch import Tensor

from lib.models.feedforward import ACTIVATIONS, FeedForward


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

    Around each image lies a ball that reaches to its k-th neighbour of the same set. precision: share of generated
    images in the ball of a real one; recall: the other way round; density: mean number of real balls that a generated
    image lies in, over k; coverage: share of real balls with a generated image in them. Raises ValueError for fewer
    than k + 1 images.
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
    """Distance (N,) of each point to its k-th neighbour, itself not counted."""
    return torch.cat([torch.cdist(chunk, x).kthvalue(k + 1, dim=1).values for chunk in x.split(1000)])


def class_entropy(shares: Tensor) -> float:
    """Entropy in bits of class shares (C,) that sum to 1; log2 C if all classes are equally frequent."""
    return torch.special.entr(shares.double()).sum().item() / math.log(2)


def assess(network: FeedForward, images: Tensor, real_features: Tensor) -> dict[str, float | list[float]]:
    """Everything at once for generated ``images``: class shares, entropy, confidence, and the distances to reality.

    ``real_features`` are the features of as many real images that no model was trained on.
    """
    with torch.inference_mode():
        probabilities = network(images.flatten(1)).softmax(1)
    generated = features(network, images)
    shares = probabilities.argmax(1).bincount(minlength=probabilities.shape[1]) / len(images)
    return {
        "n": len(images),
        "class_shares": shares.tolist(),
        "smallest_share": shares.min().item(),
        "class_entropy": class_entropy(shares),
        "confidence": probabilities.amax(1).mean().item(),
        "frechet": frechet_distance(real_features, generated),
        **manifold_metrics(real_features, generated),
    }


def psnr(squared_error: float) -> float:
    """Peak signal-to-noise ratio in dB of a mean squared error of pixels in [0, 1]: −10 log10 MSE; infinite for 0."""
    return math.inf if squared_error == 0 else -10 * math.log10(squared_error)


def ssim(a: Tensor, b: Tensor, window: int = 7) -> Tensor:
    """Structural similarity (N,) of images (N, 784) or (N, 1, 28, 28) in [0, 1]; 1 for equal ones (Wang et al. 2004).

    Means, variances and covariance in every ``window`` × ``window`` square that lies inside the image, equally
    weighted; the mean over the squares. Variances are unbiased, as scikit-image's are.
    """
    unbiased = window**2 / (window**2 - 1)
    c1, c2 = 0.01**2, 0.03**2  # keep the ratios finite where both images are flat
    first = torch.arange(28 - window + 1, device=a.device).view(-1, 1)
    offset = torch.arange(28, device=a.device) - first
    band = ((offset >= 0) & (offset < window)).to(a.dtype) / window  # (22, 28): a row per place of the window
    found = []
    for x, y in zip(a.view(-1, 28, 28).split(500), b.view(-1, 28, 28).split(500), strict=True):
        # the mean of each square is two products with the band, which is several times faster than pooling
        mean_x, mean_y, squares, product = band @ torch.stack([x, y, x * x + y * y, x * y]) @ band.T
        variances = squares - mean_x**2 - mean_y**2
        covariance = product - mean_x * mean_y
        luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
        structure = (2 * unbiased * covariance + c2) / (unbiased * variances + c2)
        found.append((luminance * structure).mean((1, 2)))
    return torch.cat(found)
