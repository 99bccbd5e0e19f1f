"""What follows a search, as it was asked for: files into a folder, paths for a program, a contact sheet, a viewer."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from base.errors import InputError
from base.words import counted

if TYPE_CHECKING:
    from glimpse.finding.files import Files, Found
    from glimpse.finding.folder import Placed


@dataclass(frozen=True)
class After:
    """What is to follow."""

    null: bool = False
    copy_to: Path | None = None
    link_to: Path | None = None
    sheet: Path | None = None
    open: bool = False

    def check(self, *, modality: str, json: bool, remote: bool) -> None:
        """InputError, before anything is searched, for what cannot follow."""
        if self.null and json:
            raise InputError("-0 prints paths alone, and --json prints JSON: give one of them")
        if self.copy_to and self.link_to:
            raise InputError("give either --copy-to or --link-to")
        if self.link_to and remote:
            raise InputError("--link-to cannot link to what lies at a service: --copy-to downloads it")
        asked: dict[str, object] = {
            "-0": self.null,
            "--copy-to": self.copy_to,
            "--link-to": self.link_to,
            "--open": self.open and not self.sheet,
        }
        if modality != "image" and (option := next((name for name, value in asked.items() if value), None)):
            raise InputError(f"{option} is about image files, and --modality {modality} finds none")
        if self.sheet is not None:
            from glimpse.options import check_page

            check_page(self.sheet, "sheet.html", "--sheet")
        if self.folder:
            from glimpse.finding.folder import check_folder

            check_folder(self.folder, "--link-to" if self.link_to else "--copy-to")

    @property
    def folder(self) -> Path | None:
        """Where files go."""
        return self.copy_to or self.link_to

    def placed(self, hits: Sequence[Found], files: Files, first: int) -> Placed | None:
        """Put the files into the folder, if one is asked for; those that cannot be are said."""
        if self.folder is None:
            return None
        from glimpse import console
        from glimpse.finding.folder import place

        with console.progress_bar("linking" if self.link_to else "copying") as progress:
            return place(hits, self.folder, files, link=self.link_to is not None, first=first, progress=progress)

    def write_sheet(self, asked: str, hits: Sequence[Found], files: Files, first: int) -> None:
        """Write the contact sheet, if one is asked for, and say so."""
        if self.sheet is None:
            return
        from glimpse import console
        from glimpse.finding.sheet import write_sheet

        with console.progress_bar("pictures") as progress:
            missing = write_sheet(self.sheet, asked, hits, files, first=first, progress=progress)
        without = f", {counted(missing, 'place')} empty: the file is gone or cannot be read" if missing else ""
        console.err.print(f"wrote {self.sheet}{without}")

    def tell(self, placed: Placed) -> None:
        """Say what was done."""
        from glimpse import console

        for line in placed.left_out:
            console.err.print(f"left out: {line}")
        there = len(placed.files) - placed.new
        already = f", {there} there already" if there else ""
        done = "linked" if self.link_to else "copied"
        console.err.print(f"{counted(placed.new, 'image')} {done} into {self.folder}{already}")

    def show(self, hits: Sequence[Found], files: Files) -> None:
        """Open what is asked for in the viewer of the system. NoViewer; GlimpseError: the file cannot be had."""
        from glimpse.finding.viewer import show

        if self.open and self.sheet:
            show(str(self.sheet.absolute()))
        elif self.open and hits:
            show(files.address(hits[0]))


def print_null(hits: Sequence[Found], placed: Placed | None) -> None:
    """Paths that end with NUL: of the files that were put somewhere, else as the collection has them."""
    paths = [str(path) for path in placed.files] if placed else [hit["path"] for hit in hits if hit["path"]]
    for path in paths:
        sys.stdout.write(f"{path}\0")
