"""The door for service hooks of Azure Boards.

They are not signed: https://learn.microsoft.com/en-us/azure/devops/service-hooks/services/webhooks. A password, or a
header that the subscription sends, proves who it is. How much of the work item is sent is the subscription's choice.
"""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from bot.errors import PayloadInvalid, SignatureInvalid
from bot.ports.trackers import ReceivedChanges
from integrations.azure_boards.config import Config
from integrations.azure_boards.parse import as_update, changes_of, instant, parse_item
from integrations.texts import clean_line


class BoardsWebhook:
    """Understands the service hooks of one project."""

    def __init__(self, config: Config, page: str) -> None:
        self._project = config.project
        self._page = page
        self._header, self._expected = _proof(config)

    def receive(self, headers: Mapping[str, str], body: bytes, now: datetime) -> ReceivedChanges:
        """The changes a service hook tells; see `ChangeSource`."""
        if self._expected is None:
            raise SignatureInvalid("this tracker has no webhook section: its service hooks are not taken")
        given = headers.get(self._header, "")
        if not hmac.compare_digest(given.encode("utf-8", "backslashreplace"), self._expected.encode()):
            raise SignatureInvalid(f"the header {self._header} is missing or wrong")
        told = _decode(body)
        kind = told.get("eventType")
        if not isinstance(kind, str):
            raise PayloadInvalid("eventType: must be text")
        if kind not in ("workitem.updated", "workitem.created"):
            known = "ignored" if kind.startswith("workitem.") else "unknown"
            return ReceivedChanges((), f"{known}:{clean_line(kind, 60)}")
        resource = told.get("resource")
        if not isinstance(resource, Mapping) or not isinstance(resource.get("fields"), Mapping):
            return ReceivedChanges((), "unknown:no_details")  # the subscription sends less than all
        return self._changes(told, resource, is_new=kind == "workitem.created")

    def _changes(self, told: Mapping[str, Any], resource: Mapping[str, Any], *, is_new: bool) -> ReceivedChanges:
        at = instant(told.get("createdDate"))
        if at is None:
            raise PayloadInvalid("createdDate: must be a time")
        if is_new:
            item, update = parse_item(resource, self._page), as_update(resource)
        else:
            number = resource.get("workItemId")
            if not isinstance(number, int) or isinstance(number, bool):
                raise PayloadInvalid("resource.workItemId: must be a number")
            revision = resource.get("revision")
            whole = revision if isinstance(revision, Mapping) else {}
            item, update = parse_item({**whole, "id": number}, self._page), resource
        if not item.id.isdecimal():
            raise PayloadInvalid("resource.id: must be a number")
        if item.project and item.project.casefold() != self._project.casefold():
            return ReceivedChanges((), "ignored:other_project")
        changes = tuple(changes_of(replace(item, project=self._project), update, at))
        return ReceivedChanges(changes, "" if changes else "ignored:other_fields")


def _proof(config: Config) -> tuple[str, str | None]:
    """The header that is looked at, and what it has to be."""
    webhook = config.webhook
    if webhook is None:
        return "authorization", None
    if webhook.header is not None and webhook.token is not None:
        return webhook.header.lower(), webhook.token.get_secret_value()
    assert webhook.password is not None
    pair = f"{webhook.user}:{webhook.password.get_secret_value()}"
    return "authorization", f"Basic {base64.b64encode(pair.encode()).decode()}"


def _decode(body: bytes) -> dict[str, Any]:
    try:
        decoded = json.loads(body)
    except (ValueError, RecursionError):
        raise PayloadInvalid("the body is not JSON") from None
    if not isinstance(decoded, dict):
        raise PayloadInvalid("the body must be a JSON object")
    return decoded
