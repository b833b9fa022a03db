"""Exercises of chapter 05: the generator's losses, a step with another loss, class entropy, a moving average."""

from collections.abc import Callable, Iterator
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from lib.training.loop import Learner, normal_draws, stream
from workbook.exercises.engine import Exercise, learn, several


def _generator_losses(logit):
    """Four numbers: log(1 − σ(l)), −log σ(l), and their derivatives with respect to l, in this order."""
    a, b = F.logsigmoid(-logit), -F.logsigmoid(logit)
    da, db = -logit.sigmoid(), -(-logit).sigmoid()
    return a, b, da, db


def _hinge_step(G, D, real, draw, g, d):
    """{"d_loss": …, "g_loss": …}, after one step of D on the hinge loss, and then one of G against it."""
    on_real, on_fake = D(real), D(G(draw()).detach())
    losses = F.relu(1 - on_real) + F.relu(1 + on_fake)
    d_loss = losses.mean()
    d.descend(d_loss)
    logits = D(G(draw()))
    g_loss = -logits.mean()
    g.descend(g_loss)
    return {"d_loss": d_loss, "g_loss": g_loss}


def games(call: Callable, build: Callable, batches: Callable, both: tuple[float, float]) -> Iterator[tuple]:
    """Three games, where only D learns, only G, and both, at the rates ``both``: (who, losses by step, G, D) of each.

    ``build()`` returns a new G and D, and ``batches(who)`` what a step gets in between them and their learners.
    """
    for who, d_rate, g_rate in (("D", 0.01, 0.0), ("G", 0.0, 0.01), ("both", *both)):
        torch.manual_seed(0)
        G, D = build()
        g, d = (Learner(model, lr, settings={"betas": (0.5, 0.99)}) for model, lr in ((G, g_rate), (D, d_rate)))
        yield who, learn(call, [(G, D, *batch, g, d) for batch in batches(who)], "d_loss", "g_loss"), G, D


def two_linear(inputs: int, hidden: int, bend: nn.Module) -> nn.Sequential:
    """Two linear layers with a bend between them, and one number at the end."""
    return nn.Sequential(nn.Linear(inputs, hidden), bend, nn.Linear(hidden, 1))


def look_game(call: Callable, both: tuple[float, float] = (0.005, 0.005)) -> dict[str, object]:
    """Let only D learn, only G, and both, at the rates ``both`` of D and G, to imitate points around 2 on a line."""
    draw, points = partial(normal_draws(stream(0, 0)), 256, 2), normal_draws(stream(0, 1))
    losses, gaps, means = {}, {}, {}
    for who, lost, G, D in games(
        call,
        lambda: (two_linear(2, 16, nn.ReLU()), two_linear(1, 32, nn.LeakyReLU(0.2))),
        lambda who: [(2 + 0.5 * points(256, 1), draw) for _ in range(100)],
        both,
    ):
        fake = G(torch.randn(2000, 2))
        losses[who], means[who] = lost, fake.mean()
        gaps[who] = D(2 + 0.5 * points(256, 1)).mean() - D(fake).mean()
    return {
        "the loss of D in the first step": losses["G"]["d_loss"][0],
        "the loss of G in the first step": losses["D"]["g_loss"][0],
        "the logit of real points minus that of generated ones, after 100 steps in which only D can learn,": gaps["D"],
        "the mean of generated points, after 100 steps in which only G can learn,": means["G"],
        "the mean of generated points, after 100 steps of both,": means["both"],
    }


def _class_entropy(counts):
    """The entropy in bits of the classes with these counts, some of which may be 0."""
    p = counts[counts > 0] / counts.sum()
    return -(p * p.log2()).sum()


def _ema(values, decay):
    """A list as long as values: the first value, then decay · the average so far + (1 − decay) · the value."""
    average = [values[0]]
    for i, value in enumerate(values[1:]):
        average.append(decay * average[i] + (1 - decay) * value)
    return average


EXERCISES = {
    "05.1": Exercise(
        _generator_losses,
        cases={f"At l = {at:g}": (torch.tensor(at),) for at in (0.5, 2.0, -2.0, -30.0, 30.0)},
        mistakes={
            "The sign is wrong.": ("return a, b", "return -a, b"),
            "The sign of this loss is wrong.": ("return a, b", "return a, -b"),
            "The sign is wrong: it falls as the logit rises.": (", da,", ", -da,"),
            "The sign is wrong: this loss falls as the logit rises.": ("b, da, db", "b, da, -db"),
            "You swapped the two losses.": ("return a, b", "return b, a"),
            "You swapped the two derivatives.": (", da, db", ", db, da"),
            "That is the derivative with respect to σ(l). Use the chain rule to reach l.": (
                ", da, db",
                ", 1 / db, 1 / da",
            ),
            "1 − σ(l) loses all digits: write logsigmoid(−l).": ("F.logsigmoid(-logit)", "(1 - logit.sigmoid()).log()"),
        },
        notice="At l = −30 the discriminator is sure that the image is generated. There the gradient of the minimax "
        "loss vanishes, and the generator learns nothing; that of the non-saturating loss is −1.",
        look=several(
            "the minimax loss",
            "the non-saturating loss",
            "the derivative of the minimax loss",
            "the derivative of the non-saturating loss",
        ),
    ),
    "05.2": Exercise(
        _hinge_step,
        cases={"For points around 2 on a line,": ()},
        mistakes={
            "Without the hinge, max(0, 1 ∓ l), nothing stops D.": (
                "F.relu(1 - on_real) + F.relu(1 + on_fake)",
                "on_fake - on_real",
            ),
            "You swapped real and generated points in the loss of D.": ("on_real, on_fake =", "on_fake, on_real ="),
            "The two means are added, without a factor of one half.": ("losses.mean()", "losses.mean() / 2"),
            "The hinges lie at 1 and −1; yours lie at 0.": (
                "F.relu(1 - on_real) + F.relu(1 + on_fake)",
                "F.relu(-on_real) + F.relu(on_fake)",
            ),
            "G wants a high logit for its points: its loss is −l.": ("-logits", "logits"),
            "The hinge belongs to D alone. The loss of G is −l.": ("-logits", "F.relu(1 - logits)"),
            "That is still the non-saturating loss of G. Here it is −l.": ("-logits", "-F.logsigmoid(logits)"),
            "G learned nothing: call g.descend(g_loss).": ("g.descend(g_loss)", "pass"),
            "D learned nothing: call d.descend(d_loss).": ("d.descend(d_loss)", "pass"),
        },
        notice="A point that D judges right by a margin adds no gradient, so D spends itself on the doubtful ones. G "
        "gets the full slope of the logit everywhere: this loss does not saturate (Lim and Ye 2017).",
        look=look_game,
        tolerance=0.05,
    ),
    "05.3": Exercise(
        _class_entropy,
        cases={
            f"For the counts {counts} the entropy in bits": (torch.tensor(counts),)
            for counts in ([1, 2, 5], [100] * 10, [50, 0, 50, 0], [7, 0, 0])
        },
        mistakes={
            "That is in nats. Take logarithms to base 2 for bits.": ("log2", "log"),
            "The sign is wrong.": ("-(p", "(p"),
            "Those are counts. Divide by their sum first.": (" / counts.sum()", " * 1.0"),
            "A class without images adds 0, but 0 · log 0 is not a number: leave it out.": ("[counts > 0]", ""),
        },
        notice="Ten equal classes have log₂ 10 = 3.32 bits, and a single class has 0. A generator that never produces "
        "one of the ten digits still reaches log₂ 9 = 3.17, so look at the rarest class as well.",
    ),
    "05.4": Exercise(
        _ema,
        cases={
            f"For {values} and decay {decay} the average": (values, decay)
            for values, decay in (([1.0, 0.0, 0.0, 4.0], 0.9), ([0.0, 1.0, 1.0], 0.5), ([2.0, 5.0], 0.0))
        },
        mistakes={
            "Start at the first value, not at 0.": ("[values[0]]", "[(1 - decay) * values[0]]"),
            "The weights are swapped: decay multiplies the average so far.": (
                "average = [",
                "decay, average = 1 - decay, [",
            ),
            "Those are the values themselves.": ("return average", "return values"),
            "Multiply the average so far, not the last value.": ("average[i]", "values[i]"),
        },
        notice="A decay of 0.999 averages over about 1 / (1 − 0.999) = 1,000 values. Applied to a generator's weights, "
        "it averages out the oscillations of the two players around each other.",
    ),
}
