"""The process that decodes apart: stopped in time, bounded in memory, and importing nothing that lies where it runs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from base.errors import ImageError
from encoder import image
from encoder.picture import sandbox
from tests.test_encoder_image import encoded, scene

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
