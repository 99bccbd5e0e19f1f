"""What was acknowledged is there: whatever is killed, full, read-only, damaged or copied meanwhile."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from durability_worker import CALLS, DIMS, vector

from encoder.errors import CollectionError, InputError
from index.collection import (
    Collection,
    Entry,
    Record,
    create_collection,
    delete_collection,
    list_collections,
    open_collection,
)
from index.kind import Wish

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
        if pets.next_info() and self.done & {record.id for record in pets.next_left(limit=10**6)}:
            return False
        return all(
            there[path] == row or (row[0] is None and there[path][1:] == row[1:] and there[path][0] not in given)
            for path, row in self.rows.items()
        )

    def ids(self) -> set[int]:
        return {row[0] for row in self.rows.values() if row[0] is not None}


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


# --- a disk that is full, a disk that is read-only ---


def on_a_disk_of_its_own(function: Callable[[Path], None], folder: Path, mount: str) -> None:
    """Run `function(folder)` in a process that sees another disk at `folder`, as `mount` makes it."""
    if subprocess.run(["unshare", "-Urm", "true"], capture_output=True).returncode:
        pytest.skip("needs a kernel that lets users make namespaces")
    call = f"from pathlib import Path; import {__name__} as t; t.{function.__name__}(Path({str(folder)!r}))"
    done = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", f'{mount} && exec "$1" -c "$2"', str(folder), sys.executable, call],
        capture_output=True, text=True, env=ENVIRONMENT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def rows(seed: int, n: int = 150, dim: int = 64) -> list[Entry]:
    x = np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float32)
    return [Entry(v, "image", f"/{seed}/{i}", metadata={"seed": seed}) for i, v in enumerate(x)]


def finds(pets: Collection, entries: list[Entry]) -> bool:
    hits = pets.search_many(np.array([entry.vector for entry in entries]), 1)
    return [row[0].record.path for row in hits] == [entry.path for entry in entries]


def fill_the_disk(folder: Path) -> None:
    def fill(ballast: Path) -> None:
        with ballast.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(bytes(4096)):
                pass

    (folder / "ballast").write_bytes(bytes(1 << 20))
    pets = create_collection(folder, "pets", model="x", fingerprint="0", dim=64)
    pets.upsert(rows(0))
    pets.compact()

    def write_all() -> None:
        for seed in range(1, 1000):
            pets.upsert(rows(seed))

    with pytest.raises(CollectionError, match="the disk is full; free some space") as caught:
        write_all()
    assert "\n" not in str(caught.value)
    written = max(r.metadata["seed"] for r in pets.records()) + 1
    assert [r.metadata["seed"] for r in pets.records()] == [seed for seed in range(written) for _ in range(150)]
    assert finds(pets, rows(0) + rows(written - 1))
    assert not pets.search(rows(written)[0].vector, 1)[0].score > 0.99
    with open_collection(folder, "pets") as reader:
        assert finds(reader, rows(0) + rows(written - 1))

    (folder / "ballast").unlink()
    pets.upsert(rows(written))  # no restart was needed
    assert finds(pets, rows(written))

    fill(folder / "ballast")
    there = snapshot_files(folder)
    with pytest.raises((CollectionError, OSError), match=r"disk is full|No space left"):
        pets.compact()
    assert finds(pets, rows(0) + rows(written))
    assert snapshot_files(folder) == there  # what was half-written takes no space
    pets.close()
    with open_collection(folder, "pets") as reader:
        assert finds(reader, rows(0) + rows(written))
    (folder / "ballast").unlink()
    with open_collection(folder, "pets", writable=True) as pets:
        assert finds(pets, rows(0) + rows(written))
        pets.delete([r.id for r in pets.records() if r.metadata["seed"] == 1])
        pets.compact()
        pets.upsert(rows(1))
        assert finds(pets, rows(0) + rows(1) + rows(written))
        assert pets.check() == []


def test_a_full_disk_leaves_the_old_state_and_can_be_freed(tmp_path: Path) -> None:
    on_a_disk_of_its_own(fill_the_disk, tmp_path, 'mount -t tmpfs -o size=6m none "$0"')


def use_a_read_only_disk(folder: Path) -> None:
    assert not os.access(folder / "collections/pets/catalog.sqlite", os.W_OK)
    with open_collection(folder, "pets") as pets:
        assert finds(pets, rows(0))
        assert pets.check() == []
        assert pets.info().counts["image"] == 150
        with pytest.raises(CollectionError, match="for reading only"):
            pets.upsert(rows(1))
    assert [info.problem for info in list_collections(folder)] == [None]
    with pytest.raises(CollectionError, match=r"[Rr]ead-only"):
        open_collection(folder, "pets", writable=True)
    with pytest.raises((CollectionError, OSError), match=r"[Rr]ead-only"):
        delete_collection(folder, "pets")
    with pytest.raises((CollectionError, OSError), match=r"[Rr]ead-only"):
        create_collection(folder, "new", model="x", fingerprint="0", dim=64)


@pytest.mark.parametrize("snapshot", [True, False], ids=["with a snapshot", "without"])
def test_a_read_only_disk_can_be_searched(tmp_path: Path, snapshot: bool) -> None:
    with create_collection(tmp_path, "pets", model="x", fingerprint="0", dim=64) as pets:
        pets.upsert(rows(0))
        if snapshot:
            pets.compact()
    on_a_disk_of_its_own(use_a_read_only_disk, tmp_path, 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0"')


# --- a damaged snapshot, a damaged catalog ---


def snapshot_files(data: Path) -> list[Path]:
    """What `compact` wrote: all but the catalog and the lock."""
    return sorted(p for p in (data / "collections/pets").iterdir() if p.name[:7] not in ("catalog", "writer."))


@pytest.fixture
def pets_with_snapshot(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    with create_collection(tmp_path, "pets", model="x", fingerprint="0", dim=64) as pets:
        pets.upsert(rows(0) + rows(1))
        pets.compact(getattr(request, "param", None))
        pets.delete([r.id for r in pets.records() if r.metadata["seed"] == 1])
        pets.upsert(rows(2))
    return tmp_path


DAMAGE: dict[str, Callable[[bytes], bytes | None]] = {
    "missing": lambda content: None,
    "empty": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "one byte short": lambda content: content[:-1],
    "longer": lambda content: content + bytes(100),
    "zeros": lambda content: bytes(len(content)),
    **{
        f"flipped at {share}": lambda content, at=share: (  # type: ignore[misc]
            content[: int(at * len(content))]
            + bytes(b ^ 0xFF for b in content[int(at * len(content)) :][:16])
            + content[int(at * len(content)) + 16 :]
        )
        for share in (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99)
    },
}


@pytest.mark.parametrize(
    ("damage", "pets_with_snapshot"),
    [*((damage, Wish()) for damage in DAMAGE), *((damage, Wish("ivf-sq8", 1.0)) for damage in ("missing", "cut"))],
    ids=[*DAMAGE, "coarse missing", "coarse cut"],
    indirect=["pets_with_snapshot"],
)
def test_a_damaged_snapshot_is_never_searched_and_heals(pets_with_snapshot: Path, damage: str) -> None:
    there = snapshot_files(pets_with_snapshot)
    assert len(there) > 1
    for path in there:
        content = DAMAGE[damage](path.read_bytes())
        path.unlink()  # a new file, as one that is mapped is never written to
        if content is not None:
            path.write_bytes(content)
    with open_collection(pets_with_snapshot, "pets") as pets:
        assert finds(pets, rows(0) + rows(2))
        assert len(pets.search(rows(0)[0].vector, 1000)) == 300
    with open_collection(pets_with_snapshot, "pets", writable=True) as pets:
        assert finds(pets, rows(0) + rows(2))
        pets.compact()
        assert pets.check() == []
    assert len(snapshot_files(pets_with_snapshot)) == len(there)
    with open_collection(pets_with_snapshot, "pets") as pets:
        assert finds(pets, rows(0) + rows(2))


def test_the_snapshot_of_another_collection_is_not_taken(pets_with_snapshot: Path, tmp_path: Path) -> None:
    with create_collection(tmp_path / "other", "pets", model="x", fingerprint="0", dim=64) as other:
        other.upsert(rows(7) + rows(8))
        other.compact()
    theirs = snapshot_files(tmp_path / "other")
    for mine, its in zip(snapshot_files(pets_with_snapshot), theirs, strict=True):
        mine.unlink()
        shutil.copyfile(its, mine)
    with open_collection(pets_with_snapshot, "pets") as pets:
        assert finds(pets, rows(0) + rows(2))


def answers(data: Path) -> tuple[list[Record], list[list[tuple[int, float]]]]:
    with open_collection(data, "pets") as pets:
        hits = pets.search_many([entry.vector for entry in rows(0, 5)], 10)
        return list(pets.records()), [[(hit.id, round(hit.score, 5)) for hit in row] for row in hits]


def problems(data: Path) -> list[str]:
    try:
        with open_collection(data, "pets") as pets:
            return pets.check()
    except CollectionError as error:
        return [str(error)]


def test_each_page_of_a_catalog_that_is_lost_is_noticed(pets_with_snapshot: Path) -> None:
    """Pages of zeros, one after the other: the check names it, or nothing was in it. No search is wrong meanwhile."""
    catalog = pets_with_snapshot / "collections/pets/catalog.sqlite"
    whole, right, named = catalog.read_bytes(), answers(pets_with_snapshot), 0
    assert problems(pets_with_snapshot) == []
    pages = range(0, len(whole), 8192)
    for page in pages:
        catalog.write_bytes(whole[:page] + bytes(8192) + whole[page + 8192 :])
        found = problems(pets_with_snapshot)
        named += bool(found)
        assert not any("\n" in problem for problem in found)
        try:
            assert answers(pets_with_snapshot) == right, page
        except CollectionError:
            assert found, page
    assert named > len(pages) / 2
    for length in (0, 100, 8192, len(whole) // 2, len(whole) - 8192):
        catalog.write_bytes(whole[:length])
        assert problems(pets_with_snapshot), length
        with pytest.raises(CollectionError):
            answers(pets_with_snapshot)
    catalog.write_bytes(whole)
    assert problems(pets_with_snapshot) == []
    assert answers(pets_with_snapshot) == right


def test_flipped_bytes_in_a_catalog_raise_only_what_is_ours(pets_with_snapshot: Path) -> None:
    """A letter in a caption may change unseen: SQLite keeps no checksums. But only our errors are raised."""
    catalog = pets_with_snapshot / "collections/pets/catalog.sqlite"
    whole, rng, named = catalog.read_bytes(), np.random.default_rng(1), 0
    for _ in range(150):
        flipped = bytearray(whole)
        at = int(rng.integers(len(whole)))
        for i in range(at, min(at + int(rng.integers(1, 40)), len(whole))):
            flipped[i] ^= int(rng.integers(1, 256))
        catalog.write_bytes(flipped)
        found = problems(pets_with_snapshot)
        named += bool(found)
        assert not any("\n" in problem for problem in found)
        with suppress(CollectionError):
            answers(pets_with_snapshot)
    assert named > 30
