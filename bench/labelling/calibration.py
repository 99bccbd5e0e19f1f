"""Do scores mean what they say once they are calibrated, and is a precision that was asked for reached?

    python -m bench.labelling.calibration clothing --model runs/fashion --shots 8
    python -m bench.labelling.calibration types.csv --model runs/fashion --multi

The images are those of class folders, or of a table path,label. Half of them are fitted on; all figures are of the
other half, mean and standard deviation of five draws of the halves. --shots takes some images of each label out before,
as examples.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from bench.common import machine
from encoder.encoder import Vectors
from encoder.model.dual_encoder import DualEncoder
from encoder.model.load import load_encoder
from labelling.calibrate import Calibration, calibrate_set
from labelling.label_sets import LabelSet
from labelling.learned import Learned
from labelling.truth import Truth, encode_truth, new_labels, read_truth

DRAWS = 5
PRECISIONS = (0.7, 0.8, 0.9, 0.95)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("place", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--multi", action="store_true")
    parser.add_argument("--shots", type=int, default=0)
    parser.add_argument("--fewest", type=int, default=6, help="images that a label has at least")
    arguments = parser.parse_args()
    encoder = load_encoder(arguments.model)
    labels = new_labels(arguments.place)
    truth = read_truth(arguments.place, labels)
    often = truth.has.sum(axis=0) >= arguments.fewest
    kept = [label for label, is_kept in zip(labels, often, strict=True) if is_kept]
    label_set = LabelSet.of(kept, mode="multi" if arguments.multi else "single")
    truth, vectors = encode_truth(encoder, read_truth(arguments.place, label_set.labels))
    print(f"{machine()}\n{arguments.place}: {len(vectors)} images, {len(label_set.labels)} labels, {arguments.model}")
    plain = draws(encoder, label_set, truth, vectors, arguments.shots, None)
    for name in ("accuracy", "brier"):
        shown(name, [[getattr(done.before, name), getattr(done.after, name)] for done in plain])
    shown("calibration error", [[done.before.bins.error, done.after.bins.error] for done in plain])
    print(f"\n{'asked':>8}{'reached':>18}{'coverage':>18}{'recall':>18}{'never given':>18}")
    for precision in PRECISIONS:
        found = draws(encoder, label_set, truth, vectors, arguments.shots, precision)
        never = [sum(how == "out of reach" for how in done.thresholds.found) for done in found if done.thresholds]
        reached = [done.after.precision for done in found if done.after.precision is not None]
        columns = [reached, [done.after.coverage for done in found], [done.after.recall for done in found], never]
        print(f"{precision:8}" + "".join(f"{spread(column):>18}" for column in columns))


def draws(
    encoder: DualEncoder, label_set: LabelSet, truth: Truth, vectors: Vectors, shots: int, precision: float | None
) -> list[Calibration]:
    """Calibrations, each with other examples and other halves."""
    found = []
    for seed in range(DRAWS):
        asked = label_set
        if shots:
            order = np.random.default_rng(seed).permutation(len(vectors))
            rows = [row for label in range(len(label_set.labels)) for row in order[truth.has[order, label]][:shots]]
            targets = truth.has[rows].astype(np.float32)
            asked = replace(label_set, learned=Learned(encoder.fingerprint, examples=vectors[rows], targets=targets))
        found.append(calibrate_set(encoder, asked, truth, vectors, precision, seed=seed))
    return found


def shown(name: str, rows: list[list[float]]) -> None:
    before, after = zip(*rows, strict=True)
    print(f"{name:20}before {spread(before):>16}   after {spread(after):>16}")


def spread(values: object) -> str:
    array = np.asarray(values, float)
    return f"{array.mean():.3f} ± {array.std():.3f}" if array.size else "-"


if __name__ == "__main__":
    main()
