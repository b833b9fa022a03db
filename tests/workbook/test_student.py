"""The student edition: no solution is left, and all else stays. test_exercises.py runs the stubs."""

import json
import re

from workbook.exercises import EXERCISES
from workbook.paths import NOTEBOOKS
from workbook.tools import student

ORIGINALS = {path: json.loads(path.read_text("utf-8")) for path in sorted(NOTEBOOKS.glob("*.ipynb"))}
EDITION = {path: student.edition(notebook) for path, notebook in ORIGINALS.items()}


def texts(notebook):
    return ["".join(cell["source"]) for cell in notebook["cells"]]


def prose(notebook):
    return texts({"cells": [cell for cell in notebook["cells"] if cell["cell_type"] == "markdown"]})


def test_nothing_of_a_solution_is_left_and_all_else_stays():
    stubs = []
    for path, notebook in EDITION.items():
        assert not any("solution" in cell["metadata"].get("tags", ()) for cell in notebook["cells"]), path.name
        for made, original in zip(texts(notebook), texts(ORIGINALS[path]), strict=True):
            if found := re.match(r"# exercise (\S+)\n# Hint: ", made):
                stubs.append(found[1])
            else:
                assert made == original.replace("](../", "](../../"), path.name
    assert stubs == list(EXERCISES)


def test_links_lead_from_the_edition_to_the_files_of_the_checkout():
    for path, notebook in EDITION.items():
        for target in re.findall(r"\]\((\.\./[^)#\s]+)", "\n".join(prose(notebook))):
            assert (student.STUDENT / target).resolve().exists(), f"{path.name}: {target}"


def test_the_command_writes_every_notebook(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(student, "STUDENT", tmp_path / "student")
    monkeypatch.setattr(student, "shown", str)
    student.main()
    assert {path.name for path in (tmp_path / "student").iterdir()} == {path.name for path in ORIGINALS}
    edited = tmp_path / "student" / min(path.name for path in ORIGINALS)
    edited.write_text("my answers", "utf-8")
    (tmp_path / "student" / max(path.name for path in ORIGINALS)).unlink()
    student.main()
    assert f"1 of {len(ORIGINALS)} notebooks written, the others were there: " in capsys.readouterr().out
    assert edited.read_text("utf-8") == "my answers"
