"""A headless browser that looks at the book: Debian's Chromium, driven by Playwright.

Both are no part of the workbook's environment. ``python -m workbook.tools.browser`` installs Playwright into
``build/browser`` and fetches axe-core, which knows the rules of accessible pages. Chromium comes from the system.
"""

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from workbook.paths import BUILD
from workbook.tools.site import from_npm

PLAYWRIGHT = "playwright==1.65.2"
AXE = ("axe-core@4.14.1", "package/axe.min.js", "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c")
PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
PACKAGES = BUILD / "browser" / PLAYWRIGHT


def missing() -> str:
    """What is missing, and how to get it; empty if a browser can be started."""
    if not chromium():
        return "Chromium is not installed (Debian: apt-get install chromium-headless-shell)"
    return "" if PACKAGES.is_dir() else "Playwright is not installed: make test-browser"


def chromium() -> str | None:
    """The program, if the system has one."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


@contextmanager
def browser() -> Iterator[Any]:
    """Playwright's browser. Raises SystemExit if something is missing."""
    if problem := missing():
        raise SystemExit(problem)
    if not importlib.util.find_spec("playwright"):
        sys.path.append(str(PACKAGES))
    from playwright.sync_api import sync_playwright  # pyrefly: ignore

    with sync_playwright() as playwright:
        # as root, the only user of a container, Chromium refuses its sandbox; it opens nothing but our own files
        yield playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])


def install() -> None:
    """Install Playwright beside the workbook, and fetch axe-core."""
    if not PACKAGES.is_dir():
        part = PACKAGES.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        command = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        subprocess.run([*command, "--target", part, PLAYWRIGHT], check=True)
        part.replace(PACKAGES)
    from_npm(*AXE)


if __name__ == "__main__":
    install()
    print(missing() or f"{PLAYWRIGHT} and {chromium()}")
