"""What a catalogue asks of the service: a hundred searches in one request, facets, the feed of changes.

100,000 entries of 512 values with metadata, ViT-B-32 with random weights. A hundred texts that no one asked before are
searched for by a hundred requests, one after the other and eight at a time, and by one request; facets are counted with
and without filters, of a collection that changed since and of one that did not; the feed is read from its beginning.
"""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from bench.common import machine, random_model
from bench.service.service_speed import TEXTS, serving
from encoder.model.load import load_encoder
from index.collection import Collection, Entry, create_collection, open_collection

ROWS, DIM, TOGETHER = 100_000, 512, 100
FILTERS = {
    "all entries": None,
    "a tenth, by price": {"must": [{"key": "price", "range": {"lt": 100}}]},
    "a hundredth, by brand": {"must": [{"key": "brand", "match": {"value": "brand 7"}}]},
}


def main() -> None:
    print(machine())
    model = random_model()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        fill(data, load_encoder(model).fingerprint, str(model))
        with serving("glimpse", model, data) as (port, _):
            searches(f"http://127.0.0.1:{port}/v1/collections/shop")
        with open_collection(data, "shop", writable=True) as shop:
            facets(shop)
            feed(shop)


def fill(data: Path, fingerprint: str, model: str) -> None:
    rng = np.random.default_rng(0)
    brands, prices = np.minimum(rng.zipf(1.3, ROWS), 1000), rng.integers(100, 100_000, ROWS) / 100
    with create_collection(data, "shop", model=model, fingerprint=fingerprint, dim=DIM) as shop:
        started = time.perf_counter()
        for start in range(0, ROWS, 1000):
            x = rng.standard_normal((1000, DIM)).astype(np.float32)
            shop.upsert([Entry(row, "image", f"/shop/{i}", metadata=said(i, brands, prices), external_id=f"sku-{i}")
                         for i, row in enumerate(x, start)])  # fmt: skip
        print(f"{ROWS} entries written in {time.perf_counter() - started:.1f} s")


def said(i: int, brands: Any, prices: Any) -> dict[str, Any]:
    tags = [f"tag {i % 50}", f"tag {i % 49}"]
    return {"brand": f"brand {brands[i]}", "colour": f"colour {i % 12}", "price": f"{prices[i]}", "new": i % 9 == 0,
            "title": f"product number {i}", "tags": tags}  # fmt: skip


def searches(url: str) -> None:
    texts = itertools.cycle(np.random.default_rng(1).permutation(TEXTS).tolist())
    with httpx.Client(timeout=60) as client:

        def alone(text: str) -> None:
            client.post(f"{url}/search", json={"text": text}).raise_for_status()

        def hundred(work: Callable[[list[str]], object]) -> Iterator[float]:
            for _ in range(7):
                some = list(itertools.islice(texts, TOGETHER))
                started = time.perf_counter()
                work(some)
                yield time.perf_counter() - started

        def batch(some: list[str]) -> None:
            found = client.post(f"{url}/search/batch", json={"searches": [{"text": text} for text in some]})
            assert len(found.raise_for_status().json()["results"]) == TOGETHER

        def eight(some: list[str]) -> None:
            with ThreadPoolExecutor(8) as threads:
                list(threads.map(alone, some))

        ways = {
            "a hundred requests": lambda some: list(map(alone, some)),
            "the same, eight at a time": eight,
            "one request": batch,
        }
        batch(list(itertools.islice(texts, TOGETHER)))
        took = {name: float(np.median(list(hundred(work)))) for name, work in ways.items()}
    print(f"\n{TOGETHER} texts searched for in {ROWS} entries, ms")
    for name, seconds in took.items():
        print(f"{name:30}{seconds * 1e3:10.0f}{took['a hundred requests'] / seconds:8.1f} times as fast")


def facets(shop: Collection) -> None:
    print(f"\nfacets of {ROWS} entries, ms{'':20}changed since   as it was")

    def show(name: str, work: Callable[[], object]) -> None:
        first: list[float] = []
        again: list[float] = []
        for _ in range(5):
            shop.update({1: {"text": None}})
            for took in (first, again):
                started = time.perf_counter()
                work()
                took.append(time.perf_counter() - started)
        print(f"{name:45}{np.median(first) * 1e3:14.1f}{np.median(again) * 1e3:12.2f}")

    show("which keys there are (6)", shop.facet_keys)
    for name, wanted in FILTERS.items():
        for key in ("colour", "brand", "tags", "title"):
            show(f"{key}, {name}", partial(shop.facet, key, 10, wanted))


def feed(shop: Collection) -> None:
    started, cursor, n, more = time.perf_counter(), None, 0, True
    while more:
        page = shop.changes_after(cursor, 1000)
        cursor, more, n = page.cursor, page.has_more, n + len(page.changes)
    seconds = time.perf_counter() - started
    started = time.perf_counter()
    for _ in range(100):
        shop.changes_after(cursor, 1000)
    nothing = (time.perf_counter() - started) / 100
    print(f"\nthe feed from its beginning: {n} entries in {seconds:.2f} s")
    print(f"to see that nothing changed: {nothing * 1e3:.2f} ms")


if __name__ == "__main__":
    main()
