"""The objective of a run: which loss, what counts as right, and how a batch's embeddings become one number.

It gathers the embeddings of all processes and takes the loss of this process's rows against all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from training.config import TrainConfig
from training.evaluation.geometry import hardest_negative_similarity, positive_similarity
from training.loss import losses
from training.model.distributed import Ranks

INFO_NCE = {
    "info-nce": losses.info_nce,
    "image-to-text": losses.image_to_text,
    "text-to-image": losses.text_to_image,
}


@dataclass(frozen=True)
class Features:
    """What the towers give for a batch.

    Attributes:
        images: (n, dim) float32 unit rows.
        texts: (n + m, dim) float32 unit rows, hard negatives last; for NT-Xent the (n, dim) second views.
        logit_scale: (), already exponentiated.
        logit_bias: (), 0 where the model has none.
    """

    images: Tensor
    texts: Tensor
    logit_scale: Tensor
    logit_bias: Tensor


@dataclass(frozen=True)
class Objective:
    """A loss over the batch of all processes; rows that share a caption, an image or a label are not pushed apart."""

    config: TrainConfig
    ranks: Ranks

    def __call__(
        self,
        features: Features,
        ids: Tensor,
        negative_ids: Tensor,
        counts: Sequence[tuple[int, int]],
        progress: float = 1.0,
    ) -> tuple[Tensor, dict[str, float]]:
        """The share of this process in the loss () and in some measures; means over processes are those of the batch.

        Args:
            features: of this process's rows.
            ids: (n, 3) int64; see `positives_of`.
            negative_ids: (m,) int64.
            counts: (n, m) of every process; they may differ.
            progress: the share of the run's steps that is done, 0 to 1.
        """
        gathered, right, rows = self._gather(features, ids, negative_ids, counts)
        share = len(ids) * self.ranks.world / sum(n for n, _ in counts)
        loss = self._loss(gathered, right if self.config.multi_positive else None, rows, progress)
        measures = self._measure(gathered, right[rows], rows)
        return loss * share, {name: value * share for name, value in measures.items()}

    def best_bias(
        self, features: Features, ids: Tensor, negative_ids: Tensor, counts: Sequence[tuple[int, int]]
    ) -> Tensor:
        """The logit_bias () at which the sigmoid loss of the whole batch is least; the same in every process."""
        f, right, _ = self._gather(features, ids, negative_ids, counts)
        positives = right if self.config.multi_positive else None
        return losses.best_siglip_bias(f.images, f.texts, f.logit_scale, positives=positives)

    def _gather(
        self, features: Features, ids: Tensor, negative_ids: Tensor, counts: Sequence[tuple[int, int]]
    ) -> tuple[Features, Tensor, slice]:
        """The features of all processes, which of them belong together, and the rows of this process."""
        n, rank = len(ids), self.ranks.rank
        rows_of, extra = [n for n, _ in counts], [m for _, m in counts]
        images = self.ranks.gather(features.images, rows_of)
        texts = self.ranks.gather(features.texts[:n], rows_of)
        ids = self.ranks.gather(ids, rows_of)
        if sum(extra):
            texts = torch.cat((texts, self.ranks.gather(features.texts[n:], extra)))
            negative_ids = self.ranks.gather(negative_ids, extra)
        right = positives_of(ids, negative_ids)
        start = sum(rows_of[:rank])
        gathered = Features(images, texts, features.logit_scale, features.logit_bias)
        return gathered, right, slice(start, start + n)

    def _loss(self, f: Features, positives: Tensor | None, rows: slice, progress: float) -> Tensor:
        config = self.config
        match config.loss:
            case "contrastive":
                return losses.contrastive(f.images, f.texts, config.used_margin, positives=positives, rows=rows)
            case "triplet":
                mining = config.mining_at(progress)
                return losses.triplet(
                    f.images, f.texts, config.used_margin, mining=mining, positives=positives, rows=rows
                )
            case "siglip":
                return losses.siglip(f.images, f.texts, f.logit_scale, f.logit_bias, positives=positives, rows=rows)
            case "nt-xent":
                return losses.nt_xent(f.images, f.texts, f.logit_scale, positives=positives, rows=rows)
            case name:
                loss, hardness = INFO_NCE[name], config.hardness
                return loss(f.images, f.texts, f.logit_scale, positives=positives, hardness=hardness, rows=rows)

    def _measure(self, f: Features, right: Tensor, rows: slice) -> dict[str, float]:
        images, texts = f.images[rows].detach(), f.texts.detach()
        measures = {
            "positive_similarity": float(positive_similarity(images, texts[: len(f.images)][rows])),
            "hardest_negative_similarity": float(hardest_negative_similarity(images, texts, right)),
        }
        if self.config.loss in (*INFO_NCE, "nt-xent"):
            measures["guess"] = self._guess(right, len(f.images))
        return measures

    def _guess(self, right: Tensor, n: int) -> float:
        """The loss of embeddings that say nothing: the logarithm of how many answers there are, the right one included.

        Args:
            right: (rows, n + m) bool.
            n: images of the batch. An image chooses among its texts and hard negatives, a text among the images.
        """

        def among(answers: Tensor) -> float:
            wrong = (~answers).sum(1) if self.config.multi_positive else torch.tensor([answers.shape[1] - 1])
            views = 2 if self.config.images_only else 1  # of each wrong image
            return float((views * wrong.float()).log1p().mean())

        match self.config.loss:
            case "info-nce":
                return (among(right) + among(right[:, :n])) / 2
            case "text-to-image":
                return among(right[:, :n])
            case _:
                return among(right)


def positives_of(ids: Tensor, negative_ids: Tensor) -> Tensor:
    """(n, n + m) bool: what shares a caption, an image or a label, and every row with itself.

    Args:
        ids: (n, 3) int64, caption, image and label; 0 equals nothing.
        negative_ids: (m,) int64, captions of the hard negatives, which may be another row's own.
    """
    own = torch.eye(len(ids), len(ids) + len(negative_ids), dtype=torch.bool, device=ids.device)
    caption, image, label = ids.T
    captions = torch.cat((caption, negative_ids))
    own |= _equal(caption, captions)
    for column in (image, label):
        own[:, : len(ids)] |= _equal(column, column)
    return own


def _equal(x: Tensor, y: Tensor) -> Tensor:
    return (x[:, None] == y) & (x != 0)[:, None]
