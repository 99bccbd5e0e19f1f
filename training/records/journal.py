"""The run's diary: a line of JSON a step and an epoch in `log.jsonl`, and the same numbers for trackers.

A resumed run writes on where its saved state stands, so that its diary reads as if nothing had happened. It measures
nothing itself.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from training.records.trackers import Trackers
from training.run_folder import LOG, whole_lines


class Journal:
    """Appends to the diary of one run. Every line is on its way to the disk before the call returns."""

    def __init__(self, out: Path, trackers: Trackers, *, resume_at: int) -> None:
        """Open the diary and take it back to step `resume_at`: what comes after it, and a half line, is dropped.

        Args:
            out: the run folder; made where it is not there.
            trackers: told the same; closed with the diary.
            resume_at: the step that the run goes on from; 0 for a new one.
        """
        out.mkdir(parents=True, exist_ok=True)
        self._trackers = trackers
        self._file = (out / LOG).open("ab", buffering=0)
        self._last_epoch = (-1, 0)  # the epoch of the last line, if it is an epoch's, and where that line starts
        end = 0
        for line, record in whole_lines(out / LOG):
            if record.get("step", 0) > resume_at:
                break
            self._last_epoch = (-1 if "step" in record else record.get("epoch", -1), end)
            end += len(line)
        self._file.truncate(end)

    def step(self, record: Mapping[str, Any]) -> None:
        """Write down one step: {"step": int, ...} of numbers."""
        self._append(record)
        self._last_epoch = (-1, 0)
        self._trackers.tell("train", record, record["step"])

    def epoch(self, record: Mapping[str, Any]) -> None:
        """Write down one epoch: {"epoch": int, ...}, nested numbers as "text_to_image/recall@1".

        Call it before the state is saved. A run that was killed in between measures the epoch again; that line takes
        the place of the first.
        """
        flat = dict(_flatten(record))
        epoch, start = self._last_epoch
        if epoch == record["epoch"]:
            self._file.truncate(start)
        self._last_epoch = (record["epoch"], self._file.seek(0, 2))
        self._append(flat)
        self._trackers.tell("epoch", flat, record["epoch"])

    def close(self) -> None:
        """Close the files, and the trackers where the run has not told them that it has ended."""
        self._file.close()
        self._trackers.close(ended=False)

    def _append(self, record: Mapping[str, Any]) -> None:
        finite = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in record.items()}
        self._file.write(json.dumps(finite).encode() + b"\n")


def _flatten(record: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Numbers, by their path; the level "metrics" adds nothing to it. Lists and each class's own accuracy stay out."""
    for key, value in record.items():
        if isinstance(value, Mapping):
            if key != "per_class":  # there can be thousands; metrics.json has them
                yield from _flatten(value, prefix if key == "metrics" else f"{prefix}{key}/")
        elif value is None or isinstance(value, (bool, int, float)):
            yield prefix + key, value
