"""Neutral text as Slack's mrkdwn, in which nothing that came from outside acts.

https://docs.slack.dev/messaging/formatting-message-text: only `&`, `<` and `>` can be escaped. `*`, `_` and `~` cannot,
so a stretch that would format is shown as inline code, which is literal; where markup cannot hold code (a link's label)
and where marks of two texts would pair, look-alike characters stand in.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from typing import assert_never
from urllib.parse import quote, urlsplit
from zoneinfo import ZoneInfo

from bot.domain.cards import Code, Inline, Link, Moment, Person, Plain, Strong, Text
from bot.i18n import translate
from integrations.texts import first_of

_SPACES = re.compile(r"\s*\n\s*")
_INVISIBLE = re.compile("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]")
_FORMATTING = re.compile(r"(?<!\w)([*_~])(?=\S)[^\n]*?(?<=\S)\1(?!\w)")
_QUOTE = re.compile(r"^(?=&gt;)", re.MULTILINE)
_LOOK_ALIKE = str.maketrans({"*": "∗", "_": "ˍ", "~": "∼"})
_BACKTICK_TWIN = "ˋ"
_ZERO_WIDTH_SPACE = "\u200b"  # Slack formats only at the edges of words; Chinese has none
_PERSON = re.compile(r"[UW][A-Z0-9]{2,20}")
_GROUP = re.compile(r"S[A-Z0-9]{2,20}")
_MOMENT_WIDTH = 16
_SAFE_IN_URL = "%/:=&?~#+!$,;'@()*[]-._"


def escape(text: str) -> str:
    """`text` with the three characters that can be escaped, escaped."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def clean(text: str, *, is_one_line: bool = True) -> str:
    """`text` without control characters and without marks that turn the direction of what follows."""
    text = _INVISIBLE.sub("", text.replace("\r\n", "\n").replace("\t", " " if is_one_line else "\t"))
    return _SPACES.sub(" ", text).strip() if is_one_line else text


def render_text(parts: Text, *, limit: int, locale: str, timezone: str, is_one_line: bool = True) -> str:
    """mrkdwn of at most `limit` characters (from 60); a text that is too long ends in how much is missing."""
    parts = tuple(_cleaned(part, is_one_line=is_one_line) for part in parts)
    total = sum(map(_width, parts))
    if total <= limit and len(full := _join(parts, timezone)) <= limit:  # markup is never shorter than its words
        return full
    low, high, best = 0, min(total, limit), ""
    while low <= high:
        shown = (low + high) // 2
        more = translate(locale, "… {count} more characters", count=f"{total - shown:,}")
        candidate = _join(_clip(parts, shown), timezone) + more
        if len(candidate) <= limit:
            low, best = shown + 1, candidate
        else:
            high = shown - 1
    return best


def plain_text(parts: Text, timezone: str) -> str:
    """`parts` as one unmarked line, for notifications and for places without markup."""
    return clean("".join(_words(part, timezone) for part in parts))


def clip_plain(text: str, limit: int) -> str:
    """`text` of at most `limit` characters, ending in `…` when cut; for controls too small to say more."""
    text = clean(text)
    return text if len(text) <= limit else first_of(text, limit - 1).rstrip() + "…"


def link(label: str, url: str) -> str:
    """A link with a literal label, or the label alone where `url` is not one a browser should open."""
    address = safe_url(url)
    if not address:
        return _literal(label)
    shown = escape(_plain_marks(label).replace("`", _BACKTICK_TWIN)) or escape(address)
    return f"<{escape(address)}|{shown}>"


def safe_url(url: str) -> str:
    """`url` with what would end it encoded; empty unless it is an absolute http or https address."""
    try:
        found = urlsplit(url.strip())
    except ValueError:
        return ""
    if found.scheme not in ("http", "https") or not found.netloc:
        return ""
    return quote(url.strip(), safe=_SAFE_IN_URL)


def mention(person: Person) -> str:
    """The mention of a person, a user group or everybody here; empty when the account is none of Slack's."""
    platform, _, account = (person.account or "").partition(":")
    if platform != "slack":
        return ""
    if account == "*":
        return "<!here>"
    if _GROUP.fullmatch(account):
        return f"<!subteam^{account}>"
    return f"<@{account}>" if _PERSON.fullmatch(account) else ""


def bold(text: str) -> str:
    """A literal text in bold."""
    return f"*{escape(_plain_marks(text).replace('`', _BACKTICK_TWIN))}*"


def code_block(text: str) -> str:
    """Literal lines in a code block."""
    return "```\n" + escape(text.replace("```", "ˋˋˋ")) + "\n```"


@lru_cache(maxsize=64)
def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # a zone that this machine does not know
        return ZoneInfo("UTC")


def _moment(at: datetime, timezone: str) -> str:
    return f"{at.astimezone(_zone(timezone)):%Y-%m-%d %H:%M %Z}"


def _cleaned(part: Inline, *, is_one_line: bool) -> Inline:
    match part:
        case Plain() | Strong() | Code() | Link():
            if not is_one_line and not isinstance(part, Plain):
                is_one_line = True  # only plain text may hold line breaks
            text = _INVISIBLE.sub("", part.text)
            return replace(part, text=_SPACES.sub(" ", text) if is_one_line else text)
        case Person():
            return replace(part, name=clean(part.name))
        case Moment():
            return part
        case _:
            assert_never(part)


def _words(part: Inline, timezone: str) -> str:
    match part:
        case Plain(text) | Strong(text) | Code(text) | Link(text):
            return text
        case Moment(at):
            return _moment(at, timezone)
        case Person(name):
            return name
        case _:
            assert_never(part)


def _width(part: Inline) -> int:
    return _MOMENT_WIDTH if isinstance(part, Moment) else len(_words(part, "UTC"))


def _clip(parts: Text, width: int) -> Text:
    """The first `width` visible characters; instants and people are kept whole or left out."""
    kept: list[Inline] = []
    for part in parts:
        if _width(part) <= width:
            kept.append(part)
            width -= _width(part)
            continue
        if isinstance(part, Plain | Strong | Code | Link) and width > 0:
            kept.append(replace(part, text=first_of(part.text, width)))
        break
    return tuple(kept)


def _join(parts: Text, timezone: str) -> str:
    out, can_pair = "", _can_pair(parts)
    for part in parts:
        markup = _markup(part, timezone, can_pair=can_pair)
        is_marked = markup[:1] in ("*", "`")
        if out and markup and not out[-1].isspace() and (is_marked or out[-1] in "*`") and not markup[0].isspace():
            out += _ZERO_WIDTH_SPACE
        out += markup
    return out


def _can_pair(parts: Text) -> bool:
    """Whether marks of different parts would format what stands between them."""
    if len(parts) < 2:
        return False
    loose = "".join(
        _FORMATTING.sub("x", part.text) if isinstance(part, Plain | Link) else _stand_in(part) for part in parts
    )
    return bool(_FORMATTING.search(loose)) or ("*" in loose and any(isinstance(part, Strong) for part in parts))


def _stand_in(part: Inline) -> str:
    return _FORMATTING.sub("x", part.name) if isinstance(part, Person) else "x"


def _markup(part: Inline, timezone: str, *, can_pair: bool) -> str:
    match part:
        case Plain(text):
            return _literal(text, can_pair=can_pair)
        case Strong(text):
            words = text.strip()  # beside a blank within them Slack shows the marks as they are
            return text.replace(words, bold(words), 1) if words else ""
        case Code(text):
            return f"`{escape(text.replace('`', _BACKTICK_TWIN))}`" if text.strip() else ""
        case Link(text, url):
            return link(text.translate(_LOOK_ALIKE) if can_pair else text, url)
        case Moment(at):
            return f"<!date^{int(at.timestamp())}^{{date_short_pretty}} {{time}}|{_moment(at, timezone)}>"
        case Person(name):
            return (mention(part) if part.is_mentioned else "") or _literal(name, can_pair=can_pair)
        case _:
            assert_never(part)


def _literal(text: str, *, can_pair: bool = False) -> str:
    """`text` with stretches that would format shown as inline code; marks that pair with other parts' stood in for."""
    text = text.replace("`", _BACKTICK_TWIN)
    pieces, at = [], 0
    for found in _FORMATTING.finditer(text):
        before, after = text[at : found.start()], text[found.end() :]
        edge = _ZERO_WIDTH_SPACE if before and not before[-1].isspace() else ""
        far_edge = _ZERO_WIDTH_SPACE if after and not after[0].isspace() else ""
        pieces.append(f"{_unpaired(before, can_pair)}{edge}`{escape(found[0])}`{far_edge}")
        at = found.end()
    return _QUOTE.sub(_ZERO_WIDTH_SPACE, "".join(pieces) + _unpaired(text[at:], can_pair))


def _unpaired(text: str, can_pair: bool) -> str:
    return escape(text.translate(_LOOK_ALIKE) if can_pair else text)


def _plain_marks(text: str) -> str:
    return text.translate(_LOOK_ALIKE) if any(mark in text for mark in "*~") or _FORMATTING.search(text) else text
