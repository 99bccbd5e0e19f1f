"""What a command could not use: counted and the first named, in words and in JSON; texts that a model cuts."""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest
from tiny_world import plain_picture

from base.errors import InputError
from encoder.model.dual_encoder import DualEncoder
from encoder.zero_shot.classifier import build_classifier
from glimpse.cli import perform

LONG = " ".join(["word"] * 95)
CUT = "texts are cut after 77 tokens, for the model reads no more, the first: "


@pytest.fixture
def glimpse(tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run a command in this process; what it says on stdout and on stderr."""
    monkeypatch.setenv("GLIMPSE_MODEL", str(tiny_run))
    monkeypatch.setenv("GLIMPSE_DEVICE", "cpu")
    monkeypatch.setenv("GLIMPSE_DATA", str(tmp_path / "data"))

    def run(*arguments: str | Path) -> tuple[str, str]:
        capsys.readouterr()
        assert not perform([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return said.out, said.err

    return run


def test_eval_says_what_it_did_not_measure(glimpse: Any, tmp_path: Path) -> None:
    for name in ("a", "b"):
        plain_picture("red" if name == "a" else "blue").save(tmp_path / f"{name}.png")
    table = tmp_path / "pairs.txt"
    table.write_text(
        f"image;title\na.png;red\nelse/1.png;x\nelse/2.png;x\nb.png;\nb.png;{LONG} one\nb.png;{LONG} two\n"
    )
    out, err = glimpse("eval", "--pairs", table)
    assert "2 images, 3 texts (3 left out)" in out
    assert err.splitlines() == [
        "left out: 2 of 6 rows whose image is not there, the first: else/1.png (line 3)",
        "left out: 1 of 6 rows without caption, the first: b.png (line 5)",
        f'warning: 2 of 3 {CUT}"{LONG[:57]}..."; 1 of them are the same as another up to there',
    ]
    content = json.loads(glimpse("eval", "--pairs", table, "--json")[0])
    assert [(reason["count"], reason["first"]) for reason in content["left_out"]] == [
        (2, "else/1.png (line 3)"),
        (1, "b.png (line 5)"),
    ]
    assert content["cut_texts"] == 2


def test_eval_takes_labels_as_label_does(glimpse: Any, colour_folder: Path, tmp_path: Path) -> None:
    (colour_folder / "empty").mkdir()
    labels = tmp_path / "labels.txt"
    labels.write_text("red\ngreen\nblue\nviolet\n", encoding="utf-16")
    by_file = json.loads(glimpse("eval", "--folders", colour_folder, "--labels-file", labels, "--json")[0])
    by_name = json.loads(glimpse("eval", "--folders", colour_folder, "--labels", "red,green,blue,violet", "--json")[0])
    assert by_file == by_name
    unused = {"reason": "class folders without images", "count": 1, "first": str(colour_folder / "empty")}
    assert by_file["left_out"] == [unused]
    for image in (colour_folder / "green").iterdir():
        image.write_bytes(b"broken")
    out, err = glimpse("eval", "--folders", colour_folder)
    assert out.startswith("8 images (6 left out): top-1 ")
    assert "left out: 1 classes without an image that can be read, the first: green\n" in err
    with pytest.raises(InputError, match="that is a file; give it by --labels-file"):
        glimpse("eval", "--folders", colour_folder, "--labels", labels)
    with pytest.raises(
        InputError, match=r"class 'blue' is none of the labels \(Blue, green, red\); name each by its folder's"
    ):
        glimpse("eval", "--folders", colour_folder, "--labels", "Blue,green,red")
    with pytest.raises(InputError, match="go with --folders"):
        glimpse("eval", "--pairs", labels, "--labels", "red,green")
    for name, content, message in (
        ("a.csv", "name,description\nred,x\n", 'no column "label"'),
        ("a.json", '{"red": 1}', "line 1 has red; a label has name, synonyms and prompts"),
        ("a.txt", b"caf\xe9", "it is not UTF-8"),
    ):
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(InputError, match=message):
            glimpse("label", colour_folder, "--labels-file", tmp_path / name)


def test_index_says_which_rows_name_none_of_its_images(glimpse: Any, colour_folder: Path) -> None:
    table = colour_folder / "captions.jsonl"
    rows = [{"image": "red/0.png", "title": "red"}, *({"image": f"else/{i}.png", "title": "x"} for i in range(3))]
    table.write_text("\n".join(map(json.dumps, rows)))
    out, err = glimpse("index", colour_folder, "--captions", table, "--json")
    line = "3 of 4 rows name no image of these folders, the first: else/0.png (line 2)"
    assert err == f"left out: {line}\n"
    reason = {"reason": "rows name no image of these folders", "count": 3, "first": "else/0.png (line 2)"}
    assert json.loads(out)["left_out"] == [reason]
    table.write_text("\n".join(map(json.dumps, rows[1:])))
    none = "3 of 3 rows name no image of these folders (relative names start at the table's folder, or at one of these)"
    assert f"{none}, the first: else/0.png" in glimpse("index", colour_folder, "--captions", table)[1]
    (elsewhere := colour_folder.parent / "tables" / "captions.jsonl").parent.mkdir()
    elsewhere.write_text("\n".join(map(json.dumps, rows)))
    assert "3 of 4 rows name no image" in glimpse("index", colour_folder, "--captions", elsewhere)[1]
    assert f'warning: 1 of 1 {CUT}"{LONG[:57]}..."\n' in glimpse("search", LONG)[1]
    assert "are cut" not in glimpse("search", "a short one")[1]


def test_rows_name_images_as_the_system_that_wrote_them_does(glimpse: Any, tmp_path: Path) -> None:
    (tmp_path / "Photos").mkdir()
    plain_picture("red").save(tmp_path / "Photos/My Red.PNG")
    plain_picture("blue").save(tmp_path / "Photos/blue.png")
    table = tmp_path / "pairs.jsonl"
    rows = [{"image": "PHOTOS\\my red.png", "title": "red"}, {"image": "Photos/%62lue.png", "title": "blue"}]
    table.write_text("\n".join(map(json.dumps, rows)) + '\n{"image": "Photos/blue.png", \n')
    with pytest.raises(
        InputError, match=r"line 3 cannot be read as JSON \(from column 29 on\); each line holds one object"
    ):
        glimpse("eval", "--pairs", table)
    table.write_text("\n".join(map(json.dumps, rows)))
    assert "2 images, 2 texts" in glimpse("eval", "--pairs", table)[0]
    _, err = glimpse("index", tmp_path / "Photos", "--captions", table)
    assert "rows name no image" not in err
    titled = '{"must": [{"key": "title", "match": {"any": ["red", "blue"]}}]}'
    assert len(json.loads(glimpse("search", "red", "--filter", titled, "--json")[0])["hits"]) == 2


def test_index_says_once_what_it_leaves_out_and_a_link_in_a_circle_is_a_row_like_any(
    glimpse: Any, colour_folder: Path
) -> None:
    (colour_folder / "drawing.svg").write_text("<svg/>")
    (colour_folder / "loop.png").symlink_to("loop.png")
    table = colour_folder / "table.csv"
    table.write_text("image,title,\nloop.png,a,b\nred/0.png,c,d\n")
    _, err = glimpse("index", colour_folder, "--captions", table)
    assert len([line for line in err.splitlines() if ".svg files" in line]) == 1
    assert len([line for line in err.splitlines() if "rows name no image" in line]) == 1
    titled = '{"must": [{"key": "title", "match": {"any": ["a", "c"]}}]}'
    (hit,) = json.loads(glimpse("search", "red", "--filter", titled, "--json")[0])["hits"]
    assert hit["metadata"] == {"title": "c"}


def test_train_says_what_it_cannot_use(glimpse: Any, tiny_run: Path, tmp_path: Path) -> None:
    for i in range(8):
        plain_picture("red", i).save(tmp_path / f"{i}.png")
        (tmp_path / f"{i}.caption").write_text(f"{LONG} {i}")
    (tmp_path / "7.caption").write_bytes(b"caf\xe9")
    (tmp_path / "0.png").write_bytes(b"broken")
    probe = tmp_path / "probe.csv"
    probe.write_text("image,title\n1.png,one\n2.png,two\ngone.png,three\n")
    run = ("--model", tiny_run, "--no-interpolate", "--epochs", "1", "--batch-size", "3", "--val-fraction", "0.4")
    out, err = glimpse("train", tmp_path, "--out", tmp_path / "run", *run, "--probe", probe, "--json")
    said = json.loads(out)
    assert {reason["reason"]: reason["count"] for reason in said["left_out"]} == {
        "texts that are not in UTF-8": 1,
        "images without caption": 1,
    }
    assert [Path(skipped.split(":")[0]).name for skipped in said["unreadable"]] == ["0.png"]
    assert f"left out: 1 of 8 images without caption, the first: {tmp_path / '7.png'}\n" in err
    assert any(f"Long captions: 7 of 7 {CUT}" in warning for warning in said["warnings"])
    assert any("Probe not whole: 1 of 3 rows whose image is not there" in warning for warning in said["warnings"])


def test_shards_may_be_packed_and_have_captions_by_their_other_name(
    glimpse: Any, tiny_run: Path, tmp_path: Path
) -> None:
    for shard in range(2):
        with tarfile.open(tmp_path / f"{shard}.tar.gz", "w:gz") as tar:
            for i in range(6):
                picture = io.BytesIO()
                plain_picture("red", 9 * shard + i).save(picture, "PNG")
                for suffix, data in (("PNG", picture.getvalue()), ("caption", b"number %d of %d" % (i, shard))):
                    member = tarfile.TarInfo(f"{shard}{i}.{suffix}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
    shards = str(tmp_path / "{0..1}.tar.gz")
    run = ("--model", tiny_run, "--no-interpolate", "--epochs", "1", "--batch-size", "3", "--json")
    out, err = glimpse("train", shards, "--out", tmp_path / "run", *run)
    assert "6 pairs to train on, 6 held out" in err
    assert json.loads(out)["left_out"] == []
    glimpse("embed", shards, "--out", tmp_path / "vectors")
    glimpse("collections", "import", tmp_path / "vectors", "shards")
    said = '{"must": [{"key": "caption", "match": {"value": "number 2 of 1"}}]}'
    (hit,) = json.loads(glimpse("search", "red", "-c", "shards", "--filter", said, "--json")[0])["hits"]
    assert hit["path"] == f"{tmp_path}/1.tar.gz/12.png"


def test_train_takes_class_folders_of_any_bytes(
    glimpse: Any, tiny_run: Path, colour_folder: Path, tmp_path: Path
) -> None:
    (colour_folder / "red").rename(os.fsdecode(os.fsencode(colour_folder) + b"/caf\xe9"))
    run = ("--model", tiny_run, "--no-interpolate", "--epochs", "1", "--batch-size", "3", "--json")
    out, _ = glimpse("train", "--folders", colour_folder, "--out", tmp_path / "classes", *run)
    assert set(json.loads(out)["epochs"][0]["per_class"]) == {"blue", "caf\udce9", "green"}
    glimpse("train", "--loss", "nt-xent", colour_folder, "--out", tmp_path / "views", *run)


def test_labels_that_a_model_cannot_tell_apart_are_refused(encoder: DualEncoder) -> None:
    assert encoder.cut_texts([LONG, "short", LONG[: 5 * 75]]).read.keys() == {LONG}  # 75 words are just all read
    with pytest.raises(InputError, match="are the same to the model, which reads 77 tokens of a prompt; reword one"):
        build_classifier(encoder, ["cat", f"{LONG} one", f"{LONG} two"])
    with pytest.raises(InputError, match='"dark_red" and "dark red" are the same to the model; reword one'):
        build_classifier(encoder, ["dark_red", "dark red"])
    for one, other in (("cat", "Cat"), ("caf\u00e9", "cafe\u0301"), ("fish  bowl", "fish bowl")):
        with pytest.raises(InputError, match=f'"{one}" and "{other}" are the same to the model; reword one'):
            build_classifier(encoder, ["cow", one, other])
    assert build_classifier(encoder, ["cat", f"one {LONG}", f"two {LONG}"]).labels[1].startswith("one")
