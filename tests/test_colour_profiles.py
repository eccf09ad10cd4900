"""Pictures with an ICC profile look as in a browser: they are converted to sRGB."""

import io
import struct

import numpy as np
import pytest
from helpers.files import HEIC, embedded, folder_of_quarters, quarters, thumbnail
from helpers.needs import needed
from helpers.profiles import (
    ADOBE_RGB,
    DISPLAY_P3,
    GAMMA,
    PROPHOTO,
    SRGB,
    grey_profile,
    rgb_profile,
    stored_in,
)
from PIL import Image, features

from datasette_imgsim.ingest import colour, decode
from datasette_imgsim.limits import LIMITS

KINDS = {
    "JPEG": {"quality": 100, "subsampling": 0},
    "PNG": {},
    "WEBP": {"lossless": True},
    "TIFF": {},
    "AVIF": {"quality": 100, "subsampling": "4:4:4"},
}


def pixels_of(image, kind, **options):
    """What is embedded of a picture that is saved with these options, as whole numbers."""
    if kind == "AVIF":
        needed(features.check("avif"), "AVIF for Pillow")
    file = io.BytesIO()
    image.save(file, kind, **KINDS[kind] | options)
    file.seek(0)
    return decode.decode(file, 32).pixels.astype(int)


def with_alpha(image):
    image = image.convert("RGBA")
    image.putalpha(255)
    return image


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "primaries", [DISPLAY_P3, ADOBE_RGB, PROPHOTO], ids=["P3", "Adobe RGB", "ProPhoto"]
)
def test_a_profile_is_heeded_in_every_format(kind, primaries):
    twin, expected = stored_in(quarters(), primaries), pixels_of(quarters(), kind)
    found = pixels_of(twin, kind, icc_profile=rgb_profile(primaries))
    assert np.abs(found - expected).mean() < 3.5  # 8 bits of so wide a space are coarse
    assert np.abs(pixels_of(twin, kind) - expected).mean() > 5


def heic_with(profile):
    """HEIC with an ICC profile in its colour box (ISO/IEC 14496-12, colr of type prof)."""
    old = HEIC[HEIC.index(b"colrnclx") - 4 :][:19]
    new = struct.pack(">I", 12 + len(profile)) + b"colrprof" + profile
    data = bytearray(HEIC.replace(old, new))
    added = len(new) - len(old)
    for box in (b"meta", b"iprp", b"ipco"):  # those that it lies in
        _add(data, data.index(box) - 4, added)
    for place in (16, 34):  # where the two items lie in the file
        _add(data, data.index(b"iloc") + place, added)
    return bytes(data)


def _add(data, place, number):
    """Adds to a number of four bytes."""
    (before,) = struct.unpack_from(">I", data, place)
    struct.pack_into(">I", data, place, before + number)


def test_a_profile_is_heeded_in_heic():
    pytest.importorskip("pi_heif")
    profile = rgb_profile(DISPLAY_P3)
    found = decode.decode(io.BytesIO(heic_with(profile)), 32).pixels.astype(int)
    plain = decode.decode(io.BytesIO(HEIC), 32).pixels.astype(int)
    assert np.abs(found - pixels_of(quarters(), "PNG", icc_profile=profile)).mean() < 3.5
    assert np.abs(found - plain).mean() > 5


@pytest.mark.parametrize(
    "kind, change",
    [
        ("PNG", with_alpha),
        ("WEBP", with_alpha),
        ("TIFF", with_alpha),
        ("PNG", lambda image: image.quantize(4)),
    ],
    ids=["RGBA PNG", "RGBA WebP", "RGBA TIFF", "palette"],
)
def test_a_profile_is_heeded_in_every_mode(kind, change):
    twin = change(stored_in(quarters(), DISPLAY_P3))
    found = pixels_of(twin, kind, icc_profile=rgb_profile(DISPLAY_P3))
    assert np.abs(found - pixels_of(quarters(), kind)).max() <= 4


@pytest.mark.parametrize("mode", ["L", "LA"])
def test_a_profile_of_greys_is_heeded(mode):
    grey = quarters().convert("L").convert(mode)
    plain = pixels_of(grey, "PNG")
    found = pixels_of(grey, "PNG", icc_profile=grey_profile(1.0))
    assert (found - plain).mean() > 40  # linear values are lighter in sRGB
    # A grey picture may have a profile of RGB.
    found = pixels_of(grey, "PNG", icc_profile=rgb_profile(SRGB, 1.0))
    assert (found - plain).mean() > 40


def test_a_large_picture_is_converted_after_it_was_shrunk():
    twin = stored_in(quarters((1600, 1200)), DISPLAY_P3)
    found = pixels_of(twin, "PNG", icc_profile=rgb_profile(DISPLAY_P3))
    assert np.abs(found - pixels_of(quarters((1600, 1200)), "PNG")).max() <= 4


def test_ink_is_converted_by_its_profile(monkeypatch):
    """There is no profile of ink to test with, so its conversion is a stand-in."""

    class Red:
        input_mode = "CMYK"

        def apply(self, image):
            return Image.new("RGB", image.size, "red")

    monkeypatch.setattr(colour, "_conversion", lambda profile: Red())
    for kind in ("JPEG", "TIFF"):
        found = pixels_of(quarters().convert("CMYK"), kind, icc_profile=b"of ink")
        assert (found == (255, 0, 0)).all()
    assert (
        pixels_of(quarters(), "PNG", icc_profile=b"of ink") == pixels_of(quarters(), "PNG")
    ).all()


def damaged(profile):
    return profile[:140] + bytes(len(profile) - 140)


@pytest.mark.parametrize(
    "profile",
    [
        b"no profile at all",
        damaged(rgb_profile(DISPLAY_P3)),
        rgb_profile(DISPLAY_P3)[:200],
        grey_profile(1.0),
        rgb_profile(DISPLAY_P3) + bytes(LIMITS.bytes_of_profile),
    ],
    ids=["text", "zeros", "cut off", "of greys", "too large"],
)
@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "TIFF"])
def test_a_profile_that_is_no_use_costs_only_itself(kind, profile):
    found = pixels_of(quarters(), kind, icc_profile=profile)
    assert (found == pixels_of(quarters(), kind)).all()


def test_thumbnails_are_converted_and_have_no_profile(tmp_path, toy):
    folder = folder_of_quarters(tmp_path)
    twin = stored_in(quarters(), DISPLAY_P3)
    twin.save(folder / "images/twin.png", icc_profile=rgb_profile(DISPLAY_P3))
    database = embedded(folder)
    found, expected = (thumbnail(database, name) for name in ("twin.png", "plain.png"))
    assert "icc_profile" not in found.info
    assert np.abs(np.asarray(found, int) - np.asarray(expected, int)).mean() < 2


def test_a_profile_of_srgb_costs_no_conversion():
    assert colour._conversion(colour._srgb().tobytes()) is None
    assert colour._conversion(rgb_profile(SRGB, GAMMA)) is not None
