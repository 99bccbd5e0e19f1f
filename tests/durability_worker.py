"""The process that test_index_durability.py kills: it changes a collection without end and says what it does.

A nursery imports everything once. For each line that it reads, [seed, wanted call], it forks a writer. Writers say on
the shared standard output, one JSON list a line, ["try", call, with what], and when the call has returned ["did", call,
result]. When a writer is dead the nursery says ["dead"]. A line is shorter than PIPE_BUF, so it comes whole.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import index.local.building
from index.collection import Collection, Entry, open_collection

CALLS = ["open", "add", "replace", "update", "delete", "compact", "begin", "write", "swap"]
DIMS = (16, 8)  # of the models, which take turns
BATCH = 12
MOST = 200  # entries
Content = list[tuple[str, int]]  # paths, and what is in each


@cache
def vector(n: int, fingerprint: str) -> np.ndarray:
    """What model `fingerprint` makes of content `n`: a float32 unit vector (dim,)."""
    turn = int(fingerprint)
    x = np.random.default_rng((n, turn)).standard_normal(DIMS[turn % 2])
    return (x / np.linalg.norm(x)).astype(np.float32)


def entries(content: Content, fingerprint: str) -> list[Entry]:
    """A path says its modality: /image/7, /text/8."""
    return [
        Entry(vector(n, fingerprint), "image" if path.startswith("/image") else "text", path, metadata={"n": n})
        for path, n in content
    ]


def say(*words: Any) -> None:
    os.write(1, (json.dumps(words) + "\n").encode())


class Writer:
    """Each method named in CALLS announces one call of a collection, makes it, and says that it returned."""

    def __init__(self, data: Path, seed: int) -> None:
        self.data = data
        self.rng = np.random.default_rng(seed)
        self.n = seed * 1_000_000  # the last content that was made
        self.pets: Collection

    def make(self, call: str) -> None:
        with_what = getattr(self, f"for_{call}", lambda: None)()
        say("try", call, with_what)
        say("did", call, getattr(self, call)(with_what))

    def new(self, paths: list[str | None]) -> Content:
        self.n += len(paths)
        first = self.n - len(paths)
        return [(path or f"/{('image', 'text')[n % 2]}/{n}", n) for n, path in enumerate(paths, first)]

    def some(self, most: int = BATCH) -> list[Any]:
        records = list(self.pets.records())
        return [records[i] for i in self.rng.choice(len(records), min(most, len(records)), replace=False)]

    def open(self, _: None) -> None:
        self.pets = open_collection(self.data, "pets", writable=True)

    def for_add(self) -> Content:
        return self.new([None] * BATCH)

    def for_replace(self) -> Content:
        return self.new([record.path for record in self.some()])

    def add(self, content: Content) -> list[int]:
        return self.pets.upsert(entries(content, self.pets.fingerprint))

    replace = add

    def for_update(self) -> tuple[list[int], str]:
        return [record.id for record in self.some()], f"seen at {self.n}"

    def update(self, what: tuple[list[int], str]) -> None:
        self.pets.update({i: {"text": what[1]} for i in what[0]})

    def for_delete(self) -> list[int]:
        return [record.id for record in self.some(MOST // 2 if self.pets.count() > MOST else BATCH)]

    def delete(self, ids: list[int]) -> None:
        self.pets.delete(ids)

    def compact(self, _: None) -> None:
        self.pets.compact()

    # A reindex is begun, written a few rows at a time while other calls go on, and swapped in when nothing is left.

    def next_model(self) -> str:
        return str(int(self.pets.fingerprint) + 1)

    def for_begin(self) -> str:
        return self.next_model()

    def begin(self, model: str) -> None:
        self.pets.next.begin(f"model {model}", model, DIMS[int(model) % 2])

    def for_write(self, most: int = BATCH) -> list[int]:
        if not self.pets.next.info():
            self.make("begin")
        return [record.id for record in self.pets.next.left(limit=most)]

    def write(self, ids: list[int]) -> None:
        x = [vector(self.pets.get(i).metadata["n"], self.next_model()) for i in ids]
        if ids:
            self.pets.next.write(ids, np.array(x))

    def for_swap(self) -> str:
        self.write(self.for_write(10 * MOST))
        return self.next_model()

    def swap(self, _: str) -> None:
        self.pets.next.swap()


def write(data: Path, seed: int, wanted: str) -> None:
    """Open the collection, make the call `wanted` soon and then any, until killed."""
    writer = Writer(data, seed)
    writer.make("open")
    for call in [*writer.rng.choice(CALLS[1:], writer.rng.integers(0, 3)), wanted]:
        if call != "open":
            writer.make(str(call))
    while True:
        full = writer.pets.count() > MOST
        writer.make("delete" if full else str(writer.rng.choice(CALLS[1:-1])))


def main() -> None:
    """Fork a writer for each line of standard input."""
    data = Path(sys.argv[1])
    index.local.building.BACKGROUND_ROWS = 3 * BATCH  # so that the index is often built anew beside the calls
    for line in sys.stdin:
        seed, wanted = json.loads(line)
        child = os.fork()
        if not child:
            try:
                write(data, seed, wanted)
            except BaseException:
                say("failed", traceback.format_exc()[-2000:])
            os._exit(1)
        say("born", child)
        os.waitpid(child, 0)
        say("dead")


if __name__ == "__main__":
    main()
