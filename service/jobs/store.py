"""Jobs as they are kept: one small JSON file each, and what a job wrote beside it.

    <data>/jobs/<id>.json     the job; only who holds the lock changes it once it is there
                <id>.csv      what a label job has written
                <id>.cancel   somebody wants it to end
                .lock         held by the one process that runs jobs

Every process that serves this data folder reads and asks through these files. Knows no HTTP.
"""

from __future__ import annotations

import json
import logging
import os
import re
import secrets
import threading
import time
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError

from base.files import kept_bytes, sweep_parts, write_whole
from base.locks import LOCK, LockHeld, lock_file
from base.names import NAME
from base.words import words_of

log = logging.getLogger(__name__)

Kind = Literal["index", "watch", "label", "reindex", "map"]
State = Literal["queued", "running", "cancelling", "succeeded", "failed", "cancelled"]
STATES: tuple[State, ...] = ("queued", "running", "cancelling", "succeeded", "failed", "cancelled")

ID = re.compile(r"[0-9a-f]{20}")
KEPT = 1000  # jobs that have ended, the newest,
KEPT_FOR = timedelta(days=30)  # and none that ended longer ago
DAMAGED = {
    "message": "the job's file is damaged: forget the job, and ask for it again",
    "type": "server_error",
    "code": "job_damaged",
}


@dataclass
class Job:
    """What is known of a job. Times are UTC, as 2026-01-31T12:00:00+00:00."""

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid", strict=True)

    id: str  # begins with its time, so ids sort as jobs were asked for
    kind: Kind | None  # None: its file is damaged
    request: dict[str, Any]  # as it was asked for
    collection: str | None  # that it works on
    created_at: str
    state: State = "queued"
    started_at: str | None = None
    ended_at: str | None = None
    done: int = 0
    total: int | None = None
    report: dict[str, Any] = field(default_factory=dict)
    error: dict[str, Any] | None = None
    waiting: str | None = None  # why it cannot begin though it is its turn
    revision: int = 0  # counts what was written of it
    starts: int = 0  # since it last got on
    furthest: int = 0  # the largest `done` of all its starts
    keep: dict[str, Any] = field(default_factory=dict)  # what it needs to go on after a restart

    @property
    def ended(self) -> bool:
        """Whether nothing more will come of it."""
        return self.state in ("succeeded", "failed", "cancelled")


JOB = TypeAdapter(Job)


class JobStore:
    """The jobs of a data folder. Jobs that it gives away are read, not changed, but by who runs them."""

    def __init__(self, data: Path) -> None:
        self.folder = data.absolute() / "jobs"
        self._read: dict[str, tuple[tuple[int, ...], Job]] = {}  # id -> (which file it was, what it said)
        self._reading = threading.Lock()

    def new(self, kind: Kind, request: dict[str, Any], collection: str | None, keep: dict[str, Any]) -> Job:
        """A queued job, on disk when this returns. OSError."""
        key = f"{time.time_ns() // 1000:014x}{secrets.token_hex(3)}"
        job = Job(key, kind, request, collection, now(), keep=keep)
        self.save(job)
        return job

    def save(self, job: Job) -> None:
        """Write it, in place of what was there. OSError."""
        job.revision += 1
        write_whole(self._file(job.id, "json"), json.dumps(asdict(job)))

    def get(self, key: str) -> Job | None:
        """The job of that id; None if there is none, or it cannot be read now."""
        if not ID.fullmatch(key):
            return None
        return self._job(key, self._file(key, "cancel").exists())

    def all(self) -> list[Job]:
        """Every job that can be read, the newest first."""
        try:
            names = set(os.listdir(self.folder))  # noqa: PTH208  names are all that is wanted
        except FileNotFoundError:
            return []
        keys = sorted((name[:-5] for name in names if name.endswith(".json") and ID.fullmatch(name[:-5])), reverse=True)
        with self._reading:
            for key in self._read.keys() - set(keys):
                del self._read[key]
            ended = {key: job for key, (_, job) in self._read.items() if job.ended}  # never changes again
        jobs = (ended.get(key) or self._job(key, f"{key}.cancel" in names) for key in keys)
        return [job for job in jobs if job]

    def problems(self) -> list[str]:
        """Which jobs have a damaged file, a line each."""
        return [
            f"job {job.id}: its file {self._file(job.id, 'json')} is damaged, so it has failed: forget the job"
            for job in self.all()
            if job.kind is None
        ]

    def counts(self) -> dict[str, int]:
        """How many jobs are in each state."""
        states = [job.state for job in self.all()]
        return {state: states.count(state) for state in STATES}

    def result(self, key: str) -> Path:
        """Where a label job writes."""
        return self._file(key, "csv")

    def ask_cancel(self, key: str) -> None:
        """Have it cancelled by who runs jobs."""
        self._file(key, "cancel").touch()

    def forget(self, key: str) -> None:
        """Remove a job that has ended, with its result."""
        for suffix in ("csv", "json", "cancel"):  # the job before its cancelling: it must not seem to go on
            self._file(key, suffix).unlink(missing_ok=True)

    def sweep(self) -> None:
        """Forget jobs that ended long ago, or that are too many, and what a kill left half-written; none damaged."""
        oldest = (datetime.now(UTC) - KEPT_FOR).isoformat()
        ended = [job for job in self.all() if job.ended and job.kind is not None]
        for i, job in enumerate(ended):
            if i >= KEPT or (job.ended_at or "") < oldest:
                self.forget(job.id)
        sweep_parts(self.folder, r"\..+\.")

    def lock(self) -> int | None:
        """Become the one process that runs jobs, until the descriptor is closed; None while another one is, or none.

        OSError if the folder cannot be written to.
        """
        if not self.folder.is_dir():  # no job has ever been asked for
            return None
        try:
            return lock_file(self.folder / LOCK)
        except LockHeld:
            return None

    def check_lock(self) -> None:
        """OSError if nobody can ever run jobs, as on a disk that has no locks."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if (fd := self.lock()) is not None:
            os.close(fd)

    def _job(self, key: str, cancelled: bool) -> Job | None:
        path = self._file(key, "json")
        try:
            status = path.stat()
            # within a tick of the clock an inode may come again
            stamp = status.st_ino, status.st_mtime_ns, status.st_size
            with self._reading:
                known = self._read.get(key)
            if known is None or known[0] != stamp:
                known = stamp, _parsed(path)
                with self._reading:
                    self._read[key] = known
        except FileNotFoundError:
            return None
        except OSError as error:  # too many open files, say: that tells nothing of the job
            log.warning("%s cannot be read now: %s", path, error)
            return None
        job = known[1]
        return replace(job, state="cancelling") if cancelled and not job.ended else job

    def _file(self, key: str, suffix: str) -> Path:
        return self.folder / f"{key}.{suffix}"


def _parsed(path: Path) -> Job:
    """The job of a file; one that failed if the file is damaged, so that it is seen. OSError: it cannot be read."""
    content = kept_bytes(path)
    try:
        job = JOB.validate_json(content)
        for time_ in (job.created_at, job.started_at, job.ended_at):
            datetime.fromisoformat(time_ or job.created_at)
        if job.id != path.stem or not NAME.fullmatch(job.collection or "none"):
            raise ValueError("its id or its collection cannot be")
        return job
    except ValueError as error:
        if isinstance(error, ValidationError):  # its own words quote what the file holds
            first = error.errors(include_input=False)[0]
            error = ValueError(f"{'.'.join(map(str, first['loc']))}: {words_of(first)}")
        log.warning("%s is damaged, so this job has failed: %s", path, error)
        return _damaged(path)


def _damaged(path: Path) -> Job:
    asked = datetime.fromtimestamp(int(path.stem[:14], 16) / 1e6, UTC).isoformat(timespec="seconds")  # so ids begin
    return Job(path.stem, None, {}, None, asked, state="failed", ended_at=asked, error=DAMAGED)


def now() -> str:
    """The time, as jobs carry it."""
    return datetime.now(UTC).isoformat(timespec="seconds")
