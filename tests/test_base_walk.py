"""Which files of a folder are photos, and which are spare by their names."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from base.errors import InputError
from base.sources import rules as rules_module
from base.sources.left_out import LeftOut
from base.sources.patterns import Patterns
from base.sources.rules import Rules, begins_as_image
from base.sources.walk import image_names, is_spare_name, no_images, walk_images


@pytest.mark.parametrize(
    "path",
    [
        "p/#recycle/IMG_1.jpg",
        "p/Recently Deleted/IMG_1.jpg",
        "p/Kosz/IMG_1.jpg",
        "p/IMG_1 - másolat.jpg",
        "p/$RECYCLE.BIN/S-1-5-21/$R0AB.jpg",
        "p/@Recycle/a/IMG_1.jpg",
        "p/lost+found/#123.jpg",
        "p/.Trash-1000/files/IMG_1.jpg",
        "p/#snapshot/daily/IMG_1.jpg",
        "p/.trashed-1700000000-IMG_1.jpg",
        "IMG_1 copy.jpg",
        "IMG_1 copy 2.jpg",
        "IMG_1_copy.JPG",
        "IMG_1-copy2.jpg",
        "IMG_1 - Copy.jpg",
        "IMG_1 - Copy (2).jpg",
        "Copy of IMG_1.jpg",
        "Copy (3) of IMG_1.jpg",
        "IMG_1 (1).jpg",
        "IMG_1(12).jpg",
        "IMG_1 (copy).jpg",
        "IMG_1 (another copy).jpg",
        "IMG_1 (3rd copy).jpg",
        "IMG_1 (Ann's conflicted copy 2020-01-01).jpg",
        "IMG_1.sync-conflict-20200101-101010-ABCDEFG.jpg",
        "Kopie von IMG_1.jpg",
        "IMG_1 - Kopie (2).jpg",
        "IMG_1 Kopie.jpg",
        "IMG_1 (Kopie).jpg",
        "Copie de IMG_1.jpg",
        "IMG_1 - Copie.jpg",
        "Copia di IMG_1.jpg",
        "IMG_1 - Co\u0301pia.jpg",
        "IMG_1 — копия.jpg",
        "Копия IMG_1.jpg",
        "IMG_1 - 副本.jpg",
        "IMG_1 - コピー.jpg",
        "IMG_1.jpg~",
        "IMG_1.jpg.1",
        "p/Lomtár/IMG_1.jpg",
        "p/Poubelle/IMG_1.jpg",
        "p/Κάδος Ανακύκλωσης/IMG_1.jpg",
        "p/Geri Dönüşüm Kutusu/IMG_1.jpg",
        "p/סל המיחזור/IMG_1.jpg",
        "p/資源回收筒/IMG_1.jpg",
        "IMG_1 - копія.jpg",
        "Salinan dari IMG_1.jpg",
        "Bản sao của IMG_1.jpg",
        "IMG_1 - \u05e2\u05d5\u05ea\u05e7.jpg",
    ],
)
def test_copies_and_what_lies_in_a_bin_are_spare(path: str) -> None:
    assert is_spare_name(f"/home/a/{path}")


@pytest.mark.parametrize(
    "path",
    [
        "IMG_1.jpg",
        "IMG_20200101_101010.jpg",
        "photocopy.jpg",
        "copyright.jpg",
        "Copyshop.jpg",
        "Kopenhagen.jpg",
        "holiday (2019).jpg",
        "recycling/IMG_1.jpg",
        "trashy/IMG_1.jpg",
        "IMG 1.jpg",
        "Kopie von Urlaub/IMG_1.jpg",
        "\udcff.jpg",
    ],
)
def test_originals_are_not(path: str) -> None:
    assert not is_spare_name(f"/home/a/{path}")


def walked(root: Path, rules: Rules = Rules()) -> tuple[list[str], list[str]]:
    """The images found below a folder, and what is said of the rest."""
    left_out = LeftOut()
    found = [str(path.relative_to(root)) for path, _ in walk_images(root, rules=rules, left_out=left_out)]
    assert len(list(image_names(root, rules))) == len(found)
    return found, [line.replace(f"{root}/", "") for line in left_out.lines()]


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"\xff\xd8\xff\xe0 begins as a JPEG")


def test_folders_that_are_not_photos_are_left_out_and_named(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "a.jpg", "x/@eaDir/1.jpg", "y/@eaDir/1.jpg", "#recycle/1.jpg", "$RECYCLE.BIN/1.jpg", "#snapshot/1.jpg",
        "System Volume Information/1.jpg", "lost+found/1.jpg", "__MACOSX/1.jpg", "node_modules/a/1.jpg",
        "@Recycle/1.jpg", "RECYCLER/1.jpg", "L.photoslibrary/originals/1.jpg", "L.photoslibrary/resources/d/1.jpg",
        "cat Previews.lrdata/1.jpg", "resources/1.jpg", "found.000/1.jpg", "@SynoResource/1.jpg",
        "Capture One/Cache/1.jpg", "C.cocatalog/Cache/1.jpg", "L.lrlibrary/x/1.jpg", "iPod Photo Cache/F00/1.jpg",
        "Cache/1.jpg", "Capture One/Output/1.jpg",
    )  # fmt: skip
    found, said = walked(tmp_path)
    assert found == [
        "Cache/1.jpg", "Capture One/Output/1.jpg", "L.photoslibrary/originals/1.jpg", "a.jpg", "resources/1.jpg"
    ]  # fmt: skip
    assert len(said) == 18
    assert any(line.startswith("2 folders named @eaDir, which is not photos, the first: ") for line in said)
    assert walked(tmp_path / "#recycle") == (["1.jpg"], [])  # who names it means it


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_an_ignore_file_is_read_as_editors_write_it(tmp_path: Path, encoding: str) -> None:
    for name in ("é", "b", "c1"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.jpg").touch()
    (tmp_path / ".glimpseignore").write_text("# mine\r\n\r\né\r\nc?\r\n", encoding=encoding)
    assert [path.parent.name for path, _ in walk_images(tmp_path)] == ["b"]


@pytest.mark.parametrize("harm", [Path.mkdir, lambda file: file.symlink_to("gone"), lambda file: os.mkfifo(file),
                                  lambda file: file.write_bytes("a\n".encode("utf-16-le")),
                                  lambda file: file.write_text("a\n" * 600_000)])  # fmt: skip
def test_an_ignore_file_that_cannot_be_read_ends_a_walk(tmp_path: Path, harm: Callable[[Path], object]) -> None:
    (tmp_path / "1.jpg").touch()
    harm(tmp_path / ".glimpseignore")
    with pytest.raises(InputError, match=r"\.glimpseignore: "):
        list(walk_images(tmp_path))


def test_each_folder_is_asked_once_for_its_ignore_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "a/b/c/d/e/f/1.jpg", "a/b/c/2.jpg")
    (tmp_path / "a" / ".glimpseignore").write_text("d\n")
    asked = []
    ignored_in = rules_module._ignored_in
    monkeypatch.setattr(rules_module, "_ignored_in", lambda *given: asked.append(given[0]) or ignored_in(*given))
    assert [path.name for path, _ in walk_images(tmp_path)] == ["2.jpg"]
    assert asked == [tmp_path, tmp_path / "a", tmp_path / "a/b", tmp_path / "a/b/c"]  # a thousand deep is quick too


def test_patterns_leave_out_names_and_paths(tmp_path: Path) -> None:
    touch(tmp_path, "a/b/1.jpg", "a/c/1.jpg", "b/2.jpg", "thumb_1.jpg", "Cafe\u0301/1.jpg", "deep/er/x/1.jpg")
    found, said = walked(tmp_path, Rules(("b", "thumb_*", "Caf\u00e9/", "deep/*/x")))
    assert found == ["a/c/1.jpg"]
    assert [line.split(", the first: ")[0] for line in said] == ["5 names by --exclude"]
    assert walked(tmp_path, Rules(("a/b", "/b/", f"{tmp_path}/deep", "*.JPG")))[0] == [
        "Cafe\u0301/1.jpg",
        "a/c/1.jpg",
        "thumb_1.jpg",
    ]
    assert "a/b/1.jpg" in walked(tmp_path, Rules(("./b",)))[0]
    assert "b/2.jpg" not in walked(tmp_path, Rules(("./b",)))[0]
    rules = Rules(("b",))
    assert rules.leaves_out(tmp_path / "a/b/1.jpg", tmp_path)
    assert rules.leaves_out(tmp_path / "@eaDir/1.jpg", tmp_path)
    assert not rules.leaves_out(tmp_path / "a/1.jpg", tmp_path)


def test_an_ignore_file_leaves_out_what_is_in_its_folder_and_below(tmp_path: Path) -> None:
    touch(tmp_path, "a/b/1.jpg", "a/b/thumb_2.jpg", "a/keep/3.jpg", "b/4.jpg", "thumb_5.jpg", "a/deep/er/6.jpg")
    (tmp_path / "a" / ".glimpseignore").write_text("# of a program\n\nthumb_*\n/deep/er/\n**/keep\n")
    found, said = walked(tmp_path)
    assert found == ["a/b/1.jpg", "b/4.jpg", "thumb_5.jpg"]
    assert [line.split(", the first: ")[0] for line in said] == ["3 names by .glimpseignore"]
    rules = Rules()
    assert rules.leaves_out(tmp_path / "a/keep/3.jpg", tmp_path)
    assert not rules.leaves_out(tmp_path / "a/keep/3.jpg", tmp_path / "a/keep")  # who names it means it
    (tmp_path / "a" / ".glimpseignore").write_text("b\n")
    assert walked(tmp_path)[0] == ["a/deep/er/6.jpg", "a/keep/3.jpg", "b/4.jpg", "thumb_5.jpg"]


@pytest.mark.parametrize(
    ("lines", "taken"),
    [  # what git itself takes by these lines
        ("*\n!a/\n!a/1.jpg", ["a/1.jpg"]),
        ("*.jpg\n!2.jpg", ["a/2.jpg", "a/b/2.jpg"]),
        ("!2.jpg\n*.jpg", []),  # the last decides
        ("a\n!a/2.jpg", ["#c/1.jpg", "1.jpg", "b/1.jpg"]),  # nothing comes back out of a folder that is left out
        ("/*.jpg", ["#c/1.jpg", "a/1.jpg", "a/2.jpg", "a/b/1.jpg", "a/b/2.jpg", "b/1.jpg"]),
        ("a/*.jpg", ["#c/1.jpg", "1.jpg", "a/b/1.jpg", "a/b/2.jpg", "b/1.jpg"]),
        ("/*/", ["1.jpg"]),
        ("b/", ["#c/1.jpg", "1.jpg", "a/1.jpg", "a/2.jpg"]),
        ("1.jpg/\n2.jpg", ["#c/1.jpg", "1.jpg", "a/1.jpg", "a/b/1.jpg", "b/1.jpg"]),
        ("**/b/2.jpg\n#c", ["#c/1.jpg", "1.jpg", "a/1.jpg", "a/2.jpg", "a/b/1.jpg", "b/1.jpg"]),
        ("a/**/2.jpg\n\\#c", ["1.jpg", "a/1.jpg", "a/b/1.jpg", "b/1.jpg"]),
        ("a/**\n[!a-b]c\n\\1.jp[f-h]", []),
        ("[ab]/\nb\\ \n?c", ["1.jpg"]),
        ("[[:alpha:]]/", ["#c/1.jpg", "1.jpg"]),
        ("[]#][\\]c]\n[[:digit:]].*", []),
        ("[^[:alpha:]\\]]c\n[b-a]/", ["1.jpg", "a/1.jpg", "a/2.jpg"]),
        ("a[.-a]?.jpg\na*.jpg\n***/2.jpg", ["#c/1.jpg", "1.jpg", "a/1.jpg", "a/b/1.jpg", "b/1.jpg"]),  # no "/" in them
        ("**/?/**/2*g\n*/*/1*", ["#c/1.jpg", "1.jpg", "a/1.jpg", "b/1.jpg"]),
    ],
)
def test_an_ignore_file_is_read_as_gitignore(lines: str, taken: list[str], tmp_path: Path) -> None:
    touch(tmp_path, "1.jpg", "a/1.jpg", "a/2.jpg", "a/b/1.jpg", "a/b/2.jpg", "b/1.jpg", "#c/1.jpg")
    (tmp_path / ".glimpseignore").write_text(f"{lines}\n")
    assert walked(tmp_path)[0] == taken
    assert [path for path in taken if Rules().leaves_out(tmp_path / path, tmp_path)] == []


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repository")
    subprocess.run(["git", "init", "-q", folder], check=True)
    touch(folder, "1.jpg", "a/1.jpg", "a/2.jpg", "a/b/1.jpg", "a/b/2.jpg", "b/1.jpg", "b/a/b/2.jpg", "c!/1.jpg")
    return folder


NAMES = ["a", "b", "1.jpg", "*", "**", "?", "[ab]", "[!a]*", "*.jpg", "2*", "*g", "?[!a-z]"]
PATTERNS = st.tuples(
    st.sampled_from(["", "", "!"]),
    st.sampled_from(["", "", "/"]),
    st.lists(st.sampled_from(NAMES), min_size=1, max_size=4).map("/".join),
    st.sampled_from(["", "", "/"]),
).map("".join)


@pytest.mark.skipif(shutil.which("git") is None, reason="there is no git to ask")
@given(lines=st.lists(PATTERNS, min_size=1, max_size=4))
def test_an_ignore_file_leaves_out_what_git_leaves_out(lines: list[str], repository: Path) -> None:
    for name in (".gitignore", ".glimpseignore"):
        (repository / name).write_text("\n".join(lines))
    asked = ["git", "-C", repository, "ls-files", "-z", "--others", "--exclude-per-directory=.gitignore"]
    left = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.split("\0")
    assert walked(repository)[0] == sorted(path for path in left if path.endswith(".jpg"))


@pytest.mark.parametrize(
    "pattern", ["*" * 30 + "z", "*?" * 20 + "z", "*g*" * 20 + "z", "**/*g*/" * 20 + "z", "[*" * 30]
)
def test_no_pattern_takes_long(pattern: str, tmp_path: Path) -> None:
    path = tmp_path.joinpath(*["g" * 100] * 10)
    begin = time.process_time()
    for patterns in (Patterns.of([pattern]), Patterns.in_file(pattern.encode())):
        assert patterns is not None
        assert not patterns.names(path, tmp_path, is_folder=False)
    assert time.process_time() - begin < 2


def test_what_is_deeper_takes_back_what_is_above(tmp_path: Path) -> None:
    touch(tmp_path, "1.jpg", "a/1.jpg", "a/2.jpg")
    (tmp_path / ".glimpseignore").write_text("*.jpg\n")
    (tmp_path / "a" / ".glimpseignore").write_text("!1.jpg\n")
    assert walked(tmp_path)[0] == ["a/1.jpg"]
    assert walked(tmp_path, Rules(("1.jpg",)))[0] == []  # what is named for this run comes first
    assert walked(tmp_path, Rules(("*.jpg", "!a/2.jpg")))[0] == []
    (tmp_path / ".glimpseignore").unlink()
    assert walked(tmp_path, Rules(("*.jpg", "!a/2.jpg")))[0] == ["a/2.jpg"]
    with pytest.raises(InputError, match=r"--exclude !a: takes back .* '\\!a' leaves out"):
        Rules(("!a", "*.jpg"))
    with pytest.raises(InputError, match=r"^exclude !a: "):
        Rules(("!a",), by_request=True)


def test_linked_folders_are_followed_once_when_asked(tmp_path: Path) -> None:
    root = tmp_path / "root"
    touch(root, "1.jpg", "sub/2.jpg")
    touch(tmp_path, "else/3.jpg", "else/in/4.jpg")
    (root / "inside").symlink_to(root / "sub")  # walked at its own place
    (root / "link").symlink_to(tmp_path / "else")
    (root / "once-more").symlink_to(tmp_path / "else" / "in")
    (tmp_path / "else" / "round").symlink_to(tmp_path)
    (root / "self").symlink_to("self")
    found, said = walked(root)
    assert found == ["1.jpg", "sub/2.jpg"]
    assert said[0].startswith("3 linked folders (--follow-links follows them), the first: ")
    assert walked(root, Rules(follow_links=True)) == (["1.jpg", "link/3.jpg", "link/in/4.jpg", "sub/2.jpg"], [])


def test_pictures_that_nothing_reads_are_counted_by_kind(tmp_path: Path) -> None:
    touch(tmp_path, "1.EIP", "2.eip", "3.jxl", "4.jpg_large", "5.jpg~", "6.jpg.1", "notes.txt", "noext", "clip.mov")
    for sidecar in ("7.jpg.json", "7.jpg(1).json", "7.jpg.xmp", "7.png.txt"):
        (tmp_path / sidecar).write_text("of a picture")
    found, said = walked(tmp_path)
    assert found == []
    assert [line.split(", the first: ")[0] for line in sorted(said)] == [
        "1 .jxl files (JPEG XL is not read)",
        "2 .eip files (a rare kind of camera raw; export it as JPEG)",
        "3 files with something behind a picture's suffix (--any-name looks at what is in them)",
    ]
    (tmp_path / "notes.txt").write_text("no picture")
    assert walked(tmp_path, Rules(any_name=True))[0] == ["4.jpg_large", "5.jpg~", "6.jpg.1", "clip.mov", "noext"]


def test_photos_that_are_not_here_yet_are_named(tmp_path: Path) -> None:
    touch(
        tmp_path,
        *(".IMG_1.HEIC.icloud", ".IMG_2.JPG.icloud", ".notes.pdf.icloud", ".hidden"),
        *("a.jpg.crdownload", "b.PNG.part", "c.zip.part"),
    )
    found, said = walked(tmp_path)
    assert (found, sorted(line.split(", the first: ")[0] for line in said)) == (
        [],
        [
            "2 downloads that are not finished",
            "2 photos that are in iCloud alone (download them to this machine first)",
        ],
    )
    assert "2 photos that are in iCloud alone" in no_images([tmp_path])


@pytest.mark.parametrize("name", ["takeout-001.zip", "photos.tar.gz", "Photos.RAR", "shards.tar"])
def test_an_archive_is_no_folder(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    with pytest.raises(InputError, match=f"{name}: packed; unpack it, and give the folder of its files"):
        list(walk_images(tmp_path / name))


def test_jpegs_by_their_rarer_names_are_images(tmp_path: Path) -> None:
    names = ["a.insp", "b.jfi", "c.JIF", "d.jps", "e.pjp", "f.pjpeg"]
    touch(tmp_path, *names)
    assert walked(tmp_path) == (names, [])


def test_a_pipe_is_no_picture_and_nobody_waits_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert not begins_as_image(tmp_path / "pipe")
