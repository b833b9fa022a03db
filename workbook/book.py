"""What a notebook found: values, answers and figures, item by item of ``data/reports.toml``.

A notebook opens its book once, records into it, and checks at its end that nothing is missing:

    book = open_book("01_feedforward", profile, seed)
    train, test = book.mnist()
    book.record("cpsc453.num-accuracy", 0.981)
    book.answer("cpsc453.q-2.2.1", f"It reaches {accuracy:.1%}.")
    book.figure(fig, "cpsc453.fig-01", alt="Two falling curves …")
    book.check()

Everything goes into results.json, except what is measured in seconds: that goes into timings.json. Only this file, and
figures that draw seconds, may differ between two runs with the same seed. inputs.json lists the code that was loaded.
"""

import base64
import difflib
import io
import json
import math
import os
from pathlib import Path

from lib import compute, data, progress
from lib.atomic import write_atomic
from workbook import cache as trainings
from workbook import profiles
from workbook.paths import BUILD, DATA
from workbook.records import items_of, loaded_code, reports

DIGITS = 6  # significant digits that are kept


def open_book(notebook: str, profile: str = "auto", seed: int = 0) -> "Book":
    """Prepare a run: resolve the profile, set threads and plot style, and start an empty record.

    Raises ValueError for an unknown profile, a seed that is not a whole number of 0 or more, or a bad WORKBOOK_THREADS.
    """
    profile = profiles.resolve(profile)
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise ValueError(f"seed must be a whole number, 0 or more, got {seed!r}")
    compute.configure(threads())
    progress.plain = "WORKBOOK_OUT" in os.environ  # a batch run
    from lib import plots

    plots.set_style()
    return Book(notebook, profile, seed)


def threads() -> int:
    """How many threads a notebook uses: WORKBOOK_THREADS, by default 1. Raises ValueError if that is not a number."""
    text = os.environ.get("WORKBOOK_THREADS", "1")
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"WORKBOOK_THREADS must be a whole number, 1 or more, got {text!r}")
    return int(text)


class Book:
    """The results of one run of one notebook, written to disk after every record."""

    def __init__(self, notebook: str, profile: str, seed: int):
        self.notebook, self.profile, self.seed = notebook, profile, seed
        self.items = items_of(notebook)
        # the runner says where to write; a student's own run must not change the committed gallery
        self.folder = Path(os.environ.get("WORKBOOK_OUT", BUILD / "lab" / profile / f"seed{seed}" / notebook))
        self.environment = compute.environment()
        head = {"notebook": notebook, "profile": profile, "seed": seed, "environment": self.environment}
        self._files = {name: {**head, "items": {}, "figures": {}} for name in ("results", "timings")}

    def mnist(self, dataset: str = "mnist") -> tuple[data.Split, data.Split]:
        """Training and test images: all of them, or the first 2,000 and 1,000 in profile ``smoke``."""
        n_train, n_test = profiles.IMAGES[self.profile]
        return data.mnist(DATA, dataset, n_train, n_test)

    def record(
        self,
        item: str,
        value: object,
        *,
        compare: str | list[str] | None = None,
        tolerance: float | dict[str, float] | None = None,
        report_wrong: str | None = None,
        note: str | None = None,
        seconds: bool = False,
        durations: dict[str, float] | None = None,
    ) -> None:
        """Store the reproduced ``value`` of an item: a number, text, or lists and dicts of them.

        ``compare`` names the keys of a dict that the scoreboard judges (default: all those in the report),
        ``tolerance`` is the absolute difference that still counts as equal (a number, or one for each key), and
        ``report_wrong`` says why the reported value is not what it claims to be. ``seconds`` marks a value that is a
        measured duration; ``durations`` adds measured seconds to a ``value`` that is a dict of other things. Raises
        KeyError for an item that does not exist or belongs to another notebook.
        """
        entry = {"value": plain(value), "compare": compare, "tolerance": plain(tolerance)}
        entry |= {"report_wrong": report_wrong, "note": note}
        entry = {name: setting for name, setting in entry.items() if setting is not None}
        item = self._known(item)
        if value is None and self.items[item]["kind"] != "question":  # an answer can do without
            raise ValueError(f"cannot record None as the value of {item}")
        if durations and (seconds or not isinstance(value, dict)):
            raise ValueError("durations belong to a value that is a dict and is not itself measured in seconds")
        self._files["timings"]["items"].pop(item, None)  # left there if a cell is run again
        if durations:  # first, because it leaves a pointer in results that the entry then replaces
            self._put("timings", "items", item, {"durations": plain(durations)})
        self._put("timings" if seconds else "results", "items", item, entry)

    def answer(self, item: str, text: str, **judged: object) -> None:
        """Store and show the answer to a question of an assignment. Take its numbers from the values of this run.

        If the report's answer is a number, ``judged`` may hold ``value`` and the other arguments of ``record``.
        """
        item = self._known(item)
        if self.items[item]["kind"] != "question":
            raise ValueError(f"{item} is a {self.items[item]['kind']}: use record")
        if not text.strip():
            raise ValueError(f"the answer to {item} is empty")
        text = " ".join(text.split())
        self.record(item, judged.pop("value", None), **judged)
        file = "timings" if judged.get("seconds") else "results"
        self._put(file, "items", item, {**self._files[file]["items"][item], "answer": text})
        from IPython.display import Markdown, display

        display(Markdown(f"> **{self.items[item]['title']}** {text}"))

    def figure(self, fig: object, name: str, *, alt: str, seconds: bool = False) -> None:
        """Save a matplotlib figure as ``<name>.png`` with alt text, show it and close it.

        ``name`` is the id of an item, or ``extra-…`` for a figure that is not in any report. ``seconds`` marks a figure
        that draws measured durations.
        """
        import matplotlib.pyplot as plt
        from IPython.display import display

        if not name.startswith("extra-"):
            self._known(name)
        if len(alt.strip()) < 20:
            raise ValueError(f"{name} needs alt text that tells a blind reader what the figure shows")
        alt = " ".join(alt.split())
        buffer = io.BytesIO()
        fig.savefig(buffer, format="png", metadata={"Software": None, "Description": alt})
        plt.close(fig)
        png = buffer.getvalue()
        write_atomic(self.folder / f"{name}.png", png)
        self._files["results" if seconds else "timings"]["figures"].pop(name, None)  # left there if a cell is run again
        self._put("timings" if seconds else "results", "figures", name, {"file": f"{name}.png", "alt": alt})
        bundle = {"image/png": base64.b64encode(png).decode(), "text/plain": alt}
        display(bundle, raw=True, metadata={"image/png": {"alt": alt}})

    def missing(self) -> list[str]:
        """The ids of this notebook's items that still lack their value, answer or figure."""
        recorded = {name for content in self._files.values() for name in content["items"]}
        drawn = {name for content in self._files.values() for name in content["figures"]}

        def complete(item: str, about: dict) -> bool:
            if about["kind"] != "figure":
                return item in recorded
            return item in drawn and (item in recorded or "reported" not in about)

        return [item for item, about in self.items.items() if not complete(item, about)]

    def check(self) -> None:
        """Raise ValueError if an item of this notebook is missing; otherwise say how many there are."""
        if missing := self.missing():
            raise ValueError(f"{self.notebook} has not recorded {', '.join(missing)}")
        self._write()
        print(f"{len(self.items)} of {len(self.items)} items recorded")

    def _known(self, item: str) -> str:
        if item in self.items:
            return item
        owner = {i["id"]: i["notebook"] for i in reports()["item"]}.get(item)
        if owner:
            raise KeyError(f"{item} belongs to notebook {owner}, not to {self.notebook}")
        near = difflib.get_close_matches(item, self.items, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise KeyError(f"data/reports.toml has no item {item!r}{hint}")

    def _put(self, file: str, part: str, name: str, entry: dict) -> None:
        self._files[file][part][name] = entry
        if file == "timings" and part == "items":  # results.json names every item, and stays the same to the byte
            self._files["results"]["items"][name] = {"in": "timings.json"}
        self._write()

    def _write(self) -> None:
        """Write all three files. The trainings that were used are named in two, with their seconds in timings.json."""
        self._files["results"]["trainings"] = sorted(trainings.used)
        self._files["timings"]["trainings"] = trainings.used
        self._files["timings"]["stale"] = trainings.stale
        write_atomic(self.folder / "inputs.json", json.dumps(loaded_code(), indent=1) + "\n")
        for each, content in self._files.items():
            text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False, sort_keys=True)
            write_atomic(self.folder / f"{each}.json", text + "\n")


def plain(value: object) -> object:
    """``value`` as JSON: tensors and arrays become lists, floats keep six significant digits.

    Raises ValueError for numbers that are not finite, TypeError for anything JSON cannot hold.
    """
    if hasattr(value, "tolist"):
        value = value.tolist()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"cannot record {value}: not a finite number")
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    raise TypeError(f"cannot record a {type(value).__name__}: use numbers, text, lists or dicts")
