"""Exercises of chapter 15: a score of typicality, a random rotation, and vectors that are moved away from a mean."""

from collections.abc import Callable

import torch

from workbook.exercises.engine import Exercise, numbers


def _typical(x, examples, k):
    """minus the mean distance (N,) of each row of x (N, D) to its k nearest rows of examples (M, D)."""
    return -torch.cdist(x, examples).topk(k, largest=False).values.mean(1)


def _rotation_from(numbers):
    """A rotation, as large as the square matrix of random numbers: the Q of its QR decomposition with a positive
    diagonal of R, and the first column turned if the determinant is −1."""
    q, r = torch.linalg.qr(numbers)
    q = q * r.diagonal().sign()
    q[:, 0] *= torch.linalg.det(q).sign()
    return q


def _push(z, mean, share):
    """Vectors (N, D): z without a share of its component along the mean (D,), at the lengths that z had."""
    direction = mean / mean.norm()
    moved = z - share * (z @ direction)[:, None] * direction
    return moved * z.norm(dim=1, keepdim=True) / moved.norm(dim=1, keepdim=True)


def _normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _look_moved(call: Callable, z: torch.Tensor, mean: torch.Tensor, share: float) -> dict[str, object]:
    """Lengths of the moved vectors, their angles to the mean, and what is left of the rest."""
    moved = numbers(call(z.clone(), mean.clone(), share)).to(z)
    if moved.shape != z.shape:
        return {"the lengths": moved}
    direction = mean / mean.norm()
    along, before = moved @ direction, z @ direction
    return {
        "the lengths": moved.norm(dim=1),
        "the components along the mean's direction": along,
        "the share of the rest that is left": (moved - along[:, None] * direction).norm(dim=1)
        / (z - before[:, None] * direction).norm(dim=1),
    }


def _mirror(numbers):
    q, r = torch.linalg.qr(numbers)
    return q * r.diagonal().sign()


EXERCISES = {
    "15.1": Exercise(
        _typical,
        cases={
            "With the one nearest, the scores": (_normal(4, 3), _normal(20, 3, seed=1), 1),
            "With the five nearest, the scores": (_normal(4, 3), _normal(20, 3, seed=1), 5),
        },
        mistakes={
            "Typical images are near: the score is minus the distance.": ("-torch.cdist", "torch.cdist"),
            "Those are the k farthest examples.": (", largest=False", ""),
            "Average over the k nearest only, not over all examples.": (".topk(k, largest=False).values", ""),
            "Add up nothing: take the mean of the k distances.": (".mean(1)", ".sum(1)"),
            "That is the distance to the k-th nearest alone.": ("values.mean(1)", "values[:, -1]"),
            "Return one score for each row of x.": (".mean(1)", ".mean()"),
        },
        notice="With one neighbour a single odd training image can make a bad picture typical; with many, the score "
        "becomes the distance to the class's mean.",
    ),
    "15.2": Exercise(
        _rotation_from,
        cases={
            "For three dimensions, the rotation": (_normal(3, 3).double(),),
            "For other numbers, the rotation": (_normal(3, 3, seed=1).double(),),
            "For six dimensions, the rotation": (_normal(6, 6, seed=2).double(),),
        },
        mistakes={
            "The signs of Q are arbitrary: multiply each column by the sign of R's diagonal.": (
                "    q = q * r.diagonal().sign()\n",
                "",
            ),
            "The signs belong to the columns of Q, not to its rows.": (
                "q * r.diagonal().sign()",
                "q * r.diagonal().sign()[:, None]",
            ),
            "A determinant of −1 is a mirror image: turn the first column.": _mirror,
            "That turns all columns: in an even number of dimensions the determinant stays.": (
                "q[:, 0] *=",
                "q *=",
            ),
            "Columns of random numbers are not orthogonal: take the Q of the QR decomposition.": (
                "return q",
                "return numbers",
            ),
            "That is R. Q is the orthogonal factor.": ("return q", "return r"),
        },
        notice="With the signs fixed, every rotation is equally likely (Stewart 1980). Without them, which ones are "
        "likelier depends on the library.",
    ),
    "15.3": Exercise(
        _push,
        cases={
            "With half of the component removed,": (_normal(4, 6), _normal(6, seed=1), 0.5),
            "With all of it removed,": (_normal(4, 6), _normal(6, seed=1), 1.0),
        },
        mistakes={
            "The direction must have length 1: divide the mean by its norm.": ("mean / mean.norm()", "mean"),
            "That moves towards the mean for vectors that point away, and the other way round: subtract a share of the "
            "component that is there.": ("(z @ direction)[:, None] * direction", "direction"),
            "Bring the result back to the length of z: the generator knows vectors of that length.": (
                "return moved * z.norm(dim=1, keepdim=True) / moved.norm(dim=1, keepdim=True)",
                "return moved",
            ),
            "The lengths are those that z had, not 1.": ("moved * z.norm(dim=1, keepdim=True)", "moved"),
            "That adds to the component instead of taking from it.": ("z - share", "z + share"),
            "Remove a share only, not the whole component.": ("share * (z", "(z"),
        },
        notice="A vector without the component of its digit still makes some digit: often the neighbour that looks "
        "most alike. The mean vectors are directions in which the image changes its class.",
        look=_look_moved,
    ),
}
