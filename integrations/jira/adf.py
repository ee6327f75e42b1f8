"""Comments in Atlassian Document Format, which REST v3 takes and gives, and descriptions in it as plain text.

https://developer.atlassian.com/cloud/jira/platform/apis/document/structure/. An empty text node makes the whole
document invalid, and so does a mark in a code block. Jira refuses comments above 32,767 characters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, assert_never

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

Node = dict[str, Any]
MAX_TEXT = 2000
MAX_LOG = 4000
MAX_LINES = 40
MAX_SECTIONS = 20
MAX_DOCUMENT = 15_000


def render(sections: Sequence[Section], marker: str = "") -> Node:
    """A comment of at most about 15,000 characters of text, which ends in `marker`, in small letters."""
    blocks: list[Node] = []
    left = MAX_DOCUMENT
    for section in sections[:MAX_SECTIONS]:
        for block in _blocks(section):
            size = len(plain_text(block))
            if size > left:
                blocks.append(_paragraph([_text("…")]))
                left = 0
                break
            left -= size
            blocks.append(block)
        if left == 0:
            break
    if marker:
        blocks.append(_paragraph([_text(marker, {"type": "subsup", "attrs": {"type": "sub"}})]))
    return {"version": 1, "type": "doc", "content": blocks or [_paragraph([_text("—")])]}


def plain_text(node: object) -> str:
    """The words of a document, with its line breaks; empty for what is none."""
    return "".join(_words(node, 0)).strip("\n")


def _words(node: object, depth: int) -> Iterator[str]:
    if not isinstance(node, dict) or depth > 30:
        return
    kind = node.get("type")
    if kind == "text" and isinstance(node.get("text"), str):
        yield node["text"]
    elif kind == "hardBreak":
        yield "\n"
    elif kind in ("mention", "emoji", "inlineCard", "status"):
        attributes = node.get("attrs")
        said = attributes.get("text") or attributes.get("url") if isinstance(attributes, dict) else None
        yield said if isinstance(said, str) else ""
    content = node.get("content")
    for child in content if isinstance(content, list) else ():
        yield from _words(child, depth + 1)
    if kind in ("paragraph", "heading", "codeBlock"):
        yield "\n"


def _blocks(section: Section) -> Iterator[Node]:
    if section.title and (title := _inlines((Strong(section.title),))):
        yield _paragraph(title)
    match section:
        case Paragraph(body=body):
            if inlines := _inlines(body):
                yield _paragraph(inlines)
        case Lines(items=items):
            yield from _list(items, section.hidden)
        case Preformatted(body=log):
            if kept := clean_text(log, MAX_LOG).strip("\n"):
                yield {"type": "codeBlock", "content": [_text(kept)]}
        case _:
            assert_never(section)


def _list(items: Sequence[Text], hidden: int) -> Iterator[Node]:
    rows = [_paragraph(inlines) for item in items[:MAX_LINES] if (inlines := _inlines(item))]
    hidden += max(0, len(items) - MAX_LINES)
    if hidden:
        rows.append(_paragraph([_text(f"… +{hidden}")]))
    if rows:
        yield {"type": "bulletList", "content": [{"type": "listItem", "content": [row]} for row in rows]}


def _inlines(text: Text) -> list[Node]:
    """Nodes of a passage; line breaks in it are nodes of their own, and what is empty is left out."""
    nodes: list[Node] = []
    left = MAX_TEXT
    for part in text:
        words, marks, mention = _parts(part)
        if mention is not None:
            nodes.append(mention)
            continue
        words = _shorten(words, left)
        left -= len(words)
        for number, line in enumerate(words.split("\n")):
            if number:
                nodes.append({"type": "hardBreak"})
            if line:
                nodes.append(_text(line, *marks))
    return nodes


def _parts(part: Inline) -> tuple[str, tuple[Node, ...], Node | None]:
    """The words of a part and its marks; or the node of a person who is mentioned here."""
    match part:
        case Plain(words):
            return words, (), None
        case Strong(words):
            return words, ({"type": "strong"},), None
        case Code(words):
            return words, ({"type": "code"},), None
        case Link(words, url):
            address = clean_url(url)
            return words, ({"type": "link", "attrs": {"href": address}},) if address else (), None
        case Moment(at):
            return f"{at:%Y-%m-%d %H:%M} UTC", (), None
        case Person(name, account, is_mentioned):
            platform, _, identity = (account or "").partition(":")
            if is_mentioned and platform == "jira" and identity:
                return "", (), {"type": "mention", "attrs": {"id": identity, "text": f"@{_shorten(name, 100)}"}}
            return name, (), None
        case _:
            assert_never(part)


def _shorten(words: str, limit: int) -> str:
    """Without control characters; the beginning is kept, as in any sentence."""
    cleaned = clean_text(words[: limit + 200], limit + 200).replace("\t", " ")
    return cleaned if len(cleaned) <= limit else cleaned[: max(0, limit - 1)] + "…" * (limit > 0)


def _paragraph(inlines: list[Node]) -> Node:
    return {"type": "paragraph", "content": inlines}


def _text(words: str, *marks: Node) -> Node:
    return {"type": "text", "text": words, **({"marks": list(marks)} if marks else {})}
