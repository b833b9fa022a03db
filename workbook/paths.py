"""Where things lie in this checkout."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "data"
NOTEBOOKS = ROOT / "notebooks"
FIGURES = ROOT / "figures"  # the committed gallery: profile standard, seed 0
BUILD = ROOT / "build"  # executed notebooks, and the results of every other profile and seed


def cache_dir() -> Path:
    """Folder of trained models; ``WORKBOOK_CACHE`` moves it (the tests do)."""
    return Path(os.environ.get("WORKBOOK_CACHE", ROOT / ".cache" / "models"))


def results_dir(profile: str, seed: int) -> Path:
    """Folder that holds one results folder per notebook for this profile and seed."""
    return FIGURES if (profile, seed) == ("standard", 0) else BUILD / profile / f"seed{seed}" / "figures"


def executed_notebook(notebook: str, profile: str, seed: int) -> Path:
    """Where the runner leaves the executed copy of a notebook."""
    return BUILD / profile / f"seed{seed}" / f"{notebook}.ipynb"


def write_atomic(path: Path, content: bytes | str) -> None:
    """Write ``content`` under a temporary name in the same folder, then rename it to ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content.encode() if isinstance(content, str) else content)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
