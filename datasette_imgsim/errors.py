"""The one exception whose text is meant for the user."""

from collections.abc import Iterable


class ImgsimError(Exception):
    """An error whose text is one sentence for the user: what is wrong, and what to do about it."""


def listed(names: Iterable[str]) -> str:
    """The names, at least one, as text: 'a, b and c'."""
    names = list(names)
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
