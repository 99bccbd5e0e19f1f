"""What `glimpse label` does as a run, which is kept: it goes on where it was, and can be taken back."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import typer

from base.sources.walk import check_folder
from encoder.encoder import Encoder
from encoder.lazy import open_encoder
from glimpse import __version__, console
from glimpse.labelling import view
from glimpse.labelling.stream import STDOUT, What, output
from labelling.outputs.asked import OutputsAsked
from labelling.runs.deciding import LabelsAsked
from labelling.runs.kept import LabelRuns
from labelling.runs.report import Going, SourceAsked
from labelling.runs.sources import CollectionSource, FolderSource, Source

if TYPE_CHECKING:
    from index.collection import Collection


NAMED = 5  # steps of an output that a dry run prints


class Wanted(NamedTuple):
    """How a run is to be done and told of."""

    dry: bool
    overwrite: bool
    to_stdout: bool
    as_json: bool


def run(what: What, outputs: OutputsAsked, wanted: Wanted) -> None:
    """Label by a run, which is kept unless it writes nothing but to standard output."""
    if what.folder is not None:
        check_folder(what.folder)
    folder = str(what.folder.resolve()) if what.folder else None
    nothing_kept = not outputs.to_json()
    with ExitStack() as open_:
        source, collection = _source(what, open_, writable=outputs.metadata is not None and not wanted.dry)
        data = Path(open_.enter_context(tempfile.TemporaryDirectory())) if nothing_kept else what.data
        kept_as = SourceAsked(folder=folder) if folder else SourceAsked(collection=what.collection)
        run = open_.enter_context(LabelRuns(data).make(kept_as, outputs))
        labels = LabelsAsked(what.label_set, what.scores)
        with console.progress_bars() as watch:
            tool, named = f"glimpse {__version__}", None if wanted.as_json else NAMED
            going = Going(wanted.overwrite, wanted.dry, watch, tool, named)
            report, labeller = run.go_on(source, labels, collection, going)
        if labeller is not None:
            console.print_warnings(labeller.classifier.warnings())
        if wanted.to_stdout:
            with output(STDOUT) as table:
                table.write(run.images())
        kept = None if nothing_kept else data
        view.print_report(
            report, outputs, dry=wanted.dry, as_json=wanted.as_json, kept=kept, rows_told=wanted.to_stdout
        )
    if report.failures or not report.labels.labelled + report.labels.abstained:
        raise typer.Exit(1)


def _source(what: What, open_: ExitStack, *, writable: bool) -> tuple[Source, Collection | None]:
    """What a run reads, and the collection if it is one."""
    if what.collection is not None:
        from index.collection import open_collection

        collection = open_.enter_context(open_collection(what.data, what.collection, writable=writable))
        ref = what.model or collection.model
        fingerprint = collection.fingerprint

        def texts() -> Encoder:
            encoder = what.texts(ref, None if what.model else fingerprint)
            collection.check_model(encoder.fingerprint)
            return encoder

        return CollectionSource(collection, texts), collection
    assert what.folder is not None
    model = str(what.model)
    encoder = open_encoder(model, what.device, what.precision)
    source = FolderSource(what.folder.resolve(), what.rules, encoder, lambda: what.texts(model, encoder.fingerprint))
    return source, None
