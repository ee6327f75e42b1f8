"""What each of DingTalk's refusals means for a delivery."""

from __future__ import annotations

import json

import pytest

from bot.errors import (
    AuthFailed,
    DestinationGone,
    IntegrationError,
    OutcomeUnknown,
    RateLimited,
    Rejected,
    Unavailable,
)
from integrations.dingtalk.failures import is_token_refused, of_delivery, read_errcode, read_result
from integrations.http import Answer


def _answer(body: object, status: int = 200, **headers: str) -> Answer:
    raw = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
    return Answer(status, headers, raw)


@pytest.mark.parametrize(
    ("code", "words", "kind", "reason"),
    [
        (-1, "系统繁忙", Unavailable, "busy"),
        (310000, "keywords not in content, more: [https://…]", Rejected, "keyword_missing"),
        (310000, "sign not match, more: […]", AuthFailed, "sign_mismatch"),
        (310000, "invalid timestamp", AuthFailed, "sign_mismatch"),
        (310000, "ip 10.0.0.1 not in whitelist", AuthFailed, "ip_not_allowed"),
        (310000, "something new", Rejected, "security_refused"),
        (300005, "token is not exist", DestinationGone, "robot_not_found"),
        (300001, "token is not exist", DestinationGone, "robot_not_found"),
        (400101, "access_token不存在", DestinationGone, "robot_not_found"),
        (400106, "机器人不存在", DestinationGone, "robot_not_found"),
        (400102, "机器人已停用", DestinationGone, "robot_stopped"),
        (400013, "群已被解散", DestinationGone, "group_dissolved"),
        (400105, "不支持的消息类型", Rejected, "unsupported_type"),
        (40035, "缺少参数 json", Rejected, "missing_parameter"),
        (43004, "无效的HTTP HEADER Content-Type", Rejected, "malformed"),
        (460101, "message too long, exceed 20000 bytes", Rejected, "too_long"),
        (999, "message too long", Rejected, "too_long"),
        (40014, "不合法的access_token", AuthFailed, "token_invalid"),
        (60011, "没有调用该接口的权限", AuthFailed, "no_permission"),
        (123456, "whatever", Rejected, "refused"),
    ],
)
def test_errcode_decides(code: int, words: str, kind: type[IntegrationError], reason: str) -> None:
    """HTTP says 200 for all of these; the body says what happened."""
    with pytest.raises(kind) as caught:
        read_errcode(_answer({"errcode": code, "errmsg": words}))
    assert caught.value.reason == reason
    assert words not in str(caught.value)


@pytest.mark.parametrize(
    ("inner", "kind", "reason"),
    [
        ("40014", AuthFailed, "token_invalid"),
        ("60011", AuthFailed, "no_permission"),
        ("60020", AuthFailed, "ip_not_allowed"),
        ("60121", DestinationGone, "person_not_found"),
        ("90002", RateLimited, "throttled"),
        ("40000", Rejected, "refused"),
    ],
)
def test_the_code_within_says_what_88_means(inner: str, kind: type[IntegrationError], reason: str) -> None:
    """`topapi` wraps whatever it refuses: as a field of its own, in older answers in the text alone."""
    text = f"ding talk error[subcode={inner},submsg=…]"
    for wrapped in ({"errcode": 88, "sub_code": inner, "errmsg": text}, {"errcode": 88, "errmsg": text}):
        with pytest.raises(kind) as caught:
            read_errcode(_answer(wrapped))
        assert caught.value.reason == reason


@pytest.mark.parametrize("body", [{}, {"sub_code": None}, {"sub_code": "isv.x"}, {"sub_code": "88"}])
def test_88_without_a_code_within_is_a_missing_permission(body: dict[str, object]) -> None:
    """It stands for authentication."""
    with pytest.raises(AuthFailed, match="no_permission"):
        read_errcode(_answer({"errcode": 88, "errmsg": "ding talk error"} | body))


@pytest.mark.parametrize(
    ("code", "reason", "pause_s", "scope"),
    [
        (130101, "throttled", 600.0, "place"),
        (410100, "throttled", 60.0, "place"),
        (660026, "throttled", 60.0, "place"),
        (123456, "throttled", 60.0, "place"),
        (90001, "throttled", 60.0, "account"),
        (90002, "throttled", 60.0, "account"),
        (90014, "throttled", 60.0, "account"),
        (90020, "quota_exceeded", 3600.0, "account"),
        (90030, "quota_exceeded", 3600.0, "account"),
    ],
)
def test_pauses_are_as_long_as_the_platform_holds_out(code: int, reason: str, pause_s: float, scope: str) -> None:
    """A throttled robot stays so for ten minutes; a spent quota concerns all places of the organisation."""
    with pytest.raises(RateLimited) as caught:
        read_errcode(_answer({"errcode": code, "errmsg": "send too fast"}))
    assert (caught.value.reason, caught.value.retry_after_s, caught.value.scope) == (reason, pause_s, scope)


def test_zero_is_success() -> None:
    """The body comes back, for those who need more of it."""
    assert read_errcode(_answer({"errcode": 0, "errmsg": "ok"}))["errmsg"] == "ok"


@pytest.mark.parametrize("body", [b"<html>ok</html>", b"", [1], {"message": "ok"}, {"errcode": "0"}])
def test_an_unreadable_success_is_in_doubt(body: object) -> None:
    """A proxy's page with status 200 does not mean that the text was posted, nor that it was not."""
    with pytest.raises(OutcomeUnknown):
        read_errcode(_answer(body))


@pytest.mark.parametrize(("status", "kind"), [(500, OutcomeUnknown), (502, OutcomeUnknown), (503, Unavailable)])
def test_a_broken_server_may_have_posted(status: int, kind: type[IntegrationError]) -> None:
    """Only 503 says for certain that nothing was done."""
    with pytest.raises(kind):
        read_errcode(_answer(b"<html>", status))
    with pytest.raises(kind):
        read_result(_answer(b"<html>", status))


def test_a_gateway_that_hung_up_leaves_a_post_under_way() -> None:
    """504 is our own time-out, met by somebody in between: the post may be made yet."""
    for read in (read_errcode, read_result):
        with pytest.raises(OutcomeUnknown) as caught:
            read(_answer(b"<html>", 504))
        assert caught.value.reason == "timeout"


@pytest.mark.parametrize("status", [302, 307, 407, 408])
def test_what_stands_in_between_costs_no_card(status: int) -> None:
    """A login page or a proxy's own password is not DingTalk's refusal."""
    for read in (read_errcode, read_result):
        with pytest.raises(Unavailable):
            read(_answer(b"<html>", status))


@pytest.mark.parametrize(
    ("status", "code", "kind", "reason"),
    [
        (401, "InvalidAuthentication", AuthFailed, "token_invalid"),
        (400, "InvalidAuthentication", AuthFailed, "token_invalid"),
        (403, "Forbidden.AccessDenied.AccessTokenPermissionDenied", AuthFailed, "no_permission"),
        (403, "Forbidden.AccessDenied.QpsLimitForAppkeyAndApi", RateLimited, "throttled"),
        (403, "Forbidden.AccessDenied.QpmLimitForAppkeyAndApi", RateLimited, "throttled"),
        (403, "Forbidden.AccessDenied.ApiCountLimitForOrg", RateLimited, "quota_exceeded"),
        (400, "send.too.fast", RateLimited, "throttled"),
        (400, "send.byToken.tooFast", RateLimited, "throttled"),
        (400, "too.many.group", RateLimited, "throttled"),
        (400, "qps.exceed.limit", RateLimited, "throttled"),
        (400, "param.cardNotExist", DestinationGone, "not_found"),
        (400, "param.templateNotExist", Rejected, "template_not_found"),
        (400, "param.templateUnpublished", Rejected, "template_not_found"),
        (400, "param.cardAlreadyExist", Rejected, "already_exists"),
        (400, "resource.unavailable", Rejected, "robot_stopped"),
        (400, "chatbotId.notAllow.sendOTO", Rejected, "robot_stopped"),
        (400, "invalidParameter.robotCode.notExsit", DestinationGone, "robot_not_found"),
        (400, "invalid.openConversationId", DestinationGone, "not_delivered"),
        (400, "invalidParameter.robotCode.notExist", DestinationGone, "not_found"),
        (404, "InvalidAction.NotFound", DestinationGone, "not_found"),
        (400, "MissingStringValue", Rejected, "refused"),
        (500, "SystemError", OutcomeUnknown, "server_error"),
        (503, "ServiceUnavailable", Unavailable, "busy"),
    ],
)
def test_the_new_api_is_judged_by_status_and_code(
    status: int, code: str, kind: type[IntegrationError], reason: str
) -> None:
    """A full quota answers 403 as a missing permission does; only the code tells them apart."""
    with pytest.raises(kind) as caught:
        read_result(_answer({"code": code, "message": "…", "requestid": "R"}, status))
    assert caught.value.reason == reason


def test_a_success_that_says_false_is_none() -> None:
    """`success: false` under status 200 is a refusal."""
    with pytest.raises(Rejected):
        read_result(_answer({"success": False, "code": "x", "message": "y"}))
    assert read_result(_answer({"success": True, "result": True})) == {"success": True, "result": True}


def test_retry_after_is_obeyed() -> None:
    """Where the platform names a pause, that one is kept."""
    answer = _answer({"code": "Throttling"}, 429, **{"Retry-After": "7"})
    with pytest.raises(RateLimited) as caught:
        read_result(answer)
    assert caught.value.retry_after_s == 7.0


@pytest.mark.parametrize("asked", ["inf", "-1", "in a while"])
def test_a_pause_that_makes_no_sense_is_a_minute(asked: str) -> None:
    """A group does not stay silent for good, nor is the platform asked again at once."""
    with pytest.raises(RateLimited) as caught:
        read_result(_answer({"code": "Throttling"}, 429, **{"Retry-After": asked}))
    assert caught.value.retry_after_s == 60.0


@pytest.mark.parametrize(
    ("status", "code", "is_refused"),
    [(401, "x", True), (400, "InvalidAuthentication", True), (403, "no.permission", False), (200, "", False)],
)
def test_only_a_refused_token_is_made_anew(status: int, code: str, *, is_refused: bool) -> None:
    """A missing permission is not mended by another token."""
    assert is_token_refused(_answer({"code": code}, status)) is is_refused


@pytest.mark.parametrize(
    ("words", "kind", "reason"),
    [
        ("SYSTEM_ERROR", Unavailable, "busy"),
        ("system error", Unavailable, "busy"),
        ("系统繁忙，请稍后重试", Unavailable, "busy"),
        ("send too fast", RateLimited, "throttled"),
        ("robot not in group", DestinationGone, "not_delivered"),
        ("spaces of card is empty", Rejected, "not_delivered"),
        ("", Rejected, "not_delivered"),
    ],
)
def test_a_delivery_that_fails_in_passing_is_tried_again(words: str, kind: type[IntegrationError], reason: str) -> None:
    """A failure of DingTalk's own must not give a card up."""
    problem = of_delivery(words)
    assert (type(problem), problem.reason) == (kind, reason)
