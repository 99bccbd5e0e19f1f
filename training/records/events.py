"""What a run tells of itself while it goes: one frozen dataclass an event."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from base.sources.left_out import LeftOut


@dataclass(frozen=True)
class Started:
    """The plan, before the first step."""

    n_train: int
    n_val: int
    left_out: LeftOut  # of the source
    parameters: int
    trainable: int  # of the parameters
    steps: int
    device: str
    precision: str
    world: int  # processes
    resumed_at: int  # step
    probe: str | None = None  # what kind of second set it is


@dataclass(frozen=True)
class Step:
    """One optimiser step is done."""

    step: int  # from 1
    steps: int
    epoch: int
    loss: float
    lr: float
    logit_scale: float
    grad_norm: float  # before clipping
    samples_per_second: float  # of all processes, reading the images included
    measures: dict[str, float] = field(default_factory=dict)  # of the batch; see `training.loss.objective`

    def flat(self) -> dict[str, float]:
        """As the journal keeps it."""
        record = asdict(self)
        del record["steps"]
        measures: dict[str, float] = record.pop("measures")
        return record | measures


@dataclass(frozen=True)
class Epoch:
    """An epoch is done and measured on the held-out part; epoch 0 is the model as it was before training."""

    epoch: int
    loss: float | None
    metrics: dict[str, Any]
    score: float  # what the best epoch is chosen by: mean recall or top-1, averaged with the probe if there is one
    probe: float | None
    best: bool
    skipped: int  # images that could not be read ...
    unreadable: list[str]  # ... and some of them with the reason, of the whole run
    seconds: float
    logit_scale: float
    clamped: bool  # whether the scale sits on its limit
    guess: float | None  # the loss of guessing, where the loss is a cross entropy
    health: dict[str, Any]  # `training.evaluation.geometry.Geometry`


@dataclass(frozen=True)
class Warned:
    """Something is wrong that a person should know now."""

    message: str


@dataclass(frozen=True)
class Interpolated:
    """The weights between the starting model's (alpha 0) and the best epoch's (alpha 1) were tried.

    Where no epoch was better than the start, the last epoch's stand for the best one's.
    """

    alpha: float  # the best, which the run folder now holds
    sweep: list[dict[str, float | None]]  # {"alpha", "score", "validation", "probe"}


@dataclass(frozen=True)
class Finished:
    """The run is over, or was stopped and can be resumed."""

    out: str
    best_epoch: int
    best_score: float  # of what the run folder holds
    stopped: bool
    alpha: float | None = None  # the share of the trained weights in it; None: nothing was mixed


Event = Started | Step | Epoch | Warned | Interpolated | Finished
