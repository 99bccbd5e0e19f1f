"""What the routes of labelling runs get at them by: a run opened, shown, and changed where the service may.

A picture is found by its id in a run, and opened before it is asked whether it lies where the service may read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Annotated, TypeVar

from fastapi import Depends, Request
from starlette.concurrency import run_in_threadpool

from base.errors import ImageError, ModelMismatch
from encoder.encoder import Encoder
from index.collection import Collection
from labelling.outputs.files import stamp_of
from labelling.review import Reviewed
from labelling.runs import reviews
from labelling.runs.deciding import LabelsAsked
from labelling.runs.kept import LabelRuns
from labelling.runs.report import RunInfo
from labelling.runs.run import Run
from labelling.runs.sources import Source
from labelling.runs.tables import Row
from service.collections.opened import OpenCollections
from service.deps import CollectionsDep, SettingsDep, ToldDep, retried, signs
from service.errors import Refusal
from service.inference.models import Models
from service.jobs.label_runs import check_run, label_runs, source_of
from service.jobs.roots import FolderRefused, Roots
from service.schemas.labelling.label_runs import RunAnswer, RunSummary
from service.schemas.labelling.reviews import FlippedImage

R = TypeVar("R")

PREFIX = "/v1/label-runs"
PATIENCE = 10.0  # seconds that a change waits for others who work on the run; a review takes some for 100,000 images


class RunAccess:
    """The runs of the data folder, and where they may read and write."""

    def __init__(self, settings: SettingsDep, collections: CollectionsDep, told: ToldDep, request: Request) -> None:
        self._address = signs(request)
        self.roots = Roots(settings.job_roots)
        self._runs: LabelRuns = label_runs(settings.data, self.roots, read_only=settings.read_only)
        self._collections: OpenCollections = collections
        self._told = told

    def list(self) -> list[RunAnswer]:
        """All of them."""
        return [self._told.run(RunAnswer(**RunAnswer.told(info))) for info in self._runs.list()]

    def look(self, name: str) -> Run:
        """A run to read."""
        return self._runs.look(name)

    def forget(self, name: str) -> None:
        """Forget one."""
        with retried():
            self._runs.forget(name)

    def review(self, name: str, models: Models, work: Callable[[Run, Source], R]) -> R:
        """Call `work` with a run open to be changed, and what its vectors are taken from. 409 if others work on it."""
        with retried(), self._runs.open(name, PATIENCE) as run:
            info = run.info()
            collection = self._collections.get(info.source.collection) if info.source.collection else None
            return work(run, source_of(info, _encoder_of(run, models), collection))

    async def outputs(self, name: str, work: Callable[[Run, Collection | None], R]) -> R:
        """Call `work` with a run open and what it writes to, if all of that lies where the service may write."""

        def begun(collection: Collection | None = None) -> R:
            with self._runs.open(name, PATIENCE) as run:
                return work(run, collection)

        info = await run_in_threadpool(self._info, name)
        try:
            await run_in_threadpool(check_run, self.roots, info)
        except FolderRefused as error:
            message = f"{error}; or bring the run in step, or take it back, by `glimpse label` on that machine"
            raise Refusal(403, message, code=error.code) from None
        with retried():
            if info.outputs.metadata is not None and info.source.collection is not None:
                return await self._collections.writers.write(info.source.collection, begun)
            return await run_in_threadpool(begun)

    def summary(self, name: str) -> RunSummary:
        """What a run is and has."""
        with self.look(name) as run:
            store = run.store
            model = self._told.name_of(store.get("model", ""), store.get("fingerprint", ""))
            return self._told.run(RunSummary.of(run.info(), model, LabelsAsked.of(store), reviews.summary(store)))

    def image(self, name: str, image: int) -> Row:
        """An image of a run over a folder, that could be read then. 404."""
        with self.look(name) as run:
            row = run.store.row(image) if run.info().source.folder is not None else None
        if row is None or row.image.error:
            raise Refusal(404, f"run {name} shows no image {image}", code="image_not_found")
        return row

    def base(self, info: RunInfo, row: Row) -> str | None:
        """Where an image is shown; None: nowhere."""
        if info.source.collection is not None:
            return self._address(f"/v1/collections/{info.source.collection}/images/{row.id}")
        shown = not row.image.error and self.roots.leads_in(row.image.path)
        return self._address(f"{PREFIX}/{info.id}/images/{row.id}") if shown else None

    def flipped(self, name: str, done: Reviewed) -> Sequence[FlippedImage]:
        """The images that a review has flipped, where they are shown; but for those that are gone since."""
        with self.look(name) as run:
            info = run.info()
            rows = [(flip, row) for flip in done.flips.first if (row := run.store.row(flip.image)) is not None]
        return [FlippedImage.of(flip, row, self.base(info, row)) for flip, row in rows]

    @contextmanager
    def opened(self, row: Row) -> Iterator[Path]:
        """A name of the very file that was labelled. 404: it lies where nothing may be read, or is another one now."""
        with ExitStack() as open_:
            try:
                held = open_.enter_context(self.roots.opened(row.image.path))
            except FolderRefused as error:
                raise Refusal(404, str(error), code=error.code) from None
            except ImageError:
                message = "the file of this image is no longer where it was labelled"
                raise Refusal(404, message, code="file_gone") from None
            if stamp_of(held) != row.stamp:
                raise Refusal(404, "the file of this image is not the one that was labelled", code="file_changed")
            yield held

    def _info(self, name: str) -> RunInfo:
        with self.look(name) as run:
            return run.info()


def _encoder_of(run: Run, models: Models) -> Encoder:
    """Of the model that made the vectors of a run; where it is not here of the default one, which the run refuses."""
    if fingerprint := run.store.get("fingerprint"):
        with suppress(ModelMismatch):
            return models.encoder(models.of(run.store.get("model", ""), fingerprint), None)
    return models.encoder(models.default, None)


RunsDep = Annotated[RunAccess, Depends()]
