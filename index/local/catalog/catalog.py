"""The one truth of a collection: a SQLite file with a row for each image or text, its vector included.

Here is what is written, and how its vectors are read. Its tables are tables.py's, connections and transactions
sqlite/'s, rows as records records.py's, what is kept beside them settings.py's, filters and counts select/'s, the
vectors of another model next_vectors.py's. It does not search and does not know FAISS: `changes` hands over what an
index in RAM lacks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from base.errors import EntryNotFound, ModelMismatch
from index.batch import Batch
from index.entry import ChangePage, Entry, Modality
from index.local.catalog.changes import Changes, count_changes, read_changes
from index.local.catalog.checksums import (
    all_sealed,
    checksum,
    meta_sealed,
    seal_block,
)
from index.local.catalog.feed import forget_old, new_life, read_changes_after
from index.local.catalog.insert import write_batch
from index.local.catalog.integrity import problems
from index.local.catalog.keepsakes import Keepsakes
from index.local.catalog.next_vectors import NextVectors
from index.local.catalog.quota import check_entries, check_room, count_entries, sum_of_sizes
from index.local.catalog.records import Records
from index.local.catalog.select.selected import Selected
from index.local.catalog.settings import Settings
from index.local.catalog.sqlite.database import Connection, Database
from index.local.catalog.tables import (
    AMONG,
    APPLICATION_ID,
    SCHEMA,
    SCHEMA_VERSION,
    STATE,
    decode_vectors,
    delete_rows,
    json_ids,
    next_revision,
    next_version,
    read_counts,
    read_identity,
    read_meta,
)
from index.local.catalog.update import check_fields, update_rows
from index.local.catalog.upgrades import UPGRADES
from index.local.snapshot import Snapshot

BLOCK = 8192  # rows sealed at a time


class Catalog:
    """An open catalog. Its methods may be called from any thread; those that write take turns.

    Attributes:
        settings: what is kept of the collection itself.
        records: its rows as records.
        select: its entries by filters and keys.
        next: another model's vectors, until they are swapped in.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        """Open the catalog at `path`. CollectionNotFound, CollectionDamaged, or CollectionError for another schema.

        `read_only` as `Database` has it.
        """
        self.path = path
        self._name = path.parent.name  # of the collection: the catalog says the one that it was made under
        functions = {"checksum": checksum}
        self._db = Database(path, APPLICATION_ID, SCHEMA_VERSION, meta_sealed, functions, UPGRADES, read_only=read_only)
        self.settings = Settings(self._db)
        self.records = Records(self._db)
        self.select = Selected(self._db, path.parent, read_only=read_only)
        self.next = NextVectors(self._db, self._note_identity)
        try:
            with self._db.reading() as db:
                self._identify(db)
        except BaseException:
            self.close()
            raise

    @staticmethod
    def create(path: Path, meta: Mapping[str, str | int]) -> None:
        """Make a new, empty catalog at `path`, which must not exist. `meta` has the keys META."""
        values = {**meta, **STATE, "life": new_life()}
        rows = [(key, value, checksum(key, value)) for key, value in values.items()]
        Database.create(path, APPLICATION_ID, SCHEMA_VERSION, SCHEMA, "INSERT INTO meta VALUES (?, ?, ?)", rows)

    def close(self) -> None:
        """Close its connections. A second call does nothing."""
        self._db.close()

    def hurrying(self) -> AbstractContextManager[None]:
        """As `Database.hurrying`."""
        return self._db.hurrying()

    def copy_to(self, path: Path) -> None:
        """Write a consistent copy to a new file while others write. InputError if it exists, or CollectionError."""
        self._db.copy_to(path)

    def check(self) -> list[str]:
        """Every problem found by reading all of it, as one line each; none if it is sound."""
        return problems(self._db)

    def _identify(self, db: Connection) -> dict[str, Any]:
        # A swap, by any process, changes what the catalog is: whoever reads vectors looks again.
        self._note_identity(meta := read_identity(db))
        return meta

    def _note_identity(self, meta: dict[str, Any]) -> None:
        self.meta: dict[str, Any] = meta
        self.dim = int(meta["dim"])

    def identity(self) -> dict[str, Any]:
        """name, model, fingerprint, dim, created_at, as they are now."""
        with self._db.reading() as db:
            db.execute("BEGIN")
            return self._identify(db)

    def keepsakes(self, check_writable: Callable[[], None]) -> Keepsakes:
        """What is kept of entries whose files went."""
        return Keepsakes(self._db, check_writable)

    # --- writing: one transaction each, on disk when it returns ---

    def upsert(self, entries: Sequence[Entry], x: NDArray[np.float32], fingerprint: str | None = None) -> list[int]:
        """As `write`, of entries with vectors `x` (n, dim) float32."""
        return self.write(Batch.of(entries), x.astype(np.float16), fingerprint)

    def write(self, batch: Batch, x16: NDArray[np.float16], fingerprint: str | None = None) -> list[int]:
        """Write a batch with vectors `x16` (n, dim) and return the ids of its entries.

        With `fingerprint` they are of that model, and no other can be put in place between the look and the write.

        What is there by its path or external id keeps its id (`insert.write_batch`); of entries with the same the last
        one counts.

        Raises:
            InputError: a value cannot be stored, a path is there with the other modality, or a wanted `id` is taken.
            QuotaExceeded: there would be more entries than may be.
            ModelMismatch: the catalog is of another model than `fingerprint`.
        """
        with self._db.writing() as db:
            if fingerprint not in (None, read_meta(db, "fingerprint")):
                raise ModelMismatch("another model was put in place meanwhile: try again, with that one")
            before = count_entries(db)
            ids = write_batch(db, batch, x16, next_version(db))
            check_entries(db, self._name, before)
            return ids

    def update(self, changes: Mapping[int, Mapping[str, Any]]) -> None:
        """Set fields of rows, all or none, leaving vectors and modality. Two rows may exchange their paths."""
        check_fields(changes)
        with self._db.writing() as db:
            update_rows(db, changes)

    def delete(self, ids: Iterable[int]) -> int:
        """Delete rows; unknown ids are passed over. Returns how many went."""
        among = json_ids(ids)
        with self._db.writing() as db:
            return delete_rows(db, among, next_version(db))

    def set_snapshot(self, snapshot: Snapshot) -> None:
        """Name the newest snapshot."""
        with self._db.writing() as db:
            # Tombstones are kept back to the snapshot before: a reader a little behind need not load the new one.
            before = Snapshot.of_json(read_meta(db, "snapshot"))
            since = before.version if before else 0
            db.execute("DELETE FROM tombstones WHERE version <= ?", (since,))
            db.execute("UPDATE meta SET value = ? WHERE key = 'tombstones_since'", (since,))
            db.execute("UPDATE meta SET value = ? WHERE key = 'snapshot'", (snapshot.to_json(),))
            forget_old(db)
            next_revision(db)  # so that readers look, and stand on the new one

    def begin_anew(self) -> None:
        """Begin another life, as a collection restored from a backup does: cursors of before are of no use in it."""
        with self._db.writing() as db:
            db.execute("UPDATE meta SET value = ? WHERE key = 'life'", (new_life(),))

    def is_sealed(self) -> bool:
        """Whether every row has a checksum; those of a glimpse of before have none until they are written."""
        with self._db.reading() as db:
            return all_sealed(db)

    def seal(self) -> None:
        """Give a checksum to each row that has none, as it is; a block a transaction."""
        after: int | None = 0
        while after is not None:
            with self._db.writing() as db:
                after = seal_block(db, after, BLOCK)

    # --- reading ---

    def check_room(self, more: int) -> None:
        """QuotaExceeded if so many more entries would be too many."""
        with self._db.reading() as db:
            check_room(db, self._name, count_entries(db), more)

    def bytes_inside(self, folder: str) -> int:
        """Bytes of the files inside a folder that entries name."""
        with self._db.reading() as db:
            return sum_of_sizes(db, folder)

    def state(self) -> tuple[int, int]:
        """(version, revision): the last commit, by any process, that set or deleted a vector; that changed anything."""
        with self._db.reading() as db:
            version, revision = db.execute(
                "SELECT (SELECT value FROM meta WHERE key = 'version'), (SELECT value FROM meta WHERE key = 'revision')"
            ).fetchone()
            return version, revision

    def snapshot(self) -> Snapshot | None:
        """What `set_snapshot` was last given."""
        with self._db.reading() as db:
            return Snapshot.of_json(read_meta(db, "snapshot"))

    def count(self, modality: Modality | None = None) -> int:
        """How many rows there are."""
        with self._db.reading() as db:
            counts = read_counts(db)
        return sum(counts.values()) if modality is None else counts[modality]

    def last_id(self) -> int:
        """The highest id that a row has, or had; 0 if there was none."""
        with self._db.reading() as db:
            (highest,) = db.execute("SELECT max(seq) FROM sqlite_sequence WHERE name = 'entries'").fetchone()
        return int(highest or 0)

    def count_changes(self, since: int) -> dict[Modality, int]:
        """How many rows and deletions of each modality are newer than version `since`."""
        with self._db.reading() as db:
            return count_changes(db, since)

    @contextmanager
    def changes(self, since: int) -> Iterator[Changes]:
        """What an index that holds version `since` lacks; `since` 0 gives every row, by id within each modality."""
        with self._db.reading() as db:
            db.execute("BEGIN")  # all reads below see one moment
            meta = self._identify(db)
            yield read_changes(db, since, meta, self.path)

    def vectors(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """The vectors (n, dim) float32 of `ids`, in that order. EntryNotFound if one is not there."""
        with self._db.reading() as db:
            db.execute("BEGIN")
            dim = int(self._identify(db)["dim"])
            rows = dict(db.execute(f"SELECT id, vector FROM entries WHERE {AMONG}", (json_ids(ids),)))
        if absent := [key for key in ids if key not in rows]:
            raise EntryNotFound(f"no entry with id {absent[0]}")
        return decode_vectors([rows[key] for key in ids], dim).astype(np.float32)

    def vectors_of(self, ids: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Those of `ids` that are there, ascending, and their vectors (n, dim)."""
        with self._db.reading() as db:
            db.execute("BEGIN")
            dim = int(self._identify(db)["dim"])
            rows = db.execute(f"SELECT id, vector FROM entries WHERE {AMONG} ORDER BY id", (json_ids(ids),)).fetchall()
        here = np.array([key for key, _ in rows], np.int64)
        return here, decode_vectors([vector for _, vector in rows], dim).astype(np.float32)

    def written_since(self, version: int) -> tuple[int, NDArray[np.int64]]:
        """The version as it is now, and the ids (n,), ascending, of images whose vectors were set after `version`."""
        query = """
            SELECT group_concat(id) FROM entries INDEXED BY entries_version WHERE modality = 'image' AND version > ?
        """
        with self._db.reading() as db:
            db.execute("BEGIN")
            now = int(read_meta(db, "version"))
            ((text,),) = db.execute(query, (version,)) if now != version else ((None,),)
        return now, np.sort(np.fromstring(text, np.int64, sep=",")) if text else np.empty(0, np.int64)

    def changes_after(self, name: str, after: str | None, limit: int) -> ChangePage:
        """What happened to the entries of the collection `name` after a cursor (`feed.read_changes_after`)."""
        with self._db.reading() as db:
            db.execute("BEGIN")
            return read_changes_after(db, name, after, limit)
