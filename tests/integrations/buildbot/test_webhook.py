"""Status pushes of Buildbot: recorded ones to events, and everything else that may come through the door."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.domain.builds import BuildStatus
from bot.domain.events import Event, EventKind
from bot.domain.folding import fold
from bot.domain.subjects import SubjectKey
from bot.errors import PayloadInvalid, SignatureInvalid
from bot.ports import Received
from integrations.buildbot.config import Config
from integrations.buildbot.webhook import BuildbotWebhook
from tests.golden import event_json, load_request

HERE = Path(__file__).parent
RECORDED = sorted((HERE / "payloads").glob("*.http.json"))
NOW = datetime(2026, 11, 21, 4, 10, tzinfo=UTC)
TOKEN = "recorded-token"
HEADERS = {"x-bot-token": TOKEN, "content-type": "application/json"}
FINISHED = json.loads(load_request(HERE / "payloads" / "finished__failure.http.json")[1])


def door(**settings_: Any) -> BuildbotWebhook:
    """The door of a source named buildbot."""
    return BuildbotWebhook(
        "buildbot", Config.model_validate({"url": "http://ci.example.com", "webhook_token": TOKEN, **settings_})
    )


def receive(body: object, **settings_: Any) -> Received:
    """What the door makes of a body that is properly sent."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return door(**settings_).receive(HEADERS, content, NOW)


def changed(**fields: Any) -> dict[str, Any]:
    """The recorded end of a failed build with other fields."""
    return {**copy.deepcopy(FINISHED), **fields}


def event_of(body: object) -> Event:
    """The one event that a body tells."""
    [event] = receive(body).events
    return event


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.name.removesuffix(".http.json"))
def test_a_recorded_push_becomes_its_event(path: Path, golden: Callable[[Path, object], None]) -> None:
    """What a real Buildbot sent is told whole."""
    headers, body = load_request(path)
    received = door().receive(headers, body, NOW)
    assert received.reason == ""
    name = path.name.replace(".http.json", ".events.golden.json")
    golden(HERE / "expected" / name, [event_json(event) for event in received.events])


# --- who sends


@pytest.mark.parametrize("token", [None, "", "wrong", TOKEN + "x", TOKEN.upper(), "\udcff", "é" * 20])
def test_without_the_token_nothing_is_read(token: str | None) -> None:
    """A push without the right token is refused before its body is looked at."""
    headers = {} if token is None else {"x-bot-token": token}
    with pytest.raises(SignatureInvalid) as caught:
        door().receive(headers, b"not even JSON", NOW)
    assert TOKEN not in str(caught.value)


# --- what is sent


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[" * 200_000, b'{"buildid": ' + b"9" * 5000 + b"}"])
def test_a_body_that_is_not_json_is_refused(body: bytes) -> None:
    """Neither cut-off nor binary nor absurdly nested bodies do harm."""
    with pytest.raises(PayloadInvalid, match="not JSON"):
        receive(body)


@pytest.mark.parametrize("body", [b"[]", b"null", b'"text"', b"7"])
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    """JSON of another kind is named."""
    with pytest.raises(PayloadInvalid, match="object"):
        receive(body)


@pytest.mark.parametrize("body", [{}, {"workerid": 1, "name": "w"}, {"bsid": 3}])
def test_other_things_that_buildbot_reports_are_unknown(body: dict[str, Any]) -> None:
    """A missing worker or a whole buildset is counted, not refused."""
    assert receive(body) == Received((), "unknown:no_build")


def test_a_builder_that_is_nobodys_is_ignored() -> None:
    """With a list of projects, other builders' pushes are accepted and change nothing."""
    received = receive(FINISHED, projects={"other": {"builder": "other"}})
    assert received == Received((), "ignored:unknown_builder")


def test_a_configured_project_gives_the_build_its_name() -> None:
    """People write the project's name, whatever the builder is called."""
    [event] = receive(FINISHED, projects={"users": {"builder": "user-service"}}).events
    assert event.subject == SubjectKey.parse("build:buildbot/users#1")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"builder": None}, "builder.name"),
        ({"builder": {"name": 5}}, "builder.name"),
        ({"buildid": "1"}, "buildid: must be a whole number, not text"),
        ({"buildid": True}, "buildid"),
        ({"number": None}, "number: must be a whole number, not missing"),
        ({"number": -1}, "number"),
        ({"number": 2**60}, "number"),
        ({"started_at": None}, "started_at: missing"),
        ({"started_at": "2026-11-21"}, "started_at: must be seconds since 1970, not text"),
        ({"started_at": float("nan")}, "started_at"),
        ({"started_at": 1e300}, "started_at"),
        ({"started_at": -1}, "started_at"),
        ({"complete_at": []}, "complete_at"),
        ({"complete": 1}, "complete: must be true or false"),
        ({"results": "failure"}, "results"),
        ({"state_string": ["a"]}, "state_string: must be text, not a list"),
        ({"url": 5}, "url"),
        ({"properties": []}, "properties"),
        ({"properties": {"branch": "main"}}, "properties.branch"),
        ({"steps": {}}, "steps: must be a list, not an object"),
        ({"steps": ["a"]}, r"steps\[0\]"),
        ({"steps": [{"name": 5}]}, r"steps\[0\].name"),
        ({"steps": [{"name": "a", "results": 0.5}]}, r"steps\[0\].results"),
        ({"steps": [{"name": "a"}, {"name": "b", "started_at": {}}]}, r"steps\[1\].started_at"),
    ],
)
def test_a_wrong_field_is_named(fields: dict[str, Any], words: str) -> None:
    """The sender's log says which field is wrong and how."""
    with pytest.raises(PayloadInvalid, match=words):
        receive(changed(**fields))


# --- what it means


@pytest.mark.parametrize(
    ("results", "status"),
    [
        (0, BuildStatus.SUCCESS),
        (1, BuildStatus.SUCCESS),
        (2, BuildStatus.FAILED),
        (3, BuildStatus.CANCELLED),
        (4, BuildStatus.FAILED),
        (5, BuildStatus.CANCELLED),
        (6, BuildStatus.CANCELLED),
        (7, BuildStatus.UNKNOWN),
        (None, BuildStatus.UNKNOWN),
    ],
)
def test_each_result_has_a_meaning(results: int | None, status: BuildStatus) -> None:
    """Warnings pass, exceptions fail, a lost worker's build counts as cancelled, and new codes are unknown."""
    event = event_of(changed(results=results))
    assert (event.kind, event.facts.status) == (EventKind.BUILD_FINISHED, status)


def test_the_same_push_twice_is_one_delivery() -> None:
    """However a proxy reformats the body, the same fact has the same key; another fact has another."""
    keys = {
        event_of(FINISHED).delivery_key,
        event_of(json.dumps(FINISHED, indent=2, sort_keys=True).encode()).delivery_key,
    }
    assert len(keys) == 1
    others = [
        changed(complete=False, complete_at=None, results=None),
        changed(results=0),
        changed(started_at=1795234000),
    ]
    assert len({event_of(other).delivery_key for other in others} | keys) == 4


def test_a_reset_database_begins_a_new_generation() -> None:
    """Number 1 of a new database is not number 1 of the old one."""
    old, new = event_of(FINISHED), event_of(changed(started_at=1795239999, complete_at=1795240000))
    assert old.subject == new.subject
    assert new.generation > old.generation


def test_a_running_build_with_stages_has_progressed() -> None:
    """A generator that also reports steps moves the card on; its time is the newest of the steps'."""
    running = changed(complete=False, complete_at=None, results=None)
    event = event_of(running)
    assert event.kind is EventKind.BUILD_PROGRESSED
    assert event.occurred_at.timestamp() == max(step["complete_at"] for step in FINISHED["steps"])
    assert event_of({**running, "steps": FINISHED["steps"][:1]}).kind is EventKind.BUILD_STARTED


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://ci/#/builders/1/builds/2", "http://ci/#/builders/1/builds/2"),
        ("javascript:alert(1)", None),
        ("http://ci/ x", None),
        ("http://ci/" + "x" * 3000, None),
        (None, None),
    ],
)
def test_only_web_addresses_become_links(url: str | None, shown: str | None) -> None:
    """A link keeps its fragment; anything that is no http address is left out."""
    assert event_of(changed(url=url)).facts.url == shown


def test_hostile_and_endless_texts_are_bounded() -> None:
    """A branch of 10,000 characters, control characters and half characters break nothing."""
    hostile = "x\ud800\x00\u2028<!channel>\x1b[31m" + "分" * 10_000
    properties = {name: [hostile, "Build"] for name in ("branch", "got_revision")} | {"owners": [[hostile], "Build"]}
    steps = [{"name": hostile, "results": 2, "started_at": 1, "complete_at": 2} for _ in range(150)]
    event = event_of(changed(properties=properties, steps=steps, state_string=hostile))
    facts = event.facts
    assert facts.branch is not None
    assert (len(facts.branch), facts.branch[-1]) == (250, "…")
    assert facts.stages is not None
    assert len(facts.stages) == 100
    assert facts.author is not None
    said = json.dumps(event_json(event), ensure_ascii=False).encode()
    assert len(said) < 60_000
    assert b"\\u0000" not in said
    assert len(event.delivery_key) <= 200


def test_names_come_without_addresses() -> None:
    """A card names the author; the e-mail address stays out of the channel."""
    properties = {"owners": [["Ada Nowak <ada@example.com>"], "Build"]}
    assert event_of(changed(properties=properties)).facts.author == "Ada Nowak"
    assert (
        event_of(changed(properties={"owners": [["<ada@example.com>"], "Build"]})).facts.author == "<ada@example.com>"
    )


def test_one_of_several_revisions_stands_for_the_build() -> None:
    """With several codebases the first by name that has a revision is shown."""
    properties = {"got_revision": [{"b": "2222", "a": "", "c": "3333"}, "Git"]}
    assert event_of(changed(properties=properties)).facts.commit == "2222"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3),
    max_leaves=6,
)


def places(value: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value."""
    found = [path] if path else []
    if isinstance(value, dict):
        items: list[tuple[Any, Any]] = list(value.items())
    else:
        items = list(enumerate(value)) if isinstance(value, list) else []
    for name, child in items:
        found += places(child, (*path, name))
    return found


PLACES = places(FINISHED)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.sampled_from(PLACES), JSON), min_size=1, max_size=3))
def test_whatever_stands_in_a_push_it_is_told_or_refused(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    """Any value in any place gives an event that can be stored and folded, or a refusal; never a crash."""
    body = copy.deepcopy(FINISHED)
    for path, value in changes:
        target: Any = body
        for step in path[:-1]:
            target = target[step] if isinstance(target, dict | list) and _has(target, step) else {}
        if isinstance(target, dict) or (isinstance(target, list) and _has(target, path[-1])):
            target[path[-1]] = value
    try:
        received = receive(body)
    except PayloadInvalid:
        return
    assert received.events or received.reason
    for event in received.events:
        assert len(event.delivery_key) <= 200
        assert len(str(event.subject)) <= 300
        folded = fold(None, event)
        json.dumps(folded.to_json(), ensure_ascii=False).encode()
        assert fold(folded, event) is folded


def _has(target: Any, step: Any) -> bool:
    if isinstance(target, list):
        return isinstance(step, int) and step < len(target)
    return step in target
