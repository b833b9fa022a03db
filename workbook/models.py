"""The models that several notebooks rely on: trained once, then taken from the cache."""

from functools import partial

import torch
from torch import Tensor, nn

from lib.artifacts import Trained, trained
from lib.compute import device, fast_precision
from lib.data import Split, random_shift, symmetric, unit
from lib.models.autoencoder import Autoencoder, ConvAutoencoder
from lib.models.cnn import CNN
from lib.models.feedforward import FeedForward
from lib.models.gan import ConvDiscriminator, ConvGenerator, Discriminator, Generator
from lib.models.vae import VAE
from lib.training import outputs, part, train_autoencoder, train_classifier, train_gan, train_vae

# scheme compared in notebook 01, section 2.2.4; rate, weight decay and shift by their accuracy on the validation split
FEEDFORWARD = {
    "build": partial(FeedForward, hidden=512, activation="relu"),
    "prepare": unit,
    "batch_size": 256,
    "optimiser": "adamw",
    "optimiser_settings": {"weight_decay": 0.05},
    "lr": 4e-3,
    "augment": partial(random_shift, pixels=1),
}

# compared in notebook 13, section 2.5; rate and shift by their accuracy on the validation split
CONVOLUTIONAL = {
    "build": CNN,
    "prepare": symmetric,
    "batch_size": 64,
    "optimiser": "adamw",
    "optimiser_settings": {"weight_decay": 0.01},
    "lr": 5e-3,
    "augment": partial(random_shift, pixels=1),
}

# rates chosen by the loss on the validation split; the GAN's by the class entropy of what it makes
AUTOENCODER = {"build": Autoencoder, "batch_size": 256, "lr": 2e-3}
CONV_AUTOENCODER = {"build": ConvAutoencoder, "batch_size": 128, "lr": 2e-2}
VARIATIONAL = {"build": VAE, "batch_size": 256, "lr": 8e-3}
NARROW = {"batch_size": 128, "lr": 1e-2}  # of narrow(d)
ADVERSARIAL = {
    "build_generator": partial(Generator, latent=25),
    "build_discriminator": Discriminator,
    "latent": 25,
    "batch_size": 128,
    "lr": 3e-4,
    "average": 0.999,
}

# the report's rate and batch size; the tutorial it follows has a rate of 2e-4
ADVERSARIAL_LINEAR = ADVERSARIAL | {
    "build_generator": partial(Generator, latent=2),
    "latent": 2,
    "batch_size": 100,
    "lr": 5e-4,
    "trace_every": 50,
}

# rate and batch size by the Fréchet distance and the class entropy of what it makes after equal time
ADVERSARIAL_CONVOLUTIONAL = {
    "build_generator": ConvGenerator,
    "build_discriminator": ConvDiscriminator,
    "latent": 100,
    "batch_size": 64,
    "lr": 1e-3,
    "average": 0.999,
    "one_pass": True,
    "trace_every": 25,
}

# by profile; in one place, because notebooks that share a model must train it alike
EPOCHS = {
    "feedforward": {"smoke": 4, "standard": 15, "report": 40},
    "cnn": {"smoke": 5, "standard": 5, "report": 20},
    "autoencoder": {"smoke": 3, "standard": 14, "report": 40},
    "narrow_autoencoder": {"smoke": 3, "standard": 3, "report": 20},
    "conv_autoencoder": {"smoke": 4, "standard": 30, "report": 60},
    "vae": {"smoke": 4, "standard": 90, "report": 120},
    "gan": {"smoke": 2, "standard": 12, "report": 100},
    "linear_gan": {"smoke": 2, "standard": 20, "report": 20},
    "conv_gan": {"smoke": 1, "standard": 4, "report": 20},
}


def feedforward(train: Split, test: Split, epochs: int, seed: int = 0) -> tuple[FeedForward, Trained]:
    """Notebook 01's best classifier, in evaluation mode; takes images from ``data.unit``."""
    settings = {"train": train, "evaluate_on": {"test": test}, "epochs": epochs, "seed": seed}
    done = trained("feedforward", train_classifier, **settings, **FEEDFORWARD)
    return loaded(FEEDFORWARD["build"](), done.state), done


def cnn(train: Split, test: Split, epochs: int, seed: int = 0) -> tuple[CNN, Trained]:
    """Notebook 13's best classifier, in evaluation mode; takes images from ``data.symmetric``."""
    settings = {"train": train, "evaluate_on": {"test": test}, "epochs": epochs, "seed": seed}
    done = trained("cnn", train_classifier, **settings, **CONVOLUTIONAL)
    return loaded(CONVOLUTIONAL["build"](), done.state), done


def autoencoder(train: Split, test: Split, epochs: int, seed: int = 0) -> tuple[Autoencoder, Trained]:
    """Notebook 02's autoencoder with two code numbers, in evaluation mode; takes images from ``data.unit``."""
    sets = {"train": unit(train.images), "evaluate_on": {"test": unit(test.images)}}
    done = trained("autoencoder", train_autoencoder, **sets, epochs=epochs, seed=seed, **AUTOENCODER)
    return loaded(AUTOENCODER["build"](), done.state), done


def narrow(dimension: int) -> Autoencoder:
    """An autoencoder 784-512-dimension-512-784 with ReLU, as in Advanced Deep Learning 2024."""
    return Autoencoder((784, 512, dimension), activation="relu")


def narrow_autoencoder(
    train: Split, test: Split, dimension: int, epochs: int, seed: int = 0
) -> tuple[Autoencoder, Trained]:
    """One of notebook 07's autoencoders, in evaluation mode; takes images from ``data.unit``."""
    sets = {"train": unit(train.images), "evaluate_on": {"test": unit(test.images)}}
    build = partial(narrow, dimension)
    settings = sets | NARROW | {"precision": fast_precision(), "epochs": epochs, "evaluate_every": epochs, "seed": seed}
    done = trained("autoencoder-narrow", train_autoencoder, build=build, **settings)
    return loaded(build(), done.state), done


def conv_autoencoder(
    train: Split, validation: Split, test: Split, epochs: int, seed: int = 0
) -> tuple[ConvAutoencoder, Trained]:
    """Notebook 16's convolutional autoencoder with ten code numbers, in evaluation mode.

    It takes images from ``data.unit``. Watched are the reconstructions of the first eight test images.
    """
    settings = {
        "train": unit(train.images),
        "evaluate_on": {"validation": unit(validation.images)},
        "epochs": epochs,
        "watch": partial(outputs, inputs=unit(test.images[:8]).to(device())),
        "seed": seed,
    }
    done = trained("conv-autoencoder", train_autoencoder, **settings, **CONV_AUTOENCODER)
    return loaded(CONV_AUTOENCODER["build"](), unwatched(done.state)), done


def vae(train: Split, test: Split, epochs: int, seed: int = 0) -> tuple[VAE, Trained]:
    """Notebook 04's VAE with twenty latent dimensions, in evaluation mode; takes images from ``data.unit``."""
    sets = {"train": unit(train.images), "evaluate_on": {"test": unit(test.images)}}
    done = trained("vae", train_vae, **sets, epochs=epochs, seed=seed, **VARIATIONAL)
    return loaded(VARIATIONAL["build"](), done.state), done


def gan(train: Split, epochs: int, seed: int = 0) -> tuple[Generator, Trained]:
    """Notebook 05's generator, in evaluation mode; makes images in [-1, 1]. Watched are ten noise vectors."""
    real = symmetric(train.images).flatten(1)
    noise = torch.randn(10, ADVERSARIAL["latent"], generator=torch.Generator().manual_seed(seed))
    watch = partial(outputs, inputs=noise.to(device()))
    settings = ADVERSARIAL | {"precision": fast_precision(), "watch": watch, "seed": seed}
    done = trained("gan", train_gan, real=real, epochs=epochs, **settings)
    return loaded(ADVERSARIAL["build_generator"](), part(done.state, "generator")), done


def linear_gan(train: Split, epochs: int, seed: int = 0) -> tuple[Generator, Trained]:
    """Notebook 09's generator with two latent numbers, in evaluation mode; makes images in [-1, 1].

    Watched are 25 noise vectors.
    """
    noise = torch.randn(25, ADVERSARIAL_LINEAR["latent"], generator=torch.Generator().manual_seed(seed))
    settings = {
        "real": symmetric(train.images).flatten(1),
        "epochs": epochs,
        "precision": fast_precision(),
        "watch": partial(outputs, inputs=noise.to(device())),
        "seed": seed,
    }
    done = trained("gan-linear", train_gan, **settings, **ADVERSARIAL_LINEAR)
    return loaded(ADVERSARIAL_LINEAR["build_generator"](), part(done.state, "generator")), done


def conv_gan(train: Split, test: Split, epochs: int, seed: int = 0) -> tuple[ConvGenerator, Trained]:
    """Notebook 12's generator, in evaluation mode; makes images in [-1, 1]. Watched are sixteen noise vectors."""
    real = symmetric(train.images)
    noise = torch.randn(16, ADVERSARIAL_CONVOLUTIONAL["latent"], generator=torch.Generator().manual_seed(seed))
    settings = {
        "real": real,
        "evaluate_on": {"train": real[:2000], "test": symmetric(test.images[:2000])},
        "epochs": epochs,
        "precision": fast_precision(),
        "watch": partial(outputs, inputs=noise.to(device())),
        "seed": seed,
    }
    done = trained("conv-gan", train_gan, **settings, **ADVERSARIAL_CONVOLUTIONAL)
    return loaded(ConvGenerator(), part(done.state, "generator")), done


def unwatched(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights without what was watched while training."""
    return {name: tensor for name, tensor in state.items() if name != "watched"}


def loaded(model: nn.Module, state: dict[str, Tensor]) -> nn.Module:
    """``model`` with these weights, in evaluation mode, its weights without gradients."""
    model.load_state_dict(state)
    return model.eval().requires_grad_(False)
