"""The files of a run that list all images: written whole, and only over what the run itself has written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from base.errors import InputError
from base.files import behind_links, file_sha256, is_stream, out_file
from labelling.outputs.asked import write_list
from labelling.outputs.output import Judge, Listing, NotDone
from labelling.runs.journal import Failure
from labelling.runs.store import RunStore


def check_lists(store: RunStore, files: Sequence[str], *, overwrite: bool) -> None:
    """InputError for a file that is there and not the run's own, unless it may be overwritten."""
    for path in map(Path, files):
        if path.is_file() and not (overwrite or is_stream(path) or _is_own(store, path)):
            raise InputError(
                f"--out {path}: is there already, and not as this run wrote it; choose another name, or --force"
            )


def write_lists(store: RunStore, files: Sequence[str], listing: Listing) -> list[str]:
    """Write them; which they are. OSError."""
    for path in map(Path, files):
        write = write_list(path)
        with out_file(path) as part:
            write(part, listing)
            if not is_stream(path):  # what went into one is nobody's
                _claim(store, path, file_sha256(part))  # before it has its name: a kill may come in between
    return list(files)


def remove_lists(store: RunStore, judge: Judge) -> tuple[int, list[Failure]]:
    """Remove what was written, if it is as it was; how many, and which are not."""
    removed, failed = 0, []
    for name in list(store.get("files", {})):
        path = Path(name)
        try:
            judge(path)
        except NotDone as error:
            failed.append(Failure(name, error.reason))
            continue
        if path.is_file():
            if not _is_own(store, path):
                failed.append(Failure(name, "was changed since it was written; it stays"))
                continue
            behind_links(path).unlink()
            removed += 1
        with store.writing():
            store.set(files={other: kept for other, kept in store.get("files", {}).items() if other != name})
    return removed, failed


def _is_own(store: RunStore, path: Path) -> bool:
    return file_sha256(path) in store.get("files", {}).get(str(path), ())


def _claim(store: RunStore, path: Path, sha256: str) -> None:
    """Note what a file is going to be, beside what it was until then."""
    files = store.get("files", {})
    now = file_sha256(path) if path.is_file() else ""
    with store.writing():
        store.set(files=files | {str(path): [one for one in files.get(str(path), ()) if one == now] + [sha256]})
