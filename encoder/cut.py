"""Texts that are longer than a model reads: it never sees their ends, so two of them may be the same to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from base.read_ahead import batches

TEXTS = 1000  # tokenized at a time


@dataclass(frozen=True)
class CutTexts:
    """The texts of which a model reads the beginning only.

    Attributes:
        among: how many texts were looked at, each once.
        tokens: how many tokens the model reads of a text.
        read: by text that is longer, what is read of it: the same bytes, the same to the model.
    """

    among: int = 0
    tokens: int = 0
    read: dict[str, bytes] = field(default_factory=dict)

    def __str__(self) -> str:
        """In words: "2 of 40 texts are cut after 77 tokens, ..."."""
        first = next(iter(self.read), "")
        first = first if len(first) <= 60 else f"{first[:57]}..."
        alike = len(self.read) - len(set(self.read.values()))
        return (
            f"{len(self.read)} of {self.among} texts are cut after {self.tokens} tokens, for the model reads no more, "
            f'the first: "{first}"' + (f"; {alike} of them are the same as another up to there" if alike else "")
        )

    def warnings(self) -> list[str]:
        """The same as a list of lines, empty if none is cut."""
        return [str(self)] if self.read else []


def may_be_cut(text: str, length: int) -> bool:
    """Whether a text could be longer than a model of that context length reads: a token has one byte or more."""
    return len(text.encode(errors="replace")) + 2 > length


def find_cut(tokenizer: Callable[..., Any], texts: Iterable[str]) -> CutTexts:
    """Those of the texts that the tokenizer of a model cuts.

    One that was not cut has the same tokens, and padding behind them, where there is room for one token more.
    """
    unique = list(dict.fromkeys(texts))
    [empty] = tokenizer([""])
    length, padding = len(empty), int(empty[-1])
    read = {}
    for part in batches((text for text in unique if may_be_cut(text, length)), TEXTS):
        for text, row, more in zip(part, tokenizer(part), tokenizer(part, context_length=length + 1), strict=True):
            if int(more[-1]) != padding or not bool((more[:-1] == row).all()):
                read[text] = np.asarray(row).tobytes()
    return CutTexts(len(unique), length, read)
