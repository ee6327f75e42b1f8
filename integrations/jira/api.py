"""Calls to Jira's REST API: where they go, who they are by, and what a refusal means.

https://developer.atlassian.com/cloud/jira/platform/rest/v3/intro/#status-codes. Nothing has happened where a call is
answered 401, 400 or 409; so one more try with a new token is safe.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from typing import Any

import requests

from bot.errors import DestinationGone, Rejected, Unavailable
from integrations.http import Answer, call, raise_for_status
from integrations.jira.auth import Authorizer
from integrations.jira.config import SYSTEM, Config
from integrations.texts import clean_line

Json = dict[str, Any]
MAX_REFUSAL = 300
_CLOUD_ID = re.compile(r"[0-9a-fA-F-]{8,40}")


class JiraApi:
    """One Jira, reached over a session; safe for several threads."""

    def __init__(self, session: requests.Session, config: Config, authorizer: Authorizer) -> None:
        self._session = session
        self._config = config
        self._authorizer = authorizer
        self._site = Site(session, config)

    def get(self, path: str, **params: Any) -> Any:  # noqa: ANN401 - JSON
        """What a read gives; DestinationGone when there is no such thing, or none that we may see."""
        return self._decoded(self._send("GET", path, params=params))

    def search(self, path: str, body: Json) -> Json:
        """A read whose question is too long for an address."""
        found = self._decoded(self._send("POST", path, json=body, changes=False))
        if not isinstance(found, dict):
            raise Unavailable(SYSTEM, "bad_answer", "no object")
        return found

    def change(self, method: str, path: str, body: Json) -> Answer:
        """A change that Jira made; OutcomeUnknown when it may have."""
        return self._send(method, path, json=body, changes=True)

    def _send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: Json | None = None,
        changes: bool = False,
    ) -> Answer:
        url = f"{self._base()}/{path}"
        header = self._authorizer.header()
        answer = self._try(method, url, header, params, json, changes=changes)
        if answer.status == 401:
            header = self._authorizer.header(refused=header)
            answer = self._try(method, url, header, params, json, changes=changes)
        _raise_for(answer, changes=changes)
        return answer

    def _try(
        self,
        method: str,
        url: str,
        header: str,
        params: Mapping[str, Any] | None,
        json: Json | None,
        *,
        changes: bool,
    ) -> Answer:
        return call(
            self._session,
            SYSTEM,
            method,
            url,
            headers={"Accept": "application/json", "Authorization": header},
            params=params,
            json=json,
            changes=changes,
        )

    def _base(self) -> str:
        if not self._config.is_cloud:
            return f"{self._config.url}/rest/api/2"
        if self._config.goes_through_gateway:
            return f"{self._config.auth.gateway_url}/ex/jira/{self._site.cloud_id()}/rest/api/3"
        return f"{self._config.url}/rest/api/3"

    @staticmethod
    def _decoded(answer: Answer) -> Any:  # noqa: ANN401 - JSON
        try:
            return answer.json()
        except (ValueError, RecursionError):
            raise Unavailable(SYSTEM, "bad_answer", "not JSON: is this the address of a Jira?") from None


class Site:
    """Which site of Atlassian's a Jira is; asked once, where the configuration does not say it."""

    def __init__(self, session: requests.Session, config: Config) -> None:
        self._session = session
        self._url = config.url
        self._cloud_id = config.auth.cloud_id
        self._lock = threading.Lock()

    def cloud_id(self) -> str:
        """The site's id, as its own page tells it; raises IntegrationError."""
        with self._lock:
            if self._cloud_id is None:
                self._cloud_id = self._look()
            return self._cloud_id

    def _look(self) -> str:
        answer = call(self._session, SYSTEM, "GET", f"{self._url}/_edge/tenant_info")
        raise_for_status(SYSTEM, answer)
        try:
            found = answer.json()["cloudId"]
        except (ValueError, LookupError, TypeError):
            found = None
        if not isinstance(found, str) or not _CLOUD_ID.fullmatch(found):
            raise Unavailable(SYSTEM, "bad_answer", "no cloudId: set auth.cloud_id, or correct the url")
        return found


def _raise_for(answer: Answer, *, changes: bool) -> None:
    status = answer.status
    if status in (400, 413, 422):
        raise Rejected(SYSTEM, "refused", refusal_of(answer))
    if status == 404:
        raise DestinationGone(SYSTEM, "no_such_issue", refusal_of(answer))
    if status == 409:
        raise Unavailable(SYSTEM, "conflict", "somebody changed it at the same moment")
    if 300 <= status < 400:
        raise Unavailable(SYSTEM, "bad_answer", "redirected: is this the address of a Jira?")
    raise_for_status(SYSTEM, answer, changes=changes)


def refusal_of(answer: Answer) -> str:
    """Jira's own words on why, in one line."""
    try:
        body = answer.json()
    except (ValueError, RecursionError):
        return ""
    if not isinstance(body, dict):
        return ""
    said = body.get("errorMessages")
    words = [word for word in said if isinstance(word, str)] if isinstance(said, list) else []
    fields = body.get("errors")
    if isinstance(fields, dict):
        words += [f"{name}: {word}" for name, word in fields.items() if isinstance(word, str)]
    return clean_line("; ".join(words), MAX_REFUSAL)
