"""Words that a model has never read: what it makes of them is still the noise that it began with.

Known of a model that was trained here from random weights, and of nobody else's: a file beside its weights lists the
tokens that its training fed to the text tower. Imports no torch.
"""

from __future__ import annotations

import html
import json
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from encoder.known import NO_NOTE

READ_TOKENS = "read_tokens.json"
LITTLE = 0.5  # of what a word says on average: one that says less joins others, as "the" and "in"
_NAMED = 5  # words in a warning
_MARKS = ("'", "\u2019")
_SHORTEST = 3  # characters beside an apostrophe that are a word: of "car's" only the car is
_JOINED = frozenset(["\u200d", *map(chr, range(0x1F3FB, 0x1F400))])  # parts of an emoji, as marks are of a letter
_BEFORE = "a"  # the tokens of a word may be others where a space is before it

Tokenize = Callable[[list[str]], Any]  # texts to rows of ids


@dataclass(frozen=True)
class ReadTokens:
    """What the text tower of a model was fed in all trainings since its random weights.

    Attributes:
        ids: of the tokens.
        says: how far captions move on average, 1 - cosine, when the words with that token are left out; of some.
    """

    ids: frozenset[int] = frozenset()
    says: Mapping[int, float] = field(default_factory=dict)

    @property
    def little(self) -> frozenset[int]:
        """Tokens that say little by themselves."""
        if not self.says:
            return frozenset()
        bar = LITTLE * sum(self.says.values()) / len(self.says)
        return frozenset(token for token, said in self.says.items() if said < bar)

    def as_text(self, vocabulary: Mapping[str, int]) -> str:
        """As READ_TOKENS has them: a line each, by its name the token's id and what it says."""
        names = {number: name for name, number in vocabulary.items()}
        lines = [
            f" {json.dumps(names.get(number, str(number)), ensure_ascii=False)}: "
            f"{json.dumps([number, self.says.get(number)])}"
            for number in sorted(self.ids)
        ]
        return "{\n" + ",\n".join(lines) + "\n}\n"

    @classmethod
    def of_folder(cls, folder: Path) -> ReadTokens | None:
        """Those of a model's folder; None where nothing is known."""
        try:
            noted = json.loads((folder / READ_TOKENS).read_text(encoding="utf-8")).values()
            ids = frozenset(int(number) for number, _ in noted)
            return cls(ids, {int(number): float(said) for number, said in noted if said is not None})
        except NO_NOTE:
            return None


@dataclass(frozen=True)
class UnreadWords:
    """Texts with words that a model has never read.

    Attributes:
        by_text: those words, in their order.
        empty: texts of which it has read nothing, or nothing but words that say little.
    """

    by_text: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    empty: frozenset[str] = frozenset()

    @classmethod
    def together(cls, parts: Iterable[UnreadWords]) -> UnreadWords:
        """Of some texts and others."""
        by_text: dict[str, tuple[str, ...]] = {}
        empty = frozenset[str]()
        for part in parts:
            by_text, empty = by_text | dict(part.by_text), empty | part.empty
        return cls(by_text, empty)

    def of(self, texts: Iterable[str]) -> UnreadWords:
        """Of some of the texts."""
        wanted = set(texts)
        of_those = {text: words for text, words in self.by_text.items() if text in wanted}
        return UnreadWords(of_those, self.empty & wanted)

    @property
    def words(self) -> list[str]:
        """All of them, each once."""
        return list(dict.fromkeys(word for words in self.by_text.values() for word in words))

    def leaves_nothing(self, texts: Iterable[str]) -> bool:
        """Whether there are texts, and all of them are empty."""
        wanted = set(texts)
        return bool(wanted) and wanted <= self.empty

    def warnings(self) -> list[str]:
        """In words, as a list of lines; empty if all was read."""
        words = [f"'{word}'" for word in self.words]
        return [f"the model has never read {_named(words)}"] if words else []

    def counted(self, texts: Sequence[str], kind: str) -> list[str]:
        """The same of many texts, which are of one `kind`: how many of them it is that have such words."""
        if not (n := sum(text in self.by_text for text in texts)):
            return []
        return [f"{n} of {len(texts)} {kind} have words that the model has never read: {_named(self.words)}"]


def _named(words: list[str]) -> str:
    told = ", ".join(words[:_NAMED])
    return f"{told} and {len(words) - _NAMED} more" if len(words) > _NAMED else told


def find_unread(tokenize: Tokenize, read: ReadTokens | None, texts: Iterable[str]) -> UnreadWords:
    """Of some texts the words that a model has never read: those with a token that it was never fed.

    Args:
        tokenize: the model's tokenizer, which reads capitals as the model does.
        read: what is known of it; None: nothing, so that no word is told.
        texts: any.
    """
    of_text = {text: words_of(text) for text in texts}
    words = list(dict.fromkeys(word for each in of_text.values() for word in each))
    if read is None or not words:
        return UnreadWords()
    tokens = tokens_of(tokenize, read.ids, words)
    unread = {word for word in words if not tokens[word] <= read.ids}
    by_text = {text: found for text, each in of_text.items() if (found := tuple(w for w in each if w in unread))}
    said = read.ids - read.little
    return UnreadWords(by_text, frozenset(text for text in by_text if not any(tokens[w] & said for w in of_text[text])))


def tokens_of(tokenize: Tokenize, read: Set[int], words: Sequence[str]) -> dict[str, frozenset[int]]:
    """The tokens of each word: those behind a space, where all of them and not all of the others were `read`."""
    around, before, *each = _ids(tokenize, ["", _BEFORE, *words])
    tokens = {word: ids - around for word, ids in zip(words, each, strict=True)}
    doubtful = [word for word in words if not tokens[word] <= read]
    for word, ids in zip(doubtful, _ids(tokenize, [f"{_BEFORE} {word}" for word in doubtful]), strict=True):
        if (behind := ids - before) and behind <= read:
            tokens[word] = behind
    return tokens


def words_of(text: str) -> list[str]:
    """The words of a text, each once: what a person reads between spaces and punctuation, with its capitals.

    Signs as emoji are words too, apart from letters that they stand beside.
    """
    return list(dict.fromkeys(part for word in _spaced(html.unescape(text)).split() for part in _parts(word)))


def _spaced(text: str) -> str:
    """A text with spaces for what is of no word, and between letters and signs."""
    spaced, before = list[str](), ""
    for c in text:
        kind = unicodedata.category(c)
        if kind[0] == "M" or c in _JOINED:
            kind = before
        else:
            kind = "letters" if kind[0] in "LN" or c in _MARKS else "signs" if kind == "So" else ""
        if kind != before or not kind:
            spaced.append(" ")
        if kind:
            spaced.append(c)
        before = kind
    return "".join(spaced)


def _parts(word: str) -> list[str]:
    for mark in _MARKS[1:]:
        word = word.replace(mark, _MARKS[0])
    parts = [part for part in word.split(_MARKS[0]) if part]
    return parts if len(parts) < 2 else [part for part in parts if len(part) >= _SHORTEST]


def _ids(tokenize: Tokenize, texts: Sequence[str]) -> list[frozenset[int]]:
    return [frozenset(row.tolist()) for row in tokenize(list(texts))] if texts else []
