"""One search of a collection, catalog included, against raw faiss on the same 100,000 x 512 vectors."""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from pathlib import Path

import faiss
import numpy as np
from common import machine

from index.collection import Entry, create_collection

N, DIM, QUERIES, K = 100_000, 512, 200, 10


def main() -> None:
    rng = np.random.default_rng(0)
    xb = rng.normal(size=(N, DIM)).astype(np.float32)
    xb /= np.linalg.norm(xb, axis=1, keepdims=True)
    xq = xb[rng.choice(N, QUERIES)] + rng.normal(0, 0.03, (QUERIES, DIM)).astype(np.float32)
    raw = faiss.IndexFlatIP(DIM)
    raw.add(xb)
    data = Path(tempfile.mkdtemp())
    with create_collection(data, "bench", model="none", fingerprint="none", dim=DIM) as collection:
        started = time.perf_counter()
        for start in range(0, N, 1000):
            rows = enumerate(xb[start : start + 1000], start)
            collection.upsert([Entry(x, "image", path=f"/photos/{i:06}.jpg", metadata={"n": i}) for i, x in rows])
        added = time.perf_counter() - started
        collection.search(xq[0], K)
        times: dict[str, list[float]] = {"raw faiss": [], "collection": []}
        same = 0
        for query in xq:
            started = time.perf_counter()
            _, I = raw.search(query[None], K)
            between = time.perf_counter()
            hits = collection.search(query, K)
            times["collection"].append(time.perf_counter() - between)
            times["raw faiss"].append(between - started)
            same += len(set(I[0] + 1) & {hit.id for hit in hits})
    shutil.rmtree(data)
    print(machine())
    print(f"{N:,} x {DIM}, k={K}, one query at a time; added durably at {N / added:,.0f} vectors/s\n")
    print(f"{'':12}{'p50 ms':>8}{'p99 ms':>8}")
    for name, taken in times.items():
        print(f"{name:12}{statistics.median(taken) * 1e3:>8.2f}{np.percentile(taken, 99) * 1e3:>8.2f}")
    ratio = statistics.median(times["collection"]) / statistics.median(times["raw faiss"])
    print(f"\nratio of the medians {ratio:.2f}; {same / (QUERIES * K):.4f} of the hits are raw faiss's")


if __name__ == "__main__":
    main()
