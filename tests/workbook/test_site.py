"""The HTML book: how its pages are prepared. ``make site`` builds it, and fails at a warning or a missing figure."""

import json
import re
import tarfile

import pytest

from workbook.paths import FIGURES, ROOT
from workbook.tools import site


def test_formulas_become_those_of_sphinx_and_code_stays():
    text = "The loss $`-\\log x`$:\n\n```math\na\\\\b\n```\n\n> ```math\n> c\n> ```\n\n```python\nx = '$`a`$'\n```\n"
    made = site.converted(text, "05_gan")
    assert "The loss $-\\log x$:" in made
    assert "$$\na\\\\b\n$$ (eq-" in made, "only an equation with a name gets a number"
    assert "> $$\n> c\n> $$ (eq-" in made
    assert "x = '$`a`$'" in made


def test_a_figure_gets_a_number_a_name_its_caption_and_its_alt_text():
    made = site.converted("![Two \\[nested\\] curves](extra-a_b.c.png)\n\n*What $`x`$ does.*\n", "05_gan")
    assert made.splitlines() == [
        "```{figure} extra-a_b.c.png",
        ":name: 05-gan-extra-a-b-c",
        ":alt: Two [nested] curves",
        "",
        "What $x$ does.",
        "```",
    ]


@pytest.mark.parametrize(
    ("link", "made"),
    [
        ("[04](../04_vae_latent20/README.md#a)", "[04](../04_vae_latent20/README.md#a)"),
        ("[notebook](../../notebooks/05_gan.ipynb)", "{download}`notebook <../notebooks/05_gan.ipynb>`"),
        ("[`lib/training/gan.py`](../../lib/training/gan.py)", "[`lib/training/gan.py`](../api/lib.training.gan.md)"),
        ("[errors](errata.md)", "[errors](errata.md)"),
        ("[how](../../CONTRIBUTING.md)", "how"),
        ("[paper](https://example.org/a)", "[paper](https://example.org/a)"),
    ],
)
def test_links_stay_inside_the_book(link, made):
    assert site.converted(f"See {link}.", "05_gan") == f"See {made}."


def test_a_thumbnail_of_the_scoreboard_keeps_its_alt_text():
    made = site.converted('| a <img src="05_gan/x.png" width="120" alt="&lt;one&gt; [two]"> |')
    assert made == "| a ![<one> \\[two\\]](thumbnails/05_gan/x.png){width=120px} {numref}`05-gan-x` |"


def test_every_captioned_figure_of_the_gallery_becomes_a_figure_with_a_name_of_its_own():
    names = []
    for page in sorted(FIGURES.glob("*/README.md")):
        text = site.converted(page.read_text("utf-8"), page.parent.name)
        names += re.findall(r"^:name: (\S+)$", text, re.MULTILINE)
        outside = re.sub(r"^(```+).*?^\1$", "", text, flags=re.MULTILINE | re.DOTALL)
        assert not re.search(r"^!\[", outside, re.MULTILINE), page
        assert "$`" not in outside, page
    assert len(names) == len(set(names)) > 200


def test_each_solution_follows_its_exercise_in_a_fold_and_nothing_is_lost():
    for page in sorted(FIGURES.glob("*/README.md")):
        before = page.read_text("utf-8")
        text = site.solved(before)
        numbers = re.findall(r"^\*\*Exercise (\d\d\.\d+)\*\*", text, re.MULTILINE)
        places = re.findall(r"^\*\*Exercise (\d\d\.\d+)|^<summary>Solution (\d\d\.\d+)", text, re.MULTILINE)
        assert places == [pair for number in numbers for pair in ((number, ""), ("", number))], page
        assert sorted(filter(None, text.splitlines())) == sorted(filter(None, before.splitlines())), page


def test_chapters_name_their_explorers_and_every_explorer_is_named():
    for page, (_, chapters) in site.EXPLORERS.items():
        assert (ROOT / f"docs/site/explore/{page}.md").exists()
        for folder in chapters:
            text = site.chapter((FIGURES / folder / "README.md").read_text("utf-8"), folder)
            head = text.split("\n\n")[1]
            assert f"](../explore/{page}.md)" in head
            assert head.endswith(".md)*")


def test_the_reference_has_every_public_function_with_its_docstring():
    page = site.reference(next(file for file in site.modules() if file.name == "gan.py" and "training" in str(file)))
    assert "# lib.training.gan" in page
    assert "def train_gan(build_generator: Callable[[], nn.Module]" in page
    assert "One step of the discriminator, then one of the generator against it" in page
    assert "## _" not in page


def test_another_mathjax_than_the_known_one_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(site, "SITE", tmp_path)
    (tmp_path / "tex-svg.js").write_text("alert(1)", "utf-8")
    with tarfile.open(tmp_path / "mathjax.tgz", "w:gz") as archive:
        archive.add(tmp_path / "tex-svg.js", site.MATHJAX[1])
    packed = type("Done", (), {"stdout": b"mathjax.tgz\n"})
    monkeypatch.setattr(site.subprocess, "run", lambda *_, **__: packed)
    with pytest.raises(SystemExit, match="is not the file that we know"):
        site.from_npm(*site.MATHJAX)
    assert not list(tmp_path.glob("*@*"))
    (tmp_path / f"{site.MATHJAX[0]}.js").write_text("alert(1)", "utf-8")
    with pytest.raises(SystemExit, match="is not the file that we know"):
        site.from_npm(*site.MATHJAX)


@pytest.mark.parametrize(
    ("page", "complaint"),
    [
        ('<figure></figure><img alt="a" src="b.png">', ""),
        ("", "0 of 1 figures"),
        ('<figure></figure><img src="b.png">', "without alt text"),
        ('<figure></figure><script src="https://a.b/c.js"></script>', "would fetch something"),
        ('<figure></figure><link href="//fonts.b/c.css">', "would fetch something"),
    ],
)
def test_a_book_that_lacks_something_or_would_fetch_something_is_refused(page, complaint, tmp_path, monkeypatch):
    monkeypatch.setattr(site, "BOOK", tmp_path)
    (tmp_path / "index.html").write_text(page, "utf-8")
    if not complaint:
        assert site.checked(1, 1).startswith("1 pages with 1 figures")
        return
    with pytest.raises(SystemExit, match=complaint):
        site.checked(1, 1)


def test_every_term_of_the_glossary_leads_to_a_chapter():
    text = (ROOT / "docs/site/glossary.md").read_text("utf-8")
    links = re.findall(r"\]\(([^)]+)/README\.md\)", text)
    assert {link for link in links if not (FIGURES / link).is_dir()} == set()
    terms = re.findall(r"^\*\*([^*]+)\.\*\*", text, re.MULTILINE)
    assert terms == sorted(terms, key=lambda term: term.lower().replace("β", "beta")), "in the order of the alphabet"


def test_the_gallery_links_each_figure_to_its_place_and_its_data():
    name = "05_gan"
    page = site.gallery([name])
    drawn = json.loads((FIGURES / name / "results.json").read_text("utf-8"))["figures"]
    assert page.count(":link-type: ref") >= len(drawn)
    assert "{download}`the numbers behind them <05_gan/results.json>`" in page
