"""Neutral text to DingTalk markdown. Nothing from outside may become markup, a link, an image or a mention.

The subset: https://open.dingtalk.com/document/orgapp/robot-message-type (no code, no tables, HTML only as <font>).
"""

from __future__ import annotations

import re
from datetime import datetime
from urllib.parse import quote
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from babel.dates import format_datetime

from bot.domain.cards import Code, Inline, Link, Moment, Person, Plain, Strong, Text
from bot.i18n import translate
from integrations.dingtalk.config import SYSTEM
from integrations.texts import first_of

MAX_URL_BYTES = 1000
LINE_BREAK = "  \n"
_MOMENTS = {"en": "MMM d, HH:mm", "zh-CN": "M月d日 HH:mm"}
# Controls, zero-width characters and those that turn the direction of text.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]"
)
_TERMINAL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
# The backslash is known to work before these; for the rest, look-alikes and blanks do on every client.
_MARKUP = re.compile(r"[\\`*_]")
_ANGLE = re.compile("[<>\n]")
_PAIRS = (("](", "] ("), ("]:", "] :"), ("][", "] ["), ("~~", "~ ~"))
_LINE_START = re.compile(r"^(\s*)(?:([#>+-])(?=\s|$|[#>])|([-=])(?=[-=\s]*$)|(\d{1,9})([.)])(?=\s|$))", re.MULTILINE)
_FULL_WIDTH = 0xFEE0
# A line that only rules off, as test runners write them: one look, and short enough for a telephone.
_RULE = re.compile(r"^ *([-=_*~#+])\1{7,} *$", re.MULTILINE)
_SHORT_RULE = "─" * 12
_ENTITY = re.compile(r"&(?=#?\w{1,31};)")
_BRACKETS = str.maketrans("[]", "［］")
# A client may turn a bare address into a link; one that makes the reader send a message must not be.
# The word `dingtalk:` alone, as in an account or the configuration that `here` shows, is none and stays to be copied.
_CLIENT_SCHEME = re.compile(r"\b(dtmd(?=:)|dingtalk(?=:/)):", re.IGNORECASE)


def plain(words: str) -> str:
    """`words` on one line, without invisible characters."""
    return " ".join(visible(words).split())


def visible(words: str) -> str:
    """`words` without terminal codes and invisible characters; line ends stay."""
    unified = _TERMINAL.sub("", words).replace("\r\n", "\n").replace("\r", "\n").replace("\t", " ")
    return _INVISIBLE.sub("", unified)


def escape(words: str) -> str:
    """`words` as they are, for a markdown text; line ends become line breaks."""
    safe = _RULE.sub(_SHORT_RULE, _without_angles(visible(words)))
    for pair, apart in _PAIRS:
        while pair in safe:
            safe = safe.replace(pair, apart)
    safe = _MARKUP.sub(lambda found: "\\" + found[0], safe)
    safe = _CLIENT_SCHEME.sub(r"\1：", _ENTITY.sub("＆", _LINE_START.sub(_without_block, safe)))
    *lines, last = safe.split("\n")
    return LINE_BREAK.join([*(line.rstrip() for line in lines), last])


def _without_angles(words: str) -> str:
    """`words` without what could open a tag: brackets in look-alikes, in pairs; arrows and comparisons stay."""
    depth = 0

    def apart(found: re.Match[str]) -> str:
        nonlocal depth
        match found[0]:
            case "<":
                depth += 1
                return "＜"
            case ">" if depth:
                depth -= 1
                return "＞"
            case ">":
                return ">"
            case _:
                depth = 0
                return "\n"

    return _ANGLE.sub(apart, words) if "<" in words else words


def _without_block(found: re.Match[str]) -> str:
    """The beginning of a line that would be a heading, quotation, list or rule, with a look-alike in it."""
    blank, mark, rule, number, point = found.groups()
    if number:
        return f"{blank}{number}{chr(ord(point) + _FULL_WIDTH)}"
    return f"{blank}{chr(ord(mark or rule) + _FULL_WIDTH)}"


def link(words: str, url: str) -> str:
    """A markdown link; only the words where `url` is neither http nor https, or too long."""
    safe = safe_url(url)
    label = _label(words)
    return f"[{label}]({safe})" if safe else label


def _label(words: str) -> str:
    """A link's words, in which brackets would end the link."""
    return escape(plain(words).translate(_BRACKETS)) or "·"


def safe_url(url: str) -> str:
    """`url` with everything encoded that could end a markdown link; empty where it must not be linked."""
    if not url.lower().startswith(("http://", "https://")):
        return ""
    safe = quote(visible(url).replace("\n", ""), safe="/:?#@!$&*+,;=%~-._")
    return safe if len(safe.encode()) <= MAX_URL_BYTES else ""


def command_link(words: str, command: str) -> str:
    """A link that makes whoever follows it send `command`: https://open.dingtalk.com/document/orgapp/message-link-description-1."""
    return f"[{_label(words)}](dtmd://dingtalkclient/sendMessage?content={quote(command, safe='')})"


def moment(at: datetime, locale: str, timezone: str) -> str:
    """The time in words, in the zone (UTC where the machine knows no such zone)."""
    try:
        zone = ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError):
        zone = ZoneInfo("UTC")
    pattern = _MOMENTS.get(locale, _MOMENTS["en"])
    return format_datetime(at.astimezone(zone), pattern, locale="zh_CN" if locale == "zh-CN" else "en")


def mentioned(person: Person) -> str | None:
    """The DingTalk id to mention (`*` for everybody), or None."""
    platform, _, account = (person.account or "").partition(":")
    return account if person.is_mentioned and platform == SYSTEM and account else None


def cut(words: str, most: int, locale: str) -> str:
    """At most `most` characters of `words`, and how many more there were."""
    if len(words) <= most:
        return words
    shown = first_of(words, most)
    return f"{shown.rstrip()} {more_characters(len(words) - len(shown), locale)}"


def more_characters(count: int, locale: str) -> str:
    """The mark of a shortened text."""
    return translate(locale, "… {count} more characters", count=count)


class Typesetter:
    """Writes inline content for one reader's locale and zone; `can_mention` where the platform notifies people."""

    def __init__(self, locale: str, timezone: str, *, can_mention: bool) -> None:
        self.locale = locale
        self._timezone = timezone
        self._can_mention = can_mention

    def write(self, body: Text, most: int) -> str:
        """`body` as markdown, at most `most` characters of its own words."""
        parts: list[str] = []
        room, dropped = most, 0
        for part in body:
            words = self._words(part)
            shown = first_of(words, room)
            dropped += len(words) - len(shown)
            if shown:
                marked = self._mark(part, shown)
                if parts and parts[-1].endswith("]") and marked.startswith(("(", "[", ":")):
                    parts.append(" ")  # two harmless parts must not make a link together
                parts.append(marked)
            room = max(0, room - len(words))
        written = "".join(parts).strip()
        return f"{written} {more_characters(dropped, self.locale)}" if dropped else written

    def read(self, body: Text) -> str:
        """`body` as plain words on one line."""
        return plain("".join(self._words(part) for part in body))

    def _words(self, part: Inline) -> str:
        match part:
            case Moment(at):
                return moment(at, self.locale, self._timezone)
            case Person(name):
                account = mentioned(part)
                if account is None or not self._can_mention:
                    return plain(f"@{name}" if account else name)
                return "@all" if account == "*" else f"@{account}"
            case Plain(words):
                return visible(words)
            case Strong(words) | Code(words) | Link(words):
                return plain(words)

    def _mark(self, part: Inline, words: str) -> str:
        match part:
            case Strong():
                return f"**{escape(words.strip())}**" if words.strip() else ""
            case Link(_, url):
                return link(words, url)
            case Person() if self._can_mention and mentioned(part):
                return words
            case _:
                return escape(words)
