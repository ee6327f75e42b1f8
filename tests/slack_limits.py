"""Slack's published limits as an own check, which shares nothing with the renderer.

https://docs.slack.dev/reference/block-kit
"""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]
LARGEST_MESSAGE = 20_000


def problems_of_message(payload: Json) -> list[str]:
    """What Slack would refuse in the arguments of chat.postMessage."""
    attachments = payload["attachments"]
    blocks = [*payload["blocks"], *(block for one in attachments for block in one["blocks"])]
    found = [] if len(blocks) <= 50 else [f"{len(blocks)} blocks"]
    found += [] if 0 < len(payload["text"]) <= 40_000 else ["text"]
    found += ["attachments"] if len(attachments) > 100 else []
    found += ["empty attachment" for one in attachments if not one["blocks"] or not one["color"].startswith("#")]
    return found + _problems(blocks)


def problems_of_view(view: Json) -> list[str]:
    """What Slack would refuse in a modal."""
    found = [] if 0 < len(view["blocks"]) <= 100 else ["blocks"]
    found += _text(view["title"], 24, "plain_text") + _text(view["close"], 24, "plain_text")
    found += ["private_metadata"] if len(view["private_metadata"]) > 3000 else []
    return found + _problems(view["blocks"])


def _problems(blocks: list[Json]) -> list[str]:
    return [f"{number} {block['type']}: {one}" for number, block in enumerate(blocks) for one in _block(block)]


def _block(block: Json) -> list[str]:
    match block["type"]:
        case "section":
            fields = block.get("fields")
            if fields is None:
                return _text(block["text"], 3000, "mrkdwn")
            found = [] if 0 < len(fields) <= 10 else [f"{len(fields)} fields"]
            return found + [one for field in fields for one in _text(field, 2000, "mrkdwn")]
        case "context":
            elements = block["elements"]
            found = [] if 0 < len(elements) <= 10 else [f"{len(elements)} elements"]
            return found + [one for element in elements for one in _text(element, 3000, "mrkdwn")]
        case "actions":
            elements = block["elements"]
            found = [] if 0 < len(elements) <= 25 else [f"{len(elements)} elements"]
            ids = [element["action_id"] for element in elements]
            found += [] if len(set(ids)) == len(ids) else ["ids repeat"]
            return found + [one for element in elements for one in _button(element)]
        case kind:
            return [f"unexpected {kind}"]


def _button(button: Json) -> list[str]:
    found = _text(button["text"], 75, "plain_text")
    found += [] if 0 < len(button["action_id"]) <= 255 else ["action_id"]
    found += [] if len(button.get("value", "")) <= 2000 else ["value"]
    found += [] if len(button.get("url", "https://")) <= 3000 else ["url"]
    found += [] if button.get("url", "https://").startswith(("https://", "http://")) else ["url"]
    found += [] if button.get("style", "primary") in ("primary", "danger") else ["style"]
    if (confirm := button.get("confirm")) is not None:
        for key, limit in (("title", 100), ("text", 300), ("confirm", 30), ("deny", 30)):
            found += _text(confirm[key], limit, "plain_text")
    return found


def _text(given: Json, limit: int, kind: str) -> list[str]:
    is_right = given["type"] == kind and 0 < len(given["text"]) <= limit
    return [] if is_right else [f"{given['type']} of {len(given['text'])}"]
