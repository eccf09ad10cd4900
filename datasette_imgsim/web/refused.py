"""The error of our pages."""


class Refused(Exception):
    """A request cannot be fulfilled: the sentence of the error page, with its HTTP status."""

    def __init__(self, status: int, message: str, headers: dict | None = None):
        super().__init__(message)
        self.status, self.message, self.headers = status, message, headers or {}
