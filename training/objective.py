"""The objective of a run: which loss, what counts as right, and how a batch's embeddings become one number.

It gathers the embeddings of all processes and takes the loss of this process's rows against all of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from training import losses
from training.config import TrainConfig
from training.health import hardest_negative_similarity, positive_similarity
from training.ranks import Ranks

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
    """A loss over the batch of all processes.

    `ids` (n, 3) and `negative_ids` (m,) int64 say what belongs together: rows that share the caption, the image or the
    label (0: has none) are not pushed apart.
    """

    config: TrainConfig
    ranks: Ranks

    def __call__(self, features: Features, ids: Tensor, negative_ids: Tensor) -> tuple[Tensor, dict[str, float]]:
        """The loss () of this process's share, and measures of the whole batch.

        The mean over processes of the losses is the loss of the whole batch, also where they have unlike numbers of
        rows.
        """
        n = len(ids)
        counts, extra = self.ranks.counts(n), self.ranks.counts(len(negative_ids))
        images = self.ranks.gather(features.images, counts)
        texts = self.ranks.gather(features.texts[:n], counts)
        ids = self.ranks.gather(ids, counts)
        if sum(extra):
            texts = torch.cat((texts, self.ranks.gather(features.texts[n:], extra)))
            negative_ids = self.ranks.gather(negative_ids, extra)
        positives = positives_of(ids, negative_ids) if self.config.multi_positive else None
        start = sum(counts[: self.ranks.rank])
        rows = slice(start, start + n)
        share = n * self.ranks.world / sum(counts)
        gathered = Features(images, texts, features.logit_scale, features.logit_bias)
        loss = self._loss(gathered, positives, rows)
        return loss * share, _measure(gathered, positives)

    def _loss(self, f: Features, positives: Tensor | None, rows: slice) -> Tensor:
        config = self.config
        match config.loss:
            case "contrastive":
                return losses.contrastive(f.images, f.texts, config.used_margin, positives=positives, rows=rows)
            case "triplet":
                mining = config.mining
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


def _measure(features: Features, positives: Tensor | None) -> dict[str, float]:
    n = len(features.images)
    images, texts = features.images.detach(), features.texts[:n].detach()
    own = torch.eye(n, dtype=torch.bool, device=images.device) if positives is None else positives[:, :n]
    return {
        "positive_similarity": float(positive_similarity(images, texts)),
        "hardest_negative_similarity": float(hardest_negative_similarity(images, texts, own)),
    }
