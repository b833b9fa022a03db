"""Measures of a classifier: loss, accuracy, confusion."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.compute import device
from lib.data.tensors import Prepare, Split


def predict(model: nn.Module, images: Tensor, prepare: Prepare, batch_size: int = 200) -> Tensor:
    """Logits (N, 10) on the CPU for uint8 images (N, 28, 28), in evaluation mode and without gradients."""
    on, training = device(), model.training
    model = model.to(on, memory_format=torch.channels_last).eval()  # twice as fast for convolutions on a CPU
    with torch.inference_mode():
        logits = torch.cat([model(prepare(x).to(on)).cpu() for x in images.split(batch_size)])
    model.train(training)
    return logits


def evaluate(model: nn.Module, split: Split, prepare: Prepare) -> tuple[float, float]:
    """Mean cross-entropy in nats and accuracy in 0..1 over a split."""
    logits = predict(model, split.images, prepare)
    return F.cross_entropy(logits, split.labels).item(), accuracy(logits.argmax(1), split.labels)


def accuracy(predicted: Tensor, true: Tensor) -> float:
    """Share of labels (N,) that are predicted correctly. Raises ValueError for different lengths or no labels."""
    if predicted.shape != true.shape or not len(true):
        raise ValueError(f"need two equal, non-empty lists of labels; got {len(predicted)} and {len(true)}")
    return (predicted == true).float().mean().item()


def parameters(model: nn.Module) -> int:
    """The number of parameters of a model."""
    return sum(p.numel() for p in model.parameters())


def confusion_matrix(predicted: Tensor, true: Tensor, classes: int = 10) -> Tensor:
    """Counts (classes, classes): rows are true labels, columns predicted labels."""
    return torch.bincount(true * classes + predicted, minlength=classes**2).view(classes, classes)


def most_confused(matrix: Tensor, n: int) -> list[dict[str, int]]:
    """The ``n`` largest off-diagonal cells of a confusion matrix, largest first."""
    off = matrix.clone().fill_diagonal_(0)
    counts, cells = off.flatten().sort(descending=True, stable=True)
    classes = len(matrix)
    return [
        {"true": cell // classes, "pred": cell % classes, "count": count}
        for count, cell in zip(counts[:n].tolist(), cells[:n].tolist(), strict=True)
    ]


def wilson_interval(share: float, n: int) -> tuple[float, float]:
    """95 % confidence interval (low, high) of a share measured on ``n`` independent cases (Wilson 1927)."""
    if not (0 <= share <= 1 and n >= 1):
        raise ValueError(f"share must lie between 0 and 1, and n be 1 or more; got {share} and {n}")
    from scipy.stats import binomtest  # the import takes most of a second

    interval = binomtest(round(share * n), n).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def certainty(logits: Tensor) -> Tensor:
    """The report's confidence in a prediction (B,): the maximum of softmax(3 · logits / σ).

    σ is the standard deviation of the 10 logits.
    """
    return (3 * logits / logits.std(dim=1, keepdim=True)).softmax(dim=1).amax(dim=1)
