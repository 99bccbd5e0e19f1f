"""Commands and the service on another store than the data folder: the same, and what is not there is said."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from service_world import client_of, error_of, picture, tiny_encoder

from base.errors import NotInStore, StoreUnavailable
from glimpse.cli import perform
from index.milvus.server import Server
from service.app import create_app
from service.settings import Settings


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("GLIMPSE_STORE", "local")  # so that what a command sets is taken back
    yield f"milvus://{tmp_path}/store.db"
    Server.close_all()


def call(*arguments: object) -> int:
    return perform([str(argument) for argument in arguments])


def test_a_folder_is_indexed_searched_labelled_exported_and_moved(
    store: str, colour_folder: Path, tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    at = ["--data", tmp_path / "data", "--store", store]

    def said(*arguments: object) -> dict[str, object]:
        capsys.readouterr()
        assert call(*arguments, "--json") == 0
        found: dict[str, object] = json.loads(capsys.readouterr().out)
        return found

    index = ["index", colour_folder, "-c", "colours", "--model", tiny_run, "--device", "cpu", *at]
    assert said(*index)["added"] == 12
    (colour_folder / "red" / "0.png").rename(colour_folder / "green" / "moved.png")
    (colour_folder / "blue" / "1.png").unlink()
    again = said(*index)
    assert (again["added"], again["moved"], again["removed"], again["unchanged"]) == (0, 1, 1, 10)
    like = said("search", "--image", colour_folder / "blue" / "2.png", "-c", "colours", "-k", "2", *at)["hits"]
    assert isinstance(like, list)
    assert like[0]["path"] == str(colour_folder / "blue" / "2.png")
    (listed,) = said("collections", *at)["collections"]  # type: ignore[misc]
    assert (listed["name"], listed["counts"]) == ("colours", {"image": 11, "text": 0})
    assert said("collections", "check", "colours", *at) == {"problems": {"colours": []}}
    file = tmp_path / "colours.parquet"
    call("collections", "export", "colours", file, *at)
    assert said("collections", "import", file, "copy", *at)["entries"] == 11
    with pytest.raises(NotInStore, match="a backup of collections on milvus"):
        call("collections", "backup", "colours", tmp_path / "kept", "--data", tmp_path / "data")
    assert os.environ["GLIMPSE_STORE"] == store
    assert said("collections", "move", "colours", "--to", "local", *at)["entries"] == 11
    os.environ["GLIMPSE_STORE"] = "local"
    here = said("search", "--image", colour_folder / "blue" / "2.png", "-c", "colours", "-k", "2", *at[:2])["hits"]
    assert isinstance(here, list)
    assert {name: here[0][name] for name in here[0] if name != "score"} == {
        name: like[0][name] for name in here[0] if name != "score"
    }
    assert [hit["score"] for hit in here] == pytest.approx([hit["score"] for hit in like], abs=1e-4)


def test_the_service_answers_from_the_store(store: str, tmp_path: Path) -> None:
    encoder = tiny_encoder(tmp_path)
    settings = Settings(model="tiny", data=tmp_path / "data", store=store)
    with client_of(create_app(settings, encoder)) as client:
        assert client.put("/v1/collections/pets", json={}).status_code == 201
        files = [("file", (f"{seed}.png", picture(seed), "image/png")) for seed in range(4)]
        sent = client.post("/v1/collections/pets/images", files=files).json()
        ids = [image["id"] for image in sent["results"]]
        found = client.post("/v1/collections/pets/search", json={"id": ids[0], "limit": 2}).json()
        assert len(found["hits"]) == 2
        assert client.get(f"/v1/collections/pets/images/{ids[0]}").json()["id"] == ids[0]
        assert client.patch(f"/v1/collections/pets/images/{ids[0]}", json={"metadata": {"a": 1}}).status_code == 200
        wanted = {"vector": [1.0] * 32, "filter": {"must": [{"key": "a", "match": {"value": 1}}]}}
        assert [hit["id"] for hit in client.post("/v1/collections/pets/search", json=wanted).json()["hits"]] == [ids[0]]
        refused = client.get("/v1/collections/pets/changes")
        assert error_of(refused, 501)["code"] == "not_in_store"
        assert client.delete(f"/v1/collections/pets/images/{ids[0]}").status_code == 204
        assert client.get("/v1/collections/pets").json()["counts"]["image"] == 3
        assert not any(path.name.startswith("catalog") for path in (tmp_path / "data").rglob("*"))

        def away(*_: object, **__: object) -> None:
            raise StoreUnavailable(f"{store} does not answer")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Server, "_call", away)
            lost = client.post("/v1/collections/pets/search", json={"vector": [1.0] * 32})
        assert error_of(lost, 503)["code"] == "store_unavailable"
        assert lost.headers["retry-after"] == "5"
        assert client.post("/v1/collections/pets/search", json={"vector": [1.0] * 32}).status_code == 200
