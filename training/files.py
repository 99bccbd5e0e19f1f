"""Files that appear whole: a kill or a full disk leaves the old one or the new one, never half of one."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Have `write` make the file beside its name, put it on disk, and rename it."""
    temporary = path.with_name(f".{path.name}.new")
    write(temporary)
    temporary.chmod(0o644)  # safetensors makes files that only their owner can read, and a container is another user
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(path)


def replace_json(path: Path, content: dict[str, Any]) -> None:
    """The same for a JSON object."""
    replace_file(path, lambda new: new.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8"))
