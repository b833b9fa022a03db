"""data/errata.toml: the form of its entries, and the sums of those that are shown by arithmetic."""

import math
import re
from pathlib import Path

import numpy as np
import torch
from scipy.stats import entropy

from workbook.paths import NOTEBOOKS
from workbook.records import errata, reports

ERRATA = {error["id"]: error for error in errata()}
ITEMS = {item["id"]: item for item in reports()["item"]}


def reported(name: str):
    return ITEMS[name]["reported"]


def parameters(*layers: tuple[int, int]) -> int:
    """Weights and biases of layers, each given as (weights of one output, outputs)."""
    return sum((weights + 1) * outputs for weights, outputs in layers)


# --- form ------------------------------------------------------------------------------------------------------------


def test_every_erratum_is_one_root_cause_with_a_source_and_what_shows_it():
    assert list(ERRATA) == sorted(set(ERRATA)), "in order, and no number twice"
    assert len({error["title"] for error in ERRATA.values()}) == len(ERRATA)
    for name, error in ERRATA.items():
        assert re.fullmatch(r"E\d\d", name)
        assert {"claim", "arithmetic", "reading"} & set(error), f"{name}: nothing shows it"
        assert all(error.values()), f"{name}: a key is empty"
        assert (NOTEBOOKS / f"{error['notebook']}.ipynb").exists(), name
        assert {ITEMS[item]["report"] for item in error["items"]} == {error["report"]}, name


def test_a_quoted_error_is_short_and_an_error_without_words_says_where_it_is():
    for name, error in ERRATA.items():
        if "quote" in error:
            assert len(error["quote"].split()) <= 12, name
            assert error["quote"] == " ".join(error["quote"].split()), name
        else:
            assert re.search("code|recipe|figure|matrix", error["source"]), name


def test_an_erratum_that_a_chapter_does_not_run_is_shown_here_or_by_two_places():
    here = {name for name, error in ERRATA.items() if "arithmetic" in error}
    assert here == {f"E{n}" for n in re.findall(r"def test_e(\d\d)_", Path(__file__).read_text("utf-8"))}


# --- arithmetic ------------------------------------------------------------------------------------------------------


def test_e02_of_all_rows_only_sigmoid_has_the_accuracy_of_the_matrix():
    matrix = np.array(reported("cpsc453.table-confusion")["matrix"])
    assert (matrix.trace(), matrix.sum()) == (9356, 10_000)
    rows = [row for n in (1, 2, 3) for row in reported(f"cpsc453.table-{n}")["rows"]]
    assert len(rows) == 16
    assert [name for name, accuracy, _ in rows if accuracy == round(matrix.trace() / matrix.sum(), 3)] == ["sigmoid"]


def test_e14_sets_as_large_as_stated_would_take_longer_and_lie_in_one_point():
    gan, same = reported("cpsc453.table-5.3"), reported("cpsc453.table-5.2")
    assert gan["mmd"] / 2 > 0.995  # mean k(x, x') + mean k(y, y') ≥ MMD², and neither is above 1
    for trial in same:
        values = gan["mmd_time_s"] / (trial["mmd_time_s"] / (3 * 1000**2))
        assert 3 * 4**2 < values < 3 * 5**2


def test_e15_both_kl_columns_rise_and_emd_over_sigma_does_not():
    rows = reported("cpsc453.table-5.1")
    for key in ("kl_ab", "kl_ba"):
        assert [row[key] for row in rows] == sorted(row[key] for row in rows)
    scaled = [row["emd"] / row["sigma"] for row in rows]
    assert scaled[2] < scaled[1]
    assert max(scaled) / min(scaled) < 1.06


def test_e16_mmd_is_the_slowest_and_emd_the_fastest_in_every_table_but_one():
    for row in reported("cpsc453.table-5.1") + reported("cpsc453.table-5.2"):
        assert row["mmd_time_s"] > 200 * max(row["kl_ab_time_s"], row["kl_ba_time_s"])
        assert row["emd_time_s"] < min(row["kl_ab_time_s"], row["kl_ba_time_s"])


def test_e24_the_rate_is_higher_than_in_the_tutorial_and_the_epochs_are_fewer():
    assert reported("statsm231a.num-epochs") < 200
    assert reported("statsm231a.num-lr") > 0.0002


def test_e28_table_1_holds_fourteen_zeros():
    assert reported("linma2472.table-1").count(0) == 14 != reported("linma2472.num-fake-calls")["called_fake"]


def test_e29_the_loss_of_the_discriminator_starts_lower():
    start = reported("linma2472.fig-04")
    assert start["discriminator_start"] < start["generator_start"] / 10


def test_e32_the_two_losses_of_a_generator_have_other_slopes():
    logit = torch.tensor(math.log(0.01 / 0.99), requires_grad=True)
    minimax, non_saturating = torch.log(1 - logit.sigmoid()), -torch.log(logit.sigmoid())
    slopes = [torch.autograd.grad(loss, logit)[0].item() for loss in (minimax, non_saturating)]
    assert np.allclose(slopes, [-0.01, -0.99])


def test_e33_the_printed_cross_entropy_is_negative():
    x = np.linspace(-20, 20, 81)
    for y in (0, 1):
        assert (y * x - np.log(np.exp(x) + 1) < 0).all()


def test_e37_the_divergence_as_written_is_infinite_for_a_hard_label():
    label, classifier = [1, 0], [0.9, 0.1]
    assert math.isinf(entropy(classifier, label))
    assert math.isclose(entropy(label, classifier), -math.log(0.9))


def test_e38_the_reported_norm_is_that_of_normal_vectors():
    norms = np.linalg.norm(np.random.default_rng(0).random((10_000, 100)), axis=1)
    assert (round(norms.mean(), 1), round(norms.std(), 1)) == (5.8, 0.3)
    assert norms.max() < reported("linma2472.num-norm-random")


def test_e39_the_curve_holds_less_than_the_text_says():
    share = sum(reported("linma2472.fig-14b")["with_threshold"][:2])
    assert round(share, 3) == 0.417 < reported("linma2472.num-share-01")


def test_e40_the_norm_of_a_random_vector_rounds_to_ten():
    norm = math.sqrt(2) * math.exp(math.lgamma(50.5) - math.lgamma(50))
    assert round(norm, 3) == 9.975
    assert round(norm) == 10 != reported("linma2472.num-norm-random")


def test_e42_no_digit_of_the_figure_is_above_the_mean_of_the_text():
    assert reported("linma2472.fig-17")["diagonal_max"] <= reported("linma2472.num-mdm-agreement")


def test_e49_the_figure_ends_long_before_the_limit():
    assert reported("nndl2020.fig-01")["epochs"] < reported("nndl2020.grid.max_epochs") / 100
    assert reported("nndl2020.fig-01")["epochs"] > reported("nndl2020.grid.early_stopping")


def test_e50_the_grid_has_49152_points():
    listed = [values for values in reported("nndl2020.table-grid").values() if isinstance(values, list)]
    points = math.prod(len(values) for values in listed)
    assert points == 49_152
    assert round(points * 26 * 5 / 86_400) == 74


def test_e52_mean_images_name_digits_under_complete_noise(small):
    train, test = small
    images, labels = train.images.flatten(1).float() / 255, train.labels
    means = torch.stack([images[labels == digit].mean(0) for digit in range(10)])
    clean = test.images.flatten(1).float() / 255
    noisy = clean + torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    assert (torch.cdist(noisy, means).argmin(1) == test.labels).float().mean() > 0.5


def test_e53_the_matrix_has_another_accuracy_than_the_text():
    matrix = np.array(reported("nndl2020.fig-08")["matrix"])
    assert (matrix.trace(), matrix.sum()) == (9693, 10_000)
    assert reported("nndl2020.num-cls-acc-test") - matrix.trace() / matrix.sum() > 0.019


def test_e54_columns_sum_to_the_test_images_of_each_digit():
    matrix = np.array(reported("nndl2020.fig-08")["matrix"])
    images = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert matrix.sum(0).tolist() == images
    assert matrix.sum(1).tolist() != images


def test_e55_the_dense_network_has_21_times_the_parameters():
    dense = parameters((784, 512), (512, 256), (256, 4), (2, 256), (256, 512), (512, 784))
    encoder = parameters((9, 8), (9 * 8, 16), (9 * 16, 32), (288, 64), (64, 10))
    decoder = parameters((10, 64), (64, 288), (9 * 32, 16), (9 * 16, 8), (9 * 8, 1))
    assert (dense, encoder + decoder) == (1_068_820, 50_315)
    assert dense // (encoder + decoder) == 21


def test_e56_a_sample_has_slopes_in_mean_and_deviation():
    mean, deviation = torch.tensor(0.3, requires_grad=True), torch.tensor(0.7, requires_grad=True)
    noise = torch.tensor(-1.2)
    slopes = torch.autograd.grad(mean + deviation * noise, (mean, deviation))
    assert [slope.item() for slope in slopes] == [1, noise.item()]
