"""Which outputs a run has: as they are asked for and kept, and made of that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from base.errors import InputError
from labelling.outputs.coco import write_coco
from labelling.outputs.folder_steps import How
from labelling.outputs.folders import Folders
from labelling.outputs.jsonl import write_jsonl
from labelling.outputs.metadata import MetadataKey
from labelling.outputs.output import ChangesImages, Listing
from labelling.outputs.table import write_table
from labelling.outputs.words import Words
from labelling.xmp.change import ROOT
from labelling.xmp.sidecar import SidecarName
from labelling.xmp.words import Origin

if TYPE_CHECKING:
    from index.collection import Collection

WriteList = Callable[[Path, Listing], None]


@dataclass(frozen=True)
class OutputsAsked:
    """Where the labels of a run go.

    Attributes:
        files: absolute paths, of a kind each by its suffix; `write_list` knows them.
        to: absolute path of a folder of class folders; None: none.
        how: what is made of an image there.
        words: "sidecar": keywords beside the images; "embedded": inside of them; None: none.
        root: what keywords are put under.
        sidecar: how sidecars are named.
        metadata: a key of the collection's metadata; None: none.
    """

    files: tuple[str, ...] = ()
    to: str | None = None
    how: How = "copy"
    words: Literal["sidecar", "embedded"] | None = None
    root: str = ROOT
    sidecar: SidecarName = "auto"
    metadata: str | None = None

    def to_json(self) -> dict[str, Any]:
        """As `of_json` takes it. What is not asked for is left out, so that new outputs change no run of before."""
        unused = {"how"} if self.to is None else set()
        unused |= {"root", "sidecar"} if self.words is None else {"sidecar"} if self.words == "embedded" else set()
        plain = {field.name: field.default for field in fields(self)}
        return {
            name: value
            for name, value in asdict(self).items()
            if name not in unused and (value != plain[name] or name == "how")
        }

    @classmethod
    def of_json(cls, content: dict[str, Any]) -> OutputsAsked:
        """Of what `to_json` gave."""
        return cls(**content | {"files": tuple(content.get("files", ()))})

    def changing(
        self, labels: Sequence[str], origin: Origin, collection: Collection | None, *, overwrite: bool
    ) -> list[ChangesImages]:
        """Those that change something for each image, in the order in which they are to.

        Args:
            labels: all that there are.
            origin: who gives them.
            collection: the source, open for writing if its metadata are changed.
            overwrite: replace metadata that others wrote.
        """
        made: list[ChangesImages] = []
        if self.words is not None:  # first, so that copies have them and sidecars move along
            sidecar = self.sidecar if self.words == "sidecar" else None
            relinked = self.to is not None and self.how == "hardlink"
            made.append(Words(labels, origin, self.root, sidecar, relinked=relinked))
        if self.to is not None:
            made.append(Folders(Path(self.to), self.how, labels))
        if self.metadata is not None:
            if collection is None:
                raise InputError("--write-metadata writes to a collection: label one, with --collection")
            made.append(MetadataKey(collection, self.metadata, overwrite=overwrite))
        return made


def write_list(path: Path) -> WriteList:
    """What writes a file of that suffix: a table without one. InputError for another kind."""
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        from labelling.outputs.parquet import write_parquet  # pyarrow is an extra, and takes a moment

        return write_parquet
    kinds: dict[str, WriteList] = {"": write_table, ".csv": write_table, ".jsonl": write_jsonl, ".json": write_coco}
    if suffix not in kinds:
        raise InputError(
            f"--out {path}: no format has the suffix {suffix}; give .csv, .jsonl, .parquet, or .json for COCO"
        )
    return kinds[suffix]
