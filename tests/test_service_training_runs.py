"""Training runs over REST: found by name alone, followed while they train, compared, and served by a job."""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from run_folders import run_folder
from service_world import add_collection, client_of, draw, error_of, settings_for, tiny_encoder, until

from glimpse.client import Client
from service.app import create_app
from service.keys import add_key
from service.preflight import check
from service.routes.training_runs import POLICY
from service.told import _named
from training.config import TrainConfig
from training.reading import diary
from training.run_folder import LOG
from training.train import train

RUNS = "/v1/training-runs"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny_run: Path) -> Path:
    """A run folder of two epochs, as a training leaves it."""
    folder = tmp_path_factory.mktemp("trained")
    rows = [f"{path.name},a thing called {i}" for i, path in enumerate(draw(folder, 24))]
    (folder / "pairs.csv").write_text("\n".join(["image,title", *rows]))
    config = TrainConfig(str(folder / "pairs.csv"), str(folder / "runs" / "clothes"), str(tiny_run), epochs=2,
                         batch_size=8, val_fraction=0.4, device="cpu", precision="fp32")  # fmt: skip
    list(train(config))
    return folder / "runs" / "clothes"


@pytest.fixture(scope="module")
def client(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    data = tmp_path_factory.mktemp("data")
    encoder = tiny_encoder(data)
    add_collection(data, encoder, draw(data / "files", 3))
    with client_of(create_app(settings_for(data, runs=str(trained.parent)), encoder)) as client:
        yield client


def listed(client: TestClient, **asked: Any) -> dict[str, dict[str, Any]]:
    answer = client.get(RUNS, **asked)
    assert answer.status_code == 200, answer.text
    return {run["name"]: run for run in answer.json()["training_runs"]}


def test_a_run_is_told_as_its_folder_has_it(client: TestClient, trained: Path) -> None:
    said = client.get(RUNS).json()
    assert (said["named"], said["folder"]) == (True, str(trained.parent))
    run = listed(client)["clothes"]
    result = json.loads((trained / "metrics.json").read_text())
    assert (run["state"], run["epoch"], run["epochs"], run["has_model"]) == ("done", 2, 2, True)
    assert (run["score"], run["best_epoch"]) == (result["best_score"], result["best_epoch"])
    assert run["measure"] == "Recall@10 from text to image"
    assert run["before"] == result["epochs"][0]["metrics"]["text_to_image"]["recall@10"]
    details = client.get(f"{RUNS}/clothes").json()
    assert details["settings"]["batch_size"] == 8
    [recall] = [table for table in details["tables"] if table["title"] == "Recall from text to image"]
    assert [row["name"] for row in recall["rows"]] == ["recall@1", "recall@5", "recall@10", "median rank"]
    report = client.get(details["report_url"])
    assert report.content == (trained / "report.html").read_bytes()
    assert report.headers["content-security-policy"] == POLICY
    log = (trained / LOG).read_text().splitlines()
    curves = client.get(f"{RUNS}/clothes/diary").json()
    assert len(curves["steps"]["loss"]) + len(curves["epochs"]) == len(log)
    assert (
        curves["epochs"][-1]["text_to_image/recall@10"] == result["epochs"][-1]["metrics"]["text_to_image"]["recall@10"]
    )


def test_the_address_of_a_report_is_good_whatever_the_run_is_called(client: TestClient, trained: Path) -> None:
    out = run_folder(trained.parent / "größer 100% #2?", [0.1])
    (out / "report.html").write_text("<h1>The report</h1>")
    details = client.get(f"{RUNS}/gr%C3%B6%C3%9Fer%20100%25%20%232%3F").json()
    report = client.get(details["report_url"])
    assert (report.status_code, report.text) == (200, "<h1>The report</h1>")
    shutil.rmtree(out)


def test_folders_that_nobody_may_look_into_are_no_runs(
    client: TestClient, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert error_of(client.get(f"{RUNS}/{'é' * 200}"), 404)["code"] == "training_run_not_found"
    closed = run_folder(trained.parent / "lost+found", [0.1])
    is_file = Path.is_file

    def refused(path: Path) -> bool:
        if closed in path.parents:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return is_file(path)

    monkeypatch.setattr(Path, "is_file", refused)
    assert "clothes" in listed(client)
    assert "lost+found" not in listed(client)
    shutil.rmtree(closed)


def test_a_run_that_trains_is_followed_from_where_one_was(client: TestClient, trained: Path) -> None:
    out = run_folder(trained.parent / "live", [0.1, 0.2], epochs=5)
    log = out / LOG
    assert listed(client)["live"]["state"] == "training"
    first = client.get(f"{RUNS}/live/diary").json()
    assert (first["steps"]["step"], first["anew"], first["more"]) == ([1, 2, 3, 4, 5], True, False)
    with log.open("a") as file:
        file.write('{"step": 6, "loss": 0.5}\n{"step": 7, "lo')  # a line that is not whole yet
    after = client.get(f"{RUNS}/live/diary", params={"offset": first["next"]}).json()
    assert (after["steps"], after["anew"]) == ({"step": [6], "loss": [0.5]}, False)
    with log.open("a") as file:
        file.write('ss": 0.25}\n')
    last = client.get(f"{RUNS}/live/diary", params={"offset": after["next"]}).json()
    assert last["steps"] == {"step": [7], "loss": [0.25]}
    assert client.get(f"{RUNS}/live/diary", params={"offset": last["next"]}).json()["steps"] == {}
    log.write_text('{"step": 1, "loss": 9.0}\n')  # resumed from an earlier state
    again = client.get(f"{RUNS}/live/diary", params={"offset": last["next"]}).json()
    assert (again["steps"], again["anew"]) == ({"step": [1], "loss": [9.0]}, True)
    for name in ("train_config.json", "metrics.json", LOG):
        os.utime(out / name, (time.time() - 3600,) * 2)
    assert listed(client)["live"]["state"] == "stopped"


def test_many_steps_become_means_of_neighbours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [json.dumps({"step": i, "loss": float(i % 2), "lr": None}) for i in range(1, 2001)]
    (tmp_path / LOG).write_text("\n".join([*lines, json.dumps({"epoch": 1, "score": 0.5}), ""]))
    found = diary.read_diary(tmp_path, most=100)
    assert found.steps["step"][:2] == [10.5, 30.5]
    assert (found.steps["loss"], found.steps["lr"]) == ([0.5] * 100, [None] * 100)
    assert found.epochs == [{"epoch": 1, "score": 0.5}]
    monkeypatch.setattr(diary, "MOST_BYTES", 1000)
    place, steps = 0, 0
    while True:
        found = diary.read_diary(tmp_path, place, most=5000)
        steps, place = steps + len(found.steps.get("step", ())), found.next
        if not found.more:
            break
    assert (steps, place) == (2000, (tmp_path / LOG).stat().st_size)


def test_names_lead_nowhere_else(client: TestClient, trained: Path, tmp_path: Path) -> None:
    runs = trained.parent
    outside = run_folder(tmp_path / "secret", [0.5])
    (runs / "linked").symlink_to(outside)
    mixed = run_folder(runs / "mixed", [0.5])
    (mixed / "report.html").symlink_to(outside / "metrics.json")
    run_folder(runs / ".hidden", [0.5])
    (runs / "no run").mkdir()
    (runs / "file").write_text("nothing")
    odd = run_folder(runs / "50 % of <b>it", [0.5])
    names = listed(client)
    assert odd.name in names
    assert client.get(f"{RUNS}/50 %25 of <b>it").json()["name"] == odd.name
    for name in ("linked", "mixed", ".hidden", "no run", "file", "..", "%2e%2e", "..%2ftrained", "gone", "a%00b"):
        assert name not in names
        for path in ("", "/diary", "/report", "/compare?with=clothes"):
            assert client.get(f"{RUNS}/{name}{path}").status_code in (404, 422)
    error = error_of(client.get(f"{RUNS}/gone"), 404)
    assert error["code"] == "training_run_not_found"
    assert "GET /v1/training-runs lists" in error["message"]
    error_of(client.get(f"{RUNS}/clothes/compare", params={"with": "linked"}), 404)
    error_of(client.get(f"{RUNS}/clothes/compare"), 422)


def test_a_damaged_run_folder_is_shown_as_far_as_it_goes(client: TestClient, trained: Path) -> None:
    runs = trained.parent
    for i, (config, metrics, log) in enumerate(
        (
            ("[]", "3", "nothing"),
            ("{}", '{"epochs": 3, "warnings": "all", "best_epoch": "first", "best_score": NaN}', '{"step": 1}\n[1]\n'),
            (
                '{"epochs": NaN, "model": 7}',
                '{"epochs": [7, {"epoch": "a"}], "warnings": [7]}',
                '{"step": 1, "loss": NaN}\n',
            ),
            (
                '{"epochs": 1e999}',
                '{"epochs": [{"epoch": 0, "metrics": [], "score": Infinity}], "best_epoch": 0}',
                '{"st',
            ),
        )
    ):
        out = runs / f"damaged-{i}"
        out.mkdir()
        for name, text in (("train_config.json", config), ("metrics.json", metrics), (LOG, log)):
            (out / name).write_text(text)
        for path in ("", "/diary", "/compare?with=clothes"):
            answer = client.get(f"{RUNS}/{out.name}{path}")
            assert answer.status_code == 200, (path, answer.text)
    assert {f"damaged-{i}" for i in range(4)} <= listed(client).keys()


def test_runs_are_compared_by_what_they_have_in_common(client: TestClient, trained: Path) -> None:
    runs = trained.parent
    run_folder(runs / "a", [0.1, 0.6, 0.5], held_out="/1.png", lr=1e-3)
    run_folder(runs / "b", [0.1, 0.4], held_out="/2.png", lr=3e-4)
    said = client.get(f"{RUNS}/a/compare", params={"with": ["b", "a"]}).json()
    assert [run["name"] for run in said["runs"]] == ["a", "b"]
    assert [(run["before"], run["after"], run["epochs"]) for run in said["runs"]] == [(0.1, 0.6, 2), (0.1, 0.4, 1)]
    assert said["settings"] == {"lr": [1e-3, 3e-4]}
    assert said["verdict"] == "None is ahead: they are measured on different images."
    assert said["objections"][0].startswith("Held out differs: b and a")


def test_a_run_is_served_by_a_job_and_after_a_start_too(trained: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    encoder = tiny_encoder(data)
    add_collection(data, encoder, draw(data / "files", 3))
    settings = settings_for(data, runs=str(trained.parent), job_roots=str(data / "files"), device="cpu")
    reindex = {"kind": "reindex", "collection": "pictures"}
    live = run_folder(trained.parent / "busy", [0.1, 0.2], epochs=5)
    with client_of(create_app(settings, encoder)) as client:
        asked = client.post("/v1/jobs", json=reindex | {"training_run": "busy"})
        assert error_of(asked, 409)["code"] == "training_run_busy"
        for name in ("train_config.json", "metrics.json", LOG):
            os.utime(live / name, (time.time() - 3600,) * 2)
        assert error_of(client.post("/v1/jobs", json=reindex | {"training_run": "busy"}), 409)["code"] == "no_model"
        error_of(client.post("/v1/jobs", json=reindex | {"training_run": "../clothes"}), 404)
        error_of(client.post("/v1/jobs", json=reindex | {"training_run": "clothes", "model": "default"}), 422)
        job = client.post("/v1/jobs", json=reindex | {"training_run": "clothes"}).json()
        until(lambda: client.get(f"/v1/jobs/{job['id']}").json()["state"] not in ("queued", "running"))
        done = client.get(f"/v1/jobs/{job['id']}").json()
        assert (done["state"], done["report"]["encoded"], done["report"]["swapped"]) == ("succeeded", 5, True), done
        collection = client.get("/v1/collections/pictures").json()
        assert (collection["model"], collection["fingerprint"] != "tiny") == ("clothes", True)
        search = {"text": "a thing called 1"}
        [best, *_] = client.post("/v1/collections/pictures/search", json=search).json()["hits"]
    with client_of(create_app(settings, encoder)) as client:
        [hit, *_] = client.post("/v1/collections/pictures/search", json=search).json()["hits"]
        assert (hit["id"], hit["score"]) == (best["id"], pytest.approx(best["score"], abs=1e-5))


def test_a_read_key_learns_names_and_no_places(trained: Path, tmp_path: Path) -> None:
    reader, boss = ({"Authorization": f"Bearer {add_key(tmp_path, scope, scope)}"} for scope in ("read", "admin"))
    warned = run_folder(trained.parent / "warned", [0.1, 0.2], held_out="/1.png", lr=0.5)
    result = json.loads((warned / "metrics.json").read_text())
    (warned / "metrics.json").write_text(json.dumps(result | {"warnings": [f"cannot read {tmp_path}/a.jpg: torn"]}))
    with client_of(create_app(settings_for(tmp_path, runs=str(trained.parent)), tiny_encoder(tmp_path))) as client:
        error_of(client.get(RUNS), 401)
        url = client.get(f"{RUNS}/clothes", headers=boss).json()["report_url"]
        assert client.get(url).status_code == 200  # without a key, as a link is followed
        error_of(client.get(url.replace("clothes", "warned")), 403)
        error_of(client.get(f"{RUNS}/clothes/report", headers=reader), 403)
        details = client.get(f"{RUNS}/clothes", headers=reader).json()
        assert (details["report_url"], details["settings"]["pairs"]) == (None, "pairs.csv")
        assert listed(client, headers=reader)["warned"]["warnings"] == ["cannot read a.jpg: torn"]
        for path in ("", "/clothes", "/warned", "/clothes/diary", "/clothes/compare?with=warned"):
            said = client.get(f"{RUNS}{path}", headers=reader)
            assert said.status_code == 200
            assert str(trained.parent) not in said.text
            assert str(tmp_path) not in said.text
        assert str(trained.parent) in client.get(f"{RUNS}/clothes/compare?with=warned", headers=boss).text


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("cannot read /photos/a.jpg: torn", "cannot read a.jpg: torn"),
        ("cannot read ../photos/a.jpg: torn", "cannot read a.jpg: torn"),
        ("./photos/a.jpg and ~/photos/b.jpg are torn", "a.jpg and b.jpg are torn"),
        ({"images_root": "/my photos/of 2024/", "model": "/my runs/a b"}, {"images_root": "of 2024", "model": "a b"}),
        ("text_to_image/recall@10 fell, 3 images/s", "text_to_image/recall@10 fell, 3 images/s"),
        ("see https://example.org/a/b", "see https://example.org/a/b"),
        ({"pairs": "photos/pairs.csv", "model": "timm/vit", "val": ["a/b c.csv", "none"]},
         {"pairs": "pairs.csv", "model": "timm/vit", "val": ["b c.csv", "none"]}),
    ],
)  # fmt: skip
def test_files_are_names_however_they_are_written(given: Any, told: Any) -> None:
    assert _named(given) == told


def test_without_a_folder_there_are_none_and_it_is_said_how(tmp_path: Path) -> None:
    with client_of(create_app(settings_for(tmp_path), tiny_encoder(tmp_path))) as client:
        assert client.get(RUNS).json() == {"named": False, "folder": None, "training_runs": []}
        assert "glimpse serve --runs DIR" in error_of(client.get(f"{RUNS}/clothes"), 404)["message"]


def test_the_operator_is_told_whether_there_are_runs(trained: Path, tmp_path: Path) -> None:
    def said(runs: Path) -> list[tuple[str, str]]:
        report = check({"model": "none", "data": tmp_path, "runs": runs, "port": 0})
        return [(one.state, one.said) for one in report.checks if one.what == "runs"]

    [(state, words)] = said(trained.parent)
    assert state == "ok"
    assert f"training runs in {trained.parent}" in words
    assert said(tmp_path / "none") == [
        ("warning", f"runs: {tmp_path / 'none'} is no folder: no training runs are shown")
    ]


def test_the_client_reads_them(client: TestClient, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Client("http://testserver") as own:
        monkeypatch.setattr(own, "_http", client)
        assert "clothes" in [run.name for run in own.training_runs()]
        run = own.training_run("clothes")
        assert (run.state, run.settings["epochs"]) == ("done", 2)
        assert own.training_report("clothes") == (trained / "report.html").read_bytes()
        first = own.training_diary("clothes")
        assert own.training_diary("clothes", first["next"])["steps"] == {}
        run_folder(trained.parent / "other", [0.1, 0.2])
        assert len(own.compare_training_runs("clothes", ["other"])["runs"]) == 2
