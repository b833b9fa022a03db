"""Latent spaces whose neighbours are known."""

import numpy as np
import pytest
import torch

from lib.metrics import latent


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


def test_accuracy_is_that_of_a_vote_among_k_neighbours():
    known, labels = torch.tensor([[0.0], [1.0], [1.2]]), torch.tensor([0, 1, 1])
    new, digit = torch.tensor([[0.3]]), torch.tensor([0])
    assert latent.knn_accuracy(known, labels, new, digit, k=1) == 1, "the nearest is a 0"
    assert latent.knn_accuracy(known, labels, new, digit, k=3) == 0, "two of the three nearest are a 1"


@pytest.mark.parametrize("k", [2, 5, 12])
def test_trustworthiness_is_its_formula_for_every_k(k):
    """Venna & Kaski 2001: how far away in the inputs those are that are among the k nearest codes by mistake."""
    generator = torch.Generator().manual_seed(1)
    inputs, codes = torch.randn(30, 4, generator=generator), torch.randn(30, 2, generator=generator)
    ranks = torch.cdist(inputs, inputs).argsort(1).argsort(1)  # 0: the point itself
    near = torch.cdist(codes, codes).argsort(1)[:, 1 : k + 1]
    penalty = (ranks.gather(1, near) - k).clamp_min(0).sum().item()
    expected = 1 - 2 / (30 * k * (2 * 30 - 3 * k - 1)) * penalty
    assert latent.trustworthiness(inputs, codes, k=k) == pytest.approx(expected)


def test_trustworthiness():
    inputs = torch.randn(60, 3, generator=torch.Generator().manual_seed(0))
    flattened = inputs * torch.tensor([1.0, 0.0, 0.0])  # brings together what was far apart, and parts nothing
    assert latent.trustworthiness(inputs, inputs, k=5) == 1
    assert latent.trustworthiness(inputs, flattened, k=5) < 0.72 < latent.trustworthiness(flattened, inputs, k=5)


def test_neighbour_shares_need_enough_points():
    with pytest.raises(ValueError, match="3 points do not have 3 neighbours"):
        latent.neighbour_shares(torch.zeros(3, 2), torch.zeros(3, dtype=torch.long), k=3)


def hidden_clusters(n=30):
    """Two clusters that differ in the last two of four coordinates only."""
    codes = np.random.default_rng(0).normal(size=(2 * n, 4))
    codes[n:, 2:] += 5
    return codes, torch.arange(2).repeat_interleave(n)


def purity(view, labels):
    return latent.neighbour_shares(torch.tensor(view).float(), labels, k=5, classes=2).diag().min().item()


@pytest.mark.parametrize("name", latent.VIEWS)
def test_views_repeat_and_keep_clusters_apart(name):
    codes, labels = hidden_clusters()
    first, second = (latent.views(codes, 1, [name])[name] for _ in range(2))
    assert first.shape == (60, 2)
    assert np.array_equal(first, second)
    assert purity(first, labels) > 0.9
    assert purity(codes[:, :2], labels) < 0.7, "two of the coordinates do not show the clusters"


def test_another_seed_gives_another_view():
    codes, _ = hidden_clusters()
    first, second = (latent.views(codes, seed, ["UMAP"])["UMAP"] for seed in (1, 2))
    assert not np.allclose(first, second)


@pytest.fixture
def recorded(monkeypatch):
    """{view: settings} of the methods, which are not run but return the numbers from 0."""
    import phate
    import sklearn.decomposition
    import sklearn.manifold
    import umap

    settings = {}
    places = {"PCA": sklearn.decomposition, "t-SNE": sklearn.manifold, "PHATE": phate, "UMAP": umap}
    for name, module in places.items():

        class Method:
            def __init__(self, *_, name=name, **given):
                settings[name] = given

            def fit_transform(self, codes):
                return np.arange(2 * len(codes)).reshape(-1, 2)

        monkeypatch.setattr(module, name.upper().replace("-", ""), Method)
    return settings


def test_every_view_is_what_its_method_makes_of_the_codes_and_the_seed(recorded):
    found = latent.views(np.zeros((200, 3)), seed=7)
    assert list(found) == ["PCA", "PHATE", "t-SNE", "UMAP"]
    assert all(view.tolist() == np.arange(400).reshape(-1, 2).tolist() for view in found.values())
    assert {name: given["random_state"] for name, given in recorded.items()} == dict.fromkeys(latent.VIEWS, 7)


def test_settings_of_views_depend_on_how_many_points_there_are(recorded):
    latent.views(np.zeros((40, 3)))
    assert recorded["t-SNE"]["perplexity"] == 10
    assert (recorded["PHATE"]["n_landmark"], recorded["UMAP"]["n_epochs"]) == (2000, None)
    latent.views(np.zeros((10_000, 3)))
    assert recorded["t-SNE"]["perplexity"] == 30
    assert (recorded["PHATE"]["n_landmark"], recorded["UMAP"]["n_epochs"]) == (500, 200)


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


def test_halves_take_turns():
    found = latent.Labelled(torch.arange(10.0).view(5, 2), torch.arange(5), torch.rand(5))
    first, second = found.halves()
    assert (first.labels.tolist(), second.labels.tolist()) == ([0, 2, 4], [1, 3])
    assert first.z.tolist() == [[0, 1], [4, 5], [8, 9]]
    assert second.certainty.equal(found.certainty[[1, 3]])


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
        ("7", "7 occurs 1× in the message, but only 0 vectors read as it"),
    ],
)
def test_spell_explains_what_is_wrong(message, complaint):
    found = latent.Labelled(torch.zeros(2, 1), torch.tensor([1, 2]), torch.ones(2))
    with pytest.raises(ValueError, match=complaint):
        latent.spell(found, message)


def test_orthonormal_needs_different_directions():
    with pytest.raises(ValueError, match="do not span a plane"):
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


def test_above_a_threshold_means_more_than_it():
    found = latent.Labelled(torch.zeros(3, 2), torch.zeros(3, dtype=torch.long), torch.tensor([0.5, 0.75, 0.25]))
    assert found.above(0.5).certainty.tolist() == [0.75]
