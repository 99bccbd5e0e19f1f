"""Finds the weights of published models: in the caches of this machine first, else by download, or says why not."""

from __future__ import annotations

import contextlib
import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from base.errors import ModelError, ModelUnavailable
from encoder.torchvision_cpu import import_torchvision

import_torchvision()
import open_clip  # noqa: E402  needs the line above
from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache  # noqa: E402

CONFIG = "open_clip_config.json"
WEIGHTS = "open_clip_model.safetensors"
_HUB_WEIGHTS = (WEIGHTS, "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin")
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt", "spiece.model")
_PROBE_SECONDS = 5.0


def tag_weights(published: dict[str, Any], ref: str) -> Path:
    """The weights file of an open_clip tag, from the cache or the network."""
    repository, _, file = published.get("hf_hub", "").rpartition("/")
    if repository:
        names = (file.rsplit(".", 1)[0] + ".safetensors", file) if file else _HUB_WEIGHTS
        return _hub_file(repository, tuple(dict.fromkeys(names)), ref)
    url = published["url"]
    cached = Path("~/.cache/clip").expanduser() / url.rsplit("/", 1)[-1]
    if not cached.is_file():
        _require_answer(url, ref, cached.parent)
    try:
        return Path(open_clip.download_pretrained(published))
    except Exception as error:
        raise ModelUnavailable(_unavailable(ref, cached.parent, error)) from error


def hub_folder(repository: str) -> Path:
    """The cached snapshot of a hub repository with its config, weights and tokenizer: a run folder."""
    ref = f"hf-hub:{repository}"
    config = _hub_file(repository, (CONFIG,), ref)
    _hub_file(repository, _HUB_WEIGHTS, ref)
    text_cfg = read_json(config, f"{ref}: no {CONFIG}").get("model_cfg", {}).get("text_cfg", {})
    if text_cfg.get("hf_tokenizer_name"):
        for name in _TOKENIZER_FILES:
            with contextlib.suppress(ModelError):  # a repository has some of these, its tokenizer says if one lacks
                _hub_file(repository, (name,), ref)
    return config.parent


def _hub_file(repository: str, names: tuple[str, ...], ref: str) -> Path:
    """The first of `names` that a hub repository has: from the cache if it is there, else downloaded."""
    found = {name: try_to_load_from_cache(repository, name) for name in names}
    for cached in found.values():
        if isinstance(cached, str):
            return Path(cached)
    names = tuple(name for name, cached in found.items() if cached is None)  # else the cache knows that there is none
    if not names:
        raise ModelError(f"{ref}: the repository has no {' or '.join(found)}")
    cache = Path(constants.HF_HUB_CACHE)
    if constants.HF_HUB_OFFLINE:
        raise ModelUnavailable(_unavailable(ref, cache, "HF_HUB_OFFLINE is set"))
    _require_answer(constants.ENDPOINT, ref, cache)
    failure: Exception | None = None
    for name in names:
        try:
            return Path(hf_hub_download(repository, name))
        except Exception as error:
            failure = error
    raise ModelUnavailable(_unavailable(ref, cache, failure)) from failure


def _require_answer(url: str, ref: str, cache: Path) -> None:
    """One quick request first: the download libraries retry a dead network for minutes."""
    request = urllib.request.Request(url, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=_PROBE_SECONDS):
            pass
    except urllib.error.HTTPError:
        return  # it answers; what it says to the real request matters
    except (OSError, ValueError) as error:
        raise ModelUnavailable(_unavailable(ref, cache, getattr(error, "reason", error))) from error


def _unavailable(ref: str, cache: Path, reason: object) -> str:
    first_line = str(reason).strip().splitlines()[0] if str(reason).strip() else type(reason).__name__
    return (
        f"{ref}: not on this machine (looked in {cache}) and it cannot be downloaded: {first_line}. "
        "Run once where there is a network and copy that folder here, or give a run folder that glimpse trained"
    )


def read_json(path: Path, missing: str) -> dict[str, Any]:
    """The object in a JSON file; `missing` is the message if there is no such file.

    Raises:
        ModelError: no such file, or not an object in JSON.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise ModelError(missing) from error
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read as JSON ({error})") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path}: holds no JSON object")
    return content
