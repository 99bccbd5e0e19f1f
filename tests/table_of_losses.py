"""Every loss on the demo's world with its defaults: writes the table in docs/training.md, and none may fall behind.

About ten minutes of one core, so the suite passes it by; run it by name: pytest tests/table_of_losses.py
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from glimpse.demo.postcards.scenes import split_scenes, write_postcards
from glimpse.demo.run import ARCHITECTURE, N_SEEN, N_UNSEEN, SEED

PAGE = Path(__file__).parents[1] / "docs" / "training.md"
END = "<!-- to here -->"
CHANCE = 0.026  # of 10 of 500 unseen cards, where cards with one caption are all right
GLIMPSE = Path(sys.executable).with_name("glimpse")


class Run(NamedTuple):
    """A loss with what it is run with beside its defaults, and the recall@10 that it must reach."""

    flags: str
    floor: float


RUNS = (
    Run("--loss info-nce", 0.95),
    Run("--loss image-to-text", 0.9),
    Run("--loss text-to-image", 0.9),
    Run("--loss siglip", 0.9),
    Run("--loss contrastive", 0.9),
    Run("--loss triplet", 0.9),
    Run("--loss triplet --mining batch-hard", 0.9),
    Run("--loss nt-xent", 0.85),
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's postcards."""
    return draw_world(tmp_path_factory.mktemp("world"))


def draw_world(folder: Path) -> Path:
    """The demo's postcards in a folder: train.csv and unseen.csv."""
    seen, unseen = split_scenes(SEED, N_UNSEEN)
    write_postcards(folder, seen, N_SEEN, SEED, "train", 0.8)
    write_postcards(folder, unseen, N_UNSEEN, SEED, "unseen")
    return folder


@pytest.fixture(scope="module")
def rows() -> Iterator[list[str]]:
    """Those of the table; written to the page if there is one for each run."""
    rows: list[str] = []
    yield rows
    if len(rows) == len(RUNS):
        write_table("table_of_losses.py", ["| | recall@10 | by chance | learned |", "|---|---|---|---|", *rows])


def write_table(script: str, lines: list[str]) -> None:
    """Put a table into the page, where the last one of this script is."""
    begin = f"<!-- written by tests/{script} -->"
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(begin)
    _, _, after = rest.partition(END)
    PAGE.write_text(before + "\n".join([begin, *lines, END]) + after, encoding="utf-8")


def glimpse(*arguments: object) -> dict[str, Any]:
    done = subprocess.run(
        [GLIMPSE, *map(str, arguments), "--precision=fp32", "--device=cpu", "--json"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.flags)
def test_every_loss_learns_the_demos_world(run: Run, world: Path, rows: list[str], tmp_path: Path) -> None:
    out = tmp_path / "run"
    world_flags = ("--caption-key=caption", "--init", ARCHITECTURE, "--min-crop=0.7", "--val-fraction=0.05")
    size = ("--epochs=8", "--batch-size=128")
    trained = glimpse("train", world / "train.csv", "--out", out, *run.flags.split(), *world_flags, *size)
    if "nt-xent" in run.flags:
        last = trained["epochs"][-1]
        what, chance, recall = "a view to the other", 10 / last["n_images"], last["view_to_view"]["recall@10"]
    else:
        found = glimpse("eval", "--model", out, "--pairs", world / "unseen.csv", "--caption-key=caption")
        what, chance, recall = "text to image", CHANCE, found["text_to_image"]["recall@10"]
    rows.append(f"| `{run.flags}` | {what} | {chance:.3f} | {recall:.2f} |")
    print(rows[-1])
    assert recall >= run.floor
