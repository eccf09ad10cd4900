"""How much of anything: the limits that depend on the size of a collection or of a machine."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Limits:
    """Bytes are counted for float32, 4 a number."""

    # Which form vectors have in memory
    bytes_scanned: int = 100_000_000
    """Up to so many bytes of vectors, every query looks at all of them."""
    bytes_in_memory: int = 1_000_000_000
    """Of larger spaces only a reduction is in memory; vectors are read from the database."""
    bytes_a_read: int = 4_000_000
    """Read at once from the database: a long read would keep writers waiting."""

    # Search
    rescored: int = 800
    """So many of the best by the reduction are scored with their whole vectors, at least."""
    most_hits_from_database: int = 50_000
    """Of a space that is not in memory: the vector of each hit is read from the database."""
    first_hits: int = 200
    """Of all images that reach a percentile, so many are looked at first."""
    seconds_between_statements: float = 0.2
    """Calls that follow one another more closely are taken to be of one SQL statement."""
    seconds_a_statement: float = 5
    """For so long after a reload, a statement may go on with the vectors it began with."""

    # Reloading
    seconds_between_reloads: float = 10
    share_of_reloads: float = 0.2
    """The largest share of the time that reloads of one value may take."""

    # Calibration
    calibration_images: int = 20_000
    calibration_pairs: int = 200_000
    """Of so many images, and pairs of them, at most."""

    # Evaluation
    vectors_at_once: int = 1_000
    sweep_queries: int = 2_000
    """A sweep asks no more queries."""

    # Pages
    most_thumbnails_known: int = 20_000
    """Up to so many, the cells of a table know which rows have a thumbnail; else all show one."""
    bytes_of_tiles: int = 64_000_000
    """Drawn map tiles that are kept, of one database."""
    seconds_a_body: float = 60
    """An upload must be complete after so long."""


LIMITS = Limits()
"""The limits in force."""
