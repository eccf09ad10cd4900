"""What a picture file says of itself: size, format and EXIF."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from PIL import ExifTags, Image

# Orientations (EXIF 2.32, tag 274) in which width and height change places.
SIDEWAYS = {5, 6, 7, 8}


@dataclass(frozen=True)
class Facts:
    """What the images table says of a picture. width and height are of the upright picture."""

    width: int
    height: int
    format: str
    taken_at: str | None
    camera: str | None
    latitude: float | None
    longitude: float | None


def read_exif(image: Image.Image) -> Image.Exif:
    try:
        return image.getexif()
    except Exception:  # damaged metadata must not cost the picture
        return Image.Exif()


def read_facts(image: Image.Image) -> Facts:
    """The facts of an opened picture, which need not be loaded. Damaged EXIF counts as absent."""
    exif = read_exif(image)
    width, height = image.size
    # Pillow gives the size of a TIFF as it is to be seen, that of the others as it is stored.
    if image.format != "TIFF" and exif.get(ExifTags.Base.Orientation) in SIDEWAYS:
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
    if not 0 <= value <= limit:  # also when it is not a number
        return None
    return -value if _text(reference) in ("S", "W") else value


def _directory(exif: Image.Exif, ifd: int) -> dict:
    try:
        return exif.get_ifd(ifd)
    except Exception:  # damaged metadata must not cost the picture
        return {}


def _text(value) -> str:
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    return value.replace("\0", "").strip() if isinstance(value, str) else ""
