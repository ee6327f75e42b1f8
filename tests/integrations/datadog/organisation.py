"""A stand-in for Datadog's API on loopback, held against the vendor's specification where that is at hand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.answering import Answer, Answering, Asked
from tests.oracles import Request, specification

API_KEY, APPLICATION_KEY = "api-key-of-32-characters-or-so", "application-key-of-40-characters"
REFUSED = {"errors": ["Forbidden"]}


@dataclass
class Organisation:
    """What it knows: `rows` are values by their tags, the same for every query; monitors by id.

    `problems` are what the specification says against requests, and against these answers.
    """

    rows: Mapping[tuple[str, ...], list[float | None]] = field(default_factory=lambda: {(): [0.25, 0.5, None, 0.75]})
    monitors: dict[int, dict[str, Any]] = field(default_factory=dict)
    fault: Answer | None = None
    problems: list[str] = field(default_factory=list)
    bodies: list[Any] = field(default_factory=list)
    reported: dict[str, Any] = field(default_factory=dict)

    def answer(self, asked: Asked) -> Answer:
        """One request."""
        if self.fault is not None:
            return self.fault
        parts = urlsplit(asked.target)
        query = parse_qs(parts.query)
        body = json.loads(asked.body) if asked.body else None
        self.bodies.append(body)
        status, said = self._said(asked, parts.path, query, body)
        version = specification(f"datadog-{parts.path.split('/')[2]}-trimmed.json")
        if version is not None:
            content_type = asked.headers.get("content-type", "")
            request = Request(asked.method, parts.path, query, body, content_type)
            self.problems += version.problems(request) + version.answer_problems(request, status, said)
        return Answer(status, json.dumps(said))

    def _said(self, asked: Asked, path: str, query: Mapping[str, list[str]], body: Any) -> tuple[int, Any]:
        if asked.headers.get("dd-api-key") != API_KEY:
            return 403, REFUSED
        if path == "/api/v1/validate":
            return 200, {"valid": True}
        if asked.headers.get("dd-application-key") != APPLICATION_KEY:
            return 403, REFUSED
        match path.split("/")[2:]:
            case ["v1", "query"]:
                return 200, self._v1(query)
            case ["v2", "query", "scalar"]:
                return 200, {"data": {"type": "scalar_response", "attributes": {"columns": self._columns()}}}
            case ["v2", "query", "timeseries"]:
                attributes = self._timeseries(body["data"]["attributes"])
                return 200, {"data": {"type": "timeseries_response", "attributes": attributes}}
            case ["v2", "dora", ("deployment" | "failure") as kind]:
                attributes = body["data"]["attributes"]
                self.reported[attributes["id"]] = attributes
                return 202, {"data": {"id": attributes["id"], "type": f"dora_{kind}"}}
            case ["v1", "monitor", number] if int(number) in self.monitors:
                return 200, {"type": "query alert", "query": "a", **self.monitors[int(number)]}
            case _:
                return 404, {"errors": ["Monitor not found"]}

    def _v1(self, query: Mapping[str, list[str]]) -> dict[str, Any]:
        start = int(query["from"][0]) * 1000
        series = [
            {
                "scope": ",".join(tags) or "*",
                "tag_set": list(tags),
                "pointlist": [[float(start + 20_000 * step), value] for step, value in enumerate(values)],
            }
            for tags, values in self.rows.items()
        ]
        return {"status": "ok", "res_type": "time_series", "series": series, "query": query["query"][0]}

    def _columns(self) -> list[dict[str, Any]]:
        names = [tag.partition(":")[0] for tag in next(iter(self.rows), ())]
        groups = [
            {"name": name, "type": "group", "values": [[tags[at].partition(":")[2]] for tags in self.rows]}
            for at, name in enumerate(names)
        ]
        return [*groups, {"name": "a", "type": "number", "values": [values[-1] for values in self.rows.values()]}]

    def _timeseries(self, attributes: Mapping[str, Any]) -> dict[str, Any]:
        longest = max((len(values) for values in self.rows.values()), default=0)
        return {
            "times": [attributes["from"] + 20_000 * step for step in range(longest)],
            "values": list(self.rows.values()),
            "series": [{"group_tags": list(tags), "query_index": 0, "unit": None} for tags in self.rows],
        }


def listening(organisation: Organisation) -> Answering:
    """Its API, until it is closed."""
    return Answering(organisation.answer)
