"""Answers to people in Slack, the windows they open, and who they are."""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from threading import Lock
from typing import Any

import requests
from slack_sdk.web import WebClient

from bot.domain.cards import Card, Content, Question
from bot.domain.commands import Actor, ReplyTo
from bot.domain.places import Operation, Place
from bot.errors import AuthFailed, DestinationGone, OutcomeUnknown, RateLimited, Rejected, Unavailable
from bot.ports import Calls, Clock, PersonFacts
from integrations.http import call, raise_for_status
from integrations.slack.client import Workspace, open_direct
from integrations.slack.errors import SYSTEM, classify_word
from integrations.slack.render import render, render_modal, render_question
from integrations.slack.web import ask
from integrations.texts import MAX_EMAIL, MAX_NAME, clean_line

URL_MARGIN_S = 10.0
FACTS_FRESH_S = 300.0
FACTS_KEPT = 5000
_SLACKBOT = "USLACKBOT"
_LOCALES = {"en": "en", "zh": "zh-CN"}


class SlackResponder:
    """Answers through the press's or command's response_url while it lives, else through the Web API.

    https://docs.slack.dev/interactivity/handling-user-interaction#message_responses
    """

    def __init__(
        self,
        web: WebClient,
        workspace: Workspace,
        session: requests.Session,
        clock: Clock,
        calls: Calls | None = None,
    ) -> None:
        self._web = web
        self._workspace = workspace
        self._session = session
        self._clock = clock
        self._calls = calls

    def spending(self, calls: Calls) -> SlackResponder:
        """A response_url has a limit of its own, which no other call shares; all else counts as cards do."""
        return SlackResponder(self._web, self._workspace, self._session, self._clock, calls)

    def respond(self, reply_to: ReplyTo, content: Content, actor: Actor) -> None:
        """Show the answer; a response_url that is refused is replaced by the API, one in doubt is not."""
        payload = dict(render(content).payload)
        if reply_to.url and (
            reply_to.url_expires_at is None or self._clock.now().timestamp() + URL_MARGIN_S < reply_to.url_expires_at
        ):
            try:
                self._post_to_url(reply_to.url, reply_to, payload)
            except (AuthFailed, DestinationGone, Rejected, Unavailable, RateLimited):
                pass  # a URL takes five answers in half an hour; the API has no such end
            else:
                return
        self._post(reply_to, payload, actor)

    def whisper(self, reply_to: ReplyTo, content: Content, actor: Actor) -> None:
        """Show it in the conversation to the person alone."""
        self.respond(replace(reply_to, is_private=True), content, actor)

    def _post_to_url(self, url: str, reply_to: ReplyTo, payload: dict[str, Any]) -> None:
        body: dict[str, Any] = {
            "response_type": "ephemeral" if reply_to.is_private else "in_channel",
            "replace_original": False,
            **payload,
        }
        if reply_to.thread:
            body["thread_ts"] = reply_to.thread
        answer = call(self._session, SYSTEM, "POST", url, json=body)
        raise_for_status(SYSTEM, answer, changes=True)
        if answer.body.strip() in (b"", b"ok"):
            return
        try:
            said = answer.json()
        except ValueError:
            said = None
        if not isinstance(said, dict):  # a proxy's page, not Slack
            raise Unavailable(SYSTEM, "not_json")
        if said.get("ok") is False:
            raise classify_word("response_url", str(said.get("error", "")))

    def _post(self, reply_to: ReplyTo, payload: dict[str, Any], actor: Actor) -> None:
        channel, person = Place(reply_to.place, "").id, actor.account.partition(":")[2]
        if not channel:
            self._post_message(open_direct(self._web, person), payload, None)
            return
        if not reply_to.is_private:
            self._post_message(channel, payload, reply_to.thread)
            return
        try:
            if channel.startswith(("C", "G")):
                self._post_alone(channel, payload, reply_to.thread, person)
            else:
                self._post_message(channel, payload, reply_to.thread)
        except (DestinationGone, Rejected):
            # A command works where the bot is not, or may not post, be it what two people say to each other.
            self._post_message(open_direct(self._web, person), payload, None)

    def _post_alone(self, channel: str, payload: dict[str, Any], thread: str | None, person: str) -> None:
        with self._counted(channel, Operation.WHISPER):
            ask(
                "chat.postEphemeral",
                self._web.chat_postEphemeral,
                channel=channel,
                user=person,
                thread_ts=thread,
                **payload,
            )

    def _post_message(self, channel: str, payload: dict[str, Any], thread: str | None) -> None:
        with self._counted(channel, Operation.POST):
            ask(
                "chat.postMessage",
                self._web.chat_postMessage,
                channel=channel,
                thread_ts=thread,
                unfurl_links=False,
                unfurl_media=False,
                **payload,
            )

    def _counted(self, channel: str, operation: Operation) -> AbstractContextManager[None]:
        if self._calls is None:
            return nullcontext()
        return self._calls.made(Place(f"{SYSTEM}:{self._workspace.team}/{channel}", channel), operation)


class SlackDirectory:
    """Knows people by users.info; what it said is believed for five minutes."""

    def __init__(self, web: WebClient, workspace: Workspace, now_s: Callable[[], float] = time.monotonic) -> None:
        self._web = web
        self._workspace = workspace
        self._now_s = now_s
        self._known: OrderedDict[str, tuple[float, PersonFacts]] = OrderedDict()
        self._lock = Lock()

    def look_up(self, account_id: str) -> PersonFacts:
        """Guests, bots, people of other workspaces and those who left or are unknown are outsiders."""
        with self._lock:
            known = self._known.get(account_id)
        if known is not None and self._now_s() - known[0] < FACTS_FRESH_S:
            return known[1]
        try:
            answer = ask("users.info", self._web.users_info, user=account_id, include_locale=True)
        except DestinationGone:
            return PersonFacts(account_id, None, is_outsider=True)
        facts = _facts(account_id, answer.get("user") or {}, self._workspace.team)
        with self._lock:
            self._known[account_id] = (self._now_s(), facts)
            self._known.move_to_end(account_id)
            while len(self._known) > FACTS_KEPT:
                self._known.popitem(last=False)
        return facts


class SlackModals:
    """Windows: https://docs.slack.dev/surfaces/modals. A trigger lives three seconds and opens one."""

    def __init__(self, web: WebClient) -> None:
        self._web = web

    def open(self, trigger: str, card: Card) -> str:
        """DestinationGone with reason `expired_trigger` when the three seconds are over."""
        answer = ask("views.open", self._web.views_open, trigger_id=trigger, view=render_modal(card))
        view_id = (answer.get("view") or {}).get("id")
        if not view_id:
            raise OutcomeUnknown(SYSTEM, "not_json", "no view")
        return str(view_id)

    def update(self, view_id: str, card: Card) -> None:
        """DestinationGone when the window was closed."""
        ask("views.update", self._web.views_update, view_id=view_id, view=render_modal(card))

    def ask(self, trigger: str, question: Question, reply_to: ReplyTo) -> None:
        """What is asked, and where the answer goes, travels along with the window."""
        kept = {"command": question.command, "place": reply_to.place, "thread": reply_to.thread or ""}
        metadata = json.dumps({**kept, "is_private": reply_to.is_private}, ensure_ascii=False)
        ask("views.open", self._web.views_open, trigger_id=trigger, view=render_question(question, metadata))


def _facts(account_id: str, user: dict[str, Any], team: str) -> PersonFacts:
    profile = user.get("profile") or {}
    name = profile.get("real_name") or profile.get("display_name") or user.get("real_name") or user.get("name")
    # In an Enterprise organisation a person's own workspace may be another of those they belong to.
    teams = {user.get("team_id"), *((user.get("enterprise_user") or {}).get("teams") or ())}
    kinds = ("is_restricted", "is_ultra_restricted", "is_stranger", "is_bot", "is_workflow_bot", "deleted")
    is_outsider = any(user.get(kind) for kind in kinds) or team not in teams or account_id == _SLACKBOT
    return PersonFacts(
        name=clean_line(str(name or ""), MAX_NAME) or account_id,
        email=clean_line(str(profile.get("email") or ""), MAX_EMAIL) or None,
        is_outsider=is_outsider,
        locale=_LOCALES.get(str(user.get("locale") or "").partition("-")[0]),
        timezone=user.get("tz") or None,
    )
