"""Embeddings in OpenAI's shape, for texts and images alike."""

from __future__ import annotations

import asyncio
import base64

import numpy as np
from fastapi import APIRouter, Depends

from base.errors import ImageError
from encoder.encoder import Vectors
from service.deps import InferenceDep, SettingsDep, json_body
from service.errors import Refusal, documented
from service.inference.inference import Inference
from service.schemas.search import Embedding, EmbeddingsAnswer, EmbeddingsRequest, ImageInput, TextInput, Usage
from service.settings import Settings

router = APIRouter(prefix="/v1", tags=["embeddings"])

MAX_TEXT = 10_000  # characters; the model reads some 77 tokens of them


@router.post(
    "/embeddings",
    summary="Vectors of texts and images",
    dependencies=[Depends(json_body)],
    responses=documented(404, 408, 413, 415, 422, 429, 503),
)
async def embeddings(asked: EmbeddingsRequest, inference: InferenceDep, settings: SettingsDep) -> EmbeddingsAnswer:
    """Unit vectors in one space: the dot product of any two is their cosine. OpenAI's clients work unchanged."""
    encoder = inference.encoder
    if asked.model not in ("", "default", encoder.ref):
        message = f"the model {asked.model!r} is not served here; {encoder.ref!r} is"
        raise Refusal(404, message, code="model_not_found", param="model")
    if asked.dimensions not in (None, encoder.dim):
        message = f"this model has {encoder.dim} dimensions and cannot be cut to {asked.dimensions}"
        raise Refusal(422, message, code="invalid_dimensions", param="dimensions")
    inputs = _inputs(asked, settings)
    vectors = await _vectors(inputs, inference)
    texts = [item.text for item in inputs if isinstance(item, TextInput)]
    tokens, cut = await inference.count_tokens(texts), await inference.cut_texts(texts)
    data = [
        Embedding(index=i, embedding=_base64(vector) if asked.encoding_format == "base64" else vector.tolist())
        for i, vector in enumerate(vectors)
    ]
    usage = Usage(prompt_tokens=tokens, total_tokens=tokens, cut_texts=len(cut.read))
    return EmbeddingsAnswer(data=data, model=encoder.ref, usage=usage)


def _inputs(asked: EmbeddingsRequest, settings: Settings) -> list[TextInput | ImageInput]:
    """The inputs as a list of what they are, checked."""
    listed = asked.input if isinstance(asked.input, list) else [asked.input]
    if not 1 <= len(listed) <= settings.max_batch:
        raise Refusal(
            422, f"give 1 to {settings.max_batch} inputs (GLIMPSE_MAX_BATCH)", code="invalid_request", param="input"
        )
    inputs = [_typed(item) if isinstance(item, str) else item for item in listed]
    for i, item in enumerate(inputs):
        if isinstance(item, TextInput) and not 1 <= len(item.text) <= MAX_TEXT:
            message = f"a text has 1 to {MAX_TEXT} characters"
            raise Refusal(422, message, code="invalid_request", param=f"input[{i}]")
    return inputs


def _typed(text: str) -> TextInput | ImageInput:
    start = text[:100].lstrip()[:11].lower()  # a shell's $(base64 ...) leaves spaces and line ends around
    return ImageInput(image=text.strip()) if start == "data:image/" else TextInput(text=text)


async def _vectors(inputs: list[TextInput | ImageInput], inference: Inference) -> list[Vectors]:
    """One vector an input, in order; both towers work at the same time."""
    texts, images = await asyncio.gather(
        inference.texts([item.text for item in inputs if isinstance(item, TextInput)]),
        inference.images([item.image for item in inputs if isinstance(item, ImageInput)]),
    )
    of_texts, of_images = iter(texts), iter(images)
    vectors = []
    for i, item in enumerate(inputs):
        vector = next(of_texts) if isinstance(item, TextInput) else next(of_images)
        if isinstance(vector, ImageError):
            raise Refusal(422, vector.reason, code=vector.code, param=f"input[{i}]")
        vectors.append(vector)
    return vectors


def _base64(vector: Vectors) -> str:
    return base64.b64encode(np.asarray(vector, "<f4").tobytes()).decode()
