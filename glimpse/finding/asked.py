"""What a search asks, and its answer: of a collection of this machine or of a service, in the same form."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote

from base.errors import InputError
from base.sources.walk import is_image_name
from base.words import is_blank

if TYPE_CHECKING:
    from encoder.encoder import Encoder
    from glimpse.client import Client, Hit, Part
    from index.collection import Collection
    from index.entry import Hit as IndexHit
    from index.entry import Record

# Weight of what is not wanted. On a shop's photos, asked for a thing but not in one colour, 0.5 left a quarter of the
# hits in that colour and nine of ten of the right things; 1 left a twentieth, and two of three.
AWAY = 0.5


def check_words(words: str) -> None:
    """InputError for what nobody means as a description."""
    if is_blank(words):
        raise InputError('the text is empty: say what to look for, as in glimpse search "red shirt"')
    path = words.strip()
    if path.lower().startswith("data:image/"):
        raise InputError(
            "a picture as a data URI: to look for what is like it, save it as a file, and give --image FILE"
        )
    if path.lower().startswith(("http://", "https://")) and is_image_name(path.rpartition("/")[2]):
        raise _elsewhere(path)
    if is_uri := path.lower().startswith("file:/"):
        path = str(picture_at(Path(path)))
    folder, name = path.replace("\\", "/").rpartition("/")[::2]
    there = Path(os.path.expanduser(path))  # noqa: PTH111  a user that nobody knows is no error
    if folder and os.path.isdir(there):  # noqa: PTH112  a name too long for a disk is none
        raise InputError(f"{path} is a folder: to look for what is like a picture, give --image and one in it")
    if is_uri or (is_image_name(name) and (folder or os.path.exists(there))):  # noqa: PTH110
        raise InputError(f"{path} is a path: to look for what is like a picture, give --image {shlex.quote(path)}")
    if (folder or there.suffix) and os.path.isfile(there):  # noqa: PTH113
        raise InputError(f"{path} is a file and no picture: give words, or --image and a picture")


def picture_at(image: Path) -> Path:
    """The file that --image names, by its path or as a `file:` address. InputError: an address of the web."""
    kind, _, rest = str(image).partition(":/")
    if kind.lower() not in ("file", "http", "https") or os.path.exists(image):  # noqa: PTH110  a name too long is none
        return image
    if kind.lower() == "file":
        return Path(unquote(f"/{rest.lstrip('/').removeprefix('localhost/')}"))
    raise _elsewhere(f"{kind}://{rest}")


def _elsewhere(address: str) -> InputError:
    return InputError(f"{address} is not on this machine: save the picture as a file, and give --image FILE")


class Asked(NamedTuple):
    """The parts of a query as the command line, or a line of a file of queries, gives them."""

    texts: Sequence[str] = ()
    away: Sequence[str] = ()
    images: Sequence[Path] = ()
    like: Sequence[str] = ()  # entries as a person names them: by an id, an id of their own or a path
    ids: Sequence[int] = ()
    external_ids: Sequence[str] = ()

    @property
    def weights(self) -> list[float]:
        """Of texts, those not wanted, images, entries."""
        entries = len(self.like) + len(self.ids) + len(self.external_ids)
        return [1.0] * len(self.texts) + [-AWAY] * len(self.away) + [1.0] * (len(self.images) + entries)

    @property
    def is_words(self) -> bool:
        """Whether there is nothing in it but words that are wanted."""
        return self.is_of_words and not self.away

    @property
    def is_of_words(self) -> bool:
        """Whether all that is wanted is words."""
        return not (self.images or self.like or self.ids or self.external_ids)

    @property
    def is_of_something(self) -> bool:
        """Whether there is anything wanted in it."""
        return bool(self.texts or not self._replace(away=()).is_words)

    @property
    def said(self) -> str:
        """In words."""
        like = (*self.like, *self.ids, *self.external_ids)
        parts = [
            *self.texts,
            *(f"like {image.name}" for image in self.images),
            *(f"like entry {each}" for each in like),
        ]
        return ", ".join([*parts, *(f"not {words}" for words in self.away)])


class Outcome(NamedTuple):
    """What was found, as JSON and in the words shown; if nothing, the `best` score with nothing cut off, or None.

    Of an image with an id of its owner's own nothing else is shown: its file is a copy that the collection keeps.

    And how many of the texts are longer than the model reads, which of their words it has never read, with what is to
    be said of both.
    """

    hits: list[dict[str, Any]]
    shown: list[str]
    seconds: float
    best: float | None
    cut_texts: int
    unread_words: list[str]
    warnings: list[str]
    encoder: Encoder | None = None  # that read the query here


NOT_CUT: dict[str, Any] = {"cutoff": None, "score_threshold": None, "limit": 1, "offset": 0}


def search_here(
    data: Path, names: list[str], asked: Asked, shape: dict[str, Any], model: str | None, device: str, precision: str
) -> Outcome:
    """On this machine."""
    import time
    from contextlib import ExitStack
    from dataclasses import replace

    import numpy as np

    from encoder.cut import CutTexts
    from encoder.unread import UnreadWords
    from glimpse.finding.entry import entry_here
    from index.collection import open_collection
    from index.search.query import Query, mix
    from index.search.stages import run
    from index.search.together import Together

    texts, away, images = [*asked.texts], [*asked.away], [*asked.images]
    weights = asked.weights
    # made before the model is loaded, so that a wrong value is said at once
    query = Query(np.empty(0, np.float32), text=asked.is_words, **shape)
    encoder = None
    with ExitStack() as opened:
        sources = {name: opened.enter_context(open_collection(data, name)) for name in names}
        source, *others = sources.values()
        ids = [entry_here(source, each).id for each in asked.like]
        query = replace(query, exclude=ids)
        vectors, made_by, cut, unread = [*source.vectors(ids)], None, CutTexts(), UnreadWords()
        if texts or images or away:  # entries alone need no model
            encoder = open_for(source, model, device, precision, texts=bool(texts or away), images=bool(images))
            made_by = encoder.fingerprint
            for each in sources.values():
                each.check_model(made_by)
            cut, unread = encoder.cut_texts(texts + away), encoder.unread_words(texts + away)
            started = time.perf_counter()
            vectors = [*encoder.encode_texts(texts + away), *encoder.encode_images(images), *vectors]
        else:
            started = time.perf_counter()
        searched = Together(sources) if others else source
        nothing = asked.is_of_words and unread.leaves_nothing(texts)
        query = replace(query, vector=mix(vectors, weights), fingerprint=made_by, says_nothing=nothing)
        hits = run(searched, query)
        seconds = round(time.perf_counter() - started, 4)
        best = [] if hits else run(searched, replace(query, **NOT_CUT))
    shown = [_shown(hit.record, hit.record.path) for hit in hits]
    found = [hit_as_json(hit.record, hit) for hit in hits]
    best_score = best[0].score if best else None
    warnings = [*unread.warnings(), *cut.warnings()]
    return Outcome(found, shown, seconds, best_score, len(cut.read), unread.words, warnings, encoder)


def open_for(
    source: Collection, model: str | None, device: str, precision: str, *, texts: bool, images: bool
) -> Encoder:
    """The encoder of queries to a collection: of its own model, unless another reference to it is given."""
    ref, known_as = (model, None) if model else (source.model, source.fingerprint)
    if device == precision == "auto":
        from encoder.query import query_encoder

        return query_encoder(ref, known_as, texts=texts, images=images)
    from encoder.lazy import open_encoder

    return open_encoder(ref, device, precision)


def search_there(client: Client, names: list[str], asked: Asked, shape: dict[str, Any]) -> Outcome:
    """Of a service."""
    if asked.like:
        from glimpse.finding.entry import entry_there

        ids = [entry_there(client, names[0], each).id for each in asked.like]
        asked = asked._replace(like=(), ids=ids)
    parts = parts_of(asked)
    collection = names if len(names) > 1 else names[0]
    found = client.search(collection, query=parts, **shape)
    best = [] if found.hits else client.search(collection, query=parts, **(shape | NOT_CUT)).hits
    # the path of an image that was sent is the service's own, its name says more
    shown = [_shown(hit, hit.metadata.get("filename") or hit.path) for hit in found]
    hits = [hit_as_json(hit, hit) for hit in found]
    seconds, best_score = round(found.seconds, 4), best[0].score if best else None
    return Outcome(hits, shown, seconds, best_score, found.cut_texts, found.unread_words, found.warnings)


def parts_of(asked: Asked) -> list[Part]:
    """A query as a service takes it."""
    from glimpse.client import Part

    return [
        *(Part(text=text) for text in asked.texts),
        *(Part(text=text, weight=-AWAY) for text in asked.away),
        *(Part(image=image) for image in asked.images),
        *(Part(id=entry) for entry in asked.ids),
        *(Part(external_id=entry) for entry in asked.external_ids),
    ]


def _shown(record: Record | Hit, name: object) -> str:
    return record.text or ("" if record.external_id is not None else str(name))


def hit_as_json(record: Record | Hit, hit: IndexHit | Hit) -> dict[str, Any]:
    """A hit as `--json` prints it."""
    collection = getattr(record, "collection", None)  # of a search of several
    return {
        **({"collection": collection} if collection else {}),
        "id": record.id,
        "external_id": record.external_id,
        "modality": record.modality,
        "path": record.path,
        "text": record.text,
        "taken": record.taken,
        "score": round(hit.score, 6),
        "z": hit.z,
        "relevance": hit.relevance,
        "metadata": record.metadata,
    }
