"""Embeddings over REST, in OpenAI's shape."""

import base64
import threading
from contextlib import nullcontext

import numpy as np
import pytest
from service_world import b64

from service.inference.shared_encoder import SharedEncoder


def embed(client, **body):
    answer = client.post("/v1/embeddings", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_embeddings_of_texts(client, watched):
    answer = embed(client, input=["a boat", "a house"], model="default")
    assert answer["object"] == "list"
    assert answer["model"] == "tiny"
    assert [d["index"] for d in answer["data"]] == [0, 1]
    got = np.array([d["embedding"] for d in answer["data"]], np.float32)
    np.testing.assert_allclose(got, watched.encode_texts(["a boat", "a house"]), atol=1e-5)
    assert answer["usage"] == {"prompt_tokens": 8, "total_tokens": 8, "cut_texts": 0}  # begin, a, boat, end
    long = "word " * 100
    assert embed(client, input=[f"{long}one", f"{long}two", "short"])["usage"]["cut_texts"] == 2
    labels = ["cat", f"{long}one", f"{long}two"]
    refused = client.post("/v1/classify", json={"image": "data:image/png;base64,eA==", "labels": labels})
    assert refused.status_code == 422
    assert "are the same to the model, which reads 77 tokens of a prompt" in refused.json()["error"]["message"]
    refused = client.post("/v1/classify", json={"image": "data:image/png;base64,eA==", "labels": ["cat", "Cat"]})
    assert 'the labels "cat" and "Cat" are the same to the model' in refused.json()["error"]["message"]


def test_texts_that_are_added_say_if_they_are_cut(client):
    added = client.post("/v1/collections/pictures/texts", json={"texts": ["word " * 100, "short"]}).json()
    assert added["cut_texts"] == 1
    assert added["warnings"][0].startswith("1 of 2 texts are cut after 77 tokens")
    for key in added["ids"]:
        client.delete(f"/v1/collections/pictures/texts/{key}")


def test_long_texts_are_looked_at_in_parts_and_only_if_they_may_be_cut(client, watched, monkeypatch):
    parts: list[int] = []
    look = watched.cut_texts
    monkeypatch.setattr(watched, "cut_texts", lambda texts: parts.append(len(texts)) or look(texts))
    assert embed(client, input=["photograph " * 30 + str(i) for i in range(70)])["usage"]["cut_texts"] == 0
    assert parts == []
    texts = ["word " * 100 + str(i) for i in range(70)]
    assert embed(client, input=[*texts, *texts])["usage"]["cut_texts"] == 70
    assert parts == [64, 6]
    shared = SharedEncoder(
        lambda: nullcontext(client.app.state.service.models.default.loaded.inference), threading.Event()
    )
    assert shared.cut_texts([*texts, "short"]) == look([*texts, "short"])
    assert max(parts[2:]) == 32


def test_base64_is_the_same_to_the_bit(client):
    floats = embed(client, input="a boat")["data"][0]["embedding"]
    coded = embed(client, input="a boat", encoding_format="base64")["data"][0]["embedding"]
    assert np.asarray(floats, "<f4").tobytes() == base64.b64decode(coded)


def test_embeddings_of_texts_and_images_mixed(client, watched, files):
    image = b64(files[0].read_bytes())
    inputs = [{"text": "a boat"}, {"image": image}, f"\n data:image/png;base64,{image}\n", "a boat"]
    vectors = [d["embedding"] for d in embed(client, input=inputs)["data"]]
    np.testing.assert_allclose(vectors[1], watched.encode_images([files[0]])[0], atol=1e-5)
    np.testing.assert_allclose(vectors[1], vectors[2], atol=1e-5)
    np.testing.assert_allclose(vectors[0], vectors[3], atol=1e-6)
    assert embed(client, input={"text": "a boat"})["data"][0]["embedding"] == pytest.approx(vectors[0], abs=1e-5)
    assert embed(client, input={"image": image})["usage"]["prompt_tokens"] == 0


def test_the_models_own_dimensions_and_name_are_accepted(client):
    assert len(embed(client, input="x", dimensions=32, model="tiny", user="me")["data"][0]["embedding"]) == 32
    assert embed(client, input="x", model="")["model"] == "tiny"
