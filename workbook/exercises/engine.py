"""What an exercise is, and how an answer is judged. The smallest exercise, for one of your own:

    from workbook.exercises import Exercise, check

    def area(radius):
        '''The area of a circle.'''
        return math.pi * radius**2

    mine = Exercise(
        area,
        cases={"For a radius of 1, the area": (1.0,), "For a radius of 3, the area": (3.0,)},
        mistakes={"That is the circumference.": ("radius**2", "2 * radius"), "…": lambda radius: radius**2},
        notice="Twice the radius, four times the area.",
    )
    check(mine, lambda radius: 2 * math.pi * radius)

This prints "Not yet. For a radius of 1, the area is 3.14159, but yours is 6.28319. That is the circumference." The
answer, the right function and its mistakes are called with the arguments of every case. Where answer and right function
differ, the hint of the mistake that explains most of the answer's values is printed. A mistake is a function, or a
change of the right function's text: what stands there, and what stands there instead.

To judge a training step by what it does, or a network by what it is, give ``look``: a function that receives the answer
and the arguments of a case, and returns {what is looked at: value}. ``learn`` runs a small training for it.
"""

import copy
import functools
import inspect
import math
import re
import sys
import textwrap
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

Look = Callable[..., dict[str, object]]


class _NotYet(Exception):
    """An answer is not right yet. The message says what is wrong."""


def _result(call: Callable, *arguments: object) -> dict[str, object]:
    """What the function returns, as it is."""
    return {"": call(*arguments)}


@dataclass(frozen=True, eq=False)
class Exercise:
    """One exercise, as data.

    ``right`` is a right answer; its signature and its docstring are what the student is told. ``cases`` maps the
    beginning of a sentence to arguments, ``mistakes`` a hint to a function that makes that mistake, or to a change
    (old, new) of the text of ``right``. Values count as equal within ``tolerance``, relative to the right one.
    """

    right: Callable
    cases: dict[str, tuple]
    mistakes: dict[str, Callable | tuple[str, str]]
    notice: str
    look: Look = _result
    tolerance: float = 1e-4

    @property
    def name(self) -> str:
        """The name of the function that the student writes."""
        return self.right.__name__.lstrip("_")

    def expected(self) -> str:
        """What the function returns, in words."""
        parameters = inspect.signature(self.right).parameters.values()
        shown = ", ".join(str(p.replace(annotation=p.empty)) for p in parameters)
        told = " ".join((self.right.__doc__ or "").split())
        told = told if told[1:2].isupper() else told[:1].lower() + told[1:]
        return f"{self.name}({shown}) returns {told}"

    def mistake(self, hint: str) -> Callable:
        """The function that makes the mistake with this hint. Raises ValueError if its change fits not just once."""
        change = self.mistakes[hint]
        if callable(change):
            return change
        source = re.search(  # pyrefly: ignore
            r"^(def|class) .*", textwrap.dedent(inspect.getsource(self.right)), re.DOTALL | re.MULTILINE
        )[0]
        if source.count(change[0]) != 1:
            raise ValueError(
                f"{self.name}: {change[0]!r} stands {source.count(change[0])} times in the right answer, not once"
            )
        space: dict[str, Any] = {}
        exec(source.replace(*change), vars(sys.modules[self.right.__module__]), space)
        return space[self.right.__name__]


def verdict(exercise: Exercise, answer: object, number: str | None = None) -> str:
    """ "Right." and what to notice; or "Not yet.", what is wrong with the answer, and what is expected."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # for such small tensors more threads only wait for each other
    try:
        if not callable(answer) or isinstance(answer, nn.Module | Tensor):
            given = "a network" if isinstance(answer, nn.Module) else f"{answer!r}"
            given = "the result of a call" if isinstance(answer, int | float | Tensor) else given
            shown = f"{number!r}, " if number else ""
            raise _NotYet(f"This is {given}. Hand in the function itself: check({shown}{exercise.name}).")
        _judge(exercise, answer)
    except _NotYet as reason:
        return f"Not yet. {reason}\nExpected: {exercise.expected()}"
    finally:
        torch.set_num_threads(threads)
    return f"Right. {exercise.notice}"


def _judge(exercise: Exercise, answer: Callable) -> None:
    ours, failure = _seen(exercise, answer)
    for key, right in _known(exercise).items():
        if key not in ours:
            break
        if not _same(ours[key], right, exercise.tolerance):
            said = _difference(" ".join(key).strip(), ours[key], right, exercise.tolerance)
            raise _NotYet(" ".join([said, *_hints(exercise, ours, key)]))
    if failure:
        raise failure


def _seen(exercise: Exercise, function: Callable) -> tuple[dict[tuple[str, str], Tensor], _NotYet | None]:
    """What is seen of a function in each case; and what stopped it, if something did."""

    def call(*arguments: object, **options: object) -> object:
        result = function(*arguments, **options)
        if result is None:
            raise _NotYet(f"`{exercise.name}` returned nothing. Does it end with `return`?")
        return result

    seen: dict[tuple[str, str], Tensor] = {}
    for case, arguments in exercise.cases.items():
        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                looked = exercise.look(call, *copy.deepcopy(arguments))
            seen |= {(case, what): numbers(value) for what, value in looked.items()}
        except _NotYet as reason:
            return seen, reason
        except NotImplementedError:
            return seen, _NotYet(f"`{exercise.name}` is still empty: replace the line that raises NotImplementedError.")
        except Exception as error:
            return seen, _NotYet(f"`{exercise.name}` stopped with {type(error).__name__}: {error}")
    return seen, None


@functools.cache
def _known(exercise: Exercise, hint: str | None = None) -> dict[tuple[str, str], Tensor]:
    """What is seen of the mistake with this hint, or of the right answer; computed once."""
    return _seen(exercise, exercise.mistake(hint) if hint else exercise.right)[0]


def _hints(exercise: Exercise, ours: dict, where: tuple[str, str]) -> list[str]:
    """The hint of the mistake that explains the value at ``where``, and most of the others."""
    best, explained = [], 0
    for hint in exercise.mistakes:
        theirs = _known(exercise, hint)
        equal = {key for key in ours.keys() & theirs.keys() if _same(ours[key], theirs[key], exercise.tolerance)}
        if where in equal and len(equal) > explained:
            best, explained = [hint], len(equal)
    return best


def _difference(what: str, ours: Tensor, right: Tensor, tolerance: float) -> str:
    """The first difference of two tensors, in words."""
    if ours.shape != right.shape:
        if not right.ndim:
            return f"Expected one number, but got an array of shape {tuple(ours.shape)}."
        return f"Expected shape {tuple(right.shape)}, but got {tuple(ours.shape)}."
    first = tuple((~_close(ours, right, tolerance)).nonzero()[0].tolist())
    at = f" at {list(first)}" if first else ""
    return f"{what}{at} is {right[first]:.6g}, but yours is {ours[first]:.6g}."


def _close(a: Tensor, b: Tensor, tolerance: float) -> Tensor:
    """Element by element; what overflowed is as good as what is not a number."""
    a, b = (torch.where(x.isfinite(), x, torch.nan) for x in (a, b))
    return torch.isclose(a, b, rtol=tolerance, atol=1e-7, equal_nan=True)


def _same(a: Tensor, b: Tensor, tolerance: float) -> bool:
    return a.shape == b.shape and bool(_close(a, b, tolerance).all())


# --- for those who write a ``look`` ----------------------------------------------------------------------------------


def numbers(result: object) -> Tensor:
    """Any number, list, array or tensor in double precision. Else the answer is told what it returned."""
    try:
        return torch.as_tensor(result, dtype=torch.float64).detach()
    except (TypeError, ValueError, RuntimeError):
        raise _NotYet(f"Expected numbers, but got a {type(result).__name__}.") from None


def several(*names: str) -> Look:
    """A look at a function that returns as many values as there are names."""

    def look(call: Callable, *arguments: object) -> dict[str, object]:
        result = call(*arguments)
        if not isinstance(result, tuple | list) or len(result) != len(names):
            got = f"{len(result)} values" if isinstance(result, tuple | list) else f"a {type(result).__name__}"
            raise _NotYet(f"Expected {len(names)} values, but got {got}.")
        return dict(zip(names, result, strict=True))

    return look


def learn(step: Callable[..., object], batches: Iterable[tuple], *names: str) -> dict[str, list[float]]:
    """Call ``step(*batch)`` for every batch; the losses with these names, step by step.

    A step that returns something else than {name: loss}, or a loss that is not finite, ends the training.
    """
    losses: dict[str, list[float]] = {name: [] for name in names}
    for batch in batches:
        returned = step(*batch)
        if not isinstance(returned, dict) or set(names) - returned.keys():
            got = f"the names {list(returned)}" if isinstance(returned, dict) else f"a {type(returned).__name__}"
            raise _NotYet(f"A step returns a dictionary with {' and '.join(map(repr, names))}, but got {got}.")
        for name in names:
            losses[name].append(float(numbers(returned[name])))
            if not math.isfinite(losses[name][-1]):
                raise _NotYet(f"The loss {name!r} became {losses[name][-1]} in step {len(losses[name])}.")
    return losses


def as_module(result: object, *methods: str) -> nn.Module:
    """The result, if it is a network with these methods. Else the answer is told what it returned."""
    if not isinstance(result, nn.Module):
        raise _NotYet(f"Expected a torch.nn.Module, but got a {type(result).__name__}.")
    if missing := [method for method in methods if not hasattr(result, method)]:
        raise _NotYet(f"The network has no method `{missing[0]}`.")
    return result
