"""Entries of a collection on Milvus as they are read: one by one, as streams, and counted by reading all of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from base.errors import InputError
from base.names import check_external_id
from base.read_ahead import batches
from index.entry import FacetKey, FacetValue, Folder, ImageRow, Modality, Record, known
from index.milvus.opened import Opened
from index.milvus.read_view import ReadView
from index.milvus.rows import facet_counts, folders
from index.milvus.rows.expressions import EVERY, among, quoted
from index.milvus.rows.schema import RECORD, inside_of, path_text, record_of
from index.milvus.server import TOGETHER
from index.search.filters import parse_filter, parse_key
from index.search.patience import Patience

LOOKUP = 1000  # paths or external ids in one expression


class Records(Opened):
    """The reading half of `MilvusCollection`."""

    def read_view(self) -> ReadView:
        """The vectors: every write acknowledged before this call."""
        return self.view_of(self.identity())

    def count(self, modality: Modality | None = None) -> int:
        """How many entries it has, of one modality or of all."""
        where = EVERY if modality is None else f'modality == "{known(modality)}"'
        return self.read_view().count(where)

    def bytes_inside(self, folder: str | Path) -> int:
        """Bytes of the files inside a folder that its entries name."""
        return sum(max(0, row["size"]) for row in self.rows(inside(folder), ["id", "size"]))

    def vectors(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Vectors (n, dim) in the order of `ids`. EntryNotFound if one is not there."""
        return self.read_view().stored([int(key) for key in ids])

    def records_of(self, ids: Iterable[int]) -> dict[int, Record]:
        """The records of those `ids` that are there."""
        return {row["id"]: record_of(row) for row in self.read_view().rows(ids, RECORD)}

    def records(
        self,
        modality: Modality | None = None,
        under: str | Path | None = None,
        after_id: int = 0,
        limit: int | None = None,
    ) -> Iterator[Record]:
        """Stream records in the order of ids, from above `after_id`; `under`: only paths inside that folder."""
        parts = [f'modality == "{known(modality)}"'] if modality else []
        parts += [inside(under)] if under is not None else []
        return map(record_of, self.rows(" and ".join(parts) or EVERY, RECORD, after_id, limit))

    def rows(self, where: str, fields: list[str], after: int = 0, limit: int | None = None) -> Iterator[dict[str, Any]]:
        """Stream rows in the order of ids; one that goes meanwhile is passed over."""
        for rows in self.blocks(where, fields, after, limit):
            yield from rows

    def blocks(
        self, where: str, fields: list[str], after: int = 0, limit: int | None = None
    ) -> Iterator[list[dict[str, Any]]]:
        """The same, some thousands at a time."""
        view, left = self.read_view(), limit
        for ids in view.ids(where, after):
            some = ids if left is None else ids[:left]
            for start in range(0, len(some), TOGETHER):
                rows = view.rows(some[start : start + TOGETHER], fields, "Eventually")
                yield sorted(rows, key=lambda row: int(row["id"]))
            if left is not None and (left := left - len(some)) <= 0:
                return

    def images(self) -> Iterator[ImageRow]:
        """Stream the images as rows, in the order of ids."""
        for record in self.records("image"):
            path = None if record.path is None else os.fsencode(record.path)
            yield record.id, path, record.size, record.mtime_ns, record.sha256, record.width, record.height

    def paths(self, under: str | Path) -> Iterator[tuple[str, int, int | None, int | None]]:
        """Stream (path, id, mtime_ns, size) of the images inside that folder, in the order of the paths' bytes."""
        found = [
            (record.path or "", record.id, record.mtime_ns, record.size) for record in self.records("image", under)
        ]
        yield from sorted(found, key=lambda one: os.fsencode(one[0]))  # Milvus has no order but that of ids

    def paths_with_dots(self) -> list[tuple[str, int]]:
        """(path, id) of the entries whose path has a part `..`."""
        found = ((str(row["path"]), int(row["id"])) for row in self.rows('path != ""', ["id", "path"]))
        return [(path, key) for path, key in found if ".." in path.split("/")]

    def find_path(self, path: str | Path) -> Record | None:
        """The record of that path."""
        try:
            text = path_text(path)
        except InputError:  # no entry has it
            return None
        return next(self._rows_as_records(f"path == {quoted(text or '')}"), None)

    def find_sha256(self, sha256: str, limit: int = -1) -> list[Record]:
        """The records of that hash, in the order of ids, `limit` at most; copies of a file are several."""
        rows = self.rows(f"sha256 == {quoted(sha256)}", RECORD, limit=None if limit < 0 else limit)
        return [record_of(row) for row in rows]

    def find_paths(self, paths: Iterable[str]) -> dict[str, Record]:
        """The records of those paths that are there, by them."""
        return {str(record.path): record for record in self._records_with("path", paths)}

    def find_external(self, external_ids: Iterable[str]) -> dict[str, Record]:
        """The records of those external ids that are there, by them."""
        wanted = [check_external_id(one) for one in external_ids]
        return {str(record.external_id): record for record in self._records_with("external_id", wanted)}

    def _records_with(self, field: str, values: Iterable[str]) -> Iterator[Record]:
        for some in batches(dict.fromkeys(values), LOOKUP):
            yield from self._rows_as_records(among(field, some))

    def _rows_as_records(self, where: str) -> Iterator[Record]:
        return map(record_of, self.read_view().query(where, RECORD))

    def facet(
        self,
        key: str,
        limit: int = 10,
        filter: Mapping[str, Any] | None = None,  # noqa: A002
        modality: Modality = "image",
        patience: Patience | None = None,
    ) -> list[FacetValue]:
        """The most frequent values of a key, as index.local.collection has it; it reads the metadata of all entries."""
        if limit < 1:
            raise InputError(f"limit: must be at least 1, not {limit}")
        asked, where = parse_key(key), f'modality == "{known(modality)}"'
        if filter is not None:
            where += f" and ({self.read_view().select(parse_filter(filter), modality, patience)})"
        return facet_counts.values(self._metadata(where, patience), asked, limit)

    def facet_keys(self, modality: Modality = "image", patience: Patience | None = None) -> list[FacetKey]:
        """Every key of the metadata, by name. Raises as `facet`."""
        return facet_counts.keys(self._metadata(f'modality == "{known(modality)}"', patience))

    def folder_of(
        self, path: str | None = None, without: str | None = None, patience: Patience | None = None
    ) -> Folder:
        """As index.local.collection has it; it reads the paths of all entries."""
        paths = []
        for row in self.rows('path != ""', ["id", "path"]):
            if patience is not None and (reason := patience.over()):
                raise reason
            paths.append(row["path"])
        return folders.folder_of(paths, path, without)

    def _metadata(self, where: str, patience: Patience | None) -> Iterator[Mapping[str, Any]]:
        for row in self.rows(where, ["id", "metadata"]):
            if patience is not None and (reason := patience.over()):
                raise reason
            yield row["metadata"]


def inside(folder: str | Path) -> str:
    """The paths inside a folder, as an expression."""
    low, high = inside_of(folder)
    return f"path >= {quoted(low)} and path < {quoted(high)}"
