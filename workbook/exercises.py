"""Checks of the chapters' exercises: hand in what you wrote, and read whether it is right, or what is wrong with it.

    def rate_at(epoch, start=3e-3, every=5):
        ...

    exercises.check("02.4", rate_at)

A check tries the function on small examples whose answers are known, knows the usual mistakes by the numbers that they
give, and stops nothing. It works in any notebook or script.
"""

import math
from collections.abc import Callable
from typing import NoReturn

import torch
from torch import Tensor


class _NotYet(Exception):
    """What is wrong with an answer."""


def check(exercise: str, answer: object) -> None:
    """Print "Right." and what to notice, or what is wrong with the ``answer`` and what is expected.

    ``answer`` is the function that the exercise asks for, without parentheses. Raises KeyError for an exercise that
    does not exist.
    """
    if exercise not in CHECKS:
        raise KeyError(f"there is no exercise {exercise!r}; there are {', '.join(CHECKS)}")
    signature, expected, examine = CHECKS[exercise]
    try:
        if not callable(answer):
            given = "the result of a call" if isinstance(answer, int | float | Tensor) else f"{answer!r}"
            _wrong(f"This is {given}. Hand in the function itself: check({exercise!r}, {signature.partition('(')[0]}).")
        notice = examine(lambda *arguments: _call(answer, signature, arguments))
    except _NotYet as reason:
        print(f"Not yet. {reason}\nExpected: {signature} returns {expected}.")
    else:
        print(f"Right. {notice}")


def _wrong(message: str) -> NoReturn:
    raise _NotYet(message)


def _call(function: Callable, signature: str, arguments: tuple) -> object:
    """What the student's function returns, or a message if it does not."""
    name = signature.partition("(")[0]
    try:
        result = function(*arguments)
    except NotImplementedError:
        _wrong(f"`{name}` is still empty: replace the line that raises NotImplementedError.")
    except Exception as error:
        _wrong(f"`{name}` stopped with {type(error).__name__}: {error}")
    if result is None:
        _wrong(f"`{name}` returned nothing. Does it end with `return`?")
    return result


def _number(result: object) -> float:
    """The result as one number, whatever holds it."""
    try:
        values = torch.as_tensor(result, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        _wrong(f"One number was expected, and a {type(result).__name__} came back.")
    if values.ndim:
        _wrong(f"One number was expected, and something of shape {tuple(values.shape)} came back.")
    return values.item()


def _numbers(result: object, like: Tensor) -> Tensor:
    """The result as a tensor of the shape of ``like``."""
    try:
        values = torch.as_tensor(result, dtype=torch.float64).detach()
    except (TypeError, ValueError, RuntimeError):
        _wrong(f"{len(like)} numbers were expected, and a {type(result).__name__} came back.")
    if values.shape != like.shape:
        _wrong(f"The shape {tuple(like.shape)} was expected, and {tuple(values.shape)} came back.")
    return values


def _close(ours: float, right: float, tolerance: float = 1e-4) -> bool:
    return abs(ours - right) <= tolerance * max(abs(right), 1e-12)


def _compare(what: str, ours: float, right: float, mistakes: dict[str, float]) -> None:
    """Nothing if ``ours`` is right. Otherwise both values, and the mistake that gives ours if it is a known one."""
    if _close(ours, right):
        return
    known = [text for text, value in mistakes.items() if _close(ours, value) and not _close(right, value)]
    _wrong(f"{what} is {right:.6g}, and yours is {ours:.6g}." + (f" {known[0]}" if known else ""))


# --- 02 · An autoencoder ---------------------------------------------------------------------------------------------


def _as_printed(call: Callable) -> str:
    for images, batch in ((10_000, 128), (60_000, 128), (1_000, 100)):
        mse, batches = 0.04, math.ceil(images / batch)
        mistakes = {
            "The last, smaller batch counts as well: round the number of batches up.": mse * (images // batch) / images,
            "There is no fraction of a batch: the last, smaller one counts as a whole one.": mse / batch,
            "That is the sum of the batch means. It is still to be divided by the number of images.": mse * batches,
            "That is the error itself, as if each batch mean counted once for each of its images.": mse,
        }
        said = f"With an error of {mse} in every batch, {images:,} images and batches of {batch}, the number printed"
        _compare(said, _number(call(mse, images, batch)), mse * batches / images, mistakes)
    return (
        "The number printed shrinks with the batch size and not with the error: with batches of 128 it is about 127 "
        "times too small. Two such numbers can only be compared if their batches are the same."
    )


def _pca_error(call: Callable) -> str:
    generator = torch.Generator().manual_seed(0)
    spread = torch.tensor([4.0, 2.0, 1.0, 0.5, 0.25], dtype=torch.float64)
    x = torch.randn(40, 5, generator=generator, dtype=torch.float64) * spread + 3
    centred = x - x.mean(0)
    variances = torch.linalg.eigvalsh(centred.T @ centred / len(x)).flip(0)
    around_zero = torch.linalg.eigvalsh(x.T @ x / len(x)).flip(0)
    for k in (2, 1, 4):
        right = variances[k:].sum().item() / 5
        mistakes = {
            "Subtract the mean of x before you look for directions, and add it again.": around_zero[k:].sum().item()
            / 5,
            "Divide by the number N of rows; N − 1 is for the variance of a larger population.": right * 40 / 39,
            "That is the error of a whole row. Divide by the number D of its elements.": right * 5,
            "That is the root of the error.": math.sqrt(right),
            "That is the variance that is kept. The error is what is left out.": variances[:k].sum().item() / 5,
            "That is the sum over all elements. Take their mean.": right * 200,
        }
        _compare(f"For 40 rows of 5 elements and k = {k}, the error", _number(call(x, k)), right, mistakes)
    return (
        "It equals the sum of the variances of the directions that were left out, divided by D. No linear autoencoder "
        "with k numbers can do better: PCA is the least that a deep one has to beat."
    )


def _purity(call: Callable) -> str:
    codes = torch.tensor([[0.0, 0.0], [1.0, 0.0], [3.0, 0.0], [10.0, 0.0], [11.0, 0.0]])
    labels = torch.tensor([0, 0, 1, 1, 1])
    for k, right, with_itself in ((1, 0.8, 1.0), (2, 0.6, 0.9)):
        mistakes = {"A point is not its own neighbour: leave out the distance 0 to itself.": with_itself}
        if k == 1:
            mistakes["That is the share for the two nearest: take k neighbours, beside the point itself."] = 0.6
        said = f"For five codes at 0, 1, 3, 10 and 11 on a line, labels 0, 0, 1, 1, 1 and k = {k}, the purity"
        _compare(said, _number(call(codes, labels, k)), right, mistakes)
    moved = _number(call(codes + 5, labels, 2))
    _compare("When all codes are moved by 5, the purity", moved, 0.6, {})
    return (
        "Purity needs no picture, no clusters and no unit: codes that are moved or enlarged have the same. By "
        "chance it is about a tenth for ten equal classes."
    )


def _rate_at(call: Callable) -> str:
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=3e-3)
    schedule = torch.optim.lr_scheduler.StepLR(optimiser, 5, 0.1)
    for epoch in range(1, 22):
        right = optimiser.param_groups[0]["lr"]
        mistakes = {
            "The first epoch is 1, so five of them are over when epoch 6 begins.": 3e-3 * 0.1 ** (epoch // 5),
            "The rate falls every five epochs and not in each.": 3e-3 * 0.1 ** (epoch - 1),
            "The rate stays the same within five epochs.": 3e-3 * 0.1 ** ((epoch - 1) / 5),
            "The rate falls to a tenth after five epochs; it is not divided by the epoch.": 3e-3 / epoch,
        }
        _compare(f"In epoch {epoch}, the rate", _number(call(epoch)), right, mistakes)
        optimiser.step()
        schedule.step()
    _compare("With start 1 and every 2, the rate of epoch 3", _number(call(3, 1.0, 2)), 0.1, {})
    return (
        "From epoch 16 on the rate is a thousandth of the first, and goes on falling. Of a hundred epochs, the last "
        "eighty change nothing that a curve could show."
    )


# --- 05 · A generative adversarial network ---------------------------------------------------------------------------


def _generator_losses(call: Callable) -> str:
    names = ("minimax loss", "non-saturating loss", "derivative of the minimax loss", "derivative of the other loss")
    for at in (0.0, 2.0, -2.0, -30.0, 30.0):
        result = call(torch.tensor(at))
        if not isinstance(result, tuple | list) or len(result) != 4:
            shape = f"{len(result)} values" if isinstance(result, tuple | list) else f"a {type(result).__name__}"
            _wrong(f"Four values were expected, and {shape} came back.")
        up, down = 1 / (1 + math.exp(-at)), 1 / (1 + math.exp(at))  # sigmoid(at) and 1 − sigmoid(at)
        right = (-_softplus(at), _softplus(-at), -up, -down)
        for name, ours, value in zip(names, result, right, strict=True):
            mistakes = {
                "The sign is the other way round.": -value,
                "That is another of the four: mind their order.": next(
                    (v for v in right if _close(_number(ours), v) and v != value), math.nan
                ),
                "That is the derivative with respect to σ(l). Go on to the logit l by the chain rule.": (
                    -1 / down if name == names[2] else -1 / up if name == names[3] else math.nan
                ),
            }
            number = _number(ours)
            if at == 30 and "derivative" in name:  # in single precision σ(l) − 1 is 0 there, which does no harm
                continue
            if abs(at) == 30 and not _close(number, value, 1e-3):
                _wrong(
                    f"At l = {at:g} the {name} is {value:.4g}, and yours is {number:.4g}. In single precision "
                    "1 − σ(l) loses all digits: write log σ(l) with softplus or logsigmoid, and 1 − σ(l) as σ(−l)."
                )
            if abs(at) != 30:
                _compare(f"At l = {at:g} the {name}", number, value, mistakes)
    return (
        "At l = −30 the discriminator is sure that the image is false. There the minimax loss has no slope left, and "
        "the generator learns nothing; the slope of the non-saturating loss is −1. Both slopes are negative everywhere."
    )


def _softplus(x: float) -> float:
    """log(1 + exp(x)) without overflow."""
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def _best_discriminator(call: Callable) -> str:
    p_data = torch.tensor([0.5, 0.3, 0.2, 0.0, 0.0])
    p_model = torch.tensor([0.5, 0.1, 0.0, 0.4, 0.0])
    right = torch.tensor([0.5, 0.75, 1.0, 0.0, 0.5], dtype=torch.float64)
    ours = _numbers(call(p_data, p_model), right)
    if ours.isnan().any():
        _wrong("Where both probabilities are 0, yours is not a number. Say 0.5 there: neither side ever shows it.")
    for i, (data, model) in enumerate(zip(p_data.tolist(), p_model.tolist(), strict=True)):
        said = f"Where data have probability {data:.1f} and the model {model:.1f}, the best discriminator"
        mistakes = {"That is the probability of a false image: the two are exchanged.": 1 - right[i].item()}
        _compare(said, ours[i].item(), right[i].item(), mistakes)
    return (
        "Where the two agree it says one half, and if they agree everywhere it cannot tell them apart. The generator "
        "has then reached the minimum of the game, at −log 4."
    )


def _class_entropy(call: Callable) -> str:
    for counts in ([100] * 10, [50, 0, 50, 0], [7, 0, 0], [1, 2, 5]):
        shares = [count / sum(counts) for count in counts if count]
        right = -sum(share * math.log2(share) for share in shares)
        ours = _number(call(torch.tensor(counts)))
        if math.isnan(ours):
            _wrong(f"For the counts {counts} yours is not a number. A class without images adds 0: leave it out.")
        mistakes = {
            "That is in nats. Take logarithms to base 2 for bits.": right * math.log(2),
            "Its sign is the other way round.": -right,
            "Those are counts. Divide by their sum first.": -sum(count * math.log2(count) for count in counts if count),
        }
        if right == 0 and abs(ours) < 1e-6:
            continue
        _compare(f"For the counts {counts} the entropy in bits", ours, right, mistakes)
    return (
        "Ten equal classes have log₂ 10 = 3.32 bits, and one class has 0. A generator that leaves out one digit of ten "
        "still reaches log₂ 9 = 3.17: look at the rarest class as well."
    )


def _ema(call: Callable) -> str:
    for values, decay in (([1.0, 0.0, 0.0, 4.0], 0.9), ([0.0, 1.0, 1.0], 0.5), ([2.0, 5.0], 0.0)):
        right, from_zero, exchanged = [values[0]], [(1 - decay) * values[0]], [values[0]]
        for value in values[1:]:
            right.append(decay * right[-1] + (1 - decay) * value)
            from_zero.append(decay * from_zero[-1] + (1 - decay) * value)
            exchanged.append((1 - decay) * exchanged[-1] + decay * value)
        ours = _numbers(call(values, decay), torch.tensor(right)).tolist()
        for i in range(len(values)):
            mistakes = {
                "Start at the first value, and not at 0.": from_zero[i],
                "The weights are exchanged: decay belongs to the average so far.": exchanged[i],
            }
            _compare(f"For {values} and decay {decay} the average after value {i + 1}", ours[i], right[i], mistakes)
    return (
        "A decay of 0.999 looks back over about 1 / (1 − 0.999) = 1,000 values. Taken over a generator's "
        "weights, it averages out the circles in which the two players drive each other."
    )


CHECKS: dict[str, tuple[str, str, Callable]] = {
    "02.1": (
        "as_printed(mse, images, batch_size)",
        "one number: the mean errors of all batches, summed and divided by the number of images",
        _as_printed,
    ),
    "02.2": (
        "pca_error(x, k)",
        "one number: the mean squared error of an element of x (N, D) after PCA with k components",
        _pca_error,
    ),
    "02.3": (
        "purity(codes, labels, k)",
        "one number from 0 to 1: the share of the k nearest other codes that have the same label, mean over all codes",
        _purity,
    ),
    "02.4": (
        "rate_at(epoch, start=3e-3, every=5)",
        "one number: the learning rate in that epoch, counted from 1, which falls to a tenth after every 5 epochs",
        _rate_at,
    ),
    "05.1": (
        "generator_losses(logit)",
        "four numbers: log(1 − σ(l)), −log σ(l), and the derivatives of the one and of the other with respect to l",
        _generator_losses,
    ),
    "05.2": (
        "best_discriminator(p_data, p_model)",
        "a tensor of the shape of p_data: the probability that each value is real, and 0.5 where both are 0",
        _best_discriminator,
    ),
    "05.3": (
        "class_entropy(counts)",
        "one number: the entropy in bits of the classes with these counts, some of which may be 0",
        _class_entropy,
    ),
    "05.4": (
        "ema(values, decay)",
        "a list as long as values: the first value, then always decay · the last average + (1 − decay) · the value",
        _ema,
    ),
}
