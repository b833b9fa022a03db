"""Training autoencoders, including denoising ones."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.compute import device
from lib.training.loop import (
    NOISE,
    History,
    Learner,
    State,
    fit,
    rate_steps,
    seeded,
    stream,
    watched,
    weights,
    with_watched,
)


def autoencoder_step(network: nn.Module, x: Tensor, given: Tensor, learner: Learner) -> dict[str, Tensor]:
    """One gradient step on the squared error between the network's output for ``given`` (B, …) and ``x`` (B, D)."""
    loss = F.mse_loss(network(given).float(), x)
    learner.descend(loss)
    return {"loss": loss}


def train_autoencoder(
    build: Callable[[], nn.Module],
    train: Tensor,
    evaluate_on: dict[str, Tensor],
    *,
    epochs: int,
    batch_size: int,
    lr: float,
    optimiser: str = "adam",
    optimiser_settings: dict | None = None,
    one_cycle: bool = True,
    decay_every: float | None = None,
    corrupt: Callable[[Tensor, torch.Generator], Tensor] | None = None,
    watch: Callable[[nn.Module], Tensor] | None = None,
    after_epoch: Callable[[int, History], None] | None = None,
    evaluate_every: int = 1,
    precision: str = "float32",
    step: Callable[..., dict[str, Tensor]] = autoencoder_step,
    seed: int = 0,
) -> tuple[State, History]:
    """Minimise the mean squared error between inputs (N, …) and their reconstructions (N, D).

    The learning rate follows one cycle (``one_cycle``), or is divided by ten every ``decay_every`` epochs, or is
    constant. ``corrupt`` maps a batch and a random generator to the network's input; the target is still the clean
    batch (Vincent et al. 2008). ``after_epoch`` receives the number of finished epochs and the history so far, and may
    raise an exception to stop early. ``step`` learns from one batch. ``precision`` is that of the matrix products
    during training; evaluation always uses float32.

    The history has one entry per epoch: ``train_loss`` (mean over the epoch, during training), ``train_seconds``, and
    ``<name>_loss`` for each set of ``evaluate_on`` (after every ``evaluate_every``-th epoch and the last). All losses
    are squared errors per element; evaluation uses clean inputs. With ``watch``, the returned weights include
    ``watched`` (epochs, …), the output of ``watch`` for the network after each epoch. Raises Diverged if the loss is
    not finite, ValueError for an unknown optimiser or precision.
    """
    network = seeded(build, seed)
    inputs = train.flatten(1).to(device())
    rate = rate_steps(len(inputs), epochs, batch_size, one_cycle, decay_every)
    learner = Learner(network, lr, optimiser, optimiser_settings, **rate)
    noise = stream(seed, NOISE)

    def learn(index: Tensor) -> dict[str, Tensor]:
        x = inputs[index]
        return step(network, x, corrupt(x, noise) if corrupt else x, learner)

    def measure(epoch: int) -> dict[str, object]:
        found = {}
        if epoch % evaluate_every == 0 or epoch == epochs:
            found = {f"{name}_loss": reconstruction_error(network, images) for name, images in evaluate_on.items()}
        return found | ({"watched": watched(watch, network)} if watch else {})

    history = fit(
        learn,
        len(inputs),
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
        parts={"network": network, "learner": learner, "noise": noise},
        title="autoencoder",
        prefix="train_",
        evaluate=measure,
        after_epoch=after_epoch,
        precision=precision,
    )
    return with_watched(weights(network), history)


def reconstruction_error(model: nn.Module, inputs: Tensor) -> float:
    """Mean squared error per element between inputs (N, …) and their reconstructions, without dropout.

    Computed on the model's device.
    """
    on, training, total = next(model.parameters()).device, model.training, 0.0
    model.eval()
    with torch.inference_mode():
        for x in inputs.flatten(1).split(1000):
            total += F.mse_loss(model(x.to(on)), x.to(on), reduction="sum").item()
    model.train(training)
    return total / inputs.numel()
