"""Facts from a picture file: size, format and EXIF."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from PIL import ExifTags, Image

from .orientation import SIDEWAYS


@dataclass(frozen=True)
class Facts:
    """What the table `images` stores of a picture, beside path, hash, size and mtime."""

    width: int
    """In pixels, of the upright picture, like height."""
    height: int
    format: str
    taken_at: str | None
    """Local time, ISO 8601."""
    camera: str | None
    latitude: float | None
    """In degrees, north positive."""
    longitude: float | None
    """In degrees, east positive."""


def read_exif(image: Image.Image) -> Image.Exif:
    """The EXIF data of an opened picture; empty if damaged."""
    try:
        return image.getexif()
    except Exception:  # a picture with damaged metadata is usable
        return Image.Exif()


def read_facts(image: Image.Image, orientation: int) -> Facts:
    """The facts of an opened picture that is to be turned. Damaged EXIF counts as absent."""
    exif = read_exif(image)
    width, height = image.size
    if orientation in SIDEWAYS:
        width, height = height, width
    kind = "JPEG" if image.format == "MPO" else str(image.format)
    return Facts(width, height, kind, _taken_at(exif), _camera(exif), *_place(exif))


def _taken_at(exif: Image.Exif) -> str | None:
    detail = _directory(exif, ExifTags.IFD.Exif)
    text = detail.get(ExifTags.Base.DateTimeOriginal) or exif.get(ExifTags.Base.DateTime)
    try:
        return datetime.datetime.strptime(_text(text)[:19], "%Y:%m:%d %H:%M:%S").isoformat()
    except ValueError:
        return None


def _camera(exif: Image.Exif) -> str | None:
    make, model = _text(exif.get(ExifTags.Base.Make)), _text(exif.get(ExifTags.Base.Model))
    if model.startswith(make):
        make = ""
    return f"{make} {model}".strip() or None


def _place(exif: Image.Exif) -> tuple[float | None, float | None]:
    """(latitude, longitude) in degrees, north and east positive."""
    gps = _directory(exif, ExifTags.IFD.GPSInfo)
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


def _directory(exif: Image.Exif, ifd: int) -> dict:
    try:
        return exif.get_ifd(ifd)
    except Exception:  # a picture with damaged metadata is usable
        return {}


def _text(value) -> str:
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    return value.replace("\0", "").strip() if isinstance(value, str) else ""
