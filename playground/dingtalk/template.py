"""Card templates: the card builder's export read into components that a client can draw.

The export is `{"editorData": "<JSON string>", …}` whose `schema.componentsTree` holds the components and whose
`variableList` holds the variables, as in open-dingtalk/dingtalk-card-examples. A short form of our own is read too:
`{"templateId", "variables", "layout": [{"type": "title", "text": "${title}"}, …]}`.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from playground import world
from playground.options import Json

_PLACE = re.compile(r"\$\{([^}]+)\}")
_STEP = re.compile(r"[^.\[\]]+|\[\d+\]")
_HEADING = re.compile(r"common_h[1-4]_")
_TEXTUAL = frozenset({"string", "markdown"})


@dataclass(frozen=True, slots=True)
class Template:
    """One card template: its id, the types of its variables, and its components."""

    id: str
    name: str
    types: dict[str, str]
    nodes: tuple[Json, ...]
    is_export: bool

    def components(self, values: dict[str, str]) -> list[Json]:
        """The card as drawn with these values, which are strings as in cardParamMap."""
        scope = self._scope(values)
        draw = _draw_export if self.is_export else _draw_short
        drawn: list[Json] = []
        for one in (one for node in self.nodes for one in draw(node, scope)):
            if one["type"] == "buttons" and drawn and drawn[-1]["type"] == "buttons":
                drawn[-1]["buttons"] += one["buttons"]
            else:
                drawn.append(one)
        return drawn

    def _scope(self, values: dict[str, str]) -> Json:
        scope: Json = dict(values)
        for name, value in values.items():
            if self.types.get(name, "string") not in _TEXTUAL:
                scope[name] = _decoded(value)
        full = _decoded(values.get("sys_full_json_obj", ""))
        return scope | (full if isinstance(full, dict) else {})


def load_template(given: str) -> Template:
    """Read `FILE` or `ID=FILE`; the id is the argument's, else the file's, else the playground's own.

    Raises ValueError where the file is in neither form, OSError where it cannot be read.
    """
    template_id, equals, path = given.partition("=")
    file = Path(path if equals else given)
    document = json.loads(file.read_text("utf-8"))
    if not isinstance(document, dict):
        raise ValueError(f"{file}: a card template is a JSON object")
    wanted = template_id if equals else str(document.get("templateId") or world.DINGTALK_TEMPLATE)
    return parse_template(document, wanted)


def parse_template(document: Json, template_id: str) -> Template:
    """A template from its JSON; ValueError where it is in neither form."""
    name = str(document.get("name", ""))
    if "editorData" in document:
        editor = document["editorData"]
        editor = json.loads(editor) if isinstance(editor, str) else editor
        types = {str(one.get("id") or one["name"]): str(one.get("type")) for one in editor.get("variableList") or []}
        return Template(template_id, name, types, tuple(editor["schema"]["componentsTree"]), is_export=True)
    if isinstance(document.get("layout"), list):
        types = {}
        for one in document.get("variables") or []:
            types[str(one["name"] if isinstance(one, dict) else one)] = (
                str(one.get("type", "string")) if isinstance(one, dict) else "string"
            )
        return Template(template_id, name, types, tuple(document["layout"]), is_export=False)
    raise ValueError("a card template has editorData (the card builder's export) or layout")


def _decoded(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def _find(path: str, scope: Json) -> object:
    value: object = scope
    for step in _STEP.findall(path):
        if step.startswith("["):
            number = int(step[1:-1])
            value = value[number] if isinstance(value, list) and number < len(value) else None
        else:
            value = _decoded(value) if isinstance(value, str) else value
            value = value.get(step) if isinstance(value, dict) else None
    return value


def _variable(given: Json, scope: Json) -> object:
    path = str(given.get("variable") or "")
    if given.get("variableType") == "loop":
        path = "loop." + path.partition("].")[2]
    return _find(path, scope) if path else None


def _filled(text: str, scope: Json) -> str:
    def value(found: re.Match[str]) -> str:
        known = _find(found[1].strip(), scope)
        return "" if known is None else known if isinstance(known, str) else json.dumps(known, ensure_ascii=False)

    return _PLACE.sub(value, text)


def _value(given: object, scope: Json) -> object:
    """A dynamic property: fixed, bound to a variable, or a text with `${…}` in it."""
    if not isinstance(given, dict):
        return _filled(given, scope) if isinstance(given, str) else given
    inner = given.get("content")
    if isinstance(inner, dict):
        return _value(next(iter(inner.values()), ""), scope)
    if given.get("valueType") == "variable" or given.get("type") == "variableValue":
        return _variable(given, scope)
    if isinstance(inner, str) and inner:
        return _filled(inner, scope)
    if given.get("variable") and "valueType" not in given:
        return _variable(given, scope)
    value = given.get("value")
    return _filled(value, scope) if isinstance(value, str) else value


def _string(given: object, scope: Json) -> str:
    value = _value(given, scope)
    return "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _is_true(value: object) -> bool:
    return value not in (None, "", 0, "0", "false", "False", False) and value != []


def _is_visible(given: object, scope: Json) -> bool:
    if not isinstance(given, dict):
        return True
    match given.get("valueType"):
        case "variable":
            return _is_true(_variable(given, scope))
        case "condition":
            condition = given.get("condition") or {}
            results = [_holds(one, scope) for one in condition.get("conditions") or []]
            return any(results) if condition.get("op") == "or" else all(results)
        case _:
            return bool(given.get("value", True))


def _holds(condition: Json, scope: Json) -> bool:
    value, wanted = _variable(condition, scope), condition.get("value")
    match condition.get("op"):
        case "isTrue" | "isNotEmpty" | "notEmpty":
            return _is_true(value)
        case "isFalse" | "isEmpty" | "empty":
            return not _is_true(value)
        case "notEqual":
            return str(value or "") != str(wanted)
        case _:
            return str(value or "") == str(wanted)


def _draw_export(node: Json, scope: Json) -> Iterator[Json]:
    name, props = str(node.get("componentName")), node.get("props") or {}
    if node.get("hidden") or not _is_visible(props.get("visible"), scope):
        return
    if name == "AICardStatusContainer" and str(props.get("status")) != str(scope.get("flowStatus", "")):
        return
    if draw := _EXPORTED.get(name):
        yield from draw(node, props, scope)
    if name == "Loop":
        items = _value(props.get("listData"), scope)
        for item in items if isinstance(items, list) else []:
            yield from _children(node, scope | {"loop": item})
    else:
        yield from _children(node, scope)


def _children(node: Json, scope: Json) -> Iterator[Json]:
    for child in node.get("children") or []:
        yield from _draw_export(child, scope)


def _card_head(node: Json, props: Json, scope: Json) -> Iterator[Json]:
    title = _string(props.get("cardName") or props.get("title"), scope)
    if title:
        yield {"type": "title", "text": title}
    if tag := _string(props.get("tagText"), scope):
        yield {"type": "tag", "text": tag, "color": _string(props.get("tagColor"), scope) or "blue"}


def _markdown(node: Json, props: Json, scope: Json) -> Iterator[Json]:
    if content := _string(props.get("content"), scope):
        yield {"type": "markdown", "content": content}


def _base_text(node: Json, props: Json, scope: Json) -> Iterator[Json]:
    text = _string(props.get("text"), scope) or _string(props.get("textVariable"), scope)
    if text and _HEADING.match(str(props.get("styleToken", ""))):
        yield {"type": "title", "text": text}
    elif text:
        yield {"type": "text", "text": text, "bold": bool(props.get("bold"))}


def _tag(node: Json, props: Json, scope: Json) -> Iterator[Json]:
    if text := _string(props.get("text"), scope):
        yield {"type": "tag", "text": text, "color": _string(props.get("color"), scope) or "blue"}


def _divider(node: Json, props: Json, scope: Json) -> Iterator[Json]:
    yield {"type": "divider"}


def _button_set(node: Json, props: Json, scope: Json) -> Iterator[Json]:
    given = props.get("buttons")
    given = given.get("list") if isinstance(given, dict) else given
    if props.get("buttonsSource") == "fixed":
        given = props.get("fixedButtons")
    if props.get("dynamicButtons") and props.get("buttonsSource") != "fixed":
        given = _value(props["dynamicButtons"], scope)
        drawn = [_dynamic_button(one) for one in given if isinstance(one, dict)] if isinstance(given, list) else []
    else:
        drawn = [_fixed_button(one, scope) for one in given or [] if _is_visible(one.get("visible"), scope)]
    if drawn:
        yield {"type": "buttons", "buttons": drawn}


def _single_button(node: Json, props: Json, scope: Json) -> Iterator[Json]:
    if props.get("actionType") == "dynamicEvent":
        event = _value(props.get("dynamicEventVar"), scope)
        shown = {"text": _string(props.get("text"), scope), "color": _string(props.get("color"), scope), "event": event}
        yield {"type": "buttons", "buttons": [_dynamic_button(shown)]}
    else:
        yield {"type": "buttons", "buttons": [_fixed_button({"id": node.get("id"), **props}, scope)]}


def _fixed_button(given: Json, scope: Json) -> Json:
    params = {}
    for one in given.get("params") or []:
        if one.get("name"):
            params[one["name"]] = (
                _variable(one, scope) if one.get("type") == "variable" else _value(one.get("value"), scope)
            )
    is_link = given.get("actionType") == "url"
    return {
        "id": _string(given.get("actionId"), scope) or str(given.get("id")),
        "text": _string(given.get("text"), scope),
        "color": _string(given.get("color"), scope) or "blue",
        "status": _string(given.get("status"), scope) or "normal",
        "url": (_string(given.get("url"), scope) or _string(given.get("pcUrl"), scope)) if is_link else None,
        "params": params,
    }


def _dynamic_button(given: Json) -> Json:
    """A button given by a variable: the builder's button group, the built-in cards' msgButtons, or our short form."""
    event = given.get("event")
    inner = event.get("params") if isinstance(event, dict) else None
    if isinstance(event, dict) and isinstance(inner, dict):
        is_link = event.get("type") == "openLink"
        given = {
            **given,
            "id": inner.get("actionId") or given.get("id"),
            "params": inner.get("params") or {},
            "url": inner.get("url") if is_link else None,
        }
    return {
        "id": str(given.get("id") or given.get("text")),
        "text": str(given.get("text", "")),
        "color": str(given.get("color") or "gray"),
        "status": str(given.get("status") or "normal"),
        "url": given.get("url") or None,
        "params": given.get("params") or {},
    }


_Draw = Callable[[Json, Json, Json], Iterator[Json]]
_EXPORTED: Final[dict[str, _Draw]] = {
    "StdCard": _card_head,
    "CardHeaderV2": _card_head,
    "CardHeader": _card_head,
    "CollapsePanel": _card_head,
    "Markdown": _markdown,
    "MarkdownBlock": _markdown,
    "BaseText": _base_text,
    "BaseTextBlock": _base_text,
    "Tag": _tag,
    "Divider": _divider,
    "DividerBlock": _divider,
    "ButtonBlock": _button_set,
    "ButtonList": _button_set,
    "ButtonGroup": _button_set,
    "SingleButton": _single_button,
}


def _draw_short(node: Json, scope: Json) -> Iterator[Json]:
    if "visible" in node and not _is_true(_decoded(_string(node["visible"], scope))):
        return
    kind = node.get("type")
    match kind:
        case "title" | "text":
            text = _string(node.get("text"), scope)
            drawn: Json | None = {"type": kind, "text": text} if text else None
        case "markdown":
            content = _string(node.get("content"), scope)
            drawn = {"type": "markdown", "content": content} if content else None
        case "tag":
            text = _string(node.get("text"), scope)
            drawn = (
                {"type": "tag", "text": text, "color": _string(node.get("color"), scope) or "blue"} if text else None
            )
        case "fields":
            items = _decoded(_string(node.get("items"), scope))
            drawn = {"type": "fields", "items": items} if isinstance(items, list) and items else None
        case "buttons":
            items = _decoded(_string(node.get("items"), scope))
            buttons = (
                [_dynamic_button(one) for one in items if isinstance(one, dict)] if isinstance(items, list) else []
            )
            drawn = {"type": "buttons", "buttons": buttons} if buttons else None
        case _:
            drawn = {"type": "divider"}
    if drawn is not None:
        yield drawn
