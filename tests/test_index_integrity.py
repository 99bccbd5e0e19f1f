import re
import sqlite3
from contextlib import closing

import numpy as np
import pytest

from index.entry import Entry
from index.local.catalog.catalog import Catalog

DIM = 64
META = {"name": "n", "model": "m", "fingerprint": "f", "dim": DIM, "created_at": "2026-01-01T00:00:00+00:00"}


@pytest.fixture
def catalog(tmp_path):
    Catalog.create(tmp_path / "catalog.sqlite", META)
    x = np.random.default_rng(0).standard_normal((500, DIM)).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    entries = [Entry(row, "image", f"/{i}", metadata={"i": str(i), "tags": ["a", "b"]}) for i, row in enumerate(x)]
    with closing(Catalog(tmp_path / "catalog.sqlite")) as catalog:
        catalog.upsert(entries, x)
        catalog.delete([500])
        yield catalog


def test_a_sound_catalog_has_no_problems(catalog):
    assert catalog.check() == []


@pytest.mark.parametrize(
    ("harm", "problem"),
    [
        ("UPDATE entries SET vector = substr(vector, 1, 10) WHERE id IN (3, 9)", "2 entries .* not 64 values .id 3, 9"),
        ("UPDATE entries SET vector = zeroblob(128) WHERE id = 3", "1 entries .* not of length 1"),
        (
            "UPDATE entries SET vector = CAST(X'007E' || substr(vector, 3) AS BLOB) WHERE id = 3",
            "1 entries .* not of length 1",
        ),
        ("UPDATE entries SET modality = 'sound' WHERE id = 3", "modality 'sound'"),
        ("UPDATE entries SET metadata = '[' WHERE id = 3", "no JSON object"),
        ("UPDATE entries SET metadata = '[1]' WHERE id = 3", "no JSON object"),
        ("UPDATE entries SET version = 99 WHERE id = 3", "newer"),
        ("DELETE FROM facets WHERE id = 3 AND value = 'a'", r"1 entries lack facets .*\(id 3\)"),
        ("INSERT INTO facets VALUES ('image', 'tags', 'c', 3)", "1 facets belong to no"),
        ("UPDATE entries SET metadata = '{}' WHERE id = 3", "4 facets belong to no"),
        ("INSERT INTO tombstones VALUES (1, 3, 'image')", "1 entries are marked as deleted"),
        ("DELETE FROM meta WHERE key = 'dim'", "lacks dim"),
        ("UPDATE meta SET value = 'x' WHERE key = 'revision'", "revision of 'x'"),
        ("UPDATE meta SET value = '[]' WHERE key = 'snapshot'", "snapshot"),
    ],
)
def test_each_kind_of_harm_is_found(catalog, harm, problem):
    with closing(sqlite3.connect(catalog.path)) as db:
        db.execute(harm)
        db.commit()
    problems = catalog.check()
    assert any(re.search(problem, line) for line in problems), problems
    assert all("\n" not in line for line in problems)


def test_damaged_pages_are_problems_too(catalog):
    catalog.close()
    size = catalog.path.stat().st_size
    with catalog.path.open("r+b") as file:
        file.seek(size // 2)
        file.write(b"\xaa" * 8192)
    with closing(Catalog(catalog.path)) as damaged:
        assert any("damaged" in line for line in damaged.check())
