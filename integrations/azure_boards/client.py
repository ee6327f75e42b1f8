"""Work items of one project: read, moved, commented, linked, and asked what changed.

A change names the revision that it was made from (`test /rev`), so that nobody's edit is lost. Which states there are
is the process template's business: they are listed, never assumed.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import requests

from bot.domain.cards import Section
from bot.domain.issues import Issue, IssueChange, RemoteLink, StatusCategory
from bot.errors import AuthFailed, DestinationGone, Rejected, Unavailable
from integrations.azure_boards.config import SYSTEM, Config
from integrations.azure_boards.html import render
from integrations.azure_boards.parse import CATEGORIES, FIELDS, STATE, changed_at, changes_of, parse_item, state_reached
from integrations.http import CALL_DEADLINE_S, Answer, call, raise_for_status
from integrations.texts import clean_line, clean_url
from integrations.transport import together

API, COMMENTS_API = "7.1", "7.1-preview.4"
POLL_S = 60.0
RELATED = "System.LinkTypes.Related"
PAGE, MOST_UPDATES = 200, 10_000
MOST_CHANGED = 1000
_CHANGED = (
    "SELECT [System.Id] FROM WorkItems WHERE [System.TeamProject] = @project "
    "AND [System.ChangedDate] >= '{at}' ORDER BY [System.ChangedDate] ASC"
)
_CATEGORY_WORDS = {
    "to do": StatusCategory.TO_DO,
    "new": StatusCategory.TO_DO,
    "in progress": StatusCategory.IN_PROGRESS,
    "done": StatusCategory.DONE,
}
_KEY = re.compile(r"AB#([1-9][0-9]{0,9})")


class BoardsTracker:
    """Implements `Tracker`; safe for several threads."""

    def __init__(self, config: Config, session: requests.Session) -> None:
        self._config = config
        self._session = session
        self._page = f"{config.url}/{quote(config.project)}/_workitems/edit/{{key}}"
        token = base64.b64encode(f":{config.token.get_secret_value()}".encode()).decode()
        self._headers = {
            "Accept": "application/json",
            "Authorization": f"Basic {token}",
            "X-TFS-FedAuthRedirect": "Suppress",  # else a bad token is answered with a page to sign in
        }
        self._states: dict[str, Mapping[str, StatusCategory]] = {}
        self._lock = threading.Lock()

    # --- Tracker

    def issue(self, key: str) -> Issue:
        """See `Tracker`."""
        with together(CALL_DEADLINE_S):
            row = self._item(_number(key))
            item = parse_item(row, self._page)
            category = self._categories(item.kind).get(item.status, StatusCategory.UNKNOWN)
            return parse_item(row, self._page, category)

    def transition(
        self,
        key: str,
        status: str,
        comment: Sequence[Section] = (),
        marker: str = "",
        *,
        since: datetime | None = None,
    ) -> bool:
        """See `Tracker`. Where no state has that name, the first one of the category of that name will do: `Done`."""
        with together(CALL_DEADLINE_S):
            row = self._item(_number(key))
            item = parse_item(row, self._page)
            target = self._target(item, status)
            if target is None or (since and self._has_reached(_number(key), target, since)):
                return False
            if comment and self._stands(_number(key), marker):
                return False
            operations = [_test(row), _add(f"/fields/{STATE}", target)]
            if comment:
                operations.append(_add("/fields/System.History", render(comment, marker)))
            self._patch(_number(key), operations)
            return True

    def comment(self, key: str, sections: Sequence[Section], marker: str) -> bool:
        """See `Tracker`; an earlier one is found on the first page of comments."""
        with together(CALL_DEADLINE_S):
            if self._stands(_number(key), marker):
                return False
            path, params = _comments_of(_number(key)), {"api-version": COMMENTS_API}
            self._send("POST", path, params, json={"text": render(sections, marker)}, changes=True)
            return True

    def link(self, key: str, link: RemoteLink) -> None:
        """See `Tracker`; a hyperlink is known by its address."""
        url = clean_url(link.url)
        if url is None:
            raise Rejected(SYSTEM, "refused", "no address that can be linked to")
        words = clean_line(f"{link.title} · {link.summary}" if link.summary else link.title, 255)
        with together(CALL_DEADLINE_S):
            row = self._item(_number(key), relations=True)
            relations = row.get("relations") or []
            for index, relation in enumerate(relations):
                if relation.get("rel") == "Hyperlink" and relation.get("url") == url:
                    if relation.get("attributes", {}).get("comment") != words:
                        change = {"op": "replace", "path": f"/relations/{index}/attributes/comment", "value": words}
                        self._patch(_number(key), [_test(row), change])
                    return
            about = {"rel": "Hyperlink", "url": url, "attributes": {"comment": words}}
            self._patch(_number(key), [_test(row), _add("/relations/-", about)])

    def relate(self, key: str, other: str, kind: str) -> bool:
        """See `Relations`; `kind` is a reference name, `System.LinkTypes.Related` where it has no dot.

        https://learn.microsoft.com/azure/devops/boards/queries/link-type-reference
        """
        kind = kind if "." in kind else RELATED
        number = _number(other)
        with together(CALL_DEADLINE_S):
            row = self._item(_number(key), relations=True)
            known = row.get("relations") or []
            if any(one.get("rel") == kind and str(one.get("url")).endswith(f"/{number}") for one in known):
                return False
            about = {"rel": kind, "url": f"{self._config.url}/_apis/wit/workItems/{number}"}
            self._patch(_number(key), [_test(row), _add("/relations/-", about)])
            return True

    def changes(self, since: datetime) -> Sequence[IssueChange]:
        """See `Tracker`."""
        with together(POLL_S):
            found = [change for number in self._changed(since) for change in self._updates(number, since)]
            return sorted(found, key=lambda change: change.occurred_at)

    def types(self) -> list[str]:
        """The names of the project's types of work items."""
        with together(CALL_DEADLINE_S):
            found = self._get("wit/workitemtypes")
        rows = found.get("value") if isinstance(found, dict) else None
        return [row["name"] for row in rows or () if isinstance(row, dict) and isinstance(row.get("name"), str)]

    # ---

    def _stands(self, number: str, marker: str) -> bool:
        found = self._get(_comments_of(number), **{"api-version": COMMENTS_API})
        rows = found.get("comments") if isinstance(found, dict) else None
        return any(_holds(row, marker) for row in rows or ())

    def _has_reached(self, number: str, state: str, since: datetime) -> bool:
        """Whether it was moved to a state since then; what it was born with is no move."""
        moved = (one for one in self._all_updates(number) if (at := changed_at(one)) is not None and at >= since)
        return any(state_reached(one) == state for one in moved)

    def _target(self, item: Issue, status: str) -> str | None:
        """The state to go to; None when it is there already. Rejected: `no_transition`, with the states there are."""
        wanted = status.strip().casefold()
        if item.status.casefold() == wanted:
            return None
        states = self._categories(item.kind)
        named = next((name for name in states if name.casefold() == wanted), None)
        if named is not None:
            return named
        category = _CATEGORY_WORDS.get(wanted)
        if category is not None:
            if states.get(item.status) is category:
                return None
            fitting = next((name for name, one in states.items() if one is category), None)
            if fitting is not None:
                return fitting
        known = ", ".join(states) or "none that we may see"
        raise Rejected(SYSTEM, "no_transition", clean_line(f"states of {item.kind}: {known}", 300))

    def _categories(self, kind: str) -> Mapping[str, StatusCategory]:
        """The states of a type of work items in their order; asked once."""
        with self._lock:
            known = self._states.get(kind)
        if known is not None or not kind:
            return known or {}
        found = self._get(f"wit/workitemtypes/{quote(kind)}/states")
        rows = found.get("value") if isinstance(found, dict) else None
        states = {
            str(row["name"]): CATEGORIES.get(str(row.get("category")), StatusCategory.UNKNOWN)
            for row in rows or ()
            if isinstance(row, dict) and row.get("name")
        }
        with self._lock:
            self._states[kind] = states
        return states

    def _item(self, number: str, *, relations: bool = False) -> dict[str, Any]:
        wish = {"$expand": "relations"} if relations else {"fields": ",".join(FIELDS)}
        row = self._get(f"wit/workitems/{number}", **wish)
        if not isinstance(row, dict) or not isinstance(row.get("rev"), int):
            raise Unavailable(SYSTEM, "bad_answer", "no work item")
        return row

    def _patch(self, number: str, operations: Sequence[Mapping[str, Any]]) -> None:
        headers = {"Content-Type": "application/json-patch+json"}
        path = f"wit/workitems/{number}"
        self._send("PATCH", path, {"api-version": API}, content=json.dumps(operations), headers=headers, changes=True)

    def _changed(self, since: datetime) -> list[str]:
        """Numbers of the work items that changed; Unavailable when they are too many to look at."""
        at = since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        query = _CHANGED.replace("{at}", at)
        params = {"api-version": API, "timePrecision": "true"}
        found = _decoded(self._send("POST", "wit/wiql", params, json={"query": query}, changes=False))
        rows = found.get("workItems") if isinstance(found, dict) else None
        numbers = [str(row["id"]) for row in rows or () if isinstance(row, dict) and isinstance(row.get("id"), int)]
        if len(numbers) > MOST_CHANGED:
            raise Unavailable(SYSTEM, "too_many_changes", f"more than {MOST_CHANGED} work items changed")
        return numbers

    def _updates(self, number: str, since: datetime) -> Iterator[IssueChange]:
        """Each update is told with what only the whole work item knows left out: whoever acts on it looks again."""
        item = Issue(
            f"AB#{number}", "", "", project=self._config.project, url=self._page.replace("{key}", number), id=number
        )
        for update in self._all_updates(number):
            at = changed_at(update)
            if at is not None and at >= since:
                yield from changes_of(item, update, at)

    def _all_updates(self, number: str) -> Iterator[Mapping[str, Any]]:
        """A work item's whole history, which comes oldest first: page by page to its end."""
        for first in range(0, MOST_UPDATES, PAGE):
            found = self._get(f"wit/workItems/{number}/updates", **{"$top": str(PAGE), "$skip": str(first)})
            rows = found.get("value") if isinstance(found, dict) else None
            page = rows if isinstance(rows, list) else []
            yield from (update for update in page if isinstance(update, dict))
            if len(page) < PAGE:
                return
        raise Unavailable(SYSTEM, "too_many_changes", f"AB#{number} has more than {MOST_UPDATES} updates")

    def _get(self, path: str, **params: str) -> Any:  # noqa: ANN401 - JSON
        return _decoded(self._send("GET", path, {"api-version": API, **params}, changes=False))

    def _send(
        self,
        method: str,
        path: str,
        params: Mapping[str, str],
        *,
        changes: bool,
        json: object = None,
        content: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        answer = call(
            self._session,
            SYSTEM,
            method,
            f"{self._config.url}/{quote(self._config.project)}/_apis/{path}",
            headers={**self._headers, **(headers or {})},
            params=params,
            json=json,
            content=content,
            changes=changes,
        )
        _raise_for(answer, changes=changes)
        return answer


def _raise_for(answer: Answer, *, changes: bool) -> None:
    """203 and redirects are pages to sign in; 400 is a rule of the process; 409 and 412 are somebody else's edit."""
    status = answer.status
    if status == 203 or 300 <= status < 400:
        raise AuthFailed(SYSTEM, f"http_{status}", "the token is refused: a page to sign in came back")
    if status == 400:
        raise Rejected(SYSTEM, "refused", _refusal(answer))
    if status == 404:
        raise DestinationGone(SYSTEM, "no_such_issue", _refusal(answer))
    if status in (409, 412):
        raise Unavailable(SYSTEM, "conflict", "somebody changed it at the same moment")
    raise_for_status(SYSTEM, answer, changes=changes)


def _refusal(answer: Answer) -> str:
    try:
        said = answer.json().get("message")
    except (ValueError, AttributeError, RecursionError):
        return ""
    return clean_line(said, 300) if isinstance(said, str) else ""


def _decoded(answer: Answer) -> Any:  # noqa: ANN401 - JSON
    try:
        return answer.json()
    except (ValueError, RecursionError):
        raise AuthFailed(
            SYSTEM, "not_json", "a page came back: is the token good, and the url an organisation's?"
        ) from None


def _number(key: str) -> str:
    found = _KEY.fullmatch(key)
    if found is None:
        raise DestinationGone(SYSTEM, "no_such_issue")
    return found[1]


def _comments_of(number: str) -> str:
    return f"wit/workItems/{number}/comments"


def _test(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"op": "test", "path": "/rev", "value": row["rev"]}


def _add(path: str, value: object) -> dict[str, Any]:
    return {"op": "add", "path": path, "value": value}


def _holds(row: object, marker: str) -> bool:
    said = row.get("text") if isinstance(row, dict) else None
    return isinstance(said, str) and re.search(rf"{re.escape(marker)}(?![A-Za-z0-9])", said) is not None
