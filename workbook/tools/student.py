"""The student edition: ``make student`` writes ``build/student``, the notebooks with stubs in place of the solutions.

A stub has the name and the arguments that the exercise asks for, its hint, and the call of its check. Nothing else
changes, and nothing later reads ids, tags or outputs, so a student may edit, move and delete cells. A notebook that is
there already is left as it is.
"""

import inspect
import json
import re
import textwrap

from lib.atomic import write_atomic
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
    STUDENT.mkdir(parents=True, exist_ok=True)
    notebooks = sorted(NOTEBOOKS.glob("*.ipynb"))
    new = [path for path in notebooks if not (STUDENT / path.name).exists()]
    for path in new:
        made = edition(json.loads(path.read_text("utf-8")))
        write_atomic(STUDENT / path.name, json.dumps(made, indent=1, ensure_ascii=False) + "\n")
    print(f"{len(new)} of {len(notebooks)} notebooks written, the others were there: {shown(STUDENT)}")


if __name__ == "__main__":
    main()
