"""The models that several chapters share: a recipe for each, and one way to ask for a model.

    classifier, _ = recipes.classifier(book)

trains the classifier with this profile's images and epochs, or loads it from the cache. It returns the network in
evaluation mode, and its weights and history. A recipe imports its network only when it is requested, so that a chapter
depends only on the code of the networks that it uses.

Learning rates and regularisation of 01, 02, 04, 13 and 16 were chosen on the validation split, the two rates of gan on
held-out images (notebook 05), and the rates of the other GANs by the class entropy of their samples.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from torch import Tensor, nn

from lib.data.tensors import Split, hold_out, random_shift, symmetric, unit
from lib.models import loaded
from lib.training.loop import from_noise, outputs, part
from workbook.book import Book
from workbook.cache import Trained, trained
from workbook.profiles import PROFILES


class Recipe(NamedTuple):
    """How a model is trained, apart from its epochs and seed."""

    name: str  # of its file
    train: Callable[..., tuple[dict, dict]]
    settings: dict[str, Any]
    data: Callable[[Split, Split], dict[str, Any]]  # of training and test images
    epochs: tuple[int, ...]  # of each profile
    keep: tuple[str, ...] | None = None  # the networks whose weights some chapter needs
    watched: int = 0  # the number of noise vectors decoded after every epoch


RECIPES: dict[str, Callable[..., Recipe]] = {}


def recipe(make: Callable[..., Recipe]) -> Callable[..., tuple[nn.Module, Trained]]:
    """A decorator that adds a recipe to RECIPES. Its name then stands for ``shared`` with this recipe."""
    RECIPES[make.__name__] = make
    return partial(shared, make.__name__)


def epochs(name: str) -> dict[str, int]:
    """The number of training epochs of a shared model, by profile."""
    return dict(zip(PROFILES, RECIPES[name]().epochs, strict=True))


def settings(name: str, **network: Any) -> dict[str, Any]:
    """Builders and training settings of a shared model, without its data, epochs and seed.

    ``network`` overrides settings of the network.
    """
    return RECIPES[name](**network).settings


def training(
    name: str,
    book: Book,
    *,
    epochs: int | None = None,
    seed: int | None = None,
    keep: tuple[str, ...] | None = None,
    **network: Any,
) -> Trained:
    """Weights and history of a model of RECIPES.

    By default, ``epochs`` and ``seed`` come from the profile and the book. ``network`` overrides settings of the
    network; ``keep`` is as in ``cache.trained``. Raises KeyError for a name that is not in the table.
    """
    made, seed = RECIPES[name](**network), book.seed if seed is None else seed
    how = made.settings | made.data(*book.mnist())
    if made.watched:
        how["watch"] = partial(from_noise, n=made.watched, latent=how["latent"], seed=seed)
    return trained(
        made.name,
        made.train,
        keep=made.keep if keep is None else keep,
        epochs=made.epochs[PROFILES.index(book.profile)] if epochs is None else epochs,
        seed=seed,
        **how,
    )


def shared(
    name: str, book: Book, *, epochs: int | None = None, seed: int | None = None, **network: Any
) -> tuple[nn.Module, Trained]:
    """A model of RECIPES in evaluation mode (for a GAN, the generator), and its ``training``."""
    done, builders = training(name, book, epochs=epochs, seed=seed, **network), settings(name, **network)
    if "build" in builders:
        return loaded(builders["build"](), unwatched(done.state)), done
    return loaded(builders["build_generator"](), part(done.state, "generator")), done


def unwatched(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights without the watched outputs."""
    return {name: tensor for name, tensor in state.items() if name != "watched"}


# --- the training data ---------------------------------------------------------------------------------------------


def _labelled(train: Split, test: Split) -> dict:
    return {"train": train, "evaluate_on": {"test": test}}


def _pixels(train: Split, test: Split) -> dict:
    return {"train": unit(train.images), "evaluate_on": {"test": unit(test.images)}}


def _pixels_measured(train: Split, test: Split) -> dict:
    """Like ``_pixels``, but the final error on the training images is measured too."""
    images = unit(train.images)
    return {"train": images, "evaluate_on": {"training": images, "test": unit(test.images)}}


def _pixels_held_out(train: Split, test: Split) -> dict:
    """Images without the validation split; watches the reconstructions of the first eight test images."""
    kept, validation = hold_out(train)
    watch = partial(outputs, inputs=unit(test.images[:8]))
    return {"train": unit(kept.images), "evaluate_on": {"validation": unit(validation.images)}, "watch": watch}


def _real(train: Split, test: Split) -> dict:
    real = symmetric(train.images)
    return {"real": real, "evaluate_on": {"train": real[:2000], "test": symmetric(test.images[:2000])}}


def _real_flat(train: Split, test: Split) -> dict:
    return {"real": symmetric(train.images).flatten(1)}


# --- the recipes ---------------------------------------------------------------------------------------------------


@recipe
def classifier(hidden: int = 512, activation: str = "relu") -> Recipe:
    """Of notebook 01; takes images from ``data.unit``."""
    from lib.models.feedforward import FeedForward
    from lib.training.classifier import train_classifier

    how = {
        "build": partial(FeedForward, hidden=hidden, activation=activation),
        "prepare": unit,
        "batch_size": 256,
        "optimiser": "adamw",
        "optimiser_settings": {"weight_decay": 0.05},
        "lr": 4e-3,
        "augment": partial(random_shift, pixels=1),
    }
    return Recipe("feedforward", train_classifier, how, _labelled, (4, 15))


@recipe
def cnn() -> Recipe:
    """Of 13; takes images from ``data.symmetric``."""
    from lib.models.cnn import CNN
    from lib.training.classifier import train_classifier

    how = {
        "build": CNN,
        "prepare": symmetric,
        "batch_size": 64,
        "optimiser": "adamw",
        "optimiser_settings": {"weight_decay": 0.01},
        "lr": 5e-3,
        "augment": partial(random_shift, pixels=1),
    }
    return Recipe("cnn", train_classifier, how, _labelled, (5, 5))


@recipe
def report_cnn() -> Recipe:
    """Of 13 and 14, as LINMA2472 trains it; takes images from ``data.symmetric``."""
    from lib.models.cnn import CNN
    from lib.training.classifier import train_classifier

    how = {
        "build": CNN,
        "prepare": symmetric,
        "batch_size": 32,
        "optimiser": "adam",
        "optimiser_settings": {"betas": [0.9, 0.999]},
        "lr": 1e-3,
        "one_cycle": False,
        "trace_every": 25,
    }
    return Recipe("cnn-report", train_classifier, how, _labelled, (1, 5))


@recipe
def autoencoder(**network: Any) -> Recipe:
    """Of 02, with two latent dimensions; takes images from ``data.unit``."""
    from lib.models.autoencoder import Autoencoder
    from lib.training.autoencoder import train_autoencoder

    how = {
        "build": partial(Autoencoder, **network),
        "batch_size": 256,
        "optimiser": "adamw",
        "optimiser_settings": {"weight_decay": 0.1},
        "lr": 2e-3,
        "precision": "fast",
    }
    return Recipe("autoencoder", train_autoencoder, how, _pixels, (3, 80))


@recipe
def narrow_autoencoder(dimension: int = 2) -> Recipe:
    """Of 07 and 08, as Advanced Deep Learning 2024 trains it; its errors are measured every fifth epoch."""
    from lib.models.autoencoder import narrow_autoencoder
    from lib.training.autoencoder import train_autoencoder

    build = partial(narrow_autoencoder, dimension=dimension)
    how = {"build": build, "batch_size": 128, "lr": 1e-3, "one_cycle": False, "precision": "fast", "evaluate_every": 5}
    return Recipe("autoencoder-narrow", train_autoencoder, how, _pixels_measured, (3, 20))


@recipe
def conv_autoencoder(**network: Any) -> Recipe:
    """Of 16, with ten latent dimensions."""
    from lib.models.autoencoder import ConvAutoencoder
    from lib.training.autoencoder import train_autoencoder

    how = {"build": partial(ConvAutoencoder, **network), "batch_size": 128, "lr": 2e-2}
    return Recipe("conv-autoencoder", train_autoencoder, how, _pixels_held_out, (4, 30))


@recipe
def vae(**network: Any) -> Recipe:
    """Of 04, with twenty latent dimensions."""
    from lib.models.vae import VAE
    from lib.training.vae import train_vae, vae_step

    step = partial(vae_step, masked=0.05, mirrored=True)
    how = {"build": partial(VAE, **network), "batch_size": 256, "lr": 8e-3, "step": step, "precision": "fast"}
    return Recipe("vae", train_vae, how, _pixels, (4, 100))


@recipe
def gan(latent: int = 25) -> Recipe:
    """Of 05; makes images in [-1, 1]."""
    from lib.training.gan import update_two_rates

    how = {"update": update_two_rates, "batch_size": 128, "lr": 3e-4, "average": 0.9995}
    return _of_linear_layers("gan", latent, how, (2, 50), watched=10)


@recipe
def linear_gan(latent: int = 2) -> Recipe:
    """Of 09: the report's rate and batch size; the tutorial that it follows has a rate of 2e-4."""
    how = {"batch_size": 100, "lr": 5e-4, "average": 0.999, "trace_every": 50}
    return _of_linear_layers("gan-linear", latent, how, (2, 20), watched=25)


def _of_linear_layers(name: str, latent: int, how: dict, epochs: tuple[int, ...], watched: int) -> Recipe:
    from lib.models.gan import Discriminator, Generator
    from lib.training.gan import train_gan

    builders = {"build_generator": partial(Generator, latent=latent), "build_discriminator": Discriminator}
    how = builders | {"latent": latent, "precision": "fast"} | how
    return Recipe(name, train_gan, how, _real_flat, epochs, ("generator", "watched"), watched)


@recipe
def conv_gan(latent: int = 100) -> Recipe:
    """Of 12."""
    from lib.models.gan import ConvDiscriminator, ConvGenerator
    from lib.training.gan import train_gan, update_at_once

    how = {
        "build_generator": partial(ConvGenerator, latent=latent),
        "build_discriminator": ConvDiscriminator,
        "latent": latent,
        "update": update_at_once,
        "batch_size": 64,
        "lr": 1e-3,
        "average": 0.999,
        "trace_every": 25,
        "precision": "fast",
    }
    return Recipe("gan-conv", train_gan, how, _real, (1, 4), watched=16)


@recipe
def report_conv_gan(latent: int = 100) -> Recipe:
    """Of 12 and 14, as LINMA2472 trains it; 2,000 images are kept after every epoch."""
    from lib.models.gan import ConvDiscriminator, ConvGenerator
    from lib.training.gan import train_gan, update_on_same_noise

    how = {
        "build_generator": partial(ConvGenerator, latent=latent),
        "build_discriminator": ConvDiscriminator,
        "latent": latent,
        "update": update_on_same_noise,
        "batch_size": 32,
        "lr": 2e-4,
        "trace_every": 25,
        "precision": "fast",
    }
    return Recipe("gan-conv-report", train_gan, how, _real, (1, 5), watched=2000)
