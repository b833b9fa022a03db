"""A training that is killed goes on from its last checkpoint and comes to the same bytes."""

import hashlib
import io
import os
import pickle
import random
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from lib import data, progress
from lib.atomic import write_atomic
from lib.models.autoencoder import Autoencoder, ConvAutoencoder
from lib.models.feedforward import FeedForward
from lib.models.gan import Dropout
from lib.models.vae import ConvVAE
from lib.training import checkpoint
from lib.training.autoencoder import train_autoencoder
from lib.training.checkpoint import Checkpoint, checkpoints
from lib.training.classifier import classifier_step, train_classifier, train_stack
from lib.training.gan import train_gan, update_at_once
from lib.training.loop import Diverged, Learner, fit, outputs, stream
from lib.training.vae import train_vae

draws = stream(0, 0)
IMAGES = torch.randint(0, 256, (22, 28, 28), dtype=torch.uint8, generator=draws)
SPLIT = data.Split(IMAGES, torch.randint(0, 10, (22,), generator=draws))
FLOATS = data.unit(IMAGES)
TINY = {"channels": (2, 3, 4), "hidden": 8}


class Killed(Exception):
    """Ends a training as a crash would: what it had in memory is lost."""


def small_cnn():
    return nn.Sequential(
        *(nn.Conv2d(1, 4, 5, stride=3), nn.ReLU(), nn.Conv2d(4, 6, 3), nn.ReLU()),
        *(nn.Flatten(), nn.Dropout(0.3), nn.Linear(6 * 36, 10)),
    )


def small_generator():
    return nn.Sequential(
        *(nn.Linear(5, 2 * 49), nn.BatchNorm1d(98), nn.ReLU(), nn.Unflatten(1, (2, 7, 7))),
        *(
            nn.ConvTranspose2d(2, 3, 4, 2, 1),
            nn.BatchNorm2d(3),
            nn.ReLU(),
            nn.ConvTranspose2d(3, 1, 4, 2, 1),
            nn.Tanh(),
        ),
    )


def small_discriminator():
    return nn.Sequential(
        *(spectral_norm(nn.Conv2d(1, 3, 4, 2, 1)), nn.LeakyReLU(0.2), Dropout(0.3), nn.Conv2d(3, 4, 4, 4)),
        *(nn.LeakyReLU(0.2), nn.Dropout2d(0.3), nn.Flatten(), nn.Linear(4 * 9, 1)),
    )


def half_of_the_encoder_frozen():
    model = Autoencoder((784, 12, 6, 3))
    model.encoder[0].requires_grad_(False)
    return model


def noisy(x, generator):
    return x.flatten(1) + torch.randn(x[0].numel(), generator=generator) / 2


def codes(model, images):
    return model.encode(images)[0]


def guide(images):
    return images.flatten(1).mean(1)


GAN = {
    "build_generator": small_generator,
    "build_discriminator": small_discriminator,
    "real": data.symmetric(IMAGES),
    "latent": 5,
    "epochs": 3,
    "batch_size": 5,
    "lr": 1e-3,
    "watch": partial(outputs, inputs=torch.ones(2, 5)),
}
CLASSIFIER = {
    "train": SPLIT,
    "evaluate_on": {"seen": SPLIT[:5]},
    "prepare": data.symmetric,
    "epochs": 4,
    "batch_size": 5,
}
AUTOENCODER = {"train": FLOATS, "evaluate_on": {"seen": FLOATS[:5]}, "epochs": 4, "batch_size": 5}
TRAININGS = {
    "classifier with augmentation and one cycle": partial(
        train_classifier, small_cnn, augment=data.random_shift, trace_every=2, lr=3e-3, **CLASSIFIER
    ),
    "classifier with momentum": partial(
        *(train_classifier, partial(FeedForward, 8)),
        **CLASSIFIER | {"optimiser": "sgd", "optimiser_settings": {"momentum": 0.9}, "lr": 0.1, "evaluate_every": 3},
    ),
    "convolutional autoencoder with dropout, corruption, watch and one cycle": partial(
        *(train_autoencoder, partial(ConvAutoencoder, dropout=0.5, **TINY)),
        **AUTOENCODER | {"corrupt": noisy, "watch": partial(codes, images=FLOATS[:2]), "lr": 3e-3},
    ),
    "autoencoder with frozen weights, RMSprop and decay, in bfloat16": partial(
        *(train_autoencoder, half_of_the_encoder_frozen),
        **AUTOENCODER | {"optimiser": "rmsprop", "optimiser_settings": {"momentum": 0.5}, "decay_every": 1.5},
        lr=1e-3,
        precision="bfloat16",
    ),
    "VAE": partial(
        *(train_vae, partial(ConvVAE, latent=3, **TINY), FLOATS, {"seen": FLOATS[:5]}),
        **{"epochs": 4, "batch_size": 5, "lr": 3e-3, "watch": partial(codes, images=FLOATS[:2])},
    ),
    "GAN with dropout, moving average and decay": partial(
        train_gan,
        **GAN | {"average": 0.9, "decay_every": 1.5, "trace_every": 3, "optimiser_settings": {"betas": (0.5, 0.9)}},
        evaluate_on={"seen": data.symmetric(IMAGES[:3])},
    ),
    "GAN at once with a guide": partial(train_gan, update=partial(update_at_once, real_target=0.9, guide=guide), **GAN),
    "stack": partial(
        train_stack,
        [("relu", 0.1), ("tanh", 0.2), ("sigmoid", 0.5)],
        hidden=6,
        **{name: value for name, value in CLASSIFIER.items() if name != "batch_size"},
        batch_size=5,
    ),
}


def same(first, second):
    """Are (weights, history) the same to the byte, seconds aside?"""
    (a, history_a), (b, history_b) = first, second
    assert a.keys() == b.keys()
    for name in a:
        assert a[name].dtype == b[name].dtype
        assert a[name].numpy().tobytes() == b[name].numpy().tobytes(), name
    assert list(history_a) == list(history_b)
    for name, values in history_a.items():
        assert len(values) == len(history_b[name]), name
        assert "seconds" in name or values == history_b[name], name
    return True


@pytest.fixture(scope="module", params=TRAININGS, ids=[name.replace(" ", "_") for name in TRAININGS])
def undisturbed(request):
    """(a training, what it comes to when nothing happens)."""
    training = TRAININGS[request.param]
    return training, training()


# --- killed and continued ----------------------------------------------------------------------------------------


def test_an_interrupted_training_comes_to_the_same_bytes(undisturbed, tmp_path, monkeypatch):
    """It is killed at random steps, a moment before or some steps after a checkpoint; the dice are seeded."""
    training, expected = undisturbed
    dice, deaths, written = random.Random(1), [], []

    def due(self):
        fate = dice.random()
        if fate < 0.15:
            deaths.append(fate)
            raise Killed
        return fate < 0.5

    write = Checkpoint.write
    monkeypatch.setattr(Checkpoint, "due", due)
    monkeypatch.setattr(Checkpoint, "write", lambda self, state: written.append(write(self, state)))
    for _ in range(60):
        torch.manual_seed(dice.randrange(1000))  # what the process drew before does not count
        try:
            with checkpoints(tmp_path):
                result = training()
            break
        except Killed:
            pass
    assert same(result, expected)
    assert len(deaths) >= 3
    assert len(written) >= 3


def test_a_training_that_was_killed_after_its_last_step_is_evaluated_and_done(undisturbed, tmp_path):
    training, expected = undisturbed
    with checkpoints(tmp_path, every=0):
        assert same(training(), expected), "writing does not change the training"
    with checkpoints(tmp_path, every=0):
        assert same(training(), expected), "nor does going on from the last step"


@pytest.mark.parametrize("epoch", [1, 2, 4])
def test_a_training_that_was_killed_while_evaluating_comes_to_the_same_bytes(tmp_path, epoch):
    """The last checkpoint holds all steps of the epoch and none of its evaluation."""

    def kill(done, history):
        if done == epoch:
            raise Killed

    training = TRAININGS["convolutional autoencoder with dropout, corruption, watch and one cycle"]
    with pytest.raises(Killed), checkpoints(tmp_path, every=0):
        training(after_epoch=kill)
    epochs = []
    with checkpoints(tmp_path, every=0):
        result = training(after_epoch=lambda done, history: epochs.append(done))
    assert same(result, training())
    assert epochs == list(range(epoch, 5)), "what was done is not done again"


KILLED = """
import os, random, signal, sys, time
import torch
torch.set_num_threads(1)
from pathlib import Path
from safetensors.torch import save_file
from lib import progress
progress.plain = True
from lib.training import gan
from lib.training.checkpoint import checkpoints
from tests_of_checkpoints import GAN

folder, dice, deaths = Path(sys.argv[1]), random.Random(2), 0
GAN = GAN | {"average": 0.5, "epochs": 6, "watch": None}

def train(allowed, told):
    def update(*given):
        os.read(allowed, 1)
        log = gan.update_in_turn(*given)
        os.write(told, b".")
        return log

    with checkpoints(folder / "halfway", every=0):
        state, _ = gan.train_gan(update=update, **GAN)
    save_file(state, folder / "resumed.safetensors")

save_file(gan.train_gan(**GAN)[0], folder / "undisturbed.safetensors")
while not (folder / "resumed.safetensors").exists():
    (allowed, allow), (heard, told) = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        train(allowed, told)
        os._exit(0)
    os.close(told)
    steps = dice.randrange(2, 6) if deaths < 5 else 100
    os.write(allow, b"." * steps)
    if steps < 100:  # somewhere in its last step or after it
        for _ in range(steps - 1):
            os.read(heard, 1)
        time.sleep(dice.random() / 100)
        os.kill(child, signal.SIGKILL)
        deaths += 1
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status == (-signal.SIGKILL if steps < 100 else 0), status
    for end in (allowed, allow, heard):
        os.close(end)
print(deaths)
"""


def test_a_process_that_is_killed_comes_to_the_same_bytes(tmp_path):
    """Real SIGKILLs at random moments; each attempt is a fork of one process that has imported torch."""
    root = Path(__file__).resolve().parents[2]
    (tmp_path / "tests_of_checkpoints.py").write_text(Path(__file__).read_text("utf-8"), "utf-8")
    path = os.pathsep.join([str(root), str(tmp_path)])
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, encoding="utf-8", timeout=300)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == 5
    resumed = (tmp_path / "resumed.safetensors").read_bytes()
    assert resumed == (tmp_path / "undisturbed.safetensors").read_bytes()


# --- what lies on disk -------------------------------------------------------------------------------------------


class Counter:
    """A part that counts steps; its training is as short as can be."""

    def __init__(self):
        self.steps = 0

    def state_dict(self):
        return {"steps": self.steps}

    def load_state_dict(self, state):
        self.steps = state["steps"]


def count(epochs=3, die_at=None, seen=None, n=10, **settings):
    """Three steps an epoch, of 4, 4 and 2 examples; what each returns depends on all steps before."""
    counter = Counter()

    def step(index):
        counter.steps += 1
        if counter.steps == die_at:
            raise Killed
        if seen is not None:
            seen.append(index)
        return {"value": index.float().mean() * counter.steps + torch.rand(())}

    return fit(step, n, epochs=epochs, batch_size=4, parts={"counter": counter}, **settings)


def killed(folder, **settings):
    with pytest.raises(Killed), checkpoints(folder, every=0):
        count(**settings)


@pytest.mark.parametrize("moment", range(2, 10))
def test_after_each_step_the_rest_is_done_and_nothing_twice(tmp_path, moment):
    before, after, whole = [], [], []
    killed(tmp_path, die_at=moment, seen=before)
    with checkpoints(tmp_path, every=0):
        history = count(seen=after)
    expected = count(seen=whole)
    assert [index.tolist() for index in before + after] == [index.tolist() for index in whole]
    assert history["value"] == expected["value"]


def ticking():
    """A clock that moves on by one second whenever one looks."""
    ticks = iter(range(10_000))
    return SimpleNamespace(perf_counter=lambda: float(next(ticks)))


@pytest.mark.parametrize("moment", [2, 3, 5, 9])
def test_seconds_of_an_epoch_are_those_before_and_after_the_interruption(tmp_path, monkeypatch, moment):
    monkeypatch.setattr("lib.training.loop.time", ticking())
    killed(tmp_path, die_at=moment, prefix="train_")
    with checkpoints(tmp_path, every=0):
        history = count(prefix="train_")
    assert history["train_seconds"] == [3, 3, 3]


@pytest.mark.parametrize("moment", [1, 4, 5, 7])
def test_an_interrupt_is_kept_to_the_last_step_and_says_how_to_go_on(tmp_path, moment):
    """Also in the middle of a step, which is finished first, and far from the next checkpoint."""
    part = Counter()

    def step(index):
        if part.steps == moment:
            signal.raise_signal(signal.SIGINT)
        part.steps += 1
        return {"loss": torch.tensor(float(part.steps))}

    def training():
        return fit(step, 10, epochs=3, batch_size=3, parts={"part": part}, title="beta-vae")

    before = signal.getsignal(signal.SIGINT)
    with checkpoints(tmp_path, every=3600), pytest.raises(checkpoint.Interrupted) as stopped:
        training()
    assert signal.getsignal(signal.SIGINT) is before
    said = "beta-vae: interrupted. What it has learned is kept: run the cell again to go on."
    assert stopped.value._render_traceback_() == [said]
    assert part.steps == moment + 1
    part.steps = 0
    with checkpoints(tmp_path, every=3600):
        history = training()
    assert part.steps == 12
    assert history["loss"] == pytest.approx([2.2, 6.2, 10.2])


def test_an_interrupt_while_evaluating_is_kept_after_it_and_a_second_one_acts_at_once(tmp_path):
    def interrupted(times, at=2):
        def evaluate(done):
            for _ in range(times if done == at else 0):
                signal.raise_signal(signal.SIGINT)
            seen.append(done)
            return {}

        return evaluate

    seen = []
    with checkpoints(tmp_path, every=3600), pytest.raises(checkpoint.Interrupted):
        count(evaluate=interrupted(1))
    with checkpoints(tmp_path, every=3600):
        count(evaluate=interrupted(0))
    assert seen == [1, 2, 3], "the evaluation was finished, and nothing is done twice"
    with checkpoints(tmp_path / "other", every=3600), pytest.raises(KeyboardInterrupt) as stopped:
        count(evaluate=interrupted(2))
    assert not isinstance(stopped.value, checkpoint.Interrupted)
    with checkpoints(tmp_path / "third", every=3600), pytest.raises(KeyboardInterrupt) as stopped:
        count(evaluate=interrupted(1, at=3))
    assert not isinstance(stopped.value, checkpoint.Interrupted), "no step follows, and nothing is said to be kept"


def test_what_is_shown_after_a_resume_starts_at_the_steps_that_were_done(tmp_path, monkeypatch):
    """So that the time left is reckoned from the steps of this process."""
    told, shown = [], progress.shown

    def noting(title, total, done):
        told.append((total, done))
        return shown(title, total, done)

    monkeypatch.setattr(progress, "shown", noting)
    killed(tmp_path, die_at=5)
    with checkpoints(tmp_path, every=0):
        count()
    assert told == [(3, 0), (3, pytest.approx(4 / 3))]


def test_nothing_is_written_without_checkpoints(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(checkpoint, "EVERY", 0)
    monkeypatch.setattr(checkpoint, "write_atomic", None)
    with checkpoints(tmp_path / "inside", every=1000):
        pass  # what was opened is closed again
    with pytest.raises(Killed):
        count(die_at=5)
    assert len(count()["value"]) == 3
    assert list(tmp_path.rglob("*")) == []


def test_a_checkpoint_is_written_when_so_many_seconds_have_passed(tmp_path, monkeypatch):
    """The clock moves on by one second at each step; an epoch has three steps."""
    now, written = [0.0], []
    monkeypatch.setattr(checkpoint, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(checkpoint, "write_atomic", lambda path, content: written.append(now[0]))

    def step(index):
        now[0] += 1
        return {"value": index.float().mean()}

    for every, expected in ((4, [4, 8, 12]), (1, list(range(1, 13))), (13, [])):
        now[0], written[:] = 0.0, []
        with checkpoints(tmp_path, every=every):
            fit(step, 10, epochs=4, batch_size=4, parts={})
        assert written == expected


def test_two_fits_of_one_training_have_a_file_each(tmp_path):
    def training(die_at=None):
        first_seen, second_seen = [], []
        first = count(epochs=2, seen=first_seen)
        second = count(epochs=3, seen=second_seen, seed=5, die_at=die_at)
        return (first["value"], second["value"]), (len(first_seen), len(second_seen))

    expected, steps = training()
    assert steps == (6, 9)
    with pytest.raises(Killed), checkpoints(tmp_path, every=0):
        training(die_at=5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.cpu.pt", "1.cpu.pt"]
    with checkpoints(tmp_path, every=0):
        found, steps = training()
    assert found == expected
    assert steps == (0, 5), "nothing is learned twice"


def test_the_places_of_two_trainings_one_in_the_other_do_not_mix(tmp_path):
    with checkpoints(tmp_path / "outer", every=0):
        count()
        with checkpoints(tmp_path / "inner", every=0):
            count()
        count()
    found = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.pt"))
    assert found == ["inner/0.cpu.pt", "outer/0.cpu.pt", "outer/1.cpu.pt"]


def test_checkpoints_end_when_a_training_fails(tmp_path):
    killed(tmp_path, die_at=2)
    assert Checkpoint().path is None


def halfway(folder):
    """The file of a training with a network that was killed in its second epoch, and what it comes to."""
    with pytest.raises(Killed), checkpoints(folder, every=0):
        learn(die_at=5)
    return folder / "0.cpu.pt"


def learn(die_at=None):
    torch.manual_seed(0)
    network, calls = nn.Linear(5, 3), []
    learner = Learner(network, 0.1, cycle=9)

    def step(index):
        calls.append(index)
        if len(calls) == die_at:
            raise Killed
        loss = network(index.float().view(-1, 1).expand(-1, 5)).square().mean()
        learner.descend(loss)
        return {"loss": loss}

    history = fit(step, 10, epochs=3, batch_size=4, parts={"network": network, "learner": learner})
    return dict(network.state_dict()), history, len(calls)


DAMAGES = {
    "empty": lambda raw: b"",
    "cut short": lambda raw: raw[:-1],
    "half": lambda raw: raw[: len(raw) // 2],
    "zeros at the end": lambda raw: raw[:-64] + bytes(64),
    "zeros": lambda raw: bytes(len(raw)),
    "longer": lambda raw: raw + b"more",
    "text": lambda raw: b"not a checkpoint at all\n" * 100,
    "a pickle": lambda raw: pickle.dumps({"epoch": 1}),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_ignored_and_the_training_starts_again(tmp_path, damage):
    path = halfway(tmp_path)
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    with checkpoints(tmp_path, every=0):
        weights, history, steps = learn()
    expected, expected_history, whole = learn()
    assert same((weights, history), (expected, expected_history))
    assert steps == whole == 9


def test_an_undamaged_checkpoint_is_not_ignored(tmp_path):
    halfway(tmp_path)
    with checkpoints(tmp_path, every=0):
        assert learn()[2] == 5


def test_no_single_changed_byte_goes_unnoticed(tmp_path):
    path = halfway(tmp_path)
    raw, dice = path.read_bytes(), np.random.default_rng(0)
    with checkpoints(tmp_path):
        assert Checkpoint().read() is not None
    for place in dice.integers(len(raw), size=150):
        changed = bytearray(raw)
        changed[place] ^= 1 << dice.integers(8)
        path.write_bytes(changed)
        with checkpoints(tmp_path):
            found = Checkpoint().read()
        assert found is None, f"byte {place} of {len(raw)}"


def test_a_file_of_another_program_is_ignored(tmp_path):
    torch.save({"parts": torch.zeros(3)}, tmp_path / "0.cpu.pt")
    with checkpoints(tmp_path, every=0):
        assert learn()[2] == 9


def test_a_folder_in_its_place_is_ignored(tmp_path):
    (tmp_path / "0.cpu.pt").mkdir()
    with checkpoints(tmp_path):
        assert Checkpoint().read() is None


def test_a_checkpoint_of_another_kind_of_device_is_ignored(tmp_path, monkeypatch):
    halfway(tmp_path)
    monkeypatch.setattr(checkpoint, "device", lambda: torch.device("cuda"))
    with checkpoints(tmp_path):
        assert Checkpoint().read() is None


def test_what_is_written_comes_back_as_it_was(tmp_path):
    """Numbers, text, nested dicts with numbers as keys, and tensors of every kind and layout."""
    torch.manual_seed(0)
    shared = torch.randn(4)
    state = {
        "numbers": [1, 2.5, 1e-300, -0.0, float("inf"), None, True],
        0: {"a": {"b": [[]]}, 1: "text", "tuple": [1, 2]},
        "tensors": [
            *(torch.randn(2, 3), torch.tensor(1.5), torch.zeros(0), torch.zeros(2, 0), torch.ones(3, dtype=torch.bool)),
            *(
                torch.randn(5).bfloat16(),
                torch.randn(3).double(),
                torch.arange(4),
                torch.get_rng_state(),
                shared,
                shared,
            ),
            *(torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last), torch.randn(4, 3).T, torch.randn(9)[::2]),
            *(torch.randn(1).expand(3), torch.randn(3)),
        ],
    }
    with checkpoints(tmp_path):
        place = Checkpoint()
        place.write(state)
        found = place.read()
    assert found["numbers"] == state["numbers"]
    assert found[0] == state[0]
    for ours, theirs in zip(found["tensors"], state["tensors"], strict=True):
        assert ours.dtype == theirs.dtype
        assert ours.shape == theirs.shape
        assert ours.equal(theirs)
        assert ours.stride() == theirs.stride()


def test_moments_of_an_optimiser_come_back_in_the_layout_of_their_weights(tmp_path):
    """torch's fused optimisers take numbers as they lie in memory, whatever the layout says."""
    network = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    learner = Learner(network, 0.1)
    learner.descend(network(torch.ones(1, 3, 5, 5)).sum())
    with checkpoints(tmp_path):
        Checkpoint().write(checkpoint.captured({"learner": learner}))
    other = Learner(network, 0.1)
    with checkpoints(tmp_path):
        checkpoint.restored({"learner": other}, Checkpoint().read())
    for name, moment in other.optimiser.state[network.weight].items():
        if name != "step":
            assert moment.stride() == network.weight.stride() != moment.contiguous().stride()
            assert moment.equal(learner.optimiser.state[network.weight][name])


def test_loading_a_checkpoint_cannot_run_code(tmp_path):
    buffer = io.BytesIO()
    torch.save({"parts": Counter()}, buffer)  # whose class would be looked up and built
    (tmp_path / "0.cpu.pt").write_bytes(hashlib.sha256(buffer.getvalue()).digest() + buffer.getvalue())
    with checkpoints(tmp_path), pytest.raises(pickle.UnpicklingError, match="Counter"):
        Checkpoint().read()


def test_a_failed_write_leaves_the_file_before_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "new" / "file"
    write_atomic(path, "first")
    monkeypatch.setattr(Path, "replace", lambda self, target: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_atomic(path, b"second")
    assert path.read_text("utf-8") == "first"
    assert [each.name for each in path.parent.iterdir()] == ["file"], "and nothing beside it"


def test_a_file_is_never_seen_half_written(tmp_path, monkeypatch):
    path, seen = tmp_path / "file", []
    path.write_text("first", "utf-8")
    write_bytes = Path.write_bytes

    def slowly(self, content):
        write_bytes(self, content[:3])
        seen.append(path.read_text("utf-8"))
        return write_bytes(self, content)

    monkeypatch.setattr(Path, "write_bytes", slowly)
    write_atomic(path, "second")
    assert seen == ["first"]
    assert path.read_text("utf-8") == "second"


# --- going on is no excuse ---------------------------------------------------------------------------------------


def test_a_training_that_diverged_diverges_again(tmp_path):
    def step(index):
        steps.append(index)
        return {"value": torch.tensor(float("nan") if len(steps) == 5 else 1.0)}

    steps = []
    for _ in range(2):
        with pytest.raises(Diverged, match="value became nan in epoch 2"), checkpoints(tmp_path, every=0):
            fit(step, 6, epochs=4, batch_size=2, parts={})
    assert len(steps) == 6


def test_a_students_step_is_what_goes_on(tmp_path):
    def step(network, x, y, learner):
        calls.append(len(x))
        if len(calls) == 7:
            raise Killed
        return classifier_step(network, x, y, learner)

    calls, training = [], TRAININGS["classifier with augmentation and one cycle"]
    with pytest.raises(Killed), checkpoints(tmp_path, every=0):
        training(step=step)
    with checkpoints(tmp_path, every=0):
        result = training(step=step)
    assert same(result, training())
    assert len(calls) == 4 * 5 + 1
