"""What DingTalk's answers mean. Robot webhooks and the old API answer 200 with an errcode, the new API with a status.

Reasons are a closed set. Sources: https://open.dingtalk.com/document/orgapp/error-code-1 and answers recorded by
public clients; error texts of the platform are read, never passed on, since they can quote addresses with tokens.
"""

from __future__ import annotations

import re
from typing import Any

from bot.errors import (
    AuthFailed,
    DestinationGone,
    IntegrationError,
    OutcomeUnknown,
    RateLimited,
    Rejected,
    Unavailable,
)
from integrations.dingtalk.config import SYSTEM
from integrations.http import GAVE_UP, Answer, is_by_a_proxy, pause_of, raise_for_status

# "After 20 messages in a minute the robot is throttled for ten minutes": an earlier try would be refused as well.
ROBOT_THROTTLE_S = 600.0
THROTTLE_S = 60.0
QUOTA_PAUSE_S = 3600.0
WRAPPED = 88  # {"errcode": 88, "sub_code": "40014", "errmsg": "ding talk error[subcode=40014,submsg=…]"}

_ERRCODES: dict[int, tuple[type[IntegrationError], str]] = {
    -1: (Unavailable, "busy"),
    300001: (DestinationGone, "robot_not_found"),
    300005: (DestinationGone, "robot_not_found"),
    400101: (DestinationGone, "robot_not_found"),
    400106: (DestinationGone, "robot_not_found"),
    400102: (DestinationGone, "robot_stopped"),
    400013: (DestinationGone, "group_dissolved"),
    400105: (Rejected, "unsupported_type"),
    40035: (Rejected, "missing_parameter"),
    43002: (Rejected, "malformed"),
    43004: (Rejected, "malformed"),
    460101: (Rejected, "too_long"),
    40014: (AuthFailed, "token_invalid"),
    42001: (AuthFailed, "token_invalid"),
    WRAPPED: (AuthFailed, "no_permission"),
    60011: (AuthFailed, "no_permission"),
    60020: (AuthFailed, "ip_not_allowed"),
    33012: (DestinationGone, "person_not_found"),
    60121: (DestinationGone, "person_not_found"),
}
_PAUSES: dict[int, tuple[str, float, str]] = {
    130101: ("throttled", ROBOT_THROTTLE_S, "place"),
    410100: ("throttled", THROTTLE_S, "place"),
    660026: ("throttled", THROTTLE_S, "place"),
    **dict.fromkeys(range(90001, 90015), ("throttled", THROTTLE_S, "account")),
    90018: ("throttled", THROTTLE_S, "account"),
    90020: ("quota_exceeded", QUOTA_PAUSE_S, "account"),
    90030: ("quota_exceeded", QUOTA_PAUSE_S, "account"),
}
# What says more than the status does; the spelling of each is DingTalk's.
_CODES: dict[str, tuple[type[IntegrationError], str]] = {
    "param.templateunpublished": (Rejected, "template_not_found"),
    "resource.unavailable": (Rejected, "robot_stopped"),
    "chatbotid.notallow.sendoto": (Rejected, "robot_stopped"),
    "invalidparameter.robotcode.notexsit": (DestinationGone, "robot_not_found"),
    "invalid.openconversationid": (DestinationGone, "not_delivered"),
}
_MISSING = ("notexist", "not exist", "notfound", "not found", "不存在", "not in group", "不在群")
_DOUBLE = ("duplicat", "alreadyexist", "already exist", "已存在", "重复")
_TOO_FAST = re.compile(
    r"qp[sm]limit|qps\.exceed\.limit|request\.overlimit|oaplus\.query\.limit|throttl"
    r"|too[. ]?fast|too many messages|too\.many\.(group|people)"
)
_PASSING = re.compile(r"system[._ ]?(error|busy)|系统繁忙|系统错误")
_BAD_TOKEN = ("invalidauthentication", "invalidaccesstoken", "invalid.accesstoken")


def read_errcode(answer: Answer) -> dict[str, Any]:
    """The body of an answer whose errcode says success; raises what any other one stands for."""
    raise_for_status(SYSTEM, answer, changes=True)
    body = _body(answer)
    code = body.get("errcode")
    if not isinstance(code, int):
        raise OutcomeUnknown(SYSTEM, "unreadable_answer", "no errcode")
    if code == 0:
        return body
    words = str(body.get("errmsg", "")).lower()
    raise _of_errcode(_inner_code(body, words) if code == WRAPPED else code, words)


def _inner_code(body: dict[str, Any], words: str) -> int:
    """The code that is meant by 88, which stands before any refusal of `topapi`."""
    found = re.fullmatch("[0-9]{1,9}", str(body.get("sub_code", ""))) or re.search("(?<=subcode=)[0-9]{1,9}", words)
    return WRAPPED if found is None else int(found[0])


def _of_errcode(code: int, words: str) -> IntegrationError:
    if code in _PAUSES:
        reason, pause_s, scope = _PAUSES[code]
        return RateLimited(SYSTEM, reason, pause_s, scope=scope)
    if code in _ERRCODES:
        kind, reason = _ERRCODES[code]
        return kind(SYSTEM, reason, f"errcode {code}")
    if code == 310000:
        return _of_security(words)
    if _TOO_FAST.search(words):
        return RateLimited(SYSTEM, "throttled", THROTTLE_S, scope="place")
    if "too long" in words:
        return Rejected(SYSTEM, "too_long", f"errcode {code}")
    return Rejected(SYSTEM, "refused", f"errcode {code}")


def _of_security(words: str) -> IntegrationError:
    """310000 is one code for three settings of the robot; only the text tells which."""
    if "sign" in words or "timestamp" in words:
        return AuthFailed(SYSTEM, "sign_mismatch", "errcode 310000")
    if "whitelist" in words or " ip " in f" {words} ":
        return AuthFailed(SYSTEM, "ip_not_allowed", "errcode 310000")
    if "keyword" in words:
        return Rejected(SYSTEM, "keyword_missing", "errcode 310000")
    return Rejected(SYSTEM, "security_refused", "errcode 310000")


def read_result(answer: Answer) -> dict[str, Any]:
    """The body of a successful answer of the new API; raises what its status and code stand for."""
    if 200 <= answer.status < 300:
        body = _body(answer)
        if body.get("success") is False:
            raise _of_code(answer, body)
        return body
    try:
        body = _body(answer)
    except OutcomeUnknown:
        body = {}
    raise _of_code(answer, body)


def is_token_refused(answer: Answer) -> bool:
    """Whether a new access token may help."""
    if answer.status == 401:
        return True
    return answer.status in (400, 403) and any(
        word in answer.body.decode(errors="replace").lower() for word in _BAD_TOKEN
    )


def of_delivery(words: str) -> IntegrationError:
    """What it means that a card was made and not shown at a place; `words` is all that is said of it."""
    if _TOO_FAST.search(words.lower()):
        return RateLimited(SYSTEM, "throttled", THROTTLE_S, scope="account")
    if _PASSING.search(words.lower()):
        return Unavailable(SYSTEM, "busy")
    return (DestinationGone if is_missing(words) else Rejected)(SYSTEM, "not_delivered")


def is_missing(words: str) -> bool:
    """Whether an error's code or text says that the thing addressed does not exist."""
    return any(word in words.lower() for word in _MISSING)


def _of_code(answer: Answer, body: dict[str, Any]) -> IntegrationError:
    code = str(body.get("code") or body.get("errorCode") or "")
    words = f"{code} {body.get('message') or body.get('errorMsg') or ''}".lower()
    detail = f"http {answer.status}" + (f" {code[:80]}" if code.replace(".", "").replace("_", "").isalnum() else "")
    if "apicountlimit" in words:
        return RateLimited(SYSTEM, "quota_exceeded", QUOTA_PAUSE_S, scope="account")
    if _TOO_FAST.search(words) or answer.status == 429:
        return RateLimited(SYSTEM, "throttled", pause_of(answer.headers, THROTTLE_S), scope="account")
    if code.lower() in _CODES:
        kind, reason = _CODES[code.lower()]
        return kind(SYSTEM, reason, detail)
    if answer.status == 401 or any(word in words for word in _BAD_TOKEN):
        return AuthFailed(SYSTEM, "token_invalid", detail)
    if "permissiondenied" in words or answer.status == 403:
        return AuthFailed(SYSTEM, "no_permission", detail)
    if "template" in words and is_missing(words):
        return Rejected(SYSTEM, "template_not_found", detail)
    if is_missing(words) or answer.status in (404, 410):
        return DestinationGone(SYSTEM, "not_found", detail)
    if answer.status == 503 or is_by_a_proxy(answer.status):
        return Unavailable(SYSTEM, "busy", detail)
    if answer.status >= 500:
        return OutcomeUnknown(SYSTEM, "timeout" if answer.status == GAVE_UP else "server_error", detail)
    is_double = any(word in words for word in _DOUBLE)
    return Rejected(SYSTEM, "already_exists" if is_double else "refused", detail)


def _body(answer: Answer) -> dict[str, Any]:
    try:
        body = answer.json()
    except ValueError:
        raise OutcomeUnknown(SYSTEM, "unreadable_answer", "not JSON") from None
    if not isinstance(body, dict):
        raise OutcomeUnknown(SYSTEM, "unreadable_answer", "not an object")
    return body
