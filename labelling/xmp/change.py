"""Words of ours on their way to a sidecar or into an image: what would change, done whole or not at all, undone."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from base.files import NO_SPACE, whole_file
from base.sources.walk import RAW_SUFFIXES
from labelling.xmp.containers import JPEG_MOST, kind_of, metadata_of, packet_in, with_packet
from labelling.xmp.merge import (
    NEW_EMBEDDED,
    NEW_SIDECAR,
    is_nothing,
    marks,
    parse,
    people_words,
    with_extension,
    with_marks,
    written,
)
from labelling.xmp.read import embedded_words, iptc_words
from labelling.xmp.sidecar import SidecarName, read_sidecar, sidecar_of
from labelling.xmp.words import Origin, Parts, Word, XmpError, root_of

MOST_IMAGE_BYTES = 512 * 2**20
ROOT = "ai"
_TRAILER = re.compile(rb"""<\?xpacket end=["'][wr]["'] ?\?>[\s\0]*\Z""")


@dataclass(frozen=True, slots=True)
class Change:
    """What writing would change, or has changed: a journal keeps it, and `undone` takes it back.

    Attributes:
        image: the image that it is about.
        path: the file that changes: its sidecar (where a link leads), or the image itself.
        before: the XMP packet, None for none; of a sidecar all its bytes, None where there is no file.
        after: the same afterwards.
        embedded: whether it is inside of the image.
    """

    image: Path
    path: Path
    before: bytes | None
    after: bytes | None
    embedded: bool = False

    @property
    def is_needed(self) -> bool:
        """Whether anything changes."""
        return self.before != self.after

    def apply(self) -> None:
        """Do it: the file is replaced whole or stays as it is, with its mode, and with a new time.

        Its other names, where there are hard links to it, keep what it was.

        Raises:
            XmpError: the file is not as it was, is read-only, or cannot be written.
            OSError: the disk is full.
        """
        if not self.is_needed:
            return
        with _told_of(self.path):
            if self.embedded:
                data = _image_bytes(self.path)
                if packet_in(data) != self.before:
                    raise XmpError(self.path, "was changed meanwhile; run it again")
                _put(self.path, with_packet(data, self.after))
                return
            if read_sidecar(self.path) != self.before:
                raise XmpError(self.path, "was changed meanwhile; run it again")
            _put(self.path, self.after)


def plan_words(
    image: Path, words: Sequence[Word], origin: Origin, *, root: str = ROOT, sidecar: SidecarName = "auto"
) -> Change:
    """What writing words to an image's sidecar would change, in place of those of ours under the same root.

    Args:
        image: the image; it is read for words that are inside of it, never written.
        words: in place of what was written before; none: that goes.
        origin: kept beside each word.
        root: what the words are put under, "ai" or "ai/animals"; "": nothing.
        sidecar: its name, as `sidecar_of` has it.

    Raises:
        XmpError: the sidecar is no XMP, cannot be read or is another image's.
        InputError: a root that cannot be written.
    """
    under = root_of(root)
    path = _resolved(sidecar_of(image, sidecar))
    before = read_sidecar(path)
    with _told_of(path):
        base = before
        if base is None:
            is_shared = path.stem == image.stem
            base = with_extension(NEW_SIDECAR, image.suffix[1:]) if is_shared else NEW_SIDECAR
        return Change(image, path, before, _left(written(base, words, origin, under, lambda: _inside(image))))


def plan_embedded(image: Path, words: Sequence[Word], origin: Origin, *, root: str = ROOT) -> Change:
    """What writing words into the image file would change: JPEG, PNG and WebP. Arguments and errors as `plan_words`."""
    under = root_of(root)
    path = _resolved(image)
    if image.suffix.lower() in RAW_SUFFIXES:
        raise XmpError(image, "a camera's raw file is never written to; write a sidecar")
    with _told_of(image):
        data = _image_bytes(path)
        before = packet_in(data)
        metadata = metadata_of(path)
        if any(people_words(parse(extended)) for extended in metadata.extended):
            raise XmpError(image, "its keywords stand in XMP that is spread over several segments; write a sidecar")
        after = _left(written(before or NEW_EMBEDDED, words, origin, under, lambda: iptc_words(metadata)))
        if before is not None and after is not None and after != before:
            after = _fitted(after, len(before), JPEG_MOST if kind_of(data[:16]) == "JPEG" else None)
        change = Change(image, path, before, after, embedded=True)
        if change.is_needed:
            with_packet(data, after)  # says what is in the way
        return change


def undone(change: Change) -> Change:
    """What takes a change back: the bytes of before, or where others have written since, our words of before alone.

    Raises:
        XmpError: as `plan_words`.
    """
    with _told_of(change.path):
        now = packet_in(_image_bytes(change.path)) if change.embedded else read_sidecar(change.path)
        if now == change.after:
            return replace(change, before=now, after=change.before)
        if now == change.before or now is None:  # undone already, or deleted by somebody
            return replace(change, before=now, after=now)
        packet = parse(now)
        ours = marks(parse(change.before)) if change.before else []
        after = _left(with_marks(packet, ours, lambda: () if change.embedded else _inside(change.image)))
        return replace(change, before=now, after=after)


def _inside(image: Path) -> list[Parts]:
    """People's words inside of an image, for its sidecar: programs that read that pass them by."""
    with suppress(OSError):
        return embedded_words(image)
    return []


def _left(data: bytes) -> bytes | None:
    """A packet; None for one of ours that holds nothing any more."""
    return None if is_nothing(parse(data)) else data


def _fitted(packet: bytes, size: int, most: int | None) -> bytes:
    """A packet with more or less of its padding, to have the size of before: then nothing behind it moves."""
    end = packet.rfind(b"<?xpacket end=")
    if end < 0 or not _TRAILER.match(packet, end):
        return packet
    content = packet[:end].rstrip(b" \t\r\n")
    padding = packet[len(content) : end]
    bare = len(packet) - len(padding)
    wanted = size - bare if bare <= size else len(padding)
    if most is not None:
        wanted = max(0, min(wanted, most - bare))
    return content + padding[:wanted].ljust(wanted) + packet[end:]


def _resolved(path: Path) -> Path:
    """Where a link leads, so that what is written is the file and not the link."""
    try:
        return path.resolve(strict=path.is_symlink())
    except (OSError, RuntimeError) as error:
        is_long = isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG
        raise XmpError(path, "is too long a name" if is_long else "is a link that leads nowhere") from error


def _image_bytes(path: Path) -> bytes:
    if path.stat().st_size > MOST_IMAGE_BYTES:
        raise XmpError(path, f"is larger than {MOST_IMAGE_BYTES >> 20} MiB; write a sidecar")
    return path.read_bytes()


def _put(path: Path, data: bytes | None) -> None:
    """Put a file's new bytes in its place, None: remove it; with the mode, owner and attributes that it has."""
    try:
        status = path.stat()
    except FileNotFoundError:
        status = None
    if status and (not status.st_mode & 0o222 or not os.access(path, os.W_OK)):  # its mode binds root as well
        raise XmpError(path, "is read-only; make it writable, or leave it out")
    if data is None:
        path.unlink()
        return
    with whole_file(path) as part:
        part.write_bytes(data)
        if status:
            shutil.copystat(path, part)
            os.utime(part)


@contextmanager
def _told_of(path: Path) -> Iterator[None]:
    """Have an error name the file; one of the system becomes an XmpError, but for a full disk."""
    try:
        yield
    except XmpError as error:
        raise error if error.path else XmpError(path, error.reason) from error
    except OSError as error:
        if error.errno in NO_SPACE:  # ends a run; anything else is this one file's trouble
            raise
        raise XmpError(path, f"cannot be written: {error.strerror or error}") from error
