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
from typing import TYPE_CHECKING, Any, TextIO, cast

import typer

from base.errors import InputError
from base.sources.rules import Rules
from base.sources.tables import some_of
from base.sources.walk import check_folder, image_names, no_images
from glimpse import console
from glimpse.labelling import view
from labelling.label_sets import LabelSet
from labelling.outputs.table import LabelTable, LateLabelTable, check_table, write_rows
from labelling.rows import Answer, Labelled, LabelReport, images_below, label_images

if TYPE_CHECKING:
    from encoder.encoder import Encoder
    from encoder.zero_shot.classifier import ScoredBy

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


@dataclass(frozen=True)
class AtService:
    """What a service is asked: labels, or those that it keeps under a name.

    Attributes:
        label_set: the labels; None: those of the service's own set `name`.
        model: by its name there; None: the one that learned the label set, else the service's default one.
    """

    url: str
    label_set: LabelSet | None
    name: str | None
    templates: tuple[str, ...]
    scores: ScoredBy | None
    abstain: bool
    model: str | None = None

    def request(self) -> dict[str, Any]:
        """As `Client.classify` takes it. InputError: labels that cannot be sent."""
        asked: dict[str, Any] = {"scores": self.scores, "abstain": self.abstain, "model": self.model}
        if self.label_set is None:
            return asked | {"label_set": self.name, "templates": self.templates}
        if own := [label.name for label in self.label_set.labels if label.prompts]:
            raise InputError(
                f"{some_of(own)}: prompts of a label's own are not sent with images; have the service keep them as a "
                "label set (PUT /v1/label-sets/NAME), and give --label-set NAME"
            )
        return asked | {
            "labels": [label.text for label in self.label_set.labels], "templates": self.label_set.templates
        }  # fmt: skip


def stream(what: What, out: Path, *, as_json: bool) -> None:
    """Label a folder with nothing kept: the rows are written as they come."""
    from encoder.model.load import load_encoder
    from labelling.labeller import build_labeller

    assert what.folder is not None
    total = _count(what.folder, what.rules)
    report = LabelReport(per_label=dict.fromkeys(what.label_set.names, 0))
    encoder = load_encoder(str(what.model), what.device, what.precision)
    with console.progress_bar("preparing texts") as prepare:
        labeller = build_labeller(encoder, what.label_set, what.scores, progress=prepare)
    console.print_warnings(labeller.classifier.warnings())
    batches = label_images(encoder, labeller, images_below(what.folder, report, what.rules))
    _write(batches, report, total, out, as_json=as_json)


def stream_from_service(folder: Path, rules: Rules, asked: AtService, out: Path, *, as_json: bool) -> None:
    """The same with a service's model. InputError for an `out` that is another table."""
    if out != STDOUT:
        check_table(out, "--out")
    total = _count(folder, rules)
    names = asked.label_set.names if asked.label_set else ()
    report = LabelReport(per_label=dict.fromkeys(names, 0))
    _write(_at_service(folder, rules, asked, report), report, total, out, as_json=as_json)


def _count(folder: Path, rules: Rules) -> int:
    """How many images there are. InputError: none."""
    check_folder(folder)
    if not (total := sum(1 for _ in image_names(folder, rules))):
        raise InputError(no_images([folder], rules))
    return total


def _write(batches: Iterator[list[Labelled]], report: LabelReport, total: int, out: Path, *, as_json: bool) -> None:
    with output(out) as table, console.progress_bar("labelling") as bar:
        for _ in write_rows(batches, table, report):
            bar(report.done + len(report.unread), total)
    view.print_labels(report, [] if out == STDOUT else [str(out)], as_json=as_json)
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


def _at_service(folder: Path, rules: Rules, asked: AtService, report: LabelReport) -> Iterator[list[Labelled]]:
    """Have a service label; it is there and takes our key when this returns. The rows come as its answers do."""
    from glimpse.client import Client

    request = asked.request()
    service = Client(asked.url)
    service.info()

    def rows() -> Iterator[list[Labelled]]:
        with service:
            for image in service.classify(images_below(folder, report, rules), **request):
                if image.cut_texts and not report.cut_texts:
                    report.cut_texts = image.cut_texts
                    console.print_warnings(image.warnings)
                path = Path(str(image.image))
                answers = tuple(Answer(label, score) for label, score in image.labels.items())
                if not answers and not image.abstained:
                    yield [Labelled(path, error=image.error or "the service said nothing of it")]
                    continue
                likeliest = next(iter(image.scores.items()), None)
                guess = Answer(*likeliest) if likeliest else None
                yield [Labelled(path, answers, answers[0] if answers else guess, cut_off=image.cut_off or "")]

    return rows()
