"""The process that decodes apart: stopped in time, bounded in memory, and importing nothing that lies where it runs."""

from __future__ import annotations

import struct
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from test_encoder_image import encoded, scene

from base.errors import ImageError
from encoder import image
from encoder.picture import sandbox
from service.inference.images import small_picture

PLAIN = b"P3 2 1 255\n1 2 3 4 5 6"  # slow to decode, and so decoded apart


@pytest.fixture
def worker() -> Iterator[sandbox._Worker]:
    """One whose process is not started yet."""
    worker = sandbox._Worker()
    yield worker
    worker.close()


def test_a_decoder_that_takes_too_long_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = b"P3 3000 3000 255\n" + b"1 " * 27_000_000
    monkeypatch.setattr(sandbox, "MAX_SECONDS", 0.5)
    with pytest.raises(ImageError, match=r"took more than"):
        image.open_image(plain)
    monkeypatch.setattr(sandbox, "MAX_SECONDS", 30.0)
    assert image.open_image(PLAIN).getpixel((1, 0)) == (4, 5, 6)
    with pytest.raises(ImageError, match="million pixels; the limit is"):
        image.open_image(b"P3 20000 20000 255\n1 2 3", max_pixels=1_000_000)
    jp2 = encoded(scene(), "JPEG2000")
    assert np.abs(np.asarray(image.open_image(jp2), int) - np.asarray(scene(), int)).mean() < 1


@pytest.mark.parametrize("size", [10, 100_000, 1_000_000, 10_000_000])  # within the pipe and its buffers, and beyond
def test_the_next_picture_is_read_whatever_was_left_of_one_that_took_too_long(
    size: int, worker: sandbox._Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "MAX_SECONDS", 0.01)
    for _ in range(2):
        with pytest.raises(ImageError, match="took more than"):
            worker.decode(b"P5 #" + b"a" * size + b"\n2 1 255\n\1\2", None, max_pixels=100)
    monkeypatch.setattr(sandbox, "MAX_SECONDS", 30.0)
    assert worker.decode(PLAIN, None, max_pixels=100).image.getpixel((1, 0)) == (4, 5, 6)


def bitmap(packed: bytes, side: int = 8, *, icon: bool = False) -> bytes:
    """A bitmap of one colour in run lengths, as it stands in an icon too: there with a mask below."""
    head = struct.pack("<IiiHHIIiiII", 40, side, side * (1 + icon), 1, 8, 1, len(packed), 0, 0, 256, 0)
    return head + b"\x10\x20\x30\0" * 256 + packed


def in_icon(inside: bytes) -> bytes:
    return struct.pack("<HHHBBBBHHII", 0, 1, 1, 8, 8, 0, 0, 1, 8, len(inside), 22) + inside + bytes(64)


def chunk(kind: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


RUNS = b"\x08\x01\0\0" * 8
PNG, GIF = encoded(scene(), "PNG"), encoded(scene().quantize(16), "GIF")
SLOW = {
    "a bitmap in run lengths": b"BM" + struct.pack("<IHHI", 0, 0, 0, 14 + 40 + 1024) + bitmap(RUNS),
    "the same without its head": bitmap(RUNS),
    "the same in an icon": in_icon(bitmap(RUNS, icon=True)),
    "another maximum": b"P6 2 1 254\n\1\2\3\4\5\6",
    "a long comment": b"P5 #" + b"a" * 100_000 + b"\n2 1 255\n\1\2",
    "a bitmap behind a comment": b"P4 #" + b"a" * 100_000 + b"\n8 1\n\x55",
    "comments": GIF[:-1] + b"!\xfe\1a\0" * 30_000 + b";",
    "one of many parts": GIF[:-1] + b"!\xfe" + b"\1a" * 60_000 + b"\0;",
    "chunks": PNG[:33] + chunk(b"teSt") * 60_000 + PNG[33:],
    "chunks behind the picture": PNG[:-12] + chunk(b"teSt") * 60_000 + PNG[-12:],
}


@pytest.mark.parametrize("data", SLOW.values(), ids=SLOW)
def test_what_python_reads_byte_by_byte_is_read_apart(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox._close()
    monkeypatch.setattr(sandbox, "MAX_SECONDS", 0.01)  # no process starts in that time
    for read in (image.open_image, lambda data: small_picture(data, 32, 10**6)):
        with pytest.raises(ImageError, match=r"took more than"):
            read(data)
    monkeypatch.setattr(sandbox, "MAX_SECONDS", 30.0)
    assert image.open_image(data).getbbox()


@pytest.mark.parametrize("data", [b"P6 2 1 255\n\1\2\3\4\5\6", b"P4\n8 1\n\x55", PNG, GIF, encoded(scene(), "BMP")])
def test_what_most_have_is_read_here(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "MAX_SECONDS", 0.01)
    assert image.open_image(data).getbbox()


def test_modules_in_the_current_folder_are_not_imported(
    worker: sandbox._Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (
        "PIL.py",
        "numpy.py",
        "json.py",
        "base/__init__.py",
        "encoder/__init__.py",
        "encoder/picture/sandbox.py",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\nraise SystemExit\n")
    monkeypatch.chdir(tmp_path)
    decoded = worker.decode(PLAIN, None, max_pixels=100)
    assert decoded.image.getpixel((1, 0)) == (4, 5, 6)
    assert not (tmp_path / "ran").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="limits of another process are Linux's")
def test_a_picture_that_takes_more_memory_than_there_may_be_is_an_error_of_its_own(worker: sandbox._Worker) -> None:
    import resource

    worker.decode(PLAIN, None, max_pixels=100)
    assert worker._process
    limit = resource.prlimit(worker._process.pid, resource.RLIMIT_AS)
    assert limit == (sandbox.MAX_MEMORY, sandbox.MAX_MEMORY)
    pid, large = worker._process.pid, encoded(scene().resize((2000, 2000)), "JPEG2000")
    has = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()
    resource.prlimit(pid, resource.RLIMIT_AS, (has + 2**24, sandbox.MAX_MEMORY))
    with pytest.raises(ImageError, match="cannot be decoded"):
        worker.decode(large, None, max_pixels=10**7)
    assert worker.decode(PLAIN, None, max_pixels=100).image.getpixel((1, 0)) == (4, 5, 6)
    resource.prlimit(pid, resource.RLIMIT_AS, (sandbox.MAX_MEMORY, sandbox.MAX_MEMORY))
    assert worker.decode(large, None, max_pixels=10**7).image.size == (2000, 2000)
    assert worker._process.pid == pid
