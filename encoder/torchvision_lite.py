"""open_clip without what takes longer to import than itself: most of torchvision, and timm until a model is made of it.

`import torchvision` runs packages that nothing here calls (detection, datasets, its models), which load torch's
compiler: longer than open_clip itself. And PyPI's wheel is built for CUDA: beside a CPU torch it stops at "operator
torchvision::nms does not exist". So these packages are given empty; their modules are imported as they are. Names that
timm imports from them to offer data sets lead nowhere. timm holds every architecture there is; open_clip imports it to
build a few families' image towers.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType
from typing import Any

_PACKAGES = ("torchvision", "torchvision.ops", "torchvision.datasets", "torchvision.models")


class _Datasets(ModuleType):
    """torchvision.datasets, with a class of no use for each name."""

    def __getattr__(self, name: str) -> type:
        if name.startswith("_"):
            raise AttributeError(name)
        return type(name, (), {})


def import_open_clip() -> None:
    """Import it so. What has been imported already, of all three, is left as it is."""
    lighten_torchvision()
    if not {"open_clip", "timm"} & sys.modules.keys():
        sys.modules["timm"] = None  # type: ignore[assignment]  # as if it were not installed
        try:
            import open_clip  # noqa: F401
        finally:
            del sys.modules["timm"]


def import_timm(model_cfg: dict[str, Any]) -> None:
    """Before a model of such a config is built: have open_clip find timm, where it takes it."""
    from open_clip import model, timm_model

    if model_cfg["vision_cfg"].get("timm_model_name") and timm_model.timm is None:
        importlib.reload(timm_model)
        model.TimmModel = timm_model.TimmModel


def lighten_torchvision() -> None:
    """Before open_clip is imported: torchvision as above. Where it has been imported already it is left alone."""
    if "torchvision" in sys.modules:
        return
    for name in _PACKAGES:
        spec = importlib.util.find_spec(name)
        if spec is None:  # not installed: open_clip will say so
            return
        package = _Datasets(name) if name.endswith("datasets") else ModuleType(name)
        package.__spec__, package.__path__ = spec, spec.submodule_search_locations or []
        sys.modules[name] = package
        parent, _, own = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], own, package)
