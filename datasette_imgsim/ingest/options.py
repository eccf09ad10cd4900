"""What a run is asked to do."""

from __future__ import annotations

from dataclasses import dataclass

from ..db.images import KnownImage
from ..errors import check_choice, check_number
from ..limits import LIMITS
from . import decode

PRECISIONS = ("auto", "float32", "bfloat16", "int8")


@dataclass(frozen=True)
class RunOptions:
    """How pictures are read and embedded. No option changes what a vector means."""

    device: str = "auto"
    precision: str = "auto"
    batch_size: int = 32
    workers: int | None = None
    """The number of threads that decode; None stands for one per processor."""
    thumbnail_size: int | None = None
    """Thumbnails fit into a square with this side, in pixels; other ones are made anew.

    None stands for decode.THUMBNAIL_SIZE for new pictures, and others keep theirs.
    """
    max_pixels: int = decode.MAX_PIXELS
    """Larger pictures are refused."""
    gps: bool = False
    """Store where pictures were taken."""
    rehash: bool = False
    """Read all items again, also those whose size and mtime have not changed."""
    retry_failed: bool = False
    """Try items again that failed before and have not changed."""
    exclude: tuple[str, ...] = ()
    """Patterns of names, and of paths, of files and folders that are left out."""
    no_follow: bool = False
    """Leave links in the folders out."""
    prune: bool = False
    """Remove images whose file is gone from the folders that are embedded."""
    prune_missing_folders: bool = False
    """Remove them also where nothing is left of their folder; else it may be away."""

    def __post_init__(self) -> None:
        """Raises ImgsimError for values that make no sense."""
        check_choice("precision", self.precision, PRECISIONS)
        check_number("batch_size", self.batch_size, 1)
        check_number("max_pixels", self.max_pixels, 1)
        if self.workers is not None:
            check_number("workers", self.workers, 1)
        if self.thumbnail_size is not None:
            check_number("thumbnail_size", self.thumbnail_size, 16, LIMITS.side_of_thumbnail)

    def lacks(self, image: KnownImage) -> bool:
        """Whether these options ask for something that was not read of an embedded image."""
        is_other_size = self.thumbnail_size not in (None, image.thumbnail_size)
        return is_other_size or (self.gps and not image.gps)
