"""The map of a collection: made, kept in its folder as a derived file, and where its images lie by it.

    <data>/collections/<name>/map.npz

No backup has it and none misses it: what is lost, damaged or of another model is no map, and is made anew. Images that
came since find their places by those that are there. Whoever may write the folder may make one: the writer's lock is
not needed, for no entry changes.
"""

from __future__ import annotations

import io
import json
import logging
import re
import threading
import zlib
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from base.arrays import DAMAGED
from base.errors import CollectionError, CollectionNotFound
from base.files import disk_error, write_whole
from base.progress import Progress
from index.collection import Collection
from index.map.fit import fit, named
from index.map.projection import Axes, Cluster, Ids, Landmarks, Method, Places, Projection
from index.rows import Rows

log = logging.getLogger(__name__)

FILE = "map.npz"
FORMAT = 1
MOST_PLACED = 50_000  # images that came since, which are given places as a map is looked at
TOLD = 10_000  # values of a key that are looked at for words, the most frequent first
WORD = re.compile(r"[^\W\d_]{3,}")
LONGEST = 30  # letters of a word; what is longer is a code, or a language without spaces
OFTEN = 3  # images that use a word, so that it is one of the collection's own
FEWEST_OWN = 20  # such words; where there are fewer, other words name clusters too
MOST_OWN = 1_000  # of them, the most frequent
BLOCK = 4096  # of them whose vectors are read at a time

Named = tuple[tuple[str, ...], Rows]  # words and their vectors (n_words, dim)
Words = Callable[[tuple[str, ...]], Named]  # given a collection's own words, those and others of its model


@dataclass(frozen=True, eq=False)
class Placed:
    """Where images of a collection lie.

    Attributes:
        mark: of the map and of what was placed since; another one says other places.
        places: (n, 2) float32 in the unit square; NaN of an image that has no place.
        clusters: (n,) uint8; 0 of such an image.
    """

    mark: str
    places: Places
    clusters: NDArray[np.uint8]


def make_map(
    collection: Collection, method: Method = "pca", words: Words | None = None, progress: Progress | None = None
) -> Projection:
    """Make the map of a collection's images as they are now, and keep it.

    Args:
        collection: open for reading or writing.
        method: see `index.map.fit.fit`.
        words: gives those that the clusters are named by; None: they get no names. The collection's own come first,
            others name clusters for which none is left.
        progress: told how many images have their place; what it raises ends the work, and the map of before stays.

    Raises:
        InputError: as `fit`.
        CollectionError: it cannot be written.
        NotInStore: the collection lies in a store that does not give all its vectors.
        CollectionNotFound: the collection was deleted meanwhile.
    """
    own = _own_words(collection) if words is not None else ()
    known = words(own) if words is not None else None
    made = fit(collection.all_vectors(), method, progress)
    if known is not None:
        made = named(named(made, *_among(known, own)), *known)
    if not collection.is_there():
        raise CollectionNotFound(f"collection {collection.name!r} was deleted meanwhile")
    path = collection.folder / FILE
    try:
        write_whole(path, _content(made))
    except OSError as error:
        why = disk_error(error, path) or CollectionError(f"{path}: {error.strerror}")
        raise type(why)(f"the map of {collection.name!r} cannot be kept: {why}") from error
    return made


def _own_words(collection: Collection) -> tuple[str, ...]:
    """Those that texts of its metadata use: captions, titles, labels, names of files. The most frequent first."""
    told: Counter[str] = Counter()
    for key in collection.facet_keys():
        for found in collection.facet(key.key, TOLD):
            if isinstance(found.value, str):
                text = Path(found.value).stem if key.key == "filename" else found.value
                told.update(dict.fromkeys(WORD.findall(text.lower()), found.count))
    often = (word for word, times in told.most_common() if times >= OFTEN and len(word) <= LONGEST)
    return tuple(islice(often, MOST_OWN))


def _among(known: Named, own: tuple[str, ...]) -> Named:
    """Those of the words that are the collection's own, if they are many enough; else all."""
    words, vectors = known
    mine = set(own)
    found = [i for i, word in enumerate(words) if word in mine]
    return known if len(found) < FEWEST_OWN else (tuple(words[i] for i in found), vectors[found])


class KeptMap:
    """The map of one open collection, read again when it was made anew. For any number of threads."""

    def __init__(self, collection: Collection) -> None:
        self._collection = collection
        self._lock = threading.Lock()
        self._stamp: object = None
        self._map: Projection | None = None
        self._to = 0  # the commit up to which images were placed

    def get(self) -> Projection | None:
        """The map as it is kept, with the places of what came since; None: there is none."""
        with self._lock:
            self._look()
            return self._map

    def mark(self) -> str | None:
        """Of the map and of what was placed; None: there is none."""
        with self._lock:
            self._look()
            return None if self._map is None else self._mark(self._map)

    def placed(self, ids: Ids) -> Placed | None:
        """Where the images with these ids lie; None: there is no map."""
        with self._lock:
            self._look()
            found = self._map
            if found is None:
                return None
            mark = self._mark(found)
        at = np.minimum(np.searchsorted(found.ids, ids), len(found.ids) - 1)
        here = found.ids[at] == ids
        places = np.where(here[:, None], found.places[at], np.float32(np.nan))
        return Placed(mark, places, np.where(here, found.clusters[at], 0).astype(np.uint8))

    def _mark(self, found: Projection) -> str:
        return f"{found.method}-{zlib.crc32(found.made_at.encode()):08x}-{self._to}"

    def _look(self) -> None:
        path = self._collection.folder / FILE
        try:
            stat = path.stat()
            stamp: object = stat.st_ino, stat.st_mtime_ns, stat.st_size
        except OSError:
            stamp = None
        if stamp != self._stamp:
            self._map = None if stamp is None else read_map(path)
            self._stamp, self._to = stamp, self._map.version if self._map else 0
        if self._map is None:
            return
        if self._map.fingerprint != self._collection.fingerprint:
            self._map = None
            return
        self._place_new()

    def _place_new(self) -> None:
        assert self._map is not None
        version, new = self._collection.written_since(self._to)
        if version == self._to:
            return
        new = new[:MOST_PLACED]  # the rest has none until the map is made anew
        for start in range(0, len(new), BLOCK):
            ids, x = self._collection.vectors_of(new[start : start + BLOCK])
            if len(ids):
                self._map = _with(self._map, ids, *self._map.place(x))
        self._to = version


def read_map(path: Path) -> Projection | None:
    """The map in a file; None if it is not one that is whole."""
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as kept:
            return _projection(kept)
    except FileNotFoundError:
        return None
    except DAMAGED as error:
        log.warning("%s: no map that can be read (%s); it is made anew when one is asked for", path, error)
        return None


def forget_map(collection: Collection) -> None:
    """Remove the map of a collection, if it has one."""
    with suppress(FileNotFoundError):
        (collection.folder / FILE).unlink()


def _with(before: Projection, ids: Ids, places: Places, clusters: NDArray[np.uint8]) -> Projection:
    """A map with these images as well, or at these places instead."""
    stay = ~np.isin(before.ids, ids, assume_unique=True)
    together = np.concatenate([before.ids[stay], ids])
    order = np.argsort(together)
    return replace(
        before,
        ids=together[order],
        places=np.concatenate([before.places[stay], places])[order],
        clusters=np.concatenate([before.clusters[stay], clusters])[order],
    )


def _content(made: Projection) -> bytes:
    about = {
        "format": FORMAT,
        "method": made.method,
        "fingerprint": made.fingerprint,
        "version": made.version,
        "made_at": made.made_at,
        "scale": made.scale,
        "known": [asdict(cluster) for cluster in made.known],
    }
    arrays: dict[str, Any] = {
        "ids": made.ids, "places": made.places, "clusters": made.clusters, "centres": made.centres,
        "mean": made.axes.mean, "axes": made.axes.axes,
    }  # fmt: skip
    if made.landmarks is not None:
        arrays |= {"landmarks": made.landmarks.x.astype(np.float16), "landmark_places": made.landmarks.places}
    content = io.BytesIO()
    np.savez(content, about=np.frombuffer(json.dumps(about).encode(), np.uint8), **arrays)
    return content.getvalue()


def _projection(kept: Any) -> Projection:
    """Of the parts of a file. ValueError, KeyError, TypeError: they do not fit together."""
    about = json.loads(kept["about"].tobytes())
    if about["format"] != FORMAT:
        raise ValueError(f"of format {about['format']}")
    known = tuple(Cluster(one["size"], tuple(one["place"]), tuple(one["words"])) for one in about["known"])
    landmarks = None
    if "landmarks" in kept:
        landmarks = Landmarks(kept["landmarks"].astype(np.float32), kept["landmark_places"])
    made = Projection(
        about["method"], about["fingerprint"], about["version"], about["made_at"],
        kept["ids"], kept["places"], kept["clusters"], Axes(kept["mean"], kept["axes"]), kept["centres"],
        tuple(about["scale"]), landmarks, known,
    )  # fmt: skip
    n, dim = len(made.ids), len(made.axes.mean)
    if made.places.shape != (n, 2) or made.clusters.shape != (n,) or made.axes.axes.shape[1] != dim or not n:
        raise ValueError("its parts do not fit together")
    return made
