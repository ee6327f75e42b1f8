"""Slack's error words, and what each means for the caller.

The words of each method: https://docs.slack.dev/reference/methods. A word that is not in the table is `Rejected` with
the reason `other`, so that reasons stay few.
"""

from __future__ import annotations

from slack_sdk.errors import SlackApiError

from bot.errors import (
    AuthFailed,
    DestinationGone,
    IntegrationError,
    OutcomeUnknown,
    RateLimited,
    Rejected,
    Unavailable,
)
from integrations.http import GAVE_UP, pause_of

SYSTEM = "slack"

READS = frozenset(
    {"auth.test", "apps.connections.open", "users.conversations", "conversations.history", "conversations.replies"}
    | {"conversations.info", "users.info"}
)
REPEATABLE = READS | {"conversations.open", "views.update", "files.getUploadURLExternal"}
"""Methods whose second call changes nothing more, so that a lost answer is no doubt.

chat.update is none of them: one that is carried out late undoes those that came after it.
"""

_LIMITED = frozenset({"ratelimited", "rate_limited", "message_limit_exceeded"})
_UNSURE = frozenset({"internal_error", "fatal_error"})
_MESSAGE_GONE = frozenset({"message_not_found", "cant_update_message", "block_mismatch"})
_TRIGGER_EXPIRED = frozenset({"expired_trigger_id", "invalid_trigger_id"})

_CLASSES: dict[type[IntegrationError], frozenset[str]] = {
    Unavailable: frozenset(
        {"service_unavailable", "request_timeout", "external_channel_migrating", "team_added_to_org", "update_failed"}
    ),
    AuthFailed: frozenset(
        {"invalid_auth", "not_authed", "token_revoked", "token_expired", "account_inactive", "missing_scope"}
        | {"no_permission", "not_allowed_token_type", "org_login_required", "ekm_access_denied", "access_denied"}
        | {"team_access_not_granted", "two_factor_setup_required", "accesslimited"}  # the last: on this network
    ),
    DestinationGone: frozenset(
        {"channel_not_found", "not_in_channel", "is_archived", "is_inactive", "channel_is_limited_access"}
        | {"user_not_in_channel", "user_not_found", "user_not_visible", "messages_tab_disabled", "team_not_found"}
        | {"user_disabled", "cannot_dm_bot", "invalid_user_combination"}
        | {"thread_not_found", "cannot_reply_to_message", "not_found", "invalid_channel"}
    ),
    Rejected: frozenset(
        {"invalid_blocks", "invalid_blocks_format", "invalid_attachments", "invalid_arguments", "no_text"}
        | {"msg_too_long", "msg_blocks_too_long", "too_many_attachments", "attachment_payload_limit_exceeded"}
        | {"file_uploads_disabled", "file_type_not_allowed", "storage_limit_reached", "file_not_found"}
        | {"restricted_action", "posting_to_channel_denied", "view_too_large", "metadata_too_large"}
        | {"invalid_metadata_format", "invalid_metadata_schema", "hash_conflict", "method_deprecated"}
    ),
}
REASONS = {word: kind for kind, words in _CLASSES.items() for word in words}


def classify(method: str, problem: SlackApiError) -> IntegrationError:
    """The error that Slack's answer to `method` stands for."""
    response = problem.response
    body = response.data if isinstance(response.data, dict) else {}
    word = str(body.get("error", ""))
    if response.status_code == 429 or word in _LIMITED:
        pause = pause_of({"Retry-After": _header(dict(response.headers), "retry-after")})
        scope = "place" if method == "chat.postMessage" else "account"
        return RateLimited(SYSTEM, "rate_limited", pause, scope=scope)
    return classify_word(method, word, response.status_code)


def classify_word(method: str, word: str, status: int = 200) -> IntegrationError:
    """The error that Slack's `error` field stands for."""
    if word in _UNSURE or (status >= 500 and word not in REASONS):
        reason = word if word in _UNSURE else "http_5xx"
        if status == GAVE_UP and method not in REPEATABLE:
            reason = "timeout"
        return Unavailable(SYSTEM, reason) if method in REPEATABLE else OutcomeUnknown(SYSTEM, reason)
    if word in _MESSAGE_GONE:
        return DestinationGone(SYSTEM, "message_not_found", "" if word == "message_not_found" else word)
    if word == "edit_window_closed":  # the workspace's setting for how long messages may be edited; it may be "never"
        return DestinationGone(SYSTEM, "cannot_edit", word)
    if word in _TRIGGER_EXPIRED:
        return DestinationGone(SYSTEM, "expired_trigger")
    if word == "exchanged_trigger_id":
        return DestinationGone(SYSTEM, "exchanged_trigger")
    if word.startswith("restricted_action"):
        return Rejected(SYSTEM, "restricted_action", word)
    kind = REASONS.get(word)
    return kind(SYSTEM, word) if kind else Rejected(SYSTEM, "other", word[:80])


def _header(headers: dict[str, str], wanted: str) -> str:
    return next((str(value) for name, value in headers.items() if name.lower() == wanted), "")
