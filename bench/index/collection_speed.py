"""A collection of 10,000, 100,000 and 1,000,000 x 512 against raw FAISS on the same vectors, in the same run.

Each size: durable adds, the build of its index, the time to open, one search at a time (all of the catalog's work
included), filters, memory; many at once are batch_speed's. `python -m bench.index.collection_speed 10000 100000`
for some sizes only; a million takes about 10 minutes and 6 GB of disk and memory. DATA=/folder puts the collections
elsewhere than in /tmp.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from bench.common import embeddings, machine
from index.collection import Collection, Entry, create_collection, open_collection

DIM, QUERIES, K, BATCH, TURN = 512, 400, 10, 1000, 20
SHARES = {"0.1%": 1000, "1%": 100, "50%": 2}
kept: list[object] = []
OPEN = """
import sys, time
from pathlib import Path
from typing import Any
from index.collection import open_collection
def resident(kind): return next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith(kind)) // 1024
import numpy as np
before, started = resident("RssAnon"), time.perf_counter()
collection = open_collection(Path(sys.argv[1]), "bench")
collection.search(np.ones(collection.dim, np.float32))
print(time.perf_counter() - started, resident("RssAnon") - before, resident("RssFile"))
"""


def measure(n: int, data: Path) -> None:
    x, xq = embeddings(n, DIM), embeddings(QUERIES, DIM, seed=1)
    print(f"\n## {n:,} x {DIM}\n")
    with create_collection(data, "bench", model="none", fingerprint="none", dim=DIM) as collection:
        started = time.perf_counter()
        for start in range(0, n, BATCH):
            collection.upsert(list(entries(x[start : start + BATCH], start)))
        taken = time.perf_counter() - started
        print(f"durable adds, {BATCH} at a time, one metadata field: {n / taken:,.0f} vectors/s")
        started = time.perf_counter()
        collection.compact()
        print(f"index built, tuned and written in {time.perf_counter() - started:.1f} s")
    opened, anonymous, mapped = subprocess.run(
        [sys.executable, "-c", OPEN, str(data)], capture_output=True, text=True, check=True
    ).stdout.split()
    print(f"opened and first search: {float(opened):.2f} s; {anonymous} MB of its own, {mapped} MB mapped")
    with open_collection(data, "bench") as collection:
        about = collection.info().index["image"]
        print(f"index: {', '.join(f'{k} {v}' for k, v in about.items())}; {about['bytes'] / n:.0f} bytes a vector")
        raw = faiss.IndexFlatIP(DIM)
        raw.add(x)
        truth = raw.search(xq, K)[1] + 1
        ways: dict[str, Callable[[np.ndarray], list[int]]] = {
            "raw IndexFlatIP": lambda q: (raw.search(q[None], K)[1][0] + 1).tolist(),
            "collection.search": lambda q: [hit.id for hit in collection.search(q, K)],
        }
        if about["kind"] == "exact":
            same = faiss.read_index(str(next(collection.folder.glob("image-*.rows"))))
            ways["raw IndexScalarQuantizer fp16"] = lambda q: (same.search(q[None], K)[1][0] + 1).tolist()
        else:
            ways |= by_hand(x, xq, truth, collection, about)
        table(ways, xq, truth)
        filters(collection, xq, x)


def entries(x: np.ndarray, start: int) -> Iterator[Entry]:
    for i, row in enumerate(x, start):
        yield Entry(row, "image", path=f"/photos/{i:07}.jpg", metadata={"n": i})


def by_hand(
    x: np.ndarray, xq: np.ndarray, truth: np.ndarray, collection: Collection, about: dict[str, Any]
) -> dict[str, Callable[[np.ndarray], list[int]]]:
    """The same codes with FAISS's own re-ranking, and what is mostly used: IVF with whole vectors, tuned as ours."""
    coarse = faiss.read_index(str(next(collection.folder.glob("image-*.coarse"))))
    rows = faiss.read_index(str(next(collection.folder.glob("image-*.rows"))))
    probe: Any = faiss.IVFRaBitQSearchParameters(nprobe=about["effort"], qb=8)  # type: ignore[call-arg]
    refined = faiss.IndexRefine(coarse, rows)
    kept.extend([coarse, rows, probe])  # FAISS does not own them
    params = faiss.IndexRefineSearchParameters(k_factor=about["factor"], base_index_params=probe)  # type: ignore[call-arg]
    flat: Any = faiss.index_factory(DIM, about["factory"].split(",")[0] + ",Flat", faiss.METRIC_INNER_PRODUCT)
    flat.train(x[:: max(1, len(x) // 130_000)])
    flat.add(x)
    nprobe = 1
    while nprobe < flat.nlist:
        flat.nprobe = nprobe
        if found(flat.search(xq, K)[1] + 1, truth) >= about["target"]:
            break
        nprobe = int(np.ceil(nprobe * 1.2))
    return {
        "raw IndexRefine, same codes": lambda q: (refined.search(q[None], K, params=params)[1][0] + 1).tolist(),
        f"raw IVF Flat, nprobe {nprobe}": lambda q: (flat.search(q[None], K)[1][0] + 1).tolist(),
    }


def found(answers: np.ndarray | list[list[int]], truth: np.ndarray) -> float:
    return float(np.mean([len(set(a) & set(t)) / K for a, t in zip(answers, truth, strict=True)]))


def table(ways: dict[str, Callable[[np.ndarray], list[int]]], xq: np.ndarray, truth: np.ndarray) -> None:
    """The ways take turns, block by block and each first in turn, so that a slow moment or a warm cache meets all."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    answers: dict[str, list[list[int]]] = {name: [] for name in ways}
    names = list(ways)
    for start in range(0, len(xq), TURN):
        for name in names:
            for q in xq[start : start + TURN]:
                started = time.perf_counter()
                answers[name].append(ways[name](q))
                times[name].append(time.perf_counter() - started)
        names.append(names.pop(0))
    print(f"\n{'one at a time':32}{'p50 ms':>8}{'p99 ms':>8}{'QPS':>8}{'recall@10':>11}")
    for name, taken in times.items():
        p50, p99 = np.percentile(taken, [50, 99]) * 1e3
        print(f"{name:32}{p50:>8.2f}{p99:>8.2f}{1 / np.mean(taken):>8.0f}{found(answers[name], truth):>11.3f}")
    ours = np.median(times["collection.search"])
    print("collection.search against " + ", ".join(
        f"{name}: {ours / np.median(taken):.2f}" for name, taken in times.items() if name != "collection.search"
    ))  # fmt: skip


def filters(collection: Collection, xq: np.ndarray, x: np.ndarray) -> None:
    print(f"\n{'filter leaves':16}{'first ms':>10}{'then p50 ms':>13}{'p99 ms':>8}{'recall@10':>11}")
    n = len(x)
    for name, divisor in SHARES.items():
        wanted = {"must": [{"key": "n", "range": {"lt": n // divisor}}]}
        started = time.perf_counter()
        collection.filter_ids(wanted, "image")
        first = time.perf_counter() - started
        times, answers = [], []
        for q in xq[:50]:
            started = time.perf_counter()
            ((_, ids),) = collection.read_view().nearest(q[None], K, "image", collection.filter_ids(wanted, "image"))
            collection.records_of(ids.tolist())
            times.append(time.perf_counter() - started)
            answers.append(ids.tolist())
        truth = np.argsort(-(xq[:50] @ x[: n // divisor].T), axis=1)[:, :K] + 1
        p50, p99 = np.percentile(times, [50, 99]) * 1e3
        print(f"{name:16}{first * 1e3:>10.1f}{p50:>13.2f}{p99:>8.2f}{found(answers, truth):>11.3f}")


def main() -> None:
    print(machine())
    for n in [int(arg) for arg in sys.argv[1:]] or [10_000, 100_000, 1_000_000]:
        data = Path(tempfile.mkdtemp(dir=os.environ.get("DATA")))
        try:
            measure(n, data)
        finally:
            shutil.rmtree(data)


if __name__ == "__main__":
    main()
