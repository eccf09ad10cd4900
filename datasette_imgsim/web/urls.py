"""The addresses of pages and pictures."""

from __future__ import annotations

import urllib.parse
from dataclasses import dataclass

from datasette.utils import tilde_decode, tilde_encode

from . import compat


@dataclass(frozen=True)
class TableUrls:
    """The addresses of one source table's pages and pictures. Ids are keys as stored."""

    datasette: object
    database: str
    table: str

    @property
    def rows(self) -> str:
        """Datasette's own page of the table."""
        return str(self.datasette.urls.table(self.database, self.table))

    def rows_like(self, id) -> str:
        """Datasette's own page of the table, filtered by likeness to an image."""
        return f"{self.rows}?{urllib.parse.urlencode({'_similar_to': str(id)})}"

    def row(self, id) -> str:
        """Datasette's own page of one row."""
        return str(self.datasette.urls.row(self.database, self.table, tilde_encode(str(id))))

    @property
    def gallery(self) -> str:
        return f"{self.rows}/-/imgsim"

    @property
    def map(self) -> str:
        return f"{self.gallery}/map"

    @property
    def duplicates(self) -> str:
        return f"{self.gallery}/duplicates"

    @property
    def groups(self) -> str:
        return f"{self.gallery}/groups"

    @property
    def search(self) -> str:
        return f"{self.gallery}/search"

    @property
    def upload(self) -> str:
        return f"{self.gallery}/upload"

    def uploaded(self, token: str) -> str:
        """The page of a picture that is held under a token."""
        return f"{self.upload}/{token}"

    def uploaded_why(self, token: str) -> str:
        """Below it are the pages that say why images are like a picture that is held."""
        return f"{self.uploaded(token)}/why"

    def why(self, id) -> str:
        """Below it are the pages that say why images are like this one."""
        return f"{self.gallery}/why/{tilde_encode(str(id))}"

    def similar(self, id) -> str:
        return f"{self.gallery}/similar/{tilde_encode(str(id))}"

    def thumbnail(self, id) -> str:
        return f"{self.gallery}/thumbnail/{tilde_encode(str(id))}.jpg"

    def key_of_thumbnail(self, address: str) -> str | None:
        """The key, as text, of the image whose thumbnail has this address; None if none has."""
        before, after = f"{self.gallery}/thumbnail/", ".jpg"
        if not (address.startswith(before) and address.endswith(after)):
            return None
        key = tilde_decode(address[len(before) : -len(after)])
        return key if self.thumbnail(key) == address else None

    def large(self, id) -> str:
        return f"{self.gallery}/large/{tilde_encode(str(id))}.jpg"


async def sql_url(datasette, actor, database: str, sql: str) -> str | None:
    """The address that runs a query; None if the actor may not run queries."""
    if not await compat.can_execute_sql(datasette, actor, database):
        return None
    return f"{datasette.urls.database(database)}?{urllib.parse.urlencode({'sql': sql})}"
