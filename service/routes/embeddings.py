"""Embeddings in OpenAI's shape, for texts and images alike."""

from __future__ import annotations

import asyncio
import base64

import numpy as np
from fastapi import APIRouter, Depends, Response
from starlette.concurrency import run_in_threadpool

from base.errors import ImageError
from encoder.encoder import Vectors
from service.deps import InferenceDep, SettingsDep, check_images, check_texts, json_body
from service.errors import Refusal, documented
from service.inference.inference import Inference
from service.schemas.embeddings import Embedding, EmbeddingsAnswer, EmbeddingsRequest, Input, Usage

router = APIRouter(prefix="/v1", tags=["embeddings"])


@router.post(
    "/embeddings",
    summary="Vectors of texts and images",
    response_model=EmbeddingsAnswer,
    dependencies=[Depends(json_body)],
    responses=documented(404, 408, 413, 415, 422, 429, 503),
)
async def embeddings(asked: EmbeddingsRequest, inference: InferenceDep, settings: SettingsDep) -> Response:
    """Unit vectors in one space: the dot product of any two is their cosine. OpenAI's clients work unchanged."""
    encoder = inference.encoder
    if asked.model not in ("", "default", encoder.ref):
        message = f"the model {asked.model!r} is not served here; {encoder.ref!r} is"
        raise Refusal(404, message, code="model_not_found", param="model")
    if asked.dimensions not in (None, encoder.dim):
        message = f"this model has {encoder.dim} dimensions and cannot be cut to {asked.dimensions}"
        raise Refusal(422, message, code="invalid_dimensions", param="dimensions")
    if not asked.input:
        raise Refusal(422, "give at least one input", code="invalid_request", param="input")
    texts = [item.text for item in asked.input if item.text is not None]
    check_texts(len(texts), settings, "input")
    check_images(len(asked.input) - len(texts), settings, "input")
    vectors = await _vectors(asked.input, inference)
    tokens, cut = await inference.count_tokens(texts), await inference.cut_texts(texts)
    usage = Usage(prompt_tokens=tokens, total_tokens=tokens, cut_texts=len(cut.read))
    return await run_in_threadpool(_answer, vectors, usage, encoder.ref, asked.encoding_format == "base64")


async def _vectors(inputs: list[Input], inference: Inference) -> list[Vectors]:
    """One vector an input, in order; both towers work at the same time."""
    texts, images = await asyncio.gather(
        inference.texts([item.text for item in inputs if item.text is not None]),
        inference.images([item.image for item in inputs if item.image is not None]),
    )
    of_texts, of_images = iter(texts), iter(images)
    vectors = []
    for i, item in enumerate(inputs):
        vector = next(of_images) if item.text is None else next(of_texts)
        if isinstance(vector, ImageError):
            raise Refusal(422, vector.reason, code=vector.code, param=f"input[{i}]")
        vectors.append(vector)
    return vectors


def _answer(vectors: list[Vectors], usage: Usage, model: str, base64: bool) -> Response:
    """The answer as it is sent, made in a thread: of 2,048 texts it has a million numbers."""
    data = [
        Embedding(index=i, embedding=_base64(vector) if base64 else vector.tolist()) for i, vector in enumerate(vectors)
    ]
    answer = EmbeddingsAnswer(data=data, model=model, usage=usage)
    return Response(answer.model_dump_json(), media_type="application/json")


def _base64(vector: Vectors) -> str:
    return base64.b64encode(np.asarray(vector, "<f4").tobytes()).decode()
