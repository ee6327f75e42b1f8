"""A Jira on loopback, as much of one as Shipmate uses: Cloud (v3, site and gateway) and Data Center (v2).

It keeps issues, their history, comments, links and versions, refuses what Jira refuses, and signs webhooks. Each
request to v3, and each answer to it, is held against Atlassian's specification where that is at hand (`tests.oracles`).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.fakes import EPOCH
from tests.loopback import Answer, Call, Loopback
from tests.oracles import Request, folder, schema, specification

Json = dict[str, Any]
SECRET = "a-secret-that-jira-signs-with"
CLOUD_ID = "11111111-2222-4333-8444-555555555555"
USER, TOKEN = "bot@example.com", "api-token"
CATEGORIES = {"To Do": "new", "In Progress": "indeterminate", "Done": "done"}
STATUSES = {
    "To Do": "To Do",
    "In Progress": "In Progress",
    "Ready for Staging": "In Progress",
    "In Staging": "In Progress",
    "Closed": "Done",
}
REUSE = timedelta(minutes=10)
"""For which Atlassian takes a refresh token again that was exchanged: nobody may have got what came for it.

Later that ends the whole line of tokens. https://community.developer.atlassian.com/t/83103 and /t/54172.
"""


@dataclass
class StoredIssue:
    """One issue with all that was done to it."""

    id: int
    key: str
    title: str
    status: str = "To Do"
    kind: str = "Story"
    labels: list[str] = field(default_factory=list)
    fix_versions: list[str] = field(default_factory=list)
    created: datetime = EPOCH
    updated: datetime = EPOCH
    description: str = ""
    histories: list[Json] = field(default_factory=list)
    comments: list[Json] = field(default_factory=list)
    remote_links: dict[str, Json] = field(default_factory=dict)
    links: list[Json] = field(default_factory=list)


class FakeJira(Loopback):
    """Jira at `url` while the block lasts. `now` is its clock.

    `edition` is `cloud` or `data_center`. `workflow` are the ways out of a status; without an entry, to any other one.
    `required` are fields that a transition's screen insists on, by the status it leads to. A search shows only what
    changed before `indexed_until`, but for issues that are to be reconciled.
    """

    def __init__(self, edition: str = "cloud") -> None:
        super().__init__()
        self.edition = edition
        self.now = EPOCH
        self.issues: dict[str, StoredIssue] = {}
        self.versions: dict[str, list[Json]] = {"USER": [], "PAY": []}
        self.workflow: dict[str, list[str]] = {}
        self.required: dict[str, Json] = {}
        self.statuses = dict(STATUSES)
        self.takes_comments_in_transitions = True
        self.indexed_until: datetime | None = None
        self.deployments: list[Json] = []
        self.builds: list[Json] = []
        self.refresh_tokens: list[str] = ["first-refresh-token"]
        self.access_tokens: list[str] = []
        self.exchanged: dict[str, datetime] = {}
        self.reused = 0
        self.life_s = 3600
        self._ids = iter(range(10_000, 1_000_000))

    # --- what tests do with it

    def add(self, key: str = "USER-12", **known: Any) -> StoredIssue:
        """Create an issue."""
        issue = StoredIssue(
            next(self._ids), key, known.pop("title", "Log in"), created=self.now, updated=self.now, **known
        )
        self.issues[key] = issue
        return issue

    def move(self, key: str, status: str) -> Json:
        """Move an issue as a person would; its webhook's body."""
        issue = self.issues[key]
        was, issue.status = issue.status, status
        return self._record(issue, "status", was, status)

    def label(self, key: str, *labels: str) -> Json:
        """Set an issue's labels; its webhook's body."""
        issue = self.issues[key]
        was, issue.labels = issue.labels, list(labels)
        return self._record(issue, "labels", " ".join(was), " ".join(labels))

    def release(self, name: str, project: str = "USER") -> Json:
        """Release a version; its webhook's body."""
        known = next((one for one in self.versions[project] if one["name"] == name), None)
        version = known or self._new_version(project, {"name": name})
        version |= {"released": True, "releaseDate": f"{self.now:%Y-%m-%d}"}
        told = {**version, "overdue": False, "userReleaseDate": "21/Nov/26"}
        return {"timestamp": self._millis(), "webhookEvent": "jira:version_released", "version": told}

    def created(self, key: str) -> Json:
        """The webhook's body for an issue's creation."""
        told = self.row(self.issues[key])
        return {"timestamp": self._millis(), "webhookEvent": "jira:issue_created", "user": self._user(), "issue": told}

    def signed(self, body: Json, secret: str = SECRET) -> tuple[dict[str, str], bytes]:
        """Headers and body of a webhook, as Jira sends it."""
        raw = json.dumps(body).encode()
        signature = "sha256=" + hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()
        return {"content-type": "application/json", "x-hub-signature": signature}, raw

    def asked(self, method: str = "POST") -> list[str]:
        """Paths called with a method, without the API's own part."""
        return [re.sub(r"^.*/rest/api/[23]/", "", path) for path in self.paths(method)]

    def texts(self, key: str) -> list[str]:
        """What the comments of an issue say."""
        return [json.dumps(comment["body"], ensure_ascii=False) for comment in self.issues[key].comments]

    # --- what it answers

    def answer(self, call: Call) -> Answer:
        """The answer to one request."""
        if call.path == "/_edge/tenant_info":
            return 200, {"cloudId": CLOUD_ID}
        if call.path.endswith(("/oauth/token", "/oauth2/latest/token")):
            return self._token(call.body)
        if found := re.fullmatch(rf"/jira/(deployments|builds)/0.1/cloud/{CLOUD_ID}/bulk", call.path):
            return self._bulk(found[1], call)
        return self._rest(call)

    def _rest(self, call: Call) -> Answer:
        version = "3" if self.edition == "cloud" else "2"
        found = re.fullmatch(rf"(/ex/jira/{CLOUD_ID})?/rest/api/{version}/(.*)", call.path)
        if found is None:
            return 404, {"errorMessages": ["dead link"]}
        if not self._is_authorised(call.headers.get("authorization", ""), is_gateway=found[1] is not None):
            return 401, {"errorMessages": ["Client must be authenticated to access this resource."]}
        status, body = self._resource(call, found[2])
        self._hold_against(call, found[2], status, body)
        return status, body

    def _is_authorised(self, header: str, *, is_gateway: bool) -> bool:
        if header.removeprefix("Bearer ") in self.access_tokens:
            return is_gateway or self.edition != "cloud"
        basic = "Basic " + base64.b64encode(f"{USER}:{TOKEN}".encode()).decode()
        return header in (basic, f"Bearer {TOKEN}")

    def _resource(self, call: Call, path: str) -> Answer:
        match [call.method, *path.split("/")]:
            case ["GET", "myself"]:
                return 200, {"accountId": "bot", "displayName": "Shipmate Bot"}
            case [_, "issue", key, *rest]:
                return self._issue(call, key, *rest) if key in self.issues else self._gone()
            case ["POST", "issueLink"]:
                issue = self.issues[call.body["inwardIssue"]["key"]]
                issue.links.append({"type": call.body["type"], "outwardIssue": call.body["outwardIssue"]})
                return 201, None
            case ["GET", "project", project, "versions"] if project in self.versions:
                return 200, self.versions[project]
            case ["POST", "version"]:
                project = list(self.versions)[call.body["projectId"] - 100]
                if any(version["name"] == call.body["name"] for version in self.versions[project]):
                    words = "A version with this name already exists in this project."
                    return 400, {"errorMessages": [], "errors": {"name": words}}
                return 201, self._new_version(project, call.body)
            case ["POST", "search", "jql"] | ["POST", "search"]:
                return self._search(call.body)
            case _:
                return self._gone()

    def _issue(self, call: Call, key: str, part: str = "") -> Answer:
        issue = self.issues[key]
        match [call.method, part]:
            case ["GET", ""]:
                return 200, self.row(issue, with_history="changelog" in call.query.get("expand", ()))
            case ["PUT", ""]:
                return self._update(key, call.body)
            case ["GET", "transitions"]:
                return 200, {"expand": "transitions", "transitions": self._transitions(key)}
            case ["POST", "transitions"]:
                return self._transit(key, call.body)
            case ["GET", "comment"]:
                newest = issue.comments[::-1][: int(call.query["maxResults"][0])]
                return 200, {"startAt": 0, "maxResults": 50, "total": len(newest), "comments": newest}
            case ["POST", "comment"]:
                return self._comment(key, call.body["body"])
            case ["POST", "remotelink"]:
                is_new = call.body["globalId"] not in issue.remote_links
                issue.remote_links[call.body["globalId"]] = call.body
                return (201 if is_new else 200), {"id": 1, "self": f"{self.url}/rest/api/3/issue/{key}/remotelink/1"}
            case _:
                return self._gone()

    def _transitions(self, key: str) -> list[Json]:
        issue = self.issues[key]
        targets = self.workflow.get(issue.status, [name for name in self.statuses if name != issue.status])
        return [
            {
                "id": str(11 + 10 * list(self.statuses).index(name)),
                "name": f"Go {number}",
                "to": self._status(name),
                "hasScreen": name in self.required,
                "fields": self.required.get(name, {}),
            }
            for number, name in enumerate(targets)
        ]

    def _transit(self, key: str, body: Json) -> Answer:
        found = next((one for one in self._transitions(key) if one["id"] == body["transition"]["id"]), None)
        if found is None:
            return 400, {"errorMessages": ["It seems that you have tried to perform an illegal workflow operation."]}
        if missing := [name for name in found["fields"] if name not in body.get("fields", {})]:
            return 400, {"errorMessages": [], "errors": dict.fromkeys(missing, "Field is required.")}
        comments = body.get("update", {}).get("comment", [])
        if comments and not self.takes_comments_in_transitions:
            return 400, {"errorMessages": [], "errors": {"comment": "It is not on the appropriate screen."}}
        for one in comments:
            status, refused = self._comment(key, one["add"]["body"])
            if status != 201:
                return status, refused
        self.move(key, found["to"]["name"])
        return 204, None

    def _comment(self, key: str, body: Any) -> Answer:
        if self.edition == "cloud":
            if not isinstance(body, dict) or body.get("version") != 1:
                return 400, {"errorMessages": [], "errors": {"comment": "Comment body is not valid!"}}
            if folder() is not None:
                self.problems += [problem.message[:300] for problem in schema("adf-full.schema.json").iter_errors(body)]
        elif not isinstance(body, str):
            return 400, {"errorMessages": ["Can not deserialize instance of java.lang.String"]}
        comment = {"id": str(next(self._ids)), "body": body, "created": self._time(self.now)}
        self.issues[key].comments.append(comment)
        return 201, comment

    def _update(self, key: str, body: Json) -> Answer:
        for one in body["update"]["fixVersions"]:
            name = one["add"]["name"]
            if all(version["name"] != name for version in self.versions[key.partition("-")[0]]):
                return 400, {"errorMessages": [], "errors": {"fixVersions": f"Version name '{name}' is not valid"}}
            if name not in self.issues[key].fix_versions:  # a set, whoever adds to it
                self.issues[key].fix_versions.append(name)
        return 204, None

    def _search(self, body: Json) -> Answer:
        minutes = re.search(r"updated >= -(\d+)m", body["jql"])
        assert minutes is not None, body["jql"]
        projects = re.findall(r'"(\w+)"', body["jql"])
        since = self.now - timedelta(minutes=int(minutes[1]))
        until = self.indexed_until or self.now
        found = [
            issue
            for issue in self.issues.values()
            if (since <= issue.updated <= until or issue.id in body.get("reconcileIssues", ()))
            and (not projects or issue.key.partition("-")[0] in projects)
        ]
        found.sort(key=lambda issue: issue.updated, reverse=body["jql"].endswith("updated DESC"))
        start = int(body.get("nextPageToken") or body.get("startAt") or 0)
        page = [self.row(issue, with_history=True) for issue in found[start : start + 2]]
        if self.edition != "cloud":
            return 200, {"startAt": start, "total": len(found), "issues": page}
        is_last = start + 2 >= len(found)
        return 200, {"issues": page, "isLast": is_last, **({} if is_last else {"nextPageToken": str(start + 2)})}

    def _token(self, body: Any) -> Answer:
        grant = body.get("grant_type") if isinstance(body, dict) else None
        access = f"access-{len(self.access_tokens) + 1}"
        if grant == "refresh_token":
            if not self._is_exchangeable(body["refresh_token"]):
                return 403, {"error": "invalid_grant", "error_description": "Unknown or invalid refresh token."}
            self.refresh_tokens.append(f"refresh-{len(self.refresh_tokens)}")
        self.access_tokens.append(access)
        told = {"access_token": access, "expires_in": self.life_s, "token_type": "Bearer", "scope": "read:jira-work"}
        return 200, told | ({"refresh_token": self.refresh_tokens[-1]} if grant == "refresh_token" else {})

    def _is_exchangeable(self, token: str) -> bool:
        exchanged_at = self.exchanged.get(token)
        if exchanged_at is not None:
            is_soon = self.now - exchanged_at <= REUSE
            self.reused += 1
            if not is_soon:
                self.refresh_tokens.append("nobody has this one: a person must authorise anew")
            return is_soon
        is_newest = token == self.refresh_tokens[-1]
        if is_newest:
            self.exchanged[token] = self.now
        return is_newest

    def _bulk(self, kind: str, call: Call) -> Answer:
        if call.headers.get("authorization", "").removeprefix("Bearer ") not in self.access_tokens:
            return 401, {"code": 401, "message": "Unauthorized"}
        self._hold_bulk(kind, call.body)
        accepted: list[Json] = []
        rejected: list[Json] = []
        unknown: list[str] = []
        for row in call.body[kind]:
            keys = row.get("issueKeys") or [key for one in row["associations"] for key in one["values"]]
            unknown += [key for key in keys if key not in self.issues]
            known = [key for key in keys if key in self.issues]
            (self.deployments if kind == "deployments" else self.builds).append(row)
            key = {"pipelineId": row.get("pipelineId") or row["pipeline"]["id"]}
            if known:
                accepted.append(key)
            else:
                rejected.append({"key": key, "errors": [{"message": "only unknown issue keys"}]})
        title = kind.capitalize()
        return 202, {f"accepted{title}": accepted, f"rejected{title}": rejected, "unknownIssueKeys": unknown}

    # ---

    def row(self, issue: StoredIssue, *, with_history: bool = False) -> Json:
        """An issue as the API tells of it."""
        project = issue.key.partition("-")[0]
        words = issue.description
        document = {"version": 1, "type": "doc", "content": [_paragraph(words)] if words else []}
        fields = {
            "summary": issue.title,
            "status": self._status(issue.status),
            "issuetype": {"name": issue.kind},
            "priority": {"name": "High"},
            "assignee": {"accountId": "5b10", "displayName": "陈伟 Chen Wei"},
            "labels": list(issue.labels),
            "fixVersions": [{"id": "1", "name": name} for name in issue.fix_versions],
            "project": {"id": str(100 + list(self.versions).index(project)), "key": project},
            "creator": self._user(),
            "created": self._time(issue.created),
            "updated": self._time(issue.updated),
            "description": document if self.edition == "cloud" else words,
            "issuelinks": list(issue.links),
        }
        made: Json = {"id": str(issue.id), "key": issue.key, "self": f"{self.url}/rest/api/3/issue/{issue.id}"}
        made["fields"] = fields
        if with_history:
            histories = issue.histories[::-1] if self.edition == "cloud" else issue.histories
            made["changelog"] = {"startAt": 0, "maxResults": 50, "total": len(histories), "histories": histories}
        return made

    def _record(self, issue: StoredIssue, name: str, was: str, now: str) -> Json:
        issue.updated = self.now
        item = {"field": name, "fieldtype": "jira", "fieldId": name, "fromString": was, "toString": now}
        changelog = {"id": str(next(self._ids)), "items": [item]}
        issue.histories.append({**changelog, "author": self._user(), "created": self._time(self.now)})
        told = {"timestamp": self._millis(), "webhookEvent": "jira:issue_updated", "user": self._user()}
        return {**told, "issue_event_type_name": "issue_generic", "issue": self.row(issue), "changelog": changelog}

    def _new_version(self, project: str, body: Json) -> Json:
        version = {
            "self": f"{self.url}/rest/api/3/version/1",
            "id": str(next(self._ids)),
            "name": body["name"],
            "archived": False,
            "released": False,
            "projectId": 100 + list(self.versions).index(project),
        }
        self.versions[project].append(version)
        return version

    def _status(self, name: str) -> Json:
        category = self.statuses[name]
        return {"name": name, "id": "1", "statusCategory": {"key": CATEGORIES[category], "name": category}}

    @staticmethod
    def _user() -> Json:
        return {"accountId": "5b10", "displayName": "Ada Nowak"}

    @staticmethod
    def _gone() -> Answer:
        return 404, {"errorMessages": ["Issue does not exist or you do not have permission to see it."], "errors": {}}

    @staticmethod
    def _time(at: datetime) -> str:
        return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000+0000")

    def _millis(self) -> int:
        return int(self.now.timestamp() * 1000)

    def _hold_against(self, call: Call, path: str, status: int, body: Any) -> None:
        described = specification("jira-v3-trimmed.json")
        if described is None or self.edition != "cloud":
            return
        request = Request(call.method, f"/rest/api/3/{path}", call.query, call.body, call.content_type)
        self.problems += described.problems(request) + described.answer_problems(request, status, body)

    def _hold_bulk(self, kind: str, body: Any) -> None:
        described = specification("jira-software-devinfo-trimmed.json")
        if described is not None:
            request = Request("POST", f"/{kind}/0.1/bulk", {}, body, "application/json")
            self.problems += described.problems(request)


def _paragraph(words: str) -> Json:
    return {"type": "paragraph", "content": [{"type": "text", "text": words}]}
