"""Parquet: out and in again is the same collection, and vectors that others made come in."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from base.errors import CollectionDamaged, CollectionExists, GlimpseError, InputError, ModelMismatch
from index.collection import Collection, Entry, create_collection, delete_collection, open_collection
from index.parquet import collections as parquet
from index.parquet.collections import export_parquet, import_parquet

DIM = 32


def create(data: Path, name: str = "pets", fingerprint: str = "abc") -> Collection:
    return create_collection(data, name, model="ViT-B-32/x", fingerprint=fingerprint, dim=DIM)


def vectors(n: int, seed: int = 0) -> np.ndarray:
    x = np.random.default_rng(seed).standard_normal((n, DIM)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def content(pets: Collection) -> tuple[list[Any], bytes]:
    records = list(pets.records())
    return records, pets.vectors([record.id for record in records]).tobytes()


FULL = Entry(
    vectors(1)[0], "image", "/photos/ä b.jpg", text="süß\n\0", metadata={"colours": ["red", {"x": None}], "n": 1.5},
    sha256="ab" * 32, mtime_ns=1_700_000_000_123_456_789, size=2**40, width=640, height=480,
    taken="2024-05-06T07:08:09", external_id="sku/1 ü",
)  # fmt: skip
NOT_UTF8 = "/photos/caf\udce9.jpg"  # what os.fsdecode makes of a Latin-1 name


def test_out_and_in_again_is_the_same_collection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "ROWS", 100)  # several row groups
    file = tmp_path / "pets.parquet"
    with create(tmp_path) as pets:
        pets.upsert([Entry(x, "image", f"/{i}.jpg") for i, x in enumerate(vectors(250, seed=1))])
        pets.upsert([FULL, Entry(vectors(1, seed=2)[0], "image", NOT_UTF8), Entry(vectors(1, seed=3)[0], "text")])
        pets.delete(range(20, 40))
        steps: list[tuple[int, int]] = []
        kept = export_parquet(tmp_path, "pets", file, progress=lambda *step: steps.append(step))
        assert (kept.entries, kept.bytes) == (233, file.stat().st_size)
        assert steps == [(100, 233), (200, 233), (233, 233)]
        assert sorted(path.name for path in tmp_path.iterdir()) == ["collections", "pets.parquet"]
        pets.set_title("Süße “Tiere”, 2024")
        export_parquet(tmp_path, "pets", file, overwrite=True)
        done = import_parquet(tmp_path, file, "again")
        assert (done.collection, done.entries, done.ignored) == ("again", 233, [])
        with open_collection(tmp_path, "again") as again:
            assert content(again) == content(pets)  # ids, fields and vectors to the last bit
            assert (again.model, again.fingerprint, again.dim) == (pets.model, pets.fingerprint, pets.dim)
            assert again.title == "Süße “Tiere”, 2024"
            assert again.check() == []
            assert [h.id for h in again.search(FULL.vector, 3)] == [h.id for h in pets.search(FULL.vector, 3)]
        with create(tmp_path, "other") as other:
            other.set_title("Other")
        import_parquet(tmp_path, file, into="other")
        with open_collection(tmp_path, "other") as other:
            assert other.title == "Other"  # it is called as it was, whoever comes in


def test_other_programs_can_read_it(tmp_path: Path) -> None:
    with create(tmp_path) as pets:
        pets.upsert([FULL, Entry(vectors(1, seed=2)[0], "image", NOT_UTF8)])
    export_parquet(tmp_path, "pets", tmp_path / "file")
    table = pq.read_table(tmp_path / "file")
    assert table.schema.field("vector").type == pa.list_(pa.float16(), DIM)
    np.testing.assert_allclose(table["vector"][0].as_py(), FULL.vector, atol=1e-3)
    first, second = table.drop(["vector"]).to_pylist()
    assert json.loads(first["metadata"]) == FULL.metadata
    assert (first["path"], first["path_bytes"], first["taken"]) == (FULL.path, None, FULL.taken)
    assert (second["path"], second["path_bytes"]) == ("/photos/caf\ufffd.jpg", b"/photos/caf\xe9.jpg")
    about = {k.decode(): v.decode() for k, v in table.schema.metadata.items() if k.startswith(b"glimpse.")}
    assert about == {
        "glimpse.name": "pets",
        "glimpse.model": "ViT-B-32/x",
        "glimpse.fingerprint": "abc",
        "glimpse.dim": str(DIM),
    }


WORDS = st.text(st.characters(codec="utf-8"), max_size=4)


@settings(max_examples=10, deadline=None)
@given(
    paths=st.sets(
        st.binary(min_size=1, max_size=8).filter(lambda name: b"\0" not in name and b".." not in name), max_size=5
    ),
    texts=st.lists(st.none() | WORDS, min_size=5, max_size=5),
    metadata=st.dictionaries(WORDS, st.none() | st.booleans() | st.integers() | WORDS, max_size=3),
)
def test_any_names_and_texts_come_back(
    paths: set[bytes], texts: list[str | None], metadata: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    data = tmp_path_factory.mktemp("data")
    with create(data) as pets:
        pets.upsert(
            [
                Entry(x, "text", path.decode(errors="surrogateescape"), text=text, metadata=metadata)
                for x, path, text in zip(vectors(len(paths)), sorted(paths), texts, strict=False)
            ]
        )
        export_parquet(data, "pets", data / "file")
        import_parquet(data, data / "file", "again")
        with open_collection(data, "again") as again:
            assert content(again) == content(pets)


def test_into_a_collection_that_is_there(tmp_path: Path) -> None:
    file = tmp_path / "file"
    with create(tmp_path) as pets:
        pets.upsert([Entry(x, "image", f"/{i}.jpg", text="old") for i, x in enumerate(vectors(5))])
        export_parquet(tmp_path, "pets", file)
    with create(tmp_path, "more") as more:
        more.upsert([Entry(x, "image", f"/{i}.jpg", text="new") for i, x in enumerate(vectors(10)) if i > 3])
    for _ in range(2):  # again: the same
        assert import_parquet(tmp_path, file, into="more").entries == 5
        with open_collection(tmp_path, "more") as more:
            assert {r.path: r.text for r in more.records()} == {
                f"/{i}.jpg": "old" if i < 5 else "new" for i in range(10)
            }
            record = more.find_path("/4.jpg")
            assert record
            assert record.id == 1
    create(tmp_path, "other", fingerprint="another").close()
    with pytest.raises(ModelMismatch):
        import_parquet(tmp_path, file, into="other")
    with pytest.raises(CollectionExists):
        import_parquet(tmp_path, file)  # its own name
    delete_collection(tmp_path, "pets")
    assert import_parquet(tmp_path, file).collection == "pets"


@pytest.mark.parametrize("kind", ["list<float>", "list<double>", "large_list<float>", "fixed<float>", "list<half>"])
def test_vectors_that_others_made(tmp_path: Path, kind: str) -> None:
    x = 3 * vectors(20)
    types = {
        "list<float>": pa.list_(pa.float32()),
        "list<double>": pa.list_(pa.float64()),
        "large_list<float>": pa.large_list(pa.float32()),
        "fixed<float>": pa.list_(pa.float32(), DIM),
        "list<half>": pa.list_(pa.float16()),
    }
    rows = list(x.astype(np.float16)) if kind == "list<half>" else x.tolist()
    columns = {"vector": pa.array(rows, types[kind]), "path": [f"/{i}" for i in range(20)], "price": [1.5] * 20}
    pq.write_table(pa.table(columns), tmp_path / "theirs.parquet")
    with pytest.raises(InputError, match="--model"):
        import_parquet(tmp_path, tmp_path / "theirs.parquet")
    done = import_parquet(tmp_path, tmp_path / "theirs.parquet", model="x", fingerprint="abc")
    assert (done.collection, done.entries, done.replaced, done.ignored) == ("theirs", 20, 0, ["price"])
    with open_collection(tmp_path, "theirs") as theirs:
        assert theirs.dim == DIM
        assert [theirs.search(v, 1)[0].record.path for v in x] == columns["path"]
        assert {r.modality for r in theirs.records()} == {"image"}


VECTORS = vectors(3).tolist()
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no vectors": ({"path": ["a", "b", "c"]}, "column `vector`"),
    "numbers": ({"vector": [1.0, 2.0, 3.0]}, "lists of floats"),
    "words": ({"vector": [["a"], ["b"], ["c"]]}, "lists of floats"),
    "no rows": ({"vector": pa.array([], pa.list_(pa.float32()))}, "one row"),
    "lengths": ({"vector": [VECTORS[0], VECTORS[1][:-1], VECTORS[2]]}, "32 values"),
    "a row that is null": ({"vector": [VECTORS[0], None, VECTORS[2]]}, "32 values"),
    "a value that is null": ({"vector": [VECTORS[0], [None, *VECTORS[1][1:]], VECTORS[2]]}, "32 values"),
    "NaN": ({"vector": [VECTORS[0], [float("nan")] * DIM, VECTORS[2]]}, "NaN"),
    "zeros": ({"vector": [VECTORS[0], [0.0] * DIM, VECTORS[2]]}, "zeros"),
    "id": ({"vector": VECTORS, "id": ["x", "y", "z"]}, "column id"),
    "id twice": ({"vector": VECTORS, "id": [1, 1, 2]}, "id"),
    "id below 1": ({"vector": VECTORS, "id": [0, 1, 2]}, "id"),
    "modality": ({"vector": VECTORS, "modality": ["video"] * 3}, "modality"),
    "metadata": ({"vector": VECTORS, "metadata": ["{}", "[1]", "{"]}, "JSON objects"),
    "metadata too deep": (
        {"vector": VECTORS, "metadata": ["{}", '{"a":' * 101 + "{}" + "}" * 101, "{}"]},
        "100 levels",
    ),
    "metadata far too deep": ({"vector": VECTORS, "metadata": ['{"a":' * 5000 + "1" + "}" * 5000] * 3}, "JSON"),
    "a way out": ({"vector": VECTORS, "path": ["/a", "/b/../../c", "/d"]}, "must be normal"),
    "a relative way out": ({"vector": VECTORS, "path": ["a", "..", "d"]}, "must be normal"),
    "nested metadata": ({"vector": VECTORS, "metadata": [{"a": 1}] * 3}, "column metadata"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_file_that_cannot_be_used_leaves_nothing(tmp_path: Path, what: str) -> None:
    columns, words = WRONG[what]
    pq.write_table(pa.table(columns), tmp_path / "file.parquet")
    with pytest.raises(InputError, match=words) as caught:
        import_parquet(tmp_path, tmp_path / "file.parquet", model="x", fingerprint="abc")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("collections/*"))


@pytest.mark.parametrize("tail", ["file/notes.txt", "other/ab/{}.png", "file/ab//{}.png", "file/ab/{}.png/x", "x"])
def test_only_its_own_uploads_are_paths_of_a_collection(tmp_path: Path, tail: str) -> None:
    own, other = (f"{tmp_path}/uploads/{end.replace('{}', 'ab' * 32)}" for end in ("file/ab/{}.png", tail))
    file = tmp_path / "file.parquet"
    pq.write_table(pa.table({"vector": VECTORS[:2], "path": [own, other]}), file)
    with pytest.raises(InputError, match="folder of uploads"):
        import_parquet(tmp_path, file, model="x", fingerprint="abc")
    assert not list(tmp_path.glob("collections/*"))
    pq.write_table(pa.table({"vector": VECTORS[:1], "path": [own]}), file)
    assert import_parquet(tmp_path, file, model="x", fingerprint="abc").entries == 1


def test_changed_bytes_are_an_error_of_one_line(tmp_path: Path) -> None:
    with create(tmp_path) as pets:
        pets.upsert([FULL])
    export_parquet(tmp_path, "pets", tmp_path / "file")
    whole = (tmp_path / "file").read_bytes()
    errors: list[str] = []
    for i in [*range(4, 300, 12), *range(len(whole) - 300, len(whole), 30)]:
        (tmp_path / "file").write_bytes(whole[:i] + bytes([whole[i] ^ 0x55]) + whole[i + 1 :])
        try:
            import_parquet(tmp_path, tmp_path / "file", f"n{i}")
        except GlimpseError as error:
            errors.append(str(error))
    assert len(errors) > 20
    assert not [error for error in errors if "\n" in error]


def test_what_is_no_parquet(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"no parquet")
    with pytest.raises(InputError, match="not a Parquet file"):
        import_parquet(tmp_path, tmp_path / "file")
    with pytest.raises(InputError, match="no such file"):
        import_parquet(tmp_path, tmp_path / "none")
    with create(tmp_path) as pets:
        pets.upsert([FULL])
        export_parquet(tmp_path, "pets", tmp_path / "pets.parquet")
        with pytest.raises(InputError, match="--force"):
            export_parquet(tmp_path, "pets", tmp_path / "pets.parquet")
    with pytest.raises(InputError, match="leave --model out"):
        import_parquet(tmp_path, tmp_path / "pets.parquet", "new", model="y", fingerprint="another")


def test_an_empty_collection(tmp_path: Path) -> None:
    create(tmp_path).close()
    assert export_parquet(tmp_path, "pets", tmp_path / "file").entries == 0
    assert import_parquet(tmp_path, tmp_path / "file", "again").entries == 0


def test_without_pyarrow_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "index.parquet.rows")
    with pytest.raises(InputError, match=r"Parquet needs pyarrow: .*pip install .*\[parquet\]"):
        importlib.import_module("index.parquet.rows")


def test_a_damaged_collection_is_not_exported(tmp_path: Path) -> None:
    with create(tmp_path) as pets:
        pets.upsert([FULL])
    catalog = tmp_path / "collections/pets/catalog.sqlite"
    catalog.write_bytes(catalog.read_bytes().replace("süß".encode(), "süb".encode() + b"x"))
    (tmp_path / "file").write_bytes(b"sound")
    with pytest.raises(CollectionDamaged, match="not what was written"):
        export_parquet(tmp_path, "pets", tmp_path / "file", overwrite=True)
    assert (tmp_path / "file").read_bytes() == b"sound"


def test_rows_that_take_the_place_of_another_are_counted(tmp_path: Path) -> None:
    table = pa.table({"vector": vectors(20).tolist(), "path": [f"/{i % 3}" for i in range(20)]})
    pq.write_table(table, tmp_path / "same.parquet")
    done = import_parquet(tmp_path, tmp_path / "same.parquet", model="x", fingerprint="abc")
    assert (done.entries, done.replaced) == (20, 17)
    done = import_parquet(tmp_path, tmp_path / "same.parquet", into="same", model="x", fingerprint="abc")
    assert (done.entries, done.replaced) == (20, 20)


def test_a_first_row_without_a_vector_is_told_as_any_other(tmp_path: Path) -> None:
    rows = [None, *map(list, vectors(3).tolist())]
    table = pa.table({"path": [f"/{i}.png" for i in range(4)], "vector": pa.array(rows, pa.list_(pa.float32()))})
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(InputError, match=f"column vector: every row must have {DIM} values"):
        import_parquet(tmp_path, tmp_path / "a.parquet", "pets", model="ViT-B-32/x", fingerprint="abc")
