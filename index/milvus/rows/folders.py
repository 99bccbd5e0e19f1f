"""The folders that the files of entries lie in, counted by reading all paths: Milvus has no counts of its own."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence

from index.entry import Folder
from index.milvus.rows.schema import inside_of


def folder_of(paths: Sequence[str], path: str | None, without: str | None) -> Folder:
    """A folder as index.local.catalog.select.folders counts it."""
    if without is not None:
        start, _ = inside_of(without)
        paths = [each for each in paths if not each.startswith(start)]
    if path is None:
        folders = {each.rpartition("/")[0] or "/" for each in paths if each.startswith("/")}
        path = os.path.commonpath(folders) if folders else "/"
    start, _ = inside_of(path)
    inside = [each.removeprefix(start) for each in paths if each.startswith(start)]
    below = Counter(name for name, slash, _ in (each.partition("/") for each in inside) if slash)
    return Folder(path, len(inside), dict(sorted(below.items(), key=lambda item: item[0].encode())))
