"""What a student hands in is all there; and whatever is handed in, nothing of it runs, and no other page is lost."""

import csv
import hashlib
import json
import os
import re
import sys
from html.parser import HTMLParser

import pytest
from IPython.core.interactiveshell import InteractiveShell

from workbook import exercises
from workbook.exercises import EXERCISES
from workbook.paths import FIGURES
from workbook.tools import handin

RIGHT = "def ema(values, decay):\n    average = [values[0]]\n    for value in values[1:]:\n"
RIGHT += "        average.append(decay * average[-1] + (1 - decay) * value)\n    return average\n"
PIXEL = b"\x89PNG\r\n\x1a\nmine"


@pytest.fixture
def at(tmp_path, monkeypatch, capsys):
    """Folders of a student and of a teacher; ``at(*arguments)`` runs the command and returns what it says."""
    monkeypatch.setattr(handin, "BUILD", tmp_path / "build")
    for module in (handin, exercises):
        monkeypatch.setattr(module, "PASSED", tmp_path / "build/passed")
    monkeypatch.setattr(handin, "shown", str)

    def run(*arguments, code=0):
        monkeypatch.setattr(sys, "argv", ["handin", *map(str, arguments)])
        assert handin.main() == code
        said = capsys.readouterr()
        return said.out + said.err

    return run


def answer(monkeypatch, *cells):
    """Run the cells of a student's own session."""
    monkeypatch.delenv("WORKBOOK_WIDGETS", raising=False)
    shell = InteractiveShell()
    monkeypatch.setattr(exercises, "get_ipython", lambda: shell)
    for cell in cells:
        shell.run_cell(cell, store_history=True).raise_error()


def ran(tmp_path, notebook="05_gan", png=PIXEL, **more):
    """A run of a chapter in the student's own folder."""
    folder = tmp_path / "build/lab/full/seed0" / notebook
    folder.mkdir(parents=True)
    (folder / "a.png").write_bytes(png)
    results = {
        "notebook": notebook,
        "profile": "full",
        "seed": 0,
        "environment": {"python": "3.11.7", "torch": "2.13.0"},
        "items": {"cpsc453.num-5": {"value": 0.25}, "cpsc453.q-5": {"answer": "no"}},
        "figures": {"extra-a": {"file": "a.png", "alt": "A <b>curve</b> that rises."}},
    }
    (folder / "results.json").write_text(json.dumps(results | more), "utf-8")


def record(**changes):
    base = {"student": "Ada", "made": "2026-01-01", "code": handin.code(), "passed": {"05.4": RIGHT}, "chapters": []}
    return base | changes


def rows(tmp_path):
    return list(csv.DictReader((tmp_path / "build/marks.csv").open(encoding="utf-8-sig", newline="")))


class Tags(HTMLParser):
    """The tags of a page, and what its script elements hold."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.data = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.data += data * (self.tags[-1][0] == "script")


def test_a_right_answer_of_a_students_session_is_kept_and_a_wrong_one_and_one_of_a_batch_run_are_not(
    at, tmp_path, monkeypatch
):
    wrong = RIGHT.replace("(1 - decay)", "decay")
    answer(monkeypatch, f'{wrong}\nfrom workbook import exercises\nexercises.check("05.4", ema)')
    assert not (tmp_path / "build").exists()
    answer(monkeypatch, RIGHT, 'from workbook import exercises\nexercises.check("05.4", ema)')
    assert (tmp_path / "build/passed/05.4.py").read_text("utf-8") == RIGHT
    (tmp_path / "build/passed/05.4.py").unlink()
    monkeypatch.setenv("WORKBOOK_WIDGETS", "off")
    exercises.check("05.4", EXERCISES["05.4"].right)
    assert list((tmp_path / "build/passed").iterdir()) == []


def test_of_an_answer_that_is_a_class_the_cell_is_kept(at, tmp_path, monkeypatch):
    cell = "from workbook import exercises\nclass Mine:\n    pass\n"
    cell += (
        'exercises.check("05.4", type("B", (Mine,), {"__new__": lambda c, *a: exercises.EXERCISES["05.4"].right(*a)}))'
    )
    answer(monkeypatch, cell)
    assert (tmp_path / "build/passed/05.4.py").read_text("utf-8") == cell


def test_a_page_shows_what_was_done_and_a_teacher_finds_it_in_one_row(at, tmp_path, monkeypatch):
    answer(monkeypatch, RIGHT, 'from workbook import exercises\nexercises.check("05.4", ema)')
    ran(tmp_path)
    assert "handin-ada-o-neill.html" in at("--student", "Ada  O'Neill")
    text = (tmp_path / "build/handin-ada-o-neill.html").read_text("utf-8")
    for shown in (
        "Ada O&#x27;Neill",
        "decay * average[-1]",
        "cpsc453.num-5<td>0.25",
        "python 3.11.7",
        "A &lt;b&gt;curve",
    ):
        assert shown in text
    folder = tmp_path / "handed in"
    folder.mkdir()
    (folder / "ada.html").write_text(text, "utf-8")
    assert "1 files, 0 with a problem" in at("--marks", folder)
    (row,) = rows(tmp_path)
    expected = {"file": "ada.html", "problem": "", "student": "Ada O'Neill", "passed": "1", "chapters": "05_gan"}
    expected |= {
        "numbers": "1",
        "figures": "1",
        "code": "as here",
        "environment": "3.11.7 2.13.0",
        "05.4": "1",
        "05.1": "",
    }
    assert row.items() >= expected.items()
    assert (tmp_path / "build/marks" / row["page"]).read_text("utf-8") == text


def test_one_chapter_can_be_handed_in_alone(at, tmp_path):
    ran(tmp_path)
    ran(tmp_path, "13_cnn")
    at("--student", "a", "--notebook", "13_cnn")
    assert "05_gan" not in (tmp_path / "build/handin-a.html").read_text("utf-8")


def test_what_cannot_be_handed_in_is_said(at, tmp_path):
    assert "nothing to hand in: " in at("--student", "a", code=1)
    assert 'make handin STUDENT="Ada Lovelace"' in at(code=1)
    assert "is no folder: make marks FOLDER=" in at("--marks", tmp_path / "none", code=1)
    ran(tmp_path)
    (tmp_path / "build/lab/full/seed0/05_gan/a.png").unlink()
    assert "a.png is missing: run 05_gan again from top to bottom" in at("--student", "a", code=1)


def test_all_chapters_with_the_figures_of_the_gallery_fit_in_a_page():
    size = sum(path.stat().st_size for path in FIGURES.glob("*/*.png"))
    assert size * 4 / 3 < 0.9 * handin.LIMIT


EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'><iframe src=//a.b>\ud800\u202e"


def test_a_page_with_scripts_in_every_text_holds_none_as_a_tag(tmp_path):
    figure = {"name": EVIL, "alt": EVIL, "sha256": "s"}
    chapter = {"notebook": EVIL, "profile": EVIL, "seed": 0, "environment": {EVIL: EVIL}, "numbers": {EVIL: [EVIL]}}
    made = record(student=EVIL, made=EVIL, code=EVIL, passed={EVIL: EVIL}, chapters=[chapter | {"figures": [figure]}])
    page = handin.page(made, {"s": PIXEL})
    found = Tags(page)
    allowed = {"meta", "style", "title", "h1", "h2", "h3", "p", "pre", "table", "tr", "td", "img", "script"}
    assert {tag for tag, _ in found.tags} <= allowed
    assert [attributes for tag, attributes in found.tags if tag == "script"] == [
        {"type": "application/json", "id": "handin"}
    ]
    assert json.loads(found.data) == made
    assert {tuple(a) for tag, a in found.tags if tag == "img"} == {("alt", "src")}
    path = tmp_path / "evil.html"
    path.write_bytes(page.encode("utf-8", "replace"))
    assert handin.read(path)[1] == {hashlib.sha256(PIXEL).hexdigest(): PIXEL}


def test_no_cell_is_a_formula_or_breaks_its_row():
    for text in ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", " \r\n=1", "＝1", "\ufeff=1"):
        assert handin.cell(text)[0] == "'", text
    assert handin.cell("a\nb\x00c\u202ed") == "a b c d"
    assert len(handin.cell("a" * 10**6)) == 300
    assert handin.cell("O'Neill = me") == "O'Neill = me"


def hostile(folder):
    """Files that somebody may hand in: {name: what is said of it}."""
    good = handin.page(record(), {})

    def changed(name, said, text):
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "replace"))
        return {name: said}

    def holding(data):
        return f"{handin.OPEN}{data}{handin.CLOSE}"

    said = changed("a-good.html", "", good)
    said |= changed("empty.html", "0 records in it", "")
    said |= changed("image.png", "codec can't decode", PIXEL)
    said |= changed("broken.html", "Expecting property name", holding("{'student'"))
    said |= changed("cut.html", "Unterminated string", good[: good.index(handin.OPEN) + 80])
    said |= changed("two.html", "2 records in it", good + good)
    said |= changed("deep.html", "nested too deeply", holding("[" * 10**6))
    said |= changed("digits.html", "Exceeds the limit", holding("1" * 10**6))
    said |= changed("slow.html", "0 records in it", "<a " * 10**7)  # which html.parser would read for days
    said |= changed("list.html", "not one of make handin", holding("[]"))
    said |= changed("types.html", "not one of make handin", holding(json.dumps(record(student=["Ada"]))))
    said |= changed("more.html", "not one of make handin", holding(json.dumps(record(admin=True))))
    said |= changed("nameless.html", "it has no name", handin.page(record(student=" "), {}))
    said |= changed("formula.html", "", handin.page(record(student='=HYPERLINK("http://a.b")'), {}))
    said |= changed("path.html", "", handin.page(record(student="../../" * 3 + "etc/passwd\x00"), {}))
    said |= changed("surrogate.html", "", holding('{"student": "\\ud800x", ' + json.dumps(record())[18:]))
    said |= changed(
        "code.html", "", handin.page(record(student="Eve", passed={"05.1": "open('ran','w')", "99.9": ""}), {})
    )
    (folder / "large.html").touch()
    os.truncate(folder / "large.html", handin.LIMIT + 1)
    (folder / "link.html").symlink_to("/etc/passwd")
    (folder / "loop").symlink_to(folder)
    os.mkfifo(folder / "pipe.html")
    return said | {
        "large.html": "64 MB; at most",
        "link.html": "no ordinary file",
        "loop": "no ordinary",
        "pipe.html": "no ordinary",
    }


def test_of_hostile_pages_each_has_its_row_and_its_reason_and_nothing_of_them_runs(at, tmp_path, monkeypatch):
    folder = tmp_path / "handed in"
    folder.mkdir()
    expected = hostile(folder)
    before = {path: path.lstat().st_mtime_ns for path in folder.rglob("*")}
    monkeypatch.chdir(tmp_path)
    assert f"{len(expected)} files, " in at("--marks", folder)
    found = {row["file"]: row for row in rows(tmp_path)}
    assert found.keys() == expected.keys()
    for file, said in expected.items():
        assert (said in found[file]["problem"]) if said else not found[file]["problem"], (file, found[file]["problem"])
    assert found["formula.html"]["student"].startswith("'=HYPERLINK")
    assert found["a-good.html"]["05.4"] == "1"
    assert found["code.html"]["05.1"] == "1"
    assert {path: path.lstat().st_mtime_ns for path in folder.rglob("*")} == before
    assert {path.name for path in tmp_path.iterdir()} >= {"build", "handed in"}
    assert not (tmp_path / "ran").exists()
    copies = {row["page"] for row in found.values() if row["page"]}
    assert {path.name for path in (tmp_path / "build/marks").iterdir()} == copies
    assert all(re.fullmatch(r"\d{3}\.html", name) for name in copies)


def test_the_copy_of_a_page_with_a_script_of_its_own_has_none(at, tmp_path):
    folder = tmp_path / "handed in"
    folder.mkdir()
    (folder / "a.html").write_text("<script>alert(1)</script>" + handin.page(record(), {}), "utf-8")
    at("--marks", folder)
    assert "alert" not in (tmp_path / "build/marks/001.html").read_text("utf-8")


def test_names_that_occur_twice_and_answers_that_equal_others_are_pointed_out(at, tmp_path):
    folder = tmp_path / "handed in"
    folder.mkdir()
    mine = {"Ada": RIGHT, "ada": RIGHT.replace("average", "a"), "Bob": f"# my own\n{RIGHT}", "Eve": "ema = max"}
    for number, (student, source) in enumerate(mine.items()):
        made = record(student=student, passed={"05.4": source})
        (folder / f"{number}.html").write_text(handin.page(made, {}), "utf-8")
    at("--marks", folder)
    found = rows(tmp_path)
    assert [row["problem"][:9] for row in found] == ["this name", "this name", "", ""]
    assert [row["as another"] for row in found] == ["1", "0", "1", "0"]


def test_an_answer_as_it_is_published_is_pointed_out(at, tmp_path):
    folder = tmp_path / "handed in"
    folder.mkdir()
    solution = next(text for text in handin.published() if 'exercises.check("05.4"' in text)
    (folder / "a.html").write_text(handin.page(record(passed={"05.4": solution}), {}), "utf-8")
    (folder / "b.html").write_text(handin.page(record(student="Bob", passed={"05.4": solution + "+1"}), {}), "utf-8")
    at("--marks", folder)
    assert [row["as published"] for row in rows(tmp_path)] == ["1", "0"]
