"""The examples in the API's documentation. Requests work as they stand when they are tried there."""

from __future__ import annotations

from service.errors import Examples

# A PNG of one pixel.
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="

TABLE: Examples = {  # of labels, as a file
    "text/csv": {"schema": {"type": "string"}, "example": "path,label,score\r\n/photos/a.jpg,beach,0.9713\r\n"}
}

# fmt: off
SEARCH: Examples = {"examples": [
    {"text": "a red bicycle by the sea", "limit": 5},
    {"text": "at night", "image": f"data:image/png;base64,{PIXEL}"},
    {"id": 42, "collapse": 0.97, "limit": 20, "offset": 20},
    {"external_id": "sku-4711", "limit": 5},
    {"text": "a red bicycle", "signed_urls": 3600},
    {"query": [{"text": "a beach"}, {"id": 42, "weight": 0.5}, {"text": "people", "weight": -0.7}]},
    {"text": "running shoes", "cutoff": "auto", "group_by": "product.id", "limit": 100},
    {"text": "a dress", "diversity": 0.3, "filter": {
        "must": [{"key": "colour", "match": {"any": ["red", "pink"]}}, {"key": "price", "range": {"lt": 50}}],
        "must_not": [{"key": "file.folder", "match": {"value": "/photos/old"}}],
    }},
    {"image": PIXEL, "modality": "text"},
]}

RECORD: Examples = {"example": {
    "id": 42, "external_id": "sku-4711", "modality": "image", "path": "/photos/2024/bicycle.jpg", "text": None,
    "metadata": {"caption": "a red bicycle", "tags": ["sea"]}, "width": 4032, "height": 3024,
    "taken": "2024-05-01T12:34:56", "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "content_url": "/v1/collections/photos/images/42/content?v=9f86d081884c",
    "thumbnail_url": "/v1/collections/photos/images/42/thumbnail?v=9f86d081884c",
}}

HIT: Examples = {"example": {"score": 0.3127, "z": 5.8, "relevance": 0.97, **RECORD["example"]}}

# what answers say of texts; here that the model read them to their ends
READ = {"cut_texts": 0, "warnings": []}
QUERY_READ = {**READ, "unread_words": []}  # and knows their words

FOUND: Examples = {"example": {"hits": [HIT["example"]], "seconds": 0.0182, **QUERY_READ}}

BATCH: Examples = {"examples": [
    {"searches": [{"text": "a red bicycle", "limit": 3}, {"id": 42, "filter": {
        "must": [{"key": "colour", "match": {"value": "red"}}]}}]},
]}

BATCH_FOUND: Examples = {"example": {"results": [
    {"hits": [HIT["example"]], "error": None, **QUERY_READ},
    {"hits": [], "error": {
        "message": "no entry with id 42", "type": "not_found_error", "param": None, "code": "entry_not_found",
    }, **QUERY_READ},
], "seconds": 0.0213}}

TOGETHER: Examples = {"examples": [{"collections": ["photos", "catalogue"], "text": "a red bicycle", "limit": 5}]}

PLACED_HIT: Examples = {"example": {**HIT["example"], "collection": "photos"}}

FOUND_TOGETHER: Examples = {"example": {"hits": [PLACED_HIT["example"]], "seconds": 0.0195, **QUERY_READ}}

CHANGES: Examples = {"example": {
    "changes": [
        {"event": "updated", "id": 42, "external_id": "sku-4711", "modality": "image",
         "path": "/photos/2024/bicycle.jpg", "entry": RECORD["example"], "cursor": "5f0c1d2e3a4b5968-0-1a-2a"},
        {"event": "deleted", "id": 7, "external_id": None, "modality": "image", "path": "/photos/2024/old.jpg",
         "entry": None, "cursor": "5f0c1d2e3a4b5968-0-1b-7"},
    ],
    "cursor": "5f0c1d2e3a4b5968-0-1c-0", "has_more": False,
}}

FACET: Examples = {"examples": [
    {"key": "colour", "limit": 3},
    {"key": "shop.price", "filter": {"must": [{"key": "colour", "match": {"value": "red"}}]}},
]}

FACET_COUNTED: Examples = {"example": {
    "hits": [{"value": "red", "count": 120}, {"value": "blue", "count": 87}, {"value": "green", "count": 4}],
    "seconds": 0.0041,
}}

FACETS: Examples = {"examples": [
    {"keys": ["colour", "new"], "limit": 2, "filter": {"must": [{"key": "price", "range": {"lt": 50}}]}},
]}

FACETS_COUNTED: Examples = {"example": {"facets": [
    {"key": "colour", "hits": [{"value": "red", "count": 120}, {"value": "blue", "count": 87}]},
    {"key": "new", "hits": [{"value": False, "count": 180}, {"value": True, "count": 31}]},
], "seconds": 0.0063}}

BITMAP: Examples = {"examples": [
    {"filter": {"must": [{"key": "tags", "match": {"value": "sea"}}]}},
]}
MAP: Examples = {"example": {
    "method": "pca", "made_at": "2026-01-31T12:00:00+00:00", "placed": 482, "unplaced": 0,
    "clusters": [{"number": 1, "size": 71, "x": 0.31, "y": 0.62, "words": ["boat", "sail", "sea"]}],
}}
FACET_KEYS: Examples = {"example": {"keys": [
    {"key": "colour", "entries": 211, "values": 3, "min": None, "max": None},
    {"key": "shop.price", "entries": 190, "values": 164, "min": 4.5, "max": 189},
], "seconds": 0.0102}}

FOLDER: Examples = {"example": {"path": "/srv/photos", "entries": 1382, "folders": [
    {"name": "2023", "path": "/srv/photos/2023", "entries": 502},
    {"name": "2024", "path": "/srv/photos/2024", "entries": 868},
], "seconds": 0.0021}}

PAGE: Examples = {"example": {"entries": [RECORD["example"]], "next": 42}}

PATCH: Examples = {"examples": [
    {"metadata": {"caption": "a red bicycle by the sea", "draft": None}, "tags": ["sea", "bicycle"]},
    {"add_tags": ["sea"]},
    {"remove_tags": ["see"], "add_tags": ["sea"]},
]}

UPLOADED: Examples = {"example": {
    "results": [
        {"name": "bicycle.jpg", "id": 42, "created": True, "error": None, "cut_off": None},
        {"name": "notes.txt", "id": None, "created": False, "error": "the image is empty", "cut_off": None},
    ],
    "seconds": 0.0574,
}}

ADD_TEXTS: Examples = {"examples": [
    {"texts": ["a red bicycle", {"text": "snow at night", "metadata": {"season": "winter"}}], "tags": ["captions"]},
]}

ADDED_TEXTS: Examples = {"example": {"ids": [43, 44], "seconds": 0.0121, **READ}}

PUT: Examples = {"examples": [
    {"image_url": "https://cdn.example.org/4711.jpg", "metadata": {"title": "red shoe", "price": 49.9}},
    {"image": PIXEL, "metadata": {"title": "red shoe"}, "tags": ["shoes"]},
    {"text": "a red shoe of soft leather", "metadata": {"lang": "en"}},
]}

PUT_ITEM: Examples = {"examples": [{"external_id": "sku-4711", **each} for each in PUT["examples"]]}

PUT_DONE: Examples = {"example": {
    "status": "created", "entry": RECORD["example"], "cut_off": None, "seconds": 0.0312, **READ,
}}

MANIFEST: Examples = {"examples": [{"entries": [
    {"external_id": "sku-4711", "image": PIXEL, "metadata": {"title": "red shoe", "price": 49.9}},
    {"external_id": "sku-4712", "image_url": "https://cdn.example.org/4712.jpg", "metadata": {"title": "blue shoe"}},
    {"external_id": "care/leather", "text": "how to care for leather"},
]}]}

MANIFEST_DONE: Examples = {"example": {
    "results": [
        {"external_id": "sku-4711", "status": "replaced", "id": 42, "error": None, "cut_off": None},
        {"external_id": "sku-4712", "status": "failed", "id": None, "cut_off": None, "error": {
            "message": "cdn.example.org answered 404", "type": "invalid_request_error", "param": "image_url",
            "code": "invalid_image",
        }},
        {"external_id": "care/leather", "status": "created", "id": 43, "error": None, "cut_off": None},
    ],
    "created": 1, "replaced": 1, "unchanged": 0, "failed": 1, "seconds": 0.4021, **READ,
}}

DELETE_ENTRIES: Examples = {"examples": [
    {"external_ids": ["sku-4711", "sku-4712"]},
    {"filter": {"must": [{"key": "season", "match": {"value": "2024"}}]}, "dry_run": True},
    {"filter": {}, "all": True, "modality": "text"},
]}

DELETED_ENTRIES: Examples = {"example": {"matched": 2, "deleted": 2, "dry_run": False, "seconds": 0.0091}}

PATCH_ENTRIES: Examples = {"examples": [
    {"filter": {"must": [{"key": "brand", "match": {"value": "Acme"}}]}, "metadata": {"sale": True, "old": None}},
    {"external_ids": ["sku-4711"], "tags": ["shoes", "red"], "dry_run": True},
]}

PATCHED_ENTRIES: Examples = {"example": {
    "matched": 120, "changed": 118, "changed_ids": [], "unchanged": 1, "refused": 1,
    "first_refused": [{"id": 42, "external_id": "sku-4711", "error": {
        "message": "metadata of an entry may have 16384 bytes as JSON, not 16402", "type": "invalid_request_error",
        "param": None, "code": "invalid_input",
    }}],
    "dry_run": False, "seconds": 0.0142,
}}

KNN: Examples = {"examples": [
    {"text": "a red bicycle", "modality": "image", "num_images": 40, "num_result_ids": 40, "indice_name": "photos"},
]}

KNN_FOUND: Examples = {"example": [{
    "id": 42, "similarity": 0.3127, "caption": "a red bicycle", "image_path": "/photos/2024/bicycle.jpg",
    "url": "http://localhost:8000/v1/collections/photos/images/42/content?v=9f86d081884c",
}]}

CLASSIFY: Examples = {"examples": [
    {"image": PIXEL, "labels": ["cat", "dog", "bird"], "templates": ["a photo of a {}."]},
    {"image": PIXEL, "label_set": "pets"},
    {"id": 42, "collection": "photos", "labels": ["beach", "city", "forest"]},
]}

CLASSIFIED: Examples = {"example": {
    "results": [{
        "label": "cat", "score": 0.97, "error": None, "cut_off": None,
        "labels": [{"label": "cat", "score": 0.97}], "abstained": False, "known": None,
        "scores": [{"label": "cat", "score": 0.97, "cosine": 0.2716, "logit": 27.16},
                   {"label": "dog", "score": 0.03, "cosine": 0.2368, "logit": 23.68}],
    }],
    "calibrated": False, "scored_by": "softmax", "logit_scale": 100.0, "temperature": 1.0, "known_threshold": None,
    "seconds": 0.0311, **READ,
}}

KEEP_LABELS: Examples = {"examples": [
    {"labels": ["cat", "dog", "bird"], "templates": ["a photo of a {}."]},
    {"labels": ["sofa|couch", "animal/dog", {"name": "part-4711", "synonyms": [], "prompts": ["a brass valve"]}],
     "templates": "plain", "mode": "multi"},
]}

LABEL_SET: Examples = {"example": {
    "name": "pets", "labels": ["cat", "dog", "bird"], "templates": ["a photo of a {}."], "mode": "single",
    "learned": {
        "fingerprint": "1f3a5c0e9b7d2468ace013579bdf2468", "model": "ViT-B-32/datacomp_xl_s13b_b90k",
        "calibrated": True, "temperature": 1.7, "thresholds": {"cat": 0.61, "dog": 0.55, "bird": 0.7},
        "precision": 0.9, "examples": {"cat": 4, "dog": 4, "bird": 4},
    },
    "warnings": [],
}}

LABEL_SETS: Examples = {"example": {"label_sets": ["pets", "rooms"]}}

ZERO_SHOT: Examples = {"examples": [{
    "inputs": PIXEL, "parameters": {"candidate_labels": ["cat", "dog"], "hypothesis_template": "a photo of a {}"},
}]}

ZERO_SHOT_SCORES: Examples = {"example": [{"label": "cat", "score": 0.97}, {"label": "dog", "score": 0.03}]}

EMBED: Examples = {"examples": [
    {"input": ["a red bicycle", "snow at night"], "model": "default"},
    {"input": [{"text": "a red bicycle"}, {"image": PIXEL}], "encoding_format": "base64"},
]}

EMBEDDED: Examples = {"example": {
    "object": "list",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.0123, -0.0456, 0.0789]}],
    "model": "ViT-B-32/datacomp_xl_s13b_b90k",
    "usage": {"prompt_tokens": 5, "total_tokens": 5, "cut_texts": 0},
}}

COLLECTION: Examples = {"example": {
    "name": "photos", "title": "Our photos",
    "model": "ViT-B-32/datacomp_xl_s13b_b90k", "ref": "ViT-B-32/datacomp_xl_s13b_b90k",
    "fingerprint": "1f3a5c0e9b7d2468ace013579bdf2468",
    "dim": 512, "counts": {"image": 18230, "text": 0}, "created_at": "2026-01-31T12:00:00+00:00", "bytes": 41287680,
    "index": {"image": {"kind": "exact", "rows": 18230, "fresh": 0}}, "problem": None,
}}

COLLECTIONS: Examples = {"example": {"collections": [COLLECTION["example"]]}}

MAKE: Examples = {"examples": [
    {"kind": "auto", "recall": 0.98},
    {"model": "default", "title": "Our photos"},
    {"quota": {"entries": 100_000, "upload_bytes": 20_000_000_000}},
]}

PATCH_COLLECTION: Examples = {"examples": [
    {"title": "Our photos", "expected_title": None}, {"quota": {"entries": 200_000}}, {"quota": {"upload_bytes": None}},
]}

INFO: Examples = {"example": {
    "version": "1.0.0", "read_only": False, "model": "ViT-B-32/datacomp_xl_s13b_b90k", "dim": 512,
    "fingerprint": "1f3a5c0e9b7d2468ace013579bdf2468", "device": "cpu", "precision": "bf16", "threads": 2,
    "logit_scale": 100.0, "collections": [COLLECTION["example"]], "folders": ["/photos"],
}}

MODEL: Examples = {"example": {
    "id": "ViT-B-32/datacomp_xl_s13b_b90k", "object": "model", "created": 0, "owned_by": "glimpse", "default": True,
    "loaded": True, "dim": 512, "fingerprint": "1f3a5c0e9b7d2468ace013579bdf2468", "logit_scale": 100.0,
    "logit_bias": None, "device": "cpu", "precision": "bf16", "bytes": 302554628,
    "ref": "ViT-B-32/datacomp_xl_s13b_b90k", "problem": None,
}}

MODELS: Examples = {"example": {"object": "list", "data": [
    MODEL["example"],
    {"id": "products", "object": "model", "created": 0, "owned_by": "glimpse", "default": False,
     "loaded": False, "dim": None, "fingerprint": None, "logit_scale": None, "logit_bias": None, "device": None,
     "precision": None, "bytes": None, "ref": "/runs/products", "problem": None},
]}}

_RECORD = {"epoch": 0, "loss": 0.203829, "guess": 1.098612, "health": {
    "alignment": 0.1026, "uniformity_images": None, "uniformity_texts": -2.7514, "effective_rank_images": 1.0,
    "effective_rank_texts": 1.9585, "positive_similarity": 0.9487, "negative_similarity": 0.1969,
    "hardest_negative_similarity": 0.8, "modality_gap": 0.5911,
}}

FORCES: Examples = {"examples": [
    {"loss": "info-nce", "temperature": 0.1, "anchors": [[1, 0]], "others": [[0.9, 0.3], [0.8, -0.6], [-0.4, 0.9]]},
    {"loss": "triplet", "margin": 0.3, "mining": "batch-hard", "anchors": [[1, 0, 0], [0, 1, 0]],
     "others": [[0.9, 0.1, 0.3], [0.2, 0.8, 0]], "right": [[0], [1]]},
    {"loss": "contrastive", "margin": 0, "anchors": [[1, 0], [0.9, 0.5]], "others": [[1, 0.1], [0.9, 0.4]],
     "right": [[0, 1], [0, 1]], "epoch": 1, "earlier": [_RECORD]},
    {"loss": "info-nce", "pictures": {"collection": "photos", "anchors": [42], "others": [43, 7, 8]}},
]}

FELT: Examples = {"example": {
    "loss": 0.203829, "guess": 1.098612, "bound": 0.894783, "gradients": {
        "anchors": [[0.0, -1.689493]], "others": [[-0.194373, 0.583119], [0.66383, 0.885107], [0.000009, 0.000004]],
    }, "cosines": [0.948683, 0.8, -0.406138], "pulls": [1.843984, -1.843974, -0.000011], "record": _RECORD,
    "warnings": [],
}}

HEALTH: Examples = {"example": {"status": "ok"}}

READY: Examples = {"example": {"status": "ok", "read_only": False}}

# fmt: on
