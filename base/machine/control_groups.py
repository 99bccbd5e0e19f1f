"""The control groups that this process is in, old and new: where their limits lie. Reads Linux's files alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

ROOT = Path("/sys/fs/cgroup")  # where they are mounted
OWN = Path("/proc/self/cgroup")  # the process's own paths, as Linux lists them


def group_folders(controller: str, root: Path = ROOT, of: Path = OWN) -> Iterator[tuple[bool, Path]]:
    """The folders of the process's groups that a controller has, and of all above them.

    Yields:
        Whether it is of the new kind (version 2), and the folder; it need not be there.
    """
    try:
        lines = of.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:
            yield from ((True, folder) for mount in (root, root / "unified") for folder in _upwards(mount, path))
        elif controller in controllers.split(","):
            mounts = dict.fromkeys((root / controllers, root / controller))
            yield from ((False, folder) for mount in mounts for folder in _upwards(mount, path))


def _upwards(mount: Path, path: str) -> Iterator[Path]:
    """A group's folder and those it is in. Inside a container the path may be the host's, and the mount its own."""
    inside = PurePosixPath(path.lstrip("/"))
    for part in (inside, *inside.parents):
        if ".." not in part.parts:
            yield mount / part
    if ".." in inside.parts:
        yield mount
