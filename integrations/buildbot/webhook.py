"""The door for Buildbot's HttpStatusPush.

It posts the whole build at its start and at its end, unsigned, once: https://docs.buildbot.net/4.3.0/manual/configuration/
reporters/http_status.html. A header that the reporter is given proves who sends. A lost push is made good by polling.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from bot.errors import PayloadInvalid, SignatureInvalid
from bot.ports import Received
from integrations.buildbot.config import Config
from integrations.buildbot.parse import parse_build, with_buildset

TOKEN_HEADER = "x-bot-token"  # noqa: S105 - a header's name


class BuildbotWebhook:
    """Understands the status pushes of one Buildbot."""

    def __init__(self, source: str, config: Config) -> None:
        self._source = source
        self._config = config
        self._token = config.webhook_token.get_secret_value().encode()

    def receive(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Received:
        """The event a push tells; see `WebhookSource`. The body alone dates it, so that clocks need not agree."""
        token = headers.get(TOKEN_HEADER)
        if token is None:
            raise SignatureInvalid("the header X-Bot-Token is missing")
        if not hmac.compare_digest(token.encode("utf-8", "backslashreplace"), self._token):
            raise SignatureInvalid("the header X-Bot-Token is not the configured token")
        build = _decode(body)
        if "buildid" not in build:
            return Received((), "unknown:no_build")
        builder = build.get("builder")
        name = builder.get("name") if isinstance(builder, dict) else None
        if not isinstance(name, str):
            raise PayloadInvalid("builder.name: must be text")
        project = self._config.project_of(name)
        if project is None:
            return Received((), "ignored:unknown_builder")
        parsed = parse_build(build, build.get("steps"))
        facts = parsed.facts
        buildset = build.get("buildset")
        if isinstance(buildset, dict):
            facts = with_buildset(facts, buildset)
        return Received((parsed.event(self._source, project, "push", facts),))


def _decode(body: bytes) -> dict[str, Any]:
    try:
        decoded = json.loads(body)
    except (ValueError, RecursionError):
        raise PayloadInvalid("the body is not JSON") from None
    if not isinstance(decoded, dict):
        raise PayloadInvalid("the body must be a JSON object")
    return decoded
