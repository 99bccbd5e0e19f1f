"""Jobs as they are kept: forgotten, damaged, gone on with, and known to two services."""

import os
import resource
import threading

import numpy as np
import pytest
from job_calls import JOBS, ask, ended, events_of, job_of, world_with_photos
from service_world import client_of, draw, picture, settings_for, tiny_encoder, until

import service.jobs.store
from base.errors import GlimpseError
from base.files import whole_file
from index.collection import open_collection
from labelling.label_sets import LabelSet, LabelSets
from service.app import create_app
from service.jobs.store import JobStore
from service.keys import Keyring


@pytest.fixture
def here(tmp_path):
    with world_with_photos(tmp_path) as made:
        yield made


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
    (store.folder / f".{jobs[0].id}.json.{'0' * 32}.part").touch()  # of one that was killed
    monkeypatch.setattr(service.jobs.store, "KEPT", 2)
    with whole_file(store.result(jobs[3].id)) as held:
        os.utime(held, (0, 0))  # of one that takes long
        store.sweep()
        assert {path.name for path in store.folder.glob(".*")} == {held.name}
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
        stops = client.app.state.service.jobs._stopping
        threading.Thread(target=lambda: stops.wait(20) and encoder.go.set()).start()
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
