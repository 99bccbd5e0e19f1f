"""`glimpse label --review`: how far people have looked through a run, and reviewing it without a page."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from base.errors import InputError
from base.sources.left_out import LeftOut
from base.sources.rules import Rules
from base.words import counted
from encoder.encoder import Encoder
from encoder.lazy import open_encoder
from encoder.query import query_encoder
from glimpse import __version__, console
from glimpse.labelling import view
from glimpse.options import DATA
from labelling.review import Item, Reviewed, Rule, labels_of, review
from labelling.review import take_back as undo_review
from labelling.runs import reviews
from labelling.runs.copies import Copies
from labelling.runs.kept import LabelRuns
from labelling.runs.report import Going, RunReport
from labelling.runs.run import Run
from labelling.runs.sources import CollectionSource, FolderSource, Source
from labelling.truth import read_truth

if TYPE_CHECKING:
    from index.collection import Collection

SERVICE = "http://127.0.0.1:8000"
SHOWN = 10  # of the least certain


def show(data: Path, name: str, *, as_json: bool) -> None:
    """What a run has, the images that are best looked at first, and how."""
    with LabelRuns(data).look(name) as run:
        found = reviews.summary(run.store)
        rows = reviews.page(run.store, reviews.Wanted(reviewed=False, limit=SHOWN))
    address = f"{SERVICE}/v1/label-runs/{run.id}"
    if as_json:
        first = [{"path": str(row.image.path), "margin": row.margin, "labels": dict(row.image.answers)} for row in rows]
        console.print_json({"run": run.id, "address": address, **found._asdict(), "least_certain": first})
        return
    seen = found.reviewed
    counts = [
        f"{seen[kind]} {kind}" for kind in ("accepted", "corrected", "none", "skipped", "by rule") if kind in seen
    ]
    images = counted(found.images, "image")
    console.err.print(f"run {run.id}: {images}; reviewed: {', '.join(counts) or 'none yet'}")
    if rows:
        lines = [(str(row.image.path), ", ".join(label for label, _ in row.image.answers) or view.NONE,
                  f"{row.margin:.3f}") for row in rows]  # fmt: skip
        console.out.print(console.table("least certain", "labels", "margin", rows=lines))
    where = f" --data {data}" if data != DATA else ""
    command = f"glimpse label --review {run.id}{where}"
    console.err.print(f"correct by a table path,label: {command} --correct corrections.csv (no label: none of these)")
    console.err.print(f"accept what is certain:        {command} --accept-above 0.97")
    if found.undoable:
        console.err.print(f"take the last review back:     {command} --take-back")
    console.err.print(f"with glimpse serve{where}, over REST: {address}/images and .../review (docs/labelling.md)")


def change(data: Path, name: str, correct: Path | None, accept_above: float | None, *, as_json: bool) -> None:
    """Keep what was said, label the rest anew, and bring all that the run wrote in step."""
    rules = [] if accept_above is None else [Rule(accept_above)]
    with ExitStack() as opened:
        run = opened.enter_context(LabelRuns(data).open(name))
        collection = _collection(data, run, opened)
        items, left_out = _corrections(run, correct) if correct else ([], LeftOut())
        with console.progress_bars() as watch:
            done = review(run, _source(run, collection), items, rules, lambda n, of: watch("labelling", n, of))
            report = run.apply(collection, Going(watch=watch, tool=f"glimpse {__version__}"))
    _tell("reviewed", done, report, left_out, as_json=as_json)


def take_back(data: Path, name: str, *, as_json: bool) -> None:
    """Undo the last review, label the rest as it was before, and bring all that the run wrote in step."""
    with ExitStack() as opened:
        run = opened.enter_context(LabelRuns(data).open(name))
        collection = _collection(data, run, opened)
        with console.progress_bars() as watch:
            done = undo_review(run, _source(run, collection), lambda n, of: watch("labelling", n, of))
            report = run.apply(collection, Going(watch=watch, tool=f"glimpse {__version__}"))
    _tell("taken back", done, report, LeftOut(), as_json=as_json)


def _tell(what: str, done: Reviewed, report: RunReport, left_out: LeftOut, *, as_json: bool) -> None:
    """What was said, or taken back, and what was written for it. Exit if some of that could not be."""
    if as_json:
        failed = [failure._asdict() for failure in report.failures]
        told: dict[str, Any] = {"run": report.id, what.replace(" ", "_"): done.counts, "relabelled": done.relabelled}
        told |= {"flipped": done.flips.count, "written": report.written, "failed": failed}
        console.print_json(told | {"left_out": left_out.as_json()})
    else:
        console.print_left_out(left_out)
        counts = ", ".join(f"{count} {kind}" for kind, count in done.counts.items()) or "nothing"
        flipped = f", {done.flips.count} of them called otherwise now" if done.flips.count else ""
        console.err.print(f"{what}: {counts}; {counted(done.relabelled, 'image')} labelled anew{flipped}")
        view.print_outputs(report)
    if report.failures:
        raise typer.Exit(1)


def _corrections(run: Run, table: Path) -> tuple[list[Item], LeftOut]:
    """What a table or class folders say of images of the run. InputError if they say nothing of any."""
    label_set = labels_of(run).label_set
    none: list[Path] = []
    folder = run.info().source.folder
    truth = read_truth(table, label_set.labels, none=none, folder=Path(folder) if folder else None)
    said = [
        (path, [name for name, is_given in zip(label_set.names, has, strict=True) if is_given])
        for path, has in zip(truth.images, truth.has, strict=True)
    ]
    items = []
    copies = Copies(run.store)
    for path, labels in [*said, *((path, []) for path in none)]:
        known = run.store.known(path.absolute()) or run.store.known(path.resolve())
        image = known[0] if known else copies.image_of(path)
        if image is None:
            truth.left_out.add("images that are none of the run's", str(path))
            continue
        items.append(Item(image, "correct" if labels else "none", labels))
    if not items:
        raise InputError(f"{table}: no image of it is one of run {run.id}; glimpse label --review {run.id} names some")
    return items, truth.left_out


def _collection(data: Path, run: Run, opened: ExitStack) -> Collection | None:
    info = run.info()
    if info.source.collection is None:
        return None
    from index.collection import open_collection

    writable = info.outputs.metadata is not None
    return opened.enter_context(open_collection(data, info.source.collection, writable=writable))


def _source(run: Run, collection: Collection | None) -> Source:
    """Where a run's vectors are, with its own model for the labels, which is loaded when it is needed."""
    ref, fingerprint = run.store.get("model"), run.store.get("fingerprint")

    def texts() -> Encoder:
        return query_encoder(ref, fingerprint, images=False)

    if collection is not None:
        return CollectionSource(collection, texts)
    return FolderSource(Path(str(run.info().source.folder)), Rules(), open_encoder(ref), texts)
