"""Embeddings in OpenAI's shape, for texts and images alike."""

from __future__ import annotations

import asyncio
import base64

import numpy as np
import orjson
from fastapi import APIRouter, Request, Response

from base.errors import ImageError
from base.read_ahead import batches
from encoder.encoder import Vectors
from service.deps import ModelsDep, SettingsDep, check_images, check_texts, in_use
from service.errors import Refusal, documented
from service.http.direct_route import DirectRoute
from service.inference.inference import Inference
from service.schemas.embeddings import EmbeddingsAnswer, EmbeddingsRequest, Input

router = APIRouter(prefix="/v1", tags=["embeddings"], route_class=DirectRoute)

AT_ONCE = 64  # vectors that are written between two looks at what else there is to do; a millisecond


@router.post(
    "/embeddings",
    summary="Vectors of texts and images",
    response_model=EmbeddingsAnswer,
    responses=documented(404, 408, 413, 415, 422, 429, 503),
)
async def embeddings(asked: EmbeddingsRequest, models: ModelsDep, settings: SettingsDep, request: Request) -> Response:
    """Unit vectors in one space: the dot product of any two is their cosine. OpenAI's clients work unchanged."""
    model = models.named(asked.model)
    if not asked.input:
        raise Refusal(422, "give at least one input", code="invalid_request", param="input")
    texts = [item.text for item in asked.input if item.text is not None]
    check_texts(len(texts), settings, "input")
    check_images(len(asked.input) - len(texts), settings, "input")
    inference = (await in_use(request, model)).inference
    if asked.dimensions not in (None, inference.encoder.dim):
        message = f"this model has {inference.encoder.dim} dimensions and cannot be cut to {asked.dimensions}"
        raise Refusal(422, message, code="invalid_dimensions", param="dimensions")
    vectors = await _vectors(asked.input, inference)
    tokens, cut = await inference.count_tokens(texts), await inference.cut_texts(texts)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens, "cut_texts": len(cut.read)}
    data = await _written(vectors, asked.encoding_format)
    answer = {"object": "list", "data": data, "model": model.name, "usage": usage}
    return Response(orjson.dumps(answer), media_type="application/json")


async def _vectors(inputs: list[Input], inference: Inference) -> list[Vectors]:
    """One vector an input, in order; both towers work at the same time."""
    texts, images = await inference.both(
        [item.text for item in inputs if item.text is not None],
        [item.image for item in inputs if item.image is not None],
    )
    of_texts, of_images = iter(texts), iter(images)
    vectors = []
    for i, item in enumerate(inputs):
        vector = next(of_images) if item.text is None else next(of_texts)
        if isinstance(vector, ImageError):
            raise Refusal(422, vector.reason, code=vector.code, param=f"input[{i}]")
        vectors.append(vector)
    return vectors


async def _written(vectors: list[Vectors], encoding: str) -> list[orjson.Fragment]:
    """The items of an `EmbeddingsAnswer` in JSON. pydantic would look at every number, and take five times as long."""
    items: list[orjson.Fragment] = []
    for part in batches(enumerate(vectors), AT_ONCE):
        if items:
            await asyncio.sleep(0)  # of 2,048 texts there are a million numbers, and others wait
        for i, vector in part:
            row = np.asarray(vector, "<f4")
            shown = base64.b64encode(row.tobytes()).decode() if encoding == "base64" else row
            item = {"object": "embedding", "index": i, "embedding": shown}
            items.append(orjson.Fragment(orjson.dumps(item, option=orjson.OPT_SERIALIZE_NUMPY)))
    return items
