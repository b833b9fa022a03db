"""Checks for the exercises: hand in your function, and read whether it is right or what is wrong with it.

    def rate_at(epoch, start=3e-3, every=5):
        ...

    exercises.check("02.4", rate_at)

A check tries the function on small examples with known answers, and recognises common mistakes by the numbers that they
give. It prints its result and raises no error for a wrong answer. It works in any notebook or script.
"""

import math
from collections.abc import Callable
from typing import NoReturn

import torch
from torch import Tensor


class _NotYet(Exception):
    """An answer is not right yet. The message says what is wrong."""


def check(exercise: str, answer: object) -> None:
    """Print "Right." and what to notice, or what is wrong with the ``answer`` and what is expected.

    ``answer`` is the function itself, without parentheses. Raises KeyError for an exercise that does not exist.
    """
    if exercise not in CHECKS:
        raise KeyError(f"there is no exercise {exercise!r}; the exercises are {', '.join(CHECKS)}")
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
    """The result of the student's function; a message if it fails or returns nothing."""
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
    """The result as one number, from any type that holds one."""
    try:
        values = torch.as_tensor(result, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        _wrong(f"Expected one number, but got a {type(result).__name__}.")
    if values.ndim:
        _wrong(f"Expected one number, but got an array of shape {tuple(values.shape)}.")
    return values.item()


def _numbers(result: object, like: Tensor) -> Tensor:
    """The result as a tensor of the shape of ``like``."""
    try:
        values = torch.as_tensor(result, dtype=torch.float64).detach()
    except (TypeError, ValueError, RuntimeError):
        _wrong(f"Expected {len(like)} numbers, but got a {type(result).__name__}.")
    if values.shape != like.shape:
        _wrong(f"Expected shape {tuple(like.shape)}, but got {tuple(values.shape)}.")
    return values


def _close(ours: float, right: float, tolerance: float = 1e-4) -> bool:
    return abs(ours - right) <= tolerance * max(abs(right), 1e-12)


def _compare(what: str, ours: float, right: float, mistakes: dict[str, float]) -> None:
    """Do nothing if ``ours`` is right. Otherwise show both values, and the mistake behind ours if it is a known one."""
    if _close(ours, right):
        return
    known = [text for text, value in mistakes.items() if _close(ours, value) and not _close(right, value)]
    _wrong(f"{what} is {right:.6g}, but yours is {ours:.6g}." + (f" {known[0]}" if known else ""))


# --- 01 · A feed-forward classifier ----------------------------------------------------------------------------------


def _loss_and_gradient(call: Callable) -> str:
    examples = (torch.zeros(10), torch.arange(10.0) - 4, torch.tensor([1000.0, 0.0, -1000.0, 5.0]))
    for logits, label in zip(examples, (3, 7, 0), strict=True):
        result = call(logits.clone(), label)
        if not isinstance(result, tuple | list) or len(result) != 2:
            shape = f"{len(result)} values" if isinstance(result, tuple | list) else f"a {type(result).__name__}"
            _wrong(f"Expected two values, the loss and its derivative, but got {shape}.")
        wide = logits.double()
        p = wide.softmax(0)
        right, target = (wide.logsumexp(0) - wide[label]).item(), torch.eye(len(p))[label]
        loss, gradient = _number(result[0]), _numbers(result[1], logits)
        if not math.isfinite(loss) or not gradient.isfinite().all():
            _wrong("For logits of 1,000, yours is not finite: exp overflows. Use torch.logsumexp and torch.softmax.")
        said = f"For logits from {logits.min():g} to {logits.max():g} and label {label} the loss"
        mistakes = {"The sign is wrong: the loss is −log p.": -right, "That is in bits: use log.": right / math.log(2)}
        if abs(right) > 1e-9 or abs(loss) > 1e-6:
            _compare(said, loss, right, mistakes)
        if not torch.allclose(gradient, p - target, atol=1e-5):
            known = {
                "The sign is wrong: the loss falls if the logit of the label rises.": target - p,
                "Those are the probabilities. Subtract 1 at the label.": p,
            }
            hint = [text for text, value in known.items() if torch.allclose(gradient, value, atol=1e-5)]
            _wrong(f"The loss is right, but not its derivative. {hint[0] if hint else 'It should be p − [k = y].'}")
    return "The derivatives of an image add up to 0: what the label gains, the other digits lose together."


def _delta_tanh(call: Callable) -> str:
    a = torch.tensor([[0.0, 0.5, -2.0, 2.0], [1.0, -0.1, 3.0, 0.2]], dtype=torch.float64)
    delta_h = torch.tensor([[1.0, -2.0, 0.5, 1.0], [0.3, 1.0, -4.0, 2.0]], dtype=torch.float64)
    right = delta_h * (1 - a.tanh() ** 2)
    ours = _numbers(call(a.clone(), delta_h.clone()), right)
    if not torch.allclose(ours, right, rtol=1e-4, atol=1e-6):
        mistakes = {
            "That is ∂L/∂h · tanh(a). Multiply by the slope of tanh, not by tanh.": delta_h * a.tanh(),
            "That is only the slope. Multiply it by ∂L/∂h.": 1 - a.tanh() ** 2,
            "Square the tanh.": delta_h * (1 - a.tanh()),
            "The slope is 1 − tanh²(a): apply tanh to a first.": delta_h * (1 - a**2),
        }
        known = [text for text, value in mistakes.items() if torch.allclose(ours, value, rtol=1e-4, atol=1e-6)]
        _wrong(known[0] if known else f"At a = {a[0, 1]:g} and ∂L/∂h = {delta_h[0, 1]:g} it is {right[0, 1]:.4f}.")
    return (
        "Where |a| is large, tanh is flat: at a = 3 less than a hundredth of the derivative gets through. Such a unit "
        "is called saturated, and it hardly learns."
    )


def _loss_floor(call: Callable) -> str:
    for u, v, classes in ((0.0, 1.0, 10), (-1.0, 1.0, 10), (0.0, 1.0, 2), (0.0, 20.0, 10)):
        right = math.log1p((classes - 1) * math.exp(u - v))
        mistakes = {
            "There are classes − 1 wrong logits, not as many as classes.": math.log1p(classes * math.exp(u - v)),
            "That is the largest loss: the right logit should be v, and the others u.": math.log1p(
                (classes - 1) * math.exp(v - u)
            ),
            "That is a probability. The loss is its negative logarithm.": math.exp(-right),
            "The sign is wrong.": -right,
        }
        said = f"With logits between {u:g} and {v:g} and {classes} classes, the smallest loss"
        _compare(said, _number(call(u, v, classes)), right, mistakes)
    return "Only the width v − u matters. To get below a loss of 0.01 with ten classes, it has to be about 7."


def _images_needed(call: Callable) -> str:
    for accuracy, gap in ((0.98, 0.001), (0.5, 0.01), (0.99, 0.002)):
        right = 4 * accuracy * (1 - accuracy) / gap**2
        mistakes = {
            "That makes the standard error equal to the gap. It should be half of it.": right / 4,
            "The gap enters squared.": 4 * accuracy * (1 - accuracy) / gap,
            "That is twice as many as needed: half of the gap, squared, is a quarter of its square.": right / 2,
            "The variance of a share is p (1 − p).": 4 * accuracy / gap**2,
        }
        said = f"For an accuracy of {accuracy:g} and a gap of {gap:g}, the number of images"
        _compare(said, _number(call(accuracy, gap)), right, mistakes)
    return (
        "The 10,000 test images of MNIST cannot tell 98.0 from 98.1 percent. For two networks judged on the *same* "
        "images fewer are enough, since only the images count on which they differ (McNemar's test)."
    )


# --- 02 · An autoencoder ---------------------------------------------------------------------------------------------


def _as_printed(call: Callable) -> str:
    for images, batch in ((10_000, 128), (60_000, 128), (1_000, 100)):
        mse, batches = 0.04, math.ceil(images / batch)
        mistakes = {
            "The last, smaller batch counts as well: round the number of batches up.": mse * (images // batch) / images,
            "There is no fraction of a batch: the last, smaller one counts as a whole one.": mse / batch,
            "That is the sum of the batch means. Divide it by the number of images.": mse * batches,
            "That is the error itself, as if each batch mean counted once for each of its images.": mse,
        }
        said = f"With an error of {mse} in every batch, {images:,} images and batches of {batch}, the printed number"
        _compare(said, _number(call(mse, images, batch)), mse * batches / images, mistakes)
    return (
        "The printed number depends on the batch size as well as on the error: with batches of 128 it is about 127 "
        "times too small. Compare two such numbers only if their batches have the same size."
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
            "Subtract the mean of x before the decomposition, and add it back.": around_zero[k:].sum().item() / 5,
            "Divide by the number N of rows; N − 1 estimates the variance of a larger population.": right * 40 / 39,
            "That is the error of a whole row. Divide by the number D of its elements.": right * 5,
            "That is the square root of the error.": math.sqrt(right),
            "That is the variance that PCA keeps. The error is the variance that it drops.": variances[:k].sum().item()
            / 5,
            "That is the sum over all elements. Take their mean.": right * 200,
        }
        _compare(f"For 40 rows of 5 elements and k = {k}, the error", _number(call(x, k)), right, mistakes)
    return (
        "The error equals the sum of the variances of the dropped directions, divided by D. No linear autoencoder with "
        "k code dimensions can do better, so PCA is the baseline that a deep autoencoder has to beat."
    )


def _purity(call: Callable) -> str:
    codes = torch.tensor([[0.0, 0.0], [1.0, 0.0], [3.0, 0.0], [10.0, 0.0], [11.0, 0.0]])
    labels = torch.tensor([0, 0, 1, 1, 1])
    for k, right, with_itself in ((1, 0.8, 1.0), (2, 0.6, 0.9)):
        mistakes = {"A point is not its own neighbour: leave out the distance 0 to itself.": with_itself}
        if k == 1:
            mistakes["That is the share for the two nearest: take k neighbours, not counting the point itself."] = 0.6
        said = f"For five codes at 0, 1, 3, 10 and 11 on a line, labels 0, 0, 1, 1, 1 and k = {k}, the purity"
        _compare(said, _number(call(codes, labels, k)), right, mistakes)
    moved = _number(call(codes + 5, labels, 2))
    _compare("When all codes are moved by 5, the purity", moved, 0.6, {})
    return (
        "Purity needs no picture and no clusters, and does not change if all codes are shifted or scaled. For ten "
        "equal classes, it is about a tenth by chance."
    )


def _rate_at(call: Callable) -> str:
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=3e-3)
    schedule = torch.optim.lr_scheduler.StepLR(optimiser, 5, 0.1)
    for epoch in range(1, 22):
        right = optimiser.param_groups[0]["lr"]
        mistakes = {
            "The first epoch is 1, so five of them are over when epoch 6 begins.": 3e-3 * 0.1 ** (epoch // 5),
            "The rate falls every five epochs, not in each one.": 3e-3 * 0.1 ** (epoch - 1),
            "The rate stays the same within five epochs.": 3e-3 * 0.1 ** ((epoch - 1) / 5),
            "The rate falls to a tenth after five epochs; it is not divided by the epoch.": 3e-3 / epoch,
        }
        _compare(f"In epoch {epoch}, the rate", _number(call(epoch)), right, mistakes)
        optimiser.step()
        schedule.step()
    _compare("With start 1 and every 2, the rate of epoch 3", _number(call(3, 1.0, 2)), 0.1, {})
    return (
        "From epoch 16 on, the rate is at most a thousandth of the first. Of a hundred epochs, the last eighty change "
        "nothing that a curve could show."
    )


# --- 03 · Single cells -----------------------------------------------------------------------------------------------


def _log_normalised(call: Callable) -> str:
    counts = torch.tensor([[1.0, 0, 3, 4], [2, 0, 6, 8], [5, 5, 0, 0]], dtype=torch.float64)
    totals = counts.sum(1, keepdim=True)
    for depth in (10_000.0, 10.0):
        right = (1 + depth * counts / totals).log()
        ours = _numbers(call(counts, depth), right)
        if not ours.isfinite().all():
            _wrong("Yours has values that are not finite. Add 1 before you take the logarithm: log 0 is −∞.")
        wrong = {
            "Take the logarithm of 1 + the scaled count.": depth * counts / totals,
            "The library size is the sum over the genes of a cell, a row. You summed over the cells.": (
                1 + depth * counts / counts.sum(0).clamp_min(1e-9)
            ).log(),
            "Multiply by the depth.": (1 + counts / totals).log(),
            "Use the natural logarithm.": (1 + depth * counts / totals).log2(),
            "Divide by the library size first.": (1 + counts).log(),
        }
        for i, j in ((0, 0), (0, 2), (1, 2), (2, 1), (0, 1)):
            mistakes = {text: value[i, j].item() for text, value in wrong.items()}
            said = f"With the counts {counts[i].int().tolist()} of a cell and depth {depth:g}, value {j + 1}"
            _compare(said, ours[i, j].item(), right[i, j].item(), mistakes)
    return (
        "The first two cells get the same row: one was only read twice as deeply. Their counts still differ in how "
        "certain they are, and no normalisation brings that back."
    )


def _adjusted_rand(call: Callable) -> str:
    cases = (
        ([0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 1, 1]),
        ([0, 0, 1, 1, 2, 2], [0, 1, 0, 1, 0, 1]),
        ([2, 2, 0, 0, 1], [0, 0, 1, 1, 2]),
    )
    for clusters, types in cases:
        pairs = [(i, j) for i in range(len(types)) for j in range(i)]
        both = sum(clusters[i] == clusters[j] and types[i] == types[j] for i, j in pairs)
        rows, columns = (sum(each[i] == each[j] for i, j in pairs) for each in (clusters, types))
        expected = rows * columns / len(pairs)
        right = (both - expected) / ((rows + columns) / 2 - expected)
        agree = sum((clusters[i] == clusters[j]) == (types[i] == types[j]) for i, j in pairs) / len(pairs)
        mistakes = {
            "That is the plain Rand index. Subtract what chance gives, above and below the line.": agree,
            "That is the number of pairs together in both. Subtract E, and divide.": float(both),
            "Subtract E below the line as well.": (both - expected) / ((rows + columns) / 2),
            "That is the share of equal names, and names of clusters mean nothing.": sum(
                a == b for a, b in zip(clusters, types, strict=True)
            )
            / len(types),
        }
        ours = _number(call(torch.tensor(clusters), torch.tensor(types)))
        _compare(f"For the clusters {clusters} and the types {types}, the adjusted Rand index", ours, right, mistakes)
    return (
        "It can be negative: in the second example the groups agree less than by chance. It does not say which types "
        "were mixed up, so look at the table as well."
    )


def _auc(call: Callable) -> str:
    cases = (
        ([3.0, 4.0, 5.0], [1.0, 2.0, 3.0, 6.0]),
        ([0.0, 0.0, 2.0], [0.0, 0.0, 0.0, 1.0]),
        ([1.0, 2.0], [3.0, 4.0]),
    )
    for inside, outside in cases:
        above = sum(a > b for a in inside for b in outside)
        ties = sum(a == b for a in inside for b in outside)
        n = len(inside) * len(outside)
        right = (above + ties / 2) / n
        mistakes = {
            "Ties count half; you left them out.": above / n,
            "Ties count half; you counted them in full.": (above + ties) / n,
            "That is the other direction: how often a value outside is larger.": 1 - right,
            "That is U. Divide it by the number of pairs.": above + ties / 2,
        }
        ours = _number(call(torch.tensor(inside), torch.tensor(outside)))
        _compare(f"For the values {inside} inside and {outside} outside, the AUC", ours, right, mistakes)
    return (
        "It depends on the order of the values alone: taking their logarithm changes nothing. In single cells most "
        "values are 0, so most pairs are ties, and a gene that few cells show cannot get far from 0.5."
    )


def _kept_epoch(call: Callable) -> str:
    cases = (
        ([5.0, 4.0, 3.0, 3.5, 3.2, 2.0], 2, 3),
        ([5.0, 4.0, 3.0, 3.5, 3.2, 2.0], 3, 6),
        ([2.0, 3.0, 4.0, 5.0], 3, 1),
        ([4.0, 3.0, 2.0, 1.0], 1, 4),
    )
    for errors, patience, right in cases:
        best = errors.index(min(errors)) + 1
        mistakes = {
            "Count epochs from 1.": float(right - 1),
            "That is the lowest of all errors, but training had stopped before it was seen.": float(best),
            "That is the epoch in which training stops. Its weights are not the best ones.": float(right + patience),
        }
        said = f"For the errors {errors} and a patience of {patience}, the epoch that is kept"
        _compare(said, _number(call(errors, patience)), float(right), mistakes)
    return (
        "A longer patience costs epochs, and finds the second minimum of the first example. The kept error is the "
        "lowest of many, so it is a little too low: report the error of test cells instead."
    )


# --- 04 · A variational autoencoder ----------------------------------------------------------------------------------


def _kl(call: Callable) -> str:
    for mean, sd in ((0.0, 1.0), (1.0, 1.0), (0.0, 2.0), (-0.5, 0.1)):
        right = -0.5 * (1 + 2 * math.log(sd) - mean**2 - sd**2)
        mistakes = {
            "The leading minus is missing: a divergence is never negative.": -right,
            "The sum has a factor of one half.": 2 * right,
            "log σ² is 2 log σ.": -0.5 * (1 + math.log(sd) - mean**2 - sd**2),
            "The standard deviation enters squared.": -0.5 * (1 + 2 * math.log(sd) - mean**2 - sd),
        }
        ours = _number(call(mean, sd))
        if right == 0 and abs(ours) < 1e-6:
            continue
        _compare(f"For a mean of {mean:g} and a standard deviation of {sd:g} the divergence", ours, right, mistakes)
    return (
        "A width of a tenth costs 1.8 nats, and halving it again costs 0.7 more: precision has a price. That is why a "
        "dimension that saves less than its price dies."
    )


def _sample(call: Callable) -> str:
    mean, noise = torch.tensor([0.0, 1.0, -2.0]), torch.tensor([1.0, -0.5, 2.0])
    log_variance = torch.tensor([0.0, 2.0, -4.0])
    right = mean + (log_variance / 2).exp() * noise
    ours = _numbers(call(mean.clone(), log_variance.clone(), noise.clone()), right)
    if not torch.allclose(ours.float(), right, rtol=1e-4):
        mistakes = {
            "That scales with the variance. Take its square root: half of the logarithm.": mean
            + log_variance.exp() * noise,
            "That scales with the logarithm. Apply exp.": mean + log_variance * noise,
            "The mean is missing.": (log_variance / 2).exp() * noise,
        }
        known = [text for text, value in mistakes.items() if torch.allclose(ours.float(), value, rtol=1e-4)]
        _wrong(known[0] if known else f"For mean 1, log variance 2 and noise −0.5 it is {right[1]:.4f}.")
    return (
        "The noise is an input like any other, so the gradient with respect to the mean is 1, and with respect to the "
        "standard deviation it is the noise."
    )


def _weighted_bound(call: Callable) -> str:
    for weights in (torch.full((100,), -100.0), torch.tensor([-90.0, -100.0, -110.0]), torch.tensor([-5.0])):
        right = (weights.double().logsumexp(0) - math.log(len(weights))).item()
        ours = _number(call(weights.clone()))
        if not math.isfinite(ours):
            _wrong("Yours is not finite: exp(−100) is 0 in single precision. Use torch.logsumexp.")
        mistakes = {
            "That is the logarithm of the sum. Subtract log K for the mean.": right + math.log(len(weights)),
            "That is the mean of the logarithms, the ELBO. Take the logarithm of the mean.": weights.mean().item(),
        }
        _compare(f"For {len(weights)} weights from {weights.min():g} to {weights.max():g} it", ours, right, mistakes)
    return (
        "The largest weight dominates: a single good sample counts more than many bad ones. By Jensen's inequality the "
        "result is never below the mean of the logarithms."
    )


def _active(call: Callable) -> str:
    generator = torch.Generator().manual_seed(0)
    spread = torch.tensor([1.0, 0.3, 0.05, 0.0, 0.0])
    means = torch.randn(500, 5, generator=generator) * spread + torch.tensor([0.0, 2.0, 0.0, 3.0, 0.0])
    mistakes = {
        "That is the number of dimensions.": 5,
        "The variance is taken over the images, dimension 0, not over the latent dimensions.": 500,
        "A dimension with a constant mean is not active, however large the mean is: subtract it.": 3,
    }
    _compare("Of five dimensions the number of active ones", _number(call(means)), 2, mistakes)
    _compare("With a threshold of 0.001 it", _number(call(means, 0.001)), 3, {"Use the threshold.": 2})
    return "A dimension whose mean never changes says nothing about the image, even if it is far from 0."


# --- 05 · A generative adversarial network ---------------------------------------------------------------------------


def _generator_losses(call: Callable) -> str:
    names = ("minimax loss", "non-saturating loss", "derivative of the minimax loss", "derivative of the other loss")
    for at in (0.0, 2.0, -2.0, -30.0, 30.0):
        result = call(torch.tensor(at))
        if not isinstance(result, tuple | list) or len(result) != 4:
            shape = f"{len(result)} values" if isinstance(result, tuple | list) else f"a {type(result).__name__}"
            _wrong(f"Expected four values, but got {shape}.")
        up, down = 1 / (1 + math.exp(-at)), 1 / (1 + math.exp(at))  # sigmoid(at) and 1 − sigmoid(at)
        right = (-_softplus(at), _softplus(-at), -up, -down)
        for name, ours, value in zip(names, result, right, strict=True):
            mistakes = {
                "The sign is wrong.": -value,
                "That is another of the four values: check their order.": next(
                    (v for v in right if _close(_number(ours), v) and v != value), math.nan
                ),
                "That is the derivative with respect to σ(l). Use the chain rule to reach the logit l.": (
                    -1 / down if name == names[2] else -1 / up if name == names[3] else math.nan
                ),
            }
            number = _number(ours)
            if at == 30 and "derivative" in name:  # in single precision σ(l) − 1 is 0 there, which does no harm
                continue
            if abs(at) == 30 and not _close(number, value, 1e-3):
                _wrong(
                    f"At l = {at:g} the {name} is {value:.4g}, but yours is {number:.4g}. In single precision "
                    "1 − σ(l) loses all digits: write log σ(l) with softplus or logsigmoid, and 1 − σ(l) as σ(−l)."
                )
            if abs(at) != 30:
                _compare(f"At l = {at:g} the {name}", number, value, mistakes)
    return (
        "At l = −30 the discriminator is sure that the image is generated. There the gradient of the minimax loss "
        "vanishes, and the generator learns nothing; that of the non-saturating loss is −1. Both are always negative."
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
        _wrong("Where both probabilities are 0, yours is not a number. Return 0.5 there: the value never occurs.")
    for i, (data, model) in enumerate(zip(p_data.tolist(), p_model.tolist(), strict=True)):
        said = f"Where the data have probability {data:.1f} and the model {model:.1f}, the best discriminator"
        mistakes = {"That is the probability of a generated image: you swapped the two.": 1 - right[i].item()}
        _compare(said, ours[i].item(), right[i].item(), mistakes)
    return (
        "Where the two probabilities are equal, it returns one half. If they are equal everywhere, it cannot tell data "
        "from model, and the generator has reached the minimum of the game, −log 4."
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
            "The sign is wrong.": -right,
            "Those are counts. Divide by their sum first.": -sum(count * math.log2(count) for count in counts if count),
        }
        if right == 0 and abs(ours) < 1e-6:
            continue
        _compare(f"For the counts {counts} the entropy in bits", ours, right, mistakes)
    return (
        "Ten equal classes have log₂ 10 = 3.32 bits, and a single class has 0. A generator that never produces one of "
        "the ten digits still reaches log₂ 9 = 3.17, so look at the rarest class as well."
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
                "Start at the first value, not at 0.": from_zero[i],
                "The weights are swapped: decay multiplies the average so far.": exchanged[i],
            }
            _compare(f"For {values} and decay {decay} the average after value {i + 1}", ours[i], right[i], mistakes)
    return (
        "A decay of 0.999 averages over about 1 / (1 − 0.999) = 1,000 values. Applied to a generator's weights, it "
        "averages out the oscillations of the two players around each other."
    )


# --- 06 · How different are two samples? -----------------------------------------------------------------------------


def _kl_gaussians(call: Callable) -> str:
    def kl(mean_p: float, sd_p: float, mean_q: float, sd_q: float) -> float:
        return math.log(sd_q / sd_p) + (sd_p**2 + (mean_p - mean_q) ** 2) / (2 * sd_q**2) - 0.5

    for p, q in (((0.0, 1.0), (2.0, 3.0)), ((1.0, 2.0), (0.0, 0.5)), ((0.0, 1.0), (3.0, 1.0))):
        right = kl(*p, *q)
        mistakes = {
            "That is KL(q ‖ p): the mean is taken under p.": kl(*q, *p),
            "That is in bits. Take natural logarithms.": right / math.log(2),
            "The term −1/2 is missing.": right + 0.5,
            "The means differ as well: add (mean_p − mean_q)² to the variance of p.": kl(p[0], p[1], p[0], q[1]),
            "Those are standard deviations. The fraction needs their squares.": (
                math.log(q[1] / p[1]) + (p[1] + (p[0] - q[0]) ** 2) / (2 * q[1]) - 0.5
            ),
            "The sign is wrong.": -right,
        }
        said = f"From p with mean {p[0]:g} and sd {p[1]:g} to q with mean {q[0]:g} and sd {q[1]:g}, the divergence"
        _compare(said, _number(call(*p, *q)), right, mistakes)
    if abs(_number(call(1.0, 2.0, 1.0, 2.0))) > 1e-6:
        _wrong("The divergence of a distribution from itself is 0.")
    return (
        "With equal standard deviations it is the squared shift over twice the variance, as in the chapter. For equal "
        "means, a wide p and a narrow q give the larger of the two directions."
    )


def _emd_1d(call: Callable) -> str:
    a = torch.tensor([3.0, 0.0, 1.0, 7.0])
    b = torch.tensor([2.0, 9.0, 1.5, 0.5])
    ways = (a.sort().values - b.sort().values).abs()
    right = ways.mean().item()
    mistakes = {
        "You pair the points as they stand. Sort both samples first.": (a - b).abs().mean().item(),
        "That is the sum of the ways. Take their mean: each point carries 1/n of the mass.": ways.sum().item(),
        "That is the mean of the squared ways. Wasserstein-1 takes their length.": ways.square().mean().item(),
        "That is the root of the mean square: Wasserstein-2.": ways.square().mean().sqrt().item(),
        "That is the difference of the two means, a lower bound only.": abs(a.mean() - b.mean()).item(),
    }
    _compare("For the samples 3, 0, 1, 7 and 2, 9, 1.5, 0.5 the distance", _number(call(a, b)), right, mistakes)
    opposite = torch.tensor([-1.0, 1.0]), torch.tensor([-2.0, 2.0])
    _compare(
        "For −1, 1 and −2, 2 the distance",
        _number(call(*opposite)),
        1.0,
        {"Ways in opposite directions do not cancel.": 0.0},
    )
    _compare("For a sample and the same sample moved by 3 the distance", _number(call(a, a + 3)), 3.0, {})
    return (
        "Sorting solves the assignment problem on the line, in n log n steps instead of n³. The sliced distance sorts "
        "along random directions."
    )


def _mmd_unbiased(call: Callable) -> str:
    a, b = torch.tensor([0.0, 1.0, 1.5]), torch.tensor([0.5, 3.0, 3.5, 4.0])
    aa, bb, ab = (torch.exp(-((x[:, None] - y) ** 2) / 2) for x, y in ((a, a), (b, b), (a, b)))
    for first, second, across in ((aa, bb, ab), (aa, aa, aa)):
        n, m = len(first), len(second)
        inside_a, inside_b = ((k.sum() - len(k)).item() / (len(k) * (len(k) - 1)) for k in (first, second))
        cross = across.mean().item()
        right = inside_a + inside_b - 2 * cross
        mistakes = {
            "That is the biased form: leave out the pairs of a point with itself.": (
                first.mean().item() + second.mean().item() - 2 * cross
            ),
            "The diagonal is gone, but n² still counts it. There are n(n − 1) pairs left.": (
                (first.sum().item() - n) / n**2 + (second.sum().item() - m) / m**2 - 2 * cross
            ),
            "The pairs of a with b count twice: subtract 2 times their mean.": inside_a + inside_b - cross,
            "All pairs of a with b count: a point of a never meets itself there.": (
                inside_a + inside_b - 2 * (across.sum() - across.diagonal().sum()).item() / (n * max(m - 1, 1))
            ),
            "The sign is wrong.": -right,
        }
        if right > 0:
            mistakes["That is its root. Keep the square, which is unbiased."] = math.sqrt(right)
        said = (
            "For three and four points the squared MMD" if across is ab else "For a sample and itself the squared MMD"
        )
        _compare(said, _number(call(first, second, across)), right, mistakes)
    return (
        "For a sample and itself it is below 0. An estimate that is right on average must err on both sides, and here "
        "the truth is 0, so some estimates are negative."
    )


def _p_value(call: Callable) -> str:
    values = torch.tensor([0.1, 0.4, 0.2, 0.4, 0.9, 0.3, 0.0, 0.7, 0.2])
    for observed in (0.4, 0.35, 2.0, -1.0):
        as_large = int((values >= torch.tensor(observed)).sum())
        larger = int((values > torch.tensor(observed)).sum())
        right = (1 + as_large) / 10
        mistakes = {
            "Count the true labels as one of the divisions, above and below the line.": as_large / 9,
            "Count them below the line as well: there are B + 1 divisions.": (1 + as_large) / 9,
            "Count them above the line as well, or p could be 0.": as_large / 10,
            "A value that equals the observed one is as large: use ≥.": (1 + larger) / 10,
            "That is the share of smaller values. A large measure speaks against equality.": (10 - as_large) / 10,
        }
        said = f"With 9 divisions, {as_large} of them as large as {observed:g} or larger, p"
        _compare(said, _number(call(torch.tensor(observed), values)), right, mistakes)
    return (
        "With B divisions the smallest possible p is 1 / (B + 1). To reach 0.001, 999 divisions are needed, however "
        "different the samples are."
    )


CHECKS: dict[str, tuple[str, str, Callable]] = {
    "01.1": (
        "loss_and_gradient(logits, label)",
        "the cross-entropy of the logits (10,) in nats, and its derivative (10,) with respect to them",
        _loss_and_gradient,
    ),
    "01.2": (
        "delta_tanh(a, delta_h)",
        "a tensor of the shape of a: the derivative of the loss with respect to a, for a layer h = tanh(a)",
        _delta_tanh,
    ),
    "01.3": (
        "loss_floor(u, v, classes)",
        "one number: the smallest cross-entropy in nats if every logit lies between u and v",
        _loss_floor,
    ),
    "01.4": (
        "images_needed(accuracy, gap)",
        "one number: how many images make the standard error of this accuracy half of the gap",
        _images_needed,
    ),
    "02.1": (
        "as_printed(mse, images, batch_size)",
        "one number: the sum of the mean errors of all batches, divided by the number of images",
        _as_printed,
    ),
    "02.2": (
        "pca_error(x, k)",
        "one number: the mean squared error per element of x (N, D) after PCA with k components",
        _pca_error,
    ),
    "02.3": (
        "purity(codes, labels, k)",
        "one number from 0 to 1: the share of the k nearest other codes with the same label, averaged over all codes",
        _purity,
    ),
    "02.4": (
        "rate_at(epoch, start=3e-3, every=5)",
        "one number: the learning rate in that epoch, counted from 1; it falls to a tenth after every 5 epochs",
        _rate_at,
    ),
    "03.1": (
        "log_normalised(counts, depth)",
        "a tensor of the shape of counts: log(1 + depth · count / sum of the row)",
        _log_normalised,
    ),
    "03.2": (
        "adjusted_rand(clusters, types)",
        "one number: the adjusted Rand index of two tensors of whole numbers",
        _adjusted_rand,
    ),
    "03.3": (
        "auc(inside, outside)",
        "one number from 0 to 1: the share of pairs in which the value inside is larger, with ties as one half",
        _auc,
    ),
    "03.4": (
        "kept_epoch(errors, patience)",
        "a whole number: the epoch, counted from 1, with the lowest error seen before early stopping stops",
        _kept_epoch,
    ),
    "04.1": (
        "kl(mean, sd)",
        "one number: the divergence of N(mean, sd²) from N(0, 1) in nats",
        _kl,
    ),
    "04.2": (
        "sample(mean, log_variance, noise)",
        "a tensor of the shape of mean: the mean plus the standard deviation times the noise",
        _sample,
    ),
    "04.3": (
        "weighted_bound(log_weights)",
        "one number: the logarithm of the mean of the weights, from their logarithms (K,)",
        _weighted_bound,
    ),
    "04.4": (
        "active(means, threshold=0.01)",
        "one number: how many of the D columns of means (N, D) have a variance above the threshold",
        _active,
    ),
    "05.1": (
        "generator_losses(logit)",
        "four numbers: log(1 − σ(l)), −log σ(l), and their derivatives with respect to l, in this order",
        _generator_losses,
    ),
    "05.2": (
        "best_discriminator(p_data, p_model)",
        "a tensor of the shape of p_data: the probability that each value is real, or 0.5 where both are 0",
        _best_discriminator,
    ),
    "05.3": (
        "class_entropy(counts)",
        "one number: the entropy in bits of the classes with these counts, some of which may be 0",
        _class_entropy,
    ),
    "05.4": (
        "ema(values, decay)",
        "a list as long as values: the first value, then decay · the previous average + (1 − decay) · the value",
        _ema,
    ),
    "06.1": (
        "kl_gaussians(mean_p, sd_p, mean_q, sd_q)",
        "one number: KL(p ‖ q) in nats of two normal distributions on the line",
        _kl_gaussians,
    ),
    "06.2": (
        "emd_1d(a, b)",
        "one number: the earth mover's distance of two samples (n,) of equal size",
        _emd_1d,
    ),
    "06.3": (
        "mmd_unbiased(aa, bb, ab)",
        "one number: the unbiased squared MMD from kernel matrices (n, n), (m, m) and (n, m)",
        _mmd_unbiased,
    ),
    "06.4": (
        "p_value(observed, permuted)",
        "one number: the share of divisions with a measure at least as large, the true labels included",
        _p_value,
    ),
}
