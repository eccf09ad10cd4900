"""What decoding a picture costs, known before it is decoded."""

from __future__ import annotations

from PIL import ExifTags, Image, TiffImagePlugin

from ..limits import LIMITS
from .memory import free_bytes
from .orientation import TURNS
from .refusals import NotAPicture, TooLarge

# Bytes a pixel of Pillow's modes; of all others, such as RGB, 4.
BYTES_OF_COLOURS = 4
BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16L": 2, "I;16B": 2, "I;16N": 2}
# These decoders have planes of their own, one or two copies for Pillow, and Pillow's pixels.
BYTES_OF_COPIES = {"WEBP": 12, "AVIF": 14, "HEIF": 12}
# All coefficients of a progressive JPEG are kept, for each pixel and component.
BYTES_OF_COEFFICIENTS = 2


def refuse_pixels(size: tuple[int, int], max_pixels: int) -> None:
    """Raises TooLarge for a picture of this size with more pixels than are allowed."""
    width, height = size
    pixels = width * height
    if pixels > max_pixels:
        raise TooLarge(f"{width} x {height} is {pixels:,} pixels, over the limit of {max_pixels:,}")


def refuse_bytes(needed: int) -> None:
    """Raises TooLarge for a picture whose decoder would allocate more than is allowed."""
    if needed > LIMITS.bytes_to_decode:
        raise TooLarge(
            f"decoding it takes {needed / 1e9:.1f} GB of memory, over the limit of "
            f"{LIMITS.bytes_to_decode / 1e9:.1f} GB"
        )


def refuse_beyond_memory(needed: int) -> None:
    """Raises TooLarge for a large picture that would need more memory than is free now."""
    if needed <= LIMITS.bytes_of_large:
        return
    free = free_bytes()
    if needed > free:
        raise TooLarge(
            f"decoding it takes {needed / 1e9:.1f} GB of memory, and {max(free, 0) / 1e9:.1f} GB "
            "are free: try it again where there is more"
        )


def bytes_to_decode(image: Image.Image) -> int:
    """The most bytes that a picture's decoder will allocate."""
    pixels, kind = image.width * image.height, image.format or ""
    needed = pixels * (BYTES.get(image.mode, BYTES_OF_COLOURS) + BYTES_OF_COPIES.get(kind, 0))
    if "progressive" in image.info:
        needed += pixels * BYTES_OF_COEFFICIENTS * len(image.getbands())
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        needed += _bytes_of_a_part(image)
        if image.tag_v2.get(ExifTags.Base.Orientation) in TURNS:
            needed += pixels * BYTES.get(
                image.mode, BYTES_OF_COLOURS
            )  # Pillow turns it into a copy
    return needed


def _bytes_of_a_part(image: TiffImagePlugin.TiffImageFile) -> int:
    """The bytes of one tile or strip of a TIFF, which libtiff decodes as a whole."""
    if image.info.get("compression") == "raw":
        return 0
    tags = image.tag_v2
    bits = max(tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,)))
    samples = tags.get(TiffImagePlugin.SAMPLESPERPIXEL, 1)
    # Colours that are stored as YCbCr are decoded as RGBA.
    bits_a_pixel = max(bits * samples, 32 if samples >= 3 else 1)
    whole = image.width * image.height * bits_a_pixel // 8
    if TiffImagePlugin.TILEWIDTH in tags:
        area = tags[TiffImagePlugin.TILEWIDTH] * tags.get(TiffImagePlugin.TILELENGTH, 1)
        tile = area * bits_a_pixel // 8
        if tile > max(LIMITS.bytes_of_tile, 2 * whole):
            raise NotAPicture("the picture is damaged (its tiles are far larger than itself)")
        return tile
    return min(
        whole,
        image.width * tags.get(TiffImagePlugin.ROWSPERSTRIP, image.height) * bits_a_pixel // 8,
    )
