"""What is made of a picture file: upright RGB pixels, whatever its format."""

import io
import sys
import time
import traceback

import numpy as np
import pytest
from helpers.databases import rows
from helpers.files import (
    COLOURS,
    HEIC,
    SIZE,
    assert_same,
    embedded,
    exif_of,
    folder_of_quarters,
    quarters,
    row,
    thumbnail,
)
from helpers.needs import needed
from PIL import Image, PngImagePlugin, features

from datasette_imgsim.ingest import decode, opening

# What has to be done to an upright picture so that EXIF's orientation puts it right.
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


FORMATS = {
    "a.jpg": ("JPEG", {"quality": 95}),
    "a.jpeg": ("JPEG", {"quality": 95, "progressive": True}),
    "a.JPG": ("JPEG", {"quality": 95}),
    "a.webp": ("WEBP", {"quality": 95}),
    "a.png": ("PNG", {}),
    "a.gif": ("GIF", {}),
    "a.tif": ("TIFF", {}),
    "a.tiff": ("TIFF", {"compression": "tiff_lzw"}),
    "a.bmp": ("BMP", {}),
    "a.avif": ("AVIF", {"quality": 95}),
}


@pytest.fixture
def folder(tmp_path, toy):
    """A folder whose images/plain.png is `quarters()`."""
    return folder_of_quarters(tmp_path)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_read(folder, name):
    kind, options = FORMATS[name]
    if kind == "AVIF":
        needed(features.check("avif"), "AVIF for Pillow")
    quarters().save(folder / "images" / name, kind, **options)
    database = embedded(folder)
    assert_same(database, name)
    assert row(database, name, "width, height, format") == (*SIZE, kind)


def test_heic_is_read(folder):
    pytest.importorskip("pi_heif")
    (folder / "images/a.heic").write_bytes(HEIC)
    database = embedded(folder)
    assert_same(database, "a.heic")
    assert row(database, "a.heic", "width, height, format, camera") == (*SIZE, "HEIF", "Toy")


def test_a_film_that_is_called_a_picture_is_not_read_whole(tmp_path):
    film = tmp_path / "film.heic"
    with film.open("wb") as file:
        file.write(b"\0\0\0\x20ftypisom\0\0\2\0isomiso2mp41" + bytes(8))
        file.truncate(20_000_000_000)  # more than there is memory
    with film.open("rb") as file, pytest.raises(decode.NotAPicture, match="not a picture"):
        decode.decode(file, 8)


def test_heic_without_its_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    monkeypatch.setattr(opening, "heif_opener", opening.heif_opener.__wrapped__)
    with pytest.raises(decode.NotAPicture, match="need a package: pip install pi-heif"):
        decode.decode(io.BytesIO(HEIC), 8)


def test_a_wrong_extension_does_not_matter(folder):
    quarters().save(folder / "images/a.png", "JPEG", quality=95)
    database = embedded(folder)
    assert_same(database, "a.png")
    assert row(database, "a.png", "format") == "JPEG"


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_frame_of_an_animation_counts(folder, kind):
    name = f"a.{kind.lower()}"
    more = [Image.new("RGB", SIZE, colour) for colour in ("black", "white")]
    lossless = {"lossless": True} if kind == "WEBP" else {}
    quarters().save(folder / "images" / name, kind, save_all=True, append_images=more, **lossless)
    assert_same(embedded(folder), name)


def grey():
    return quarters().convert("L")


def with_hole(mode):
    """The quarters, the first of them transparent, in a mode with alpha."""
    image = quarters().convert(mode)
    alpha = Image.new("L", SIZE, 255)
    alpha.paste(0, (0, 0, SIZE[0] // 2, SIZE[1] // 2))
    image.putalpha(alpha)
    return image


def over_white(image):
    white = Image.new("RGBA", SIZE, "white")
    return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")


def sixteen_bits():
    return Image.fromarray(np.asarray(grey(), np.uint16) * 257)


def palette(hole=None):
    image = Image.new("P", SIZE)
    image.putpalette([value for colour in COLOURS for value in colour])
    for number in range(4):
        left, top = 32 * (number % 2), 24 * (number // 2)
        image.paste(number, (left, top, left + 32, top + 24))
    return image


def floating(scale):
    return Image.fromarray(np.asarray(grey(), np.float32) * scale)


# name: (picture to save, options, what it looks like)
MODES = {
    "grey.png": (grey, {}, grey),
    "grey.jpg": (grey, {"quality": 95}, grey),
    "black-and-white.png": (
        lambda: quarters().convert("1"), {}, lambda: quarters().convert("1").convert("L")
    ),
    "palette.png": (palette, {}, quarters),
    "palette-hole.png": (palette, {"transparency": 0}, lambda: over_white(with_hole("RGB"))),
    "palette-alpha.png": (
        palette, {"transparency": b"\x00\xff\xff\xff"}, lambda: over_white(with_hole("RGB"))
    ),
    "palette-hole.gif": (palette, {"transparency": 0}, lambda: over_white(with_hole("RGB"))),
    "colour-key.png": (
        quarters, {"transparency": COLOURS[0]}, lambda: over_white(with_hole("RGB"))
    ),
    "la.png": (lambda: with_hole("L"), {}, lambda: over_white(with_hole("L"))),
    "rgba.png": (lambda: with_hole("RGB"), {}, lambda: over_white(with_hole("RGB"))),
    "rgba.webp": (lambda: with_hole("RGB"), {"lossless": True},
                  lambda: over_white(with_hole("RGB"))),
    "rgba.tif": (lambda: with_hole("RGB"), {}, lambda: over_white(with_hole("RGB"))),
    "cmyk.jpg": (lambda: quarters().convert("CMYK"), {"quality": 95}, quarters),
    "cmyk.tif": (lambda: quarters().convert("CMYK"), {}, quarters),
    "16.png": (sixteen_bits, {}, grey),
    "16.tif": (sixteen_bits, {}, grey),
    "32.tif": (lambda: sixteen_bits().convert("I"), {}, grey),
    "float-to-1.tif": (lambda: floating(1 / 255), {}, grey),
    "float-to-255.tif": (lambda: floating(1), {}, grey),
}  # fmt: skip


@pytest.mark.parametrize("name", MODES)
def test_every_mode_becomes_rgb(folder, name):
    make, options, looks = MODES[name]
    make().save(folder / "images" / name, **options)
    looks().convert("RGB").save(folder / "images/expected.bmp")
    assert_same(embedded(folder), name, other="expected.bmp")


@pytest.mark.parametrize("kind", ["jpg", "png", "tif", "avif"])
def test_every_orientation_is_put_right(folder, kind):
    if kind == "avif":
        needed(features.check("avif"), "AVIF for Pillow")
    quality = {"quality": 95} if kind != "png" else {}
    for orientation, turn in STORED.items():
        image = quarters() if turn is None else quarters().transpose(turn)
        file = folder / f"images/{orientation}.{kind}"
        image.save(file, exif=exif_of(Orientation=orientation), **quality)
    database = embedded(folder)
    for orientation in STORED:
        assert_same(database, f"{orientation}.{kind}")
        assert row(database, f"{orientation}.{kind}", "width, height") == SIZE


@pytest.mark.parametrize(
    "resize, size, expected",
    [("squash", (128, 64), "quarters"), ("crop", (128, 64), "middle"), ("pad", (128, 64), "bars")],
)
def test_how_a_picture_becomes_a_square(folder, resize, size, expected):
    image = quarters(size)
    image.save(folder / "images/a.png")
    square = {
        "quarters": image.resize((64, 64)),
        "middle": image.crop((32, 0, 96, 64)),
        "bars": Image.new("RGB", (128, 128), "white"),
    }[expected]
    if expected == "bars":
        square.paste(image, (0, 32))
    square.save(folder / "images/square.png")
    # Where a bar ends, scaling smears the colours of `square`.
    assert_same(embedded(folder, "--resize", resize), "a.png", 0.99, other="square.png")


@pytest.mark.parametrize("resize", ["squash", "crop", "pad"])
@pytest.mark.parametrize("size", [(1, 1), (20000, 1), (1, 20000)])
def test_extreme_shapes(folder, size, resize):
    Image.new("RGB", size, "red").save(folder / "images/a.png")
    database = embedded(folder, "--resize", resize)
    assert row(database, "a.png", "width, height") == size
    assert max(thumbnail(database, "a.png").size) == min(256, max(size))
    assert rows(database, "select count(*) from imgsim_failures") == [0]


def test_a_large_photo_gives_the_same_as_a_small_one(folder):
    """JPEG is decoded scaled down where that loses nothing."""
    quarters((3200, 2400)).save(folder / "images/a.jpg", quality=95)
    database = embedded(folder)
    assert_same(database, "a.jpg")
    assert row(database, "a.jpg", "width, height") == (3200, 2400)


def test_a_damaged_heic_ends_no_process():
    pytest.importorskip("pi_heif")
    damaged = bytearray(HEIC)
    damaged[HEIC.index(b"Exif")] = 0x8F
    assert decode.decode(io.BytesIO(damaged), 8).facts.width == SIZE[0]


def test_a_heic_of_overlapping_items_is_refused_at_once():
    """Each of 300,000 items claims all that follows: looking at that would take hours."""
    pytest.importorskip("pi_heif")
    start = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"
    items = (b"\x7f\x7f\x7f\x7finfe\x02" + b"A" * 7) * 300_000
    began = time.process_time()
    with pytest.raises(decode.NotAPicture, match="damaged"):
        decode.decode(io.BytesIO(start + items), 8)
    assert time.process_time() - began < 5


def saved(image, kind, **options):
    """A picture file in memory."""
    if kind == "AVIF":
        needed(features.check("avif"), "AVIF for Pillow")
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("brand", [b"avif", b"mif1", b"miaf", b"MA1B"])
def test_avif_is_known_by_any_of_its_brands(brand):
    data = saved(quarters(), "AVIF").replace(b"ftypavif", b"ftyp" + brand, 1)
    assert decode.decode(io.BytesIO(data), 8).facts.format == "AVIF"


@pytest.mark.parametrize("brand", [b"heic", b"mif1", b"miaf", b"MiHE"])
def test_heic_is_known_by_any_of_its_brands(brand):
    pytest.importorskip("pi_heif")
    data = HEIC.replace(b"ftypheic", b"ftyp" + brand, 1)
    assert decode.decode(io.BytesIO(data), 8).facts.format == "HEIF"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF"])
@pytest.mark.parametrize("kept", [16, 24])
def test_a_damaged_picture_is_not_called_something_else(kind, kept):
    damaged = saved(quarters(), kind)[:kept] + bytes(200)
    with pytest.raises(decode.NotAPicture, match="damaged, cut off, or of a kind that cannot be"):
        decode.decode(io.BytesIO(damaged), 8)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "TIFF", "BMP", "AVIF"])
@pytest.mark.filterwarnings("error")
def test_the_limit_of_pillow_is_neither_asked_nor_changed(kind, monkeypatch):
    data = saved(quarters(), kind)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert decode.decode(io.BytesIO(data), 8).facts.width == SIZE[0]
    with pytest.raises(decode.TooLarge, match="64 x 48 is 3,072 pixels, over the limit of 3,071"):
        decode.decode(io.BytesIO(data), 8, max_pixels=3_071)
    assert Image.MAX_IMAGE_PIXELS == 100


def test_a_refusal_holds_no_pixels():
    """What an exception holds is freed only when it is, which may be much later."""
    data = saved(quarters((640, 480)), "PNG")
    with pytest.raises(decode.NotAPicture) as caught:
        decode.decode(io.BytesIO(data[: len(data) // 2]), 8)
    held = [
        value
        for frame in traceback.walk_tb(caught.tb)
        for value in frame[0].f_locals.values()
        if isinstance(value, Image.Image)
    ]
    assert not held and not caught.value.__context__


def drawing(colour, shadow=0):
    """A cross on a transparent ground, with a few shades."""
    image = Image.new("RGBA", SIZE, (255, 255, 255, 0))
    image.paste(colour, (28, 4, 36, 44))
    image.paste(colour, (8, 20, 56, 28))
    pixels = np.array(image)
    pixels[24, 8:56, :3] -= np.uint8(shadow)
    return Image.fromarray(pixels)


@pytest.mark.parametrize(
    "image, ground",
    [
        (drawing("white"), 0),
        (drawing("white", shadow=20), 0),
        (drawing((245, 245, 250, 255)), 0),
        (drawing((255, 255, 255, 100)), 0),
        (drawing("black"), 255),
        (drawing("yellow"), 255),
        (drawing("grey"), 255),
        (with_hole("RGB"), 255),
        (Image.new("RGBA", SIZE, (255, 255, 255, 0)), 255),
        (Image.new("LA", SIZE, (255, 0)), 255),
    ],
)
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_the_ground_lets_what_is_visible_show(kind, image, ground):
    options = {"lossless": True} if kind == "WEBP" else {}
    found = decode.decode(io.BytesIO(saved(image, kind, **options)), 32)
    assert (found.pixels[0, 0] == ground).all()
    assert found.pixels.std() > 20 or not np.asarray(image)[..., -1].any()


XMP = b'<x xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/>'


def with_xmp(kind, **options):
    """A picture that only XMP calls turned."""
    if kind == "PNG":
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", XMP.decode())
    elif kind == "TIFF":
        options["tiffinfo"] = {700: XMP}
    else:
        options["xmp"] = XMP
    return saved(quarters(), kind, **options)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("tags", [{}, {"Make": "Leica"}, {"Orientation": 1}])
def test_xmp_turns_no_picture(kind, tags):
    options = {"exif": exif_of(**tags)} if tags and kind != "TIFF" else {}
    data = with_xmp(kind, **options)
    assert XMP in data
    found = decode.decode(io.BytesIO(data), 8)
    assert (found.facts.width, found.facts.height) == SIZE
    assert Image.open(io.BytesIO(found.thumbnail)).size == SIZE


def pages(*sizes):
    """A TIFF whose pages are grey, but the page of 120 x 90, which is `quarters()`."""
    images = [
        quarters(size) if size == (120, 90) else Image.new("RGB", size, "grey") for size in sizes
    ]
    return saved(images[0], "TIFF", save_all=True, append_images=images[1:])


@pytest.mark.parametrize(
    "data",
    [
        pages((40, 30), (120, 90)),
        pages((60, 45), (120, 90), (40, 30)),
        pages((30, 20), (60, 40), (120, 90)),
        pages((120, 90), (40, 30)),
        pages((120, 90), (121, 90)),
        pages((120, 90), (119, 91), (60, 45)),
        pages((120, 90), (120, 90), (120, 90)),
    ],
    ids=["thumbnail", "between", "pyramid", "large", "wider", "scans", "equal"],
)
def test_the_page_of_a_tiff_that_is_its_picture(data):
    found = decode.decode(io.BytesIO(data), 8)
    assert (found.facts.width, found.facts.height) == (120, 90)
    expected = decode.decode(io.BytesIO(saved(quarters((120, 90)), "PNG")), 8)
    assert (found.pixels == expected.pixels).all()


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_tiff_with_a_damaged_page_or_an_endless_chain_of_them():
    data = bytearray(pages((120, 90), (40, 30)))
    first = int.from_bytes(data[4:8], "little")
    last = first + 2 + 12 * int.from_bytes(data[first : first + 2], "little")
    for next_page in (first, len(data) - 3, 2**31):
        data[last : last + 4] = next_page.to_bytes(4, "little")
        assert decode.decode(io.BytesIO(data), 8).facts.width == 120
