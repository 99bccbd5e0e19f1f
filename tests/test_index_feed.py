"""The feed of changes: who follows it has what the collection has, whatever happens to either."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from base.errors import CursorGone, InputError
from index.backup import back_up, restore
from index.collection import Collection, Entry, Record, create_collection, delete_collection, open_collection
from index.local.catalog import catalog, feed
from index.local.catalog.catalog import Catalog
from index.local.layout import CATALOG

UNIT = np.array([1, 0], np.float32)


class Follower:
    """A second system: a table of records by id, and the cursor up to which they are right. Both outlive it."""

    def __init__(self) -> None:
        self.rows: dict[int, Record] = {}
        self.cursor: str | None = None
        self.fresh: set[int] | None = set()  # ids named since it began to read all; None: it follows
        self.anew = 0

    def read(self, made: Collection, limit: int) -> bool:
        """Take a page; whether there is more."""
        try:
            page = made.changes_after(self.cursor, limit)
        except CursorGone:
            self.cursor, self.fresh = None, set()
            self.anew += 1
            return True
        for change in page.changes:
            if change.record is None:
                assert change.event == "deleted"
                self.rows.pop(change.id, None)
            else:
                assert (change.record.id, change.record.external_id) == (change.id, change.external_id)
                self.rows[change.id] = change.record
                if self.fresh is not None:
                    self.fresh.add(change.id)
        if self.fresh is not None and not page.has_more:
            self.rows = {key: row for key, row in self.rows.items() if key in self.fresh}
            self.fresh = None
        self.cursor = page.cursor
        return page.has_more


NAMES = st.sampled_from(["a", "b", "c", "d", None])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.lists(NAMES, min_size=1, max_size=4)),
        st.tuples(st.just("update"), st.integers(0, 9)),
        st.tuples(st.just("rename"), st.integers(0, 9)),
        st.tuples(st.just("delete"), st.lists(st.integers(0, 9), min_size=1, max_size=3)),
        st.tuples(st.just("turn"), NAMES),
        st.tuples(st.sampled_from(["compact", "keep", "restore", "anew", "open", "swap"]), st.none()),
        st.tuples(st.just("read"), st.integers(1, 3)),
        st.tuples(st.just("read all"), st.none()),
    ),
    max_size=25,
)


class Owner:
    """Who changes the collection."""

    def __init__(self, data: Path) -> None:
        self.data, self.n, self.kept = data, 0, False
        self.made = self.create()

    def create(self) -> Collection:
        return create_collection(self.data, "any", model="m", fingerprint="0", dim=2)

    def entries(self, names: list[str | None], modality: str = "image") -> list[Entry]:
        first, self.n = self.n, self.n + len(names)
        named = dict.fromkeys(name for name in names if name)  # each once, and those without a name
        return [
            Entry(UNIT, modality, f"/{first + i}", metadata={"n": first + i}, external_id=name)
            for i, name in enumerate([*named, *(name for name in names if not name)])
        ]

    def ids(self, places: list[int]) -> list[int]:
        there = [record.id for record in self.made.records()]
        return [there[place % len(there)] for place in places] if there else []

    def do(self, step: str, what: object) -> None:
        if step == "add":
            self.made.upsert(self.entries(what))
        elif step == "turn":  # an external id goes over to an entry of the other modality
            self.made.upsert(self.entries([what], "text"))
            self.made.upsert(self.entries([what]))
        elif step == "update":
            self.n += 1
            self.made.update({key: {"metadata": {"n": self.n}} for key in self.ids([what])})
        elif step == "rename":
            self.n += 1
            self.made.update({key: {"path": f"/r{self.n}", "external_id": f"x{self.n}"} for key in self.ids([what])})
        elif step == "delete":
            self.made.delete(self.ids(what))
        elif step == "compact":
            self.made.compact()
        elif step == "swap":
            self.made.next.begin("m", str(int(self.made.fingerprint) + 1), 2)
            ids = [record.id for record in self.made.records()]
            if ids:
                self.made.next.write(ids, np.tile(UNIT, (len(ids), 1)))
            self.made.next.swap()
        elif step == "keep":
            if self.made.count():
                back_up(self.data, "any", self.data / "kept", overwrite=True)
                self.kept = True
        else:
            self.made.close()
            if step == "anew" or (step == "restore" and self.kept):
                delete_collection(self.data, "any")
            if step == "restore" and self.kept:
                restore(self.data, self.data / "kept", "any")
            self.made = self.create() if step == "anew" else open_collection(self.data, "any", writable=True)


@settings(max_examples=60)
@given(STEPS, st.integers(1, 5), st.integers(0, 3))
def test_who_follows_has_what_the_collection_has(tmp_path_factory, steps, limit, keep):
    """Through deletions that are forgotten, through another collection of the name, and one of a backup."""
    data = tmp_path_factory.mktemp("feed")
    owner, follower, reader = Owner(data), Follower(), open_collection(data, "any")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catalog, "forget_old", lambda db: feed.forget_old(db, keep))
        for step, what in [*steps, ("read all", None)]:
            if step == "read":
                follower.read(owner.made, what)
            elif step == "read all":
                while follower.read(owner.made, limit):
                    pass
                assert follower.rows == {record.id: record for record in owner.made.records()}
            else:
                owner.do(step, what)
        assert owner.made.check() == []
    reader.close()
    owner.made.close()


@contextmanager
def collection(data: Path) -> Iterator[Collection]:
    with create_collection(data, "any", model="m", fingerprint="f", dim=2) as made:
        yield made


def test_each_entry_stands_once_at_what_happened_to_it_last(tmp_path):
    with collection(tmp_path) as made:
        one, two, three = made.upsert(
            [Entry(UNIT, "image", f"/{n}", metadata={"n": n}, external_id=f"x{n}") for n in range(3)]
        )
        begun = made.changes_after()
        assert [(change.event, change.id) for change in begun.changes] == [
            ("created", each) for each in (one, two, three)
        ]
        assert not begun.has_more
        made.update({one: {"metadata": {"n": 7}}})
        made.update({one: {"metadata": {"n": 8}}})
        made.delete([two])
        [four] = made.upsert([Entry(UNIT, "text", text="four")])
        page = made.changes_after(begun.cursor)
        assert [(each.event, each.id, each.path, each.external_id) for each in page.changes] == [
            ("updated", one, "/0", "x0"), ("deleted", two, "/1", "x1"), ("created", four, None, None)
        ]  # fmt: skip
        assert [each.modality for each in page.changes] == ["image", "image", "text"]
        assert page.changes[0].record.metadata == {"n": 8}
        assert page.changes[1].record is None
        # each change has a cursor of its own
        assert made.changes_after(page.changes[0].cursor).changes == page.changes[1:]
        assert made.changes_after(page.cursor).changes == []
        # who begins now is told nothing of what is gone, and every entry that is there
        assert [each.id for each in made.changes_after().changes] == [three, one, four]
        now = made.changes_after("now")
        assert (now.changes, now.has_more) == ([], False)
        made.update({three: {}})
        assert [each.id for each in made.changes_after(now.cursor).changes] == [three]


def test_one_commit_of_many_goes_over_pages(tmp_path):
    with collection(tmp_path) as made:
        ids = made.upsert([Entry(UNIT, "image", f"/{n}") for n in range(25)])
        cursor, read, pages = None, [], 0
        while True:
            page = made.changes_after(cursor, 10)
            read += [each.id for each in page.changes]
            pages += 1
            cursor = page.cursor
            if not page.has_more:
                break
        assert (read, pages) == (ids, 3)


def test_a_wrong_cursor_and_one_of_another_life_are_told_apart(tmp_path):
    with collection(tmp_path) as made:
        made.upsert([Entry(UNIT, "image", "/1")])
        cursor = made.changes_after().cursor
        life = cursor.partition("-")[0]
        for wrong in ("", "x", cursor[:-1] + "g", f"{life}-0-{2**63:x}-0", cursor + " "):
            with pytest.raises(InputError, match=r"^after: is no cursor"):
                made.changes_after(wrong)
        with pytest.raises(InputError, match=r"^limit: "):
            made.changes_after(None, 0)
        for gone in (f"{'0' * 16}-0-1-0", f"{life}-0-99-0"):  # of another life; of a commit that was never made
            with pytest.raises(CursorGone, match="read it anew without `after`"):
                made.changes_after(gone)
        assert made.changes_after(cursor).changes == []


def test_a_catalog_of_before_begins_its_feed_with_all_that_is_there(tmp_path, monkeypatch):
    """Schema 2 is made by taking away what 3 added."""
    with collection(tmp_path) as made:
        ids = made.upsert([Entry(UNIT, "image", f"/{n}") for n in range(3)])
        path = made.folder / CATALOG
    with closing(sqlite3.connect(path)) as db:
        db.executescript(
            "DROP TABLE changes; DELETE FROM meta WHERE key IN ('life', 'changes_since'); "
            "DROP INDEX entries_external_id; ALTER TABLE entries DROP COLUMN external_id; "
            "ALTER TABLE tombstones DROP COLUMN external_id; PRAGMA user_version = 2"
        )
    with open_collection(tmp_path, "any", writable=True) as made:
        page = made.changes_after()
        assert [(each.event, each.id) for each in page.changes] == [("created", key) for key in ids]
        made.delete(ids[:1])
        assert [each.event for each in made.changes_after(page.cursor).changes] == ["deleted"]
        assert made.check() == []


def test_what_is_wrong_with_the_feed_is_found(tmp_path):
    with collection(tmp_path) as made:
        made.upsert([Entry(UNIT, "image", f"/{n}") for n in range(3)])
        with closing(Catalog(made.folder / CATALOG)) as opened:
            with opened._db.writing() as db:
                db.execute("DELETE FROM changes WHERE id = 1")
                db.execute("UPDATE changes SET revision = 99 WHERE id = 2")
            assert opened.check() == ["1 entries are not in the feed of changes", "1 changes are of no entry or commit"]
