"""Issues of one Jira: read, moved, commented, linked, and asked what changed.

Transitions differ with an issue's status and a person's rights, so they are listed each time:
https://developer.atlassian.com/cloud/jira/platform/rest/v3/api-group-issues/#api-rest-api-3-issue-issueidorkey-transitions-get.
"""

from __future__ import annotations

import json
import math
import re
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from bot.domain.cards import Section
from bot.domain.issues import ChangeKind, Issue, IssueChange, Release, RemoteLink
from bot.errors import DestinationGone, Rejected, Unavailable
from bot.ports import Clock
from integrations.http import CALL_DEADLINE_S
from integrations.jira import adf, wiki
from integrations.jira.api import JiraApi
from integrations.jira.config import SYSTEM, Config
from integrations.jira.parse import (
    CHANGE_FIELDS,
    FIELDS,
    changes_since,
    moves_since,
    parse_issue,
    parse_release,
    released,
)
from integrations.jira.transitions import choose, fields_for, leads_to
from integrations.texts import clean_line, clean_url
from integrations.transport import together

POLL_S = 60.0
PAGE = 100
MOST_PAGES = 100
MOST_COMMENTS = 50
MOST_RECONCILED = 50


class JiraTracker:
    """Implements `Tracker` and `Releases`; safe for several threads."""

    def __init__(self, config: Config, api: JiraApi, clock: Clock, *, watches_releases: bool = False) -> None:
        self._config = config
        self._api = api
        self._clock = clock
        self._watches_releases = watches_releases
        self._page = f"{config.url}/browse/{{key}}"
        self._written: OrderedDict[int, None] = OrderedDict()
        self._lock = threading.Lock()

    # --- Tracker

    def issue(self, key: str) -> Issue:
        """See `Tracker`."""
        with together(CALL_DEADLINE_S):
            return parse_issue(self._row(key, FIELDS), self._page)

    def transition(
        self,
        key: str,
        status: str,
        comment: Sequence[Section] = (),
        marker: str = "",
        *,
        since: datetime | None = None,
    ) -> bool:
        """See `Tracker`. Where no status has that name, the only one of the category of that name will do: `Done`.

        The comment is left out where the transition's screen takes none: `comment` finds whether it is there.
        """
        with together(CALL_DEADLINE_S):
            row = self._row(key, ("status",), **({"expand": "changelog"} if since else {}))
            issue = parse_issue(row, self._page)
            chosen = choose(self._transitions(key), issue, status, self._config.resolution)
            if chosen is None or (since and self._has_reached(row, leads_to(chosen), since)):
                return False
            if comment and self._stands(key, marker):
                return False
            body: dict[str, Any] = {"transition": {"id": str(chosen["id"])}}
            if fields := fields_for(chosen, self._config.resolution):
                body["fields"] = fields
            said = {"update": {"comment": [{"add": {"body": self._body(comment, marker)}}]}} if comment else {}
            self._remember(issue)
            try:
                self._api.change("POST", f"issue/{key}/transitions", body | said)
            except Rejected:
                if not said:
                    raise
                self._api.change("POST", f"issue/{key}/transitions", body)
            return True

    def comment(self, key: str, sections: Sequence[Section], marker: str) -> bool:
        """See `Tracker`; an earlier one is found among the newest 50."""
        with together(CALL_DEADLINE_S):
            if self._stands(key, marker):
                return False
            self._api.change("POST", f"issue/{key}/comment", {"body": self._body(sections, marker)})
            return True

    def link(self, key: str, link: RemoteLink) -> None:
        """See `Tracker`."""
        url = clean_url(link.url)
        if url is None:
            raise Rejected(SYSTEM, "refused", "no address that can be linked to")
        about = {"url": url, "title": clean_line(link.title, 255), "status": {"resolved": link.is_done}}
        if link.summary:
            about["summary"] = clean_line(link.summary, 255)
        body = {
            "globalId": link.global_id[:255],
            "application": {"type": "io.shipmate", "name": "Shipmate"},
            "relationship": "deployed by",
            "object": about,
        }
        with together(CALL_DEADLINE_S):
            self._api.change("POST", f"issue/{key}/remotelink", body)

    def changes(self, since: datetime) -> Sequence[IssueChange]:
        """See `Tracker`.

        The newest come first: what changes meanwhile moves to where we have been, and pushes nothing off a later page.
        That issue itself is looked for once more: the next poll would not tell what happened to it long before.
        """
        with together(POLL_S):
            told: dict[str, IssueChange] = {}
            for asked in (since, self._clock.now()):
                pages = 0
                for page in self._search(self._updated(asked)):
                    told |= {change.key: change for row in page for change in changes_since(row, since, self._page)}
                    pages += 1
                if pages == 1:
                    break
            found = list(told.values())
            if self._watches_releases:
                now = self._clock.now()
                found += [
                    released(release, now)
                    for project in self._config.projects
                    for release in self.releases(project)
                    if release.is_released
                ]
            return sorted(found, key=lambda change: change.occurred_at)

    # --- Releases

    def releases(self, project: str) -> Sequence[Release]:
        """See `Releases`."""
        with together(CALL_DEADLINE_S):
            rows = self._api.get(f"project/{project}/versions")
        return [parse_release(row, project) for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []

    def find(self, release: Release) -> Release | None:
        """See `Releases`; the configured projects are those that we know."""
        projects = (release.project,) if release.project else self._config.projects
        with together(CALL_DEADLINE_S):
            found = (one for project in projects for one in self.releases(project) if one.id == release.id)
            return next(found, None)

    def add_fix_version(self, key: str, name: str) -> None:
        """See `Releases`; a version that the project has not is made."""
        with together(CALL_DEADLINE_S):
            row = self._row(key, ("fixVersions", "project"))
            issue = parse_issue(row, self._page)
            if name in issue.fix_versions:
                return
            if not self._has_release(issue.project, name):
                project = row.get("fields", {}).get("project", {})
                try:
                    self._api.change("POST", "version", {"name": name[:255], "projectId": int(project["id"])})
                except Rejected:
                    if not self._has_release(issue.project, name):  # another issue's teller was faster
                        raise
            self._api.change("PUT", f"issue/{key}", {"update": {"fixVersions": [{"add": {"name": name}}]}})

    # --- Relations

    def relate(self, key: str, other: str, kind: str) -> bool:
        """See `Relations`; `kind` is a type's name: `Blocks`, `Relates`."""
        with together(CALL_DEADLINE_S):
            links = self._row(key, ("issuelinks",)).get("fields", {}).get("issuelinks") or ()
            if any(_links_to(row, other, kind) for row in links):
                return False
            body = {"type": {"name": kind}, "inwardIssue": {"key": key}, "outwardIssue": {"key": other}}
            self._api.change("POST", "issueLink", body)
            return True

    # --- more than the ports ask for

    def whoami(self) -> str:
        """The name of the account that calls are made by."""
        with together(CALL_DEADLINE_S):
            row = self._api.get("myself")
        name = row.get("displayName") or row.get("name") if isinstance(row, dict) else None
        if not isinstance(name, str):
            raise Unavailable(SYSTEM, "bad_answer", "no name: is this the address of a Jira?")
        return clean_line(name, 100)

    def missing_projects(self) -> list[str]:
        """Those of the configured projects that Jira does not show us."""
        missing = []
        for project in self._config.projects:
            try:
                self.releases(project)
            except DestinationGone:
                missing.append(project)
        return missing

    # ---

    def _has_release(self, project: str, name: str) -> bool:
        return any(one.name == name for one in self.releases(project))

    def _has_reached(self, row: Mapping[str, Any], status: str, since: datetime) -> bool:
        changes = moves_since(row, since, self._page)
        return any(one.kind is ChangeKind.STATUS_REACHED and one.value == status for one in changes)

    def _row(self, key: str, fields: Sequence[str], **more: str) -> dict[str, Any]:
        row = self._api.get(f"issue/{key}", fields=",".join(fields), **more)
        if not isinstance(row, dict):
            raise Unavailable(SYSTEM, "bad_answer", "no issue")
        return row

    def _stands(self, key: str, marker: str) -> bool:
        found = self._api.get(f"issue/{key}/comment", orderBy="-created", maxResults=MOST_COMMENTS)
        rows = found.get("comments") if isinstance(found, dict) else None
        return any(_holds(row, marker) for row in rows or ())

    def _transitions(self, key: str) -> list[Mapping[str, Any]]:
        found = self._api.get(f"issue/{key}/transitions", expand="transitions.fields")
        rows = found.get("transitions") if isinstance(found, dict) else None
        return [row for row in rows or () if isinstance(row, dict) and row.get("id") is not None]

    def _body(self, sections: Sequence[Section], marker: str) -> Any:  # noqa: ANN401 - a document, or a text
        if self._config.is_cloud:
            return adf.render(sections, marker)
        return wiki.render(sections, marker, is_plain=self._config.markup == "plain")

    def _scope(self) -> str:
        names = ", ".join(f'"{project}"' for project in self._config.projects)
        return f"project in ({names}) AND " if names else ""

    def _updated(self, since: datetime) -> str:
        """Minutes are counted back from now, for a time in JQL is one of our account's zone."""
        minutes = math.ceil((self._clock.now() - since).total_seconds() / 60) + 1
        return f"{self._scope()}updated >= -{max(minutes, 1)}m ORDER BY updated DESC"

    def _search(self, jql: str) -> Iterator[list[Mapping[str, Any]]]:
        """Issues with their histories by pages, of which there may be 100."""
        body: dict[str, Any] = {"jql": jql, "maxResults": PAGE, "fields": list(CHANGE_FIELDS)}
        body["expand"] = "changelog" if self._config.is_cloud else ["changelog"]
        if self._config.is_cloud and (written := self._reconciled()):
            body["reconcileIssues"] = written
        path = "search/jql" if self._config.is_cloud else "search"
        for _ in range(MOST_PAGES):
            page = self._api.search(path, body)
            rows = page.get("issues")
            rows = rows if isinstance(rows, list) else []
            yield [row for row in rows if isinstance(row, dict)]
            if self._config.is_cloud:
                body["nextPageToken"] = page.get("nextPageToken")
                is_last = page.get("isLast") is True or not body["nextPageToken"]
            else:
                body["startAt"] = body.get("startAt", 0) + len(rows)
                is_last = not rows or body["startAt"] >= int(page.get("total") or 0)
            if is_last:
                return
        raise Unavailable(SYSTEM, "too_many_changes", f"more than {MOST_PAGES * PAGE} issues changed")

    def _remember(self, issue: Issue) -> None:
        """What we change is to be found by the next search as it is, however slow its index."""
        if issue.id.isdigit():
            with self._lock:
                self._written[int(issue.id)] = None
                self._written.move_to_end(int(issue.id))
                while len(self._written) > MOST_RECONCILED:
                    self._written.popitem(last=False)

    def _reconciled(self) -> list[int]:
        with self._lock:
            return list(self._written)


def _holds(row: object, marker: str) -> bool:
    """Whether a comment's text, in either format, has our marker in it."""
    if not isinstance(row, dict):
        return False
    body = row.get("body")
    words = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
    return re.search(rf"{re.escape(marker)}(?![A-Za-z0-9])", words) is not None


def _links_to(row: object, other: str, kind: str) -> bool:
    if not isinstance(row, dict) or row.get("type", {}).get("name") != kind:
        return False
    linked = row.get("outwardIssue")
    return isinstance(linked, dict) and linked.get("key") == other
