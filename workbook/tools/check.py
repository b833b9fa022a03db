"""Check the environment: ``python -m workbook.tools.check`` prints what is there and how to mend what is not."""

import os
import re
import sys
from importlib import metadata

from workbook.paths import DATA, ROOT


def locked() -> dict[str, str]:
    """{package: version} of requirements.lock."""
    text = (ROOT / "requirements.lock").read_text()
    return dict(re.findall(r"^([A-Za-z0-9._-]+)==([^\s;]+)", text, flags=re.M))


def problems() -> list[str]:
    """One line for each thing that is wrong, with what to do."""
    found = []
    for name, wanted in locked().items():
        try:
            version = metadata.version(name).split("+")[0]
        except metadata.PackageNotFoundError:
            found.append(f"{name} is not installed: rm .venv/.ready && make env")
            continue
        if version != wanted:
            found.append(f"{name} is {version}, the tested version is {wanted}: rm .venv/.ready && make env")
    from lib import data

    try:
        folder = data.fetch(DATA)
        print(f"data          mnist verified in {folder.relative_to(DATA.parent)}/")
    except data.DataError as error:
        found.append(str(error))
    try:
        from lib import torchvision_fix

        torchvision_fix.apply()
        import torchvision

        print(f"torchvision   {torchvision.__version__}")
    except (ImportError, RuntimeError) as error:
        found.append(f"torchvision cannot be imported ({error}): rm .venv/.ready && make env")
    return found


def main() -> int:
    """Print the environment; exit code 1 if something is wrong."""
    from lib import compute

    compute.configure()
    for name, value in compute.environment().items():
        print(f"{name:13} {value}")
    print(f"{'cores':13} {os.cpu_count()}")
    found = problems()
    for line in found:
        print(f"PROBLEM       {line}")
    print("everything is as tested" if not found else f"{len(found)} to mend")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
