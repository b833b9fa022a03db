"""The committed figures can be read on a page of a code host, and say under themselves what to see."""

import json
import warnings

import pytest

from tests.gallery.pattern import FORMER, PATTERN
from workbook.paths import FIGURES
from workbook.tools.chapter import hard_to_read


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
    counts = {chapter: len(hard_to_read(FIGURES / chapter)) for chapter in sorted(FORMER)}
    listed = ", ".join(f"{chapter} {count}" for chapter, count in counts.items() if count)
    warnings.warn(f"figures to mend (python -m workbook.tools.chapter lists them): {listed}", stacklevel=1)
