"""Why a picture is not embedded."""

from ..errors import ImgsimError


class NotAPicture(ImgsimError):
    """The bytes are not a picture of a known format, or the picture is damaged."""


class TooLarge(ImgsimError):
    """Decoding the picture would cost more than is allowed."""


class TooSmall(ImgsimError):
    """The part of a picture that is asked for has too few pixels."""
