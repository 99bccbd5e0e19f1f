"""Retrieval and classification metrics: pure numpy on score matrices. They know no model.

recall@k is the field's: the share of queries with at least one relevant item among the first k. With several relevant
items to a query that is not the information-retrieval recall (the share of relevant items found), which is never more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[np.float32]
KS = (1, 5, 10)


def first_relevant_ranks(scores: Scores, relevant: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """The rank, from 1, of the best-scored relevant item of each query.

    A tie with an item that is not relevant counts against the model, so equal scores everywhere earn nothing, and so
    do scores that are not numbers.

    Args:
        scores: (n_queries, n_items), higher is better.
        relevant: (n_queries, n_items); each row has at least one.
    """
    best = np.where(relevant, scores, -np.inf).max(axis=1, keepdims=True)
    return 1 + (~(scores < best) & ~relevant).sum(axis=1)  # type: ignore[no-any-return]


def recall_at_k(ranks: npt.NDArray[np.int64]) -> dict[str, float]:
    """`recall@1`, `recall@5`, `recall@10` and the median rank of (n_queries,) ranks of the first relevant item."""
    recalls = {f"recall@{k}": float((ranks <= k).mean()) for k in KS}
    return recalls | {"median_rank": float(np.median(ranks))}


def retrieval_metrics(
    images: Scores, texts: Scores, image_of_pair: Sequence[int], text_of_pair: Sequence[int], chunk: int = 1024
) -> dict[str, Any]:
    """Retrieval both ways between unit vectors, in chunks of queries so that memory stays bounded.

    Args:
        images: (n_images, dim), each image once.
        texts: (n_texts, dim), each text once.
        image_of_pair: (n_pairs,) row of each pair's image; every row occurs.
        text_of_pair: (n_pairs,) row of each pair's text; every row occurs.
        chunk: queries scored at a time.

    Returns:
        `{"n_images", "n_texts", "text_to_image": {recall@k, median_rank}, "image_to_text": {...}}`.
    """
    of_image, of_text = np.asarray(image_of_pair), np.asarray(text_of_pair)
    return {
        "n_images": len(images),
        "n_texts": len(texts),
        "text_to_image": recall_at_k(_ranks(texts, images, of_text, of_image, chunk)),
        "image_to_text": recall_at_k(_ranks(images, texts, of_image, of_text, chunk)),
    }


def selection_score(validation: float, probe: float | None) -> float:
    """What a model is chosen by: to be good at the new, and with a probe as much not to forget the old."""
    return validation if probe is None else (validation + probe) / 2


def view_metrics(first: Scores, second: Scores) -> dict[str, Any]:
    """Retrieval between two views of each image, (n, dim) unit vectors each: `{"n_images", "view_to_view": {...}}`."""
    rows = range(len(first))
    return {
        "n_images": len(first),
        "view_to_view": recall_at_k(_ranks(first, second, np.array(rows), np.array(rows), chunk=1024)),
    }


def mean_recall(metrics: dict[str, Any]) -> float:
    """Mean of the recalls of `retrieval_metrics`, of all its directions: one number to choose a checkpoint by."""
    directions = [value for value in metrics.values() if isinstance(value, dict) and "recall@1" in value]
    return float(np.mean([direction[f"recall@{k}"] for direction in directions for k in KS]))


def classification_metrics(scores: Scores, truth: Sequence[int], labels: Sequence[str]) -> dict[str, Any]:
    """Accuracy of (n_images, n_labels) scores against the true label of each image.

    Returns:
        `{"n_images", "n_labels", "top1", "top5", "per_class": {label: top1}}`; of the last, labels without an image
        are left out.
    """
    true = np.asarray(truth)
    relevant = np.zeros(scores.shape, bool)
    relevant[np.arange(len(true)), true] = True
    ranks = first_relevant_ranks(scores, relevant)
    return {
        "n_images": len(true),
        "n_labels": len(labels),
        "top1": float((ranks <= 1).mean()),
        "top5": float((ranks <= 5).mean()),
        "per_class": {label: float((ranks[true == i] <= 1).mean()) for i, label in enumerate(labels) if i in true},
    }


def scored_chunks(
    queries: Scores,
    items: Scores,
    query_of_pair: npt.NDArray[np.int64],
    item_of_pair: npt.NDArray[np.int64],
    chunk: int,
) -> Iterator[tuple[int, Scores, npt.NDArray[np.bool_]]]:
    """Score all items for a chunk of queries at a time: (its first row, cosines, which items are relevant)."""
    for start in range(0, len(queries), chunk):
        scores = queries[start : start + chunk] @ items.T
        relevant = np.zeros(scores.shape, bool)
        here = (query_of_pair >= start) & (query_of_pair < start + chunk)
        relevant[query_of_pair[here] - start, item_of_pair[here]] = True
        yield start, scores, relevant


def _ranks(
    queries: Scores,
    items: Scores,
    query_of_pair: npt.NDArray[np.int64],
    item_of_pair: npt.NDArray[np.int64],
    chunk: int,
) -> npt.NDArray[np.int64]:
    chunks = scored_chunks(queries, items, query_of_pair, item_of_pair, chunk)
    return np.concatenate([first_relevant_ranks(scores, relevant) for _, scores, relevant in chunks])
