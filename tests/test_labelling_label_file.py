"""Labels as people write them, in every form; nothing is dropped without a word."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from unicodedata import category

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from base.errors import InputError
from encoder.zero_shot.prompts import Label
from labelling.label_file import composed, labels_in, read_labels

ODD = ["salt, or pepper", 'the "big" one', "=cmd|' /C calc'!A0".replace("|", "/"), "🦊 fox", "שלום", "caf\u00e9", "+1"]


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def test_a_line_has_labels_with_synonyms_levels_and_commas() -> None:
    given_labels = labels_in('sofa|couch, animal/dog ,"salt, or pepper",,sofa,sofa|settee')
    assert given_labels.labels == (Label("sofa", ("couch", "settee")), Label("animal/dog"), Label("salt, or pepper"))
    assert given_labels.left_out.lines() == [
        "1 labels without a name, the first: label 4",
        "1 labels that stand there already, the first: sofa (label 5)",
    ]
    for blank in (" , ,", "\u200b,\u2060 \ufeff"):
        with pytest.raises(InputError, match="no labels given"):
            labels_in(blank)


def test_the_same_labels_from_text_json_and_a_table(tmp_path: Path) -> None:
    wanted = (Label("sofa", ("couch",)), Label("part-4711", (), ("a brass valve", "a valve")), Label("animal/dog"))
    objects = [
        "sofa|couch",
        {"name": "part-4711", "prompts": ["a brass valve", "a valve"]},
        {"name": " animal/dog ", "synonyms": []},
    ]
    assert read_labels(write(tmp_path / "a.json", json.dumps(objects))).labels == wanted
    assert read_labels(write(tmp_path / "a.txt", json.dumps(objects))).labels == wanted
    assert read_labels(write(tmp_path / "a.jsonl", "\n".join(map(json.dumps, objects)))).labels == wanted
    assert read_labels(write(tmp_path / "one.jsonl", json.dumps(objects[-1]))).labels == wanted[-1:]
    rows = "label;prompt;synonyms\nsofa;;couch\npart-4711;a brass valve;\nanimal/dog;;\npart-4711;a valve;\nsofa;;\n"
    from_table = read_labels(write(tmp_path / "a.csv", rows))
    assert from_table.labels == wanted
    assert from_table.left_out.lines() == [
        "1 labels that stand there already, the first: sofa (line 6)",
    ]
    lines = "# ours\n\ufeffsofa|couch\n\nanimal/dog\n  \n"
    assert read_labels(write(tmp_path / "b.txt", lines.replace("\ufeff", ""))).labels == (wanted[0], wanted[2])
    assert read_labels(write(tmp_path / "c.txt", "sofa|couch\nanimal/dog", "utf-16")).labels == (wanted[0], wanted[2])
    assert read_labels(write(tmp_path / "d.csv", "cat\ndog\n")).labels == (Label("cat"), Label("dog"))
    assert read_labels(write(tmp_path / "e.csv", "label\ndog\n")).labels == (Label("dog"),)
    hound = (Label("dog", (), ("a hound",)),)
    assert read_labels(write(tmp_path / "f.tsv", "label\tprompt\ndog\ta hound\n")).labels == hound
    assert read_labels(write(tmp_path / "g.csv", "sofa|couch\n")).labels == wanted[:1]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"]), min_size=1)))
@example(["\ud7fc", "\ue000", "\u200b"])  # which nobody has assigned, which everybody may, and which has no width
def test_any_label_comes_through_json(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    names = ["cat", *names]
    file = tmp_path_factory.mktemp("json") / "labels.json"
    file.write_text(json.dumps([{"name": name} for name in names]), encoding="utf-8")
    read = [label.name for label in read_labels(file).labels]
    assert set(read) <= set(names)
    assert read_labels(file).left_out.count() == len(names) - len(read)
    there = {composed(name) for name in read}
    assert [name for name in names if composed(name) not in there and category(name[0]) != "Cf"] == []


def test_numbers_may_be_labels(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("1 cat\n2 cats\n3.5 cats\n16:9\n4\n")
    assert [label.name for label in read_labels(tmp_path / "a.txt").labels] == [
        "1 cat",
        "2 cats",
        "3.5 cats",
        "16:9",
        "4",
    ]
    (tmp_path / "a.csv").write_text("Label,Synonyms\ncat,kitty\n")
    assert [(label.name, *label.synonyms) for label in read_labels(tmp_path / "a.csv").labels] == [("cat", "kitty")]


def test_odd_names_come_through_every_form(tmp_path: Path) -> None:
    two_lines = "two\nlines"
    (tmp_path / "a.json").write_text(json.dumps([*ODD, two_lines]))
    with (tmp_path / "a.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["label"], *([name] for name in [*ODD, two_lines])])
    (tmp_path / "a.txt").write_text("\n".join(ODD), encoding="utf-8")
    more = [*ODD, two_lines, "two\u2028lines"]  # as JSON may have it
    write(tmp_path / "a.jsonl", "\n".join(json.dumps(name, ensure_ascii=False) for name in more))
    assert [label.name for label in read_labels(tmp_path / "a.jsonl").labels] == more
    assert [label.name for label in read_labels(tmp_path / "a.json").labels] == [*ODD, two_lines]
    assert [label.name for label in read_labels(tmp_path / "a.csv").labels] == [*ODD, two_lines]
    assert [label.name for label in read_labels(tmp_path / "a.txt").labels] == ODD
    both = read_labels(write(tmp_path / "b.txt", "caf\u00e9\ncafe\u0301\n"))  # NFC and NFD
    assert [label.name for label in both.labels] == ["caf\u00e9"]
    assert both.left_out.count() == 1


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("a.json", b"[1]", "item 1 is no label"),
        ("a.json", b'["cat",', "begins as a JSON array and is none"),
        ("a.json", b'{"cat": 1}', "line 1 has cat; a label has name, synonyms and prompts"),
        (
            "a.json",
            b'{\n "cat": 1\n}',
            "line 1 cannot be read as JSON .* each line holds one label, or all is one list of them",
        ),
        (
            "a.jsonl",
            b'"cat"\n{"name": "dog"}\n{"name": bird}\n',
            r"line 3 cannot be read as JSON \(from column 10 on\)",
        ),
        ("a.json", b'[{"label": "cat"}]', "item 1 has label; a label has name, synonyms and prompts"),
        ("a.json", b'[{"name": 3}]', "item 1 has no name"),
        ("a.json", b'[{"name": "a", "prompts": "b"}]', "prompts that are no list"),
        ("a.json", b'[{"name": "a", "prompts": [1]}]', "synonyms and prompts are texts"),
        ("a.json", b"[]", "no labels given"),
        ("a.csv", b"cat,dog\n1,2\n", 'no column "label"; it has cat, dog'),
        ("a.csv", b"name\ncat\ndog\n", 'no column "label"; it has name'),
        ("a.csv", b"Class\n", "no labels given"),
        ("a.txt", b"0: cat\n1: dog\n", "each line begins with a number"),
        ("a.txt", b"1. cat\n2. dog\n", "each line begins with a number"),
        ("a.txt", b"version https://git-lfs.github.com/spec/v1\noid sha256:4d\nsize 1\n", "a pointer of Git LFS"),
        ("a.txt", b"<!DOCTYPE html><html>\n<body>\n", "a web page"),
        ("a.pbtxt", b"item { id: 1 }\n", "a label map of TensorFlow, which is not read"),
        ("a.json", b'{"0": "cat", "1": "dog"}', "a label has name, synonyms and prompts, as in"),
        ("a.xlsx", b"PK\x03\x04\xff\xfe", "a ZIP archive; unpack it first"),
        ("a.csv", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Excel workbook; save it as CSV"),
        ("a.txt", "caf\u00e9".encode("latin-1"), "it is not UTF-8"),
        ("a.txt", b"\n# nothing\n", "no labels given"),
        ("a.csv", b"", "no labels given"),
        ("a.txt", b"cat, dog, bird\n", "one line with commas in it; give one label a line"),
        ("a.csv", b"cat, dog, bird\n", "one line with commas in it; give one label a line"),
        ("a.txt", b"0\tcat\n1\tdog\n", "line 1 has a tab in it; a table is named .tsv"),
        ("data.yaml", b"names:\n- cat\n- dog\n", "YAML, which is not read; give a text file with one label a line"),
    ],
)
def test_other_files_are_refused_in_a_line(tmp_path: Path, name: str, content: bytes, match: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=match):
        read_labels(tmp_path / name)
    with pytest.raises(InputError, match="cannot be read as a text file of labels"):
        read_labels(tmp_path / "gone.txt")
