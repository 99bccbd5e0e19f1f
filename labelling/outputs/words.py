"""Labels as keywords where photo programs read them: in XMP sidecars, or inside the image files (`labelling.xmp`)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from base.errors import InputError
from labelling.outputs.output import ChangesImages, NotDone, Plan, Step
from labelling.rows import Labelled
from labelling.xmp.change import Change, plan_embedded, plan_words, undone
from labelling.xmp.sidecar import SidecarName, sidecar_of
from labelling.xmp.words import Origin, Word, XmpError, root_of


@dataclass(frozen=True)
class Written(Step):
    """XMP that was written: of a sidecar all its bytes, of an image file its packet."""

    kind: ClassVar[str] = "words"
    image: str
    file: str
    before: bytes | None
    after: bytes | None
    embedded: bool
    parted: bool = False  # from other names of the same file, which keep what it was

    @property
    def path(self) -> Path:
        """The file that changes."""
        return Path(self.file)

    @property
    def counted(self) -> str:
        """As `Step.counted`."""
        return "photos with new keywords" + (", whose hard links keep the old" if self.parted else "")

    @property
    def said(self) -> str:
        """In words."""
        verb = "make" if self.before is None and not self.embedded else "change"
        return f"{'remove' if self.after is None and not self.embedded else verb} {self.file}"

    @property
    def change(self) -> Change:
        """The same as those know it who do it."""
        return Change(Path(self.image), Path(self.file), self.before, self.after, self.embedded)


class Words(ChangesImages):
    """Keywords of photos.

    Args:
        labels: all that there are.
        origin: kept beside each word.
        root: what they are put under.
        sidecar: its name; None: they go into the image files.
        relinked: whether hard links to the images are made anew afterwards.
    """

    kinds = (Written,)

    def __init__(
        self,
        labels: Sequence[str],
        origin: Origin,
        root: str,
        sidecar: SidecarName | None,
        *,
        relinked: bool = False,
    ) -> None:
        root_of(root)
        for label in labels:
            Word.of(label)  # an InputError here is better than one an image
        self.name = f"words {sidecar or 'embedded'} {root}".strip()
        self._origin = origin
        self._root = root
        self._sidecar = sidecar
        self._relinked = relinked

    def wanted(self, image: Labelled, stamp: str) -> str:
        """The labels and their scores."""
        return json.dumps([(label, round(score, 4)) for label, score in image.answers]) if image.answers else ""

    def plan(self, image: Labelled, stamp: str, origin: Path | None, so_far: Sequence[Step]) -> Plan:
        """As `ChangesImages.plan`."""
        words = [Word.of(label, round(score, 4)) for label, score in image.answers]
        if not image.path.is_file():
            raise NotDone(image.path, "is no longer there")
        try:
            if self._sidecar is None:
                change = plan_embedded(image.path, words, self._origin, root=self._root)
            else:
                change = plan_words(image.path, words, self._origin, root=self._root, sidecar=self._sidecar)
        except XmpError as error:
            raise _not_done(image.path, error) from error
        if not change.is_needed:
            return Plan()
        parted = change.embedded and not self._relinked and change.path.stat().st_nlink > 1
        step = Written(str(change.image), str(change.path), change.before, change.after, change.embedded, parted)
        return Plan(do=[step])

    def reads(self, image: Labelled) -> Sequence[Path]:
        """As `ChangesImages.reads`."""
        if self._sidecar is None:
            return (image.path,)
        try:
            return (image.path, sidecar_of(image.path, self._sidecar))
        except XmpError as error:
            raise _not_done(image.path, error) from error

    def do(self, step: Step) -> Step:
        """As `ChangesImages.do`; whole files are on disk when they have their names."""
        assert isinstance(step, Written)
        try:
            step.change.apply()
        except XmpError as error:
            raise _not_done(step.path, error) from error
        return step

    def settle(self, step: Step) -> Step | None:
        """As `ChangesImages.settle`."""
        assert isinstance(step, Written)
        try:
            return step if undone(step.change).before == step.after else None
        except XmpError:
            return None

    def undo(self, step: Step) -> None:
        """As `ChangesImages.undo`: where others have written since, our words of before come back, and no more."""
        assert isinstance(step, Written)
        if not step.path.exists() and not Path(step.image).exists():
            raise NotDone(step.path, "is no longer there; where it was moved to, it has these keywords still")
        try:
            undone(step.change).apply()
        except XmpError as error:
            raise _not_done(step.path, error) from error

    def gone(self, step: Step) -> None:
        """As `ChangesImages.gone`."""
        if step.path.exists():
            self.undo(step)

    def flush(self) -> None:
        """Nothing: it is done."""

    def places(self, step: Step) -> tuple[Path, Path] | None:
        """As `ChangesImages.places`."""
        assert isinstance(step, Written)
        return (Path(step.image), Path(step.image)) if step.embedded else None


def _not_done(path: Path, error: InputError) -> NotDone:
    return NotDone(Path(getattr(error, "path", None) or path), getattr(error, "reason", str(error)))
