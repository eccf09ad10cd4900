"""What a run is asked to do, and what it did."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from ..db.images import KnownImage
from . import decode

THUMBNAIL_SIZE = 256


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

    None stands for THUMBNAIL_SIZE for new pictures, and others keep theirs.
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

    def lacks(self, image: KnownImage) -> bool:
        """Whether these options ask for something that was not read of an embedded image."""
        is_other_size = self.thumbnail_size not in (None, image.thumbnail_size)
        return is_other_size or (self.gps and not image.gps)


@dataclass
class Summary:
    """What a run did, in numbers of images."""

    embedded: int = 0
    unchanged: int = 0
    read_again: int = 0
    """Those of the unchanged ones of which more was read: their place, or a thumbnail."""
    renamed: int = 0
    copied: int = 0
    failed: int = 0
    failed_before: int = 0
    pruned: int = 0
    kept: int = 0
    """Images that were not pruned, since nothing is left of their folder: it may be away."""
    missing_folder: str | None = None
    """One of these folders, as stored paths name it."""
    without_key: int = 0
    """Rows of a table that were skipped, since their key is null."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Files of other suffixes, and folders that no person made, by suffix or name."""
    interrupted: bool = False
    space: str | None = None
    """The name of the space of the run; None if there was nothing to embed."""
    default_space: str | None = None
    """The name of the default space of the same table."""
    seconds: float = 0.0

    @property
    def nothing_worked(self) -> bool:
        """Whether there were failures and no successes."""
        return self.failed > 0 and not (self.embedded or self.renamed or self.copied)
