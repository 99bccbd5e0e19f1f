"""The tokenizer that open_clip has for a model."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from encoder.model.hub.hf_text import tokenizer_place, tokenizer_settings
from encoder.model.lean_open_clip import open_clip
from encoder.model.text import Tokenizer


def tokenizer_of(model_cfg: dict[str, Any], folder: Path | None, ref: str) -> Tokenizer:
    """That of a model's config; of Hugging Face's, out of its folder, the cache or the hub.

    Raises:
        ModelError, ModelUnavailable: as `tokenizer_place` and `tokenizer_settings`.
    """
    text_cfg = model_cfg["text_cfg"]
    context_length = text_cfg.get("context_length", 77)
    kwargs = tokenizer_settings(text_cfg, ref)
    if not text_cfg.get("hf_tokenizer_name"):
        return _clip_tokenizer(context_length, kwargs)
    place = tokenizer_place(text_cfg, folder, ref)
    mode = text_cfg.get("tokenizer_mode")
    kwargs["trust_remote_code"] = False  # left out, transformers would ask at a terminal
    return open_clip.tokenizer.HFTokenizer(str(place), context_length, tokenizer_mode=mode, **kwargs)  # type: ignore[no-any-return]


def _clip_tokenizer(context_length: int, kwargs: dict[str, Any]) -> Tokenizer:
    """CLIP's own: with nothing else set it shares the tables that open_clip made of its merges when it was imported."""
    if kwargs:
        return open_clip.SimpleTokenizer(context_length=context_length, **kwargs)  # type: ignore[no-any-return]
    shared = copy.copy(open_clip.tokenizer._tokenizer)  # its own take 0.1 s and 20 MB
    shared.context_length = context_length
    return shared  # type: ignore[no-any-return]


def cleaning_of(tokenizer: Tokenizer) -> str | None:
    """What one of open_clip's tokenizers does to a text first, by open_clip's name; None for something of its own."""
    does = getattr(tokenizer, "clean_fn", None)
    return next(
        (name for name in ("lower", "whitespace", "canonicalize") if open_clip.tokenizer.get_clean_fn(name) is does),
        None,
    )
