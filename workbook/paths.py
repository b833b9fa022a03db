"""The folders of this checkout."""

import os
from pathlib import Path

CHANGES_NO_RESULT = True  # for ``workbook.fingerprint``
ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "data"
NOTEBOOKS = ROOT / "notebooks"
FIGURES = ROOT / "figures"  # the committed gallery: profile full, seed 0
BUILD = ROOT / "build"  # executed notebooks, and the results of all other profiles and seeds
RELEASED = DATA / "trained"  # models that come with the repository


def cache_dir() -> Path:
    """Folder of trained models. ``WORKBOOK_CACHE`` moves it (the tests do); ``WORKBOOK_RETRAIN`` uses another one."""
    here = ROOT / ".cache" / ("retrained" if os.environ.get("WORKBOOK_RETRAIN") else "models")
    return Path(os.environ.get("WORKBOOK_CACHE", here))


def results_dir(profile: str, seed: int) -> Path:
    """Folder with one results folder per notebook, for this profile and seed."""
    return FIGURES if (profile, seed) == ("full", 0) else BUILD / profile / f"seed{seed}" / "figures"


def executed_notebook(notebook: str, profile: str, seed: int) -> Path:
    """Path of the executed copy of a notebook, written by the runner."""
    return BUILD / profile / f"seed{seed}" / f"{notebook}.ipynb"
