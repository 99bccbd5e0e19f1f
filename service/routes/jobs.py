"""Jobs: asking for one, listing, following, cancelling and forgetting them, and the CSV of a label job."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import FileResponse, StreamingResponse
from starlette.concurrency import run_in_threadpool

from base.errors import InputError, ModelMismatch, ModelUnavailable
from encoder.zero_shot.classifier import ScoredBy, check_scores
from index.search.query import MAX_LIMIT
from labelling.label_file import each_given
from labelling.label_sets import LabelSet, LabelSets
from service.collections.opened import OpenCollections
from service.deps import CollectionsDep, JobsDep, ModelsDep, ServiceDep, SettingsDep, ToldDep, retried
from service.errors import Refusal, documented
from service.http.json_bodies import JsonRoute
from service.inference.known_models import ServedModel
from service.inference.models import Models
from service.jobs.label_runs import check_outputs, outputs_of
from service.jobs.roots import FolderRefused, Roots
from service.jobs.store import ID, Job, JobStore, State
from service.routes.labelling.label_sets import as_asked, check_learned
from service.routes.training_runs import found
from service.schemas import examples
from service.schemas.base import Absent, Whole
from service.schemas.jobs import JobAnswer, JobRequest, JobsAnswer, LabelJob, MapJob, ReindexJob
from service.told import Told
from service.training_runs import TrainingRuns, has_model

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], route_class=JsonRoute)

LOOK_EVERY = 0.5  # seconds from one look at a job to the next
ALIVE_EVERY = 15.0  # seconds after which a silent stream says that it is there, for proxies that cut silent ones


def job_of(job: Annotated[str, Path(pattern=f"^{ID.pattern}$")], jobs: JobsDep) -> Job:
    """The job that the path names."""
    found = jobs.store.get(job)
    if found is None:
        raise Refusal(404, f"no job {job}; GET /v1/jobs lists those there are", code="job_not_found")
    return found


JobDep = Annotated[Job, Depends(job_of)]


@router.post(
    "",
    summary="Ask for a job",
    status_code=202,
    responses=documented(403, 404, 408, 409, 413, 415, 422, 429, 503),
)
def ask(
    asked: JobRequest,
    jobs: JobsDep,
    models: ModelsDep,
    collections: CollectionsDep,
    settings: SettingsDep,
    told: ToldDep,
    response: Response,
) -> JobAnswer:
    """It is queued, and goes on through any restart until it ends. `Location` is where to look after it.

    Folders must lie in those that the operator has named (403). A job for a collection that another one works on waits
    for it; while a watch has the collection it is refused (409), for a watch does not end.
    """
    wanted = asked.root
    keep: dict[str, Any] = {}
    try:
        _check_places(Roots(settings.job_roots), wanted)
    except FolderRefused as error:
        raise Refusal(403, str(error), code=error.code) from None
    models.named(wanted.model)  # 404 now, not when its turn comes
    if isinstance(wanted, LabelJob):
        # as it is now: a label set that changes later changes no job
        given = each_given(as_asked(wanted.labels)) if wanted.labels else None
        label_set = LabelSets(settings.data).resolve(given and given.labels, wanted.label_set, wanted.templates)
        label_set = label_set.in_mode(wanted.mode) if wanted.mode else label_set
        label_set = replace(label_set, abstains=wanted.abstain or label_set.abstains)
        model = _model_for(wanted, label_set, models, collections)
        card = models.card(model)
        _check_scores(card.logit_bias, wanted.scores)
        check_learned(label_set, card.fingerprint, model.ref)
        try:
            label_set.check_prompts(settings.max_prompts)
        except InputError as error:
            raise Refusal(422, str(error), code=error.code, param="labels") from None
        keep = {"label_set": label_set.to_json(), "left_out": given.left_out.as_json() if given else []}
        if wanted.collection is None:  # else it is the collection's, which may have another name after a start
            keep["model"] = model.name
    if isinstance(wanted, ReindexJob) and wanted.training_run:
        keep = {"made_by": _trained(TrainingRuns(settings.runs), wanted.training_run, models)}
    if isinstance(wanted, ReindexJob | LabelJob | MapJob) and wanted.collection is not None:
        collections.get(wanted.collection)  # 404 now, not when its turn comes
    with retried():
        job = jobs.ask(wanted.kind, wanted.model_dump(), getattr(wanted, "collection", None), keep)
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    return told.job(job)


@router.get("", summary="List jobs", responses=documented(422))
def list_all(
    jobs: JobsDep,
    told: ToldDep,
    state: Annotated[State | None, Query(), Absent] = None,
    collection: str | None = None,
    limit: Annotated[Whole, Query(ge=1, le=MAX_LIMIT), Absent] = 100,
    after: Annotated[
        str | None, Query(pattern=f"^{ID.pattern}$", description="the `next` of the page before"), Absent
    ] = None,
) -> JobsAnswer:
    """The newest first."""
    found = [
        job
        for job in jobs.store.all()
        if state in (None, job.state) and collection in (None, "", job.collection) and (after is None or job.id < after)
    ]
    page = found[:limit]
    return JobsAnswer(jobs=[told.job(job) for job in page], next=page[-1].id if len(found) > limit else None)


@router.get("/{job}", summary="One job", responses=documented(404, 422))
def get_one(job: JobDep, told: ToldDep) -> JobAnswer:
    """Its state, how far it is, and what it has done. A key that may only read is told of no folder."""
    return told.job(job)


@router.delete(
    "/{job}",
    summary="Cancel a job, or forget one that has ended",
    status_code=204,
    response_model=None,
    responses=documented(404, 409, 422)
    | {
        202: {"model": JobAnswer, "description": "it will be cancelled"},
        204: {"description": "it is forgotten"},
    },
)
def delete(
    job: JobDep,
    jobs: JobsDep,
    told: ToldDep,
    forget: Annotated[bool, Query(description="forget a job that has ended, with its result"), Absent] = False,
) -> Response:
    """One that waits or runs is cancelled (202): what it has committed stays. One that has ended is 409.

    With `forget` one that has ended is forgotten (204), and one that has not is 409.
    """
    if forget:
        if not job.ended:
            raise Refusal(409, f"job {job.id} has not ended; cancel it first", code="job_not_ended")
        jobs.forget(job)
        return Response(status_code=204)
    if job.ended:
        message = f"job {job.id} has {'been ' * (job.state == 'cancelled')}{job.state}; to forget it give forget=true"
        raise Refusal(409, message, code="job_ended")
    return Response(told.job(jobs.cancel(job)).model_dump_json(), 202, media_type="application/json")


@router.get(
    "/{job}/result",
    summary="What a label job has written",
    response_class=Response,
    responses=documented(404, 409, 422) | {200: {"content": examples.TABLE, "description": "path, label, score"}},
)
def result(job: JobDep, jobs: JobsDep) -> Response:
    """The CSV, once the job has ended; of one that failed or was cancelled the rows up to there."""
    if job.kind == "label" and not job.ended:
        raise Refusal(409, "the job has not ended; GET /v1/jobs/{id}/events says when it has", code="job_not_ended")
    path = jobs.store.result(job.id)
    if not path.is_file():
        raise Refusal(404, "this job has written nothing; label jobs do", code="no_result")
    return FileResponse(path, media_type="text/csv", filename=f"{job.id}.csv")


@router.get(
    "/{job}/events",
    summary="Follow a job",
    response_class=Response,
    responses=documented(404, 422)
    | {200: {"content": {"text/event-stream": {}}, "description": "events `state`, `progress` and at last `end`"}},
)
async def events(job: JobDep, service: ServiceDep, told: ToldDep, request: Request) -> Response:
    """Server-sent events, each with the whole job as its data: first what is now, then what changes, until it ends.

    A stream that breaks off may be opened anew at any time; it begins with what is then. One whose key is removed ends.
    """

    async def is_over(look: bool) -> bool:
        if look:
            await service.disk.looked()
        return service.is_stopping() or not request.scope["state"]["holds"]()

    stream = _events(service.jobs.store, job, told, is_over)
    return StreamingResponse(stream, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


async def _events(
    store: JobStore, job: Job | None, telling: Told, is_over: Callable[[bool], Awaitable[bool]]
) -> AsyncIterator[str]:
    """Looks at the kept job now and then: so a reader who is slow or gone holds nobody up; at the keys more seldom."""
    told: tuple[int, str] | None = None
    silent, unseen = 0.0, 0.0
    while job is not None:
        if told != (job.revision, job.state):
            name = "end" if job.ended else "progress" if told and told[1] == job.state else "state"
            yield f"event: {name}\nid: {job.revision}\ndata: {telling.job(job).model_dump_json()}\n\n"
            told, silent = (job.revision, job.state), 0.0
        elif silent >= ALIVE_EVERY:
            yield ": still here\n\n"
            silent = 0.0
        if job.ended or await is_over(unseen >= ALIVE_EVERY):
            return
        unseen %= ALIVE_EVERY
        await asyncio.sleep(LOOK_EVERY)
        silent, unseen = silent + LOOK_EVERY, unseen + LOOK_EVERY
        job = await run_in_threadpool(store.get, job.id)


def _trained(runs: TrainingRuns, name: str, models: Models) -> tuple[str, str]:
    """Reference and fingerprint of a training run's model, as it is now. 404, 409."""
    run = found(runs, name)
    if run.state == "training":
        message = f"training run {name!r} is still at work, and its model changes: wait until it has ended, or stop it"
        raise Refusal(409, message, code="training_run_busy")
    if not has_model(run):
        raise Refusal(409, f"training run {name!r} has no model yet: it has not finished an epoch", code="no_model")
    model = models.lying_at(str(run.out))
    try:
        return model.ref, models.card(model).fingerprint
    except (ModelMismatch, ModelUnavailable):
        message = f"the model of training run {name!r} cannot be loaded: the service's log says why"
        raise Refusal(409, message, code="model_unavailable") from None


def _model_for(wanted: LabelJob, label_set: LabelSet, models: Models, collections: OpenCollections) -> ServedModel:
    """The model that is named, else the collection's, else the one that learned the labels, else the default one."""
    if wanted.model is None and wanted.collection is not None:
        return models.of(*collections.get(wanted.collection).made_by())  # 404 now
    by = models.with_fingerprint(label_set.learned.fingerprint) if label_set.learned and not wanted.model else None
    return by or models.named(wanted.model)


def _check_scores(logit_bias: float | None, scores: ScoredBy | None) -> None:
    """422 if the model has no such scores."""
    try:
        check_scores(logit_bias, scores)
    except InputError as error:
        raise Refusal(422, str(error), code=error.code, param="scores") from None


def _check_places(roots: Roots, wanted: Any) -> None:
    """FolderRefused if the job would read what it may not."""
    if isinstance(wanted, LabelJob):
        if wanted.folder is not None:
            roots.folder(wanted.folder)
        check_outputs(roots, outputs_of(wanted.model_dump()))
    elif not isinstance(wanted, ReindexJob | MapJob):
        for folder in wanted.folders:
            roots.folder(folder)
        if wanted.captions is not None:
            roots.file(wanted.captions)
