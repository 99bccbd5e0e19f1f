"""A labelling run as a person sees it: its progress, what it did, the runs there are, and taking one back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from base.words import counted
from glimpse import console
from glimpse.options import DATA

if TYPE_CHECKING:
    from rich.console import Console

    from labelling.outputs.asked import OutputsAsked
    from labelling.rows import LabelReport
    from labelling.runs.journal import Changes, Failure
    from labelling.runs.report import RunReport

NONE = "(none of these)"
NAMED = 10  # failures that are printed
ONE = {  # of what outputs count
    "photos with new keywords": "photo with new keywords",
    "photos with new keywords, whose hard links keep the old": "photo with new keywords, whose hard links keep the old",
    "folders made": "folder made",
    "sidecars": "sidecar",
    "entries changed": "entry changed",
}


def print_labels(report: LabelReport, files: Sequence[str], *, as_json: bool) -> None:
    """What was labelled, where nothing is kept of it."""
    if as_json:
        console.print_json(_labels_as_json(report, files if report.labelled + report.abstained else ()))
        return
    _print_left_out(report)
    console.err.print(_summary(report))
    if not report.labelled + report.abstained:
        console.err.print("no image could be labelled" + "".join(f"; nothing is written to {file}" for file in files))
    elif files:
        _print_counts(report)


def print_report(
    report: RunReport, outputs: OutputsAsked, *, dry: bool, as_json: bool, kept: Path | None, rows_told: bool = False
) -> None:
    """What a run did, or would do; `kept` is the data folder that keeps it, `rows_told`: its rows were printed."""
    labels = report.labels
    if as_json:
        would = outputs.files if dry and labels.labelled + labels.abstained else ()
        run = _run_as_json(report, dry=dry) | {"would_write": list(would)}
        console.print_json(_labels_as_json(labels, tuple(report.written)) | {"run": run})
        return
    _print_left_out(labels)
    console.err.print(_summary(labels))
    if kept:
        read = f"{report.new} new, {report.changed} changed, {report.unchanged} as before, {report.gone} gone"
        console.err.print(f"images: {read}")
    _print_outputs(report, dry=dry)
    for file in outputs.files if dry and labels.labelled + labels.abstained else ():
        console.err.print(f"{file}: would be written")
    if not labels.labelled + labels.abstained:
        files = "".join(f"; nothing is written to {file}" for file in outputs.files)
        console.err.print(f"no image could be labelled{files}")
    _print_failures(report.failures)
    if kept and dry:
        console.err.print("nothing was changed; the same command without --dry-run does it, and reads no image again")
    elif kept:
        where = f" --data {kept}" if kept != DATA else ""
        console.err.print(f"run {report.id}; glimpse label --undo {report.id}{where} takes it back")
    if kept and labels.labelled + labels.abstained:
        _print_counts(labels, console.err if rows_told else console.out)


def print_outputs(report: RunReport) -> None:
    """What outputs did, and what could not be done."""
    _print_outputs(report, dry=False)
    _print_failures(report.failures)


def print_runs(data: Path, *, as_json: bool) -> None:
    """The runs of a data folder, the one used last first."""
    from labelling.runs.kept import LabelRuns

    infos = LabelRuns(data).list()
    if as_json:
        runs = [
            {
                "id": info.id,
                "folder": info.source.folder,
                "collection": info.source.collection,
                "outputs": info.outputs.to_json(),
                "state": info.state,
                "used_at": info.used_at,
                "images": info.images,
                "steps": info.steps,
            }
            for info in infos
        ]
        console.print_json({"runs": runs})
        return
    if not infos:
        console.err.print(f"no labelling run in {data}")
        return
    rows = [(info.id, info.state, info.images, info.steps, info.used_at[:19], info.source.name) for info in infos]
    console.out.print(console.table("run", "state", "images", "steps", "used", "source", rows=rows))


def undo(data: Path, name: str, *, as_json: bool) -> None:
    """Take a run back, and say what of it could not be."""
    from contextlib import ExitStack

    from index.collection import open_collection
    from labelling.runs.kept import LabelRuns

    with ExitStack() as opened:
        run = opened.enter_context(LabelRuns(data).open(name))
        info, collection = run.info(), None
        if info.outputs.metadata is not None and info.source.collection is not None:
            collection = opened.enter_context(open_collection(data, info.source.collection, writable=True))
        with console.progress_bars() as watch:
            changes = run.undo(collection, watch)
    if as_json:
        failed = [failure._asdict() for failure in changes.failed]
        console.print_json({"run": info.id, "taken_back": changes.taken_back, "failed": failed})
    else:
        _print_failures(changes.failed)
        back = counted(changes.taken_back, "change")
        console.err.print(f"run {info.id}: {back} taken back, {len(changes.failed)} not")
    if changes.failed:
        raise typer.Exit(1)


def _summary(report: LabelReport) -> str:
    none = f", {report.abstained} none of these" if report.abstained else ""
    return f"{counted(report.labelled, 'image')} labelled{none}, {report.skipped + len(report.unread)} skipped"


def _print_left_out(report: LabelReport) -> None:
    console.print_skipped(report.unread + report.skips)
    console.print_left_out(report.left_out)
    console.print_cut_off(report.cuts)


def _print_counts(report: LabelReport, to: Console = console.out) -> None:
    counts = sorted(report.per_label.items(), key=lambda item: -item[1])
    rows = counts + [(NONE, report.abstained)] * bool(report.abstained)
    to.print(console.table("label", "images", rows=rows))


def _print_outputs(report: RunReport, *, dry: bool) -> None:
    for name, changes in report.outputs.items():
        _print_changes(name, changes, dry=dry)
    for file, images in report.written.items():
        console.err.print(f"{file}: {counted(images, 'image')}")


def _print_changes(name: str, changes: Changes, *, dry: bool) -> None:
    counts = [f"{count} {ONE.get(what, what) if count == 1 else what}" for what, count in changes.done.items()]
    counts += [f"{changes.taken_back} taken back"] * bool(changes.taken_back)
    would = "would be " if dry and counts else ""
    console.err.print(f"{_called(name)}: {would}{', '.join(counts) or 'as it is'}")
    for said in changes.first:
        console.err.print(f"  {said}")
    if (more := changes.foreseen - len(changes.first)) > 0:
        console.err.print(f"  ... and {more} more; --json lists them all")


def _called(output: str) -> str:
    """What an output is to a person: the folder, the key of metadata, or where keywords stand."""
    kind, how, *rest = output.split(" ", 2)
    if kind == "words":
        return "keywords in image files" if how == "embedded" else "keywords in XMP sidecars"
    return rest[0] if kind == "folders" else output


def _print_failures(failures: Sequence[Failure]) -> None:
    for failure in failures[:NAMED]:
        console.err.print(f"not done, {failure.path}: {failure.reason}")
    if len(failures) > NAMED:
        console.err.print(f"... and {len(failures) - NAMED} more; --json lists them all")


def _labels_as_json(report: LabelReport, files: Sequence[str]) -> dict[str, Any]:
    return {
        "out": list(files),
        "labelled": report.labelled,
        "abstained": report.abstained,
        "labels": report.per_label,
        "cut_texts": report.cut_texts,
        "skipped": [{"path": path, "reason": reason} for path, reason in report.unread + report.skips],
        "cut_off": [{"path": path, "reason": reason} for path, reason in report.cuts],
        "left_out": report.left_out.as_json(),
    }


def _run_as_json(report: RunReport, *, dry: bool) -> dict[str, Any]:
    return {
        "id": report.id,
        "dry_run": dry,
        "new": report.new,
        "changed": report.changed,
        "unchanged": report.unchanged,
        "gone": report.gone,
        "outputs": [
            {"output": name, "done": changes.done, "taken_back": changes.taken_back, "first": changes.first}
            for name, changes in report.outputs.items()
        ],
        "written": report.written,
        "failed": [failure._asdict() for failure in report.failures],
    }
