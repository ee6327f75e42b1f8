"""How calls to Jira are authorised, and tokens that change with every use."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from bot.errors import AuthFailed, StorageUnavailable, Unavailable
from bot.telemetry import redact
from tests.fakes import FakeClock
from tests.integrations.jira.conftest import Connect, FakeTokens
from tests.jira_server import CLOUD_ID, TOKEN, FakeJira

CLIENT = {"method": "client_credentials", "client_id": "service", "client_secret": "service-secret"}
REFRESH = {**CLIENT, "method": "refresh_token", "refresh_token": "first-refresh-token"}


def through(jira: FakeJira, auth: dict[str, str]) -> dict[str, str]:
    """The same, with the stand-in as Atlassian's gateway and token endpoint."""
    return {**auth, "gateway_url": jira.url, "token_url": f"{jira.url}/oauth/token"}


def grants(jira: FakeJira) -> int:
    """How often a token was asked for."""
    return jira.paths("POST").count("/oauth/token")


def test_a_bearer_token_is_sent_as_it_is(connect: Connect, data_center: FakeJira) -> None:
    """A personal access token of a Data Center."""
    auth = {"method": "bearer", "token": TOKEN}
    assert connect(data_center, auth=auth).tracker.issue("USER-12").title == "Log in"
    with pytest.raises(AuthFailed):
        connect(data_center, auth={**auth, "token": "wrong"}).tracker.issue("USER-12")


def test_a_cloud_id_sends_calls_through_the_gateway(connect: Connect, jira: FakeJira) -> None:
    """Scoped tokens are refused by the site itself."""
    auth = {"method": "bearer", "token": TOKEN, "cloud_id": CLOUD_ID, "gateway_url": jira.url}
    assert connect(jira, auth=auth).tracker.issue("USER-12").key == "USER-12"
    assert jira.paths("GET") == [f"/ex/jira/{CLOUD_ID}/rest/api/3/issue/USER-12"]


def test_client_credentials_fetch_a_token_and_the_site(connect: Connect, jira: FakeJira, clock: FakeClock) -> None:
    """One token serves until shortly before its end; the site's id is asked once."""
    tracker = connect(jira, auth=through(jira, CLIENT)).tracker
    tracker.issue("USER-12")
    tracker.issue("USER-12")
    assert (grants(jira), jira.paths("GET").count("/_edge/tenant_info")) == (1, 1)
    clock.advance(3541)
    tracker.issue("USER-12")
    assert grants(jira) == 2
    asked = next(call.body for call in jira.calls if call.path == "/oauth/token")
    assert asked["audience"] == "api.atlassian.com"


def test_a_refused_token_is_replaced_once(connect: Connect, jira: FakeJira) -> None:
    """A token that was revoked: another one, and the call again, for nothing has happened."""
    tracker = connect(jira, auth=through(jira, CLIENT)).tracker
    tracker.issue("USER-12")
    jira.access_tokens.clear()
    assert tracker.transition("USER-12", "Closed") is True
    assert grants(jira) == 2
    jira.fail("issue/USER-12", 401)
    jira.fail("issue/USER-12", 401)
    with pytest.raises(AuthFailed):
        tracker.issue("USER-12")


def test_data_center_credentials_are_a_form(connect: Connect, data_center: FakeJira) -> None:
    """The standard's own way, at the site, without a gateway."""
    tracker = connect(data_center, auth=CLIENT).tracker
    assert tracker.issue("USER-12").key == "USER-12"
    asked = next(call for call in data_center.calls if call.path == "/rest/oauth2/latest/token")
    assert asked.content_type == "application/x-www-form-urlencoded"
    assert asked.body == {
        "grant_type": "client_credentials",
        "client_id": "service",
        "client_secret": "service-secret",
    }


def test_a_secret_that_is_refused_is_an_operators_matter(connect: Connect, jira: FakeJira) -> None:
    """The error names what was wrong, and repeats nothing that was sent."""
    jira.fail("/oauth/token", 401, {"error": "access_denied", "error_description": "service-secret is wrong"})
    with pytest.raises(AuthFailed) as caught:
        connect(jira, auth=through(jira, CLIENT)).tracker.issue("USER-12")
    assert (caught.value.reason, caught.value.detail) == ("token_refused", "access_denied")


def test_a_refresh_token_is_replaced_and_stored(connect: Connect, jira: FakeJira, tokens: FakeTokens) -> None:
    """A restart goes on with its successor, not with the one in the configuration."""
    connect(jira, auth=through(jira, REFRESH)).tracker.issue("USER-12")
    [stored] = tokens.tokens.values()
    assert "refresh-1" in stored.value
    connect(jira, auth=through(jira, REFRESH)).tracker.issue("USER-12")
    assert grants(jira) == 1


def test_a_stored_refresh_token_is_used_when_its_access_ends(
    connect: Connect, jira: FakeJira, clock: FakeClock, tokens: FakeTokens
) -> None:
    """Each renewal uses the newest one; the stand-in refuses any other."""
    tracker = connect(jira, auth=through(jira, REFRESH)).tracker
    for _ in range(3):
        tracker.issue("USER-12")
        clock.advance(3600)
    assert jira.refresh_tokens == ["first-refresh-token", "refresh-1", "refresh-2", "refresh-3"]
    assert len(tokens.tokens) == 1


def test_two_processes_renew_one_token_once(
    connect: Connect, jira: FakeJira, clock: FakeClock, tokens: FakeTokens
) -> None:
    """Whoever comes second waits, and then finds the token that the first one stored."""
    first, second = (connect(jira, auth=through(jira, REFRESH)).tracker for _ in range(2))
    first.issue("USER-12")
    second.issue("USER-12")
    clock.advance(3600)
    tokens.is_taken = True
    with pytest.raises(Unavailable) as caught:
        second.issue("USER-12")
    assert (caught.value.reason, caught.value.retry_after_s) == ("token_being_renewed", 2.0)
    tokens.is_taken = False
    first.issue("USER-12")
    second.issue("USER-12")
    assert grants(jira) == 2


def test_a_token_that_cannot_be_stored_is_still_used(
    connect: Connect, jira: FakeJira, clock: FakeClock, tokens: FakeTokens
) -> None:
    """The successor that was not stored is the only good one: it is used for the next renewal too."""
    tracker = connect(jira, auth=through(jira, REFRESH)).tracker
    tokens.loses = 1
    tracker.issue("USER-12")
    assert tokens.tokens == {}
    clock.advance(3600)
    tracker.issue("USER-12")
    assert jira.refresh_tokens[-1] == "refresh-2"
    [stored] = tokens.tokens.values()
    assert "refresh-2" in stored.value


def test_a_token_is_stored_as_soon_as_there_is_a_database_again(
    connect: Connect, jira: FakeJira, tokens: FakeTokens
) -> None:
    """Not only with the next renewal, an hour later: till then a restart would cost the access."""
    tracker = connect(jira, auth=through(jira, REFRESH)).tracker
    tokens.is_away = True
    with pytest.raises(StorageUnavailable):
        tracker.issue("USER-12")
    tokens.is_away = False
    tracker.issue("USER-12")
    [stored] = tokens.tokens.values()
    assert "refresh-1" in stored.value
    assert grants(jira) == 1


def test_a_renewal_that_was_never_stored_is_made_again(
    connect: Connect, jira: FakeJira, clock: FakeClock, tokens: FakeTokens
) -> None:
    """Atlassian takes a token that was exchanged for ten minutes more: who comes back within those goes on."""
    tokens.loses = 1
    connect(jira, auth=through(jira, REFRESH)).tracker.issue("USER-12")
    assert tokens.tokens == {}
    anew = connect(jira, auth=through(jira, REFRESH)).tracker
    assert anew.issue("USER-12").key == "USER-12"
    [stored] = tokens.tokens.values()
    assert "refresh-2" in stored.value
    assert jira.reused == 1


def test_a_renewal_that_was_never_stored_is_lost_after_ten_minutes(
    connect: Connect, jira: FakeJira, tokens: FakeTokens
) -> None:
    """Then a person has to authorise anew, and says so in the configuration."""
    tokens.loses = 1
    connect(jira, auth=through(jira, REFRESH)).tracker.issue("USER-12")
    jira.now += timedelta(minutes=11)
    with pytest.raises(AuthFailed) as caught:
        connect(jira, auth=through(jira, REFRESH)).tracker.issue("USER-12")
    assert (caught.value.reason, caught.value.detail) == ("token_refused", "invalid_grant")


def test_a_refused_refresh_token_keeps_nobody_waiting(
    connect: Connect, jira: FakeJira, clock: FakeClock, tokens: FakeTokens
) -> None:
    """Somebody has to authorise anew; the token is let go of, and a new one in the configuration begins anew."""
    tracker = connect(jira, auth=through(jira, REFRESH)).tracker
    tracker.issue("USER-12")
    clock.advance(3600)
    jira.refresh_tokens.append("issued-anew")
    with pytest.raises(AuthFailed) as caught:
        tracker.issue("USER-12")
    assert caught.value.detail == "invalid_grant"
    assert tokens.is_taken is False
    anew = connect(jira, auth=through(jira, {**REFRESH, "refresh_token": "issued-anew"})).tracker
    assert anew.issue("USER-12").key == "USER-12"


def test_what_is_stored_and_cannot_be_read_is_as_nothing(
    connect: Connect, jira: FakeJira, tokens: FakeTokens, clock: FakeClock
) -> None:
    """A row of another version, or of another key."""
    tracker = connect(jira, auth=through(jira, REFRESH)).tracker
    tracker.issue("USER-12")
    jira.refresh_tokens.append("first-refresh-token")
    for name, stored in tokens.tokens.items():
        tokens.tokens[name] = replace(stored, value="{}")
    assert connect(jira, auth=through(jira, REFRESH)).tracker.issue("USER-12").key == "USER-12"


def test_tokens_are_masked(connect: Connect, jira: FakeJira) -> None:
    """What was fetched is as secret as what was configured."""
    connect(jira, auth=through(jira, REFRESH)).tracker.issue("USER-12")
    assert "access-1" not in redact("Authorization: Bearer access-1, refresh-1")


def test_an_odd_answer_is_no_token(connect: Connect, jira: FakeJira) -> None:
    """A page of HTML, or JSON without a token."""
    for body in (b"<html>", {"token_type": "Bearer"}, {"access_token": 7}):
        jira.fail("/oauth/token", 200, body)
        with pytest.raises(AuthFailed):
            connect(jira, auth=through(jira, CLIENT)).tracker.issue("USER-12")
    jira.fail("tenant_info", 200, {"cloudId": "../../evil"})
    with pytest.raises(Unavailable):
        connect(jira, auth=through(jira, CLIENT)).tracker.issue("USER-12")
