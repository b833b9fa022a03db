"""Training autoencoders, including denoising ones."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.compute import device
from lib.training.loop import NOISE, History, Learner, State, seeded, stream, weights
from lib.training.train import train_networks


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
    corrupt: Callable[[Tensor, torch.Generator], Tensor] | None = None,
    step: Callable[..., dict[str, Tensor]] = autoencoder_step,
    seed: int = 0,
    **options: Any,
) -> tuple[State, History]:
    """Minimise the mean squared error between inputs (N, …) and their reconstructions (N, D).

    ``options`` are those of ``train_networks``: epochs, batch_size, lr and others. ``corrupt`` maps a batch and a
    random generator to the network's input; the target is still the clean batch (Vincent et al. 2008). ``step`` learns
    from one batch.

    The history has one entry per epoch: ``train_loss`` (mean over the epoch, during training), ``train_seconds``, and
    ``<name>_loss`` for each set of ``evaluate_on``. All losses are squared errors per element; evaluation uses clean
    inputs. With ``watch``, the weights include ``watched`` (epochs, …). Raises what ``train_networks`` raises.
    """
    network = seeded(build, seed)
    inputs = train.flatten(1).to(device())
    noise = stream(seed, NOISE)

    def learn(index: Tensor, learner: Learner) -> dict[str, Tensor]:
        x = inputs[index]
        return step(network, x, corrupt(x, noise) if corrupt else x, learner)

    def measure(images: Tensor) -> dict[str, float]:
        return {"loss": reconstruction_error(network, images)}

    own = {"parts": {"noise": noise}, "title": "autoencoder", "seed": seed}
    seen, history = train_networks({"network": network}, learn, len(inputs), measure, evaluate_on, **own, **options)
    return weights(network) | seen, history


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
