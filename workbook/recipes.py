"""The models that several chapters share: one table of recipes, and one way to ask for a model.

    classifier, _ = recipes.classifier(book)

trains the classifier with this profile's images and epochs, or loads it from the cache. It returns the network in
evaluation mode, and its weights and history. A network is imported only when it is requested, so that a chapter depends
only on the code of the networks that it uses.
"""

from functools import partial
from pkgutil import resolve_name

from torch import Tensor, nn

from lib.data.tensors import Split, hold_out, random_shift, symmetric, unit
from lib.models import loaded
from lib.training.loop import from_noise, outputs, part
from workbook.book import Book
from workbook.cache import Trained, trained


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


_LINEAR_GAN = {
    "train": "lib.training.gan:train_gan",
    "build_generator": "lib.models.gan:Generator",
    "build_discriminator": "lib.models.gan:Discriminator",
    "data": _real_flat,
    "keep": ("generator", "watched"),
}

# data: the training data; watched: the number of noise vectors decoded after every epoch; keep: the networks whose
# weights some chapter needs; network: settings of the network. Learning rates and regularisation of 01, 02, 04, 13 and
# 16 were chosen on the validation split, the two rates of gan on held-out images (notebook 05), and the rates of the
# other GANs by the class entropy of their samples.
RECIPES = {
    "classifier": {
        "name": "feedforward",
        "train": "lib.training.classifier:train_classifier",
        "build": "lib.models.feedforward:FeedForward",
        "network": {"hidden": 512, "activation": "relu"},
        "data": _labelled,
        "epochs": {"smoke": 4, "full": 15},
        "settings": {
            "prepare": unit,
            "batch_size": 256,
            "optimiser": "adamw",
            "optimiser_settings": {"weight_decay": 0.05},
            "lr": 4e-3,
            "augment": partial(random_shift, pixels=1),
        },
    },
    "cnn": {
        "name": "cnn",
        "train": "lib.training.classifier:train_classifier",
        "build": "lib.models.cnn:CNN",
        "data": _labelled,
        "epochs": {"smoke": 5, "full": 5},
        "settings": {
            "prepare": symmetric,
            "batch_size": 64,
            "optimiser": "adamw",
            "optimiser_settings": {"weight_decay": 0.01},
            "lr": 5e-3,
            "augment": partial(random_shift, pixels=1),
        },
    },
    "autoencoder": {
        "name": "autoencoder",
        "train": "lib.training.autoencoder:train_autoencoder",
        "build": "lib.models.autoencoder:Autoencoder",
        "data": _pixels,
        "epochs": {"smoke": 3, "full": 80},
        "settings": {
            "batch_size": 256,
            "optimiser": "adamw",
            "optimiser_settings": {"weight_decay": 0.1},
            "lr": 2e-3,
            "precision": "fast",
        },
    },
    "narrow_autoencoder": {  # of Advanced Deep Learning 2024
        "name": "autoencoder-narrow",
        "train": "lib.training.autoencoder:train_autoencoder",
        "build": "lib.models.autoencoder:narrow_autoencoder",
        "data": _pixels_measured,
        "epochs": {"smoke": 3, "full": 3},
        "settings": {"batch_size": 128, "lr": 1e-2, "precision": "fast", "evaluate_every": 1000},  # only at the end
    },
    "conv_autoencoder": {
        "name": "conv-autoencoder",
        "train": "lib.training.autoencoder:train_autoencoder",
        "build": "lib.models.autoencoder:ConvAutoencoder",
        "data": _pixels_held_out,
        "epochs": {"smoke": 4, "full": 30},
        "settings": {"batch_size": 128, "lr": 2e-2},
    },
    "vae": {
        "name": "vae",
        "train": "lib.training.vae:train_vae",
        "build": "lib.models.vae:VAE",
        "data": _pixels,
        "epochs": {"smoke": 4, "full": 100},
        "settings": {
            "batch_size": 256,
            "lr": 8e-3,
            "step": ("lib.training.vae:beta_vae_step", {"masked": 0.05, "mirrored": True}),
            "precision": "fast",
        },
    },
    "gan": _LINEAR_GAN
    | {
        "name": "gan",
        "network": {"latent": 25},
        "watched": 10,
        "epochs": {"smoke": 2, "full": 50},
        "settings": {
            "update": "lib.training.gan:update_two_rates",
            "batch_size": 128,
            "lr": 3e-4,
            "average": 0.9995,
            "precision": "fast",
        },
    },
    "linear_gan": _LINEAR_GAN
    | {  # the report's rate and batch size; the tutorial it follows has a rate of 2e-4
        "name": "gan-linear",
        "network": {"latent": 2},
        "watched": 25,
        "epochs": {"smoke": 2, "full": 20},
        "settings": {"batch_size": 100, "lr": 5e-4, "average": 0.999, "trace_every": 50, "precision": "fast"},
    },
    "conv_gan": {
        "name": "gan-conv",
        "train": "lib.training.gan:train_gan",
        "build_generator": "lib.models.gan:ConvGenerator",
        "build_discriminator": "lib.models.gan:ConvDiscriminator",
        "network": {"latent": 100},
        "data": _real,
        "watched": 16,
        "epochs": {"smoke": 1, "full": 4},
        "settings": {
            "update": "lib.training.gan:update_at_once",
            "batch_size": 64,
            "lr": 1e-3,
            "average": 0.999,
            "trace_every": 25,
            "precision": "fast",
        },
    },
}


def epochs(name: str) -> dict[str, int]:
    """The number of training epochs of a shared model, by profile."""
    return dict(RECIPES[name]["epochs"])


def settings(name: str, **network: object) -> dict[str, object]:
    """Builders and training settings of a shared model, without its data, epochs and seed.

    ``network`` overrides settings of the network.
    """
    recipe = RECIPES[name]
    network = recipe.get("network", {}) | network
    if "build" in recipe:
        builders = {"build": partial(resolve_name(recipe["build"]), **network)}
    else:
        builders = {
            "build_generator": partial(resolve_name(recipe["build_generator"]), **network),
            "build_discriminator": resolve_name(recipe["build_discriminator"]),
            "latent": network["latent"],
        }
    own = dict(recipe["settings"])
    if "update" in own:
        own["update"] = resolve_name(own["update"])
    if "step" in own:
        function, fixed = own["step"]
        own["step"] = partial(resolve_name(function), **fixed)
    return builders | own


def training(
    name: str,
    book: Book,
    *,
    epochs: int | None = None,
    seed: int | None = None,
    keep: tuple[str, ...] | None = None,
    **network: object,
) -> Trained:
    """Weights and history of a model of RECIPES.

    By default, ``epochs`` and ``seed`` come from the profile and the book. ``network`` overrides settings of the
    network; ``keep`` is as in ``cache.trained``. Raises KeyError for a name that is not in the table.
    """
    recipe, seed = RECIPES[name], book.seed if seed is None else seed
    chosen = settings(name, **network) | recipe["data"](*book.mnist())
    if "watched" in recipe:
        chosen["watch"] = partial(from_noise, n=recipe["watched"], latent=chosen["latent"], seed=seed)
    return trained(
        recipe["name"],
        resolve_name(recipe["train"]),
        keep=recipe.get("keep") if keep is None else keep,
        epochs=recipe["epochs"][book.profile] if epochs is None else epochs,
        seed=seed,
        **chosen,
    )


def shared(
    name: str, book: Book, *, epochs: int | None = None, seed: int | None = None, **network: object
) -> tuple[nn.Module, Trained]:
    """A model of RECIPES in evaluation mode (for a GAN, the generator), and its ``training``."""
    done, builders = training(name, book, epochs=epochs, seed=seed, **network), settings(name, **network)
    if "build" in builders:
        return loaded(builders["build"](), unwatched(done.state)), done
    return loaded(builders["build_generator"](), part(done.state, "generator")), done


classifier = partial(shared, "classifier")  # of notebook 01; takes images from ``data.unit``
cnn = partial(shared, "cnn")  # of 13; takes images from ``data.symmetric``
autoencoder = partial(shared, "autoencoder")  # of 02, with two code numbers; takes images from ``data.unit``
narrow_autoencoder = partial(shared, "narrow_autoencoder")  # of 07, with a ``dimension``
conv_autoencoder = partial(shared, "conv_autoencoder")  # of 16, with ten code numbers
vae = partial(shared, "vae")  # of 04, with twenty latent dimensions
gan = partial(shared, "gan")  # of 05; makes images in [-1, 1]
linear_gan = partial(shared, "linear_gan")  # of 09, with two latent numbers
conv_gan = partial(shared, "conv_gan")  # of 12


def unwatched(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights without the watched outputs."""
    return {name: tensor for name, tensor in state.items() if name != "watched"}
