"""Collect the trained models behind the committed gallery, so that they come with the repository.

python -m workbook.tools.release            fill data/trained/ with exactly the models that figures/*/results.json name
python -m workbook.tools.release --check    change nothing; fail if data/trained/ and the gallery disagree
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path

from lib.atomic import write_atomic
from workbook.cache import file_name, unpacked
from workbook.fingerprint import digest
from workbook.paths import FIGURES, RELEASED, ROOT, cache_dir

LIMIT = 100_000_000  # bytes of all models together


class ReleaseError(RuntimeError):
    """The models cannot be released. The message is for the user."""


def needed(gallery: Path) -> dict[str, list[str]]:
    """{file: notebooks} of the models that the results of profile full name."""
    found: dict[str, list[str]] = {}
    for path in sorted(gallery.glob("*/results.json")):
        results = json.loads(path.read_text("utf-8"))
        for file in results.get("trainings", []) if results["profile"] == "full" else ():
            found.setdefault(file, []).append(path.parent.name)
    return dict(sorted(found.items()))


def collected(files: dict[str, list[str]], places: list[Path]) -> dict[str, bytes]:
    """{file: content} of these models, each from the first place with an undamaged copy.

    Raises ReleaseError if a model is in none of them.
    """
    found: dict[str, bytes] = {}
    for file in files:
        for place in places:
            if whole(place / file):
                found[file] = (place / file).read_bytes()
                break
    if absent := [f"  {file}, for {', '.join(files[file])}" for file in files if file not in found]:
        raise ReleaseError(
            f"{len(absent)} of {len(files)} models that the gallery names are missing or damaged; run `make figures`, "
            "which trains them:\n" + "\n".join(absent)
        )
    return found


def whole(path: Path) -> bool:
    """Whether a file exists, is undamaged, and holds the model that its name says."""
    try:
        return file_name(unpacked(path.read_bytes())[1]) == path.name
    except (OSError, ValueError, KeyError):
        return False


def manifest(files: dict[str, list[str]], contents: dict[str, bytes]) -> dict[str, dict]:
    """The content of data/trained/manifest.json for these models.

    Source hashes and environments have separate tables, because many models share them.
    """
    made: dict[str, dict] = {"trainings": {}, "environment": {}, "sources": {}}
    for file, content in sorted(contents.items()):
        _, about = unpacked(content)
        shared = {
            "environment": about["environment"],
            "sources": {name: value[:8] for name, value in sorted(about["sources"].items())},
        }
        names = {table: digest(entry)[:8] for table, entry in shared.items()}
        for table, entry in shared.items():
            made[table][names[table]] = entry
        made["trainings"][file] = {
            "notebooks": files[file],
            "seconds": about["seconds"],
            "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "settings": digest(about["settings"])[:16],
            **names,
        }
    return {table: dict(sorted(entries.items())) for table, entries in made.items()}


def written(made: dict[str, dict]) -> str:
    """A manifest as JSON, with one line for each model and for each source hash."""
    tables = []
    for table, entries in made.items():
        lines = [f"  {json.dumps(name)}: {_indented(entry, table)}" for name, entry in entries.items()]
        tables.append(f" {json.dumps(table)}: {{\n" + ",\n".join(lines) + "\n }" if lines else f' "{table}": {{}}')
    return "{\n" + ",\n".join(tables) + "\n}\n"


def _indented(entry: dict, table: str) -> str:
    if table != "sources":
        return json.dumps(entry, ensure_ascii=False)
    return json.dumps(entry, indent=1, ensure_ascii=False).replace("\n", "\n  ")


def release(gallery: Path, target: Path, places: list[Path], say: Callable[[str], None] = print) -> None:
    """Fill ``target`` with the models that the gallery names, and their manifest.

    Raises ReleaseError, and changes nothing, if a model is missing or all of them together are too large.
    """
    files = needed(gallery)
    contents = collected(files, [*places, target])
    total = sum(len(content) for content in contents.values())
    if total > LIMIT:
        largest = sorted(contents, key=lambda file: len(contents[file]), reverse=True)[:10]
        listed = [f"  {len(contents[file]) / 1e6:6.1f} MB  {file}, for {', '.join(files[file])}" for file in largest]
        raise ReleaseError(
            f"the models take {total / 1e6:.0f} MB, and the limit is {LIMIT / 1e6:.0f} MB; use `keep` in the notebooks "
            "to store fewer weights. The largest:\n" + "\n".join(listed)
        )
    made = manifest(files, contents)
    for file, content in contents.items():
        if not (target / file).exists() or (target / file).read_bytes() != content:
            write_atomic(target / file, content)
    write_atomic(target / "manifest.json", written(made))
    for old in sorted(target.glob("*.safetensors")):
        if old.name not in files:
            old.unlink()
            say(f"deleted {old.name}, which no notebook uses any more")
    say(table(made["trainings"]))


def table(trainings: dict[str, dict]) -> str:
    """A table of names, sizes, seconds and notebooks, with totals."""
    width = max([len(file) for file in trainings], default=10)
    lines = [f"{'file':{width}}      MB  seconds  notebooks"]
    for file, entry in trainings.items():
        numbers = f"{entry['bytes'] / 1e6:6.2f} {entry['seconds']:8.0f}"
        lines.append(f"{file:{width}}  {numbers}  {', '.join(entry['notebooks'])}")
    size, seconds = (sum(entry[key] for entry in trainings.values()) for key in ("bytes", "seconds"))
    return "\n".join([*lines, f"{len(trainings)} models, {size / 1e6:.1f} MB, {seconds / 3600:.1f} hours of training"])


def problems(gallery: Path, target: Path) -> list[str]:
    """What is wrong with the released models, one line for each problem."""
    files = needed(gallery)
    path = target / "manifest.json"
    try:
        trainings = json.loads(path.read_text("utf-8"))["trainings"] if path.exists() else {}
    except (ValueError, KeyError, TypeError):
        return [f"{path.name} is damaged"]
    found = [f"{file} is not released; {', '.join(files[file])} needs it" for file in files if file not in trainings]
    found += [f"{file} is released, but no notebook uses it" for file in trainings if file not in files]
    there = {each.name for each in target.glob("*.safetensors")}
    found += [f"{file} is not in the manifest" for file in sorted(there - trainings.keys())]
    for file in sorted(trainings.keys() - there):
        found.append(f"{file} is in the manifest, but the file is missing")
    for file in sorted(there & trainings.keys()):
        if hashlib.sha256((target / file).read_bytes()).hexdigest() != trainings[file]["sha256"]:
            found.append(f"{file} does not match its hash in the manifest")
        elif not whole(target / file):
            found.append(f"{file} is damaged")
    if not found:
        made = manifest(files, {file: (target / file).read_bytes() for file in files})
        if made["trainings"] and path.read_text("utf-8") != written(made):
            found.append(f"{path.name} is not what `make release` writes")
        size = sum(entry["bytes"] for entry in made["trainings"].values())
        if size > LIMIT:
            found.append(f"the models take {size / 1e6:.0f} MB, and the limit is {LIMIT / 1e6:.0f} MB")
    return found


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m workbook.tools.release", description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing; fail if something is out of date")
    if parser.parse_args().check:
        found = problems(FIGURES, RELEASED)
        for line in found:
            print(line, file=sys.stderr)
        print(f"{len(found)} problems; run `make release`" if found else "the released models match the gallery")
        return bool(found)
    try:
        release(FIGURES, RELEASED, [cache_dir(), ROOT / ".cache" / "models", ROOT / ".cache" / "retrained"])
    except ReleaseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
