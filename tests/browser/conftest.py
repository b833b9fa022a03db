"""A browser, and pages of the built book in it."""

import pytest

from workbook.tools import browser, site


@pytest.fixture(scope="session")
def chromium():
    if problem := browser.missing():
        pytest.skip(problem)
    if not (site.BOOK / "index.html").exists():
        pytest.skip("the book is not built: make site")
    with browser.browser() as started:
        yield started


@pytest.fixture
def opened(chromium):
    """A function that opens a page; no page may print an error or ask for anything that is not on the disk."""
    wrong, context = [], chromium.new_context(viewport={"width": 1280, "height": 900})
    context.on("request", lambda asked: asked.url.startswith(("file:", "data:", "blob:")) or wrong.append(asked.url))
    context.on("console", lambda message: message.type == "error" and wrong.append(message.text))
    context.on("weberror", lambda failed: wrong.append(str(failed.error)))

    def open_page(name):
        page = context.new_page()
        page.goto(name if name.startswith("file:") else (site.BOOK / name).as_uri())
        page.evaluate("() => window.MathJax?.startup?.promise")  # all formulas are drawn
        return page

    yield open_page
    context.close()
    assert not wrong
