"""What a part of the map looks like."""

import io

import pytest
from helpers.pictures import as_jpeg
from PIL import Image, ImageColor

from datasette_imgsim.atlas.tiles import BACKGROUND, MISSING, Frame, Picture, draw, encoded


def jpeg(colour, size=(200, 100)):
    return as_jpeg(Image.new("RGB", size, colour))


def near(pixel, colour, tolerance=12):
    wanted = ImageColor.getrgb(colour)
    return all(abs(a - b) <= tolerance for a, b in zip(pixel, wanted))


@pytest.mark.parametrize("side", [256, 512, 100])
def test_each_picture_lies_in_its_cell(side):
    cell = side // 4
    drawn = draw(
        [Picture(1, 2, jpeg("red")), Picture(3, 0, jpeg("lime", (50, 400)))], 4, 4, side, False
    )
    assert drawn.size == (side, side)
    assert near(drawn.getpixel((1.5 * cell, 2.5 * cell)), "red")
    assert near(drawn.getpixel((3.5 * cell, 0.5 * cell)), "lime")
    for x, y in ((0.5, 0.5), (1.5, 2.1), (1.5, 2.9), (3.1, 0.5), (2.5, 3.5)):
        assert drawn.getpixel((int(x * cell), int(y * cell))) == ImageColor.getrgb(BACKGROUND)


def test_pictures_do_not_overlap():
    everywhere = [Picture(x, y, jpeg("white", (90, 90))) for x in range(4) for y in range(4)]
    drawn = draw(everywhere, 4, 4, 256, False)
    for edge in (0, 63, 64, 127, 128, 191, 192, 255):
        assert drawn.getpixel((edge, 32)) == drawn.getpixel((32, edge)) == (34, 39, 46)


def test_frames_have_their_colour():
    drawn = draw([Picture(0, 0, jpeg("white", (90, 90)), Frame("#e15759"))], 1, 1, 100, False)
    left = next(x for x in range(100) if not near(drawn.getpixel((x, 50)), BACKGROUND))
    assert near(drawn.getpixel((left + 1, 50)), "#e15759")
    assert near(drawn.getpixel((50, 50)), "white")


def test_a_stack_says_how_many_more_there_are():
    plain, stack, higher = (
        draw([Picture(0, 0, jpeg("white", (90, 90)), more=more)], 1, 1, 64, False).tobytes()
        for more in (0, 3, 1200)
    )
    assert len({plain, stack, higher}) == 3


def other_jpeg(size, **options):
    file = io.BytesIO()
    Image.new("RGB", size, "red").save(file, "JPEG", **options)
    return file.getvalue()


OF_OTHERS = [
    other_jpeg((9, 9), progressive=True),
    other_jpeg((2049, 9)),
    jpeg("red") + bytes(4**11),
]


@pytest.mark.parametrize("file", [None, b"", b"no picture", jpeg("red")[:200], *OF_OTHERS])
def test_a_picture_that_cannot_be_read_leaves_a_grey_square(file):
    drawn = draw([Picture(0, 0, file)], 1, 1, 64, False)
    assert drawn.getpixel((32, 32)) == ImageColor.getrgb(MISSING)


def test_a_tile_is_a_jpeg_file():
    with Image.open(io.BytesIO(encoded(draw([], 4, 4, 256, False)))) as image:
        assert (image.format, image.size) == ("JPEG", (256, 256))
