"""`glimpse label`: a folder of images, with a model on this machine or with a service's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TextIO

import typer

from base.errors import InputError
from glimpse.options import AsJson, Device, Labels, ModelIfLocal, Precision, Template, Url, is_remote, labels_of

if TYPE_CHECKING:
    from encoder.encoder import Encoder
    from encoder.zero_shot import Classifier, ScoredBy
    from labelling.label_sets import LabelSet
    from labelling.rows import Labelled, LabelReport


def label(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="Folder of images; subfolders are included.")],
    model: ModelIfLocal = None,
    labels: Labels = None,
    labels_file: Annotated[Path | None, typer.Option(help="The same from a file, one label a line.")] = None,
    template: Template = None,
    scores: Annotated[
        Literal["softmax", "sigmoid"] | None,
        typer.Option(help="One of the labels, or each on its own.", show_default="as the model was trained"),
    ] = None,
    out: Annotated[Path, typer.Option(help="CSV to write: path,label,score. - is standard output.")] = Path("-"),
    device: Device = "auto",
    precision: Precision = "auto",
    url: Url = None,
    json: AsJson = False,
) -> None:
    """Label each image of a folder with the likeliest of your labels (zero-shot; no training needed)."""
    from base.walk import check_folder, image_names
    from encoder.prompts import read_labels
    from glimpse import console
    from labelling.label_sets import LabelSet
    from labelling.rows import LabelReport, images_left, label_images
    from labelling.table import Table, write_rows

    if (labels is None) == (labels_file is None):
        raise InputError('give either --labels "cat,dog" or --labels-file FILE')
    to_stdout = str(out) == "-"
    if json and to_stdout:
        raise InputError("--json prints a summary: write the labels to a file with --out labels.csv")
    given = read_labels(labels_file) if labels_file else labels_of(labels or "", "give it by --labels-file")
    label_set = LabelSet.of(given, templates=template or ())
    check_folder(folder)
    report = LabelReport(per_label=dict.fromkeys(label_set.labels, 0))
    if url is not None and is_remote(context):
        batches = _at_service(url, folder, label_set, scores, report)
    else:
        encoder, classifier = _here(model, device, precision, label_set, scores)
        batches = label_images(encoder, classifier, images_left(folder, report))
    total = sum(1 for _ in image_names(folder))
    with _output(out) as file, console.progress_bar("labelling") as bar:
        for _ in write_rows(batches, Table(file), report):
            bar(report.done + len(report.unread), total)
    skipped = report.unread + report.skips
    if json:
        console.print_json(
            {
                "out": str(out),
                "labelled": report.labelled,
                "labels": report.per_label,
                "skipped": [{"path": path, "reason": reason} for path, reason in skipped],
            }
        )
        return
    console.print_skipped(skipped)
    console.err.print(f"{report.labelled} images labelled, {len(skipped)} skipped")
    if not to_stdout:
        rows = sorted(report.per_label.items(), key=lambda item: -item[1])
        console.out.print(console.table("label", "images", rows=rows))


def _output(out: Path) -> AbstractContextManager[TextIO]:
    import sys
    from contextlib import nullcontext

    from labelling.table import open_table

    if str(out) == "-":
        return nullcontext(sys.stdout)
    try:
        return open_table(out)
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror})") from error


def _here(
    model: str | None, device: str, precision: str, label_set: LabelSet, scores: ScoredBy | None
) -> tuple[Encoder, Classifier]:
    """A model on this machine, and what it labels with."""
    from encoder.load import load_encoder
    from encoder.zero_shot import build_classifier

    if model is None:
        raise InputError("give the model that is to label, as in --model runs/clothes, or a service with --url")
    encoder = load_encoder(model, device, precision)
    return encoder, build_classifier(encoder, label_set.labels, label_set.templates).by(scores)


def _at_service(
    url: str, folder: Path, label_set: LabelSet, scores: ScoredBy | None, report: LabelReport
) -> Iterator[list[Labelled]]:
    """Have a service label; it is there and takes our key when this returns. The rows come as its answers do."""
    from glimpse.client import Client
    from labelling.rows import Labelled, images_left

    service = Client(url)
    service.info()

    def rows() -> Iterator[list[Labelled]]:
        with service:
            images = images_left(folder, report)
            for image in service.classify(images, label_set.labels, templates=label_set.templates, scores=scores):
                path = Path(str(image.image))
                if image.label is None:
                    yield [Labelled(path, error=image.error or "the service said nothing of it")]
                else:
                    yield [Labelled(path, image.label, image.score or 0.0)]

    return rows()
