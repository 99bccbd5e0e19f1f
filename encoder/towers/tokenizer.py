"""Texts to token ids as open_clip makes them, by the `tokenizers` library and without torch.

What open_clip does to a text before (mojibake, HTML entities, case, punctuation) is done here; the rest is in the
tokenizer's own file, which `encoder/towers/vocabulary.py` writes.
"""

from __future__ import annotations

import html
import string
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from encoder.towers.folder import TextCard

Tokens = npt.NDArray[np.int64]


class TowerTokenizer:
    """Called as open_clip's tokenizers are: texts -> ids (n, context_length) int64, cut and padded."""

    def __init__(self, tokenizer: Tokenizer, card: TextCard) -> None:
        self._tokenizer, self._card = tokenizer, card
        self._clean = CLEAN[card.clean]
        self._padding = tokenizer.padding or {}

    def __call__(self, texts: Sequence[str], context_length: int | None = None) -> Tokens:
        """Ids (n, context_length) int64; the context length is the model's unless another is given."""
        length = context_length or self._card.context_length
        self._tokenizer.enable_truncation(length)
        self._tokenizer.enable_padding(**{**self._padding, "length": length})
        encoded = self._tokenizer.encode_batch([self._clean(text) for text in texts])
        tokens = np.array([each.ids for each in encoded], np.int64).reshape(-1, length)
        if self._card.blank is not None:
            tokens[tokens == self._card.blank] = 0
        return tokens

    def vocabulary(self) -> Mapping[str, int]:
        """Its tokens with their ids."""
        return self._tokenizer.get_vocab()

    def cut(self, tokens: Tokens) -> Tokens:
        """The same rows, no wider than the longest of them needs, where the tower takes that."""
        if self._card.cut_at is None or not len(tokens):
            return tokens
        ends = (tokens == self._card.cut_at).argmax(axis=1)
        return np.ascontiguousarray(tokens[:, : int(ends.max()) + 1])


def _basic(text: str) -> str:
    if not (text.isascii() and text.isprintable() and "&" not in text):  # else it has nothing to mend
        import ftfy

        text = html.unescape(html.unescape(ftfy.fix_text(text)))
    return text.strip()


def _whitespace(text: str) -> str:
    return " ".join(_basic(text).split())


def _lower(text: str) -> str:
    return _whitespace(text).lower()


def _canonicalize(text: str) -> str:
    plain = _basic(text).replace("_", " ").translate(str.maketrans("", "", string.punctuation))
    return " ".join(plain.lower().split())


CLEAN: dict[str, Callable[[str], str]] = {"whitespace": _whitespace, "lower": _lower, "canonicalize": _canonicalize}
