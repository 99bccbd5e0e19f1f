"""`glimpse labels ...`: label sets: create, show, calibrate, list, delete."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
    Model,
    Precision,
    check_out,
    given_labels,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from base.rules import Rules
    from encoder.encoder import Vectors
    from encoder.model import DualEncoder
    from encoder.prompts import Label
    from labelling.calibrate import Calibration
    from labelling.label_sets import LabelSet
    from labelling.learned import Learned
    from labelling.measure import Outcome
    from labelling.truth import Truth

labels = typer.Typer(
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Keep labels with their prompts, examples and calibration under a name, for glimpse label and the service.",
)

Name = Annotated[str, typer.Argument(help="Name of the label set.")]
SHOWN = 200  # labels of a set; --json shows all


@labels.command(epilog="Example: glimpse labels create pets --labels 'dog|hound,cat,animal/tortoise'")
def create(
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
    data: Data = DATA,
    json: AsJson = False,
) -> None:
    """Keep labels, and how to ask for them, under a name.

    A label is a word or a few: `sofa|couch` is one with a synonym, `animal/dog` one with levels. In a JSON file a label
    may have prompts of its own, in a table a column `prompt`. Labels that are blank or stand there twice are told and
    taken once.
    """
    from dataclasses import replace

    from base.rules import Rules
    from glimpse import console
    from labelling.label_sets import LabelSet, LabelSets
    from labelling.learned import Learned

    sources = [source for source in (given, labels_file, labels_from) if source is not None]
    if len(sources) > 1 or not (sources or examples):
        raise InputError('give labels by one of --labels "cat,dog", --labels-file FILE, --labels-from FOLDER')
    if metadata_key is not None and labels_from is None:
        raise InputError("--metadata-key goes with --labels-from COLLECTION")
    if examples is not None and model is None:
        raise InputError("examples are learned with a model: give --model")
    kept = LabelSets(data)
    if name in kept.names() and not force:
        raise InputError(f"label set {name!r} is there already; choose another name, or replace it with --force")
    names: Sequence[Label]
    if labels_from is not None:
        names = _used_words(labels_from, metadata_key, data)
    else:
        names = given_labels(given, labels_file) if sources else ()
    new = _new_labels(examples, names) if examples is not None else ()
    names = [*names, *new]
    label_set = LabelSet.of(names, template or (), "multi" if multi else "single")
    if model is not None:
        from encoder.zero_shot import check_prompts

        encoder = _loaded(model, device, precision)
        console.print_warnings(check_prompts(encoder, label_set.names, label_set.prompts()).warnings())
        if examples is not None:
            truth, vectors = _encoded(encoder, label_set, examples, Rules(), "examples")
            console.print_left_out(truth.left_out)
            learned = Learned.of_examples(vectors, truth.has, fingerprint=encoder.fingerprint, model=encoder.ref)
            label_set = replace(label_set, learned=learned)
    is_new = kept.put(name, label_set)
    if json:
        console.print_json(_content(name, label_set) | {"replaced": not is_new})
    else:
        console.out.print(f"{name}: {_summary(label_set)}{'' if is_new else ', in place of what was there'}")


@labels.command(epilog="Example: glimpse labels show pets")
def show(name: Name, data: Data = DATA, json: AsJson = False) -> None:
    """Print a label set: its labels, their prompts, and what was learned of them."""
    from glimpse import console
    from labelling.label_sets import LabelSets

    label_set = LabelSets(data).get(name)
    content = _content(name, label_set)
    if json:
        console.print_json(content)
        return
    console.out.print(f"{name}: {_summary(label_set)}")
    if any(not label.prompts for label in label_set.labels):
        console.out.print(f"asked with: {'  '.join(label_set.templates)}")
    for line in _learned_lines(label_set.learned):
        console.out.print(line)
    told = content["labels"][:SHOWN]
    columns: dict[str, list[object]] = {
        "label": [label["name"] for label in told],
        "synonyms": ["|".join(label["synonyms"]) for label in told],
        "prompts": [_first(label["prompts"]) for label in told],
        "examples": [label["examples"] for label in told],
        "threshold": ["never given" if label["threshold"] > 1 else label["threshold"] for label in told]
        if told[0]["threshold"] is not None
        else [],
    }
    shown = {name: cells for name, cells in columns.items() if any(cell not in (None, "") for cell in cells)}
    console.out.print(console.table(*shown, rows=list(zip(*shown.values(), strict=True))))
    if (more := len(label_set.labels) - SHOWN) > 0:
        console.out.print(f"... and {more} more; --json shows all")


@labels.command(epilog="Example: glimpse labels calibrate pets pets-by-breed --model runs/pets --precision 0.95")
def calibrate(
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
    data: Data = DATA,
    json: AsJson = False,
) -> None:
    """Have a label set's scores mean what they say, by images whose labels are known.

    Half of them are fitted on, the other half says what that was worth: of the images with a score of 0.8 eight in ten
    should be right.
    """
    from base.files import new_file
    from base.rules import Rules
    from glimpse import console
    from labelling.calibrate import calibrate_set
    from labelling.label_sets import LabelSets
    from labelling.report import report_of

    kept = LabelSets(data)
    label_set = kept.get(name)
    file = report or kept.report(name)
    if report is not None:
        check_out(report, "calibration.html", "--report")
        if report.exists() and not force:
            raise InputError(f"--report {report}: is there already; choose another name, or overwrite it with --force")
    encoder = _loaded(model, device, model_precision)
    rules = Rules(tuple(exclude or ()), follow_links, any_name)
    truth, vectors = _encoded(encoder, label_set, folder, rules, "images")
    with console.progress_bar("encoding the word bank") as bar:
        done = calibrate_set(encoder, label_set, truth, vectors, precision, progress=bar)
    console.print_left_out(truth.left_out)
    kept.put(name, done.label_set)
    with new_file(file, overwrite=True) as part:
        part.write_text(report_of(name, done), encoding="utf-8", errors="replace")
    console.print_warnings(done.warnings)
    told = _calibration(done)
    if json:
        left_out = truth.left_out.as_json()
        console.print_json(
            {"name": name, **told, "warnings": list(done.warnings), "left_out": left_out, "report": str(file)}
        )
        return
    n = len(done.truth.images)
    console.out.print(f"{name}: calibrated on {len(vectors) - n} images, measured on {n} others; see {file}")
    rows = [
        (key.replace("_", " "), *("-" if told[when][key] is None else told[when][key] for when in ("before", "after")))
        for key in told["before"]
    ]
    console.out.print(console.table("", "before", "after", rows=rows))


@labels.command("list", epilog="Example: glimpse labels list")
def list_(data: Data = DATA, json: AsJson = False) -> None:
    """List the label sets of a data folder."""
    from base.errors import GlimpseError
    from glimpse import console
    from labelling.label_sets import LabelSets

    kept = LabelSets(data)
    found: list[dict[str, Any]] = []
    for name in kept.names():
        try:
            label_set = kept.get(name)
            found.append({key: _content(name, label_set)[key] for key in ("name", "mode", "calibrated")})
            found[-1] |= {"labels": len(label_set.labels), "problem": None, "is": _summary(label_set)}
        except GlimpseError as error:
            found.append({"name": name, "problem": str(error), "is": str(error)})
    if json:
        told = [{key: value for key, value in one.items() if key != "is"} for one in found]
        console.print_json({"label_sets": told})
        return
    rows = [(one["name"], one["is"]) for one in found]
    console.out.print(console.table("label set", "", rows=rows) if rows else f"none in {data}")


@labels.command(epilog="Example: glimpse labels delete pets")
def delete(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    data: Data = DATA,
    json: AsJson = False,
) -> None:
    """Delete a label set, with what was learned of it. A service refuses it from the next request on."""
    import sys

    from base.errors import LabelSetNotFound
    from glimpse import console
    from labelling.label_sets import LabelSets

    kept = LabelSets(data)
    if name not in kept.names():
        raise LabelSetNotFound(name)
    if not yes:
        if not sys.stdin.isatty():
            raise InputError(f"deleting {name} cannot be undone: say --yes")
        if not typer.confirm(f"Delete label set {name}? This cannot be undone.", err=True):
            raise typer.Exit(1)
    kept.delete(name)
    if json:
        console.print_json({"deleted": name})
    else:
        console.out.print(f"{name} deleted")


def _loaded(model: str, device: str, precision: str) -> DualEncoder:
    from encoder.load import load_encoder

    return load_encoder(model, device, precision)


def _used_words(place: str, key: str | None, data: Path) -> list[Label]:
    """The words in use in a folder or a collection, as labels."""
    from base.left_out import LeftOut
    from encoder.prompts import Label
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
    from base.tables import some_of
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


def _calibration(done: Calibration) -> dict[str, Any]:
    """What a calibration is worth, for programs."""
    learned = done.label_set.learned
    assert learned is not None

    def measures(outcome: Outcome) -> dict[str, float | None]:
        return {
            "calibration_error": outcome.bins.error,
            "brier": outcome.brier,
            "accuracy": outcome.accuracy,
            "coverage": outcome.coverage,
            "precision": outcome.precision,
            "recall": outcome.recall,
        }

    return {
        "temperature": learned.temperature,
        "stands_out": learned.stands_out,
        "held_out": len(done.truth.images),
        "before": measures(done.before),
        "after": measures(done.after),
    }


def _content(name: str, label_set: LabelSet) -> dict[str, Any]:
    """A label set for programs."""
    from dataclasses import asdict

    learned = label_set.learned
    counts = learned.targets.sum(axis=0).astype(int).tolist() if learned and len(learned.examples) else []
    thresholds = list(learned.thresholds) if learned else []
    told = []
    for i, (label, prompts) in enumerate(zip(label_set.labels, label_set.prompts(), strict=True)):
        told.append(
            {
                "name": label.name,
                "synonyms": list(label.synonyms),
                "prompts": prompts,
                "examples": counts[i] if counts else None,
                "threshold": thresholds[i] if thresholds else None,
            }
        )
    return {
        "name": name,
        "mode": label_set.mode,
        "labels": told,
        "templates": list(label_set.templates),
        "calibrated": label_set.is_calibrated,
        "learned": learned
        and {
            "model": learned.model,
            "fingerprint": learned.fingerprint,
            "examples": len(learned.examples),
            "temperature": learned.temperature,
            "stands_out": learned.stands_out,
            "measured": learned.measured and asdict(learned.measured),
        },
    }


def _summary(label_set: LabelSet) -> str:
    """A label set in a few words."""
    each = "several an image" if label_set.mode == "multi" else "one an image"
    examples = len(label_set.learned.examples) if label_set.learned else 0
    learned = f", {examples} examples" if examples else ""
    scores = "calibrated" if label_set.is_calibrated else "uncalibrated"
    return f"{len(label_set.labels)} labels, {each}{learned}, {scores}"


def _learned_lines(learned: Learned | None) -> list[str]:
    """What was learned, and what that is worth."""
    if learned is None or not learned.is_calibrated:
        again = "glimpse labels calibrate has scores mean what they say"
        by = [f"{len(learned.examples)} examples, by {learned.model or learned.fingerprint}"] if learned else []
        return [*by, f"uncalibrated: {again}"]
    lines = [f"learned with {learned.model or learned.fingerprint}"]
    at = f", standing out from {learned.stands_out:.2f}" if learned.stands_out is not None else ""
    lines.append(f"temperature {learned.temperature:.3g}{at}")
    if (measured := learned.measured) is not None:
        lines.append(
            f"calibrated on {measured.n_fit} images; on {measured.n_held_out} others the calibration error went from "
            f"{measured.ece_before:.3f} to {measured.ece_after:.3f}"
        )
        if measured.precision is not None:
            lines.append(f"thresholds for a precision of {measured.precision:g}")
    return lines


def _first(prompts: list[str]) -> str:
    return f"{prompts[0]}{f'  and {len(prompts) - 1} more' if len(prompts) > 1 else ''}"
