"""Platform-neutral content for people. Renderers escape every text in it; nothing here is markup."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class Tone(StrEnum):
    """What a card says at a glance."""

    SUCCESS = "success"
    FAILURE = "failure"
    RUNNING = "running"
    CANCELLED = "cancelled"
    NEUTRAL = "neutral"


class Style(StrEnum):
    """How much a control stands out."""

    DEFAULT = "default"
    PRIMARY = "primary"
    DANGER = "danger"


@dataclass(frozen=True, slots=True)
class Plain:
    """Text as it is, from anywhere."""

    text: str


@dataclass(frozen=True, slots=True)
class Strong:
    """Text that stands out."""

    text: str


@dataclass(frozen=True, slots=True)
class Code:
    """A short literal: a command to type, a commit, a branch."""

    text: str


@dataclass(frozen=True, slots=True)
class Link:
    """Text that opens `url` (http or https; renderers show only the text for anything else)."""

    text: str
    url: str


@dataclass(frozen=True, slots=True)
class Moment:
    """An instant (UTC), shown in the reader's or the card's zone."""

    at: datetime


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody, by name, and mentioned where `account` belongs to the platform of the card.

    `account` is `platform:id`, such as `slack:U024BE7LH`; `platform:*` mentions everybody in the place.
    """

    name: str
    account: str | None = None
    is_mentioned: bool = False


Inline = Plain | Strong | Code | Link | Moment | Person
Text = tuple[Inline, ...]


def text(*parts: Inline | str) -> Text:
    """Parts in a row; a str is plain text."""
    return tuple(Plain(part) if isinstance(part, str) else part for part in parts)


@dataclass(frozen=True, slots=True)
class Field:
    """A label and its value, shown side by side with others where there is room."""

    label: str
    value: Text


@dataclass(frozen=True, slots=True)
class Lines:
    """A list, a line each; `hidden` counts what was left out already."""

    items: tuple[Text, ...]
    title: str = ""
    hidden: int = 0


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A passage of text."""

    body: Text
    title: str = ""


@dataclass(frozen=True, slots=True)
class Preformatted:
    """Literal lines, such as a log; a renderer that must shorten keeps the end."""

    body: str
    title: str = ""


Section = Lines | Paragraph | Preformatted


@dataclass(frozen=True, slots=True)
class Confirm:
    """What a platform with dialogs asks before it sends a press."""

    title: str
    question: str
    yes: str
    no: str


@dataclass(frozen=True, slots=True)
class Action:
    """A control: pressing it is the same as typing `command` (verb and arguments, without the bot's name).

    `id` is unique on the card and stable over its revisions; `url` makes it a plain link instead of a command.
    """

    id: str
    label: str
    command: str = ""
    url: str | None = None
    style: Style = Style.DEFAULT
    confirm: Confirm | None = None


@dataclass(frozen=True, slots=True)
class Card:
    """One thing shown to people. `locale` ("en", "zh-CN") and `timezone` (IANA name) are those of the destination.

    `is_final` says that no change is expected; `subject` is the text of the key, empty for replies.
    """

    tone: Tone
    title: str
    emoji: str = ""
    title_url: str | None = None
    fields: tuple[Field, ...] = ()
    sections: tuple[Section, ...] = ()
    actions: tuple[Action, ...] = ()
    footer: Text = ()
    subject: str = ""
    is_final: bool = True
    locale: str = "en"
    timezone: str = "UTC"


@dataclass(frozen=True, slots=True)
class Picture:
    """A PNG with its title; the same `name` is the same picture."""

    png: bytes
    title: str
    name: str


@dataclass(frozen=True, slots=True)
class Notice:
    """A short remark in a card's thread (or below it), which does notify: what happened and who should look.

    `picture` (a PNG, with its title) is shown above the words where a place takes pictures.
    """

    emoji: str
    body: Text
    mentions: tuple[Person, ...] = ()
    excerpt: Preformatted | None = field(default=None)
    locale: str = "en"
    timezone: str = "UTC"
    picture: Picture | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """Words that are asked of whoever pressed a control, in a window: they become the end of `command`.

    None have to be given; `most` characters of them are taken.
    """

    title: str
    label: str
    yes: str
    no: str
    command: str
    most: int


Content = Card | Notice
