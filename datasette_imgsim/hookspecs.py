"""The hook through which other packages add models."""

from pluggy import HookspecMarker

hookspec = HookspecMarker("datasette")


@hookspec
def register_imgsim_models(register):
    """Call register(model) for each `datasette_imgsim.models.base.Model` to add."""
