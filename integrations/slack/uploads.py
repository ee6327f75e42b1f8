"""Pictures in Slack's threads: a ticket, the bytes, and the file's share, which is the one step that people see.

https://docs.slack.dev/messaging/working-with-files#upload · the file is named after the attempt, so that it is found
again; its message has no metadata.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import requests
from slack_sdk.web import WebClient

from bot.domain.places import Place
from bot.errors import AuthFailed, Rejected, Unavailable
from integrations.http import CALL_DEADLINE_S, call, raise_for_status
from integrations.slack.errors import SYSTEM
from integrations.slack.web import ask
from integrations.transport import together

FILE_SUFFIX = ".png"


class Uploads:
    """Uploads pictures; all calls of one end together within the deadline of a call."""

    def __init__(self, web: WebClient, session: requests.Session) -> None:
        self._web = web
        self._session = session

    def send(self, place: Place, payload: Mapping[str, Any], attempt_id: str, parent: str | None) -> str:
        """Show a rendered picture in the thread of `parent`; its reference cannot be changed by.

        Rejected with reason `missing_scope` where the app may not upload: other cards at the place do not suffer.
        """
        try:
            with together(CALL_DEADLINE_S):
                return self._send(place, payload, attempt_id, parent)
        except AuthFailed as problem:
            if problem.reason != "missing_scope":
                raise
            raise Rejected(SYSTEM, "missing_scope", "files:write") from None

    def _send(self, place: Place, payload: Mapping[str, Any], attempt_id: str, parent: str | None) -> str:
        png = payload["picture"]
        ticket = ask(
            "files.getUploadURLExternal",
            self._web.files_getUploadURLExternal,
            filename=attempt_id + FILE_SUFFIX,
            length=len(png),
            alt_txt=payload["title"],
        )
        url, file_id = ticket.get("upload_url"), ticket.get("file_id")
        if not url or not file_id:
            raise Unavailable(SYSTEM, "not_json", "no upload_url")
        # Bytes that were not shared are seen by nobody: they may well be sent again.
        answer = call(self._session, SYSTEM, "POST", str(url), content=png, changes=False)
        if answer.status == 429:
            raise_for_status(SYSTEM, answer)
        if answer.status != 200:
            raise Unavailable(SYSTEM, "upload_refused", f"HTTP {answer.status}")
        ask(
            "files.completeUploadExternal",
            self._web.files_completeUploadExternal,
            files=[{"id": file_id, "title": payload["title"]}],
            channel_id=place.id,
            initial_comment=payload["initial_comment"],
            thread_ts=parent.partition("/")[2] if parent else None,
        )
        return f"{place.id}/{file_id}"
