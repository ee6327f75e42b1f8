"""Signatures and the access token."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from bot.errors import AuthFailed, OutcomeUnknown, Unavailable
from integrations.dingtalk.api import App, sign
from playground import world
from playground.server import Playground
from tests.integrations.dripping import Dripping

TOKEN = "POST /v1.0/oauth2/accessToken"
UPDATE = "PUT /v1.0/card/instances"
MISSING_CARD = {"outTrackId": "nobody", "cardData": {"cardParamMap": {"a": "b"}}}
DEADLINE_S = 1.5


class FakeMonotonic:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """The present."""
        return self.now


@pytest.fixture
def clock() -> FakeMonotonic:
    """A clock to move by hand."""
    return FakeMonotonic()


@pytest.fixture
def app(playground: Playground, session: requests.Session, clock: FakeMonotonic) -> App:
    """The app with its right secret."""
    return _app(playground, session, clock)


def _app(playground: Playground, session: requests.Session, clock: FakeMonotonic, secret: str | None = None) -> App:
    return App(
        session,
        world.DINGTALK_CLIENT_ID,
        secret or world.DINGTALK_CLIENT_SECRET,
        api_url=f"{playground.url}/dingtalk/api",
        oapi_url=f"{playground.url}/dingtalk/oapi",
        monotonic=clock,
    )


def _tokens(playground: Playground) -> int:
    return len(playground.client.calls(method=TOKEN))


@pytest.mark.parametrize(
    ("secret", "timestamp", "signature"),
    [
        # Computed with: printf '%s\n%s' TS SECRET | openssl dgst -sha256 -hmac SECRET -binary | base64
        ("SECplayground0123456789", 1700000000000, "vb5gIqwpvuc65lwyYZZ1i1eKzE1n1bH8cT7JJhX/p/E="),
        ("SEC", 1, "3KZIhMzb3vx2uIxYqE3AoV0z65ctlCr2gwV1u5ipMJo="),
    ],
)
def test_signatures_match_openssl(secret: str, timestamp: int, signature: str) -> None:
    """The message is the time, a line end and the secret; the key is the secret."""
    assert sign(secret, timestamp) == signature


def test_a_token_is_asked_for_once_by_many_threads(app: App, playground: Playground) -> None:
    """Workers share one token, also when all of them need the first one."""
    with ThreadPoolExecutor(8) as pool:
        tokens = set(pool.map(lambda _: app.token(), range(32)))
    assert len(tokens) == 1
    assert _tokens(playground) == 1


def test_a_token_is_made_anew_ten_minutes_early(app: App, playground: Playground, clock: FakeMonotonic) -> None:
    """It lives for two hours; the last ten minutes are left to the calls that hold it."""
    first = app.token()
    clock.now += 7200 - 601
    assert app.token() == first
    clock.now += 2
    assert app.token() != first
    assert _tokens(playground) == 2


def test_a_refused_token_is_replaced_once(app: App, playground: Playground) -> None:
    """A token that the platform forgot costs one more call, not a failed delivery."""
    app.token()
    playground.client.act(platform="dingtalk", expire_tokens=True)
    with pytest.raises(Exception, match="not_found"):
        app.request("PUT", "/v1.0/card/instances", MISSING_CARD)
    assert _tokens(playground) == 2
    assert [call["status"] for call in playground.client.calls(method=UPDATE)] == [401, 400]


def test_a_token_that_the_old_api_refuses_is_replaced_too(app: App, playground: Playground) -> None:
    """Nobody is a stranger to the address book because a token ended early."""
    app.token()
    playground.client.act(platform="dingtalk", expire_tokens=True)
    assert app.ask_old("/topapi/v2/user/get", {"userid": "lilei0017"})["result"]["name"] == "李雷"
    assert _tokens(playground) == 2


def test_a_token_that_is_always_refused_fails(app: App, playground: Playground) -> None:
    """There is no loop of tokens and refusals."""
    refusal = {"code": "InvalidAuthentication", "message": "no"}
    playground.client.faults(
        {"platform": "dingtalk", "method": UPDATE, "kind": "status", "status": 401, "body": refusal}
    )
    with pytest.raises(AuthFailed) as caught:
        app.request("PUT", "/v1.0/card/instances", MISSING_CARD)
    assert caught.value.reason == "token_invalid"
    assert len(playground.client.calls(method=UPDATE)) == 2


def test_wrong_credentials_are_the_operators_task(
    playground: Playground, session: requests.Session, clock: FakeMonotonic
) -> None:
    """The error says so and does not quote the secret."""
    with pytest.raises(AuthFailed) as caught:
        _app(playground, session, clock, "hush-hush-hush").token()
    assert caught.value.reason == "credentials_refused"
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("status", [500, 502, 503, 200])
def test_a_token_that_does_not_come_is_no_doubt(app: App, playground: Playground, status: int) -> None:
    """Without a token nothing was posted, so that the attempt may simply be made again."""
    playground.client.faults({"platform": "dingtalk", "method": TOKEN, "kind": "status", "status": status})
    with pytest.raises(Unavailable):
        app.request("PUT", "/v1.0/card/instances", MISSING_CARD)


def test_a_lost_answer_is_in_doubt(app: App, playground: Playground) -> None:
    """A call whose answer is lost may have been carried out."""
    app.token()
    playground.client.faults({"platform": "dingtalk", "method": UPDATE, "kind": "lost_answer"})
    with pytest.raises(OutcomeUnknown):
        app.request("PUT", "/v1.0/card/instances", MISSING_CARD)


def test_a_call_and_its_tokens_end_together(session: requests.Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that wait for one token wait no longer than for a call, and no call outlives its lease."""
    monkeypatch.setattr("integrations.dingtalk.api.CALL_DEADLINE_S", DEADLINE_S)
    silent = Dripping(b"", b"")
    url = silent.url.rstrip("/")
    app = App(session, "ding1", "s", api_url=url, oapi_url=url)
    began = time.monotonic()
    with ThreadPoolExecutor(3) as pool:
        calls = [pool.submit(app.request, "PUT", "/v1.0/card/instances", MISSING_CARD) for _ in range(3)]
        problems = [call.exception(30) for call in calls]
    took_s = time.monotonic() - began
    silent.stop()
    assert [type(problem) for problem in problems] == [Unavailable] * 3
    assert took_s < 3 * DEADLINE_S  # which one after the other would have
