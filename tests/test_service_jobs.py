"""Jobs over REST: what each kind does, their order, cancelling, following, and what is refused."""

import csv
import io
import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from job_calls import JOBS, ask, count, ended, events_of, job_of, world_with_photos
from service_world import client_of, draw, error_of, picture, settings_for, tiny_encoder, until, world

from index.local.layout import collection_folder
from index.writer_lock import lock_writer
from service.app import create_app
from service.jobs.store import JobStore
from service.keys import Rate, add_key, limit_key, remove_key
from service.routes import jobs as routes
from service.told import Told


@pytest.fixture
def here(tmp_path):
    with world_with_photos(tmp_path) as made:
        yield made


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


def test_a_label_job_says_which_labels_stand_there_twice(here):
    client, _, photos = here
    key = ask(client, "label", folder=str(photos), labels=["boat", "house", "boat|ship", "house", " "])
    told = ended(client, key)["report"]["left_out"]
    assert {"reason": "labels that stand there already", "count": 1, "first": "house (label 4)"} in told
    assert {"reason": "labels without a name", "count": 1, "first": "label 5"} in told


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


def test_who_follows_a_job_is_told_no_more_once_the_key_is_removed(here, tmp_path, monkeypatch):
    client, _, photos = here
    monkeypatch.setattr("service.routes.jobs.ALIVE_EVERY", 0.5)
    told, job_told = [], Told.job
    monkeypatch.setattr(Told, "job", lambda telling, job: told.append(job) or job_told(telling, job))
    key = ask(client, "watch", folders=[str(photos)])
    secrets = [add_key(tmp_path / "data", name, "read") for name in ("gone", "stays")]
    client.headers["Authorization"] = "Bearer " + add_key(tmp_path / "data", "owner", "admin")
    with ThreadPoolExecutor(2) as threads:
        gone, stays = (
            threads.submit(client.get, f"{JOBS}/{key}/events", headers={"Authorization": f"Bearer {secret}"})
            for secret in secrets
        )
        try:
            until(lambda: len(told) >= 3)  # one was of who asked for it
            remove_key(tmp_path / "data", "gone")
            answer = gone.result(20)
            assert (answer.status_code, "event: end" in answer.text) == (200, False)
            limit_key(tmp_path / "data", "stays", Rate(100, 100))
            assert not stays.done()
        finally:
            client.delete(f"{JOBS}/{key}")
        assert "event: end" in stays.result(20).text


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
        until(lambda: client.app.state.service.jobs._running[key].stop.is_set())  # the manager sees it
    job = ended(client, key, "cancelled")
    assert job["report"]["encoded"] == job["report"]["added"] == count(client) == 4
    assert "has been cancelled" in error_of(client.delete(f"{JOBS}/{key}"), 409)["message"]
    assert job_of(client, key) == job  # not forgotten
    assert client.delete(f"{JOBS}/{key}", params={"forget": True}).status_code == 204
    assert error_of(client.get(f"{JOBS}/{key}"), 404)["code"] == "job_not_found"
    assert ended(client, ask(client, folders=[str(photos)]))["report"]["added"] == 6


def test_a_stream_tells_what_is_what_changes_and_the_end(here, monkeypatch):
    client, encoder, photos = here
    told, begun, respond = [], threading.Event(), routes.StreamingResponse
    monkeypatch.setattr(routes, "StreamingResponse", lambda *given, **more: begun.set() or respond(*given, **more))
    with encoder.held():
        key = ask(client, folders=[str(photos)])
        assert encoder.running.wait(10)
        until(lambda: job_of(client, key)["state"] == "running")
        follower = threading.Thread(target=lambda: told.extend(events_of(client, key)))
        follower.start()
        assert begun.wait(20)
    follower.join()
    assert [name for name, _ in told][0 :: max(1, len(told) - 1)] == ["state", "end"]
    assert told[-1][1] == ended(client, key)
    assert [name for name, _ in events_of(client, key)] == ["end"]
    assert error_of(client.get(f"{JOBS}/{'0' * 20}/events"), 404)["code"] == "job_not_found"


# --- what is refused ---


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
