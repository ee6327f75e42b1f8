"""The ids of the channels that the bot is in, by name.

https://docs.slack.dev/reference/methods/users.conversations: tier 3, at most 999 a page. The channels of the whole
workspace (conversations.list, tier 2) can be more than its budget shows in a minute; the bot can only post in its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock

from slack_sdk.web import WebClient

from bot.errors import DestinationGone, IntegrationError, Unavailable
from integrations.http import CALL_DEADLINE_S
from integrations.slack.errors import SYSTEM
from integrations.slack.web import ask
from integrations.transport import together

FRESH_S = 60.0
PAGE = 999
_TYPES = "public_channel,private_channel"


class Channels:
    """Read once for many destinations; a reading that is interrupted goes on where it stopped."""

    def __init__(self, web: WebClient, now_s: Callable[[], float] = time.monotonic) -> None:
        self._web = web
        self._now_s = now_s
        self._lock = Lock()
        self._known: dict[str, str] = {}
        self._known_at = float("-inf")
        self._cursor = ""
        self._read: dict[str, str] = {}

    def id_of(self, name: str) -> str:
        """The id of the channel of a name in lower case; DestinationGone when the bot is in none."""
        with together(CALL_DEADLINE_S), self._alone():
            if self._now_s() - self._known_at >= FRESH_S:
                while name not in self._read and self._read_page():
                    pass
                if name in self._read:
                    return self._read[name]
            if name not in self._known:
                words = f"#{name}: the bot is in no channel of this name; invite it there, or name the channel's id"
                raise DestinationGone(SYSTEM, "channel_not_found", words)
            return self._known[name]

    def forget(self, channel: str) -> None:
        """A channel is gone: what is known of its name is read anew."""
        with self._lock:
            if channel in self._known.values() or channel in self._read.values():
                self._known, self._known_at, self._read, self._cursor = {}, float("-inf"), {}, ""

    def _read_page(self) -> bool:
        """Read the next page; False when it was the last one, and everything is known anew."""
        try:
            answer = ask(
                "users.conversations",
                self._web.users_conversations,
                types=_TYPES,
                exclude_archived=True,
                limit=PAGE,
                cursor=self._cursor or None,
            )
        except IntegrationError as problem:
            if not problem.recoverable:  # such as a cursor that Slack does not know any more
                self._cursor, self._read = "", {}
            raise
        for channel in answer.get("channels") or ():
            self._read[str(channel.get("name", "")).lower()] = str(channel["id"])
        self._cursor = str((answer.get("response_metadata") or {}).get("next_cursor") or "")
        if self._cursor:
            return True
        self._known, self._known_at, self._read = self._read, self._now_s(), {}
        return False

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One thread at a time reads; the others find what it has read."""
        if not self._lock.acquire(timeout=CALL_DEADLINE_S):
            raise Unavailable(SYSTEM, "deadline")
        try:
            yield
        finally:
            self._lock.release()
