"""Picture files of one scene, and what `embed` with the toy model stores of them."""

import base64
import io
import struct

import numpy as np
from PIL import ExifTags, Image

from .commands import embed_toy
from .databases import rows

COLOURS = [(200, 30, 30), (30, 160, 40), (30, 40, 200), (240, 220, 40)]
SIZE = (64, 48)
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


def folder_of_quarters(folder):
    """Saves images/plain.png, which is `quarters()`, in a folder."""
    (folder / "images").mkdir()
    quarters().save(folder / "images/plain.png")
    return folder


def exif_of(**tags):
    """EXIF with these tags."""
    exif = Image.Exif()
    for name, value in tags.items():
        exif[ExifTags.Base[name]] = value
    return exif


def place(latitude, north, longitude, east):
    """EXIF of a picture that was taken there, in degrees, minutes and seconds."""
    exif = exif_of(Model="X")
    names = ExifTags.GPS
    exif.get_ifd(ExifTags.IFD.GPSInfo).update({
        names.GPSLatitudeRef: north, names.GPSLatitude: latitude,
        names.GPSLongitudeRef: east, names.GPSLongitude: longitude,
    })  # fmt: skip
    return exif


def raw_place(latitude, north, longitude, east, status=None):
    """The bytes of such EXIF, also with what Pillow does not write: negative numbers, and text."""
    values = [(1, north), (2, latitude), (3, east), (4, longitude), (9, status)]
    values = [(tag, value) for tag, value in values if value is not None]
    entries, far = b"", b""
    start = 26 + 2 + 12 * len(values) + 4  # where values lie that do not fit into an entry
    for tag, value in values:
        if isinstance(value, str):
            kind, content = 2, value.encode("latin-1") + b"\0"
            count = len(content)
        else:
            numbers = value if isinstance(value, tuple) else (value,)
            kind, count = 10, len(numbers)
            content = b"".join(
                struct.pack("<2i", 0, 0) if n != n else struct.pack("<2i", round(n * 1000), 1000)
                for n in numbers
            )
        near = content.ljust(4, b"\0")
        if len(content) > 4:
            near, far = struct.pack("<I", start + len(far)), far + content
        entries += struct.pack("<2HI", tag, kind, count) + near
    main = struct.pack("<H2HII", 1, 34853, 4, 1, 26) + b"\0" * 4
    return (
        b"Exif\0\0II*\0\x08\0\0\0" + main + struct.pack("<H", len(values)) + entries
        + b"\0" * 4 + far
    )  # fmt: skip


def embedded(folder, *options):
    """The database of folder/images."""
    embed_toy(folder, *options)
    return folder / "photos.db"


def assert_same(database, name, closeness=0.9995, other="plain.png"):
    """Two pictures have nearly the same vector."""
    sql = "select path, vector from images join imgsim_vectors on image_key = images.id"
    found = {path.split("/")[-1]: np.frombuffer(blob, "<f4") for path, blob in rows(database, sql)}
    assert found[name] @ found[other] > closeness


def row(database, name, columns):
    """The columns of a picture's row."""
    (found,) = rows(database, f"select {columns} from images where path like ?", f"%{name}")
    return found


def thumbnail(database, name):
    """The thumbnail of a picture."""
    sql = "select jpeg from imgsim_thumbnails join images on id = image_key where path like ?"
    (jpeg,) = rows(database, sql, f"%{name}")
    return Image.open(io.BytesIO(jpeg))
