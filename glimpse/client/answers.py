"""What the service answers, as frozen values, without the fields that a newer service adds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from types import EllipsisType
from typing import Any, Literal, TypeVar

from glimpse.client.errors import NoService, ServiceError, error_of

T = TypeVar("T")

Modality = Literal["image", "text"]


@dataclass(frozen=True, slots=True)
class Collection:
    """A collection. One that cannot be opened has a `problem`."""

    name: str
    model: str
    fingerprint: str
    dim: int
    counts: dict[str, int]
    created_at: str
    bytes: int
    index: dict[str, dict[str, Any]] = field(default_factory=dict)
    quota: dict[str, int | None] = field(default_factory=dict)  # entries, upload_bytes: how much it may hold
    title: str | None = None  # what it is called where people read; None: by its name
    ref: str | None = None  # what the model was loaded from; told to admin keys alone
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Model:
    """A model that a service has; `id` is its name. What is not known, of one that it never loaded, is None."""

    id: str
    default: bool
    loaded: bool
    dim: int | None = None
    fingerprint: str | None = None
    logit_scale: float | None = None
    logit_bias: float | None = None
    device: str | None = None
    precision: str | None = None
    bytes: int | None = None
    ref: str | None = None  # told to admin keys alone
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Info:
    """What runs there; of the models the default one."""

    version: str
    model: str
    dim: int
    fingerprint: str
    device: str
    precision: str
    logit_scale: float
    collections: list[Collection]
    logit_bias: float | None = None
    read_only: bool = False
    folders: list[str] = field(default_factory=list)  # that jobs may read; none with a key that only reads


@dataclass(frozen=True, slots=True)
class Record:
    """An image or text of a collection."""

    id: int
    modality: Modality
    path: str | None = None
    text: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    width: int | None = None
    height: int | None = None
    sha256: str | None = None  # of the image file
    content_url: str | None = None
    thumbnail_url: str | None = None
    external_id: str | None = None  # its owner's own
    taken: str | None = None  # when, by its file: ISO 8601, on the clock of that place where it names no offset


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit(Record):
    """One result of a search: `score` is a cosine, `z` and `relevance` are told in docs/relevance.md."""

    score: float
    z: float | None = None
    relevance: float | None = None
    collection: str | None = None  # of a search of several


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The hits of a search, best first, and the seconds it took there. Iterating goes over the hits.

    Attributes:
        cut_texts: how many of its texts are longer than the model reads.
        unread_words: those of its texts that the model has never read in its training.
        warnings: what a person should know of it, a line each.
        error: of one of many searches, why it was refused; then there are no hits.
    """

    hits: list[Hit]
    seconds: float = 0.0
    cut_texts: int = 0
    unread_words: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    error: ServiceError | None = None

    def __iter__(self) -> Iterator[Hit]:
        return iter(self.hits)

    def __len__(self) -> int:
        return len(self.hits)


@dataclass(frozen=True, slots=True)
class Classified:
    """Of one image: its likeliest label and the probability of each label, or the `error` why it cannot be read.

    Attributes:
        cut_texts: how many of the labels' prompts are longer than the model reads; so of each image.
        warnings: what a person should know of the labels, a line each; so of each image.
    """

    image: Path | bytes
    label: str | None = None
    score: float | None = None
    scores: dict[str, float] = field(default_factory=dict)  # label -> probability, the likeliest first
    labels: dict[str, float] = field(default_factory=dict)  # those given: one, of a multi set several
    cosines: dict[str, float] = field(default_factory=dict)  # label -> of the image with its prompts
    abstained: bool = False  # none of the labels fits
    known: float | None = None  # how far it is any of the labels, 0 to 1, where it may be none
    error: str | None = None
    cut_off: str | None = None  # in words, of a file that ends before its picture does; what there is was labelled
    cut_texts: int = 0
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Uploaded:
    """Of one image that was sent: its entry, or the `error` why there is none."""

    image: Path | bytes
    id: int | None = None
    created: bool = False  # false: the same bytes were there before, and keep their entry
    error: str | None = None
    cut_off: str | None = None  # in words, of a new file that ends before its picture does; what there is was taken


@dataclass(frozen=True, slots=True)
class Put:
    """Of one entry that was put: what became of it, and its id; or `failed`, and the `error` with message and code."""

    external_id: str
    status: str  # created, replaced, unchanged, failed
    id: int | None = None
    error: dict[str, Any] | None = None
    cut_off: str | None = None  # in words, of a new file that ends before its picture does; what there is was taken

    @property
    def raised(self) -> ServiceError | None:
        """The error as an exception."""
        return None if self.error is None else error_of("the service", 422, {"error": self.error})


@dataclass(frozen=True, slots=True)
class Deleted:
    """How many entries were meant, and how many were deleted."""

    matched: int
    deleted: int
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Patched:
    """How many entries were meant, and what was done with them; `first_refused` says why some stayed as they were."""

    matched: int
    changed: int
    unchanged: int
    refused: int
    first_refused: list[dict[str, Any]] = field(default_factory=list)
    dry_run: bool = False
    changed_ids: list[int] = field(default_factory=list)  # where it was asked for


@dataclass(frozen=True, slots=True)
class LabelSet:
    """Labels and templates kept under a name. A label with prompts of its own is a dict with them.

    Attributes:
        learned: what was learned of them, by which model; None: nothing.
        warnings: what went with what was replaced.
        etag: of what it is; `Client.keep_label_set`, `save_label_set` and `delete_label_set` take the set by it.
    """

    name: str
    labels: list[Any]
    templates: list[str]
    mode: str = "single"
    learned: dict[str, Any] | None = None
    warnings: list[str] = field(default_factory=list)
    etag: str = ""


def as_seen(expected: LabelSet | EllipsisType | None) -> dict[str, str]:
    """The header by which a service changes no set but the one that was seen; None: no set. Of `...` there is none."""
    if isinstance(expected, EllipsisType):
        return {}
    return {"If-None-Match": "*"} if expected is None else {"If-Match": expected.etag}


@dataclass(frozen=True, slots=True)
class LabelRun:
    """A labelling run; in a list of them without the counts."""

    id: str
    state: str  # begun, done, undoing, undone
    used_at: str
    images: int
    steps: int  # changes that can be taken back
    folder: str | None = None
    collection: str | None = None
    outputs: dict[str, Any] = field(default_factory=dict)
    model: str = ""
    labels: list[str] = field(default_factory=list)
    mode: str = "single"
    calibrated: bool = False
    per_label: dict[str, int] = field(default_factory=dict)
    abstained: int = 0
    undecided: int = 0
    unread: int = 0
    reviewed: dict[str, int] = field(default_factory=dict)
    last_review: int | None = None


@dataclass(frozen=True, slots=True)
class RunImage:
    """An image of a labelling run; `answers` and `guess` are dicts of label and score."""

    id: int
    path: str
    answers: list[dict[str, Any]]
    guess: dict[str, Any] | None = None
    margin: float | None = None  # how clear its labels are; 0: another would be as good
    reviewed: str | None = None
    error: str | None = None
    width: int | None = None
    height: int | None = None
    content_url: str | None = None
    thumbnail_url: str | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it stands. `request` is what was asked, `report` what it has done, of its kind (docs/jobs.md)."""

    id: str
    kind: str | None  # None, and no request: its file is damaged
    state: str  # queued, running, cancelling, succeeded, failed, cancelled
    created_at: str
    collection: str | None = None
    request: dict[str, Any] | None = field(default_factory=dict)
    started_at: str | None = None
    ended_at: str | None = None
    done: int = 0
    total: int | None = None  # None while it is not known
    report: dict[str, Any] | None = None
    error: dict[str, str] | None = None  # message, type and code of why it failed


@dataclass(frozen=True)
class TrainingRun:
    """A training run; `before` and `after` are of the measure that `measure` names, `after` at the best epoch.

    `settings`, `tables` and `report_url` are those of `Client.training_run` alone.
    """

    name: str
    state: str
    epoch: int | None
    epochs: int | None
    best_epoch: int | None
    measure: str
    before: float | None
    after: float | None
    score: float | None
    minutes: float
    started_from: str | None
    warnings: list[str]
    has_model: bool
    written_at: str
    settings: dict[str, Any] = field(default_factory=dict)
    tables: list[dict[str, Any]] = field(default_factory=list)
    report_url: str | None = None


def part(said: Any, name: str) -> Any:
    """A field of an answer. NoService if it has none."""
    if not isinstance(said, dict) or name not in said:
        raise NoService(f"the answer has no {name!r}: is this a glimpse service, and not an older one?")
    return said[name]


def listed(said: Any, name: str) -> list[Any]:
    """A field of an answer that is a list. NoService if it is none."""
    found = part(said, name)
    if not isinstance(found, list):
        raise NoService(f"the answer's {name!r} is no list: is this a glimpse service?")
    return found


def read(kind: type[T], said: Any, **own: Any) -> T:
    """A `kind` of the fields that the service said, and of `own`. NoService if one is missing."""
    known = dict(own)
    for one in fields(kind):  # type: ignore[arg-type]
        optional = one.default is not MISSING or one.default_factory is not MISSING
        if one.name not in own and not (optional and isinstance(said, dict) and one.name not in said):
            known[one.name] = part(said, one.name)
    return kind(**known)
