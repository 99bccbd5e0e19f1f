"""Walks folders for image files: streams in byte order, survives what it cannot enter, keeps no list of them."""

from __future__ import annotations

import os
import re
import stat
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from base.errors import InputError
from base.sources.left_out import LeftOut
from base.sources.rules import BIN, BINS, ICLOUD, IN_ICLOUD, Excluded, Rules, is_not_photos, kind_of

RAW_SUFFIXES = frozenset(  # of cameras
    """
    .3fr .arw .cr2 .cr3 .crw .dcr .dng .erf .fff .gpr .iiq .kdc .mef .mrw .nef .nrw .orf .ori .pef .raf .rw2 .rwl
    .sr2 .srf .srw .x3f
    """.split()
)
# What a person would call an image file, whether or not encoder.picture can decode it: one that it cannot is reported.
IMAGE_SUFFIXES = RAW_SUFFIXES | frozenset(
    """
    .apng .avif .avifs .bmp .bw .cur .dcx .dds .dib .emf .eps .fits .flc .fli .gif .heic .heics .heif .heifs .hif
    .icns .ico .insp .j2c .j2k .jfi .jfif .jif .jp2 .jpc .jpe .jpeg .jpf .jpg .jps .jpx .mpo .pbm .pcx .pfm .pgm .pjp
    .pjpeg .png .pnm .pns .ppm .psd .qoi .ras .rgb .rgba .sgi .tga .tif .tiff .webp .wmf .xbm .xpm
    """.split()
)

_ARCHIVE = re.compile(r"\.(?:zip|rar|7z|tar|tgz|tar\.\w+|cbz|cbr|dmg|iso)\Z")
_PARTS_OF_A_SET = frozenset("train training trainset val valid validation dev test testing testset eval".split())
OTHERS = "files of other kinds"
_COPY = (
    "copy|copia|cópia|copie|kopie|kopia|kópia|kopi|kopio|kopya|kopyası|kopija|másolat|másolata|copiar|αντίγραφο|копия|"
    "副本|コピー|复制|複製|拷贝|拷貝|복사본|사본|còpia|koopia|копія|копие|bản sao|salinan|afrit|עותק|نسخة|کپی|สำเนา|"
    "प्रतिलिपि|duplicate|dupe|dup"
)
# Folders whose name says that what is in them is also elsewhere.
_OF_COPIES = frozenset("copies kopien copias backup backups duplicates dupes sicherung sauvegarde respaldo".split())
_COPIES = (  # how systems name a copy, matched against a name without its suffix, case folded
    re.compile(rf"(?:^|.*[\s_.(\-–—の의])(?:{_COPY})[\s_\-]*\(?\d{{0,3}}\)*"),  # x copy, x - copy (2), x_copy2
    re.compile(
        rf"(?:{_COPY})\s*(?:\(\d+\)\s*)?(?:of|von|van|de|di|da|do|av|af|från|～|〜|~|dari|của|של|من|на|του|ของ)\s.*"
    ),
    re.compile(r"(?:копия|копія|kopia|สำเนาของ|สำเนา)\s*(?:\(\d+\))?\s.*"),  # копия x
    re.compile(r".*\S\s?\(\d{1,3}\)"),  # x (1); not a year
    re.compile(r".*\((?:.*\s)?(?:copy|copie|kopie|copia)(?:\s.*)?\)"),  # x (another copy), x (a's conflicted copy)
    re.compile(r".*\.sync-conflict-.*|.*_conflict-\d.*"),
)


def walk_images(
    folder: Path,
    *,
    below: Path | None = None,
    rules: Rules = Rules(),
    on_error: Callable[[Path, str], None] | None = None,
    left_out: LeftOut | None = None,
    others: Counter[str] | None = None,
) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield (path, stat) of each image file below a folder; hidden files and folders are left out.

    The paths come in the order of their bytes, as a database sorts them, so that two such streams can be compared
    without holding either. Links to files are followed.

    Args:
        folder: taken whatever its own name is.
        below: the folder that patterns of paths start at; default: this one.
        rules: what is left out, and whether links to folders are followed.
        on_error: given (path, reason) of a folder or file that cannot be entered; the walk goes on.
        left_out: counts what could be a picture, or hold some, and is left out.
        others: counts the other files, by their suffix.

    Raises:
        InputError: `folder` is not a folder.
    """
    check_folder(folder)
    walk = _Walk(below or folder, rules, on_error or (lambda path, reason: None), left_out)
    walk.others = others
    yield from walk.images(folder)


def check_folder(folder: Path) -> None:
    """InputError unless it is a folder."""
    if folder.is_file():
        if _ARCHIVE.search(folder.name.lower()):
            raise InputError(f"{folder}: packed; unpack it, and give the folder of its files")
        raise InputError(f"{folder}: a file; give the folder that it is in")
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")


def image_names(folder: Path, rules: Rules = Rules()) -> Iterator[str]:
    """Yield the name of each image file below a folder, in no order and with no look at the file: to count them."""
    return _Walk(folder, rules, lambda path, reason: None, None).all_names()


def no_images(folders: Sequence[Path], rules: Rules = Rules()) -> str:
    """What to say of folders without any image: that, and what there is instead."""
    left_out = LeftOut()
    for folder in folders:
        for _ in _Walk(folder, rules, left_out.unread, left_out, OTHERS).all_names():
            pass
    said = f"no image in {', '.join(map(str, folders))}"
    if not left_out.found:
        return f"{said}, and no other file. Is a disk not mounted?"
    looks = OTHERS in left_out.found and not rules.any_name
    hint = f"; {rules.called('any_name')} looks at their contents" if looks else ""
    return f"{said}; left out: {'; '.join(left_out.lines())}{hint}"


def class_folder(image: Path, folder: Path) -> str | None:
    """The class of an image in a folder of class folders: the folder right below `folder`; None if it is in none.

    Two whose names differ in Unicode's form alone, as two systems write them, are one class.
    """
    parts = image.relative_to(folder).parts
    return unicodedata.normalize("NFC", parts[0]) if len(parts) > 1 else None


def check_class_names(names: Iterable[str], folder: Path) -> None:
    """InputError if the folders right below one, which are to be classes, are the parts of a data set."""
    if (parts := sorted({*names})) and all(name.lower() in _PARTS_OF_A_SET for name in parts):
        one = next((name for name in parts if name.lower().startswith("train")), parts[0])
        said = f"{folder}: its folders {', '.join(parts)} are parts of a data set, not classes"
        raise InputError(f"{said}; give one of them, as {folder / one}")


def is_image_name(name: str) -> bool:
    """Whether a file of that name is an image to `walk_images`."""
    return not name.startswith(".") and name[name.rfind(".") :].lower() in IMAGE_SUFFIXES


def is_spare_name(path: str | Path) -> bool:
    """Whether a file lies among what was thrown away or copied, or is named as a copy: of two alike not the original.

    It knows the names that Windows, macOS, Linux desktops, NAS systems and sync programs give, in a dozen languages.
    """
    *folders, name = unicodedata.normalize("NFC", str(path)).casefold().split("/")
    if any(folder in BINS or folder in _OF_COPIES or BIN.fullmatch(folder) for folder in folders) or name.startswith(
        ".trashed-"
    ):
        return True
    if re.search(r"\.(?:\d{1,3}|bak|old|orig)$|~$", name):  # x.jpg.1, x.jpg~
        return True
    stem = re.sub(r"\.[a-z0-9_]{1,10}$", "", name).strip()
    return any(copy.fullmatch(stem) for copy in _COPIES)


def trailing_numbers(path: str | Path) -> int:
    """How many small numbers a name ends in: A-1, A 2, A_3, A~4, A[5] have one more than A, IMG_1-1 than IMG_1."""
    stem = re.sub(r"\.[^.]{1,10}$", "", os.path.basename(path))  # noqa: PTH119
    return len(re.findall(r"[\s_\-~#.\[]\d{1,2}\]?(?=(?:[\s_\-~#.\[]\d{1,2}\]?)*$)", stem))


class _Walk:
    """A walk below a folder, and which folders it has entered."""

    def __init__(
        self,
        root: Path,
        rules: Rules,
        on_error: Callable[[Path, str], None],
        left_out: LeftOut | None,
        other: str | None = None,  # the reason to count files of other kinds by, if they are to be left out as well
    ) -> None:
        self.others: Counter[str] | None = None
        self._root = root
        self._rules = rules
        self._on_error = on_error
        self._left_out = left_out
        self._other = other
        self._entered: set[tuple[int, int]] = set()  # (device, inode), where links are followed
        self._real_root = os.path.realpath(root) if rules.follow_links else ""

    def images(self, folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
        # Not by recursion: folders may stand a thousand deep.
        within = [(folder, *self._sorted(folder, self._above(folder)))]
        while within:
            here, excluded, names = within[-1]
            name = next(names, None)
            if name is None:
                within.pop()
                continue
            path = here / os.fsdecode(name)
            if name.endswith(b"/"):
                within.append((path, *self._sorted(path, excluded)))
                continue
            try:
                status = path.stat()
            except OSError as error:
                leads_nowhere = isinstance(error, FileNotFoundError) and path.is_symlink()
                self._on_error(path, "a link that leads nowhere" if leads_nowhere else error.strerror or str(error))
                continue
            if stat.S_ISREG(status.st_mode):
                yield path, status

    def all_names(self) -> Iterator[str]:
        folders = [(self._root, self._above(self._root))]
        while folders:
            here, above = folders.pop()
            try:
                with self._rules.opened(here) as held:
                    excluded = above.inside(here, held)
                    for name in map(os.fsdecode, self.names(here, held, excluded)):
                        if name.endswith("/"):
                            folders.append((here / name, excluded))
                        else:
                            yield name
            except OSError as error:
                self._on_error(here, error.strerror or str(error))

    def names(self, folder: Path, held: Path, excluded: Excluded) -> Iterator[bytes]:
        """The images and folders in a folder, unsorted; folders end in "/", and so sort as the paths below them.

        Args:
            folder: by its own name.
            held: by that which it is looked into by.
            excluded: what is left out of it.
        """
        with os.scandir(held) as scan:
            if self._rules.follow_links and not self._enters(held):
                return
            for entry in scan:
                if entry.name.startswith("."):
                    name = entry.name.removesuffix(ICLOUD)[1:]
                    if self._left_out is not None and entry.name.endswith(ICLOUD) and is_image_name(name):
                        self._left_out.add(IN_ICLOUD, str(folder / name))
                    continue
                is_folder = self._is_folder(entry)
                if excluded and (reason := excluded.reason(folder / entry.name, is_folder=is_folder)):
                    if self._left_out is not None:
                        self._left_out.add(reason, str(folder / entry.name))
                elif is_folder:
                    if self._takes_folder(entry, folder):
                        yield os.fsencode(entry.name) + b"/"
                elif self._takes_file(entry, folder):
                    yield os.fsencode(entry.name)

    def _sorted(self, folder: Path, above: Excluded) -> tuple[Excluded, Iterator[bytes]]:
        """What is left out of a folder, and the names that are not; `above`: of the folder that it is in."""
        try:
            with self._rules.opened(folder) as held:
                excluded = above.inside(folder, held)
                return excluded, iter(sorted(self.names(folder, held, excluded)))
        except OSError as error:
            self._on_error(folder, error.strerror or str(error))
            return above, iter(())

    def _above(self, folder: Path) -> Excluded:
        """What is left out of the folder that this one is in, if the root of the walk is above it."""
        return (
            Excluded(self._rules, self._root)
            if folder == self._root
            else self._rules.excluded(self._root, folder.parent)
        )

    @staticmethod
    def _is_folder(entry: os.DirEntry[str]) -> bool:
        """Whether it is one, or leads to one."""
        try:
            return entry.is_dir()
        except OSError:  # a link that leads to where one may not look, or round in a circle
            return False

    def _takes_folder(self, entry: os.DirEntry[str], parent: Path) -> bool:
        path = parent / entry.name
        if is_not_photos(path):
            if self._left_out is not None:
                self._left_out.add(f"folders named {path.name}, which is not photos", str(path))
            return False
        is_link = entry.is_symlink()
        if self._rules.follow_links and (is_link or self._rules.elsewhere):
            real = Path(os.path.realpath(path))
            if real.is_relative_to(self._real_root):
                return not is_link  # it is walked at its own place
            if not any(map(real.is_relative_to, self._rules.elsewhere)):
                return True
            if self._left_out is not None:
                self._left_out.add("linked folders whose pictures are indexed by another name", str(path))
            return False
        if not is_link:
            return True
        if self._left_out is not None:
            self._left_out.add(f"linked folders ({self._rules.called('follow_links')} follows them)", str(path))
        return False

    def _takes_file(self, entry: os.DirEntry[str], parent: Path) -> bool:
        if is_image_name(entry.name):
            return True
        path = parent / entry.name
        if self._rules.takes_odd(path):
            return True
        if reason := self._rules.reason_of(path) or self._other:
            if self._left_out is not None:
                self._left_out.add(reason, str(path))
        elif self.others is not None:
            self.others[kind_of(entry.name)] += 1
        return False

    def _enters(self, folder: Path) -> bool:
        """Whether a folder is entered for the first time."""
        status = folder.stat()
        key = (status.st_dev, status.st_ino)
        is_new = key not in self._entered
        self._entered.add(key)
        return is_new
