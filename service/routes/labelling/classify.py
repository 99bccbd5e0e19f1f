"""Zero-shot classification: images against labels that the request brings or names, as JSON or as a form with files."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, get_args

from fastapi import APIRouter, Depends, Request
from starlette.concurrency import run_in_threadpool

from base.errors import ImageError, InputError
from encoder.encoder import Vectors
from encoder.zero_shot.classifier import ScoredBy, check_scores
from encoder.zero_shot.prompts import split_labels
from index.rows import unit_rows
from labelling.label_file import each_given
from labelling.label_sets import LabelSet, LabelSets, Mode
from labelling.labeller import Labeller
from service.collections.opened import OpenCollections
from service.deps import CollectionsDep, SettingsDep, check_images, in_use, in_use_for, models
from service.errors import Refusal, documented
from service.http.bodies import FILES, form_of, images_of
from service.http.direct_route import DirectRoute
from service.http.headers import media_type
from service.http.json_bodies import json_of
from service.inference.inference import Seen
from service.inference.known_models import Loaded
from service.inference.labellers import Asked, Labellers
from service.routes.labelling.label_sets import check_learned
from service.schemas.labelling.labels import (
    ABSTAIN_HELP,
    MODE_HELP,
    MODEL_HELP,
    SCORES_HELP,
    ClassifyAnswer,
    ClassifyRequest,
    ClassifyResult,
    LabelEvidence,
    LabelScore,
)

router = APIRouter(prefix="/v1", tags=["classify"], route_class=DirectRoute)

FORM = {
    "type": "object",
    "required": ["file"],
    "properties": {
        "file": FILES,
        "labels": {
            "type": "array",
            "items": {"type": "string"},
            "description": "one field is split at its commas, if not in quotes; repeated fields are taken as they are",
        },
        "label_set": {"type": "string", "description": "the name of a kept label set, instead of labels"},
        "templates": {"type": "array", "items": {"type": "string"}},
        "mode": {"type": "string", "enum": list(get_args(Mode)), "description": MODE_HELP},
        "scores": {"type": "string", "enum": list(get_args(ScoredBy)), "description": SCORES_HELP},
        "abstain": {"type": "boolean", "description": ABSTAIN_HELP},
        "model": {"type": "string", "description": MODEL_HELP},
    },
}
BODY = {
    "required": True,
    "content": {
        "application/json": {"schema": ClassifyRequest.model_json_schema()},
        "multipart/form-data": {"schema": FORM, "example": {"file": ["pet.jpg"], "labels": ["cat", "dog", "bird"]}},
    },
}

REQUEST_ID = {  # any route takes it; openapi-python-client stumbles over several bodies where no parameter is optional
    "name": "X-Request-Id",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "maxLength": 128},
    "description": "what the answer and the service's log are to call this request",
}


@dataclass(frozen=True)
class Question:
    """What is asked, whatever kind of body it came in."""

    images: list[bytes | str]
    label_set: LabelSet
    stored: tuple[str, int] | None = None  # collection and id of an image, instead of images
    vector: list[float] | None = None  # of an image, likewise
    scores: ScoredBy | None = None
    abstain: bool = False
    model: str | None = None  # its name
    left_out: Sequence[str] = ()  # what of the labels was not taken


@dataclass(frozen=True)
class _Given:
    """What is in either kind of body."""

    images: list[bytes | str]
    labels: list[str]
    label_set: str | None
    templates: list[str]
    stored: tuple[str, int] | None = None
    vector: list[float] | None = None
    mode: Mode | None = None
    scores: ScoredBy | None = None
    abstain: bool = False
    model: str | None = None


async def question(request: Request, settings: SettingsDep) -> Question:
    """Read the body as its content type says, and the label set that it names."""
    kind = media_type(request)
    if kind == "application/json":
        given = _from_json(await json_of(ClassifyRequest, request))
    elif kind == "multipart/form-data":
        given = await _from_form(request, settings.max_batch)
    else:
        raise Refusal(415, "send application/json or multipart/form-data", code="unsupported_media_type")
    check_images(len(given.images), settings, "images")
    if bool(given.labels) == bool(given.label_set):
        raise Refusal(422, "give either labels or label_set", code="invalid_request", param="labels")
    kept, left_out = LabelSets(settings.data), list[str]()
    if given.label_set is None:  # no file to read, and a thread costs more than the labels
        labels = each_given(given.labels)
        label_set, left_out = LabelSet.of(labels.labels, given.templates), labels.left_out.lines()
    else:
        label_set = await run_in_threadpool(kept.resolve, given.labels, given.label_set, given.templates)
    label_set = label_set if given.mode is None else label_set.in_mode(given.mode)
    return Question(
        given.images, label_set, given.stored, given.vector, given.scores, given.abstain, given.model, left_out
    )


@router.post(
    "/classify",
    summary="Choose the best label for images",
    responses=documented(400, 404, 408, 409, 413, 415, 422, 429, 503),
    openapi_extra={"requestBody": BODY, "parameters": [REQUEST_ID]},
)
async def classify(
    asked: Annotated[Question, Depends(question)], collections: CollectionsDep, request: Request
) -> ClassifyAnswer:
    """Score each image against each label, as the model was trained to or as `scores` says.

    By softmax(logit_scale * cosine) the scores of an image sum to one. By sigmoid(logit_scale * cosine + logit_bias),
    of models that have a logit_bias (SigLIP), each label stands on its own, and none may fit.
    A label set answers as it is: `labels` are those given, in multi several or none, and what was learned of it counts;
    409 if another model learned it. An image that none fits is `abstained` and has no `label`.
    Among several images, one that cannot be read has `error` in place of its label. If none can be read, it is a 422.
    Of an image of a collection its vector there is scored; 409 if a model is named that did not make it.
    `scores` say what they are made of too, so that who shows them can sharpen or flatten them: each is the `scored_by`
    of its logit / temperature.
    """
    started = time.perf_counter()
    seen: list[Seen | ImageError] = []
    model = await _model(request, asked, collections)
    if asked.stored is not None:
        fingerprint = model.inference.encoder.fingerprint
        seen.append(Seen(await run_in_threadpool(_kept_vector, collections, fingerprint, *asked.stored)))
    if asked.vector is not None:
        seen.append(Seen(_own_vector(asked.vector, model.inference.encoder.dim)))
    labeller = await _labeller(model.labellers, asked)
    seen += await model.inference.seen(asked.images)
    failures = [one for one in seen if isinstance(one, ImageError)]
    if len(failures) == len(seen):
        raise failures[0]
    results = [_result(one, labeller) for one in seen]
    seconds = round(time.perf_counter() - started, 6)
    calibrated, told = asked.label_set.is_calibrated, ClassifyAnswer.told(labeller.classifier.cut)
    told["warnings"] = [*asked.left_out, *labeller.classifier.warnings()]
    return ClassifyAnswer(
        results=results,
        calibrated=calibrated,
        scored_by="rank" if labeller.alone else "softmax" if labeller.competes else "sigmoid",
        logit_scale=labeller.classifier.logit_scale,
        temperature=labeller.temperature,
        known_threshold=labeller.rejection.threshold if labeller.rejection else None,
        seconds=seconds,
        **told,
    )


def label_scores(vector: Vectors, labeller: Labeller) -> ClassifyResult:
    """Of the image of this vector (dim,): each label with its probability, the likeliest first; and those given."""
    [scores], [chosen], [known] = labeller.decide(vector[None])
    [logits], [cosines] = labeller.logits(vector[None]), vector[None] @ labeller.classifier.weights.T
    nearest = (-logits).argsort(kind="stable")  # several scores may round to one
    made_of = scores.tolist(), cosines.tolist(), logits.tolist()
    each = [
        LabelEvidence(label=label, score=score, cosine=cosine, logit=logit)
        for label, score, cosine, logit in zip(labeller.labels, *made_of, strict=True)
    ]
    given = [LabelScore(label=each[i].label, score=each[i].score) for i in nearest if chosen[i]]
    return ClassifyResult(
        label=given[0].label if given else None,
        score=given[0].score if given else None,
        labels=given,
        abstained=not given,
        scores=[each[i] for i in nearest],
        known=None if labeller.rejection is None else float(known),
    )


async def _model(request: Request, asked: Question, collections: OpenCollections) -> Loaded:
    """The model that was named, else the one that made the vector or learned the labels, else the default one."""
    known = models(request)
    if asked.model is None and asked.stored is not None:
        return await in_use_for(request, await run_in_threadpool(collections.get, asked.stored[0]))
    learned = asked.label_set.learned
    by = known.with_fingerprint(learned.fingerprint) if learned is not None and asked.model is None else None
    return await in_use(request, by or known.named(asked.model))


async def _labeller(labellers: Labellers, asked: Question) -> Labeller:
    check_learned(asked.label_set, labellers.encoder.fingerprint, labellers.encoder.ref)
    try:
        check_scores(labellers.encoder.logit_bias, asked.scores)
        if asked.scores == "sigmoid" and asked.label_set.learned is not None:
            raise InputError("a label set with examples or a calibration has softmax scores: leave scores out")
    except InputError as error:
        raise Refusal(422, str(error), code=error.code, param="scores") from None
    return await labellers.get(
        Asked(replace(asked.label_set, abstains=asked.abstain or asked.label_set.abstains), asked.scores)
    )


def _kept_vector(collections: OpenCollections, fingerprint: str, name: str, entry_id: int) -> Vectors:
    """The vector (dim,) of an image of a collection, if the model of that fingerprint made it."""
    view = collections.get(name).read_view()
    view.check_model(fingerprint)
    vector: Vectors = view.vectors([entry_id], "image")[0]
    return vector


def _own_vector(given: list[float], dim: int) -> Vectors:
    """The vector (dim,) of a request, brought to unit length."""
    try:
        vector: Vectors = unit_rows([given], dim)[0]
    except InputError as error:
        raise Refusal(422, f"vector: {error}", code=error.code, param="vector") from None
    return vector


def _result(seen: Seen | ImageError, labeller: Labeller) -> ClassifyResult:
    if isinstance(seen, ImageError):
        return ClassifyResult(error=seen.reason)
    return label_scores(seen.vector, labeller).model_copy(update={"cut_off": seen.cut_off})


def _from_json(asked: ClassifyRequest) -> _Given:
    images: list[bytes | str] = [*([asked.image] if asked.image else []), *asked.images]
    stored = (asked.collection, asked.id) if asked.collection is not None and asked.id is not None else None
    return _Given(
        images,
        asked.labels or [],
        asked.label_set,
        asked.templates,
        stored,
        asked.vector,
        asked.mode,
        asked.scores,
        asked.abstain,
        asked.model,
    )


async def _from_form(request: Request, max_files: int) -> _Given:
    async with form_of(request, max_files) as form:
        names = ("labels", "label_set", "templates", "mode", "scores", "abstain", "model")
        images: list[bytes | str] = [await file.read() for file in images_of(form, names)]
        texts = {name: [v for v in form.getlist(name) if isinstance(v, str)] for name in names}
        for name in names[1:]:  # what clients send for what nobody set; a label may well be called so
            texts[name] = [text for text in texts[name] if text not in ("", "null")]
    labels = split_labels(texts["labels"][0]) if len(texts["labels"]) == 1 else texts["labels"]
    chosen: dict[str, Any] = {name: next(iter(texts[name]), None) for name in ("mode", "scores")}
    for name, words in (("mode", get_args(Mode)), ("scores", get_args(ScoredBy))):
        if chosen[name] not in (None, *words):
            raise Refusal(422, f"{name} is {' or '.join(words)}", code="invalid_request", param=name)
    abstain = next(iter(texts["abstain"]), "false").lower()
    if abstain not in ("true", "false"):
        raise Refusal(422, "abstain is true or false", code="invalid_request", param="abstain")
    label_set = next(iter(texts["label_set"]), None)
    model = next(iter(texts["model"]), None)
    return _Given(images, labels, label_set, texts["templates"], **chosen, abstain=abstain == "true", model=model)
