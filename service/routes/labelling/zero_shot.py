"""Zero-shot classification in the shape of Hugging Face's task, so that its InferenceClient works unchanged."""

from __future__ import annotations

from fastapi import APIRouter, Request

from base.errors import ImageError
from labelling.label_file import each_given
from labelling.label_sets import LabelSet
from labelling.labeller import Labeller
from service.deps import ModelsDep, in_use
from service.errors import Refusal, documented
from service.http.json_bodies import JsonRoute
from service.routes.labelling.classify import label_scores
from service.schemas.labelling.labels import LabelScore, ZeroShotAnswer, ZeroShotRequest

router = APIRouter(prefix="/v1", tags=["classify"], route_class=JsonRoute)


@router.post(
    "/zero-shot",
    summary="Zero-shot in the shape of Hugging Face",
    responses=documented(404, 408, 413, 415, 422, 429, 503),
)
async def zero_shot(asked: ZeroShotRequest, models: ModelsDep, request: Request) -> ZeroShotAnswer:
    """The scores that /v1/classify gives for one image; without `hypothesis_template`, with its own templates.

    A label that stands there twice is asked for once, and one without a name not at all; this shape cannot say so.
    As in that task, a model with a logit_bias (SigLIP) scores each label on its own, others by a softmax over all.
    """
    template = asked.parameters.hypothesis_template
    given = each_given(asked.parameters.candidate_labels)  # what it left out has no place in that shape
    labels = LabelSet.of(given.labels, [] if template is None else [template])
    inference = (await in_use(request, models.named(asked.model))).inference
    classifier = await inference.classifier(labels)
    [vector] = await inference.images([asked.inputs])
    if isinstance(vector, ImageError):
        raise Refusal(422, vector.reason, code=vector.code, param="inputs")
    scores = label_scores(vector, Labeller(classifier)).scores
    return ZeroShotAnswer([LabelScore(label=one.label, score=one.score) for one in scores])
