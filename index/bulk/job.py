"""A job of embedding: one source, one model, one folder with a part a shard and a manifest that says what is there.

    <out>/manifest.json            what the job is, each shard with its state, what could not be read
          <name>-<digest>.parquet  a part; it is there whole, or the shard is still to do
          .lock                    held by the one process that drives the job

Run again, a job does what is missing, and anew what lacks files that could not be read then and can be now. Of a source
that has changed it does the shards that are others now, and in the end removes the parts of those that are no more.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from base.errors import GlimpseError, InputError, ModelMismatch
from base.files import PART, write_whole
from base.locks import LOCK, LockHeld, lock_file
from base.sources.left_out import LeftOut
from encoder.encoder import Encoder
from index.bulk.embed import ShardReport
from index.bulk.parts import Outcome, part_of, read_report, write_part
from index.bulk.source import Shard, Source

MANIFEST = "manifest.json"
FORMAT = 1  # of the manifest
EVERY = 30.0  # seconds from one writing of the manifest to the next, while shards are done

Tell = Callable[[int, int], None]  # told (images, shards) more that are done
Engine = Callable[[Path, Sequence[Shard], Tell], Iterator[Outcome]]  # embeds shards into parts, in any order


class JobBusy(GlimpseError):
    """Another process drives the job."""

    code = "embed_job_busy"


@dataclass(frozen=True)
class Manifest:
    """What a folder of vectors says of itself.

    Attributes:
        model: reference of the model that made the vectors.
        parts: files that are there, in order, with their rows.
        missing: shards that have no part.
    """

    model: str
    fingerprint: str
    dim: int
    source: str
    parts: list[tuple[Path, int]]
    missing: int
    content: Mapping[str, Any]

    @classmethod
    def read(cls, out: Path) -> Manifest | None:
        """That of a folder; None if it has none. InputError for one that cannot be read."""
        try:
            content = json.loads((out / MANIFEST).read_bytes())
            if content["format"] != FORMAT:
                raise InputError(f"{out / MANIFEST}: of another glimpse (format {content['format']}); upgrade glimpse")
            shards = content["shards"]
            parts = [(out / each["file"], int(each["rows"])) for each in shards if each["state"] == "done"]
            if any(file.parent != out for file, _ in parts):
                raise ValueError("a part in another folder")
            missing = len(shards) - len(parts)
            model, fingerprint, source = (str(content[key]) for key in ("model", "fingerprint", "source"))
            return cls(model, fingerprint, int(content["dim"]), source, parts, missing, content)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{out / MANIFEST}: cannot be read as a manifest of embedding ({error})") from error
        except ValueError as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{out / MANIFEST}: damaged ({error})") from error


@dataclass
class JobReport:
    """What a job has, and what this run of it did.

    Attributes:
        before: shards that were done already.
        encoded: images of this run.
        problems: {"shard", "problem"} of shards that could not be read.
    """

    shards: int
    before: int = 0
    done: int = 0
    images: int = 0
    encoded: int = 0
    unread: list[dict[str, str]] = field(default_factory=list)
    cut_off: list[dict[str, str]] = field(default_factory=list)
    left_out: LeftOut = field(default_factory=LeftOut)
    problems: list[dict[str, str]] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def images_per_second(self) -> float:
        """Of this run."""
        return self.encoded / self.seconds if self.seconds else 0.0

    def add(self, report: ShardReport, *, is_new: bool) -> None:
        """Count a shard that is done."""
        self.images += report.rows
        self.unread += report.unread
        self.cut_off += report.cut_off
        self.left_out.add_all(report.left_out)
        self.done += 1
        self.before += not is_new
        self.encoded += report.rows * is_new


def run_job(out: Path, source: Source, encoder: Encoder, engine: Engine, tell: Tell) -> JobReport:
    """Embed what of a source is not embedded yet.

    Args:
        out: folder of the job; made if it is not there.
        source: of the job.
        encoder: of the job's model.
        engine: does the work.
        tell: told how much more is done.

    Raises:
        InputError: the folder holds something else, or another source's vectors.
        ModelMismatch: it holds another model's.
        JobBusy: another process drives the job.
        OSError: the folder cannot be written.
    """
    started = time.perf_counter()
    with _opened(out, source, encoder) as job:
        report = JobReport(len(source.shards), unread=list(source.unread))
        report.left_out.add_all(source.left_out)
        for shard in source.shards:
            if (file := part_of(out, shard.name)).exists():
                known = read_report(file)
                if any(map(_opens, known.away)):  # a disk was away
                    file.unlink()
                    continue
                job.done[shard.name] = known
                report.add(known, is_new=False)
        todo = [shard for shard in source.shards if shard.name not in job.done]
        job.write("running")
        tell(report.images, report.done)
        try:
            for outcome in engine(out, todo, tell) if todo else ():
                if outcome.report is None:
                    job.problems[outcome.shard] = outcome.problem
                    report.problems.append({"shard": outcome.said, "problem": outcome.problem})
                else:
                    job.done[outcome.shard] = outcome.report
                    report.add(outcome.report, is_new=True)
                job.write("running", at_most_every=EVERY)
        finally:
            for shard in todo:  # an interrupt may come between a part and word of it
                if shard.name not in job.done and (file := part_of(out, shard.name)).exists():
                    job.done[shard.name] = read_report(file)
                    report.add(job.done[shard.name], is_new=True)
            job.write("complete" if report.done == report.shards else "incomplete")
        if report.done == report.shards:
            job.forget_stale()
    report.seconds = round(time.perf_counter() - started, 3)
    return report


def _opens(path: str) -> bool:
    try:
        with open(path, "rb") as file:  # noqa: PTH123  a path may be text
            return bool(file.read(1))
    except OSError:
        return False


def here(encoder: Encoder) -> Engine:
    """The engine that is this process."""

    def engine(out: Path, shards: Sequence[Shard], tell: Tell) -> Iterator[Outcome]:
        for shard in shards:
            yield write_part(out, encoder, shard, lambda images: tell(images, 0))
            tell(0, 1)

    return engine


class _Job:
    """A folder that is being driven, and its manifest."""

    def __init__(self, out: Path, source: Source, encoder: Encoder, before: Manifest | None) -> None:
        self.done: dict[str, ShardReport] = {}
        self.problems: dict[str, str] = {}
        self._out, self._source = out, source
        self._written = 0.0
        now = {"format": FORMAT, "model": encoder.ref, "fingerprint": encoder.fingerprint, "dim": encoder.dim}
        content = before.content if before else {}
        self._about = now | {"source": source.place, "kind": source.kind,
                             "created_at": content.get("created_at", _now())}  # fmt: skip
        names = {part_of(out, shard.name).name for shard in source.shards}
        known = {each["file"] for each in content.get("shards", [])} | set(content.get("stale", []))
        self._stale = sorted(known - names)

    def write(self, state: str, *, at_most_every: float = 0.0) -> None:
        """Write the manifest."""
        if at_most_every and time.monotonic() - self._written < at_most_every:
            return
        self._written = time.monotonic()
        unread = [*self._source.unread, *(each for report in self.done.values() for each in report.unread)]
        rows = sum(report.rows for report in self.done.values())
        shards = [self._shard(shard) for shard in self._source.shards]
        content = self._about | {
            "state": state,
            "updated_at": _now(),
            "counts": {"shards": len(shards), "done": len(self.done), "images": rows, "unread": len(unread)},
            "unread": unread,
            "stale": self._stale,
            "shards": shards,
        }
        write_whole(self._out / MANIFEST, json.dumps(content, indent=1))

    def _shard(self, shard: Shard) -> dict[str, Any]:
        known: dict[str, Any] = {"file": part_of(self._out, shard.name).name, "shard": shard.said}
        if report := self.done.get(shard.name):
            return known | {"state": "done", "rows": report.rows, "unread": len(report.unread)}
        if problem := self.problems.get(shard.name):
            return known | {"state": "failed", "problem": problem}
        return known | {"state": "missing"}

    def forget_stale(self) -> None:
        """Remove the parts of shards that are no more; the manifest names them until they are gone."""
        if self._stale:
            for name in self._stale:
                (self._out / Path(name).name).unlink(missing_ok=True)
            self._stale = []
            self.write("complete")


@contextmanager
def _opened(out: Path, source: Source, encoder: Encoder) -> Iterator[_Job]:
    """The job of a folder, held until the block ends. Nothing is made where it cannot be."""
    _check_empty(out)
    out.mkdir(parents=True, exist_ok=True)
    try:
        lock = lock_file(out / LOCK)
    except LockHeld as error:
        raise JobBusy(f"{out}: process {error.holder} embeds into it: wait until it ends, or stop it") from None
    try:
        before = Manifest.read(out)
        if before and before.fingerprint != encoder.fingerprint:
            raise ModelMismatch(
                f"{out}: holds vectors of {before.model}, and {encoder.ref} is another model: give --out another "
                f"folder, or --model {before.model}"
            )
        if before and before.source != source.place:
            raise InputError(
                f"{out}: holds vectors of {before.source}, and {source.place} is another source: give --out another "
                "folder"
            )
        yield _Job(out, source, encoder, before)
    finally:
        os.close(lock)


def _check_empty(out: Path) -> None:
    """InputError if there is something of others."""
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: a file; give --out the name of a folder")
    if not out.is_dir() or (out / MANIFEST).exists():
        return
    for path in sorted(out.iterdir()):
        if path.name != LOCK and PART not in path.name:
            raise InputError(f"{out}: holds {path.name}, and no job of embedding: give --out a new folder")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
