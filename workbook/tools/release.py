"""Collect the trained models behind the committed gallery, so that they come with the repository.

python -m workbook.tools.release            fill data/trained/ with exactly the models that figures/*/results.json name
python -m workbook.tools.release --check    change nothing; fail if data/trained/ and the gallery disagree
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from lib.atomic import write_atomic
from workbook.cache import _wanted, file_name, packed, read_manifest, unpacked
from workbook.fingerprint import digest
from workbook.paths import FIGURES, RELEASED, ROOT, cache_dir

LIMIT = 100_000_000  # bytes of all models together
ORDER = (
    "notebooks",
    "file",
    "adopted",
    "seconds",
    "bytes",
    "sha256",
    "settings",
    "environment",
    "sources",
)  # of entries


class ReleaseError(RuntimeError):
    """The models cannot be released. The message is for the user."""


def needed(gallery: Path) -> dict[str, dict[str, list[str] | None]]:
    """{file: {notebook: networks it asks for by name, None for all}} of what the results of profile full name."""
    found: dict[str, dict[str, list[str] | None]] = {}
    for path in sorted(gallery.glob("*/results.json")):
        results = json.loads(path.read_text("utf-8"))
        for file in results.get("trainings", []) if results["profile"] == "full" else ():
            found.setdefault(file, {})[path.parent.name] = results.get("weights", {}).get(file)
    return dict(sorted(found.items()))


def collected(files: dict[str, dict[str, list[str] | None]], places: list[Path]) -> dict[str, bytes]:
    """{file: content} of these models, each from the first place with an undamaged copy.

    Weights that no notebook asks for are left out: a cache may hold more, for a measurement that is kept itself.
    Raises ReleaseError if a model is in none of them.
    """
    found: dict[str, bytes] = {}
    for file, names in files.items():
        for place in places:
            if whole(place / file):
                found[file] = _reduced((place / file).read_bytes(), names.values())
                break
    if absent := [f"  {file}, for {', '.join(files[file])}" for file in files if file not in found]:
        raise ReleaseError(
            f"{len(absent)} of {len(files)} models that the gallery names are missing or damaged; run `make figures`, "
            "which trains them:\n" + "\n".join(absent)
        )
    return found


def _reduced(content: bytes, asked: Iterable[list[str] | None]) -> bytes:
    """The file of a model without the weights that nobody asks for."""
    keep: set[str] = set()
    for names in asked:
        if names is None:
            return content
        keep |= set(names)
    state, about = unpacked(content)
    if about["kept"] is not None and set(about["kept"]) <= keep:
        return content
    return packed(_wanted(state, tuple(keep)), about | {"kept": sorted(keep)})


def whole(path: Path, sha256: str = "") -> bool:
    """Whether a file exists, is undamaged, holds the model that its name says and, if given, has this hash."""
    try:
        content = path.read_bytes()
        same = sha256 in ("", hashlib.sha256(content).hexdigest())
        return same and file_name(unpacked(content)[1]) == path.name
    except (OSError, ValueError, KeyError):
        return False


def described(about: dict[str, Any]) -> dict[str, Any]:
    """What the manifest says about the code and the settings of a model."""
    sources = {name: value[:8] for name, value in sorted(about["sources"].items())}
    return {"settings": digest(about["settings"])[:16], "sources": sources}


def entry(content: bytes) -> dict[str, Any]:
    """What the manifest says about the model with this content."""
    about = unpacked(content)[1]
    size = {"seconds": about["seconds"], "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    return size | {"environment": about["environment"]} | described(about)


def manifest(entries: dict[str, dict]) -> dict[str, dict]:
    """The content of data/trained/manifest.json for {file: entry with its notebooks}.

    Source hashes and environments have separate tables, because many models share them.
    """
    made: dict[str, dict] = {"trainings": {}, "environment": {}, "sources": {}}
    for file, about in sorted(entries.items()):
        names = {table: digest(about[table])[:8] for table in ("environment", "sources")}
        for table, name in names.items():
            made[table][name] = about[table]
        made["trainings"][file] = {key: names.get(key, about[key]) for key in ORDER if key in about}
    return {table: dict(sorted(each.items())) for table, each in made.items()}


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
    entries = {file: about for file, about in _adopted(target).items() if file in files}
    contents = collected({file: files[file] for file in files if file not in entries}, [*places, target])
    entries |= {file: entry(content) for file, content in contents.items()}
    entries = {file: about | {"notebooks": list(files[file])} for file, about in entries.items()}
    if (total := _size(entries)) > LIMIT:
        largest = sorted(entries, key=lambda file: entries[file]["bytes"], reverse=True)[:10]
        listed = [f"  {entries[file]['bytes'] / 1e6:6.1f} MB  {file}, for {', '.join(files[file])}" for file in largest]
        raise ReleaseError(
            f"the models take {total / 1e6:.0f} MB, and the limit is {LIMIT / 1e6:.0f} MB; use `keep` in the notebooks "
            "to store fewer weights. The largest:\n" + "\n".join(listed)
        )
    for file, content in contents.items():
        if not (target / file).exists() or (target / file).read_bytes() != content:
            write_atomic(target / file, content)
    write_atomic(target / "manifest.json", written(manifest(entries)))
    lying = {about.get("file", file) for file, about in entries.items()}
    for old in sorted(target.glob("*.safetensors")):
        if old.name not in lying:
            old.unlink()
            say(f"deleted {old.name}, which no notebook uses any more")
    say(table(entries))


def _adopted(target: Path) -> dict[str, dict]:
    """The adopted models of a manifest whose files are as they were."""
    return {
        file: about
        for file, about in read_manifest(target / "manifest.json").items()
        if "file" in about and whole(target / about["file"], about["sha256"])
    }


def _size(entries: dict[str, dict]) -> int:
    """Bytes of all files; several models may be adopted from one."""
    return sum({about["sha256"]: about["bytes"] for about in entries.values()}.values())


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
        entries = read_manifest(path)
    except ValueError:
        return [f"{path.name} is damaged"]
    found = [f"{file} is not released; {', '.join(files[file])} needs it" for file in files if file not in entries]
    found += [f"{file} is released, but no notebook uses it" for file in entries if file not in files]
    lying = {about.get("file", file): about for file, about in entries.items()}
    there = {each.name for each in target.glob("*.safetensors")}
    found += [f"{file} is not in the manifest" for file in sorted(there - lying.keys())]
    found += [f"{file} is in the manifest, but the file is missing" for file in sorted(lying.keys() - there)]
    for file in sorted(there & lying.keys()):
        if hashlib.sha256((target / file).read_bytes()).hexdigest() != lying[file]["sha256"]:
            found.append(f"{file} does not match its hash in the manifest")
        elif not whole(target / file):
            found.append(f"{file} is damaged")
    if not found:
        made = {
            file: about if "file" in about else entry((target / file).read_bytes()) for file, about in entries.items()
        }
        made = {file: about | {"notebooks": list(files[file])} for file, about in made.items()}
        if made and path.read_text("utf-8") != written(manifest(made)):
            found.append(f"{path.name} is not what `make release` writes")
        if _size(made) > LIMIT:
            found.append(f"the models take {_size(made) / 1e6:.0f} MB, and the limit is {LIMIT / 1e6:.0f} MB")
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
