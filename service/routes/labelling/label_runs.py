"""Labelling runs over REST: looked at, reviewed, brought in step, taken back. `glimpse label` and jobs make them."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from io import TextIOWrapper
from tempfile import SpooledTemporaryFile
from types import EllipsisType
from typing import Annotated, BinaryIO, cast

from fastapi import APIRouter, Depends, Header, Path, Query, Response
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from labelling.label_sets import LabelSet, LabelSets
from labelling.outputs.table import LabelTable
from labelling.review import Item, Rule, review, take_back, taught
from labelling.runs import reviews
from labelling.runs.kept import ID
from labelling.runs.report import Going
from service.collections.thumbnails import SIZES, size_for
from service.deps import (
    ModelsDep,
    ServiceDep,
    SettingsDep,
)
from service.errors import documented
from service.http.conditions import names
from service.http.json_bodies import JsonRoute
from service.jobs.label_runs import TOOL
from service.routes.collections.images import SIDE, media_type_of, picture_headers, sent, thumbnail_of
from service.routes.labelling.label_sets import OnlyIfDep
from service.routes.labelling.run_access import PREFIX, RunsDep
from service.schemas import examples
from service.schemas.base import MAX_ID, Absent, Whole, binary
from service.schemas.labelling.label_runs import (
    ApplyAnswer,
    RunImage,
    RunImages,
    RunsAnswer,
    RunSummary,
    SaveRequest,
    UndoAnswer,
)
from service.schemas.labelling.labels import LabelSetAnswer
from service.schemas.labelling.reviews import (
    MAX_ITEMS,
    BarAnswer,
    BarsAnswer,
    ReviewAnswer,
    ReviewItem,
    ReviewRequest,
    TakenBackAnswer,
)

router = APIRouter(prefix=PREFIX, tags=["label runs"], route_class=JsonRoute)

NameDep = Annotated[str, Path(alias="run", pattern=f"^{ID.pattern}$")]
ImageDep = Annotated[Whole, Path(alias="image", ge=1, le=MAX_ID)]
GOING = Going(tool=TOOL)
IN_MEMORY = 4 << 20  # bytes of a table, of some 40,000 images; a longer one needs room on a disk
LAST = "only this one, by the `last_review` of the run as you saw it; 409 if another is the last by now"


@router.get("", summary="All labelling runs")
def list_all(runs: RunsDep) -> RunsAnswer:
    """The one used last first; those of `glimpse label` in this data folder too."""
    return RunsAnswer(label_runs=runs.list())


@router.get("/{run}", summary="One labelling run", responses=documented(404, 422))
def get_one(name: NameDep, runs: RunsDep) -> RunSummary:
    """How many images have each label, none, or were reviewed."""
    return runs.summary(name)


def wanted(
    order: Annotated[reviews.Order, Query(description="path: those that could not be read too"), Absent] = "uncertain",
    label: Annotated[str | None, Query(max_length=1000, description="only those that have it")] = None,
    abstained: Annotated[bool | None, Query(), Absent] = None,
    reviewed: Annotated[bool | None, Query(description="false: what is left to look at"), Absent] = None,
    limit: Annotated[Whole, Query(ge=1, le=1000), Absent] = 100,
    after: Annotated[Whole | None, Query(ge=1, le=MAX_ID, description="the `next` of the page before"), Absent] = None,
) -> reviews.Wanted:
    """Which images are asked for."""
    return reviews.Wanted(order, label or None, abstained, reviewed, limit, after)


@router.get("/{run}/images", summary="Its images, the least certain first", responses=documented(404, 422))
def images(name: NameDep, runs: RunsDep, asked: Annotated[reviews.Wanted, Depends(wanted)]) -> RunImages:
    """Uncertain is a small margin: the best label's score less the next one's, or how near one is to its threshold."""
    with runs.look(name) as run:
        rows, info = reviews.page(run.store, replace(asked, limit=asked.limit + 1)), run.info()
    page = rows[: asked.limit]
    shown = [RunImage.of(row, runs.base(info, row)) for row in page]
    return RunImages(images=shown, next=page[-1].id if len(rows) > asked.limit else None)


@router.post(
    "/{run}/review",
    summary="Say what images are",
    responses=documented(404, 408, 409, 413, 415, 422, 503),
)
def post_review(name: NameDep, asked: ReviewRequest, runs: RunsDep, models: ModelsDep) -> ReviewAnswer:
    """What was said of images one by one are examples: all that nobody has looked at is labelled anew by them, at once.

    What was reviewed never changes again. Rules apply first to last after the items, to the labels of before them.
    Nothing is written out: `apply` does that. 409: another model made the run's vectors, others work on it, or others
    have said something of an image since you saw it (`expected_reviewed`).
    """
    items = [Item(one.image, one.verdict, one.labels, _seen(one)) for one in asked.items]
    rules = [Rule(one.accept_above, one.label) for one in asked.rules]
    done = runs.review(name, models, lambda run, source: review(run, source, items, rules))
    return ReviewAnswer(**ReviewAnswer.told(done, runs.flipped(name, done), runs.summary(name)))


@router.post(
    "/{run}/review/undo",
    summary="Take back the last review",
    responses=documented(404, 409, 422, 503),
)
def undo_review(
    name: NameDep,
    runs: RunsDep,
    models: ModelsDep,
    number: Annotated[Whole | None, Query(alias="review", ge=1, le=MAX_ID, description=LAST), Absent] = None,
) -> TakenBackAnswer:
    """Its images are as they were before it, and the rest is labelled anew without it. A hundred can be taken back.

    422: there is none; when a run labels again, what was said until then stays said.
    """
    done = runs.review(name, models, lambda run, source: take_back(run, source, review=number))
    told = TakenBackAnswer.told(done, runs.flipped(name, done), runs.summary(name))
    return TakenBackAnswer(**told, images=done.images[:MAX_ITEMS])


def _seen(item: ReviewItem) -> str | EllipsisType | None:
    return item.expected_reviewed if "expected_reviewed" in item.model_fields_set else ...


@router.get("/{run}/bars", summary="What a rule would accept", responses=documented(404, 422))
def bars(
    name: NameDep,
    runs: RunsDep,
    label: Annotated[str | None, Query(max_length=1000, description="only those that have it")] = None,
) -> BarsAnswer:
    """How many images nobody has looked at have such a score, at even shares of them: for a slider."""
    with runs.look(name) as run:
        info = run.info()
        found = [(bar, run.store.row(bar.least)) for bar in reviews.bars(run.store, label or None)]
    bases = [row and runs.base(info, row) for _, row in found]
    return BarsAnswer(
        bars=[
            BarAnswer(accept_above=bar.score, images=bar.images, least_url=base and f"{base}/thumbnail")
            for (bar, _), base in zip(found, bases, strict=True)
        ]
    )


@router.get(
    "/{run}/table",
    summary="Its labels as CSV",
    response_class=StreamingResponse,
    responses=documented(404, 422) | {200: {"content": examples.TABLE, "description": "path, label, score"}},
)
def table(name: NameDep, runs: RunsDep) -> StreamingResponse:
    """As they are by now, whether its outputs were brought in step or not. No label: none of them fits."""
    with runs.look(name) as run, ExitStack() as opened:
        file = cast(BinaryIO, opened.enter_context(SpooledTemporaryFile(IN_MEMORY)))
        text = TextIOWrapper(file, "utf-8", "surrogateescape", newline="")
        LabelTable(text).write(run.images())
        text.detach()
        opened.pop_all()  # `sent` closes it
        return sent(file, "text/csv", {"Content-Disposition": f'attachment; filename="{run.id}.csv"'})


@router.post("/{run}/apply", summary="Bring its outputs in step", responses=documented(404, 409, 422))
async def apply(name: NameDep, runs: RunsDep) -> ApplyAnswer:
    """Files, keywords and metadata become what its labels are by now. 403: they lie where the service may not write."""
    return ApplyAnswer.of(await runs.outputs(name, lambda run, collection: run.apply(collection, GOING)))


@router.post("/{run}/undo", summary="Take back what it wrote", responses=documented(404, 409, 422))
async def undo(name: NameDep, runs: RunsDep) -> UndoAnswer:
    """Its labels and reviews stay, and what others have changed since. 403 as for `apply`."""
    return UndoAnswer.of(await runs.outputs(name, lambda run, collection: run.undo(collection)))


@router.post(
    "/{run}/save-label-set",
    summary="Keep what was learned",
    responses=documented(404, 408, 409, 412, 413, 415, 422, 503)
    | {201: {"model": LabelSetAnswer, "description": "there was no label set of that name"}},
)
def save(
    name: NameDep,
    asked: SaveRequest,
    runs: RunsDep,
    models: ModelsDep,
    settings: SettingsDep,
    response: Response,
    only_if: OnlyIfDep,
) -> LabelSetAnswer:
    """Its labels as a label set, with what was reviewed as examples, in place of one of that name; by `If-None-Match`
    and `If-Match` as a `PUT` of that set.
    """
    kept = LabelSets(settings.data)
    learned = runs.review(name, models, taught)

    def made(before: LabelSet | None) -> LabelSet:
        only_if.check(asked.name, before)
        return learned

    put_there, is_new = kept.change(asked.name, made, only_new=only_if.is_new)
    if is_new:
        response.status_code = 201
    response.headers["ETag"] = f'"{put_there.tag}"'
    return LabelSetAnswer.of(asked.name, put_there)


@router.delete("/{run}", summary="Forget a run", status_code=204, responses=documented(404, 409, 422))
def delete(name: NameDep, runs: RunsDep) -> None:
    """Its vectors, labels and reviews go; what it wrote stays as it is, and can no longer be taken back."""
    runs.forget(name)


@router.get(
    "/{run}/images/{image}/content",
    summary="An image file of a run over a folder",
    response_class=StreamingResponse,
    responses=documented(404, 415, 422) | {200: {"content": binary("image/*"), "description": "the file as it is"}},
)
def content(name: NameDep, image: ImageDep, runs: RunsDep, settings: SettingsDep) -> StreamingResponse:
    """The original bytes, if it is the file that was labelled and lies where the service may read."""
    row = runs.image(name, image)
    media_type = media_type_of(row.image.path)
    with runs.opened(row) as held:
        return sent(held.open("rb"), media_type, picture_headers(settings))


@router.get(
    "/{run}/images/{image}/thumbnail",
    summary="A small WebP of an image of a run",
    response_class=Response,
    responses=documented(404, 422, 429)
    | {200: {"content": binary("image/webp"), "description": "the thumbnail"}, 304: {"description": "as you have it"}},
)
async def get_thumbnail(
    name: NameDep,
    image: ImageDep,
    runs: RunsDep,
    service: ServiceDep,
    size: Annotated[Whole, Query(ge=16, le=SIZES[-1], description=SIDE), Absent] = 256,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """Upright, in sRGB. It is made once and kept, by the file's bytes, as those of a collection are."""
    side = size_for(size)
    row = await run_in_threadpool(runs.image, name, image)
    headers = picture_headers(service.settings) | {"ETag": f'"{row.stamp.replace(" ", "-")}-{side}.webp"'}

    def made() -> bytes:
        with runs.opened(row) as held:
            return thumbnail_of(held.read_bytes(), None, side, service)

    def is_there() -> bool:
        with runs.opened(row):
            return True

    if names(if_none_match, headers["ETag"]) and await run_in_threadpool(is_there):
        return Response(status_code=304, headers=headers)
    key = name, image, row.stamp, side
    if not service.flights.under_way(key):
        service.decoders.check_room()
    webp = await service.flights.run(key, service.decoders.run(made))
    return Response(webp, media_type="image/webp", headers=headers)
