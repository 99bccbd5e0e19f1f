"""Which of Milvus's indexes a collection gets, and how hard it must search to find what an exact search finds.

In the words of index.local.vectors.tuning and to the same target: recall of the first ten, of two sorts of queries,
against the exact answer. Makes none; `vector_index` does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from base.errors import NotInStore
from index.config import EXACT_ROWS, FEWEST, GROWTH, TRAIN_ROWS, IndexConfig, IndexKind, K

KINDS: dict[IndexKind, str] = {"exact": "FLAT", "hnsw-sq8": "HNSW", "ivf-sq8": "IVF_SQ8"}
BEAMS = (16, 32, 64, 128, 256, 512, 1024)
WIDEST, MOST_LISTS = 32_768, 65_536  # beam and lists that a server takes
CANDIDATES = 4  # compared exactly for each hit wanted, of an index of codes

Ids = NDArray[np.int64]
Rows = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Tuning:
    """How an index is searched, and what that was measured to find."""

    kind: IndexKind
    rows: int  # when it was made
    effort: int  # width of the beam (ef), or lists probed (nprobe)
    recall: float
    target: float

    @property
    def candidates(self) -> int:
        """How many are compared exactly for each hit wanted; 0: scores are exact as they come."""
        return CANDIDATES if self.kind == "ivf-sq8" else 0

    def params(self, fetch: int, *, wide: bool = False) -> dict[str, int]:
        """What a search for so many is asked with; `wide`: one that found fewer, for a filter stood against it."""
        if self.kind == "ivf-sq8":
            return {"nprobe": MOST_LISTS if wide else self.effort}
        return {"ef": min(max(self.effort, fetch) * (8 if wide else 1), WIDEST)}


def choose(n: int, config: IndexConfig) -> IndexKind:
    """The kind for `n` rows. NotInStore: Milvus has none such."""
    if config.kind == "auto":
        return "exact" if n <= EXACT_ROWS else "hnsw-sq8"
    if config.kind not in KINDS:
        later = "IVF_RABITQ is of Milvus 2.6, and not used; " if config.kind == "ivf-rabitq" else ""
        raise NotInStore(
            f"an index of kind {config.kind} is not had on Milvus: {later}leave --kind out, take exact, hnsw-sq8 or "
            "ivf-sq8, or move the collection to the local store"
        )
    return "exact" if n < FEWEST else config.kind


def is_due(n: int, config: IndexConfig, tuning: Tuning | None, tried: int) -> bool:
    """Whether `n` rows call for another index than the one that is there, or for measuring it anew.

    `tried`: of how many rows an index was found to be no use; 0: of none.
    """
    kind = choose(n, config)
    if tuning is None:
        return kind != "exact" and n > GROWTH * tried
    if kind == "exact":
        return config.kind == "exact" or GROWTH * n < tuning.rows
    return kind != tuning.kind or n > GROWTH * tuning.rows


def index_of(kind: IndexKind, n: int = 0) -> dict[str, Any]:
    """As Milvus is asked for it, for `n` rows."""
    more = {"hnsw-sq8": {"M": 16, "efConstruction": 200}, "ivf-sq8": {"nlist": _lists(n)}}.get(kind, {})
    return {"index_type": KINDS[kind], "metric_type": "IP", "params": more}


def _lists(n: int) -> int:
    return int(min(2 ** math.floor(math.log2(4 * math.sqrt(max(n, 1)))), max(1, n // TRAIN_ROWS)))


def exactly(blocks: Iterable[tuple[Ids, Rows]], xq: Rows, k: int) -> list[list[int]]:
    """The ids of the `k` nearest for each row of `xq` (nq, dim), of rows (n, dim) that come with their ids (n,)."""
    best = [(np.empty(0, np.float32), np.empty(0, np.int64))] * len(xq)
    for ids, rows in blocks:
        for i, scores in enumerate(xq @ rows.T):
            both, keys = np.concatenate([best[i][0], scores]), np.concatenate([best[i][1], ids])
            first = np.lexsort((keys, -both))[:k]
            best[i] = both[first], keys[first]
    return [ids.tolist() for _, ids in best]


def tuned(
    kind: IndexKind,
    n: int,
    target: float,
    found_by: Callable[[Tuning], Sequence[Sequence[int]]],
    truths: Sequence[Sequence[int]],
) -> Tuning:
    """The least effort that reaches the target on both sorts of queries; else the best there is.

    `found_by` asks all queries, the first half of one sort and the rest of the other; `truths` are the exact answers.
    """
    efforts = sorted({min(beam, _lists(n)) for beam in (*BEAMS, _lists(n))}) if kind == "ivf-sq8" else BEAMS
    best: Tuning | None = None
    for effort in efforts:
        tuning = Tuning(kind, n, effort, 0.0, target)
        answers = zip(found_by(tuning), (truth[:K] for truth in truths), strict=True)
        hits = [len({*found} & {*truth}) / len(truth) for found, truth in answers]
        half = len(hits) // 2
        tuning = replace(tuning, recall=round(float(min(np.mean(hits[:half]), np.mean(hits[half:]))), 4))
        if best is None or tuning.recall > best.recall:
            best = tuning
        if tuning.recall >= target:
            break
    assert best is not None
    return best
