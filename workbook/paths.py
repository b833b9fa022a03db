"""The folders of this checkout, and of what its user runs, which are the same unless the checkout is read-only."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path

CHANGES_NO_RESULT = True  # for ``workbook.fingerprint``
ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "data"
NOTEBOOKS = ROOT / "notebooks"
GALLERY = ROOT / "figures"  # committed: profile full, seed 0
RELEASED = DATA / "trained"  # models that come with the repository


def home() -> Path:
    """Where runs and caches go: ``WORKBOOK_HOME``, else this checkout, else a folder of the user's.

    The checkout is used if all that runs change in it can be written. The folder is in the user's home or, if that
    cannot be written, among the temporary files.
    """
    if given := os.environ.get("WORKBOOK_HOME"):
        return Path(given).expanduser().absolute()
    changed = [ROOT, *(ROOT / name for name in ("build", "figures", ".cache", ".snakemake"))]
    if all(os.access(place, os.W_OK) for place in changed if place.exists()):
        return ROOT
    name = "generative-models-workbook"
    with suppress(RuntimeError):  # the system knows no home of this user, as in a container
        own = Path.home() / name
        if os.access(own if own.exists() else own.parent, os.W_OK):
            return own
    return Path(tempfile.gettempdir()) / f"{name}-{os.getuid()}"


HOME = home()
FIGURES = HOME / "figures"  # the latest results of profile full, seed 0
BUILD = HOME / "build"  # executed notebooks, and the results of all other profiles and seeds


def shown(path: Path) -> str:
    """A path as it is printed: relative to the checkout if it lies there."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def cache_dir() -> Path:
    """Folder of trained models. ``WORKBOOK_CACHE`` moves it (the tests do); ``WORKBOOK_RETRAIN`` uses another one."""
    here = HOME / ".cache" / ("retrained" if os.environ.get("WORKBOOK_RETRAIN") else "models")
    return Path(os.environ.get("WORKBOOK_CACHE", here))


def results_dir(profile: str, seed: int) -> Path:
    """Folder with one results folder per notebook, for this profile and seed."""
    return FIGURES if (profile, seed) == ("full", 0) else BUILD / profile / f"seed{seed}" / "figures"


def executed_notebook(notebook: str, profile: str, seed: int) -> Path:
    """Path of the executed copy of a notebook, written by the runner."""
    return BUILD / profile / f"seed{seed}" / f"{notebook}.ipynb"
