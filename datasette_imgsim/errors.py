"""The exceptions whose text is meant for the user."""

from collections.abc import Iterable


class ImgsimError(Exception):
    """An error whose text is one sentence for the user: what is wrong, and what to do about it."""


class Loading(ImgsimError):
    """Something is being loaded: try again in a moment."""


def check_number(name: str, value: object, least: int, most: int | None = None) -> None:
    """Raises ImgsimError unless a value is a whole number from `least` to `most`."""
    if isinstance(value, int) and not isinstance(value, bool):
        if least <= value and (most is None or value <= most):
            return
    upper = "up" if most is None else f"to {most}"
    raise ImgsimError(f"{name} is a whole number from {least} {upper}, not {value!r:.60}")


def check_choice(name: str, value: object, choices: Iterable[str]) -> None:
    """Raises ImgsimError unless a value is one of the choices."""
    choices = list(choices)
    if value not in choices:
        raise ImgsimError(f"{name} is one of {listed(choices)}, not {value!r:.60}")


def listed(names: Iterable[str]) -> str:
    """The names, at least one, as text: 'a, b and c'."""
    names = list(names)
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
