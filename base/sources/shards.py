"""WebDataset shards: tar files whose members of one name are a sample. Which there are, and what is in one.

It knows no model, and of what is in a sample only which member is an image.
"""

from __future__ import annotations

import glob
import re
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from lzma import LZMAError
from pathlib import Path

from base.errors import InputError, TrainingError
from base.extras import install
from base.sources.walk import IMAGE_SUFFIXES

SAMPLE = re.compile(r"((?:.*/|)[^.]+)[.]([^/]*)", re.DOTALL)  # as the library: a sample's name ends at the first dot
META = re.compile(r"__[^/]*__($|/)")  # members that the library passes over
TEXTS = ("json", "txt", "caption")
SHARD_SUFFIXES = (".tar", ".tar.gz", ".tgz")


def is_shards(source: str) -> bool:
    """Whether a source is WebDataset shards: `a.tar`, `shards/{000..009}.tar.gz` or `shards/*.tar`."""
    return source.endswith(SHARD_SUFFIXES)


def caption_in(members: Mapping[str, bytes]) -> bytes:
    """The .txt of a sample, or else its .caption; empty if it has neither."""
    return members.get("txt") or members.get("caption", b"")


def expand_shards(source: str) -> list[str]:
    """The files that a source names by braces (`{000..009}.tar`) or wildcards (`*.tar`), each once, in order.

    Raises:
        InputError: a shard is not there.
        TrainingError: the library webdataset is not installed.
    """
    if Path(source).is_file():
        return [source]
    need_webdataset()
    from webdataset.shardlists import expand_urls

    try:
        patterns: list[str] = expand_urls(source)
    except (ValueError, AssertionError) as error:  # braces out of balance, a variable that is not set
        raise InputError(f"{source}: not a name of shards, as in shards/{{000..009}}.tar ({error})") from error
    found: dict[str, None] = {}
    for pattern in patterns:
        files = [pattern] if Path(pattern).is_file() else sorted(glob.glob(pattern))  # noqa: PTH207  keeps the name's form
        if not files:
            raise InputError(f"{pattern}: no such shard; shards are files on this machine or on a mounted disk")
        found.update(dict.fromkeys(files))
    return list(found)


def read_samples(shard: str, whole: Callable[[str], bool]) -> Iterator[tuple[str, dict[str, bytes]]]:
    """The samples of a shard by name: the bytes of each member by its suffix, in lower case.

    Args:
        shard: the file.
        whole: whether a member of that suffix is read; of another that is not empty one byte stands for all.

    Raises:
        InputError: it cannot be read, or is cut short.
    """
    name, members = "", dict[str, bytes]()
    try:
        with tarfile.open(shard) as tar:
            for member in tar:
                tar.members = []  # type: ignore[attr-defined]  # which would be held to the end otherwise
                found = SAMPLE.fullmatch(member.name)
                if not member.isreg() or not found or META.match(member.name):
                    continue
                if found[1] != name and members:
                    yield name, members
                    members = {}
                name, suffix = found[1], found[2].lower()
                file = tar.extractfile(member) if whole(suffix) else None
                members[suffix] = file.read() if file else bytes(min(1, member.size))
            # tarfile takes a header that is cut off, or none, for the end; the real one is two blocks of zeros.
            assert tar.fileobj is not None
            tar.fileobj.seek(tar.offset)
            if tar.fileobj.read(2 * tarfile.BLOCKSIZE) != bytes(2 * tarfile.BLOCKSIZE):
                raise InputError(f"{shard}: is cut short or damaged (no end-of-archive); copy it again or leave it out")
    except (OSError, EOFError, tarfile.TarError, zlib.error, LZMAError) as error:  # the last two of a packed one
        raise broken(shard, error) from error
    if members:
        yield name, members


def is_image(suffix: str) -> bool:
    """Whether a member of that suffix is a sample's image."""
    return not suffix.startswith("__") and f".{suffix.lower()}" in IMAGE_SUFFIXES


def broken(shard: str, error: Exception) -> InputError:
    """What to raise for a shard that cannot be read."""
    why = getattr(error, "strerror", None) or (error.args[0] if error.args else error)
    reason = " ".join(str(why).split())
    if reason.startswith("file could not be opened"):  # tarfile tells of each way that it tried
        reason = "is none, packed or not" if Path(shard).stat().st_size else "is empty"
    return InputError(f"{shard}: cannot be read as a tar file of samples ({reason}); copy it again or leave it out")


def need_webdataset() -> None:
    """Ask for the library before it is needed.

    Raises:
        TrainingError: it is not installed.
    """
    try:
        import webdataset  # noqa: F401
    except ImportError as error:
        raise TrainingError(f"shards need the library webdataset; {install('train')}") from error
