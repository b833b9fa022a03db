"""pytest plugin for nbval runs: profile smoke, and nothing read from or written to this checkout's results."""

import os
import tempfile

_scratch = tempfile.TemporaryDirectory(prefix="workbook-nbval-")
os.environ |= {
    "WORKBOOK_PROFILE": "smoke",
    "WORKBOOK_OUT": f"{_scratch.name}/figures",
    "WORKBOOK_CACHE": f"{_scratch.name}/models",
}
