"""A person's deeds in DingTalk, and what their client shows for them."""

import hashlib
import json
import re
import time
from typing import Final

from playground import world
from playground.acts import ActError, picked, required
from playground.dingtalk import text
from playground.dingtalk.cards import apply_change
from playground.dingtalk.errors import ApiError
from playground.dingtalk.platform import DingTalkPlatform
from playground.dingtalk.store import Card, Place, Post
from playground.dingtalk.stream import TOPIC_BOT, TOPIC_CARD, Outcome
from playground.options import Json

_VERBS: Final = ("say", "mention", "click", "open", "delete", "create", "invite", "kick")
_APP_VERBS: Final = ("disconnect", "redeliver", "expire_tokens")
_MENTION = re.compile(rf"@{world.BOT_NAME}(?![\w])")


class DingTalkActing:
    """Acts as people of the organisation do."""

    def __init__(self, dingtalk: DingTalkPlatform) -> None:
        self._dingtalk = dingtalk

    async def act(self, given: Json) -> Json:
        """Do what the control API asks; answers what the person's client would show."""
        verb = picked(given, *_VERBS, *_APP_VERBS)
        match verb:
            case "say":
                return await self._say(self._person(given), self._place(given), str(given["say"]))
            case "mention":
                return await self._say(self._person(given), self._place(given), f"@{world.BOT_NAME} {given['mention']}")
            case "click":
                return await self._click(given)
            case "delete":
                place = self._place(given)
                if place.posts.pop(str(given["delete"]), None) is None:
                    raise ActError(f"there is no message {given['delete']!r} in {place.name}")
                self._dingtalk.hub.touch()
                return {"ok": True}
            case "open" | "create" | "invite" | "kick":
                return self._membership(verb, given)
            case "disconnect" | "redeliver" | "expire_tokens":
                return await self._app(verb, given)
            case _:
                raise ActError(f"an act needs one of: {', '.join((*_VERBS, *_APP_VERBS))}")

    def _person(self, given: Json) -> world.Person:
        name = str(given.get("as") or world.DINGTALK_PEOPLE[0].name)
        person = self._dingtalk.store.person_named(name)
        if person is None:
            raise ActError(f"nobody is called {name!r}")
        return person

    def _place(self, given: Json) -> Place:
        if given.get("direct"):
            return self._dingtalk.store.direct(self._person(given))
        name = str(given.get("channel") or world.DINGTALK_GROUPS[0].name)
        place = self._dingtalk.store.place_named(name)
        if place is None:
            raise ActError(f"there is no group {name!r}")
        return place

    async def _say(self, person: world.Person, place: Place, line: str, *, mentions: bool = False) -> Json:
        post = self._dingtalk.store.add(place, person.name, person.id, "text", {"content": line})
        self._dingtalk.hub.touch()
        answer: Json = {"ok": True, "message": self._dingtalk.store.shown(post)}
        is_mention = mentions or bool(_MENTION.search(line))
        if not place.has_bot or not (place.person or is_mention):
            return answer | {"heard": False}
        outcome = await self._dingtalk.stream.push(TOPIC_BOT, self._chatbot_message(person, post, line))
        return answer | _acked(outcome)

    def _chatbot_message(self, person: world.Person, post: Post, line: str) -> Json:
        session, expires = self._dingtalk.store.new_session(post.place, self._dingtalk.core.options.dingtalk_session_s)
        at_users = [{"dingtalkId": world.DINGTALK_BOT_USER}] if not post.place.person else []
        spoken = _MENTION.sub("", line)
        message: Json = {
            "conversationId": post.place.id,
            "conversationType": "1" if post.place.person else "2",
            "msgId": post.id,
            "msgtype": "text",
            "text": {"content": spoken if post.place.person or spoken.startswith(" ") else " " + spoken},
            "senderId": "$:LWCP_v1:$" + hashlib.sha256(person.id.encode()).hexdigest()[:16],
            "senderNick": person.name,
            "senderStaffId": person.id,
            "senderCorpId": world.DINGTALK_CORP,
            "senderPlatform": "Mac",
            "isAdmin": person.id.startswith("manager"),
            "chatbotCorpId": world.DINGTALK_CORP,
            "chatbotUserId": world.DINGTALK_BOT_USER,
            "robotCode": world.DINGTALK_CLIENT_ID,
            "createAt": int(time.time() * 1000),
            "sessionWebhook": f"{self._dingtalk.core.public_url}/dingtalk/oapi/robot/sendBySession?session={session}",
            "sessionWebhookExpiredTime": expires,
        }
        if not post.place.person:
            message |= {"conversationTitle": post.place.name, "isInAtList": True, "atUsers": at_users}
        return message

    async def _click(self, given: Json) -> Json:
        click, person, place = given["click"], self._person(given), self._place(given)
        post = place.posts.get(required(click, "message", "click"))
        if post is None:
            raise ActError(f"there is no message {click['message']!r} in {place.name}")
        wanted = required(click, "action", "click")
        actions = self._dingtalk.store.shown(post, person.id)["actions"]
        action = next((one for one in actions if one["id"] == wanted), None)
        if action is None:
            known = ", ".join(str(one["id"]) for one in actions) or "none"
            raise ActError(f"there is no action {wanted!r} there; known: {known}")
        if action.get("status") == "disabled":
            return {"ok": False, "error": "disabled", "text": f"{action['label']} is disabled."}
        url = str(action.get("url") or "")
        if (line := text.sent_by(url)) is not None and (post.msgtype == "markdown" or post.card):
            mentions = self._dingtalk.core.options.dingtalk_links_mention
            return {"sent": line} | await self._say(person, place, line, mentions=mentions)
        if url or post.card is None:
            return {"ok": True, "opened": url}
        return await self._press(person, post, post.card, action)

    async def _press(self, person: world.Person, post: Post, card: Card, action: Json) -> Json:
        private = {"cardPrivateData": {"actionIds": [action["id"]], "params": action.get("params") or {}}}
        outcome = await self._dingtalk.stream.push(
            TOPIC_CARD,
            {
                "corpId": world.DINGTALK_CORP,
                "userId": person.id,
                "outTrackId": card.out_track_id,
                "type": "actionCallback",
                "spaceType": "IM_ROBOT" if post.place.person else "IM_GROUP",
                "spaceId": person.id if post.place.person else post.place.id,
                "userIdType": 1,
                "extension": "{}",
                "content": json.dumps(private, ensure_ascii=False),
            },
        )
        answer = _acked(outcome)
        if outcome.error:
            return answer | {"ok": False, "error": outcome.error, "text": "请求失败，请稍后再试"}
        problem = self._apply_answer(card, person, outcome.response)
        return answer | ({"ok": False, "error": "card_answer", "text": problem} if problem else {"ok": True})

    def _apply_answer(self, card: Card, person: world.Person, response: object) -> str | None:
        if not isinstance(response, dict) or not (response.get("cardData") or response.get("userPrivateData")):
            return None
        given: Json = {"cardData": response.get("cardData"), "privateData": None}
        if response.get("userPrivateData"):
            given["privateData"] = {person.id: response["userPrivateData"]}
        try:
            apply_change(self._dingtalk, card, given, response.get("cardUpdateOptions"))
        except ApiError as error:
            self._dingtalk.core.violate("dingtalk", "card_answer", error.message)
            return error.message
        return None

    def _membership(self, verb: str, given: Json) -> Json:
        if verb == "create":
            place = self._dingtalk.store.create(str(given["create"]), has_bot=bool(given.get("bot", True)))
        else:
            place = self._place(given)
            if verb != "open":
                place.has_bot = verb == "invite"
        self._dingtalk.hub.touch()
        return {"ok": True, "channel": {"id": place.id, "name": place.name}}

    async def _app(self, verb: str, given: Json) -> Json:
        if verb == "expire_tokens":
            self._dingtalk.tokens.clear()
            return {"ok": True}
        if verb == "disconnect":
            reason = given["disconnect"] if isinstance(given["disconnect"], str) else "persistent connection is timeout"
            return {"ok": True, "connections": await self._dingtalk.stream.disconnect(reason)}
        if self._dingtalk.stream.last is None:
            raise ActError("nothing was delivered yet")
        return {"ok": True} | _acked(await self._dingtalk.stream.send(self._dingtalk.stream.last))


def _acked(outcome: Outcome) -> Json:
    ack = {"code": outcome.code, "payload": outcome.response, "latency_ms": outcome.latency_ms}
    return {"ack": ack if outcome.error is None else None, "latency_ms": outcome.latency_ms}
