"""What common words say to a model: how far captions move when one of them is left out."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Set

import torch
import torch.nn.functional as F

from encoder.model.text import TextTower
from encoder.unread import tokens_of, words_of

LOOKED_AT = 5_000  # captions
COMMON = 60  # words: those that join others are among the commonest of any text
EACH = 16  # captions that a word is left out of
AT_ONCE = 100  # texts encoded


def what_words_say(tower: TextTower, captions: Iterable[str], read: Set[int]) -> dict[int, float]:
    """Of the tokens of common words how far captions move, 1 - cosine, when the word is left out, on average.

    Empty where no caption has two words.

    Args:
        tower: of a model in eval mode.
        captions: that it is trained on; the same give the same.
        read: ids of the tokens that it was fed.
    """
    some = sorted(set(captions))
    random.Random(0).shuffle(some)
    of_captions = [words for caption in some[:LOOKED_AT] if len(words := words_of(caption.lower())) > 1]
    counts = Counter(word for words in of_captions for word in words)
    wanted = dict.fromkeys((word for word, _ in counts.most_common(COMMON)), EACH)
    left_out: list[tuple[str, str, str]] = []  # a word, a caption, the caption without it
    for words in of_captions:
        for word in words:
            if wanted.get(word):
                wanted[word] -= 1
                left_out.append((word, " ".join(words), " ".join(other for other in words if other != word)))
    if not left_out:
        return {}
    texts = list(dict.fromkeys(text for _, *both in left_out for text in both))
    with torch.inference_mode():
        parts = [tower(tower.tokenize(texts[i : i + AT_ONCE])) for i in range(0, len(texts), AT_ONCE)]
        vectors = dict(zip(texts, F.normalize(torch.cat(parts).float(), dim=-1).cpu(), strict=True))
    moved = defaultdict[str, list[float]](list)
    for word, whole, rest in left_out:
        moved[word].append(1 - float(vectors[whole] @ vectors[rest]))
    says: dict[int, float] = {}
    for word, tokens in tokens_of(tower.tokenize, read, list(moved)).items():
        said = sum(moved[word]) / len(moved[word])
        says |= {token: round(max(said, says.get(token, 0.0)), 4) for token in sorted(tokens)}
    return says
