"""Labelling runs whose labels become folders: images stand where they belong, and all can be taken back."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path

import pytest
from label_world import COLOURS, World, counts, tree
from tiny_world import plain_picture

from labelling.outputs import files
from labelling.outputs.folder_names import folder_name, folders_of
from labelling.outputs.folder_steps import How

HOWS = pytest.mark.parametrize("how", ["copy", "move", "hardlink", "symlink"])


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@HOWS
def test_images_stand_in_the_folders_of_their_labels_and_go_back(world: World, tmp_path: Path, how: How) -> None:
    world.add_colours()
    before = tree(tmp_path)
    report = world.run(to=str(world.to), how=how)
    assert not report.failures
    assert world.sorted() == {f"{colour}/{colour}{n}.png" for colour in COLOURS for n in ("", "-2", "-3")}
    left = {path.name for path in world.folder.rglob("*.png")}
    assert len(left) == (0 if how == "move" else 3)
    for path in world.to.rglob("*.png"):
        assert path.is_symlink() == (how == "symlink")
        assert path.stat().st_nlink == (2 if how == "hardlink" else 1)
    after = tree(world.to, world.folder)
    assert counts(world.run(to=str(world.to), how=how)) == (0, 0, 9, 0)
    assert (tree(world.to, world.folder), world.encoder.seen) == (after, 9)

    changes = world.undo()
    assert (changes.taken_back, changes.failed) == (9, [])
    shutil.rmtree(world.data)
    assert tree(tmp_path) == before


@HOWS
def test_folders_follow_other_labels_and_changed_images(world: World, tmp_path: Path, how: How) -> None:
    world.add_colours(1)
    before = tree(tmp_path)
    world.run(to=str(world.to), how=how)
    world.run(["red|green", "blue"], to=str(world.to), how=how)
    assert world.sorted() in ({"red/red.png", "red/green.png", "blue/blue.png"},)
    assert sorted(path.name for path in world.to.iterdir()) == ["blue", "red"]
    changes = world.undo()
    assert not changes.failed
    shutil.rmtree(world.data)
    assert tree(tmp_path) == before


def test_a_copy_follows_its_image_and_stays_when_that_goes(world: World) -> None:
    red = world.add("red.png", "red")
    blue = world.add("blue.png", "blue")
    world.run(to=str(world.to), how="copy")
    plain_picture("green", 3).save(red)
    blue.unlink()
    report = world.run(to=str(world.to), how="copy")
    assert (counts(report), report.failures) == ((0, 1, 0, 1), [])
    assert world.sorted() == {"green/red.png", "blue/blue.png"}  # it may be the last there is of it
    assert (world.to / "green" / "red.png").read_bytes() == red.read_bytes()


def test_a_copy_keeps_its_name_when_its_image_changes(world: World) -> None:
    for name in ("a/x.png", "b/x.png"):
        world.add(name, "red")
    world.run(to=str(world.to), how="copy")
    (world.folder / "a" / "x.png.xmp").write_text("<x/>")
    changed = world.add("b/x.png", "red", 9)
    assert not world.run(to=str(world.to), how="copy").failures
    assert world.sorted() == {"red/x.png", "red/x.png.xmp", "red/x-2.png"}
    assert (world.to / "red" / "x-2.png").read_bytes() == changed.read_bytes()


def test_a_copy_that_others_changed_stays_beside_the_new_one(world: World) -> None:
    red = world.add("red.png", "red")
    world.run(to=str(world.to), how="copy")
    theirs = world.to / "red" / "red.png"
    plain_picture("yellow").save(theirs)
    edited = theirs.read_bytes()
    plain_picture("red", 5).save(red)
    [failure] = world.run(to=str(world.to), how="copy").failures
    assert failure.reason == "was changed; it stays"
    assert world.sorted() == {"red/red.png", "red/red-2.png"}
    assert (theirs.read_bytes(), theirs.with_name("red-2.png").read_bytes()) == (edited, red.read_bytes())
    assert not world.run(to=str(world.to), how="copy").failures


def test_a_hard_link_is_its_image_however_that_is_changed(world: World) -> None:
    red = world.add("red.png", "red")
    world.run(to=str(world.to), how="hardlink")
    link = world.to / "red" / "red.png"
    plain_picture("red", 5).save(red)  # in place: one file still
    assert not world.run(to=str(world.to), how="hardlink").failures
    assert link.samefile(red)
    plain_picture("blue").save(red)
    assert not world.run(to=str(world.to), how="hardlink").failures
    assert world.sorted() == {"blue/red.png"}
    other = world.add("other.png", "blue", 3)
    other.replace(red)  # as most programs save: another file of the name
    assert not world.run(to=str(world.to), how="hardlink").failures
    assert (world.sorted(), (world.to / "blue" / "red.png").samefile(red)) == ({"blue/red.png"}, True)
    assert not world.undo().failed
    assert not world.to.exists()


def test_an_image_that_was_moved_by_a_killed_run_has_its_sidecar_follow(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.add("a.png", "red")
    (world.folder / "a.png.xmp").write_text("<x/>")
    before, moved = tree(tmp_path), files.move

    def killed(source: Path, target: Path) -> None:
        if source.suffix == ".xmp":
            raise KeyboardInterrupt
        moved(source, target)

    monkeypatch.setattr(files, "move", killed)
    with pytest.raises(KeyboardInterrupt):
        world.run(to=str(world.to), how="move")
    monkeypatch.setattr(files, "move", moved)
    assert world.sorted() == {"red/a.png"}
    world.run(to=str(world.to), how="move")
    assert world.sorted() == {"red/a.png", "red/a.png.xmp"}
    assert not world.undo().failed
    shutil.rmtree(world.data)
    assert tree(tmp_path) == before


def test_a_link_goes_with_its_image(world: World) -> None:
    world.add("red.png", "red")
    world.add("blue.png", "blue").unlink()
    world.add("blue.png", "blue")
    world.run(to=str(world.to), how="symlink")
    (world.folder / "blue.png").unlink()
    world.run(to=str(world.to), how="symlink")
    assert world.sorted() == {"red/red.png"}


def test_nothing_is_overwritten(world: World, tmp_path: Path) -> None:
    world.add("red.png", "red")
    theirs = world.to / "red" / "red.png"
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(b"theirs")
    before = tree(tmp_path)
    world.run(to=str(world.to), how="move")
    assert world.sorted() == {"red/red.png", "red/red-2.png"}
    assert theirs.read_bytes() == b"theirs"
    world.undo()
    shutil.rmtree(world.data)
    assert tree(tmp_path) == before


def test_what_others_changed_since_stays(world: World, tmp_path: Path) -> None:
    world.add_colours(1)
    world.run(to=str(world.to), how="move")
    (world.to / "red" / "red.png").unlink()
    theirs = world.add("0/blue.png", "yellow")
    changes = world.undo()
    assert changes.taken_back == 1
    assert {Path(path).name: reason.partition(";")[0] for path, reason in changes.failed} == {
        "red.png": "is no longer there, so it cannot be moved back",
        "blue.png": "there is another file of that name now",
    }
    theirs.unlink()
    assert [Path(failure.path).name for failure in world.undo().failed] == ["red.png"]
    assert {path.name for path in world.folder.rglob("*.png")} == {"green.png", "blue.png"}


def test_a_new_image_may_have_the_name_of_one_that_was_moved(world: World, tmp_path: Path) -> None:
    world.add("IMG_1.png", "red")
    out = tmp_path / "labels.jsonl"
    world.run(to=str(world.to), how="move", files=(str(out),))
    world.add("IMG_1.png", "red", 5)
    assert counts(world.run(to=str(world.to), how="move", files=(str(out),))) == (1, 0, 1, 0)
    assert world.sorted() == {"red/IMG_1.png", "red/IMG_1-2.png"}
    assert {json.loads(line)["path"] for line in out.read_text().splitlines()} == {
        str(path) for path in world.to.rglob("*.png")
    }


def test_a_folder_is_sorted_in_its_place(world: World, tmp_path: Path) -> None:
    world.add_colours(2)
    world.add("red/there.png", "red")
    before = tree(tmp_path)
    world.run(to=str(world.folder), how="move")
    names = {str(path.relative_to(world.folder)) for path in world.folder.rglob("*.png")}
    assert names == {f"{colour}/{colour}{n}.png" for colour in COLOURS for n in ("", "-2")} | {"red/there.png"}
    world.add("late.png", "green")
    assert counts(world.run(to=str(world.folder), how="move")) == (1, 0, 7, 0)
    (world.folder / "green" / "late.png").unlink()
    assert [failure.reason[:12] for failure in world.undo().failed] == ["is no longer"]
    shutil.rmtree(world.data)
    assert tree(tmp_path) == before


def test_links_are_moved_as_links_and_sidecars_with_their_images(world: World, tmp_path: Path) -> None:
    real = tmp_path / "elsewhere" / "real.png"
    real.parent.mkdir()
    plain_picture("blue").save(real)
    (world.folder / "link.png").symlink_to("../elsewhere/real.png")
    world.add("a.png", "red")
    (world.folder / "a.png.xmp").write_text("<x/>")
    before = tree(tmp_path)
    world.run(to=str(world.to), how="move")
    assert world.sorted() == {"blue/link.png", "red/a.png", "red/a.png.xmp"}
    assert (world.to / "blue" / "link.png").resolve() == real
    assert not world.undo().failed
    shutil.rmtree(world.data)
    assert tree(tmp_path) == before


def test_a_move_to_another_disk_is_a_copy_that_was_proved(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Path("/dev/shm")
    if not other.is_dir() or other.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no other disk here")
    world.to = other / f"glimpse-{os.getpid()}"
    world.add_colours(2)
    before = tree(tmp_path)
    try:
        assert not world.run(to=str(world.to), how="move").failures
        assert len(world.sorted()) == 6
        assert not list(world.folder.rglob("*.png"))
        assert counts(world.run(to=str(world.to), how="move")) == (0, 0, 6, 0)
        assert not world.undo().failed
        assert not world.to.exists()
        shutil.rmtree(world.data)
        assert tree(tmp_path) == before
    finally:
        shutil.rmtree(world.to, ignore_errors=True)


@pytest.mark.parametrize("disk", ["the same", "another"])
def test_a_copy_whose_name_the_disk_does_not_take_is_not_made_twice(
    world: World, monkeypatch: pytest.MonkeyPatch, disk: str
) -> None:
    """The copy is there by then, whole, and nobody knows whether its name would outlive a power cut."""

    def failing(path: Path) -> None:
        if path.is_dir():
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    def elsewhere(source: Path, target: Path) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    world.add_colours(1)
    how = "copy" if disk == "the same" else "move"
    with monkeypatch.context() as patched:
        patched.setattr("base.files.fsync_file", failing)
        if how == "move":
            patched.setattr(Path, "rename", elsewhere)
        assert len(world.run(to=str(world.to), how=how).failures) == 3
    assert world.sorted() == set()
    assert not world.run(to=str(world.to), how=how).failures
    assert world.sorted() == {f"{colour}/{colour}.png" for colour in COLOURS}


def test_labels_make_safe_names_one_to_one() -> None:
    odd = [
        *("..", ".hidden", "a:b", "a?b", "CON", "con.txt", "é", "e\u0301", "x" * 400, "x" * 401, "end.", "tab\there"),
        *("عربي", "日本", "🐈", "=cmd", "A", "a", "animal/dog", "animal/../x", "\u202eexe", "50%", "a\\b", "\ud800"),
    ]
    folders = folders_of(odd)
    assert len({str(folder).casefold() for folder in folders.values()}) == len(odd)
    for folder in folders.values():
        for part in folder.parts:
            assert part not in (".", "..")
            assert len(part.encode()) <= 140
            assert not set(part) & set('<>:"\\|?*\x00\t')
            assert not part.startswith(".")
            assert not part.endswith((".", " "))
    assert str(folders["animal/dog"]) == "animal/dog"
    assert (folder_name("50%"), folder_name("a:b"), folder_name("CON")) == ("50%25", "a%3Ab", "%43ON")


def test_a_folder_that_holds_nothing_any_more_goes_once_what_stayed_in_it_is_gone(world: World, tmp_path: Path) -> None:
    world.add_colours(1)
    world.run(to=str(world.to))
    theirs, edited = world.to / "green" / "notes.txt", world.to / "red" / "red.png"
    theirs.write_text("mine")
    (world.to / "blue" / ".DS_Store").touch()  # as a file manager leaves them
    edited.write_bytes(b"edited")
    changes = world.undo()
    assert [failed.path for failed in changes.failed] == [str(edited)]
    assert {path.name for path in world.to.iterdir()} == {"green", "red"}
    edited.unlink()
    assert not world.undo().failed
    assert {path.name for path in world.to.iterdir()} == {"green"}, "somebody's own file keeps its folder"
