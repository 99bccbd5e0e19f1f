"""What the automatic cut-off lets through of queries with words that a model has never read, with that known and not.

    glimpse demo --data glimpse-demo --no-serve
    python -m bench.index.unread glimpse-demo

asks the demo's postcards for what its model knows and for what it does not, and prints of each kind of query how many
are told to have unread words, how many end in an empty list without that knowledge and with it, and which share of the
ten nearest is right, where it is known what is.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from encoder.model.load import load_encoder
from encoder.zero_shot.word_bank import some_words
from glimpse.demo.postcards.scenes import COLOURS, PLACES, SUBJECTS
from glimpse.demo.run import COLLECTION
from index.collection import open_collection
from index.search.query import Query
from index.search.stages import run
from training.data.keys import Keys
from training.data.pairs import read_pairs

CAPTIONS = 200
Right = Callable[[Mapping[str, Any]], bool]  # of a card's metadata
Asked = tuple[str, str, Right | None]  # kind, text, what is right


def slips(word: str) -> list[str]:
    """A word with a letter left out, two changed round, and one too many."""
    at = len(word) // 2
    left_out, doubled = word[:at] + word[at + 1 :], word[:at] + word[at] + word[at:]
    return [left_out, word[: at - 1] + word[at] + word[at - 1] + word[at + 1 :], doubled]


def queries(world: Path, unknown: list[str]) -> Iterator[Asked]:
    """What is asked; `unknown` are words that are in no caption."""

    def of(key: str, value: str) -> Right:
        return lambda card: card[key] == value

    for pair in read_pairs(world / "unseen.csv", Keys.of(caption="caption")).pairs[:CAPTIONS]:
        yield "a caption", pair.captions[0], None
    known = {**dict.fromkeys(SUBJECTS, "subject"), **dict.fromkeys(COLOURS, "colour"), **dict.fromkeys(PLACES, "place")}
    for word, key in known.items():
        yield "a known word", word, of(key, word)
    for word in SUBJECTS:
        several = {"fish": "fish", "butterfly": "butterflies"}.get(word, f"{word}s")
        yield "its plural", several, of("subject", word)
        for slip in slips(word):
            yield "a slip of a known word", slip, of("subject", word)
    for word in PLACES:
        other = word.removesuffix("s") if word.endswith("s") else f"{word}s"
        yield "a place in the other number", other, of("place", word)
    for word in unknown:
        yield "x", word, None
        yield "a x", f"a {word}", None
        yield "the x in the x", f"the {word} in the {word}", None
        yield "two x", f"two {word}", None
        yield "a red x", f"a red {word}", of("colour", "red")
        yield "a x in the snow", f"a {word} in the snow", of("place", "snow")
        yield "a x by the sea at night", f"a {word} by the sea at night", of("place", "sea")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("demo", type=Path)
    demo = parser.parse_args().demo
    encoder = load_encoder(demo / "model", "cpu")
    words = some_words(encoder.vocabulary())
    bank = encoder.unread_words(words)
    asked = list(queries(demo / "world", [word for word in words if word in bank.by_text]))
    unread = encoder.unread_words([text for _, text, _ in asked])
    kinds: dict[str, list[tuple[bool, bool, bool, float | None]]] = {}
    with open_collection(demo / "data", COLLECTION) as cards:
        vectors = encoder.encode_texts([text for _, text, _ in asked])
        for (kind, text, right), vector in zip(asked, vectors, strict=True):
            query = Query(vector, text=True, cutoff="auto")
            before, after = (run(cards, replace(query, says_nothing=says)) for says in (False, text in unread.empty))
            nearest = run(cards, replace(query, cutoff=None))
            share = None if right is None else float(np.mean([right(hit.record.metadata) for hit in nearest]))
            kinds.setdefault(kind, []).append((text in unread.by_text, not before, not after, share))
    print("| query | asked | told | empty before | empty now | right of the nearest ten |\n|---|---|---|---|---|---|")
    for kind, rows in kinds.items():
        told, empty, now = (sum(map(bool, column)) for column in list(zip(*rows, strict=True))[:3])
        shares = [row[3] for row in rows if row[3] is not None]
        print(f"| {kind} | {len(rows)} | {told} | {empty} | {now} | {f'{np.mean(shares):.2f}' if shares else ''} |")


if __name__ == "__main__":
    main()
