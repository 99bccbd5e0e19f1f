"""Reading in threads: order, bounds, errors."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from base.read_ahead import one_ahead, read_batches


@pytest.mark.parametrize("overlap", [False, True])
@pytest.mark.parametrize("n", [0, 1, 7, 8, 20])
def test_order_is_kept_and_every_item_read_once(overlap: bool, n: int) -> None:
    def read(item: int) -> int:
        time.sleep(0.001 * (item % 3))
        return item * 10

    got = list(read_batches(read, range(n), 4, overlap=overlap, readers=3))
    assert [item for batch in got for item in batch] == [item * 10 for item in range(n)]
    assert all(len(batch) == 4 for batch in got[:-1])


@pytest.mark.parametrize(("overlap", "most"), [(False, 4), (True, 8)])
def test_only_so_much_is_taken_ahead(overlap: bool, most: int) -> None:
    taken: list[int] = []

    def items() -> object:
        for i in range(100):
            taken.append(i)
            yield i

    stream = read_batches(lambda item: item, items(), 4, overlap=overlap)  # type: ignore[arg-type]
    next(stream)
    assert len(taken) == most
    stream.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("reader")]


def test_what_a_reader_raises_is_raised_at_its_turn() -> None:
    def read(item: int) -> int:
        if item == 5:
            raise ValueError("five")
        return item

    stream = read_batches(read, range(12), 4, overlap=True)
    assert next(stream) == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="five"):
        next(stream)


@pytest.mark.parametrize(("overlap", "made"), [(False, [0]), (True, [0, 1])])
def test_one_is_made_ahead_while_the_caller_works(overlap: bool, made: list[int]) -> None:
    so_far: list[int] = []
    second = threading.Event()
    closed = []

    def items() -> Iterator[int]:
        try:
            for i in range(5):
                so_far.append(i)
                if i == 1:
                    second.set()
                yield i
        finally:
            closed.append(True)

    stream = one_ahead(items(), overlap=overlap)
    assert next(stream) == 0
    assert second.wait(5 if overlap else 0.01) == overlap
    assert so_far == made
    assert list(stream) == [1, 2, 3, 4]
    left = one_ahead(items(), overlap=overlap)
    next(left)
    left.close()  # type: ignore[attr-defined]
    del left
    assert len(closed) == 2
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ahead")]


def test_what_making_one_ahead_raises_is_raised_at_its_turn() -> None:
    stream = one_ahead((1 // (2 - i) for i in range(4)), overlap=True)
    assert (next(stream), next(stream)) == (0, 1)
    with pytest.raises(ZeroDivisionError):
        next(stream)
