"""Converts pixels from the colours of an embedded ICC profile to sRGB, as browsers do."""

from __future__ import annotations

import functools
import io

import numpy as np
from PIL import Image, ImageCms

from ..limits import LIMITS

# The mode of the pixels that a profile of a colour space describes.
MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}
# Profiles of sRGB itself differ by rounding. Such a difference is not worth a conversion.
ROUNDING = 2


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """An image of mode L, LA, RGB, RGBA or CMYK as RGB, or RGBA if it has alpha, in sRGB.

    A profile that is damaged, too large, or of other colours than the pixels is ignored.
    """
    if image.mode in ("LA", "RGBA"):
        opaque = to_srgb(image.convert(image.mode.removesuffix("A")), profile)
        opaque.putalpha(image.getchannel("A"))
        return opaque
    conversion = None
    if isinstance(profile, bytes) and 0 < len(profile) <= LIMITS.bytes_of_profile:
        conversion = _conversion(profile)
    if conversion and conversion.input_mode == "RGB" and image.mode == "L":
        image = image.convert("RGB")
    if conversion and conversion.input_mode == image.mode:
        return conversion.apply(image)
    return image if image.mode == "RGB" else image.convert("RGB")


@functools.lru_cache(maxsize=16)
def _conversion(profile: bytes) -> ImageCms.ImageCmsTransform | None:
    """What converts pixels with this profile to sRGB; None if nothing can or needs to be done."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = MODES[source.profile.xcolor_space.strip()]
        conversion = ImageCms.ImageCmsTransform(source, _srgb(), mode, "RGB")
        sample = _sample(mode)
        before, after = (
            np.asarray(image, int) for image in (sample.convert("RGB"), conversion.apply(sample))
        )
    except Exception:  # a picture with a damaged profile is usable
        return None
    return conversion if np.abs(before - after).max() > ROUNDING else None


def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def _sample(mode: str) -> Image.Image:
    """Colours from all over the cube, or the values of grey or ink."""
    bands = Image.getmodebands(mode)
    steps = np.linspace(0, 255, 6, dtype=np.uint8)
    values = np.stack(np.meshgrid(*[steps] * bands), axis=-1).reshape(-1, bands)
    return Image.frombytes(mode, (len(values), 1), values.tobytes())
