"""The client: what the service is, its collections and label sets, classifications, embeddings.

Searches, facets, columns, entries, their changes, jobs, labelling and training runs it has by inheritance.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import EllipsisType
from typing import TYPE_CHECKING, Any, Literal

from base.errors import GlimpseError, ImageError, InputError
from glimpse.client.answers import Classified, Collection, Info, LabelSet, Model, as_seen, listed, part, read
from glimpse.client.batches import Image, base64_of, in_batches, read_image, source_of, why
from glimpse.client.catalogue import Catalogue
from glimpse.client.changes import Changes
from glimpse.client.columns import Overview
from glimpse.client.connection import given, in_path
from glimpse.client.entries import Entries
from glimpse.client.errors import NoService, ServiceError
from glimpse.client.facets import Facets
from glimpse.client.jobs import Jobs
from glimpse.client.label_runs import LabelRuns
from glimpse.client.searches import Searches
from glimpse.client.training_runs import TrainingRuns

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]


class Client(Searches, Facets, Overview, Entries, Catalogue, Changes, Jobs, LabelRuns, TrainingRuns):
    """A service of glimpse. `Connection` says how it is made and what it raises; close it, or use `with`."""

    def info(self) -> Info:
        """Model, version and collections."""
        said = self.ask("GET", "/v1/info")
        return read(Info, said, collections=[read(Collection, one) for one in listed(said, "collections")])

    def models(self) -> list[Model]:
        """The models that may be asked for by name, the default one first."""
        return [read(Model, one) for one in listed(self.ask("GET", "/v1/models"), "data")]

    def ready(self) -> bool:
        """Whether it answers and its model is warm."""
        try:
            self.wait_until_ready(0)
        except (NoService, ServiceError):
            return False
        return True

    def wait_until_ready(self, seconds: float = 120.0) -> None:
        """Return when it is ready.

        Raises:
            NoService, ServiceError: it was not in that time; why.
        """
        end = time.monotonic() + seconds
        while True:
            try:
                self.once("GET", "/health/ready")
                return
            except (NoService, ServiceError):
                if time.monotonic() >= end:
                    raise
            time.sleep(0.2)

    def collections(self) -> list[Collection]:
        """All collections, by name."""
        return [read(Collection, one) for one in listed(self.ask("GET", "/v1/collections"), "collections")]

    def collection(self, name: str) -> Collection:
        """One collection. CollectionNotFound if there is none of that name."""
        return read(Collection, self.ask("GET", f"/v1/collections/{in_path(name)}"))

    def create_collection(
        self,
        name: str,
        *,
        title: str | None = None,
        model: str | None = None,
        kind: str | None = None,
        recall: float | None = None,
    ) -> Collection:
        """Make a collection; one that is there already keeps what it holds.

        Args:
            name: of letters, digits, ".", "_" and "-".
            title: what it is called where people read. Default: what it is called already, else by its name.
            model: the name of the one that is to make its vectors. Default: the service's default model.
            kind: of its index, as in docs/operations.md. Default: what suits the number of rows.
            recall: share of the true first ten that it finds.

        Raises:
            ModelMismatch: there is one of another model than was named.
            ModelNotFound: there is no model of that name.
        """
        config = given(title=title, model=model, kind=kind, recall=recall) or None
        return read(Collection, self.ask("PUT", f"/v1/collections/{in_path(name)}", json=config))

    def set_quota(self, name: str, **quota: int | None) -> Collection:
        """Bound what a collection may hold: `entries`, `upload_bytes`; None takes a bound away, one not named stays.

        Raises:
            CollectionNotFound: there is none of that name.
        """
        return read(Collection, self.ask("PATCH", f"/v1/collections/{in_path(name)}", json={"quota": quota}))

    def set_title(self, name: str, title: str | None, *, expected_title: str | EllipsisType | None = ...) -> Collection:
        """Have a collection called so where people read; None: by its name.

        Args:
            name: which leads to it, and stays.
            title: any line of 120 characters at most.
            expected_title: what it is called now, as you saw it; None: by its name. Default: any title is replaced.

        Raises:
            CollectionNotFound: there is none of that name.
            ChangedMeanwhile: it has another title than expected, and keeps it.
        """
        asked = {"title": title} if expected_title is ... else {"title": title, "expected_title": expected_title}
        return read(Collection, self.ask("PATCH", f"/v1/collections/{in_path(name)}", json=asked))

    def rename_collection(self, name: str, to: str) -> Collection:
        """Have a collection called `to`, which leads to it from now on.

        Raises:
            CollectionNotFound: there is none of that name.
            CollectionExists: there is one that is called so.
            CollectionLocked: others write to it, or a job of it waits or runs.
        """
        return read(Collection, self.ask("PATCH", f"/v1/collections/{in_path(name)}", json={"name": to}))

    def delete_collection(self, name: str) -> None:
        """Delete it with its entries and uploaded files. CollectionNotFound if there is none."""
        self.ask("DELETE", f"/v1/collections/{in_path(name)}")

    def label_sets(self) -> list[str]:
        """The names of the kept label sets."""
        return listed(self.ask("GET", "/v1/label-sets"), "label_sets")

    def label_set(self, name: str) -> LabelSet:
        """A kept label set."""
        said, etag = self.ask_with_tag("GET", f"/v1/label-sets/{in_path(name)}")
        return read(LabelSet, said, etag=etag)

    def keep_label_set(
        self,
        name: str,
        labels: Sequence[str | Mapping[str, Any]],
        templates: Sequence[str] | str = (),
        *,
        mode: Literal["single", "multi"] = "single",
        expected: LabelSet | EllipsisType | None = ...,
    ) -> LabelSet:
        """Keep labels, and templates with {} for the label, under a name; `classify` takes them by it.

        What was learned of the same labels stays; the `warnings` of the answer say what does not.

        Args:
            name: of the set.
            labels: of images, as texts or with prompts of their own.
            templates: none: those that all have.
            mode: single: one of the labels; multi: each on its own.
            expected: what is to be replaced, as you saw it; None: nothing. Default: whatever is there.

        Raises:
            ChangedMeanwhile: it is another than expected, and stays.
            LabelSetExists: nothing was expected.
        """
        body = {"labels": list(labels), "templates": templates if isinstance(templates, str) else list(templates)}
        body["mode"] = mode
        path = f"/v1/label-sets/{in_path(name)}"
        said, etag = self.ask_with_tag("PUT", path, json=body, headers=as_seen(expected))
        return read(LabelSet, said, etag=etag)

    def delete_label_set(self, name: str, *, expected: LabelSet | EllipsisType = ...) -> None:
        """Forget a label set. ChangedMeanwhile: it is another than `expected`, and stays."""
        self.ask("DELETE", f"/v1/label-sets/{in_path(name)}", headers=as_seen(expected))

    def classify(
        self,
        images: Iterable[Image],
        labels: Sequence[str] | None = None,
        *,
        label_set: str | None = None,
        templates: Sequence[str] = (),
        scores: Literal["softmax", "sigmoid"] | None = None,
        abstain: bool = False,
        model: str | None = None,
    ) -> Iterator[Classified]:
        """The likeliest label of each image, in order. Requests are sent as the results are taken.

        Args:
            images: any number of paths, or of files' bytes.
            labels: to choose from, "sofa|couch" for one with a synonym; or
            label_set: the name of kept ones.
            templates: sentences with {} for the label. Default: those of the label set, else the service's own.
            scores: "softmax", one of them; "sigmoid", each on its own. Default: as the model was trained.
            abstain: an image may be none of them; a label set that always does needs not be told.
            model: its name. Default: the one that learned the label set, else the service's default model.

        Raises:
            ModelNotFound: there is no model of that name.
            InputError: the labels, templates or scores cannot be used.
        """
        if (labels is None) == (label_set is None):
            raise InputError("give either labels or label_set")
        chosen = None if labels is None else list(labels)
        asked = given(
            labels=chosen,
            label_set=label_set,
            templates=list(templates),
            scores=scores,
            abstain=abstain or None,
            model=model,
        )

        def ask(batch: Sequence[tuple[Image, bytes]], patient: bool) -> Sequence[Any]:
            body = asked | {"images": [base64_of(data) for _, data in batch]}
            said = self.ask("POST", "/v1/classify", json=body, patient=patient)
            results = listed(said, "results")
            of_all = {name: said[name] for name in ("cut_texts", "warnings") if name in said}
            return [one | of_all if isinstance(one, dict) else one for one in results]

        return (_classified(image, said) for image, said in in_batches(images, read_image, ask))

    def embed_texts(self, texts: Iterable[str], *, model: str | None = None) -> Vectors:
        """Unit vectors (n, dim) float32; the dot product of any two is their cosine.

        `model` is a name, by default that of the service's default model. ModelNotFound.
        """

        def ask(batch: Sequence[tuple[str, bytes]], patient: bool) -> Sequence[Any]:
            return self._embed([{"text": text} for text, _ in batch], patient, model)

        return _stacked(in_batches(texts, lambda text: text.encode("utf-8", "replace"), ask))

    def embed_images(self, images: Iterable[Image], *, model: str | None = None) -> Vectors:
        """Unit vectors (n, dim) float32, in the same space as those of texts by the same model.

        Raises:
            ImageError: one cannot be read; it names which.
        """

        def ask(batch: Sequence[tuple[Image, bytes]], patient: bool) -> Sequence[Any]:
            return self._embed([{"image": base64_of(data)} for _, data in batch], patient, model)

        return _stacked(in_batches(images, read_image, ask))

    def _embed(self, inputs: list[dict[str, str]], patient: bool, model: str | None) -> list[Any]:
        body = {"input": inputs, "encoding_format": "base64"} | given(model=model)
        return listed(self.ask("POST", "/v1/embeddings", json=body, patient=patient), "data")


def _stacked(answers: Iterable[tuple[Any, Any]]) -> Vectors:
    """The vectors of all that was embedded; the error of the first that was not."""
    try:
        import numpy as np
    except ModuleNotFoundError:
        raise InputError("vectors come as arrays of numpy, which is not installed: pip install numpy") from None

    rows = []
    for i, (item, row) in enumerate(answers):
        if isinstance(row, ImageError):
            raise ImageError(f"image {i}" if isinstance(item, bytes) else item, row.reason) from row
        if isinstance(row, GlimpseError):
            raise row
        rows.append(np.frombuffer(base64.b64decode(part(row, "embedding")), "<f4"))
    if not rows:
        raise InputError("there is nothing to embed: give at least one text or image")
    return np.stack(rows).astype(np.float32, copy=False)


def _classified(image: Image, said: Any) -> Classified:
    if isinstance(said, ImageError | ServiceError):
        return Classified(source_of(image), error=why(said))
    each = part(said, "scores") or ()
    scores = {one["label"]: one["score"] for one in each}
    labels = {one["label"]: one["score"] for one in said.get("labels") or ()}
    cosines = {one["label"]: one["cosine"] for one in each if "cosine" in one}
    return read(Classified, said, image=source_of(image), scores=scores, labels=labels, cosines=cosines)
