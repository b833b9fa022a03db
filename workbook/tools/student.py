"""The student edition: ``make student`` writes ``build/student``, the notebooks with stubs in place of the solutions.

A stub has the name and the arguments that the exercise asks for, its hint, and the call of its check. Nothing else
changes, and nothing later reads ids, tags or outputs, so a student may edit, move and delete cells.
"""

import inspect
import json
import re
import shutil
import textwrap

from workbook.exercises import EXERCISES
from workbook.paths import BUILD, NOTEBOOKS, shown

STUDENT = BUILD / "student"
HINT = re.compile(r"^\*\*Exercise (\d\d\.\d+)\*\*.*?\*\*Hint\*\*\s*(.*?)\s*\*\*Expected\*\*", re.MULTILINE | re.DOTALL)
SOLUTION = re.compile(r"# solution (\d\d\.\d+)\n")


def stub(number: str, hint: str) -> str:
    """The cell that a student fills in."""
    exercise = EXERCISES[number]
    parameters = inspect.signature(exercise.right).parameters.values()
    arguments = ", ".join(str(each.replace(annotation=each.empty)) for each in parameters)
    lines = textwrap.wrap(f"Hint: {' '.join(hint.split())}", 110) if hint else []
    lines = [f"# exercise {number}", *(f"# {line}" for line in lines), f"def {exercise.name}({arguments}):"]
    empty = "    raise NotImplementedError  # your answer goes here"
    return "\n".join([*lines, empty, "", "", f'exercises.check("{number}", {exercise.name})'])


def edition(notebook: dict) -> dict:
    """The notebook with a stub for each solution. Links lead to the same files from ``build/student``."""
    text = "\n\n".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "markdown")
    hints, cells = dict(HINT.findall(text)), []
    for cell in notebook["cells"]:
        source = "".join(cell["source"]).replace("](../", "](../../")
        if found := SOLUTION.match(source):
            source, cell = stub(found[1], hints.get(found[1], "")), cell | {"metadata": {}, "outputs": []}
        cells.append(cell | {"source": source.splitlines(keepends=True)})
    return notebook | {"cells": cells}


def main() -> None:
    """Command line."""
    shutil.rmtree(STUDENT, ignore_errors=True)
    STUDENT.mkdir(parents=True)
    notebooks = sorted(NOTEBOOKS.glob("*.ipynb"))
    for path in notebooks:
        made = edition(json.loads(path.read_text("utf-8")))
        (STUDENT / path.name).write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n", "utf-8")
    print(f"{len(notebooks)} notebooks with {len(EXERCISES)} exercises to solve: {shown(STUDENT)}")


if __name__ == "__main__":
    main()
