"""Pictures that visitors have sent: held in memory for a while, under tokens nobody can guess."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cachetools import TTLCache

from ..db.spaces import Space
from ..limits import LIMITS

if TYPE_CHECKING:
    from ..ingest.query import EmbeddedPicture

OVERHEAD_BYTES = 1_000


@dataclass(frozen=True)
class Held:
    """A picture that is not in the database."""

    table: str
    """The source table that it was compared with."""
    space: Space
    """The space that its vector is of."""
    name: str
    picture: EmbeddedPicture

    @property
    def bytes(self) -> int:
        return self.picture.vector.nbytes + len(self.picture.thumbnail) + OVERHEAD_BYTES


class HeldPictures:
    """The pictures that are held for one database: those used last, each as long as it is used."""

    def __init__(self, timer: Callable[[], float] = time.monotonic):
        most = LIMITS.bytes_of_held
        # One that is larger than all may be together is held alone.
        self._pictures: TTLCache = TTLCache(
            most, LIMITS.seconds_of_held, timer, lambda held: min(held.bytes, most)
        )

    def put(self, held: Held) -> str:
        """Holds a picture; gives its token, 43 characters from A-Z, a-z, 0-9, - and _."""
        token = secrets.token_urlsafe(32)
        self._pictures[token] = held
        return token

    def get(self, table: str, token: str) -> Held | None:
        """The picture of a token, if it is still held for this table; its time begins anew."""
        held = self._pictures.get(token)
        if held is None or held.table != table:
            return None
        self._pictures[token] = held
        return held
