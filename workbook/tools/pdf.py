"""The book as one PDF: ``make pdf`` lets Sphinx put all chapters on one page, and headless Chromium prints it."""

import os
import subprocess
import sys

from workbook.paths import BUILD, shown
from workbook.tools import browser, site

ONE_PAGE, PDF = site.SITE / "single", BUILD / "book.pdf"
OPENED = """addEventListener("DOMContentLoaded", () => {  // before formulas are drawn, which need to know their width
  for (const fold of document.querySelectorAll("details"))
    if (fold.querySelector("summary").textContent.startsWith("Code of the figure")) fold.remove();
    else fold.open = true;
  for (const box of document.querySelectorAll(".explorer"))
    box.replaceWith("This page computes in the HTML book: make site.");
})"""


def main() -> int:
    """Command line."""
    if problem := browser.missing():
        raise SystemExit(problem)
    command = [site.sphinx(), "-m", "sphinx", "-b", "singlehtml", "-q", "-j", "auto", site.SOURCE, ONE_PAGE]
    if built := subprocess.run(command, env=os.environ | {"PYTHONPATH": ""}).returncode:
        return built
    with browser.browser() as chromium:
        page = chromium.new_page(color_scheme="light")
        page.set_default_timeout(0)
        page.add_init_script(OPENED)
        page.goto((ONE_PAGE / "index.html").as_uri())
        page.evaluate("() => window.MathJax?.startup?.promise")
        margin = {"top": "18mm", "bottom": "18mm", "left": "15mm", "right": "15mm"}
        page.pdf(path=PDF, format="A4", margin=margin, outline=True, tagged=True, scale=0.8)
    print(f"{PDF.stat().st_size / 1e6:.0f} MB: {shown(PDF)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
