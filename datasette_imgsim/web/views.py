"""The tabs Rows, Gallery and Map, which show one query, and its filter in words."""

from __future__ import annotations

from dataclasses import dataclass

from .query import Query
from .table.filters import Likeness
from .urls import TableUrls


@dataclass(frozen=True)
class Views:
    """The views of a table for one query."""

    shown: str
    """The view that is on this page: 'Rows', 'Gallery' or 'Map'."""
    query: Query
    urls: TableUrls
    likeness: Likeness | None = None
    """The filter by likeness, once it is known."""

    @property
    def tabs(self) -> dict[str, str]:
        """The address of each view by name."""
        return {name: self._url(name, self.query) for name in ("Rows", "Gallery", "Map")}

    @property
    def clear(self) -> str | None:
        """The address of this view without filters and order; None if there are none."""
        query = self.query
        if not query.is_filter and query.cleared == query:
            return None
        return self._url(self.shown, query.cleared)

    @property
    def by_likeness(self) -> str | None:
        """The address of the gallery in order of likeness; None if it is what is shown."""
        query = self.query.without("_sort", "_sort_desc")
        if self.likeness is None or (self.shown == "Gallery" and query == self.query):
            return None
        return self._url("Gallery", query)

    @property
    def picture(self) -> dict | None:
        """The image of the filter by likeness: its name, similar page and thumbnail."""
        if self.likeness is None:
            return None
        id = self.likeness.id
        return {
            "name": self.likeness.name,
            "href": self.urls.similar(id),
            "thumbnail": self.urls.thumbnail(id) if self.likeness.has_thumbnail else None,
        }

    @property
    def wheres(self) -> list[str]:
        """Conditions in SQL, which Datasette does not put into words."""
        return self.query.getlist("_where")

    def _url(self, name: str, query: Query) -> str:
        if name == "Rows":
            return query.rows_url(self.urls.rows)
        return query.page_url(self.urls.gallery if name == "Gallery" else self.urls.map)
