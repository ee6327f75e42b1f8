"""Web API methods about modals and the Home tab, and the checks that every view goes through."""

import time

from playground.options import Json
from playground.slack import blocks as rules
from playground.slack.call import Call, Method, SlackError
from playground.slack.chat import give_ids
from playground.slack.store import SlackStore, Trigger, View, fresh_hash

_STACK = 3


def checked_view(given: object, *, kind: str = "modal") -> Json:
    """The view, with ids where it had none; SlackError says what Slack refuses."""
    problems = rules.view_problems(given)
    if problems or not isinstance(given, dict):
        raise SlackError("invalid_arguments", [one.line() for one in problems])
    if given["type"] != kind:
        raise SlackError("invalid_arguments", [f"[ERROR] must be a {kind} [json-pointer:/view/type]"])
    if rules.view_bytes(given) > rules.VIEW_BYTES:
        raise SlackError("view_too_large")
    for block in given["blocks"]:
        give_ids(block)
    return given


def spend_trigger(store: SlackStore, trigger_id: str) -> Trigger:
    """The trigger, used up; SlackError where it is unknown, used or older than three seconds."""
    trigger = store.triggers.get(trigger_id)
    if trigger is None:
        raise SlackError("invalid_trigger_id")
    if trigger.is_used:
        raise SlackError("exchanged_trigger_id")
    if time.monotonic() > trigger.expires:
        raise SlackError("expired_trigger_id")
    trigger.is_used = True
    return trigger


def _refuse_known_external_id(store: SlackStore, payload: Json, own: View | None = None) -> None:
    external_id = payload.get("external_id")
    if external_id and any(
        one.payload.get("external_id") == external_id and one is not own for one in store.views.values()
    ):
        raise SlackError("duplicate_external_id")


def open_view(call: Call) -> Json:
    """views.open: takes the place of whatever the person has open."""
    payload = checked_view(call.json("view", "invalid_arguments"))
    _refuse_known_external_id(call.store, payload)
    trigger = spend_trigger(call.store, call.text("trigger_id"))
    view = trigger.opened = call.store.new_view(trigger.user, payload)
    call.store.show(view, on_top=False)
    call.slack.hub.touch()
    return {"ok": True, "view": view.wire()}


def push_view(call: Call) -> Json:
    """views.push: on top of the person's modal, three at most."""
    payload = checked_view(call.json("view", "invalid_arguments"))
    _refuse_known_external_id(call.store, payload)
    trigger = spend_trigger(call.store, call.text("trigger_id"))
    stack = call.store.stacks.get(trigger.user, [])
    if not stack:
        raise SlackError("not_found")
    if len(stack) >= _STACK:
        raise SlackError("push_limit_reached")
    view = trigger.opened = call.store.new_view(trigger.user, payload, previous=call.store.views[stack[-1]])
    call.store.show(view, on_top=True)
    call.slack.hub.touch()
    return {"ok": True, "view": view.wire()}


def update_view(call: Call) -> Json:
    """views.update, by id or external id, refused where the given hash is no longer the view's."""
    payload = checked_view(call.json("view", "invalid_arguments"))
    view = call.store.views.get(call.text("view_id"))
    if view is None and (external_id := call.text("external_id")):
        views = call.store.views.values()
        view = next((one for one in views if one.payload.get("external_id") == external_id), None)
    if view is None:
        raise SlackError("not_found")
    if call.text("hash") and call.text("hash") != view.hash:
        raise SlackError("hash_conflict")
    _refuse_known_external_id(call.store, payload, view)
    replace_view(view, payload)
    call.slack.hub.touch()
    return {"ok": True, "view": view.wire()}


def replace_view(view: View, payload: Json) -> None:
    """Show other content in an open view; what was typed stays where block and action keep their ids."""
    view.payload, view.hash = payload, fresh_hash()
    kept = {str(one.get("block_id")) for one in payload["blocks"]}
    view.values = {block_id: values for block_id, values in view.values.items() if block_id in kept}


def publish_view(call: Call) -> Json:
    """views.publish: the Home tab of one person."""
    payload = checked_view(call.json("view", "invalid_arguments"), kind="home")
    user = call.text("user_id")
    if user not in call.store.people:
        raise SlackError("missing_profile_id")
    old = call.store.homes.get(user)
    if old and call.text("hash") and call.text("hash") != old.hash:
        raise SlackError("hash_conflict")
    view = call.store.homes[user] = call.store.new_view(user, payload)
    call.slack.hub.touch()
    return {"ok": True, "view": view.wire()}


METHODS: dict[str, Method] = {
    "views.open": open_view,
    "views.push": push_view,
    "views.update": update_view,
    "views.publish": publish_view,
}
