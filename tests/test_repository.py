"""The parts agree with each other: dependencies, modules, notebooks, results, README."""

import ast
import importlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
from functools import cache
from pkgutil import resolve_name

import nbformat
import pytest

from workbook.paths import FIGURES, NOTEBOOKS, RELEASED, ROOT
from workbook.profiles import PROFILES
from workbook.records import items_of, load_results, reports
from workbook.tools import check, clean, run, supported

ALL = sorted(NOTEBOOKS.glob("*.ipynb"))
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for part in ("lib", "workbook")
    for path in sorted((ROOT / part).rglob("*.py"))
}


def code(path):
    """The Python of a module or a notebook, without cells in another language, such as answers."""
    if path.suffix != ".ipynb":
        return path.read_text("utf-8")
    cells = ("".join(c["source"]) for c in json.loads(path.read_text("utf-8"))["cells"] if c["cell_type"] == "code")
    return "\n".join(cell for cell in cells if not cell.startswith("%%"))


@cache
def tree(path):
    return ast.parse(code(path))


def dotted(node):
    """``a.b`` of a name or attribute."""
    return ast.unparse(node) if isinstance(node, ast.Name | ast.Attribute) else ""


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def version(text):
    return tuple(int(n) for n in re.findall(r"\d+", text)[:3])


def test_three_files_name_the_same_dependencies_at_the_same_versions():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    bounds = dict(
        re.fullmatch(r"([A-Za-z0-9._-]+)>=([\d.]+)", line).groups()
        for line in project["dependencies"] + project["optional-dependencies"]["dev"]
    )
    conda = dict(
        re.findall(r"^ +- ([A-Za-z0-9._-]+)==(\S+)$", (ROOT / "environment.yml").read_text("utf-8"), flags=re.M)
    )
    lock = {normal(name): pinned for name, pinned in check.locked().items()}
    assert conda.keys() == bounds.keys()
    for name, pinned in conda.items():
        assert lock[normal(name)] == pinned, name
        assert version(pinned) >= version(bounds[name]), name


def test_lock_is_exact_and_free_of_machines():
    lines = [x for x in (ROOT / "requirements.lock").read_text("utf-8").splitlines() if not x.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[\w.]+", line) for line in lines)


def test_all_of_the_lock_but_torch_is_checked_by_hash():
    lock = (ROOT / "requirements.lock").read_text("utf-8").splitlines()
    text = (ROOT / "requirements.hashes").read_text("utf-8").replace("\\\n", " ")
    hashed = [line.split() for line in text.splitlines() if not line.startswith("#")]
    assert all(len(line) > 1 for line in hashed)
    assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", each) for line in hashed for each in line[1:])
    versions = {normal(x) for x in lock if not x.startswith(("#", "torch==", "torchvision=="))}
    assert {normal(line[0]) for line in hashed} == versions


def test_every_item_belongs_to_a_planned_notebook():
    assert len({item["id"] for item in reports()["item"]}) == len(reports()["item"])
    for path in ALL:
        assert path.stem in ("00_start_here", run.SCOREBOARD) or items_of(path.stem), path.name


def test_there_are_notebooks():
    assert {p.stem for p in ALL} >= {"01_feedforward", "13_cnn", "21_scoreboard"}
    assert [p.stem for p in ALL] == run.notebooks(), "every notebook is numbered and run"


@pytest.mark.parametrize("path", ALL, ids=lambda p: p.stem)
class TestNotebook:
    def test_is_committed_clean_and_has_outputs_to_compare(self, path):
        assert clean.faults(path) == []

    def test_begins_with_a_title_and_then_its_parameters(self, path):
        cells = json.loads(path.read_text("utf-8"))["cells"]
        assert "".join(cells[0]["source"]).startswith(f"# {path.stem[:2]} · ")
        parameters = "".join(cells[1]["source"])
        values = {t.targets[0].id: ast.literal_eval(t.value) for t in ast.parse(parameters).body}
        assert values == {"profile": "auto", "seed": 0}

    def test_last_check_covers_all_items(self, path):
        if path.stem != run.SCOREBOARD:
            last = json.loads(path.read_text("utf-8"))["cells"][-1]
            n = len(items_of(path.stem))
            assert "".join(last["outputs"][0]["text"]).startswith(f"{n} of {n} items recorded")


# --- modules ---------------------------------------------------------------------------------------------------------


def imported(nodes):
    """Dotted names of what a tree imports, or names in a string for ``resolve_name``."""
    for node in ast.walk(nodes):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from re.findall(r"^(?:lib|workbook)(?:\.\w+)+(?=:|$)", node.value)


def environment_reads(nodes):
    """Lines that look at environment variables; ``os.environ.setdefault`` on a line of its own only sets one."""
    sets = {
        id(node.value.func.value)
        for node in ast.walk(nodes)
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Call)
        and isinstance(node.value.func, ast.Attribute)
        and node.value.func.attr == "setdefault"
    }
    for node in ast.walk(nodes):
        named = isinstance(node, ast.ImportFrom) and node.module == "os"
        names = [alias.name for alias in node.names] if named else [dotted(node).removeprefix("os.")]
        if {"environ", "environb", "getenv"} & set(names) and id(node) not in sets:
            yield node.lineno


def test_what_imports_and_reads_is_seen():
    tells = "import a.b\nfrom lib.data import files\nx = resolve_name('workbook.cache:trained')\ny = 'workbook.'"
    assert {"a.b", "lib.data.files", "workbook.cache"} <= set(imported(ast.parse(tells)))
    for text in ("os.environ['A']", "x = os.environ.get('A')", "os.getenv('A')", "from os import environ",
                 "'A' in os.environ", "x = os.environ.setdefault('A', '1')"):  # fmt: skip
        assert list(environment_reads(ast.parse(text))), text
    assert not list(environment_reads(ast.parse("os.environ.setdefault('A', '1')\nos.path.exists('A')")))


@pytest.mark.parametrize("name", [name for name in MODULES if name.split(".")[0] == "lib"])
def test_lib_knows_nothing_of_the_workbook_and_reads_no_environment_variable(name):
    nodes = tree(MODULES[name])
    roots = {module.split(".")[0] for module in imported(nodes) if module != "workbook.mplstyle"}
    assert not roots & {"workbook", "tests", "notebooks", "benchmarks"}
    assert list(environment_reads(nodes)) == []


def test_no_module_is_unused():
    commands = (ROOT / "Makefile").read_text("utf-8") + (ROOT / "Snakefile").read_text("utf-8")
    used = set(re.findall(r"(?:-m|from|import) (workbook[\w.]+)", commands))
    for path in [*MODULES.values(), *ALL, *(ROOT / "benchmarks").glob("*.py")]:
        used |= {name for name in imported(tree(path)) if MODULES.get(name) != path}
    packages = {name for name, path in MODULES.items() if path.name == "__init__.py"}
    assert sorted(MODULES.keys() - packages - used) == []


def test_every_package_is_installed():
    packages = {name for name, path in MODULES.items() if path.name == "__init__.py"}
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["packages"]
    assert packages == set(listed)
    folders = {path.parent for path in MODULES.values()}
    assert all((folder / "__init__.py").exists() for folder in folders)


def functions():
    """(layer, file, function) of every function and class at the top of a module or notebook."""
    for path in [*MODULES.values(), *ALL]:
        for node in tree(path).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                yield path.relative_to(ROOT).parts[0], str(path.relative_to(ROOT)), node


def test_no_function_is_defined_twice():
    """A name means one thing within lib and within workbook, and what a notebook defines has no name that lib or
    workbook has; two notebooks may use the same word, as two chapters of a book do. (``quality.table`` of lib makes
    what ``show.table`` of workbook shows, and ``recipes.narrow_autoencoder`` is a trained one of lib's: these two
    layers may share a name.) Tools are commands: nobody calls their functions by name.
    """
    where = {}
    for layer, file, node in functions():
        if not node.name.startswith("_") and not file.startswith("workbook/tools/"):
            where.setdefault(node.name, []).append((layer, file))
    twice = {
        name: [file for _, file in found]
        for name, found in where.items()
        if len(found) > 1 and [layer for layer, _ in found] != ["lib", "workbook"]
        if {layer for layer, _ in found} != {"notebooks"}
    }
    # of chapters 11, 14, 15 and 17 to 20, whose measurements are kept under these names until they are measured again
    kept = {"generated", "certainty", "restored", "plain", "plane", "training", "autoencoder", "vae", "counted"}
    assert {name: files for name, files in twice.items() if name not in kept} == {}


def test_no_function_is_written_twice():
    """Under no name, however private; two lines may repeat, as notebooks show what they do, and the right answer of an
    exercise may stand in its chapter."""
    where = {}
    for _, file, node in functions():
        body = node.body[1:] if ast.get_docstring(node) else node.body
        text = "\n".join(ast.unparse(line) for line in body)
        if len(text.splitlines()) > 2:
            where.setdefault(text, []).append(f"{file}: {node.name}")
    answers = ("workbook/exercises/", "notebooks/")
    twice = [names for names in where.values() if len(names) > 1]
    # of 08 and 11, of 16 and 19, and of 18 and 19: into lib when these chapters are measured again
    twice = [n for n in twice if not all(each.endswith((": sharpness", ": add_noise", ": network")) for each in n)]
    assert [n for n in twice if len(n) > 2 or not all(map(str.startswith, sorted(n, reverse=True), answers))] == []


def test_public_functions_have_docstrings_and_type_hints():
    for name, path in MODULES.items():
        assert ast.get_docstring(tree(path)), name
        for node in tree(path).body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                assert ast.get_docstring(node), f"{name}: {node.name}"
                assert node.returns is not None, f"{name}: {node.name}"
                given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                assert all(a.annotation for a in given), f"{name}: {node.name}"


def unsafe(nodes):
    """Lines that could run code out of a file: pickles, in whatever form."""
    for node in ast.walk(nodes):
        if isinstance(node, ast.Import | ast.ImportFrom):
            if {name.split(".")[0] for name in imported(node)} & {"pickle", "dill", "joblib", "cloudpickle", "shelve"}:
                yield node.lineno
        elif isinstance(node, ast.Call):
            called, given = dotted(node.func), {k.arg: ast.unparse(k.value) for k in node.keywords}
            if called == "torch.load" and given.get("weights_only") != "True":
                yield node.lineno
            if given.get("allow_pickle", "False") != "False" or called.endswith(("read_pickle", "torch.hub.load")):
                yield node.lineno


def test_what_loads_a_pickle_is_seen():
    for text in ("import pickle", "from joblib import load", "torch.load(f)", "torch.load(f, weights_only=False)",
                 "np.load(f, allow_pickle=True)", "pd.read_pickle(f)", "np.load(f, allow_pickle=chosen)"):  # fmt: skip
        assert list(unsafe(ast.parse(text))), text
    for text in ("torch.load(f, weights_only=True)", "np.load(f)", "safetensors.torch.load(b)", "load(b)"):
        assert not list(unsafe(ast.parse(text))), text


@pytest.mark.parametrize("path", [*MODULES.values(), *ALL], ids=lambda p: p.stem)
def test_nothing_loads_a_pickle(path):
    assert list(unsafe(tree(path))) == []


def by_locale(nodes):
    """Lines that read or write text in whatever encoding the user's locale has."""
    for node in ast.walk(nodes):
        if isinstance(node, ast.Call):
            *owner, called = ast.unparse(node.func).split(".")
            given = [ast.unparse(each) for each in node.args]
            named = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            module = owner[-1:] in (["gzip"], ["os"], ["tarfile"])  # which read bytes
            mode = named.get("mode", "".join(given[0 if owner else 1 :][:1]))
            in_text = {"read_text": not given, "write_text": len(given) < 2, "open": "b" not in mode and not module}
            if "encoding" not in named and (in_text.get(called) or ("text" in named and called in ("run", "Popen"))):
                yield node.lineno


def test_what_is_read_in_the_encoding_of_the_locale_is_seen():
    for text in ("p.read_text()", "p.write_text('ä')", "open(p)", "open(p, 'w')", "p.open()", "p.open('a')",
                 "run(a, text=True)", "open(p, mode='w')"):  # fmt: skip
        assert list(by_locale(ast.parse(text))), text
    for text in (
        "p.read_text('utf-8')",
        "p.write_text('ä', 'utf-8')",
        "open(p, 'rb')",
        "p.open('wb')",
        "p.read_bytes()",
        "p.open(encoding='utf-8')",
        "gzip.open(p, 'rb')",
        "run(a, encoding='utf-8')",
    ):
        assert not list(by_locale(ast.parse(text))), text


@pytest.mark.parametrize("part", ["lib", "workbook", "notebooks", "benchmarks", "tests"])
def test_all_text_is_utf_8_in_every_locale(part):
    paths = [path for kind in ("py", "ipynb") for path in sorted((ROOT / part).rglob(f"*.{kind}"))]
    found = {str(path.relative_to(ROOT)): list(by_locale(tree(path))) for path in paths}
    assert {path: lines for path, lines in found.items() if lines} == {}


def test_released_trainings_are_small_enough_to_clone():
    sizes = [path.stat().st_size for path in RELEASED.rglob("*") if path.is_file()]
    assert sum(sizes) <= 100 * 2**20


# --- notebooks that are committed ------------------------------------------------------------------------------------


def test_clean_strips_images_metadata_and_unchecked_outputs():
    stream = {"output_type": "stream", "name": "stdout", "text": ["3\n"]}
    warning = {"output_type": "stream", "name": "stderr", "text": ["a warning\n"]}
    picture = {"output_type": "display_data", "data": {"image/png": "…"}, "metadata": {}}
    outputs = [stream, warning, picture]
    cells = [
        {"cell_type": "code", "id": str(i), "source": "x\n", "outputs": list(outputs), "execution_count": 9,
         "metadata": {"tags": tags, "papermill": {"duration": 1}}}
        for i, tags in enumerate(([], ["check"]))
    ]  # fmt: skip
    cleaned = clean.clean({"cells": cells, "metadata": {"papermill": {}, "kernelspec": {"name": "mine"}}})
    assert [c["outputs"] for c in cleaned["cells"]] == [[], [stream]]
    assert [c["execution_count"] for c in cleaned["cells"]] == [None, 1]
    assert "papermill" not in clean.dump(cleaned)
    assert clean.clean(cleaned) == cleaned


@pytest.fixture
def saved(tmp_path, monkeypatch):
    """A committed notebook that JupyterLab has run and saved: ``saved(edit)`` cleans it and returns its third cell."""
    path = tmp_path / "01_a.ipynb"
    small_notebook(path, "print(profile)")
    notebook = json.loads(path.read_text("utf-8"))
    notebook["cells"][2] |= {"outputs": [printed("smoke\n")], "execution_count": 2}
    path.write_text(clean.dump(notebook), "utf-8")

    def git(*arguments):
        name = ("-c", "user.name=a", "-c", "user.email=a@b.c")
        subprocess.run(["git", *name, *arguments], cwd=tmp_path, check=True, capture_output=True)

    def run_and_clean(edit=lambda cells: None, commit=True):
        git("init")
        if commit:
            git("add", ".")
            git("commit", "-m", "a")
        edit(notebook["cells"])
        path.write_text(clean.dump(notebook), "utf-8")
        monkeypatch.setattr(sys, "argv", ["clean", "clean", str(path)])
        clean.main()
        return json.loads(path.read_text("utf-8"))["cells"][2]

    return run_and_clean


def printed(text):
    return {"output_type": "stream", "name": "stdout", "text": [text]}


def run_in_lab(cells):
    for count, cell in enumerate(cells[1:], 1):
        cell["execution_count"] = count
    cells[2]["outputs"] = [printed("full\n")]


def test_clean_takes_back_what_a_run_of_another_profile_has_stored(saved):
    assert saved(run_in_lab)["outputs"] == [printed("smoke\n")]


def test_clean_keeps_what_refresh_has_stored(saved):
    assert saved(lambda cells: cells[2].update(outputs=[printed("new\n")]))["outputs"] == [printed("new\n")]


def test_clean_takes_nothing_back_for_code_that_has_changed_or_was_never_committed(saved, capsys):
    def edited(cells):
        run_in_lab(cells)
        cells[2]["source"] = ["print(seed)"]

    assert saved(edited)["outputs"] == []
    assert "cells tagged 'check' without a stored output (c): run make refresh" in capsys.readouterr().err


def test_without_a_commit_the_outputs_of_a_run_are_dropped(saved):
    assert saved(run_in_lab, commit=False)["outputs"] == []


def test_a_notebook_of_ones_own_has_a_place_of_its_own(tmp_path):
    """Neither git, ruff, the checks of notebooks nor the tests look into it; beside the chapters it is sent there."""
    small_notebook(tmp_path / "try.ipynb", "1")
    assert "is no numbered chapter: a notebook of your own belongs in notebooks/mine/" in clean.faults(
        tmp_path / "try.ipynb"
    )
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]
    assert "notebooks/mine" in project["ruff"]["extend-exclude"]
    assert "--ignore=notebooks/mine" in project["pytest"]["ini_options"]["addopts"]
    ignored = subprocess.run(["git", "check-ignore", "-q", "--no-index", "notebooks/mine/a.ipynb"], cwd=ROOT)
    assert ignored.returncode == 0 or not (ROOT / ".git").exists()
    assert not any("mine" in path.parts for path in ALL)


@pytest.mark.parametrize("tag", ["figure", "record", "solution"])
def test_clean_collapses_what_is_not_the_lesson(tag):
    def cleaned(tags, **metadata):
        cell = {"cell_type": "code", "id": "a", "source": "x", "outputs": [], "metadata": {"tags": tags, **metadata}}
        return clean.clean({"cells": [cell]})["cells"][0]["metadata"]

    assert cleaned([tag, "check"]) == {"tags": [tag, "check"], "jupyter": {"source_hidden": True}}
    assert cleaned(["lesson"], jupyter={"source_hidden": True}) == {"tags": ["lesson"]}


@pytest.fixture
def broken(tmp_path):
    """The faults of a notebook after ``edit`` has changed it."""

    def faults(edit):
        notebook = json.loads(ALL[0].read_text("utf-8"))
        edit(notebook["cells"])
        path = tmp_path / "01_x.ipynb"
        path.write_text(clean.dump(notebook), "utf-8")
        return clean.faults(path)

    return faults


def checked(cells):
    return [cell for cell in cells if "check" in cell["metadata"].get("tags", [])]


def test_faults_are_found(broken):
    def forget_all(cells):
        for cell in checked(cells):
            cell.update(outputs=[], execution_count=None)

    assert broken(lambda cells: None) == []
    (none, which) = broken(forget_all)
    assert "no stored output to compare" in none
    assert "cells tagged 'check' without a stored output (" in which
    (fault,) = broken(lambda cells: checked(cells)[0].update(outputs=[], execution_count=None))
    assert "cells tagged 'check' without a stored output (" in fault
    (fault,) = broken(lambda cells: cells[0].update(source=["see /home/me/data"]))
    assert "a path of one machine; remove it: …'/home/me/data" in fault
    (fault,) = broken(lambda cells: cells[2].update(execution_count=5))
    assert fault.endswith("make clean-notebooks")


def test_a_notebook_has_exactly_one_cell_of_parameters(broken):
    def second(cells):
        cells[2]["metadata"] = {"tags": ["parameters"]}

    (fault,) = broken(second)
    assert fault == "needs exactly one cell tagged 'parameters', but has 2"
    (fault,) = broken(lambda cells: cells[1].update(metadata={}))
    assert fault == "needs exactly one cell tagged 'parameters', but has 0"


def small_notebook(path, code):
    cells = [
        {"cell_type": "markdown", "id": "a", "metadata": {}, "source": "# Title"},
        {"cell_type": "code", "id": "b", "metadata": {"tags": ["parameters"]}, "source": "profile = 'auto'\nseed = 0"},
        {"cell_type": "code", "id": "c", "metadata": {"tags": ["check"]}, "source": code},
        {"cell_type": "code", "id": "d", "metadata": {}, "source": "print('not to be compared')"},
    ]
    for cell in cells[1:]:
        cell |= {"outputs": [], "execution_count": None}
    path.write_text(clean.dump(clean.clean({"cells": cells})), "utf-8")


def test_refresh_stores_what_checked_cells_print_and_leaves_a_failing_notebook_alone(tmp_path, monkeypatch, capsys):
    good, bad = tmp_path / "01_good.ipynb", tmp_path / "02_bad.ipynb"
    small_notebook(good, "print(profile, seed)")
    small_notebook(bad, "raise ValueError('out of ideas')")
    before = bad.read_text("utf-8")
    monkeypatch.setattr(sys, "argv", ["clean", "refresh", str(good), str(bad)])
    assert clean.main() == 1
    cells = json.loads(good.read_text("utf-8"))["cells"]
    assert [o["text"] for o in cells[2]["outputs"]] == [["smoke 0\n"]]
    assert cells[3]["outputs"] == []
    assert clean.faults(good) == []
    assert bad.read_text("utf-8") == before
    assert "02_bad.ipynb: cell [3] stopped with ValueError: out of ideas" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["clean", "verify", str(good), str(bad)])
    assert clean.main() == 1
    monkeypatch.setattr(sys, "argv", ["clean", "verify", str(good)])
    assert clean.main() == 0


def test_committed_gallery_is_complete():
    for path in ALL:
        folder = FIGURES / path.stem
        found = load_results(folder)
        assert found is not None, f"{folder.name} has no results: make figures"
        assert (found["profile"], found["seed"]) == ("full", 0)
        figures = {figure["file"] for figure in found["figures"].values()}
        assert {p.name for p in folder.glob("*.png")} == figures
        assert all(len(figure["alt"]) >= 20 for figure in found["figures"].values())
        assert set(items_of(path.stem)) <= found["items"].keys() | found["figures"].keys()


# --- README and commands ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["README.md", "CONTRIBUTING.md"])
def test_commands_that_a_text_names_exist(file):
    text, makefile = (ROOT / file).read_text("utf-8"), (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, flags=re.M))
    used = set(re.findall(r"(?:^|`)make ([a-z-]+)", text, flags=re.M))
    assert {"figures", "test"} <= used <= targets
    known = re.search(r"^KNOWN +:= (.*)$", makefile, flags=re.M).group(1).split()
    settings = re.findall(r"\b([A-Z]+)=(\"[^\"]*\"|[\w.]+)", " ".join(re.findall(r"make [a-z-]+(.*)", text)))
    assert {variable for variable, _ in settings} <= set(known)
    assert {value for variable, value in settings if variable == "PROFILE"} <= set(PROFILES)
    assert {value for variable, value in settings if variable == "NOTEBOOK"} <= {*run.notebooks(), "22_my_chapter"}
    assert set(re.findall(r"profile `(\w+)`", text)) <= set(PROFILES)
    for link in re.findall(r"\]\((?!http)([^)#]+)", text) + re.findall(r'src="(?!http)([^"]+)', text):
        assert (ROOT / link).exists(), link


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith("workbook.tools.")])
def test_every_command_says_how_it_is_used(name, monkeypatch, capsys):
    module = importlib.import_module(name)
    if "argparse" not in vars(module):
        pytest.skip("no command with options")
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit) as stopped:
        module.main()
    assert stopped.value.code == 0
    assert "usage:" in capsys.readouterr().out


def test_what_is_committed_is_checked_as_make_lint_checks_it():
    """One hook, which calls make; the commands stand in the Makefile alone."""
    text = (ROOT / ".pre-commit-config.yaml").read_text("utf-8")
    assert re.findall(r"entry: (.*)", text) == ["make lint"]
    assert "pass_filenames: false" in text


@pytest.mark.parametrize("file", ["README.md", "CONTRIBUTING.md", "Makefile", "Snakefile", ".ci/run"])
def test_python_modules_that_are_run_exist_and_know_their_options(file):
    text = (ROOT / file).read_text("utf-8")
    for module, options in re.findall(r"python -m ((?:lib|workbook|benchmarks)\.[\w.]+)([^\n`]*)", text):
        path = ROOT / f"{module.replace('.', '/')}.py"
        assert path.exists(), module
        assert '__name__ == "__main__"' in path.read_text("utf-8"), module
        for option in re.findall(r"(?<!\S)--[a-z]+", options):
            assert f'"{option}"' in path.read_text("utf-8"), f"{module} {option}"


def test_readme_code_runs_as_printed(tmp_path):
    """Each block is a whole cell: in a new notebook, with nothing run before it."""
    cells = re.findall(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text("utf-8"), flags=re.M | re.S)
    assert cells
    places = {"WORKBOOK_PROFILE": "smoke", "WORKBOOK_OUT": str(tmp_path), "WORKBOOK_CACHE": str(tmp_path)}
    environment = os.environ | places | {"MPLBACKEND": "agg", "PYTHONPATH": str(ROOT)}
    shell = "from IPython.core.interactiveshell import InteractiveShell; import sys; "
    command = [sys.executable, "-c", shell + "InteractiveShell.instance().run_cell(sys.stdin.read()).raise_error()"]
    for cell in cells:
        done = subprocess.run(command, input=cell, cwd=tmp_path, env=environment, capture_output=True, encoding="utf-8")
        assert done.returncode == 0, done.stderr
    assert list(tmp_path.glob("beta-vae-*.safetensors"))


@pytest.mark.parametrize("file", ["README.md", "CONTRIBUTING.md"])
def test_code_that_a_text_names_exists(file):
    text = (ROOT / file).read_text("utf-8")
    for name in re.findall(r"`((?:lib|workbook)/[\w./]+)`", text):
        assert (ROOT / name).exists(), name
    for name in re.findall(r"`((?:lib|workbook)\.\w[\w.]*)`", text):
        resolve_name(name)


def test_environment_check_says_what_is_there(capsys):
    assert check.main() == 0
    lines = capsys.readouterr().out.splitlines()
    said = {line[:15].strip(): line[16:] for line in lines}
    assert said.keys() >= {"python", "torch", "torchvision", "device", "processor", "threads", "cores", "data"}
    assert said["torch"] == check.locked()["torch"]
    assert said["threads"] == "1"
    assert said["data"] == "MNIST verified in data/mnist/"
    assert lines[-1] == "everything is as tested"


def test_environment_check_names_what_is_wrong_and_how_to_put_it_right(monkeypatch, capsys):
    from lib.data.files import DataError

    def no_data(root, store):
        raise DataError("could not get train-images. To help yourself, copy the files")

    def no_torchvision():
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(check, "locked", lambda: {"numpy": "0.1", "no-such-package": "1.0"})
    monkeypatch.setattr("lib.data.files.fetch", no_data)
    monkeypatch.setattr("lib.torchvision_fix.apply", no_torchvision)
    monkeypatch.setattr(sys, "prefix", "/elsewhere")
    assert check.main() == 1
    output = capsys.readouterr().out
    assert "but 0.1 was tested. To install 0.1: rm .venv/.ready && make env" in output
    assert "no-such-package is not installed. To install it: rm .venv/.ready && make env" in output
    assert "cannot be imported (operator torchvision::nms does not exist). To install them again: rm" in output
    assert "PROBLEM         could not get train-images. To help yourself, copy the files" in output
    assert output.splitlines()[-1].startswith("4 problems")


def test_a_gpu_that_cannot_compute_is_a_problem_with_what_to_do(monkeypatch, capsys):
    import torch

    monkeypatch.setattr(torch, "ones", lambda *_, device: torch.zeros(8, 8))
    assert check.gpu() == []
    assert "GPU             computes. To compute without it: export CUDA_VISIBLE_DEVICES=" in capsys.readouterr().out

    def broken(*_, device):
        raise RuntimeError("CUDA error: no kernel image is available\nCompile with …")

    monkeypatch.setattr(torch, "ones", broken)
    (problem,) = check.gpu()
    assert problem.startswith("the GPU cannot compute a product (CUDA error: no kernel image is available). To")


@pytest.mark.parametrize(
    ("version", "system", "machine", "said"),
    [
        ((3, 11, 5), "Linux", "x86_64", ""),
        ((3, 14, 0), "Darwin", "arm64", ""),
        (
            (3, 11, 2),
            "Linux",
            "x86_64",
            "this is Python 3.11.2, and the packages of requirements.lock are published for 3.11.5 to 3.14.",
        ),
        ((3, 15, 0), "Linux", "aarch64", "make env PYTHON=python3.13"),
        (
            (3, 13, 1),
            "Darwin",
            "x86_64",
            "no longer published for Intel Macs. A Linux container works there: docker run",
        ),
    ],
)
def test_what_the_lock_cannot_serve_is_refused_before_anything_is_installed(version, system, machine, said):
    told = supported.refusal(version, system, machine)
    assert said in told
    assert bool(said) == bool(told)


def test_make_asks_before_it_installs():
    rule = (ROOT / "Makefile").read_text("utf-8").split("$(READY): ")[1]
    assert rule.index("workbook/tools/supported.py") < rule.index("-m venv")


def test_environment_check_knows_conda_and_bad_settings(monkeypatch, capsys, tmp_path):
    (tmp_path / "conda-meta").mkdir()
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(check, "locked", lambda: {"no-such-package": "1.0"})
    monkeypatch.setenv("WORKBOOK_THREADS", "many")
    assert check.main() == 1
    output = capsys.readouterr().out
    assert "no-such-package is not installed. To install it: conda env update -f environment.yml" in output
    assert "WORKBOOK_THREADS must be a whole number, 1 or more, got 'many'. To use one thread: unset" in output


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_is_valid_to_the_editor_that_saves_it(path):
    """JupyterLab checks what nbformat passes over, such as a dot in the id of a cell."""
    content = json.loads(path.read_text("utf-8"))
    nbformat.validate(content)
    assert [cell["id"] for cell in content["cells"] if not re.fullmatch("[a-zA-Z0-9_-]{1,64}", cell["id"])] == []


AS_INSTALLED = ["make", "-o", ".venv/.ready"]  # a test never installs anything


def test_make_lab_has_the_profile_that_it_is_given():
    for given, profile in (([], "full"), (["PROFILE=smoke"], "smoke")):
        done = subprocess.run([*AS_INSTALLED, "-n", "lab", *given], cwd=ROOT, capture_output=True, encoding="utf-8")
        assert f"WORKBOOK_PROFILE={profile} .venv/bin/jupyter lab" in done.stdout
        assert "pip install" not in done.stdout


@pytest.mark.skipif(not (ROOT / ".venv/.ready").exists(), reason="not installed by make")
def test_make_lab_serves_the_notebooks(tmp_path):
    environment = {**os.environ, "JUPYTER_RUNTIME_DIR": str(tmp_path), "BROWSER": "true"}
    process = subprocess.Popen(
        [*AS_INSTALLED, "lab"], cwd=ROOT, env=environment, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        deadline = time.monotonic() + 180
        while not (servers := list(tmp_path.glob("jpserver-*.json"))):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.3)
        server = json.loads(servers[0].read_text("utf-8"))
        url = f"{server['url']}api/contents/13_cnn.ipynb?content=0&token={server['token']}"
        for attempt in range(50):
            try:
                assert json.loads(urllib.request.urlopen(url, timeout=5).read())["name"] == "13_cnn.ipynb"
                break
            except urllib.error.URLError:
                assert attempt < 49
                time.sleep(0.3)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
