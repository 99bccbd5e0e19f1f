"""Many queries from a file, each answered by one JSON line: on this machine, or of a service.

A query that cannot be answered has its error there, and the others are answered.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from base.errors import EntryNotFound, GlimpseError, InputError
from glimpse.finding.asked import Asked, check_words, hit_as_json, open_for, parts_of, picture_at

if TYPE_CHECKING:
    from encoder.encoder import Encoder
    from encoder.unread import UnreadWords
    from glimpse.client import Client, Search
    from index.collection import Collection
    from index.search.query import Query

TOGETHER = 100  # queries searched for at once, as many as a request to a service may have
LOOKED: dict[str, type | tuple[type, ...]] = {
    "text": str,
    "not": (str, list),
    "image": str,
    "id": int,
    "external_id": str,
}
SHAPE: dict[str, type | tuple[type, ...]] = {
    "limit": int, "offset": int, "modality": str, "filter": dict, "score_threshold": (int, float), "cutoff": str,
    "group_by": str, "collapse": (int, float), "diversity": (int, float),
}  # fmt: skip
MEANT = {str: "a text", int: "a whole number", dict: "an object", (str, list): "a text or a list of texts"}


class Line(NamedTuple):
    """One query: as it stands in the file, and what it asks."""

    given: str | dict[str, Any]
    asked: Asked
    shape: dict[str, Any]


def read_queries(file: Path, shape: Mapping[str, Any]) -> list[Line]:
    """The queries of a file, or of standard input for `-`: a line each; one that begins with { is a JSON object.

    Args:
        file: in UTF-8; empty lines are passed over.
        shape: of those that say nothing else.

    Raises:
        InputError: a line, which is named, cannot be a query, or there is none.
    """
    from base.sources.texts import decode_text

    try:
        text = decode_text(sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes())
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not text in UTF-8"
        raise InputError(f"--queries {file}: {reason}; give a file with a query a line") from None
    head = text.partition("\n")[0]
    if file.suffix.lower() in (".csv", ".tsv") and any(mark in head for mark in ",;\t"):
        raise InputError(f"--queries {file}: a table; give the texts alone, one a line, or JSON Lines")
    lines = []
    for where, line in _told(file, text):
        try:
            lines.append(_read(line, shape))
        except InputError as error:
            raise InputError(f"{file}, {where}: {error}") from None
    if not lines:
        raise InputError(f"--queries {file}: has no query; give one a line")
    return lines


def _told(file: Path, text: str) -> list[tuple[str, Any]]:
    """The queries of a text, and where each stands: its lines, or the items of one JSON array."""
    from base.sources.texts import json_items

    if text.lstrip().startswith("["):
        with suppress(InputError):  # words may begin so as well
            return list(json_items(file, text))
    lines = enumerate(map(str.strip, text.split("\n")), 1)  # other ends of lines may stand in JSON
    return [(f"line {number}", line) for number, line in lines if line]


def _read(given: Any, shape: Mapping[str, Any]) -> Line:
    if isinstance(given, str) and not given.startswith("{"):
        check_words(given)
        return Line(given, Asked([given]), dict(shape))
    from base.sources.texts import parse_json

    try:
        given = parse_json(given) if isinstance(given, str) else given
    except ValueError as error:
        raise InputError(f"this cannot be read as JSON ({error})") from None
    if not isinstance(given, dict):
        raise InputError('no query; give a text, or an object as {"text": "snow", "limit": 3}')
    known = LOOKED | SHAPE
    for name, value in given.items():
        if name not in known:
            raise InputError(f"a query has no {name}; it has {', '.join(known)}")
        if value is not None and (not isinstance(value, known[name]) or isinstance(value, bool)):
            raise InputError(f"{name} must be {MEANT.get(cast(Any, known[name]), 'a number')}")
    looked = {name: given[name] for name in LOOKED if given.get(name) is not None}
    away = looked.get("not", [])
    away = [away] if isinstance(away, str) else away
    if not all(isinstance(words, str) for words in away):
        raise InputError(f"not must be {MEANT[(str, list)]}")
    asked = Asked(
        [looked["text"]] if "text" in looked else [],
        away,
        [picture_at(Path(looked["image"]))] if "image" in looked else [],
        ids=[looked["id"]] if "id" in looked else [],
        external_ids=[looked["external_id"]] if "external_id" in looked else [],
    )
    for words in (*asked.texts, *away):
        check_words(words)
    if not asked.is_of_something:
        raise InputError("give text, image, id or external_id")
    for image in asked.images:
        if not image.is_file():
            raise InputError(f"{image}: no such file")
    own = {name: given[name] for name in SHAPE if given.get(name) is not None}
    return Line(given, asked, {**shape, **own})


def answer_there(client: Client, collection: str, lines: Sequence[Line]) -> Iterator[list[dict[str, Any]]]:
    """The answers of a service, some at a time. GlimpseError: it answers none of them."""
    from base.read_ahead import batches

    for some in batches(lines, TOGETHER):
        searches = [cast("Search", {**line.shape, "query": parts_of(line.asked)}) for line in some]
        yield [
            _answer(line, found.error or [hit_as_json(hit, hit) for hit in found], found.cut_texts, found.unread_words)
            for line, found in zip(some, client.search_many(collection, searches), strict=True)
        ]


def encoder_for(
    source: Collection, lines: Sequence[Line], model: str | None, device: str, precision: str
) -> Encoder | None:
    """What reads the queries; None where all of them are of entries. GlimpseError: there is none."""
    texts = any(line.asked.texts or line.asked.away for line in lines)
    images = any(line.asked.images for line in lines)
    if not (texts or images):
        return None
    encoder = open_for(source, model, device, precision, texts=texts, images=images)
    source.check_model(encoder.fingerprint)
    return encoder


def answer_here(source: Collection, lines: Sequence[Line], encoder: Encoder | None) -> Iterator[list[dict[str, Any]]]:
    """The answers of a collection of this machine, some at a time. GlimpseError: it cannot be searched at all."""
    from base.read_ahead import batches
    from index.search.query import Query
    from index.search.stages import run_each

    for some in batches(lines, TOGETHER):
        queries, cut, unread = _queries(source, encoder, some)
        found = iter(run_each(source, [query for query in queries if isinstance(query, Query)]))
        answers = []
        for line, query in zip(some, queries, strict=True):
            hits = next(found) if isinstance(query, Query) else query
            listed = hits if isinstance(hits, GlimpseError) else [hit_as_json(hit.record, hit) for hit in hits]
            own = dict.fromkeys((*line.asked.texts, *line.asked.away))
            answers.append(_answer(line, listed, sum(text in cut for text in own), unread.of(own).words))
        yield answers


def _queries(
    source: Collection, encoder: Encoder | None, lines: Sequence[Line]
) -> tuple[list[Query | GlimpseError], set[str], UnreadWords]:
    """A query for each line, or why there is none; the texts that the model does not read to their ends; and what of
    them it has never read.
    """
    import numpy as np

    from encoder.unread import UnreadWords
    from index.search.query import Query, mix

    texts = list(dict.fromkeys(text for line in lines for text in (*line.asked.texts, *line.asked.away)))
    vectors, cut, unread = {}, set(), UnreadWords()
    if encoder is not None and texts:
        vectors = dict(zip(texts, encoder.encode_texts(texts), strict=True))
        cut, unread = set(encoder.cut_texts(texts).read), encoder.unread_words(texts)
    made: list[Query | GlimpseError] = []
    for _, asked, shape in lines:
        try:
            own = [vectors[text] for text in (*asked.texts, *asked.away)]
            if encoder is not None and asked.images:
                own += [*encoder.encode_images(asked.images)]
            ids = [*asked.ids, *_ids_of(source, asked.external_ids)]
            own += [*source.vectors(ids)]
            vector = mix(np.stack(own), asked.weights)
            made_by = encoder.fingerprint if encoder is not None and (asked.texts or asked.images) else None
            nothing = asked.is_of_words and unread.leaves_nothing(asked.texts)
            of = {"exclude": ids, "fingerprint": made_by, **shape}
            made.append(Query(vector, text=asked.is_words, says_nothing=nothing, **of))
        except GlimpseError as error:
            made.append(error)
    return made, cut, unread


def _ids_of(source: Collection, external_ids: Sequence[str]) -> list[int]:
    found = source.find_external(external_ids)
    for own in external_ids:
        if own not in found:
            raise EntryNotFound(f"no entry with external_id {own!r}")
    return [found[own].id for own in external_ids]


def _answer(
    line: Line, hits: list[dict[str, Any]] | GlimpseError, cut_texts: int, unread_words: list[str]
) -> dict[str, Any]:
    """As it is printed."""
    if isinstance(hits, GlimpseError):
        return {"query": line.given, "hits": [], "error": {"code": hits.code, "message": str(hits)}}
    return {"query": line.given, "hits": hits, "cut_texts": cut_texts, "unread_words": unread_words}


def print_answers(answers: Iterator[list[dict[str, Any]]], total: int) -> bool:
    """Print a line each as they come; whether all were answered. What is to be said of them goes to standard error."""
    from glimpse import console

    refused = cut = unread = done = 0
    with console.progress_bar("searching") as progress:
        for some in answers:
            for answer in some:
                console.print_json(answer, indent=None)
                refused += "error" in answer
                cut += bool(answer.get("cut_texts"))
                unread += bool(answer.get("unread_words"))
            sys.stdout.flush()
            done += len(some)
            progress(done, total)
    if cut:
        console.print_warnings([f"{cut} of {total} queries are longer than the model reads; their ends are not read"])
    if unread:
        console.print_warnings(
            [f"{unread} of {total} queries have words that the model has never read: their lines say"]
        )
    if refused:
        console.err.print(f"{refused} of {total} queries could not be answered: their lines say why")
    return not refused
