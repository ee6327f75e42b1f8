"""One call of the Web API as its methods see it: arguments, workspace, and the errors they may answer."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from playground import world
from playground.options import Json
from playground.slack.store import Place, SlackStore

if TYPE_CHECKING:
    from playground.slack.platform import SlackPlatform


class SlackError(Exception):
    """An answer `ok: false`; `messages` go into response_metadata, `extra` beside the error."""

    def __init__(self, error: str, messages: Sequence[str] = (), **extra: object) -> None:
        super().__init__(error)
        self.error = error
        self.messages = list(messages)
        self.extra = extra

    def answer(self) -> Json:
        """The body that Slack sends."""
        body: Json = {"ok": False, "error": self.error, **self.extra}
        if self.messages:
            body["response_metadata"] = {"messages": self.messages}
        return body


@dataclass(slots=True)
class Call:
    """A method call with a valid token."""

    slack: "SlackPlatform"
    method: str
    arguments: Json

    @property
    def store(self) -> SlackStore:
        """The workspace's contents."""
        return self.slack.store

    def text(self, key: str, default: str = "") -> str:
        """An argument as a string."""
        value = self.arguments.get(key)
        return default if value is None else str(value)

    def flag(self, key: str) -> bool:
        """An argument as a truth value; forms send `1` and `true`."""
        return str(self.arguments.get(key, "")).lower() in {"1", "true"}

    def number(self, key: str, default: int, most: int) -> int:
        """An argument as a number between 1 and `most`."""
        try:
            return max(1, min(int(self.text(key) or default), most))
        except ValueError:
            raise SlackError("invalid_limit") from None

    def json(self, key: str, error: str) -> object:
        """An argument that is JSON, or a string of JSON as forms send it; None where it is missing or empty."""
        value = self.arguments.get(key)
        if isinstance(value, str):
            if not value.strip():
                return None
            try:
                return json.loads(value)
            except ValueError:
                raise SlackError(error) from None
        return value

    def place(self, key: str = "channel", *, by_name: bool = False) -> Place:
        """The conversation an argument names; a person's id means the direct conversation with them."""
        given = self.text(key)
        if place := self.store.places.get(given):
            return place
        if by_name:
            if given in self.store.people and given != world.SLACK_BOT_USER:
                return self.store.direct(self.store.people[given])
            if place := self.store.place_named(given):
                return place
        raise SlackError("channel_not_found")


Method = Callable[[Call], Json]
