"""Facts from a picture file: size, format, and what its metadata says."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from dataclasses import dataclass

from PIL import ExifTags, Image

from .metadata import Metadata, read_directory

# Orientations (EXIF 2.32, tag 274) in which width and height change places.
SIDEWAYS = {5, 6, 7, 8}


@dataclass(frozen=True)
class Facts:
    """What the table `images` stores of a picture, beside path, hash, size and mtime."""

    width: int
    """In pixels, of the upright picture, like height."""
    height: int
    format: str
    taken_at: str | None
    """Local time, ISO 8601; a date alone where no time is known."""
    camera: str | None
    latitude: float | None
    """In degrees, north positive."""
    longitude: float | None
    """In degrees, east positive."""


def read_facts(image: Image.Image) -> Facts:
    """The facts of an opened picture, without decoding it. Damaged metadata counts as absent."""
    metadata = Metadata(image)
    exif = metadata.exif
    width, height = image.size
    # For a TIFF, Pillow gives the upright size; for other formats, the stored one.
    if image.format != "TIFF" and exif.get(ExifTags.Base.Orientation) in SIDEWAYS:
        width, height = height, width
    kind = "JPEG" if image.format == "MPO" else str(image.format)
    return Facts(width, height, kind, _taken_at(metadata), _camera(exif), *_place(exif))


EXIF_TIMES = (
    ExifTags.Base.DateTimeOriginal,
    ExifTags.Base.DateTimeDigitized,
    ExifTags.Base.DateTime,
)
XMP_TIMES = (
    "{http://ns.adobe.com/exif/1.0/}DateTimeOriginal",
    "{http://ns.adobe.com/photoshop/1.0/}DateCreated",
    "{http://ns.adobe.com/exif/1.0/}DateTimeDigitized",
    "{http://ns.adobe.com/xap/1.0/}CreateDate",
)
# Data sets of IPTC's second record: date and time, of what is shown and of the file.
IPTC_TIMES = ((55, 60), (62, 63))

# What follows the seconds: a fraction, "PM", and a time zone, which is left out.
END = r"""(?:[.,]\d+)? \s* (?P<half>[AP])?(?(half)\.?M\.?) \s*
    (?:Z | UTC | GMT | [-+]\d\d(?::?\d\d)?)?"""
TIMES = [
    re.compile(pattern, re.VERBOSE | re.ASCII | re.IGNORECASE)
    for pattern in (
        # 2015:08:22 10:08:19, as in EXIF; 2015-08-22T10:08, as in XMP. Unknown parts are blank.
        rf"""(?P<year>\d{{4}}) (?P<mark>[-:/.]) \s?(?P<month>\d\d?) (?P=mark) \s?(?P<day>\d\d?)
        (?: [T\s:,]+ (?P<hour>\d\d?) (?P<colon>[-:.]) (?P<minute>\d\d)
        (?: (?P=colon) (?P<second>\d\d)?)? {END})? [\s:]*""",
        # 20150822T100819, as in IPTC.
        rf"""(?P<year>\d{{4}}) (?P<month>\d\d) (?P<day>\d\d)
        (?: [T\s]? (?P<hour>\d\d) (?P<minute>\d\d) (?P<second>\d\d)? {END})?""",
    )
]
PARTS = ("year", "month", "day", "hour", "minute", "second")


def _taken_at(metadata: Metadata) -> str | None:
    """The first valid time: a blank or wrong one does not hide the next."""
    return next(filter(None, map(_iso_time, _times(metadata))), None)


def _times(metadata: Metadata) -> Iterator[str]:
    """The times that the metadata gives, as they are written, the best ones first."""
    yield from map(metadata.exif_text, EXIF_TIMES)
    yield from map(metadata.xmp_text, XMP_TIMES)
    for date, time in IPTC_TIMES:
        yield f"{metadata.iptc_text(date)} {metadata.iptc_text(time)}".strip()


def _iso_time(text: str) -> str | None:
    """A time as ISO 8601, a date where it has no hour; None if it is neither."""
    found = next(filter(None, (pattern.fullmatch(text) for pattern in TIMES)), None)
    if found is None:
        return None
    year, month, day, hour, minute, second = (int(found[part] or 0) for part in PARTS)
    try:
        time = datetime.datetime(year, month, day, _hour(hour, found["half"]), minute, second)
    except ValueError:
        return None
    return time.isoformat() if found["hour"] else time.date().isoformat()


def _hour(hour: int, half: str | None) -> int:
    """An hour from 0 to 23. `half` is the A of "AM" or the P of "PM"."""
    if half and hour <= 12:
        return hour % 12 + (12 if half in "Pp" else 0)
    # Some telephones call the first hour of a day its 24th.
    return 0 if hour == 24 else hour


def _camera(exif: Image.Exif) -> str | None:
    make, model = _text(exif.get(ExifTags.Base.Make)), _text(exif.get(ExifTags.Base.Model))
    if model.startswith(make):
        make = ""
    return f"{make} {model}".strip() or None


def _place(exif: Image.Exif) -> tuple[float | None, float | None]:
    """(latitude, longitude) in degrees, north and east positive."""
    gps = read_directory(exif, ExifTags.IFD.GPSInfo)
    latitude = _degrees(gps.get(ExifTags.GPS.GPSLatitude), gps.get(ExifTags.GPS.GPSLatitudeRef), 90)
    longitude = _degrees(
        gps.get(ExifTags.GPS.GPSLongitude), gps.get(ExifTags.GPS.GPSLongitudeRef), 180
    )
    return (latitude, longitude) if None not in (latitude, longitude) else (None, None)


def _degrees(parts, reference, limit: int) -> float | None:
    try:
        degrees, minutes, seconds = (float(part) for part in parts)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    value = degrees + minutes / 60 + seconds / 3600
    if not 0 <= value <= limit:  # also if it is NaN
        return None
    return -value if _text(reference) in ("S", "W") else value


def _text(value) -> str:
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    return value.replace("\0", "").strip() if isinstance(value, str) else ""
