"""The generic door: signatures, bodies, and what they mean."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from bot.domain.builds import BuildStatus, Phase
from bot.domain.events import Event
from bot.domain.folding import fold
from bot.errors import PayloadInvalid, SignatureInvalid
from bot.ports import Received
from bot.signatures import sign
from integrations.generic import SPEC, Config, GenericWebhook
from tests.golden import event_json, load_request

HERE = Path(__file__).parent
RECORDED = sorted((HERE / "payloads").glob("*.http.json"))
SENT_AT = 1795234200
NOW = datetime.fromtimestamp(SENT_AT, UTC)
SECRET = "whsec_" + base64.b64encode(b"a secret of the recorded requests").decode()
BODY: dict[str, Any] = {"event": "build.finished", "project": "user-service", "number": 7, "status": "failed"}


def door(*secrets: str) -> GenericWebhook:
    """The door of a source named ci."""
    return GenericWebhook("ci", Config.model_validate({"secrets": list(secrets or (SECRET,))}))


def headers_for(body: bytes, *, sent_at: int = SENT_AT, secret: str = SECRET, msg_id: str = "msg_1") -> dict[str, str]:
    """What a proper sender puts beside a body."""
    return {
        "webhook-id": msg_id.encode().decode("latin-1"),  # as WSGI shows it
        "webhook-timestamp": str(sent_at),
        "webhook-signature": sign(secret, msg_id, sent_at, body),
    }


def receive(body: object, **sending: Any) -> Received:
    """What the door makes of a body that is properly sent."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return door().receive(headers_for(content, **sending), content, NOW)


def event_of(**fields: Any) -> Event:
    """The event of a finished build with other fields."""
    [event] = receive({**BODY, **fields}).events
    return event


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.name.removesuffix(".http.json"))
def test_a_documented_request_becomes_its_event(path: Path, golden: Callable[[Path, object], None]) -> None:
    """The requests that the documentation shows are told whole."""
    headers, body = load_request(path)
    now = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
    received = door().receive(headers, body, now)
    name = path.name.replace(".http.json", ".events.golden.json")
    golden(HERE / "expected" / name, [event_json(event) for event in received.events])


# --- who sends


def test_the_signature_is_that_of_the_standard() -> None:
    """The example of the Standard Webhooks libraries gives the same signature here."""
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    signature = sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_each_header_is_needed(name: str) -> None:
    """The missing header is named."""
    headers = headers_for(b"{}")
    del headers[name]
    with pytest.raises(SignatureInvalid, match=name):
        door().receive(headers, b"{}", NOW)


@pytest.mark.parametrize("sent_at", [SENT_AT - 301, SENT_AT + 301, 0])
def test_a_stale_delivery_is_refused(sent_at: int) -> None:
    """A recorded request cannot be replayed after five minutes, nor sent from the future."""
    with pytest.raises(SignatureInvalid, match="five minutes"):
        receive(BODY, sent_at=sent_at)


@pytest.mark.parametrize("sent_at", [SENT_AT - 300, SENT_AT + 300])
def test_clocks_may_differ_by_five_minutes(sent_at: int) -> None:
    """Ordinary clock differences are no attack."""
    assert receive(BODY, sent_at=sent_at).events


@pytest.mark.parametrize("timestamp", ["soon", "", "1e9", "-1", "1795234200.5", "٣", "9" * 30, " 1795234200", "nan"])
def test_a_timestamp_that_is_no_number_is_refused(timestamp: str) -> None:
    """Whatever stands in the header, the answer is 401 and not a crash."""
    headers = {**headers_for(b"{}"), "webhook-timestamp": timestamp}
    with pytest.raises(SignatureInvalid, match="webhook-timestamp"):
        door().receive(headers, b"{}", NOW)


@pytest.mark.parametrize("part", ["webhook-id", "body", "webhook-timestamp"])
def test_nothing_that_is_signed_can_be_changed(part: str) -> None:
    """Id, time and body belong together."""
    body = json.dumps(BODY).encode()
    headers = headers_for(body)
    if part == "body":
        body = body.replace(b"failed", b"success")
    else:
        headers[part] = str(SENT_AT + 1) if part == "webhook-timestamp" else "msg_2"
    with pytest.raises(SignatureInvalid, match="does not match"):
        door().receive(headers, body, NOW)


@pytest.mark.parametrize("signature", ["v1,", "v1", ",", "v2,abc", "v1a,abc", "é" * 50, "\udcff", "v1,abc " * 5000])
def test_a_signature_of_another_shape_is_refused(signature: str) -> None:
    """Broken signatures are wrong signatures."""
    headers = {**headers_for(b"{}"), "webhook-signature": signature}
    with pytest.raises(SignatureInvalid):
        door().receive(headers, b"{}", NOW)


def test_one_of_several_signatures_is_enough() -> None:
    """A sender that is changing its secret signs with both."""
    body = json.dumps(BODY).encode()
    headers = headers_for(body)
    headers["webhook-signature"] = "v1a,ignored v1,bm90IG91cnM= " + headers["webhook-signature"]
    assert door().receive(headers, body, NOW).events


def test_a_secret_can_be_replaced_without_a_gap() -> None:
    """While both secrets are configured, either signs; afterwards only the new one does."""
    old, new = "an old secret of 30 characters", "a new secret of 30 characters!"
    body = json.dumps(BODY).encode()
    for secret in (old, new):
        assert door(new, old).receive(headers_for(body, secret=secret), body, NOW).events
    with pytest.raises(SignatureInvalid):
        door(new).receive(headers_for(body, secret=old), body, NOW)


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({}, "secrets"),
        ({"secrets": []}, "at least 1"),
        ({"secrets": "short"}, "at least 16"),
        ({"secrets": "whsec_not base64!"}, "base64"),
        ({"secrets": "whsec_" + base64.b64encode(b"short").decode()}, "at least 16"),
        ({"secrets": [SECRET], "secret": "x"}, "Extra inputs"),
    ],
)
def test_a_weak_or_wrong_configuration_is_refused(section: dict[str, Any], words: str) -> None:
    """The mistake is named, the secret is not."""
    with pytest.raises(ValidationError, match=words):
        SPEC.config.model_validate(section)


def test_one_secret_needs_no_list() -> None:
    """The common case is short, and printing it gives nothing away."""
    config = Config.model_validate({"secrets": SECRET})
    assert len(config.secrets) == 1
    assert SECRET not in repr(config)


# --- what is sent


def test_a_delivery_is_known_by_its_id() -> None:
    """The same id is the same delivery, whatever else changed; odd ids get a key that fits."""
    first, second = receive(BODY).events[0], receive({**BODY, "status": "success"}).events[0]
    assert first.delivery_key == second.delivery_key == "msg_1"
    for odd in ("x" * 5000, "é", "a\tb"):
        [event] = receive(BODY, msg_id=odd).events
        assert len(event.delivery_key) <= 200
        assert event.delivery_key.startswith("sha256.")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"project": None}, "project: "),
        ({"project": "user service"}, "project: "),
        ({"project": "a#1"}, "project: "),
        ({"number": -1}, "number: "),
        ({"number": True}, "number: "),
        ({"number": 1.5}, "number: "),
        ({"number": "1 2"}, "number: "),
        ({"attempt": 0}, "attempt: "),
        ({"status": None}, "status: build.finished needs"),
        ({"status": "running"}, "status: build.finished needs"),
        ({"status": "broken"}, "status: "),
        ({"event": "build.started"}, "status: build.started goes with running"),
        ({"started_at": "yesterday"}, "started_at: must be a time"),
        ({"started_at": "2026-11-21T04:00:00"}, "started_at: must be a time with its offset"),
        ({"started_at": 1795234200}, "started_at: must be a time"),
        ({"finished_at": "2026-02-30T00:00:00Z"}, "finished_at: is no time that exists"),
        ({"finished_at": "9999-12-31T23:59:59-23:00"}, "finished_at: must lie between"),
        ({"url": "javascript:alert(1)"}, "url: "),
        ({"stages": [{"name": "a", "status": "success"}, {"name": "b", "status": "ok"}]}, r"stages\[1\]\.status: "),
        ({"stages": [{"status": "success"}]}, r"stages\[0\]\.name: "),
        ({"stages": [{"name": "a", "status": "success", "duration_s": -1}]}, r"stages\[0\]\.duration_s: "),
        ({"failed_tests": ["a"]}, r"failed_tests\[0\]: "),
        ({"branch": ""}, "branch: "),
        ({"brnach": "main"}, "brnach: "),
        ({"a": 1, "b": 2, "c": 3, "d": 4}, "and 1 more"),
    ],
)
def test_a_body_against_the_schema_is_refused_with_its_place(fields: dict[str, Any], words: str) -> None:
    """The sender reads which field is wrong and what it should be."""
    with pytest.raises(PayloadInvalid, match=words):
        receive({**BODY, **fields})


def test_what_stood_in_a_wrong_field_is_not_repeated() -> None:
    """A secret in the wrong field does not turn up in an answer or a log."""
    with pytest.raises(PayloadInvalid) as caught:
        receive({**BODY, "status": "hunter2", "started_at": "hunter2", "url": "hunter2", "attempt": "hunter2"})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("event", ["deployment.finished", "build.exploded", "", "build"])
def test_an_unknown_event_is_counted(event: str) -> None:
    """Events of a newer sender are accepted and change nothing."""
    assert receive({"event": event, "whatever": 1}) == Received((), "unknown:event")


# --- what it means


def test_an_end_without_times_ends_when_it_was_sent() -> None:
    """The smallest body is enough."""
    event = event_of()
    assert (event.phase, event.occurred_at, event.facts.finished_at) == (Phase.FINISHED, NOW, NOW)
    assert event.facts.started_at is None
    assert event.facts.status is BuildStatus.FAILED


def test_times_order_events_whatever_zone_they_are_written_in() -> None:
    """`occurred_at` outranks the end, which outranks the time of sending; all are UTC afterwards."""
    event = event_of(finished_at="2026-11-21T12:00:00.25+08:00")
    assert event.occurred_at == event.facts.finished_at == datetime(2026, 11, 21, 4, 0, 0, 250_000, UTC)
    later = event_of(finished_at="2026-11-21T04:00:00Z", occurred_at="2026-11-21T04:00:09Z")
    assert later.occurred_at == datetime(2026, 11, 21, 4, 0, 9, tzinfo=UTC)


def test_a_late_repeat_of_progress_does_not_outrank_what_came_after() -> None:
    """With occurred_at, a delivery that is repeated minutes later still sorts where it belongs."""
    running = {"event": "build.progressed", "project": "user-service", "number": 7}
    early = {**running, "occurred_at": "2026-11-21T04:00:00Z", "stages": [{"name": "a", "status": "running"}]}
    late = {**running, "occurred_at": "2026-11-21T04:00:05Z", "stages": [{"name": "a", "status": "success"}]}
    [first] = receive(late, msg_id="msg_2").events
    [second] = receive(early, msg_id="msg_1", sent_at=SENT_AT + 200).events
    state = fold(None, first)
    assert fold(state, second).values == state.values


def test_attempts_and_text_numbers_are_kept() -> None:
    """A re-run counts up, and numbers need not be numbers."""
    event = event_of(number="2026.11-rc1", attempt=3)
    assert (event.subject.number, event.attempt) == ("2026.11-rc1", 3)
    assert event_of(number=0).subject.number == "0"


def test_endless_texts_and_lists_are_bounded() -> None:
    """Ten thousand characters anywhere fit into a card's facts in the end."""
    endless = "分" * 10_000
    facts = event_of(
        branch=endless,
        author=endless,
        summary=endless * 5,
        log_excerpt="\n".join(["x" * 900] * 500),
        stages=[{"name": endless, "status": "success"}] * 300,
        failed_tests=[{"name": endless, "detail": endless}] * 300,
    ).facts
    assert facts.stages is not None
    assert facts.failed_tests is not None
    assert facts.log_excerpt is not None
    assert (len(facts.branch or ""), len(facts.stages), len(facts.failed_tests)) == (250, 100, 100)
    assert len(facts.log_excerpt) <= 3000
    assert len(json.dumps(facts.to_json())) < 500_000


def test_secrets_in_a_log_excerpt_are_masked() -> None:
    """What another system forgot to mask is masked here."""
    facts = event_of(
        log_excerpt="deploying\nAPI_TOKEN=hunter2hunter2", failed_tests=[{"name": "t", "detail": "password=x1"}]
    )
    assert facts.facts.log_excerpt == "deploying\nAPI_TOKEN=[redacted]"
    assert facts.facts.failed_tests is not None
    assert facts.facts.failed_tests[0].detail == "password=[redacted]"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3),
    max_leaves=6,
)
FIELDS = st.sampled_from(
    [*BODY, "attempt", "branch", "started_at", "url", "stages", "failed_tests", "log_excerpt", "other"]
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(FIELDS, JSON, max_size=4))
def test_whatever_is_sent_is_told_or_refused(fields: dict[str, Any]) -> None:
    """Any value in any field gives an event that can be stored, or a refusal; never a crash."""
    try:
        received = receive({**BODY, **fields})
    except PayloadInvalid:
        return
    assert received.events or received.reason
    for event in received.events:
        json.dumps(fold(None, event).to_json(), ensure_ascii=False).encode()


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature"]), st.text(max_size=40)))
def test_whatever_the_headers_hold_is_refused(headers: dict[str, str]) -> None:
    """No header value opens the door or breaks it."""
    with pytest.raises(SignatureInvalid):
        door().receive(headers, b"{}", NOW)
