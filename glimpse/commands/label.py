"""`glimpse label`: a folder or a collection, with a model on this machine; or a folder with a service's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from base.errors import InputError
from glimpse.options import (
    DATA,
    Abstain,
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
    Threads,
    Url,
    check_out,
    given_labels,
    is_remote,
)

if TYPE_CHECKING:
    from labelling.label_sets import LabelSet

LOCAL = (  # what a service cannot be asked to do here
    "abstain", "collection", "label_set", "multi", "to", "xmp", "embed", "write_metadata", "force", "dry_run", "undo",
    "runs", "review", "correct", "accept_above",
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
    abstain: Abstain = False,
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
    xmp: Annotated[
        bool, typer.Option("--xmp", help="Write the labels as keywords to XMP sidecars, which photo programs read.")
    ] = False,
    embed: Annotated[
        bool, typer.Option("--embed", help="Write them into the image files themselves: JPEG, PNG, WebP.")
    ] = False,
    root: Annotated[
        str, typer.Option(help="Keyword that these are put under, by which they can be told; '' for none.")
    ] = "ai",
    sidecar: Annotated[
        Literal["auto", "full", "stem"],
        typer.Option(help="full: a.jpg.xmp, stem: a.xmp, auto: that of these which is there, or else full."),
    ] = "auto",
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
    review: Annotated[
        str | None, typer.Option(metavar="RUN", help="Show what of a run to look at first; last: the run used last.")
    ] = None,
    correct: Annotated[
        Path | None,
        typer.Option(help="With --review: a table path,label, or class folders, of what is right; the rest follows."),
    ] = None,
    accept_above: Annotated[
        float | None, typer.Option(min=0, max=1, help="With --review: accept what has a score as high.")
    ] = None,
    exclude: Exclude = None,
    follow_links: FollowLinks = False,
    any_name: AnyName = False,
    device: Device = "auto",
    precision: Precision = "auto",
    url: Url = None,
    threads: Threads = None,
    json: AsJson = False,
) -> None:
    """Label images with the likeliest of your labels (zero-shot; no training needed).

    The same command again labels what is new or changed since, and brings all that it wrote in step.
    """
    from base.rules import Rules
    from glimpse import label_view
    from glimpse.label_stream import What, stream
    from labelling.outputs.asked import OutputsAsked

    remote = url is not None and is_remote(context, *LOCAL)
    if runs:
        label_view.print_runs(data, as_json=json)
        return
    if undo is not None:
        label_view.undo(data, undo, as_json=json)
        return
    if review is not None:
        from glimpse import label_review

        if correct is None and accept_above is None:
            label_review.show(data, review, as_json=json)
        else:
            label_review.change(data, review, correct, accept_above, as_json=json)
        return
    if correct is not None or accept_above is not None:
        raise InputError("--correct and --accept-above go with --review RUN")
    asked = _labels(data, labels, labels_file, label_set, template, multi=multi, abstain=abstain)
    if (folder is None) == (collection is None):
        raise InputError("give either a folder of images, or --collection NAME")
    files = out or ([] if to or xmp or embed or write_metadata else [STDOUT])
    if json and STDOUT in files:
        raise InputError("--json prints a summary: write the labels to a file with --out labels.csv")
    if xmp and embed:
        raise InputError("--xmp writes sidecars, --embed into the images: give one of them")
    for option, is_given, needs in (
        ("--how", how != "copy" and not to, "--to FOLDER"),
        ("--sidecar", sidecar != "auto" and not xmp, "--xmp"),
        ("--root", root != "ai" and not (xmp or embed), "--xmp or --embed"),
    ):
        if is_given:
            raise InputError(f"{option} goes with {needs}")
    words: Literal["sidecar", "embedded"] | None = "sidecar" if xmp else "embedded" if embed else None
    kept = tuple(str(path.absolute()) for path in files if path != STDOUT)
    outputs = OutputsAsked(kept, str(to.resolve()) if to else None, how, words, root, sidecar, write_metadata)
    _check_outputs(files, to, how, write_metadata, folder)
    if folder is not None and not remote and model is None:
        raise InputError("give the model that is to label, as in --model runs/clothes, or a service with --url")
    rules = Rules(tuple(exclude or ()), follow_links, any_name)
    what = What(data, folder, collection, model, device, precision, rules, asked, scores)
    if remote or (files == [STDOUT] and folder is not None and not (dry_run or asked.rejects or asked.mode == "multi")):
        assert folder is not None
        if remote and (len(files) > 1 or files[0].suffix not in ("", ".csv")):
            raise InputError("a service's labels are written as one CSV: give one --out, as --out labels.csv")
        stream(what, str(url) if remote else None, files[0], as_json=json)
        return
    from glimpse.label_run import Wanted, run

    run(what, outputs, Wanted(dry_run, force, STDOUT in files, json))


def _labels(
    data: Path,
    labels: str | None,
    labels_file: Path | None,
    name: str | None,
    template: list[str] | None,
    *,
    multi: bool,
    abstain: bool,
) -> LabelSet:
    from labelling.label_sets import LabelSets

    if sum(given is not None for given in (labels, labels_file, name)) != 1:
        raise InputError('give either --labels "cat,dog", --labels-file FILE or --label-set NAME')
    found = LabelSets(data).resolve(given_labels(labels, labels_file), name, template or ())
    found = found.in_mode("multi") if multi else found
    return replace(found, abstains=found.abstains or abstain)


def _check_outputs(files: list[Path], to: Path | None, how: str, key: str | None, folder: Path | None) -> None:
    """Refuse, before any work, what cannot be written. InputError."""
    from labelling.outputs.asked import write_list

    for path in files:
        if path != STDOUT:
            check_out(path, "labels.csv")
            write_list(path)
    if to is not None:
        _check_target(to, how, folder)
    if key is not None and folder is not None:
        raise InputError("--write-metadata writes to a collection: label one, with --collection instead of a folder")


def _check_target(to: Path, how: str, folder: Path | None) -> None:
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
