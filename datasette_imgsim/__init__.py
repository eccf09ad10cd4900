"""Datasette hooks, nothing else."""

from __future__ import annotations

from datasette import hookimpl


@hookimpl
def register_commands(cli):
    from .cli import imgsim

    cli.add_command(imgsim)


@hookimpl
def register_routes():
    from .web import routes

    return routes.ROUTES


@hookimpl
def startup(datasette):
    from .web import config, warming

    config.check(datasette)
    warming.warm(datasette)


@hookimpl
def prepare_connection(conn, database, datasette):
    from .web import warming

    warming.register_functions(conn, database, datasette)


@hookimpl(tryfirst=True)
def render_cell(row, value, column, table, database, datasette):
    from .web import tables

    return tables.render_cell(datasette, database, table, row, column, value)


@hookimpl
def asgi_wrapper():
    from .web import filters

    return filters.forgetting


@hookimpl
def filters_from_request(request, datasette):
    from .web import filters

    return filters.filters_from_request(datasette, request)


@hookimpl
def extra_css_urls(database, table, view_name, datasette):
    from .web import tables

    return tables.css_urls(datasette, database, table, view_name)


@hookimpl
def extra_js_urls(database, table, datasette):
    from .web import tables

    return tables.js_urls(datasette, database, table)


@hookimpl
def table_actions(datasette, actor, database, table):
    from .web import tables

    return tables.table_actions(datasette, actor, database, table)


@hookimpl
def row_actions(datasette, database, table, row):
    from .web import tables

    return tables.row_actions(datasette, database, table, row)


@hookimpl
def database_actions(datasette, actor, database):
    from .web import tables

    return tables.database_actions(datasette, actor, database)


@hookimpl(trylast=True)
def permission_allowed(datasette, actor, action, resource):
    # Datasette 0.65, where the answer of the last plugin counts.
    from .web import permissions

    return permissions.permission_allowed(datasette, actor, action, resource)


@hookimpl
def permission_resources_sql(datasette, actor, action):
    # Datasette 1.0
    from .web import permissions

    return permissions.permission_resources_sql(datasette, actor, action)


# Last: this import makes Datasette load its plugins, and they must find the hooks above.
from datasette.plugins import pm  # noqa: E402

from . import hookspecs  # noqa: E402

pm.add_hookspecs(hookspecs)
