"""The command line with --url: what it says is what it says on this machine, and it needs no torch."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from service_world import serving, settings_for
from tiny_world import plain_picture

from base.errors import ChangedMeanwhile, GlimpseError, InputError
from encoder.model.dual_encoder import DualEncoder
from glimpse.cli import perform
from glimpse.client import Client, ServiceError
from index.ingest.sync import index_folders, open_or_create
from labelling.label_sets import LabelSet, LabelSets
from service.app import create_app


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder on the service's machine: eight pictures in two folders, and a file that is none."""
    folder = tmp_path_factory.mktemp("pictures")
    for i, colour in enumerate(["red", "green", "blue", "yellow", "black", "white", "purple", "orange"]):
        (folder / str(i % 2)).mkdir(exist_ok=True)
        plain_picture(colour).save(folder / str(i % 2) / f"{colour}.png")
    (folder / "broken.jpg").write_bytes(b"broken")
    return folder


@pytest.fixture(scope="module")
def data(pictures: Path, encoder: DualEncoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with those pictures, indexed, as the collection `colours`."""
    data = tmp_path_factory.mktemp("data")
    with open_or_create(data, "colours", encoder) as collection:
        index_folders(collection, encoder, [pictures])
    return data


@pytest.fixture(scope="module")
def url(data: Path, pictures: Path, encoder: DualEncoder) -> Iterator[str]:
    settings = settings_for(data, job_roots=str(pictures))
    with serving(create_app(settings, encoder)) as url:
        yield url


def call(*arguments: object) -> int:
    """Run a command in this process; its exit code."""
    return perform([str(argument) for argument in arguments])


def said(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    capsys.readouterr()
    assert call(*arguments) == 0
    return capsys.readouterr().out


def test_a_search_says_what_it_says_here(
    data: Path, url: str, tiny_run: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = ("--data", data, "--model", tiny_run, "--device", "cpu", "--precision", "fp32")
    for asked in (
        ("a red car", "--not", "a boat", "--like", 1, "--image", pictures / "0" / "red.png", "-k", 5),
        ("a red car", "--offset", 2, "--diversity", 0.3, "--collapse", 0.999),
        ("--like", 2, "--filter", '{"must": [{"key": "file.size", "range": {"gt": 1}}]}'),
    ):
        search = ("search", "-c", "colours", *asked)
        local = json.loads(said(capsys, *search, *here, "--json"))
        remote = json.loads(said(capsys, *search, "--url", url, "--json"))
        assert local["hits"]
        assert remote.keys() == local.keys()
        for ours, theirs in zip(local["hits"], remote["hits"], strict=True):
            assert theirs.pop("score") == pytest.approx(ours.pop("score"), abs=1e-4)
            assert theirs == ours
        assert said(capsys, *search, "--url", url) == said(capsys, *search, *here)
    call("search", "a red car", "-c", "colours", "--url", url, "--score-threshold", "1")
    assert "nothing in colours fits: the best scored" in capsys.readouterr().err


def test_labels_are_those_that_are_given_here(
    url: str, tiny_run: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    label = ("label", pictures, "--labels", "red,green,blue", "--template", "a {} thing", "--json", "--out")
    here = ("--model", tiny_run, "--device", "cpu", "--precision", "fp32", "--data", tmp_path)
    local = json.loads(said(capsys, *label, tmp_path / "local.csv", *here))
    remote = json.loads(said(capsys, *label, tmp_path / "remote.csv", "--url", url))
    assert local["labelled"] == 8
    assert [Path(skip["path"]).name for skip in local["skipped"]] == ["broken.jpg"]
    assert local.pop("run")["new"] == 9
    assert remote | {"out": ""} == local | {"out": ""}
    ours, theirs = (rows_of(tmp_path / name) for name in ("local.csv", "remote.csv"))
    for ours_row, theirs_row in zip(ours, theirs, strict=True):
        assert float(theirs_row.pop("score")) == pytest.approx(float(ours_row.pop("score")), abs=2e-4)
        assert theirs_row == ours_row


def test_labels_go_to_a_service_with_their_synonyms_and_its_own_sets_by_name(
    url: str, data: Path, tiny_run: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = ("--model", tiny_run, "--device", "cpu", "--precision", "fp32", "--data", tmp_path)
    label = ("label", pictures, "--template", "{}")

    def rows(*arguments: object) -> list[tuple[str, float]]:
        table = csv.DictReader(said(capsys, *label, *arguments).splitlines())
        return [(row["label"], pytest.approx(float(row["score"]), abs=2e-3)) for row in table]

    asked = ("--labels", "red|crimson|scarlet,green")
    assert rows(*asked, "--url", url) == rows(*asked, *here)
    assert rows(*asked, "--url", url) != rows("--labels", "red,green", "--url", url)
    LabelSets(data).put("warm", LabelSet.of(["red|orange", "blue"], ("{}",), "multi"))
    given = said(capsys, "label", pictures, "--label-set", "warm", "--url", url).splitlines()
    assert given[0] == "path,label,score"
    assert {row.split(",")[1] for row in given[1:]} <= {"red", "blue", ""}
    with pytest.raises(GlimpseError, match="none-such"):
        call("label", pictures, "--label-set", "none-such", "--url", url)
    table = tmp_path / "own.json"
    table.write_text(json.dumps([{"name": "part-4711", "prompts": ["a brass valve"]}, "dog"]))
    with pytest.raises(InputError, match="part-4711: prompts of a label's own are not sent with images"):
        call("label", pictures, "--labels-file", table, "--url", url)


def test_labels_are_scored_as_is_asked(
    url: str, sigmoid_run: Path, tiny_run: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def scores(*arguments: object) -> list[float]:
        table = said(capsys, "label", pictures, "--labels", "red", *arguments).splitlines()
        return [float(row.rpartition(",")[2]) for row in table[1:]]

    here = ("--device", "cpu", "--precision", "fp32", "--model")
    assert max(scores(*here, sigmoid_run)) < 0.9  # one label alone may not fit
    assert scores(*here, sigmoid_run, "--scores", "sigmoid") == scores(*here, sigmoid_run)
    assert set(scores(*here, sigmoid_run, "--scores", "softmax")) == {1.0}
    assert set(scores("--url", url, "--scores", "softmax")) == {1.0}
    for which in ((*here, tiny_run), ("--url", url)):
        with pytest.raises(InputError, match="no sigmoid scores"):
            call("label", pictures, "--labels", "red", "--scores", "sigmoid", *which)


def test_a_text_that_the_model_does_not_read_to_its_end_is_said(
    url: str, tiny_run: Path, pictures: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    long, model = "word " * 100, ("--model", tiny_run, "--device", "cpu", "--precision", "fp32")
    for where in (("--url", url), ("--data", data, *model)):
        found = json.loads(said(capsys, "search", long, "-c", "colours", "--json", *where))
        assert (found["cut_texts"], len(found["hits"])) == (1, 8)
        call("search", long, "--not", f"{long}end", "-c", "colours", *where)
        warned = capsys.readouterr().err
        assert "warning: 2 of 2 texts are cut after 77 tokens" in warned
        assert "2 of them are the same" not in warned
    for where in (("--url", url), (*model, "--data", tmp_path)):
        out = ("--json", "--out", tmp_path / f"{len(where)}.csv")
        call("label", pictures, "--labels", f"red,{long}", "--template", "{}", *out, *where)
        shown = capsys.readouterr()
        assert "warning: 1 of 2 texts are cut after 77 tokens" in shown.err
        assert shown.err.count("warning") == 1
        assert json.loads(shown.out)["cut_texts"] == 1
    with Client(url) as client:
        assert client.search("colours", "a red car").warnings == []
        [labelled] = client.classify([pictures / "0" / "red.png"], ["red", long], templates=["{}"])
        assert [line.partition(",")[0] for line in labelled.warnings] == ["1 of 2 texts are cut after 77 tokens"]


def test_files_that_were_cut_off_are_labelled_and_counted(
    url: str, tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "photos").mkdir()
    noise = Image.fromarray(np.random.default_rng(0).integers(1, 256, (64, 64, 3), np.uint8))
    for name, size in (("cut", 10_000), ("lost", 2000), ("whole", None)):
        path = tmp_path / "photos" / f"{name}.png"
        noise.save(path)
        os.truncate(path, size or path.stat().st_size)
    for where in (("--url", url), ("--model", tiny_run, "--device", "cpu", "--data", tmp_path)):
        out = tmp_path / f"{len(where)}.csv"
        label = ("label", tmp_path / "photos", "--labels", "red,green", "--out", out)
        found = json.loads(said(capsys, *label, "--json", *where))
        [cut] = found["cut_off"]
        assert cut["path"] == str(tmp_path / "photos" / "cut.png")
        assert re.fullmatch(r"the file is cut off, and \d\d% of its rows are missing", cut["reason"])
        assert [Path(one["path"]).name for one in found["skipped"]] == ["lost.png"]
        assert found["labelled"] == 2
        call(*label, *where)
        assert "1 file is cut off; what there is was taken, the first: " in capsys.readouterr().err
    index = ("index", tmp_path / "photos", "--url", url, "-c")
    sent = json.loads(said(capsys, *index, "cuts", "--json"))
    assert (sent["added"], sent["cut_off"]) == (2, [cut])
    call(*index, "more")
    assert "1 file is cut off; what there is was taken, the first: " in capsys.readouterr().err


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_folder_is_sent_and_sent_again(
    url: str,
    pictures: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    captions = tmp_path / "captions.csv"
    captions.write_text(f"image,title\n{pictures / '0' / 'red.png'},a red one\ngone.png,x\n")
    index = ("index", pictures, "-c", "sent", "--url", url)
    first = json.loads(said(capsys, *index, "--captions", captions, "--json"))
    assert (first["collection"], first["added"], first["unchanged"]) == ("sent", 8, 0)
    unused = {"reason": "rows name no image of these folders", "count": 1, "first": "gone.png (line 3)"}
    assert first["left_out"] == [unused]
    assert first["skipped"] == [{"path": str(pictures / "broken.jpg"), "reason": "not an image that glimpse knows"}]
    sent: list[str] = []
    monkeypatch.setattr(
        "glimpse.client.entries.read_image", lambda image: sent.append(image.name) or image.read_bytes()
    )
    assert "sent: 8 images (0 added, 8 unchanged, 1 skipped) in " in said(capsys, *index)
    assert sent == ["broken.jpg"]
    captions.write_text(f"image,title\n{pictures / '0' / 'red.png'},a redder one\n")
    assert "sent: 8 images (0 added, 8 unchanged, 1 skipped) in " in said(capsys, *index, "--captions", captions)
    assert sorted(sent) == ["broken.jpg", "broken.jpg", "red.png"]
    with Client(url) as client:
        entries = {entry.metadata["filename"]: entry.metadata for entry in client.entries("sent")}
    assert entries["0/red.png"] == {"filename": "0/red.png", "title": "a redder one"}
    assert len(entries) == 8
    assert "0/red.png" in said(capsys, "search", "red", "-c", "sent", "--url", url)  # the name that is known here

    listed = json.loads(said(capsys, "collections", "--url", url, "--json"))["collections"]
    assert {("colours", 8), ("sent", 8)} <= {(one["name"], one["counts"]["image"]) for one in listed}
    assert "sent" in said(capsys, "collections", "--url", url)
    with pytest.raises(InputError, match="say --yes"):
        call("collections", "delete", "sent", "--url", url)
    assert said(capsys, "collections", "delete", "sent", "--url", url, "--yes") == "sent deleted\n"
    with pytest.raises(GlimpseError, match="no collection 'sent'"):
        call("collections", "delete", "sent", "--url", url, "--yes")


def test_a_title_that_somebody_else_gave_stays_where_another_was_seen(
    data: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for i, there in enumerate([("--url", url), ("--data", data)]):
        name = f"titled{i}"
        with Client(url) as client:
            client.create_collection(name)
        change = ("collections", "title", name, *there)
        assert said(capsys, *change, "Ours", "--expected", "") == f"{name}: Ours\n"
        for other, called in (("", "'Ours'"), ("Mine", "'Ours'")):
            with pytest.raises(ChangedMeanwhile, match=f"collection '{name}' is called {called} by now"):
                call(*change, "Mine", "--expected", other)
        assert said(capsys, *change, "--none", "--expected", "Ours") == f"{name}: no title\n"
        with pytest.raises(ChangedMeanwhile, match="is called by its name by now"):
            call(*change, "Mine", "--expected", "Ours")
        assert said(capsys, *change, "Mine") == f"{name}: Mine\n"
        with pytest.raises(InputError, match="--expected is for a change"):
            call(*change, "--expected", "Mine")
        assert said(capsys, *change) == f"{name}: Mine\n"


def test_two_files_of_the_same_bytes_are_one_entry(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("one.png", "two.png"):
        plain_picture("red").save(tmp_path / name)
    (tmp_path / "empty.png").touch()
    assert "twice: 1 images (1 added, 1 unchanged, 1 skipped)" in said(
        capsys, "index", tmp_path, "-c", "twice", "--url", url
    )
    (tmp_path / "film.mov").touch()
    again = json.loads(said(capsys, "index", tmp_path, "-c", "twice", "--url", url, "--json"))
    assert (again["unchanged"], again["others"]) == (2, {".mov": 1})
    label = said(capsys, "label", tmp_path, "--labels", "red,blue", "--url", url)
    assert len(label.splitlines()) == 3
    call("collections", "delete", "twice", "--url", url, "--yes")


def test_jobs(url: str, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    index = ("jobs", "start", "index", pictures, "-c", "by-job", "--url", url)
    assert call(*index, "--follow", "--json") == 0
    printed = capsys.readouterr()
    done = json.loads(printed.out)
    assert printed.err.startswith(f"job {done['id']}; it goes on without this command")
    assert (done["kind"], done["state"], done["collection"]) == ("index", "succeeded", "by-job")
    assert (done["report"]["added"], done["report"]["skipped"]) == (8, 1)
    id = done["id"]  # noqa: A001
    assert json.loads(said(capsys, "jobs", "show", id, "--url", url, "--json")) == done
    shown = said(capsys, "jobs", "follow", id, "--url", url)
    assert shown.startswith(f"{id}: index, by-job, succeeded, {done['done']}/{done['total']}, ")
    assert "8 added" in shown

    label = ("jobs", "start", "label", pictures, "--labels", "red,blue", "--url", url)
    with Client(url) as client:
        ended = client.wait_for(said(capsys, *label).strip())
        assert ended.state == "succeeded"
        assert [job.id for job in client.jobs()] == [ended.id, id]
        assert [job.id for job in client.jobs(collection="by-job", state="succeeded")] == [id]
    said(capsys, "jobs", "result", ended.id, "--url", url, "--out", tmp_path / "labels.csv")
    (tmp_path / "other.csv").write_text("image,title\n")
    no_table = r"--out .*other.csv: is there already, and is no table of labels; choose another name"
    for words in (["jobs", "result", ended.id], ["label", str(pictures), "--labels", "a,b"]):
        with pytest.raises(InputError, match=no_table):
            perform([*words, "--url", url, "--out", str(tmp_path / "other.csv")])
    os.mkfifo(tmp_path / "pipe")  # which is written to, not replaced
    pipe = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    said(capsys, "jobs", "result", ended.id, "--url", url, "--out", tmp_path / "pipe")
    assert os.read(pipe, 1 << 16) == (tmp_path / "labels.csv").read_bytes()
    os.close(pipe)
    assert {row["label"] for row in rows_of(tmp_path / "labels.csv")} <= {"red", "blue"}
    assert len(rows_of(tmp_path / "labels.csv")) == 8

    listed = json.loads(said(capsys, "jobs", "list", "--url", url, "--json"))["jobs"]
    assert [job["id"] for job in listed] == [ended.id, id]
    assert id in said(capsys, "jobs", "list", "--url", url, "--collection", "by-job")
    with pytest.raises(ServiceError, match="has succeeded") as late:
        call("jobs", "cancel", ended.id, "--url", url)
    assert late.value.code == "job_ended"
    said(capsys, "jobs", "result", ended.id, "--url", url)  # it is still there
    said(capsys, "jobs", "forget", ended.id, "--url", url)
    assert call("jobs", "list", "--url", url) == 0
    assert ended.id not in capsys.readouterr().out
    watch = said(capsys, "jobs", "start", "watch", *index[3:]).strip()
    capsys.readouterr()
    call("jobs", "cancel", watch, "--url", url)
    assert watch in capsys.readouterr().err
    assert call("jobs", "follow", watch, "--url", url) == 1  # it was cancelled
    with pytest.raises(ServiceError, match="no sigmoid scores") as refused:
        call(*label, "--scores", "sigmoid")
    assert refused.value.status == 422
    with pytest.raises(ServiceError, match="folder") as refused:
        call("jobs", "start", "index", tmp_path, "--url", url)
    assert refused.value.status == 403


def test_the_command_line_comes_before_the_environment(
    data: Path, url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GLIMPSE_URL", url)
    monkeypatch.setenv("GLIMPSE_MODEL", "not/asked-for")  # a service has its own
    assert "colours" in said(capsys, "collections")
    assert said(capsys, "collections", "--data", tmp_path) == f"none in {tmp_path}\n"
    assert "red.png" in said(capsys, "search", "x", "-c", "colours")
    for asked in (
        ("search", "x", "--url", url, "--data", data),
        ("search", "x", "--url", url, "--model", "x"),
        ("index", data, "--watch"),
        ("index", data, "--allow-empty", "--url", url),
    ):
        with pytest.raises(InputError, match="cannot be asked of a service: give it without --url and GLIMPSE_URL"):
            call(*asked)
    with pytest.raises(InputError, match="give --url behind check"):
        call("collections", "--url", url, "check")
    monkeypatch.delenv("GLIMPSE_MODEL")
    monkeypatch.delenv("GLIMPSE_URL")
    with pytest.raises(InputError, match="give the model"):
        call("label", data, "--labels", "a,b")


def test_a_search_of_a_service_loads_nothing_heavy(url: str) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "glimpse", "search", "red", "-c", "colours", "--url", url]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "red.png" in done.stdout
    loaded = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines()}
    assert "httpx" in loaded
    assert loaded.isdisjoint({"torch", "numpy", "faiss", "open_clip", "PIL", "fastapi", "index", "sqlite3"})


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["search", "red", "--url", "http://127.0.0.1:9"], 1, "nobody answers at http://127.0.0.1:9"),
        (["search", "red", "--url", "127.0.0.1:9"], 2, "give one as http://localhost:8000"),
        (["jobs", "list", "--url", "http://127.0.0.1:9"], 1, "nobody answers at http://127.0.0.1:9"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_errors_are_one_line(arguments: list[str], code: int, message: str) -> None:
    done = subprocess.run([sys.executable, "-m", "glimpse", *arguments], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_jobs_walk_as_they_are_asked_to(url: str, pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start = ("jobs", "start", "index", pictures, "-c", "walked", "--url", url, "--json", "--follow")
    job = json.loads(said(capsys, *start, "--follow-links", "--any-name", "--check-contents"))
    asked = {name for name, value in job["request"].items() if value is True}
    assert asked == {"follow_links", "any_name", "check_contents"}
    assert job["report"]["added"] == 8
