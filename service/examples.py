"""The examples in the API's documentation. Requests work as they stand when they are tried there."""

from __future__ import annotations

from typing import Any

# A PNG of one pixel.
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="

Examples = dict[str, Any]  # as pydantic's json_schema_extra takes them

# fmt: off
SEARCH: Examples = {"examples": [
    {"text": "a red bicycle by the sea", "limit": 5},
    {"text": "at night", "image": f"data:image/png;base64,{PIXEL}"},
    {"id": 42, "collapse": 0.97, "limit": 20, "offset": 20},
    {"query": [{"text": "a beach"}, {"id": 42, "weight": 0.5}, {"text": "people", "weight": -0.7}]},
    {"text": "running shoes", "cutoff": "auto", "group_by": "product.id", "limit": 100},
    {"text": "a dress", "diversity": 0.3, "filter": {
        "must": [{"key": "colour", "match": {"any": ["red", "pink"]}}, {"key": "price", "range": {"lt": 50}}],
        "must_not": [{"key": "file.folder", "match": {"value": "/photos/old"}}],
    }},
    {"image": PIXEL, "modality": "text"},
]}

FOUND: Examples = {"example": {
    "hits": [{
        "id": 42, "score": 0.3127, "z": 5.8, "relevance": 0.97, "modality": "image",
        "path": "/photos/2024/bicycle.jpg", "text": None, "metadata": {"caption": "a red bicycle"},
        "width": 4032, "height": 3024,
        "content_url": "/v1/collections/photos/images/42/content?v=9f86d081884c",
        "thumbnail_url": "/v1/collections/photos/images/42/thumbnail?v=9f86d081884c",
    }],
    "seconds": 0.0182,
}}

CLASSIFY: Examples = {"examples": [
    {"image": PIXEL, "labels": ["cat", "dog", "bird"], "templates": ["a photo of a {}."]},
]}

CLASSIFIED: Examples = {"example": {
    "results": [{
        "label": "cat", "score": 0.97, "error": None,
        "scores": [{"label": "cat", "score": 0.97}, {"label": "dog", "score": 0.03}],
    }],
    "seconds": 0.0311,
}}

EMBED: Examples = {"examples": [
    {"input": ["a red bicycle", "snow at night"], "model": "default"},
    {"input": [{"text": "a red bicycle"}, {"image": PIXEL}], "encoding_format": "base64"},
]}

EMBEDDED: Examples = {"example": {
    "object": "list",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.0123, -0.0456, 0.0789]}],
    "model": "ViT-B-32/datacomp_xl_s13b_b90k",
    "usage": {"prompt_tokens": 5, "total_tokens": 5},
}}

COLLECTION: Examples = {"example": {
    "name": "photos", "model": "ViT-B-32/datacomp_xl_s13b_b90k", "fingerprint": "1f3a5c0e9b7d2468ace013579bdf2468",
    "dim": 512, "counts": {"image": 18230, "text": 0}, "created_at": "2026-01-31T12:00:00+00:00", "bytes": 41287680,
    "index": {"image": {"kind": "exact", "rows": 18230, "fresh": 0}}, "problem": None,
}}

ERROR: Examples = {"example": {"error": {
    "message": "limit: Input should be less than or equal to 1000", "type": "invalid_request_error", "param": "limit",
    "code": "invalid_request",
}}}
# fmt: on
