"""What was learned of a label set with one model: vectors of examples, a temperature, thresholds. Knows no image.

`labelling.calibrate` and `labelling.examples` learn it; this keeps it.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from base.errors import InputError

MOST_TARGETS = 50_000_000  # examples times labels, of a set: 200 MB while it is in use
Vectors = npt.NDArray[np.float32]


def _none() -> Vectors:
    return np.empty((0, 0), np.float32)


@dataclass(frozen=True, slots=True)
class Measured:
    """What a calibration was worth, on images that it did not see.

    Attributes:
        n_fit, n_held_out: images that it was fitted on, and measured on.
        ece_before, ece_after: expected calibration error.
        brier_before, brier_after: Brier score.
        precision: what was asked of each label; None: nothing was.
    """

    n_fit: int
    n_held_out: int
    ece_before: float
    ece_after: float
    brier_before: float
    brier_after: float
    precision: float | None = None


@dataclass(frozen=True, slots=True)
class Learned:
    """Of the labels of one set, in their order.

    Attributes:
        fingerprint: of the model; no other may use it.
        temperature: what logits are divided by before they become probabilities; None: uncalibrated.
        thresholds: the least score with which each label is given; empty: none was chosen.
        examples: (n, dim) unit vectors of labelled images.
        targets: (n, n_labels) 1 where an example has the label, else 0.
        model: its reference then, for people.
        measured: what temperature and thresholds are worth.
        stands_out: of several labels, the standard deviations from which on one is likelier than not.
        standard: (2, n_labels) mean and spread of each label over images, that several labels were calibrated with.
    """

    fingerprint: str
    temperature: float | None = None
    thresholds: tuple[float, ...] = ()
    examples: Vectors = field(default_factory=_none, compare=False)
    targets: Vectors = field(default_factory=_none, compare=False)
    model: str = ""
    measured: Measured | None = None
    stands_out: float | None = None
    standard: Vectors = field(default_factory=_none, compare=False)
    _key: bytes = field(default=b"", init=False, repr=False)  # stands for the arrays where two are compared

    def __post_init__(self) -> None:
        # kept in float16, so that what was kept and what is used are the same
        examples, targets = self.examples.astype(np.float16), self.targets.astype(bool)
        object.__setattr__(self, "examples", examples.astype(np.float32))
        object.__setattr__(self, "targets", targets.astype(np.float32))
        object.__setattr__(self, "standard", self.standard.astype(np.float32))
        object.__setattr__(self, "_key", examples.tobytes() + targets.tobytes() + self.standard.tobytes())

    @property
    def is_calibrated(self) -> bool:
        """Whether its scores mean what they say."""
        return self.temperature is not None

    def uncalibrated(self) -> Learned | None:
        """Its examples alone, if it has any: with other prompts, or other examples, scores mean something else."""
        if not len(self.examples):
            return None
        return Learned(self.fingerprint, examples=self.examples, targets=self.targets, model=self.model)

    @classmethod
    def of_examples(cls, examples: Vectors, targets: npt.NDArray[Any], *, fingerprint: str, model: str) -> Learned:
        """Unit rows (n, dim) and their `targets` (n, n_labels) alone. InputError for more than can be held."""
        n, n_labels = targets.shape
        if n * n_labels > MOST_TARGETS:
            raise InputError(
                f"{n} examples of {n_labels} labels are more than is held ({MOST_TARGETS:,} examples times labels); "
                f"give at most {MOST_TARGETS // n_labels}, or fewer labels"
            )
        return cls(fingerprint, examples=examples, targets=targets.astype(np.float32), model=model)

    def fits(self, n_labels: int) -> bool:
        """Whether it is of so many labels."""
        examples = not len(self.examples) or self.targets.shape == (len(self.examples), n_labels)
        standard = not self.standard.size or self.standard.shape == (2, n_labels)
        return examples and standard and len(self.thresholds) in (0, n_labels)

    def to_json(self) -> dict[str, Any]:
        """As `of_json` takes it, without what is unknown; arrays as base64 of floats, and of bytes, 0 or 1."""
        fields: dict[str, Any] = {"fingerprint": self.fingerprint}
        plain = {"model": self.model, "temperature": self.temperature, "stands_out": self.stands_out}
        fields |= {name: value for name, value in plain.items() if value not in (None, "")}
        if self.thresholds:
            fields["thresholds"] = list(self.thresholds)
        if self.measured is not None:
            fields["measured"] = asdict(self.measured)
        if len(self.examples):
            fields["examples"] = _encoded(self.examples.astype("<f2"))
            fields["targets"] = _encoded(self.targets.astype(np.uint8))
        if self.standard.size:
            fields["standard"] = _encoded(self.standard.astype("<f4"))
        return fields

    @classmethod
    def of_json(cls, content: Mapping[str, Any]) -> Learned:
        """Of what `to_json` gave. TypeError, ValueError or KeyError for anything else."""
        fields = dict(content)
        for name, dtype in {"examples": "<f2", "targets": "u1", "standard": "<f4"}.items():
            if name in fields:
                fields[name] = _decoded(fields[name], dtype)
        if "measured" in fields:
            fields["measured"] = Measured(**fields["measured"])
        return cls(**fields | {"thresholds": tuple(map(float, fields.get("thresholds", ())))})


def _encoded(rows: npt.NDArray[Any]) -> dict[str, Any]:
    return {"rows": len(rows), "base64": b64encode(np.ascontiguousarray(rows).tobytes()).decode()}


def _decoded(content: Mapping[str, Any], dtype: str) -> Vectors:
    flat = np.frombuffer(b64decode(content["base64"], validate=True), dtype)
    return flat.reshape(int(content["rows"]), -1).astype(np.float32)
