"""Slack's messages as text for a terminal: the blocks' own words, markup and all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bot.domain.cards import Content
from integrations.slack.layout import Block
from integrations.slack.render import render
from integrations.spec import Preview


def preview(content: Content) -> tuple[Preview, ...]:
    """The one shape of Slack."""
    payload = render(content).payload
    return (Preview("message", payload, "\n".join(_lines(payload))),)


def _lines(payload: Mapping[str, Any]) -> Iterator[str]:
    for block in payload["blocks"]:
        yield from _block_lines(block)
    for attachment in payload["attachments"]:
        for block in attachment["blocks"]:
            yield ""
            yield from (f"│ {line}" for text in _block_lines(block) for line in text.split("\n"))


def _block_lines(block: Block) -> Iterator[str]:
    if block["type"] == "actions":
        yield "  ".join(f"[ {button['text']['text']} ]" for button in block["elements"])
        return
    texts = [block["text"]] if "text" in block else [*block.get("fields", ()), *block.get("elements", ())]
    for text in texts:
        yield str(text["text"])
