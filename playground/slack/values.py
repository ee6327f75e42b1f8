"""What a person enters into inputs and chooses with controls, in the shapes of Slack's payloads."""

from playground.acts import ActError
from playground.options import Json
from playground.slack.store import View
from playground.slack.text import controls

_SELECTED = {
    "users_select": "selected_user",
    "conversations_select": "selected_conversation",
    "channels_select": "selected_channel",
    "multi_users_select": "selected_users",
    "multi_conversations_select": "selected_conversations",
    "multi_channels_select": "selected_channels",
    "datepicker": "selected_date",
    "timepicker": "selected_time",
    "datetimepicker": "selected_date_time",
}
_MULTIPLE = frozenset({"multi_static_select", "multi_external_select", "checkboxes"})
_SINGLE = frozenset({"static_select", "external_select", "radio_buttons", "overflow"})


def chosen(element: Json, value: object) -> Json:
    """The key that carries what was chosen with a control, and its value."""
    kind = str(element["type"])
    if kind in _MULTIPLE:
        wanted = value if isinstance(value, list) else [] if value is None else [value]
        return {"selected_options": [_option(element, one) for one in wanted]}
    if kind in _SINGLE:
        return {"selected_option": None if value is None else _option(element, value)}
    if kind in _SELECTED:
        return {_SELECTED[kind]: value}
    return {} if kind == "button" else {"value": None if value in (None, "") else str(value)}


def _option(element: Json, value: object) -> Json:
    options = list(element.get("options") or [])
    for group in element.get("option_groups") or []:
        options += group.get("options") or []
    for option in options:
        if value in {option.get("value"), option.get("text", {}).get("text")}:
            return {key: option[key] for key in ("text", "value", "description") if key in option}
    if element["type"].endswith("external_select"):
        return {"text": {"type": "plain_text", "text": str(value)}, "value": str(value)}
    raise ActError(f"{element['action_id']} has no option {value!r}")


_INITIAL = ("initial_option", "initial_options", "initial_value", "initial_date", "initial_time", "initial_user")


def _initial(element: Json) -> Json:
    given = next((element[key] for key in _INITIAL if key in element), None)
    if isinstance(given, dict):
        given = given.get("value")
    elif isinstance(given, list):
        given = [one.get("value") if isinstance(one, dict) else one for one in given]
    return {"type": element["type"], **chosen(element, given)}


def fill_in(view: View, values: Json) -> list[str]:
    """Enter values into a modal; answers the labels of needed inputs that stay empty.

    `values` is `{block_id: {action_id: value}}`; `{block_id: value}` and `{action_id: value}` do as well.
    """
    entered: Json = {}
    missing: list[str] = []
    for block, element in controls(view.payload["blocks"]):
        if element["type"] == "button":
            continue
        block_id, action_id = str(block["block_id"]), str(element["action_id"])
        state = view.values.get(block_id, {}).get(action_id) or _initial(element)
        given = _given(values, block_id, action_id)
        if given is not _NOTHING:
            state = {"type": element["type"], **chosen(element, given)}
        entered.setdefault(block_id, {})[action_id] = state
        is_empty = not any(value for key, value in state.items() if key != "type")
        if block["type"] == "input" and not block.get("optional") and is_empty:
            missing.append(str(block["label"]["text"]))
    view.values = entered
    return missing


_NOTHING = object()


def _given(values: Json, block_id: str, action_id: str) -> object:
    if block_id in values:
        inner = values[block_id]
        return inner.get(action_id, _NOTHING) if isinstance(inner, dict) else inner
    return values.get(action_id, _NOTHING)
