"""The HTML book: ``make site`` builds it from the chapters as they ran, and it opens from the disk by a click.

The pages in ``figures/`` are prepared for Sphinx in ``build/site/source``: formulas and captioned figures in its own
syntax, links to code as links to the reference, and a gallery. (myst-nb is not needed: these pages have their alt text,
captions and folds already.) Sphinx has an environment of its own, so that nobody else installs it. A warning of Sphinx,
a missing page or figure, or anything that would be fetched fails the build.
"""

import ast
import hashlib
import html
import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
from pathlib import Path

from PIL.Image import open as read_image

from lib.atomic import write_atomic
from workbook import scoreboard
from workbook.paths import BUILD, FIGURES, NOTEBOOKS, ROOT
from workbook.records import load_results, reports
from workbook.tools import explorers

SITE = BUILD / "site"
SOURCE, BOOK, ENVIRONMENT = SITE / "source", SITE / "html", SITE / "env"
SETTINGS = ROOT / "docs" / "site"
# npm package, file in it, its sha256
MATHJAX = (
    "mathjax@3.2.2",
    "package/es5/tex-svg.js",
    "d4295dc33744836935c1399feece5159577b34c5c8ffb9f1c6324cd82e03a882",
)
THUMBNAIL = 320  # pixels
EXPLORERS = {  # page of docs/site/explore: what chapters and the landing page say of it
    "plane": ("walk through a plane of digits", ("11_vae_latent2",)),
    "digit": ("draw a digit and see how it is read", ("01_feedforward", "13_cnn")),
    "code": ("encode, decode and denoise a drawing", ("16_conv_autoencoder", "18_denoising_autoencoder")),
    "walk": ("walk between the digits of a GAN", ("12_gan_convolutional", "14_gan_latent_space")),
    "message": ("type a message", ("15_create_what_you_want",)),
    "spots": ("train the toy GAN in the page", ("05_gan",)),
    "training": ("scrub through a training", ("05_gan", "16_conv_autoencoder")),
}
FENCE = re.compile(r"^(?P<before>[> ]*)(?P<fence>```+)(?P<kind>\w*)\n(?P<body>.*?)^(?P=before)(?P=fence)$", re.M | re.S)
FIGURE = re.compile(r"^!\[(?P<alt>(?:\\.|[^\]\\])*)\]\((?P<file>[^)\s]+)\)\n\n\*(?P<caption>[^\n]+)\*$", re.M)
SOLUTION = re.compile(
    r"^<details>\n<summary>Solution (?P<number>\d\d\.\d+)</summary>\n.*?^</details>\n\n", re.MULTILINE | re.DOTALL
)
INLINE = re.compile(r"\$`([^`\n]+)`\$")
LINK = re.compile(r"(?<!!)\[(?P<text>(?:`[^`]*`|[^\]\[])*)\]\((?P<target>[^)\s]+)\)")
THUMB = re.compile(r'<img src="(?P<file>[^"]+)" width="120" alt="(?P<alt>[^"]*)">')
FETCHED = re.compile(r"<(?:script|img|iframe|source)\b[^>]*\bsrc=\"(?:https?:)?//|<link\b[^>]*\bhref=\"(?:https?:)?//")


def converted(markdown: str, folder: str = "") -> str:
    """A page of ``figures/`` for Sphinx; ``folder`` is that of its chapter, and empty for the scoreboard's pages."""
    parts, end = [], 0
    for number, block in enumerate(FENCE.finditer(markdown), 1):
        parts += [_prose(markdown[end : block.start()], folder), _block(block, f"eq-{folder}-{number}")]
        end = block.end()
    return "".join([*parts, _prose(markdown[end:], folder)])


def chapter(markdown: str, folder: str) -> str:
    """A chapter for Sphinx: its explorers are named at its head, and each solution follows its exercise."""
    title, head, rest = solved(markdown).split("\n\n", 2)
    played = [f"[{what}](../explore/{page}.md)" for page, (what, chapters) in EXPLORERS.items() if folder in chapters]
    head = head.removesuffix("*") + " · " + " · ".join(played) + "*" if played else head
    return converted("\n\n".join([title, head, rest]), folder)


def solved(markdown: str) -> str:
    """A chapter in which the fold with the solution of an exercise follows it."""
    folds = {found["number"]: found[0] for found in SOLUTION.finditer(markdown)}
    for number, fold in folds.items():
        exercise = re.search(rf"^\*\*Exercise {re.escape(number)}\*\*.*?(?=\n\n)", markdown, re.M | re.S)
        if exercise:
            markdown = markdown.replace(fold, "")
            markdown = markdown.replace(exercise[0], f"{exercise[0]}\n\n{fold.rstrip()}")
    return markdown


def _block(block: re.Match, name: str) -> str:
    """A formula of its own lines as an equation, which its name gives a number; other blocks as they are."""
    if block["kind"] != "math":
        return block[0]
    return f"{block['before']}$$\n{block['body']}{block['before']}$$ ({name})"


def _prose(text: str, folder: str) -> str:
    def figure(found: re.Match) -> str:
        alt = re.sub(r"\\(.)", r"\1", found["alt"])
        options = f":name: {label(folder, found['file'])}\n:alt: {alt}"
        return f"```{{figure}} {found['file']}\n{options}\n\n{found['caption']}\n```"

    def thumbnail(found: re.Match) -> str:
        alt = re.sub(r"([\[\]\\])", r"\\\1", html.unescape(found["alt"]))
        where, _, file = found["file"].partition("/")
        return f"![{alt}]({small(found['file'])}){{width=120px}} {{numref}}`{label(where, file)}`"

    text = LINK.sub(lambda found: _linked(found["text"], found["target"]), THUMB.sub(thumbnail, text))
    return INLINE.sub(lambda found: f"${found[1]}$", FIGURE.sub(figure, text))


def _linked(text: str, target: str) -> str:
    """A link inside the book; a file that is no part of it is only named."""
    file = target.partition("#")[0].removeprefix("../").removeprefix("../")
    up = "../" * (target.count("../") - 1)
    inside = target.count("../") < 2 and not target.startswith("../notebooks")  # of figures/, and so of the book
    if inside or not file or re.match(r"[a-z]+:", target):
        return f"[{text}]({target})"
    if file.startswith("notebooks/") and (ROOT / file).suffix == ".ipynb":
        return f"{{download}}`{text} <{up}{file}>`"
    if file.startswith("lib/") and file.endswith(".py"):
        return f"[{text}]({up}api/{module(Path(file))}.md)"
    return text


def label(folder: str, file: str) -> str:
    """The name of a figure in the whole book."""
    return f"{folder}-{Path(file).stem}".lower().replace("_", "-").replace(".", "-")


def small(file: str) -> str:
    """Where the thumbnail of a figure lies."""
    return f"thumbnails/{file}"


def module(file: Path) -> str:
    """The name of a module from its file below the root."""
    return ".".join(file.with_suffix("").parts).removesuffix(".__init__")


def reference(file: Path) -> str:
    """The public functions and classes of a module, with their docstrings."""
    tree = ast.parse((ROOT / file).read_text("utf-8"))
    page = [f"# {module(file)}", _said(tree)]
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            page += [f"## {node.name}", f"```python\n{_signature(node)}\n```", _said(node)]
            for each in node.body if isinstance(node, ast.ClassDef) else ():
                if isinstance(each, ast.FunctionDef) and not each.name.startswith("_") and _said(each):
                    page += [f"### {node.name}.{each.name}", f"```python\n{_signature(each)}\n```", _said(each)]
    return "\n\n".join(filter(None, page)) + "\n"


def _said(node: ast.Module | ast.ClassDef | ast.FunctionDef) -> str:
    return (ast.get_docstring(node) or "").replace("<", "&lt;").replace("[", "\\[")


def _signature(node: ast.ClassDef | ast.FunctionDef) -> str:
    if isinstance(node, ast.ClassDef):
        begin = next((each for each in node.body if getattr(each, "name", "") == "__init__"), None)
        inside = ast.unparse(begin.args).removeprefix("self").removeprefix(", ") if begin else ""  # pyrefly: ignore
        return f"class {node.name}({inside})"
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"def {node.name}({ast.unparse(node.args)}){returns}"


def gallery(chapters: list[str]) -> str:
    """Every figure, linked to its place in its chapter, with the chapter's data and the trainings behind it."""
    page = ["# Gallery", "Every figure of the book. A click leads to its place, with the code that drew it under it."]
    for name in chapters:
        found = load_results(FIGURES / name) or {}
        if not found.get("figures"):
            continue
        title = (FIGURES / name / "README.md").read_text("utf-8").partition("\n")[0].removeprefix("# ")
        page += [f"## [{title}]({name}/README.md)", "````{grid} 2 2 3 3\n:gutter: 2\n"]
        for each in sorted(found["figures"].values(), key=lambda each: each["file"]):
            about = each.get("caption", each["alt"])
            card = [f":img-top: {small(f'{name}/' + each['file'])}", f":link: {label(name, each['file'])}"]
            card += [":link-type: ref", f":img-alt: {' '.join(each['alt'].split())}"]
            page[-1] += "\n".join(["```{grid-item-card}", *card, "", INLINE.sub(r"$\1$", about), "```\n"])
        page[-1] += "````"
        trainings = ", ".join(f"`{training}`" for training in found.get("trainings", ())) or "none"
        data = f"{{download}}`the numbers behind them <{name}/results.json>`"
        page.append(f"{data}\n\n<details><summary>Trainings behind them</summary>\n\n{trainings}\n\n</details>")
    return "\n\n".join(page) + "\n"


def index(chapters: list[str]) -> str:
    """The landing page."""
    titles = {report["id"]: report["title"] for report in reports()["report"]}
    listed = "\n".join(f"{name}/README" for name in chapters)
    boards = "\n".join(f"{title} <scoreboard-{name}>" for name, title in titles.items())
    api = "\n".join(f"api/{module(file)}" for file in modules())
    played = ", ".join(f"[{what}](explore/{page}.md)" for page, (what, _) in EXPLORERS.items())
    head = (
        "# Generative Models Workbook\n\nFive university course reports on generative models, taught from the "
        "equations on, run again, and held against what they say. Begin with [what is here](00_start_here/README.md), "
        f"look at [every figure](gallery.md), {played}, or read how much reproduces:"
    )
    play = "\n".join(f"explore/{page}" for page in EXPLORERS)
    trees = [
        ("Play in the page", play),
        ("Chapters", listed),
        ("Reports, in their own order", f"scoreboard\n{boards}\nerrata"),
    ]
    trees += [("Reference", f"gallery\nglossary\n{api}")]
    hidden = [f"```{{toctree}}\n:hidden:\n:caption: {name}\n\n{pages}\n```" for name, pages in trees]
    return "\n\n".join([head, scoreboard.summary(scoreboard.rows()), *hidden]) + "\n"


def modules() -> list[Path]:
    """The modules of ``lib``, as paths below the root."""
    return [file.relative_to(ROOT) for file in sorted((ROOT / "lib").rglob("*.py")) if file.name != "__init__.py"]


def prepare() -> tuple[int, int]:
    """Write the sources; returns how many pages and how many figures there are."""
    shutil.rmtree(SOURCE, ignore_errors=True)
    chapters = sorted(path.parent.name for path in FIGURES.glob("*/README.md"))
    pages = {f"{name}/README.md": (FIGURES / name / "README.md").read_text("utf-8") for name in chapters}
    boards = {path.name: path.read_text("utf-8") for path in sorted(FIGURES.glob("*.md"))}
    made = {f"api/{module(file)}.md": reference(file) for file in modules()}
    made |= {"gallery.md": gallery(chapters), "index.md": index(chapters)}
    made |= {"glossary.md": (SETTINGS / "glossary.md").read_text("utf-8")}
    made |= {f"explore/{name}.md": (explorers.PAGES / f"{name}.md").read_text("utf-8") for name in EXPLORERS}
    made |= {name: chapter(text, name.partition("/")[0]) for name, text in pages.items()}
    made |= {name: converted(text) for name, text in boards.items()}
    for name, text in made.items():
        (SOURCE / name).parent.mkdir(parents=True, exist_ok=True)
        (SOURCE / name).write_text(text, "utf-8")
    for picture in FIGURES.glob("*/*.png"):
        file = picture.relative_to(FIGURES)
        shutil.copyfile(picture, SOURCE / file)
        target = SOURCE / small(file.as_posix())
        target.parent.mkdir(parents=True, exist_ok=True)
        with read_image(picture) as image:
            image.thumbnail((THUMBNAIL, THUMBNAIL))
            image.save(target)
    for name in chapters:
        shutil.copyfile(FIGURES / name / "results.json", SOURCE / name / "results.json")
    shutil.copytree(NOTEBOOKS, SOURCE / "notebooks", ignore=shutil.ignore_patterns("mine", ".*"))
    shutil.copyfile(SETTINGS / "conf.py", SOURCE / "conf.py")
    (SOURCE / "_static").mkdir()
    for name in ("book.css", "book.js"):
        shutil.copyfile(SETTINGS / name, SOURCE / "_static" / name)
    shutil.copyfile(from_npm(*MATHJAX), SOURCE / "_static" / "tex-svg.js")
    explorers.write(SOURCE / "_static" / "explore")
    return len(made), sum(text.count("```{figure}") for text in made.values())


def from_npm(package: str, inside: str, known: str) -> Path:
    """One file of an npm package, whose sha256 is compared whenever it is used. No script of the package runs."""
    target = SITE / f"{package}.js"
    if target.exists():
        content = target.read_bytes()
    else:
        SITE.mkdir(parents=True, exist_ok=True)
        try:
            command = ["npm", "pack", "--silent", "--ignore-scripts", package]
            packed = subprocess.run(command, cwd=SITE, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise SystemExit(f"{package} is missing: install npm, or put {Path(inside).name} at {target}") from error
        with tarfile.open(SITE / packed.stdout.decode().split()[-1]) as archive:
            content = archive.extractfile(inside).read()  # pyrefly: ignore
    if hashlib.sha256(content).hexdigest() != known:
        raise SystemExit(f"{inside} of {package} is not the file that we know (sha256 {known[:16]}…): see {target}")
    if not target.exists():
        write_atomic(target, content)
    return target


def sphinx() -> Path:
    """The Python of an environment with Sphinx, which is installed once for each list of requirements."""
    wanted, python = SETTINGS / "requirements.txt", ENVIRONMENT / "bin" / "python"
    stamp = ENVIRONMENT / "requirements.txt"
    if not stamp.exists() or stamp.read_bytes() != wanted.read_bytes():
        venv.create(ENVIRONMENT, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "-r", wanted], check=True)
        shutil.copyfile(wanted, stamp)
    return python


def checked(pages: int, figures: int) -> str:
    """What was built, in words. Raises SystemExit if a page or a figure is missing, or something would be fetched."""
    own = [path for path in BOOK.rglob("*.html") if "_static" not in path.parts]  # the theme has pages there
    built = [path for path in own if path.name not in ("genindex.html", "search.html")]
    texts = {path: path.read_text("utf-8") for path in built}
    shown = sum(len(re.findall(r"<figure\b", text)) for text in texts.values())
    bare = [path for path, text in texts.items() for image in re.findall(r"<img\b[^>]*>", text) if "alt=" not in image]
    remote = [path for path, text in texts.items() if FETCHED.search(text)]
    if len(built) != pages or shown != figures or bare or remote:
        raise SystemExit(
            f"{len(built)} of {pages} pages and {shown} of {figures} figures were built; "
            f"without alt text: {bare[:3]}; would fetch something: {remote[:3]}"
        )
    return f"{pages} pages with {figures} figures: open {os.path.relpath(BOOK / 'index.html')}"


def main() -> int:
    """Command line."""
    pages, figures = prepare()
    command = [sphinx(), "-m", "sphinx", "-b", "html", "-q", "-W", "--keep-going", "-j", "auto", SOURCE, BOOK]
    if built := subprocess.run(command, env=os.environ | {"PYTHONPATH": ""}).returncode:
        return built
    print(checked(pages, figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
