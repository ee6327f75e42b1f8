"""Slack's payloads as a person reads them: mrkdwn, blocks and attachments to plain text, and the controls on them.

mrkdwn: https://docs.slack.dev/messaging/formatting-message-text
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from playground.options import Json

Name = Callable[[str], str]

EMOJI: Final[dict[str, str]] = json.loads((Path(__file__).parent.parent / "web" / "emoji.json").read_text("utf-8"))

_TOKEN = re.compile(r"<([^<>\s][^<>]*)>")
_CODE = re.compile(r"(```.*?```|`[^`\n]+`)", re.DOTALL)
_MARK = re.compile(r"(?<![\w*_~])([*_~])(?=\S)(.+?)(?<=\S)\1(?![\w*_~])")
_EMOJI = re.compile(r":([a-z0-9_+-]+):")
_MENTION = re.compile(r"@([\w.-]+)")


def plain(text: str, name: Name) -> str:
    """The text without its marks: mentions by name, links by label, dates by their fallback."""
    parts = []
    for part in _CODE.split(text):
        if part.startswith("```") and len(part) >= 6:
            parts.append(part[3:-3].strip("\n"))
        elif part.startswith("`") and len(part) > 2:
            parts.append(part[1:-1])
        else:
            parts.append(_unmarked(part, name))
    return "".join(parts).replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def _unmarked(text: str, name: Name) -> str:
    text = _TOKEN.sub(lambda found: _token(found[1], name), text)
    for _ in range(3):
        text = _MARK.sub(r"\2", text)
    return _EMOJI.sub(lambda found: EMOJI.get(found[1], found[0]), text)


def _token(token: str, name: Name) -> str:
    target, _, label = token.partition("|")
    match target[0]:
        case "@":
            return "@" + (label or name(target[1:]))
        case "#":
            return "#" + (label or name(target[1:]).lstrip("#"))
        case "!":
            return label or "@" + target[1:].partition("^")[0]
        case _:
            return label or target.removeprefix("mailto:")


def encode_mentions(text: str, handles: dict[str, str]) -> str:
    """What the client sends for what a person types: escaped, and `@handle` as a mention of its id."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MENTION.sub(
        lambda found: f"<@{handles[found[1].lower()]}>" if found[1].lower() in handles else found[0], text
    )


def message_text(text: str, blocks: list[Json], attachments: list[Json], name: Name, files: Sequence[Json] = ()) -> str:
    """All that a person reads in a message; blocks replace the top-level text, attachments and files' titles follow."""
    lines = [line for block in blocks for line in block_lines(block, name)] if blocks else [plain(text, name)]
    for attachment in attachments:
        lines += attachment_lines(attachment, name)
    lines += [str(file["title"]) for file in files]
    return "\n".join(line for line in lines if line)


def attachment_lines(attachment: Json, name: Name) -> Iterator[str]:
    """The lines of one attachment; one with blocks shows nothing else."""
    if attachment.get("blocks"):
        for block in attachment["blocks"]:
            yield from block_lines(block, name)
        return
    for key in ("pretext", "author_name", "title", "text"):
        if attachment.get(key):
            yield plain(str(attachment[key]), name)
    for field in attachment.get("fields") or []:
        yield f"{plain(str(field.get('title', '')), name)}: {plain(str(field.get('value', '')), name)}"
    if attachment.get("footer"):
        yield plain(str(attachment["footer"]), name)


def block_lines(block: Json, name: Name) -> Iterator[str]:
    """The lines of one block, without its controls."""
    match block.get("type"):
        case "header" | "section" | "alert":
            if block.get("text"):
                yield _text(block["text"], name)
            for field in block.get("fields") or []:
                yield _text(field, name)
        case "context":
            yield " ".join(_element_text(one, name) for one in block.get("elements", []))
        case "markdown":
            yield str(block.get("text", ""))
        case "rich_text":
            yield _rich(block, name)
        case "image":
            yield _text(block["title"], name) if block.get("title") else str(block.get("alt_text", ""))
        case "input":
            yield _text(block.get("label"), name)
        case "table":
            yield from _table_lines(block, name)
        case _:
            return


def _table_lines(block: Json, name: Name) -> Iterator[str]:
    for row in block.get("rows", []):
        yield " | ".join(_rich(cell, name) if cell.get("elements") else str(cell.get("text", "")) for cell in row)


def _text(given: object, name: Name) -> str:
    if not isinstance(given, dict):
        return str(given or "")
    text = str(given.get("text", ""))
    if given.get("type") == "mrkdwn":
        return plain(text, name)
    return _EMOJI.sub(lambda found: EMOJI.get(found[1], found[0]), text)


def _element_text(element: Json, name: Name) -> str:
    return str(element.get("alt_text", "")) if element.get("type") == "image" else _text(element, name)


def _rich(given: Json, name: Name) -> str:
    if "elements" in given:
        joint = "\n" if given.get("type") in {"rich_text", "rich_text_list"} else ""
        return joint.join(_rich(one, name) for one in given["elements"])
    match given.get("type"):
        case "user":
            return "@" + name(str(given.get("user_id")))
        case "channel":
            return "#" + name(str(given.get("channel_id"))).lstrip("#")
        case "emoji":
            return EMOJI.get(str(given.get("name")), f":{given.get('name')}:")
        case "broadcast":
            return f"@{given.get('range')}"
        case _:
            return str(given.get("text") or given.get("url") or given.get("fallback") or "")


def controls(blocks: list[Json]) -> Iterator[tuple[Json, Json]]:
    """Each interactive element with the block it stands in, in reading order."""
    for block in blocks:
        match block.get("type"):
            case "actions" | "context_actions":
                found = block.get("elements", [])
            case "section":
                found = [block["accessory"]] if block.get("accessory") else []
            case "input":
                found = [block["element"]] if block.get("element") else []
            case "card":
                found = block.get("actions", [])
            case _:
                found = []
        yield from ((block, one) for one in found if one.get("action_id"))


def control_shown(block: Json, element: Json, twice: frozenset[str]) -> Json:
    """An interactive element as the control API writes it; ids that occur twice carry their block's id."""
    action_id = str(element["action_id"])
    label = _text(element.get("text") or element.get("placeholder") or block.get("label"), lambda one: one)
    shown: Json = {
        "id": f"{block.get('block_id')}/{action_id}" if action_id in twice else action_id,
        "label": label,
        "url": element.get("url"),
        "type": element["type"],
        "block_id": block.get("block_id"),
    }
    for key in ("value", "style", "confirm", "options"):
        if element.get(key) is not None:
            shown[key] = element[key]
    return shown


def actions_shown(blocks: list[Json]) -> list[Json]:
    """All controls of a list of blocks as the control API writes them."""
    pairs = list(controls(blocks))
    ids = [str(element["action_id"]) for _, element in pairs]
    twice = frozenset(one for one in ids if ids.count(one) > 1)
    return [control_shown(block, element, twice) for block, element in pairs]
