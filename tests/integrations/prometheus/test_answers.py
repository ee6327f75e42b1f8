"""Answers that a healthy Prometheus seldom gives: warnings, errors of every shape, pages of what stands before it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import parse_qs

import pytest
import requests

from bot.errors import AuthFailed, DestinationGone, IntegrationError, RateLimited, Rejected, Unavailable
from bot.ports.metrics import Query, Reading
from integrations.prometheus.config import Config
from integrations.prometheus.source import Prometheus
from tests.answering import Answer, Answering

ROW = {"metric": {"job": "a"}, "value": [1_700_000_000.0, "0.5"]}


def success(result: object, kind: str = "vector", **beside: object) -> Answer:
    """An answer of 200 in the API's envelope."""
    return Answer(200, json.dumps({"status": "success", "data": {"resultType": kind, "result": result}, **beside}))


def error(status: int, kind: str, words: str) -> Answer:
    """An error in the API's envelope."""
    return Answer(status, json.dumps({"status": "error", "errorType": kind, "error": words}))


@pytest.fixture
def server() -> Iterator[Answering]:
    """Answers every query with one value, until the test says otherwise."""
    answering = Answering(lambda _: success([ROW]))
    yield answering
    answering.close()


def ask(server: Answering, session: requests.Session, **settings: str) -> Reading:
    """What the source makes of the server's answer."""
    return Prometheus(Config(url=server.url, **settings), session).value(Query("up"), start=0, end=60)


def test_a_query_is_a_form_that_holds_the_time(server: Answering, session: requests.Session) -> None:
    """By POST, because an address is not long enough for some queries; a token goes along as bearer."""
    assert ask(server, session, token="a-secret-token").values == {'{job="a"}': 0.5}
    (asked,) = server.asked
    assert (asked.method, asked.target) == ("POST", "/api/v1/query")
    assert asked.headers["content-type"] == "application/x-www-form-urlencoded"
    assert asked.headers["authorization"] == "Bearer a-secret-token"
    assert parse_qs(asked.body.decode()) == {"query": ["up"], "time": ["60.000"], "timeout": ["7s"]}


def test_warnings_and_remarks_come_with_the_value(server: Answering, session: requests.Session) -> None:
    """An answer that is known to be incomplete is shown as such."""
    server.answer = lambda _: success([ROW], warnings=["store gateway down\n", "two"], infos=["not a counter"])
    reading = ask(server, session)
    assert (reading.warnings, reading.is_partial) == (("store gateway down", "two", "not a counter"), True)
    server.answer = lambda _: success([ROW], infos=["PromQL info: metric might not be a counter"])
    assert not ask(server, session).is_partial


def test_what_says_itself_that_it_is_partial_is(server: Answering, session: requests.Session) -> None:
    """VictoriaMetrics' cluster answers so, without a warning, while one of its stores is away."""
    server.answer = lambda _: success([ROW], isPartial=True)
    reading = ask(server, session)
    assert (reading.warnings, reading.is_partial) == (("isPartial: true",), True)
    server.answer = lambda _: success([ROW], isPartial=False)
    assert ask(server, session) == Reading({'{job="a"}': 0.5})


def test_series_that_read_the_same_stay_two(server: Answering, session: requests.Session) -> None:
    """Labels longer than are kept do not make two series one."""
    rows = [{"metric": {"path": "/" + "x" * 500 + end}, "value": [0, "1"]} for end in "ab"]
    server.answer = lambda _: success(rows)
    assert len(ask(server, session).values) == 2


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (error(400, "bad_data", "parse error"), Rejected, "prometheus: bad_data (parse error)"),
        (error(422, "execution", "too many samples"), Rejected, "prometheus: execution (too many samples)"),
        (error(503, "timeout", "query timed out"), Unavailable, "prometheus: timeout (query timed out)"),
        (error(503, "canceled", "gone"), Unavailable, "prometheus: timeout (gone)"),
        (error(503, "unavailable", "starting"), Unavailable, "prometheus: unavailable (starting)"),
        (error(500, "internal", "oh"), Unavailable, "prometheus: unavailable (oh)"),
        (error(200, "internal", "oh"), Unavailable, "prometheus: unavailable (oh)"),
        (error(400, "", "no org id"), Rejected, "prometheus: http_400 (no org id)"),
        (Answer(400, "no org id"), Rejected, "prometheus: http_400"),
        (Answer(401, "secret"), AuthFailed, "prometheus: http_401"),
        (Answer(403, "<html>"), AuthFailed, "prometheus: http_403"),
        (Answer(404, "404 page not found\n"), DestinationGone, "prometheus: http_404 (is there a Prometheus"),
        (Answer(429, "", {"Retry-After": "7"}), RateLimited, "prometheus: rate_limited (retry after 7 s)"),
        (
            Answer(429, error(429, "too_many_requests", "too fast").body, {"Retry-After": "7"}),
            RateLimited,
            "prometheus: rate_limited (retry after 7 s)",
        ),
        (Answer(302, "", {"Location": "/login"}), Rejected, "prometheus: redirected"),
        (Answer(502, "<html>Bad gateway</html>"), Unavailable, "prometheus: http_502"),
        (Answer(503, "Service Unavailable"), Unavailable, "prometheus: http_503"),
        (Answer(200, "<html>Sign in</html>"), Unavailable, "prometheus: bad_answer"),
        (Answer(200, "[" * 100_000), Unavailable, "prometheus: bad_answer"),
        (Answer(200, "[]"), Unavailable, "prometheus: bad_answer"),
        (Answer(200, '{"status": "success"}'), Unavailable, "prometheus: bad_answer"),
        (success({}), Unavailable, "prometheus: bad_answer"),
        (success([1]), Unavailable, "prometheus: bad_answer"),
        (success([{"metric": {}, "value": [0, "many"]}]), Unavailable, "prometheus: bad_answer"),
        (success([{"metric": {}, "value": [0, 1]}]), Unavailable, "prometheus: bad_answer"),
        (success([{"metric": {}}]), Unavailable, "prometheus: bad_answer"),
        (
            success([{"metric": {}, "histogram": [0, {}]}]),
            Rejected,
            "prometheus: no_value (the query gives a histogram",
        ),
        (success([], "streams"), Rejected, "prometheus: no_value (the query gives a streams"),
    ],
)
def test_every_error_is_told_apart(
    server: Answering, session: requests.Session, answer: Answer, kind: type[IntegrationError], words: str
) -> None:
    """By its class and reason; what a proxy's page says is not repeated."""
    server.answer = lambda _: answer
    with pytest.raises(IntegrationError) as raised:
        ask(server, session, token="a-secret-token")
    assert type(raised.value) is kind
    assert str(raised.value).startswith(words)
    assert "secret" not in str(raised.value)


def test_nobody_there_is_unavailable(session: requests.Session) -> None:
    """A refused connection."""
    with pytest.raises(Unavailable, match="unreachable"):
        Prometheus(Config(url="http://127.0.0.1:9"), session).probe()


def test_a_probe_needs_no_version(server: Answering, session: requests.Session) -> None:
    """What only speaks the API of queries can be asked as well."""
    assert Prometheus(Config(url=server.url), session).probe() == "Prometheus of unknown version, answers queries"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"url": "prometheus:9090"}, "must be an http or https address"),
        ({"url": "http://me:secret@x"}, "must not hold credentials"),
        ({"url": "http://x", "user": "me"}, "user and password go together"),
        ({"url": "http://x", "user": "me", "password": "p", "token": "t"}, "exclude each other"),
        ({"url": "http://x", "queries": {"latency": "rate(up)[5m]"}}, "queries.latency: is no PromQL"),
        (
            {"url": "http://x", "queries": {"latency": "up{job='{{servce}}'}"}},
            "queries.latency: {{servce}} is no known",
        ),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, object], words: str) -> None:
    """Before anything is asked."""
    with pytest.raises(ValueError) as refused:
        Config.model_validate(settings)
    assert words in str(refused.value)
