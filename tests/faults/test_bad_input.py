"""Every public function of lib is given arguments that are wrong or extreme, one at a time.

What must come of it: a result, or an error that names the argument or what is wrong with it. No NaN comes out of
finite numbers; a NaN that goes in comes out, or is refused; the layout in memory changes nothing. ``KNOWN`` lists where
it is not so. Most of these functions are in the keys of trained models, and can be mended when those are trained anew.
"""

import functools
import importlib
import inspect
import math
import pkgutil
import re
import subprocess
import sys
import warnings
from dataclasses import fields, is_dataclass

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from scipy import sparse
from torch import Tensor

import lib
from lib import compute, plots, precision
from lib.data import single_cell, tensors
from lib.metrics import classification, divergences, intervals, latent, quality
from lib.models import autoencoder, cnn, feedforward, gan, loaded, vae
from lib.training import autoencoder as autoencoder_training
from lib.training import classifier, loop
from lib.training import gan as gan_training
from lib.training import vae as vae_training
from tests.faults.known_of_bad_input import KNOWN
from workbook.paths import ROOT

SMALL = (784, 12, 3)


@functools.cache
def built(build, *arguments):
    return loop.seeded(lambda: build(*arguments), 0).eval()


def points(draw, d=3):
    return np.random.default_rng(draw).normal(size=(24, d))


def tensor(draw, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(draw))


def labels(draw, n=24, classes=3):
    return torch.cat([torch.arange(classes), torch.randint(classes, (n - classes,), generator=loop.stream(draw, 0))])


def images(draw, n=24):
    return torch.randint(256, (n, 28, 28), generator=loop.stream(draw, 1)).to(torch.uint8)


def pixels(draw, n=24):
    return images(draw, n).flatten(1) / 255


def split(draw):
    return tensors.Split(images(draw), labels(draw))


def runs(draw):
    return np.random.default_rng(draw).normal(size=5).round(3).tolist()


def counts(draw):
    return sparse.csr_matrix(np.random.default_rng(draw).poisson(2.0, (24, 40)).astype(np.float32))


def two(draw):
    return {"a": points(draw), "b": points(draw + 1)}


FIT = {"epochs": 1, "batch_size": 8, "lr": 1e-3}
SMALL_VAE = functools.partial(built, vae.VAE, SMALL)
# {function: what makes its arguments from a seed}; what is no tensor, array, list of numbers or number stays as it is
CASES = {
    classification.predict: lambda s: {
        "model": built(feedforward.FeedForward, 8), "images": images(s), "prepare": tensors.unit},
    classification.accuracy: lambda s: {"predicted": labels(s), "true": labels(s + 1)},
    classification.confusion_matrix: lambda s: {"predicted": labels(s), "true": labels(s + 1), "classes": 3},
    classification.most_confused: lambda s: {"matrix": labels(s, 9).view(3, 3), "n": 2},
    classification.wilson_interval: lambda s: {"share": 0.5, "n": 24},
    classification.certainty: lambda s: {"logits": tensor(s, 24, 10)},
    divergences.kl_neighbours: lambda s: two(s) | {"k": 3},
    divergences.kl_kernel: two,
    divergences.js_kernel: two,
    divergences.emd: two,
    divergences.sliced_emd: lambda s: two(s) | {"projections": 8},
    divergences.mmd: two,
    divergences.mmd_test: lambda s: two(s) | {"permutations": 8},
    divergences.report_kl: two,
    divergences.report_emd: two,
    divergences.report_mmd: lambda s: two(s) | {"width": 1.0},
    divergences.report_mmd_loops: lambda s: {"a": points(s)[:5], "b": points(s + 1)[:5], "width": 1.0},
    intervals.interval: lambda s: {"values": runs(s), "others": runs(s + 1)},
    intervals.prediction: lambda s: {"values": runs(s), "level": 0.05},
    intervals.deviation: lambda s: {"values": runs(s)},
    intervals.quantile: lambda s: {"degrees": 4.0, "level": 0.05},
    intervals.pool: lambda s: {"groups": [runs(s), runs(s + 1)]},
    intervals.dispersion: lambda s: {"counts": [[3, 4, 5]], "draws": 24},
    intervals.count_prediction: lambda s: {"counts": [3, 4, 5], "draws": 24, "further": 24},
    intervals.share_interval: lambda s: {"count": 3, "draws": 24},
    intervals.low: lambda s: {"values": runs(s)},
    intervals.high: lambda s: {"values": runs(s)},
    intervals.spread: lambda s: {"values": runs(s)},
    intervals.interval_text: lambda s: {"values": runs(s)},
    latent.label: lambda s: {"generator": torch.tanh, "classifier": lambda x: x * 2, "z": tensor(s, 24, 10)},
    latent.class_means: lambda s: {"z": tensor(s, 24, 3), "labels": labels(s), "classes": 3},
    latent.nearest_mean: lambda s: {"z": tensor(s, 24, 3), "means": tensor(s + 1, 4, 3)},
    latent.orthonormal: lambda s: {"vectors": tensor(s, 2, 5)},
    latent.normal_fit: lambda s: {"codes": tensor(s, 24, 3)},
    latent.mahalanobis: lambda s: {"z": tensor(s, 24, 3), "mean": tensor(s + 1, 3), "root": torch.eye(3)},
    latent.interpolate: lambda s: {"start": tensor(s, 3), "end": tensor(s + 1, 3), "weights": torch.linspace(0, 1, 5)},
    latent.views: lambda s: {"codes": points(s), "names": ("PCA",)},
    latent.neighbour_shares: lambda s: {"codes": tensor(s, 24, 3), "labels": labels(s), "k": 3, "classes": 3},
    latent.knn_accuracy: lambda s: {"codes": tensor(s, 24, 3), "labels": labels(s), "test_codes": tensor(s + 1, 24, 3),
                                    "test_labels": labels(s + 1), "k": 3},
    latent.trustworthiness: lambda s: {"inputs": tensor(s, 24, 5), "codes": tensor(s + 1, 24, 2), "k": 3},
    quality.generated: lambda s: {"generator": torch.tanh, "z": tensor(s, 24, 3)},
    quality.features: lambda s: {"network": built(feedforward.FeedForward, 8), "images": pixels(s)},
    quality.frechet_distance: lambda s: {"a": tensor(s, 24, 3), "b": tensor(s + 1, 24, 3)},
    quality.manifold_metrics: lambda s: {"real": tensor(s, 24, 3), "fake": tensor(s + 1, 24, 3), "k": 3},
    quality.class_entropy: lambda s: {"shares": tensor(s, 10).softmax(0)},
    quality.assess: lambda s: {"network": built(feedforward.FeedForward, 8), "images": pixels(s),
                               "real_features": tensor(s, 24, 8)},
    quality.ssim: lambda s: {"a": pixels(s), "b": pixels(s + 1)},
    tensors.hold_out: lambda s: {"train": split(s)},
    tensors.validation_indices: lambda s: {"n": 24},
    tensors.unit: lambda s: {"images": images(s)},
    tensors.symmetric: lambda s: {"images": images(s)},
    tensors.to_uint8: lambda s: {"images": pixels(s)},
    tensors.random_shift: lambda s: {"images": images(s), "generator": loop.stream(s, 2), "pixels": 2},
    tensors.batches: lambda s: {"n": 24, "batch_size": 8, "generator": loop.stream(s, 2)},
    single_cell.log_normalised: lambda s: {"counts": counts(s), "totals": np.asarray(counts(s).sum(1)).ravel()},
    single_cell.pca_scores: lambda s: {"values": counts(s), "fitted": np.arange(20), "components": 3},
    vae.reparameterize: lambda s: {
        "mean": tensor(s, 24, 3), "log_variance": tensor(s + 1, 24, 3), "noise": tensor(s + 2, 24, 3)},
    vae.reconstruction_loss: lambda s: {"logits": tensor(s, 24, 784), "x": pixels(s)},
    vae.kl_to_prior: lambda s: {"mean": tensor(s, 24, 3), "log_variance": tensor(s + 1, 24, 3)},
    vae.log_likelihood: lambda s: {"vae": SMALL_VAE(), "x": pixels(s), "samples": 2, "generator": loop.stream(s, 2)},
    loaded: lambda s: {"model": torch.nn.Linear(3, 2), "state": {"weight": tensor(s, 2, 3), "bias": tensor(s, 2)}},
    gan_training.bce: lambda s: {"logits": tensor(s, 24), "target": 1.0},
    gan_training.logits_of_both: lambda s: {"D": built(gan.Discriminator), "real": pixels(s), "fake": pixels(s + 1)},
    gan_training.discriminator_scores: lambda s: {"on_real": tensor(s, 24), "on_fake": tensor(s + 1, 24)},
    gan_training.real_share: lambda s: {"discriminator": built(gan.Discriminator), "images": pixels(s)},
    autoencoder_training.reconstruction_error: lambda s: {
        "model": built(autoencoder.Autoencoder, SMALL), "inputs": pixels(s)},
    autoencoder_training.train_autoencoder: lambda s: {
        "build": lambda: autoencoder.Autoencoder(SMALL), "train": pixels(s),
        "evaluate_on": {"test": pixels(s + 1)}, **FIT},
    vae_training.negative_elbo: lambda s: {"vae": SMALL_VAE(), "images": pixels(s)},
    vae_training.train_vae: lambda s: {
        "build": lambda: vae.VAE(SMALL), "train": pixels(s), "evaluate_on": {"test": pixels(s + 1)}, **FIT},
    classifier.train_classifier: lambda s: {
        "build": lambda: feedforward.FeedForward(8), "train": split(s), "evaluate_on": {"test": split(s + 1)},
        "prepare": tensors.unit, **FIT},
    gan_training.train_gan: lambda s: {
        "build_generator": lambda: autoencoder.dense((3, 784), torch.nn.ReLU),
        "build_discriminator": lambda: autoencoder.dense((784, 1), torch.nn.ReLU),
        "real": pixels(s), "latent": 3, **FIT},
    loop.weights: lambda s: {"network": torch.nn.Linear(3, 2)},
    loop.from_noise: lambda s: {"model": torch.tanh, "n": 24, "latent": 3, "seed": s},
    loop.outputs: lambda s: {"model": torch.tanh, "inputs": tensor(s, 24, 3)},
    plots.mosaic: lambda s: {"images": images(s), "columns": 4, "gap": 1},
    compute.configure: lambda s: {"threads": 1},
    precision.multiplying_in: lambda s: {"precision": "float32"},
    feedforward.FeedForward.forward: lambda s: {"self": built(feedforward.FeedForward, 8), "x": pixels(s)},
    autoencoder.Autoencoder.forward: lambda s: {"self": built(autoencoder.Autoencoder, SMALL), "x": pixels(s)},
    autoencoder.ConvAutoencoder.forward: lambda s: {"self": built(autoencoder.ConvAutoencoder), "x": pixels(s, 4)},
    cnn.CNN.forward: lambda s: {"self": built(cnn.CNN), "input": pixels(s, 4).view(-1, 1, 28, 28)},
    vae.VAE.encode: lambda s: {"self": SMALL_VAE(), "x": pixels(s)},
    vae.ConvVAE.encode: lambda s: {"self": built(vae.ConvVAE), "x": pixels(s, 4)},
}  # fmt: skip
LONG = {"epochs", "threads", "gap"}  # large ones take what they take
# why a public function is not among them
ELSEWHERE = {
    "draws what it is given; what cannot be seen is found by lib.legibility": "lib.plots lib.legibility",
    "a part of a trainer, which is among them": "lib.training.loop lib.training.train lib.training.gan "
    "lib.training.vae lib.training.autoencoder lib.training.classifier lib.training.checkpoint "
    "lib.metrics.classification",
    "takes no numbers": "lib.atomic lib.compute lib.precision lib.progress lib.torchvision_fix lib.data.files",
    "builds a network, whose forward is among them": "lib.models.autoencoder",
    "takes files or annotated cells, and has its tests of bad files beside it": "lib.data.single_cell",
    "takes what another function returned": "lib.metrics.latent.spell lib.metrics.quality.table",
}


def test_every_public_function_is_here_or_there_is_a_reason():
    given = {f"{function.__module__}.{function.__qualname__}" for function in CASES}
    reasons = " ".join(ELSEWHERE.values()).split()
    for module in pkgutil.walk_packages(lib.__path__, "lib."):
        for name, function in vars(importlib.import_module(module.name)).items():
            if inspect.isfunction(function) and function.__module__ == module.name and not name.startswith("_"):
                full = f"{module.name}.{name}"
                assert full in given or full in reasons or module.name in reasons, full


# --- faults ----------------------------------------------------------------------------------------------------------


def with_nan(x):
    x = x.clone() if isinstance(x, Tensor) else x.copy()
    x.reshape(-1)[0] = math.nan
    return x


def scattered(x):
    """The same values in another order in memory."""
    if isinstance(x, Tensor):
        return x.unsqueeze(-1).expand(*x.shape, 2).contiguous()[..., 0]
    return np.repeat(x[..., None], 2, -1)[..., 0]


def whole(x):
    return x.long() if isinstance(x, Tensor) else x.astype(np.int64)


ARRAYS = {  # of tensors and arrays
    "empty": lambda x: x[:0],
    "one": lambda x: x[:1],
    "constant": lambda x: x * 0 + x.reshape(-1)[0],
    "another dimension": lambda x: x[..., None],
    "narrower": lambda x: x[..., :-1],
    "flat": lambda x: x.reshape(-1),
    "scattered": scattered,
}
FLOATS = {"nan": with_nan, "integers": whole, "huge": lambda x: x / abs(x).max() * 1e30, "tiny": lambda x: x * 1e-30}
BYTES = {"floats": lambda x: x / 255}
LABELS = {"negative": lambda x: x - 1, "beyond": lambda x: x + 1000}
LISTS = {
    "empty": lambda x: [],
    "one": lambda x: x[:1],
    "constant": lambda x: x[:1] * len(x),
    "nan": lambda x: [math.nan, *x[1:]],
    "huge": lambda x: [value * 10**200 for value in x],
}
NUMBERS = {
    "zero": lambda x: type(x)(0),
    "negative": lambda x: -x,
    "large": lambda x: 1000 if isinstance(x, int) else 1e300,
    "nan": lambda x: math.nan,
}


def faults(value):
    """{fault: what does it to this value}."""
    if isinstance(value, Tensor | np.ndarray):
        kind = str(value.dtype).removeprefix("torch.")
        return ARRAYS | (BYTES if kind == "uint8" else LABELS if kind.startswith("int") else FLOATS)
    if isinstance(value, tensors.Split):
        return {
            "empty": lambda x: x[:0],
            "one": lambda x: x[:1],
            "fewer labels": lambda x: tensors.Split(x.images, x.labels[:-1]),
            "negative labels": lambda x: tensors.Split(x.images, x.labels - 1),
            "small images": lambda x: tensors.Split(x.images[:, 1:], x.labels),
        }
    if sparse.issparse(value):
        return {"empty": lambda x: x[:0], "one": lambda x: x[:1], "constant": lambda x: x * 0}
    if isinstance(value, list) and value and isinstance(value[0], int | float):
        return LISTS
    if isinstance(value, int | float):
        return NUMBERS
    return {}


def numbers(found):
    """All numbers in a result, as floats."""
    if isinstance(found, Tensor):
        yield from found.detach().double().flatten().tolist() if found.dtype != torch.bool else ()
    elif isinstance(found, np.ndarray):
        yield from found.astype(float).ravel().tolist()
    elif sparse.issparse(found):
        yield from found.data.tolist()
    elif isinstance(found, dict):
        yield from (n for key, value in found.items() if not key.endswith("seconds") for n in numbers(value))
    elif is_dataclass(found):
        yield from (n for field in fields(found) for n in numbers(getattr(found, field.name)))
    elif isinstance(found, str):
        yield from [math.nan] if re.search(r"\bnan\b", found) else []
    elif isinstance(found, int | float):
        yield float(found)
    elif isinstance(found, list | tuple) or inspect.isgenerator(found):
        yield from (n for value in found for n in numbers(value))


WRONG = "nan|finite|empty|zero-size|at least|dimensions?|shapes?|2D array|1-d|samples|points|integral|integers?|became"


def says_what(error, argument, value):
    """Whether a message names the argument, its shape, type, size or number, or what is wrong with it."""
    shape = tuple(getattr(value, "shape", ())) or ((len(value),) if hasattr(value, "__len__") else ())
    kind = str(getattr(value, "dtype", type(value).__name__)).removeprefix("torch.")
    kinds = {"float32": "float", "float64": "double", "int64": "long|int", "uint8": "byte|unsigned char"}
    words = [
        WRONG,
        argument,
        "learning rate" if argument == "lr" else argument,
        *map(str, shape),
        kind,
        kinds.get(kind, kind),
        "x".join(map(str, shape)) or argument,
    ]
    if isinstance(value, int | float):
        words.append(re.escape(str(value)))
    said = re.search(rf"(?<![\w.])({'|'.join(words)})(?![\w.])", str(error), flags=re.I)
    return said is not None and not isinstance(error, ZeroDivisionError)


def wrong(function, make, argument, fault, seed):
    """What a function does wrong with this argument; empty if nothing."""
    given = make(seed)
    given[argument] = faults(given[argument])[fault](given[argument])
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            found = list(numbers(function(**given)))
        except Exception as error:
            return "" if says_what(error, argument, given[argument]) else f"{type(error).__name__}: {error}"
        if fault == "scattered":
            as_it_was = list(numbers(function(**make(seed))))
            return "" if found == pytest.approx(as_it_was, rel=1e-5, nan_ok=True) else "depends on the layout"
    has_nan = any(map(math.isnan, found))
    if fault == "nan":
        return "" if has_nan else "hides a NaN"
    return "makes a NaN" if has_nan else ""


def cases():
    for function, make in CASES.items():
        name = f"{function.__module__}.{function.__qualname__}".removeprefix("lib.")
        for argument, value in make(0).items():
            for fault in sorted(faults(value).keys() - ({"large"} if argument in LONG else set())):
                if (function, fault) == (divergences.kl_neighbours, "integers"):
                    continue  # it can end the process; see below
                known = (name, argument, fault) in KNOWN
                marks = [pytest.mark.xfail(reason=KNOWN[name, argument, fault], strict=True)] if known else []
                yield pytest.param(function, make, argument, fault, id=f"{name}-{argument}-{fault}", marks=marks)


@pytest.mark.parametrize(("function", "make", "argument", "fault"), list(cases()))
def test_it_ends_in_a_result_or_in_an_error_that_says_what_is_wrong(function, make, argument, fault):
    @example(seed=0)
    @settings(max_examples=4, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(seed=st.integers(0, 10**6))
    def tried(seed):
        assert wrong(function, make, argument, fault, seed) == ""

    tried()


@pytest.mark.xfail(reason="scipy's cKDTree never ends to split around 0 where denormals are flushed", strict=True)
def test_whole_numbers_do_not_end_the_process():
    """``compute.configure`` flushes denormals; the process ends with a segmentation fault."""
    program = (
        "import numpy as np; from lib import compute; from lib.metrics.divergences import kl_neighbours\n"
        "compute.configure(1)\n"
        "points = np.random.default_rng(1).normal(size=(24, 3)).astype(np.int64)\n"
        "try: kl_neighbours(points, points)\n"
        "except ValueError: pass\n"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True).returncode == 0
