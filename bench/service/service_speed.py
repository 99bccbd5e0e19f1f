"""The service under load: answers a second, and what one takes, for 1 to 128 clients that ask again and again.

Against the model alone at its best batch size, the service with batches of one, and plain_service.py. Clients and
server share the machine; nothing is subtracted for it. `--only texts` or `--only images` for half of it. `--services
glimpse infinity` puts infinity-emb beside it, in bf16 too, where the folder of its programs is in INFINITY; then images
go to both as data URIs to be embedded, not as forms to be classified.
"""

from __future__ import annotations

import argparse
import base64
import itertools
import json
import os
import pickle
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np

from bench.common import CACHE, compare, machine, open_clip, photos, random_model
from bench.service.load import Load
from encoder.image import read_picture
from encoder.model.load import load_encoder

CLIENTS = (1, 8, 32, 128)
SIZES = (8, 16, 32, 64, 128)
LABELS = ",".join(f"kind {i}" for i in range(10))
COLOURS = "red green blue yellow black white purple orange brown grey pink golden".split()
THINGS = (
    "dog cat car house boat tree bird horse flower train chair table lamp bike shoe shirt bag cup book clock".split()
)
INFINITY_MODEL = "ViT-B-32-transformers"
PLACES = "at the beach|in the snow|on a table|at night|in a garden|by the river|in a field|under a tree".split("|")
SIZED = "small large old new shiny broken".split()
TEXTS = [
    " ".join(words) for words in itertools.product(SIZED, COLOURS, THINGS, PLACES)
]  # 11,520: the cache keeps 4,096


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=["texts", "images"])
    parser.add_argument("--services", nargs="*", default=["glimpse", "batches of one", "plain"])
    parser.add_argument("--clients", type=int, nargs="*", default=CLIENTS)
    parser.add_argument("--seconds", type=int, default=4)
    arguments = parser.parse_args()
    model = random_model()
    wanted = [arguments.only] if arguments.only else ["texts", "images"]
    pictures = sorted(photos(128, (640, 480)).glob("*.jpg"))
    beside = "infinity" in arguments.services
    print(machine())
    alone = {}
    for kind in wanted:
        rates = model_alone(kind, model, pictures)
        print(f"\n{kind}, the model alone: " + ", ".join(f"{rate:.0f}/s by {n}" for n, rate in rates.items()))
        alone[kind] = max(rates.values())
    for name in arguments.services:
        requests = {kind: embedded(kind, name, pictures) if beside else requests_of(kind, pictures) for kind in wanted}
        with serving(name, model) as (port, _):
            for kind in wanted:
                print(f"\n{kind}, {name}{'':14}answers/s  of the model  p50 ms  p99 ms  load maker")
                for clients in arguments.clients:
                    load = load_of(requests[kind], port, clients, arguments.seconds)
                    show(f"{clients} clients", load, alone[kind])
                if kind == "texts" and name == "glimpse" and not beside:
                    load = load_of(requests[kind][:32], port, 32, arguments.seconds)
                    show("32 clients, 32 texts", load, alone[kind])


def show(title: str, load: Load, alone: float) -> None:
    print(
        f"{title:24}{load.rate:>14.1f}{load.rate / alone:>14.2f}{load.p50 * 1e3:>8.1f}{load.p99 * 1e3:>8.1f}"
        f"{load.cpu:>12.2f}" + (f"  {load.failed} FAILED" if load.failed else ""),
        flush=True,
    )


def model_alone(
    kind: str, model: Path, pictures: Sequence[Path], sizes: Sequence[int] = SIZES, items: int = 256
) -> dict[int, float]:
    """Items a second, in batches of each size: texts from words, tokenizer included; images from pixels."""
    encoder = load_encoder(model)
    pixels = np.stack([read_picture(path, encoder.preprocess).pixels for path in pictures])
    texts = itertools.cycle(np.random.default_rng(0).permutation(TEXTS).tolist())

    def run(size: int) -> None:
        for _ in range(items // size):
            if kind == "texts":
                encoder._encode_texts(list(itertools.islice(texts, size)))
            else:
                encoder.encode_pixels(pixels[:size])

    run(min(32, items))
    seconds = compare({str(size): partial(run, size) for size in sizes}, rounds=3 if kind == "texts" else 2)
    return {size: items // size * size / seconds[str(size)] for size in sizes}


def requests_of(kind: str, pictures: Sequence[Path]) -> list[bytes]:
    """Whole HTTP requests."""
    if kind == "texts":
        bodies = [json.dumps({"input": text}).encode() for text in TEXTS]
        return [request("/v1/embeddings", "application/json", body) for body in bodies]
    return [request("/v1/classify", "multipart/form-data; boundary=xx", form(path)) for path in pictures]


def embedded(kind: str, service: str, pictures: Sequence[Path]) -> list[bytes]:
    """The same as vectors that are asked for, of texts and of images as data URIs; infinity has OpenAI's shape too."""
    inputs = TEXTS if kind == "texts" else [data_uri(path) for path in pictures]
    if service != "infinity":
        bodies = [{"input": [each]} for each in inputs]
        return [request("/v1/embeddings", "application/json", json.dumps(body).encode()) for body in bodies]
    more = {"model": INFINITY_MODEL, "modality": kind.removesuffix("s")}
    return [request("/embeddings", "application/json", json.dumps({"input": [x], **more}).encode()) for x in inputs]


def data_uri(picture: Path) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(picture.read_bytes()).decode()


def form(picture: Path) -> bytes:
    """A picture and the labels as the fields of a form."""
    head = b'--xx\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n'
    file = head % (b"file", b'; filename="a.jpg"\r\nContent-Type: image/jpeg') + picture.read_bytes()
    return file + b"\r\n" + head % (b"labels", b"") + LABELS.encode() + b"\r\n--xx--\r\n"


def request(path: str, content_type: str, body: bytes) -> bytes:
    head = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Type: {content_type}", f"Content-Length: {len(body)}"]
    return "\r\n".join([*head, "", ""]).encode() + body


_first = 0


def load_of(requests: Sequence[bytes], port: int, clients: int, seconds: int) -> Load:
    """Run the load maker; each run goes on where the one before ended, so that no text is in the cache."""
    global _first
    with tempfile.NamedTemporaryFile() as file:
        file.write(pickle.dumps(list(requests)))
        file.flush()
        command = [
            sys.executable,
            "-m",
            "bench.service.load",
            file.name,
            str(port),
            str(clients),
            str(seconds),
            str(_first),
        ]
        made = Load(**json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout))
    _first += made.answered + made.failed + clients
    return made


@contextmanager
def serving(name: str, model: Path, data: Path | None = None) -> Iterator[tuple[int, int]]:
    """A server in its own process; its port and process id, once it is ready."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        flags = ["serve", "--model", str(model), "--data", str(data or folder), "--port", str(port)]
        command = {
            "glimpse": [sys.executable, "-m", "glimpse", *flags],
            "batches of one": [sys.executable, "-c", UNBATCHED, *flags],
            "plain": [sys.executable, "-m", "bench.service.plain_service", str(model), str(port)],
            "infinity": [*infinity(), "--port", str(port)] if name == "infinity" else [],
        }[name]
        log = Path(folder) / "log"
        with log.open("wb") as file, subprocess.Popen(command, stdout=file, stderr=file) as server:
            try:
                until_ready(
                    server, f"http://127.0.0.1:{port}{'/health' if name == 'infinity' else '/health/ready'}", log
                )
                yield port, server.pid
            finally:
                server.kill()


UNBATCHED = """
from service.inference import inference
Batcher = inference.Batcher
inference.Batcher = lambda *args, **limits: Batcher(*args, **(limits | {"max_batch": 1}))
from glimpse.__main__ import main
main()
"""


def infinity() -> list[str]:
    """The command of infinity-emb, for a ViT-B/32 with random weights of its own; neither compiled nor rewritten."""
    programs = Path(os.environ["INFINITY"])
    folder = CACHE / INFINITY_MODEL
    if not (folder / "config.json").exists():
        merges = next(Path(open_clip.__file__).parent.glob("bpe_simple_vocab*"))
        command = [programs / "python", Path(__file__).with_name("infinity_model.py"), folder]
        subprocess.run(command, check=True, env=os.environ | {"MERGES": str(merges)})
    flags = "--engine torch --device cpu --dtype bfloat16 --no-compile --no-bettertransformer --log-level warning"
    named = ["--model-id", str(folder), "--served-model-name", INFINITY_MODEL]
    return [str(programs / "infinity_emb"), "v2", *named, *flags.split()]


def until_ready(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    for _ in range(1200):
        if server.poll() is not None:
            said = log.read_text(errors="replace").strip().splitlines() or ["no word"]
            raise RuntimeError(f"the server ended with {server.returncode}: {said[-1]}")
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise TimeoutError("the server is not ready")


if __name__ == "__main__":
    main()
