"""A chapter in JupyterLab, as a student uses it: opened, run whole, and a slider moved."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from workbook.paths import NOTEBOOKS

pytestmark = pytest.mark.browser
CHAPTER = "13_cnn.ipynb"
ALL_RUN = "() => [...document.querySelectorAll('.jp-InputPrompt')].every(p => !/\\[[ *]\\]/.test(p.textContent))"
PICTURE = "handle => handle.closest('.widget-vbox').querySelector('img')?.src"
HANDLE = "document.querySelector('.widget-slider .noUi-handle')"


@pytest.fixture
def lab(tmp_path):
    """JupyterLab on a copy of a chapter: (its address, its token). All cells are drawn at once, for the test to see."""
    shutil.copy(NOTEBOOKS / CHAPTER, tmp_path)
    settings = tmp_path / "settings/@jupyterlab/notebook-extension"
    settings.mkdir(parents=True)
    (settings / "tracker.jupyterlab-settings").write_text('{"windowingMode": "none"}', "utf-8")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WORKBOOK_")}
    environment |= {"WORKBOOK_HOME": str(tmp_path / "home"), "JUPYTER_RUNTIME_DIR": str(tmp_path / "run")}
    environment |= {"JUPYTERLAB_SETTINGS_DIR": str(tmp_path / "settings")}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--expose-app-in-browser"]
    command += [f"--ServerApp.root_dir={tmp_path}", "--ServerApp.port_retries=50"]
    log = (tmp_path / "log").open("w", encoding="utf-8")
    server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        until = time.monotonic() + 60
        while not (found := list((tmp_path / "run").glob("jpserver-*.json"))):
            assert server.poll() is None, (tmp_path / "log").read_text("utf-8")
            assert time.monotonic() < until
            time.sleep(0.2)
        about = json.loads(found[0].read_text("utf-8"))
        yield about["url"], about["token"]
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def test_a_chapter_runs_and_its_slider_changes_the_picture(chromium, lab):
    address, token = lab
    page = chromium.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(300_000)
    page.goto(f"{address}lab/tree/{CHAPTER}?token={token}&reset")
    page.wait_for_selector(".jp-Notebook .jp-CodeCell .jp-InputPrompt")
    page.wait_for_function("() => /\\| Idle/.test(document.querySelector('#jp-main-statusbar').textContent)")
    begin = time.monotonic()
    page.evaluate("() => jupyterapp.commands.execute('notebook:run-all-cells')")
    page.wait_for_function(ALL_RUN)
    print(f"all cells of {CHAPTER} ran in {time.monotonic() - begin:.0f} s")
    assert (
        page.locator(".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.stderr'] .ansi-red-fg").count() == 0
    )
    handle = page.locator(".widget-slider .noUi-handle").first
    handle.scroll_into_view_if_needed()
    handle.focus()
    seen = None  # until it is moved, the slider stands above the figure of the page
    for _ in range(2):
        page.keyboard.press("ArrowRight")
        page.wait_for_function(f"seen => ![seen, null, undefined].includes(({PICTURE})({HANDLE}))", arg=seen)
        seen = handle.evaluate(PICTURE)
