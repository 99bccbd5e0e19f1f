"""Collections made and deleted over REST, searched by clip-retrieval's client, and the examples of the API's page."""

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

import numpy as np
import pytest
from service_world import client_of, error_of, picture, settings_for, tiny_encoder, until, world

from index.collection import Entry, create_collection, open_collection
from index.local.vectors import live
from service.app import create_app
from service.collections.opened import OpenCollections
from service.collections.writers import Writers


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    with world(tmp_path_factory.mktemp("collections"), n=4) as made:
        yield made


@pytest.fixture
def data(here):
    return here[2][0].parent.parent


def test_a_collection_is_made_once(client, data):
    answer = client.put("/v1/collections/new")
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert (made["name"], made["model"], made["fingerprint"], made["dim"]) == ("new", "tiny", "tiny", 32)
    client.post("/v1/collections/new/texts", json={"texts": ["kept"]})
    again = client.put("/v1/collections/new")
    assert (again.status_code, again.json()["counts"]) == (200, {"image": 0, "text": 1})
    assert again.json()["created_at"] == made["created_at"]


def test_a_collection_is_made_with_its_title(client):
    place = "/v1/collections/titled"
    made = client.put(place, json={"title": "Herbst & Winter", "quota": {"entries": 3}})
    assert (made.status_code, made.json()["title"], made.json()["quota"]["entries"]) == (201, "Herbst & Winter", 3)
    assert client.put(place).json()["title"] == "Herbst & Winter"  # nothing was said of it
    assert client.put(place, json={"title": "Winter"}).json()["title"] == "Winter"
    for wrong in ("", " a", "a\nb", "x" * 121, 5):
        error_of(client.put("/v1/collections/untitled", json={"title": wrong}), 422)
    assert client.get("/v1/collections/untitled").status_code == 404


def test_a_title_is_changed_only_of_what_one_saw(client):
    place = "/v1/collections/called"
    client.put(place)
    assert client.patch(place, json={"title": "Ours", "expected_title": None}).json()["title"] == "Ours"
    late = error_of(client.patch(place, json={"title": "Mine", "expected_title": None}), 409)
    assert (late["code"], late["param"], late["message"]) == (
        "changed_meanwhile", "expected_title", "collection 'called' is called 'Ours' by now",
    )  # fmt: skip
    assert client.get(place).json()["title"] == "Ours"
    assert client.patch(place, json={"title": None, "expected_title": "Ours"}).json()["title"] is None
    late = error_of(client.patch(place, json={"title": "Mine", "expected_title": "Ours"}), 409)
    assert "is called by its name by now" in late["message"]
    assert client.patch(place, json={"title": "Mine"}).json()["title"] == "Mine"  # nothing was expected
    error_of(client.patch(place, json={"expected_title": "Mine"}), 422)


def test_one_that_is_to_be_new_changes_none_that_is_there(client):
    place, new = "/v1/collections/new-one", {"If-None-Match": "*"}
    assert client.put(place, json={"title": "First"}, headers=new).status_code == 201
    refused = error_of(client.put(place, json={"title": "Second"}, headers=new), 412)
    assert refused["code"] == "collection_exists"
    assert client.get(place).json()["title"] == "First"
    error_of(client.put(place, headers={"If-None-Match": '"a"'}), 422)


def test_an_index_is_made_as_wished_and_changed_by_a_later_wish(client, data):
    assert client.put("/v1/collections/wished", json={"kind": "ivf-sq8", "recall": 0.9}).status_code == 201
    with open_collection(data, "wished") as collection:
        assert asdict(collection.index_config) == {"kind": "ivf-sq8", "recall": 0.9}
    assert client.put("/v1/collections/wished").status_code == 200  # says nothing of the index
    assert client.put("/v1/collections/wished", json={"kind": "exact"}).status_code == 200
    with open_collection(data, "wished") as collection:
        assert asdict(collection.index_config) == {"kind": "exact", "recall": 0.98}


@pytest.mark.parametrize(
    ("name", "body", "param"),
    [
        ("No Name", None, "collection"),
        (".hidden", None, "collection"),
        ("x" * 65, None, "collection"),
        ("fine", {"kind": "magic"}, "kind"),
        ("fine", {"recall": 0.1}, "recall"),
        ("fine", {"index": "exact"}, "index"),
    ],
)
def test_what_cannot_be_made(client, name, body, param):
    assert error_of(client.put(f"/v1/collections/{name}", json=body), 422)["param"] == param
    assert client.get("/v1/collections/fine").status_code == 404


def test_one_of_another_model_is_409(client, data):
    create_collection(data, "foreign", model="other", fingerprint="other", dim=32).close()
    answer = client.put("/v1/collections/foreign", json={"model": "default"})
    assert error_of(answer, 409)["code"] == "model_mismatch"
    assert client.put("/v1/collections/foreign").json()["model"] == "other"  # that it is there is all that is asked


def test_a_deleted_collection_is_gone_with_its_uploads_and_may_be_made_anew(client, here, data):
    photos = "/v1/collections/photos"
    for round_ in range(2):
        assert client.put(photos).status_code == 201
        file = {"file": ("a.png", picture(round_))}
        assert client.post(f"{photos}/images", files=file).json()["results"][0]["id"] == 1
        assert client.post(f"{photos}/search", json={"text": "x"}).json()["hits"][0]["id"] == 1
        assert list((data / "uploads" / "photos").iterdir())
        assert client.delete(photos).status_code == 204
        assert not (data / "uploads" / "photos").exists()
        error_of(client.post(f"{photos}/search", json={"text": "x"}), 404)
    error = error_of(client.delete(photos), 404)
    assert error["code"] == "collection_not_found"
    assert str(data) not in error["message"]


def test_a_damaged_collection_can_be_deleted(client, data):
    broken = data / "collections" / "broken"
    broken.mkdir(parents=True)
    (broken / "catalog.sqlite").write_bytes(b"not a database" * 100)
    error_of(client.get("/v1/collections/broken"), 500)
    assert client.delete("/v1/collections/broken").status_code == 204
    assert not broken.exists()


def test_a_burst_of_writes_ends_in_an_index_of_all_of_them(tmp_path, monkeypatch):
    monkeypatch.setattr(live, "FRESH_ROWS", 20)
    encoder = tiny_encoder(tmp_path)
    with client_of(create_app(settings_for(tmp_path), encoder)) as client:
        client.put("/v1/collections/burst")
        client.post("/v1/collections/burst/texts", json={"texts": [f"text {i}" for i in range(40)]})

        def rows():
            return client.get("/v1/collections/burst").json()["index"].get("text", {}).get("rows")

        until(lambda: rows() == 40)
        assert client.post("/v1/collections/burst/texts", json={"texts": ["one more"]}).status_code == 200


def test_an_index_that_cannot_be_built_stops_no_other_upkeep(tmp_path, monkeypatch):
    built = []

    def fails(self):
        built.append(self)
        raise MemoryError

    monkeypatch.setattr(Writers, "build", fails)
    collections = OpenCollections(tmp_path)
    until(lambda: len(built) > 1)
    collections.close()


# --- clip-retrieval ---


def ask(client, **query):
    """What clip_retrieval.clip_client.ClipClient posts, with its defaults, and how: JSON without a content type."""
    body = {
        "text": None, "image": None, "image_url": None, "embedding_input": None, "deduplicate": False,
        "use_safety_model": True, "use_violence_detector": True, "indice_name": "pictures", "use_mclip": False,
        "aesthetic_score": 9, "aesthetic_weight": 0.5, "modality": "image", "num_images": 40, "num_result_ids": 40,
    } | query  # fmt: skip
    return client.post("/knn-service", content=json.dumps(body))


def test_knn_service_finds_what_search_finds(client, here):
    image = base64.b64encode(here[2][1].read_bytes()).decode()
    vector = client.post("/v1/embeddings", json={"input": "a boat"}).json()["data"][0]["embedding"]
    for query, search in (
        ({"text": "a boat"}, {"text": "a boat"}),
        ({"image": image}, {"image": image}),
        ({"embedding_input": vector}, {"text": "a boat"}),
    ):
        found = ask(client, **query).json()
        hits = client.post("/v1/collections/pictures/search", json=search).json()["hits"]
        assert [entry["id"] for entry in found] == [hit["id"] for hit in hits]
        assert [entry["similarity"] for entry in found] == pytest.approx([hit["score"] for hit in hits], abs=1e-5)
        assert [entry["caption"] for entry in found] == [hit["metadata"]["caption"] for hit in hits]
        assert [entry["image_path"] for entry in found] == [hit["path"] for hit in hits]
        assert found[0]["url"].startswith("http")
        assert client.get(found[0]["url"]).content == here[2][found[0]["id"] - 1].read_bytes()


def test_knn_service_of_texts_and_of_the_first_collection(client):
    client.put("/v1/collections/a-first")
    [best, _] = ask(client, text="a red boat", modality="text").json()
    assert (best["caption"], best["url"]) == ("a red boat", None)
    assert ask(client, text="a boat", indice_name=None).json() == []


def test_knn_service_gives_more_ids_than_descriptions_and_drops_what_is_the_same(client, data):
    found = ask(client, text="a boat", num_images=1, num_result_ids=3).json()
    assert [len(entry) for entry in found] == [5, 2, 2]
    with create_collection(data, "same", model="tiny", fingerprint="tiny", dim=32) as made:
        rows = [[1.0] * 32, [1.0] * 31 + [1.1], [1.0, -1.0] * 16]
        url = {"url": "https://example.com/cat.jpg"}
        made.upsert([Entry(row, "image", f"/{i}.jpg", metadata=url) for i, row in enumerate(rows)])
    query = {"embedding_input": [1.0] * 32, "indice_name": "same"}
    assert len(ask(client, **query).json()) == 3
    kept = ask(client, **query, deduplicate=True).json()
    assert [entry["id"] for entry in kept] == [1, 3]
    assert kept[0]["url"] == url["url"]


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/v1/collections/pictures/search", {"text": "new"}),
        ("/knn-service", {"text": "new", "indice_name": "pictures"}),
    ],
)
def test_a_vector_of_the_old_model_searches_no_collection_of_the_new(tmp_path, path, asked):
    with world(tmp_path, n=2) as (client, encoder, _), ThreadPoolExecutor(1) as other:
        assert client.post(path, json=asked | {"text": "old"}).status_code == 200
        with encoder.held():
            answer = other.submit(client.post, path, json=asked)
            assert encoder.running.wait(10)
            with open_collection(tmp_path, "pictures", writable=True) as writer:
                writer.next.begin("new", "new-print", 32)
                left = [record.id for record in writer.next.left(limit=100)]
                writer.next.write(left, np.eye(32, dtype=np.float32)[: len(left)])
                writer.next.swap()
        assert error_of(answer.result(), 409)["code"] == "model_mismatch"


def test_knn_service_refuses_in_the_one_shape(client):
    error_of(ask(client), 422)
    error_of(ask(client, text="a", image="b"), 422)
    assert error_of(ask(client, text="a", num_images=1001), 422)["param"] == "num_images"
    error_of(ask(client, text="a", indice_name="laion5B"), 404)
    error_of(ask(client, embedding_input=[1.0]), 422)
    error_of(ask(client, image_url="https://example.com/cat.jpg"), 422)
    error_of(client.post("/knn-service", content=b"{", headers={"Content-Type": "application/json"}), 422)
    error_of(client.post("/knn-service", content=b"{}", headers={"Content-Type": "text/plain"}), 415)


# --- the API's page ---


def test_every_route_has_examples(client):
    spec = client.get("/openapi.json").json()

    def shown(content):
        schema = content["schema"]
        if "$ref" in schema:
            schema = spec["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        return any(where.get(word) for where in (content, schema) for word in ("example", "examples"))

    for path, methods in spec["paths"].items():
        for method, route in methods.items():
            bodies = list(route.get("requestBody", {}).get("content", {}).items())
            for status, response in route["responses"].items():
                bodies += response.get("content", {}).items()
                assert status == "204" or response["description"]
            for kind, content in bodies:
                if kind in ("application/json", "multipart/form-data"):
                    assert shown(content), f"{method} {path}: {kind} has no example"
            assert route["summary"]
            assert route["description"]


def test_a_collection_is_renamed_with_its_pictures_and_labelling_runs(client, data):
    old, new = "/v1/collections/early", "/v1/collections/late"
    client.put(old, json={"title": "Kept"})
    client.put("/v1/collections/taken")
    sent = [("file", (f"{i}.png", picture(50 + i))) for i in range(3)]
    ids = [one["id"] for one in client.post(f"{old}/images", files=sent).json()["results"]]

    def labelled(name: str) -> str:
        asked = {"kind": "label", "collection": name, "labels": ["a", "b"], "write_metadata": "kind"}
        job = client.post("/v1/jobs", json=asked).json()["id"]
        until(lambda: client.get(f"/v1/jobs/{job}").json()["ended_at"])
        ended = client.get(f"/v1/jobs/{job}").json()
        assert (ended["state"], ended["report"]["failed"]) == ("succeeded", [])
        return ended["report"]["run"]

    labelled("early")
    for name, status, code in (("taken", 409, "collection_exists"), ("early", 422, "invalid_input"),
                               ("A/B", 422, "invalid_request"), ("", 422, "invalid_request")):  # fmt: skip
        assert error_of(client.patch(old, json={"name": name, "title": "Other"}), status)["code"] == code
    cursor = client.get(f"{old}/changes").json()["cursor"]
    answer = client.patch(old, json={"name": "late", "quota": {"entries": 5}})
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert (said["name"], said["title"], said["quota"]["entries"]) == ("late", "Kept", 5)
    assert error_of(client.get(old), 404)["code"] == "collection_not_found"
    found = client.post(f"{new}/search", json={"id": ids[0]}).json()["hits"]
    assert sorted(hit["id"] for hit in found) == ids[1:]
    for i, key in enumerate(ids):
        entry = client.get(f"{new}/images/{key}").json()
        assert "/uploads/late/" in entry["path"]
        assert client.get(entry["content_url"]).content == picture(50 + i)
    assert not (data / "uploads" / "early").exists()
    changes = client.get(f"{new}/changes", params={"after": cursor}).json()["changes"]
    assert [(change["event"], change["id"]) for change in changes] == [("updated", key) for key in ids]
    runs = [run for run in client.get("/v1/label-runs").json()["label_runs"] if run["collection"] == "late"]
    assert len(runs) == 1
    run = f"/v1/label-runs/{runs[0]['id']}"
    [first, *_] = client.get(f"{run}/images").json()["images"]
    asked = {"items": [{"image": first["id"], "verdict": "correct", "labels": ["a"]}]}
    assert client.post(f"{run}/review", json=asked).status_code == 200
    assert labelled("late") == runs[0]["id"]  # the same run goes on: what it wrote is its own
    client.put(old)
    client.post(f"{old}/images", files=sent)
    assert labelled("early") != runs[0]["id"]
    assert client.get(f"{new}/images/{ids[0]}/content").content == picture(50)
    assert client.delete(new).status_code == client.delete(old).status_code == 204


def test_a_collection_that_a_job_waits_for_keeps_its_name(client, here):
    client.put("/v1/collections/busy")
    client.post("/v1/collections/busy/images", files={"file": picture(0)})
    encoder = here[1]
    with encoder.held():
        asked = {"kind": "label", "collection": "busy", "labels": ["never asked before", "nor this"]}
        job = client.post("/v1/jobs", json=asked).json()["id"]
        refused = client.patch("/v1/collections/busy", json={"name": "free"})
        error = error_of(refused, 409)
        assert (error["code"], job in error["message"]) == ("collection_locked", True)
        assert "Retry-After" in refused.headers
    until(lambda: client.get(f"/v1/jobs/{job}").json()["ended_at"])
    assert client.patch("/v1/collections/busy", json={"name": "free"}).json()["name"] == "free"
    assert client.delete("/v1/collections/free").status_code == 204
