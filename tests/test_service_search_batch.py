"""Many searches in one request: each finds what it finds alone, a wrong one costs the others nothing."""

from __future__ import annotations

import base64
import json
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from service_world import error_of, world

from index.collection import Entry, create_collection, delete_collection, open_collection
from service.schemas.search import MAX_HITS, MAX_SEARCHES

ENTRIES = 90


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A client, the encoder and the files of a service with a collection large enough to be calibrated."""
    folder = tmp_path_factory.mktemp("batch")
    with world(folder, max_batch=8, max_texts=300) as (client, encoder, files):
        rng = np.random.default_rng(0)
        x = rng.standard_normal((ENTRIES, 32)).astype(np.float32) + encoder.encode_texts(["a thing"])[0]
        with open_collection(folder, "pictures", writable=True) as made:
            made.upsert(
                [
                    Entry(row, ("image", "text")[i % 5 == 4], f"/shop/{i}", f"text {i}", {"n": i, "kind": "abc"[i % 3]})
                    for i, row in enumerate(x)
                ]
            )
        yield client, encoder, files


def alone(client, body):
    return client.post("/v1/collections/pictures/search", json=body)


def batch(client, searches):
    answer = client.post("/v1/collections/pictures/search/batch", json={"searches": searches})
    assert answer.status_code == 200, answer.text
    return answer.json()["results"]


WORDS = st.sampled_from(["a red boat", "snow", "a house at night", "word " * 90])
LOOKED = st.one_of(
    st.fixed_dictionaries({"text": WORDS}),
    st.fixed_dictionaries({"id": st.sampled_from([1, 3, 20, 9999])}),
    st.fixed_dictionaries({"vector": st.sampled_from([[1.0] * 32, [0.5, -1.0] * 16, [1.0], [0.0] * 32])}),
    st.fixed_dictionaries({"image": st.sampled_from(["FILE", "AAAA"])}),
    st.fixed_dictionaries({"text": WORDS, "id": st.just(2)}),
    st.fixed_dictionaries({"query": st.just([{"text": "snow"}, {"id": 4, "weight": -0.5}])}),
    st.just({}),
)
FILTERS = st.sampled_from(
    [
        {"must": [{"key": "kind", "match": {"value": "a"}}]},
        {"must_not": [{"key": "n", "range": {"gte": 40}}]},
        {"must": [{"key": "n", "between": [1, 2]}]},
        None,
    ]
)
SHAPES = st.fixed_dictionaries(
    {},
    optional={
        "filter": FILTERS,
        "limit": st.sampled_from([1, 5, 40, -1]),
        "offset": st.sampled_from([0, 3]),
        "modality": st.sampled_from(["image", "text", "sound"]),
        "cutoff": st.just("auto"),
        "score_threshold": st.just(0.1),
        "group_by": st.just("kind"),
        "collapse": st.just(0.9),
        "diversity": st.just(0.5),
        "signed_urls": st.just(600),
        "unheard_of": st.just(1),
    },
)
SEARCHES = st.lists(st.tuples(LOOKED, SHAPES).map(lambda both: both[0] | both[1]), min_size=1, max_size=8)


@settings(max_examples=60)
@given(SEARCHES)
def test_each_finds_what_it_finds_alone_and_is_refused_as_it_is_alone(here, searches):
    client, _, files = here
    image = base64.b64encode(files[0].read_bytes()).decode()
    searches = json.loads(json.dumps(searches).replace("FILE", image))
    for i, (body, found) in enumerate(zip(searches, batch(client, searches), strict=True)):
        single = alone(client, body)
        if single.status_code != 200:
            error = single.json()["error"]
            place = error["param"] and f"searches.{i}.{error['param']}"
            assert found["hits"] == []
            assert (found["error"]["code"], found["error"]["param"]) == (error["code"], place or whole(found, i))
            assert found["error"]["type"] == error["type"]
            continue
        said = single.json()
        assert found["error"] is None
        assert (found["cut_texts"], len(found["warnings"])) == (said["cut_texts"], len(said["warnings"]))
        # vectors that were encoded in another company differ in their last bits
        for one, other in zip(found["hits"], said["hits"], strict=True):
            for name in ("score", "z", "relevance"):
                assert one.pop(name) == pytest.approx(other.pop(name), abs=1e-4)
            for name in ("content_url", "thumbnail_url"):  # signed at another time
                assert str(one.pop(name)).partition("&")[0] == str(other.pop(name)).partition("&")[0]
            assert one == other


def whole(found, i):
    """What is wrong with a search as a whole has its own place among the others."""
    return f"searches.{i}" if found["error"]["code"] == "invalid_request" else None


def test_texts_and_images_of_all_are_encoded_together(here):
    client, encoder, files = here
    encoder.texts.clear()
    encoder.images.clear()
    images = [base64.b64encode(file.read_bytes()).decode() for file in files[:4]]
    found = batch(client, [*({"text": f"thing {i} of many"} for i in range(40)), *({"image": one} for one in images)])
    assert [each["hits"][0]["path"] for each in found[40:]] == [str(file) for file in files[:4]]
    assert [len(texts) for texts in encoder.texts] == [40]
    assert sum(encoder.images) == 4


def test_all_are_of_the_same_moment(here):
    client, _, files = here
    data = files[0].parent.parent
    same = [{"vector": [1.0] * 32, "limit": 400, "filter": {"must": [{"key": "kind", "match": {"value": "a"}}]}},
            {"vector": [1.0] * 32, "limit": 400}] * 12  # fmt: skip
    stop = threading.Event()

    def write():
        with open_collection(data, "pictures", writable=True) as made:
            while not stop.is_set():
                ids = made.upsert([Entry(np.ones(32, np.float32), "image", metadata={"kind": "z"}) for _ in range(3)])
                made.delete(ids)
                stop.wait(0.01)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(10):
            plain = [[hit["id"] for hit in each["hits"]] for each in batch(client, same)[1::2]]
            assert all(ids == plain[0] for ids in plain)
            assert (len(plain[0]) - 6 - ENTRIES * 4 // 5) % 3 == 0  # a commit is seen whole
    finally:
        stop.set()
        writer.join()


def test_how_many_there_may_be(here):
    client, _, files = here
    path = "/v1/collections/pictures/search/batch"
    one = {"vector": [1.0] * 32, "limit": 1}
    assert len(batch(client, [one] * MAX_SEARCHES)) == MAX_SEARCHES
    for searches, code in (
        ([], "invalid_request"),
        ([one] * (MAX_SEARCHES + 1), "invalid_request"),
        ([one | {"limit": 1000}] * (MAX_HITS // 1000 + 1), "too_many"),
        ([{"query": [{"text": f"{i} {j}"} for j in range(4)]} for i in range(76)], "too_many"),
        ([{"image": base64.b64encode(files[0].read_bytes()).decode()}] * 9, "too_many"),
    ):
        error = error_of(client.post(path, json={"searches": searches}), 422)
        assert (error["code"], error["param"]) == (code, "searches")
    error_of(client.post("/v1/collections/nothing/search/batch", json={"searches": [one]}), 404)


def test_of_another_models_collection_only_words_and_images_are_refused(here):
    client, _, files = here
    data = files[0].parent.parent
    with create_collection(data, "other", model="other", fingerprint="other", dim=32) as made:
        made.upsert([Entry(np.ones(32, np.float32), "image", "/one.jpg")])
    answer = client.post(
        "/v1/collections/other/search/batch", json={"searches": [{"text": "x"}, {"vector": [1.0] * 32}]}
    )
    refused, found = answer.json()["results"]
    assert (refused["error"]["code"], refused["error"]["type"]) == ("model_mismatch", "conflict_error")
    assert [hit["path"] for hit in found["hits"]] == ["/one.jpg"]
    delete_collection(data, "other")
