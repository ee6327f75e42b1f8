"""Cards and notices as Slack messages and modals, within the platform's limits. Pure: no clock, no network.

A card's title is a block of the message, everything else stands in an attachment, the one thing in Slack with a colour
bar. With blocks in the message, `text` is only the words of notifications, so the title is not shown twice:
https://docs.slack.dev/reference/methods/chat.postMessage#text-blocks-attachments
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

from bot.domain.cards import Card, Content, Notice, Picture, Question, Tone
from bot.domain.places import Rendered
from bot.i18n import translate
from integrations.slack.layout import (
    ROOMS,
    Block,
    Room,
    body_blocks,
    notice_blocks,
    plain_object,
    summarize,
    title_block,
)
from integrations.slack.mrkdwn import clip_plain, escape

MESSAGE_CHARACTERS = 12_000
"""How large a payload may be: Slack refuses with `msg_blocks_too_long` above a limit that it does not publish."""

MAX_MODAL_TITLE = 24
MAX_PRIVATE_METADATA = 3000
MAX_FILE_TITLE = 200
MAX_INPUT_LABEL = 2000
CALLBACK_ID = "shipmate"
_COLOURS = {
    Tone.SUCCESS: "#2EB67D",
    Tone.FAILURE: "#E01E5A",
    Tone.RUNNING: "#1D9BD1",
    Tone.CANCELLED: "#868686",
    Tone.NEUTRAL: "#DDDDDD",
}


def render(content: Content) -> Rendered:
    """The payload without its address; always with blocks and attachments, so that an update replaces both.

    A notice with a picture is a file to upload, with its words beside it.
    """
    if isinstance(content, Notice) and content.picture is not None:
        return _picture(content, content.picture)
    payload = _fitting(lambda room: _card(content, room) if isinstance(content, Card) else _notice(content, room))
    canonical = json.dumps(payload, sort_keys=True, ensure_ascii=False)
    return Rendered(payload, hashlib.sha256(canonical.encode()).hexdigest()[:32])


def render_modal(card: Card) -> dict[str, Any]:
    """A modal that shows the card; its subject travels along as `private_metadata`."""

    def build(room: Room) -> dict[str, Any]:
        return {
            "type": "modal",
            "callback_id": CALLBACK_ID,
            "title": plain_object(card.title, MAX_MODAL_TITLE),
            "close": plain_object(translate(card.locale, "Close"), MAX_MODAL_TITLE),
            "private_metadata": card.subject[:MAX_PRIVATE_METADATA],
            "blocks": [title_block(card), *body_blocks(card, room)],
        }

    return _fitting(build)


def render_question(question: Question, metadata: str) -> dict[str, Any]:
    """A modal with a line to write in, which may stay empty; `metadata` comes back with what is written."""
    words = {"type": "plain_text_input", "action_id": "words", "max_length": question.most}
    label = plain_object(question.label, MAX_INPUT_LABEL)
    return {
        "type": "modal",
        "callback_id": f"{CALLBACK_ID}_question",
        "title": plain_object(question.title, MAX_MODAL_TITLE),
        "submit": plain_object(question.yes, MAX_MODAL_TITLE),
        "close": plain_object(question.no, MAX_MODAL_TITLE),
        "private_metadata": metadata,
        "blocks": [{"type": "input", "block_id": "words", "optional": True, "label": label, "element": words}],
    }


def _picture(notice: Notice, picture: Picture) -> Rendered:
    words = notice_blocks(notice, ROOMS[0])[0]["text"]["text"]
    payload = {"picture": picture.png, "title": clip_plain(picture.title, MAX_FILE_TITLE), "initial_comment": words}
    return Rendered(payload, hashlib.sha256(picture.name.encode()).hexdigest()[:32])


def _card(card: Card, room: Room) -> dict[str, Any]:
    body = body_blocks(card, room)
    fallback = escape(summarize(card))
    bar: list[Block] = [{"color": _COLOURS[card.tone], "fallback": fallback, "blocks": body}] if body else []
    return {"text": fallback, "blocks": [title_block(card)], "attachments": bar}


def _notice(notice: Notice, room: Room) -> dict[str, Any]:
    blocks = notice_blocks(notice, room)
    return {"text": blocks[0]["text"]["text"], "blocks": blocks, "attachments": []}


def _fitting(build: Callable[[Room], dict[str, Any]]) -> dict[str, Any]:
    payload: dict[str, Any] = {}
    for room in ROOMS:
        payload = build(room)
        if len(json.dumps(payload, ensure_ascii=False, separators=(",", ":"))) <= MESSAGE_CHARACTERS:
            break
    return payload
