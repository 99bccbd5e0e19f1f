"""The jobs of a service: starting, listing, following, ending them, and what they made."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

from glimpse.client.answers import Job, read
from glimpse.client.connection import GONE, ONCE, Connection, in_path
from glimpse.client.errors import NoService, ServiceError

PAUSE = 0.5  # seconds from a stream that broke off to the next


class Jobs(Connection):
    """What a service does for long, by itself, on folders of its own. docs/jobs.md tells the kinds and their fields."""

    def start_job(self, kind: str, *, idempotency_key: str | None = None, **fields: Any) -> Job:
        """Start a job, as in `start_job("index", collection="photos", folders=["/photos"])`.

        With an `idempotency_key` it is started once within a day, however often it is asked for.

        Raises:
            ServiceError: 403 where the operator has not named the folder; 409 where a watch has the collection.
        """
        headers = {} if idempotency_key is None else {ONCE: idempotency_key}
        return read(Job, self.ask("POST", "/v1/jobs", json={"kind": kind, **fields}, headers=headers))

    def jobs(self, *, state: str | None = None, collection: str | None = None) -> Iterator[Job]:
        """The jobs, the newest first; pages are fetched as they are needed."""
        return (read(Job, one) for one in self.pages("/v1/jobs", "jobs", state=state, collection=collection))

    def job(self, id: str) -> Job:  # noqa: A002
        """One job."""
        return read(Job, self.ask("GET", _path(id)))

    def cancel_job(self, id: str) -> Job:  # noqa: A002
        """Cancel a job that waits or runs. ServiceError (409) if it has ended."""
        return read(Job, self.ask("DELETE", _path(id)))

    def forget_job(self, id: str) -> None:  # noqa: A002
        """Forget a job that has ended, with its result. ServiceError (409) if it has not."""
        self.ask("DELETE", _path(id), params={"forget": True})

    def job_result(self, id: str) -> bytes:  # noqa: A002
        """The CSV of a label job that has ended."""
        return self.send("GET", f"{_path(id)}/result").content

    def job_events(self, id: str) -> Iterator[Job]:  # noqa: A002
        """A job as it stands, now and each time that this changes, until it has ended.

        A stream that breaks off, as when the service is started anew, is opened again, for `timeout` seconds on end.

        Raises:
            ServiceError: there is no such job, or a proxy has no service behind it for longer than that.
            NoService: the service is gone for longer than that, or tells nothing of the job.
        """
        end = time.monotonic() + self.timeout
        while True:
            event = ""
            failed: Exception = NoService(f"{self.url} tells nothing of job {id}: is it a glimpse service?")
            try:
                with self.stream("GET", f"{_path(id)}/events") as lines:
                    for line in lines:  # of a text/event-stream (WHATWG HTML, 9.2.6); here data are one line
                        name, _, value = line.partition(":")
                        if name == "event":
                            event = value.strip()
                        elif name == "data":
                            yield read(Job, json.loads(value))
                            if event == "end":
                                return
                            end = time.monotonic() + self.timeout
            except (NoService, ServiceError) as error:
                if isinstance(error, ServiceError) and error.status not in GONE:
                    raise
                failed = error
            except ValueError:  # no JSON
                pass
            if time.monotonic() > end:
                raise failed
            time.sleep(PAUSE)

    def wait_for(self, job: Job | str) -> Job:
        """The job when it has ended, however it did: look at its `state`."""
        *_, last = self.job_events(job.id if isinstance(job, Job) else job)
        return last


def _path(id: str) -> str:  # noqa: A002
    return f"/v1/jobs/{in_path(id)}"
