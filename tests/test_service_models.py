"""Several models in one service: each collection by its own, loaded on demand, within a bound, chosen by name."""

import asyncio
import base64
import csv
import io
import json
import os
import random
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import openai
import pytest
import torch
from service_world import (
    TINY,
    add_collection,
    client_of,
    draw,
    error_of,
    picture,
    serving,
    settings_for,
    tiny_encoder,
    until,
)
from typer.testing import CliRunner

from base.errors import Busy, InputError, ModelNotFound
from encoder.model.load import build_clip, load_encoder
from glimpse.cli import app
from glimpse.client import Client
from index.collection import create_collection, open_collection
from labelling.label_sets import LabelSet
from labelling.outputs.asked import OutputsAsked
from labelling.runs.deciding import LabelsAsked
from labelling.runs.kept import LabelRuns
from labelling.runs.report import SourceAsked
from labelling.runs.sources import CollectionSource
from service.app import create_app
from service.inference import models as module
from service.inference.known_models import name_of
from service.inference.models import Models
from service.inference.pool import Pool
from service.jobs.store import JobStore
from service.keys import add_key
from training.records.checkpoint import save_model

TEXTS = [f"a thing of kind {i}" for i in range(12)]
EACH = 5  # questions of one who asks


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Path]:
    """Run folders of three tiny models: two of 32 dimensions, and one of 16 that has a logit_bias."""
    folder = tmp_path_factory.mktemp("runs")
    for seed, name in enumerate(("one", "two", "biased")):
        more = {"embed_dim": 16, "init_logit_bias": -2.0, "init_logit_scale": 2.0} if name == "biased" else {}
        (folder / f"{name}.json").write_text(json.dumps(TINY | more))
        torch.manual_seed(seed)
        save_model(folder / name, build_clip(folder / f"{name}.json"))
    return {name: folder / name for name in ("one", "two", "biased")}


@pytest.fixture(scope="module")
def encoders(runs):
    return {name: load_encoder(run, "cpu", "fp32") for name, run in runs.items()}


@pytest.fixture(scope="module")
def data(tmp_path_factory, encoders) -> Path:
    """A data folder with a collection for each of the three, called like it, of three images and two texts."""
    folder = tmp_path_factory.mktemp("data")
    files = draw(folder / "files", 3)
    for name, encoder in encoders.items():
        add_collection(folder, encoder, files, name)
    return folder


def settings(data, runs, **changes):
    return settings_for(data, model=str(runs["one"]), device="cpu", precision="fp32", **changes)


def served(client, name):
    return next(one for one in client.get("/v1/models").json()["data"] if one["id"] == name)


def embedded(client, model, texts=TEXTS):
    answer = client.post("/v1/embeddings", json={"input": texts, "model": model})
    assert answer.status_code == 200, answer.text
    return np.array([one["embedding"] for one in answer.json()["data"]], np.float32)


def found(client, collection, text, limit=3):
    return client.post(f"/v1/collections/{collection}/search", json={"text": text, "limit": limit})


def classified(client, model, image, labels):
    asked = {"labels": labels, "templates": ["{}"], "scores": "softmax", "model": model}
    answer = client.post("/v1/classify", files={"file": image}, data=asked)
    assert answer.status_code == 200, answer.text
    told = {one["label"]: one["score"] for one in answer.json()["results"][0]["scores"]}
    return [told[label] for label in labels]


def shares_of(encoder, image, labels):
    logits = encoder.logit_scale * encoder.encode_images([image])[0] @ encoder.encode_texts(labels).T
    return (np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()).tolist()


@pytest.fixture
def client(data, runs):
    """A service whose settings name two of the three, the second under a name of its own, without a close bound."""
    models = f"other={runs['two']}"
    with client_of(create_app(settings(data, runs, models=models, model_bytes=1 << 40))) as own:
        yield own


def test_each_collection_is_searched_by_the_model_that_made_it(client, encoders):
    assert client.get("/v1/info").json()["model"] == "one"
    for name, encoder in encoders.items():
        [best, *_] = found(client, name, "a red boat").json()["hits"]
        with open_collection(Path(client.app.state.service.settings.data), name) as collection:
            vector = encoder.encode_texts(["a red boat"])[0]
            [expected, *_] = collection.search(vector, 3, "image")
        assert (best["id"], best["score"]) == (expected.record.id, pytest.approx(expected.score, abs=1e-5))


def test_models_are_listed_by_name_those_of_collections_too(client, encoders):
    until(lambda: served(client, "other")["loaded"])  # those that are named are loaded ahead of being asked for
    listed = client.get("/v1/models").json()
    assert listed["object"] == "list"
    assert [(one["id"], one["object"], one["default"]) for one in listed["data"]] == [
        ("one", "model", True),
        ("other", "model", False),
        ("biased", "model", False),
    ]
    one, other, biased = listed["data"]
    assert (one["loaded"], other["loaded"]) == (True, True)
    assert one["fingerprint"] == encoders["one"].fingerprint
    assert (one["dim"], other["logit_bias"]) == (32, None)
    found(client, "biased", "a")
    biased = served(client, "biased")
    assert (biased["loaded"], biased["dim"], biased["logit_bias"]) == (True, 16, pytest.approx(-2.0))
    assert biased["bytes"] > 100_000


def test_one_is_told_by_its_name_as_openais_client_asks(data, runs):
    models = f"{runs['two']},hf-hub:some/one"
    with serving(create_app(settings(data, runs, models=models))) as url:
        asked = openai.OpenAI(base_url=f"{url}/v1", api_key="unused").models
        for listed in asked.list():
            told = asked.retrieve(listed.id)
            assert (told.id, told.object, told.ref) == (listed.id, "model", listed.ref)
        assert "hf-hub:some/one" in {listed.id for listed in asked.list()}
        assert asked.retrieve("default").id == "one"
        with pytest.raises(openai.NotFoundError, match="the model 'gone' is not served here; there are: one"):
            asked.retrieve("gone")


@pytest.mark.parametrize(("name", "model"), [("one", "one"), ("default", "one"), ("", "one"), ("other", "two")])
def test_embeddings_are_those_of_the_model_that_is_named(client, encoders, name, model):
    np.testing.assert_allclose(embedded(client, name), encoders[model].encode_texts(TEXTS), atol=1e-5)


def test_an_unknown_name_is_404_with_the_names_there_are(client, runs):
    for path, asked in (
        ("/v1/embeddings", {"input": "a"}),
        ("/v1/zero-shot", {"inputs": "aGk=", "parameters": {"candidate_labels": ["a"]}}),
        ("/v1/classify", {"image": "aGk=", "labels": ["a"]}),
        ("/v1/jobs", {"kind": "reindex", "collection": "one"}),
    ):
        for name in ("gone", str(runs["two"]), "hf-hub:timm/ViT-B-16-SigLIP"):  # never a place to load from
            error = error_of(client.post(path, json=asked | {"model": name}), 404)
            assert (error["code"], error["param"]) == ("model_not_found", "model")
            assert "there are: one, other" in error["message"]
    error = error_of(client.put("/v1/collections/new", json={"model": "gone"}), 404)
    assert error["code"] == "model_not_found"
    assert client.get("/v1/collections/new").status_code == 404


def test_classify_and_its_relatives_choose_by_name_and_by_collection(client, encoders):
    image, labels = picture(5), ["a cat", "a dog"]
    for name, model in (("default", "one"), ("other", "two")):
        assert classified(client, name, image, labels) == pytest.approx(
            shares_of(encoders[model], image, labels), abs=1e-4
        )
    asked = {"inputs": base64.b64encode(image).decode(), "model": "other"}
    asked["parameters"] = {"candidate_labels": labels, "hypothesis_template": "{}"}
    scores = {one["label"]: one["score"] for one in client.post("/v1/zero-shot", json=asked).json()}
    assert [scores[label] for label in labels] == pytest.approx(shares_of(encoders["two"], image, labels), abs=1e-4)
    by_id = {"collection": "biased", "id": 1, "labels": labels}
    assert client.post("/v1/classify", json=by_id | {"scores": "sigmoid"}).status_code == 200  # it has a logit_bias
    error = error_of(client.post("/v1/classify", json=by_id | {"model": "other"}), 409)
    assert error["code"] == "model_mismatch"
    knn = {"text": "a red boat", "modality": "image", "num_images": 1, "num_result_ids": 1, "indice_name": "biased"}
    [hit] = client.post("/knn-service", json=knn).json()
    assert hit["id"] == found(client, "biased", "a red boat").json()["hits"][0]["id"]


def test_a_collection_is_made_for_the_model_that_is_named_and_filled_by_it(client, encoders):
    made = client.put("/v1/collections/new", json={"model": "other"})
    assert (made.status_code, made.json()["model"]) == (201, "other")
    assert made.json()["fingerprint"] == encoders["two"].fingerprint
    client.post("/v1/collections/new/images", files={"file": picture(7)})
    vector = encoders["two"].encode_images([picture(7)])[0].tolist()
    [hit] = client.post("/v1/collections/new/search", json={"vector": vector}).json()["hits"]
    assert hit["score"] > 0.999
    assert client.put("/v1/collections/new").json()["model"] == "other"
    assert error_of(client.put("/v1/collections/new", json={"model": "one"}), 409)["code"] == "model_mismatch"
    client.delete("/v1/collections/new")


def test_a_job_gives_a_collection_the_model_that_is_named(client, encoders):
    client.put("/v1/collections/changing")
    client.post("/v1/collections/changing/images", files={"file": picture(7)})
    job = client.post("/v1/jobs", json={"kind": "reindex", "collection": "changing", "model": "other"}).json()
    until(lambda: client.get(f"/v1/jobs/{job['id']}").json()["state"] == "succeeded")
    assert client.get("/v1/collections/changing").json()["model"] == "other"
    assert found(client, "changing", "a boat").status_code == 200
    client.delete("/v1/collections/changing")


def test_a_collections_model_keeps_its_name_over_a_start_and_its_jobs_too(data, runs, encoders, tmp_path):
    made = settings(data, runs, job_roots=str(tmp_path))
    store = JobStore(data)
    store.folder.mkdir(exist_ok=True)
    lock = store.lock()  # another process runs jobs
    with client_of(create_app(made)) as client:
        folder = draw(tmp_path / "more", 2)[0].parent
        out, labels = {"out": [str(tmp_path / "labels.csv")]}, {"labels": ["a", "b"]}
        asked = [
            {"kind": "label", "collection": "biased", **labels, **out},
            {"kind": "label", "folder": str(folder), "model": "biased", **labels, "out": [str(tmp_path / "more.csv")]},
        ]
        jobs = [client.post("/v1/jobs", json=one).json()["id"] for one in asked]
    os.close(lock)
    with client_of(create_app(made)) as client:
        np.testing.assert_allclose(embedded(client, "biased"), encoders["biased"].encode_texts(TEXTS), atol=1e-5)
        for job in jobs:
            until(lambda job=job: client.get(f"/v1/jobs/{job}").json()["state"] not in ("queued", "running"))
            assert client.get(f"/v1/jobs/{job}").json()["error"] is None


def test_a_model_that_cannot_be_loaded_is_an_error_of_those_who_asked(data, runs, encoders, tmp_path):
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in runs["two"].iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    next(broken.glob("*.safetensors")).write_bytes(b"none")
    create_collection(data, "lost", model=str(tmp_path / "gone"), fingerprint="gone", dim=32).close()
    add_key(data, "reader", "read")
    key = add_key(data, "owner", "admin")
    try:
        with client_of(create_app(settings(data, runs, models=f"bad={broken}"))) as client:
            client.headers["Authorization"] = f"Bearer {key}"
            for _ in range(2):
                answer = client.post("/v1/embeddings", json={"input": "a", "model": "bad"})
                error = error_of(answer, 503)
                assert (error["code"], "Retry-After" in answer.headers) == ("model_unavailable", False)
                assert str(tmp_path) not in error["message"]
            assert str(tmp_path) in served(client, "bad")["problem"]
            assert error_of(found(client, "lost", "a"), 409)["code"] == "model_mismatch"
            vector = [1.0] + [0.0] * 31
            assert client.post("/v1/collections/lost/search", json={"vector": vector}).status_code == 200
            assert embedded(client, "default").shape == (12, 32)  # the others go on
            next(broken.glob("*.safetensors")).write_bytes(next(runs["two"].glob("*.safetensors")).read_bytes())
            assert error_of(client.post("/v1/embeddings", json={"input": "a", "model": "bad"}), 503)
            client.app.state.service.models.named("bad").failed_at -= module.AGAIN  # half a minute later
            np.testing.assert_allclose(embedded(client, "bad"), encoders["two"].encode_texts(TEXTS), atol=1e-5)
    finally:
        (data / "keys.json").unlink()
        for path in (data / "collections" / "lost").iterdir():
            path.unlink()
        (data / "collections" / "lost").rmdir()


def test_a_collection_whose_models_files_were_changed_is_refused(data, runs, tmp_path):
    ref = tmp_path / "run"
    ref.mkdir()
    for file in runs["two"].iterdir():
        (ref / file.name).write_bytes(file.read_bytes())
    create_collection(tmp_path, "old", model=str(ref), fingerprint="before", dim=32).close()
    with client_of(create_app(settings(tmp_path, runs))) as client:
        assert error_of(found(client, "old", "a"), 409)["code"] == "model_mismatch"
        assert served(client, "run")["fingerprint"] is None


def test_a_name_is_told_instead_of_a_folder():
    assert name_of("/srv/runs/pets") == "pets"
    assert name_of("ViT-B-32//srv/models/a.pt") == "ViT-B-32/a.pt"
    assert name_of("ViT-B-32/laion2b_s34b_b79k") == "ViT-B-32/laion2b_s34b_b79k"
    assert name_of("hf-hub:timm/ViT-B-16-SigLIP") == "hf-hub:timm/ViT-B-16-SigLIP"


def test_names_of_the_settings_must_tell_models_apart(data, runs):
    def models(more):
        return Models(settings(data, runs, models=more), Pool(1, 1))

    assert [one.name for one in models(f"a={runs['two']}, {runs['biased']},first={runs['one']}").all()] == [
        "first",
        "a",
        "biased",
    ]
    with pytest.raises(InputError, match="two models are called 'one'"):
        models(f"one={runs['two']}")
    with pytest.raises(InputError, match="'default' cannot name a model"):
        models(f"default={runs['two']}")
    with pytest.raises(InputError, match="'a=' says no model"):
        models("a=")
    with pytest.raises(ModelNotFound, match="there are: one"):
        models("").named("two")


# --- the bound ---


def test_switching_under_load_loses_nothing(data, runs, encoders):
    """Room for one of three, and twelve who ask for all of them in turn: every answer is right, none is refused."""
    image = picture(5)
    texts = {name: encoder.encode_texts(TEXTS) for name, encoder in encoders.items()}
    shares = {name: shares_of(encoder, image, ["a cat", "a dog"]) for name, encoder in encoders.items()}
    nearest = {}
    for name in encoders:
        with open_collection(data, name) as collection:
            nearest[name] = [collection.search(vector, 1, "image")[0].record.id for vector in texts[name]]
    app = create_app(settings(data, runs, models=f"two={runs['two']}", model_bytes=1))
    with serving(app) as url:
        httpx.get(f"{url}/v1/models")  # that of a collection has a name as soon as it was met

        def ask(seed: int) -> None:
            order = random.Random(seed)
            with httpx.Client(base_url=url, timeout=60) as own:
                for _ in range(EACH):
                    name, i, kind = order.choice(list(encoders)), order.randrange(12), order.randrange(3)
                    if kind == 0:
                        np.testing.assert_allclose(embedded(own, name, [TEXTS[i]])[0], texts[name][i], atol=1e-4)
                    elif kind == 1:
                        [hit] = found(own, name, TEXTS[i], 1).json()["hits"]
                        assert hit["id"] == nearest[name][i]
                    else:
                        assert classified(own, name, image, ["a cat", "a dog"]) == pytest.approx(shares[name], abs=1e-3)

        with ThreadPoolExecutor(12) as pool:
            list(pool.map(ask, range(12)))
        models = app.state.service.models.all()
        assert [model.uses for model in models] == [0, 0, 0]
        assert sum(model.loaded is not None for model in models) == 1


def test_what_was_unloaded_leaves_no_memory(data, runs, encoders):
    with client_of(create_app(settings(data, runs, models=f"two={runs['two']}", model_bytes=1))) as client:
        were = []
        for name in ("two", "one", "two", "one"):
            embedded(client, name)
            loaded = client.app.state.service.models.named(name).loaded
            were.append(weakref.ref(loaded.inference.encoder._clip))
            del loaded
        assert [one() is None for one in were] == [True, True, True, False]


class Held:
    """Holds every load but the first until it is let go, and counts them."""

    def __init__(self, monkeypatch):
        self.loads: list[str] = []
        self.go = threading.Event()
        read = Models._read

        def held(models, model):
            self.loads.append(model.name)
            assert len(self.loads) == 1 or self.go.wait(20)
            return read(models, model)

        monkeypatch.setattr(Models, "_read", held)


def test_who_asks_first_at_the_same_time_waits_for_one_load_and_nobody_else_for_it(data, runs, encoders, monkeypatch):
    held = Held(monkeypatch)
    with serving(create_app(settings(data, runs, model_bytes=1 << 40))) as url, ThreadPoolExecutor(9) as pool:
        with httpx.Client(base_url=url, timeout=60) as own:
            own.get("/v1/models")
            firsts = [
                pool.submit(httpx.post, f"{url}/v1/collections/two/search", json={"text": text}, timeout=60)
                for text in TEXTS[:8]
            ]
            until(lambda: len(held.loads) == 2)
            for text in TEXTS:
                embedded(own, "one", [text])
            assert not any(first.done() for first in firsts)
            held.go.set()
            assert [first.result().status_code for first in firsts] == [200] * 8
        assert held.loads == ["one", "two"]


def test_a_model_in_use_never_goes_and_who_finds_no_room_is_told_when_to_ask_again(data, runs, monkeypatch):
    async def main():
        models = Models(settings(data, runs, models=f"two={runs['two']}", model_bytes=1), Pool(1, 1))
        await models.start()
        one, two = models.all()
        held = await models.use(one)
        with monkeypatch.context() as hasty:
            hasty.setattr(module, "PATIENCE", 0.3)
            with pytest.raises(Busy, match=r"beside those in use \(one\); try again in 5 s"):
                await models.use(two)
        assert one.loaded is held
        assert (await models.use(one)) is held  # it takes new ones again
        models.release(one)
        waiting = asyncio.create_task(models.use(two))
        await asyncio.sleep(0.1)
        later = asyncio.create_task(models.use(one))  # it is to go, so this one comes after
        await asyncio.sleep(0.05)
        assert (waiting.done(), later.done()) == (False, False)
        assert one.loaded is held
        models.release(one)
        assert (await waiting) is two.loaded
        assert one.loaded is None
        models.release(two)
        assert (await later) is one.loaded
        models.release(one)
        assert (one.uses, two.uses) == (0, 0)
        gone = asyncio.create_task(models.use(two))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.wait([gone])
        await asyncio.sleep(0.5)
        assert (one.uses, two.uses) == (0, 0)
        await models.close()

    asyncio.run(main())


def test_a_thread_lends_a_model_for_each_piece_of_its_work(data, runs, encoders):
    """So a job, a watch of days even, keeps none in memory while it does nothing."""
    app = create_app(settings(data, runs, models=f"two={runs['two']}", model_bytes=1))
    with serving(app) as url:
        models = app.state.service.models
        encoder = models.encoder(models.named("two"), threading.Event())
        for _ in range(3):
            np.testing.assert_allclose(encoder.encode_texts(TEXTS), encoders["two"].encode_texts(TEXTS), atol=1e-5)
            assert models.named("two").uses in (0, 1)
            said = httpx.post(f"{url}/v1/embeddings", json={"input": "a", "model": "one"}, timeout=60)
            assert said.status_code == 200
            assert models.named("two").loaded is None


def test_a_review_that_finds_no_room_for_its_model_is_told_when_to_ask_again(data, runs, encoders, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", 0.3)
    with (
        open_collection(data, "two") as collection,
        LabelRuns(data).make(SourceAsked(collection="two"), OutputsAsked()) as run,
    ):
        source = CollectionSource(collection, lambda: encoders["two"])
        run.go_on(source, LabelsAsked(LabelSet.of(("boat", "house"))))
        review = f"/v1/label-runs/{run.id}/review"
    app = create_app(settings(data, runs, models=f"two={runs['two']}", model_bytes=1))
    with serving(app) as url:
        models = app.state.service.models
        in_use = threading.Event()
        with models.lent(models.named("one"), in_use):
            answer = httpx.post(f"{url}{review}", json={"items": [{"image": 1, "verdict": "accept"}]}, timeout=60)
            assert error_of(answer, 503)["code"] == "busy"
            assert answer.headers["Retry-After"] == "5"
        answer = httpx.post(f"{url}{review}", json={"items": [{"image": 1, "verdict": "accept"}]}, timeout=60)
        assert answer.json()["run"]["reviewed"] == {"accepted": 1}


def test_the_bound_is_half_of_the_memory_unless_it_is_set(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "memory", lambda: 1000)
    with client_of(create_app(settings_for(tmp_path), tiny_encoder(tmp_path))) as client:
        assert client.app.state.service.models._limit == 500


def test_the_client_and_the_command_line_name_models(encoders, data, runs, tmp_path):
    with serving(create_app(settings(data, runs, models=f"other={runs['two']}"))) as url, Client(url) as own:
        until(lambda: all(model.loaded for model in own.models()[:2]))
        assert [(model.id, model.default) for model in own.models()][:2] == [("one", True), ("other", False)]
        np.testing.assert_allclose(
            own.embed_texts(TEXTS, model="other"), encoders["two"].encode_texts(TEXTS), atol=1e-5
        )
        image = picture(5)
        np.testing.assert_allclose(
            own.embed_images([image], model="other"), encoders["two"].encode_images([image]), atol=1e-5
        )
        with pytest.raises(ModelNotFound, match="there are: one, other"):
            own.embed_texts(["a"], model="gone")
        [one] = own.classify([image], ["a cat", "a dog"], templates=["{}"], model="other")
        assert [one.scores[label] for label in ("a cat", "a dog")] == pytest.approx(
            shares_of(encoders["two"], image, ["a cat", "a dog"]), abs=1e-4
        )
        made = own.create_collection("by-client", model="other")
        assert (made.model, made.fingerprint) == ("other", encoders["two"].fingerprint)
        done = CliRunner().invoke(app, ["models", "--url", url])
        assert done.exit_code == 0, done.output
        assert [line.split()[:3] for line in done.stdout.splitlines() if "loaded" in line][:2] == [
            ["one", "default", "loaded"],
            ["other", "loaded", "32"],
        ]
        said = json.loads(CliRunner().invoke(app, ["models", "oth", "--url", url, "--json"]).stdout)
        assert [model["id"] for model in said["models"]] == ["other"]
        photo = tmp_path / "photos" / "5.png"
        photo.parent.mkdir()
        photo.write_bytes(image)
        label = ["label", str(photo.parent), "--labels", "a cat,a dog", "--template", "{}", "--url", url, "--model"]
        done = CliRunner().invoke(app, [*label, "other"])
        [row] = csv.DictReader(io.StringIO(done.stdout))
        assert (row["path"], row["label"]) == (str(photo), one.label)
        assert float(row["score"]) == pytest.approx(one.score, abs=1e-4)
        gone = CliRunner().invoke(app, [*label, "gone"])
        assert "there are: one, other" in str(gone.exception)
        asked = ["jobs", "start", "reindex", "--collection", "by-client", "--model", "one", "--follow", "--url", url]
        assert CliRunner().invoke(app, asked).exit_code == 0
        assert own.collection("by-client").model == "one"
        own.delete_collection("by-client")
