"""The parts of torchvision that open_clip and timm import: its transforms and one norm, without the rest.

`import torchvision` runs packages that nothing here calls (detection, datasets, its models), which load torch's
compiler: longer than open_clip itself. And PyPI's wheel is built for CUDA: beside a CPU torch it stops at "operator
torchvision::nms does not exist". So these packages are given empty; their modules are imported as they are.
"""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

_PACKAGES = ("torchvision", "torchvision.ops", "torchvision.datasets", "torchvision.models")


def lighten_torchvision() -> None:
    """Before open_clip is imported: torchvision as above. Where it has been imported already it is left alone."""
    if "torchvision" in sys.modules:
        return
    for name in _PACKAGES:
        spec = importlib.util.find_spec(name)
        if spec is None:  # not installed: open_clip will say so
            return
        package = ModuleType(name)
        package.__spec__, package.__path__ = spec, spec.submodule_search_locations or []
        sys.modules[name] = package
        parent, _, own = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], own, package)
