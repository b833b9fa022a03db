"""Exercises of the chapters: hand in your function, and read whether it is right or what is wrong with it.

    def rate_at(epoch, start=3e-3, every=5):
        ...

    exercises.check("02.4", rate_at)

It prints what it found, and raises no error for a wrong answer. ``engine`` shows how to write an exercise of your own.
In a session of the user's own a right answer is kept in ``PASSED``, for ``make handin``.
"""

import inspect

from IPython import get_ipython

from lib.atomic import write_atomic
from workbook.exercises import (
    ch01_feedforward,
    ch02_autoencoder,
    ch03_single_cell,
    ch04_vae,
    ch05_gan,
    ch06_information_theory,
    ch07_autoencoder_vs_pca,
    ch08_autoencoder_vs_vae,
    ch09_gan_linear,
    ch10_dcgan,
    ch11_vae_latent2,
    ch12_gan_convolutional,
    ch13_cnn,
    ch14_gan_latent_space,
    ch15_create_what_you_want,
    ch16_conv_autoencoder,
    ch17_latent_structure,
    ch18_denoising_autoencoder,
    ch19_transfer_classification,
    ch20_vae_dense,
)
from workbook.exercises.engine import Exercise, verdict
from workbook.explore import interactive
from workbook.paths import BUILD

CHAPTERS = (
    ch01_feedforward,
    ch02_autoencoder,
    ch03_single_cell,
    ch04_vae,
    ch05_gan,
    ch06_information_theory,
    ch07_autoencoder_vs_pca,
    ch08_autoencoder_vs_vae,
    ch09_gan_linear,
    ch10_dcgan,
    ch11_vae_latent2,
    ch12_gan_convolutional,
    ch13_cnn,
    ch14_gan_latent_space,
    ch15_create_what_you_want,
    ch16_conv_autoencoder,
    ch17_latent_structure,
    ch18_denoising_autoencoder,
    ch19_transfer_classification,
    ch20_vae_dense,
)
EXERCISES = {name: exercise for chapter in CHAPTERS for name, exercise in chapter.EXERCISES.items()}
PASSED = BUILD / "passed"

__all__ = ["EXERCISES", "PASSED", "Exercise", "check"]


def check(exercise: str | Exercise, answer: object) -> None:
    """Print "Right." and what to notice, or what is wrong with the ``answer`` and what is expected.

    ``exercise`` is a number such as "02.4", or an exercise of your own. ``answer`` is the function itself, without
    parentheses. Raises KeyError for a number that does not exist.
    """
    if isinstance(exercise, str) and exercise not in EXERCISES:
        raise KeyError(f"there is no exercise {exercise!r}; the exercises are {', '.join(EXERCISES)}")
    number = exercise if isinstance(exercise, str) else None
    said = verdict(EXERCISES[exercise] if isinstance(exercise, str) else exercise, answer, number)
    print(said)
    if number and said.startswith("Right.") and interactive():  # a batch run hands nothing in
        write_atomic(PASSED / f"{number}.py", _source(answer))


def _source(answer: object) -> str:
    """The code of an answer; of a class, or of what is no function, the cell that is running."""
    try:
        return inspect.getsource(answer)  # pyrefly: ignore
    except (OSError, TypeError):
        shell = get_ipython()
        return shell.user_ns["In"][-1] if shell else ""
