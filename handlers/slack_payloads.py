"""Slack's payloads in our words; pure, but for what is learned of ourselves."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bot.domain.commands import MAX_COMMAND_LENGTH, Actor, ReplyTo
from bot.errors import IntegrationError, PayloadInvalid
from bot.ports import Clock
from bot.telemetry import logger
from handlers.inbox import Heard, storable

if TYPE_CHECKING:
    from slack_sdk import WebClient

PLATFORM = "slack"
ACTION_PREFIX = "ship:"
RESPONSE_URL_S = 30 * 60
WELCOME = "help welcome"
LONGEST_ACTION = 64

_LEADING_MENTIONS = re.compile(r"^(?:\s*<@[UW][A-Z0-9]+(?:\|[^>]*)?>[\s:,，：]*)+")
_WRAPPED = re.compile(r"<(?P<sigil>[@#!]?)(?P<target>[^<>|]*)(?:\|(?P<label>[^<>]*))?>")

log = logger(__name__)
Json = Mapping[str, Any]


class Own:
    """Who we are: the workspace and the bot's user id, known from the start, learned from events, or asked for."""

    def __init__(self, team: str = "", user: str = "") -> None:
        self._asking = threading.Lock()
        self.team = team
        self.user = user

    @property
    def is_known(self) -> bool:
        """Whether there is nothing left to learn."""
        return bool(self.team and self.user)

    def learn(self, team: str, user: str) -> None:
        """Keep what is new; empty words change nothing."""
        self.team = self.team or team
        self.user = self.user or user

    def ask(self, client: WebClient) -> None:
        """Ask Slack, unless that is being done; a failure is logged, and the next request tries again."""
        from slack_sdk.errors import SlackClientError

        if self.is_known or not self._asking.acquire(blocking=False):
            return
        try:
            answer = client.auth_test()
            self.learn(str(answer.get("team_id") or ""), str(answer.get("user_id") or ""))
        except (IntegrationError, SlackClientError, OSError) as problem:
            log.warning("slack did not say who we are", error=type(problem).__name__)
        finally:
            self._asking.release()


class Translator:
    """Makes commands of payloads; raises PayloadInvalid where something needed is missing."""

    def __init__(self, own: Own, clock: Clock) -> None:
        self.own = own
        self._clock = clock

    def of_command(self, body: Json) -> Heard:
        """A slash command, with its text as typed."""
        team, channel = _text(body, "team_id"), _needed(body, "channel_id")
        return Heard(
            typed=storable(_text(body, "text").strip()[: MAX_COMMAND_LENGTH + 1]),
            dedup_key=f"{PLATFORM}:command:{_needed(body, 'trigger_id')}",
            actor=self._actor(body, _needed(body, "user_id"), _text(body, "user_name"), team),
            reply_to=self._reply_to(team, channel, url=_text(body, "response_url")),
            via="typed",
        )

    def of_press(self, body: Json) -> Heard | None:
        """A press of a control; None for one that carries no command, such as a link."""
        action = _first(body.get("actions"))
        typed = _value(action)
        if not typed:
            return None
        user, container = _object(body, "user"), _object(body, "container")
        account = _needed(user, "id")
        team = _text(_object(body, "team"), "id") or _text(user, "team_id")
        channel = _text(_object(body, "channel"), "id") or _text(container, "channel_id")
        origin = _text(container, "message_ts") or _text(container, "view_id")
        thread = _text(container, "thread_ts") or _text(_object(body, "message"), "thread_ts")
        action_id = _short(_text(action, "action_id"))
        return Heard(
            typed=storable(typed[: MAX_COMMAND_LENGTH + 1]),
            dedup_key=f"{PLATFORM}:press:{team}:{channel}:{origin}:{action_id}:{_text(action, 'action_ts')}:{account}",
            actor=self._actor(
                body, account, _text(user, "name") or _text(user, "username"), _text(user, "team_id") or team, home=team
            ),
            # A window stands in no channel: what is pressed there is answered in the direct conversation.
            reply_to=self._reply_to(
                team, channel or account, url=_text(body, "response_url"), thread=thread, is_private=bool(channel)
            ),
            via="press",
        )

    def of_submission(self, body: Json) -> Heard | None:
        """What was written in a window that asked for words; None for any other window."""
        view, user = _object(body, "view"), _object(body, "user")
        kept = _json(_text(view, "private_metadata"))
        typed, place = _text(kept, "command"), _text(kept, "place")
        if not typed or not place.startswith(f"{PLATFORM}:"):
            return None
        account, team = _needed(user, "id"), _text(_object(body, "team"), "id") or _text(user, "team_id")
        fields = _object(_object(view, "state"), "values").values()
        written = [_text(one, "value") for field in fields for one in field.values()]
        words = " ".join(" ".join((typed, *written)).split())
        return Heard(
            typed=storable(words[: MAX_COMMAND_LENGTH + 1]),
            dedup_key=f"{PLATFORM}:submit:{team}:{_needed(view, 'id')}:{account}",
            actor=self._actor(
                body, account, _text(user, "name") or _text(user, "username"), _text(user, "team_id") or team, home=team
            ),
            reply_to=ReplyTo(PLATFORM, place, _text(kept, "thread") or None, is_private=bool(kept.get("is_private"))),
            via="press",
        )

    def of_mention(self, body: Json) -> Heard | None:
        """Our name in a channel, answered to the asker alone where that is possible; None for bots, us among them."""
        said = self._learn(body)
        author = _text(said, "user")
        if not author or author == self._own_user(body) or said.get("subtype") or _is_by_bot(said):
            return None
        heard = self._of_event(body, said, clean(_text(said, "text"), self._own_user(body)), is_private=True)
        return replace(heard, dedup_key=_key_of_line(said, heard.typed)) if _text(said, "ts") else heard

    def of_message(self, body: Json) -> Heard | None:
        """A line in a direct conversation; None for changes, files, bots and other kinds of conversation."""
        said = self._learn(body)
        author = _text(said, "user")
        if said.get("channel_type") != "im" or said.get("subtype") or _is_by_bot(said):
            return None
        typed = clean(_text(said, "text"), self._own_user(body))
        if not author or author == self._own_user(body) or not _text(said, "text").strip():
            return None
        return self._of_event(body, said, typed, is_private=False)

    def of_joined(self, body: Json) -> Heard | None:
        """Our own arrival in a channel, in the name of who invited us; None for anybody else's."""
        said = self._learn(body)
        inviter = _text(said, "inviter")
        if not inviter or _text(said, "user") != self._own_user(body):
            return None
        invited = {"user": inviter, "channel": said.get("channel")}
        return self._of_event(body, invited, WELCOME, is_private=False)

    def _of_event(self, body: Json, said: Json, typed: str, *, is_private: bool) -> Heard:
        home = self._home(body)
        user = _needed(said, "user")
        team = _text(said, "user_team") or _text(said, "source_team") or _text(said, "team") or home
        thread = _text(said, "thread_ts")
        actor = self._actor(body, user, user, team, home=home)
        reply_to = self._reply_to(home, _needed(said, "channel"), thread=thread, is_private=is_private)
        return Heard(typed, f"{PLATFORM}:event:{_needed(body, 'event_id')}", actor, reply_to, "typed")

    def _actor(self, body: Json, user: str, name: str, team: str, *, home: str = "") -> Actor:
        """Somebody; whether of this workspace is judged as far as known (the directory knows more later).

        In an Enterprise organisation a member may speak from another of its workspaces, and a team's id may be the
        organisation's (E…): there the directory alone judges.
        """
        own = self.own.team or home
        is_stranger = bool(own and team and team != own) and not _is_of_enterprise(body, team)
        return Actor(f"{PLATFORM}:{user}", storable(name or user), team=team, is_outsider=is_stranger)

    def _reply_to(
        self, team: str, channel: str, *, url: str = "", thread: str = "", is_private: bool = True
    ) -> ReplyTo:
        return ReplyTo(
            PLATFORM,
            f"{PLATFORM}:{self.own.team or team}/{channel}",
            thread=thread or None,
            url=url or None,
            url_expires_at=self._clock.now().timestamp() + RESPONSE_URL_S if url else None,
            is_private=is_private,
        )

    def _learn(self, body: Json) -> Json:
        """The event within; the wrapper says for whom it is meant, which is us."""
        ours = _first(body.get("authorizations"))
        if ours.get("is_bot", True):
            self.own.learn(_text(ours, "team_id"), _text(ours, "user_id"))
        return _object(body, "event")

    def _own_user(self, body: Json) -> str:
        return self.own.user or _text(_first(body.get("authorizations")), "user_id")

    def _home(self, body: Json) -> str:
        ours = _text(_first(body.get("authorizations")), "team_id")
        return self.own.team or ours or _text(body, "team_id")


def clean(words: str, own_user: str) -> str:
    """What was typed, without our name (any leading name where ours is unknown), Slack's wrapping undone.

    https://docs.slack.dev/messaging/formatting-message-text: `<url|label>`, `<#C…|name>`, `<@U…>` and three entities.
    """
    if own_user:
        words = re.sub(rf"<@{re.escape(own_user)}(?:\|[^>]*)?>\s?[:,，：]?", " ", words)
    else:
        words = _LEADING_MENTIONS.sub("", words)
    words = _WRAPPED.sub(_unwrapped, words)
    words = words.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    return storable(" ".join(words.replace("\u00a0", " ").split())[: MAX_COMMAND_LENGTH + 1])


def _unwrapped(found: re.Match[str]) -> str:
    sigil, target, label = found["sigil"], found["target"], found["label"]
    match sigil:
        case "#":
            return f"#{label or target}"
        case "@":
            return f"<@{target}>" if not label else f"@{label}"
        case "!":
            return label or f"@{target}"
        case _:
            return label or target


def _is_of_enterprise(body: Json, team: str) -> bool:
    is_named = _text(body, "enterprise_id") or _object(body, "enterprise")
    return bool(is_named or _text(_first(body.get("authorizations")), "enterprise_id")) or team.startswith("E")


def _is_by_bot(said: Json) -> bool:
    """Whether an app wrote it: two bots that answer each other would never end."""
    return bool(said.get("bot_id") or said.get("bot_profile"))


def _value(action: Json) -> str:
    """The command a control carries: its value, or that of the chosen option."""
    chosen = _object(action, "selected_option")
    return (_text(action, "value") or _text(chosen, "value")).strip()


def _key_of_line(said: Json, typed: str) -> str:
    """A line is told again, as an event of its own, whenever it is edited: what it says is heard once."""
    digest = hashlib.sha256(typed.encode()).hexdigest()[:32]
    return f"{PLATFORM}:line:{_text(said, 'channel')}:{_text(said, 'ts')}:{digest}"


def _short(action_id: str) -> str:
    """Slack allows 255 characters; a key must keep room for who pressed."""
    if len(action_id) <= LONGEST_ACTION:
        return action_id
    return hashlib.sha256(action_id.encode()).hexdigest()


def _first(values: object) -> Json:
    return values[0] if isinstance(values, list) and values and isinstance(values[0], dict) else {}


def _object(said: Json, name: str) -> Json:
    value = said.get(name)
    return value if isinstance(value, dict) else {}


def _json(words: str) -> Json:
    """The object that is written there, if it is one."""
    try:
        found = json.loads(words)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _text(said: Json, name: str) -> str:
    value = said.get(name)
    return value if isinstance(value, str) else ""


def _needed(said: Json, name: str) -> str:
    value = _text(said, name)
    if not value:
        raise PayloadInvalid(f"{name} is missing")
    return value
