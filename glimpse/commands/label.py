"""`glimpse label`: a folder of images, with a model on this machine or with a service's."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from base.errors import InputError
from glimpse.options import AsJson, Device, ModelIfLocal, Precision, Template, Url, is_remote

if TYPE_CHECKING:
    from glimpse.client import Client
    from glimpse.console import Bar
    from labelling.run import LabelReport


def label(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="Folder of images; subfolders are included.")],
    model: ModelIfLocal = None,
    labels: Annotated[str | None, typer.Option(help='What to choose from: "cat,dog,bird".')] = None,
    labels_file: Annotated[Path | None, typer.Option(help="The same from a file, one label a line.")] = None,
    template: Template = None,
    out: Annotated[Path, typer.Option(help="CSV to write: path,label,score. - is standard output.")] = Path("-"),
    device: Device = "auto",
    precision: Precision = "auto",
    url: Url = None,
    json: AsJson = False,
) -> None:
    """Label each image of a folder with the likeliest of your labels (zero-shot; no training needed)."""
    import sys
    from contextlib import nullcontext

    from base.walk import image_names
    from encoder.prompts import check_labels, check_templates, read_labels
    from glimpse import console

    if (labels is None) == (labels_file is None):
        raise InputError('give either --labels "cat,dog" or --labels-file FILE')
    to_stdout = str(out) == "-"
    if json and to_stdout:
        raise InputError("--json prints a summary: write the labels to a file with --out labels.csv")
    names = read_labels(labels_file) if labels_file else check_labels((labels or "").split(","))
    templates = check_templates(template or ())
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    total = sum(1 for _ in image_names(folder))
    if url is not None and is_remote(context):
        from glimpse.client import Client

        service = Client(url)
        service.info()  # before the CSV is opened: is it there, and does it take our key?
    else:
        from encoder.load import load_encoder
        from encoder.zero_shot import build_classifier

        if model is None:
            raise InputError("give the model that is to label, as in --model runs/clothes, or a service with --url")
        service = None
        encoder = load_encoder(model, device, precision)
        classifier = build_classifier(encoder, names, templates)
    try:
        target = (
            nullcontext(sys.stdout)
            if to_stdout
            else out.open("w", newline="", encoding="utf-8", errors="surrogateescape")
        )
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror})") from error
    report: Labelled | LabelReport
    with target as file, console.progress_bar("labelling") as bar:
        if service is not None:
            with service:
                report = _ask(service, folder, names, templates, file, bar, total)
        else:
            from labelling.run import label_folder

            report = label_folder(encoder, classifier, folder, file, progress=lambda done: bar(done, total))
    if json:
        console.print_json(
            {
                "out": str(out),
                "labelled": report.labelled,
                "labels": report.per_label,
                "skipped": [{"path": path, "reason": reason} for path, reason in report.skipped],
            }
        )
        return
    console.print_skipped(report.skipped)
    console.err.print(f"{report.labelled} images labelled, {len(report.skipped)} skipped")
    if not to_stdout:
        rows = sorted(report.per_label.items(), key=lambda item: -item[1])
        console.out.print(console.table("label", "images", rows=rows))


@dataclass
class Labelled:
    """What a service labelled, as `labelling.run.LabelReport`, which needs torch."""

    labelled: int = 0
    per_label: dict[str, int] = field(default_factory=dict)
    skipped: list[tuple[str, str]] = field(default_factory=list)


def _ask(
    client: Client, folder: Path, labels: tuple[str, ...], templates: tuple[str, ...], out: TextIO, bar: Bar, total: int
) -> Labelled:
    """Have a service label a folder; the rows come as its answers do."""
    import csv

    from base.walk import walk_images

    report = Labelled(per_label=dict.fromkeys(labels, 0))
    paths = (path for path, _ in walk_images(folder, on_error=lambda p, why: report.skipped.append((str(p), why))))
    writer = csv.writer(out)
    writer.writerow(("path", "label", "score"))
    for image in client.classify(paths, labels, templates=templates):
        if image.label is None:
            report.skipped.append((str(image.image), str(image.error)))
        else:
            writer.writerow((image.image, image.label, f"{image.score:.4f}"))
            out.flush()
            report.per_label[image.label] += 1
            report.labelled += 1
        bar(report.labelled + len(report.skipped), total)
    return report
