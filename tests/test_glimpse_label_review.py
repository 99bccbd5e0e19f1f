"""`glimpse label --review`: what to look at first, corrections by a table, rules, and outputs that follow."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny_world import plain_picture

from base.errors import InputError, ModelMismatch, RunNotFound
from encoder.model.load import build_clip
from glimpse.cli import perform
from labelling.runs.copies import Copies
from labelling.runs.kept import LabelRuns
from training.records.checkpoint import save_model

Review = Callable[..., Any]


@pytest.fixture
def data(tmp_path: Path, tiny_run: Path) -> Path:
    """A data folder with a run that has labelled nine pictures into a CSV and class folders."""
    (tmp_path / "photos").mkdir()
    for i in range(9):
        plain_picture(["red", "green", "blue"][i % 3], i).save(tmp_path / "photos" / f"{i}.png")
    names = ["label", tmp_path / "photos", "--model", tiny_run, "--labels", "cat,dog,boat", "--data", tmp_path / "data",
             "--out", tmp_path / "labels.csv", "--to", tmp_path / "sorted", "--json"]  # fmt: skip
    assert not perform([str(name) for name in names])
    return tmp_path / "data"


@pytest.fixture
def reviewed(data: Path, capsys: pytest.CaptureFixture[str]) -> Review:
    """Reviews the last run; its --json."""

    def run(*arguments: object, name: str = "last") -> Any:
        capsys.readouterr()
        given = ["label", "--review", name, "--data", data, "--json", *arguments]
        assert not perform([str(argument) for argument in given])
        return json.loads(capsys.readouterr().out)

    return run


def rows(path: Path) -> dict[str, str]:
    return {row["path"]: row["label"] for row in csv.DictReader(path.read_text().splitlines())}


def test_corrections_teach_the_rest_and_all_that_was_written_follows(reviewed: Review, tmp_path: Path) -> None:
    shown = reviewed()
    margins = [one["margin"] for one in shown["least_certain"]]
    assert margins == sorted(margins)
    assert (shown["images"], shown["reviewed"]) == (9, {})
    assert shown["address"].endswith(f"/v1/label-runs/{shown['run']}")
    photos = sorted((tmp_path / "photos").iterdir())
    right = {str(path): ["cat", "dog", "boat"][i % 3] for i, path in enumerate(photos)}
    table = tmp_path / "right.csv"
    table.write_text("path,label\n" + "".join(f"photos/{Path(path).name},{right[path]}\n" for path in [*right][:6]))
    done = reviewed("--correct", table)
    assert (done["reviewed"], done["relabelled"], done["failed"]) == ({"corrected": 6}, 3, [])
    assert rows(tmp_path / "labels.csv") == right  # two of each colour say what the third is
    assert {str(path.relative_to(tmp_path / "sorted")) for path in (tmp_path / "sorted").rglob("*.png")} == {
        f"{label}/{Path(path).name}" for path, label in right.items()
    }
    assert reviewed("--accept-above", 0)["reviewed"] == {"by rule": 3}
    assert reviewed()["least_certain"] == []


def test_what_was_said_last_is_taken_back_with_what_followed_from_it(reviewed: Review, tmp_path: Path) -> None:
    before = rows(tmp_path / "labels.csv")
    table = tmp_path / "right.csv"
    table.write_text("path,label\n" + "".join(f"photos/{i}.png,{label}\n" for i, label in enumerate(("cat", "dog"))))
    reviewed("--correct", table)
    reviewed("--accept-above", 0)
    assert reviewed()["undoable"] == 2
    assert reviewed("--take-back")["taken_back"] == {"by rule": 7}
    done = reviewed("--take-back")
    assert (done["taken_back"], done["relabelled"]) == ({"corrected": 2}, 9)
    assert rows(tmp_path / "labels.csv") == before
    with pytest.raises(InputError, match="no review to take back"):
        reviewed("--take-back")
    with pytest.raises(InputError, match="leave --correct and --accept-above out"):
        reviewed("--take-back", "--accept-above", 0)


def test_a_table_elsewhere_may_name_images_as_they_lie_in_the_labelled_folder(reviewed: Review, tmp_path: Path) -> None:
    table = tmp_path / "tables" / "right.csv"
    table.parent.mkdir()
    table.write_text("path,label\n0.png,boat\n1.png,\n")
    assert reviewed("--correct", table)["reviewed"] == {"corrected": 1, "none": 1}
    assert rows(tmp_path / "labels.csv")[str(tmp_path / "photos" / "0.png")] == "boat"


def test_a_row_without_a_label_says_none_of_these(reviewed: Review, tmp_path: Path) -> None:
    table = tmp_path / "none.csv"
    table.write_text("path,label\nphotos/0.png,\nphotos/1.png,dog\nphotos/2.png,\nphotos/2.png,boat\n")
    assert reviewed("--correct", table)["reviewed"] == {"corrected": 2, "none": 1}
    found = rows(tmp_path / "labels.csv")
    photos = tmp_path / "photos"
    assert [found[str(photos / f"{i}.png")] for i in range(3)] == ["", "dog", "boat"]
    assert not list((tmp_path / "sorted").rglob("0.png"))
    table.write_text("path,label\nphotos/3.png,\n")  # none of them alone
    assert reviewed("--correct", table)["reviewed"] == {"none": 1}


def test_copies_that_were_moved_to_another_label_say_what_is_right(
    data: Path, reviewed: Review, tmp_path: Path
) -> None:
    before = rows(tmp_path / "labels.csv")
    copy = next(path for path in sorted((tmp_path / "sorted").rglob("*.png")) if path.parent.name != "boat")
    (tmp_path / "sorted" / "boat").mkdir(exist_ok=True)
    copy.rename(tmp_path / "sorted" / "boat" / copy.name)
    done = reviewed("--correct", tmp_path / "sorted")
    assert (done["reviewed"], done["failed"], done["left_out"]) == ({"corrected": 9}, [], [])
    found = rows(tmp_path / "labels.csv")
    assert found == before | {str(tmp_path / "photos" / copy.name): "boat"}
    stands = {str(path.relative_to(tmp_path / "sorted")) for path in (tmp_path / "sorted").rglob("*.png")}
    beside = f"boat/{copy.stem}-2.png"  # what people put somewhere is theirs, and no other takes its name
    assert stands == {f"{label}/{Path(path).name}" for path, label in found.items()} | {beside}


def test_a_copy_is_of_the_image_whose_name_it_has(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("photos", "sorted")]
    for folder in folders:
        folder.mkdir()
    for name in ("1", "1-2", "12"):
        (folders[0] / f"{name}.png").write_bytes(b"all alike")
    for name in ("1", "1-2", "12", "1-2-2", "13"):
        (folders[1] / f"{name}.png").write_bytes(b"all alike")
    images = [SimpleNamespace(path=path) for path in sorted(folders[0].iterdir(), key=lambda path: len(path.stem))]
    store = SimpleNamespace(rows=lambda: [SimpleNamespace(id=n, image=image) for n, image in enumerate(images)])
    copies = Copies(store)
    for name, own in (("1", "1"), ("1-2", "1-2"), ("12", "12"), ("1-2-2", "1-2"), ("13", "1")):
        found = copies.image_of(folders[1] / f"{name}.png")
        assert found is not None
        assert images[found].path.stem == own


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            "filename,class\n0.png,cat\n",
            'no columns "path" and "label"; it has filename, class. Name in its first line',
        ),
        ("path,label\n", "has no rows"),
        (
            "Path;Label\nphotos/0.png;cat\nphotos/0.png;dog\n",
            "photos/0.png: cat and dog, in a run that gives an image one",
        ),
        ("path,label\nphotos/0.png,cow\n", "1 images of no label of the set, the first: photos/0.png: cow (line 2)"),
    ],
)
def test_a_table_of_corrections_that_says_nothing_says_why(
    table: str, message: str, reviewed: Review, tmp_path: Path
) -> None:
    (tmp_path / "wrong.csv").write_text(table)
    with pytest.raises(InputError, match=re.escape(message)):
        reviewed("--correct", tmp_path / "wrong.csv")


def test_what_cannot_be_reviewed_is_told(reviewed: Review, tmp_path: Path) -> None:
    before = rows(tmp_path / "labels.csv")
    table = tmp_path / "wrong.csv"
    plain_picture("red").save(tmp_path / "other.png")
    table.write_text("path,label\nother.png,cat\n")
    with pytest.raises(InputError, match=r"no image of it is one of run photos-"):
        reviewed("--correct", table)
    with pytest.raises(RunNotFound):
        reviewed(name="none-such")
    with pytest.raises(InputError, match="--accept-above goes with --review"):
        perform(["label", "--accept-above", "0.5"])
    assert rows(tmp_path / "labels.csv") == before


def test_a_model_that_was_trained_anew_is_not_taken_for_the_one_of_then(
    data: Path, reviewed: Review, tmp_path: Path, tiny_config: Path
) -> None:
    anew = tmp_path / "anew"
    torch.manual_seed(1)
    save_model(anew, build_clip(tiny_config))
    with LabelRuns(data).open("last") as run, run.store.writing():
        run.store.set(model=str(anew))  # what lies there now has another fingerprint than then
    table = tmp_path / "right.csv"
    table.write_text("path,label\nphotos/0.png,cat\n")
    before = rows(tmp_path / "labels.csv")
    with pytest.raises(ModelMismatch, match="review it with that one, or label the images anew with this one"):
        reviewed("--correct", table)
    assert rows(tmp_path / "labels.csv") == before
    assert reviewed()["reviewed"] == {}
