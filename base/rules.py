"""What a walk takes for photos, by names: folders that are not, what a person excludes, kinds that are not read.

It looks at no file, but for the first bytes of one, and for a folder's ignore file.
"""

from __future__ import annotations

import os
import re
import stat
import unicodedata
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path

# Folders, in lower case, of what was thrown away or is kept for going back to.
BINS = frozenset(
    "#recycle $recycle.bin @recycle .recycle .recycle.bin .recycler recycled recycler .trash .trashes trash "
    "trashed .deleted papierkorb corbeille papelera cestino lost+found lost.dir files_trashbin files_versions "
    "#snapshot .snapshot .snapshots @recently-snapshot .stversions .dropbox.cache _gsdata_ "
    "kosz prullenbak lixeira papirkurv papperskorgen roskakori ごみ箱 回收站 휴지통 корзина "
    "poubelle mülleimer prullenmand lixo reciclagem paperera lomtár koš kôš кошик кошче prügikast šiukšlinė atkritne "
    "zakarrontzia 資源回收筒 垃圾桶 废纸篓 廢紙簍 ถังขยะ ถังรีไซเคิล אשפה".split()
) | {name.casefold() for name in (
    "recently deleted", "deleted items", "recycle bin", "trash can", "zuletzt gelöscht", "supprimés récemment",
    "papelera de reciclaje", "coș de reciclare", "geri dönüşüm kutusu", "çöp kutusu", "κάδος ανακύκλωσης",
    "κάδος απορριμμάτων", "סל המיחזור", "סל מיחזור", "سلة المحذوفات", "سلة المهملات", "سطل بازیافت", "thùng rác",
    "keranjang sampah", "रीसायकल बिन", "koš za smeće", "недавно удаленные",
)}  # fmt: skip
BIN = re.compile(r"\.trash-\d+|found\.\d{3}")  # of a user on a Linux disk; of a repaired Windows disk
# A folder of such a name may well hold what a person put there.
_MAY_BE_PHOTOS = {
    "trash",
    "trashed",
    "papierkorb",
    "corbeille",
    "papelera",
    "cestino",
    "kosz",
    "prullenbak",
    "lixeira",
    "papirkurv",
    "papperskorgen",
    "roskakori",
    "poubelle",
    "prullenmand",
    "lixo",
    "reciclagem",
    "paperera",
    "atkritne",
    "zakarrontzia",
} | {name for name in BINS if not name.startswith(("#", "$", "@", ".", "_")) and (" " in name or not name.isascii())}
# What systems and programs keep for themselves: thumbnails, caches, pictures of their own.
_NOT_PHOTOS = (BINS - _MAY_BE_PHOTOS) | {
    "@eadir", "@__thumb", "@tmp", "@sharebin", "system volume information", "temporary items", "network trash folder",
    "__macosx", "__pycache__", "node_modules", "bower_components", "site-packages", "captureone",
    "@synoresource", "@synothumbs", "ipod photo cache", "apple tv photo cache", "thmbnl", "_vti_cnf",
}  # fmt: skip
_NOT_PHOTOS_LIKE = re.compile(  # of a repaired disk, Nextcloud, Lightroom, Capture One, programs for films
    r"found\.\d{3}|appdata_oc.*|.*\.(?:lrdata|lrlibrary|lrcat-data|cocatalog|luminarcatalog|fcpbundle|imovielibrary)"
)
_OF_PROGRAMS = re.compile(r"capture ?one|adobe bridge|adobe lightroom|lightroom|digikam|xnviewmp|acdsee|picasa2?|plex")
_CACHES = frozenset("cache caches thumbnails thumbs previews proxies".split())
_LIBRARY = re.compile(r".*\.(?:migrated)?(?:photoslibrary|photolibrary|aplibrary)")  # Photos, iPhoto, Aperture
_NOT_ORIGINALS = frozenset(
    "resources derivatives database private scopes caches cache thumbnails previews data data.noindex faces".split()
) | {"ipod photo cache", "apple tv photo cache"}

UNREAD: dict[str, str] = {  # suffixes of pictures that nothing here reads, and why
    **dict.fromkeys(
        ".bay .cap .dcs .eip .k25 .mos .ptx .raw .rwz".split(), "a rare kind of camera raw; export it as JPEG"
    ),
    **dict.fromkeys([".jxl"], "JPEG XL is not read"),
    **dict.fromkeys([".jxr", ".wdp", ".hdp"], "JPEG XR is not read"),
    **dict.fromkeys([".svg", ".svgz"], "drawings are not read; export them as PNG"),
    **dict.fromkeys([".psb", ".xcf", ".kra", ".ora", ".afphoto"], "a program's own format; export them as PNG"),
    **dict.fromkeys([".exr", ".hdr", ".bpg", ".flif", ".djvu", ".dcm", ".pict", ".pct", ".mng", ".jng"], "not read"),
}
IGNORED = "names by .glimpseignore"
IGNORE_FILE = ".glimpseignore"
LONGEST = 1 << 20  # bytes that are read of such a file
# A picture's suffix with something behind it: x.jpg_large, x.jpg~, x.jpg.1
_ODD = re.compile(r"\.(?:jpe?g|png|gif|webp|tiff?|bmp|heic|avif)(?:[^a-z0-9.][^.]*|\.(?:\d+|bak|old|orig|tmp))\Z")


@dataclass(frozen=True, slots=True)
class Rules:
    """Which of the names below a folder are walked.

    Attributes:
        exclude: patterns of names, of files and folders at any depth, or with a "/" in it of the path below the folder
            that is walked (or the whole path). * and ? and [] are as in a shell; * also stands for "/". NFC or NFD, and
            a "/" at the end, are all one.
        follow_links: walk what links to folders lead to, each folder once.
        any_name: a file without a picture's suffix is one if its first bytes are a picture's.
        by_request: they are fields of a request, not options of a command: so what is said calls them.
        opened: gives a name for as long as a file or folder is looked into, of the very one that it has judged; an
            OSError for what must not be looked into.
    """

    exclude: tuple[str, ...] = ()
    follow_links: bool = False
    any_name: bool = False
    by_request: bool = False
    opened: Callable[[Path], AbstractContextManager[Path]] = nullcontext

    def called(self, option: str) -> str:
        """An option of a run, of these rules or another, as who gave them calls it: follow_links, --follow-links."""
        return option if self.by_request else f"--{option.replace('_', '-')}"

    def takes_odd(self, path: Path) -> bool:
        """Whether a file whose name is none of an image is one all the same."""
        if not self.any_name or path.suffix.lower() in UNREAD:
            return False
        try:
            with self.opened(path) as held:
                return begins_as_image(held)
        except OSError:
            return False

    def excludes(self, path: Path, root: Path) -> str | None:
        """By what a pattern names this path, of `exclude` or of an ignore file between it and the root; None: by none.

        An ignore file has a pattern a line, for what is in its folder and below; "#" begins a comment.
        """
        if self.exclude and _is_named(path, root, self.exclude):
            return f"names by {self.called('exclude')}"
        for folder in path.parents:
            if (patterns := ignored_in(folder)) and _is_named(path, folder, patterns):
                return IGNORED
            if folder == root:
                break
        return None

    def leaves_out(self, path: Path, root: Path) -> bool:
        """Whether a file below `root` is not walked, for its name or for that of a folder that it is in."""
        for place in (path, *path.parents):
            if place == root:
                break
            if self.excludes(place, root) or (place != path and is_not_photos(place)):
                return True
        return False

    def reason_of(self, path: Path) -> str | None:
        """Why a file that is no image to a walk is worth a word: what picture it may be; None if it is none."""
        suffix = path.suffix.lower()
        if suffix in UNREAD:
            return f"{suffix} files ({UNREAD[suffix]})"
        if not _ODD.search(path.name.lower()):
            return None
        return f"files with something behind a picture's suffix ({self.called('any_name')} looks at what is in them)"


def ignored_in(folder: Path) -> tuple[str, ...]:
    """The patterns of the ignore file in a folder."""
    try:
        status = os.stat(folder / IGNORE_FILE)  # noqa: PTH116
    except OSError:
        return ()
    is_file = stat.S_ISREG(status.st_mode)  # a pipe would keep who reads it waiting
    return _patterns(folder, status.st_ino, status.st_mtime_ns, status.st_size) if is_file else ()


@lru_cache(maxsize=256)
def _patterns(folder: Path, *_state: int) -> tuple[str, ...]:
    try:
        with (folder / IGNORE_FILE).open("rb") as file:
            lines = os.fsdecode(file.read(LONGEST)).removeprefix("\ufeff").splitlines()
    except OSError:
        return ()
    return tuple(line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#"))


def _is_named(path: Path, root: Path, patterns: Sequence[str]) -> bool:
    """Whether one of the patterns names a path below `root`."""
    below, whole, name = (_nfc(part) for part in (path.relative_to(root), path, path.name))
    for pattern in (_nfc(pattern).rstrip("/").removeprefix("./").removeprefix("**/") for pattern in patterns):
        if fnmatchcase(name, pattern):
            return True
        if "/" in pattern and (fnmatchcase(below, pattern.removeprefix("/")) or fnmatchcase(whole, pattern)):
            return True
    return False


def is_not_photos(folder: Path) -> bool:
    """Whether a folder is, by its name, one that systems and programs keep for themselves."""
    name = folder.name.lower()
    return (
        name in _NOT_PHOTOS
        or _NOT_PHOTOS_LIKE.fullmatch(name) is not None
        or (name in _CACHES and _OF_PROGRAMS.fullmatch(folder.parent.name.lower()) is not None)
        or (name in _NOT_ORIGINALS and _LIBRARY.fullmatch(folder.parent.name.lower()) is not None)
    )


def kind_of(name: str) -> str:
    """The suffix of a file that is no picture, to count it by: in lower case, "" if it has none that is one."""
    suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122
    return suffix if re.fullmatch(r"\.[a-z0-9_+\-]{1,9}", suffix) and not suffix[1:].isdigit() else ""


def begins_as_image(path: Path) -> bool:
    """Whether the first bytes of a file are those of a picture of a common kind; not if it cannot be read."""
    try:
        if not path.is_file():  # a pipe would keep who reads it waiting
            return False
        with path.open("rb") as file:
            head = file.read(32)
    except OSError:
        return False
    return (
        head.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"II*\0", b"MM\0*", b"8BPS", b"qoif", b"DDS "))
        or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")
        or (head[:2] == b"BM" and head[6:10] == bytes(4))
        or (
            head[4:8] == b"ftyp"
            and head[8:12] in (b"heic", b"heix", b"heim", b"hevc", b"mif1", b"msf1", b"avif", b"avis")
        )
        or head.startswith((b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51", b"icns"))
    )


def _nfc(path: str | Path) -> str:
    return unicodedata.normalize("NFC", os.fspath(path))
