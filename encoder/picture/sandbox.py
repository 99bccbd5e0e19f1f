"""The one door to decoding: in this process, or apart where a decoder would hold the interpreter, or might not end.

A process of its own takes one picture after the other, is killed when one takes too long, and ends with the program
that started it, or when nothing was asked of it for a minute. What goes between is lengths, JSON and pixels, nothing
that runs.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import fields
from typing import IO, Any

import numpy as np
from PIL import Image

from base.errors import ImageError
from encoder.picture.bounds import is_slow
from encoder.picture.cut_off import CutOff, is_taken_as_far
from encoder.picture.decode import MAX_PIXELS, Decoded, decode

MAX_SECONDS = 30.0  # for one picture
MAX_PROCESSES = 2
MAX_MEMORY = 4 * 2**30  # bytes of address space
IDLE_SECONDS = 60


def decode_bounded(
    data: bytes,
    name: str | None = None,
    *,
    at_least: tuple[int, int] | None = None,
    max_pixels: int = MAX_PIXELS,
    when_large: Callable[[], object] | None = None,
) -> Decoded:
    """As `encoder.picture.decode.decode`: in this process, or apart where the format's decoder may take long.

    Apart too is decoded what there is of a file that was cut off, for decoders are told to stop at its end all at once.
    What is decoded apart takes no memory here: `when_large` is for the rest.

    Raises:
        ImageError: as `decode`; or it took too long, or ended the process.
    """
    try:
        if is_slow(data):
            return decode_apart(data, name, at_least=at_least, max_pixels=max_pixels)
        return decode(data, name, at_least=at_least, max_pixels=max_pixels, when_large=when_large)
    except CutOff:
        if is_taken_as_far(data):  # was taken as far as it goes
            raise
        return decode_apart(data, name, at_least=at_least, max_pixels=max_pixels, as_far=True)


def decode_apart(
    data: bytes,
    name: str | None = None,
    *,
    at_least: tuple[int, int] | None = None,
    max_pixels: int,
    as_far: bool = False,
) -> Decoded:
    """The same in another process, whatever it takes; waits for one of `MAX_PROCESSES` that is free."""
    worker = _free.get()
    try:
        return worker.decode(data, name, at_least=at_least, max_pixels=max_pixels, as_far=as_far)
    finally:
        _free.put(worker)


class _Worker:
    """A process that decodes, started when it is needed."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def decode(self, data: bytes, name: str | None, **wish: Any) -> Decoded:
        request = json.dumps(wish).encode()
        for _ in range(2):  # an idle one may end just now
            process = self._started()
            assert process.stdin
            assert process.stdout
            late, began = threading.Timer(MAX_SECONDS, process.kill), time.monotonic()
            late.start()
            try:
                _write(process.stdin, request, data)
                header, pixels = _read(process.stdout), _read(process.stdout)
            except (OSError, EOFError):
                if time.monotonic() - began >= MAX_SECONDS:
                    raise ImageError(name, f"decoding it took more than {MAX_SECONDS:.0f} seconds") from None
                self.close()
                continue
            except BaseException:  # what is still in the pipe would be the next one's answer
                self.close()
                raise
            finally:
                late.cancel()
            answer = json.loads(header)
            if answer.get("cut_off"):
                raise CutOff(name)
            if "error" in answer:
                raise ImageError(name, answer["error"])
            image = Image.frombuffer("RGB", tuple(answer.pop("pixels")), pixels, "raw", "RGB", 0, 1)
            return Decoded(image, **answer)
        raise ImageError(name, "cannot be decoded: it ended the process that tried")

    def close(self) -> None:
        process, self._process = self._process, None
        if process:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                with contextlib.suppress(OSError):  # what it was not sent any more is written at the close
                    if pipe:
                        pipe.close()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process and self._process.poll() is not None:
            self.close()
        if not self._process:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "encoder.picture.sandbox"],  # -P: a folder of photos may hold a PIL.py
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for who started it
            )
        return self._process


_free: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
_workers = [_Worker() for _ in range(MAX_PROCESSES)]
for _worker in _workers:
    _free.put(_worker)


@atexit.register
def _close() -> None:
    for worker in _workers:
        worker.close()


def _write(file: IO[bytes], *parts: bytes) -> None:
    for part in parts:
        file.write(len(part).to_bytes(8))
        file.write(part)
    file.flush()


def _read(file: IO[bytes]) -> bytes:
    """Raises EOFError if the other side has ended."""
    size = file.read(8)
    part = file.read(int.from_bytes(size)) if len(size) == 8 else b""
    if len(size) < 8 or len(part) < int.from_bytes(size):
        raise EOFError
    return part


def _serve() -> None:
    """Answer requests on stdin until it ends."""
    import signal

    if os.name == "posix":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    while True:
        signal.alarm(IDLE_SECONDS)
        try:
            request, data = json.loads(_read(sys.stdin.buffer)), _read(sys.stdin.buffer)
        except EOFError:
            return
        signal.alarm(0)
        if request.get("at_least"):
            request["at_least"] = tuple(request["at_least"])
        try:
            decoded = decode(data, **request)
        except ImageError as error:
            said = {"error": error.reason, "cut_off": isinstance(error, CutOff)}
            _write(sys.stdout.buffer, json.dumps(said).encode(), b"")
            continue
        answer = {field.name: getattr(decoded, field.name) for field in fields(decoded) if field.name != "image"}
        answer["pixels"] = decoded.image.size
        _write(sys.stdout.buffer, json.dumps(answer).encode(), np.asarray(decoded.image).tobytes())


if __name__ == "__main__":
    _serve()
