"""Folders of the server, and where its models come from, are told to keys that may change things and to no others."""

import json
from functools import partial
from pathlib import Path

import pytest
from service_world import add_collection, client_of, draw, error_of, picture, settings_for, tiny_encoder, until
from test_service_models import encoders, runs  # noqa: F401  fixtures

from index.collection import create_collection
from labelling.label_sets import LabelSet, LabelSets
from labelling.learned import Learned
from service.app import create_app
from service.keys import add_key


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """Where all of the server's lies; entries lie elsewhere, for their paths are told."""
    return tmp_path_factory.mktemp("secret-place")


@pytest.fixture(scope="module")
def client(place, tmp_path_factory, runs, encoders):  # noqa: F811
    """A service with all that may name a folder: models, a job that failed, a run, a broken collection."""
    ref = place / "run"
    ref.mkdir()
    for file in runs["one"].iterdir():
        (ref / file.name).write_bytes(file.read_bytes())
    data, photos = place / "data", place / "photos"
    draw(photos, 2)
    add_collection(data, encoders["one"], draw(tmp_path_factory.mktemp("entries"), 2))
    broken = data / "collections" / "broken"
    broken.mkdir()
    (broken / "catalog.sqlite").write_bytes(b"no catalog, and long enough for one to be seen" * 300)
    create_collection(data, "lost", model=str(place / "gone"), fingerprint="gone", dim=32).close()
    (data / "collections" / "away").symlink_to(place / "disk" / "away")
    learned = Learned("elsewhere", model=str(place / "learner"))
    LabelSets(data).put("learned", LabelSet.of(["a", "b"], learned=learned))
    made = settings_for(data, model=str(ref), models=f"bad={place / 'none'}", device="cpu", job_roots=str(place))
    with client_of(create_app(made)) as client:
        for asked in (
            {"kind": "label", "folder": str(photos), "labels": ["a", "b"], "out": [str(place / "out.csv")]},
            {"kind": "index", "collection": "new", "folders": [str(photos)]},
        ):
            job = client.post("/v1/jobs", json=asked).json()["id"]
            until(lambda job=job: client.get(f"/v1/jobs/{job}").json()["state"] not in ("queued", "running"))
        (photos / "torn.jpg").write_bytes(b"\xff\xd8\xff nothing")
        for asked in ({"kind": "index", "collection": "new", "folders": [str(photos)]},
                      {"kind": "index", "collection": "broken", "folders": [str(photos)]}):  # fmt: skip
            job = client.post("/v1/jobs", json=asked).json()["id"]
            until(lambda job=job: client.get(f"/v1/jobs/{job}").json()["state"] not in ("queued", "running"))
        client.post("/v1/embeddings", json={"input": "a", "model": "bad"})
        client.headers["Authorization"] = "Bearer " + add_key(data, "reader", "read")
        client.owner = {"Authorization": "Bearer " + add_key(data, "owner", "admin")}
        yield client


def answers(client, **asked) -> dict[str, str]:
    """What every route that reads says."""
    runs = client.get("/v1/label-runs", **asked).json()["label_runs"]  # noqa: F811
    jobs = client.get("/v1/jobs", **asked).json()["jobs"]
    paths = ["/health/ready", "/v1/info", "/v1/models", "/v1/collections", "/v1/collections/pictures", "/metrics"]
    paths += ["/v1/collections/broken", "/v1/label-sets", "/v1/label-sets/learned", "/v1/jobs", "/v1/label-runs"]
    paths += [f"/v1/jobs/{job['id']}" for job in jobs] + [f"/v1/jobs/{job['id']}/events" for job in jobs]
    paths += [f"/v1/label-runs/{run['id']}" for run in runs] + ["/v1/label-runs/none", "/v1/collections/none"]
    paths += [
        f"/v1/collections/{name}/{what}"
        for name in ("broken", "lost", "away")
        for what in ("changes", "facets", "images")
    ]
    paths += ["/v1/collections/lost/changes?after=0-0-0-0", "/v1/collections/lost/entries/none"]
    said = {path: client.get(path, **asked).text for path in paths}
    image = picture(3).hex()
    for path, body in (
        ("/v1/embeddings", {"input": "a", "model": "bad"}),
        ("/v1/embeddings", {"input": "a"}),
        ("/v1/collections/broken/search", {"text": "a"}),
        ("/v1/collections/broken/facet", {"key": "a"}),
        ("/v1/collections/away/search", {"text": "a"}),
        ("/v1/collections/lost/search", {"text": "a"}),
        ("/v1/collections/lost/search/batch", {"searches": [{"text": "a"}, {"id": 99}]}),
        ("/v1/search", {"collections": ["pictures", "lost"], "text": "a"}),
        ("/v1/search", {"collections": ["broken"], "text": "a"}),
        ("/knn-service", {"text": "a", "modality": "image", "indice_name": "lost"}),
        ("/v1/classify", {"collection": "pictures", "id": 1, "label_set": "learned"}),
        ("/v1/classify", {"image": image, "label_set": "none"}),
    ):
        said[f"{path} {json.dumps(body)[:60]}"] = client.post(path, json=body, **asked).text
    return said


def test_a_key_that_may_only_read_is_told_of_no_place(client, place):
    for path, text in answers(client).items():
        assert place.name not in text, (path, text)


def test_a_key_that_may_change_things_is_told_all(client, place):
    said = answers(client, headers=client.owner)
    for path in ("/v1/models", "/v1/collections", "/v1/info", "/v1/jobs", "/v1/label-runs", "/v1/label-sets/learned"):
        assert place.name in said[path], path


def test_the_disk_that_a_collection_lies_on_is_told_to_nobody_but_the_log(client, place, caplog):
    asked, link = {"headers": client.owner}, place / "data" / "collections" / "away"
    link.unlink()
    link.symlink_to(place / "disk" / "other")
    error = error_of(client.get("/v1/collections/away", **asked), 503)
    assert f"collection away: [Errno 2] No such file or directory: '{place}/disk/other'" in caplog.text
    assert (error["code"], "collection 'away'" in error["message"]) == ("disk_unavailable", True)
    [listed] = [one for one in client.get("/v1/collections", **asked).json()["collections"] if one["name"] == "away"]
    changed = [
        client.request(method, f"/v1/collections/away{what}", json=body, **asked).text
        for method, what, body in (
            ("PATCH", "", {"title": "a"}),
            ("DELETE", "", None),
            ("POST", "/texts", {"texts": ["a"]}),
            ("PUT", "", None),
        )
    ]
    job = client.post("/v1/jobs", json={"kind": "map", "collection": "away"}, **asked).json()
    if "id" in job:
        until(lambda: client.get(f"/v1/jobs/{job['id']}", **asked).json()["state"] == "failed")
        job = client.get(f"/v1/jobs/{job['id']}", **asked).json()
    for said in (str(error), listed["problem"], *changed, str(job)):
        assert str(place / "disk") not in said
        assert "look at that disk" in said


def test_what_is_left_out_is_said_by_name_or_left_empty(client):
    assert client.get("/v1/info").json()["model"] == "run"
    assert client.get("/v1/info").json()["read_only"] is True  # to who may change nothing
    assert client.get("/v1/info", headers=client.owner).json()["read_only"] is False
    [model, *_] = client.get("/v1/models").json()["data"]
    assert (model["id"], model["ref"]) == ("run", None)
    jobs = client.get("/v1/jobs").json()["jobs"]
    assert {job["state"] for job in jobs} == {"succeeded", "failed"}
    for job in jobs:
        assert job["request"] is None
        assert job["error"] is None or "admin is told why" in job["error"]["message"]
    torn = next(job for job in jobs if job["report"] and job["report"]["skipped"])
    assert torn["report"]["skips"] == []
    error = error_of(client.get("/v1/collections/broken"), 500)
    assert "DATA/collections/broken" in error["message"]
    assert client.get("/v1/collections/pictures/images").json()["entries"][0]["path"]  # what people search for


def test_a_data_folder_called_data_is_hidden_and_the_words_of_messages_are_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with client_of(create_app(settings_for(Path("data"), model="RN50"), tiny_encoder(tmp_path))) as client:
        told = partial(client.app.state.service.told, {"state": {"scope": "read"}})
        uri = "metadata: no such data; begin with data:image/..."
        assert told(uri) == uri
        assert told(f"{tmp_path}/cache/a.json: no JSON; GET /v1/models") == "a.json: no JSON; GET /v1/models"
        assert told(f"{tmp_path}/My Photos/a b.json: no JSON in {tmp_path}/a/b") == "a b.json: no JSON in b"
        assert told(f"data/collections/a and {tmp_path}/data/uploads") == "DATA/collections/a and DATA/uploads"
