"""Segments as files: what is not as it was described, or not what it should be, is refused and never mapped."""

from __future__ import annotations

import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from base.errors import InputError
from index.local.snapshot import FileRecord, SegmentRecord
from index.local.vectors.segment import Segment
from index.local.vectors.segment_files import open_segment, write_segment

IDS = np.array([3, 5, 2**40], np.int64)
ROWS = np.eye(3, 4, dtype=np.float16)


@pytest.fixture
def written(tmp_path: Path) -> SegmentRecord:
    record = write_segment(tmp_path, "image", 4, [(IDS[:1], ROWS[:1]), (IDS[1:], ROWS[1:])], Segment)
    assert record is not None
    return record


def test_a_segment_is_mapped_as_it_was_written(written: SegmentRecord, tmp_path: Path) -> None:
    segment = open_segment(tmp_path, written)
    assert segment.ids.tolist() == IDS.tolist()
    assert not segment.ids.flags.writeable
    assert np.array_equal(segment.rows.x16, ROWS)
    (name,) = (file.name for kind, file in written.files.items() if kind == "ids")
    assert np.array_equal(np.load(tmp_path / name), IDS)  # anybody can read it


@pytest.mark.parametrize(
    "content", [IDS[:2], np.append(IDS, 7), IDS.astype(np.float64), IDS.astype(">i8"), b"no ids at all", b""]
)
def test_ids_that_are_none_are_refused(written: SegmentRecord, tmp_path: Path, content: np.ndarray | bytes) -> None:
    path = tmp_path / written.files["ids"].name
    with path.open("wb") as file:
        file.write(content) if isinstance(content, bytes) else np.save(file, content)
    data = path.read_bytes()
    forged = FileRecord(path.name, len(data), zlib.crc32(data), zlib.crc32(data))
    with pytest.raises(InputError, match="not 3 ids"):
        open_segment(tmp_path, replace(written, files={**written.files, "ids": forged}))
    with pytest.raises(InputError, match="damaged"):
        open_segment(tmp_path, written)
