"""Entries that come over REST: images and texts added, listed, changed, deleted, and found by searches at once."""

import asyncio
import base64
import hashlib
import io
import json
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image
from service_world import add_collection, draw, error_of, picture, serving, settings_for, tiny_encoder, until, world

from base.errors import InputError
from index.collection import create_collection, open_collection
from service.app import create_app
from service.collections import rejection as rejections
from service.collections import writers
from service.collections.metadata import MAX_METADATA, merge_patch

IMAGES = "/v1/collections/pictures/images"
TEXTS = "/v1/collections/pictures/texts"


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    with world(tmp_path_factory.mktemp("uploads"), n=3, max_batch=8, max_texts=8, max_upload_bytes=400_000) as made:
        yield made


@pytest.fixture
def client(here):
    return here[0]


@pytest.fixture
def data(here):
    return here[2][0].parent.parent


def upload(client, *files, status=200, **fields):
    """Upload (name, bytes) pairs."""
    parts = [("file", (name, data, "application/octet-stream")) for name, data in files]
    said = {name: value if isinstance(value, list | str) else json.dumps(value) for name, value in fields.items()}
    answer = client.post(IMAGES, files=parts, data=said)
    assert answer.status_code == status, answer.text
    return answer.json()["results"] if status == 200 else error_of(answer, status)


def one(client, data, name="a.png", **fields):
    """Upload one image and give its id."""
    return upload(client, (name, data), **fields)[0]["id"]


def record(client, key, kind=IMAGES):
    return client.get(f"{kind}/{key}").json()


def found(client, **query):
    answer = client.post("/v1/collections/pictures/search", json={"limit": 1000} | query)
    assert answer.status_code == 200, answer.text
    return [hit["id"] for hit in answer.json()["hits"]]


# --- images ---


def test_a_record_says_when_its_picture_was_taken(client):
    times = [("2024:05:01 12:34:56", None), ("2024:05:01 23:59:59", "+09:00"), (None, None)]
    files = []
    for i, (moment, offset) in enumerate(times):
        exif = Image.Exif()
        inner = {ExifTags.Base.DateTimeOriginal: moment, ExifTags.Base.OffsetTimeOriginal: offset}
        exif.get_ifd(ExifTags.IFD.Exif).update({tag: said for tag, said in inner.items() if said})
        said = io.BytesIO()
        Image.new("RGB", (64, 48), (i, 90, 200)).save(said, "JPEG", exif=exif)
        files.append((f"{i}.jpg", said.getvalue()))
    ids = [one["id"] for one in upload(client, *files)]
    taken = ["2024-05-01T12:34:56", "2024-05-01T23:59:59+09:00", None]
    assert [record(client, key)["taken"] for key in ids] == taken
    wanted = {"must": [{"has_id": ids}]}
    listed = client.get(IMAGES, params={"filter": json.dumps(wanted)}).json()["entries"]
    assert [each["taken"] for each in listed] == taken
    hits = client.post("/v1/collections/pictures/search", json={"id": ids[0], "filter": wanted}).json()["hits"]
    assert {hit["id"]: hit["taken"] for hit in hits} == dict(zip(ids[1:], taken[1:], strict=True))


def test_an_upload_is_found_at_once_with_its_file_and_what_was_said_of_it(client, here, data):
    files = [
        ("a boat.png", picture(100)),
        ("house.JPG", picture(101, kind="JPEG")),
        ("noname", picture(102, kind="WEBP")),
    ]
    per_file = {"house.JPG": {"metadata": {"caption": "a house", "album": None}, "tags": ["home"]}}
    results = upload(client, *files, metadata={"album": "one"}, tags="sea, sun", per_file=per_file)
    assert [(r["name"], r["created"], r["error"]) for r in results] == [(name, True, None) for name, _ in files]
    for result, (_, sent), suffix in zip(results, files, (".png", ".jpg", ".webp"), strict=True):
        assert found(client, image=base64.b64encode(sent).decode())[0] == result["id"]
        kept = record(client, result["id"])
        sha256 = hashlib.sha256(sent).hexdigest()
        assert kept["path"] == str(data / "uploads" / "pictures" / sha256[:2] / f"{sha256}{suffix}")
        assert (kept["width"], kept["height"]) == (64, 48)
        content = client.get(kept["content_url"])
        assert content.content == sent
        assert content.headers["content-type"] == "image/" + suffix[1:].replace("jpg", "jpeg")
        assert client.get(kept["thumbnail_url"]).status_code == 200
        with open_collection(data, "pictures") as collection:
            own = here[1].encode_images([sent])[0]
            np.testing.assert_allclose(collection.vector(result["id"]), own, atol=2e-3)
    said = [record(client, result["id"])["metadata"] for result in results]
    assert said[0] == {"filename": "a boat.png", "album": "one", "tags": ["sea", "sun"]}
    assert said[1] == {"filename": "house.JPG", "caption": "a house", "tags": ["home"]}
    assert said[2]["filename"] == "noname"


def test_the_same_bytes_keep_their_entry_and_are_not_encoded_again(client, here):
    sent = picture(110)
    first = upload(client, ("a.png", sent), metadata={"n": 1, "kept": True})[0]
    runs = len(here[1].images)
    twice = upload(client, ("b.png", sent), ("c.png", sent), metadata={"n": 2})
    assert {r["id"] for r in twice} == {first["id"]}
    assert not any(r["created"] for r in twice)
    assert len(here[1].images) == runs
    assert record(client, first["id"])["metadata"] == {"filename": "c.png", "n": 2, "kept": True}
    both_new = upload(client, ("d.png", picture(111)), ("e.png", picture(111)))
    assert both_new[0]["id"] == both_new[1]["id"]


@pytest.mark.parametrize("left", [b"", bytes(len(picture(112)))], ids=["emptied", "zeros of its length"])
def test_a_damaged_file_comes_back_with_the_same_bytes(client, left):
    key = one(client, picture(112))
    Path(record(client, key)["path"]).write_bytes(left)
    assert one(client, picture(112)) == key
    assert client.get(f"{IMAGES}/{key}/content").content == picture(112)


def test_a_bad_file_among_good_ones_has_its_own_error(client):
    results = upload(client, ("a.png", picture(120)), ("b.png", b"no image"), ("c.png", b""), ("d.png", picture(121)))
    assert [bool(r["error"]) for r in results] == [False, True, True, False]
    assert results[1]["id"] is None
    assert upload(client, ("b.png", b"no image"), status=422)["code"] == "invalid_image"


def test_what_cannot_be_uploaded_is_refused_and_nothing_is_kept(client, data):
    good = ("a.png", picture(130))
    too_much = {"text": "x" * MAX_METADATA}
    for fields, param in (
        ({"metadata": "{"}, "metadata"),
        ({"metadata": "[1]"}, "metadata"),
        ({"metadata": "[" * 100_000}, "metadata"),
        ({"metadata": '{"a":' * 33 + "1" + "}" * 33}, "metadata"),
        ({"metadata": '{"a": NaN}'}, "metadata"),
        ({"metadata": '{"a": "\\ud83d"}'}, "metadata"),
        ({"metadata": too_much}, "metadata"),
        ({"tags": ["a"] * 101}, "tags"),
        ({"tags": "a,,b"}, "tags.1"),
        ({"per_file": {"other.png": {}}}, "per_file"),
        ({"per_file": {"a.png": {"caption": "x"}}}, "per_file.a.png.caption"),
        ({"metdata": {}}, "metdata"),
    ):
        assert upload(client, good, status=422, **fields)["param"] == param
    assert upload(client, *[good] * 9, status=422)["code"] == "too_many"
    upload(client, ("a.png", b"x" * 400_001), status=413)
    assert error_of(client.post(IMAGES, data={"tags": "x"}, files={"metadata": b"{}"}), 422)["param"] == "metadata"
    no_file = client.post(IMAGES, content=b"--x--", headers={"Content-Type": "multipart/form-data; boundary=x"})
    assert error_of(no_file, 422)["param"] == "file"
    error_of(client.post(IMAGES, json={}), 415)
    error_of(client.post("/v1/collections/nowhere/images", files={"file": b"x"}), 404)
    assert not list((data / "uploads").rglob(f"*{hashlib.sha256(good[1]).hexdigest()}*"))


def test_metadata_that_grow_too_large_by_merging_are_refused(client):
    half = {"a": "x" * (MAX_METADATA // 2)}
    key = one(client, picture(131), metadata=half)
    assert upload(client, ("a.png", picture(131)), metadata={"b": half}, status=422)["code"] == "invalid_input"
    error_of(client.patch(f"{IMAGES}/{key}", json={"metadata": {"b": half}}), 422)
    assert record(client, key)["metadata"].keys() == {"filename", "a"}


def test_a_page_of_another_site_may_not_upload(client):
    file = {"file": ("a.png", picture(132))}
    error = error_of(client.post(IMAGES, files=file, headers={"Origin": "https://evil.example"}), 403)
    assert error["code"] == "foreign_origin"
    assert client.post(IMAGES, files=file, headers={"Origin": str(client.base_url).rstrip("/")}).status_code == 200


def test_a_deleted_upload_is_gone_with_its_file_an_indexed_file_stays(client, here, data):
    key = one(client, picture(140))
    path = record(client, key)["path"]
    assert client.delete(f"{IMAGES}/{key}").status_code == 204
    assert key not in found(client, text="x")
    with pytest.raises(FileNotFoundError):
        open(path)  # noqa: PTH123, SIM115
    error_of(client.get(f"{IMAGES}/{key}"), 404)
    error_of(client.delete(f"{IMAGES}/{key}"), 404)
    assert one(client, picture(140)) != key  # ids are never given twice
    indexed = here[2][2]
    assert client.delete(f"{IMAGES}/3").status_code == 204
    assert indexed.is_file()


@pytest.mark.parametrize("way", ["{own}/../../victim.jpg", "{own}/ab/../ab/{victim}", "{own}/victim.jpg"])
def test_a_path_that_leads_out_deletes_nothing(client, data, way):
    key = one(client, picture(140))
    own = data / "uploads" / "pictures"
    victim = Path(way.format(own=own, victim=f"{'ab' * 32}.png"))
    (own / "ab").mkdir(exist_ok=True)
    victim.write_bytes(b"mine")
    with closing(sqlite3.connect(data / "collections/pictures/catalog.sqlite")) as db:  # as one of before may hold it
        db.execute("UPDATE entries SET path = ?, checksum = NULL WHERE id = ?", (str(victim), key))
        db.commit()
    assert client.delete(f"{IMAGES}/{key}").status_code == 204
    assert victim.read_bytes() == b"mine"
    victim.unlink()


def test_a_file_that_cannot_be_kept_leaves_no_entry(tmp_path):
    with world(tmp_path, n=1) as (own, _, _):
        (tmp_path / "uploads").write_text("a file where the folder would be")
        assert upload(own, ("a.png", picture(0)), status=500)["code"] == "collection_error"
        assert len(own.get(IMAGES).json()["entries"]) == 1
        (tmp_path / "uploads").unlink()
        assert one(own, picture(0))


def test_an_upload_that_a_full_disk_refuses_leaves_no_file(on_own_disk, tmp_path_factory):
    on_own_disk(f"""
import json
from service_world import add_collection, client_of, create_app, draw, picture, settings_for, tiny_encoder
elsewhere = Path({str(tmp_path_factory.mktemp("elsewhere"))!r})
encoder = tiny_encoder(elsewhere)
add_collection(disk, encoder, draw(elsewhere, 2))
told = {{"metadata": json.dumps({{"much": "x" * 16_000}})}}
(disk / "ballast").write_bytes(bytes(5 << 19))
with client_of(create_app(settings_for(disk), encoder)) as client:
    def send(i):
        files = {{"file": ("a.png", picture(i))}}
        if i % 2:
            return client.put(f"/v1/collections/pictures/entries/{{i}}", files=files, data=told)
        return client.post("/v1/collections/pictures/images", files=files, data=told)
    refused = []
    for i in range(60):
        answer = send(i)
        if answer.status_code not in (200, 201):
            refused.append((i, answer.text))
    uploads = [path for path in (disk / "uploads").rglob("*") if path.is_file()]
    entries = [one["path"] for one in client.get("/v1/collections/pictures/images?limit=1000").json()["entries"]]
    assert sorted(map(str, uploads)) == sorted(path for path in entries if str(disk) in path)
    assert len(refused) > 10 and all("the disk is full" in text for _, text in refused), refused
    assert {{i % 2 for i, _ in refused}} == {{0, 1}}
""")


def test_the_bar_is_measured_after_uploads_and_not_in_them(tmp_path, monkeypatch):
    monkeypatch.setattr(rejections, "SOON", 0.2)
    may, measure = asyncio.Event(), rejections.Rejections._measure_if_due

    async def once_it_may(*given):
        await may.wait()
        await measure(*given)

    monkeypatch.setattr(rejections.Rejections, "_measure_if_due", once_it_may)
    with world(tmp_path, n=1) as (own, encoder, _):

        def measured():
            with open_collection(tmp_path, "pictures") as collection:
                return collection.rejection()

        def send(first, n):
            pictures = [(f"{i}.png", picture(i, (32, 32))) for i in range(first, first + n)]
            upload(own, *pictures, per_file={name: {"metadata": {"caption": f"number {name}"}} for name, _ in pictures})

        with encoder.held():  # the model is slow; the upload waits for it, and then for nothing else
            threading.Timer(0.3, encoder.go.set).start()
            send(1000, 40)
        assert measured() is None
        own.portal.call(may.set)
        until(lambda: measured() is not None)
        assert (measured().rows, measured().threshold) == (41, None)  # too few to tell
        send(2000, 40)
        until(lambda: measured().rows == 81)
        assert measured().threshold is not None
        send(3000, 1)
        time.sleep(0.5)
        assert measured().rows == 81  # not due
        own.portal.call(own.app.state.service.rejections.measure_soon, "gone")  # deleted meanwhile: no harm
        until(lambda: own.app.state.service.rejections._waiting == {})


# --- texts ---


def test_texts_are_added_found_changed_and_deleted(client):
    texts = ["a green field", {"text": "a yellow field", "metadata": {"n": 2, "all": None}, "tags": ["b", "b"]}]
    body = {"texts": texts, "metadata": {"all": 1}, "tags": ["a"]}
    answer = client.post(TEXTS, json=body)
    assert answer.status_code == 200, answer.text
    first, second = answer.json()["ids"]
    assert found(client, text="a green field", modality="text")[0] == first
    assert found(client, text="a yellow field", modality="text")[0] == second
    assert record(client, first, TEXTS)["metadata"] == {"all": 1, "tags": ["a"]}
    assert record(client, second, TEXTS)["metadata"] == {"n": 2, "tags": ["b"]}
    changed = client.patch(f"{TEXTS}/{second}", json={"metadata": {"n": None, "deep": {"x": 1, "y": None}}, "tags": []})
    assert changed.json()["metadata"] == {"deep": {"x": 1}} == record(client, second, TEXTS)["metadata"]
    error_of(client.get(f"{IMAGES}/{second}"), 404)
    error_of(client.delete(f"{IMAGES}/{second}"), 404)
    error_of(client.patch(f"{TEXTS}/1", json={}), 404)
    assert client.delete(f"{TEXTS}/{second}").status_code == 204
    assert second not in found(client, text="a yellow field", modality="text")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"texts": []}, "texts"),
        ({"texts": [""]}, None),
        ({"texts": ["a"] * 9}, "texts"),
        ({"texts": ["a"], "metadata": {"x": "y" * MAX_METADATA}}, "metadata"),
        ({"texts": ["a"], "tags": [""]}, "tags.0"),
        ({"texts": ["a"], "metadata": json.loads('{"a":' * 40 + "1" + "}" * 40)}, "metadata"),
        ({"texts": ["a"], "metadata": {"x": "y" * 9000}, "tags": ["t" * 100 + str(i) for i in range(99)]}, "tags.0"),
    ],
)
def test_texts_that_are_refused(client, body, param):
    error = error_of(client.post(TEXTS, json=body), 422)
    assert param in (None, error["param"])


def test_a_change_of_metadata_is_what_filters_see(client):
    key = one(client, picture(150), metadata={"state": "new"})
    wanted = {"must": [{"key": "state", "match": {"value": "seen"}}]}
    assert found(client, text="x", filter=wanted) == []
    client.patch(f"{IMAGES}/{key}", json={"metadata": {"state": "seen"}, "tags": ["x"]})
    assert found(client, text="x", filter=wanted) == [key]
    assert client.patch(f"{IMAGES}/{key}", json={"metadata": None}).json()["metadata"]["state"] == "seen"  # not given
    error_of(client.patch(f"{IMAGES}/{key}", content=b"{}"), 415)


# --- pages ---


def test_pages_of_entries_neither_overlap_nor_leave_gaps(client):
    keys = [one(client, picture(200 + i), metadata={"paged": i % 2}) for i in range(7)]
    client.post(TEXTS, json={"texts": ["between"]})

    def pages(**query):
        after, entries = 0, []
        while after is not None:
            page = client.get(IMAGES, params={"limit": 3, "after": after, **query}).json()
            assert len(page["entries"]) <= 3
            entries += page["entries"]
            after = page["next"]
        return entries

    every = pages()
    assert [entry["id"] for entry in every] == sorted({entry["id"] for entry in every})
    assert set(keys) <= {entry["id"] for entry in every}
    assert {entry["modality"] for entry in every} == {"image"}
    odd = {"must": [{"key": "paged", "match": {"value": 1}}]}
    assert [entry["id"] for entry in pages(filter=json.dumps(odd))] == keys[1::2]
    assert every[0] == record(client, every[0]["id"])
    for wanted, param in (("{", "filter"), ("[]", "filter"), ('{"must": [{"no": 1}]}', "filter.must[0]")):
        assert error_of(client.get(IMAGES, params={"filter": wanted}), 422)["param"] == param
    assert error_of(client.get(TEXTS, params={"limit": 1001}), 422)["param"] == "limit"


# --- taking turns ---


def test_others_are_waited_for_then_it_is_409_and_reads_go_on(tmp_path, monkeypatch):
    monkeypatch.setattr(writers, "PATIENCE", 0.3)
    with world(tmp_path, n=1) as (own, _, _):
        with open_collection(tmp_path, "pictures", writable=True):
            answer = own.post(TEXTS, json={"texts": ["x"]})
            assert error_of(answer, 409)["code"] == "collection_locked"
            assert str(tmp_path) not in answer.text
            assert int(answer.headers["retry-after"]) > 0
            error_of(own.delete("/v1/collections/pictures"), 409)
            assert len(found(own, text="x")) == 1
        assert own.post(TEXTS, json={"texts": ["x"]}).status_code == 200

        def is_free():
            try:
                open_collection(tmp_path, "pictures", writable=True).close()
            except Exception:
                return False
            return True

        until(is_free)  # the service let go of it by itself
        monkeypatch.setattr(writers, "PATIENCE", 10)
        with ThreadPoolExecutor(1) as pool:
            with open_collection(tmp_path, "pictures", writable=True):
                waiting = pool.submit(own.post, TEXTS, json={"texts": ["y"]})
                assert not waiting.done()
            assert waiting.result().status_code == 200


def test_many_at_once_are_each_answered_with_their_own(tmp_path):
    encoder = tiny_encoder(tmp_path)
    add_collection(tmp_path, encoder, draw(tmp_path / "files", 1))
    app = create_app(settings_for(tmp_path), encoder)
    with serving(app) as url, httpx.Client(base_url=url, timeout=30) as client:
        stop = threading.Event()

        def read():
            n = 0
            while not stop.is_set():
                assert client.post("/v1/collections/pictures/search", json={"text": "x"}).status_code == 200
                n += 1
            return n

        def write(i):
            sent = picture(300 + i % 8)
            key = one(client, sent, f"{i}.png", metadata={"n": i % 8})
            assert client.get(f"{IMAGES}/{key}/content").content == sent
            assert found(client, id=key) is not None
            text = client.post(TEXTS, json={"texts": [f"text {i}"]}).json()["ids"][0]
            assert record(client, text, TEXTS)["text"] == f"text {i}"
            return key

        with ThreadPoolExecutor(10) as pool:
            reading = pool.submit(read)
            keys = list(pool.map(write, range(24)))
            stop.set()
            assert reading.result() > 0
        assert keys[:8] == keys[8:16] == keys[16:]
        assert len(set(keys)) == 8
    with open_collection(tmp_path, "pictures", writable=True) as collection:  # closed with the service
        assert collection.check() == []
        assert (collection.count("image"), collection.count("text")) == (9, 26)


def test_a_collection_of_another_model_is_409(client, data):
    create_collection(data, "foreign", model="other", fingerprint="other", dim=32).close()
    for path, body in (("images", {"files": {"file": picture(0)}}), ("texts", {"json": {"texts": ["x"]}})):
        error = error_of(client.post(f"/v1/collections/foreign/{path}", **body), 409)
        assert error["code"] == "model_mismatch"


# --- merging ---

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.sampled_from("abc"), JSON, max_size=3)


@given(OBJECTS, OBJECTS)
def test_a_merge_done_twice_is_a_merge_done_once(target, patch):
    merged = merge_patch(target, patch)
    assert merge_patch(merged, patch) == merged
    for key, value in patch.items():
        if value is None:
            assert key not in merged
        elif not isinstance(value, dict):
            assert merged[key] == value
    assert {key: merged[key] for key in target.keys() - patch.keys()} == {
        key: target[key] for key in target.keys() - patch.keys()
    }


def test_the_merges_of_the_rfc():
    assert merge_patch({"a": "b", "b": "c"}, {"a": None}) == {"b": "c"}
    assert merge_patch({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}) == {"a": {"b": "d"}}
    assert merge_patch({"a": [{"b": "c"}]}, {"a": [1]}) == {"a": [1]}
    assert merge_patch({}, {"a": {"bb": {"ccc": None}}}) == {"a": {"bb": {}}}
    with pytest.raises(InputError):
        merge_patch({}, {"a": float("nan")})
