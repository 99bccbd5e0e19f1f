"""Facets over REST."""

from __future__ import annotations

import numpy as np
import pytest
from service_world import error_of, world

from index.collection import Entry, open_collection

PATH = "/v1/collections/pictures"
RED = {"must": [{"key": "colour", "match": {"value": "red"}}]}


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """Of a service with 12 products, beside 6 pictures with a caption each."""
    folder = tmp_path_factory.mktemp("facets")
    with world(folder) as (made, _, _):
        with open_collection(folder, "pictures", writable=True) as pictures:
            pictures.upsert(
                [
                    Entry(
                        np.ones(32, np.float32), "image", f"/shop/{i}",
                        metadata={"colour": "blue" if i in (5, 11) else "red", "price": str(i / 2),
                                  "new": i == 7, "tags": ["a", "b"][: 1 + i % 2]},
                    )
                    for i in range(12)
                ]
            )  # fmt: skip
        yield made


def ask(client, path, **body):
    answer = client.post(f"{PATH}/{path}", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def pairs(hits):
    return [(hit["value"], hit["count"]) for hit in hits]


def test_values_of_a_key_with_and_without_a_filter(client):
    assert pairs(ask(client, "facet", key="colour")["hits"]) == [("red", 10), ("blue", 2)]
    assert pairs(ask(client, "facet", key="colour", limit=1)["hits"]) == [("red", 10)]
    assert pairs(ask(client, "facet", key="new", filter=RED)["hits"]) == [(False, 9), (True, 1)]
    assert pairs(ask(client, "facet", key="price", limit=2)["hits"]) == [(0, 1), (0.5, 1)]
    assert pairs(ask(client, "facet", key="tags", exact=False)["hits"]) == [("a", 12), ("b", 6)]
    assert ask(client, "facet", key="nothing")["hits"] == []
    assert ask(client, "facet", key="colour", modality="text")["hits"] == []


def test_a_folder_and_those_below_it(client):
    pictures = client.get(f"{PATH}/folders").json()["path"]
    assert pictures == "/"
    found = client.get(f"{PATH}/folders", params={"in": "/"}).json()
    assert {"name": "shop", "path": "/shop", "entries": 12} in found["folders"]
    assert found["entries"] == sum(each["entries"] for each in found["folders"])
    shop = client.get(f"{PATH}/folders", params={"in": "/shop/"}).json()
    assert (shop["entries"], shop["folders"]) == (12, [])
    assert client.get(f"{PATH}/folders", params={"in": "nowhere"}).json()["entries"] == 0
    assert client.get("/v1/collections/none/folders").status_code == 404


def test_several_keys_under_one_filter(client):
    found = ask(client, "facets", keys=["new", "colour", "new"], filter=RED)["facets"]
    assert [each["key"] for each in found] == ["new", "colour", "new"]
    assert pairs(found[1]["hits"]) == [("red", 10)]
    assert pairs(found[0]["hits"]) == pairs(found[2]["hits"]) == [(False, 9), (True, 1)]


def test_which_keys_there_are(client):
    keys = {key.pop("key"): key for key in client.get(f"{PATH}/facets").json()["keys"]}
    assert list(keys) == ["caption", "colour", "new", "price", "tags"]
    assert keys["price"] == {"entries": 12, "values": 12, "min": 0, "max": 5.5}
    assert keys["tags"] == {"entries": 12, "values": 2, "min": None, "max": None}
    assert keys["caption"]["entries"] == 6
    assert client.get(f"{PATH}/facets", params={"modality": "text"}).json()["keys"] == []


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("facet", {}, "key"),
        ("facet", {"key": "file.size"}, "key"),
        ("facet", {"key": "a[0].b"}, "key"),
        ("facet", {"key": "a", "limit": 0}, "limit"),
        ("facet", {"key": "a", "limit": 1001}, "limit"),
        ("facet", {"key": "a", "filter": {"must": [{"key": "a"}]}}, "filter.must[0]"),
        ("facets", {"keys": []}, "keys"),
        ("facets", {"keys": ["a"] * 33}, "keys"),
        ("facets", {"keys": ["a", "file.x"]}, "keys.1"),
        ("facets", {"key": "a"}, "keys"),
    ],
)
def test_what_cannot_be_counted_is_422(client, path, body, param):
    assert error_of(client.post(f"{PATH}/{path}", json=body), 422)["param"] == param


def test_no_such_collection_is_404(client):
    for answer in (
        client.get("/v1/collections/none/facets"),
        client.post("/v1/collections/none/facet", json={"key": "a"}),
    ):
        error_of(answer, 404)
