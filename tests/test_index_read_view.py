"""A collection under a search: the model changes, entries go, an index cannot be written."""

import logging
import threading

import numpy as np
import pytest
from service_world import until

from base.errors import CollectionError, InputError, ModelMismatch
from index.collection import Entry, create_collection, delete_collection, open_collection
from index.config import IndexConfig
from index.local.vectors import live, segment_files
from index.search.query import Query
from index.search.stages import run_each

DIM = 16


def unit(n, seed=0, dim=DIM):
    x = np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def shop(data, n=300, texts=0):
    made = create_collection(data, "shop", model="old", fingerprint="old-print", dim=DIM)
    made.upsert([Entry(x, "image", f"/{i}.jpg") for i, x in enumerate(unit(n))])
    if texts:
        made.upsert([Entry(x, "text", text=str(i)) for i, x in enumerate(unit(texts, seed=5))])
    return made


def gather(collection, dim=DIM, name="new"):
    collection.next.begin(name, f"{name}-print", dim)
    left = [record.id for record in collection.next.left(limit=10**6)]
    collection.next.write(left, unit(len(left), seed=9, dim=dim))


def test_scores_are_judged_by_the_new_models_rows_after_a_swap(tmp_path):
    with shop(tmp_path) as writer, open_collection(tmp_path, "shop") as reader:
        q = unit(1, seed=3)[0]
        before = reader.query(Query(q, limit=50))
        gather(writer)
        writer.next.swap()
        after = reader.query(Query(q, limit=50))
        with open_collection(tmp_path, "shop") as fresh:
            assert after == fresh.query(Query(q, limit=50))
        assert [hit.z for hit in after] != [hit.z for hit in before]


def test_many_queries_get_what_each_gets_alone(tmp_path):
    """Of both modalities, with a filter, with dead rows; z and relevance but for their rounding."""
    with shop(tmp_path, texts=60) as made:
        made.compact()
        made.delete(range(1, 40, 3))
        made.upsert([Entry(x, "image", f"/new/{i}.jpg") for i, x in enumerate(unit(30, seed=2))])
        chosen = {"must": [{"key": "file.folder", "match": {"value": "/new"}}]}
        queries = [
            Query(q, limit=5, modality=modality, filter=wanted, cutoff=cutoff)
            for q in unit(40, seed=3)
            for modality, wanted, cutoff in (("image", None, None), ("text", None, "auto"), ("image", chosen, None))
        ]
        for query, hits in zip(queries, run_each(made, queries), strict=True):
            alone = made.query(query)
            assert [(hit.id, hit.score) for hit in hits] == [(hit.id, hit.score) for hit in alone]
            assert [hit.z for hit in hits] == pytest.approx([hit.z for hit in alone], abs=1e-4)
            assert [hit.relevance for hit in hits] == pytest.approx([hit.relevance for hit in alone], abs=1e-4)
        assert run_each(made, []) == []
        xq = unit(120, seed=4)  # so many that a product is made
        assert made.search_many(xq, 7) == [made.search(q, 7) for q in xq]


def test_a_vector_of_the_old_model_is_refused_at_once_after_a_swap(tmp_path):
    with shop(tmp_path) as writer, open_collection(tmp_path, "shop") as reader:
        query = Query(unit(1, seed=3)[0], fingerprint="old-print")
        assert reader.query(query)
        gather(writer, dim=24)
        writer.next.swap()
        with pytest.raises(ModelMismatch, match="--model new"):
            reader.query(query)
        with pytest.raises(ModelMismatch):
            reader.check_model("old-print")
        assert (reader.model, reader.fingerprint, reader.dim) == ("new", "new-print", 24)
        with pytest.raises(InputError, match="24 values"):
            reader.query(Query(unit(1)[0]))


def test_searches_beside_changes_of_model_see_one_model_or_say_so(tmp_path):
    """Whatever a search meets, it is all of one model: hits with that model's scores, or ModelMismatch."""
    with shop(tmp_path) as writer, open_collection(tmp_path, "shop") as reader:
        models = {"old-print": unit(300)}
        done, wrong, seen = threading.Event(), [], []

        def search(seed):
            rng = np.random.default_rng(seed)
            while not done.is_set():
                fingerprint, x = list(models.items())[-1]
                i = int(rng.integers(300))
                try:
                    hits = reader.query(Query(x[i], limit=3, collapse=0.9, fingerprint=fingerprint))
                except ModelMismatch:
                    continue
                except Exception as error:  # whatever else is the defect looked for
                    wrong.append(repr(error))
                    return
                seen.append(fingerprint)
                if hits[0].id != i + 1 or hits[0].score < 0.99:
                    wrong.append((fingerprint, i, hits[0]))

        threads = [threading.Thread(target=search, args=(seed,)) for seed in range(3)]
        for thread in threads:
            thread.start()
        for turn in range(6):
            name, dim = f"m{turn}", (DIM, 24)[turn % 2]
            x = unit(300, seed=100 + turn, dim=dim)
            writer.next.begin(name, f"{name}-print", dim)
            writer.next.write(list(range(1, 301)), x)
            writer.next.swap()
            models[f"{name}-print"] = x
            until(lambda made=f"{name}-print": wrong or made in seen)
        done.set()
        for thread in threads:
            thread.join()
    assert not wrong
    assert len(set(seen)) >= 6


def test_an_entry_deleted_while_the_next_index_is_built_is_gone_after_the_swap(tmp_path, monkeypatch, caplog):
    with shop(tmp_path) as writer:
        gather(writer)
        build = live.build

        def slow(ids, rows, *args, **kwargs):
            writer.delete([1])
            return build(ids, rows, *args, **kwargs)

        monkeypatch.setattr(live, "build", slow)
        writer.next.swap()
        monkeypatch.undo()
        assert 1 not in {hit.id for hit in writer.search(unit(1)[0], 1000)}
        assert writer.check() == []
        writer.compact()
    caplog.clear()
    with caplog.at_level(logging.WARNING), open_collection(tmp_path, "shop") as reader:
        assert len(reader.search(unit(1)[0], 1000)) == 299
    assert caplog.records == []


def test_few_texts_do_not_stand_in_the_way_of_a_wish(tmp_path):
    with shop(tmp_path, n=1500, texts=180) as made:
        made.compact(IndexConfig("ivf-sq8"))
        index = made.info().index
        assert (index["image"]["kind"], index["text"]["kind"]) == ("ivf-sq8", "exact")
        gather(made)
        made.next.swap()
        assert made.info().index["image"]["kind"] == "ivf-sq8"


def test_an_index_that_cannot_be_written_leaves_no_files_and_the_old_one(tmp_path, monkeypatch):
    with shop(tmp_path, texts=50) as made:
        made.compact()
        before = {path.name for path in made.folder.iterdir()}

        def full(*args, **kwargs):
            raise CollectionError("the disk is full")

        for turn in (made.compact, lambda: made.compact(IndexConfig("hnsw-sq8"))):
            with monkeypatch.context() as patch:
                patch.setattr(made._catalog, "set_snapshot", full)
                with pytest.raises(CollectionError, match="full"):
                    turn()
            assert {path.name for path in made.folder.iterdir()} == before
        assert made.index_config == IndexConfig()
        made.next.begin("new", "new-print", DIM)
        made.next.write(list(range(1, 301)), unit(300))
        with pytest.raises(CollectionError, match="50 entries have no vector"):
            made.next.swap()
        assert {path.name for path in made.folder.iterdir()} == before


def test_a_damaged_snapshot_is_looked_at_once(tmp_path, monkeypatch, caplog):
    with shop(tmp_path) as made:
        made.compact()
    next((tmp_path / "collections/shop").glob("*.rows")).write_bytes(b"damaged")
    opened = []
    monkeypatch.setattr(live, "open_segment", lambda *args: opened.append(args) or segment_files.open_segment(*args))
    with open_collection(tmp_path, "shop") as reader:
        for _ in range(3):
            assert len(reader.search(unit(1)[0], 1000)) == 300
            with open_collection(tmp_path, "shop", writable=True) as writer:
                writer.update({1: {"metadata": {"turn": 1}}})
    assert len(opened) == 1
    assert caplog.text.count("anew from the catalog") == 1


def test_a_collection_deleted_under_a_reader_raises_nothing_in_the_background(tmp_path):
    with shop(tmp_path) as writer, open_collection(tmp_path, "shop") as reader:
        reader.refresh()
        writer.compact()
        reader.refresh()  # opens the new files beside this
        writer.close()
        delete_collection(tmp_path, "shop")
        with pytest.raises(CollectionError):
            reader.refresh()
