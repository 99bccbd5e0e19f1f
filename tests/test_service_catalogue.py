"""Entries by their owner's own ids over REST: put, replaced, changed, deleted, one and many; nothing stale is left."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import httpx
import numpy as np
import pytest
from fastapi.testclient import TestClient
from service_world import (
    WatchedEncoder,
    client_of,
    error_of,
    picture,
    serving,
    settings_for,
    tiny_encoder,
    until,
    world,
)
from test_service_fetch import site

import service.collections.entries
import service.collections.puts
import service.inference.fetch
from index.backup import back_up, restore
from index.collection import check_collection, open_collection
from service.app import create_app
from service.collections.metadata import Patch
from service.collections.writers import Writers
from service.http.json_bodies import MOST

ODD = [
    "shop/42/a",
    "\U0001f469\u200d\U0001f680 x",
    "مرحبا",
    "a?b#c%2F",
    "/",
    "a//b/",
    "delete",
    "é%",
    "+&=;",
    "images/1/x",
    "\ufffd",
]
ENTRIES = "/v1/collections/pictures/entries"


class Here(NamedTuple):
    client: TestClient
    encoder: WatchedEncoder
    data: Path

    def put(self, external_id: str, status: int = 201, **body: Any) -> Any:
        answer = self.client.put(at(external_id), json=body)
        assert answer.status_code == status, answer.text
        return answer.json() if status < 300 else error_of(answer, status)

    def get(self, external_id: str) -> Any:
        answer = self.client.get(at(external_id))
        assert answer.status_code == 200, answer.text
        return answer.json()

    def put_all(self, *items: Any) -> Any:
        answer = self.client.put(ENTRIES, json={"entries": items})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def found(self, **query: Any) -> list[str | None]:
        answer = self.client.post("/v1/collections/pictures/search", json={"limit": 1000, **query})
        assert answer.status_code == 200, answer.text
        return [hit["external_id"] for hit in answer.json()["hits"]]

    def files(self) -> list[str]:
        return sorted(path.name for path in (self.data / "uploads").rglob("*.*"))

    def thumbnails(self) -> set[str]:
        return {path.name[:64] for path in (self.data / "thumbnails").rglob("*.webp")}


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Here]:
    with world(tmp_path, n=2, max_entries=40) as (client, encoder, _):
        yield Here(client, encoder, tmp_path)
        assert check_collection(tmp_path, "pictures") == ([], [])  # sound, and no file too many


def at(external_id: str) -> str:
    return f"{ENTRIES}/{quote(external_id, safe='')}"


def coded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# --- one ---


def test_an_entry_is_made_replaced_and_left_alone(here: Here) -> None:
    first, second = picture(100), picture(101, kind="JPEG")
    made = here.put("sku-1", image=coded(first), metadata={"title": "a", "old": 1, "none": None}, tags=["x"])
    entry = made["entry"]
    assert (made["status"], entry["external_id"], entry["modality"]) == ("created", "sku-1", "image")
    assert entry["metadata"] == {"title": "a", "old": 1, "tags": ["x"]}
    assert here.found(image=coded(first))[0] == "sku-1"
    assert here.client.get(entry["thumbnail_url"]).status_code == 200
    runs = len(here.encoder.images)

    again = here.put("sku-1", 200, image=coded(first), metadata={"title": "a", "old": 1}, tags=["x"])
    assert (again["status"], again["entry"]) == ("unchanged", entry)
    said = here.put("sku-1", 200, image=coded(first), metadata={"title": "b"})
    assert (said["status"], said["entry"]["metadata"], said["entry"]["id"]) == ("replaced", {"title": "b"}, entry["id"])
    assert len(here.encoder.images) == runs  # neither was encoded

    new = here.put("sku-1", 200, image=coded(second), metadata={"title": "b"})
    assert (new["status"], new["entry"]["id"], new["entry"]["sha256"]) == ("replaced", entry["id"], sha(second))
    assert here.get("sku-1") == new["entry"]
    assert here.client.get(new["entry"]["content_url"]).content == second
    assert here.client.get(new["entry"]["thumbnail_url"]).status_code == 200
    assert here.thumbnails() == {sha(second)}
    assert [name[:64] for name in here.files()] == [sha(second)]
    with open_collection(here.data, "pictures") as collection:
        own = here.encoder.encode_images([second])[0]
        np.testing.assert_allclose(collection.vector(entry["id"]), own, atol=2e-3)


def test_nothing_is_written_where_nothing_is_new(here: Here) -> None:
    here.put("a", image=coded(picture(1)))
    here.put("b", text="red", metadata={"n": 1})
    catalog = here.data / "collections" / "pictures" / "catalog.sqlite-wal"
    before = catalog.stat().st_mtime_ns, here.files()
    assert here.put("a", 200, image=coded(picture(1)))["status"] == "unchanged"
    assert here.put("b", 200, text="red", metadata={"n": 1})["status"] == "unchanged"
    assert (catalog.stat().st_mtime_ns, here.files()) == before


def test_two_may_have_the_same_image_and_each_has_its_own_file(here: Here) -> None:
    sent = picture(7)
    uploaded = here.client.post("/v1/collections/pictures/images", files=[("file", ("x.png", sent))]).json()
    runs = len(here.encoder.images)
    a, b = (here.put(name, image=coded(sent), metadata={"name": name})["entry"] for name in ("a", "b"))
    assert len({uploaded["results"][0]["id"], a["id"], b["id"]}) == 3
    assert len(here.encoder.images) == runs  # the vector is known
    assert len(here.files()) == 3
    assert here.client.delete(at("a")).status_code == 204
    assert here.client.get(b["content_url"]).content == sent
    here.put("b", 200, image=coded(picture(8)))
    assert len(here.files()) == 2
    assert here.client.get(f"/v1/collections/pictures/images/{uploaded['results'][0]['id']}/content").content == sent


def test_a_damaged_file_is_mended_by_sending_it_again(here: Here) -> None:
    entry = here.put("a", image=coded(picture(1)))["entry"]
    Path(entry["path"]).write_bytes(b"no image")
    assert here.put("a", 200, image=coded(picture(1)))["status"] == "unchanged"
    assert here.client.get(entry["content_url"]).content == picture(1)


def test_a_text_becomes_an_image_and_back(here: Here) -> None:
    text = here.put("a", text="a red boat", metadata={"n": 1})["entry"]
    assert (text["modality"], text["text"], text["path"]) == ("text", "a red boat", None)
    assert here.found(text="a red boat", modality="text")[0] in ("a", None)  # two of the world have the same words
    image = here.put("a", 200, image=coded(picture(3)))
    assert (image["status"], image["entry"]["modality"], image["entry"]["metadata"]) == ("replaced", "image", {})
    assert "a" not in here.found(text="a red boat", modality="text")
    assert here.found(image=coded(picture(3)))[0] == "a"
    back = here.put("a", 200, text="x" * 2000)
    assert (back["entry"]["modality"], back["cut_texts"], len(back["warnings"])) == ("text", 1, 1)
    assert "a" not in here.found(image=coded(picture(3)))
    assert here.files() == []


def test_any_id_goes_through_a_url(tmp_path: Path) -> None:
    """On a real server: the one of the other tests decodes an address twice."""
    app = create_app(settings_for(tmp_path), tiny_encoder(tmp_path))
    with serving(app) as url, httpx.Client(base_url=url) as client:
        client.put("/v1/collections/pictures")
        for name in ODD:
            made = client.put(at(name), json={"text": "red"}).json()
            assert made["entry"]["external_id"] == name
            assert client.get(at(name)).json() == made["entry"]
            changed = client.patch(at(name), json={"metadata": {"n": 1}})
            assert (changed.status_code, changed.json()["metadata"]) == (200, {"n": 1})
            with open_collection(tmp_path, "pictures") as collection:
                assert collection.find_external([name])[name].metadata == {"n": 1}
            assert client.delete(at(name)).status_code == 204
            assert error_of(client.get(at(name)), 404)["code"] == "entry_not_found"
            assert error_of(client.delete(at(name)), 404)["code"] == "entry_not_found"
            assert error_of(client.patch(at(name), json={"metadata": {}}), 404)["code"] == "entry_not_found"
        template = app.state.service.paths.template(f"{ENTRIES}/a/b")
        assert template == "/v1/collections/{collection}/entries/{external_id}"
        assert error_of(client.post(at("a/b")), 405)
        assert client.post(at("a/b")).headers["allow"] == "DELETE, GET, HEAD, PATCH, PUT"
        assert f'route="{template}"' in client.get("/metrics").text


@pytest.mark.parametrize("name", ["%00", "a%09b", "%20a", "x" * 257, "a%2F..%2Fb", "caf%E9", ""])
def test_what_can_be_no_id_is_refused(here: Here, name: str) -> None:
    for method, body in (("PUT", {"text": "red"}), ("GET", None), ("DELETE", None), ("PATCH", {"metadata": {}})):
        error = error_of(here.client.request(method, f"{ENTRIES}/{name}", json=body), 422)
        assert error["param"] == "external_id"
        assert "Value error" not in error["message"]


def test_a_form_puts_a_file(here: Here) -> None:
    sent = picture(5, kind="WEBP")
    form = {"metadata": '{"title": "a"}', "tags": "x, y"}
    answer = here.client.put(at("a"), files={"file": ("x.webp", sent)}, data=form)
    assert (answer.status_code, answer.json()["entry"]["metadata"]) == (201, {"title": "a", "tags": ["x", "y"]})
    assert here.client.put(at("a"), files={"file": ("y.webp", sent)}, data=form).json()["status"] == "unchanged"
    assert error_of(here.client.put(at("a"), files={"other": ("", "")}, data=form), 422)["param"] == "other"
    assert error_of(here.client.put(at("a"), content=b"x"), 415)["code"] == "unsupported_media_type"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, None),
        ({"text": "a", "image": "b"}, None),
        ({"image": "bm8="}, "image"),
        ({"image_url": "ftp://x/y"}, "image_url"),
        ({"image_url": "https://example.org/x.jpg"}, "image_url"),
        ({"text": "a", "metadata": {"x": "y" * 20_000}}, "metadata"),
        ({"text": "a", "colour": "red"}, "colour"),
    ],
)
def test_what_cannot_be_put_leaves_what_is_there(here: Here, body: Any, param: str | None) -> None:
    here.put("a", image=coded(picture(1)), metadata={"n": 1})
    before = here.get("a")
    assert here.put("a", 422, **body)["param"] == param
    assert here.get("a") == before


# --- by address ---


def test_images_are_fetched_from_allowed_hosts_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service.inference.fetch, "is_public", lambda address: address.is_loopback)
    with site() as server:
        host = f"localhost:{server.server_port}"
        with world(tmp_path, n=1, fetch_hosts=host) as (client, encoder, _):
            here = Here(client, encoder, tmp_path)
            made = here.put("a", image_url=f"http://{host}/picture", metadata={"n": 1})
            assert made["entry"]["sha256"] == sha(picture(1))
            assert here.put("a", 200, image_url=f"http://{host}/picture", metadata={"n": 1})["status"] == "unchanged"
            assert "404" in here.put("a", 422, image_url=f"http://{host}/missing")["message"]
            assert "GLIMPSE_FETCH_HOSTS" in here.put("a", 422, image_url="http://example.org/x")["message"]
            many = [{"external_id": str(i), "image_url": f"http://{host}/picture"} for i in range(20)]
            done = here.put_all(*many, {"external_id": "bad", "image_url": f"http://{host}/missing"})
            assert (done["created"], done["failed"]) == (20, 1)
            assert done["results"][-1]["error"]["param"] == "image_url"


def test_what_is_like_an_entry_is_found_by_its_owners_id(here: Here) -> None:
    made = here.put("shoe/1", text="a red boat")["entry"]["id"]
    by_id = here.found(id=made, modality="text")
    assert "shoe/1" not in by_id
    assert here.found(external_id="shoe/1", modality="text") == by_id
    part = {"external_id": "shoe/1", "weight": 2}
    assert here.found(query=[part, {"text": "blue"}], modality="text") == here.found(
        query=[{"id": made, "weight": 2}, {"text": "blue"}], modality="text"
    )
    search = "/v1/collections/pictures/search"
    missing = here.client.post(search, json={"external_id": "none"})
    assert error_of(missing, 404) == {
        "message": "no entry with external_id 'none'", "type": "not_found_error", "param": None,
        "code": "entry_not_found",
    }  # fmt: skip
    assert error_of(here.client.post(search, json={"external_id": " x"}), 422)["param"] == "external_id"
    batch = [{"external_id": "none"}, {"external_id": "shoe/1", "modality": "text"}]
    none, some = here.client.post(f"{search}/batch", json={"searches": batch}).json()["results"]
    assert (none["error"]["code"], none["hits"]) == ("entry_not_found", [])
    assert [hit["external_id"] for hit in some["hits"]] == by_id
    together = {"collections": ["pictures"], "external_id": "shoe/1"}
    assert "of one collection" in error_of(here.client.post("/v1/search", json=together), 422)["message"]


# --- many ---


def items(*numbers: int, **more: Any) -> list[dict[str, Any]]:
    return [{"external_id": f"n{n}", "image": coded(picture(n)), "metadata": {"n": n}, **more} for n in numbers]


def test_a_manifest_answers_for_each_and_one_bad_one_costs_the_others_nothing(here: Here) -> None:
    here.put_all(*items(0, 1))
    changed = items(1)[0] | {"metadata": {"n": 1, "new": True}}
    done = here.put_all(
        items(0)[0], changed, *items(2, 3), {"external_id": "t", "text": "red"},
        {"external_id": "bad", "image": "bm8="}, {"external_id": "..", "text": "x"}, {"text": "nobody's"}, "no object",
        {"external_id": "n2", "text": "twice"}, {"external_id": "both", "text": "x", "image": "y"},
        {"external_id": "large", "text": "x", "metadata": {"x": "y" * 20_000}}, {"external_id": 7, "text": "x"},
    )  # fmt: skip
    assert [(one["external_id"], one["status"]) for one in done["results"]] == [
        ("n0", "unchanged"), ("n1", "replaced"), ("n2", "created"), ("n3", "created"), ("t", "created"),
        ("bad", "failed"), ("..", "failed"), (None, "failed"), (None, "failed"), ("n2", "failed"), ("both", "failed"),
        ("large", "failed"), (None, "failed"),
    ]  # fmt: skip
    assert [done[status] for status in ("created", "replaced", "unchanged", "failed")] == [3, 1, 1, 8]
    for one in done["results"]:
        assert (one["error"] is None) == (one["status"] != "failed") == (one["id"] is not None)
        assert one["error"] is None or one["error"].keys() == {"message", "type", "param", "code"}
    errors = {one["external_id"]: one["error"] for one in done["results"] if one["error"]}
    assert (errors["bad"]["code"], errors["bad"]["param"]) == ("invalid_image", "image")
    assert errors["n2"]["param"] == errors[".."]["param"] == "external_id"
    assert errors["both"]["message"] == "give exactly one of text, image and image_url"  # of the item, not of the body
    assert here.get("n1")["metadata"] == {"n": 1, "new": True}
    assert here.get("t")["text"] == "red"


def test_json_lines_are_a_manifest_too(here: Here) -> None:
    lines = [json.dumps(one) for one in items(*range(20))]
    body = "\n".join([*lines[:10], "", "{broken", *lines[10:], json.dumps({"external_id": "مرحبا", "text": "red"})])
    for kind in ("application/x-ndjson", "application/jsonl"):
        answer = here.client.put(ENTRIES, content=body.encode(), headers={"Content-Type": kind})
        assert answer.status_code == 200, answer.text
        done = answer.json()
        assert done["results"][10]["error"]["code"] == "invalid_json"
        assert done["failed"] == 1
        assert len(done["results"]) == 22
    assert done["unchanged"] == 21
    assert set(here.found(image=coded(picture(3)))) - {None} == {f"n{n}" for n in range(20)}


def test_lines_are_counted_before_any_is_read(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[bytes] = []
    monkeypatch.setattr("service.routes.collections.manifest._line", read.append)
    for end in (b"\n", b"\r", b"\r\n"):
        for lines, status, code in ((41, 422, "too_many"), (MOST + 1, 413, "too_large")):
            answer = here.client.put(
                ENTRIES, content=(b"1" + end) * lines, headers={"Content-Type": "application/jsonl"}
            )
            assert error_of(answer, status)["code"] == code
    assert read == []


def test_what_is_no_manifest_is_refused_whole(here: Here) -> None:
    for body in ([], {"entries": {}}, {"entries": [], "more": 1}, {"entries": []}, {"entries": items(1) * 41}):
        assert error_of(here.client.put(ENTRIES, json=body), 422)["param"] == "entries"
    assert error_of(here.client.put(ENTRIES, content=b"{"), 415)["code"] == "unsupported_media_type"
    json_type = {"Content-Type": "application/json"}
    assert error_of(here.client.put(ENTRIES, content=b"{", headers=json_type), 422)["code"] == "invalid_json"


def test_where_others_write_what_is_done_is_told(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """A manifest in parts: others come in between. The first part is refused as a whole; a later one is waited for."""
    write, calls = Writers.write, [0]

    async def busy(self: Writers, name: str, work: Any) -> Any:
        calls[0] += 1
        if calls[0] in refused:
            raise service.collections.writers.CollectionLocked("others write")
        return await write(self, name, work)

    monkeypatch.setattr(Writers, "write", busy)
    refused = {1}
    answer = here.client.put(ENTRIES, json={"entries": items(*range(20))})
    assert (answer.headers["retry-after"], error_of(answer, 409)["code"]) == ("5", "collection_locked")
    calls[0], refused = 0, {2}
    assert here.put_all(*items(*range(20)))["created"] == 20
    monkeypatch.setattr("service.routes.collections.manifest.TRIES", 1)
    calls[0], refused = 0, {2, 3, 4}
    done = here.put_all(*items(*range(20, 40)), *items(*range(5), metadata={}))
    assert (done["created"], done["failed"], done["replaced"]) == (16, 9, 0)
    assert done["results"][-1]["error"]["code"] == "collection_locked"
    calls[0], refused = 0, set()
    done = here.put_all(*items(*range(20, 40)), *items(*range(5), metadata={}))
    assert (done["created"], done["unchanged"], done["replaced"]) == (4, 16, 5)


def test_what_failed_for_the_moment_is_done_again_with_its_key_and_what_failed_by_itself_is_not(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, calls, refused = Writers.write, [0], {2}

    async def busy(self: Writers, name: str, work: Any) -> Any:
        calls[0] += 1
        if calls[0] in refused:
            raise service.collections.writers.CollectionLocked("others write")
        return await write(self, name, work)

    def put(key: str, *entries: Any) -> tuple[Any, bool]:
        answer = here.client.put(ENTRIES, json={"entries": entries}, headers={"Idempotency-Key": key})
        assert answer.status_code == 200, answer.text
        return answer.json(), "idempotency-replayed" in answer.headers

    monkeypatch.setattr(Writers, "write", busy)
    monkeypatch.setattr("service.routes.collections.manifest.TRIES", 0)
    first, _ = put("k", *items(*range(20)))
    assert (first["created"], first["failed"]) == (16, 4)
    again, replayed = put("k", *items(*range(20)))
    assert (again["created"], again["unchanged"], again["failed"], replayed) == (4, 16, 0, False)
    assert put("k", *items(*range(20))) == (again, True)
    wrong = {"external_id": "wrong", "image": coded(b"no picture")}
    first, _ = put("w", *items(0), wrong)
    assert first["failed"] == 1
    assert put("w", *items(0), wrong) == (first, True)
    far = {"external_id": "far", "image_url": "https://example.org/x"}
    assert [put("f", far)[1] for _ in range(2)] == [False, False]


def delete(here: Here, status: int = 200, **body: Any) -> Any:
    answer = here.client.post(f"{ENTRIES}/delete", json=body)
    assert answer.status_code == status, answer.text
    return answer.json() if status == 200 else error_of(answer, status)


def patch(here: Here, status: int = 200, **body: Any) -> Any:
    answer = here.client.patch(ENTRIES, json=body)
    assert answer.status_code == status, answer.text
    return answer.json() if status == 200 else error_of(answer, status)


def names(here: Here) -> list[str]:
    with open_collection(here.data, "pictures") as collection:
        return [record.external_id for record in collection.records() if record.external_id]


SMALL = {"must": [{"key": "n", "range": {"lt": 3}}]}


def test_what_passes_a_filter_is_deleted_in_steps(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.routes.collections.catalogue.STEP", 2)
    here.put_all(*items(*range(6)), {"external_id": "t", "text": "red", "metadata": {"n": 1}})
    for thumbnail in [here.get(f"n{n}")["thumbnail_url"] for n in range(6)]:
        here.client.get(thumbnail)
    dry = delete(here, filter=SMALL, dry_run=True)
    assert (dry["matched"], dry["deleted"], dry["dry_run"], len(names(here))) == (4, 0, True, 7)
    assert delete(here, filter=SMALL, modality="text")["deleted"] == 1
    done = delete(here, filter=SMALL)
    assert (done["matched"], done["deleted"]) == (3, 3)
    assert names(here) == ["n3", "n4", "n5"]
    assert len(here.files()) == len(here.thumbnails()) == 3
    gone = delete(here, external_ids=["n3", "other"])
    assert (gone["matched"], gone["deleted"], names(here)) == (1, 1, ["n4", "n5"])
    assert here.found(image=coded(picture(4)))[0] == "n4"


def test_all_is_meant_only_where_it_is_said(here: Here) -> None:
    here.put_all(*items(1, 2))
    for empty in ({}, {"must": []}, {"must": [{}]}, {"should": [{"must_not": []}]}):
        for refused in (delete(here, 422, filter=empty), patch(here, 422, filter=empty, metadata={"a": 1})):
            assert (refused["code"], refused["param"]) == ("empty_filter", "filter")
    assert delete(here, 422, filter={"must": [{"key": "n"}]})["param"] == "filter.must[0]"
    assert delete(here, 422)["code"] == "invalid_request"
    assert delete(here, 422, filter=SMALL, external_ids=["a"])["code"] == "invalid_request"
    assert delete(here, filter={}, all=True, dry_run=True)["matched"] == 6  # and those that have no external id
    assert delete(here, filter={}, all=True)["deleted"] == 6
    assert names(here) == []


def test_what_passes_a_filter_is_changed_in_steps(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.routes.collections.catalogue.STEP", 2)
    here.put_all(*items(*range(5)), {"external_id": "full", "text": "red", "metadata": {"n": 1, "x": "y" * 16_300}})
    assert patch(here, filter=SMALL, metadata={"sale": True}, dry_run=True)["matched"] == 4
    assert "sale" not in here.get("n1")["metadata"]
    here.client.patch(at("n2"), json={"metadata": {"sale": "z" * 100}})
    done = patch(here, filter=SMALL, metadata={"sale": "z" * 100}, tags=[])
    assert [done[key] for key in ("matched", "changed", "unchanged", "refused")] == [4, 2, 1, 1]
    assert [one["external_id"] for one in done["first_refused"]] == ["full"]
    assert "16384 bytes" in done["first_refused"][0]["error"]["message"]
    assert here.get("n0")["metadata"] == {"n": 0, "sale": "z" * 100}
    assert patch(here, external_ids=["n4"], metadata={"n": None}, tags=["a"])["changed"] == 1
    assert here.get("n4")["metadata"] == {"tags": ["a"]}
    assert here.found(text="red", filter={"must": [{"key": "tags", "match": {"value": "a"}}]}) == ["n4"]


def test_tags_come_to_those_that_others_gave(here: Here) -> None:
    here.put_all(*items(*range(3)))
    here.client.patch(at("n1"), json={"tags": ["theirs"]})
    here.client.patch(at("n2"), json={"metadata": {"tags": "one text"}})
    done = patch(here, filter=SMALL, add_tags=["mine", " ours ", "mine"])
    assert (done["changed"], done["unchanged"]) == (3, 0)
    found = [here.get(f"n{i}")["metadata"]["tags"] for i in range(3)]
    assert found == [["mine", "ours"], ["theirs", "mine", "ours"], ["one text", "mine", "ours"]]
    assert patch(here, filter=SMALL, add_tags=["ours"])["unchanged"] == 3
    one = here.client.patch(at("n1"), json={"tags": ["new"], "add_tags": ["more", "new"]}).json()
    assert one["metadata"]["tags"] == ["new", "more"]
    here.client.patch(at("n1"), json={"tags": None, "add_tags": ["only"]})
    assert here.get("n1")["metadata"]["tags"] == ["only"]


def test_tags_go_from_those_that_have_them_and_from_nobody_else(here: Here) -> None:
    here.put_all(*items(*range(4)))
    long = "y" * 300
    for i, tags in enumerate((["sea", 'a, "b"', "🏖️"], ["sea"], "sea", ["sun", long, 7])):
        here.client.patch(at(f"n{i}"), json={"metadata": {"tags": tags}})
    version = here.client.get("/v1/collections/pictures/columns").headers["etag"]
    done = patch(here, filter=SMALL, remove_tags=["none"], list_changed=True)
    assert (done["changed"], done["unchanged"], done["changed_ids"]) == (0, 3, [])
    assert here.client.get("/v1/collections/pictures/columns").headers["etag"] == version  # nothing was written
    assert here.get("n2")["metadata"]["tags"] == "sea"
    ids = [here.get(f"n{i}")["id"] for i in range(4)]
    assert patch(here, filter=SMALL, remove_tags=["sea"], dry_run=True)["matched"] == 3
    done = patch(here, filter=SMALL, remove_tags=[" sea", "none"], list_changed=True)
    assert (done["changed"], done["changed_ids"]) == (3, ids[:3])
    assert [here.get(f"n{i}")["metadata"].get("tags") for i in range(3)] == [['a, "b"', "🏖️"], None, None]
    one = here.client.patch(at("n0"), json={"remove_tags": ['a, "b"', "🏖️"], "add_tags": ["sun"]}).json()
    assert one["metadata"]["tags"] == ["sun"]
    one = here.client.patch(at("n3"), json={"remove_tags": [long, "7", "moon"], "add_tags": ["moon"]}).json()
    assert one["metadata"]["tags"] == ["sun", "moon"]  # what goes and comes is there
    assert patch(here, 422, external_ids=["n0"], remove_tags=[""])["param"] == "remove_tags.0"
    assert patch(here, external_ids=["n0", "gone"], remove_tags=["sun"])["matched"] == 1


def test_tags_that_look_the_same_are_one(here: Here) -> None:
    here.put_all(*items(*range(3)))
    composed, apart = "caf\u00e9", "cafe\u0301"
    here.client.patch(at("n0"), json={"metadata": {"tags": [apart]}})
    done = patch(here, filter=SMALL, add_tags=[apart])
    assert (done["changed"], done["unchanged"]) == (2, 1)
    assert [here.get(f"n{i}")["metadata"]["tags"] for i in range(3)] == [[apart], [composed], [composed]]
    assert patch(here, filter=SMALL, remove_tags=[composed])["changed"] == 3
    assert "tags" not in here.get("n0")["metadata"]


def test_tags_that_go_and_come_are_read_once_for_many_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    monkeypatch.setattr("service.collections.metadata.composed", lambda tag: read.append(tag) or tag)
    patch = Patch(remove_tags=["y" * 10_000] * 100, add_tags=["new"])
    assert [patch.of({}) for _ in range(100)] == [{"tags": ["new"]}] * 100
    assert len(read) < 400


def test_who_takes_tags_away_loses_none_that_others_give(here: Here) -> None:
    here.put_all(*items(0))
    tags = [f"t{i}" for i in range(12)]
    here.client.patch(at("n0"), json={"tags": tags[::2]})

    def change(i: int) -> int:
        way = "add_tags" if i % 2 else "remove_tags"
        return here.client.patch(at("n0"), json={way: [tags[i]]}).status_code

    with ThreadPoolExecutor(6) as pool:
        assert set(pool.map(change, range(12))) == {200}
    assert sorted(here.get("n0")["metadata"]["tags"]) == sorted(tags[1::2])


def test_it_goes_with_a_backup_and_its_files(here: Here) -> None:
    for name in ("a", "b/\u0645"):
        here.put(name, image=coded(picture(1)), metadata={"name": name})  # of the same bytes, each its own file
    back_up(here.data, "pictures", here.data / "pictures.glimpse")
    restore(here.data, here.data / "pictures.glimpse", "again")
    with open_collection(here.data, "again") as again:
        found = again.find_external(["a", "b/\u0645"])
        assert {name: record.metadata["name"] for name, record in found.items()} == {"a": "a", "b/\u0645": "b/\u0645"}
        paths = {Path(str(record.path)) for record in found.values()}
    assert len(paths) == 2
    assert all(path.parents[1].name == "again" and path.read_bytes() == picture(1) for path in paths)
    assert check_collection(here.data, "again") == ([], [])


def test_it_stays_through_a_restart_and_a_compaction(tmp_path: Path) -> None:
    encoder = tiny_encoder(tmp_path)
    with client_of(create_app(settings_for(tmp_path), encoder)) as client:
        client.put("/v1/collections/pictures")
        entry = client.put(at("a"), json={"image": coded(picture(1))}).json()["entry"]
    with open_collection(tmp_path, "pictures", writable=True) as collection:
        collection.compact()
    with client_of(create_app(settings_for(tmp_path), encoder)) as client:
        assert client.get(at("a")).json() == entry
        assert client.put(at("a"), json={"image": coded(picture(1))}).json()["status"] == "unchanged"


def test_a_model_that_changes_meanwhile_is_noticed(here: Here) -> None:
    here.put("a", image=coded(picture(1)))
    with open_collection(here.data, "pictures", writable=True) as collection:
        ids = [record.id for record in collection.records()]
        collection.next.begin("other", "other", 4)
        collection.next.write(ids, np.eye(4)[[0] * len(ids)])
        collection.next.swap()
    for body in ({"image": coded(picture(1))}, {"text": "red"}):
        assert here.put("a", 409, **body)["code"] == "model_mismatch"
    assert error_of(here.client.put(ENTRIES, json={"entries": items(1)}), 409)["code"] == "model_mismatch"
    assert here.client.patch(at("a"), json={"metadata": {"n": 1}}).status_code == 200  # needs none


def test_who_puts_last_wins_whole_however_many_put_at_once(tmp_path: Path) -> None:
    """The same ids from several programs at once: each entry is one of what was sent, with its own file and vector."""
    encoder = tiny_encoder(tmp_path)
    with serving(create_app(settings_for(tmp_path), encoder)) as url, httpx.Client(base_url=url, timeout=60) as client:
        client.put("/v1/collections/pictures")

        def send(n: int) -> list[str]:
            body = {"entries": [one | {"external_id": f"e{i}"} for i, one in enumerate(items(*range(n, n + 5)))]}
            done = client.put(ENTRIES, json=body).json()["results"]
            one = client.put(at("e0"), json={"text": f"words {n}"} if n % 20 else {"image": coded(picture(n))}).json()
            return [result["status"] for result in done] + [one["status"]]

        with ThreadPoolExecutor(6) as pool:
            statuses = [status for each in pool.map(send, range(0, 60, 5)) for status in each]
    assert statuses.count("created") == 5
    assert set(statuses) <= {"created", "replaced", "unchanged"}
    with open_collection(tmp_path, "pictures") as collection:
        records = {str(record.external_id): record for record in collection.records()}
        assert set(records) == {f"e{i}" for i in range(5)}
        for record in records.values():
            if record.modality == "image":
                sent = Path(str(record.path)).read_bytes()
                assert sha(sent) == record.sha256
                np.testing.assert_allclose(collection.vector(record.id), encoder.encode_images([sent])[0], atol=2e-3)
    assert check_collection(tmp_path, "pictures") == ([], [])


def test_searches_and_other_writes_come_in_while_many_are_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.routes.collections.catalogue.STEP", 2)
    order: list[str] = []
    go = threading.Event()
    turns: list[str] = []  # that are waited for, or had
    write = Writers.write

    def waiting(*given: Any) -> Any:
        turns.append(given[1])
        return write(*given)

    def noting(what: str, work: Any) -> Any:
        def noted(*given: Any, **named: Any) -> Any:
            order.append(what)
            assert go.wait(20)
            return work(*given, **named)

        return noted

    encoder = tiny_encoder(tmp_path)
    with serving(create_app(settings_for(tmp_path), encoder)) as url, httpx.Client(base_url=url, timeout=60) as client:
        client.put("/v1/collections/pictures")
        client.put(ENTRIES, json={"entries": items(*range(8))})
        for module, name in ((service.collections.entries, "delete_all"), (service.collections.puts, "write")):
            monkeypatch.setattr(module, name, noting(name, getattr(module, name)))
        monkeypatch.setattr(Writers, "write", waiting)
        with ThreadPoolExecutor(2) as pool:
            deleting = pool.submit(client.post, f"{ENTRIES}/delete", json={"filter": {}, "all": True})
            until(lambda: order == ["delete_all"])
            search = {"image": coded(picture(1)), "limit": 10}
            hits = client.post("/v1/collections/pictures/search", json=search).json()["hits"]  # it holds nobody up
            assert len(hits) == 8
            putting = pool.submit(client.put, at("new"), json={"text": "red"})
            until(lambda: len(turns) > 1)
            go.set()
            assert putting.result().status_code == 201
            assert deleting.result().json()["deleted"] == 8
    assert order == ["delete_all", "write", "delete_all", "delete_all", "delete_all"]
    with open_collection(tmp_path, "pictures") as collection:
        assert [record.external_id for record in collection.records()] == ["new"]
