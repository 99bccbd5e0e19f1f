"""Runs jobs: work on folders and collections that outlives a request, and the process that began it.

Of the processes that serve a data folder one runs jobs, the one that holds their lock; the others list, ask and cancel
through the store, and one of them takes over when it ends. Jobs that were running then are started again.

One job at a time works on a collection, in the order that they came. Of all that index, label and reindex one runs at
a time: models run in turn, and two jobs at once would each take twice as long. A watch mostly waits, so watches run
beside them. Knows no route.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from base.errors import CollectionLocked, CollectionNotFound, GlimpseError, Overloaded
from base.files import disk_error
from service.collections.opened import OpenCollections
from service.errors import described
from service.inference.known_models import ServedModel
from service.inference.models import Models
from service.inference.shared_encoder import Stopped
from service.jobs.roots import Roots
from service.jobs.store import Job, JobStore, Kind, now
from service.jobs.work import JobContext, work
from service.settings import Settings

log = logging.getLogger(__name__)

POLL = 0.5  # seconds from one look at the store to the next
SWEEP_EVERY = 60.0  # seconds
WAITING = 1000  # jobs that have not ended
WATCHES = 16  # that run at once, each with a thread
STARTS = 3  # without getting on: then it is the job that kills the process
GRACE = 20.0  # seconds that running jobs have to come to a commit once the service is told to stop


@dataclass
class _Running:
    job: Job
    stop: threading.Event
    thread: threading.Thread


class Jobs:
    """The jobs of a service. Every method may be called from any thread."""

    def __init__(self, settings: Settings, collections: OpenCollections, models: Models) -> None:
        self.store = JobStore(settings.data)
        self._settings = settings
        self._collections = collections
        self._models = models
        self._running: dict[str, _Running] = {}
        self._stopping = threading.Event()
        self._end_by = 0.0  # when who waits for them loses patience
        self._awake = threading.Event()
        self._lock: int | None = None
        self._swept = -SWEEP_EVERY
        self._trouble = ""
        self._manager = threading.Thread(target=self._manage, name="jobs", daemon=True)

    def start(self) -> None:
        """Run jobs from now on."""
        self._manager.start()

    def end_soon(self) -> None:
        """Have what runs end between two of its commits, to be gone on with at the next start. Waits for nothing."""
        self._end_by = self._end_by or time.monotonic() + GRACE
        self._stopping.set()
        self._awake.set()
        for each in list(self._running.values()):
            each.stop.set()

    def stop(self) -> None:
        """The same, and wait for it, for `GRACE` seconds since it was first asked for."""
        self.end_soon()
        if self._manager.ident is None:  # never started
            return
        self._manager.join()
        self.end_soon()  # also what was started meanwhile
        running = list(self._running.values())
        for each in running:
            each.thread.join(max(0.0, self._end_by - time.monotonic()))
        if self._lock is not None and not any(each.thread.is_alive() for each in running):
            os.close(self._lock)  # else it goes with the process

    def ask(self, kind: Kind, request: dict[str, Any], collection: str | None, keep: dict[str, Any]) -> Job:
        """A new job, queued and on disk.

        Raises:
            CollectionLocked: a watch has the collection, so the job would wait without end.
            Overloaded: too many wait.
            GlimpseError: it cannot be kept.
        """
        active = [job for job in self.store.all() if not job.ended]
        if len(active) >= WAITING:
            raise Overloaded(f"{WAITING} jobs wait or run; try again when some have ended, or cancel some")
        for job in active:
            if collection is not None and job.collection == collection and job.kind == "watch":
                raise CollectionLocked(f"job {job.id} watches folders for collection {collection!r}: cancel it first "
                                       f"(DELETE /v1/jobs/{job.id}), or have one watch follow all folders")  # fmt: skip
        try:
            if self._lock is None:
                self.store.check_lock()
            made = self.store.new(kind, request, collection, keep)
        except OSError as error:
            raise _unkept(error) from error
        self._awake.set()
        return made

    def model_for(self, job: Job) -> ServedModel:
        """The model of a job: that it was asked for with, else its collection's, else the default one. ModelNotFound.

        A reindex is for another model than the collection's, so that it names none means the default one.
        """
        if made_by := job.keep.get("made_by"):  # a model that nobody named: a training run's
            return self._models.of(*made_by)
        asked = job.keep.get("model") or job.request.get("model")
        if asked is None and job.collection is not None and job.kind != "reindex":
            with suppress(CollectionNotFound):  # an index makes it
                return self._models.of(*self._collections.get(job.collection).made_by())
        if asked is not None:  # perhaps of another process, or before a start, where a collection's model had a name
            self._models.meet(self._collections.made_by())
        return self._models.named(asked)

    def forget(self, job: Job) -> None:
        """Remove a job that has ended, with its result. GlimpseError if that cannot be kept."""
        try:
            self.store.forget(job.id)
        except OSError as error:
            raise _unkept(error) from error

    def cancel(self, job: Job) -> Job:
        """Ask a job to end; it, as it is then. GlimpseError if that cannot be kept."""
        try:
            self.store.ask_cancel(job.id)
        except OSError as error:
            raise _unkept(error) from error
        self._awake.set()
        return self.store.get(job.id) or job

    # --- in the manager's thread ---

    def _manage(self) -> None:
        while not self._stopping.is_set():
            self._awake.clear()
            try:
                self._look()
            except Exception as error:  # a full disk, say: try again
                if str(error) != self._trouble:
                    log.exception("jobs cannot be looked after; trying again")
                self._trouble = str(error)
            self._awake.wait(POLL)

    def _look(self) -> None:
        """Become the one that runs jobs, cancel what is to be cancelled, start what can be started."""
        self._lock = self.store.lock() if self._lock is None else self._lock
        if self._lock is None:
            return
        if time.monotonic() - self._swept > SWEEP_EVERY:
            self.store.sweep()
            self._swept = time.monotonic()
        for key in [key for key, each in self._running.items() if not each.thread.is_alive()]:
            del self._running[key]
        taken = {each.job.collection for each in self._running.values()}
        kinds = [each.job.kind for each in self._running.values()]
        watches, busy = kinds.count("watch"), len(kinds) > kinds.count("watch")
        for job in reversed([job for job in self.store.all() if not job.ended]):
            if each := self._running.get(job.id):
                if job.state == "cancelling":
                    each.stop.set()
                continue
            if job.state == "cancelling":
                self._end(job, "cancelled")
                continue
            if job.collection in taken:
                continue
            if job.collection is not None:
                taken.add(job.collection)  # what comes later waits for it, even while it waits itself
            if watches >= WATCHES if job.kind == "watch" else busy:
                continue
            waiting = self._collections.writers.elsewhere(job.collection) if job.collection else None
            if waiting is None:
                watches, busy = watches + (job.kind == "watch"), busy or job.kind != "watch"
                self._start(job)
            elif waiting != job.waiting:
                self.store.save(replace(job, state="queued", waiting=waiting))

    def _start(self, job: Job) -> None:
        job = deepcopy(job)  # others read that one
        if job.starts >= STARTS:
            message = (f"the service ended {STARTS} times while it did this, without getting on; its log says why: "
                       "ask for the job again when that is mended")  # fmt: skip
            log.error("job %s is given up: %s", job.id, message)
            self._end(job, "failed", {"message": message, "type": "server_error", "code": "job_abandoned"})
            return
        job.state, job.waiting, job.starts = "running", None, job.starts + 1
        job.started_at = job.started_at or now()
        self.store.save(job)  # before anything of it can end the process
        stop = threading.Event()
        thread = threading.Thread(target=self._run, args=(job, stop), name=f"job {job.id}", daemon=True)
        self._running[job.id] = _Running(job, stop, thread)
        thread.start()

    # --- in the thread of a job ---

    def _run(self, job: Job, stop: threading.Event) -> None:
        log.info("job %s (%s) starts", job.id, job.kind, extra={"fields": {"job": job.id, "kind": job.kind}})
        try:
            encoder = self._models.encoder(self.model_for(job), stop)
            data = Path(self._settings.data)
            roots = Roots(self._settings.job_roots)
            work(JobContext(job, self.store, data, encoder, self._collections.writers, roots, stop))
        except Exception as error:
            if self._stopping.is_set():
                job.state, job.starts = "queued", 0
                self._save(job)
            elif isinstance(error, Stopped):
                self._end(job, "cancelled")
            else:
                if not isinstance(error, GlimpseError):
                    log.exception("job %s failed", job.id)
                self._end(job, "failed", described(_unkept(error) if isinstance(error, OSError) else error))
        else:
            self._end(job, "succeeded")
        self._awake.set()

    def _end(self, job: Job, state: Any, error: dict[str, Any] | None = None) -> None:
        job = replace(job, state=state, error=error, ended_at=now(), waiting=None)
        self._save(job)
        fields = {"job": job.id, "kind": job.kind, "state": state, "done": job.done}
        log.info("job %s (%s) %s", job.id, job.kind, state, extra={"fields": fields})

    def _save(self, job: Job) -> None:
        """Keep how it ended, however long that takes."""
        while True:
            try:
                self.store.save(job)
                return
            except OSError as error:
                log.error("job %s cannot be kept: %s; trying again", job.id, error)
                if self._stopping.wait(5.0):
                    return


def _unkept(error: OSError) -> GlimpseError:
    said = f"the job cannot be kept: {error.strerror}; make room, or let the data folder be written to"
    return disk_error(error) or GlimpseError(said)
