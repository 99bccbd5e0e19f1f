"""The Encoder for a query or two, from a cold start: exported towers where they are kept, else torch.

`keep_towers` makes them; it learns whether they can be kept before it loads torch.
"""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from base.errors import ModelError
from encoder.encoder import Encoder
from encoder.known import noted_bytes, recall
from encoder.lazy import open_encoder
from encoder.towers.encoder import kept_towers
from encoder.towers.folder import new_towers


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


def keep_towers(ref: str, fingerprint: str, *, images: bool = True) -> None:
    """Put the text tower of a model into the cache, or both, so that the next query needs no torch.

    Raises:
        ModelError: as `encoder.model.load.load_clip`, or it is another one by now.
        ModelUnavailable: as `encoder.model.load.load_clip`.
        OSError: the cache cannot be written, or has no room for the model once more.
    """
    with new_towers(fingerprint) as folder:
        if shutil.disk_usage(folder).free < (noted_bytes(ref) or 0):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder.parent))
        from encoder.model.load import fingerprint as fingerprint_of
        from encoder.model.load import load_clip
        from encoder.towers.export import export_towers

        parts = load_clip(ref)
        known = recall(ref, parts.files)
        if (known.fingerprint if known else fingerprint_of(parts)) != fingerprint:
            raise ModelError(f"{ref}: its files changed while it was in use; run the command again")
        export_towers(parts, fingerprint, folder, images=images)
