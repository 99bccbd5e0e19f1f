import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from encoder.errors import Overloaded
from service.batcher import Batcher
from service.pool import Pool


class Squares:
    """A model of numbers: n -> (n, n squared). Notes its batches, refuses 666, and can be held."""

    def __init__(self):
        self.batches = []
        self.go = threading.Event()
        self.go.set()

    def __call__(self, numbers):
        self.batches.append(list(numbers))
        assert self.go.wait(10)
        if 666 in numbers:
            raise ValueError("not that one")
        return np.array([(n, n * n) for n in numbers], np.float32)


def run(scenario, **limits):
    """Run `scenario(batcher, model)` in an event loop of its own, and give the model back."""
    model = Squares()

    async def main():
        with ThreadPoolExecutor(1) as executor:
            batcher = Batcher(model, executor, **{"max_batch": 8, "queue_size": 100, "name": "test"} | limits)
            try:
                await scenario(batcher, model)
            finally:
                model.go.set()
                await batcher.close()

    asyncio.run(main())
    return model


async def begun(batcher, *requests):
    """Start requests, one task each, and let them reach the queue."""
    tasks = [asyncio.create_task(batcher(list(request))) for request in requests]
    await asyncio.sleep(0.05)
    return tasks


def test_requests_that_wait_together_run_together():
    async def scenario(batcher, model):
        model.go.clear()
        tasks = await begun(batcher, [0], [1], [2], [3, 4])
        model.go.set()
        answers = await asyncio.gather(*tasks)
        assert [answer[:, 0].tolist() for answer in answers] == [[0], [1], [2], [3, 4]]
        assert answers[3][:, 1].tolist() == [9, 16]

    # the worker begins with the first one only if it wakes before the others come; either way it is no run each
    assert len(run(scenario).batches) <= 2


def test_a_lone_request_does_not_wait_for_others():
    async def scenario(batcher, model):
        answer = await asyncio.wait_for(batcher([5]), 1)
        assert answer.tolist() == [[5, 25]]

    assert run(scenario).batches == [[5]]


def test_batches_are_bounded_and_a_long_request_lets_short_ones_by():
    async def scenario(batcher, model):
        model.go.clear()
        await begun(batcher, [99])
        long, short = await begun(batcher, range(20), [50])
        model.go.set()
        assert (await short).tolist() == [[50, 2500]]
        assert not long.done()
        assert (await long)[:, 0].tolist() == list(range(20))

    batches = run(scenario).batches
    assert 50 in batches[1]
    assert all(len(batch) <= 8 for batch in batches)


def test_an_error_reaches_only_the_request_that_causes_it():
    async def scenario(batcher, model):
        model.go.clear()
        await begun(batcher, [99])
        tasks = await begun(batcher, [1, 2], [666, 3], [4])
        model.go.set()
        good, bad, other = await asyncio.gather(*tasks, return_exceptions=True)
        assert good[:, 0].tolist() == [1, 2]
        assert isinstance(bad, ValueError)
        assert other[:, 0].tolist() == [4]
        assert (await batcher([6]))[0, 1] == 36  # and it goes on

    run(scenario)


def test_a_full_queue_refuses_and_takes_again_when_there_is_room():
    async def scenario(batcher, model):
        model.go.clear()
        running = (await begun(batcher, [1]))[0]
        waiting = (await begun(batcher, [2, 3]))[0]
        assert batcher.waiting == 2
        with pytest.raises(Overloaded, match="queue is full"):
            await batcher([4])
        model.go.set()
        await asyncio.gather(running, waiting)
        assert (await batcher([4]))[0, 1] == 16

    run(scenario, queue_size=2)


def test_a_cancelled_request_leaves_the_queue():
    async def scenario(batcher, model):
        model.go.clear()
        await begun(batcher, [1])
        gone, stays = await begun(batcher, [7, 8], [9])
        gone.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert batcher.waiting == 1
        model.go.set()
        assert (await stays)[0, 1] == 81

    batches = run(scenario).batches
    assert not {7, 8} & {n for batch in batches for n in batch}


def test_a_request_cancelled_while_it_runs_harms_no_other():
    async def scenario(batcher, model):
        model.go.clear()
        gone = (await begun(batcher, [1]))[0]
        gone.cancel()
        model.go.set()
        assert (await batcher([2]))[0, 1] == 4

    run(scenario)


def test_crossed_answers_never_happen():
    async def scenario(batcher, model):
        rng = np.random.default_rng(0)
        requests = [rng.integers(1_000, 10_000, rng.integers(1, 12)).tolist() for _ in range(200)]
        answers = await asyncio.gather(*(batcher(request) for request in requests))
        for request, answer in zip(requests, answers, strict=True):
            assert answer[:, 0].tolist() == request

    run(scenario, queue_size=10_000)


def test_the_pool_refuses_what_it_cannot_hold_and_drops_what_is_cancelled():
    async def main():
        pool, go, ran = Pool(1, 1), threading.Event(), []
        first = asyncio.create_task(pool.run(go.wait, 10))
        second = asyncio.create_task(pool.run(ran.append, "cancelled"))
        await asyncio.sleep(0.05)
        with pytest.raises(Overloaded):
            await pool.run(ran.append, "refused")
        second.cancel()
        await asyncio.sleep(0)
        third = asyncio.create_task(pool.run(ran.append, "third"))
        go.set()
        await asyncio.gather(first, third)
        pool.close()
        assert ran == ["third"]

    asyncio.run(main())
