"""What of a source is not used: how many for each reason, and the first of them. Counts; says nothing by itself."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

KINDS = 6  # of files that are no pictures, named in a line


@dataclass
class LeftOut:
    """Rows, files, samples that were left out.

    A reason begins with what was left out, as in "rows without caption".

    Attributes:
        found: by reason, how many and the first.
        totals: how many rows, files, samples there were, by that first word, where it is known.
    """

    found: dict[str, tuple[int, str]] = field(default_factory=dict)
    totals: dict[str, int] = field(default_factory=dict)

    def add(self, reason: str, first: str, count: int = 1) -> None:
        """Count some that were left out; `first` says which is the first of them, and where it stands."""
        known, name = self.found.get(reason, (0, first))
        self.found[reason] = (known + count, name)

    def add_all(self, others: LeftOut) -> None:
        """Count what was left out elsewhere too."""
        for reason, (count, first) in others.found.items():
            self.add(reason, first, count)
        for noun, total in others.totals.items():
            self.totals[noun] = self.totals.get(noun, 0) + total

    def unread(self, path: Path, reason: str) -> None:
        """Count a file or folder that cannot be read or entered; for `base.sources.walk.walk_images`."""
        self.add("files and folders that cannot be read", f"{path} ({reason})")

    def count(self, ending: str = "") -> int:
        """How many were left out, for reasons that end so."""
        return sum(count for reason, (count, _) in self.found.items() if reason.endswith(ending))

    def lines(self) -> list[str]:
        """One line a reason: "39 of 40 rows without caption, the first: img/01.jpg (line 2)"."""
        return [
            f"{count}{self._of(reason)} {reason}, the first: {first}" for reason, (count, first) in self.found.items()
        ]

    def as_json(self) -> list[dict[str, object]]:
        """The same for programs."""
        return [{"reason": reason, "count": count, "first": first} for reason, (count, first) in self.found.items()]

    def _of(self, reason: str) -> str:
        total = self.totals.get(reason.split()[0])
        return f" of {total}" if total is not None else ""


def others_said(others: Counter[str]) -> str:
    """As in "13 files are no pictures: 12 .mov, 1 other", of files by their suffix; of many kinds the most frequent."""
    named = [(kind, count) for kind, count in others.most_common() if kind][:KINDS]
    rest = others.total() - sum(count for _, count in named)
    said = [f"{count} {kind}" for kind, count in named] + [f"{rest} other"] * bool(rest)
    count = "1 file is no picture" if others.total() == 1 else f"{others.total()} files are no pictures"
    return f"{count}: {', '.join(said)}"
