"""How many machines a collection of some size needs for some queries a second: a simulator, fed by measured rates.

    python -m bench.index.capacity plan                  # 1M, 100M, 10B images x 1, 100, 10,000 queries a second
    python -m bench.index.capacity check 10000 100000    # its latencies beside those measured here, same load
    python -m bench.index.capacity check 1000000 --kept DATA  # with collections of `batch_speed 1000000 DATA`
    python -m bench.index.capacity plan --rates mine.json     # another machine's, as in capacity_rates.json

A query passes three stages: the text tower (in batches, as the service makes them), the search of every shard (the
last one that answers ends it), and the records of its hits. Queries come at random (Poisson); each stage is a queue
before so many servers. It knows no network, no failure and no filter; nothing of more than a million rows was run.
"""

from __future__ import annotations

import argparse
import dataclasses
import heapq
import json
import math
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

RATES = Path(__file__).with_name("capacity_rates.json")
SIZES, QPS = (1_000_000, 100_000_000, 10_000_000_000), (1, 100, 10_000)
CHECKED = (10_000, 100_000, 1_000_000)
SIMULATED = 20_000  # queries a simulation
BUSY = 0.6  # of a machine's time, at most: queues grow from there, and what is left takes the load of one that is gone
MONTH = 730  # hours
GB = 1e9


@dataclasses.dataclass(frozen=True)
class Machine:
    """What is rented, and its price: memory and disk in GB, an hour and a GB of disk a month in dollars."""

    cores: int
    memory: float
    hour: float
    disk_month: float


@dataclasses.dataclass(frozen=True)
class Rates:
    """What one core does, in seconds, and what one vector takes, in bytes; where they come from stands in the file."""

    image: float  # a picture read and encoded
    text_batch: float  # a batch of texts, whatever it holds
    text: float  # and each text of it
    request: float  # HTTP and JSON of one answer
    records: float  # ten records of the catalog, in memory
    disk_read: float  # one that is on disk
    exact_row: float  # one row of an exact search
    codes_search: float  # one search of a million rows by codes
    codes_growth: float  # its exponent with the rows of a shard
    codes_from: int  # rows from which codes are searched
    parallel: float  # of its cores' rate that one search gets
    spread: float  # of a search's time: sigma of its logarithm
    codes: int  # bytes a vector that have to be in memory
    rows: int  # bytes a vector that are read for candidates alone
    catalog: int  # bytes an entry of the catalog
    compared: int  # candidates whose rows are read

    def search(self, n: int) -> float:
        """Core seconds of one search of `n` rows that are in memory."""
        if n < self.codes_from:
            return self.exact_row * n
        return self.codes_search * math.pow(n / 1e6, self.codes_growth)


@dataclasses.dataclass(frozen=True)
class Plan:
    """Machines that hold a collection and answer in time: `shards` parts of it, each `replicas` times."""

    shards: int
    replicas: int
    encoders: int
    rows_in_memory: bool
    disk: float  # GB, of all machines
    month: float  # dollars
    p50: float = math.nan  # seconds
    p99: float = math.nan


def queue(arrivals: np.ndarray, times: np.ndarray, servers: int) -> np.ndarray:
    """When each of (n,) arrivals is done that takes `times` (n,) of one of so many servers, first come first served."""
    free = [0.0] * servers
    done = np.empty_like(arrivals)
    for i, (arrival, taken) in enumerate(zip(arrivals.tolist(), times.tolist(), strict=True)):
        done[i] = max(arrival, free[0]) + taken
        heapq.heapreplace(free, done[i])
    return done


def batches(arrivals: np.ndarray, fixed: float, each: float, servers: int, most: int = 32) -> np.ndarray:
    """The same for servers that take all who wait, `most` at a time, in `fixed + each * n` seconds."""
    free = [0.0] * servers
    done = np.empty_like(arrivals)
    i = 0
    while i < len(arrivals):
        begins = max(arrivals[i], free[0])
        n = min(most, int(np.searchsorted(arrivals, begins, "right")) - i)
        heapq.heapreplace(free, begins + fixed + each * n)
        done[i : i + n] = begins + fixed + each * n
        i += n
    return done


def lognormal(rng: np.random.Generator, mean: float, sigma: float, n: int) -> np.ndarray:
    return rng.lognormal(math.log(mean) - sigma * sigma / 2, sigma, n)


def arrivals(rng: np.random.Generator, qps: float, n: int) -> np.ndarray:
    return np.cumsum(rng.exponential(1 / qps, n))


def latencies(rates: Rates, machine: Machine, plan: Plan, n: int, qps: float) -> np.ndarray:
    """Seconds of each of some thousand queries. A search takes all cores of its machine, one after the other."""
    rng = np.random.default_rng(0)
    m = max(2_000, SIMULATED // min(plan.shards, 10))
    encoders = max(1, plan.encoders)
    came = arrivals(rng, qps / encoders, m)
    encoded = np.sort(batches(came, rates.text_batch, rates.text + rates.request, max(1, machine.cores // 2)))
    alone = encoders == plan.replicas == 1  # then batches come as they are; of many, each replica gets some
    asked = encoded if alone else arrivals(rng, qps / plan.replicas, m)
    reads = 0.0 if plan.rows_in_memory else rates.compared * rates.disk_read
    mean = rates.search(math.ceil(n / plan.shards)) / machine.cores / rates.parallel + rates.records
    last = np.zeros(m)
    for _ in range(min(plan.shards, 64)):  # the slowest of 64 is the slowest of more, nearly
        last = np.maximum(last, queue(asked, lognormal(rng, mean, rates.spread, m), 1) - asked + reads)
    return encoded - came + last


def cheapest(rates: Rates, machine: Machine, n: int, qps: float, target: float) -> Plan | None:
    """The plan whose p99 is within `target` seconds for the least money. None: no number of shards is enough."""
    plans = []
    for in_memory in (True, False):
        held = rates.codes + (rates.rows if in_memory else 0) if n >= rates.codes_from else rates.rows
        least = max(1, math.ceil(n * held / (machine.memory * 0.75 * GB)))  # a quarter for the model and the pages
        plans += [_sized(rates, machine, n, qps, least * 2**i, in_memory) for i in range(6)]
    timed = (_timed(rates, machine, plan, n, qps) for plan in sorted(plans, key=lambda plan: plan.month))
    return next((plan for plan in timed if plan.p99 <= target), None)


def _sized(rates: Rates, machine: Machine, n: int, qps: float, shards: int, in_memory: bool) -> Plan:
    """As many replicas and encoders as these queries keep busy."""
    search = rates.search(math.ceil(n / shards)) / machine.cores / rates.parallel + rates.records
    text = (rates.text_batch / 8 + rates.text + rates.request) / machine.cores  # in batches of eight
    together = shards == 1 and qps * (search + text) <= BUSY
    replicas = max(1, math.ceil(qps * search / BUSY))
    encoders = 0 if together else max(1, math.ceil(qps * text / BUSY))
    disk = n * (rates.codes + rates.rows + rates.catalog) * replicas / GB
    month = (shards * replicas + encoders) * machine.hour * MONTH + disk * machine.disk_month
    return Plan(shards, replicas, encoders, in_memory, disk, month)


def _timed(rates: Rates, machine: Machine, plan: Plan, n: int, qps: float) -> Plan:
    p50, p99 = np.percentile(latencies(rates, machine, plan, n, qps), [50, 99])
    return dataclasses.replace(plan, p50=float(p50), p99=float(p99))


def print_plan(rates: Rates, machine: Machine, sizes: Sequence[int], target: float) -> None:
    print(f"machines of {machine.cores} cores and {machine.memory:.0f} GB, p99 within {target * 1e3:.0f} ms\n")
    columns = (
        "images",
        "queries/s",
        "shards",
        "replicas",
        "encoders",
        "rows in",
        "p50 ms",
        "p99 ms",
        "disk",
        "$ a month",
    )
    print("| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|")
    for n in sizes:
        for qps in QPS:
            found = cheapest(rates, machine, n, qps, target)
            if found is None:
                print(f"| {n:,} | {qps:,} | none is enough |" + " |" * (len(columns) - 3))
                continue
            where = "memory" if found.rows_in_memory or n < rates.codes_from else "disk"
            cells = (
                f"{n:,}", f"{qps:,}", f"{found.shards:,}", f"{found.replicas:,}",
                f"{found.encoders:,}" if found.encoders else "the same", where,
                f"{found.p50 * 1e3:.0f}", f"{found.p99 * 1e3:.0f}", _disk(found.disk), f"{found.month:,.0f}",
            )  # fmt: skip
            print("| " + " | ".join(cells) + " |")
    print("\n| images | to encode and index them |\n|---|---|")
    for n in sizes:
        hours = n * rates.image / 3600
        print(f"| {n:,} | {hours:,.0f} core hours, ${hours / machine.cores * machine.hour:,.0f} |")


def _disk(gb: float) -> str:
    return f"{gb:,.0f} GB" if gb < 10_000 else f"{gb / 1000:,.0f} TB"


# --- held against what is measured here ---


def check(sizes: Sequence[int], kept: Path | None) -> None:
    """Collections under random arrivals: what the simulator makes of their rate, as of a machine's, and what is."""
    from bench.common import embeddings, machine
    from bench.index.batch_speed import DIM, K, make
    from index.collection import open_collection

    print(machine() + "\n")
    print("| rows | load | p50 said / measured ms | p99 said / measured ms |\n|---|---|---|---|")
    queries = embeddings(400, DIM, seed=1)
    with tempfile.TemporaryDirectory() as scratch:
        for n in sizes:
            data, name = kept or Path(scratch), f"rows-{n}"
            if not (data / "collections" / name).is_dir():
                make(data, name, n)
            with open_collection(data, name) as collection:
                _check(n, queries, lambda q: collection.search(q, K))


def _check(n: int, queries: np.ndarray, search: Callable[[np.ndarray], object]) -> None:
    rng = np.random.default_rng(1)
    for q in queries[:50]:
        search(q)
    alone = np.array([_seconds(search, q) for q in queries])
    rate, threads = _rate(queries, search)
    for load in (0.3, 0.6, 0.8):
        asked = min(int(8 * rate * load), 4_000)
        came = arrivals(rng, rate * load, asked)
        said = np.percentile(queue(came, rng.choice(alone / alone.mean(), asked) / rate, 1) - came, [50, 99]) * 1e3
        was = np.percentile(_under_load(came, queries, search, threads), [50, 99]) * 1e3
        print(
            f"| {n:,} | {load:.0%} of {rate:,.0f}/s | {said[0]:.1f} / {was[0]:.1f} | {said[1]:.1f} / {was[1]:.1f} |",
            flush=True,
        )


def _seconds(search: Callable[[np.ndarray], object], q: np.ndarray) -> float:
    started = time.perf_counter()
    search(q)
    return time.perf_counter() - started


def _rate(queries: np.ndarray, search: Callable[[np.ndarray], object]) -> tuple[float, int]:
    """Searches a second of as many threads as do most; how many these are."""
    best = (0.0, 1)
    for threads in (1, 2, 4):
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(search, queries[:50]))
            started = time.perf_counter()
            list(pool.map(search, queries))
            best = max(best, (len(queries) / (time.perf_counter() - started), threads))
    return best


def _under_load(
    came: np.ndarray, queries: np.ndarray, search: Callable[[np.ndarray], object], threads: int
) -> np.ndarray:
    """Seconds from when each query was due until it was answered."""
    taken = np.empty(len(came))
    started = time.perf_counter() + 0.05
    lock, coming = threading.Lock(), iter(range(len(came)))

    def serve() -> None:
        while True:
            with lock:
                i = next(coming, None)
            if i is None:
                return
            due = started + came[i]
            time.sleep(max(0.0, due - time.perf_counter()))
            search(queries[i % len(queries)])
            taken[i] = time.perf_counter() - due

    with ThreadPoolExecutor(threads) as pool:
        for task in [pool.submit(serve) for _ in range(threads)]:
            task.result()
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["plan", "check"])
    parser.add_argument("sizes", type=int, nargs="*", help="images")
    parser.add_argument("--kept", type=Path, metavar="DATA", help="folder of collections to check with")
    parser.add_argument("--rates", type=Path, default=RATES)
    parser.add_argument("--p99", type=float, default=0.2, help="seconds that a query may take")
    arguments = parser.parse_args()
    if arguments.what == "check":
        check(arguments.sizes or CHECKED, arguments.kept)
    else:
        given = json.loads(arguments.rates.read_text())
        rates = Rates(**{name: rate["value"] for name, rate in given["rates"].items()})
        print_plan(rates, Machine(**given["machine"]), arguments.sizes or SIZES, arguments.p99)


if __name__ == "__main__":
    main()
