"""Check the environment: ``python -m workbook.tools.check`` prints it, and says how to fix each problem."""

import platform
import re
import sys
from importlib import metadata
from pathlib import Path

from workbook.paths import DATA, HOME, ROOT, shown
from workbook.tools import supported
from workbook.tools.machine import cores, whole_machine


def locked() -> dict[str, str]:
    """{package: version} of requirements.lock."""
    text = (ROOT / "requirements.lock").read_text("utf-8")
    return dict(re.findall(r"^([A-Za-z0-9._-]+)==([^\s;]+)", text, flags=re.M))


def reinstall() -> str:
    """The command that installs the tested versions into this environment."""
    conda = (Path(sys.prefix) / "conda-meta").exists()
    return "conda env update -f environment.yml" if conda else "rm .venv/.ready && make env"


def versions() -> list[str]:
    """One problem for each package that is missing or has another version than the tested one."""
    refused = supported.refusal(sys.version_info[:3], platform.system(), platform.machine())
    found = [refused] if refused else []
    for name, wanted in locked().items():
        try:
            version = metadata.version(name).split("+")[0]
        except metadata.PackageNotFoundError:
            found.append(f"{name} is not installed. To install it: {reinstall()}")
            continue
        if version != wanted:
            found.append(f"{name} is {version}, but {wanted} was tested. To install {wanted}: {reinstall()}")
    return found


def device() -> list[str]:
    """Print where notebooks compute; returns a problem for a failed import or an invalid WORKBOOK_THREADS."""
    try:
        from lib import compute, torchvision_fix
        from workbook.book import threads

        torchvision_fix.apply()
        import torchvision

        compute.configure(threads())
    except (ImportError, RuntimeError) as error:
        return [f"torch or torchvision cannot be imported ({error}). To install them again: {reinstall()}"]
    except ValueError as error:  # WORKBOOK_THREADS
        return [f"{error}. To use one thread: unset WORKBOOK_THREADS"]
    about = compute.environment() | {"torchvision": torchvision.__version__.split("+")[0]}
    about["cores"] = f"{cores()}, enough for {whole_machine(threads())} notebooks at a time"
    about["runs in"] = str(HOME)
    for name, value in about.items():
        print(f"{name.replace('_', ' '):15} {value}")
    return gpu() if compute.device().type == "cuda" else []


def gpu() -> list[str]:
    """Compute one product on the GPU; returns a problem if that fails, as on one that torch was not built for."""
    import torch

    without = "To compute without it: export CUDA_VISIBLE_DEVICES="
    try:
        torch.ones(8, 8, device="cuda").matmul(torch.ones(8, 8, device="cuda")).cpu()
    except RuntimeError as error:
        return [f"the GPU cannot compute a product ({str(error).splitlines()[0]}). {without}"]
    print(f"{'GPU':15} computes. {without}")
    return []


def images() -> list[str]:
    """Print where MNIST is; returns a problem, with what to do, if it is missing and cannot be downloaded."""
    try:
        from lib.data.files import DataError, fetch
    except ImportError:
        return []  # ``device`` says why
    try:
        folder = fetch(DATA, store=HOME / "data")
    except DataError as error:
        return [str(error)]
    print(f"{'data':15} MNIST verified in {shown(folder)}/")
    return []


def main() -> int:
    """Print the environment; returns exit code 1 if there is a problem."""
    found = [*versions(), *device(), *images()]
    for line in found:
        print(f"{'PROBLEM':15} {line}")
    wrong = "1 problem" if len(found) == 1 else f"{len(found)} problems"
    print(f"{wrong}; each line says how to fix it" if found else "everything is as tested")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
