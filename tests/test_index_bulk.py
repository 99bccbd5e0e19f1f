"""Many images to Parquet files of vectors: cut the same way every time, each image once, and into a collection."""

from __future__ import annotations

import hashlib
import io
import json
import os
import sqlite3
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from colour_encoder import ColourEncoder
from tiny_world import COLOURS, plain_picture

from base.errors import CollectionExists, GlimpseError, InputError, ModelMismatch
from base.locks import LOCK, lock_file
from base.sources.left_out import LeftOut
from index.bulk import source as cutting
from index.bulk.embed import ShardReport, embed_shard, id_of
from index.bulk.into_collection import FolderImported, import_folder
from index.bulk.job import JobBusy, JobReport, Manifest, Tell, here, run_job
from index.bulk.parts import Outcome, write_part
from index.bulk.rows import images_of
from index.bulk.source import Shard, open_source
from index.collection import open_collection
from index.parquet.collections import import_parquet


def png(number: int) -> bytes:
    data = io.BytesIO()
    plain_picture(list(COLOURS)[number % len(COLOURS)], number // len(COLOURS)).save(data, "PNG")
    return data.getvalue()


def write_tar(file: Path, samples: dict[str, bytes]) -> Path:
    with tarfile.open(file, "w") as tar:
        for name, data in samples.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return file


@pytest.fixture
def shards(tmp_path: Path) -> str:
    """Three shards of ten pictures each, one of which is none; the pattern that names them."""
    folder = tmp_path / "shards"
    folder.mkdir()
    for s in range(3):
        samples: dict[str, bytes] = {}
        for i in range(10 * s, 10 * s + 10):
            samples[f"{i:03d}.png"] = png(i) if i != 15 else b"no picture"
            samples[f"{i:03d}.json"] = json.dumps({"number": i}).encode()
            samples[f"{i:03d}.txt"] = f"picture {i}".encode()
        write_tar(folder / f"{s:02d}.tar", samples)
    return f"{folder}/*.tar"


def run(out: Path, given: str | Path, encoder: ColourEncoder | None = None, **options: Any) -> JobReport:
    encoder = encoder or ColourEncoder()
    return run_job(out, open_source(str(given), **options), encoder, here(encoder), lambda images, shards: None)


def rows_of(out: Path) -> list[dict[str, Any]]:
    """The rows that a job has, by its manifest, in order."""
    manifest = Manifest.read(out)
    assert manifest
    return [row for file, _ in manifest.parts for row in pq.read_table(file).to_pylist()]


def test_each_image_of_shards_is_a_row_in_the_file_of_its_shard(shards: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = run(out, shards)
    assert (report.shards, report.done, report.before, report.images, report.encoded) == (3, 3, 0, 29, 29)
    broken = f"{tmp_path}/shards/01.tar/015.png"
    assert [each["path"] for each in report.unread] == [broken]
    manifest = Manifest.read(out)
    assert manifest
    assert (manifest.model, manifest.fingerprint, manifest.dim, manifest.missing) == ("colours", "colours-1", 8, 0)
    assert manifest.content["unread"] == report.unread
    assert manifest.content["counts"] == {"shards": 3, "done": 3, "images": 29, "unread": 1}
    assert [(file.name[:3], rows) for file, rows in manifest.parts] == [("00-", 10), ("01-", 9), ("02-", 10)]
    rows = rows_of(out)
    wanted = [i for i in range(30) if i != 15]
    assert [row["path"] for row in rows] == [f"{tmp_path}/shards/{i // 10:02d}.tar/{i:03d}.png" for i in wanted]
    assert [json.loads(row["metadata"]) for row in rows] == [{"caption": f"picture {i}", "number": i} for i in wanted]
    encoder = ColourEncoder()
    x = encoder.encode_images([png(i) for i in wanted])
    np.testing.assert_array_equal(np.array([row["vector"] for row in rows], np.float16), x.astype(np.float16))
    assert rows[0]["id"] == id_of(rows[0]["path"])
    assert len({row["id"] for row in rows}) == 29
    assert rows[0]["sha256"] == hashlib.sha256(png(0)).hexdigest()
    assert (rows[0]["width"], rows[0]["height"]) == (48, 40)
    assert pq.read_schema(manifest.parts[0][0]).field("vector").type == pa.list_(pa.float16(), 8)


def test_again_does_nothing_and_a_part_that_is_lost_is_made_anew(shards: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(out, shards)
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("*.parquet")}
    encoder = ColourEncoder()
    report = run(out, shards, encoder)
    assert (report.before, report.encoded, report.images, encoder.seen) == (3, 0, 29, 0)
    assert len(report.unread) == 1  # said again
    assert {path.name: path.stat().st_mtime_ns for path in out.glob("*.parquet")} == before
    first = sorted(out.glob("*.parquet"))[0]
    first.unlink()
    report = run(out, shards, encoder)
    assert (report.before, report.encoded, encoder.seen) == (2, 10, 10)
    assert {path.name for path in out.glob("*.parquet")} == set(before)


def test_a_part_that_an_interrupt_kept_from_being_told_of_is_counted(shards: str, tmp_path: Path) -> None:
    out, encoder = tmp_path / "out", ColourEncoder()

    def engine(out: Path, todo: Sequence[Shard], tell: Tell) -> Iterator[Outcome]:
        yield write_part(out, encoder, todo[0])
        write_part(out, encoder, todo[1])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_job(out, open_source(shards), encoder, engine, lambda images, shards: None)
    manifest = Manifest.read(out)
    assert manifest
    assert (len(manifest.parts), manifest.missing, manifest.content["state"]) == (2, 1, "incomplete")


def test_a_shard_that_changed_is_done_anew_and_its_old_part_goes(shards: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(out, shards)
    old = sorted(out.glob("01-*.parquet"))
    write_tar(tmp_path / "shards" / "01.tar", {"other.png": png(3)})
    report = run(out, shards)
    assert (report.before, report.encoded, report.images, report.unread) == (2, 1, 21, [])
    assert len(list(out.glob("*.parquet"))) == 3
    assert not old[0].exists()


def test_a_broken_shard_fails_alone(shards: str, tmp_path: Path) -> None:
    file = tmp_path / "shards" / "01.tar"
    whole = file.read_bytes()
    file.write_bytes(whole[:3000])
    out = tmp_path / "out"
    report = run(out, shards)
    assert (report.done, report.images) == (2, 20)
    assert [each["shard"] for each in report.problems] == [str(file)]
    assert "copy it again or leave it out" in report.problems[0]["problem"]
    assert not [path for path in out.iterdir() if path.name.startswith((".", "01")) and path.name != LOCK]
    manifest = Manifest.read(out)
    assert manifest
    assert manifest.missing == 1
    assert [each["state"] for each in manifest.content["shards"]] == ["done", "failed", "done"]
    file.write_bytes(whole)
    assert run(out, shards).done == 3


def test_a_folder_is_cut_so_that_one_image_more_changes_one_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cutting, "SHARD", 3)  # a shard that is cut by MOST, as few are, would move those behind it
    photos = tmp_path / "photos"
    photos.mkdir()
    for i in range(60):
        (photos / f"{i:03d}.png").write_bytes(png(i))
    (photos / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    (photos / "words.txt").write_text("no picture")
    out = tmp_path / "out"
    report = run(out, photos)
    assert report.shards > 5
    assert (report.images, [each["path"] for each in report.unread]) == (60, [str(photos / "broken.jpg")])
    before = {path.name for path in out.glob("*.parquet")}
    (photos / "030a.png").write_bytes(png(61))
    encoder = ColourEncoder()
    report = run(out, photos, encoder)
    assert report.images == 61
    assert encoder.seen == report.encoded <= 40
    assert report.before >= report.shards - 2
    after = {path.name for path in out.glob("*.parquet")}
    assert len(before - after) <= 1
    assert sorted(row["path"] for row in rows_of(out)) == sorted(map(str, photos.glob("*.png")))


def test_files_of_a_disk_that_was_away_are_embedded_when_it_is_back(colour_folder: Path, tmp_path: Path) -> None:
    out, away = tmp_path / "out", tmp_path / "away"
    (colour_folder / "broken.png").write_bytes(b"none")
    source = open_source(str(colour_folder))
    colour_folder.rename(away)
    report = run_job(out, source, ColourEncoder(), here(ColourEncoder()), lambda images, shards: None)
    assert (report.images, len(report.unread)) == (0, 13)
    again = run_job(out, source, ColourEncoder(), here(ColourEncoder()), lambda images, shards: None)
    assert (again.before, again.encoded) == (1, 0)
    away.rename(colour_folder)
    report = run(out, colour_folder)
    assert (report.images, report.encoded, len(report.unread)) == (12, 12, 1)
    assert run(out, colour_folder).before == 1  # what is no picture stays none


def test_a_table_says_which_images_and_what_is_said_of_them(colour_folder: Path, tmp_path: Path) -> None:
    table = tmp_path / "list.csv"
    table.write_text("image,title,n\ncolours/red/0.png,a red one,1\ncolours/gone.png,,\ncolours/blue/1.png,,2\n,x,\n")
    report = run(tmp_path / "out", table)
    assert [(row["path"], json.loads(row["metadata"])) for row in rows_of(tmp_path / "out")] == [
        (str(colour_folder / "blue" / "1.png"), {"n": "2"}),
        (str(colour_folder / "red" / "0.png"), {"title": "a red one", "n": "1"}),
    ]
    assert [each["path"] for each in report.unread] == [str(colour_folder / "gone.png")]
    assert report.left_out.count() == 1


@pytest.mark.parametrize("form", ["bytes", "struct"])
def test_parquet_with_the_bytes_of_images(form: str, tmp_path: Path) -> None:
    images: list[Any] = [png(0), None, b"none", png(3)]
    if form == "struct":  # as Hugging Face's datasets have them
        images = [{"bytes": data, "path": f"{i}.png"} for i, data in enumerate(images)]
    table = pa.table({"image": images, "label": [1, 2, 3, 4], "note": ["a", None, "c", "d"]})
    pq.write_table(table, tmp_path / "a.parquet")
    report = run(tmp_path / "out", tmp_path / "*.parquet")
    rows = rows_of(tmp_path / "out")
    assert [row["path"] for row in rows] == [f"{tmp_path}/a.parquet/00000001", f"{tmp_path}/a.parquet/00000004"]
    name = {"filename": "0.png"} if form == "struct" else {}
    assert json.loads(rows[0]["metadata"]) == name | {"label": 1, "note": "a"}
    assert [each["path"] for each in report.unread] == [f"{tmp_path}/a.parquet/00000003"]
    assert report.left_out.lines() == [f"1 rows without image, the first: row 2 of {tmp_path}/a.parquet"]


def test_parquet_of_others_with_values_that_python_cannot_read(tmp_path: Path) -> None:
    no_utf8 = pa.StringArray.from_buffers(2, pa.array([0, 2, 4], pa.int32()).buffers()[1], pa.py_buffer(b"\xff\xfeab"))
    columns = {
        "image": [png(0), png(1)],
        "number": [1, 2],
        "no_utf8": no_utf8,
        "far": pa.array([2**60, 0], pa.timestamp("us")),
        "fine": pa.array([1, 2], pa.timestamp("ns")),
        "raw": pa.array([b"x" * 16, b"y" * 16], pa.binary(16)),
    }
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    report = run(tmp_path / "out", tmp_path / "a.parquet")
    first, second = (json.loads(row["metadata"]) for row in rows_of(tmp_path / "out"))
    fine = [f"1970-01-01 00:00:00.00000000{n}" for n in (1, 2)]
    assert first == {"number": 1, "fine": fine[0]}
    assert second == {"number": 2, "no_utf8": "ab", "far": "1970-01-01 00:00:00", "fine": fine[1]}
    reason = "rows with a value that cannot be read beside the others"
    assert report.left_out.lines() == [f"1 {reason}, the first: row 1 of {tmp_path}/a.parquet"]


def test_names_in_a_shard_that_lead_out_of_it_or_are_not_plain(tmp_path: Path) -> None:
    names = ["../a.png", "./b.png", "/c//d.png", "e/../f.png", "..png/g.png"]
    shard = write_tar(tmp_path / "a.tar", {name: png(i) for i, name in enumerate(names)})
    out = tmp_path / "out"
    run(out, shard)
    paths = [f"{shard}/{name}" for name in ("a.png", "b.png", "c/d.png", "f.png", "..png/g.png")]
    assert [row["path"] for row in rows_of(out)] == paths
    import_folder(tmp_path, out, "pets")
    with open_collection(tmp_path, "pets") as pets:
        assert [record.path for record in pets.records()] == paths


@pytest.mark.parametrize("kind", ["gz", "xz"])
def test_a_packed_shard_that_is_damaged_fails_alone(kind: str, tmp_path: Path) -> None:
    for name in "ab":
        with tarfile.open(tmp_path / f"{name}.tar", f"w:{kind}") as tar:  # type: ignore[call-overload]
            for i in range(40):
                member = tarfile.TarInfo(f"{i}.png")
                member.size = 4000 if i else len(png(0))
                tar.addfile(member, io.BytesIO(np.random.default_rng(i).bytes(4000) if i else png(0)))
    damaged = bytearray((tmp_path / "a.tar").read_bytes())
    middle = len(damaged) // 2
    damaged[middle : middle + 3000] = bytes(each ^ 0x5A for each in damaged[middle : middle + 3000])
    (tmp_path / "a.tar").write_bytes(damaged)
    report = run(tmp_path / "out", tmp_path / "*.tar")
    assert (report.done, report.images) == (1, 1)
    assert [each["shard"] for each in report.problems] == [f"{tmp_path}/a.tar"]


def test_what_in_a_shard_is_no_image_is_counted(tmp_path: Path) -> None:
    samples = {"a.png": png(0), "b.txt": b"alone", "c.jpg": png(1), "c.json": b"{broken", "d.png": png(2)}
    shard = write_tar(tmp_path / "a.tar", samples)
    with tarfile.open(shard, "a") as tar:
        tar.addfile(tarfile.TarInfo("a.png"), io.BytesIO())
    [cut] = open_source(str(shard)).shards
    left_out = LeftOut()
    assert [found.path for found in images_of(cut, left_out)] == [f"{shard}/{n}" for n in ("a.png", "c.jpg", "d.png")]
    assert {reason: count for reason, (count, _) in left_out.found.items()} == {
        "samples without image": 1,
        "samples of a name that another one has": 1,
        "samples with what cannot be kept as JSON beside the image": 1,
    }


def test_the_plain_function_needs_no_job(shards: str) -> None:
    report = ShardReport()
    shard = open_source(shards).shards[1]
    found = [(record.path, x16) for records, x in embed_shard(ColourEncoder(), shard, report) for record, x16 in
             zip(records, x, strict=True)]  # fmt: skip
    assert len(found) == report.rows == 9
    assert len(report.unread) == 1


def test_another_model_another_source_and_anything_else_are_refused(shards: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(out, shards)
    other = ColourEncoder()
    other.fingerprint, other.ref = "colours-2", "other"
    with pytest.raises(ModelMismatch, match="holds vectors of colours, and other is another model"):
        run(out, shards, other)
    with pytest.raises(InputError, match="another source: give --out another folder"):
        run(out, tmp_path / "shards" / "00.tar")
    with pytest.raises(InputError, match=r"shards: holds 00\.tar, and no job of embedding"):
        run(tmp_path / "shards", shards)
    assert {path.suffix for path in (tmp_path / "shards").iterdir()} == {".tar"}
    with pytest.raises(InputError, match="a file; give --out"):
        run(tmp_path / "shards" / "00.tar", shards)
    held = lock_file(out / LOCK)
    try:
        with pytest.raises(JobBusy, match="embeds into it: wait until it ends, or stop it"):
            run(out, shards)
    finally:
        os.close(held)
    (out / "manifest.json").write_text("{")
    with pytest.raises(InputError, match=r"manifest\.json: damaged"):
        run(out, shards)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("none", "no such folder or file; give a folder of images"),
        ("none/*.tar", "no such shard"),
        ("none/*.parquet", "no such file"),
        ("empty", "no image in"),
        ("tars", r"for what is there give '.*/tars/\*\.tar\.gz'"),
        ("empty.csv", "the file is empty"),
    ],
)
def test_no_source(given: str, why: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "tars").mkdir()
    (tmp_path / "tars" / "a.tar.gz").touch()
    (tmp_path / "empty.csv").touch()
    with pytest.raises(InputError, match=why):
        open_source(str(tmp_path / given))


def test_a_full_disk_leaves_no_half_part(on_own_disk: Any) -> None:
    on_own_disk("""
from pathlib import Path
import numpy as np
from base.files import disk_problem
from index.bulk.job import here, run_job
from index.bulk.source import Shard, open_source
from colour_encoder import ColourEncoder
from test_index_bulk import png, write_tar
class Wide(ColourEncoder):
    dim, fingerprint = 4096, "wide"
    def encode_pixels(self, pixels):
        self.seen += 1
        return np.random.default_rng(self.seen).standard_normal((len(pixels), 4096)).astype(np.float32)
for s in range(2):
    write_tar(disk / f"{s}.tar", {f"{i:04d}.png": png(i) for i in range(300)})
out = disk / "out"
try:
    run_job(out, open_source(f"{disk}/*.tar"), Wide(), here(Wide()), lambda images, shards: None)
except OSError as error:
    assert "the disk is full; free some space" in disk_problem(error), error
else:
    raise SystemExit("it was written")
assert [path.name for path in out.iterdir() if path.name.startswith(".")] == [".lock"], [*out.iterdir()]
assert len([*out.glob("*.parquet")]) <= 1
""")


def test_into_a_collection_and_again_changes_nothing(shards: str, tmp_path: Path, store: str) -> None:
    out = tmp_path / "out"
    run(out, shards)
    assert import_folder(tmp_path, out, "pets") == FolderImported("pets", 29, added=29)
    with open_collection(tmp_path, "pets") as pets:
        before = list(pets.records()), pets.info().counts
        assert (pets.model, pets.fingerprint, before[1]["image"]) == ("colours", "colours-1", 29)
        assert pets.check() == []
        record = pets.find_path(f"{tmp_path}/shards/00.tar/003.png")
        assert record
        assert record.metadata == {"caption": "picture 3", "number": 3}
        x = ColourEncoder().encode_images([png(3)])[0]
        assert record.id in [hit.id for hit in pets.search(x, 4)]
        assert pets.search(x, 1)[0].score > 0.99
    assert import_folder(tmp_path, out, into="pets") == FolderImported("pets", 29, unchanged=29)
    with open_collection(tmp_path, "pets") as pets:
        assert (list(pets.records()), pets.info().counts) == before
    with pytest.raises(CollectionExists, match="or bring it up to date: --into pets"):
        import_folder(tmp_path, out, "pets")


def test_what_an_import_made_is_a_file_as_any_other(shards: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(out, shards)
    import_folder(tmp_path, out, "pets")
    file = tmp_path / "collections/pets/catalog.sqlite"
    assert [path.name for path in file.parent.glob("catalog.sqlite*")] == [file.name]
    with closing(sqlite3.connect(file)) as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    with open_collection(tmp_path, "pets", writable=True) as pets, open_collection(tmp_path, "pets") as reader:
        records = pets.records()
        gone = next(records)  # a reader in the middle of it keeps nobody from writing, nor a writer a reader
        pets.delete([gone.id])
        assert (reader.count(), pets.count(), pets.check()) == (28, 28, [])
        assert len(list(records)) == 28


def test_an_import_whose_rows_cannot_be_written_leaves_nothing(
    shards: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    run(out, shards)
    monkeypatch.setattr("index.parquet.collections.ROWS", 8)
    monkeypatch.setattr("index.bulk.into_collection.ROWS", 8)
    part = sorted(out.glob("*.parquet"))[-1]
    rows = pq.read_table(part)
    broken = rows.set_column(rows.schema.get_field_index("path"), "path", pa.array(["a\0b"] * len(rows)))
    pq.write_table(broken.replace_schema_metadata(rows.schema.metadata), part)
    monkeypatch.setattr("index.local.vectors.live.FRESH_ROWS", 0)
    monkeypatch.setattr("index.local.vectors.live.LiveIndex.compact", lambda *_: pytest.fail("an index for nothing"))
    with pytest.raises(InputError, match="zero byte"):
        import_folder(tmp_path, out, "pets")
    assert not [*(tmp_path / "collections").iterdir()]


def test_only_what_is_new_or_changed_is_imported(shards: str, tmp_path: Path, store: str) -> None:
    out = tmp_path / "out"
    (tmp_path / "shards" / "02.tar").rename(tmp_path / "later.tar")
    run(out, shards)
    import_folder(tmp_path, out, "pets")
    (tmp_path / "later.tar").rename(tmp_path / "shards" / "02.tar")
    write_tar(tmp_path / "shards" / "00.tar", {f"{i:03d}.png": png(i if i else 8) for i in range(10)})
    run(out, shards)
    with open_collection(tmp_path, "pets") as pets:
        ids = {record.path: record.id for record in pets.records()}
    done = import_folder(tmp_path, out, into="pets")
    assert done == FolderImported("pets", 29, added=10, changed=10, unchanged=9)
    with open_collection(tmp_path, "pets") as pets:
        now = {record.path: record.id for record in pets.records()}
        assert {path: now[path] for path in ids} == ids
        assert len(now) == 29
        assert pets.check() == []


def test_true_is_not_one(tmp_path: Path, store: str) -> None:
    def bring(said: dict[str, Any], **where: Any) -> FolderImported:
        write_tar(tmp_path / "a.tar", {"1.png": png(1), "1.json": json.dumps(said).encode()})
        os.utime(tmp_path / "a.tar", (len(said["new"]), 0 if said["new"][0] is True else 1))
        run(tmp_path / "out", tmp_path / "a.tar")
        return import_folder(tmp_path, tmp_path / "out", **where)

    bring({"new": [1], "in": {"stock": 0}}, name="pets")
    now = {"new": [True], "in": {"stock": False}}
    assert bring(now, into="pets") == FolderImported("pets", 1, changed=1)
    assert bring(now, into="pets") == FolderImported("pets", 1, unchanged=1)
    with open_collection(tmp_path, "pets") as pets:
        assert [json.dumps(record.metadata) for record in pets.records()] == [json.dumps(now)]


def test_a_part_alone_makes_a_collection_with_ids_of_its_own(shards: str, tmp_path: Path) -> None:
    run(tmp_path / "out", shards)
    part = sorted((tmp_path / "out").glob("*.parquet"))[0]
    assert pq.read_table(part)["id"][0].as_py() > 2**53  # which a page's numbers cannot hold
    import_parquet(tmp_path, part, "pets")
    with open_collection(tmp_path, "pets") as pets:
        assert [record.id for record in pets.records()] == [*range(1, 11)]


def test_what_is_no_job_or_of_another_model_is_not_imported(shards: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(InputError, match=r"has no manifest\.json; give the folder that `glimpse embed` wrote"):
        import_folder(tmp_path, tmp_path / "shards", "pets")
    run(out, shards)
    import_folder(tmp_path, out, "pets")
    other = ColourEncoder()
    other.fingerprint = "colours-2"
    run(tmp_path / "other", shards, other)
    with pytest.raises(ModelMismatch):
        import_folder(tmp_path, tmp_path / "other", into="pets")
    part = sorted(out.glob("*.parquet"))[1]
    part.write_bytes(sorted((tmp_path / "other").glob("*.parquet"))[1].read_bytes())
    with pytest.raises(InputError, match="not the part that"):
        import_folder(tmp_path, out, "again")
    part.write_bytes(b"PAR1")
    with pytest.raises(GlimpseError, match=part.name):
        import_folder(tmp_path, out, "again")
    part.unlink()
    with pytest.raises(InputError, match="no such file"):
        import_folder(tmp_path, out, "again")
    with pytest.raises(GlimpseError):
        open_collection(tmp_path, "again")
