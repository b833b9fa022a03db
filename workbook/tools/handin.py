"""Hand in what one has done: one HTML page, from the student's own runs. A teacher reads many of them as one table.

python -m workbook.tools.handin --student "Ada Lovelace"    writes build/handin-ada-lovelace.html
python -m workbook.tools.handin --marks FOLDER              writes build/marks.csv, and a clean copy of each page

``exercises.check`` keeps each answer that it found right; this page shows these, and what the student's notebooks wrote
to ``build/lab``. Neither command runs any code of a student. The record lies in the page as JSON in one script element
that is data. It is found by searching for its tag: html.parser needs half a minute for 60 kB of "<a <a <a".

A student can write any record by hand, so it proves nothing; it says where to look.
"""

import argparse
import base64
import csv
import hashlib
import io
import json
import re
import shutil
import sys
import time
from collections import Counter
from html import escape
from pathlib import Path
from typing import Any

from lib.atomic import write_atomic
from workbook.exercises import EXERCISES, PASSED
from workbook.paths import BUILD, NOTEBOOKS, ROOT, shown
from workbook.records import load_results

LIMIT = 64_000_000  # bytes of a page; all chapters with all their figures are 41 MB
OPEN, CLOSE, PNG = '<script type="application/json" id="handin">', "</script>", "data:image/png;base64,"
FIGURE = {"name": str, "alt": str, "sha256": str}
CHAPTER = {"notebook": str, "profile": str, "seed": int, "environment": {str: object}, "numbers": {str: object}}
SHAPE = {"student": str, "made": str, "code": str, "passed": {str: str}, "chapters": [CHAPTER | {"figures": [FIGURE]}]}
HEAD = """<!doctype html><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<style>body{font:16px/1.5 sans-serif;max-width:60em;margin:auto;padding:1em}pre{background:#eee;padding:1em;
white-space:pre-wrap}td{padding-right:2em;vertical-align:top;overflow-wrap:anywhere}img{max-width:100%}</style>"""


class HandinError(RuntimeError):
    """A page cannot be made or read. The message is for the user."""


def code() -> str:
    """One hash of all code of this checkout that a notebook can call."""
    files = sorted(path for part in ("lib", "workbook") for path in (ROOT / part).rglob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def bare(source: str) -> str:
    """Code without comments and spaces, to tell equal answers."""
    return re.sub(r"#.*|\s+", "", source)


def short(text: str) -> str:
    """The first digits of a hash of some code."""
    return hashlib.sha256(bare(text).encode("utf-8", "replace")).hexdigest()[:12]


def gathered(student: str, notebook: str) -> tuple[dict, dict[str, bytes]]:
    """The record of a student's runs of one notebook or ``all``, and {sha256: PNG} of its figures."""
    passed = {path.stem: path.read_text("utf-8") for path in sorted(PASSED.glob("*.py"))}
    chapters, pictures = [], {}
    for folder in sorted(path.parent for path in (BUILD / "lab").glob("*/*/*/results.json")):
        results = load_results(folder) or {}
        if notebook != "all" and not results["notebook"].startswith(notebook):
            continue
        figures = []
        for name, figure in results["figures"].items():
            if not (path := folder / figure["file"]).exists():
                raise HandinError(f"{shown(path)} is missing: run {results['notebook']} again from top to bottom")
            digest = hashlib.sha256(png := path.read_bytes()).hexdigest()
            pictures[digest] = png
            figures.append({"name": name, "alt": figure["alt"], "sha256": digest})
        numbers = {item: entry["value"] for item, entry in results["items"].items() if "value" in entry}
        about = {key: results[key] for key in ("notebook", "profile", "seed", "environment")}
        chapters.append({**about, "numbers": numbers, "figures": figures})
    passed = {n: text for n, text in passed.items() if notebook == "all" or notebook.startswith(n[:2])}
    if not passed and not chapters:
        raise HandinError(f"nothing to hand in: {shown(BUILD / 'lab')} has no run and {shown(PASSED)} no passed check")
    made = time.strftime("%Y-%m-%d %H:%M:%S")
    return {"student": student, "made": made, "code": code(), "passed": passed, "chapters": chapters}, pictures


def page(record: dict, pictures: dict[str, bytes]) -> str:
    """The record as HTML. Whatever it holds is shown as text, and nothing in it can run or load anything."""
    parts = [HEAD, f"<title>{escape(record['student'])}</title><h1>{escape(record['student'])}</h1>"]
    parts += [f"<p>{escape(record['made'])}, code {escape(record['code'][:12])}. Right: {len(record['passed'])}</p>"]
    for number, source in record["passed"].items():
        parts.append(f"<h2>{escape(number)}</h2><p>Code {short(source)}</p><pre>{escape(source)}</pre>")
    for chapter in record["chapters"]:
        head = f"{chapter['notebook']}, {chapter['profile']}, seed {chapter['seed']}"
        environment = ", ".join(f"{name} {value}" for name, value in chapter["environment"].items())
        rows = [
            f"<tr><td>{escape(item)}<td>{escape(json.dumps(value)[:500])}" for item, value in chapter["numbers"].items()
        ]
        parts.append(f"<h2>{escape(head)}</h2><p>{escape(environment)}</p><table>{''.join(rows)}</table>")
        for figure in chapter["figures"]:
            if png := pictures.get(figure["sha256"]):
                source = PNG + base64.b64encode(png).decode()
                parts.append(f'<h3>{escape(figure["name"])}</h3><img alt="{escape(figure["alt"])}" src="{source}">')
    data = json.dumps(record).replace("<", "\\u003c")  # so that no text in it ends the element
    return "\n".join([*parts, f"{OPEN}{data}{CLOSE}\n"])


def fits(value: Any, shape: Any) -> bool:
    """Whether JSON has this shape: a type, a list of one shape, a dict of names, or {str: shape of any value}."""
    if isinstance(shape, type):
        return isinstance(value, shape)
    if isinstance(shape, list):
        return isinstance(value, list) and all(fits(each, shape[0]) for each in value)
    if not isinstance(value, dict):
        return False
    if str in shape:
        return all(fits(each, shape[str]) for each in value.values())
    return value.keys() == shape.keys() and all(fits(value[name], each) for name, each in shape.items())


def read(path: Path) -> tuple[dict, dict[str, bytes]]:
    """The record and the pictures of a page that anybody may have written. Raises HandinError or ValueError."""
    if path.is_symlink() or not path.is_file():
        raise HandinError("no ordinary file")
    if path.stat().st_size > LIMIT:
        raise HandinError(f"{path.stat().st_size / 1e6:.0f} MB; at most {LIMIT / 1e6:.0f} MB are read")
    text = path.read_text("utf-8")
    if text.count(OPEN) != 1:
        raise HandinError(f"{text.count(OPEN)} records in it; a page of make handin has one")
    try:
        record = json.loads(text.partition(OPEN)[2].partition(CLOSE)[0])
    except RecursionError:
        raise HandinError("its record is nested too deeply") from None
    if not fits(record, SHAPE):
        raise HandinError("its record is not one of make handin")
    pictures = {}
    for part in text.split(PNG)[1:]:
        try:
            png = base64.b64decode(part[: part.find('"')], validate=True)
        except ValueError:
            continue
        if png.startswith(b"\x89PNG\r\n\x1a\n"):
            pictures[hashlib.sha256(png).hexdigest()] = png
    return record, pictures


def cell(value: object) -> str:
    """Text for a table that a spreadsheet opens: printable, short, and never a formula."""
    text = "".join(letter if letter.isprintable() else " " for letter in str(value))[:300].strip()
    return f"'{text}" if text.startswith(tuple("=+-@＝＋－＠")) else text


def published() -> list[str]:
    """The bare code of all solutions in the chapters."""
    cells = (c for path in NOTEBOOKS.glob("*.ipynb") for c in json.loads(path.read_text("utf-8"))["cells"])
    return [bare("".join(cell["source"])) for cell in cells if "solution" in cell["metadata"].get("tags", ())]


def marks(folder: Path, out: Path) -> list[dict[str, str]]:
    """A row for every file below ``folder``, whatever it is; clean copies of the pages go to ``out``."""
    solutions, here = published(), code()
    rows: list[dict[str, str]] = []
    own: list[dict[str, str]] = []  # answers that are not as published
    for path in sorted(path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()):
        rows.append({"file": cell(path.relative_to(folder))})
        own.append({})
        try:
            record, pictures = read(path)
            copy = out / f"{len(rows):03d}.html"
            write_atomic(copy, page(record, pictures).encode("utf-8", "replace"))
            passed = {number: bare(source) for number, source in record["passed"].items() if number in EXERCISES}
            chapters = record["chapters"]
            machines = [" ".join(map(str, chapter["environment"].values())) for chapter in chapters]
            row = {
                "problem": "" if record["student"].strip() else "it has no name",
                "student": record["student"],
                "page": copy.name,
                "made": record["made"],
                "passed": len(passed),
                "chapters": " ".join(sorted({chapter["notebook"] for chapter in chapters})),
                "numbers": sum(len(chapter["numbers"]) for chapter in chapters),
                "figures": sum(len(chapter["figures"]) for chapter in chapters),
                "code": "as here" if record["code"] == here else record["code"][:12],
                "environment": "; ".join(dict.fromkeys(machines)),
                **dict.fromkeys(passed, 1),
            }
        except (HandinError, ValueError, RecursionError, OSError) as error:
            row = {"problem": f"it cannot be read: {error}"}
        else:
            own[-1] = {n: source for n, source in passed.items() if not any(source in text for text in solutions)}
            row["as published"] = len(passed) - len(own[-1])
        rows[-1] |= {name: cell(value) for name, value in row.items()}
    names = Counter(row.get("student", "").casefold() for row in rows)
    handed_in = Counter(answer for found in own for answer in found.items())
    for row, found in zip(rows, own, strict=True):
        if row.get("student") and names[row["student"].casefold()] > 1:
            row["problem"] = "this name occurs more than once"
        row["as another"] = str(sum(handed_in[answer] > 1 for answer in found.items()))
    return rows


def table(rows: list[dict[str, str]]) -> bytes:
    """The rows as CSV, in the encoding that spreadsheets expect."""
    text = io.StringIO(newline="")
    written = csv.DictWriter(text, COLUMNS, restval="", quoting=csv.QUOTE_ALL)
    written.writeheader()
    written.writerows(rows)
    return text.getvalue().encode("utf-8-sig")


COLUMNS = ("file", "problem", "student", "page", "made", "passed", "as published", "as another", "chapters", "numbers",
           "figures", "code", "environment", *EXERCISES)  # fmt: skip


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m workbook.tools.handin", description=__doc__.splitlines()[0])  # pyrefly: ignore
    parser.add_argument("--student", default="", help="the name of the student who hands in")
    parser.add_argument("--notebook", default="all", help="name of one chapter, or all")
    parser.add_argument("--marks", type=Path, help="folder of pages that were handed in")
    given = parser.parse_args()
    try:
        if given.marks is not None:
            if not given.marks.is_dir():
                raise HandinError(f"{given.marks} is no folder: make marks FOLDER=where the pages lie")
            shutil.rmtree(BUILD / "marks", ignore_errors=True)
            rows = marks(given.marks, BUILD / "marks")
            write_atomic(BUILD / "marks.csv", table(rows))
            doubtful = sum(bool(row["problem"]) for row in rows)
            print(
                f"{len(rows)} files, {doubtful} with a problem: {shown(BUILD / 'marks.csv')}, {shown(BUILD / 'marks')}/"
            )
            return 0
        student = " ".join(given.student.split())
        slug = re.sub(r"[^a-z0-9]+", "-", student.casefold()).strip("-") or "page"
        if not student:
            raise HandinError('whose page is it? make handin STUDENT="Ada Lovelace"')
        content = page(*gathered(student, given.notebook)).encode("utf-8", "replace")
        if len(content) > LIMIT:
            raise HandinError(
                f"the page would have {len(content) / 1e6:.0f} MB; hand in chapter by chapter: NOTEBOOK=05_gan"
            )
        write_atomic(BUILD / f"handin-{slug}.html", content)
        print(f"hand in this file: {shown(BUILD / f'handin-{slug}.html')}")
        return 0
    except (HandinError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
