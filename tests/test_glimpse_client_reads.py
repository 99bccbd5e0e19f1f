"""The Python client's searches of many and of several collections, its facets, and the feed of changes."""

from __future__ import annotations

import numpy as np
import pytest
from service_world import draw, serving, settings_for, tiny_encoder

from base.errors import CursorGone, EntryNotFound, InputError, ModelMismatch
from glimpse.client import Client, FacetKey, FacetValue, Folder, Part
from glimpse.client import searches as client_searches
from index.collection import Entry, create_collection
from service.app import create_app


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A client of a service with `pictures` of eight files, `more` of the same model and `other` of another."""
    data = tmp_path_factory.mktemp("reads")
    for name, n in (("more", 60), ("other", 2)):
        model = "other" if name == "other" else "tiny"
        with create_collection(data, name, model=model, fingerprint=model, dim=32) as made:
            x = np.random.default_rng(n).standard_normal((n, 32)).astype(np.float32)
            made.upsert([Entry(row, "image", f"/{name}/{i}", metadata={"n": i % 3}) for i, row in enumerate(x)])
    files = draw(data / "files", 8)
    with serving(create_app(settings_for(data), tiny_encoder(data))) as url, Client(url) as client:
        client.create_collection("pictures")
        client.add_images("pictures", files, tags=["drawn"])
        yield client, files


def test_many_searches_are_answered_each_as_alone(served, monkeypatch):
    client, files = served
    monkeypatch.setattr(client_searches, "SEARCHES", 4)
    asked = [{"text": f"thing {i}", "limit": 3} for i in range(9)] + [
        {"image": files[2], "limit": 1},
        {"id": 999},
        {"query": [Part(text="snow"), Part(id=1, weight=-0.5)]},
        {"vector": np.ones(32, np.float32), "offset": 2},
        {"text": "x", "limit": -1},
    ]
    found = client.search_many("pictures", asked)
    assert len(found) == len(asked)
    for search, result in zip(asked[:10], found[:10], strict=True):
        alone = client.search("pictures", **search)
        assert [hit.id for hit in result] == [hit.id for hit in alone]
        assert result.error is None
    assert found[9].hits[0].path == client.search("pictures", image=files[2]).hits[0].path
    assert isinstance(found[10].error, EntryNotFound)
    assert (found[10].error.status, found[10].hits) == (404, [])
    assert 1 not in [hit.id for hit in found[11]]
    assert isinstance(found[13].error, InputError)
    assert found[13].error.param == "searches.1.limit"  # of the request that it was in
    with pytest.raises(TypeError, match="a search has no txt"):
        client.search_many("pictures", [{"txt": "x"}])
    assert client.search_many("pictures", []) == []


def test_requests_hold_no_more_than_they_may():
    bodies = [{"text": "x", "limit": 3000}] * 5 + [{"image": "..."}] * 130 + [{"query": [{"image": "."}] * 40}] * 2
    parts = list(client_searches._requests(bodies))
    assert sum(map(len, parts)) == len(bodies)
    assert [len(part) for part in parts] == [3, 66, 64, 3, 1]


def test_several_collections_are_searched_as_one(served):
    client, _ = served
    found = client.search(["pictures", "more"], "a thing", limit=68)
    assert {hit.collection for hit in found} == {"pictures", "more"}
    assert len(found) == 68
    assert client.search("pictures", "a thing").hits[0].collection is None
    with pytest.raises(ModelMismatch, match="'other'"):
        client.search(["pictures", "other"], "a thing")


def test_values_are_counted(served):
    client, _ = served
    assert client.facets("more", ["n", "none"]) == {"n": [FacetValue(n, 20) for n in (0, 1, 2)], "none": []}
    few = {"must": [{"key": "n", "range": {"lt": 1}}]}
    assert client.facets("more", ["n"], filter=few, limit=1) == {"n": [FacetValue(0, 20)]}
    assert client.facet_keys("more") == [FacetKey("n", 60, 3, 0, 2)]
    assert [each.key for each in client.facet_keys("pictures")] == ["filename", "tags"]


def test_folders_are_counted(served):
    client, _ = served
    assert client.folder("more") == Folder("/more", 60, {})
    assert client.folder("more", "/") == Folder("/", 60, {"more": 60})
    assert client.folder("pictures") == Folder("/", 0, {})  # they were uploaded


def test_changes_are_followed(served):
    client, _ = served
    pages = client.follow("pictures", limit=5)
    first, second = next(pages), next(pages)
    assert [change.event for change in [*first, *second]] == ["created"] * 8
    assert first.has_more
    assert not second.has_more
    assert first.changes[0].entry == client.entry("pictures", first.changes[0].id)
    client.delete_entry("pictures", first.changes[0].id)
    [gone] = next(pages)
    assert (gone.event, gone.id, gone.entry) == ("deleted", first.changes[0].id, None)
    assert client.changes("pictures", gone.cursor, wait=0.1).changes == []
    assert client.changes("pictures", "now").changes == []
    with pytest.raises(CursorGone) as caught:
        client.changes("more", gone.cursor)
    assert caught.value.status == 410
