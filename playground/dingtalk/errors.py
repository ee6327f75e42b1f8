"""How DingTalk's new API refuses."""


class ApiError(Exception):
    """An answer with an HTTP error status and `{code, message, requestid}`."""

    def __init__(self, code: str, message: str | None = None, status: int = 400) -> None:
        super().__init__(code)
        self.code = code
        self.message = message or code
        self.status = status
