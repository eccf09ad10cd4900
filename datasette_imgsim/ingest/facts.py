"""Facts from a picture file: size, format, and what its metadata says."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from dataclasses import dataclass

from PIL import ExifTags, Image

from ..limits import LIMITS
from .metadata import Metadata, as_text
from .orientation import SIDEWAYS


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


PLACE = ("latitude", "longitude")


def storable(facts: dict, gps: bool) -> dict:
    """The facts to store: where a picture was taken only with `gps`, since people publish them."""
    return facts if gps else {name: fact for name, fact in facts.items() if name not in PLACE}


def read_facts(image: Image.Image, orientation: int) -> Facts:
    """The facts of an opened picture that is to be turned, without decoding it.

    Damaged metadata counts as absent.
    """
    metadata = Metadata(image)
    width, height = image.size
    if orientation in SIDEWAYS:
        width, height = height, width
    kind = "JPEG" if image.format == "MPO" else str(image.format)
    return Facts(width, height, kind, _taken_at(metadata), _camera(metadata), *_place(metadata))


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
MAKE = ExifTags.Base.Make, "{http://ns.adobe.com/tiff/1.0/}Make"
MODEL = ExifTags.Base.Model, "{http://ns.adobe.com/tiff/1.0/}Model"
XMP_PLACE = (
    "{http://ns.adobe.com/exif/1.0/}GPSStatus",
    "{http://ns.adobe.com/exif/1.0/}GPSLatitude",
    "{http://ns.adobe.com/exif/1.0/}GPSLongitude",
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


def _camera(metadata: Metadata) -> str | None:
    """Maker and model, without a maker that the model repeats."""
    make, model = (
        metadata.exif_text(tag) or metadata.xmp_text(name) for tag, name in (MAKE, MODEL)
    )
    if _repeats(model, make):
        make = ""
    return f"{make} {model}".strip()[: LIMITS.characters_of_camera].strip() or None


def _repeats(model: str, make: str) -> bool:
    """Whether a model begins with its maker, or with a word of it: "NIKON D70"."""
    model, make = model.casefold(), make.casefold()
    first = re.search(r"\w+", model)
    return model.startswith(make) or bool(first and first[0] in re.findall(r"\w+", make))


def _place(metadata: Metadata) -> tuple[float | None, float | None]:
    """(latitude, longitude) in degrees, north and east positive; (None, None) if in doubt."""
    for read in (_exif_place, _xmp_place):
        status, latitude, longitude = read(metadata)
        # "Void": the receiver had no contact, and the place is an old one or an invention.
        if as_text(status).upper().startswith("V"):
            continue
        place = _coordinate(latitude, "NS", 90), _coordinate(longitude, "EW", 180)
        # At 0, 0 is the open sea: so programs write that they know no place.
        if None not in place and any(place):
            return place
    return None, None


def _exif_place(metadata: Metadata) -> tuple:
    """(status, (latitude, its direction), (longitude, its direction)) as EXIF has them."""
    get, names = metadata.gps.get, ExifTags.GPS
    latitude = get(names.GPSLatitude), get(names.GPSLatitudeRef)
    longitude = get(names.GPSLongitude), get(names.GPSLongitudeRef)
    return get(names.GPSStatus), latitude, longitude


def _xmp_place(metadata: Metadata) -> tuple:
    """The same of XMP, where the direction is the last letter: 33,51.6S."""
    status, latitude, longitude = map(metadata.xmp_text, XMP_PLACE)
    return status, _split(latitude), _split(longitude)


def _split(coordinate: str) -> tuple[str, str]:
    """(numbers, direction) of a coordinate in XMP; the direction may be missing."""
    if coordinate[-1:].isalpha():
        return coordinate[:-1], coordinate[-1]
    return coordinate, ""


def _coordinate(written: tuple, letters: str, limit: int) -> float | None:
    """A signed coordinate of one with a direction. `letters` are those of the directions."""
    degrees, letter = _degrees(written[0]), as_text(written[1])[:1].upper()
    positive, negative = letters[0], letters[1]
    if degrees is None or not abs(degrees) <= limit:  # also if it is NaN
        return None
    if letter == negative:
        return -abs(degrees)
    # A number without a direction tells its half of the Earth only if it is negative.
    if letter == positive and degrees >= 0 or not letter and degrees < 0:
        return degrees
    return None


def _degrees(value) -> float | None:
    """Degrees from one to three numbers: degrees, minutes and seconds."""
    if isinstance(value, str):
        value = tuple(value.replace(",", " ").split())
    try:
        parts = [float(part) for part in (value if isinstance(value, tuple) else (value,))]
    except (TypeError, ValueError, ArithmeticError):
        return None
    sizes = [abs(part) for part in parts]
    if not 1 <= len(parts) <= 3 or not all(size <= 60 for size in sizes[1:]):  # also if it is NaN
        return None
    size = sum(size / 60**power for power, size in enumerate(sizes))
    if min(parts) >= 0:
        return size
    return -size if parts[0] <= 0 else None
