"""The one exception whose text is meant for the user."""

from collections.abc import Iterable


class ImgsimError(Exception):
    """One sentence that names the thing that is wrong and how to go on."""


def listed(names: Iterable[str]) -> str:
    """'a, b and c'."""
    names = list(names)
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
