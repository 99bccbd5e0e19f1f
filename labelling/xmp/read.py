"""The words that a photo carries: of its sidecars, of the XMP and the IPTC inside of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

from labelling.xmp.containers import Metadata, metadata_of
from labelling.xmp.iptc import keywords
from labelling.xmp.merge import parse, people_words
from labelling.xmp.packet import Packet
from labelling.xmp.sidecar import Opened, read_sidecar, sidecars_there
from labelling.xmp.words import Parts, Word, XmpError, merged, path_of

_BY_DECODER = frozenset(".heic .heics .heif .heifs .hif .avif .avifs".split())


def read_words(image: Path, opened: Opened = nullcontext) -> list[Word]:
    """The words that people gave a photo, each once. Hierarchical ones say more than flat ones; ours are left out.

    Args:
        image: the photo.
        opened: gives a name to read a file by, or an OSError for what must not be read.

    Raises:
        XmpError: a sidecar cannot be read. What is inside of the image is read as far as it can be.
        OSError: the image cannot be read.
    """
    paths: list[Parts] = []
    for _, packet in _sidecar_packets(image, opened):
        paths += people_words(packet)
    paths += embedded_words(image, opened)
    deep, flat = [path for path in paths if len(path) > 1], [path for path in paths if len(path) == 1]
    return [Word(path) for path in merged(deep, flat)]


def embedded_words(image: Path, opened: Opened = nullcontext) -> list[Parts]:
    """The words that people put inside of an image file, as far as they can be read. OSError."""
    metadata = _metadata(image, opened)
    paths = [path for packet in _embedded(metadata) for path in people_words(packet)]
    return merged(paths, iptc_words(metadata))


def iptc_words(metadata: Metadata) -> list[Parts]:
    """The words of its IPTC."""
    return [path for text in keywords(metadata.iptc) if (path := path_of(text.split("|")))]


def _metadata(image: Path, opened: Opened = nullcontext) -> Metadata:
    with opened(image) as held:
        if image.suffix.lower() not in _BY_DECODER:
            return metadata_of(held)
        from encoder.picture.xmp import xmp_packet

        return Metadata(xmp=xmp_packet(held))


def _embedded(metadata: Metadata) -> Iterator[Packet]:
    for data in (metadata.xmp, *metadata.extended):
        if data:
            try:
                yield parse(data)
            except XmpError:
                continue


def _sidecar_packets(image: Path, opened: Opened = nullcontext) -> Iterator[tuple[Path, Packet]]:
    for path in sidecars_there(image):
        if data := read_sidecar(path, opened):
            try:
                yield path, parse(data)
            except XmpError as error:
                raise XmpError(path, error.reason) from error
