"""What was acknowledged is there, whenever its writer is killed; and who reads meanwhile sees it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from durability_worker import CALLS, DIMS, vector

from base.errors import InputError
from base.locks import LOCK
from index.collection import (
    Collection,
    create_collection,
    open_collection,
)

ROOT = Path.cwd()
WORKER = Path(__file__).with_name("durability_worker.py")
ROUNDS = 200
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "tests"))), "OMP_NUM_THREADS": "1"}

# --- killed at any moment ---


@dataclass
class Expected:
    """What the collection must hold, as far as it was acknowledged."""

    rows: dict[str, tuple[int | None, int, str | None]] = field(default_factory=dict)  # path -> id, content, text
    fingerprint: str = "0"
    done: frozenset[int] = frozenset()  # ids that have a vector of the next model

    def after(self, call: str, what: Any, ids: Any = None) -> Expected:
        """The same with one more call and what it returned; an id that is not known yet is None."""
        rows, fingerprint, done = dict(self.rows), self.fingerprint, self.done
        if call in ("add", "replace"):
            for (path, n), i in zip(what, ids or [None] * len(what), strict=True):
                done -= {rows[path][0]} if path in rows else set()
                rows[path] = (rows[path][0] if path in rows else i, n, None)
        elif call == "update":
            changed, text = set(what[0]), what[1]
            rows = {path: (i, n, text if i in changed else old) for path, (i, n, old) in rows.items()}
        elif call == "delete":
            rows = {path: row for path, row in rows.items() if row[0] not in set(what)}
            done -= set(what)
        elif call == "write":
            done |= set(what)
        elif call == "swap":
            fingerprint, done = what, frozenset()
        return Expected(rows, fingerprint, done)

    def is_in(self, pets: Collection, given: set[int]) -> bool:
        """Whether `pets` holds this, its new rows under ids that were never given before."""
        there = {r.path: (r.id, r.metadata["n"], r.text) for r in pets.records()}
        if self.fingerprint != pets.fingerprint or set(self.rows) != set(there):
            return False
        if pets.next.info() and self.done & {record.id for record in pets.next.left(limit=10**6)}:
            return False
        return all(
            there[path] == row or (row[0] is None and there[path][1:] == row[1:] and there[path][0] not in given)
            for path, row in self.rows.items()
        )

    def ids(self) -> set[int]:
        return {row[0] for row in self.rows.values() if row[0] is not None}


def snapshot_files(data: Path) -> list[Path]:
    """What `compact` wrote: all but the catalog and the lock."""
    return sorted(p for p in (data / "collections/pets").iterdir() if p.name[:7] not in ("catalog", LOCK))


def check_searches(pets: Collection, rng: np.random.Generator) -> None:
    """Vectors are those of what the rows say; searches find what plain NumPy finds, in both modalities."""
    records = list(pets.records())
    x = pets.vectors([r.id for r in records])
    expected = np.array([vector(r.metadata["n"], pets.fingerprint) for r in records]).reshape(-1, pets.dim)
    np.testing.assert_allclose(x, expected, atol=1e-3)
    xq = rng.standard_normal((4, pets.dim)).astype(np.float32)
    xq /= np.linalg.norm(xq, axis=1, keepdims=True)
    for modality in ("image", "text"):
        mine = np.array([r.modality == modality for r in records], bool)
        ids, scores = np.array([r.id for r in records])[mine], xq @ x[mine].T
        for hits, row in zip(pets.search_many(xq, 10, modality), scores, strict=True):
            best = np.sort(row)[::-1][:10]
            np.testing.assert_allclose([hit.score for hit in hits], best, atol=1e-5)
            found = dict(zip(ids.tolist(), row.tolist(), strict=True))
            np.testing.assert_allclose([found[hit.id] for hit in hits], best, atol=1e-5)


def start_nursery(data: Path) -> subprocess.Popen[str]:
    command = [sys.executable, str(WORKER), str(data)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)


def test_killed_at_any_moment_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    create_collection(tmp_path, "pets", model="model 0", fingerprint="0", dim=DIMS[0]).close()
    rng = np.random.default_rng(4)
    expected, given = Expected(), set[int]()
    longest = dict.fromkeys(CALLS, 0.01)  # seconds to wait before the kill; so that most kills fall into the call
    inside = Counter[str]()  # kills that fell into a call
    with start_nursery(tmp_path) as nursery:
        assert nursery.stdin
        assert nursery.stdout
        for turn in range(ROUNDS):
            wanted = CALLS[turn % len(CALLS)]
            print(json.dumps([turn, wanted]), file=nursery.stdin, flush=True)
            child, calls = 0, []
            while (said := json.loads(nursery.stdout.readline())) != ["dead"]:
                assert said[0] != "failed", said[1]
                if said[0] == "born":
                    child = said[1]
                elif said[0] == "did":
                    expected = expected.after(*calls.pop(), said[2])
                    given |= expected.ids()
                else:
                    calls.append(said[1:])
                    if said[1] == wanted and child:
                        time.sleep(rng.uniform(0, longest[wanted]))
                        with suppress(ProcessLookupError):  # it failed, and says so next
                            os.kill(child, signal.SIGKILL)
                        child = 0
            with open_collection(tmp_path, "pets") as pets:
                # The call that was under way has happened, or it has not.
                states = [expected, *(expected.after(*call) for call in calls)]
                expected = next((state for state in states if state.is_in(pets, given)), None)
                assert expected, f"round {turn}: {calls}"
                check_searches(pets, rng)
                if turn % 10 == 0:
                    assert pets.check() == []
                expected.rows = {r.path: (r.id, r.metadata["n"], r.text) for r in pets.records()}
            given |= expected.ids()
            inside.update(call[0] for call in calls)
            longest[wanted] *= 1.1 if calls and calls[-1][0] == wanted else 0.8
        nursery.stdin.close()
    with open_collection(tmp_path, "pets", writable=True) as pets:
        pets.compact()
        assert len(snapshot_files(tmp_path)) == 4  # two a modality: nothing is left of what was half-written
    assert set(inside) == set(CALLS)
    assert inside.total() > ROUNDS / 3  # or the kills were not worth much
    assert len(given) > 300
    assert int(expected.fingerprint) > 2  # swaps


def finds_what_was_acknowledged(pets: Collection, i: int, path: str, n: int) -> bool:
    """Search for entry `i` by the vector of its content; False if the writer has gone on in the meantime."""
    model = pets.fingerprint
    try:
        [hit] = pets.search(vector(n, model), 1, "image" if path.startswith("/image") else "text", ids=[i])
    except (InputError, ValueError):  # another model's vectors are longer; or it was deleted
        return False
    if hit.record.metadata != {"n": n} or pets.fingerprint != model:
        return False
    assert hit.score > 0.999
    return True


def test_a_reader_follows_a_writer_in_another_process(tmp_path: Path) -> None:
    """Through commits, compactions and changes of the model, without being opened again."""
    create_collection(tmp_path, "pets", model="model 0", fingerprint="0", dim=DIMS[0]).close()
    seen, models, child, content, left = 0, set(), 0, [], 0
    with open_collection(tmp_path, "pets") as pets, start_nursery(tmp_path) as nursery:
        assert nursery.stdin
        assert nursery.stdout
        for turn in range(6):
            print(json.dumps([turn, "swap"]), file=nursery.stdin, flush=True)
            while (said := json.loads(nursery.stdout.readline())) != ["dead"]:
                assert said[0] != "failed", said[1]
                if said[0] == "born":
                    child, left = said[1], 40
                elif said[0] == "try":
                    content = said[2]
                else:
                    left -= 1
                    if left == 0:
                        os.kill(child, signal.SIGKILL)
                    if said[1] in ("add", "replace"):
                        rows = zip(said[2], content, strict=True)
                        seen += sum(finds_what_was_acknowledged(pets, i, path, n) for i, (path, n) in rows)
                        models.add(pets.fingerprint)
            check_searches(pets, np.random.default_rng(turn))
        nursery.stdin.close()
    assert seen > 50
    assert len(models) > 3
