"""What a catalog keeps of the collection itself, beside its rows: index, quota, title, and what was learned of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from base.errors import CollectionDamaged, InputError
from index.config import IndexConfig, Quota
from index.local.catalog.quota import read_quota, write_quota
from index.local.catalog.sqlite.database import Database
from index.local.catalog.tables import read_json
from index.search.calibration import Rejection


class Settings:
    """Those of one catalog. Each is read, or written, in a transaction of its own."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def index_config(self) -> IndexConfig:
        """What `set_index_config` was last given; the defaults if nothing was."""
        with self._db.reading() as db:
            kept = read_json(db, "wish", ("kind", "recall"), whole=False)
        try:
            return IndexConfig(**kept or {})
        except (InputError, TypeError) as error:
            raise CollectionDamaged(f"the catalog's wish is damaged: restore it from a backup ({error})") from error

    def set_index_config(self, config: IndexConfig) -> None:
        """Keep the configuration of the collection's index."""
        self._write_json("wish", asdict(config))

    def quota(self) -> Quota:
        """What `set_quota` was last given; none if nothing was."""
        with self._db.reading() as db:
            return read_quota(db)

    def set_quota(self, quota: Quota) -> None:
        """Keep how much it may hold."""
        with self._db.writing() as db:
            write_quota(db, quota)

    def title(self) -> str | None:
        """What `set_title` was last given."""
        with self._db.reading() as db:
            rows = db.execute("SELECT value FROM meta WHERE key = 'title'").fetchall()
            return rows[0][0] if rows else None

    def set_title(self, title: str | None) -> None:
        """Keep what it is called where people read; None: by its name."""
        with self._db.writing() as db:
            if title is None:
                db.execute("DELETE FROM meta WHERE key = 'title'")
            else:  # a catalog of before has no such row
                put = "INSERT INTO meta (key, value) VALUES ('title', ?) ON CONFLICT (key) DO UPDATE SET value = ?"
                db.execute(put, [title] * 2)

    def rejection(self) -> Rejection | None:
        """What `set_rejection` was last given."""
        with self._db.reading() as db:
            kept = read_json(db, "bar", ("bar", "fingerprint", "rows", "doubt"))
        return None if kept is None else Rejection(threshold=kept.pop("bar"), **kept)

    def set_rejection(self, measured: Rejection) -> None:
        """Keep what texts must reach to fit anything."""
        fields = asdict(measured)
        self._write_json("bar", {"bar": fields.pop("threshold"), **fields})

    def places(self) -> dict[str, Any]:
        """What `set_places` was last given; {} if that is none, or not to be read: then it is found out anew."""
        with self._db.reading() as db:
            rows = db.execute("SELECT value FROM meta WHERE key = 'places'").fetchall()
        try:
            places = json.loads(rows[0][0]) if rows else {}
        except (TypeError, ValueError):
            return {}
        return places if isinstance(places, dict) else {}

    def set_places(self, places: Mapping[str, Any]) -> None:
        """Keep what runs over folders remember of them (index.ingest.places)."""
        with self._db.writing() as db:  # a catalog of before has no such row
            put = "INSERT INTO meta (key, value) VALUES ('places', ?) ON CONFLICT (key) DO UPDATE SET value = ?"
            db.execute(put, [json.dumps(places)] * 2)

    def _write_json(self, key: str, value: Mapping[str, Any]) -> None:
        with self._db.writing() as db:
            db.execute("UPDATE meta SET value = ? WHERE key = ?", (json.dumps(value), key))
