"""The classifiers that other notebooks rely on: trained once, then taken from the cache."""

from functools import partial

from torch import nn

from lib.artifacts import Trained, trained
from lib.data import Split, random_shift, symmetric, unit
from lib.models.cnn import CNN
from lib.models.feedforward import FeedForward
from lib.training import train_classifier

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


def feedforward(train: Split, test: Split, epochs: int, seed: int = 0) -> tuple[nn.Module, Trained]:
    """Notebook 01's best classifier, in evaluation mode; takes images from ``data.unit``."""
    return _train("feedforward", FEEDFORWARD, train, test, epochs, seed)


def cnn(train: Split, test: Split, epochs: int, seed: int = 0) -> tuple[nn.Module, Trained]:
    """Notebook 13's best classifier, in evaluation mode; takes images from ``data.symmetric``."""
    return _train("cnn", CONVOLUTIONAL, train, test, epochs, seed)


def _train(name: str, recipe: dict, train: Split, test: Split, epochs: int, seed: int) -> tuple[nn.Module, Trained]:
    settings = {"train": train, "evaluate_on": {"test": test}, "epochs": epochs, "seed": seed, **recipe}
    done = trained(name, train_classifier, **settings)
    model = recipe["build"]()
    model.load_state_dict(done.state)
    return model.eval(), done
