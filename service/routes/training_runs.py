"""Training runs: listed, followed while they train, compared. Jobs of the kind reindex have one served."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from service.deps import SettingsDep, ToldDep, signs
from service.errors import Refusal, documented
from service.schemas.base import MAX_ID, Absent, Whole
from service.schemas.training_runs import (
    ComparedRun,
    ComparisonAnswer,
    DiaryAnswer,
    MeasureTable,
    TrainingRunAnswer,
    TrainingRunDetails,
    TrainingRunsAnswer,
)
from service.training_runs import NAME, TrainingRuns, has_model, report_of
from training.reading.comparison import differing, headline, objections, verdict
from training.reading.diary import read_diary
from training.reading.run import Run

router = APIRouter(prefix="/v1/training-runs", tags=["training runs"])

SIGNED = 3600  # seconds for which a report's address is good
# of a report: its style and its pictures are in it, and nothing in it is to run
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox"

Name = Annotated[str, Path(alias="run", pattern=f"^{NAME.pattern}$")]


def runs_here(settings: SettingsDep) -> TrainingRuns:
    """The runs of the operator's folder."""
    return TrainingRuns(settings.runs)


RunsDep = Annotated[TrainingRuns, Depends(runs_here)]


def found(runs: TrainingRuns, name: str) -> Run:
    """A run. 404 with what to do."""
    run = runs.find(name)
    if run is None:
        remedy = (
            "GET /v1/training-runs lists those there are"
            if runs.folder is not None
            else "the operator names the folder with runs (glimpse serve --runs DIR)"
        )
        raise Refusal(404, f"no training run {name!r}; {remedy}", code="training_run_not_found")
    return run


def run_of(name: Name, runs: RunsDep) -> Run:
    """The run that the path names."""
    return found(runs, name)


RunDep = Annotated[Run, Depends(run_of)]


@router.get("", summary="All training runs")
def list_all(runs: RunsDep, told: ToldDep) -> TrainingRunsAnswer:
    """The one that was written to last first: run folders of `glimpse train` right below the operator's folder."""
    listed = [TrainingRunAnswer(**TrainingRunAnswer.told(run, has_model=has_model(run))) for run in runs.list()]
    folder = str(runs.folder) if runs.folder is not None and told.places else None
    answers = [told.training_run(one) for one in listed]
    return TrainingRunsAnswer(named=runs.folder is not None, folder=folder, training_runs=answers)


@router.get("/{run}", summary="One training run", responses=documented(404, 422))
def get_one(run: RunDep, told: ToldDep, request: Request) -> TrainingRunDetails:
    """How far it is, what it was asked, every measure before and after, and where its report is."""
    report = f"{router.prefix}/{quote(run.name)}/report" if told.places and report_of(run) else None
    details = TrainingRunDetails(
        **TrainingRunDetails.told(run, has_model=has_model(run)),
        settings=run.settings,
        tables=[MeasureTable.of(table) for table in run.tables],
        report_url=report and signs(request, SIGNED)(report),
    )
    return told.training_run(details)


@router.get("/{run}/diary", summary="Its curves", responses=documented(404, 422))
def diary(
    run: RunDep,
    offset: Annotated[Whole, Query(ge=0, le=MAX_ID, description="the `next` of the answer before"), Absent] = 0,
    most: Annotated[Whole, Query(ge=2, le=5000, description="values a key"), Absent] = 1000,
) -> DiaryAnswer:
    """What it noted step by step and epoch by epoch, from a place on: ask again with `next` to follow it."""
    return DiaryAnswer.of(read_diary(run.out, offset, most))


@router.get(
    "/{run}/report",
    summary="Its report",
    response_class=Response,
    responses=documented(403, 404, 422)
    | {
        200: {"content": {"text/html": {"schema": {"type": "string"}}}, "description": "a page that needs nothing else"}
    },
)
def report(run: RunDep, told: ToldDep, request: Request) -> Response:
    """As it stood after the last epoch. It names files of the server: 403 for keys that may only read.

    A signed address of it, as `report_url`, needs no key.
    """
    if not (told.places or getattr(request.state, "signed", False)):
        message = "the report names files of the server: it is for keys of the scope admin"
        raise Refusal(403, message, code="insufficient_scope")
    path = report_of(run)
    if path is None:
        raise Refusal(404, f"training run {run.name!r} has no report yet", code="no_report")
    return Response(path.read_bytes(), media_type="text/html", headers={"Content-Security-Policy": POLICY})


@router.get("/{run}/compare", summary="Compare it with others", responses=documented(404, 422))
def compare(
    run: RunDep,
    runs: RunsDep,
    told: ToldDep,
    others: Annotated[list[str], Query(alias="with", min_length=1, max_length=7, description="names of other runs")],
) -> ComparisonAnswer:
    """What came of each by the one measure that they have in common, and which settings differ."""
    compared = [run, *(found(runs, other) for other in dict.fromkeys(others) if other != run.name)]
    path, measure = headline(compared)
    said = [one.as_json(path, measure) for one in compared]
    return told.comparison(
        ComparisonAnswer(
            measure=measure,
            verdict=verdict(compared),
            objections=objections(compared),
            settings=differing(compared),
            runs=[ComparedRun(**{name: one[name] for name in ComparedRun.model_fields}) for one in said],
        )
    )
