"""Profiles: a profile decides how large an experiment is, and nothing else."""

import os
from types import SimpleNamespace

PROFILES = ("smoke", "full")
IMAGES = {"smoke": (2_000, 1_000), "full": (60_000, 10_000)}  # of MNIST, for training and test


def resolve(profile: str) -> str:
    """The name of a profile. ``"auto"`` means the environment variable ``WORKBOOK_PROFILE``, or full without it.

    Raises ValueError for an unknown profile.
    """
    name = os.environ.get("WORKBOOK_PROFILE", "full") if profile == "auto" else profile
    if name not in PROFILES:
        raise ValueError(f"unknown profile {name!r}; choose one of {', '.join(PROFILES)}")
    return name


def choose(profile: str, **settings: dict) -> SimpleNamespace:
    """The settings of one profile; also shows a table with the settings of all profiles.

    ``choose("smoke", epochs=dict(smoke=1, full=20)).epochs`` is 1. Raises ValueError if a setting lacks a profile.
    """
    for name, values in settings.items():
        if set(values) != set(PROFILES):
            raise ValueError(f"setting {name!r} needs a value for each of {', '.join(PROFILES)}; has {sorted(values)}")
    from IPython.display import Markdown, display

    header = " | ".join(f"**{p} (this run)**" if p == profile else p for p in PROFILES)
    rows = [f"| {name} | " + " | ".join(str(v[p]) for p in PROFILES) + " |" for name, v in settings.items()]
    display(Markdown("\n".join([f"| setting | {header} |", "|---|" + "---:|" * len(PROFILES), *rows])))
    return SimpleNamespace(**{name: values[profile] for name, values in settings.items()})
