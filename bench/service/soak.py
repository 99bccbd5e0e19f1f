"""The service at the limit of its load for minutes: no lost or crossed answer, memory flat.

    python -m bench.service.soak --minutes 3 --clients 24

Clients on all main routes of a real `glimpse serve` upload, search, read, classify, embed and delete at once. Each
answer is checked against its own request: vectors and scores against those that the same model gives alone, entries
against what their client uploaded. The queue is short, so that 429s come; they are tried again, and counted. The model
is a tiny one with random weights: what is tried is the service.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import io
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import torch
from PIL import Image

from bench.common import ROOT
from encoder.model.dual_encoder import DualEncoder
from encoder.model.load import build_clip, load_encoder
from encoder.zero_shot.classifier import build_classifier
from training.records.checkpoint import save_model

TINY = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
LABELS = ("red", "green", "blue", "a photo of nothing")
KNOWN = 400  # texts and images whose vectors are known beforehand
QUEUE = 4  # items that may wait: so few that some are refused
AGAIN = (409, 429, 503)
CLOSE = 2e-3  # to the model alone: batches of other sizes add up in another order


class Wrong(Exception):
    """An answer that does not belong to its request."""


class Known:
    """What the model gives alone."""

    def __init__(self, encoder: DualEncoder) -> None:
        self.texts = [f"text number {i}, {random.Random(i).choice(LABELS)}" for i in range(KNOWN)]
        self.images = [drawn(i) for i in range(KNOWN)]
        self.of_texts = encoder.encode_texts(self.texts)
        self.of_images = encoder.encode_images(self.images)
        self.scores = build_classifier(encoder, LABELS, ["{}"]).scores(self.of_images)


def drawn(seed: int) -> bytes:
    """A picture like no other, as JPEG or PNG."""
    rng = np.random.default_rng(seed)
    blocks = Image.fromarray(rng.integers(0, 256, (4, 4, 3), np.uint8)).resize((160, 120), Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    blocks.save(buffer, "JPEG" if seed % 2 else "PNG")
    return buffer.getvalue()


class Client:
    """Asks one thing after the other and checks each answer."""

    def __init__(self, number: int, http: httpx.AsyncClient, known: Known, counts: Counter[str]) -> None:
        self._number = number
        self._http = http
        self._known = known
        self._counts = counts
        self._random = random.Random(number)
        self._own: dict[int, int] = {}  # entries of this client: id -> seed of its picture
        self._next = KNOWN + number * 1_000_000

    async def run(self, until: float) -> None:
        """Until that time."""
        asks: list[Callable[[], Awaitable[None]]] = [
            self._embed, self._classify, self._search, self._upload, self._read, self._delete, self._write_text,
        ]  # fmt: skip
        while time.monotonic() < until:
            ask = self._random.choice(asks)
            await ask()
            self._counts[ask.__name__.strip("_")] += 1

    async def _ask(self, method: str, path: str, wanted: int = 200, **body: Any) -> httpx.Response:
        while True:
            answer = await self._http.request(method, path, **body)
            if answer.status_code not in AGAIN:
                break
            self._counts[str(answer.status_code)] += 1
            await asyncio.sleep(float(answer.headers["retry-after"]) * self._random.uniform(0.1, 0.5))
        check(answer.status_code == wanted, f"{method} {path}: {answer.status_code} {answer.text[:200]}")
        return answer

    async def _embed(self) -> None:
        n, i = self._random.randrange(KNOWN), self._random.randrange(KNOWN)
        inputs = [self._known.texts[n], "data:image/png;base64," + base64.b64encode(self._known.images[i]).decode()]
        data = (await self._ask("POST", "/v1/embeddings", json={"input": inputs})).json()["data"]
        check(np.allclose(data[0]["embedding"], self._known.of_texts[n], atol=CLOSE), "another text's vector")
        check(np.allclose(data[1]["embedding"], self._known.of_images[i], atol=CLOSE), "another image's vector")

    async def _classify(self) -> None:
        some = [self._random.randrange(KNOWN) for _ in range(self._random.choice((1, 1, 4)))]
        files = [("file", (str(i), self._known.images[i])) for i in some]
        form = {"labels": list(LABELS), "templates": "{}"}
        results = (await self._ask("POST", "/v1/classify", files=files, data=form)).json()["results"]
        check(len(results) == len(some), "as many results as images")
        for i, result in zip(some, results, strict=True):
            scores = {each["label"]: each["score"] for each in result["scores"]}
            right = dict(zip(LABELS, self._known.scores[i].tolist(), strict=True))
            check(all(abs(scores[label] - right[label]) < 0.02 for label in LABELS), "another image's scores")

    async def _upload(self) -> None:
        seeds = [self._next + i for i in range(self._random.choice((1, 1, 3)))]
        self._next += len(seeds)
        files = [("file", (f"{seed}.jpg", drawn(seed))) for seed in seeds]
        metadata = {"metadata": json.dumps({"client": self._number})}
        answer = await self._ask("POST", "/v1/collections/soak/images", files=files, data=metadata)
        for seed, result in zip(seeds, answer.json()["results"], strict=True):
            check(result["error"] is None and result["name"] == f"{seed}.jpg", f"an upload's own result: {result}")
            check(result["id"] not in self._own, "an id that is not another's")
            self._own[result["id"]] = seed

    async def _search(self) -> None:
        """By a picture of its own, which must come first; among its own entries alone."""
        if not self._own:
            return
        key = self._random.choice(list(self._own))
        image = base64.b64encode(drawn(self._own[key])).decode()
        mine = {"must": [{"key": "client", "match": {"value": self._number}}]}
        asked = {"image": image, "limit": 5, "filter": mine}
        hits = (await self._ask("POST", "/v1/collections/soak/search", json=asked)).json()["hits"]
        check(hits[0]["id"] == key or hits[0]["score"] > 0.999, "the picture itself first")
        check({hit["id"] for hit in hits} <= self._own.keys(), "entries of another client, or deleted ones")

    async def _read(self) -> None:
        if not self._own:
            return
        key = self._random.choice(list(self._own))
        path = f"/v1/collections/soak/images/{key}"
        record = (await self._ask("GET", path)).json()
        check(record["metadata"]["filename"] == f"{self._own[key]}.jpg", "another entry's record")
        check((await self._ask("GET", f"{path}/content")).content == drawn(self._own[key]), "another entry's file")
        await self._ask("GET", f"{path}/thumbnail?size=64")

    async def _delete(self) -> None:
        """So that the collection, and the memory that it needs, stays of one size."""
        while len(self._own) > 20:
            key = self._random.choice(list(self._own))
            await self._ask("DELETE", f"/v1/collections/soak/images/{key}", 204)
            del self._own[key]
            await self._ask("GET", f"/v1/collections/soak/images/{key}", 404)

    async def _write_text(self) -> None:
        text = f"{self._random.random()} of {self._number}"
        [key] = (await self._ask("POST", "/v1/collections/soak/texts", json={"texts": [text]})).json()["ids"]
        path = f"/v1/collections/soak/texts/{key}"
        check((await self._ask("GET", path)).json()["text"] == text, "another client's text")
        await self._ask("DELETE", path, 204)


def check(true: bool, what: str) -> None:
    """Wrong unless it holds."""
    if not true:
        raise Wrong(what)


def memory(pid: int) -> float:
    """Resident memory of a process in MiB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


async def soak(url: str, pid: int, known: Known, seconds: float, clients: int) -> tuple[Counter[str], list[float]]:
    """What was done how often, and the server's memory each second. Raises Wrong at the first wrong answer."""
    counts: Counter[str] = Counter()
    samples: list[float] = []
    limits = httpx.Limits(max_connections=clients)
    async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as http:
        (await http.put("/v1/collections/soak")).raise_for_status()
        end = time.monotonic() + seconds
        asking = asyncio.gather(*(Client(i + 1, http, known, counts).run(end) for i in range(clients)))
        while not asking.done():
            samples.append(memory(pid))
            await asyncio.wait([asking], timeout=1)
        await asking
    return counts, samples


def main() -> None:
    """Serve, soak, tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--clients", type=int, default=24)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "tiny.json").write_text(json.dumps(TINY))
        torch.manual_seed(0)
        save_model(folder / "run", build_clip(folder / "tiny.json"))
        known = Known(load_encoder(folder / "run", device="cpu", precision="fp32"))
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        environment = os.environ | {
            "GLIMPSE_MODEL": str(folder / "run"), "GLIMPSE_DATA": str(folder / "data"), "GLIMPSE_PORT": str(port),
            "GLIMPSE_PRECISION": "fp32", "GLIMPSE_QUEUE_SIZE": str(QUEUE), "GLIMPSE_LOG_LEVEL": "warning",
        }  # fmt: skip
        server = subprocess.Popen([sys.executable, "-m", "glimpse", "serve"], cwd=ROOT, env=environment)
        try:
            url = f"http://127.0.0.1:{port}"
            wait_until_ready(url)
            counts, samples = asyncio.run(soak(url, server.pid, known, asked.minutes * 60, asked.clients))
        finally:
            server.terminate()
            ended = server.wait(40)
    tell(counts, samples, asked.minutes, asked.clients)
    check(ended == 0, f"the server ended with {ended}")


def wait_until_ready(url: str) -> None:
    """Wait a minute at most."""
    end = time.monotonic() + 60
    while True:
        try:
            if httpx.get(f"{url}/health/ready").status_code == 200:
                return
        except httpx.HTTPError:
            pass
        check(time.monotonic() < end, "the service does not start")
        time.sleep(0.2)


def tell(counts: Counter[str], samples: list[float], minutes: float, clients: int) -> None:
    """Print what came of it."""
    refused = {int(name): n for name, n in counts.items() if name.isdecimal()}
    done = {name: n for name, n in counts.items() if not name.isdecimal()}
    quarter = max(1, len(samples) // 4)
    warm, last = np.median(samples[quarter : 2 * quarter]), np.median(samples[-quarter:])
    print(f"{clients} clients, {minutes:g} minutes, {sum(done.values())} checked: none lost, none crossed")
    print("  " + ", ".join(f"{name} {n}" for name, n in sorted(done.items())))
    print("refused and tried again: " + (", ".join(f"{s}: {n}" for s, n in sorted(refused.items())) or "none"))
    print(f"memory: {samples[0]:.0f} MiB at the start, {max(samples):.0f} at most; median of the second quarter "
          f"{warm:.0f}, of the last {last:.0f} ({last - warm:+.0f} MiB)")  # fmt: skip


if __name__ == "__main__":
    main()
