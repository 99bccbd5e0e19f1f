"""Comparing a folder with a catalog: two streams in one order, whatever the names are."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from base.sources.walk import image_names, walk_images
from index.ingest.diff import FileInfo, compare
from index.ingest.scan import outermost, place_of

# Names whose order is not that of their paths: "-" and "." sort before "/", "0" after it; and bytes that are no text.
NAMES = st.sampled_from(["a", "a-", "a.", "a0", "b", "é", "\udcff", "\ue000", "😀"])
PATHS = st.lists(st.lists(NAMES, min_size=1, max_size=3).map("/".join), max_size=12)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=PATHS, now=PATHS)
def test_it_finds_what_is_new_and_what_is_gone(tmp_path: Path, before: list[str], now: list[str]) -> None:
    root = tmp_path / "root"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    there = {f"{root}/{name}.png" for name in now}
    for path in there:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).touch()
    known = sorted({f"{root}/{name}.png" for name in before}, key=os.fsencode)

    walked = [str(path) for path, _ in walk_images(root)]
    assert walked == sorted(there, key=os.fsencode)
    assert sum(1 for _ in image_names(root)) == len(there)
    found = list(compare(walk_images(root), ((path, i, None, 0) for i, path in enumerate(known)), set()))
    assert {known[item] for item in found if isinstance(item, int)} == set(known) - there
    files = {str(item.path): item.id for item in found if isinstance(item, FileInfo)}
    assert files == {path: known.index(path) if path in known else None for path in there}


def test_folders_may_stand_deeper_than_python_calls(tmp_path: Path) -> None:
    deep = tmp_path / "deep"
    here = deep
    for _ in range(1_300):
        here.mkdir()
        here /= "d"
    (here.parent / "x.png").touch()
    try:
        assert [path.name for path, _ in walk_images(deep)] == ["x.png"]
        assert len(list(image_names(deep))) == 1
    finally:
        subprocess.run(["rm", "-rf", str(deep)], check=True)  # shutil.rmtree calls itself for each


def test_what_could_not_be_entered_is_not_gone(tmp_path: Path) -> None:
    unreadable: set[str] = set()
    known = [("/p/a/x.png", 1, 0, 0), ("/p/b/x.png", 2, 0, 0), ("/p/b/y/z.png", 3, 0, 0), ("/p/c.png", 4, 0, 0)]

    def files():  # type: ignore[no-untyped-def]
        unreadable.add("/p/b")
        yield Path("/p/bb.png"), tmp_path.stat()
        unreadable.add("/p/c.png")

    assert [item for item in compare(files(), known, unreadable) if isinstance(item, int)] == [1]
    assert not unreadable


@pytest.mark.parametrize(("flags", "same"), [(0x40000000, True), (0x40, False)])
def test_what_macos_sent_to_icloud_is_not_read_again(tmp_path: Path, flags: int, same: bool) -> None:
    """There the flags change, and with them the ctime; no other system has them, so they are added here."""
    path = tmp_path / "x.png"
    path.write_bytes(b"1")
    there = path.stat()
    status: Any = SimpleNamespace(
        st_mtime_ns=there.st_mtime_ns, st_size=1, st_ctime_ns=there.st_ctime_ns, st_flags=flags
    )
    known = [(str(path), 1, there.st_mtime_ns, 1)]
    [found] = compare([(path, status)], known, set(), looked=there.st_ctime_ns - 1)
    assert isinstance(found, FileInfo)
    assert found.same is same


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("a/x.png", "a/x.png"),
        ("gone/x.png", "gone/x.png"),
        ("a/.hidden/x.png", None),
        (".x.png", None),
        ("link/deep/x.png", "link"),  # what lies behind a link is not walked
        ("", ""),
        ("../elsewhere/x.png", None),
    ],
)
def test_where_to_look_for_what_happened(tmp_path: Path, path: str, place: str | None) -> None:
    root = tmp_path / "root"
    (root / "a").mkdir(parents=True)
    (root / "link").symlink_to(root / "a")
    happened = Path(os.path.normpath(root / path))
    assert place_of(happened, [root]) == (None if place is None else root / place)


def test_a_place_in_another_is_looked_at_once() -> None:
    paths = [Path("/a/b/c"), Path("/a/b"), Path("/a/bc"), Path("/a/b"), Path("/d/x.png")]
    assert outermost(paths) == [Path("/a/b"), Path("/a/bc"), Path("/d/x.png")]
