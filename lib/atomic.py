"""Write a file completely or not at all."""

import os
from pathlib import Path

CHANGES_NO_RESULT = True  # for ``workbook.fingerprint``


def write_atomic(path: Path, content: bytes | str) -> None:
    """Write ``content`` under a temporary name in the same folder, then rename it to ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content.encode() if isinstance(content, str) else content)
        part.replace(path)
    except OSError as error:
        if error.errno is not None and error.filename is None:  # the system names no file where a disk is full
            error.filename = str(path)
        raise
    finally:
        part.unlink(missing_ok=True)
