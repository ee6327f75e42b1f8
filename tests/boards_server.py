"""A project of Azure Boards on loopback, as much of one as Shipmate uses.

Requests are held against Microsoft's specification where that is at hand. It says that the body of a patch is an object
and an array at once, and that each value in it is an object: of a patch each operation is held against it, without its
value; a link in it by what is said of links.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tests.fakes import EPOCH
from tests.loopback import Answer, Call, Loopback
from tests.oracles import Request, specification

Json = dict[str, Any]
TOKEN = "personal-access-token"
PASSWORD = "a-password-of-service-hooks"
STATES = {
    "New": "Proposed",
    "Active": "InProgress",
    "Resolved": "Resolved",
    "Closed": "Completed",
    "Removed": "Removed",
}


@dataclass
class StoredItem:
    """One work item with its revisions."""

    id: int
    fields: Json
    rev: int = 1
    updates: list[Json] = field(default_factory=list)
    comments: list[Json] = field(default_factory=list)
    relations: list[Json] = field(default_factory=list)


class FakeBoards(Loopback):
    """The project Shop of the organisation acme. `edits_meanwhile` lets somebody else be faster than the next patch."""

    def __init__(self) -> None:
        super().__init__()
        self.organization = f"{self.url}/acme"
        self.now = EPOCH
        self.items: dict[int, StoredItem] = {}
        self.edits_meanwhile = False

    # --- what tests do with it

    def add(self, number: int = 12, state: str = "New", tags: str = "", title: str = "Log in") -> StoredItem:
        """Create a work item."""
        fields = {
            "System.Title": title,
            "System.State": state,
            "System.WorkItemType": "Bug",
            "System.TeamProject": "Shop",
            "System.AssignedTo": {"displayName": "陈伟 Chen Wei", "uniqueName": "chen@example.com"},
            "System.CreatedBy": {"displayName": "Ada Nowak", "uniqueName": "ada@example.com"},
            "System.ChangedDate": self._time(self.now),
            "System.Description": "<div>It is <b>broken</b> &amp; slow<br>twice</div>",
            "Microsoft.VSTS.Common.Priority": 1,
            **({"System.Tags": tags} if tags else {}),
        }
        item = StoredItem(number, fields)
        item.updates.append(self._update(item, {name: {"newValue": value} for name, value in fields.items()}))
        self.items[number] = item
        return item

    def change(self, number: int = 12, **changed: str) -> Json:
        """Change state or tags as a person would; the service hook's body."""
        item = self.items[number]
        names = {"state": "System.State", "tags": "System.Tags", "title": "System.Title"}
        new = {names[name]: value for name, value in changed.items()} | {"System.ChangedDate": self._time(self.now)}
        told = {}
        for name, value in new.items():
            told[name] = {**({"oldValue": item.fields[name]} if name in item.fields else {}), "newValue": value}
        item.fields |= new
        item.rev += 1
        update = self._update(item, told)
        item.updates.append(update)
        revision = {"id": item.id, "rev": item.rev, "fields": dict(item.fields)}
        return self._hook("workitem.updated", {**update, "revision": revision})

    def created(self, number: int = 12) -> Json:
        """The service hook's body for a creation."""
        item = self.items[number]
        return self._hook("workitem.created", {"id": item.id, "rev": 1, "fields": dict(item.fields)})

    @staticmethod
    def sent(body: Json, user: str = "azure", password: str = PASSWORD) -> tuple[dict[str, str], bytes]:
        """Headers and body of a service hook with basic authorisation."""
        basic = base64.b64encode(f"{user}:{password}".encode()).decode()
        return {"content-type": "application/json", "authorization": f"Basic {basic}"}, json.dumps(body).encode()

    # --- what it answers

    def answer(self, call: Call) -> Answer:
        """See `Loopback`."""
        if call.headers.get("authorization") != "Basic " + base64.b64encode(f":{TOKEN}".encode()).decode():
            return 203, b"<html>Sign in</html>"
        self._hold_against(call)
        found = re.fullmatch(r"/acme/Shop/_apis/wit/(.*)", call.path)
        match [call.method, *(found[1].split("/") if found else [])]:
            case [_, "workitems" | "workItems", number, *rest]:
                if number.isdigit() and int(number) in self.items:
                    return self._item(call, self.items[int(number)], *rest)
                return 404, {"message": "TF401232: Work item does not exist, or you may not read it."}
            case ["GET", "workitemtypes"]:
                return 200, {"value": [{"name": "Bug"}, {"name": "Task"}]}
            case ["GET", "workitemtypes", "Bug", "states"]:
                return 200, {"value": [{"name": name, "category": category} for name, category in STATES.items()]}
            case ["POST", "wiql"]:
                return self._query(call.body["query"])
            case _:
                return 404, {"message": "no such page"}

    def _item(self, call: Call, item: StoredItem, part: str = "") -> Answer:
        match [call.method, part]:
            case ["GET", ""]:
                return 200, self._row(item, with_relations="$expand" in call.query)
            case ["PATCH", ""]:
                return self._patch(item, call.body)
            case ["GET", "comments"]:
                return 200, {"totalCount": len(item.comments), "count": len(item.comments), "comments": item.comments}
            case ["POST", "comments"]:
                item.comments.append({"text": call.body["text"]})
                return 200, {"text": call.body["text"]}
            case ["GET", "updates"]:
                first = int(call.query.get("$skip", ["0"])[0])
                most = min(200, int(call.query.get("$top", ["200"])[0]))
                return 200, {"value": item.updates[first : first + most]}
            case _:
                return 404, {"message": "no such page"}

    def _patch(self, item: StoredItem, operations: list[Json]) -> Answer:
        if self.edits_meanwhile:
            self.edits_meanwhile = False
            self.change(item.id, title="Edited meanwhile")
        for one in operations:
            match one:
                case {"op": "test", "path": "/rev", "value": rev}:
                    if rev != item.rev:
                        return 412, {"message": "VS403351: Test Operation for path /rev failed."}
                case {"op": "add", "path": "/fields/System.State", "value": state}:
                    if state not in STATES:
                        return 400, {"message": f"TF401320: Rule Error for field State. {state} is not supported."}
                    self.change(item.id, state=state)
                case {"op": "add", "path": "/fields/System.History", "value": words}:
                    item.comments.append({"text": words})
                case {
                    "op": "add",
                    "path": "/relations/-",
                    "value": {"rel": "Hyperlink" | "System.LinkTypes.Related"} as relation,
                }:
                    item.relations.append(relation)
                case {"op": "replace", "path": path, "value": words}:
                    item.relations[int(path.split("/")[2])]["attributes"]["comment"] = words
                case _:
                    return 400, {"message": "You must pass a valid patch document in the body of the request."}
        return 200, self._row(item)

    def _query(self, query: str) -> Answer:
        since = re.search(r"ChangedDate\] >= '([^']+)'", query)
        assert since is not None, query
        at = datetime.fromisoformat(since[1])
        changed = [
            item for item in self.items.values() if datetime.fromisoformat(item.fields["System.ChangedDate"]) >= at
        ]
        return 200, {"workItems": [{"id": item.id} for item in changed]}

    # ---

    @staticmethod
    def _row(item: StoredItem, *, with_relations: bool = False) -> Json:
        extra = {"relations": item.relations} if with_relations and item.relations else {}
        return {"id": item.id, "rev": item.rev, "fields": item.fields, **extra}

    def _update(self, item: StoredItem, fields: Json) -> Json:
        who = {"displayName": "Ada Nowak", "uniqueName": "ada@example.com"}
        return {
            "id": len(item.updates) + 1,
            "workItemId": item.id,
            "rev": item.rev,
            "revisedBy": who,
            "revisedDate": "9999-01-01T00:00:00Z",
            "fields": fields,
        }

    def _hook(self, kind: str, resource: Json) -> Json:
        return {
            "subscriptionId": "bea5b36f",
            "notificationId": 1,
            "id": "86a00bfb",
            "eventType": kind,
            "publisherId": "tfs",
            "resource": resource,
            "resourceVersion": "1.0",
            "createdDate": self._time(self.now),
        }

    @staticmethod
    def _time(at: datetime) -> str:
        return at.strftime("%Y-%m-%dT%H:%M:%S.23Z")

    def _hold_against(self, call: Call) -> None:
        described = specification("azure-devops-wit-trimmed.json")
        is_listing = call.method == "GET" and call.path.endswith("/comments")  # there it is the one by ids
        if described is None or is_listing or re.search(r"/(updates|workitemtypes|states|wiql)$", call.path):
            return
        problems = described.problems(Request(call.method, call.path, call.query, call.body, call.content_type))
        if call.method == "PATCH":
            problems = [problem for problem in problems if "parameter" in problem or "no body" in problem]
            for one in call.body:
                problems += described.mistakes("JsonPatchOperation", {**one, "value": {}})
                problems += [f"a patch needs {name}: {one}" for name in ("op", "path") if name not in one]
                if str(one.get("path")).startswith("/relations/-"):
                    link = {name: value for name, value in one["value"].items() if name != "attributes"}
                    problems += described.mistakes("WorkItemRelation", link)
        self.problems += problems
