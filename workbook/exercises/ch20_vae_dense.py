"""Exercises of chapter 20: parameters of a dense VAE, two judges, draws from a fit, and the score function."""

import itertools
from collections.abc import Callable

import torch

from lib.models.vae import VAE, kl_to_prior, reconstruction_loss, reparameterize
from lib.training.loop import Learner, normal_draws, stream
from workbook.exercises.engine import Exercise, learn


def _parameters_of(sizes):
    """The number of parameters of a dense VAE, from the layers of its encoder, for example (784, 512, 256, 2)."""
    layers = [a * b + b for a, b in itertools.pairwise(sizes)]
    mirrored = [a * b + a for a, b in itertools.pairwise(sizes)]
    return sum(layers) + layers[-1] + sum(mirrored)


def _both_read(first, second, cut=0.5):
    """Whether two judges, who give probabilities (N, 10), read the same digit, each with more than cut (N,)."""
    same = first.argmax(1) == second.argmax(1)
    return same & (torch.minimum(first.amax(1), second.amax(1)) > cut)


def _fitted_draws(codes, noise):
    """Draws (M, D) from the normal distribution with the mean and covariance of codes (N, D), made of noise (M, D)."""
    root = torch.linalg.cholesky(codes.T.cov())
    return codes.mean(0) + noise @ root.T


def _score_step(vae, x, draw, learner):
    """{"reconstruction": …, "kl": …}, means over the images, after one step whose encoder learns by the score
    function."""
    mean, log_variance = vae.encode(x)
    z = reparameterize(mean, log_variance, draw(*mean.shape)).detach()
    each = reconstruction_loss(vae.decode(z), x)
    kl = kl_to_prior(mean, log_variance).sum(1).mean()
    log_q = torch.distributions.Normal(mean, (log_variance / 2).exp()).log_prob(z).sum(1)
    learner.descend(each.mean() + kl + ((each - each.mean()).detach() * log_q).mean())
    return {"reconstruction": each.mean(), "kl": kl}


def _normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _look_score(call: Callable, rate: float) -> dict[str, object]:
    """Train a small VAE on binary images of twelve pixels that one number describes, and look at its last steps."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        vae = VAE((12, 16, 2))
    pixels = (1.5 * _normal(200, 1, seed=1) @ _normal(1, 12, seed=2) > 0).float()
    draw, learner = normal_draws(stream(0, 0)), Learner(vae, rate, cycle=200)
    losses = learn(lambda: call(vae, pixels, draw, learner), [()] * 200, "reconstruction", "kl")
    first: dict[str, object] = {f"the {name} of the first step": values[0] for name, values in losses.items()}
    ends = {name: sum(values[-20:]) / 20 for name, values in losses.items()}
    return first | {f"the mean {name} of the last 20 of 200 steps": value for name, value in ends.items()}


def _probabilities(seed):
    """What a judge gives 40 images, partly sure, partly not."""
    sharp = 1 + 5 * torch.rand(40, 1, generator=torch.Generator().manual_seed(seed))
    return (sharp * _normal(40, 10, seed=7) + _normal(40, 10, seed=seed)).softmax(1)


LINE = _normal(300, 2, seed=3) @ torch.tensor([[1.0, 0.9], [0.0, 0.3]]) + torch.tensor([4.0, -2.0])

EXERCISES = {
    "20.1": Exercise(
        _parameters_of,
        cases={
            "For the report's layers, the number of parameters": ((784, 512, 256, 2),),
            "For the small dense VAE, the number of parameters": ((784, 32, 2),),
        },
        mistakes={
            "There are two heads: one for the mean, one for the log variance.": (
                "sum(layers) + layers[-1]",
                "sum(layers)",
            ),
            "The biases are missing: one for each unit that a layer computes.": lambda sizes: (
                2 * sum(a * b for a, b in itertools.pairwise(sizes)) + sizes[-2] * sizes[-1]
            ),
            "The decoder is missing.": (" + sum(mirrored)", ""),
            "In the decoder the biases belong to the units on the other side.": ("a * b + a", "a * b + b"),
        },
        notice="Nearly all of them are in the first and the last layer, which touch the pixels. A convolution does not "
        "pay for them: its filters are the same at every place.",
    ),
    "20.2": Exercise(
        _both_read,
        cases={
            "For two judges of forty images, the answer": (_probabilities(1), _probabilities(2)),
            "With a cut of nine tenths, the answer": (_probabilities(1), _probabilities(2), 0.9),
        },
        mistakes={
            "They must read the same digit.": ("same & (", "("),
            "Both must be sure, not only one of them.": ("torch.minimum", "torch.maximum"),
            "They must also be sure.": (" & (torch.minimum(first.amax(1), second.amax(1)) > cut)", ""),
            "That ignores the second judge.": ("torch.minimum(first.amax(1), second.amax(1))", "first.amax(1)"),
            "Use the cut that was given.": ("> cut", "> 0.5"),
            "That is how often they agree; return an answer for each image.": (
                "return same & (torch.minimum(first.amax(1), second.amax(1)) > cut)",
                "return (same & (torch.minimum(first.amax(1), second.amax(1)) > cut)).float().mean()",
            ),
        },
        notice="From a cut of one half on, both must read the same digit anyway if the less sure judge is asked about "
        "the digit of the other one: no two digits can have more than half.",
    ),
    "20.3": Exercise(
        _fitted_draws,
        cases={
            "For two-dimensional codes along a line, the draws": (LINE, _normal(5, 2, seed=4)),
            "For codes of four numbers, the draws": (_normal(50, 4, seed=5) * 3 + 1, _normal(4, 4, seed=6)),
        },
        mistakes={
            "The draws must lie around the mean of the codes.": ("codes.mean(0) + ", ""),
            "That multiplies by the covariance: take its root.": (
                "torch.linalg.cholesky(codes.T.cov())",
                "codes.T.cov()",
            ),
            "Rows of noise stand on the left, so the root must be transposed.": ("root.T", "root"),
            "The coordinates depend on each other: the sd of each is not enough.": (
                "noise @ root.T",
                "noise * codes.std(0)",
            ),
            "That is the covariance of the images with each other: transpose the codes.": lambda codes, noise: (
                codes.mean(0) + noise * codes.std()
            ),
        },
        notice="Ten numbers have 10 means and 55 covariances. That is all that this fit knows of the codes, and it is "
        "enough for most of the difference between strange images and digits.",
    ),
    "20.4": Exercise(
        _score_step,
        cases={"With a rate of 0.02,": (0.02,)},
        mistakes={
            "The encoder learns nothing of the pixels: the term with log q is missing.": (
                " + ((each - each.mean()).detach() * log_q).mean()",
                "",
            ),
            "That is the reparameterisation: detach the draw.": (
                "reparameterize(mean, log_variance, draw(*mean.shape)).detach()",
                "reparameterize(mean, log_variance, draw(*mean.shape))",
            ),
            "R − b counts as a number: detach it.": ("(each - each.mean()).detach()", "(each - each.mean())"),
            "Subtract the mean of R over the batch: without it, the gradient is mostly noise.": (
                "(each - each.mean()).detach()",
                "each.detach()",
            ),
            "The sign is wrong: the loss must fall, so draws with a high loss become less probable.": (
                "+ ((each",
                "- ((each",
            ),
            "Add the log densities of the latent numbers.": (".log_prob(z).sum(1)", ".log_prob(z).mean(1)"),
            "Nothing was learned: call learner.descend.": ("learner.descend(", "("),
        },
        notice="It works for draws of any kind, discrete ones too, because it never differentiates the sample. The "
        "price is noise: the reparameterised gradient knows in which direction the loss falls, this one only whether "
        "a draw was better than the others.",
        look=_look_score,
        tolerance=0.03,
    ),
}
