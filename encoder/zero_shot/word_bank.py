"""A word bank: the whole words of a model's own tokenizer with their vectors, to hold labels and texts against.

Encoded once a model and kept in the cache by its fingerprint. Imports no torch; which words are near a label, and what
it means for an image, is others' matter.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import zlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import numpy as np

from base.arrays import DAMAGED
from base.cache import cache_folder
from base.files import write_whole
from base.progress import Progress
from base.read_ahead import batches
from encoder.encoder import Encoder, Vectors
from encoder.zero_shot.prompts import DEFAULT_TEMPLATES, fill_templates

MOST = 5_000  # words: twice as many tell no more, in bench/labelling/rejection.py, and take twice the time
FEWEST = 500  # words; fewer are no background
SHORTEST = 3  # letters
EVERY = 20  # that leaves 250 of `MOST`; 1,000 tell no more, in bench/index/cutoff.py
AT_ONCE = 512  # words encoded between two reports of progress
_FORMAT = 1  # of what is kept; and whatever else decides which words there are, and what their vectors are
_KEPT = 8  # banks


@dataclass(frozen=True, eq=False)
class WordBank:
    """Words and their vectors.

    Attributes:
        words: each once, the commonest first, as far as the tokenizer's order tells.
        vectors: (n_words, dim) float32 unit rows, made as a label's: of each word the mean of its prompts.
    """

    words: tuple[str, ...]
    vectors: Vectors


def word_bank(
    encoder: Encoder, templates: Sequence[str] = DEFAULT_TEMPLATES, progress: Progress | None = None
) -> WordBank:
    """The word bank of an encoder's model: the one that is kept, or else made, which takes a while on a processor.

    Args:
        encoder: asked for nothing but its fingerprint where a bank is kept.
        templates: those of the labels that it will be held against: a template moves all vectors one way, so that
            words in another are told from labels by that alone.
        progress: told how many words are encoded, of how many.
    """
    name = f"{encoder.fingerprint}-{zlib.crc32(json.dumps([_FORMAT, *templates]).encode()):08x}"
    kept = _read(name)
    if kept is None:
        words = words_of(encoder.vocabulary())
        kept = WordBank(words, _encode(encoder, words, templates, progress))
        with suppress(OSError):  # a cache that cannot be written is none
            _write(name, kept)
    return WordBank(kept.words, _unit(kept.vectors.astype(np.float32)))


def with_words(
    bank: WordBank,
    encoder: Encoder,
    words: Iterable[str],
    templates: Sequence[str] = DEFAULT_TEMPLATES,
    progress: Progress | None = None,
) -> WordBank:
    """The bank, and those of the words that the tokenizer knows whole: what it lacks is encoded now, and not kept.
    Names and codes are left out: of pieces a model makes a vector that says little.

    Args:
        bank: of this encoder's model and these templates.
        encoder: as for `word_bank`.
        words: any; each counts once.
        templates: as for `word_bank`.
        progress: as for `word_bank`.
    """
    new = set(whole_words(encoder.vocabulary())) - set(bank.words)
    more = tuple(word for word in dict.fromkeys(words) if word in new)
    if not more:
        return bank
    vectors = _unit(_encode(encoder, more, templates, progress).astype(np.float32))
    return WordBank(bank.words + more, np.concatenate([bank.vectors, vectors]))


def words_of(vocabulary: Mapping[str, int]) -> tuple[str, ...]:
    """The first `MOST` of `whole_words`."""
    return whole_words(vocabulary)[:MOST]


def whole_words(vocabulary: Mapping[str, int]) -> tuple[str, ...]:
    """The words that a tokenizer knows whole: letters alone, `SHORTEST` and more, no capital.

    Tokenizers are trained on counts, so a low id is a common word. Names of persons and places have capitals where a
    tokenizer keeps them, and are left out. Where tokens are pieces of bytes, only words of ASCII can be read off.

    Args:
        vocabulary: tokens with their ids. They end a word with `</w>` (CLIP), or begin one with U+2581 (SentencePiece)
            or U+0120 (GPT-2's bytes), or continue one with `##` (WordPiece). Of others nothing tells what is a word,
            so CLIP's words stand in, as they do where fewer than `FEWEST` are found.
    """
    tokens = sorted(vocabulary, key=lambda token: vocabulary[token])
    words = tuple(dict.fromkeys(filter(_is_word, _unmarked(tokens))))
    return words if len(words) >= FEWEST else whole_words(_clip_vocabulary())


def some_words(vocabulary: Mapping[str, int]) -> tuple[str, ...]:
    """Every `EVERY`-th of them: texts at large, where there are no labels to choose the unlike ones by."""
    return words_of(vocabulary)[::EVERY]


def _clip_vocabulary() -> dict[str, int]:
    """From open_clip's file of its merges, which is read without importing it."""
    spec = find_spec("open_clip")
    origin = spec and spec.origin
    assert origin, "open_clip is installed with glimpse"
    with gzip.open(Path(origin).with_name("bpe_simple_vocab_16e6.txt.gz"), "rt", encoding="utf-8") as lines:
        next(lines)  # its version
        return {line.replace(" ", "").strip(): i for i, line in enumerate(islice(lines, 48894))}


def _unmarked(tokens: Sequence[str]) -> list[str]:
    """Those that are words, or begin one, without their mark; empty if none has a mark."""
    if found := [token.removesuffix("</w>") for token in tokens if token.endswith("</w>")]:
        return [word for word in found if word.isascii()]
    if found := [token[1:] for token in tokens if token.startswith("\u2581")]:
        return found
    if found := [token[1:] for token in tokens if token.startswith("\u0120")]:
        return [word for word in found if word.isascii()]
    if any(token.startswith("##") for token in tokens):
        return list(tokens)  # what continues a word is no letter
    return []


def _is_word(text: str) -> bool:
    return len(text) >= SHORTEST and text.isalpha() and text == text.lower()


def _encode(encoder: Encoder, words: Sequence[str], templates: Sequence[str], progress: Progress | None) -> Vectors:
    """(n_words, dim) float16, as it is kept: the same from the cache and not."""
    parts = []
    for part in batches(words, AT_ONCE):
        prompts = [prompt for word in part for prompt in fill_templates(word, templates)]
        each = encoder.encode_texts(prompts).reshape(len(part), len(templates), -1)
        parts.append(_unit(each.mean(axis=1)).astype(np.float16))
        if progress:
            progress(sum(map(len, parts)), len(words))
    return np.concatenate(parts)


def _unit(rows: Vectors) -> Vectors:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)  # type: ignore[no-any-return]


def _place_of(name: str) -> Path:
    return cache_folder() / "words" / f"{name}.npz"


def _read(name: str) -> WordBank | None:
    """The bank that is kept under a name, if it is sound; from then on it is the last to be dropped."""
    place = _place_of(name)
    try:
        with np.load(io.BytesIO(place.read_bytes()), allow_pickle=False) as kept:
            words = tuple(kept["words"].tobytes().decode().split("\n"))
            bank = WordBank(words, kept["vectors"])
            if str(kept["name"]) != name or len(words) != len(bank.vectors):
                raise ValueError(f"{place}: not what was kept")
        os.utime(place)
    except FileNotFoundError:
        return None
    except DAMAGED:
        with suppress(OSError):
            place.unlink()
        return None
    return bank


def _write(name: str, bank: WordBank) -> None:
    """Keep a bank, and few others. OSError."""
    words = np.frombuffer("\n".join(bank.words).encode(), np.uint8)
    content = io.BytesIO()
    np.savez(content, name=np.array(name), words=words, vectors=bank.vectors)
    place = _place_of(name)
    write_whole(place, content.getvalue())
    others = sorted(place.parent.glob("*.npz"), key=lambda file: file.stat().st_mtime)
    for old in others[:-_KEPT]:
        old.unlink(missing_ok=True)
