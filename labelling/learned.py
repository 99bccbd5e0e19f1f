"""What was learned of a label set with one model: vectors of examples, a temperature, thresholds. Knows no image."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Learned:
    """Of the labels of one set, in their order.

    Attributes:
        fingerprint: of the model; no other may use it.
        temperature: what logits are divided by before they become probabilities; None: uncalibrated.
        thresholds: the least score with which each label is given; empty: none was chosen.
        examples: (n, dim) unit vectors of labelled images.
        targets: (n, n_labels) 1 where an example has the label, else 0.
    """

    fingerprint: str
    temperature: float | None = None
    thresholds: tuple[float, ...] = ()
    examples: Vectors = field(default_factory=lambda: np.empty((0, 0), np.float32), compare=False)
    targets: Vectors = field(default_factory=lambda: np.empty((0, 0), np.float32), compare=False)
    _key: bytes = field(default=b"", init=False, repr=False)  # stands for the arrays where two are compared

    def __post_init__(self) -> None:
        # kept in float16, so that what was kept and what is used are the same
        examples, targets = self.examples.astype(np.float16), self.targets.astype(bool)
        object.__setattr__(self, "examples", examples.astype(np.float32))
        object.__setattr__(self, "targets", targets.astype(np.float32))
        object.__setattr__(self, "_key", examples.tobytes() + targets.tobytes())

    def fits(self, n_labels: int) -> bool:
        """Whether it is of so many labels."""
        examples = not len(self.examples) or self.targets.shape == (len(self.examples), n_labels)
        return examples and len(self.thresholds) in (0, n_labels)

    def to_json(self) -> dict[str, Any]:
        """As `of_json` takes it; arrays as base64 of float16, and of bytes that are 0 or 1."""
        fields: dict[str, Any] = {"fingerprint": self.fingerprint}
        if self.temperature is not None:
            fields["temperature"] = self.temperature
        if self.thresholds:
            fields["thresholds"] = list(self.thresholds)
        if len(self.examples):
            fields["examples"] = _encoded(self.examples.astype("<f2"))
            fields["targets"] = _encoded(self.targets.astype(np.uint8))
        return fields

    @classmethod
    def of_json(cls, content: Mapping[str, Any]) -> Learned:
        """Of what `to_json` gave. TypeError, ValueError or KeyError for anything else."""
        fields = dict(content)
        if "examples" in fields:
            fields["examples"] = _decoded(fields["examples"], "<f2")
            fields["targets"] = _decoded(fields["targets"], "u1")
        return cls(**fields | {"thresholds": tuple(map(float, fields.get("thresholds", ())))})


def _encoded(rows: npt.NDArray[Any]) -> dict[str, Any]:
    return {"rows": len(rows), "base64": b64encode(np.ascontiguousarray(rows).tobytes()).decode()}


def _decoded(content: Mapping[str, Any], dtype: str) -> Vectors:
    flat = np.frombuffer(b64decode(content["base64"], validate=True), dtype)
    return flat.reshape(int(content["rows"]), -1).astype(np.float32)
