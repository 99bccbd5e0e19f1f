"""`log.jsonl` for curves: from a place on, so that a run can be followed, and thinned where there are many steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from training.reading.measures import Record, number
from training.run_folder import LOG, whole_lines

MOST_BYTES = 64 << 20  # that are read at once: some 200,000 steps


@dataclass(frozen=True)
class Diary:
    """What a run noted from a place on.

    Attributes:
        steps: a value a step for each key, in the order of steps; where there were too many, means of neighbours.
        epochs: the records of epochs, their measures by path, as in "text_to_image/recall@1".
        next: the place, in bytes, where the next reading goes on.
        anew: it begins at the beginning: the run went back to an earlier step since the last reading.
        more: there is more already.
    """

    steps: dict[str, list[float | None]]
    epochs: list[Record]
    next: int
    anew: bool
    more: bool


def read_diary(out: Path, offset: int = 0, most: int = 1000) -> Diary:
    """What the run in a folder noted from `offset` on, as `Diary.next` gave it, in at most `most` values a key."""
    path = out / LOG
    anew = offset == 0 or not _is_a_lines_begin(path, offset)
    place = 0 if anew else offset
    start, steps, epochs, more = place, list[Record](), list[Record](), False
    for line, record in whole_lines(path, place):
        if place - start >= MOST_BYTES:
            more = True
            break
        place += len(line)
        (steps if "step" in record else epochs).append(record)
    return Diary(_columns(steps, most), epochs, place, anew, more)


def _is_a_lines_begin(path: Path, offset: int) -> bool:
    """Whether a line ended there: else the file was cut back, and written on."""
    try:
        with path.open("rb") as file:
            file.seek(offset - 1)
            return file.read(1) == b"\n"
    except OSError:
        return False


def _columns(steps: Sequence[Record], most: int) -> dict[str, list[float | None]]:
    keys = dict.fromkeys(key for step in steps for key in step)
    each = -(-len(steps) // most) or 1
    parts = [steps[start : start + each] for start in range(0, len(steps), each)]
    return {key: [_mean(part, key) for part in parts] for key in keys}


def _mean(steps: Sequence[Record], key: str) -> float | None:
    values = [value for step in steps if (value := number(step, key)) is not None]
    return sum(values) / len(values) if values else None
