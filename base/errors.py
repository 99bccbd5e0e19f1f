"""The errors that glimpse raises on purpose; a room may add a kind of its own. Imports nothing, so it costs nothing.

    GlimpseError
    ├── InputError             a value that the caller gave cannot be used
    │   ├── ImageError         one image that cannot be read: carries its path and the reason
    │   ├── LabelSetExists     a label set of that name is kept already
    │   └── IdempotencyKeyReused   another request has had this key
    ├── ModelError             a model reference, checkpoint or config that cannot be used
    │   ├── ModelUnavailable   its weights are not on this machine and cannot be downloaded now
    │   └── ModelNotFound      a service serves none of that name
    ├── CollectionError        a collection that cannot be used as asked
    │   ├── CollectionNotFound
    │   ├── CollectionExists
    │   ├── CollectionLocked   another process is writing to it
    │   ├── CollectionDamaged  its catalog fails its own check
    │   ├── DiskError          the disk that it lies on is read-only or fails; also of what else is kept
    │   │   └── DiskFull       has no space left
    │   ├── QuotaExceeded      it may not hold so much
    │   ├── EntriesLeft        another model has not made all of its vectors yet
    │   ├── CursorGone         what changed after a cursor is no longer all known
    │   ├── NotInStore         the store that it lies in does not have what is asked for
    │   ├── StoreUnavailable   the server that it lies on does not answer
    │   │   └── DiskUnavailable   nor does the disk
    │   └── ModelMismatch      it was built by another model
    ├── ChangedMeanwhile       it is not what whoever wants to change it has seen
    ├── EntryNotFound          no image or text with that id
    ├── LabelSetNotFound       no label set of that name
    ├── RunNotFound            no labelling run of that id
    ├── RunBusy                another process works on the labelling run
    ├── RequestUnderWay        another request with the same Idempotency-Key runs
    ├── OutcomeUnknown         a request with this Idempotency-Key began and never ended
    ├── TrainingError          a training run that cannot start or go on
    └── Overloaded             more work than the queue holds; try again later
        └── Busy               not now: a model is being loaded, or a disk written to; try again in a moment

A message is one line: what is wrong, and what to do about it. Libraries raise; the command line prints the
message and exits with 2 for an InputError and 1 for another, the service maps the type to a status (service/errors.py).
"""

from __future__ import annotations

from pathlib import Path


class GlimpseError(Exception):
    """Base of all. `code` names the kind in the service's JSON."""

    code = "error"


class InputError(GlimpseError, ValueError):
    """A value that the caller gave cannot be used."""

    code = "invalid_input"


class ImageError(InputError):
    """One image that cannot be read, whatever the decoder raised."""

    code = "invalid_image"

    def __init__(self, path: str | Path | None, reason: str) -> None:
        self.path = None if path is None else str(path)
        self.reason = reason
        super().__init__(f"{self.path}: {reason}" if self.path else reason)


class ModelError(GlimpseError):
    """A model reference, checkpoint or config that cannot be used."""

    code = "model_error"


class ModelUnavailable(ModelError):
    """The weights are not on this machine and cannot be downloaded now."""

    code = "model_unavailable"


class ModelNotFound(ModelError):
    """No model of that name is served."""

    code = "model_not_found"
    param = "model"


class CollectionError(GlimpseError):
    """A collection that cannot be used as asked."""

    code = "collection_error"


class DiskError(CollectionError):
    """The disk that a collection lies on, or what else is kept, takes no change or fails."""

    code = "disk_error"


class DiskFull(DiskError):
    """There is no space left on it."""

    code = "disk_full"


class EntriesLeft(CollectionError):
    """Another model cannot be put in place: there are entries without a vector of it. What was made is kept."""

    code = "entries_left"


class CollectionNotFound(CollectionError):
    """No collection of that name."""

    code = "collection_not_found"


class CollectionExists(CollectionError):
    """A collection of that name is there already."""

    code = "collection_exists"


class CollectionLocked(CollectionError):
    """Another process is writing to the collection."""

    code = "collection_locked"


class CollectionDamaged(CollectionError):
    """The catalog fails its own check; nothing is served from it."""

    code = "collection_damaged"


class QuotaExceeded(CollectionError):
    """The collection would hold more than its quota allows; nothing was written."""

    code = "quota_exceeded"


class CursorGone(CollectionError):
    """What changed in the collection after a cursor is no longer all known: it is to be read anew."""

    code = "cursor_gone"


class NotInStore(CollectionError):
    """The store that the collection lies in does not have what is asked for, though another one does."""

    code = "not_in_store"


class StoreUnavailable(CollectionError):
    """The server that collections lie on does not answer, or is none that can be used."""

    code = "store_unavailable"


class DiskUnavailable(StoreUnavailable):
    """The disk that the collection lies on does not answer, or is not there; its cause says where, to the log."""

    code = "disk_unavailable"


class ModelMismatch(CollectionError):
    """The collection was built by another model than the one that asks."""

    code = "model_mismatch"


class ChangedMeanwhile(GlimpseError):
    """Somebody has changed meanwhile what was to be changed; it stays as it is. `param` is where a request said it."""

    code = "changed_meanwhile"

    def __init__(self, message: str, param: str | None = None) -> None:
        self.param = param
        super().__init__(message)


class EntryNotFound(GlimpseError):
    """No image or text with that id in the collection."""

    code = "entry_not_found"


class LabelSetNotFound(GlimpseError):
    """No label set of that name is kept."""

    code = "label_set_not_found"
    param: str | None = None  # where a request named it

    def __init__(self, name: str) -> None:
        super().__init__(f"no label set {name!r}; `glimpse labels list`, or GET /v1/label-sets, names those there are")


class LabelSetExists(InputError):
    """A label set of that name is kept already."""

    code = "label_set_exists"


class RunNotFound(GlimpseError):
    """No labelling run of that id."""

    code = "label_run_not_found"


class RunBusy(GlimpseError):
    """Another process works on the labelling run."""

    code = "label_run_busy"


class IdempotencyKeyReused(InputError):
    """Another request has had this Idempotency-Key."""

    code = "idempotency_key_reused"


class RequestUnderWay(GlimpseError):
    """Another request with the same Idempotency-Key runs; ask again for its answer."""

    code = "request_under_way"


class OutcomeUnknown(GlimpseError):
    """A request with this Idempotency-Key began, and the service was ended before it did."""

    code = "outcome_unknown"


class TrainingError(GlimpseError):
    """A training run that cannot start or go on."""

    code = "training_error"


class Overloaded(GlimpseError):
    """More work than the queue holds; try again in `seconds`."""

    code = "overloaded"

    def __init__(self, message: str, seconds: int = 1) -> None:
        self.seconds = seconds
        super().__init__(message)


class Busy(Overloaded):
    """What is asked for is not there in this moment; try again in `seconds`."""

    code = "busy"
