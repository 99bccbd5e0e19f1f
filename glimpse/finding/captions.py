"""What an entry is called, by its metadata: one rule for tables and sheets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

KEYS = ("caption", "title", "description")


def caption_of(metadata: Mapping[str, Any]) -> str:
    """The text of the first of KEYS that has one, on one line; "" for none."""
    for key in KEYS:
        value = metadata.get(key)
        if isinstance(value, str) and (words := value.split()):
            return " ".join(words)
    return ""
