"""Examples in class folders and tables: which labels they are of, what is new, and what is left out."""

from __future__ import annotations

import json
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from conftest import plain_picture

from base.errors import InputError
from encoder.encoder import Encoder
from encoder.prompts import Label
from encoder.zero_shot import build_classifier
from labelling.example_files import read_examples
from labelling.examples import fit


def picture(path: Path, colour: str = "red", shade: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    plain_picture(colour, shade).save(path)
    return path


def test_class_folders_are_labels_by_name_synonym_and_level(tmp_path: Path) -> None:
    dog = picture(tmp_path / "animal" / "dog" / "rex" / "1.png")
    couch = picture(tmp_path / "Couch" / "1.png")
    nested = picture(tmp_path / "animal" / "bat" / "1.png")
    part = picture(tmp_path / "part-4711" / "1.png")
    loose = picture(tmp_path / "loose.png")
    found = read_examples(tmp_path, [Label("animal/dog"), Label("sofa", ("couch",)), Label("unused")])
    assert found.names_of == {dog: ["animal/dog"], couch: ["sofa"], nested: ["animal/bat"], part: ["part-4711"]}
    assert [label.name for label in found.labels] == ["animal/dog", "sofa", "unused", "animal/bat", "part-4711"]
    assert found.new == ("animal/bat", "part-4711")
    assert found.left_out.as_json() == [{"reason": "images in no class folder", "count": 1, "first": str(loose)}]


def test_names_are_alike_whatever_their_capitals_blanks_and_accents(tmp_path: Path) -> None:
    picture(tmp_path / unicodedata.normalize("NFD", "Café") / "1.png")
    picture(tmp_path / "t_shirt" / "1.png")
    found = read_examples(tmp_path, [Label("café"), Label("T shirt")])
    assert not found.new


def test_a_corrected_table_gives_examples_with_several_labels(tmp_path: Path) -> None:
    for name in "ab":
        picture(tmp_path / "img" / f"{name}.png")
    table = tmp_path / "labels.csv"
    table.write_text(
        'path,label,score\nimg/a.png,dog,0.9\nimg/a.png,"beach, sunny",0.8\nimg/b.png,\'=cmd,1\nimg/b.png,,0.1\n'
        "img/c.png,dog,0.5\n"
    )
    found = read_examples(table, [Label("Dog")])
    assert found.names_of == {tmp_path / "img/a.png": ["Dog", "beach, sunny"], tmp_path / "img/b.png": ["=cmd"]}
    assert found.left_out.lines() == [
        "1 of 5 rows without a label, the first: img/b.png (line 5)",
        "1 of 5 rows name no image that is there, the first: img/c.png (line 6)",
    ]


def test_json_gives_lists_of_labels(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    table = tmp_path / "labels.jsonl"
    rows = [{"file": "a.png", "tags": ["dog", "DOG", "beach"]}, {"file": "a.png", "tags": {"dog": 1}}]
    table.write_text("\n".join(map(json.dumps, rows)))
    found = read_examples(table, image_key="file", label_key="tags")
    assert found.names_of == {tmp_path / "a.png": ["dog", "beach"]}
    assert found.left_out.lines() == ["1 of 2 rows whose label is no text, the first: line 2"]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: folder / "none", "none: cannot be read as a table"),
        (lambda folder: folder, "no examples in class folders, as in"),
        (lambda folder: picture(folder / "1.png").parent, "1 images in no class folder"),
        (lambda folder: shutil.copy(__file__, folder / "a.csv"), 'no column "path"'),
    ],
)
def test_a_source_without_examples_is_refused(tmp_path: Path, make, said: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError, match=said):
        read_examples(Path(make(tmp_path)))


def test_examples_are_encoded_and_tell_colours_apart(encoder: Encoder, colour_folder: Path) -> None:
    (colour_folder / "red" / "broken.png").write_bytes(b"no picture")
    labels = [Label(name) for name in ("blue", "green")]
    files = read_examples(colour_folder, labels)
    told: list[tuple[int, int]] = []
    examples = files.encode(encoder, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (13, 13)
    assert files.new == ("red",)
    assert examples.targets.sum(axis=0).tolist() == [4, 4, 4]
    assert files.left_out.lines()[0].startswith("1 images that cannot be read, the first: ")
    classifier = build_classifier(encoder, files.labels)
    shots = fit(examples, classifier.logits(examples.vectors))
    queries = encoder.encode_images([plain_picture(colour, 7) for colour in ("blue", "green", "red")])
    assert shots.logits(queries, classifier.logits(queries)).argmax(axis=1).tolist() == [0, 1, 2]
    np.testing.assert_allclose(np.linalg.norm(examples.vectors, axis=1), 1, atol=1e-5)


def test_examples_of_which_none_can_be_read_are_refused(encoder: Encoder, tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "1.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match="no example can be read: 1 images that cannot be read"):
        read_examples(tmp_path).encode(encoder)
