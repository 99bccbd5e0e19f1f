"""`glimpse duplicates`: what a collection holds twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from base.errors import InputError
from glimpse.options import DATA, AsJson, Collection, Data, Store, Threads, refuse

if TYPE_CHECKING:
    from index.collection import Record


def duplicates(
    context: typer.Context,
    collection: Collection = "images",
    data: Data = DATA,
    store: Store = None,
    threshold: Annotated[float, typer.Option(help="Cosine from which two images are the same picture, 0 to 1.")] = 0.9,
    identical: Annotated[bool, typer.Option("--identical", help="Only files with the same bytes.")] = False,
    spare: Annotated[bool, typer.Option("--spare", help="Only print the paths that could go without a loss.")] = False,
    null: Annotated[
        bool, typer.Option("--null", "-0", help="With --spare: end each path with NUL, for xargs -0.")
    ] = False,
    threads: Threads = None,
    json: AsJson = False,
) -> None:
    """Find images that a collection has more than once, the largest groups first. Nothing is deleted.

    A group is the best image, a raw file or the one with the most pixels, and those that are as near to it as
    --threshold and whose files show the same picture: encoded anew, resized, or cropped by a little. Files in recycle
    bins and those named as copies are never the best. Scores are those of the collection's own model; look at some
    groups before you delete.
    """
    import sys

    from encoder.picture.twins import Twins
    from glimpse import console
    from glimpse.console import shown_as
    from index.collection import open_collection
    from index.duplicates import identical_files, near_duplicates, spare_files

    if (null and not spare) or (spare and json):
        raise InputError("--null goes with --spare, and --spare with no --json")
    if identical:
        refuse(context, ["threshold"], "is of pictures alike, and --identical looks at bytes")
    twins = Twins()
    with open_collection(data, collection) as source, console.progress_bar("comparing") as progress:
        groups = (
            identical_files(source) if identical else near_duplicates(source, threshold, twins=twins, progress=progress)
        )
    if twins.unread:
        console.err.print(
            f"{len(twins.unread)} images are alike by their vectors alone and left out: their files cannot be read, "
            f"the first: {min(twins.unread)}"
        )
    if spare:
        on_terminal = sys.stdout.isatty() and not null
        for path in (path for group in groups for path in spare_files(group)):
            print(shown_as(path, terminal=True) if on_terminal else path, end="\0" if null else "\n")
        return
    if json:
        console.print_json(
            {
                "collection": collection,
                "not_compared": sorted(twins.unread),
                "groups": [
                    {
                        "best": _file(group.best),
                        "others": [
                            _file(other.record) | {"score": round(other.score, 6), "identical": other.identical}
                            for other in group.others
                        ],
                    }
                    for group in groups
                ],
            }
        )
        return
    for group in groups:
        console.out.print(f"{group.best.path}  ({group.best.width} x {group.best.height})")
        for other in group.others:
            kind = "identical" if other.identical else f"{other.score:.3f}"
            console.out.print(f"  {kind:9}  {other.record.path}  ({other.record.width} x {other.record.height})")
    extra = sum(len(group.others) for group in groups)
    console.err.print(f"{len(groups)} groups, {extra} images more than needed" if groups else "no duplicates")


def _file(record: Record) -> dict[str, Any]:
    return {"id": record.id, "path": record.path, "width": record.width, "height": record.height, "size": record.size}
