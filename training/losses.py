"""Contrastive losses: pure functions of embeddings and a scale. They know no model."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def info_nce(image_features: Tensor, text_features: Tensor, logit_scale: Tensor) -> Tensor:
    """Symmetric InfoNCE over a batch of pairs (Radford et al. 2021, figure 3; van den Oord et al. 2018).

    loss = (CE(s I T^t, diag) + CE(s T I^t, diag)) / 2, where row i of `image_features` belongs to row i of
    `text_features`, and every other row of the batch is a negative.

    Args:
        image_features: (n, dim) unit rows.
        text_features: (n, dim) unit rows.
        logit_scale: () what cosines are multiplied by, 1 / temperature.

    Returns:
        () the mean loss in nats; log(n) for features that say nothing.
    """
    logits_per_image = logit_scale * image_features @ text_features.T  # (n, n)
    targets = torch.arange(len(logits_per_image), device=logits_per_image.device)
    return (F.cross_entropy(logits_per_image, targets) + F.cross_entropy(logits_per_image.T, targets)) / 2
