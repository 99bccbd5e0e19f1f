"""Words written to a photo as a labelling run writes them, planned and then done; and those that were, read back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from labelling.xmp.change import ROOT, Change, plan_embedded, plan_words
from labelling.xmp.containers import metadata_of
from labelling.xmp.merge import Mark, marks, parse
from labelling.xmp.sidecar import SidecarName, sidecars_there
from labelling.xmp.words import Origin, Word


def write_words(
    image: Path, words: Sequence[Word], origin: Origin, *, root: str = ROOT, sidecar: SidecarName = "auto"
) -> Change:
    """Into its sidecar."""
    change = plan_words(image, words, origin, root=root, sidecar=sidecar)
    change.apply()
    return change


def embed_words(image: Path, words: Sequence[Word], origin: Origin, *, root: str = ROOT) -> Change:
    """Into the image file."""
    change = plan_embedded(image, words, origin, root=root)
    change.apply()
    return change


def read_marks(image: Path) -> list[tuple[Path, Mark]]:
    """Ours, each with the file that it stands in."""
    metadata = metadata_of(image)
    packets = [(path, path.read_bytes()) for path in sidecars_there(image)]
    packets += [(image, data) for data in (metadata.xmp, *metadata.extended) if data]
    return [(path, mark) for path, data in packets for mark in marks(parse(data))]
