"""Comments for REST v2: in wiki markup, or as plain text where a field's renderer shows it as it stands.

https://jira.atlassian.com/secure/WikiRendererHelpAction.jspa?section=all
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import assert_never

from bot.domain.cards import (
    Code,
    Inline,
    Lines,
    Link,
    Moment,
    Paragraph,
    Person,
    Plain,
    Preformatted,
    Section,
    Strong,
    Text,
)
from integrations.texts import clean_text, clean_url

MAX_TEXT = 2000
MAX_LOG = 4000
MAX_LINES = 40
MAX_DOCUMENT = 15_000
_MARKUP = re.compile(r"[\\{}\[\]*_?+^~|!#\-()]")
_NOFORMAT = re.compile(r"\{(?=\s*(?:noformat|code)\b)", re.IGNORECASE)
Write = Callable[[Inline], str]


def render(sections: Sequence[Section], marker: str = "", *, is_plain: bool = False) -> str:
    """A comment of at most about 15,000 characters, which ends in `marker`."""
    write = _plain if is_plain else _wiki
    blocks = [block for section in sections for block in _blocks(section, write, is_plain=is_plain)]
    kept: list[str] = []
    left = MAX_DOCUMENT
    for block in blocks:
        if len(block) > left:
            kept.append("…")
            break
        left -= len(block)
        kept.append(block)
    if marker:
        kept.append(marker if is_plain else f"~{marker}~")
    return "\n\n".join(kept) or "—"


def escape(words: str) -> str:
    """Words that mean nothing to the renderer but themselves."""
    return _MARKUP.sub(lambda found: "\\" + found[0], words)


def _blocks(section: Section, write: Write, *, is_plain: bool) -> Iterator[str]:
    if section.title:
        yield write(Strong(section.title))
    match section:
        case Paragraph(body=body):
            if words := _line(body, write):
                yield words
        case Lines(items=items):
            rows = [words for item in items[:MAX_LINES] if (words := _line(item, write).replace("\n", " "))]
            hidden = section.hidden + max(0, len(items) - MAX_LINES)
            rows += [f"… +{hidden}"] if hidden else []
            if rows:
                yield "\n".join(f"{'-' if is_plain else '*'} {row}" for row in rows)
        case Preformatted(body=log):
            if kept := clean_text(log, MAX_LOG).strip("\n"):
                yield kept if is_plain else "{noformat}\n" + _NOFORMAT.sub("{ ", kept) + "\n{noformat}"
        case _:
            assert_never(section)


def _line(text: Text, write: Write) -> str:
    return "".join(write(part) for part in text)


def _wiki(part: Inline) -> str:
    match part:
        case Plain(words):
            return _lines(words)
        case Strong(words):
            return f"*{_lines(words)}*" if words.strip() else ""
        case Code(words):
            return "{{" + _lines(words) + "}}" if words.strip() else ""
        case Link(words, url):
            address = clean_url(url)
            if address is None or re.search(r"[|\]\[{}]", address):
                return _lines(words)
            return f"[{_lines(words).replace(chr(10), ' ')}|{address}]"
        case Moment(at):
            return escape(f"{at:%Y-%m-%d %H:%M} UTC")
        case Person(name, account, is_mentioned):
            platform, _, identity = (account or "").partition(":")
            is_ours = is_mentioned and platform == "jira" and re.fullmatch(r"[\w.@-]{1,100}", identity)
            return f"[~{identity}]" if is_ours else _lines(name)
        case _:
            assert_never(part)


def _plain(part: Inline) -> str:
    match part:
        case Plain(words) | Strong(words) | Code(words):
            return clean_text(words[:MAX_TEXT], MAX_TEXT)
        case Link(words, url):
            address = clean_url(url)
            return f"{words[:MAX_TEXT]} ({address})" if address else words[:MAX_TEXT]
        case Moment(at):
            return f"{at:%Y-%m-%d %H:%M} UTC"
        case Person(name):
            return name[:100]
        case _:
            assert_never(part)


def _lines(words: str) -> str:
    """Escaped, bounded, and with no line that begins like a list or a heading."""
    cleaned = clean_text(words[:MAX_TEXT], MAX_TEXT)
    return "\n".join(re.sub(r"^(h[1-6]|bq)(?=\\?\.)", r"\1 ", line) for line in escape(cleaned).split("\n"))
