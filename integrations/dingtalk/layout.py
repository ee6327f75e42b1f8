"""The parts of a card as DingTalk markdown, in the room that is left for them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import assert_never

from bot.domain.cards import Action, Card, Content, Lines, Notice, Paragraph, Preformatted, Section
from bot.domain.commands import SPECS, parse_command, parse_reference
from bot.errors import CommandInvalid
from bot.i18n import translate
from integrations.dingtalk.markup import (
    LINE_BREAK,
    Typesetter,
    command_link,
    cut,
    escape,
    link,
    plain,
    safe_url,
    visible,
)
from integrations.texts import first_of

MAX_TITLE = 100
MAX_LABEL = 40
MAX_COMMAND = 200
BLOCK_BREAK = "\n\n"


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


def summarize(content: Content) -> str:
    """The line that stands in the list of conversations and in the phone's notification; no markup."""
    if isinstance(content, Card):
        words = f"{content.emoji} {content.title}"
    else:
        words = f"{content.emoji} " + Typesetter(content.locale, content.timezone, can_mention=False).read(content.body)
    return short(words, MAX_TITLE)


def short(words: str, most: int) -> str:
    """`words` on one line of at most `most` characters; for labels, whose rest is not missed."""
    words = plain(words)
    return words if len(words) <= most else f"{first_of(words, most - 1)}…"


def write_markdown(content: Content, setter: Typesetter, room: Room, *, bot_name: str) -> str:
    """A whole message; with an empty `bot_name` it has no commands, because nobody would hear them."""
    if isinstance(content, Notice):
        blocks = [f"{content.emoji} {setter.write(content.body, room.words)}"]
        if content.mentions:
            blocks.append(" ".join(setter.write((person,), MAX_TITLE) for person in content.mentions))
        if content.excerpt is not None:
            blocks.append(write_preformatted(content.excerpt, content.locale, room))
        return BLOCK_BREAK.join(blocks)
    blocks = [_heading(content), write_fields(content, setter, room), *write_sections(content.sections, setter, room)]
    blocks += [setter.write(content.footer, room.words), _action_lines(content, room, bot_name)]
    return BLOCK_BREAK.join(block for block in blocks if block)


def _heading(card: Card) -> str:
    title = cut(plain(card.title), MAX_TITLE, card.locale)
    words = link(title, card.title_url) if card.title_url else escape(title)
    return f"### {card.emoji} {words}".replace("  ", " ")


def write_fields(card: Card, setter: Typesetter, room: Room) -> str:
    """A line for each field."""
    shown = card.fields[: room.parts]
    lines = [f"**{escape(short(field.label, MAX_LABEL))}** {setter.write(field.value, room.words)}" for field in shown]
    return LINE_BREAK.join([*lines, *_more(len(card.fields) - len(shown), card.locale)])


def write_sections(sections: tuple[Section, ...], setter: Typesetter, room: Room) -> list[str]:
    """A block for each section that says something."""
    written = [_section(section, setter, room) for section in sections[: room.parts]]
    return [*filter(None, written), *_more(len(sections) - room.parts, setter.locale)]


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
            return write_preformatted(section, setter.locale, room)
        case _:
            assert_never(section)


def write_preformatted(section: Preformatted, locale: str, room: Room) -> str:
    """The last lines as a quotation: DingTalk's markdown has no code block."""
    if not section.body.strip():
        return ""
    lines = [line.rstrip() for line in visible(section.body).rstrip("\n").split("\n")]
    shown = lines[-room.lines :]
    dropped = len(lines) - len(shown)
    quoted = [escape(cut(line, room.words, locale)) for line in shown]
    if dropped:
        quoted.insert(0, translate(locale, "… {count} more lines", count=dropped))
    return _titled(section.title, BLOCK_BREAK, LINE_BREAK.join(f"> {line}" for line in quoted))


def _titled(title: str, gap: str, body: str) -> str:
    return f"**{escape(short(title, MAX_TITLE))}**{gap}{body}" if title else body


def _more(count: int, locale: str) -> list[str]:
    return [translate(locale, "… {count} more", count=count)] if count > 0 else []


def usable_actions(actions: Iterable[Action]) -> list[Action]:
    """The actions that can work: a web address, or a command short enough for a link."""
    return [one for one in actions if (safe_url(one.url) if one.url else 0 < len(one.command) <= MAX_COMMAND)]


def _action_lines(card: Card, room: Room, bot_name: str) -> str:
    links, lines = [], []
    offered = [one for one in usable_actions(card.actions) if one.url or bot_name]
    for action in offered[: room.actions]:
        label = short(action.label, MAX_LABEL)
        if action.url:
            links.append(link(label, action.url))
        else:
            sent = typed_command(action.command, card.locale, with_attempt=True)
            typed = f"@{bot_name} {typed_command(action.command, card.locale, with_attempt=False)}"
            lines.append(f"{command_link(label, sent)} · {translate(card.locale, 'or type')} {escape(typed)}")
    lines += [" · ".join(links)] if links else []
    return LINE_BREAK.join([*lines, *_more(len(offered) - room.actions, card.locale)])


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
