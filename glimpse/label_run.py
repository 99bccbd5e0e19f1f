"""What `glimpse label` does once it is known what is asked: rows as they come, or a run that is kept."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import TextIOBase
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TextIO, cast

import typer

from base.errors import InputError
from base.rules import Rules
from base.walk import check_folder, image_names, no_images
from encoder.encoder import Encoder
from encoder.lazy import open_encoder
from encoder.query import query_encoder
from encoder.zero_shot import ScoredBy
from glimpse import __version__, console, label_view
from labelling.label_sets import LabelSet
from labelling.labeller import build_labeller
from labelling.outputs.asked import OutputsAsked
from labelling.outputs.table import LabelTable, LateLabelTable, write_rows
from labelling.rows import Answer, Labelled, LabelReport, images_left, label_images
from labelling.runs.deciding import LabelsAsked
from labelling.runs.report import Going, SourceAsked
from labelling.runs.run import LabelRuns
from labelling.runs.sources import CollectionSource, FolderSource, Source

if TYPE_CHECKING:
    from index.collection import Collection

STDOUT = Path("-")


class Wanted(NamedTuple):
    """How a run is to be done and told of."""

    dry: bool
    overwrite: bool
    to_stdout: bool
    as_json: bool


@dataclass(frozen=True)
class What:
    """What is labelled, by what, and with which labels."""

    data: Path
    folder: Path | None
    collection: str | None
    model: str | None
    device: str
    precision: str
    rules: Rules
    label_set: LabelSet
    scores: ScoredBy | None

    def texts(self, ref: str, fingerprint: str | None) -> Encoder:
        """What encodes the labels, from a cold start."""
        if self.device == self.precision == "auto":
            return query_encoder(ref, fingerprint, images=False)
        return open_encoder(ref, self.device, self.precision)


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
        with label_view.bar() as watch:
            going = Going(wanted.overwrite, wanted.dry, watch, f"glimpse {__version__}")
            report, labeller = run.go_on(source, labels, collection, going)
        if labeller is not None:
            console.print_warnings(labeller.classifier.cut.warnings())
        if wanted.to_stdout:
            with _output(STDOUT) as table:
                table.write(run.images())
        kept = None if nothing_kept else data
        label_view.print_report(report, outputs, dry=wanted.dry, as_json=wanted.as_json, kept=kept)
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


def stream(what: What, url: str | None, out: Path, *, as_json: bool) -> None:
    """Label a folder with nothing kept: the rows are written as they come."""
    assert what.folder is not None
    check_folder(what.folder)
    total = sum(1 for _ in image_names(what.folder, what.rules))
    if not total:
        raise InputError(no_images([what.folder], what.rules))
    report = LabelReport(per_label=dict.fromkeys(what.label_set.names, 0))
    if url is not None:
        batches = _at_service(url, what, report)
    else:
        from encoder.load import load_encoder

        encoder = load_encoder(str(what.model), what.device, what.precision)
        with console.progress_bar("preparing texts") as prepare:
            labeller = build_labeller(encoder, what.label_set, what.scores, progress=prepare)
        console.print_warnings(labeller.classifier.cut.warnings())
        batches = label_images(encoder, labeller, images_left(what.folder, report, what.rules))
    with _output(out) as table, console.progress_bar("labelling") as bar:
        for _ in write_rows(batches, table, report):
            bar(report.done + len(report.unread), total)
    label_view.print_labels(report, [] if out == STDOUT else [str(out)], as_json=as_json)
    if not report.labelled + report.abstained:
        raise typer.Exit(1)


@contextmanager
def _output(out: Path) -> Iterator[LabelTable | LateLabelTable]:
    """Where the rows go. A terminal gets them with what it would obey escaped."""

    class Terminal(TextIOBase):
        def write(self, text: str) -> int:
            return sys.stdout.write(console.shown_as(text.rstrip("\r\n"), terminal=True) + "\n")

        def flush(self) -> None:
            sys.stdout.flush()

    if out == STDOUT:
        yield LabelTable(cast("TextIO", Terminal()) if sys.stdout.isatty() else sys.stdout)
        return
    with LateLabelTable(out) as table:
        yield table


def _at_service(url: str, what: What, report: LabelReport) -> Iterator[list[Labelled]]:
    """Have a service label; it is there and takes our key when this returns. The rows come as its answers do."""
    from glimpse.client import Client

    service = Client(url)
    service.info()

    def rows() -> Iterator[list[Labelled]]:
        assert what.folder is not None
        with service:
            images = images_left(what.folder, report, what.rules)
            names, templates = what.label_set.names, what.label_set.templates
            for image in service.classify(images, names, templates=templates, scores=what.scores):
                if image.cut_texts and not report.cut_texts:
                    report.cut_texts = image.cut_texts
                    console.print_warnings(image.warnings)
                path = Path(str(image.image))
                if image.label is None:
                    yield [Labelled(path, error=image.error or "the service said nothing of it")]
                else:
                    answer = Answer(image.label, image.score or 0.0)
                    yield [Labelled(path, (answer,), answer, cut_off=image.cut_off or "")]

    return rows()
