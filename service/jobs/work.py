"""What each kind of job does, in a thread of its own, from its beginning or from where an earlier start was ended.

Index, watch and reindex find in the collection what is left to do, a label job in its run, which is the one that
`glimpse label` would have. Knows no HTTP.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from base.errors import CollectionError, EntryNotFound
from base.files import whole_file
from base.sources.rules import Rules
from encoder.encoder import Encoder, Vectors
from encoder.zero_shot.word_bank import with_words, word_bank
from index.collection import Collection, open_collection
from index.ingest.captions import Captions, read_captions
from index.ingest.reindex import ReindexReport, reindex
from index.ingest.report import IndexReport
from index.ingest.scan import check_any_image
from index.ingest.sync import SyncOptions, index_folders, open_or_create
from index.ingest.watch import Watching, watch_folders
from index.map.kept import make_map
from labelling.label_sets import LabelSet
from labelling.outputs.output import Listing
from labelling.outputs.table import write_table
from labelling.rows import LabelReport
from labelling.runs.deciding import LabelsAsked
from labelling.runs.report import Going, SourceAsked
from labelling.runs.sources import CollectionSource, FolderSource, Source
from service.collections.writers import Writers
from service.inference.shared_encoder import Stopped
from service.jobs.label_runs import TOOL, label_runs, outputs_of
from service.jobs.report import REASONS, as_skip, index_counts, label_counts, reindex_counts, with_more
from service.jobs.roots import Roots
from service.jobs.store import Job, JobStore

SAVE_EVERY = 0.5  # seconds from one word of progress to the next
RUN_PATIENCE = 60.0  # seconds that a label job waits for a review of its run
ATTEMPTS = 10  # at an index whose entries are deleted by others at the same time


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
                captions = read_captions(path, image_key=asked["image_key"], opened=opened, folders=self.folders())
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

    with context.writers.lent(name, context.job.id, opened, context.stop) as (collection, turn):
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
        told["left_out"] = with_more(told["left_out"], new["left_out"], again=not i)
        job.starts = 0  # it has come through all there was
        context.keep()
    raise Stopped


def _reindex(context: JobContext) -> None:
    asked = context.job.request
    name = asked["collection"]

    def opened() -> Collection:
        return open_collection(context.data, name, writable=True)

    with context.writers.lent(name, context.job.id, opened, context.stop) as (collection, turn):
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
                alone=turn,
            )
        finally:
            context.job.report = reindex_counts(report)
    if not (same or report.swapped):
        raise CollectionError(
            f"collection {name!r} keeps its old model, for {len(report.unreadable)} entries cannot be read: bring "
            "their files back and start the job again, or give drop_unreadable to delete them"
        )


def _label(context: JobContext) -> None:
    asked, outputs = context.job.request, outputs_of(context.job.request)
    labels = LabelsAsked(LabelSet.of_json(context.job.keep["label_set"]), asked.get("scores"))
    told = LabelReport(most_skips=REASONS)

    def counts(report: LabelReport) -> dict[str, Any]:  # of the labels too: a job of before kept nothing of those
        found = label_counts(report)
        return found | {"left_out": [*context.job.keep.get("left_out", ()), *found["left_out"]]}

    def watch(what: str, done: int, total: int) -> None:  # what is labelled and written is of the same images
        context.tell(done if what == "reading" else context.job.done, total, counts(told))

    going = Going(asked.get("overwrite", False), watch=watch, tool=TOOL)
    with ExitStack() as opened:
        source, collection = _label_source(context, opened, writes=outputs.metadata is not None)
        kept_as = SourceAsked(asked.get("folder"), asked.get("collection"))
        runs = label_runs(context.data, context.roots)
        run = opened.enter_context(runs.make(kept_as, outputs, RUN_PATIENCE))
        report, _ = run.go_on(source, labels, collection, going)
        context.job.done = context.job.total = report.labels.done
        context.job.report = counts(report.labels) | {
            "run": run.id,
            "failed": [as_skip(*failure) for failure in report.failures[:REASONS]],
        }
        listing = Listing(run.images, labels.label_set.names, source.folder)
        with whole_file(context.store.result(context.job.id)) as part:
            write_table(part, listing)


def _label_source(context: JobContext, opened: ExitStack, *, writes: bool) -> tuple[Source, Collection | None]:
    """What a label job reads, and its collection, open for writing if that is an output. Stopped."""
    asked, encoder = context.job.request, context.encoder
    if (name := asked.get("collection")) is None:
        folder = context.roots.folder(asked["folder"])
        return FolderSource(folder, context.rules(), encoder, lambda: encoder, context.roots.read), None

    def collection() -> Collection:
        return open_collection(context.data, name, writable=writes)

    if not writes:
        found = opened.enter_context(collection())
    else:
        found, turn = opened.enter_context(context.writers.lent(name, context.job.id, collection, context.stop))
        opened.enter_context(turn)  # metadata are read, then written: nobody may change them in between
    found.check_model(encoder.fingerprint)
    return CollectionSource(found, lambda: encoder), found


def _map(context: JobContext) -> None:
    asked = context.job.request
    with open_collection(context.data, asked["collection"]) as collection:
        collection.check_model(context.encoder.fingerprint)

        def words(own: tuple[str, ...]) -> tuple[tuple[str, ...], Vectors]:
            def tell(_done: int, _total: int | None) -> None:
                context.tell(0, None, {})

            bank = with_words(word_bank(context.encoder, progress=tell), context.encoder, own, progress=tell)
            return bank.words, bank.vectors

        wanted = words if asked["names"] else None
        made = make_map(collection, asked["method"], wanted, lambda done, total: context.tell(done, total, {}))
    context.job.report = {"placed": len(made.ids), "clusters": len(made.known)}


WORK: dict[str, Callable[[JobContext], None]] = {
    "index": _index, "watch": _watch, "reindex": _reindex, "label": _label, "map": _map
}  # fmt: skip
