"""A profile decides how large an experiment is."""

import pytest

from workbook import profiles


def test_auto_is_full_unless_the_environment_says_otherwise(monkeypatch):
    monkeypatch.delenv("WORKBOOK_PROFILE", raising=False)
    assert profiles.resolve("auto") == "full"
    monkeypatch.setenv("WORKBOOK_PROFILE", "smoke")
    assert profiles.resolve("auto") == "smoke"
    assert profiles.resolve("full") == "full"


@pytest.mark.parametrize("unknown", ["standard", "Full", "", "auto "])
def test_an_unknown_profile_is_named_with_those_that_there_are(unknown, monkeypatch):
    with pytest.raises(ValueError, match=f"unknown profile '{unknown}'; choose one of smoke, full"):
        profiles.resolve(unknown)
    monkeypatch.setenv("WORKBOOK_PROFILE", unknown)
    with pytest.raises(ValueError, match="unknown profile"):
        profiles.resolve("auto")


def test_settings_are_those_of_the_profile_and_a_table_shows_both(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda table: shown.append(table.data))
    size = profiles.choose("smoke", epochs={"smoke": 1, "full": 20}, seeds={"full": [0, 1], "smoke": [0]})
    assert vars(size) == {"epochs": 1, "seeds": [0]}
    assert profiles.choose("full", epochs={"smoke": 1, "full": 20}).epochs == 20
    assert shown[0] == (
        "| setting | **smoke (this run)** | full |\n|---|---:|---:|\n| epochs | 1 | 20 |\n| seeds | [0] | [0, 1] |"
    )
    assert "| setting | smoke | **full (this run)** |" in shown[1]


@pytest.mark.parametrize("values", [{"smoke": 1}, {"smoke": 1, "full": 2, "standard": 3}, {}])
def test_a_setting_needs_a_value_for_each_profile_and_no_other(values):
    with pytest.raises(ValueError, match="setting 'epochs' needs a value for each of smoke, full; has"):
        profiles.choose("full", epochs=values)


def test_every_profile_has_a_number_of_images():
    assert set(profiles.IMAGES) == set(profiles.PROFILES)
    assert profiles.IMAGES["full"] == (60_000, 10_000)
