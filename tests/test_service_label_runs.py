"""Labelling runs over REST: looked at, reviewed, brought in step, taken back, and who may do and see what."""

from __future__ import annotations

import csv
import json
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from service_world import client_of, draw, error_of, settings_for, tiny_encoder, until, world

from base.sources.rules import Rules
from index.collection import create_collection, open_collection
from labelling.label_sets import LabelSet, LabelSets
from labelling.learned import Learned
from labelling.outputs.asked import OutputsAsked
from labelling.review import Item, review
from labelling.runs import reviews
from labelling.runs.deciding import LabelsAsked
from labelling.runs.kept import LabelRuns
from labelling.runs.report import SourceAsked
from labelling.runs.sources import CollectionSource, FolderSource
from labelling.runs.store import RunStore
from labelling.runs.tables import Found
from service.app import create_app

LABELS = ("boat", "house", "tree")
RUNS = "/v1/label-runs"
READ, ADMIN = "r" * 32, "a" * 32


class Here:
    """A service, and runs that `glimpse label` has made beside it."""

    def __init__(self, client, encoder, data, files):
        self.client, self.encoder, self.data, self.files = client, encoder, data, files
        self.photos = files[0].parent

    def label(self, folder=None, labels=LABELS, mode="single", collection=None, **outputs):
        """A run; its id."""
        folder = folder or self.photos
        asked = LabelsAsked(LabelSet.of(labels, mode=mode))
        if collection is not None:
            with (
                open_collection(self.data, collection, writable=True) as opened,
                LabelRuns(self.data).make(SourceAsked(collection=collection), OutputsAsked(**outputs)) as run,
            ):
                run.go_on(CollectionSource(opened, lambda: self.encoder), asked, opened)
                return run.id
        source = FolderSource(folder, Rules(), self.encoder, lambda: self.encoder)
        with LabelRuns(self.data).make(SourceAsked(folder=str(folder)), OutputsAsked(**outputs)) as run:
            run.go_on(source, asked)
            return run.id

    def images(self, run, **asked):
        answer = self.client.get(f"{RUNS}/{run}/images", params=asked)
        assert answer.status_code == 200, answer.text
        return answer.json()["images"]

    def review(self, run, *items, status=200, **asked):
        answer = self.client.post(f"{RUNS}/{run}/review", json={"items": list(items), **asked})
        assert answer.status_code == status, answer.text
        return answer.json()


@pytest.fixture
def here(tmp_path):
    with world(tmp_path, n=8, job_roots=[str(tmp_path / "files")]) as (client, encoder, files):
        yield Here(client, encoder, tmp_path, files)


def correct(image, label):
    return {"image": image["id"], "verdict": "correct", "labels": [label]}


def test_a_run_is_listed_and_its_images_come_least_certain_first(here):
    assert here.client.get(RUNS).json() == {"label_runs": []}
    run = here.label(files=(str(here.photos / "labels.csv"),))
    [listed] = here.client.get(RUNS).json()["label_runs"]
    said = here.client.get(f"{RUNS}/{run}").json()
    assert listed["id"] == said["id"] == run
    assert (said["images"], said["labels"], said["model"], said["state"]) == (8, list(LABELS), "tiny", "done")
    assert sum(said["per_label"].values()) == 8
    found = here.images(run)
    margins = [one["margin"] for one in found]
    assert margins == sorted(margins)
    for one in found:
        scores = [score["score"] for score in one["answers"]]
        assert scores == [one["guess"]["score"]]
    assert here.images(run, order="certain") == found[::-1]
    assert [one["path"] for one in here.images(run, order="path")] == [str(path) for path in here.files]
    for order in ("uncertain", "certain", "path"):
        whole, pages, after = here.images(run, order=order), [], None
        while True:
            asked = {"order": order, "limit": 3} | ({"after": after} if after else {})
            answer = here.client.get(f"{RUNS}/{run}/images", params=asked).json()
            pages += answer["images"]
            if (after := answer["next"]) is None:
                break
        assert pages == whole
    label = found[0]["answers"][0]["label"]
    assert all(one["answers"][0]["label"] == label for one in here.images(run, label=label))
    assert here.images(run, abstained="true") == []
    error_of(here.client.get(f"{RUNS}/{run}/images", params={"after": 999}), 422)
    error_of(here.client.get(f"{RUNS}/nowhere"), 404)


def test_of_two_who_review_a_run_neither_loses_what_they_said(here):
    run = here.label()
    seen = {one["id"]: one for one in here.images(run)}  # by both
    first, second, third, *_ = seen.values()
    theirs = next(label for label in LABELS if label != first["answers"][0]["label"])
    last = here.review(run, correct(first, theirs), correct(second, theirs))["run"]["last_review"]
    for late in (
        correct(first, first["answers"][0]["label"]),
        {"image": first["id"], "verdict": "accept"},
        {"image": first["id"], "verdict": "skip"},
    ):
        items = [{"image": third["id"], "verdict": "none"}, late | {"expected_reviewed": None}]
        error = here.review(run, *items, status=409)["error"]
        assert (error["code"], error["param"]) == ("changed_meanwhile", "items")
        assert f"image {first['id']} was corrected to {theirs!r} meanwhile" in error["message"]
    now = {one["id"]: one for one in here.images(run)}
    assert (now[first["id"]]["reviewed"], now[third["id"]]["reviewed"]) == ("corrected", None)
    here.review(run, {"image": first["id"], "verdict": "none", "expected_reviewed": "corrected"})  # who has seen that
    late = here.client.post(f"{RUNS}/{run}/review/undo", params={"review": last})
    error = error_of(late, 409)
    assert (error["code"], error["param"]) == ("changed_meanwhile", "review")
    assert here.client.get(f"{RUNS}/{run}").json()["reviewed"] == {"corrected": 1, "none": 1}


def test_what_is_accepted_is_what_was_seen(here):
    run = here.label()
    seen = here.images(run)
    first, *others = seen
    theirs = next(label for label in LABELS[::-1] if label != first["answers"][0]["label"])
    accepted = [{"image": one["id"], "verdict": "accept"} for one in others[:2]]
    flips = here.review(run, correct(first, theirs), *accepted)["flips"]  # somebody else's
    assert flips
    mine = [{"image": one["id"], "verdict": "accept", "labels": one["before"]} for one in flips]
    done = here.review(run, *mine)
    assert (done["accepted"], done["corrected"]) == (0, len(flips))
    now = {one["id"]: one for one in here.images(run)}
    assert [[one["label"] for one in now[flip["id"]]["answers"]] for flip in flips] == [
        flip["before"] for flip in flips
    ]
    left = next(one for one in now.values() if not one["reviewed"])
    done = here.review(run, {"image": left["id"], "verdict": "accept", "labels": [left["answers"][0]["label"]]})
    assert (done["accepted"], done["corrected"]) == (1, 0)
    here.review(run, {"image": left["id"], "verdict": "accept", "labels": ["no such"]}, status=422)
    here.review(run, {"image": left["id"], "verdict": "none", "labels": [theirs]}, status=422)


def test_a_review_that_is_taken_back_and_another_are_not_taken_for_one(here):
    run = here.label()
    first, second, *_ = here.images(run)
    mine = here.review(run, correct(first, "tree"))["run"]["last_review"]
    assert here.client.post(f"{RUNS}/{run}/review/undo").json()["run"]["last_review"] is None
    theirs = here.review(run, correct(second, "tree"))["run"]["last_review"]
    error_of(here.client.post(f"{RUNS}/{run}/review/undo", params={"review": mine}), 409)
    undone = here.client.post(f"{RUNS}/{run}/review/undo", params={"review": theirs}).json()
    assert undone["images"] == [second["id"]]
    error_of(here.client.post(f"{RUNS}/{run}/review/undo", params={"review": theirs}), 409)
    error_of(here.client.post(f"{RUNS}/{run}/review/undo"), 422)


def test_a_correction_is_an_example_for_the_rest_and_what_was_reviewed_stays(here):
    run = here.label()
    before = {one["id"]: one for one in here.images(run)}
    first, second, third, fourth, *_ = before.values()
    answers = here.review(
        run,
        correct(first, "tree"),
        {"image": second["id"], "verdict": "accept"},
        {"image": third["id"], "verdict": "none"},
        {"image": fourth["id"], "verdict": "skip"},
    )
    counts = {name: answers[name] for name in ("accepted", "corrected", "none", "skipped", "by_rule", "relabelled")}
    assert counts == {"accepted": 1, "corrected": 1, "none": 1, "skipped": 1, "by_rule": 0, "relabelled": 5}
    assert answers["run"]["reviewed"] == {"accepted": 1, "corrected": 1, "none": 1, "skipped": 1}
    after = {one["id"]: one for one in here.images(run)}
    assert after[first["id"]]["answers"] == [{"label": "tree", "score": 1.0}]
    assert after[second["id"]]["answers"] == second["answers"]
    assert after[third["id"]]["answers"] == []
    rest = [key for key in before if before[key] not in (first, second, third)]
    assert any(after[key]["answers"] != before[key]["answers"] for key in rest)
    for one in here.images(run, reviewed="false"):
        here.review(run, correct(one, "boat"))
    last = {one["id"]: one for one in here.images(run)}
    for key in (first["id"], second["id"], third["id"]):
        assert last[key]["answers"] == after[key]["answers"]
    assert here.images(run, reviewed="false") == []
    here.label()  # the same command once more
    assert {one["id"]: one["answers"] for one in here.images(run)} == {key: one["answers"] for key, one in last.items()}


def test_a_rule_accepts_what_is_certain_and_labels_nothing_anew(here):
    run = here.label()
    certain = here.images(run, order="certain")
    bar = certain[3]["answers"][0]["score"]
    sure = [one for one in certain if one["answers"][0]["score"] >= bar]
    label = sure[0]["answers"][0]["label"]
    own = [one for one in sure if one["answers"][0]["label"] == label]
    answer = here.review(run, rules=[{"accept_above": bar, "label": label}])
    assert (answer["by_rule"], answer["relabelled"]) == (len(own), 0)
    assert here.review(run, rules=[{"accept_above": bar}])["by_rule"] == len(sure) - len(own)
    assert {one["reviewed"] for one in here.images(run, reviewed="true")} == {"by rule"}


@pytest.mark.parametrize(
    "item",
    [
        {"image": 999, "verdict": "accept"},
        {"image": 1, "verdict": "correct"},
        {"image": 1, "verdict": "none", "labels": ["boat"]},
        {"image": 1, "verdict": "correct", "labels": ["submarine"]},
        {"image": 1, "verdict": "correct", "labels": ["boat", "house"]},
    ],
)
def test_a_review_that_is_wrong_changes_nothing(here, item):
    run = here.label()
    before = here.images(run)
    error_of(here.client.post(f"{RUNS}/{run}/review", json={"items": [correct(before[0], "tree"), item]}), 422)
    assert here.images(run) == before
    error_of(here.client.post(f"{RUNS}/{run}/review", json={}), 422)


def test_several_labels_are_corrected_together(here, monkeypatch):
    monkeypatch.setattr("encoder.zero_shot.word_bank.MOST", 600)
    monkeypatch.setenv("GLIMPSE_CACHE", str(here.data / "cache"))
    run = here.label(mode="multi")
    [first, *_] = here.images(run)
    item = {"image": first["id"], "verdict": "correct", "labels": ["tree", "boat"]}
    assert here.review(run, item)["corrected"] == 1
    [now] = here.images(run, reviewed="true")
    assert [one["label"] for one in now["answers"]] == ["tree", "boat"]


def test_a_review_says_what_it_flipped_and_is_taken_back_whole(here):
    run = here.label()
    before = here.images(run)
    labels = {one["id"]: [score["label"] for score in one["answers"]] for one in before}
    taught = [correct(one, label) for one, label in zip(before[:3], LABELS, strict=True)]
    first = here.review(run, *taught, {"image": before[3]["id"], "verdict": "skip"})
    ids = {one["id"] for one in before[:3]}
    after = {one["id"]: [score["label"] for score in one["answers"]] for one in here.images(run)}
    flipped = {key for key in labels if labels[key] != after[key]} - ids
    assert flipped, "an example that teaches nothing proves nothing"
    assert {flip["id"]: (flip["before"], flip["after"]) for flip in first["flips"]} == {
        key: (labels[key], after[key]) for key in flipped
    }
    assert (first["flipped"], first["run"]["undoable"]) == (len(flipped), 1)
    assert here.client.get(first["flips"][0]["thumbnail_url"]).status_code == 200
    middle = here.images(run)
    here.review(run, correct(before[4], "tree"), rules=[{"accept_above": 0.0, "label": LABELS[1]}])
    here.review(run, rules=[{"accept_above": 0.0}])
    assert here.images(run, reviewed="false") == []

    def undo():
        answer = here.client.post(f"{RUNS}/{run}/review/undo")
        assert answer.status_code == 200, answer.text
        return answer.json()

    ruled = undo()
    assert (ruled["relabelled"], ruled["corrected"], ruled["run"]["undoable"]) == (0, 0, 2)
    assert ruled["by_rule"] == len(ruled["images"])
    undo()
    assert here.images(run) == middle
    last = undo()
    assert (last["corrected"], last["skipped"], last["run"]["undoable"]) == (3, 1, 0)
    assert set(last["images"]) == ids | {before[3]["id"]}
    assert {flip["id"] for flip in last["flips"]} == flipped
    assert here.images(run) == before
    assert "no review to take back" in error_of(here.client.post(f"{RUNS}/{run}/review/undo"), 422)["message"]


def test_what_was_said_before_a_run_labelled_again_stays_said(here):
    run = here.label()
    here.review(run, correct(here.images(run)[0], "tree"))
    here.label(labels=("boat", "house", "tree", "car"))
    assert here.client.get(f"{RUNS}/{run}").json()["undoable"] == 0
    error_of(here.client.post(f"{RUNS}/{run}/review/undo"), 422)
    assert len(here.images(run, reviewed="true")) == 1


def test_a_hundred_reviews_can_be_taken_back(here, monkeypatch):
    monkeypatch.setattr("labelling.runs.taking_back.KEPT", 3)
    run = here.label()
    for one in here.images(run)[:5]:
        here.review(run, {"image": one["id"], "verdict": "skip"})
    assert here.client.get(f"{RUNS}/{run}").json()["undoable"] == 3
    for _ in range(3):
        here.client.post(f"{RUNS}/{run}/review/undo")
    assert len(here.images(run, reviewed="true")) == 2


def test_a_slider_is_told_what_a_rule_would_accept(here):
    run = here.label()
    for label in (None, *LABELS):
        bars = here.client.get(f"{RUNS}/{run}/bars", params={"label": label} if label else {}).json()["bars"]
        images = here.images(run, **({"label": label} if label else {}))
        scores = sorted((one["answers"][-1]["score"] for one in images), reverse=True)
        assert [bar["accept_above"] for bar in bars] == sorted(set(scores), reverse=True)
        assert [bar["images"] for bar in bars] == [
            sum(score >= bar["accept_above"] for score in scores) for bar in bars
        ]
    bar = here.client.get(f"{RUNS}/{run}/bars").json()["bars"][3]
    least = next(one for one in here.images(run) if one["answers"][-1]["score"] == bar["accept_above"])
    assert bar["least_url"] == least["thumbnail_url"]
    assert here.review(run, rules=[{"accept_above": bar["accept_above"]}])["by_rule"] == bar["images"]
    assert here.client.get(f"{RUNS}/{run}/bars").json()["bars"][-1]["images"] == 8 - bar["images"]
    here.review(run, rules=[{"accept_above": 0.0}])
    assert here.client.get(f"{RUNS}/{run}/bars").json() == {"bars": []}


def test_the_labels_of_a_run_are_had_as_a_table_before_its_outputs_follow(here):
    out = here.photos / "labels.csv"
    run = here.label(files=(str(out),))
    assert here.client.get(f"{RUNS}/{run}/table").content == out.read_bytes()
    [first, *_] = here.images(run)
    here.review(run, {"image": first["id"], "verdict": "none"})
    answer = here.client.get(f"{RUNS}/{run}/table")
    assert answer.headers["content-disposition"] == f'attachment; filename="{run}.csv"'
    rows = {row["path"]: row["label"] for row in csv.DictReader(answer.text.splitlines())}
    assert len(rows) == 8
    assert rows[first["path"]] == ""


def test_outputs_follow_only_when_they_are_asked_to_and_can_be_taken_back(here):
    out = here.photos / "labels.csv"
    run = here.label(files=(str(out),), to=str(here.photos / "sorted"), how="copy", words="sidecar")
    written = out.read_text()
    [first, *_] = here.images(run)
    wrong = next(label for label in LABELS if label != first["answers"][0]["label"])
    here.review(run, correct(first, wrong))
    assert out.read_text() == written
    answer = here.client.post(f"{RUNS}/{run}/apply").json()
    assert answer["failed"] == []
    assert answer["written"] == {str(out): 8}
    rows = {row["path"]: row["label"] for row in csv.DictReader(out.read_text().splitlines())}
    assert rows == {one["path"]: one["answers"][0]["label"] for one in here.images(run)}
    assert rows[first["path"]] == wrong
    name = first["path"].rpartition("/")[2]
    assert (here.photos / "sorted" / wrong / name).is_file()
    assert wrong in (here.photos / f"{name}.xmp").read_text()
    taken = here.client.post(f"{RUNS}/{run}/undo").json()
    assert taken["failed"] == []
    assert sorted(here.photos.iterdir()) == here.files
    assert here.client.get(f"{RUNS}/{run}").json()["state"] == "undone"
    assert here.client.delete(f"{RUNS}/{run}").status_code == 204
    error_of(here.client.get(f"{RUNS}/{run}"), 404)


def test_metadata_of_a_collection_follow_through_the_service_that_has_it_open(here):
    run = here.label(collection="pictures", metadata="labels")
    [first, *_] = here.images(run)
    assert first["content_url"] == f"/v1/collections/pictures/images/{first['id']}/content"
    assert here.client.get(first["thumbnail_url"]).status_code == 200
    here.review(run, correct(first, "tree"))
    assert here.client.post(f"{RUNS}/{run}/apply").json()["failed"] == []
    entry = here.client.get(f"/v1/collections/pictures/images/{first['id']}").json()
    assert (entry["metadata"]["labels"], entry["metadata"]["labels_score"]) == (["tree"], 1.0)
    here.client.post(f"{RUNS}/{run}/undo")
    entry = here.client.get(f"/v1/collections/pictures/images/{first['id']}").json()
    assert entry["metadata"].keys() == {"caption"}


def test_pictures_of_a_run_are_shown_if_they_lie_in_a_root_and_are_those_of_then(here, tmp_path):
    other = draw(tmp_path / "elsewhere", 2)[0].parent
    hidden = here.label(folder=other)
    assert {one["content_url"] for one in here.images(hidden)} == {None}
    for what in ("content", "thumbnail"):
        assert error_of(here.client.get(f"{RUNS}/{hidden}/images/1/{what}"), 404)["code"] == "folder_refused"
    run = here.label()
    one = next(one for one in here.images(run) if one["path"] == str(here.files[0]))
    assert here.client.get(one["content_url"]).content == here.files[0].read_bytes()
    shown = here.client.get(one["thumbnail_url"])
    assert shown.headers["content-type"] == "image/webp"
    [kept] = (here.data / "thumbnails").rglob("*.webp")  # by the file's bytes, as those of a collection
    assert kept.name == f"{sha256(here.files[0].read_bytes()).hexdigest()}-256.webp"
    here.client.app.state.service.thumbnails.put(kept.name[:64], 256, b"kept")
    assert here.client.get(one["thumbnail_url"]).content == b"kept"
    same = {"If-None-Match": shown.headers["etag"]}
    assert here.client.get(one["thumbnail_url"], headers=same).status_code == 304
    here.files[0].unlink()
    here.files[0].symlink_to(other / here.files[0].name)
    assert error_of(here.client.get(one["content_url"]), 404)["code"] == "folder_refused"
    here.files[0].unlink()
    assert error_of(here.client.get(one["thumbnail_url"], headers=same), 404)["code"] == "file_gone"
    here.files[0].write_bytes(here.files[1].read_bytes())
    assert error_of(here.client.get(one["content_url"]), 404)["code"] == "file_changed"
    error_of(here.client.get(f"{RUNS}/{run}/images/999/content"), 404)


def test_nothing_is_written_outside_of_the_roots(here, tmp_path):
    (tmp_path / "outside").mkdir()
    for outputs in (
        {"files": (str(tmp_path / "outside" / "labels.csv"),)},
        {"to": str(tmp_path / "outside"), "how": "copy"},
    ):
        run = here.label(**outputs)
        for what in ("apply", "undo"):
            assert error_of(here.client.post(f"{RUNS}/{run}/{what}"), 403)["code"] == "folder_refused"
    run = here.label(words="sidecar")
    here.client.post(f"{RUNS}/{run}/undo")
    trap = tmp_path / "outside" / "trap.xmp"
    trap.write_text('<x:xmpmeta xmlns:x="adobe:ns:meta/"/>')
    sidecar = here.files[0].with_name(f"{here.files[0].name}.xmp")
    sidecar.symlink_to(trap)
    here.files[1].unlink()
    here.files[1].symlink_to(tmp_path / "outside" / "no.png")
    answer = here.client.post(f"{RUNS}/{run}/apply").json()
    reasons = {one["path"]: one["reason"] for one in answer["failed"]}
    assert reasons[str(sidecar)] == "it leads to where nothing may be read or written"
    assert str(here.files[1]) in reasons
    assert trap.read_text() == '<x:xmpmeta xmlns:x="adobe:ns:meta/"/>'


def test_a_run_of_another_model_can_be_looked_at_and_not_reviewed(here, tmp_path):
    own, here.encoder = here.encoder, tiny_encoder(tmp_path, "another")
    run = here.label()
    here.encoder = own
    [first, *_] = here.images(run)
    error = error_of(here.client.post(f"{RUNS}/{run}/review", json={"items": [correct(first, "boat")]}), 409)
    assert error["code"] == "model_mismatch"
    assert "review it with that one, or label" in error["message"]
    assert here.images(run)[0] == first
    create_collection(here.data, "foreign", model="x", fingerprint="x", dim=32).close()


def test_what_was_learned_is_kept_as_a_label_set(here):
    run = here.label()
    [first, second, *_] = here.images(run)
    here.review(run, correct(first, "tree"), correct(second, "boat"))
    saved = here.client.post(f"{RUNS}/{run}/save-label-set", json={"name": "learned"})
    assert saved.status_code == 201
    assert saved.json()["learned"]["examples"] == {"boat": 1, "house": 0, "tree": 1}
    again, tag = {"url": f"{RUNS}/{run}/save-label-set", "json": {"name": "learned"}}, saved.headers["etag"]
    assert error_of(here.client.post(**again, headers={"If-None-Match": "*"}), 412)["code"] == "label_set_exists"
    assert error_of(here.client.post(**again, headers={"If-Match": '"other"'}), 412)["code"] == "changed_meanwhile"
    assert here.client.post(**again, headers={"If-Match": tag}).status_code == 200
    assert here.client.post(**again).status_code == 200
    image = Path(first["path"]).read_bytes()
    asked = here.client.post("/v1/classify", files={"file": image}, data={"label_set": "learned"})
    assert asked.json()["results"][0]["label"] == "tree"


def test_two_reviewers_at_once_wait_for_each_other(here):
    run = here.label()
    found = here.images(run)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda one: here.review(run, correct(one, "tree")), found))
    assert all(answer["corrected"] == 1 for answer in answers)
    assert {one["reviewed"] for one in here.images(run)} == {"corrected"}


def test_a_run_that_others_work_on_can_be_read_and_is_refused_for_long(here, monkeypatch):
    monkeypatch.setattr("service.routes.labelling.run_access.PATIENCE", 0.1)
    run = here.label()
    with LabelRuns(here.data).open(run):
        assert len(here.images(run)) == 8
        answer = here.client.post(f"{RUNS}/{run}/review", json={"rules": [{"accept_above": 0.5}]})
        assert error_of(answer, 409)["code"] == "label_run_busy"
        assert answer.headers["Retry-After"]
        error_of(here.client.delete(f"{RUNS}/{run}"), 409)


def test_a_read_key_looks_and_a_write_key_reviews(tmp_path):
    encoder = tiny_encoder(tmp_path)
    files = draw(tmp_path / "files", 2)
    settings = settings_for(
        tmp_path, api_keys=f"reader:read:{READ},boss:admin:{ADMIN}", job_roots=[str(files[0].parent)]
    )
    with client_of(create_app(settings, encoder)) as client:
        run = Here(client, encoder, tmp_path, files).label()
        reader, boss = ({"Authorization": f"Bearer {key}"} for key in (READ, ADMIN))
        for path in ("", f"/{run}", f"/{run}/images", f"/{run}/images/1/thumbnail"):
            assert client.get(f"{RUNS}{path}", headers=reader).status_code == 200
            error_of(client.get(f"{RUNS}{path}"), 401)
        rules = {"rules": [{"accept_above": 0.0}]}
        error_of(client.post(f"{RUNS}/{run}/review", json=rules, headers=reader), 403)
        assert client.post(f"{RUNS}/{run}/review", json=rules, headers=boss).json()["by_rule"] == 2
        error_of(client.delete(f"{RUNS}/{run}", headers=reader), 403)


# --- the same runs, as jobs ---


def job(here, status="succeeded", **asked):
    answer = here.client.post("/v1/jobs", json={"kind": "label", **asked})
    assert answer.status_code == 202, answer.text
    address = f"/v1/jobs/{answer.json()['id']}"
    until(lambda: here.client.get(address).json()["state"] in ("succeeded", "failed", "cancelled"))
    done = here.client.get(address).json()
    assert done["state"] == status, done
    return done


def test_a_job_is_the_run_of_the_command_and_goes_on_from_it(here):
    out = here.photos / "labels.csv"
    run = here.label(files=(str(out),), words="sidecar")
    seen = sum(here.encoder.images)
    done = job(here, folder=str(here.photos), labels=list(LABELS), out=[str(out)], xmp=True)
    assert (done["report"]["run"], done["report"]["labelled"], done["report"]["failed"]) == (run, 8, [])
    assert sum(here.encoder.images) == seen
    assert len(here.client.get(RUNS).json()["label_runs"]) == 1
    here.client.post(f"{RUNS}/{run}/undo")
    assert sorted(here.photos.iterdir()) == here.files


def test_a_job_labels_a_collection_by_its_vectors_into_its_metadata(here):
    seen = sum(here.encoder.images)
    done = job(here, collection="pictures", labels=["boat|ship", {"name": "part-1", "prompts": ["a valve"]}],
               write_metadata="kind")  # fmt: skip
    assert (done["collection"], done["report"]["labelled"]) == ("pictures", 8)
    assert sum(here.encoder.images) == seen
    found = here.client.get("/v1/collections/pictures/images").json()["entries"]
    assert all(entry["metadata"]["kind"] in (["boat"], ["part-1"]) for entry in found)
    result = here.client.get(f"/v1/jobs/{done['id']}/result").text
    assert result.count("\r\n") == 9
    assert here.client.post(f"{RUNS}/{done['report']['run']}/undo").json() == {"taken_back": 8, "failed": []}


def test_a_file_that_is_there_fails_the_job_unless_it_may_be_replaced(here):
    out = here.photos / "labels.csv"
    out.write_text("mine")
    asked = {"folder": str(here.photos), "labels": ["a", "b"], "out": [str(out)]}
    assert "is there already" in job(here, "failed", **asked)["error"]["message"]
    assert out.read_text() == "mine"
    assert job(here, **asked, overwrite=True)["report"]["labelled"] == 8


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"out": ["/etc/labels.csv"]}, 403),
        ({"to": "/etc", "how": "copy"}, 403),
        ({"out": ["{photos}/labels.xlsx"]}, 422),
        ({"to": "{photos}/sorted"}, 422),
        ({"write_metadata": "labels"}, 422),
        ({"collection": "pictures"}, 422),
        ({"label_set": "foreign", "labels": None}, 409),
    ],
)
def test_a_job_that_may_not_be_or_cannot_is_refused_at_once(here, asked, status):
    rng = np.random.default_rng(0)
    learned = Learned("another", examples=rng.random((1, 32), np.float32), targets=np.ones((1, 1), np.float32))
    LabelSets(here.data).put("foreign", LabelSet.of(["a"], learned=learned))
    body = {"kind": "label", "folder": str(here.photos), "labels": ["a", "b"]} | asked
    body = json.loads(json.dumps(body).replace("{photos}", str(here.photos)))
    error_of(here.client.post("/v1/jobs", json=body), status)


# --- a kill, and many images ---


def test_a_kill_in_the_midst_of_a_review_leaves_all_or_nothing(here, monkeypatch):
    run = here.label()
    before = here.images(run)
    kept = RunStore.decide

    def dies(store, *given):
        kept(store, *given)
        raise KeyboardInterrupt

    monkeypatch.setattr(RunStore, "decide", dies)
    source = FolderSource(here.photos, Rules(), here.encoder, lambda: here.encoder)
    with pytest.raises(KeyboardInterrupt), LabelRuns(here.data).open(run) as opened:
        review(opened, source, [Item(before[0]["id"], "correct", ["tree"])])
    monkeypatch.undo()
    assert here.images(run) == before
    assert here.review(run, correct(before[0], "tree"))["corrected"] == 1


def test_a_page_is_found_by_an_index_however_many_images_there_are(tmp_path):
    n = 100_000
    with LabelRuns(tmp_path).make(SourceAsked(folder="/x"), OutputsAsked()) as run:
        store = run.store
        with store.writing():
            store.put(Found(Path(f"/x/{i:06}.jpg"), "1 2 3") for i in range(n))
            store.decide(range(1, n + 1), [([("a", 0.5)], None)] * n, [((i * 7919) % n) / n for i in range(n)])
        asked: list[str] = []
        store._db.set_trace_callback(asked.append)
        steps = [0]

        def count() -> None:
            steps[0] += 1

        store._db.set_progress_handler(count, 1000)
        for order in ("uncertain", "certain", "path"):
            page = reviews.page(store, reviews.Wanted(order, reviewed=False, limit=50))
            after = reviews.page(store, reviews.Wanted(order, reviewed=False, limit=50, after=page[-1].id))
            assert len({row.id for row in page + after}) == 100
        assert steps[0] < 50  # thousands of the machine's instructions; to read all takes a hundred times as many
        for sql in asked:
            [plan, *more] = store._db.execute(f"EXPLAIN QUERY PLAN {sql}").fetchall()
            assert "USING INDEX" in plan[3] or "PRIMARY KEY" in plan[3], (plan, sql)
            assert not more


def test_a_full_disk_hides_no_run_and_lets_go_of_one(on_own_disk, tmp_path_factory):
    on_own_disk(f"""
import tempfile
from service_world import client_of, draw, error_of, settings_for, tiny_encoder
from service.app import create_app
from test_service_label_runs import Here

elsewhere = Path({str(tmp_path_factory.mktemp("elsewhere"))!r})
tempfile.tempdir = str(disk)
encoder, photos = tiny_encoder(elsewhere), draw(elsewhere / "photos", 4)
with client_of(create_app(settings_for(disk, job_roots=(str(photos[0].parent),)), encoder)) as client:
    run = Here(client, encoder, disk, photos).label()
    client.put("/v1/label-sets/pets", json={{"labels": ["a"]}})
    one = f"/v1/label-runs/{{run}}"
    shown = ["", "/images", "/bars", "/table", "/images/1/content", "/images/1/thumbnail"]
    before = [client.get(one + each).content for each in shown]
    ballast = os.open(disk / "ballast", os.O_WRONLY | os.O_CREAT)
    try:
        while True:
            os.write(ballast, bytes(512))
    except OSError:
        pass
    assert [each["id"] for each in client.get("/v1/label-runs").json()["label_runs"]] == [run]
    assert [client.get(one + each).content for each in shown] == before
    for refused in (
        client.post(f"{{one}}/review", json={{"items": [{{"image": 1, "verdict": "accept"}}]}}),
        client.post(f"{{one}}/save-label-set", json={{"name": "kept"}}),
        client.put("/v1/label-sets/pets", json={{"labels": ["b"]}}),
        client.post("/v1/jobs", json={{"kind": "label", "folder": str(photos[0].parent), "labels": ["a"]}}),
    ):
        error = error_of(refused, 500)
        assert (error["code"], "the disk is full; free some space" in error["message"]) == ("disk_full", True), error
    assert client.delete(one).status_code == 204
    assert client.get("/v1/label-runs").json()["label_runs"] == []
""")


def test_a_damaged_run_can_be_forgotten(here):
    run = here.label()
    file = here.data / "label-runs" / run / "run.sqlite"
    file.write_bytes(bytes(100) + file.read_bytes()[100:])
    error_of(here.client.get(f"{RUNS}/{run}"), 500)
    assert here.client.delete(f"{RUNS}/{run}").status_code == 204
    assert not file.parent.exists()


def test_an_entry_that_was_deleted_fails_neither_a_review_nor_the_labels_after_it(here):
    run = here.label(collection="pictures")
    first, second, third, *_ = here.images(run)
    here.review(run, correct(first, LABELS[0]), correct(second, LABELS[1]))
    for gone in (first, third):
        assert here.client.delete(f"/v1/collections/pictures/images/{gone['id']}").status_code == 204
    here.review(run, correct(second, LABELS[2]))
    asked = {"kind": "label", "collection": "pictures", "labels": ["sea", "sky", *LABELS]}
    job = here.client.post("/v1/jobs", json=asked).json()["id"]
    until(lambda: here.client.get(f"/v1/jobs/{job}").json()["ended_at"])
    ended = here.client.get(f"/v1/jobs/{job}").json()
    assert (ended["state"], ended["error"], ended["report"]["labelled"]) == ("succeeded", None, 6)
    assert len(here.images(run)) == 6
