"""What an index in RAM lacks: the rows that were written and those that were deleted after a version of the catalog."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from base.errors import CollectionDamaged
from index.entry import MODALITIES, Modality
from index.local.catalog.sqlite.database import Connection
from index.local.catalog.tables import decode_vectors, read_counts, read_meta

BLOCK = 8192  # vectors handed over at a time


@dataclass(frozen=True, slots=True)
class Changes:
    """What happened after a version, as of one moment. Read it before its `with` ends."""

    version: int
    revision: int
    complete: bool  # False: the deletions since then are no longer all known, start from a newer state
    deleted: dict[Modality, list[int]]
    written: Iterator[tuple[Modality, NDArray[np.int64], NDArray[np.float16]]]  # modality, ids (n,), x16 (n, dim)
    counts: dict[Modality, int]
    meta: dict[str, Any]  # name, model, fingerprint, dim, created_at


def count_changes(db: Connection, since: int) -> dict[Modality, int]:
    """How many rows and deletions of each modality are newer than version `since`."""
    query = "SELECT count(*) FROM {} WHERE modality = ? AND version > ?"
    return {
        modality: sum(
            int(db.execute(query.format(table), (modality, since)).fetchone()[0]) for table in ("entries", "tombstones")
        )
        for modality in MODALITIES
    }


def read_changes(db: Connection, since: int, meta: dict[str, Any], path: Path) -> Changes:
    """What happened after version `since`, in the transaction that `db` is in.

    Args:
        db: a connection that reads as of one moment.
        since: 0 gives every row, by id within each modality.
        meta: of the catalog.
        path: of the catalog, for errors.

    Raises:
        CollectionDamaged: a deletion of no modality.
    """
    version, revision = int(read_meta(db, "version")), int(read_meta(db, "revision"))
    deleted: dict[Modality, list[int]] = {m: [] for m in MODALITIES}
    for modality, gone in db.execute("SELECT modality, id FROM tombstones WHERE version > ?", (since,)):
        if modality not in deleted:
            raise CollectionDamaged(f"{path}: a deletion of modality {modality!r}; restore it from a backup")
        deleted[modality].append(gone)
    complete = since == 0 or int(read_meta(db, "tombstones_since")) <= since <= version
    counts = read_counts(db)
    written = _written(db, int(meta["dim"]), since, [m for m in MODALITIES if counts[m]])
    return Changes(version, revision, complete, deleted, written, counts, meta)


def _written(
    db: Connection, dim: int, since: int, modalities: Sequence[Modality]
) -> Iterator[tuple[Modality, NDArray[np.int64], NDArray[np.float16]]]:
    if since:
        query = "SELECT id, vector FROM entries WHERE modality = ? AND version > ? ORDER BY version"
    else:
        query = "SELECT id, vector FROM entries WHERE +modality = ? AND +version > ? ORDER BY id"
    for modality in modalities:
        rows = db.execute(query, (modality, since))
        while block := rows.fetchmany(BLOCK):
            ids, blobs = zip(*block, strict=True)
            yield modality, np.array(ids, np.int64), decode_vectors(blobs, dim)
