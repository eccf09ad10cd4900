"""What a picture file says of itself in EXIF, XMP and IPTC.

Pillow finds all three in the formats that are read here. No other package for Python alone reads
them: ExifRead knows EXIF only, IPTCInfo3 knows JPEG only, and pyexiv2 is no pure Python.
"""

from __future__ import annotations

import functools
from xml.etree.ElementTree import Element

import defusedxml.ElementTree
from PIL import ExifTags, Image, ImageFile, IptcImagePlugin

from ..limits import LIMITS

RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"


class Metadata:
    """The metadata of an opened picture, whose pixels are not decoded; damaged parts are absent."""

    def __init__(self, image: Image.Image):
        self._image = image
        self.exif = read_exif(image)

    def exif_text(self, tag: int) -> str:
        """The text of an EXIF tag, of the picture or of its details; '' if there is none."""
        return as_text(_bytes(self.exif.get(tag) or self._details.get(tag)))

    def xmp_text(self, name: str) -> str:
        """The text of an XMP property, named {namespace}name; '' if there is none."""
        return as_text(self._xmp.get(name))

    def iptc_text(self, record: int) -> str:
        """The text of a data set of IPTC's second record; '' if there is none."""
        value = self._iptc.get((2, record))
        return as_text(value[0] if isinstance(value, list) else value)

    @functools.cached_property
    def gps(self) -> dict:
        """The tags of EXIF's GPS directory."""
        return read_directory(self.exif, ExifTags.IFD.GPSInfo)

    @functools.cached_property
    def _details(self) -> dict:
        return read_directory(self.exif, ExifTags.IFD.Exif)

    @functools.cached_property
    def _xmp(self) -> dict[str, str]:
        packet = self._image.info.get("xmp")
        # Pillow's own getxmp() knows no namespaces before version 13.
        if not isinstance(packet, bytes) or len(packet) > LIMITS.bytes_of_xmp:
            return {}
        try:
            root = defusedxml.ElementTree.fromstring(packet.strip(b"\0 \n"))
        except Exception:  # a picture with damaged metadata is usable
            return {}
        return _properties(root)

    @functools.cached_property
    def _iptc(self) -> dict:
        if not isinstance(self._image, ImageFile.ImageFile):
            return {}
        try:
            return IptcImagePlugin.getiptcinfo(self._image) or {}
        except Exception:  # a picture with damaged metadata is usable
            return {}


def _properties(root: Element) -> dict[str, str]:
    """The simple properties of an XMP packet.

    Only those of the picture itself count: descriptions further down tell of other files.
    """
    rdf = root if root.tag == f"{RDF}RDF" else root.find(f"{RDF}RDF")
    found: dict[str, str] = {}
    for description in () if rdf is None else rdf.findall(f"{RDF}Description"):
        found |= description.attrib
        found |= {child.tag: child.text for child in description if child.text}
    return found


def read_exif(image: Image.Image) -> Image.Exif:
    """The EXIF data of an opened picture; empty if damaged."""
    try:
        return image.getexif()
    except Exception:  # a picture with damaged metadata is usable
        return Image.Exif()


def read_directory(exif: Image.Exif, ifd: int) -> dict:
    """A directory of EXIF data; empty if it is absent or damaged."""
    try:
        return exif.get_ifd(ifd)
    except Exception:  # a picture with damaged metadata is usable
        return {}


def _bytes(value: object) -> object:
    """The bytes of a text of EXIF, which Pillow takes for Latin-1."""
    return value.encode("latin-1", "replace") if isinstance(value, str) else value


def as_text(value: object) -> str:
    """A value as one line of text, without control characters; '' if it is no text.

    Bytes are UTF-8, else Latin-1: EXIF asks for ASCII, and cameras write what they like.
    """
    text = _decoded(value) if isinstance(value, bytes) else value
    if not isinstance(text, str):
        return ""
    shown = (c for c in text[: LIMITS.characters_of_metadata] if c.isprintable() or c.isspace())
    return " ".join("".join(shown).split())


def _decoded(content: bytes) -> str:
    # A NUL ends a text; what follows is what was in the camera's memory.
    content = content.lstrip(b"\0 ").partition(b"\0")[0]
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content.decode("latin-1")
