"""What a job reports of its work: counts, the first of what it skipped, and what was left out, by reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from base.sources.left_out import LeftOut
from base.words import readable
from index.ingest.reindex import ReindexReport
from index.ingest.report import IndexReport
from labelling.rows import LabelReport

REASONS = 100  # skipped files that a report names
CUT_OFF = "files cut off; what there is was taken"
CUT_TEXTS = "prompts longer than the model reads; their ends had no influence"
COUNTS = ("added", "updated", "moved", "removed", "unchanged", "encoded")


def label_counts(report: LabelReport) -> dict[str, Any]:
    """As a job reports them."""
    return {
        "labelled": report.labelled,
        "per_label": dict(report.per_label),
        "abstained": report.abstained,
        "skipped": report.skipped + len(report.unread),
        "skips": [as_skip(*skip) for skip in (report.skips + report.unread)[:REASONS]],
        "left_out": [
            *_left_out(report.left_out),
            *_note(CUT_OFF, report.cut_off, report.cuts[0][0] if report.cuts else None),
            *_note(CUT_TEXTS, report.cut_texts, None),
        ],
        "warnings": list(report.unread_labels),
    }


def index_counts(report: IndexReport) -> dict[str, Any]:
    """As a job reports them."""
    skips = [as_skip(file["path"], file["reason"]) for file in report.skipped[:REASONS]]
    counts: dict[str, Any] = {count: getattr(report, count) for count in COUNTS}
    cut_off = _note(CUT_OFF, len(report.cut_off), report.cut_off[0]["path"] if report.cut_off else None)
    left_out = _left_out(report.left_out) + cut_off + _noted(report)
    return counts | {"skipped": len(report.skipped), "skips": skips, "left_out": left_out}


def reindex_counts(report: ReindexReport) -> dict[str, Any]:
    """As a job reports them."""
    names = ("encoded", "resumed", "changed", "dropped", "swapped")
    skips = [as_skip(str(entry["path"] or entry["id"]), str(entry["reason"])) for entry in report.unreadable[:REASONS]]
    counts: dict[str, Any] = {name: getattr(report, name) for name in names}
    return counts | {"skipped": len(report.unreadable), "skips": skips}


def as_skip(path: str | Path, reason: str) -> dict[str, str]:
    """A file that was skipped, or an output that failed, and why."""
    return {"path": readable(path), "reason": reason}


def _left_out(left_out: LeftOut) -> list[dict[str, object]]:
    return [
        {"reason": readable(reason), "count": count, "first": readable(first)}
        for reason, (count, first) in left_out.found.items()
    ]


def _note(reason: str, count: int, first: str | None) -> list[dict[str, Any]]:
    return [{"reason": reason, "count": count, "first": first and readable(first)}] if count else []


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
    return [{"reason": reason, "count": count, "first": first and readable(first)} for reason, count, first in noted]


def with_more(known: list[dict[str, Any]], new: list[dict[str, Any]], *, again: bool) -> list[dict[str, Any]]:
    """What was left out, and what more was, by reason; `again`, or with the same first, the same was met once more."""
    found = {one["reason"]: one for one in known}
    for one in new:
        before = found.setdefault(one["reason"], one)
        counts = before["count"], one["count"]
        same = again or before["first"] == one["first"]
        found[one["reason"]] = before | {"count": max(counts) if same else sum(counts)}
    return list(found.values())[-REASONS:]
