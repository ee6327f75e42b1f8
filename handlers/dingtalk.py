"""What people say and press in DingTalk, heard over Stream mode and handed to the command inbox.

Protocol: https://opensource.dingtalk.com/developerpedia/docs/learn/stream/protocol. DingTalk sends a frame again that
is not acknowledged with 200; so one that could not be stored is answered with 500, and one that makes no sense with
400. Nothing is called before the acknowledgement.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from bot.domain.commands import MAX_COMMAND_LENGTH, Actor, ReplyTo
from bot.errors import PayloadInvalid, StorageUnavailable
from bot.telemetry import logger
from handlers.inbox import Heard, Inbox, accept, storable

TOPIC_ROBOT = "/v1.0/im/bot/messages/get"
TOPIC_CARD = "/v1.0/card/instances/callback"
OK, BAD_REQUEST, UNKNOWN_TOPIC, FAILED = 200, 400, 404, 500
PLATFORM = "dingtalk"

_FULL_WIDTH = {0x3000: " ", **{code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}}
_BLANK = re.compile("[\\s\u00a0\u2000-\u200f\u2028-\u202f\u205f-\u206f\ufeff]+")
_MENTION = re.compile(r"(?:^|(?<=\s))@\S+")

log = logger(__name__)


class Door:
    """Turns callbacks into commands. `corp_id` is the own organisation; unset, it is learned from the first message.

    Staff ids of two organisations can be equal: until the own one is known, whoever presses a card is an outsider.
    """

    def __init__(self, client_id: str, inbox: Inbox, corp_id: str | None = None) -> None:
        self._client_id = client_id
        self._inbox = inbox
        self._corp_id = corp_id

    def take(self, topic: str, message_id: str, said: Mapping[str, Any]) -> int:
        """Handle one callback and answer the code of its acknowledgement; does not raise."""
        try:
            heard = self.translate(topic, message_id, said)
            if heard is None:
                return OK
            is_new = accept(self._inbox, heard)
        except PayloadInvalid as problem:
            log.warning("dingtalk callback refused", topic=topic, error=problem)
            return BAD_REQUEST
        except StorageUnavailable:
            log.warning("dingtalk callback not stored, to be sent again", topic=topic)
            return FAILED
        except Exception as problem:  # the handler's edge: answered FAILED, so that it is sent again
            log.exception("dingtalk callback failed", topic=topic, error=problem)
            return FAILED
        log.info("dingtalk command accepted" if is_new else "dingtalk command repeated", via=heard.via)
        return OK

    def translate(self, topic: str, message_id: str, said: Mapping[str, Any]) -> Heard | None:
        """The command in a callback, None where there is nothing to do; PayloadInvalid where it makes no sense."""
        if topic == TOPIC_ROBOT:
            return self._of_message(said)
        if topic == TOPIC_CARD:
            return self._of_press(message_id, said)
        raise PayloadInvalid("unknown topic")

    def _of_message(self, said: Mapping[str, Any]) -> Heard | None:
        if said.get("senderId") is not None and said.get("senderId") == said.get("chatbotUserId"):
            return None
        typed = _typed(said)
        if typed is None:
            return None
        own_corp = _text(said, "chatbotCorpId")
        if self._corp_id is None and own_corp:
            self._corp_id = own_corp
        corp, staff_id = _text(said, "senderCorpId"), _text(said, "senderStaffId")
        actor = Actor(
            account=f"{PLATFORM}:{staff_id or _needed(said, 'senderId')}",
            name=storable(_text(said, "senderNick")) or "?",
            team=corp,
            is_outsider=not staff_id or not _is_same(corp, self._corp_id),
        )
        is_group = _text(said, "conversationType") != "1"
        place = _needed(said, "conversationId") if is_group else f"user:{staff_id}"
        reply_to = ReplyTo(
            PLATFORM,
            f"{PLATFORM}:{self._client_id}/{place}",
            url=_text(said, "sessionWebhook") or None,
            url_expires_at=_seconds(said.get("sessionWebhookExpiredTime")),
        )
        return Heard(typed, f"{PLATFORM}:{_needed(said, 'msgId')}", actor, reply_to, "typed")

    def _of_press(self, message_id: str, said: Mapping[str, Any]) -> Heard | None:
        user, track_id = _needed(said, "userId"), _needed(said, "outTrackId")
        pressed = _object(_object(said.get("content")).get("cardPrivateData"))
        params, actions = _object(pressed.get("params")), pressed.get("actionIds")
        command = params.get("command")
        if not isinstance(command, str) or not command:
            return None
        action = actions[0] if isinstance(actions, list) and actions else ""
        corp, space = _text(said, "corpId"), _text(said, "spaceId")
        if self._corp_id is None:
            log.warning("dingtalk press by somebody of an unknown organisation: set platforms.dingtalk.corp_id")
        is_group = _text(said, "spaceType").upper() == "IM_GROUP" or space.startswith("cid")
        place = space if is_group and space else f"user:{user}"
        return Heard(
            typed=storable(command[: MAX_COMMAND_LENGTH + 1]),
            dedup_key=f"{PLATFORM}:{message_id}:{track_id}:{user}:{action}"[:200],
            actor=Actor(f"{PLATFORM}:{user}", user, team=corp, is_outsider=not corp or corp != self._corp_id),
            reply_to=ReplyTo(PLATFORM, f"{PLATFORM}:{self._client_id}/{place}"),
            via="press",
        )


def clean(words: str) -> str:
    """What was typed, without the mentions around it; full-width letters and blanks become plain ones."""
    spaced = _BLANK.sub(" ", words.translate(_FULL_WIDTH))
    return storable(" ".join(_MENTION.sub(" ", spaced).split())[: MAX_COMMAND_LENGTH + 1])


def _typed(said: Mapping[str, Any]) -> str | None:
    """The words of a message; None for pictures, files and recordings, and where DingTalk withholds them."""
    match said.get("msgtype"):
        case "text":
            if "text" not in said:  # withheld while the organisation's calls are spent: errCode 20001
                log.warning("dingtalk did not tell what was said", detail=_text(said, "errMsg")[:200])
                return None
            return clean(str(_object(said.get("text")).get("content") or ""))
        case "richText":
            parts = _object(said.get("content")).get("richText")
            texts = [str(part.get("text", "")) for part in parts or [] if isinstance(part, dict)]
            return clean(" ".join(texts))
        case _:
            return None


def _is_same(corp: str, own: str | None) -> bool:
    return not corp or own is None or corp == own


def _seconds(milliseconds: object) -> float | None:
    try:
        return float(str(milliseconds)) / 1000
    except ValueError:
        return None


def _text(said: Mapping[str, Any], name: str) -> str:
    value = said.get(name)
    return value if isinstance(value, str) else ""


def _needed(said: Mapping[str, Any], name: str) -> str:
    value = _text(said, name)
    if not value:
        raise PayloadInvalid(f"{name} is missing")
    return value


def _object(value: object) -> Mapping[str, Any]:
    """A JSON object, which some fields carry as text."""
    if isinstance(value, str) and value:
        try:
            value = json.loads(value)
        except ValueError:
            raise PayloadInvalid("a field is no JSON") from None
    return value if isinstance(value, dict) else {}
