"""Cards and notices as DingTalk payloads, within the platform's limits. Pure: no clock, no network.

Limits: 20,000 bytes a robot's request, 15,000 bytes `msgParam`; a card's variables have no published limit and are
kept to that of `msgParam`. https://open.dingtalk.com/document/orgapp/robot-message-type
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, assert_never

from bot.domain.cards import Action, Card, Content, Lines, Notice, Paragraph, Person, Preformatted, Section, Style, Tone
from bot.domain.commands import SPECS, parse_command, parse_reference
from bot.domain.places import Rendered
from bot.errors import CommandInvalid
from bot.i18n import translate
from integrations.dingtalk.markup import (
    LINE_BREAK,
    Typesetter,
    command_link,
    cut,
    escape,
    link,
    mentioned,
    plain,
    safe_url,
    visible,
)

ROBOT_BYTES = 18_000
APP_BYTES = 14_500
MAX_TITLE = 100
MAX_LABEL = 40
MAX_COMMAND = 200
BLOCK_BREAK = "\n\n"


class Shape(StrEnum):
    """The payloads that the places of DingTalk take."""

    ROBOT = "robot"
    MARKDOWN = "markdown"
    CARD = "card"


@dataclass(frozen=True, slots=True)
class Manners:
    """How a place is written to; `takes_commands` where the bot hears what a command link sends."""

    shape: Shape
    bot_name: str
    takes_commands: bool = True


@dataclass(frozen=True, slots=True)
class Room:
    """How much of a content is shown: characters of a passage, lines of a list, of a log, and how many of each part."""

    words: int
    items: int
    lines: int
    parts: int
    actions: int


# From generous to tiny: the first that fits the platform's limit is taken.
ROOMS = (
    Room(3000, 60, 80, 40, 10),
    Room(1000, 30, 40, 25, 10),
    Room(400, 15, 20, 15, 8),
    Room(150, 8, 10, 10, 5),
    Room(60, 4, 5, 6, 4),
    Room(30, 2, 2, 3, 3),
)
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
        setter = Typesetter(content.locale, content.timezone, can_mention=isinstance(content, Notice))
        text = _markdown(content, manners, setter, room)
        body: dict[str, Any] = {"msgtype": "markdown"}
        people = _mentions(content)
        if also_mention is not None:
            caller = Typesetter(content.locale, content.timezone, can_mention=True)
            text = f"{caller.write((also_mention,), MAX_TITLE)}{BLOCK_BREAK}{text}"
            people = [also_mention, *people]
        body["markdown"] = {"title": _summary(content), "text": text}
        if people:
            ids = [account for account in dict.fromkeys(map(mentioned, people)) if account]
            body["at"] = {"atUserIds": [one for one in ids if one != "*"], "isAtAll": "*" in ids}
        return body

    return _fitting(build, ROBOT_BYTES)


def app_markdown(content: Content, manners: Manners, *, for_person: Person | None = None) -> dict[str, Any]:
    """`msgKey` and `msgParam` for the app robot, which can name people in such a message but not notify them."""

    def build(room: Room) -> dict[str, Any]:
        setter = Typesetter(content.locale, content.timezone, can_mention=False)
        text = _markdown(content, manners, setter, room)
        if for_person is not None:
            text = f"{setter.write((for_person,), MAX_TITLE)}{BLOCK_BREAK}{text}"
        return {"title": _summary(content), "text": text}

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
        "title": _summary(card),
        "lastMessage": _summary(card),
        "status": translate(card.locale, tone_word) if tone_word else "",
        "status_color": colour,
        "fields": _fields(card, setter, room),
        "body": BLOCK_BREAK.join(_sections(card.sections, setter, room)),
        "footer": setter.write(card.footer, room.words),
        "btns": _compact([_button(action) for action in _usable(card.actions, room)]),
    }


def _notice_variables(notice: Notice, setter: Typesetter, room: Room) -> dict[str, Any]:
    summary = _summary(notice)
    whole = setter.write(notice.body, room.words) if summary.endswith("…") else ""
    people = " ".join(setter.write((person,), MAX_TITLE) for person in notice.mentions)
    excerpt = _preformatted(notice.excerpt, notice.locale, room) if notice.excerpt is not None else ""
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


def typed_command(command: str, locale: str, *, with_attempt: bool) -> str:
    """A button's command as people of `locale` would type it: `重试 buildbot/user-service#1`."""
    try:
        line = parse_command(command)
    except CommandInvalid:
        return command
    spec = SPECS[line.verb]
    word = (spec.chinese if locale == "zh-CN" else spec.words)[0]
    return " ".join((word, *(_reference(one, with_attempt=with_attempt) for one in line.arguments)))


def _reference(argument: str, *, with_attempt: bool) -> str:
    try:
        found = parse_reference(argument)
    except CommandInvalid:
        return argument
    source = f"{found.source}/" if found.source else ""
    attempt = f"@{found.attempt}" if with_attempt and found.attempt is not None else ""
    return f"{source}{found.project}#{found.number}{attempt}"


def _fitting(build: Callable[[Room], dict[str, Any]], most_bytes: int) -> dict[str, Any]:
    payload: dict[str, Any] = {}
    for room in ROOMS:
        payload = build(room)
        if len(encode(payload)) <= most_bytes:
            break
    return payload


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _summary(content: Content) -> str:
    """The line that stands in the list of conversations and in the phone's notification; no markup."""
    if isinstance(content, Card):
        words = f"{content.emoji} {content.title}"
    else:
        words = f"{content.emoji} " + Typesetter(content.locale, content.timezone, can_mention=False).read(content.body)
    return _short(words, MAX_TITLE)


def _short(words: str, most: int) -> str:
    words = plain(words)
    return words if len(words) <= most else f"{words[: most - 1]}…"


def _markdown(content: Content, manners: Manners, setter: Typesetter, room: Room) -> str:
    if isinstance(content, Notice):
        blocks = [f"{content.emoji} {setter.write(content.body, room.words)}"]
        if content.mentions:
            blocks.append(" ".join(setter.write((person,), MAX_TITLE) for person in content.mentions))
        if content.excerpt is not None:
            blocks.append(_preformatted(content.excerpt, content.locale, room))
        return BLOCK_BREAK.join(blocks)
    blocks = [_heading(content), _fields(content, setter, room), *_sections(content.sections, setter, room)]
    blocks += [setter.write(content.footer, room.words), _action_lines(content, manners, room)]
    return BLOCK_BREAK.join(block for block in blocks if block)


def _heading(card: Card) -> str:
    title = cut(plain(card.title), MAX_TITLE, card.locale)
    words = link(title, card.title_url) if card.title_url else escape(title)
    return f"### {card.emoji} {words}".replace("  ", " ")


def _fields(card: Card, setter: Typesetter, room: Room) -> str:
    shown = card.fields[: room.parts]
    lines = [f"**{escape(_short(field.label, MAX_LABEL))}** {setter.write(field.value, room.words)}" for field in shown]
    return LINE_BREAK.join([*lines, *_more(len(card.fields) - len(shown), card.locale)])


def _sections(sections: tuple[Section, ...], setter: Typesetter, room: Room) -> list[str]:
    shown = sections[: room.parts]
    return [
        *(_section(section, setter, room) for section in shown),
        *_more(len(sections) - len(shown), setter.locale),
    ]


def _section(section: Section, setter: Typesetter, room: Room) -> str:
    match section:
        case Lines(items, title, hidden):
            shown = items[: room.items]
            lines = [f"- {setter.write(item, room.words) or '·'}" for item in shown]
            lines += [f"- {mark}" for mark in _more(hidden + len(items) - len(shown), setter.locale)]
            return _titled(title, BLOCK_BREAK, "\n".join(lines))
        case Paragraph(body, title):
            return _titled(title, LINE_BREAK, setter.write(body, room.words))
        case Preformatted():
            return _preformatted(section, setter.locale, room)
        case _:
            assert_never(section)


def _preformatted(section: Preformatted, locale: str, room: Room) -> str:
    """The last lines as a quotation: DingTalk's markdown has no code block."""
    lines = [line.rstrip() for line in visible(section.body).rstrip("\n").split("\n")]
    shown = lines[-room.lines :]
    dropped = len(lines) - len(shown)
    quoted = [escape(cut(line, room.words, locale)) for line in shown]
    if dropped:
        quoted.insert(0, translate(locale, "… {count} more lines", count=dropped))
    return _titled(section.title, BLOCK_BREAK, LINE_BREAK.join(f"> {line}" for line in quoted))


def _titled(title: str, gap: str, body: str) -> str:
    return f"**{escape(_short(title, MAX_TITLE))}**{gap}{body}" if title else body


def _more(count: int, locale: str) -> list[str]:
    return [translate(locale, "… {count} more", count=count)] if count else []


def _usable(actions: Iterable[Action], room: Room) -> list[Action]:
    usable = [one for one in actions if (safe_url(one.url) if one.url else 0 < len(one.command) <= MAX_COMMAND)]
    return usable[: room.actions]


def _action_lines(card: Card, manners: Manners, room: Room) -> str:
    links, lines = [], []
    for action in _usable(card.actions, room):
        label = _short(action.label, MAX_LABEL)
        if action.url:
            links.append(link(label, action.url))
        elif manners.takes_commands:
            sent = typed_command(action.command, card.locale, with_attempt=True)
            typed = f"@{manners.bot_name} {typed_command(action.command, card.locale, with_attempt=False)}"
            lines.append(f"{command_link(label, sent)} · {translate(card.locale, 'or type')} {escape(typed)}")
    return LINE_BREAK.join([*lines, *([" · ".join(links)] if links else [])])


def _button(action: Action) -> dict[str, Any]:
    """One element of the template's button list: https://open.dingtalk.com/document/orgapp/event-callback-card."""
    if action.url:
        event = {"type": "openLink", "params": {"url": safe_url(action.url)}}
    else:
        params = {"actionId": action.id, "params": {"command": action.command}}
        event = {"type": "sendCardRequest", "params": params}
    return {
        "text": _short(action.label, MAX_LABEL),
        "color": _BUTTON_COLOURS[action.style],
        "status": "normal",
        "action": event,
    }


def _mentions(content: Content) -> list[Person]:
    """The people to notify, of a notice only: a card's edits and reposts must not ring again."""
    if isinstance(content, Card):
        return []
    in_body = [part for part in content.body if isinstance(part, Person)]
    return [person for person in (*content.mentions, *in_body) if mentioned(person)]
