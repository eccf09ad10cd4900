"""How a picture is to be turned: by EXIF alone, as Chromium does, and never by XMP."""

from __future__ import annotations

import math

from PIL import ExifTags, Image, TiffImagePlugin, WebPImagePlugin

from .part import Box

TAG = ExifTags.Base.Orientation
UPRIGHT = 1
ROUNDING = 1e-6
"""In pixels: so near to its edge, a pixel does not belong to a part."""
# How a picture of an orientation (EXIF 2.32, tag 274) is put right.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = {5, 6, 7, 8}
# Where a place (x, y) of the upright picture, 0 to 1, is in the stored one.
PLACES = {
    1: lambda x, y: (x, y),
    2: lambda x, y: (1 - x, y),
    3: lambda x, y: (1 - x, 1 - y),
    4: lambda x, y: (x, 1 - y),
    5: lambda x, y: (y, x),
    6: lambda x, y: (y, 1 - x),
    7: lambda x, y: (1 - y, 1 - x),
    8: lambda x, y: (1 - y, x),
}


def stored_box(part: Box, orientation: int, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The pixels of a stored picture that show a part of the upright one: left, top, right, bottom.

    `size` is the width and height of the stored one.
    """
    left, top, right, bottom = part
    corners = [PLACES[orientation](x, y) for x, y in ((left, top), (right, bottom))]
    (x0, x1), (y0, y1) = (sorted(places) for places in zip(*corners))
    width, height = size
    return (
        math.floor(x0 * width + ROUNDING),
        math.floor(y0 * height + ROUNDING),
        math.ceil(x1 * width - ROUNDING),
        math.ceil(y1 * height - ROUNDING),
    )


def orientation_of(image: Image.Image) -> int:
    """The orientation of an opened picture, to be asked before it is loaded.

    It is 1 for a TIFF, which Pillow turns itself; here Pillow is kept from turning it by XMP. It
    is 1 for a WebP, which Chromium shows as it is stored, whatever its EXIF says.
    """
    if isinstance(image, WebPImagePlugin.WebPImageFile):
        return UPRIGHT
    try:
        if isinstance(image, TiffImagePlugin.TiffImageFile):
            if TAG not in image.tag_v2:
                image.getexif()[TAG] = UPRIGHT
            return UPRIGHT
        # Pillow's own `getexif` adds what XMP says.
        exif = Image.Exif()
        exif.load(image.info.get("exif", b""))
        found = exif.get(TAG, UPRIGHT)
    except Exception:  # a picture with damaged metadata is usable
        return UPRIGHT
    return found if found in TURNS else UPRIGHT
