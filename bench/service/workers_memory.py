"""Memory of one and of two `glimpse serve` on one data folder: what each has alone, and what they share of the index.

`python -m bench.service.workers_memory [ROWS]`, 300,000 x 512 by default: a minute or two and a few GB of disk.
"""

from __future__ import annotations

import json
import sys
import tempfile
import urllib.request
from pathlib import Path

import numpy as np

from bench.common import embeddings, machine, random_model
from bench.index.collection_speed import BATCH, DIM, entries
from bench.service.service_speed import serving
from index.collection import create_collection

SEARCHES = 300


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 300_000
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        fill(data, embeddings(rows, DIM))
        print(machine())
        print(f"ViT-B-32 and {rows:,} x {DIM}, MB after {SEARCHES} searches of each\n")
        print(f"{'':16}{'RSS':>8}{'PSS':>8}{'its own':>10}{'index: RSS':>12}{'PSS':>8}")
        with serving("glimpse", random_model(), data) as (first, first_pid):
            search(first)
            show("one", first_pid, data)
            with serving("glimpse", random_model(), data) as (second, second_pid):
                search(second)
                search(first)
                show("first of two", first_pid, data)
                show("second of two", second_pid, data)


def fill(data: Path, x: np.ndarray) -> None:
    with create_collection(data, "bench", model="none", fingerprint="none", dim=DIM) as collection:
        for start in range(0, len(x), BATCH):
            collection.upsert(list(entries(x[start : start + BATCH], start)))
        collection.compact()


def search(port: int) -> None:
    """Searches all over the collection."""
    for vector in embeddings(SEARCHES, DIM, seed=1):
        urllib.request.urlopen(
            urllib.request.Request(
                f"http://127.0.0.1:{port}/v1/collections/bench/search",
                json.dumps({"vector": vector.tolist()}).encode(),
                {"Content-Type": "application/json"},
            )
        ).close()


def show(title: str, pid: int, data: Path) -> None:
    """RSS counts a shared page in full, PSS its part of it; `its own` are pages that no other process has."""
    whole = sums(Path(f"/proc/{pid}/smaps_rollup"))
    index = sums(Path(f"/proc/{pid}/smaps"), str(data))
    own = whole["Private_Clean"] + whole["Private_Dirty"]
    print(f"{title:16}{whole['Rss']:>8.0f}{whole['Pss']:>8.0f}{own:>10.0f}{index['Rss']:>12.0f}{index['Pss']:>8.0f}")


def sums(file: Path, of: str = "") -> dict[str, float]:
    """The fields in MB, summed over the mappings whose line has `of`."""
    found: dict[str, float] = {"Rss": 0.0, "Pss": 0.0}
    counts = False
    for line in file.read_text().splitlines():
        name, _, rest = line.partition(":")
        if " " in name:  # the line of a mapping begins with its addresses
            counts = of in line
        elif counts and rest.endswith("kB"):
            found[name] = found.get(name, 0.0) + int(rest.split()[0]) / 1000
    return found


if __name__ == "__main__":
    main()
