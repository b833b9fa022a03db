"""The parts agree with each other: dependencies, notebooks, results, README."""

import ast
import json
import os
import re
import signal
import subprocess
import time
import tomllib
import urllib.error
import urllib.request

import pytest

from lib import check, runner
from lib import notebooks as tool
from lib.paths import FIGURES, NOTEBOOKS, ROOT
from lib.results import items_of, load_results, reports

ALL = sorted(NOTEBOOKS.glob("*.ipynb"))


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def version(text):
    return tuple(int(n) for n in re.findall(r"\d+", text)[:3])


def test_three_files_name_the_same_dependencies_at_the_same_versions():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    bounds = dict(
        re.fullmatch(r"([A-Za-z0-9._-]+)>=([\d.]+)", line).groups()
        for line in project["dependencies"] + project["optional-dependencies"]["dev"]
    )
    conda = dict(re.findall(r"^ +- ([A-Za-z0-9._-]+)==(\S+)$", (ROOT / "environment.yml").read_text(), flags=re.M))
    lock = {normal(name): pinned for name, pinned in check.locked().items()}
    assert conda.keys() == bounds.keys()
    for name, pinned in conda.items():
        assert lock[normal(name)] == pinned, name
        assert version(pinned) >= version(bounds[name]), name


def test_lock_is_exact_and_free_of_machines():
    lines = [x for x in (ROOT / "requirements.lock").read_text().splitlines() if not x.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[\w.]+", line) for line in lines)


def test_every_item_belongs_to_a_planned_notebook():
    assert len({item["id"] for item in reports()["item"]}) == len(reports()["item"])
    for path in ALL:
        assert path.stem == runner.SCOREBOARD or items_of(path.stem), path.name


def test_there_are_notebooks():
    assert {p.stem for p in ALL} >= {"01_feedforward", "13_cnn", "21_scoreboard"}
    assert [p.stem for p in ALL] == runner.notebooks(), "every notebook is numbered and run"


@pytest.mark.parametrize("path", ALL, ids=lambda p: p.stem)
class TestNotebook:
    def test_is_committed_clean_and_has_outputs_to_compare(self, path):
        assert tool.faults(path) == []

    def test_begins_with_a_title_and_then_its_parameters(self, path):
        cells = json.loads(path.read_text())["cells"]
        assert "".join(cells[0]["source"]).startswith(f"# {path.stem[:2]} · ")
        parameters = "".join(cells[1]["source"])
        values = {t.targets[0].id: ast.literal_eval(t.value) for t in ast.parse(parameters).body}
        assert values == {"profile": "auto", "seed": 0}

    def test_last_check_covers_all_items(self, path):
        if path.stem != runner.SCOREBOARD:
            last = json.loads(path.read_text())["cells"][-1]
            n = len(items_of(path.stem))
            assert "".join(last["outputs"][0]["text"]) == f"{n} of {n} items recorded\n"


def test_no_function_is_defined_twice():
    where = {}
    for path in [*(ROOT / "lib").rglob("*.py"), *ALL]:
        source = path.read_text()
        if path.suffix == ".ipynb":
            code = (c for c in json.loads(source)["cells"] if c["cell_type"] == "code")
            source = "\n".join("".join(cell["source"]) for cell in code)
        for node in ast.parse(source).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name not in ("main",):
                where.setdefault(node.name, []).append(path.name)
    assert {name: paths for name, paths in where.items() if len(paths) > 1} == {}


def test_public_functions_have_docstrings_and_type_hints():
    for path in (ROOT / "lib").rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                assert ast.get_docstring(node), f"{path.name}: {node.name}"
                assert node.returns is not None, f"{path.name}: {node.name}"
                assert all(a.annotation for a in node.args.args), f"{path.name}: {node.name}"


def test_clean_strips_images_metadata_and_unchecked_outputs():
    stream = {"output_type": "stream", "name": "stdout", "text": ["3\n"]}
    picture = {"output_type": "display_data", "data": {"image/png": "…"}, "metadata": {}}
    cells = [
        {"cell_type": "code", "id": str(i), "source": "x\n", "outputs": [stream, picture], "execution_count": 9,
         "metadata": {"tags": tags, "papermill": {"duration": 1}}}
        for i, tags in enumerate(([], ["check"]))
    ]  # fmt: skip
    cleaned = tool.clean({"cells": cells, "metadata": {"papermill": {}, "kernelspec": {"name": "mine"}}})
    assert [c["outputs"] for c in cleaned["cells"]] == [[], [stream]]
    assert [c["execution_count"] for c in cleaned["cells"]] == [None, 1]
    assert "papermill" not in tool.dump(cleaned)
    assert tool.clean(cleaned) == cleaned


def test_faults_are_found(tmp_path):
    source = json.loads(ALL[0].read_text())
    for cell in source["cells"]:
        if "check" in cell["metadata"].get("tags", []):
            cell["outputs"] = []
    path = tmp_path / "x.ipynb"
    path.write_text(tool.dump(source))
    assert any("nbval would compare nothing" in fault for fault in tool.faults(path))
    source["cells"][0]["source"] = ["see /home/me/data"]
    path.write_text(tool.dump(source))
    assert any("path of a machine" in fault for fault in tool.faults(path))


def test_committed_gallery_is_complete():
    for path in ALL:
        folder = FIGURES / path.stem
        found = load_results(folder)
        assert found is not None, f"{folder.name} has no results: make figures"
        assert (found["profile"], found["seed"]) == ("standard", 0)
        figures = {figure["file"] for figure in found["figures"].values()}
        assert {p.name for p in folder.glob("*.png")} == figures
        assert all(len(figure["alt"]) >= 20 for figure in found["figures"].values())
        assert set(items_of(path.stem)) <= found["items"].keys() | found["figures"].keys()


def test_readme_commands_exist():
    text = (ROOT / "README.md").read_text()
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.M))
    used = set(re.findall(r"(?:^|`)make ([a-z-]+)", text, flags=re.M))
    assert {"figures", "test", "lab", "bench", "check"} <= used <= targets
    for variable in re.findall(r"make figures.*?\b([A-Z]+)=", text):
        assert variable in (ROOT / "Makefile").read_text()
    for link in re.findall(r"\]\((?!http)([^)#]+)", text) + re.findall(r'src="(?!http)([^"]+)', text):
        assert (ROOT / link).exists(), link


def test_environment_check_names_what_is_wrong_and_how_to_mend_it(monkeypatch, capsys):
    assert check.main() == 0
    assert "everything is as tested" in capsys.readouterr().out
    monkeypatch.setattr(check, "locked", lambda: {"numpy": "0.1", "no-such-package": "1.0"})
    assert check.main() == 1
    output = capsys.readouterr().out
    assert "the tested version is 0.1: rm .venv/.ready && make env" in output
    assert "no-such-package is not installed: rm .venv/.ready && make env" in output


def test_make_lab_serves_the_notebooks(tmp_path):
    environment = {**os.environ, "JUPYTER_RUNTIME_DIR": str(tmp_path), "BROWSER": "true"}
    process = subprocess.Popen(
        ["make", "lab"], cwd=ROOT, env=environment, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        deadline = time.monotonic() + 60
        while not (servers := list(tmp_path.glob("jpserver-*.json"))):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.3)
        server = json.loads(servers[0].read_text())
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


def test_readme_python_modules_answer():
    for module in re.findall(r"python -m (lib\.\w+)", (ROOT / "README.md").read_text()):
        assert (ROOT / f"{module.replace('.', '/')}.py").exists(), module
