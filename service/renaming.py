"""A collection under another name, with what else in the data folder refers to it. Knows no HTTP."""

from __future__ import annotations

from pathlib import Path

from base.errors import CollectionLocked
from index.renaming import check_new_name, rename_collection
from labelling.runs.kept import LabelRuns
from service.jobs.store import JobStore


def rename(data: Path, name: str, to: str) -> None:
    """As `rename_collection`; its labelling runs are those of `to` from then on.

    Raises:
        CollectionLocked: others write to it, or a job of it, or of one that is to be called `to`, waits or runs.
        RunBusy: others work on one of its labelling runs.
    """
    check(data, name, to)
    with LabelRuns(data).following(name, to):
        rename_collection(data, name, to)


def check(data: Path, name: str, to: str) -> None:
    """The same of what can be seen before. InputError, CollectionExists, NotInStore, CollectionLocked."""
    check_new_name(data, name, to)
    for job in JobStore(data).all():
        if job.collection in (name, to) and not job.ended:
            raise CollectionLocked(
                f"job {job.id} is of collection {job.collection!r}: wait for its end, or cancel it (DELETE "
                f"/v1/jobs/{job.id})"
            )
