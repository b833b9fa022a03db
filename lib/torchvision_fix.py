"""Make torchvision importable with a CPU build of torch.

torchvision's Linux wheel is linked against CUDA, so its C++ library cannot be loaded with a CPU build of torch. The
import then stops with "operator torchvision::nms does not exist", because torchvision registers shape functions for
two operators without checking that they exist.
"""

import importlib.util
import sys
from pathlib import Path

import torch

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_library = None  # torch.library.Library forgets its definitions when it is garbage-collected


def apply() -> bool:
    """Declare the two missing operators if, and only if, torchvision's C++ library cannot be loaded.

    Call this before the first ``import torchvision``. Returns True if it declared the operators.
    """
    global _library
    if hasattr(torch.ops.torchvision, "nms"):
        return _library is not None
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.submodule_search_locations is None:
        return False
    compiled = next(Path(spec.submodule_search_locations[0]).glob("_C.*"), None)
    try:
        if compiled is None:
            raise OSError("torchvision has no compiled library")
        torch.ops.load_library(str(compiled))
        return False
    except OSError:
        # a failed import leaves modules behind that would be reused instead of imported again
        for name in [m for m in sys.modules if m.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        _library = torch.library.Library("torchvision", "FRAGMENT")
        for schema in _SCHEMAS:
            _library.define(schema)
        return True
