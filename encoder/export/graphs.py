"""A model as ONNX graphs with all that a program needs to run them without glimpse and without torch.

To the towers that `encoder/towers/export.py` makes come preprocess.json and the card. tokenizer.json is completed by
what open_clip does to a text first, so that it is right by itself.
"""

from __future__ import annotations

import json
import string
from pathlib import Path

import numpy as np
from tokenizers import Regex, Tokenizer, normalizers

from base.errors import ModelError
from encoder.export.card import graphs_card
from encoder.export.names import PREPROCESS, README
from encoder.model.load import ClipParts, fingerprint
from encoder.towers.export import export_towers
from encoder.towers.folder import CARD, TOKENIZER, write_card

_TEXTS = ("a photo of a dog", "Two red boats, by the sea!", "", "l'été  à\nParis", "under_score 12.5", "word " * 100)


def write(parts: ClipParts, ref: str, folder: Path) -> tuple[dict[str, float], tuple[str, ...]]:
    """Write a model into an empty folder; gives the least cosine of each tower to torch, and nothing to note.

    Raises:
        ModelError: a tower or the tokenizer cannot be exported, with the reason.
        OSError: it cannot be written.
    """
    card = export_towers(parts, fingerprint(parts), folder)
    if card.why_not or card.text is None:
        raise ModelError(f"{ref}: {'; '.join(card.why_not)}")
    tokens = _complete(folder / TOKENIZER, card.text.clean)
    if not np.array_equal(tokens, parts.tokenizer(list(_TEXTS)).numpy()):
        raise ModelError(f"{ref}: its tokenizer gives other tokens outside of glimpse")
    (folder / CARD).unlink()
    write_card(folder, card)  # anew, for it may say how large the tokenizer's file is
    (folder / PREPROCESS).write_text(json.dumps(parts.preprocess.to_open_clip(), indent=1), encoding="utf-8")
    page = graphs_card(ref, card, read_tokens=parts.read_tokens is not None)
    (folder / README).write_text(page, encoding="utf-8")
    return {"image": card.cosines["image"], "text": card.cosines["text"]}, ()


def _complete(file: Path, clean: str) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """Put open_clip's cleaning into a tokenizer's file; gives its ids (n, context length) of texts to compare."""
    tokenizer = Tokenizer.from_file(str(file))
    steps: list[normalizers.Normalizer] = []
    if clean == "canonicalize":
        marks = "".join(f"\\{mark}" for mark in string.punctuation)
        steps += [normalizers.Replace("_", " "), normalizers.Replace(Regex(f"[{marks}]"), "")]
    if clean != "whitespace":
        steps.append(normalizers.Lowercase())
    steps += [normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()]
    own = [tokenizer.normalizer] if tokenizer.normalizer else []
    tokenizer.normalizer = normalizers.Sequence([*steps, *own])
    tokenizer.save(str(file))
    return np.array([each.ids for each in tokenizer.encode_batch(list(_TEXTS))], np.int64)
