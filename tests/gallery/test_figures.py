"""The committed figures can be read on a page of a code host, and say under themselves what to see."""

import json
import warnings

import pytest

from workbook.paths import FIGURES, NOTEBOOKS
from workbook.tools.chapter import hard_to_read

CHAPTERS = sorted(path.stem for path in NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))
PATTERN = [chapter for chapter in CHAPTERS if chapter < "10" or chapter.startswith("11")]  # the others are only counted


def measured(chapter):
    """Whether the figures of a chapter were drawn since figures are measured."""
    figures = json.loads((FIGURES / chapter / "results.json").read_text("utf-8"))["figures"].values()
    return any("findings" in figure for figure in figures)


@pytest.mark.parametrize("chapter", PATTERN)
def test_figures_of_a_chapter_that_follows_the_pattern_can_be_read_and_have_captions(chapter):
    if not measured(chapter):
        pytest.skip(f"drawn before figures were measured: make figures NOTEBOOK={chapter}")
    assert hard_to_read(FIGURES / chapter) == []


def test_those_of_other_chapters_are_counted():
    counts = {chapter: len(hard_to_read(FIGURES / chapter)) for chapter in CHAPTERS if chapter not in PATTERN}
    listed = ", ".join(f"{chapter} {count}" for chapter, count in counts.items() if count)
    warnings.warn(f"figures to mend (python -m workbook.tools.chapter lists them): {listed}", stacklevel=1)
