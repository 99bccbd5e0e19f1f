"""What a run has by now, counted by its store: images with each label, with none, unread. No row is made for it."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence

from labelling.rows import LabelReport
from labelling.runs.store import RunStore


def per_label(store: RunStore, without: Sequence[int] = ()) -> dict[str, int]:
    """How many images have each label that any has; but for some images, by id."""
    return dict(
        store.query(
            "SELECT given.value ->> 0, count(*) FROM images, json_each(answers) AS given"
            f" WHERE error = '' AND {_NOT_AMONG} GROUP BY 1",
            without=json.dumps(without),
        )
    )


def count(store: RunStore, report: LabelReport, without: Sequence[int] = ()) -> None:
    """Fill in a report's counts, and the reasons of what could not be read; but for some images, by id."""
    gone = json.dumps(without)
    for label, images in per_label(store, without).items():
        report.per_label[label] = report.per_label.get(label, 0) + images
    [(report.labelled, report.abstained)] = store.query(
        "SELECT coalesce(sum(answers <> '[]'), 0), coalesce(sum(answers = '[]'), 0) FROM images"
        f" WHERE error = '' AND answers IS NOT NULL AND {_NOT_AMONG}",
        without=gone,
    )
    for column, named in (("error", report.skips), ("cut_off", report.cuts)):
        also = "" if column == "error" else "error = '' AND "
        found = store.query(
            f"SELECT path, {column} FROM images WHERE {also}{column} <> '' AND {_NOT_AMONG} ORDER BY path",
            without=gone,
        )
        named += [(os.fsdecode(path), reason) for path, reason in found]
    report.skipped, report.cut_off = len(report.skips), len(report.cuts)


_NOT_AMONG = "images.id NOT IN (SELECT value FROM json_each(:without))"
