"""Which files of a folder are photos, and which are spare by their names."""

from __future__ import annotations

import pytest

from base.walk import is_spare_name


@pytest.mark.parametrize(
    "path",
    [
        "p/#recycle/IMG_1.jpg",
        "p/$RECYCLE.BIN/S-1-5-21/$R0AB.jpg",
        "p/@Recycle/a/IMG_1.jpg",
        "p/lost+found/#123.jpg",
        "p/.Trash-1000/files/IMG_1.jpg",
        "p/#snapshot/daily/IMG_1.jpg",
        "p/.trashed-1700000000-IMG_1.jpg",
        "IMG_1 copy.jpg",
        "IMG_1 copy 2.jpg",
        "IMG_1_copy.JPG",
        "IMG_1-copy2.jpg",
        "IMG_1 - Copy.jpg",
        "IMG_1 - Copy (2).jpg",
        "Copy of IMG_1.jpg",
        "Copy (3) of IMG_1.jpg",
        "IMG_1 (1).jpg",
        "IMG_1(12).jpg",
        "IMG_1 (copy).jpg",
        "IMG_1 (another copy).jpg",
        "IMG_1 (3rd copy).jpg",
        "IMG_1 (Ann's conflicted copy 2020-01-01).jpg",
        "IMG_1.sync-conflict-20200101-101010-ABCDEFG.jpg",
        "Kopie von IMG_1.jpg",
        "IMG_1 - Kopie (2).jpg",
        "IMG_1 Kopie.jpg",
        "IMG_1 (Kopie).jpg",
        "Copie de IMG_1.jpg",
        "IMG_1 - Copie.jpg",
        "Copia di IMG_1.jpg",
        "IMG_1 - Co\u0301pia.jpg",
        "IMG_1 — копия.jpg",
        "Копия IMG_1.jpg",
        "IMG_1 - 副本.jpg",
        "IMG_1 - コピー.jpg",
        "IMG_1.jpg~",
        "IMG_1.jpg.1",
    ],
)
def test_copies_and_what_lies_in_a_bin_are_spare(path: str) -> None:
    assert is_spare_name(f"/home/a/{path}")


@pytest.mark.parametrize(
    "path",
    [
        "IMG_1.jpg",
        "IMG_20200101_101010.jpg",
        "photocopy.jpg",
        "copyright.jpg",
        "Copyshop.jpg",
        "Kopenhagen.jpg",
        "holiday (2019).jpg",
        "recycling/IMG_1.jpg",
        "trashy/IMG_1.jpg",
        "IMG 1.jpg",
        "Kopie von Urlaub/IMG_1.jpg",
        "\udcff.jpg",
    ],
)
def test_originals_are_not(path: str) -> None:
    assert not is_spare_name(f"/home/a/{path}")
