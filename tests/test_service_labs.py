"""The labs over REST: a loss on points and on a collection's own pictures, its bounds, and who may ask."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from service_world import client_of, error_of, settings_for, tiny_encoder, world

from index.collection import open_collection
from service.app import create_app
from service.keys import add_key
from service.schemas.labs import MAX_DIMENSIONS, MAX_PICTURES, MAX_POINTS

PATH = "/v1/labs/forces"
TWO = {"anchors": [[1, 0]], "others": [[0.6, 0.8], [1, 0]]}


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TestClient, Path]]:
    folder = tmp_path_factory.mktemp("labs")
    with world(folder) as (client, _, _):
        yield client, folder


@pytest.fixture
def client(here: tuple[TestClient, Path]) -> TestClient:
    return here[0]


def felt(client: TestClient, **asked: Any) -> dict[str, Any]:
    answer = client.post(PATH, json=asked)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_points_a_loss_and_its_forces(client: TestClient) -> None:
    found = felt(client, **TWO, loss="info-nce", temperature=0.5)
    share = 1 / (1 + math.exp((0.6 - 1) / 0.5))  # of the wrong one
    assert found["loss"] == pytest.approx(-math.log(1 - share))
    assert found["guess"] == pytest.approx(math.log(2))
    assert found["pulls"] == pytest.approx([2 * share, -2 * share], abs=1e-5)
    assert found["cosines"] == pytest.approx([0.6, 1.0])
    [force] = found["gradients"]["anchors"]
    assert force == pytest.approx([0, -2 * share * 0.8], abs=1e-5)  # against it, so up to the right one


def test_it_goes_on_from_what_it_answered_before(client: TestClient) -> None:
    spread = {"anchors": [[1, 0], [0, 1], [-1, 0]], "others": [[0, -1], [1, 0], [0, 1]], "loss": "contrastive"}
    start = felt(client, **spread, margin=0)
    point = {"anchors": [[1, 0.01], [1, 0.02], [1, 0]], "others": [[1, 0.01], [1, 0.02], [1, 0]], "loss": "contrastive"}
    end = felt(client, **point, margin=0, epoch=40, earlier=[start["record"]])
    assert start["warnings"] == []
    [warning] = end["warnings"]
    assert warning.startswith("Collapse: after epoch 40")


def test_pictures_of_a_collection_by_their_own_vectors(client: TestClient, here: tuple[TestClient, Path]) -> None:
    with open_collection(here[1], "pictures") as opened:
        rows = opened.vectors([1, 2, 3, 7])  # kept in float16
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    found = felt(client, pictures={"collection": "pictures", "anchors": [1], "others": [2, 3, 7]}, temperature=0.01)
    np.testing.assert_allclose(found["cosines"], rows[1:] @ rows[0], atol=1e-5)
    assert found["gradients"] is None
    assert found["pulls"][0] >= 0


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"anchors": [[1, 0]]}, 422),
        ({"pictures": {"collection": "pictures", "anchors": [1], "others": [2]}} | TWO, 422),
        ({"pictures": {"collection": "pictures", "anchors": [1], "others": [99]}}, 404),
        ({"pictures": {"collection": "gone", "anchors": [1], "others": [2]}}, 404),
        ({"pictures": {"collection": "pictures", "anchors": [1], "others": [2] * MAX_PICTURES}}, 422),
        ({"anchors": [[0, 0]], "others": [[1, 0]]}, 422),
        ({"anchors": [[1, 0, 0]], "others": [[1, 0]]}, 422),
        ({"anchors": [[1] * (MAX_DIMENSIONS + 1)], "others": [[1] * (MAX_DIMENSIONS + 1)]}, 422),
        ({"anchors": [[1, 0]] * 100, "others": [[1, 0]] * (MAX_POINTS - 99)}, 422),
        (TWO | {"right": [[2]]}, 422),
        (TWO | {"temperature": 0}, 422),
        (TWO | {"margin": -1}, 422),
        (TWO | {"loss": "nothing"}, 422),
        (TWO | {"temprature": 1}, 422),
    ],
)
def test_what_is_refused(client: TestClient, body: dict[str, Any], status: int) -> None:
    error_of(client.post(PATH, json=body), status)


def test_the_most_that_may_be_asked_is_answered(client: TestClient) -> None:
    half = np.random.default_rng(0).normal(size=(MAX_POINTS // 2, MAX_DIMENSIONS)).tolist()
    for loss in ("info-nce", "triplet", "contrastive", "siglip"):
        assert len(felt(client, anchors=half, others=half, loss=loss)["gradients"]["others"]) == MAX_POINTS // 2


def test_a_key_that_only_reads_may_look_and_none_may_not(tmp_path: Path) -> None:
    key = add_key(tmp_path, "class", "read")
    with client_of(create_app(settings_for(tmp_path), tiny_encoder(tmp_path))) as own:
        error_of(own.post(PATH, json=TWO), 401)
        assert own.post(PATH, json=TWO, headers={"Authorization": f"Bearer {key}"}).status_code == 200
