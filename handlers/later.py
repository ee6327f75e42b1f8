"""Answers that hang on a write, for a server that can wait for it without keeping a thread."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from flask import Response

from bot.ports import Writing
from bot.telemetry import logger

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

# In the environment of a request whose server can wait: what it is to be given. It does not return.
PART = "shipmate.part"
RETRY_AFTER_S = 30

log = logger(__name__)


class Later(Response):
    """What `answer` makes of a writing that is over; a server that gave no `PART` waits for it in its thread."""

    def __init__(self, writing: Writing[Any], answer: Callable[[], Response]) -> None:
        super().__init__()
        self.writing = writing
        self._answer = answer

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer, or let the server do so."""
        part: Callable[[Later], None] | None = environ.get(PART)
        if part is not None:
            part(self)
        return self.answer()(environ, start_response)

    def answer(self) -> Response:
        """The answer; waits for the writing where that is not over."""
        try:
            return self._answer()
        except Exception as problem:  # the door's edge: Flask, which would have caught it, has left
            log.exception("an answer failed", error=problem)
            return sorry()


def sorry() -> Response:
    """The answer to mistakes of our own: senders punish 500, and give up what they would send again after 503."""
    headers = {"Retry-After": str(RETRY_AFTER_S)}
    return Response("something went wrong here, try again\n", status=503, headers=headers, mimetype="text/plain")
