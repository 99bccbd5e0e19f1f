"""`glimpse label` by the installed command: its outputs for odd names, its refusals, and what it leaves as it was."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from glimpse_here import glimpse_here
from label_world import tree
from tiny_world import plain_picture

from base.errors import InputError, RunNotFound
from glimpse.cli import perform
from index.ingest.sync import index_folders, open_or_create
from labelling.label_sets import LabelSet, LabelSets
from labelling.learned import Learned

GLIMPSE = Path(sys.executable).with_name("glimpse")
LABELS = ["salt, or pepper", 'a "quoted" one', "=1+cmd()", "🐈", "\u05d0\u05d1", "caf\u00e9", "animal/dog"]
NAMES = [
    "=cmd.png",
    "a,b.png",
    'q"q.png',
    "new\nline.png",
    "🐈.png",
    "\u05d0.png",
    "e\u0301.png",
    "\u00e9.png",
    "-x.png",
]


def call(*arguments: object) -> int:
    """Run a command in this process; its exit code."""
    return perform([str(argument) for argument in arguments])


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for i, name in enumerate(NAMES):
        plain_picture(["red", "green", "blue"][i % 3], i).save(folder / name)
    with open(os.path.join(os.fsencode(folder), b"bad\xff.png"), "wb") as file:  # noqa: PTH118, PTH123
        plain_picture("white").save(file, "PNG")
    return folder


@pytest.fixture
def label(tmp_path: Path, photos: Path, tiny_run: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Labels the photos, or what is given instead; its --json, or the code that it exits with."""
    names = tmp_path / "labels.json"
    names.write_text(json.dumps(LABELS))

    def run(*arguments: object, folder: Path | None = photos, code: int = 0) -> Any:
        capsys.readouterr()
        where = [folder] if folder else []
        model = ["--model", tiny_run] if folder else []
        given = ("--labels-file", names, "--data", tmp_path / "data", "--json")
        assert call("label", *where, *model, *given, *arguments) == code
        return json.loads(capsys.readouterr().out)

    return run


def test_every_output_holds_every_name_and_label(label: Callable[..., Any], photos: Path, tmp_path: Path) -> None:
    files = [tmp_path / f"out.{kind}" for kind in ("csv", "jsonl", "parquet", "json")]
    to = tmp_path / "sorted"
    found = label(*(part for file in files for part in ("--out", file)), "--to", to, "--how", "symlink", "--xmp")
    n = len(NAMES) + 1
    assert found["labelled"] == n
    assert found["run"]["written"] == {str(file): n for file in files}
    paths = {os.fsencode(path) for path in photos.glob("*.png")}
    assert len(paths) == n

    text = files[0].read_bytes().decode("utf-8", "surrogateescape")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert {os.fsencode(row["path"]) for row in rows} == paths
    assert {row["label"].removeprefix("'") for row in rows} <= set(LABELS)
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row.values())

    lines = [json.loads(line) for line in files[1].read_text("utf-8").splitlines()]
    assert {os.fsencode(line["path"]) for line in lines} == paths
    assert {line["labels"][0]["label"] for line in lines} <= set(LABELS)

    table = pq.read_table(files[2]).to_pylist()
    assert {row["path_bytes"] or row["path"].encode() for row in table} == paths
    assert [row["label"] for row in table] == [line["labels"][0]["label"] for line in lines]

    coco = json.loads(files[3].read_text("utf-8"))
    assert [category["name"] for category in coco["categories"]] == LABELS
    assert coco["categories"][-1]["supercategory"] == "animal"
    assert {image["file_name"] for image in coco["images"]} == {
        os.fsencode(path.name).decode(errors="replace") for path in photos.glob("*.png")
    }
    sizes = {image["id"]: (image["width"], image["height"]) for image in coco["images"]}
    for annotation, line in zip(coco["annotations"], lines, strict=True):
        assert LABELS[annotation["category_id"] - 1] == line["labels"][0]["label"]
        assert tuple(annotation["bbox"][2:]) == sizes[annotation["image_id"]] == (48, 40)

    links = [path for path in to.rglob("*.png") if path.is_symlink()]
    assert {os.fsencode(path.readlink()) for path in links} == paths
    assert len(list(photos.glob("*.png.xmp"))) == n


def test_a_second_run_reads_nothing_and_an_undo_leaves_nothing(
    label: Callable[..., Any], photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = tree(photos)
    asked = ("--to", tmp_path / "sorted", "--how", "move", "--xmp", "--out", tmp_path / "out.csv")
    foreseen = label(*asked, "--dry-run")["run"]
    assert tree(photos) == before
    assert label(*asked)["run"]["new"] == 0
    assert foreseen["outputs"][1]["done"]["moved"] == len(NAMES) + 1
    again = label(*asked)["run"]
    assert (again["new"], again["changed"], again["unchanged"]) == (0, 0, len(NAMES) + 1)
    assert all(output["done"] == {} for output in again["outputs"])
    assert call("label", "--runs", "--data", tmp_path / "data") == 0
    assert again["id"] in capsys.readouterr().out
    assert call("label", "--undo", "last", "--data", tmp_path / "data") == 0
    assert tree(photos) == before
    assert not (tmp_path / "sorted").exists()
    assert not (tmp_path / "out.csv").exists()


def test_a_name_that_fills_what_a_disk_takes_stops_no_other(
    label: Callable[..., Any], photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    longest = photos / f"{'x' * 251}.png"
    plain_picture("red").save(longest)
    found = label("--to", tmp_path / "sorted", "--xmp", code=1)  # no sidecar has a name so long
    assert {"copied": len(NAMES) + 2}.items() <= found["run"]["outputs"][1]["done"].items()
    [failed] = found["run"]["failed"]
    assert "is too long a name" in json.dumps(failed)
    assert len(list((tmp_path / "sorted").rglob(longest.name))) == 1
    assert call("label", "--undo", "last", "--data", tmp_path / "data") == 0
    assert not (tmp_path / "sorted").exists()


def test_a_collection_is_labelled_without_torch(photos: Path, tmp_path: Path, tiny_run: Path, encoder: Any) -> None:
    from encoder.query import keep_towers

    data, out = tmp_path / "data", tmp_path / "out.jsonl"
    with open_or_create(data, "photos", encoder) as collection:
        index_folders(collection, encoder, [photos])
    keep_towers(str(tiny_run), encoder.fingerprint)
    LabelSets(data).put("colours", LabelSet.of(["red", "green", "blue"]))
    command = ["label", "-c", "photos", "--label-set", "colours", "--data", str(data), "--write-metadata", "labels"]
    code = "import sys; sys.modules['torch'] = None; from glimpse.__main__ import main; sys.argv[0] = 'glimpse'; main()"
    env = {key: value for key, value in os.environ.items() if key not in ("GLIMPSE_DEVICE", "GLIMPSE_PRECISION")}
    done = subprocess.run(
        [sys.executable, "-c", code, *command, "--out", str(out), "--json"], capture_output=True, text=True, env=env
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    labelled = {line["path"]: line["labels"][0]["label"] for line in lines}
    assert len(labelled) == len(NAMES) + 1
    with open_or_create(data, "photos", encoder) as collection:
        assert {r.path: r.metadata["labels"][0] for r in collection.records("image")} == labelled
    rows = subprocess.run([GLIMPSE, *command[:-2]], capture_output=True, check=True, env=env).stdout  # keeps nothing
    assert rows.startswith(b"path,label,score\r\n")
    assert rows.count(b".png") == len(labelled)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--out", "{tmp}/theirs.csv"),
            "is there already, and not as this run wrote it; choose another name, or --force",
        ),
        (("--out", "{tmp}/labels.xlsx"), "no format has the suffix .xlsx; give .csv, .jsonl, .parquet, or .json"),
        (("--out", "{tmp}/none/labels.csv"), "there is no such folder"),
        (("--to", "{tmp}/theirs.csv"), "a file; give a folder"),
        (("--to", "{photos}"), "would be labelled in its turn; give another folder, or --how move"),
        (("--to", "{photos}/sorted", "--how", "hardlink"), "would be labelled in its turn"),
        (("--how", "move"), "--how goes with --to"),
        (("--write-metadata", "labels"), "label one, with --collection instead of a folder"),
        (("--xmp", "--embed"), "give one of them"),
        (("--sidecar", "stem"), "--sidecar goes with --xmp"),
        (
            ("--undo", "last"),
            "is about runs that are there already: leave --device, the folder, --labels, --model",
        ),
        (("--review", "last", "--dry-run"), "--review is about runs that are there already: leave"),
        (("--runs", "--xmp"), "--runs is about runs that are there already"),
        (("--multi", "--scores", "softmax"), "--scores is for one label an image"),
        (("--accept-above", "0.5"), "--accept-above goes with --review"),
        (("-c", "photos", "--any-name"), "--any-name is for a folder"),
        (("--undo", "last", "--url", "http://localhost:1"), "--undo cannot be asked of a service"),
        (("-c", "photos"), "give either a folder of images, or --collection NAME"),
    ],
)
def test_what_cannot_be_done_changes_nothing(
    photos: Path, tiny_run: Path, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    (tmp_path / "theirs.csv").write_text("theirs")
    before = tree(tmp_path)
    given = [argument.format(tmp=tmp_path, photos=photos) for argument in arguments]
    here = () if "--url" in arguments else ("--data", tmp_path / "data", "--model", tiny_run, "--device", "cpu")
    out = (
        ()
        if "--out" in arguments or {"--undo", "--review", "--runs"} & set(arguments)
        else ("--out", tmp_path / "out.csv")
    )
    with pytest.raises(InputError) as refused:
        call("label", photos, "--labels", "a,b", *here, *out, *given)
    assert message in str(refused.value)
    assert {path: what for path, what in tree(tmp_path).items() if not path.startswith(f"{tmp_path}/data")} == before


def test_a_run_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(RunNotFound, match="no labelling run 'no-such'"):
        call("label", "--undo", "no-such", "--data", tmp_path)


def test_a_file_to_write_is_the_same_however_its_folder_is_named(label: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    label("--out", tmp_path / "there" / ".." / "out.csv")
    again = label("--out", tmp_path / "out.csv")
    assert again["run"]["new"] == 0
    assert again["out"] == [str(tmp_path / "out.csv")]


def test_labels_go_into_what_is_no_file_and_leave_it_there(photos: Path, tiny_run: Path, tmp_path: Path) -> None:
    words = [GLIMPSE, "label", photos, "--model", tiny_run, "--labels", "red,blue", "--data", tmp_path / "data"]
    (tmp_path / "stdout").symlink_to("/proc/self/fd/1")  # as /dev/stdout is one
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    with (tmp_path / "all.csv").open("ab") as file:
        file.write(b"before\n")
        file.flush()
        for _ in range(2):
            subprocess.run([*words, "--out", tmp_path / "stdout", "--out", tmp_path / "pipe"], check=True, stdout=file)
    first, header, *rows = (tmp_path / "all.csv").read_bytes().split(b"\r\n")[0].split(b"\n")
    assert (first, header, rows) == (b"before", b"path,label,score", [])
    assert (tmp_path / "all.csv").read_bytes().count(b"path,label,score") == 2
    assert os.read(reader, 1 << 16).count(b"path,label,score") == 2
    os.close(reader)
    assert (tmp_path / "stdout").is_symlink()
    assert (tmp_path / "pipe").is_fifo()


def test_no_labels_go_into_a_file_that_only_this_process_has_open(label: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no open file of this process"):
        label("--out", "/dev/fd/987")
    assert not (tmp_path / "data" / "label-runs").exists()


def test_entries_that_were_deleted_since_stop_no_run_and_no_review(
    photos: Path, tmp_path: Path, tiny_run: Path, encoder: Any
) -> None:
    data, out = tmp_path / "data", tmp_path / "out.csv"
    with open_or_create(data, "photos", encoder) as collection:
        index_folders(collection, encoder, [photos])
        ids = [record.id for record in collection.records("image")]
    words = ["label", "-c", "photos", "--model", tiny_run, "--data", data, "--out", out]

    def delete(*gone: int) -> None:
        with open_or_create(data, "photos", encoder) as collection:
            collection.delete(gone)

    assert call(*words, "--labels", "red,green,blue") == 0
    delete(ids[0])
    for more in (["red,green"], ["red,green", "--abstain"], ["red,green", "--multi"]):  # these compare with a sample
        done = glimpse_here(*words, "--labels", *more, "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["run"]["gone"] == (more == ["red,green"])
        assert out.read_bytes().count(b".png") == len(ids) - 1
    with open_or_create(data, "photos", encoder) as collection:
        paths = {record.id: record.path for record in collection.records("image")}
    right = tmp_path / "right.csv"
    right.write_text(f"path,label\n{paths[ids[1]]},red\n{paths[ids[2]]},green\n")
    assert call("label", "--review", "last", "--correct", right, "--data", data) == 0
    delete(ids[1], ids[3])
    right.write_text(f"path,label\n{paths[ids[4]]},green\n")
    assert call("label", "--review", "last", "--correct", right, "--data", data) == 0
    assert call(*words, "--labels", "red,green") == 0
    assert out.read_bytes().count(b".png") == len(ids) - 3
    delete(*(key for key in paths if key not in (ids[1], ids[3])))
    assert call("label", "--review", "last", "--accept-above", "0", "--data", data) == 0


def test_a_dry_run_names_the_files_that_it_would_write(
    photos: Path, tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.csv"
    where = ("--out", out, "--data", tmp_path / "data", "--model", tiny_run, "--device", "cpu")
    assert call("label", photos, "--labels", "a,b", *where, "--dry-run") == 0
    assert f"{out}: would be written" in capsys.readouterr().err.replace("\n", "")
    assert not out.exists()


def test_a_dry_run_says_all_that_it_would_do(
    label: Callable[..., Any], photos: Path, tiny_run: Path, tmp_path: Path
) -> None:
    asked = ("--out", tmp_path / "out.csv", "--to", tmp_path / "sorted", "--dry-run")
    told = label(*asked)
    assert (told["out"], told["run"]["written"]) == ([], {})
    assert told["run"]["would_write"] == [str(tmp_path / "out.csv")]
    [folders] = told["run"]["outputs"]
    assert len(folders["first"]) == folders["done"]["copied"] == len(NAMES) + 1
    where = ("--data", tmp_path / "data", "--model", tiny_run, "--labels", "a,b")
    said = subprocess.run([GLIMPSE, "label", photos, *where, *asked], capture_output=True, check=True).stderr
    assert f"  ... and {len(NAMES) + 1 - 5} more; --json lists them all".encode() in said
    assert f"{tmp_path / 'sorted'}: would be".encode() in said
    told = label("--out", tmp_path / "out.csv")
    assert (told["out"], told["run"]["would_write"]) == ([str(tmp_path / "out.csv")], [])


def test_a_label_in_another_encoding_is_refused(tmp_path: Path, tiny_run: Path) -> None:
    plain_picture("red").save(tmp_path / "a.png")
    where = ["--data", tmp_path / "data", "--model", tiny_run, "--labels", b"caf\xe9,dog"]
    done = subprocess.run([GLIMPSE, "label", tmp_path, *where, "--out", tmp_path / "out.csv"], capture_output=True)
    assert done.returncode == 2
    assert done.stderr == b"glimpse: the label 'caf\\udce9' is not in UTF-8: write it anew, or name its folder anew\n"
    assert not (tmp_path / "out.csv").exists()


def test_one_image_is_no_images(tmp_path: Path, tiny_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain_picture("red").save(tmp_path / "a.png")
    where = ("--data", tmp_path / "data", "--model", tiny_run, "--labels", "a,b")
    assert call("label", tmp_path, *where, "--out", tmp_path / "out.csv", "--to", tmp_path / "s", "--how", "move") == 0
    said = capsys.readouterr().err
    assert "1 image labelled, 0 skipped" in said
    assert "2 folders made, 1 moved" in said
    assert "out.csv: 1 image\n" in said
    assert call("label", "--undo", "last", "--data", tmp_path / "data") == 0
    assert "2 changes taken back, 0 not" in capsys.readouterr().err


def test_labels_that_are_never_given_are_told(
    photos: Path, tiny_run: Path, encoder: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ("--label-set", "colours", "--data", tmp_path / "data", "--model", tiny_run, "--out", tmp_path / "out.csv")
    learned = Learned(encoder.fingerprint, temperature=1.0, thresholds=(1.01, 0.0), measured=None)
    labels = LabelSet.of(["red", "blue"], learned=learned)
    LabelSets(tmp_path / "data").put("colours", labels)
    call("label", photos, *where)
    assert "images get not red: measured by glimpse labels calibrate colours" in capsys.readouterr().err
    LabelSets(tmp_path / "data").put("colours", replace(labels, learned=replace(learned, thresholds=(1.01, 1.01))))
    call("label", photos, *where)
    said = capsys.readouterr().err
    assert "images get no label: measured by glimpse labels calibrate colours" in said
    assert "Calibrate with more images, or a lower --precision" in said
    call("label", photos, *where, "--multi")
    said = capsys.readouterr().err
    assert "label set colours was calibrated as it is kept: with --multi or --template it is not" in said
    assert "images get" not in said


def test_the_score_of_one_label_alone_is_how_far_an_image_is_it(
    photos: Path, tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("encoder.zero_shot.word_bank.MOST", 600)
    monkeypatch.setenv("GLIMPSE_CACHE", str(tmp_path / "cache"))
    for name, asked in (("rank", ()), ("softmax", ("--scores", "softmax"))):
        where = ("--data", tmp_path / "data", "--model", tiny_run, "--out", tmp_path / f"{name}.csv")
        call("label", photos, "--labels", "red", *where, *asked)
    texts = [(tmp_path / f"{name}.csv").read_text(errors="surrogateescape") for name in ("rank", "softmax")]
    rows = [list(csv.DictReader(io.StringIO(text, newline=""))) for text in texts]
    assert {row["score"] for row in rows[1]} == {"1.0000"}
    scores = {label: [float(row["score"]) for row in rows[0] if row["label"] == label] for label in ("red", "")}
    assert len({*scores["red"], *scores[""]}) > 1
    assert max(scores[""], default=0) <= min(scores["red"], default=1)  # it decides
    assert [row["label"] for row in rows[0]] == [row["label"] for row in rows[1]]


def test_the_help_begins_with_examples_and_has_groups() -> None:
    said = subprocess.run([GLIMPSE, "label", "--help"], capture_output=True, text=True, check=True).stdout
    assert said.index("Examples:") < said.index("Labels:\n") < said.index("Where labels go:\n")
    assert said.count("    glimpse label ") == 3
    groups = ["Labels", "Where labels go", "Runs and review", "What is read", "Model and machine", "Options"]
    assert [line[:-1] for line in said.splitlines() if line[:-1] in groups] == groups


def test_a_full_disk_ends_a_run_that_goes_on_or_is_taken_back(on_own_disk: Callable[[str], None]) -> None:
    on_own_disk("""
import tempfile
from pathlib import Path
import pytest
from base.errors import GlimpseError
from label_world import World, tree
world = World(Path(tempfile.mkdtemp()))
world.add_colours(20)
photos = [path for path in world.folder.rglob("*") if path.is_file()]
for path in photos:
    path.write_bytes(path.read_bytes() + bytes(20_000))
before = tree(world.folder)
world.to = disk / "sorted"
filler = disk / "filler"
with open(filler, "wb") as file, pytest.raises(OSError, match="No space"):
    file.write(bytes(8 << 20))
with open(filler, "r+b") as file:
    file.truncate(filler.stat().st_size - 400_000)
with pytest.raises(GlimpseError, match="is full; free some space, and the same command goes on. What is done by now"):
    world.run(to=str(world.to), how="move")
assert 0 < len(world.sorted()) < len(photos)
assert len(world.sorted()) + sum(path.exists() for path in photos) == len(photos)
assert not world.undo().failed
assert tree(world.folder) == before
filler.unlink()
world.run(to=str(world.to), how="move")
assert len(world.sorted()) == len(photos)
""")


def test_a_full_disk_is_called_full_when_a_run_is_opened(on_own_disk: Callable[[str], None]) -> None:
    on_own_disk("""
import pytest
from base.errors import GlimpseError
from labelling.runs.store import RunStore
store = disk / "run.sqlite"
RunStore(store).close()
with open(disk / "filler", "wb") as file, pytest.raises(OSError, match="No space"):
    file.write(bytes(8 << 20))
with pytest.raises(GlimpseError, match="the disk is full; free some space, and the same command goes on"):
    RunStore(store)
(disk / "filler").unlink()
RunStore(store).close()
""")


def test_a_disk_that_is_read_only_ends_a_run_that_another_finishes(
    on_own_disk: Callable[[str], None], tmp_path: Path
) -> None:
    on_own_disk(
        """
import tempfile
from pathlib import Path
import pytest
from labelling.runs.report import Going
from label_world import World, tree
world = World(Path(tempfile.mkdtemp()))
world.folder = disk / "photos"
world.folder.mkdir()
world.add_colours(2)
world.run(to=str(world.to), how="move", going=Going(dry=True))
before = tree(disk)
mount("-o", "remount,ro")
with pytest.raises(OSError, match="Read-only file system"):
    world.run(to=str(world.to), how="move")
assert tree(disk) == before
assert not world.sorted()
mount("-o", "remount,rw")
world.run(to=str(world.to), how="move")
assert len(world.sorted()) == 6
assert world.encoder.seen == 6
assert not world.undo().failed
assert {name: what[0] for name, what in tree(disk).items()} == {name: what[0] for name, what in before.items()}
"""
    )


def test_keywords_inside_a_file_leave_all_else_of_it_and_say_what_its_hard_links_keep(
    tiny_run: Path, tmp_path: Path
) -> None:
    photos, outside = tmp_path / "some", tmp_path / "outside"
    photos.mkdir()
    outside.mkdir()
    for name in ("alone", "linked", "away"):
        plain_picture("red", len(name)).save(photos / f"{name}.png")
    (photos / "away.png").rename(outside / "away.png")
    (photos / "away.png").symlink_to(outside / "away.png")
    (outside / "linked.png").hardlink_to(photos / "linked.png")
    before = (outside / "linked.png").read_bytes()
    for photo in photos.iterdir():
        photo.chmod(0o640)
        os.setxattr(photo, "user.note", b"mine")
    words = ("label", photos, "--model", tiny_run, "--data", tmp_path / "data", "--embed", "--labels")
    said = glimpse_here(*words, "a,b").stderr.splitlines()
    new = "2 photos with new keywords, 1 photo with new keywords, whose hard links keep the old"
    assert f"keywords in image files: {new}" in said
    assert (outside / "linked.png").read_bytes() == before
    assert (photos / "away.png").is_symlink()
    assert all(b"com.adobe.xmp" in photo.read_bytes() for photo in photos.iterdir())
    assert {photo.stat().st_mode & 0o777 for photo in photos.iterdir()} == {0o640}
    assert {os.getxattr(photo, "user.note") for photo in photos.iterdir()} == {b"mine"}
    (outside / "alone.png").hardlink_to(photos / "alone.png")
    relinked = glimpse_here(*words, "c,d", "--to", tmp_path / "sorted", "--how", "hardlink").stderr
    assert "keywords in image files: 3 photos with new keywords\n" in relinked
    assert all(photo.stat().st_nlink == 2 for photo in photos.iterdir() if not photo.is_symlink())
