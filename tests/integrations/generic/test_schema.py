"""The JSON Schema that is published says what the door does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from integrations.generic import SCHEMA_FILE, BuildBody, schema
from tests.golden import load_request

RECORDED = sorted((Path(__file__).parent / "payloads").glob("*.http.json"))
PUBLISHED = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(PUBLISHED)


def test_the_published_schema_is_the_doors() -> None:
    """The file beside the module is up to date: `python -m integrations.generic` writes it."""
    assert schema() == PUBLISHED
    jsonschema.Draft202012Validator.check_schema(PUBLISHED)


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.name.removesuffix(".http.json"))
def test_documented_bodies_are_valid(path: Path) -> None:
    """What the documentation shows passes any validator."""
    VALIDATOR.validate(json.loads(load_request(path)[1]))


TEXT = st.sampled_from(["main", "a b", "x#1", "", "分" * 300, "success", "running", "https://ci/1", "ftp://ci/1"])
TIMES = st.sampled_from(
    ["2026-11-21T04:00:00Z", "2026-11-21T04:00:00.5+08:00", "2026-11-21", "now", "2026-11-21 04:00:00Z"]
)
NUMBERS = st.sampled_from([0, 1, 7, -1, 10_001, 1.5, True, "7", None])
STATUSES = st.sampled_from(["running", "success", "failed", "cancelled", "unknown", "pending", "warning", "ok", None])
STAGES = st.lists(
    st.fixed_dictionaries({"name": TEXT, "status": STATUSES}, optional={"duration_s": NUMBERS, "other": TEXT}),
    max_size=2,
)
TESTS = st.lists(st.fixed_dictionaries({"name": TEXT}, optional={"detail": TEXT | NUMBERS}), max_size=2)
BODIES = st.fixed_dictionaries(
    {
        "event": st.sampled_from(["build.started", "build.progressed", "build.finished", "build.finished", "other"]),
        "project": st.sampled_from(["user-service", "group/app", "a b", "a:b", "", 5]),
        "number": NUMBERS | st.sampled_from(["rc-1", "1 2"]),
    },
    optional={
        "attempt": NUMBERS,
        "status": STATUSES,
        "branch": TEXT,
        "commit": TEXT | NUMBERS,
        "author": TEXT,
        "occurred_at": TIMES,
        "started_at": TIMES,
        "finished_at": TIMES | NUMBERS,
        "url": TEXT,
        "summary": TEXT,
        "stages": STAGES,
        "failed_tests": TESTS,
        "log_excerpt": TEXT,
        "other": TEXT,
    },
)


@settings(max_examples=1000, deadline=None)
@given(BODIES)
def test_door_and_schema_agree(body: dict[str, Any]) -> None:
    """A body that a sender has checked against the schema is accepted, and one that fails there is refused."""
    try:
        BuildBody.model_validate_json(json.dumps(body))
        is_accepted = True
    except ValidationError:
        is_accepted = False
    assert VALIDATOR.is_valid(body) is is_accepted
