"""Block Kit's limits: what Slack refuses in messages and views, each problem with its JSON pointer.

Limits: https://docs.slack.dev/reference/block-kit
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from playground.options import Json


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that Slack would refuse."""

    pointer: str
    code: str
    message: str

    def line(self) -> str:
        """As Slack writes it in `response_metadata.messages`."""
        return f"[ERROR] {self.message} [json-pointer:{self.pointer}]"


Problems = Iterator[Problem]

MESSAGE_BLOCKS: Final = 50
VIEW_BLOCKS: Final = 100
ATTACHMENTS: Final = 100
VIEW_BYTES: Final = 250_000
_MARKDOWN_CHARACTERS: Final = 12_000
_TABLE_CHARACTERS: Final = 10_000

_MESSAGE_ONLY = frozenset({"markdown", "plan", "task_card", "context_actions"})
_MODAL_ONLY = frozenset({"alert"})
_NOT_IN_MODAL = frozenset({"table", "data_table"})

_SELECTS = frozenset(
    {"users_select", "conversations_select", "channels_select", "external_select"}
    | {"multi_users_select", "multi_conversations_select", "multi_channels_select", "multi_external_select"}
)
_STATIC_SELECTS = frozenset({"static_select", "multi_static_select"})
_PICKERS = frozenset({"datepicker", "timepicker", "datetimepicker"})
_CHOICES = frozenset({"radio_buttons", "checkboxes", "overflow"})
_INPUT_ONLY = frozenset(
    {"plain_text_input", "email_text_input", "url_text_input", "number_input", "file_input", "rich_text_input"}
)
_BUTTON_LIKE = frozenset({"button", "workflow_button", "feedback_buttons", "icon_button"})
_ACCESSORIES = _SELECTS | _STATIC_SELECTS | _PICKERS | _CHOICES | {"button", "workflow_button", "image"}
_ACTIONS = (_ACCESSORIES - {"image"}) | _BUTTON_LIKE
_INPUTS = (_SELECTS | _STATIC_SELECTS | _PICKERS | _CHOICES | _INPUT_ONLY) - {"overflow"}
_PLACEHOLDER: Final = 150


def message_problems(blocks: object, pointer: str = "/blocks") -> list[Problem]:
    """What Slack refuses in the blocks of a message."""
    if not isinstance(blocks, list):
        return [Problem(pointer, "type", "must be an array")]
    problems = list(_list_problems(blocks, pointer, "message", MESSAGE_BLOCKS))
    markdown = sum(
        len(str(one.get("text", ""))) for one in blocks if isinstance(one, dict) and one.get("type") == "markdown"
    )
    if markdown > _MARKDOWN_CHARACTERS:
        problems.append(
            Problem(pointer, "too_long", f"markdown blocks hold more than {_MARKDOWN_CHARACTERS} characters")
        )
    if sum(isinstance(one, dict) and one.get("type") == "table" for one in blocks) > 1:
        problems.append(Problem(pointer, "too_many", "only one table is allowed"))
    return problems


def attachment_problems(attachments: object) -> list[Problem]:
    """What Slack refuses in a message's attachments."""
    if not isinstance(attachments, list) or not all(isinstance(one, dict) for one in attachments):
        return [Problem("/attachments", "type", "must be an array of objects")]
    return [
        problem
        for number, one in enumerate(attachments)
        if one.get("blocks") is not None
        for problem in message_problems(one["blocks"], f"/attachments/{number}/blocks")
    ]


def view_problems(view: object) -> list[Problem]:
    """What Slack refuses in a view (its size apart, which has an error of its own)."""
    if not isinstance(view, dict):
        return [Problem("/view", "type", "must be an object")]
    kind = view.get("type")
    if kind not in {"modal", "home"}:
        return [Problem("/view/type", "unknown", "must be modal or home")]
    blocks = view.get("blocks")
    problems = list(_view_frame(view)) if kind == "modal" else []
    problems += _lengths(view, "/view", {"callback_id": 255, "private_metadata": 3000, "external_id": 255})
    if not isinstance(blocks, list):
        return [*problems, Problem("/view/blocks", "type", "must be an array")]
    return problems + list(_list_problems(blocks, "/view/blocks", kind, VIEW_BLOCKS))


def view_bytes(view: Json) -> int:
    """The size that counts against `view_too_large`."""
    return len(json.dumps(view, ensure_ascii=False).encode())


def _view_frame(view: Json) -> Problems:
    yield from _plain(view.get("title"), "/view/title", 24)
    for key in ("submit", "close"):
        if view.get(key) is not None:
            yield from _plain(view[key], f"/view/{key}", 24)
    blocks = view.get("blocks")
    has_input = isinstance(blocks, list) and any(isinstance(one, dict) and one.get("type") == "input" for one in blocks)
    if has_input and not view.get("submit"):
        yield Problem("/view", "required", "missing required field: submit")


def _list_problems(blocks: list[object], pointer: str, surface: str, limit: int) -> Problems:
    if len(blocks) > limit:
        yield Problem(pointer, "too_many", f"no more than {limit} items allowed")
    seen: set[str] = set()
    for number, block in enumerate(blocks):
        here = f"{pointer}/{number}"
        if not isinstance(block, dict):
            yield Problem(here, "type", "must be an object")
            continue
        yield from _block(block, here, surface)
        block_id = block.get("block_id")
        if isinstance(block_id, str) and block_id:
            if block_id in seen:
                yield Problem(f"{here}/block_id", "duplicate", f"block_id {block_id} already exists")
            seen.add(block_id)


def _block(block: Json, here: str, surface: str) -> Problems:
    kind = str(block.get("type"))
    check = _BLOCKS.get(kind)
    if check is None:
        yield Problem(f"{here}/type", "unknown", f"unsupported type: {kind}")
        return
    refused = (kind in _MESSAGE_ONLY and surface != "message") or (kind in _MODAL_ONLY and surface != "modal")
    if refused or (kind in _NOT_IN_MODAL and surface == "modal"):
        yield Problem(f"{here}/type", "surface", f"{kind} is not allowed in a {surface}")
    yield from _lengths(block, here, {"block_id": 255})
    yield from check(block, here)


def _header(block: Json, here: str) -> Problems:
    yield from _plain(block.get("text"), f"{here}/text", 150)


def _section(block: Json, here: str) -> Problems:
    text, fields = block.get("text"), block.get("fields")
    if text is None and not fields:
        yield Problem(here, "required", "missing required field: text or fields")
    if text is not None:
        yield from _text(text, f"{here}/text", 3000)
    if fields is not None:
        yield from _sized(fields, f"{here}/fields", 1, 10)
        for number, field in enumerate(fields if isinstance(fields, list) else []):
            yield from _text(field, f"{here}/fields/{number}", 2000)
    if block.get("accessory") is not None:
        yield from _element(block["accessory"], f"{here}/accessory", _ACCESSORIES)


def _context(block: Json, here: str) -> Problems:
    elements = block.get("elements")
    yield from _sized(elements, f"{here}/elements", 1, 10)
    for number, one in enumerate(elements if isinstance(elements, list) else []):
        where = f"{here}/elements/{number}"
        if isinstance(one, dict) and one.get("type") == "image":
            yield from _image(one, where)
        else:
            yield from _text(one, where, 3000)


def _actions(block: Json, here: str) -> Problems:
    elements = block.get("elements")
    yield from _sized(elements, f"{here}/elements", 1, 25 if block.get("type") == "actions" else 5)
    seen: set[object] = set()
    for number, one in enumerate(elements if isinstance(elements, list) else []):
        where = f"{here}/elements/{number}"
        yield from _element(one, where, _ACTIONS)
        action_id = one.get("action_id") if isinstance(one, dict) else None
        if action_id is not None and action_id in seen:
            yield Problem(f"{where}/action_id", "duplicate", f"action_id {action_id} already exists")
        seen.add(action_id)


def _input(block: Json, here: str) -> Problems:
    yield from _plain(block.get("label"), f"{here}/label", 2000)
    if block.get("hint") is not None:
        yield from _plain(block["hint"], f"{here}/hint", 2000)
    yield from _element(block.get("element"), f"{here}/element", _INPUTS)


def _image(block: Json, here: str) -> Problems:
    if not block.get("image_url") and not block.get("slack_file"):
        yield Problem(here, "required", "missing required field: image_url")
    if not block.get("alt_text"):
        yield Problem(here, "required", "missing required field: alt_text")
    yield from _lengths(block, here, {"image_url": 3000, "alt_text": 2000})


def _markdown(block: Json, here: str) -> Problems:
    if not isinstance(block.get("text"), str) or not block["text"]:
        yield Problem(f"{here}/text", "required", "missing required field: text")


def _alert(block: Json, here: str) -> Problems:
    yield from _text(block.get("text"), f"{here}/text", 200)
    if block.get("level", "default") not in {"default", "info", "warning", "error", "success"}:
        yield Problem(f"{here}/level", "unknown", "unsupported level")


def _table(block: Json, here: str) -> Problems:
    rows = block.get("rows")
    top, characters = (100, _TABLE_CHARACTERS) if block.get("type") == "table" else (201, 2 * _TABLE_CHARACTERS)
    yield from _sized(rows, f"{here}/rows", 1, top)
    for number, row in enumerate(rows if isinstance(rows, list) else []):
        yield from _sized(row, f"{here}/rows/{number}", 1, 20)
    if len(json.dumps(rows, ensure_ascii=False)) > 4 * characters:
        yield Problem(f"{here}/rows", "too_long", f"more than {characters} characters")


def _card(block: Json, here: str) -> Problems:
    for key, limit in (("title", 150), ("subtitle", 150), ("body", 200)):
        if block.get(key) is not None:
            yield from _text(block[key], f"{here}/{key}", limit)
    if block.get("actions") is not None:
        yield from _sized(block["actions"], f"{here}/actions", 1, 3)


def _children(key: str, most: int) -> Callable[[Json, str], Problems]:
    def check(block: Json, here: str) -> Problems:
        yield from _sized(block.get(key), f"{here}/{key}", 1, most)

    return check


def _anything(block: Json, here: str) -> Problems:
    return iter(())


_BLOCKS: Final[dict[str, Callable[[Json, str], Problems]]] = {
    "header": _header,
    "section": _section,
    "divider": _anything,
    "context": _context,
    "actions": _actions,
    "context_actions": _actions,
    "input": _input,
    "image": _image,
    "markdown": _markdown,
    "alert": _alert,
    "table": _table,
    "data_table": _table,
    "card": _card,
    "carousel": _children("elements", 10),
    "container": _children("child_blocks", 10),
    "plan": _children("tasks", 50),
    "task_card": _anything,
    "rich_text": _children("elements", 1_000),
    "video": _anything,
    "file": _anything,
}


def _element(element: object, here: str, allowed: frozenset[str]) -> Problems:
    if not isinstance(element, dict):
        yield Problem(here, "required", "must be an object")
        return
    kind = str(element.get("type"))
    if kind not in allowed:
        yield Problem(f"{here}/type", "unknown", f"unsupported type: {kind}")
        return
    yield from _lengths(element, here, {"action_id": 255})
    if element.get("placeholder") is not None:
        yield from _plain(element["placeholder"], f"{here}/placeholder", _PLACEHOLDER)
    if element.get("confirm") is not None:
        yield from _confirm(element["confirm"], f"{here}/confirm")
    if kind == "button":
        yield from _button(element, here)
    elif kind == "image":
        yield from _image(element, here)
    elif kind in _STATIC_SELECTS | _CHOICES:
        yield from _options(element, here, kind)


def _button(element: Json, here: str) -> Problems:
    yield from _plain(element.get("text"), f"{here}/text", 75)
    yield from _lengths(element, here, {"value": 2000, "url": 3000, "accessibility_label": 75})
    if element.get("style") not in {None, "primary", "danger"}:
        yield Problem(f"{here}/style", "unknown", "must be primary or danger")


def _confirm(given: object, here: str) -> Problems:
    if not isinstance(given, dict):
        yield Problem(here, "type", "must be an object")
        return
    yield from _plain(given.get("title"), f"{here}/title", 100)
    yield from _text(given.get("text"), f"{here}/text", 300)
    for key in ("confirm", "deny"):
        yield from _plain(given.get(key), f"{here}/{key}", 30)


def _options(element: Json, here: str, kind: str) -> Problems:
    most = {"overflow": 5, "radio_buttons": 10, "checkboxes": 10}.get(kind, 100)
    groups = element.get("option_groups")
    if groups is None:
        yield from _option_list(element.get("options"), f"{here}/options", most)
        return
    yield from _sized(groups, f"{here}/option_groups", 1, 100)
    for number, group in enumerate(groups if isinstance(groups, list) else []):
        where = f"{here}/option_groups/{number}"
        yield from _plain(group.get("label"), f"{where}/label", 75)
        yield from _option_list(group.get("options"), f"{where}/options", most)


def _option_list(options: object, here: str, most: int) -> Problems:
    yield from _sized(options, here, 1, most)
    for number, option in enumerate(options if isinstance(options, list) else []):
        where = f"{here}/{number}"
        if not isinstance(option, dict):
            yield Problem(where, "type", "must be an object")
            continue
        yield from _text(option.get("text"), f"{where}/text", 75)
        yield from _lengths(option, where, {"value": 150})
        if not isinstance(option.get("value"), str):
            yield Problem(where, "required", "missing required field: value")
        if option.get("description") is not None:
            yield from _text(option["description"], f"{where}/description", 75)


def _plain(given: object, here: str, limit: int) -> Problems:
    if isinstance(given, dict) and given.get("type") != "plain_text":
        yield Problem(f"{here}/type", "type", "must be plain_text")
        return
    yield from _text(given, here, limit)


def _text(given: object, here: str, limit: int) -> Problems:
    if not isinstance(given, dict):
        yield Problem(here, "required", "missing required text object")
        return
    if given.get("type") not in {"plain_text", "mrkdwn"}:
        yield Problem(f"{here}/type", "unknown", "must be plain_text or mrkdwn")
    text = given.get("text")
    if not isinstance(text, str):
        yield Problem(f"{here}/text", "type", "must be a string")
    elif not text:
        yield Problem(f"{here}/text", "too_short", "must be more than 0 characters")
    elif len(text) > limit:
        yield Problem(f"{here}/text", "too_long", f"must be less than {limit + 1} characters")


def _lengths(given: Json, here: str, limits: dict[str, int]) -> Problems:
    for key, limit in limits.items():
        value = given.get(key)
        if value is None:
            continue
        if not isinstance(value, str):
            yield Problem(f"{here}/{key}", "type", "must be a string")
        elif len(value) > limit:
            yield Problem(f"{here}/{key}", "too_long", f"must be less than {limit + 1} characters")


def _sized(given: object, here: str, least: int, most: int) -> Problems:
    if not isinstance(given, list):
        yield Problem(here, "required", "must be an array")
    elif len(given) < least:
        yield Problem(here, "too_few", f"no fewer than {least} items allowed")
    elif len(given) > most:
        yield Problem(here, "too_many", f"no more than {most} items allowed")
