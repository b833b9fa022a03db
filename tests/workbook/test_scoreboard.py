"""The scoreboard: rows from records, pages that a code host can show, and the summary in the README."""

import json
import re

import pytest

from workbook import scoreboard
from workbook.paths import FIGURES, ROOT
from workbook.records import errata, load_results, reports
from workbook.verdicts import Verdict, quotations

ACCURACY = "linma2472.num-cnn-accuracy-test"  # reported: 0.9783


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Results of notebooks in a folder of their own: ``place(notebook, seed=0, items={…}, …)`` writes some."""
    monkeypatch.setattr(scoreboard, "results_dir", lambda profile, seed: tmp_path / profile / f"seed{seed}")
    monkeypatch.setattr(scoreboard, "BUILD", tmp_path / "build")
    monkeypatch.setattr(scoreboard, "FIGURES", tmp_path / "gallery")  # so that no test writes into our README

    def write(notebook="13_cnn", seed=0, profile="full", timings=None, **content):
        folder = tmp_path / profile / f"seed{seed}" / notebook
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "results.json").write_text(json.dumps({"seed": seed, "items": {}, "figures": {}} | content), "utf-8")
        if timings:
            (folder / "timings.json").write_text(json.dumps({"items": {}, "figures": {}} | timings), "utf-8")

    write.folder = tmp_path
    return write


def accuracy(*seeds, **more):
    return {ACCURACY: {"value": sum(seeds) / len(seeds), **({"runs": list(seeds)} if len(seeds) > 1 else {}), **more}}


def row(item=ACCURACY, **kwargs):
    return next(r for r in scoreboard.rows(**kwargs) if r.item["id"] == item)


def body(page):
    """The rows of all tables of a page, as lists of cells."""
    lines = [line for line in page.splitlines() if line.startswith("| ") and not re.fullmatch(r"[|\-: ]+", line)]
    return [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines]


# --- rows ------------------------------------------------------------------------------------------------------------


def test_every_item_has_a_row_and_every_sentence_one_of_its_own(place):
    place(items=accuracy(0.99))
    table = scoreboard.rows()
    assert list(dict.fromkeys(r.item["id"] for r in table)) == [item["id"] for item in reports()["item"]]
    place("01_feedforward", items={"cpsc453.q-2.2.4": {"answer": "Yes."}})
    sentences = [r for r in scoreboard.rows() if r.item["id"] == "cpsc453.q-2.2.4"]
    assert [r.reported for r in sentences] == [f"“{quote}”" for quote in quotations(sentences[0].item)]
    assert {r.verdict.word for r in sentences} == {"untested", "left aside"}


def test_a_table_is_one_result_and_a_sentence_quoted_twice_one_statement(place):
    place(
        "01_feedforward",
        items={f"cpsc453.table-1.{name}": {"value": {"test_accuracy": 0.9}} for name in ("relu", "elu")},
    )
    table = scoreboard.rows()
    named = [r.item["id"] for r in scoreboard.counted(table)]
    assert "cpsc453.table-1" in named
    assert "cpsc453.table-1.relu" not in named
    sentence = scoreboard.Row({"id": "a", "report": "r"}, "", "", Verdict("supported", quote="It falls"), "", None, "")
    again = sentence._replace(item={"id": "b", "report": "r"}, verdict=Verdict("contradicted", quote="it  falls"))
    assert [r.verdict.word for r in scoreboard.counted([sentence, again])] == ["contradicted"]
    counts = scoreboard.coverage(table)
    assert sum(c.total() for c in counts.values()) == len(scoreboard.counted(table)) < len(table)


def test_of_items_that_are_one_result_the_worst_is_counted(place):
    both = {"result": "one", "report": "r"}
    rows = [
        scoreboard.Row({"id": name, **both}, "", "", Verdict(word), "", None, "")
        for name, word in (("a", "reproduced"), ("b", "not reproduced"), ("c", "compatible"))
    ]
    assert [r.verdict.word for r in scoreboard.counted(rows)] == ["not reproduced"]
    table = rows[0]._replace(item={"id": "one", "report": "r"})
    assert scoreboard.counted([*rows, table]) == [table], "but a table speaks for its rows"


def test_ours_stands_with_its_interval_n_and_what_beats_the_report(place):
    place(items=accuracy(0.978, 0.979, 0.980, improved=[0.990, 0.991, 0.992]))
    found = row()
    assert (found.verdict.word, found.verdict.marks) == ("compatible", ("beaten by 0.0127",))
    assert (found.reported, found.ours) == ("0.9783", "0.9790 (0.9740 to 0.9840; n = 3)")


def test_of_a_measured_value_only_what_is_compared_is_shown(place):
    place("02_autoencoder", items={"cpsc453.num-ae-loss": {"value": {"min_test_mse": 0.034, "epoch": 14}}})
    found = row("cpsc453.num-ae-loss")
    assert (found.reported, found.ours) == ("0.0353", "0.034 (n = 1)")


def test_results_of_former_notebooks_are_read_and_their_excuses_ignored(place):
    old = {"value": 0.5, "report_wrong": "it is", "tolerance": 0.6, "compare": "a"}
    claims = {ACCURACY: [{"statement": "it is so", "supported": True, "contradicted": False}]}
    place(items={ACCURACY: old, "linma2472.num-cnn-params": old | {"value": 28939}}, reported_claims=claims)
    assert row().verdict.word == "undecided"
    assert row("linma2472.num-cnn-params").verdict.word == "not reproduced"


def test_profile_smoke_judges_no_training(place):
    place(profile="smoke", items=accuracy(0.1, 0.1) | {"linma2472.num-cnn-params": {"value": 28938}})
    assert row(profile="smoke").verdict.why == "profile smoke trains on few images"
    assert row("linma2472.num-cnn-params", profile="smoke").verdict.word == "compatible"


def test_seeds_of_several_runs_are_merged_and_a_shared_training_counts_once(place):
    place(items=accuracy(0.978, 0.980))
    place(seed=1, items=accuracy(0.980, 0.978))
    assert row(seeds=[0, 1, 2]).ours.startswith("0.9787 (")
    assert row(seeds=[0, 1, 2]).ours.endswith("n = 3)"), "seed 1 is in both, seeds 0 and 2 are equal by chance"
    place(items=accuracy(0.978))
    place(seed=2, items=accuracy(0.980))
    assert row(seeds=[0, 2]).ours.endswith("n = 2)")


def test_errors_of_the_report_are_a_column_of_their_own(place):
    swapped = "linma2472.num-generator-params"
    name = next(error["id"] for error in errata() if swapped in error["items"])
    content = {"items": {swapped: {"value": 377121}}}
    for holds, shown in ((None, name), (True, name), (False, f"{name} (not demonstrated)")):
        place("12_gan_convolutional", errata={name: holds}, **content)
        found = row(swapped)
        assert (found.verdict.word, found.errors) == ("not reproduced", shown)
        assert scoreboard.demonstrated()[name] is holds
    place("12_gan_convolutional", errata={name: {"holds": False, "numbers": [1]}}, **content)
    assert scoreboard.demonstrated()[name] is False
    assert row(ACCURACY).errors == "none known"


def test_a_contradiction_that_is_not_demonstrated_makes_no_setting_inconsistent(place):
    setting = "linma2472.table-hyper-cnn"
    error = next(e for e in errata() if setting in e["items"])
    items = {setting: {"value": {"lr": 0.001}}}
    place(items=items, errata={error["id"]: True})
    assert row(setting).verdict[:2] == ("inconsistent", error["title"])
    place(items=items, errata={error["id"]: False})
    assert row(setting).verdict.word == "used as stated"


def test_tests_of_the_reports_words_reach_their_sentence(place):
    item = next(item for item in reports()["item"] if item["notebook"] == "13_cnn" and quotations(item))
    quote = next(iter(quotations(item)))
    one = {"quote": quote, "what": "parameters", "values": [1.0, 1.1, 1.2], "above": 0}
    place(items={item["id"]: {"answer": "Yes."}}, tested={item["id"]: [one]})
    found = next(r for r in scoreboard.rows() if r.verdict.quote == quote)
    assert (found.verdict.word, found.ours) == ("supported", "parameters: 1.10 (0.85 to 1.35; n = 3)")


def of(word, *marks, name="a", report="cpsc453", **more):
    return scoreboard.Row({"id": name, "report": report}, "", "", Verdict(word, marks=marks, **more), "", None, "")


def test_the_headline_counts_what_an_error_explains_and_what_repeats_a_wrong_estimator():
    table = [
        of("not reproduced", "explained by E03: fits at rate 0.5"),
        of("not reproduced", name="b"),
        of("not reproduced", name="c"),
        of("reproduced", "as programmed: E45", name="d"),
        of("reproduced", name="e"),
        of("reproduced", "read off a plot", name="f"),
        of("reproduced", name="g"),
        of("contradicted", name="h"),
    ]
    text = scoreboard.summary(table)
    assert text.startswith("**4 of the 8 results and statements that we could decide do not hold**")
    assert "3 results are not reproduced (1 of them explained by an error" in text
    assert "**4 hold**: 4 results are reproduced, 1 of them by repeating an estimator that is wrong" in text


# --- pages -----------------------------------------------------------------------------------------------------------


def test_pages_link_to_chapters_and_figures_and_escape_what_they_quote(place):
    figure = {"file": "linma2472.fig-07.png", "alt": 'A "quoted" diagram | of layers'}
    place(
        items=accuracy(0.99) | {"linma2472.q-2.1": {"answer": "Two | convolutions"}},
        figures={"linma2472.fig-07": figure},
    )
    first = scoreboard.write()
    assert first == place.folder / "full/seed0/scoreboard.md"
    page = first.with_name("scoreboard-linma2472.md").read_text("utf-8")
    assert (
        '<img src="13_cnn/linma2472.fig-07.png" width="120" alt="A &quot;quoted&quot; diagram \\| of layers">' in page
    )
    assert "[Figure 7: CNN Architecture](13_cnn/README.md)" in page
    assert "convolutions" not in page, "answers are linked, not quoted"
    assert "| [answer](13_cnn/README.md) |" in page
    assert {len(cells) for cells in body(page)} == {6}


def test_items_stand_in_the_order_of_their_report(place):
    page = (scoreboard.write().parent / "scoreboard-statsm231a.md").read_text("utf-8")
    report = next(report for report in reports()["report"] if report["id"] == "statsm231a")
    titles = [f"## {section['n']} {section['title']}" for section in report["sections"]]
    there = [line for line in page.splitlines() if line.startswith("## ")]
    assert there == [title for title in titles if title in there]
    assert len(there) == len({item["section"] for item in reports()["item"] if item["report"] == "statsm231a"})
    assert page.index("Conclusion: difficulties") > page.index("VAE learning rate")


def test_the_first_page_names_what_did_not_reproduce(place):
    place(items=accuracy(0.9, 0.9) | {"linma2472.num-cnn-params": {"value": 28938}})
    text = scoreboard.write().read_text("utf-8")
    (only,) = (cells for cells in body(text) if "CNN accuracy" in cells[0])
    assert [cell.strip() for cell in only[1:4]] == [
        "0.9783",
        "0.90000 (0.89955 to 0.90045; n = 2)",
        "✘ not reproduced; ours is lower",
    ]
    fails, unsure = text.split("## What we cannot tell")
    assert "Total parameters of the CNN" in unsure
    assert "Total parameters of the CNN" not in fails
    assert "**1 of the 1 results and statements that we could decide do not hold**: 1 results are not" in text
    assert text.index("do not hold") < text.index("**0 hold**")


def test_claims_of_ours_that_failed_are_on_the_first_page(place):
    claims = [
        {"statement": "it is so", "holds": False, "item": None},
        {"statement": "it is not", "holds": None, "item": None},
    ]
    place(claims=claims)
    text = scoreboard.write().read_text("utf-8")
    assert "- 13_cnn: it is so\n" in text
    assert "it is not" not in text


@pytest.mark.parametrize("fails", [0, 1])
def test_what_failed_with_one_seed_is_not_made_up_for_by_another(place, fails):
    for seed in (0, 1):
        claim = {"statement": "it is so", "holds": seed != fails, "item": None}
        place(seed=seed, claims=[claim], errata={"E26": seed != fails})
    place("12_gan_convolutional", seed=0, errata={"E26": fails != 0})
    place("12_gan_convolutional", seed=1, errata={"E26": fails != 1})
    assert "- 13_cnn: it is so\n" in scoreboard.write("full", [0, 1]).read_text("utf-8")
    assert scoreboard.demonstrated("full", [0, 1])["E26"] is False


def test_errata_are_listed_with_source_claim_and_correction(place):
    place("12_gan_convolutional", errata={"E26": False})
    page = (scoreboard.write().parent / "errata.md").read_text("utf-8")
    for error in errata():
        assert f"## {error['id']}\n\n**{error['title']}** ({error['kind']})\n" in page
        assert f"- Corrected: {error['corrected']}\n- Source: {error['source']}\n" in page
        assert all(f": {error[key]}\n" in page for key in ("claim", "arithmetic", "reading") if key in error)
    assert page.count("**did not demonstrate the claim in this run**") == 1


def test_several_seeds_are_written_above_the_folders_of_the_seeds(place):
    place(items=accuracy(0.978), figures={"linma2472.fig-07": {"file": "a.png", "alt": "layers"}})
    place(seed=1, items=accuracy(0.980))
    path = scoreboard.write("full", [0, 1])
    assert path == place.folder / "build/full/scoreboard-seeds.md"
    page = (path.parent / "scoreboard-seeds-linma2472.md").read_text("utf-8")
    assert "n = 2)" in page
    assert "](../../full/seed0/13_cnn/README.md)" in page
    assert 'src="../../full/seed0/13_cnn/a.png"' in page
    assert not (place.folder / "full/seed0/scoreboard.md").exists()


def test_stale_trainings_are_those_of_the_profile_and_seed_that_is_shown(place):
    stale = {"stale": {"cnn-1.safetensors": "lib.models.cnn.CNN changed"}}
    place(profile="smoke", seed=3, timings=stale)
    place()
    assert "Out of date" not in scoreboard.write().read_text("utf-8")
    text = scoreboard.write("smoke", [3]).read_text("utf-8")
    assert "**Out of date:** 1 released" in text
    assert "- `cnn-1.safetensors`: lib.models.cnn.CNN changed" in text


# --- README and the committed pages ----------------------------------------------------------------------------------


def test_only_what_stands_under_the_heading_of_the_readme_is_written_again(place):
    table = scoreboard.rows()
    text = f"# A title\n\n{scoreboard.HEADING}\n\nformer\n\n| a |\n\n## Two commands\n\nmore\n"
    once = scoreboard.readme(text, table)
    assert once.startswith(f"# A title\n\n{scoreboard.HEADING}\n\n**")
    assert once.endswith("\n\n## Two commands\n\nmore\n")
    assert "former" not in once
    assert scoreboard.readme(once, table) == once
    with pytest.raises(ValueError, match=r"README\.md has no line '## How much reproduces'"):
        scoreboard.readme("# A title\n", table)


def test_the_gallery_alone_changes_the_readme(place, monkeypatch):
    readme = place.folder / "full/README.md"
    readme.parent.mkdir()
    readme.write_text(f"{scoreboard.HEADING}\n\nformer\n", "utf-8")
    scoreboard.write()
    assert "former" in readme.read_text("utf-8")
    monkeypatch.setattr(scoreboard, "FIGURES", place.folder / "full/seed0")
    scoreboard.write()
    assert "former" not in readme.read_text("utf-8")


def test_the_readme_carries_the_summary_of_the_committed_results():
    text = (ROOT / "README.md").read_text("utf-8")
    assert scoreboard.readme(text, scoreboard.rows()) == text, "run `make figures`"


def test_the_committed_pages_are_those_of_the_committed_results():
    table = scoreboard.rows()
    assert (FIGURES / "scoreboard.md").read_text("utf-8") == scoreboard.markdown(table)
    assert (FIGURES / "errata.md").read_text("utf-8") == scoreboard.errata_page()
    for report in reports()["report"]:
        assert (FIGURES / f"scoreboard-{report['id']}.md").read_text("utf-8") == scoreboard.report_page(table, report)


def test_no_committed_page_is_wider_than_a_code_host_shows():
    for path in FIGURES.glob("scoreboard*.md"):
        for cells in body(path.read_text("utf-8")):
            assert len(cells) <= 7, path.name
            for text in cells:
                shown = re.sub(r"<img [^>]*>|\]\([^)]*\)", "", text).strip()
                assert len(shown) <= 170, f"{path.name}: {shown}"


def test_links_of_the_committed_pages_lead_somewhere():
    for path in [*FIGURES.glob("scoreboard*.md"), FIGURES / "errata.md"]:
        for target in set(re.findall(r"\]\(([^)]+)\)|src=\"([^\"]+)\"", path.read_text("utf-8"))):
            assert (FIGURES / next(filter(None, target))).exists(), f"{path.name}: {target}"


def test_no_chapter_of_the_gallery_records_another_shape_than_it_is_judged_by():
    lost = [r.item["id"] for r in scoreboard.rows() if r.verdict.word == "not yet"]
    assert lost == []


def test_every_erratum_tested_in_the_gallery_is_demonstrated():
    failed = [name for name, holds in scoreboard.demonstrated().items() if holds is False]
    assert failed == []


def test_committed_results_name_no_item_that_does_not_exist():
    known = {item["id"] for item in reports()["item"]}
    for folder in FIGURES.iterdir():
        content = load_results(folder) if folder.is_dir() else None
        assert set(content["items"] if content else ()) <= known, folder.name
