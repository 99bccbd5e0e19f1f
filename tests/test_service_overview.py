"""All pictures of a collection as columns over REST, filters as bitmaps over them, and the client's own reading."""

from __future__ import annotations

import json
import struct
from datetime import UTC, datetime

import numpy as np
import pytest
from service_world import add_collection, draw, error_of, picture, serving, settings_for, tiny_encoder, until, world

from base.errors import CollectionNotFound, InputError
from glimpse.cli import perform
from glimpse.client import Client, ServiceError
from glimpse.usage import UsageError
from index.collection import Entry, create_collection, open_collection
from service.app import create_app

PATH = "/v1/collections/pictures"


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """A client of a service, and its data folder."""
    folder = tmp_path_factory.mktemp("overview")
    with world(folder, n=5) as (client, _, _):
        yield client, folder


def test_columns_are_as_they_are_told(seen):
    client, folder = seen
    answer = client.get(f"{PATH}/columns")
    assert answer.headers["content-type"] == "application/octet-stream"
    magic, n, flags, zero = struct.unpack_from("<4sIII", answer.content)
    assert (magic, n, flags, zero) == (b"glc1", 5, 0, 0)
    assert len(answer.content) == 16 + 7 * n
    ids = np.frombuffer(answer.content, "<u4", n, 16)
    days = np.frombuffer(answer.content, "<u2", n, 16 + 4 * n)
    aspects = np.frombuffer(answer.content, np.uint8, n, 16 + 6 * n)
    with open_collection(folder, "pictures") as pictures:
        records = [pictures.get(int(key)) for key in ids]
    assert [record.mtime_ns for record in records] == sorted((record.mtime_ns for record in records), reverse=True)
    assert set(aspects) == {128 + 13}  # 320 x 240
    days_since = datetime.now(UTC).date().toordinal() - datetime(1899, 12, 31).toordinal()
    assert all(days_since - 1 <= day <= days_since for day in days)


def test_columns_that_one_has_are_not_sent_again(seen):
    client, folder = seen
    tag = client.get(f"{PATH}/columns").headers["etag"]
    again = client.get(f"{PATH}/columns", headers={"If-None-Match": tag})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert client.get(f"{PATH}/columns", headers={"If-None-Match": '"other"'}).status_code == 200
    with open_collection(folder, "pictures", writable=True) as pictures:
        pictures.update({1: {"metadata": {"seen": True}}})
    changed = client.get(f"{PATH}/columns", headers={"If-None-Match": tag})
    assert changed.status_code == 200
    assert changed.headers["etag"] != tag


def test_a_bitmap_is_over_the_same_order(seen):
    client, _ = seen
    columns = client.get(f"{PATH}/columns")
    ids = np.frombuffer(columns.content, "<u4", 5, 16).tolist()
    answer = client.post(f"{PATH}/columns/bitmap", json={"filter": {"must": [{"has_id": [ids[1], ids[4]]}]}})
    assert answer.content == bytes([0b10010])
    assert answer.headers["etag"] == columns.headers["etag"]
    assert client.post(f"{PATH}/columns/bitmap", json={"filter": {}}).content == bytes([0b11111])


def test_what_is_no_filter_or_no_collection_is_refused(seen):
    client, _ = seen
    bad = client.post(f"{PATH}/columns/bitmap", json={"filter": {"must": [{"key": "a"}]}})
    assert error_of(bad, 422)["param"] == "filter.must[0]"
    assert error_of(client.post(f"{PATH}/columns/bitmap", json={}), 422)["param"] == "filter"
    error_of(client.get("/v1/collections/none/columns"), 404)
    error_of(client.post("/v1/collections/none/columns/bitmap", json={"filter": {}}), 404)


def test_the_client_reads_columns(tmp_path):
    encoder = tiny_encoder(tmp_path)
    add_collection(tmp_path, encoder, draw(tmp_path / "files", 3))
    with create_collection(tmp_path, "wide", model="tiny", fingerprint="tiny", dim=encoder.dim) as wide:
        wide.upsert([Entry(np.ones(32, np.float32), "image", "/a", id=2**33 + 1, taken="2020-02-29T12:00:00")])
    with serving(create_app(settings_for(tmp_path), encoder)) as url, Client(url) as client:
        columns = client.columns("pictures")
        assert len(columns.ids) == len(columns.days) == len(columns.aspects) == 3
        assert columns.aspect(0) == pytest.approx(4 / 3, rel=0.011)
        assert list(columns.places) == list(columns.clusters) == []
        assert client.columns("pictures", columns.etag) is None
        etag, passing = client.passing("pictures", {"must": [{"has_id": [columns.ids[2]]}]})
        assert (etag, passing) == (columns.etag, [2])
        (far,) = [client.columns("wide")]
        assert list(far.ids) == [2**33 + 1]
        assert far.day(0).isoformat() == "2020-02-29"
        assert far.aspect(0) is None
        with pytest.raises(CollectionNotFound):
            client.columns("none")
        with pytest.raises(InputError):
            client.passing("wide", {"must": 1})


def ended(client, job):
    until(lambda: client.get(f"/v1/jobs/{job}").json()["ended_at"], 60)
    return client.get(f"/v1/jobs/{job}").json()


def test_a_job_makes_the_map_that_the_columns_show(tmp_path):
    with world(tmp_path, n=12) as (client, _, _):
        assert error_of(client.get(f"{PATH}/map"), 404)["code"] == "no_map"
        error_of(client.delete(f"{PATH}/map"), 404)
        before = client.get(f"{PATH}/columns").headers["etag"]
        asked = client.post("/v1/jobs", json={"kind": "map", "collection": "pictures"})
        assert asked.status_code == 202, asked.text
        job = ended(client, asked.json()["id"])
        assert (job["state"], job["done"], job["total"]) == ("succeeded", 12, 12), job
        found = client.get(f"{PATH}/map").json()
        assert job["report"] == {"placed": 12, "clusters": len(found["clusters"])}
        assert (found["method"], found["placed"], found["unplaced"]) == ("pca", 12, 0)
        assert all(len(one["words"]) == 3 for one in found["clusters"])
        assert sum(one["size"] for one in found["clusters"]) == 12

        answer = client.get(f"{PATH}/columns")
        assert answer.headers["etag"] != before
        assert client.get(f"{PATH}/columns", headers={"If-None-Match": answer.headers["etag"]}).status_code == 304
        _, n, flags, _ = struct.unpack_from("<4sIII", answer.content)
        assert (n, flags, len(answer.content)) == (12, 1, 16 + 12 * 12)
        places = np.frombuffer(answer.content, "<u2", 2 * n, 16 + 4 * n).reshape(n, 2)
        assert (places < 65_535).all()
        assert len(np.unique(places, axis=0)) == 12
        clusters = np.frombuffer(answer.content, np.uint8, n, 16 + 11 * n)
        assert np.bincount(clusters)[1:].tolist() == [one["size"] for one in found["clusters"]]
        bitmap = client.post(f"{PATH}/columns/bitmap", json={"filter": {}})
        assert bitmap.headers["etag"] == answer.headers["etag"]

        file = {"file": ("new.png", picture(99), "image/png")}
        assert client.post(f"{PATH}/images", files=file).status_code == 200
        later = client.get(f"{PATH}/columns", headers={"If-None-Match": answer.headers["etag"]})
        assert (later.status_code, later.content[4]) == (200, 13)
        assert (np.frombuffer(later.content, "<u2", 26, 16 + 4 * 13) < 65_535).all()
        assert client.get(f"{PATH}/map").json()["placed"] == 13

        assert client.delete(f"{PATH}/map").status_code == 204
        error_of(client.get(f"{PATH}/map"), 404)
        assert struct.unpack_from("<4sIII", client.get(f"{PATH}/columns").content)[2] == 0


def test_a_map_job_that_cannot_be_done_says_why(tmp_path):
    with world(tmp_path, n=2) as (client, _, _):
        asked = client.post("/v1/jobs", json={"kind": "map", "collection": "pictures", "names": False})
        job = ended(client, asked.json()["id"])
        assert (job["state"], job["error"]["code"]) == ("failed", "invalid_input")
        assert "a map needs 3 images, and there are 2" in job["error"]["message"]
        error_of(client.post("/v1/jobs", json={"kind": "map", "collection": "none"}), 404)
        error_of(client.post("/v1/jobs", json={"kind": "map", "collection": "pictures", "method": "tsne"}), 422)


def test_the_command_makes_a_map_here_and_at_a_service(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("encoder.query.open_encoder", lambda ref: encoder)
    encoder = tiny_encoder(tmp_path)
    add_collection(tmp_path, encoder, draw(tmp_path / "files", 8))

    def said(*arguments):
        assert perform(["collections", "map", "pictures", *arguments]) == 0
        return capsys.readouterr().out

    here = json.loads(said("--data", str(tmp_path), "--json"))
    assert (here["method"], here["placed"], here["unplaced"]) == ("pca", 8, 0)
    assert "8 images have a place in a map by pca" in said("--data", str(tmp_path), "--no-names")
    with pytest.raises(UsageError, match="'tsne' is not one of 'pca', 'umap'"):
        said("--data", str(tmp_path), "--method", "tsne")
    with serving(create_app(settings_for(tmp_path), encoder)) as url:
        there = json.loads(said("--url", url, "--json"))
        assert {**there, "made_at": ""} == {**here, "made_at": ""}
        with Client(url) as client:
            assert client.map("pictures").clusters[0].words == here["clusters"][0]["words"]
            client.forget_map("pictures")
            with pytest.raises(ServiceError, match="has no map"):
                client.map("pictures")
