"""Exercises of chapter 04: a bound beside the truth, the weighted bound and a step on it, and active dimensions."""

import math
from collections.abc import Callable

import torch

from lib.models.vae import VAE, log_likelihood, reconstruction_loss
from lib.training.loop import Learner, normal_draws, stream
from workbook.exercises.engine import Exercise, learn, several


def _normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _bound_and_truth(x, w, sd, mean, width):
    """The ELBO of x and log p(x), two numbers in nats, if z ~ N(0, 1), x ~ N(z w, sd² I) and q = N(mean, width²)."""
    error = (x - mean * w).square().sum() + width**2 * w @ w
    likelihood = -error / (2 * sd**2) - len(x) / 2 * math.log(2 * math.pi * sd**2)
    divergence = (mean**2 + width**2 - 1) / 2 - math.log(width)
    covariance = torch.outer(w, w) + sd**2 * torch.eye(len(x))
    truth = -(x @ covariance.inverse() @ x + covariance.logdet() + len(w) * math.log(2 * math.pi)) / 2
    return likelihood - divergence, truth


def _weighted_bound(log_weights):
    """The logarithm of the mean of the weights, from their logarithms (K,)."""
    return log_weights.logsumexp(0) - math.log(len(log_weights))


def _weighted_step(vae, x, draw, learner, samples=5):
    """{"loss": minus the weighted bound, averaged over the images}, after one step down its gradient."""
    mean, log_variance = vae.encode(x)
    log_w = []
    for _ in range(samples):
        noise = draw(*mean.shape)
        z = mean + (log_variance / 2).exp() * noise
        log_prior, log_q = -z.square().sum(1) / 2, -(noise.square() + log_variance).sum(1) / 2
        log_w.append(log_prior - reconstruction_loss(vae.decode(z), x) - log_q)
    loss = -(torch.stack(log_w).logsumexp(0) - math.log(samples)).mean()
    learner.descend(loss)
    return {"loss": loss}


def _look_weighted(call: Callable) -> dict[str, object]:
    """Train a small VAE on binary images of twelve pixels."""
    vae, pixels = VAE((12, 16, 2)), (1.5 * _normal(200, 2, seed=1) @ _normal(2, 12, seed=2) > 0).float()
    for weight in vae.parameters():
        weight.data *= 2  # far from the best, so that the bounds differ
    draw, learner = normal_draws(stream(0, 0)), Learner(vae, 0.02, cycle=100)
    losses = learn(lambda: call(vae, pixels, draw, learner), [()] * 100, "loss")["loss"]
    return {
        "the loss of the first step": losses[0],
        "the mean loss of the last 20 of 100 steps": sum(losses[-20:]) / 20,
        "−log p(x) after training": -log_likelihood(vae, pixels, 100, stream(0, 1)).mean(),
    }


def _active(means, threshold=0.01):
    """How many of the D columns of means (N, D) have a variance above the threshold."""
    return (means.var(0) > threshold).sum()


X, W = torch.tensor([1.0, -0.5, 2.0]), torch.tensor([1.0, 0.5, 1.5])
BEST = (W @ X / (0.25 + W @ W)).item(), (1 + W @ W / 0.25).item() ** -0.5  # mean and width of p(z|x) if sd = 0.5
WEIGHTS = torch.tensor([-2.0, -4.0, -3.0]), torch.full((100,), -100.0), torch.tensor([-90.0, -100.0, -110.0])
# columns with variances of about 1, 0.1, 0.0025, 0, 0 and 0
MEANS = _normal(500, 6) * torch.tensor([1, 0.3, 0.05, 0, 0, 0]) + torch.tensor([0, 2, 0, 3, 1, 0])

EXERCISES = {
    "04.1": Exercise(
        _bound_and_truth,
        cases={
            f"For sd = {sd:g} and q = N({mean:.3g}, {width:.3g}²),": (X, W, sd, mean, width)
            for sd, mean, width in ((0.5, 0.0, 1.0), (0.5, 1.0, 0.5), (0.5, *BEST), (2.0, 0.5, 0.1))
        },
        mistakes={
            "z varies: add width² |w|² to the expected squared error.": (" + width**2 * w @ w", ""),
            "The normal density has a constant, −log(2π sd²) / 2 for each element.": (" - len(x) / 2 *", " - 0 *"),
            "The constant counts once for each element of x.": (" - len(x) / 2 *", " - 0.5 *"),
            "The divergence of q from the prior is missing.": ("likelihood - divergence", "likelihood"),
            "The divergence of q has to be subtracted.": ("likelihood - divergence", "likelihood + divergence"),
            "log p(x) needs the covariance w wᵀ + sd² I: z is random too.": ("torch.outer(w, w) +", "0 +"),
            "The elements of x are correlated: use all of w wᵀ.": ("torch.outer(w, w)", "torch.diag(w**2)"),
            "The covariance has sd², not sd.": ("sd**2 * torch.eye", "sd * torch.eye"),
        },
        notice="In the third case q is the posterior, and the bound *is* log p(x). In all others it lies below, by the "
        "divergence of q from the posterior: a mean that is wrong by two widths of the posterior costs 2 nats.",
        look=several("the bound", "log p(x)"),
    ),
    "04.2": Exercise(
        _weighted_bound,
        cases={f"For {len(w)} logarithms from {min(w):g} to {max(w):g} it": (w,) for w in WEIGHTS},
        mistakes={
            "That is the logarithm of the sum. Subtract log K.": (" - math.log(len(log_weights))", ""),
            "That is the mean of the logarithms, the ELBO. Take the logarithm of the mean.": torch.mean,
            "exp(−100) is 0 in single precision. Use torch.logsumexp.": ("logsumexp(0)", "exp().sum().log()"),
            "That is the mean of the weights. Take its logarithm.": lambda log_weights: log_weights.exp().mean(),
        },
        notice="The largest weight dominates: a single good sample counts more than many bad ones. By Jensen's "
        "inequality the result is never below the mean of the logarithms.",
    ),
    "04.3": Exercise(
        _weighted_step,
        cases={"With five samples,": ()},
        mistakes={
            "That is the ELBO, the mean of the logarithms.": (".logsumexp(0) - math.log(samples)", ".mean(0)"),
            "Draw new noise for every sample; yours are all the same.": ("range(samples)", "range(samples := 1)"),
            "Subtract log K: the bound has the mean of the weights, not their sum.": (" - math.log(samples)", ""),
            "Every image has a bound of its own.": (
                "logsumexp(0) - math.log(samples)",
                "flatten().logsumexp(0) - math.log(samples * len(x))",
            ),
            "The prior p(z) is missing in the weights.": ("log_w.append(log_prior", "log_w.append(0"),
            "Divide by q(z|x): its logarithm is missing in the weights.": (" - log_q)", ")"),
            "Nothing was learned: call learner.descend(loss).": ("learner.descend(loss)", "pass"),
        },
        notice="With five samples, −log p(x) ends lower than with one: a tighter bound lets q be wrong in ways that "
        "the ELBO punishes.",
        look=_look_weighted,
        tolerance=0.05,
    ),
    "04.4": Exercise(
        _active,
        cases={"Of six dimensions the number of active ones": (MEANS,), "With a threshold of 0.001 it": (MEANS, 0.001)},
        mistakes={
            "That is the number of dimensions.": ("(means.var(0) > threshold).sum()", "means.shape[1]"),
            "The variance is one over the images, dimension 0, not over the dimensions.": ("var(0)", "var(1)"),
            "A constant mean is not active: subtract it.": ("means.var(0)", "means.square().mean(0)"),
            "Use the threshold.": ("> threshold", "> 0.01"),
            "That is the standard deviation. Compare the variance.": ("var(0)", "std(0)"),
            "Those are the dimensions that are not active.": ("> threshold", "<= threshold"),
        },
        notice="A dimension whose mean never changes says nothing about the image, even if it is far from 0.",
    ),
}
