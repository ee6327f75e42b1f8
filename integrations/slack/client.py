"""Slack as a chat platform: posting and changing messages, and finding one whose answer was lost.

https://docs.slack.dev/reference/methods/chat.postMessage · calls try once; the delivery loop retries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import requests
from slack_sdk.web import SlackResponse, WebClient

from bot.domain.budgets import Budget, Window
from bot.domain.cards import Content
from bot.domain.places import Capabilities, Operation, Place, Rendered
from bot.errors import DestinationGone, OutcomeUnknown
from bot.ports import Clock, nothing_more
from integrations.slack.channels import Channels
from integrations.slack.config import SlackConfig
from integrations.slack.errors import SYSTEM
from integrations.slack.render import render
from integrations.slack.uploads import FILE_SUFFIX, Uploads
from integrations.slack.web import KeepAliveWebClient, ask

METADATA_TYPE = "shipmate_card"
LOOKUPS_PER_MINUTE = 50
UPLOADS_PER_MINUTE = 100
EPHEMERAL_PER_MINUTE = 100
CLOCK_SKEW_S = 125.0  # a clock that is set back by up to two minutes turns nothing back that was noted before
LONG_AGO_S = 3600.0
_PAGE = 200
_MOST_PAGES = 100


def _looking_up(address: str) -> dict[Operation, tuple[Window, ...]]:
    """What it takes to find an address: one call of tier 3 for an id; names are read all at once."""
    wanted = address.removeprefix(f"{SYSTEM}:")
    if wanted.startswith("#"):
        return {}
    method = "conversations.open" if wanted[:1] in ("U", "W") else "conversations.info"
    return {Operation.RESOLVE: (Window(f"{SYSTEM}:{method}", LOOKUPS_PER_MINUTE),)}


class Workspace:
    """The workspace that the bot's token belongs to; asked for once."""

    def __init__(self, web: WebClient) -> None:
        self._web = web
        self._team = ""

    @property
    def team(self) -> str:
        """The workspace's id; raises IntegrationError while it cannot be asked for."""
        if not self._team:
            self._team = str(ask("auth.test", self._web.auth_test).get("team_id", ""))
        return self._team


class SlackMessenger:
    """Shows content in channels and direct messages. References are `channel/ts`."""

    def __init__(
        self,
        config: SlackConfig,
        web: KeepAliveWebClient,
        workspace: Workspace,
        session: requests.Session,
        clock: Clock,
    ) -> None:
        self._clock = clock
        self._budgets = config.budgets
        self._uploads = Uploads(web, session)
        self._web = web
        self._workspace = workspace
        self._channels = Channels(web)

    def resolve(self, address: str) -> Place:
        """A channel by name or id, or a person's direct messages by the person's id."""
        wanted = address.removeprefix(f"{SYSTEM}:")
        if wanted.startswith("#"):
            return self._place(self._channels.id_of(wanted[1:].lower()), wanted)
        if wanted[:1] in ("U", "W"):
            return self._place(open_direct(self._web, wanted), wanted)
        answer = ask("conversations.info", self._web.conversations_info, channel=wanted)
        name = str(answer.get("channel", {}).get("name", ""))
        return self._place(wanted, f"#{name}" if name else wanted)

    def capabilities(self, place: Place) -> Capabilities:
        """All of it everywhere; calls are budgeted by channel, and by method and workspace.

        chat.update and conversations.history are of tier 3, 50 calls a minute; chat.postMessage has a tier of its own:
        one a second in a channel, and "several hundred" a minute in the workspace; both calls of an
        upload, and chat.postEphemeral, are of tier 4, 100.
        https://docs.slack.dev/apis/web-api/rate-limits
        """
        if self._budgets.lifted:
            return Capabilities(
                can_edit=True, can_thread=True, can_find=True, place_budget=Budget(place.key, 0.0), can_upload=True
            )
        return Capabilities(
            can_edit=True,
            can_thread=True,
            can_find=True,
            place_budget=Budget(place.key, self._budgets.place_interval_s),
            account_budgets=self._windows(place) if place.id else _looking_up(place.key),
            can_upload=True,
        )

    def _windows(self, place: Place) -> dict[Operation, tuple[Window, ...]]:
        per_minute = {
            Operation.POST: ("chat.postMessage", self._budgets.post_per_minute),
            Operation.UPLOAD: ("files.completeUploadExternal", UPLOADS_PER_MINUTE),
            Operation.UPDATE: ("chat.update", self._budgets.update_per_minute),
            Operation.WHISPER: ("chat.postEphemeral", EPHEMERAL_PER_MINUTE),
            Operation.FIND: ("conversations.history", self._budgets.find_per_minute),
        }
        return {
            operation: (Window(f"{SYSTEM}:{place.account}:{method}", calls),)
            for operation, (method, calls) in per_minute.items()
        }

    def render(self, content: Content, place: Place) -> Rendered:
        """The same for every place of Slack."""
        return render(content)

    def send(
        self, place: Place, rendered: Rendered, *, attempt_id: str, ref: str | None = None, parent: str | None = None
    ) -> str:
        """Post with the attempt in the message's metadata, or change; a thread starts at the message of `parent`."""
        try:
            return self._send(place, rendered, attempt_id, ref, parent)
        except DestinationGone as problem:
            if problem.reason in ("channel_not_found", "is_archived"):
                self._channels.forget(place.id)
            raise

    def _send(self, place: Place, rendered: Rendered, attempt_id: str, ref: str | None, parent: str | None) -> str:
        if "picture" in rendered.payload:
            return self._uploads.send(place, rendered.payload, attempt_id, parent)
        if ref is not None:
            channel, _, ts = ref.partition("/")
            ask("chat.update", self._web.chat_update, channel=channel, ts=ts, **rendered.payload)
            return ref
        answer = ask(
            "chat.postMessage",
            self._web.chat_postMessage,
            channel=place.id,
            thread_ts=parent.partition("/")[2] if parent else None,
            metadata={"event_type": METADATA_TYPE, "event_payload": {"attempt": attempt_id}},
            unfurl_links=False,
            unfurl_media=False,
            **rendered.payload,
        )
        if not answer.get("ts"):
            raise OutcomeUnknown(SYSTEM, "not_json", "no ts")
        return f"{answer.get('channel', place.id)}/{answer['ts']}"

    def find(
        self,
        place: Place,
        *,
        attempt_id: str,
        since: datetime,
        parent: str | None = None,
        more: Callable[[], None] = nothing_more,
    ) -> str | None:
        """Look through what was said since, a call a page: in the channel, or in the thread of `parent`."""
        oldest = self._by_slacks_clock(since) - CLOCK_SKEW_S
        said = (
            self._messages("conversations.history", self._web.conversations_history, place, oldest, more)
            if parent is None
            else self._messages(
                "conversations.replies",
                self._web.conversations_replies,
                place,
                oldest,
                more,
                ts=parent.partition("/")[2],
            )
        )
        found = next((message for message in said if _attempt_of(message) == attempt_id), None)
        return None if found is None else f"{place.id}/{found['ts']}"

    def _by_slacks_clock(self, since: datetime) -> float:
        """When that was by Slack's clock; one of ours that is wrong would look for the post at another time."""
        if self._web.time.now() is None:
            ask("auth.test", self._web.auth_test)  # the first answer of this process
        ago_s = (self._clock.now() - since).total_seconds()
        if ago_s < 0:  # our clock was set back meanwhile
            ago_s = LONG_AGO_S
        slacks = self._web.time.now()
        return since.timestamp() if slacks is None else slacks - ago_s

    def _messages(
        self,
        method: str,
        call_api: Callable[..., SlackResponse],
        place: Place,
        oldest: float,
        more: Callable[[], None],
        **where: str,
    ) -> Iterator[dict[str, Any]]:
        return pages(
            method,
            call_api,
            "messages",
            more=more,
            channel=place.id,
            oldest=f"{oldest:.6f}",
            include_all_metadata=True,
            limit=_PAGE,
            **where,
        )

    def _place(self, channel: str, label: str) -> Place:
        return Place(f"{SYSTEM}:{self._workspace.team}/{channel}", label)


def pages(
    method: str,
    call_api: Callable[..., SlackResponse],
    key: str,
    *,
    more: Callable[[], None] = nothing_more,
    **arguments: Any,  # noqa: ANN401 - wire values
) -> Iterator[dict[str, Any]]:
    """The entries under `key` of all pages of an answer; `more` is called before each page after the first."""
    cursor = ""
    for _ in range(_MOST_PAGES):
        if cursor:
            more()
        answer = ask(method, call_api, cursor=cursor or None, **arguments)
        yield from answer.get(key) or ()
        cursor = str((answer.get("response_metadata") or {}).get("next_cursor") or "")
        if not cursor:
            return
    raise OutcomeUnknown(SYSTEM, "too_many_pages", method)


def open_direct(web: WebClient, person: str) -> str:
    """The id of the bot's conversation with a person."""
    answer = ask("conversations.open", web.conversations_open, users=person)
    channel = answer.get("channel", {}).get("id")
    if not channel:
        raise OutcomeUnknown(SYSTEM, "not_json", "no channel")
    return str(channel)


def _attempt_of(message: dict[str, Any]) -> str:
    for file in message.get("files") or ():
        return str(file.get("name", "")).removesuffix(FILE_SUFFIX)
    metadata = message.get("metadata") or {}
    if metadata.get("event_type") != METADATA_TYPE:
        return ""
    return str((metadata.get("event_payload") or {}).get("attempt", ""))
