"""The chapters that follow the pattern of the present edition, and those of the former one."""

from workbook.paths import NOTEBOOKS

CHAPTERS = sorted(path.stem for path in NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))
FORMER = {
    "21_scoreboard",
}
PATTERN = [chapter for chapter in CHAPTERS if chapter not in FORMER]
FINISHED = [chapter for chapter in PATTERN if chapter != "00_start_here"]  # which has no items
