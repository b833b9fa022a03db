"""Measures of generated images, on features whose answer is known."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm
from torch import nn

from lib.metrics import quality
from lib.models.feedforward import FeedForward


def gaussian(n=500, d=4, seed=0, sd=1.0, shift=0.0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed)) * sd + shift


def test_frechet_distance_of_gaussians():
    a, b = gaussian(200_000), gaussian(200_000, seed=1, sd=3, shift=2)
    assert quality.frechet_distance(a, b) == pytest.approx(4 * (2**2 + (3 - 1) ** 2), rel=0.02)


def test_frechet_distance_by_its_formula():
    a, b = gaussian() @ gaussian(4, 4, 5), gaussian(seed=1) @ gaussian(4, 4, 6) + 1
    ca, cb = np.cov(a.numpy().T), np.cov(b.numpy().T)
    means = float(((a.mean(0) - b.mean(0)) ** 2).sum())
    formula = means + np.trace(ca + cb - 2 * sqrtm(ca @ cb).real)
    assert quality.frechet_distance(a, b) == pytest.approx(formula, rel=1e-4)


@given(st.integers(0, 1000))
@settings(max_examples=10, deadline=None)
def test_frechet_distance_is_a_distance(seed):
    a, b = gaussian(60, seed=seed), gaussian(60, seed=seed + 1, sd=2)
    assert quality.frechet_distance(a, a) == pytest.approx(0, abs=1e-6)
    assert quality.frechet_distance(a, b) == pytest.approx(quality.frechet_distance(b, a), rel=1e-6)
    assert quality.frechet_distance(a, b) > 0
    assert quality.frechet_distance(a + 5, b + 5) == pytest.approx(quality.frechet_distance(a, b), rel=1e-4)


def test_frechet_distance_with_dead_features():
    dead = torch.zeros(500, 2)  # hidden units that no image excites
    a, b = torch.cat([gaussian(), dead], 1), torch.cat([gaussian(seed=1), dead], 1)
    assert quality.frechet_distance(a, b) == pytest.approx(quality.frechet_distance(a[:, :4], b[:, :4]), abs=1e-6)


def by_hand(real, fake, k):
    """Naeem et al. 2020, as they write it."""
    radius = torch.cdist(real, real).sort(1).values[:, k]
    fake_radius = torch.cdist(fake, fake).sort(1).values[:, k]
    distance = torch.cdist(real, fake)
    inside = distance < radius[:, None]
    return {
        "precision": inside.any(0).float().mean().item(),
        "recall": (distance < fake_radius[None, :]).any(1).float().mean().item(),
        "density": inside.float().sum(0).mean().item() / k,
        "coverage": (distance.min(1).values < radius).float().mean().item(),
    }


@pytest.mark.parametrize(("n", "m"), [(1500, 1200), (300, 2300)])
def test_manifold_metrics_by_their_definition(n, m):
    real, fake = gaussian(n), gaussian(m, seed=1, sd=0.7, shift=0.3)
    assert quality.manifold_metrics(real, fake) == pytest.approx(by_hand(real, fake, 5), abs=1e-5)


def test_manifold_metrics_know_fidelity_from_variety():
    real = torch.cat([gaussian(400), gaussian(400, seed=1, shift=20)])
    one_mode = quality.manifold_metrics(real, gaussian(400, seed=2))
    assert one_mode["precision"] > 0.95, "all of them look real"
    assert one_mode["coverage"] < 0.55, "half of the kinds are missing"
    assert one_mode["recall"] < 0.55
    with_rubbish = quality.manifold_metrics(
        real, torch.cat([gaussian(400, seed=2), gaussian(400, seed=3, shift=20), gaussian(400, seed=4, shift=-30)])
    )
    assert with_rubbish["precision"] == pytest.approx(2 / 3, abs=0.03)
    assert with_rubbish["coverage"] > 0.9
    nothing = quality.manifold_metrics(real, gaussian(50, shift=500))
    assert set(nothing.values()) == {0.0}


def test_on_the_rim_of_a_ball_is_outside():
    """Real points 0, 2, 6 with radii 2, 2, 4 (k = 1); the point 10 lies on the rim of the last, 100 far away."""
    real, fake = torch.tensor([[0.0], [2.0], [6.0]]), torch.tensor([[10.0], [100.0]])
    found = quality.manifold_metrics(real, fake, k=1)
    assert (found["precision"], found["density"], found["coverage"]) == (0, 0, 0)
    assert quality.manifold_metrics(real, fake - 0.5, k=1)["precision"] == 0.5


def test_manifold_metrics_need_enough_images():
    with pytest.raises(ValueError, match="more than 5 images"):
        quality.manifold_metrics(gaussian(5), gaussian(50))


def test_class_entropy():
    assert quality.class_entropy(torch.full((10,), 0.1)) == pytest.approx(math.log2(10), abs=1e-6)
    assert quality.class_entropy(torch.tensor([1.0, 0.0, 0.0])) == 0
    assert quality.class_entropy(torch.tensor([0.5, 0.25, 0.25])) == pytest.approx(1.5)


def test_features_are_the_hidden_layer():
    network = FeedForward(hidden=16).requires_grad_(False)
    x = torch.rand(3, 1, 28, 28)
    hidden = quality.features(network, x)
    assert hidden.shape == (3, 16)
    assert torch.allclose(hidden @ network.W2 + network.b2, network(x), atol=1e-6)


def test_assessment_of_real_images_is_the_floor():
    torch.manual_seed(0)
    network = FeedForward(hidden=16)
    real, other, noise = torch.rand(3, 200, 784)
    scores = quality.assess(network, other, quality.features(network, real))
    worse = quality.assess(network, noise * 0.3, quality.features(network, real))
    assert scores["n"] == 200
    assert sum(scores["class_shares"]) == pytest.approx(1)
    assert scores["smallest_share"] == min(scores["class_shares"])
    placed = quality.manifold_metrics(quality.features(network, real), quality.features(network, noise * 0.3))
    assert placed == {name: worse[name] for name in placed}
    assert scores["frechet"] < worse["frechet"]
    assert scores["coverage"] > worse["coverage"]


def test_ssim_of_equal_and_of_flat_images():
    a = torch.rand(3, 784, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(quality.ssim(a, a), torch.ones(3))
    x, y, c1 = 0.3, 0.8, 0.01**2
    flat = quality.ssim(torch.full((1, 1, 28, 28), x), torch.full((1, 1, 28, 28), y))
    assert flat.item() == pytest.approx((2 * x * y + c1) / (x**2 + y**2 + c1), abs=5e-4)


def test_ssim_by_its_definition():
    """Square by square, with numpy's unbiased variances."""
    generator = torch.Generator().manual_seed(1)
    a, b = torch.rand(2, 784, generator=generator), torch.rand(2, 784, generator=generator)
    c1, c2, expected = 0.01**2, 0.03**2, []
    for p, q in zip(a.view(2, 28, 28).double().numpy(), b.view(2, 28, 28).double().numpy(), strict=True):
        values = []
        for i in range(22):
            for j in range(22):
                x, y = p[i : i + 7, j : j + 7].ravel(), q[i : i + 7, j : j + 7].ravel()
                (vx, cxy), (_, vy) = np.cov(x, y)
                mx, my = x.mean(), y.mean()
                values.append((2 * mx * my + c1) * (2 * cxy + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2)))
        expected.append(np.mean(values))
    np.testing.assert_allclose(quality.ssim(a, b).numpy(), expected, atol=1e-5)


def test_noise_lowers_ssim_and_many_images_are_measured_alike():
    clean = torch.zeros(1500, 784)
    clean[:, 300:400] = 1
    noise = torch.randn(1500, 784, generator=torch.Generator().manual_seed(0))
    little, much = (quality.ssim(clean, clean + sd * noise) for sd in (0.1, 0.5))
    assert (much < little).all()
    torch.testing.assert_close(little[1200:1201], quality.ssim(clean[1200:1201], (clean + 0.1 * noise)[1200:1201]))


class ReadsRows(FeedForward):
    """A network whose logits are ten of an image's pixels."""

    def __init__(self):
        super().__init__(hidden=784)
        self.activation = "linear"
        self.requires_grad_(False)
        self.W1.copy_(torch.eye(784))
        self.b1.zero_()
        self.W2.copy_(torch.eye(784)[:, :10] * 4)
        self.b2.zero_()


def images_with(*logits):
    """Images that ``ReadsRows`` gives these logits, with noise where it does not look, so that no two are alike."""
    images = torch.rand(len(logits), 784, generator=torch.Generator().manual_seed(0))
    images[:, :10] = torch.tensor(logits) / 4
    return images


LOGITS = [
    *[[4.0] + [0.0] * 9] * 4,
    [4.0, 3.9] + [0.0] * 8,  # a 0, though of all images it is the most like a 1
    *[[0.0, 0.0, 2.0] + [0.0] * 7] * 2,
    [0.1 * i for i in range(10)],
]


def test_class_shares_count_what_is_read_in_each_single_image():
    scores = quality.assess(ReadsRows(), images_with(*LOGITS), quality.features(ReadsRows(), torch.rand(8, 784)))
    assert scores["class_shares"] == pytest.approx([5 / 8, 0, 2 / 8, 0, 0, 0, 0, 0, 0, 1 / 8])
    assert scores["smallest_share"] == 0
    assert scores["class_entropy"] == pytest.approx(5 / 8 * math.log2(8 / 5) + 2 / 8 * 2 + 1 / 8 * 3)


def test_confidence_is_the_mean_probability_of_the_digit_that_is_read():
    def largest(logits):
        return max(np.exp(logits)) / sum(np.exp(logits))

    scores = quality.assess(ReadsRows(), images_with(*LOGITS), quality.features(ReadsRows(), torch.rand(8, 784)))
    assert scores["confidence"] == pytest.approx(np.mean([largest(logits) for logits in LOGITS]), rel=1e-5)


def test_assessment_compares_with_the_real_features_that_it_is_given():
    images, network = images_with(*LOGITS), ReadsRows()
    itself = quality.assess(network, images, quality.features(network, images))
    assert itself["frechet"] == pytest.approx(0, abs=1e-4)
    assert (itself["precision"], itself["recall"], itself["coverage"]) == (1, 1, 1)
    real = torch.cat([images, images + 100])  # half of the real images are of another kind, far from all
    other = quality.assess(network, images, quality.features(network, real))
    assert other["precision"] == 1
    assert other["recall"] == other["coverage"] == 0.5


def test_features_apply_the_activation_of_the_network():
    for activation, apply in (("relu", torch.relu), ("tanh", torch.tanh)):
        network = FeedForward(hidden=4, activation=activation).requires_grad_(False)
        x = torch.rand(5, 784)
        torch.testing.assert_close(quality.features(network, x), apply(x @ network.W1 + network.b1))


def test_generated_images_are_between_0_and_1_without_gradients():
    generator = nn.Linear(2, 2)
    with torch.no_grad():
        generator.weight.copy_(torch.eye(2))
        generator.bias.zero_()
    images = quality.generated(generator, torch.tensor([[-1.0, 1.0], [0.0, 0.5]]))
    assert images.tolist() == [[0, 1], [0.5, 0.75]]
    assert not images.requires_grad


def test_generated_images_keep_their_order_and_come_in_batches():
    seen = []

    def generator(z):
        seen.append(len(z))
        return z[:, :, None] * torch.ones(1, 1, 3)

    z = torch.rand(600, 1) * 2 - 1
    images = quality.generated(generator, z)
    assert images.shape == (600, 1, 3)
    torch.testing.assert_close(images[:, 0, 2], (z[:, 0] + 1) / 2)
    assert max(seen) <= 250
    assert sum(seen) == 600


def test_a_table_of_measures_has_a_row_for_each_name_and_a_column_for_each_measure():
    judged = {"GAN": {"recall": 0.12345, "frechet": 33.0, "n": 5}, "VAE": {"recall": 1.0, "frechet": 7.0, "n": 5}}
    measures = {"frechet": "Fréchet distance", "recall": "recall"}
    assert quality.table("images", judged, measures) == (
        ["images", "Fréchet distance", "recall"],
        [["GAN", "33.000", "0.123"], ["VAE", "7.000", "1.000"]],
    )


def test_every_measure_that_is_shown_is_assessed():
    scores = quality.assess(ReadsRows(), images_with(*LOGITS), quality.features(ReadsRows(), torch.rand(8, 784)))
    assert quality.table("images", {"these": scores})[0] == ["images", *quality.MEASURES.values()]
    assert set(quality.MEASURES) == set(scores) - {"n", "class_shares"}
