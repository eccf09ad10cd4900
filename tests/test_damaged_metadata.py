"""Damage that no browser minds costs at most the metadata; pixels that are missing do cost."""

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from helpers.files import HEIC, exif_of, quarters
from helpers.needs import needed
from PIL import Image, features

from datasette_imgsim.ingest import decode

EXIF = exif_of(Make="Leica").tobytes()
TOO_MUCH = zlib.compress(b"x" * 3_000_000)


def scene():
    """Colours that change everywhere, so that missing pixels show."""
    noise = np.random.default_rng(0).integers(0, 255, (12, 16, 3), np.uint8)
    return Image.blend(quarters((320, 240)), Image.fromarray(noise).resize((320, 240)), 0.3)


def saved(kind, **options):
    file = io.BytesIO()
    scene().save(file, kind, **options)
    return file.getvalue()


def pixels(data):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return decode.decode(io.BytesIO(data), 32).pixels.astype(int)


def chunk(kind, data, crc=0):
    code = zlib.crc32(kind + data) ^ crc
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", code)


def png(*chunks, before=b"IDAT"):
    """A PNG file with more chunks."""
    data = saved("PNG")
    at = data.index(before) - 4
    return data[:at] + b"".join(chunks) + data[at:]


FRAME = struct.pack(">IIIIIHHBB", 5, 320, 240, 0, 0, 1, 1, 0, 0)
PNG = {
    "text over 1 MB": (chunk(b"zTXt", b"k\0\0" + TOO_MUCH),),
    "international text over 1 MB": (chunk(b"iTXt", b"k\0\1\0\0\0" + TOO_MUCH),),
    "much text": (chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(1_000_000))),) * 70,
    "text, CRC": (chunk(b"tEXt", b"k\0v", crc=1),),
    "text, method": (chunk(b"zTXt", b"k\0\7abc"),),
    "EXIF, CRC": (chunk(b"eXIf", EXIF[6:], crc=1),),
    "time, CRC": (chunk(b"tIME", b"x", crc=1),),
    "of a program, CRC": (chunk(b"vpAg", b"x", crc=1),),
    "profile over 1 MB": (chunk(b"iCCP", b"k\0\0" + TOO_MUCH),),
    "profile, method": (chunk(b"iCCP", b"k\0\5abc"),),
    "profile, empty": (chunk(b"iCCP", b"k"),),
    "resolution, short": (chunk(b"pHYs", b"a"),),
    "gamma, short": (chunk(b"gAMA", b"a"),),
    "white point, short": (chunk(b"cHRM", b"a"),),
    "animation, short": (chunk(b"acTL", b"a"),),
    "animation, order": (chunk(b"acTL", struct.pack(">II", 2, 0)), chunk(b"fcTL", FRAME)),
}


@pytest.mark.parametrize("name", PNG)
def test_chunks_of_a_png(name):
    assert (pixels(png(*PNG[name])) == pixels(saved("PNG"))).all()


def test_what_is_sound_in_a_mended_png_is_heeded():
    bad = chunk(b"tEXt", b"k\0v", crc=1)
    turned = chunk(b"eXIf", exif_of(Orientation=3).tobytes()[6:])
    assert (pixels(png(bad, turned)) == pixels(png(turned))).all()
    assert (pixels(png(turned)) != pixels(png())).any()


def segment(marker, content, size=None):
    return bytes([0xFF, marker]) + struct.pack(">H", size or len(content) + 2) + content


JPEG = {
    "comment, empty": segment(0xFE, b""),
    "JFIF, short": segment(0xE0, b"JFIF\0"),
    "profile, short": segment(0xE2, b"ICC_PROFILE\0"),
    "Adobe, short": segment(0xEE, b"Adobe"),
    "Photoshop, short": segment(0xED, b"Photoshop 3.0\0008BIM\4\4" + b"\xff" * 8),
    "index of pictures": segment(0xE2, b"MPF\0II*\0\xff\xff\0\0" + bytes(18)),
}


@pytest.mark.parametrize("name", JPEG)
def test_segments_of_a_jpeg(name):
    sound = saved("JPEG", exif=EXIF)
    assert (pixels(sound[:2] + JPEG[name] + sound[2:]) == pixels(sound)).all()


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("restarts", [{}, {"restart_marker_rows": 1}, {"restart_marker_blocks": 1}])
@pytest.mark.parametrize("missing", [1, 2, 3, 8])
def test_a_jpeg_without_its_last_bytes(missing, restarts, progressive):
    sound = saved("JPEG", progressive=progressive, **restarts)
    assert np.abs(pixels(sound[:-missing]) - pixels(sound)).mean() < 1


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("restarts", [{}, {"restart_marker_rows": 1}, {"restart_marker_blocks": 1}])
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9])
def test_a_jpeg_that_is_cut_off(kept, restarts, progressive):
    """Of a progressive one, a coarse picture is there before half of the file."""
    sound = saved("JPEG", progressive=progressive, **restarts)
    try:
        found = pixels(sound[: int(kept * len(sound))])
    except decode.NotAPicture:
        return
    assert progressive and np.abs(found - pixels(sound)).mean() < 8


def webp():
    return saved("WEBP", exif=EXIF, xmp=b"x" * 100, icc_profile=b"y" * 200)


WEBP = {
    "XMP cut off": lambda data: data[:-50],
    "EXIF cut off": lambda data: data[: data.index(b"EXIF") + 20],
    "EXIF and XMP gone": lambda data: data[: data.index(b"EXIF")],
    "whole length": lambda data: data[:4] + struct.pack("<I", 2 * len(data)) + data[8:],
    "length of EXIF": lambda data: data.replace(
        data[data.index(b"EXIF") :][:8], b"EXIF\xff\xff\xff\x7f"
    ),
}


@pytest.mark.parametrize("name", WEBP)
def test_chunks_of_a_webp(name):
    assert (pixels(WEBP[name](webp())) == pixels(webp())).all()


def test_exif_of_an_avif():
    needed(features.check("avif"), "AVIF for Pillow")
    sound = saved("AVIF", exif=EXIF)
    assert b"MM\0*" in sound
    assert (pixels(sound.replace(b"MM\0*", b"XX\0*")) == pixels(sound)).all()


def placed(data, id, base=0, more=0, length=None):
    """A HEIC file that says that an item lies elsewhere or has another length."""
    file = bytearray(data)
    at = data.index(b"iloc") + 12
    while struct.unpack(">H", file[at : at + 2]) != (id,):
        at += 18
    count, offset, old = struct.unpack(">HII", file[at + 8 : at + 18])
    length = old + more if length is None else length
    file[at + 4 : at + 18] = struct.pack(">IHII", base, count, offset, length)
    return bytes(file)


HEIC_DAMAGE = {
    "EXIF cut off": HEIC[:-20],
    "EXIF gone": HEIC[:-36],
    "EXIF elsewhere": placed(HEIC, 2, base=1_000_000),
    "EXIF too long": placed(HEIC, 2, more=1_000_000),
    "EXIF far too long": placed(HEIC, 2, length=2**32 - 1),
    "EXIF empty": placed(HEIC, 2, length=0),
    "EXIF of 3 bytes": placed(HEIC, 2, length=3),
    "EXIF, start": HEIC.replace(b"\0\0\0\6Exif\0\0", b"\x7f\xff\xff\xffExif\0\0"),
    "EXIF, byte order": HEIC.replace(b"MM\0*", b"XX\0*"),
    "EXIF, directory": HEIC.replace(b"MM\0*\0\0\0\x08", b"MM\0*\xff\xff\xff\xff"),
    "EXIF called XMP": HEIC.replace(b"\0\0Exif", b"\0\0mime", 1),
    "of no picture": HEIC.replace(b"cdsc\0\2\0\1\0\1", b"cdsc\0\2\0\1\0\7"),
    "of itself": HEIC.replace(b"cdsc\0\2\0\1\0\1", b"cdsc\0\2\0\1\0\2"),
    "name of EXIF": HEIC.replace(b"\0\0Exif", b"\0\0Exi\xff", 1),
    "name of the picture": HEIC.replace(b"hvc1\0", b"hvc1\xff", 1),
}


@pytest.mark.parametrize("name", HEIC_DAMAGE)
def test_metadata_of_a_heic(name):
    pytest.importorskip("pi_heif")
    assert HEIC_DAMAGE[name] != HEIC
    assert (pixels(HEIC_DAMAGE[name]) == pixels(HEIC)).all()


def avif_with_metadata():
    needed(features.check("avif"), "AVIF for Pillow")
    return saved("AVIF", exif=EXIF, xmp=b"<x/>" * 200)


@pytest.mark.parametrize("item", [2, 3])
@pytest.mark.parametrize("place, length", [(None, 2**31), (2**31, None), (None, 0), (None, 3)])
def test_metadata_of_an_avif_that_is_elsewhere_or_cut(item, place, length):
    sound = avif_with_metadata()
    file = bytearray(sound)
    at = sound.index(b"iloc") + 12
    while struct.unpack(">H", file[at : at + 2]) != (item,):
        at += 14
    old = struct.unpack(">II", file[at + 6 : at + 14])
    new = (old[0] if place is None else place, old[1] if length is None else length)
    file[at + 6 : at + 14] = struct.pack(">II", *new)
    assert (pixels(bytes(file)) == pixels(sound)).all()


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF"])
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9])
def test_other_pictures_that_are_cut_off(kind, kept):
    if kind == "AVIF":
        needed(features.check("avif"), "AVIF for Pillow")
    data = saved(kind)
    with pytest.raises(decode.NotAPicture, match="damaged, cut off"):
        pixels(data[: int(kept * len(data))])


def test_a_large_file_is_not_mended(monkeypatch):
    data = png(*PNG["text, CRC"])
    monkeypatch.setattr(decode.LIMITS, "bytes_to_mend", len(data) - 1)
    with pytest.raises(decode.NotAPicture, match="damaged"):
        pixels(data)
