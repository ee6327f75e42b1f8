"""Messages to DingTalk other than cards: webhook robots, session webhooks, and the robot API.

Webhook robots answer HTTP 200 always; only `errcode` says whether a message was taken.
"""

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from playground import budgets, world
from playground.dingtalk.errors import ApiError
from playground.dingtalk.store import Session
from playground.options import Json

if TYPE_CHECKING:
    from playground.dingtalk.platform import DingTalkPlatform

THROTTLED: Final[Json] = {"errcode": 130101, "errmsg": "send too fast, exceed 20 times per minute"}
_BYTES: Final = 20_000
_DRIFT_MS: Final = 3_600_000
_PARAM_BYTES: Final = 15_000
_MOST_USERS: Final = 20


class Refused(Exception):
    """An answer with an errcode."""

    def __init__(self, errcode: int, errmsg: str) -> None:
        super().__init__(errmsg)
        self.answer: Json = {"errcode": errcode, "errmsg": errmsg}


@dataclass(frozen=True, slots=True)
class Attempt:
    """A webhook call as it came in."""

    verb: str
    content_type: str
    query: dict[str, str]
    raw: bytes


def send(dingtalk: "DingTalkPlatform", attempt: Attempt) -> Json:
    """A custom robot's webhook."""
    try:
        robot = dingtalk.store.robots.get(attempt.query.get("access_token", ""))
        if robot is None:
            raise Refused(300005, "token is not exist")
        if attempt.verb != "POST":
            raise Refused(43002, "需要POST请求")
        if attempt.content_type != "application/json":
            raise Refused(43004, "无效的HTTP HEADER Content-Type")
        if len(attempt.raw) > _BYTES:
            raise Refused(460101, f"message too long, exceed {_BYTES} bytes")
        body = _object(attempt.raw)
        msgtype, content = _content(body)
        _check_security(robot, attempt.query, json.dumps(content, ensure_ascii=False))
        _check_pace(dingtalk, robot.token)
    except Refused as refused:
        return refused.answer
    dingtalk.post(dingtalk.store.places[robot.group], msgtype, content | _at(body))
    return {"errcode": 0, "errmsg": "ok"}


def _object(raw: bytes) -> Json:
    try:
        body = json.loads(raw)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise Refused(40035, "缺少参数 json")
    return body


def _at(body: Json) -> Json:
    return {"at": body["at"]} if isinstance(body.get("at"), dict) else {}


_NEEDED: Final = {
    "text": ("content",),
    "link": ("title", "text", "messageUrl"),
    "markdown": ("title", "text"),
    "actionCard": ("title", "text"),
    "feedCard": ("links",),
}


def _content(body: Json) -> tuple[str, Json]:
    msgtype = body.get("msgtype")
    if not msgtype:
        raise Refused(40035, "缺少参数 msgtype")
    if msgtype not in _NEEDED:
        raise Refused(400105, "unsupported msgtype")
    content = body.get(msgtype)
    if not isinstance(content, dict):
        raise Refused(40035, f"缺少参数 {msgtype}")
    for key in _NEEDED[msgtype]:
        if not content.get(key):
            raise Refused(40035, f"缺少参数 {msgtype}->{key}")
    if msgtype == "actionCard":
        _check_buttons(content)
    return msgtype, content


def _check_buttons(content: Json) -> None:
    if content.get("singleTitle"):
        if not content.get("singleURL"):
            raise Refused(40035, "缺少参数 actionCard->singleURL")
        return
    buttons = content.get("btns")
    if not isinstance(buttons, list) or not buttons:
        raise Refused(40035, "缺少参数 actionCard->btns")
    if any(not isinstance(one, dict) or not one.get("title") or not one.get("actionURL") for one in buttons):
        raise Refused(40035, "缺少参数 actionCard->btns->actionURL")


def _check_security(robot: world.CustomRobot, query: dict[str, str], text: str) -> None:
    if robot.keyword and robot.keyword not in text:
        raise Refused(310000, "keywords not in content")
    if not robot.secret:
        return
    timestamp = query.get("timestamp", "")
    if not timestamp.isdigit() or abs(time.time() * 1000 - int(timestamp)) > _DRIFT_MS:
        raise Refused(310000, "invalid timestamp")
    base = f"{timestamp}\n{robot.secret}".encode()
    wanted = base64.b64encode(hmac.new(robot.secret.encode(), base, hashlib.sha256).digest()).decode()
    if not hmac.compare_digest(wanted, query.get("sign", "")):
        raise Refused(310000, "sign not match")


def _check_pace(dingtalk: "DingTalkPlatform", token: str) -> None:
    now = time.monotonic()
    if dingtalk.core.options.budgets and dingtalk.throttled_until.get(token, 0.0) > now:
        raise Refused(THROTTLED["errcode"], THROTTLED["errmsg"])
    wait = dingtalk.core.spend(f"dingtalk:robot:{token}", limit=budgets.DINGTALK_ROBOT_PER_MINUTE, window_s=60.0)
    if wait:
        dingtalk.throttled_until[token] = now + dingtalk.core.options.dingtalk_throttle_s
        raise Refused(THROTTLED["errcode"], THROTTLED["errmsg"])


def send_by_session(dingtalk: "DingTalkPlatform", session: Session | None, raw: bytes) -> Json:
    """A sessionWebhook, which takes what webhook robots take, and no cards."""
    try:
        if session is None or session.expires < time.time():
            raise Refused(300001, "session 不存在或已过期")
        if len(raw) > _BYTES:
            raise Refused(460101, f"message too long, exceed {_BYTES} bytes")
        body = _object(raw)
        msgtype, content = _content(body)
    except Refused as refused:
        return refused.answer
    dingtalk.post(session.place, msgtype, content | _at(body))
    return {"errcode": 0, "errmsg": "ok"}


def _sample(arguments: Json) -> tuple[str, Json]:
    """The message that msgKey and msgParam describe, as a msgtype and its body."""
    raw = arguments.get("msgParam")
    if not isinstance(raw, str):
        raise ApiError("invalidParameter.msgParam.invalid", "msgParam must be a JSON string")
    if len(raw.encode()) > _PARAM_BYTES:
        raise ApiError("invalidParameter.msgParam.tooLong", f"msgParam exceeds {_PARAM_BYTES} bytes")
    try:
        param = json.loads(raw)
    except ValueError:
        raise ApiError("invalidParameter.msgParam.invalid", "msgParam is not JSON") from None
    match arguments.get("msgKey"):
        case "sampleText":
            return "text", _needing(param, "content")
        case "sampleMarkdown":
            return "markdown", _needing(param, "title", "text")
        case "sampleLink":
            return "link", _needing(param, "title", "text", "messageUrl")
        case "sampleActionCard":
            return "actionCard", _needing(param, "title", "text", "singleTitle", "singleURL")
        case str() as key if key in {f"sampleActionCard{number}" for number in range(2, 7)}:
            numbers = range(1, int(key[-1]) + 1)
            _needing(param, "title", "text", *(f"actionTitle{one}" for one in numbers))
            pairs = [{"title": param[f"actionTitle{one}"], "actionURL": param[f"actionURL{one}"]} for one in numbers]
            return "actionCard", {"title": param["title"], "text": param["text"], "btns": pairs}
        case _:
            raise ApiError("invalidParameter.msgKey.invalid", "msgKey is unknown")


def _needing(param: object, *keys: str) -> Json:
    if not isinstance(param, dict) or any(not param.get(key) for key in keys):
        raise ApiError("invalidParameter.msgParam.invalid", f"msgParam needs {', '.join(keys)}")
    return param


def _check_robot(arguments: Json) -> None:
    if arguments.get("robotCode") != world.DINGTALK_CLIENT_ID:
        raise ApiError("invalidParameter.robotCode.notExist", "robotCode does not exist")


def group_send(dingtalk: "DingTalkPlatform", arguments: Json) -> Json:
    """robot/groupMessages/send"""
    _check_robot(arguments)
    place = dingtalk.store.places.get(str(arguments.get("openConversationId")))
    if place is None or place.person:
        raise ApiError("invalidParameter.openConversationId.invalid", "openConversationId does not exist")
    if not place.has_bot:
        raise ApiError("resource.not.found", "the robot is not in the group")
    dingtalk.post(place, *_sample(arguments))
    return {"processQueryKey": secrets.token_urlsafe(24)}


def batch_send(dingtalk: "DingTalkPlatform", arguments: Json) -> Json:
    """robot/oToMessages/batchSend"""
    _check_robot(arguments)
    users = arguments.get("userIds")
    if not isinstance(users, list) or not 0 < len(users) <= _MOST_USERS:
        raise ApiError("invalidParameter.userIds.invalid", f"userIds takes 1 to {_MOST_USERS} ids")
    msgtype, body = _sample(arguments)
    known = [one for one in users if one in dingtalk.store.people]
    for user in known:
        dingtalk.post(dingtalk.store.direct(dingtalk.store.people[user]), msgtype, body)
    return {
        "processQueryKey": secrets.token_urlsafe(24),
        "invalidStaffIdList": [one for one in users if one not in known],
        "flowControlledStaffIdList": [],
        "filteredStaffIdList": [],
    }


METHODS: Final[dict[str, Callable[["DingTalkPlatform", Json], Json]]] = {
    "POST /v1.0/robot/groupMessages/send": group_send,
    "POST /v1.0/robot/oToMessages/batchSend": batch_send,
}
