"""The arguments of the SQL functions: what they may be, and sentences about those they may not."""

from __future__ import annotations

import json

from ..errors import ImgsimError, listed
from ..limits import LIMITS

DEFAULT_K = 20
OPTIONS = ("level_weights", "space")
SIMILAR_OPTIONS = ("level_weights", "minus", "plus", "rerank", "space")
VECTOR_OPTIONS = ("level_weights", "ranked", "space")
PICTURE_OPTIONS = PATH_OPTIONS = ("space",)
STATUS_OPTIONS = ("level_weights", "minus", "plus", "ranked", "rerank", "space")


def parsed_options(options, allowed: tuple) -> dict:
    """The options as a dictionary, in which null means absent. Raises ImgsimError."""
    if options == "":  # Datasette's value for a parameter that is not given yet
        return {}
    if isinstance(options, str) and len(options) > LIMITS.characters_of_options:
        raise ImgsimError(
            f"The options have {len(options):,} characters: give at most "
            f"{LIMITS.characters_of_options:,}"
        )
    try:
        parsed = json.loads(options) if isinstance(options, str) else None
    except (ValueError, RecursionError):
        parsed = None
    if not isinstance(parsed, dict):
        raise ImgsimError(f"Options must be a JSON object, not {repr(options):.60}")
    for name in parsed:
        if name not in allowed:
            raise ImgsimError(f"No option {name!r}: there is {listed(allowed)}")
    if not isinstance(parsed.get("space"), (str, type(None))):
        raise ImgsimError("The option space is the name of a space, as text")
    for name in ("plus", "minus"):
        ids = parsed.get(name) or []
        if not isinstance(ids, list) or not all(_is_id(id) for id in ids):
            raise ImgsimError(f"The option {name} is a list of ids, such as [3, 9]")
    for name in ("ranked", "rerank"):
        if not isinstance(parsed.get(name), (bool, type(None))):
            raise ImgsimError(f"The option {name} is true or false")
    return parsed


def _is_id(id) -> bool:
    return isinstance(id, (int, float, str)) and not isinstance(id, bool)


def count_of(k) -> int:
    """How many results are asked for. Raises ImgsimError."""
    if k == "":
        return DEFAULT_K
    try:
        if isinstance(k, (int, str)) or (isinstance(k, float) and k.is_integer()):
            count = int(k)
            if count >= 0:
                return count
    except ValueError:
        pass
    raise ImgsimError(f"k must be a whole number from 0 up, not {repr(k):.60}")
