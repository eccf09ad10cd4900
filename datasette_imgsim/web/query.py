"""The query that the views of a table share: which rows, in which order, with what facets.

Datasette's page of a table, the gallery and the map take the same parameters for this, those of
Datasette. Only where a page of ours has a parameter of the same name as a column of the table, the
column is written `name__exact` there, which Datasette understands as well.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass

OWN_OF_GALLERY = frozenset({"space", "level_weights", "plus", "minus", "bbox"})
"""The parameters of the gallery that are no filters by a column."""
OWN_OF_MAP = OWN_OF_GALLERY | {"at", "id", "color", "value", "z", "v", "find", "view", "groups"}
"""Those of the map, its tiles and its JSON."""
OF_ONE_ANSWER = frozenset(
    "_size _next _col _nocol _shape _extra _label _labels _nl _json _json_infinity _stream _dl "
    "_header _ttl _trace _weaker _scores _timelimit _nocount _nofacet _nosuggest".split()
)
"""Parameters of Datasette that say how an answer is given, not which rows it is about."""
EXACT = "__exact"
NO_FILTERS = ("_space", "_similar_min", "_searchmode", "_fts_table", "_fts_pk")
"""Parameters that select nothing by themselves, beside those for facets and for the order."""


@dataclass(frozen=True)
class Query:
    """The parameters that select, sort and count rows, in Datasette's spelling."""

    pairs: tuple[tuple[str, str], ...]

    @classmethod
    def of_table(cls, query_string: str) -> Query:
        """The query in an address of Datasette's page of a table."""
        pairs = urllib.parse.parse_qsl(query_string, keep_blank_values=True)
        return cls(tuple(pair for pair in pairs if pair[0] not in OF_ONE_ANSWER))

    @classmethod
    def of_page(cls, query_string: str, own: frozenset[str]) -> Query:
        """The query in an address of a page of ours that has parameters of its `own`."""
        pairs = []
        for name, value in cls.of_table(query_string).pairs:
            if name in own:
                # The gallery's older name for the filter, and the space that filters look in.
                name = {"bbox": "_in_atlas", "space": "_space"}.get(name, "")
                if not (name and value) or (name == "_in_atlas" and own != OWN_OF_GALLERY):
                    continue
            elif name.endswith(EXACT) and name.removesuffix(EXACT) in OWN_OF_MAP:
                name = name.removesuffix(EXACT)
            pairs.append((name, value))
        return cls(tuple(pairs))

    def getlist(self, name: str) -> list[str]:
        """All values of a parameter."""
        return [value for each, value in self.pairs if each == name]

    def get(self, name: str) -> str | None:
        """The first value of a parameter that is not empty, or None."""
        return next(filter(None, self.getlist(name)), None)

    @property
    def filters(self) -> Query:
        """The parameters that say which rows there are, without order and facets."""
        return Query(tuple(pair for pair in self.pairs if not _is_arrangement(pair[0])))

    @property
    def is_filter(self) -> bool:
        """Whether it leaves rows out."""
        return any(name not in NO_FILTERS for name, _ in self.filters.pairs)

    @property
    def asks(self) -> bool:
        """Whether it asks for anything but a space."""
        return any(name != "_space" for name, _ in self.pairs)

    @property
    def cleared(self) -> Query:
        """The query without its filters and its order: the space and the facets stay."""
        return Query(tuple(pair for pair in self.pairs if _stays(pair[0])))

    def in_space(self, name: str) -> Query:
        """The query in another space."""
        return Query((("_space", name), *self.without("_space").pairs))

    def in_group(self, id: int | None) -> Query:
        """The query for the images of a group, or with None of whichever group."""
        chosen = () if id is None else (("_in_group", str(id)),)
        return Query((*self.without("_in_group").pairs, *chosen))

    def without(self, *names: str) -> Query:
        """The query without these parameters."""
        return Query(tuple(pair for pair in self.pairs if pair[0] not in names))

    @property
    def for_rows(self) -> str:
        """The query string, without '?', for Datasette's page of the table."""
        return _encoded(self.pairs)

    @property
    def for_pages(self) -> str:
        """The query string, without '?', for any page of ours."""
        return _encoded([(_name_on_pages(name), value) for name, value in self.pairs])

    def rows_url(self, base: str) -> str:
        """The address of Datasette's page of the table at `base`, with this query."""
        return _joined(base, self.for_rows)

    def page_url(self, base: str, own: Mapping | None = None) -> str:
        """The address of a page of ours at `base`, with parameters of its own that are not None."""
        given = [(name, value) for name, value in (own or {}).items() if value is not None]
        return _joined(base, "&".join(filter(None, [self.for_pages, _encoded(given)])))


def _is_arrangement(name: str) -> bool:
    return name.startswith(("_facet", "_sort")) and "__" not in name


def _stays(name: str) -> bool:
    return name == "_space" or (name.startswith("_facet") and "__" not in name)


def _name_on_pages(name: str) -> str:
    if name == "_space":
        return "space"
    return name + EXACT if name in OWN_OF_MAP else name


def _encoded(pairs) -> str:
    return urllib.parse.urlencode(pairs, safe=":,")  # pool5:1,pool3:.5 stays readable


def _joined(base: str, query: str) -> str:
    return f"{base}?{query}" if query else base
