"""Labels a folder and writes the rows as they come: what `glimpse label` does where nothing is kept.

A service may be the one that labels; then this needs no model, and none of its libraries.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import TextIOBase
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, cast

import typer

from base.errors import InputError
from base.rules import Rules
from base.walk import check_folder, image_names, no_images
from glimpse import console, label_view
from labelling.label_sets import LabelSet
from labelling.outputs.table import LabelTable, LateLabelTable, write_rows
from labelling.rows import Answer, Labelled, LabelReport, images_below, label_images

if TYPE_CHECKING:
    from encoder.encoder import Encoder
    from encoder.zero_shot import ScoredBy

STDOUT = Path("-")


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
        from encoder.lazy import open_encoder
        from encoder.query import query_encoder

        if self.device == self.precision == "auto":
            return query_encoder(ref, fingerprint, images=False)
        return open_encoder(ref, self.device, self.precision)


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
        from labelling.labeller import build_labeller

        encoder = load_encoder(str(what.model), what.device, what.precision)
        with console.progress_bar("preparing texts") as prepare:
            labeller = build_labeller(encoder, what.label_set, what.scores, progress=prepare)
        console.print_warnings(labeller.classifier.cut.warnings())
        batches = label_images(encoder, labeller, images_below(what.folder, report, what.rules))
    with output(out) as table, console.progress_bar("labelling") as bar:
        for _ in write_rows(batches, table, report):
            bar(report.done + len(report.unread), total)
    label_view.print_labels(report, [] if out == STDOUT else [str(out)], as_json=as_json)
    if not report.labelled + report.abstained:
        raise typer.Exit(1)


@contextmanager
def output(out: Path) -> Iterator[LabelTable | LateLabelTable]:
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
            images = images_below(what.folder, report, what.rules)
            names, templates = what.label_set.names, what.label_set.templates
            for image in service.classify(images, names, templates=templates, scores=what.scores):
                if image.cut_texts and not report.cut_texts:
                    report.cut_texts = image.cut_texts
                    console.print_warnings(image.warnings)
                path = Path(str(image.image))
                if image.abstained:
                    yield [Labelled(path, cut_off=image.cut_off or "")]
                elif image.label is None:
                    yield [Labelled(path, error=image.error or "the service said nothing of it")]
                else:
                    answer = Answer(image.label, image.score or 0.0)
                    yield [Labelled(path, (answer,), answer, cut_off=image.cut_off or "")]

    return rows()
