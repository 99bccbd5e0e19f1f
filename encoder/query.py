"""query_encoder: the Encoder for a query or two, from a cold start: exported towers where they are kept, else torch."""

from __future__ import annotations

from pathlib import Path

from encoder.encoder import Encoder
from encoder.known import recall
from encoder.lazy import open_encoder
from encoder.towers.encoder import kept_towers


def query_encoder(
    ref: str | Path, fingerprint: str | None = None, *, texts: bool = True, images: bool = True
) -> Encoder:
    """An encoder of a model on the processor, in float32 where towers are kept.

    Args:
        ref: as `encoder.model.load.load_encoder` takes it.
        fingerprint: that the model is to have; None: what `ref` has now.
        texts: whether it will be asked for them.
        images: the same.

    Raises:
        ModelError, ModelUnavailable: as `load_encoder`.
    """
    if fingerprint is None and (known := recall(ref)):
        fingerprint = known.fingerprint
    towers = kept_towers(fingerprint, texts=texts, images=images) if fingerprint else None
    return towers or open_encoder(ref)
