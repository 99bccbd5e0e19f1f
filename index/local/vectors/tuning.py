"""Which index a collection of some size gets, and how hard it must search to find what an exact search finds.

Up to `EXACT_ROWS` rows a scan of all is fast enough and never wrong. Above, inverted lists or a graph over small codes
propose candidates, which are compared exactly with the stored vectors. How many lists to probe and how many
candidates to compare is measured on queries that the index was not trained on, against the exact answer.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from index.config import CONCEPT, EXACT_ROWS, FEWEST, GROWTH, QUERIES, TRAIN_ROWS, IndexConfig, IndexKind, K
from index.local.snapshot import Tuning
from index.local.vectors.ann import CoarseIndex, FlatRows, Positions
from index.local.vectors.ranked import Ids
from index.local.vectors.segment import Segment
from index.rows import Rows

GRAPH_LISTS = 256  # a graph's codes are trained on as many rows as those of so many lists
MOST_EFFORT = 1024  # the widest beam of a graph
FACTORS = (2, 4, 8, 16, 32, 64, 128)  # candidates compared for each hit wanted


def choose(n: int, config: IndexConfig) -> IndexKind:
    """The kind for `n` rows.

    Auto takes RaBitQ (Gao & Long 2024) for many rows: at 512 dimensions it needs a sixth of SQ8's memory and a quarter
    of its time for the same recall, and was faster than a graph, which takes 17 times as long to build
    (docs/benchmarks.md). The others are for data on which they measure better.
    """
    if n < FEWEST:
        return "exact"
    if config.kind != "auto":
        return config.kind
    return "exact" if n <= EXACT_ROWS else "ivf-rabitq"


def factory(kind: IndexKind, n: int, dim: int) -> str:
    """FAISS's name of a kind for `n` rows, with 2 to 4 sqrt(n) inverted lists."""
    nlist = min(2 ** math.floor(math.log2(4 * math.sqrt(n))), max(1, n // TRAIN_ROWS))
    match kind:
        case "ivf-rabitq":
            return f"IVF{nlist},RaBitQ"
        case "ivf-sq8":
            return f"IVF{nlist},SQ8"
        case "ivf-pq":
            # bytes a row: the largest divisor of dim that is no more than an eighth of it. "np", not polysemous: else
            # FAISS numbers codes by their likeness, a second or more a byte, for a search that is never asked
            return f"IVF{nlist},PQ{next(m for m in range(max(dim // 8, 1), 0, -1) if dim % m == 0)}np"
        case "hnsw-sq8":
            return "HNSW32,SQ8"
        case "exact":
            raise ValueError("an exact index has no codes")


def build(ids: Ids, rows: FlatRows, config: IndexConfig, before: tuple[CoarseIndex, Tuning] | None = None) -> Segment:
    """Index rows under ascending ids (n,) as wished.

    `before`: an index that was trained when there were fewer, emptied; it is used again while it fits.
    """
    n, dim = rows.x16.shape
    kind = choose(n, config)
    if kind == "exact":
        return Segment(ids, rows)
    rng = np.random.default_rng(n)
    order = rng.permutation(n)
    few = min(QUERIES, n // 4)  # held out
    held_out, rest = np.sort(order[:few]), order[few:]
    if before is not None and before[1].kind == kind and n <= GROWTH * before[1].trained_rows:
        coarse, tuning = before
    else:
        tuning = Tuning(kind, factory(kind, n, dim), n, 0, 0, 0.0, config.recall)
        sample = np.sort(rest[: (tuning.lists or GRAPH_LISTS) * TRAIN_ROWS])
        coarse = CoarseIndex.train(tuning.factory, rows.x16[sample].astype(np.float32))
    coarse.fill(rows)
    tuned = tune(Segment(ids, rows, coarse, replace(tuning, target=config.recall)), held_out)
    if config.kind == "auto" and tuned.tuning is not None and tuned.tuning.recall < config.recall:
        return Segment(ids, rows)  # these data are no easier to find by codes: compare them all
    return tuned


def tune(segment: Segment, held_out: Positions) -> Segment:
    """The segment with the fastest search that reaches its target on each sort of query; else with the best there is.

    Two sorts, since they ask for different things: rows that the index was not trained on (look-alikes: the right
    lists must be probed), and means of a held-out row's neighbours, which is what words point at (many rows score
    nearly alike: many candidates must be compared).
    """
    assert segment.tuning is not None
    exact = Segment(np.arange(len(segment)), segment.rows)  # so that what it finds are positions
    own = segment.rows.at(held_out)
    neighbours = [found for _, found in exact.search(own, CONCEPT)]
    concepts = np.stack([segment.rows.at(found).mean(axis=0) for found in neighbours])
    truths = [(q, set(found[:K].tolist())) for q, found in zip(own, neighbours, strict=True)]
    truths += [(q, set(found.tolist())) for q, (_, found) in zip(concepts, exact.search(concepts, K), strict=True)]
    best: Tuning | None = None
    fastest = math.inf
    for effort in _efforts(segment.tuning.lists or MOST_EFFORT):
        recalls = _recalls(segment, truths, effort)
        factor, recall = next(
            ((factor, recall) for factor, recall in recalls.items() if recall >= segment.tuning.target),
            max(recalls.items(), key=lambda item: item[1]),
        )
        tuned = replace(segment.tuning, effort=effort, factor=factor, recall=round(recall, 4))
        reached = recall >= segment.tuning.target
        if not reached:
            if best is None or recall > best.recall:
                best = tuned
            continue
        seconds = _seconds(Segment(segment.ids, segment.rows, segment.coarse, tuned), truths)
        if seconds >= fastest:
            break  # more effort has begun to cost more than it saves in candidates
        best, fastest = tuned, seconds
    return Segment(segment.ids, segment.rows, segment.coarse, best)


def _efforts(most: int) -> Iterator[int]:
    """Half steps of doubling."""
    effort = 8.0
    while effort < most:
        yield round(effort)
        effort *= math.sqrt(2)
    yield most


def _recalls(segment: Segment, truths: list[tuple[Rows, set[int]]], effort: int) -> Mapping[int, float]:
    """recall@10 by factor, of the sort of query (each half of them) that does worse.

    Comparing more candidates is reading further in the same list, so one search of the longest list tells all.
    """
    assert segment.coarse is not None
    xq = np.stack([q for q, _ in truths])
    found = segment.coarse.nearest(xq, K * max(FACTORS), effort)
    hits = np.zeros((len(truths), len(FACTORS)))
    for i, (_, truth) in enumerate(truths):
        is_hit = np.isin(found[i], list(truth))
        hits[i] = [np.count_nonzero(is_hit[: K * factor]) / len(truth) for factor in FACTORS]
    half = len(truths) // 2
    worse = np.minimum(hits[:half].mean(axis=0), hits[half:].mean(axis=0))
    return dict(zip(FACTORS, worse.tolist(), strict=True))


def _seconds(segment: Segment, truths: list[tuple[Rows, set[int]]]) -> float:
    """The median time of one search."""
    times = []
    for q, _ in truths[:: max(1, len(truths) // 32)]:
        started = time.perf_counter()
        segment.search(q[None], K)
        times.append(time.perf_counter() - started)
    return float(np.median(times))
