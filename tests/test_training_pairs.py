"""Pairs: what is read from tables and folders, what is left out and why."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_world import plain_picture

from base.errors import InputError
from base.sources.rules import Rules
from base.sources.shards import is_shards
from encoder.zero_shot.prompts import DEFAULT_TEMPLATES
from training.data.folders import labelled_images, read_class_folders, read_images, read_sidecars
from training.data.keys import Keys
from training.data.pairs import Pair, PairSet, hash_pairs, read_pairs
from training.data.split import split_classes
from training.source import open_pairs


@pytest.fixture
def red(tmp_path: Path) -> Path:
    """A picture, red.png, in a folder of its own."""
    plain_picture("red").save(tmp_path / "red.png")
    return tmp_path / "red.png"


def test_rows_without_caption_or_image_are_counted_and_left_out(red: Path) -> None:
    table = red.with_name("pairs.csv")
    table.write_text("\ufefffile,text\nred.png, a  red \npicture.png,gone\nred.png,\nred.png,\u200b \n,x\n")
    found = read_pairs(table, Keys.of(image="file", caption="text"))
    assert found.pairs == [Pair(red, ("a red",))]
    assert (found.without_caption, found.without_image) == (2, 2)


def test_a_tsv_is_cut_at_tabs(red: Path) -> None:
    table = red.with_name("pairs.tsv")
    table.write_text("image\ttitle\nred.png\tred, and round\n")
    assert read_pairs(table).pairs == [Pair(red, ("red, and round",))]


def test_several_columns_are_several_captions(red: Path) -> None:
    table = red.with_name("pairs.csv")
    table.write_text(
        "image,title,colour,kind,not,nor\n"
        "red.png,a shirt,red,shirt,a blouse,A  Shirt\n"
        "red.png,,red,shirt,,\n"
        "red.png,red,red,,,a skirt\n"
        "red.png\n"
    )
    found = read_pairs(table, Keys.of(caption="title, colour", label="kind", negative="not,nor"))
    assert found.pairs == [
        Pair(red, ("a shirt", "red"), "shirt", ("a blouse",)),  # "A Shirt" is the caption itself
        Pair(red, ("red",), "shirt"),
        Pair(red, ("red",), None, ("a skirt",)),
    ]
    assert found.without_caption == 1


def test_json_lines_hold_texts_and_lists_of_texts(red: Path) -> None:
    table = red.with_name("pairs.jsonl")
    rows = [
        {"image": "red.png", "title": [" red ", "rot", "red", "", None], "kind": 3, "wrong": "blue"},
        {"image": str(red), "title": 1984, "wrong": ["white", "1984"]},
        {"image": "red.png", "title": {"en": "red"}},
        {"image": 5, "title": "red"},
        {"title": "red \ud800"},
    ]
    table.write_text("\n\n".join(json.dumps(row) for row in rows))
    found = read_pairs(table, Keys.of(label="kind", negative="wrong"))
    assert found.pairs == [Pair(red, ("red", "rot"), "3", ("blue",)), Pair(red, ("1984",), None, ("white",))]
    assert (found.without_caption, found.without_image) == (1, 2)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.csv",
            "a,b\n1,2\n",
            'no column "image" nor "title"; it has a, b. Choose them with --image-key and --caption-key',
        ),
        (
            "a.csv",
            "Image,Caption 1,Caption 2\n",
            "Choose them with --image-key Image --caption-key 'Caption 1,Caption 2'",
        ),
        ("a.csv", "image;Captions$1\n", """Choose one with --caption-key 'Captions$1'"""),
        ("a.json", '[{"image": "1", "cap\\ntion": 2}]', "Choose one with --caption-key"),
        ("a.csv", "image_name| comment_number| comment\n", "with --image-key image_name --caption-key comment"),
        (
            "a.csv",
            "filepath\ttitle\n",
            'no column "image"; it has filepath, title. Choose one with --image-key filepath',
        ),
        ("a.txt", "1.jpg#0\ta red cat\n", "the name of an image: put a line above it that names the columns"),
        (
            "a.json",
            '{"1.jpg": "a red cat"}',
            'write an object an image instead, as {"image": "1.jpg", "title": ["a cat"]}',
        ),
        ("a.yaml", "- image: 1.jpg\n  title: x\n", "is it YAML? A table is CSV, TSV or JSON Lines"),
        ("a.csv", "<html><table><tr><td>image", "a web page; save its table as CSV"),
        ("a.csv", "image,title\nhttps://a.b/1.jpg,x\n", "addresses are not fetched: download the images first"),
        ("a.csv", "image,title\nC:\\a\\1.jpg,x\n", "these are whole paths, of another place"),
        ("a.csv", "image,title\n/nowhere/1.jpg,x\n", "these are whole paths, of another place"),
        ("a.csv", "image,b\n1,2\n", 'no column "title"; it has image, b. Choose one with --caption-key'),
        (
            "a.csv",
            "image,title\ngone.png,x\n",
            "1 of 1 rows whose image is not there, the first: gone.png (line 2). Images are looked for from",
        ),
        ("a.csv", "", "a.csv: the file is empty"),
        ("a.csv", "\n\n", 'no column "image" nor "title"; it has none'),
        ("a.csv", None, "cannot be read as a table (no such file or directory)"),
        ("a.csv", "image,title\n1,2,3\n\n4,5,6\n", "2 of 2 rows with more cells than the header"),
        ("a.csv", 'image,title\nred.png,2\n3,4\n5,"6\n7,8\n', "the row that starts at line 4 cannot be read"),
        ("a.csv", "".join(f"{i}," for i in range(999)), "it has 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 990 more. Choose"),
        ("a.csv", "image,title,title\n1,2,3\n", '2 columns are named "title"; rename all but one'),
        ("a.csv", 'image,title\n1,"a\nb"\n\n2,"' + "x" * 200_000, "1 of 2 rows with a broken quote, the first: line 5"),
        ("a.csv", f'image,"{"x" * 200_000}', "the row that starts at line 1 cannot be read"),
        ("a.jsonl", '{"image": "1"}\n{"b": 2}\n', 'no column "title"; it has image, b. Choose one with --caption-key'),
        ("a.jsonl", '{"image": "1", "title": "x"}\n\n{"image"\n', "line 3 cannot be read as JSON"),
        ("a.jsonl", "[1]", "item 1 is not a JSON object"),
        ("a.json", '[{"image": "1"}, ', "begins as a JSON array and is none"),
        ("a.json", '{"info": 1, "images": [], "annotations": []}', "(a COCO file: write an object an image instead"),
        ("a.json", "[" * 100_000, "begins as a JSON array and is none (too deep)"),
        ("a.jsonl", None, "cannot be read as a table"),
    ],
)
def test_unusable_tables_say_what_to_do(name: str, content: str | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError) as caught:
        read_pairs(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["latin.csv", "latin.jsonl", "texts.tar"])
def test_what_is_no_text_is_no_table(name: str, red: Path) -> None:
    red.with_name("latin.csv").write_bytes("image,title\nred.png,café\n".encode("latin-1"))
    red.with_name("latin.jsonl").write_bytes('{"title": "café"}\n'.encode("latin-1"))
    red.with_name("text").write_text("all of it is UTF-8")
    with tarfile.open(red.with_name("texts.tar"), "w") as tar:
        tar.add(red.with_name("text"), "text")
    with pytest.raises(
        InputError,
        match=rf"{name}: not text in UTF-8( \(line [12]\))?; save it as UTF-8 .*, or give a table.*image,title",
    ):
        read_pairs(red.with_name(name))


def test_columns_that_nobody_asks_for_may_repeat(red: Path) -> None:
    red.with_name("pairs.csv").write_text("image,,title,\nred.png,1,red,2\n")
    assert read_pairs(red.with_name("pairs.csv")).pairs == [Pair(red, ("red",))]


@pytest.mark.parametrize("key", ["", " , ", ","])
def test_captions_need_a_column(key: str, red: Path) -> None:
    red.with_name("pairs.csv").write_text("image,title,\nred.png,red,x\n")
    with pytest.raises(InputError, match=f'--caption-key "{key}" names no column'):
        open_pairs(str(red.with_name("pairs.csv")), Keys.of(caption=key))
    assert read_pairs(red.with_name("pairs.csv"), Keys.of(caption="title, ")).pairs == [Pair(red, ("red",))]


@pytest.mark.parametrize("flag", ["label", "negative"])
def test_a_column_that_is_asked_for_must_be_there(flag: str, red: Path) -> None:
    red.with_name("pairs.csv").write_text("image,title\nred.png,red\n")
    with pytest.raises(InputError, match=f'no column "kind".*--{flag}-key'):
        read_pairs(red.with_name("pairs.csv"), Keys.of(**{flag: "kind"}))


def test_captions_lie_beside_images(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / ".hidden").mkdir()
    for name in ("a.png", "deep/b.c.jpg", "empty.png", "bare.png", "latin.png"):
        plain_picture("red").save(tmp_path / name)
    (tmp_path / "a.txt").write_text("\ufeff one  caption\n\nanother\none caption\n")
    (tmp_path / "deep/b.c.txt").write_text("third")
    (tmp_path / "empty.txt").write_text(" \n")
    (tmp_path / "latin.txt").write_bytes(b"\xe9\xe8")
    (tmp_path / "deep/lone.txt").write_text("no image")
    (tmp_path / ".hidden/lone.txt").write_text("not looked at")
    found = read_sidecars(tmp_path)
    assert found.pairs == [
        Pair(tmp_path / "a.png", ("one caption", "another")),
        Pair(tmp_path / "deep/b.c.jpg", ("third",)),
    ]
    assert (found.without_caption, found.without_image) == (3, 1)
    assert open_pairs(str(tmp_path)) == found


def test_captions_in_what_is_excluded_are_not_said_to_lack_an_image(tmp_path: Path) -> None:
    for name in ("a/1", "b/2", "node_modules/x/3", "c/4"):
        (tmp_path / name).parent.mkdir(parents=True)
        plain_picture("red").save(tmp_path / f"{name}.png")
        (tmp_path / f"{name}.txt").write_text("red")
    (tmp_path / "a/lone.txt").write_text("no image")
    found = read_sidecars(tmp_path, Rules(exclude=("b", "c/*.png")))
    assert [pair.image for pair in found.pairs] == [tmp_path / "a/1.png"]
    assert found.left_out.found["texts without image"] == (1, f"{tmp_path}/a/lone.txt")


def test_captions_go_by_several_names_and_encodings(tmp_path: Path) -> None:
    texts = {
        "a.txt": "plain", "b.TXT": "capitals", "c.png.txt": "behind", "d.caption": "caption", "e.txt": "marked",
        "f.txt": "one", "f.caption": "two", "caf\u00e9.txt": "composed",
    }  # fmt: skip
    for name, text in texts.items():
        (tmp_path / name).write_text(text, encoding="utf-16" if name == "e.txt" else "utf-8")
    for name in ("a", "b", "c", "d", "e", "f", "cafe\u0301"):
        plain_picture("red").save(tmp_path / f"{name}.png")
    found = read_sidecars(tmp_path)
    assert sorted(caption for pair in found.pairs for caption in pair.captions) == sorted(texts.values())
    assert found.left_out.count() == 0
    for name in texts:
        (tmp_path / name).write_bytes(b"caf\xe9")
    with pytest.raises(InputError, match=rf"8 texts that are not in UTF-8, the first: {tmp_path}/a.txt; 7 of 7 images"):
        read_sidecars(tmp_path)


def test_a_class_that_cannot_be_entered_stops_and_one_without_images_is_named(
    colour_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (colour_folder / "empty").mkdir()
    (colour_folder / "linked").symlink_to(tmp_path)
    (colour_folder / "red/dangling.png").symlink_to(tmp_path / "nowhere.png")
    (colour_folder / "@eaDir").mkdir()
    (colour_folder / "blue").rename(colour_folder / "later")
    images, left_out = labelled_images(colour_folder, Rules(("later",)))
    assert {label for _, label in images} == {"red", "green"}
    assert left_out.found["names by --exclude"] == (1, f"{colour_folder}/later")
    assert left_out.found["folders named @eaDir, which is not photos"] == (1, f"{colour_folder}/@eaDir")
    assert left_out.found["class folders without images"] == (2, f"{colour_folder}/empty")
    (colour_folder / "later").rename(colour_folder / "blue")
    (colour_folder / "@eaDir").rmdir()
    images, left_out = labelled_images(colour_folder)
    assert len(images) == 12
    assert left_out.found == {
        "files that cannot be read": (1, f"{colour_folder}/red/dangling.png (a link that leads nowhere)"),
        "class folders without images": (2, f"{colour_folder}/empty"),
        "linked folders (--follow-links follows them)": (1, f"{colour_folder}/linked"),
    }
    scandir = os.scandir

    def refuse(path: str | Path) -> Any:
        if str(path).endswith("red"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(InputError, match=rf"{colour_folder}/red: cannot be entered \(Permission denied\)"):
        read_class_folders(colour_folder)
    (colour_folder / "green/0.txt").write_text("of a folder that can be entered")
    locked = "files and folders that cannot be read"
    assert read_sidecars(colour_folder).left_out.found[locked] == (1, f"{colour_folder}/red (Permission denied)")


def test_labels_need_not_be_utf8(colour_folder: Path) -> None:
    (colour_folder / "red").rename(colour_folder / "caf\udce9")
    pairs = read_class_folders(colour_folder).pairs
    train, val = split_classes(pairs, 0.25, 0)
    assert (len(train), len(val)) == (9, 3)
    assert split_classes(pairs, 0.25, 0) == (train, val)


def test_a_folder_without_captions_names_three_remedies(colour_folder: Path) -> None:
    with pytest.raises(InputError) as caught:
        open_pairs(str(colour_folder))
    assert all(remedy in str(caught.value) for remedy in ("--folders", "CSV", "--loss nt-xent"))


def test_class_folders_are_labels_with_templates(colour_folder: Path) -> None:
    (colour_folder / "red").rename(colour_folder / "dark_red")
    (colour_folder / "dark_red/deep").mkdir()
    (colour_folder / "dark_red/0.png").rename(colour_folder / "dark_red/deep/0.png")
    plain_picture("black").save(colour_folder / "loose.png")
    found = read_class_folders(colour_folder, ["a {} thing", "{}"])
    of_red = {pair.image: pair for pair in found.pairs if pair.label == "dark_red"}
    assert of_red[colour_folder / "dark_red/deep/0.png"].captions == ("a dark red thing", "dark red")
    assert (len(of_red), len(found.pairs)) == (4, 12)
    assert found.left_out.found == {"images in no class folder": (1, str(colour_folder / "loose.png"))}
    assert {pair.label for pair in found.pairs} == {"dark_red", "green", "blue"}
    by_default = open_pairs(str(colour_folder), folders=True)
    assert by_default.pairs[0].captions == tuple(text.replace("{}", "blue") for text in DEFAULT_TEMPLATES)


def test_class_folders_of_one_name_in_two_forms_are_one_class(colour_folder: Path) -> None:
    (colour_folder / "red").rename(colour_folder / "caf\u00e9")
    (colour_folder / "green").rename(colour_folder / "cafe\u0301")
    found = read_class_folders(colour_folder)
    assert sorted(str(pair.label) for pair in found.pairs) == ["blue"] * 4 + ["caf\u00e9"] * 8
    assert not found.left_out.found


def test_unusable_class_folders_say_why(tmp_path: Path) -> None:
    plain_picture("red").save(tmp_path / "1.png")
    with pytest.raises(InputError, match="no images in class folders"):
        read_class_folders(tmp_path)
    (tmp_path / "red").mkdir()
    plain_picture("red").save(tmp_path / "red/1.png")
    with pytest.raises(InputError, match=r"one class only \(red\)"):
        read_class_folders(tmp_path)
    with pytest.raises(InputError, match=r"has no \{\}"):
        read_class_folders(tmp_path, ["a photo"])
    with pytest.raises(InputError, match="--folders takes a folder"):
        open_pairs(str(tmp_path / "1.png"), folders=True)
    with pytest.raises(InputError, match="no such folder"):
        read_class_folders(tmp_path / "gone")


def test_parts_of_a_data_set_are_no_classes(colour_folder: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    for part in ("train", "Val"):
        shutil.copytree(colour_folder, whole / part)
    with pytest.raises(
        InputError,
        match=rf"its folders Val, train are parts of a data set, not classes; give one of them, as {whole}/train",
    ):
        read_class_folders(whole)
    assert len(read_class_folders(whole / "train").pairs) == 12
    (whole / "Val").rename(whole / "bus")  # a train may well be one
    assert {pair.label for pair in read_class_folders(whole).pairs} == {"bus", "train"}
    shutil.rmtree(whole / "bus")
    (whole / "train").rename(whole / "Images")
    with pytest.raises(
        InputError, match=rf"one class only \(Images\); .*; if the classes .* in it, give {whole}/Images"
    ):
        read_class_folders(whole)


def test_boxes_of_objects_are_no_captions(colour_folder: Path, tmp_path: Path) -> None:
    folder = colour_folder / "red"
    for number, image in enumerate(sorted(folder.glob("*.png"))):
        image.with_suffix(".txt").write_text(f"{number} 0.5 0.25 1 0.1\n0 0.5 0.5 1e-05 1\n")
    with pytest.raises(
        InputError, match=r"texts with boxes of objects, as YOLO has them, and no caption, the first: .*0.txt"
    ):
        read_sidecars(folder)
    (folder / "0.txt").write_text("1984 was red\n5 4 3 2 1 0 go\n")
    found = read_sidecars(folder)
    assert found.pairs[0].captions == ("1984 was red", "5 4 3 2 1 0 go")
    assert found.without_caption == 3


def test_a_table_in_a_folder_is_offered(colour_folder: Path) -> None:
    (colour_folder / "red" / "metadata.csv").touch()
    with pytest.raises(InputError, match=rf"{colour_folder}/red/metadata.csv instead of it"):
        read_sidecars(colour_folder)
    (colour_folder / "metadata.jsonl").touch()
    with pytest.raises(InputError, match=rf"{colour_folder}/metadata.jsonl instead of it"):
        read_sidecars(colour_folder)


def test_images_alone_need_no_captions(colour_folder: Path) -> None:
    found = open_pairs(str(colour_folder), images_only=True)
    assert found == read_images(colour_folder)
    assert found.pairs[0] == Pair(colour_folder / "blue/0.png")
    assert len(found.pairs) == 12
    labelled = open_pairs(str(colour_folder), images_only=True, folders=True)
    assert labelled.pairs[0] == Pair(colour_folder / "blue/0.png", label="blue")
    table = colour_folder / "pairs.csv"
    table.write_text("image,other\nred/0.png,x\nblue/../red/0.png,y\nred/1.png,\ngone.png,\n")
    of_table = open_pairs(str(table), Keys.of(negative="nowhere"), images_only=True)
    assert of_table.pairs == [Pair(colour_folder / "red/0.png"), Pair(colour_folder / "red/1.png")]
    assert (of_table.without_caption, of_table.without_image) == (0, 1)
    assert of_table.left_out.count("an image that is there already") == 1


@pytest.mark.parametrize("read", [read_images, read_sidecars, read_class_folders])
def test_a_folder_without_images_says_so(read: Callable[[Path], PairSet], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no images in it$"):
        read(tmp_path)
    for suffix in (".tgz", ".tar"):
        (tmp_path / f"000{suffix}").touch()
        with pytest.raises(InputError, match=rf"no images in it; for the shards there give '.*/\*\{suffix}'$"):
            read(tmp_path)


def test_shards_are_known_by_their_name() -> None:
    assert is_shards("shards/{000..009}.tar")
    assert is_shards("shards/*.tar")
    assert not is_shards("pairs.csv")
    assert not is_shards("a.tar/pairs.csv")


def test_every_field_of_every_pair_is_in_the_hash(red: Path) -> None:
    pair = Pair(red, ("one", "two"), "label", ("wrong",))
    others = [
        replace(pair, image=red.with_name("blue.png")),
        replace(pair, image=red.read_bytes()),
        replace(pair, captions=("one",)),
        replace(pair, captions=("two", "one")),
        replace(pair, label=None),
        replace(pair, label=""),
        replace(pair, negatives=()),
        replace(pair, captions=("one", "two", "wrong"), negatives=()),
    ]
    hashes = {hash_pairs([pair, other]) for other in (pair, *others)} | {hash_pairs([others[0], pair])}
    assert len(hashes) == 10
    assert hash_pairs([replace(pair)]) == hash_pairs([pair])
