"""`glimpse label`: a folder or a collection, with a model on this machine; or a folder with a service's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from base.errors import InputError
from glimpse import completion
from glimpse.options import (
    DATA,
    OF_LABELS,
    OF_SOURCE,
    Abstain,
    AnyName,
    AsJson,
    Data,
    Device,
    Exclude,
    FollowLinks,
    Labels,
    LabelsFile,
    ModelOrServed,
    Precision,
    Scores,
    Store,
    Template,
    Threads,
    Url,
    check_out,
    given_labels,
    given_options,
    is_remote,
)

if TYPE_CHECKING:
    from labelling.label_sets import LabelSet

LOCAL = (  # what a service cannot be asked to do here
    "collection", "multi", "to", "xmp", "embed", "write_metadata", "force", "dry_run", "undo",
    "runs", "review", "correct", "accept_above", "take_back",
)  # fmt: skip
OF_A_RUN = {  # what is about a run that is there already, and what goes with it
    "runs": (),
    "undo": (),
    "review": ("correct", "accept_above", "take_back"),
}
STDOUT = Path("-")
WHERE, RUNS = "Where labels go", "Runs and review"


def label(
    context: typer.Context,
    folder: Annotated[Path | None, typer.Argument(help="Folder of images; subfolders are included.")] = None,
    labels: Labels = None,
    labels_file: LabelsFile = None,
    label_set: Annotated[
        str | None, typer.Option(help="Labels that are kept under this name in --data.", rich_help_panel=OF_LABELS)
    ] = None,
    template: Template = None,
    scores: Scores = None,
    multi: Annotated[
        bool, typer.Option("--multi", help="Any number of labels an image, each on its own.", rich_help_panel=OF_LABELS)
    ] = False,
    abstain: Abstain = False,
    out: Annotated[
        list[Path] | None,
        typer.Option(
            help="File to write, by its suffix: .csv, .jsonl, .parquet, or .json for COCO; repeatable. "
            "Default, if nothing else is written: - for CSV on standard output.",
            rich_help_panel=WHERE,
        ),
    ] = None,
    to: Annotated[Path | None, typer.Option(help="Folder for a folder for each label.", rich_help_panel=WHERE)] = None,
    how: Annotated[
        Literal["copy", "move", "hardlink", "symlink"],
        typer.Option(help="What is made of an image there.", rich_help_panel=WHERE),
    ] = "copy",
    xmp: Annotated[
        bool,
        typer.Option(
            "--xmp",
            help="Write the labels as keywords to XMP sidecars, which photo programs read.",
            rich_help_panel=WHERE,
        ),
    ] = False,
    embed: Annotated[
        bool,
        typer.Option(
            "--embed", help="Write them into the image files themselves: JPEG, PNG, WebP.", rich_help_panel=WHERE
        ),
    ] = False,
    root: Annotated[
        str,
        typer.Option(
            help="Keyword that these are put under, by which they can be told; '' for none.", rich_help_panel=WHERE
        ),
    ] = "ai",
    sidecar: Annotated[
        Literal["auto", "full", "stem"],
        typer.Option(
            help="full: a.jpg.xmp, stem: a.xmp, auto: that of these which is there, or else full.",
            rich_help_panel=WHERE,
        ),
    ] = "auto",
    write_metadata: Annotated[
        str | None,
        typer.Option(
            metavar="KEY", help="Write the labels to this key of the collection's metadata.", rich_help_panel=WHERE
        ),
    ] = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Replace files and metadata that others wrote.", rich_help_panel=WHERE),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Say what would be done, and do nothing; all of it with --json.",
            rich_help_panel=RUNS,
        ),
    ] = False,
    undo: Annotated[
        str | None,
        typer.Option(
            metavar="RUN", help="Take back all that a run did; last: the run used last.", rich_help_panel=RUNS
        ),
    ] = None,
    runs: Annotated[bool, typer.Option("--runs", help="List the runs in --data.", rich_help_panel=RUNS)] = False,
    review: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            help="Show what of a run to look at first; last: the run used last.",
            rich_help_panel=RUNS,
        ),
    ] = None,
    correct: Annotated[
        Path | None,
        typer.Option(
            help="With --review: a table path,label, or class folders, of what is right; a row without a label is none "
            "of them. The rest follows.",
            rich_help_panel=RUNS,
        ),
    ] = None,
    accept_above: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="With --review: accept what has a score as high.", rich_help_panel=RUNS),
    ] = None,
    take_back: Annotated[
        bool,
        typer.Option("--take-back", help="With --review: undo what the last review said.", rich_help_panel=RUNS),
    ] = False,
    collection: Annotated[
        str | None,
        typer.Option(
            "--collection",
            "-c",
            help="Label this collection instead of a folder, by the vectors it has.",
            rich_help_panel=OF_SOURCE,
            autocompletion=completion.collections,
        ),
    ] = None,
    exclude: Exclude = None,
    follow_links: FollowLinks = False,
    any_name: AnyName = False,
    model: ModelOrServed = None,
    device: Device = "auto",
    precision: Precision = "auto",
    url: Url = None,
    threads: Threads = None,
    data: Data = DATA,
    store: Store = None,
    json: AsJson = False,
) -> None:
    """Label images with the likeliest of your labels (zero-shot; no training needed).

    \b
    Examples:
      glimpse label photos --labels "dress,hat,t-shirt" --model runs/clothes --out labels.csv
      glimpse label photos --label-set clothes --model runs/clothes --xmp --dry-run
      glimpse label --review last --correct corrections.csv

    The same command again labels what is new or changed since, and brings all that it wrote in step.
    """  # noqa: D301  \b has the lines below it stay lines
    from base.files import is_stdout
    from base.sources.rules import Rules
    from glimpse.labelling import view
    from glimpse.labelling.stream import AtService, What, stream, stream_from_service
    from labelling.outputs.asked import OutputsAsked

    remote = url is not None and is_remote(context, *LOCAL, served=["model"])
    _check_together(given_options(context))
    if runs:
        view.print_runs(data, as_json=json)
        return
    if undo is not None:
        view.undo(data, undo, as_json=json)
        return
    if review is not None:
        from glimpse.labelling import review as reviewing

        if take_back:
            if correct is not None or accept_above is not None:
                raise InputError("--take-back undoes the last review: leave --correct and --accept-above out")
            reviewing.take_back(data, review, as_json=json)
        elif correct is None and accept_above is None:
            reviewing.show(data, review, as_json=json)
        else:
            reviewing.change(data, review, correct, accept_above, as_json=json)
        return
    asked = None
    if not (remote and label_set is not None and labels is None and labels_file is None):  # that the service keeps
        asked = _labels(data, labels, labels_file, label_set, template, multi=multi, abstain=abstain)
        _check_asked(asked, scores is not None)
    if (folder is None) == (collection is None):
        raise InputError("give either a folder of images, or --collection NAME")
    files = [STDOUT if is_stdout(path) else path for path in out or ()]
    files = files or ([] if to or xmp or embed or write_metadata else [STDOUT])
    if json and STDOUT in files:
        raise InputError("--json prints a summary: write the labels to a file with --out labels.csv")
    if xmp and embed:
        raise InputError("--xmp writes sidecars, --embed into the images: give one of them")
    words: Literal["sidecar", "embedded"] | None = "sidecar" if xmp else "embedded" if embed else None
    kept = tuple(str(path.parent.resolve() / path.name) for path in files if path != STDOUT)
    outputs = OutputsAsked(kept, str(to.resolve()) if to else None, how, words, root, sidecar, write_metadata)
    _check_outputs(files, to, how, write_metadata, folder)
    if folder is not None and not remote and model is None:
        raise InputError("give the model that is to label, as in --model runs/clothes, or a service with --url")
    rules = Rules(tuple(exclude or ()), follow_links, any_name)
    if remote:
        assert folder is not None
        if len(files) > 1 or files[0].suffix not in ("", ".csv"):
            raise InputError("a service's labels are written as one CSV: give one --out, as --out labels.csv")
        named = model if "model" in given_options(context) else None  # GLIMPSE_MODEL is of this machine
        at_service = AtService(str(url), asked, label_set, tuple(template or ()), scores, abstain=abstain, model=named)
        stream_from_service(folder, rules, at_service, files[0], as_json=json)
        return
    assert asked is not None
    what = What(data, folder, collection, model, device, precision, rules, asked, scores)
    if files == [STDOUT] and folder is not None and not (dry_run or asked.needs_words):
        stream(what, files[0], as_json=json)
        return
    from glimpse.labelling.run import Wanted, run

    run(what, outputs, Wanted(dry_run, force, STDOUT in files, json))


def _check_together(given: frozenset[str]) -> None:
    """Refuse options that contradict each other, or that nothing would be done with. InputError."""
    for about, others in OF_A_RUN.items():
        if about in given and (left := sorted(given - {about, *others, "data", "json", "url"})):
            named = ", ".join("the folder" if name == "folder" else _option(name) for name in left)
            raise InputError(f"{_option(about)} is about runs that are there already: leave {named} out")
    for option, one_of in (
        ("how", ("to",)),
        ("sidecar", ("xmp",)),
        ("root", ("xmp", "embed")),
        ("correct", ("review",)),
        ("accept_above", ("review",)),
        ("take_back", ("review",)),
        ("force", ("out", "to", "xmp", "embed", "write_metadata")),
        ("store", ("collection",)),
    ):
        if option in given and given.isdisjoint(one_of):
            raise InputError(f"{_option(option)} goes with {' or '.join(map(_option, one_of))}")
    for option in ("exclude", "follow_links", "any_name"):
        if option in given and "collection" in given:
            raise InputError(f"{_option(option)} is for a folder; a collection is labelled as it is")


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _check_asked(asked: LabelSet, has_scores: bool) -> None:
    """Refuse scores that several labels do not have, and say which labels no image will get. InputError."""
    from base.sources.tables import some_of
    from glimpse import console

    if has_scores and asked.mode == "multi":
        raise InputError(
            "--scores is for one label an image; several are scored each on its own: leave --scores or --multi out"
        )
    if never := asked.never_given:
        which = "no label" if len(never) == len(asked.labels) else f"not {some_of(never)}"
        console.print_warnings(
            [f"images get {which}: measured by glimpse labels calibrate {asked.name}, none of the scores was as often "
             f"right as its --precision wanted. Calibrate with more images, or a lower --precision"]
        )  # fmt: skip


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
    kept = LabelSets(data)
    found = kept.resolve(given_labels(labels, labels_file), name, template or ())
    found = found.in_mode("multi") if multi else found
    if name is not None and kept.get(name).is_calibrated and not found.is_calibrated:
        from glimpse import console

        console.print_warnings([f"label set {name} was calibrated as it is kept: with --multi or --template it is not"])
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
