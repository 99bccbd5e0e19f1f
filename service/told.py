"""What is told of the server's own places: folders, and where models come from, are for who may change things.

Who may only read learns names. The path of an entry, or of an image in a labelling run, is what people search and
review by, and stays; so do the paths in the table of a label job.
"""

from __future__ import annotations

import re
from typing import Any, TypeVar

from fastapi import Request

from base.errors import GlimpseError
from index.collection import CollectionInfo
from labelling.label_sets import LabelSet
from service.errors import ErrorDetail, detail_of
from service.inference.known_models import ServedModel
from service.jobs.store import Job
from service.keys import sees_places
from service.schemas.base import Schema
from service.schemas.collections.collections import CollectionAnswer
from service.schemas.info import ModelAnswer
from service.schemas.jobs import JobAnswer
from service.schemas.labelling.label_runs import RunAnswer
from service.schemas.labelling.labels import LabelSetAnswer
from service.schemas.training_runs import ComparisonAnswer, TrainingRunAnswer
from service.state import service_of

R = TypeVar("R", bound=RunAnswer)
T = TypeVar("T", bound=TrainingRunAnswer)
S = TypeVar("S", bound=Schema)

ASK = "a key of the scope admin is told why"


class Told:
    """Answers, as whoever sent a request may see them.

    Attributes:
        places: whether that is all of it.
    """

    def __init__(self, request: Request) -> None:
        self._scope = request.scope
        self._service = service_of(request)
        self._models = self._service.models
        self.places = sees_places(request.scope)

    def message(self, text: str) -> str:
        """A message; for who may only read without the data folder and where models come from."""
        return self._service.told(self._scope, text)

    def error(self, error: Exception) -> ErrorDetail:
        """What is said of one item of a request that cannot be done."""
        detail = detail_of(error)
        return detail.model_copy(update={"message": self.message(detail.message)})

    def model(self, model: ServedModel) -> ModelAnswer:
        """A model, as it is now."""
        problem = None
        if model.problem is not None:
            problem = str(model.problem) if self.places and isinstance(model.problem, GlimpseError) else (
                "cannot be loaded: the service's log says why")  # fmt: skip
        card = model.card
        return ModelAnswer(
            id=model.name,
            default=model is self._models.default,
            loaded=model.loaded is not None,
            dim=card and card.dim,
            fingerprint=card and card.fingerprint,
            logit_scale=card and card.logit_scale,
            logit_bias=card and card.logit_bias,
            device=model.device,
            precision=model.precision,
            bytes=model.bytes,
            ref=model.ref if self.places else None,
            problem=problem,
        )

    def collection(self, info: CollectionInfo) -> CollectionAnswer:
        """A collection."""
        return CollectionAnswer.of(
            info,
            model=self.name_of(info.model, info.fingerprint),
            ref=info.model if self.places else None,
            problem=info.problem and self.message(info.problem),
        )

    def name_of(self, ref: str, fingerprint: str) -> str:
        """What the model is called that something was made with."""
        return self._models.name_of(ref, fingerprint)

    def label_set(self, name: str, kept: LabelSet, warnings: list[str] | None = None) -> LabelSetAnswer:
        """A label set."""
        answer = LabelSetAnswer.of(name, kept, warnings or [])
        if answer.learned and not self.places:
            answer.learned.model = self.name_of(answer.learned.model, answer.learned.fingerprint)
        return answer

    def job(self, job: Job) -> JobAnswer:
        """A job; for who may only read without what it was asked, since that names folders."""
        answer = JobAnswer.of(job)
        if self.places:
            return answer
        answer.request, answer.waiting = None, answer.waiting and "another process works on its collection"
        if answer.error:
            answer.error.message = f"the job failed; {ASK}"
        if (report := answer.report) is not None:
            if hasattr(report, "skips"):
                report.skips = []
            for one in getattr(report, "left_out", []):
                one.first = None
            if hasattr(report, "failed"):
                report.failed = []
        return answer

    def training_run(self, run: T) -> T:
        """A training run; for who may only read files are names."""
        return run if self.places else _without_places(run)

    def comparison(self, compared: ComparisonAnswer) -> ComparisonAnswer:
        """Runs beside each other, likewise."""
        return compared if self.places else _without_places(compared)

    def run(self, run: R) -> R:
        """A labelling run; for who may only read without its folder and what it writes."""
        if not self.places:
            run.folder, run.outputs = None, {}
        return run


# one in words: from the root, the home, or where the training was started
_PATH = re.compile(r"(?<![\w./~-])(?:~|\.\.?)?/(?:[^\s/]+/)*([^\s/]+)")
_PLACES = {"pairs", "out", "images_root", "val", "probe"}  # what is a path, whatever it begins with
_MODELS = {"model", "init", "started_from"}  # what may be one


def _without_places(answer: S) -> S:
    """The same with the last name of each path of the server in place of it."""
    return type(answer).model_validate(_named(answer.model_dump()))


def _named(value: Any, key: str = "") -> Any:
    if isinstance(value, str):
        if key in _PLACES or (key in _MODELS and value.startswith(("/", "~/", "./", "../"))):
            return value.rstrip("/").rpartition("/")[2]
        return _PATH.sub(r"\1", value)
    if isinstance(value, list | tuple):
        return [_named(one, key) for one in value]
    return {name: _named(one, name) for name, one in value.items()} if isinstance(value, dict) else value
