"""waitress' connections, which keep no thread while their answer hangs on a write.

With a thread for each request that waits, the interpreter's lock goes round among all of them at every statement of
the one thread that writes: a webhook in a hundred took three times as long.
"""

from __future__ import annotations

import threading
from typing import Any

from flask import Response
from waitress.channel import HTTPChannel
from waitress.task import Task, WSGITask

from bot.telemetry import logger
from handlers.later import PART, Later

log = logger(__name__)


class Parted(BaseException):
    """Leaves a request that will be answered later, past all who would answer what they catch."""

    def __init__(self, later: Later) -> None:
        super().__init__()
        self.later = later


class Asked(WSGITask):  # type: ignore[misc]  # waitress has no types
    """Asks the application."""

    def get_environment(self) -> dict[str, Any]:
        """What waitress tells, and that it can wait."""
        return super().get_environment() | {PART: _part}  # type: ignore[no-any-return]  # the same


class Told(Task):  # type: ignore[misc]  # the same
    """Answers what is known by now."""

    complete = True

    def __init__(self, channel: HTTPChannel, request: object, response: Response) -> None:
        super().__init__(channel, request)
        self._response = response

    def execute(self) -> None:
        """Send it."""
        body = self._response.get_data()
        self.status = self._response.status
        self.response_headers.extend(self._response.headers)
        self.content_length = len(body)
        self.write(body)


class Connection(HTTPChannel):  # type: ignore[misc]  # the same
    """A connection; its requests are answered one after the other."""

    def __init__(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401 - waitress'
        self._waits_for: Later | None = None
        self._is_telling = threading.Lock()
        super().__init__(*arguments, **named)
        self._response: Response | None = None

    def task_class(self, channel: HTTPChannel, request: object) -> Task:
        """How waitress answers a request."""
        response, self._response = self._response, None
        return Asked(channel, request) if response is None else Told(channel, request, response)

    def service(self) -> None:
        """Ask the application, in a thread of the server's; answer at once or later."""
        try:
            super().service()
        except Parted as parted:
            later = self._waits_for = parted.later
            later.writing.then(lambda: self._tell(later))

    def writable(self) -> bool:
        """The loop asks each time that it turns, once a second at least; who has waited too long is told so."""
        later = self._waits_for
        if later is not None and later.writing.is_over():
            self._tell(later)
        return bool(super().writable())

    def handle_write(self) -> None:
        """While a request waits what was answered before it leaves; waitress would hold it back, and the loop spin."""
        if self._waits_for is not None:
            self._flush_exception(self._flush_some_if_lockable)
            if self.socket is None:  # the client has left
                return
        super().handle_write()

    def _tell(self, later: Later) -> None:
        """Answer, once: the write may be over at the very moment when nobody waits for it any longer."""
        with self._is_telling:
            if self._waits_for is not later:
                return
            self._waits_for = None
        self._response = later.answer()
        if self.total_outbufs_len >= self.adj.send_bytes:
            # A client that does not read what it was answered before: only a thread of the server's may wait for it.
            self.server.add_task(self)
            return
        try:
            super().service()
        except Exception as problem:  # the edge of the loop, which would end, and of the thread that writes
            log.exception("an answer was not sent", error=problem)
            self.will_close = True


def _part(later: Later) -> None:
    raise Parted(later)
