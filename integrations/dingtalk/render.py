"""Cards and notices as DingTalk payloads, within the platform's limits. Pure: no clock, no network.

Limits: 20,000 bytes a robot's request, 15,000 bytes `msgParam`; a card's variables, for each of which 1 KB is
published and far more is shown, are together kept to that of `msgParam`. https://open.dingtalk.com/document/orgapp/robot-message-type
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, assert_never

from bot.domain.cards import Action, Card, Content, Notice, Person, Style, Tone
from bot.domain.places import Rendered
from bot.i18n import translate
from integrations.dingtalk.layout import (
    BLOCK_BREAK,
    MAX_LABEL,
    MAX_TITLE,
    ROOMS,
    Room,
    short,
    summarize,
    usable_actions,
    write_fields,
    write_markdown,
    write_preformatted,
    write_sections,
)
from integrations.dingtalk.markup import Typesetter, mentioned, safe_url

ROBOT_BYTES = 18_000
APP_BYTES = 14_500


class Shape(StrEnum):
    """The payloads that the places of DingTalk take."""

    ROBOT = "robot"
    MARKDOWN = "markdown"
    CARD = "card"


@dataclass(frozen=True, slots=True)
class Manners:
    """How a place is written to; `hears_as` is the bot's name there, empty where it does not hear people."""

    shape: Shape
    hears_as: str


_TONE_WORDS = {
    Tone.SUCCESS: ("Succeeded", "green"),
    Tone.FAILURE: ("Failed", "red"),
    Tone.RUNNING: ("Running", "blue"),
    Tone.CANCELLED: ("Cancelled", "gray"),
    Tone.NEUTRAL: ("", "gray"),
}
_BUTTON_COLOURS = {Style.DEFAULT: "gray", Style.PRIMARY: "blue", Style.DANGER: "red"}


def render(content: Content, manners: Manners) -> Rendered:
    """The payload without its address; the digest covers everything in it."""
    match manners.shape:
        case Shape.ROBOT:
            payload = robot_markdown(content, manners)
        case Shape.MARKDOWN:
            payload = app_markdown(content, manners)
        case Shape.CARD:
            payload = interactive_card(content)
        case _:
            assert_never(manners.shape)
    canonical = json.dumps(payload, sort_keys=True, ensure_ascii=False)
    return Rendered(payload, hashlib.sha256(canonical.encode()).hexdigest()[:32])


def robot_markdown(content: Content, manners: Manners, *, also_mention: Person | None = None) -> dict[str, Any]:
    """The body for a robot's webhook or a session webhook, with `at` where somebody is mentioned."""

    def build(room: Room) -> dict[str, Any]:
        people = _called(content)
        caller = Typesetter(content.locale, content.timezone, can_mention=True)
        setter = caller if people else Typesetter(content.locale, content.timezone, can_mention=False)
        text = write_markdown(content, setter, room, bot_name=manners.hears_as)
        body: dict[str, Any] = {"msgtype": "markdown"}
        # Only who is named in the text is notified, so that nobody may be lost to its shortening.
        lost = [name for person in people if (name := caller.write((person,), MAX_TITLE)) not in text]
        text = BLOCK_BREAK.join([text, " ".join(lost)] if lost else [text])
        if also_mention is not None:
            text = f"{caller.write((also_mention,), MAX_TITLE)}{BLOCK_BREAK}{text}"
            people = [also_mention, *people]
        body["markdown"] = {"title": summarize(content), "text": text}
        if people:
            ids = [account for account in dict.fromkeys(map(mentioned, people)) if account]
            body["at"] = {"atUserIds": [one for one in ids if one != "*"], "isAtAll": "*" in ids}
        return body

    return _fitting(build, ROBOT_BYTES)


def app_markdown(content: Content, manners: Manners, *, for_person: Person | None = None) -> dict[str, Any]:
    """`msgKey` and `msgParam` for the app robot, which can name people in such a message but not notify them."""

    def build(room: Room) -> dict[str, Any]:
        setter = Typesetter(content.locale, content.timezone, can_mention=False)
        text = write_markdown(content, setter, room, bot_name=manners.hears_as)
        if for_person is not None and for_person.name != mentioned(for_person):  # an id tells nobody who is meant
            text = f"{setter.write((for_person,), MAX_TITLE)}{BLOCK_BREAK}{text}"
        return {"title": summarize(content), "text": text}

    return {"msgKey": "sampleMarkdown", "msgParam": _compact(_fitting(build, APP_BYTES))}


def interactive_card(content: Content) -> dict[str, Any]:
    """The variables of the shipped template; every value is text, lists are JSON (docs/platforms/dingtalk.md).

    A notice is a card of its own, because that is what an app robot can notify people with.
    """
    setter = Typesetter(content.locale, content.timezone, can_mention=False)

    def build(room: Room) -> dict[str, Any]:
        if isinstance(content, Card):
            return _card_variables(content, setter, room)
        return _notice_variables(content, setter, room)

    payload: dict[str, Any] = {"cardData": {"cardParamMap": _fitting(build, APP_BYTES)}}
    people = {account: person.name for person in _mentions(content) if (account := mentioned(person))}
    if people:
        everybody = {"@ALL": "@ALL"}
        payload["imGroupOpenDeliverModel"] = {"atUserIds": everybody if "*" in people else people}
    return payload


def _card_variables(card: Card, setter: Typesetter, room: Room) -> dict[str, Any]:
    tone_word, colour = _TONE_WORDS[card.tone]
    return {
        "title": summarize(card),
        "lastMessage": summarize(card),
        "status": translate(card.locale, tone_word) if tone_word else "",
        "status_color": colour,
        "fields": write_fields(card, setter, room),
        "body": BLOCK_BREAK.join(write_sections(card.sections, setter, room)),
        "footer": setter.write(card.footer, room.words),
        "btns": _compact([_button(action) for action in usable_actions(card.actions)[: room.actions]]),
    }


def _notice_variables(notice: Notice, setter: Typesetter, room: Room) -> dict[str, Any]:
    summary = summarize(notice)
    whole = setter.write(notice.body, room.words) if summary.endswith("…") else ""
    people = " ".join(setter.write((person,), MAX_TITLE) for person in notice.mentions)
    excerpt = write_preformatted(notice.excerpt, notice.locale, room) if notice.excerpt is not None else ""
    return {
        "title": summary,
        "lastMessage": summary,
        "status": "",
        "status_color": _TONE_WORDS[Tone.NEUTRAL][1],
        "fields": people,
        "body": BLOCK_BREAK.join(part for part in (whole, excerpt) if part),
        "footer": "",
        "btns": "[]",
    }


def encode(payload: Mapping[str, Any]) -> bytes:
    """A payload as it is sent and measured: UTF-8, not escaped to ASCII, which would double Chinese text."""
    return _compact(payload).encode()


def _fitting(build: Callable[[Room], dict[str, Any]], most_bytes: int) -> dict[str, Any]:
    payload: dict[str, Any] = {}
    for room in ROOMS:
        payload = build(room)
        if len(encode(payload)) <= most_bytes:
            break
    return payload


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _button(action: Action) -> dict[str, Any]:
    """One element of the template's button list: https://open.dingtalk.com/document/orgapp/event-callback-card."""
    if action.url:
        event = {"type": "openLink", "params": {"url": safe_url(action.url)}}
    else:
        params = {"actionId": action.id, "params": {"command": action.command}}
        event = {"type": "sendCardRequest", "params": params}
    return {
        "text": short(action.label, MAX_LABEL),
        "color": _BUTTON_COLOURS[action.style],
        "status": "normal",
        "action": event,
    }


def _called(content: Content) -> list[Person]:
    """The people whom a robot's post notifies: a card names them in its footer where no notice stands beside it."""
    if isinstance(content, Card):
        return [part for part in content.footer if isinstance(part, Person) and mentioned(part)]
    return _mentions(content)


def _mentions(content: Content) -> list[Person]:
    """The people to notify, of a notice only: an interactive card is changed in place, and must not ring again."""
    if isinstance(content, Card):
        return []
    in_body = [part for part in content.body if isinstance(part, Person)]
    return [person for person in (*content.mentions, *in_body) if mentioned(person)]
