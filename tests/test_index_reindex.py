"""Giving a collection another model: all at once, resumable, and nothing lost on the way."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_world import TINY, SmallBatches, plain_picture

from base.errors import CollectionError, InputError, ModelMismatch
from encoder.model.dual_encoder import DualEncoder
from encoder.model.load import build_clip, load_encoder
from index.collection import Collection, Entry, open_collection
from index.ingest.reindex import reindex
from index.ingest.sync import index_folders, open_or_create
from training.records.checkpoint import save_model


@pytest.fixture(scope="module")
def new_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of another model, with longer vectors."""
    folder = tmp_path_factory.mktemp("new")
    (folder / "wide.json").write_text(json.dumps(TINY | {"embed_dim": 48}))
    torch.manual_seed(1)
    save_model(folder / "run", build_clip(folder / "wide.json"))
    return folder / "run"


@pytest.fixture(scope="module")
def new(new_run: Path) -> DualEncoder:
    return load_encoder(new_run, device="cpu", precision="fp32")


@pytest.fixture
def data(tmp_path: Path, encoder: DualEncoder, colour_folder: Path) -> Path:
    """A data folder with a collection of 12 pictures and 2 texts."""
    with open_or_create(tmp_path / "data", "colours", encoder) as collection:
        index_folders(collection, encoder, [colour_folder])
        texts = ["a red thing", "a blue thing"]
        collection.upsert([Entry(x, "text", text=t) for t, x in zip(texts, encoder.encode_texts(texts), strict=True)])
    return tmp_path / "data"


def vectors_are_of(collection: Collection, encoder: DualEncoder) -> bool:
    """Whether every entry has the vector that this encoder gives it, and is found by it."""
    assert collection.fingerprint == encoder.fingerprint
    assert collection.dim == encoder.dim
    for record in collection.records():
        x = (encoder.encode_texts([record.text]) if record.text else encoder.encode_images([record.path]))[0]
        if collection.vector(record.id) @ x < 0.999:
            return False
        hits = collection.search(x, 14, record.modality)
        assert record.id in [hit.id for hit in hits if hit.score > 0.999]
    return True


def test_every_entry_gets_the_new_model_at_once(data: Path, encoder: DualEncoder, new: DualEncoder) -> None:
    seen: list[tuple[int, int]] = []
    with open_collection(data, "colours") as reader, open_collection(data, "colours", writable=True) as collection:
        query = encoder.encode_texts(["red"])[0]
        before = [(hit.id, hit.score) for hit in reader.search(query, 12)]
        ids = [record.id for record in collection.records()]

        def still_old(done: int, total: int) -> None:
            seen.append((done, total))
            assert [(hit.id, hit.score) for hit in reader.search(query, 12)] == before

        report = reindex(collection, new, progress=still_old)
        assert (report.encoded, report.resumed, report.unreadable, report.swapped) == (14, 0, [], True)
        assert seen[-1] == (14, 14)
        assert vectors_are_of(collection, new)
        assert [record.id for record in collection.records()] == ids
        assert collection.model == new.ref
        assert collection.next.info() is None
    with open_collection(data, "colours") as collection:
        assert vectors_are_of(collection, new)


def test_the_same_model_is_nothing_to_do(data: Path, encoder: DualEncoder) -> None:
    with open_collection(data, "colours", writable=True) as collection:
        report = reindex(collection, encoder)
        assert (report.encoded, report.swapped) == (0, False)
        assert collection.next.info() is None


def test_what_cannot_be_read_stops_the_swap_until_it_is_back_or_dropped(
    data: Path, encoder: DualEncoder, new: DualEncoder, colour_folder: Path, tmp_path: Path
) -> None:
    gone, broken = colour_folder / "red" / "0.png", colour_folder / "blue" / "1.png"
    gone.rename(tmp_path / "kept.png")
    broken.write_bytes(b"broken")
    with open_collection(data, "colours", writable=True) as collection:
        report = reindex(collection, new)
        assert not report.swapped
        assert {item["path"]: item["reason"] for item in report.unreadable} == {
            str(gone): "No such file or directory",
            str(broken): "not an image that glimpse knows",
        }
        assert vectors_are_of_texts(collection, encoder)
        with pytest.raises(CollectionError, match="2 entries"):
            collection.next.swap()

        (tmp_path / "kept.png").rename(gone)
        report = reindex(collection, new)
        assert (report.encoded, report.resumed, len(report.unreadable), report.swapped) == (1, 12, 1, False)
        report = reindex(collection, new, drop_unreadable=True)
        assert (report.encoded, report.dropped, report.swapped) == (0, 1, True)
        assert collection.count() == 13
        assert collection.find_path(broken) is None
        assert vectors_are_of(collection, new)


def vectors_are_of_texts(collection: Collection, encoder: DualEncoder) -> bool:
    """Whether the model is that encoder's, and the texts have its vectors."""
    texts = list(collection.records("text"))
    x = encoder.encode_texts([str(record.text) for record in texts])
    return collection.fingerprint == encoder.fingerprint and np.allclose(
        collection.vectors([record.id for record in texts]), x, atol=1e-3
    )


def test_a_disk_that_is_away_drops_nothing(data: Path, new: DualEncoder, colour_folder: Path, tmp_path: Path) -> None:
    with open_collection(data, "colours", writable=True) as collection:
        collection.delete([record.id for record in collection.records("text")])
        colour_folder.rename(tmp_path / "away")
        with pytest.raises(InputError, match="Is a disk not mounted"):
            reindex(collection, new, drop_unreadable=True)
        assert collection.count() == 12


def test_a_file_that_changed_is_encoded_as_it_is(
    data: Path, encoder: DualEncoder, new: DualEncoder, colour_folder: Path
) -> None:
    path = colour_folder / "red" / "0.png"
    shutil.copy(path, colour_folder / "was-red.png")
    plain_picture("yellow").save(path)
    with open_collection(data, "colours", writable=True) as collection:
        assert reindex(collection, new).changed == 1
        assert vectors_are_of(collection, new)
        report = index_folders(collection, new, [colour_folder])  # the copy of what it was must not take its vector
        assert (report.added, report.updated) == (1, 1)
        assert vectors_are_of(collection, new)


def test_what_is_written_while_it_rests_is_done_too(
    data: Path, encoder: DualEncoder, new: DualEncoder, colour_folder: Path
) -> None:
    class Interrupt(Exception):
        pass

    def stop(done: int, total: int) -> None:
        raise Interrupt

    with open_collection(data, "colours", writable=True) as collection:
        with pytest.raises(Interrupt):
            reindex(collection, SmallBatches(new), progress=stop)
        plain_picture("yellow").save(colour_folder / "blue" / "0.png")  # done already
        plain_picture("black").save(colour_folder / "new.png")
        index_folders(collection, encoder, [colour_folder])
        report = reindex(collection, new)
        assert (report.resumed, report.encoded, report.swapped) == (3, 12, True)
        assert vectors_are_of(collection, new)


WORKER = """
import sys, time
from pathlib import Path
from encoder.model.load import load_encoder
from index.collection import open_collection
from index.ingest.reindex import reindex
encoder = load_encoder(Path(sys.argv[2]), device="cpu", precision="fp32")
type(encoder).batch_size = 1
def tell(done, total):
    print(done, flush=True)
    time.sleep(0.02)
with open_collection(Path(sys.argv[1]), "colours", writable=True) as collection:
    reindex(collection, encoder, progress=tell)
"""


def test_a_kill_loses_no_work_and_serves_the_old_model(
    data: Path, encoder: DualEncoder, new: DualEncoder, new_run: Path
) -> None:
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(data), str(new_run)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert worker.stdout is not None
    done = 0
    while done < 5:
        done = int(worker.stdout.readline())
    worker.send_signal(signal.SIGKILL)
    worker.wait(10)
    worker.stdout.close()
    with open_collection(data, "colours", writable=True) as collection:
        assert vectors_are_of(collection, encoder)
        report = reindex(collection, new)
        assert report.resumed >= 5
        assert report.resumed + report.encoded == 14
        assert vectors_are_of(collection, new)


def test_what_others_write_meanwhile_is_encoded_too_at_last_with_them_kept_away(
    data: Path, encoder: DualEncoder, new: DualEncoder
) -> None:
    """As requests of a service write to the collection beside its job."""
    writing = threading.Lock()
    with open_collection(data, "colours", writable=True) as collection:

        def write(done: int, total: int) -> None:
            if done == total and not writing.locked():  # all is encoded: now another entry comes
                collection.upsert([Entry(encoder.encode_texts(["more"])[0], "text", text="more")])

        report = reindex(collection, new, progress=write, alone=writing)
        assert report.swapped
        assert report.encoded == collection.count() == 14 + 3
        assert vectors_are_of(collection, new)
        assert collection.check() == []


@pytest.mark.parametrize("dim", [32, 48])
def test_a_vector_of_the_model_before_is_not_written_after_the_swap(data: Path, encoder: DualEncoder, dim: int) -> None:
    """As from a request of a service, whose reindex puts another model in place in the midst of it."""

    class Late:
        """A vector that is made while the swap happens."""

        def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
            if collection.fingerprint == encoder.fingerprint:
                left = [record.id for record in collection.next.left(limit=100)]
                collection.next.write(left, np.eye(dim, dtype=np.float32)[: len(left)])
                collection.next.swap()
            return np.ones(32, np.float32)

    with open_collection(data, "colours", writable=True) as collection:
        collection.next.begin("another", "another-print", dim)
        with pytest.raises(ModelMismatch, match="another model was put in place meanwhile"):
            collection.upsert([Entry(Late(), "text", text="late")], encoder.fingerprint)  # type: ignore[arg-type]
        assert (collection.fingerprint, collection.dim, collection.count()) == ("another-print", dim, 14)
        with pytest.raises(ModelMismatch, match="is of another model"):
            collection.upsert([Entry(np.ones(32, np.float32), "text", text="late")], encoder.fingerprint)
        assert collection.check() == []
        assert collection.upsert([Entry(np.ones(dim, np.float32), "text", text="now")], "another-print") == [15]
        assert len(collection.search(np.ones(dim, np.float32), 20, "text")) == 3
