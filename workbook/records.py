"""Records on disk: the items of the reports, and the results of the notebooks. Needs neither torch nor notebooks."""

import json
import sys
import tomllib
from functools import cache
from pathlib import Path

from workbook.paths import DATA, ROOT


@cache
def reports() -> dict:
    """``data/reports.toml``: {"report": [...], "item": [...]}."""
    return tomllib.loads((DATA / "reports.toml").read_text("utf-8"))


@cache
def errata() -> list[dict]:
    """The errors found in the reports, from ``data/errata.toml``: one entry for each root cause."""
    return tomllib.loads((DATA / "errata.toml").read_text("utf-8")).get("erratum", [])


def items_of(notebook: str) -> dict[str, dict]:
    """{id: item} of the items that a notebook has to regenerate."""
    return {item["id"]: item for item in reports()["item"] if item["notebook"] == notebook}


def load_results(folder: Path) -> dict | None:
    """results.json of one notebook, merged with the durations in timings.json; None if neither exists.

    Raises ValueError, naming the file, if it is not valid JSON.
    """
    merged = None
    for name in ("results", "timings"):
        path = folder / f"{name}.json"
        if not path.is_file():
            continue
        try:
            content = json.loads(path.read_text("utf-8"))
        except ValueError as error:
            raise ValueError(f"{path} is not valid JSON ({error}): delete it and run `make figures`") from error
        if merged is None:
            merged = content
            continue
        for item, entry in content["items"].items():
            if "durations" in entry:
                merged["items"][item]["value"] |= entry["durations"]
            else:
                merged["items"][item] = entry
        merged["figures"] |= content["figures"]
    return merged


def loaded_code() -> list[str]:
    """The files of ``lib`` and ``workbook`` that this process has loaded, which are a notebook's dependencies."""
    modules = [m for name, m in list(sys.modules.items()) if name.split(".")[0] in ("lib", "workbook")]
    files = {Path(m.__file__).resolve() for m in modules if getattr(m, "__file__", None)}
    return sorted(str(file.relative_to(ROOT)) for file in files if file.is_relative_to(ROOT))
