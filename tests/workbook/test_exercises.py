"""The exercises: every solution passes its check, and what is wrong is told so that it helps."""

import json
import math
import re

import numpy as np
import pytest
import torch
from torch.nn import functional

from workbook import exercises
from workbook.paths import NOTEBOOKS


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


def name_of(exercise):
    return exercises.CHECKS[exercise][0].partition("(")[0]


def said(capsys, exercise, answer):
    capsys.readouterr()
    exercises.check(exercise, answer)
    return capsys.readouterr().out


@pytest.mark.parametrize("exercise", exercises.CHECKS)
class TestEachExercise:
    def test_solution_is_right_and_says_what_to_notice(self, exercise, capsys):
        exec(SOLUTIONS[exercise], {"torch": torch, "F": functional, "exercises": exercises})
        text = capsys.readouterr().out
        assert text.startswith("Right. ")
        assert len(text) > 80

    def test_stub_is_told_what_is_expected(self, exercise, capsys):
        def stub(*_):
            raise NotImplementedError

        text = said(capsys, exercise, stub)
        assert text.startswith(f"Not yet. `{name_of(exercise)}` is still empty")
        assert f"Expected: {exercises.CHECKS[exercise][0]} returns {exercises.CHECKS[exercise][1]}." in text

    def test_nothing_wrong_shapes_and_errors_are_told(self, exercise, capsys):
        assert "returned nothing. Does it end with `return`?" in said(capsys, exercise, lambda *_: None)
        assert "but got " in said(capsys, exercise, lambda *_: torch.zeros(2, 3))
        assert ", but got a str" in said(capsys, exercise, lambda *_: "many")
        assert "stopped with ZeroDivisionError: division by zero" in said(capsys, exercise, lambda *_: 1 / 0)
        assert "stopped with TypeError" in said(capsys, exercise, lambda: 1)
        for forgotten in (None, 3.0):
            assert f"Hand in the function itself: check('{exercise}', {name_of(exercise)})" in said(
                capsys, exercise, forgotten
            )

    def test_a_constant_is_wrong(self, exercise, capsys):
        for value in (0.0, 0.5, 1.0, math.nan):
            for answer in (value, [value] * 4, torch.full((5,), value), (value,) * 3):
                assert said(capsys, exercise, lambda *_, answer=answer: answer).startswith("Not yet.")


def PAIRED(groups):
    """Whether the groups of two different entries are the same, for all pairs."""
    return (groups[:, None] == groups)[*torch.tril_indices(len(groups), len(groups), -1)]


SOFTPLUS = functional.softplus


@pytest.mark.parametrize(
    ("exercise", "answer", "hint"),
    [
        ("01.1", lambda z, y: (z[y] - z.logsumexp(0), z), "The sign is wrong: the loss is −log p"),
        ("01.1", lambda z, y: (z.logsumexp(0) - z[y], z.softmax(0)), "Subtract 1 at the label"),
        ("01.1", lambda z, y: (z.exp().sum().log() - z[y], z.softmax(0) - torch.eye(len(z))[y]), "exp overflows"),
        ("01.2", lambda a, d: d * a.tanh(), "by the slope of tanh, not by tanh"),
        ("01.2", lambda a, d: 1 - a.tanh() ** 2, "Multiply it by ∂L/∂h"),
        ("01.3", lambda u, v, k: math.log1p(k * math.exp(u - v)), "classes − 1 wrong logits"),
        ("01.3", lambda u, v, k: math.log1p((k - 1) * math.exp(v - u)), "That is the largest loss"),
        ("01.4", lambda p, gap: p * (1 - p) / gap**2, "It should be half of it"),
        ("01.4", lambda p, gap: 4 * p * (1 - p) / gap, "The gap enters squared"),
        ("02.1", lambda mse, images, batch: mse * (images // batch) / images, "round the number of batches up"),
        ("02.1", lambda mse, images, batch: mse / batch, "There is no fraction of a batch"),
        ("02.1", lambda mse, images, batch: mse, "That is the error itself"),
        ("02.1", lambda mse, images, batch: mse * math.ceil(images / batch), "Divide it by the number of images"),
        ("02.2", lambda x, k: torch.linalg.eigvalsh(torch.cov(x.T))[:-k].sum() / 5, "Divide by the number N of rows"),
        ("02.2", lambda x, k: torch.linalg.eigvalsh(x.T @ x / 40)[:-k].sum() / 5, "Subtract the mean of x"),
        ("02.2", lambda x, k: torch.linalg.eigvalsh(torch.cov(x.T, correction=0))[:-k].sum(), "Divide by the number D"),
        ("02.2", lambda x, k: torch.linalg.eigvalsh(torch.cov(x.T, correction=0))[-k:].sum() / 5, "that PCA keeps"),
        ("02.3", lambda c, y, k: (y[torch.cdist(c, c).topk(k, largest=False).indices] == y[:, None]).float().mean(),
         "not its own neighbour"),
        ("02.4", lambda epoch, start=3e-3, every=5: start * 0.1 ** (epoch // every), "when epoch 6 begins"),
        ("02.4", lambda epoch, start=3e-3, every=5: 3e-3 * 0.1 ** ((epoch - 1) // 5), "With start 1 and every 2"),
        ("02.4", lambda epoch, start=3e-3, every=5: start * 0.1 ** (epoch - 1), "not in each one"),
        ("03.1", lambda c, s: s * c / c.sum(1, keepdim=True), "Take the logarithm of 1 + the scaled count"),
        ("03.1", lambda c, s: torch.log1p(s * c / c.sum(0).clamp_min(1)), "You summed over the cells"),
        ("03.1", lambda c, s: (s * c / c.sum(1, keepdim=True)).log(), "Add 1 before"),
        ("03.1", lambda c, s: torch.log1p(c), "Divide by the library size first"),
        ("03.1", lambda c, s: torch.log1p(s * c / c.sum(1)[0]).sum(0), "Expected shape (3, 4), but got (4,)"),
        ("03.2", lambda u, v: (PAIRED(u) == PAIRED(v)).float().mean(), "That is the plain Rand index"),
        ("03.2", lambda u, v: (u == v).float().mean(), "names of clusters mean nothing"),
        ("03.3", lambda a, b: (a[:, None] > b).float().mean(), "you left them out"),
        ("03.3", lambda a, b: (a[:, None] >= b).float().mean(), "you counted them in full"),
        ("03.3", lambda a, b: ((b[:, None] > a).float() + (b[:, None] == a) / 2).mean(), "other direction"),
        ("03.3", lambda a, b: (a[:, None] > b).sum() + (a[:, None] == b).sum() / 2, "That is U"),
        ("03.4", lambda e, p: e.index(min(e)) + 1, "training had stopped before it was seen"),
        ("03.4", lambda e, p: e.index(min(e[:5])), "Count epochs from 1"),
        ("03.4", lambda e, p: 5, "the epoch in which training stops"),
        ("04.1", lambda m, s: 0.5 * (1 + 2 * math.log(s) - m**2 - s**2), "The leading minus is missing"),
        ("04.1", lambda m, s: -(1 + 2 * math.log(s) - m**2 - s**2), "factor of one half"),
        ("04.2", lambda m, v, e: m + v.exp() * e, "scales with the variance"),
        ("04.3", lambda w: w.exp().mean().log(), "Use torch.logsumexp"),
        ("04.3", lambda w: w.mean(), "That is the mean of the logarithms"),
        ("04.4", lambda m, t=0.01: (m.square().mean(0) > t).sum(), "A dimension with a constant mean is not active"),
        ("04.4", lambda m, t=0.01: (m.var(0) > 0.01).sum(), "Use the threshold"),
        ("05.1", lambda x: (-SOFTPLUS(x), SOFTPLUS(-x)), "Expected four values, but got 2 values"),
        ("05.1", lambda x: (SOFTPLUS(x), SOFTPLUS(-x), -x.sigmoid(), -(-x).sigmoid()), "The sign is wrong"),
        ("05.1", lambda x: (-SOFTPLUS(x), SOFTPLUS(-x), -(-x).sigmoid(), -x.sigmoid()), "check their order"),
        ("05.1", lambda x: (-SOFTPLUS(x), SOFTPLUS(-x), -1 / (-x).sigmoid(), -1 / x.sigmoid()), "chain rule"),
        ("05.1", lambda x: ((1 - x.sigmoid()).log(), -x.sigmoid().log(), -x.sigmoid(), x.sigmoid() - 1),
         "At l = -30 the minimax loss is -9.358e-14, but yours is 0. In single precision"),
        ("05.2", lambda p, q: p / (p + q), "Return 0.5 there"),
        ("05.2", lambda p, q: torch.where(p + q > 0, q / (p + q), 0.5), "you swapped the two"),
        ("05.2", lambda p, q: (p / (p + q)).nansum(), "Expected shape (5,), but got ()"),
        ("05.3", lambda n: -(n / n.sum() * (n / n.sum()).log()).nansum(), "Take logarithms to base 2"),
        ("05.3", lambda n: -(n / n.sum() * (n / n.sum()).log2()).sum(), "leave it out"),
        ("05.3", lambda n: (n / n.sum() * (n / n.sum()).log2()).nansum(), "The sign is wrong"),
        ("05.3", lambda n: -(n * n.log2()).nansum(), "Divide by their sum first"),
        ("05.4", lambda v, d: [sum((1 - d) * d ** (i - j) * v[j] for j in range(i + 1)) for i in range(len(v))],
         "Start at the first value"),
        ("05.4", lambda v, d: v[0], ", but got ()"),
        ("06.1", lambda m, s, n, t: math.log(s / t) + (t**2 + (m - n) ** 2) / (2 * s**2) - 0.5, "That is KL(q ‖ p)"),
        ("06.1", lambda m, s, n, t: math.log(t / s) + (s**2 + (m - n) ** 2) / (2 * t**2), "The term −1/2 is missing"),
        ("06.1", lambda m, s, n, t: math.log(t / s) + s**2 / (2 * t**2) - 0.5, "The means differ as well"),
        ("06.1", lambda m, s, n, t: math.log(t / s) + (s + (m - n) ** 2) / (2 * t) - 0.5, "needs their squares"),
        ("06.2", lambda a, b: (a - b).abs().mean(), "Sort both samples first"),
        ("06.2", lambda a, b: (a.sort().values - b.sort().values).abs().sum(), "Take their mean"),
        ("06.2", lambda a, b: (a.sort().values - b.sort().values).square().mean().sqrt(), "Wasserstein-2"),
        ("06.2", lambda a, b: (a.mean() - b.mean()).abs(), "a lower bound only"),
        ("06.3", lambda aa, bb, ab: aa.mean() + bb.mean() - 2 * ab.mean(), "That is the biased form"),
        ("06.3", lambda aa, bb, ab: sum((k.sum() - len(k)) / len(k) ** 2 for k in (aa, bb)) - 2 * ab.mean(),
         "There are n(n − 1) pairs left"),
        ("06.3", lambda aa, bb, ab: sum((k.sum() - len(k)) / len(k) / (len(k) - 1) for k in (aa, bb)) - ab.mean(),
         "subtract 2 times their mean"),
        ("06.4", lambda t, values: (values >= t).double().mean(), "above and below the line"),
        ("06.4", lambda t, values: (values >= t).sum() / 10, "or p could be 0"),
        ("06.4", lambda t, values: (1 + (values > t).sum()) / 10, "use ≥"),
        ("06.4", lambda t, values: (1 + (values < t).sum()) / 10, "the share of smaller values"),
    ],
)  # fmt: skip
def test_the_usual_mistakes_are_known(exercise, answer, hint, capsys):
    text = said(capsys, exercise, answer)
    assert text.startswith("Not yet. ")
    assert hint in text
    assert "Expected: " in text


def test_answers_in_plain_python_or_numpy_are_right_as_well(capsys):
    def losses(logit):
        x = float(logit)
        return [-math.log1p(math.exp(x)), math.log1p(math.exp(-x)), -1 / (1 + math.exp(-x)), -1 / (1 + math.exp(x))]

    def entropy(counts):
        shares = np.array([count for count in counts.tolist() if count]) / counts.numpy().sum()
        return -np.sum(shares * np.log2(shares))

    def error(x, k):
        x = x.numpy()
        return np.sort(np.linalg.eigvalsh(np.cov(x.T, bias=True)))[:-k].sum() / x.shape[1]

    for exercise, answer in (("05.1", losses), ("05.3", entropy), ("02.2", error)):
        assert said(capsys, exercise, answer).startswith("Right.")


def test_an_unknown_exercise_is_named():
    with pytest.raises(KeyError, match=r"there is no exercise '2\.1'; the exercises are 01\.1, 01\.2"):
        exercises.check("2.1", abs)


# --- the exercises in the chapters -----------------------------------------------------------------------------------


def test_every_solution_in_a_chapter_has_its_check_there_and_its_text_a_hint_and_an_expected_result():
    texts = list(cells())
    for notebook, tags, source in texts:
        if "solution" not in tags:
            continue
        named = re.match(r"# solution (\S+)\n", source)
        assert named, f"{notebook}: a cell tagged solution begins with the line `# solution {notebook[:2]}.1`"
        exercise = named[1]
        assert exercise in exercises.CHECKS
        assert exercise.startswith(notebook[:2])
        assert f'exercises.check("{exercise}", ' in source
        text = "\n".join(written for name, _, written in texts if name == notebook)
        assert text.count("**Hint") >= 1, notebook
        assert text.count("**Hint") == text.count("**Expected") == text.count("# solution "), notebook
