"""How a picture is to be turned: by EXIF alone, as Chromium does, and never by XMP."""

from __future__ import annotations

from PIL import ExifTags, Image, TiffImagePlugin, WebPImagePlugin

TAG = ExifTags.Base.Orientation
UPRIGHT = 1
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
