"""Side by side in one run: the textbook training loop, and ours. ``make bench`` prints the table and writes JSON.

Textbook means what the reports did: torchvision's dataset, ToTensor for every image in every epoch, a DataLoader,
and the evaluation of the report. Seconds depend on the machine; the ratios are what to read.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from threadpoolctl import threadpool_limits
from torch import nn

from lib import compute, data, progress, torchvision_fix
from lib.atomic import write_atomic
from lib.metrics import divergences
from lib.models.autoencoder import Autoencoder, narrow_autoencoder
from lib.models.cnn import CNN
from lib.models.feedforward import FeedForward
from lib.models.gan import ConvDiscriminator, ConvGenerator, Discriminator, Dropout, Generator
from lib.models.vae import VAE, kl_to_prior, reparameterize
from lib.training.autoencoder import train_autoencoder
from lib.training.classifier import train_classifier
from lib.training.gan import train_gan
from lib.training.vae import train_vae
from workbook import recipes
from workbook.paths import DATA, ROOT

OUTPUT = ROOT / "benchmarks" / "results.json"
REPORT_EPOCH = 184  # CPSC 453 reached 98.1 % in its 184th epoch
REPORT_CNN_EPOCHS = 5
FEW = 4_096  # images in the comparisons of generative models


class TextbookCNN(nn.Module):
    """The report's order of layers: convolution, ReLU, pooling."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 16, 5, padding=2), nn.Conv2d(16, 32, 5, padding=2)
        self.linear = nn.Linear(1568, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.linear(x.flatten(1))


def torchvision_loaders(folder: Path, batch_size: int, normalise: bool) -> tuple:
    """DataLoaders over torchvision's MNIST for training and test."""
    torchvision_fix.apply()
    from torchvision import datasets, transforms

    raw = folder / "MNIST" / "raw"
    if not raw.exists():
        raw.parent.mkdir(parents=True)
        raw.symlink_to(data.fetch(DATA), target_is_directory=True)
    steps = [transforms.ToTensor()] + ([transforms.Normalize(0.5, 0.5)] if normalise else [])
    sets = [datasets.MNIST(folder, train=train, transform=transforms.Compose(steps)) for train in (True, False)]
    return tuple(torch.utils.data.DataLoader(s, batch_size=batch_size, shuffle=True) for s in sets)


def textbook_feedforward(folder: Path, hidden: int) -> float:
    """Seconds of one epoch of the report's loop: ReLU, SGD 0.01, then loss and accuracy on both sets."""
    train, test = torchvision_loaders(folder, 128, normalise=False)
    model = FeedForward(hidden)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
    start = time.perf_counter()
    for x, y in train:
        optimiser.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimiser.step()
    with torch.no_grad():
        for loader in (train, test):
            losses, right = [], 0
            for x, y in loader:
                logits = model(x)
                losses.append(F.cross_entropy(logits, y).item())
                right += (logits.argmax(1) == y).sum().item()
    return time.perf_counter() - start


def textbook_cnn(folder: Path) -> float:
    """Seconds of one epoch of the report's loop: batches of 32, Adam 0.001, loss and accuracy of every batch."""
    train, _ = torchvision_loaders(folder, 32, normalise=True)
    model = TextbookCNN()
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    losses, accuracies = [], []
    start = time.perf_counter()
    for x, y in train:
        optimiser.zero_grad()
        logits = model(x)
        loss = F.cross_entropy(logits, y)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
        accuracies.append((logits.argmax(1) == y).float().mean().item())
    return time.perf_counter() - start


def few_images(folder: Path, batch_size: int, normalise: bool) -> torch.utils.data.DataLoader:
    """DataLoader over the first FEW training images."""
    train, _ = torchvision_loaders(folder, batch_size, normalise)
    return torch.utils.data.DataLoader(
        torch.utils.data.Subset(train.dataset, range(FEW)), batch_size=batch_size, shuffle=True
    )


def textbook_autoencoder(folder: Path, build: Callable[[], Autoencoder] = Autoencoder) -> float:
    """Seconds over FEW images: forward, backward and Adam for every batch of a DataLoader."""
    loader, model = few_images(folder, 128, normalise=False), build()
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    start = time.perf_counter()
    for x, _ in loader:
        x = x.flatten(1)
        optimiser.zero_grad()
        F.mse_loss(model(x), x).backward()
        optimiser.step()
    return time.perf_counter() - start


def textbook_vae(folder: Path) -> float:
    """Seconds over FEW images, as in PyTorch's example."""
    loader, model = few_images(folder, 128, normalise=False), VAE()
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    start = time.perf_counter()
    for x, _ in loader:
        mean, log_variance = model.encode(x)
        decoded = model.decode(reparameterize(mean, log_variance, torch.randn_like(mean))).sigmoid()
        bce = F.binary_cross_entropy(decoded, x.flatten(1), reduction="sum")
        optimiser.zero_grad()
        (bce + kl_to_prior(mean, log_variance).sum()).backward()
        optimiser.step()
    return time.perf_counter() - start


def textbook_discriminator() -> nn.Sequential:
    """Notebook 05's discriminator with nn.Dropout."""
    layers = (nn.Dropout(layer.p) if isinstance(layer, Dropout) else layer for layer in Discriminator())
    return nn.Sequential(nn.Flatten(), *layers)


def textbook_gan(
    folder: Path,
    build_generator: Callable[[], nn.Module],
    build_discriminator: Callable[[], nn.Module],
    latent: int,
    batch_size: int,
) -> float:
    """Seconds over FEW images: real and generated batch one after the other, all gradients in both updates."""
    loader = few_images(folder, batch_size, normalise=True)
    generator, discriminator = build_generator(), build_discriminator()
    g_opt, d_opt = (torch.optim.Adam(m.parameters(), lr=1e-4, betas=(0.5, 0.999)) for m in (generator, discriminator))
    criterion = nn.BCELoss()
    start = time.perf_counter()
    for x, _ in loader:
        real, fake = torch.ones(len(x), 1), torch.zeros(len(x), 1)
        d_opt.zero_grad()
        generated = generator(torch.randn(len(x), latent))
        real_loss = criterion(discriminator(x).sigmoid(), real)
        fake_loss = criterion(discriminator(generated.detach()).sigmoid(), fake)
        ((real_loss + fake_loss) / 2).backward()
        d_opt.step()
        g_opt.zero_grad()
        criterion(discriminator(generator(torch.randn(len(x), latent))).sigmoid(), real).backward()
        g_opt.step()
    return time.perf_counter() - start


def generative() -> dict[str, tuple[float, float]]:
    """{name: (seconds of the textbook loop, seconds of ours)} over FEW images with equal batches, in turn."""
    train = data.mnist(DATA, n_train=FEW)[0]
    unit, symmetric = data.unit(train.images), data.symmetric(train.images)
    same = {"epochs": 1, "batch_size": 128}
    linear = {"build_generator": Generator, "build_discriminator": Discriminator, "latent": 25, "batch_size": 128}
    convolutional = {"build_generator": ConvGenerator, "build_discriminator": ConvDiscriminator, "latent": 100}
    convolutional["batch_size"] = 32  # the report's, for both
    once = {"epochs": 1, "lr": 1e-4}
    fast = compute.fast_precision()
    ours_of = {
        "02 autoencoder": partial(train_autoencoder, Autoencoder, unit, {}, lr=1e-3, **same),
        "04 VAE": partial(train_vae, VAE, unit, {}, lr=1e-3, **same),
        f"05 GAN ({fast})": partial(train_gan, real=symmetric.flatten(1), precision=fast, **linear, **once),
        f"07 autoencoder ({fast})": partial(
            train_autoencoder, partial(narrow_autoencoder, 10), unit, {}, lr=1e-3, precision=fast, **same
        ),
        f"12 GAN ({fast})": partial(train_gan, real=symmetric, precision=fast, **convolutional, **once),
    }
    textbook_of = {
        "02 autoencoder": textbook_autoencoder,
        "04 VAE": textbook_vae,
        f"05 GAN ({fast})": partial(textbook_gan, **linear | {"build_discriminator": textbook_discriminator}),
        f"07 autoencoder ({fast})": partial(textbook_autoencoder, build=partial(narrow_autoencoder, 10)),
        f"12 GAN ({fast})": partial(textbook_gan, **convolutional),
    }
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in ours_of}
    with tempfile.TemporaryDirectory() as scratch:
        for _ in range(3):
            for name, pairs in seconds.items():
                _, history = ours_of[name]()
                ours_seconds = history.get("train_seconds", history.get("seconds"))[0]
                pairs.append((textbook_of[name](Path(scratch)), ours_seconds))
    return {name: tuple(min(column) for column in zip(*pairs, strict=True)) for name, pairs in seconds.items()}


def mmd() -> tuple[float, float]:
    """Seconds of the biased MMD of 1,000 and 1,000 points, one pair at a time and as matrices, on one core."""
    a, b = np.random.default_rng(0).normal(size=(2, 1000, 8))
    with threadpool_limits(1):
        start = time.perf_counter()
        by_loops = divergences.report_mmd_loops(a, b)
        loops = time.perf_counter() - start
        laps = []
        for _ in range(10):
            start = time.perf_counter()
            value = divergences.report_mmd(a, b)
            laps.append(time.perf_counter() - start)
    if abs(value - by_loops) > 1e-9:
        raise RuntimeError(f"the two MMDs differ: {by_loops} and {value}")
    return loops, min(laps)


def ours(epochs: int, target: float | None = None, **settings: object) -> tuple[float, float]:
    """(seconds an epoch with its evaluation on the test set, seconds until the test accuracy first reaches target)."""
    train, test = data.mnist(DATA)
    start = time.perf_counter()
    _, history = train_classifier(train=train, evaluate_on={"test": test}, epochs=epochs, **settings)
    seconds = time.perf_counter() - start
    reached = [i + 1 for i, accuracy in enumerate(history["test_accuracy"]) if target and accuracy >= target]
    return seconds / epochs, seconds / epochs * reached[0] if reached else float("nan")


def matmul_peak() -> float:
    """Best float32 matrix product rate of this machine at our thread count, in FLOP/s."""
    a = torch.randn(2048, 2048)
    best = float("inf")
    for _ in range(12):
        start = time.perf_counter()
        a @ a
        best = min(best, time.perf_counter() - start)
    return 2 * 2048**3 / best


def step_rate(hidden: int = 512, batch_size: int = 512, steps: int = 300) -> float:
    """FLOP/s of whole training steps (gather, scale, forward, backward, AdamW) of the widest net of notebook 01."""
    train = data.mnist(DATA, n_train=batch_size * steps)[0]
    settings = recipes.settings("classifier", hidden=hidden) | {"augment": None, "batch_size": batch_size}
    best = float("inf")
    for _ in range(5):
        _, history = train_classifier(train=train, evaluate_on={}, epochs=2, **settings)
        best = min(best, *history["train_seconds"])
    # forward 2, weight gradient 2, input gradient 2 (not for the pixels) operations per weight and image
    return len(train) * (4 * 784 * hidden + 6 * hidden * 10) / best


def main() -> int:
    """Measure, print, write."""
    compute.configure()
    progress.plain = True  # no bars between the measurements
    same = {"one_cycle": False, "prepare": data.unit, "optimiser": "sgd", "lr": 0.01, "batch_size": 128}
    cnn_same = {"one_cycle": False, "prepare": data.symmetric, "optimiser": "adam", "lr": 1e-3, "batch_size": 32}
    seconds: dict[str, list[tuple[float, float]]] = {"128": [], "512": [], "cnn": []}
    with tempfile.TemporaryDirectory() as scratch:
        for attempt in range(2):  # in turn, because the speed of a shared machine drifts
            print(f"attempt {attempt + 1} of 2 …", file=sys.stderr)
            for hidden in (128, 512):
                textbook = textbook_feedforward(Path(scratch), hidden)
                seconds[str(hidden)].append((textbook, ours(3, build=partial(FeedForward, hidden), **same)[0]))
            seconds["cnn"].append((textbook_cnn(Path(scratch)), ours(1, build=CNN, **cnn_same)[0]))
    (book_128, ff_128), (book_512, ff_512), (book_cnn, cnn) = (
        [min(column) for column in zip(*pairs, strict=True)] for pairs in seconds.values()
    )
    _, ff_time = ours(7, target=0.981, **recipes.settings("classifier") | {"augment": None})
    cnn_fast, cnn_time = ours(1, target=0.9783, **recipes.settings("cnn"))
    print("generative models and MMD …", file=sys.stderr)
    generated, (mmd_loops, mmd_matrices) = generative(), mmd()
    peak, rate = matmul_peak(), step_rate()
    rows = [
        ("01 seconds per epoch, 128 hidden units", book_128, ff_128),
        ("01 seconds per epoch, 512 hidden units", book_512, ff_512),
        ("01 seconds to 98.1 % test accuracy", book_512 * REPORT_EPOCH, ff_time),
        ("13 seconds per epoch, same settings", book_cnn, cnn),
        ("13 seconds per epoch, our settings", book_cnn, cnn_fast),
        ("13 seconds to the report's 97.83 %", book_cnn * REPORT_CNN_EPOCHS, cnn_time),
        *((f"{name}, seconds for {FEW:,} images", *pair) for name, pair in generated.items()),
        ("06 MMD of 1,000 and 1,000 points, one core", mmd_loops, mmd_matrices),
    ]
    print(f"{'':42s} textbook     ours    ratio")
    for name, textbook, our in rows:
        print(f"{name:42s} {textbook:8.2f} {our:8.3f} {textbook / our:7.1f}×")
    print(f"training step at batch 512: {rate / peak:.0%} of the float32 matmul peak, {peak / 1e9:.0f} GFLOP/s")
    result = {
        "environment": compute.environment(),
        "rows": [
            {"what": n, "textbook": round(t, 3), "ours": round(o, 4), "ratio": round(t / o, 2)} for n, t, o in rows
        ],
        "matmul_peak_gflops": round(peak / 1e9, 1),
        "share_of_peak_in_training_step": round(rate / peak, 3),
        "note": "textbook seconds to a target are its seconds per epoch times the epochs of the report",
    }
    write_atomic(OUTPUT, json.dumps(result, indent=1, allow_nan=False) + "\n")
    print(f"written to {OUTPUT.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
