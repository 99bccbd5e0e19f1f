"""The memory that is there: the least of the machine's and of the limits of control groups old and new."""

from __future__ import annotations

from pathlib import Path

import pytest

from base.machine.memory import memory

MACHINE = memory(Path("/nowhere"), Path("/nowhere"))


@pytest.mark.parametrize(
    ("own", "file", "content", "expected"),
    [
        ("0::/", "memory.max", "1048576", 1 << 20),
        ("0::/", "memory.max", "max", MACHINE),
        ("0::/a/b", "a/memory.max", "2097152", 2 << 20),  # of a group above
        ("0::/a", "a/b/memory.max", "1048576", MACHINE),  # another one's
        ("3:memory:/x", "memory/x/memory.limit_in_bytes", "1048576", 1 << 20),
        ("3:memory:/x", "memory/x/memory.limit_in_bytes", "9223372036854771712", MACHINE),  # none, as old ones say it
        ("3:cpu:/x", "memory/x/memory.limit_in_bytes", "1048576", MACHINE),
        ("0::/docker/1f", "memory.max", "1048576", 1 << 20),  # the host's path, and the container's mount
    ],
)
def test_the_least_limit_counts(tmp_path: Path, own: str, file: str, content: str, expected: int) -> None:
    (tmp_path / "own").write_text(own + "\n")
    (tmp_path / "root" / file).parent.mkdir(parents=True)
    (tmp_path / "root" / file).write_text(content + "\n")
    assert memory(tmp_path / "root", tmp_path / "own") == expected


def test_a_machine_without_control_groups_has_what_it_has() -> None:
    assert 1 << 28 < memory() <= MACHINE
