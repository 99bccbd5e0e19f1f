"""What jobs may read of the server's disk: what lies in the folders that the operator names, and nothing else.

A place counts as where it really is, links and `..` resolved. What is outside and what is not there are refused in the
same words, so nobody learns what the disk holds.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from base.errors import InputError


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

    def may_read(self, path: Path) -> bool:
        """Whether a path really leads into a root. Links within a folder may lead anywhere: ask for each file."""
        try:
            real = Path(os.path.realpath(path))
        except (OSError, ValueError):  # a NUL
            return False
        return any(real.is_relative_to(root) for root in self._roots)

    def _place(self, asked: str, is_there: Callable[[Path], bool]) -> Path:
        if not self._roots:
            raise FolderRefused(
                "jobs may read no folders here: the operator names those that they may in GLIMPSE_JOB_ROOTS"
            )
        path = Path(os.path.abspath(asked))  # noqa: PTH100  keeps links as named
        if not (self.may_read(path) and is_there(path)):
            raise FolderRefused(f"{asked!r} is nothing that jobs may read: give an absolute path that is there, "
                                "in a folder of GLIMPSE_JOB_ROOTS")  # fmt: skip
        return path
