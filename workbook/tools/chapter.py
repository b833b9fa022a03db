"""Chapters for a code host: an executed notebook becomes README.md beside its figures.

``run_notebook`` writes it with the figures. After an edit to this file, rewrite all chapters from the executed copies,
and list the figures that cannot be read on a page: ``python -m workbook.tools.chapter [--profile full] [--seed 0]``.

Prose, tables and lesson code are copied; images are linked, with the code of a figure in a fold under it; solutions are
in folds. Code that records, also that below a figure, and templates of answers are left out: the notebook is one link
away. Formulas become code of the kind that code hosts typeset, because their Markdown changes what stands between
dollars. The file contains no durations and no machine, so equal results give equal files.
"""

import argparse
import ast
import json
import os
import re
import sys
from pathlib import Path

from lib.atomic import write_atomic
from workbook import paths
from workbook.profiles import PROFILES
from workbook.records import load_results

LESSON_LINES = 25  # longer untagged cells are collapsed
HIDDEN = {"parameters", "injected-parameters"}
KEEPS_BOOK = re.compile(r"\bbook\.(?:figure|record|answer|tested|claim|demonstrates|check)\(")
RECORDS = re.compile(r"book\.(?:record|answer|tested|claim|demonstrates|check)\(")
ONLY_SHOWS = re.compile(r"show\.source\([^()]*\)")  # only the output of such a call is shown
LITERAL = re.compile(  # what is no prose: fenced blocks, formulas on lines of their own, code, "\\$", formulas
    r"^(?P<before>[> ]*)(?:(?P<fence>```+|~~~+).*?^(?P=before)(?P=fence)|\$\$(?P<display>.+?)\$\$)[ \t]*$"
    r"|`[^`\n]+`|\\\$|\$\$?(?P<inline>[^$\n]+)\$\$?",
    re.MULTILINE | re.DOTALL,
)
TAG = re.compile(r"</?(?!(?:br|details|summary|img)\b)[A-Za-z][\w-]*(?:\s[^<>]*)?/?>|<!--.*?-->", re.DOTALL)
LINK = re.compile(r"(?<=\]\()([^)\s]+)(?=(?:\s+\"[^\"]*\")?\))")
IMAGE_LINK = re.compile(r"(?<=\bsrc=\")([^\"]+)(?=\")")
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
BAR = re.compile(r"\d+%\|.*\|")  # a progress bar


def write(executed: Path, notebook: str, profile: str, seed: int, out: Path, place: Path) -> Path:
    """Write README.md into the folder ``out``, with links that are valid in ``place``, its final folder."""
    cells = json.loads(executed.read_text("utf-8"))["cells"]
    source, board = paths.NOTEBOOKS / f"{notebook}.ipynb", place.parent / "scoreboard.md"
    links = f"[notebook]({_relative(source, place)}) · [scoreboard]({_relative(board, place)})"
    head = f"*The chapter as it ran in profile {profile}, seed {seed}. To run or change it: {links}*"
    title, *rest = [part for cell in cells for part in _cell(cell, place)] or [f"# {notebook}"]
    first, _, below = title.partition("\n")  # the line about this run comes right after the title
    parts = [first, head, *([below.strip()] if below.strip() else []), *rest]
    text = "\n\n".join(parts).replace(str(paths.ROOT) + "/", "").replace(str(Path.home()), "~")
    path = out / "README.md"
    write_atomic(path, text + "\n")
    return path


def _cell(cell: dict, place: Path) -> list[str]:
    """A cell as blocks of Markdown."""
    text = "".join(cell["source"]).strip()
    tags = set(cell["metadata"].get("tags", []))
    if tags & HIDDEN or not text:
        return []
    if cell["cell_type"] == "markdown":
        return [_prose(text, place)]
    if cell["cell_type"] != "code":
        return []
    shown = [block for output in _joined(cell["outputs"]) if (block := _output(output, place))]
    if "record" in tags or text.startswith("%%answer") or (shown and ONLY_SHOWS.fullmatch(text)):
        return shown
    code = _fence(text, "python")
    if "solution" in tags:
        named = re.match(r"# solution (\S+)", text)
        return [_folded(f"Solution {named[1]}" if named else "Solution", code, *shown)]
    if "figure" in tags:
        return [*shown, _folded("Code of the figure", _fence(_drawing(text), "python"))]
    long = len(text.splitlines()) > LESSON_LINES or KEEPS_BOOK.search(text)
    folded = "lesson" not in tags and (long or cell["metadata"].get("jupyter", {}).get("source_hidden"))
    return [_folded("Code", code) if folded else code, *shown]


def _drawing(code: str) -> str:
    """The code of a figure without the statements that only record."""
    lines = code.splitlines()
    for node in reversed(ast.parse(code).body):
        if _records(node):
            del lines[node.lineno - 1 : node.end_lineno]
    return re.sub(r"\n{4,}", "\n\n\n", "\n".join(lines)).strip("\n")


def _records(node: ast.stmt) -> bool:
    if isinstance(node, ast.For | ast.If):
        return all(map(_records, node.body + node.orelse))
    return isinstance(node, ast.Expr) and bool(RECORDS.match(ast.unparse(node)))


def _joined(outputs: list[dict]) -> list[dict]:
    """The outputs, with what was printed piece by piece as one: where it was cut depends on the clock."""
    joined: list[dict] = []
    for output in outputs:
        last = joined[-1] if joined else {}
        if output["output_type"] == "stream" == last.get("output_type") and output["name"] == last["name"]:
            joined[-1] = output | {"text": ["".join(last["text"]), "".join(output["text"])]}
        else:
            joined.append(output)
    return joined


def _output(output: dict, place: Path) -> str:
    """An output of a cell as a block of Markdown; empty if it is left out."""
    if output["output_type"] == "stream":
        text = _plain("".join(output["text"])) if output["name"] == "stdout" else ""
        return _fence(text, "text") if text else ""
    data = {kind: "".join(content) for kind, content in output.get("data", {}).items() if "json" not in kind}
    about = output.get("metadata", {})
    if any("widget" in kind for kind in output.get("data", {})):
        return "*JupyterLab shows interactive controls here.*"
    if "image/png" in data:
        image = about.get("image/png", {})
        if not {"file", "alt"} <= image.keys():
            return "*The notebook shows a picture here; only pictures from `book.figure` are saved.*"
        return f"![{_alt(image['alt'])}]({image['file']})"
    if "text/markdown" in data:
        text = _prose(about.get("page", data["text/markdown"]).strip(), place)
        return _folded(about["source"], text) if text.count("\n") > LESSON_LINES and "source" in about else text
    text = _plain(data.get("text/plain", ""))
    return _fence(text, "text") if text else ""


def _folded(summary: str, *blocks: str) -> str:
    return "\n\n".join([f"<details>\n<summary>{summary}</summary>", *blocks, "</details>"])


def _fence(text: str, language: str) -> str:
    """A fenced block, with a fence longer than any in the text."""
    fence = "`" * max(3, 1 + max(map(len, re.findall(r"`+", text)), default=0))
    return f"{fence}{language}\n{text}\n{fence}"


def _plain(text: str) -> str:
    """The final state of printed text, without colours, progress bars and overwritten lines."""
    lines = [line.rstrip("\r").rsplit("\r", 1)[-1].rstrip() for line in ANSI.sub("", text).split("\n")]
    return "\n".join(line for line in lines if not BAR.search(line)).strip("\n")


def _alt(text: str) -> str:
    """Alt text, escaped for the brackets of a link."""
    return re.sub(r"([\\\[\]`*_<$])", r"\\\1", text)


def _prose(markdown: str, place: Path) -> str:
    """Markdown without HTML, with links that are valid in ``place`` and formulas as code hosts take them."""
    parts, end = [], 0
    for literal in LITERAL.finditer(markdown):
        parts += [_text(markdown[end : literal.start()], place), _literal(literal)]
        end = literal.end()
    return "".join([*parts, _text(markdown[end:], place)])


def _literal(found: re.Match) -> str:
    """What ``LITERAL`` found, with a formula as code, in which Markdown leaves every letter as it is."""
    if found["inline"]:
        return f"$`{found['inline'].strip()}`$"
    if not found["display"]:
        return found[0]
    before = found["before"]  # the marks of a quote, and blanks
    lines = [line.removeprefix(before.rstrip()).strip() for line in found["display"].splitlines()]
    return "\n".join(before + line for line in ["```math", *filter(None, lines), "```"])


def _text(markdown: str, place: Path) -> str:
    for pattern in (LINK, IMAGE_LINK):
        markdown = pattern.sub(lambda match: _link(match[1], place), markdown)
    return TAG.sub("", markdown)


def _link(target: str, place: Path) -> str:
    """A link of a notebook, as seen from ``place``. Links to other notebooks lead to their chapters."""
    file, mark, anchor = target.partition("#")
    if not file or re.match(r"[a-z][a-z+.-]*:", file):
        return target
    for base in (paths.NOTEBOOKS, place, place.parent, paths.ROOT):
        found = (base / file).resolve()
        if found.exists():
            if found.suffix == ".ipynb" and found.parent == paths.NOTEBOOKS.resolve():
                return _relative(place.parent / found.stem / "README.md", place)
            return _relative(found, place) + mark + anchor
    return target


def _relative(path: Path, place: Path) -> str:
    return Path(os.path.relpath(path, place)).as_posix()


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m workbook.tools.chapter", description="Write the chapters again.")
    parser.add_argument("--profile", choices=PROFILES, default="full")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    for executed in sorted(paths.executed_notebook("x", arguments.profile, arguments.seed).parent.glob("*.ipynb")):
        place = paths.results_dir(arguments.profile, arguments.seed) / executed.stem
        if place.is_dir():
            written = write(executed, executed.stem, arguments.profile, arguments.seed, place, place)
            print(written.relative_to(paths.ROOT))
    for folder in sorted(paths.results_dir(arguments.profile, arguments.seed).iterdir()):
        for found in hard_to_read(folder):
            print(f"{folder.name}: {found}")
    return 0


def hard_to_read(folder: Path) -> list[str]:
    """The figures in a folder that have no caption, or cannot be read on a page as they are (``lib.legibility``)."""
    figures = (load_results(folder) or {"figures": {}})["figures"]
    found = [
        f"{name}: {rule}: {what}" for name, each in figures.items() for rule, what in each.get("findings", {}).items()
    ]
    return [*found, *(f"{name}: no caption" for name, each in figures.items() if "caption" not in each)]


if __name__ == "__main__":
    sys.exit(main())
