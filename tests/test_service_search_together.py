"""A search of several collections over REST: encoded once, merged, each hit with its collection; or refused by name."""

from __future__ import annotations

import numpy as np
import pytest
from service_world import error_of, world

from index.collection import Entry, create_collection

PATH = "/v1/search"


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A service with `pictures`, `more` of the same model, `empty`, and `other` of another model."""
    folder = tmp_path_factory.mktemp("together")
    with world(folder) as (client, encoder, files):
        for name, model, n in (("more", "tiny", 70), ("empty", "tiny", 0), ("other", "other", 3)):
            with create_collection(folder, name, model=model, fingerprint=model, dim=32) as made:
                x = np.random.default_rng(n).standard_normal((n, 32)).astype(np.float32)
                made.upsert([Entry(row, "image", f"/{name}/{i}", metadata={"n": i}) for i, row in enumerate(x)])
        yield client, encoder, files


def ask(client, *names, **body):
    answer = client.post(PATH, json={"collections": names, **body})
    assert answer.status_code == 200, answer.text
    return answer.json()["hits"]


def test_the_best_of_all_come_first_and_say_where_they_are(here):
    client, encoder, _ = here
    encoder.texts.clear()
    hits = ask(client, "pictures", "more", "empty", "more", text="a boat that nobody asked for", limit=30)
    assert encoder.texts == [["a boat that nobody asked for"]]  # once for all
    assert [hit["score"] for hit in hits] == sorted((hit["score"] for hit in hits), reverse=True)
    each = {
        name: client.post(f"/v1/collections/{name}/search", json={"text": "a boat that nobody asked for", "limit": 30})
        for name in ("pictures", "more")
    }
    expected = sorted(
        ((hit["score"], name, hit["id"]) for name, one in each.items() for hit in one.json()["hits"]), reverse=True
    )[:30]
    assert [(hit["collection"], hit["id"]) for hit in hits] == [(name, key) for _, name, key in expected]
    assert {hit["collection"] for hit in hits} == {"pictures", "more"}
    for hit in hits:
        assert hit["content_url"].startswith(f"/v1/collections/{hit['collection']}/images/{hit['id']}/content")
        assert 0 <= hit["relevance"] <= 1


def test_filters_pages_and_files_go_across(here):
    client, *_ = here
    whole = ask(client, "more", "pictures", vector=[1.0] * 32, limit=76)
    assert len(whole) == 76
    pages = [ask(client, "more", "pictures", vector=[1.0] * 32, limit=10, offset=at) for at in range(0, 80, 10)]
    assert [hit["path"] for page in pages for hit in page] == [hit["path"] for hit in whole]
    few = ask(client, "more", "pictures", vector=[1.0] * 32, filter={"must": [{"key": "n", "range": {"lt": 2}}]})
    assert {hit["path"] for hit in few} == {"/more/0", "/more/1"}
    [signed] = ask(client, "more", "pictures", vector=[1.0] * 32, limit=1, signed_urls=60)
    assert "signature=" in signed["content_url"]


@pytest.mark.parametrize(
    ("names", "body", "status", "code", "words"),
    [
        (["pictures", "other"], {"text": "x"}, 409, "model_mismatch", "'other'"),
        (["other"], {"text": "x"}, 409, "model_mismatch", "'other'"),
        (["pictures", "other"], {"vector": [1.0] * 32}, 409, "model_mismatch", "'pictures' and 'other'"),
        (["pictures", "nothing"], {"text": "x"}, 404, "collection_not_found", "'nothing'"),
        (["pictures"], {"id": 1}, 422, "invalid_request", "an id is of one collection"),
        (["pictures"], {"query": [{"id": 1}, {"text": "x"}]}, 422, "invalid_request", "an id is of one collection"),
        ([], {"text": "x"}, 422, "invalid_request", "collections"),
        (["../x"], {"text": "x"}, 422, "invalid_request", "collections.0"),
        (["pictures"], {}, 422, "invalid_request", "query"),
        (["pictures"], {"vector": [1.0]}, 422, "invalid_input", "vector"),
        (["pictures"], {"text": "x", "filter": {"must": [{"key": "a"}]}}, 422, "invalid_input", "filter.must"),
    ],
)
def test_what_cannot_be_searched_together_is_named(here, names, body, status, code, words):
    error = error_of(here[0].post(PATH, json={"collections": names, **body}), status)
    assert error["code"] == code
    assert words in error["message"]


def test_another_models_collection_alone_is_searched_by_vectors(here):
    assert {hit["collection"] for hit in ask(here[0], "other", vector=[1.0] * 32)} == {"other"}


def test_a_read_key_may_search(tmp_path):
    key = "0123456789abcdef0123456789abcdef"
    with world(tmp_path, 2, api_keys=f"reader:read:{key}") as (client, _, _):
        for path, body in (
            (PATH, {"collections": ["pictures"], "text": "x"}),
            ("/v1/collections/pictures/search/batch", {"searches": [{"text": "x"}]}),
        ):
            assert client.post(path, json=body).status_code == 401
            assert client.post(path, json=body, headers={"Authorization": f"Bearer {key}"}).status_code == 200
