"""Warnings in plain words: what a person should know of a run, before it begins and from the measures of its epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from base.sources.left_out import LeftOut
from encoder.cut import CutTexts

Record = Mapping[str, Any]

FEW = 20  # held out
NARROW = -0.2  # uniformity above this: at most 4 * (1 - cos) = 0.2, the rows lie in a cone of mean cosine 0.95
POINT = -0.02  # the same for a mean cosine of 0.995
FLAT = 3.0  # effective rank
ONE_PLACE = 0.9  # cosine of images with texts that are not theirs
APART = 0.05  # positives this much closer than negatives are told apart, however narrow the space
AT_GUESS = 0.99  # of the loss of guessing: an epoch above it has gained nothing
TELLS_APART = 0.9  # of the loss of guessing
FORGOTTEN = 0.05  # of the probe's start


def warnings_before(cut: CutTexts, probe: LeftOut, *, held_out: int, larger: str, parts_norms: bool) -> list[str]:
    """What can be told before the first step, likewise.

    Args:
        cut: of the captions, those that are longer than the model reads.
        probe: what of the probe is not used.
        held_out: pairs or images.
        larger: what would make them more.
        parts_norms: the model has batch norms, and a batch goes through it in parts.
    """
    warnings = [f"Probe not whole: {line}." for line in probe.lines()]
    if cut.read:
        warnings.append(f"Long captions: {cut}.")
    if held_out < FEW:
        warnings.append(
            f"Few held out: {held_out} can hardly tell one epoch from another; give more pairs, or {larger}."
        )
    if parts_norms:
        warnings.append(
            "Batch norm: this model's layers normalise each chunk and each process by itself, so the gradient is "
            "not exactly that of the whole batch; a transformer has no such layers."
        )
    return warnings


def warnings_of(records: Sequence[Record], *, ended: bool = True) -> list[str]:
    """What a person should know of a run, each in one sentence with its remedy, its kind before a colon.

    All look at where the run stands now, its last epoch, against its start, epoch 0. Nothing is said before a first
    epoch of training.

    Args:
        records: those of `metrics.json`, from epoch 0 on.
        ended: whether the run is over; that it is worse than its start is no news while it warms up, nor is a first
            epoch that learned nothing.
    """
    if len(records) < 2:
        return []
    checks = [_collapsed, _forgot, _on_its_clamp]
    checks += [_learned_nothing] * (ended or len(records) > 2) + [_below_its_start] * ended
    return [warning for check in checks if (warning := check(records)) is not None]


def _collapsed(records: Sequence[Record]) -> str | None:
    """Images or texts fell together, or never came apart.

    Narrow alone says nothing: random weights put all images at cosine 0.99 and more, and a healthy run widens them
    within an epoch or two. Nor does recall: trained without negatives, all vectors run into a point in an order that
    recall still finds for a while. Training from random weights may begin by narrowing the space and then widen it, so
    a narrow one counts when it is getting no wider, or when images and texts are all in the same place.
    """
    loss, guess = records[-1].get("loss"), records[-1].get("guess")
    if loss is not None and guess is not None and loss < TELLS_APART * guess:
        return None  # what lies in one place cannot be told apart; batch norms that still settle may make it seem so
    before, previous, after = (_health(records[i]) for i in (0, -2, -1))
    in_one_place = _above(after, "negative_similarity", ONE_PLACE)
    apart = _difference(after.get("positive_similarity"), after.get("negative_similarity"))
    for side in ("images", "texts"):
        spread, rank = f"uniformity_{side}", f"effective_rank_{side}"
        narrowed = _above(after, spread, NARROW) and _above(after, spread, before.get(spread), share=0.5)
        flattened = _above(before, rank, after.get(rank), share=2) and not _above(after, rank, FLAT)
        stuck = len(records) > 2 and _above(previous, spread, POINT) and _above(after, spread, POINT)
        settled = in_one_place or (len(records) > 2 and _above(after, spread, previous.get(spread)))
        if stuck or ((narrowed or flattened) and settled and apart is not None and apart < APART):
            return (
                f"Collapse: after epoch {records[-1]['epoch']} the {side} all have nearly the same embedding; start "
                "anew with a lower --lr, a larger --batch-size, and a loss that has negatives (triplet: semi-hard)."
            )
    return None


def _learned_nothing(records: Sequence[Record]) -> str | None:
    """The loss of every epoch is that of guessing."""
    trained = [(r["loss"], r["guess"]) for r in records if r.get("loss") is not None and r.get("guess") is not None]
    if not trained or any(not loss > AT_GUESS * guess for loss, guess in trained):
        return None
    (first, _), (loss, guess) = trained[0], trained[-1]
    if loss < 0.95 * first:  # it began above, and is on its way down
        return None
    return (
        f"Nothing learned: the loss stays at {loss:.2f}, and guessing costs {guess:.2f}; "
        "check that the captions belong to their images, then try another --lr."
    )


def _below_its_start(records: Sequence[Record]) -> str | None:
    start, last = records[0], records[-1]
    change = _difference(last.get("score"), start.get("score"))
    if change is None or change >= 0:
        return None
    best = max(records, key=lambda record: record.get("score") or 0.0)
    best_of = f"the best was epoch {best['epoch']}" if best["epoch"] else "no epoch was better"
    return (
        f"Worse than the start: epoch {last['epoch']} scores {last['score']:.3f}, before training it was "
        f"{start['score']:.3f}; {best_of}, and a lower --lr or more pairs may help."
    )


def _forgot(records: Sequence[Record]) -> str | None:
    start, last = records[0].get("probe"), records[-1].get("probe")
    if start is None or last is None or last >= start * (1 - FORGOTTEN):
        return None
    return (
        f"Forgetting: the probe fell from {start:.3f} to {last:.3f}; train with a lower --lr, lock a tower, use LoRA, "
        "or mix the weights with those of the start."
    )


def _on_its_clamp(records: Sequence[Record]) -> str | None:
    """Reached in this run: many published CLIP models come with their scale on the clamp, which says nothing."""
    if not records[-1].get("clamped") or records[0].get("clamped"):
        return None
    return (
        f"Temperature on its limit: logit_scale is {records[-1]['logit_scale']:.0f} and may go no higher, so "
        "the pairs are too easy to tell apart; use a larger --batch-size or hard negatives, or fix the temperature."
    )


def _health(record: Record) -> Record:
    return record.get("health") or {}


def _above(health: Record, key: str, bound: float | None, share: float = 1.0) -> bool:
    """Whether a measure is there and above a share of a bound that is there too."""
    value = health.get(key)
    return value is not None and bound is not None and value > share * bound


def _difference(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b
