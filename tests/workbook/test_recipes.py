"""The models that chapters share are trained on training images, and come back ready to be judged."""

import inspect
import subprocess
import sys

import pytest
import torch
from torch import nn

from lib.data.tensors import Split, hold_out, symmetric, unit
from lib.models import loaded
from lib.training.loop import part
from workbook import profiles, recipes
from workbook.cache import Trained
from workbook.fingerprint import describe
from workbook.paths import cache_dir

BRIGHTEST = 100  # of the training images; all pixels of test images are brighter


class FakeBook:
    """Few images, which can be told apart: test images are brighter."""

    def __init__(self, profile="smoke", seed=0, n=120):
        self.profile, self.seed = profile, seed
        random = torch.Generator().manual_seed(1)
        self.train = Split(
            torch.randint(0, BRIGHTEST, (n, 28, 28), dtype=torch.uint8, generator=random), torch.arange(n) % 10
        )
        self.test = Split(
            torch.randint(BRIGHTEST, 256, (20, 28, 28), dtype=torch.uint8, generator=random), torch.arange(20) % 10
        )

    def mnist(self):
        return self.train, self.test


@pytest.fixture
def asked(monkeypatch):
    """What ``shared`` asks the cache for, answered with networks that nobody trained."""
    calls = []

    def answer(name, train, /, keep=None, **settings):
        calls.append({"name": name, "train": train, "keep": keep, "settings": settings})
        inspect.signature(train).bind(**settings)
        state = {}
        if "build" in settings:
            state |= settings["build"]().state_dict()
        for network in ("generator", "discriminator"):
            if f"build_{network}" in settings and (keep is None or network in keep):
                made = settings[f"build_{network}"]().state_dict()
                state |= {f"{network}.{key}": tensor for key, tensor in made.items()}
        if "watch" in settings:
            state["watched"] = torch.zeros(1)
        return Trained({key: tensor.clone() for key, tensor in state.items()}, {"loss": [1.0]})

    monkeypatch.setattr(recipes, "trained", answer)
    return calls


EVERY_MODEL = pytest.mark.parametrize("name", recipes.RECIPES)
NEEDED = {"narrow_autoencoder": {"dimension": 2}}  # settings without which there is no model


def ask(name, book, **settings):
    return recipes.shared(name, book, **NEEDED.get(name, {}), **settings)


def images_of(split_or_tensor):
    return split_or_tensor.images if isinstance(split_or_tensor, Split) else split_or_tensor


@EVERY_MODEL
def test_a_model_is_trained_on_training_images_only(name, asked):
    book = FakeBook()
    ask(name, book)
    (call,) = asked
    given = images_of(call["settings"]["real" if "real" in call["settings"] else "train"]).flatten(1)
    train = hold_out(book.train)[0].images if name == "conv_autoencoder" else book.train.images
    prepare = symmetric if "gan" in name else unit
    assert given.equal((train if given.dtype == torch.uint8 else prepare(train)).flatten(1))


@pytest.mark.parametrize("name", ["classifier", "cnn"])
def test_a_classifier_is_given_the_labels_of_its_images_and_is_evaluated_on_the_test_images(name, asked):
    book = FakeBook()
    ask(name, book)
    settings = asked[0]["settings"]
    assert settings["train"].images.equal(book.train.images)
    assert settings["train"].labels.equal(book.train.labels)
    assert settings["evaluate_on"].keys() == {"test"}
    assert settings["evaluate_on"]["test"].images.equal(book.test.images)
    assert settings["evaluate_on"]["test"].labels.equal(book.test.labels)


@pytest.mark.parametrize("name", ["autoencoder", "narrow_autoencoder", "vae"])
def test_an_autoencoder_is_evaluated_on_the_test_images(name, asked):
    book = FakeBook()
    ask(name, book)
    assert asked[0]["settings"]["evaluate_on"]["test"].equal(unit(book.test.images))


def test_the_convolutional_autoencoder_is_evaluated_on_images_that_were_held_out(asked):
    book = FakeBook()
    recipes.shared("conv_autoencoder", book)
    settings = asked[0]["settings"]
    kept, held_out = hold_out(book.train)
    assert len(settings["train"]) == len(kept) == 100
    assert settings["evaluate_on"].keys() == {"validation"}
    assert settings["evaluate_on"]["validation"].equal(unit(held_out.images))
    assert settings["watch"].keywords["inputs"].equal(unit(book.test.images[:8]))


@pytest.mark.parametrize(("name", "lowest"), [("classifier", 0.0), ("cnn", -1.0)])
def test_a_classifier_learns_from_pixels_of_the_range_in_which_chapters_hand_it_images(name, lowest):
    pixels = recipes.settings(name)["prepare"](torch.tensor([[0, 255]], dtype=torch.uint8))
    assert pixels.flatten().tolist() == [lowest, 1.0]


@pytest.mark.parametrize("name", ["classifier", "cnn"])
def test_a_classifier_learns_from_images_that_are_shifted_by_a_pixel_at_most(name):
    dot = torch.zeros(200, 28, 28, dtype=torch.uint8)
    dot[:, 14, 14] = 255
    shifted = recipes.settings(name)["augment"](dot, torch.Generator().manual_seed(0))
    places = {(row - 14, column - 14) for _, row, column in shifted.nonzero().tolist()}
    assert places == {(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)}


@EVERY_MODEL
def test_a_model_comes_back_in_evaluation_mode_without_gradients_and_with_its_weights(name, asked):
    model, done = ask(name, FakeBook())
    assert isinstance(model, nn.Module)
    assert not any(layer.training for layer in model.modules())
    assert not any(weight.requires_grad for weight in model.parameters())
    weights = part(done.state, "generator") if "gan" in name else recipes.unwatched(done.state)
    assert weights
    assert all(tensor.equal(model.state_dict()[key]) for key, tensor in weights.items())
    assert done.history == {"loss": [1.0]}


@EVERY_MODEL
def test_a_profile_decides_how_many_epochs_a_model_is_trained_for(name, asked):
    for profile in profiles.PROFILES:
        ask(name, FakeBook(profile))
    assert {p: call["settings"]["epochs"] for p, call in zip(profiles.PROFILES, asked, strict=True)} == (
        recipes.epochs(name)
    )
    ask(name, FakeBook(), epochs=77)
    assert asked[-1]["settings"]["epochs"] == 77


@EVERY_MODEL
def test_a_model_has_the_seed_of_the_book_or_one_of_its_own(name, asked):
    for book, own in ((FakeBook(seed=4), None), (FakeBook(seed=4), 0), (FakeBook(seed=0), 9)):
        ask(name, book, seed=own)
    assert [call["settings"]["seed"] for call in asked] == [4, 0, 9]


@EVERY_MODEL
def test_everything_that_a_model_depends_on_can_be_told(name, asked):
    ask(name, FakeBook())
    (call,) = asked
    about = describe(call["train"], call["settings"])
    assert f"{call['train'].__module__}.{call['train'].__name__}" in about["sources"]
    assert len(about["sources"]) > 10


def test_every_model_has_a_file_name_and_a_function_of_its_own():
    names = [make().name for make in recipes.RECIPES.values()]
    assert len(set(names)) == len(names)
    for name in recipes.RECIPES:
        assert getattr(recipes, name).args == (name,)


def test_settings_of_the_network_can_be_changed(asked):
    assert recipes.classifier(FakeBook())[0].W1.shape == (784, 512)
    assert recipes.classifier(FakeBook(), hidden=32)[0].W1.shape == (784, 32)
    model, _ = recipes.gan(FakeBook(), latent=7)
    assert model(torch.zeros(1, 7)).shape[0] == 1
    assert asked[-1]["settings"]["latent"] == 7
    assert recipes.settings("classifier")["build"].keywords["hidden"] == 512
    with pytest.raises(TypeError, match="unexpected keyword argument 'hiden'"):
        recipes.classifier(FakeBook(), hiden=32)
    with pytest.raises(KeyError, match="resnet"):
        recipes.shared("resnet", FakeBook())


@pytest.mark.parametrize(
    ("name", "watched", "latent"),
    [("gan", 10, 25), ("linear_gan", 25, 2), ("conv_gan", 16, 100), ("report_conv_gan", 2000, 100)],
)
def test_of_a_gan_the_generator_is_kept_and_what_it_made_of_the_same_noise(name, watched, latent, asked):
    ask(name, FakeBook(seed=3))
    ask(name, FakeBook(seed=3))
    first, second = (call["settings"]["watch"](lambda noise: noise) for call in asked)
    assert first.shape == (watched, latent)
    assert first.equal(second)
    assert first.equal(torch.randn(watched, latent, generator=torch.Generator().manual_seed(3)))
    assert (asked[0]["keep"] is None) == name.endswith("conv_gan")
    assert asked[0]["keep"] in (None, ("generator", "watched"))


def test_settings_are_those_that_a_model_is_trained_with(asked):
    recipes.classifier(FakeBook())
    settings = recipes.settings("classifier")
    assert settings["build"].func is recipes.settings("classifier", hidden=3)["build"].func
    assert {"train", "evaluate_on", "epochs", "seed"}.isdisjoint(settings)
    used = asked[0]["settings"]
    assert all(used[key] == settings[key] for key in ("batch_size", "lr", "optimiser", "optimiser_settings", "prepare"))


def test_a_model_is_trained_once_and_then_found():
    book = FakeBook(n=40)
    first, done = recipes.classifier(book, epochs=1, hidden=8)
    (file,) = cache_dir().glob("feedforward-*.safetensors")
    before = file.stat().st_mtime_ns
    again, found = recipes.classifier(book, epochs=1, hidden=8)
    assert file.stat().st_mtime_ns == before
    assert not first.training
    assert not again.training
    assert all(tensor.equal(again.state_dict()[key]) for key, tensor in first.state_dict().items())
    assert done.history == found.history
    assert len(done.history["test_accuracy"]) == 1


def test_a_chapter_loads_the_code_of_the_models_that_it_uses_only():
    code = "import sys, workbook.recipes; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True
    ).stdout.split()
    ours = {name for name in loaded if name.startswith(("lib.models.", "lib.training."))}
    assert ours <= {"lib.training.loop", "lib.training.checkpoint"}


def test_loaded_refuses_weights_of_another_network():
    with pytest.raises(RuntimeError, match="size mismatch"):
        loaded(nn.Linear(2, 2), nn.Linear(3, 2).state_dict())
    model = loaded(nn.Dropout(), {})
    assert not model.training


def test_a_training_can_be_asked_for_without_its_network(asked):
    recipes.training("narrow_autoencoder", FakeBook(), keep=(), dimension=5)
    recipes.training("gan", FakeBook(), epochs=3, seed=8)
    assert asked[0]["keep"] == ()
    assert asked[0]["settings"]["build"].keywords == {"dimension": 5}
    assert asked[1]["keep"] == ("generator", "watched")
    assert (asked[1]["settings"]["epochs"], asked[1]["settings"]["seed"]) == (3, 8)
