"""A labelling run that moves files and writes sidecars, killed at any moment: nothing is lost or done twice."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
import sidecars
from label_world import tree
from tiny_world import COLOURS, plain_picture
from xmp_words import read_marks

from labelling.xmp.merge import parse

GLIMPSE = Path(sys.executable).with_name("glimpse")
IMAGES = 80
ODD = ("=cmd|x", 'a,"b"', "new\nline", "🐈", "عربي", "e\u0301", "\u00e9")  # names of folders


class Killed:
    """A folder of pictures, a run that sorts it, and what the folder was like before.

    Args:
        folder: for all of it.
        model: a run folder.
    """

    def __init__(self, folder: Path, model: Path) -> None:
        self.folder, self.photos, self.to, self.out = folder, folder / "photos", folder / "to", folder / "labels.csv"
        self.data = folder / "data"
        self.moments: set[tuple[int, int]] = set()  # how far it was when it was killed
        for i in range(IMAGES):
            path = self.photos / ODD[i % len(ODD)] / f"IMG_{i // len(ODD)}.png"  # many of one name
            path.parent.mkdir(parents=True, exist_ok=True)
            plain_picture(list(COLOURS)[i % len(COLOURS)], i // len(COLOURS)).save(path)
            if i % 5 == 0:
                theirs = list(sidecars.ALL.values())[i // 5 % len(sidecars.ALL)]
                path.with_name(f"{path.name}.xmp").write_text(theirs)
        self.command = [
            *("label", str(self.photos), "--model", str(model), "--data", str(self.data), "--labels", "red,green,blue"),
            *("--to", str(self.to), "--how", "move", "--xmp", "--out", str(self.out)),
        ]
        self.undo = ["label", "--undo", "last", "--data", str(self.data)]
        self.ends(*self.command, "--dry-run")  # reads the pictures: no later process loads the model
        self.before = self.now()
        self.pictures = self.found()

    def now(self) -> dict[str, tuple[str, bytes | str]]:
        """All but what glimpse keeps for itself."""
        return {path: what for path, what in tree(self.folder).items() if not path.startswith(str(self.data))}

    def found(self) -> Counter[bytes]:
        """How often each picture is there."""
        files = [path for folder in (self.photos, self.to) for path in folder.rglob("*.png")]
        return Counter(data for path in files if (data := path.read_bytes()))  # an empty one is a name that is reserved

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        env = os.environ | {"GLIMPSE_DEVICE": "cpu", "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(
            [GLIMPSE, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env, cwd=self.folder
        )

    def ends(self, *arguments: str) -> str:
        """Run a command to its end."""
        with self.start(*arguments) as process:
            out, err = process.communicate()
        assert process.returncode == 0, err
        return out

    def killed(self, moment: random.Random, *arguments: str) -> bool:
        """Run a command and kill it somewhere in its work; whether it had not ended before."""
        start, target = self.written(), moment.randrange(1, 2 * IMAGES)  # by what is done, for machines differ in speed
        with self.start(*arguments) as process:
            while process.poll() is None:
                with suppress(FileNotFoundError):  # a folder that goes as it is looked into
                    if abs(self.written() - start) >= target:
                        break
            process.kill()
            process.communicate()
        self.moments.add((len(list(self.photos.rglob("*.xmp"))), len(list(self.to.rglob("*")))))
        return process.returncode == -9

    def written(self) -> int:
        """How many sidecars there are, and pictures that were moved."""
        sidecars = [path for folder in (self.photos, self.to) for path in folder.rglob("*.xmp")]
        return len(sidecars) + len(list(self.to.rglob("*.png")))

    def check_half(self) -> None:
        """What must be so at any moment."""
        assert self.found() == self.pictures
        for path in (*self.photos.rglob("*.xmp"), *self.to.rglob("*.xmp")):
            if data := path.read_bytes():
                parse(data)

    def check_whole(self) -> None:
        """What must be so when a run has ended."""
        assert self.found() == self.pictures
        images = sorted(self.to.rglob("*.png"))
        assert len(images) == IMAGES
        assert [len(read_marks(image)) for image in images] == [1] * IMAGES
        left = [path for path in (*self.photos.rglob("*"), *self.to.rglob("*")) if path.is_file()]
        assert {path.suffix for path in left} == {".png", ".xmp"}
        assert len(left) == 2 * IMAGES
        assert self.out.read_bytes().count(b"IMG_") == IMAGES


def kill_often(world: Killed, rounds: int, seed: int) -> int:
    moment, kills = random.Random(seed), 0
    for _ in range(rounds):
        kills += world.killed(moment, *world.command)
        world.check_half()
        report = json.loads(world.ends(*world.command, "--json"))
        assert (report["run"]["new"], report["run"]["changed"], report["run"]["unchanged"]) == (0, 0, IMAGES)
        world.check_whole()
        kills += world.killed(moment, *world.undo)
        world.check_half()
        world.ends(*world.undo)
        assert world.now() == world.before
    return kills


@pytest.fixture
def killed(tmp_path: Path, tiny_run: Path) -> Killed:
    return Killed(tmp_path, tiny_run)


def test_a_run_may_be_killed_at_any_moment(killed: Killed) -> None:
    assert kill_often(killed, 3, 1) >= 3
    assert len(killed.moments) >= 2


@pytest.mark.slow
def test_a_run_may_be_killed_at_fifty_moments(killed: Killed) -> None:
    assert kill_often(killed, 25, 2) >= 45
    assert len(killed.moments) >= 15


def test_a_killed_undo_is_finished_before_the_run_goes_on(killed: Killed) -> None:
    killed.ends(*killed.command)
    for seed in range(5):
        if killed.killed(random.Random(seed), *killed.undo):
            break
    killed.check_half()
    killed.ends(*killed.command)
    killed.check_whole()
    killed.ends(*killed.undo)
    assert killed.now() == killed.before
    shutil.rmtree(killed.to, ignore_errors=True)
