"""Train the models of a chapter again from scratch, and compare them with the released ones.

python -m workbook.tools.verify 04_vae_latent20

The models are stored in build/verify/<notebook>, so that an interrupted run resumes where it stopped.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

import torch

from workbook.cache import read_manifest, unpacked
from workbook.paths import BUILD, NOTEBOOKS, RELEASED
from workbook.tools.kernel import execute

TOLERANCE = 0.05  # of a loss, relative
LOSSES = ("loss", "reconstruction", "kl")  # endings of the names of losses in a history
Training = tuple[dict[str, torch.Tensor], dict[str, Any]]


def compared(now: Training, then: Training) -> dict[str, Any]:
    """Compare two runs of the same training.

    ``equal`` says whether they are identical to the byte. ``weights``, ``history`` and ``loss`` are the largest
    relative differences in the weights, in the last entries of the history (without durations), and in its losses only.
    """
    (state, about), (former_state, former) = now, then
    former_history = {name: values for name, values in former["history"].items() if not name.endswith("seconds")}
    history = {name: values for name, values in about["history"].items() if not name.endswith("seconds")}
    ends = {name: _difference(_end(history.get(name)), _end(values)) for name, values in former_history.items()}
    weights = [_difference(state.get(name, torch.empty(0)), tensor) for name, tensor in former_state.items()]
    same = state.keys() == former_state.keys() and all(state[name].equal(former_state[name]) for name in state)
    return {
        "equal": same and history == former_history,
        "weights": max(weights, default=0.0),
        "history": max(ends.values(), default=0.0),
        "loss": max((value for name, value in ends.items() if name.endswith(LOSSES)), default=0.0),
    }


def _end(values: list | None) -> torch.Tensor:
    """The last entry of a list in a history, which holds one number or several."""
    last = values[-1] if values else []
    numbers = last if isinstance(last, list) else [last]
    return torch.tensor([float("nan") if number is None else number for number in numbers], dtype=torch.double)


def _difference(now: torch.Tensor, then: torch.Tensor) -> float:
    """The largest difference between two tensors, relative to the largest value; infinite for unequal shapes."""
    if now.shape != then.shape:
        return float("inf")
    if now.numel() == 0 or now.equal(then):
        return 0.0
    now, then = now.double(), then.double()
    apart = ((now - then).abs().max() / then.abs().max().clamp_min(1e-12)).item()
    return apart if apart == apart else float("inf")


def report(used: list[str], own: Path, released: Path) -> tuple[str, bool]:
    """Compare these models in ``own`` with those in ``released``: a table, and whether they agree."""
    lines, good, width = [], True, max([len(file) for file in used], default=10)
    entries = read_manifest(released / "manifest.json")
    for file in used:
        former = released / entries.get(file, {}).get("file", file)
        if not former.exists():
            lines.append(f"{file:{width}}  not released: its code or settings have changed, or run `make release`")
            good = False
            continue
        found = compared(unpacked((own / file).read_bytes()), unpacked(former.read_bytes()))
        if found["equal"]:
            lines.append(f"{file:{width}}  identical to the byte")
            continue
        apart = found["loss"] > TOLERANCE
        good &= not apart
        numbers = ", ".join(f"{key} {found[key]:.2g}" for key in ("loss", "history", "weights"))
        lines.append(f"{file:{width}}  {'TOO DIFFERENT' if apart else 'similar'}: {numbers}")
    return "\n".join(lines), good


def verify(notebook: str) -> bool:
    """Run a notebook in full, with its own cache and no released models, and print how its models compare."""
    own = BUILD / "verify" / notebook
    out = own / "figures"
    out.mkdir(parents=True, exist_ok=True)
    (out / "results.json").unlink(missing_ok=True)
    os.environ |= {"WORKBOOK_RETRAIN": "1", "WORKBOOK_CACHE": str(own)}
    execute(NOTEBOOKS / f"{notebook}.ipynb", own / f"{notebook}.ipynb", {"profile": "full", "seed": 0}, out)
    used = json.loads((out / "results.json").read_text("utf-8"))["trainings"]
    text, good = report(used, own, RELEASED)
    print("largest relative differences from the released models")
    print(text)
    print(f"{len(used)} models {'agree' if good else 'do NOT all agree'} with the released ones")
    return good


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m workbook.tools.verify", description=__doc__.splitlines()[0])
    parser.add_argument("notebook", choices=sorted(path.stem for path in NOTEBOOKS.glob("[0-9]*.ipynb")))
    return 0 if verify(parser.parse_args().notebook) else 1


if __name__ == "__main__":
    sys.exit(main())
