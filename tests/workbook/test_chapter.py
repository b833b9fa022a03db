"""The chapter as it ran: an executed notebook of each kind of cell, and all those that are committed."""

import inspect
import json
import re
import sys
from pathlib import Path

import mistune
import pytest
from matplotlib.figure import Figure

from lib import atomic
from workbook import book, paths, show
from workbook.paths import FIGURES, NOTEBOOKS
from workbook.records import load_results
from workbook.tools import chapter
from workbook.tools.clean import MACHINE_PATH

PARSE = mistune.create_markdown(renderer=None, plugins=["table"])  # as a code host: formulas are code, or nothing
ALLOWED = {"br", "details", "summary", "img"}


def tokens(nodes):
    """All tokens of a Markdown text, at any depth."""
    for node in nodes:
        yield node
        yield from tokens(node.get("children", []))


def faults(text, folder):
    """What a code host would show wrongly of a chapter that lies in ``folder``."""
    found = []
    for token in tokens(PARSE(text)):
        kind, raw = token["type"], token.get("raw", "")
        if kind in ("block_html", "inline_html"):
            found += [f"HTML: {tag}" for tag in re.findall(r"</?([A-Za-z]\w*)", raw) if tag not in ALLOWED]
            for image in re.findall(r"<img[^>]*>", raw):
                if not re.search(r'alt="[^"]+"', image):
                    found.append(f"no alt text: {image}")
        if kind in ("image", "link"):
            url = token["attrs"]["url"]
            if not re.match(r"https?:|mailto:|#", url) and not (folder / url.partition("#")[0]).exists():
                found.append(f"{kind} to nothing: {url}")
            if kind == "image" and not "".join(child.get("raw", "") for child in tokens(token["children"])).strip():
                found.append(f"no alt text: {url}")
    literal = r"^([> ]*)(```+)[^\n]*\n.*?^\1\2$|\$?`[^`\n]+`\$?|\\\$"
    outside = re.sub(literal, "", text, flags=re.MULTILINE | re.DOTALL)
    if equation := re.search(r"\\\(|^\\\[|\\begin\{|\\[dt]?frac|\$", outside, flags=re.MULTILINE):
        found.append(f"an equation that Markdown would change: {outside[equation.start() :][:60]}")
    if text.count("<details>") != text.count("</details>"):
        found.append("a fold is not closed")
    if re.search(r"</summary>\n(?!\n)|\S\n</details>", text):
        found.append("folded text needs a blank line before and after it")
    if match := MACHINE_PATH.search(text) or re.search(r"\x1b|\d+%\|", text):
        found.append(f"of this machine or this run: {text[match.start() : match.start() + 30]!r}")
    return found


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a <b>bold</b> word", "HTML: b"),
        ("<details>\n<summary>Code</summary>\ntext\n\n</details>", "a blank line before and after"),
        ("<details>\n<summary>Code</summary>\n\ntext", "a fold is not closed"),
        ("![](there.png)", "no alt text: there.png"),
        ('<img src="there.png">', "no alt text: <img"),
        ("![a line](nowhere.png)", "image to nothing: nowhere.png"),
        ("[a page](../nowhere.md#part)", "link to nothing"),
        ("so \\(x\\) is", "an equation that Markdown would change"),
        ("\\begin{align}x\\end{align}", "an equation that Markdown would change"),
        ("so $x$ is", "an equation that Markdown would change"),
        ("> $$\n> x\n> $$", "an equation that Markdown would change"),
        ("```text\n/home/me/x\n```", "of this machine"),
        ("```text\n 40%|####    | 4/10\n```", "or this run"),
    ],
)
def test_faults_are_seen(text, fault, tmp_path):
    (tmp_path / "there.png").touch()
    assert any(fault in found for found in faults(text, tmp_path)), faults(text, tmp_path)


def test_what_a_code_host_shows_is_no_fault(tmp_path):
    (tmp_path / "there.png").touch()
    text = "```math\n\\frac{a<b>c}{d}\n```\n\nwith $`\\frac{1}{2}`$ and `<b>`\n\n> **Q**\n>\n> $`x`$\n\n"
    text += "![a line](there.png)\n\n```text\n<b> \\(x\\)\n```\n\n"
    text += "| a |\n|---|\n| $`x`$ |\n\n<details>\n<summary>Code</summary>\n\nx\n\n</details>\n"
    assert faults(text, tmp_path) == []


# --- a notebook of every kind of cell --------------------------------------------------------------------------------


def markdown(source):
    return {"cell_type": "markdown", "metadata": {}, "source": source.splitlines(keepends=True)}


def code(source, *outputs, tags=(), **metadata):
    metadata = {"tags": list(tags), **metadata}
    return {"cell_type": "code", "metadata": metadata, "source": source.splitlines(keepends=True), "outputs": outputs}


def printed(text, name="stdout"):
    return {"output_type": "stream", "name": name, "text": text.splitlines(keepends=True)}


def shown(metadata=None, **data):
    data = {kind.replace("_", "/"): content for kind, content in data.items()}
    return {"output_type": "display_data", "data": data, "metadata": metadata or {}}


def image(file):
    return shown({"image/png": {"file": file, "alt": "A line that rises [to $1]."}}, image_png="…", text_plain="")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A results folder in a checkout with two notebooks."""
    for name in ("notebooks/05_gan.ipynb", "notebooks/13_cnn.ipynb", "figures/13_cnn/README.md", "README.md",
                 "figures/scoreboard.md", "figures/05_gan/extra-line.png"):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for name, path in (("ROOT", ""), ("NOTEBOOKS", "notebooks"), ("FIGURES", "figures"), ("BUILD", "build")):
        monkeypatch.setattr(paths, name, tmp_path / path)
    return tmp_path / "figures/05_gan"


def rendered(place, *cells):
    """The chapter below its title and the line that says which run it is."""
    executed = place.parent / "executed.ipynb"
    executed.write_text(json.dumps({"cells": [markdown("# 05 · GAN"), *cells]}), "utf-8")
    text = chapter.write(executed, "05_gan", "full", 0, place, place).read_text("utf-8")
    assert faults(text, place) == []
    return text.split("*\n\n", 1)[1] if "*\n\n" in text else ""


FOLD = "<details>\n<summary>{}</summary>\n\n```{}\n{}\n```\n\n</details>\n"


def test_a_chapter_begins_with_its_title_and_says_which_run_it_is(place):
    executed = place / "executed.ipynb"
    executed.write_text(
        json.dumps({"cells": [markdown("# 05 · GAN\n\nTwo networks play."), markdown("## A game")]}), "utf-8"
    )
    out = place.parent / "scratch"
    out.mkdir()
    assert chapter.write(executed, "05_gan", "full", 3, out, place) == out / "README.md"
    assert (out / "README.md").read_text("utf-8") == (
        "# 05 · GAN\n\n"
        "*The chapter as it ran in profile full, seed 3. To run or change it: "
        "[notebook](../../notebooks/05_gan.ipynb) · [scoreboard](../scoreboard.md)*\n\n"
        "Two networks play.\n\n## A game\n"
    )
    assert faults((out / "README.md").read_text("utf-8"), place) == []


def test_prose_stays_as_it_is_and_formulas_become_code(place):
    prose = "Let $p_{a<b>c}(x) = \\frac{1}{2}$ and `<b>`:\n\n$$\n\\min_G \\quad [x](y)\n$$\n\n- one $x$\n- \\$2"
    assert rendered(place, markdown(prose)) == (
        "Let $`p_{a<b>c}(x) = \\frac{1}{2}`$ and `<b>`:\n\n```math\n\\min_G \\quad [x](y)\n```\n\n- one $`x`$\n- \\$2\n"
    )


def test_cells_of_tables_keep_their_line_breaks(place):
    table = "| the report | ours |\n|---|---|\n| 0.1 | a: 1<br>b: 2 |"
    assert rendered(place, markdown(table)) == table + "\n"


# --- formulas --------------------------------------------------------------------------------------------------------


def formulas(text):
    """The formulas of a page that a code host hands to its mathematics, in their order."""
    found, before = [], ""
    for token in tokens(PARSE(text)):
        if token["type"] == "block_code" and token["attrs"]["info"] == "math":
            found.append(token["raw"].split())
        if token["type"] == "codespan" and before.endswith("$"):
            found.append(token["raw"].split())
        before = token.get("raw", "")
    return found


def written_formulas(markdown):
    """The formulas of a notebook, which JupyterLab sets aside before it reads the Markdown around them."""
    quoted = re.sub(r"^> ?", "", markdown, flags=re.MULTILINE)
    without_code = re.sub(r"^(```+).*?^\1$|`[^`\n]+`|\\\$", "", quoted, flags=re.MULTILINE | re.DOTALL)
    return [(a or b).split() for a, b in re.findall(r"\$\$(.+?)\$\$|\$([^$]+)\$", without_code, re.DOTALL)]


HARD = [
    "a \\\\ b",
    "\\{x\\} \\, \\; \\! \\%",
    "x_{1}*y*z",
    "a <b> c",
    "\\mathbf{f}[x](y)",
    "a = \\begin{cases} 1 & x \\\\ 2 & y \\end{cases}",
]


@pytest.mark.parametrize("formula", HARD)
@pytest.mark.parametrize(
    "around",
    [
        "so ${}$ is",
        "$$\n{}\n$$",
        "> **Why?**\n>\n> For ${}$:\n>\n> $$\n> {}\n> $$",
        "- one\n\n  $${}$$",
        "| a |\n|---|\n| ${}$ |",
        "a word, $${}$$ in a line",
    ],
)
def test_a_code_host_gets_the_formula_of_the_notebook(formula, around, place):
    text = around.replace("{}", formula)
    assert formulas(rendered(place, markdown(text))) == [formula.split()] * around.count("{}")


def test_markdown_would_change_these_formulas_if_they_were_no_code():
    for formula in HARD:
        (paragraph,) = PARSE(formula)
        assert [token.get("raw") for token in paragraph["children"]] != [formula]


@pytest.mark.parametrize("notebook", sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb")))
def test_every_formula_of_a_notebook_reaches_its_page_unchanged(notebook):
    folder = FIGURES / notebook
    for cell in json.loads((NOTEBOOKS / f"{notebook}.ipynb").read_text("utf-8"))["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown" or text.startswith("%%answer"):
            assert formulas(chapter._prose(text, folder)) == written_formulas(text)


# --- code and what it shows ------------------------------------------------------------------------------------------


def test_lesson_code_is_open_that_of_figures_under_them_and_records_and_answers_are_only_in_the_notebook(place):
    long = "\n".join(["x = 1"] * 26)
    quote = shown({"answer": "q", "seconds": False}, text_markdown="> **Why?**\n>\n> For $x$ < 3.", text_plain="…")
    cells = {
        "```python\nx = 1\n```\n": code("x = 1"),
        f"```python\n{long}\n```\n": code(long, tags=["lesson"]),
        FOLD.format("Code", "python", long): code(long),
        FOLD.format("Code", "python", "y = 2"): code("y = 2", jupyter={"source_hidden": True}),
        "![A line that rises \\[to \\$1\\].](extra-line.png)\n\n*It rises, with $`x`$.*\n\n"
        + FOLD.format("Code of the figure", "python", "z = 3"): code(
            "z = 3", image("extra-line.png"), shown(text_markdown="*It rises, with $x$.*"), tags=["figure"]
        ),
        FOLD.format(
            "Code of the figure", "python", "fig = 1\n\nfor i in 2, 3:\n    book.record(i, 1)\n    j = i"
        ): code(
            "fig = 1\nbook.record(\n    'a',\n    runs=[1],\n)\n\nfor i in 2, 3:\n    book.record(i, 1)\n    j = i\n"
            "for i in 2, 3:\n    if i:\n        book.claim('a', i)\n    else:\n        book.tested('b', i)\n",
            tags=["figure"],
        ),
        "| verdict |\n|---|\n| holds |\n": code(
            "r = 1", shown(text_markdown="| verdict |\n|---|\n| holds |"), tags=["record"]
        ),
        FOLD.format("Code", "python", 'book.record("a", 1)'): code('book.record("a", 1)'),
        "> **Why?**\n>\n> For $`x`$ < 3.\n": code("%%answer q\nFor {{ x }}.", quote),
        FOLD.format("Solution 05.1", "python", "# solution 05.1\nx = 1\n```\n\n```text\nRight."): code(
            "# solution 05.1\nx = 1", printed("Right.\n"), tags=["solution"]
        ),
    }
    for expected, cell in cells.items():
        assert rendered(place, cell) == expected
    drawn = "if a:\n    book.claim('a', 1)\nelse:\n    ax.plot(a)"
    assert chapter._drawing(drawn) == drawn, "what also draws stays whole"
    spaced = "a = 1\n\n\nbook.record('a', a)\n\n\ndef b():\n    return a\n"
    assert chapter._drawing(spaced) == "a = 1\n\n\ndef b():\n    return a", "two lines before a function, as lint asks"
    together = rendered(place, *cells.values())
    assert together == "\n".join(cells)


def test_parameters_errors_of_streams_widgets_and_empty_cells_are_left_out(place):
    left_out = [
        code("profile = 'auto'", tags=["parameters"]),
        code("profile = 'full'", tags=["injected-parameters"]),
        code(""),
        code("book.record('a', 1)", tags=["record"]),
        markdown(" "),
    ]
    assert rendered(place, *left_out) == ""
    slider = shown(**{"application/vnd.jupyter.widget-view+json": {"model_id": "8f"}, "text_plain": "VBox(…)"})
    cell = code("explore()", printed("a warning\n", "stderr"), slider)
    assert rendered(place, cell) == "```python\nexplore()\n```\n\n*JupyterLab shows interactive controls here.*\n"


def test_what_is_printed_is_shown_as_it_stands_in_the_end(place):
    text = "\x1b[31mred\x1b[0m  \n\n 40%|####    | 4/10 [00:01<00:02]\nepoch 1\repoch 2\r\n```\nlast\n"
    assert (
        rendered(place, code("x", printed(text))).split("\n\n", 1)[1] == "````text\nred\n\nepoch 2\n```\nlast\n````\n"
    )


def test_library_code_is_a_quotation_headed_by_its_file_and_the_call_that_shows_it_is_left_out(place, monkeypatch):
    outputs = []
    monkeypatch.setattr(show, "display", lambda content, metadata: outputs.append((content.data, metadata)))
    monkeypatch.setattr(paths, "NOTEBOOKS", NOTEBOOKS)
    monkeypatch.setattr(paths, "ROOT", NOTEBOOKS.parent)
    show.source(atomic.write_atomic, show.table, book.Book)
    short, other, long = [code("show.source(f)", shown(about, text_markdown=text)) for text, about in outputs]
    place = FIGURES / "05_gan"
    text = chapter._cell(short, place)[0]
    head, _, first, *code_lines, last = text.split("\n")
    assert head == "> Code of the library, from [`lib/atomic.py`](../../lib/atomic.py):"
    assert (first, last) == ("> ```python", "> ```")
    source = "".join(line.removeprefix("> ").removeprefix(">") + "\n" for line in code_lines)
    assert source == inspect.getsource(atomic.write_atomic)
    assert faults(text, place) == []
    assert chapter._cell(other, place)[0].startswith("> Code of the library, from [`workbook/show.py`]")
    folded = chapter._cell(long, place)[0]
    assert folded.startswith("<details>\n<summary>workbook/book.py</summary>\n\n> Code of the library, from ")
    assert faults(folded, place) == []


def test_a_figure_reaches_the_page_with_its_alt_text_and_its_caption(place, monkeypatch):
    monkeypatch.setenv("WORKBOOK_OUT", str(place))
    outputs = []

    def display(content, raw=False, metadata=None):
        data = content if raw else {"text/markdown": content.data}
        outputs.append({"output_type": "display_data", "data": data, "metadata": metadata or {}})

    monkeypatch.setattr("IPython.display.display", display)
    figure = {"alt": "A line that rises from 0 to 1.", "caption": "It rises."}
    book.Book("13_cnn", "full", 0).figure(Figure(), "extra-line", **figure)
    text = rendered(place, code("draw()", *outputs, tags=["figure"]))
    assert text.startswith("![A line that rises from 0 to 1.](extra-line.png)\n\n*It rises.*\n\n<details>")


def test_tables_stay(place):
    table = "| a | b |\n|---|---|\n| 1 | $x$ |"
    expected = table.replace("$x$", "$`x`$")
    assert rendered(place, code("t", shown(text_markdown=table))) == f"```python\nt\n```\n\n{expected}\n"
    value = {"output_type": "execute_result", "data": {"text/plain": "3"}, "metadata": {}}
    assert rendered(place, code("1 + 2", value)) == "```python\n1 + 2\n```\n\n```text\n3\n```\n"


def test_other_html_of_outputs_goes_and_its_text_stays(place):
    html = '<a href="x"><img src="extra-line.png" alt="A line"></a> <b>of</b> <https://a.org> 1 < 2 <!-- no -->$a<b>c$'
    output = shown(text_markdown=html)
    text = rendered(place, code("x", output)).split("\n\n", 1)[1]
    assert text == '<img src="extra-line.png" alt="A line"> of <https://a.org> 1 < 2 $`a<b>c`$\n'


def test_links_hold_in_the_results_folder(place):
    links = {
        "13_cnn.ipynb#training": "../13_cnn/README.md",
        "13_cnn.ipynb": "../13_cnn/README.md",
        "../figures/scoreboard.md#linma2472": "../scoreboard.md#linma2472",
        "../README.md": "../../README.md",
        "scoreboard.md": "../scoreboard.md",
        "extra-line.png": "extra-line.png",
        "https://arxiv.org/abs/1406.2661": "https://arxiv.org/abs/1406.2661",
        "#a-game": "#a-game",
    }
    for link, expected in links.items():
        assert rendered(place, markdown(f"see [`there`]({link}).")) == f"see [`there`]({expected}).\n"
    away = place.parents[1] / "build/smoke/seed0/figures/05_gan"
    assert chapter._link("../README.md", away) == "../../../../../README.md"


def test_nothing_tells_one_run_from_the_next(place):
    answer = {"answer": "q", "page": "> **How long?**\n>\n> … s."}
    quote = shown(answer, text_markdown="> **How long?**\n>\n> 3.25 s.")
    text = rendered(place, code("%%answer q", quote), code("x", printed(f"wrote {paths.ROOT}/data/x\n")))
    assert "3.25" not in text
    assert "> **How long?**\n>\n> … s.\n" in text
    assert "wrote data/x" in text


def test_what_was_printed_piece_by_piece_is_one_block(place):
    text = rendered(place, code("x", printed("a\n"), printed("no\n", "stderr"), printed("b\n"), printed("c\n")))
    assert text == "```python\nx\n```\n\n```text\na\n```\n\n```text\nb\nc\n```\n"


def test_a_picture_that_is_saved_nowhere_is_said_to_be_missing(place):
    text = rendered(place, code("plt.show()", shown(image_png="…", text_plain="<Figure>")))
    assert "*The notebook shows a picture here; only pictures from `book.figure` are saved.*" in text


def test_chapters_are_written_again_from_the_executed_copies(place, monkeypatch, capsys):
    executed = paths.executed_notebook("05_gan", "smoke", 1)
    results = paths.results_dir("smoke", 1) / "05_gan"
    results.mkdir(parents=True)
    executed.write_text(json.dumps({"cells": [markdown("# 05 · GAN")]}), "utf-8")
    executed.with_name("05_gan.failed.ipynb").write_text("", "utf-8")
    monkeypatch.setattr(sys, "argv", ["chapter", "--profile", "smoke", "--seed", "1"])
    assert chapter.main() == 0
    assert capsys.readouterr().out == "build/smoke/seed1/figures/05_gan/README.md\n"
    assert "[notebook](../../../../../notebooks/05_gan.ipynb)" in (results / "README.md").read_text("utf-8")


# --- the chapters that are committed ---------------------------------------------------------------------------------


@pytest.mark.parametrize("notebook", sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb")))
def test_committed_chapters_are_shown_rightly_and_have_all_their_figures(notebook):
    folder = FIGURES / notebook
    path = folder / "README.md"
    assert path.exists(), f"make figures NOTEBOOK={notebook}"
    text = path.read_text("utf-8")
    assert faults(text, folder) == []
    linked = set(re.findall(r"!\[.*\]\(([^)]+\.png)\)", text))
    for figure in load_results(folder)["figures"].values():
        assert f"![{chapter._alt(figure['alt'])}]({figure['file']})" in text, "with its alt text"
    assert {file.name for file in folder.glob("*.png")} <= {Path(link).name for link in linked}


LONGEST = 4000  # words of a chapter
NO_PROSE = re.compile(  # fenced blocks; rows of tables; code and formulas in a line; where a link leads; figures
    r"(?s:^([> ]*)(```+)[^\n]*\n.*?^\1\2$)|^[> ]*\|.*$|\$?`[^`\n]+`\$?|(?<=\])\([^)\s]+\)|^!\[.*$", re.MULTILINE
)


def words(text):
    """The words that a page shows as prose: outside folds, code, formulas and tables, and not numbers."""
    while "<details>" in text:
        text = re.sub(r"<details>(?:(?!<details>).)*?</details>", "", text, flags=re.DOTALL)
    return re.findall(r"[^\W\d_][\w'’-]*", NO_PROSE.sub("", text))


def test_words_are_counted_where_a_reader_sees_prose():
    hidden = [
        "![A line.](x.png)",
        "```python\nx = y\n```",
        "> ```math\n> x y\n> ```",
        "| a | b |\n|---|---|\n\n> | c |",
        "<details>\n<summary>Why</summary>\n\nBecause.\n\n<details>\n\nSo.\n\n</details>\n\n</details>",
    ]
    shown = ["# 05 · A game", "It's [here](there.md), **twice**, at $`p(x)`$ = 0.5 %.", "> An answer", "*seen*"]
    text = "\n\n".join([*hidden, *shown, *hidden, "- last"])
    assert " ".join(words(text)) == "A game It's here twice at An answer seen last"


@pytest.mark.parametrize("notebook", sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb")))
def test_no_chapter_is_longer_than_a_sitting(notebook):
    assert len(words((FIGURES / notebook / "README.md").read_text("utf-8"))) <= LONGEST
