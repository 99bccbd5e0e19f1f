"""How much a collection may hold: whoever writes is refused whole, with the remedy, and what is there stays."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from glimpse_here import glimpse_here
from service_world import (
    client_of,
    create_app,
    error_of,
    picture,
    serving,
    settings_for,
    tiny_encoder,
    until,
)

from base.errors import InputError, QuotaExceeded
from glimpse.client import Client
from index.backup import back_up, restore
from index.collection import Entry, create_collection, open_collection
from index.config import Quota
from index.local.layout import uploads_folder
from index.uploads import leftovers

SHOP = "/v1/collections/shop"


@pytest.fixture
def client(tmp_path: Path):
    with client_of(create_app(settings_for(tmp_path), tiny_encoder(tmp_path))) as client:
        yield client


def upload(client, *seeds: int):
    files = [("file", (f"{seed}.png", picture(seed, (64, 64 + seed)))) for seed in seeds]
    return client.post(f"{SHOP}/images", files=files)


def counts(client) -> dict[str, int]:
    return client.get(SHOP).json()["counts"]


def test_entries_of_a_collection_are_bounded_when_it_is_made(client, tmp_path: Path) -> None:
    made = client.put(SHOP, json={"quota": {"entries": 3}})
    assert (made.status_code, made.json()["quota"]) == (201, {"entries": 3, "upload_bytes": None})
    assert made.json()["index"] == {}
    assert upload(client, 1, 2).status_code == 200
    error = error_of(upload(client, 3, 4), 413)
    assert error["code"] == "quota_exceeded"
    assert error["message"].startswith(
        "collection 'shop' has 2 entries and may have 3, so 2 more do not fit; delete some"
    )
    assert error_of(client.post(f"{SHOP}/texts", json={"texts": ["a", "b"]}), 413)["code"] == "quota_exceeded"
    assert counts(client) == {"image": 2, "text": 0}
    with open_collection(tmp_path, "shop") as collection:
        assert list(leftovers(collection, tmp_path)) == []  # no file was kept of what was refused
    assert upload(client, 1, 2).status_code == 200  # what it has takes no room
    assert client.post(f"{SHOP}/texts", json={"texts": ["a"]}).status_code == 200
    assert error_of(upload(client, 3), 413)["code"] == "quota_exceeded"
    client.delete(f"{SHOP}/images/1").raise_for_status()
    assert upload(client, 3).status_code == 200


def test_a_title_is_given_and_taken_away_and_a_quota_stays(client) -> None:
    client.put(SHOP, json={"quota": {"entries": 3}}).raise_for_status()
    assert client.get(SHOP).json()["title"] is None
    answer = client.patch(SHOP, json={"title": "Herbst & Winter"}).json()
    assert (answer["title"], answer["quota"]["entries"]) == ("Herbst & Winter", 3)
    assert [one["title"] for one in client.get("/v1/info").json()["collections"]] == ["Herbst & Winter"]
    assert client.patch(SHOP, json={"quota": {"entries": 4}}).json()["title"] == "Herbst & Winter"
    for wrong in ("", " a", "a\nb", "x" * 121, 5):
        error_of(client.patch(SHOP, json={"title": wrong}), 422)
    assert client.patch(SHOP, json={"title": None}).json()["title"] is None


def test_a_quota_is_changed_field_by_field(client) -> None:
    client.put(SHOP).raise_for_status()
    assert client.get(SHOP).json()["quota"] == {"entries": None, "upload_bytes": None}
    for asked, then in (
        ({"entries": 5}, {"entries": 5, "upload_bytes": None}),
        ({"upload_bytes": 10**6}, {"entries": 5, "upload_bytes": 10**6}),
        ({"entries": None}, {"entries": None, "upload_bytes": 10**6}),
    ):
        assert client.patch(SHOP, json={"quota": asked}).json()["quota"] == then
    assert client.put(SHOP, json={"quota": {"entries": 1}}).json()["quota"] == {"entries": 1, "upload_bytes": 10**6}
    for wrong in ({"entries": 0}, {"entries": -1}, {"entries": 1.5}, {"bytes": 1}, {"entries": 2**63}):
        error_of(client.patch(SHOP, json={"quota": wrong}), 422)
    error_of(client.patch(SHOP, json={}), 422)
    error_of(client.patch("/v1/collections/none", json={"quota": {"entries": 1}}), 404)


def test_bytes_of_uploads_are_bounded(client, tmp_path: Path) -> None:
    sizes = {seed: len(picture(seed, (64, 64 + seed))) for seed in (1, 2, 3)}
    client.put(SHOP, json={"quota": {"upload_bytes": sizes[1] + sizes[2]}}).raise_for_status()
    assert upload(client, 1).status_code == 200
    error = error_of(upload(client, 2, 3), 413)
    assert error["code"] == "quota_exceeded"
    said = f"have {sizes[1]} bytes and may have {sizes[1] + sizes[2]}, so {sizes[2] + sizes[3]} more do not fit"
    assert said in error["message"]
    assert upload(client, 2).status_code == 200
    assert upload(client, 2, 1).status_code == 200
    client.delete(f"{SHOP}/images/1").raise_for_status()
    error_of(upload(client, 1, 3), 413)
    assert client.post(f"{SHOP}/texts", json={"texts": ["a text takes none"]}).status_code == 200
    kept = sum(path.stat().st_size for path in uploads_folder(tmp_path, "shop").rglob("*.*"))
    assert kept == sizes[2]


def test_what_is_put_by_ids_of_ones_own_is_held_to_it_and_may_replace_what_it_has(client, tmp_path: Path) -> None:
    def put(external_id: str, data: bytes):
        form = {"files": {"file": ("a.png", data)}}
        return client.put(f"{SHOP}/entries/{external_id}", **form)

    small, large, larger = picture(1, (64, 64)), picture(2, (96, 96)), picture(3, (128, 128))
    assert len(small) < len(large) < len(larger)
    most = len(small) + len(large)
    client.put(SHOP, json={"quota": {"entries": 2, "upload_bytes": most}}).raise_for_status()
    assert put("a", small).status_code == 201
    error = error_of(put("b", larger), 413)
    assert error["code"] == "quota_exceeded"
    assert f"have {len(small)} bytes and may have {most}, so {len(larger)} more do not fit" in error["message"]
    assert put("b", large).status_code == 201
    assert error_of(put("c", small), 413)["code"] == "quota_exceeded"
    client.patch(SHOP, json={"quota": {"upload_bytes": 2 * len(large)}}).raise_for_status()
    replaced = put("a", picture(2, (96, 96)))  # the old file goes as the new one comes
    assert (replaced.status_code, replaced.json()["status"]) == (200, "replaced")
    entries = [{"external_id": "b", "text": "a word"}, {"external_id": "d", "text": "another"}]
    put_all = client.put(f"{SHOP}/entries", json={"entries": entries})
    assert error_of(put_all, 413)["code"] == "quota_exceeded"
    assert counts(client) == {"image": 2, "text": 0}
    with open_collection(tmp_path, "shop") as collection:
        assert list(leftovers(collection, tmp_path)) == []


def test_what_takes_no_more_room_is_taken_where_there_is_none(tmp_path: Path) -> None:
    encoder = tiny_encoder(tmp_path)
    with client_of(create_app(settings_for(tmp_path), encoder)) as client:
        client.put(SHOP).raise_for_status()
        files = {name: picture(seed, (64 + 32 * seed,) * 2) for seed, name in enumerate(("a", "b"), start=1)}
        for name, data in files.items():
            client.put(f"{SHOP}/entries/{name}", files={"file": data}).raise_for_status()
        upload(client, 9).raise_for_status()
        for quota in ({"entries": 3, "upload_bytes": None}, {"entries": 1, "upload_bytes": 1}):
            client.patch(SHOP, json={"quota": quota}).raise_for_status()
            same = client.put(f"{SHOP}/entries/a", files={"file": files["a"]})
            assert (same.status_code, same.json()["status"]) == (200, "unchanged")
            assert upload(client, 9).status_code == 200
            described = client.put(f"{SHOP}/entries/a", files={"file": files["a"]}, data={"metadata": '{"n": 1}'})
            assert described.json()["status"] == "replaced"
            client.put(f"{SHOP}/entries/a", files={"file": files["a"]}).raise_for_status()
        smaller = client.put(f"{SHOP}/entries/b", files={"file": picture(5, (64, 64))})
        assert (smaller.status_code, smaller.json()["status"]) == (200, "replaced")
        assert error_of(client.put(f"{SHOP}/entries/b", files={"file": files["b"]}), 413)["code"] == "quota_exceeded"
        encoded = len(encoder.images)
        assert error_of(client.put(f"{SHOP}/entries/c", files={"file": picture(6)}), 413)["code"] == "quota_exceeded"
        assert len(encoder.images) == encoded  # the model was not asked in vain


def test_it_binds_whoever_writes_and_goes_with_a_backup(tmp_path: Path) -> None:
    with create_collection(tmp_path, "shop", model="m", fingerprint="f", dim=4) as shop:
        shop.set_quota(Quota(entries=4))
        x = np.eye(4, dtype=np.float32)
        shop.upsert([Entry(x[i], "image", f"/{i}") for i in range(3)])
        with pytest.raises(QuotaExceeded, match="has 3 entries and may have 4, so 2 more"):
            shop.upsert([Entry(x[i], "image", f"/{i}") for i in (2, 3, 0)] + [Entry(x[0], "text", text="a")])
        assert shop.count() == 3
        shop.set_quota(Quota(entries=1))  # what is there stays, and may be written anew
        shop.upsert([Entry(x[3], "image", "/0")])
        with pytest.raises(QuotaExceeded):
            shop.upsert([Entry(x[3], "image", "/9")])
        assert shop.check() == []
    back_up(tmp_path, "shop", tmp_path / "file")
    restore(tmp_path, tmp_path / "file", "again")
    with open_collection(tmp_path, "again") as again:
        assert again.quota == Quota(entries=1)
    for wrong in (0, -1, True, 2**63, "5"):
        with pytest.raises(InputError, match="from 1 on"):
            Quota(entries=wrong)  # type: ignore[arg-type]


def ran(*asked: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = glimpse_here(*asked)
    assert done.returncode == code, done.stderr
    return done


def test_the_command_line_sets_it_and_is_held_to_it(tmp_path: Path, tiny_run: Path, colour_folder: Path) -> None:
    data = ("--data", tmp_path / "data")
    index = ("index", colour_folder, "--collection", "hues", "--model", tiny_run, *data)
    ran(*index[:1], colour_folder / "red", *index[2:])
    said = ran("collections", "quota", "hues", "--entries", 6, "--upload-bytes", 1000, *data)
    assert said.stdout == "hues: 6 entries and 1000 bytes of uploads at most\n"
    said = ran("collections", "quota", "hues", "--upload-bytes", 0, "--json", *data)
    assert json.loads(said.stdout) == {"collection": "hues", "quota": {"entries": 6, "upload_bytes": None}}
    refused = ran(*index, code=1).stderr
    assert "collection 'hues' has 4 entries and may have 6, so 4 more do not fit; delete some" in refused
    assert "glimpse collections quota" in refused
    assert ran("collections", "title", "hues", "All hues", *data).stdout == "hues: All hues\n"
    assert "title" in ran("collections", "title", "hues", " ", *data, code=2).stderr
    assert ran("collections", "title", "hues", *data).stdout == "hues: All hues\n"
    ran("collections", "quota", "hues", "--entries", 0, *data)
    assert ran("collections", "quota", "hues", *data).stdout == "hues: no bound\n"
    ran(*index)


def test_a_job_is_held_to_it(tmp_path: Path, colour_folder: Path) -> None:
    settings = settings_for(tmp_path / "data", job_roots=str(colour_folder))
    (tmp_path / "data").mkdir()
    with serving(create_app(settings, tiny_encoder(tmp_path))) as url, Client(url) as client:
        client.create_collection("hues")
        client.set_quota("hues", entries=5)
        asked = {"kind": "index", "collection": "hues", "folders": [str(colour_folder)]}
        job = client.ask("POST", "/v1/jobs", json=asked)
        until(lambda: client.ask("GET", f"/v1/jobs/{job['id']}")["state"] == "failed")
        error = client.ask("GET", f"/v1/jobs/{job['id']}")["error"]
        assert error["code"] == "quota_exceeded"
        assert "have its quota raised" in error["message"]
        assert client.collection("hues").counts["image"] <= 5


def test_the_client_and_the_url_set_it(tmp_path: Path) -> None:
    with serving(create_app(settings_for(tmp_path), tiny_encoder(tmp_path))) as url, Client(url) as client:
        client.create_collection("shop")
        assert client.set_quota("shop", entries=2).quota == {"entries": 2, "upload_bytes": None}
        assert client.set_title("shop", "The shop").title == "The shop"
        said = ran("collections", "title", "shop", "--url", url)
        assert said.stdout == "shop: The shop\n"
        assert "The shop" in ran("collections", "--url", url).stdout
        said = ran("collections", "title", "shop", "--none", "--url", url, "--json")
        assert json.loads(said.stdout) == {"collection": "shop", "title": None}
        said = ran("collections", "quota", "shop", "--upload-bytes", 5, "--url", url, "--json")
        assert json.loads(said.stdout)["quota"] == {"entries": 2, "upload_bytes": 5}
        assert ran("collections", "quota", "shop", "--url", url).stdout == (
            "shop: 2 entries and 5 bytes of uploads at most\n"
        )
        assert client.set_quota("shop", entries=None, upload_bytes=None).quota == {
            "entries": None,
            "upload_bytes": None,
        }
