"""`glimpse label`: a folder of images, with a model on this machine or with a service's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from base.errors import InputError
from glimpse.options import (
    AsJson,
    Device,
    Labels,
    LabelsFile,
    ModelIfLocal,
    Precision,
    Template,
    Url,
    given_labels,
    is_remote,
)

if TYPE_CHECKING:
    from labelling.label_sets import LabelSet
    from labelling.rows import Labelled, LabelReport


def label(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="Folder of images; subfolders are included.")],
    model: ModelIfLocal = None,
    labels: Labels = None,
    labels_file: LabelsFile = None,
    template: Template = None,
    out: Annotated[Path, typer.Option(help="CSV to write: path,label,score. - is standard output.")] = Path("-"),
    device: Device = "auto",
    precision: Precision = "auto",
    url: Url = None,
    json: AsJson = False,
) -> None:
    """Label each image of a folder with the likeliest of your labels (zero-shot; no training needed)."""
    from base.walk import check_folder, image_names
    from glimpse import console
    from labelling.label_sets import LabelSet
    from labelling.rows import LabelReport
    from labelling.table import Table, write_rows

    if (labels is None) == (labels_file is None):
        raise InputError('give either --labels "cat,dog" or --labels-file FILE')
    to_stdout = str(out) == "-"
    if json and to_stdout:
        raise InputError("--json prints a summary: write the labels to a file with --out labels.csv")
    label_set = LabelSet.of(given_labels(labels, labels_file), templates=template or ())
    check_folder(folder)
    report = LabelReport(per_label=dict.fromkeys(label_set.labels, 0))
    if url is not None and is_remote(context):
        batches = _at_service(url, folder, label_set, report)
    else:
        batches = _here(model, device, precision, folder, label_set, report)
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
    model: str | None, device: str, precision: str, folder: Path, label_set: LabelSet, report: LabelReport
) -> Iterator[list[Labelled]]:
    """Label with a model on this machine, which is loaded before this returns."""
    from encoder.load import load_encoder
    from encoder.zero_shot import build_classifier
    from glimpse import console
    from labelling.rows import images_left, label_images

    if model is None:
        raise InputError("give the model that is to label, as in --model runs/clothes, or a service with --url")
    encoder = load_encoder(model, device, precision)
    classifier = build_classifier(encoder, label_set.labels, label_set.templates)
    console.print_cut(encoder.cut_texts(label_set.prompts()))
    return label_images(encoder, classifier, images_left(folder, report))


def _at_service(url: str, folder: Path, label_set: LabelSet, report: LabelReport) -> Iterator[list[Labelled]]:
    """Have a service label; it is there and takes our key when this returns. The rows come as its answers do."""
    from glimpse.client import Client
    from labelling.rows import Labelled, images_left

    service = Client(url)
    service.info()

    def rows() -> Iterator[list[Labelled]]:
        with service:
            images = images_left(folder, report)
            for image in service.classify(images, label_set.labels, templates=label_set.templates):
                path = Path(str(image.image))
                if image.label is None:
                    yield [Labelled(path, error=image.error or "the service said nothing of it")]
                else:
                    yield [Labelled(path, image.label, image.score or 0.0)]

    return rows()
