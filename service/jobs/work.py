"""What each kind of job does, in a thread of its own, from its beginning or from where an earlier start was ended.

Index, watch and reindex find in the collection what is left to do. A label job remembers how long its CSV is and which
image stands last in it; what was written after that is cut off, and done again. Knows no HTTP.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from base.errors import CollectionError, EntryNotFound, InputError
from base.left_out import LeftOut
from base.rules import Rules
from base.walk import image_names, no_images
from encoder.encoder import Encoder
from index.collection import Collection, open_collection
from index.ingest.captions import Captions, read_captions
from index.ingest.reindex import ReindexReport, reindex
from index.ingest.report import IndexReport
from index.ingest.scan import check_any_image
from index.ingest.sync import SyncOptions, index_folders, open_or_create
from index.ingest.watch import Watching, watch_folders
from labelling.label_sets import LabelSet
from labelling.labeller import build_labeller
from labelling.outputs.table import LabelTable, open_table, write_rows
from labelling.rows import LabelReport, images_left, label_images
from service.collections.writers import Writers
from service.inference.shared_encoder import Stopped
from service.jobs.roots import Roots
from service.jobs.store import Job, JobStore

SAVE_EVERY = 0.5  # seconds from one word of progress to the next
REASONS = 100  # skipped files that a report names
ATTEMPTS = 10  # at an index whose entries are deleted by others at the same time
CUT_OFF = "files cut off; what there is was taken"
CUT_TEXTS = "prompts longer than the model reads; their ends had no influence"
COUNTS = ("added", "updated", "moved", "removed", "unchanged", "encoded")


@dataclass
class JobContext:
    """What a running job works with, and what it tells of itself."""

    job: Job
    store: JobStore
    data: Path
    encoder: Encoder
    writers: Writers
    roots: Roots
    stop: threading.Event
    saved: float = field(default_factory=time.monotonic)

    @property
    def is_due(self) -> bool:
        """Whether it is time to tell how far the job is."""
        return time.monotonic() - self.saved >= SAVE_EVERY

    def tell(self, done: int, total: int | None, report: dict[str, Any]) -> None:
        """Note how far the job is, and keep it now and then. Stopped."""
        self.job.done, self.job.total, self.job.report = done, total, report
        if done > self.job.furthest:
            self.job.furthest, self.job.starts = done, 0
        if self.stop.is_set():
            raise Stopped
        if self.is_due:
            self.keep()

    def keep(self) -> None:
        """Keep the job as it is."""
        self.store.save(self.job)
        self.saved = time.monotonic()

    def folders(self) -> list[Path]:
        """The folders that it was asked to read, if it still may. FolderRefused."""
        return [self.roots.folder(folder) for folder in self.job.request["folders"]]

    def options(self) -> SyncOptions:
        """How it was asked to read them, and the metadata that it was asked to attach."""
        asked, captions = self.job.request, Captions()
        if asked["captions"] is not None:
            path = self.roots.file(asked["captions"])
            with self.roots.opened(path) as opened:
                captions = read_captions(path, image_key=asked["image_key"], opened=opened)
        return SyncOptions(
            captions,
            asked["allow_empty"],
            rules=self.rules(),
            check_contents=asked.get("check_contents", False),
            read=self.roots.read,
        )

    def rules(self) -> Rules:
        """Which names it was asked to walk; whatever it enters lies in a root once it is open."""
        asked = self.job.request  # a job of an earlier version has none of these
        return Rules(
            tuple(asked.get("exclude", ())),
            asked.get("follow_links", False),
            asked.get("any_name", False),
            by_request=True,
            opened=self.roots.entered,
        )


def work(context: JobContext) -> None:
    """Do the job, to its end.

    Raises:
        Stopped: it was to end before.
        GlimpseError: it cannot be done.
    """
    assert context.job.kind is not None  # one whose file is damaged has ended
    WORK[context.job.kind](context)


def _index(context: JobContext) -> None:
    asked = context.job.request
    name = asked["collection"]
    folders, options = context.folders(), context.options()
    if context.job.kind == "index" and not asked["allow_empty"]:
        check_any_image(context.data, name, folders, options.rules)

    def opened() -> Collection:
        return open_or_create(context.data, name, context.encoder)

    with context.writers.lent(name, context.job.id, opened, context.stop) as lent:
        if lent is None:
            raise Stopped
        collection, turn = lent
        collection.check_model(context.encoder.fingerprint)  # it may have been open
        for attempt in range(ATTEMPTS):
            report = IndexReport()

            def tell(done: int, total: int, report: IndexReport = report) -> None:
                context.tell(done, total, index_counts(report))

            try:
                index_folders(collection, context.encoder, folders, options, progress=tell, turn=turn, report=report)
                return
            except EntryNotFound:  # a request deleted an entry that was just compared: go on from what is there
                if attempt == ATTEMPTS - 1:
                    raise
            finally:
                context.job.report = index_counts(report)


def _watch(context: JobContext) -> None:
    _index(context)  # so that requests may write in between, and its progress can be seen
    context.keep()
    asked, job = context.job.request, context.job
    reports = watch_folders(
        context.data,
        asked["collection"],
        context.encoder,
        context.folders(),
        context.options(),
        Watching(make=False, stop=context.stop),
    )
    told = job.report
    for i, report in enumerate(reports):
        new = index_counts(report)
        for count in ("added", "updated", "moved", "removed", "encoded"):
            told[count] += new[count]
        if i:  # the first one looks at all that was just looked at
            told["skipped"] += new["skipped"]
            told["skips"] = (told["skips"] + new["skips"])[-REASONS:]
        told["left_out"] = _with_more(told["left_out"], new["left_out"], again=not i)
        job.starts = 0  # it has come through all there was
        context.keep()
    raise Stopped


def _reindex(context: JobContext) -> None:
    asked = context.job.request
    name = asked["collection"]

    def opened() -> Collection:
        return open_collection(context.data, name, writable=True)

    with context.writers.lent(name, context.job.id, opened, context.stop) as lent:
        if lent is None:
            raise Stopped
        collection, _ = lent
        report = ReindexReport()

        def tell(done: int, total: int) -> None:
            context.tell(done, total, reindex_counts(report))

        same = collection.fingerprint == context.encoder.fingerprint
        try:
            reindex(
                collection,
                context.encoder,
                drop_unreadable=asked["drop_unreadable"],
                read=context.roots.read_indexed,
                progress=tell,
                report=report,
            )
        finally:
            context.job.report = reindex_counts(report)
    if not (same or report.swapped):
        raise CollectionError(
            f"collection {name!r} keeps its old model, for {len(report.unreadable)} entries cannot be read: bring "
            "their files back and start the job again, or give drop_unreadable to delete them"
        )


def _label(context: JobContext) -> None:
    keep = context.job.keep
    folder = context.roots.folder(context.job.request["folder"])
    scores = context.job.request.get("scores")
    label_set = LabelSet.of_json(keep["label_set"])
    labeller = build_labeller(context.encoder, label_set, scores)
    rules = context.rules()
    total = sum(1 for _ in image_names(folder, rules))
    if not total:
        raise InputError(no_images([folder], rules))
    report, size = _label_report(context)
    report.cut_texts = len(labeller.classifier.cut.read)
    with open_table(context.store.result(context.job.id), size) as file:
        table = LabelTable(file, begin=size is None)

        def checkpoint() -> None:
            # what is on disk, before what says how much of it counts
            keep["so_far"] = _kept(report) | {"fingerprint": context.encoder.fingerprint, "bytes": table.sync()}
            context.keep()

        checkpoint()
        try:
            images = images_left(folder, report, rules)
            labelled = label_images(context.encoder, labeller, images, context.roots.read)
            for _ in write_rows(labelled, table, report):
                if context.is_due:
                    checkpoint()
                context.tell(report.done, total, label_counts(report))
            context.job.done = total
        finally:
            context.job.report = label_counts(report)
            checkpoint()


def _label_report(context: JobContext) -> tuple[LabelReport, int | None]:
    """How far a label job is, and the bytes of its CSV that are right; None: it begins, perhaps anew for its model."""
    kept = context.job.keep.get("so_far")
    if kept is not None and kept["fingerprint"] == context.encoder.fingerprint:
        path = context.store.result(context.job.id)
        if path.is_file() and path.stat().st_size >= kept["bytes"]:
            skips = [(skip["path"], skip["reason"]) for skip in kept["skips"]]
            report = LabelReport(
                kept["labelled"],
                dict(kept["per_label"]),
                kept["abstained"],
                kept["skipped"],
                skips,
                last=kept["last"],
                most_skips=REASONS,
            )
            report.cuts = [(cut["path"], cut["reason"]) for cut in kept.get("cuts", ())]  # a glimpse of before: none
            report.cut_off = kept.get("cut_off", 0)
            return report, kept["bytes"]
    return LabelReport(most_skips=REASONS), None


def _kept(report: LabelReport) -> dict[str, Any]:
    """What a job keeps of a report, to go on from."""
    names = ("labelled", "per_label", "abstained", "skipped", "cut_off", "last")
    named = {"skips": report.skips, "cuts": report.cuts}
    files = {kind: [_skip(*one) for one in those] for kind, those in named.items()}
    return deepcopy({name: getattr(report, name) for name in names}) | files


def label_counts(report: LabelReport) -> dict[str, Any]:
    """As a job reports them."""
    return {
        "labelled": report.labelled,
        "per_label": dict(report.per_label),
        "abstained": report.abstained,
        "skipped": report.skipped + len(report.unread),
        "skips": [_skip(*skip) for skip in (report.skips + report.unread)[:REASONS]],
        "left_out": [
            *_left_out(report.left_out),
            *_note(CUT_OFF, report.cut_off, report.cuts[0][0] if report.cuts else None),
            *_note(CUT_TEXTS, report.cut_texts, None),
        ],
    }


def index_counts(report: IndexReport) -> dict[str, Any]:
    """As a job reports them."""
    skips = [_skip(file["path"], file["reason"]) for file in report.skipped[:REASONS]]
    counts: dict[str, Any] = {count: getattr(report, count) for count in COUNTS}
    cut_off = _note(CUT_OFF, len(report.cut_off), report.cut_off[0]["path"] if report.cut_off else None)
    left_out = _left_out(report.left_out) + cut_off + _noted(report)
    return counts | {"skipped": len(report.skipped), "skips": skips, "left_out": left_out}


def reindex_counts(report: ReindexReport) -> dict[str, Any]:
    """As a job reports them."""
    names = ("encoded", "resumed", "changed", "dropped", "swapped")
    skips = [_skip(str(entry["path"] or entry["id"]), str(entry["reason"])) for entry in report.unreadable[:REASONS]]
    counts: dict[str, Any] = {name: getattr(report, name) for name in names}
    return counts | {"skipped": len(report.unreadable), "skips": skips}


def _skip(path: str | Path, reason: str) -> dict[str, str]:
    return {"path": _text(path), "reason": reason}


def _left_out(left_out: LeftOut) -> list[dict[str, object]]:
    return [
        {"reason": _text(reason), "count": count, "first": _text(first)}
        for reason, (count, first) in left_out.found.items()
    ]


def _note(reason: str, count: int, first: str | None) -> list[dict[str, Any]]:
    return [{"reason": reason, "count": count, "first": first and _text(first)}] if count else []


def _noted(report: IndexReport) -> list[dict[str, Any]]:
    """What else a person would want to know of an indexing run, in the same shape."""
    noted: list[tuple[str, int, str | None]] = [
        (f"entries kept: {one.reason}; {one.remedy}", one.entries, one.folder) for one in report.kept
    ]
    if report.others:
        noted.append(("files that are no pictures", report.others.total(), None))
    if report.no_image:
        noted.append(("folders without any image", len(report.no_image), report.no_image[0]))
    if report.returned:
        noted.append(("pictures that were here before: what was kept of them is theirs again", report.returned, None))
    if report.left_out_entries:
        noted.append(("entries removed whose files are there, left out by their names", report.left_out_entries, None))
    return [{"reason": reason, "count": count, "first": first and _text(first)} for reason, count, first in noted]


def _with_more(known: list[dict[str, Any]], new: list[dict[str, Any]], *, again: bool) -> list[dict[str, Any]]:
    """What was left out, and what more was, by reason; `again`, or with the same first, the same was met once more."""
    found = {one["reason"]: one for one in known}
    for one in new:
        before = found.setdefault(one["reason"], one)
        counts = before["count"], one["count"]
        same = again or before["first"] == one["first"]
        found[one["reason"]] = before | {"count": max(counts) if same else sum(counts)}
    return list(found.values())[-REASONS:]


def _text(name: str | Path) -> str:
    """As UTF-8 can say it."""
    return os.fsencode(name).decode("utf-8", "replace")


WORK: dict[str, Callable[[JobContext], None]] = {"index": _index, "watch": _watch, "reindex": _reindex, "label": _label}
