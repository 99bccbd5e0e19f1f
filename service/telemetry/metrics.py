"""What the service measures of itself, for Prometheus: counters of the process, and gauges read when asked.

Like any exporter's they are the process's own; several workers are several targets. The only import of
prometheus_client.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any, Literal, ParamSpec, TypeVar

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

from index.collection import CollectionInfo
from service.telemetry.tracing import span

P = ParamSpec("P")
R = TypeVar("R")
Stage = Literal["fetch", "decode", "text", "image", "index", "catalog"]

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each of ours, of no use

CONTENT_TYPE = CONTENT_TYPE_LATEST
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

REQUESTS = Counter("glimpse_requests", "Requests by what they were answered.", ["method", "route", "status"])
REQUEST_SECONDS = Histogram(
    "glimpse_request_seconds", "From a request's first byte to its answer's last.", ["route"], buckets=SECONDS
)
QUEUE_WAIT = Histogram("glimpse_queue_wait_seconds", "What an item waits before its batch.", ["queue"], buckets=SECONDS)
BATCH_SIZE = Histogram(
    "glimpse_batch_size", "Items that go through a tower at once.", ["queue"], buckets=[2**i for i in range(11)]
)
MODEL_LOADS = Counter("glimpse_model_loads", "Models that were loaded, or failed to.", ["model", "outcome"])
STAGE_SECONDS = Histogram(
    "glimpse_stage_seconds",
    "One run of a stage: fetch (an address), decode (and resize: one image), text and image (a batch through the "
    "tower), index (nearest vectors), catalog (filter, records).",
    ["stage"],
    buckets=SECONDS,
)


def note_request(method: str, route: str, status: int, seconds: float) -> None:
    """Count a request that was answered."""
    counter, histogram = _of_requests(method, route, status)
    counter.inc()
    histogram.observe(seconds)


@cache  # methods, routes and statuses are few; to look one up takes longer than to count
def _of_requests(method: str, route: str, status: int) -> tuple[Counter, Histogram]:
    return REQUESTS.labels(method, route, status), REQUEST_SECONDS.labels(route)


@contextmanager
def stage(name: Stage) -> Iterator[None]:
    """Measure a block as one run of a stage."""
    started = time.perf_counter()
    try:
        with span(name):
            yield
    finally:
        STAGE_SECONDS.labels(name).observe(time.perf_counter() - started)


def measured(name: Stage, work: Callable[P, R]) -> Callable[P, R]:
    """`work`, each call of which is measured as one run of a stage."""

    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        with stage(name):
            return work(*args, **kwargs)

    return run


class MeasuredReads:
    """A collection, or a view of one, whose reads in a search are measured, index and catalog apart."""

    STAGES: Mapping[str, Stage] = {"nearest": "index", "select": "catalog", "records_of": "catalog"}

    def __init__(self, read: Any) -> None:
        self._read = read

    def read_view(self) -> Any:
        """As the collection's."""
        return MeasuredReads(self._read.read_view())

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._read, name)
        return measured(self.STAGES[name], found) if name in self.STAGES else found


def exposition(
    ready: bool,
    waiting: Mapping[str, int],
    jobs: Mapping[str, int],
    collections: Iterable[CollectionInfo],
    models: Mapping[str, int],
) -> bytes:
    """All of it in Prometheus's text format.

    Args:
        ready: whether the default model was warm.
        waiting: items in each queue now.
        jobs: how many are in each state.
        collections: those that are open.
        models: bytes that each takes, 0 while it is not loaded.
    """
    now = CollectorRegistry()
    Gauge("glimpse_ready", "1 once the service is ready.", registry=now).set(ready)
    taken = Gauge(
        "glimpse_model_bytes", "Memory of a model's weights, 0 while it is not loaded.", ["model"], registry=now
    )
    for model, weights in models.items():
        taken.labels(model).set(weights)
    depth = Gauge("glimpse_queue_depth", "Items that wait.", ["queue"], registry=now)
    for queue, items in waiting.items():
        depth.labels(queue).set(items)
    states = Gauge("glimpse_jobs", "Jobs of the data folder.", ["state"], registry=now)
    for state, count in jobs.items():
        states.labels(state).set(count)
    entries = Gauge("glimpse_collection_entries", "Entries.", ["collection", "modality"], registry=now)
    size = Gauge("glimpse_collection_bytes", "Size on disk.", ["collection"], registry=now)
    recall = Gauge(
        "glimpse_index_recall", "Recall@10 of the index as measured when it was built.",
        ["collection", "modality"], registry=now,
    )  # fmt: skip
    fresh = Gauge("glimpse_index_fresh_rows", "Rows beside the index.", ["collection", "modality"], registry=now)
    for info in collections:
        size.labels(info.name).set(info.bytes)
        for modality, count in info.counts.items():
            entries.labels(info.name, modality).set(count)
        for indexed, index in info.index.items():
            recall.labels(info.name, indexed).set(index["recall"])
            fresh.labels(info.name, indexed).set(index["fresh"])
    return generate_latest(REGISTRY) + generate_latest(now)
