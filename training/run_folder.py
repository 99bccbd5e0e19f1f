"""The files of a run folder: their names, how they are written, and how others read them.

Imports no torch, and nothing of training: the service may import it.

runs/pets/open_clip_config.json, open_clip_model.safetensors    the best epoch, as `load_encoder` reads it
runs/pets/read_tokens.json                                      what it has read, if it began from random weights
runs/pets/tokenizer.json, text_tower/config.json                what a Hugging Face text tower needs beside it
runs/pets/train_config.json, metrics.json, log.jsonl            what was asked, what came of it, every step
runs/pets/held_out.csv                                          what it is measured on, for other models too
runs/pets/report.html, tensorboard/                             the same for people
runs/pets/README.md                                             its card, for a model hub
runs/pets/trackers.json, launch.json                            what trackers and torchrun call it
runs/pets/last/                                                 the last epoch, and what --resume goes on from
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from base.errors import TrainingError
from base.files import whole_file

TRAIN_CONFIG = "train_config.json"
METRICS = "metrics.json"
LOG = "log.jsonl"
HELD_OUT = "held_out.csv"
REPORT = "report.html"
TENSORBOARD = "tensorboard"
TRACKED = "trackers.json"
LAUNCH = "launch.json"
LAST = "last"
STATE = "training_state.pt"  # in LAST
PROBE_START = "probe_start.npz"  # in LAST


@contextmanager
def artefact(path: Path) -> Iterator[Path]:
    """`base.files.whole_file` for a file of the folder: whatever a library makes of a full disk is a TrainingError."""
    try:
        with whole_file(path) as part:
            yield part
            part.chmod(0o644)  # who serves the model is another user, in a container say
    except OSError:
        raise
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise TrainingError(f"{path}: cannot be written ({reason}); is there space left on the disk?") from error


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Put a JSON object there."""
    with artefact(path) as part:
        part.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of the folder; an empty one where it is not there or not whole."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_number)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def launch() -> str:
    """What torchrun calls the launch that this process is of (--rdzv-id); empty where it has no name of its own.

    It stays the same when torchrun starts the processes again, on whichever machine, and when a scheduler starts
    torchrun again with the same name.
    """
    name = os.environ.get("TORCHELASTIC_RUN_ID", "")
    return "" if name == "none" else name  # torchrun's default


def is_of_this_launch(out: Path) -> bool:
    """Whether the run there was begun by this very launch, and is far enough to go on from."""
    return bool(launch()) and (out / LAST / STATE).exists() and read_json(out / LAUNCH).get("torchrun") == launch()


def read_log(out: Path) -> Iterator[dict[str, Any]]:
    """The records of a run's diary in their order, up to a line that is not whole; none where there is no diary."""
    return (record for _, record in whole_lines(out / LOG))


def whole_lines(path: Path, offset: int = 0) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Each line of a file of JSON objects, from a byte on, with what it says, up to one that is not whole."""
    if not path.is_file():
        return
    with path.open("rb") as file:
        file.seek(offset)
        for line in file:
            try:
                record = json.loads(line, parse_constant=_no_number)
            except ValueError:  # a kill or a full disk cut it short
                return
            if not line.endswith(b"\n") or not isinstance(record, dict):
                return
            yield line, record


def _no_number(name: str) -> None:
    """NaN and Infinity, which JSON does not have: nothing of ours writes them, and readers of JSON refuse them."""
