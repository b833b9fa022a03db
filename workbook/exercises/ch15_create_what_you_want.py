"""Exercises of chapter 15: letters that differ, a random rotation, and vectors moved away from a mean."""

from collections.abc import Callable

import torch

from workbook.exercises.engine import Exercise, numbers


def _varied(x, scores, n, least):
    """The places (n,) of images x (N, D) with high scores (N,) that differ from each other by at least a distance:
    from the highest score down, an image is kept if it is at least that far from all that were kept before."""
    kept = []
    for place in scores.argsort(descending=True).tolist():
        far = all((x[place] - x[other]).norm() >= least for other in kept)
        if far and len(kept) < n:
            kept.append(place)
    return torch.tensor(kept)


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
        _varied,
        cases={
            "For three of twelve images, the places": (_normal(12, 2), _normal(12, seed=1), 3, 1.0),
            "For five of forty, the places": (_normal(40, 2, seed=2), _normal(40, seed=3), 5, 1.2),
            "If a distance leaves fewer than n, the places": (_normal(12, 2), _normal(12, seed=1), 9, 1.5),
        },
        mistakes={
            "Those are the highest scores, however alike the images are.": ("far and ", ""),
            "Begin with the highest score.": ("descending=True", "descending=False"),
            "Compare with every image kept so far, not with the last one alone.": ("in kept)", "in kept[-1:])"),
            "One that is far is not enough: an image must differ from all that were kept.": (
                "far = all(",
                "far = not kept or any(",
            ),
            "Stop when n are kept.": ("far and len(kept) < n", "far"),
            "Keep an image if its distance is at least that, not if it is less.": (">= least", "<= least"),
            "Compare distances, not their squares.": (".norm() >= least", ".square().sum() >= least"),
            "Return places, not scores.": (
                "return torch.tensor(kept)",
                "return scores[torch.tensor(kept)]",
            ),
        },
        notice="This greedy choice needs no distance between all pairs. The larger the distance, the further down the "
        "list it reaches: variety costs legibility, as it does when vectors are pulled.",
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
