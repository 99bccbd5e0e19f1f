"""Searches whose rows lie on a slow disk: codes in memory, float16 rows behind a file system that delays each read.

    python -m bench.index.slow_rows DATA NAME [--delay 0.002] [--rate 200e6] [--parallel 64]

DATA/collections/NAME is a collection with coarse codes (`python -m bench.index.batch_speed 1000000 DATA` makes one).
Its rows are shown through FUSE, by a process of their own; each read waits `--delay` seconds, all together get
`--rate` bytes a second, and so many are served at a time. Measured with the rows asked for at once, as glimpse does,
and one page at a time. Needs Linux with /dev/fuse, libfuse 2, and mfusepy.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from bench.common import embeddings, machine
from index.collection import open_collection
from index.local.vectors import prefetch

K, QUERIES = 10, 200


def serve(folder: Path, at: Path, delay: float, rate: float, parallel: int, count: Path) -> None:
    """Show a folder's files, each read late, all together no faster than `rate`; `count` has reads and bytes so far."""
    import mfusepy

    lock, room = threading.Lock(), threading.Semaphore(parallel)
    reads = np.memmap(count, np.int64, "w+", shape=(2,))
    shown = ("st_mode", "st_nlink", "st_size", "st_uid", "st_gid", "st_mtime_ns")
    free = 0.0

    class SlowDisk(mfusepy.Operations):  # type: ignore[misc]
        use_ns = True

        def getattr(self, path: str, fh: int | None = None) -> dict[str, int]:
            found = Path(f"{folder}{path}").stat()
            return {key: getattr(found, key) for key in shown}

        def open(self, path: str, flags: int) -> int:
            return os.open(f"{folder}{path}", os.O_RDONLY)

        def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
            nonlocal free
            with room:
                time.sleep(delay)
                with lock:
                    now = time.monotonic()
                    free = max(now, free) + size / rate
                    wait = free - now
                    reads[:] += (1, size)
                time.sleep(wait)
                return os.pread(fh, size, offset)

    mfusepy.FUSE(SlowDisk(), str(at), foreground=True, ro=True, max_background=parallel)


def measure(data: Path, name: str, count: Path) -> None:
    """Queries of a process that has just opened the collection, no row of it in memory."""
    queries = embeddings(QUERIES, 512, seed=1)
    reads = np.memmap(count, np.int64, "r", shape=(2,))
    with open_collection(data, name) as collection:
        time.sleep(0.5)
        while True:  # what it opens is checked beside the first searches: that reads all, which then is not cold
            before = reads[0]
            time.sleep(1.5)
            if reads[0] == before:
                break
        for path in collection.folder.glob("*.rows"):
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        collection.search(queries[0], K)
        begun, seconds = reads.copy(), []
        for q in queries[1:]:
            started = time.perf_counter()
            collection.search(q, K)
            seconds.append(time.perf_counter() - started)
        asked, size = (reads - begun) / len(seconds)
    p50, p99 = np.percentile(seconds, [50, 99]) * 1e3
    print(f"| {p50:.1f} | {p99:.1f} | {asked:.1f} | {size / 1024:.0f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("name")
    parser.add_argument("--delay", type=float, default=0.002)
    parser.add_argument("--rate", type=float, default=200e6)
    parser.add_argument("--parallel", type=int, default=64)
    parser.add_argument("--only", choices=["at-once", "one-by-one", "serve"], help=argparse.SUPPRESS)
    parser.add_argument("--count", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--mount", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    slow = (arguments.delay, arguments.rate, arguments.parallel)
    if arguments.only == "serve":
        return serve(arguments.data, arguments.mount, *slow, arguments.count)
    if arguments.only:
        if arguments.only == "one-by-one":
            prefetch._madvise = None
        return measure(arguments.data, arguments.name, arguments.count)

    print(f"{machine()}; {arguments.delay * 1e3:g} ms a read, {arguments.rate / 1e6:g} MB/s\n")
    print("| rows are asked for | p50 ms | p99 ms | reads a query | kB a query |\n|---|---|---|---|---|")
    for way in ("one-by-one", "at-once"):
        with tempfile.TemporaryDirectory() as scratch:
            print(f"| {way.replace('-', ' ')} ", end="", flush=True)
            _shown(arguments, Path(scratch), way)
    return None


def _shown(arguments: argparse.Namespace, scratch: Path, way: str) -> None:
    """The collection with its rows behind a slow disk of its own, measured by a process of its own."""
    real, mount, count = (
        (arguments.data / "collections" / arguments.name).resolve(),
        scratch / "slow",
        scratch / "reads",
    )
    shown = scratch / "data" / "collections" / arguments.name
    shutil.copytree(real, shown, ignore=shutil.ignore_patterns("*.rows"))
    mount.mkdir()
    common = ["--delay", str(arguments.delay), "--rate", str(arguments.rate), "--parallel", str(arguments.parallel)]
    common += ["--count", str(count)]
    command = [sys.executable, "-m", "bench.index.slow_rows"]
    server = subprocess.Popen([*command, str(real), "-", *common, "--only=serve", "--mount", str(mount)])
    try:
        while not os.path.ismount(mount):
            time.sleep(0.1)
        for rows in real.glob("*.rows"):
            (shown / rows.name).symlink_to(mount / rows.name)
        own = [str(scratch / "data"), arguments.name, *common, f"--only={way}"]
        subprocess.run([*command, *own], check=True)
    finally:
        subprocess.run(["umount", str(mount)], check=False)
        server.wait(10)


if __name__ == "__main__":
    main()
