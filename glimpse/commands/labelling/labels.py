"""`glimpse labels ...`: label sets: create, show, calibrate, list, delete."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from base.errors import GlimpseError, InputError, LabelSetExists
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
    Model,
    Precision,
    Threads,
    check_page,
    given_labels,
    refuse,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from base.sources.rules import Rules
    from encoder.encoder import Vectors
    from encoder.model.dual_encoder import DualEncoder
    from encoder.zero_shot.prompts import Label
    from labelling.label_sets import LabelSet, Mode
    from labelling.truth import Truth

labels = typer.Typer(
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Keep labels with their prompts, examples and calibration under a name, for glimpse label and the service.",
)

Name = Annotated[str, typer.Argument(help="Name of the label set.")]


@labels.command(epilog="Example: glimpse labels create pets --labels 'dog|hound,cat,animal/tortoise'")
def create(
    context: typer.Context,
    name: Name,
    given: Labels = None,
    labels_file: LabelsFile = None,
    labels_from: Annotated[
        str | None,
        typer.Option(help="A folder or collection: the words that its photos carry already, the most frequent first."),
    ] = None,
    metadata_key: Annotated[
        str | None, typer.Option(help="Of a collection in --labels-from: what is filed under this key, as 'tags'.")
    ] = None,
    template: Annotated[
        list[str] | None,
        typer.Option(
            "--template",
            help='Prompt with {} for the label, as "a photo of a {}."; repeatable. Or a set of them: photo, plain, '
            "many. Default: photo.",
        ),
    ] = None,
    multi: Annotated[bool, typer.Option("--multi", help="An image may have several of them, each on its own.")] = False,
    abstain: Abstain = False,
    examples: Annotated[
        Path | None,
        typer.Option(
            help="Images to learn from: folder of class folders, or table path,label. Labels that only they have are "
            "taken too. Needs --model."
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            envvar="GLIMPSE_MODEL",
            help="That is to label: says if it takes two labels for the same.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a label set of that name.")] = False,
    device: Device = "auto",
    precision: Precision = "auto",
    threads: Threads = None,
    data: Data = DATA,
    json: AsJson = False,
) -> None:
    """Keep labels, and how to ask for them, under a name.

    A label is a word or a few: `sofa|couch` is one with a synonym, `animal/dog` one with levels. In a JSON file a label
    may have prompts of its own, in a table a column `prompt`. Labels that are blank or stand there twice are told and
    taken once. --examples --force without labels has the set of that name learn anew.
    """
    from dataclasses import replace

    from base.sources.rules import Rules
    from glimpse import console
    from glimpse.labelling.label_sets import content_of, summary
    from labelling.label_sets import LabelSet, LabelSets
    from labelling.learned import Learned

    sources = [source for source in (given, labels_file, labels_from) if source is not None]
    if len(sources) > 1 or not (sources or examples):
        raise InputError('give labels by one of --labels "cat,dog", --labels-file FILE, --labels-from FOLDER')
    if metadata_key is not None and labels_from is None:
        raise InputError("--metadata-key goes with --labels-from COLLECTION")
    if examples is not None and model is None:
        raise InputError("examples are learned with a model: give --model")
    if model is None:
        refuse(context, ["device", "precision"], "is for --model, which is not given")
    kept = LabelSets(data)
    is_there = name in kept.names()
    taken = InputError(f"label set {name!r} is there already; choose another name, or replace it with --force")
    if is_there and not force:
        raise taken
    names: Sequence[Label] = ()
    templates: Sequence[str] = template or ()
    mode: Mode = "multi" if multi else "single"
    abstains = abstain
    if labels_from is not None:
        names = _used_words(labels_from, metadata_key, data)
    elif sources:
        names = given_labels(given, labels_file)
    elif is_there:  # examples for the labels that it has
        before = kept.get(name)
        names, templates, mode = before.labels, template or before.templates, "multi" if multi else before.mode
        abstains = abstain or before.abstains
    new = _new_labels(examples, names) if examples is not None else ()
    label_set = LabelSet.of([*names, *new], templates, mode, abstains=abstains)
    if model is not None:
        from encoder.zero_shot.classifier import check_prompts, unread_labels

        encoder = _loaded(model, device, precision)
        cut = check_prompts(encoder, label_set.names, label_set.prompts())
        console.print_warnings([*unread_labels(encoder, label_set.labels), *cut.warnings()])
        if examples is not None:
            truth, vectors = _encoded(encoder, label_set, examples, Rules(), "examples")
            console.print_left_out(truth.left_out)
            learned = Learned.of_examples(vectors, truth.has, fingerprint=encoder.fingerprint, model=encoder.ref)
            label_set = replace(label_set, learned=learned)
    try:
        is_new = kept.put(name, label_set, only_new=not force)
    except LabelSetExists:  # made by others since it was looked for
        raise taken from None
    if json:
        console.print_json(content_of(name, label_set) | {"replaced": not is_new})
    else:
        console.out.print(f"{name}: {summary(label_set)}{'' if is_new else ', in place of what was there'}")


@labels.command(epilog="Example: glimpse labels show pets")
def show(name: Name, data: Data = DATA, json: AsJson = False) -> None:
    """Print a label set: its labels, their prompts, and what was learned of them."""
    from glimpse import console
    from glimpse.labelling.label_sets import content_of, print_set
    from labelling.label_sets import LabelSets

    label_set = LabelSets(data).get(name)
    if json:
        console.print_json(content_of(name, label_set))
    else:
        print_set(name, label_set)


@labels.command(epilog="Example: glimpse labels calibrate pets pets-by-breed --model runs/pets --precision 0.95")
def calibrate(
    context: typer.Context,
    name: Name,
    folder: Annotated[
        Path, typer.Argument(help="Images of known labels: folder of class folders, or table path,label.")
    ],
    model: Model,
    precision: Annotated[
        float | None,
        typer.Option(help="Share of the labels given that is to be right, as 0.95: sets a threshold for each label."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="HTML file to write.", show_default="beside the label set")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file of --report.")] = False,
    exclude: Exclude = None,
    follow_links: FollowLinks = False,
    any_name: AnyName = False,
    device: Device = "auto",
    model_precision: Annotated[
        str, typer.Option("--model-precision", envvar="GLIMPSE_PRECISION", help="auto, bf16 or fp32.")
    ] = "auto",
    threads: Threads = None,
    data: Data = DATA,
    json: AsJson = False,
) -> None:
    """Have a label set's scores mean what they say, by images whose labels are known.

    Half of them are fitted on, the other half says what that was worth: of the images with a score of 0.8 eight in ten
    should be right.
    """
    from base.files import is_stream, new_file
    from base.sources.rules import Rules
    from glimpse import console
    from glimpse.labelling.label_sets import calibration_of, print_calibration
    from labelling.calibrate import calibrate_set
    from labelling.label_sets import LabelSets
    from labelling.report import report_of

    if not folder.is_dir():
        refuse(context, ["exclude", "follow_links", "any_name"], "is for class folders")
    if report is None:
        refuse(context, ["force"], "overwrites the file of --report, which is not given")
    if report is not None:
        check_page(report, "calibration.html", "--report")
        if report.exists() and not (force or is_stream(report)):
            raise InputError(f"--report {report}: is there already; choose another name, or overwrite it with --force")
    kept = LabelSets(data)
    label_set = kept.get(name)
    file = report or kept.report(name)
    encoder = _loaded(model, device, model_precision)
    rules = Rules(tuple(exclude or ()), follow_links, any_name)
    truth, vectors = _encoded(encoder, label_set, folder, rules, "images")
    with console.progress_bar("encoding the word bank") as bar:
        done = calibrate_set(encoder, label_set, truth, vectors, precision, progress=bar)
    console.print_left_out(truth.left_out)

    def calibrated(now: LabelSet | None) -> LabelSet:
        if now != label_set:
            raise GlimpseError(f"label set {name!r} was changed while it was calibrated: calibrate it again")
        return done.label_set

    kept.change(name, calibrated)
    with new_file(file, overwrite=True) as part:
        part.write_text(report_of(name, done), encoding="utf-8", errors="replace")
    console.print_warnings(done.warnings)
    if json:
        told = {"warnings": list(done.warnings), "left_out": truth.left_out.as_json(), "report": str(file)}
        console.print_json({"name": name, **calibration_of(done), **told})
        return
    print_calibration(name, done, file)


@labels.command("list", epilog="Example: glimpse labels list")
def list_(data: Data = DATA, json: AsJson = False) -> None:
    """List the label sets of a data folder."""
    from base.errors import GlimpseError
    from glimpse import console
    from glimpse.labelling.label_sets import summary
    from labelling.label_sets import LabelSets

    kept = LabelSets(data)
    found: list[dict[str, Any]] = []
    rows: list[tuple[str, str]] = []
    for name in kept.names():
        try:
            label_set = kept.get(name)
            told = {"mode": label_set.mode, "calibrated": label_set.is_calibrated, "labels": len(label_set.labels)}
            found.append({"name": name, **told, "problem": None})
            rows.append((name, summary(label_set)))
        except GlimpseError as error:
            found.append({"name": name, "problem": str(error)})
            rows.append((name, str(error)))
    if json:
        console.print_json({"label_sets": found})
        return
    console.out.print(console.table("label set", "", rows=rows) if rows else f"none in {data}")


@labels.command(epilog="Example: glimpse labels delete pets")
def delete(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    data: Data = DATA,
    json: AsJson = False,
) -> None:
    """Delete a label set, with what was learned of it. A service refuses it from the next request on."""
    from base.errors import LabelSetNotFound
    from glimpse import console
    from labelling.label_sets import LabelSets

    kept = LabelSets(data)
    if name not in kept.names():
        raise LabelSetNotFound(name)
    if not yes:
        console.confirm_deletion(f"label set {name}")
    kept.delete(name)
    if json:
        console.print_json({"deleted": name})
    else:
        console.out.print(f"{name} deleted")


def _loaded(model: str, device: str, precision: str) -> DualEncoder:
    from encoder.model.load import load_encoder

    return load_encoder(model, device, precision)


def _used_words(place: str, key: str | None, data: Path) -> list[Label]:
    """The words in use in a folder or a collection, as labels."""
    from base.sources.left_out import LeftOut
    from encoder.zero_shot.prompts import Label
    from glimpse import console
    from index.collection import open_collection
    from labelling.vocabulary import words_of_folders, words_of_key, words_of_photos

    left_out = LeftOut()
    folder = Path(place)
    if key is None and folder.is_dir():
        with console.working("reading the words of the photos"):
            found = words_of_photos(folder, left_out=left_out)
        if not found and (found := words_of_folders(folder)):
            console.err.print("the photos carry no words: the labels are the names of their folders")
        console.print_left_out(left_out)
    elif key is None:
        raise InputError(
            f"--labels-from {place}: no such folder; of a collection say where its words are, as in --metadata-key tags"
        )
    else:
        with open_collection(data, place) as collection:
            found = words_of_key(collection, key)
    if not found:
        raise InputError(f"--labels-from {place}: its photos carry no words, and lie in no folders of their own")
    return [Label("/".join(used.word.path)) for used in found]


def _new_labels(examples: Path, names: Sequence[Label]) -> Sequence[Label]:
    """Labels that only examples have; told, where there are others."""
    from base.sources.tables import some_of
    from glimpse import console
    from labelling.truth import new_labels

    new = new_labels(examples, names)
    if new and names:
        console.print_warnings([f"labels of examples alone, taken as well: {some_of(label.name for label in new)}"])
    if not new and not names:
        raise InputError(f"{examples}: no labels in it: give class folders, as in {examples}/cat/1.jpg, or --labels")
    return new


def _encoded(encoder: DualEncoder, label_set: LabelSet, place: Path, rules: Rules, what: str) -> tuple[Truth, Vectors]:
    """Images that people labelled, and their vectors."""
    from glimpse import console
    from labelling.truth import encode_truth, read_truth

    truth = read_truth(place, label_set.labels, rules)
    with console.progress_bar(f"encoding {what}") as bar:
        return encode_truth(encoder, truth, bar)
