"""The door for Jira's admin webhooks.

They are signed with `X-Hub-Signature: sha256=<hex>` over the raw body when a secret is set
(https://developer.atlassian.com/cloud/jira/platform/webhooks/#secure-admin-webhooks), retried up to five times over
half an hour, and may come out of order: what counts is the issue as it stands when the change is acted on.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from bot.errors import PayloadInvalid, SignatureInvalid
from bot.ports.trackers import ReceivedChanges
from integrations.jira.config import Config
from integrations.jira.parse import changes_at_birth, changes_of, instant, parse_issue, parse_release, released
from integrations.texts import clean_line

SIGNATURE_HEADER = "x-hub-signature"
_PREFIX = "sha256="
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)


class JiraWebhook:
    """Understands the webhooks of one Jira."""

    def __init__(self, config: Config) -> None:
        self._secret = config.webhook_secret.get_secret_value().encode() if config.webhook_secret else None
        self._page = f"{config.url}/browse/{{key}}"

    def receive(self, headers: Mapping[str, str], body: bytes, now: datetime) -> ReceivedChanges:
        """The changes a webhook tells; see `ChangeSource`."""
        self._verify(headers.get(SIGNATURE_HEADER), body)
        told = _decode(body)
        name = told.get("webhookEvent")
        if not isinstance(name, str):
            raise PayloadInvalid("webhookEvent: must be text")
        match name:
            case "jira:issue_updated" | "jira:issue_created":
                return self._issue(told, name)
            case "jira:version_released":
                release = parse_release(_object(told, "version"))
                if not release.id or not release.name:
                    raise PayloadInvalid("version.id, version.name: must be text")
                return ReceivedChanges((released(release, _at(told)),))
            case _:
                is_known = name.startswith(("jira:", "comment_", "issuelink_", "sprint_", "worklog_"))
                kind = "ignored" if is_known else "unknown"
                return ReceivedChanges((), f"{kind}:{clean_line(name, 60)}")

    def _issue(self, told: Mapping[str, Any], name: str) -> ReceivedChanges:
        issue = parse_issue(_object(told, "issue"), self._page)
        if not issue.key or not issue.id:
            raise PayloadInvalid("issue.id, issue.key: must be text")
        who = told.get("user")
        who = who if isinstance(who, Mapping) else {}
        at = _at(told)
        if name == "jira:issue_created":
            changes = tuple(changes_at_birth(issue, issue.status, issue.labels, at, who))
        else:
            changelog = told.get("changelog")
            changes = tuple(changes_of(issue, changelog, at, who)) if isinstance(changelog, Mapping) else ()
        return ReceivedChanges(changes, "" if changes else "ignored:other_fields")

    def _verify(self, signature: str | None, body: bytes) -> None:
        if self._secret is None:
            raise SignatureInvalid("this tracker has no webhook_secret: its webhooks are not taken")
        if signature is None:
            raise SignatureInvalid("the header X-Hub-Signature is missing")
        expected = _PREFIX + hmac.new(self._secret, body, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(signature.encode("utf-8", "backslashreplace"), expected.encode()):
            raise SignatureInvalid("the header X-Hub-Signature does not fit the body and the webhook_secret")


def _at(told: Mapping[str, Any]) -> datetime:
    at = instant(told.get("timestamp"))
    if at is None or at < _EARLIEST:
        raise PayloadInvalid("timestamp: must be milliseconds since 1970")
    return at


def _object(told: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = told.get(name)
    if not isinstance(value, Mapping):
        raise PayloadInvalid(f"{name}: must be an object")
    return value


def _decode(body: bytes) -> dict[str, Any]:
    try:
        decoded = json.loads(body)
    except (ValueError, RecursionError):
        raise PayloadInvalid("the body is not JSON") from None
    if not isinstance(decoded, dict):
        raise PayloadInvalid("the body must be a JSON object")
    return decoded
