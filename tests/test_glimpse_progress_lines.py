"""Where no terminal watches: a line each half minute with the time left, and none for what is quick."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from service_world import until
from tiny_world import plain_picture

from glimpse.progress_lines import EVERY, ProgressLines, still_working


def said_of(*steps: tuple[float, int, int | None], what: str = "indexing") -> list[str]:
    """What is said of work at these moments: (seconds, done, total)."""
    now, said = [0.0], list[str]()
    lines = ProgressLines(what, said.append, lambda: now[0])
    for at, done, total in steps:
        now[0] = at
        lines(done, total)
    return said


def test_a_line_now_and_then_with_the_time_left() -> None:
    steps = [(float(second), 100 * second, 40_000) for second in range(0, 401)]
    said = said_of(*steps)
    assert len(said) == 400 // EVERY
    assert said[0] == "indexing: 3,000 of 40,000, 6 min left"
    assert said[-1] == "indexing: 39,000 of 40,000, 10 s left"
    assert said_of((0.0, 5, 100), (1.0, 50, 100), (29.0, 100, 100)) == []


def test_what_was_done_before_counts_for_no_rate_and_what_has_no_end_for_no_time() -> None:
    assert said_of((0.0, 9_000, 10_000), (50.0, 9_100, 10_000)) == ["indexing: 9,100 of 10,000, 8 min left"]
    assert said_of((0.0, 0, None), (31.0, 1_234, None)) == ["indexing: 1,234"]
    assert said_of((0.0, 0, 1_000_000), (40.0, 100, 1_000_000)) == ["indexing: 100 of 1,000,000, 111 h 6 min left"]


def test_work_that_does_not_say_how_far_it_is_goes_on_and_says_so() -> None:
    said: list[str] = []
    with still_working("measuring", said.append, every=0.02):
        until(lambda: len(said) > 2)
    told = len(said)
    time.sleep(0.1)
    assert len(said) == told  # it is over
    assert all(line.startswith("measuring: ") and line.endswith(" s so far") for line in said)


def test_a_command_into_a_file_says_how_far_it_is(tiny_run: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for i in range(40):
        plain_picture("red", i).save(tmp_path / "photos" / f"{i}.png")
    code = (
        "import glimpse.progress_lines as lines; lines.EVERY = 0.0\n"
        "import sys; from glimpse.__main__ import main; main()"
    )
    asked = [
        "index",
        str(tmp_path / "photos"),
        "--model",
        str(tiny_run),
        "--data",
        str(tmp_path / "data"),
        "--device",
        "cpu",
    ]
    done = subprocess.run([sys.executable, "-c", code, *asked], capture_output=True, text=True, timeout=300, check=True)
    lines = [line for line in done.stderr.splitlines() if " of 40" in line]
    assert lines
    assert "40 of 40" in lines[-1]
