"""The load maker of service_speed, in a process of its own: clients that each ask, wait, and ask again.

It shares the machine with the server, so it does little: the requests come ready made, of an answer only status and
length are read. `python -m bench.service.load REQUESTS PORT CLIENTS SECONDS FIRST` prints one JSON object.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import pickle
import re
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Load:
    """What came of it."""

    answered: int
    failed: int  # with another status than 200, or cut off
    rate: float  # good answers a second
    p50: float  # seconds
    p99: float
    cpu: float  # share of one core that the load maker took


class Client(asyncio.Protocol):
    """One connection; its requests follow each other."""

    def __init__(self, requests: Iterator[bytes], seconds: list[float], failures: list[bytes]) -> None:
        self._requests = requests
        self._seconds = seconds
        self._failures = failures
        self._received = b""
        self._wanted: int | None = None  # bytes of the whole answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the first time."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._ask()

    def data_received(self, data: bytes) -> None:
        """A part of the answer; after the last one ask again."""
        self._received += data
        if self._wanted is None and (end := self._received.find(b"\r\n\r\n")) >= 0:
            found = LENGTH.search(self._received, 0, end)
            assert found, "an answer without its length"
            self._wanted = end + 4 + int(found[1])
        if self._wanted is None or len(self._received) < self._wanted:
            return
        if self._received[9:12] == b"200":
            self._seconds.append(time.perf_counter() - self._since)
        else:
            self._failures.append(self._received)
        self._received, self._wanted = b"", None
        self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        """An answer that never comes."""
        self._failures.append(b"cut off" if exc is None else str(exc).encode())

    def stop(self) -> None:
        """Leave; the answer under way counts neither as good nor as failed."""
        self._failures = []
        self._transport.abort()

    def _ask(self) -> None:
        self._since = time.perf_counter()
        self._transport.write(next(self._requests))


async def load(requests: Sequence[bytes], port: int, clients: int, seconds: float, first: int = 0) -> Load:
    """Ask with `clients` connections for so many seconds, beginning with request `first` and going round."""
    started, cpu = time.perf_counter(), time.process_time()
    queue = itertools.cycle([*requests[first % len(requests) :], *requests[: first % len(requests)]])
    taken: list[float] = []
    failures: list[bytes] = []
    loop = asyncio.get_running_loop()
    made = [
        await loop.create_connection(lambda: Client(queue, taken, failures), "127.0.0.1", port) for _ in range(clients)
    ]
    await asyncio.sleep(seconds)
    elapsed = time.perf_counter() - started
    taken, failed = sorted(taken), len(failures)
    if failures:
        print(failures[0][:500], file=sys.stderr)
    for _, client in made:
        client.stop()
    return Load(
        len(taken),
        failed,
        len(taken) / elapsed,
        taken[len(taken) // 2] if taken else float("nan"),
        taken[int(len(taken) * 0.99)] if taken else float("nan"),
        (time.process_time() - cpu) / elapsed,
    )


if __name__ == "__main__":
    file, *numbers = sys.argv[1:]
    port, clients, seconds, first = (int(number) for number in numbers)
    made = asyncio.run(load(pickle.loads(Path(file).read_bytes()), port, clients, seconds, first))
    print(json.dumps(asdict(made)))
