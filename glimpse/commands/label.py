"""`glimpse label`: a folder or a collection, with a model on this machine; or a folder with a service's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from io import TextIOBase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TextIO, cast

import typer

from base.errors import InputError
from glimpse.options import (
    DATA,
    AnyName,
    AsJson,
    Data,
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
    from index.collection import Collection
    from labelling.label_sets import LabelSet
    from labelling.outputs.asked import OutputsAsked
    from labelling.outputs.table import LabelTable, LateLabelTable
    from labelling.rows import Labelled, LabelReport
    from labelling.runs.sources import Source

LOCAL = (  # what a service cannot be asked to do here
    "collection", "label_set", "multi", "to", "write_metadata", "force", "dry_run", "undo", "runs",
)  # fmt: skip
STDOUT = Path("-")


def label(
    context: typer.Context,
    folder: Annotated[Path | None, typer.Argument(help="Folder of images; subfolders are included.")] = None,
    model: ModelIfLocal = None,
    labels: Labels = None,
    labels_file: LabelsFile = None,
    label_set: Annotated[str | None, typer.Option(help="Labels that are kept under this name in --data.")] = None,
    template: Template = None,
    scores: Scores = None,
    multi: Annotated[bool, typer.Option("--multi", help="Any number of labels an image, each on its own.")] = False,
    out: Annotated[
        list[Path] | None,
        typer.Option(
            help="File to write, by its suffix: .csv, .jsonl, .parquet, or .json for COCO; repeatable. "
            "Default, if nothing else is written: - for CSV on standard output."
        ),
    ] = None,
    to: Annotated[Path | None, typer.Option(help="Folder for a folder for each label.")] = None,
    how: Annotated[
        Literal["copy", "move", "hardlink", "symlink"], typer.Option(help="What is made of an image there.")
    ] = "copy",
    write_metadata: Annotated[
        str | None, typer.Option(metavar="KEY", help="Write the labels to this key of the collection's metadata.")
    ] = None,
    collection: Annotated[
        str | None,
        typer.Option("--collection", "-c", help="Label this collection instead of a folder, by the vectors it has."),
    ] = None,
    data: Data = DATA,
    force: Annotated[bool, typer.Option("--force", help="Replace files and metadata that others wrote.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    undo: Annotated[
        str | None, typer.Option(metavar="RUN", help="Take back all that a run did; last: the run used last.")
    ] = None,
    runs: Annotated[bool, typer.Option("--runs", help="List the runs in --data.")] = False,
    exclude: Exclude = None,
    follow_links: FollowLinks = False,
    any_name: AnyName = False,
    device: Device = "auto",
    precision: Precision = "auto",
    url: Url = None,
    json: AsJson = False,
) -> None:
    """Label images with the likeliest of your labels (zero-shot; no training needed).

    The same command again labels what is new or changed since, and brings all that it wrote in step.
    """
    from base.rules import Rules
    from glimpse import label_view

    remote = url is not None and is_remote(context, *LOCAL)
    if runs:
        label_view.print_runs(data, as_json=json)
        return
    if undo is not None:
        label_view.undo(data, undo, as_json=json)
        return
    asked = _labels(data, labels, labels_file, label_set, template, multi=multi)
    if (folder is None) == (collection is None):
        raise InputError("give either a folder of images, or --collection NAME")
    files = out or ([] if to or write_metadata else [STDOUT])
    if json and STDOUT in files:
        raise InputError("--json prints a summary: write the labels to a file with --out labels.csv")
    outputs = _outputs(files, to, how, write_metadata, folder)
    if folder is not None and not remote and model is None:
        raise InputError("give the model that is to label, as in --model runs/clothes, or a service with --url")
    rules = Rules(tuple(exclude or ()), follow_links, any_name)
    what = _What(data, folder, collection, model, device, precision, rules, asked, scores)
    if remote or (files == [STDOUT] and folder is not None and not (multi or dry_run or asked.mode == "multi")):
        assert folder is not None
        if remote and (len(files) > 1 or files[0].suffix not in ("", ".csv")):
            raise InputError("a service's labels are written as one CSV: give one --out, as --out labels.csv")
        _stream(what, str(url) if remote else None, files[0], as_json=json)
        return
    _run(what, outputs, dry=dry_run, overwrite=force, to_stdout=STDOUT in files, as_json=json)


@dataclass(frozen=True)
class _What:
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
            from encoder.query import query_encoder

            return query_encoder(ref, fingerprint, images=False)
        from encoder.lazy import open_encoder

        return open_encoder(ref, self.device, self.precision)


def _labels(
    data: Path,
    labels: str | None,
    labels_file: Path | None,
    name: str | None,
    template: list[str] | None,
    *,
    multi: bool,
) -> LabelSet:
    from labelling.label_sets import LabelSets

    if sum(given is not None for given in (labels, labels_file, name)) != 1:
        raise InputError('give either --labels "cat,dog", --labels-file FILE or --label-set NAME')
    found = LabelSets(data).resolve(given_labels(labels, labels_file), name, template or ())
    return replace(found, mode="multi") if multi else found


def _outputs(
    files: list[Path], to: Path | None, how: Literal["copy", "move", "hardlink", "symlink"], key: str | None,
    folder: Path | None,
) -> OutputsAsked:  # fmt: skip
    """The outputs, as far as they can be checked before any work."""
    from labelling.outputs.asked import OutputsAsked, write_list

    for path in files:
        if path != STDOUT:
            check_out(path, "labels.csv")
            write_list(path)
    if to is not None:
        check_target(to, how, folder)
    if key is not None and folder is not None:
        raise InputError("--write-metadata writes to a collection: label one, with --collection instead of a folder")
    kept = tuple(str(path.absolute()) for path in files if path != STDOUT)
    return OutputsAsked(kept, str(to.resolve()) if to else None, how, key)


def check_target(to: Path, how: str, folder: Path | None) -> None:
    """Refuse, before any work, a folder of --to that images cannot be put into. InputError."""
    import os

    target = to.resolve()
    if to.exists() and not to.is_dir():
        raise InputError(f"--to {to}: a file; give a folder")
    if how != "move" and folder is not None and target.is_relative_to(folder.resolve()):
        raise InputError(
            f"--to {to}: lies in {folder}, where what is put there would be labelled in its turn; "
            "give another folder, or --how move"
        )
    there = next(path for path in (target, *target.parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise InputError(f"--to {to}: cannot be written (Permission denied)")


def _run(what: _What, outputs: OutputsAsked, *, dry: bool, overwrite: bool, to_stdout: bool, as_json: bool) -> None:
    """Label by a run, which is kept unless it writes nothing but to standard output."""
    import tempfile

    from base.walk import check_folder
    from glimpse import console, label_view
    from labelling.runs.deciding import LabelsAsked
    from labelling.runs.run import Going, LabelRuns, SourceAsked

    if what.folder is not None:
        check_folder(what.folder)
    folder = str(what.folder.resolve()) if what.folder else None
    nothing_kept = not (outputs.files or outputs.to or outputs.metadata)
    with ExitStack() as open_:
        source, collection = _source(what, open_, writable=outputs.metadata is not None and not dry)
        data = Path(open_.enter_context(tempfile.TemporaryDirectory())) if nothing_kept else what.data
        kept_as = SourceAsked(folder=folder) if folder else SourceAsked(collection=what.collection)
        run = open_.enter_context(LabelRuns(data).make(kept_as, outputs))
        with label_view.bar() as watch:
            report, labeller = run.go_on(
                source, LabelsAsked(what.label_set, what.scores), collection, Going(overwrite, dry, watch)
            )
        if labeller is not None:
            console.print_warnings(labeller.classifier.cut.warnings())
        if to_stdout:
            with _output(STDOUT) as table:
                table.write(run.images())
        label_view.print_report(report, outputs, dry=dry, as_json=as_json, kept=None if nothing_kept else data)
    if report.failures or not report.labels.labelled + report.labels.abstained:
        raise typer.Exit(1)


def _source(what: _What, open_: ExitStack, *, writable: bool) -> tuple[Source, Collection | None]:
    """What a run reads, and the collection if it is one."""
    from index.collection import open_collection
    from labelling.runs.sources import CollectionSource, FolderSource

    if what.collection is not None:
        collection = open_.enter_context(open_collection(what.data, what.collection, writable=writable))
        ref = what.model or collection.model
        fingerprint = collection.fingerprint

        def texts() -> Encoder:
            encoder = what.texts(ref, None if what.model else fingerprint)
            collection.check_model(encoder.fingerprint)
            return encoder

        return CollectionSource(collection, texts), collection
    from encoder.lazy import open_encoder

    assert what.folder is not None
    model = str(what.model)
    encoder = open_encoder(model, what.device, what.precision)
    return FolderSource(
        what.folder.resolve(), what.rules, encoder, lambda: what.texts(model, encoder.fingerprint)
    ), None


def _stream(what: _What, url: str | None, out: Path, *, as_json: bool) -> None:
    """Label a folder with nothing kept: the rows are written as they come."""
    from base.walk import check_folder, image_names, no_images
    from glimpse import console, label_view
    from labelling.labeller import build_labeller
    from labelling.outputs.table import write_rows
    from labelling.rows import LabelReport, images_left, label_images

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
        labeller = build_labeller(encoder, what.label_set, what.scores)
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
    import sys

    from glimpse.console import shown_as
    from labelling.outputs.table import LabelTable, LateLabelTable

    class Terminal(TextIOBase):
        def write(self, text: str) -> int:
            return sys.stdout.write(shown_as(text.rstrip("\r\n"), terminal=True) + "\n")

        def flush(self) -> None:
            sys.stdout.flush()

    if out == STDOUT:
        yield LabelTable(cast("TextIO", Terminal()) if sys.stdout.isatty() else sys.stdout)
        return
    with LateLabelTable(out) as table:
        yield table


def _at_service(url: str, what: _What, report: LabelReport) -> Iterator[list[Labelled]]:
    """Have a service label; it is there and takes our key when this returns. The rows come as its answers do."""
    from glimpse import console
    from glimpse.client import Client
    from labelling.rows import Answer, Labelled, images_left

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
