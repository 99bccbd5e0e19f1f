"""How fast a store takes entries and finds them: python -m bench.index.milvus ADDRESS... (local, milvus://...).

Random unit vectors, one client, one query at a time. A reader asks for all that anybody was told is written, so on a
server it waits for the server's clock to pass; who holds the writer's lock does not.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from index.collection import Entry, store_at
from index.search.query import Query
from index.stored import Collection

ROWS, DIM, BATCH, ASKED = 10_000, 512, 1000, 15
FEW = {"must": [{"key": "n", "range": {"lt": 10}}]}  # a tenth


def main() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((ROWS, DIM)).astype(np.float32)
    print(f"| store, {ROWS} x {DIM} | upsert a second | search p50 | filtered p50 | as writer p50 |\n|{'---|' * 5}")
    for address in sys.argv[1:] or ["local"]:
        with tempfile.TemporaryDirectory() as data:
            store = store_at(Path(data), address)
            with store.create("bench", model="none", fingerprint="none", dim=DIM) as made:
                began = time.perf_counter()
                for start in range(0, ROWS, BATCH):
                    some = range(start, start + BATCH)
                    made.upsert([Entry(x[i], "image", f"/{i}.jpg", metadata={"n": i % 100}) for i in some])
                rate = ROWS / (time.perf_counter() - began)
                writer = p50(made, rng)
            with store.open("bench") as reader:
                plain = p50(reader, rng)
                filtered = p50(reader, rng, filter=FEW)
            store.delete("bench")
        milliseconds = " | ".join(f"{1000 * seconds:.1f} ms" for seconds in (plain, filtered, writer))
        print(f"| {address} | {rate:,.0f} | {milliseconds} |", flush=True)


def p50(collection: Collection, rng: np.random.Generator, **asked: Any) -> float:
    """Seconds a query, each another vector's, after a first one that loads."""
    taken = []
    for _ in range(1 + ASKED):
        query = Query(rng.standard_normal(DIM).astype(np.float32), **asked)
        began = time.perf_counter()
        collection.query(query)
        taken.append(time.perf_counter() - began)
    return float(np.median(taken[1:]))


if __name__ == "__main__":
    main()
