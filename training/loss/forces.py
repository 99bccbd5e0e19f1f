"""A loss on a few points, and the force on each: what a contrastive loss does, for who wants to see it.

The losses, the measures of the space and the warnings are those of a training; points come and go as numpy. There is
no model, no data and no step here: who moves the points does so with what comes back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from base.errors import InputError
from training.evaluation.geometry import geometry_of, mutual_information_bound
from training.evaluation.warnings import warnings_of
from training.loss import losses

Points = npt.NDArray[np.float64]
LossName = Literal["info-nce", "triplet", "contrastive", "siglip"]
Mining = Literal["semi-hard", "batch-hard"]
HISTOGRAMS = ("positive_histogram", "negative_histogram")


@dataclass(frozen=True)
class OneWayLoss:
    """A loss of anchors against others, with its settings; those of the other losses count for nothing.

    Attributes:
        name: "info-nce", "triplet", "contrastive" or "siglip".
        temperature: of info-nce and siglip; cosines are divided by it.
        bias: of siglip.
        margin: of triplet and contrastive, a distance.
        mining: of triplet, which wrong one it looks at.
        hardness: of info-nce, how much more near wrong ones count.
    """

    name: LossName
    temperature: float = 0.07
    bias: float = -10.0
    margin: float = 0.2
    mining: Mining = "semi-hard"
    hardness: float = 0.0

    def __call__(self, anchors: Tensor, others: Tensor, positives: Tensor) -> Tensor:
        """The loss () of unit rows (n, dim) against (k, dim); `positives` (n, k) bool says which are right."""
        scale = anchors.new_tensor(1 / self.temperature)
        match self.name:
            case "info-nce":
                return losses.one_way_info_nce(anchors, others, scale, positives, hardness=self.hardness)
            case "siglip":
                return losses.siglip(anchors, others, scale, anchors.new_tensor(self.bias), positives=positives)
            case "contrastive":
                return losses.contrastive(anchors, others, self.margin, positives=positives)
            case "triplet":
                own = F.one_hot(positives.int().argmax(1), len(others)).bool()
                return losses.one_way_triplet(anchors, others, positives, own, self.margin, self.mining)

    def guess(self, positives: Tensor) -> float | None:
        """The loss of embeddings that say nothing, where that is a number that all know: log n of info-nce."""
        return float((~positives).sum(1).double().log1p().mean()) if self.name == "info-nce" else None


@dataclass(frozen=True, eq=False)
class Forces:
    """What a loss says of points.

    Attributes:
        loss: in nats where it is a cross entropy.
        guess: of embeddings that say nothing; None: that loss has none.
        bound: nats that anchors and others are proved to share, at most `guess`; None likewise.
        anchors, others: (n, dim) and (k, dim), the gradient of the loss by each point: a step of training goes against
            it. It is that of the points as they were given, before they were brought to unit length.
        cosines: (k,) of the first anchor with the others.
        pulls: (k,) how fast the loss falls as each of those cosines grows: above 0 the two are drawn together, below
            0 pushed apart.
        record: of an epoch, as a run keeps it and `warnings_of` reads it.
        warnings: what a training would say now.
    """

    loss: float
    guess: float | None
    bound: float | None
    anchors: Points
    others: Points
    cosines: Points
    pulls: Points
    record: dict[str, Any]
    warnings: list[str]


def forces(
    anchors: Points,
    others: Points,
    right: Sequence[Sequence[int]] | None,
    loss: OneWayLoss,
    *,
    earlier: Sequence[Mapping[str, Any]] = (),
    epoch: int = 0,
) -> Forces:
    """The loss of points, and how it pulls at them.

    Args:
        anchors: (n, dim) of any length but none; what counts is their direction.
        others: (k, dim) likewise.
        right: of each anchor the rows of `others` that belong to it; what is not right is wrong. None: anchor i has
            row i alone.
        loss: which, with its settings.
        earlier: the records of earlier epochs, the first being that of the start, which warnings look back at.
        epoch: what this moment is called among them.

    Raises:
        InputError: a point without a direction, or an anchor without what is right for it.
    """
    positives = _positives(len(anchors), len(others), right)
    given = [_with_direction(anchors, "anchors"), _with_direction(others, "others")]
    x, y = (F.normalize(points, dim=1) for points in given)
    value = loss(x, y, positives)
    of_anchors, of_others = torch.autograd.grad(value, given)
    cosines = (x @ y.T).detach()
    # A loss sees nothing but cosines, so beside the identity they may stand for the anchors themselves.
    by_cosine = cosines.clone().requires_grad_()
    [slopes] = torch.autograd.grad(loss(by_cosine, torch.eye(len(y), dtype=y.dtype), positives), [by_cosine])
    guess = loss.guess(positives)
    health = asdict(geometry_of(x.detach(), y.detach(), positives))
    record = {
        "epoch": epoch,
        "loss": value.item(),
        "guess": guess,
        "health": {name: measure for name, measure in health.items() if name not in HISTOGRAMS},
    }
    return Forces(
        loss=value.item(),
        guess=guess,
        bound=None if guess is None else mutual_information_bound(value.item(), guess),
        anchors=of_anchors.numpy(),
        others=of_others.numpy(),
        cosines=cosines[0].numpy(),
        pulls=-slopes[0].numpy(),
        record=record,
        warnings=warnings_of([*earlier, record]),
    )


def _positives(n: int, k: int, right: Sequence[Sequence[int]] | None) -> Tensor:
    """(n, k) bool."""
    if right is None:
        if n > k:
            raise InputError(f"{n} anchors have {k} others: give each anchor one, or say in `right` which are whose")
        return torch.eye(n, k, dtype=torch.bool)
    if len(right) != n:
        raise InputError(f"right: {n} anchors, and {len(right)} lists of what is right for them")
    positives = torch.zeros(n, k, dtype=torch.bool)
    for i, rows in enumerate(right):
        if not rows:
            raise InputError(f"right: nothing is right for anchor {i}")
        if not all(0 <= row < k for row in rows):
            raise InputError(f"right: others are 0 to {k - 1}, and of anchor {i} there is {max(rows, key=abs)}")
        positives[i, list(rows)] = True
    return positives


def _with_direction(points: Points, what: str) -> Tensor:
    """The points as a leaf of the gradient. InputError for one that is nowhere but at the centre."""
    short = np.flatnonzero(np.linalg.norm(points, axis=1) < 1e-6)
    if len(short):
        raise InputError(f"{what}: point {short[0]} lies at the centre, from where it has no direction")
    return torch.from_numpy(np.asarray(points, np.float64)).requires_grad_()
