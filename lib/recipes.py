"""The classifiers that other notebooks rely on: trained once, then taken from the cache."""

from functools import partial

from lib.artifacts import Trained, trained
from lib.data import Split, random_shift, symmetric, unit
from lib.models.cnn import CNN
from lib.models.feedforward import FeedForward
from lib.training import train_classifier

# chosen on the validation split in notebook 01, section 2.2.4
FEEDFORWARD = {
    "build": partial(FeedForward, hidden=512, activation="relu"),
    "prepare": unit,
    "batch_size": 256,
    "optimiser": "adamw",
    "optimiser_settings": {"weight_decay": 0.3},
    "lr": 4e-3,
    "augment": partial(random_shift, pixels=1),
}

# chosen on the validation split in notebook 13, section 2.5
CONVOLUTIONAL = {
    "build": CNN,
    "prepare": symmetric,
    "batch_size": 64,
    "optimiser": "adamw",
    "optimiser_settings": {"weight_decay": 0.01},
    "lr": 5e-3,
    "augment": partial(random_shift, pixels=2),
}


def feedforward(train: Split, test: Split, epochs: int, seed: int = 0) -> tuple[FeedForward, Trained]:
    """Notebook 01's best classifier; takes images from ``data.unit``."""
    done = trained(
        "feedforward",
        train_classifier,
        train=train,
        evaluate_on={"test": test},
        epochs=epochs,
        seed=seed,
        **FEEDFORWARD,
    )
    model = FEEDFORWARD["build"]()
    model.load_state_dict(done.state)
    return model.eval(), done


def cnn(train: Split, test: Split, epochs: int, seed: int = 0) -> tuple[CNN, Trained]:
    """Notebook 13's best classifier; takes images from ``data.symmetric``."""
    done = trained(
        "cnn",
        train_classifier,
        train=train,
        evaluate_on={"test": test},
        epochs=epochs,
        seed=seed,
        **CONVOLUTIONAL,
    )
    model = CNN()
    model.load_state_dict(done.state)
    return model.eval(), done
