"""Sends the images of folders on this machine to a collection of a service: those that it lacks, by their SHA-256, and
those of which something else is said than there. Removes nothing there.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from base.files import file_sha256
from base.sources.left_out import LeftOut
from base.sources.rules import Rules
from base.sources.walk import image_names, walk_images
from glimpse.client import Client, NewImage
from glimpse.console import Bar
from index.ingest.captions import Captions


@dataclass(frozen=True)
class UploadReport:
    """What was sent. `skipped` holds path and reason of files that cannot be read, `cut_off` of those cut but taken."""

    added: int
    unchanged: int  # the same bytes were there, whatever was said of them
    skipped: list[dict[str, str]]
    cut_off: list[dict[str, str]]
    left_out: LeftOut
    others: Counter[str]  # files that are no pictures, by suffix
    seconds: float

    @property
    def images_per_second(self) -> float:
        """Of those that were looked at."""
        return (self.added + self.unchanged + len(self.skipped)) / max(self.seconds, 1e-9)


def upload_folders(
    client: Client, collection: str, folders: Sequence[Path], rules: Rules, captions: Captions, bar: Bar
) -> UploadReport:
    """Send each image below the folders; the collection is made if there is none.

    `filename` of an entry's metadata is the path below its folder.
    """
    started = time.perf_counter()
    client.create_collection(collection)
    there = {entry.sha256: entry.metadata for entry in client.entries(collection) if entry.sha256}
    total = sum(1 for folder in folders for _ in image_names(folder, rules))
    skipped: list[dict[str, str]] = []
    left_out, others = LeftOut(), Counter[str]()
    kept = 0

    def failed(path: Path, reason: str) -> None:
        skipped.append({"path": str(path), "reason": reason})

    def images() -> Iterator[NewImage]:
        nonlocal kept
        for folder in folders:
            for path, _ in walk_images(folder, rules=rules, on_error=failed, left_out=left_out, others=others):
                known = captions.of(path.resolve()) or {}
                image = NewImage(path, metadata=known, name=str(path.relative_to(folder)))
                said = {"filename": image.filename, **known}
                same = there.get(_sha256(path))
                if same is None or any(same.get(key) != value for key, value in said.items()):
                    if same is not None:
                        same.update(said)  # of two files of the same bytes the last one says what they are
                    yield image
                else:
                    kept += 1

    sent = client.add_images(collection, images(), progress=lambda done: bar(kept + done, total))
    skipped += [{"path": str(one.image), "reason": one.error} for one in sent if one.error is not None]
    cut_off = [{"path": str(one.image), "reason": one.cut_off} for one in sent if one.cut_off]
    added = len({one.id for one in sent if one.created})  # of two files of the same bytes both may say so
    unchanged = kept + sum(one.id is not None for one in sent) - added
    left_out.add_all(captions.left_out())
    return UploadReport(added, unchanged, skipped, cut_off, left_out, others, round(time.perf_counter() - started, 2))


def _sha256(path: Path) -> str:
    """Of a file's bytes, 64 hex digits; of one that cannot be read nothing, and who sends it says why."""
    try:
        return file_sha256(path)
    except (OSError, ValueError):
        return ""
