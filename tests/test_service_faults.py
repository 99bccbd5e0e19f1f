"""What goes wrong on a network, by accident or on purpose: each is answered, and the service is well after it."""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from ports import free_port
from service_world import add_collection, draw, error_of, picture, serving, settings_for, tiny_encoder, until

from encoder.model.load import load_encoder
from index.collection import Entry, create_collection
from service.app import create_app
from service.http import connections, middleware

SEARCH = "/v1/collections/pictures/search"
ROOT = Path(__file__).parents[1]
MIB = 2**20


class Served:
    """A real server process."""

    def __init__(self, url: str, process: subprocess.Popen[bytes]) -> None:
        self.url = url
        self.process = process
        self.client = httpx.Client(base_url=url, timeout=60)
        self.before = self.found()

    def found(self) -> list[object]:
        hits = self.client.post(SEARCH, json={"text": "a boat", "limit": 6}).json()["hits"]
        return [(hit["id"], hit["score"]) for hit in hits]

    def is_well(self) -> bool:
        return self.client.get("/health/ready").status_code == 200 and self.found() == self.before

    def memory(self, kind: str = "VmRSS") -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"{kind}:\s+(\d+)", status)[1]) * 1024  # type: ignore[index]


@contextmanager
def process_of(run: Path, data: Path, **environment: str) -> Iterator[Served]:
    port = free_port()
    command = [sys.executable, "-m", "glimpse", "serve", "--model", str(run), "--data", str(data), "--port", str(port)]
    environment |= {name: value for name, value in os.environ.items() if not name.startswith("GLIMPSE_")}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}"
        until(lambda: _is_ready(url), 60)
        own = Served(url, process)
        with closing(own.client):
            yield own
    finally:
        process.kill()
        process.wait()


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/ready").status_code == 200
    except httpx.HTTPError:
        return False


@pytest.fixture(scope="module")
def here(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a collection of pictures, one of another model, an empty one."""
    folder = tmp_path_factory.mktemp("faults")
    encoder = load_encoder(tiny_run, device="cpu", precision="fp32")
    add_collection(folder, encoder, draw(folder / "files", 6))
    made = {"model": encoder.ref, "fingerprint": encoder.fingerprint, "dim": encoder.dim}
    create_collection(folder, "empty", **made).close()
    return folder


@pytest.fixture(scope="module")
def served(tiny_run: Path, here: Path) -> Iterator[Served]:
    with process_of(
        tiny_run, here, GLIMPSE_MAX_UPLOAD_BYTES=str(8 * MIB), GLIMPSE_MAX_PIXELS="30000000", GLIMPSE_PRECISION="fp32"
    ) as own:
        yield own


# --- bodies ---

JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "multipart/form-data; boundary=x"}
PICTURE = base64.b64encode(picture(0)).decode()
HUGE = b'{"text": "' + b"x" * (9 * MIB) + b'"}'


def part(name: str, value: bytes, more: str = "") -> bytes:
    return f'--x\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + value + b"\r\n"


def labels(n: int) -> bytes:
    return json.dumps({"image": PICTURE, "labels": [f"label {i}" for i in range(n)], "templates": ["{}"]}).encode()


BODIES = [  # path, headers, body, status
    (SEARCH, JSON, b"[" * 200_000, 422),
    (SEARCH, JSON, b'{"filter": ' + b'{"must": [' * 50_000 + b"]}" * 50_000 + b', "text": "x"}', 422),
    (SEARCH, JSON, b'{"text": "x", "filter": ' + b'{"must": [' * 300 + b"]}" * 300 + b"}", 422),
    (SEARCH, JSON, b'{"vector": [' + b"0," * 1_000_000 + b"1]}", 422),
    (SEARCH, JSON, b'{"vector": [' + b",".join([b"1e999"] * 32) + b"]}", 422),
    (SEARCH, JSON, b'{"vector": [' + b",".join([b"NaN"] * 32) + b"]}", 422),
    (SEARCH, JSON, b'{"vector": [' + b",".join([b"0"] * 32) + b"]}", 422),
    (SEARCH, JSON, b'{"id": ' + b"9" * 10_000 + b"}", 422),
    (SEARCH, JSON, b'{"text": "x", "limit": 1e999}', 422),
    (SEARCH, JSON, b'{"text": "x", "score_threshold": NaN}', 422),
    (SEARCH, JSON, b'{"text": "\\ud800"}', 422),
    (SEARCH, JSON, b'{"text": "\xff\xfe"}', 422),
    (SEARCH, JSON, b'{"text": "x", "filter": {"must": [{"key": "\\ud800", "match": {"value": 1}}]}}', 422),
    (SEARCH, JSON, b'{"text": "x", "filter": {"must": [{"key": "a", "range": {"lt": NaN}}]}}', 422),
    (SEARCH, JSON, b'{"text": "x", "text": "a boat", "limit": 6}', 200),  # the last one counts, as in all of Python
    (
        SEARCH,
        JSON,
        b'{"text": "x", "filter": {"must": [{"key": "a", "match": {"any": [' + b"1," * 99_999 + b"1]}}]}}",
        422,
    ),
    (SEARCH, JSON, b"", 422),
    (SEARCH, JSON, b"null", 422),
    (SEARCH, JSON, HUGE, 413),
    (SEARCH, JSON | {"Content-Encoding": "gzip"}, gzip.compress(b'{"text": "x"}'), 200),
    (SEARCH, JSON | {"Content-Encoding": "br"}, b'{"text": "x"}', 415),
    (SEARCH, {"Content-Type": "application/json; charset=utf-16"}, '{"text": "x"}'.encode("utf-16"), 200),
    *(
        (path, JSON, json.dumps(said).encode(coding), 200)
        for path, said in (
            (SEARCH, {"text": "x"}),
            ("/v1/classify", {"image": PICTURE, "labels": ["a", "b"]}),
            ("/knn-service", {"text": "x", "indice_name": "pictures"}),
            ("/v1/embeddings", {"input": "x"}),
            ("/v1/zero-shot", {"inputs": PICTURE, "parameters": {"candidate_labels": ["a", "b"]}}),
        )
        for coding in ("utf-8-sig", "utf-16", "utf-32-be")
    ),
    ("/v1/classify", JSON, "{}".encode("utf-16") + b"\0", 422),
    (SEARCH, {"Content-Type": "text/json"}, b'{"text": "x"}', 415),
    (SEARCH, {"Content-Type": "\xff/\xff"}, b"{}", 415),
    ("/v1/collections/empty/search", JSON, b'{"text": "x", "cutoff": "auto", "diversity": 0.5}', 200),
    ("/v1/embeddings", JSON, b'{"input": {"input": 1}}', 422),
    ("/v1/embeddings", JSON, b'{"input": [[1, 2], [3]]}', 422),
    ("/v1/embeddings", JSON, b'{"input": "x", "dimensions": 1e30}', 422),
    ("/v1/classify", JSON, labels(10_000), 422),
    ("/v1/classify", JSON, labels(4096), 200),
    ("/v1/classify", {"Content-Type": "multipart/form-data"}, b"--x--", 400),
    ("/v1/classify", FORM, b"--x--\r\n", 422),
    ("/v1/classify", FORM, b"".join(part(f"p{i}", b"v") for i in range(2_000)) + b"--x--", 400),
    ("/v1/classify", FORM, b"".join(part("file", b"v", f'; filename="{i}"') for i in range(2_000)) + b"--x--", 422),
    ("/v1/classify", FORM, part("file", b"v", '; filename="' + "x" * 100_000 + '"') + b"--x--", 400),
    ("/v1/classify", FORM, part("labels", b"x" * 2 * MIB) + b"--x--", 400),
    ("/v1/classify", FORM, part("file", b"v", '; filename="a"')[:-9], 422),
    ("/v1/collections/pictures/images", FORM, part("file", picture(0), '; filename="a.png"')[:-50], 422),
    ("/v1/collections/pictures/images", FORM, part("file", b"<svg/>", '; filename="a.svg"') + b"--x--", 422),
    ("/v1/collections/pictures/texts", JSON, b'{"texts": ["x"], "metadata": {"a": 1e999}}', 422),
    ("/v1/collections/pictures/texts", JSON, b'{"texts": ["x"], "metadata": {"\\ud800": 1}}', 422),
    ("/knn-service", {}, b'{"text": "x", "num_images": "many"}', 422),
    ("/knn-service", {}, b"\xff", 422),
    ("/v1/zero-shot", JSON, b'{"inputs": "AAAA", "parameters": {"candidate_labels": "cat"}}', 422),
]


def test_odd_bodies_are_each_answered_and_the_service_stays_as_it_is(served: Served) -> None:
    for path, headers, body, status in BODIES:
        raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        answer = served.client.post(path, content=body, headers=raw)
        where = f"{path} {body[:60]!r}: {answer.status_code} {answer.text[:200]}"
        assert answer.status_code == status, where
        if status != 200:
            error_of(answer, status)
    assert served.is_well()


# --- images ---


def png(width: int, height: int, depth: int = 8, colour: int = 2, rows: int | None = None) -> bytes:
    """A PNG of zeros, small as a file whatever its size; `rows`: of how many there are data."""
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[colour]
    row = b"\0" * (1 + width * channels * depth // 8)
    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(row) for _ in range(height if rows is None else rows)) + packer.flush()

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def saved(image: Image.Image, kind: str, **how: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **how)  # type: ignore[arg-type]
    return buffer.getvalue()


def renamed(data: bytes, old: bytes, new: bytes) -> bytes:
    assert old in data
    return data.replace(old, new, 1)


def good_images() -> dict[str, bytes]:
    small = Image.open(io.BytesIO(picture(1))).convert("RGB")
    return {
        "cmyk": saved(small.convert("CMYK"), "JPEG"),
        "16 bits": saved(Image.fromarray(np.arange(4096, dtype=np.uint16).reshape(64, 64)), "PNG"),
        "animated gif": saved(small, "GIF", save_all=True, append_images=[small.rotate(90)] * 300),
        "animated webp": saved(small, "WEBP", save_all=True, append_images=[small.rotate(90)] * 50),
        "just small enough": png(5_400, 5_400),
    }


def bad_images() -> dict[str, bytes]:
    small = Image.open(io.BytesIO(picture(1))).convert("RGB")
    return {
        "gigabytes as png": png(60_000, 60_000, rows=10),
        "gigabytes as jpeg": renamed(saved(small, "JPEG"), struct.pack(">HH", *small.size[::-1]), b"\xff\xff\xff\xff"),
        "gigabytes as gif": renamed(saved(small, "GIF"), struct.pack("<HH", *small.size), b"\xff\xff\xff\xff"),
        "gigabytes as bmp": renamed(saved(small, "BMP"), struct.pack("<II", *small.size), b"\xff\xff\0\0\xff\xff\0\0"),
        "gigabytes as webp": saved(Image.new("RGB", (16_000, 2_000)), "WEBP", lossless=True),
        "gigabytes as tiff": saved(Image.new("L", (90_500, 1_001)), "TIFF", compression="tiff_adobe_deflate"),
        "gigabytes of png text": saved(small, "PNG")[:33] + png(1, 1)[33:-12] + b"\0\0\0\0junk",
        "half a png": picture(2)[:120],
        "half a jpeg": picture(2, kind="JPEG")[:300],
        "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
        "svgz": gzip.compress(b"<svg/>"),
        "zip": b"PK\x03\x04" + b"\0" * 100,
        "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    }


def test_images_of_all_sorts(served: Served) -> None:
    def ask(data: bytes) -> httpx.Response:
        return served.client.post("/v1/classify", files={"file": ("x", data)}, data={"labels": "a,b"})

    good = good_images()
    for name, data in good.items():
        assert ask(data).status_code == 200, name
    for name, data in bad_images().items():
        answer = ask(data)
        assert answer.status_code == 422, name
        assert error_of(answer, 422)["code"] == "invalid_image"
    with ThreadPoolExecutor(8) as pool:  # 30 million pixels each, 90 MB decoded and as much again to convert
        answers = list(pool.map(lambda _: ask(good["just small enough"]).status_code, range(8)))
    assert answers == [200] * 8
    assert served.is_well()


def test_a_large_image_leaves_no_memory_behind_and_many_take_that_of_one(served: Served) -> None:
    bomb = png(5_400, 5_400, colour=6)  # 0.1 MB that decode to 117 MB

    def ask(_: int) -> int:
        return served.client.post(
            "/v1/classify", files={"file": ("x", bomb)}, data={"labels": "a,b"}
        ).status_code  # fmt: skip

    ask(0)
    before = served.memory()
    Path(f"/proc/{served.process.pid}/clear_refs").write_text("5")  # the peak begins anew
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(ask, range(8))) == {200}
    assert served.memory("VmHWM") - before < 2 * 5 * 117 * MIB
    assert served.memory() - before < 117 * MIB
    assert served.is_well()


# --- connections, at a pace that a test can wait for ---


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, tuple[str, int]]]:
    folder = tmp_path_factory.mktemp("quick")
    encoder = tiny_encoder(folder)
    with create_collection(folder, "large", model="tiny", fingerprint="tiny", dim=32) as large:
        x = encoder.encode_texts(["x"])[0]
        large.upsert([Entry(x, "image", f"/{i}", metadata={"a": "x" * 10_000}) for i in range(1000)])
    with pytest.MonkeyPatch.context() as patch, serving(create_app(settings_for(folder), encoder)) as url:
        patch.setattr(connections, "PATIENCE", 0.5)
        patch.setattr(middleware, "BODY_SECONDS", 0.5)
        yield url, ("127.0.0.1", int(url.rpartition(":")[2]))


def rest_of(connection: socket.socket) -> bytes:
    """All that comes until the other side closes."""
    data = b""
    with connection, suppress(ConnectionError):
        while more := connection.recv(65_536):
            data += more
    return data


def test_who_never_finishes_a_head_is_dropped(quick: tuple[str, tuple[str, int]]) -> None:
    url, address = quick
    slow = [socket.create_connection(address, timeout=10) for _ in range(100)]
    for connection in slow[50:]:
        connection.sendall(b"GET / HTTP/1.1\r\nX-Slow: ")
    trickling = slow[-1]
    with suppress(OSError):  # until it is dropped
        for _ in range(200):
            trickling.sendall(b"x")
            time.sleep(0.02)
        raise AssertionError("it may go on for ever")
    assert httpx.get(f"{url}/health/ready").status_code == 200
    assert all(rest_of(connection) == b"" for connection in slow)


def test_a_body_that_comes_too_slowly_is_408(quick: tuple[str, tuple[str, int]]) -> None:
    url, address = quick
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                           b"Content-Length: 100000\r\n\r\n{")  # fmt: skip
        answer = rest_of(connection)
    assert b" 408 " in answer.split(b"\r\n", 1)[0]
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "too_slow"
    steadily = (time.sleep(0.1) or b"x" * 16_384 for _ in range(10))  # longer than a small body may take
    assert httpx.post(f"{url}/v1/embeddings", content=steadily, headers=JSON).status_code == 422


def test_a_model_that_takes_long_is_waited_for(quick: tuple[str, tuple[str, int]], tmp_path: Path) -> None:
    """Neither patience is for who waits for an answer."""
    encoder = tiny_encoder(tmp_path)
    with serving(create_app(settings_for(tmp_path / "other"), encoder)) as url, ThreadPoolExecutor(1) as pool:
        with encoder.held():
            asked = pool.submit(httpx.post, f"{url}/v1/embeddings", json={"input": "x"}, timeout=20)
            assert encoder.running.wait(10)
            time.sleep(1.5)
        assert asked.result().status_code == 200


@contextmanager
def asking_for_much(address: tuple[str, int], then: str = "keep-alive") -> Iterator[socket.socket]:
    """A connection that has asked for some megabytes, and has read nothing of them."""
    body = json.dumps({"id": 1, "limit": 1000}).encode()
    head = f"POST /v1/collections/large/search HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(10)
        connection.connect(address)
        connection.sendall(f"{head}Connection: {then}\r\nContent-Type: application/json\r\n\r\n".encode() + body)
        yield connection


def test_who_takes_his_answer_slowly_gets_all_of_it(quick: tuple[str, tuple[str, int]]) -> None:
    """The system has queued so much of it that for some looks on end nothing of what is left goes there."""
    url, address = quick
    whole = len(httpx.post(f"{url}/v1/collections/large/search", json={"id": 1, "limit": 1000}).content)
    with asking_for_much(address, then="close") as connection:
        taken = 0
        for _ in range(150):
            taken += len(connection.recv(8192))
            time.sleep(0.01)
        assert taken + len(rest_of(connection)) > whole


@pytest.mark.parametrize("then", ["keep-alive", "close"])
def test_who_does_not_take_his_answer_is_dropped(quick: tuple[str, tuple[str, int]], then: str) -> None:
    url, address = quick
    with asking_for_much(address, then) as connection:
        whole = len(httpx.post(f"{url}/v1/collections/large/search", json={"id": 1, "limit": 1000}).content)
        time.sleep(2)
        assert len(rest_of(connection)) < whole / 2
    assert httpx.get(f"{url}/health/ready").status_code == 200


def test_more_connections_than_there_is_room_for_are_refused(
    quick: tuple[str, tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, address = quick
    monkeypatch.setattr(connections, "most_connections", lambda: 20)
    idle = [socket.create_connection(address, timeout=10) for _ in range(40)]
    assert all(rest_of(connection) == b"" for connection in idle)
    assert httpx.get(f"{url}/health/ready").status_code == 200


def test_what_is_no_http_is_400_in_the_one_shape(quick: tuple[str, tuple[str, int]]) -> None:
    url, address = quick
    for nonsense in (b"hello\r\n\r\n", b"GET / HTTP/1.1 x\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a" * 200_000):
        with socket.create_connection(address, timeout=10) as connection:
            connection.sendall(nonsense)
            head, _, body = rest_of(connection).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 ")
        assert json.loads(body)["error"]["code"] == "invalid_http"
    assert httpx.get(f"{url}/health/ready").status_code == 200


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"HTTP/1.1\r\n", 400),
        (b"HTTP/1.1\r\nHost: x\r\nHost: x\r\n", 400),
        (b"HTTP/1.1\r\nHost: x\r\nhost: y\r\n", 400),
        (b"HTTP/1.0\r\nHost: x\r\nHost: y\r\n", 400),
        (b"HTTP/1.1\r\nHost: x y\r\n", 400),
        (b"HTTP/1.1\r\nHost: x/y\r\n", 400),
        (b"HTTP/1.1\r\nHost: me@x\r\n", 400),
        (b"HTTP/1.1\r\nHost: [::1]:8000\r\n", 200),
        (b"HTTP/1.1\r\nHost: glimpse_1:8000\r\n", 200),
        (b"HTTP/1.1\r\nHost:\r\n", 200),
        (b"HTTP/1.0\r\n", 200),
        (b"HTTP/2.0\r\nHost: x\r\n", 400),
        (b"HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n", 400),
        (b"HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", 400),
        (b"HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n", 400),
    ],
)
def test_a_head_is_what_every_proxy_takes_it_for(quick: tuple[str, tuple[str, int]], head: bytes, status: int) -> None:
    with socket.create_connection(quick[1], timeout=10) as connection:
        connection.sendall(b"GET /health/live " + head + b"Connection: close\r\n\r\n")
        answer = rest_of(connection)
    assert re.findall(rb"HTTP/1.1 (\d+) ", answer) == [b"%d" % status]
    assert (b'"code":"invalid_http"' in answer) == (status == 400)


def test_pipelined_chunked_and_expected_requests_are_answered_in_order(quick: tuple[str, tuple[str, int]]) -> None:
    _, address = quick
    with socket.create_connection(address, timeout=10) as connection:
        post = b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        chunked = b'Transfer-Encoding: chunked\r\n\r\n5\r\n{"inp\r\n9\r\nut": "x"}\r\n0\r\n\r\n'
        connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n" * 3 + post + chunked)
        connection.sendall(post + b"Expect: 100-continue\r\nConnection: close\r\nContent-Length: 14\r\n\r\n")
        connection.sendall(b'{"input": "x"}')
        answer = rest_of(connection)
    assert re.findall(rb"HTTP/1.1 (\d+) ", answer) == [b"200"] * 4 + [b"100", b"200"]


POST = b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
ASKED = b'{"input": "a boat"}'
OFFER = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAA\r\n"


@pytest.mark.parametrize(
    "body",
    [
        b"Content-Length: %d\r\n\r\n%b" % (len(ASKED), ASKED),
        b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(ASKED), ASKED),
    ],
)
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_request_that_offers_another_protocol_is_answered_with_its_body(
    quick: tuple[str, tuple[str, int]], body: bytes, size: int
) -> None:
    _, address = quick
    get = b"GET /v1/models HTTP/1.1\r\nHost: x\r\n"
    sent = POST + OFFER + body + get + OFFER + b"\r\n" + get + b"Connection: close\r\n\r\n"
    with socket.create_connection(address, timeout=10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(0, len(sent), size):
            connection.sendall(sent[at : at + size])
        answer = rest_of(connection)
    assert re.findall(rb"HTTP/1.1 (\d+) ", answer) == [b"200"] * 3
    assert b'"embedding"' in answer


def test_many_requests_that_offer_another_protocol_are_answered(quick: tuple[str, tuple[str, int]]) -> None:
    get = b"GET /health/live HTTP/1.1\r\nHost: x\r\n"
    offers = (get + b"Connection: Upgrade\r\nUpgrade: x\r\n\r\n") * 1500
    with socket.create_connection(quick[1], timeout=20) as connection:
        connection.sendall(offers + get + b"Connection: close\r\n\r\n")
        answer = rest_of(connection)
    assert re.findall(rb"HTTP/1.1 (\d+) ", answer) == [b"200"] * 1501


@pytest.mark.parametrize(
    ("framing", "answers"),
    [
        (b"Content-Length: 15\r\n\r\n" + ASKED, [b"422"]),  # what is too much is the next request, and none
        (b"Content-Length: 19\r\n\r\n" + ASKED + b"hello\r\n", [b"200"]),
        (b"Transfer-Encoding: chunked\r\n\r\n-1\r\n" + ASKED, [b"400"]),
        (b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n" + ASKED, [b"400"]),
        (b"Transfer-Encoding: chunked\r\n\r\n5\r\n" + ASKED, [b"400"]),
        (b"Transfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 4\r\n\r\n", [b"400"]),
        (b"Transfer-Encoding: xchunked\r\n\r\n" + ASKED, [b"400"]),
    ],
)
def test_a_body_that_does_not_end_where_it_says_is_answered(
    quick: tuple[str, tuple[str, int]], framing: bytes, answers: list[bytes]
) -> None:
    url, address = quick
    for before in (0, 2):
        with socket.create_connection(address, timeout=10) as connection, suppress(ConnectionError):
            connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n" * before)
            head = rest_of_answers(connection, before)
            connection.sendall(POST + framing)
            answer = head + rest_of(connection)
        assert re.findall(rb"HTTP/1.1 (\d+) ", answer) == [b"200"] * before + answers
    assert httpx.get(f"{url}/health/ready").status_code == 200


def test_a_client_that_leaves_in_the_midst_of_its_body_is_no_failure_of_the_service(
    quick: tuple[str, tuple[str, int]], caplog: pytest.LogCaptureFixture
) -> None:
    url, address = quick
    for kind in (b"application/json", FORM["Content-Type"].encode()):
        for path in (b"embeddings", b"classify", b"collections/large/images", b"collections/large/texts"):
            with socket.create_connection(address, timeout=10) as connection:
                head = b"POST /v1/" + path + b" HTTP/1.1\r\nHost: x\r\nContent-Type: " + kind
                connection.sendall(head + b"\r\nContent-Length: 1000\r\n\r\n--x\r\n")
    until(lambda: httpx.get(f"{url}/metrics").text.count('status="499"') >= 3)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def rest_of_answers(connection: socket.socket, number: int) -> bytes:
    """So many answers of /health/live."""
    data = b""
    while data.count(b'{"status":"ok"}') < number:
        data += connection.recv(65_536)
    return data


def test_who_leaves_in_the_middle_does_no_harm(served: Served) -> None:
    address = ("127.0.0.1", int(served.url.rpartition(":")[2]))
    form = part("file", picture(3) * 100, '; filename="a.png"') + part("labels", b"a,b") + b"--x--"
    head = f"POST /v1/classify HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM['Content-Type']}\r\n"
    for end in range(0, len(form), len(form) // 40):
        with socket.create_connection(address, timeout=10) as connection:
            connection.sendall(f"{head}Content-Length: {len(form)}\r\n\r\n".encode() + form[:end])
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", end % 2, 0))  # a reset or not
    until(served.is_well)
    assert "too many" not in served.client.get("/metrics").text


# --- the end ---


def test_a_term_signal_finishes_what_was_accepted_and_ends_with_0(tiny_run: Path, here: Path) -> None:
    with process_of(tiny_run, here, GLIMPSE_MAX_PROMPTS="8000") as own, ThreadPoolExecutor(1) as pool:
        busy = threading.Event()

        def ask() -> httpx.Response:
            busy.set()
            body = {"image": PICTURE, "labels": [f"another label {i}" for i in range(8_000)], "templates": ["{}"]}
            return httpx.post(f"{own.url}/v1/classify", json=body, timeout=60)

        asked = pool.submit(ask)
        assert busy.wait(10)
        until(lambda: 'glimpse_queue_depth{queue="text"} 0.0' not in own.client.get("/metrics").text)
        own.process.send_signal(signal.SIGTERM)
        answer = asked.result()
        assert answer.status_code == 200
        assert len(answer.json()["results"][0]["scores"]) == 8_000
        assert own.process.wait(20) == 0


@pytest.mark.slow
def test_a_soak_finds_no_wrong_answer() -> None:
    """The short form of bench/service/soak.py; it fails at the first answer that is not its request's."""
    command = [sys.executable, "-m", "bench.service.soak", "--minutes", "0.2", "--clients", "16"]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": "."}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "none lost, none crossed" in done.stdout
