"""Idempotency-Key: what was done is answered again, not done again; on disk, so also after a restart or a kill."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from service_world import (
    WatchedEncoder,
    ask_and_leave,
    client_of,
    error_of,
    picture,
    serving,
    settings_for,
    tiny_encoder,
    until,
    world,
)

from index.collection import create_collection
from service.app import create_app
from service.http import kept_answers
from service.http.kept_answers import KeptAnswer, KeptAnswers
from service.routes.collections import texts

TEXTS = "/v1/collections/pictures/texts"


@pytest.fixture
def here(tmp_path: Path) -> Iterator[tuple[TestClient, WatchedEncoder]]:
    with world(tmp_path, n=1, max_upload_bytes=100_000) as (client, encoder, _):
        yield client, encoder


def add(client: TestClient | httpx.Client, key: str | None, *texts: str, url: str = TEXTS) -> httpx.Response:
    headers = {} if key is None else {"Idempotency-Key": key}
    return client.post(url, json={"texts": texts}, headers=headers)


def count(client: TestClient | httpx.Client) -> int:
    counts: dict[str, int] = client.get("/v1/collections/pictures").json()["counts"]
    return counts["text"]


def kept(data: Path) -> list[str]:
    return sorted(path.suffix for path in (data / "idempotency").iterdir())


def test_the_same_again_is_the_first_answer_again(here: Any, tmp_path: Path) -> None:
    client, _ = here
    first = add(client, "k-1", "red", "blue")
    again = add(client, "k-1", "red", "blue")
    assert (first.status_code, again.status_code, again.content) == (200, 200, first.content)
    assert first.headers["content-type"] == again.headers["content-type"]
    assert [answer.headers.get("idempotency-replayed") for answer in (first, again)] == [None, "true"]
    assert count(client) == 4
    assert add(client, "k-2", "red", "blue").json()["ids"] != first.json()["ids"]
    assert add(client, None, "red", "blue").json()["ids"] != first.json()["ids"]
    assert kept(tmp_path) == [".json", ".json"]


def test_an_entry_called_as_a_route_is_put_once_too(here: Any) -> None:
    client, _ = here
    path, headers = "/v1/collections/pictures/entries/delete", {"Idempotency-Key": "k"}
    first, again = (client.put(path, json={"text": "red"}, headers=headers) for _ in range(2))
    assert (first.status_code, again.status_code, again.content) == (201, 201, first.content)


def test_a_rename_that_is_sent_again_with_its_key_is_answered_as_done(here: Any) -> None:
    client, _ = here
    old, asked, headers = "/v1/collections/pictures", {"name": "photos"}, {"Idempotency-Key": "k"}
    first, again = (client.patch(old, json=asked, headers=headers) for _ in range(2))
    assert (first.status_code, again.status_code, again.content) == (200, 200, first.content)
    assert error_of(client.patch(old, json=asked), 404)["code"] == "collection_not_found"  # there is none of that name


def test_another_request_with_the_key_is_refused(here: Any) -> None:
    client, _ = here
    add(client, "k", "red")
    for answer in (
        add(client, "k", "green"),
        client.delete("/v1/collections/pictures", headers={"Idempotency-Key": "k"}),
    ):
        error = error_of(answer, 422)
        assert (error["code"], error["param"]) == ("idempotency_key_reused", "Idempotency-Key")
    assert count(client) == 3


def test_another_condition_is_another_request(here: Any) -> None:
    client, _ = here
    place, headers = "/v1/label-sets/pets", {"Idempotency-Key": "k"}
    made = client.put(place, json={"labels": ["a"]}, headers=headers)
    assert client.put(place, json={"labels": ["a"]}, headers=headers).status_code == 201
    for condition in ({"If-Match": made.headers["etag"]}, {"If-None-Match": "*"}):
        answer = client.put(place, json={"labels": ["a"]}, headers=headers | condition)
        assert error_of(answer, 422)["code"] == "idempotency_key_reused"


def test_what_was_refused_may_be_mended_and_sent_with_its_key(here: Any, tmp_path: Path) -> None:
    client, _ = here
    assert error_of(add(client, "k", ""), 422)["param"] == "texts.0"
    assert error_of(add(client, "k", "red", url="/v1/collections/none/texts"), 404)
    assert error_of(add(client, "k", "x" * 200_000), 413)["code"] == "too_large"
    assert add(client, "k", "red").status_code == 200
    for bad in ("", "x" * 256):
        assert error_of(add(client, bad, "red"), 422)["param"] == "Idempotency-Key"
    assert kept(tmp_path) == [".json"]


def test_a_form_sent_again_has_another_boundary_and_is_the_same(here: Any) -> None:
    client, encoder = here
    answers = [
        client.post(
            "/v1/collections/pictures/images",
            files=[("file", ("x.png", picture(9)))],
            headers={"Idempotency-Key": "form"},
        )
        for _ in range(2)
    ]
    assert answers[0].request.headers["content-type"] != answers[1].request.headers["content-type"]
    assert answers[0].json()["results"][0]["created"]
    assert answers[1].content == answers[0].content
    assert len(encoder.images) == 3  # warm, the collection, and once


def test_what_only_reads_has_no_use_for_it(here: Any, tmp_path: Path) -> None:
    client, _ = here
    for body in ({"text": "red"}, {"text": "blue"}):
        answer = client.post("/v1/collections/pictures/search", json=body, headers={"Idempotency-Key": "k"})
        assert answer.status_code == 200
    assert not (tmp_path / "idempotency").exists()


def test_each_caller_has_keys_of_his_own(tmp_path: Path) -> None:
    keys = {name: f"{name}{'0' * 32}" for name in ("ann", "ben")}
    given = ",".join(f"{name}:admin:{key}" for name, key in keys.items())
    with world(tmp_path, n=1, api_keys=given) as (client, _, _):
        for name, key in keys.items():
            headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": "1"}
            assert client.post(TEXTS, json={"texts": [name]}, headers=headers).status_code == 200
        assert client.post(TEXTS, json={"texts": ["x"]}, headers={"Idempotency-Key": "1"}).status_code == 401


def test_while_it_is_under_way_the_other_is_told_to_wait(here: Any) -> None:
    client, encoder = here
    answers: list[httpx.Response] = []
    with encoder.held():
        first = threading.Thread(target=lambda: answers.append(add(client, "k", "a new text")))
        first.start()
        assert encoder.running.wait(20)
        second = add(client, "k", "a new text")
        assert (error_of(second, 409)["code"], second.headers["retry-after"]) == ("request_under_way", "1")
    first.join()
    assert add(client, "k", "a new text").content == answers[0].content
    assert count(client) == 3


def test_it_is_done_to_its_end_though_its_client_has_left(tmp_path: Path) -> None:
    encoder = tiny_encoder(tmp_path)
    create_collection(tmp_path, "pictures", model="tiny", fingerprint="tiny", dim=32).close()
    with serving(create_app(settings_for(tmp_path), encoder)) as url, httpx.Client(base_url=url) as client:
        with encoder.held():
            ask_and_leave(url, TEXTS, {"texts": ["a new text"]}, encoder.running.is_set, **{"Idempotency-Key": "k"})
            assert error_of(add(client, "k", "a new text"), 409)["code"] == "request_under_way"
        until(lambda: add(client, "k", "a new text").status_code == 200)
        assert add(client, "k", "a new text").headers["idempotency-replayed"] == "true"
        assert count(client) == 1


def test_it_outlives_a_restart_and_what_a_kill_left_open_is_told(tmp_path: Path) -> None:
    encoder = tiny_encoder(tmp_path)
    create_collection(tmp_path, "pictures", model="tiny", fingerprint="tiny", dim=32).close()
    with client_of(create_app(settings_for(tmp_path), encoder)) as client:
        first = add(client, "k", "red")
        add(client, "open", "blue")
        put = client.put("/v1/collections/pictures/entries/a", json={"text": "x"}, headers={"Idempotency-Key": "put"})
    answers = KeptAnswers(tmp_path)
    for key in ("open", "put"):  # as if it had been killed before the answers were kept
        with answers.place(None, key) as place:
            answers.begin(place, str(place.asked), repeatable=True)
    with client_of(create_app(settings_for(tmp_path), encoder)) as client:
        assert add(client, "k", "red").content == first.content
        assert error_of(add(client, "open", "blue"), 409)["code"] == "outcome_unknown"
        again = client.put("/v1/collections/pictures/entries/a", json={"text": "x"}, headers={"Idempotency-Key": "put"})
        assert (put.json()["status"], again.json()["status"]) == ("created", "unchanged")  # done twice is done once
        assert count(client) == 3


def test_a_full_disk_is_told_and_nothing_done(here: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client, _ = here

    def full(path: Path, content: str) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(kept_answers, "write_whole", full)
    error = error_of(add(client, "k", "red"), 500)
    assert (error["code"], "free some space" in error["message"]) == ("disk_full", True)
    assert count(client) == 2
    monkeypatch.undo()
    assert add(client, "k", "red").status_code == 200


def test_what_fails_in_a_route_is_not_laid_to_the_disk_of_answers(here: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    client, _ = here

    def failing(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "/a/secret/place")

    monkeypatch.setattr(texts, "merge_patch", failing)
    for key in (None, "k"):
        answer = add(client, key, "red")
        assert error_of(answer, 500)["code"] == "internal_error"
        assert "secret" not in answer.text
    monkeypatch.undo()
    error = error_of(add(client, "k", "red"), 409)  # nobody knows how far it came
    assert error["code"] == "outcome_unknown"


def test_what_is_kept_is_bounded_and_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_answers, "MOST", 5)
    answers = KeptAnswers(tmp_path)
    paths = []
    for i in range(8):
        with answers.place("me", str(i)) as place:
            answers.begin(place, "x", repeatable=False)
            answers.keep(place, "x", KeptAnswer(200, [("a", "b")], b"\xff"))
            paths.append(place.path)
        os.utime(place.path, (time.time() + i - 100,) * 2)
    answers.sweep()
    assert [path.exists() for path in paths] == [False] * 3 + [True] * 5
    with answers.place("me", "7") as place:
        assert place.kept == KeptAnswer(200, [("a", "b")], b"\xff")
    with answers.place("you", "7") as place:
        assert place.kept is None
    monkeypatch.setattr(kept_answers, "KEPT_FOR", 0.0)
    with answers.place("me", "7") as place:
        assert place == kept_answers.Place(place.path)
    answers.sweep()
    assert not any(path.exists() for path in paths)
    monkeypatch.undo()
    paths[7].write_text("{")
    with answers.place("me", "7") as place:
        assert place.asked is None
