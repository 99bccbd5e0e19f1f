"""What follows a search in the shell: the installed command, on a collection here and at a running service."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from service_world import add_collection, draw, serving, settings_for, tiny_encoder

from service.app import create_app

GLIMPSE = Path(sys.executable).with_name("glimpse")
BARE = {name: value for name, value in os.environ.items() if not name.startswith("GLIMPSE_")}
del BARE["PATH"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A data folder with the collection `pictures`, of six images and two texts, and a service of it."""
    folder = tmp_path_factory.mktemp("world")
    encoder = tiny_encoder(folder)
    add_collection(folder, encoder, draw(folder / "files", 6))
    with serving(create_app(settings_for(folder), encoder)) as url:
        yield folder, url


@pytest.fixture(params=["here", "there"])
def asked(request: pytest.FixtureRequest, world: tuple[Path, str]) -> tuple[str, ...]:
    """The words of a search for five images like the first, here and of the service."""
    where = ("--data", str(world[0])) if request.param == "here" else ("--url", world[1])
    return ("search", "--like", "1", "-k", "5", "-c", "pictures", *where)


def glimpse(*arguments: object, **env: str) -> subprocess.CompletedProcess[bytes]:
    env = BARE | {"PATH": os.environ["PATH"]} | env
    return subprocess.run([GLIMPSE, *map(str, arguments)], capture_output=True, env=env, check=False, timeout=60)


def ok(*arguments: object, **env: str) -> bytes:
    done = glimpse(*arguments, **env)
    assert done.returncode == 0, done.stderr
    return done.stdout


def hits(*asked: str) -> list[dict]:
    return json.loads(ok(*asked, "--json"))["hits"]


def test_paths_go_into_a_pipe(asked: tuple[str, ...], tmp_path: Path) -> None:
    paths = [hit["path"] for hit in hits(*asked)]
    assert len(paths) == 5
    assert ok(*asked, "-0").decode() == "".join(f"{path}\0" for path in paths)
    copies = ok(*asked, "-0", "--copy-to", tmp_path).decode().split("\0")[:-1]
    assert [Path(copy).read_bytes() for copy in copies] == [Path(path).read_bytes() for path in paths]


def test_images_are_copied_in_their_order_and_nothing_is_overwritten(asked: tuple[str, ...], tmp_path: Path) -> None:
    found = [Path(hit["path"]) for hit in hits(*asked)]
    folder = tmp_path / "new" / "found"
    first = glimpse(*asked, "--copy-to", folder)
    assert first.returncode == 0
    assert first.stderr.decode() == f"5 images copied into {folder}\n"
    names = [f"{number:03}-{path.name}" for number, path in enumerate(found, 1)]
    assert sorted(path.name for path in folder.iterdir()) == names
    assert [(folder / name).read_bytes() for name in names] == [path.read_bytes() for path in found]

    (folder / names[0]).write_bytes(b"mine")
    (folder / names[1]).unlink()
    (folder / names[1]).symlink_to("nowhere")
    again = json.loads(ok(*asked, "--copy-to", folder, "--json"))["files"]
    others = [f"{number:03}-{path.stem}~2{path.suffix}" for number, path in enumerate(found[:2], 1)]
    assert [Path(path).name for path in again] == [*others, *names[2:]]
    assert (folder / names[0]).read_bytes() == b"mine"
    assert (folder / names[1]).is_symlink()
    assert [(folder / name).read_bytes() for name in others] == [path.read_bytes() for path in found[:2]]
    last = glimpse(*asked, "--copy-to", folder)
    assert last.stderr.decode() == f"0 images copied into {folder}, 5 there already\n"
    page = json.loads(ok(*asked, "--offset", "3", "-k", "1", "--copy-to", folder, "--json"))["files"]
    assert page == [str(folder / names[3])]


def test_links_lead_to_the_images_and_none_to_a_service(world: tuple[Path, str], tmp_path: Path) -> None:
    search = ("search", "--like", 1, "-k", 2, "-c", "pictures", "--link-to", tmp_path / "links")
    for said in ("2 images linked into", "0 images linked into"):
        done = glimpse(*search, "--data", world[0])
        assert done.returncode == 0
        assert said in done.stderr.decode()
    assert all(link.is_symlink() and link.is_file() for link in (tmp_path / "links").iterdir())
    assert len(list((tmp_path / "links").iterdir())) == 2
    refused = glimpse(*search, "--url", world[1])
    assert refused.returncode == 2
    assert b"--copy-to downloads it" in refused.stderr


def test_what_is_gone_is_said_and_the_others_are_copied(tmp_path: Path) -> None:
    encoder = tiny_encoder(tmp_path)
    files = draw(tmp_path / "files", 4)
    add_collection(tmp_path, encoder, files)
    files[2].unlink()
    with serving(create_app(settings_for(tmp_path), encoder)) as url:
        for where in (("--data", tmp_path), ("--url", url)):
            folder = tmp_path / where[0].strip("-")
            done = glimpse("search", "--like", 1, "-c", "pictures", *where, "--copy-to", folder)
            assert done.returncode == 1
            left_out, copied = done.stderr.decode().splitlines()
            assert left_out.startswith("left out: ")
            assert copied == f"2 images copied into {folder}"
            assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("-0", "--json"), "-0 prints paths alone"),
        (("--copy-to", "a", "--link-to", "b"), "give either --copy-to or --link-to"),
        (("--copy-to", "FILE"), "is a file; name a folder"),
        (("--copy-to", "a", "--modality", "text"), "--copy-to is about image files"),
        (("-0", "--modality", "text"), "-0 is about image files"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_follow_is_said_before_anything_is_done(
    options: tuple[str, ...], message: str, asked: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("mine")
    done = glimpse(*asked, *(str(tmp_path / "file") if word == "FILE" else word for word in options))
    assert (done.returncode, done.stdout) == (2, b"")
    assert message in done.stderr.decode()
    assert done.stderr.count(b"\n") == 1
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS opens with its own program")
def test_the_best_image_is_shown_by_the_viewer_of_the_system(asked: tuple[str, ...], tmp_path: Path) -> None:
    opener = tmp_path / "xdg-open"
    opener.write_text(f'#!/bin/sh\nprintf %s "$1" > {tmp_path}/opened\n')
    opener.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    ok(*asked, "--open", DISPLAY=":0", PATH=path)
    opened = (tmp_path / "opened").read_text()
    best = Path(hits(*asked)[0]["path"])
    if opened.startswith("http"):
        import httpx

        assert httpx.get(opened).content == best.read_bytes()
    else:
        assert opened == str(best)
    opener.write_text("#!/bin/sh\nexit 3\n")
    refused = glimpse(*asked, "--open", DISPLAY=":0", PATH=path)
    assert (refused.returncode, b"xdg-open ended with 3" in refused.stderr) == (1, True)
    no_display = glimpse(*asked, "--open", DISPLAY="", WAYLAND_DISPLAY="")
    assert no_display.returncode == 1
    assert b"score" in no_display.stdout
    assert b"there is no display here; --sheet and --copy-to keep" in no_display.stderr
    opener.unlink()
    no_opener = glimpse(*asked, "--open", DISPLAY=":0", PATH=str(tmp_path))
    assert (no_opener.returncode, b"there is no xdg-open here" in no_opener.stderr) == (1, True)


@pytest.mark.parametrize(
    ("given", "path", "name"),
    [
        (None, "/a/b/red car.JPG", "red car.JPG"),
        ("../../etc/pass wd.png", "/up/0a.png", "pass wd.png"),
        ("C:\\x\\con.png", "/up/0a.png", "%63on.png"),
        ("bell\a.png", "/up/0a.png", "bell%07.png"),
        ("no suffix", "/up/0a.webp", "no suffix.webp"),
        ("..", "/up/0a.png", "%2E%2E.png"),
        ("ü" * 300 + ".png", "/up/0a.png", None),
        (7, None, "image"),
    ],
)
def test_a_name_fits_every_disk(given: object, path: str | None, name: str | None) -> None:
    from glimpse.finding.folder import name_of

    made = name_of({"id": 1, "path": path, "metadata": {"filename": given}})
    assert len(made.encode()) < 200
    assert "/" not in made
    if name is not None:
        assert made == name
