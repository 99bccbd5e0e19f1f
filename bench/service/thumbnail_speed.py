"""Thumbnails of large photos, as a page asks for them: made at the first visit, kept for the second.

`python -m bench.service.thumbnail_speed [FOLDER]`: a service whose one collection has 24 photos of 15 megapixels, those
of a folder in turn or drawn ones. A visit asks for all 24, eight at a time. The reference is the same service that
keeps none; processor time is the server's.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
from PIL import Image

from bench.common import draw, machine, random_model
from bench.service.service_speed import serving
from encoder.image import sha256_of
from index.collection import Entry, create_collection

N = 24
SIDES = (4743, 3162)  # 15 megapixels
LATER = 20
TOGETHER = 8  # as browsers ask over HTTP/1.1, six, and some more


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        files = originals(Path(folder) / "photos", Path(sys.argv[1]) if len(sys.argv) > 1 else None)
        print(machine())
        size = sum(file.stat().st_size for file in files) / N / 1e6
        print(f"{N} JPEGs of 15 megapixels, {size:.1f} MB each; ms of the server's processor, and of the clock, each\n")
        for kept in (0, 2**30):
            data = Path(folder) / f"data-{kept}"
            fill(data, files)
            os.environ["GLIMPSE_THUMBNAIL_BYTES"] = str(kept)
            with serving("glimpse", random_model(), data) as (port, pid):
                names = {"first visit, kept": 1, "later visits, kept": LATER} if kept else {"each visit, none kept": 2}
                for name, times in names.items():
                    cpu, clock, sent = visit(port, pid, times)
                    print(f"{name:22} {cpu:8.2f} {clock:8.2f}   {sent / 1e3:.1f} kB each")


def originals(folder: Path, given: Path | None) -> list[Path]:
    """24 JPEGs of 15 megapixels, no two with the same bytes."""
    folder.mkdir()
    sources = sorted((given or draw(folder / "drawn", 4, [SIDES])).glob("*.jpg"))
    pictures = []
    for source in sources:
        with Image.open(source) as image:
            pictures.append((image.convert("RGB").resize(SIDES), image.info.get("icc_profile")))
    files = []
    for i in range(N):
        picture, profile = pictures[i % len(pictures)]
        files.append(folder / f"{i:02}.jpg")
        picture.save(files[-1], quality=90, comment=str(i).encode(), icc_profile=profile)
    return files


def fill(data: Path, files: list[Path]) -> None:
    """A collection of them; vectors are of no matter here."""
    vector = np.eye(1, 8, dtype=np.float32)[0]
    with create_collection(data, "photos", model="none", fingerprint="none", dim=len(vector)) as made:
        made.upsert(
            [
                Entry(
                    vector, "image", path=file, sha256=sha256_of(file.read_bytes()),
                    mtime_ns=file.stat().st_mtime_ns, size=file.stat().st_size, width=SIDES[0], height=SIDES[1],
                )
                for file in files
            ]
        )  # fmt: skip


def visit(port: int, pid: int, times: int) -> tuple[float, float, float]:
    """Ask for all, so many times: ms of the server's processor and of the clock for each, and its bytes."""
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client, ThreadPoolExecutor(TOGETHER) as threads:
        paths = [f"/v1/collections/photos/images/{i}/thumbnail" for i in range(1, N + 1)] * times
        before, started = processor_seconds(pid), time.perf_counter()
        answers = list(threads.map(client.get, paths))
        clock, cpu = time.perf_counter() - started, processor_seconds(pid) - before
    for answer in answers:
        answer.raise_for_status()
    n = len(answers)
    return cpu / n * 1e3, clock / n * 1e3, sum(len(answer.content) for answer in answers) / n


def processor_seconds(pid: int) -> float:
    """Of all the threads of a process, in steps of 10 ms."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
