"""The exercises: every solution passes its check, every mistake hears its hint, and what is wrong is told so that it
helps."""

import importlib
import json
import math
import re
import textwrap

import IPython
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from lib.models.autoencoder import Autoencoder
from workbook import exercises
from workbook.exercises import EXERCISES, Exercise, engine
from workbook.paths import NOTEBOOKS
from workbook.tools import student


def cells():
    """(notebook, tags, source) of all cells of code or prose."""
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        for cell in json.loads(path.read_text("utf-8"))["cells"]:
            yield path.stem, cell["metadata"].get("tags", []), "".join(cell["source"])


SOLUTIONS = {
    named[1]: source
    for _, tags, source in cells()
    if "solution" in tags and (named := re.match(r"# solution (\S+)\n", source))
}


def said(capsys, exercise, answer):
    capsys.readouterr()
    exercises.check(exercise, answer)
    return capsys.readouterr().out


@pytest.mark.parametrize("exercise", EXERCISES)
class TestEachExercise:
    def test_solution_is_right_and_says_what_to_notice(self, exercise, capsys):
        names = {"torch": torch, "F": functional, "nn": nn, "math": math, "exercises": exercises}
        exec(SOLUTIONS[exercise], names)
        text = capsys.readouterr().out
        assert text.startswith("Right. ")
        assert len(text) > 80

    def test_every_mistake_is_wrong_and_hears_its_own_hint(self, exercise, capsys):
        assert EXERCISES[exercise].mistakes
        for hint in EXERCISES[exercise].mistakes:
            text = said(capsys, exercise, EXERCISES[exercise].mistake(hint))
            assert text.startswith("Not yet. ")
            assert f" {hint}\nExpected: " in text

    def test_stub_is_told_what_is_expected(self, exercise, capsys):
        def stub(*_, **__):
            raise NotImplementedError

        text = said(capsys, exercise, stub)
        assert text.startswith(f"Not yet. `{EXERCISES[exercise].name}` is still empty")
        assert text.endswith(f"\nExpected: {EXERCISES[exercise].expected()}\n")

    def test_stub_of_the_student_edition_says_the_same_from_its_text_alone(self, exercise, capsys):
        exec(student.stub(exercise, "Think."), {"exercises": exercises})
        text = capsys.readouterr().out
        assert text.startswith(f"Not yet. `{EXERCISES[exercise].name}` is still empty: replace the line that raises")
        assert text.endswith(f"\nExpected: {EXERCISES[exercise].expected()}\n")

    def test_nothing_wrong_shapes_and_errors_are_told(self, exercise, capsys):
        assert "returned nothing. Does it end with `return`?" in said(capsys, exercise, lambda *_, **__: None)
        assert "but got " in said(capsys, exercise, lambda *_, **__: torch.zeros(2, 3))
        assert ", but got a str" in said(capsys, exercise, lambda *_, **__: "many")
        assert "stopped with ZeroDivisionError: division by zero" in said(capsys, exercise, lambda *_, **__: 1 / 0)
        assert "stopped with TypeError" in said(capsys, exercise, lambda: 1)
        for forgotten in (None, 3.0, nn.Linear(1, 1)):
            told = f"Hand in the function itself: check('{exercise}', {EXERCISES[exercise].name})"
            assert told in said(capsys, exercise, forgotten)

    def test_a_constant_is_wrong(self, exercise, capsys):
        for value in (0.0, 0.5, 1.0, math.nan):
            for answer in (value, [value] * 4, torch.full((5,), value), (value,) * 3):
                assert said(capsys, exercise, lambda *_, answer=answer, **__: answer).startswith("Not yet.")


def test_right_answers_written_otherwise_are_right_as_well(capsys):
    def losses(logit):
        x = float(logit)
        return [-math.log1p(math.exp(x)), math.log1p(math.exp(-x)), -1 / (1 + math.exp(-x)), -1 / (1 + math.exp(x))]

    def entropy(counts):
        shares = np.array([count for count in counts.tolist() if count]) / counts.numpy().sum()
        return -np.sum(shares * np.log2(shares))

    def error(x, k):
        x = x.numpy()
        return np.sort(np.linalg.eigvalsh(np.cov(x.T, bias=True)))[:-k].sum() / x.shape[1]

    def hinge_in_one_pass(G, D, real, draw, g, d):
        fake = G(draw())
        logits = D(torch.cat([real, fake]))
        d_loss = 2 * functional.relu(1 - torch.cat([torch.ones_like(real), -torch.ones_like(real)]) * logits).mean()
        d.descend(d_loss)
        g_loss = -D(G(draw())).mean()
        g.descend(g_loss)
        return {"d_loss": d_loss, "g_loss": g_loss}

    def multinomial(network, x, given, learner):
        loss = functional.cross_entropy(network(given), x, reduction="sum") + 7
        learner.descend(loss)
        return {"loss": loss}

    def other_mask(network, x, given, learner, share=0.5):
        seen = given.where(torch.bernoulli(torch.full_like(given, 1 - share)) > 0, 0.0)
        loss = (network(seen) - x).square().mean()
        learner.descend(loss)
        return {"loss": loss, "accuracy": 0.0}

    def all_samples_at_once(vae, x, draw, learner, samples=5):
        mean, log_variance = vae.encode(x)
        e = draw(samples, *mean.shape)
        z = mean + (log_variance / 2).exp() * e
        log_p = -functional.binary_cross_entropy_with_logits(
            vae.decode(z), x.expand(samples, -1, -1), reduction="none"
        ).sum(2)
        log_w = log_p + (torch.distributions.Normal(0, 1).log_prob(z)).sum(2)
        log_w = log_w - torch.distributions.Normal(mean, (log_variance / 2).exp()).log_prob(z).sum(2)
        loss = math.log(samples) - log_w.logsumexp(0).mean()
        learner.descend(loss)
        return {"loss": loss}

    def columns_first(cost, p, q, epsilon, rounds=500):
        kernel, u = (-cost.double() / epsilon).exp(), torch.ones(len(p), dtype=torch.float64)
        for _ in range(rounds):
            v = q / (kernel.T @ u)
            u = p / (kernel @ v)
        return u[:, None] * kernel * v

    class OtherTied(nn.Module):
        def __init__(self, pixels, code):
            super().__init__()
            self.W, self.a = nn.Parameter(0.3 * torch.randn(pixels, code)), nn.Parameter(torch.randn(code))
            self.b = nn.Parameter(torch.rand(pixels))

        encode = lambda self, x: x @ self.W + self.a  # noqa: E731
        decode = lambda self, c: torch.nn.functional.linear(c, self.W, self.b)  # noqa: E731
        forward = lambda self, x: self.decode(self.encode(x))  # noqa: E731

    answers = {"05.1": losses, "05.3": entropy, "02.2": error, "05.2": hinge_in_one_pass, "03.1": multinomial}
    answers |= {"02.5": other_mask, "04.3": all_samples_at_once, "06.4": columns_first, "02.1": OtherTied}
    for exercise, answer in answers.items():
        assert said(capsys, exercise, answer).startswith("Right."), exercise


def test_a_step_that_returns_something_else_is_told_what_a_step_returns(capsys):
    returned = "A step returns a dictionary with 'loss', but got "
    for answer, got in ((3.0, "a float"), ({"error": 1.0}, "the names ['error']"), (torch.ones(2), "a Tensor")):
        assert returned + got in said(capsys, "02.5", lambda *_, answer=answer, **__: answer)
    assert "The loss 'loss' became nan in step 1." in said(capsys, "02.5", lambda *_, **__: {"loss": math.nan})


def test_a_network_without_what_is_asked_is_told_what_is_missing(capsys):
    assert "The network has no method `encode`." in said(capsys, "02.1", nn.Linear)
    assert "Expected a torch.nn.Module, but got a Tensor." in said(capsys, "02.1", lambda *_: torch.ones(2))
    wrong_shape = said(capsys, "02.1", lambda pixels, code: Autoencoder((pixels, code + 1), output="linear"))
    assert "the shape of the codes of seven images at [1] is 3, but yours is 4." in wrong_shape


def area(radius):
    """The area of a circle."""
    return math.pi * radius**2


CASES = {"For a radius of 2, the area": (2.0,), "For a radius of 3, the area": (3.0,)}
AREA = Exercise(
    area,
    CASES,
    {"That is the circumference.": ("radius**2", "2 * radius"), "π is missing.": lambda radius: radius**2},
    "Twice the radius, four times the area.",
)


def test_an_exercise_of_ones_own_needs_a_right_answer_cases_mistakes_and_what_to_notice(capsys):
    assert said(capsys, AREA, lambda r: 2 * r * math.pi * r / 2) == "Right. Twice the radius, four times the area.\n"
    wrong = said(capsys, AREA, lambda r: 2 * math.pi * r)
    # at a radius of 2 the two are equal
    assert wrong == (
        "Not yet. For a radius of 3, the area is 28.2743, but yours is 18.8496. That is the circumference.\n"
        "Expected: area(radius) returns the area of a circle.\n"
    )
    assert "area is 12.5664, but yours is 4. π is missing.\n" in said(capsys, AREA, lambda r: r**2)
    assert "area is 12.5664, but yours is 5.\n" in said(capsys, AREA, lambda r: r + 3)
    assert "check(area)." in said(capsys, AREA, 3.0)


def test_the_smallest_exercise_that_the_engine_shows_runs_and_prints_what_it_says(capsys, tmp_path, monkeypatch):
    written = textwrap.dedent("\n".join(line for line in engine.__doc__.splitlines() if line[:4] == "    "))
    (tmp_path / "smallest_exercise.py").write_text(f"import math\n{written}", "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("smallest_exercise")
    printed = re.search(r'This prints "(.*?) That is', " ".join(engine.__doc__.split()))[1]
    assert capsys.readouterr().out.startswith(f"{printed} That is the circumference.\n")


def test_an_exercise_written_in_a_notebook_is_judged_there(capsys):
    shell = IPython.core.interactiveshell.InteractiveShell.instance()
    shell.run_cell(
        'from workbook.exercises import Exercise, check\ndef twice(x):\n    """Twice x."""\n    return 2 * x\n'
        "mine = Exercise(twice, {'For 3 it': (3,)}, {'Three times.': ('2 *', '3 *')}, 'Even.')"
    ).raise_error()
    capsys.readouterr()
    shell.run_cell("check(mine, lambda x: 3 * x)").raise_error()
    assert "For 3 it is 6, but yours is 9. Three times.\n" in capsys.readouterr().out
    shell.clear_instance()


def test_of_two_mistakes_that_give_the_same_value_the_one_that_explains_more_is_named(capsys):
    mistakes = {"Thrice.": lambda radius: 3 * area(radius) if radius == 2 else 0.0, "Triple.": lambda r: 3 * area(r)}
    both = Exercise(area, CASES, mistakes, "")
    assert " Triple.\n" in said(capsys, both, lambda r: 3 * area(r))


def test_what_was_right_before_an_error_is_not_called_wrong(capsys):
    def halting(radius):
        return area(radius) if radius < 3 else 1 / 0

    assert "stopped with ZeroDivisionError" in said(capsys, AREA, halting)
    assert "but yours is 0." in said(capsys, AREA, lambda radius: 0.0 if radius < 3 else 1 / 0)


@pytest.mark.parametrize("old", ["diameter", "radius"])
def test_a_mistake_whose_change_fits_nowhere_or_twice_is_refused(old):
    wrong = Exercise(area, CASES, {"…": (old, "x")}, "")
    with pytest.raises(ValueError, match=rf"area: '{old}' stands [02] times in the right answer, not once"):
        wrong.mistake("…")


def test_a_check_leaves_the_random_stream_the_threads_and_the_arguments_as_they_were(capsys):
    def spoiled(means, threshold=0.01):
        torch.rand(3)
        return means.mul_(0).sum()

    torch.manual_seed(3)
    expected, threads = torch.rand(2).tolist(), torch.get_num_threads()
    torch.manual_seed(3)
    first = said(capsys, "04.4", spoiled)
    assert torch.rand(2).tolist() == expected
    assert torch.get_num_threads() == threads
    assert said(capsys, "04.4", spoiled) == first
    assert said(capsys, "04.4", lambda means, threshold=0.01: (means.var(0) > threshold).sum()).startswith("Right.")


def test_a_training_that_leaves_out_what_it_must_not_touch_is_right_and_another_is_not(capsys):
    """The hinge step that trains G with D's learner moves D only, and is told so."""
    step = EXERCISES["05.2"].right
    assert said(capsys, "05.2", step).startswith("Right.")
    swapped = said(capsys, "05.2", lambda G, D, real, draw, g, d: step(G, D, real, draw, d, d))
    assert swapped.startswith("Not yet.")
    assert "only D can learn" in swapped or "only G can learn" in swapped


def test_an_unknown_exercise_is_named():
    with pytest.raises(KeyError, match=r"there is no exercise '2\.1'; the exercises are 01\.1, 01\.2"):
        exercises.check("2.1", abs)


# --- the exercises in the chapters -----------------------------------------------------------------------------------


def test_every_solution_in_a_chapter_has_its_check_there_and_its_text_a_hint_and_an_expected_result():
    texts = list(cells())
    assert SOLUTIONS.keys() == EXERCISES.keys()
    for notebook, tags, source in texts:
        if "solution" not in tags:
            continue
        named = re.match(r"# solution (\S+)\n", source)
        assert named, f"{notebook}: a cell tagged solution begins with the line `# solution {notebook[:2]}.1`"
        exercise = named[1]
        assert exercise.startswith(notebook[:2])
        assert f'exercises.check("{exercise}", ' in source
        text = "\n".join(written for name, _, written in texts if name == notebook)
        assert text.count("**Hint") == text.count("**Expected") == text.count("# solution "), notebook
        signature = EXERCISES[exercise].expected().partition(" returns ")[0]
        written = re.search(rf"\*\*Exercise {exercise}\*\*.*?`({EXERCISES[exercise].name}\(.*?\))`", text)
        assert written, f"{notebook}: the text of exercise {exercise} names {signature}"
        assert written[1] == signature
        assert f'exercises.check("{exercise}", {EXERCISES[exercise].name})' in text


def test_every_chapter_has_an_exercise_that_is_tried_on_a_training_or_on_what_it_returns():
    """At least one that extends an experiment: a step, a loss or a model, judged by what it does."""
    tried = {
        "01": "01.3",
        "02": "02.5",
        "03": "03.1",
        "04": "04.3",
        "05": "05.2",
        "06": "06.4",
        "07": "07.3",
        "08": "08.3",
        "09": "09.3",
        "10": "10.3",
        "11": "11.3",
        "12": "12.3",
        "13": "13.4",
        "14": "14.3",
        "15": "15.3",
        "16": "16.3",
        "17": "17.3",
        "18": "18.3",
        "19": "19.3",
        "20": "20.4",
    }
    assert {name[:2] for name in EXERCISES} == tried.keys()
    for chapter, exercise in tried.items():
        assert exercise in EXERCISES
        assert chapter == "06" or EXERCISES[exercise].look is not AREA.look
