"""Where the text towers and tokenizers of Hugging Face lie on this machine, so that no library asks the hub by itself.

open_clip's config only names them (`hf_model_name`, `hf_tokenizer_name`). A run folder holds both: the tokenizer beside
the weights, the tower's config in `text_tower/`. For a published model they come from the hub, as its weights do.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from base.errors import ModelError
from encoder.model.hub.repository import TOWER_CONFIG, VOCABULARIES, Repository, tokenizer_folder, tower_folder
from encoder.model.weights import read_json

TEXT_TOWER = "text_tower"  # in a run folder
_SETTINGS = frozenset(  # of tokenizers: how they cut texts; not where they come from, nor what they run
    "clean strip_sep_token language reduction_mask use_fast legacy add_prefix_space add_bos_token add_eos_token "
    "do_lower_case padding_side truncation_side pad_token bos_token eos_token unk_token cls_token sep_token mask_token "
    "src_lang tgt_lang additional_special_tokens model_max_length".split()
)


def with_tower_here(text_cfg: dict[str, Any], folder: Path | None, ref: str) -> dict[str, Any]:
    """The `text_cfg` to build from: a folder with the tower's config where it names a repository.

    Args:
        text_cfg: of an open_clip config.
        folder: the run folder, if it is one.
        ref: the model that is loaded.

    Raises:
        ModelError, ModelUnavailable: as `encoder.model.hub.repository.hub_file`.
    """
    name = text_cfg.get("hf_model_name")
    if not name:
        return text_cfg
    places = (place for place in (folder and folder / TEXT_TOWER, Path(name)) if place)
    place = next((place for place in places if _has(place, TOWER_CONFIG)), None)
    if place is None:
        place = tower_folder(Repository(name, None, ref), "text tower", folder and folder / TEXT_TOWER)
    if not _is_known(place / TOWER_CONFIG):
        raise ModelError(f"{ref}: its text tower {name} brings code of its own, which glimpse does not run")
    return text_cfg | {"hf_model_name": str(place), "hf_model_pretrained": False}


def tokenizer_place(text_cfg: dict[str, Any], folder: Path | None, ref: str) -> Path:
    """The folder with the tokenizer's files: the run folder, else where those of the repository lie that it names.

    Raises:
        ModelError, ModelUnavailable: as `tokenizer_folder`.
    """
    name = text_cfg["hf_tokenizer_name"]
    for place in (folder, Path(name)):
        if place and _has(place, *VOCABULARIES):
            return place
    found = tokenizer_folder(Repository(name, None, ref))
    if found is None:
        raise ModelError(f"{ref}: its tokenizer is {name}, which has no files of one")
    return found


def tokenizer_settings(text_cfg: dict[str, Any], ref: str) -> dict[str, Any]:
    """The `tokenizer_kwargs` of a `text_cfg`, which a stranger may have written and transformers obeys.

    Raises:
        ModelError: one that is not known to be about texts alone, as `trust_remote_code` is not.
    """
    settings = text_cfg.get("tokenizer_kwargs") or {}
    if not isinstance(settings, dict):
        raise ModelError(f"{ref}: its tokenizer_kwargs are not an object of JSON")
    for name, value in settings.items():
        if name not in _SETTINGS or not _is_plain(value):
            raise ModelError(
                f"{ref}: its tokenizer_kwargs hold {name}, which is not taken from a model's config, for it could run "
                "code; take it out, if the model does without"
            )
    return dict(settings)


def _is_known(tower: Path) -> bool:
    """Whether a tower is of a kind that transformers has, or brings no code; else it would ask at a terminal."""
    config = read_json(tower, f"{tower}: not there")
    if "auto_map" not in config:
        return True
    from transformers import CONFIG_MAPPING

    return config.get("model_type") in CONFIG_MAPPING


def _is_plain(value: Any) -> bool:
    return all(isinstance(each, str | int | float | None) for each in (value if isinstance(value, list) else [value]))


def _has(folder: Path, *names: str) -> bool:
    return any((folder / name).is_file() for name in names)
