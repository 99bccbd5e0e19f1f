"""Files that appear whole: a kill or a full disk leaves the old one or the new one, never half of one."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from base.errors import TrainingError


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Have `write` make the file beside its name, put it on disk, and rename it.

    Raises:
        TrainingError: `write` failed in a way of its own; no half file stays.
    """
    temporary = path.with_name(f".{path.name}.new")
    try:
        write(temporary)
        temporary.chmod(
            0o644
        )  # safetensors makes files that only their owner can read, and a container is another user
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, Exception) and not isinstance(error, OSError):  # what torch and safetensors make of ENOSPC
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise TrainingError(f"{path}: cannot be written ({reason}); is there space left on the disk?") from error
        raise


def replace_json(path: Path, content: dict[str, Any]) -> None:
    """The same for a JSON object."""
    replace_file(path, lambda new: new.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8"))


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


def fsync_file(path: Path) -> None:
    """Make a file, or the names in a folder, survive a power cut."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
