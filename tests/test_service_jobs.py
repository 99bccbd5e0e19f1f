"""Jobs over REST: what each kind does, their order, cancelling, following, and what they may read."""

import csv
import io
import json
import os
import resource
import threading
import time

import numpy as np
import pytest
from service_world import client_of, draw, error_of, picture, settings_for, tiny_encoder, until, world

import service.jobs.store
from base.errors import GlimpseError, ImageError
from base.sources.rules import Rules
from base.sources.walk import walk_images
from index.collection import open_collection
from index.local.layout import collection_folder
from index.writer_lock import lock_writer
from labelling.label_sets import LabelSet, LabelSets
from service.app import create_app
from service.jobs.roots import FolderRefused, Roots
from service.jobs.store import JobStore
from service.keys import Keyring, add_key

JOBS = "/v1/jobs"


@pytest.fixture
def here(tmp_path):
    """A service with the collection `pictures`, that may read `photos`, where 10 pictures lie."""
    photos = tmp_path / "photos"
    draw(photos, 10)
    (tmp_path / "data").mkdir()  # what lies in it is never watched
    with world(tmp_path / "data", n=2, job_roots=str(photos)) as (client, encoder, _):
        yield client, encoder, photos


def ask(client, kind="index", **fields):
    if kind in ("index", "watch", "reindex"):
        fields.setdefault("collection", "photos")
    answer = client.post(JOBS, json={"kind": kind, **fields})
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"{JOBS}/{answer.json()['id']}"
    return answer.json()["id"]


def job_of(client, key):
    answer = client.get(f"{JOBS}/{key}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def ended(client, key, state="succeeded"):
    until(lambda: job_of(client, key)["ended_at"])
    job = job_of(client, key)
    assert job["state"] == state, job
    return job


def count(client, name="photos"):
    answer = client.get(f"/v1/collections/{name}")
    return answer.json()["counts"]["image"] if answer.status_code == 200 else 0


def events_of(client, key):
    """(name, job) of each event of a stream, to its end."""
    with client.stream("GET", f"{JOBS}/{key}/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        blocks = [block for block in "".join(answer.iter_text()).split("\n\n") if block and block[0] != ":"]
    fields = [dict(line.split(": ", 1) for line in block.split("\n")) for block in blocks]
    assert all(field["id"].isdigit() for field in fields)
    return [(field["event"], json.loads(field["data"])) for field in fields]


# --- the kinds ---


def test_an_index_job_fills_a_collection_that_is_searched_at_once(here):
    client, _, photos = here
    (photos / "empty.jpg").touch()
    key = ask(client, folders=[str(photos)])
    job = ended(client, key)
    assert (job["done"], job["total"], job["error"], job["collection"]) == (11, 11, None, "photos")
    assert job["report"] == {
        "added": 10, "updated": 0, "moved": 0, "removed": 0, "unchanged": 0, "encoded": 10, "skipped": 1,
        "skips": [{"path": str(photos / "empty.jpg"), "reason": "the file is empty"}], "left_out": [],
    }  # fmt: skip
    assert job["created_at"] <= job["started_at"] <= job["ended_at"]
    hits = client.post("/v1/collections/photos/search", json={"text": "a boat", "limit": 20}).json()["hits"]
    assert {hit["path"] for hit in hits} == {str(path) for path in photos.glob("[0-9]*")}
    again = ended(client, ask(client, folders=[str(photos)]))["report"]
    assert (again["unchanged"], again["encoded"]) == (10, 0)


def test_captions_become_metadata(here):
    client, _, photos = here
    (photos / "said.csv").write_text("file,title\n00.jpg,a boat\ngone.png,a boat\n")
    job = ended(client, ask(client, folders=[str(photos)], captions=str(photos / "said.csv"), image_key="file"))
    unused = {"reason": "rows name no image of these folders", "count": 1, "first": "gone.png (line 3)"}
    table = {"reason": "files that are no pictures", "count": 1, "first": None}
    assert job["report"]["left_out"] == [unused, table]
    entries = client.get("/v1/collections/photos/images").json()["entries"]
    assert [e["metadata"] for e in entries if "/00." in e["path"]] == [{"title": "a boat"}]


@pytest.mark.parametrize("elsewhere", [False, True])
def test_what_was_said_of_a_deleted_entry_does_not_come_back(here, elsewhere):
    client, _, photos = here
    (photos / "said.csv").write_text("file,title\n00.jpg,a secret\n01.png,a boat\n")

    def metadata():
        job = ended(client, ask(client, folders=[str(photos)]))
        entries = client.get("/v1/collections/photos/images").json()["entries"]
        return {e["path"].rsplit("/")[-1]: (e["id"], e["metadata"]) for e in entries}, job["report"]

    ended(client, ask(client, folders=[str(photos)], captions=str(photos / "said.csv"), image_key="file"))
    for name in ("00.jpg", "01.png"):  # each goes and comes back, so that something is kept of it
        (photos / name).rename(photos.parent / name)
        assert metadata()[1]["removed"] == 1
        (photos.parent / name).rename(photos / name)
    known = metadata()[0]
    assert (known["00.jpg"][1], known["01.png"][1]) == ({"title": "a secret"}, {"title": "a boat"})
    for name in ("00.jpg", "01.png"):
        (photos / name).rename(photos.parent / name)
        if name == "00.jpg":
            assert client.delete(f"/v1/collections/photos/images/{known[name][0]}").status_code == 204
    metadata()
    for name in ("00.jpg", "01.png"):
        (photos.parent / name).rename(photos / (f"x{name}" if elsewhere else name))
    again = {name.removeprefix("x"): said for name, (_, said) in metadata()[0].items()}
    assert (again["00.jpg"], again["01.png"]) == ({}, {"title": "a boat"})


def test_a_folder_that_is_suddenly_empty_fails_the_job(here):
    client, _, photos = here
    ended(client, ask(client, folders=[str(photos)]))
    for path in photos.glob("*"):
        path.unlink()
    error = ended(client, ask(client, folders=[str(photos)]), "failed")["error"]
    assert (error["type"], error["code"]) == ("invalid_request_error", "invalid_input")
    assert "no images there now" in error["message"]
    assert "allow_empty" in error["message"]
    assert ended(client, ask(client, folders=[str(photos)], allow_empty=True))["report"]["removed"] == 10


def test_a_label_job_gives_a_csv(here):
    client, _, photos = here
    (photos / "empty.jpg").touch()
    cut = picture(77, (64, 64), "BMP")
    (photos / "11.bmp").write_bytes(cut[:-3000])
    client.put("/v1/label-sets/things", json={"labels": ["boat", "house"], "templates": ["{} at sea", "{}" * 100]})
    key = ask(client, "label", folder=str(photos), label_set="things")
    job = ended(client, key)
    assert (job["report"]["labelled"], job["report"]["skipped"], job["done"]) == (11, 1, 12)
    assert job["report"]["left_out"] == [
        {"reason": "files cut off; what there is was taken", "count": 1, "first": str(photos / "11.bmp")},
        {"reason": "prompts longer than the model reads; their ends had no influence", "count": 2, "first": None},
    ]
    assert sum(job["report"]["per_label"].values()) == 11
    answer = client.get(f"{JOBS}/{key}/result")
    assert answer.headers["content-type"].startswith("text/csv")
    header, *rows = list(csv.reader(io.StringIO(answer.text, newline="")))
    assert header == ["path", "label", "score"]
    assert [row[0] for row in rows] == sorted(str(path) for path in photos.glob("[0-9]*"))
    with (photos / rows[0][0]).open("rb") as file:
        asked = client.post("/v1/classify", files={"file": file}, data={"label_set": "things"})
    best = asked.json()["results"][0]
    assert rows[0][1] == best["label"]
    assert float(rows[0][2]) == pytest.approx(best["score"], abs=1e-3)
    assert client.delete(f"{JOBS}/{key}", params={"forget": True}).status_code == 204
    assert error_of(client.get(f"{JOBS}/{key}/result"), 404)["code"] == "job_not_found"


def test_a_reindex_job_brings_a_collection_to_the_model_that_runs(tmp_path):
    draw(tmp_path / "photos", 5)
    settings = settings_for(tmp_path, job_roots=str(tmp_path / "photos"))
    with client_of(create_app(settings, tiny_encoder(tmp_path))) as client:
        ended(client, ask(client, folders=[str(tmp_path / "photos")]))
    with client_of(create_app(settings, tiny_encoder(tmp_path, "another"))) as client:
        search = {"text": "a boat"}
        error = error_of(client.post("/v1/collections/photos/search", json=search), 409)
        assert error["code"] == "model_mismatch"
        assert "reindex" in error["message"]
        failed = ended(client, ask(client, folders=[str(tmp_path / "photos")]), "failed")
        assert failed["error"]["code"] == "model_mismatch"
        next((tmp_path / "photos").iterdir()).rename(tmp_path / "away")
        failed = ended(client, ask(client, "reindex"), "failed")
        assert failed["report"]["skipped"] == 1
        assert "drop_unreadable" in failed["error"]["message"]
        done = ended(client, ask(client, "reindex", drop_unreadable=True))["report"]
        assert (done["resumed"], done["dropped"], done["swapped"]) == (4, 1, True)
        assert len(client.post("/v1/collections/photos/search", json=search).json()["hits"]) == 4


def test_a_watch_follows_until_it_is_cancelled_and_lets_others_work(here):
    client, _, photos = here
    key = ask(client, "watch", folders=[str(photos)])
    until(lambda: count(client) == 10)
    (photos / "new.png").write_bytes(picture(99))
    other = ask(client, collection="others", folders=[str(photos)])
    assert ended(client, other)["report"]["added"] >= 10
    until(lambda: count(client) == 11)
    until(lambda: (job_of(client, key)["report"] or {}).get("added") == 11)
    error = error_of(client.post(JOBS, json={"kind": "index", "collection": "photos", "folders": [str(photos)]}), 409)
    assert error["code"] == "collection_locked"
    assert key in error["message"]
    assert client.delete(f"{JOBS}/{key}").status_code == 202
    ended(client, key, "cancelled")
    (photos / "newer.png").write_bytes(picture(98))
    assert ended(client, ask(client, folders=[str(photos)]))["report"]["added"] == 1


def test_jobs_tell_what_was_not_taken_or_not_wholly_and_a_watch_forgets_none_of_it(here):
    client, _, photos = here
    (photos / "cut.jpg").write_bytes(picture(50, (320, 240), "JPEG")[:3000])
    (photos.parent / "elsewhere").mkdir()
    (photos / "link").symlink_to(photos.parent / "elsewhere")
    (photos / "empty").mkdir()

    def told(key):
        return {one["reason"].split(" (")[0]: one for one in (job_of(client, key)["report"] or {}).get("left_out", [])}

    key = ask(client, "watch", folders=[str(photos)])
    until(lambda: told(key))
    (photos / "first.png").write_bytes(picture(98))
    until(lambda: job_of(client, key)["report"]["added"] == 12)  # it has come through its own first look
    (photos / "more").mkdir()
    (photos / "more/link").symlink_to(photos.parent / "elsewhere")
    (photos / "more/new.png").write_bytes(picture(99))
    until(lambda: job_of(client, key)["report"]["added"] == 13)
    cut, linked = "files cut off; what there is was taken", "linked folders"
    until(lambda: told(key)[linked]["count"] == 2)
    assert told(key)[linked]["first"] == str(photos / "link")
    assert (told(key)[cut]["count"], told(key)[cut]["first"]) == (1, str(photos / "cut.jpg"))
    client.delete(f"{JOBS}/{key}")
    ended(client, key, "cancelled")
    key = ask(client, folders=[str(photos)], exclude=["0*"])
    ended(client, key)
    reason = "entries removed whose files are there, left out by their names"
    assert told(key)[reason] == {"reason": reason, "count": 10, "first": None}
    key = ask(client, folders=[str(photos / "empty")], allow_empty=True)
    ended(client, key)
    assert told(key)["folders without any image"]["first"] == str(photos / "empty")


def test_a_watch_ends_when_its_collection_is_deleted_and_does_not_bring_it_back(here):
    client, _, photos = here
    key = ask(client, "watch", folders=[str(photos)])
    until(lambda: (job_of(client, key)["report"] or {}).get("added") == 10)
    until(lambda: client.delete("/v1/collections/photos").status_code == 204)
    assert ended(client, key, "failed")["error"]["code"] == "collection_not_found"
    (photos / "new.png").write_bytes(picture(99))
    assert client.get("/v1/collections/photos").status_code == 404


# --- order, cancelling, following ---


def test_jobs_run_one_after_another_and_the_service_answers_meanwhile(here):
    client, encoder, photos = here
    with encoder.held():
        first = ask(client, folders=[str(photos)])
        assert encoder.running.wait(10)
        second = ask(client, "label", folder=str(photos), labels=["a", "b"])
        third = ask(client, collection="others", folders=[str(photos)])
        until(lambda: job_of(client, first)["state"] == "running")
        assert [job_of(client, key)["state"] for key in (second, third)] == ["queued"] * 2
        assert client.get("/health/ready").status_code == 200
        assert len(client.post("/v1/collections/pictures/search", json={"id": 1}).json()["hits"]) == 1
        running = 'glimpse_jobs{state="running"} 1.0', 'glimpse_jobs{state="queued"} 2.0'
        assert all(line in client.get("/metrics").text for line in running)
        listed = client.get(JOBS).json()["jobs"]
        assert [job["id"] for job in listed] == [third, second, first]
        page = client.get(JOBS, params={"limit": 2}).json()
        assert page["next"] == second
        assert [j["id"] for j in client.get(JOBS, params={"after": page["next"]}).json()["jobs"]] == [first]
        assert [j["id"] for j in client.get(JOBS, params={"state": "running"}).json()["jobs"]] == [first]
        assert [j["id"] for j in client.get(JOBS, params={"collection": "others"}).json()["jobs"]] == [third]
        assert error_of(client.get(f"{JOBS}/{second}/result"), 409)["code"] == "job_not_ended"
        assert client.delete(f"{JOBS}/{second}").json()["state"] == "cancelling"
        ended(client, second, "cancelled")
    first, third = ended(client, first), ended(client, third)
    assert first["ended_at"] <= third["started_at"]


def test_a_watch_waits_for_the_job_that_has_its_collection_and_for_no_other(here):
    client, encoder, photos = here
    with encoder.held():
        first = ask(client, folders=[str(photos)])
        assert encoder.running.wait(10)
        waits = ask(client, "watch", folders=[str(photos)])
        runs = ask(client, "watch", collection="others", folders=[str(photos)])
        until(lambda: job_of(client, runs)["state"] == "running")
        assert job_of(client, waits)["state"] == "queued"
    ended(client, first)
    until(lambda: job_of(client, waits)["state"] == "running")


def test_a_job_that_another_process_keeps_waiting_says_so_and_lets_others_run(here):
    client, _, photos = here
    ended(client, ask(client, folders=[str(photos)]))
    data = client.app.state.service.settings.data
    lock = lock_writer(collection_folder(data, "photos"), "photos")
    key = ask(client, folders=[str(photos)])
    ended(client, ask(client, collection="others", folders=[str(photos)]))
    until(lambda: job_of(client, key)["waiting"])
    waits = job_of(client, key)
    assert waits["state"] == "queued"
    assert waits["waiting"].startswith("collection 'photos' is being written to by process")
    assert JobStore(data).get(key).starts == 0  # it may wait through any number of restarts
    os.close(lock)
    assert ended(client, key)["waiting"] is None


def test_what_cannot_be_kept_is_said_so(here):
    client, encoder, photos = here
    with encoder.held():
        first = ask(client, folders=[str(photos)])
        assert encoder.running.wait(10)
        second = ask(client, "label", folder=str(photos), labels=["a", "b"])
        jobs = client.app.state.service.settings.data / "jobs"
        (jobs / f"{second}.csv").mkdir()
    ended(client, first)
    assert ended(client, second, "failed")["error"]["message"].startswith("the job cannot be kept: Is a directory; ")
    refused = client.delete(f"{JOBS}/{second}", params={"forget": True})
    assert error_of(refused, 500)["message"].startswith("the job cannot be kept: ")


def test_requests_come_between_two_pieces_of_a_job(here):
    client, encoder, photos = here
    encoder.images.clear()
    ended(client, ask(client, folders=[str(photos)]))
    assert max(encoder.images) <= encoder.batch_size // 4
    assert sum(encoder.images) == 10


def test_uploads_come_through_while_a_job_fills_the_same_collection(here, monkeypatch):
    client, encoder, photos = here
    ended(client, ask(client, folders=[str(photos)]))
    draw(photos / "more", 10)
    for seed, path in enumerate(sorted((photos / "more").iterdir())):
        path.write_bytes(picture(200 + seed))
    with encoder.held():
        key = ask(client, folders=[str(photos)])
        assert encoder.running.wait(10)
        until(lambda: job_of(client, key)["state"] == "running")
        first = client.get("/v1/collections/photos/images").json()["entries"][0]["id"]
        changed = client.patch(f"/v1/collections/photos/images/{first}", json={"tags": ["mine"]})
        assert changed.status_code == 200, changed.text
        assert changed.json()["metadata"] == {"tags": ["mine"]}
        monkeypatch.setattr("service.collections.writers.PATIENCE", 0.1)
        error = error_of(client.delete("/v1/collections/photos"), 409)
        assert key in error["message"]
    assert ended(client, key)["report"]["added"] == 10
    assert client.delete("/v1/collections/photos").status_code == 204


def test_a_cancelled_job_keeps_what_it_has_committed(here, monkeypatch):
    client, encoder, photos = here
    monkeypatch.setattr(encoder, "batch_size", 4)
    encoder.images.clear()

    def hold():
        if sum(encoder.images) > 6:  # in the middle of the second batch
            encoder.running.set()
            assert encoder.go.wait(20)

    monkeypatch.setattr(encoder, "_hold", hold)
    with encoder.held():
        key = ask(client, folders=[str(photos)])
        assert encoder.running.wait(10)
        assert client.delete(f"{JOBS}/{key}").status_code == 202
        assert job_of(client, key)["state"] == "cancelling"
        refused = client.delete(f"{JOBS}/{key}", params={"forget": True})
        assert error_of(refused, 409)["code"] == "job_not_ended"
        time.sleep(1)  # the manager sees it
    job = ended(client, key, "cancelled")
    assert job["report"]["encoded"] == job["report"]["added"] == count(client) == 4
    assert "has been cancelled" in error_of(client.delete(f"{JOBS}/{key}"), 409)["message"]
    assert job_of(client, key) == job  # not forgotten
    assert client.delete(f"{JOBS}/{key}", params={"forget": True}).status_code == 204
    assert error_of(client.get(f"{JOBS}/{key}"), 404)["code"] == "job_not_found"
    assert ended(client, ask(client, folders=[str(photos)]))["report"]["added"] == 6


def test_a_stream_tells_what_is_what_changes_and_the_end(here):
    client, encoder, photos = here
    told = []
    with encoder.held():
        key = ask(client, folders=[str(photos)])
        assert encoder.running.wait(10)
        until(lambda: job_of(client, key)["state"] == "running")
        follower = threading.Thread(target=lambda: told.extend(events_of(client, key)))
        follower.start()
        time.sleep(0.2)
    follower.join()
    assert [name for name, _ in told][0 :: max(1, len(told) - 1)] == ["state", "end"]
    assert told[-1][1] == ended(client, key)
    assert [name for name, _ in events_of(client, key)] == ["end"]
    assert error_of(client.get(f"{JOBS}/{'0' * 20}/events"), 404)["code"] == "job_not_found"


# --- what is refused ---


@pytest.fixture
def roots(tmp_path):
    (tmp_path / "photos" / "in").mkdir(parents=True)
    (tmp_path / "photos2").mkdir()
    (tmp_path / "secret").mkdir()
    draw(tmp_path / "photos" / "in", 1)
    draw(tmp_path / "secret", 1)
    (tmp_path / "photos" / "out").symlink_to(tmp_path / "secret")
    (tmp_path / "alias").symlink_to(tmp_path / "photos")
    return tmp_path


def test_only_what_lies_in_a_root_is_read(roots):
    allowed = Roots([str(roots / "photos")])
    assert allowed.folder(f"{roots}/photos/in/../in") == roots / "photos" / "in"
    assert allowed.folder(f"{roots}/alias/in") == roots / "alias" / "in"  # it leads into the root
    messages = set()
    for refused in ("secret", "photos2", "photos/out", "photos/../secret", "alias/../secret", "photos/none", "none",
                    "photos/in/00.jpg", "photos/\0", "photos/" + "x" * 5000, "photos/" + "x/" * 3000):  # fmt: skip
        with pytest.raises(FolderRefused) as error:
            allowed.folder(f"{roots}/{refused}")
        messages.add(str(error.value).replace(repr(f"{roots}/{refused}"), ""))
    assert len(messages) == 1  # nobody learns what is there
    assert Roots([str(roots / "alias")]).folder(f"{roots}/photos/in") == roots / "photos" / "in"
    with pytest.raises(FolderRefused):
        Roots([]).folder(str(roots))
    assert Roots(["/"]).folder(str(roots)) == roots


def test_a_file_that_is_exchanged_is_read_as_it_was_opened(roots):
    allowed = Roots([str(roots / "photos")])
    photo, secret = next((roots / "photos" / "in").iterdir()), next((roots / "secret").iterdir())
    secret.write_bytes(picture(9))
    inside = photo.read_bytes()
    with allowed.opened(photo) as held:
        photo.rename(photo.with_name("moved.png"))
        photo.symlink_to(secret)
        assert held.read_bytes() == inside
    for read in (allowed.read, allowed.read_indexed, lambda path: allowed.read_indexed(roots / "alias/in" / path.name)):
        with pytest.raises(ImageError, match=r"^.*/in/.*: it leads to where nothing may be read or written$"):
            read(photo)
        assert read(photo.with_name("moved.png")) == inside
    os.mkfifo(photo.with_name("pipe.png"))
    with pytest.raises(ImageError, match="empty"):
        allowed.read(photo.with_name("pipe.png"))
    assert allowed.read_indexed(secret) == secret.read_bytes()  # as `glimpse index` found it
    with pytest.raises(ImageError):
        allowed.read(secret)


def test_a_link_that_leads_out_is_left_out_and_one_that_stays_is_not(roots):
    photos, secret = roots / "photos", roots / "secret"
    target = next(secret.iterdir())
    (photos / "in" / "bad.png").symlink_to(target)
    (photos / "in" / "good.png").symlink_to(next((photos / "in").glob("0*")))
    (photos / "in" / "folder").symlink_to(secret)
    with world(roots, n=1, job_roots=str(photos)) as (client, _, _):
        job = ended(client, ask(client, folders=[str(photos)]))
        assert job["report"]["added"] == 2
        assert [skip["path"] for skip in job["report"]["skips"]] == [str(photos / "in" / "bad.png")]
        key = ask(client, "label", folder=str(photos), labels=["a", "b"])
        assert ended(client, key)["report"]["skipped"] == 1
        assert "bad.png" not in client.get(f"{JOBS}/{key}/result").text
        (left_out,) = job["report"]["left_out"]
        reason = "linked folders (follow_links follows them)"
        assert (left_out["reason"], left_out["count"]) == (reason, 2)
        job = ended(client, ask(client, "label", folder=str(photos), labels=["a", "b"], exclude=["0*"]))
        assert "names by exclude" in {left_out["reason"] for left_out in job["report"]["left_out"]}
        (photos / "empty").mkdir()
        (photos / "empty" / "scan.jpg~").touch()
        for fields in ({"folders": [str(photos / "empty")]}, {"folder": str(photos / "empty"), "labels": ["a"]}):
            job = ended(client, ask(client, "label" if "labels" in fields else "index", **fields), "failed")
            assert "no image in" in job["error"]["message"]
            assert "(any_name looks at what is in them)" in job["error"]["message"]
        for folder in (secret, photos / "out", roots / "photos2", roots / "none", "/etc"):
            for asked in (
                {"kind": "index", "collection": "x", "folders": [str(folder)]},
                {"kind": "watch", "collection": "x", "folders": [str(photos), str(folder)]},
                {"kind": "label", "folder": str(folder), "labels": ["a"]},
                {"kind": "index", "collection": "x", "folders": [str(photos)], "captions": str(folder / "x.csv")
                 if folder != "/etc" else "/etc/passwd"},
            ):  # fmt: skip
                assert error_of(client.post(JOBS, json=asked), 403)["code"] == "folder_refused"
        assert len(client.get(JOBS).json()["jobs"]) == 5


def test_links_are_followed_into_the_roots_and_not_out_of_them(roots):
    photos, more, secret = roots / "photos", roots / "more", roots / "secret"
    for i in range(3):
        draw(more / str(i), 1)
    (more / "0" / "00.jpg").rename(more / "0" / "odd")
    (photos / "into").symlink_to(more)
    (photos / "in" / "secretly").symlink_to(next(secret.iterdir()))  # a picture, but for its name
    out = f"{photos}/out"
    with world(roots, n=1, job_roots=f"{photos},{more}") as (client, _, _):
        asked = {"follow_links": True, "any_name": True}
        job = ended(client, ask(client, folders=[str(photos)], **asked))
        assert job["report"]["added"] == job["total"] == 4
        assert job["report"]["skips"] == [{"path": out, "reason": "it leads to where nothing may be read or written"}]
        others = {"reason": "files that are no pictures", "count": 1, "first": None}
        assert job["report"]["left_out"] == [others]
        key = ask(client, "label", folder=str(photos), labels=["a", "b"], **asked)
        report = ended(client, key)["report"]
        assert (report["labelled"], report["skips"]) == (4, job["report"]["skips"])
        written = client.get(f"{JOBS}/{key}/result").text
        assert "/into/0/odd," in written
        assert "secret" not in written
        watch = {"kind": "watch", "collection": "x", "folders": [str(photos)], "follow_links": True}
        assert "name the folders that they lead to" in error_of(client.post(JOBS, json=watch), 422)["message"]


def test_a_folder_that_is_exchanged_in_a_walk_is_not_listed(roots):
    photos, secret = roots / "photos", roots / "secret"
    names, failed = [], []
    rules = Rules(opened=Roots([str(photos)]).entered)
    (photos / "in" / "later").mkdir()
    (photos / "out").unlink()
    for path, _ in walk_images(photos, rules=rules, on_error=lambda path, reason: failed.append((path, reason))):
        names.append(path.name)
        (photos / "in" / "later").rmdir()  # when it has been found to be a folder, and not entered yet
        (photos / "in" / "later").symlink_to(secret)
    assert names == ["00.jpg"]
    assert failed == [(photos / "in" / "later", "it leads to where nothing may be read or written")]


def test_an_ignore_file_is_opened_and_judged_as_any_file(roots):
    photos, secret = roots / "photos", roots / "secret"
    (secret / "names").write_text("00.png\n")
    ignore = photos / "in" / ".glimpseignore"
    draw(photos, 1)
    with world(roots, n=1, job_roots=str(photos)) as (client, _, _):
        (photos / "in" / "names").write_text("00*\n")
        ignore.symlink_to("names")  # one that stays inside is read
        report = ended(client, ask(client, folders=[str(photos)]))["report"]
        assert "names by .glimpseignore" in {left_out["reason"] for left_out in report["left_out"]}
        for leads_out in (secret / "names", secret / "none"):
            ignore.unlink()
            ignore.symlink_to(leads_out)
            job = ended(client, ask(client, folders=[str(photos)]), "failed")
            assert job["error"]["message"].startswith(f"{ignore}: cannot be read (")


def test_contents_are_checked_when_that_is_asked_for(here):
    client, _, photos = here
    ended(client, ask(client, folders=[str(photos)]))
    changed, kept = photos / "00.jpg", (photos / "00.jpg").stat()
    looked = (
        time.time_ns() + 10**18
    )  # as if it had been looked at since: what was done to it cannot be known by its ctime
    with open_collection(client.app.state.service.settings.data, "photos", writable=True) as collection:
        places = collection.places()
        collection.set_places(places | {"looked": dict.fromkeys(places["looked"], looked)})
    data = bytearray(changed.read_bytes())
    data[-30] ^= 1
    changed.write_bytes(data)
    os.utime(changed, ns=(kept.st_atime_ns, kept.st_mtime_ns))
    assert ended(client, ask(client, folders=[str(photos)]))["report"]["updated"] == 0
    assert ended(client, ask(client, folders=[str(photos)], check_contents=True))["report"]["updated"] == 1


def test_a_folder_is_checked_again_when_its_job_runs(here):
    client, encoder, photos = here
    (photos / "later").mkdir()
    draw(photos / "later", 1)
    with encoder.held():
        first = ask(client, folders=[str(photos)])
        assert encoder.running.wait(10)
        second = ask(client, collection="others", folders=[str(photos / "later")])
        (photos / "later").rename(photos.parent / "moved")
        (photos / "later").symlink_to(photos.parent / "moved")
    ended(client, first)
    assert ended(client, second, "failed")["error"]["code"] == "folder_refused"


def test_without_roots_no_job_reads_a_folder(tmp_path):
    with world(tmp_path, n=1) as (client, _, _):
        asked = {"kind": "index", "collection": "x", "folders": [str(tmp_path)]}
        error = error_of(client.post(JOBS, json=asked), 403)
        assert "GLIMPSE_JOB_ROOTS" in error["message"]
        assert ended(client, ask(client, "reindex", collection="pictures"))["report"]["swapped"] is False
        assert error_of(client.post(JOBS, json={"kind": "reindex", "collection": "none"}), 404)


@pytest.mark.parametrize(
    "asked",
    [
        {}, {"kind": "train"}, {"kind": "index", "collection": "x"},
        {"kind": "index", "collection": "x", "folders": []},
        {"kind": "index", "collection": "X!", "folders": ["/a"]}, {"kind": "label", "folder": "/a"},
        {"kind": "index", "collection": "x", "folders": ["relative"]}, {"kind": "reindex", "collection": "x", "a": 1},
        {"kind": "label", "folder": "/a", "labels": ["a"], "label_set": "b"},
        {"kind": "label", "folder": "", "labels": []},
        {"kind": "index", "collection": "x", "folders": ["/a\ud800"]},
    ],
)  # fmt: skip
def test_what_is_no_job_is_422(client, asked):
    answer = client.post(JOBS, content=json.dumps(asked), headers={"Content-Type": "application/json"})
    assert error_of(answer, 422)


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    folder = tmp_path_factory.mktemp("jobs")
    with client_of(create_app(settings_for(folder, job_roots=str(folder)), tiny_encoder(folder))) as client:
        yield client


def test_a_parameter_that_is_null_counts_as_absent(here):
    client, _, photos = here
    key = ask(client, folders=[str(photos)])
    ended(client, key)
    page = client.get(JOBS, params={"limit": "", "after": "null", "state": "null", "collection": ""})
    assert [job["id"] for job in page.json()["jobs"]] == [key]
    images = "/v1/collections/photos/images"
    found = client.get(images, params={"limit": "null", "after": "", "filter": ""})
    assert found.json() == client.get(images).json()
    entry = found.json()["entries"][0]["id"]
    small = client.get(f"{images}/{entry}/thumbnail?size=")
    assert (small.status_code, small.content) == (200, client.get(f"{images}/{entry}/thumbnail").content)
    assert error_of(client.get(images, params={"limit": "0"}), 422)["param"] == "limit"
    assert error_of(client.delete(f"{JOBS}/{key}", params={"forget": "null"}), 409)["code"] == "job_ended"


def test_labels_are_checked_when_they_are_asked_for(client, tmp_path_factory):
    folder = str(client.app.state.service.settings.data)
    asked = {"kind": "label", "folder": folder, "labels": ["a"] * 2, "templates": ["no place"]}
    assert error_of(client.post(JOBS, json=asked), 422)
    asked = {"kind": "label", "folder": folder, "labels": [str(i) for i in range(5000)]}
    assert error_of(client.post(JOBS, json=asked), 422)
    asked = {"kind": "label", "folder": folder, "labels": ["boat"], "scores": "sigmoid"}
    error = error_of(client.post(JOBS, json=asked), 422)
    assert (error["param"], error["message"][:32]) == ("scores", "this model has no sigmoid scores")
    asked = {"kind": "label", "folder": folder, "label_set": "none"}
    assert error_of(client.post(JOBS, json=asked), 404)["code"] == "label_set_not_found"
    asked = {"kind": "label", "folder": folder, "label_set": "../x"}
    assert error_of(client.post(JOBS, json=asked), 422)
    assert error_of(client.get(f"{JOBS}/../x"), 404)
    assert error_of(client.get(f"{JOBS}/nothing"), 422)
    assert client.get(JOBS).json() == {"jobs": [], "next": None}


def test_asking_and_cancelling_need_an_admin_key_and_reading_a_read_key(tmp_path):
    keys = {scope: add_key(tmp_path, scope, scope) for scope in ("read", "admin")}
    with world(tmp_path, n=1) as (client, _, _):
        bearer = {scope: {"Authorization": f"Bearer {key}"} for scope, key in keys.items()}
        asked = {"kind": "reindex", "collection": "pictures"}
        assert error_of(client.post(JOBS, json=asked, headers=bearer["read"]), 403)["code"] == "insufficient_scope"
        key = client.post(JOBS, json=asked, headers=bearer["admin"]).json()["id"]
        assert client.get(f"{JOBS}/{key}", headers=bearer["read"]).status_code == 200
        assert client.get(f"{JOBS}/{key}/events", headers=bearer["read"]).status_code == 200
        assert error_of(client.delete(f"{JOBS}/{key}", headers=bearer["read"]), 403)
        assert error_of(client.get(f"{JOBS}/{key}"), 401)


# --- what is kept ---


def test_old_jobs_are_forgotten_with_their_results(tmp_path, monkeypatch):
    store = JobStore(tmp_path)
    assert store.all() == []
    jobs = [store.new("label", {}, None, {}) for _ in range(5)]
    for job in jobs[:4]:
        job.state, job.ended_at = "succeeded", service.jobs.store.now()
    jobs[0].ended_at = "2020-01-01T00:00:00+00:00"
    for job in jobs:
        store.save(job)
        store.result(job.id).touch()
    (store.folder / ".left.part").touch()
    os.utime(store.folder / ".left.part", (0, 0))
    monkeypatch.setattr(service.jobs.store, "KEPT", 2)
    store.sweep()
    left = {job.id for job in store.all()}
    assert left == {job.id for job in jobs[2:]}
    assert {path.stem for path in store.folder.iterdir()} == left


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, b"{"),
        (None, b"\xff\xfe"),
        (None, b"[]"),
        (b'"kind": "label"', b'"kind": "libel"'),
        (b'"state": "queued"', b'"state": "quaued"'),
        (b'"collection": null', b'"collection": []'),
        (b'"collection": null', b'"collection": "Shop"'),
        (b'"ended_at": null', b'"ended_at": 7'),
        (b'"ended_at": null', b'"ended_at": "yesterday"'),
        (b'"starts": 0', b'"starts": "0"'),
        (b'"keep"', b'"kept"'),
        (b'"id": "0', b'"id": "1'),
    ],
)
def test_a_job_whose_file_is_damaged_has_failed(tmp_path, before, after):
    store = JobStore(tmp_path)
    good, bad = store.new("label", {}, None, {}), store.new("label", {}, None, {})
    file = store.folder / f"{bad.id}.json"
    content = file.read_bytes()
    assert before is None or before in content
    file.write_bytes(after if before is None else content.replace(before, after))
    store = JobStore(tmp_path)
    assert {job.id: job.state for job in store.all()} == {bad.id: "failed", good.id: "queued"}
    found = store.get(bad.id)
    assert (found.error["code"], found.created_at[:16]) == ("job_damaged", good.created_at[:16])
    store.sweep()
    assert len(store.all()) == 2
    store.forget(bad.id)
    assert [job.id for job in store.all()] == [good.id]


def test_a_job_that_cannot_be_read_for_now_is_not_taken_for_damaged(tmp_path):
    job = JobStore(tmp_path).new("label", {}, None, {})
    store = JobStore(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        found = store.get(job.id)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert found is None
    assert store.get(job.id).state == "queued"
    (store.folder / f"{'0' * 20}.json").write_text("{")  # of 1970, as its id says
    store.sweep()
    assert [job.kind for job in store.all()] == ["label", None]


def test_what_is_no_file_is_waited_for_by_nobody(tmp_path):
    job = JobStore(tmp_path).new("label", {}, None, {})
    os.mkfifo(tmp_path / "jobs" / f"{'0' * 20}.json")
    assert [each.id for each in JobStore(tmp_path).all()] == [job.id]
    LabelSets(tmp_path).put("pets", LabelSet.of(["a", "b"]))
    os.mkfifo(tmp_path / "label-sets" / "odd.json")
    with pytest.raises(GlimpseError, match="'odd' is damaged"):
        LabelSets(tmp_path).get("odd")
    os.mkfifo(tmp_path / "keys.json")
    assert Keyring(tmp_path).required


def test_damaged_jobs_are_answered_as_failed_and_the_others_go_on(here):
    client, _, photos = here
    keys = [ask(client, folders=[str(photos)]) for _ in range(3)]
    for key in keys:
        ended(client, key)
    folder = photos.parent / "data" / "jobs"
    harms = ((b'"index"', b'"ondex"'), (b'"folders"', b'"golders"'), (b'"added"', b'"adder"'))
    for key, harm in zip(keys, harms, strict=True):
        file = folder / f"{key}.json"
        file.write_bytes(file.read_bytes().replace(*harm))
        assert job_of(client, key)["state"] == "failed"
    (folder / f"{'0' * 20}.json").write_text('{"collection": []}')
    jobs = {job["id"]: job for job in client.get(JOBS).json()["jobs"]}
    assert [jobs[key]["error"]["code"] for key in (*keys, "0" * 20)] == ["job_damaged"] * 4
    assert [jobs[key]["kind"] for key in keys] == [None, "index", "index"]
    assert [events_of(client, key)[-1][0] for key in keys] == ["end"] * 3
    ended(client, ask(client, folders=[str(photos)]))
    for key in keys:
        assert client.delete(f"{JOBS}/{key}?forget=true").status_code == 204


def test_a_file_with_the_inode_and_the_time_of_the_one_before_is_read_anew(tmp_path):
    store = JobStore(tmp_path)
    job = store.new("label", {}, None, {})
    file = store.folder / f"{job.id}.json"
    before = file.stat()
    assert store.get(job.id).state == "queued"
    file.write_text(file.read_text().replace("queued", "succeeded"))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_ino == before.st_ino
    assert store.get(job.id).state == "succeeded"


def vectors_of(data, name):
    with open_collection(data, name) as collection:
        records = sorted(collection.records(), key=lambda record: str(record.path))
        return [record.path for record in records], collection.vectors([record.id for record in records])


def test_an_orderly_stop_leaves_a_job_to_be_gone_on_with(tmp_path):
    draw(tmp_path / "photos", 40)
    for seed, path in enumerate(sorted((tmp_path / "photos").iterdir())):
        path.write_bytes(picture(seed))
    settings = settings_for(tmp_path, job_roots=str(tmp_path / "photos"))
    encoder = tiny_encoder(tmp_path)
    with client_of(create_app(settings, encoder)) as client:
        encoder.go.clear()
        encoder.running.clear()
        key = ask(client, folders=[str(tmp_path / "photos")])
        assert encoder.running.wait(10)
        threading.Timer(0.3, encoder.go.set).start()  # when the service has been told to stop
    kept = JobStore(tmp_path).get(key)
    assert (kept.state, kept.starts) == ("queued", 0)
    with client_of(create_app(settings, tiny_encoder(tmp_path))) as client:
        ended(client, key)
    paths, vectors = vectors_of(tmp_path, "photos")
    assert paths == sorted(map(str, (tmp_path / "photos").iterdir()))
    np.testing.assert_allclose(vectors, encoder.encode_images(paths), atol=2e-3)


def test_a_job_that_ends_the_process_again_and_again_is_given_up(tmp_path):
    store = JobStore(tmp_path)
    job = store.new("index", {"collection": "x", "folders": ["/"], "kind": "index"}, "x", {})
    job.state, job.starts = "running", 3
    store.save(job)
    with client_of(create_app(settings_for(tmp_path), tiny_encoder(tmp_path))) as client:
        error = ended(client, job.id, "failed")["error"]
    assert (error["code"], error["type"]) == ("job_abandoned", "server_error")


def test_of_two_services_one_runs_jobs_and_both_know_them(tmp_path):
    draw(tmp_path / "photos", 3)
    settings = settings_for(tmp_path, job_roots=str(tmp_path / "photos"))
    encoders = [tiny_encoder(tmp_path), tiny_encoder(tmp_path)]
    apps = [create_app(settings, encoder) for encoder in encoders]
    with client_of(apps[0]) as first, client_of(apps[1]) as second:
        ended(first, ask(first, folders=[str(tmp_path / "photos")]))
        idle, busy = sorted(encoders, key=lambda encoder: sum(encoder.images))
        assert (sum(idle.images), sum(busy.images)) == (1, 4)  # the one of warming up
        with busy.held():
            key = ask(second, "label", folder=str(tmp_path / "photos"), labels=["a", "b"])
            assert busy.running.wait(10)
            until(lambda: job_of(first, key)["state"] == job_of(second, key)["state"] == "running")
            assert first.delete(f"{JOBS}/{key}").status_code == 202
            assert second.delete(f"{JOBS}/{key}").status_code == 202
        ended(second, key, "cancelled")
        ended(first, key, "cancelled")
