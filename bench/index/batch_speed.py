"""400 queries in one call over 10,000, 100,000 and 1,000,000 x 512, against raw FAISS on the same rows in one run.

`python -m bench.index.batch_speed 10000 100000` for some sizes only. A FOLDER among the arguments keeps the
collections, so that another run measures at once; to make a million takes 2 minutes, 3 GB of disk and 5 GB of memory.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from bench.common import embeddings, machine
from index.collection import Collection, Entry, create_collection, list_collections, open_collection
from index.search.query import Query
from index.search.stages import run_each

DIM, QUERIES, K, BATCH = 512, 400, 10, 1000
SIZES = (10_000, 100_000, 1_000_000)


def make(data: Path, name: str, n: int) -> None:
    x = embeddings(n, DIM)
    with create_collection(data, name, model="none", fingerprint="none", dim=DIM) as collection:
        for start in range(0, n, BATCH):
            rows = enumerate(x[start : start + BATCH], start)
            collection.upsert([Entry(row, "image", path=f"/photos/{i:07}.jpg", metadata={"n": i}) for i, row in rows])
        collection.compact()


def raw_index(collection: Collection) -> faiss.Index:
    """FAISS's plain index of the same rows, as float32."""
    stored: Any = faiss.read_index(str(next(collection.folder.glob("image-*.rows"))), faiss.IO_FLAG_MMAP_IFC)
    codes = faiss.rev_swig_ptr(stored.codes.data(), stored.ntotal * DIM * 2).reshape(stored.ntotal, -1)
    raw = faiss.IndexFlatIP(DIM)
    for start in range(0, stored.ntotal, 50_000):
        raw.add(stored.sa_decode(codes[start : start + 50_000]))
    return raw


def best_of_warm(ways: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Best seconds of each way, in turns, but not of the first call in a turn.

    The way before may have woken BLAS's threads, and FAISS's then wait for them.
    """
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(rounds):
        for name, way in ways.items():
            way()
            started = time.perf_counter()
            way()
            best[name] = min(best[name], time.perf_counter() - started)
    return best


def measure(collection: Collection) -> None:
    xq = embeddings(QUERIES, DIM, seed=1)
    raw = raw_index(collection)
    view = collection.read_view()
    queries = [Query(q, limit=K) for q in xq]
    ways = {
        "raw IndexFlatIP": lambda: raw.search(xq, K),
        "scores and ids": lambda: view.nearest(xq, K, "image"),
        "with records": lambda: collection.search_many(xq, K),
        "with records and relevance": lambda: run_each(collection, queries),
    }
    seconds = best_of_warm(ways, rounds=3 if raw.ntotal > 500_000 else 10)
    truth = raw.search(xq, K)[1] + 1
    found = [ids for _, ids in view.nearest(xq, K, "image")]
    recall = np.mean([len(set(a) & set(b)) / K for a, b in zip(truth, found, strict=True)])
    print(f"\n## {raw.ntotal:,} x {DIM}, {collection.info().index['image']['kind']}, recall@10 {recall:.4f}\n")
    print(f"{f'{QUERIES} in one call':32}{'QPS':>8}{'against raw':>13}")
    for name, taken in seconds.items():
        print(f"{name:32}{QUERIES / taken:>8,.0f}{seconds['raw IndexFlatIP'] / taken:>13.2f}")


def main() -> None:
    args = sys.argv[1:]
    sizes = [int(arg) for arg in args if arg.isdigit()] or SIZES
    kept = next((arg for arg in args if not arg.isdigit()), None)
    print(machine())
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(kept or temporary)
        for n in sizes:
            name = f"rows-{n}"
            if name not in [info.name for info in list_collections(folder)]:
                make(folder, name, n)
            with open_collection(folder, name) as collection:
                measure(collection)


if __name__ == "__main__":
    main()
