"""Comments of Azure Boards, which are HTML."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from html import escape
from html.parser import HTMLParser
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
MAX_DOCUMENT = 30_000
_OPEN = re.compile(r"<(?=[^<>]*(?:<|\Z))")  # a tag that nothing closes is looked for over and over, to the end
_BREAKS = frozenset({"br", "p", "div", "li", "tr", "h1", "h2", "h3", "h4", "pre"})


def render(sections: Sequence[Section], marker: str = "") -> str:
    """A comment that ends in `marker`, in small letters; whole blocks only, at most about 30,000 characters."""
    kept: list[str] = []
    left = MAX_DOCUMENT
    for block in (block for section in sections for block in _blocks(section)):
        if len(block) > left:
            kept.append("<p>…</p>")
            break
        left -= len(block)
        kept.append(block)
    if marker:
        kept.append(f"<p><small>{escape(marker)}</small></p>")
    return "".join(kept) or "<p>—</p>"


def plain_text(document: str) -> str:
    """The words of a description, with its line breaks."""
    reader = _Words()
    reader.feed(_OPEN.sub("&lt;", document))
    reader.close()
    lines = (line.strip() for line in "".join(reader.words).split("\n"))
    return "\n".join(line for line in lines if line)


class _Words(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        """A block begins on a line of its own."""
        if tag in _BREAKS:
            self.words.append("\n")

    def handle_endtag(self, tag: str) -> None:
        """And what follows it, too."""
        if tag in _BREAKS:
            self.words.append("\n")

    def handle_data(self, data: str) -> None:
        """Words."""
        self.words.append(data)


def _blocks(section: Section) -> Iterator[str]:
    if section.title:
        yield f"<p>{_inline(Strong(section.title))}</p>"
    match section:
        case Paragraph(body=body):
            if words := _line(body):
                yield f"<p>{words}</p>"
        case Lines(items=items):
            rows = [f"<li>{words}</li>" for item in items[:MAX_LINES] if (words := _line(item))]
            hidden = section.hidden + max(0, len(items) - MAX_LINES)
            rows += [f"<li>… +{hidden}</li>"] if hidden else []
            if rows:
                yield f"<ul>{''.join(rows)}</ul>"
        case Preformatted(body=log):
            if kept := clean_text(log, MAX_LOG).strip("\n"):
                yield f"<pre>{escape(kept)}</pre>"
        case _:
            assert_never(section)


def _line(text: Text) -> str:
    return "".join(_inline(part) for part in text)


def _inline(part: Inline) -> str:
    match part:
        case Plain(words):
            return _words(words)
        case Strong(words):
            return f"<b>{_words(words)}</b>" if words else ""
        case Code(words):
            return f"<code>{_words(words)}</code>" if words else ""
        case Link(words, url):
            address = clean_url(url)
            return f'<a href="{escape(address)}">{_words(words)}</a>' if address else _words(words)
        case Moment(at):
            return f"{at:%Y-%m-%d %H:%M} UTC"
        case Person(name):
            return _words(name[:100])
        case _:
            assert_never(part)


def _words(words: str) -> str:
    return escape(clean_text(words[:MAX_TEXT], MAX_TEXT)).replace("\n", "<br>")
