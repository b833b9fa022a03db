"""Every page of the built book in headless Chromium: ``make test-browser``. Skipped where something is missing."""

import pytest

from workbook.tools import browser, site

pytestmark = pytest.mark.browser
PAGES = sorted(path for path in site.BOOK.rglob("*.html") if "_static" not in path.parts)
EXPLORERS = [f"explore/{page}" for page in site.EXPLORERS]
LOOK = """() => ({
  "images that did not load": [...document.images].filter(i => !i.complete || !i.naturalWidth).map(i => i.src),
  "formulas that were not drawn":
    document.querySelectorAll(".math").length - document.querySelectorAll("mjx-container").length,
  "equations without a number":
    document.querySelectorAll("div.math").length - document.querySelectorAll(".eqno").length,
  "formulas with errors": document.querySelectorAll("[data-mml-node=merror]").length,
  "pixels wider than the window": document.documentElement.scrollWidth - innerWidth,
})"""


def serious(page, contrast):
    """What axe-core calls serious or worse, each with an example; contrast takes seconds on a page with much code."""
    page.evaluate(site.from_npm(*browser.AXE).read_text("utf-8"))
    rules = {"color-contrast": {"enabled": contrast}}
    found = page.evaluate("rules => axe.run({ preload: false, resultTypes: ['violations'], rules })", rules)[
        "violations"
    ]
    return {each["id"]: each["nodes"][0]["html"] for each in found if each["impact"] in ("serious", "critical")}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(site.BOOK).as_posix())
def test_a_page_is_whole_at_both_widths(path, opened):
    page = opened(path.as_uri())
    assert {what: found for what, found in page.evaluate(LOOK).items() if found} == {}
    page.set_viewport_size({"width": 390, "height": 844})
    assert {what: found for what, found in page.evaluate(LOOK).items() if found} == {}


@pytest.mark.parametrize("name", ["index", "errata", "scoreboard-adl2024", "search", *EXPLORERS])
def test_a_page_is_accessible_in_light_and_dark(name, opened):
    page = opened(f"{name}.html")
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        page.wait_for_timeout(1000)  # colours change gradually
        assert serious(page, contrast=True) == {}


SOME = ["04_vae_latent20/README", "15_create_what_you_want/README", "gallery", "glossary", "scoreboard"]
SOME += ["scoreboard-linma2472", "api/lib.training.gan"]


@pytest.mark.parametrize("name", [*SOME, *EXPLORERS])
def test_a_page_is_accessible_on_a_phone(name, opened):
    page = opened(f"{name}.html")
    page.set_viewport_size({"width": 390, "height": 844})
    assert serious(page, contrast=False) == {}


def test_search_finds_a_word(opened):
    page = opened((site.BOOK / "search.html").as_uri() + "?q=reparameterisation")
    page.wait_for_selector("#search-results li a")
    links = page.eval_on_selector_all("#search-results li a", "all => all.map(a => a.getAttribute('href'))")
    assert any("glossary" in link for link in links)


def test_a_report_page_names_the_figures_of_the_book(opened):
    page = opened("scoreboard-cpsc453.html")
    links = page.eval_on_selector_all(
        "a", "all => all.filter(a => /^Fig. [0-9]+$/.test(a.textContent)).map(a => a.href)"
    )
    assert len(links) > 10
    assert opened(links[0]).evaluate("document.querySelector(':target')?.tagName") == "FIGURE"


def test_links_of_the_gallery_land_on_their_figures(opened):
    page = opened("gallery.html")
    links = page.eval_on_selector_all("a.sd-stretched-link", "all => all.map(a => a.href)")
    assert len(links) > 250
    for link in links[:: len(links) // 5]:
        landed = opened(link)
        assert landed.evaluate("document.querySelector(':target')?.tagName") == "FIGURE", link
