"""Answers to requests that bore an Idempotency-Key, kept on disk for a day: who asks again gets the same.

    <data>/idempotency/<hash of who asked and the key>.json     the request's hash, and its answer once there is one
                                                       .lock    held while it runs

A file without an answer, and nobody who holds its lock, is of a request in whose midst the service was ended. Two
processes may share the folder. Knows no HTTP.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from base.errors import OutcomeUnknown, RequestUnderWay
from base.files import write_whole
from base.locks import LockHeld, lock_file

log = logging.getLogger(__name__)

KEPT_FOR = 86_400.0  # seconds
MOST = 10_000  # answers
MOST_BYTES = 256 << 20
SWEEP = 600.0  # seconds from one look for what is too old or too much to the next


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """An answer, as it was sent."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


@dataclass(slots=True)
class Place:
    """Where the answer of one request is kept; the request has its lock.

    Attributes:
        kept: the answer that is there.
        asked: the hash of the request that is there.
    """

    path: Path
    kept: KeptAnswer | None = None
    asked: str | None = None


class KeptAnswers:
    """The answers of a data folder. Threads may share it."""

    def __init__(self, data: Path) -> None:
        self._folder = data.absolute() / "idempotency"
        self._swept = 0.0
        self._lock = threading.Lock()

    @contextmanager
    def place(self, who: str | None, key: str) -> Iterator[Place]:
        """The place of a request by who asked it and its key, for as long as the block runs.

        Raises:
            RequestUnderWay: another one with that key runs.
            OSError: the folder cannot be written.
        """
        self._sweep_now_and_then()
        name = hashlib.sha256(json.dumps([who, key]).encode()).hexdigest()
        lock = self._folder / f"{name}.lock"
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            held = lock_file(lock)
        except LockHeld:
            raise RequestUnderWay(
                "a request with this Idempotency-Key is under way: ask again for its answer"
            ) from None
        try:
            yield _read(self._folder / f"{name}.json")
        finally:
            with suppress(OSError):  # on a disk that fails; it is swept, and what was done is answered
                lock.unlink()
            os.close(held)

    @staticmethod
    def begin(place: Place, asked: str, *, repeatable: bool) -> None:
        """Note that a request with this hash begins.

        Raises:
            OutcomeUnknown: it began before and never ended, and to do it twice is not the same as once.
        """
        if place.asked is not None and not repeatable:
            raise OutcomeUnknown(
                "the service was ended in the midst of this request, so it may have been done or not: look whether it "
                "was, and if not, send it with another Idempotency-Key"
            )
        write_whole(place.path, json.dumps({"asked": asked, "at": time.time()}))

    @staticmethod
    def keep(place: Place, asked: str, answer: KeptAnswer) -> None:
        """Keep the answer."""
        said = {"asked": asked, "at": time.time(), "status": answer.status, "headers": answer.headers}
        write_whole(place.path, json.dumps(said | {"body": base64.b64encode(answer.body).decode()}))

    @staticmethod
    def forget(place: Place) -> None:
        """Let the key be used as if it never had been."""
        place.path.unlink(missing_ok=True)

    def sweep(self) -> None:
        """Remove what is older than a day, and the oldest of what is too much."""
        kept = []
        with suppress(FileNotFoundError), os.scandir(self._folder) as files:
            for file in files:
                with suppress(OSError):
                    stat = file.stat()
                    kept.append((stat.st_mtime, stat.st_size, Path(file.path)))
        number = size = 0
        for changed, more, path in sorted(kept, reverse=True):
            number, size = number + 1, size + more
            if time.time() - changed > KEPT_FOR or number > MOST or size > MOST_BYTES:
                with suppress(OSError):
                    path.unlink()

    def _sweep_now_and_then(self) -> None:
        with self._lock:
            if time.monotonic() - self._swept < SWEEP and self._swept:
                return
            self._swept = time.monotonic()
        self.sweep()


def _read(path: Path) -> Place:
    """What is kept there; nothing of a file that is too old or damaged."""
    try:
        said = json.loads(path.read_bytes())
        if time.time() - said["at"] > KEPT_FOR:
            return Place(path)
        if "status" not in said:
            return Place(path, asked=str(said["asked"]))
        headers = [(str(name), str(value)) for name, value in said["headers"]]
        return Place(path, KeptAnswer(int(said["status"]), headers, base64.b64decode(said["body"])), str(said["asked"]))
    except FileNotFoundError:
        return Place(path)
    except (ValueError, KeyError, TypeError) as error:
        log.warning("%s is damaged, so its request is taken for a new one: %s", path, error)
        return Place(path)
