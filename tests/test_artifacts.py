import json
import linecache
import os
import subprocess
import sys
import textwrap
import types
from functools import partial

import pytest
import torch

from lib import artifacts, paths, training
from lib.models.cnn import CNN
from lib.models.feedforward import FeedForward


def module(source, name="lib._probe"):
    """A module of ours made from text, as if it had been edited to this."""
    source = textwrap.dedent(source)
    made = types.ModuleType(name)
    made.__file__ = f"<{name}-{abs(hash(source))}>"
    linecache.cache[made.__file__] = (len(source), None, source.splitlines(keepends=True), made.__file__)
    sys.modules[name] = made
    exec(compile(source, made.__file__, "exec"), made.__dict__)
    return made


BASE = """
import torch
RATE = 2.0

def step(x):
    return x * RATE

def unrelated(x):
    return x

def train(n, seed=0):
    return {"w": torch.full((2,), float(n)) + step(seed)}, {"loss": [1.0 / n]}
"""


def key(source, **settings):
    return artifacts.training_key(module(source).train, {"n": 3, **settings})


def test_hit_equals_miss_and_does_not_train():
    calls = []
    probe = module(BASE)
    original = probe.step
    probe.step = lambda x: calls.append(x) or original(x)
    probe.step.__module__ = "elsewhere"
    first = artifacts.trained("probe", probe.train, n=3)
    second = artifacts.trained("probe", probe.train, n=3)
    assert len(calls) == 1
    assert first.state["w"].equal(second.state["w"])
    assert first.history == second.history == {"loss": [1 / 3]}


@pytest.mark.parametrize(
    "edit",
    [
        ("RATE = 2.0", "RATE = 3.0"),
        ("x * RATE", "x + RATE"),
        ("1.0 / n", "2.0 / n"),
    ],
)
def test_editing_what_a_training_uses_changes_its_key(edit):
    assert key(BASE) != key(BASE.replace(*edit))


@pytest.mark.parametrize(
    "edit",
    [
        ("    return x\n", "    return x + 1\n"),
        ("def train", "# prose\ndef train"),
        ("    return x * RATE", '    """Docstring."""\n    return x*RATE  # comment'),
    ],
)
def test_editing_anything_else_keeps_the_key(edit):
    assert edit[0] in BASE
    assert key(BASE) == key(BASE.replace(*edit))


def test_settings_seed_threads_and_data_change_the_key(small):
    base = key(BASE)
    assert base == key(BASE, seed=0)
    assert base != key(BASE, seed=1)
    assert base != key(BASE, n=4)
    torch.set_num_threads(1)
    assert base != key(BASE)
    train = small[0]
    changed = train.images.clone()
    changed[0, 0, 0] += 1
    assert artifacts.fingerprint(train) != artifacts.fingerprint(type(train)(changed, train.labels))


def test_a_model_depends_on_its_own_source_only():
    ours = artifacts.sources(FeedForward)
    assert "lib.models.feedforward._uniform" in ours
    assert "lib.models.feedforward: ACTIVATIONS" in ours
    assert not any("cnn" in name for name in ours)
    assert not any(
        name.startswith(("lib.plots", "lib.progress")) for name in artifacts.sources(training.train_classifier)
    )
    assert artifacts.fingerprint(partial(FeedForward, 32)) != artifacts.fingerprint(partial(FeedForward, 64))
    assert artifacts.fingerprint(CNN) != artifacts.fingerprint(FeedForward)


def test_partials_cached_functions_and_dotted_modules_are_followed():
    source = """
    import lib.metrics
    from functools import cache, partial
    def double(x, by): return x * by
    twice = partial(double, by=2)
    @cache
    def once(x): return x
    def train(n): return twice(once(n)), lib.metrics.accuracy
    """
    reached = artifacts.sources(module(source).train)
    assert {"lib._probe.once", "lib._probe: twice", "lib.metrics.accuracy"} <= reached.keys()
    assert key(source) != key(source.replace("by=2", "by=3"))
    assert key(source) != key(source.replace("return x\n", "return -x\n"))
    with pytest.raises(TypeError, match="imports lib inside"):
        key("def train(n):\n    from lib import data\n    return data")


def test_what_cannot_be_hashed_is_refused():
    hidden = 3

    def closure():
        return hidden

    closure.__module__ = "lib._probe"
    with pytest.raises(TypeError, match=r"enclosing function.*partial"):
        artifacts.fingerprint(closure)
    with pytest.raises(TypeError, match="cannot tell the content of"):
        artifacts.fingerprint(object())


@pytest.mark.parametrize("file", ["weights.safetensors", "artifact.json"])
def test_damaged_artifact_is_trained_again(file, capsys):
    train = module(BASE).train
    first = artifacts.trained("probe", train, n=3)
    (folder,) = (f for f in paths.cache_dir().iterdir() if f.is_dir())
    damaged = (folder / file).read_bytes()[:-3]
    (folder / file).write_bytes(damaged)
    assert artifacts.trained("probe", train, n=3).state["w"].equal(first.state["w"])
    assert "damaged" in capsys.readouterr().err
    assert (folder / file).read_bytes() != damaged


def test_artifact_is_json_and_safetensors_only():
    artifacts.trained("probe", module(BASE).train, n=3)
    (folder,) = (f for f in paths.cache_dir().iterdir() if f.is_dir())
    assert sorted(f.name for f in folder.iterdir()) == ["artifact.json", "weights.safetensors"]
    about = json.loads((folder / "artifact.json").read_text())
    assert about["environment"]["threads"] == torch.get_num_threads()
    assert about["history"] == {"loss": [1 / 3]}


CONCURRENT = """
import pathlib, sys, time, torch
from functools import partial
from lib import artifacts

def train(log, n):
    with open(log, "a") as file:
        file.write("trained\\n")
    time.sleep(1)
    return {"w": torch.arange(n).float()}, {"loss": [0.5]}

train.__module__ = "elsewhere"
done = artifacts.trained("shared", train, log=sys.argv[1], n=1000)
assert done.state["w"].sum() == 499500
"""


def test_processes_that_want_the_same_model_train_it_once(tmp_path):
    log = tmp_path / "log"
    running = [subprocess.Popen([sys.executable, "-c", CONCURRENT, str(log)]) for _ in range(3)]
    assert [p.wait(60) for p in running] == [0, 0, 0]
    assert log.read_text() == "trained\n"


def test_killed_training_leaves_nothing_and_does_not_block_the_next(tmp_path):
    log = tmp_path / "log"
    slow = CONCURRENT.replace("time.sleep(1)", "time.sleep(0 if len(open(log).readlines()) > 1 else 600)")
    victim = subprocess.Popen([sys.executable, "-c", slow, str(log)])
    while not (log.exists() and log.read_text()):
        assert victim.poll() is None
    victim.kill()
    victim.wait()
    assert not [f for f in paths.cache_dir().iterdir() if f.is_dir()]
    assert subprocess.run([sys.executable, "-c", slow, str(log)], timeout=60).returncode == 0


@pytest.fixture
def on_disk(tmp_path, monkeypatch):
    """A module of lib with a file, loaded before this process began."""
    file = tmp_path / "probe.py"
    file.write_text(BASE)
    probe = types.ModuleType("lib._on_disk")
    probe.__file__ = str(file)
    monkeypatch.setitem(sys.modules, "lib._on_disk", probe)
    exec(compile(BASE, file, "exec"), probe.__dict__)
    os.utime(file, (artifacts.STARTED - 9, artifacts.STARTED - 9))
    return probe, file


def test_code_edited_after_it_was_loaded_is_run_but_not_kept(on_disk, capsys):
    """Else its new text would stand for what the old code computed."""
    probe, file = on_disk
    artifacts.trained("probe", probe.train, n=3)
    kept = set(paths.cache_dir().iterdir())
    file.write_text(BASE.replace("RATE = 2.0", "RATE = 5.0"))
    os.utime(file, (artifacts.STARTED + 9, artifacts.STARTED + 9))
    assert artifacts.trained("probe", probe.train, n=3).state["w"].tolist() == [3.0, 3.0]
    assert set(paths.cache_dir().iterdir()) == kept
    assert "probe.py was edited after this process loaded it (restart the kernel" in capsys.readouterr().err


def test_training_whose_code_is_edited_meanwhile_is_kept(on_disk):
    """The key was made of the code as it was loaded, which is what ran."""
    probe, file = on_disk

    def train(n, then):
        os.utime(file, (artifacts.STARTED + 9, artifacts.STARTED + 9))
        return probe.train(n)

    train.__module__ = "elsewhere"
    artifacts.trained("probe", train, n=3, then=probe.train)
    assert len(list(paths.cache_dir().glob("probe-*/artifact.json"))) == 1
