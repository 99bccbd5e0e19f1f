"""What jobs may read of the server's disk: what lies in the folders that the operator names, and nothing else.

A place counts as where it really is, links and `..` resolved; a file is opened before that is asked, and read from
there, so nothing is won by exchanging it in between. What is outside and what is not there are refused in the same
words, so nobody learns what the disk holds.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from base.errors import ImageError, InputError
from base.files import place_of
from encoder.picture.decode import read_bytes
from labelling.outputs.output import NotDone

HOLD = getattr(os, "O_PATH", os.O_RDONLY | os.O_NONBLOCK)  # holds the file; neither waits for a pipe nor wakes a device
OUTSIDE = "it leads to where nothing may be read or written"


class FolderRefused(InputError):
    """A folder or file that jobs may not read, or that is not there."""

    code = "folder_refused"


class Roots:
    """The folders that jobs may read, as they are now: a root may itself be a link."""

    def __init__(self, roots: Iterable[str]) -> None:
        self._roots = [os.path.realpath(root) for root in roots]

    def folder(self, asked: str) -> Path:
        """The folder, absolute, its links as named, so that its images have the paths that `glimpse index` gives them.

        Raises:
            FolderRefused: it is not there, or really lies outside of every root.
        """
        return self._place(asked, os.path.isdir)

    def file(self, asked: str) -> Path:
        """The file, likewise."""
        return self._place(asked, os.path.isfile)

    def read(self, path: Path) -> bytes:
        """The bytes of a file that really lies in a root. ImageError: it does not, or cannot be read."""
        try:
            with self.opened(path) as held:
                return read_bytes(held)
        except FolderRefused as error:
            raise ImageError(path, OUTSIDE) from error
        except ImageError as error:
            raise ImageError(path, error.reason) from error

    def read_indexed(self, path: Path) -> bytes:
        """The same for an entry's file. What `glimpse index` found in no root, by whatever name, is read as it is."""
        return self.read(path) if any(map(self.leads_in, path.parents)) else read_bytes(path)

    def judge(self, path: Path) -> None:
        """NotDone unless a file, and the folder that it is named in, really lie in a root: it may be changed."""
        if not (self.leads_in(path) and self.leads_in(path.parent)):
            raise NotDone(path, OUTSIDE)

    def check(self, path: Path) -> None:
        """FolderRefused unless a file or folder, be it there or not, really lies in a root."""
        if not self._roots or not self.leads_in(path):
            raise self._refused(str(path))

    @contextmanager
    def opened(self, path: Path) -> Iterator[Path]:
        """A name of the very file that lies at `path` now, whatever is put in its place meanwhile.

        It is opened first, and then the system is asked where that leads. FolderRefused: not into a root.
        """
        try:
            fd = os.open(path, HOLD | os.O_CLOEXEC)
        except OSError as error:
            raise ImageError(path, error.strerror or str(error)) from error
        try:
            if not self._holds(place_of(fd)):
                raise self._refused(str(path))
            yield Path(f"/dev/fd/{fd}")
        finally:
            os.close(fd)

    @contextmanager
    def entered(self, path: Path) -> Iterator[Path]:
        """The same of a file or folder for a walk, to which what it may not look into is an OSError."""
        try:
            with self.opened(path) as held:
                yield held
        except FolderRefused:
            raise PermissionError(errno.EACCES, OUTSIDE, str(path)) from None
        except ImageError as error:
            raise OSError(error.reason) from None

    def _holds(self, path: Path) -> bool:
        return any(path.is_relative_to(root) for root in self._roots)

    def leads_in(self, path: Path) -> bool:
        """Whether a path really leads into a root, be something there or not."""
        try:
            return self._holds(Path(os.path.realpath(path)))
        except (OSError, ValueError):  # a NUL
            return False

    def _place(self, asked: str, is_there: Callable[[Path], bool]) -> Path:
        if not self._roots:
            raise FolderRefused(
                "jobs may read no folders here: the operator names those that they may in GLIMPSE_JOB_ROOTS"
            )
        path = Path(os.path.abspath(asked))  # noqa: PTH100  keeps links as named
        if not (self.leads_in(path) and is_there(path)):
            raise self._refused(asked)
        return path

    def _refused(self, asked: str) -> FolderRefused:
        return FolderRefused(f"{asked!r} is nothing that jobs may read: give an absolute path that is there, "
                             "in a folder of GLIMPSE_JOB_ROOTS")  # fmt: skip
