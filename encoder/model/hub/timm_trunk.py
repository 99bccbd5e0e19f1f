"""Where the configuration of a timm image tower lies that a model's config names by its repository.

timm's own names (`vit_base_patch16_224`) need none. For `hf-hub:ORG/NAME` timm would ask the hub by itself; here the
file comes from the run folder, where `vision_tower/` holds it, else as all files of the hub do; timm reads it there.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from encoder.model.hub.repository import TOWER_CONFIG, Repository, tower_folder

VISION_TOWER = "vision_tower"  # in a run folder


def with_trunk_here(vision_cfg: dict[str, Any], folder: Path | None, ref: str) -> dict[str, Any]:
    """The `vision_cfg` to build from: a folder with the trunk's config where it names a repository, and no weights.

    Args:
        vision_cfg: of an open_clip config.
        folder: the run folder, if it is one.
        ref: the model that is loaded.

    Raises:
        ModelError, ModelUnavailable: as `encoder.model.hub.repository.hub_file`.
    """
    name = vision_cfg.get("timm_model_name")
    if not name:
        return vision_cfg
    named = re.fullmatch(r"(?i:hf[-_]hub):(.+)", str(name))
    if not named:
        return vision_cfg | {"timm_model_pretrained": False}
    place = folder and folder / VISION_TOWER
    if not (place and (place / TOWER_CONFIG).is_file()):
        place = tower_folder(replace(Repository.of(f"hf-hub:{named[1]}"), ref=ref), "image tower", place)
    return vision_cfg | {"timm_model_name": f"local-dir:{place}", "timm_model_pretrained": False}


def trunk_config(clip: Any) -> Path | None:
    """The file that the image tower of a model was built by, if `with_trunk_here` named one."""
    found = getattr(getattr(clip.visual, "trunk", None), "pretrained_cfg", None) or {}
    return Path(found["file"]) / TOWER_CONFIG if found.get("source") == "local-dir" else None
