"""Answers as prose: what a placeholder may hold, what is said when it fails, and the magic in a real kernel."""

import json

import numpy as np
import pytest
import torch

from workbook import answers
from workbook.paths import ROOT
from workbook.tools import chapter, clean
from workbook.tools.kernel import execute

NAMES = {
    "accuracy": 0.98123456789,
    "n": 12_345,
    "name": "VAE",
    "losses": [0.5, 0.25],
    "by": {"a:b": 3.0},
    "tensor": torch.tensor(0.25),
    "array": np.float32(0.5),
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no placeholder, $p(x_{i})$ and {braces}", "no placeholder, $p(x_{i})$ and {braces}"),
        ("{{ accuracy }}", "0.981235"),
        ("{{accuracy:.1%}} of {{ n:, }}", "98.1% of 12,345"),
        ("{{ name }}", "VAE"),
        ("{{ losses[0:1] }}", "[0.5]"),
        ("{{ losses[-1]:.1f }}", "0.2"),
        ("{{ by['a:b']:.1f }}", "3.0"),
        ("{{ {'a': 2}['a'] }}", "2"),
        ("{{ max(x for x in losses) - losses[1]:.2f }}", "0.25"),
        ("{{ sum(x * n for x in losses):.0f }}", "9259"),
        ("{{ 'more' if accuracy > 0.9 else 'less' }}", "more"),
        ("{{ tensor }} {{ tensor:.3f }} {{ array:.2f }}", "0.25 0.250 0.50"),
        ("one\n\n$$\\frac{a}{b_{c}}$$ {{ n }}", "one\n\n$$\\frac{a}{b_{c}}$$ 12345"),
        ("{{ losses\n  [1] }}", "0.25"),
    ],
)
def test_placeholders_are_replaced_by_their_values(text, expected):
    assert answers.fill(text, dict(NAMES)) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "{{ acuracy:.1% }}",
            r"acuracy:\.1% \}\} failed: name 'acuracy' is not defined. Run the cells",
        ),
        ("{{ losses[7] }}", r"\{\{ losses\[7\] \}\} failed with IndexError: list index out of range"),
        ("{{ name:.3f }}", r"\{\{ name:\.3f \}\}: a str cannot be written as '\.3f'"),
        ("{{ losses:.3f }}", "a list cannot be written as"),
        ("{{ float('nan'):.2f }}", "is nan, which is not a finite number"),
        ("{{ tensor / 0 }}", "is inf, which is not a finite number"),
        ("\\mathbf{{\\hat x}}", "is not a Python expression .in an equation, write a space"),
        ("{{ }}", "is not a Python expression"),
        ("a {{ n }} and {{ accuracy } there", r"a placeholder is not closed: \{\{ accuracy \} there"),
    ],
)
def test_a_placeholder_that_fails_is_named_with_the_reason(text, message):
    with pytest.raises(ValueError, match=message):
        answers.fill(text, dict(NAMES))


def test_durations_can_be_left_out_and_nothing_else_is():
    text = "It takes {{ seconds: losses[1]:.1f }} s, {{seconds:\n accuracy:.0%}} of {{ n }}; {{ seconds:.2f }}."
    names = {**NAMES, "seconds": 2.0}
    assert answers.fill(text, names) == "It takes 0.2 s, 98% of 12345; 2.00."
    assert answers.fill(text, names, durations=False) == "It takes … s, … of 12345; 2.00."
    with pytest.raises(ValueError, match="gone"):
        answers.fill("{{ seconds: gone }}", names)


def test_outside_of_a_notebook_there_is_no_magic_and_no_error():
    answers.offer(print)


# --- in a kernel -----------------------------------------------------------------------------------------------------

ANSWER = """%%answer linma2472.q-2.1
It has {{ layers }} convolutions, for $x_{i}$.

The second paragraph: {{ share:.1% }}."""
TIMED = "%%answer linma2472.q-2.1\nTwo layers take {{ seconds: share:.2f }} s."


def notebook(path, *cells):
    """A notebook with the parameters of any, in the form in which notebooks are committed."""
    sources = [('profile = "auto"\nseed = 0', ["parameters"]), *((source, ["record"]) for source in cells)]
    written = [
        {"cell_type": "code", "id": str(i), "metadata": {"tags": tags}, "outputs": [], "execution_count": None,
         "source": source}
        for i, (source, tags) in enumerate(sources)
    ]  # fmt: skip
    path.write_text(clean.dump(clean.clean({"cells": written})), "utf-8")
    return path


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    opened = (
        "from workbook.book import open_book\n\n"
        'book = open_book("13_cnn", profile, seed)\nlayers, share = 2, 0.25\n'
        'book.claim("three is more", 2 > 3, "linma2472.q-2.1")'
    )
    return notebook(tmp_path_factory.mktemp("answers") / "13_answer.ipynb", opened, ANSWER)


def test_an_answer_in_a_kernel_is_shown_and_recorded(source, tmp_path):
    execute(source, tmp_path / "executed.ipynb", {"profile": "full", "seed": 0}, tmp_path)
    text = "It has 2 convolutions, for $x_{i}$.\n\nThe second paragraph: 25.0%."
    results = json.loads((tmp_path / "results.json").read_text("utf-8"))
    assert results["items"]["linma2472.q-2.1"] == {"answer": text}
    cells = json.loads((tmp_path / "executed.ipynb").read_text("utf-8"))["cells"]
    (output,) = cells[-1]["outputs"]
    lines = "".join(output["data"]["text/markdown"]).splitlines()
    assert lines[0].startswith("> **")
    assert lines[2:6] == ["> It has 2 convolutions, for $x_{i}$.", ">", "> The second paragraph: 25.0%.", ">"]
    assert lines[6] == "> ⚠ In this run, a claim that supports this answer does not hold: three is more"
    assert output["metadata"]["answer"] == "linma2472.q-2.1"


def test_an_answer_with_durations_is_shown_with_them_and_printed_without_them(tmp_path):
    opened = 'from workbook.book import open_book\n\nbook = open_book("13_cnn", profile, seed)\nshare = 0.25'
    path = notebook(tmp_path / "timed.ipynb", opened, TIMED)
    execute(path, tmp_path / "executed.ipynb", {"profile": "smoke", "seed": 0}, tmp_path)
    written = {
        name: json.loads((tmp_path / f"{name}.json").read_text("utf-8"))["items"] for name in ("results", "timings")
    }
    assert written["results"] == {"linma2472.q-2.1": {"in": "timings.json"}}
    assert written["timings"]["linma2472.q-2.1"] == {"answer": "Two layers take 0.25 s."}
    (output,) = json.loads((tmp_path / "executed.ipynb").read_text("utf-8"))["cells"][-1]["outputs"]
    assert "> Two layers take 0.25 s." in "".join(output["data"]["text/markdown"])
    page = chapter.write(tmp_path / "executed.ipynb", "13_cnn", "smoke", 0, tmp_path, tmp_path).read_text("utf-8")
    assert "> Two layers take … s.\n>\n> *Where … stands, the notebook shows a duration" in page
    assert "0.25 s" not in page


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "expected %%answer and the id of a question"),
        ("linma2472.q-2.1 --seconds", "no item '--seconds'"),
    ],
)
def test_the_line_of_an_answer_names_a_question_and_perhaps_other_items(line, message, tmp_path):
    import papermill

    opened = 'from workbook.book import open_book\n\nbook = open_book("13_cnn", profile, seed)'
    path = notebook(tmp_path / "line.ipynb", opened, f"%%answer {line}\nTwo.")
    with pytest.raises(papermill.PapermillExecutionError, match=message):
        execute(path, tmp_path / "executed.ipynb", {"profile": "smoke", "seed": 0}, tmp_path)


def test_an_answer_that_fails_stops_the_notebook_and_names_its_placeholder(tmp_path):
    import papermill

    opened = 'from workbook.book import open_book\n\nbook = open_book("13_cnn", profile, seed)'
    path = notebook(tmp_path / "fails.ipynb", opened, ANSWER)
    with pytest.raises(papermill.PapermillExecutionError, match=r"the answer to linma2472\.q-2\.1: \{\{ layers \}\}"):
        execute(path, tmp_path / "executed.ipynb", {"profile": "smoke", "seed": 0}, tmp_path)


def test_a_notebook_with_answers_passes_as_committed(source):
    import subprocess
    import sys

    assert [fault for fault in clean.faults(source) if "check" not in fault] == []
    for command in (["check", "-q"], ["format", "-q", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--config", str(ROOT / "pyproject.toml"), str(source)],
            capture_output=True,
            encoding="utf-8",
        )
        assert done.returncode == 0, done.stdout + done.stderr
