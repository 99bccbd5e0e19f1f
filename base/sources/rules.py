"""What a walk takes for photos, by names: folders that are not, what a person excludes, kinds that are not read.

It looks at no file, but for the first bytes of one, and for a folder's ignore file.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from base.errors import InputError
from base.sources.patterns import Patterns, given_patterns, patterns_in_file

# Folders, in lower case, of what was thrown away or is kept for going back to.
BINS = frozenset(
    "#recycle $recycle.bin @recycle .recycle .recycle.bin .recycler recycled recycler .trash .trashes trash "
    "trashed .deleted deleted rubbish garbage papierkorb corbeille papelera cestino lost+found lost.dir "
    "files_trashbin files_versions "
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
    "deleted",
    "rubbish",
    "garbage",
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
LONGEST = 1 << 20  # bytes of such a file
IN_ICLOUD = "photos that are in iCloud alone (download them to this machine first)"
ICLOUD = ".icloud"  # behind the name of what is there alone, which has a dot before it
_DATALESS = 0x40000000  # of st_flags, from macOS 14 on: a file's name is here, and what is in it is there
_UNFINISHED = re.compile(
    r"\.(?:jpe?g|png|gif|webp|tiff?|bmp|heic|avif)\.(?:part|partial|filepart|crdownload|opdownload)\Z"
)
# A picture's suffix with something behind it: x.jpg_large, x.jpg~, x.jpg.1
_ODD = re.compile(r"\.(?:jpe?g|png|gif|webp|tiff?|bmp|heic|avif)(?:[^a-z0-9.][^.]*|\.(?:\d+|bak|old|orig|tmp))\Z")


@dataclass(frozen=True, slots=True)
class Rules:
    """Which of the names below a folder are walked.

    Attributes:
        exclude: patterns of names, of files and folders at any depth, or with a "/" in it of the path below the folder
            that is walked (or the whole path). * and ? and [] are as in a shell; * also stands for "/". A "/" at the
            end is for folders alone, a "!" before it takes back, a backslash has the next sign stand for itself.
        follow_links: walk what links to folders lead to, each folder once.
        elsewhere: where the folders really lie that are walked at their own places, whatever link leads to them.
        any_name: a file without a picture's suffix is one if its first bytes are a picture's.
        by_request: they are fields of a request, not options of a command: so what is said calls them.
        opened: gives a name for as long as a file or folder is looked into, of the very one that it has judged; an
            OSError for what must not be looked into.
    """

    exclude: tuple[str, ...] = ()
    follow_links: bool = False
    any_name: bool = False
    elsewhere: frozenset[str] = frozenset()
    by_request: bool = False
    opened: Callable[[Path], AbstractContextManager[Path]] = nullcontext

    def __post_init__(self) -> None:
        """InputError for patterns that begin by taking back."""
        if self.exclude and (first := self.exclude[0]).startswith("!"):
            option = self.called("exclude")
            raise InputError(
                f"{option} {first}: takes back what was left out before it, and nothing was; {option} '\\{first}' "
                "leaves out what begins with !"
            )

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

    def excluded(self, root: Path, folder: Path) -> Excluded:
        """What is left out, by names, of what is in a folder below `root`, or `root` itself. As `Excluded.inside`."""
        found = Excluded(self, root).inside(here := root)
        for name in folder.relative_to(root).parts:
            found = found.inside(here := here / name)
        return found

    def leaves_out(self, path: Path, root: Path) -> bool:
        """Whether a file below `root` is not walked, for its name or for that of a folder that it is in."""
        excluded, here = Excluded(self, root), root
        for name in path.relative_to(root).parts:
            excluded = excluded.inside(here)
            here /= name
            is_folder = here != path or here.is_dir()
            if excluded.reason(here, is_folder=is_folder) or (here != path and is_not_photos(here)):
                return True
        return False

    def reason_of(self, path: Path) -> str | None:
        """Why a file that is no image to a walk is worth a word: what picture it may be; None if it is none."""
        suffix = path.suffix.lower()
        if suffix in UNREAD:
            return f"{suffix} files ({UNREAD[suffix]})"
        if _UNFINISHED.search(path.name.lower()):
            return "downloads that are not finished"
        if not _ODD.search(path.name.lower()):
            return None
        return f"files with something behind a picture's suffix ({self.called('any_name')} looks at what is in them)"


@dataclass(frozen=True, slots=True)
class Excluded:
    """What of the things in a folder is not walked, for its name: by `exclude`, and by the ignore files down to there.

    An ignore file is written as a .gitignore, for what is in its folder and below; one that is deeper comes first.
    """

    rules: Rules
    root: Path
    ignored: tuple[tuple[Path, Patterns], ...] = ()  # of the folders that have such a file, the root's first

    def __bool__(self) -> bool:
        """Whether anything may be."""
        return bool(self.rules.exclude or self.ignored)

    def inside(self, folder: Path, held: Path | None = None) -> Excluded:
        """The same for what is in a folder one below: its ignore file counts as well.

        Args:
            folder: by its own name.
            held: by that which `Rules.opened` gave, if it is looked into.

        Raises:
            InputError: its ignore file cannot be read: what that names must not be taken.
        """
        patterns = _ignored_in(folder, held or folder, self.rules.opened)
        return replace(self, ignored=(*self.ignored, (folder, patterns))) if patterns else self

    def reason(self, path: Path, *, is_folder: bool) -> str | None:
        """By what a pattern names this path; None: by none."""
        exclude = self.rules.exclude
        if exclude and given_patterns(exclude).names(path, self.root, is_folder=is_folder):
            return f"names by {self.rules.called('exclude')}"
        for folder, patterns in reversed(self.ignored):
            if (left_out := patterns.names(path, folder, is_folder=is_folder)) is not None:
                return IGNORED if left_out else None
        return None


def _ignored_in(folder: Path, held: Path, opened: Callable[[Path], AbstractContextManager[Path]]) -> Patterns | None:
    """The patterns of the ignore file in a folder, which may be `held`; None if there is none. InputError as above."""
    if not os.path.lexists(held / IGNORE_FILE):
        return None
    file = folder / IGNORE_FILE
    try:
        with opened(file) as place:
            status = place.stat()
            if not stat.S_ISREG(status.st_mode):  # a pipe would keep who reads it waiting
                raise InputError(
                    f"{file}: is no file; name in it what is not to be taken, a pattern a line, or rename it"
                )
            if status.st_size > LONGEST:
                raise InputError(f"{file}: is larger than {LONGEST >> 20} MiB; name folders in it rather than files")
            data = place.read_bytes()
    except OSError as error:
        why = error.strerror or error
        raise InputError(f"{file}: cannot be read ({why}), and what it names is not to be taken") from None
    if (patterns := patterns_in_file(data)) is None:
        raise InputError(f"{file}: is no text in UTF-8, nor in UTF-16 with its mark; save it anew as UTF-8")
    return patterns


def is_not_photos(folder: Path) -> bool:
    """Whether a folder is, by its name, one that systems and programs keep for themselves."""
    name = folder.name.lower()
    return (
        name in _NOT_PHOTOS
        or _NOT_PHOTOS_LIKE.fullmatch(name) is not None
        or (name in _CACHES and _OF_PROGRAMS.fullmatch(folder.parent.name.lower()) is not None)
        or (name in _NOT_ORIGINALS and _LIBRARY.fullmatch(folder.parent.name.lower()) is not None)
    )


def is_in_icloud(path: Path) -> bool:
    """Whether a file that is not here lies in iCloud: its place is taken by a small one whose name says so."""
    return os.path.lexists(path.with_name(f".{path.name}{ICLOUD}"))


def is_dataless(status: os.stat_result) -> bool:
    """Whether a file lies in iCloud though its name is here; to read it is to download it."""
    return bool(getattr(status, "st_flags", 0) & _DATALESS)


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
