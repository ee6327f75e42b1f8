"""A person's deeds in Slack, and what their client shows for them."""

import asyncio
import time
from typing import Final

from playground import world
from playground.acts import ActError, picked, required
from playground.options import Json
from playground.slack import payloads, text
from playground.slack.call import SlackError
from playground.slack.chat import check_content, has_content
from playground.slack.outbox import COMMANDS, EVENTS, INTERACTIVE, Outcome
from playground.slack.platform import SLACKBOT, SlackPlatform
from playground.slack.store import Place, Post, Trigger, View
from playground.slack.submitting import answer_submission
from playground.slack.values import chosen, fill_in

_VERBS: Final = (
    "say",
    "mention",
    "click",
    "submit",
    "close",
    "open",
    "invite",
    "kick",
    "archive",
    "delete",
    "create",
)
_APP_VERBS: Final = ("disconnect", "redeliver", "verify_url")


class SlackActing:
    """Acts as people of the workspace do."""

    def __init__(self, slack: SlackPlatform) -> None:
        self._slack = slack

    async def act(self, given: Json) -> Json:
        """Do what the control API asks; answers what the person's client would show."""
        verb = picked(given, *_VERBS, *_APP_VERBS)
        match verb:
            case "say" | "mention":
                return await self._say(given)
            case "click":
                return await self._click(given)
            case "submit":
                return await self._submit(given)
            case "close":
                return await self._close(given)
            case "invite" | "kick" | "archive" | "create":
                return await self._membership(verb, given)
            case "open":
                place = self._place(given)
                self._slack.hub.touch()
                return {"ok": True, "channel": {"id": place.id, "name": place.name}}
            case "delete":
                self._slack.delete(self._post(self._place(given), str(given["delete"])))
                return {"ok": True}
            case "disconnect" | "redeliver" | "verify_url":
                return await self._app(verb, given)
            case _:
                raise ActError(f"an act needs one of: {', '.join((*_VERBS, *_APP_VERBS))}")

    def _person(self, given: Json) -> world.Person:
        name = str(given.get("as") or "alice")
        person = self._slack.store.person_named(name)
        if person is None:
            raise ActError(f"nobody is called {name!r}")
        return person

    def _place(self, given: Json) -> Place:
        if given.get("direct"):
            return self._slack.store.direct(self._person(given))
        name = str(given.get("channel") or "#ci")
        place = self._slack.store.place_named(name)
        if place is None:
            raise ActError(f"there is no channel {name!r}")
        return place

    def _post(self, place: Place, post_id: str) -> Post:
        found = place.index.get(post_id)
        if found is None:
            found = next((one for one in self._slack.store.ephemeral if one.ts == post_id), None)
        if found is None or found.subtype == "tombstone":
            raise ActError(f"there is no message {post_id!r} in {place.name}")
        return found

    async def _say(self, given: Json) -> Json:
        person, place = self._person(given), self._place(given)
        line = str(given["say"]) if given.get("say") is not None else f"@{world.BOT_NAME} {given['mention']}"
        if line.startswith("/"):
            return await self._command(person, place, line, given)
        post = self._slack.post(
            place,
            person,
            {"text": text.encode_mentions(line, self._slack.store.handles())},
            str(given["thread"]) if given.get("thread") else None,
        )
        answer: Json = {"ok": True, "message": self._slack.store.shown(post)}
        is_mention = f"<@{world.SLACK_BOT_USER}>" in post.text
        if place.person:
            return answer | _acked(await self._slack.outbox.deliver(EVENTS, payloads.said("message", post)))
        if not is_mention:
            return answer | {"heard": False}
        if not place.has_bot:
            note = f"You mentioned @{world.BOT_NAME}, but they’re not in this channel. Invite them first."
            whisper = self._slack.whisper(place, person.id, {"text": note}, author=SLACKBOT)
            return answer | {"heard": False, "shown": [self._slack.store.shown(whisper)]}
        return answer | _acked(await self._slack.outbox.deliver(EVENTS, payloads.said("app_mention", post)))

    async def _command(self, person: world.Person, place: Place, line: str, given: Json) -> Json:
        verb = line.split(" ", 1)[0]
        if verb not in self._slack.core.options.slack_commands:
            return self._told(place, person, "unknown_command", f"{verb} is not a valid command.")
        trigger = self._slack.store.new_trigger(person.id, self._slack.core.options.slack_trigger_s)
        payload = payloads.command(
            person, place, line, trigger=trigger.id, response_url=self._reply_url(place, person, None)
        )
        started = self._slack.hub.revision
        outcome = await self._slack.outbox.deliver(COMMANDS, payload)
        if not outcome.is_acked:
            error = "operation_timeout" if outcome.error in {"timeout", "http_timeout"} else "dispatch_failed"
            return self._told(place, person, error, f"{verb} failed with the error “{error}”") | _acked(outcome)
        answer: Json = {"ok": True, "shown": []} | _acked(outcome)
        if outcome.payload:
            answer |= self._reply(place, person, outcome.payload)
        return answer | await self._opened(trigger, given, started)

    def _reply(self, place: Place, person: world.Person, payload: object) -> Json:
        content = payload if isinstance(payload, dict) else {"text": str(payload)}
        try:
            check_content(content)
            if not has_content(content):
                return {}
        except SlackError as error:
            self._slack.core.violate("slack", "command_reply", f"{error.error}: {'; '.join(error.messages)}")
            return self._told(place, person, error.error, "The app’s reply could not be shown.")
        if content.get("response_type") == "in_channel":
            post = self._slack.post(place, self._slack.bot, content)
        else:
            post = self._slack.whisper(place, person.id, content)
        return {"shown": [self._slack.store.shown(post)]}

    async def _click(self, given: Json) -> Json:
        click = given["click"]
        person = self._person(given)
        if isinstance(click, dict) and click.get("view"):
            return await self._click_view(person, self._view(str(click["view"])), click, given)
        place = self._place(given)
        post = self._post(place, required(click, "message", "click"))
        if post.visible_to and post.visible_to != person.id:
            raise ActError(f"{person.name} cannot see that message")
        block, element = _control(post.all_blocks(), required(click, "action", "click"))
        trigger = self._slack.store.new_trigger(person.id, self._slack.core.options.slack_trigger_s)
        payload = payloads.message_action(
            person,
            post,
            payloads.action(block, element, chosen(element, click.get("value"))),
            trigger=trigger.id,
            response_url=self._reply_url(post.place, person, post),
            attachment=post.attachment_of(block),
        )
        return await self._send_action(payload, element, trigger, given)

    async def _click_view(self, person: world.Person, view: View, click: Json, given: Json) -> Json:
        block, element = _control(view.payload["blocks"], required(click, "action", "click"))
        trigger = self._slack.store.new_trigger(person.id, self._slack.core.options.slack_trigger_s)
        if element["type"] != "button":
            fill_in(view, {str(block["block_id"]): {str(element["action_id"]): click.get("value")}})
        entry = payloads.action(block, element, chosen(element, click.get("value")))
        payload = payloads.view_action(person, view, entry, trigger=trigger.id)
        return await self._send_action(payload, element, trigger, given)

    async def _send_action(self, payload: Json, element: Json, trigger: Trigger, given: Json) -> Json:
        started = self._slack.hub.revision
        outcome = await self._slack.outbox.deliver(INTERACTIVE, payload)
        answer: Json = {"ok": outcome.is_acked, "opened": element.get("url")} | _acked(outcome)
        if not outcome.is_acked:
            answer |= {"error": outcome.error, "text": f"{world.BOT_NAME} didn’t respond in time."}
        if isinstance(outcome.payload, dict) and "response_action" in outcome.payload:
            note = "the ack of a block_actions payload carries response_action, which Slack ignores"
            self._slack.core.violate("slack", "response_action", note)
            answer |= {"ok": False, "error": "response_action", "text": note}
            place = self._slack.store.places.get(str(payload.get("channel", {}).get("id", "")))
            if place:
                self._told(place, self._slack.store.people[payload["user"]["id"]], "response_action", note)
        return answer | await self._opened(trigger, given, started)

    async def _submit(self, given: Json) -> Json:
        submit = given["submit"]
        view, person = self._view(required(submit, "view", "submit")), self._person(given)
        if person.id != view.user:
            raise ActError(f"{person.name} does not have that view open")
        if missing := fill_in(view, submit.get("values") or {}):
            return {"ok": False, "error": "required", "text": f"Please complete: {', '.join(missing)}"}
        trigger = self._slack.store.new_trigger(person.id, self._slack.core.options.slack_trigger_s)
        started = self._slack.hub.revision
        outcome = await self._slack.outbox.deliver(INTERACTIVE, payloads.submission(person, view, trigger=trigger.id))
        if not outcome.is_acked:
            text = "We had some trouble connecting. Try again?"
            return {"ok": False, "error": outcome.error, "text": text} | _acked(outcome)
        answer = _acked(outcome) | answer_submission(self._slack, view, outcome.payload)
        return answer | await self._opened(trigger, given, started)

    async def _close(self, given: Json) -> Json:
        view = self._view(str(given["close"]))
        person = self._slack.store.people[view.user]
        self._slack.store.close(view)
        self._slack.hub.touch()
        if not view.payload.get("notify_on_close"):
            return {"ok": True}
        payload = payloads.closed(person, view, is_cleared=False)
        return {"ok": True} | _acked(await self._slack.outbox.deliver(INTERACTIVE, payload))

    async def _membership(self, verb: str, given: Json) -> Json:
        if verb == "create":
            place = self._slack.store.create(str(given["create"]), has_bot=bool(given.get("bot", True)))
            self._slack.hub.touch()
            return {"ok": True, "channel": {"id": place.id, "name": place.name}}
        place, person = self._place(given), self._person(given)
        self._slack.hub.touch()
        if verb == "archive":
            place.is_archived = bool(given["archive"])
            return {"ok": True}
        if verb == "kick":
            place.members.discard(world.SLACK_BOT_USER)
            return {"ok": True}
        if place.has_bot:
            return {"ok": False, "error": "already_in_channel", "text": f"{world.BOT_NAME} is already here."}
        place.members.add(world.SLACK_BOT_USER)
        post = self._slack.post(place, self._slack.bot, {"text": f"was added to {place.name} by {person.name}."})
        post.subtype = "channel_join"
        return {"ok": True} | _acked(await self._slack.outbox.deliver(EVENTS, payloads.joined(place, person.id)))

    async def _app(self, verb: str, given: Json) -> Json:
        if verb == "disconnect":
            reason = given["disconnect"] if isinstance(given["disconnect"], str) else "refresh_requested"
            return {"ok": True, "connections": await self._slack.sockets.disconnect(reason)}
        if verb == "redeliver":
            if self._slack.outbox.last is None:
                raise ActError("nothing was delivered yet")
            return {"ok": True} | _acked(await self._slack.outbox.send(self._slack.outbox.last))
        challenge = {"type": "url_verification", "token": world.SLACK_VERIFICATION_TOKEN, "challenge": "playground"}
        outcome = await self._slack.outbox.deliver(EVENTS, challenge)
        is_echoed = outcome.payload in ("playground", {"challenge": "playground"})
        return {"ok": is_echoed} | _acked(outcome)

    def _view(self, view_id: str) -> View:
        view = self._slack.store.views.get(view_id)
        if view is None:
            view = next((one for one in self._slack.store.homes.values() if one.id == view_id), None)
        if view is None:
            raise ActError(f"there is no open view {view_id!r}")
        return view

    def _reply_url(self, place: Place, person: world.Person, post: Post | None) -> str:
        path = self._slack.store.new_reply_url(place, person.id, self._slack.core.options.slack_response_url_s, post)
        return f"{self._slack.public_url}/slack/actions/{path}"

    def _told(self, place: Place, person: world.Person, error: str, note: str) -> Json:
        whisper = self._slack.whisper(place, person.id, {"text": note}, author=SLACKBOT)
        return {"ok": False, "error": error, "text": note, "shown": [self._slack.store.shown(whisper)]}

    async def _opened(self, trigger: Trigger, given: Json, revision: int) -> Json:
        """The modal that the trigger opened, waiting for it up to the act's `wait_s`."""
        deadline = time.monotonic() + float(given.get("wait_s") or 0)
        while trigger.opened is None and (left := deadline - time.monotonic()) > 0:
            revision = await self._slack.hub.wait_beyond(revision, left)
            await asyncio.sleep(0)
        view = trigger.opened
        return {"trigger_id": trigger.id, "modal": view_shown(self._slack, view) if view else None}


def view_shown(slack: SlackPlatform, view: View) -> Json:
    """A modal (or Home tab) as the control API writes it."""
    blocks = view.payload.get("blocks", [])
    lines = [line for block in blocks for line in text.block_lines(block, slack.store.name)]
    stack = slack.store.stacks.get(view.user, [])
    return {
        "id": view.id,
        "to": slack.store.name(view.user),
        "to_id": view.user,
        "title": (view.payload.get("title") or {}).get("text", ""),
        "text": "\n".join(line for line in lines if line),
        "actions": text.actions_shown(blocks),
        "payload": view.wire(),
        "is_on_top": bool(stack) and stack[-1] == view.id,
    }


def _acked(outcome: Outcome) -> Json:
    ack = {"payload": outcome.payload, "latency_ms": outcome.latency_ms, "error": outcome.error}
    return {"ack": ack if outcome.is_acked else None, "latency_ms": outcome.latency_ms}


def _control(blocks: list[Json], wanted: str) -> tuple[Json, Json]:
    pairs = list(text.controls(blocks))
    for block, element in pairs:
        if wanted in {element["action_id"], f"{block.get('block_id')}/{element['action_id']}"}:
            return block, element
    known = ", ".join(str(element["action_id"]) for _, element in pairs) or "none"
    raise ActError(f"there is no action {wanted!r} there; known: {known}")
