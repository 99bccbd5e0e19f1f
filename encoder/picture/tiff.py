"""TIFFs as they are meant, where Pillow alone takes a page, or the numbers of one, for something else.

For pictures that are opened and not loaded yet; those that are no TIFF stay as they are. Decodes nothing.
"""

from __future__ import annotations

import re

from PIL import Image
from PIL.TiffImagePlugin import (
    BITSPERSAMPLE,
    COMPRESSION,
    II,
    MM,
    OPEN_INFO,
    PHOTOMETRIC_INTERPRETATION,
    PLANAR_CONFIGURATION,
    TILELENGTH,
    TILEWIDTH,
    YCBCRSUBSAMPLING,
    TiffImageFile,
)

from encoder.picture.bounds import MAX_FRAMES

_PACKED = 8  # any of TIFF's compressions
_YCBCR = 6
_SUBFILE = 254
_BIG_ENDIAN = re.compile(r"(?<=\d)B(?=[SF]?$)")  # in Pillow's names of rows
_ROWS = {  # of grey by (sample format, bits): Pillow's mode, and its name of such a row in either order of bytes
    (1, 16): ("I;16", "I;16", "I;16B"),
    (1, 32): ("I", "I;32", "I;32B"),
    (2, 8): ("L", "L", "L"),
    (2, 16): ("I", "I;16S", "I;16BS"),
    (2, 32): ("I", "I;32S", "I;32BS"),
    (3, 32): ("F", "F;32F", "F;32BF"),
    (3, 64): ("F", "F;64F", "F;64BF"),
}
for _kind, (_mode, *_rows) in _ROWS.items():  # Pillow knows some of them, where black is 0 for the most part
    for _order, _row in zip((II, MM), _rows, strict=True):
        for _black in (0, 1):
            OPEN_INFO.setdefault((_order, _black, (_kind[0],), 1, (_kind[1],), ()), (_mode, _row))


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
    Colour of fewer numbers than light it takes for as many where that is not packed; libtiff reads both.
    And libtiff gives numbers in the order of this machine, where those with a sign or a point are turned round again.
    """
    if not isinstance(image, TiffImageFile):
        return
    is_of_planes = image.tag_v2.get(PLANAR_CONFIGURATION) == 2
    is_ycbcr = image.tag_v2.get(PHOTOMETRIC_INTERPRETATION) == _YCBCR
    is_coarse = is_ycbcr and image.tag_v2.get(YCBCRSUBSAMPLING, (2, 2)) != (1, 1)
    if (is_of_planes or is_coarse) and not image.use_load_libtiff:
        if len(image.getbands()) == 1:  # the tags as Pillow holds them; libtiff reads its own
            image.tag_v2[PLANAR_CONFIGURATION] = 1
        elif is_ycbcr or 16 in image.tag_v2.get(BITSPERSAMPLE, ()):
            image.tag_v2[COMPRESSION] = _PACKED
        image._setup()
    if image.use_load_libtiff and image.tile and isinstance(args := image.tile[0].args, tuple):
        image.tile = [image.tile[0]._replace(args=(_BIG_ENDIAN.sub("N", args[0]), *args[1:]))]


def tile_size(image: Image.Image) -> tuple[int, int]:
    """The size of a TIFF's tiles, each of which is decoded whole; of other pictures (0, 0)."""
    tags = image.tag_v2 if isinstance(image, TiffImageFile) else {}
    width, height = (tags.get(tag) or 0 for tag in (TILEWIDTH, TILELENGTH))
    return (max(width) if isinstance(width, tuple) else width), (max(height) if isinstance(height, tuple) else height)
