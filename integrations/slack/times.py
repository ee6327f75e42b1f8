"""Slack's own clock, by the `Date` of its answers: a host's clock may be wrong by hours.

https://www.rfc-editor.org/rfc/rfc9110#field.date · messages are dated (`ts`) and searched by Slack's clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from time import monotonic


class SlackTime:
    """Heard with every answer, kept with the host's monotonic clock; behind by a second and by the answer's way."""

    def __init__(self) -> None:
        self._ahead_s: float | None = None

    def hear(self, headers: Mapping[str, str]) -> None:
        """Note when an answer says that it was written; one that does not say so tells nothing."""
        try:
            at = parsedate_to_datetime(headers.get("Date", "")).timestamp()
        except ValueError:
            return
        self._ahead_s = at - monotonic()

    def now(self) -> float | None:
        """Slack's time in seconds since 1970, or a little less; None before the first answer."""
        ahead_s = self._ahead_s
        return None if ahead_s is None else monotonic() + ahead_s
