"""The metadata of entries as clients send them: how large they may be, and how a change merges in."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from base.errors import InputError
from index.entry import is_deeper

MAX_METADATA = 16_384  # bytes of one entry's, as JSON
DEEPEST = 32  # objects and lists inside each other


def check_metadata(metadata: Mapping[str, Any]) -> None:
    """InputError for metadata that are too large or too deep, or cannot be kept as JSON."""
    if is_deeper(metadata, DEEPEST):
        raise InputError(f"metadata may be {DEEPEST} objects and lists deep, no deeper")
    try:
        size = len(json.dumps(metadata, ensure_ascii=False, allow_nan=False).encode())
    except ValueError as error:
        raise InputError("metadata must be JSON, without NaN and half characters") from error
    if size > MAX_METADATA:
        raise InputError(f"metadata of an entry may have {MAX_METADATA} bytes as JSON, not {size}")


def merge_patch(metadata: Mapping[str, Any], patch: Mapping[str, Any], add_tags: Sequence[str] = ()) -> dict[str, Any]:
    """Merge as RFC 7396 says: null takes a key away, objects merge, all else replaces. `add_tags` come to the tags.

    Raises:
        InputError: the result is too large or too deep.
    """
    result = _merge(metadata, patch)
    if add_tags:
        tags = result.get("tags") or []
        result["tags"] = list(tags) if isinstance(tags, list) else [tags]
        result["tags"] += [tag for tag in dict.fromkeys(add_tags) if tag not in result["tags"]]
    check_metadata(result)
    return result


def _merge(target: Any, patch: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _merge(result.get(key), value) if isinstance(value, Mapping) else value
    return result
