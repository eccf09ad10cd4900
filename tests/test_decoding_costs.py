"""A picture costs a bounded amount of memory and time, known before it is decoded."""

import io
import struct
import subprocess
import sys
import time
import zlib

import numpy as np
import pytest
from helpers.files import quarters
from helpers.needs import needed
from PIL import Image, features

from datasette_imgsim.ingest import decode, memory, opening
from datasette_imgsim.limits import LIMITS


def saved(kind, image=None, **options):
    if kind == "AVIF":
        needed(features.check("avif"), "AVIF for Pillow")
    file = io.BytesIO()
    (image or quarters((320, 240))).save(file, kind, **options)
    return file.getvalue()


def pixels(data):
    return decode.decode(io.BytesIO(data), 32).pixels


def tiff(width, height, tile):
    """A small grey TIFF that says that its tiles have this size."""
    content = zlib.compress(bytes(4096))
    tags = {256: width, 257: height, 258: 8, 259: 8, 262: 1, 277: 1}
    tags |= {322: tile[0], 323: tile[1], 324: 134, 325: len(content)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(4) + content


def test_tiles_far_larger_than_their_picture_are_refused():
    assert pixels(tiff(64, 64, (64, 64))).shape == (32, 32, 3)
    with pytest.raises(decode.NotAPicture, match="its tiles are far larger than itself"):
        pixels(tiff(64, 64, (65520, 32752)))


@pytest.mark.parametrize(
    "kind, options",
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("PNG", {}),
        ("GIF", {}),
        ("BMP", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("AVIF", {}),
    ],
)
def test_what_needs_too_much_memory_is_refused(kind, options, monkeypatch):
    data = saved(kind, **options)
    monkeypatch.setattr(LIMITS, "bytes_to_decode", 320 * 240 - 1)
    with pytest.raises(decode.TooLarge, match="decoding it takes .* GB of memory, over the limit"):
        pixels(data)


@pytest.mark.parametrize("options", [{}, {"lossless": True}, {"xmp": b"x"}])
def test_the_size_of_a_webp_is_known_from_its_start(options):
    image = quarters((322, 246))
    assert opening._webp_size(saved("WEBP", image, **options)[:30]) == image.size


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF"])
def test_a_file_that_is_too_large_to_be_read_as_a_whole(kind, monkeypatch):
    data = saved(kind)
    monkeypatch.setattr(LIMITS, "bytes_of_file", len(data) - 1)
    with pytest.raises(decode.TooLarge, match="the file is larger than"):
        pixels(data)


PEAK = """
import resource, sys
from datasette_imgsim.ingest import decode
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with open(sys.argv[1], "rb") as file:
    decode.decode(file, 224)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize("mode, at_most", [("RGBA", 6), ("I;16", 5), ("P", 3), ("LA", 6)])
def test_a_large_picture_needs_little_more_than_its_pixels(tmp_path, mode, at_most):
    file = tmp_path / "a.png"
    Image.new(mode, (5000, 4000)).save(file, compress_level=1)
    peak = subprocess.check_output([sys.executable, "-c", PEAK, file], text=True)
    assert 1024 * int(peak) < at_most * 20_000_000


def many_scans(count):
    """A progressive JPEG whose last scan is there `count` times."""
    data = saved("JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * count + b"\xff\xd9"


def test_a_jpeg_of_many_scans_is_refused(monkeypatch):
    assert np.abs(pixels(many_scans(20)).astype(int) - pixels(saved("JPEG"))).mean() < 2
    with pytest.raises(decode.TooLarge, match="too many scans"):
        pixels(many_scans(LIMITS.jpeg_scans + 1))
    monkeypatch.setattr(LIMITS, "jpeg_pixels_of_scans", 20 * 320 * 240)
    with pytest.raises(decode.TooLarge, match="too many scans .21 of 76,800 pixels."):
        pixels(many_scans(20))


def test_the_larger_a_jpeg_is_the_fewer_scans_it_may_have():
    small = struct.pack(">HH", 240, 320)
    large = many_scans(100).replace(small, struct.pack(">HH", 9_000, 9_000), 1)
    with pytest.raises(decode.TooLarge, match="too many scans .62 of 81,000,000 pixels."):
        pixels(large)


def test_what_looks_like_scans_in_other_segments_is_not_counted():
    data = saved("JPEG", progressive=True)
    comment = b"\xff\xfe\xff\x00" + b"\xff\xda" * 32_639
    assert (pixels(data[:2] + comment + data[2:]) == pixels(data)).all()
    assert (pixels(data + b"\xff\xda" * 1_000) == pixels(data)).all()


FILLED = {
    "0xFF": b"\xff" * 15_000_000,
    "zeros": bytes(15_000_000),
    "segments": b"\xff\xe5\x00\x02" * 50_000,
    "comments": b"\xff\xfe\x00\x03x" * 50_000,
}


@pytest.mark.parametrize("name", FILLED)
def test_what_fills_the_start_of_a_jpeg_takes_no_time(name):
    data = saved("JPEG")
    comment = b"\xff\xfe\x00\x04ab"
    began = time.process_time()
    assert (pixels(data[:2] + comment + FILLED[name] + data[2:]) == pixels(data)).all()
    assert time.process_time() - began < 5


def test_a_jpeg_of_a_million_segments_is_refused_at_once():
    data = saved("JPEG")
    began = time.process_time()
    with pytest.raises(decode.NotAPicture, match="more than 5,000 segments"):
        pixels(data[:2] + b"\xff\xe5\x00\x02" * 1_000_000 + data[2:])
    assert time.process_time() - began < 5


def test_a_tiff_of_many_tiles_is_refused_at_once():
    count = LIMITS.tiff_parts + 1
    tags = {256: 1000, 257: 101, 258: 8, 259: 1, 262: 1, 277: 1, 322: 1, 323: 1}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    entries += struct.pack("<HHII", 324, 4, count, 130) + struct.pack("<HHII", 325, 4, count, 130)
    data = b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags) + 2) + entries + bytes(8 * count + 100)
    with pytest.raises(decode.TooLarge, match="too many tiles or strips .100,001."):
        pixels(data)


@pytest.mark.parametrize(
    "limit, current, available, free",
    [
        ("max", "5000000", "1000", 1_024_000),
        ("3000000", "2500000", "1000000", 600_000),
        ("3000000", "2500000", "100", 102_400),
        ("3000000", None, "100", 102_400),
        (None, None, None, float("inf")),
    ],
)
def test_what_is_free_is_known(tmp_path, monkeypatch, limit, current, available, free):
    monkeypatch.setattr(memory, "MACHINE", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "CONTAINER", tmp_path)
    stat = "anon 2400000\ninactive_file 100000\n"
    meminfo = available and f"MemTotal: 9 kB\nMemAvailable: {available} kB\nHugePages_Total: 0\n"
    names = {"memory.max": limit, "memory.current": current, "meminfo": meminfo}
    for name, text in (names | {"memory.stat": stat}).items():
        if text:
            (tmp_path / name).write_text(text)
    assert memory.free_bytes() == free


def test_a_large_picture_is_refused_where_memory_is_short(monkeypatch):
    data = saved("PNG")
    monkeypatch.setattr(memory, "_free_of_machine", lambda: 320 * 240 * 4 - 1)
    assert pixels(data).shape == (32, 32, 3)  # small ones are decoded in any case
    monkeypatch.setattr(LIMITS, "bytes_of_large", 320 * 240)
    with pytest.raises(decode.TooLarge, match="and 0.0 GB are free: try it again where there is"):
        pixels(data)
    monkeypatch.setattr(memory, "_free_of_machine", lambda: 320 * 240 * 4)
    assert pixels(data).shape == (32, 32, 3)


def test_a_png_of_very_many_empty_chunks_of_pixels():
    data = saved("PNG")
    at = data.index(b"IDAT") - 4
    empty = b"\0\0\0\0IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    assert (pixels(data[:at] + empty * 100 + data[at:]) == pixels(data)).all()
    began = time.process_time()
    with pytest.raises(decode.NotAPicture, match="more than 10,000 chunks"):
        pixels(data[:at] + empty * 1_000_000 + data[at:])
    assert time.process_time() - began < 5


def test_a_large_webp_is_refused_by_our_own_limit():
    """Pillow's own is on pixels, and lower than what `--max-pixels` allows."""
    large = saved("WEBP", lossless=True, xmp=b"x")
    at = large.index(b"VP8X") + 12
    sides = (16_000 - 1).to_bytes(3, "little") + (12_000 - 1).to_bytes(3, "little")
    large = large[:at] + sides + large[at + 6 :]
    with pytest.raises(decode.TooLarge, match="^decoding it takes 3.1 GB of memory, over the limi"):
        pixels(large)
    with pytest.raises(decode.TooLarge, match="^16000 x 12000 is 192,000,000 pixels, over the l"):
        decode.decode(io.BytesIO(large), 32, max_pixels=50_000_000)


@pytest.mark.parametrize("before", [b"IDAT", b"IEND"])
@pytest.mark.parametrize("count", [50_000, 1_500_000])
def test_many_chunks_of_a_png_take_no_time(before, count):
    data, chunk = saved("PNG"), b"\0\0\0\0vpAg" + struct.pack(">I", zlib.crc32(b"vpAg"))
    at = data.index(before) - 4
    many = data[:at] + chunk * count + data[at:]
    began = time.process_time()
    try:
        assert (pixels(many) == pixels(data)).all()
    except decode.NotAPicture:
        assert before == b"IDAT" and count == 1_500_000
    assert time.process_time() - began < 3
