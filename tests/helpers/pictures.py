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


def opened(response):
    """The JPEG picture that a server answers with."""
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "image/jpeg"
    return Image.open(io.BytesIO(response.content)).convert("RGB")
