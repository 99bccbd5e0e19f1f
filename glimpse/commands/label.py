"""`glimpse label`: a folder of images, with a model on this machine or with a service's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOBase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO, cast

import typer

from base.errors import InputError
from glimpse.options import (
    AnyName,
    AsJson,
    Device,
    Exclude,
    FollowLinks,
    Labels,
    LabelsFile,
    ModelIfLocal,
    Precision,
    Scores,
    Template,
    Url,
    check_out,
    given_labels,
    is_remote,
)

if TYPE_CHECKING:
    from base.rules import Rules
    from encoder.encoder import Encoder
    from encoder.zero_shot import ScoredBy
    from labelling.label_sets import LabelSet
    from labelling.labeller import Labeller
    from labelling.rows import Labelled, LabelReport
    from labelling.table import LabelTable, LateLabelTable


def label(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="Folder of images; subfolders are included.")],
    model: ModelIfLocal = None,
    labels: Labels = None,
    labels_file: LabelsFile = None,
    template: Template = None,
    scores: Scores = None,
    out: Annotated[Path, typer.Option(help="CSV to write: path,label,score. - is standard output.")] = Path("-"),
    exclude: Exclude = None,
    follow_links: FollowLinks = False,
    any_name: AnyName = False,
    device: Device = "auto",
    precision: Precision = "auto",
    url: Url = None,
    json: AsJson = False,
) -> None:
    """Label each image of a folder with the likeliest of your labels (zero-shot; no training needed)."""
    from base.rules import Rules
    from base.walk import check_folder, image_names, no_images
    from glimpse import console
    from labelling.label_sets import LabelSet
    from labelling.rows import LabelReport, images_left, label_images
    from labelling.table import write_rows

    if (labels is None) == (labels_file is None):
        raise InputError('give either --labels "cat,dog" or --labels-file FILE')
    to_stdout = str(out) == "-"
    if json and to_stdout:
        raise InputError("--json prints a summary: write the labels to a file with --out labels.csv")
    label_set = LabelSet.of(given_labels(labels, labels_file), templates=template or ())
    check_folder(folder)
    if not to_stdout:
        check_out(out, "labels.csv")
    remote = url is not None and is_remote(context)
    if not remote and model is None:
        raise InputError("give the model that is to label, as in --model runs/clothes, or a service with --url")
    rules = Rules(tuple(exclude or ()), follow_links, any_name)
    total = sum(1 for _ in image_names(folder, rules))
    if not total:
        raise InputError(no_images([folder], rules))
    report = LabelReport(per_label=dict.fromkeys(label_set.names, 0))
    if remote:
        batches = _at_service(str(url), folder, rules, label_set, scores, report)
    else:
        encoder, labeller = _here(str(model), device, precision, label_set, scores)
        report.cut_texts = len(labeller.classifier.cut.read)
        batches = label_images(encoder, labeller, images_left(folder, report, rules))
    with _output(out) as table, console.progress_bar("labelling") as bar:
        for _ in write_rows(batches, table, report):
            bar(report.done + len(report.unread), total)
    skipped = report.unread + report.skips
    if json:
        console.print_json(
            {
                "out": str(out),
                "labelled": report.labelled,
                "labels": report.per_label,
                "cut_texts": report.cut_texts,
                "skipped": [{"path": path, "reason": reason} for path, reason in skipped],
                "cut_off": [{"path": path, "reason": reason} for path, reason in report.cuts],
                "left_out": report.left_out.as_json(),
            }
        )
    else:
        console.print_skipped(skipped)
        console.print_left_out(report.left_out)
        console.print_cut_off(report.cuts)
        console.err.print(f"{report.labelled} images labelled, {len(skipped)} skipped")
    if not report.labelled:
        console.err.print("no image could be labelled" + ("" if to_stdout else f"; nothing is written to {out}"))
        raise typer.Exit(1)
    if not json and not to_stdout:
        rows = sorted(report.per_label.items(), key=lambda item: -item[1])
        console.out.print(console.table("label", "images", rows=rows))


@contextmanager
def _output(out: Path) -> Iterator[LabelTable | LateLabelTable]:
    """Where the rows go. A terminal gets them with what it would obey escaped."""
    import sys

    from glimpse.console import shown_as
    from labelling.table import LabelTable, LateLabelTable

    class Terminal(TextIOBase):
        def write(self, text: str) -> int:
            return sys.stdout.write(shown_as(text.rstrip("\r\n"), terminal=True) + "\n")

        def flush(self) -> None:
            sys.stdout.flush()

    if str(out) == "-":
        yield LabelTable(cast("TextIO", Terminal()) if sys.stdout.isatty() else sys.stdout)
        return
    with LateLabelTable(out) as table:
        yield table


def _here(
    model: str, device: str, precision: str, label_set: LabelSet, scores: ScoredBy | None
) -> tuple[Encoder, Labeller]:
    """A model on this machine, and what it labels with."""
    from encoder.load import load_encoder
    from glimpse import console
    from labelling.labeller import build_labeller

    encoder = load_encoder(model, device, precision)
    labeller = build_labeller(encoder, label_set, scores)
    console.print_warnings(labeller.classifier.cut.warnings())
    return encoder, labeller


def _at_service(
    url: str, folder: Path, rules: Rules, label_set: LabelSet, scores: ScoredBy | None, report: LabelReport
) -> Iterator[list[Labelled]]:
    """Have a service label; it is there and takes our key when this returns. The rows come as its answers do."""
    from glimpse import console
    from glimpse.client import Client
    from labelling.rows import Answer, Labelled, images_left

    service = Client(url)
    service.info()

    def rows() -> Iterator[list[Labelled]]:
        with service:
            images = images_left(folder, report, rules)
            for image in service.classify(images, label_set.names, templates=label_set.templates, scores=scores):
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
