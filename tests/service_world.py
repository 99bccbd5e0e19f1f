"""A small real world for the service's tests: a tiny random DualEncoder, drawn pictures, and a collection of them."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import torch
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image

from encoder.image import Picture, read_picture
from encoder.model.dual_encoder import DualEncoder
from encoder.model.load import build_clip
from index.collection import Entry, create_collection
from service.app import create_app, server_of
from service.settings import Settings

TINY = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}


class WatchedEncoder(DualEncoder):
    """A real encoder that notes what its model was run on, and can be held in the middle of a run."""

    def __init__(self, *args, **kwargs):
        self.texts: list[list[str]] = []
        self.images: list[int] = []
        self.running = threading.Event()  # set when a run begins
        self.go = threading.Event()  # runs wait for it
        self.go.set()
        super().__init__(*args, **kwargs)

    def encode_texts(self, texts):
        self.texts.append(list(texts))
        self._hold()
        return super().encode_texts(texts)

    def encode_pixels(self, pixels):
        self.images.append(len(pixels))
        self._hold()
        return super().encode_pixels(pixels)

    def _hold(self):
        self.running.set()
        assert self.go.wait(20)

    @contextmanager
    def held(self):
        """Hold the model from its next run to the end of the block."""
        self.go.clear()
        self.running.clear()
        try:
            yield
        finally:
            self.go.set()


def tiny_encoder(folder: Path, fingerprint: str = "tiny") -> WatchedEncoder:
    """A real dual encoder that knows nothing, the same at each call."""
    config = folder / "tiny.json"
    config.write_text(json.dumps(TINY))
    torch.manual_seed(0)
    parts = build_clip(config)
    return WatchedEncoder(
        parts.clip.eval(),
        parts.tokenizer,
        parts.preprocess,
        ref="tiny",
        fingerprint=fingerprint,
        logit_scale=100.0,
        precision="fp32",
    )


def picture(seed: int, size: tuple[int, int] = (64, 48), kind: str = "PNG") -> bytes:
    """An image file of coloured blocks."""
    rng = np.random.default_rng(seed)
    blocks = Image.fromarray(rng.integers(0, 256, (4, 4, 3), np.uint8)).resize(size, Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    blocks.save(buffer, kind)
    return buffer.getvalue()


def add_collection(data: Path, encoder: DualEncoder, files: list[Path], name: str = "pictures") -> None:
    """Index image files, and two texts, as `glimpse index` would."""
    with create_collection(data, name, model=encoder.ref, fingerprint=encoder.fingerprint, dim=encoder.dim) as made:
        entries = [_entry(path, read_picture(path, encoder.preprocess), encoder) for path in files]
        texts = ("a red boat", "a house at night")
        made.upsert(entries + [Entry(encoder.encode_texts([text])[0], "text", text=text) for text in texts])


def _entry(path: Path, read: Picture, encoder: DualEncoder) -> Entry:
    return Entry(
        encoder.encode_images([path])[0],
        "image",
        path=path,
        metadata={"caption": f"picture {path.stem}"},
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        mtime_ns=path.stat().st_mtime_ns,
        size=path.stat().st_size,
        width=read.width,
        height=read.height,
    )


def draw(folder: Path, n: int) -> list[Path]:
    """`n` image files in a folder, PNG and JPEG."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for seed in range(n):
        kind, suffix = random.Random(seed).choice([("PNG", ".png"), ("JPEG", ".jpg")])
        path = folder / f"{seed:02}{suffix}"
        path.write_bytes(picture(seed, (320, 240), kind))
        paths.append(path)
    return paths


def settings_for(data: Path, **changes: object) -> Settings:
    """Settings that no environment variable touches."""
    return Settings.model_validate({"data": data, "model": "tiny", "port": 0, **changes})


@contextmanager
def client_of(app: FastAPI) -> Iterator[TestClient]:
    """A client of a started, ready application; the service's own errors come as answers, as over a network."""
    with TestClient(app, raise_server_exceptions=False) as client:
        until(lambda: client.get("/health/ready").status_code == 200)
        yield client


@contextmanager
def world(folder: Path, n: int = 6, **changes: object) -> Iterator[tuple[TestClient, WatchedEncoder, list[Path]]]:
    """A client of a service with one collection, `pictures`, of `n` images and two texts."""
    encoder = tiny_encoder(folder)
    files = draw(folder / "files", n)
    add_collection(folder, encoder, files)
    with client_of(create_app(settings_for(folder, **changes), encoder)) as client:
        yield client, encoder, files


@contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """The application on a real server at a free port; yields its address once it is ready."""
    server = server_of(app)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until(lambda: server.started and app.state.service.is_ready)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def until(true, seconds: float = 20) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.01)


def ask_and_leave(url: str, path: str, asked: object, once: Callable[[], object], **headers: str) -> None:
    """POST JSON, and hang up once something holds, with nothing of the answer read."""
    request = httpx.Request("POST", f"{url}{path}", json=asked, headers=headers)
    head = b"".join(name + b": " + value + b"\r\n" for name, value in request.headers.raw)
    with socket.create_connection((request.url.host, request.url.port)) as connection:
        connection.sendall(b"POST %b HTTP/1.1\r\n%b\r\n" % (request.url.raw_path, head) + request.content)
        until(once)


def error_of(response, status: int) -> dict:
    """The error in an answer, which has this status and the one shape."""
    assert response.status_code == status, response.text
    body = response.json()
    assert body.keys() == {"error"}
    assert body["error"].keys() == {"message", "type", "param", "code"}
    assert body["error"]["message"]
    return body["error"]


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a service of a data folder with the collection `pictures`, of six images and two texts."""
    encoder = tiny_encoder(folder)
    add_collection(folder, encoder, draw(folder / "files", 6))
    with serving(create_app(settings_for(folder), encoder)) as url:
        yield url


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()
