"""The facet of Datasette's own page of a source table that counts the rows of each group.

`?_facet_likeness=group` shows it; `filters` checks that it can. Its links add the filter
`_in_group=`. `_space=NAME` says in which space.
"""

from __future__ import annotations

from datasette.database import QueryInterrupted
from datasette.facets import Facet
from datasette.utils import path_with_added_args, path_with_removed_args

from ...db.groups import read_names
from ...db.spaces import Space
from ...db.tables import quoted
from ...errors import ImgsimError
from .. import compat
from ..groups import FACET, GROUP, get_groups, known_names
from ..options import named_space
from ..query import Query
from ..refused import Refused
from ..source import Source, requested_source
from .cells import source_tables

FEWEST = 2
"""Fewer groups than this tell nothing about the rows."""


class GroupFacet(Facet):
    """How many of the selected rows have their image in each group."""

    type = "likeness"

    async def suggest(self) -> list[dict]:
        """The facet, unless it is there already, or would tell nothing about the rows."""
        if self.get_configs() or self.request.args.get("_in_group") or not await self._is_source():
            return []
        try:
            source = await requested_source(self.ds, self.request)
            names = await source.db.execute_fn(
                lambda conn: read_names(conn, self._space(conn, source))
            )
        except (Refused, ImgsimError, *compat.UNREADABLE):
            return []  # the page was not asked about groups
        if len(names) < FEWEST:
            return []
        path = path_with_added_args(self.request, {FACET: GROUP})
        return [{"name": GROUP, "type": self.type, "toggle_url": self._absolute(path)}]

    async def facet_results(self) -> tuple[list[dict], list[str]]:
        """([the facet if it is asked for], [its name if counting takes too long])."""
        configs = self.get_configs()
        if not configs or not await self._is_source():
            return [], []
        try:
            counted = await self._counted(await requested_source(self.ds, self.request))
        except QueryInterrupted:
            return [], [GROUP]
        except (Refused, ImgsimError):
            return [], []  # configured for a table whose groups are still to be made
        size = self.get_facet_size()
        path = path_with_removed_args(self.request, {FACET: GROUP})
        facet = {
            "name": GROUP,
            "type": self.type,
            "hideable": any(each["source"] == "request" for each in configs),
            "toggle_url": self.ds.urls.path(path),
            "results": [self._value(*each) for each in counted[:size]],
            "truncated": len(counted) > size,
        }
        return [facet], []

    async def _is_source(self) -> bool:
        """Whether the rows are those of a source table."""
        return self.table in await source_tables(self.ds, self.database)

    def _space(self, conn, source: Source) -> Space:
        return named_space(conn, source, self.request.args.get("_space") or None)

    async def _counted(self, source: Source) -> list[tuple[int, str, int]]:
        """(id, name, how many of the rows) of each group that has any, the most frequent first."""

        def find(conn):
            space = self._space(conn, source)
            return space, known_names(conn, source, space)

        space, names = await source.db.execute_fn(find)
        if not Query.of_table(self.request.query_string).is_filter:  # of very many rows, as likely
            return [
                (each.id, each.name, each.images)
                for each in (await get_groups(source, space)).groups
            ]
        # "cross join" and "+" let SQLite look up the group of each row.
        rows = await self.ds.execute(
            self.database,
            f"select m.group_id, count(*) from ({self.sql}) selected "
            "cross join imgsim_group_members m on m.space_id = :imgsim_space "
            f"and m.image_key = +selected.{quoted(source.table.key)} group by 1 order by 2 desc, 1",
            dict(self.params, imgsim_space=space.id),
            truncate=False,
            custom_time_limit=self.ds.setting("facet_time_limit_ms"),
        )
        return [(id, names[id], count) for id, count in rows.rows if id in names]

    def _value(self, id: int, name: str, count: int) -> dict:
        """What Datasette shows of a group."""
        selected = ("_in_group", str(id)) in self.get_querystring_pairs()
        change = path_with_removed_args if selected else path_with_added_args
        path = change(self.request, {"_in_group": str(id)})
        return {
            "value": id,
            "label": name,
            "count": count,
            "toggle_url": self._absolute(path),
            "selected": selected,
        }

    def _absolute(self, path: str) -> str:
        return self.ds.absolute_url(self.request, self.ds.urls.path(path))
