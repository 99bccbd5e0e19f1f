"""The file of a whole backup: a tar, whose last member, manifest.json, names every other with its SHA-256.

    keys.json  signing.key  jobs/...  label-sets/...  label-runs/...  collections/NAME.glimpse ...  manifest.json

Each collections/NAME.glimpse is what `glimpse collections backup` writes. Uncompressed: vectors and pictures hardly get
smaller. A reader takes regular files under these names alone, each once, and none that the manifest does not name.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from io import BytesIO
from pathlib import Path
from typing import IO, Any

from base.errors import GlimpseError, InputError
from base.names import NAME
from index.backup import UPLOADS, WHOLE
from service.backup.contents import COLLECTIONS, FOLDERS, SECRETS

FORMAT = 1
MANIFEST = "manifest.json"
LARGEST_MANIFEST = 256 << 20  # bytes: a million files
ENDING = ".glimpse"
_PIECE = 1 << 20
_ONE = r"[A-Za-z0-9_][\w.@+-]{0,200}"  # a part of a name
_NAMES = re.compile(
    rf"(?:{'|'.join(map(re.escape, SECRETS))})|(?:{'|'.join(FOLDERS)})(?:/{_ONE}){{1,3}}"
    rf"|{COLLECTIONS}/{NAME.pattern}{re.escape(ENDING)}",
    re.ASCII,
)


class BackupDamaged(GlimpseError):
    """A backup that is not as it was written, or none at all."""

    code = "backup_damaged"


@dataclass(frozen=True, slots=True)
class Member:
    """A file of a backup."""

    name: str
    bytes: int
    sha256: str
    mode: int  # permissions, as 0o600


@dataclass(frozen=True, slots=True)
class Held:
    """What a collection of a backup has."""

    entries: int
    model: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup says of itself.

    Attributes:
        format: of the archive.
        glimpse: the version that wrote it.
        created_at: ISO 8601, UTC.
        data: the data folder that it is of.
        members: its files but the manifest, in their order.
        collections: by name.
        left_out: names in the data folder that are not glimpse's, or are links.
        deleted: collections that were deleted while it was written.
        without: collections that were left out as asked.
    """

    format: int
    glimpse: str
    created_at: str
    data: str
    members: tuple[Member, ...]
    collections: dict[str, Held]
    left_out: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)  # of what else there is: keys, jobs, label sets, label runs

    @property
    def checksum(self) -> str:
        """Of all that it says; 64 hex digits."""
        return _checksum(asdict(self))

    def to_json(self) -> dict[str, Any]:
        """It, with a checksum of itself."""
        return {**asdict(self), "sha256": self.checksum}

    @classmethod
    def of_json(cls, content: dict[str, Any]) -> Manifest:
        """The same back. ValueError, TypeError or KeyError if it is none, or another than was written."""
        said = content.pop("sha256")
        if said != _checksum(content):
            raise ValueError("it is not what was written")
        members = tuple(Member(**one) for one in content.pop("members"))
        collections = {name: Held(**one) for name, one in content.pop("collections").items()}
        content |= {name: tuple(content.pop(name)) for name in ("left_out", "deleted", "without")}
        return cls(members=members, collections=collections, **content)


def collection_member(name: str) -> str:
    """The name of the file of a collection."""
    return f"{COLLECTIONS}/{name}{ENDING}"


class ArchiveWriter:
    """Writes a backup to an open file, a member after the other.

    Args:
        file: to write to.
        told: called with the bytes of each piece.
    """

    def __init__(self, file: IO[bytes], told: Callable[[int], None]) -> None:
        headers = {WHOLE: str(FORMAT)}
        # a file is its bytes, whoever links to it
        self._tar = tarfile.open(fileobj=file, mode="w", pax_headers=headers, dereference=True)  # noqa: SIM115
        self._told = told
        self.members: list[Member] = []

    def add(self, path: Path, name: str) -> bool:
        """Add a file as it is now, to the length that it has now; False if it is gone. OSError.

        InputError for a name that no backup can have.
        """
        if not _NAMES.fullmatch(name):
            raise InputError(f"{path}: a file of this name cannot be kept in a backup; rename or remove it")
        try:
            with path.open("rb") as source:
                info = self._tar.gettarinfo(arcname=name, fileobj=source)
                info.uid = info.gid = 0
                info.uname = info.gname = ""
                hashed = _Hashed(source, self._told)
                self._tar.addfile(info, hashed)
        except FileNotFoundError:
            return False
        self.members.append(Member(name, info.size, hashed.sha256, info.mode & 0o777))
        return True

    def close(self, manifest: Manifest) -> None:
        """Add the manifest, and end."""
        content = json.dumps(manifest.to_json(), indent=1).encode()
        info = tarfile.TarInfo(MANIFEST)
        info.size = len(content)
        info.mode = 0o600
        self._tar.addfile(info, BytesIO(content))
        self._tar.close()


class ArchiveReader:
    """An open backup, whose names and manifest have been checked; not its bytes, which `read` checks.

    Attributes:
        manifest: what it says of itself.
    """

    def __init__(self, file: Path, tar: tarfile.TarFile) -> None:
        self._file = file
        found: dict[str, tarfile.TarInfo] = {}
        for info in tar:
            if not info.isreg() or not (_NAMES.fullmatch(info.name) or info.name == MANIFEST) or info.name in found:
                raise BackupDamaged(f"{file} is no backup: it has {info.name[:100]!r} in it, which none has")
            found[info.name] = info
        last = found.pop(MANIFEST, None)
        if last is None:
            raise BackupDamaged(f"{file} is cut off: it ends before its manifest; take an earlier backup")
        self.manifest = self._read_manifest(tar, last)
        named = {member.name: member for member in self.manifest.members}
        collections = {collection_member(name) for name in self.manifest.collections}
        if found.keys() != named.keys() or collections != {name for name in named if name.startswith(COLLECTIONS)}:
            raise self._damaged("its manifest names other files than it has")
        self._found = found
        self._tar = tar

    def read(
        self, member: Member, put: Callable[[IO[bytes]], None], told: Callable[[int], None] = lambda size: None
    ) -> None:
        """Give a file to `put`, which reads it to its end, and check its bytes, told of as they come. BackupDamaged."""
        source = self._tar.extractfile(self._found[member.name])
        assert source is not None
        hashed = _Hashed(source, told)
        try:
            put(hashed)  # type: ignore[arg-type]  # it is read, and nothing else
        except tarfile.ReadError as error:
            raise self._damaged(f"{member.name}: {error}") from error
        if (hashed.sha256, hashed.bytes) != (member.sha256, member.bytes):
            raise self._damaged(f"{member.name} has other bytes than were written")

    def _read_manifest(self, tar: tarfile.TarFile, info: tarfile.TarInfo) -> Manifest:
        source = tar.extractfile(info)
        try:
            if source is None or info.size > LARGEST_MANIFEST:
                raise ValueError("it is too large")
            content = json.loads(source.read())
            if isinstance(content.get("format"), int) and content["format"] > FORMAT:
                raise InputError(
                    f"{self._file}: written by a newer glimpse ({content.get('glimpse')}, format {content['format']}; "
                    f"this one knows {FORMAT}); upgrade this one"
                )
            return Manifest.of_json(content)
        except InputError:
            raise
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, tarfile.TarError) as error:
            raise self._damaged(f"its manifest cannot be read ({error})") from error

    def _damaged(self, why: str) -> BackupDamaged:
        return BackupDamaged(f"{self._file} is damaged: {why}; take an earlier backup")


@contextmanager
def opened(file: Path) -> Iterator[ArchiveReader]:
    """A backup to read.

    Raises:
        InputError: no such file, or the backup of one collection, or of a newer glimpse.
        BackupDamaged: it is none, or damaged.
    """
    if not file.is_file():
        raise InputError(f"{file}: no such file")
    try:
        with tarfile.open(file, "r:") as tar:
            if WHOLE not in tar.pax_headers:
                _refuse(file, one_collection=UPLOADS in tar.pax_headers)
            yield ArchiveReader(file, tar)
    except (tarfile.TarError, EOFError) as error:
        with file.open("rb") as beginning:
            one = beginning.read(16) == b"SQLite format 3\0"
        if isinstance(error, tarfile.ReadError) and (one or not tarfile.is_tarfile(file)):
            _refuse(file, one_collection=one)
        raise BackupDamaged(f"{file} is damaged: {error}; take an earlier backup") from error


def _refuse(file: Path, *, one_collection: bool) -> None:
    if one_collection:
        raise InputError(f"{file}: the backup of one collection; glimpse collections restore {file}")
    raise BackupDamaged(f"{file} is no backup of a data folder")


class _Hashed:
    """A file that is read and hashed at once."""

    def __init__(self, source: IO[bytes], told: Callable[[int], None]) -> None:
        self._source = source
        self._told = told
        self._hash = hashlib.sha256()
        self.bytes = 0

    def read(self, size: int = -1) -> bytes:
        piece = self._source.read(size)
        self._hash.update(piece)
        self.bytes += len(piece)
        self._told(len(piece))
        return piece

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()


def read_through(source: IO[bytes]) -> None:
    """Read a file and keep nothing of it."""
    while source.read(_PIECE):
        pass


def write_out(source: IO[bytes], path: Path) -> None:
    """Write what is read to a new file. OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as target:
        shutil.copyfileobj(source, target, _PIECE)


def _checksum(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
