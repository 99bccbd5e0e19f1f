"""What goes in and out over REST: jobs, one request for each kind, and how they do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    RootModel,
    StringConstraints,
    ValidationError,
    model_validator,
)

from encoder.zero_shot.classifier import ScoredBy
from index.map.projection import Method
from labelling.label_sets import Mode
from labelling.outputs.folder_steps import How
from service.jobs.store import DAMAGED, Job, Kind, State
from service.schemas.base import CollectionName, Label, ModelName, RequestModel, Schema
from service.schemas.labelling.labels import ABSTAIN_HELP, MODEL_HELP, SCORES_HELP, LabelOrText

MAX_FOLDERS = 100


def _absolute(path: str) -> str:
    if not path.startswith("/"):
        raise ValueError("must be an absolute path")
    return path


ServerPath = Annotated[
    str, StringConstraints(min_length=1, max_length=4096), AfterValidator(_absolute),
    Field(description="on the server, absolute, in one of the folders that jobs may read", examples=["/photos/2024"]),
]  # fmt: skip


Pattern = Annotated[str, StringConstraints(min_length=1, max_length=4096)]


FollowLinks = Annotated[
    bool, Field(description="also walk what links to folders lead to in the permitted ones, each once")
]


class Walk(RequestModel):
    """What is walked below folders."""

    exclude: list[Pattern] = Field(
        [], max_length=100, description="leave out names that match, or with a / in it paths below the folder"
    )
    any_name: bool = Field(
        False, description="files without a picture's suffix too, if their first bytes are a picture's"
    )


class Folders(Walk):
    """What index and watch have in common."""

    kind: Literal["index", "watch"]
    collection: CollectionName = Field(description="made if there is none")
    folders: list[ServerPath] = Field(min_length=1, max_length=MAX_FOLDERS)
    captions: ServerPath | None = Field(None, description="table whose other columns become metadata of its images")
    image_key: str = Field("image", max_length=1000, description="the column of captions that holds the image's path")
    allow_empty: bool = Field(False, description="remove the entries of a folder in which no image is left")
    check_contents: bool = Field(False, description="read every file: finds what changed with its time and size kept")
    model: ModelName = Field(None, description="default: the collection's, for a new one the default model")


class IndexJob(Folders):
    """Bring a collection in step with folders, as `glimpse index`."""

    kind: Literal["index"]
    follow_links: FollowLinks = False


class WatchJob(Folders):
    """Bring a collection in step with folders and keep it there, until it is cancelled."""

    kind: Literal["watch"]

    @model_validator(mode="before")
    @classmethod
    def _follows_no_links(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("follow_links"):
            raise ValueError("a watch sees nothing of what happens behind links: name the folders that they lead to")
        return given


class LabelJob(Walk):
    """Label every image below a folder, or of a collection, as `glimpse label`: its result is a CSV."""

    kind: Literal["label"]
    folder: ServerPath | None = None
    collection: CollectionName | None = Field(None, description="instead of a folder: by the vectors that it has")
    labels: list[LabelOrText] | None = Field(None, min_length=1)
    label_set: str | None = Field(None, description="the name of a kept label set, instead of labels")
    templates: list[Label] = Field([], description="prompts with {} for the label; several are averaged")
    scores: ScoredBy | None = Field(None, description=SCORES_HELP)
    follow_links: FollowLinks = False
    mode: Mode | None = Field(None, description="single: one label; multi: any number; default: the label set's own")
    abstain: bool = Field(False, description=ABSTAIN_HELP)
    out: list[ServerPath] = Field([], max_length=10, description="files to write, by suffix: .csv, .jsonl, .json")
    to: ServerPath | None = Field(None, description="a folder for a folder for each label")
    how: How = Field("copy", description="what is made of an image there")
    xmp: bool = Field(False, description="write the labels as keywords to sidecars of the images")
    write_metadata: str | None = Field(
        None, min_length=1, max_length=200, description="write the labels to this key of the collection's metadata"
    )
    overwrite: bool = Field(False, description="replace files and metadata that others wrote")
    model: ModelName = Field(None, description=MODEL_HELP)

    @model_validator(mode="after")
    def _has_labels(self) -> LabelJob:
        if (self.labels is None) == (self.label_set is None):
            raise ValueError("give either labels or label_set")
        if (self.folder is None) == (self.collection is None):
            raise ValueError("give either folder or collection")
        if self.write_metadata is not None and self.collection is None:
            raise ValueError("write_metadata writes to a collection: label one instead of a folder")
        if self.to and self.folder and self.how != "move" and Path(self.to).is_relative_to(self.folder):
            raise ValueError("to lies in folder, where what is put there would be labelled in its turn: choose another")
        return self


class ReindexJob(RequestModel):
    """Bring a collection to another model. It is served as it was until all is done."""

    kind: Literal["reindex"]
    collection: CollectionName
    drop_unreadable: bool = Field(False, description="delete the entries whose file is gone or cannot be read")
    model: ModelName = Field(None, description="default: the default model")
    training_run: str | None = Field(
        None, max_length=200, description="a name of GET /v1/training-runs, instead of a model: the one in its folder"
    )

    @model_validator(mode="after")
    def _is_one_model(self) -> ReindexJob:
        if self.model and self.training_run:
            raise ValueError("give either model or training_run")
        return self


class MapJob(RequestModel):
    """Make the map of a collection, as `glimpse collections map`."""

    kind: Literal["map"]
    collection: CollectionName
    method: Method = Field(
        "pca", description="pca takes seconds; umap minutes, keeps neighbours together, and needs umap-learn"
    )
    names: bool = Field(True, description="name its clusters by the words nearest to them")
    model: ModelName = Field(None, description="default: the collection's, and no other can name its clusters")


AnyJob = Annotated[IndexJob | WatchJob | LabelJob | ReindexJob | MapJob, Field(discriminator="kind")]

EXAMPLES: list[dict[str, Any]] = [
    {"kind": "index", "collection": "photos", "folders": ["/photos"]},
    {"kind": "watch", "collection": "photos", "folders": ["/photos"]},
    {"kind": "label", "folder": "/photos/2024", "labels": ["beach", "mountain", "city"]},
    {"kind": "label", "folder": "/photos/2024", "label_set": "pets", "out": ["/photos/pets.csv"], "xmp": True},
    {"kind": "label", "collection": "photos", "label_set": "pets", "write_metadata": "pets"},
    {"kind": "reindex", "collection": "photos"},
    {"kind": "reindex", "collection": "photos", "training_run": "clothes"},
    {"kind": "map", "collection": "photos", "method": "umap"},
]
JOB: dict[str, Any] = {
    "id": "0623a1f4c8d2e09b7c41", "kind": "index", "state": "running", "collection": "photos",
    "request": EXAMPLES[0] | {"captions": None, "image_key": "image", "allow_empty": False, "exclude": [],
                              "any_name": False, "check_contents": False, "model": None, "follow_links": False},
    "created_at": "2026-01-31T12:00:00+00:00", "started_at": "2026-01-31T12:00:00+00:00", "ended_at": None,
    "done": 640, "total": 18230,
    "report": {
        "added": 639, "updated": 0, "moved": 0, "removed": 0, "unchanged": 0, "encoded": 639, "skipped": 1,
        "skips": [{"path": "/photos/empty.jpg", "reason": "the file is empty"}],
        "left_out": [],
    },
    "error": None, "waiting": None,
}  # fmt: skip


class JobRequest(RootModel[AnyJob]):
    """A job of one of the five kinds."""

    model_config = ConfigDict(json_schema_extra=dict[str, Any](examples=EXAMPLES))


class Skip(Schema):
    """A file that was left out, and why."""

    path: str
    reason: str


class Skips(Schema):
    """What was left out."""

    model_config = ConfigDict(extra="forbid")

    skipped: int
    skips: list[Skip] = Field(description="up to a hundred of them")


class WasLeftOut(Schema):
    """What was not used, or not wholly, for one reason: names that a walk passes by, rows of captions, cut files."""

    reason: str = Field(examples=["linked folders (follow_links follows them)"])
    count: int
    first: str | None = Field(examples=["/photos/more"], description="null: not known")


class Walked(Skips):
    """What a walk over folders left out, and entries that it kept of folders that may be away with their disk."""

    left_out: list[WasLeftOut] = Field([], description="what was not used, by reason")


class IndexCounts(Walked):
    """Of an index job since it was last started, in files; of a watch, of all that it has met since."""

    added: int
    updated: int
    moved: int
    removed: int
    unchanged: int
    encoded: int


class LabelCounts(Walked):
    """Of a label job, in images; labels that no image has are not named."""

    labelled: int
    per_label: dict[str, int]
    abstained: int = Field(0, description="images that none of the labels fits")
    warnings: list[str] = Field([], description="of its labels: words in them that the model has never read, a line")
    run: str | None = Field(None, description="where they can be reviewed: /v1/label-runs/{run}")
    failed: list[Skip] = Field([], description="up to a hundred files that something could not be written for")


class ReindexCounts(Skips):
    """Of a reindex job, in entries."""

    encoded: int
    resumed: int = Field(description="done by starts before this one")
    changed: int = Field(description="files that are not what was indexed; encoded as they are now")
    dropped: int
    swapped: bool = Field(description="whether the collection has the new model")


class MapCounts(Schema):
    """Of a map job, in images; GET /v1/collections/{collection}/map tells the rest."""

    model_config = ConfigDict(extra="forbid")

    placed: int
    clusters: int


class JobError(Schema):
    """Why a job failed, in the words that a request would have been answered with."""

    message: str
    type: str
    code: str


class JobAnswer(Schema):
    """A job."""

    model_config = ConfigDict(json_schema_extra={"example": JOB})

    id: str
    kind: Kind | None = Field(description="null: its file is damaged")
    state: State
    collection: str | None
    request: AnyJob | None = Field(description="null: its file is damaged, or the key may only read")
    created_at: str
    started_at: str | None
    ended_at: str | None
    done: int = Field(description="files or entries looked at")
    total: int | None = Field(description="null while it is not known")
    report: IndexCounts | LabelCounts | ReindexCounts | MapCounts | None
    error: JobError | None
    waiting: str | None = Field(description="which other process it waits for, though it is its turn; null: for none")

    @classmethod
    def of(cls, job: Job) -> JobAnswer:
        """Of a kept job."""
        fields = {name: getattr(job, name) for name in cls.model_fields}
        fields |= {"report": job.report or None, "request": None if job.kind is None else job.request}
        try:
            return cls.model_validate(fields)
        except ValidationError:  # what it asked for, reports or failed with is not what we ever write
            state = "failed" if job.ended else job.state
            return cls.model_validate(fields | {"state": state, "request": None, "report": None, "error": DAMAGED})


class JobsAnswer(Schema):
    """A page of jobs, the newest first."""

    model_config = ConfigDict(json_schema_extra={"example": {"jobs": [JOB], "next": None}})

    jobs: list[JobAnswer]
    next: str | None = Field(description="give it as `after` for the next page; null: this is the last")
