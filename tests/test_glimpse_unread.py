"""Words that a model has never read: told of searches and labels, here and by a service; with nothing else, no hits."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from fastapi.testclient import TestClient
from glimpse_here import glimpse_here
from job_calls import ask, ended
from service_world import client_of, serving, settings_for
from tiny_world import COLOURS, plain_picture

from encoder.model.load import build_clip, load_encoder
from encoder.unread import ReadTokens
from glimpse.client import Client, Part
from service.app import create_app
from training.records.checkpoint import save_model

N = 60  # enough to judge what scores mean
LITTLE, MUCH = ("a", "the", "in", "of"), ("red", "boat", "snow", "tree", "picture")
CPU = {"GLIMPSE_DEVICE": "cpu", "GLIMPSE_PRECISION": "fp32"}
SPACESHIP = "the model has never read 'spaceship'"


@pytest.fixture(scope="module")
def run(tiny_config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that has read few words, of which those that join others say little."""
    folder = tmp_path_factory.mktemp("unread")
    torch.manual_seed(7)  # weights of its own: exported towers are kept by them
    parts = build_clip(tiny_config)
    ids = {word: parts.tokenizer([word])[0, 1].item() for word in (*LITTLE, *MUCH)}
    fed = frozenset(parts.tokenizer([" ".join(ids)]).unique().tolist())
    says = {ids[word]: 0.01 if word in LITTLE else 0.3 for word in ids}
    save_model(folder / "run", dataclasses.replace(parts, read_tokens=ReadTokens(fed, says)))
    (folder / "pictures").mkdir()
    for i in range(N):
        plain_picture(list(COLOURS)[i % len(COLOURS)], i // len(COLOURS)).save(folder / "pictures" / f"{i:02}.png")
    return folder / "run"


@pytest.fixture(scope="module", params=["local", "milvus"])
def data(request: pytest.FixtureRequest, run: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """Options of a data folder with the collection `images` of that model, in either store."""
    folder = tmp_path_factory.mktemp("data")
    where = ["--data", folder]
    if request.param == "milvus":
        where += ["--store", f"milvus://{folder}/store.db"]
    done = glimpse_here("index", run.parent / "pictures", "--model", run, *where, **CPU)
    assert done.returncode == 0, done.stderr
    return where


@pytest.fixture(scope="module")
def client(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("served")
    done = glimpse_here("index", run.parent / "pictures", "--model", run, "--data", folder, **CPU)
    assert done.returncode == 0, done.stderr
    app = create_app(settings_for(folder), load_encoder(run, "cpu", "fp32"))
    with client_of(app) as client:
        yield client


def search(client: TestClient, **body: Any) -> dict[str, Any]:
    answer = client.post("/v1/collections/images/search", json={"limit": 3, **body})
    assert answer.status_code == 200, answer.text
    return answer.json()  # type: ignore[no-any-return]


def test_a_query_of_unread_words_is_told_and_fits_nothing(client: TestClient) -> None:
    found = search(client, text="a spaceship", cutoff="auto")
    assert (found["hits"], found["unread_words"], found["warnings"]) == ([], ["spaceship"], [SPACESHIP])
    found = search(client, text="a spaceship")  # as many as were asked for, and none that is relevant
    assert [hit["relevance"] for hit in found["hits"]] == [0, 0, 0]
    assert found["unread_words"] == ["spaceship"]

    known = search(client, text="a red boat", cutoff="auto")
    assert known["hits"]
    assert (known["unread_words"], known["warnings"]) == ([], [])
    assert known["hits"] == search(client, text="a red boat")["hits"]


@pytest.mark.parametrize(
    ("body", "unread", "is_empty"),
    [
        ({"text": "spaceship"}, ["spaceship"], True),
        ({"text": "The Submarine, in the"}, ["Submarine"], True),
        ({"text": "a red spaceship"}, ["spaceship"], False),
        ({"text": "boats"}, ["boats"], True),
        ({"text": "a"}, [], False),
        ({"query": [{"text": "a spaceship"}, {"text": "a zeppelin"}]}, ["spaceship", "zeppelin"], True),
        ({"query": [{"text": "a spaceship"}, {"text": "red"}]}, ["spaceship"], False),
        ({"query": [{"text": "a spaceship"}, {"text": "red", "weight": -0.5}]}, ["spaceship"], True),
        ({"query": [{"text": "red"}, {"text": "a spaceship", "weight": -0.5}]}, ["spaceship"], False),
        ({"query": [{"text": "a spaceship"}, {"id": 1}]}, ["spaceship"], False),
        ({"text": "a spaceship", "vector": [1.0] * 32}, ["spaceship"], False),
        ({"id": 1}, [], False),
    ],
)
def test_what_is_left_of_a_query_decides(
    client: TestClient, body: dict[str, Any], unread: list[str], is_empty: bool
) -> None:
    found = search(client, **body, cutoff="auto")
    assert (found["unread_words"], found["hits"] == []) == (unread, is_empty)
    many = {"searches": [{**body, "cutoff": "auto"}]}
    [batched] = client.post("/v1/collections/images/search/batch", json=many).json()["results"]
    assert (batched["unread_words"], batched["hits"] == []) == (unread, is_empty)
    if "id" not in json.dumps(body):
        body = {**body, "cutoff": "auto", "collections": ["images"]}
        together = client.post("/v1/search", json=body).json()
        assert (together["unread_words"], together["hits"] == []) == (unread, is_empty)


def test_labels_with_unread_words_are_told_once(client: TestClient, run: Path) -> None:
    picture = {"id": 1, "collection": "images"}
    for labels, warnings in (
        (["red", "platypus", "a zeppelin", "tree", "boat"], ["platypus, zeppelin"]),
        (["red", "tree|spaceship"], ["spaceship"]),
        (["red", "tree"], []),
    ):
        answer = client.post("/v1/classify", json={**picture, "labels": labels})
        assert answer.status_code == 200, answer.text
        told = answer.json()["warnings"]
        assert [line.rpartition(": ")[2] for line in told] == warnings
    [line] = client.post("/v1/classify", json={**picture, "labels": ["red", "platypus", "a zeppelin"]}).json()[
        "warnings"
    ]
    assert line == "2 of 3 labels have words that the model has never read: platypus, zeppelin"

    folder = run.parent / "pictures"
    done = glimpse_here("label", folder, "--labels", "red,platypus", "--model", run, "--out", "-", **CPU)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("warning: 1 of 2 labels have words that the model has never read: platypus") == 1


def test_a_label_job_tells_it_each_time(client: TestClient) -> None:
    told = []
    for labels in (["red", "platypus"], ["red", "platypus"], ["red", "tree"]):  # at the second all are labelled
        key = ask(client, "label", collection="images", labels=labels)
        told.append(ended(client, key)["report"]["warnings"])
    line = "1 of 2 labels have words that the model has never read: platypus"
    assert told == [[line], [line], []]


def test_eval_tells_it_of_labels_and_of_texts(run: Path, tmp_path: Path) -> None:
    for label in ("red", "platypus"):
        (tmp_path / "classes" / label).mkdir(parents=True)
        plain_picture("red", len(label)).save(tmp_path / "classes" / label / "1.png")
    done = glimpse_here("eval", "--model", run, "--folders", tmp_path / "classes", **CPU)
    assert "warning: 1 of 2 labels have words that the model has never read: platypus" in done.stderr
    (tmp_path / "pairs.csv").write_text("image,title\nclasses/red/1.png,a boat\nclasses/platypus/1.png,two dogs\n")
    done = glimpse_here("eval", "--model", run, "--pairs", tmp_path / "pairs.csv", **CPU)
    assert "warning: 1 of 2 texts have words that the model has never read: two, dogs" in done.stderr


def test_the_command_says_it_of_each_store(data: list[Any], run: Path) -> None:
    for device in ({}, CPU):  # by towers where they are kept, and by torch
        done = glimpse_here("search", "a spaceship", "--cutoff", "auto", *data, **device)
        assert done.stderr.splitlines()[0] == f"warning: {SPACESHIP}"
        assert "nothing in images fits" in done.stderr
        said = json.loads(glimpse_here("search", "a spaceship", "--cutoff", "auto", "--json", *data, **device).stdout)
        assert (said["hits"], said["unread_words"]) == ([], ["spaceship"])
        said = json.loads(glimpse_here("search", "a red spaceship", "--json", *data, **device).stdout)
        assert (len(said["hits"]), said["unread_words"]) == (10, ["spaceship"])
    done = glimpse_here("search", "red", "--not", "a zeppelin", *data, **CPU)
    assert "warning: the model has never read 'zeppelin'" in done.stderr


def test_many_queries_of_a_file_have_it_in_their_lines(data: list[Any], tmp_path: Path) -> None:
    file = tmp_path / "queries.jsonl"
    file.write_text('a spaceship\na red boat\n{"text": "red", "not": "zeppelin"}\n')
    done = glimpse_here("search", "--queries", file, "--cutoff", "auto", *data, **CPU)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["unread_words"] for line in lines] == [["spaceship"], [], ["zeppelin"]]
    assert [bool(line["hits"]) for line in lines] == [False, True, True]
    assert "2 of 3 queries have words that the model has never read" in done.stderr


def test_the_client_and_the_command_are_told_by_a_service(run: Path, tmp_path: Path) -> None:
    done = glimpse_here("index", run.parent / "pictures", "--model", run, "--data", tmp_path, **CPU)
    assert done.returncode == 0, done.stderr
    with serving(create_app(settings_for(tmp_path), load_encoder(run, "cpu", "fp32"))) as url:
        with Client(url) as client:
            found = client.search("images", query=[Part(text="a spaceship")], cutoff="auto")
            assert (found.hits, found.unread_words, found.warnings) == ([], ["spaceship"], [SPACESHIP])
            [one, other] = client.search_many("images", [{"text": "zeppelin"}, {"text": "red"}])
            assert (one.unread_words, other.unread_words) == (["zeppelin"], [])
        done = glimpse_here("search", "a spaceship", "--cutoff", "auto", "--url", url)
        assert f"warning: {SPACESHIP}" in done.stderr
        said = json.loads(glimpse_here("search", "a spaceship", "--cutoff", "auto", "--json", "--url", url).stdout)
        assert (said["hits"], said["unread_words"]) == ([], ["spaceship"])
