"""The parts of a card as Block Kit blocks, in the room that is left for them.

Limits: https://docs.slack.dev/reference/block-kit/blocks. What does not fit is shortened where the reader sees it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, assert_never

from bot.domain.cards import Action, Card, Field, Lines, Notice, Paragraph, Preformatted, Section, Style
from bot.i18n import translate
from integrations.slack.mrkdwn import (
    bold,
    clean,
    clip_plain,
    code_block,
    escape,
    link,
    mention,
    render_text,
    safe_url,
)
from integrations.texts import first_of

Block = dict[str, Any]

MAX_SECTION = 3000
MAX_FIELD = 2000
MAX_FIELDS = 10
MAX_TITLE = 250
MAX_LABEL = 75
MAX_COMMAND = 2000
MAX_URL = 3000
MAX_ACTION_ID = 255
MAX_MENTIONS = 30
_MARGIN = 60  # for a line that says how much is missing


@dataclass(frozen=True, slots=True)
class Room:
    """How much of a content is shown: characters of a passage, lines of a list, characters of a log, and parts."""

    words: int
    items: int
    log: int
    parts: int
    actions: int


# From generous to tiny: the first that keeps a message small enough is taken. Most blocks, with the first:
# a title, 25 fields in 3, 25 sections, 25 actions in 1, a footer and 3 remarks on what is missing: 34 of 50.
ROOMS = (
    Room(2800, 40, 2800, 25, 25),
    Room(1000, 25, 2000, 20, 15),
    Room(400, 15, 1200, 12, 10),
    Room(200, 8, 800, 8, 5),
    Room(100, 4, 500, 6, 4),
    Room(60, 2, 300, 3, 3),
)


def title_block(card: Card) -> Block:
    """The line that says what happened: a bold link, behind an emoji."""
    title = clean(card.title) or "·"
    if len(title) > MAX_TITLE:
        shown = first_of(title, MAX_TITLE)
        missing = translate(card.locale, "… {count} more characters", count=f"{len(title) - len(shown):,}")
        title = shown.rstrip() + " " + missing
    linked = 0 < len(escape(safe_url(card.title_url or ""))) <= MAX_SECTION // 3
    words = f"*{link(title, card.title_url or '')}*" if linked else bold(title)
    return section(f"{clip_plain(card.emoji, 40)} {words}".strip())


def body_blocks(card: Card, room: Room) -> list[Block]:
    """Everything below the title."""
    return [
        *_fields(card, room),
        *_sections(card, room),
        *_actions(card, room),
        *_footer(card, room),
    ]


def notice_blocks(notice: Notice, room: Room) -> list[Block]:
    """A remark with the people it is for, and the lines it is about."""
    people = [word for word in map(mention, notice.mentions) if word]
    people = [*people[:MAX_MENTIONS], *_more(len(people) - MAX_MENTIONS, notice.locale)]
    body = render_text(
        notice.body, limit=min(room.words, MAX_SECTION // 2), locale=notice.locale, timezone=notice.timezone
    )
    blocks = [section(" ".join(filter(None, (clip_plain(notice.emoji, 40), body, *people))))]
    if notice.excerpt is not None and notice.excerpt.body.strip():
        blocks.append(section(_preformatted(notice.excerpt, notice.locale, room)))
    return blocks


def section(markup: str) -> Block:
    """A block of mrkdwn."""
    return {"type": "section", "text": _mrkdwn(markup or "·")}


def plain_object(words: str, limit: int) -> Block:
    """A plain text object of at most `limit` characters."""
    return {"type": "plain_text", "text": clip_plain(words, limit) or "·", "emoji": True}


def _mrkdwn(markup: str) -> Block:
    # verbatim: Slack must not make links, channels and mentions of words that look like them.
    return {"type": "mrkdwn", "text": markup, "verbatim": True}


def _context(markup: str) -> Block:
    return {"type": "context", "elements": [_mrkdwn(markup)]}


def _more(count: int, locale: str) -> list[str]:
    return [translate(locale, "… {count} more", count=f"{count:,}")] if count > 0 else []


def _fields(card: Card, room: Room) -> list[Block]:
    most = max(room.parts, MAX_FIELDS)  # as many as one block takes: what is short, and looked for first
    shown = [_mrkdwn(_field(field, card, room)) for field in card.fields[:most]]
    blocks: list[Block] = [
        {"type": "section", "fields": shown[at : at + MAX_FIELDS]} for at in range(0, len(shown), MAX_FIELDS)
    ]
    return blocks + [_context(words) for words in _more(len(card.fields) - len(shown), card.locale)]


def _field(field: Field, card: Card, room: Room) -> str:
    label = bold(clip_plain(field.label, MAX_LABEL) or "·")
    limit = min(room.words, MAX_FIELD - len(label) - 1)
    return f"{label}\n{render_text(field.value, limit=limit, locale=card.locale, timezone=card.timezone)}"


def _sections(card: Card, room: Room) -> list[Block]:
    written = [_section(one, card, room) for one in card.sections]
    said = [markup for markup in written if markup]
    blocks = [section(markup) for markup in said[: room.parts]]
    return blocks + [_context(words) for words in _more(len(said) - room.parts, card.locale)]


def _section(one: Section, card: Card, room: Room) -> str:
    match one:
        case Lines():
            return _lines(one, card, room)
        case Paragraph(body, title):
            heading = _heading(title)
            limit = min(room.words, MAX_SECTION - len(heading))
            words = render_text(body, limit=limit, locale=card.locale, timezone=card.timezone, is_one_line=False)
            return heading + words.strip("\n") if words.strip() or title else ""
        case Preformatted():
            return _preformatted(one, card.locale, room) if one.body.strip() else ""
        case _:
            assert_never(one)


def _heading(title: str) -> str:
    return bold(clip_plain(title, MAX_TITLE)) + "\n" if title.strip() else ""


def _lines(lines: Lines, card: Card, room: Room) -> str:
    heading = _heading(lines.title)
    left = MAX_SECTION - len(heading) - _MARGIN
    shown: list[str] = []
    for item in lines.items[: room.items]:
        limit = min(room.words, 500)
        line = render_text(item, limit=limit, locale=card.locale, timezone=card.timezone) or "·"
        if len(line) + 1 > left:
            break
        shown.append(line)
        left -= len(line) + 1
    return heading + "\n".join([*shown, *_more(lines.hidden + len(lines.items) - len(shown), card.locale)])


def _preformatted(block: Preformatted, locale: str, room: Room) -> str:
    """The last lines that have room, the first of them without its beginning where it alone is too long."""
    heading = _heading(block.title)
    lines = [line.rstrip() for line in clean(block.body, is_one_line=False).strip("\n").split("\n")]
    left = min(room.log, MAX_SECTION - len(heading)) - _MARGIN - len(code_block(""))
    shown: list[str] = []
    for line in reversed(lines):
        cost = len(code_block(line)) - len(code_block("")) + 1
        if cost > left:
            if not shown:
                shown.append(_end_of(line, left - _MARGIN, locale))
            break
        shown.append(line)
        left -= cost
    dropped = len(lines) - len(shown)
    more = translate(locale, "… {count} more lines", count=f"{dropped:,}") + "\n" if dropped else ""
    return heading + more + code_block("\n".join(reversed(shown)))


def _end_of(line: str, limit: int, locale: str) -> str:
    """The end of `line` that takes at most `limit` characters when it is escaped."""
    kept = line[-limit:]
    while len(escape(kept)) > limit:
        kept = kept[len(kept) // 4 + 1 :]
    missing = translate(locale, "… {count} more characters", count=f"{len(line) - len(kept):,}")
    return f"{missing} {kept}"


def _actions(card: Card, room: Room) -> list[Block]:
    usable = usable_actions(card.actions)
    buttons, has_primary = [], False
    for action in usable[: room.actions]:
        buttons.append(_button(action, can_lead=not has_primary))
        has_primary = has_primary or action.style is Style.PRIMARY
    blocks: list[Block] = [{"type": "actions", "elements": buttons}] if buttons else []
    return blocks + [_context(words) for words in _more(len(usable) - len(buttons), card.locale)]


def usable_actions(actions: Iterable[Action]) -> list[Action]:
    """The actions that can work: a web address that fits, or a command that does."""
    return [
        one
        for one in actions
        if (0 < len(safe_url(one.url)) <= MAX_URL if one.url else 0 < len(one.command) <= MAX_COMMAND)
    ]


def _button(action: Action, *, can_lead: bool) -> Block:
    """A button; only one of a card is primary, for two leave the reader to guess."""
    button: Block = {
        "type": "button",
        "action_id": f"ship:{action.id}"[:MAX_ACTION_ID],
        "text": plain_object(action.label, MAX_LABEL),
    }
    if action.url:
        button["url"] = safe_url(action.url)
    else:
        button["value"] = action.command
    if action.style is Style.DANGER or (action.style is Style.PRIMARY and can_lead):
        button["style"] = action.style.value
    if action.confirm is not None:
        button["confirm"] = {
            "title": plain_object(action.confirm.title, 100),
            "text": plain_object(action.confirm.question, 300),
            "confirm": plain_object(action.confirm.yes, 30),
            "deny": plain_object(action.confirm.no, 30),
        }
        if action.style is Style.DANGER:
            button["confirm"]["style"] = "danger"
    return button


def _footer(card: Card, room: Room) -> list[Block]:
    words = render_text(card.footer, limit=room.words, locale=card.locale, timezone=card.timezone)
    return [_context(words)] if words.strip() else []


def summarize(card: Card) -> str:
    """The line of a phone's notification; no markup."""
    return clip_plain(f"{card.emoji} {card.title}", MAX_TITLE) or "·"
