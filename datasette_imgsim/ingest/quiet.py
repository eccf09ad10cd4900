"""Silences decoders, whose messages name no file: what they refuse becomes a failure that does."""

from __future__ import annotations

import ctypes
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image


@contextmanager
def silent_decoders() -> Iterator[None]:
    """Silences Pillow's warnings and logs, and what libtiff writes to standard error."""
    logger = logging.getLogger("PIL")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), _silent_libtiff():
            warnings.filterwarnings("ignore", module=r"PIL\.")
            yield
    finally:
        logger.setLevel(before)


@contextmanager
def _silent_libtiff() -> Iterator[None]:
    """Takes away libtiff's handlers of messages for a while, by its own functions for that.

    They are one pointer each, which libtiff reads when it has something to say, so threads that
    decode meanwhile are safe. Where Pillow's copy of libtiff cannot be reached, nothing is done.
    """
    try:
        library = ctypes.CDLL(Image.core.__file__)
        setters = [library.TIFFSetErrorHandler, library.TIFFSetWarningHandler]
    except (AttributeError, OSError):
        setters = []
    for setter in setters:
        setter.argtypes, setter.restype = [ctypes.c_void_p], ctypes.c_void_p
    handlers = [setter(None) for setter in setters]
    try:
        yield
    finally:
        for setter, handler in zip(setters, handlers):
            setter(handler)
