"""Labels as names of folders, one to one: what no file name can hold is written as its bytes, as in a URL.

`animal/dog` is a folder in a folder. The names work on Linux, macOS and Windows, whatever a label holds.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from pathlib import PurePosixPath

from encoder.zero_shot.prompts import Label

MOST = 120  # bytes of a name; 255 is what a disk takes, of which synchronisation and encryption want some
_UNSAFE = re.compile('[\x00-\x1f\x7f-\x9f"*:<>?\\\\|/%\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]|^[. ]|[. ]$')
_DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\.|$)", re.IGNORECASE)  # to Windows, with any suffix


def folders_of(labels: Sequence[str]) -> dict[str, PurePosixPath]:
    """The folder of each label, relative and each another one, even where a disk takes `A` and `a` for the same."""
    folders: dict[str, PurePosixPath] = {}
    taken: set[str] = set()
    for label in labels:
        *above, last = map(folder_name, Label(label).levels)
        folder, number = PurePosixPath(*above, last), 1
        while (key := str(folder).casefold()) in taken:
            number += 1
            folder = PurePosixPath(*above, f"{last}~{number}")
        taken.add(key)
        folders[label] = folder
    return folders


def folder_name(level: str) -> str:
    """One level of a label as a folder's name, in NFC."""
    name = _UNSAFE.sub(_as_bytes, unicodedata.normalize("NFC", level))
    if _DEVICES.match(name):
        name = _as_bytes(name[0]) + name[1:]
    if len(encoded := name.encode()) > MOST:
        name = f"{encoded[: MOST - 9].decode(errors='ignore')}~{hashlib.sha256(encoded).hexdigest()[:8]}"
    return name


def _as_bytes(character: str | re.Match[str]) -> str:
    text = character if isinstance(character, str) else character[0]
    return "".join(f"%{byte:02X}" for byte in text.encode(errors="surrogatepass"))
