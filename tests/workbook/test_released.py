"""Trainings that come with the repository: used if they are whole and of this code, refused by name otherwise."""

import json
import os
import pickle
import sys

import pytest
import torch
from safetensors.torch import save_file

from lib.training.classifier import train_classifier
from workbook import cache
from workbook.cache import packed, trained, unpacked
from workbook.fingerprint import _parsed, describe, digest, fingerprint
from workbook.paths import cache_dir
from workbook.tools import adopt, release, stale, verify
from workbook.tools.release import ReleaseError

FACTOR = 1.0


def scaled(x):
    return FACTOR * x


def train(log, n=3, width=1):
    with open(log, "a", encoding="utf-8") as file:
        file.write("trained\n")
    return {"a.w": scaled(torch.full((width,), float(n))), "b.w": torch.ones(1)}, {"loss": [1.0 / n], "seconds": [0.1]}


class Place:
    """A repository with a gallery, a cache and released trainings."""

    def __init__(self, root):
        self.log, self.gallery, self.target, self.cache = root / "log", root / "figures", root / "trained", cache_dir()
        self.log.touch()
        self.gallery.mkdir()
        self.said = []

    def train(self, name="probe", **settings):
        return trained(name, train, log=str(self.log), **settings)

    def file(self, name="probe", **settings):
        """The name of the file of a training, which is run if need be."""
        cache.used.clear()
        self.train(name, **settings)
        return next(iter(cache.used))

    def times(self):
        return len(self.log.read_text("utf-8").splitlines())

    def chapter(self, name, *files, profile="full", **weights):
        (self.gallery / name).mkdir(exist_ok=True)
        results = {"profile": profile, "trainings": list(files), **weights}
        (self.gallery / name / "results.json").write_text(json.dumps(results), "utf-8")

    def release(self):
        release.release(self.gallery, self.target, [self.cache], self.said.append)
        cache.released.cache_clear()

    def problems(self):
        return release.problems(self.gallery, self.target)

    def forget(self):
        """Empty the cache and the log, as in a fresh clone."""
        for file in self.cache.iterdir():
            file.unlink()
        self.log.write_text("", "utf-8")

    def manifest(self):
        return json.loads((self.target / "manifest.json").read_text("utf-8"))


@pytest.fixture
def place(tmp_path, monkeypatch):
    made = Place(tmp_path)
    monkeypatch.setattr(cache, "RELEASED", made.target)
    monkeypatch.setattr(cache, "stale", {})
    monkeypatch.setattr(cache, "used", {})
    monkeypatch.delenv("WORKBOOK_RETRAIN", raising=False)
    cache.released.cache_clear()
    yield made
    cache.released.cache_clear()


@pytest.fixture
def released(place):
    """One training is released, and the cache is empty."""
    place.chapter("01_one", place.file())
    place.release()
    place.forget()
    (place.name,) = place.manifest()["trainings"]
    return place


# --- use ---------------------------------------------------------------------------------------------------------


def test_a_released_training_is_used_without_training(released):
    done = released.train()
    assert released.times() == 0
    assert done.state["a.w"].tolist() == [3.0]
    assert done.history == {"loss": [1 / 3], "seconds": [0.1]}
    assert list(cache.used) == [released.name]
    assert cache.stale == {}
    assert not list(released.cache.glob("*.safetensors"))
    released.train(n=4)
    assert released.times() == 1


def test_the_own_cache_is_looked_at_first(released, capsys):
    (released.cache / released.name).write_bytes((released.target / released.name).read_bytes())
    (released.target / released.name).write_bytes(b"damaged")
    released.train()
    assert released.times() == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("set_to", ["1", "yes"])
def test_retraining_uses_nothing_that_is_released(released, monkeypatch, set_to):
    monkeypatch.setenv("WORKBOOK_RETRAIN", set_to)
    released.train()
    assert released.times() == 1
    released.train()
    assert released.times() == 1


def test_a_file_that_is_not_in_the_manifest_is_ignored(released, capsys):
    (released.target / "manifest.json").write_text(
        json.dumps({"trainings": {}, "environment": {}, "sources": {}}), "utf-8"
    )
    cache.released.cache_clear()
    released.train()
    assert released.times() == 1
    assert capsys.readouterr().err == ""


def test_without_a_manifest_everything_is_trained(place):
    place.train()
    assert place.times() == 1
    place.target.mkdir()
    (place.target / "manifest.json").write_text("<<<<<<< HEAD", "utf-8")
    cache.released.cache_clear()
    with pytest.raises(ValueError, match=r"manifest\.json is not a valid manifest .*: `git checkout"):
        place.train()


class Trap:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return (exec, ("import sys; sys.modules['trapped'] = sys",))


def truncated(file):
    file.write_bytes(file.read_bytes()[:-1])


def foreign(file):
    save_file({"a.w": torch.ones(1)}, file)


def pickled(file):
    file.write_bytes(pickle.dumps({"a.w": Trap()}))


def torch_saved(file):
    torch.save({"a.w": Trap()}, file)


def other_weights(file):
    state, about = unpacked(file.read_bytes())
    file.write_bytes(packed({name: tensor + 1 for name, tensor in state.items()}, about))


@pytest.mark.parametrize(
    "damage", [truncated, foreign, pickled, torch_saved, other_weights], ids=lambda damage: damage.__name__
)
def test_a_file_with_another_hash_is_refused_by_name_and_trained(released, damage, capsys):
    sha256 = released.manifest()["trainings"][released.name]["sha256"]
    damage(released.target / released.name)
    assert released.train().state["a.w"].tolist() == [3.0]
    assert released.times() == 1
    said = capsys.readouterr().err
    assert f"trained/{released.name} is damaged and ignored: it has sha256 " in said
    assert f"expected {sha256[:16]}…" in said
    assert "trapped" not in sys.modules
    assert cache.stale == {}


@pytest.mark.parametrize("damage", [foreign, pickled, torch_saved], ids=lambda damage: damage.__name__)
def test_loading_executes_no_code_even_if_the_manifest_names_the_file(released, damage, capsys):
    import hashlib

    file, made = released.target / released.name, released.manifest()
    damage(file)
    made["trainings"][released.name]["sha256"] = hashlib.sha256(file.read_bytes()).hexdigest()
    (released.target / "manifest.json").write_text(json.dumps(made), "utf-8")
    cache.released.cache_clear()
    released.train()
    assert released.times() == 1
    assert "trapped" not in sys.modules
    assert "is damaged and ignored: it is not a model file of this workbook" in capsys.readouterr().err


def test_a_file_that_the_manifest_names_and_that_is_gone_is_trained(released):
    (released.target / released.name).unlink()
    released.train()
    assert released.times() == 1


def test_a_released_training_without_the_weights_that_are_needed_is_trained(place, capsys):
    place.chapter("01_one", place.file(keep=("a",)))
    place.release()
    place.forget()
    assert place.train(keep=("a",)).state.keys() == {"a.w"}
    assert place.times() == 0
    assert place.train().state.keys() == {"a.w", "b.w"}
    assert place.times() == 1
    assert cache.stale == {}
    assert "stale" not in capsys.readouterr().err


def test_a_training_whose_code_has_changed_is_reported_as_stale_and_trained(released, monkeypatch, capsys):
    monkeypatch.setattr(sys.modules[__name__], "FACTOR", 2.0)
    assert released.train().state["a.w"].tolist() == [6.0]
    assert released.times() == 1
    what = f"{__name__}: FACTOR changed since it was released"
    assert cache.stale == {released.name: what}
    assert f"{released.name} is out of date: {what}; training it again" in capsys.readouterr().err

    monkeypatch.setattr(cache, "stale", {})
    monkeypatch.setattr(cache, "some_released", False)
    released.train()
    assert cache.stale == {}, "a profile of which nothing is released says nothing"
    monkeypatch.setattr(cache, "some_released", True)
    released.train()  # from the cache, where the scoreboard has to learn of it too
    assert released.times() == 1
    assert cache.stale == {released.name: what}
    assert capsys.readouterr().err == ""


def other(x):
    return x + 1


def test_each_function_that_changed_is_named(released, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "scaled", other)
    released.train()
    assert cache.stale == {
        released.name: f"{__name__}.other, {__name__}.scaled, {__name__}: FACTOR changed since it was released"
    }


def test_another_torch_makes_a_training_stale(released, monkeypatch):
    monkeypatch.setattr(torch, "__version__", "99.0.0")
    released.train()
    assert cache.stale == {released.name: "torch changed since it was released"}


def test_other_settings_and_names_are_not_stale(released):
    released.train(n=4)
    released.train("another")
    assert cache.stale == {}
    assert released.times() == 2


# --- release -----------------------------------------------------------------------------------------------------


def test_a_release_holds_what_the_gallery_names_and_nothing_else(place):
    one, two, three = (place.file(n=n) for n in (1, 2, 3))
    place.chapter("01_one", one, two)
    place.chapter("02_two", two)
    place.chapter("03_smoke", three, profile="smoke")
    place.chapter("21_scoreboard")
    place.target.mkdir()
    (place.target / three).write_bytes((place.cache / three).read_bytes())
    (place.target / "README.md").write_text("kept", "utf-8")
    place.release()
    assert {file.name for file in place.target.iterdir()} == {one, two, "manifest.json", "README.md"}
    assert (place.target / one).read_bytes() == (place.cache / one).read_bytes()
    assert {file: entry["notebooks"] for file, entry in place.manifest()["trainings"].items()} == {
        one: ["01_one"],
        two: ["01_one", "02_two"],
    }
    assert f"deleted {three}" in place.said[0]
    assert place.problems() == []


def test_a_release_leaves_out_weights_that_no_notebook_asks_for_by_name(place):
    """A cache holds all of a training that a measurement needed whole, and this measurement is released itself."""
    one = place.file()
    place.chapter("01_one", one, weights={one: ["a"]})
    place.chapter("02_two", one, weights={one: []})
    place.release()
    assert list(unpacked((place.target / one).read_bytes())[0]) == ["a.w"]
    assert place.problems() == []
    content = (place.cache / one).read_bytes()
    place.forget()
    assert list(place.train(keep=("a",)).state) == ["a.w"]
    assert place.times() == 0, "what is left is enough for those who ask for it by name"
    place.release()
    assert place.problems() == []
    (place.cache / one).write_bytes(content)
    place.chapter("02_two", one)
    place.release()
    assert (place.target / one).read_bytes() == content, "one notebook asks for all"


def test_a_process_knows_which_weights_it_asked_for_by_name(place, monkeypatch):
    monkeypatch.setattr(cache, "asked", {})
    one, two, three = (place.file(n=n, keep=keep) for n, keep in ((1, ("b",)), (2, None), (3, ())))
    place.train(n=1, keep=("a",))
    place.train(n=2, keep=("a",))
    cache.cached("measured", measured_whole, log=str(place.log))
    (measured,) = cache.used.keys() - {one, two, three}
    assert cache.asked == {one: ("a", "b"), two: None, three: (), measured: None}


def measured_whole(log):
    return {"weight": trained("probe", train, log=log, n=9).state["a.w"].item()}


def test_a_release_says_what_it_holds(place):
    one, two = place.file(width=250_000), place.file("another")
    place.chapter("01_one", one, two)
    place.release()
    lines = place.said[-1].splitlines()
    assert lines[0].split() == ["file", "MB", "seconds", "notebooks"]
    assert [line.split()[0] for line in lines[1:-1]] == sorted([one, two])
    assert next(line for line in lines if one in line).split()[1::2] == ["1.00", "01_one"]
    assert lines[-1] == "2 models, 1.0 MB, 0.0 hours of training"


def test_a_manifest_tells_what_is_needed_to_judge_a_training(released):
    content = (released.target / released.name).read_bytes()
    _, about = unpacked(content)
    made = released.manifest()
    entry = made["trainings"][released.name]
    assert entry["bytes"] == len(content)
    assert entry["seconds"] == about["seconds"]
    assert entry["settings"] == digest(about["settings"])[:16]
    assert made["environment"][entry["environment"]] == about["environment"]
    assert made["sources"][entry["sources"]] == {name: value[:8] for name, value in about["sources"].items()}
    assert cache.released()[released.name]["environment"] == about["environment"]


def test_a_release_that_is_made_again_changes_no_byte(released):
    before = {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in released.target.glob("*.safetensors")}
    text = (released.target / "manifest.json").read_text("utf-8")
    released.release()  # from what is released, since the cache is empty
    assert {f: (f.read_bytes(), f.stat().st_mtime_ns) for f in released.target.glob("*.safetensors")} == before
    assert (released.target / "manifest.json").read_text("utf-8") == text


def test_a_damaged_file_of_the_cache_is_not_released(released, capsys):
    (released.cache / released.name).write_bytes(b"damaged")
    released.release()
    assert released.problems() == []
    truncated(released.target / released.name)
    with pytest.raises(ReleaseError, match=f"1 of 1 models .* `make figures`.*\n  {released.name}, for 01_one"):
        released.release()


def test_a_training_that_is_nowhere_is_named_with_its_notebook_and_nothing_changes(released):
    released.chapter("02_two", "vae-0123456789abcdef.safetensors")
    before = {file: file.read_bytes() for file in released.target.iterdir()}
    with pytest.raises(ReleaseError, match=r"run `make figures`.*\n  vae-0123456789abcdef\.safetensors, for 02_two"):
        released.release()
    assert {file: file.read_bytes() for file in released.target.iterdir()} == before


def test_more_than_the_limit_is_refused_with_the_largest(place, monkeypatch):
    files = [place.file(width=10_000 * n) for n in range(1, 13)]
    place.chapter("01_one", *files)
    monkeypatch.setattr(release, "LIMIT", 3_200_000)
    place.release()
    monkeypatch.setattr(release, "LIMIT", 3_000_000)
    assert place.problems() == ["the models take 3 MB, and the limit is 3 MB"]
    with pytest.raises(ReleaseError) as refused:
        place.release()
    lines = str(refused.value).splitlines()
    assert "use `keep` in the notebooks to store fewer weights" in lines[0]
    assert [line.split()[2].rstrip(",") for line in lines[1:]] == files[:1:-1]
    assert lines[1].split()[:2] == ["0.5", "MB"]


def test_the_manifest_of_many_trainings_stays_small(monkeypatch):
    """300 files of 30 kinds, each kind with 60 functions of its own."""
    abouts = [
        {
            "name": f"conv-autoencoder-fold-{i}",
            "function": "lib.training.autoencoder.train_autoencoder",
            "settings": {"n": i},
            "sources": {f"lib.training.autoencoder.some_function_{j}": digest([i % 30, j]) for j in range(60)},
            "torch": "2.13",
            "kept": None,
            "seconds": 1234.5,
            "environment": {"python": "3.11.7", "processor": "AMD EPYC 9654 96-Core Processor", "threads": 1},
            "history": {},
        }
        for i in range(300)
    ]
    notebooks = {"notebooks": ["16_conv_autoencoder", "17_latent_structure"]}
    entries = {cache.file_name(about): release.entry(packed({}, about)) | notebooks for about in abouts}
    text = release.written(release.manifest(entries))
    assert len(text) < 500_000
    assert json.loads(text) == release.manifest(entries)
    assert sum(line.startswith('  "conv-autoencoder-fold-') for line in text.splitlines()) == 300


# --- adopted -----------------------------------------------------------------------------------------------------


@pytest.fixture
def adopted(released):
    """The released training is adopted by a training of width 2, which nobody ran."""
    note = {
        "former": released.name,
        "notebook": "01_one",
        "about": describe(train, {"log": str(released.log), "width": 2}),
    }
    note["file"] = cache.file_name(note["about"] | {"name": "probe"})
    lying = {released.name: {"path": str(released.target / released.name)}}
    adopt.take([note], lying, "abc1234", released.target, released.cache)
    cache.released.cache_clear()
    released.adopted = note["file"]
    return released


def test_an_adopted_training_is_used_and_its_file_stays_as_it_was(adopted):
    raw = (adopted.target / adopted.name).read_bytes()
    assert adopted.train(width=2).state["a.w"].tolist() == [3.0], "of the width that was released"
    assert adopted.times() == 0
    assert adopted.adopted in cache.used
    adopted.chapter("01_one", adopted.adopted)
    assert adopted.problems() == []
    manifest = (adopted.target / "manifest.json").read_bytes()
    adopted.release()
    assert (adopted.target / "manifest.json").read_bytes() == manifest
    assert [path.name for path in adopted.target.glob("*.safetensors")] == [adopted.name]
    assert (adopted.target / adopted.name).read_bytes() == raw
    adopted.train()
    assert adopted.times() == 1, "its former key is gone"


def test_an_adopted_training_that_no_notebook_uses_is_released_no_longer(adopted):
    adopted.chapter("01_one", adopted.file())
    assert adopted.problems() == [
        f"{adopted.name} is not released; 01_one needs it",
        f"{adopted.adopted} is released, but no notebook uses it",
    ]
    adopted.release()
    assert list(adopted.manifest()["trainings"]) == [adopted.name]


def test_an_adopted_training_that_is_damaged_is_named_and_not_released(adopted):
    (adopted.target / adopted.name).write_bytes(b"damaged")
    adopted.chapter("01_one", adopted.adopted)
    assert adopted.problems() == [f"{adopted.name} does not match its hash in the manifest"]
    with pytest.raises(ReleaseError, match=f"1 of 1 models .*\n  {adopted.adopted}"):
        adopted.release()


def test_an_adopted_training_is_compared_with_its_own_file(adopted):
    own = adopted.cache / adopted.adopted
    own.write_bytes((adopted.target / adopted.name).read_bytes())
    assert verify.report([adopted.adopted], adopted.cache, adopted.target)[1]


# --- out of date -------------------------------------------------------------------------------------------------


def test_what_changed_since_a_release_is_found_without_running_anything(tmp_path):
    cells = ["def own(x):\n    return lib_function(x)", "%%answer a.b\nSome text", "VALUE = 3"]
    content = {"cells": [{"cell_type": "code", "source": cell} for cell in cells]}
    (tmp_path / "01_one.ipynb").write_text(json.dumps(content), "utf-8")
    sources = {}
    fingerprint(train_classifier, sources)
    sources |= {"__main__.own": _parsed(cells[0])[2], "__main__: VALUE": "unknown"}
    entry = {"notebooks": ["01_one"], "sources": {name: value[:8] for name, value in sources.items()}}
    assert len(sources) > 20
    assert stale.changes({"a": entry}, tmp_path) == {}
    older = {"lib.training.loop.fit": "00000000", "lib.gone": "1", "__main__.own": "2", "__main__.left": "3"}
    apart = stale.changes({"a": entry | {"sources": entry["sources"] | older}, "b": entry}, tmp_path)
    assert apart == {"a": ["__main__.left", "__main__.own", "lib.gone", "lib.training.loop.fit"]}


# --- release --check ---------------------------------------------------------------------------------------------


def of_no_use(place):
    place.chapter("01_one")
    return "is released, but no notebook uses it"


def unlisted(place):
    (place.target / "new.safetensors").write_bytes(b"")
    return "new.safetensors is not in the manifest"


def needed_elsewhere(place):
    place.chapter("02_two", place.name)
    return "manifest.json is not what `make release` writes"


def not_released(place):
    place.chapter("02_two", "vae-0.safetensors")
    return "vae-0.safetensors is not released; 02_two needs it"


def gone(place):
    (place.target / place.name).unlink()
    return "is in the manifest, but the file is missing"


def another_file(place):
    other_weights(place.target / place.name)
    return "does not match its hash in the manifest"


def other_numbers(place):
    path = place.target / "manifest.json"
    path.write_text(path.read_text("utf-8").replace('"seconds": 0', '"seconds": 7'), "utf-8")
    return "manifest.json is not what `make release` writes"


def broken_manifest(place):
    (place.target / "manifest.json").write_text("{", "utf-8")
    return "manifest.json is damaged"


def no_manifest(place):
    (place.target / "manifest.json").unlink()
    return "is not released; 01_one needs it"


@pytest.mark.parametrize(
    "change",
    [
        of_no_use,
        unlisted,
        needed_elsewhere,
        not_released,
        gone,
        another_file,
        other_numbers,
        broken_manifest,
        no_manifest,
    ],
    ids=lambda change: change.__name__,
)
def test_a_check_finds_what_does_not_fit_and_changes_nothing(released, change, monkeypatch, capsys):
    assert released.problems() == []
    expected = change(released)
    before = {file: file.read_bytes() for file in released.target.iterdir()}
    assert any(expected in line for line in released.problems())
    monkeypatch.setattr(release, "FIGURES", released.gallery)
    monkeypatch.setattr(release, "RELEASED", released.target)
    monkeypatch.setattr(sys, "argv", ["release", "--check"])
    assert release.main() == 1
    assert expected in capsys.readouterr().err
    assert {file: file.read_bytes() for file in released.target.iterdir()} == before


def test_the_commands_end_well_if_there_is_nothing_wrong(released, monkeypatch, capsys):
    monkeypatch.setattr(release, "FIGURES", released.gallery)
    monkeypatch.setattr(release, "RELEASED", released.target)
    for arguments in ([], ["--check"]):
        monkeypatch.setattr(sys, "argv", ["release", *arguments])
        assert release.main() == 0
    said = capsys.readouterr().out
    assert "1 models" in said
    assert "the released models match the gallery" in said
    released.chapter("02_two", "vae-0.safetensors")
    monkeypatch.setattr(sys, "argv", ["release"])
    assert release.main() == 1
    assert "error: 1 of 2 models" in capsys.readouterr().err


def test_a_gallery_and_a_release_that_are_empty_fit(place):
    assert place.problems() == []


# --- verify ------------------------------------------------------------------------------------------------------


def run(loss=1.0, weight=2.0, seconds=1.0, **more):
    history = {"train_loss": [9.0, loss], "accuracy": [[0.5, 0.5]], "train_seconds": [seconds]} | more
    return {"w": torch.tensor([weight, -4.0])}, {"history": history}


def test_two_runs_are_compared_by_their_weights_and_by_where_their_histories_end():
    assert verify.compared(run(), run(seconds=99.0)) == {"equal": True, "weights": 0.0, "history": 0.0, "loss": 0.0}
    apart = verify.compared(run(loss=1.02, weight=2.4), run())
    assert not apart["equal"]
    assert apart["loss"] == apart["history"] == pytest.approx(0.02)
    assert apart["weights"] == pytest.approx(0.1)
    apart = verify.compared(run(accuracy=[[0.5, 0.4]]), run())
    assert verify.compared(run(1.02, test_loss=[1.0]), run(test_loss=[1.0]))["loss"] == pytest.approx(0.02), "the worst"
    assert apart["loss"] == 0
    assert apart["history"] == pytest.approx(0.2)
    assert not verify.compared(run(train_loss=[8.0, 1.0]), run())["equal"]


@pytest.mark.parametrize(
    "other",
    [
        run(train_loss=[1.0, None]),
        run(train_loss=[]),
        ({"w": torch.ones(3)}, run()[1]),
        ({}, run()[1]),
        ({"w": torch.tensor([2.0, float("nan")])}, run()[1]),
    ],
    ids=["not a number", "nothing", "another shape", "no weights", "weights that are not numbers"],
)
def test_runs_of_another_kind_are_infinitely_far_apart(other):
    found = verify.compared(other, run())
    assert not found["equal"]
    assert max(found["history"], found["weights"]) == float("inf")


@pytest.mark.parametrize(("factor", "good"), [(1.0, True), (1.04, True), (1.06, False), (0.94, False)])
def test_losses_that_differ_by_more_than_a_twentieth_fail(released, tmp_path, factor, good):
    own = tmp_path / "own"
    own.mkdir()
    state, about = unpacked((released.target / released.name).read_bytes())
    about["history"]["loss"][-1] *= factor
    about["seconds"], about["history"]["seconds"] = 99.0, [9.0]
    (own / released.name).write_bytes(packed(state, about))
    text, agreed = verify.report([released.name], own, released.target)
    assert agreed == good
    assert ("identical to the byte" in text) == (factor == 1.0)
    assert ("TOO DIFFERENT" in text) == (not good)
    assert released.name in text


def test_a_training_that_is_not_released_cannot_be_verified(released, tmp_path):
    text, agreed = verify.report(["vae-0.safetensors"], tmp_path, released.target)
    assert not agreed
    assert "vae-0.safetensors  not released: its code or settings have changed" in text


def test_a_chapter_is_verified_in_a_folder_of_its_own_with_nothing_released(released, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(verify, "BUILD", tmp_path / "build")
    monkeypatch.setattr(verify, "RELEASED", released.target)
    for name in ("WORKBOOK_RETRAIN", "WORKBOOK_CACHE"):
        monkeypatch.setenv(name, "")  # so that all are put back
    ran = []

    def execute(path, copy, parameters, out):
        ran.append((path.stem, parameters))
        assert os.environ["WORKBOOK_RETRAIN"] == "1"
        assert cache_dir() == copy.parent == tmp_path / "build" / "verify" / "04_vae_latent20"
        released.train()
        results = {"trainings": [released.name]}
        (out / "results.json").write_text(json.dumps(results), "utf-8")

    monkeypatch.setattr(verify, "execute", execute)
    monkeypatch.setattr(sys, "argv", ["verify", "04_vae_latent20"])
    assert verify.main() == 0
    assert ran == [("04_vae_latent20", {"profile": "full", "seed": 0})]
    assert released.times() == 1
    assert f"{released.name}  identical to the byte" in capsys.readouterr().out
    assert verify.main() == 0
    assert released.times() == 1  # what is there already is kept
