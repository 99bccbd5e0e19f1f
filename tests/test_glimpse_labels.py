"""`glimpse labels`: kept, shown, calibrated, deleted; what is wrong is a line."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from glimpse_here import glimpse_here
from tiny_world import plain_picture

from index.collection import Entry, create_collection


def glimpse(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return glimpse_here(*arguments, GLIMPSE_DEVICE="cpu")


def ok(*arguments: str | Path) -> str:
    done = glimpse(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def lines_of(folder: Path, name: str, *arguments: str | Path) -> list[str]:
    """What is said on stderr, of a command that fails."""
    done = glimpse("labels", name, *arguments, "--data", folder)
    assert done.returncode == 2 if "cannot" not in done.stderr else done.returncode
    assert "Traceback" not in done.stderr
    return done.stderr.strip().splitlines()


def test_a_set_is_created_shown_listed_and_deleted(data: Path) -> None:
    made = glimpse("labels", "create", "pets", "--labels", "dog|hound,animal/cat,,dog,=cmd", "--multi", "--data", data)
    assert made.returncode == 0, made.stderr
    assert made.stdout.strip() == "pets: 3 labels, several an image, uncalibrated"
    assert "1 labels without a name, the first: label 3" in made.stderr
    assert "1 labels that stand there already, the first: dog (label 4)" in made.stderr
    told = json.loads(ok("labels", "show", "pets", "--data", data, "--json"))
    assert told["name"] == "pets"
    assert told["mode"] == "multi"
    assert told["calibrated"] is False
    assert told["learned"] is None
    assert [label["name"] for label in told["labels"]] == ["dog", "animal/cat", "=cmd"]
    assert told["labels"][0]["synonyms"] == ["hound"]
    assert told["labels"][1]["prompts"] == ["a photo of a cat.", "a picture of a cat.", "cat"]
    shown = ok("labels", "show", "pets", "--data", data)
    assert "uncalibrated: glimpse labels calibrate has scores mean what they say" in shown
    assert "a photo of a dog.  and 5 more" in shown
    assert json.loads(ok("labels", "list", "--data", data, "--json"))["label_sets"] == [
        {"name": "pets", "mode": "multi", "calibrated": False, "labels": 3, "problem": None}
    ]
    assert lines_of(data, "create", "pets", "--labels", "a") == [
        "glimpse: label set 'pets' is there already; choose another name, or replace it with --force"
    ]
    ok("labels", "create", "pets", "--labels", "a", "--force", "--template", "many", "--data", data)
    assert json.loads(ok("labels", "show", "pets", "--data", data, "--json"))["labels"][0]["prompts"][-1] == "many a."
    assert "say --yes" in lines_of(data, "delete", "pets")[0]
    assert ok("labels", "delete", "pets", "--yes", "--data", data) == "pets deleted\n"
    gone = glimpse("labels", "delete", "pets", "--yes", "--data", data)
    assert gone.returncode == 1
    assert gone.stderr == (
        "glimpse: no label set 'pets'; `glimpse labels list`, or GET /v1/label-sets, names those there are\n"
    )
    assert ok("labels", "list", "--data", data) == f"none in {data}\n"


def test_what_cannot_be_a_set_is_refused_in_a_line(data: Path, tmp_path: Path, tiny_run: Path) -> None:
    assert "has no {} for the label" in lines_of(data, "create", "a", "--labels", "b", "--template", "see")[0]
    assert "cannot name a label set" in lines_of(data, "create", "A B", "--labels", "b")[0]
    assert "give labels by one of" in lines_of(data, "create", "a")[0]
    assert "give labels by one of" in lines_of(data, "create", "a", "--labels", "b", "--labels-from", "c")[0]
    assert "give --model" in lines_of(data, "create", "a", "--examples", tmp_path)[0]
    assert "--metadata-key tags" in lines_of(data, "create", "a", "--labels-from", tmp_path / "gone")[0]
    alike = lines_of(data, "create", "a", "--labels", "Cat,cat", "--model", tiny_run)
    assert alike[-1].startswith('glimpse: the labels "Cat" and "cat" are the same to the model')
    assert not (data / "label-sets").exists()
    ok("labels", "create", "a", "--labels", "b,c", "--data", data)
    file = data / "label-sets" / "a.json"
    file.write_text(file.read_text().replace('"c"', '"d"'))
    damaged = glimpse("labels", "show", "a", "--data", data)
    assert damaged.returncode == 1
    assert "the file of label set 'a' is damaged" in damaged.stderr
    assert "is damaged" in ok("labels", "list", "--data", data)


def test_examples_and_a_calibration_are_kept_with_the_set(data: Path, tmp_path: Path, tiny_run: Path) -> None:
    for place, n, start in (("few", 2, 0), ("many", 14, 40)):
        for colour in ("red", "green", "blue"):
            (tmp_path / place / colour).mkdir(parents=True)
            for i in range(n):
                plain_picture(colour, start + 3 * i).save(tmp_path / place / colour / f"{i}.png")
    (tmp_path / "many" / "red" / "broken.png").write_bytes(b"broken")
    create = ("labels", "create", "colours", "--data", data, "--model", tiny_run)
    ok(*create, "--examples", tmp_path / "few")
    told = json.loads(ok("labels", "show", "colours", "--data", data, "--json"))
    assert [(label["name"], label["examples"]) for label in told["labels"]] == [("blue", 2), ("green", 2), ("red", 2)]
    assert told["learned"]["model"] == str(tiny_run)
    assert told["calibrated"] is False
    ok(
        "labels",
        "create",
        "colours",
        "--data",
        data,
        "--labels",
        "red|crimson",
        "--multi",
        "--template",
        "a {}",
        "--force",
    )
    learnt = glimpse(*create, "--examples", tmp_path / "few", "--force")  # keeps labels, prompts and mode
    assert "labels of examples alone, taken as well: blue, green" in learnt.stderr
    told = json.loads(ok("labels", "show", "colours", "--data", data, "--json"))
    assert [(label["name"], label["examples"]) for label in told["labels"]] == [("red", 2), ("blue", 2), ("green", 2)]
    assert told["labels"][0]["prompts"] == ["a red", "a crimson"]
    assert told["mode"] == "multi"
    ok("labels", "delete", "colours", "--yes", "--data", data)
    ok(*create, "--examples", tmp_path / "few")

    calibrate = ("labels", "calibrate", "colours", tmp_path / "many", "--data", data, "--model", tiny_run)
    done = json.loads(ok(*calibrate, "--json", "--precision", "0.6"))
    assert done["held_out"] == 21
    assert done["temperature"] > 0
    assert set(done["before"]) == {"calibration_error", "brier", "accuracy", "coverage", "precision", "recall"}
    assert {one["reason"] for one in done["left_out"]} == {"images that cannot be read"}
    report = Path(done["report"])
    assert report == data / "label-sets" / "colours.html"
    assert "calibration report" in report.read_text(encoding="utf-8")
    told = json.loads(ok("labels", "show", "colours", "--data", data, "--json"))
    assert told["calibrated"] is True
    assert told["learned"]["examples"] == 6
    assert told["learned"]["measured"]["precision"] == 0.6
    assert all(label["threshold"] is not None for label in told["labels"])
    shown = ok("labels", "show", "colours", "--data", data)
    assert "calibrated on 21 images; on 21 others the calibration error went from" in shown

    elsewhere = tmp_path / "own.html"
    ok(*calibrate, "--report", elsewhere)
    assert elsewhere.exists()
    assert "is there already" in glimpse(*calibrate, "--report", elsewhere).stderr
    assert glimpse(*calibrate, "--report", tmp_path / "no" / "x.html").returncode == 2
    few = glimpse("labels", "calibrate", "colours", tmp_path / "few", "--data", data, "--model", tiny_run)
    assert few.returncode == 2
    assert "0 images are too few to calibrate with" in few.stderr  # all of them are examples
    ok("labels", "delete", "colours", "--yes", "--data", data)
    assert not report.exists()


def test_labels_may_be_the_words_that_photos_carry(data: Path, tmp_path: Path) -> None:
    for name in ("dog", "cat", "a, b"):
        (tmp_path / "in" / name).mkdir(parents=True)
        plain_picture("red").save(tmp_path / "in" / name / "1.png")
    plain_picture("blue").save(tmp_path / "in" / "dog" / "2.png")
    made = glimpse("labels", "create", "mine", "--labels-from", tmp_path / "in", "--data", data)
    assert made.returncode == 0, made.stderr
    assert "the labels are the names of their folders" in made.stderr
    told = json.loads(ok("labels", "show", "mine", "--data", data, "--json"))
    assert [label["name"] for label in told["labels"]] == ["dog", "a, b", "cat"]

    with create_collection(data, "photos", model="m", fingerprint="f", dim=2) as collection:
        tags = [["animal/dog", "beach"], ["beach"], "caf\u00e9"]
        rows = [Entry(np.ones(2, np.float32), "image", f"/{i}.png", metadata={"tags": t}) for i, t in enumerate(tags)]
        collection.upsert(rows)
    from_key = ("labels", "create", "tags", "--labels-from", "photos", "--metadata-key")
    ok(*from_key, "tags", "--data", data)
    told = json.loads(ok("labels", "show", "tags", "--data", data, "--json"))
    assert [label["name"] for label in told["labels"]] == ["beach", "animal/dog", "caf\u00e9"]
    assert "name another key" in lines_of(data, *from_key[1:], "other", "--force")[0]
