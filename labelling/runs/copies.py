"""Which image of a run a file elsewhere is a copy of: people move the copies that a run made, where those lie wrong."""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from base.files import file_sha256
from labelling.runs.store import RunStore


class Copies:
    """The images of a run by their bytes; their files are looked at when the first copy is asked for."""

    def __init__(self, store: RunStore) -> None:
        self._store = store
        self._by_size: dict[int, list[tuple[int, Path]]] | None = None
        self._sha256 = lru_cache(1024)(file_sha256)

    def image_of(self, path: Path) -> int | None:
        """The id of the image with these bytes and, but for what a copy has behind it, this name; None if none is."""
        if self._by_size is None:
            self._by_size = {}
            for row in self._store.rows():
                with suppress(OSError):
                    self._by_size.setdefault(row.image.path.stat().st_size, []).append((row.id, row.image.path))
            for alike in self._by_size.values():
                alike.sort(key=lambda one: -len(one[1].stem))  # "1_2" may be a copy of "1", and is one of "1_2" first
        with suppress(OSError):
            for image, own in self._by_size.get(path.stat().st_size, ()):
                is_named_so = path.stem.startswith(own.stem) and path.suffix == own.suffix
                if is_named_so and self._sha256(own) == self._sha256(path):
                    return image
        return None
