"""Two services on one data folder and one store: what one does the other knows at once, and what each keeps for itself.

Whoever stands behind a proxy asks now one and now the other. tests/e2e/test_replicas.py kills one of them.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from service_world import client_of, draw, error_of, picture, settings_for, tiny_encoder, until

from service.app import create_app
from service.keys import Rate, add_key, remove_key

N = 12


@dataclass(frozen=True)
class Pair:
    """The two, and the data folder that they share."""

    a: TestClient
    b: TestClient
    data: Path
    photos: Path
    keys: dict[str, str]

    @property
    def both(self) -> tuple[TestClient, TestClient]:
        return self.a, self.b


@pytest.fixture(scope="module")
def pair(store_address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    data, photos = tmp_path_factory.mktemp("shared"), tmp_path_factory.mktemp("photos")
    draw(photos, N)
    admin = add_key(data, "admin", "admin")
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.setenv("GLIMPSE_STORE", store_address)
        settings = settings_for(data, store=store_address, job_roots=str(photos))
        pair = [stack.enter_context(client_of(create_app(settings, tiny_encoder(data)))) for _ in range(2)]
        for client in pair:
            client.headers["Authorization"] = f"Bearer {admin}"
        yield Pair(*pair, data, photos, {"admin": admin})


@pytest.fixture
def pets(pair: Pair, request: pytest.FixtureRequest) -> Iterator[str]:
    """The path of an empty collection that the first has made."""
    path = f"/v1/collections/pets-{request.node.originalname.removeprefix('test_')[:40].replace('_', '-').strip('-')}"
    assert pair.a.put(path).status_code == 201
    yield path
    pair.b.delete(path)


def upload(client: TestClient, path: str, seed: int) -> int:
    sent = client.post(f"{path}/images", files={"file": (f"{seed}.png", picture(seed))})
    assert sent.status_code == 200, sent.text
    return int(sent.json()["results"][0]["id"])


def ids_of(client: TestClient, path: str, **asked: object) -> list[int]:
    found = client.post(f"{path}/search", json={"limit": 50, **asked})
    assert found.status_code == 200, found.text
    return [hit["id"] for hit in found.json()["hits"]]


def test_what_is_written_through_one_is_read_through_the_other_at_once(pair, pets):
    for seed in range(6):  # in turn, as a proxy would
        writer, reader = pair.both[seed % 2], pair.both[1 - seed % 2]
        key = upload(writer, pets, seed)
        assert key in ids_of(reader, pets, text="a boat")
        assert ids_of(reader, pets, id=key, limit=1) != [key]  # it knows its vector
        assert reader.get(f"{pets}/images/{key}/content").content == picture(seed)
        assert reader.get(f"{pets}/images/{key}/thumbnail").status_code == 200
        said = {"metadata": {"seed": seed}}
        assert reader.patch(f"{pets}/images/{key}", json=said).json()["metadata"]["seed"] == seed
        assert writer.get(f"{pets}/images/{key}").json()["metadata"]["seed"] == seed
    assert upload(pair.b, pets, 0) == upload(pair.a, pets, 0)  # bytes that are there keep their entry
    assert pair.a.delete(f"{pets}/images/{key}").status_code == 204
    assert key not in ids_of(pair.b, pets, text="a boat")
    error_of(pair.b.get(f"{pets}/images/{key}/content"), 404)


def test_an_entry_by_its_owners_id_and_a_quota_hold_through_either(pair, pets):
    for client, said in zip((*pair.both, pair.a), (201, 200, 200), strict=True):
        assert client.put(f"{pets}/entries/sku-1", json={"text": "a red boat"}).status_code == said
    assert pair.a.get(f"{pets}/entries/sku-1").json() == pair.b.get(f"{pets}/entries/sku-1").json()
    assert pair.a.patch(pets, json={"quota": {"entries": 1}}).status_code == 200
    refused = pair.b.put(f"{pets}/entries/sku-2", json={"text": "a blue boat"})
    assert error_of(refused, 413)["code"] == "quota_exceeded"


def test_a_collection_that_is_made_or_deleted_through_one_is_so_for_the_other(pair):
    path = "/v1/collections/comes-and-goes"
    for client, other in (pair.both, pair.both[::-1]):
        assert client.put(path).status_code == 201
        key = upload(client, path, 1)
        assert ids_of(other, path, text="a boat") == [key]
        assert other.delete(path).status_code == 204
        for one in pair.both:
            error_of(one.post(f"{path}/search", json={"text": "a boat"}), 404)
    assert upload_after_making(pair.a, path) == 1
    assert ids_of(pair.b, path, text="a boat") == [1]  # of the new one, not of what it had open
    pair.b.delete(path)


def upload_after_making(client: TestClient, path: str) -> int:
    client.put(path)
    return upload(client, path, 2)


def test_both_write_at_the_same_time_and_nothing_is_lost_or_doubled(pair, pets):
    made: dict[int, list[int]] = {0: [], 1: []}

    def write(which: int) -> None:
        for i in range(8):
            texts = [f"service {which} writes {i}", f"and {i} again by {which}"]
            answer = pair.both[which].post(f"{pets}/texts", json={"texts": texts})
            assert answer.status_code == 200, answer.text
            made[which] += answer.json()["ids"]

    threads = [threading.Thread(target=write, args=(which,)) for which in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({*made[0], *made[1]}) == 32
    for client in pair.both:
        assert sorted(ids_of(client, pets, text="a boat", modality="text")) == sorted(made[0] + made[1])


def test_a_change_with_its_key_is_done_once_whichever_is_asked(pair, pets):
    sent = [
        client.post(f"{pets}/texts", json={"texts": ["a red boat"]}, headers={"Idempotency-Key": "order-1"})
        for client in (*pair.both, pair.b, pair.a)
    ]
    assert [answer.json() for answer in sent] == [sent[0].json()] * 4
    assert [answer.headers.get("Idempotency-Replayed") for answer in sent] == [None, "true", "true", "true"]
    assert pair.b.get(pets).json()["counts"]["text"] == 1
    reused = pair.b.post(f"{pets}/texts", json={"texts": ["other"]}, headers={"Idempotency-Key": "order-1"})
    error_of(reused, 422)


def test_a_job_is_one_whichever_is_asked_and_is_done_once(pair, pets):
    name = pets.rpartition("/")[2]
    asked = {"kind": "index", "collection": name, "folders": [str(pair.photos)]}
    keyed = [client.post("/v1/jobs", json=asked, headers={"Idempotency-Key": f"job {name}"}) for client in pair.both]
    assert [answer.status_code for answer in keyed] == [202, 202]
    [key] = {answer.json()["id"] for answer in keyed}
    for client in pair.both:
        until(lambda client=client: client.get(f"/v1/jobs/{key}").json()["ended_at"])
        job = client.get(f"/v1/jobs/{key}").json()
        assert (job["state"], job["report"]["added"], job["done"]) == ("succeeded", N, N)
        assert key in [one["id"] for one in client.get("/v1/jobs").json()["jobs"]]
        with client.stream("GET", f"/v1/jobs/{key}/events") as answer:
            assert "event: end" in answer.read().decode()
    again = [client.post("/v1/jobs", json=asked).json()["id"] for client in pair.both]  # two jobs, one after the other
    assert len({key, *again}) == 3
    for one in again:
        until(lambda one=one: pair.a.get(f"/v1/jobs/{one}").json()["ended_at"])
        report = pair.b.get(f"/v1/jobs/{one}").json()["report"]
        assert (report["added"], report["encoded"], report["unchanged"]) == (0, 0, N)
    assert pair.b.get(pets).json()["counts"]["image"] == N


def test_a_job_is_cancelled_through_either_whichever_runs_it(pair, pets):
    name = pets.rpartition("/")[2]
    for asks, cancels in (pair.both, pair.both[::-1]):
        asked = {"kind": "watch", "collection": name, "folders": [str(pair.photos)]}
        key = asks.post("/v1/jobs", json=asked).json()["id"]
        until(lambda key=key, cancels=cancels: cancels.get(f"/v1/jobs/{key}").json()["state"] == "running")
        assert cancels.delete(f"/v1/jobs/{key}").status_code == 202
        until(lambda key=key, asks=asks: asks.get(f"/v1/jobs/{key}").json()["state"] == "cancelled")


def test_a_labelling_run_and_a_label_set_are_of_both(pair):
    pair.a.put("/v1/label-sets/things", json={"labels": ["boat", "house"]})
    image = {"file": ("one.png", picture(1))}
    labels = [row["label"] for row in classified(pair.b, image)]
    assert sorted(labels) == ["boat", "house"]
    pair.b.put("/v1/label-sets/things", json={"labels": ["boat", "house", "tree"]})
    assert len(classified(pair.a, image)) == 3  # not what it asked with before
    asked = {"kind": "label", "folder": str(pair.photos), "labels": ["boat", "house"]}
    key = pair.a.post("/v1/jobs", json=asked).json()["id"]
    until(lambda: pair.b.get(f"/v1/jobs/{key}").json()["ended_at"])
    assert pair.b.get(f"/v1/jobs/{key}/result").text == pair.a.get(f"/v1/jobs/{key}/result").text
    run = pair.b.get("/v1/label-runs").json()["label_runs"][0]["id"]
    first = pair.a.get(f"/v1/label-runs/{run}/images").json()["images"][0]
    review = {"items": [{"image": first["id"], "verdict": "correct", "labels": ["house"]}]}
    for client, other in (pair.both, pair.both[::-1]):
        assert client.post(f"/v1/label-runs/{run}/review", json=review).status_code == 200
        assert other.get(f"/v1/label-runs/{run}").json()["reviewed"] == {"corrected": 1}
        assert other.post(f"/v1/label-runs/{run}/review/undo").status_code == 200
        assert client.get(f"/v1/label-runs/{run}").json()["undoable"] == 0


def classified(client: TestClient, image: dict[str, tuple[str, bytes]]) -> list[dict[str, object]]:
    answer = client.post("/v1/classify", files=image, data={"label_set": "things"})
    assert answer.status_code == 200, answer.text
    return list(answer.json()["results"][0]["scores"])


def test_a_signed_address_is_good_at_either(pair, pets):
    key = upload(pair.a, pets, 3)
    address = pair.a.get(f"{pets}/images/{key}", params={"signed_urls": 60}).json()["content_url"]
    for client in pair.both:
        asked = client.build_request("GET", address)
        del asked.headers["Authorization"]
        assert client.send(asked).content == picture(3)


def test_a_key_is_taken_and_refused_by_both_from_the_next_request_on(pair):
    secret = add_key(pair.data, "guest", "read")
    asked = {"Authorization": f"Bearer {secret}"}
    for client in (*pair.both, *pair.both):
        assert client.get("/v1/info", headers=asked).status_code == 200
    remove_key(pair.data, "guest")
    for client in pair.both:
        assert error_of(client.get("/v1/info", headers=asked), 401)["code"] == "invalid_key"


def test_a_rate_is_of_each_service_for_itself(pair):
    asked = {"Authorization": f"Bearer {add_key(pair.data, 'slow', 'read', Rate(0.001, 3))}"}
    for client in pair.both:
        statuses = [client.get("/v1/info", headers=asked).status_code for _ in range(4)]
        assert statuses == [200, 200, 200, 429]
    remove_key(pair.data, "slow")
