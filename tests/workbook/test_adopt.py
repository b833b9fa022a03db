"""What changed code would only compute again is kept; what it changes, however little, is computed again."""

import json
import os
import shutil
import subprocess
from contextlib import contextmanager

import pytest

from lib.training.loop import fit
from tests import forked_kernel
from workbook import cache, fingerprint
from workbook.paths import ROOT
from workbook.tools import adopt, kernel, probe, release

SETUP = """
import torch
from functools import partial
from lib import data
from lib.models.feedforward import FeedForward
from lib.training.classifier import classifier_step, train_classifier
from workbook.cache import trained

draws = torch.Generator().manual_seed(0)
images = data.Split(torch.randint(0, 256, (64, 28, 28), dtype=torch.uint8, generator=draws), torch.arange(64) % 10)
"""
FORMER = """
def step(network, x, y, learner):
    return classifier_step(network, x, y, learner)

def learnt(start, epochs):
    sets = dict(train=images, evaluate_on={"seen": images}, prepare=data.unit, seed=start)
    return train_classifier(partial(FeedForward, 4), epochs=epochs, batch_size=8, lr=0.01, step=step, **sets)

def summed(count):
    return {}, {"sum": sum(i / 7 for i in range(count))}

def last_of_five(start):
    return {}, {"loss": learnt(start, 5)[1]["seen_loss"][4]}
"""
ASK = """
for start in (0, 1):
    trained("learnt", learnt, start=start, epochs=3)
trained("pruned", learnt, keep=(), start=7, epochs=3)
trained("summed", summed, count=9)
trained("last", last_of_five, start=4)
"""
REWRITTEN = FORMER.replace(
    "    return classifier_step(network, x, y, learner)",
    "    log = classifier_step(network, x, y, learner)\n    return log",
)
REWRITTEN = REWRITTEN.replace("def learnt(start, epochs)", "def learnt(start, epochs, kept_for=None)")
REWRITTEN = REWRITTEN.replace("sum(i / 7 for i in range(count))", "sum([i / 7 for i in range(count)])")
THIRD_DECIMAL = FORMER.replace(
    "    return classifier_step(network, x, y, learner)",
    "    return classifier_step(network, x * 1.001, y, learner)",
).replace("range(count)", "range(1, count + 1)")
FORKED = "from tests import forked_kernel\nforked_kernel.use()\n"  # kernels start at once, with make test
MORE = ASK.replace("(0, 1)", "(0, 1, 2)").replace("keep=()", 'keep=("W1",)')


def tree(folder, code, requests):
    """A checkout with one notebook."""
    for name in ("lib", "workbook"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(ROOT / name)
    cells = [
        {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": [], "source": each}
        for each in (SETUP, code, requests)
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    (folder / "notebooks").mkdir()
    (folder / "notebooks/01_small.ipynb").write_text(
        json.dumps({"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 4}), "utf-8"
    )
    (folder / "data/trained").mkdir(parents=True)
    return folder


@pytest.fixture(scope="module")
def former(tmp_path_factory):
    """A checkout whose results are released, but for the second, which only lies in its cache."""
    folder = tree(tmp_path_factory.mktemp("adopt") / "former", FORMER, ASK)
    own, released = folder / ".cache/models", folder / "data/trained"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORKBOOK_CACHE", str(own))
        patch.setenv("PYTHONPATH", str(folder))
        kernel.execute(folder / "notebooks/01_small.ipynb", folder / "copy.ipynb", {}, folder)
    entries = {}
    for path in sorted(own.glob("*.safetensors")):
        about = cache.unpacked(path.read_bytes())[1]
        if about["settings"].get("start") != 1:
            path = path.rename(released / path.name)
            entries[path.name] = release.entry(path.read_bytes()) | {"notebooks": ["01_small"]}
    (released / "manifest.json").write_text(release.written(release.manifest(entries)), "utf-8")
    return folder


@pytest.fixture(scope="module")
def once():
    """``adopt.asked``, which runs each notebook once."""
    asked, known = adopt.asked, {}

    def once(tree, notebook, results, compare, code):
        if (key := (tree, code, *sorted(compare))) not in known:
            known[key] = asked(tree, notebook, results, compare, code)
        return known[key]

    return once


@pytest.fixture
def adopted(tmp_path, monkeypatch, former, once):
    """Adopt what present code asks for: (manifest, files of the own cache, whether all was adopted)."""

    @contextmanager
    def vanishing(of):
        gone = former.parent / "vanishing"
        shutil.copytree(of, gone, symlinks=True)
        yield gone, "abc1234"
        shutil.rmtree(gone)

    def adopting(code, requests, dry=False):
        present, own = tmp_path / "present", tmp_path / "own"
        released = present / "data/trained"
        if not present.exists():
            tree(present, code, requests)
            shutil.copytree(former / "data/trained", released, dirs_exist_ok=True)
        monkeypatch.setattr(adopt, "asked", once)
        monkeypatch.setattr(adopt, "ROOT", present)
        monkeypatch.setattr(adopt, "RELEASED", released)
        monkeypatch.setattr(adopt, "checked_out", vanishing)
        monkeypatch.delenv(forked_kernel.CLOCK, raising=False)
        if forked_kernel.ADDRESS in os.environ:
            monkeypatch.setattr(adopt, "EXECUTE", FORKED + adopt.EXECUTE)
        monkeypatch.setenv("WORKBOOK_CACHE", str(own))
        good = adopt.run_adoption(str(former), ["01_small"], 1, dry)
        return cache.read_manifest(released / "manifest.json"), sorted(own.glob("*.safetensors")), good

    return adopting


def by_name(entries):
    return {file.rsplit("-", 1)[0]: (file, entry) for file, entry in entries.items()}


def test_what_rewritten_code_would_only_compute_again_is_adopted_and_nothing_else(adopted, former, capsys):
    before = cache.read_manifest(former / "data/trained/manifest.json")
    entries, own, good = adopted(REWRITTEN, MORE, dry=True)
    assert (entries, own) == (before, []), "a dry run writes nothing"
    said = capsys.readouterr().out
    assert "01_small: would adopt 4 of 6 results\n" in said
    assert "4 results of abc1234" in said
    assert "nothing that was released has its name and settings" in said
    assert f"{by_name(before)['pruned'][0]} lacks weights that it needs" in said
    assert not good
    assert "stopped early" not in said
    entries, own, _ = adopted(REWRITTEN, MORE)
    assert by_name(entries).keys() == by_name(before).keys()
    for name, (file, entry) in by_name(entries).items():
        if name == "pruned":
            assert by_name(before)[name] == (file, entry)
        else:
            assert entry["file"] == by_name(before)[name][0] != file, "the file of before, under its new key"
            assert entry["adopted"] == "abc1234"
            assert entry["sha256"] == before[entry["file"]]["sha256"]
            assert entry["sources"] != before[entry["file"]]["sources"]
    (path,) = own
    about = cache.unpacked(path.read_bytes())[1]
    assert cache.file_name(about) == path.name
    assert (about["settings"]["start"], about["adopted"]) == (1, "abc1234")


def test_a_change_in_the_third_decimal_is_refused_and_named(adopted, former, capsys):
    entries, own, good = adopted(THIRD_DECIMAL, ASK + "1 / 0\n")
    assert not good
    assert entries == cache.read_manifest(former / "data/trained/manifest.json")
    assert not own
    said = capsys.readouterr().out
    assert said.count("it differs: ") == 5
    assert "it differs: history sum " in said
    assert "it stopped early with the present code:\n" in said


def test_the_code_of_a_commit_is_checked_out_for_as_long_as_it_is_needed(tmp_path, monkeypatch):
    def git(*command):
        who = ["-c", "user.name=somebody", "-c", "user.email=nobody@example.org"]
        subprocess.run(["git", *who, *command], cwd=tmp_path, check=True, capture_output=True)

    git("init")
    (tmp_path / "data").mkdir()
    for code in ("then", "now"):
        (tmp_path / "data/code").write_text(code, "utf-8")
        git("add", "data/code")
        git("commit", "-m", code)
    (tmp_path / "data/mnist").mkdir()
    monkeypatch.setattr(adopt, "ROOT", tmp_path)
    with adopt.checked_out("HEAD~1") as (folder, commit):
        assert (folder / "data/code").read_text("utf-8") == "then"
        assert (folder / "data/mnist").samefile(tmp_path / "data/mnist"), "git ignores the images"
    assert not folder.exists()
    assert 7 <= len(commit) <= 10
    with adopt.checked_out(str(tmp_path)) as (folder, also):
        assert folder == tmp_path
    assert also != commit
    with (
        pytest.raises(release.ReleaseError, match=r"git rev-parse .*no-such-commit"),
        adopt.checked_out("no-such-commit"),
    ):
        pass


def trains(report):
    return fit(report, 2, epochs=1, batch_size=1, parts={})


def test_in_a_short_run_a_search_can_tell_the_key_of_what_it_tries():
    with probe.short(probe.HOW[0]):
        assert fingerprint.fingerprint(trains, {})
