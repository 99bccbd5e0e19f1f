"""A small file that is there whole or not at all, whatever kills the process or cuts the power."""

from __future__ import annotations

import uuid
from pathlib import Path

from index.folder import fsync_file


def write_whole(path: Path, text: str) -> None:
    """Put `text` at `path` as UTF-8, in place of what is there; it is on disk when this returns. OSError."""
    part = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text, encoding="utf-8")
        fsync_file(part)
        part.rename(path)
        fsync_file(path.parent)
    except OSError:
        part.unlink(missing_ok=True)
        raise
