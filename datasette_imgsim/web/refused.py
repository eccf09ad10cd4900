"""What a page of ours says when it cannot do what was asked."""


class Refused(Exception):
    """What an error page says, with its HTTP status."""

    def __init__(self, status: int, message: str, headers: dict | None = None):
        super().__init__(message)
        self.status, self.message, self.headers = status, message, headers or {}
