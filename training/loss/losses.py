"""The contrastive losses: pure functions of embeddings. They know no model, no batch loader and no other process.

All take unit rows and give the mean over their rows, in nats where it is a cross entropy. Shapes and names are shared:

    images, texts    (n, dim) and (n + m, dim): text i belongs to image i; the m texts after them are hard negatives,
                     which belong to no image of the batch
    positives        (n, n + m) bool, true where text j is right for image i, its own included; what is true is never
                     pushed apart. None: only its own
    rows             the rows whose loss is wanted, all by default. A process of several that holds all embeddings asks
                     for its own rows; the mean over processes is then the loss of the whole batch

Where a distance is meant, it is the Euclidean one between unit rows: d^2 = 2 - 2 cos.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

ALL = slice(None)


def info_nce(
    images: Tensor,
    texts: Tensor,
    logit_scale: Tensor,
    *,
    positives: Tensor | None = None,
    hardness: float = 0.0,
    rows: slice = ALL,
) -> Tensor:
    """Symmetric InfoNCE (van den Oord et al. 2018; CLIP, Radford et al. 2021, figure 3).

    The mean of `image_to_text` and `text_to_image`; log(n) for embeddings that say nothing.

    Args:
        images: (n, dim) unit rows.
        texts: (n + m, dim) unit rows.
        logit_scale: () what cosines are multiplied by, 1 / temperature.
        positives: (n, n + m) bool or None; see the top of the file.
        hardness: as `one_way_info_nce`.
        rows: whose loss is wanted.
    """
    forth = image_to_text(images, texts, logit_scale, positives=positives, hardness=hardness, rows=rows)
    back = text_to_image(images, texts, logit_scale, positives=positives, hardness=hardness, rows=rows)
    return (forth + back) / 2


def image_to_text(
    images: Tensor,
    texts: Tensor,
    logit_scale: Tensor,
    *,
    positives: Tensor | None = None,
    hardness: float = 0.0,
    rows: slice = ALL,
) -> Tensor:
    """One-way InfoNCE: each image chooses among all texts, hard negatives included. Arguments as `info_nce`."""
    right = _own(len(images), len(texts), images.device) if positives is None else positives
    return one_way_info_nce(images[rows], texts, logit_scale, right[rows], hardness=hardness)


def text_to_image(
    images: Tensor,
    texts: Tensor,
    logit_scale: Tensor,
    *,
    positives: Tensor | None = None,
    hardness: float = 0.0,
    rows: slice = ALL,
) -> Tensor:
    """One-way InfoNCE: each image's text chooses among all images. Arguments as `info_nce`."""
    n = len(images)
    right = _own(n, n, images.device) if positives is None else positives[:, :n].T
    return one_way_info_nce(texts[:n][rows], images, logit_scale, right[rows], hardness=hardness)


def one_way_info_nce(
    queries: Tensor, keys: Tensor, logit_scale: Tensor, positives: Tensor, *, hardness: float = 0.0
) -> Tensor:
    """Cross entropy of each right key against the wrong ones, averaged over the right keys of a query.

    -log( exp(s c+) / (exp(s c+) + sum over wrong keys of exp(s c-)) ), s the logit_scale and c cosines. With one right
    key a query it is InfoNCE. With several they do not compete with each other (SINCERE, Feeney & Hughes 2023): in a
    softmax over all keys two right ones would push each other away.

    Args:
        queries: (n, dim) unit rows.
        keys: (k, dim) unit rows.
        logit_scale: ().
        positives: (n, k) bool, at least one true a row.
        hardness: beta >= 0 of Robinson et al. 2021: a negative counts exp(beta * cosine) times, in units of the row's
            mean, so that near negatives count more and the sum over all negatives keeps its size. 0: all count once.
    """
    cosines = queries @ keys.T  # (n, k)
    logits = logit_scale * cosines
    against = logits + _log_hardness(cosines.detach(), positives, hardness) if hardness else logits
    return _cross_entropy(logits, against, positives, ~positives)


def nt_xent(
    first: Tensor, second: Tensor, logit_scale: Tensor, *, positives: Tensor | None = None, rows: slice = ALL
) -> Tensor:
    """NT-Xent between two views of each image (SimCLR, Chen et al. 2020, equation 1).

    Each of the 2n views has its other view as the right key, and the 2n - 2 views of other images as negatives.

    Args:
        first: (n, dim) unit rows.
        second: (n, dim) unit rows; row i is another view of the image of row i of `first`.
        logit_scale: ().
        positives: (n, n) bool: images whose views belong together (same file, same label). None: only itself.
        rows: whose loss is wanted.
    """
    n = len(first)
    itself = _own(n, n, first.device)
    together = itself if positives is None else positives
    right = torch.cat((together, together & ~itself), dim=1)[rows]  # a view is no key of its own ...
    wrong = torch.cat((~together, ~together), dim=1)[rows]  # ... and no negative either

    def one_way(queries: Tensor, keys: Tensor) -> Tensor:
        logits = logit_scale * queries[rows] @ torch.cat((keys, queries)).T  # (rows, 2n)
        return _cross_entropy(logits, logits, right, wrong)

    return (one_way(first, second) + one_way(second, first)) / 2


def contrastive(
    images: Tensor, texts: Tensor, margin: float, *, positives: Tensor | None = None, rows: slice = ALL
) -> Tensor:
    """Pairwise contrastive loss with a margin (Hadsell, Chopra & LeCun 2006, equation 4).

    d^2 / 2 for right pairs, averaged over those of a row, and max(0, margin - d)^2 / 2 for wrong ones, summed over
    those of a row, as the paper sums over all pairs. A wrong pair farther apart than the margin has no gradient, so the
    sum soon is one over the few near ones. A mean, over all wrong pairs or over those within the margin, weighs no more
    than one right pair: all rows run together before they are told apart.

    Args:
        images: (n, dim) unit rows.
        texts: (n + m, dim) unit rows.
        margin: a distance, 0 to 2; unrelated unit rows are about 1.41 apart.
        positives: (n, n + m) bool or None.
        rows: whose loss is wanted.
    """
    right = (_own(len(images), len(texts), images.device) if positives is None else positives)[rows]
    squared = _squared_distances(images[rows], texts)
    pull = (squared * right).sum(1) / right.sum(1)
    push = (margin - _root(squared)).clamp(min=0).square()
    return (pull + (push * ~right).sum(1)).mean() / 2


def triplet(
    images: Tensor,
    texts: Tensor,
    margin: float,
    *,
    mining: str = "semi-hard",
    positives: Tensor | None = None,
    rows: slice = ALL,
) -> Tensor:
    """Triplet loss max(0, d(anchor, right) - d(anchor, wrong) + margin), images and texts both as anchors.

    Args:
        images: (n, dim) unit rows.
        texts: (n + m, dim) unit rows.
        margin: a distance, 0 to 2.
        mining: "batch-hard": the farthest right and the nearest wrong one of the batch (Hermans et al. 2017); or
            "semi-hard": the anchor's own partner and the nearest wrong one that is farther than it, or the farthest
            wrong one if none is (FaceNet, Schroff et al. 2015), which does not collapse early in training.
        positives: (n, n + m) bool or None.
        rows: whose loss is wanted.
    """
    n = len(images)
    right = _own(n, len(texts), images.device) if positives is None else positives
    own = _own(n, len(texts), images.device)
    forth = one_way_triplet(images[rows], texts, right[rows], own[rows], margin, mining)
    back = one_way_triplet(texts[:n][rows], images, right[:, :n].T[rows], own[:, :n][rows], margin, mining)
    return (forth + back) / 2


def one_way_triplet(
    anchors: Tensor, others: Tensor, positives: Tensor, own: Tensor, margin: float, mining: str
) -> Tensor:
    """The triplet loss of anchors alone, a triplet each.

    Args:
        anchors: (n, dim) unit rows.
        others: (k, dim) unit rows.
        positives: (n, k) bool, at least one true a row.
        own: (n, k) bool, one of them a row: the partner that "semi-hard" compares with.
        margin: a distance, 0 to 2.
        mining: as `triplet`.
    """
    squared = _squared_distances(anchors, others)
    if mining == "batch-hard":
        near = squared.masked_fill(~positives, -torch.inf).amax(1)
        far = squared.masked_fill(positives, torch.inf).amin(1)
    else:
        near = squared[own]
        farther = ~positives & (squared > near[:, None])
        nearest = squared.masked_fill(~farther, torch.inf).amin(1)
        farthest = squared.masked_fill(positives, -torch.inf).amax(1)
        far = torch.where(farther.any(1), nearest, farthest)
    some = (~positives).any(1)  # a batch of one caption has nothing wrong to compare with
    hinge = (_root(near) - _root(far.where(some, near)) + margin).clamp(min=0)
    return (hinge * some).mean()


def siglip(
    images: Tensor,
    texts: Tensor,
    logit_scale: Tensor,
    logit_bias: Tensor,
    *,
    positives: Tensor | None = None,
    rows: slice = ALL,
) -> Tensor:
    """Sigmoid loss (SigLIP, Zhai et al. 2023, algorithm 1): each pair on its own, right or wrong.

    -log sigmoid(+-(logit_scale * cosine + logit_bias)), summed over an image's wrong texts and averaged over its right
    ones, of which the paper has one: a caption that many images share would else count its square times in a batch, and
    little but it would be learned. Averaged over images.

    Args:
        images: (n, dim) unit rows.
        texts: (n + m, dim) unit rows.
        logit_scale: ().
        logit_bias: (), the paper starts it at -10.
        positives: (n, n + m) bool or None.
        rows: whose loss is wanted.
    """
    right = (_own(len(images), len(texts), images.device) if positives is None else positives)[rows]
    logits = logit_scale * images[rows] @ texts.T + logit_bias
    each = -F.logsigmoid(torch.where(right, logits, -logits))
    return ((each * right).sum(1) / right.sum(1) + (each * ~right).sum(1)).mean()


def best_siglip_bias(images: Tensor, texts: Tensor, logit_scale: Tensor, *, positives: Tensor | None = None) -> Tensor:
    """The logit_bias () at which `siglip` of these embeddings is least. Arguments as there.

    Where nothing is wrong the loss falls without end; then it is one that says right to everything.
    """
    right = _own(len(images), len(texts), images.device) if positives is None else positives
    logits = (logit_scale * images @ texts.T).double()
    least = logits.new_tensor(-20.0) - logits.max()  # even the nearest pair is wrong, ...
    most = logits.new_tensor(20.0) - logits.min()  # ... even the farthest is right
    for _ in range(60):  # the loss is convex in the bias: halve until its slope is zero
        middle = (least + most) / 2
        chance = torch.sigmoid(logits + middle)
        slope = (chance * ~right).sum(1) - ((1 - chance) * right).sum(1) / right.sum(1)
        least, most = (middle, most) if slope.mean() < 0 else (least, middle)
    return ((least + most) / 2).to(images.dtype)


def _cross_entropy(logits: Tensor, against: Tensor, right: Tensor, wrong: Tensor) -> Tensor:
    """Mean over rows, and over a row's right entries, of log(1 + sum over wrong ones of exp(against) / exp(logit)).

    All (n, k).
    """
    negatives = against.masked_fill(~wrong, torch.finfo(against.dtype).min).logsumexp(1, keepdim=True)
    each = F.softplus(negatives - logits) * right
    return (each.sum(1) / right.sum(1)).mean()


def _own(n: int, k: int, device: torch.device) -> Tensor:
    """(n, k) bool: row i belongs to column i."""
    return torch.eye(n, k, dtype=torch.bool, device=device)


def _log_hardness(cosines: Tensor, positives: Tensor, hardness: float) -> Tensor:
    """(n, k): the logarithm of each negative's weight, 0 for positives."""
    weights = hardness * cosines
    negatives = weights.masked_fill(positives, -torch.inf)
    count = (~positives).sum(1, keepdim=True).clamp(min=1).to(cosines.dtype)
    mean = negatives.logsumexp(1, keepdim=True) - count.log()
    return (weights - mean).masked_fill(positives, 0.0)


def _squared_distances(x: Tensor, y: Tensor) -> Tensor:
    return (2 - 2 * x @ y.T).clamp(min=0)


def _root(squared: Tensor) -> Tensor:
    """The square root with a gradient of zero, not infinity, where two rows are the same."""
    return squared.clamp(min=1e-12).sqrt()
