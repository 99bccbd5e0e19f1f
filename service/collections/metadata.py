"""The metadata of entries as clients send them: how large they may be, how a change merges in, and what is one tag."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from base.errors import InputError
from index.entry import is_deeper

MAX_METADATA = 16_384  # bytes of one entry's, as JSON
DEEPEST = 32  # objects and lists inside each other
MAX_TAG = 100  # characters


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


def merge_patch(metadata: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """Merge as RFC 7396 says: null takes a key away, objects merge, all else replaces.

    Raises:
        InputError: the result is too large or too deep.
    """
    result = _merge(metadata, patch)
    check_metadata(result)
    return result


def composed(tag: str) -> str:
    """A tag as it is kept: letters with their accents in one (NFC), since the other form looks the same."""
    return unicodedata.normalize("NFC", tag)


def tag_of(written: str) -> str:
    """A tag to be added, as it is kept. InputError: there is nothing in it, or it is too long."""
    tag = composed(written).strip()
    if not 0 < len(tag) <= MAX_TAG:
        raise InputError(f"a tag has 1 to {MAX_TAG} characters, not {len(tag)}")
    return tag


@dataclass(frozen=True)
class Patch:
    """A change of metadata. Tags are the list `tags` in it, those that look the same are one.

    Attributes:
        metadata: merged in first, as `merge_patch` does.
        remove_tags: taken away then; the key goes with the last tag.
        add_tags: put behind those that are there then.
    """

    metadata: Mapping[str, Any] = field(default_factory=dict)
    add_tags: Sequence[str] = ()
    remove_tags: Sequence[str] = ()

    def of(self, metadata: Mapping[str, Any]) -> dict[str, Any]:
        """The metadata with the change. InputError: it is too large or too deep."""
        result = _merge(metadata, self.metadata)
        tags = result.get("tags")
        before = tags if isinstance(tags, list) else [tags] if tags else []
        after = [tag for tag in before if _seen(tag) not in self._away]
        there = {_seen(tag) for tag in after}
        after += [tag for tag in self._added if _seen(tag) not in there]
        if after != before:
            result["tags"] = after
            if not after:
                del result["tags"]
        check_metadata(result)
        return result

    @cached_property  # they may be long, and the entries many
    def _away(self) -> frozenset[str]:
        return frozenset(map(_seen, self.remove_tags))

    @cached_property
    def _added(self) -> Sequence[str]:
        return list(dict.fromkeys(map(composed, self.add_tags)))


def _seen(tag: Any) -> str:
    """What somebody sees of a tag, which may be anything that JSON holds."""
    return composed(tag if isinstance(tag, str) else json.dumps(tag, ensure_ascii=False, separators=(",", ":"))).strip()


def _merge(target: Any, patch: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _merge(result.get(key), value) if isinstance(value, Mapping) else value
    return result
