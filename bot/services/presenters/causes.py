"""Why deliveries fail, in words, and what to do about it; and a closed set of names for metrics."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from bot.i18n import translate

OTHER = "other"


@dataclass(frozen=True, slots=True)
class Cause:
    """What several reasons have in common: what they mean, and what somebody who runs Shipmate does about them.

    `reasons` are separated by blanks.
    """

    words: str
    advice: str
    reasons: str


REFUSED = Cause(
    "The platform refuses the post as it is.",
    "See the platform's own words with `shipmate dead show`, and report it: this is an error of Shipmate's.",
    "other refused invalid_blocks invalid_blocks_format invalid_attachments invalid_arguments "
    "no_text invalid_metadata_format invalid_metadata_schema method_deprecated hash_conflict "
    "already_exists unsupported_type missing_parameter malformed",
)
CAUSES = (
    REFUSED,
    Cause(
        "There is no such channel, or Shipmate was not invited to it.",
        "Correct the destination or invite Shipmate there, then replay.",
        "channel_not_found invalid_channel",
    ),
    Cause(
        "Shipmate is not a member of the channel.",
        "Invite it there, then replay.",
        "not_in_channel user_not_in_channel not_delivered",
    ),
    Cause(
        "The channel or group was archived or dissolved.",
        "Bring it back, or name another destination; then replay or drop.",
        "is_archived is_inactive group_dissolved team_not_found",
    ),
    Cause(
        "The channel does not let Shipmate post.",
        "Allow it in the channel's settings, then replay.",
        "restricted_action posting_to_channel_denied channel_is_limited_access",
    ),
    Cause(
        "The person cannot be written to.",
        "Name another destination; then drop.",
        "user_not_found user_not_visible user_disabled cannot_dm_bot invalid_user_combination "
        "messages_tab_disabled person_not_found",
    ),
    Cause(
        "What the post belongs to is not there any more.",
        "Nothing can be shown there: drop it.",
        "thread_not_found cannot_reply_to_message not_found message_not_found cannot_edit",
    ),
    Cause(
        "The robot was removed or stopped, or is not configured.",
        "Make a new one and name it in the configuration, then replay.",
        "robot_not_found robot_stopped not_configured",
    ),
    Cause(
        "The robot's security settings refuse the post.",
        "Correct the secret, keyword or addresses, then replay.",
        "sign_mismatch keyword_missing ip_not_allowed security_refused",
    ),
    Cause(
        "The card template cannot be used.",
        "Publish it and compare `card_template_id`, then replay.",
        "template_not_found",
    ),
    Cause(
        "The platform refuses Shipmate's credentials.",
        "Put a valid credential in place or grant what it lacks, restart, then replay.",
        "invalid_auth not_authed token_revoked token_expired token_invalid account_inactive "
        "missing_scope no_permission not_allowed_token_type org_login_required ekm_access_denied "
        "access_denied accesslimited team_access_not_granted two_factor_setup_required credentials_refused",
    ),
    Cause(
        "The post is larger than the platform takes.",
        "Report it: this is an error of Shipmate's. The next state may be smaller: replay.",
        "msg_too_long msg_blocks_too_long too_long too_many_attachments view_too_large "
        "attachment_payload_limit_exceeded metadata_too_large",
    ),
    Cause(
        "The platform takes no files, or no more of them.",
        "Allow uploads in the workspace or make room there; nothing but pictures is missing meanwhile.",
        "file_uploads_disabled file_type_not_allowed storage_limit_reached file_not_found",
    ),
    Cause(
        "The platform could not be reached, or did not answer.",
        "See whether it can be reached from here, then replay.",
        "unreachable deadline no_answer timeout unreadable_answer not_json too_many_pages slow_search "
        "throttled busy http_5xx server_error "
        "service_unavailable upload_refused request_timeout internal_error fatal_error update_failed "
        "external_channel_migrating team_added_to_org",
    ),
    Cause(
        "Shipmate could not draw it or failed on it.",
        "Look at the log and report it; then replay or drop.",
        "render_failed unexpected unreadable late_start",
    ),
    Cause("Its build is not in the database any more.", "Nothing can be shown: drop it.", "subject_gone"),
    Cause(
        "It belongs to a card that was given up.",
        "Replay the card: what belongs to it comes along.",
        "no_card",
    ),
)
_BY_REASON = {reason: cause for cause in CAUSES for reason in cause.reasons.split()}


def cause_of(reason: str) -> Cause:
    """The cause that a reason (without `dead:` or `failed:`) stands for."""
    return _BY_REASON.get(reason, REFUSED)


def cause_words(reason: str, locale: str) -> str:
    """What a reason means."""
    return translate(locale, cause_of(reason).words)


def advice_words(reason: str, locale: str) -> str:
    """What to do about a reason."""
    return translate(locale, cause_of(reason).advice)


def labels() -> Collection[str]:
    """All that `label_of` can say."""
    return _BY_REASON.keys()


def label_of(reason: str) -> str:
    """A reason as metrics name it: `other` where it is none that we know."""
    return reason if reason in _BY_REASON else OTHER
