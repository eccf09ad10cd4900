"""The plugin's hooks for Datasette. This module imports nothing heavy, not even Datasette.

The hooks must be here: Datasette looks for `static/` and `templates/` beside its entry point.
"""

from __future__ import annotations

from pluggy import HookimplMarker

hookimpl = HookimplMarker("datasette")


def __getattr__(name: str):
    if name == "Collection":
        from .collection import Collection

        return Collection
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@hookimpl
def register_commands(cli):
    from .cli.commands import imgsim

    cli.add_command(imgsim)


@hookimpl
def register_routes():
    from .web.pages import routes

    return routes.ROUTES


@hookimpl
def startup(datasette):
    from .web import config, state

    config.check(datasette)
    state.warm(datasette)
    return lambda: config.check_spaces(datasette)


@hookimpl
def prepare_connection(conn, database, datasette):
    from .web import state

    state.register_functions(conn, database, datasette)


@hookimpl(wrapper=True)
def render_cell(row, value, column, table, database, datasette):
    from .web.table import cells

    others = yield
    return [cells.render_cell(datasette, database, table, row, column, value, others)]


@hookimpl
def asgi_wrapper(datasette):
    from .web.front import hidden
    from .web.table import filters

    return lambda app: filters.reset_filter_middleware(hidden.middleware(datasette, app))


@hookimpl
def filters_from_request(request, datasette):
    from .web.table import filters

    return filters.filters_from_request(datasette, request)


@hookimpl
def register_facet_classes():
    from .web.table import facets

    return [facets.GroupFacet]


@hookimpl
def extra_css_urls(template, database, table, view_name, datasette):
    from .web.table import menus

    return menus.css_urls(datasette, template, database, table, view_name)


@hookimpl
def extra_js_urls(database, table, view_name, datasette):
    from .web.table import menus

    return menus.js_urls(datasette, database, table, view_name)


@hookimpl
def top_homepage(datasette, request):
    # Datasette 1.0, as the next three
    from .web.front import pages

    return pages.instance(datasette, request)


@hookimpl
def top_database(datasette, request, database):
    from .web.front import pages

    return pages.database(datasette, request, database)


@hookimpl
def top_row(datasette, request, database, table):
    from .web.front import pages

    return pages.row(datasette, request, database, table)


@hookimpl
def top_table(datasette, request, database, table):
    from .web.table import top

    return top.html(datasette, request, database, table)


@hookimpl
def extra_template_vars(template, database, table, view_name, request, datasette):
    # Datasette 0.65, as the next one
    from .web.front import slots

    return slots.template_vars(datasette, request, database, table, view_name, template)


@hookimpl
def get_metadata(datasette):
    from .web.front import hidden

    return hidden.metadata(datasette)


@hookimpl
def table_actions(datasette, database, table, request):
    from .web.table import menus

    return menus.table_actions(datasette, database, table, request)


@hookimpl
def row_actions(datasette, database, table, row):
    from .web.table import menus

    return menus.row_actions(datasette, database, table, row)


@hookimpl
def database_actions(datasette, actor, database):
    from .web.table import menus

    return menus.database_actions(datasette, actor, database)


@hookimpl(trylast=True)
def permission_allowed(datasette, actor, action, resource):
    # Datasette 0.65, in which the last plugin's answer counts.
    from .web import permissions

    return permissions.permission_allowed(datasette, actor, action, resource)


@hookimpl
def permission_resources_sql(datasette, actor, action):
    # Datasette 1.0
    from .web import permissions

    return permissions.permission_resources_sql(datasette, actor, action)
