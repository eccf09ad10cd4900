"""What is made of a picture file: upright RGB pixels, a thumbnail, what EXIF says."""

import base64
import io
import sys

import numpy as np
import pytest
from browsing import needed
from conftest import draw, embed_toy, rows
from PIL import ExifTags, Image, PngImagePlugin, features

from datasette_imgsim.ingest import decode

COLOURS = [(200, 30, 30), (30, 160, 40), (30, 40, 200), (240, 220, 40)]
SIZE = (64, 48)
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
# `quarters()` as HEIC, for which there is no encoder with a licence that suits the tests.
HEIC = base64.b64decode("""
AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAb5tZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAA
AAAAADRpbG9jAAAAAERAAAIAAQAAAAAB4gABAAAAAAAAAMoAAgAAAAACrAABAAAAAAAAACQAAAA4aWluZgAAAAAAAgAAABVp
bmZlAgAAAAABAABodmMxAAAAABVpbmZlAgAAAQACAABFeGlmAAAAAA5waXRtAAAAAAABAAAA/WlwcnAAAADdaXBjbwAAAHZo
dmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroCQGEAAQAqQgEBA3AAAAMAkAAA
AwAAAwAeoCCBBZbq5Ka5uAhoMCAAAAMDIAAAAwAhYgABAAZEAcFzwIkAAAATY29scm5jbHgAAQANAAaAAAAAFGlzcGUAAAAA
AAAAQAAAAEAAAAAoY2xhcAAAAEAAAAABAAAAMAAAAAEAAAAAAAAAAv////AAAAACAAAAEHBpeGkAAAAAAwgICAAAABhpcG1h
AAAAAAAAAAEAAQWBAgMFhAAAABppcmVmAAAAAAAAAA5jZHNjAAIAAQABAAAA9m1kYXQAAADGKAGvCeAhOKn/8zxv/vydl7TH
J5Wnv1j//A8PvKff/gnbdH6PE8w7tI/nD/+VAWtkZIwv/41WX2FULLIIAZ0XXXegTwiWc2Mluv2Ex5qXuE/gZom/ld/nlCT6
SOFQwnK7eHUivrPc42drpDFpz7qKQdeR99TfytNdfAoKADlYWKt7xxuKfpjcXempLO7LJUpJPlbmHvmlLXM5AAI7H/+IupHj
He5/Dm9IUYxqbiSFmphGT5ZTSo/1+tfEopZSHwdHYBF7+C8gAAAABkV4aWYAAE1NACoAAAAIAAEBEAACAAAABFRveQAAAAAA
""")


def quarters(size=SIZE):
    """Four colours, so that every turn and mirror image differs."""
    width, height = size[0] // 2, size[1] // 2
    image = Image.new("RGB", size)
    for number, colour in enumerate(COLOURS):
        left, top = width * (number % 2), height * (number // 2)
        image.paste(colour, (left, top, left + width, top + height))
    return image


def embed(folder, *options):
    embed_toy(folder, *options)
    return folder / "photos.db"


def vectors(database):
    """File name -> vector."""
    sql = "select path, vector from images join imgsim_vectors on image_id = images.id"
    return {path.split("/")[-1]: np.frombuffer(blob, "<f4") for path, blob in rows(database, sql)}


def row(database, name, columns):
    (found,) = rows(database, f"select {columns} from images where path like ?", f"%{name}")
    return found


@pytest.fixture
def folder(tmp_path, toy):
    """A folder whose images/plain.png is `quarters()`."""
    (tmp_path / "images").mkdir()
    quarters().save(tmp_path / "images/plain.png")
    return tmp_path


def assert_same(database, name, closeness=0.9995, other="plain.png"):
    found = vectors(database)
    assert found[name] @ found[other] > closeness


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


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_read(folder, name):
    kind, options = FORMATS[name]
    if kind == "AVIF":
        needed(features.check("avif"), "AVIF for Pillow")
    quarters().save(folder / "images" / name, kind, **options)
    database = embed(folder)
    assert_same(database, name)
    assert row(database, name, "width, height, format") == (*SIZE, kind)


def test_heic_is_read(folder):
    pytest.importorskip("pi_heif")
    (folder / "images/a.heic").write_bytes(HEIC)
    database = embed(folder)
    assert_same(database, "a.heic")
    assert row(database, "a.heic", "width, height, format, camera") == (*SIZE, "HEIF", "Toy")


def test_a_film_that_is_called_a_picture_is_not_read_whole(tmp_path):
    film = tmp_path / "film.heic"
    with film.open("wb") as file:
        file.write(b"\0\0\0\x20ftypisom\0\0\2\0isomiso2mp41" + bytes(8))
        file.truncate(20_000_000_000)  # more than there is memory
    with film.open("rb") as file, pytest.raises(decode.NotAPicture, match="not a picture"):
        decode.decode(file, 8)


def test_heic_without_its_package_says_what_to_install(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    monkeypatch.setattr(decode, "_heif", decode._heif.__wrapped__)
    (folder / "images/a.heic").write_bytes(HEIC)
    database = embed(folder)
    assert rows(database, "select error from imgsim_failures") == [
        "HEIC pictures need a package: pip install pi-heif"
    ]


def test_a_wrong_extension_does_not_matter(folder):
    quarters().save(folder / "images/a.png", "JPEG", quality=95)
    database = embed(folder)
    assert_same(database, "a.png")
    assert row(database, "a.png", "format") == "JPEG"


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_frame_of_an_animation_counts(folder, kind):
    name = f"a.{kind.lower()}"
    more = [Image.new("RGB", SIZE, colour) for colour in ("black", "white")]
    lossless = {"lossless": True} if kind == "WEBP" else {}
    quarters().save(folder / "images" / name, kind, save_all=True, append_images=more, **lossless)
    assert_same(embed(folder), name)


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
    assert_same(embed(folder), name, other="expected.bmp")


def exif_of(**tags):
    exif = Image.Exif()
    for name, value in tags.items():
        exif[ExifTags.Base[name]] = value
    return exif


@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "tif", "avif"])
def test_every_orientation_is_put_right(folder, kind):
    if kind == "avif":
        needed(features.check("avif"), "AVIF for Pillow")
    quality = {"quality": 95} if kind != "png" else {}
    for orientation, turn in STORED.items():
        image = quarters() if turn is None else quarters().transpose(turn)
        file = folder / f"images/{orientation}.{kind}"
        image.save(file, exif=exif_of(Orientation=orientation), **quality)
    database = embed(folder)
    for orientation in STORED:
        assert_same(database, f"{orientation}.{kind}")
        assert row(database, f"{orientation}.{kind}", "width, height") == SIZE


def test_thumbnails_are_upright(folder):
    image = quarters((640, 480)).transpose(STORED[6])
    image.save(folder / "images/a.jpg", quality=95, exif=exif_of(Orientation=6))
    assert_same_colours(thumbnail(embed(folder), "a.jpg"), quarters((256, 192)))


def assert_same_colours(image, expected):
    assert image.size == expected.size
    difference = np.asarray(image, int) - np.asarray(expected, int)
    assert np.abs(difference).mean() < 4


def thumbnail(database, name):
    sql = "select jpeg from imgsim_thumbnails join images on id = image_id where path like ?"
    (jpeg,) = rows(database, sql, f"%{name}")
    return Image.open(io.BytesIO(jpeg))


def test_exif_fills_the_columns(folder):
    exif = exif_of(Make="Leica", Model="M6 ", DateTime="2001:02:03 04:05:06")
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = "1999:12:31 23:59:59"
    draw(folder / "images/a.jpg", exif=exif)
    database = embed(folder)
    assert row(database, "a.jpg", "taken_at, camera") == ("1999-12-31T23:59:59", "Leica M6")
    assert row(database, "plain.png", "taken_at, camera") == (None, None)


@pytest.mark.parametrize(
    "tags, expected",
    [
        ({"Make": "NIKON", "Model": "NIKON D70"}, (None, "NIKON D70")),
        ({"Model": "X"}, (None, "X")),
        ({"DateTime": "2001:02:03 04:05:06"}, ("2001-02-03T04:05:06", None)),
        ({"DateTime": "0000:00:00 00:00:00"}, (None, None)),
        ({"DateTime": "yesterday", "Make": "\x00\x00"}, (None, None)),
        ({"Orientation": 99}, (None, None)),
    ],
)
def test_odd_exif(folder, tags, expected):
    draw(folder / "images/a.jpg", exif=exif_of(**tags))
    assert row(embed(folder), "a.jpg", "taken_at, camera") == expected


def place(latitude, north, longitude, east):
    exif = exif_of(Model="X")
    names = ExifTags.GPS
    exif.get_ifd(ExifTags.IFD.GPSInfo).update({
        names.GPSLatitudeRef: north, names.GPSLatitude: latitude,
        names.GPSLongitudeRef: east, names.GPSLongitude: longitude,
    })  # fmt: skip
    return exif


SYDNEY = place((33.0, 51.0, 36.0), "S", (151.0, 12.0, 36.0), "E")


def test_places_are_stored_only_with_gps(folder):
    draw(folder / "images/a.jpg", exif=SYDNEY)
    assert row(embed(folder), "a.jpg", "latitude, longitude") == (None, None)
    draw(folder / "images/b.jpg", seed=1, exif=SYDNEY)
    latitude, longitude = row(embed(folder, "--gps"), "b.jpg", "latitude, longitude")
    assert (latitude, longitude) == pytest.approx((-33.86, 151.21))
    # Neither does a copy of a picture bring its place along.
    (folder / "images/c.jpg").write_bytes((folder / "images/b.jpg").read_bytes())
    assert row(embed(folder), "c.jpg", "latitude, longitude") == (None, None)
    assert row(embed(folder), "b.jpg", "latitude") == latitude


@pytest.mark.parametrize(
    "exif",
    [
        place((133.0, 0.0, 0.0), "N", (10.0, 0.0, 0.0), "E"),
        place((10.0, 0.0, 0.0), "N", (1.0, 0.0), "E"),
    ],
)
def test_impossible_places_stay_empty(folder, exif):
    draw(folder / "images/a.jpg", exif=exif)
    assert row(embed(folder, "--gps"), "a.jpg", "latitude, longitude") == (None, None)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_damaged_exif_does_not_cost_the_picture(kind):
    good = exif_of(Make="Leica", DateTime="2001:02:03 04:05:06", Orientation=1)
    good.get_ifd(ExifTags.IFD.GPSInfo).update(SYDNEY.get_ifd(ExifTags.IFD.GPSInfo))
    good.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = "2000:01:01 00:00:00"
    random = np.random.default_rng(0)
    for number in range(200):
        damaged = bytearray(good.tobytes())
        for place in random.integers(6, len(damaged), 1 + number % 3):
            damaged[place] = random.integers(256)
        buffer = io.BytesIO()
        quarters().save(buffer, kind, exif=bytes(damaged))
        buffer.seek(0)
        assert decode.decode(buffer, 8).pixels.shape == (8, 8, 3)


def test_a_damaged_heic_ends_no_process():
    pytest.importorskip("pi_heif")
    damaged = bytearray(HEIC)
    damaged[HEIC.index(b"Exif")] = 0x8F
    with pytest.raises(decode.NotAPicture, match="damaged"):
        decode.decode(io.BytesIO(damaged), 8)


def test_thumbnails_fit_and_are_never_enlarged(folder):
    for name, size in {"wide": (500, 100), "tall": (100, 500), "small": (30, 20)}.items():
        draw(folder / f"images/{name}.jpg", size=size)
    database = embed(folder, "--thumbnail-size", 64)
    assert thumbnail(database, "wide.jpg").size == (64, 13)
    assert thumbnail(database, "tall.jpg").size == (13, 64)
    assert thumbnail(database, "small.jpg").size == (30, 20)


SECRET = b"the secret place"


@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "gif", "tif"])
def test_thumbnails_carry_no_metadata(folder, kind):
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", SECRET.decode())
    options = {
        "jpg": {"comment": SECRET, "xmp": SECRET, "icc_profile": SECRET * 10},
        "png": {"pnginfo": text, "icc_profile": SECRET * 10},
        "webp": {"xmp": SECRET, "icc_profile": SECRET * 10},
        "gif": {"comment": SECRET},
        "tif": {"description": SECRET.decode()},
    }[kind]
    if kind != "gif":
        options["exif"] = exif_of(ImageDescription=SECRET.decode())
    draw(folder / f"images/a.{kind}", **options)
    assert SECRET in (folder / f"images/a.{kind}").read_bytes() or kind == "png"
    found = thumbnail(embed(folder), f"a.{kind}")
    assert not found.getexif()
    assert found.info.keys() <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}


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
    assert_same(embed(folder, "--resize", resize), "a.png", 0.99, other="square.png")


@pytest.mark.parametrize("resize", ["squash", "crop", "pad"])
@pytest.mark.parametrize("size", [(1, 1), (20000, 1), (1, 20000)])
def test_extreme_shapes(folder, size, resize):
    Image.new("RGB", size, "red").save(folder / "images/a.png")
    database = embed(folder, "--resize", resize)
    assert row(database, "a.png", "width, height") == size
    assert max(thumbnail(database, "a.png").size) == min(256, max(size))
    assert rows(database, "select count(*) from imgsim_failures") == [0]


def test_a_large_photo_gives_the_same_as_a_small_one(folder):
    """JPEG is decoded scaled down where that loses nothing."""
    quarters((3200, 2400)).save(folder / "images/a.jpg", quality=95)
    database = embed(folder)
    assert_same(database, "a.jpg")
    assert row(database, "a.jpg", "width, height") == (3200, 2400)
