"""Vendors' own specifications, where they are at hand: requests and answers of our stand-ins are held against them.

The folder is named by SHIPMATE_ORACLES. Without it the stand-ins hold nothing against anything, and tests that are
about the specifications alone are skipped.
"""

from __future__ import annotations

import copy
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft4Validator


def folder() -> Path | None:
    """Where the specifications are."""
    named = os.environ.get("SHIPMATE_ORACLES")
    return Path(named) if named and Path(named).is_dir() else None


@cache
def specification(file: str) -> Specification | None:
    """A specification of an API; None where it is not at hand."""
    at = folder()
    return Specification(json.loads((at / file).read_text(encoding="utf-8"))) if at is not None else None


@cache
def _schema(file: str) -> Draft4Validator | None:
    at = folder()
    return Draft4Validator(json.loads((at / file).read_text(encoding="utf-8"))) if at is not None else None


def schema(file: str) -> Draft4Validator:
    """A JSON schema; the test is skipped where it is not at hand."""
    found = _schema(file)
    if found is None:
        pytest.skip("needs SHIPMATE_ORACLES, the folder of the vendors' specifications")
    return found


@dataclass(frozen=True, slots=True)
class Request:
    """One request, decoded; the path begins after the address that the specification's paths start at."""

    method: str
    path: str
    query: Mapping[str, Sequence[str]]
    body: Any = None
    content_type: str = ""


class Specification:
    """An OpenAPI document, of version 3 or 2."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = _with_nulls(copy.deepcopy(dict(document)))
        # References in any part are found where the document has them.
        self._shared = {name: self._document[name] for name in ("components", "definitions") if name in self._document}
        self._paths = [
            (re.compile(re.sub(r"\\\{[^}]*\\\}", "[^/]+", re.escape(path)), re.IGNORECASE), item)
            for path, item in self._document["paths"].items()
        ]

    def problems(self, request: Request) -> list[str]:
        """What is wrong with a request; none is fine."""
        operation = self._operation(request)
        if operation is None:
            return [f"{request.method} {request.path}: there is no such operation"]
        parameters = {one["name"]: one for one in map(self._resolved, operation.get("parameters", ()))}
        queries = {name: one for name, one in parameters.items() if one["in"] == "query"}
        found = [f"unknown parameter {name}" for name in request.query if name not in queries]
        for name, one in queries.items():
            values = request.query.get(name, ())
            if one.get("required") and not values:
                found.append(f"missing parameter {name}")
            kind = one.get("schema", one)
            found += [f"{name}: {problem}" for value in values for problem in self._parameter(kind, value)]
        found += self._body(operation, parameters, request)
        return [f"{request.method} {request.path}: {problem}" for problem in found]

    def answer_problems(self, request: Request, status: int, body: Any) -> list[str]:
        """What is wrong with a stand-in's answer."""
        operation = self._operation(request)
        if operation is None:
            return []
        described = operation["responses"].get(str(status))
        if described is None:
            return [f"{request.method} {request.path}: no answer {status} is described"]
        content = described.get("content", {}).get("application/json", {})
        kind = content.get("schema", described.get("schema"))
        if kind is None or body is None:
            return []
        return [f"{request.method} {request.path} → {problem}" for problem in self._against(kind, body)]

    def mistakes(self, name: str, value: Any) -> list[str]:
        """What is wrong with a value of a named type; names that the type does not know are wrong too."""
        found = self._against({"$ref": f"#/definitions/{name}"}, value)
        known = _properties(self._document["definitions"], name)
        return found + [f"{name} knows no {one}" for one in value if one not in known]

    def _operation(self, request: Request) -> Mapping[str, Any] | None:
        for pattern, item in self._paths:
            if pattern.fullmatch(request.path) and request.method.lower() in item:
                operation: Mapping[str, Any] = item[request.method.lower()]
                return {**operation, "parameters": [*item.get("parameters", ()), *operation.get("parameters", ())]}
        return None

    def _body(self, operation: Mapping[str, Any], parameters: Mapping[str, Any], request: Request) -> list[str]:
        if "requestBody" in operation:
            kind = operation["requestBody"]["content"].get(request.content_type, {}).get("schema")
            return [f"no body of {request.content_type}"] if kind is None else self._against(kind, request.body)
        described = next((one for one in parameters.values() if one["in"] == "body"), None)
        if described is None:
            return ["no body is described"] if request.body is not None else []
        if request.content_type not in operation.get("consumes", ()):
            return [f"no body of {request.content_type}"]
        return self._against(described["schema"], request.body)

    def _parameter(self, kind: Mapping[str, Any], value: str) -> list[str]:
        match kind.get("type"):
            case "integer":
                return [] if re.fullmatch(r"-?\d+", value) else [f"{value!r} is no number"]
            case "boolean":
                return [] if value in ("true", "false") else [f"{value!r} is no truth value"]
            case _:
                allowed = kind.get("enum")
                return [f"{value!r} is none of {allowed}"] if allowed and value not in allowed else []

    def _against(self, kind: Mapping[str, Any], value: Any) -> list[str]:
        validator = Draft4Validator({"allOf": [kind], **self._shared})
        return [f"{'/'.join(map(str, one.path))}: {one.message[:300]}" for one in validator.iter_errors(value)]

    def _resolved(self, parameter: Mapping[str, Any]) -> Mapping[str, Any]:
        if "$ref" not in parameter:
            return parameter
        found: Any = self._document
        for part in parameter["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        resolved: Mapping[str, Any] = found
        return resolved


def _properties(definitions: Mapping[str, Any], name: str) -> set[str]:
    """The names that a type has, its own and those of the types that it extends."""
    found = set(definitions[name].get("properties", ()))
    for base in definitions[name].get("allOf", ()):
        found |= _properties(definitions, base["$ref"].rpartition("/")[2])
    return found


def _with_nulls(document: Any) -> Any:
    """OpenAPI says `nullable` where JSON schema adds a type; what only an answer has may be missing from a request."""
    if isinstance(document, list):
        return [_with_nulls(item) for item in document]
    if not isinstance(document, dict):
        return document
    made = {name: _with_nulls(value) for name, value in document.items()}
    if made.get("nullable") is True and isinstance(made.get("type"), str):
        made["type"] = [made["type"], "null"]
    return made
