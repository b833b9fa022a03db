"""The same training is done once: cached, shared by processes, gone on with after a crash; bad files are not used."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from lib import compute
from workbook import cache, fingerprint
from workbook.cache import cached, trained
from workbook.paths import ROOT, cache_dir


@pytest.fixture(autouse=True)
def _nothing_released(monkeypatch, tmp_path):
    monkeypatch.setattr(cache, "RELEASED", tmp_path / "released")
    monkeypatch.setattr(fingerprint, "kept", [])
    cache.released.cache_clear()
    yield
    cache.released.cache_clear()


def train(log, n=3, seed=0):
    with open(log, "a", encoding="utf-8") as file:
        file.write("trained\n")
    return {"w": torch.full((2,), float(n)), "b": torch.tensor(seed)}, {"loss": [1.0 / n], "steps": [(1, 2)]}


@pytest.fixture
def log(tmp_path):
    file = tmp_path / "log"
    file.touch()
    return file


def times(log):
    return len(log.read_text("utf-8").splitlines())


def files():
    return sorted(cache_dir().glob("*.safetensors"))


# --- hits and misses ---------------------------------------------------------------------------------------------


def seeded(start):
    torch.manual_seed(start)
    return {"w": torch.randn(2)}, {}


def test_what_is_drawn_after_a_kept_function_is_the_same_whether_it_ran_or_was_found():
    def drawn():
        torch.manual_seed(3)
        trained("seeded", seeded, start=7)
        return torch.randn(4).tolist()

    assert drawn() == drawn()


def test_users_who_share_a_cache_share_its_locks(log):
    trained("probe", train, log=str(log))
    assert [path.stat().st_mode & 0o777 for path in cache_dir().glob("*.lock")] == [0o666]


def test_a_hit_equals_a_miss_and_does_not_train(log):
    first = trained("probe", train, log=str(log))
    second = trained("probe", train, log=str(log), n=3, seed=0)
    assert times(log) == 1
    assert first.state.keys() == second.state.keys()
    assert all(first.state[name].equal(second.state[name]) for name in first.state)
    assert first.history == second.history == {"loss": [1 / 3], "steps": [[1, 2]]}
    trained("probe", train, log=str(log), n=4)
    trained("another name", train, log=str(log))
    assert times(log) == 3
    assert len(files()) == 3


def test_what_a_process_used_is_listed_with_its_seconds(log, monkeypatch):
    monkeypatch.setattr(cache, "used", {})
    trained("probe", train, log=str(log))
    assert list(cache.used) == [files()[0].name]
    monkeypatch.setattr(cache, "used", {})
    trained("probe", train, log=str(log))
    assert list(cache.used) == [files()[0].name]
    assert all(isinstance(seconds, float) for seconds in cache.used.values())


def train_slowly(log):
    time.sleep(0.3)
    return train(log)


def train_with_another(log):
    return trained("inner", train_slowly, log=log)


@pytest.mark.parametrize("before", [False, True])
def test_of_a_training_within_another_the_outer_one_is_listed_with_the_seconds_of_both(before, log, monkeypatch):
    if before:
        trained("inner", train_slowly, log=str(log))
    monkeypatch.setattr(cache, "used", {})
    trained("outer", train_with_another, log=str(log))
    ((file, seconds),) = cache.used.items()
    assert file.startswith("outer-")
    assert seconds >= 0.3  # also if the inner one was there before
    assert times(log) == 1
    trained("inner", train_slowly, log=str(log))
    assert len(cache.used) == 2


def test_a_file_holds_safetensors_and_json_only(log):
    torch.set_num_threads(1)
    trained("probe", train, log=str(log))
    (file,) = files()
    content = file.read_bytes()
    size = int.from_bytes(content[:8], "little")
    head = json.loads(content[8 : 8 + size])
    assert {name: entry["dtype"] for name, entry in head.items() if name != "__metadata__"} == {"w": "F32", "b": "I64"}
    assert len(content) == 8 + size + 2 * 4 + 8
    about = json.loads(head["__metadata__"]["about"])
    assert about["name"] == "probe"
    assert about["history"]["loss"] == [1 / 3]
    assert about["seconds"] >= 0
    assert about["environment"] == compute.environment()
    assert about["environment"]["threads"] == 1
    assert {"python", "torch", "processor", "device", "fast_precision"} <= about["environment"].keys()
    assert about["settings"] == {"log": str(log), "n": 3, "seed": 0}
    assert f"{__name__}.train" in about["sources"]
    assert cache.file_name(about) == file.name


def test_a_file_name_is_the_same_for_every_thread_count_and_processor(log, monkeypatch):
    trained("probe", train, log=str(log))
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    monkeypatch.setattr(compute, "_processor", lambda: "another")
    try:
        trained("probe", train, log=str(log))
    finally:
        torch.set_num_threads(before)
    assert times(log) == 1


@pytest.mark.parametrize("announced", [None, "", "another-0.safetensors", "* seed 1: another-0.safetensors", "all"])
def test_the_first_training_that_was_not_announced_is_said_before_it_begins(announced, log, capsys, monkeypatch):
    monkeypatch.setattr(cache, "_surprised", False)
    if announced is not None:
        names = [f"probe-{key_of(train, log=str(log), n=n)}.safetensors" for n in (1, 2)]
        monkeypatch.setenv("WORKBOOK_ANNOUNCED", " ".join(names) if announced == "all" else announced)
    for n in (1, 1, 2):
        trained("probe", train, log=str(log), n=n)
    said = capsys.readouterr().err.count("must be trained, which was not announced")
    assert said == (announced in ("", "another-0.safetensors"))


# --- damage ------------------------------------------------------------------------------------------------------


def truncated(file):
    file.write_bytes(file.read_bytes()[:-3])


def emptied(file):
    file.write_bytes(b"")


def with_a_flipped_weight(file):
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def with_a_flipped_history(file):
    content = file.read_bytes()
    assert b'\\"loss\\": [0.3' in content
    file.write_bytes(content.replace(b'\\"loss\\": [0.3', b'\\"loss\\": [0.2'))


def foreign_safetensors(file):
    save_file({"w": torch.ones(2), "b": torch.tensor(0)}, file)


def foreign_safetensors_with_a_head(file):
    save_file({"w": torch.ones(2), "b": torch.tensor(0)}, file, {"about": "{}", "sha256": "0"})


def not_safetensors(file):
    file.write_text("<html>404: not found</html>", "utf-8")


def of_another_training(file):
    other = cache_dir() / trained_file(n=9)
    other.rename(file)


def of_another_name(file):
    _, about = cache.unpacked(file.read_bytes())
    file.write_bytes(cache.packed({"w": torch.zeros(2)}, about | {"name": "another"}))


def a_number(file):
    file.write_bytes((1).to_bytes(8, "little") + b"7")


def trained_file(**settings):
    before = set(files())
    trained("probe", train, log=os.devnull, **settings)
    return next(iter(set(files()) - before)).name


@pytest.mark.parametrize(
    "damage",
    [
        truncated,
        emptied,
        with_a_flipped_weight,
        with_a_flipped_history,
        foreign_safetensors,
        foreign_safetensors_with_a_head,
        not_safetensors,
        of_another_training,
        of_another_name,
        a_number,
    ],
    ids=lambda damage: damage.__name__,
)
def test_a_damaged_file_is_trained_again(damage, log, capsys):
    first = trained("probe", train, log=str(log))
    (file,) = files()
    damage(file)
    damaged = file.read_bytes()
    again = trained("probe", train, log=str(log))
    assert times(log) == 2
    assert all(first.state[name].equal(again.state[name]) for name in first.state)
    assert again.history == first.history
    assert capsys.readouterr().err.count(f"{file.name} is damaged and ignored") == 1
    assert file.read_bytes() != damaged
    trained("probe", train, log=str(log))
    assert times(log) == 2


# --- several processes, and crashes ------------------------------------------------------------------------------

SLOW = """
import os, sys, time
import torch
from torch import nn
from lib.training import checkpoint
from lib.training.loop import Learner, fit, seeded, weights
from workbook.cache import cached, trained

checkpoint.EVERY = 0.0  # after every step

def build():
    return nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.Linear(4, 1))

def train(log, epochs):
    network = seeded(build, 0)
    learner, x = Learner(network, 0.1), torch.arange(32.0).view(8, 4) / 32

    def step(index):
        with open(log, "a") as file:
            file.write("step\\n")
        time.sleep(float(os.environ["PAUSE"]))
        loss = (network(x[index]) - 1).square().mean()
        learner.descend(loss)
        return {"loss": loss}

    history = fit(step, 8, epochs=epochs, batch_size=2, parts={"network": network, "learner": learner})
    return weights(network), history

if __name__ == "__main__":
    done = trained("slow", train, log=sys.argv[1], epochs=3)
    assert len(done.history["loss"]) == 3
"""


def start(tmp_path, log, pause, **environment):
    script = tmp_path / "slow_probe.py"
    script.write_text(SLOW, "utf-8")
    settings = {**os.environ, "PAUSE": str(pause), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **environment}
    return subprocess.Popen(
        [sys.executable, str(script), str(log)], env=settings, stderr=subprocess.PIPE, encoding="utf-8"
    )


def waited_for(condition, process):
    while not condition():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)


def test_processes_that_want_the_same_model_train_it_once(tmp_path, log):
    running = [start(tmp_path, log, 0.01) for _ in range(2)]
    said = [process.communicate(timeout=240)[1] for process in running]
    assert [process.returncode for process in running] == [0, 0], said
    assert times(log) == 12
    assert len(files()) == 1


def test_a_killed_training_goes_on_from_its_checkpoint_to_the_same_weights(tmp_path, log):
    victim = start(tmp_path, log, 0.3)
    waited_for(lambda: times(log) >= 6, victim)
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    assert not files()
    assert len(list(cache_dir().glob("*.checkpoints/0.cpu.pt"))) == 1
    killed_after = times(log)

    heir = start(tmp_path, log, 0)
    said = heir.communicate(timeout=240)[1]
    assert heir.returncode == 0, said
    assert "slow: resuming from a checkpoint" in said
    assert 12 <= times(log) <= 13  # the step in which it was killed is taken again
    assert times(log) - killed_after < 12
    assert not list(cache_dir().glob("*.checkpoints"))

    in_one_go = start(tmp_path, log, 0, WORKBOOK_CACHE=str(tmp_path / "another"))
    assert in_one_go.wait(timeout=240) == 0
    (resumed,), (whole,) = files(), list((tmp_path / "another").glob("*.safetensors"))
    assert resumed.name == whole.name
    a, b = load_file(resumed), load_file(whole)
    assert {name: tensor.numpy().tobytes() for name, tensor in a.items()} == {
        name: tensor.numpy().tobytes() for name, tensor in b.items()
    }
    losses = [cache.unpacked(file.read_bytes())[1]["history"]["loss"] for file in (resumed, whole)]
    assert losses[0] == losses[1]


def test_a_training_that_fails_leaves_nothing_and_does_not_block_the_next(log):
    with pytest.raises(ZeroDivisionError):
        trained("probe", train, log=str(log), n=0)
    with pytest.raises(ZeroDivisionError):
        trained("probe", train, log=str(log), n=0)
    assert times(log) == 2
    assert not files()


# --- what trainings return ---------------------------------------------------------------------------------------


def returning(what):
    return RESULTS[what]()


def not_finite():
    history = {"loss": [1.0, math.nan], "rows": [[math.inf, 2.0]], "numpy": np.array([1, np.nan], np.float32)}
    return {"w": torch.ones(1)}, history | {"tensor": torch.tensor([math.nan]), "last": -math.inf, 3: [np.float64(2)]}


def odd():
    return {"w": torch.ones(1)}, {"loss": [1.0], "odd": [{3}], "text": ["a", None, True]}


RESULTS = {
    "not finite": not_finite,
    "odd": odd,
    "a model": lambda: (nn.Linear(1, 1), {}),
    "no history": lambda: {"w": torch.ones(1)},
    "nested": lambda: ({"a": {"w": torch.ones(1)}}, {}),
}


def results_of(what):
    """Train without the source of RESULTS, which holds lambdas."""
    returning.__module__ = "elsewhere"
    return trained("probe", returning, what=what)


def test_numbers_that_are_not_finite_are_kept_as_null_rather_than_losing_the_training(capsys):
    done = results_of("not finite")
    assert done.history == {
        "loss": [1.0, None],
        "rows": [[None, 2.0]],
        "numpy": [1.0, None],
        "tensor": [None],
        "last": None,
        "3": [2.0],
    }
    said = capsys.readouterr().err
    assert "probe: loss is nan, stored as null" in said
    assert "probe: last is -inf, stored as null" in said
    assert len(files()) == 1


def test_odd_things_in_a_history_are_kept_as_text(capsys):
    assert results_of("odd").history == {"loss": [1.0], "odd": ["{3}"], "text": ["a", None, True]}
    assert "probe: odd is a set, stored as text" in capsys.readouterr().err


@pytest.mark.parametrize("what", ["a model", "no history", "nested"])
def test_what_is_no_training_is_refused_by_name(what):
    with pytest.raises(TypeError, match=r"probe: a training function must return \({name: tensor}, {name: list of num"):
        results_of(what)
    assert not files()


def test_settings_that_are_not_finite_are_kept(log):
    trained("probe", train, log=str(log), n=math.inf)
    trained("probe", train, log=str(log), n=math.inf)
    assert times(log) == 1
    trained("probe", train, log=str(log), n=-math.inf)
    assert times(log) == 2


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.there, self.back = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
        self.back.weight = self.there.weight


def train_tied(width):
    network = Tied()
    convolution = nn.Conv2d(width, width, 2).to(memory_format=torch.channels_last)
    state = network.state_dict() | {"image": convolution.weight, "part": torch.arange(6.0).view(2, 3).T[1:]}
    return state, {}


def test_tied_and_transposed_weights_are_kept_and_load():
    done = trained("tied", train_tied, width=3)
    assert done.state["there.weight"].equal(done.state["back.weight"])
    assert done.state["part"].tolist() == [[1.0, 4.0], [2.0, 5.0]]
    network = Tied()
    network.load_state_dict({name: done.state[name] for name in network.state_dict()})
    assert network.back.weight is network.there.weight
    again = trained("tied", train_tied, width=3).state
    assert all(again[name].equal(tensor) for name, tensor in done.state.items())
    assert not any(tensor.requires_grad for tensor in again.values())


# --- measurements ------------------------------------------------------------------------------------------------


def measure(log, n=3):
    with open(log, "a", encoding="utf-8") as file:
        file.write("measured\n")
    return {"points": torch.full((2,), n / 3), "share": 1 / n, "rows": [(1, 2)], "name": "probe"}


def test_a_measurement_is_kept_with_numbers_text_and_tensors(log):
    first, second = (cached("measured", measure, log=str(log)) for _ in range(2))
    assert times(log) == 1
    for found in (first, second):
        assert found["points"].tolist() == [1.0, 1.0]
        assert {key: value for key, value in found.items() if key != "points"} == {
            "share": 1 / 3,
            "rows": [[1, 2]],
            "name": "probe",
        }
    cached("measured", measure, log=str(log), n=4)
    assert times(log) == 2


def numbers(n):
    return {"share": 1 / n}


def test_a_measurement_has_the_key_of_its_function_as_a_training_has():
    cached("probe", numbers, n=3)
    assert [file.name for file in files()] == [f"probe-{key_of(numbers, n=3)}.safetensors"]


@pytest.mark.parametrize("found", [0.5, [1], None, ({}, {})])
def test_a_measurement_that_is_no_dict_is_refused_by_name(found):
    with pytest.raises(TypeError, match=r"probe: a measurement must return a dict {name: value}, got a \w+"):
        cached("probe", returning_it, found=found)
    assert not files()


def returning_it(found):
    return found


# --- what a kept function reads of another one -------------------------------------------------------------------


def weigh(seed):
    return {"w": torch.rand(3, generator=torch.Generator().manual_seed(seed))}, {
        "loss": [seed / 7],
        "more": [[seed / 3]],
    }


def use(of):
    return {"used": True}


def key_of(function, **settings):
    return fingerprint.digest(fingerprint.describe(function, settings))[:16]


PARTS = [lambda d: d.state["w"], lambda d: d.history, lambda d: d.history["more"], lambda d: d]


@pytest.mark.parametrize("part", PARTS)
def test_what_a_kept_training_returned_is_named_by_its_key_and_not_by_its_numbers(part, monkeypatch):
    here, again, another = (trained("weigh", weigh, seed=seed) for seed in (1, 1, 2))
    assert key_of(use, of=part(here)) == key_of(use, of=part(again)) != key_of(use, of=part(another))
    before = key_of(use, of=part(here))
    monkeypatch.setattr(fingerprint, "kept", [])
    elsewhere = cache.Trained({"w": here.state["w"] * 1.001}, {"loss": [1 / 7.001], "more": [[1 / 3.001]]})
    fingerprint.remember(f"weigh-{key_of(weigh, seed=1)}", *elsewhere)
    assert key_of(use, of=part(elsewhere)) == before


def test_a_number_of_a_measurement_is_named_by_its_key(log):
    found = cached("measured", measure, log=str(log))
    assert "measured-" in json.dumps(fingerprint.describe(use, {"of": found["share"]})["settings"])
    with pytest.raises(TypeError, match="was computed"):
        key_of(use, of=2 * found["share"])


def test_what_was_changed_since_it_was_returned_is_not_named_by_its_key():
    done = trained("weigh", weigh, seed=1)
    key_of(use, of=done)
    done.history["loss"].append(0.5)
    done.state["w"] *= 2
    with pytest.raises(TypeError, match="was computed"):
        key_of(use, of=done.history)
    with pytest.raises(TypeError, match="were computed"):
        key_of(use, of=done.state)


def with_one_inside():
    inner = trained("weigh", weigh, seed=5).state
    return cached("use", use, of=inner) | inner


def test_a_result_has_the_same_name_whether_or_not_the_training_inside_it_ran_in_this_process(monkeypatch):
    first = key_of(use, of=cached("outer", with_one_inside)["w"])
    monkeypatch.setattr(fingerprint, "kept", [])
    assert key_of(use, of=cached("outer", with_one_inside)["w"]) == first


# --- keep --------------------------------------------------------------------------------------------------------


def train_two(log):
    with open(log, "a", encoding="utf-8") as file:
        file.write("trained\n")
    names = ("generator.w", "generator.b", "generators.w", "discriminator.w", "watched")
    return {name: torch.ones(1) for name in names}, {"loss": [0.5]}


def test_only_the_networks_that_are_named_are_kept(log):
    kept = trained("two", train_two, keep=("generator", "watched"), log=str(log))
    assert set(kept.state) == {"generator.w", "generator.b", "watched"}
    assert set(load_file(files()[0])) == set(kept.state)
    assert trained("two", train_two, keep=("generator",), log=str(log)).state.keys() == kept.state.keys()
    assert trained("two", train_two, keep=(), log=str(log)).history == {"loss": [0.5]}
    assert times(log) == 1


def test_the_history_alone_can_be_kept(log):
    assert trained("two", train_two, keep=(), log=str(log)) == ({}, {"loss": [0.5]})
    assert load_file(files()[0]) == {}


def test_a_call_that_needs_more_weights_trains_again(log, capsys):
    trained("two", train_two, keep=(), log=str(log))
    assert "generator.w" in trained("two", train_two, keep=("generator",), log=str(log)).state
    assert "lacks weights that this notebook needs; training it again" in capsys.readouterr().err
    assert len(trained("two", train_two, log=str(log)).state) == 5
    assert times(log) == 3
    for keep in ((), ("generator",), ("discriminator",), None):
        trained("two", train_two, keep=keep, log=str(log))
    assert times(log) == 3


def test_two_calls_that_need_different_weights_end_with_both(log):
    for keep in (("generator",), ("discriminator",), ("generator",), ("discriminator",)):
        assert f"{keep[0]}.w" in trained("two", train_two, keep=keep, log=str(log)).state
    assert times(log) == 2


# --- edits while a kernel runs -----------------------------------------------------------------------------------


@pytest.fixture
def on_disk(tmp_path, monkeypatch):
    """A module of ours with a file, loaded before this process began."""
    import importlib

    file = tmp_path / "loaded_probe.py"
    file.write_text("import torch\ndef train(n):\n    return {'w': torch.full((1,), 2.0 * n)}, {}\n", "utf-8")
    os.utime(file, (fingerprint.STARTED - 9,) * 2)
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("loaded_probe", None)
    importlib.invalidate_caches()
    yield importlib.import_module("loaded_probe"), file
    del sys.modules["loaded_probe"]


def test_code_edited_after_it_was_loaded_is_run_but_not_kept(on_disk, capsys):
    """Else its new text would stand for what the old code computed."""
    probe, file = on_disk
    trained("probe", probe.train, n=1)
    kept = {each: each.read_bytes() for each in cache_dir().iterdir()}
    file.write_text(file.read_text("utf-8").replace("2.0", "5.0"), "utf-8")
    os.utime(file, (fingerprint.STARTED + 9,) * 2)
    assert trained("probe", probe.train, n=1).state["w"].tolist() == [2.0]
    assert {each: each.read_bytes() for each in cache_dir().iterdir()} == kept
    said = capsys.readouterr().err
    assert "probe: loaded_probe.py was edited after this process loaded it (restart the kernel" in said
    assert "without caching the result" in said


def train_while_edited(path, then):
    os.utime(path, (2e10, 2e10))
    return then(3)


def test_a_training_whose_code_is_edited_meanwhile_is_kept(on_disk):
    """Its key was made of the code as it was loaded, which is what ran."""
    probe, file = on_disk
    assert trained("probe", train_while_edited, path=str(file), then=probe.train).state["w"].tolist() == [6.0]
    assert len(files()) == 1


def test_retraining_from_nothing_has_a_cache_of_its_own(monkeypatch):
    monkeypatch.delenv("WORKBOOK_CACHE")
    monkeypatch.delenv("WORKBOOK_RETRAIN", raising=False)
    assert cache_dir() == ROOT / ".cache" / "models"
    monkeypatch.setenv("WORKBOOK_RETRAIN", "1")
    assert cache_dir() == ROOT / ".cache" / "retrained"
    monkeypatch.setenv("WORKBOOK_CACHE", "/somewhere")
    assert cache_dir() == Path("/somewhere")
