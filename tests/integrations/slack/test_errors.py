"""What Slack's words mean for the caller."""

from __future__ import annotations

import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web import SlackResponse

from bot.errors import (
    AuthFailed,
    DestinationGone,
    IntegrationError,
    OutcomeUnknown,
    RateLimited,
    Rejected,
    Unavailable,
)
from integrations.slack.errors import classify


def _problem(word: str, status: int = 200, headers: dict[str, str] | None = None) -> SlackApiError:
    response = SlackResponse(
        client=None,
        http_verb="POST",
        api_url="https://slack.com/api/x",
        req_args={},
        data={"ok": False, "error": word},
        headers=headers or {},
        status_code=status,
    )
    return SlackApiError("refused", response)


@pytest.mark.parametrize(
    ("method", "word", "kind", "reason"),
    [
        ("chat.postMessage", "invalid_auth", AuthFailed, "invalid_auth"),
        ("chat.postMessage", "missing_scope", AuthFailed, "missing_scope"),
        ("chat.postMessage", "accesslimited", AuthFailed, "accesslimited"),
        ("chat.postMessage", "channel_not_found", DestinationGone, "channel_not_found"),
        ("chat.postMessage", "not_in_channel", DestinationGone, "not_in_channel"),
        ("chat.postMessage", "is_archived", DestinationGone, "is_archived"),
        ("conversations.open", "user_disabled", DestinationGone, "user_disabled"),
        ("chat.update", "message_not_found", DestinationGone, "message_not_found"),
        ("chat.update", "cant_update_message", DestinationGone, "message_not_found"),
        ("chat.update", "edit_window_closed", DestinationGone, "cannot_edit"),
        ("chat.postMessage", "invalid_blocks", Rejected, "invalid_blocks"),
        ("chat.postMessage", "msg_blocks_too_long", Rejected, "msg_blocks_too_long"),
        ("chat.postMessage", "restricted_action_read_only_channel", Rejected, "restricted_action"),
        ("chat.postMessage", "a_word_of_next_year", Rejected, "other"),
        ("chat.postMessage", "service_unavailable", Unavailable, "service_unavailable"),
        ("chat.postMessage", "internal_error", OutcomeUnknown, "internal_error"),
        ("chat.update", "internal_error", OutcomeUnknown, "internal_error"),
        ("views.update", "internal_error", Unavailable, "internal_error"),
        ("chat.postMessage", "ratelimited", RateLimited, "rate_limited"),
        ("views.open", "expired_trigger_id", DestinationGone, "expired_trigger"),
        ("views.open", "exchanged_trigger_id", DestinationGone, "exchanged_trigger"),
    ],
)
def test_a_word_has_a_class_and_a_reason(method: str, word: str, kind: type[IntegrationError], reason: str) -> None:
    """Reasons are few, for they are labels of metrics."""
    problem = classify(method, _problem(word))
    assert (type(problem), problem.reason, problem.system) == (kind, reason, "slack")


@pytest.mark.parametrize(("headers", "pause"), [({"retry-after": "12"}, 12.0), ({"Retry-After": "3"}, 3.0), ({}, 30.0)])
def test_a_limit_has_a_pause(headers: dict[str, str], pause: float) -> None:
    """Whatever the spelling of the header; without one, half a minute."""
    problem = classify("chat.postMessage", _problem("ratelimited", 429, headers))
    assert isinstance(problem, RateLimited)
    assert (problem.retry_after_s, problem.scope) == (pause, "place")


@pytest.mark.parametrize(("method", "kind"), [("chat.update", OutcomeUnknown), ("views.update", Unavailable)])
def test_a_failing_server_leaves_only_what_stays_in_doubt(method: str, kind: type[IntegrationError]) -> None:
    """What can be repeated without harm is."""
    assert type(classify(method, _problem("", 502))) is kind


def test_a_gateway_that_hung_up_leaves_a_post_under_way() -> None:
    """504 is our own time-out, met by somebody in between: the post may be made yet."""
    assert classify("chat.postMessage", _problem("", 504)).reason == "timeout"
