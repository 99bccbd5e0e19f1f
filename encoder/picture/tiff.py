"""TIFFs as they are meant, where Pillow alone takes a page, or the numbers of one, for something else.

For pictures that are opened and not loaded yet; those that are no TIFF stay as they are. Decodes nothing.
"""

from __future__ import annotations

import re

from PIL import Image
from PIL.TiffImagePlugin import (
    BITSPERSAMPLE,
    COMPRESSION,
    PLANAR_CONFIGURATION,
    TILELENGTH,
    TILEWIDTH,
    TiffImageFile,
)

from encoder.picture.bounds import MAX_FRAMES

_PACKED = 8  # any of TIFF's compressions
_SUBFILE = 254
_BIG_ENDIAN = re.compile(r"(?<=\d)B(?=[SF]$)")  # in Pillow's names of rows


def pass_thumbnails(image: Image.Image) -> None:
    """Go to the first page of a TIFF that is no smaller copy of another, by its own word, if there is one."""
    pages = range(getattr(image, "n_frames", 1))[:MAX_FRAMES] if is_reduced(image) else ()
    for number in pages:
        image.seek(number)
        if not is_reduced(image):
            return
    if pages:
        image.seek(0)


def is_reduced(image: Image.Image) -> bool:
    """Whether it says of itself that it is a smaller copy of another page."""
    return isinstance(image, TiffImageFile) and bool(image.tag_v2.get(_SUBFILE, 0) & 1)


def have_numbers_read(image: Image.Image) -> None:
    """Have the numbers of a TIFF read as they lie, where Pillow tells its decoders otherwise.

    Of planes that are not packed it takes one letter each of what it calls their rows: of "RGB;16L" "R", of "I;16" "I".
    And libtiff gives numbers in the order of this machine, where those with a sign or a point are turned round again.
    """
    if not isinstance(image, TiffImageFile):
        return
    if image.tag_v2.get(PLANAR_CONFIGURATION) == 2 and not image.use_load_libtiff:
        if len(image.getbands()) == 1:  # the tags as Pillow holds them; libtiff reads its own
            image.tag_v2[PLANAR_CONFIGURATION] = 1
        elif 16 in image.tag_v2.get(BITSPERSAMPLE, ()):
            image.tag_v2[COMPRESSION] = _PACKED
        image._setup()
    if image.use_load_libtiff and image.tile and isinstance(args := image.tile[0].args, tuple):
        image.tile = [image.tile[0]._replace(args=(_BIG_ENDIAN.sub("N", args[0]), *args[1:]))]


def tile_size(image: Image.Image) -> tuple[int, int]:
    """The size of a TIFF's tiles, each of which is decoded whole; of other pictures (0, 0)."""
    tags = image.tag_v2 if isinstance(image, TiffImageFile) else {}
    width, height = (tags.get(tag) or 0 for tag in (TILEWIDTH, TILELENGTH))
    return (max(width) if isinstance(width, tuple) else width), (max(height) if isinstance(height, tuple) else height)
