"""All pictures of a collection as columns over REST, filters as bitmaps over them, and the client's own reading."""

from __future__ import annotations

import struct
from datetime import UTC, datetime

import numpy as np
import pytest
from service_world import add_collection, draw, error_of, serving, settings_for, tiny_encoder, world

from base.errors import CollectionNotFound, InputError
from glimpse.client import Client
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
