"""Keep the released results that changed code would only compute again.

python -m workbook.tools.adopt                        the former code is that which released data/trained
python -m workbook.tools.adopt --former 5e74aab       … that of another commit
python -m workbook.tools.adopt --former ../checkout   … that of a checkout, whose cache is adopted as well
python -m workbook.tools.adopt --dry-run              change nothing, only say what would be adopted

An edit that changes no result gives another key to every result that depends on the edited code. This command runs the
notebooks in profile full with the present and with the former code, and answers each request with a former result, so
that nothing is trained (``tools.probe``). For every kind of training or measurement whose key has changed, both codes
run one in short, and what comes out is compared to the byte. If it is equal, the manifest names the former file under
its new key, with the commit of the former code; the files themselves stay as they are. If it differs, or if nothing was
compared, nothing is adopted. What only the cache of a checkout holds goes to this checkout's cache.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from lib.atomic import write_atomic
from workbook.cache import packed, read_manifest, unpacked
from workbook.paths import RELEASED, ROOT, cache_dir
from workbook.tools import probe, release, run
from workbook.tools.machine import whole_machine

DIFFERS = "it differs:"
PROBE = Path(probe.__file__)
HERE = PROBE.parents[2]
EXECUTE = """
import os
import sys
from pathlib import Path
from workbook.tools import kernel
tree, *places = sys.argv[1:]
os.environ["PYTHONPATH"] = tree  # of the kernel
path, copy, out = map(Path, places)
kernel.execute(path, copy, {"profile": "full", "seed": 0}, out)
"""


@contextmanager
def checked_out(former: str) -> Iterator[tuple[Path, str]]:
    """(folder, commit) of the former code: of a checkout as it is, or of a temporary one of a commit."""
    if Path(former).is_dir():
        yield Path(former).resolve(), _git(Path(former), "describe", "--always", "--dirty")
        return
    commit = _git(ROOT, "rev-parse", "--short", f"{former}^{{commit}}")
    with tempfile.TemporaryDirectory(prefix="wb-") as folder:
        tree = Path(folder) / "former"
        _git(ROOT, "worktree", "add", "--detach", str(tree), commit)
        try:
            for ignored in ("data/mnist", "data/fashion-mnist", "data/cells"):
                if (ROOT / ignored).exists() and not (tree / ignored).exists():
                    (tree / ignored).symlink_to(ROOT / ignored)
            yield tree, commit
        finally:
            _git(ROOT, "worktree", "remove", "--force", str(tree))


def _git(folder: Path, *command: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *command], capture_output=True, encoding="utf-8")
    if done.returncode:
        raise release.ReleaseError(f"git {' '.join(command)}: {done.stderr.strip()}")
    return done.stdout.strip()


def results_of(tree: Path) -> list[dict]:
    """The results of a checkout, released or in its cache, with their paths."""
    places = {path.name: path for path in sorted(tree.glob(".cache/models/*.safetensors"))}
    for file, entry in read_manifest(tree / "data/trained/manifest.json").items():
        places[file] = tree / "data/trained" / entry.get("file", file)
    found = []
    for file, path in places.items():
        about = unpacked(path.read_bytes())[1]
        about = {key: about[key] for key in ("name", "settings", "sources", "kept", "seconds")}
        found.append(about | {"file": file, "path": str(path), "order": 0})
    return found


def asked(tree: Path, notebook: str, former: list[dict], compare: dict[str, str], code: str) -> list[dict]:
    """What a notebook of a checkout asks for, as ``probe.install`` notes it; ``compare`` and ``code`` are as there."""
    with tempfile.TemporaryDirectory(prefix="wb-") as folder:
        place = Path(folder)
        log, plan, prepared, out = place / "log", place / "plan", place / f"{notebook}.ipynb", place / "figures"
        out.mkdir()
        log.touch()
        given = {"notebook": notebook, "former": former, "compare": compare, "code": code, "log": str(log)}
        plan.write_text(json.dumps(given), "utf-8")
        content = json.loads((tree / "notebooks" / f"{notebook}.ipynb").read_text("utf-8"))
        cell = {"cell_type": "code", "execution_count": None, "id": "probe", "metadata": {}, "outputs": []}
        names = f"{{'__name__': 'workbook.tools.probe', 'PLAN': {str(plan)!r}}}"
        run_probe = f"exec(compile(open({str(PROBE)!r}, encoding='utf-8').read(), 'probe', 'exec'), {names})"
        cell["source"] = f"import os\nos.chdir({str(tree)!r})\n{run_probe}"
        content["cells"].insert(0, cell)
        prepared.write_text(json.dumps(content), "utf-8")
        command = [sys.executable, "-c", EXECUTE, *map(str, (tree, prepared, place / "copy.ipynb", out))]
        environment = run._environment() | {"PYTHONPATH": str(HERE), "WORKBOOK_CACHE": str(place / "cache")}
        done = subprocess.run(command, cwd=HERE, env=environment, capture_output=True, encoding="utf-8")
        notes = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
        if done.returncode and not (code == "again" and "Done" in done.stderr):
            notes.append({"notebook": notebook, "code": code, "stopped": done.stderr.strip()[-800:]})
    return notes


def judged(notes: list[dict], before: list[dict], former: dict[str, dict]) -> dict[str, str]:
    """{file: why it is not adopted, or an empty text} of all results that the present code asks for.

    ``notes`` are those of the present code, ``before`` those of the former code, ``former`` its results by file.
    """
    ran = {note["former"]: note for note in before if "digests" in note}
    own, kinds = {}, {}
    for note in notes:
        if "how" in note or "why" in note:
            own[note["file"]] = _difference(note, ran.get(note["former"]), former)
            kinds.setdefault(note["kind"], set()).add(own[note["file"]])
    found = {}
    for note in notes:
        why = own.get(note["file"], "nothing was compared")
        if note["former"] is None:
            why = "nothing that was released has its name and settings"
        elif note["former"] == note["file"]:
            why = ""
        elif not note["enough"]:
            why = f"{note['former']} lacks weights that it needs"
        elif note["sure"] and not why.startswith(DIFFERS):
            alike = kinds.get(note["kind"], {why})
            why = next((each for each in alike if each.startswith(DIFFERS)), "" if "" in alike else min(alike))
        found[note["file"]] = why
    return found


def _difference(now: dict, then: dict | None, former: dict[str, dict]) -> str:
    """In what the short runs of present and former code differ, or why they cannot be compared; empty if equal."""
    for note in (now, then):
        if note is None or "digests" not in note:
            return f"nothing was compared: {note['why'] if note else 'the former code did not ask for it'}"
    assert then is not None
    sources = former[then["former"]]["sources"], then["about"]["sources"]
    made, ran = ({name: value for name, value in each.items() if ": " not in name} for each in sources)
    if made != ran:
        return f"nothing was compared: {then['former']} was made by other code than the former"
    new, old = now["digests"], then["digests"]
    apart = [key for key in sorted(new.keys() | old) if new.get(key) != old.get(key)]
    apart = [key for key in apart if key in new or not key.startswith("weights")]  # weights that are no longer kept
    return f"{DIFFERS} {', '.join(f'{key} {old.get(key)} → {new.get(key)}' for key in apart[:4])}" if apart else ""


def take(notes: list[dict], former: dict[str, dict], commit: str, target: Path, own: Path) -> None:
    """Name the former results of these requests under their new keys.

    Released ones in the manifest of ``target``; what only a cache holds is written to ``own``.
    """
    entries = read_manifest(target / "manifest.json")
    renamed = {note["former"] for note in notes}
    for note in notes:
        path = Path(former[note["former"]]["path"])
        if (target / path.name).exists():
            others = entries.get(note["file"], {}).get("notebooks", [])
            entry = release.entry(path.read_bytes()) | release.described(note["about"])
            entry |= {"notebooks": sorted({*others, note["notebook"]}), "file": path.name, "adopted": commit}
            entries[note["file"]] = entry
        else:
            state, about = unpacked(path.read_bytes())
            write_atomic(own / note["file"], packed(state, about | note["about"] | {"adopted": commit}))
    left = {file: entry for file, entry in entries.items() if file not in renamed}
    write_atomic(target / "manifest.json", release.written(release.manifest(left)))


def run_adoption(former: str, notebooks: list[str], jobs: int, dry: bool) -> bool:
    """Adopt what these notebooks ask for, each when it has run, and print what was not and why; whether all was."""
    adopted: dict[str, float] = {}
    left: set[str] = set()
    one_by_one = Lock()
    with checked_out(former) as (tree, commit), ThreadPoolExecutor(jobs) as pool:
        own = [each | {"present": True} for each in results_of(ROOT)]
        results = {each["file"]: each for each in [*own, *results_of(tree)]}

        def adopt(notebook: str) -> None:
            now, then, stopped = _both(tree, notebook, list(results.values()))
            why = judged(now, then, results)
            good = [note for note in now if not why[note["file"]] and note["file"] != note["former"]]
            with one_by_one:
                if good and not dry:
                    take(good, results, commit, RELEASED, cache_dir())
                adopted.update({note["file"]: results[note["former"]]["seconds"] for note in good})
                left.update(file for file in why if why[file])
                print(
                    f"{notebook}: {'would adopt' if dry else 'adopted'} {len(good)} of {len(why)} results", flush=True
                )
                lines = [f"{note['file']}: {why[note['file']]}" for note in now if why[note["file"]]]
                lines += [f"it stopped early with the {note['code']} code:\n{note['stopped']}" for note in stopped]
                left.update(f"{notebook}: the rest" for _ in stopped)
                print(*(f"  {line}\n" for line in lines), sep="", end="", flush=True)

        list(pool.map(adopt, notebooks))
    hours = sum(adopted.values()) / 3600
    print(f"{len(adopted)} results of {commit}, {hours:.1f} hours of training; {len(left)} will be computed again")
    return not left


def _both(tree: Path, notebook: str, results: list[dict]) -> tuple[list[dict], list[dict], list[dict]]:
    """The requests of a notebook with the present code and with the former, and what stopped it early."""
    then = asked(tree, notebook, results, {}, "former")
    places = {note["former"]: place for place, note in enumerate(then) if "former" in note}
    ordered = [each | {"order": places.get(each["file"], len(then))} for each in results]
    compare = {note["former"]: note["how"] for note in then if "how" in note}
    now = asked(ROOT, notebook, ordered, compare, "present")
    if more := {note["former"]: note["how"] for note in now if "how" in note and note["former"] not in compare}:
        then += asked(tree, notebook, results, more, "again")
    stopped = [note for note in now + then if "stopped" in note]
    return [note for note in now if "file" in note], [note for note in then if "file" in note], stopped


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m workbook.tools.adopt", description=__doc__.splitlines()[0])
    parser.add_argument("--former", help="commit or folder of the former code (default: what released data/trained)")
    parser.add_argument("--notebook", nargs="+", default=["all"], help="names or numbers, or all")
    parser.add_argument("--jobs", type=int, default=whole_machine(1), help="notebooks at a time")
    parser.add_argument("--dry-run", action="store_true", help="change nothing")
    given = parser.parse_args()
    try:
        former = given.former or _git(ROOT, "log", "-1", "--format=%h", "--", str(RELEASED / "manifest.json"))
        chosen = run.notebooks() if given.notebook == ["all"] else [run._named(name) for name in given.notebook]
        return 0 if run_adoption(former, chosen, given.jobs, given.dry_run) else 1
    except (release.ReleaseError, run.RunError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
