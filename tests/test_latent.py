"""Latent spaces whose neighbours are known."""

import numpy as np
import pytest
import torch

from lib import latent


def two_clusters(n=30, apart=100.0):
    generator = torch.Generator().manual_seed(0)
    codes = torch.randn(2 * n, 3, generator=generator)
    codes[n:] += apart
    return codes, torch.arange(2).repeat_interleave(n)


def test_interpolate_ends_and_middle():
    a, b = torch.tensor([0.0, 2.0]), torch.tensor([4.0, 0.0])
    points = latent.interpolate(a, b, torch.tensor([0.0, 0.25, 1.0]))
    assert points.tolist() == [[0, 2], [1, 1.5], [4, 0]]


def test_neighbour_shares_of_separate_clusters():
    codes, labels = two_clusters()
    assert latent.neighbour_shares(codes, labels, k=5, classes=2).equal(torch.eye(2))


def test_neighbour_shares_orientation():
    codes = torch.tensor([[0.0], [1.0], [1.1], [1.3]])
    labels = torch.tensor([0, 1, 1, 1])
    shares = latent.neighbour_shares(codes, labels, k=1, classes=3)
    assert shares.tolist() == [[0, 1, 0], [0, 1, 0], [0, 0, 0]], (
        "the neighbour of the 0 is a 1, not the other way round"
    )


def test_knn_accuracy():
    known, new = torch.tensor([[0.0], [10.0]]), torch.tensor([[1.0], [2.0]])
    assert latent.knn_accuracy(known, torch.tensor([0, 1]), new, torch.tensor([0, 0]), k=1) == 1
    assert latent.knn_accuracy(known, torch.tensor([0, 1]), new, torch.tensor([1, 0]), k=1) == 0.5


def test_trustworthiness():
    inputs = torch.randn(60, 3, generator=torch.Generator().manual_seed(0))
    flattened = inputs * torch.tensor([1.0, 0.0, 0.0])  # brings together what was far apart, and parts nothing
    assert latent.trustworthiness(inputs, inputs, k=5) == 1
    assert latent.trustworthiness(inputs, flattened, k=5) < 0.72 < latent.trustworthiness(flattened, inputs, k=5)


def test_neighbour_shares_need_enough_points():
    with pytest.raises(ValueError, match="3 points do not have 3 neighbours"):
        latent.neighbour_shares(torch.zeros(3, 2), torch.zeros(3, dtype=torch.long), k=3)


@pytest.mark.parametrize("name", ["PCA", "t-SNE", "PHATE"])  # UMAP: ten seconds to compile; test_determinism runs it
def test_views_repeat_and_keep_clusters_apart(name):
    codes, labels = two_clusters()
    first, second = (latent.views(codes.double().numpy(), 1, [name])[name] for _ in range(2))
    assert first.shape == (60, 2)
    assert np.array_equal(first, second)
    shares = latent.neighbour_shares(torch.from_numpy(first).float(), labels, k=5, classes=2)
    assert shares.diag().min() > 0.9


def test_unknown_view():
    with pytest.raises(ValueError, match="unknown view 'tSNE'; choose from PCA"):
        latent.views(np.zeros((5, 3)), names=["tSNE"])


def reads_sign(z):
    """A classifier of ten classes that reads the place of the largest of ten numbers."""
    return z[:, :10] * 5


def test_label_takes_any_generator_and_classifier():
    z = torch.randn(600, 12, generator=torch.Generator().manual_seed(0))
    found = latent.label(lambda some: some * 2, reads_sign, z, batch_size=7)
    assert found.labels.equal(z[:, :10].argmax(1))
    assert 0.1 < found.certainty.min() <= found.certainty.max() < 1
    kept = found.above(0.5)
    assert len(kept) == len(kept.z) == (found.certainty > 0.5).sum()
    first, second = kept.halves()
    assert len(first) - len(second) in (0, 1)
    assert first.z[1].equal(kept.z[2])


def test_class_means_and_nearest_mean():
    z = torch.tensor([[0.0, 2.0], [0.0, 4.0], [5.0, 0.0]])
    means = latent.class_means(z, torch.tensor([1, 1, 0]), classes=2)
    assert means.tolist() == [[5.0, 0.0], [0.0, 3.0]]
    assert latent.nearest_mean(torch.tensor([[4.0, 1.0], [1.0, 2.0]]), means).tolist() == [0, 1]
    with pytest.raises(ValueError, match="no vector of class 2"):
        latent.class_means(z, torch.tensor([1, 1, 0]), classes=3)


def test_orthonormal_is_gram_schmidt():
    vectors = torch.tensor([[3.0, 0.0, 0.0], [1.0, 2.0, 0.0], [4.0, 5.0, -6.0]])
    torch.testing.assert_close(latent.orthonormal(vectors), torch.diag(torch.tensor([1.0, 1.0, -1.0])))


def test_spell_takes_the_most_certain_and_none_twice():
    found = latent.Labelled(
        torch.arange(5.0).view(5, 1), torch.tensor([1, 2, 1, 1, 2]), torch.tensor([0.3, 0.5, 0.9, 0.6, 0.4])
    )
    assert latent.spell(found, "1211").flatten().tolist() == [2.0, 1.0, 3.0, 0.0]


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        ("", "the message is empty"),
        ("12a", r"'12a' contains 'a'"),
        ("1 2", r"contains ' '"),
        ("٣", "contains '٣'"),
        ("7", "only 0 vectors read as 7, 1 are needed"),
    ],
)
def test_spell_explains_what_is_wrong(message, complaint):
    found = latent.Labelled(torch.zeros(2, 1), torch.tensor([1, 2]), torch.ones(2))
    with pytest.raises(ValueError, match=complaint):
        latent.spell(found, message)


def test_orthonormal_needs_different_directions():
    with pytest.raises(ValueError, match="span no plane"):
        latent.orthonormal(torch.tensor([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0]]))


def test_normal_fit_gives_back_mean_covariance_and_distances():
    generator = torch.Generator().manual_seed(0)
    codes = torch.randn(20_000, 2, generator=generator) * torch.tensor([3.0, 0.5]) + torch.tensor([1.0, -2.0])
    mean, root = latent.normal_fit(codes)
    torch.testing.assert_close(mean, torch.tensor([1.0, -2.0]), atol=0.08, rtol=0)
    torch.testing.assert_close(root @ root.T, codes.T.cov())
    points = mean + torch.tensor([[6.0, 0.0], [0.0, 1.0], [0.0, 0.0]])  # two, two and no standard deviations
    torch.testing.assert_close(latent.mahalanobis(points, mean, root), torch.tensor([2.0, 2.0, 0.0]), atol=0.05, rtol=0)
    flat = torch.cat([codes, codes[:, :1]], 1)  # three dimensions, but the codes fill two
    mean, root = latent.normal_fit(flat)
    drawn = mean + torch.randn(1000, 3, generator=generator) @ root.T
    torch.testing.assert_close(drawn[:, 0], drawn[:, 2], atol=1e-2, rtol=0)
