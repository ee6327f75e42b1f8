"""A small client of the control API, with nothing but the standard library."""

import http.client
import json
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode, urlsplit

from playground.options import Json


class ControlError(Exception):
    """The control API refused; the text says why."""


class Client:
    """Speaks to a running playground; each call is one connection."""

    def __init__(self, url: str, timeout_s: float = 30.0) -> None:
        self.url = url.rstrip("/")
        self._timeout_s = timeout_s

    def request(self, verb: str, path: str, body: object = None) -> Json:
        """One call; ControlError for anything but 200."""
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=self._timeout_s)
        try:
            raw = None if body is None else json.dumps(body).encode()
            connection.request(verb, path, raw, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            given: Json = json.loads(answer.read())
        finally:
            connection.close()
        if answer.status != 200:
            raise ControlError(str(given.get("text", answer.status)))
        return given

    def state(self, **query: object) -> Json:
        """Everything shown now; `platform`, `channel`, `as_`, `beyond` and `timeout_s` narrow or delay it."""
        return self.request("GET", f"/api/state?{_query(query)}")

    def messages(self, platform: str, channel: str) -> list[Json]:
        """The messages of one channel, oldest first."""
        shown = self.state(platform=platform, channel=channel)["platforms"][platform]["channels"]
        found: list[Json] = shown[channel]["messages"] if channel in shown else []
        return found

    def calls(self, **query: object) -> list[Json]:
        """The calls received; `since`, `platform`, `method` and `place` narrow them."""
        found: list[Json] = self.request("GET", f"/api/calls?{_query(query)}")["calls"]
        return found

    def deliveries(self, **query: object) -> list[Json]:
        """What was sent to the bot, one record an attempt."""
        found: list[Json] = self.request("GET", f"/api/deliveries?{_query(query)}")["deliveries"]
        return found

    def act(self, **given: object) -> Json:
        """Act as a person; `as_` stands for `as`."""
        return self.request("POST", "/api/act", {key.rstrip("_"): value for key, value in given.items()})

    def faults(self, *rules: Json) -> None:
        """Put these faults in the place of all others."""
        self.request("PUT", "/api/faults", list(rules))

    def options(self, **changes: object) -> None:
        """Change settings while it runs."""
        self.request("PUT", "/api/options", changes)

    def reset(self) -> None:
        """Back to how it was at the start."""
        self.request("POST", "/api/reset")

    def wait_for(self, wanted: Callable[[Json], Any], timeout_s: float = 30.0, **query: object) -> Any:  # noqa: ANN401 - whatever `wanted` finds
        """The first true result of `wanted(state)`, judged after every change and each 0.2 s.

        Raises TimeoutError after `timeout_s`.
        """
        deadline = time.monotonic() + timeout_s
        state = self.state(**query)
        while not (found := wanted(state)):
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"not within {timeout_s} s")
            state = self.state(**query, beyond=state["revision"], timeout_s=min(left, 0.2))
        return found


def _query(query: dict[str, object]) -> str:
    return urlencode({key.rstrip("_"): value for key, value in query.items() if value is not None})
