"""The one exception whose text is meant for the user."""


class ImgsimError(Exception):
    """One sentence that names the thing that is wrong and how to go on."""
