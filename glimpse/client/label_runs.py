"""The labelling runs of a service: looking at them, reviewing them, bringing what they wrote in step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import EllipsisType
from typing import Any, Literal

from glimpse.client.answers import LabelRun, LabelSet, RunImage, as_seen, listed, read
from glimpse.client.connection import Connection, given, in_path


class LabelRuns(Connection):
    """What `glimpse label` and label jobs leave to be looked through. docs/labelling.md tells what a review does."""

    def label_runs(self) -> list[LabelRun]:
        """All of them, the one used last first, without counts."""
        return [read(LabelRun, one) for one in listed(self.ask("GET", "/v1/label-runs"), "label_runs")]

    def label_run(self, id: str) -> LabelRun:  # noqa: A002
        """One, with how many images have each label, none, or were reviewed."""
        return read(LabelRun, self.ask("GET", _path(id)))

    def label_run_images(
        self,
        id: str,  # noqa: A002
        *,
        order: Literal["uncertain", "certain", "path"] = "uncertain",
        label: str | None = None,
        abstained: bool | None = None,
        reviewed: bool | None = None,
    ) -> Iterator[RunImage]:
        """Its images, the least certain first; pages are fetched as they are needed."""
        asked = {"order": order, "label": label, "abstained": abstained, "reviewed": reviewed}
        return (read(RunImage, one) for one in self.pages(f"{_path(id)}/images", "images", **given(**asked)))

    def review(
        self,
        id: str,  # noqa: A002
        items: Sequence[Mapping[str, Any]] = (),
        rules: Sequence[Mapping[str, Any]] = (),
    ) -> dict[str, Any]:
        """Say what images are, as in `[{"image": 42, "verdict": "correct", "labels": ["cat"]}]`; the rest follows.

        Args:
            id: of the run.
            items: a verdict each: accept, correct (with labels), none or skip; with `expected_reviewed` only if nobody
                has said something else meanwhile.
            rules: as in `[{"accept_above": 0.97, "label": "cat"}]`.

        Returns:
            How many were accepted, corrected and so on, how many labelled anew, and the run after it.

        Raises:
            ChangedMeanwhile: somebody has said something else of an image than was expected; nothing is kept.
            ModelMismatch: another model than the service's made the run's vectors.
            RunBusy: others work on it.
        """
        body = {"items": list(items), "rules": list(rules)}
        return dict(self.ask("POST", f"{_path(id)}/review", json=body))

    def undo_review(self, id: str, review: int | None = None) -> dict[str, Any]:  # noqa: A002
        """Take back the last review: its images are as they were, the rest is labelled anew without it.

        Args:
            id: of the run.
            review: its number, the run's `last_review`; default: whichever is the last.

        Returns:
            As `review`, counted by what had been said, with `images`: those that it had been said of.

        Raises:
            InputError: there is none to take back.
            ChangedMeanwhile: another is the last by now.
        """
        return dict(self.ask("POST", f"{_path(id)}/review/undo", params=given(review=review)))

    def label_run_bars(self, id: str, label: str | None = None) -> list[tuple[float, int]]:  # noqa: A002
        """What a rule would accept: scores at even shares of the images left, and how many reach each."""
        found = listed(self.ask("GET", f"{_path(id)}/bars", params=given(label=label)), "bars")
        return [(bar["accept_above"], bar["images"]) for bar in found]

    def label_run_table(self, id: str) -> bytes:  # noqa: A002
        """Its labels by now as CSV: path, label, score."""
        return self.send("GET", f"{_path(id)}/table").content

    def apply_label_run(self, id: str) -> dict[str, Any]:  # noqa: A002
        """Bring files, keywords and metadata in step with its labels; what was done, and what could not be."""
        return dict(self.ask("POST", f"{_path(id)}/apply"))

    def undo_label_run(self, id: str) -> dict[str, Any]:  # noqa: A002
        """Take back what it wrote; how much, and what not."""
        return dict(self.ask("POST", f"{_path(id)}/undo"))

    def save_label_set(
        self,
        id: str,  # noqa: A002
        name: str,
        *,
        expected: LabelSet | EllipsisType | None = ...,
    ) -> LabelSet:
        """Keep its labels as a label set, with what was reviewed as examples; `expected` as `keep_label_set` has it."""
        path, headers = f"{_path(id)}/save-label-set", as_seen(expected)
        said, etag = self.ask_with_tag("POST", path, json={"name": name}, headers=headers)
        return read(LabelSet, said, etag=etag)

    def forget_label_run(self, id: str) -> None:  # noqa: A002
        """Forget it; what it wrote stays."""
        self.ask("DELETE", _path(id))


def _path(id: str) -> str:  # noqa: A002
    return f"/v1/label-runs/{in_path(id)}"
