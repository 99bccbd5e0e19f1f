"""A folder to a CSV of labels: every image has a row or a reason; and label sets as files."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from tiny_world import SmallBatches

from base.errors import ImageError, InputError, LabelSetNotFound
from encoder.encoder import Encoder
from encoder.zero_shot.prompts import DEFAULT_TEMPLATES, Label
from labelling.label_sets import LabelSet, LabelSets
from labelling.labeller import Labeller, build_labeller
from labelling.outputs.table import LabelTable, check_table, open_table, write_rows
from labelling.rows import LabelReport, Listed, images_below, label_images


@pytest.fixture
def labeller(encoder: Encoder) -> Labeller:
    return build_labeller(encoder, LabelSet.of(["red", "green", "blue"]))


@pytest.fixture
def photos(colour_folder: Path) -> Path:
    """Twelve pictures, and two files that are none."""
    (colour_folder / "blue" / "broken.png").write_bytes(b"no picture")
    (colour_folder / "red" / "empty.jpg").touch()
    return colour_folder


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.DictReader(file))


def test_every_image_has_a_row_or_a_reason(encoder: Encoder, labeller: Labeller, photos: Path, tmp_path: Path) -> None:
    report = LabelReport()
    with open_table(tmp_path / "labels.csv") as file:
        done = [
            report.done
            for report in write_rows(
                label_images(SmallBatches(encoder), labeller, images_below(photos, report)), LabelTable(file), report
            )
        ]
    rows = read(tmp_path / "labels.csv")
    assert done == [4, 8, 12, 14]
    assert (report.labelled, report.skipped, len(rows)) == (12, 2, 12)
    assert sum(report.per_label.values()) == 12
    assert {Path(path).name for path, _ in report.skips} == {"broken.png", "empty.jpg"}
    for row in rows:
        [(label, score)] = labeller.classifier.best(encoder.encode_images([row["path"]]))
        assert (row["label"], float(row["score"])) == (label, pytest.approx(score, abs=1e-3))


def test_what_may_not_be_read_is_named(encoder: Encoder, labeller: Labeller, photos: Path) -> None:
    def read_all_but_red(path: Path) -> bytes:
        if path.parent.name == "red":
            raise ImageError(path, "not for you")
        return path.read_bytes()

    batches = label_images(encoder, labeller, images_below(photos, LabelReport()), read_all_but_red)
    images = [image for batch in batches for image in batch]
    refused = {image.path.parent.name for image in images if image.error == "not for you"}
    assert (refused, len(images)) == ({"red"}, 14)
    assert sum(bool(image.answers) for image in images) == 8


def test_label_sets(tmp_path: Path) -> None:
    kept = LabelSets(tmp_path)
    assert LabelSet.of([" cat", "dog", "cat"]) == LabelSet((Label("cat"), Label("dog")), DEFAULT_TEMPLATES)
    assert kept.put("pets", LabelSet.of(["cat", "hot_air balloon"], ["a {}", "the {}"]))
    assert not kept.put("pets", LabelSet.of(["cat", "hot_air balloon"], ["a {}", "the {}"]))
    assert kept.resolve(None, "pets").prompts() == [["a cat", "the cat"], ["a hot air balloon", "the hot air balloon"]]
    assert kept.resolve(None, "pets", ["{}"]).templates == ("{}",)
    assert kept.resolve(["cow"], None).names == ("cow",)
    with pytest.raises(InputError, match="make 4 prompts; the limit is 3"):
        kept.get("pets").check_prompts(3)
    kept.delete("pets")
    for call in (lambda: kept.get("pets"), lambda: kept.delete("pets"), lambda: kept.resolve(None, "pets")):
        with pytest.raises(LabelSetNotFound, match="no label set 'pets'"):
            call()
    with pytest.raises(InputError, match="no labels"):
        kept.resolve(None, None)


def test_a_name_that_a_spreadsheet_would_calculate_stays_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = ["=1+1.png", "+1.png", "-1.png", "@a.png", "\ta.png", "a=1.png"]
    for name in names:
        Path(name).touch()
    with open_table(tmp_path / "labels.csv") as file:
        LabelTable(file).write([Listed(name, [("=red", 1.0)]) for name in names])
    paths = [row["path"] for row in read(tmp_path / "labels.csv")]
    assert not [path for path in paths if path[0] not in "./a"]
    assert [Path(path) for path in paths] == [Path(name) for name in names]
    assert all(Path(path).exists() for path in paths)
    assert {row["label"] for row in read(tmp_path / "labels.csv")} == {"'=red"}


def test_a_table_of_labels_is_known_however_a_spreadsheet_saved_it(tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    for text in ("path,label,score\n", "path;label;score\r\na.jpg;hat;0.5\r\n"):
        for encoding in ("utf-8", "utf-8-sig", "utf-16"):
            table.write_text(text, encoding)
            check_table(table, "--out")
    for other in ("image,title\n", "path,label\n", "[]", "\0"):
        table.write_text(other)
        with pytest.raises(InputError, match="is no table of labels"):
            check_table(table, "--out")
