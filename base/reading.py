"""Which requests to a service only read: what it lets a read key ask, and what its client need not send only once."""

from __future__ import annotations

import re

SAFE = ("GET", "HEAD", "OPTIONS")
QUERIES = re.compile(  # POSTs that read
    r"/v1/(classify|embeddings|zero-shot|search|labs/forces"
    r"|collections/[^/]+/(search|search/batch|facets?|columns/bitmap))|/knn-service"
)


def only_reads(method: str, path: str) -> bool:
    """Whether a request changes nothing."""
    return method in SAFE or (method == "POST" and QUERIES.fullmatch(path) is not None)
