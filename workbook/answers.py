"""Answers as prose: Markdown with numbers from this run.

After ``open_book``, a cell of a notebook may look like this:

    %%answer cpsc453.q-2.2.1
    The network reads {{ 100 * accuracy:.1f }} % of the digits, which is {{ len(test) - wrong:,}} images.

    A second paragraph may hold an equation, $p(x \\mid z)$.

Double braces contain an expression and an optional format after a colon, as in an f-string. In an equation, write a
space between two adjacent braces. ``{{ seconds: time:.1f }}`` marks a measured duration, and whatever else differs from
run to run with it: the notebook shows it, and the chapter's page an ellipsis. Further items may follow
the question in the first line: their verdicts stand below the answer too.
"""

import ast
import math
import re
from collections.abc import Callable
from typing import Any

PLACEHOLDER = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
SECONDS = re.compile(r"seconds:\s+")  # with a blank: {{ seconds:.1f }} is a variable of that name


def fill(text: str, namespace: dict[str, Any], *, durations: bool = True) -> str:
    """``text`` with every ``{{ expression:format }}`` replaced by its value in ``namespace``.

    Without ``durations``, those that are marked with ``seconds:`` become an ellipsis. Raises a
    ValueError that names the placeholder and says what is wrong with it.
    """
    if "{{" in PLACEHOLDER.sub("", text):
        rest = PLACEHOLDER.sub("", text).split("{{")[1].strip()
        raise ValueError(f"a placeholder is not closed: {{{{ {rest[:40]}")

    def value(match: re.Match) -> str:
        placeholder = match[1].replace("\n", " ").strip()
        marked = SECONDS.match(placeholder)
        return "…" if marked and not durations else _value(placeholder[marked.end() if marked else 0 :], namespace)

    return PLACEHOLDER.sub(value, text)


def _value(placeholder: str, namespace: dict[str, Any]) -> str:
    """The value of one placeholder as text; floats without a format get six significant digits."""
    named = f"{{{{ {placeholder} }}}}"
    expression, form = _parts(placeholder)
    if expression is None:
        raise ValueError(
            f"{named} is not a Python expression (in an equation, write a space between two opening braces)"
        )
    try:
        value = eval(expression, namespace)
    except NameError as error:
        raise ValueError(f"{named} failed: {error}. Run the cells above first, or correct the name") from error
    except Exception as error:
        raise ValueError(f"{named} failed with {type(error).__name__}: {error}") from error
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:  # a tensor or an array of one number
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{named} is {value}, which is not a finite number")
    try:
        return format(value, form or (".6g" if isinstance(value, float) else ""))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{named}: a {type(value).__name__} cannot be written as {form!r} ({error})") from error


def _parts(placeholder: str) -> tuple[str | None, str]:
    """(expression, format). The format begins after a colon that follows a complete expression."""
    ends = [len(placeholder), *(i for i, letter in enumerate(placeholder) if letter == ":")]
    for end in ends:
        try:
            ast.parse(placeholder[:end].strip(), mode="eval")
        except SyntaxError:
            continue
        return placeholder[:end].strip(), placeholder[end + 1 :].strip()
    return None, ""


def offer(answer: Callable[..., None]) -> None:
    """Register ``%%answer``, in a notebook: ``answer(item, text, text without durations, *other items)``."""
    from IPython import get_ipython

    shell = get_ipython()
    if shell is None:
        return

    def magic(line: str, cell: str) -> None:
        if not (words := line.split()):
            raise ValueError("expected %%answer and the id of a question, got no id")
        item, *also = words
        try:
            texts = [fill(cell, shell.user_ns, durations=durations) for durations in (True, False)]
        except ValueError as error:
            raise ValueError(f"the answer to {item}: {error}") from error
        answer(item, *texts, *also)

    shell.register_magic_function(magic, "cell", "answer")
