"""Fields of rows set anew, vectors left: what may be set, and how two rows can exchange their paths."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from base.errors import EntryNotFound, InputError
from base.names import check_external_id
from index.local.catalog.checksums import rows_sealed
from index.local.catalog.facets import file_facets, unfile_facets
from index.local.catalog.sqlite.database import Connection
from index.local.catalog.tables import (
    FIELDS,
    encode_metadata,
    encode_path,
    json_ids,
    metadata_of,
    next_revision,
    note_written,
)

ENCODERS: dict[str, Callable[[Any], str | bytes | None]] = {
    "path": encode_path,
    "metadata": encode_metadata,
    "external_id": lambda given: None if given is None else check_external_id(given),
}


def check_fields(changes: Mapping[int, Mapping[str, Any]]) -> None:
    """InputError if a field is none that can be set."""
    known = set(FIELDS) - {"modality"}
    for fields in changes.values():
        if unknown := set(fields) - known:
            raise InputError(f"cannot update {', '.join(sorted(unknown))}; fields are {', '.join(sorted(known))}")


def update_rows(db: Connection, changes: Mapping[int, Mapping[str, Any]]) -> None:
    """Set the fields of rows by id, in a transaction that writes.

    Raises:
        EntryNotFound: a row is not there.
        InputError: a value cannot be stored, or another row has that path or external id.
    """
    described = json_ids(key for key, fields in changes.items() if "metadata" in fields)
    with rows_sealed(db, json_ids(changes)):
        next_revision(db)
        unfile_facets(db, metadata_of(db, described))
        # Paths are let go first: in a chain of moves (a to b, b to c) no order would do.
        for name in ("path", "external_id"):
            moved = [(int(key),) for key, fields in changes.items() if name in fields]
            db.executemany(f"UPDATE entries SET {name} = NULL WHERE id = ?", moved)
        for key, fields in changes.items():
            sets = ", ".join(f"{name} = CAST(? AS TEXT)" if name == "path" else f"{name} = ?" for name in fields)
            values = [ENCODERS[name](value) if name in ENCODERS else value for name, value in fields.items()]
            update = f"UPDATE entries SET {sets or 'id = id'} WHERE id = ?"
            if db.execute(update, (*values, int(key))).rowcount == 0:
                raise EntryNotFound(f"no entry with id {key}")
        file_facets(db, metadata_of(db, described))
        note_written(db, json_ids(changes))
