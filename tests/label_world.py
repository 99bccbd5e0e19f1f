"""A folder of plain pictures, and labelling runs over it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from colour_encoder import ColourEncoder
from tiny_world import plain_picture

from base.sources.rules import Rules
from encoder.zero_shot.prompts import Label
from labelling.label_sets import LabelSet
from labelling.outputs.asked import OutputsAsked
from labelling.runs.deciding import LabelsAsked
from labelling.runs.journal import Changes
from labelling.runs.kept import LabelRuns
from labelling.runs.report import Going, RunReport, SourceAsked
from labelling.runs.sources import FolderSource

AS_USUAL = Going()
COLOURS = ("red", "green", "blue")


def tree(*folders: Path) -> dict[str, tuple[str, bytes | str]]:
    """Everything below folders: each file's bytes, where each link leads, each folder."""
    found: dict[str, tuple[str, bytes | str]] = {}
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_symlink():
                found[str(path)] = ("link", str(path.readlink()))
            else:
                found[str(path)] = ("folder", "") if path.is_dir() else ("file", path.read_bytes())
    return found


class World:
    """A folder of pictures, and a data folder with runs over it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.data, self.to = folder / "photos", folder / "data", folder / "sorted"
        self.folder.mkdir()
        self.encoder = ColourEncoder()

    def add(self, name: str, colour: str, shade: int = 0) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        plain_picture(colour, shade).save(path, "PNG")
        return path

    def add_colours(self, n: int = 3) -> None:
        for i in range(n):
            for colour in COLOURS:
                self.add(f"{i}/{colour}.png", colour, i)

    def run(
        self, labels: Sequence[str | Label] | LabelSet = COLOURS, going: Going = AS_USUAL, **outputs: object
    ) -> RunReport:
        asked = OutputsAsked(**outputs)  # type: ignore[arg-type]
        source = FolderSource(self.folder, Rules(), self.encoder, lambda: self.encoder)
        with LabelRuns(self.data).make(SourceAsked(folder=str(self.folder)), asked) as run:
            label_set = labels if isinstance(labels, LabelSet) else LabelSet.of(labels)
            return run.go_on(source, LabelsAsked(label_set), going=going)[0]

    def undo(self, name: str = "last") -> Changes:
        with LabelRuns(self.data).open(name) as run:
            return run.undo()

    def sorted(self) -> set[str]:
        return {str(path.relative_to(self.to)) for path in self.to.rglob("*") if not path.is_dir()}


def counts(report: RunReport) -> tuple[int, int, int, int]:
    return report.new, report.changed, report.unchanged, report.gone
