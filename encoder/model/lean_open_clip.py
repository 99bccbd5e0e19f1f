"""open_clip, imported without what glimpse has no use for: the only import of it, which others take from here.

It imports timm, and both import torchvision, for image transforms, one norm and the names of data sets. Their packages
run what nobody here calls (detection, models for other tasks), which loads torch's compiler: longer than all the rest.
And PyPI's torchvision is built for CUDA: beside a CPU torch it stops at "operator torchvision::nms does not exist". So
torchvision's packages are given empty, with their modules as they are, and timm comes when a tower is one of its.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any

_PACKAGES = ("torchvision", "torchvision.ops", "torchvision.datasets", "torchvision.models")


def _lighten_torchvision() -> None:
    """Where it has been imported already, or is not there, it is left alone: open_clip says what it lacks."""
    if "torchvision" in sys.modules:
        return
    for name in _PACKAGES:
        spec = importlib.util.find_spec(name)
        if spec is None:
            return
        package = ModuleType(name)
        package.__spec__, package.__path__ = spec, spec.submodule_search_locations or []
        if name == "torchvision.datasets":
            package.__dict__["__getattr__"] = _data_set
        sys.modules[name] = package
        parent, _, own = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], own, package)


def _data_set(name: str) -> type:
    """A class of that name: timm imports those of a dozen data sets, and nobody here opens one."""
    if name.startswith("_"):
        raise AttributeError(name)
    return type(name, (), {})


def _import_without_timm() -> ModuleType:
    """open_clip takes timm for one that is not installed."""
    had_timm = "timm" in sys.modules
    if not had_timm:
        sys.modules["timm"] = None  # type: ignore[assignment]
    try:
        return importlib.import_module("open_clip")
    finally:
        if not had_timm:
            del sys.modules["timm"]


def with_timm_for(model_cfg: Mapping[str, Any]) -> None:
    """Before an architecture is built: give open_clip timm, if its image tower is one of timm's."""
    if (model_cfg.get("vision_cfg") or {}).get("timm_model_name"):
        adapter = importlib.import_module("open_clip.timm_model")
        if adapter.timm is None:
            importlib.reload(adapter)  # its class looks timm up in these same globals


_lighten_torchvision()
open_clip: Any = _import_without_timm()
