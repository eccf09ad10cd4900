"""The hooks through which other packages add models and engines."""

import functools
import sys

from pluggy import HookspecMarker

hookspec = HookspecMarker("datasette")


@hookspec
def register_imgsim_models(register):
    """Call register(model) for each `datasette_imgsim.models.base.Model` to add."""


@hookspec
def register_imgsim_engines(register):
    """Call register(name, open) for each engine to add.

    open(uri, token, timeout) gives a `datasette_imgsim.search.engine.Engine`; `timeout` are the
    seconds that a call of a reader may take.
    """


@functools.cache
def plugins():
    """Datasette's plugin manager, through which other packages add what these hooks name."""
    from datasette.plugins import pm

    pm.add_hookspecs(sys.modules[__name__])
    return pm
