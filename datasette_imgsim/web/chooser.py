"""The part of a page with which one searches by a picture of one's own."""

from __future__ import annotations

from ..db.spaces import Space
from ..ingest import settings
from .refused import Refused
from .source import Source


def chooser(source: Source, actor: dict | None, space: Space) -> dict | None:
    """What the template of it needs; None if the actor may not send pictures."""
    if not source.config.may_upload(actor):
        return None
    return {
        "url": source.urls.upload,
        "max_bytes": source.config.max_upload_bytes,
        "max_mb": source.config.max_upload_mb,
        "unavailable": settings.unavailable(space, source.folder),
    }


def may_look(source: Source, actor: dict | None, space: Space) -> bool:
    """Whether the server looks at pictures for the actor, as it does at those that are sent."""
    upload = chooser(source, actor, space)
    return upload is not None and not upload["unavailable"]


def check_may_look(source: Source, actor: dict | None) -> None:
    """Raises Refused if the server does not look at pictures for the actor."""
    if not source.config.may_upload(actor):
        raise Refused(
            403,
            "The server does not look at pictures for you: the setting uploads of "
            "datasette-imgsim says for whom it does",
        )


def check_may_upload(source: Source, actor: dict | None) -> None:
    """Raises Refused if the actor may not send pictures."""
    if not source.config.may_upload(actor):
        raise Refused(403, "You may not search with an image of your own here")
