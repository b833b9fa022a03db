"""The results of a notebook: values, answers and figures for the items of ``data/reports.toml``.

A notebook opens its book once, records its results, and checks at the end that nothing is missing:

    book = open_book("01_feedforward", profile, seed)
    train, test = book.mnist()
    book.record("cpsc453.num-accuracy", 0.981)
    book.tested("cpsc453.q-2.2.1", "achieves 98%", "test accuracy", accuracies, between=(0.975, 0.985), ours=False)
    book.claim("momentum ends ahead", item="cpsc453.q-2.2.4", values=momentum, against=adam, above=0)
    book.figure(fig, "cpsc453.fig-01", caption="Both errors fall; only one keeps falling.", alt="Two curves …")
    book.check()

Results go to results.json, measured durations to timings.json. Only timings.json, and figures that show durations, may
differ between two runs with the same seed. inputs.json lists the code that was loaded.
"""

import base64
import difflib
import io
import json
import math
import os
import re
from pathlib import Path
from typing import Any

from lib import compute, data, progress
from lib.atomic import write_atomic
from workbook import answers, claims, profiles, show, verdicts
from workbook import cache as trainings
from workbook.paths import BUILD, DATA, HOME
from workbook.records import errata, items_of, load_results, loaded_code, reports

DIGITS = 6  # significant digits that are stored
DURATIONS = "*Where … stands, the notebook shows a duration, which differs from run to run.*"
SMOKE = "*Profile smoke: few images and an epoch or two. The numbers below judge nothing.*"
FIRST_SENTENCE = re.compile(r".+?(?:[.!?](?=\s)|$)")


def open_book(notebook: str, profile: str = "auto", seed: int = 0) -> "Book":
    """Prepare a run: resolve the profile, set threads and plot style, and start an empty record.

    Raises ValueError for an unknown profile, a seed that is not a whole number of 0 or more, or a bad WORKBOOK_THREADS.
    """
    profile = profiles.resolve(profile)
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise ValueError(f"seed must be a whole number, 0 or more, got {seed!r}")
    compute.configure(threads())
    progress.plain = os.environ.get("WORKBOOK_PROGRESS") == "lines"
    trainings.some_released = profile != "smoke"
    from lib import plots

    plots.set_style()
    book = Book(notebook, profile, seed)
    answers.offer(book._answer)
    return book


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
        self._files: dict[str, dict[str, Any]] = {
            name: {**head, "items": {}, "figures": {}, "tested": {}} for name in ("results", "timings")
        }
        self._claims: list[dict] = []
        self._files["results"] |= {"claims": self._claims, "errata": {}, "verdicts": {}}
        self._printed: dict[str, verdicts.Verdict] = {}  # the verdicts that stand under answers

    def mnist(self, dataset: str = "mnist") -> tuple[data.Split, data.Split]:
        """Training and test images: all of them, or the first 2,000 and 1,000 in profile ``smoke``."""
        n_train, n_test = profiles.IMAGES[self.profile]
        return data.mnist(DATA, dataset, n_train, n_test, store=HOME / "data")

    def seeds(self, n: int) -> range:
        """The seeds of ``n`` trainings of one kind: the seed of this run, and the ones that follow it."""
        return range(self.seed, self.seed + n)

    def record(
        self,
        item: str,
        value: Any = None,
        *,
        runs: list | dict[int, Any] | None = None,
        improved: Any = None,
        otherwise: dict[str, list] | None = None,
        rivals: dict[str, Any] | None = None,
        draws: int | None = None,
        note: str | None = None,
        seconds: bool = False,
    ) -> None:
        """Store the measurement for an item: numbers, text, or lists and dicts of them.

        ``value`` is one run, with the structure of the reported value. ``runs`` holds such values at the settings that
        the report states, for this run's seed, the next one, and so on, or as {seed: value}; ``value`` may then be left
        out, and is their mean. ``improved`` holds such values at our own settings, one per seed, or a single one.
        ``otherwise`` holds runs at settings that an erratum names, {"E03: at rate 0.5": [...]}: they can explain a
        miss. ``rivals`` holds measured rivals, {what: value}. ``draws`` is the number of random draws among which our
        runs count, if it is not the report's. ``note`` is one neutral sentence. ``seconds`` marks a value that is a
        measured duration.

        Raises KeyError for an item that does not exist or belongs to another notebook, and ValueError for values that
        do not have the same structure.
        """
        item = self._known(item)
        seeds = list(runs) if isinstance(runs, dict) else None
        runs = list(runs.values()) if isinstance(runs, dict) else runs
        value, runs, improved, otherwise, rivals = map(plain, (value, runs, improved, otherwise, rivals))
        if runs is not None:
            if not isinstance(runs, list) or not runs:
                raise ValueError(f"{item}: runs must be a list of values, one per seed, got {runs!r}")
            value = _mean(runs, item) if value is None else value
            _same_structure(value, runs, item, "runs")
        if value is None:
            raise ValueError(f"cannot record None as the value of {item}")
        if improved is not None:
            if _depth(improved) == _depth(value):
                improved = [improved]
            _same_structure(value, improved, item, "improved")
        for name, others in (otherwise or {}).items():
            self._erratum(name.partition(": ")[0])
            _same_structure(value, others, item, f"the runs otherwise, {name},")
        if draws is not None and (not isinstance(draws, int) or isinstance(draws, bool) or draws < 1):
            raise ValueError(f"{item}: draws must be the number of random draws in a run, got {draws!r}")
        more = {"seeds": seeds, "otherwise": otherwise, "rivals": rivals, "draws": draws}
        entry = {"value": value, "runs": runs, "improved": improved, "note": note, **more}
        entry = {name: content for name, content in entry.items() if content is not None}
        if answered := self._entry(item).get("answer"):  # which stays where it is
            entry["answer"] = answered
            seconds = seconds or "answer" in self._files["timings"]["items"].get(item, {})
        self._store(item, entry, seconds)

    def answer(self, item: str, text: str, *, value: Any = None, **measured: Any) -> None:
        """Store and show the answer to a question as one paragraph. Prefer the cell magic ``%%answer``.

        If the report's answer is a number, give its ``value`` and the other arguments of ``record``.
        """
        item = self._question(item, text)
        if value is not None or measured:
            self.record(item, value, **measured)
        self._answer(item, " ".join(text.split()))

    def _answer(self, item: str, text: str, page: str | None = None, *also: str) -> None:
        """Store and show an answer of one or more paragraphs. ``page`` is the same without durations, for its page.

        The verdicts on the question, and on the items named in ``also``, stand below it.
        """
        item, text, also = self._question(item, text), text.strip(), tuple(map(self._known, also))
        page = text if page is None else page.strip()
        self._store(item, {**self._entry(item), "answer": text}, page != text)
        doubts = [
            f"⚠ In this run, a claim that supports this answer does not hold: {claim['statement']}"
            for claim in self._claims
            if claim["item"] == item and claim["holds"] is False
        ]
        title = f"**{self.items[item]['title']}**"
        if self.profile == "smoke":
            title = f"{SMOKE}\n\n{title}"
        about = {"answer": item}
        if page != text:
            about["page"] = _quoted(title, page, DURATIONS, *doubts)
        _show(_quoted(title, text, *doubts), about)
        self._verdict_table([item, *also], 6, kept=True)

    def tested(
        self, item: str, words: str, what: str, values: Any, *, seconds: bool = False, **comparison: Any
    ) -> None:
        """Hold what the report says against measurements by seed.

        ``words`` are one entry of the item's ``says``. ``what`` names the measurement in a few words. ``values`` and
        the other arguments are those of ``claims.comparisons``, which computes the verdict. ``seconds`` marks
        measured durations. Raises ValueError for words that the item does not quote.

            book.tested(q, "much longer", "epochs, with KL minus without", with_kl, against=without, above=0, matters=2)
            book.tested(q, "98%", "test accuracy", accuracies, share=True, between=(0.975, 0.985), ours=False)
            book.tested(q, "98%", "trace of the printed matrix", 9356, equals=9810, exact=True)
        """
        quoted = verdicts.quotations(self.items[self._known(item)])
        if quoted.get(words) != "":
            near = difflib.get_close_matches(words, quoted, n=1, cutoff=0.3)
            left = f"is left aside ({quoted[words]})" if words in quoted else "is no quotation of it"
            raise ValueError(f"{item}: {words!r} {left}; says in data/reports.toml has {near or list(quoted)}")
        tests = self._files["timings" if seconds else "results"]["tested"].setdefault(item, [])
        for test in self._weighed(what, values, comparison):
            _replace(tests, {"quote": words, **test}, "quote", "what")
        self._write()

    def claim(
        self,
        statement: str,
        holds: bool | None = None,
        item: str | None = None,
        *,
        values: Any = None,
        numbers: Any = None,
        **comparison: Any,
    ) -> None:
        """Store a claim that this notebook makes in its text, whether it ``holds``, and the ``item`` it belongs to.

        Give ``values`` by seed and a place, as for ``tested``; or an expression for ``holds``, with a margin from seeds
        or sampling, and the ``numbers`` behind it. A claim that fails is shown and marks the answer to ``item``, but
        the run continues. In profile smoke no claim is judged.
        """
        found = self._shown(statement, holds, values, numbers, comparison)
        claim = {"statement": " ".join(statement.split()), "item": item if item is None else self._known(item), **found}
        _replace(self._claims, claim, "statement")
        self._write()
        if found["holds"] is False:
            about = f" It supports the answer to {item}." if item else ""
            _show(_quoted(f"⚠ **In this run, a claim of this chapter does not hold:** {claim['statement']}.{about}"))

    def demonstrates(
        self,
        erratum: str,
        holds: bool | None = None,
        *,
        values: Any = None,
        numbers: Any = None,
        **comparison: Any,
    ) -> None:
        """Store whether this run demonstrates an entry of ``data/errata.toml``, such as E01; arguments as in ``claim``.

        Not judged in smoke.
        """
        self._erratum(erratum)
        found = self._shown(erratum, holds, values, numbers, comparison)
        self._files["results"]["errata"][erratum] = found
        self._write()
        if found["holds"] is False:
            _show(_quoted(f"⚠ **In this run, erratum {erratum} is not demonstrated.**"))

    def _weighed(self, what: str, values: Any, comparison: dict) -> list[dict]:
        """Comparisons with what they give, which is not judged in smoke."""
        given = {name: plain(value) for name, value in comparison.items()}
        tests = claims.comparisons(" ".join(what.split()), plain(values), seed=self.seed, **given)
        return tests if self.profile == "smoke" else [test | plain(claims.weigh(test)) for test in tests]

    def _shown(self, what: str, holds: bool | None, values: Any, numbers: Any, comparison: dict) -> dict:
        """Whether a claim holds, and the numbers or comparisons behind it."""
        if not what.strip() or (holds is None) == (values is None):
            raise ValueError(
                f"{what!r}: state a sentence, and give either holds or values= and a place such as above=0"
            )
        if values is None:
            holds = plain(holds)
            if not isinstance(holds, bool):
                raise TypeError(f"holds must be True or False, got {holds!r}: write a comparison, with its margin")
            found = {} if numbers is None else {"numbers": plain(numbers)}
        else:
            found = {"comparisons": self._weighed(what, values, comparison)}
            holds = all(test.get("verdict") == "supported" for test in found["comparisons"])
        return {"holds": None if self.profile == "smoke" else holds, **found}

    def _erratum(self, erratum: str) -> None:
        """Raise KeyError unless an erratum belongs to this notebook."""
        owner = {entry["id"]: entry["notebook"] for entry in errata()}.get(erratum)
        if owner != self.notebook:
            said = f"belongs to notebook {owner}, not to {self.notebook}" if owner else "is not in data/errata.toml"
            raise KeyError(f"erratum {erratum!r} {said}")

    def figure(
        self,
        fig: Any,
        name: str,
        *,
        alt: str,
        caption: str = "",
        seconds: bool = False,
        allow: dict[str, str] | None = None,
    ) -> None:
        """Save a matplotlib figure as ``<name>.png``, show it with its caption and close it.

        ``name`` is the id of an item, or ``extra-…`` for a figure that is in no report. ``caption`` says in one
        sentence what to see; without one, the first sentence of ``alt`` stands there. ``alt`` describes the figure for
        those who cannot see it. ``seconds`` marks a figure that shows measured durations.

        What cannot be read on a page is stored as findings (``lib.legibility``), which ``workbook.tools.chapter``
        lists. ``allow`` {rule: reason} says why a rule does not apply to this figure.
        """
        import matplotlib.pyplot as plt
        from IPython.display import display

        from lib import legibility

        if not name.startswith("extra-"):
            self._known(name)
        if len(alt.strip()) < 20:
            raise ValueError(f"{name} needs alt text of 20 letters or more, which describes the figure")
        allow = allow or {}
        if unknown := set(allow) - set(legibility.RULES):
            raise ValueError(f"{name} allows {unknown.pop()!r}; the rules are: {', '.join(legibility.RULES)}")
        alt, caption = " ".join(alt.split()), " ".join(caption.split())
        buffer = io.BytesIO()
        fig.savefig(buffer, format="png", metadata={"Software": None, "Description": alt})
        png = buffer.getvalue()
        found = legibility.findings(fig, png)
        plt.close(fig)
        write_atomic(self.folder / f"{name}.png", png)
        self._files["results" if seconds else "timings"]["figures"].pop(name, None)  # left there if a cell is run again
        entry = {"file": f"{name}.png", "alt": alt} | ({"caption": caption} if caption else {})
        entry |= {"allow": allow} if allow else {}
        entry["findings"] = {rule: what for rule, what in found.items() if rule not in allow}
        self._put("timings" if seconds else "results", "figures", name, entry)
        bundle = {"image/png": base64.b64encode(png).decode(), "text/plain": alt}
        display(bundle, raw=True, metadata={"image/png": {"alt": alt, "file": f"{name}.png"}})
        _show(f"*{caption or FIRST_SENTENCE.match(alt)[0]}*")  # pyrefly: ignore

    def missing(self) -> list[str]:
        """The ids of this notebook's items that still lack their value, answer or figure."""
        drawn = {name for content in self._files.values() for name in content["figures"]}

        def complete(item: str, about: dict) -> bool:
            if about["kind"] == "question":
                return "answer" in self._entry(item)
            recorded = bool(self._entry(item))
            return recorded if about["kind"] != "figure" else item in drawn and (recorded or "reported" not in about)

        return [item for item, about in self.items.items() if not complete(item, about)]

    def check(self) -> None:
        """Show the verdicts of the chapter, and store them. Raise ValueError if an item of this notebook is missing.

        Also if an answer stands beside a verdict that changed later, when more of its table was recorded.
        """
        if missing := self.missing():
            raise ValueError(f"{self.notebook} has not recorded {', '.join(missing)}")
        found = self._verdicts()
        self._files["results"]["verdicts"] = {name: plain(verdict.stored()) for name, verdict in found.items()}
        self._write()
        if early := [name for name, shown in self._printed.items() if shown != found[name]]:
            raise ValueError(f"verdicts changed after the answer that shows them: record all of {early} before it")
        judged = "; profile smoke trains too briefly for verdicts" if self.profile == "smoke" else ""
        print(f"{len(self.items)} of {len(self.items)} items recorded{judged}")
        shown, said = [], []
        for name, item in self.items.items():
            alike = item.get("result"), found[name]  # several items of one result that came out alike are one row
            if "row_of" not in item and not ("result" in item and alike in said):
                shown.append(name)
                said.append(alike)
        self._verdict_table(shown, 25)

    def verdicts_on(self, *items: str) -> None:
        """Show the verdicts on these items, such as figures, where a section settles them without a question."""
        self._verdict_table(list(map(self._known, items)), 6, kept=True)

    def _verdicts(self) -> dict[str, verdicts.Verdict]:
        """The verdicts of this run; of what was measured in seconds, without the numbers, which differ every time."""
        self._write()
        found = verdicts.judge_runs(self.notebook, [load_results(self.folder) or {}], self.profile)
        timings = self._files["timings"]
        timed = {name for name, entry in timings["items"].items() if "value" in entry}
        said = {name: {test["quote"] for test in tests} for name, tests in timings["tested"].items()}
        return {
            name: verdict.without_numbers(None if name in timed else said[name])
            if name in timed or name in said
            else verdict
            for name, verdict in found.items()
        }

    def _verdict_table(self, items: list[str], rows: int, kept: bool = False) -> None:
        """Show the report's words or numbers, our measurements and the verdicts: what fails, if there are more rows.

        With ``kept``, ``check`` sees that these verdicts are the last ones.
        """
        if self.profile == "smoke":
            return
        found = self._verdicts()
        self._printed |= {name: found[name] for name in items if kept}
        lines = [(name, *line) for name in items for line in verdicts.lines(self.items[name], found[name])]
        lines = [line for line in lines if verdicts.heap(line[3].word) != "not judged"]
        urgent = sorted(lines, key=lambda line: ("fails", "cannot tell", "holds").index(verdicts.heap(line[3].word)))
        lines = [line for line in lines if line in urgent[:rows]][:rows]
        tests = [test for name in items for test in self._files["results"]["tested"].get(name, ()) if test.get("ours")]
        places = ("above", "below", "between")
        ours = {t["what"]: f" (ours: {place} {t[place]})" for t in tests for place in places if place in t}
        if lines:
            show.table(
                ["the report", "ours, with its 95 % interval", "verdict"],
                [
                    [
                        verdicts.cut(says if each.quote else f"{self.items[name]['title']}: {says}".removesuffix(": ")),
                        verdicts.numbers_text(each, between="<br>", ours=ours),
                        verdicts.cut(verdicts.wording(each)),
                    ]
                    for name, says, _, each in lines
                ],
            )
        if len(urgent) > len(lines):
            show.text(f"On the scoreboard: {len(urgent) - len(lines)} more.")

    def _known(self, item: str) -> str:
        if item in self.items:
            return item
        owner = {i["id"]: i["notebook"] for i in reports()["item"]}.get(item)
        if owner:
            raise KeyError(f"{item} belongs to notebook {owner}, not to {self.notebook}")
        near = difflib.get_close_matches(item, self.items, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise KeyError(f"data/reports.toml has no item {item!r}{hint}")

    def _question(self, item: str, text: str) -> str:
        if self.items[self._known(item)]["kind"] != "question":
            raise ValueError(f"{item} is a {self.items[item]['kind']}: use record")
        if not text.strip():
            raise ValueError(f"the answer to {item} is empty")
        return item

    def _entry(self, item: str) -> dict:
        """The record of an item, from whichever file holds it; empty if there is none."""
        kept = self._files["timings"]["items"].get(item, {})
        return kept if "value" in kept or "answer" in kept else self._files["results"]["items"].get(item, {})

    def _store(self, item: str, entry: dict, seconds: bool) -> None:
        """Store an entry in the file where it belongs."""
        self._files["timings"]["items"].pop(item, None)  # left there if a cell is run again
        self._put("timings" if seconds else "results", "items", item, entry)

    def _put(self, file: str, part: str, name: str, entry: dict) -> None:
        self._files[file][part][name] = entry
        if file == "timings" and part == "items":  # results.json names every item, and stays the same to the byte
            self._files["results"]["items"][name] = {"in": "timings.json"}
        self._write()

    def _write(self) -> None:
        """Write all three files. Two of them list the models that were used; timings.json adds their seconds."""
        self._files["results"]["trainings"] = sorted(trainings.used)
        self._files["results"]["weights"] = {file: keep for file, keep in trainings.asked.items() if keep is not None}
        self._files["timings"]["trainings"] = trainings.used
        self._files["timings"]["stale"] = trainings.stale
        write_atomic(self.folder / "inputs.json", json.dumps(loaded_code(), indent=1) + "\n")
        for each, content in self._files.items():
            text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False, sort_keys=True)
            write_atomic(self.folder / f"{each}.json", text + "\n")


def plain(value: Any) -> Any:
    """``value`` as JSON: tensors and arrays become lists, floats are rounded to six significant digits.

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


def _mean(runs: list, item: str) -> Any:
    """Mean of values of equal structure; text must be the same in all of them."""
    first = runs[0]
    _same_structure(first, runs, item, "runs")
    if isinstance(first, dict):
        return {name: _mean([run[name] for run in runs], item) for name in first}
    if isinstance(first, list):
        return [_mean(list(column), item) for column in zip(*runs, strict=True)]
    if all(run == first for run in runs):
        return first
    if _kind(first) != "number":
        raise ValueError(f"{item}: the runs differ in a text ({', '.join(map(repr, runs))}): give a value as well")
    return plain(math.fsum(runs) / len(runs))


def _same_structure(value: Any, runs: list, item: str, name: str) -> None:
    """Raise ValueError if one of ``runs`` has other keys, another length or another kind of content than ``value``."""
    for run in runs:
        if _kind(run) != _kind(value):
            raise ValueError(f"{item}: each of {name} must be a {_kind(value)}, like the value; got {run!r}")
        if isinstance(value, dict):
            if run.keys() != value.keys():
                raise ValueError(f"{item}: each of {name} must have the keys {list(value)}; got {list(run)}")
            for key in value:
                _same_structure(value[key], [run[key]], f"{item}, {key}", name)
        if isinstance(value, list):
            if len(run) != len(value):
                raise ValueError(f"{item}: each of {name} must have {len(value)} entries; got {len(run)}")
            for one, other in zip(value, run, strict=True):
                _same_structure(one, [other], item, name)


def _kind(value: Any) -> str:
    kinds = {dict: "dict", list: "list", str: "text", int: "number", float: "number"}
    return kinds.get(type(value), type(value).__name__)


def _depth(value: Any) -> int:
    """How many lists enclose the first entry: a number has 0, a list of numbers 1."""
    return 1 + (_depth(value[0]) if value else 0) if isinstance(value, list) else 0


def _replace(entries: list[dict], entry: dict, *names: str) -> None:
    """Replace the entry with the same names, for a cell that is run again, or append it."""
    for i, old in enumerate(entries):
        if all(old[name] == entry[name] for name in names):
            entries[i] = entry
            return
    entries.append(entry)


def _quoted(*paragraphs: str) -> str:
    """Paragraphs of Markdown as one block quote."""
    return "\n".join(f"> {line}".rstrip() for line in "\n\n".join(paragraphs).splitlines())


def _show(markdown: str, metadata: dict | None = None) -> None:
    """Show Markdown. ``metadata`` tells ``tools.chapter`` what it is, and what its ``page`` shows instead."""
    from IPython.display import Markdown, display

    display(Markdown(markdown), metadata=metadata)
