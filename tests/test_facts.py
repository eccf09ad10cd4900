"""What its metadata says of a picture: time, camera and, if asked for, place."""

import io

import numpy as np
import pytest
from helpers.files import embedded, exif_of, folder_of_quarters, place, quarters, raw_place, row
from helpers.pictures import as_jpeg, draw, with_iptc, xmp
from PIL import ExifTags, PngImagePlugin, TiffImagePlugin

from datasette_imgsim.ingest import decode, facts
from datasette_imgsim.limits import LIMITS


def facts_of(file=None, kind="JPEG", **options):
    """The facts of a picture file, or of one that is saved with these options."""
    buffer = io.BytesIO(file or b"")
    if file is None:
        quarters().save(buffer, kind, **options)
    buffer.seek(0)
    with decode.open_image(buffer, 10**6, lambda needed: None) as image:
        return facts.read_facts(image, orientation=1)


@pytest.fixture
def folder(tmp_path, toy):
    """A folder whose images/plain.png is `quarters()`."""
    return folder_of_quarters(tmp_path)


def test_exif_fills_the_columns(folder):
    exif = exif_of(Make="Leica", Model="M6 ", DateTime="2001:02:03 04:05:06")
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = "1999:12:31 23:59:59"
    draw(folder / "images/a.jpg", exif=exif)
    database = embedded(folder)
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
    assert row(embedded(folder), "a.jpg", "taken_at, camera") == expected


@pytest.mark.parametrize(
    "make, model, expected",
    [
        ("NIKON CORPORATION", "NIKON D70", "NIKON D70"),
        ("NIKON", "Nikon D70", "Nikon D70"),
        ("samsung", "SAMSUNG-SM-G900A", "SAMSUNG-SM-G900A"),
        ("EASTMAN KODAK COMPANY", "KODAK EASYSHARE", "KODAK EASYSHARE"),
        ("HTC", "HTC6525LVW", "HTC6525LVW"),
        ("Canon", "Canon", "Canon"),
        ("Canon", "", "Canon"),
        ("", "M6", "M6"),
        ("Leica", "M6", "Leica M6"),
        ("FUJIFILM", "FinePix", "FUJIFILM FinePix"),
        ("?", "!", "? !"),
        ("Änécó".encode(), "Ω 1".encode(), "Änécó Ω 1"),
        ("Änécó".encode("latin-1"), "X", "Änécó X"),
        ("Änécó\0".encode() + b"\xff\xfe", b"\0M6", "Änécó M6"),
        (b"Leica\0\xff\xfe", b"\0M6\0\0", "Leica M6"),
        ("Le\x1bica\r\n", "M\t6 \x85", "Leica M 6"),
        ("Leica\u202e".encode(), "M6\ufeff".encode(), "Leica M6"),
        ("A" * 5000, "B", "A" * 100),
        ("A", "é" * 5000, "A " + "é" * 98),
        (b"\0\0", b" ", None),
    ],
)
def test_names_of_cameras(make, model, expected):
    # Pillow writes "?" for what is not ASCII, unless it gets bytes.
    make, model = (t.encode("latin-1") if isinstance(t, str) else t for t in (make, model))
    assert facts_of(exif=exif_of(Make=make, Model=model)).camera == expected


@pytest.mark.parametrize(
    "tags, expected",
    [({}, "Änécó Ω"), ({"Model": "M6"}, "Änécó M6"), ({"Make": "A", "Model": "B"}, "A B")],
)
def test_a_camera_of_xmp(tags, expected):
    packet = xmp('tiff:Make="Änécó" tiff:Model="Ω"')
    assert facts_of(exif=exif_of(**tags), xmp=packet).camera == expected


def detailed(**tags):
    """EXIF with these tags in its detail directory, beside DateTime in the main one."""
    exif = exif_of(**{name: tags.pop(name) for name in ("DateTime", "Model") if name in tags})
    exif.get_ifd(ExifTags.IFD.Exif).update({ExifTags.Base[n]: v for n, v in tags.items()})
    return exif


MORNING = "2015-08-22T10:08:19"


@pytest.mark.parametrize(
    "written, expected",
    [
        ("2015:08:22 10:08:19", MORNING),
        ("2015:08:22 10:08:19\0", MORNING),
        ("2015:08:22 10:08:19\0 1999", MORNING),
        ("2015-08-22T10:08:19", MORNING),
        ("2015-08-22 10:08:19", MORNING),
        ("2015/08/22 10:08:19", MORNING),
        ("2015-08-22 10-08-19", MORNING),
        ("2015:08:22T10:08:19", MORNING),
        ("2015: 8:22 10:08:19", MORNING),
        ("20150822T100819", MORNING),
        ("2015:08:22  10:08:19", MORNING),
        ("2015:08:22 10:08:19.25", MORNING),
        ("2015-08-22T10:08:19Z", MORNING),
        ("2015-08-22T10:08:19.250+02:00", MORNING),
        ("2015:08:22 10:08:19-0500", MORNING),
        ("2015:08:22 10:08", "2015-08-22T10:08:00"),
        ("2015-08-22T10:08+02:00", "2015-08-22T10:08:00"),
        ("2015:08:22 10:08:  ", "2015-08-22T10:08:00"),
        ("2015:08:22", "2015-08-22"),
        ("2015:08:22   :  :  ", "2015-08-22"),
        ("2015:08:22 24:08:19", "2015-08-22T00:08:19"),
        ("2015:08:22 03:08:19 PM", "2015-08-22T15:08:19"),
        ("2015:08:22 3:08:19pm", "2015-08-22T15:08:19"),
        ("2015:08:22 10:08:19 a.m.", MORNING),
        ("2015:08:22 12:08:19 AM", "2015-08-22T00:08:19"),
        ("2015:08:22 12:08:19 PM", "2015-08-22T12:08:19"),
        ("2015:08:22 15:08:19 PM", "2015-08-22T15:08:19"),
        ("    :  :     :  :  ", None),
        ("0000:00:00 00:00:00", None),
        ("2015:02:30 10:08:19", None),
        ("2015:08:22 25:08:19", None),
        ("2015:08:22 10:08:61", None),
        ("2015:08:22 10:08:19 in the evening", None),
        ("22/08/2015 10:08:19", None),
        ("2015", None),
        ("\u0662\u0660", None),
        ("", None),
        (1440238099, None),
    ],
)
def test_forms_of_a_time(written, expected):
    if isinstance(written, str):
        written = written.encode("latin-1", "replace")
    assert facts_of(exif=detailed(DateTimeOriginal=written)).taken_at == expected


@pytest.mark.parametrize(
    "tags, expected",
    [
        ({"DateTimeDigitized": "2015:08:22 10:08:19"}, MORNING),
        (
            {
                "DateTimeOriginal": "2015:08:22 10:08:19",
                "DateTimeDigitized": "2016:01:01 00:00:00",
                "DateTime": "2017:01:01 00:00:00",
            },
            MORNING,
        ),
        (
            {"DateTimeDigitized": "2015:08:22 10:08:19", "DateTime": "2017:01:01 00:00:00"},
            MORNING,
        ),
        ({"DateTimeOriginal": "    :  :     :  :  ", "DateTime": "2015:08:22 10:08:19"}, MORNING),
        (
            {"DateTimeOriginal": "0000:00:00 00:00:00", "DateTimeDigitized": "2015:08:22 10:08:19"},
            MORNING,
        ),
        ({"DateTimeOriginal": "gone", "DateTimeDigitized": "too", "DateTime": "no"}, None),
    ],
)
def test_a_time_that_is_no_time_does_not_hide_the_next(tags, expected):
    assert facts_of(exif=detailed(**tags)).taken_at == expected


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_a_time_of_xmp(kind):
    packet = xmp('exif:DateTimeOriginal="2015-08-22T10:08:19.5+02:00"')
    options = {"xmp": packet}
    if kind == "PNG":
        info = PngImagePlugin.PngInfo()
        info.add_itxt("XML:com.adobe.xmp", packet.decode())
        options = {"pnginfo": info}
    if kind == "TIFF":
        options = {"tiffinfo": {700: packet}}
    assert facts_of(kind=kind, **options).taken_at == MORNING


@pytest.mark.parametrize(
    "packet, expected",
    [
        (
            xmp(elements="<exif:DateTimeOriginal>2015-08-22T10:08:19</exif:DateTimeOriginal>"),
            MORNING,
        ),
        (xmp('photoshop:DateCreated="2015-08-22T10:08:19" xmp:CreateDate="2016-01-01"'), MORNING),
        (xmp('exif:DateTimeDigitized="2015-08-22T10:08:19"'), MORNING),
        (xmp('xmp:CreateDate="2015-08-22"'), "2015-08-22"),
        (xmp('exif:DateTimeOriginal="" xmp:CreateDate="2015-08-22"'), "2015-08-22"),
        (xmp('xmp:CreateDate="2015-08"'), None),
        (xmp('xmp:ModifyDate="2015-08-22T10:08:19"'), None),
        (xmp(beside="<xmp:CreateDate>2015-08-22</xmp:CreateDate>"), None),
        (xmp('xmp:CreateDate="2015-08-22"')[:-50], None),
        (
            b'<!DOCTYPE x [<!ENTITY d "2015-08-22">]>'
            + xmp('xmp:CreateDate="&d;"').partition(b"?>")[2],
            None,
        ),
        (b"", None),
    ],
)
def test_times_of_xmp(packet, expected):
    assert facts_of(exif=detailed(DateTime=" "), xmp=packet).taken_at == expected


def test_a_long_packet_of_xmp_is_not_read(monkeypatch):
    packet = xmp('xmp:CreateDate="2015-08-22"')
    monkeypatch.setattr(LIMITS, "bytes_of_xmp", len(packet))
    assert facts_of(kind="WEBP", xmp=packet).taken_at == "2015-08-22"
    assert facts_of(kind="WEBP", xmp=packet + b" ").taken_at is None


@pytest.mark.parametrize(
    "records, expected",
    [
        ({"r55": "20150822", "r60": "100819+0200"}, MORNING),
        ({"r55": "20150822"}, "2015-08-22"),
        ({"r62": "20150822", "r63": "100819"}, MORNING),
        ({"r55": "00000000", "r62": "20150822", "r63": "100819"}, MORNING),
        ({"r60": "100819"}, None),
        ({"r55": "tomorrow"}, None),
    ],
)
def test_times_of_iptc(records, expected):
    assert facts_of(with_iptc(as_jpeg(quarters()), **records)).taken_at == expected


def test_a_time_of_iptc_in_tiff():
    info = TiffImagePlugin.ImageFileDirectory_v2()
    info[33723] = b"\x1c\x02\x37\0\x08" + b"20150822"
    info.tagtype[33723] = 7
    assert facts_of(kind="TIFF", tiffinfo=info).taken_at == "2015-08-22"


def test_exif_comes_before_xmp_and_xmp_before_iptc():
    packet, old = xmp('xmp:CreateDate="2015-08-22"'), {"r55": "20140101"}
    exif = detailed(DateTimeOriginal="2016:01:01 10:00:00")
    assert facts_of(with_iptc(as_jpeg(quarters(), xmp=packet), **old)).taken_at == "2015-08-22"
    assert facts_of(exif=exif, xmp=packet).taken_at == "2016-01-01T10:00:00"


SYDNEY = place((33.0, 51.0, 36.0), "S", (151.0, 12.0, 36.0), "E")


def test_places_are_stored_only_with_gps(folder):
    draw(folder / "images/a.jpg", exif=SYDNEY)
    assert row(embedded(folder), "a.jpg", "latitude, longitude") == (None, None)
    draw(folder / "images/b.jpg", seed=1, exif=SYDNEY)
    latitude, longitude = row(embedded(folder, "--gps"), "b.jpg", "latitude, longitude")
    assert (latitude, longitude) == pytest.approx((-33.86, 151.21))
    # Neither does a copy of a picture bring its place along.
    (folder / "images/c.jpg").write_bytes((folder / "images/b.jpg").read_bytes())
    assert row(embedded(folder), "c.jpg", "latitude, longitude") == (None, None)
    assert row(embedded(folder), "b.jpg", "latitude") == latitude


SOUTH, EAST = (33.0, 51.0, 36.0), (151.0, 12.0, 36.0)
HERE, WEST, NOWHERE = (-33.86, 151.21), (-33.86, -151.21), (None, None)
NAN = float("nan")


@pytest.mark.parametrize(
    "written, expected",
    [
        ((SOUTH, "S", EAST, "E"), HERE),
        ((SOUTH, "s", EAST, "e"), HERE),
        ((SOUTH, "s", EAST, "w"), WEST),
        ((SOUTH, "South", EAST, "WEST"), WEST),
        ((SOUTH, "Süd", EAST, "ouest"), NOWHERE),
        ((SOUTH, " S\0", EAST, "E\0 "), HERE),
        ((SOUTH, "N", EAST, "E"), (33.86, 151.21)),
        (((33.0, 51.6), "S", (151.0, 12.6), "E"), HERE),
        (((33.0, 51.6, 0.0), "S", (151.0, 12.6, 0.0), "E"), HERE),
        ((33.86, "S", 151.21, "E"), HERE),
        (((33.86, 0.0, 0.0), "S", (151.21, 0.0, 0.0), "E"), HERE),
        (("33.86", "S", "151 12 36", "E"), HERE),
        (((-33.0, 51.0, 36.0), "S", EAST, "E"), HERE),
        (((-33.0, -51.0, -36.0), "S", (-151.0, 12.0, 36.0), ""), WEST),
        (((0.0, -30.0, 0.0), "", EAST, "E"), (-0.5, 151.21)),
        ((-33.86, "", -151.21, ""), WEST),
        ((0.0, "N", EAST, "E"), (0.0, 151.21)),
        ((90.0, "S", 180.0, "E"), (-90.0, 180.0)),
        ((-33.86, "N", 151.21, "E"), NOWHERE),
        ((SOUTH, "", EAST, ""), NOWHERE),
        ((SOUTH, "?", EAST, "E"), NOWHERE),
        ((SOUTH, "E", EAST, "S"), NOWHERE),
        (((33.0, -51.0, 36.0), "S", EAST, "E"), NOWHERE),
        (((0.0, 0.0, 0.0), "N", (0.0, 0.0, 0.0), "E"), NOWHERE),
        ((0.0, "S", 0.0, "W"), NOWHERE),
        (((133.0, 0.0, 0.0), "N", EAST, "E"), NOWHERE),
        (((90.0, 0.0, 1.0), "N", EAST, "E"), NOWHERE),
        ((SOUTH, "S", 180.1, "E"), NOWHERE),
        (((33.0, 61.0, 0.0), "S", EAST, "E"), NOWHERE),
        (((33.0, 51.0, NAN), "S", EAST, "E"), NOWHERE),
        ((NAN, "S", EAST, "E"), NOWHERE),
        (((33.0, 51.0, 36.0, 1.0), "S", EAST, "E"), NOWHERE),
        (("somewhere", "S", EAST, "E"), NOWHERE),
        (("", "S", EAST, "E"), NOWHERE),
        ((None, "S", EAST, "E"), NOWHERE),
    ],
)
def test_forms_of_a_place(written, expected):
    found = facts_of(exif=raw_place(*written))
    assert (found.latitude, found.longitude) == pytest.approx(expected)


@pytest.mark.parametrize("status, known", [("A", True), ("V", False), ("v", False), ("", True)])
def test_a_place_without_contact_stays_empty(status, known):
    exif = raw_place(SOUTH, "S", EAST, "E", status)
    assert (facts_of(exif=exif).latitude is not None) is known


@pytest.mark.parametrize(
    "attributes, expected",
    [
        ('exif:GPSLatitude="33,51.6S" exif:GPSLongitude="151,12.6E"', HERE),
        ('exif:GPSLatitude="33,51,36S" exif:GPSLongitude="151,12,36w"', WEST),
        ('exif:GPSLatitude="-33.86" exif:GPSLongitude="151.21E"', HERE),
        ('exif:GPSLatitude="33,51.6S"', NOWHERE),
        ('exif:GPSLatitude="0,0N" exif:GPSLongitude="0,0E"', NOWHERE),
        ('exif:GPSLatitude="33,51.6S" exif:GPSLongitude="151,12.6E" exif:GPSStatus="V"', NOWHERE),
    ],
)
def test_places_of_xmp(attributes, expected):
    found = facts_of(exif=place(0.0, "N", 0.0, "E"), xmp=xmp(attributes))
    assert (found.latitude, found.longitude) == pytest.approx(expected)


def test_the_place_of_exif_comes_before_that_of_xmp():
    packet = xmp('exif:GPSLatitude="1,0N" exif:GPSLongitude="1,0E"')
    found = facts_of(exif=SYDNEY, xmp=packet)
    assert (found.latitude, found.longitude) == pytest.approx(HERE)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_damaged_exif_does_not_cost_the_picture(kind):
    good = exif_of(Make="Leica", DateTime="2001:02:03 04:05:06", Orientation=1)
    good.get_ifd(ExifTags.IFD.GPSInfo).update(SYDNEY.get_ifd(ExifTags.IFD.GPSInfo))
    good.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = "2000:01:01 00:00:00"
    random = np.random.default_rng(0)
    for number in range(200):
        damaged = bytearray(good.tobytes())
        for position in random.integers(6, len(damaged), 1 + number % 3):
            damaged[position] = random.integers(256)
        buffer = io.BytesIO()
        quarters().save(buffer, kind, exif=bytes(damaged))
        buffer.seek(0)
        assert decode.decode(buffer, 8).pixels.shape == (8, 8, 3)
