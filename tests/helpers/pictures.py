"""Drawn pictures, as files or as bytes."""

import io

from PIL import Image, ImageDraw

GROUPS = {"circles": "red", "squares": "blue", "stripes": "green", "dots": "black"}
SHAPES = {"circles": "circle", "squares": "square", "stripes": "stripes", "dots": "dots"}


def draw(path, shape="circle", colour="red", size=(120, 90), seed=0, **options):
    """A small picture of one shape; `seed` moves it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", size, (240, 240 - 7 * seed % 60, 225))
    x, y = 10 + 5 * seed % 40, 8 + 3 * seed % 30
    box = (x, y, x + size[0] // 2, y + size[1] // 2)
    pen = ImageDraw.Draw(image)
    if shape == "circle":
        pen.ellipse(box, fill=colour)
    elif shape == "square":
        pen.rectangle(box, fill=colour)
    elif shape == "stripes":
        for offset in range(0, size[0], 12):
            pen.line((offset, 0, offset + x, size[1]), fill=colour, width=5)
    else:
        for offset in range(0, size[0], 14):
            pen.ellipse((offset, y, offset + 8, y + 8), fill=colour)
            pen.ellipse((offset, y + 20, offset + 8, y + 28), fill=colour)
    image.save(path, **options)
    return path


def draw_groups(folder, count=6):
    """`count` pictures of each of four groups, as JPEG files folder/group/N.jpg."""
    for group, colour in GROUPS.items():
        for number in range(count):
            draw(folder / group / f"{number}.jpg", SHAPES[group], colour, seed=number)
    return folder


def as_jpeg(image, **options):
    """The bytes of a JPEG file."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    return buffer.getvalue()


def with_iptc(jpeg, **records):
    """A JPEG file with data sets of IPTC's second record, such as r55="20150822"."""
    data = b""
    for name, text in records.items():
        data += bytes((0x1C, 2, int(name[1:]))) + len(text).to_bytes(2, "big") + text.encode()
    block = b"Photoshop 3.0\0" + b"8BIM\x04\x04\0\0" + len(data).to_bytes(4, "big") + data
    block += b"\0" * (len(data) % 2)
    return jpeg[:2] + b"\xff\xed" + (len(block) + 2).to_bytes(2, "big") + block + jpeg[2:]


def xmp(attributes="", elements="", beside=""):
    """An XMP packet with properties of the picture; `beside` tells of another file."""
    spaces = "".join(
        f' xmlns:{prefix}="http://ns.adobe.com/{name}/1.0/"'
        for prefix, name in (
            ("exif", "exif"), ("tiff", "tiff"), ("photoshop", "photoshop"), ("xmp", "xap"),
        )
    )  # fmt: skip
    return (
        '<?xpacket begin="\ufeff"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f"<rdf:Description{spaces} {attributes}>{elements}"
        f"<xmp:Part><rdf:Bag><rdf:li><rdf:Description>{beside}</rdf:Description></rdf:li></rdf:Bag>"
        '</xmp:Part></rdf:Description></rdf:RDF></x:xmpmeta>   <?xpacket end="w"?>'
    ).encode()


def opened(response):
    """The JPEG picture that a server answers with."""
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "image/jpeg"
    return Image.open(io.BytesIO(response.content)).convert("RGB")
