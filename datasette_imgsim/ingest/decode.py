"""Decodes picture files: upright RGB pixels, a thumbnail, and facts such as EXIF.

`apart` does this in a process that can be stopped.
"""

from __future__ import annotations

import functools
import io
import math
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import BinaryIO, TypeAlias

import numpy as np
from PIL import Image

from ..errors import ImgsimError
from ..limits import LIMITS
from .cost import bytes_to_decode, refuse_beyond_memory, refuse_bytes
from .facts import Facts, read_facts
from .mend import lacks_pixels, mended
from .opening import is_ordinary, open_image
from .orientation import orientation_of, stored_box
from .part import Box, check_pixels, smallest_side
from .refusals import NotAPicture, TooLarge
from .resize import RESIZE, small_jpeg
from .upright import upright_rgb

MAX_PIXELS = LIMITS.pixels
Large: TypeAlias = "Callable[[], AbstractContextManager]"
"""What is entered while a picture is decoded that needs much memory."""
_large_picture = threading.Lock()
# A JPEG is decoded at a reduced size, at least this many times the needed one: it is resized again.
DRAFT_MARGIN = 1.5
THUMBNAIL_SIZE, THUMBNAIL_QUALITY = 256, 80


def one_at_a_time() -> AbstractContextManager:
    """Waits until no other picture is decoded that needs much memory."""
    return _large_picture


@dataclass(frozen=True)
class Picture:
    """A decoded picture file."""

    pixels: np.ndarray
    """(size, size, 3) uint8 RGB, upright."""
    thumbnail: bytes
    """A JPEG file without metadata."""
    facts: Facts


def opened(source: str | bytes) -> BinaryIO:
    """A picture as a binary file, by its path or its bytes. Raises OSError."""
    return open(source, "rb") if isinstance(source, str) else io.BytesIO(source)


def decode(
    file: BinaryIO,
    size: int,
    resize: str = "squash",
    thumbnail_size: int = THUMBNAIL_SIZE,
    max_pixels: int = MAX_PIXELS,
    large: Large = one_at_a_time,
    part: Box | None = None,
) -> Picture:
    """Decodes the first frame of a picture, or a part of it as if it were a picture of its own.

    `resize`, a key of RESIZE, is how it becomes size x size pixels. The thumbnail fits into
    thumbnail_size x thumbnail_size. The facts are those of the whole picture. Raises NotAPicture,
    TooLarge or TooSmall, and OSError if reading fails.
    """
    try:
        return _tried_twice(
            file, functools.partial(_decoded, size, resize, thumbnail_size, max_pixels, large, part)
        )
    # Decoders raise nearly any error for hostile bytes, and one file must not stop a run.
    except Exception as ex:
        refusal = _refusal(ex)
    # Raised only here: an exception keeps what the functions that it passed held, such as pixels.
    raise refusal


def decode_ordinary(
    file: BinaryIO, size: int, resize: str, thumbnail_size: int, max_pixels: int
) -> Picture | None:
    """The same of a sound picture that is decoded fast and with little memory; None of others.

    Raises OSError if reading fails.
    """
    try:
        if is_ordinary(file):
            return _decoded(size, resize, thumbnail_size, max_pixels, _refuse_large, None, file)
    except Exception as ex:
        if isinstance(ex, OSError) and ex.errno is not None:
            raise
    return None


def _refuse_large() -> AbstractContextManager:
    raise TooLarge("the picture needs much memory")


def _tried_twice(file: BinaryIO, decoded: Callable[..., Picture]) -> Picture:
    """Decodes a picture; if that fails, without its metadata and with an end."""
    try:
        return decoded(file)
    except Exception as ex:
        if _is_final(ex):
            raise
        failure = _refusal(ex)
    if file.seek(0, io.SEEK_END) > LIMITS.bytes_to_mend:
        raise failure
    file.seek(0)
    second = mended(file.read())
    if second is None:
        raise failure
    return decoded(io.BytesIO(second), is_mended=True)


def _is_final(ex: Exception) -> bool:
    """Whether an error says that a picture cannot be decoded, however it is mended."""
    if isinstance(ex, OSError):
        return ex.errno is not None  # an error of the disk
    return isinstance(ex, ImgsimError | MemoryError | Image.DecompressionBombError)


def _refusal(ex: Exception) -> Exception:
    """What to raise instead of an error while a picture was decoded."""
    if isinstance(ex, ImgsimError) or (isinstance(ex, OSError) and ex.errno is not None):
        ex.__cause__ = ex.__context__ = None
        return ex.with_traceback(None)
    if isinstance(ex, MemoryError):
        return TooLarge(
            "decoding it took more memory than a picture of its size needs, or than there is"
        )
    reason = str(ex).splitlines()[0] if str(ex) else type(ex).__name__
    if isinstance(ex, Image.DecompressionBombError):
        return TooLarge(f"the picture has too many pixels ({reason})")
    return NotAPicture(
        f"the picture is damaged, cut off, or of a kind that cannot be read ({reason})"
    )


def _decoded(
    size: int,
    resize: str,
    thumbnail_size: int,
    max_pixels: int,
    large: Large,
    part: Box | None,
    file: BinaryIO,
    is_mended: bool = False,
) -> Picture:
    with ExitStack() as stack:
        room = _Room(large, stack)
        image = stack.enter_context(open_image(file, max_pixels, room.make))
        room.make(bytes_to_decode(image))
        needed = _needed_size(image.size, size, thumbnail_size, part)
        orientation = orientation_of(image)
        facts = read_facts(image, orientation)
        width, height = (math.ceil(DRAFT_MARGIN * side) for side in needed)
        image.draft(None, (width, height))
        image.load()
        if is_mended and lacks_pixels(image):
            raise NotAPicture("the picture is damaged or cut off (its last pixels are missing)")
        box = None
        if part:
            check_pixels(part, facts.width, facts.height)
            box = stored_box(part, orientation, image.size)
            needed = _needed_size((box[2] - box[0], box[3] - box[1]), size, thumbnail_size)
        rgb = upright_rgb(image, orientation, needed, box)
        pixels = np.array(RESIZE[resize](rgb, size))
        return Picture(pixels, small_jpeg(rgb, thumbnail_size, THUMBNAIL_QUALITY), facts)


class _Room:
    """The memory that one picture may take."""

    def __init__(self, large: Large, stack: ExitStack):
        self.large, self.stack, self.is_large = large, stack, False

    def make(self, cost: int) -> None:
        """Lets a picture's decoder allocate so many bytes. Raises TooLarge."""
        refuse_bytes(cost)
        if cost > LIMITS.bytes_of_large and not self.is_large:
            self.is_large = True
            self.stack.enter_context(self.large())
            refuse_beyond_memory(cost)


def _needed_size(
    stored: tuple[int, int], size: int, thumbnail_size: int, part: Box | None = None
) -> tuple[int, int]:
    """The size that has every pixel which the network's input and the thumbnail need."""
    share = smallest_side(part) if part else 1  # of either side, since it may be turned yet
    shrink = thumbnail_size / max(stored)
    width, height = (math.ceil(max(size, side * shrink) / share) for side in stored)
    return width, height
