"""Label sets as a person sees them on a terminal, and as a program reads them."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from base.words import counted
from glimpse import console

if TYPE_CHECKING:
    from pathlib import Path

    from labelling.calibrate import Calibration
    from labelling.label_sets import LabelSet
    from labelling.learned import Learned
    from labelling.measure import Outcome

SHOWN = 200  # labels of a set; --json shows all


def print_set(name: str, label_set: LabelSet) -> None:
    """Print a label set: its labels, their prompts, and what was learned of them."""
    content = content_of(name, label_set)
    console.out.print(f"{name}: {summary(label_set)}")
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


def print_calibration(name: str, done: Calibration, file: Path) -> None:
    """Print what a calibration is worth; `file` is its report."""
    told, learned = calibration_of(done), done.label_set.learned
    fitted = learned.measured.n_fit if learned and learned.measured else 0
    on = counted(fitted, "image")
    console.out.print(f"{name}: calibrated on {on}, measured on {counted(len(done.truth.images), 'other')}; see {file}")
    rows = [
        (key.replace("_", " "), *("-" if told[when][key] is None else told[when][key] for when in ("before", "after")))
        for key in told["before"]
    ]
    console.out.print(console.table("", "before", "after", rows=rows))


def calibration_of(done: Calibration) -> dict[str, Any]:
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


def content_of(name: str, label_set: LabelSet) -> dict[str, Any]:
    """A label set for programs."""
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


def summary(label_set: LabelSet) -> str:
    """A label set in a few words."""
    each = "several an image" if label_set.mode == "multi" else "one an image"
    examples = len(label_set.learned.examples) if label_set.learned else 0
    learned = f", {counted(examples, 'example')}" if examples else ""
    scores = "calibrated" if label_set.is_calibrated else "uncalibrated"
    none = ", or none" if label_set.abstains else ""
    return f"{counted(len(label_set.labels), 'label')}, {each}{none}{learned}, {scores}"


def _learned_lines(learned: Learned | None) -> list[str]:
    """What was learned, and what that is worth."""
    if learned is None or not learned.is_calibrated:
        again = "glimpse labels calibrate has scores mean what they say"
        by = (
            [f"{counted(len(learned.examples), 'example')}, by {learned.model or learned.fingerprint}"]
            if learned
            else []
        )
        return [*by, f"uncalibrated: {again}"]
    lines = [f"learned with {learned.model or learned.fingerprint}"]
    at = f", standing out from {learned.stands_out:.2f}" if learned.stands_out is not None else ""
    lines.append(f"temperature {learned.temperature:.3g}{at}")
    if (measured := learned.measured) is not None:
        on = counted(measured.n_fit, "image")
        lines.append(
            f"calibrated on {on}; on {measured.n_held_out} others the calibration error went from "
            f"{measured.ece_before:.3f} to {measured.ece_after:.3f}"
        )
        if measured.precision is not None:
            lines.append(f"thresholds for a precision of {measured.precision:g}")
    return lines


def _first(prompts: list[str]) -> str:
    return f"{prompts[0]}{f'  and {len(prompts) - 1} more' if len(prompts) > 1 else ''}"
