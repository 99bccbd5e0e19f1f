import asyncio
import base64
import io
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image
from service_world import picture, settings_for, tiny_encoder, until, world

from base.errors import Overloaded
from base.read_ahead import READERS
from labelling.label_sets import LabelSet
from service.inference.batcher import Batcher
from service.inference.fetch import Fetcher
from service.inference.inference import Inference, model_thread
from service.inference.pool import Pool
from service.telemetry.logs import request_id


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
    for _ in range(20):  # each lets all go on that can, however long the machine did something else meanwhile
        await asyncio.sleep(0)
    return tasks


def test_requests_that_wait_together_run_together():
    async def scenario(batcher, model):
        model.go.clear()
        tasks = await begun(batcher, [0], [1], [2], [3, 4])
        model.go.set()
        answers = await asyncio.gather(*tasks)
        assert [answer[:, 0].tolist() for answer in answers] == [[0], [1], [2], [3, 4]]
        assert answers[3][:, 1].tolist() == [9, 16]

    assert [sorted(batch) for batch in run(scenario).batches] == [[0, 1, 2, 3, 4]]


def test_a_batch_waits_for_what_is_on_its_way():
    coming = True

    async def scenario(batcher, model):
        nonlocal coming
        [first] = await begun(batcher, [1])
        assert model.batches == []
        [second] = await begun(batcher, [2])
        coming = False
        await asyncio.gather(first, second)

    assert run(scenario, coming=lambda: coming, gather=60).batches == [[1, 2]]


def test_a_full_batch_waits_for_nothing():
    async def scenario(batcher, model):
        await asyncio.wait_for(batcher(list(range(8))), 30)

    run(scenario, coming=lambda: True, gather=3600)


def test_a_batch_does_not_wait_for_ever():
    async def scenario(batcher, model):
        assert (await batcher([3])).tolist() == [[3, 9]]

    run(scenario, coming=lambda: True)


def test_a_lone_request_does_not_wait_for_others():
    async def scenario(batcher, model):
        answer = await asyncio.wait_for(batcher([5]), 30)
        assert answer.tolist() == [[5, 25]]

    assert run(scenario, gather=3600).batches == [[5]]


def test_nobody_is_waited_for_once_all_ask_again(monkeypatch):
    monkeypatch.setattr("service.inference.batcher.PAUSE", 60)

    async def scenario(batcher, model):
        model.go.clear()
        first = await begun(batcher, range(8))
        second = await begun(batcher, [8])
        model.go.set()
        await asyncio.gather(*first)
        again = await begun(batcher, [9])  # now both are here
        await asyncio.wait_for(asyncio.gather(*second, *again), 30)
        alone = await begun(batcher, [10])
        assert model.batches == [list(range(8)), [8, 9]]
        await asyncio.wait_for(asyncio.gather(*alone, *await begun(batcher, [11])), 30)

    assert run(scenario).batches == [list(range(8)), [8, 9], [10, 11]]


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


def test_short_requests_are_in_the_next_batch_however_long_the_one_before_them_is():
    async def scenario(batcher, model):
        long = asyncio.create_task(batcher(list(range(64))))
        await asyncio.sleep(0)
        for short in range(100, 105):
            begun_before = len(model.batches)
            await batcher([short])
            [place] = [i for i, batch in enumerate(model.batches) if short in batch]
            assert place <= begun_before + 1  # one may have begun since
            assert not long.done()
        assert (await long)[:, 0].tolist() == list(range(64))

    run(scenario)


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


def test_a_refusal_says_when_there_will_be_room():
    async def scenario(batcher, model):
        model.go.clear()
        [slow] = await begun(batcher, [1])
        await asyncio.sleep(0.3)
        model.go.set()
        await slow
        model.go.clear()
        await begun(batcher, [2])
        await begun(batcher, range(10))  # counts as a batch, which is 8
        await begun(batcher, range(2))
        with pytest.raises(Overloaded, match=r"try again in \d+ s") as refused:
            await batcher([4])
        assert refused.value.seconds >= 3  # twelve wait, and one took 0.3 s

    run(scenario, queue_size=10)


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


def test_who_has_no_answer_when_it_closes_is_cancelled_and_so_is_who_comes_then():
    async def scenario(batcher, model):
        model.go.clear()
        [running] = await begun(batcher, [1])
        [waiting] = await begun(batcher, [2])
        await batcher.close()
        [late] = await begun(batcher, [3])
        answers = await asyncio.wait_for(asyncio.gather(running, waiting, late, return_exceptions=True), 5)
        assert [type(answer) for answer in answers] == [asyncio.CancelledError] * 3

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
            pool.check_room()
        second.cancel()
        await asyncio.sleep(0)
        third = asyncio.create_task(pool.run(ran.append, "third"))
        go.set()
        await asyncio.gather(first, third)
        pool.close()
        assert ran == ["third"]

    asyncio.run(main())


def test_the_pool_serves_requests_in_turn_whatever_each_asks():
    async def main():
        pool, ran = Pool(1, 100), []

        async def ask(name: str, number: int) -> None:
            request_id.set(name)
            await asyncio.gather(*(pool.run(ran.append, f"{name}{i}") for i in range(number)))

        with pool.held():
            asked = [asyncio.create_task(ask(name, number)) for name, number in (("a", 20), ("b", 3), ("c", 1))]
            await asyncio.sleep(0.05)
        await asyncio.gather(*asked)
        assert {"b0", "b1", "b2", "c0"} <= set(ran[:9])
        for name, number in (("a", 20), ("b", 3), ("c", 1)):
            assert [one for one in ran if one[0] == name] == [f"{name}{i}" for i in range(number)]
        assert pool.pending == 0

        go, ran = threading.Event(), []
        stuck = [asyncio.create_task(pool.run(go.wait, 10)) for _ in range(3)]
        await asyncio.sleep(0.05)
        await asyncio.wait_for(asyncio.create_task(ask("e", 3)), 5)  # though another request has what it may have
        go.set()
        await asyncio.gather(*stuck)
        assert ran == ["e0", "e1", "e2"]

        failing = asyncio.create_task(pool.run(int, "none"))
        with pytest.raises(ValueError, match="invalid literal"):
            await failing
        with pool.held():
            waiting = asyncio.create_task(ask("d", 5))
            await asyncio.sleep(0.05)
            closing = asyncio.create_task(asyncio.to_thread(pool.close))
        await asyncio.wait([waiting, closing], timeout=5)
        assert waiting.done()
        assert closing.done()

    asyncio.run(main())


def test_who_sends_many_large_images_keeps_nobody_waiting_for_all_of_them(tmp_path):
    large = io.BytesIO()
    Image.new("RGB", (4200, 4200)).save(large, "PNG")  # more than `LARGE_PIXELS`
    many = [("file", (f"{i}.png", large.getvalue() + bytes(i))) for i in range(READERS + 6)]
    with world(tmp_path, n=1) as (client, _, _), ThreadPoolExecutor(1) as other:
        decoders = client.app.state.service.decoders
        busy = other.submit(client.post, "/v1/classify", files=many, data={"labels": ["a", "b"]})
        until(lambda: decoders.pending == len(many))
        small = client.post("/v1/classify", files={"file": picture(1)}, data={"labels": ["a", "b"]})
        assert small.status_code == 200
        assert decoders.pending >= 3
        assert busy.result().status_code == 200


def test_a_request_is_taken_whole_however_short_the_queue(tmp_path):
    images = [base64.b64encode(picture(i)).decode() for i in range(READERS + 10)]
    with world(tmp_path, n=1, queue_size=1) as (client, _, _):
        asked = client.post("/v1/classify", json={"images": images, "labels": ["a", "b"], "templates": ["{}"]})
        assert len(asked.json()["results"]) == len(images)
        form = client.post("/v1/collections/pictures/images", files=[("file", (f"{i}", picture(i))) for i in range(40)])
        assert form.status_code == 200


def test_texts_wait_for_no_decoder(tmp_path):
    images = [base64.b64encode(picture(i)).decode() for i in range(READERS + 10)]
    with world(tmp_path, n=1, queue_size=1) as (client, _, _), ThreadPoolExecutor(1) as other:
        decoders, search = client.app.state.service.decoders, "/v1/collections/pictures/search"
        with decoders.held():
            busy = other.submit(client.post, "/v1/classify", json={"images": images, "labels": ["a", "b"]})
            until(lambda: decoders.pending == len(images))
            assert client.post(search, json={"image": images[0]}).status_code == 429
            assert client.post(search, json={"text": "a red boat"}).status_code == 200
            assert client.post("/v1/embeddings", json={"input": ["a red boat"]}).status_code == 200
        assert busy.result().status_code == 200


def test_a_pool_that_closes_drops_what_waits():
    async def main():
        pool, go, ran = Pool(1, 100), threading.Event(), []
        first = asyncio.create_task(pool.run(go.wait, 10))
        rest = [asyncio.create_task(pool.run(ran.append, number)) for number in range(9)]
        await asyncio.sleep(0.05)
        closing = asyncio.create_task(asyncio.to_thread(pool.close))
        await asyncio.sleep(0.05)
        go.set()
        await asyncio.gather(first, closing)
        assert all(
            isinstance(said, asyncio.CancelledError) for said in await asyncio.gather(*rest, return_exceptions=True)
        )
        assert ran == []

    asyncio.run(main())


def test_a_held_pool_begins_nothing():
    async def main():
        pool, ran = Pool(2, 10), []
        with pool.held():
            calls = [asyncio.create_task(pool.run(ran.append, i)) for i in range(4)]
            await asyncio.sleep(0.05)
            assert ran == []
            assert pool.pending == 4
        await asyncio.gather(*calls)
        assert sorted(ran) == [0, 1, 2, 3]
        assert pool.pending == 0
        pool.close()

    asyncio.run(main())


def test_texts_that_were_seen_are_answered_while_the_model_is_busy(tmp_path):
    with world(tmp_path, n=1) as (client, encoder, _), ThreadPoolExecutor(1) as other:
        ask = {"input": ["seen", "as well"]}
        before = client.post("/v1/embeddings", json=ask).json()
        with encoder.held():
            busy = other.submit(client.post, "/v1/embeddings", json={"input": "new"})
            assert encoder.running.wait(10)
            assert client.post("/v1/embeddings", json=ask).json() == before
            assert not busy.done()
        assert busy.result().status_code == 200


def test_a_new_label_set_is_made_once_for_all_who_ask(tmp_path):
    image = base64.b64encode(picture(1)).decode()
    with world(tmp_path, n=1, queue_size=3) as (client, encoder, _), ThreadPoolExecutor(3) as others:
        ask = {"inputs": image, "parameters": {"candidate_labels": ["cat", "dog"]}}
        encoder.texts.clear()
        with encoder.held():
            first = others.submit(client.post, "/v1/zero-shot", json=ask)
            assert encoder.running.wait(10)
            more = [others.submit(client.post, "/v1/zero-shot", json=ask) for _ in range(2)]
            time.sleep(0.3)  # each by itself would put six prompts into a queue for three
        assert [answer.result().status_code for answer in (first, *more)] == [200] * 3
    assert len(encoder.texts) == 1


def test_a_label_set_leaves_the_queue_with_the_last_who_asked(tmp_path):
    encoder = tiny_encoder(tmp_path)

    async def main():
        fetcher = Fetcher((), max_bytes=1, seconds=1, queue_size=1)
        inference = Inference(encoder, thread, Pool(1, 1), fetcher, settings_for(tmp_path))
        with encoder.held():
            busy = asyncio.create_task(inference.texts(["busy"]))
            await asyncio.to_thread(encoder.running.wait, 10)
            first, second = (
                asyncio.create_task(inference.classifier(LabelSet.of(["cat", "dog"], ["a {}"]))) for _ in range(2)
            )
            await asyncio.to_thread(until, lambda: inference.waiting["text"] == 2)
            first.cancel()
            await asyncio.wait([first])
            assert inference.waiting["text"] == 2
            second.cancel()
            await asyncio.wait([second])
            await asyncio.sleep(0)
            assert inference.waiting["text"] == 0
        await busy
        assert (await inference.classifier(LabelSet.of(["cat", "dog"], ["a {}"]))).labels == ("cat", "dog")
        await inference.close()

    with model_thread() as thread:
        asyncio.run(main())
