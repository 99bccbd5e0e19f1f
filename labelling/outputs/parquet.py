"""Labels as Parquet: a row an image, those too that have no label or could not be read.

    path, path_bytes, label, score, labels (list), scores (list), abstained, width, height, error, cut_off

`label` is the likeliest of those that were given, null for none. Paths as in a collection's export (`index.parquet`).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from base.errors import InputError
from base.extras import install
from base.read_ahead import batches
from labelling.outputs.output import Listing
from labelling.rows import Listed

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ImportError:
    raise InputError(f"Parquet needs pyarrow: {install('parquet')}") from None

ROWS = 8192  # a row group
SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("path_bytes", pa.binary()),
        ("label", pa.string()),
        ("score", pa.float32()),
        ("labels", pa.list_(pa.string())),
        ("scores", pa.list_(pa.float32())),
        ("abstained", pa.bool_()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("error", pa.string()),
        ("cut_off", pa.string()),
    ]
)


def write_parquet(part: Path, listing: Listing) -> None:
    """The whole file of a run. OSError."""
    with pq.ParquetWriter(part, SCHEMA, compression="zstd", use_dictionary=["label", "labels"]) as writer:
        for images in batches(listing.images(), ROWS):
            writer.write_table(pa.Table.from_pylist([_row(image) for image in images], SCHEMA))


def _row(image: Listed) -> dict[str, Any]:
    encoded = os.fsencode(image.path)
    path = encoded.decode(errors="replace")
    first = image.answers[0] if image.answers else None
    return {
        "path": path,
        "path_bytes": None if path.encode() == encoded else encoded,
        "label": first[0] if first else None,
        "score": first[1] if first else None,
        "labels": [label for label, _ in image.answers],
        "scores": [score for _, score in image.answers],
        "abstained": not image.answers and not image.error,
        "width": image.width,
        "height": image.height,
        "error": image.error or None,
        "cut_off": image.cut_off or None,
    }
