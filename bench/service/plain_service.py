"""What most tutorials write: FastAPI, open_clip in fp32, a call of the model a request. A rival of service_speed.py.

`python plain_service.py RUN_FOLDER PORT`
"""

from __future__ import annotations

import io
import sys
from functools import lru_cache
from typing import Annotated

import torch
import uvicorn
from fastapi import FastAPI, File, Form
from PIL import Image
from pydantic import BaseModel

from bench.common import open_clip

model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{sys.argv[1]}")
model.eval()
tokenizer = open_clip.get_tokenizer(f"local-dir:{sys.argv[1]}")
app = FastAPI()


class Texts(BaseModel):
    """A text to embed."""

    input: str


@app.get("/health/ready")
def ready() -> str:
    return "ok"


@app.post("/v1/embeddings")
def embed(asked: Texts) -> dict[str, list[float]]:
    with torch.inference_mode():
        return {"embedding": model.encode_text(tokenizer([asked.input]), normalize=True)[0].tolist()}


@app.post("/v1/classify")
def classify(file: Annotated[bytes, File()], labels: Annotated[str, Form()]) -> dict[str, float]:
    with torch.inference_mode():
        image = model.encode_image(preprocess(Image.open(io.BytesIO(file)))[None], normalize=True)
        scores = (model.logit_scale.exp() * image @ weights(labels).T).softmax(-1)[0]
    return dict(zip(labels.split(","), scores.tolist(), strict=True))


@lru_cache
def weights(labels: str) -> torch.Tensor:
    """The better ones make the labels' vectors once."""
    with torch.inference_mode():
        return model.encode_text(tokenizer([f"a photo of a {name}" for name in labels.split(",")]), normalize=True)


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[2]), log_level="warning")
