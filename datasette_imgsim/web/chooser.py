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


def check_may_upload(source: Source, actor: dict | None) -> None:
    """Raises Refused if the actor may not send pictures."""
    if not source.config.may_upload(actor):
        raise Refused(403, "You may not search with an image of your own here")
