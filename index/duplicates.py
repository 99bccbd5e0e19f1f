"""Finds pictures that are in a collection more than once: the same bytes, or alike in vector and in pixels.

It reads the collection and names groups. It deletes nothing, and looks at files only in `spare_files`; who compares
pixels is given to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from base.errors import InputError
from base.files import file_sha256
from base.progress import Progress
from base.sources.walk import RAW_SUFFIXES, is_spare_name, trailing_numbers
from index.collection import Collection, Hit, Record, View

BATCH = 512  # searches at a time
LOSSLESS = {".png", ".tif", ".tiff", ".bmp", ".psd", ".pnm", ".ppm", ".pgm"}
NEAREST = 16  # neighbours looked at first; where all are duplicates, more


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A picture that is much like the best one of its group."""

    record: Record
    score: float  # its cosine with the best one
    identical: bool  # it has the same bytes


@dataclass(frozen=True, slots=True)
class Group:
    """Pictures that are alike: the one to keep, and the others by falling score."""

    best: Record
    others: list[Duplicate]


def near_duplicates(
    collection: Collection,
    threshold: float = 0.9,
    *,
    twins: Callable[[str, str], bool] | None = None,
    progress: Progress | None = None,
) -> list[Group]:
    """Group images by the cosine of their vectors and by their pixels, the largest groups first.

    The best image lies in no recycle bin and is not named as a copy; of several it is a camera's raw file, or has the
    most pixels; of equal ones the larger file, then the one whose name ends in fewer small numbers (A rather than A-1),
    then the older entry. From the best one down, each that is in no group
    yet takes all those for its own whose cosine with it is `threshold` or more and that have the same bytes or are
    `twins`. So every member is that close to the one that would be kept. Connected components would not promise that: a
    chain of small steps makes one group of pictures that have nothing in common.

    It searches once for each image that is in no group, so its time is that of as many searches, and it finds what the
    collection's index finds. It holds a few numbers an image, and the records of those that are in groups.

    Args:
        collection: open; only its images are looked at.
        threshold: cosine, above 0 and at most 1. What means "the same picture" differs from model to model.
        twins: whether two files show the same picture. A model alone does not know: it may see no more than that both
            are dark. None: vectors decide alone.
        progress: told (done, all) now and then.

    Raises:
        InputError: no such threshold.
    """
    if not 0 < threshold <= 1:
        raise InputError(f"threshold must be above 0 and at most 1, not {threshold}")
    order = _best_first(collection)
    groups: list[Group] = []
    seen: set[int] = set()  # in a group, or known to be like none that is left
    for start in range(0, len(order), BATCH):
        records = collection.records_of(key for key in order[start : start + BATCH].tolist() if key not in seen)
        best_first = [records[key] for key in order[start : start + BATCH].tolist() if key in records]
        view = collection.read_view()
        x = collection.vectors([best.id for best in best_first])
        rows = [_alike(found, threshold) for found in view.nearest(x, NEAREST, "image")]
        records |= collection.records_of(key for near in rows for key, _ in near)
        for done, (best, vector, near) in enumerate(zip(best_first, x, rows, strict=True), start):
            if best.id in seen:
                continue
            if progress and twins:  # which may decode two large files for it
                progress(done, len(order))
            seen.add(best.id)
            if len(near) == NEAREST:
                near = _all_alike(view, vector, threshold)
                records |= collection.records_of(key for key, _ in near)
            hits = [Hit(score, records[key]) for key, score in near if key in records and key not in seen]
            others = _confirmed(best, hits, twins)
            if others:
                seen.update(hit.id for hit in others)
                groups.append(
                    Group(best, [Duplicate(hit.record, hit.score, _same(best, hit.record)) for hit in others])
                )
        if progress:
            progress(min(start + BATCH, len(order)), len(order))
    return _largest_first(groups)


def _confirmed(best: Record, hits: list[Hit], twins: Callable[[str, str], bool] | None) -> list[Hit]:
    """Those of the hits that show the same picture as the best one."""
    return [hit for hit in hits if not twins or _same(best, hit.record) or twins(*map(_file, (best, hit.record)))]


def identical_files(collection: Collection) -> list[Group]:
    """Group images whose files have the same bytes by their SHA-256, the largest groups first; vectors play no part."""
    keys = np.fromiter((hash(record.sha256) for record in _hashed(collection)), np.int64)
    keys.sort()
    repeated = set(keys[1:][keys[1:] == keys[:-1]].tolist())  # 8 bytes an image, instead of every hash as text
    copies: dict[str, list[Record]] = {}
    for record in _hashed(collection):
        if hash(record.sha256) in repeated:
            copies.setdefault(str(record.sha256), []).append(record)
    return _largest_first(
        [
            Group(best, [Duplicate(other, 1.0, identical=True) for other in others])
            for best, *others in (sorted(same, key=_plain_last) for same in copies.values())
            if others
        ]
    )


def spare_files(group: Group) -> list[str]:
    """Paths of the others that could be deleted without a loss.

    The best one's file is there with the bytes that were indexed, is not theirs (a link and the file that it leads to
    are one), is of no lesser kind (a raw file or a lossless one is never spare beside a JPEG), and its entry says all
    that theirs says.
    """
    best = group.best
    if not _is_as_indexed(best):
        return []
    return [
        str(other.record.path)
        for other in group.others
        if _is_as_indexed(other.record)
        and not Path(str(other.record.path)).samefile(str(best.path))
        and _worth(other.record) <= _worth(best)
        and best.metadata | other.record.metadata == best.metadata
    ]


def _is_as_indexed(record: Record) -> bool:
    """Whether its file has the bytes that the entry was made of."""
    try:
        return record.sha256 == file_sha256(record.path or "")
    except OSError:
        return False


def _worth(record: Record) -> int:
    suffix = Path(record.path or "").suffix.lower()
    return 2 if suffix in RAW_SUFFIXES else 1 if suffix in LOSSLESS else 0


def _best_first(collection: Collection) -> NDArray[np.int64]:
    """The ids (n,) of all images, the best one first."""
    rows = (
        (
            r.id,
            (r.width or 0) * (r.height or 0),
            r.size or 0,
            _worth(r) < 2,
            _is_spare(r),
            trailing_numbers(r.path or ""),
        )
        for r in collection.records("image")
    )
    ids, pixels, size, not_raw, spare, numbered = np.fromiter(rows, np.dtype((np.int64, 6))).T
    ordered: NDArray[np.int64] = ids[np.lexsort((ids, numbered, -size, -pixels, not_raw, spare))]
    return ordered


def _is_spare(record: Record) -> bool:
    return record.path is not None and is_spare_name(record.path)


def _plain_last(record: Record) -> tuple[bool, int, int]:
    return _is_spare(record), -len(record.metadata), _numbers(record)


def _numbers(record: Record) -> int:
    return trailing_numbers(record.path or "")


def _file(record: Record) -> str:
    return record.path or f"image {record.id}"


def _alike(found: tuple[NDArray[np.float32], NDArray[np.int64]], threshold: float) -> list[tuple[int, float]]:
    """Id and score of those that reach the threshold."""
    scores, ids = found
    alike = scores >= threshold
    return list(zip(ids[alike].tolist(), scores[alike].tolist(), strict=True))


def _all_alike(view: View, vector: NDArray[np.float32], threshold: float) -> list[tuple[int, float]]:
    """The same of all there are: it looks further until one does not reach it."""
    k = 8 * NEAREST
    while True:
        (found,) = view.nearest(vector[None], k, "image")
        near = _alike(found, threshold)
        if len(near) < k:
            return near
        k *= 8


def _same(a: Record, b: Record) -> bool:
    return a.sha256 is not None and a.sha256 == b.sha256


def _hashed(collection: Collection) -> Iterator[Record]:
    return (record for record in collection.records("image") if record.sha256)


def _largest_first(groups: list[Group]) -> list[Group]:
    return sorted(groups, key=lambda group: (-len(group.others), group.best.id))
