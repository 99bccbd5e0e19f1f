"""Makes `import torchvision` work beside a CPU build of torch.

PyPI's torchvision is compiled for CUDA. Its extension does not load beside a CPU torch, and then torchvision stops at
"operator torchvision::nms does not exist" while it registers shape functions for two detection operators. open_clip
and timm need only its Python transforms, so declaring those two operators is enough. A matching pair is left alone.
"""

from __future__ import annotations

import importlib
import sys

import torch

_declared: list[torch.library.Library] = []  # a Library's operators vanish with it


def import_torchvision() -> None:
    """Import torchvision; on exactly that error declare the two operators and import it again."""
    try:
        importlib.import_module("torchvision")
        return
    except RuntimeError as error:
        if "torchvision::nms does not exist" not in str(error):
            raise
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[no-untyped-call]
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[no-untyped-call]
    _declared.append(library)
    importlib.import_module("torchvision")
