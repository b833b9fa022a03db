"""The committed results (profile standard, seed 0) are within the bands that the project promises."""

import pytest

from lib.paths import FIGURES
from lib.results import items_of, load_results


def results(notebook):
    return load_results(FIGURES / notebook)["items"]


def test_feedforward_best_accuracy():
    assert 0.982 <= results("01_feedforward")["cpsc453.num-accuracy"]["value"] <= 0.992


ROWS = [item for item in items_of("01_feedforward") if item.startswith("cpsc453.table-") and item.count(".") > 1]


@pytest.mark.parametrize("item", ROWS)
def test_feedforward_rows_are_within_half_a_percent_or_better(item):
    reported = items_of("01_feedforward")[item]["reported"]["test_accuracy"]
    row = results("01_feedforward")[item]["value"]
    assert reported - 0.005 <= row["test_accuracy"] <= reported + 0.04
    assert row["test_accuracy_chosen_on_validation"] >= row["test_accuracy"] - 0.003


def test_feedforward_confusion_matrix():
    table = results("01_feedforward")["cpsc453.table-confusion"]["value"]
    counts = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    for matrix in (table["matrix"], table["best_model_matrix"]):
        assert [sum(row) for row in matrix] == counts
    assert table["trace"] == sum(table["matrix"][i][i] for i in range(10))
    best = sum(table["best_model_matrix"][i][i] for i in range(10)) / 10000
    assert best == pytest.approx(results("01_feedforward")["cpsc453.num-accuracy"]["value"])


def test_feedforward_loss_scale_is_demonstrated():
    entry = results("01_feedforward")["cpsc453.fig-01"]
    assert 0.05 < entry["value"]["test_cross_entropy_end"] < 0.1
    assert entry["value"]["test_end_as_reported"] == pytest.approx(0.0005, abs=0.0003)
    assert "report_wrong" in entry


def test_cnn():
    items = results("13_cnn")
    assert 0.992 <= items["linma2472.num-cnn-accuracy-test"]["value"] <= 0.997
    one_epoch = float(items["linma2472.num-cnn-accuracy-test"]["note"].split()[-1])
    assert one_epoch > 0.9783
    assert items["linma2472.num-cnn-params"]["value"] == 28938
