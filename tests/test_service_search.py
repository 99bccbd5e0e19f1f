"""Searches over REST: what is asked for is found, in pages, by filters; and what cannot be asked."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from service_world import b64, error_of, world

from index.collection import Entry, create_collection, delete_collection, open_collection
from service.schemas.examples import SEARCH


def search(client, **query):
    answer = client.post("/v1/collections/pictures/search", json=query)
    assert answer.status_code == 200, answer.text
    return answer.json()["hits"]


def embed(client, **body):
    answer = client.post("/v1/embeddings", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


# --- words, images, entries ---


def test_search_by_text_gives_what_direct_search_gives(client, watched, files):
    hits = search(client, text="a red boat", limit=3)
    assert len(hits) == 3
    vectors = {hit["id"]: hit["score"] for hit in search(client, text="a red boat", limit=100)}
    xq = watched.encode_texts(["a red boat"])[0]
    with open_collection(files[0].parent.parent, "pictures") as collection:
        expected = collection.search(xq, 100)
    assert list(vectors) == [hit.id for hit in expected]
    np.testing.assert_allclose(list(vectors.values()), [hit.score for hit in expected], atol=1e-5)


def test_search_by_image_finds_that_image_first(client, files):
    for file in files:
        image = b64(file.read_bytes())
        for form in (image, f"data:image/png;base64,{image}", image.rstrip("=").replace("+", "-").replace("/", "_")):
            best = search(client, image=form)[0]
            assert best["path"] == str(file)
            assert best["score"] > 0.99
            assert best["metadata"] == {"caption": f"picture {file.stem}"}
            assert (best["width"], best["height"]) == (320, 240)


def test_search_by_id_leaves_it_out(client):
    hits = search(client, id=2, limit=5)
    assert len(hits) == 5
    assert 2 not in {hit["id"] for hit in hits}


def test_text_and_image_together_are_the_mean_of_their_vectors(client, watched, files):
    hits = search(client, text="snow", image=b64(files[0].read_bytes()), limit=6)
    parts = np.stack([watched.encode_texts(["snow"])[0], watched.encode_images([files[0]])[0]])
    mean = parts.mean(axis=0) / np.linalg.norm(parts.mean(axis=0))
    with open_collection(files[0].parent.parent, "pictures") as collection:
        expected = collection.search(mean, 6)
    assert [hit["id"] for hit in hits] == [hit.id for hit in expected]
    np.testing.assert_allclose([hit["score"] for hit in hits], [hit.score for hit in expected], atol=1e-5)


def test_texts_are_found_too(client):
    best = search(client, text="a red boat", modality="text")[0]
    assert best["text"] == "a red boat"
    assert best["score"] > 0.99
    assert best["thumbnail_url"] is None


def test_a_path_that_is_not_utf8_and_a_deleted_collection(client, watched, files):
    data = files[0].parent.parent
    vector = watched.encode_texts(["x"])[0]
    for text in ("first", "second"):  # deleted and made anew by another process: the service follows
        with create_collection(data, "odd", model="tiny", fingerprint="tiny", dim=32) as made:
            made.upsert([Entry(vector, "image", path="/tmp/caf\udce9.jpg"), Entry(vector, "text", text=text)])
        hits = client.post("/v1/collections/odd/search", json={"text": "x"}).json()["hits"]
        assert hits[0]["path"] == "/tmp/caf\ufffd.jpg"
        hits = client.post("/v1/collections/odd/search", json={"text": "x", "modality": "text"}).json()["hits"]
        assert hits[0]["text"] == text
        delete_collection(data, "odd")
        assert client.post("/v1/collections/odd/search", json={"text": "x"}).status_code == 404


def test_an_empty_collection_has_no_hits(client, files):
    create_collection(files[0].parent.parent, "empty", model="tiny", fingerprint="tiny", dim=32).close()
    assert client.post("/v1/collections/empty/search", json={"text": "x"}).json()["hits"] == []
    delete_collection(files[0].parent.parent, "empty")


def test_what_another_process_adds_is_found(tmp_path):
    with world(tmp_path, n=1) as (own, encoder, _):
        assert len(own.post("/v1/collections/pictures/search", json={"text": "x"}).json()["hits"]) == 1
        with open_collection(tmp_path, "pictures", writable=True) as writer:
            writer.upsert([Entry(encoder.encode_texts(["x"])[0], "image", path="/new.jpg")])
        assert own.post("/v1/collections/pictures/search", json={"text": "x"}).json()["hits"][0]["path"] == "/new.jpg"


# --- mixes, pages, filters, and what shapes a list ---


@pytest.fixture(scope="module")
def shop(here):
    """Products on a few shelves, each photographed twice, some a third time almost the same."""
    client, _, files = here
    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, 32)) + 1
    x[40:50] = x[:10] + 0.01 * rng.standard_normal((10, 32))
    entries = [
        Entry(row, "image", f"/shop/{i}.jpg", metadata={"product": {"id": i % 20}, "colour": ["red", "blue"][i % 2]})
        for i, row in enumerate(x.astype(np.float32))
    ]
    with create_collection(files[0].parent.parent, "shop", model="other", fingerprint="other", dim=32) as made:
        made.upsert(entries)

    def ask(**query):
        answer = client.post("/v1/collections/shop/search", json={"vector": [1.0] * 32, "limit": 100} | query)
        assert answer.status_code == 200, answer.text
        return answer.json()["hits"]

    yield ask
    delete_collection(files[0].parent.parent, "shop")


def ids_of(hits):
    return [hit["id"] for hit in hits]


def test_a_vector_finds_what_its_source_finds(client, watched):
    vector = embed(client, input="a red boat")["data"][0]["embedding"]
    assert ids_of(search(client, vector=vector)) == ids_of(search(client, text="a red boat"))


def test_parts_are_weighted_and_may_lead_away(client, watched, files):
    parts = [
        {"text": "snow", "weight": 2},
        {"image": b64(files[0].read_bytes())},
        {"text": "night", "weight": -0.5},
        {"id": 3, "weight": 0.25},
        {"vector": [1.0] * 32, "weight": 0.1},
    ]
    snow, night = watched.encode_texts(["snow", "night"])
    with open_collection(files[0].parent.parent, "pictures") as collection:
        third = collection.vector(3) / np.linalg.norm(collection.vector(3))
        ones = np.ones(32) / np.sqrt(32)
        mean = 2 * snow + watched.encode_images([files[0]])[0] - 0.5 * night + 0.25 * third + 0.1 * ones
        expected = [hit for hit in collection.search(mean.astype(np.float32), 6) if hit.id != 3]
    hits = search(client, query=parts)
    assert ids_of(hits) == [hit.id for hit in expected]
    np.testing.assert_allclose([hit["score"] for hit in hits], [hit.score for hit in expected], atol=1e-5)


def test_all_four_directions(client, files):
    image = b64(files[2].read_bytes())
    for asked, modality, expected in (
        ({"text": "a red boat"}, "text", "a red boat"),
        ({"image": image}, "text", None),
        ({"text": "a red boat"}, "image", None),
        ({"image": image}, "image", str(files[2])),
    ):
        hits = search(client, **asked, modality=modality)
        assert {hit["modality"] for hit in hits} == {modality}
        assert len(hits) == {"text": 2, "image": 6}[modality]
        assert expected in (None, hits[0]["text"], hits[0]["path"])


@pytest.mark.parametrize("shape", [{}, {"collapse": 0.99}, {"diversity": 0.4}, {"group_by": "product.id"}])
def test_pages_make_up_the_list(shop, shape):
    whole = ids_of(shop(**shape))
    assert len(set(whole)) == len(whole) >= 20
    pages = [ids_of(shop(**shape, limit=7, offset=offset)) for offset in range(0, 63, 7)]
    assert [key for page in pages for key in page] == whole


def test_what_shapes_a_list(shop):
    plain = shop()
    assert len(plain) == 60
    assert len(shop(collapse=0.99)) == 50
    one_each, two_each = (shop(group_by="product.id", group_size=n) for n in (1, 2))
    assert len(one_each) == len({hit["metadata"]["product"]["id"] for hit in one_each}) == 20
    assert len(two_each) == 40
    assert one_each[0] == plain[0]
    varied = shop(diversity=0.5)
    assert ids_of(varied) != ids_of(plain)
    assert sorted(ids_of(varied)) == sorted(ids_of(plain))
    middle = plain[30]["score"]
    assert ids_of(shop(score_threshold=middle)) == ids_of([hit for hit in plain if hit["score"] >= middle])


def test_a_filter_leaves_what_passes(shop):
    plain = shop()
    red = {"must": [{"key": "colour", "match": {"value": "red"}}]}
    assert shop(filter=red) == [hit for hit in plain if hit["metadata"]["colour"] == "red"]
    few = {"must": [{"key": "product.id", "range": {"lt": 3}}], "must_not": [red]}
    assert {hit["metadata"]["product"]["id"] for hit in shop(filter=few)} == {1}
    assert shop(filter={"must": [{"key": "colour", "match": {"value": "green"}}]}) == []


def test_entries_of_the_query_are_left_out(shop):
    best = shop()[0]["id"]
    assert shop(id=best)[0]["id"] != best
    query = [{"id": best}, {"id": 7, "weight": -0.5}]
    assert not {best, 7} & set(ids_of(shop(vector=None, query=query)))


def test_a_small_collection_has_no_relevance_and_no_cutoff(client):
    hits = search(client, text="x", cutoff="auto")
    assert len(hits) == 6
    assert {(hit["z"], hit["relevance"]) for hit in hits} == {(None, None)}


ZEROS = [0.0] * 32


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"text": "x", "query": [{"text": "x"}]}, None),
        ({"query": []}, "query"),
        ({"query": [{}]}, "query.0"),
        ({"query": [{"text": "x", "id": 1}]}, "query.0"),
        ({"query": [{"text": "x", "wieght": 1}]}, "query.0.wieght"),
        ({"query": [{"text": "x", "weight": "nan"}]}, "query.0.weight"),
        ({"query": [{"text": "x", "weight": -1}]}, None),
        ({"query": [{"text": "x"}, {"text": "x", "weight": -1}]}, None),
        ({"query": [{"text": "x"}, {"image": "AAAA"}]}, "query.1.image"),
        ({"query": [{"text": "x"}, {"vector": [1.0]}]}, "query.1.vector"),
        ({"vector": [1.0, 2.0]}, "vector"),
        ({"vector": []}, "vector"),
        ({"vector": ZEROS}, None),
        ({"vector": [1e300] * 32}, None),
        ({"text": "x", "offset": -1}, "offset"),
        ({"text": "x", "offset": 10_001}, "offset"),
        ({"text": "x", "cutoff": "never"}, "cutoff"),
        ({"text": "x", "collapse": 0}, "collapse"),
        ({"text": "x", "diversity": 1.1}, "diversity"),
        ({"text": "x", "group_by": ""}, "group_by"),
        ({"text": "x", "group_size": 0}, "group_size"),
        ({"text": "x", "score_threshold": 2}, "score_threshold"),
        ({"text": "x", "filter": []}, "filter"),
        ({"text": "x", "filter": {"must": [{"key": "a", "between": [1, 2]}]}}, "filter.must[0]"),
    ],
)
def test_what_cannot_be_searched_for_is_422(client, body, param):
    assert error_of(client.post("/v1/collections/pictures/search", json=body), 422)["param"] == param


def test_an_unknown_entry_in_a_query_is_404(client):
    error_of(client.post("/v1/collections/pictures/search", json={"query": [{"id": 99}]}), 404)


def test_the_examples_of_the_api_page_are_answered(client):
    page = (Path(__file__).parents[1] / "docs" / "api.md").read_text(encoding="utf-8")
    written = [json.loads(body) for body in re.findall(r"photos/search -H[^`]*?-d '(\{.*?\})'", page, flags=re.DOTALL)]
    assert len(written) >= 4
    put = client.put("/v1/collections/pictures/entries/sku-4711", json={"text": "a red shoe"})
    assert put.status_code == 201, put.text
    for body in [*written, *SEARCH["examples"]]:
        body = json.loads(json.dumps(body).replace('"id": 42', '"id": 2'))
        search(client, **body)
