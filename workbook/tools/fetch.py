"""Download and verify the data: ``python -m workbook.tools.fetch [--dataset fashion-mnist] [--verify]``."""

import argparse
import json
import sys

from lib.data.files import DataError, fetch
from workbook.paths import DATA, HOME, shown


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m workbook.tools.fetch", description=__doc__)
    known = list(json.loads((DATA / "manifest.json").read_text("utf-8")))
    parser.add_argument("--dataset", choices=known, default="mnist")
    parser.add_argument("--verify", action="store_true", help="compare every byte with the manifest")
    arguments = parser.parse_args()
    try:
        folder = fetch(DATA, arguments.dataset, arguments.verify, HOME / "data")
    except DataError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{arguments.dataset}: four files verified in {shown(folder)}/")
    return 0


if __name__ == "__main__":
    sys.exit(main())
