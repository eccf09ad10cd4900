"""What the Python API gives: results with paths and names, and groups."""

from __future__ import annotations

from dataclasses import dataclass

from ..db import duplicates, groups
from ..search import paths
from ..search.results import Hit


@dataclass(frozen=True)
class Match(Hit):
    """A search result with the path of its file and its name."""

    path: str | None
    """Relative to the folder of the database; None if the table has no paths."""
    name: str
    """Its label in the table, which is the name of its file if the label is a path, else its id."""


@dataclass(frozen=True)
class Step(paths.Step):
    """An image on the way between two, with the path of its file and its name as of a Match."""

    path: str | None
    name: str


@dataclass(frozen=True)
class Duplicates:
    """What `Collection.duplicates` found."""

    space: str
    groups: list[duplicates.Group]
    counts: dict[str, tuple[int, int]]
    """{kind: (groups, images in them that are not the ones to keep)}, also of other kinds."""


@dataclass(frozen=True)
class Groups:
    """What `Collection.groups` found."""

    space: str
    groups: list[groups.Group]
    """The largest first."""
    ungrouped: int
    """How many images are in none."""
    covers: dict[int | str, str]
    """For the key of each cover, its path; its name where the table has no paths."""
