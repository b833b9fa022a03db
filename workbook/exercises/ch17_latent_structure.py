"""Exercises of chapter 17: t-SNE's affinities, density from neighbours, digits to order, paths on a sphere."""

import math

import torch

from workbook.exercises.engine import Exercise


def _student_affinities(y):
    """The affinities q (N, N) of points y (N, 2): heavy-tailed, without the diagonal, all together 1."""
    weight = 1 / (1 + torch.cdist(y, y).square())
    weight = weight.fill_diagonal_(0)
    return weight / weight.sum()


def _knn_log_density(cloud, at, k):
    """The log density in nats (M,) at points at (M, D): k of the n points of cloud (n, D) lie in the ball that reaches
    to the k-th neighbour."""
    n, dimension = cloud.shape
    radius = torch.cdist(at, cloud).kthvalue(k, dim=1).values
    log_unit_ball = dimension / 2 * math.log(math.pi) - math.lgamma(dimension / 2 + 1)
    return math.log(k) - math.log(n) - log_unit_ball - dimension * radius.log()


def _draw_to_order(codes, labels, digit, noise):
    """New codes (M, D) for one digit: the standard normal noise (M, D), turned into draws from the normal distribution
    with the mean and covariance of the codes (N, D) that have this label."""
    chosen = codes[labels == digit]
    root = torch.linalg.cholesky(chosen.T.cov())
    return chosen.mean(0) + noise @ root.T


def _interpolate_on_sphere(a, b, weight):
    """A code (D,) between a and b (D,): its direction turns at constant speed, its length changes evenly."""
    long, wide = a.norm(), b.norm()
    angle = torch.arccos((a @ b / (long * wide)).clamp(-1, 1))
    from_a, to_b = torch.sin((1 - weight) * angle) / angle.sin(), torch.sin(weight * angle) / angle.sin()
    return torch.lerp(long, wide, weight) * (from_a * a / long + to_b * b / wide)


def _normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _look_ordered(call, digit) -> dict[str, object]:
    """Draw many codes of one digit, of which the three classes have different means, spreads and correlations."""
    labels = torch.arange(900) % 3
    stretch = torch.tensor([[[2.0, 0.0], [1.5, 0.5]], [[0.5, 0.0], [-0.4, 1.0]], [[1.0, 0.0], [0.0, 1.0]]])
    centres = torch.tensor([[5.0, 0.0], [-4.0, 3.0], [0.0, -6.0]])
    codes = centres[labels] + torch.einsum("nij,nj->ni", stretch[labels], _normal(900, 2))
    drawn = call(codes, labels, digit, _normal(5000, 2, seed=1))
    if not isinstance(drawn, torch.Tensor):
        return {"the mean of 5,000 codes": drawn}
    return {"the mean of 5,000 codes": drawn.mean(0), "the covariance of 5,000 codes": drawn.T.cov().flatten()}


EXERCISES = {
    "17.1": Exercise(
        _student_affinities,
        cases={"For three points, the affinities": (_normal(3, 2),), "For ten, the affinities": (3 * _normal(10, 2),)},
        mistakes={
            "A point is no neighbour of itself: set the diagonal to 0 before you divide.": (
                "weight = weight.fill_diagonal_(0)",
                "pass",
            ),
            "The tail holds the squared distance.": ("torch.cdist(y, y).square()", "torch.cdist(y, y)"),
            "That is the bell curve of the codes. In the plane the tail is heavy: 1 / (1 + d²).": (
                "1 / (1 + torch.cdist(y, y).square())",
                "torch.exp(-torch.cdist(y, y).square() / 2)",
            ),
            "Divide by the sum over all pairs, not row by row.": ("weight.sum()", "weight.sum(1, keepdim=True)"),
            "They are not normalised: divide by their sum.": ("weight / weight.sum()", "weight"),
        },
        notice="The tail falls as 1 / d²: two points at ten times the distance still have a hundredth of the affinity. "
        "So a picture can afford to push islands far apart.",
    ),
    "17.2": Exercise(
        _knn_log_density,
        cases={
            "In the plane, the log density": (
                torch.rand(400, 2, generator=torch.Generator().manual_seed(1)),
                torch.tensor([[0.5, 0.5], [0.3, 0.6]]),
                20,
            ),
            "In ten dimensions, the log density": (_normal(300, 10), _normal(3, 10, seed=2), 5),
        },
        mistakes={
            "The volume of a ball grows as its radius to the power of D.": ("dimension * radius", "radius"),
            "The volume of the unit ball is missing.": ("- log_unit_ball ", ""),
            "k points of n lie in the ball: divide by n.": ("- math.log(n) ", ""),
            "k points lie in the ball, not one.": ("math.log(k) - math.log(n)", "-math.log(n)"),
            "The sign is wrong: where neighbours are far, the density is low.": (
                "return math.log(k) - math.log(n) - log_unit_ball - dimension * radius.log()",
                "return -(math.log(k) - math.log(n) - log_unit_ball - dimension * radius.log())",
            ),
            "That is the density, not its logarithm.": (
                "return math.log(k) - math.log(n) - log_unit_ball - dimension * radius.log()",
                "return (math.log(k) - math.log(n) - log_unit_ball - dimension * radius.log()).exp()",
            ),
            "Take the k-th neighbour, not the mean of the k nearest.": (
                "torch.cdist(at, cloud).kthvalue(k, dim=1).values",
                "torch.cdist(at, cloud).topk(k, largest=False).values.mean(1)",
            ),
        },
        notice="In ten dimensions a ball of radius 1 holds about 2.6 units of volume, one of half the radius a "
        "thousandth of that: densities differ by many nats where distances hardly differ.",
    ),
    "17.3": Exercise(
        _draw_to_order,
        cases={"For the first class,": (0,), "For the second class,": (1,)},
        mistakes={
            "That uses the codes of all classes: choose those with the label first.": (
                "codes[labels == digit]",
                "codes",
            ),
            "The mean of the class is missing.": ("chosen.mean(0) + ", ""),
            "The numbers of a class vary together: standard deviations alone lose that.": (
                "torch.linalg.cholesky(chosen.T.cov())",
                "torch.diag(chosen.std(0))",
            ),
            "Multiply by a square root of the covariance, not by the covariance.": (
                "torch.linalg.cholesky(chosen.T.cov())",
                "chosen.T.cov()",
            ),
            "Noise stands in rows, so multiply by the transposed root.": ("noise @ root.T", "noise @ root"),
            "Use the noise: yours are the codes that exist already.": (
                "chosen.mean(0) + noise @ root.T",
                "chosen[torch.arange(len(noise)) % len(chosen)]",
            ),
        },
        notice="Ten such distributions, weighted by how frequent the digits are, are a mixture of ten components: "
        "better than one normal distribution, but a class is not normal either, and the chosen mixture has more.",
        look=_look_ordered,
        tolerance=0.02,
    ),
    "17.4": Exercise(
        _interpolate_on_sphere,
        cases={
            "A quarter of the way, the code": (_normal(10), 2 * _normal(10, seed=1), torch.tensor(0.25)),
            "At the end, the code": (_normal(4), _normal(4, seed=3), torch.tensor(1.0)),
            "Halfway, the code": (torch.tensor([2.0, 0.0]), torch.tensor([0.0, 1.0]), torch.tensor(0.5)),
        },
        mistakes={
            "That is the straight line.": lambda a, b, weight: torch.lerp(a, b, weight),
            "The length stays that of a: let it change evenly to that of b.": (
                "torch.lerp(long, wide, weight)",
                "long",
            ),
            "The length of the code is missing: that is only its direction.": (
                "torch.lerp(long, wide, weight) * (",
                "(",
            ),
            "Your path runs from b to a.": (
                "torch.sin((1 - weight) * angle) / angle.sin(), torch.sin(weight * angle) / angle.sin()",
                "torch.sin(weight * angle) / angle.sin(), torch.sin((1 - weight) * angle) / angle.sin()",
            ),
            "Divide by the sine of the whole angle.": (
                "torch.sin((1 - weight) * angle) / angle.sin(), torch.sin(weight * angle) / angle.sin()",
                "torch.sin((1 - weight) * angle), torch.sin(weight * angle)",
            ),
        },
        notice="Halfway between two perpendicular vectors of one length, the straight line is shorter than both by a "
        "factor of 0.7. Draws from a normal distribution of many dimensions all have about the same length, so for a "
        "prior like the VAE's the turn stays where codes are.",
    ),
}
