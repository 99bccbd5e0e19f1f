"""Labelling runs as a service has them: what they may read and write, and where their vectors come from.

The runs are those of `glimpse label`, in the same data folder. Knows no HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from base.extras import product_version
from base.sources.rules import Rules
from encoder.encoder import Encoder
from index.collection import Collection
from labelling.outputs.asked import OutputsAsked, write_list
from labelling.runs.kept import LabelRuns
from labelling.runs.report import RunInfo
from labelling.runs.sources import CollectionSource, FolderSource, Source
from service.jobs.roots import Roots

TOOL = f"glimpse {product_version()}"


def label_runs(data: Path, roots: Roots, *, read_only: bool = False) -> LabelRuns:
    """The runs of a data folder; they change nothing outside of the roots."""
    return LabelRuns(data, roots.judge, read_only=read_only)


def check_run(roots: Roots, info: RunInfo) -> None:
    """FolderRefused if a run has what it reads or writes where nothing may be read or written."""
    writes_beside = info.outputs.to is not None or info.outputs.words is not None
    if info.source.folder is not None and writes_beside:
        roots.folder(info.source.folder)
    check_outputs(roots, info.outputs)


def check_outputs(roots: Roots, outputs: OutputsAsked) -> None:
    """FolderRefused for files or folders that would lie outside of the roots. InputError: files of no known kind."""
    for file in outputs.files:
        write_list(Path(file))
        roots.folder(str(Path(file).parent))
        roots.check(Path(file))
    if outputs.to is not None:
        roots.check(Path(outputs.to))


def outputs_of(request: Mapping[str, Any]) -> OutputsAsked:
    """Which outputs a label job has, as it was asked; one of an earlier version has none."""
    return OutputsAsked(
        tuple(request.get("out") or ()),
        request.get("to"),
        request.get("how") or "copy",
        "sidecar" if request.get("xmp") else None,
        metadata=request.get("write_metadata"),
    )


def source_of(info: RunInfo, encoder: Encoder, collection: Collection | None) -> Source:
    """What a run's vectors are taken from; `encoder` encodes the labels. It is not read anew. ModelMismatch."""
    if collection is not None:
        collection.check_model(encoder.fingerprint)
        return CollectionSource(collection, lambda: encoder)
    return FolderSource(Path(str(info.source.folder)), Rules(), encoder, lambda: encoder)
